"""From a job to a checked Case: both scans, their masks, clinical values; and the same in words for `mrdeltanet check`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable

import SimpleITK as sitk

from MRDeltaNetLib.case import IMAGE_ROLES, Case, Timepoint
from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, MRDeltaNetError, Notice
from MRDeltaNetLib.io import drawings
from MRDeltaNetLib.io.gate.facts import OneVolumeOnly
from MRDeltaNetLib.io.gate.headers import check_header, is_dicom
from MRDeltaNetLib.io.gate.masks import MASK_ROLES
from MRDeltaNetLib.io.gate.pair import check_grade, check_masks_given, check_pair, pair_checks
from MRDeltaNetLib.io.images import ReadMask, read_image, read_told_mask
from MRDeltaNetLib.io.jobs import Job
from MRDeltaNetLib.io.tables import read_clinical

OBLIQUE_DEG = 1.0
"""A scan whose axes are turned by more than this against the patient's is called oblique, degrees."""


MASKS_OF = {"pre": ("pre",), "post": ("post", "residual")}
"""Scan -> the masks that are drawn on it."""

MASK_STEPS = frozenset({"masks", "predict"})
"""Steps that cannot be done without a tumour mask."""

UNUSED_INDEX = "MRD-W132"


@dataclass(frozen=True)
class Inspection:
    """What `mrdeltanet check` tells.

    lines    one line a scan or mask that was read
    notices  warnings
    errors   refusals, each with its remedy; empty if a run would start
    """

    lines: tuple[str, ...]
    notices: tuple[Notice, ...]
    errors: tuple[MRDeltaNetError, ...]


def read_case(job: Job, limits: GateLimits = GateLimits()) -> tuple[Case, tuple[Notice, ...]]:
    """Read everything that a job names, through the gate.

    returns the Case and the warnings of both scans and of the pair
    raises  InputError of the first thing that is refused, naming the scan it is about
    """
    scans = {}
    for role in IMAGE_ROLES:
        scans[role] = _read_image(job, role, limits)
        for mask_role in _named_masks(job, role):
            scans[role] = _with_mask(scans[role], job, mask_role, limits)
    pre, post = scans["pre"], scans["post"]
    _refuse_unused_index(job, pre, post)
    if MASK_STEPS & set(job.steps):
        check_masks_given(pre, post)                         # the pipeline warns of the mask that it carries over, once it has
    notices = check_pair(pre, post, registration=job.registration, limits=limits, complete_response=job.complete_response)
    clinical = read_clinical(Path(job.clinical), limits) if job.clinical else {}
    notices += check_grade(job.mrtrg, post.residual, job.complete_response)
    return Case((pre, post), clinical, job.complete_response, job.mrtrg), (*pre.notices, *post.notices, *notices)


def inspect(job: Job, limits: GateLimits = GateLimits(), *, look: Callable[[Timepoint, str, GateLimits], tuple[Notice, ...]] | None = None) -> Inspection:
    """Try everything and stop at nothing, so that one call names every problem. Writes nothing.

    look  a further check of each scan with its masks, which stands on a higher floor: (scan, role, limits) -> warnings, or raises InputError
    """
    lines: list[str] = []
    notices: list[Notice] = []
    errors: list[MRDeltaNetError] = []
    scans: dict[str, Timepoint] = {}
    for role in IMAGE_ROLES:
        scan = _attempt(lambda: _read_image(job, role, limits), errors)
        for mask_role in _named_masks(job, role):
            if scan is None:
                _attempt(lambda: _check_mask_file(job, mask_role, limits), errors)
            else:
                scan = _attempt(lambda: _with_mask(scan, job, mask_role, limits), errors) or scan
        if scan is not None:
            scans[role] = scan
            if look is not None:
                notices += _attempt(lambda: look(scan, role, limits), errors) or ()
            lines.append(f"{role:4}  {describe(scan, _named_masks(job, role))}")
            notices += scan.notices
    if len(scans) == 2:
        for check in _checks_of_both(job, scans["pre"], scans["post"], limits):
            notices += _attempt(check, errors) or ()
        interval = Case((scans["pre"], scans["post"])).interval_days
        lines.append(f"pair  {'interval unknown' if interval is None else f'{interval} days apart'}")
    if job.clinical:
        clinical = _attempt(lambda: read_clinical(Path(job.clinical), limits), errors)
        lines += [f"clinical values: {len(clinical)}"] if clinical is not None else []
    return Inspection(tuple(lines), tuple(notices), tuple(errors))


def _checks_of_both(job: Job, pre: Timepoint, post: Timepoint, limits: GateLimits) -> tuple[Callable[[], tuple[Notice, ...]], ...]:
    """What can be said of two scans that were read; of missing masks only if none was refused."""
    checks = [lambda: _refuse_unused_index(job, pre, post), lambda: check_grade(job.mrtrg, post.residual, job.complete_response),
              *pair_checks(pre, post, registration=job.registration, limits=limits, complete_response=job.complete_response)]
    if (job.pre_mask is None or pre.mask is not None) and (job.post_mask is None or post.mask is not None):
        checks.append(lambda: check_masks_given(pre, post))
    return tuple(checks)


def describe(scan: Timepoint, masks: tuple[str, ...] = ()) -> str:
    """One line on a scan: format, weighting, size, spacing, tilt, masks; nothing that names the patient.

    masks  roles of the masks that were named for it: one that is not there was refused
    """
    facts, parts = scan.facts, [scan.facts.format.upper(), describe_image(scan)]
    parts.append("mask: " + (scan.mask_source or "drawn" if scan.mask is not None else "refused" if {"pre", "post"} & set(masks) else "none"))
    if scan.residual is not None:
        parts.append("residual tumour: " + (scan.residual_source or "drawn" if sitk.GetArrayViewFromImage(scan.residual).any() else "none left"))
    elif "residual" in masks:
        parts.append("residual tumour: refused")
    if facts.skipped:
        parts.append("not used: " + ", ".join(f"{count} x {kind}" for kind, count in sorted(facts.skipped.items())))
    return "; ".join(parts)


def describe_image(scan: Timepoint) -> str:
    """The part of describe that is about the image alone: weighting, size, spacing, tilt, field strength."""
    facts, image = scan.facts, scan.image
    size = " x ".join(map(str, image.GetSize()))
    spacing = " x ".join(f"{value:.2f}" for value in image.GetSpacing())
    parts = [" ".join(filter(None, (facts.modality, facts.sequence))) or "weighting unknown", f"{size} voxels of {spacing} mm", _tilt(image)]
    if facts.field_strength_t:
        parts.append(f"{facts.field_strength_t:g} T")
    return "; ".join(parts)


def _read_image(job: Job, role: str, limits: GateLimits) -> Timepoint:
    """One scan, with what the DICOM header says that the job names for it."""
    given = getattr(job, f"{role}_header")
    if given is None:
        return _read_voxels(job, role, limits)
    from MRDeltaNetLib.io.dicom import own_header, read_scan_header, with_header
    path = Path(getattr(job, role))
    if path.is_dir() or is_dicom(path):
        raise own_header(role)
    header = _named(f"the DICOM header of {IMAGE_ROLES[role]}", lambda: read_scan_header(Path(given), limits))
    return with_header(_read_voxels(job, role, limits), header, role)


def _read_voxels(job: Job, role: str, limits: GateLimits) -> Timepoint:
    """One scan. A volume index is for a scan that holds several volumes; one that holds a single volume is read as it is, and says so."""
    series = job.pre_series if role == "pre" else job.post_series
    path = job.pre if role == "pre" else job.post

    def read(volume_index: int | None) -> Timepoint:
        return _named(IMAGE_ROLES[role], lambda: read_image(Path(path), series=series, volume_index=volume_index, assume_ras=job.assume_ras,
                                                            limits=limits, role=role))

    try:
        return read(job.volume_index)
    except OneVolumeOnly:
        scan = read(None)
        unused = Notice(UNUSED_INDEX, f"--volume-index was not used for {IMAGE_ROLES[role]}, which holds one volume only",
                        "nothing, if it was meant for the other scan")
        return replace(scan, notices=(*scan.notices, unused))


def _refuse_unused_index(job: Job, pre: Timepoint, post: Timepoint) -> tuple[Notice, ...]:
    """A volume index that neither scan has a use for is a mistake about one of them."""
    if all(UNUSED_INDEX in {notice.code for notice in scan.notices} for scan in (pre, post)):
        raise InputError("A volume was chosen by its number, but both scans hold one volume only", code="MRD-E132",
                         found=f"volume index {job.volume_index}", fix="leave out --volume-index, or choose the scan that holds several volumes")
    return ()


def _named_masks(job: Job, role: str) -> tuple[str, ...]:
    """The roles of the masks that a job names for the scan "pre" or "post"."""
    return tuple(mask_role for mask_role in MASKS_OF[role] if getattr(job, f"{mask_role}_mask") is not None)


def _with_mask(scan: Timepoint, job: Job, mask_role: str, limits: GateLimits) -> Timepoint:
    """The scan with one of the masks that the job names: "pre", "post" or "residual"."""
    found = _named(MASK_ROLES[mask_role], lambda: read_told_mask(
        Path(getattr(job, f"{mask_role}_mask")), scan.image, role=mask_role, label=getattr(job, f"{mask_role}_label"),
        may_be_empty=mask_role == "residual", assume_ras=job.assume_ras, limits=limits, frame_uid=scan.frame_uid))
    program, probability = _program(found, job, mask_role, scan, limits)
    source = drawings.source(program, found.image)
    notices = (*scan.notices, *found.notices, *drawings.unedited(program, found.image, MASK_ROLES[mask_role]))
    programs = {**scan.programs, **({} if program is None else {mask_role: program})}
    if mask_role == "residual":
        return replace(scan, residual=found.image, residual_source=source, programs=programs, notices=notices)
    return replace(scan, mask=found.image, mask_source=source, programs=programs, probability=probability, notices=notices)


def _program(found: ReadMask, job: Job, mask_role: str, scan: Timepoint, limits: GateLimits) -> tuple[dict[str, Any] | None, sitk.Image | None]:
    """What drew a mask, None where nothing says that it was a program; and the probabilities that the job names for it."""
    own = drawings.program_told(found)
    given = getattr(job, f"{mask_role}_probability", None)
    if given is None:
        return own, None
    probability, program = _named(f"the probabilities of {MASK_ROLES[mask_role]}", lambda: drawings.read_probability(given, scan.image, limits))
    if own is not None and own.get("mask_sha256", program["mask_sha256"]) != program["mask_sha256"]:       # a DICOM segmentation keeps no digest
        raise InputError(f"The probabilities belong to another drawing than {MASK_ROLES[mask_role]}", code="MRD-E390", found=f"drawn by {drawings.in_words(own)}",
                         fix="give the file NAME-probability.nrrd that was written beside this very mask, or leave the option out")
    return program, probability


def _check_mask_file(job: Job, mask_role: str, limits: GateLimits) -> None:
    """As much of a mask as can be judged without its scan: whether its file can be read."""
    path = Path(getattr(job, f"{mask_role}_mask"))
    if path.is_dir() or is_dicom(path):                        # a segment has its place only beside its scan
        return
    _named(MASK_ROLES[mask_role], lambda: check_header(Path(getattr(job, f"{mask_role}_mask")), limits, assume_ras=job.assume_ras))


def _named(what: str, read: Callable):
    """Run a reader; an error of it says which file it is about."""
    try:
        return read()
    except MRDeltaNetError as error:
        if error.what.startswith(what[0].upper() + what[1:]) or what in error.what:
            raise
        raise error.about(what) from error


def _attempt(action: Callable, errors: list[MRDeltaNetError]):
    try:
        return action()
    except MRDeltaNetError as error:
        errors.append(error)
        return None


def _tilt(image: sitk.Image) -> str:
    """How far the scan's axes are turned against the patient's, in words."""
    direction = image.GetDirection()
    worst = max(math.degrees(math.acos(min(1.0, max(abs(direction[row * 3 + column]) for row in range(3))))) for column in range(3))
    return "straight" if worst <= OBLIQUE_DEG else f"oblique by {worst:.0f} degrees"
