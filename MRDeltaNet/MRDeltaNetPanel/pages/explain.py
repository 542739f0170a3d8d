"""Step 5: where the score comes from, over the scans; and where in the first scan a place of the second one was compared with."""

from __future__ import annotations

import html
from typing import Any

import slicer
from slicer.i18n import tr as _

from MRDeltaNetPanel.pages.page import Page
from MRDeltaNetPanel.parameters import Map
from MRDeltaNetPanel.words import sentence


class ExplainPage(Page):
    """One map at a time as a volume of its own, with legend, threshold and opacity; the point query."""

    key, uiFile = "explain", "Explain.ui"

    def connect(self) -> None:
        self.ui.pointButton.connect("clicked(bool)", lambda checked=False: self.guarded(self.pick))
        self.ui.restoreButton.connect("clicked(bool)", lambda checked=False: self.restore())
        self.ui.mapBox.connect("activated(int)", self.mapChosen)
        self._offered: tuple[Map, ...] = ()
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
        self.parameters.shownMap = Map(self.ui.mapBox.itemData(index))
        self.panel.refreshSoon()

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
        lines = [_("Compared most with a place {distance:.0f} mm away on the scan before treatment, with a spread of {spread:.0f} mm (root mean square).").format(
            distance=found.displacement_mm, spread=found.spread_mm)]
        lines += [sentence(found.note)] if found.note else []
        self.write(self.ui.pointLabel, "<br>".join(html.escape(line) for line in lines))

    def refresh(self, situation: Any, step: Any) -> None:
        parameters = self.parameters
        self._offerMaps(parameters)
        for widget in (self.ui.mapBox, self.ui.thresholdSlider, self.ui.opacitySlider, self.ui.legendBox):
            widget.enabled = bool(situation.maps)
        why = self.logic.whyNoPoint(parameters)
        self.ui.pointButton.enabled = why is None
        self.ui.pointButton.toolTip = why or _("Click a place on the scan after treatment: where did the model look on the first scan?")
        if self.panel.step == self.key and (wanted := self._wanted()) != self._shown:
            self._shown = wanted
            self.panel.showMap()
        self.write(self.ui.mapLabel, self._describe(parameters))

    def _offerMaps(self, parameters: Any) -> None:
        """The list holds the maps that there are, and stands on the one that is shown."""
        offered, box = self.logic.offeredMaps(parameters), self.ui.mapBox
        if offered != self._offered:
            self._offered = offered
            box.clear()
            for each in offered:
                box.addItem(each.label(), each.value)
        box.currentIndex = offered.index(parameters.shownMap if parameters.shownMap in offered else Map.NONE)

    def showStrength(self) -> None:
        """Threshold and opacity as chosen now, on the map that is shown: at once, while a slider moves."""
        if self.panel.step == self.key and self._shown is not None:
            self.panel.views.showOver(self.logic.shownMap(self.parameters), self.parameters.mapOpacity)
            self._shown = self._wanted()

    def _wanted(self) -> tuple[Any, ...]:
        """Everything that the map over the scans depends on."""
        parameters = self.parameters
        return parameters.shownMap, parameters.mapThreshold, parameters.mapOpacity, parameters.legend, self.logic.mapIds(parameters)

    def _describe(self, parameters: Any) -> str:
        facts = self.logic.resultFacts(parameters)
        known = None if facts is None or parameters.shownMap is Map.NONE else facts["maps"].get(parameters.shownMap.value)
        if known is None:
            return ""
        size = " x ".join(f"{value:g}" for value in known["resolution_mm"])
        lines = [_("True resolution {size} mm; {unit}.").format(size=size, unit=known["unit"])]
        lines += [known["caution"] + "."] if known.get("caution") else []
        return "<br>".join(html.escape(line) for line in lines)
