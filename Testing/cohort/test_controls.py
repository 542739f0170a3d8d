"""Each control finds what was planted for it: on networks whose rule is known, and once through the whole command with trained rivals."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning.pytorch", reason="controls need the 'cohort' extra")

from MRDeltaNetLib.cohort.controls import CONTROLS, run_controls, running, story  # noqa: E402
from MRDeltaNetLib.cohort.controls.changing import CHANGES, changed, network_logits, other_patients, random_roi  # noqa: E402
from MRDeltaNetLib.cohort.controls.figure import draw  # noqa: E402
from MRDeltaNetLib.cohort.controls.selection import select  # noqa: E402
from MRDeltaNetLib.cohort.controls.training import network_of, training_config  # noqa: E402
from MRDeltaNetLib.cohort.statistics import auc_with_ci  # noqa: E402
from MRDeltaNetLib.cohort.tabular import features  # noqa: E402
from MRDeltaNetLib.cohort.study.folder import locked  # noqa: E402
from MRDeltaNetLib.config import UNPERTURBED, AugmentationConfig, LossConfig, OutlineErrorConfig, PreprocessingConfig, TrainingConfig  # noqa: E402
from MRDeltaNetLib.errors import Cancelled, EnvironmentProblem, InputError, UsageError  # noqa: E402
from MRDeltaNetLib.io.bundle import Bundle  # noqa: E402
from MRDeltaNetLib.models import registry  # noqa: E402
from MRDeltaNetLib.models.output import NetworkOutput  # noqa: E402

_spec = importlib.util.spec_from_file_location("made_up_cohort", Path(__file__).with_name("made_up_cohort.py"))
made_up = importlib.util.module_from_spec(_spec)
sys.modules["made_up_cohort"] = made_up
_spec.loader.exec_module(made_up)

PREPROCESSING = PreprocessingConfig(crop_mm=made_up.CROP_MM)
SETTINGS = {"spacing_mm": list(made_up.SPACING_MM), "crop_mm": list(made_up.CROP_MM), "preset": "tiny"}
STILL = AugmentationConfig(flip=0, rotation_deg=0, scale=0, shift_mm=0, misplaced_mm=0, misplaced_deg=0, misplaced_slices=0, roi_shift_mm=0, roi_scale=0,
                           roi_dropout=0, gain_sd=0, offset_sd=0, noise_sd=0,
                           **UNPERTURBED)
QUICK = TrainingConfig(epochs=3, warmup_epochs=1, batch_size=16, learning_rate=3e-3, ema_decay=0.0, monitor="auc", smoothing=0.0, precision="32-true",
                       loss=LossConfig(response_weight=0.0, identity_weight=0.0), augmentation=STILL)


class Rule(torch.nn.Module):
    """A network whose rule is known: rule(mean pre signal in its ROI, mean post signal in its ROI)."""

    def __init__(self, rule):
        super().__init__()
        self.rule = rule

    def forward(self, x):
        inside = (x[:, :, 0] * x[:, :, 1]).sum((2, 3, 4)) / x[:, :, 1].sum((2, 3, 4)).clamp(min=1e-6)
        nothing = torch.zeros(len(x), 1, 1, 1)
        return NetworkOutput(self.rule(inside[:, 0], inside[:, 1]), nothing, nothing, nothing, inside)


def bundle_of(network, settings, name="roi_pooled", **own):
    metadata = {"version": "1", "mrdeltanet": {"network": {"name": name, "settings": settings}, "preprocessing": json.loads(json.dumps(PREPROCESSING.__dict__))} | own}
    return Bundle(metadata=metadata, weights=network.state_dict(), golden={}, card="", weights_sha256="0" * 64, sha256="1" * 64)


def untrained(**own):
    torch.manual_seed(0)
    return bundle_of(registry.build("roi_pooled", **SETTINGS, auxiliary=False), SETTINGS | {"auxiliary": False}, **own)


def auc(network, prepared, name):
    return auc_with_ci(features.outcomes(prepared), network_logits(network, changed(name, prepared, PREPROCESSING, seed=0)))[0]


@pytest.fixture(scope="module")
def pairs():
    return made_up.cohort(90, 1, sets=("internal",), pair=1.0)


def test_a_rule_on_the_change_needs_this_patients_baseline_the_order_and_the_place(pairs):
    found = {name: auc(Rule(lambda pre, post: post - pre), pairs, name) for name in ("model", *CHANGES)}
    assert found["model"] > 0.95
    assert 0.6 < found["wrong_patient_baseline"] < 0.85                   # post alone: shift 1 of spread 1 and somebody else's spread on top
    assert found["swapped_times"] == pytest.approx(1 - found["model"], abs=1e-9)
    assert found["random_roi"] < found["model"] - 0.1                     # the crop is small, so a random place still covers some of the bed


def test_a_rule_on_one_visit_is_seen_through(pairs):
    post = {name: auc(Rule(lambda pre, post: post), pairs, name) for name in ("model", *CHANGES)}
    assert post["wrong_patient_baseline"] == post["model"] > 0.65
    pre = Rule(lambda pre, post: pre)
    assert auc(pre, pairs, "model") == post["swapped_times"] < post["model"] == auc(pre, pairs, "swapped_times")


def test_an_unsigned_rule_does_not_tell_before_from_after(pairs):
    rule = Rule(lambda pre, post: (post - pre).abs())
    assert auc(rule, pairs, "swapped_times") == auc(rule, pairs, "model") > 0.9


def test_changing_leaves_the_cohort_as_it_was(pairs):
    before = [np.array(crop) for crop in pairs.crops[:5]]
    for name in CHANGES:
        view = changed(name, pairs, PREPROCESSING, seed=0)
        shown = [view[k] for k in range(5)]
        assert all(crop.shape == (2, 2, *made_up.VOXELS) and crop.dtype == np.float32 for crop in shown)
    assert all(np.array_equal(a, b) for a, b in zip(before, pairs.crops[:5]))


@pytest.mark.parametrize("sets", [["internal"] * 7, ["internal"] * 5 + ["external"] * 6, ["internal"] * 5 + ["external"], ["internal", "external"]])
def test_nobody_keeps_his_own_baseline_and_everybodys_is_used_once(sets):
    for seed in range(20):
        other = other_patients(sets, seed)
        assert (other != np.arange(len(sets))).all() and sorted(other) == list(range(len(sets)))
        if min(sets.count(name) for name in set(sets)) > 1:
            assert all(sets[k] == sets[int(other[k])] for k in range(len(sets)))
    assert np.array_equal(other_patients(sets, 3), other_patients(sets, 3))
    with pytest.raises(ValueError):
        other_patients(["internal"], 0)


def a_crop(radius=5.0, at=(2, 10, 12), voxels=(6, 32, 32)):
    z, y, x = np.mgrid[:voxels[0], :voxels[1], :voxels[2]]
    crop = np.random.default_rng(0).normal(size=(2, 2, *voxels)).astype(np.float32)
    crop[0, 1] = ((y - at[1]) ** 2 + (x - at[2]) ** 2 <= radius**2) & (abs(z - at[0]) <= 1)
    crop[1, 1] = crop[0, 1] * (y > at[1])
    return crop


def test_a_random_roi_has_the_volume_and_flatness_of_the_true_one_and_lies_elsewhere():
    crop, hard = a_crop(), replace(PREPROCESSING, roi_sigma_mm=1e-3)
    for seed in range(10):
        found = random_roi(crop, hard, np.random.default_rng(seed))
        assert np.array_equal(found[:, 0], crop[:, 0])
        for time in (0, 1):
            assert (found[time, 1] >= 0.5).sum() == crop[time, 1].sum()
            assert ((found[time, 1] >= 0.5) & (crop[time, 1] > 0)).sum() <= 0.3 * crop[time, 1].sum()
        middle = [np.argwhere(found[time, 1] >= 0.5).mean(0) for time in (0, 1)]
        assert np.abs(middle[0] - middle[1]).max() < 1.5                  # the same place in both visits
        assert np.ptp(np.argwhere(found[0, 1] >= 0.5)[:, 0]) <= 3         # flat stays flat: three slices were marked
    soft = random_roi(crop, PREPROCESSING, np.random.default_rng(0))
    assert soft[:, 1].max() <= 1 and ((soft[0, 1] > 0.01) & (soft[0, 1] < 0.99)).any()


def test_a_random_roi_is_drawn_by_case_and_an_empty_one_stays_empty(pairs):
    one = changed("random_roi", pairs, PREPROCESSING, 0)
    turned = features.subset(pairs, range(len(pairs.rows) - 1, -1, -1))
    assert np.array_equal(one[3], changed("random_roi", turned, PREPROCESSING, 0)[len(pairs.rows) - 4])
    assert not np.array_equal(one[3], changed("random_roi", pairs, PREPROCESSING, 1)[3])
    crop = a_crop()
    crop[1, 1] = 0
    found = random_roi(crop, PREPROCESSING, np.random.default_rng(0))
    assert found[1, 1].max() == 0 and found[0, 1].max() > 0.5
    crop[0, 1] = 0
    assert np.array_equal(random_roi(crop, PREPROCESSING, np.random.default_rng(0)), crop)


def test_a_roi_that_fills_the_crop_still_gets_a_place():
    crop = a_crop()
    crop[:, 1] = 1
    assert np.isfinite(random_roi(crop, PREPROCESSING, np.random.default_rng(0))).all()


def test_held_out_rows_are_those_of_the_other_sets_and_training_rows_never_are():
    prepared = made_up.cohort(30, 0, sets=("train", "internal", "external"))
    chosen = select(untrained(), prepared)
    assert {row.set for row in chosen.held_out.rows} == {"internal", "external"} and {row.set for row in chosen.training.rows} == {"train"}
    unknown = replace(prepared, rows=(*prepared.rows[:-1], replace(prepared.rows[-1], outcome=None)))
    assert select(untrained(), unknown).without_outcome == 1 and len(select(untrained(), unknown).held_out.rows) == 19


def test_only_training_rows_are_refused_with_the_remedy():
    """Also where the bundle knows none of them: other versions or settings make other keys and crops of the same patients."""
    prepared = made_up.cohort(30, 0)
    for known in ([], list(prepared.keys), ["f" * 64]):
        with pytest.raises(InputError) as caught:
            select(untrained(training_keys=known), prepared)
        assert caught.value.code == "MRD-E790" and "held-out rows" in caught.value.fix and "oof.csv" in caught.value.fix


def test_a_held_out_case_that_was_trained_on_is_refused_with_its_line():
    prepared = made_up.cohort(30, 0, sets=("train", "internal"))
    facts = tuple(facts | {"crop": {"sha256": f"{k:064x}"}, "scans_sha256": {"pre": f"{k + 100:064x}", "post": f"{k + 200:064x}"}}
                  for k, facts in enumerate(prepared.facts))
    for own in ({"training_keys": [prepared.keys[3]]}, {"training_crops_sha256": [f"{3:064x}"]},      # the same crop under another key too
                {"training_scans_sha256": [f"{103:064x}"]}, {"training_keys": ["f" * 64], "training_scans_sha256": [f"{203:064x}"]}):
        with pytest.raises(InputError) as caught:
            select(untrained(**own), replace(prepared, facts=facts))
        assert caught.value.code == "MRD-E792" and "line 5" in caught.value.found


def test_too_few_held_out_cases_and_no_training_rows_are_refused(tmp_path):
    few = made_up.cohort(30, 0)
    rows = [replace(row, set="internal") if k < 3 else row for k, row in enumerate(few.rows)]
    with pytest.raises(InputError) as caught:
        select(untrained(), replace(few, rows=tuple(rows)))
    assert caught.value.code == "MRD-E792"
    with pytest.raises(InputError) as caught:
        run_controls(untrained(), made_up.cohort(30, 0, sets=("internal",)), tmp_path)
    assert caught.value.code == "MRD-E791" and "wrong_patient_baseline" in caught.value.fix
    with pytest.raises(UsageError) as caught:
        run_controls(untrained(), made_up.cohort(30, 0, sets=("internal",)), tmp_path, only=("volume",))
    assert caught.value.code == "MRD-E793" and "volume_only" in caught.value.fix


def test_rivals_are_trained_as_the_bundle_says():
    stored = {"epochs": 7, "learning_rate": 1e-3, "loss": {"gamma": 2, "beta": 0.9, "unknown": 1}, "augmentation": {"flip": 0.0}, "auxiliary_weight": 9, "monitor": 3}
    found = training_config(untrained(training=stored))
    assert found == TrainingConfig(epochs=7, learning_rate=1e-3, loss=LossConfig(gamma=2, beta=0.9), augmentation=AugmentationConfig(flip=0.0, **UNPERTURBED))
    for beta in (True, "0.9", float("inf"), None):
        assert training_config(untrained(training={"loss": {"beta": beta}})).loss == LossConfig()
    assert training_config(untrained(training={"config": {"training": {"epochs": 5}}})).epochs == 5
    assert training_config(untrained()) == TrainingConfig()
    for wrong in ({"gamma": [0, 0]}, {"gamma": [1]}, {"outlines": {"dropped_slices": [-5, -5]}}, {"outlines": {"dropped_slices": [2.7, 1]}}, {"outlines": 3}):
        assert training_config(untrained(training={"augmentation": wrong})).augmentation == AugmentationConfig(**UNPERTURBED)
    poor = {"outlines": {"probability": 0.3, "dropped_slices": [0, 2], "size": [1.1, 1.3]}}
    assert training_config(untrained(training={"augmentation": poor})).augmentation.outlines == OutlineErrorConfig(probability=0.3, dropped_slices=(0, 2), size=(1.1, 1.3))
    bundle = bundle_of(torch.nn.Identity(), SETTINGS | {"members": 5, "auxiliary": False, "compare": "full"}, name="deltanet")
    assert network_of("shuffled_labels", bundle) == ("deltanet", SETTINGS | {"compare": "full"})
    assert network_of("post_only", bundle) == ("roi_pooled", SETTINGS | {"visits": "post"})


def numbers(model=0.86, half=0.05, **losses):
    """Results in which each control loses what is said, significantly if it is more than 0.08."""
    found = {"model": {"auc": model, "ci": [model - half, model + half]}}
    for name in CONTROLS:
        loss = losses.get(name, 0.3)
        found[name] = {"auc": model - loss, "ci": [model - loss - half, model - loss + half], "difference": -loss, "delong_p": 1e-5 if loss > 0.08 else 0.4}
    return found


def test_the_sentence_says_what_is_needed_when_everything_else_loses():
    text = story.sentence(numbers(post_only=0.20), 120, 40)
    assert text.startswith("On 120 held-out cases (40 with pCR) the model (AUC 0.86, 0.81 to 0.91) needs both scans: post only loses 0.20 (p < 0.001)")
    assert "volume alone 0.30" in text and text.count(".") == text.rstrip(".").count(".") + 1


@pytest.mark.parametrize("name,words", [("volume_only", "no better than volume alone"), ("shuffled_labels", "cannot be told from a network that was trained on shuffled"),
                                        ("scanner_only", "may follow the scanner"), ("post_only", "no better than the post-treatment scan alone"),
                                        ("pre_only", "no better than the pre-treatment"), ("wrong_patient_baseline", "does not use the pair"),
                                        ("swapped_times", "does not tell before from after"), ("random_roi", "does not need the outlines")])
def test_the_sentence_names_each_control_that_the_model_does_not_beat(name, words):
    text = story.sentence(numbers(**{name: 0.01}), 120, 40)
    assert words in text and "p = 0.40" in text
    assert ("needs both scans" in text) == (name == "random_roi")         # outlines are another matter than scans


def test_the_sentence_tells_what_the_one_scan_rivals_had_less_of():
    """An ensemble beats its own single members; a rival of one short training says little about what the model needs."""
    stored = {"pretrained": True, "training": {"epochs": 40}}
    bundle = bundle_of(torch.nn.Identity(), SETTINGS | {"members": 5, "auxiliary": False}, name="deltanet")
    bundle.own["training"] = stored
    found = running._handicaps(bundle, TrainingConfig(epochs=3), 1, ("post_only",))
    assert found == ("1 network against 5", "3 epochs against 40", "no pretraining")
    text = story.sentence(numbers(), 120, 40, found)
    assert "needs both scans" in text and "the one-scan rivals had less: 1 network against 5, 3 epochs against 40 and no pretraining." in text
    bundle.own["training"] = {"pretrained": False, "training": {"epochs": 40}}
    assert running._handicaps(bundle, TrainingConfig(epochs=40), 5, ("post_only",)) == ()
    assert running._handicaps(bundle, TrainingConfig(epochs=3), 1, ("volume_only", "swapped_times")) == ()
    assert running._handicaps(untrained(), TrainingConfig(epochs=3), 1, ("post_only",)) == ()


def test_a_better_control_is_no_loss_even_when_it_is_significant():
    results = numbers()
    results["volume_only"] |= {"auc": 0.95, "difference": 0.09, "delong_p": 1e-4}
    assert "no better than volume alone (difference +0.09, p < 0.001)" in story.sentence(results, 120, 40)


def test_too_few_cases_are_not_taken_for_no_difference():
    results = numbers(wrong_patient_baseline=0.05)
    results["wrong_patient_baseline"]["difference_ci"] = [-0.30, 0.20]
    text = story.sentence(results, 10, 5)
    assert "too few to tell whether it is better than another patient's baseline (difference -0.05, p = 0.40)" in text
    assert "does not use the pair" not in text and "needs both scans" not in text
    results["wrong_patient_baseline"]["difference_ci"] = [-0.09, 0.02]
    assert "does not use the pair" in story.sentence(results, 400, 100)
    results["volume_only"] = results["volume_only"] | {"difference": -0.05, "delong_p": 0.3, "difference_ci": [-0.15, 0.05]}
    both = story.sentence(results, 400, 100)
    assert "does not use the pair" in both and "too few to tell whether it is better than volumes only" in both


@pytest.mark.parametrize("pcr, others", [(2, 2), (4, 30), (30, 4)])
def test_nothing_is_claimed_of_a_handful_of_cases_however_perfect_the_numbers(pcr, others):
    outcome = np.r_[np.ones(pcr), np.zeros(others)].astype(int)
    scores = {name: outcome + 0.01 * np.arange(len(outcome)) for name in ("model", "shuffled_labels", "scanner_only")} | {"swapped_times": -outcome.astype(float)}
    found = running._judged(outcome, scores, ())
    assert all(low < auc or high > auc for auc, (low, high) in ((result["auc"], result["ci"]) for result in found.results.values()))
    assert "too few to say anything" in found.sentence and not any(word in found.sentence for word in ("needs both", "leak", "above chance", "headers", "better than"))
    assert all(np.isfinite(result["delong_p"]) for name, result in found.results.items() if name != "model")


def test_perfect_rivals_of_enough_cases_are_still_told():
    outcome = np.repeat([1, 0], 15)
    found = running._judged(outcome, {"model": outcome + 0.0, "shuffled_labels": outcome + 0.01 * np.arange(30), "swapped_times": -outcome.astype(float)}, ())
    assert "check for a leak" in found.sentence and found.results["swapped_times"]["delong_p"] < 1e-3


def test_chance_and_leaks_are_said_first_and_last():
    assert "cannot be told from chance" in story.sentence(numbers(model=0.53), 60, 20)
    leak = story.sentence(numbers(shuffled_labels=0.1), 60, 20)
    assert "needs both scans" in leak and "check for a leak" in leak
    assert "headers alone tell outcomes apart" in story.sentence(numbers(scanner_only=0.1), 60, 20)


def test_with_some_controls_only_no_more_is_claimed_than_was_tested():
    results = {name: numbers()[name] for name in ("model", "swapped_times")}
    text = story.sentence(results, 60, 20)
    assert "needs both scans" not in text and "every control that was asked for: visits swapped loses 0.30" in text
    alone = story.sentence({name: numbers(random_roi=0.01)[name] for name in ("model", "random_roi")}, 60, 20)
    assert "0.91), as far as these cases can show, does no worse with a ROI at a random place" in alone and "every control" not in alone


def test_the_figure_holds_every_line(tmp_path):
    png, svg = draw(tmp_path, numbers(volume_only=0.01), "One sentence.")
    text = svg.read_text()
    assert all(title in text for title in story.TITLES.values()) and "One sentence." in text and "not worse" in text
    assert png.read_bytes()[:4] == b"\x89PNG"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A model that was trained on a planted pair effect, and all its controls."""
    from MRDeltaNetLib.cohort.training import Crops, fit

    prepared = made_up.cohort(170, 3, sets=("train", "internal"), pair=1.4)
    chosen = [np.flatnonzero([row.set == name for row in prepared.rows]) for name in ("train", "internal")]
    outcome = features.outcomes(prepared)
    crops = [Crops([prepared.crops[k] for k in rows], outcome[rows]) for rows in (chosen[0][:65], chosen[0][65:])]
    torch.manual_seed(0)
    network = registry.build("roi_pooled", **SETTINGS)
    fit(network, *crops, replace(QUICK, epochs=10))
    kept = registry.build("roi_pooled", **SETTINGS, auxiliary=False)
    kept.load_state_dict({name: value for name, value in network.state_dict().items() if name in kept.state_dict()})
    bundle = bundle_of(kept, SETTINGS | {"auxiliary": False}, training=json.loads(json.dumps(QUICK.__dict__, default=lambda c: c.__dict__)))
    out = tmp_path_factory.mktemp("controls")
    return bundle, prepared, out, run_controls(bundle, prepared, out)


def test_a_trained_model_of_the_pair_is_told_from_all_its_rivals(whole):
    _, _, _, found = whole
    aucs = {name: result["auc"] for name, result in found.results.items()}
    assert aucs["model"] > 0.85, aucs
    assert all(abs(aucs[name] - 0.5) < 0.14 for name in ("volume_only", "pre_only", "scanner_only")), aucs
    assert 0.6 < aucs["post_only"] < aucs["model"] - 0.05 and aucs["wrong_patient_baseline"] < aucs["model"] - 0.1 and aucs["swapped_times"] < 0.5, aucs
    assert "needs both scans" in found.sentence or "outlines" in found.sentence, found.sentence


def test_the_files_say_what_was_found(whole):
    _, prepared, out, found = whole
    stored = json.loads((out / "controls.json").read_text())
    assert set(stored) == {"model", "volume_only", "pre_only", "post_only", "wrong_patient_baseline", "swapped_times", "shuffled_labels", "random_roi", "scanner_only"}
    assert stored == json.loads(json.dumps(found.results))
    assert all(set(entry) >= {"auc", "ci", "delong_p", "difference"} and entry["ci"][0] <= entry["auc"] <= entry["ci"][1] for name, entry in stored.items() if name != "model")
    for name, entry in stored.items():
        if name != "model":
            assert entry["difference"] == pytest.approx(entry["auc"] - stored["model"]["auc"], abs=3e-6)
    table = list(csv.DictReader((out / "controls.csv").open()))
    assert [row["score"] for row in table] == ["model", *CONTROLS] and float(table[1]["auc"]) == stored["volume_only"]["auc"]
    text = (out / "controls.txt").read_text()
    assert text.startswith(found.sentence) and "Held-out cases: 85" in text and "Hanley-McNeil" in text
    everything = text + (out / "controls.json").read_text() + (out / "controls.csv").read_text()
    assert not any(row.id in everything for row in prepared.rows)


def test_a_second_run_trains_nothing_again_and_another_seed_does(whole, monkeypatch):
    bundle, prepared, out, found = whole
    before = (out / "controls.json").read_bytes()
    monkeypatch.setattr(running, "_score", lambda *_, **__: pytest.fail("made again"))
    assert run_controls(bundle, prepared, out).results == found.results and (out / "controls.json").read_bytes() == before
    with pytest.raises(pytest.fail.Exception):
        run_controls(bundle, prepared, out, seed=1)


def test_a_run_that_was_stopped_goes_on_where_it_was(whole, tmp_path, monkeypatch):
    bundle, prepared, _, found = whole
    tests = ("wrong_patient_baseline", "swapped_times", "volume_only")

    def stop(done, message):
        if message == story.TITLES["swapped_times"]:
            raise Cancelled()

    with pytest.raises(Cancelled):
        run_controls(bundle, prepared, tmp_path, only=tests, progress=stop)
    assert {path.name for path in (tmp_path / "parts").iterdir()} == {"model.json", "volume_only.json", "wrong_patient_baseline.json"}
    assert not (tmp_path / "controls.json").exists()
    (tmp_path / "parts" / "volume_only.json").write_text("{")             # half a file, as no kill of ours leaves it
    made, honest = [], running._score
    monkeypatch.setattr(running, "_score", lambda name, *rest: made.append(name) or honest(name, *rest))
    again = run_controls(bundle, prepared, tmp_path, only=tests)
    assert made == ["volume_only", "swapped_times"]
    assert again.results == {name: found.results[name] for name in ("model", "volume_only", "wrong_patient_baseline", "swapped_times")}


@pytest.mark.parametrize("planted,rival,words", [({"volume": 1.5}, "volume_only", "volume alone"), ({"scanner": 0.45}, "scanner_only", "follow the scanner")])
def test_a_model_that_is_worse_than_volumes_or_headers_is_told_so(tmp_path, planted, rival, words):
    """The network's rule is blind to the planted effect and sees a weak one; its rival sees the planted one."""
    prepared = made_up.cohort(200, 5, sets=("train", "internal"), pair=0.8, **planted)
    torch.manual_seed(1)
    bundle = untrained()
    rule = Rule(lambda pre, post: post - pre + torch.sin(1e4 * pre))      # the sine is as good as noise
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "load_network", lambda *_: rule)
        found = run_controls(bundle, prepared, tmp_path, only=(rival,))
    assert found.results[rival]["auc"] > found.results["model"]["auc"] > 0.6 and words in found.sentence, found.sentence


def test_headers_that_say_nothing_and_few_cases_are_told(tmp_path):
    prepared = made_up.cohort(24, 6, sets=("train", "internal"))
    silent = tuple(facts | {"pre": {}, "post": {}} for facts in prepared.facts)
    bundle = untrained()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "load_network", lambda *_: Rule(lambda pre, post: post - pre))
        found = run_controls(bundle, replace(prepared, facts=silent), tmp_path, only=("scanner_only",))
    assert {notice.code for notice in found.notices} == {"MRD-W788", "MRD-W789"} and found.results["scanner_only"]["auc"] == 0.5


def test_scores_that_are_not_numbers_are_an_error(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "load_network", lambda *_: Rule(lambda pre, post: post * float("nan")))
        with pytest.raises(InputError) as caught:
            run_controls(untrained(), made_up.cohort(24, 6, sets=("internal",)), tmp_path, only=("swapped_times",))
    assert caught.value.code == "MRD-E794" and not (tmp_path / "controls.json").exists()


def test_two_controls_never_share_a_folder(tmp_path):
    """Each would take the other's unfinished trainings for those of older settings, and remove them."""
    with locked(tmp_path / "out"), pytest.raises(EnvironmentProblem) as caught:
        run_controls(untrained(), made_up.cohort(30, 0, sets=("internal",)), tmp_path / "out", only=("swapped_times",))
    assert caught.value.code == "MRD-E777"
