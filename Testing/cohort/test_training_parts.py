"""Rates, moving average, monitor, seeds and the data set of a training follow their formulas."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("lightning.pytorch", reason="training needs the 'cohort' extra")

from MRDeltaNetLib.cohort.training import Crops, TrainingConfig, fit  # noqa: E402
from MRDeltaNetLib.cohort.training.averaging import ExponentialAverage, decay_at  # noqa: E402
from MRDeltaNetLib.cohort.training.module import ResponseTraining, seed_of  # noqa: E402
from MRDeltaNetLib.cohort.training.data import BalancedBatches  # noqa: E402
from MRDeltaNetLib.cohort.training.optimisation import optimisers, parameter_groups, rate_factor  # noqa: E402
from MRDeltaNetLib.cohort.training.pretraining import pretrain, start_from  # noqa: E402
from MRDeltaNetLib.cohort.training.stopping import Monitor, auc, f1, log_loss, uninformed  # noqa: E402
from MRDeltaNetLib.config import UNPERTURBED, AugmentationConfig, LossConfig, PretrainingConfig  # noqa: E402
from MRDeltaNetLib.errors import EnvironmentProblem, InputError, UsageError  # noqa: E402
from MRDeltaNetLib.models.losses import ClassBalancedFocal, response_contrast  # noqa: E402
from MRDeltaNetLib.models.registry import build  # noqa: E402

_spec = importlib.util.spec_from_file_location("planted", Path(__file__).resolve().parents[1] / "planted.py")
planted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(planted)


def network(**settings):
    torch.manual_seed(0)
    return build("deltanet", preset="tiny", crop_mm=(24.0, 24.0, 12.0), **settings)


def cases(count: int, seed: int = 0) -> Crops:
    return Crops(*planted.planted_pairs(count, seed))


# --- optimiser ---------------------------------------------------------------------------------------------------------------------


def test_rates_fall_towards_the_input_and_every_weight_is_in_one_group():
    own = network()
    groups = parameter_groups(own, TrainingConfig(learning_rate=1e-3, layer_decay=0.5, weight_decay=0.1))
    rate = {group["name"]: group["lr"] for group in groups}
    assert rate == {"stem": 1e-3 / 16, "stage1": 1e-3 / 8, "stage2": 1e-3 / 4, "stage3": 1e-3 / 2, "head": 1e-3}
    found = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(found) == sorted(map(id, own.parameters()))
    decayed = {id(parameter) for group in groups if group["weight_decay"] for parameter in group["params"]}
    names = {id(parameter): name for name, parameter in own.named_parameters()}
    assert id(own.head.hidden.weight) in decayed and id(own.encoder.position) not in decayed
    assert not any(names[found].endswith("bias") or "norm" in names[found] for found in decayed)


def test_rates_rise_linearly_and_end_at_a_millionth_after_a_cosine():
    factor = rate_factor(1e-3, steps=100, warm_up=10)
    assert [factor(step) for step in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1.0, 1.0])
    assert factor(99) * 1e-3 == pytest.approx(1e-6)
    middle = 10 + 89 / 2
    assert (factor(math.floor(middle)) + factor(math.ceil(middle))) / 2 == pytest.approx((1 + 1e-3) / 2, rel=1e-3)


def test_warm_up_takes_a_fifth_of_a_short_training_at_most():
    schedule = optimisers(network(), TrainingConfig(warmup_epochs=5), steps_per_epoch=10, epochs=5)["lr_scheduler"]["scheduler"]
    assert schedule.lr_lambdas[0](9) == 1.0 and schedule.lr_lambdas[0](8) < 1.0


# --- moving average ----------------------------------------------------------------------------------------------------------------


def test_the_moving_average_equals_torchs_own_after_the_warm_up_of_its_decay():
    from torch.optim.swa_utils import AveragedModel

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    mine = ExponentialAverage(model, 0.9)
    reference = AveragedModel(model, avg_fn=lambda old, new, n: old * decay_at(int(n), 0.9) + new * (1 - decay_at(int(n), 0.9)))
    reference.update_parameters(model)                    # torch's first update copies; the same weights as at the start
    mine.update(model, 0)
    for step in range(1, 60):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        model(torch.randn(5, 3))
        reference.update_parameters(model)
        mine.update(model, step)
    for found, expected in zip(mine.network.parameters(), reference.module.parameters()):
        assert torch.allclose(found, expected, atol=1e-5) and not found.requires_grad
    assert mine.network[1].num_batches_tracked == 59 and not torch.equal(mine.network[1].running_mean, model[1].running_mean)
    assert [decay_at(step, 0.999) for step in (0, 90)] == [0.1, 0.91] and decay_at(10**6, 0.999) == 0.999


# --- monitor -----------------------------------------------------------------------------------------------------------------------


def test_measures_equal_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    outcome = rng.integers(0, 2, 60)
    logit = np.round(rng.normal(outcome, 1.5), 1)
    assert f1(outcome, logit, 0.3) == pytest.approx(metrics.f1_score(outcome, logit >= 0.3))
    assert auc(outcome, logit) == pytest.approx(metrics.roc_auc_score(outcome, logit))
    assert log_loss(outcome, logit) == pytest.approx(metrics.log_loss(outcome, 1 / (1 + np.exp(-logit))))
    assert f1(outcome, logit, 99.0) == 0.0 and math.isnan(auc(np.ones(3), logit[:3]))
    everyone = np.full(60, 1.0)
    assert uninformed("f1", outcome.mean()) == pytest.approx(metrics.f1_score(outcome, everyone))
    assert uninformed("nll", 0.5) == pytest.approx(-log_loss(outcome, np.zeros(60)))


def test_the_monitor_smooths_breaks_ties_by_log_loss_and_stops_after_patience():
    monitor = Monitor(smoothing=0.6, patience=3, smoothed=0.5)
    assert monitor.update(0, 1.0, 0.7) and monitor.smoothed == pytest.approx(0.7)
    assert not monitor.update(1, 0.6, 0.1) and not monitor.exhausted
    assert monitor.update(2, 0.76, 0.3), "0.6 * 0.66 + 0.4 * 0.76 = 0.7: a tie with the lower log-loss"
    assert not monitor.update(3, 0.7, 0.4), "a tie with the higher log-loss"
    assert not monitor.update(4, 0.2, 0.1) and not monitor.exhausted
    assert not monitor.update(5, 0.2, 0.1) and monitor.exhausted and monitor.best_epoch == 2
    copy = Monitor(0.6, 3, 0.5)
    copy.restore(monitor.state())
    assert copy == monitor


def test_training_stops_when_patience_is_at_its_end(monkeypatch):
    values = iter([0.5, 0.9, 0.8, 0.7, 0.6, 0.5])
    judge = ResponseTraining.judge
    monkeypatch.setattr(ResponseTraining, "judge", lambda self, found: judge(self, found) | {"value": next(values)})
    fitted = fit(network(), cases(8), cases(8, 1), TrainingConfig(epochs=6, batch_size=4, patience=2, smoothing=0.0))
    assert len(fitted.history) == 4 and fitted.best_epoch == 1 and fitted.best_value == 0.9


# --- what is random, and what is learned from ---------------------------------------------------------------------------------------


def test_seeds_of_neighbours_have_nothing_in_common():
    seeds = [seed_of(0, epoch, batch, rank, use) for epoch in range(4) for batch in range(5) for rank in (0, 1) for use in (0, 1)]
    assert len(set(seeds)) == 80 and seed_of(0, 1, 2) == seed_of(0, 1, 2) and max(seeds) < 2**63


def test_training_draws_from_its_own_seed_and_leaves_the_callers_alone():
    found = []
    for before in (1, 2):
        own = network()
        torch.manual_seed(before)
        expected = torch.rand(1, generator=torch.Generator().manual_seed(before))
        fit(own, cases(8), cases(8, 1), TrainingConfig(epochs=1, batch_size=4, seed=5))
        assert torch.rand(1) == expected
        found.append(own.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(*(state.values() for state in found)))


def test_the_loss_is_the_weighted_sum_of_its_parts_and_the_queue_holds_the_newest():
    config = TrainingConfig(batch_size=4, loss=LossConfig(queue=6, auxiliary_weight=0.3, response_weight=0.2, ramp_epochs=2),
                            augmentation=AugmentationConfig(probability_minority=0, probability_majority=0, **UNPERTURBED))
    own = network(dropout=0.0).train()
    crops = cases(8)
    module = ResponseTraining(own, config, BalancedBatches(crops.outcomes, 4, 0), "", Monitor(0.6, 9, 0.5), (4, 4))
    module._trainer = type("Alone", (), {"world_size": 1})()
    module.history = [{}]                                 # second epoch: the ramp stands at one half
    batch = [torch.stack(part) for part in zip(*(crops[k] for k in range(4)))]
    module.terms(*batch, torch.Generator())
    older = module._queue
    terms = module.terms(*batch, torch.Generator())
    output = own(batch[0])
    assert torch.allclose(terms["focal"], ClassBalancedFocal(4, 4)(output.logit, batch[1]), atol=1e-5)
    assert torch.allclose(terms["intensity_decoding"], 0.3 * output.auxiliary["intensity_decoding"], atol=1e-5)
    assert torch.allclose(terms["response"], 0.1 * response_contrast(output.embedding, batch[1], *older), atol=1e-5)
    assert len(module._queue[0]) == 6 and torch.equal(module._queue[1], torch.cat([older[1][-2:], batch[1]]))


def test_memory_maps_travel_to_other_processes_as_names(tmp_path):
    from multiprocessing.reduction import ForkingPickler

    data = np.random.default_rng(0).normal(size=(2, 2, 4, 32, 32)).astype(np.float16)
    np.save(tmp_path / "crop.npy", data)
    crops = Crops([np.load(tmp_path / "crop.npy", mmap_mode="r"), data], np.array([0, 1]))
    sent = bytes(ForkingPickler.dumps(crops))
    assert len(sent) < data.nbytes + 2000
    import pickle

    found = pickle.loads(sent)
    assert isinstance(found.crops[0], np.memmap) and np.array_equal(found.crops[0], data) and np.array_equal(found.crops[1], data)


# --- pretraining --------------------------------------------------------------------------------------------------------------------


def test_pretraining_learns_the_order_of_visits_without_outcomes_and_training_starts_from_it(tmp_path):
    own = network()
    as_they_look = AugmentationConfig(**UNPERTURBED)       # here the visits differ in brightness only
    fitted = pretrain(own, Crops(cases(40).crops), PretrainingConfig(epochs=4),
                      TrainingConfig(batch_size=8, learning_rate=2e-3, augmentation=as_they_look), folder=tmp_path)
    kept = fitted.history[fitted.best_epoch]
    assert kept["validation_right"] == 1.0 and kept["validation_loss"] < 0.3
    torch.manual_seed(1)
    fresh = build("deltanet", preset="tiny", crop_mm=(24.0, 24.0, 12.0))
    last = fresh.head.logit.weight.clone()
    start_from(fresh, tmp_path / "weights.safetensors")
    for (name, found), expected in zip(fresh.state_dict().items(), own.state_dict().values()):
        assert torch.equal(found, expected) or name.startswith("head.logit")
    assert not torch.equal(fresh.head.logit.weight, own.head.logit.weight) and not torch.equal(fresh.head.logit.weight, last)


def test_weights_of_another_network_are_no_start(tmp_path):
    from safetensors.torch import save_file

    other = build("roi_pooled", preset="tiny", crop_mm=(24.0, 24.0, 12.0)).state_dict()
    save_file({name: value.contiguous() for name, value in other.items()}, tmp_path / "other.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    for name, said in (("other.safetensors", "not of this network"), ("broken.safetensors", "")):
        with pytest.raises(InputError) as caught:
            start_from(network(), tmp_path / name)
        assert caught.value.code == "MRD-E766" and said in caught.value.found


def test_a_network_that_cannot_be_pretrained_is_refused():
    for own, crops in ((network(auxiliary=False), cases(8)), (build("roi_pooled", visits="post", preset="tiny", crop_mm=(24.0, 24.0, 12.0)), cases(8)),
                       (network(), cases(1))):
        with pytest.raises(UsageError) as caught:
            pretrain(own, crops)
        assert caught.value.code == "MRD-E771"


# --- several devices ----------------------------------------------------------------------------------------------------------------


def test_more_devices_than_there_are_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(EnvironmentProblem) as caught:
        fit(network(), cases(8), cases(8, 1), TrainingConfig(batch_size=4), accelerator="cuda", devices=2)
    assert caught.value.code == "MRD-E768" and "2 wanted, 1 there" in caught.value.found


@pytest.mark.parametrize("pretrained", [False, True])
def test_augmentation_is_told_the_epoch_from_which_its_ramps_follow(pretrained, monkeypatch):
    from MRDeltaNetLib.cohort.training import module, pretraining

    told, where = [], pretraining if pretrained else module
    whole = where.augment

    def augment(x, spacing_mm, config, generator, probability, epoch):
        told.append((epoch, spacing_mm == tuple(network().geometry.spacing_mm)))
        return whole(x, spacing_mm, config, generator, probability, epoch)

    monkeypatch.setattr(where, "augment", augment)
    config = TrainingConfig(epochs=2, batch_size=4, learning_rate=1e-4)
    if pretrained:
        pretrain(network(), cases(10), PretrainingConfig(epochs=2), config)
    else:
        fit(network(), cases(8), cases(4, 1), config)
    assert {epoch for epoch, _ in told} == {0, 1} and all(same for _, same in told)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tmp_path):
    """Without dropout, augmentation and contrast the mean gradient over two halves of a batch is that of the whole batch."""
    config = TrainingConfig(epochs=2, batch_size=4, ema_decay=0, loss=LossConfig(response_weight=0, identity_weight=0),
                            augmentation=AugmentationConfig(probability_minority=0, probability_majority=0, **UNPERTURBED))
    alone, together, said = network(dropout=0.0), network(dropout=0.0), []
    one = fit(alone, cases(12), cases(8, 1), config)
    two = fit(together, cases(12), cases(8, 1), config, devices=2, folder=tmp_path, progress=lambda *report: said.append(report))
    assert [entry["train_loss"] for entry in two.history] == pytest.approx([entry["train_loss"] for entry in one.history], abs=1e-4)
    for found, expected in zip(together.state_dict().values(), alone.state_dict().values()):
        assert torch.allclose(found, expected, atol=1e-4)
    assert said[-1][0] == 1.0 and (tmp_path / "done.json").exists()


def test_errors_of_a_process_are_told_as_they_are_and_a_silent_end_too():
    from multiprocessing import Pipe

    from MRDeltaNetLib.cohort.training.distributing import _listen

    receivers, senders = zip(*(Pipe(duplex=False) for _ in range(2)))
    said = []
    senders[0].send(("progress", (0.5, "epoch 1")))
    senders[0].send(("done", None))
    senders[1].send(("error", ("InputError", "Training diverged", {"code": "MRD-E761", "found": "in epoch 1", "fix": "lower it"})))
    with pytest.raises(InputError) as caught:
        _listen(list(receivers), lambda *report: said.append(report))
    assert caught.value.code == "MRD-E761" and caught.value.found == "in epoch 1"
    senders[1].close()
    with pytest.raises(EOFError):
        _listen([receivers[1]], lambda *report: None)


def test_a_process_that_ends_without_a_word_is_told():
    from types import SimpleNamespace

    from MRDeltaNetLib.cohort.training import distributing

    with pytest.raises(EnvironmentProblem) as caught:
        distributing.train_in_processes(SimpleNamespace(devices=1), lambda *report: None)          # no job: the process fails at once
    assert caught.value.code == "MRD-E772" and "1" in caught.value.found
