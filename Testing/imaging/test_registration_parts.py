"""The alignment's numbers against formulas and against software that we did not write. Made-up data."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from sklearn.metrics import mutual_info_score

from MRDeltaNetLib.imaging.registration import deformable, linear, quality, regions, similarity
from Testing.imaging.shapes import STORAGES, ellipsoid, grid, on, rigid, rotation, stored, volume_mm3

OBLIQUE = rotation(0.3, -0.2, 0.4)


def noise(size=(20, 18, 9), spacing_mm=(0.7, 0.9, 4.0), axes=OBLIQUE, seed=0) -> sitk.Image:
    blank = grid(size, spacing_mm, axes, centre_mm=(5.0, -7.0, 11.0))
    return on(blank, np.random.default_rng(seed).normal(size=size[::-1]).astype(np.float32))


@pytest.mark.parametrize("dependence", [0.0, 0.5, 1.0])
def test_mutual_information_is_scikit_learns_less_what_chance_adds(dependence):
    rng = np.random.default_rng(1)
    first = rng.integers(0, 8, 4000)
    second = np.where(rng.uniform(size=4000) < dependence, first, rng.integers(0, 8, 4000))
    cells = len(set(zip(first.tolist(), second.tolist())))
    chance = (cells - len(set(first)) - len(set(second)) + 1) / 8000
    expected = max(0.0, mutual_info_score(first, second) - chance)
    assert similarity.mutual_information(first, second, 8) == pytest.approx(expected, abs=1e-12)


def test_few_points_of_strangers_look_much_less_alike_than_a_plain_histogram_says():
    rng = np.random.default_rng(2)
    pairs = [(rng.integers(0, 16, 600), rng.integers(0, 16, 600)) for _ in range(40)]
    ours = np.mean([similarity.mutual_information(*pair, 16) for pair in pairs])
    assert ours < 0.25 * np.mean([mutual_info_score(*pair) for pair in pairs])


@pytest.mark.parametrize("how", STORAGES)
def test_sampling_equals_itk_on_any_grid(how):
    image, target = stored(noise(), *STORAGES[how]), noise((15, 16, 12), (1.0, 0.8, 2.0), rotation(0.0, 0.1, 0.3))
    move = rigid((0.1, 0.0, -0.2), (1.0, 2.0, -0.5))
    expected = sitk.GetArrayFromImage(sitk.Resample(image, target, move, sitk.sitkLinear, 0.0))
    everywhere = similarity.region_points(sitk.Cast(target > -99, sitk.sitkUInt8), 10**9)
    values, inside = similarity.sampled(image, similarity.transformed(everywhere, move))
    assert inside.any() and not inside.all()
    assert np.allclose(values[inside], expected.ravel()[inside], atol=1e-4)


def test_slices_put_between_thick_ones_are_itks_cubic_spline():
    image = noise()
    finer = linear.between_slices(image, 0.8)
    assert finer.GetSize() == (20, 18, 33) and finer.GetSpacing()[2] == pytest.approx(1.0)
    expected = sitk.Resample(image, finer, sitk.Transform(), sitk.sitkBSpline)
    assert np.allclose(sitk.GetArrayFromImage(finer), sitk.GetArrayFromImage(expected), atol=2e-3)


def test_thin_slices_are_left_alone():
    image = noise(spacing_mm=(0.8, 0.8, 1.0))
    assert linear.between_slices(image, 0.8) is image


def test_a_sagittal_scan_is_refined_across_its_own_slices():
    sagittal = stored(noise(), (2, 0, 1), (False, False, True))
    finer = linear.between_slices(sagittal, 0.8)
    assert finer.GetSize() == (33, 20, 18)
    expected = sitk.Resample(sagittal, finer, sitk.Transform(), sitk.sitkBSpline)
    assert np.allclose(sitk.GetArrayFromImage(finer), sitk.GetArrayFromImage(expected), atol=2e-3)


@pytest.mark.parametrize("shift_mm, expected", [((0, 0, 0), 1.0), ((30, 0, 0), 0.75), ((30, 30, 0), 0.5625), ((500, 0, 0), 0.0)])
def test_overlap_is_the_share_of_the_smaller_field_of_view(shift_mm, expected):
    small, large = grid((40, 40, 10), (2.0, 2.0, 6.0)), grid((40, 40, 30), (3.0, 3.0, 5.0))
    along = rigid(shift_mm=[10.0 + step if step else 0.0 for step in shift_mm])
    assert quality.overlap_fraction(small, large, along) == pytest.approx(expected, abs=0.03)
    assert quality.overlap_fraction(large, small, along.GetInverse()) == pytest.approx(expected, abs=0.03)


def test_the_rotation_is_the_angle_about_its_own_axis():
    versor = sitk.VersorRigid3DTransform()
    versor.SetRotation((0.6, 0.0, 0.8), np.radians(17.0))
    matrix = np.array(versor.GetMatrix()).reshape(3, 3)
    assert quality.rotation_deg(matrix) == pytest.approx(17.0)
    assert quality.rotation_deg(matrix @ np.diag([1.03, 1.03, 1.03])) == pytest.approx(17.0)


def test_the_nearest_rigid_transform_of_a_rigid_one_is_itself():
    move = rigid((0.2, -0.1, 0.3), (4.0, 5.0, -6.0))
    again = linear.rigid_from(sitk.AffineTransform(move.GetMatrix(), move.GetTranslation()), (10.0, 20.0, 30.0))
    assert again.GetCenter() == (10.0, 20.0, 30.0)
    for point in [(0.0, 0.0, 0.0), (50.0, -40.0, 30.0)]:
        assert again.TransformPoint(point) == pytest.approx(move.TransformPoint(point), abs=1e-9)


@pytest.mark.parametrize("how", STORAGES)
def test_what_is_left_out_is_the_tumour_grown_by_the_margin(how):
    blank = grid((100, 100, 24), (2.0, 2.0, 5.0), OBLIQUE)
    body, tumour = ellipsoid(blank, radii_mm=(85, 85, 500)), ellipsoid(blank, (10.0, 5.0, 0.0), (15.0, 15.0, 15.0))
    region = regions.metric_region(sitk.Cast(body, sitk.sitkFloat32), body, stored(tumour, *STORAGES[how]), 10.0)
    half_a_slice_less = ellipsoid(blank, (10.0, 5.0, 0.0), (22.5, 22.5, 22.5))
    assert not (sitk.GetArrayFromImage(region) & sitk.GetArrayFromImage(half_a_slice_less)).any()
    outside = sitk.GetArrayFromImage(ellipsoid(blank, (10.0, 5.0, 0.0), (32.0, 32.0, 32.0))) == 0
    assert sitk.GetArrayFromImage(region)[outside & (sitk.GetArrayFromImage(body) > 0)].all()


@pytest.mark.parametrize("axes", [np.eye(3), OBLIQUE, OBLIQUE @ np.diag([1, 1, -1])], ids=["straight", "oblique", "left-handed"])
def test_the_jacobian_of_a_known_map_is_found_whatever_the_grid(axes):
    scan = on(grid((40, 40, 12), (2.0, 2.0, 5.0), axes), np.zeros((12, 40, 40), np.float32))
    squeeze = sitk.AffineTransform(3)
    squeeze.SetMatrix((OBLIQUE @ np.diag([0.9, 1.1, 1.2]) @ OBLIQUE.T).ravel().tolist())
    found = sitk.GetArrayFromImage(deformable.jacobian_determinants(squeeze, scan))
    assert np.allclose(found, 0.9 * 1.1 * 1.2, atol=1e-6)


def test_the_volume_change_of_a_ball_is_that_of_the_ball_carried_over():
    scan = on(grid((60, 60, 40), (2.0, 2.0, 3.0), OBLIQUE), np.full((40, 60, 60), 5.0, np.float32))
    ball = ellipsoid(scan, radii_mm=(18.0, 18.0, 18.0))
    spline = sitk.BSplineTransformInitializer(scan, [4, 4, 4], 3)
    spline.SetParameters(np.random.default_rng(4).normal(0.0, 3.0, len(spline.GetParameters())).tolist())
    scene = linear.Scene(scan, scan, sitk.Cast(scan > 0, sitk.sitkUInt8), ball, ball, None)
    change = deformable.deformation(scene, spline, ball)["tumour_volume_change_percent"]
    field = sitk.InvertDisplacementField(sitk.TransformToDisplacementField(spline, sitk.sitkVectorFloat64, scan.GetSize(), scan.GetOrigin(),
                                                                           scan.GetSpacing(), scan.GetDirection()), maximumNumberOfIterations=50)
    carried = sitk.Resample(sitk.Cast(ball, sitk.sitkFloat64), scan, sitk.DisplacementFieldTransform(field), sitk.sitkLinear, 0.0)
    expected = 100.0 * (float(sitk.GetArrayViewFromImage(carried).sum()) * 12.0 / volume_mm3(ball) - 1.0)
    assert abs(expected) > 1.0 and change == pytest.approx(expected, abs=1.0)


def test_a_folding_spline_has_a_negative_jacobian():
    scan = on(grid((60, 60, 40), (2.0, 2.0, 3.0)), np.full((40, 60, 60), 5.0, np.float32))
    whole = sitk.Cast(scan > 0, sitk.sitkUInt8)
    spline = sitk.BSplineTransformInitializer(scan, [4, 4, 4], 3)
    spline.SetParameters(np.random.default_rng(4).normal(0.0, 60.0, len(spline.GetParameters())).tolist())
    found = deformable.deformation(linear.Scene(scan, scan, whole, whole, whole, None), spline, None)
    assert found["min_jacobian_determinant"] < 0.0 and found["tumour_volume_change_percent"] is None
