"""Two views of both scans, rendered by Slicer's own slice logic: the right place, the right side, aligned, blended, in squares."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed, so MRML cannot be tested")

from MRDeltaNetLib.colours import CIVIDIS  # noqa: E402
from MRDeltaNetLib.mrml import comparing  # noqa: E402
from MRDeltaNetLib.mrml.alignment import show_alignment  # noqa: E402
from MRDeltaNetLib.mrml.bootstrap import save_bundle  # noqa: E402
from MRDeltaNetLib.mrml.comparing import (PLANES, blend, checkerboard, fit, jump_to, keep_out_of_files, keep_own_layers, layers_of, link,  # noqa: E402
                                          orient_alike, show_layers)
from MRDeltaNetLib.mrml.nodes import image_from_node, image_to_node, matrix_from_vtk  # noqa: E402
from MRDeltaNetLib.mrml.overlays import set_threshold, show_map  # noqa: E402
from Testing.made_up_result import CENTRE_MM, GRIDS, body_with_ball, bump, ellipsoid, empty_image, like, rigid  # noqa: E402
from Testing.mrml.screens import Screen  # noqa: E402

KINDS = sorted(GRIDS)
PAIRS = [("straight", "oblique"), ("oblique", "left-handed"), ("axis-permuted", "flipped"), ("left-handed", "axis-permuted")]
TUMOUR = CENTRE_MM + (8, 18, -6)
BED = np.array(rigid().TransformPoint(TUMOUR.tolist()))


@pytest.fixture
def screens(scene):
    made = [Screen(scene, name) for name in ("Before", "After")]
    yield made
    for screen in made:
        screen.close()


def views(screens):
    return [screen.view for screen in screens]


def scan_node(scene, image, name):
    """A scan with a grey window that its noise does not change."""
    node = image_to_node(image, scene, name)
    node.GetDisplayNode().AutoWindowLevelOff()
    node.GetDisplayNode().SetWindowLevelMinMax(0, 200)
    return node


def planted(kind: str, index) -> sitk.Image:
    """A map with one bright voxel."""
    values = np.zeros(empty_image(kind).GetSize()[::-1], np.float32)
    values[tuple(index)[::-1]] = 1.0
    return like(values, empty_image(kind))


def peak(picture):
    """LPS point in the middle of what is coloured (cividis' bright end)."""
    yellow = np.clip(picture.rgba[..., 0].astype(float) - picture.rgba[..., 2], 0, None)
    yellow[yellow < 0.5 * yellow.max()] = 0
    assert yellow.max() > 60, "nothing of the overlay is to be seen"
    return (picture.points * yellow[..., None]).sum(axis=(0, 1)) / yellow.sum()


@pytest.mark.parametrize("kind, plane", list(itertools.product(KINDS, sorted(PLANES))))
def test_a_bright_voxel_of_the_overlay_is_seen_exactly_at_its_place(scene, screens, kind, plane):
    scan = scan_node(scene, like(np.full(empty_image(kind).GetSize()[::-1], 40, np.float32), empty_image(kind)), "pre")
    index = [size // 2 + step for size, step in zip(empty_image(kind).GetSize(), (5, -4, 3))]
    image = planted(kind, index)
    place = np.array(image.TransformIndexToPhysicalPoint(index))
    overlay = show_map(scene, image, "attention_pre", scan, "pre", "Attention", "Attention")
    orient_alike(views(screens), scan, plane)
    fit(views(screens), scan)
    jump_to(views(screens), place)
    for screen in screens:
        show_layers(screen.layers, scan, overlay, 1.0)
        picture = screen.picture()
        assert np.linalg.norm(peak(picture) - place) < picture.pixel_mm
        row, column = picture.pixel_at(peak(picture))
        assert tuple(np.abs(np.subtract((row, column), picture.pixel_at(place)))) <= (1, 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fresh", ["by slice logic", "bare"])
def test_no_view_is_mirrored_the_patients_left_is_on_the_right_of_the_picture(scene, kind, fresh):
    """Trap A10: a fresh slice node shows left and right exchanged."""
    scan = scan_node(scene, body_with_ball(empty_image(kind), CENTRE_MM + (30, 0, 0), 14, 190), "pre")
    screen = Screen(scene, "Fresh")
    if fresh == "bare":
        screen.view.GetSliceToRAS().Identity()
        screen.view.UpdateMatrices()
    for plane, sideways, upwards in (("Axial", (1, 0, 0), (0, -1, 0)), ("Coronal", (1, 0, 0), (0, 0, 1)), ("Sagittal", (0, 1, 0), (0, 0, 1))):
        orient_alike([screen.view], scan, plane)
        fit([screen.view], scan)
        jump_to([screen.view], CENTRE_MM + (30, 0, 0))
        show_layers(screen.layers, scan)
        picture = screen.picture()
        assert np.dot(picture.points[0, -1] - picture.points[0, 0], sideways) > 100
        assert np.dot(picture.points[-1, 0] - picture.points[0, 0], upwards) > 60
        bright = picture.grey > 0.8 * 190 / 200 * 255
        assert bright.any() and np.linalg.norm(picture.points[bright].mean(axis=0) - (CENTRE_MM + (30, 0, 0))) < 4
        if plane == "Axial":
            assert np.argwhere(bright)[:, 1].mean() > picture.grey.shape[1] * 0.55       # patient left: right half of the picture
    screen.close()


@pytest.mark.parametrize("kind, plane", list(itertools.product(KINDS, sorted(PLANES))))
def test_the_letters_at_the_edges_are_those_that_itk_gives_the_pictures_directions(scene, screens, kind, plane):
    """The nearest axis against ITK's orientation codes; a second letter exactly where the direction leans to it."""
    scan = scan_node(scene, empty_image(kind), "pre")
    orient_alike(views(screens), scan, plane)
    points = screens[0].points()
    right, down = (step / np.linalg.norm(step) for step in (points[0, -1] - points[0, 0], points[0, 0] - points[-1, 0]))
    directions = np.stack([right, down, np.cross(right, down)], axis=1)
    code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(directions.ravel().tolist()).replace("S", "H").replace("I", "F")
    opposite = dict(zip("RLAPHF", "LRPAFH"))
    left, at_right, top, bottom = comparing.edge_letters(screens[0].view)
    assert (at_right[0], bottom[0], left[0], top[0]) == (code[0], code[1], opposite[code[0]], opposite[code[1]])
    for letters, direction in ((at_right, right), (bottom, down), (left, -right), (top, -down)):
        leaning = {name for name, part in zip("LPH", direction) if part > 0.2} | {name for name, part in zip("RAF", direction) if part < -0.2}
        assert set(letters) == leaning and len(letters) == len(leaning)


def test_a_fresh_slice_node_would_be_mirrored(scene):
    """The reason for orient_alike: a bare node refuses SetOrientation, and turned to the volume's plane it keeps patient right on the right."""
    scan = scan_node(scene, empty_image("oblique"), "pre")
    node = slicer.vtkMRMLSliceNode()
    node.SetLayoutName("Bare")
    node.SetSingletonTag("Bare")
    view = scene.AddNode(node)
    assert not view.SetOrientation("Axial")
    view.RotateToVolumePlane(scan)
    assert matrix_from_vtk(view.GetSliceToRAS())[0, 0] > 0.9
    orient_alike([view], scan)
    assert matrix_from_vtk(view.GetSliceToRAS())[0, 0] < -0.9


@pytest.mark.parametrize("pre_kind, post_kind", PAIRS)
def test_an_offset_means_the_same_place_in_both_views_of_an_oblique_pair(scene, screens, pre_kind, post_kind):
    """Trap A13: views of different orientation wander apart."""
    pre, post = (scan_node(scene, empty_image(kind), name) for kind, name in ((pre_kind, "pre"), (post_kind, "post")))
    show_alignment(scene, rigid(), pre, post)
    screens[1].view.SetOrientation("Coronal")
    orient_alike(views(screens), pre)
    fit(views(screens), pre)
    for offset in (3.0, -12.0):
        for view in views(screens):
            view.SetSliceOffset(view.GetSliceOffset() + offset)
        np.testing.assert_allclose(*(screen.points() for screen in screens), atol=1e-6)
    pre_axes = np.array(empty_image(pre_kind).GetDirection()).reshape(3, 3) * np.array([-1, -1, 1])[:, None]
    turned = np.abs(matrix_from_vtk(views(screens)[0].GetSliceToRAS())[:3, :3].T @ pre_axes)
    np.testing.assert_allclose(np.sort(turned, axis=1), [[0, 0, 1]] * 3, atol=1e-6)      # every view axis is an axis of pre's grid


@pytest.mark.parametrize("pre_kind, post_kind", PAIRS)
def test_the_post_scan_appears_where_the_pre_anatomy_is(scene, screens, pre_kind, post_kind):
    pre = scan_node(scene, body_with_ball(empty_image(pre_kind), TUMOUR, 16, 190), "pre")
    post = scan_node(scene, body_with_ball(empty_image(post_kind), BED, 16, 190), "post")
    orient_alike(views(screens), pre)
    fit(views(screens), pre)
    jump_to(views(screens), TUMOUR)
    for screen, scan in zip(screens, (pre, post)):
        show_layers(screen.layers, scan)

    def shift_mm() -> float:
        """How far the bright balls of the two views lie apart."""
        middles = []
        for screen in screens:
            picture = screen.picture()
            bright = (picture.grey > 0.75 * 255) & picture.around(TUMOUR, 40)
            middles.append(picture.points[bright].mean(axis=0))
        return float(np.linalg.norm(middles[0] - middles[1]))

    assert shift_mm() > 3
    show_alignment(scene, rigid(), pre, post)
    assert shift_mm() < 1


def test_the_threshold_hides_low_values_and_shows_high_ones_in_cividis(scene, screens):
    grid = empty_image("oblique")
    scan = scan_node(scene, like(np.full(grid.GetSize()[::-1], 10, np.float32), grid), "pre")
    overlay = show_map(scene, bump(grid, TUMOUR, 14, 2.0), "attention_pre", scan, "pre", "Attention", "Attention")
    orient_alike(views(screens), scan)
    fit(views(screens), scan)
    jump_to(views(screens), TUMOUR)
    screen = screens[0]
    show_layers(screen.layers, scan)
    plain = screen.picture().rgba[..., :3].astype(int)
    show_layers(screen.layers, scan, overlay, 1.0)
    distance = np.linalg.norm(screen.points() - TUMOUR, axis=-1)
    for fraction in (0.2, 0.7):
        set_threshold(overlay, fraction)
        picture, radius = screen.picture(), 14 * np.sqrt(-2 * np.log(fraction))
        covered = np.abs(picture.rgba[..., :3].astype(int) - plain).max(axis=-1) > 6
        assert not covered[distance > radius + 3].any()
        assert covered[distance < radius - 3].mean() > 0.98
    row, column = picture.pixel_at(TUMOUR)
    assert np.abs(picture.rgba[row, column, :3].astype(int) - CIVIDIS[-1]).max() < 30


def test_blending_goes_from_one_scan_to_the_other(scene, screens):
    grid = empty_image("oblique")
    dark, bright = (scan_node(scene, like(np.full(grid.GetSize()[::-1], value, np.float32), grid), name) for value, name in ((20, "dark"), (180, "bright")))
    orient_alike(views(screens), dark)
    fit(views(screens), dark)
    jump_to(views(screens), CENTRE_MM)
    screen = screens[0]
    screen.layers.SetCompositing(slicer.vtkMRMLSliceCompositeNode.Subtract)
    shown = []
    for opacity in (-1, 0.0, 0.25, 0.5, 1.0, 7):
        show_layers(screen.layers, dark, bright, opacity)
        row, column = screen.picture().pixel_at(CENTRE_MM)
        shown.append(screen.picture().grey[row, column])
    np.testing.assert_allclose(np.array(shown) / 255 * 200, [20, 20, 60, 100, 180, 180], atol=3)
    blend(screen.layers, 0.5)
    assert screen.layers.GetForegroundOpacity() == 0.5


def test_layers_are_emptied_too(scene, screens):
    scan = scan_node(scene, empty_image(), "pre")
    layers = screens[0].layers
    show_layers(layers, scan, scan)
    layers.SetLabelVolumeID(scan.GetID())
    show_layers(layers, scan)
    assert (layers.GetBackgroundVolumeID(), layers.GetForegroundVolumeID(), layers.GetLabelVolumeID()) == (scan.GetID(), None, None)
    assert layers_of(screens[0].view) is layers


@pytest.mark.parametrize("kind", KINDS)
def test_fitted_the_whole_volume_is_in_both_pictures_and_the_middle_in_the_middle(scene, screens, kind):
    scan = scan_node(scene, like(np.full(empty_image(kind).GetSize()[::-1], 150, np.float32), empty_image(kind)), "pre")
    screens[1].view.SetDimensions(180, 150, 1)
    orient_alike(views(screens), scan)
    fit(views(screens), scan)
    for screen in screens:
        show_layers(screen.layers, scan)
        picture = screen.picture()
        inside = np.argwhere(picture.grey > 100)
        margin = np.minimum(inside.min(axis=0), np.array(picture.grey.shape) - 1 - inside.max(axis=0))
        assert margin.min() <= 2 and np.abs(inside.mean(axis=0) - (np.array(picture.grey.shape) - 1) / 2).max() < 1.5
    first, second = (screen.view.GetFieldOfView()[:2] for screen in screens)
    assert first == second


def test_a_jump_moves_both_views_because_linked_views_do_not_follow_a_program(scene, screens):
    """Trap A12."""
    pre = scan_node(scene, empty_image("oblique"), "pre")
    orient_alike(views(screens), pre)
    fit(views(screens), pre)
    before = matrix_from_vtk(views(screens)[0].GetSliceToRAS())[:3, 3]
    jump_to(views(screens), TUMOUR)
    for screen in screens:
        show_layers(screen.layers, pre)
        picture = screen.picture()
        row, column = picture.pixel_at(TUMOUR)
        assert np.linalg.norm(picture.points[row, column] - TUMOUR) < picture.pixel_mm
    assert not np.allclose(matrix_from_vtk(views(screens)[1].GetSliceToRAS())[:3, 3], before)
    jump_to(views(screens), TUMOUR, centre=True)
    for screen in screens:
        row, column = screen.picture().pixel_at(TUMOUR)
        assert abs(row - 75) <= 1 and abs(column - 90) <= 1


def test_linking_stays_within_the_pair(scene, screens):
    other = Screen(scene, "Red")
    link(views(screens), 77)
    for screen in screens:
        assert screen.view.GetViewGroup() == 77 and screen.layers.GetLinkedControl() and screen.layers.GetHotLinkedControl()
    assert other.view.GetViewGroup() != 77 and not other.layers.GetLinkedControl()
    link(views(screens), 77, linked=False)
    assert not screens[0].layers.GetLinkedControl()
    other.close()


def test_our_views_stay_out_of_saved_scenes(scene, screens, load, tmp_path):
    """Trap A1: a file that names our views opens grey for somebody without MRDeltaNet."""
    scan_node(scene, empty_image(), "pre")
    keep_out_of_files(*views(screens), *(screen.layers for screen in screens))
    save_bundle(scene, tmp_path / "scene.mrb")
    again = load(tmp_path / "scene.mrb")
    assert again.GetFirstNodeByName("pre") is not None
    assert again.GetNumberOfNodesByClass("vtkMRMLSliceNode") == again.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode") == 0


def test_no_slice_node_is_ever_added_by_class_which_ends_the_process():
    """Trap A11: a slice node without a layout name is a segmentation fault."""
    folder = Path(comparing.__file__).parent
    assert not [path.name for path in folder.glob("*.py") if 'AddNewNodeByClass("vtkMRMLSlice' in path.read_text(encoding="utf-8")]


@pytest.fixture
def flat_pair(scene):
    """flat_pair(pre kind, post kind): aligned scans of one elliptic body whose left half is bright before, and dark after treatment."""
    def make(pre_kind, post_kind):
        def scan(kind, middle, brighter, name):
            grid = empty_image(kind)
            values = np.where(ellipsoid(grid, middle, (70, 60, 300)), 100, 0)
            values[ellipsoid(grid, middle, (25, 25, 300))] = brighter
            return image_to_node(like(values.astype(np.int16), grid), scene, name)
        pre, post = scan(pre_kind, CENTRE_MM, 190, "pre"), scan(post_kind, rigid().TransformPoint(CENTRE_MM.tolist()), 10, "post")
        show_alignment(scene, rigid(), pre, post)
        return pre, post
    return make


@pytest.mark.parametrize("pre_kind, post_kind", PAIRS)
def test_the_checkerboard_alternates_between_the_scans(scene, flat_pair, pre_kind, post_kind):
    pre, post = flat_pair(pre_kind, post_kind)
    board = image_from_node(checkerboard(pre, post, rigid(), 8))
    values, grid = sitk.GetArrayFromImage(board), empty_image(pre_kind)
    assert board.GetSize() == grid.GetSize() and board.GetOrigin() == pytest.approx(grid.GetOrigin()) and values.dtype == np.uint8
    side = max(size * spacing for size, spacing in zip(grid.GetSize(), grid.GetSpacing())) / 8
    z, y, x = np.indices(values.shape)
    cells = [(index * step // side).astype(int) for index, step in zip((x, y, z), grid.GetSpacing())]
    odd, core = sum(cells) % 2 == 1, ellipsoid(grid, CENTRE_MM, (20, 20, 300))
    post_grid = empty_image(post_kind)
    seen = np.array([post_grid.TransformPhysicalPointToContinuousIndex(rigid().TransformPoint(grid.TransformIndexToPhysicalPoint((int(c), int(b), int(a)))))
                     for a, b, c in np.argwhere(core)])
    within = ((seen >= 1) & (seen <= np.array(post_grid.GetSize()) - 2)).all(axis=1)
    where = tuple(np.argwhere(core)[within].T)
    assert (values[where][~odd[where]] > 200).all() and (values[where][odd[where]] < 60).all()
    assert 0.35 < odd[where].mean() < 0.65


@pytest.mark.parametrize("pre_kind, post_kind", PAIRS[:2])
def test_the_checkerboards_squares_are_seen_in_the_view(scene, screens, flat_pair, pre_kind, post_kind):
    pre, post = flat_pair(pre_kind, post_kind)
    board = checkerboard(pre, post, rigid(), 8)
    orient_alike(views(screens), pre)
    fit(views(screens), pre)
    jump_to(views(screens), CENTRE_MM)
    show_layers(screens[0].layers, board)
    picture = screens[0].picture()
    core = picture.around(CENTRE_MM, 20)
    bright, dark = (picture.grey > 200) & core, (picture.grey < 60) & core
    assert (bright | dark)[core].mean() > 0.9 and 0.25 < bright[core].mean() < 0.75


def test_the_checkerboard_is_filled_anew_and_not_saved(scene, flat_pair, load, tmp_path):
    pre, post = flat_pair("straight", "oblique")
    first = checkerboard(pre, post, rigid(), 4)
    coarse = sitk.GetArrayFromImage(image_from_node(first))
    assert checkerboard(pre, post, rigid(), 10) is first
    assert not np.array_equal(coarse, sitk.GetArrayFromImage(image_from_node(first)))
    with pytest.raises(ValueError, match="two squares"):
        checkerboard(pre, post, rigid(), 1)
    save_bundle(scene, tmp_path / "scene.mrb")
    assert load(tmp_path / "scene.mrb").GetFirstNodeByName(first.GetName()) is None


def test_where_the_post_scan_has_no_voxels_its_squares_are_black(scene):
    pre, post = (image_to_node(body_with_ball(empty_image("straight"), CENTRE_MM, 15), scene, name) for name in ("pre", "post"))
    away = sitk.TranslationTransform(3, (400.0, 0.0, 0.0))
    values = sitk.GetArrayFromImage(image_from_node(checkerboard(pre, post, away, 8)))
    assert 0.3 < (values == 0).mean() and (values > 50).any()


def test_what_slicer_loads_next_does_not_take_the_place_of_a_scan_in_our_views(scene):
    """Reading a file makes its volume the active one, which Slicer then shows in every view that takes part."""
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
    scan, other = (scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name) for name in ("scan", "other"))
    ours, users = (scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode", name) for name in ("ours", "users"))
    for layers in (ours, users):
        layers.SetBackgroundVolumeID(scan.GetID())
    keep_own_layers(ours)
    logic = slicer.vtkMRMLApplicationLogic()
    logic.SetMRMLScene(scene)
    selection = logic.GetSelectionNode()
    selection.SetActiveVolumeID(other.GetID())
    logic.PropagateVolumeSelection(0)
    assert (ours.GetBackgroundVolumeID(), users.GetBackgroundVolumeID()) == (scan.GetID(), other.GetID())
