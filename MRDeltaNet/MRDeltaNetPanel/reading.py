"""One look at the chosen pair: everything that a refresh of the panel shows is made from it, so that nothing is read twice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from MRDeltaNetLib import workflow
from MRDeltaNetLib.case import Timepoint
from MRDeltaNetLib.errors import MRDeltaNetError
from MRDeltaNetLib.mrml.kept import Kept
from MRDeltaNetPanel import inputs as given
from MRDeltaNetPanel.translating import libraryText


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
    visits, refused = _visits(parameters, kept)
    outlined = given.outlined(parameters, kept)
    return Reading(_findings(parameters, visits, refused), outlined, _pair(parameters, visits, outlined, kept))


def findings(parameters: Any, kept: Kept) -> workflow.Findings:
    """What the two scans say about each other, in words: order, interval, modality, geometry."""
    return _findings(parameters, *_visits(parameters, kept))


def _visits(parameters: Any, kept: Kept) -> tuple[dict[str, Timepoint], list[MRDeltaNetError]]:
    """The chosen scans that can be used, by role, and why others cannot."""
    visits, refused = {}, []
    for role, name in given.VOLUMES.items():
        if getattr(parameters, name) is not None:
            try:
                visits[role] = given.visit(parameters, role, kept)
            except MRDeltaNetError as error:
                refused.append(error)
    return visits, refused


def _findings(parameters: Any, visits: dict[str, Timepoint], refused: list[MRDeltaNetError]) -> workflow.Findings:
    found = workflow.check_scans(visits.get("pre"), visits.get("post"), registration=parameters.registration.value, translate=libraryText)
    return replace(found, errors=(*refused, *found.errors))


def _pair(parameters: Any, visits: dict[str, Timepoint], outlined: given.Outlined, kept: Kept) -> given.Inputs | None:
    if set(visits) != set(given.VOLUMES) or parameters.preVolume is parameters.postVolume:
        return None
    try:
        return given.assembled(parameters, visits, outlined, kept)
    except MRDeltaNetError:                              # told by the outlines, or by the alignment's step; without a pair nothing is fresh
        return None
