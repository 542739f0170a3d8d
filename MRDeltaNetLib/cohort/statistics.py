"""Discrimination, calibration and operating points, each with its uncertainty. outcome is 1 for pCR and 0 for non-pCR throughout;
a larger score means closer to pCR.

DeLong, DeLong and Clarke-Pearson 1988 (doi:10.2307/2531595), computed by midranks as Sun and Xu 2014 (doi:10.1109/LSP.2014.2337313)
do: n log n instead of the product of both class sizes. No well-kept library has the paired test, so it is written here, with the ranks
that it needs; curves and Brier score are scikit-learn's, proportions and regressions statsmodels', each loaded when first asked for.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from MRDeltaNetLib.errors import require

Z_95 = 1.959963984540054

STEPS, TOLERANCE, STILL = 50, 1e-12, 1e-3
"""A logistic likelihood is at its maximum after some six steps of reweighted least squares, when its deviance changes by less than TOLERANCE
and no case's linear predictor by more than STILL; where some predictors go on growing by one a step, the classes can be separated."""


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


@dataclass(frozen=True)
class Proportion:
    """successes of total with Wilson's 95 % interval; value, lower and upper are None without any case."""

    successes: int
    total: int
    value: float | None
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class OperatingPoint:
    """What a threshold does: a probability at or above it counts as pCR."""

    threshold: float
    sensitivity: Proportion
    specificity: Proportion
    ppv: Proportion
    npv: Proportion
    accuracy: Proportion


@dataclass(frozen=True)
class Calibration:
    """How predicted probabilities fit what happened.

    intercept            of a logistic model with the predicted logit as offset (calibration in the large); 0 is perfect
    slope                of a logistic model on the predicted logit; 1 is perfect, below 1 the predictions are too extreme
    intercept_ci, slope_ci   95 %, Wald
    brier                mean squared error of the probability
    scaled_brier         1 - brier / (brier of always predicting the prevalence); 1 is perfect, 0 is worth nothing
    expected, observed   mean predicted probability, share of pCR
    """

    intercept: float
    intercept_ci: tuple[float, float]
    slope: float
    slope_ci: tuple[float, float]
    brier: float
    scaled_brier: float
    expected: float
    observed: float


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


def wilson(successes: int, total: int) -> Proportion:
    """A proportion with Wilson's score interval (1927), 95 %."""
    if not 0 <= successes <= total:
        raise ValueError("successes lie between 0 and total")
    if not total:
        return Proportion(0, 0, None, None, None)
    lower, upper = _package("statsmodels.stats.proportion").proportion_confint(successes, total, alpha=0.05, method="wilson")
    return Proportion(int(successes), int(total), successes / total, 0.0 if successes == 0 else float(lower), 1.0 if successes == total else float(upper))


def operating_point(outcome: np.ndarray, probability: np.ndarray, threshold: float) -> OperatingPoint:
    """Sensitivity, specificity, predictive values and accuracy at a threshold."""
    outcome = np.asarray(outcome).astype(bool)
    called = np.asarray(probability, dtype=float) >= threshold
    share = lambda hits, among: wilson(int((hits & among).sum()), int(among.sum()))
    everyone = np.ones(len(outcome), dtype=bool)
    return OperatingPoint(float(threshold), share(called, outcome), share(~called, ~outcome), share(outcome, called),
                          share(~outcome, ~called), share(called == outcome, everyone))


def youden_threshold(outcome: np.ndarray, score: np.ndarray) -> float:
    """The score that maximises sensitivity + specificity - 1, midway to the next lower score; cases at or above it count as pCR."""
    values, sensitivity, specificity = roc(outcome, score)
    best = int(np.argmax((sensitivity + specificity)[:-1].round(12)))              # of equal ones the lowest
    return float(values[best] if best == 0 else (values[best] + values[best - 1]) / 2)


def roc(outcome: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ROC curve: every different score ascending, then infinity (m + 1,), and sensitivity and specificity if cases at or above it count as pCR."""
    false_positive, true_positive, values = _package("sklearn.metrics").roc_curve(np.asarray(outcome).astype(bool), np.asarray(score, dtype=float),
                                                                                  drop_intermediate=False)
    return values[::-1], true_positive[::-1], 1 - false_positive[::-1]


def calibration(outcome: np.ndarray, logit: np.ndarray) -> Calibration:
    """Calibration of predicted logits (n,).

    raises ValueError if there is only one class, or if the logits separate the classes (then no slope exists)
    """
    outcome, logit = np.asarray(outcome, dtype=float), np.asarray(logit, dtype=float)
    ones = np.ones((len(outcome), 1))
    (intercept,), inverse = logistic(ones, outcome, offset=logit)
    in_the_large = math.sqrt(inverse[0, 0])
    (_, slope), inverse = logistic(np.column_stack([ones, logit]), outcome)
    spread = math.sqrt(inverse[1, 1])
    probability = sigmoid(logit)
    observed, error = float(outcome.mean()), brier(outcome, probability)
    return Calibration(float(intercept), (intercept - Z_95 * in_the_large, intercept + Z_95 * in_the_large), float(slope),
                       (slope - Z_95 * spread, slope + Z_95 * spread), error, 1 - error / (observed * (1 - observed)),
                       float(probability.mean()), observed)


def brier(outcome: np.ndarray, probability: np.ndarray) -> float:
    """Mean squared error of a probability (Brier 1950)."""
    return float(_package("sklearn.metrics").brier_score_loss(np.asarray(outcome).astype(int), np.asarray(probability, dtype=float)))


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-logit)), without overflow."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(logit, dtype=float)))


def logistic(design: np.ndarray, outcome: np.ndarray, offset: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Maximum-likelihood logistic regression (iteratively reweighted least squares), without a penalty.

    design   (n, k), a column of ones where an intercept is wanted; offset (n,) is added to the linear predictor
    returns  coefficients (k,), and their covariance (k, k), the inverse of Fisher's information
    raises   ValueError if there is only one class, if columns depend on each other, or if the classes can be separated: no finite solution;
             and where the steps do not settle, as with offsets beyond some 30
    """
    design, outcome = np.asarray(design, dtype=float), np.asarray(outcome, dtype=float)
    if not 0 < outcome.mean() < 1:
        raise ValueError("a logistic regression needs cases of both classes")
    no_solution = ValueError("the classes can be separated, columns depend on each other, or offsets are extreme: no logistic regression was found")
    if not np.isfinite(design).all() or np.linalg.matrix_rank(design) < design.shape[1]:
        raise no_solution
    model = _package("statsmodels.genmod.generalized_linear_model").GLM(outcome, design, offset=np.broadcast_to(np.asarray(offset, dtype=float), outcome.shape),
                                                                        family=_package("statsmodels.genmod.families").Binomial())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                # of separation and of a fit without end: both are refused below
        fitted = model.fit(maxiter=STEPS, tol=TOLERANCE, rtol=TOLERANCE)
    before, found = fitted.fit_history["params"][-2:]
    if not fitted.converged or np.abs(design @ (found - before)).max() > STILL:
        raise no_solution
    return np.asarray(fitted.params), np.asarray(fitted.cov_params())


def _difference_of_intervals(one: tuple[float, float, float], other: tuple[float, float, float]) -> Difference:
    """From (value, lower, upper) of both: the difference reaches as far as both intervals together."""
    difference, down, up = one[0] - other[0], one[0] - one[1] + other[2] - other[0], one[2] - one[0] + other[0] - other[1]
    half = down if difference > 0 else up
    z = Z_95 * difference / half if difference else 0.0
    return Difference(difference, max(-1.0, difference - down), min(1.0, difference + up), z, math.erfc(abs(z) / math.sqrt(2)))


def _class_sizes(outcome: np.ndarray) -> tuple[int, int]:
    outcome = np.asarray(outcome).astype(bool)
    return int(outcome.sum()), int((~outcome).sum())


def _package(name: str) -> Any:
    return require(name, "Statistics of a study", "pip install 'mrdeltanet[cohort]'")
