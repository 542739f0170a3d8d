"""The logic's part that has to do with outlines: segmentations of the scans, masks into them, carrying over, sizes."""

from __future__ import annotations

from typing import Any

import slicer
import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.imaging import measures
from MRDeltaNetLib.mrml import alignment, hierarchy, outlines
from MRDeltaNetLib.mrml.nodes import ROLE
from MRDeltaNetLib.workflow import Outline
from MRDeltaNetPanel import inputs as given


def outlinesOf(volume: Any, role: str) -> list[Any]:
    """Our segmentations of a scan: its outlines, and what lies beside them.

    volume  volume node or None; role  "pre" or "post"
    """
    if volume is None:
        return []
    return [node for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
            if (node.GetAttribute(ROLE) or "").startswith(f"{role} ") and node.GetNodeReference("MRDeltaNet.scan") is volume]


class Outlining:
    """Mixed into the logic; `self.kept` is the logic's."""

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
        for place, (role, volume) in enumerate((("pre", parameters.preVolume), ("post", parameters.postVolume))):
            for node in outlinesOf(volume, role):
                if node.GetDisplayNode() is not None:
                    outlines.show_only_in(node, views[place:place + 1])

    def uncertainBorders(self, parameters: Any, role: str) -> list[Any]:
        """Segmentation nodes beside a scan's outlines: where the program that drew was not sure.

        role  "pre" or "post"
        """
        volumeName, segmentationName, _segmentId = given.OUTLINES[role]
        return [node for node in outlinesOf(getattr(parameters, volumeName), role) if node is not getattr(parameters, segmentationName)]

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

    def outlineState(self, parameters: Any, role: str) -> Outline:
        """How far an outline is."""
        return given.outlined(parameters, self.kept).drawn[role]

    def sizes(self, parameters: Any) -> dict[str, float | None] | None:
        """Volumes, diameters and their changes as a run would write them; None without any outline, or where statements contradict."""
        found, stated = given.outlined(parameters, self.kept), parameters.completeResponse
        if not found.masks:
            return None
        masks = [found.masks.get(role) for role in ("pre", "post", "residual")]
        try:
            return dict(self.kept.value("sizes", (tuple(found.digests.items()), stated), lambda: measures.compare(*masks, stated)))
        except InputError:                               # complete response stated over drawn residual tumour: the step's line says so
            return None

    def tumourCentre(self, parameters: Any) -> tuple[float, float, float] | None:
        """The middle of the first scan's outline, LPS, mm; None without one."""
        mask = given.outlined(parameters, self.kept).masks.get("pre")
        if mask is None:
            return None
        shape = sitk.LabelShapeStatisticsImageFilter()
        shape.Execute(mask)
        return shape.GetCentroid(1)
