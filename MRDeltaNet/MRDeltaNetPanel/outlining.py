"""The logic's part that has to do with outlines and their scans: segmentations, carrying over, sizes, maps, the point query."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import slicer
import SimpleITK as sitk
from slicer.i18n import tr as _

from MRDeltaNetLib.errors import InputError, UsageError
from MRDeltaNetLib.imaging import measures
from MRDeltaNetLib.io import correspondence
from MRDeltaNetLib.mrml import alignment, comparing, findings, hierarchy, outlines, overlays
from MRDeltaNetLib.mrml.nodes import image_from_node
from MRDeltaNetLib.workflow import Outline
from MRDeltaNetPanel import inputs as given
from MRDeltaNetPanel import results
from MRDeltaNetPanel.parameters import Map


OF_A_PAIR = ("alignment", "alignmentResult", "result", "measures", "report")
"""Parameters that belong to one pair of scans."""


class Outlining:
    """Mixed into the logic; `self.session` and `self.lastResult` are the logic's."""

    automaticSegmentation: Callable[[Any, str], None] | None = None
    """The seam for automatic outlines: called with (parameters, "pre" or "post"); None where nothing is installed that could draw one."""

    def segmentation(self, parameters: Any, role: str, views: tuple[Any, ...] = ()) -> Any:
        """The segmentation of a scan with its coded segments, made if need be.

        role   "pre" or "post"
        views  slice nodes that alone show it: Slicer paints wherever a segmentation is shown; none: those that show it now
        """
        volumeName, segmentationName, _segmentId = given.OUTLINES[role]
        volume = getattr(parameters, volumeName)
        node = outlines.tumour_segmentation(volume, role, views)
        if getattr(parameters, segmentationName) is not node:
            setattr(parameters, segmentationName, node)
            hierarchy.file_under(slicer.mrmlScene, node, volume)
        return node

    def keepOutlinesApart(self, parameters: Any, views: tuple[Any, ...]) -> None:
        """Each outline in its own scan's view alone, because Slicer paints wherever a segmentation is shown.

        views  slice nodes, before and after; none: every view shows both
        """
        for place, node in enumerate((parameters.preSegmentation, parameters.postSegmentation)):
            if node is not None and node.GetDisplayNode() is not None:
                outlines.show_only_in(node, views[place:place + 1])

    def setMask(self, parameters: Any, role: str, mask: sitk.Image) -> None:
        """Put a mask into an outline.

        role  "pre", "post" or "residual"
        mask  sitk.Image; above 0 counts
        """
        node = self.segmentation(parameters, "pre" if role == "pre" else "post")
        outlines.set_mask(node, given.OUTLINES[role][2], mask)

    def carryOver(self, parameters: Any) -> None:
        """Lay the first outline on the second scan as a suggestion.

        raises  InputError MRD-E834 without an alignment; what mrml.outlines.carry_over raises
        """
        transform = alignment.transform_from_node(parameters.alignment, parameters.postVolume)
        outlines.carry_over(parameters.preSegmentation, self.segmentation(parameters, "post"), parameters.postVolume, transform)

    def settleOutlines(self, parameters: Any) -> None:
        """Outlines, alignment and results go with their scans when others are chosen, outlines come back with them; an outline that was
        carried over and is drawn on since loses the word "suggestion" in its name."""
        for name in OF_A_PAIR:
            node = getattr(parameters, name)
            if node is not None and not results.ofThisPair(node, parameters):
                setattr(parameters, name, None)
        if parameters.alignment is None and (found := given.ownTransform(parameters)) is not None and results.ofThisPair(found, parameters):
            parameters.alignment = found                 # the scans were chosen again
        for role in ("pre", "post"):
            volumeName, segmentationName, _segmentId = given.OUTLINES[role]
            volume = getattr(parameters, volumeName)
            own = None if volume is None else outlines.find_segmentation(volume, role)
            if getattr(parameters, segmentationName) is not own:
                setattr(parameters, segmentationName, own)
        if parameters.postSegmentation is not None:
            try:
                outlines.settle(parameters.postSegmentation)
            except InputError:                           # a segment that cannot be read is told by the outlines' own check
                pass

    def outlineState(self, parameters: Any, role: str) -> Outline:
        """How far an outline is."""
        return given.outlined(parameters).drawn[role]

    def sizes(self, parameters: Any) -> dict[str, float | None] | None:
        """Volumes, diameters and their changes as a run would write them; None without any outline, or where statements contradict."""
        masks = given.outlined(parameters).masks
        if not masks:
            return None
        try:
            return measures.compare(masks.get("pre"), masks.get("post"), masks.get("residual"), parameters.completeResponse)
        except InputError:                               # complete response stated over drawn residual tumour: the step's line says so
            return None

    def tumourCentre(self, parameters: Any) -> tuple[float, float, float] | None:
        """The middle of the first scan's outline, LPS, mm; None without one."""
        mask = given.outlined(parameters).masks.get("pre")
        if mask is None:
            return None
        shape = sitk.LabelShapeStatisticsImageFilter()
        shape.Execute(mask)
        return shape.GetCentroid(1)

    def strongestPlace(self, parameters: Any) -> tuple[float, float, float] | None:
        """Where the shown map is largest, LPS of the first scan, mm; None without a map."""
        node = results.maps(parameters).get(parameters.shownMap.value)
        if node is None:
            return None
        image = image_from_node(node, node.GetParentTransformNode())
        values = sitk.GetArrayViewFromImage(image)
        left, posterior, superior = image.TransformIndexToPhysicalPoint(
            [int(index) for index in reversed(np.unravel_index(values.argmax(), values.shape))])
        world = [0.0, 0.0, 0.0]
        node.TransformPointToWorld([-left, -posterior, superior], world)
        return -world[0], -world[1], world[2]

    def forgetAlignment(self, parameters: Any) -> None:
        """Take the scan after treatment and all that lies on it out of the transform, and remove the transform."""
        if parameters.alignment is not None:
            alignment.remove_alignment(parameters.alignment)
        if parameters.alignmentResult is not None:
            slicer.mrmlScene.RemoveNode(parameters.alignmentResult)

    def squares(self, parameters: Any) -> Any:
        """A volume of squares of both scans in turns, for judging the alignment."""
        return comparing.checkerboard(parameters.preVolume, parameters.postVolume,
                                      alignment.transform_from_node(parameters.alignment, parameters.postVolume))

    def shownMap(self, parameters: Any) -> dict[str, Any]:
        """"pre" or "post" -> the chosen map's volume, its threshold and legend as chosen; the other legends hidden."""
        found = results.maps(parameters)
        chosen = found.get(parameters.shownMap.value)
        for node in found.values():
            overlays.show_legend(node, node is chosen and parameters.legend)
        if chosen is None:
            return {}
        overlays.set_threshold(chosen, parameters.mapThreshold)
        return {overlays.MAPS[parameters.shownMap.value][0]: chosen}

    def mapIds(self, parameters: Any) -> tuple[str, ...]:
        """Ids of the maps that there are: the views are laid anew when they change."""
        return tuple(sorted(node.GetID() for node in results.maps(parameters).values()))

    def remakeLegends(self, parameters: Any) -> None:
        """Legends are drawn only in views that were there when they were made."""
        for node in results.maps(parameters).values():
            overlays.remake_legend(node)
        if parameters.shownMap is not Map.NONE:
            self.shownMap(parameters)

    # Where did the model look?

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
