"""How far groups differ in a variable: tests by ranks, and standardised mean differences that do not grow with the number of cases."""

from __future__ import annotations

from itertools import combinations
from typing import Sequence

import numpy as np

from MRDeltaNetLib.cohort.statistics.packages import package

EXACT_BELOW = 50


def wilcoxon(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Wilcoxon's rank sum test of two groups: U of the first, two-sided p.

    As R's wilcox.test: exact where both groups are below 50 and no values are equal, else normal with correction for ties and continuity.
    """
    values = np.concatenate([one, other])
    exact = max(len(one), len(other)) < EXACT_BELOW and len(np.unique(values)) == len(values)
    if len(np.unique(values)) == 1:
        return len(one) * len(other) / 2, 1.0
    found = package("scipy.stats").mannwhitneyu(one, other, method="exact" if exact else "asymptotic", use_continuity=True)
    return float(found.statistic), float(found.pvalue)


def kruskal(groups: Sequence[np.ndarray]) -> tuple[float, int, float]:
    """Kruskal and Wallis' test of several groups: H, degrees of freedom, p."""
    if len(np.unique(np.concatenate(groups))) == 1:
        return 0.0, len(groups) - 1, 1.0
    found = package("scipy.stats").kruskal(*groups)
    return float(found.statistic), len(groups) - 1, float(found.pvalue)


def standardised_difference(groups: Sequence[np.ndarray]) -> float | None:
    """Difference of means over the root of the mean of both variances, without sign; of several groups the largest of all pairs.

    None where a group has fewer than two values, or nothing varies.
    """
    found = []
    for one, other in combinations(groups, 2):
        if min(len(one), len(other)) < 2:
            return None
        spread = np.sqrt((np.var(one, ddof=1) + np.var(other, ddof=1)) / 2)
        found.append(abs(float(np.mean(one) - np.mean(other))) / spread if spread > 0 else None)
    return None if not found or None in found else float(max(found))


def standardised_difference_of_shares(table: np.ndarray) -> float | None:
    """The same for categories (r, groups) of counts (Yang and Dalton 2012): Mahalanobis' distance of the vectors of shares without the first.

    None where a group is empty or the shares' covariance cannot be inverted.
    """
    table = np.asarray(table, dtype=float)
    table = table[table.sum(1) > 0]
    if len(table) < 2 or (table.sum(0) == 0).any():
        return None
    shares = (table / table.sum(0))[1:]
    found = []
    for i, j in combinations(range(table.shape[1]), 2):
        spread = sum(np.diag(p) - np.outer(p, p) for p in (shares[:, i], shares[:, j])) / 2
        difference = shares[:, i] - shares[:, j]
        if np.linalg.matrix_rank(spread) < len(spread):
            return None
        found.append(float(np.sqrt(difference @ np.linalg.solve(spread, difference))))
    return max(found) if found else None
