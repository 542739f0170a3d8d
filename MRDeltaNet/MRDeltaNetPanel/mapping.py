"""The logic's part that shows the network's maps: which one, from which strength on, with which legend."""

from __future__ import annotations

from typing import Any, Mapping

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib import workflow
from MRDeltaNetLib.mrml import overlays
from MRDeltaNetLib.mrml.nodes import image_from_node
from MRDeltaNetPanel import results
from MRDeltaNetPanel.parameters import Map
from MRDeltaNetPanel.translating import libraryText

STRENGTH = ("mapThreshold", "mapOpacity")
"""Parameters that say how strongly a map is shown: no step's state depends on them."""


class Maps:
    """Mixed into the logic."""

    def strongestPlace(self, parameters: Any) -> tuple[float, float, float] | None:
        """The middle of where the shown map is largest by size, LPS of the first scan, mm; None without a map."""
        node = results.maps(parameters).get(self.chosenMap(parameters).value)
        if node is None:
            return None
        image = image_from_node(node, node.GetParentTransformNode())
        values = np.abs(sitk.GetArrayViewFromImage(image))
        strongest = np.argwhere(values == values.max()).mean(axis=0)      # one number a region makes a whole region the largest
        left, posterior, superior = image.TransformContinuousIndexToPhysicalPoint(strongest[::-1].tolist())
        world = [0.0, 0.0, 0.0]
        node.TransformPointToWorld([-left, -posterior, superior], world)
        return -world[0], -world[1], world[2]

    def shownMap(self, parameters: Any) -> dict[str, Any]:
        """"pre" or "post" -> the chosen map's volume, its threshold and legend as chosen; the other legends hidden."""
        found = results.maps(parameters)
        key = self.chosenMap(parameters).value
        chosen = found.get(key)
        for node in found.values():
            overlays.show_legend(node, node is chosen and parameters.legend)
        if chosen is None:
            return {}
        overlays.set_threshold(chosen, parameters.mapThreshold)
        return {overlays.MAPS[key][0]: chosen}

    def chosenMap(self, parameters: Any) -> Map:
        """The map that is shown: the reader's choice as far as it is there, before one what the model's tests chose; Map.NONE for none."""
        found = results.maps(parameters)
        if parameters.shownMap is Map.DEFAULT:
            return Map(workflow.shown_by_itself(found, self.judged(parameters)) or "none")
        return parameters.shownMap if parameters.shownMap.value in found else Map.NONE

    def offeredMaps(self, parameters: Any) -> tuple[workflow.MapGroup, ...]:
        """The maps that there are, as the model's tests order them."""
        return workflow.map_groups(results.maps(parameters), self.judged(parameters), libraryText)

    def judged(self, parameters: Any) -> Mapping[str, Any]:
        """What is known of the model that made the maps, its tests' verdict among it."""
        facts = results.facts(parameters.result)
        return (facts or {}).get("model") or {}

    def mapIds(self, parameters: Any) -> tuple[str, ...]:
        """Ids of the maps that there are: the views are laid anew when they change."""
        return tuple(sorted(node.GetID() for node in results.maps(parameters).values()))

    def remakeLegends(self, shown: dict[str, Any]) -> None:
        """Slicer draws a legend only in views that were there, with the map as a layer, when the legend was made.

        shown  of shownMap, laid over the views already
        """
        for node in shown.values():
            overlays.remake_legend(node)

    def hideLegends(self, parameters: Any) -> None:
        """A legend stays in a view after its map has left it."""
        for node in results.maps(parameters).values():
            overlays.show_legend(node, False)

    def choices(self, parameters: Any) -> tuple[dict[str, str], dict[str, str]]:
        """Every parameter as its node holds it: how strongly maps are shown, and all else with the nodes that are chosen."""
        node = parameters.parameterNode
        texts = {name: node.GetParameter(name) for name in node.GetParameterNames()}
        roles = [node.GetNthNodeReferenceRole(index) for index in range(node.GetNumberOfNodeReferenceRoles())]
        strength = {name: texts.pop(name) for name in STRENGTH if name in texts}
        return strength, texts | {role: node.GetNodeReferenceID(role) or "" for role in roles}
