"""Scans out of a live scene keep their own space, and whatever has no sound place is refused."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed, so MRML cannot be tested")

from MRDeltaNetLib.errors import InputError  # noqa: E402
from MRDeltaNetLib.mrml.alignment import show_alignment  # noqa: E402
from MRDeltaNetLib.mrml.nodes import image_from_node, image_to_node, matrix_to_vtk, transform_to_node, voxels_to_vtk  # noqa: E402
from MRDeltaNetLib.mrml.scans import scan_from_node  # noqa: E402
from Testing.made_up_result import CENTRE_MM, GRIDS, body_with_ball, empty_image, rigid  # noqa: E402
from Testing.mrml.test_nodes import numbered  # noqa: E402

KINDS = sorted(GRIDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pixel", [np.int16, np.uint16, np.float32, np.float64])
def test_a_scan_keeps_its_voxels_type_and_place_also_under_our_alignment(scene, kind, pixel):
    image = numbered(kind, pixel)
    pre, post = (image_to_node(body_with_ball(empty_image(), CENTRE_MM, 15), scene, "pre"), image_to_node(image, scene, "post"))
    alignment = show_alignment(scene, rigid(), pre, post)
    found = scan_from_node(post, alignment)
    assert found.GetPixelID() == image.GetPixelID()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(image))
    for index in ((0, 0, 0), tuple(size - 1 for size in image.GetSize())):
        np.testing.assert_allclose(found.TransformIndexToPhysicalPoint(index), image.TransformIndexToPhysicalPoint(index), atol=1e-6)


def test_any_other_transform_is_refused(scene):
    pre, post = (image_to_node(numbered("oblique"), scene, name) for name in ("pre", "post"))
    foreign, alignment = transform_to_node(rigid(), scene, "foreign"), show_alignment(scene, rigid(), pre, post)
    with pytest.raises(InputError, match="harden") as refused:
        scan_from_node(post)
    assert refused.value.code == "MRD-E830"
    post.SetAndObserveTransformNodeID(foreign.GetID())
    with pytest.raises(InputError) as refused:
        scan_from_node(post, alignment)
    assert refused.value.code == "MRD-E830"


def with_frame(scene, matrix):
    node = image_to_node(numbered("straight"), scene, "volume")
    node.SetIJKToRASMatrix(matrix_to_vtk(np.array(matrix, float)))
    return node


SHEARED = [[-1, -0.2, 0, 0], [0, -1, 0, 0], [0, 0, 4, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize("matrix, code", [
    (SHEARED, "MRD-E139"),
    ([[1, 0, 0, 0], [0, 1, 0.1, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "MRD-E139"),
    ([[1, np.nan, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "MRD-E140"),
    ([[1, 0, 0, np.inf], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "MRD-E140"),
    ([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "MRD-E138"),
    ([[90, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "MRD-E137")],
    ids=["sheared", "gantry tilt", "nan", "infinite origin", "flat", "huge spacing"])
def test_a_frame_that_is_none_is_refused_and_not_silently_turned(scene, matrix, code):
    with pytest.raises(InputError) as refused:
        scan_from_node(with_frame(scene, matrix))
    assert refused.value.code == code


def test_simpleitk_itself_would_take_the_shear_without_a_word():
    """The reason for the guard: if this fails, SimpleITK has learnt to refuse it."""
    image, columns = sitk.Image(4, 4, 4, sitk.sitkUInt8), np.array(SHEARED)[:3, :3]
    image.SetDirection((columns / np.linalg.norm(columns, axis=0)).ravel().tolist())
    assert abs(np.dot(*np.array(image.GetDirection()).reshape(3, 3).T[:2])) > 0.1


def test_a_label_map_a_colour_volume_and_an_empty_one_are_refused(scene):
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    labels.SetAndObserveImageData(voxels_to_vtk(np.ones((4, 5, 6), np.int16)))
    colour = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "colour")
    data = voxels_to_vtk(np.ones((4, 5, 6), np.uint8))
    data.AllocateScalars(data.GetScalarType(), 3)
    colour.SetAndObserveImageData(data)
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    for node, code in ((labels, "MRD-E122"), (colour, "MRD-E131"), (empty, "MRD-E831")):
        with pytest.raises(InputError) as refused:
            scan_from_node(node)
        assert refused.value.code == code


def test_a_scan_taken_out_of_the_scene_does_not_change_with_it(scene):
    node = image_to_node(numbered("straight"), scene, "volume")
    taken = image_from_node(node)
    node.GetImageData().GetPointData().GetScalars().Fill(7)
    assert sitk.GetArrayViewFromImage(taken).max() > 7
