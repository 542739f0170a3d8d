"""Training learns a planted task, learns nothing from shuffled outcomes, and draws its batches fairly."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("lightning.pytorch", reason="training needs the 'cohort' extra")

from MRDeltaNetLib.cohort.augmentation import _affine, _sample, augment, probabilities, ramp  # noqa: E402
from MRDeltaNetLib.cohort.statistics import auc_with_ci, youden_threshold  # noqa: E402
from MRDeltaNetLib.cohort.training import BalancedBatches, Crops, ShuffledBatches, TrainingConfig, choose_precision, fit, outputs, scores  # noqa: E402
from MRDeltaNetLib.config import AugmentationConfig  # noqa: E402
from MRDeltaNetLib.errors import InputError, UsageError  # noqa: E402
from MRDeltaNetLib.models.registry import build  # noqa: E402

_spec = importlib.util.spec_from_file_location("planted", Path(__file__).resolve().parents[1] / "planted.py")
planted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(planted)

STILL = AugmentationConfig(rotation_deg=0, scale=0, shift_mm=0, misplaced_mm=0, misplaced_deg=0, misplaced_slices=0, roi_shift_mm=0,
                           roi_scale=0, roi_dropout=0)
NOTHING = replace(STILL, flip=0, gain_sd=0, offset_sd=0, noise_sd=0)
SPACING = (0.75, 0.75, 3.0)


@pytest.fixture(scope="module")
def tasks():
    return {name: planted.planted_pairs(count, seed) for seed, (name, count) in enumerate({"training": 128, "validation": 32, "test": 150}.items())}


def learned(tasks, outcomes, epochs):
    torch.manual_seed(0)
    network = build("deltanet", preset="tiny", crop_mm=(24.0, 24.0, 12.0))
    config = TrainingConfig(epochs=epochs, learning_rate=2e-3, augmentation=STILL)
    fitted = fit(network, Crops(tasks["training"][0], outcomes), Crops(*tasks["validation"]), config)
    return network, fitted


def test_a_planted_task_that_needs_both_scans_is_learned(tasks):
    network, fitted = learned(tasks, tasks["training"][1], epochs=6)
    outcome = tasks["test"][1]
    auc, lower, _ = auc_with_ci(outcome, scores(network, Crops(*tasks["test"])))
    wrong, _, _ = auc_with_ci(outcome, scores(network, Crops(*tasks["test"]), pre_of=np.roll(np.arange(len(outcome)), 1)))
    assert lower > planted.POST_ALONE_AUC, f"AUC {auc:.3f}"
    assert wrong < planted.POST_ALONE_AUC, "the baseline of another patient must cost accuracy"
    assert [entry["epoch"] for entry in fitted.history] == list(range(6)) and np.isfinite(fitted.history[-1]["train_loss"])
    assert {"train_focal", "train_intensity_decoding", "train_response", "train_identity"} <= fitted.history[-1].keys()
    assert "train_response" not in fitted.history[0], "contrast rises from 0"
    assert not network.training and fitted.best_value == max(entry["monitor"] for entry in fitted.history)


def test_shuffled_outcomes_teach_nothing(tasks):
    shuffled = np.random.default_rng(3).permutation(tasks["training"][1])
    network, _ = learned(tasks, shuffled, epochs=3)
    auc, _, _ = auc_with_ci(tasks["test"][1], scores(network, Crops(*tasks["test"])))
    assert auc < planted.POST_ALONE_AUC


def test_balanced_batches_hold_both_classes_alike_and_go_once_through_the_larger():
    outcomes = np.array([0] * 21 + [1] * 5)
    batches = list(BalancedBatches(outcomes, 8, seed=0))
    assert len(batches) == 6 and all(outcomes[batch].sum() == 4 and len(batch) == 8 for batch in batches)
    assert set(np.concatenate(batches)) == set(range(26))


@pytest.mark.parametrize("make", [lambda **place: BalancedBatches(np.array([0] * 21 + [1] * 5), 8, seed=3, **place),
                                  lambda **place: ShuffledBatches(26, 8, seed=3, **place)])
def test_batches_follow_from_seed_and_epoch_alone_and_ranks_share_each_batch(make):
    whole = make()
    first = list(whole)
    assert list(whole) == first, "the same epoch twice"
    whole.set_epoch(1)
    assert list(whole) != first
    parts = [list(make(rank=rank, ranks=2)) for rank in (0, 1)]
    assert [sorted(a + b) for a, b in zip(*parts)] == [sorted(batch) for batch in first]
    assert {len(batch) for part in parts for batch in part} == {4}


def test_each_rank_gets_both_classes_alike():
    outcomes = np.array([0] * 21 + [1] * 5)
    assert all(outcomes[batch].sum() == 2 for rank in (0, 1) for batch in BalancedBatches(outcomes, 8, 0, rank=rank, ranks=2))


def test_without_balance_an_epoch_holds_every_case():
    drawn = np.concatenate(list(ShuffledBatches(26, 8, seed=0)))
    assert len(drawn) == 32 and set(drawn) == set(range(26))


@pytest.mark.parametrize(("batch_size", "ranks"), [(7, 1), (0, 1), (6, 2)])
def test_a_batch_that_cannot_be_shared_equally_is_refused(batch_size, ranks):
    with pytest.raises(UsageError) as caught:
        BalancedBatches(np.arange(10) % 2, batch_size, 0, ranks=ranks)
    assert caught.value.code == "MRD-E767" and str(2 * ranks) in caught.value.fix


def test_training_on_one_class_is_refused():
    with pytest.raises(InputError) as caught:
        BalancedBatches(np.zeros(10), 4, seed=0)
    assert caught.value.code == "MRD-E760" and "missing class" in caught.value.fix


def test_cases_without_an_outcome_and_validation_cases_of_one_class_are_refused(tasks):
    crops, outcomes = tasks["validation"]
    network = build("deltanet", preset="tiny", crop_mm=(24.0, 24.0, 12.0))
    for training, validation in ((Crops(crops), Crops(crops, outcomes)), (Crops(crops, outcomes), Crops(crops, np.zeros(len(crops))))):
        with pytest.raises(InputError) as caught:
            fit(network, training, validation)
        assert caught.value.code == "MRD-E760"


@pytest.mark.parametrize("config", [TrainingConfig(monitor="accuracy"), TrainingConfig(epochs=0)])
def test_settings_that_mean_nothing_are_refused(tasks, config):
    with pytest.raises(UsageError) as caught:
        fit(build("deltanet", preset="tiny", crop_mm=(24.0, 24.0, 12.0)), Crops(*tasks["validation"]), Crops(*tasks["validation"]), config)
    assert caught.value.code == "MRD-E769"


def test_bfloat16_on_a_cpu_is_refused_for_crops_where_its_gradient_is_wrong(tasks):
    network = build("deltanet", preset="tiny", crop_mm=(24.0, 24.0, 12.0))
    with pytest.raises(UsageError) as caught:
        fit(network, Crops(*tasks["training"]), Crops(*tasks["validation"]), TrainingConfig(precision="bf16-mixed"))
    assert caught.value.code == "MRD-E762" and "32-true" in caught.value.fix


def test_auto_takes_bfloat16_only_on_a_gpu_that_has_it_and_a_cpu_only_where_it_is_sound(monkeypatch):
    flat, wide = (build("deltanet", preset="tiny", crop_mm=crop) for crop in ((48.0, 48.0, 12.0), (48.0, 48.0, 24.0)))
    assert choose_precision("auto", wide, "cpu") == choose_precision("auto", wide, "mps") == "32-true"
    for there in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda there=there, **_: there)
        assert choose_precision("auto", wide, "cuda") == ("bf16-mixed" if there else "32-true")
    assert choose_precision("bf16-mixed", wide, "cpu") == "bf16-mixed"
    with pytest.raises(UsageError, match="MRD-E762"):
        choose_precision("bf16-mixed", flat, "cpu")
    wide.encoder.stem.append(torch.nn.Conv3d(32, 32, 5, padding=2))
    with pytest.raises(UsageError, match="MRD-E762"):
        choose_precision("bf16-mixed", wide, "cpu")


def test_training_that_diverges_is_said_and_gives_no_network(tasks):
    network = build("deltanet", preset="tiny", crop_mm=(24.0, 24.0, 12.0))
    broken = tasks["training"][0][:16].copy()
    broken[:, 0, 0, 0, 0, 0] = np.nan
    with pytest.raises(InputError) as caught:
        fit(network, Crops(broken, np.arange(16) % 2), Crops(*tasks["validation"]), TrainingConfig(epochs=1, batch_size=4))
    assert caught.value.code == "MRD-E761" and "learning rate" in caught.value.fix


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
    place = _affine(quarter, torch.ones(1, 2), torch.ones(1, 2), torch.zeros(1, 2, 2), torch.zeros(1, 2), (1, 64, 96), SPACING)
    found = _sample(x[:, :, 0], place, "zeros")[0, 0, 0]
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


def test_auc_equals_scikit_learn_and_delongs_interval_the_published_one():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    outcome = rng.integers(0, 2, 90)
    score = np.round(rng.normal(outcome, 1.0), 1)                         # rounded: with ties
    auc, lower, upper = auc_with_ci(outcome, score)
    assert auc == pytest.approx(metrics.roc_auc_score(outcome, score)) and lower < auc < upper


def test_delong_variance_equals_the_slow_double_loop():
    rng = np.random.default_rng(1)
    high, low = rng.normal(1, 1, 12), rng.normal(0, 1, 17)
    win = lambda a, b: 1.0 if a > b else 0.5 if a == b else 0.0
    v_high = [sum(win(a, b) for b in low) / 17 for a in high]
    v_low = [sum(win(a, b) for a in high) / 12 for b in low]
    auc = sum(v_high) / 12
    variance = sum((v - auc) ** 2 for v in v_high) / 11 / 12 + sum((v - auc) ** 2 for v in v_low) / 16 / 17
    half = 1.959964 * variance**0.5 / (auc * (1 - auc))
    expected = 1 / (1 + np.exp(-(np.log(auc / (1 - auc)) + half)))
    found = auc_with_ci(np.r_[np.ones(12), np.zeros(17)], np.r_[high, low])
    assert found[0] == pytest.approx(auc) and found[2] == pytest.approx(expected, rel=1e-5)


def test_an_auc_of_one_class_is_refused():
    with pytest.raises(ValueError, match="two cases of each class"):
        auc_with_ci([1, 1, 1, 0], [1, 2, 3, 4])


def test_youden_threshold_separates_what_can_be_separated():
    assert youden_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9]) == pytest.approx(0.4)


def test_outputs_of_an_ensemble_hold_its_members_and_their_mean(tasks):
    torch.manual_seed(0)
    network = build("roi_pooled", members=2, preset="tiny", crop_mm=(24.0, 24.0, 12.0))
    cases = Crops(tasks["test"][0][:5])
    logit, embedding, members = outputs(network, cases, batch_size=2)
    assert members.shape == (5, 2) and np.allclose(members.mean(1), logit, atol=1e-6) and embedding.shape[0] == 5
    assert np.allclose(scores(network, cases, batch_size=5), logit, atol=1e-5) and outputs(network.members[0], cases)[2] is None
