"""The panel's part that starts runs and follows them to their end."""

from __future__ import annotations

from typing import Any, Callable

from slicer.i18n import tr as _

POLL_MS = 100


class Following:
    """Mixed into the module's widget; its timer, logic, pages and walk are the widget's."""

    def run(self, step: str) -> None:
        """Start a step's run."""
        self.follow(lambda: self.logic.start(step, self.parameters))

    def walkThrough(self) -> None:
        """Load the sample pair and go through all steps with it, to the report."""
        self.walk.begin()
        self.follow(self.logic.startSample)

    def follow(self, start: Callable[[], None]) -> None:
        """Start a run of the logic and listen to it; what it is refused with is told, and ends the walk."""
        if self.pages[self.step].guarded(lambda: (start(), True)[1]):
            self._runStarts()
        else:
            self.walk.stop()

    def _runStarts(self) -> None:
        """A run has begun: what would start another is greyed at once, and nothing is told of the run before."""
        self.ui.progressBar.value = 0
        self.ui.runLabel.text = _("Starting ...")
        self._pollTimer.start(POLL_MS)
        self.refresh()

    def _cancel(self) -> None:
        self.walk.stop()
        self.logic.cancel()
        self.ui.runLabel.text = _("Stopping ...")

    def _poll(self) -> None:
        """What the child process told meanwhile."""
        from MRDeltaNetLib.mrml.worker import Failed, Finished, Progressed
        step = None if self.logic.run is None else self.logic.run.step
        for event in self.logic.poll():
            if isinstance(event, Progressed):
                self.ui.progressBar.value = round(1000 * event.done)
                self.ui.runLabel.text = event.message
            elif isinstance(event, Failed):
                self.walk.stop()
                self.tell(event)
            elif isinstance(event, Finished):
                self._finished(step)
        if not self.logic.running:
            self._pollTimer.stop()
            self.ui.progressBar.value = 0
            self.refresh()

    def _finished(self, step: str) -> None:
        """A run is done and its result in the scene: show it, and go on where a walk goes on."""
        self.placeScans(onTumour=step == "sample")
        self.pages["explain"].forget()
        self.walk.finished(step)
