"""Logistic regression of clinical values: R's numbers, and what happens to columns that no model can use."""

from __future__ import annotations

import json

import numpy as np
import pandas
import pytest

from MRDeltaNetLib.cohort.evaluating.logistic import FIRTH, MAXIMUM_LIKELIHOOD, section
from Testing.cohort.evaluating.clinical_subset import made_up, subset


def by_term(part):
    return {row["term"]: row for row in part.values}


def test_the_list_is_r_s_model_with_its_auc_and_brier_score(real_data):
    """R 4.2.2: glm(outcome == "Poor" ~ s100b + ndka + age + gender); Testing/cohort/statistics/test_clinical_statistics.py has all of its numbers."""
    frame = pandas.read_csv(real_data("roc_dca/pROC_aSAH.csv"))
    part = section(subset(frame, frame["outcome"] == "Poor", scores=("s100b", "ndka"), covariates=("s100b", "ndka", "age", "gender"),
                          references={"gender": "Male"}))
    found = by_term(part)
    assert list(found) == ["(Intercept)", "s100b", "ndka", "age", "genderFemale"] and not part.omissions
    assert [found["s100b"][key] for key in ("or", "lo", "hi", "p")] == pytest.approx((147.749121340552, 12.122640487742, 1800.74653529304, 9.013414076587e-05), rel=1e-9)
    assert [found["genderFemale"][key] for key in ("or", "lo", "hi", "p")] == pytest.approx((0.3320441645428, 0.1234250684308, 0.8932814752196, 0.02900123150098),
                                                                                             rel=1e-9)
    assert found["genderFemale"]["reference"] == "Male" and found["(Intercept)"]["model"]["auc"] == pytest.approx(0.809620596206, abs=1e-11)
    assert found["(Intercept)"]["model"]["brier"] == pytest.approx(0.1654441097597, abs=1e-9)
    assert found["s100b"]["profile_lo"] == pytest.approx(14.43, abs=0.01) and found["s100b"]["univariable"]["n"] == 113


def test_every_term_is_told_alone_and_together_and_json_can_hold_it():
    part = section(made_up())
    found = by_term(part)
    assert list(found) == ["(Intercept)", "age", "stageT3", "stageT4", "sexMale"]
    json.dumps([part.values, [figure.data for figure in part.figures.values()]], allow_nan=False)
    assert found["age"]["lo"] < found["age"]["or"] < found["age"]["hi"] and found["age"]["method"] == MAXIMUM_LIKELIHOOD
    assert found["age"]["univariable"]["n"] == 239 and found["age"]["n"] == 238 and any("2 of 240 cases lack a value" in note for note in part.notes)
    rows = part.figures["logistic_odds_ratios"].data["rows"]
    assert len(rows) == 8 and {row["group"] for row in rows} == {"each alone", "all together"} and rows[1]["label"] == "stage: T3 vs T2"
    assert len(part.tables["logistic_multivariable"].rows) == 5


def test_separated_classes_are_told_by_firth_and_said_so():
    n = 40
    outcome = (np.arange(n) >= 20).astype(float)
    part = section(subset({"marker": np.arange(n), "noise": np.random.default_rng(0).normal(size=n)}, outcome))
    found = by_term(part)
    assert found["marker"]["method"] == FIRTH and found["marker"]["interval"].startswith("profile") and 1 < found["marker"]["lo"] < found["marker"]["or"] < 10
    assert found["noise"]["univariable"]["method"] == MAXIMUM_LIKELIHOOD and any("Alone, marker separate" in note for note in part.notes)
    assert any("Together" in note for note in part.notes)


def test_columns_that_say_nothing_are_left_out_and_the_rest_is_done():
    rng = np.random.default_rng(1)
    a = rng.normal(size=60)
    part = section(subset({"a": a, "twice": 2 * a, "same": np.ones(60), "empty": [None] * 60, "remark": [f"t{k}" for k in range(60)]}, rng.random(60) < 0.5,
                          covariates=("a", "twice", "same", "empty", "remark", "absent")))
    told = {omission.what.split(" ")[0]: omission.reason for omission in part.omissions}
    assert set(told) == {"same", "empty", "remark", "absent", "twice"} and "say the same" in told["twice"]
    found = by_term(part)
    assert found["a"]["or"] and found["twice"]["or"] is None and found["twice"]["univariable"]["p"] == pytest.approx(found["a"]["univariable"]["p"])


def test_more_terms_than_events_leave_each_value_alone():
    rng = np.random.default_rng(2)
    part = section(subset({f"x{k}": rng.normal(size=50) for k in range(6)}, np.arange(50) < 4))
    assert all(row["or"] is None and row["univariable"]["or"] for row in part.values) and "logistic_multivariable" not in part.tables
    assert any("4 cases of the rarer outcome for 6 terms" in omission.reason for omission in part.omissions)


def test_a_reference_level_that_nobody_has_is_said():
    part = section(made_up(references={"stage": "T1", "sex": "Male"}))
    assert "sexFemale" in by_term(part) and [omission.what for omission in part.omissions] == ["stage: comparison with 'T1'"]


@pytest.mark.parametrize("outcome", [np.ones(20), np.full(20, np.nan), np.r_[1, np.zeros(19)]])
def test_one_class_is_an_omission(outcome):
    part = section(subset({"age": np.arange(20)}, outcome))
    assert part.values == [] and len(part.omissions) == 1 and "complete response" in part.omissions[0].reason


def test_without_clinical_columns_there_is_an_omission():
    assert section(subset({"p": np.linspace(0, 1, 20)}, np.arange(20) % 2, scores=("p",))).omissions[0].reason == "there is no clinical column"
