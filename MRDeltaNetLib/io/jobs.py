"""The job: what one run is asked to do. Command line, panel and page fill the same form, and one validation reads it.

A job file is one JSON object with the names of the command line, an underscore for each hyphen:
    {"pre": "before/", "post": "after.nii.gz", "pre_mask": "tumour.seg.nrrd", "out": "result", "steps": ["align", "masks"]}
Relative paths in a job file are relative to the file. Paths are file names and nothing else: no shell ever sees them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Mapping

from MRDeltaNetLib.config import BIAS_CORRECTIONS, DEVICES, EXPLAIN_METHODS, MEMBERS, REGISTRATION_METHODS, STEPS, GateLimits, RunConfig
from MRDeltaNetLib.errors import UsageError
from MRDeltaNetLib.io import job_values as values
from MRDeltaNetLib.io.atomic import write_text
from MRDeltaNetLib.io.tables import read_json, short

SCHEMA = "mrdeltanet.job/1"
PROGRESS = ("bar", "json", "none")

MAX_SEED = 2**32 - 1
MAX_THREADS = 1024
MAX_LABEL = 2**31 - 1
MAX_VOLUME_INDEX = 10**6
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
    pre_probability, post_probability  what `mrdeltanet segment` wrote beside the mask, if that mask is its drawing or began as it: tells which
                             model drew, and where its border was uncertain
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
    threads                  of the image filters; 0: what ITK chooses. The network has its own number, see response.prediction.CPU_THREADS
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
    pre_probability: Path | None = None
    post_probability: Path | None = None
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


_PATHS = ("pre", "post", "out", "pre_header", "post_header", "pre_mask", "post_mask", "residual_mask", "pre_probability", "post_probability", "clinical", "model", "transform")
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
    write_text(path, to_json(values.with_absolute_paths(job, _PATHS)))


def to_json(job: Job) -> str:
    """A job as the text of a job file; choices that are the default are left out. read_job gives the same job back."""
    return values.as_text(job, SCHEMA)


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
    values.refuse_unknown(given, _NAMES, "run")
    values.refuse_other_schema(given, SCHEMA)
    chosen = {name: value for name, value in given.items() if value is not None and name != "schema"}
    if missing := [name for name in _NEEDED if name not in chosen or chosen[name] == ""]:
        raise UsageError("The job does not say everything that is needed", code="MRD-E404", found=f"missing: {', '.join(missing)}",
                         fix="name the scan before treatment (pre), the scan after it (post) and the output folder (out)")
    job = Job(**{name: _checked(name, value, base) for name, value in chosen.items()})
    _refuse_contradictions(job)
    return job


def _checked(name: str, value: Any, base: Path | None) -> Any:
    if name in _PATHS:
        return values.path(name, value, base)
    if name in _LABELS and isinstance(value, str):
        return label_name(name, value)
    if name in _NUMBERS:
        return values.whole_number(name, value, *_NUMBERS[name], "a whole number" + (", or a segment's name as text" if name in _LABELS else ""))
    if name == "outline_step_mm":
        return _outline_step(value)
    if name == "steps":
        return _steps(value)
    if name == "explain_methods":
        return methods_from(value)
    if name in _SWITCHES:
        return values.switch(name, value)
    return values.choice(name, value, _CHOICES[name]) if name in _CHOICES else values.series_uid(name, value)


def label_name(name: str, value: str) -> str:
    """A segment's name or code as a label; raises UsageError MRD-E406 for what cannot be one."""
    if not value.strip() or len(value) > MAX_LABEL_CHARACTERS or not value.isprintable():
        raise UsageError(f"'{name}' is neither a label nor a segment's name", code="MRD-E406", found=f"a text of {len(value)} characters",
                         fix=f"write the label's number, or the segment's name or code in at most {MAX_LABEL_CHARACTERS} characters")
    return value.strip()


def _outline_step(value: Any) -> float:
    """Hundredths, so that the names of the outlines, which carry the number, tell two steps apart."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise values.wrong_kind("outline_step_mm", value, "a number of millimetres")
    low, high = OUTLINE_STEPS_MM
    if not low <= value <= high or round(value, 2) != value:
        raise UsageError("'outline_step_mm' is out of range", code="MRD-E406", found=short(str(value)) if abs(value) < 10**20 else "a huge number",
                         fix=f"choose a number of millimetres from {low:g} to {high:g} with at most two decimals")
    return float(value)


def _steps(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(step, str) for step in value):
        raise values.wrong_kind("steps", value, "a list of texts")
    known = f"the steps are {', '.join(STEPS)}, in this order"
    if unknown := [step for step in value if step not in STEPS]:
        raise UsageError("The job names a step that is not known", code="MRD-E407", found=f"'{short(unknown[0])}'",
                         fix=values.nearest(unknown[0].casefold(), STEPS) + known)
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
        raise values.wrong_kind("explain_methods", value, "a list of texts")
    known = f"the methods are {', '.join(EXPLAIN_METHODS)}"
    if unknown := [key for key in value if key not in EXPLAIN_METHODS]:
        raise UsageError("There is no such method of explanation", code="MRD-E723", found=f"'{short(unknown[0])}'",
                         fix=values.nearest(unknown[0].casefold().replace("-", "_"), EXPLAIN_METHODS) + known)
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
    for role in ("pre", "post"):
        if getattr(job, f"{role}_probability") is not None and getattr(job, f"{role}_mask") is None:
            raise UsageError(f"'{role}_probability' belongs to a mask that is not named", code="MRD-E408", fix=f"name '{role}_mask', or leave out '{role}_probability'")
    if job.transform is not None and job.transform.suffix.lower() != ".tfm":
        # an HDF5 file may name other files to read and claim any size, and ITK's reader believes it
        raise UsageError("'transform' is not an ITK transform in text form", code="MRD-E406", found="another ending than .tfm",
                         fix="name registration.tfm of an earlier run, or save a rigid or affine transform as .tfm")
