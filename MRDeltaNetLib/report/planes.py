"""Where the report's pictures cut a scan, and sampling a scan there.

Pictures lie in the patient's own planes, whatever the scan's orientation, and follow radiological convention: patient right on
the left of axial and coronal pictures, anterior on top of axial ones and on the left of sagittal ones, superior on top of coronal
and sagittal ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.imaging.preprocessing.grids import corners
from MRDeltaNetLib.io.gate.grids import points_mm


@dataclass(frozen=True)
class Plane:
    """One of the patient's planes (LPS: +x left, +y posterior, +z superior).

    across, down  unit vectors of a picture's columns (left to right) and rows (top to bottom)
    edges         letters at the picture's left, right, top and bottom edge
    """

    name: str
    across: tuple[int, int, int]
    down: tuple[int, int, int]
    edges: tuple[str, str, str, str]


AXIAL = Plane("axial", (1, 0, 0), (0, 1, 0), ("R", "L", "A", "P"))
CORONAL = Plane("coronal", (1, 0, 0), (0, 0, -1), ("R", "L", "H", "F"))
SAGITTAL = Plane("sagittal", (0, 1, 0), (0, 0, -1), ("A", "P", "H", "F"))
PLANES = (AXIAL, CORONAL, SAGITTAL)

SCAN_FIELD_MM = 180.0
"""Pictures of the scans show no more than this: the pelvis around the tumour."""

MAP_FIELD_MM = 100.0
"""Pictures of the maps show no more than this: the tumour and its neighbourhood, large enough to judge."""

PICTURE_WIDTH = 400
"""Pixels across every picture; pictures of one field width share one scale in mm."""


@dataclass(frozen=True)
class Field:
    """What part of a plane a picture shows.

    plane      the plane
    centre     LPS point in the middle of the picture, mm
    pixel_mm   size of a square pixel, mm
    size       width and height, pixels
    """

    plane: Plane
    centre: tuple[float, float, float]
    pixel_mm: float
    size: tuple[int, int]

    def sample(self, image: sitk.Image, interpolator: int = sitk.sitkLinear) -> np.ndarray:
        """The image in this field: float32 array (height, width); NaN-free, 0 outside the image."""
        across, down = np.array(self.plane.across, float), np.array(self.plane.down, float)
        normal = np.cross(across, down)
        width, height = self.size
        origin = np.array(self.centre) - self.pixel_mm * ((width - 1) / 2 * across + (height - 1) / 2 * down)
        direction = np.column_stack([across, down, normal]).ravel()
        sampled = sitk.Resample(image, (width, height, 1), sitk.Transform(), interpolator, origin.tolist(),
                                (self.pixel_mm,) * 3, direction.tolist(), 0.0, sitk.sitkFloat32)
        return sitk.GetArrayFromImage(sampled)[0]


def bounds_mm(image: sitk.Image) -> np.ndarray:
    """The image's bounding box along the patient's axes, voxel edges included: array (2, 3), LPS, mm."""
    places = corners(image)
    return np.array([places.min(axis=0), places.max(axis=0)])


def field_width_mm(images: list[sitk.Image], at_most_mm: float) -> float:
    """The width that several pictures share: the widest scan in plane, but at most at_most_mm."""
    extents = [np.diff(bounds_mm(image), axis=0)[0] for image in images]
    return float(min(at_most_mm, max(extent[:2].max() for extent in extents)))


def field(image: sitk.Image, plane: Plane, point_mm: np.ndarray, width_mm: float) -> Field:
    """The field through point_mm, as wide as asked and no higher than the scan, moved so that it shows as much scan as it can."""
    low, high = bounds_mm(image)
    pixel_mm = width_mm / PICTURE_WIDTH
    centre = np.array(point_mm, float)
    vertical = int(np.flatnonzero(plane.down)[0])
    height_mm = min(width_mm, float(high[vertical] - low[vertical]))
    for direction, extent_mm in ((plane.across, width_mm), (plane.down, height_mm)):
        axis = int(np.flatnonzero(direction)[0])
        centre[axis] = _shifted_inside(centre[axis], low[axis], high[axis], extent_mm)
    return Field(plane, tuple(centre), pixel_mm, (PICTURE_WIDTH, max(40, round(height_mm / pixel_mm))))


def _shifted_inside(centre: float, low: float, high: float, extent: float) -> float:
    if high - low <= extent:
        return (low + high) / 2
    return min(max(centre, low + extent / 2), high - extent / 2)


def map_maximum(attention: sitk.Image, near: sitk.Image | None = None) -> np.ndarray | None:
    """LPS point (mm) of the map's highest value; of equal ones the nearest to the mask's centre. None if the map is all zero."""
    values = sitk.GetArrayViewFromImage(attention)
    highest = float(values.max())
    if not highest > 0:
        return None
    points = _points(attention, np.argwhere(values >= highest * (1 - 1e-6)))
    centre = None if near is None else mask_centre(near)
    goal = points.mean(axis=0) if centre is None else centre
    return points[np.argmin(np.linalg.norm(points - goal, axis=1))]


def mask_centre(mask: sitk.Image) -> np.ndarray | None:
    """LPS point (mm) of the mask's voxel nearest to its centre of mass; None if the mask is empty."""
    indices = np.argwhere(sitk.GetArrayViewFromImage(mask) > 0)
    if not len(indices):
        return None
    points = _points(mask, indices)
    return points[np.argmin(np.linalg.norm(points - points.mean(axis=0), axis=1))]


def image_centre(image: sitk.Image) -> np.ndarray:
    """LPS point (mm) of the image's middle voxel."""
    return np.array(image.TransformIndexToPhysicalPoint([size // 2 for size in image.GetSize()]))


def _points(image: sitk.Image, indices_zyx: np.ndarray) -> np.ndarray:
    return points_mm(image, indices_zyx[:, ::-1])
