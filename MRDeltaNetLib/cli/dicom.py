"""What leaves as DICOM: outlines of a finished run as segmentations of the series that it read."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from MRDeltaNetLib.cli.options import PostSeries, PreSeries, VolumeIndex, choice, guarded
from MRDeltaNetLib.errors import UsageError

MadeChoice = choice("MadeChoice", ("manual", "semiautomatic", "automatic"))


def dicom_seg(folder: Annotated[str, typer.Argument(metavar="RESULT_DIR", help="Output folder of a finished run.")],
              out: Annotated[str, typer.Option("--out", metavar="DIR", help="Folder for the DICOM objects; never the run's own.")],
              pre: Annotated[Optional[str], typer.Option("--pre", metavar="DIR", help="The DICOM folder that the run read as the scan before treatment.")] = None,
              post: Annotated[Optional[str], typer.Option("--post", metavar="DIR", help="The same of the scan after treatment.")] = None,
              pre_series: PreSeries = None, post_series: PostSeries = None, volume_index: VolumeIndex = None,
              made: Annotated[MadeChoice, typer.Option("--made", help="How the masks that were given to the run came about, where the run does not know it: a carried bed and what nnU-Net drew say so themselves.")] = MadeChoice("manual"),
              algorithm: Annotated[Optional[str], typer.Option("--algorithm", metavar="NAME", help="What computed them, unless they are manual.")] = None,
              algorithm_version: Annotated[Optional[str], typer.Option("--algorithm-version", metavar="TEXT", help="Its version.")] = None,
              with_patient_data: Annotated[bool, typer.Option("--with-patient-data", help="Name, identifier, dates and UIDs of the series may be written: without them it is no DICOM segmentation.")] = False) -> None:
    """Write a finished run's outlines as DICOM segmentations (SEG) of the series that it read."""

    def write() -> int:
        from MRDeltaNetLib.seg_export import export_segmentations
        scans = {visit: place for visit, place in (("pre", pre), ("post", post)) if place is not None}
        names = export_segmentations(folder, out, scans, series={"pre": pre_series, "post": post_series}, volume_index=volume_index,
                                     patient_data=with_patient_data, making=_making(made.value, algorithm, algorithm_version))
        typer.echo(f"Written: {', '.join(names)}. They hold the patient's data. Research use only.")
        return 0

    raise typer.Exit(guarded(write))


def _making(origin: str, algorithm: str | None, version: str | None):
    """Whoever computed outlines is named; nobody is for manual ones."""
    from MRDeltaNetLib.seg_export import Making
    if (origin == "manual") != (algorithm is None) or (algorithm is None) != (version is None):
        raise UsageError("How the outlines were made and what made them do not fit", code="MRD-E408", found=f"--made {origin}",
                         fix="name --algorithm and --algorithm-version for outlines that were computed, and neither for manual ones")
    return Making(origin, None if algorithm is None else (algorithm, version))
