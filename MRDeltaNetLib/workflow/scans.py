"""Two chosen scans in words at once: order, interval, modality and geometry, with what is refused and what is remarkable."""

from __future__ import annotations

from dataclasses import dataclass

from MRDeltaNetLib.case import Case, Timepoint
from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import MRDeltaNetError, Notice
from MRDeltaNetLib.io.cases import describe_image
from MRDeltaNetLib.io.gate.pair import pair_checks
from MRDeltaNetLib.workflow.texts import Text, Translate, _, say

OLDER = "MRD-E330"

DAYS_A_WEEK = 7
WEEKS_FROM_DAYS = 14


@dataclass(frozen=True)
class Findings:
    """What can be said of the chosen scans.

    lines          one fact a line: each scan, their order and interval, modality, geometry; nothing that names the patient
    notices        warnings of reading and of the pair
    errors         every refusal of the pair
    interval_days  from pre to post (negative: post is the older one), None if unknown
    """

    lines: tuple[str, ...] = ()
    notices: tuple[Notice, ...] = ()
    errors: tuple[MRDeltaNetError, ...] = ()
    interval_days: int | None = None

    @property
    def problems(self) -> tuple[Notice, ...]:
        """The errors as plain values, for Situation.scan_errors."""
        return tuple(Notice(error.code, error.what, error.fix) for error in self.errors)

    @property
    def wants_swap(self) -> bool:
        """Whether swapping the scans is the cure."""
        return any(error.code == OLDER for error in self.errors)


def check_scans(pre: Timepoint | None, post: Timepoint | None, *, registration: str = "rigid", limits: GateLimits = GateLimits(),
                complete_response: bool = False, translate: Translate = str) -> Findings:
    """Look at what is chosen so far; stops at nothing, raises nothing of its own.

    pre, post     the visits, None where none is chosen yet
    registration  the method that will be used: without one the scans must share a space
    translate     English template -> template in the user's language
    """
    roles = ((_("Before: {facts}"), pre), (_("After: {facts}"), post))
    lines = [say(template, facts=describe_image(scan)) for template, scan in roles if scan is not None]
    notices = [notice for scan in (pre, post) if scan is not None for notice in scan.notices]
    errors: list[MRDeltaNetError] = []
    days = None
    if pre is not None and post is not None:
        days = Case((pre, post)).interval_days
        lines += [_order(days), _modality(pre, post), _geometry(pre, post)]
        for check in pair_checks(pre, post, registration=registration, limits=limits, complete_response=complete_response):
            try:
                notices += check()
            except MRDeltaNetError as error:
                errors.append(error)
    return Findings(tuple(line.shown(translate) for line in lines), tuple(notices), tuple(errors), days)


def interval_text(days: int | None, translate: Translate = str) -> str:
    """An interval in words: "84 days (12 weeks) apart"."""
    return interval(days).shown(translate)


def interval(days: int | None) -> Text:
    """interval_text, not yet translated."""
    if days is None:
        return say(_("Interval unknown"))
    size = abs(days)
    if size == 0:
        return say(_("Same day"))
    if size == 1:
        return say(_("1 day apart"))
    if size < WEEKS_FROM_DAYS:
        return say(_("{days} days apart"), days=size)
    return say(_("{days} days ({weeks} weeks) apart"), days=size, weeks=round(size / DAYS_A_WEEK))


def _order(days: int | None) -> Text:
    if days is None:
        return say(_("Order: not known, as a date is missing. See for yourself."))
    if days > 0:
        return say(_("Order: right. {interval}."), interval=interval(days))
    return say(_("Order: wrong, the second scan is older. {interval}."), interval=interval(days)) if days else say(_("Order: none, both are of one day."))


def _modality(pre: Timepoint, post: Timepoint) -> Text:
    first, second = (" ".join(filter(None, (scan.facts.modality, scan.facts.sequence))) for scan in (pre, post))
    if not first or not second:
        return say(_("Modality: not in the files. See that both are T2-weighted MRI."))
    return say(_("Modality: {kind} in both."), kind=first) if first == second else say(_("Modality: {first} before, {second} after."), first=first, second=second)


def _geometry(pre: Timepoint, post: Timepoint) -> Text:
    if pre.image.GetSize() == post.image.GetSize() and all(abs(a - b) < 0.01 for a, b in zip(pre.image.GetSpacing(), post.image.GetSpacing())):
        return say(_("Geometry: same number and size of voxels."))
    return say(_("Geometry: voxels differ, which the alignment takes care of."))
