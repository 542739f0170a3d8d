"""The scans of a live scene: a volume node as the scanner gave it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.mrml.kept import Kept, scan_key
from MRDeltaNetLib.mrml.nodes import image_from_node, refuse_other_transform
from MRDeltaNetLib.workflow import image_digest


@dataclass(frozen=True)
class Scan:
    """A scan as it was read.

    image   sitk.Image as scan_from_node gives it; not to be written into, because others look at it too
    digest  workflow.image_digest of it
    """

    image: sitk.Image
    digest: str


def scan_from_node(volume: Any, transform: Any | None = None) -> sitk.Image:
    """A scan in the scanner's own space.

    volume     vtkMRMLScalarVolumeNode
    transform  our alignment's transform node: the only one that the volume may sit under; it is not applied
    returns    sitk.Image, 3-D, LPS, mm; voxel type as in the scene (16-bit integers and floats stay)
    raises     InputError MRD-E122 for a label map; what nodes.image_from_node raises
    """
    _refuse_label_map(volume)
    return image_from_node(volume, transform)


def known_scan(volume: Any, transform: Any | None, kept: Kept) -> Scan:
    """As scan_from_node, with its digest; read only if it is not kept as it is now. Raises the same."""
    _refuse_label_map(volume)
    refuse_other_transform(volume, transform)

    def read() -> Scan:
        image = image_from_node(volume, transform)
        return Scan(image, image_digest(image))

    return kept.value(("scan", volume.GetID()), scan_key(volume), read)


def _refuse_label_map(volume: Any) -> None:
    if volume.IsA("vtkMRMLLabelMapVolumeNode"):
        raise InputError("This volume is a label map, not a scan", code="MRD-E122", fix="choose the scan itself; a label map is imported as a segmentation")
