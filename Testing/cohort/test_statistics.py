"""Statistics against slow formulas, other packages and published numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

from MRDeltaNetLib.cohort.statistics import (auc_with_ci, brier, calibration, delong, expected_ci, hanley_mcneil_error, logistic,
                                             midranks, newcombe_bounds, operating_point, paired_delong, roc, wilson)


def scored(n=90, seed=0, digits=1):
    """Outcomes and two correlated scores with ties."""
    rng = np.random.default_rng(seed)
    outcome = np.arange(n) % 3 == 0
    shared = rng.normal(size=n)
    return outcome, np.round(outcome + shared, digits), np.round(0.4 * outcome + shared + rng.normal(size=n), digits)


def slow_delong(outcome, scores):
    """DeLong's own formula: every pair of a pCR and a non-pCR case, by a double loop."""
    win = lambda a, b: 1.0 if a > b else 0.5 if a == b else 0.0
    placements = []
    for score in scores:
        high, low = [s for s, o in zip(score, outcome) if o], [s for s, o in zip(score, outcome) if not o]
        placements.append(([sum(win(a, b) for b in low) / len(low) for a in high], [sum(win(a, b) for a in high) / len(high) for b in low]))
    aucs = [sum(v) / len(v) for v, _ in placements]

    def cov(side, r, s):
        pairs = list(zip(placements[r][side], placements[s][side]))
        return sum((a - aucs[r]) * (b - aucs[s]) for a, b in pairs) / (len(pairs) - 1) / len(pairs)

    return np.array(aucs), np.array([[cov(0, r, s) + cov(1, r, s) for s in range(len(scores))] for r in range(len(scores))])


@pytest.mark.parametrize("seed,digits", [(0, 1), (1, 0), (2, 9)])
def test_the_fast_covariance_equals_the_double_loop(seed, digits):
    outcome, one, other = scored(seed=seed, digits=digits)
    aucs, covariance = delong(outcome, np.stack([one, other]))
    slow_aucs, slow_covariance = slow_delong(outcome, [one, other])
    assert np.abs(aucs - slow_aucs).max() < 1e-12 and np.abs(covariance - slow_covariance).max() < 1e-12
    assert aucs[0] == pytest.approx(roc_auc_score(outcome, one), abs=1e-12)


def test_delongs_standard_errors_are_those_of_the_bootstrap():
    outcome, one, other = scored(240, digits=3)
    rng = np.random.default_rng(5)
    high, low = np.flatnonzero(outcome), np.flatnonzero(~outcome)
    drawn = []
    for _ in range(600):
        chosen = np.concatenate([rng.choice(high, len(high)), rng.choice(low, len(low))])
        drawn.append([roc_auc_score(outcome[chosen], score[chosen]) for score in (one, other)])
    drawn = np.array(drawn)
    _, covariance = delong(outcome, np.stack([one, other]))
    assert np.sqrt(covariance[0, 0]) == pytest.approx(drawn[:, 0].std(), rel=0.15)
    found = paired_delong(outcome, one, other)
    assert found.difference / found.z == pytest.approx((drawn[:, 0] - drawn[:, 1]).std(), rel=0.15)


def test_the_paired_test_is_antisymmetric_and_its_p_fits_its_z():
    outcome, one, other = scored()
    forth, back = paired_delong(outcome, one, other), paired_delong(outcome, other, one)
    assert forth.difference == -back.difference and forth.z == -back.z and forth.p == back.p and forth.lower == -back.upper
    assert forth.p == pytest.approx(2 * stats.norm.sf(abs(forth.z)), rel=1e-12)
    assert forth.lower < forth.difference < forth.upper


def test_under_no_difference_the_paired_test_rejects_one_time_in_twenty():
    rng = np.random.default_rng(7)
    outcome = np.arange(120) % 2 == 0
    rejected = 0
    for _ in range(400):
        shared = outcome + rng.normal(size=120)
        rejected += paired_delong(outcome, shared + rng.normal(size=120), shared + rng.normal(size=120)).p < 0.05
    assert 6 <= rejected <= 36                                            # 20 expected; 4.4 is one standard deviation


def test_equal_and_perfectly_opposite_scores_have_a_plain_answer():
    outcome = np.array([0, 0, 0, 1, 1, 1])
    score = np.arange(6.0)
    same = paired_delong(outcome, score, 2 * score + 1)
    assert (same.difference, same.z, same.p) == (0.0, 0.0, 1.0)
    opposite = paired_delong(outcome, score, -score)
    assert opposite.difference == 1.0 and math.isfinite(opposite.z) and 0 < opposite.p and opposite.lower < 0.01        # three and three show next to nothing
    two = paired_delong([0, 0, 1, 1], score[:4], -score[:4])
    assert two.lower < 0 and two.p > 0.05


def test_the_bounds_of_a_perfect_auc_are_newcombes_and_narrow_with_the_cases():
    for m, n in ((2, 2), (3, 9), (20, 35)):
        lower, upper = newcombe_bounds(1.0, m, n)
        mean = (m + n) / 2 - 1
        variance = lower * (1 - lower) * (1 + mean * (1 - lower) / (2 - lower) + mean * lower / (1 + lower)) / (m * n)
        assert upper == 1.0 and (1 - lower) / np.sqrt(variance) == pytest.approx(stats.norm.ppf(0.975), rel=1e-9)
        assert newcombe_bounds(0.0, m, n) == pytest.approx((0.0, 1 - lower)) and expected_ci(1.0, m, n) == (lower, 1.0)
        outcome = np.r_[np.ones(m), np.zeros(n)]
        assert auc_with_ci(outcome, outcome) == auc_with_ci(outcome, outcome, scale="plain") == (1.0, lower, 1.0)
    assert newcombe_bounds(1.0, 2, 2)[0] < 0.5 < newcombe_bounds(1.0, 5, 5)[0] < newcombe_bounds(1.0, 30, 30)[0] > 0.93
    with pytest.raises(ValueError):
        newcombe_bounds(0.9, 5, 5)


@pytest.mark.parametrize("m,n", [(5, 5), (5, 15), (10, 10), (20, 20)])
@pytest.mark.parametrize("truth", [0.9, 0.97])
def test_intervals_cover_the_truth_also_where_many_samples_are_perfect(m, n, truth):
    """Normal scores. Without bounds of its own every sample that is perfect would miss the truth."""
    random = np.random.default_rng(m * n)
    shift, outcome, hit, perfect = np.sqrt(2) * stats.norm.ppf(truth), np.r_[np.ones(m), np.zeros(n)], 0, 0
    for _ in range(1000):
        auc, lower, upper = auc_with_ci(outcome, random.normal(size=m + n) + shift * outcome)
        hit, perfect = hit + (lower <= truth <= upper), perfect + (auc == 1)
    assert perfect > (0 if truth == 0.9 else 20) and hit >= 920


@pytest.mark.parametrize("m,n", [(3, 3), (5, 5), (5, 15), (15, 15)])
def test_a_perfect_sample_is_rare_where_the_truth_is_the_bound(m, n):
    random, lower = np.random.default_rng(0), newcombe_bounds(1.0, m, n)[0]
    shift = np.sqrt(2) * stats.norm.ppf(lower)
    perfect = (random.normal(shift, 1, size=(40000, m)).min(1) > random.normal(size=(40000, n)).max(1)).mean()
    assert 0.001 < perfect < 0.05, perfect


def test_a_difference_from_a_perfect_score_is_never_without_an_interval():
    outcome = np.r_[np.ones(8), np.zeros(12)]
    random = np.random.default_rng(3)
    worse = outcome + random.normal(size=20)
    value, low, high = auc_with_ci(outcome, worse)
    found = paired_delong(outcome, outcome, worse)
    bound = newcombe_bounds(1.0, 8, 12)[0]
    assert found.difference == pytest.approx(1 - value) and found.lower == pytest.approx(1 - value - (1 - bound) - (high - value))
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(found.z))) and (found.lower > 0) == (found.p < 0.05)
    back = paired_delong(outcome, worse, outcome)
    assert (back.difference, back.z, back.lower, back.upper) == pytest.approx((-found.difference, -found.z, -found.upper, -found.lower))
    both = paired_delong(outcome, outcome, outcome + np.linspace(0, 0.5, 20))                # both perfect, other ranks
    assert both.difference == 0 and both.p == 1 and both.lower == pytest.approx(bound - 1) and both.upper == pytest.approx(1 - bound)


def test_only_ranks_count():
    outcome, one, _ = scored(digits=6)
    plain = auc_with_ci(outcome, one)
    assert auc_with_ci(outcome, np.exp(3 * one)) == pytest.approx(plain, abs=1e-15)
    low, high = np.where(one == one.min(), -np.inf, one), np.where(one == one.max(), np.inf, one)
    assert auc_with_ci(outcome, low) == plain and auc_with_ci(outcome, high) == plain


def test_plain_interval_is_symmetric_and_cut_where_an_auc_ends():
    outcome, one, _ = scored()
    auc, lower, upper = auc_with_ci(outcome, one, scale="plain")
    assert auc - lower == pytest.approx(upper - auc)
    _, covariance = delong(outcome, one[None])
    assert upper - auc == pytest.approx(1.959963984540054 * np.sqrt(covariance[0, 0]))
    nearly = np.array([0, 0, 0, 0, 1, 1, 1]), np.array([0, 1, 2, 4, 3, 5, 6])
    assert auc_with_ci(*nearly, scale="plain")[2] == 1.0 and auc_with_ci(*nearly)[2] < 1.0
    with pytest.raises(ValueError, match="logit or plain"):
        auc_with_ci(outcome, one, scale="log")


def test_a_score_that_is_not_a_number_and_too_few_cases_are_refused():
    with pytest.raises(ValueError, match="is a number"):
        auc_with_ci([1, 1, 0, 0], [1, math.nan, 0, 0])
    with pytest.raises(ValueError, match="two cases of each class"):
        paired_delong([1, 0, 0, 0], [1, 2, 3, 4], [1, 2, 3, 4])


def test_midranks_are_scipys():
    values = np.round(np.random.default_rng(0).normal(size=300), 1)
    assert np.array_equal(midranks(values), stats.rankdata(values))


def test_expected_interval_is_the_published_one_for_31_cases_with_and_150_without():
    """AUC 0.90 with 31 against 150 cases: 0.826 to 0.974."""
    assert expected_ci(0.90, 31, 150) == pytest.approx((0.826, 0.974), abs=6e-4)
    assert hanley_mcneil_error(0.5, 40, 60) == pytest.approx(math.sqrt((0.25 + (39 + 59) / 12) / 2400))


@pytest.mark.parametrize("successes,total", [(0, 7), (7, 7), (3, 11), (31, 150)])
def test_wilson_is_scipys(successes, total):
    expected = stats.binomtest(successes, total).proportion_ci(method="wilson")
    found = wilson(successes, total)
    assert (found.value, found.lower, found.upper) == pytest.approx((successes / total, expected.low, expected.high), abs=1e-12)


def test_a_proportion_of_nobody_has_no_value():
    assert wilson(0, 0).value is None and wilson(0, 0).upper is None
    with pytest.raises(ValueError):
        wilson(3, 2)


def test_operating_point_counts_what_it_says():
    found = operating_point([1, 1, 1, 0, 0, 0, 0], [0.9, 0.5, 0.4, 0.6, 0.3, 0.2, 0.1], 0.5)
    assert [(p.successes, p.total) for p in (found.sensitivity, found.specificity, found.ppv, found.npv, found.accuracy)] == \
        [(2, 3), (3, 4), (2, 3), (3, 4), (5, 7)]


def test_calibration_slope_is_an_unpenalised_fit_and_the_intercept_solves_its_equation():
    rng = np.random.default_rng(2)
    logit = rng.normal(size=400)
    outcome = rng.random(400) < 1 / (1 + np.exp(-(0.4 + 0.7 * logit)))
    found = calibration(outcome, logit)
    reference = LogisticRegression(C=1e10, tol=1e-10, max_iter=1000).fit(logit[:, None], outcome)
    assert found.slope == pytest.approx(reference.coef_[0, 0], rel=1e-5)
    root = optimize.brentq(lambda shift: (1 / (1 + np.exp(-(shift + logit)))).sum() - outcome.sum(), -5, 5, xtol=1e-13)
    assert found.intercept == pytest.approx(root, abs=1e-9)
    assert found.slope_ci[0] < 0.7 < found.slope_ci[1] and found.intercept_ci[0] < found.intercept < found.intercept_ci[1]
    assert found.brier == pytest.approx(brier_score_loss(outcome, 1 / (1 + np.exp(-logit))))
    assert found.observed == pytest.approx(outcome.mean())


def test_the_logistic_covariance_is_the_inverse_curvature_of_the_likelihood():
    rng = np.random.default_rng(4)
    design = np.column_stack([np.ones(80), rng.normal(size=80)])
    outcome = rng.random(80) < 0.4
    found, covariance = logistic(design, outcome)
    likelihood = lambda b: -np.logaddexp(0, np.where(outcome, -1, 1) * (design @ b)).sum()
    step, eye = 1e-3, np.eye(2)
    curvature = [[(likelihood(found + step * (a + b)) - likelihood(found + step * (a - b)) - likelihood(found - step * (a - b))
                   + likelihood(found - step * (a + b))) / (4 * step**2) for b in eye] for a in eye]
    assert covariance == pytest.approx(np.linalg.inv(-np.array(curvature)), rel=1e-4)


def test_true_probabilities_are_calibrated_and_doubled_logits_have_half_the_slope():
    rng = np.random.default_rng(3)
    logit = rng.normal(0, 1.5, 5000)
    outcome = rng.random(5000) < 1 / (1 + np.exp(-logit))
    true, doubled = calibration(outcome, logit), calibration(outcome, 2 * logit)
    assert abs(true.intercept) < 0.1 and true.slope == pytest.approx(1, abs=0.1) and true.scaled_brier > 0.2
    assert doubled.slope == pytest.approx(true.slope / 2) and doubled.brier > true.brier


def test_separable_or_one_class_logits_have_no_slope():
    with pytest.raises(ValueError, match="separated"):
        calibration([0, 0, 1, 1], [-2.0, -1.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="both classes"):
        calibration([1, 1, 1], [0.1, 0.2, 0.3])


@pytest.mark.parametrize("values", [[0, 1, 1, 2], [0, 0, 0, 1], [1, 0, 1, 2], [3, 3, 3, 3], [0, 0, 1, math.inf]])
def test_classes_that_touch_at_one_value_only_and_columns_without_spread_have_no_regression(values):
    """Two cases of both classes share a value and all others are apart: the likelihood grows for ever, slowly."""
    with pytest.raises(ValueError, match="separated"):
        logistic(np.column_stack([np.ones(4), values]), [0, 0, 1, 1])


def test_an_intercept_whose_first_step_is_zero_is_still_found():
    """Half of the cases respond and the offsets' mean is 0, but not the intercept, because the offsets are lopsided."""
    outcome, offset = np.arange(40) % 2, np.where(np.arange(40) % 4 == 0, 3.0, -1.0)
    (found,), _ = logistic(np.ones((40, 1)), outcome, offset=offset)
    root = optimize.brentq(lambda shift: (1 / (1 + np.exp(-(shift + offset)))).sum() - 20, -5, 5, xtol=1e-13)
    assert abs(root) > 0.1 and found == pytest.approx(root, abs=1e-9)


def test_every_case_a_hundred_times_gives_the_same_line_and_a_tenth_of_its_error():
    random = np.random.default_rng(8)
    design, outcome = np.column_stack([np.ones(600), random.normal(size=600)]), random.random(600) < 0.4
    once, often = logistic(design, outcome), logistic(np.tile(design, (100, 1)), np.tile(outcome, 100))          # beyond MANY_CASES
    assert often[0] == pytest.approx(once[0], abs=1e-8) and 100 * often[1] == pytest.approx(once[1], rel=1e-6)


def test_the_curve_is_what_counting_gives():
    outcome, score, _ = scored()
    values, sensitivity, specificity = roc(outcome, score)
    assert np.array_equal(values[:-1], np.unique(score)) and values[-1] == math.inf
    assert sensitivity == pytest.approx([(score[outcome] >= value).mean() for value in values])
    assert specificity == pytest.approx([(score[~outcome] < value).mean() for value in values])


def test_nothing_heavy_is_loaded_before_it_is_needed():
    import subprocess
    import sys
    code = ("import sys\nfrom MRDeltaNetLib.cohort import calibration, statistics\nstatistics.auc_with_ci([0, 0, 1, 1], [1, 2, 2, 3])\n"
            "print(sorted({'statsmodels', 'sklearn', 'scipy', 'pandas'} & set(sys.modules)))")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_brier_of_always_one_half():
    assert brier([0, 1, 1, 0], [0.5] * 4) == 0.25
