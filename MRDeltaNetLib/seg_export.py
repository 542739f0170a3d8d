"""The outlines of a finished run as DICOM segmentations of the series that it read.

A command of its own and not a part of `run`, because a run's folder never holds who the patient is, and a DICOM object of a series cannot but
hold it. So the series are named again, the folder is another one, and that patient data are written has to be said.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping

from MRDeltaNetLib import __version__
from MRDeltaNetLib.case import AUTOMATIC, EDITED
from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import EnvironmentProblem, InputError, UsageError
from MRDeltaNetLib.io.atomic import output_problem
from MRDeltaNetLib.io.dicom.seg_writing import Outline, Series, open_series, tracking_uid, write_segmentation
from MRDeltaNetLib.io.finished import FinishedRun
from MRDeltaNetLib.io.results import IMAGE_FILES, MANIFEST

MASKS = {"pre": ("pre_mask",), "post": ("post_mask", "residual_mask")}
"""Visit -> the outlines on its scan."""

FILES = {"pre": "pre_segmentation.dcm", "post": "post_segmentation.dcm"}


@dataclass(frozen=True)
class Making:
    """How the outlines that were given to the run came about, where their files did not tell it.

    origin     "manual", "semiautomatic" or "automatic"
    algorithm  what computed them, and its version; None for manual ones
    moved      the algorithm only moved what a person had drawn
    """

    origin: str = "manual"
    algorithm: tuple[str, str] | None = None
    moved: bool = False


def export_segmentations(result: Path | str, out: Path | str, scans: Mapping[str, Path | str], *, series: Mapping[str, str | None] = {},
                         volume_index: int | None = None, patient_data: bool = False, making: Making = Making(),
                         limits: GateLimits = GateLimits()) -> tuple[str, ...]:
    """Write one SEG a visit.

    result        folder of a finished run
    out           folder for the objects, another than the run's
    scans         "pre", "post" -> the DICOM folder that the run read; a visit that was no DICOM is left out
    series        "pre", "post" -> which series of that folder
    patient_data  the user's word that name, identifier, dates and UIDs of the series may be written
    returns       names of the files in out
    raises        UsageError MRD-E328; InputError MRD-E326, E327, E838, E883, E884, and what reading a series raises; EnvironmentProblem MRD-E329
    """
    _refuse_without_consent(patient_data, scans)
    out = Path(out)
    _refuse_run_folder(out, Path(result))
    run = FinishedRun(result)
    digests = run.manifest.get("inputs") or {}
    opened = {visit: _opened(visit, scans[visit], series.get(visit), volume_index, digests, limits) for visit in MASKS if visit in scans}
    tracking = tracking_uid(next(iter(opened.values())).uid)
    written = {visit: _outlines(run, visit, making) for visit in opened}
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise output_problem(problem) from problem
    for visit, outlines in written.items():
        write_segmentation(out / FILES[visit], opened[visit], outlines, tracking=tracking)
    return tuple(FILES[visit] for visit in written)


def _refuse_without_consent(patient_data: bool, scans: Mapping[str, Any]) -> None:
    if not scans:
        raise UsageError("No DICOM series is named, and a DICOM segmentation is written for a scan that is DICOM only", code="MRD-E328",
                         fix="name the folder that the run read with --pre or --post; for other scans the run's NRRD masks are the result")
    if not patient_data:
        raise UsageError("A DICOM segmentation holds the patient's name, identifier and birth date, the study's date and the UIDs of the series", code="MRD-E328",
                         fix="say --with-patient-data if it may; to share outlines without them use the run's NRRD masks")


def _refuse_run_folder(out: Path, result: Path) -> None:
    place, run = out.resolve(), result.resolve()
    if place == run or run in place.parents or (out / MANIFEST).exists():
        raise EnvironmentProblem("The output folder is a run's, and a run's folder never holds who the patient is", code="MRD-E329",
                                 fix="choose a folder of its own for DICOM objects")


def _opened(visit: str, folder: Path | str, series: str | None, volume_index: int | None, digests: Mapping[str, Any], limits: GateLimits) -> Series:
    name = {"pre": "pre-treatment", "post": "post-treatment"}[visit]
    try:
        found = open_series(folder, series=series, volume_index=volume_index, limits=limits)
    except InputError as error:
        raise error.about(f"the {name} series") from error
    if sorted(found.sha256) != sorted(digests.get(f"{visit}_sha256") or ()):
        raise InputError(f"This is not the series that the run read as its {name} scan", code="MRD-E327", found=f"{len(found.sha256)} files of other content",
                         fix="name the series that the run read, unchanged; after a change of the scans run again")
    return found


def _outlines(run: FinishedRun, visit: str, making: Making) -> list[Outline]:
    files, sources = run.result.get("files") or {}, run.result.get("mask_sources") or {}
    programs, found = run.result.get("mask_programs") or {}, []
    for key in MASKS[visit]:
        role = key.removesuffix("_mask")
        if key in files and sources.get(role) is not None:
            made = _made(sources[role], making, programs.get(role) or {})
            found.append(Outline(key, run.image(IMAGE_FILES[key]), made.origin, made.algorithm, made.moved))
    if not found:
        raise InputError("The run has no outline of this visit to write", code="MRD-E838", found=f"no mask of '{visit}'", fix="run with masks, then write the segmentation")
    return found


def _made(source: str, making: Making, program: Mapping[str, Any]) -> Making:
    """How an outline came about: of what was given to the run as the user says, unless its file told of a program; what a program or the run
    made never passes for a person's."""
    if source == "drawn":
        return making
    if source in (AUTOMATIC, EDITED):
        return Making("automatic" if source == AUTOMATIC else "semiautomatic", _algorithm(program))
    if source == "carried":
        return Making("semiautomatic", ("MRDeltaNet: outline carried over by registration", __version__), moved=True)
    return Making("automatic", (f"MRDeltaNet: {source}", __version__))


def _algorithm(program: Mapping[str, Any]) -> tuple[str, str]:
    """Name, and as version that of the program with the beginning of its model's digest: DICOM keeps 64 characters of each."""
    digest = program.get("model_sha256")
    name = " ".join(filter(None, (str(program.get("program") or "a program"), program.get("model"))))
    return name, " ".join(filter(None, (program.get("version") or "not known", f"model SHA-256 {digest[:16]}" if digest else "")))
