"""Slice views without a screen: Slicer's own slice logic blends a view's layers in software, no OpenGL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from MRDeltaNetLib.mrml.bootstrap import quiet
from MRDeltaNetLib.mrml.nodes import matrix_from_vtk

WIDTH, HEIGHT = 180, 150


@dataclass(frozen=True)
class Picture:
    """rgba: uint8 (row from the bottom, column, 4); points: LPS of every pixel's centre (row, column, 3), mm; pixel_mm: its size."""

    rgba: np.ndarray
    points: np.ndarray
    pixel_mm: float

    @property
    def grey(self) -> np.ndarray:
        """Brightness, 0 to 255."""
        return self.rgba[..., :3].astype(float).mean(axis=-1)

    def pixel_at(self, point_lps_mm) -> tuple[int, int]:
        """(row, column) of the pixel nearest to a point."""
        distance = np.linalg.norm(self.points - np.asarray(point_lps_mm), axis=-1)
        return tuple(int(index) for index in np.unravel_index(distance.argmin(), distance.shape))

    def around(self, point_lps_mm, radius_mm: float) -> np.ndarray:
        """Which pixels lie within this distance of a point; bool (row, column)."""
        return np.linalg.norm(self.points - np.asarray(point_lps_mm), axis=-1) < radius_mm


class Screen:
    """A slice view: `view` is its slice node, `layers` its slice composite node."""

    def __init__(self, scene: Any, name: str) -> None:
        slicer = pytest.importorskip("slicer")
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLScene(scene)
        self.view = self.logic.AddSliceNode(name)
        self.layers = self.logic.GetSliceCompositeNode()
        self.view.SetDimensions(WIDTH, HEIGHT, 1)

    def picture(self) -> Picture:
        """What the view shows now; it must have a layer."""
        support = pytest.importorskip("vtkmodules.util.numpy_support")
        with quiet():
            producer = self.logic.GetImageDataConnection().GetProducer()
            producer.Update()
        rgba = support.vtk_to_numpy(producer.GetOutputDataObject(0).GetPointData().GetScalars()).reshape(HEIGHT, WIDTH, -1).copy()
        return Picture(rgba, self.points(), float(np.linalg.norm(matrix_from_vtk(self.view.GetXYToRAS())[:3, 0])))

    def points(self) -> np.ndarray:
        """LPS points of the pixels' centres (row, column, 3), mm."""
        rows, columns = np.indices((HEIGHT, WIDTH))
        points = np.stack([columns, rows, 0 * rows, 0 * rows + 1], axis=-1) @ matrix_from_vtk(self.view.GetXYToRAS()).T
        return points[..., :3] * [-1, -1, 1]

    def close(self) -> None:
        """Let go of the scene."""
        self.logic.SetMRMLScene(None)
