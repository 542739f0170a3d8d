"""Grids: axial order, interpolation onto the crop, maps back on a scan."""

import subprocess
import sys
from itertools import product

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.imaging.preprocessing import common_grid, field_of_view, image_on_grid, in_axial_order, on_scan
from MRDeltaNetLib.imaging.preprocessing.grids import anti_alias_variance, crop_grid, interpolated
from Testing.imaging.shapes import STORAGES, grid, on, places, rigid, rotation, stored

OBLIQUE = rotation(0.3, -0.15, 0.2)
SCANS = {"straight": np.eye(3), "oblique": OBLIQUE}


def ramp(where):
    return (where @ (1.0, -2.0, 0.5) + 100).astype(np.float32)


@pytest.mark.parametrize("axes", SCANS)
@pytest.mark.parametrize("how", STORAGES)
def test_axial_order_undoes_any_storage_voxel_by_voxel(axes, how):
    scan = grid((9, 7, 5), (1.0, 1.5, 4.0), SCANS[axes], (10.0, -20.0, 30.0))
    scan = on(scan, np.arange(315, dtype=np.float32).reshape(5, 7, 9))
    back = in_axial_order(stored(scan, *STORAGES[how]))
    assert back.GetSize() == scan.GetSize() and np.allclose(back.GetSpacing(), scan.GetSpacing())
    assert np.allclose(back.GetDirection(), scan.GetDirection(), atol=1e-12) and np.allclose(back.GetOrigin(), scan.GetOrigin(), atol=1e-9)
    assert np.array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(scan))


def test_of_48_storages_all_come_back_to_one_right_handed_grid():
    from itertools import permutations
    scan = on(grid((6, 5, 4), (1.0, 1.2, 3.0), OBLIQUE), np.arange(120, dtype=np.float32).reshape(4, 5, 6))
    for order, backwards in product(permutations(range(3)), product((False, True), repeat=3)):
        back = in_axial_order(stored(scan, order, backwards))
        assert np.array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(scan))
        assert np.linalg.det(np.array(back.GetDirection()).reshape(3, 3)) > 0


@pytest.mark.parametrize("jitter", [-1e-9, 1e-9])
def test_a_scan_tilted_by_45_degrees_keeps_its_slices(jitter):
    scan = grid((8, 7, 5), (0.7, 0.7, 3.0), rotation(np.pi / 4 + jitter, 0, 0))
    for how in STORAGES.values():
        assert np.allclose(in_axial_order(stored(scan, *how)).GetSpacing(), (0.7, 0.7, 3.0))


def test_the_crop_grid_lies_centred_along_the_scan_axes():
    scan = grid((10, 10, 10), (1, 1, 1), OBLIQUE)
    crop = crop_grid(scan, np.array([5.0, -7.0, 11.0]), (0.75, 0.75, 3.0), (96.0, 96.0, 72.0))
    assert crop.GetSize() == (128, 128, 24) and np.allclose(places(crop).reshape(-1, 3).mean(0), (5.0, -7.0, 11.0))


@pytest.mark.parametrize("crop_mm, size", [((10.0, 10.0, 10.0), (13, 13, 3)), ((0.1, 0.1, 0.1), (1, 1, 1))])
def test_a_crop_that_is_no_multiple_of_the_spacing_is_rounded_to_whole_voxels(crop_mm, size):
    assert crop_grid(grid((10, 10, 10), (1, 1, 1)), np.zeros(3), (0.75, 0.75, 3.0), crop_mm).GetSize() == size


def test_interpolating_only_the_reachable_block_changes_nothing():
    rng = np.random.default_rng(0)
    scan = grid((150, 140, 40), (0.6, 0.6, 3.0), OBLIQUE)
    scan = on(scan, rng.normal(size=(40, 140, 150)).astype(np.float32))
    crop, to_scan = crop_grid(scan, np.array([5.0, 3.0, -4.0]), (0.75, 0.75, 3.0), (20.0, 20.0, 20.0)), rigid((0.05, 0.1, -0.08), (2.0, 1.0, 3.0))
    variance = anti_alias_variance(scan, crop.GetSpacing())
    whole = sitk.DiscreteGaussian(scan, variance=variance.tolist(), maximumKernelWidth=64, maximumError=0.001, useImageSpacing=True)
    truth = sitk.Resample(whole, crop, to_scan, sitk.sitkBSpline, 0.0, sitk.sitkFloat32)
    assert np.abs(sitk.GetArrayFromImage(interpolated(scan, crop, to_scan, 0.0)) - sitk.GetArrayFromImage(truth)).max() < 1e-4


def test_detail_finer_than_the_crop_grid_is_removed_and_coarse_detail_kept():
    scan = grid((160, 160, 10), (0.4, 0.4, 3.0))
    x = places(scan)[..., 0]
    crop = crop_grid(scan, np.zeros(3), (1.2, 1.2, 3.0), (24.0, 24.0, 12.0))
    def kept(period_mm):
        wave = on(scan, np.sin(2 * np.pi * x / period_mm).astype(np.float32))
        return np.abs(sitk.GetArrayFromImage(interpolated(wave, crop, rigid(), 0.0))).max()
    assert kept(0.9) < 0.1 and kept(15.0) > 0.95


def test_up_sampling_does_not_smooth():
    assert not anti_alias_variance(grid((9, 9, 9), (0.8, 0.8, 4.0)), (0.75, 0.75, 3.0)).any()
    assert np.allclose(anti_alias_variance(grid((9, 9, 9), (0.6, 0.6, 4.0)), (0.75, 0.75, 3.0)), [0.0365, 0.0365, 0.0], atol=1e-4)


def test_a_scan_that_the_crop_does_not_reach_gives_the_outside_value_everywhere():
    scan = on(grid((20, 20, 10), (1, 1, 3)), np.ones((10, 20, 20), np.float32))
    crop = crop_grid(scan, np.array([500.0, 0.0, 0.0]), (1, 1, 3), (10, 10, 9))
    assert np.all(sitk.GetArrayFromImage(interpolated(scan, crop, rigid(), 7.0)) == 7.0)


@pytest.mark.parametrize("axes", SCANS)
@pytest.mark.parametrize("how", [None, *STORAGES])
@pytest.mark.parametrize("moved", [False, True], ids=["pre", "post"])
def test_a_map_comes_back_on_each_scan_at_its_place_and_zero_outside(axes, how, moved):
    scan = grid((34, 30, 14), (1.5, 1.4, 3.0), SCANS[axes])
    scan = scan if how is None else stored(scan, *STORAGES[how])
    crop = crop_grid(grid((9, 9, 9), (1, 1, 1), rotation(0.1, 0.1, 0)), np.array([3.0, -2.0, 4.0]), (1.5, 1.5, 3.0), (24.0, 21.0, 18.0))
    pre_to_post = rigid((0.05, -0.1, 0.08), (6.0, 4.0, -3.0)) if moved else rigid()
    found = on_scan(image_on_grid(ramp(places(crop)), crop), scan, pre_to_post.GetInverse())
    assert found.GetSize() == scan.GetSize() and found.GetOrigin() == scan.GetOrigin() and found.GetDirection() == scan.GetDirection()
    back = pre_to_post.GetInverse()
    where = np.array([back.TransformPoint(p) for p in places(scan).reshape(-1, 3).tolist()])
    index = np.array([crop.TransformPhysicalPointToContinuousIndex(p) for p in where.tolist()])
    size = np.array(crop.GetSize())
    array = sitk.GetArrayFromImage(found).ravel()
    well_inside, inside, near = (((index > edge) & (index < size - 1 - edge)).all(1) for edge in (0.0, -0.499, -0.501))
    assert well_inside.sum() > 200
    assert np.abs(array - ramp(where))[well_inside].max() < 1e-2 and np.all(array[inside] > 0) and np.all(array[~near] == 0)


def test_a_crop_beside_the_scan_gives_zeros():
    crop = crop_grid(grid((9, 9, 9), (1, 1, 1)), np.array([900.0, 0, 0]), (1, 1, 3), (10, 10, 9))
    found = on_scan(image_on_grid(np.ones((3, 10, 10)), crop), grid((20, 20, 10), (1, 1, 3)), rigid())
    assert not sitk.GetArrayFromImage(found).any()


def test_the_fast_way_back_equals_resampling_the_whole_scan():
    rng = np.random.default_rng(1)
    scan, crop = grid((70, 60, 25), (0.7, 0.7, 3.0), OBLIQUE), crop_grid(grid((9, 9, 9), (1, 1, 1)), np.zeros(3), (0.75, 0.75, 3.0), (30, 30, 30))
    picture, to_grid = image_on_grid(rng.random(crop.GetSize()[::-1]), crop), rigid((0.1, 0.05, -0.1), (3, 2, 1))
    whole = sitk.Resample(picture, scan, to_grid, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    assert np.abs(sitk.GetArrayFromImage(on_scan(picture, scan, to_grid)) - sitk.GetArrayFromImage(whole)).max() < 1e-5


def test_a_map_of_another_size_is_refused():
    with pytest.raises(InputError) as caught:
        image_on_grid(np.zeros((3, 4, 5)), grid((5, 4, 4), (1, 1, 1)))
    assert caught.value.code == "MRD-E741" and "grid" in caught.value.fix


@pytest.mark.parametrize("how", [None, *STORAGES])
def test_the_common_grid_is_the_pre_scans_and_shows_the_post_scan_there(how):
    pre = on(grid((30, 25, 12), (1.2, 1.2, 4.0), OBLIQUE), np.zeros((12, 25, 30), np.float32))
    pre = pre if how is None else stored(pre, *STORAGES[how])
    small = grid((26, 26, 9), (1.0, 1.0, 3.5))
    post, pre_to_post = on(small, ramp(places(small))), rigid((0.1, 0.0, 0.1), (3.0, 2.0, 1.0))
    first, second = common_grid(pre, post, pre_to_post)
    assert first is pre and second.GetSize() == pre.GetSize() and second.GetDirection() == pre.GetDirection()
    seen = sitk.GetArrayFromImage(field_of_view(post, pre, pre_to_post)).ravel() > 0
    where = np.array([pre_to_post.TransformPoint(p) for p in places(pre).reshape(-1, 3).tolist()])
    index = np.array([post.TransformPhysicalPointToContinuousIndex(p) for p in where.tolist()])
    well_inside = ((index > 0) & (index < np.array(post.GetSize()) - 1)).all(1)
    array = sitk.GetArrayFromImage(second).ravel()
    assert well_inside.sum() > 200 and np.abs(array - ramp(where))[well_inside].max() < 1e-2
    assert 0 < seen.mean() < 1 and seen[well_inside].all() and np.all(array[~seen] == 0)


def test_importing_preprocessing_loads_neither_torch_nor_monai():
    program = "import sys, MRDeltaNetLib.imaging.preprocessing; print([name for name in ('torch', 'monai', 'scipy') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "[]"
