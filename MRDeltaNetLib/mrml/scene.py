"""A Result as a 3D Slicer scene (.mrb)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import Result
from MRDeltaNetLib.io import judged_maps
from MRDeltaNetLib.io.finished import map_provenance
from MRDeltaNetLib.io.images import read_plain
from MRDeltaNetLib.mrml import alignment, display, hierarchy, outlines, overlays
from MRDeltaNetLib.mrml.bootstrap import own_scene, packed_file, save_bundle, slicer_module
from MRDeltaNetLib.mrml.nodes import image_from_node, image_to_node, segmentation_to_node, transform_to_node
from MRDeltaNetLib.mrml.terminology import SEGMENTS

__all__ = ["image_from_node", "image_to_node", "provenance_of", "scans_of", "segmentation_to_node", "transform_to_node", "write_scene"]

_PROVENANCE = "MRDeltaNet result"
_SCANS = {"pre": "Pre-treatment T2", "post": "Post-treatment T2"}


def write_scene(result: Result, path: Path | str, *, provenance: str = "") -> Path:
    """Write one run's result as a scene that 3D Slicer opens.

    result      what the run found; missing pieces are left out
    path        the .mrb file; replaced whole or not at all
    provenance  text kept in the scene's text node "MRDeltaNet result" (the run's result.json)
    returns     path
    raises      MissingPackage MRD-E801 without slicer-core; EnvironmentProblem MRD-E832, E833 or atomic's

    Scans keep their own voxels. Everything of the post scan is placed under the transform node, which is not hardened: Slicer shows
    it aligned with pre; taken out of the transform it is back in the scanner's space. The scene opens with the pre scan and
    the map of it that passed the model's tests, or its attention where none did (the aligned post scan, where there is no such map), in the three slice
    views, centred on the tumour.
    """
    slicer_module()
    with own_scene() as scene:
        _fill(scene, result, provenance)
        save_bundle(scene, path)
    return Path(path)


def scans_of(path: Path) -> dict[str, sitk.Image]:
    """"pre", "post" -> the scan on its own grid, out of a scene of write_scene; empty where it does not hold both."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="mrdeltanet-scene-") as temporary:
        for role, title in _SCANS.items():
            data = packed_file(path, f"{title}.nrrd")
            if data is None:
                return {}
            copy = Path(temporary) / f"{role}.nrrd"
            copy.write_bytes(data)
            found[role] = read_plain(copy)
    return found


def provenance_of(path: Path) -> str | None:
    """The provenance of a scene of write_scene; None without one, or of a few lines only, which Slicer keeps elsewhere (a result.json is longer)."""
    data = packed_file(path, f"{_PROVENANCE}.txt")
    return None if data is None else data.decode("utf-8")


def _fill(scene: Any, result: Result, provenance: str) -> None:
    images = result.images
    nodes = {role: [image_to_node(images[role], scene, title)] for role, title in _SCANS.items() if images.get(role) is not None}
    for role, (title, names) in outlines.SEGMENTATIONS.items():
        masks = [(SEGMENTS[name], images[name]) for name in names if images.get(name) is not None]
        if masks and role in nodes:
            nodes[role].append(_segmentation(masks, scene, title, role, nodes[role][0], result))
    maps = _add_overlays(scene, result, nodes)
    transform = None
    if result.transform is not None and "post" in nodes:
        transform = _aligned(scene, result.transform, nodes)
    text = _provenance_node(scene, provenance) if provenance else None
    _show(scene, result, nodes, maps)
    _file_away(scene, nodes, transform, text)


def _segmentation(masks: list, scene: Any, title: str, role: str, scan: Any, result: Result) -> Any:
    """A scan's outlines as the panel knows them; one that nobody drew says so in its name."""
    node = segmentation_to_node(masks, scene, title, scan)
    outlines.mark_segmentation(node, role, scan)
    for kind, _ in masks:
        if result.mask_sources.get(kind.segment_id.removesuffix("_mask")) == "carried":
            outlines.mark_carried(node, kind.segment_id)
    return node


def _add_overlays(scene: Any, result: Result, nodes: dict[str, list]) -> dict[str, Any]:
    present = {key: about for key, about in overlays.MAPS.items() if result.images.get(key) is not None and about[0] in nodes}
    if not present:
        return {}
    made = {}
    for name, (role, title, legend) in present.items():
        facts = result.map_facts.get(name, {})
        made[name] = overlays.show_map(scene, result.images[name], name, nodes[role][0], role, title, legend, map_provenance(result.model or {}, facts), facts)
        nodes[role].append(made[name])
    return made


def _aligned(scene: Any, transform: sitk.Transform, nodes: dict[str, list]) -> Any:
    """Everything of the post scan under the transform; an alignment that the panel knows where both scans are there."""
    if "pre" in nodes:
        return alignment.show_alignment(scene, transform, nodes["pre"][0], nodes["post"][0], nodes["post"][1:])
    node = transform_to_node(transform, scene, alignment.NAME)
    for member in nodes["post"]:
        member.SetAndObserveTransformNodeID(node.GetID())
    return node


def _provenance_node(scene: Any, provenance: str) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLTextNode", _PROVENANCE)
    node.SetText(provenance)
    return node


def _show(scene: Any, result: Result, nodes: dict[str, list], maps: dict[str, Any]) -> None:
    if not nodes:
        return
    role = "pre" if "pre" in nodes else "post"
    scan = result.images[role]
    foreground = _first_map(result, role, maps) or (nodes["post"][0] if role == "pre" and "post" in nodes else None)
    extent_mm = max(size * spacing for size, spacing in zip(scan.GetSize(), scan.GetSpacing()))
    display.show_slices(scene, nodes[role][0], foreground, _point_of_interest(result, role), extent_mm)


def _first_map(result: Result, role: str, maps: dict[str, Any]) -> Any | None:
    """The map of this scan that the model's tests let be shown first; none where all that there are failed, or another one passed."""
    there = {name.rsplit("_", 1)[0]: node for name, node in maps.items() if overlays.MAPS[name][0] == role}
    offered = judged_maps.offered(result.model or {}, there)
    return there[offered[0]] if offered else None


def _point_of_interest(result: Result, role: str) -> tuple[float, float, float]:
    mask, scan = result.images.get(f"{role}_mask"), result.images[role]
    inside = None if mask is None else np.argwhere(sitk.GetArrayViewFromImage(mask) > 0)
    if inside is None or not len(inside):
        return scan.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in scan.GetSize()])
    return mask.TransformContinuousIndexToPhysicalPoint(inside.mean(axis=0)[::-1].tolist())


def _file_away(scene: Any, nodes: dict[str, list], transform: Any, text: Any) -> None:
    case = hierarchy.new_case(scene)
    for role, members in nodes.items():
        study = hierarchy.study_of(scene, case, role)
        for node in members:
            hierarchy.place(scene, node, study)
    for node in (transform, text):
        if node is not None:
            hierarchy.place(scene, node, case)
