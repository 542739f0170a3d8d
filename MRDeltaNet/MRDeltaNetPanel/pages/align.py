"""Step 2: the scan after treatment onto the one before it, and judging by eye whether it fits."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from MRDeltaNetLib.workflow import telling
from MRDeltaNetPanel.pages.page import Page
from MRDeltaNetPanel.translating import libraryText
from MRDeltaNetPanel.words import listed, remarkLines, table


class AlignPage(Page):
    """Run the registration; compare side by side, blended, in turns or in squares."""

    key, uiFile = "align", "Align.ui"

    def connect(self) -> None:
        self.oneOf(self.ui.sideButton, self.ui.blendButton, self.ui.flickerButton, self.ui.checkerButton)
        self.ui.alignButton.connect("clicked(bool)", lambda checked=False: self.panel.run("align"))
        self.ui.sideButton.connect("clicked(bool)", lambda checked=False: self.panel.placeScans())
        self.ui.blendButton.connect("clicked(bool)", lambda checked=False: self.blend())
        self.ui.flickerButton.connect("clicked(bool)", lambda checked=False: self.flicker())
        self.ui.checkerButton.connect("clicked(bool)", lambda checked=False: self.guarded(self.squares))
        self.ui.blendSlider.connect("valueChanged(double)", lambda value: self.blend())

    def blend(self) -> None:
        """The second scan over the first one, as strong as the slider says."""
        self.ui.blendButton.checked = True
        self.panel.placeScans()
        self.panel.views.blend(self.ui.blendSlider.value)

    def flicker(self) -> None:
        """Both scans in turns."""
        self.panel.placeScans()
        self.panel.views.flicker()

    def squares(self) -> None:
        """Squares of both scans in turns."""
        self.panel.placeScans()
        self.panel.views.showSquares(self.logic.squares(self.parameters))

    def exit(self) -> None:
        self.ui.sideButton.checked = True
        self.panel.views.stopFlicker()

    def refresh(self, situation: Any, step: Any) -> None:
        self.ui.alignButton.enabled = step.can_run
        self.ui.alignButton.toolTip = step.why_not or _("Align the scan after treatment to the one before it")
        self.ui.alignButton.text = _("Align again") if situation.aligned else _("Align")
        for button in (self.ui.blendButton, self.ui.flickerButton, self.ui.checkerButton):
            button.enabled = situation.alignment_ready
        self.ui.blendSlider.enabled = situation.alignment_ready
        facts = self.logic.alignmentFacts(self.parameters)
        self.write(self.ui.qualityLabel, ("" if facts is None else table(telling.alignment_rows(facts, libraryText)))
                   + listed(remarkLines(situation.alignment_errors), libraryText(telling.REFUSED))
                   + listed(remarkLines(situation.alignment_notices), libraryText(telling.MIND)))
