"""The job: what one run is asked to do. Command line, panel and page fill the same form, and one validation reads it.

A job file is one JSON object with the names of the command line, an underscore for each hyphen:
    {"pre": "before/", "post": "after.nii.gz", "pre_mask": "tumour.seg.nrrd", "out": "result", "steps": ["align", "masks"]}
Relative paths in a job file are relative to the file. Paths are file names and nothing else: no shell ever sees them.
"""

from __future__ import annotations

import difflib
import json
import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Mapping

from MRDeltaNetLib.config import BIAS_CORRECTIONS, DEVICES, EXPLAIN_METHODS, MEMBERS, REGISTRATION_METHODS, STEPS, GateLimits, RunConfig
from MRDeltaNetLib.errors import UsageError
from MRDeltaNetLib.io.atomic import write_text
from MRDeltaNetLib.io.tables import read_json, short

SCHEMA = "mrdeltanet.job/1"
PROGRESS = ("bar", "json", "none")

MAX_SEED = 2**32 - 1
MAX_THREADS = 1024
MAX_LABEL = 2**31 - 1
MAX_VOLUME_INDEX = 10**6
MAX_UID_CHARACTERS = 128
MAX_LABEL_CHARACTERS = 64
OUTLINE_STEPS_MM = (0.5, 10.0)
MRTRG = (1, 5)
"""Magnetic resonance tumour regression grade: 1 no tumour signal is left, 5 no regression."""


@dataclass(frozen=True)
class Job:
    """What one run is asked to do; the names are those of the command line.

    pre, post                the scans: DICOM folder, or NIfTI, NRRD or MHA file
    out                      output folder
    pre_series, post_series  which DICOM series, if a folder holds several (Series Instance UID)
    pre_header, post_header  one DICOM file of that scan, where the scan is an image file that knows no date, scanner or sequence
    pre_mask, post_mask      the tumour before treatment; the tumour bed after it
    residual_mask            viable tumour after treatment; may be empty
    pre_label, post_label, residual_label  which label of that mask file is meant: its value from 1 (DICOM: segment number), a segment's name, or
                             in DICOM the code of what it shows, as "SCT:86049000"
    complete_response        the reader sees no viable tumour
    mrtrg                    the reader's magnetic resonance tumour regression grade, 1 to 5: kept as an opinion, never computed
    volume_index             which volume of a 4-D scan, from 0; a scan that holds one volume is read as it is
    assume_ras               read a NIfTI file without orientation as RAS
    clinical                 JSON file of clinical values
    model                    bundle folder; None: the demo model
    registration             "none", "rigid", "affine" or "deformable"
    transform                an accepted alignment of an earlier run (.tfm, pre LPS -> post LPS, mm): used as it is without
                             the step "align", as the start with it
    bias_correction          "off", "fast" or "full"; None: what the model was trained with
    outline_step_mm          how far outlines are moved, grown and shrunk for the range of P(pCR), mm, 0.5 to 10 in hundredths
    explain_methods          maps that the step "explain" makes, of config.EXPLAIN_METHODS; the native ones are always made
    members                  "all", or "first": the first member of an ensemble alone, which is faster and knows less
    device                   "auto", "cpu", "cuda" or "mps"
    seed                     of every random choice, 0 to 4294967295
    threads                  0: what the libraries choose
    steps                    what to do, in the order of config.STEPS
    no_scene                 write no scene.mrb: a door that shows the result in a scene of its own needs none
    progress                 "bar", "json" or "none"
    """

    pre: Path
    post: Path
    out: Path
    pre_series: str | None = None
    post_series: str | None = None
    pre_header: Path | None = None
    post_header: Path | None = None
    pre_mask: Path | None = None
    post_mask: Path | None = None
    residual_mask: Path | None = None
    pre_label: int | str | None = None
    post_label: int | str | None = None
    residual_label: int | str | None = None
    complete_response: bool = False
    mrtrg: int | None = None
    volume_index: int | None = None
    assume_ras: bool = False
    clinical: Path | None = None
    model: Path | None = None
    registration: str = "rigid"
    transform: Path | None = None
    bias_correction: str | None = None
    outline_step_mm: float = RunConfig.outline_step_mm
    explain_methods: tuple[str, ...] = RunConfig.explain_methods
    members: str = RunConfig.members
    device: str = "auto"
    seed: int = 0
    threads: int = 0
    steps: tuple[str, ...] = STEPS
    no_scene: bool = False
    progress: str = "bar"


_PATHS = ("pre", "post", "out", "pre_header", "post_header", "pre_mask", "post_mask", "residual_mask", "clinical", "model", "transform")
_TEXTS = ("pre_series", "post_series")
_SWITCHES = ("complete_response", "assume_ras", "no_scene")
_LABELS = ("pre_label", "post_label", "residual_label")
_NUMBERS = {"pre_label": (1, MAX_LABEL), "post_label": (1, MAX_LABEL), "residual_label": (1, MAX_LABEL), "mrtrg": MRTRG,
            "volume_index": (0, MAX_VOLUME_INDEX), "seed": (0, MAX_SEED), "threads": (0, MAX_THREADS)}
_CHOICES = {"registration": REGISTRATION_METHODS, "bias_correction": BIAS_CORRECTIONS, "members": MEMBERS, "device": DEVICES, "progress": PROGRESS}
_NEEDED = ("pre", "post", "out")
_NAMES = tuple(f.name for f in fields(Job))


def read_job(path: Path | str, limits: GateLimits = GateLimits()) -> Job:
    """Read a job file; relative paths in it are relative to the file.

    raises  InputError MRD-E420 to E427 if it is not strict JSON; UsageError as job_from_mapping
    """
    path = Path(path)
    return job_from_mapping(read_json(path, limits, what="the job file"), base=path.absolute().parent)


def write_job(job: Job, path: Path | str) -> None:
    """Write a job file that means the same wherever it lies: its paths are made absolute."""
    places = {name: Path(os.path.abspath(getattr(job, name))) for name in _PATHS if getattr(job, name) is not None}
    write_text(path, to_json(replace(job, **places)))


def to_json(job: Job) -> str:
    """A job as the text of a job file; choices that are the default are left out. read_job gives the same job back."""
    defaults = {f.name: f.default for f in fields(Job)}
    chosen = {name: getattr(job, name) for name in _NAMES if getattr(job, name) != defaults[name]}
    plain = {name: os.fspath(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
             for name, value in chosen.items()}
    return json.dumps({"schema": SCHEMA, **plain}, indent=2) + "\n"


def job_from_mapping(given: Mapping[str, Any], *, base: Path | None = None) -> Job:
    """The one validation of a job.

    given   names as in Job; None means not given
    base    folder that relative paths are relative to; None: the working folder
    raises  UsageError MRD-E403 (unknown name), E404 (missing), E405 (wrong type), E406 (out of range or no such choice),
            E407 (steps unknown, twice or out of order), E408 (one thing needs another), E409 (impossible path), E411 (no alignment)
    """
    if not isinstance(given, Mapping):
        raise UsageError("A job is one JSON object of names and values", code="MRD-E405", found=type(given).__name__,
                         fix='write {"pre": ..., "post": ..., "out": ...}')
    _refuse_unknown(given)
    values = {name: value for name, value in given.items() if value is not None and name != "schema"}
    _refuse_other_schema(given)
    if missing := [name for name in _NEEDED if name not in values or values[name] == ""]:
        raise UsageError("The job does not say everything that is needed", code="MRD-E404", found=f"missing: {', '.join(missing)}",
                         fix="name the scan before treatment (pre), the scan after it (post) and the output folder (out)")
    job = Job(**{name: _checked(name, value, base) for name, value in values.items()})
    _refuse_contradictions(job)
    return job


def _refuse_unknown(given: Mapping[str, Any]) -> None:
    for name in given:
        if name in _NAMES or name == "schema":
            continue
        if not isinstance(name, str):
            raise UsageError("A name in the job is not text", code="MRD-E403", found=type(name).__name__, fix="see mrdeltanet run --help")
        wanted = name.strip().lstrip("-").replace("-", "_").casefold()
        near = difflib.get_close_matches(wanted, _NAMES, 1, 0.5)
        raise UsageError("The job holds a name that is not known, perhaps a typing error", code="MRD-E403", found=f"'{short(name)}'",
                         fix=(f"perhaps '{near[0]}' is meant; " if near else "") + f"known are {', '.join(_NAMES)}")


def _refuse_other_schema(given: Mapping[str, Any]) -> None:
    if given.get("schema", SCHEMA) != SCHEMA:
        raise UsageError("The job file is of another version of MRDeltaNet", code="MRD-E406", found=f"schema {short(str(given['schema']))}",
                         fix=f"write it again with this version, which reads {SCHEMA}")


def _checked(name: str, value: Any, base: Path | None) -> Any:
    if name in _PATHS:
        return _path(name, value, base)
    if name in _LABELS and isinstance(value, str):
        return label_name(name, value)
    if name in _NUMBERS:
        return _number(name, value)
    if name == "outline_step_mm":
        return _outline_step(value)
    if name == "steps":
        return _steps(value)
    if name == "explain_methods":
        return methods_from(value)
    if name in _SWITCHES:
        if not isinstance(value, bool):
            raise _wrong_type(name, value, "true or false")
        return value
    if not isinstance(value, str):
        raise _wrong_type(name, value, "a text")
    if name in _CHOICES and value not in _CHOICES[name]:
        near = difflib.get_close_matches(value.casefold(), _CHOICES[name], 1)
        raise UsageError(f"'{name}' has no such choice", code="MRD-E406", found=f"'{short(value)}'",
                         fix=(f"perhaps '{near[0]}' is meant; " if near else "") + f"choose one of {', '.join(_CHOICES[name])}")
    if name in _TEXTS and (not value.strip() or len(value) > MAX_UID_CHARACTERS or not value.isprintable()):
        raise UsageError(f"'{name}' is not the UID of a DICOM series", code="MRD-E406", found=f"{len(value)} characters",
                         fix="copy the UID from what mrdeltanet check lists")
    return value


def _path(name: str, value: Any, base: Path | None) -> Path:
    if not isinstance(value, (str, os.PathLike)):
        raise _wrong_type(name, value, "a path, which is a text")
    text = os.fspath(value)
    if not text or "\0" in text:
        raise UsageError(f"'{name}' is not a possible path", code="MRD-E409", found="an empty text" if not text else "a NUL character in it",
                         fix="name a file or folder, or leave it out")
    return Path(text) if base is None else base / text


def _number(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong_type(name, value, "a whole number" + (", or a segment's name as text" if name in _LABELS else ""))
    low, high = _NUMBERS[name]
    if not low <= value <= high:
        raise UsageError(f"'{name}' is out of range", code="MRD-E406", found=short(str(value)) if abs(value) < 10**20 else "a huge number",
                         fix=f"choose a whole number from {low} to {high}")
    return value


def label_name(name: str, value: str) -> str:
    """A segment's name or code as a label; raises UsageError MRD-E406 for what cannot be one."""
    if not value.strip() or len(value) > MAX_LABEL_CHARACTERS or not value.isprintable():
        raise UsageError(f"'{name}' is neither a label nor a segment's name", code="MRD-E406", found=f"a text of {len(value)} characters",
                         fix=f"write the label's number, or the segment's name or code in at most {MAX_LABEL_CHARACTERS} characters")
    return value.strip()


def _outline_step(value: Any) -> float:
    """Hundredths, so that the names of the outlines, which carry the number, tell two steps apart."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong_type("outline_step_mm", value, "a number of millimetres")
    low, high = OUTLINE_STEPS_MM
    if not low <= value <= high or round(value, 2) != value:
        raise UsageError("'outline_step_mm' is out of range", code="MRD-E406", found=short(str(value)) if abs(value) < 10**20 else "a huge number",
                         fix=f"choose a number of millimetres from {low:g} to {high:g} with at most two decimals")
    return float(value)


def _steps(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(step, str) for step in value):
        raise _wrong_type("steps", value, "a list of texts")
    known = f"the steps are {', '.join(STEPS)}, in this order"
    if unknown := [step for step in value if step not in STEPS]:
        near = difflib.get_close_matches(unknown[0].casefold(), STEPS, 1)
        raise UsageError("The job names a step that is not known", code="MRD-E407", found=f"'{short(unknown[0])}'",
                         fix=(f"perhaps '{near[0]}' is meant; " if near else "") + known)
    if not value:
        raise UsageError("The job names no step, so there is nothing to do", code="MRD-E407", fix=known + "; leave 'steps' out to do all")
    if list(value) != [step for step in STEPS if step in value]:
        raise UsageError("The job names steps twice or out of order", code="MRD-E407", found=short(", ".join(value)), fix=known)
    return tuple(value)


def methods_from(value: Any) -> tuple[str, ...]:
    """Explanation methods in the order of config.EXPLAIN_METHODS, each once.

    value   a list of their names
    raises  UsageError MRD-E405 (wrong kind), E723 (unknown, or none)
    """
    if not isinstance(value, (list, tuple)) or not all(isinstance(key, str) for key in value):
        raise _wrong_type("explain_methods", value, "a list of texts")
    known = f"the methods are {', '.join(EXPLAIN_METHODS)}"
    if unknown := [key for key in value if key not in EXPLAIN_METHODS]:
        near = difflib.get_close_matches(unknown[0].casefold().replace("-", "_"), EXPLAIN_METHODS, 1)
        raise UsageError("There is no such method of explanation", code="MRD-E723", found=f"'{short(unknown[0])}'",
                         fix=(f"perhaps '{near[0]}' is meant; " if near else "") + known)
    if not value:
        raise UsageError("No method of explanation is named", code="MRD-E723", fix=known)
    return tuple(key for key in EXPLAIN_METHODS if key in value)


def _refuse_contradictions(job: Job) -> None:
    """Choices that each are possible but not together."""
    if "explain" in job.steps and "predict" not in job.steps:
        raise UsageError("The step 'explain' needs the step 'predict', whose inner values it shows", code="MRD-E408", fix="add 'predict' to the steps")
    if job.explain_methods != RunConfig.explain_methods and "explain" not in job.steps:
        raise UsageError("'explain_methods' are named without the step 'explain', which makes them", code="MRD-E408", fix="add 'explain' to the steps, or leave 'explain_methods' out")
    if "align" not in job.steps and job.transform is None:
        raise UsageError("The job leaves out the step 'align' but hands in no accepted transform", code="MRD-E411",
                         fix="add 'align' to the steps, or name the transform of an earlier run")
    for role in ("pre", "post", "residual"):
        if getattr(job, f"{role}_label") is not None and getattr(job, f"{role}_mask") is None:
            raise UsageError(f"'{role}_label' chooses a label of a mask that is not named", code="MRD-E408", fix=f"name '{role}_mask', or leave out '{role}_label'")
    if job.transform is not None and job.transform.suffix.lower() != ".tfm":
        # an HDF5 file may name other files to read and claim any size, and ITK's reader believes it
        raise UsageError("'transform' is not an ITK transform in text form", code="MRD-E406", found="another ending than .tfm",
                         fix="name registration.tfm of an earlier run, or save a rigid or affine transform as .tfm")


def _wrong_type(name: str, value: Any, wanted: str) -> UsageError:
    kinds = {bool: "true or false", int: "a number", float: "a number with a decimal point", str: "a text", list: "a list", tuple: "a list", dict: "an object"}
    return UsageError(f"'{name}' is of the wrong kind", code="MRD-E405", found=kinds.get(type(value), type(value).__name__), fix=f"write {wanted}")
