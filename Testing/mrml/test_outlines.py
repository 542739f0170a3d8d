"""Outlines in a live scene: a mask out of a segment is Slicer's own export voxel for voxel, one into a segment leaves the others alone, and
a suggestion that was carried over counts as drawn as soon as a voxel differs."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed, so MRML cannot be tested")

from MRDeltaNetLib.case import Timepoint  # noqa: E402
from MRDeltaNetLib.errors import InputError  # noqa: E402
from MRDeltaNetLib.imaging.segmentation import complete_masks  # noqa: E402
from MRDeltaNetLib.mrml.alignment import show_alignment, transform_from_node  # noqa: E402
from MRDeltaNetLib.mrml.bootstrap import save_bundle  # noqa: E402
from MRDeltaNetLib.mrml.nodes import (ijk_to_ras, image_to_node, labelmap, matrix_to_vtk, segmentation_to_node,  # noqa: E402
                                      transform_to_node)
from MRDeltaNetLib.mrml.outlines import (SUGGESTION, carry_over, find_segmentation, mark_carried, mask_and_notices, mask_from_segment,  # noqa: E402
                                         set_mask, settle, show_only_in, source_of, tumour_segmentation)
from MRDeltaNetLib.mrml.terminology import SEGMENTS  # noqa: E402
from Testing.made_up_result import CENTRE_MM, GRIDS, ball, body_with_ball, empty_image, like, rigid  # noqa: E402
from Testing.mrml.test_nodes import exported  # noqa: E402

KINDS = sorted(GRIDS)
TUMOUR = CENTRE_MM + (8, 18, -6)


def voxels(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def scan_node(scene, kind="oblique", name="scan"):
    return image_to_node(body_with_ball(empty_image(kind), CENTRE_MM, 15), scene, name)


def view(scene, name):
    node = slicer.vtkMRMLSliceNode()
    node.SetLayoutName(name)
    node.SetSingletonTag(name)
    return scene.AddNode(node)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_goes_in_and_comes_out_as_it_was(scene, kind):
    scan, mask = scan_node(scene, kind), ball(empty_image(kind), TUMOUR, 14)
    node = tumour_segmentation(scan, "pre")
    set_mask(node, "pre_mask", mask)
    found, notices = mask_and_notices(node, "pre_mask", scan)
    np.testing.assert_array_equal(voxels(found), voxels(mask))
    assert found.GetPixelID() == sitk.sitkUInt8 and notices == ()
    np.testing.assert_allclose(found.GetOrigin(), mask.GetOrigin(), atol=1e-6)
    np.testing.assert_allclose(found.GetDirection(), mask.GetDirection(), atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_segments_in_one_shared_layer_on_a_cropped_extent_are_told_apart_as_slicers_export_does(scene, kind):
    scan, grid = scan_node(scene, kind), empty_image(kind)
    left, right = ball(grid, CENTRE_MM - (22, 0, 0), 12), ball(grid, CENTRE_MM + (22, 5, 0), 9)
    node = tumour_segmentation(scan, "post")
    set_mask(node, "post_mask", left)
    set_mask(node, "residual_mask", right)
    node.GetSegmentation().CollapseBinaryLabelmaps(True)
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    assert {node.GetSegmentation().GetSegment(key).GetLabelValue() for key in ("post_mask", "residual_mask")} == {1, 2}
    for key, mask in (("post_mask", left), ("residual_mask", right)):
        found = voxels(mask_from_segment(node, key, scan))
        np.testing.assert_array_equal(found, voxels(mask))
        np.testing.assert_array_equal(found > 0, exported(node, key, scan, scene) > 0)


def other_lattice(kind: str, finer: float) -> sitk.Image:
    """An empty grid with the same middle and other voxels (oversampled, as Slicer's Specify geometry makes it)."""
    grid = empty_image(kind)
    made = sitk.Image([int(size * finer) for size in grid.GetSize()], sitk.sitkUInt8)
    made.SetSpacing([spacing / finer for spacing in grid.GetSpacing()])
    made.SetDirection(grid.GetDirection())
    middle = made.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in made.GetSize()])
    made.SetOrigin((CENTRE_MM - middle + 0.31).tolist())
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("finer", [2.0, 0.7], ids=["oversampled", "coarser"])
def test_a_segment_on_another_lattice_equals_slicers_own_export_and_is_reported(scene, kind, finer):
    scan, mask = scan_node(scene, kind), ball(other_lattice(kind, finer), TUMOUR, 16)
    node = segmentation_to_node([(SEGMENTS["pre_mask"], mask)], scene, "other", scan)
    found, notices = mask_and_notices(node, "pre_mask", scan)
    np.testing.assert_array_equal(voxels(found) > 0, exported(node, "pre_mask", scan, scene) > 0)
    truth = voxels(ball(empty_image(kind), TUMOUR, 16)) > 0
    assert 2 * np.count_nonzero(truth & (voxels(found) > 0)) / (truth.sum() + voxels(found).sum()) > 0.85
    assert [notice.code for notice in notices] == ["MRD-W302"]


def test_a_segment_drawn_on_a_turned_grid_comes_out_at_its_place(scene):
    scan, mask = scan_node(scene, "axis-permuted"), ball(empty_image("oblique"), TUMOUR, 16)
    node = segmentation_to_node([(SEGMENTS["pre_mask"], mask)], scene, "turned", scan)
    found = mask_from_segment(node, "pre_mask", scan)
    np.testing.assert_array_equal(voxels(found) > 0, exported(node, "pre_mask", scan, scene) > 0)
    centre = np.array(found.TransformContinuousIndexToPhysicalPoint(np.argwhere(voxels(found)).mean(axis=0)[::-1].tolist()))
    assert np.linalg.norm(centre - TUMOUR) < 1.5


def sphere(centre_lps_mm, radius_mm):
    """A closed surface in RAS."""
    sources = pytest.importorskip("vtkmodules.vtkFiltersSources")
    source = sources.vtkSphereSource()
    source.SetCenter(*(np.array(centre_lps_mm) * [-1, -1, 1]))
    source.SetRadius(radius_mm)
    source.SetThetaResolution(60)
    source.SetPhiResolution(60)
    source.Update()
    return source.GetOutput()


@pytest.mark.parametrize("kind", KINDS)
def test_a_closed_surface_is_made_into_voxels_and_the_readers_segmentation_is_left_as_it_is(scene, kind):
    names, scan = slicer.vtkSegmentationConverter, scan_node(scene, kind)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "surface")
    node.GetSegmentation().SetSourceRepresentationName(names.GetSegmentationClosedSurfaceRepresentationName())
    node.AddSegmentFromClosedSurfaceRepresentation(sphere(TUMOUR, 16), "ball", [1.0, 0.0, 0.0], "ball")
    found, truth = voxels(mask_from_segment(node, "ball", scan)) > 0, voxels(ball(empty_image(kind), TUMOUR, 16)) > 0
    assert 2 * np.count_nonzero(found & truth) / (found.sum() + truth.sum()) > 0.97
    assert not node.GetSegmentation().ContainsRepresentation(names.GetSegmentationBinaryLabelmapRepresentationName())
    assert node.GetSegmentation().GetSourceRepresentationName() == names.GetSegmentationClosedSurfaceRepresentationName()


def test_a_surface_that_reaches_beyond_the_scan_is_refused_like_any_other_outline(scene):
    names, scan = slicer.vtkSegmentationConverter, scan_node(scene, "straight")
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "surface")
    node.GetSegmentation().SetSourceRepresentationName(names.GetSegmentationClosedSurfaceRepresentationName())
    node.AddSegmentFromClosedSurfaceRepresentation(sphere(CENTRE_MM + (78, 0, 0), 16), "ball", [1.0, 0.0, 0.0], "ball")
    with pytest.raises(InputError) as refused:
        mask_from_segment(node, "ball", scan)
    assert refused.value.code == "MRD-E304"


@pytest.mark.parametrize("place, code", [((400, 0, 0), "MRD-E303"), ((80, 0, 0), "MRD-E304")], ids=["wholly outside", "partly outside"])
def test_a_segment_outside_the_scan_is_refused(scene, place, code):
    wide = sitk.Image([400, 60, 20], sitk.sitkUInt8)
    wide.SetSpacing((2.5, 2.5, 5.0))
    wide.SetOrigin((CENTRE_MM - (100, 75, 50)).tolist())
    node = segmentation_to_node([(SEGMENTS["pre_mask"], ball(wide, CENTRE_MM + place, 15))], scene, "wide", scan := scan_node(scene, "straight"))
    with pytest.raises(InputError) as refused:
        mask_from_segment(node, "pre_mask", scan)
    assert refused.value.code == code


def test_a_speck_between_the_voxels_is_refused_and_not_taken_for_empty(scene):
    fine = sitk.Image([64, 64, 64], sitk.sitkUInt8)
    fine.SetSpacing((0.1, 0.1, 0.1))
    scan = scan_node(scene, "straight")
    fine.SetOrigin(empty_image("straight").TransformContinuousIndexToPhysicalPoint((20.3, 20.3, 8.3)))
    fine[2, 2, 2] = 1
    with pytest.raises(InputError) as refused:
        mask_from_segment(segmentation_to_node([(SEGMENTS["pre_mask"], fine)], scene, "speck", scan), "pre_mask", scan)
    assert refused.value.code == "MRD-E306"


def test_outline_and_scan_must_sit_under_the_same_transform(scene):
    pre, scan = scan_node(scene, "straight", "pre"), scan_node(scene)
    node, mask = tumour_segmentation(scan, "post"), ball(empty_image("oblique"), TUMOUR, 14)
    set_mask(node, "post_mask", mask)
    show_alignment(scene, rigid(), pre, scan)
    with pytest.raises(InputError) as refused:
        mask_from_segment(node, "post_mask", scan)
    assert refused.value.code == "MRD-E835"
    node.SetAndObserveTransformNodeID(scan.GetTransformNodeID())
    np.testing.assert_array_equal(voxels(mask_from_segment(node, "post_mask", scan)), voxels(mask))


def test_a_segment_that_is_not_there_is_an_error_and_an_empty_one_is_empty(scene):
    scan = scan_node(scene)
    node = tumour_segmentation(scan, "post")
    assert not voxels(mask_from_segment(node, "residual_mask", scan)).any()
    for call in (lambda: mask_from_segment(node, "nobody", scan), lambda: set_mask(node, "nobody", empty_image("oblique", sitk.sitkUInt8))):
        with pytest.raises(InputError) as refused:
            call()
        assert refused.value.code == "MRD-E836"
    assert source_of(node, "nobody") is None and source_of(node, "residual_mask") is None


def test_the_segmentation_is_coded_named_coloured_referenced_and_drawn_as_outlines(scene):
    scan = scan_node(scene)
    node = tumour_segmentation(scan, "post")
    for key in ("post_mask", "residual_mask"):
        segment = node.GetSegmentation().GetSegment(key)
        assert (segment.GetName(), segment.GetTerminology()) == (SEGMENTS[key].name, SEGMENTS[key].terminology)
        np.testing.assert_allclose(segment.GetColor(), SEGMENTS[key].rgb, atol=1e-3)
    assert node.GetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole()) == scan.GetID()
    assert node.GetSegmentation().GetConversionParameter(slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName())
    assert node.GetDisplayNode().GetVisibility2DOutline() and not node.GetDisplayNode().GetVisibility2DFill()


def test_no_second_segmentation_is_made_and_a_segment_that_was_removed_comes_back_empty(scene):
    scan, other = scan_node(scene), scan_node(scene, name="other")
    node = tumour_segmentation(scan, "post")
    node.SetName("renamed")
    set_mask(node, "post_mask", ball(empty_image("oblique"), TUMOUR, 14))
    node.GetSegmentation().RemoveSegment("residual_mask")
    assert tumour_segmentation(scan, "post") is node is find_segmentation(scan, "post")
    assert node.GetSegmentation().GetNumberOfSegments() == 2 and source_of(node, "post_mask") == "drawn"
    assert find_segmentation(scan, "pre") is None and find_segmentation(other, "post") is None


def test_an_outline_is_shown_in_its_own_view_only_so_that_nobody_paints_it_in_the_other(scene):
    """Trap A9."""
    before, after = view(scene, "Before"), view(scene, "After")
    node = tumour_segmentation(scan_node(scene), "post", [after])
    shown = node.GetDisplayNode()
    assert shown.IsDisplayableInView(after.GetID()) and not shown.IsDisplayableInView(before.GetID())
    show_only_in(node, [])
    assert shown.IsDisplayableInView(before.GetID())


def test_setting_an_overlapping_mask_leaves_the_other_segment_of_a_shared_layer_whole(scene):
    scan, grid = scan_node(scene), empty_image("oblique")
    bed, residual = ball(grid, CENTRE_MM, 10), ball(grid, CENTRE_MM + (25, 0, 0), 8)
    node = tumour_segmentation(scan, "post")
    set_mask(node, "post_mask", bed)
    set_mask(node, "residual_mask", residual)
    node.GetSegmentation().CollapseBinaryLabelmaps(True)
    grown = ball(grid, CENTRE_MM, 30)
    set_mask(node, "post_mask", grown)
    np.testing.assert_array_equal(voxels(mask_from_segment(node, "post_mask", scan)), voxels(grown))
    np.testing.assert_array_equal(voxels(mask_from_segment(node, "residual_mask", scan)), voxels(residual))
    set_mask(node, "post_mask", like(np.zeros_like(voxels(grown)), grid))
    assert source_of(node, "post_mask") is None
    np.testing.assert_array_equal(voxels(mask_from_segment(node, "residual_mask", scan)), voxels(residual))


def test_a_surface_shown_in_3d_follows_the_new_mask(scene):
    scan, grid = scan_node(scene), empty_image("oblique")
    node = tumour_segmentation(scan, "pre")
    set_mask(node, "pre_mask", ball(grid, CENTRE_MM, 8))
    node.CreateClosedSurfaceRepresentation()
    points = lambda: node.GetClosedSurfaceInternalRepresentation("pre_mask").GetNumberOfPoints()  # noqa: E731
    small = points()
    set_mask(node, "pre_mask", ball(grid, CENTRE_MM, 20))
    assert points() > 2 * small


@pytest.fixture(params=[("straight", "oblique"), ("left-handed", "axis-permuted"), ("flipped", "left-handed")], ids="+".join)
def carried(scene, request):
    """(scene, pre, post, segmentations, notices) after an outline was carried over; the scans as nodes."""
    pre_kind, post_kind = request.param
    pre, post = scan_node(scene, pre_kind, "pre"), scan_node(scene, post_kind, "post")
    before, after = tumour_segmentation(pre, "pre"), tumour_segmentation(post, "post")
    set_mask(before, "pre_mask", ball(empty_image(pre_kind), TUMOUR, 16))
    node = show_alignment(scene, rigid(), pre, post, [after])
    notices = carry_over(before, after, post, transform_from_node(node, post))
    return scene, pre, post, (before, after), notices, request.param


def test_a_carried_outline_has_the_very_voxels_that_a_run_would_use(carried):
    scene, pre, post, (before, after), notices, (pre_kind, post_kind) = carried
    mask = ball(empty_image(pre_kind), TUMOUR, 16)
    _, expected, told = complete_masks(Timepoint(empty_image(pre_kind), mask=mask), Timepoint(empty_image(post_kind)), rigid())
    np.testing.assert_array_equal(voxels(mask_from_segment(after, "post_mask", post)), voxels(expected.mask))
    assert notices == told and notices[0].code == "MRD-W350"
    assert voxels(expected.mask).any()


def test_a_carried_outline_says_so_until_a_reader_changes_a_voxel_and_again_after_undo(carried):
    scene, pre, post, (before, after), _, _ = carried
    segment = after.GetSegmentation().GetSegment("post_mask")
    assert source_of(after, "post_mask") == "carried" and source_of(before, "pre_mask") == "drawn"
    assert segment.GetName() == SEGMENTS["post_mask"].name + SUGGESTION
    suggestion = mask_from_segment(after, "post_mask", post)
    painted = voxels(suggestion)
    painted[tuple(np.argwhere(painted)[0])] = 0
    set_mask(after, "post_mask", like(painted, suggestion))
    assert source_of(after, "post_mask") == "drawn" and segment.GetName() == SEGMENTS["post_mask"].name
    assert settle(after) is False
    set_mask(after, "post_mask", suggestion)
    assert source_of(after, "post_mask") == "carried" and segment.GetName().endswith(SUGGESTION)


def test_cropping_or_refining_the_labelmap_does_not_make_a_suggestion_a_drawing(carried):
    """The editor crops and pads a segment's labelmap at every stroke, also one that is undone."""
    _, _, post, (_, after), _, _ = carried
    after.GetSegmentation().CollapseBinaryLabelmaps(True)
    assert source_of(after, "post_mask") == "carried"
    shifted = mask_from_segment(after, "post_mask", post)
    set_mask(after, "post_mask", like(np.roll(voxels(shifted), 1, axis=1), shifted))
    assert source_of(after, "post_mask") == "drawn"


def test_a_name_that_the_reader_gave_stays(carried):
    _, _, _, (_, after), _, _ = carried
    after.GetSegmentation().GetSegment("post_mask").SetName("bed by AB")
    settle(after)
    assert after.GetSegmentation().GetSegment("post_mask").GetName() == "bed by AB" + SUGGESTION


def test_a_saved_suggestion_is_still_one_and_a_saved_drawing_still_drawn(carried, load, tmp_path):
    scene, _, post, (_, after), _, _ = carried
    expected = voxels(mask_from_segment(after, "post_mask", post))
    save_bundle(scene, tmp_path / "scene.mrb")
    again = load(tmp_path / "scene.mrb")
    scan = again.GetFirstNodeByName("post")
    node = find_segmentation(scan, "post")
    np.testing.assert_array_equal(voxels(mask_from_segment(node, "post_mask", scan)), expected)
    assert source_of(node, "post_mask") == "carried"
    assert source_of(find_segmentation(again.GetFirstNodeByName("pre"), "pre"), "pre_mask") == "drawn"


def test_without_an_outline_or_with_a_transform_that_leads_away_nothing_is_carried(scene):
    pre, post = scan_node(scene, "straight", "pre"), scan_node(scene, "oblique", "post")
    before, after = tumour_segmentation(pre, "pre"), tumour_segmentation(post, "post")
    with pytest.raises(InputError) as refused:
        carry_over(before, after, post, rigid())
    assert refused.value.code == "MRD-E352"
    set_mask(before, "pre_mask", ball(empty_image("straight"), TUMOUR, 16))
    away = sitk.TranslationTransform(3, (500.0, 0.0, 0.0))
    with pytest.raises(InputError) as refused:
        carry_over(before, after, post, away)
    assert refused.value.code == "MRD-E357" and source_of(after, "post_mask") is None
    scene.RemoveNode(pre)
    with pytest.raises(InputError) as refused:
        carry_over(before, after, post, rigid())
    assert refused.value.code == "MRD-E836"


def test_a_new_segmentation_of_an_aligned_scan_sits_under_its_transform(scene):
    pre, post = scan_node(scene, "straight", "pre"), scan_node(scene, "oblique", "post")
    node = show_alignment(scene, rigid(), pre, post)
    assert tumour_segmentation(post, "post").GetParentTransformNode() is node
    foreign = transform_to_node(rigid(), scene, "foreign")
    assert tumour_segmentation(pre, "pre").GetParentTransformNode() is None and foreign.GetScene() is scene


@pytest.mark.parametrize("kind", KINDS)
def test_a_labelmap_whose_extent_starts_anywhere_gives_the_same_mask_and_digest(scene, kind):
    """The editor crops labelmaps: then their first voxel is not (0, 0, 0)."""
    scan, mask = scan_node(scene, kind), ball(empty_image(kind), TUMOUR, 14)
    node = tumour_segmentation(scan, "post")
    set_mask(node, "post_mask", mask)
    mark_carried(node, "post_mask")
    marked = np.argwhere(voxels(mask))[:, ::-1]
    low, high = marked.min(axis=0), marked.max(axis=0)
    assert low.min() > 0
    cropped = labelmap(mask[tuple(slice(int(a), int(b) + 1) for a, b in zip(low, high))])
    cropped.SetExtent(*(int(bound) for pair in zip(low, high) for bound in pair))
    cropped.SetGeometryFromImageToWorldMatrix(matrix_to_vtk(ijk_to_ras(mask)))
    names = slicer.vtkSegmentationConverter
    node.GetSegmentation().GetSegment("post_mask").AddRepresentation(names.GetSegmentationBinaryLabelmapRepresentationName(), cropped)
    np.testing.assert_array_equal(voxels(mask_from_segment(node, "post_mask", scan)), voxels(mask))
    np.testing.assert_array_equal(exported(node, "post_mask", scan, scene) > 0, voxels(mask) > 0)
    assert source_of(node, "post_mask") == "carried" and mask_and_notices(node, "post_mask", scan)[1] == ()


@pytest.mark.parametrize("drawn, new", [("post_mask", "residual_mask"), ("residual_mask", "post_mask")])
def test_where_a_reader_turned_the_outlines_into_surfaces_a_new_mask_costs_none_of_them(scene, drawn, new):
    scan, grid = scan_node(scene, "straight"), empty_image("straight")
    old, added = ball(grid, CENTRE_MM, 20), ball(grid, CENTRE_MM + (25, 0, 0), 10)
    node = tumour_segmentation(scan, "post")
    set_mask(node, drawn, old)
    node.CreateClosedSurfaceRepresentation()
    node.SetSourceRepresentationToClosedSurface()
    node.RemoveBinaryLabelmapRepresentation()
    set_mask(node, new, added)
    np.testing.assert_array_equal(voxels(mask_from_segment(node, new, scan)), voxels(added))
    found = voxels(mask_from_segment(node, drawn, scan)) > 0
    assert 2 * np.count_nonzero(found & (voxels(old) > 0)) / (found.sum() + voxels(old).sum()) > 0.9


def test_a_surface_that_cannot_be_made_into_voxels_is_not_overwritten(scene):
    scan, grid = scan_node(scene, "straight"), empty_image("straight")
    node = tumour_segmentation(scan, "post")
    set_mask(node, "post_mask", ball(grid, CENTRE_MM, 20))
    node.CreateClosedSurfaceRepresentation()
    node.SetSourceRepresentationToClosedSurface()
    node.RemoveBinaryLabelmapRepresentation()

    class Unable:
        """The node, whose converter fails."""

        def __getattr__(self, name):
            return (lambda: False) if name == "CreateBinaryLabelmapRepresentation" else getattr(node, name)

    with pytest.raises(InputError) as refused:
        set_mask(Unable(), "residual_mask", ball(grid, CENTRE_MM, 10))
    assert refused.value.code == "MRD-E836"
    assert node.GetClosedSurfaceInternalRepresentation("post_mask").GetNumberOfPoints() > 0
