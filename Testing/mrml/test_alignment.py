"""The alignment in a live scene: the post scan appears where the pre anatomy is, nothing is hardened, and what is read back is what stands there."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed, so MRML cannot be tested")

from MRDeltaNetLib.errors import InputError  # noqa: E402
from MRDeltaNetLib.mrml.alignment import find_alignment, follow, followers, in_own_space, remove_alignment, show_alignment, transform_from_node  # noqa: E402
from MRDeltaNetLib.mrml.nodes import LPS_TO_RAS, image_from_node, image_to_node, linear_matrix, matrix_to_vtk, transform_to_node  # noqa: E402
from MRDeltaNetLib.mrml.outlines import tumour_segmentation  # noqa: E402
from Testing.made_up_result import CENTRE_MM, GRIDS, rigid  # noqa: E402
from Testing.mrml.test_nodes import bend, chain, element_matrix, numbered, scaled  # noqa: E402


@pytest.fixture
def pair(scene):
    return scene, image_to_node(numbered("straight"), scene, "pre"), image_to_node(numbered("oblique"), scene, "post")


@pytest.mark.parametrize("transform", [rigid(), scaled(), chain()], ids=["rigid", "affine", "composite"])
def test_what_is_read_back_maps_pre_to_post_as_what_was_shown(pair, transform):
    scene, pre, post = pair
    found = transform_from_node(show_alignment(scene, transform, pre, post), post)
    for offset in ((0, 0, 0), (50, -40, 30), (-60, 20, -45)):
        point = (CENTRE_MM + offset).tolist()
        np.testing.assert_allclose(found.TransformPoint(point), transform.TransformPoint(point), atol=1e-9)


@pytest.mark.parametrize("transform", [rigid(), scaled(), bend()], ids=["rigid", "affine", "bending"])
def test_what_is_seen_on_the_moved_scan_is_found_in_its_own_space(pair, transform):
    """Against the transform itself; points and a surface, which both stay as they were."""
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkPolyData
    scene, pre, post = pair
    show_alignment(scene, transform, pre, post)
    seen, surface = vtkPoints(), vtkPolyData()
    places = [CENTRE_MM + offset for offset in ((0, 0, 0), (30, -25, 18), (-28, 20, -22))]
    for left, posterior, superior in places:
        seen.InsertNextPoint(-left, -posterior, superior)
    surface.SetPoints(seen)
    for found in (in_own_space(post, seen), in_own_space(post, surface).GetPoints()):
        own = np.array([found.GetPoint(number) for number in range(3)]) * (-1, -1, 1)
        np.testing.assert_allclose(own, [transform.TransformPoint(place.tolist()) for place in places], atol=0.05)
    np.testing.assert_allclose(np.array(seen.GetPoint(1)) * (-1, -1, 1), places[1], atol=1e-4)
    assert in_own_space(pre, seen).GetPoint(1) == seen.GetPoint(1)


@pytest.mark.parametrize("kind", sorted(GRIDS))
def test_the_post_scan_is_moved_by_the_scene_alone_and_nothing_is_hardened(scene, kind):
    pre, post = (image_to_node(numbered(kind), scene, name) for name in ("pre", "post"))
    before, frame = image_from_node(post), element_matrix(post)
    node = show_alignment(scene, rigid(), pre, post)
    np.testing.assert_array_equal(element_matrix(post), frame)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image_from_node(post, node)), sitk.GetArrayFromImage(before))
    assert pre.GetParentTransformNode() is None and post.GetParentTransformNode() is node


def test_a_second_alignment_updates_the_node_and_takes_the_followers_along(pair):
    scene, pre, post = pair
    segmentation = tumour_segmentation(post, "post")
    first = show_alignment(scene, rigid(), pre, post, [segmentation])
    second = show_alignment(scene, scaled(), pre, post, [segmentation])
    assert second is first and find_alignment(scene, post) is first
    assert scene.GetNumberOfNodesByClass("vtkMRMLTransformNode") == 1
    assert segmentation.GetParentTransformNode() is first
    np.testing.assert_allclose(linear_matrix(transform_from_node(second, post)), linear_matrix(scaled()), atol=1e-9)


def test_one_that_bends_is_shown_but_not_read_back_and_gives_way_to_a_rigid_one(pair):
    scene, pre, post = pair
    overlay = image_to_node(numbered("oblique"), scene, "overlay")
    bent = show_alignment(scene, bend(), pre, post, [overlay])
    with pytest.raises(InputError) as refused:
        transform_from_node(bent, post)
    assert refused.value.code == "MRD-E614"
    straight = show_alignment(scene, rigid(), pre, post)
    assert straight.IsA("vtkMRMLLinearTransformNode") and scene.GetNumberOfNodesByClass("vtkMRMLTransformNode") == 1
    assert sorted(node.GetName() for node in followers(straight)) == ["overlay", "post"]


def test_a_correction_by_hand_in_slicers_sliders_is_read_exactly(pair):
    scene, pre, post = pair
    node = show_alignment(scene, rigid(), pre, post)
    by_hand = linear_matrix(scaled())
    node.SetMatrixTransformToParent(matrix_to_vtk(np.linalg.inv(LPS_TO_RAS @ by_hand @ LPS_TO_RAS)))      # the sliders set this direction
    np.testing.assert_allclose(linear_matrix(transform_from_node(node, post)), by_hand, atol=1e-9)


def test_a_transform_that_somebody_replaced_nested_or_removed_is_refused(pair):
    scene, pre, post = pair
    node, foreign = show_alignment(scene, rigid(), pre, post), transform_to_node(rigid(), scene, "foreign")

    def refused(found) -> str:
        with pytest.raises(InputError) as error:
            transform_from_node(found, post)
        return error.value.code

    assert refused(None) == refused(foreign) == "MRD-E834"
    post.SetAndObserveTransformNodeID(foreign.GetID())
    assert refused(node) == "MRD-E834"
    post.SetAndObserveTransformNodeID(None)
    assert refused(node) == "MRD-E834"
    post.SetAndObserveTransformNodeID(node.GetID())
    node.SetAndObserveTransformNodeID(foreign.GetID())
    assert refused(node) == "MRD-E834"
    node.SetAndObserveTransformNodeID(None)
    node.SetMatrixTransformToParent(matrix_to_vtk(np.diag([1.0, 1.0, 0.0, 1.0])))
    assert refused(node) == "MRD-E615"
    scene.RemoveNode(node)
    assert refused(node) == "MRD-E834"


def test_nothing_changes_when_a_scan_sits_under_somebody_elses_transform(pair):
    scene, pre, post = pair
    foreign = transform_to_node(rigid(), scene, "foreign")
    for moved in (pre, post):
        moved.SetAndObserveTransformNodeID(foreign.GetID())
        with pytest.raises(InputError) as refused:
            show_alignment(scene, rigid(), pre, post)
        assert refused.value.code == "MRD-E830" and find_alignment(scene, post) is None
        moved.SetAndObserveTransformNodeID(None)


def test_taken_away_everything_is_back_in_the_scanners_space(pair):
    scene, pre, post = pair
    overlay = image_to_node(numbered("oblique"), scene, "overlay")
    node = show_alignment(scene, rigid(), pre, post)
    follow(post, overlay)
    assert overlay.GetParentTransformNode() is node
    remove_alignment(node)
    assert find_alignment(scene, post) is None
    assert post.GetParentTransformNode() is None and overlay.GetParentTransformNode() is None
    follow(post, overlay)
    assert overlay.GetParentTransformNode() is None


def test_two_cases_in_one_scene_have_an_alignment_each(pair):
    scene, pre, post = pair
    other = image_to_node(numbered("flipped"), scene, "other post")
    first, second = show_alignment(scene, rigid(), pre, post), show_alignment(scene, scaled(), pre, other)
    assert first is not second and find_alignment(scene, post) is first and find_alignment(scene, other) is second
