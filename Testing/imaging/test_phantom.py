"""The simulated pelvis: its truths, its look in numbers, and that it is the same everywhere. Made-up data but for one test."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.errors import UsageError
from MRDeltaNetLib.imaging.phantom import anatomy, contrast, draw_case, simulate_pair
from MRDeltaNetLib.imaging.phantom.geometry import Grid, rotation_matrix
from MRDeltaNetLib.imaging.phantom.render import render

SMALL = {"size": (72, 72, 16), "spacing_mm": (1.6, 1.6, 4.0)}
REPOSITORY = Path(__file__).resolve().parents[2]


def voxels(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def auc(values, outcome) -> float:
    """Share of (positive, negative) pairs in the right order, by the double loop's definition."""
    values, outcome = np.asarray(values, float), np.asarray(outcome)
    positive, negative = values[outcome == 1], values[outcome == 0]
    return float(np.mean((positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)))


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))


def digest(pair) -> str:
    hasher = hashlib.sha256()
    for image in (pair.pre, pair.post, pair.pre_mask, pair.post_mask, pair.residual_mask):
        hasher.update(voxels(image).tobytes() + repr((image.GetSpacing(), image.GetOrigin(), image.GetDirection())).encode())
    return hasher.hexdigest() + repr((pair.transform_pre_to_post.GetParameters(), sorted(pair.latent.items()), sorted(pair.clinical.items())))


@pytest.fixture(scope="module")
def whole():
    """One case at its default size, with the tissues marked, before and after treatment."""
    plan = draw_case(5)
    fields = anatomy.Fields.of(plan.patient)
    tissues = ("fat", "muscle", "gluteus", "urine", "mesorectal_fat", "subcutaneous", "marrow")
    return [render(grid, place, plan.patient, visit, plan.latent, fields=fields, rng=np.random.default_rng(time), tissues=tissues)
            for time, (grid, place, visit) in enumerate(zip(plan.grids, plan.placements, plan.visits))]


@pytest.fixture(scope="module")
def noiseless():
    """plan and scans without coil, noise or gain (fat = 1), with bone marked, 2 mm voxels."""
    plan = draw_case(8, responder=False, size=(100, 100, 30), spacing_mm=(2.0, 2.0, 3.3))
    return plan, [render(grid, place, plan.patient, visit, plan.latent, tissues=("marrow",))
                  for grid, place, visit in zip(plan.grids, plan.placements, plan.visits)]


def test_the_same_seed_gives_the_same_bytes_in_another_process_with_other_threads():
    code = "from Testing.imaging.test_phantom import *; print(digest(simulate_pair(3, **SMALL)))"
    environment = os.environ | {"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "3",
                                "PYTHONHASHSEED": "5", "PYTHONPATH": str(REPOSITORY)}
    other = subprocess.run([sys.executable, "-c", code], env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest(simulate_pair(3, **SMALL))
    assert digest(simulate_pair(4, **SMALL)) != other.stdout.strip()


def test_the_simulation_leaves_the_global_random_state_alone():
    np.random.seed(1)
    expected = np.random.random()
    np.random.seed(1)
    simulate_pair(1, size=(24, 24, 8))
    assert np.random.random() == expected


def test_controlled_neither_volume_nor_one_scan_alone_tells_what_the_pair_tells():
    latent = [draw_case(seed).latent for seed in range(800)]
    outcome = [case["outcome"] for case in latent]
    assert 0.44 < np.mean(outcome) < 0.56
    for useless in ("bed_volume_fraction", "tumour_signal", "blob_size_fraction", "tumour_length_mm", "tumour_thickness_mm", "fibrosis_signal"):
        assert abs(auc([case[useless] for case in latent], outcome) - 0.5) < 0.055, useless          # SE 0.020
    post_alone = auc([case["blob_signal"] for case in latent], outcome)
    assert 0.65 < post_alone < 0.8
    assert auc([case["blob_signal"] - case["tumour_signal"] for case in latent], outcome) == 1.0


def test_controlled_clinical_values_tell_nothing():
    plans = [draw_case(seed) for seed in range(800)]
    outcome = [plan.latent["outcome"] for plan in plans]
    for name in ("age_years", "cea_ng_ml", "distance_to_anal_verge_mm", "interval_days"):
        assert abs(auc([plan.clinical[name] for plan in plans], outcome) - 0.5) < 0.055, name


def test_realistic_volume_change_alone_has_an_auc_near_070():
    latent = [draw_case(seed, setting="realistic", responder=seed % 2 == 0).latent for seed in range(400)]
    shrinkage = auc([1 - case["bed_volume_fraction"] for case in latent], [case["outcome"] for case in latent])
    assert 0.65 < shrinkage < 0.75


def test_clinical_values_are_plausible():
    clinical = [draw_case(seed, setting="realistic").clinical for seed in range(300)]
    assert {case["sex"] for case in clinical} == {"male", "female"}
    assert {case["ct_stage"] for case in clinical} == {"T2", "T3", "T4"} and {case["cn_stage"] for case in clinical} == {"N0", "N1", "N2"}
    assert 55 < np.median([case["age_years"] for case in clinical]) < 67
    assert 2 < np.median([case["cea_ng_ml"] for case in clinical]) < 6
    assert all(5 <= case["distance_to_anal_verge_mm"] <= 140 and 14 < case["interval_days"] < 365 for case in clinical)


def test_the_difficulty_knob_is_the_offset_of_inflammation():
    plain, hard = (draw_case(6, responder=True, inflammation_offset=offset).latent for offset in (0.12, 0.03))
    assert plain["blob_signal"] - plain["tumour_signal"] == pytest.approx(0.12)
    assert hard["blob_signal"] - hard["tumour_signal"] == pytest.approx(0.03)
    assert hard["tumour_signal"] == plain["tumour_signal"]


@pytest.mark.parametrize("responder", [True, False])
def test_masks_lie_on_their_scans_and_only_the_viable_rest_depends_on_the_outcome(responder):
    pair = simulate_pair(12, responder=responder, **SMALL)
    for mask, scan in ((pair.pre_mask, pair.pre), (pair.post_mask, pair.post), (pair.residual_mask, pair.post)):
        assert (mask.GetSize(), mask.GetSpacing(), mask.GetOrigin(), mask.GetDirection()) == (
            scan.GetSize(), scan.GetSpacing(), scan.GetOrigin(), scan.GetDirection())
        assert mask.GetPixelID() == sitk.sitkUInt8 and set(np.unique(voxels(mask))) <= {0, 1}
    assert pair.outcome == int(responder)
    residual, bed = voxels(pair.residual_mask) > 0, voxels(pair.post_mask) > 0
    assert voxels(pair.pre_mask).sum() > 100 and bed.sum() > 30
    assert residual.any() != responder and not (residual & ~bed).any()
    assert pair.pre.GetDirection() != pair.post.GetDirection()


@pytest.mark.parametrize("seed", range(20, 28))
def test_tumour_and_bed_lie_whole_inside_a_field_of_view_of_the_networks_crop(seed):
    pair = simulate_pair(seed, size=(48, 48, 24), spacing_mm=(2.0, 2.0, 3.0))
    for mask in (voxels(pair.pre_mask), voxels(pair.post_mask)):
        assert mask.sum() >= 20
        assert not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any() or mask[:, :, 0].any() or mask[:, :, -1].any())


def test_the_true_transform_carries_the_femoral_heads_and_the_whole_bony_pelvis(noiseless):
    plan, (pre, post) = noiseless
    for left_out, (before, after) in plan.landmarks().items():
        assert np.allclose(plan.transform_pre_to_post.TransformPoint(before), after, atol=1e-9), left_out
        for scan, centre in ((pre, before), (post, after)):
            where = np.argwhere(np.ones(scan.image.GetSize()[::-1]))[:, ::-1]
            lps = scan.image.GetOrigin() + (where * scan.image.GetSpacing()) @ np.array(scan.image.GetDirection()).reshape(3, 3).T
            inside = (np.linalg.norm(lps - centre, axis=1) < 17.0).reshape(scan.image.GetSize()[::-1])
            assert inside.sum() > 200 and voxels(scan.masks["marrow"])[inside].mean() > 0.97, left_out
    bone = voxels(pre.masks["marrow"]) > 0
    carried = voxels(sitk.Resample(post.masks["marrow"], pre.image, plan.transform_pre_to_post, sitk.sitkNearestNeighbor)) > 0
    seen = voxels(sitk.Resample(post.masks["marrow"] * 0 + 1, pre.image, plan.transform_pre_to_post, sitk.sitkNearestNeighbor)) > 0
    unmoved = voxels(sitk.Resample(post.masks["marrow"], pre.image, sitk.Transform(), sitk.sitkNearestNeighbor)) > 0
    assert dice(bone & seen, carried) > 0.9
    assert dice(bone & seen, unmoved) < dice(bone & seen, carried) - 0.1


def test_the_bed_is_the_tumours_site_carried_by_the_soft_motion(noiseless):
    plan, (pre, post) = noiseless
    same = plan.latent | {"bed_volume_fraction": 1.0}
    still = replace(plan.visits[0], treated=True)
    untouched = render(plan.grids[0], plan.placements[0], plan.patient, still, same)
    assert dice(voxels(untouched.masks["bed"]) > 0, voxels(pre.masks["tumour"]) > 0) == 1.0
    moving = replace(still, soft_mm=4.0)
    points = np.meshgrid(np.linspace(-30, 30, 7), np.linspace(0, 60, 7), np.linspace(-20, 40, 7), indexing="ij")
    points = tuple(p.astype(np.float32) for p in points)
    u = np.stack(anatomy.soft_motion(points, moving)) - np.stack(points)
    assert 1.0 < np.sqrt((u**2).sum(axis=0)).mean() < 10.0
    head = tuple(np.full((1, 1, 1), v, np.float32) for v in (anatomy.FEMORAL_HEAD_MM, 0.0, 0.0))
    assert np.abs(np.stack(anatomy.soft_motion(head, moving)) - np.stack(head)).max() < 1e-3
    moved = render(plan.grids[0], plan.placements[0], plan.patient, moving, same)
    shift = [np.argwhere(voxels(scan.masks["bed"])).mean(axis=0)[::-1] * scan.image.GetSpacing() for scan in (untouched, moved)]
    assert 0.3 < np.linalg.norm(shift[1] - shift[0]) < 12.0


def test_tumour_blob_and_scar_have_the_signals_of_the_law(noiseless):
    plan, (pre, post) = noiseless
    tumour = voxels(sitk.BinaryErode(pre.masks["tumour"], (1, 1, 0))) > 0
    assert np.median(voxels(pre.image)[tumour]) == pytest.approx(plan.latent["tumour_signal"], rel=0.05)
    whole_plan = draw_case(8, responder=True, size=(160, 160, 30), spacing_mm=(0.7, 0.7, 3.0))
    scan = render(whole_plan.grids[1], whole_plan.placements[1], whole_plan.patient, whole_plan.visits[1], whole_plan.latent)
    bed, blob = voxels(scan.masks["bed"]) > 0, voxels(scan.masks["blob"]) > 0
    core = voxels(sitk.BinaryErode(scan.masks["blob"], (1, 1, 0))) > 0
    assert blob.any() and not (blob & ~bed).any()
    assert np.median(voxels(scan.image)[core]) == pytest.approx(whole_plan.latent["blob_signal"], rel=0.05)
    assert np.percentile(voxels(scan.image)[bed & ~blob], 25) == pytest.approx(whole_plan.latent["fibrosis_signal"], rel=0.15)


GRIDS = {
    "left-handed": np.diag([1.0, -1.0, 1.0]),
    "permuted": np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
    "permuted left-handed": np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]]),
}


@pytest.mark.parametrize("name", GRIDS)
def test_the_same_voxels_in_another_order_show_the_same_pelvis(name):
    plan = draw_case(9, size=(80, 72, 12), spacing_mm=(1.4, 1.5, 4.0))
    base, turn = plan.grids[0], GRIDS[name]
    order = [int(np.flatnonzero(column)[0]) for column in turn.T]
    centre = np.array(base.origin_mm) + base.direction @ (0.5 * (np.array(base.size) - 1) * base.spacing_mm)
    other = Grid.centred([base.size[a] for a in order], [base.spacing_mm[a] for a in order], centre, base.direction @ turn)
    first, second = (render(grid, plan.placements[0], plan.patient, plan.visits[0], plan.latent) for grid in (base, other))
    assert second.image.GetSize() == other.size
    back = sitk.Resample(second.image, first.image, sitk.Transform(), sitk.sitkNearestNeighbor)
    difference = np.abs(voxels(back) - voxels(first.image))
    assert np.median(difference) < 0.01 and np.percentile(difference, 95) < 0.12
    mask = sitk.Resample(second.masks["tumour"], first.image, sitk.Transform(), sitk.sitkNearestNeighbor)
    assert dice(voxels(mask) > 0, voxels(first.masks["tumour"]) > 0) > 0.96


def test_an_oblique_grid_shows_the_same_pelvis():
    plan = draw_case(9)
    place = plan.placements[0]
    centre = place.to_lps(np.array([0.0, 40.0, plan.latent["tumour_centre_mm"]]))
    straight, oblique = (render(Grid.centred((72, 72, 48), (1.5, 1.5, 1.8), centre, direction), place, plan.patient, plan.visits[0], plan.latent)
                         for direction in (np.eye(3), rotation_matrix((25.0, -18.0, 30.0))))
    back = sitk.Resample(oblique.image, straight.image, sitk.Transform(), sitk.sitkLinear, -1.0)
    seen = voxels(back) >= 0
    assert seen.mean() > 0.5
    assert np.corrcoef(voxels(back)[seen], voxels(straight.image)[seen])[0, 1] > 0.93
    mask = sitk.Resample(oblique.masks["tumour"], straight.image, sitk.Transform(), sitk.sitkNearestNeighbor)
    assert dice(voxels(mask) > 0, voxels(straight.masks["tumour"]) > 0) > 0.9


def test_signal_ratios_lie_where_a_real_scan_has_them(whole):
    for scan in whole:
        signal = voxels(scan.image)
        middle = {name: float(np.median(signal[voxels(scan.masks[name]) > 0])) for name in scan.masks if voxels(scan.masks[name]).sum() > 500}
        for tissue, names in (("muscle", ("muscle", "gluteus")), ("bladder", ("urine",)), ("mesorectal_fat", ("mesorectal_fat",)), ("marrow", ("marrow",))):
            low, high = contrast.MEASURED_RATIO[tissue]
            for name in names:
                assert 0.95 * low < middle[name] / middle["fat"] < 1.05 * high, name     # coil shading, which differs from place to place, adds a few per cent
        assert middle["muscle"] < contrast.SIGNAL["fat"] * 0.25 * middle["fat"] < middle["urine"]


def test_tumour_lies_between_muscle_and_fat_and_scar_near_muscle():
    for seed in range(50):
        latent = draw_case(seed).latent
        assert contrast.SIGNAL["muscle"] < latent["fibrosis_signal"] < latent["tumour_signal"] < contrast.SIGNAL["fat"]
        assert latent["fibrosis_signal"] < latent["blob_signal"] < contrast.SIGNAL["fat"]


def test_noise_is_that_of_a_real_scan(whole):
    for scan in whole:
        signal = voxels(scan.image)
        fat = np.median(signal[voxels(scan.masks["fat"]) > 0])
        urine = voxels(scan.masks["urine"])
        k = int(np.argmax(urine.sum(axis=(1, 2))))
        y, x = (int(v) for v in np.argwhere(urine[k]).mean(axis=0))
        box = signal[k, y - 12:y + 12, x - 12:x + 12]
        assert urine[k, y - 12:y + 12, x - 12:x + 12].all()
        low, high = contrast.MEASURED_SNR["fat"][0], contrast.MEASURED_SNR["bladder"][1] / contrast.MEASURED_RATIO["bladder"][0] * 1.1
        assert low * 0.95 < fat / contrast.noise_sd(box) < high


def test_the_noise_estimator_finds_a_known_noise_on_a_slope():
    y, x = np.mgrid[:80, :80]
    noisy = 100 + 3 * x - 2 * y + np.random.default_rng(0).normal(0, 7.0, (80, 80))
    assert contrast.noise_sd(noisy) == pytest.approx(7.0, rel=0.05)


def test_air_shows_the_rayleigh_floor_of_a_magnitude_image():
    signal = np.zeros((200, 200), np.float32)
    contrast.add_rician(signal, np.full_like(signal, 5.0), np.random.default_rng(0))
    assert signal.mean() == pytest.approx(5.0 * np.sqrt(np.pi / 2), rel=0.02) and signal.min() >= 0


def test_the_two_scans_differ_in_gain_filling_and_position_but_not_by_much():
    plans = [draw_case(seed) for seed in range(60)]
    turns, moves = [], []
    for plan in plans:
        before, after = plan.placements
        turns.append(np.rad2deg(np.arccos(np.clip((np.trace(after.rotation @ before.rotation.T) - 1) / 2, -1, 1))))
        moves.append(np.abs(after.shift_mm - before.shift_mm).max())
        assert plan.visits[0].soft_mm == 0 < plan.visits[1].soft_mm and plan.grids[0] != plan.grids[1]
    assert 2 < np.median(turns) < 8 and max(turns) < 12 and 4 < np.median(moves) and max(moves) <= 10


def test_a_readers_mask_differs_from_the_truth_but_the_scan_does_not():
    true, drawn = (simulate_pair(14, reader_mm=mm, **SMALL) for mm in (0.0, 1.5))
    assert np.array_equal(voxels(true.pre), voxels(drawn.pre)) and np.array_equal(voxels(true.post), voxels(drawn.post))
    agreement = dice(voxels(true.pre_mask) > 0, voxels(drawn.pre_mask) > 0)
    assert 0.5 < agreement < 0.99


def test_the_default_scan_has_the_geometry_of_rectal_t2():
    for seed in range(5):
        for grid in draw_case(seed).grids:
            assert grid.size == (320, 320, 30) and 0.6 <= grid.spacing_mm[0] <= 0.8 and 3.0 <= grid.spacing_mm[2] <= 4.0
            assert np.allclose(grid.direction @ grid.direction.T, np.eye(3)) and np.linalg.det(grid.direction) > 0
    small = draw_case(1, size=(64, 64, 16)).grids[0]
    assert small.size == (64, 64, 16) and small.size[0] * small.spacing_mm[0] == pytest.approx(draw_case(1).grids[0].spacing_mm[0] * 320)


@pytest.mark.parametrize("options, code, word", [
    ({"setting": "optimistic"}, "MRD-E850", "controlled"), ({"size": (4, 64, 16)}, "MRD-E851", "voxels"), ({"size": (64, 64)}, "MRD-E851", "three"),
    ({"spacing_mm": (0.0, 1.0, 3.0)}, "MRD-E852", "mm"), ({"spacing_mm": (float("nan"), 1.0, 3.0)}, "MRD-E852", "mm"), ({"seed": -1}, "MRD-E856", "zero"), ({"residual": "edge"}, "MRD-E866", "rim")])
def test_impossible_requests_are_refused(options, code, word):
    with pytest.raises(UsageError) as refused:
        simulate_pair(**({"seed": 1} | options))
    assert refused.value.code == code and word in refused.value.fix


def test_the_measured_ranges_are_those_of_the_real_scan(real_data):
    folder = next(path for path in real_data("prostatex_dicom/ProstateX-0000").rglob("*t2tsetra*") if path.is_dir())
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = sitk.Cast(reader.Execute(), sitk.sitkFloat32)
    found: dict[str, list[tuple[float, float]]] = {}
    for tissue, centre_mm, size_mm in contrast.MEASURED_BOXES:
        found.setdefault(tissue, []).append(contrast.measure_box(image, centre_mm, size_mm))
    fat = np.median([median for median, _ in found["fat"]])
    for tissue, (low, high) in contrast.MEASURED_RATIO.items():
        ratios = [median / fat for median, _ in found[tissue]]
        assert (min(ratios), max(ratios)) == pytest.approx((low, high), rel=0.02), tissue
    for tissue, (low, high) in contrast.MEASURED_SNR.items():
        snr = [median / noise for median, noise in found[tissue]]
        assert (min(snr), max(snr)) == pytest.approx((low, high), rel=0.03), tissue
    for tissue, name in (("muscle", "muscle"), ("muscle", "gluteus"), ("bladder", "urine"), ("mesorectal_fat", "mesorectal_fat"),
                         ("subcutaneous_fat", "subcutaneous"), ("marrow", "marrow")):
        low, high = contrast.MEASURED_RATIO[tissue]
        assert low <= contrast.SIGNAL[name] / contrast.SIGNAL["fat"] <= high


class TestScanners:
    SMALL = {"size": (96, 96, 12), "spacing_mm": (0.75, 0.75, 3.0)}

    @pytest.fixture(scope="class")
    def pairs(self):
        return {name: simulate_pair(5, scanner=name, **TestScanners.SMALL) for name in (None, *contrast.SCANNERS)}

    def test_same_patient_same_masks_other_looks(self, pairs):
        measured = pairs[None]
        for name in contrast.SCANNERS:
            assert pairs[name].outcome == measured.outcome and pairs[name].latent == measured.latent
            assert np.array_equal(sitk.GetArrayFromImage(pairs[name].pre_mask), sitk.GetArrayFromImage(measured.pre_mask))
            assert not np.allclose(sitk.GetArrayFromImage(pairs[name].pre), sitk.GetArrayFromImage(measured.pre))

    def test_default_scanner_leaves_every_byte_as_it_was(self):
        """Digest of this case's voxels from the version before there were scanners."""
        import hashlib

        pair = simulate_pair(123, size=(64, 64, 20), spacing_mm=(1, 1, 3))
        voxels = b"".join(sitk.GetArrayFromImage(getattr(pair, name)).tobytes() for name in ("pre", "post", "pre_mask", "post_mask"))
        assert hashlib.sha256(voxels).hexdigest()[:16] == "d84ff2846b0c06cb"

    def test_contrast_is_a_power_of_the_signal_and_blur_keeps_the_mean(self):
        signal = np.linspace(0, 1.2, 4096, dtype=np.float32).reshape(4, 32, 32)
        scanner = contrast.Scanner(contrast=1.25)
        assert np.allclose(contrast.recorded(signal, (0.7, 0.7, 3.0), scanner), signal ** 1.25, atol=1e-6)
        assert contrast.recorded(signal, (0.7, 0.7, 3.0), contrast.DEFAULT_SCANNER) is signal
        point = np.zeros((9, 41, 41), np.float32)
        point[4, 20, 20] = 1
        blurred = contrast.recorded(point, (0.5, 0.5, 3.0), contrast.Scanner(blur_mm=(2.0, 0.0)))
        profile = blurred[4, 20]
        assert blurred.sum() == pytest.approx(1, abs=0.01) and blurred[3].max() == 0
        assert profile[20 + 2] / profile[20] == pytest.approx(0.5, abs=0.06)                 # half the maximum at half the width, 1 mm = 2 voxels

    def test_noise_follows_the_scanner(self):
        sharp, noisy = (np.mean([contrast.draw_noise_and_gain(np.random.default_rng(k), contrast.SCANNERS[name])[0] for k in range(50)]) for name in "AD")
        assert noisy / sharp == pytest.approx(contrast.SCANNERS["D"].noise / contrast.SCANNERS["A"].noise, rel=1e-6)

    def test_unknown_scanner_is_refused(self):
        with pytest.raises(UsageError) as caught:
            simulate_pair(1, scanner="E")
        assert caught.value.code == "MRD-E857"


class TestResidualAtTheRim:
    """Cases to judge maps on: residual tumour where outlines alone do not point."""

    def test_it_reaches_the_beds_border_and_nothing_else_of_the_case_changes(self):
        for seed in range(200):
            usual, rim = (draw_case(seed, residual=place) for place in ("middle", "rim"))
            blob = {"residual", "blob_size_fraction", "blob_shift_along", "blob_shift_around"}
            assert {name for name, value in rim.latent.items() if usual.latent.get(name) != value} == blob and rim.clinical == usual.clinical
            assert rim.visits == usual.visits and "residual" not in usual.latent
            far = np.hypot(rim.latent["blob_shift_along"], rim.latent["blob_shift_around"])
            assert 0.9 <= far + rim.latent["blob_size_fraction"] <= 1.1 and far > np.hypot(0.25, 0.25)

    def test_the_place_is_the_same_law_in_both_classes(self):
        seeds = range(400)
        sizes = [[draw_case(seed, responder=responder, residual="rim").latent for seed in seeds] for responder in (True, False)]
        for name in ("blob_size_fraction", "blob_shift_along", "blob_shift_around"):
            assert [latent[name] for latent in sizes[0]] == [latent[name] for latent in sizes[1]], name

    def test_residual_tumour_lies_off_the_beds_middle_and_inside_it(self):
        """In millimetres, of rendered masks; the bed's middle is the mean of its voxels."""
        apart = {}
        for place in ("middle", "rim"):
            distances = []
            for seed in range(6):
                made = simulate_pair(seed, responder=False, residual=place, **SMALL)
                bed, rest = (voxels(mask) > 0 for mask in (made.post_mask, made.residual_mask))
                assert rest.any() and (rest & bed).sum() == rest.sum()
                middles = [np.argwhere(mask).mean(0) * (4.0, 1.6, 1.6) for mask in (bed, rest)]
                distances.append(np.linalg.norm(middles[0] - middles[1]))
            apart[place] = np.median(distances)
        assert apart["rim"] > apart["middle"] + 3.0
