"""The logic's part that answers where in the first scan the network compared a place of the second one with."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from MRDeltaNetLib.errors import UsageError
from MRDeltaNetLib.io import correspondence
from MRDeltaNetLib.mrml import alignment, findings


class Asking:
    """Mixed into the logic; `self.lastResult` is the logic's."""

    def whyNoPoint(self, parameters: Any) -> str | None:
        """Why no place can be asked about; None if one can."""
        if self.lastResult is None or not (self.lastResult / correspondence.FILE).is_file():
            return _("Needs a prediction made in this sitting, by a model that compares places of both scans")
        return None

    def startPicking(self, parameters: Any, views: tuple[Any, ...]) -> None:
        """Wait for a click that sets the point, on the scan after treatment.

        views  slice nodes of both scans; the point may be set in the second one's only
        """
        parameters.point, parameters.answer = findings.query_points(parameters.preVolume, parameters.postVolume, views[:1], views[1:])
        parameters.point.RemoveAllControlPoints()
        findings.show_answer(parameters.answer, None)
        logic = slicer.modules.markups.logic()
        logic.SetActiveList(parameters.point)
        logic.StartPlaceMode(False)

    def ask(self, parameters: Any) -> Any:
        """Where in the first scan the place of the point was compared with; the answer's node moves there.

        returns  response.correspondence's answer
        raises   UsageError MRD-E849 if no place can be asked about; InputError if the point lies outside of what the network saw
        """
        if (why := self.whyNoPoint(parameters)) is not None:
            raise UsageError(_("There is nothing to ask about this place"), code="MRD-E849", found=why, fix=_("predict, then place the point again"))
        from MRDeltaNetLib.response.correspondence import query
        transform = alignment.transform_from_node(parameters.alignment, parameters.postVolume)
        found = query(correspondence.read_correspondence(self.lastResult / correspondence.FILE), findings.asked_point(parameters.point), transform)
        findings.show_answer(parameters.answer, found.peak_lps_mm)
        return found
