"""Augmentation of crops: what is changed, how often, and what stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from MRDeltaNetLib.cohort.augmentation import augment, probabilities, ramp  # noqa: E402
from MRDeltaNetLib.cohort.augmentation.contours import carry, perturb_outlines  # noqa: E402
from MRDeltaNetLib.cohort.augmentation.intensity import blurred, with_bias_field, with_gamma  # noqa: E402
from MRDeltaNetLib.cohort.augmentation.placing import about, affine, centroid_mm, moved_by_voxels, sample  # noqa: E402
from MRDeltaNetLib.config import UNPERTURBED, AugmentationConfig, OutlineErrorConfig  # noqa: E402

ALWAYS = OutlineErrorConfig(probability=1.0, ramp_epochs=0, carried=0.0, shift_sd_mm=(0.0, 0.0), size=(1.0, 1.0), dropped_slices=(0, 0))
"""Every case, and nothing happens to it."""
NOTHING = AugmentationConfig(flip=0, rotation_deg=0, scale=0, shift_mm=0, misplaced_mm=0, misplaced_deg=0, misplaced_slices=0, roi_shift_mm=0, roi_scale=0,
                             roi_dropout=0, gain_sd=0, offset_sd=0, noise_sd=0, **UNPERTURBED)
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


# --- outlines -----------------------------------------------------------------------------------------------------------------------


def poor(x: torch.Tensor, seed: int = 0, epoch: int = 0, **changes) -> torch.Tensor:
    """The batch after perturb_outlines of ALWAYS with changes."""
    return perturb_outlines(x, SPACING, replace(ALWAYS, **changes), seeded(seed), epoch)[0]


def soft(count: int, sd_voxels: float = 5.0, depth: int = 1, size: int = 64) -> torch.Tensor:
    """(count, 2, 2, depth, size, size): both ROIs are a Gaussian in the middle, whose sum is its area; the scans are the same Gaussian."""
    place = torch.arange(size) - (size - 1) / 2
    return torch.exp(-(place[:, None] ** 2 + place ** 2) / (2 * sd_voxels ** 2)).expand(count, 2, 2, depth, size, size).clone()


def test_nothing_is_changed_or_drawn_where_poor_outlines_are_off():
    generator, untouched = seeded(), seeded().get_state()
    found, carried = perturb_outlines(crops(), SPACING, OutlineErrorConfig(probability=0.0), generator, 9)
    assert found.equal(crops()) and not carried.any() and generator.get_state().equal(untouched)
    assert torch.allclose(poor(crops()), crops(), atol=1e-5)
    assert poor(soft(9), size=(1.5, 1.5)).sub(soft(9))[:, :, 0].abs().max() == 0        # larger about the same centre: the scans stay


def test_poor_outlines_come_on_over_the_epochs_and_in_half_of_the_cases():
    x = crops()[:1].expand(1000, -1, -1, -1, -1, -1)

    def share(epoch: int) -> float:
        found = poor(x, epoch, epoch, probability=0.5, ramp_epochs=10, shift_sd_mm=(3.0, 3.0))
        return float((found - x)[:, :, 1].abs().amax((1, 2, 3, 4)).gt(0).float().mean())

    assert share(0) == 0 and abs(share(5) - 0.25) < 0.06 and abs(share(10) - 0.5) < 0.06 and abs(share(30) - 0.5) < 0.06


def test_place_and_size_of_an_outline_have_each_visits_own_spread_and_do_not_depend_on_each_other():
    found = poor(soft(800), shift_sd_mm=(1.0, 3.0), size=(1.2, 1.5))
    between = (centroid_mm(found[:, :, 1], SPACING) - centroid_mm(found[:, :, 0], SPACING))       # to the scan: however the crop was centred
    assert np.allclose(between.std(0), [[1.0, 1.0], [3.0, 3.0]], rtol=0.1) and between.mean(0).abs().max() < 0.3
    grown = (found[:, :, 1].sum((2, 3, 4)) / soft(1)[:, :, 1].sum((2, 3, 4))).sqrt()
    for visit, factor in enumerate((1.2, 1.5)):
        own = grown[:, visit]
        assert own.min() >= 0.99 / factor and own.max() <= 1.01 * factor
        assert float(own.log().mean()) == pytest.approx(0.0, abs=0.04)
        assert float(own.log().std()) == pytest.approx(np.log(factor) / np.sqrt(3), rel=0.1)
        moved = between[:, visit].norm(dim=-1)
        large, small = moved[own > 1], moved[own < 1]
        assert float(large.mean() / small.mean()) == pytest.approx(1.0, abs=0.12)


def test_an_outline_moves_by_the_shift_whatever_its_size():
    x = soft(1)[:, :, 1]
    for size in (0.7, 1.0, 1.5):
        found = sample(x, about(centroid_mm(x, SPACING), torch.full((1, 2), size), torch.tensor([[[3.0, 0.0], [0.0, -6.0]]]), (1, 64, 64), SPACING), "zeros")
        assert torch.allclose(centroid_mm(found, SPACING)[0], torch.tensor([[3.0, 0.0], [0.0, -6.0]]), atol=0.05)


def test_the_crop_is_centred_on_the_poor_outlines_as_preparation_centres_it():
    found = poor(soft(200), shift_sd_mm=(1.5, 3.6), size=(1.2, 1.5))
    union = centroid_mm(found[:, :, 1].amax(1, keepdim=True).expand(-1, 2, -1, -1, -1), SPACING)[:, 0]
    assert union.abs().max() <= 0.75                                      # to a voxel of 0.75 mm
    scans_moved = centroid_mm(found[:, :, 0], SPACING)
    assert torch.allclose(scans_moved[:, 0], scans_moved[:, 1], atol=1e-4)     # both visits together
    assert scans_moved.norm(dim=-1).mean() > 1.0


def test_moving_by_voxels_repeats_edges_or_adds_nothing():
    x = torch.arange(2 * 2 * 3 * 4 * 5.0).view(2, 2, 3, 4, 5)
    offset = torch.tensor([[0, 0, 0], [1, -1, 2]])
    edge, zero = (moved_by_voxels(x, offset, outside) for outside in ("edge", "zero"))
    assert edge[0].equal(x[0]) and zero[0].equal(x[0])
    assert edge[1][:, 0, 2, 1].equal(x[1][:, 1, 1, 3]) and edge[1][:, 2, 0, 4].equal(x[1][:, 2, 0, 4])
    assert zero[1][:, 2].abs().max() == 0 and zero[1][:, :, 0].abs().max() == 0 and zero[1][..., 3:].abs().max() == 0
    assert zero[1][:, :2, 1:, :3].equal(x[1][:, 1:, :3, 2:])


def test_slices_are_lost_at_either_end_and_never_all():
    x = torch.zeros(300, 2, 2, 9, 6, 6)
    x[:, 0, 1, 2:7] = 1.0
    x[:, 1, 1, 4:6] = 1.0                                                 # five slices before, two after treatment
    x[:, 0, 1, 2] = 0.3                                                   # a small end slice, whose peak the softening lowered
    drawn = poor(x, dropped_slices=(2, 3))[:, :, 1].amax((-2, -1)) > 0.1
    count = drawn[:, 0].sum(1)
    assert set(count.tolist()) == {1, 2, 3, 4, 5} and abs(float((count == 5).float().mean()) - 1 / 9) < 0.06
    first, last = drawn[:, 0].float().argmax(1), 8 - drawn[:, 0].flip(-1).float().argmax(1)
    assert count.eq(last - first + 1).all()                               # nothing is lost in between
    assert set(drawn[:, 1].sum(1).tolist()) == {1, 2}                     # losing both would leave none: then both stay


def test_without_lost_slices_a_tapered_outline_keeps_its_thinnest_slices():
    x = torch.zeros(1, 2, 2, 8, 6, 6)
    x[:, :, 1] = torch.tensor([0, 0.02, 0.4, 1, 1, 0.6, 0.01, 0])[:, None, None]
    assert torch.allclose(poor(x), x, atol=1e-5)


def test_a_carried_bed_is_the_tumours_outline_as_drawn_and_goes_where_it_goes():
    found, carried = perturb_outlines(crops(), SPACING, replace(ALWAYS, carried=1.0, shift_sd_mm=(2.0, 2.0)), seeded(), 0)
    assert carried.all() and found[:, 1, 1].equal(found[:, 0, 1]) and not torch.allclose(found[:, 0, 1], crops()[:, 0, 1])
    moved = augment(crops(), SPACING, replace(NOTHING, misplaced_mm=5.0, roi_shift_mm=2.0, outlines=replace(ALWAYS, carried=1.0)), seeded())
    assert moved[:, 1, 1].equal(moved[:, 0, 1])                           # the same place of the crop, as carrying goes through the alignment
    assert not torch.allclose(moved[:, 1, 0], augment(crops(), SPACING, NOTHING, seeded())[:, 1, 0], atol=1e-3)
    x = crops()[:1].expand(1000, -1, -1, -1, -1, -1)
    assert abs(float(perturb_outlines(x, SPACING, replace(ALWAYS, carried=0.25), seeded(), 0)[1].float().mean()) - 0.25) < 0.05
    rois = crops()[:, :, 1]
    some = carry(rois, torch.tensor([False, True, False]))
    assert some[1, 1].equal(rois[1, 0]) and some[::2].equal(rois[::2]) and some[:, 0].equal(rois[:, 0])


def test_an_empty_outline_stays_empty():
    x = crops()
    x[:, :, 1] = 0
    found = poor(x, shift_sd_mm=(1.5, 3.6), size=(1.2, 1.5), dropped_slices=(1, 3))
    assert found[:, :, 1].abs().max() == 0 and found[:, :, 0].equal(x[:, :, 0])


def test_what_is_plain_to_see_in_a_changed_case_does_not_tell_its_class():
    """Carried beds and lost slices come in both classes alike under the dynamic rule, which changes the rarer class more often."""
    config = replace(AugmentationConfig(), slice_drop_probability=0.3)
    x, outcome = crops()[:1].expand(1200, -1, -1, -1, -1, -1), torch.arange(1200) % 2
    found = augment(x, SPACING, config, seeded(), probabilities(outcome, (800, 200), 30, config), 30)
    same = (found[:, 0, 1] - found[:, 1, 1]).abs().amax((1, 2, 3)) < 1e-6
    lost = (found[:, :, 0].abs().amax((-2, -1)) == 0).any(-1).any(-1)
    for sign, least in ((same, 0.09), (lost, 0.3)):
        shares = [float(sign[outcome == label].float().mean()) for label in (0, 1)]
        assert min(shares) > least and abs(shares[0] - shares[1]) < 0.06


# --- intensities --------------------------------------------------------------------------------------------------------------------


def test_gamma_is_monais():
    transforms = pytest.importorskip("monai.transforms")
    x, gamma = scans(), torch.tensor([0.7, 1.0, 1.5])
    found = with_gamma(x, gamma)
    for one, curve, own in zip(x, gamma, found):
        expected = transforms.AdjustContrast(float(curve), retain_stats=True)(one[None])[0]
        assert torch.allclose(own, torch.as_tensor(expected), atol=1e-4)
    assert torch.allclose(found[1], x[1], atol=1e-5)
    assert torch.equal(found[2].flatten().argsort(), x[2].flatten().argsort())     # brighter stays brighter


def test_a_bias_field_is_the_polynomial_that_it_says_with_mean_one():
    x = torch.ones(1, 4, 24, 32)
    x[0, 0, 0, 0] = 0.0                                                   # the darkest voxel stands for no signal
    z, y, across = (torch.linspace(-1, 1, size) for size in (4, 24, 32))
    for place, log_field in ((0, across.expand(4, 24, 32)), (1, y[:, None].expand(4, 24, 32)), (2, z[:, None, None].expand(4, 24, 32)),
                             (3, across * y[:, None] + 0 * z[:, None, None]), (8, ((3 * z ** 2 - 1) / 2)[:, None, None].expand(4, 24, 32))):
        weights = torch.zeros(1, 9)
        weights[0, place] = 0.3
        expected = (0.3 * log_field).exp()
        found = with_bias_field(x, weights)[0]
        assert torch.allclose(found[1:], (expected / expected.mean())[1:], atol=1e-5) and float(found[0, 0, 0]) == 0
    assert torch.allclose(with_bias_field(scans(), torch.zeros(3, 9)), scans(), atol=1e-5)


def test_blur_is_a_gaussian_in_millimetres_in_plane_whatever_the_other_cases():
    ndimage = pytest.importorskip("scipy.ndimage")
    x, sigma_mm = torch.randn(2, 3, 40, 48, generator=seeded()), torch.tensor([1.5, 0.6])
    found = blurred(x, sigma_mm, (0.75, 1.0, 3.0), 4.5)
    for one, sigma, own in zip(x.numpy(), sigma_mm.tolist(), found.numpy()):
        expected = ndimage.gaussian_filter(one, (0, sigma / 1.0, sigma / 0.75), mode="nearest", truncate=6.0)
        assert np.abs(own - expected).max() < 0.02 and np.abs(own - one).max() > 0.3
    assert torch.allclose(blurred(x, torch.zeros(2), SPACING, 3.0), x, atol=1e-5)
    assert torch.allclose(blurred(x[1:], sigma_mm[1:], (0.75, 1.0, 3.0), 4.5), found[1:], atol=1e-6)


def test_one_slice_of_a_visit_is_lost_and_outlines_stay():
    found = augment(crops(), SPACING, replace(NOTHING, slice_drop_probability=1.0), seeded())
    empty = found[:, :, 0].abs().amax((-2, -1)) < 1e-6
    assert empty.sum(-1).eq(1).all() and torch.allclose(found[:, :, 1], crops()[:, :, 1], atol=1e-5)
    flat = crops()[:, :, :, :1]
    assert augment(flat, SPACING, replace(NOTHING, slice_drop_probability=1.0), seeded())[:, :, 0].abs().amax((2, 3, 4)).min() > 0    # the only slice stays


@pytest.mark.parametrize("change", [{"gamma_probability": 0.3}, {"bias_field_probability": 0.3}, {"blur_probability": 0.3, "blur_sigma_mm": 5.0}])
def test_intensities_change_in_their_share_of_the_visits_and_never_an_outline(change):
    x = crops()[:1].expand(400, -1, -1, -1, -1, -1)
    found = augment(x, SPACING, replace(NOTHING, **change), seeded())
    changed = (found - x)[:, :, 0].abs().amax((2, 3, 4)) > 1e-3
    assert abs(float(changed.float().mean()) - 0.3) < 0.06 and torch.allclose(found[:, :, 1], x[:, :, 1], atol=1e-5)
    assert abs(float((changed[:, 0] & changed[:, 1]).float().mean()) - 0.09) < 0.05     # each visit by itself
    half = augment(x, SPACING, replace(NOTHING, **change), seeded(), epoch=NOTHING.ramp_epochs / 2)
    assert abs(float(((half - x)[:, :, 0].abs().amax((2, 3, 4)) > 1e-3).float().mean()) - 0.15) < 0.05


def test_augmentation_follows_from_its_seed():
    config = AugmentationConfig(gamma_probability=1.0, bias_field_probability=1.0, blur_probability=1.0, slice_drop_probability=1.0)
    one, again, other = (augment(crops(), SPACING, config, seeded(seed)) for seed in (3, 3, 4))
    assert one.equal(again) and not one.equal(other) and one.isfinite().all()
