"""Step 2: the scan after treatment onto the one before it, and judging by eye whether it fits."""

from __future__ import annotations

from typing import Any

from MRDeltaNetLib.mrml.sitting import aligning
from MRDeltaNetLib.web.steps.step import Base, remarks
from MRDeltaNetLib.workflow import telling

KEY = "align"
COMPARISONS = {"side": "Side by side", "blend": "Blended", "squares": "In squares"}


class Step(Base):
    """Run the registration; compare side by side, blended or in squares."""

    key = KEY

    def __init__(self, page: Any) -> None:
        super().__init__(page)
        self.state.update({"registration": self.choices.registration,
                           "registrations": [{"title": title, "value": value} for value, title in telling.REGISTRATIONS.items()],
                           "aligned": False, "compare": "side", "comparisons": [{"title": title, "value": value} for value, title in COMPARISONS.items()],
                           "blend": 0.5, "quality": [], "align_notices": []})
        page.on_button("align", lambda: page.run("align"))
        page.on_change(self._method, "registration")
        page.on_change(self._compare, "compare", "blend")

    def refresh(self, situation: Any, seen: Any) -> None:
        facts = self.sitting.alignment_facts()
        self.state.update({"aligned": situation.alignment_ready, "quality": [] if facts is None else telling.alignment_rows(facts),
                           "align_notices": remarks((*situation.alignment_errors, *situation.alignment_notices))})

    def enter(self) -> None:
        self._compare()

    def leave(self) -> None:
        self.page.views.side_by_side(self.choices.pre_volume, self.choices.post_volume)

    def taken_up(self) -> None:
        self.state.registration = self.choices.registration

    def _method(self) -> None:
        if self.choices.registration != self.state.registration:
            self.choices.registration = self.state.registration
            self.page.refresh()

    def _compare(self) -> None:
        if not self.chosen:
            return
        pre, post = self.choices.pre_volume, self.choices.post_volume
        if not self.state.aligned or self.state.compare == "side":
            self.page.views.side_by_side(pre, post)
        elif self.state.compare == "blend":
            self.page.views.blend(pre, post, float(self.state.blend))
        else:
            self.page.views.squares(aligning.squares(self.choices))
