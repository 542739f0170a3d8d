"""Alignment on simulated pelvises with known truth. Made-up data; no result on it is a clinical claim."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.config import GateLimits, RegistrationConfig
from MRDeltaNetLib.errors import Cancelled, InputError, UsageError
from MRDeltaNetLib.imaging import registration
from MRDeltaNetLib.imaging.registration import align, assess
from Testing.imaging.shapes import STORAGES, ellipsoid, grid, on, places, rigid, stored
from Testing.simulated import small_pair

CONFIG = RegistrationConfig()
REACH_MM = ((-80.0, 0.0, 80.0), (-60.0, 0.0, 60.0), (-35.0, 0.0, 35.0))


@pytest.fixture(scope="module")
def pair():
    return small_pair(5, setting="realistic")


@pytest.fixture(scope="module")
def aligned(pair):
    return align(pair.pre, pair.post)


def points_mm(scan: sitk.Image) -> list:
    """A lattice across the bony pelvis around the middle of a scan."""
    middle = scan.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in scan.GetSize()])
    return np.add(middle, list(itertools.product(*REACH_MM))).tolist()


def error_mm(found: sitk.Transform, truth: sitk.Transform, scan: sitk.Image) -> np.ndarray:
    return np.array([np.linalg.norm(np.subtract(found.TransformPoint(p), truth.TransformPoint(p))) for p in points_mm(scan)])


def moved(scan: sitk.Image, transform: sitk.Transform) -> sitk.Image:
    """The same voxels somewhere else in the scanner: every point p goes to transform(p)."""
    matrix = np.array(transform.GetMatrix()).reshape(3, 3)
    result = sitk.Image(scan)
    result.SetOrigin(transform.TransformPoint(scan.GetOrigin()))
    result.SetDirection((matrix @ np.array(scan.GetDirection()).reshape(3, 3)).ravel().tolist())
    return result


def about(scan: sitk.Image, angles_deg, shift_mm) -> sitk.Euler3DTransform:
    """A rigid transform that turns about the middle of a scan."""
    middle = scan.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in scan.GetSize()])
    return sitk.Euler3DTransform(middle, *np.radians(angles_deg).tolist(), [float(step) for step in shift_mm])


def parameters(transform: sitk.Transform) -> bytes:
    return np.array(transform.GetParameters() + transform.GetFixedParameters()).tobytes()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_bone_is_found_within_a_millimetre_although_the_tumour_shrinks(seed):
    pair = small_pair(seed, setting="realistic")
    found = align(pair.pre, pair.post, pre_mask=pair.pre_mask, post_mask=pair.post_mask)
    assert error_mm(found.transform, pair.transform_pre_to_post, pair.pre).mean() < 1.0
    assert found.refined and found.method == "rigid" and found.display_transform is None


@pytest.mark.parametrize("angles_deg, shift_mm", [((12, 0, 0), (0, 15, 0)), ((0, -8, 6), (-20, 5, 12)), ((-6, 6, -10), (10, -14, -18))])
def test_large_start_errors_are_recovered(pair, angles_deg, shift_mm):
    away = about(pair.post, angles_deg, shift_mm)
    found = align(pair.pre, moved(pair.post, away))
    assert error_mm(found.transform, sitk.CompositeTransform([away, pair.transform_pre_to_post]), pair.pre).mean() < 1.0


def test_a_smaller_field_of_view_is_found_inside_the_larger_one(pair):
    small = pair.post[14:-14, 14:-14, 2:]
    found = align(pair.pre, small)
    assert error_mm(found.transform, pair.transform_pre_to_post, pair.pre).mean() < 1.5


@pytest.mark.parametrize("how", STORAGES)
def test_how_a_file_stores_its_axes_does_not_matter(pair, aligned, how):
    same = align(stored(pair.pre, *STORAGES[how]), stored(pair.post, *STORAGES[how]))
    assert error_mm(same.transform, aligned.transform, pair.pre).max() < 0.1
    other = align(pair.pre, stored(pair.post, *STORAGES[how]))
    assert error_mm(other.transform, aligned.transform, pair.pre).max() < 0.1


def test_one_two_and_four_threads_give_the_same_bytes(pair):
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    try:
        found = set()
        for threads in (1, 2, 4):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
            found.add(parameters(align(pair.pre, pair.post, pre_mask=pair.pre_mask).transform))
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    assert len(found) == 1


def test_the_seed_decides_the_bytes_but_not_the_place(pair, aligned):
    assert parameters(align(pair.pre, pair.post).transform) == parameters(aligned.transform)
    other = align(pair.pre, pair.post, seed=7).transform
    assert parameters(other) != parameters(aligned.transform)
    assert error_mm(other, aligned.transform, pair.pre).max() < 0.5


def test_what_happens_inside_the_tumour_does_not_move_the_alignment(pair):
    masks = {"pre_mask": pair.pre_mask, "post_mask": pair.post_mask}
    plain = align(pair.pre, pair.post, **masks)
    level = float(sitk.GetArrayViewFromImage(pair.pre).max())
    painted = sitk.Mask(pair.pre, pair.pre_mask == 0, level, 0), sitk.Mask(pair.post, pair.post_mask == 0, 0.4 * level, 0)
    found = align(*painted, **masks)
    assert error_mm(found.transform, plain.transform, pair.pre).max() < 0.3


def test_the_bed_is_left_out_on_the_post_scan_even_without_a_mask_before(pair):
    scene = registration._scene(pair.pre, pair.post, CONFIG, None, pair.post_mask)
    bed = pair.post_mask.TransformContinuousIndexToPhysicalPoint(np.argwhere(sitk.GetArrayFromImage(pair.post_mask)).mean(axis=0)[::-1].tolist())
    away = np.linalg.norm(places(scene.post_region) - bed, axis=-1)
    kept = sitk.GetArrayFromImage(scene.post_region) > 0
    assert not kept[away < CONFIG.exclusion_margin_mm].any() and kept[sitk.GetArrayFromImage(scene.post_body) > 0].mean() > 0.8
    assert registration._scene(pair.pre, pair.post, CONFIG, pair.pre_mask, None).post_region is None


def test_a_handed_in_start_is_refined(pair):
    near = sitk.CompositeTransform([about(pair.post, (3, 0, -2), (4, -3, 2)), pair.transform_pre_to_post])
    found = align(pair.pre, pair.post, initial=near)
    assert error_mm(found.transform, pair.transform_pre_to_post, pair.pre).mean() < 1.0


def test_none_is_the_identity_and_says_when_the_scans_lie_apart(pair):
    found = align(pair.pre, pair.post, replace(CONFIG, method="none"), pre_mask=pair.pre_mask)
    assert not error_mm(found.transform, sitk.Transform(3, sitk.sitkIdentity), pair.pre).any()
    assert not found.refined and found.quality["rotation_deg"] == 0.0
    far = align(pair.pre, moved(pair.post, rigid(shift_mm=(35.0, 20.0, 0.0))), replace(CONFIG, method="none"))
    assert "MRD-W603" in [notice.code for notice in far.notices]


def test_quality_names_numbers_with_their_units(pair, aligned):
    quality = aligned.quality
    assert quality["mutual_information_after_nats"] > quality["mutual_information_before_nats"] > 0.0
    assert 0.5 < quality["overlap_fraction"] <= 1.0
    assert quality["tumour_volume_change_percent"] == pytest.approx(0.0, abs=1e-9)
    assert quality["converged"] is True
    versor = sitk.VersorRigid3DTransform()
    versor.SetMatrix(aligned.transform.GetMatrix(), 1e-8)
    assert quality["rotation_deg"] == pytest.approx(np.degrees(2 * np.arcsin(np.linalg.norm(versor.GetParameters()[:3]))), abs=1e-6)


def test_affine_finds_a_scanner_that_measures_two_percent_too_long(pair):
    stretched = sitk.Image(pair.post)
    stretched.SetSpacing([step * factor for step, factor in zip(pair.post.GetSpacing(), (1.02, 1.0, 1.0))])
    found = align(pair.pre, stretched, replace(CONFIG, method="affine"))
    assert found.quality["tumour_volume_change_percent"] == pytest.approx(2.0, abs=1.0)
    assert found.transform.IsLinear()


def test_the_deformable_transform_never_takes_the_place_of_the_rigid_one(pair):
    masks = {"pre_mask": pair.pre_mask, "post_mask": pair.post_mask}
    stiff = align(pair.pre, pair.post, **masks)
    bent = align(pair.pre, pair.post, replace(CONFIG, method="deformable", max_volume_change_percent=50.0), **masks)
    assert parameters(bent.transform) == parameters(stiff.transform)
    assert not bent.display_transform.IsLinear()
    assert 0.0 < bent.quality["min_jacobian_determinant"] < bent.quality["max_jacobian_determinant"]
    assert bent.quality["tumour_volume_change_percent"] != 0.0
    assert bent.quality["display_mutual_information_nats"] > bent.quality["mutual_information_after_nats"]      # it starts where the rigid one ended
    assert "MRD-W605" in [notice.code for notice in bent.notices]


# ---- stopping ----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("method", ["rigid", "deformable"])
@pytest.mark.parametrize("error", [Cancelled(), KeyError("made up")])
def test_what_progress_raises_comes_out_at_once(pair, method, error, capfd):
    calls = []

    def stop_at_the_end_of_its_patience(done, message):
        calls.append(done)
        if done > (0.01 if method == "rigid" else 0.45):
            raise error

    with pytest.raises(type(error)) as caught:
        align(pair.pre, pair.post, replace(CONFIG, method=method), progress=stop_at_the_end_of_its_patience)
    assert caught.value is error
    assert sum(done > (0.01 if method == "rigid" else 0.45) for done in calls) == 1
    assert "Traceback" not in capfd.readouterr().err


def test_progress_runs_from_zero_to_one_and_never_back(pair):
    told = []
    align(pair.pre, pair.post, progress=lambda done, message: told.append((done, message)))
    shares = [done for done, _ in told]
    assert shares == sorted(shares) and shares[-1] == 1.0 and min(shares) >= 0.0
    assert any("level 3" in message for _, message in told)


# ---- refusing ----------------------------------------------------------------------------------------------------------------

def refusal(action, *args, **options):
    with pytest.raises(InputError) as caught:
        action(*args, **options)
    return caught.value


def test_an_unknown_method_is_a_usage_error(pair):
    with pytest.raises(UsageError) as caught:
        align(pair.pre, pair.post, replace(CONFIG, method="telepathy"))
    assert caught.value.code == "MRD-E600" and "rigid" in caught.value.fix


def test_scans_of_different_places_without_alignment_are_refused(pair):
    error = refusal(align, pair.pre, moved(pair.post, rigid(shift_mm=(0.0, 0.0, 900.0))), replace(CONFIG, method="none"))
    assert error.code == "MRD-E601" and "rigid" in error.fix


def test_partial_overlap_warns_and_too_little_is_refused(pair, aligned):
    quarter = moved(pair.post, about(pair.post, (0, 0, 0), (0, 0, 0)))[:, :, :14]
    codes = [notice.code for notice in assess(pair.pre[:, :, 4:], quarter, aligned.transform, CONFIG)[1]]
    assert "MRD-W601" in codes
    error = refusal(assess, pair.pre[:, :, 4:], quarter, aligned.transform, CONFIG, limits=GateLimits(min_overlap_fraction=0.95))
    assert error.code == "MRD-E601" and "same part" in error.fix


def test_rotations_beyond_the_limits_warn_and_are_refused(pair, aligned):
    turned = sitk.CompositeTransform([about(pair.post, (0, 0, 40), (0, 0, 0)), aligned.transform])
    error = refusal(assess, pair.pre, pair.post, turned, CONFIG)
    assert error.code == "MRD-E602" and "one patient" in error.fix and "30" in error.found
    config = replace(CONFIG, warn_rotation_deg=0.5)
    assert "MRD-W602" in [notice.code for notice in assess(pair.pre, pair.post, aligned.transform, config)[1]]


def test_scans_that_have_nothing_in_common_are_refused(pair):
    rng = np.random.default_rng(3)
    blank = grid((96, 96, 20), pair.post.GetSpacing(), centre_mm=(0, 0, 0))
    blobs = sum(float(rng.uniform(0.2, 1.0)) * sitk.GetArrayFromImage(ellipsoid(blank, rng.uniform(-70, 70, 3) * (1, 1, 0.5), rng.uniform(8, 30, 3))).astype(np.float32)
                for _ in range(60))
    other = on(blank, 100 * blobs + rng.normal(60, 4, blobs.shape).astype(np.float32))
    error = refusal(align, pair.pre, other)
    assert error.code == "MRD-E603" and "one patient" in error.fix


def test_a_handed_in_transform_that_misses_is_refused(pair, aligned):
    off = sitk.CompositeTransform([rigid(shift_mm=(0.0, 12.0, 0.0)), aligned.transform])
    lenient = replace(CONFIG, min_similarity_peak=0.0, min_mutual_information_nats=0.0)
    better = moved(pair.post, aligned.transform.GetInverse())
    error = refusal(assess, pair.pre, better, off, lenient)
    assert error.code == "MRD-E604" and "none" in error.fix


def test_a_transform_that_mirrors_or_swells_is_refused(pair, aligned):
    mirror, swollen = sitk.AffineTransform(3), sitk.AffineTransform(3)
    middle = pair.pre.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in pair.pre.GetSize()])
    for transform, scale in ((mirror, (-1, 1, 1)), (swollen, (1.06, 1.06, 1.0))):
        transform.SetCenter(middle)
        transform.Scale(scale)
    error = refusal(assess, pair.pre, pair.post, sitk.CompositeTransform([aligned.transform, mirror]), CONFIG)
    assert error.code == "MRD-E605" and "rigid" in error.fix
    error = refusal(assess, pair.pre, pair.post, sitk.CompositeTransform([aligned.transform, swollen]), CONFIG)
    assert error.code == "MRD-E606" and "+12.4 %" in error.found


def test_a_mask_that_covers_the_body_is_refused(pair):
    error = refusal(align, pair.pre, pair.post, pre_mask=sitk.Cast(pair.pre > -1, sitk.sitkUInt8))
    assert error.code == "MRD-E607" and "tumour mask" in error.fix


def test_an_error_inside_itk_is_told_with_a_remedy(pair, monkeypatch):
    def fails(self, fixed, moving):
        raise RuntimeError("sitk::ERROR: made up, at /some/where")
    monkeypatch.setattr(sitk.ImageRegistrationMethod, "Execute", fails)
    error = refusal(align, pair.pre, pair.post)
    assert error.code == "MRD-E608" and "none" in error.fix and "/" not in error.text().replace("and/or", "")


def test_a_bending_transform_is_never_accepted(pair):
    spline = sitk.BSplineTransformInitializer(pair.pre, [3, 3, 3], 3)
    assert refusal(assess, pair.pre, pair.post, spline, CONFIG).code == "MRD-E609"
    error = refusal(align, pair.pre, pair.post, initial=spline)
    assert error.code == "MRD-E609" and "rigid" in error.fix


def test_an_optimiser_that_ran_out_of_steps_is_told(pair):
    found = align(pair.pre, pair.post, replace(CONFIG, iterations=3), initial=pair.transform_pre_to_post)
    assert found.quality["converged"] is False
    assert "MRD-W604" in [notice.code for notice in found.notices]


def test_a_freer_alignment_that_gains_nothing_is_told():
    from MRDeltaNetLib.imaging.registration.quality import no_better
    assert [notice.code for notice in no_better("affine", 1.0, 0.9)] == ["MRD-W606"]
    assert no_better("affine", 1.0, 1.1) == ()


def test_a_constant_scan_is_refused_with_a_code(pair):
    assert refusal(align, pair.pre, pair.post * 0).code.startswith("MRD-E")


def test_the_package_says_what_it_offers():
    assert {"Alignment", "align", "assess"} == set(registration.__all__)
    assert places(grid((2, 2, 2), (1, 1, 1))).shape == (2, 2, 2, 3)
