"""A Result as a 3D Slicer scene (.mrb)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import Result
from MRDeltaNetLib.mrml import display
from MRDeltaNetLib.mrml.bootstrap import own_scene, save_bundle, slicer_module
from MRDeltaNetLib.mrml.nodes import image_from_node, image_to_node, segmentation_to_node, transform_to_node
from MRDeltaNetLib.mrml.terminology import SEGMENTS, SegmentKind

__all__ = ["image_from_node", "image_to_node", "segmentation_to_node", "transform_to_node", "write_scene"]

_SCANS = {"pre": "Pre-treatment T2", "post": "Post-treatment T2"}
_SEGMENTATIONS = {"pre": ("Pre-treatment segmentation", ("pre_mask",)),
                  "post": ("Post-treatment segmentation", ("post_mask", "residual_mask"))}
_OVERLAYS = (("attention_pre", "pre", "Pre-treatment attention", "Attention (weight)"),
             ("attention_post", "post", "Post-treatment attention", "Attention (weight)"),
             ("change_post", "post", "Post-treatment change", "Change (magnitude)"))
_TRANSFORM = "Post-treatment to pre-treatment"
_STUDIES = {"pre": "Before treatment", "post": "After treatment"}


def write_scene(result: Result, path: Path | str, *, provenance: str = "") -> Path:
    """Write one run's result as a scene that 3D Slicer opens.

    result      what the run found; missing pieces are left out
    path        the .mrb file; replaced whole or not at all
    provenance  text kept in the scene's text node "MRDeltaNet result" (the run's result.json)
    returns     path
    raises      MissingPackage MRD-E801 without slicer-core; EnvironmentProblem MRD-E832, E833 or atomic's

    Scans keep their own voxels. Everything of the post scan is placed under the transform node, which is not hardened: Slicer shows
    it aligned with pre; taken out of the transform it is back in the scanner's space. The scene opens with the pre scan and its
    attention (or the aligned post scan, where there is no map) in the three slice views, centred on the tumour.
    """
    slicer_module()
    with own_scene() as scene:
        _fill(scene, result, provenance)
        save_bundle(scene, path)
    return Path(path)


def _fill(scene: Any, result: Result, provenance: str) -> None:
    images = result.images
    nodes = {role: [image_to_node(images[role], scene, title)] for role, title in _SCANS.items() if images.get(role) is not None}
    for role, (title, names) in _SEGMENTATIONS.items():
        masks = [(_kind(name, result), images[name]) for name in names if images.get(name) is not None]
        if masks and role in nodes:
            nodes[role].append(segmentation_to_node(masks, scene, title, nodes[role][0]))
    overlays = _add_overlays(scene, result, nodes)
    transform = None
    if result.transform is not None and "post" in nodes:
        transform = transform_to_node(result.transform, scene, _TRANSFORM)
        for node in nodes["post"]:
            node.SetAndObserveTransformNodeID(transform.GetID())
    text = _provenance_node(scene, provenance) if provenance else None
    _show(scene, result, nodes, overlays)
    _file_away(scene, nodes, transform, text)


def _kind(name: str, result: Result) -> SegmentKind:
    """What a segment is; one that nobody drew says so in its name."""
    carried = result.mask_sources.get(name.removesuffix("_mask")) == "carried"
    return replace(SEGMENTS[name], name=f"{SEGMENTS[name].name} (suggestion, carried over)") if carried else SEGMENTS[name]


def _add_overlays(scene: Any, result: Result, nodes: dict[str, list]) -> dict[str, Any]:
    present = [entry for entry in _OVERLAYS if result.images.get(entry[0]) is not None and entry[1] in nodes]
    if not present:
        return {}
    colours, made = display.cividis_node(scene), {}
    for name, role, title, legend in present:
        image = result.images[name]
        made[name] = image_to_node(image, scene, title)
        display.show_as_overlay(made[name], colours, nodes[role][0], role, legend, display.highest_value(image))
        nodes[role].append(made[name])
    return made


def _provenance_node(scene: Any, provenance: str) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLTextNode", "MRDeltaNet result")
    node.SetText(provenance)
    return node


def _show(scene: Any, result: Result, nodes: dict[str, list], overlays: dict[str, Any]) -> None:
    if not nodes:
        return
    role = "pre" if "pre" in nodes else "post"
    scan = result.images[role]
    foreground = overlays.get(f"attention_{role}") or (nodes["post"][0] if role == "pre" and "post" in nodes else None)
    extent_mm = max(size * spacing for size, spacing in zip(scan.GetSize(), scan.GetSpacing()))
    display.show_slices(scene, nodes[role][0], foreground, _point_of_interest(result, role), extent_mm)


def _point_of_interest(result: Result, role: str) -> tuple[float, float, float]:
    mask, scan = result.images.get(f"{role}_mask"), result.images[role]
    inside = None if mask is None else np.argwhere(sitk.GetArrayViewFromImage(mask) > 0)
    if inside is None or not len(inside):
        return scan.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in scan.GetSize()])
    return mask.TransformContinuousIndexToPhysicalPoint(inside.mean(axis=0)[::-1].tolist())


def _file_away(scene: Any, nodes: dict[str, list], transform: Any, text: Any) -> None:
    hierarchy = slicer_module().vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    subject = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "MRDeltaNet case")
    hierarchy.SetItemOwnerPluginName(subject, "Folder")
    for role, members in nodes.items():
        study = hierarchy.CreateStudyItem(subject, _STUDIES[role])
        hierarchy.SetItemOwnerPluginName(study, "Folder")
        for node in members:
            _add_item(hierarchy, study, node)
    for node in (transform, text):
        if node is not None:
            _add_item(hierarchy, subject, node)


_PLUGINS = {"vtkMRMLScalarVolumeNode": "Volumes", "vtkMRMLSegmentationNode": "Segmentations", "vtkMRMLLinearTransformNode": "Transforms",
            "vtkMRMLTransformNode": "Transforms", "vtkMRMLTextNode": "Texts"}
"""Which of Slicer's subject hierarchy plugins owns an item; without the application nobody else writes it down."""


def _add_item(hierarchy: Any, parent: int, node: Any) -> None:
    item = hierarchy.CreateItem(parent, node)
    hierarchy.SetItemOwnerPluginName(item, _PLUGINS[node.GetClassName()])
