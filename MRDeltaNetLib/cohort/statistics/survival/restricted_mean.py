"""Restricted mean survival time: the mean time without an event up to a horizon (Royston and Parmar 2013, doi:10.1186/1471-2288-13-152).

The area under the Kaplan-Meier curve; its variance is Greenwood's, as in R's print.survfit(rmean=) and survRM2. lifelines has the area, and the
variance of the times themselves instead of that of their mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from MRDeltaNetLib.cohort.statistics.packages import Z_95
from MRDeltaNetLib.cohort.statistics.survival.kaplan_meier import KaplanMeier


@dataclass(frozen=True)
class RestrictedMean:
    """value, its standard error and 95 % bounds, in the unit of time."""

    value: float
    error: float
    lower: float
    upper: float


@dataclass(frozen=True)
class MeanDifference:
    """Restricted mean of one group less that of another, 95 % bounds and two-sided p (normal)."""

    value: float
    lower: float
    upper: float
    p: float


def restricted_mean(curve: KaplanMeier, horizon: float) -> RestrictedMean:
    """Mean time without an event within the horizon.

    raises ValueError if the horizon lies beyond the last time of a curve that ends above 0: there the curve is not known
    """
    if horizon > curve.time[-1] and curve.survival[-1] > 0:
        raise ValueError("the horizon lies beyond the follow-up")
    within = curve.time < horizon
    time = np.concatenate([[0.0], curve.time[within], [horizon]])
    areas = np.diff(time) * np.concatenate([[1.0], curve.survival[within]])
    ahead = np.cumsum(areas[::-1])[::-1][1:]                         # area from each time within the horizon up to it
    events, at_risk = curve.events[within].astype(float), curve.n_risk[within].astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(at_risk > events, ahead**2 * events / (at_risk * (at_risk - events)), 0.0)     # nothing is ahead of where the curve is 0
    value, error = float(areas.sum()), math.sqrt(float(terms.sum()))
    return RestrictedMean(value, error, value - Z_95 * error, value + Z_95 * error)


def mean_difference(one: RestrictedMean, other: RestrictedMean) -> MeanDifference:
    """one less other, of different cases."""
    difference, error = one.value - other.value, math.hypot(one.error, other.error)
    p = math.erfc(abs(difference / error) / math.sqrt(2)) if error else float(difference == 0)
    return MeanDifference(difference, difference - Z_95 * error, difference + Z_95 * error, p)
