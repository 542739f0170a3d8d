"""The job of one automatic segmentation: command line and panel fill the same form, and one validation reads it.

A job file is one JSON object with the names of the command line, an underscore for each hyphen:
    {"image": "before/", "model": "nnUNetTrainer__nnUNetPlans__3d_fullres", "out": "tumour.nrrd"}
Relative paths in a job file are relative to the file.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Mapping

from MRDeltaNetLib.config import DEVICES, ROLES, GateLimits
from MRDeltaNetLib.errors import UsageError
from MRDeltaNetLib.io import job_values as values
from MRDeltaNetLib.io.atomic import write_text
from MRDeltaNetLib.io.images import WRITTEN_SUFFIXES
from MRDeltaNetLib.io.jobs import MAX_THREADS, MAX_VOLUME_INDEX, PROGRESS
from MRDeltaNetLib.io.tables import read_json, short

SCHEMA = "mrdeltanet.segment-job/1"


@dataclass(frozen=True)
class SegmentJob:
    """What one automatic segmentation is asked to do.

    image         the scan that is drawn on: DICOM folder, or NIfTI, NRRD or MHA file
    model         folder of a trained nnU-Net v2 model, approved by the user
    out           the mask: a file that ends in .nrrd, .nii, .nii.gz or .mha
    other         the other scan of the pair, for a model of two channels; it is aligned to `image`
    transform     an accepted alignment, LPS of image -> LPS of other, mm (.tfm); None: they are aligned rigidly
    role          which scan `image` is: "pre" or "post"
    label         which of the model's labels is the tumour; None where it has one
    probability   where the probability of every voxel goes, NRRD; None: beside the mask, NAME-probability.nrrd
    series, other_series  which DICOM series, if a folder holds several
    volume_index  which volume of a 4-D scan
    assume_ras    read a NIfTI file without orientation as RAS
    python        a Python with nnU-Net, or the folder of its environment; None: see imaging.nnunet.environment.find_python
    device        "auto", "cpu", "cuda" or "mps"
    threads       0: what the libraries choose
    mirroring     average over mirrored scans
    replace       an earlier mask of that name may be replaced
    progress      "bar", "json" or "none"
    """

    image: Path
    model: Path
    out: Path
    other: Path | None = None
    transform: Path | None = None
    role: str = "pre"
    label: str | None = None
    probability: Path | None = None
    series: str | None = None
    other_series: str | None = None
    volume_index: int | None = None
    assume_ras: bool = False
    python: Path | None = None
    device: str = "auto"
    threads: int = 0
    mirroring: bool = True
    replace: bool = False
    progress: str = "bar"


_NAMES = tuple(field.name for field in fields(SegmentJob))
_NEEDED = ("image", "model", "out")
_PATHS = ("image", "model", "out", "other", "transform", "probability", "python")
_CHOICES = {"role": ROLES, "device": DEVICES, "progress": PROGRESS}
_NUMBERS = {"volume_index": MAX_VOLUME_INDEX, "threads": MAX_THREADS}
_SWITCHES = ("assume_ras", "mirroring", "replace")
_SERIES = ("series", "other_series")


def read_segment_job(path: Path | str, limits: GateLimits = GateLimits()) -> SegmentJob:
    """Read a job file. raises InputError MRD-E420 to E427 if it is not strict JSON; UsageError as segment_job"""
    path = Path(path)
    return segment_job(read_json(path, limits, what="the job file"), base=path.absolute().parent)


def write_segment_job(job: SegmentJob, path: Path | str) -> None:
    """Write a job file that means the same wherever it lies."""
    write_text(path, values.as_text(values.with_absolute_paths(job, _PATHS), SCHEMA))


def segment_job(given: Mapping[str, Any], *, base: Path | None = None) -> SegmentJob:
    """The one validation; None means not given.

    base    folder that relative paths are relative to; None: the working folder
    raises  UsageError MRD-E403 (unknown name), E404 (missing), E405 (wrong type), E406 (no such choice, out of range), E408 (one thing needs
            another), E409 (impossible path), E384 (an ending that masks are not written with)
    """
    if not isinstance(given, Mapping):
        raise UsageError("A job is one JSON object of names and values", code="MRD-E405", fix='write {"image": ..., "model": ..., "out": ...}')
    values.refuse_unknown(given, _NAMES, "segment")
    values.refuse_other_schema(given, SCHEMA)
    chosen = {name: value for name, value in given.items() if value is not None and name != "schema"}
    if missing := [name for name in _NEEDED if not chosen.get(name)]:
        raise UsageError("The job does not say everything that is needed", code="MRD-E404", found=f"missing: {', '.join(missing)}",
                         fix="name the scan (image), the model's folder (model) and the mask's file (out)")
    job = SegmentJob(**{name: _checked(name, value, base) for name, value in chosen.items()})
    _refuse_contradictions(job)
    return job


def probability_file(job: SegmentJob) -> Path:
    """Where the probabilities go."""
    suffix = next(end for end in WRITTEN_SUFFIXES[::-1] if job.out.name.lower().endswith(end))
    return job.probability or job.out.with_name(job.out.name[:-len(suffix)] + "-probability.nrrd")


def _checked(name: str, value: Any, base: Path | None) -> Any:
    if name in _PATHS:
        return values.path(name, value, base)
    if name in _SWITCHES:
        return values.switch(name, value)
    if name in _NUMBERS:
        return values.whole_number(name, value, 0, _NUMBERS[name])
    if name in _CHOICES:
        return values.choice(name, value, _CHOICES[name])
    if name in _SERIES:
        return values.series_uid(name, value)
    if not isinstance(value, str) or not value.strip():
        raise values.wrong_kind(name, value, "a text")
    return value


def _refuse_contradictions(job: SegmentJob) -> None:
    if not job.out.name.lower().endswith(WRITTEN_SUFFIXES):
        raise UsageError("Masks are not written with this ending", code="MRD-E384", found=short(job.out.suffix) or "no ending",
                         fix="choose a file name that ends in " + ", ".join(WRITTEN_SUFFIXES))
    if job.probability is not None and job.probability.suffix.lower() != ".nrrd":
        raise UsageError("Probabilities are written as NRRD", code="MRD-E384", found=short(job.probability.suffix) or "no ending",
                         fix="choose a file name that ends in .nrrd")
    for name in ("transform", "other_series"):
        if getattr(job, name) is not None and job.other is None:
            raise UsageError(f"'{name}' is about the other scan, which is not named", code="MRD-E408", fix=f"name 'other', or leave out '{name}'")
