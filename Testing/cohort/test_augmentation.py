"""Augmentation of crops: what is changed, how often, and what stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from MRDeltaNetLib.cohort.augmentation import augment, probabilities, ramp, redrawn  # noqa: E402
from MRDeltaNetLib.cohort.augmentation.looks import blurred, with_bias, with_gamma  # noqa: E402
from MRDeltaNetLib.cohort.augmentation.placing import affine, centroid_mm, sample  # noqa: E402
from MRDeltaNetLib.config import AugmentationConfig, OutlineErrorConfig  # noqa: E402

EXACT = OutlineErrorConfig(chance=0.0)
ALWAYS = OutlineErrorConfig(chance=1.0, ramp_epochs=0, carried=0.0, shift_sd_mm=(0.0, 0.0), size=(1.0, 1.0), dropped_slices=(0, 0))
"""Every case, and nothing happens to it."""
NOTHING = AugmentationConfig(flip=0, rotation_deg=0, scale=0, shift_mm=0, misplaced_mm=0, misplaced_deg=0, misplaced_slices=0, roi_shift_mm=0, roi_scale=0,
                             roi_dropout=0, gain_sd=0, offset_sd=0, noise_sd=0, gamma_chance=0, bias_chance=0, blur_chance=0, slice_drop_chance=0,
                             outlines=EXACT)
SPACING = (0.75, 0.75, 3.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scans(count: int = 3) -> torch.Tensor:
    """(count, 4, 24, 32) z-scores."""
    return torch.randn(count, 4, 24, 32, generator=seeded(1))


def crops() -> torch.Tensor:
    x = torch.randn(3, 2, 2, 4, 24, 32, generator=torch.Generator().manual_seed(0))
    x[:, :, 1] = 0
    x[:, 0, 1, 1:3, 8:16, 10:20] = 1
    x[:, 1, 1, 1:3, 10:18, 12:22] = 1
    return x


def test_augmentation_that_may_do_nothing_changes_nothing():
    assert torch.allclose(augment(crops(), SPACING, NOTHING, torch.Generator()), crops(), atol=1e-5)


def test_the_dynamic_rule_augments_the_rarer_class_more_and_rises_over_the_epochs():
    outcome, config = torch.tensor([0.0, 1.0, 1.0]), AugmentationConfig()
    for counts, expected in (((80, 20), [0.5, 0.9, 0.9]), ((20, 80), [0.9, 0.5, 0.5]), ((50, 50), [0.9, 0.9, 0.9])):
        assert probabilities(outcome, counts, 10, config).tolist() == pytest.approx(expected)
        assert probabilities(outcome, counts, 5, config).tolist() == pytest.approx([p / 2 for p in expected])
    assert [ramp(epoch, 4) for epoch in (0, 1, 4, 9)] == [0.0, 0.25, 1.0, 1.0] and ramp(0, 0) == 1.0


def test_each_case_is_changed_with_its_own_probability():
    x = crops()[:1].expand(600, -1, -1, -1, -1, -1)
    chance = torch.tensor([0.0, 0.3, 1.0]).repeat_interleave(200)
    found = augment(x, SPACING, replace(NOTHING, offset_sd=1.0), torch.Generator().manual_seed(0), chance)
    changed = (found[:, :, 0] - x[:, :, 0]).abs().amax((1, 2, 3, 4)).gt(1e-6).view(3, 200).float().mean(1)
    assert changed[0] == 0 and changed[2] == 1 and abs(changed[1] - 0.3) < 0.1
    assert torch.equal(found[:200], x[:200])


def test_both_visits_are_flipped_together():
    found = augment(crops(), SPACING, replace(NOTHING, flip=1.0), torch.Generator())
    assert torch.allclose(found, crops().flip(-1), atol=1e-5)


def test_a_turn_by_ninety_degrees_in_millimetres_needs_no_square_crop():
    """A bar along x, 12 mm from the centre in y, must lie along y, 12 mm from the centre in x."""
    x = torch.zeros(1, 2, 2, 1, 64, 96)
    x[:, :, 0, :, 47:49, 38:58] = 1.0                                     # rows at +16 voxels, columns around the middle (47.5)

    quarter = torch.full((1, 2), np.pi / 2)
    place = affine(quarter, torch.ones(1, 2), torch.ones(1, 2), torch.zeros(1, 2, 2), torch.zeros(1, 2), (1, 64, 96), SPACING)
    found = sample(x[:, :, 0], place, "zeros")[0, 0, 0]
    rows, columns = np.nonzero(found.numpy() > 0.5)
    assert abs(abs(columns.mean() - 47.5) - 16) < 0.6 and abs(rows.mean() - 31.5) < 0.6
    assert np.ptp(rows) > 15 and np.ptp(columns) < 3


def test_misplacing_moves_each_visit_by_itself_and_the_roi_with_its_image():
    x = crops()
    x[:, :, 0] = x[:, :, 1]                                               # image = ROI, so that they can be compared
    found = augment(x, SPACING, replace(NOTHING, misplaced_mm=3.0), torch.Generator().manual_seed(1))
    assert torch.allclose(found[:, :, 0], found[:, :, 1], atol=1e-5)
    columns = torch.arange(32).float()
    centre = (found[:, :, 1].sum((2, 3)) * columns).sum(-1) / found[:, :, 1].sum((2, 3, 4))
    moved = centre - torch.tensor([14.5, 16.5])
    assert moved.abs().max() <= 3.0 / 0.75 + 0.1 and (moved[:, 0] - moved[:, 1]).abs().min() > 1e-3


def test_roi_dropout_empties_whole_rois_only():
    found = augment(crops(), SPACING, replace(NOTHING, roi_dropout=1.0), torch.Generator())
    assert found[:, :, 1].abs().max() == 0 and torch.allclose(found[:, :, 0], crops()[:, :, 0], atol=1e-5)


def test_poor_outlines_change_no_scan_and_nothing_at_all_where_they_are_off():
    generator, untouched = seeded(), seeded().get_state()
    assert redrawn(crops(), SPACING, EXACT, generator, 9).equal(crops()) and generator.get_state().equal(untouched)
    found = redrawn(crops(), SPACING, OutlineErrorConfig(chance=1.0, ramp_epochs=0), seeded(), 0)
    assert found[:, :, 0].equal(crops()[:, :, 0]) and not torch.allclose(found[:, :, 1], crops()[:, :, 1])
    assert torch.allclose(redrawn(crops(), SPACING, ALWAYS, seeded(), 0), crops(), atol=1e-5)


def test_poor_outlines_come_on_over_the_epochs_and_in_half_of_the_cases():
    x = crops()[:1].expand(2000, -1, -1, -1, -1, -1)

    def share(epoch: int) -> float:
        found = redrawn(x, SPACING, replace(ALWAYS, chance=0.5, ramp_epochs=10, shift_sd_mm=(3.0, 3.0)), seeded(epoch), epoch)
        return float((found - x)[:, :, 1].abs().amax((1, 2, 3, 4)).gt(0).float().mean())

    assert share(0) == 0 and abs(share(5) - 0.25) < 0.05 and abs(share(10) - 0.5) < 0.05 and abs(share(30) - 0.5) < 0.05


def test_the_place_of_an_outline_has_each_visits_own_standard_deviation():
    x = torch.zeros(1500, 2, 2, 1, 64, 64)
    x[:, :, 1, :, 28:36, 28:36] = 1.0
    found = redrawn(x, SPACING, replace(ALWAYS, shift_sd_mm=(1.0, 3.0)), seeded(), 0)
    place = centroid_mm(found[:, :, 1], SPACING)
    assert np.allclose(place.std(0), [[1.0, 1.0], [3.0, 3.0]], rtol=0.08) and place.mean(0).abs().max() < 0.3


def test_the_size_of_an_outline_is_log_uniform_within_its_factor():
    place = torch.arange(64) - 31.5
    x = torch.zeros(800, 2, 2, 1, 64, 64)
    x[:, :, 1, 0] = torch.exp(-(place[:, None] ** 2 + place ** 2) / 50)   # soft, so that its sum is its area
    found = redrawn(x, SPACING, replace(ALWAYS, size=(1.2, 1.5)), seeded(), 0)
    grown = (found[:, :, 1].sum((2, 3, 4)) / x[:, :, 1].sum((2, 3, 4))).sqrt()
    for visit, factor in enumerate((1.2, 1.5)):
        own = grown[:, visit]
        assert own.min() >= 0.99 / factor and own.max() <= 1.01 * factor
        assert float(own.log().mean()) == pytest.approx(0.0, abs=0.03)
        assert float(own.log().std()) == pytest.approx(np.log(factor) / np.sqrt(3), rel=0.08)


def test_slices_are_lost_at_either_end_and_never_all():
    x = torch.zeros(400, 2, 2, 8, 6, 6)
    x[:, 0, 1, 2:7], x[:, 1, 1, 3:5] = 1.0, 1.0                           # five slices before, two after treatment
    found = redrawn(x, SPACING, replace(ALWAYS, dropped_slices=(2, 3)), seeded(), 0)[:, :, 1].amax((-2, -1)) > 0.5
    first, last = found[:, 0].float().argmax(1), 7 - found[:, 0].flip(-1).float().argmax(1)
    assert set(first.tolist()) == {2, 3, 4} and set(last.tolist()) == {4, 5, 6}
    assert found[:, 0].sum(1).eq(last - first + 1).all()                  # nothing is lost in between
    assert set(found[:, 1].sum(1).tolist()) == {1, 2}                     # losing both would leave none: then both stay


def test_a_carried_bed_is_the_tumours_outline_as_drawn():
    found = redrawn(crops(), SPACING, replace(ALWAYS, carried=1.0, shift_sd_mm=(2.0, 2.0)), seeded(), 0)
    assert found[:, 1, 1].equal(found[:, 0, 1]) and not torch.allclose(found[:, 0, 1], crops()[:, 0, 1])
    some = redrawn(crops()[:1].expand(1000, -1, -1, -1, -1, -1), SPACING, replace(ALWAYS, carried=0.25), seeded(), 0)
    share = torch.isclose(some[:, 0, 1], some[:, 1, 1], atol=1e-4).flatten(1).all(1).float().mean()
    assert abs(float(share) - 0.25) < 0.05


def test_an_empty_outline_stays_empty():
    x = crops()
    x[:, :, 1] = 0
    assert redrawn(x, SPACING, OutlineErrorConfig(chance=1.0, ramp_epochs=0), seeded(), 0)[:, :, 1].abs().max() == 0


def test_the_contrast_curve_is_monais():
    transforms = pytest.importorskip("monai.transforms")
    x, gamma = scans(), torch.tensor([0.7, 1.0, 1.5])
    found = with_gamma(x, gamma)
    for one, curve, own in zip(x, gamma, found):
        expected = transforms.AdjustContrast(float(curve), retain_stats=True)(one[None])[0]
        assert torch.allclose(own, torch.as_tensor(expected), atol=1e-4)
    assert torch.allclose(found[1], x[1], atol=1e-5)
    assert torch.equal(found[2].flatten().argsort(), x[2].flatten().argsort())     # brighter stays brighter


def test_a_coil_leaves_the_darkest_voxel_and_the_mean_sensitivity_and_is_smooth():
    x = scans()
    weights = torch.randn(3, 9, generator=seeded()) * 0.1
    dark = x.amin((1, 2, 3), keepdim=True)
    field = (with_bias(x, weights) - dark) / (x - dark).clamp(min=1e-9)
    inside = (x - dark) > 0.5
    assert float(field[inside].min()) > 0 and torch.allclose(with_bias(x, weights).amin((1, 2, 3)), dark.flatten(), atol=1e-5)
    uniform = with_bias(torch.cat([torch.zeros(3, 4, 24, 1), torch.ones(3, 4, 24, 31)], -1), weights)
    steps = uniform[..., 1:].diff(dim=-1).abs()
    assert steps.max() < 0.1 and uniform[..., 1:].std() > 0.01
    assert torch.allclose(with_bias(x, torch.zeros(3, 9)), x, atol=1e-5)


def test_blur_is_a_gaussian_in_millimetres_in_plane():
    ndimage = pytest.importorskip("scipy.ndimage")
    x, sigma_mm = torch.randn(2, 3, 40, 48, generator=seeded()), torch.tensor([1.5, 0.6])
    found = blurred(x, sigma_mm, (0.75, 1.0, 3.0))
    for one, sigma, own in zip(x.numpy(), sigma_mm.tolist(), found.numpy()):
        expected = ndimage.gaussian_filter(one, (0, sigma / 1.0, sigma / 0.75), mode="nearest", truncate=6.0)
        assert np.abs(own - expected).max() < 0.01 and np.abs(own - one).max() > 0.3
    assert torch.allclose(blurred(x, torch.zeros(2), SPACING), x, atol=1e-5)


def test_one_slice_of_a_visit_is_lost_and_outlines_stay():
    found = augment(crops(), SPACING, replace(NOTHING, slice_drop_chance=1.0), seeded())
    empty = found[:, :, 0].abs().amax((-2, -1)) == 0
    assert empty.sum(-1).eq(1).all() and torch.allclose(found[:, :, 1], crops()[:, :, 1], atol=1e-5)


@pytest.mark.parametrize("change", [{"gamma_chance": 0.3}, {"bias_chance": 0.3}, {"blur_chance": 0.3, "blur_mm": 5.0}])
def test_looks_change_their_share_of_the_visits_and_never_an_outline(change):
    x = crops()[:1].expand(400, -1, -1, -1, -1, -1)
    found = augment(x, SPACING, replace(NOTHING, **change), seeded())
    changed = (found - x)[:, :, 0].abs().amax((2, 3, 4)) > 1e-3
    assert abs(float(changed.float().mean()) - 0.3) < 0.06 and torch.allclose(found[:, :, 1], x[:, :, 1], atol=1e-5)
    assert abs(float((changed[:, 0] & changed[:, 1]).float().mean()) - 0.09) < 0.05     # each visit by itself


def test_augmentation_follows_from_its_seed():
    config = AugmentationConfig(gamma_chance=1.0, bias_chance=1.0, blur_chance=1.0, slice_drop_chance=1.0)
    one, again, other = (augment(crops(), SPACING, config, seeded(seed)) for seed in (3, 3, 4))
    assert one.equal(again) and not one.equal(other) and one.isfinite().all()
