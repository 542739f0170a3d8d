"""Volumes, transforms and segmentations keep voxels and place between SimpleITK and MRML."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed, so MRML cannot be tested")

from MRDeltaNetLib.errors import InputError  # noqa: E402
from MRDeltaNetLib.mrml.bootstrap import quiet  # noqa: E402
from MRDeltaNetLib.mrml.nodes import (image_from_node, image_to_node, linear_matrix, segmentation_to_node,  # noqa: E402
                                      transform_to_node, vtk_matrix)
from MRDeltaNetLib.mrml.terminology import SEGMENTS  # noqa: E402
from Testing.made_up_result import CENTRE_MM, GRIDS, ball, body_with_ball, empty_image, like, rigid  # noqa: E402

KINDS = sorted(GRIDS)


def element_matrix(node) -> np.ndarray:
    matrix = vtk_matrix()
    node.GetIJKToRASMatrix(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def numbered(kind: str, pixel=np.float32) -> sitk.Image:
    grid = empty_image(kind)
    return like(np.arange(np.prod(grid.GetSize())).reshape(grid.GetSize()[::-1]).astype(pixel), grid)


@pytest.mark.parametrize("kind", KINDS)
def test_a_voxel_lies_at_the_same_place_of_the_patient_in_both_worlds(scene, kind):
    image = numbered(kind)
    matrix = element_matrix(image_to_node(image, scene, "volume"))
    for index in ((0, 0, 0), (5, 0, 0), (0, 7, 0), (0, 0, 9), tuple(size - 1 for size in image.GetSize())):
        left, posterior, superior = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose((matrix @ [*index, 1])[:3], (-left, -posterior, superior), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pixel", [np.uint8, np.int16, np.float32, np.float64])
def test_a_volume_comes_back_as_it_went(scene, kind, pixel):
    image = numbered(kind, pixel)
    back = image_from_node(image_to_node(image, scene, "volume"))
    assert back.GetPixelID() == image.GetPixelID()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(back.GetOrigin(), image.GetOrigin(), atol=1e-6)
    np.testing.assert_allclose(back.GetSpacing(), image.GetSpacing(), atol=1e-9)
    np.testing.assert_allclose(back.GetDirection(), image.GetDirection(), atol=1e-9)


def test_a_volume_under_a_transform_is_refused(scene):
    node = image_to_node(numbered("straight"), scene, "volume")
    node.SetAndObserveTransformNodeID(transform_to_node(rigid(), scene, "transform").GetID())
    with pytest.raises(InputError, match="harden") as refused:
        image_from_node(node)
    assert refused.value.code == "MRD-E830"


def test_a_volume_without_voxels_is_refused(scene):
    with pytest.raises(InputError, match="load the scan again") as refused:
        image_from_node(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty"))
    assert refused.value.code == "MRD-E831"


def bend() -> sitk.Transform:
    """A free-form transform, pre LPS -> post LPS."""
    spline = sitk.BSplineTransformInitializer(empty_image("oblique"), [4, 4, 3])
    spline.SetParameters(np.random.default_rng(3).normal(0, 3, spline.GetNumberOfParameters()).tolist())
    return sitk.Transform(spline)


def scaled() -> sitk.Transform:
    affine = sitk.AffineTransform(3)
    affine.SetCenter(CENTRE_MM.tolist())
    affine.SetMatrix((1.1, 0.05, 0, -0.02, 0.95, 0.1, 0, 0.03, 1.05))
    affine.SetTranslation((3, -4, 5))
    return sitk.Transform(affine)


def chain() -> sitk.Transform:
    return sitk.Transform(sitk.CompositeTransform([scaled(), rigid()]))


@pytest.mark.parametrize("transform, tolerance_mm", [(rigid(), 1e-6), (scaled(), 1e-6), (chain(), 1e-6), (bend(), 1e-6)],
                         ids=["rigid", "affine", "composite", "free-form"])
def test_the_node_moves_pre_points_to_post_as_simpleitk_does(scene, transform, tolerance_mm):
    vtk_transforms = pytest.importorskip("vtkmodules.vtkCommonTransforms")
    node = transform_to_node(transform, scene, "transform")
    from_parent, to_parent = vtk_transforms.vtkGeneralTransform(), vtk_transforms.vtkGeneralTransform()
    node.GetTransformFromWorld(from_parent)
    node.GetTransformToWorld(to_parent)
    for offset in ((0, 0, 0), (20, -10, 15), (-30, 25, -20)):
        pre = CENTRE_MM + offset
        post = np.array(transform.TransformPoint(pre.tolist()))
        np.testing.assert_allclose(from_parent.TransformPoint(*(pre * [-1, -1, 1])), post * [-1, -1, 1], atol=tolerance_mm)
        np.testing.assert_allclose(to_parent.TransformPoint(*(post * [-1, -1, 1])), pre * [-1, -1, 1], atol=1e-3)


def test_a_linear_transforms_matrix_has_its_centre_folded_in():
    matrix, point = linear_matrix(scaled()), np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(matrix[:3, :3] @ point + matrix[:3, 3], scaled().TransformPoint(point.tolist()), atol=1e-9)
    assert linear_matrix(bend()) is None


def exported(node, segment_id: str, reference, scene) -> np.ndarray:
    """The segment on the reference volume's grid, by Slicer's own export."""
    core = pytest.importorskip("vtkmodules.vtkCommonCore")
    support = pytest.importorskip("vtkmodules.util.numpy_support")
    labelmap = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "export")
    ids = core.vtkStringArray()
    ids.InsertNextValue(segment_id)
    with quiet():
        assert slicer.vtkSlicerSegmentationsModuleLogic.ExportSegmentsToLabelmapNode(node, ids, labelmap, reference)
    data = labelmap.GetImageData()
    np.testing.assert_allclose(element_matrix(labelmap), element_matrix(reference), atol=1e-6)
    return support.vtk_to_numpy(data.GetPointData().GetScalars()).reshape(data.GetDimensions()[::-1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_segment_exported_by_slicer_equals_the_mask_voxel_by_voxel(scene, kind):
    image = body_with_ball(empty_image(kind), CENTRE_MM, 15)
    mask = ball(image, CENTRE_MM + (9, 4, -7), 15)
    reference = image_to_node(image, scene, "scan")
    node = segmentation_to_node([(SEGMENTS["pre_mask"], mask)], scene, "segmentation", reference)
    found = exported(node, "pre_mask", reference, scene)
    np.testing.assert_array_equal(found > 0, sitk.GetArrayFromImage(mask) > 0)
    assert node.GetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole()) == reference.GetID()


def test_overlapping_segments_of_one_scan_both_stay_whole(scene):
    image = body_with_ball(empty_image("oblique"), CENTRE_MM, 15)
    bed, residual = ball(image, CENTRE_MM, 18), ball(image, CENTRE_MM + (5, 0, 0), 8)
    reference = image_to_node(image, scene, "scan")
    node = segmentation_to_node([(SEGMENTS["post_mask"], bed), (SEGMENTS["residual_mask"], residual)], scene, "segmentation", reference)
    np.testing.assert_array_equal(exported(node, "post_mask", reference, scene) > 0, sitk.GetArrayFromImage(bed) > 0)
    np.testing.assert_array_equal(exported(node, "residual_mask", reference, scene) > 0, sitk.GetArrayFromImage(residual) > 0)
