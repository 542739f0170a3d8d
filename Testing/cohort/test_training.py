"""Training learns a planted task, learns nothing from shuffled outcomes, and draws its batches fairly."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("lightning.pytorch", reason="training needs the 'cohort' extra")

from MRDeltaNetLib.cohort.statistics import auc_with_ci, youden_threshold  # noqa: E402
from MRDeltaNetLib.cohort.training import BalancedBatches, Crops, ShuffledBatches, TrainingConfig, choose_precision, fit, outputs, scores  # noqa: E402
from MRDeltaNetLib.config import UNPERTURBED, AugmentationConfig  # noqa: E402
from MRDeltaNetLib.errors import InputError, UsageError  # noqa: E402
from MRDeltaNetLib.models.registry import build  # noqa: E402

_spec = importlib.util.spec_from_file_location("planted", Path(__file__).resolve().parents[1] / "planted.py")
planted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(planted)

STILL = AugmentationConfig(rotation_deg=0, scale=0, shift_mm=0, misplaced_mm=0, misplaced_deg=0, misplaced_slices=0, roi_shift_mm=0,
                           roi_scale=0, roi_dropout=0, **UNPERTURBED)


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
