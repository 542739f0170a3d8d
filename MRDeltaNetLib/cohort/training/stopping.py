"""Which epoch was the best, and when to stop looking for a better one."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np

MONITORS = ("f1", "auc", "nll")
SAME = 1e-9
"""Monitors that differ by less are a tie."""


@dataclass
class Monitor:
    """Smoothed monitor s <- smoothing s + (1 - smoothing) value of "f1", "auc" or "nll" (as its negative: larger is better); a tie
    goes to the lower log-loss.

    smoothed  starts at what a network that knows nothing reaches (uninformed()), so that a lucky first epoch does not win
    """

    smoothing: float
    patience: int
    smoothed: float
    best_epoch: int = -1
    best_value: float = -math.inf
    best_nll: float = math.inf
    last_epoch: int = -1

    def update(self, epoch: int, value: float, nll: float) -> bool:
        """Take in one epoch; True if it is the best so far. value is negative for "nll"."""
        self.last_epoch = epoch
        self.smoothed = self.smoothing * self.smoothed + (1 - self.smoothing) * value
        better = self.smoothed > self.best_value + SAME
        tie = abs(self.smoothed - self.best_value) <= SAME and nll < self.best_nll
        if better or tie:
            self.best_epoch, self.best_value, self.best_nll = epoch, self.smoothed, nll
        return better or tie

    @property
    def exhausted(self) -> bool:
        """Whether patience epochs have gone by since the best one."""
        return self.last_epoch - self.best_epoch >= self.patience

    def state(self) -> dict:
        """Plain values, for a checkpoint."""
        return asdict(self)

    def restore(self, state: dict) -> None:
        """Go on from state()."""
        self.__dict__.update(state)


def uninformed(kind: str, prevalence: float) -> float:
    """The monitor of a network that knows nothing: AUC 0.5, log-loss log 2 (as its negative), F1 of calling every case pCR."""
    return {"f1": 2 * prevalence / (1 + prevalence), "auc": 0.5, "nll": -math.log(2)}[kind]


def f1(outcome: np.ndarray, logit: np.ndarray, threshold: float) -> float:
    """2 TP / (2 TP + FP + FN) of pCR at logits at or above the threshold; 0 without any true positive."""
    outcome, called = np.asarray(outcome) > 0.5, np.asarray(logit) >= threshold
    hits = int((outcome & called).sum())
    return 2 * hits / (int(outcome.sum()) + int(called.sum())) if hits else 0.0


def log_loss(outcome: np.ndarray, logit: np.ndarray) -> float:
    """Mean negative log-likelihood of Bernoulli outcomes under logits."""
    outcome, logit = np.asarray(outcome, float), np.asarray(logit, float)
    return float(np.mean(np.logaddexp(0.0, logit) - outcome * logit))


def auc(outcome: np.ndarray, logit: np.ndarray) -> float:
    """Area under the ROC curve, ties counting half; NaN without both classes."""
    outcome, logit = np.asarray(outcome) > 0.5, np.asarray(logit, float)
    high, low = logit[outcome], np.sort(logit[~outcome])
    if not len(high) or not len(low):
        return math.nan
    below = np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")
    return float(below.mean() / (2 * len(low)))
