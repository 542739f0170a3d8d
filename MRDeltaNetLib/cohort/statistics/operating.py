"""What a threshold does: proportions with Wilson's intervals, and the curve of all thresholds. outcome is 1 for pCR and 0 for non-pCR."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from MRDeltaNetLib.cohort.statistics.packages import package


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


def wilson(successes: int, total: int) -> Proportion:
    """A proportion with Wilson's score interval (1927), 95 %."""
    if not 0 <= successes <= total:
        raise ValueError("successes lie between 0 and total")
    if not total:
        return Proportion(0, 0, None, None, None)
    lower, upper = package("statsmodels.stats.proportion").proportion_confint(successes, total, alpha=0.05, method="wilson")
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
    false_positive, true_positive, values = package("sklearn.metrics").roc_curve(np.asarray(outcome).astype(bool), np.asarray(score, dtype=float),
                                                                                  drop_intermediate=False)
    return values[::-1], true_positive[::-1], 1 - false_positive[::-1]
