"""trame-slicer's segmentation effects, as a page with two aligned scans needs them. Imported when the page is built: trame-slicer is needed to read this file.

Those that follow the hand take what is seen for the scan's own space, and so would draw beside the hand on a scan that an alignment has moved:
here they get it in the scan's own space. The threshold replaces the outline as Slicer's does, and its preview is seen on its own scan alone.
"""

from __future__ import annotations

from typing import Any

from trame_slicer.segmentation import (ModificationMode, SegmentationEffectErase, SegmentationEffectIslands, SegmentationEffectNoTool, SegmentationEffectPaint,
                                       SegmentationEffectScissors, SegmentationEffectSmoothing, SegmentationEffectThreshold, SegmentationOverwriteMode)
from trame_slicer.segmentation.segmentation_paint_pipeline import SegmentationPaintPipeline2D
from trame_slicer.segmentation.segmentation_threshold_pipeline import SegmentationThresholdPipeline2D
from trame_slicer.utils import vtk_image_to_np

from MRDeltaNetLib.mrml.alignment import in_own_space
from MRDeltaNetLib.mrml.strokes import brushed


class Stroke(SegmentationPaintPipeline2D):
    """A stroke in one view. trame-slicer's own rounds it to whole voxels, and gives a disc half a slice: on voxels that lie aslant to the view it has gaps."""

    def OnPaintInteractionStopped(self) -> None:  # noqa: N802 the name is trame-slicer's
        """The hand has let go."""
        try:
            self._effect.brush(self.widget._paint_coordinates_world, self._view.get_view_node())
        finally:
            self.widget.clear()


class _Brush:
    """What painting and rubbing out have in common."""

    def _create_pipeline(self, view_node: Any, _parameter: Any) -> Stroke | None:
        return Stroke() if view_node.IsA("vtkMRMLSliceNode") else None

    def brush(self, path: Any, view_node: Any) -> None:
        """Go over the voxels where the hand was seen. path: vtkPoints, world RAS, mm"""
        given = self._get_paint_parameters()
        found = brushed(self.modifier.volume_node, path, given.brush_diameter / 2, None if given.use_sphere_brush else view_node)
        labelmap = self.modifier.create_modifier_labelmap()
        vtk_image_to_np(labelmap)[:] = found
        self.modifier.apply_labelmap(labelmap)


class Paint(_Brush, SegmentationEffectPaint):
    """Adds where the hand was seen."""


class Erase(_Brush, SegmentationEffectErase):
    """Takes away where the hand was seen."""


class Scissors(SegmentationEffectScissors):
    """Cuts where the hand was seen."""

    def _polydata_to_oriented_image(self, polydata: Any) -> Any:
        return super()._polydata_to_oriented_image(in_own_space(self.modifier.volume_node, polydata))


class Threshold(SegmentationEffectThreshold):
    """Replaces the outline by what lies between two grey values of its scan; trame-slicer's own adds to it, and shows its preview in every view."""

    def __init__(self) -> None:
        super().__init__()
        self.set_mode(ModificationMode.Set)

    def _create_pipeline(self, view_node: Any, _parameter: Any) -> "Preview | None":
        return Preview() if view_node.IsA("vtkMRMLSliceNode") else None


class Preview(SegmentationThresholdPipeline2D):
    """What Apply would take, in one view; nothing where the tool is not at work."""

    def SetActive(self, isActive: bool) -> None:  # noqa: N802, N803 the name is trame-slicer's
        """Called for every view when the tool is taken up, put down, or turned to the other scan."""
        super().SetActive(isActive)
        self.OnEffectParameterUpdate()

    def OnEffectParameterUpdate(self) -> None:  # noqa: N802 the name is trame-slicer's
        """Called at every change of the grey values, and while the preview blinks."""
        super().OnEffectParameterUpdate()
        if not self.IsActive():
            self.actor.VisibilityOff()


OVERLAP = SegmentationOverwriteMode.ALLOW_OVERLAP

BY_TOOL = {"look": SegmentationEffectNoTool, "paint": Paint, "erase": Erase, "threshold": Threshold, "scissors": Scissors, "islands": SegmentationEffectIslands,
           "smoothing": SegmentationEffectSmoothing}
"""Key of editing.TOOLS -> effect."""
