"""The scans of a live scene: a volume node as the scanner gave it."""

from __future__ import annotations

from typing import Any

import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.mrml.nodes import image_from_node


def scan_from_node(volume: Any, transform: Any | None = None) -> sitk.Image:
    """A scan in the scanner's own space.

    volume     vtkMRMLScalarVolumeNode
    transform  our alignment's transform node: the only one that the volume may sit under; it is not applied
    returns    sitk.Image, 3-D, LPS, mm; voxel type as in the scene (16-bit integers and floats stay)
    raises     InputError MRD-E122 for a label map; what nodes.image_from_node raises
    """
    if volume.IsA("vtkMRMLLabelMapVolumeNode"):
        raise InputError("This volume is a label map, not a scan", code="MRD-E122", fix="choose the scan itself; a label map is imported as a segmentation")
    return image_from_node(volume, transform)
