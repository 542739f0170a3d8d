"""One look at the chosen pair: everything that a refresh of the panel shows is made from it, so that nothing is read twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from slicer.i18n import tr as _

from MRDeltaNetLib import workflow
from MRDeltaNetLib.errors import MRDeltaNetError
from MRDeltaNetLib.mrml.kept import Kept
from MRDeltaNetPanel import inputs as given


@dataclass(frozen=True)
class Reading:
    """What one look found.

    findings  what the two scans say about each other
    outlined  the outlines, usable or not
    pair      what a run would read; None where it would be refused
    """

    findings: workflow.Findings
    outlined: given.Outlined
    pair: given.Inputs | None


def readScene(parameters: Any, kept: Kept) -> Reading:
    """Look at the scene; what has not changed since the last look comes out of `kept`."""
    return Reading(findings(parameters, kept), given.outlined(parameters, kept), _pair(parameters, kept))


def findings(parameters: Any, kept: Kept) -> workflow.Findings:
    """What the two scans say about each other, in words: order, interval, modality, geometry."""
    visits: dict[str, Any] = dict.fromkeys(given.VOLUMES)
    errors: list[MRDeltaNetError] = []
    for role, name in given.VOLUMES.items():
        if getattr(parameters, name) is not None:
            try:
                visits[role] = given.visit(parameters, role, kept)
            except MRDeltaNetError as error:
                errors.append(error)
    found = workflow.check_scans(visits["pre"], visits["post"], registration=parameters.registration.value, translate=_)
    return found if not errors else workflow.Findings(found.lines, found.notices, (*errors, *found.errors), found.interval_days)


def _pair(parameters: Any, kept: Kept) -> given.Inputs | None:
    if parameters.preVolume is None or parameters.postVolume is None or parameters.preVolume is parameters.postVolume:
        return None
    try:
        return given.read(parameters, kept)
    except MRDeltaNetError:                              # told by the findings and the outlines; without a pair nothing is fresh
        return None
