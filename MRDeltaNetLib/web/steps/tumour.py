"""Step 3: the outlines. The tumour before treatment, its bed after treatment, and viable tumour if any is left."""

from __future__ import annotations

from typing import Any

from MRDeltaNetLib import workflow
from MRDeltaNetLib.coding import MRTRG_WORDS
from MRDeltaNetLib.mrml.sitting import inputs as given
from MRDeltaNetLib.mrml.sitting import outlining
from MRDeltaNetLib.web.editing import CUTS, TOOLS, Editing
from MRDeltaNetLib.web.steps.step import Base, remarks
from MRDeltaNetLib.workflow import Outline, telling

KEY = "tumour"
LOOK = "look"
GREY_STEPS = 500
"""So many places has a threshold's slider."""


class Step(Base):
    """Draw on one scan at a time, and see the sizes of what is drawn."""

    key = KEY

    def __init__(self, page: Any) -> None:
        super().__init__(page)
        self.editing = Editing(page.slicer_app, page.refresh_soon)
        self.state.update({"outline": "pre", "tool": LOOK,
                           "tools": [{"key": key, "title": tool.title, "hint": tool.hint} for key, tool in TOOLS.items()],
                           "brush_mm": 8, "sphere": False, "kernel_mm": 3, "cut": next(iter(CUTS)),
                           "cuts": [{"key": key, "title": title} for key, (title, _) in CUTS.items()],
                           "grey_low": 0.0, "grey_high": 1.0, "grey_least": 0.0, "grey_most": 1.0, "grey_step": 0.002, "can_undo": False, "can_redo": False,
                           "complete_response": False, "residual_drawn": False, "why_not_carry": "", "sizes": [],
                           "outline_notices": [], "outline_errors": [],
                           "grade": None, "grades": [{"title": telling.grade(value), "value": value} for value in (None, *MRTRG_WORDS)]})
        for name in ("apply", "undo", "redo", "carry"):
            page.on_button(name, getattr(self, name))
        page.on_change(self._edit, "outline")
        page.on_change(self._take_tool, "tool")
        page.on_change(self._set_tool, "brush_mm", "sphere", "kernel_mm", "cut")
        page.on_change(self._grey, "grey_low", "grey_high")
        page.on_change(self._stated, "complete_response", "grade")
        for signal in (self.editing.undo_stack.can_undo_changed, self.editing.undo_stack.can_redo_changed):
            signal.connect(self._undo_changed)

    def refresh(self, situation: Any, seen: Any) -> None:
        self.state.update({"why_not_carry": workflow.why_not_carry(situation), "residual_drawn": situation.residual_outline is Outline.DRAWN,
                           "complete_response": situation.complete_response, "grade": self.choices.mrtrg, "outline_notices": remarks(situation.outline_notices),
                           "outline_errors": remarks(situation.outline_errors), "sizes": telling.size_rows(outlining.sizes(self.sitting.look()) or {})})

    def enter(self) -> None:
        self._edit()
        if (centre := outlining.tumour_centre(self.sitting.look())) is not None:
            self.page.views.jump(centre)

    def leave(self) -> None:
        with self.state as state:
            state.tool = LOOK
        self.editing.put_down()

    def let_go(self) -> None:
        """A scan leaves: nothing of its outlines can be drawn on, undone or done again."""
        self.leave()
        self.editing.forget()

    def apply(self) -> None:
        """Do what the tool does at once."""
        self.editing.apply()
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
        """The first outline on the second scan, as a suggestion that can be undone."""
        with self.state as state:
            state.outline = "post"
        self._edit()
        with self.editing.undoable():
            outlining.carry_over(self.choices)
        self.page.refresh()

    def _edit(self) -> None:
        role = "pre" if self.state.outline == "pre" else "post"
        volume = getattr(self.choices, given.OUTLINES[role][0])
        if not self.chosen or volume is None:
            return
        segmentation = outlining.segmentation(self.choices, role, self.page.views.nodes(role))
        self.editing.edit(segmentation, volume, given.OUTLINES[self.state.outline][2], role)
        self._take_tool()

    def _take_tool(self) -> None:
        if not self.chosen or not self.editing.ready:
            return
        self.editing.use(self.state.tool)
        if self.state.tool == "threshold":
            least, most, (low, high) = *self.editing.grey_range(), self.editing.grey_window()
            with self.state as state:
                state.update({"grey_least": least, "grey_most": most, "grey_step": (most - least) / GREY_STEPS, "grey_low": low, "grey_high": high})
        self._set_tool()

    def _set_tool(self) -> None:
        if not self.chosen or not self.editing.ready:
            return
        if self.state.tool in ("paint", "erase"):
            self.editing.set_brush(float(self.state.brush_mm), bool(self.state.sphere))
        elif self.state.tool == "smoothing":
            self.editing.set_kernel(float(self.state.kernel_mm))
        elif self.state.tool == "scissors":
            self.editing.set_cut(self.state.cut)

    def _grey(self) -> None:
        if self.chosen and self.state.tool == "threshold" and self.editing.ready:
            self.editing.set_grey_window(float(self.state.grey_low), float(self.state.grey_high))

    def _stated(self) -> None:
        stated, grade = bool(self.state.complete_response), self.state.grade
        if (self.choices.complete_response, self.choices.mrtrg) != (stated, grade):
            self.choices.complete_response, self.choices.mrtrg = stated, grade
            self.page.refresh()

    def _undo_changed(self, *_event: Any) -> None:
        with self.state as state:
            state.can_undo, state.can_redo = self.editing.undo_stack.can_undo(), self.editing.undo_stack.can_redo()
