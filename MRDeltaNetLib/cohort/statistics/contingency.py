"""Tests of tables of counts: chi-square and Fisher's, and the rule that chooses.

The rule (Cochran 1954, doi:10.2307/3001616, as it is commonly applied): Fisher's exact test where an expected count is below 5, else Pearson's
chi-square, with Yates' correction in tables of two by two, as R's chisq.test has it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from MRDeltaNetLib.cohort.statistics.packages import package

SMALL_EXPECTED = 5.0
MOST_TABLES = 500_000
SAMPLES = 20_000
SAME = 1e-7
"""A table counts as no more likely than the one seen if its probability is at most that times 1 + 1e-7, as in R."""


@dataclass(frozen=True)
class ChiSquare:
    """Pearson's chi-square; yates: whether corrected; least_expected: the smallest expected count."""

    statistic: float
    df: int
    p: float
    yates: bool
    least_expected: float


@dataclass(frozen=True)
class Fisher:
    """Fisher's exact test, two-sided (Freeman and Halton 1951 beyond two by two); samples: None if all tables were counted, else how many were drawn."""

    p: float
    samples: int | None


def chi_square(table: np.ndarray, yates: bool = True) -> ChiSquare:
    """Pearson's test of a table (r, c); yates: correct tables of two by two. Empty rows and columns count for nothing.

    raises ValueError unless two rows and two columns have counts
    """
    table = _filled(table)
    found = package("scipy.stats").chi2_contingency(table, correction=yates)
    return ChiSquare(float(found.statistic), int(found.dof), float(found.pvalue), yates and table.shape == (2, 2), float(found.expected_freq.min()))


def fisher(table: np.ndarray, seed: int = 0, most: int = MOST_TABLES) -> Fisher:
    """Fisher's test of a table (r, c): by every table with its margins if there are at most `most`, else by SAMPLES drawn ones.

    raises ValueError unless two rows and two columns have counts
    """
    table = _filled(table)
    if table.shape == (2, 2):
        return Fisher(float(package("scipy.stats").fisher_exact(table).pvalue), None)
    if table.shape[0] > table.shape[1]:
        table = table.T
    table = table[:, np.argsort(table.sum(0), kind="stable")]         # small columns first branch least
    lgamma = package("scipy.special").gammaln
    seen = -lgamma(table + 1.0).sum()
    every = _every_table(table.sum(1), table.sum(0), most)
    if every is not None:
        likely = np.exp(every - every.max())
        return Fisher(float(min(1.0, likely[every <= seen + np.log1p(SAME)].sum() / likely.sum())), None)
    drawn = package("scipy.stats").random_table(table.sum(1), table.sum(0), seed=seed).rvs(SAMPLES)
    as_rare = int((-lgamma(drawn + 1.0).sum(axis=(1, 2)) <= seen + np.log1p(SAME)).sum())
    return Fisher((as_rare + 1) / (SAMPLES + 1), SAMPLES)


def fisher_is_due(table: np.ndarray) -> bool:
    """Whether an expected count is below 5."""
    return chi_square(table).least_expected < SMALL_EXPECTED


def _filled(table: np.ndarray) -> np.ndarray:
    table = np.asarray(table, dtype=int)
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    if min(table.shape) < 2:
        raise ValueError("a test of counts needs two rows and two columns that are not empty")
    return table


def _every_table(rows: np.ndarray, columns: np.ndarray, most: int) -> np.ndarray | None:
    """Minus the log of the product of all factorials of counts, of every table with these margins; None if there are more than `most`."""
    lgamma = package("scipy.special").gammaln
    left, value = rows[None].astype(int), np.zeros(1)
    for size in columns[:-1]:
        to_place = np.full(len(left), size)
        done: list[np.ndarray] = []
        for row in range(len(rows)):
            beyond = left[:, row + 1:].sum(axis=1)
            low, high = np.maximum(0, to_place - beyond), np.minimum(left[:, row], to_place)
            ways = high - low + 1
            if ways.sum() > most:
                return None
            parent = np.repeat(np.arange(len(left)), ways)
            count = low[parent] + np.arange(len(parent)) - np.repeat(np.cumsum(ways) - ways, ways)
            left, value, to_place = left[parent], value[parent] - lgamma(count + 1.0), to_place[parent] - count
            done = [column[parent] for column in done] + [count]
        left = left - np.column_stack(done)
    return value - lgamma(left + 1.0).sum(axis=1)
