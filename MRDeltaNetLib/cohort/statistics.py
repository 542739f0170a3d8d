"""Discrimination with its uncertainty."""

from __future__ import annotations

import math

import numpy as np

Z_95 = 1.959963984540054


def auc_with_ci(outcome: np.ndarray, score: np.ndarray) -> tuple[float, float, float]:
    """Area under the ROC curve with its 95 % interval by DeLong's variance on the logit scale.

    outcome  (n,) 1 = pCR, 0 = non-pCR; score (n,) larger means closer to pCR
    returns  AUC, lower, upper; lower and upper equal the AUC where it is 0 or 1
    raises   ValueError unless both classes hold at least two cases

    DeLong et al. 1988; V_i (a pCR case) is the share of non-pCR cases that score lower, ties counting half, V_j likewise;
    var = var(V_i) / n_pcr + var(V_j) / n_non_pcr. The logit scale keeps the interval inside (0, 1).
    """
    outcome, score = np.asarray(outcome).astype(bool), np.asarray(score, dtype=float)
    high, low = score[outcome], score[~outcome]
    if min(len(high), len(low)) < 2:
        raise ValueError("an AUC with an interval needs two cases of each class")
    wins = (high[:, None] > low[None]) + 0.5 * (high[:, None] == low[None])
    auc = float(wins.mean())
    variance = wins.mean(1).var(ddof=1) / len(high) + wins.mean(0).var(ddof=1) / len(low)
    if not 0 < auc < 1:
        return auc, auc, auc
    centre, half = math.log(auc / (1 - auc)), Z_95 * math.sqrt(variance) / (auc * (1 - auc))
    lower, upper = (1 / (1 + math.exp(-(centre + sign * half))) for sign in (-1, 1))
    return auc, lower, upper


def youden_threshold(outcome: np.ndarray, score: np.ndarray) -> float:
    """The score that maximises sensitivity + specificity - 1, midway to the next lower score; cases at or above it count as pCR."""
    outcome, score = np.asarray(outcome).astype(bool), np.asarray(score, dtype=float)
    values = np.unique(score)
    index = [(score[outcome] >= v).mean() + (score[~outcome] < v).mean() for v in values]
    best = int(np.argmax(index))
    return float(values[best] if best == 0 else (values[best] + values[best - 1]) / 2)
