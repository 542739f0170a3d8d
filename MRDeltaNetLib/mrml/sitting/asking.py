"""Where in the first scan did the network compare a place of the second one with? Asked of the last prediction of a sitting."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterable, Sequence

from MRDeltaNetLib.errors import UsageError
from MRDeltaNetLib.io import correspondence
from MRDeltaNetLib.mrml import findings
from MRDeltaNetLib.workflow.texts import _

NO_POINT = _("Needs a prediction made in this sitting, by a model that compares places of both scans")


def can_ask(last_result: Path | None) -> bool:
    """Whether a place can be asked about."""
    return last_result is not None and (last_result / correspondence.FILE).is_file()


def refuse_without_answer(last_result: Path | None) -> None:
    """raises UsageError MRD-E849 if no place can be asked about"""
    if not can_ask(last_result):
        raise UsageError(_("There is nothing to ask about this place"), code="MRD-E849", found=NO_POINT, fix=_("predict, then place the point again"))


def clear_points(choices: Any, pre_views: Iterable[Any] = (), post_views: Iterable[Any] = ()) -> Any:
    """Both points without a place, made if need be, each shown in its own scan's views (all if none is given); returns the question's node."""
    choices.point, choices.answer = findings.query_points(choices.pre_volume, choices.post_volume, pre_views, post_views)
    choices.point.RemoveAllControlPoints()
    findings.show_answer(choices.answer, None)
    return choices.point


def place_point(choices: Any, point_lps_mm: Sequence[float]) -> None:
    """Put the question's point somewhere, in place of a click. point_lps_mm: as the scene shows it, LPS of the first scan"""
    left, posterior, superior = point_lps_mm
    choices.point.RemoveAllControlPoints()
    choices.point.AddControlPointWorld(-left, -posterior, superior)


def ask(choices: Any, last_result: Path | None) -> Any:
    """Where in the first scan the place of the point was compared with; the answer's node moves there. The run is asked through its own alignment, whatever
    the scene's is by now.

    last_result  Sitting.result_folder
    returns      response.correspondence's answer
    raises       UsageError MRD-E849 if no place can be asked about; InputError if the point lies outside of what the network saw, or the run's files
                 were changed
    """
    refuse_without_answer(last_result)
    from MRDeltaNetLib.response.correspondence import query_result
    found = query_result(last_result, findings.asked_point(choices.point))
    findings.show_answer(choices.answer, found.peak_lps_mm)
    return found
