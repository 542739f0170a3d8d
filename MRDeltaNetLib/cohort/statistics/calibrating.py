"""Whether predicted probabilities are those that come true. outcome is 1 for pCR and 0 for non-pCR."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from MRDeltaNetLib.cohort.statistics.packages import Z_95, package
from MRDeltaNetLib.cohort.statistics.regression import logistic, sigmoid


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


def calibration(outcome: np.ndarray, logit: np.ndarray) -> Calibration:
    """Calibration of predicted logits (n,).

    raises ValueError if there is only one class, or if the logits separate the classes (then no slope exists)
    """
    outcome, logit = np.asarray(outcome, dtype=float), np.asarray(logit, dtype=float)
    intercept, intercept_ci = in_the_large(outcome, logit)
    slope, slope_ci = slope_of(outcome, logit)
    probability = sigmoid(logit)
    observed, error = float(outcome.mean()), brier(outcome, probability)
    return Calibration(intercept, intercept_ci, slope, slope_ci, error, scaled_brier(outcome, error), float(probability.mean()), observed)


def in_the_large(outcome: np.ndarray, logit: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Calibration in the large with its 95 % interval (Wald): the intercept of a logistic model with the predicted logit as offset.

    raises ValueError if there is only one class, or a logit is not finite
    """
    (intercept,), inverse = logistic(np.ones((len(outcome), 1)), outcome, offset=logit)
    return _wald(float(intercept), math.sqrt(inverse[0, 0]))


def slope_of(outcome: np.ndarray, logit: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Calibration slope (Cox 1958) with its 95 % interval (Wald). raises ValueError as in_the_large(), and if the logits are all equal or separate the classes"""
    (_, slope), inverse = logistic(np.column_stack([np.ones(len(outcome)), logit]), outcome)
    return _wald(float(slope), math.sqrt(inverse[1, 1]))


def scaled_brier(outcome: np.ndarray, error: float) -> float:
    """1 - error / (the Brier score of always predicting the share of pCR); outcomes of both classes."""
    observed = float(np.mean(outcome))
    return 1 - error / (observed * (1 - observed))


def expected_over_observed(outcome: np.ndarray, probability: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Mean predicted probability over the share of pCR, with its 95 % interval exp(log(E/O) +- 1.96 sqrt((1 - O) / (n O))).

    (Debray 2017, doi:10.1136/bmj.i6460: the expected number is taken as known.) raises ValueError without a case with pCR, or if nothing is expected
    """
    observed, expected = float(np.mean(outcome)), float(np.mean(probability))
    if observed == 0 or expected == 0:
        raise ValueError("expected over observed needs cases with pCR, expected and observed")
    ratio, error = expected / observed, math.sqrt((1 - observed) / (observed * len(outcome)))
    return ratio, (ratio * math.exp(-Z_95 * error), ratio * math.exp(Z_95 * error))


def brier(outcome: np.ndarray, probability: np.ndarray) -> float:
    """Mean squared error of a probability (Brier 1950)."""
    return float(package("sklearn.metrics").brier_score_loss(np.asarray(outcome).astype(int), np.asarray(probability, dtype=float)))


def _wald(value: float, error: float) -> tuple[float, tuple[float, float]]:
    return value, (value - Z_95 * error, value + Z_95 * error)
