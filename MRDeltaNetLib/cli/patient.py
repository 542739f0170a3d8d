"""Commands on one patient, and the simulation of patients: run, check, demo, simulate."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from MRDeltaNetLib.cli.options import (
    AssumeRas, BiasChoice, Clinical, CompleteResponse, Device, DeviceChoice, ExplainMethods, Members, MembersChoice, Mrtrg, NoScene, Out, OutlineStep, Post, PostHeader,
    PostLabel, PostMask, PostSeries, Pre, PreHeader, PreLabel, PreMask, PreSeries, Progress, ProgressChoice, RegistrationChoice, ResidualLabel, ResidualMask,
    ScannersChoice, Seed, SettingChoice, VolumeIndex, Workers, guarded, listed, tell)
from MRDeltaNetLib.errors import UsageError


def run(job: Annotated[Optional[Path], typer.Argument(metavar="[JOB.json]", help="A job file instead of the options.")] = None,
        pre: Pre = None, post: Post = None, pre_series: PreSeries = None, post_series: PostSeries = None, pre_header: PreHeader = None,
        post_header: PostHeader = None, pre_mask: PreMask = None, post_mask: PostMask = None, residual_mask: ResidualMask = None, pre_label: PreLabel = None, post_label: PostLabel = None,
        residual_label: ResidualLabel = None, complete_response: CompleteResponse = False, mrtrg: Mrtrg = None, volume_index: VolumeIndex = None,
        assume_ras: AssumeRas = False, clinical: Clinical = None,
        model: Annotated[Optional[str], typer.Option("--model", metavar="BUNDLE", help="Model bundle (folder). Default: the demo model.")] = None,
        out: Out = None,
        registration: Annotated[RegistrationChoice, typer.Option("--registration", help="How post is aligned to pre; 'deformable' never feeds the network.")] = RegistrationChoice("rigid"),
        bias_correction: Annotated[Optional[BiasChoice], typer.Option("--bias-correction", help="N4 bias field correction. Default: what the model was trained with.")] = None,
        outline_step_mm: OutlineStep = None, explain_methods: ExplainMethods = None, members: Members = MembersChoice("all"), device: Device = DeviceChoice("auto"), seed: Seed = 0,
        no_scene: NoScene = False, progress: Progress = ProgressChoice("bar")) -> None:
    """One pre/post pair in; probability, attention maps, report and scene out."""
    given = {name: value for name, value in locals().items() if name != "job"}
    if job is not None:
        raise typer.Exit(_run_job_file(job, given))
    raise typer.Exit(guarded(lambda: _run(_job(given, "run")), progress.value))


def check(pre: Pre = None, post: Post = None, pre_series: PreSeries = None, post_series: PostSeries = None, pre_header: PreHeader = None,
          post_header: PostHeader = None, pre_mask: PreMask = None, post_mask: PostMask = None, residual_mask: ResidualMask = None, pre_label: PreLabel = None, post_label: PostLabel = None,
          residual_label: ResidualLabel = None, complete_response: CompleteResponse = False, mrtrg: Mrtrg = None, volume_index: VolumeIndex = None,
          assume_ras: AssumeRas = False, clinical: Clinical = None) -> None:
    """Say what was found in both scans, what is refused or warned about, and how to mend it. Writes nothing."""
    given = dict(locals())

    def inspect_job() -> int:
        from MRDeltaNetLib.imaging.outline_place import check_place
        from MRDeltaNetLib.io.cases import inspect
        found = inspect(_job(given | {"out": "."}, "check"), look=check_place)
        for line in found.lines:
            typer.echo(line)
        tell(found.notices)
        for error in found.errors:
            typer.echo(error.text(), err=True)
        if not found.errors:
            typer.echo("Nothing is refused: a run would start." if not found.notices else "Nothing is refused; mind the warnings.")
        return max((error.exit_status for error in found.errors), default=0)

    raise typer.Exit(guarded(inspect_job))


def demo(out: Annotated[str, typer.Option("--out", metavar="DIR", help="Folder for the simulated scans and the result.")],
         seed: Annotated[int, typer.Option("--seed", metavar="N", help="Which patient: same seed, same pair.")] = 1, device: Device = DeviceChoice("auto"), progress: Progress = ProgressChoice("bar")) -> None:
    """Simulate one pelvis pair and run the whole job on it with the demo model; the seed is the patient's, the job's own stays as it is."""

    def simulate_and_run() -> int:
        from MRDeltaNetLib.cohort.simulation import write_pair
        scans = write_pair(Path(out) / "scans", seed=seed, setting="controlled")
        return _run(_job({"pre": scans["pre"], "post": scans["post"], "pre_mask": scans["pre_mask"], "post_mask": scans["post_mask"],
                          "residual_mask": scans["residual_mask"], "out": str(Path(out) / "result"), "device": device,
                          "progress": progress}, "demo"))

    raise typer.Exit(guarded(simulate_and_run, progress.value))


def simulate(cases: Annotated[int, typer.Option("--cases", metavar="N", min=1, max=100_000, help="How many pairs.")],
             out: Annotated[str, typer.Option("--out", metavar="DIR", help="Folder for the cohort.")],
             seed: Seed = 0,
             setting: Annotated[SettingChoice, typer.Option("--setting", help="controlled: volume change says nothing; realistic: it says a little.")] = SettingChoice("controlled"),
             scanners: Annotated[Optional[ScannersChoice], typer.Option("--scanners", help="Four centres with a scanner each; confounded: their shares of responders differ, so that a model can cheat.")] = None,
             external: Annotated[float, typer.Option("--external", metavar="SHARE", min=0.0, max=0.9, help="Share of cases in the set 'external', which no training sees; writes the column 'set'.")] = 0.0,
             coarse: Annotated[bool, typer.Option("--coarse", help="Scans of about 2 x 2 x 5 mm, which are made and prepared in a fraction of the time: to try commands on.")] = False,
             workers: Workers = 1,
             progress: Progress = ProgressChoice("bar")) -> None:
    """Write a cohort of simulated pairs with masks, and cohort.csv with outcome, latent truth and clinical columns."""

    def write() -> int:
        from MRDeltaNetLib.cohort.simulation import COARSE, simulate_cohort
        from MRDeltaNetLib.doorway import progress_for, stoppable
        with progress_for(progress.value) as bar:
            simulate_cohort(cases, seed, setting.value, Path(out), workers=workers, size=COARSE if coarse else None, scanners=None if scanners is None else scanners.value,
                            sets={"train": 1 - external, "external": external} if external else None, progress=stoppable(bar))
        typer.echo(f"{cases} simulated pairs: {Path(out) / 'cohort.csv'}")
        return 0

    raise typer.Exit(guarded(write, progress.value))


def _job(given: dict[str, Any], command: str):
    """The one validation of a job, shared with job files; command is named in the remedy."""
    from MRDeltaNetLib.io.jobs import job_from_mapping
    values = {name: value.value if isinstance(value, Enum) else value for name, value in given.items()}
    values |= {name: int(values[name]) for name in ("pre_label", "post_label", "residual_label") if (values.get(name) or "").isdecimal()}
    if values.get("explain_methods") is not None:
        values["explain_methods"] = listed(values["explain_methods"])
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
    defaults = {"registration": RegistrationChoice("rigid"), "members": MembersChoice("all"), "device": DeviceChoice("auto"), "progress": ProgressChoice("bar")}
    extra = [name for name, value in given.items() if value not in (None, False, 0) and defaults.get(name) != value]
    if extra:
        error = UsageError("A job file and options were given together", code="MRD-E402",
                           found=", ".join("--" + name.replace("_", "-") for name in extra), fix="write them into the job file")
        typer.echo(error.text(), err=True)
        return error.exit_status
    return run_job_file(path)
