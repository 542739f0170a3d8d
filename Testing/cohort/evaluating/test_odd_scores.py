"""Odd scores and outcomes: every section on scores gives what is right and says what is not there; none raises, none invents a number."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from MRDeltaNetLib.cohort.evaluating import calibration, comparisons, decision_curve, discrimination, heterogeneity
from Testing.cohort.evaluating.scored_subsets import drawn, subset_of

SECTIONS = {module.SECTION: module.section for module in (discrimination, comparisons, calibration, decision_curve, heterogeneity)}
OUTCOME, PROBABILITY, _ = drawn(60)
HALF = np.arange(60) % 2
ODD = {"constant": (OUTCOME, np.full(60, 0.4)), "one_class": (np.ones(60), PROBABILITY), "no_outcome": (np.full(60, np.nan), PROBABILITY),
       "no_score": (OUTCOME, np.full(60, np.nan)), "two_patients": ([0, 1], [0.2, 0.7]), "nobody": ([], []), "one_with": ([1, 0, 0, 0, 0], [0.9, 0.1, 0.2, 0.3, 0.4]),
       "outside": (OUTCOME, 3 * PROBABILITY - 1), "separated": (HALF, 0.1 + 0.8 * HALF), "ties": (OUTCOME, PROBABILITY.round(0) * 0.5 + 0.25),
       "nought_and_one": (HALF, HALF.astype(float)), "missing": (np.where(np.arange(60) < 9, np.nan, OUTCOME), np.where(np.arange(60) > 50, np.nan, PROBABILITY))}
RANKED = {"outside", "separated", "ties", "nought_and_one", "missing"}


def strict(part):
    """As evaluation.json is written: no number that JSON has not."""
    return json.dumps([part.values, {name: asdict(table) for name, table in part.tables.items()}, {name: figure.data for name, figure in part.figures.items()}],
                      allow_nan=False)


@pytest.mark.parametrize("name", SECTIONS)
@pytest.mark.parametrize("odd", ODD)
def test_no_section_raises_and_nothing_is_left_out_without_a_reason(odd, name):
    outcome, probability = ODD[odd]
    columns = {"centre": np.resize(["A", "B"], len(outcome))}
    subset = subset_of(outcome, {"p_pcr": probability, "p_other": np.linspace(0.1, 0.9, len(outcome))}, columns=columns)
    part = SECTIONS[name](subset)
    strict(part)
    held = bool(part.values) and (name != "discrimination" or "p_pcr" in part.values) and (name not in ("calibration", "decision_curve") or "p_pcr" in part.values)
    assert held or part.omissions
    assert all(one.section == name and one.what and one.reason and one.fix for one in part.omissions)
    if name in ("discrimination", "comparisons", "heterogeneity"):
        assert held == (odd in RANKED)
    if name in ("calibration", "decision_curve") and odd in ("outside", "one_class", "no_outcome", "no_score", "nobody"):
        assert "p_pcr" not in part.values


@pytest.mark.parametrize("name", SECTIONS)
def test_without_any_score_there_is_an_omission_and_nothing_else(name):
    part = SECTIONS[name](subset_of(OUTCOME, {}))
    assert not part.values and part.omissions and not part.figures


@pytest.mark.parametrize("name", SECTIONS)
def test_the_same_cases_give_the_same_bytes_and_another_seed_other_intervals(name):
    outcome, probability, other = drawn(100)
    made = lambda seed: strict(SECTIONS[name](subset_of(outcome, {"p_pcr": probability, "marker": other}, seed=seed, columns={"centre": np.resize(["A", "B"], 100)})))
    assert made(0) == made(0) and (made(0) == made(1)) == (name in ("comparisons", "heterogeneity"))


@settings(deadline=None, max_examples=6, suppress_health_check=[HealthCheck.too_slow])
@given(some.integers(0, 60).flatmap(lambda n: some.tuples(
    some.lists(some.sampled_from([0.0, 1.0, np.nan]), min_size=n, max_size=n),
    some.lists(some.one_of(some.sampled_from([0.0, 0.1, 0.5, 1.0, np.nan]), some.floats(0, 1)), min_size=n, max_size=n))))
def test_whatever_the_cases_are_each_section_is_written(cases):
    outcome, probability = (np.array(column, dtype=float) for column in cases)
    training = subset_of(OUTCOME, {"p_pcr": PROBABILITY}, name="train")
    for taught in (None, training):
        subset = subset_of(outcome, {"p_pcr": probability, "marker": np.arange(len(outcome)) % 7}, columns={"centre": np.resize(["A", "B", None], len(outcome))},
                           training=taught, bootstrap=200, thresholds=(0.1, 0.9, 0.2))
        for section in SECTIONS.values():
            part = section(subset)
            strict(part)
            assert part.values or part.omissions


def test_a_score_as_coarse_as_a_grade_is_judged_by_its_ties():
    outcome = np.r_[np.ones(30), np.zeros(30)]
    grade = np.r_[np.repeat([3, 2, 1], 10), np.repeat([2, 1, 1], 10)].astype(float)
    found = discrimination.section(subset_of(outcome, {"grade": grade})).values["grade"]
    assert found["auc"] == pytest.approx((10 * 30 + 10 * (20 + 5) + 10 * 10) / 900) and found["youden"]["threshold"] == 1.5
