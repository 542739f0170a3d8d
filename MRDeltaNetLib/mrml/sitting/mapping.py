"""Maps of a sitting: which one, from which strength on, with which legend."""

from __future__ import annotations

from typing import Any, Mapping

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib import workflow
from MRDeltaNetLib.mrml import overlays
from MRDeltaNetLib.mrml.nodes import image_from_node
from MRDeltaNetLib.mrml.sitting import results
from MRDeltaNetLib.mrml.sitting.choices import DEFAULT_MAP
from MRDeltaNetLib.workflow.texts import Translate


def judged(choices: Any) -> Mapping[str, Any]:
    """What is known of the model that made the maps, its tests' verdict among it."""
    return (results.facts(choices.result) or {}).get("model") or {}


def chosen_map(choices: Any) -> str | None:
    """The map that is shown: the reader's choice as far as it is there, before one what the model's tests chose, on the scan where it says more;
    None for none."""
    found = results.maps(choices)
    if choices.shown_map == DEFAULT_MAP:
        return _where_it_says_more(found, workflow.shown_by_itself(found, judged(choices)))
    return choices.shown_map if choices.shown_map in found else None


def offered_maps(choices: Any, translate: Translate = str) -> tuple[workflow.MapGroup, ...]:
    """The maps that there are, as the model's tests order them."""
    return workflow.map_groups(results.maps(choices), judged(choices), translate)


def strongest_place(choices: Any) -> tuple[float, float, float] | None:
    """The middle of where the shown map is largest by size, LPS of the first scan, mm; None without a map."""
    node = results.maps(choices).get(chosen_map(choices))
    if node is None:
        return None
    image = image_from_node(node, node.GetParentTransformNode())
    values = np.abs(sitk.GetArrayViewFromImage(image))
    strongest = np.argwhere(values == values.max()).mean(axis=0)      # one number a region makes a whole region the largest
    left, posterior, superior = image.TransformContinuousIndexToPhysicalPoint(strongest[::-1].tolist())
    world = [0.0, 0.0, 0.0]
    node.TransformPointToWorld([-left, -posterior, superior], world)
    return -world[0], -world[1], world[2]


def largest_share(choices: Any) -> float:
    """The shown map's largest value by size, as a fraction of its scale, which the maps of both scans share; 1 without a map."""
    node = results.maps(choices).get(chosen_map(choices))
    if node is None:
        return 1.0
    return _largest(node) / overlays.top_of(node)


def shown_map(choices: Any) -> dict[str, Any]:
    """"pre" or "post" -> the chosen map's volume, its threshold and legend as chosen; the other legends hidden."""
    key = chosen_map(choices)
    chosen = results.maps(choices).get(key)
    for node in results.all_maps(choices).values():
        overlays.show_legend(node, node is chosen and choices.legend)
    if chosen is None:
        return {}
    overlays.set_threshold(chosen, choices.map_threshold)
    return {overlays.MAPS[key][0]: chosen}


def _where_it_says_more(found: Mapping[str, Any], name: str | None) -> str | None:
    """The same method's map with the larger values: both scans share one scale, so that the other may be an empty picture; after treatment if equal."""
    if name is None:
        return None
    method = name.rsplit("_", 1)[0]
    return max((key for role in ("post", "pre") if (key := f"{method}_{role}") in found), key=lambda key: _largest(found[key]))


def _largest(node: Any) -> float:
    return max(map(abs, node.GetImageData().GetScalarRange()))


def map_ids(choices: Any) -> tuple[str, ...]:
    """Ids of the maps that there are: the views are laid anew when they change."""
    return tuple(sorted(node.GetID() for node in results.maps(choices).values()))


def hide_legends(choices: Any) -> None:
    """A legend stays in a view after its map has left it."""
    for node in results.all_maps(choices).values():
        overlays.show_legend(node, False)
