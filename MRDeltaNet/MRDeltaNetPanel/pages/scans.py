"""Step 1: which scans, and whether they can be compared."""

from __future__ import annotations

import html
from typing import Any

import slicer

from MRDeltaNetLib.mrml.nodes import ROLE
from MRDeltaNetLib.workflow import telling
from MRDeltaNetPanel.pages.page import Page
from MRDeltaNetPanel.translating import libraryText
from MRDeltaNetPanel.words import listed, remarkLines


class ScansPage(Page):
    """Choose, swap, load; the findings stand below at once."""

    key, uiFile = "scans", "Scans.ui"

    def connect(self) -> None:
        self.ui.swapButton.connect("clicked(bool)", lambda checked=False: self.guarded(self.swap))
        self.ui.fileButton.connect("clicked(bool)", lambda checked=False: slicer.util.openAddVolumeDialog())
        self.ui.dicomButton.connect("clicked(bool)", lambda checked=False: slicer.util.selectModule("DICOM"))
        self.ui.sampleButton.connect("clicked(bool)", lambda checked=False: self.panel.walkThrough())

    def swap(self) -> None:
        """Exchange the scans."""
        self.logic.swap(self.parameters)
        self.panel.placeScans()

    def sceneCloses(self) -> None:
        for box in (self.ui.preSelector, self.ui.postSelector):
            box.sortFilterProxyModel().hiddenNodeIDs = []          # the next scene gives the same ids to other volumes

    def refresh(self, situation: Any, step: Any) -> None:
        parameters = self.parameters
        self._offerScansOnly()
        self.ui.swapButton.enabled = parameters.preVolume is not None or parameters.postVolume is not None
        self.ui.sampleButton.enabled = not self.logic.running
        found = self.panel.findings
        parts = [html.escape(line) for line in found.lines]
        self.write(self.ui.findings, listed(parts) + listed(remarkLines(found.errors), libraryText(telling.REFUSED))
                   + listed(remarkLines(found.notices), libraryText(telling.MIND)))

    def _offerScansOnly(self) -> None:
        """Leave the volumes that MRDeltaNet made (maps, squares) out of both boxes; they stay in Slicer's Data module. One that is chosen
        already stays in its box, which would else choose another volume by itself."""
        chosen = (self.parameters.preVolume, self.parameters.postVolume)
        made = [volume.GetID() for volume in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
                if volume.GetAttribute(ROLE) is not None and not any(volume is each for each in chosen)]
        for box in (self.ui.preSelector, self.ui.postSelector):
            model = box.sortFilterProxyModel()
            if list(model.hiddenNodeIDs) != made:
                model.hiddenNodeIDs = made
