"""Step 3: the outlines. The tumour before treatment, its bed after treatment, and viable tumour if any is left."""

from __future__ import annotations

from typing import Any

from MRDeltaNetLib import workflow
from MRDeltaNetLib.coding import MRTRG_WORDS
from MRDeltaNetLib.errors import UsageError
from MRDeltaNetLib.mrml.sitting import inputs as given
from MRDeltaNetLib.mrml.sitting import keeping, outlining
from MRDeltaNetLib.web.controls import FINITE, TRUTH, number, one_of
from MRDeltaNetLib.web.editing import CUTS, TOOLS, Editing
from MRDeltaNetLib.web.steps.step import Base, remarks
from MRDeltaNetLib.workflow import Outline, telling

KEY = "tumour"
LOOK = "look"
BRUSH_MM, KERNEL_MM = (1, 40), (1, 15)
"""Smallest and largest brush; the same for the reach of smoothing, whose work grows with its cube."""

GREY_STEPS = 500
"""So many places has a threshold's slider."""


class Step(Base):
    """Draw on one scan at a time, and see the sizes of what is drawn."""

    key = KEY

    def __init__(self, page: Any) -> None:
        super().__init__(page)
        self.editing = Editing(page.slicer_app, page.refresh_soon)
        for name, value, may_be in (("outline", "pre", one_of(given.OUTLINES)), ("tool", LOOK, one_of(TOOLS)), ("cut", next(iter(CUTS)), one_of(CUTS)),
                                    ("brush_mm", 8, number(*BRUSH_MM)), ("sphere", False, TRUTH), ("kernel_mm", 3, number(*KERNEL_MM)),
                                    ("grey_low", 0.0, FINITE), ("grey_high", 1.0, FINITE),
                                    ("complete_response", False, TRUTH), ("grade", None, keeping.PLAIN["mrtrg"])):
            self.controls.add(name, value, may_be)
        self.state.update({"tools": [{"key": key, "title": tool.title, "hint": tool.hint, "at_once": tool.at_once} for key, tool in TOOLS.items()],
                           "cuts": [{"key": key, "title": title} for key, (title, _) in CUTS.items()], "brush_range": BRUSH_MM, "kernel_range": KERNEL_MM,
                           "grey_least": 0.0, "grey_most": 1.0, "grey_step": 0.002, "can_undo": False, "can_redo": False, "is_drawn": {},
                           "residual_drawn": False, "why_not_carry": "", "sizes": [], "outline_notices": [], "outline_errors": [],
                           "grades": [{"title": telling.grade(value), "value": value} for value in (None, *MRTRG_WORDS)]})
        for name in ("apply", "clear", "undo", "redo", "carry"):
            page.on_button(name, getattr(self, name))
        page.on_change(self._edit, "outline")
        page.on_change(self._take_tool, "tool")
        page.on_change(self._set_tool, "brush_mm", "sphere", "kernel_mm", "cut")
        page.on_change(self._grey, "grey_low", "grey_high")
        page.on_change(self._stated, "complete_response", "grade")
        for signal in (self.editing.undo_stack.can_undo_changed, self.editing.undo_stack.can_redo_changed):
            signal.connect(self._undo_changed)

    def refresh(self, situation: Any, seen: Any) -> None:
        self._undo_changed()
        self.controls.set("complete_response", situation.complete_response)
        self.controls.set("grade", self.choices.mrtrg)
        drawn = {"pre": situation.pre_outline, "post": situation.post_outline, "residual": situation.residual_outline}
        self.state.update({"is_drawn": {role: state not in (Outline.NONE, Outline.EMPTY) for role, state in drawn.items()},
                           "why_not_carry": workflow.why_not_carry(situation), "residual_drawn": situation.residual_outline is Outline.DRAWN,
                           "outline_notices": remarks(situation.outline_notices),
                           "outline_errors": remarks(situation.outline_errors), "sizes": telling.size_rows(outlining.sizes(self.sitting.look()) or {})})

    def enter(self) -> None:
        self._edit()
        if (centre := outlining.tumour_centre(self.sitting.look())) is not None:
            self.page.views.jump(centre)

    def leave(self) -> None:
        with self.state:
            self.controls.set("tool", LOOK)
        self.editing.put_down()

    def let_go(self) -> None:
        """Nothing of the outlines of a scan that leaves can be drawn on, undone or done again."""
        self.leave()
        self.editing.forget()

    def apply(self) -> None:
        """Do what the tool does at once; the others have nothing to do."""
        if self.chosen and self.editing.ready and TOOLS[self.controls["tool"]].at_once:
            self.editing.apply()
            self.page.refresh_soon()

    def clear(self) -> None:
        """Empty the outline that is chosen."""
        if self.chosen and self.editing.ready:
            self.editing.clear()
            self.page.refresh_soon()

    def undo(self) -> None:
        """Take the last change back."""
        self.editing.undo_stack.undo()
        self.page.refresh_soon()

    def redo(self) -> None:
        """Do it again."""
        self.editing.undo_stack.redo()
        self.page.refresh_soon()

    def carry(self) -> None:
        """The first outline on the second scan, as a suggestion that can be undone.

        raises  UsageError MRD-E927 where there is nothing to carry or nowhere to lay it; what outlining.carry_over raises
        """
        if (reason := workflow.why_not_carry(self.sitting.situation())):
            raise UsageError("The outline cannot be carried over", code="MRD-E927", fix=reason.rstrip("."))
        with self.state:
            self.controls.set("outline", "post")
        self._edit()
        with self.editing.undoable():
            outlining.carry_over(self.choices)
        self.page.refresh()

    def _edit(self) -> None:
        outline = self.controls["outline"]
        role = "pre" if outline == "pre" else "post"
        volume = getattr(self.choices, given.OUTLINES[role][0])
        if not self.chosen or volume is None:
            return
        segmentation = outlining.segmentation(self.choices, role, self.page.views.nodes(role))
        self.editing.edit(segmentation, volume, given.OUTLINES[outline][2], role)
        self._take_tool()

    def _take_tool(self) -> None:
        if not self.chosen or not self.editing.ready:
            return
        self.editing.use(self.controls["tool"])
        if self.controls["tool"] == "threshold":
            least, most, (low, high) = *self.editing.grey_range(), self.editing.grey_window()
            with self.state as state:
                state.update({"grey_least": least, "grey_most": most, "grey_step": (most - least) / GREY_STEPS})
                self.controls.set("grey_low", low)
                self.controls.set("grey_high", high)
        self._set_tool()

    def _set_tool(self) -> None:
        if not self.chosen or not self.editing.ready:
            return
        tool = self.controls["tool"]
        if tool in ("paint", "erase"):
            self.editing.set_brush(self.controls["brush_mm"], self.controls["sphere"])
        elif tool == "smoothing":
            self.editing.set_kernel(self.controls["kernel_mm"])
        elif tool == "scissors":
            self.editing.set_cut(self.controls["cut"])

    def _grey(self) -> None:
        if self.chosen and self.controls["tool"] == "threshold" and self.editing.ready:
            self.editing.set_grey_window(self.controls["grey_low"], self.controls["grey_high"])

    def _stated(self) -> None:
        stated, grade = self.controls["complete_response"], self.controls["grade"]
        if (self.choices.complete_response, self.choices.mrtrg) != (stated, grade):
            self.choices.complete_response, self.choices.mrtrg = stated, grade
            self.page.refresh()

    def _undo_changed(self, *_event: Any) -> None:
        with self.state as state:
            state.can_undo, state.can_redo = self.editing.undo_stack.can_undo(), self.editing.undo_stack.can_redo()
