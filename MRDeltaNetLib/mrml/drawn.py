"""What nnU-Net told beside its outline, in a live scene: the probability of every voxel, and the border where it was uncertain.

The probability is a volume on the scan's grid that keeps in words what drew; the border is a segmentation of its own, so that a reader who edits
the outline still sees where the program was unsure.
"""

from __future__ import annotations

from typing import Any, Iterable, Mapping

import SimpleITK as sitk

from MRDeltaNetLib.coding import LESION
from MRDeltaNetLib.colours import UNCERTAIN
from MRDeltaNetLib.io.drawings import HIGH, KEY, LOW, header_of, program_in
from MRDeltaNetLib.mrml.alignment import follow
from MRDeltaNetLib.mrml.nodes import fill_volume, image_from_node, image_to_node, make_ours, ours, segmentation_to_node
from MRDeltaNetLib.mrml.outlines import set_mask, show_only_in
from MRDeltaNetLib.mrml.terminology import SegmentKind

TITLES = {"pre": "Pre-treatment", "post": "Post-treatment"}
LEVELS = {"possible": LOW, "certain": HIGH}
"""Segment of the border -> the probability from which on a voxel is in it."""


def keep(volume: Any, role: str, probability: sitk.Image, program: Mapping[str, Any], views: Iterable[Any] = ()) -> tuple[Any, Any]:
    """Keep a drawing's probabilities and its uncertain border beside the scan, in place of those of an earlier drawing.

    volume       volume node of the scan; role  "pre" or "post"
    probability  sitk.Image float32, 0 to 1, on the scan's grid, in its own space
    program      what drew, as io.drawings.program_of
    views        view nodes that alone show the border; none: every view, or those that show it already
    returns      the probability's volume node, the border's segmentation node; both under the scan's transform
    """
    node, border = _probability_node(volume, role), _border_node(volume, role)
    scene = volume.GetScene()
    if node is None:
        node = make_ours(image_to_node(probability, scene, f"{TITLES[role]} probability (nnU-Net)"), f"{role} probability", scan=volume)
        node.GetDisplayNode().AutoWindowLevelOff()
        node.GetDisplayNode().SetWindowLevelMinMax(0.0, 1.0)
    else:
        fill_volume(node, probability)
    node.SetAttribute(KEY, header_of(program)[KEY])
    masks = {name: sitk.Cast(probability >= level, sitk.sitkUInt8) for name, level in LEVELS.items()}
    if border is None:
        kinds = {name: SegmentKind(name, f"{UNCERTAIN.label}: probability {level:g}", LESION, tuple(value / 255 for value in UNCERTAIN.rgb))
                 for name, level in LEVELS.items()}
        border = segmentation_to_node([(kinds[name], mask) for name, mask in masks.items()], scene, f"{TITLES[role]} uncertain border (nnU-Net)", volume)
        make_ours(border, f"{role} uncertain border", scan=volume)
        border.GetDisplayNode().SetSliceIntersectionThickness(1)
        border.GetDisplayNode().SetOpacity2DOutline(0.5)      # the outline itself lies below it
    else:
        for name, mask in masks.items():
            set_mask(border, name, mask)
    for each in (node, border):
        follow(volume, each)
    if wanted := tuple(views):
        show_only_in(border, wanted)
    return node, border


def kept(volume: Any, role: str) -> tuple[sitk.Image, dict[str, Any]] | None:
    """The probabilities that lie beside a scan and what drew them, as keep was given them; None where there are none."""
    node = _probability_node(volume, role)
    program = None if node is None else program_in({KEY: node.GetAttribute(KEY) or ""})
    return None if program is None else (image_from_node(node, node.GetParentTransformNode()), program)


def nodes(volume: Any, role: str) -> tuple[Any, ...]:
    """What keep made of this scan, as far as it is there."""
    return tuple(node for node in (_probability_node(volume, role), _border_node(volume, role)) if node is not None)


def _probability_node(volume: Any, role: str) -> Any | None:
    return ours(volume.GetScene(), "vtkMRMLScalarVolumeNode", f"{role} probability", scan=volume)


def _border_node(volume: Any, role: str) -> Any | None:
    return ours(volume.GetScene(), "vtkMRMLSegmentationNode", f"{role} uncertain border", scan=volume)
