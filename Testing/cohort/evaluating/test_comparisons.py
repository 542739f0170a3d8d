"""The model against other scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from scipy import stats

from MRDeltaNetLib.cohort.evaluating import comparisons
from MRDeltaNetLib.cohort.evaluating.comparisons import mcnemar
from MRDeltaNetLib.cohort.statistics import paired_delong
from Testing.cohort.evaluating.scored_subsets import drawn, subset_of


def three_scores():
    outcome, probability, worse = drawn()
    return outcome, {"p_pcr": probability, "worse": worse, "noise": np.random.default_rng(9).normal(size=240)}


def test_every_other_score_is_compared_on_the_cases_that_have_both():
    outcome, scores = three_scores()
    scores["worse"][:40] = np.nan
    part = comparisons.section(subset_of(outcome, scores))
    first, second = part.values
    assert [(row["a"], row["b"], row["cases"]) for row in part.values] == [("p_pcr", "worse", 200), ("p_pcr", "noise", 240)]
    expected = paired_delong(outcome[40:].astype(int), scores["p_pcr"][40:], scores["worse"][40:])
    assert (first["z"], first["p_delong"], first["difference"]) == pytest.approx((expected.z, expected.p, expected.difference))
    assert second["p_delong"] < first["p_delong"] and len(part.tables["comparisons"].rows) == 2 and part.notes


def test_holm_multiplies_the_smallest_p_by_their_number():
    outcome, scores = three_scores()
    rows = comparisons.section(subset_of(outcome, scores)).values
    low, high = sorted(rows, key=lambda row: row["p_delong"])
    assert low["p_delong_holm"] == pytest.approx(min(1, 2 * low["p_delong"])) and high["p_delong_holm"] == pytest.approx(max(2 * low["p_delong"], high["p_delong"]))
    assert all(row["p_mcnemar_holm"] >= row["p_mcnemar"] for row in rows)


def test_calls_are_compared_at_the_locked_threshold_of_the_model_and_at_youdens_of_the_other():
    outcome, scores = three_scores()
    training = subset_of(outcome, scores, name="train")
    part = comparisons.section(subset_of(outcome, scores, training=training, threshold=0.45))
    row = part.values[0]
    assert (row["rule_a"], row["threshold_a"], row["rule_b"]) == ("locked", 0.45, "Youden") and part.notes == ()
    right = [(scores[name] >= row[key]) == outcome for name, key in (("p_pcr", "threshold_a"), ("worse", "threshold_b"))]
    assert (row["right_a_only"], row["right_b_only"]) == ((right[0] & ~right[1]).sum(), (right[1] & ~right[0]).sum())


@given(some.integers(0, 30), some.integers(0, 30), some.integers(0, 20))
def test_mcnemars_p_is_a_fair_coins(first, second, both):
    outcome = np.ones(first + second + both, dtype=bool)
    called, other = outcome.copy(), outcome.copy()
    called[:second], other[second:second + first] = False, False
    found = mcnemar(outcome, called, other)
    exact = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert found[:2] == (first, second) and found[2] == pytest.approx(exact) and found[3] <= found[2] + 1e-12
    if first + second:
        assert found[3] == pytest.approx(min(1.0, exact - stats.binom.pmf(first, first + second, 0.5)) if first != second else found[3])


def test_two_scores_that_rank_alike_do_not_differ():
    outcome, scores = three_scores()
    (row,) = comparisons.section(subset_of(outcome, {"p_pcr": scores["p_pcr"], "p_sharper": scores["p_pcr"] ** 2})).values
    assert (row["z"], row["p_delong"], row["p_mcnemar"], row["p_mcnemar_mid"]) == (0, 1, 1, 1)


def test_a_score_that_cannot_be_compared_is_named_and_the_rest_is_done():
    outcome, scores = three_scores()
    part = comparisons.section(subset_of(outcome, scores | {"constant": np.full(240, 3.0), "empty": np.full(240, np.nan)}))
    assert [row["b"] for row in part.values] == ["worse", "noise"] and {"constant", "empty"} == {one.what.split()[-1] for one in part.omissions}
    alone = comparisons.section(subset_of(outcome, {"p_pcr": scores["p_pcr"]}))
    assert alone.values == [] and "only one score" in alone.omissions[0].reason
