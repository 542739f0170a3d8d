"""The command line. Every command is a few lines: collect choices, call the library, tell the outcome.

Heavy packages load inside the commands, so that `mrdeltanet --help` answers at once.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Callable, Optional

import typer

from MRDeltaNetLib.config import BIAS_CORRECTIONS, DEVICES, REGISTRATION_METHODS
from MRDeltaNetLib.errors import UsageError
from MRDeltaNetLib.io.jobs import PROGRESS

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
                  help="Treatment response from MRI before and after neoadjuvant treatment. Research use only.")
model_app = typer.Typer(no_args_is_help=True, help="Model bundles.")
app.add_typer(model_app, name="model")


def _choice(name: str, values: tuple[str, ...]) -> type[Enum]:
    """An option's choices as Typer wants them."""
    return Enum(name, {value: value for value in values}, type=str)


RegistrationChoice = _choice("RegistrationChoice", REGISTRATION_METHODS)
BiasChoice = _choice("BiasChoice", BIAS_CORRECTIONS)
DeviceChoice = _choice("DeviceChoice", DEVICES)
ProgressChoice = _choice("ProgressChoice", PROGRESS)
SettingChoice = _choice("SettingChoice", ("controlled", "realistic"))

Pre = Annotated[Optional[str], typer.Option("--pre", metavar="PATH", help="Scan before treatment: DICOM folder, NIfTI, NRRD or MHA.")]
Post = Annotated[Optional[str], typer.Option("--post", metavar="PATH", help="Scan after treatment: DICOM folder, NIfTI, NRRD or MHA.")]
PreSeries = Annotated[Optional[str], typer.Option("--pre-series", metavar="UID", help="Which DICOM series, if the folder holds several.")]
PostSeries = Annotated[Optional[str], typer.Option("--post-series", metavar="UID", help="Which DICOM series, if the folder holds several.")]
PreMask = Annotated[Optional[str], typer.Option("--pre-mask", metavar="FILE", help="Tumour on the scan before treatment (label map).")]
PostMask = Annotated[Optional[str], typer.Option("--post-mask", metavar="FILE", help="Tumour bed on the scan after treatment: the whole original site with residual tumour and fibrosis. Without it the pre mask is carried over as a suggestion.")]
ResidualMask = Annotated[Optional[str], typer.Option("--residual-mask", metavar="FILE", help="Residual viable tumour on the scan after treatment; may be empty.")]
PreLabel = Annotated[Optional[int], typer.Option("--pre-label", metavar="N", help="Which label of the pre mask file is the tumour.")]
PostLabel = Annotated[Optional[int], typer.Option("--post-label", metavar="N", help="Which label of the post mask file is the tumour bed.")]
ResidualLabel = Annotated[Optional[int], typer.Option("--residual-label", metavar="N", help="Which label of the residual mask file is viable tumour.")]
CompleteResponse = Annotated[bool, typer.Option("--complete-response", help="The reader sees no residual tumour.")]
VolumeIndex = Annotated[Optional[int], typer.Option("--volume-index", metavar="N", help="Which volume of a 4-D scan, counted from 0.")]
AssumeRas = Annotated[bool, typer.Option("--assume-ras", help="Read a NIfTI file without orientation as RAS. Only if you know that it is.")]
Clinical = Annotated[Optional[str], typer.Option("--clinical", metavar="FILE.json", help="Clinical values by name.")]
Device = Annotated[DeviceChoice, typer.Option("--device", help="Where the network runs.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Seed of every random choice.")]
Progress = Annotated[ProgressChoice, typer.Option("--progress", help="How progress is shown; json prints one object a line.")]
Out = Annotated[Optional[str], typer.Option("--out", metavar="DIR", help="Folder for everything that is written.")]


@app.command()
def run(job: Annotated[Optional[Path], typer.Argument(metavar="[JOB.json]", help="A job file instead of the options.")] = None,
        pre: Pre = None, post: Post = None, pre_series: PreSeries = None, post_series: PostSeries = None, pre_mask: PreMask = None,
        post_mask: PostMask = None, residual_mask: ResidualMask = None, pre_label: PreLabel = None, post_label: PostLabel = None,
        residual_label: ResidualLabel = None, complete_response: CompleteResponse = False, volume_index: VolumeIndex = None,
        assume_ras: AssumeRas = False, clinical: Clinical = None,
        model: Annotated[Optional[str], typer.Option("--model", metavar="BUNDLE", help="Model bundle (folder). Default: the demo model.")] = None,
        out: Out = None,
        registration: Annotated[RegistrationChoice, typer.Option("--registration", help="How post is aligned to pre; 'deformable' never feeds the network.")] = RegistrationChoice("rigid"),
        bias_correction: Annotated[Optional[BiasChoice], typer.Option("--bias-correction", help="N4 bias field correction. Default: what the model was trained with.")] = None,
        device: Device = DeviceChoice("auto"), seed: Seed = 0, progress: Progress = ProgressChoice("bar")) -> None:
    """One pre/post pair in; probability, attention maps, report and scene out."""
    given = {name: value for name, value in locals().items() if name != "job"}
    if job is not None:
        raise typer.Exit(_run_job_file(job, given))
    raise typer.Exit(_guarded(lambda: _run(_job(given, "run")), progress.value))


@app.command()
def check(pre: Pre = None, post: Post = None, pre_series: PreSeries = None, post_series: PostSeries = None, pre_mask: PreMask = None,
          post_mask: PostMask = None, residual_mask: ResidualMask = None, pre_label: PreLabel = None, post_label: PostLabel = None,
          residual_label: ResidualLabel = None, complete_response: CompleteResponse = False, volume_index: VolumeIndex = None,
          assume_ras: AssumeRas = False, clinical: Clinical = None) -> None:
    """Say what was found in both scans, what is refused or warned about, and how to mend it. Writes nothing."""
    given = dict(locals())

    def inspect_job() -> int:
        from MRDeltaNetLib.io.cases import inspect
        found = inspect(_job(given | {"out": "."}, "check"))
        for line in found.lines:
            typer.echo(line)
        for notice in found.notices:
            typer.echo(f"Warning {notice.code}: {notice.text}." + (f"\nWhat to do: {notice.fix}." if notice.fix else ""))
        for error in found.errors:
            typer.echo(error.text(), err=True)
        if not found.errors:
            typer.echo("Nothing is refused: a run would start." if not found.notices else "Nothing is refused; mind the warnings.")
        return max((error.exit_status for error in found.errors), default=0)

    raise typer.Exit(_guarded(inspect_job))


@app.command()
def demo(out: Annotated[str, typer.Option("--out", metavar="DIR", help="Folder for the simulated scans and the result.")],
         seed: Seed = 1, device: Device = DeviceChoice("auto"), progress: Progress = ProgressChoice("bar")) -> None:
    """Simulate one pelvis pair and run the whole job on it with the demo model."""

    def simulate_and_run() -> int:
        from MRDeltaNetLib.cohort.simulation import write_pair
        scans = write_pair(Path(out) / "scans", seed=seed, setting="controlled")
        return _run(_job({"pre": scans["pre"], "post": scans["post"], "pre_mask": scans["pre_mask"], "post_mask": scans["post_mask"],
                          "residual_mask": scans["residual_mask"], "out": str(Path(out) / "result"), "device": device,
                          "seed": seed, "progress": progress}, "demo"))

    raise typer.Exit(_guarded(simulate_and_run, progress.value))


@app.command()
def simulate(cases: Annotated[int, typer.Option("--cases", metavar="N", min=1, max=100_000, help="How many pairs.")],
             out: Annotated[str, typer.Option("--out", metavar="DIR", help="Folder for the cohort.")],
             seed: Seed = 0,
             setting: Annotated[SettingChoice, typer.Option("--setting", help="controlled: volume change says nothing; realistic: it says a little.")] = SettingChoice("controlled"),
             workers: Annotated[int, typer.Option("--workers", metavar="N", min=1, max=256, help="Processes.")] = 1,
             progress: Progress = ProgressChoice("bar")) -> None:
    """Write a cohort of simulated pairs with masks, and cohort.csv with outcome, latent truth and clinical columns."""

    def write() -> int:
        from MRDeltaNetLib.cohort.simulation import simulate_cohort
        from MRDeltaNetLib.doorway import progress_for, stoppable
        with progress_for(progress.value) as bar:
            simulate_cohort(cases, seed, setting.value, Path(out), workers=workers, progress=stoppable(bar))
        typer.echo(f"{cases} simulated pairs: {Path(out) / 'cohort.csv'}")
        return 0

    raise typer.Exit(_guarded(write, progress.value))


@model_app.command()
def verify(bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")]) -> None:
    """Check every digest, the metadata, the weights, and that the stored example still gives its stored output."""

    def examine() -> int:
        from MRDeltaNetLib.io.bundle import check_golden, load_network, read_bundle
        from MRDeltaNetLib.models import registry
        read = read_bundle(bundle)
        difference = check_golden(read, load_network(read, registry.build))
        own, numbers = read.own, sum(value.numel() for value in read.weights.values())
        typer.echo(f"{own['name']} {read.metadata['version']}: {own['network']['name']}, {numbers:,} weights")
        typer.echo(f"Intended use: {own['intended_use']}\nTrained on: {own['trained_on']}")
        low, high = own["held_out_auc_ci"]
        typer.echo(f"Held-out AUC {own['held_out_auc']:.3f} (95 % CI {low:.3f} to {high:.3f}) on {own['held_out_on']}")
        typer.echo(f"Files, metadata and weights are as written; stored example differs by {difference:.2g} (allowed {own['golden_tolerance']:.2g}).")
        return 0

    raise typer.Exit(_guarded(examine))


@app.command()
def info() -> None:
    """Versions and devices."""

    def tell() -> int:
        from MRDeltaNetLib.versions import system, versions
        for name, version in versions().items():
            typer.echo(f"{name:14} {version or 'not installed'}")
        typer.echo(f"{'system':14} " + " ".join(system().values()))
        if versions()["torch"]:
            from MRDeltaNetLib.response.prediction import available_devices
            typer.echo(f"{'devices':14} " + ", ".join(available_devices()))
        return 0

    raise typer.Exit(_guarded(tell))


def _job(given: dict[str, Any], command: str):
    """The one validation of a job, shared with job files; command is named in the remedy."""
    from MRDeltaNetLib.io.jobs import job_from_mapping
    values = {name: value.value if isinstance(value, Enum) else value for name, value in given.items()}
    missing = [f"--{name}" for name in ("pre", "post", "out") if not values.get(name)]
    if missing:
        raise UsageError("The command lacks " + ", ".join(missing), code="MRD-E401", fix=f"see mrdeltanet {command} --help")
    return job_from_mapping({name: value for name, value in values.items() if value is not None})


def _run(job) -> int:
    from MRDeltaNetLib.doorway import finish, progress_for, stoppable
    from MRDeltaNetLib.runner import run_job
    with progress_for(job.progress) as progress:
        return finish(lambda: run_job(job, stoppable(progress)), job.progress)


def _run_job_file(path: Path, given: dict[str, Any]) -> int:
    """A job file stands alone: options beside it would be ambiguous."""
    from MRDeltaNetLib.__main__ import run_job_file
    defaults = {"registration": RegistrationChoice("rigid"), "device": DeviceChoice("auto"), "progress": ProgressChoice("bar")}
    extra = [name for name, value in given.items() if value not in (None, False, 0) and defaults.get(name) != value]
    if extra:
        error = UsageError("A job file and options were given together", code="MRD-E402",
                           found=", ".join("--" + name.replace("_", "-") for name in extra), fix="write them into the job file")
        typer.echo(error.text(), err=True)
        return error.exit_status
    return run_job_file(path)


def _guarded(action: Callable[[], int], mode: str = "none") -> int:
    """Run a command; an error becomes its text and exit status."""
    from MRDeltaNetLib.doorway import failed, interruptible
    interruptible()
    try:
        return action()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 failed() tells every kind apart
        return failed(error, mode)
