"""Where the voxels of one image lie on the grid of another. Everything in LPS, mm."""

from __future__ import annotations

import itertools

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import SAME_GRID_MM

LATTICE_POINTS = 24
"""A field of view is sampled at this many points an axis to see how much of it another one covers."""


def corners_mm(image: sitk.Image) -> np.ndarray:
    """The centres of the eight corner voxels of a 3-D image, (8, 3), x y z."""
    return np.array([image.TransformIndexToPhysicalPoint(index)
                     for index in itertools.product(*((0, n - 1) for n in image.GetSize()))])


def corner_difference_mm(first: sitk.Image, second: sitk.Image) -> float:
    """The largest distance between corresponding corner voxels of two 3-D images; infinity if they differ in size."""
    if first.GetSize() != second.GetSize():
        return float("inf")
    return float(np.linalg.norm(corners_mm(first) - corners_mm(second), axis=1).max())


def same_grid(first: sitk.Image, second: sitk.Image, tolerance_mm: float = SAME_GRID_MM) -> bool:
    """True if two 3-D images have as many voxels and their corners lie no further apart than the tolerance."""
    return corner_difference_mm(first, second) <= tolerance_mm


def points_mm(image: sitk.Image, indices: np.ndarray) -> np.ndarray:
    """Places of voxels. indices (n, 3) float, x y z order; returns (n, 3), x y z."""
    axes = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    return indices @ axes.T + np.array(image.GetOrigin())


def inside(image: sitk.Image, places_mm: np.ndarray) -> np.ndarray:
    """Which places (n, 3) lie in the image's field of view, whose border is the outer face of its outer voxels; bool (n,)."""
    axes = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    indices = np.linalg.solve(axes, (places_mm - np.array(image.GetOrigin())).T).T
    slack = SAME_GRID_MM / np.array(image.GetSpacing())
    return ((indices >= -0.5 - slack) & (indices <= np.array(image.GetSize()) - 0.5 + slack)).all(axis=1)


def on_lattice(image: sitk.Image, grid: sitk.Image, indices: np.ndarray, tolerance_voxels: float) -> np.ndarray | None:
    """Voxels of one image as voxels of a grid, where both are the same voxels in another order or another field of view.

    indices  (n, 3) int, x y z order, of the image
    returns  (n, 3) int, x y z order, of the grid; None if the voxels are of another size or direction, or lie between the grid's by more than
             the tolerance (parts of a voxel) somewhere in the image; indices may lie outside the grid
    """
    axes, own = (np.array(i.GetDirection()).reshape(3, 3) * np.array(i.GetSpacing()) for i in (grid, image))
    steps = np.linalg.solve(axes, own)
    offset = np.linalg.solve(axes, np.array(image.GetOrigin()) - np.array(grid.GetOrigin()))
    whole = np.rint(steps)
    if not (np.abs(whole).sum(0) == 1).all() or not (np.abs(whole).sum(1) == 1).all():
        return None
    corners = np.array(list(itertools.product(*((0, n - 1) for n in image.GetSize()))), float)
    if np.abs(corners @ (steps - whole).T + (offset - np.rint(offset))).max() > tolerance_voxels:
        return None
    return (indices @ whole.T + np.rint(offset)).astype(int)


def overlap_fraction(first: sitk.Image, second: sitk.Image) -> float:
    """How much of the smaller of two fields of view lies in the other, 0 to 1, to about 2 percent (sampled on a lattice)."""
    small, large = sorted((first, second), key=_extent_mm3)
    steps = [(np.arange(LATTICE_POINTS) + 0.5) / LATTICE_POINTS * n - 0.5 for n in small.GetSize()]
    lattice = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    return float(inside(large, points_mm(small, lattice)).mean())


def _extent_mm3(image: sitk.Image) -> float:
    return float(np.prod(np.array(image.GetSize()) * np.array(image.GetSpacing())))
