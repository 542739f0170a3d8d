"""One look at the chosen pair: everything that a door shows of it is made from it, so that nothing is read twice."""

from __future__ import annotations

from dataclasses import dataclass, replace

from MRDeltaNetLib import workflow
from MRDeltaNetLib.case import Timepoint
from MRDeltaNetLib.errors import MRDeltaNetError
from MRDeltaNetLib.mrml.sitting import inputs as given
from MRDeltaNetLib.mrml.sitting.choices import SCANS
from MRDeltaNetLib.mrml.sitting.look import Look


@dataclass(frozen=True)
class Reading:
    """What one look found.

    findings   what the two scans say about each other
    outlined   the outlines, usable or not
    pair       what can be read of the pair: without outlines and an alignment that are refused; None unless both scans can be read
    misplaced  why the alignment cannot be used as it stands; None without one, or where it can
    """

    findings: workflow.Findings
    outlined: given.Outlined
    pair: given.Inputs | None
    misplaced: MRDeltaNetError | None = None


def read_scene(look: Look) -> Reading:
    """Look at the scene; what has not changed since the last look comes out of look.kept."""
    visits, refused = _visits(look)
    outlined = given.outlined(look)
    return Reading(_findings(look, visits, refused), outlined, *_pair(look, visits, replace(outlined, errors=())))


def findings(look: Look) -> workflow.Findings:
    """What the two scans say about each other, in words: order, interval, modality, geometry."""
    return _findings(look, *_visits(look))


def _visits(look: Look) -> tuple[dict[str, Timepoint], list[MRDeltaNetError]]:
    """The chosen scans that can be used, by role, and why others cannot."""
    visits, refused = {}, []
    for role, name in SCANS.items():
        if getattr(look.choices, name) is not None:
            try:
                visits[role] = given.visit(look, role)
            except MRDeltaNetError as error:
                refused.append(error)
    return visits, refused


def _findings(look: Look, visits: dict[str, Timepoint], refused: list[MRDeltaNetError]) -> workflow.Findings:
    found = workflow.check_scans(visits.get("pre"), visits.get("post"), registration=look.choices.registration, translate=look.translate)
    return replace(found, errors=(*refused, *found.errors))


def _pair(look: Look, visits: dict[str, Timepoint], outlined: given.Outlined) -> tuple[given.Inputs | None, MRDeltaNetError | None]:
    if set(visits) != set(SCANS) or look.choices.pre_volume is look.choices.post_volume:
        return None, None
    try:
        return given.assembled(look, visits, outlined), None
    except MRDeltaNetError as error:
        return given.assembled(look, visits, outlined, with_alignment=False), error
