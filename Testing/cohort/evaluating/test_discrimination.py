"""The section on discrimination: pROC's numbers on real cases, thresholds from the right cases, and what is said where something is missing."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
from sklearn.metrics import average_precision_score

from MRDeltaNetLib.cohort.evaluating import comparisons, discrimination
from MRDeltaNetLib.cohort.statistics import auc_with_ci, expected_ci, newcombe_bounds
from Testing.cohort.evaluating.scored_subsets import drawn, subset_of

PROC = {"s100b": {"auc": 0.7313685636856, "variance": 0.002668682457172, "ci": (0.6301182117616, 0.8326189156097), "threshold": 0.205, "sensitivity": 0.6341463414634,
                  "specificity": 0.8055555555556, "accuracy": 0.7433628318584, "ppv": 0.65, "npv": 0.7945205479452},
        "ndka": {"auc": 0.6119579945799, "variance": 0.003190810549391, "ci": (0.5012449992717, 0.7226709898882), "threshold": 11.08, "sensitivity": 0.7073170731707,
                 "specificity": 0.5138888888889, "accuracy": 0.5840707964602, "ppv": 0.453125, "npv": 0.7551020408163}}
"""pROC 1.18.0 in R 4.2.2 on its own data aSAH, positive class Poor."""


@pytest.fixture(scope="module")
def asah(real_data):
    table = pandas.read_csv(real_data("roc_dca/pROC_aSAH.csv"))
    return subset_of(table["outcome"] == "Poor", {"s100b": table["s100b"], "ndka": table["ndka"]}, name="all")


@pytest.mark.parametrize("name", PROC)
def test_real_scores_have_the_numbers_of_proc(asah, name):
    found, expected = discrimination.section(asah).values[name], PROC[name]
    assert found["auc"] == pytest.approx(expected["auc"], abs=1e-10) and found["auc_variance_delong"] == pytest.approx(expected["variance"], abs=1e-10)
    assert found["auc_ci_delong"] == pytest.approx(expected["ci"], abs=1e-10)
    assert found["youden"]["threshold"] == expected["threshold"]
    for name in ("sensitivity", "specificity", "accuracy", "ppv", "npv"):
        assert found["youden"][name] == pytest.approx(expected[name], abs=1e-12)


def test_real_scores_are_compared_as_proc_compares_them(asah):
    (row,) = comparisons.section(asah).values
    assert (row["a"], row["b"]) == ("s100b", "ndka")
    assert row["z"] == pytest.approx(1.390770025736, abs=1e-10) and row["p_delong"] == pytest.approx(0.1642951752231, abs=1e-10)


def test_what_is_told_of_a_score_is_what_its_parts_give():
    outcome, probability, other = drawn()
    part = discrimination.section(subset_of(outcome, {"p_pcr": probability, "marker": other}))
    found = part.values["p_pcr"]
    assert list(part.values) == ["p_pcr", "marker"] and found["cases"] == 240 and found["with_pcr"] == outcome.sum()
    assert [found["auc"], *found["auc_ci_logit"]] == pytest.approx(auc_with_ci(outcome, probability)) and found["auc_ci"] == found["auc_ci_logit"]
    expected = expected_ci(found["auc"], found["with_pcr"], found["without_pcr"])
    assert found["ci_width_expected"] == expected[1] - expected[0] and found["ci_width_delong"] == pytest.approx(found["ci_width_expected"], rel=0.2)
    assert found["average_precision"] == pytest.approx(average_precision_score(outcome, probability), abs=1e-12)
    assert found["average_precision_ci_bootstrap"][0] < found["average_precision"] < found["average_precision_ci_bootstrap"][1]
    assert found["auc_ci_bootstrap"] == pytest.approx(found["auc_ci_delong"], abs=0.03) and found["bootstrap_samples"] == 300
    assert [point["rule"] for point in found["operating_points"]] == ["Youden", "specificity 0.9", "specificity 0.95", "cost ratio 1"]
    assert part.tables["discrimination_auc"].rows[0][:4] == ("p_pcr", 240, int(outcome.sum()), found["auc"]) and not part.omissions


def test_points_hold_what_they_promise_on_the_cases_they_were_chosen_on_and_say_that_they_were():
    outcome, probability, _ = drawn()
    part = discrimination.section(subset_of(outcome, {"p_pcr": probability}, specificities=(0.8,), cost_ratio=4.0))
    youden, specific, cheap = part.values["p_pcr"]["operating_points"]
    assert all(point["same_data"] and point["learned_on"] == "external" for point in (youden, specific, cheap))
    assert any("very cases" in note for note in part.notes)
    assert specific["rule"] == "specificity 0.8" and 0.8 <= specific["specificity"] < 0.82
    assert cheap["rule"] == "cost ratio 4" and cheap["threshold"] == pytest.approx(0.8, abs=0.12)      # of true probabilities 4 / (1 + 4)
    called = probability >= youden["threshold"]
    assert youden["sensitivity"] == called[outcome == 1].mean() and youden["ppv"] == outcome[called].mean() and youden["npv"] == 1 - outcome[~called].mean()
    assert youden["sensitivity_counts"] == [called[outcome == 1].sum(), outcome.sum()] and youden["sensitivity_ci"][0] < youden["sensitivity"] < youden["sensitivity_ci"][1]


def test_thresholds_are_learned_on_the_training_cases_and_applied_here():
    taught, known, _ = drawn(seed=1)
    outcome, probability, _ = drawn(seed=2)
    training = subset_of(taught, {"p_pcr": known}, name="train")
    part = discrimination.section(subset_of(outcome, {"p_pcr": probability}, training=training, threshold=0.4))
    points = {point["rule"]: point for point in part.values["p_pcr"]["operating_points"]}
    alone = discrimination.section(training).values["p_pcr"]
    assert points["Youden"]["threshold"] == alone["youden"]["threshold"] == part.values["p_pcr"]["youden"]["threshold"]
    assert points["Youden"]["sensitivity"] == (probability[outcome == 1] >= alone["youden"]["threshold"]).mean()
    assert points["Youden"]["learned_on"] == "train" and not any(point["same_data"] for point in points.values())
    assert len(part.notes) == 1 and "learned on the cases of 'train'" in part.notes[0]
    assert points["locked"]["threshold"] == 0.4 and points["locked"]["learned_on"] == "before"
    assert "no threshold was locked" not in " ".join(part.tables["discrimination_operating_points"].notes)


def test_training_cases_that_teach_nothing_leave_the_warning_standing():
    outcome, probability, _ = drawn()
    training = subset_of(np.ones(30), {"p_pcr": np.linspace(0, 1, 30)}, name="train")
    part = discrimination.section(subset_of(outcome, {"p_pcr": probability}, training=training))
    assert part.values["p_pcr"]["operating_points"][0]["same_data"] and len(part.notes) == 1 and "very cases" in part.notes[0]


def test_the_locked_threshold_is_the_models_only():
    outcome, probability, other = drawn()
    part = discrimination.section(subset_of(outcome, {"p_pcr": probability, "p_other": probability**2}, threshold=0.3))
    assert [point["rule"] for point in part.values["p_other"]["operating_points"]][0] == "Youden" and part.values["p_pcr"]["operating_points"][0]["rule"] == "locked"
    assert "locked" in part.figures["discrimination_roc"].data["points"][0]["label"]


def test_a_perfect_score_has_newcombes_interval_and_no_bootstrap():
    outcome = np.r_[np.ones(8), np.zeros(12)]
    part = discrimination.section(subset_of(outcome, {"p_pcr": 0.2 + 0.5 * outcome + np.arange(20) / 100}))
    found = part.values["p_pcr"]
    assert found["auc"] == 1 and found["auc_ci"] == found["auc_ci_delong"] == [newcombe_bounds(1.0, 8, 12)[0], 1.0] and found["auc_ci_bootstrap"] is None
    assert any("bootstrap" in one.what for one in part.omissions) and any("Newcombe" in note for note in part.tables["discrimination_auc"].notes)


def test_a_rule_that_only_calls_everybody_or_nobody_is_left_out():
    outcome = np.r_[np.zeros(20), np.ones(20), 0]
    score = np.r_[np.arange(20), np.arange(20) - 0.5, 100.0]              # the highest of all is without pCR, the lowest has it
    part = discrimination.section(subset_of(outcome, {"score": score}, specificities=(0.99,), cost_ratio=50.0))
    assert sum("calls nobody" in one.reason for one in part.omissions) == 2
    cheap = discrimination.section(subset_of(outcome, {"score": score}, specificities=(), cost_ratio=0.01))
    assert any("calls everybody" in one.reason for one in cheap.omissions)


def test_negative_scores_have_thresholds_too():
    outcome, probability, _ = drawn()
    logit = np.log(probability / (1 - probability)) - 20
    points = discrimination.section(subset_of(outcome, {"marker": logit})).values["marker"]["operating_points"]
    same = discrimination.section(subset_of(outcome, {"marker": logit + 20})).values["marker"]["operating_points"]
    assert len(points) == 4 and [point["sensitivity_counts"] for point in points] == [point["sensitivity_counts"] for point in same]


def test_curves_are_short_whole_and_keep_their_corners():
    random = np.random.default_rng(0)
    outcome = random.integers(0, 2, 30_000)
    part = discrimination.section(subset_of(outcome, {"p_pcr": np.clip(0.3 + 0.2 * outcome + 0.1 * random.normal(size=30_000), 0, 1)}))
    roc = part.figures["discrimination_roc"].data["curves"][0]
    assert 300 < len(roc["fpr"]) <= 500 and (roc["fpr"][0], roc["tpr"][0], roc["fpr"][-1], roc["tpr"][-1]) == (0, 0, 1, 1)
    assert np.trapezoid(roc["tpr"], roc["fpr"]) == pytest.approx(roc["auc"], abs=0.002)
    recall = part.figures["discrimination_precision_recall"].data
    assert len(recall["curves"][0]["recall"]) <= 500 and recall["prevalence"] == pytest.approx(outcome.mean())
    assert recall["curves"][0]["recall"][0] > 0 and recall["curves"][0]["recall"][-1] == 1 and recall["curves"][0]["precision"][-1] >= outcome.mean()
    small = discrimination.section(subset_of([0, 0, 1, 1], {"p_pcr": [0.1, 0.6, 0.4, 0.9]})).figures["discrimination_roc"].data["curves"][0]
    assert list(zip(small["fpr"], small["tpr"])) == [(0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)]
