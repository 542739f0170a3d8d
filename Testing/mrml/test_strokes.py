"""Voxels below a brush, counted one by one with ITK's own geometry."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed, so MRML cannot be tested")

from vtkmodules.vtkCommonCore import vtkPoints  # noqa: E402

from MRDeltaNetLib.mrml.alignment import show_alignment  # noqa: E402
from MRDeltaNetLib.mrml.comparing import orient_alike  # noqa: E402
from MRDeltaNetLib.mrml.nodes import image_to_node, matrix_from_vtk  # noqa: E402
from MRDeltaNetLib.mrml.strokes import brushed  # noqa: E402
from Testing.made_up_result import CENTRE_MM, GRIDS, empty_image, rigid, voxel_points  # noqa: E402

PATH = [CENTRE_MM + offset for offset in ((1.3, -0.7, 2.1), (9.1, 4.4, 2.1), (400, 0, 0))]
"""Where the brush has been, LPS of the first scan, mm; the last place lies outside."""


def path() -> vtkPoints:
    points = vtkPoints()
    for left, posterior, superior in PATH:
        points.InsertNextPoint(-left, -posterior, superior)
    return points


@pytest.mark.parametrize("plane", [None, "Axial", "Sagittal", "Coronal"])
@pytest.mark.parametrize("kind", sorted(GRIDS))
def test_a_brush_marks_the_voxels_whose_middles_lie_below_it(scene, kind, plane):
    pre, post = (image_to_node(empty_image(each), scene, each) for each in ("oblique", kind))
    show_alignment(scene, rigid(), pre, post)
    view = None
    if plane is not None:
        view = slicer.vtkMRMLSliceNode()
        view.SetLayoutName(plane)
        view = scene.AddNode(view)
        orient_alike([view], pre, plane)
    found = brushed(post, path(), 9.0, view)
    back = rigid().GetInverse()
    middles = np.array([back.TransformPoint(point.tolist()) for point in voxel_points(empty_image(kind)).reshape(-1, 3)])      # in the first scan's space
    expected = np.zeros(len(middles), bool)
    steps = np.array([back.TransformVector(column.tolist(), [0.0] * 3) for column in
                      (np.array(empty_image(kind).GetDirection()).reshape(3, 3) * empty_image(kind).GetSpacing()).T])
    for place in PATH:
        away = middles - place
        if plane is None:
            expected |= np.linalg.norm(away, axis=1) <= 9
        else:
            normal = matrix_from_vtk(view.GetSliceToRAS())[:3, 2] * (-1, -1, 1)
            across = away @ normal
            half = np.abs(steps @ normal).sum() / 2
            expected |= (np.abs(across) <= half) & (np.linalg.norm(away - across[:, None] * normal, axis=1) <= 9)
    assert found.shape == sitk.GetArrayViewFromImage(empty_image(kind)).shape and 20 < found.sum() and (found.ravel() == expected).all()


def test_a_brush_outside_of_the_scan_marks_nothing(scene):
    points = vtkPoints()
    points.InsertNextPoint(1000, 1000, 1000)
    assert not brushed(image_to_node(empty_image("straight"), scene, "one"), points, 20.0).any()
