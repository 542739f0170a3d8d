"""Random-effects summaries against published numbers, root finding and simulated groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import optimize, stats
from statsmodels.stats.meta_analysis import combine_effects

from MRDeltaNetLib.cohort.statistics import auc_with_ci, newcombe_bounds
from MRDeltaNetLib.cohort.statistics.pooling import logit_auc, pooled

BCG = np.array([(4, 119, 11, 128), (6, 300, 29, 274), (3, 228, 11, 209), (62, 13536, 248, 12619), (33, 5036, 47, 5761), (180, 1361, 372, 1079), (8, 2537, 10, 619),
                (505, 87886, 499, 87892), (29, 7470, 45, 7232), (17, 1699, 65, 1600), (186, 50448, 141, 27197), (5, 2493, 3, 2338), (27, 16886, 29, 17825)], dtype=float)
"""Colditz 1994 (doi:10.1001/jama.1994.03510330076038), 13 trials of BCG: vaccinated with and without tuberculosis, others with and without."""


def risk_ratios():
    a, b, c, d = BCG.T
    return np.log((a / (a + b)) / (c / (c + d))), 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)


def test_statsmodels_agrees_where_its_search_ends_well():
    theirs, found = combine_effects(*risk_ratios(), method_re="iterated", use_t=True), pooled(*risk_ratios())
    assert (found.tau2, found.mean, found.q) == pytest.approx((theirs.tau2, theirs.mean_effect_re, theirs.q), rel=1e-5)
    assert (found.lower, found.upper) == pytest.approx(theirs.conf_int(use_t=True)[3], rel=1e-5)


def test_the_trials_of_bcg_give_the_published_heterogeneity():
    """metafor's (Viechtbauer 2010, doi:10.18637/jss.v036.i03): Q(12) = 152.2330, tau squared 0.3181 by Paule and Mandel."""
    found = pooled(*risk_ratios())
    assert found.q == pytest.approx(152.2330, abs=5e-5) and found.groups == 13 and found.p < 1e-20
    assert found.tau2 == pytest.approx(0.3181, abs=5e-5) and found.i2 == pytest.approx(1 - 12 / 152.2330, abs=1e-5)


@settings(deadline=None, max_examples=60)
@given(some.lists(some.tuples(some.floats(-3, 3), some.floats(0.05, 2)), min_size=3, max_size=12))
def test_the_summary_is_that_of_finding_the_root_by_bisection(groups):
    values, variances = np.array(groups).T
    found, k = pooled(values, variances), len(values)

    def beyond(tau2):
        weight = 1 / (variances + tau2)
        return float((weight * (values - np.average(values, weights=weight)) ** 2).sum() - (k - 1))

    tau2 = 0.0 if beyond(0.0) <= 0 else optimize.brentq(beyond, 0, 1000, xtol=1e-14)
    weight = 1 / (variances + tau2)
    mean = np.average(values, weights=weight)
    error = np.sqrt(max(1.0, (weight * (values - mean) ** 2).sum() / (k - 1)) / weight.sum())
    half, wide = stats.t.ppf(0.975, k - 1) * error, stats.t.ppf(0.975, k - 2) * np.hypot(np.sqrt(tau2), error)
    assert (found.tau2, found.mean) == pytest.approx((tau2, mean), abs=1e-6)
    assert (found.lower, found.upper, *found.predicted) == pytest.approx((mean - half, mean + half, mean - wide, mean + wide), abs=1e-4)
    assert 0 <= found.i2 <= 1 and found.p == pytest.approx(stats.chi2.sf(found.q, k - 1))


@pytest.mark.parametrize("groups, fewest", [(8, 0.82), (40, 0.90)])
def test_intervals_cover_the_mean_and_predictions_the_next_centre_if_there_are_many(groups, fewest):
    random, mean, next_one = np.random.default_rng(0), 0, 0
    for _ in range(500):
        variances = random.uniform(0.05, 0.3, groups)
        found = pooled(random.normal(1.0, 0.4, groups) + random.normal(size=groups) * np.sqrt(variances), variances)
        mean, next_one = mean + (found.lower <= 1.0 <= found.upper), next_one + (found.predicted[0] <= random.normal(1.0, 0.4) <= found.predicted[1])
    assert 0.92 <= mean / 500 <= 0.98 and fewest <= next_one / 500 <= 0.98


def test_groups_that_agree_too_well_never_make_the_interval_narrower():
    found = pooled(np.array([1.0, 1.001, 0.999]), np.full(3, 0.3))
    assert found.tau2 == 0 and found.i2 == 0 and found.upper - found.mean == pytest.approx(stats.t.ppf(0.975, 2) * np.sqrt(0.1))
    two = pooled(np.array([0.0, 1.0]), np.array([0.1, 0.1]))
    assert two.predicted is None and two.upper - two.lower > 5


def test_what_cannot_be_pooled_is_refused():
    for values, variances in (([1.0], [0.1]), ([1.0, 2.0], [0.1, 0.0]), ([1.0, np.nan], [0.1, 0.1]), ([1.0, 2.0], [0.1, np.inf])):
        with pytest.raises(ValueError, match="two groups"):
            pooled(np.array(values), np.array(variances))


def test_an_area_and_its_interval_become_a_logit_and_back():
    outcome, score = np.arange(60) % 2, np.sin(np.arange(60.0)) + np.arange(60) % 2
    auc, lower, upper = auc_with_ci(outcome, score)
    value, variance = logit_auc(auc, lower, upper, 30, 30)
    assert 1 / (1 + np.exp(-value)) == pytest.approx(auc) and 1 / (1 + np.exp(-value + 1.959963984540054 * np.sqrt(variance))) == pytest.approx(lower)
    bound = newcombe_bounds(1.0, 8, 12)[0]
    high, wide = logit_auc(1.0, bound, 1.0, 8, 12)
    low, same = logit_auc(0.0, 0.0, 1 - bound, 8, 12)
    assert 1 / (1 + np.exp(-high)) == pytest.approx(96.5 / 97) and (low, same) == pytest.approx((-high, wide))
    assert 1 / (1 + np.exp(-high + 1.959963984540054 * np.sqrt(wide))) == pytest.approx(bound)
