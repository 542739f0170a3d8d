"""The vectorised bootstrap against loops over resampled cases, and against what it should cover."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from MRDeltaNetLib.cohort.statistics import auc_with_ci, delong
from MRDeltaNetLib.cohort.statistics.bootstrap import (FEWEST_SAMPLES, affordable, auc_of_counts, average_precision_of_counts, counts, interval, ranking_bootstrap,
                                                       resamples)


def pairwise_delong(outcome, score):
    """DeLong's formula with every pair of cases written out: quadratic in the cases, no ranks."""
    high, low = score[outcome], score[~outcome]
    won = (high[:, None] > low).astype(float) + 0.5 * (high[:, None] == low)
    return won.mean(), won.mean(1).var(ddof=1) / len(high) + won.mean(0).var(ddof=1) / len(low)


tied_cases = some.integers(4, 60).flatmap(lambda n: some.tuples(some.lists(some.booleans(), min_size=n, max_size=n).filter(lambda o: 2 <= sum(o) <= len(o) - 2),
                                                               some.lists(some.integers(-3, 3), min_size=n, max_size=n)))


@settings(deadline=None, max_examples=150)
@given(tied_cases)
def test_the_area_and_its_variance_are_those_of_all_pairs_however_many_tie(cases):
    outcome, score = np.array(cases[0]), np.array(cases[1], dtype=float)
    (auc,), covariance = delong(outcome, score)
    expected = pairwise_delong(outcome, score)
    assert (auc, covariance[0, 0]) == pytest.approx(expected, abs=1e-12) and auc == pytest.approx(roc_auc_score(outcome, score), abs=1e-12)


@settings(deadline=None, max_examples=80)
@given(tied_cases, some.integers(0, 2**31))
def test_the_covariance_of_two_scores_is_that_of_all_pairs(cases, seed):
    outcome, score = np.array(cases[0]), np.array(cases[1], dtype=float)
    other = np.round(0.5 * score + np.random.default_rng(seed).normal(size=len(score)), 1)
    won = [(one[outcome][:, None] > one[~outcome]) + 0.5 * (one[outcome][:, None] == one[~outcome]) for one in (score, other)]
    cov = lambda side: np.cov(*(table.mean(side) for table in won))[0, 1] / won[0].shape[1 - side]
    assert delong(outcome, np.stack([score, other]))[1][0, 1] == pytest.approx(cov(1) + cov(0), abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(tied_cases, some.integers(0, 2**31))
def test_every_sample_is_what_resampling_the_cases_and_ranking_them_anew_gives(cases, seed):
    outcome, score = np.array(cases[0]), np.array(cases[1], dtype=float)
    aucs, precisions = ranking_bootstrap(outcome, score, 12, seed)
    drawn = np.concatenate(list(resamples(outcome, 12, seed)))
    assert len(aucs) == len(drawn) == 12
    for row, auc, precision in zip(drawn, aucs, precisions):
        assert auc == pytest.approx(roc_auc_score(outcome[row], score[row]), abs=1e-12)
        assert precision == pytest.approx(average_precision_score(outcome[row], score[row]), abs=1e-12)


def test_samples_are_stratified_reproducible_and_the_same_in_blocks_of_any_size(monkeypatch):
    outcome = np.arange(50) % 5 == 0
    rows = np.concatenate(list(resamples(outcome, 40, 3)))
    assert rows.shape == (40, 50) and (outcome[rows].sum(1) == 10).all() and outcome[rows[:, :10]].all()
    assert np.array_equal(rows, np.concatenate(list(resamples(outcome, 40, 3)))) and not np.array_equal(rows, np.concatenate(list(resamples(outcome, 40, 4))))
    monkeypatch.setattr("MRDeltaNetLib.cohort.statistics.bootstrap.BLOCK", 120)
    assert [len(block) for block in resamples(outcome, 5, 3)] == [2, 2, 1]
    free = np.concatenate(list(resamples(outcome, 200, 3, stratified=False)))
    assert outcome[free].sum(1).std() > 1 and outcome[free].sum(1).mean() == pytest.approx(10, abs=1)


def test_a_sample_of_one_class_only_is_drawn_without_a_stratum():
    assert np.concatenate(list(resamples(np.ones(5), 3, 0))).shape == (3, 5)


def test_counts_count():
    assert counts(np.array([[0, 2, 2], [1, 1, 1]]), 3).tolist() == [[1, 0, 2], [0, 3, 0]]
    assert auc_of_counts(np.array([[0, 1]]), np.array([[1, 0]])).tolist() == [1.0] and auc_of_counts(np.array([[2, 0]]), np.array([[2, 0]])).tolist() == [0.5]
    assert average_precision_of_counts(np.array([[1, 1]]), np.array([[1, 0]])) == pytest.approx([0.5 + 0.5 * 2 / 3])


def test_the_interval_is_about_delongs_where_both_are_right():
    random = np.random.default_rng(2)
    outcome = np.arange(400) % 3 == 0
    score = outcome + random.normal(size=400)
    lower, upper = interval(ranking_bootstrap(outcome, score, 2000, 1)[0])
    assert (lower, upper) == pytest.approx(auc_with_ci(outcome, score, "plain")[1:], abs=0.006)


def test_the_stratified_interval_covers_what_it_says():
    random, truth, hit = np.random.default_rng(5), 0.8, 0
    outcome, shift = np.arange(120) % 3 == 0, np.sqrt(2) * stats.norm.ppf(0.8)
    for _ in range(500):
        lower, upper = interval(ranking_bootstrap(outcome, random.normal(size=120) + shift * outcome, 400, 1)[0])
        hit += lower <= truth <= upper
    assert 0.90 <= hit / 500 <= 0.975


def test_too_few_samples_give_no_interval_and_very_many_cases_fewer_samples():
    assert interval(np.arange(FEWEST_SAMPLES - 1.0)) is None and interval(np.r_[np.arange(FEWEST_SAMPLES - 1.0), np.nan]) is None
    assert interval(np.arange(1001.0)) == (25.0, 975.0)
    assert affordable(1000, 2000) == 2000 and affordable(40_000, 2000) == 500 and affordable(10**6, 2000) == 0 and affordable(1000, 50) == 50
