"""The smooth calibration curve against statsmodels' lowess, a loop over cases, and probabilities of known calibration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from statsmodels.nonparametric.smoothers_lowess import lowess

from MRDeltaNetLib.cohort.statistics import smooth_calibration
from MRDeltaNetLib.cohort.statistics.bootstrap import interval, resamples
from MRDeltaNetLib.cohort.statistics.smooth_calibration import distances, distances_bootstrap, expected_calibration_error, smooth_curve


def predicted(n=300, seed=0, spoil=lambda p: p):
    """Outcomes, and their true probabilities after `spoil`."""
    random = np.random.default_rng(seed)
    truth = random.beta(1.5, 2.5, size=n)
    return (random.uniform(size=n) < truth).astype(float), spoil(truth)


def one_line(outcome, probability, at, weight=None):
    """The weighted line at one place by least squares, with the neighbours sorted out one by one."""
    apart = np.abs(probability - at)
    reach = sorted(apart)[int(0.75 * len(apart)) - 1]
    tricube = np.array([(1 - (d / reach) ** 3) ** 3 if d < reach else 0.0 for d in apart]) * (1 if weight is None else weight)
    root = np.sqrt(tricube)
    (level, _), *_ = np.linalg.lstsq(np.column_stack([root, root * (probability - at)]), root * outcome, rcond=None)
    return min(1.0, max(0.0, level))


@pytest.mark.parametrize("n, seed", [(60, 1), (333, 2), (1026, 3)])
def test_the_curve_is_statsmodels_lowess_without_robustness_steps(n, seed):
    outcome, probability = predicted(n, seed)
    theirs = lowess(outcome, probability, frac=0.75, it=0, return_sorted=False)
    assert np.abs(smooth_curve(outcome, probability, probability) - np.clip(theirs, 0, 1)).max() < 1e-6
    apart = np.abs(np.clip(theirs, 0, 1) - probability)
    found = distances(outcome, probability)
    assert (found.ici, found.e50, found.e90) == pytest.approx((apart.mean(), np.median(apart), np.quantile(apart, 0.9)), abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(some.integers(0, 2**31), some.integers(30, 80))
def test_the_curve_is_a_weighted_line_at_each_case(seed, n):
    outcome, probability = predicted(n, seed)
    if min(outcome.sum(), n - outcome.sum()) < 5:
        return
    at = np.sort(probability)[:: n // 7]
    assert smooth_curve(outcome, probability, at) == pytest.approx([one_line(outcome, probability, place) for place in at], abs=1e-9)


@pytest.mark.parametrize("values", [(0.3,), (0.2, 0.7), (0.0, 0.5, 1.0)])
def test_of_a_few_tied_probabilities_the_curve_is_each_ones_share(values):
    """statsmodels' lowess returns 0 or 1 there."""
    random = np.random.default_rng(1)
    probability = np.resize(values, 90)
    outcome = (random.uniform(size=90) < 0.2 + 0.5 * probability).astype(float)
    shares = [outcome[probability == value].mean() for value in values]
    if len(values) < 3:
        assert smooth_curve(outcome, probability, np.array(values)) == pytest.approx(shares, abs=1e-12)
        assert distances(outcome, probability).ici == pytest.approx(np.mean(np.abs(np.subtract(shares, values))), abs=1e-12)
    between = smooth_curve(outcome, probability, np.linspace(values[0], values[-1], 11))
    assert np.isfinite(between).all() and between[[0, -1]] == pytest.approx(smooth_curve(outcome, probability, np.array(values))[[0, -1]])


def test_true_probabilities_lie_on_the_curve_and_spoilt_ones_as_far_off_as_they_were_spoilt():
    outcome, truth = predicted(20_000)
    assert distances(outcome, truth).ici < 0.012
    shifted = distances(outcome, np.clip(truth + 0.1, 0, 1))
    assert (shifted.ici, shifted.e50) == pytest.approx((0.1, 0.1), abs=0.015) and shifted.e90 >= shifted.e50


def test_few_nodes_give_what_all_give(monkeypatch):
    outcome, probability = predicted(1500)
    exact = distances(outcome, probability)
    monkeypatch.setattr(smooth_calibration, "EXACT", 100)
    assert distances(outcome, probability).ici == pytest.approx(exact.ici, abs=5e-4)


def test_bootstrap_samples_are_lines_through_the_drawn_cases():
    outcome, probability = predicted(80, 4)
    told = []
    found, curves = distances_bootstrap(outcome, probability, 5, 7, np.unique(probability)[[10, 60]])
    for row, curve in zip(np.concatenate(list(resamples(outcome, 5, 7, stratified=False))), curves):
        often = np.bincount(row, minlength=80)
        expected = [one_line(outcome, probability, place, often) for place in np.unique(probability)]
        assert curve == pytest.approx(np.array(expected)[[10, 60]], abs=1e-9)
        apart = np.abs(np.interp(probability[row], np.unique(probability), expected) - probability[row])
        told.append((apart.mean(), np.median(apart), np.quantile(apart, 0.9)))
    assert np.column_stack([found.ici, found.e50, found.e90]) == pytest.approx(np.array(told), abs=1e-9)


def test_the_interval_of_ici_holds_the_amount_that_was_spoilt():
    outcome, probability = predicted(600, 5, lambda p: np.clip(p + 0.12, 0, 1))
    lower, upper = interval(distances_bootstrap(outcome, probability, 500, 0, probability[:1])[0].ici)
    assert lower < 0.12 < upper and upper - lower < 0.12


def test_the_binned_error_is_the_mean_over_tenths():
    outcome, probability = predicted(400, 6)
    order = np.argsort(probability)
    tenths = [np.abs(probability[part].mean() - outcome[part].mean()) for part in np.split(order, 10)]
    value, drawn = expected_calibration_error(outcome, probability, 300, 1)
    assert value == pytest.approx(np.mean(tenths), abs=1e-12) and len(drawn) == 300
    assert np.quantile(drawn, 0.025) < drawn.mean() and drawn.mean() > value - 0.005        # resampling adds noise to a distance


def test_ties_stay_in_one_bin_and_thin_bins_are_refused():
    outcome, _ = predicted(400, 6)
    tied = np.repeat([0.1, 0.4, 0.8], [150, 150, 100])
    shares = [abs(outcome[tied == value].mean() - value) for value in (0.1, 0.4, 0.8)]
    assert expected_calibration_error(outcome, tied)[0] == pytest.approx(np.average(shares, weights=[150, 150, 100]), abs=1e-12)
    assert expected_calibration_error(*predicted(200))[0] > 0
    for thin in (predicted(199), (outcome, np.full(400, 0.3)), (outcome, np.repeat([0.1, 0.9], [390, 10]))):
        with pytest.raises(ValueError, match="20 cases each"):
            expected_calibration_error(*thin)


def test_too_few_cases_and_what_is_no_probability_are_refused():
    outcome, probability = predicted(40)
    for wrong in ((outcome[:19], probability[:19]), (np.r_[np.ones(4), np.zeros(36)], probability)):
        with pytest.raises(ValueError, match="20 cases and 5 of each class"):
            distances(*wrong)
    for wrong in (probability * 3, np.where(probability > 0.5, np.nan, probability), probability[1:]):
        with pytest.raises(ValueError, match="from 0 to 1"):
            smooth_curve(outcome, wrong, probability)
