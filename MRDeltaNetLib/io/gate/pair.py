"""What is let through as a pair of visits: one patient, two different scans, the right order, one space."""

from __future__ import annotations

from typing import Callable, Sequence

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import IMAGE_ROLES, Timepoint
from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, Notice
from MRDeltaNetLib.io.gate.grids import overlap_fraction
from MRDeltaNetLib.io.gate.masks import check_residual
from MRDeltaNetLib.io.gate.outlines import check_growth
from MRDeltaNetLib.io.tables import short

SCAN_IDENTITY = "sop"
"""The key of ScanFacts.identity that stands for the scan itself; the others stand for the patient."""

FIELD_STRENGTH_TOLERANCE_T = 0.2
"""1.494 T and 1.5 T are one field strength."""

NO_TUMOUR, MUCH_TUMOUR = 1, 4
"""mrTRG 1: a thin scar and no tumour signal; 4 and 5: mostly tumour, or no regression."""

TIMING_TOLERANCE = 0.5
"""Echo or repetition times that differ by more than this fraction of the larger one are told."""


def two_visits(visits: Sequence[Timepoint]) -> tuple[Timepoint, Timepoint]:
    """The pair of a list of visits.

    raises  InputError MRD-E337 unless there are exactly two: which pair is compared is the reader's choice
    """
    if len(visits) == 2:
        return visits[0], visits[1]
    raise InputError("A comparison needs exactly two visits, one before and one after treatment", code="MRD-E337",
                     found=f"{len(visits)} visit{'' if len(visits) == 1 else 's'}",
                     fix="name the scan before treatment and the scan after it; compare further visits in runs of their own")


def check_pair(pre: Timepoint, post: Timepoint, *, registration: str, limits: GateLimits = GateLimits(),
               complete_response: bool = False) -> tuple[Notice, ...]:
    """Check what two visits say about each other before any registration; masks only where there are some.

    registration  "none" if the scans are taken to lie in one space already, else the method
    returns       warnings MRD-W330 to W340, W307, W311
    raises        InputError MRD-E318, E330 to E335
    """
    return tuple(notice for check in pair_checks(pre, post, registration=registration, limits=limits, complete_response=complete_response)
                 for notice in check())


def pair_checks(pre: Timepoint, post: Timepoint, *, registration: str, limits: GateLimits = GateLimits(),
                complete_response: bool = False) -> tuple[Callable[[], tuple[Notice, ...]], ...]:
    """The checks that check_pair makes, one by one, for whoever wants to hear all of them: each returns warnings or raises InputError."""
    checks = [lambda: _two_dates(pre, post, limits), lambda: _patients(pre, post), lambda: _acquisition(pre, post)]
    if registration == "none":
        checks.append(lambda: _one_space(pre, post, limits))
    return (*checks, lambda: check_residual(post.residual, post.mask, complete_response=complete_response),
            lambda: check_growth(pre.mask, post.mask, post.residual, limits))


def check_masks_given(pre: Timepoint, post: Timepoint) -> tuple[Notice, ...]:
    """Which masks a run can start from: the tumour before treatment at least; a bed that is missing is carried over.

    raises  InputError MRD-E336 without a mask, or with one for the post-treatment scan only
    """
    if pre.mask is None:
        only_post = post.mask is not None or post.residual is not None
        raise InputError("There is no tumour mask for the pre-treatment scan" if only_post else "There is no tumour mask for either scan",
                         code="MRD-E336", found="a mask for the post-treatment scan only" if only_post else "",
                         fix="draw the tumour on the pre-treatment scan, for instance in Slicer with Segment Editor, save it as .nrrd or .nii.gz, "
                         "and hand it in as the pre mask")
    if post.mask is None:
        return (Notice("MRD-W339", "There is no tumour bed mask for the post-treatment scan; the pre-treatment mask is carried over through the "
                       "registration as a suggestion", fix="look at the carried outline and correct it"),)
    return ()


def check_grade(mrtrg: int | None, residual: sitk.Image | None, complete_response: bool) -> tuple[Notice, ...]:
    """Whether a reader's grade agrees with what the same reader drew or stated: warning MRD-W312. residual: None if nobody drew it."""
    if mrtrg is None:
        return ()
    drawn = residual is not None and bool(sitk.GetArrayViewFromImage(residual).any())
    gone = complete_response or (residual is not None and not drawn)
    if mrtrg >= MUCH_TUMOUR and gone:
        found = "no viable tumour is said to be left"
    elif mrtrg == NO_TUMOUR and drawn:
        found = "residual tumour is drawn"
    else:
        return ()
    return (Notice("MRD-W312", f"The reader's mrTRG is {mrtrg}, yet {found}", fix="see which of the two the reader means; both are kept as they were given"),)


def _two_dates(pre: Timepoint, post: Timepoint, limits: GateLimits) -> tuple[Notice, ...]:
    """Two scans, in the right order. One scan given twice has one date; saying that too would not help."""
    _refuse_same_scan(pre, post)
    return _dates(pre, post, limits)


def _refuse_same_scan(pre: Timepoint, post: Timepoint) -> None:
    identities = pre.facts.identity.get(SCAN_IDENTITY), post.facts.identity.get(SCAN_IDENTITY)
    if identities[0] and identities[0] == identities[1]:
        why = "the same DICOM instances"
    elif pre.facts.file_sha256 and pre.facts.file_sha256 == post.facts.file_sha256:
        why = "files with the same bytes"
    elif _same_voxels(pre.image, post.image):
        why = "equal voxels"
    else:
        return
    raise InputError("The pre-treatment scan and the post-treatment scan are one and the same", code="MRD-E331", found=why,
                     fix="choose the scan of the other visit for one of them")


def _same_voxels(first: sitk.Image, second: sitk.Image) -> bool:
    return first.GetSize() == second.GetSize() and np.array_equal(*(sitk.GetArrayViewFromImage(i) for i in (first, second)))


def _dates(pre: Timepoint, post: Timepoint, limits: GateLimits) -> tuple[Notice, ...]:
    if pre.acquired is None or post.acquired is None:
        unknown = " and ".join(IMAGE_ROLES[role] for role, visit in (("pre", pre), ("post", post)) if visit.acquired is None)
        return (Notice("MRD-W330", f"The date of {unknown} is not known, so the order of the visits could not be checked",
                       fix="see for yourself that pre is before and post is after treatment"),)
    days = (post.acquired - pre.acquired).days
    if days < 0:
        raise InputError("The post-treatment scan is older than the pre-treatment scan", code="MRD-E330", found=f"{-days} days earlier",
                         fix="swap the two scans, and their masks with them")
    if days == 0:
        raise InputError("Both scans are of the same day, so they are not before and after treatment", code="MRD-E332",
                         fix="choose scans of two visits; if the dates in the files are wrong, use files without dates")
    if limits.min_interval_days <= days <= limits.max_interval_days:
        return ()
    side = "shorter" if days < limits.min_interval_days else "longer"
    return (Notice("MRD-W338", f"The visits are {days} days apart, {side} than usual between staging and restaging "
                   f"({limits.min_interval_days} to {limits.max_interval_days} days)",
                   fix="see that these are the two visits you mean; the prediction was not made for such an interval"),)


def _patients(pre: Timepoint, post: Timepoint) -> tuple[Notice, ...]:
    first, second = ({k: v for k, v in visit.facts.identity.items() if k != SCAN_IDENTITY and v} for visit in (pre, post))
    shared = sorted(first.keys() & second.keys())
    different = [k.replace("_", " ") for k in shared if first[k] != second[k]]
    if different:
        raise InputError("The two scans are of different patients", code="MRD-E333", found=f"these differ: {', '.join(different)}",
                         fix="choose two scans of one patient; if it is one patient whose records differ, correct or remove the entries first")
    if not shared:
        return (Notice("MRD-W331", "The files do not say whose scans they are, so it could not be checked that they are of one patient",
                       fix="see in the overlay that the bones of both scans fit"),)
    return ()


def _acquisition(pre: Timepoint, post: Timepoint) -> tuple[Notice, ...]:
    """Differences in how the scans were made: each may look like a change of the tumour."""
    notices = []
    for code, name, first, second in (("MRD-W332", "modality", pre.facts.modality, post.facts.modality),
                                      ("MRD-W333", "sequence or weighting", pre.facts.sequence, post.facts.sequence),
                                      ("MRD-W335", "scanner maker", _maker(pre), _maker(post))):
        if first and second and first != second:
            notices.append(_differs(code, name, short(first), short(second)))
    fields_t = pre.facts.field_strength_t, post.facts.field_strength_t
    if None not in fields_t and abs(fields_t[0] - fields_t[1]) > FIELD_STRENGTH_TOLERANCE_T:
        notices.append(_differs("MRD-W334", "field strength", f"{fields_t[0]:g} T", f"{fields_t[1]:g} T"))
    for name, times_ms in (("echo time", (pre.facts.echo_time_ms, post.facts.echo_time_ms)),
                           ("repetition time", (pre.facts.repetition_time_ms, post.facts.repetition_time_ms))):
        if None not in times_ms and abs(times_ms[0] - times_ms[1]) > TIMING_TOLERANCE * max(times_ms):
            notices.append(_differs("MRD-W340", name, f"{times_ms[0]:g} ms", f"{times_ms[1]:g} ms"))
    return tuple(notices)


def _differs(code: str, name: str, first: str, second: str) -> Notice:
    return Notice(code, f"The scans differ in {name}: {first} before treatment, {second} after it",
                  fix="read the change with care; if you can, choose scans made in the same way")


def _maker(visit: Timepoint) -> str | None:
    """The first word of the maker's name, as "SIEMENS" and "Siemens Healthineers" are one maker."""
    words = (visit.facts.manufacturer or "").replace("_", " ").split()
    return words[0].casefold() if words else None


def _one_space(pre: Timepoint, post: Timepoint, limits: GateLimits) -> tuple[Notice, ...]:
    """Without registration the scans must lie in one space and show the same part of the body."""
    notices: tuple[Notice, ...] = ()
    if pre.frame_uid and post.frame_uid and pre.frame_uid != post.frame_uid:
        raise InputError("The two scans are not in one frame of reference and no registration was asked for", code="MRD-E334",
                         found="two different DICOM frames of reference", fix="choose rigid registration")
    if not (pre.frame_uid and post.frame_uid):
        notices += (Notice("MRD-W336", "The files do not say whether both scans lie in one frame of reference, and no registration was asked for",
                           fix="see in the overlay that the scans fit, or choose rigid registration"),)
    fraction = overlap_fraction(pre.image, post.image)
    if fraction < limits.min_overlap_fraction:
        raise InputError("The two scans do not show the same part of the body" if fraction == 0
                         else "The two scans share too little of the body", code="MRD-E335",
                         found=f"{100 * fraction:.0f} percent of the smaller field of view is in the other; "
                         f"{100 * limits.min_overlap_fraction:.0f} percent is needed", fix="choose rigid registration, or other scans")
    if fraction < limits.warn_overlap_fraction:
        notices += (Notice("MRD-W337", f"Only {100 * fraction:.0f} percent of the smaller field of view is in the other",
                           fix="see in the overlay that both scans show the whole tumour site"),)
    return notices
