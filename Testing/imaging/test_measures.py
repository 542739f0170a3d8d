"""Volume and diameters against formulas, brute force, ITK's Feret diameter and PyRadiomics' published numbers."""

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.imaging.measures import compare, measure
from Testing.imaging.shapes import STORAGES, ellipsoid, grid, on, places, rotation, stored

OBLIQUE = rotation(0.4, -0.2, 0.3)
NAMES = ("volume_ml", "longest_in_plane_diameter_mm", "longest_3d_diameter_mm", "short_axis_mm")


def brute_force(mask, through):
    """Every marked voxel against every other; through = index of the slice axis (0 = x)."""
    points = places(mask)[sitk.GetArrayFromImage(mask) > 0]
    index = np.argwhere(sitk.GetArrayFromImage(mask) > 0)[:, 2 - through]
    table = np.linalg.norm(points[:, None] - points[None], axis=-1)
    in_plane = np.where(index[:, None] == index[None], table, 0.0)
    normal = np.array(mask.GetDirection()).reshape(3, 3)[:, through]
    short = 0.0
    if in_plane.max() > 0:
        for one, other in np.argwhere(in_plane > in_plane.max() - 1e-6):
            across = np.cross(normal, (points[other] - points[one]) / in_plane[one, other])
            short = max(short, np.ptp(points[index == index[one]] @ across))
    return {"volume_ml": len(points) * np.prod(mask.GetSpacing()) / 1000, "longest_in_plane_diameter_mm": in_plane.max(),
            "longest_3d_diameter_mm": table.max(), "short_axis_mm": short}


@pytest.mark.parametrize("seed", range(12))
def test_every_number_equals_brute_force_on_ragged_masks(seed):
    rng = np.random.default_rng(seed)
    array = rng.random((6, 11, 13)) < rng.choice([0.01, 0.1, 0.6])
    array[3, 4, 5] = True
    mask = on(grid((13, 11, 6), (0.7, 0.9, 3.0), OBLIQUE, (30.0, -40.0, 5.0)), array.astype(np.uint8))
    truth, found = brute_force(mask, through=2), measure(mask)
    assert all(found[name] == pytest.approx(truth[name], abs=1e-9) for name in NAMES)


@pytest.mark.parametrize("how", STORAGES)
@pytest.mark.parametrize("spacing_mm", [(0.7, 0.8, 3.0), (3.0, 0.7, 0.8), (1.0, 1.0, 1.0)], ids=["axial", "sagittal", "isotropic"])
def test_storage_does_not_change_a_number(how, spacing_mm):
    rng = np.random.default_rng(7)
    mask = ellipsoid(grid((40, 36, 30), spacing_mm, rotation(0.2, 0.1, -0.1)), (1.0, 2.0, -1.0), (11.0, 7.0, 9.0))
    mask = on(mask, (sitk.GetArrayFromImage(mask) * (rng.random((30, 36, 40)) < 0.9)).astype(np.uint8))
    assert measure(stored(mask, *STORAGES[how])) == pytest.approx(measure(mask), abs=1e-9)


@pytest.mark.parametrize("radius_mm", [6.0, 15.0, 40.0])
@pytest.mark.parametrize("axes", [np.eye(3), OBLIQUE], ids=["straight", "oblique"])
def test_a_ball_has_its_volume_and_diameter_and_is_never_longer(radius_mm, axes):
    fine = 0.6
    mask = ellipsoid(grid((150, 150, 31), (fine, fine, 3.0), axes), (0.7, -0.4, 0.9), (radius_mm,) * 3)
    found = measure(mask)
    assert found["volume_ml"] == pytest.approx(4 / 3 * np.pi * radius_mm ** 3 / 1000, rel=max(0.01, 0.2 / radius_mm))   # 3 mm slices
    assert 2 * radius_mm - fine < found["longest_3d_diameter_mm"] <= 2 * radius_mm
    assert 2 * radius_mm - 1.5 ** 2 / radius_mm - fine < found["longest_in_plane_diameter_mm"] <= 2 * radius_mm    # the nearest slice may miss the equator
    assert found["longest_in_plane_diameter_mm"] - 3 * fine < found["short_axis_mm"] <= found["longest_in_plane_diameter_mm"]


@pytest.mark.parametrize("axes", [np.eye(3), OBLIQUE], ids=["straight", "oblique"])
def test_an_ellipsoid_has_its_long_and_short_axis(axes):
    scan = grid((120, 110, 40), (0.5, 0.5, 2.0), axes)
    along = (places(scan) @ np.array(scan.GetDirection()).reshape(3, 3)) / (22.0, 13.0, 30.0)
    found = measure(on(scan, ((along ** 2).sum(-1) < 1).astype(np.uint8)))
    assert found["volume_ml"] == pytest.approx(4 / 3 * np.pi * 22 * 13 * 30 / 1000, rel=0.01)
    assert found["longest_in_plane_diameter_mm"] == pytest.approx(44, abs=0.5)
    assert found["longest_3d_diameter_mm"] == pytest.approx(60, abs=2.0) and found["short_axis_mm"] == pytest.approx(26, abs=0.75)


def test_a_box_has_exactly_the_diagonals_between_its_corner_voxels():
    array = np.zeros((8, 20, 30), np.uint8)
    array[2:6, 4:15, 3:25] = 1                                    # 22 x 11 x 4 voxels
    found = measure(on(grid((30, 20, 8), (0.5, 0.8, 3.0), OBLIQUE), array))
    width, height, depth = 21 * 0.5, 10 * 0.8, 3 * 3.0
    assert found["volume_ml"] == pytest.approx(22 * 11 * 4 * 1.2 / 1000)
    assert found["longest_in_plane_diameter_mm"] == pytest.approx(np.hypot(width, height))
    assert found["longest_3d_diameter_mm"] == pytest.approx(np.sqrt(width ** 2 + height ** 2 + depth ** 2))
    assert found["short_axis_mm"] == pytest.approx(2 * width * height / np.hypot(width, height))


def test_discs_are_right_within_two_thirds_of_a_voxel_and_never_too_long():
    rng = np.random.default_rng(0)
    scan = grid((70, 70, 5), (1.0, 1.0, 3.0))
    errors = []
    for _ in range(60):
        diameter, centre = rng.uniform(8, 60), rng.uniform(-0.5, 0.5, 2)
        disc = ellipsoid(scan, (*centre, 0.0), (diameter / 2, diameter / 2, 1.0))
        errors.append(measure(disc)["longest_in_plane_diameter_mm"] - diameter)
    assert -0.67 < min(errors) and max(errors) <= 1e-9 and abs(np.mean(errors)) < 0.25


def test_the_slices_lie_across_the_largest_spacing_and_else_across_head_foot():
    """A rod along one axis is long in plane unless that axis is the through-plane one."""
    for spacing_mm, rod, in_plane in [((1, 1, 3), 2, 0.0), ((1, 1, 3), 0, 9.0), ((3, 1, 1), 0, 0.0), ((3, 1, 1), 2, 9.0),
                                      ((1, 1, 1), 2, 0.0), ((1, 1, 1), 1, 9.0)]:
        array = np.zeros((12, 12, 12), np.uint8)
        array[tuple(slice(1, 11) if 2 - axis == rod else 5 for axis in range(3))] = 1
        assert measure(on(grid((12, 12, 12), [float(s) for s in spacing_mm]), array))["longest_in_plane_diameter_mm"] == in_plane


def test_one_voxel_has_a_volume_and_no_diameter():
    array = np.zeros((5, 9, 9), np.uint8)
    array[2, 4, 4] = 1
    assert measure(on(grid((9, 9, 5), (1.0, 1.0, 3.0)), array)) == {"volume_ml": pytest.approx(0.003), **dict.fromkeys(NAMES[1:], 0.0)}


def test_two_pieces_count_as_one_extent():
    array = np.zeros((5, 9, 30), np.uint8)
    array[2, 4, [1, 28]] = 1
    assert measure(on(grid((30, 9, 5), (1.0, 1.0, 3.0)), array))["longest_in_plane_diameter_mm"] == 27.0


def test_a_real_tumour_has_the_numbers_that_pyradiomics_published(real_data):
    """AIM-Harvard/pyradiomics, data/baseline/baseline_shape.csv at 0e06083: VoxelVolume, Maximum2DDiameterSlice, Maximum3DDiameter
    between voxel centres."""
    found = measure(sitk.ReadImage(str(real_data("pyradiomics/brain1_label.nrrd"))))
    assert found["volume_ml"] == pytest.approx(16412.65869140624 / 1000, rel=1e-12)
    assert found["longest_in_plane_diameter_mm"] == pytest.approx(47.218791363317415, rel=1e-12)
    assert found["longest_3d_diameter_mm"] == pytest.approx(65.53661458728622, rel=1e-12)


@pytest.mark.parametrize("how", [None, *STORAGES])
def test_the_3d_diameter_equals_itks_feret_diameter(how):
    mask = ellipsoid(grid((40, 40, 14), (0.8, 0.8, 3.0), OBLIQUE), radii_mm=(12.0, 8.0, 15.0))
    mask = mask if how is None else stored(mask, *STORAGES[how])
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.ComputeFeretDiameterOn()
    shape.Execute(mask)
    found = measure(mask)
    assert found["longest_3d_diameter_mm"] == pytest.approx(shape.GetFeretDiameter(1), abs=1e-9)
    assert found["volume_ml"] == pytest.approx(shape.GetPhysicalSize(1) / 1000)


def ball(radius_mm, size=(50, 50, 20)):
    return ellipsoid(grid(size, (1.0, 1.0, 3.0), OBLIQUE), radii_mm=(radius_mm,) * 3)


def test_changes_are_absolute_and_in_percent_of_before():
    pre, post, residual = ball(20), ball(15), ball(8)
    found, before, after, left = compare(pre, post, residual), measure(pre), measure(post), measure(residual)
    assert found["pre_volume_ml"] == before["volume_ml"] and found["post_volume_ml"] == after["volume_ml"]
    assert found["volume_change_ml"] == pytest.approx(after["volume_ml"] - before["volume_ml"])
    assert found["volume_change_percent"] == pytest.approx(100 * (after["volume_ml"] / before["volume_ml"] - 1))
    assert found["residual_volume_change_percent"] == pytest.approx(100 * (left["volume_ml"] / before["volume_ml"] - 1))
    for stem in ("longest_in_plane_diameter", "longest_3d_diameter", "short_axis"):
        assert found[f"{stem}_change_mm"] == pytest.approx(after[f"{stem}_mm"] - before[f"{stem}_mm"])
        assert found[f"{stem}_change_percent"] == pytest.approx(100 * (after[f"{stem}_mm"] / before[f"{stem}_mm"] - 1))


def test_an_empty_residual_mask_is_no_tumour_left():
    found = compare(ball(20), ball(15), ball(15) * 0)
    assert found["residual_volume_ml"] == 0 and found["residual_longest_in_plane_diameter_mm"] == 0
    assert found["residual_volume_change_percent"] == -100 and found["residual_short_axis_change_percent"] == -100
    assert found["volume_change_percent"] > -100                   # the bed is still there


def test_a_stated_complete_response_counts_like_an_empty_residual_mask():
    assert compare(ball(20), ball(15), None, complete_response=True) == compare(ball(20), ball(15), ball(15) * 0)
    assert compare(ball(20), ball(15), ball(15) * 0, complete_response=True)["residual_volume_ml"] == 0


def test_what_nobody_drew_is_none_and_not_zero():
    found = compare(ball(20), ball(15), None)
    assert found["residual_volume_ml"] is None and found["residual_volume_change_percent"] is None
    nothing = compare(None, None, None)
    assert set(nothing) == set(found) and set(nothing.values()) == {None}
    assert compare(None, ball(15), ball(5))["volume_change_ml"] is None


def test_change_in_percent_of_nothing_is_none():
    found = compare(ball(20) * 0, ball(15))
    assert found["pre_volume_ml"] == 0 and found["volume_change_ml"] > 0 and found["volume_change_percent"] is None


def test_a_complete_response_with_marked_tumour_is_a_contradiction():
    with pytest.raises(InputError) as caught:
        compare(ball(20), ball(15), ball(5), complete_response=True)
    assert caught.value.code == "MRD-E360" and "complete response" in caught.value.fix
