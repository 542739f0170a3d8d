"""Body mask, bias field, the grown tumour, normalisation numbers."""

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError, UsageError
from MRDeltaNetLib.imaging.preprocessing import body_mask, correct_bias, in_axial_order
from MRDeltaNetLib.imaging.preprocessing.intensity import filled_in_slices, grown, normalisation
from Testing.imaging.shapes import STORAGES, ellipsoid, grid, on, places, rotation, stored

OBLIQUE = rotation(0.3, -0.1, 0.1)


def torso(scan, noise=6.0):
    """An elliptic body of muscle (120) with a fat rim (900), a bright bladder and a dark hole inside; air is noise. And its truth."""
    x, y, z = np.moveaxis(places(scan), -1, 0)
    body = (x / 90) ** 2 + (y / 70) ** 2 < 1
    signal = np.where(body, 120.0, 0.0)
    signal[body & ((x / 80) ** 2 + (y / 60) ** 2 > 1)] = 900
    signal[(x / 25) ** 2 + ((y + 20) / 20) ** 2 + (z / 20) ** 2 < 1] = 1100
    signal[(x / 10) ** 2 + ((y - 30) / 10) ** 2 < 1] = 0
    signal = np.abs(signal + noise * np.random.default_rng(0).normal(size=signal.shape))
    return on(scan, signal.astype(np.float32)), body


@pytest.mark.parametrize("spacing_mm", [(0.8, 0.8, 3.0), (1.3, 1.3, 4.0)])
@pytest.mark.parametrize("axes", [np.eye(3), OBLIQUE], ids=["straight", "oblique"])
def test_the_body_is_found_with_its_dark_lumen_within_four_percent(spacing_mm, axes):
    scan = grid((int(210 / spacing_mm[0]), int(180 / spacing_mm[1]), 12), spacing_mm, axes)
    image, truth = torso(scan)
    found = sitk.GetArrayFromImage(body_mask(image)) > 0
    assert abs(found.sum() / truth.sum() - 1) < 0.04
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.98


def test_a_field_of_view_without_air_is_body_nearly_everywhere():
    scan = grid((100, 90, 12), (1.0, 1.0, 3.0))
    image, truth = torso(scan)
    assert truth.all() and (sitk.GetArrayFromImage(body_mask(image)) > 0).mean() > 0.97


def test_an_arm_beside_the_body_is_left_out():
    scan = grid((250, 120, 12), (1.0, 1.5, 3.0))
    image, truth = torso(scan)
    array = sitk.GetArrayFromImage(image)
    x, y, _ = np.moveaxis(places(scan), -1, 0)
    arm = (x - 112) ** 2 + y ** 2 < 8 ** 2
    array[arm] = 600
    found = sitk.GetArrayFromImage(body_mask(on(scan, array))) > 0
    assert not found[arm].any() and found[truth].mean() > 0.97


@pytest.mark.parametrize("how", STORAGES)
def test_the_body_does_not_depend_on_storage(how):
    image, _ = torso(grid((105, 91, 12), (2.0, 2.0, 4.0), OBLIQUE))
    again = body_mask(in_axial_order(stored(image, *STORAGES[how])))
    assert np.array_equal(sitk.GetArrayFromImage(again), sitk.GetArrayFromImage(body_mask(image)))


def test_the_body_of_a_real_oblique_pelvis_fills_its_small_field_of_view(real_data):
    folder = real_data("prostatex_dicom/ProstateX-0000/07-07-2011/4.000000-t2tsetra-00702")
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    assert (sitk.GetArrayFromImage(body_mask(in_axial_order(sitk.Cast(image, sitk.sitkFloat32)))) > 0).mean() > 0.92


def test_the_body_of_a_real_head_agrees_with_its_brain_mask(real_data):
    folder = real_data("ms_longitudinal/patient01")
    image = in_axial_order(sitk.ReadImage(str(folder / "study1_FLAIR.nii.gz"), sitk.sitkFloat32))
    brain = sitk.Resample(sitk.ReadImage(str(folder / "brainmask.nii.gz"), sitk.sitkUInt8), image, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    body, inside = sitk.GetArrayFromImage(body_mask(image)) > 0, sitk.GetArrayFromImage(brain) > 0
    assert body[inside].mean() > 0.995 and 0.2 < body.mean() < 0.5


def test_holes_are_filled_slice_by_slice_and_bays_are_not():
    array = np.zeros((3, 9, 9), np.uint8)
    array[:, 1:8, 1:8] = 1
    array[0, 4, 4] = array[1, 3:6, 3:6] = 0                       # a hole that is open towards the outer slices' end
    array[2, 0:5, 4] = 0                                          # a bay open to the outside
    filled = sitk.GetArrayFromImage(filled_in_slices(on(grid((9, 9, 3), (1, 1, 3), OBLIQUE), array)))
    assert filled[0].sum() == 49 and filled[1].sum() == 49 and np.array_equal(filled[2], array[2])


def with_voxel(value):
    image, _ = torso(grid((60, 60, 8), (3, 3, 4)))
    image[5, 5, 5] = value
    return image


@pytest.mark.parametrize("image", [with_voxel(np.nan), with_voxel(np.inf), on(grid((40, 40, 8), (3, 3, 4)), np.full((8, 40, 40), 7, np.float32))],
                         ids=["NaN", "infinite", "constant"])
def test_a_scan_without_a_picture_is_refused(image):
    everything = on(image, np.ones(image.GetSize()[::-1], np.uint8))
    for step in (lambda: body_mask(image), lambda: correct_bias(image, "fast", everything)):
        with pytest.raises(InputError) as caught:
            step()
        assert caught.value.code == "MRD-E742" and "scan" in caught.value.fix


def test_a_scan_with_a_few_bright_voxels_only_has_no_body():
    array = np.zeros((8, 60, 60), np.float32)
    array[4, 30:32, 30:32] = 1000
    with pytest.raises(InputError) as caught:
        body_mask(on(grid((60, 60, 8), (3, 3, 4)), array))
    assert caught.value.code == "MRD-E743" and "pelvis" in caught.value.fix


def shaded(scan):
    """Two tissues under a coil's shading, and the shading."""
    x, y, z = np.moveaxis(places(scan), -1, 0)
    body = (x / 90) ** 2 + (y / 70) ** 2 < 1
    coil = np.exp(0.5 * (y / 70) + 0.3 * np.cos(x / 60))
    tissue = np.where(np.sin(x / 8) * np.sin(y / 8) > 0, 300.0, 500.0)
    signal = np.where(body, tissue * coil, 0) + np.abs(np.random.default_rng(1).normal(0, 5, x.shape))
    return on(scan, signal.astype(np.float32)), on(scan, body.astype(np.uint8)), body & (tissue == 300)


@pytest.mark.parametrize("level", ["fast", "full"])
def test_bias_correction_evens_out_one_tissue_on_an_oblique_scan(level):
    image, body, tissue = shaded(grid((72, 64, 8), (3.0, 3.0, 5.0)))
    scan = grid((72, 64, 8), (3.0, 3.0, 5.0), OBLIQUE)
    image, body = (on(scan, sitk.GetArrayFromImage(part)) for part in (image, body))
    corrected = correct_bias(image, level, body)
    before, after = (sitk.GetArrayFromImage(part)[tissue] for part in (image, corrected))
    assert before.std() / before.mean() > 0.25 and after.std() / after.mean() < 0.03
    assert corrected.GetSize() == scan.GetSize() and corrected.GetDirection() == scan.GetDirection()


def test_bias_correction_does_not_depend_on_the_unit_of_intensity():
    image, body, tissue = shaded(grid((32, 28, 8), (7.0, 7.0, 5.0)))
    one, thousandth = (sitk.GetArrayFromImage(correct_bias(part, "fast", body)) for part in (image, image * 1e-3))
    assert np.allclose(one[tissue], 1000 * thousandth[tissue], rtol=0.02)


def test_bias_correction_off_changes_nothing_and_an_unknown_level_is_refused():
    image, body, _ = shaded(grid((40, 40, 8), (5, 5, 5)))
    assert correct_bias(image, "off", body) is image
    with pytest.raises(UsageError) as caught:
        correct_bias(image, "strong", body)
    assert caught.value.code == "MRD-E744" and "full" in caught.value.fix


def test_a_bias_field_needs_a_body_with_positive_values():
    image, body, _ = shaded(grid((40, 40, 8), (5, 5, 5)))
    for scan, mask in ((image, body * 0), (image - 5000, body)):
        with pytest.raises(InputError) as caught:
            correct_bias(scan, "fast", mask)
        assert caught.value.code == "MRD-E743" and "off" in caught.value.fix


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.7, 0.9, 3.5)])
def test_the_grown_tumour_is_every_voxel_within_the_margin(spacing_mm):
    """Oracle: distances from every voxel to every marked voxel."""
    rng = np.random.default_rng(3)
    mask = on(grid((14, 12, 8), spacing_mm, OBLIQUE), (rng.random((8, 12, 14)) < 0.01).astype(np.uint8))
    where, marked = places(mask).reshape(-1, 3), sitk.GetArrayFromImage(mask).ravel() > 0
    nearest = np.linalg.norm(where[:, None] - where[marked][None], axis=-1).min(axis=1)
    found = grown(mask, 2.9).ravel()
    assert marked.sum() > 3 and np.array_equal(found, nearest <= 2.9)
    assert np.array_equal(grown(mask, 0.0).ravel(), marked)


def test_a_grown_ball_has_the_volume_of_a_larger_ball():
    ball = ellipsoid(grid((100, 100, 60), (0.5, 0.5, 0.8)), radii_mm=(9, 9, 9))
    assert abs(grown(ball, 10.0).sum() * 0.2 / (4 / 3 * np.pi * 19 ** 3) - 1) < 0.04


def test_normalisation_numbers_are_those_of_the_clipped_normal_voxels():
    rng = np.random.default_rng(2)
    array = rng.gamma(2.0, 100.0, (10, 40, 40)).astype(np.float32)
    scan = on(grid((40, 40, 10), (1, 1, 3)), array)
    body, left_out = np.zeros(array.shape, np.uint8), np.zeros(array.shape, bool)
    body[:, 5:35, 5:35], left_out[3:7, 15:25, 15:25] = 1, True
    found = normalisation(scan, on(scan, body), left_out, (0.5, 99.5))
    normal = np.sort(array[(body > 0) & ~left_out].astype(float))
    low, high = np.percentile(normal, 0.5), np.percentile(normal, 99.5)
    clipped = np.where(normal < low, low, np.where(normal > high, high, normal))
    assert np.allclose([found.low, found.high, found.mean, found.sd, found.median],
                       [low, high, clipped.mean(), clipped.std(), np.median(array[body > 0])], rtol=1e-5)


def test_a_body_of_one_intensity_cannot_be_normalised():
    scan = on(grid((40, 40, 10), (1, 1, 3)), np.full((10, 40, 40), 5, np.float32))
    with pytest.raises(InputError) as caught:
        normalisation(scan, scan > 0, np.zeros((10, 40, 40), bool), (0.5, 99.5))
    assert caught.value.code == "MRD-E745" and "another scan" in caught.value.fix
