"""Step 6: the report, and everything to take away."""

from __future__ import annotations

from typing import Any

from MRDeltaNetLib.io.results import SCENE
from MRDeltaNetLib.web.steps.step import Base

KEY = "report"


class Step(Base):
    """Write and read the report; download the result folder and the scene."""

    key = KEY

    def __init__(self, page: Any) -> None:
        super().__init__(page)
        self._shown, self._number = None, 0
        self.state.update({"report_there": False, "report_stale": False, "report_open": False, "report_number": 0, "result_there": False, "scene_there": False})
        page.on_button("report", lambda: page.run("report"))

    def refresh(self, situation: Any, seen: Any) -> None:
        text = None if self.choices.report is None else self.choices.report.GetText()
        if text != self._shown:
            self._shown, self._number = text, self._number + 1
        if not situation.report_written:
            self.state.report_open = False
        folder = self.sitting.result_folder()
        self.state.update({"report_there": situation.report_written, "report_stale": situation.report_outdated, "result_there": folder is not None,
                           "report_number": self._number,           # the browser asks for the report anew
                           "scene_there": folder is not None and (folder / SCENE).is_file()})

    def leave(self) -> None:
        with self.state as state:
            state.report_open = False
