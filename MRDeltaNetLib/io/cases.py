"""From a job to a checked Case: both scans, their masks, clinical values; and the same in words for `mrdeltanet check`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable

import SimpleITK as sitk

from MRDeltaNetLib.case import IMAGE_ROLES, Case, Timepoint
from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import MRDeltaNetError, Notice
from MRDeltaNetLib.io.gate.pair import check_pair
from MRDeltaNetLib.io.images import read_image, read_mask
from MRDeltaNetLib.io.jobs import Job
from MRDeltaNetLib.io.tables import read_clinical

OBLIQUE_DEG = 1.0
"""A scan whose axes are turned by more than this against the patient's is called oblique, degrees."""


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
    pre = _read_timepoint(job, "pre", limits)
    post = _read_timepoint(job, "post", limits)
    notices = check_pair(pre, post, registration=job.registration, limits=limits, complete_response=job.complete_response)
    clinical = read_clinical(Path(job.clinical), limits) if job.clinical else {}
    return Case((pre, post), clinical, job.complete_response), (*pre.notices, *post.notices, *notices)


def inspect(job: Job, limits: GateLimits = GateLimits()) -> Inspection:
    """Try everything and stop at nothing, so that one call names every problem. Writes nothing."""
    lines: list[str] = []
    notices: list[Notice] = []
    errors: list[MRDeltaNetError] = []
    scans: dict[str, Timepoint] = {}
    for role in IMAGE_ROLES:
        if scan := _attempt(lambda: _read_image(job, role, limits), errors):
            masked = _attempt(lambda: _with_masks(scan, job, role, limits), errors) or scan
            scans[role] = masked
            lines += [f"{role:4}  {describe(masked)}"]
            notices += masked.notices
    if len(scans) == 2:
        found = _attempt(lambda: check_pair(scans["pre"], scans["post"], registration=job.registration, limits=limits,
                                            complete_response=job.complete_response), errors)
        notices += found or ()
        interval = Case((scans["pre"], scans["post"])).interval_days
        lines.append(f"pair  {'interval unknown' if interval is None else f'{interval} days apart'}")
    if job.clinical:
        clinical = _attempt(lambda: read_clinical(Path(job.clinical), limits), errors)
        lines += [f"clinical values: {len(clinical)}"] if clinical is not None else []
    return Inspection(tuple(lines), tuple(notices), tuple(errors))


def describe(scan: Timepoint) -> str:
    """One line on a scan: format, weighting, size, spacing, tilt, masks; nothing that names the patient."""
    facts, image = scan.facts, scan.image
    size = " x ".join(map(str, image.GetSize()))
    spacing = " x ".join(f"{value:.2f}" for value in image.GetSpacing())
    parts = [facts.format.upper(), " ".join(filter(None, (facts.modality, facts.sequence))) or "weighting unknown",
             f"{size} voxels of {spacing} mm", _tilt(image)]
    if facts.field_strength_t:
        parts.append(f"{facts.field_strength_t:g} T")
    parts.append("mask: " + ("drawn" if scan.mask is not None else "none"))
    if scan.residual is not None:
        parts.append("residual tumour: drawn")
    if facts.skipped:
        parts.append("not used: " + ", ".join(f"{count} {kind}" for kind, count in sorted(facts.skipped.items())))
    return "; ".join(parts)


def _read_timepoint(job: Job, role: str, limits: GateLimits) -> Timepoint:
    return _with_masks(_read_image(job, role, limits), job, role, limits)


def _read_image(job: Job, role: str, limits: GateLimits) -> Timepoint:
    series = job.pre_series if role == "pre" else job.post_series
    path = job.pre if role == "pre" else job.post
    return _named(IMAGE_ROLES[role], lambda: read_image(Path(path), series=series, volume_index=job.volume_index,
                                                        assume_ras=job.assume_ras, limits=limits, role=role))


def _with_masks(scan: Timepoint, job: Job, role: str, limits: GateLimits) -> Timepoint:
    path, label = (job.pre_mask, job.pre_label) if role == "pre" else (job.post_mask, job.post_label)
    if path:
        what = "the pre-treatment tumour mask" if role == "pre" else "the post-treatment tumour bed mask"
        mask, notices = _named(what, lambda: read_mask(Path(path), scan.image, role=role, label=label, assume_ras=job.assume_ras, limits=limits))
        scan = replace(scan, mask=mask, mask_source="drawn", notices=(*scan.notices, *notices))
    if role == "post" and job.residual_mask:
        residual, notices = _named("the residual tumour mask", lambda: read_mask(
            Path(job.residual_mask), scan.image, role="residual", label=job.residual_label, may_be_empty=True,
            assume_ras=job.assume_ras, limits=limits))
        scan = replace(scan, residual=residual, notices=(*scan.notices, *notices))
    return scan


def _named(what: str, read: Callable):
    """Run a reader; an error of it says which file it is about."""
    try:
        return read()
    except MRDeltaNetError as error:
        if error.what.startswith(what[0].upper() + what[1:]) or what in error.what:
            raise
        raise error.about(what[0].upper() + what[1:]) from error


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
