"""Automatic segmentation: segment, segment approve, segment environment, segment train-dataset."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from MRDeltaNetLib.cli.options import AssumeRas, Device, DeviceChoice, Progress, ProgressChoice, VolumeIndex, choice, guarded, tell
from MRDeltaNetLib.config import ROLES
from MRDeltaNetLib.errors import InputError, UsageError

RoleChoice = choice("RoleChoice", ROLES)
ChannelsChoice = choice("ChannelsChoice", ("pre", "pre+post"))

segment_app = typer.Typer(help="Draw the tumour by an nnU-Net v2 model; a suggestion to be checked.", invoke_without_command=True)
Model = Annotated[Path, typer.Argument(metavar="FOLDER", help="The model's folder, which holds dataset.json, plans.json and fold_0.")]


@segment_app.callback()
def segment(context: typer.Context,
            image: Annotated[Optional[str], typer.Option("--image", metavar="PATH", help="The scan to draw on: DICOM folder, NIfTI, NRRD or MHA.")] = None,
            model: Annotated[Optional[str], typer.Option("--model", metavar="FOLDER", help="A trained nnU-Net v2 model that you have approved (segment approve).")] = None,
            out: Annotated[Optional[str], typer.Option("--out", metavar="FILE", help="The mask: .nrrd, .nii, .nii.gz or .mha.")] = None,
            other: Annotated[Optional[str], typer.Option("--other", metavar="PATH", help="The other scan of the pair, for a model of two channels; it is aligned to the first.")] = None,
            transform: Annotated[Optional[str], typer.Option("--transform", metavar="FILE.tfm", help="An accepted alignment, LPS of --image to LPS of --other. Default: they are aligned rigidly.")] = None,
            role: Annotated[RoleChoice, typer.Option("--role", help="Whether --image is the scan before or after treatment.")] = RoleChoice("pre"),
            label: Annotated[Optional[str], typer.Option("--label", metavar="NAME", help="Which of the model's labels is the tumour, if it has several.")] = None,
            probability: Annotated[Optional[str], typer.Option("--probability", metavar="FILE.nrrd", help="The probability of every voxel. Default: beside the mask, NAME-probability.nrrd.")] = None,
            series: Annotated[Optional[str], typer.Option("--series", metavar="UID", help="Which DICOM series, if the folder holds several.")] = None,
            other_series: Annotated[Optional[str], typer.Option("--other-series", metavar="UID", help="The same of --other.")] = None,
            volume_index: VolumeIndex = None, assume_ras: AssumeRas = False,
            python: Annotated[Optional[str], typer.Option("--python", metavar="PATH", help="A Python with nnU-Net, or the folder of its environment. Default: see segment environment.")] = None,
            device: Device = DeviceChoice("auto"),
            threads: Annotated[int, typer.Option("--threads", metavar="N", min=0, max=1024, help="Threads of nnU-Net; 0: what it chooses.")] = 0,
            mirroring: Annotated[bool, typer.Option("--mirroring/--no-mirroring", help="Average over mirrored scans; without it, some times as fast.")] = True,
            replace: Annotated[bool, typer.Option("--replace", help="Replace an earlier mask of that name.")] = False,
            progress: Progress = ProgressChoice("bar")) -> None:
    """Draw the tumour on a scan by an nnU-Net v2 model, in a process of its own. The mask is a suggestion to be checked and corrected."""
    given = {name: value for name, value in locals().items() if name != "context"}
    if context.invoked_subcommand is not None:
        return

    def draw() -> int:
        from MRDeltaNetLib.io.segment_jobs import segment_job
        from MRDeltaNetLib.doorway import draw_and_tell
        missing = [f"--{name}" for name in ("image", "model", "out") if not given[name]]
        if missing:
            raise UsageError("The command lacks " + ", ".join(missing), code="MRD-E401", fix="see mrdeltanet segment --help")
        return draw_and_tell(segment_job({name: value.value if isinstance(value, Enum) else value for name, value in given.items()}))

    raise typer.Exit(guarded(draw, progress.value))


@segment_app.command()
def approve(folder: Model,
            yes: Annotated[bool, typer.Option("--yes", help="You know where this model comes from, and trust it with your computer.")] = False,
            withdraw: Annotated[bool, typer.Option("--withdraw", help="Take the approval back.")] = False) -> None:
    """Show what a model is, and with --yes trust exactly these bytes: reading an nnU-Net checkpoint runs code that its maker chose."""

    def judge() -> int:
        from MRDeltaNetLib.io import approvals
        from MRDeltaNetLib.io.nnunet_model import describe, digest, read_nnunet_model
        found = digest(folder)
        if withdraw:
            typer.echo(f"{approvals.withdraw(folder, found)} approvals were taken back.")
            return 0
        model = read_nnunet_model(folder)
        for line in describe(model, found):
            typer.echo(line)
        if not yes:
            raise InputError("The model is not approved", code="MRD-E371", found=f"SHA-256 {found.sha256[:16]}... of {found.files} files",
                             fix="compare the digest with what the model's makers tell; if you trust them, give the command again with --yes")
        approvals.approve_shown(folder, found, {"name": model.name, "channels": list(model.channels), "labels": list(model.labels), "folds": list(model.folds)})
        typer.echo("Approved: these bytes, wherever they lie. One changed byte, and the model is refused.")
        return 0

    raise typer.Exit(guarded(judge))


@segment_app.command()
def environment(python: Annotated[Optional[Path], typer.Option("--python", metavar="PATH", help="Keep this Python, or the folder of its environment, in your settings.")] = None,
                forget: Annotated[bool, typer.Option("--forget", help="Forget the one that is kept.")] = False) -> None:
    """Say which Python runs nnU-Net and whether it works there; with --python keep another one."""

    def look() -> int:
        from MRDeltaNetLib.imaging.nnunet import environment as place
        if forget:
            place.keep(None)
        found = place.find_python(python)
        told = place.check(found)
        if python is not None:
            place.keep(python)
        typer.echo(f"Python    {found}")
        for name in ("nnunetv2", "torch", "python"):
            typer.echo(f"{name:9} {told[name]}")
        typer.echo(f"devices   {', '.join(told['devices'])}")
        return 0

    raise typer.Exit(guarded(look))


@segment_app.command("train-dataset")
def train_dataset(table: Annotated[Path, typer.Argument(metavar="COHORT.csv", help="The table: one row a patient (docs/reference/cohort-table.md).")],
                  out: Annotated[Path, typer.Option("--out", metavar="DIR", help="nnU-Net's folder of raw datasets (nnUNet_raw); the dataset becomes a folder in it.")],
                  channels: Annotated[ChannelsChoice, typer.Option("--channels", help="The scan before treatment alone, or with the scan after it as second channel, aligned to it.")] = ChannelsChoice("pre"),
                  dataset_id: Annotated[int, typer.Option("--dataset-id", metavar="N", min=1, max=999, help="The dataset's number in nnU-Net.")] = 501,
                  name: Annotated[str, typer.Option("--name", metavar="NAME", help="The dataset's name in nnU-Net: letters and digits.")] = "RectalTumour",
                  key: Annotated[Optional[Path], typer.Option("--key", metavar="FILE.csv", help="Also write which case is which patient of the table; keep it where the table is.")] = None,
                  progress: Progress = ProgressChoice("bar")) -> None:
    """Write a dataset for nnU-Net v2 from the training cases of a table; resumable. One bad case never stops the others (exit status 7)."""

    def work() -> int:
        from MRDeltaNetLib.cohort.nnunet_dataset import write_dataset
        from MRDeltaNetLib.doorway import progress_for, stoppable
        from MRDeltaNetLib.io.cohort_table import read_cohort
        cohort = read_cohort(table, require_outcome=False, require_files=False)
        tell(cohort.notices)
        with progress_for(progress.value) as bar:
            written = write_dataset(cohort, out, dataset_id=dataset_id, name=name, channels=channels.value, key=key, progress=stoppable(bar))
        typer.echo(written.text())
        return 0

    raise typer.Exit(guarded(work, progress.value))
