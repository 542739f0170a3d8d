"""The section on calibration: R's numbers on real cases, known slopes, and recalibration that never sees the cases that it is judged on."""

from __future__ import annotations

import numpy as np
import pandas
import pytest

from MRDeltaNetLib.cohort.calibration import platt
from MRDeltaNetLib.cohort.evaluating import calibration
from MRDeltaNetLib.cohort.statistics import sigmoid
from Testing.cohort.evaluating.scored_subsets import drawn, subset_of


def test_real_probabilities_have_the_slope_intercept_and_brier_of_r(real_data):
    """R 4.2.2 glm on pROC's aSAH, q = plogis(1.7 logit(s100b / (s100b + 0.25)) - 0.4)."""
    table = pandas.read_csv(real_data("roc_dca/pROC_aSAH.csv"))
    probability = sigmoid(1.7 * np.log(table["s100b"] / 0.25) - 0.4)
    found = calibration.section(subset_of(table["outcome"] == "Poor", {"p_q": probability})).values["p_q"]
    assert (found["slope"], found["intercept"], found["brier"]) == pytest.approx((0.6589278691457, 0.364190916312, 0.1928567280791), abs=1e-6)


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_a_slope_that_was_put_in_is_found_and_mended_by_the_training_cases(slope):
    training = subset_of(*_named(drawn(2000, 1, slope)), name="train")
    part = calibration.section(subset_of(*_named(drawn(2000, 2, slope)), training=training))
    found, moved = part.values["p_pcr"], part.values["p_pcr"]["recalibrated"]
    assert found["slope_ci"][0] < slope < found["slope_ci"][1] and found["slope"] == pytest.approx(slope, rel=0.15)
    assert moved["method"] == "training" and moved["learned_on"] == "train" and moved["line"]["slope"] == pytest.approx(slope, rel=0.15)
    assert moved["slope"] == pytest.approx(1, abs=0.15) and abs(moved["intercept"]) < 0.2
    assert (found["ici"] < 0.03) == (slope == 1.0) and moved["ici"] < 0.03 and moved["brier"] <= found["brier"] + 0.002


def test_recalibration_is_the_training_cases_line():
    training, here = drawn(300, 1, 0.5), drawn(200, 2, 0.5)
    part = calibration.section(subset_of(*_named(here), training=subset_of(*_named(training), name="train")))
    slope, intercept = platt(training[0], np.log(training[1] / (1 - training[1])))
    moved = part.values["p_pcr"]["recalibrated"]
    assert moved["line"] == {"slope": slope, "intercept": intercept}
    assert moved["brier"] == pytest.approx(np.mean((sigmoid(slope * np.log(here[1] / (1 - here[1])) + intercept) - here[0]) ** 2))
    assert "learned on the cases of 'train'" in part.notes[0]


def test_without_training_cases_no_case_is_in_its_own_line():
    outcome, probability, _ = drawn(200, 3, 0.5)
    logit = np.log(probability / (1 - probability))
    moved = calibration.cross_fitted(outcome, logit, 0)
    turned = outcome.copy()
    turned[7] = 1 - turned[7]
    assert calibration.cross_fitted(outcome, logit, 0) == pytest.approx(moved, abs=0)
    own = platt(outcome, logit)
    assert np.abs(moved - sigmoid(own[0] * logit + own[1])).max() > 1e-3 and np.abs(moved - sigmoid(own[0] * logit + own[1])).mean() < 0.02
    values = calibration.section(subset_of(outcome, {"p_pcr": probability})).values["p_pcr"]["recalibrated"]
    assert values["method"] == "cross-fitted" and values["line"] is None and values["slope"] != pytest.approx(1, abs=1e-6)
    lines = {(round(slope, 9), round(intercept, 9)) for slope, intercept in _lines(logit, moved)}
    assert len(lines) == 10


def _lines(logit, moved):
    """The lines that cases lie on: ten of them, each through a tenth of the cases."""
    after = np.log(moved / (1 - moved))
    left = list(range(len(logit)))
    while left:
        best = max(((np.polyfit(logit[[left[0], other]], after[[left[0], other]], 1), other) for other in left[1:]),
                   key=lambda found: sum(abs(np.polyval(found[0], logit[i]) - after[i]) < 1e-9 for i in left))[0]
        yield best
        left = [i for i in left if abs(np.polyval(best, logit[i]) - after[i]) > 1e-9]


def test_rows_of_sets_that_were_recalibrated_in_different_ways_bear_one_name():
    """Training cases are recalibrated by cross-fitting, others by the training cases' line: only so do both stand side by side on the page."""
    outcome, probability, _ = drawn(300, 1)
    train = subset_of(outcome, {"p_a": probability}, name="train")
    parts = [calibration.section(one) for one in (train, subset_of(outcome[:150], {"p_a": probability[:150]}, training=train))]
    names = [[row[:3] for row in part.tables["calibration_p_a"].rows] for part in parts]
    assert {name for _, name, _ in names[0] + names[1]} == {"as given", "recalibrated"} and set(names[1]) <= set(names[0])
    assert [part.figures["calibration_p_a"].data["curves"][1]["label"] for part in parts] == ["recalibrated (cross-fitted)", "recalibrated (training)"]


def test_the_figure_holds_both_curves_their_bands_and_every_case():
    outcome, probability, _ = drawn(400, 4, 0.5)
    part = calibration.section(subset_of(outcome, {"p_pcr": probability}))
    data = part.figures["calibration_p_pcr"].data
    assert [curve["label"] for curve in data["curves"]] == ["as given", "recalibrated (cross-fitted)"]
    for curve in data["curves"]:
        assert len(curve["x"]) == len(curve["y"]) == len(curve["lo"]) == 101
        inside = sum(lo <= y <= hi for lo, y, hi in zip(curve["lo"], curve["y"], curve["hi"]))
        assert inside > 95 and 0 <= min(curve["lo"]) and max(curve["hi"]) <= 1
    assert sum(data["histogram"]["pcr"]) == outcome.sum() and sum(data["histogram"]["non_pcr"]) == (1 - outcome).sum()
    assert any(text.startswith("slope 0.") for text in data["text"])
    assert {row[1] for row in part.tables["calibration_p_pcr"].rows} == {"as given", "recalibrated"}


def test_the_binned_error_comes_only_with_bins_that_are_thick_enough():
    many, few = (calibration.section(subset_of(*_named(drawn(n, 5)))) for n in (400, 150))
    assert 0 < many.values["p_pcr"]["ece"] < 0.1 and many.values["p_pcr"]["ece_ci"][0] < many.values["p_pcr"]["ece_ci"][1]
    assert few.values["p_pcr"]["ece"] is None and any("20 cases each" in one.reason and "150 cases" in one.reason for one in few.omissions)


def test_probabilities_of_nought_and_one_have_no_slope_but_the_rest():
    outcome, probability, _ = drawn(200, 6)
    probability[:3] = [0.0, 1.0, 0.0]
    part = calibration.section(subset_of(outcome, {"p_pcr": probability}))
    found = part.values["p_pcr"]
    assert found["slope"] is None and found["intercept"] is None and "recalibrated" not in found and found["ici"] > 0 and found["brier"] > 0
    assert any("3 of 200 probabilities" in one.reason for one in part.omissions)


def test_probabilities_that_separate_the_classes_or_are_all_alike_have_no_slope_but_an_intercept():
    outcome = np.r_[np.ones(20), np.zeros(30)]
    apart = calibration.section(subset_of(outcome, {"p_pcr": 0.2 + 0.6 * outcome + np.linspace(0, 0.1, 50)}))
    same = calibration.section(subset_of(outcome, {"p_pcr": np.full(50, 0.25)}))
    for part in (apart, same):
        assert part.values["p_pcr"]["slope"] is None and "recalibrated" not in part.values["p_pcr"]
        assert {"slope", "recalibration"} <= {one.what.split()[0] for one in part.omissions}
    assert same.values["p_pcr"]["intercept"] == pytest.approx(np.log(0.4 / 0.6) - np.log(0.25 / 0.75)) and same.values["p_pcr"]["ici"] == pytest.approx(0.15)


def test_a_score_that_is_turned_round_is_not_turned_back():
    outcome, probability, _ = drawn(200, 7)
    part = calibration.section(subset_of(outcome, {"p_pcr": 1 - probability}))
    assert part.values["p_pcr"]["slope"] < 0 and "recalibrated" not in part.values["p_pcr"]
    assert any("another model" in one.reason for one in part.omissions)


def test_markers_are_not_probabilities():
    outcome, _, marker = drawn()
    part = calibration.section(subset_of(outcome, {"marker": marker}))
    assert part.values == {} and "no score is a probability" in part.omissions[0].reason


def _named(cases):
    return cases[0], {"p_pcr": cases[1]}
