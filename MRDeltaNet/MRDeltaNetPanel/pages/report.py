"""Step 6: the measures, the report, and keeping both."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MRDeltaNetLib.workflow import telling
from MRDeltaNetPanel.pages.page import Page
from MRDeltaNetPanel.translating import libraryText
from MRDeltaNetPanel.words import outOfDate, sizesTable


class ReportPage(Page):
    """A table of changes; report in the web browser; result folder and scene to keep."""

    key, uiFile = "report", "Report.ui"

    def connect(self) -> None:
        self.ui.writeButton.connect("clicked(bool)", lambda checked=False: self.panel.run("report"))
        self.ui.openButton.connect("clicked(bool)", lambda checked=False: self.guarded(self.openReport))
        self.ui.saveResultButton.connect("clicked(bool)", lambda checked=False: self.guarded(self.saveResult))
        self.ui.saveSceneButton.connect("clicked(bool)", lambda checked=False: self.guarded(self.saveScene))

    def openReport(self) -> None:
        """The report in the web browser."""
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self.logic.reportFile(self.parameters))))

    def saveResult(self) -> None:
        """Every file of the result into a folder of the user's choice."""
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder for the result (new or empty)"), "")
        if folder:
            saved = self.logic.saveResult(Path(folder))
            self.write(self.ui.reportLabel, html.escape(_("Saved: {count} files.").format(count=len(saved))))

    def saveScene(self) -> None:
        """The scene as .mrb, with the user's own layout, so that it opens without this extension too."""
        path = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), _("Save the scene"), "", _("Slicer scene bundle") + " (*.mrb)")
        if path:
            self.panel.saveScene(Path(path if path.endswith(".mrb") else f"{path}.mrb"))
            self.write(self.ui.reportLabel, html.escape(_("The scene is saved.")))

    def refresh(self, situation: Any, step: Any) -> None:
        parameters = self.parameters
        self.ui.writeButton.enabled = step.can_run
        self.ui.writeButton.toolTip = step.why_not or _("Measure and write the report; needs no model")
        self.ui.openButton.enabled = parameters.report is not None
        self.ui.saveResultButton.enabled = situation.result_files
        self.ui.saveResultButton.toolTip = (_("Copy every file of the result into a folder of your choice") if situation.result_files else
                                            _("The files of this result are not at hand any more: run again"))
        self.write(self.ui.summary, self._summary(situation))

    def _summary(self, situation: Any) -> str:
        facts = self.logic.resultFacts(self.parameters)
        if facts is None:
            return html.escape(_("No report yet."))
        lines = []
        if facts["p_pcr"] is not None:
            said = telling.prediction(facts, libraryText)
            lines.append(f"<b>P(pCR) {said.number}</b> ({html.escape(said.span)})")
            if facts["model"]["is_demo"]:
                lines.append(html.escape(libraryText(telling.DEMO_NUMBER)))
        if situation.report_outdated:
            lines.append(outOfDate())
        return "<br>".join(lines) + sizesTable(facts["measures"])
