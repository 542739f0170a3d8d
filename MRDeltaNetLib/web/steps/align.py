"""Step 2: the scan after treatment onto the one before it, and judging by eye whether it fits."""

from __future__ import annotations

from typing import Any

from MRDeltaNetLib.mrml.sitting import aligning, keeping
from MRDeltaNetLib.web.controls import number, one_of
from MRDeltaNetLib.web.steps.step import Base, remarks
from MRDeltaNetLib.workflow import telling

KEY = "align"
COMPARISONS = {"side": "Side by side", "blend": "Blended", "squares": "In squares"}


class Step(Base):
    """Run the registration; compare side by side, blended or in squares."""

    key = KEY

    def __init__(self, page: Any) -> None:
        super().__init__(page)
        self._aligned = False
        self.controls.add("registration", self.choices.registration, keeping.PLAIN["registration"])
        self.controls.add("compare", "side", one_of(COMPARISONS))
        self.controls.add("blend", 0.5, number(0, 1))
        self.state.update({"registrations": [{"title": title, "value": value} for value, title in telling.REGISTRATIONS.items()],
                           "aligned": False, "comparisons": [{"title": title, "value": value} for value, title in COMPARISONS.items()],
                           "quality": [], "align_notices": []})
        page.on_button("align", lambda: page.run("align"))
        page.on_change(self._method, "registration")
        page.on_change(self._compare, "compare", "blend")

    def refresh(self, situation: Any, seen: Any) -> None:
        facts, self._aligned = self.sitting.alignment_facts(), situation.alignment_ready
        self.state.update({"aligned": self._aligned, "quality": [] if facts is None else telling.alignment_rows(facts),
                           "align_notices": remarks((*situation.alignment_errors, *situation.alignment_notices))})

    def enter(self) -> None:
        self._compare()

    def leave(self) -> None:
        self.page.views.side_by_side(self.choices.pre_volume, self.choices.post_volume)

    def taken_up(self) -> None:
        self.controls.set("registration", self.choices.registration)

    def _method(self) -> None:
        if self.choices.registration != self.controls["registration"]:
            self.choices.registration = self.controls["registration"]
            self.page.refresh()

    def _compare(self) -> None:
        if not self.chosen:
            return
        pre, post = self.choices.pre_volume, self.choices.post_volume
        if not self._aligned or self.controls["compare"] == "side":
            self.page.views.side_by_side(pre, post)
        elif self.controls["compare"] == "blend":
            self.page.views.blend(pre, post, self.controls["blend"])
        else:
            self.page.views.squares(aligning.squares(self.choices))
