"""The bootstrap of patients, all samples at once, in blocks that fit into memory. outcome is 1 for pCR and 0 for non-pCR.

Percentile intervals (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, 13.3). Stratified: every sample has as many cases of each
class as the data, as pROC does it for areas under the curve.
"""

from __future__ import annotations

from typing import Iterator

import numpy as np

BLOCK = 2**17
"""Drawn cases that are worked on at once: a megabyte stays in the processor's cache, which makes 2,000 samples of 1,000 cases ten times as fast as all at once."""
DRAWN_AT_MOST = 20_000_000
"""Cases drawn in all: 2,000 samples of 10,000 cases. More cases get fewer samples."""
FEWEST_SAMPLES = 200
"""A 95 % percentile interval from fewer samples is not told: its bounds would rest on the outermost five."""


def affordable(cases: int, samples: int) -> int:
    """How many samples of so many cases are drawn when `samples` are wanted; 0 where it would be fewer than FEWEST_SAMPLES although more are wanted."""
    possible = min(samples, DRAWN_AT_MOST // max(1, cases))
    return possible if possible >= min(samples, FEWEST_SAMPLES) else 0


def resamples(outcome: np.ndarray, samples: int, seed: int, stratified: bool = True) -> Iterator[np.ndarray]:
    """Blocks (b, n) of indices of drawn cases, `samples` rows in all; the same seed gives the same rows.

    stratified   the first columns are cases with pCR, as many as there are, then those without; otherwise n of all cases
    """
    outcome = np.asarray(outcome).astype(bool)
    strata = [found for found in (np.flatnonzero(outcome), np.flatnonzero(~outcome)) if len(found)] if stratified else [np.arange(len(outcome))]
    random = np.random.default_rng(seed)
    rows = max(1, BLOCK // max(1, len(outcome)))
    for start in range(0, samples, rows):
        count = min(rows, samples - start)
        yield np.concatenate([stratum[random.integers(len(stratum), size=(count, len(stratum)))] for stratum in strata], axis=1)


def interval(values: np.ndarray) -> tuple[float, float] | None:
    """The 2.5 % and 97.5 % quantiles of a bootstrap's values; None where fewer than FEWEST_SAMPLES of them exist (NaN: none in that sample)."""
    there = np.asarray(values, dtype=float)
    there = there[np.isfinite(there)]
    if len(there) < FEWEST_SAMPLES:
        return None
    lower, upper = np.quantile(there, [0.025, 0.975])
    return float(lower), float(upper)


def ranking_bootstrap(outcome: np.ndarray, score: np.ndarray, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """AUC and average precision of stratified samples, (samples,) each.

    outcome, score  (n,), both classes, no NaN
    Every sample becomes two rows of counts, one a class, over the different scores in ascending order; both measures are sums over them
    (auc_of_counts, average_precision_of_counts), so no sample is sorted.
    """
    values, place = np.unique(np.asarray(score, dtype=float), return_inverse=True)
    with_pcr = int(np.asarray(outcome).astype(bool).sum())
    aucs, precisions = [], []
    for drawn in resamples(outcome, samples, seed):
        places = place[drawn]
        high, low = counts(places[:, :with_pcr], len(values)), counts(places[:, with_pcr:], len(values))
        aucs.append(auc_of_counts(high, low))
        precisions.append(average_precision_of_counts(high, low))
    return np.concatenate(aucs), np.concatenate(precisions)


def counts(places: np.ndarray, cells: int) -> np.ndarray:
    """(b, cells): how often each row (b, n) of numbers from 0 to cells - 1 holds each of them."""
    rows = np.arange(len(places))[:, None] * cells
    return np.bincount((places + rows).ravel(), minlength=len(places) * cells).reshape(len(places), cells)


def auc_of_counts(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """AUC (b,) from counts (b, k) of cases with pCR and without at each of k ascending scores: pairs won, ties counting half, over all pairs."""
    below = np.cumsum(low, axis=1) - low / 2
    return (high * below).sum(axis=1) / (high.sum(axis=1) * low.sum(axis=1))


def average_precision_of_counts(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Average precision (b,) from counts (b, k) at ascending scores: the precision at each score times the recall that it adds, summed; cases
    of one score come in together, as scikit-learn has it."""
    true = np.cumsum(high[:, ::-1], axis=1)
    called = true + np.cumsum(low[:, ::-1], axis=1)
    return (high[:, ::-1] * true / np.maximum(called, 1)).sum(axis=1) / true[:, -1]
