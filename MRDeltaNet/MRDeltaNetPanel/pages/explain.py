"""Step 5: where the score comes from, over the scans; and where in the first scan a place of the second one was compared with."""

from __future__ import annotations

import html
from typing import Any

import slicer
from slicer.i18n import tr as _

from MRDeltaNetLib import workflow
from MRDeltaNetLib.workflow import telling
from MRDeltaNetPanel.pages.grouped import choices, fill, select
from MRDeltaNetPanel.pages.page import Page
from MRDeltaNetPanel.parameters import Map
from MRDeltaNetPanel.translating import libraryText


class ExplainPage(Page):
    """One map at a time as a volume of its own, with legend, threshold and opacity; further maps; the point query."""

    key, uiFile = "explain", "Explain.ui"

    def connect(self) -> None:
        self.ui.pointButton.connect("clicked(bool)", lambda checked=False: self.guarded(self.pick))
        self.ui.restoreButton.connect("clicked(bool)", lambda checked=False: self.restore())
        self.ui.mapBox.connect("activated(int)", self.mapChosen)
        self.ui.furtherBox.connect("currentIndexChanged(int)", lambda index=0: self._tellFurther())
        self.ui.furtherButton.connect("clicked(bool)", lambda checked=False: self.askFurther())
        self._whyNoFurther, self._tellWhy = "", False
        self._shown: tuple[Any, ...] | None = None
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        self.panel.addObserver(interaction, interaction.InteractionModeChangedEvent, self._interactionChanged)

    def enter(self) -> None:
        self._shown = None
        self.panel.placeScans(onTumour=True)
        if (place := self.logic.strongestPlace(self.parameters)) is not None:
            self.panel.views.jump(place)

    def exit(self) -> None:
        self._shown = None
        self.stopPicking()
        if self.parameters is not None:
            self.logic.hideLegends(self.parameters)
        self.panel.views.meet()

    def sceneCloses(self) -> None:
        self.stopPicking()

    def sceneChanged(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Views or result have changed: the map is laid anew, an answer of before is none any more."""
        self._shown = None
        self.write(self.ui.pointLabel, "")

    def mapChosen(self, index: int) -> None:
        """The map of that line of the list."""
        if key := self.ui.mapBox.itemData(index):
            self.parameters.shownMap = Map(key)
        self.panel.refreshSoon()

    def askFurther(self) -> None:
        """Make the further map that is chosen, or all that are offered, in a process of its own."""
        key = self.ui.furtherBox.currentData
        if key:
            self.panel.follow(lambda: self.logic.startMaps(self.parameters, key if key == workflow.OFFERED else (key,)))

    def restore(self) -> None:
        """Both scans as they were, without map; choosing a map shows it again."""
        self.parameters.shownMap = Map.NONE
        self.logic.hideLegends(self.parameters)
        self.panel.views.forgetPlace()
        self.panel.placeScans(onTumour=True)

    def pick(self) -> None:
        """Wait for a click on the scan after treatment."""
        self.logic.startPicking(self.parameters, self.panel.views.sliceNodes())
        self.write(self.ui.pointLabel, html.escape(_("Click in the right-hand view, on the scan after treatment. A right click stops.")))

    def stopPicking(self) -> None:
        """No click is waited for any more; the placing of anything but our point is left alone."""
        point = None if self.parameters is None else self.parameters.point
        application = slicer.app.applicationLogic()
        interaction, selection = application.GetInteractionNode(), application.GetSelectionNode()
        if point is None or interaction.GetCurrentInteractionMode() != interaction.Place or selection.GetActivePlaceNodeID() != point.GetID():
            return
        interaction.SetCurrentInteractionMode(interaction.ViewTransform)

    def _interactionChanged(self, caller: Any, event: Any) -> None:
        """A right click ends the waiting without a point: nobody is asked to click any more."""
        point = None if self.parameters is None else self.parameters.point
        if caller.GetCurrentInteractionMode() != caller.Place and (point is None or not point.GetNumberOfDefinedControlPoints()):
            self.write(self.ui.pointLabel, "")

    def pointPlaced(self) -> None:
        """A point was placed or moved: ask the network's correspondence, show its answer."""
        found = self.guarded(lambda: self.logic.ask(self.parameters))
        if found is None:
            self.write(self.ui.pointLabel, "")
            return
        self.panel.views.jump(found.peak_lps_mm, first=True)
        self.write(self.ui.pointLabel, "<br>".join(html.escape(line) for line in telling.compared(found, libraryText)))

    def refresh(self, situation: Any, step: Any) -> None:
        parameters = self.parameters
        fill(self.ui.mapBox, (*self.logic.offeredMaps(parameters), workflow.MapGroup("", (workflow.MapLine(Map.NONE.value, Map.NONE.label()),))))
        select(self.ui.mapBox, self.logic.chosenMap(parameters).value)
        for widget in (self.ui.mapBox, self.ui.thresholdSlider, self.ui.opacitySlider, self.ui.legendBox):
            widget.enabled = bool(situation.maps)
        self._offerFurther(situation)
        why = self.logic.whyNoPoint(parameters)
        self.ui.pointButton.enabled = why is None
        self.ui.pointButton.toolTip = why or _("Click a place on the scan after treatment: where did the model look on the first scan?")
        if self.panel.step == self.key and (wanted := self._wanted()) != self._shown:
            self._shown = wanted
            self.panel.showMap()
        self.write(self.ui.mapLabel, self._describe(parameters))

    def _offerFurther(self, situation: Any) -> None:
        """What can still be asked, with the reason why not now."""
        groups = self.logic.furtherMethods(self.parameters)
        fill(self.ui.furtherBox, groups)
        self._whyNoFurther = workflow.why_not_more(situation, translate=libraryText) or ("" if choices(groups) else _("Every map that can be made is there."))
        self._tellWhy = bool(self._whyNoFurther) and situation.prediction is not None and situation.running is None
        self.ui.furtherBox.enabled = not self._whyNoFurther
        self._tellFurther()

    def _tellFurther(self) -> None:
        """The button and the caution of the further map that is chosen."""
        line = choices(self.logic.furtherMethods(self.parameters) if self.parameters is not None else ()).get(self.ui.furtherBox.currentData)
        why = self._whyNoFurther or ("" if line is None else line.why_not)
        self.ui.furtherButton.enabled = line is not None and not why
        self.ui.furtherButton.toolTip = why or _("Ask the network again about what it saw, in a process of its own; seconds to a minute each")
        said = self._whyNoFurther if self._tellWhy else "" if line is None or why else line.caution
        self.write(self.ui.furtherLabel, html.escape(said))

    def showStrength(self) -> None:
        """Threshold and opacity as chosen now, on the map that is shown: at once, while a slider moves."""
        if self.panel.step == self.key and self._shown is not None:
            self.panel.views.showOver(self.logic.shownMap(self.parameters), self.parameters.mapOpacity)
            self._shown = self._wanted()

    def _wanted(self) -> tuple[Any, ...]:
        """Everything that the map over the scans depends on."""
        parameters = self.parameters
        return self.logic.chosenMap(parameters), parameters.mapThreshold, parameters.mapOpacity, parameters.legend, self.logic.mapIds(parameters)

    def _describe(self, parameters: Any) -> str:
        """What has to be said with the map that is shown; without one, why there is none."""
        facts, shown = self.logic.resultFacts(parameters), self.logic.chosenMap(parameters)
        if facts is None:
            return ""
        if shown is Map.NONE:
            untouched = parameters.shownMap is Map.DEFAULT
            return html.escape(workflow.why_none_by_itself(facts["maps"], self.logic.judged(parameters), libraryText)) if untouched else ""
        known = facts["maps"].get(shown.value)
        lines = () if known is None else workflow.map_described(shown.value, known, self.logic.judged(parameters), libraryText,
                                                                 largest=self.logic.largestShare(parameters), clear_below=parameters.mapThreshold)
        return "<br>".join(html.escape(line) for line in lines)
