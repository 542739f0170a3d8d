"""Step 4: the probability of complete response, never without its range, never without saying what the model has seen."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MRDeltaNetLib.errors import MRDeltaNetError
from MRDeltaNetLib.workflow import telling
from MRDeltaNetPanel import packages
from MRDeltaNetPanel.pages.page import Page
from MRDeltaNetPanel.translating import libraryText
from MRDeltaNetPanel.words import listed, outOfDate, remarkLines

CHOOSE = "choose"

BANNER = "<table width='100%' bgcolor='#FFDD00' cellpadding='6'><tr><td><font color='#000000'><b>{text}</b></font></td></tr></table>"
"""Black on yellow, in a light and in a dark window."""


class PredictPage(Page):
    """Model and its card, device, what the range is made of, Run, and the answer."""

    key, uiFile = "predict", "Predict.ui"

    def connect(self) -> None:
        self.ui.installButton.connect("clicked(bool)", lambda checked=False: self.guarded(self.install))
        self.ui.runButton.connect("clicked(bool)", lambda checked=False: self.panel.run("predict"))
        self._fillModels()
        self.ui.modelBox.connect("activated(int)", self.modelChosen)

    def modelChosen(self, index: int) -> None:
        """The demo model, the folder of last time, or another folder."""
        kept = self.ui.modelBox.itemData(index)
        if kept == CHOOSE:
            folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder of a model (bundle)"), "")
            if folder:
                self.guarded(lambda: self.logic.chooseModel(Path(folder)))
        else:
            self.guarded(lambda: self.logic.chooseModel(Path(kept) if kept else None))
        self._fillModels()
        self.panel.refreshSoon()

    def install(self) -> None:
        """Ask, and install what prediction needs."""
        packages.install()

    def refresh(self, situation: Any, step: Any) -> None:
        missing = packages.missing()
        self.ui.installButton.visible = bool(missing)
        self.ui.installButton.enabled = situation.packages_fit
        self.ui.installButton.toolTip = (_("Asks before anything is installed; what Slicer brings stays as it is") if situation.packages_fit else
                                         _("No PyTorch fits this Slicer. Predict with the command line, in a Python of your own"))
        self.ui.installButton.text = _("Install what is missing ({names})...").format(names=", ".join(missing))
        self.ui.runButton.enabled = step.can_run
        self.ui.runButton.toolTip = step.why_not or _("Measure, predict and explain, in a process of its own")
        self._showModel()
        facts = self.logic.resultFacts(self.parameters)
        self.write(self.ui.answer, "" if facts is None or facts["p_pcr"] is None else answer(facts, situation.prediction is not None and situation.prediction.stale))

    def _fillModels(self) -> None:
        box, folder = self.ui.modelBox, self.logic.modelFolder
        box.clear()
        box.addItem(_("Demo model (simulated pelvises only)"), "")
        if folder is not None:
            box.addItem(folder.name, str(folder))
        box.addItem(_("Choose a folder..."), CHOOSE)
        box.currentIndex = 0 if folder is None else 1

    def _showModel(self) -> None:
        try:
            facts = self.logic.bundle().public_facts()
        except MRDeltaNetError as error:
            self.write(self.ui.banner, listed(remarkLines([error]), _("This model cannot be used")))
            self.write(self.ui.card, "")
            return
        warning = html.escape(libraryText(telling.DEMO_MODEL))
        self.write(self.ui.banner, BANNER.format(text=warning) if facts["is_demo"] else "")
        self.write(self.ui.card, card(facts))


def card(facts: dict[str, Any]) -> str:
    """The model's card in a few lines of rich text."""
    lines = [f"<b>{html.escape(facts['name'])}</b> {html.escape(facts['version'])}", _("Trained on: {text}").format(text=html.escape(facts["trained_on"]))]
    if facts.get("held_out_auc") is not None:
        low, high = facts["held_out_auc_ci"]
        lines.append(_("AUC {auc:.2f} ({low:.2f} to {high:.2f}) on {held_out}").format(auc=facts["held_out_auc"], low=low, high=high,
                                                                                   held_out=html.escape(facts["held_out_on"])))
    lines.append(_("Intended use: {text}").format(text=html.escape(facts["intended_use"])))
    return "<br>".join(lines)


def answer(facts: dict[str, Any], stale: bool) -> str:
    """The result as rich text: probability with its range, class at the threshold, the light, warnings.

    facts  result.json
    """
    said = telling.prediction(facts, libraryText)
    lines = [outOfDate()] if stale else []
    lines += [f"<font size='+2'><b>P(pCR) {said.number}</b></font> ({html.escape(said.span)})", *(html.escape(line) for line in said.lines)]
    return "<br>".join(lines) + listed(remarkLines(facts["warnings"]), libraryText(telling.MIND))
