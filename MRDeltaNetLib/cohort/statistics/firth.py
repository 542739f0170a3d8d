"""Logistic regression by Firth's penalised likelihood, finite even where classes can be separated.

Firth 1993 (doi:10.1093/biomet/80.1.27), Heinze and Schemper 2002 (doi:10.1002/sim.1047): the log likelihood gains half the log determinant of
Fisher's information (Jeffreys' prior). No kept Python package has it; R's logistf is the model of the tests and profile intervals.
The same Newton steps without the penalty serve profile likelihoods.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from MRDeltaNetLib.cohort.statistics.packages import package
from MRDeltaNetLib.cohort.statistics.regression import logistic, sigmoid

STEPS, STILL, LONGEST = 200, 1e-9, 5.0
"""Newton steps at most; the largest change of a coefficient (of a standardised column) at which they end; the longest one allowed, as in logistf."""


@dataclass(frozen=True)
class LogisticFit:
    """coefficients (k,), covariance (k, k) the inverse of Fisher's information, log_likelihood with the penalty if there is one."""

    coefficients: np.ndarray
    covariance: np.ndarray
    log_likelihood: float


def maximise(design: np.ndarray, outcome: np.ndarray, *, penalised: bool, fixed: dict[int, float] | None = None,
             start: np.ndarray | None = None) -> LogisticFit:
    """Maximum of the (penalised) likelihood of design (n, k), intercept included, for outcome (n,) of 0 and 1.

    fixed   column -> its coefficient, which stays; the penalty still is that of the whole design, so that likelihoods can be compared
    start   (k,) where steps begin
    raises  ValueError if columns depend on each other, or without a maximum (without the penalty: separated classes)
    """
    design, outcome = np.asarray(design, dtype=float), np.asarray(outcome, dtype=float)
    if not fixed and np.linalg.matrix_rank(design) < design.shape[1]:
        raise ValueError("columns depend on each other")
    spread = design.std(axis=0)
    scale = np.where(spread > 0, spread, np.maximum(np.abs(design).max(axis=0), 1e-300))      # Jeffreys' penalty moves by a constant only
    unit = design / scale
    b = np.zeros(design.shape[1]) if start is None else np.asarray(start, dtype=float) * scale
    for column, value in (fixed or {}).items():
        b[column] = value * scale[column]
    free = np.array([column not in (fixed or {}) for column in range(design.shape[1])])
    likelihood, slope, curvature, information = _likelihood(unit, outcome, b, penalised)
    for _ in range(STEPS):
        if not free.any():
            break
        step = np.zeros_like(b)
        step[free] = np.linalg.solve(curvature[np.ix_(free, free)], slope[free])
        step *= min(1.0, LONGEST / np.abs(step).max()) if step.any() else 1.0
        while True:
            tried = _likelihood(unit, outcome, b + step, penalised)
            if tried[0] >= likelihood - 1e-12 * abs(likelihood) or np.abs(step).max() < STILL:
                break
            step /= 2
        b = b + step
        likelihood, slope, curvature, information = tried
        if np.abs(step).max() < STILL:
            break
    else:
        raise ValueError("the likelihood has no maximum that could be found")
    inverse = np.linalg.inv(information)
    if not np.isfinite(inverse).all() or np.abs(b).max() > 1e4:
        raise ValueError("the likelihood has no maximum that could be found")
    shift = np.log(scale).sum() if penalised else 0.0
    return LogisticFit(b / scale, inverse / np.outer(scale, scale), likelihood + shift)


def firth(design: np.ndarray, outcome: np.ndarray) -> LogisticFit:
    """Firth's estimate; raises ValueError if there is only one class or columns depend on each other."""
    if not 0 < np.mean(outcome) < 1:
        raise ValueError("a logistic regression needs cases of both classes")
    return maximise(design, outcome, penalised=True)


def likelihood_ratio_p(design: np.ndarray, outcome: np.ndarray, fitted: LogisticFit, column: int, *, penalised: bool) -> float:
    """p that a column's coefficient is 0, by the (penalised) likelihood ratio."""
    without = maximise(design, outcome, penalised=penalised, fixed={column: 0.0}, start=fitted.coefficients)
    return float(package("scipy.stats").chi2.sf(max(0.0, 2 * (fitted.log_likelihood - without.log_likelihood)), 1))


def fitted_for_prediction(design: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """Coefficients (k,) by Firth's penalty, the first (intercept) without it, so that the mean probability is the share of events.

    Puhr et al. 2017 (doi:10.1002/sim.7273), FLIC: the penalty draws probabilities towards one half.
    """
    coefficients = firth(design, outcome).coefficients.copy()
    (coefficients[0],), _ = logistic(np.ones((len(design), 1)), outcome, offset=design[:, 1:] @ coefficients[1:])
    return coefficients


def _likelihood(design, outcome, b, penalised) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Log likelihood, its slope (k,), the curvature that steps are measured by (k, k), and Fisher's information (k, k).

    The penalty adds its share to the curvature: without it, steps of a saturated model go there and back for ever.
    """
    linear = design @ b
    p = sigmoid(linear)
    weight = p * (1 - p)
    weighted = design * weight[:, None]
    information = design.T @ weighted
    value = float(outcome @ linear - np.logaddexp(0.0, linear).sum())
    if not penalised:
        return value, design.T @ (outcome - p), information, information
    sign, determinant = np.linalg.slogdet(information)
    if sign <= 0:
        return -np.inf, np.zeros(len(b)), information, information
    hat = np.einsum("ij,ji->i", weighted, np.linalg.solve(information, design.T))
    return value + determinant / 2, design.T @ (outcome - p + hat * (0.5 - p)), design.T @ (weighted * (1 + hat)[:, None]), information
