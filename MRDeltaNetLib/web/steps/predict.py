"""Step 4: P(pCR) with its range."""

from __future__ import annotations

from typing import Any

from MRDeltaNetLib.mrml.sitting import keeping
from MRDeltaNetLib.web.steps.step import Base, remarks
from MRDeltaNetLib.workflow import PARTS, telling

KEY = "predict"


class Step(Base):
    """Run the network, show what it says and what it warns of."""

    key = KEY

    def __init__(self, page: Any) -> None:
        super().__init__(page)
        self.state.update({"answer": None, "answer_is_demo": False, "stale": "", "predict_notices": [], "model_name": "", "model_use": ""})
        for name in ("all_members", "outline_step_mm"):
            self.controls.add(name, getattr(self.choices, name), keeping.PLAIN[name])
        page.on_button("predict", lambda: page.run("predict"))
        page.on_change(self._options, "all_members", "outline_step_mm")

    def refresh(self, situation: Any, seen: Any) -> None:
        found, facts = situation.prediction, self.sitting.result_facts()
        said = None if found is None else telling.prediction(facts)
        parts = () if found is None else found.changed
        self.state.update({"model_name": "" if situation.model is None else situation.model.name,
                           "model_use": "" if situation.model is None else situation.model.intended_use,
                           "answer": None if said is None else {"number": said.number, "span": said.span, "lines": said.lines},
                           "answer_is_demo": found is not None and found.is_demo, "predict_notices": [] if said is None else remarks(facts["warnings"]),
                           "stale": f"{telling.OUT_OF_DATE} ({', '.join(PARTS[part] for part in parts)})" if parts else ""})

    def taken_up(self) -> None:
        for name in ("all_members", "outline_step_mm"):
            self.controls.set(name, getattr(self.choices, name))

    def _options(self) -> None:
        now = bool(self.controls["all_members"]), float(self.controls["outline_step_mm"])
        if now != (self.choices.all_members, self.choices.outline_step_mm):
            self.choices.all_members, self.choices.outline_step_mm = now
            self.page.refresh()
