"""Step 3: the outlines. The tumour before treatment, its bed after treatment, and viable tumour if any is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MRDeltaNetLib import workflow
from MRDeltaNetLib.mrml.sitting.inputs import OUTLINES
from MRDeltaNetLib.workflow import Outline, telling
from MRDeltaNetPanel.editor import Editor
from MRDeltaNetPanel.pages.page import Page
from MRDeltaNetPanel.translating import libraryText
from MRDeltaNetPanel.words import drawnByProgram, listed, remarkLines, sizesLine, sizesTable


class TumourPage(Page):
    """The Segment Editor on one scan at a time, and the sizes of what is drawn."""

    key, uiFile = "tumour", "Tumour.ui"

    def connect(self) -> None:
        self.role = "pre"
        self.editor = Editor(self.ui.editor)
        self.logic.beforeDrawing = self.editor.keepForUndo
        self.oneOf(self.ui.preButton, self.ui.postButton)
        self.ui.preButton.connect("clicked(bool)", lambda checked=False: self.edit("pre"))
        self.ui.postButton.connect("clicked(bool)", lambda checked=False: self.edit("post"))
        self.ui.carryButton.connect("clicked(bool)", lambda checked=False: self.guarded(self.carryOver))
        self.ui.borderBox.connect("clicked(bool)", self.showBorder)
        self.ui.automaticButton.connect("clicked(bool)", lambda checked=False: self.guarded(self.automatic))

    def enter(self) -> None:
        self.editor.enter()
        self.panel.placeScans(onTumour=True)
        self.edit(self.role)

    def exit(self) -> None:
        self.editor.exit()

    def sceneCloses(self) -> None:
        self.editor.sceneCloses()

    def sceneChanged(self) -> None:
        self.editor.sceneChanged()

    def cleanup(self) -> None:
        self.editor.cleanup()

    def edit(self, role: str) -> None:
        """Offer the outlines of one scan for editing.

        role  "pre" or "post"
        """
        self.role = role
        (self.ui.preButton if role == "pre" else self.ui.postButton).checked = True
        volume = self.parameters.preVolume if role == "pre" else self.parameters.postVolume
        if volume is None:
            self.editor.edit(None, None, None)
            return
        views = self.panel.views.sliceNodes()
        segmentation = self.logic.segmentation(self.parameters, role, () if not views else (views[0 if role == "pre" else 1],))
        self.editor.edit(segmentation, volume, OUTLINES[role][2])
        self.panel.refreshSoon()

    def carryOver(self) -> None:
        """The first outline on the second scan, as a suggestion that can be undone."""
        self.edit("post")
        self.editor.keepForUndo(self.parameters.postSegmentation)
        self.logic.carryOver(self.parameters)

    def automatic(self) -> None:
        """Let nnU-Net draw, by a model that the user chose and trusts."""
        if not self._modelIsTrusted():
            return
        self.edit(self.role)
        self.panel.follow(lambda: self.logic.startAutomatic(self.parameters, self.role))

    def showBorder(self, shown: bool) -> None:
        """Show or hide where the program that drew was not sure."""
        for border in self.logic.uncertainBorders(self.parameters, self.role) if self.parameters is not None else ():
            border.GetDisplayNode().SetVisibility(shown)

    def _modelIsTrusted(self) -> bool:
        """Ask which model, beginning with that of last time, and for trust if its bytes are not those that were approved."""
        last = self.logic.segmentationModel
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder of a trained nnU-Net model"), "" if last is None else str(last))
        if not folder:
            return False
        self.logic.chooseSegmentationModel(Path(folder))
        what = self.logic.unapproved()
        if what is None:
            return True
        if trusted := userTrusts(what):
            self.logic.approveSegmentationModel()
        return trusted

    def refresh(self, situation: Any, step: Any) -> None:
        parameters = self.parameters
        self.ui.preButton.enabled = parameters.preVolume is not None
        self.ui.postButton.enabled = parameters.postVolume is not None
        whyNot = workflow.why_not_carry(situation, translate=libraryText)
        self.ui.carryButton.enabled = not whyNot
        self.ui.carryButton.toolTip = whyNot or _("Lay the first outline on the second scan, as a suggestion to correct")
        nothing = self.logic.whyNoAutomatic()
        scan = parameters.preVolume if self.role == "pre" else parameters.postVolume
        self.ui.automaticButton.enabled = nothing is None and scan is not None and not self.logic.running
        self.ui.automaticButton.toolTip = nothing or _("Let nnU-Net draw the outline: a suggestion, to be checked and corrected")
        drawn = situation.residual_outline is Outline.DRAWN
        self.ui.completeResponseBox.enabled = parameters.completeResponse or not drawn
        self.ui.completeResponseBox.toolTip = (libraryText(telling.RESIDUAL_IS_DRAWN) if drawn else
                                               _("A statement of the reader: no viable tumour is left on the second scan"))
        borders = self.logic.uncertainBorders(parameters, self.role)
        self.ui.borderBox.visible = bool(borders)
        if borders and self.ui.borderBox.checked != bool(borders[0].GetDisplayNode().GetVisibility()):
            self.ui.borderBox.checked = bool(borders[0].GetDisplayNode().GetVisibility())
        self.write(self.ui.remarksLabel, listed(remarkLines((*situation.outline_errors, *situation.outline_notices))))
        self.write(self.ui.automaticLabel, drawnByProgram(self.logic.remarks(parameters, self.role)))
        sizes = self.logic.sizes(self.parameters) or {}
        self.write(self.ui.measuresLabel, sizesLine(sizes))
        self.ui.measuresLabel.toolTip = sizesTable(sizes)


def userTrusts(what: str) -> bool:
    """Ask whether a model may be read. what: what it is, in lines"""
    box = qt.QMessageBox(slicer.util.mainWindow())
    box.windowTitle = _("MRDeltaNet")
    box.text = _("Reading an nnU-Net model runs code that its maker chose. Do you know where this one comes from, and trust it?")
    box.informativeText = what
    box.setStandardButtons(qt.QMessageBox.Yes | qt.QMessageBox.No)
    box.setDefaultButton(qt.QMessageBox.No)
    return box.exec() == qt.QMessageBox.Yes
