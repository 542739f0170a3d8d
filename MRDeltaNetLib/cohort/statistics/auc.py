"""Areas under ROC curves with their uncertainty. outcome is 1 for pCR and 0 for non-pCR; a larger score means closer to pCR.

DeLong, DeLong and Clarke-Pearson 1988 (doi:10.2307/2531595), computed by midranks as Sun and Xu 2014 (doi:10.1109/LSP.2014.2337313)
do: n log n instead of the product of both class sizes. No well-kept library has the paired test, so it is written here, with the ranks
that it needs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from MRDeltaNetLib.cohort.statistics.packages import Z_95

BISECTIONS = 50


@dataclass(frozen=True)
class Difference:
    """AUC of one score minus AUC of another on the same cases, by DeLong's paired test.

    difference    of the AUCs
    lower, upper  its 95 % interval (difference +- 1.96 standard errors, within -1 and 1)
    z, p          two-sided; z is 0 and p 1 without any difference
    """

    difference: float
    lower: float
    upper: float
    z: float
    p: float


def auc_with_ci(outcome: np.ndarray, score: np.ndarray, scale: str = "logit") -> tuple[float, float, float]:
    """Area under the ROC curve with its 95 % interval by DeLong's variance.

    outcome  (n,) 1 = pCR, 0 = non-pCR; score (n,) larger means closer to pCR; infinite scores are ranked, NaN is refused
    scale    "logit" (keeps the interval inside (0, 1), and covers better near 1) or "plain" (cut at 0 and 1; what pROC reports)
    returns  AUC, lower, upper; where the AUC is 0 or 1 DeLong's variance is nothing, and the bounds are those of newcombe_bounds()
    raises   ValueError unless both classes hold at least two cases and no score is NaN
    """
    if scale not in ("logit", "plain"):
        raise ValueError("scale is logit or plain")
    (auc,), covariance = delong(outcome, np.asarray(score, dtype=float)[None])
    auc, error = float(auc), math.sqrt(covariance[0, 0])
    if not 0 < auc < 1:
        return auc, *newcombe_bounds(auc, *_class_sizes(outcome))
    if scale == "plain":
        return auc, max(0.0, auc - Z_95 * error), min(1.0, auc + Z_95 * error)
    centre, half = math.log(auc / (1 - auc)), Z_95 * error / (auc * (1 - auc))
    lower, upper = (1 / (1 + math.exp(-(centre + sign * half))) for sign in (-1, 1))
    return auc, lower, upper


def delong(outcome: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUCs of several scores of the same cases, and their covariance.

    outcome  (n,); scores (m, n)
    returns  AUCs (m,), covariance (m, m)
    raises   ValueError unless both classes hold at least two cases and no score is NaN

    V_i of a pCR case is the share of non-pCR cases that score lower, ties counting half: (its midrank among all cases minus its
    midrank among pCR cases) / number of non-pCR cases; V_j of a non-pCR case likewise. covariance = cov(V_i) / n_pcr + cov(V_j) / n_non_pcr.
    """
    outcome, scores = np.asarray(outcome).astype(bool), np.atleast_2d(np.asarray(scores, dtype=float))
    if scores.shape[1] != len(outcome) or np.isnan(scores).any():
        raise ValueError("every case needs one score that is a number")
    m, n = int(outcome.sum()), int((~outcome).sum())
    if min(m, n) < 2:
        raise ValueError("an AUC with an interval needs two cases of each class")
    every = np.stack([midranks(score) for score in scores])
    high = np.stack([midranks(score[outcome]) for score in scores])
    low = np.stack([midranks(score[~outcome]) for score in scores])
    v_high, v_low = (every[:, outcome] - high) / n, 1 - (every[:, ~outcome] - low) / m
    covariance = np.cov(v_high).reshape(len(scores), -1) / m + np.cov(v_low).reshape(len(scores), -1) / n
    return np.clip(v_high.mean(1), 0.0, 1.0), covariance


def paired_delong(outcome: np.ndarray, score: np.ndarray, other: np.ndarray) -> Difference:
    """Is the AUC of score larger or smaller than that of other, on the same cases?

    Where one AUC is 0 or 1, DeLong's variance of it is nothing and its covariance is not known: the difference then reaches as far as both
    intervals (auc_with_ci) together, which holds however the scores go together, and z is taken from its end towards 0.
    raises ValueError as delong()
    """
    aucs, covariance = delong(outcome, np.stack([np.asarray(score, dtype=float), np.asarray(other, dtype=float)]))
    difference = float(aucs[0] - aucs[1])
    if not ((0 < aucs) & (aucs < 1)).all() and not np.array_equal(midranks(score), midranks(other)):
        return _difference_of_intervals(auc_with_ci(outcome, score), auc_with_ci(outcome, other))
    error = math.sqrt(max(0.0, covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]))
    if error < 1e-12:                             # rounding; a real variance is at least of the order of 1 / n squared
        z = 0.0 if abs(difference) < 1e-12 else math.copysign(math.inf, difference)
    else:
        z = difference / error
    half = Z_95 * error
    return Difference(difference, max(-1.0, difference - half), min(1.0, difference + half), z, math.erfc(abs(z) / math.sqrt(2)))


def newcombe_bounds(auc: float, with_pcr: int, without: int) -> tuple[float, float]:
    """The 95 % interval of an AUC of 0 or 1: the score interval of Newcombe 2006 (doi:10.1002/sim.2324, method 5), from class sizes alone.

    It holds every true AUC t for which |auc - t| <= 1.96 sqrt(V(t)), with Hanley and McNeil's variance in which N = (m + n) / 2 - 1 stands for
    both class sizes less one: V(t) = t (1 - t) (1 + N (1 - t) / (2 - t) + N t / (1 + t)) / (m n).
    returns  lower, upper; one of them is the AUC itself
    raises   ValueError unless the AUC is 0 or 1
    """
    if auc not in (0, 1):
        raise ValueError("these are the bounds of an AUC of 0 or 1")
    mean = (with_pcr + without) / 2 - 1
    inside = lambda t: 1 - t <= Z_95**2 * t * (1 + mean * (1 - t) / (2 - t) + mean * t / (1 + t)) / (with_pcr * without)
    below, above = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (below + above) / 2
        below, above = (below, middle) if inside(middle) else (middle, above)
    return (below, 1.0) if auc == 1 else (0.0, 1 - below)


def midranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the mean of their ranks."""
    values = np.asarray(values, dtype=float)
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def hanley_mcneil_error(auc: float, with_pcr: int, without: int) -> float:
    """Standard error that an AUC may be expected to have, from class sizes alone (Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747)."""
    both, one = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    return math.sqrt((auc * (1 - auc) + (with_pcr - 1) * (both - auc**2) + (without - 1) * (one - auc**2)) / (with_pcr * without))


def expected_ci(auc: float, with_pcr: int, without: int) -> tuple[float, float]:
    """The 95 % interval that an AUC may be expected to have with so many cases: to be printed beside the one that was found."""
    if auc in (0, 1):                                         # Hanley and McNeil's error is nothing there
        return newcombe_bounds(auc, with_pcr, without)
    half = Z_95 * hanley_mcneil_error(auc, with_pcr, without)
    return max(0.0, auc - half), min(1.0, auc + half)


def _difference_of_intervals(one: tuple[float, float, float], other: tuple[float, float, float]) -> Difference:
    """From (value, lower, upper) of both: the difference reaches as far as both intervals together."""
    difference, down, up = one[0] - other[0], one[0] - one[1] + other[2] - other[0], one[2] - one[0] + other[0] - other[1]
    half = down if difference > 0 else up
    z = Z_95 * difference / half if difference else 0.0
    return Difference(difference, max(-1.0, difference - down), min(1.0, difference + up), z, math.erfc(abs(z) / math.sqrt(2)))


def _class_sizes(outcome: np.ndarray) -> tuple[int, int]:
    outcome = np.asarray(outcome).astype(bool)
    return int(outcome.sum()), int((~outcome).sum())
