"""trame-slicer's threshold for a page with two scans: it replaces the outline as Slicer's does, and is seen on its own scan alone.

Imported when the tool is first taken up: trame-slicer is needed to read this file.
"""

from __future__ import annotations

from typing import Any

from trame_slicer.segmentation import ModificationMode, SegmentationEffectThreshold
from trame_slicer.segmentation.segmentation_threshold_pipeline import SegmentationThresholdPipeline2D


class OwnScansThreshold(SegmentationEffectThreshold):
    """Threshold of one scan's grey values; trame-slicer's own adds to the outline and shows its preview in every view."""

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
