"""What commands share: choices, options of the same name and meaning, and how an error becomes its text and exit status."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated, Callable, Optional

import typer

from MRDeltaNetLib.config import BIAS_CORRECTIONS, DEVICES, EXPLAIN_METHODS, MEMBERS, NATIVE_METHODS, REGISTRATION_METHODS, RunConfig
from MRDeltaNetLib.io.jobs import PROGRESS

if TYPE_CHECKING:
    from MRDeltaNetLib.errors import Notice


def choice(name: str, values: tuple[str, ...]) -> type[Enum]:
    """An option's choices as Typer wants them."""
    return Enum(name, {value: value for value in values}, type=str)


RegistrationChoice = choice("RegistrationChoice", REGISTRATION_METHODS)
BiasChoice = choice("BiasChoice", BIAS_CORRECTIONS)
DeviceChoice = choice("DeviceChoice", DEVICES)
MembersChoice = choice("MembersChoice", MEMBERS)
ProgressChoice = choice("ProgressChoice", PROGRESS)
SettingChoice = choice("SettingChoice", ("controlled", "realistic"))
ScannersChoice = choice("ScannersChoice", ("balanced", "confounded"))
ResidualChoice = choice("ResidualChoice", ("middle", "rim"))

Pre = Annotated[Optional[str], typer.Option("--pre", metavar="PATH", help="Scan before treatment: DICOM folder, NIfTI, NRRD or MHA.")]
Post = Annotated[Optional[str], typer.Option("--post", metavar="PATH", help="Scan after treatment: DICOM folder, NIfTI, NRRD or MHA.")]
PreSeries = Annotated[Optional[str], typer.Option("--pre-series", metavar="UID", help="Which DICOM series, if the folder holds several.")]
PostSeries = Annotated[Optional[str], typer.Option("--post-series", metavar="UID", help="Which DICOM series, if the folder holds several.")]
PreHeader = Annotated[Optional[str], typer.Option("--pre-header", metavar="FILE", help="One DICOM file of the scan before treatment, where that scan is an image file that knows no date and scanner.")]
PostHeader = Annotated[Optional[str], typer.Option("--post-header", metavar="FILE", help="The same of the scan after treatment.")]
PreMask = Annotated[Optional[str], typer.Option("--pre-mask", metavar="FILE", help="Tumour on the scan before treatment (label map, .seg.nrrd or DICOM SEG).")]
PostMask = Annotated[Optional[str], typer.Option("--post-mask", metavar="FILE", help="Tumour bed on the scan after treatment: the whole original site with residual tumour and fibrosis. Without it the pre mask is carried over as a suggestion.")]
ResidualMask = Annotated[Optional[str], typer.Option("--residual-mask", metavar="FILE", help="Residual viable tumour on the scan after treatment; may be empty.")]
PreProbability = Annotated[Optional[str], typer.Option("--pre-probability", metavar="FILE", help="What `segment` wrote beside the pre mask (NAME-probability.nrrd), if that is nnU-Net's drawing or began as it: tells the model, and shows the uncertain border.")]
PostProbability = Annotated[Optional[str], typer.Option("--post-probability", metavar="FILE", help="The same of the post mask.")]
PreLabel = Annotated[Optional[str], typer.Option("--pre-label", metavar="LABEL", help="Which label of the pre mask file is the tumour: its number, a segment's name, or in DICOM its code, as SCT:86049000.")]
PostLabel = Annotated[Optional[str], typer.Option("--post-label", metavar="LABEL", help="Which label of the post mask file is the tumour bed: its number, a segment's name, or in DICOM its code, as SCT:86049000.")]
ResidualLabel = Annotated[Optional[int], typer.Option("--residual-label", metavar="N", help="Which label of the residual mask file is viable tumour.")]
CompleteResponse = Annotated[bool, typer.Option("--complete-response", help="The reader sees no residual tumour.")]
Mrtrg = Annotated[Optional[int], typer.Option("--mrtrg", metavar="1-5", help="The reader's mrTRG after treatment: kept and shown as an opinion, never computed.")]
VolumeIndex = Annotated[Optional[int], typer.Option("--volume-index", metavar="N", help="Which volume of a 4-D scan, counted from 0.")]
AssumeRas = Annotated[bool, typer.Option("--assume-ras", help="Read a NIfTI file without orientation as RAS. Only if you know that it is.")]
NoScene = Annotated[bool, typer.Option("--no-scene", help="Write no scene.mrb for 3D Slicer; the NRRD files are written all the same.")]
Clinical = Annotated[Optional[str], typer.Option("--clinical", metavar="FILE.json", help="Clinical values by name.")]
OutlineStep = Annotated[Optional[float], typer.Option("--outline-step-mm", metavar="MM", help=f"How far outlines are moved, grown and shrunk for the range of P(pCR). Default: {RunConfig.outline_step_mm:g}.")]
ExplainMethods = Annotated[Optional[str], typer.Option("--explain-methods", metavar="NAME,NAME", help=f"Maps that are made, of {', '.join(EXPLAIN_METHODS)}. Default: {', '.join(NATIVE_METHODS)}.")]
Members = Annotated[MembersChoice, typer.Option("--members", help="Which members of an ensemble answer; the first alone is faster, and the range then knows one member only.")]
Device = Annotated[DeviceChoice, typer.Option("--device", help="Where the network runs.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Seed of every random choice.")]
Progress = Annotated[ProgressChoice, typer.Option("--progress", help="How progress is shown; json prints one object a line.")]
Workers = Annotated[int, typer.Option("--workers", metavar="N", min=1, max=256, help="Processes that simulate or prepare cases.")]
Out = Annotated[Optional[str], typer.Option("--out", metavar="DIR", help="Folder for everything that is written.")]


def listed(text: str) -> list[str]:
    """Names between commas as a list."""
    return [part.strip() for part in text.split(",") if part.strip()]


def tell(notices: "tuple[Notice, ...]") -> None:
    """Print warnings, each with its remedy."""
    for notice in notices:
        typer.echo(f"Warning {notice.code}: {notice.text}." + (f"\nWhat to do: {notice.fix}." if notice.fix else ""))


def guarded(action: Callable[[], int], mode: str = "none") -> int:
    """Run a command; an error becomes its text and exit status."""
    from MRDeltaNetLib import doorway
    doorway.interruptible()
    return doorway.guarded(action, mode)
