"""The sample pair's walk: its runs one after the other, from the scans to the report."""

from __future__ import annotations

from typing import Any

import qt

FOLLOWING = {"sample": ("align",), "align": ("predict", "report")}
"""Finished run -> steps that may follow it: the first that can run does. The pair's outlines are there already."""

MAP_SHOWN_MS = 5000
"""So long the map is shown before the walk ends on the last page, milliseconds."""


class Walk:
    """One walk at a time; without torch it goes past Predict and Explain.

    panel   the module's widget: go(step), run(step), step, logic, parameters
    goesOn  whether finished runs are followed by others
    """

    def __init__(self, panel: Any) -> None:
        self.panel = panel
        self.goesOn = False
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.connect("timeout()", self._end)

    def begin(self) -> None:
        """The sample pair is about to be made."""
        self._timer.stop()
        self.goesOn = True

    def stop(self) -> None:
        """No run follows; one that goes on goes on."""
        self._timer.stop()
        self.goesOn = False

    def finished(self, step: str) -> None:
        """A run is done and its result in the scene: start the next one, or show the map and end.

        step  "sample", "align", "predict" or "report"
        """
        if not self.goesOn:
            return
        if step == "predict" and self.panel.step == "predict":
            self.panel.go("explain")
            self._timer.start(MAP_SHOWN_MS)
        elif step in FOLLOWING:
            self._follow(FOLLOWING[step])
        else:
            self.stop()

    def _follow(self, steps: tuple[str, ...]) -> None:
        """Run the first of these that can run; where none can, its page says why."""
        views = self.panel.logic.look(self.panel.logic.situation(self.panel.parameters))
        ready = [step for step in steps if views[step].can_run]
        self.goesOn = bool(ready)
        self.panel.go((ready or steps)[0])
        if ready:
            self.panel.run(ready[0])

    def _end(self) -> None:
        """The map was shown: to the last page, unless the reader has gone elsewhere himself."""
        if self.panel.step == "explain":
            self.panel.go("report")
        self.stop()
