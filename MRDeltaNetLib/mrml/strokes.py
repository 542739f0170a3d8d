"""Which voxels a brush has gone over, however they lie to the view in which it was seen."""

from __future__ import annotations

from typing import Any

import numpy as np

from MRDeltaNetLib.errors import require
from MRDeltaNetLib.mrml.alignment import in_own_space
from MRDeltaNetLib.mrml.bootstrap import FEATURE, INSTALL
from MRDeltaNetLib.mrml.nodes import matrix_from_vtk, vtk_matrix


def brushed(volume: Any, path: Any, radius_mm: float, view: Any | None = None) -> np.ndarray:
    """The voxels whose middles lie below the brush.

    volume     scan whose voxels are meant, under its alignment or under none
    path       vtkPoints in the scene's world, RAS, mm: where the brush has been
    radius_mm  of the brush
    view       slice node: the brush is a disc in its plane, as thick as a voxel is across the plane, so that it marks each voxel through which the
               plane goes, once; None: a ball
    returns    bool (k, j, i) on the scan's grid
    """
    matrix, (columns, rows, slices) = vtk_matrix(), volume.GetImageData().GetDimensions()
    volume.GetIJKToRASMatrix(matrix)
    matrix = matrix_from_vtk(matrix)
    steps, found = matrix[:3, :3], np.zeros((slices, rows, columns), bool)       # steps: mm of one voxel along i, j, k, a column each
    normal = None if view is None else _normal(volume, view)
    reach_mm = radius_mm if normal is None else np.hypot(radius_mm, _half_thickness_mm(steps, normal))
    reach = reach_mm * np.linalg.norm(np.linalg.inv(steps), axis=1)
    for place in np.linalg.solve(steps, (_array(in_own_space(volume, path)) - matrix[:3, 3]).T).T:
        low = np.maximum(np.floor(place - reach), 0).astype(int)
        high = np.minimum(np.ceil(place + reach) + 1, (columns, rows, slices)).astype(int)
        if (low < high).all():
            k, j, i = np.meshgrid(*(np.arange(first, last) for first, last in zip(low[::-1], high[::-1])), indexing="ij")
            away_mm = (np.stack([i, j, k], axis=-1) - place) @ steps.T
            found[low[2]:high[2], low[1]:high[1], low[0]:high[0]] |= _below(away_mm, radius_mm, normal, steps)
    return found


def _below(away_mm: np.ndarray, radius_mm: float, normal: np.ndarray | None, steps: np.ndarray) -> np.ndarray:
    """Which of these places, measured from the brush's middle (..., 3), lie below it."""
    squared = (away_mm**2).sum(axis=-1)
    if normal is None:
        return squared <= radius_mm**2
    across, half = away_mm @ normal, _half_thickness_mm(steps, normal)
    return (across > -half) & (across <= half) & (squared - across**2 <= radius_mm**2)


def _half_thickness_mm(steps: np.ndarray, normal: np.ndarray) -> float:
    return float(np.abs(normal @ steps).sum() / 2)


def _normal(volume: Any, view: Any) -> np.ndarray:
    """The direction across a view's plane in the volume's own RAS, length 1."""
    plane, ends = matrix_from_vtk(view.GetSliceToRAS()), require("vtkmodules.vtkCommonCore", FEATURE, INSTALL).vtkPoints()
    ends.SetDataTypeToDouble()
    for end in (plane[:3, 3], plane[:3, 3] + plane[:3, 2]):
        ends.InsertNextPoint(*end.tolist())
    first, second = _array(in_own_space(volume, ends))
    return (second - first) / np.linalg.norm(second - first)


def _array(points: Any) -> np.ndarray:
    return np.array([points.GetPoint(number) for number in range(points.GetNumberOfPoints())])
