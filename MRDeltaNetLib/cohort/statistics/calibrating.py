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
    return float(package("sklearn.metrics").brier_score_loss(np.asarray(outcome).astype(int), np.asarray(probability, dtype=float)))
