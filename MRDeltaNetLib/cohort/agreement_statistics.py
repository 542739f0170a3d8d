"""Agreement of two readers over a cohort: ICC, limits of agreement, and intervals by resampling patients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Callable, Sequence

import numpy as np

from MRDeltaNetLib.cohort.statistics import Z_95
from MRDeltaNetLib.errors import require

RESAMPLES = 2000
LEAST_PATIENTS = 5
"""With fewer patients no interval is given: a resample would often hold one of them only."""

LEAST_USABLE = 0.8
"""Of the resamples a statistic must exist in so many, or its interval is not given."""


@dataclass(frozen=True)
class Icc:
    """Intraclass correlation, two-way random effects, absolute agreement, single measures: ICC(2,1) of Shrout and Fleiss 1979.

    value         None where it does not exist (all values equal)
    lower, upper  95 % interval from the F distribution
    targets, readers  n and k
    """

    value: float | None
    lower: float | None
    upper: float | None
    targets: int
    readers: int


def icc_2_1(ratings: np.ndarray) -> Icc:
    """ICC(2,1) of ratings (n targets, k readers), without gaps.

    With the mean squares between targets BMS, between readers JMS and the residual EMS of the two-way analysis of variance:
    ICC = (BMS - EMS) / (BMS + (k - 1) EMS + k (JMS - EMS) / n)   (Shrout and Fleiss 1979, doi:10.1037/0033-2909.86.2.420).
    The interval is theirs, with Satterthwaite's degrees of freedom for the mixture of JMS and EMS.
    raises  ValueError for fewer than two targets or readers, or what is not finite
    """
    ratings = np.asarray(ratings, dtype=float)
    if ratings.ndim != 2 or min(ratings.shape) < 2 or not np.isfinite(ratings).all():
        raise ValueError("an intraclass correlation needs two targets and two readers, and every rating")
    n, k = ratings.shape
    between, judges, error = mean_squares(ratings)
    below = between + (k - 1) * error + k * (judges - error) / n
    if below <= 0 or between + judges + error < 1e-300:
        return Icc(None, None, None, n, k)
    value = (between - error) / below
    if error <= 1e-12 * between:                                # both readers differ by a constant, or not at all: no F to speak of
        return Icc(float(value), None, None, n, k)
    ratio = judges / error
    freedom = (k - 1) * (n - 1) * (k * value * ratio + n * (1 + (k - 1) * value) - k * value) ** 2 / (
        (n - 1) * k**2 * value**2 * ratio**2 + (n * (1 + (k - 1) * value) - k * value) ** 2)
    f = require("scipy.stats", "Statistics of a study", "pip install 'mrdeltanet[cohort]'").f
    high, low = (float(f.ppf(0.975, *degrees)) for degrees in ((n - 1, freedom), (freedom, n - 1)))
    rest = k * judges + (k * n - k - n) * error
    return Icc(float(value), float(n * (between - high * error) / (high * rest + n * between)), float(n * (low * between - error) / (rest + n * low * between)), n, k)


def mean_squares(ratings: np.ndarray) -> tuple[float, float, float]:
    """Between targets, between readers, and residual, of ratings (n, k)."""
    n, k = ratings.shape
    whole = ratings.mean()
    rows, columns = ratings.mean(1), ratings.mean(0)
    residual = ratings - rows[:, None] - columns[None] + whole
    return (float(k * ((rows - whole) ** 2).sum() / (n - 1)), float(n * ((columns - whole) ** 2).sum() / (k - 1)),
            float((residual**2).sum() / ((n - 1) * (k - 1))))


@dataclass(frozen=True)
class Limits:
    """Bland and Altman's limits of agreement (Lancet 1986, doi:10.1016/S0140-6736(86)90837-8) of B minus A: mean difference, its standard deviation
    (n - 1), and mean minus and plus 1.96 of these. None with fewer than two pairs."""

    bias: float | None
    sd: float | None
    lower: float | None
    upper: float | None


def limits_of_agreement(difference: Sequence[float]) -> Limits:
    """Of differences (n,)."""
    values = np.asarray(difference, dtype=float)
    if len(values) < 2:
        return Limits(float(values[0]) if len(values) else None, None, None, None)
    bias, sd = float(values.mean()), float(values.std(ddof=1))
    return Limits(bias, sd, bias - Z_95 * sd, bias + Z_95 * sd)


def interval(rows: Sequence, statistic: Callable[[list], float | None], *, seed: int = 0, resamples: int = RESAMPLES) -> tuple[float, float] | None:
    """95 % interval of a statistic by the percentile bootstrap over patients.

    rows       one entry a patient: what belongs to one patient is drawn together
    statistic  (entries) -> number; None where it does not exist
    returns    2.5th and 97.5th percentile; None with fewer than LEAST_PATIENTS, or where too few resamples have the statistic
    """
    if len(rows) < LEAST_PATIENTS:
        return None
    draws = np.random.default_rng(seed).integers(0, len(rows), (resamples, len(rows)))
    found = [value for draw in draws if (value := statistic([rows[index] for index in draw])) is not None and math.isfinite(value)]
    if len(found) < LEAST_USABLE * resamples:
        return None
    lower, upper = np.percentile(found, [2.5, 97.5])
    return float(lower), float(upper)
