"""Outlining in the page: Slicer's segmentation effects as trame-slicer brings them, on one scan's outlines at a time."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Callable, ContextManager

from MRDeltaNetLib.errors import require
from MRDeltaNetLib.web.views import FEATURE, INSTALL, ROLES

UNDO_STEPS = 20


@dataclass(frozen=True)
class Tool:
    """One tool.

    hint     what a person does with it
    at_once  whether it does its work when Apply is pressed, without a stroke
    """

    title: str
    hint: str
    at_once: bool = False


TOOLS = {"look": Tool("Look", "Choose a tool to draw. Each outline is drawn in the views of its own scan."),
         "paint": Tool("Paint", "Draw with the left button held down."),
         "erase": Tool("Erase", "Rub out with the left button held down."),
         "threshold": Tool("Threshold", "Apply replaces the outline by all voxels between these grey values: cut it back with the scissors.", at_once=True),
         "scissors": Tool("Scissors", "Draw around a part; the cut goes through all slices."),
         "islands": Tool("Islands", "Apply keeps the largest piece alone.", at_once=True),
         "smoothing": Tool("Smoothing", "Apply smooths the border (median of what lies within reach).", at_once=True)}

CUTS = {"erase_inside": ("takes away what is inside", "ERASE_INSIDE"), "erase_outside": ("takes away what is outside", "ERASE_OUTSIDE"),
        "fill_inside": ("fills what is inside", "FILL_INSIDE")}
"""What scissors do -> for people, and for trame-slicer."""


class Editing:
    """The editor on the outlines of one scan."""

    def __init__(self, slicer_app: Any, changed: Callable[..., None]) -> None:
        """changed: called after every change of an outline"""
        require("trame_slicer.segmentation", FEATURE, INSTALL)
        from MRDeltaNetLib.web.effects import BY_TOOL, OVERLAP, ModificationMode
        self._effects, self._replace = BY_TOOL, ModificationMode.Set
        self.editor = slicer_app.segmentation_editor
        self.undo_stack = require("undo_stack", FEATURE, INSTALL).UndoStack(undo_limit=UNDO_STEPS)
        self.editor.set_undo_stack(self.undo_stack)
        self.editor.set_overwrite_mode(OVERLAP)          # viable tumour lies inside its bed: drawing one must not erase the other
        self._role = "pre"
        self.editor.segmentation_modified.connect(changed)

    @property
    def ready(self) -> bool:
        """Whether there is an outline to edit."""
        node = self.editor.active_segmentation_node
        return node is not None and node.GetScene() is not None

    def edit(self, segmentation: Any, volume: Any, segment_id: str, role: str) -> None:
        """Edit one segment. role: "pre" or "post", whose views alone take strokes"""
        if self.editor.active_segmentation_node is not segmentation or self.editor.active_volume_node is not volume:
            self.editor.set_active_segmentation(segmentation, volume)
        self.editor.set_active_segment_id(segment_id)
        self._role = role
        self._keep_apart()

    def use(self, tool: str) -> None:
        """Take up a tool: a key of TOOLS."""
        self.editor.set_active_effect_type(self._effects[tool])
        self._keep_apart()

    def set_brush(self, diameter_mm: float, sphere: bool) -> None:
        """Size and form of the brush."""
        mode = require("trame_slicer.segmentation.paint_effect_parameters", FEATURE, INSTALL).BrushDiameterMode.Absolute
        self.editor.active_effect.set_brush_diameter(diameter_mm, mode)
        self.editor.active_effect.set_use_sphere_brush(sphere)

    def set_kernel(self, size_mm: float) -> None:
        """How far smoothing reaches."""
        self.editor.active_effect.set_kernel_size(size_mm)

    def set_cut(self, cut: str) -> None:
        """What scissors do: a key of CUTS."""
        modes = require("trame_slicer.segmentation.scissors_effect_parameters", FEATURE, INSTALL).ScissorsEffectFillMode
        self.editor.active_effect.set_fill_mode(modes[CUTS[cut][1]])

    def grey_range(self) -> tuple[float, float]:
        """Smallest and largest grey value of the scan."""
        low, high = self.editor.active_volume_node.GetImageData().GetScalarRange()
        return low, high if high > low else low + 1

    def grey_window(self) -> tuple[float, float]:
        """The threshold's grey values: at first what is brighter than half of the largest, later as they were left, inside this scan's."""
        least, most = self.grey_range()
        low, high = self.editor.active_effect.get_threshold_min_max_values()
        if not least <= low < high <= most or (low, high) == (0, 1):
            low, high = (least + most) / 2, most
        return low, high

    def set_grey_window(self, low: float, high: float) -> None:
        """The threshold's grey values, brought into the scan's own; the smaller one counts as the lower end."""
        least, most = self.grey_range()
        low, high = sorted(min(max(value, least), most) for value in (low, high))
        self.editor.active_effect.set_threshold_min_max_values((low, high))

    def apply(self) -> None:
        """Do at once what the tool in use does."""
        effect = self.editor.active_effect
        (effect.apply_smoothing if hasattr(effect, "apply_smoothing") else effect.apply)()

    def clear(self) -> None:
        """Empty the outline; can be undone."""
        modifier = self.editor.active_segment_modifier
        modifier.apply_labelmap(modifier.create_modifier_labelmap(), modification_mode=self._replace)

    def undoable(self) -> ContextManager[None]:
        """What is done to the edited outlines while it lasts is undone in one step."""
        if not self.ready:
            return contextlib.nullcontext()
        command = require("trame_slicer.segmentation.segmentation_undo_command", FEATURE, INSTALL).SegmentationLabelMapUndoCommand
        return command.push_state_change(self.editor.active_segmentation)

    def put_down(self) -> None:
        """Put the tool down: no stroke changes anything."""
        self.editor.deactivate_effect()

    def forget(self) -> None:
        """Nothing can be undone any more: the outlines leave, or became others."""
        self.undo_stack.clear()

    def _keep_apart(self) -> None:
        """A tool works in every view; strokes in the other scan's views would paint where nobody looks."""
        group = ROLES.index(self._role)
        effect = self.editor.active_effect
        for weak in [] if effect is None else effect.pipelines:
            pipeline = weak()
            if pipeline is not None and pipeline.GetViewNode() is not None:
                pipeline.SetActive(effect.is_active and pipeline.GetViewNode().GetViewGroup() == group)

