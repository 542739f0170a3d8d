"""One case of a cohort: from its row to its crop. What runs inside a worker, and what names it from outside.

A task is plain JSON, because it goes to another process or another machine:

    files               role (pre, post, pre_mask, post_mask, residual_mask) -> absolute path
    options             job options of the row (pre_series, post_label, ...)
    complete_response   the reader sees no viable tumour
    interval_days       days between the scans as the table has them, or null
    preprocessing, registration, limits   the settings
    versions            of this package's code and of the libraries that touch voxels
    store               folder of the crops
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Mapping

import numpy as np
import SimpleITK as sitk

import MRDeltaNetLib
from MRDeltaNetLib import pipeline
from MRDeltaNetLib.case import Case
from MRDeltaNetLib.config import GateLimits, PreprocessingConfig, RegistrationConfig
from MRDeltaNetLib.errors import EnvironmentProblem, InputError, MRDeltaNetError, Notice
from MRDeltaNetLib.io.atomic import sha256
from MRDeltaNetLib.io.cases import read_case
from MRDeltaNetLib.io.crops import CropStore
from MRDeltaNetLib.io.jobs import Job, job_from_mapping
from MRDeltaNetLib.versions import versions

if TYPE_CHECKING:
    from MRDeltaNetLib.io.cohort_table import Row

CODE = ("case.py", "pipeline.py", "imaging", "io/gate", "io/dicom", "io/images.py", "io/cases.py", "io/crops.py", "response/uncertainty.py",
        "cohort/preparing/cases.py")
"""What decides over the bytes of a crop; imaging/phantom, which makes up scans, does not."""

LIBRARIES = ("numpy", "SimpleITK", "pydicom", "torch", "monai")
FILES = ("pre", "post", "pre_mask", "post_mask", "residual_mask")

PLACE_DIGITS = 3
"""Decimals of spacing, origin (mm) and direction in a scan's digest: formats keep them with different precision."""

HEADER_BYTES = 64 * 1024
"""A volume file of more bytes than this holds its voxels itself."""

_DETACHED = re.compile(rb"^(?:data ?file:\s*|ElementDataFile\s*=\s*)([^\r\n]+)", re.MULTILINE | re.IGNORECASE)


class StoreProblem(Exception):
    """The store cannot be written to. No case can be prepared then, so the batch ends; the argument is the EnvironmentProblem."""


def task_of(row: "Row", folder: Path, store: Path, preprocessing: PreprocessingConfig, registration: RegistrationConfig) -> dict[str, Any]:
    """The task of a row; folder: what relative paths are relative to."""
    return {"files": {role: os.path.abspath(folder / row.files[role]) for role in FILES if row.files.get(role) is not None},
            "options": dict(row.options), "complete_response": bool(row.complete_response), "interval_days": row.interval_days,
            "preprocessing": asdict(preprocessing), "registration": asdict(registration), "limits": asdict(GateLimits()), "versions": code_versions(),
            "store": os.path.abspath(store)}


def fingerprint(task: Mapping[str, Any]) -> str:
    """Names a task by sizes and times of its files instead of their bytes, which takes no reading.

    Any write to a file changes it; a copy of the cohort elsewhere changes it too, which costs one more reading and nothing else.
    """
    return _digest([_settings(task), {role: [(name, *_stat(path)) for name, path in _parts(Path(given))] for role, given in task["files"].items()}])


def key_of(task: Mapping[str, Any]) -> str:
    """Names the crop: SHA-256 over the bytes of every input file, options, settings and versions; not over names, ids or places.

    raises  OSError if a file is not there or cannot be read
    """
    return _digest([_settings(task), {role: sorted(sha256(path) for _, path in _parts(Path(given))) for role, given in task["files"].items()}])


def prepare(task: Mapping[str, Any]) -> dict[str, Any]:
    """Read, align and crop one case, and keep it, unless the store has it.

    returns {"key": name of the crop, "made": False if it was there}
    raises  any MRDeltaNetError of the case; StoreProblem around one of the store
    """
    before = fingerprint(task)
    try:
        key = key_of(task)
    except OSError as cause:
        raise _unreadable(task, cause) from cause
    store = CropStore(task["store"])
    if store.has(key):
        return {"key": key, "made": False}
    preprocessing = PreprocessingConfig(**_tuples(task["preprocessing"]))
    registration = RegistrationConfig(**_tuples(task["registration"]))
    case, notices = read_case(_job(task))
    interval, more = _interval(task["interval_days"], case.interval_days)
    found = pipeline.prepare_case(case, preprocessing, registration, notices=(*notices, *more))
    if fingerprint(task) != before:
        raise InputError("The files of the case changed while they were read", code="MRD-E469",
                         fix="wait until the files are copied, then run the same command again")
    try:
        store.write(key, found.prepared.tensor, {**found.facts, "interval_days": interval, "scans_sha256": scans_sha256(case)}, found.prepared.outlines)
    except EnvironmentProblem as problem:
        raise StoreProblem(problem) from problem
    return {"key": key, "made": True}


def scans_sha256(case: Case) -> dict[str, str]:
    """"pre", "post": SHA-256 of the scan by itself, by which one patient is known again under another name and with other masks.

    Over the voxels as read (float32) and where they lie: size, and spacing (mm), origin (LPS, mm) and direction, rounded. Neither file format nor
    masks, settings, names or dates count.
    """
    return {role: _scan_digest(scan.image) for role, scan in (("pre", case.pre), ("post", case.post))}


@cache
def code_versions() -> dict[str, str]:
    """SHA-256 of the code that makes crops, and the versions of the libraries under it."""
    root = Path(MRDeltaNetLib.__file__).parent
    found = hashlib.sha256()
    for path in _code_files(root):
        found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return {"code": found.hexdigest(), **{name: str(version) for name, version in versions().items() if name in LIBRARIES}}


def _job(task: Mapping[str, Any]) -> Job:
    """The row as the job that `mrdeltanet run` would do."""
    return job_from_mapping({**task["options"], **task["files"], "out": task["store"], "complete_response": task["complete_response"],
                             "registration": task["registration"]["method"], "steps": ("align", "masks", "predict")})


def _unreadable(task: Mapping[str, Any], cause: OSError) -> MRDeltaNetError:
    """Why the files of a case cannot be read: as the gate names it; where the system does not let the gate look either, as the system does."""
    try:
        read_case(_job(task))
    except MRDeltaNetError as refusal:
        return refusal
    except OSError as seen:
        cause = seen
    return InputError("A scan or mask of the case cannot be opened", code="MRD-E100", found=cause.strerror or type(cause).__name__,
                      fix="check that it is there, that it may be read, and that its name is not too long")


def _scan_digest(image: sitk.Image) -> str:
    place = [round(value, PLACE_DIGITS) + 0.0 for value in (*image.GetSpacing(), *image.GetOrigin(), *image.GetDirection())]      # + 0.0: no -0.0
    found = hashlib.sha256(struct.pack(f"<3I{len(place)}d", *image.GetSize(), *place))
    found.update(np.ascontiguousarray(sitk.GetArrayViewFromImage(image), dtype="<f4"))
    return found.hexdigest()


def _interval(told: int | None, read: int | None) -> tuple[int | None, tuple[Notice, ...]]:
    """The table's interval rules; a header that has another one is told."""
    if told is None or read is None or told == read:
        return read if told is None else told, ()
    return told, (Notice("MRD-W460", f"The table gives an interval of {told} days, the headers of the scans one of {read}",
                         "see which is right; the table's is used"),)


def _settings(task: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in task.items() if name not in ("files", "store")}


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of a frozen dataclass from JSON, which knows lists only."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _parts(place: Path) -> Iterator[tuple[str, Path]]:
    """Every file that a path stands for, with its name inside it: a folder's files, a file and the data file that its header names. What the
    system does not let us see (no permission, a name too long) counts as not there, so that it fails its own case and no other."""
    if os.path.isdir(place):
        for folder, below, names in os.walk(place):
            below.sort()
            yield from ((Path(folder, name).relative_to(place).as_posix(), Path(folder, name)) for name in sorted(names)
                        if os.path.isfile(os.path.join(folder, name)))
        return
    yield "", place
    if (data := _detached_data(place)) is not None:
        yield data.name, data


def _detached_data(path: Path) -> Path | None:
    """The sibling that a detached header names; the gate refuses any other place."""
    try:
        if not os.path.isfile(path) or path.stat().st_size > HEADER_BYTES:
            return None
        named = _DETACHED.search(path.read_bytes())
    except OSError:
        return None
    data = path.with_name(os.fsdecode(named.group(1).strip()).replace("\\", "/").rsplit("/", 1)[-1] or ".") if named else None
    return data if data is not None and os.path.isfile(data) else None


def _stat(path: Path) -> list[Any]:
    """Place, size and times of a file; nulls where it is not there."""
    try:
        facts = path.stat()
    except OSError:
        return [os.fspath(path), None, None, None]
    return [os.fspath(path), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns]


def _code_files(root: Path) -> list[Path]:
    made_up = root / "imaging" / "phantom"
    places = [root / name for name in CODE]
    found = [path for place in places for path in (sorted(place.rglob("*.py")) if place.is_dir() else [place])]
    return [path for path in found if made_up not in path.parents]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("ascii")).hexdigest()
