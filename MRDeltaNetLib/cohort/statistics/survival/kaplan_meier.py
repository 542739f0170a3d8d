"""Survival by Kaplan and Meier with the intervals and medians that R's survival package prints.

lifelines estimates the curve. It has the interval on the scale of log(-log S) only, and a median without R's rule for a curve that is flat at one
half, so the interval (Greenwood's variance) and the median are written here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from MRDeltaNetLib.cohort.statistics.packages import Z_95, package

INTERVALS = ("log", "log-log")
FLAT = float(np.sqrt(np.finfo(float).eps))
"""A curve this close to one half is at one half: the tolerance of R's print.survfit."""


@dataclass(frozen=True)
class KaplanMeier:
    """One curve.

    time       (m,) every different time, ascending
    n_risk     (m,) cases with that time or a later one
    events     (m,) events at that time; censored (m,) cases last seen then
    survival   (m,) just after that time
    error      (m,) standard error of log survival (Greenwood 1926); infinite where survival is 0
    lower, upper  (m,) 95 %; NaN where survival is 0, as in R
    """

    time: np.ndarray
    n_risk: np.ndarray
    events: np.ndarray
    censored: np.ndarray
    survival: np.ndarray
    error: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


@dataclass(frozen=True)
class Median:
    """Median time with its 95 % interval; None for what the curve does not reach."""

    value: float | None
    lower: float | None
    upper: float | None


def kaplan_meier(time: np.ndarray, event: np.ndarray, interval: str = "log") -> KaplanMeier:
    """The curve of cases with times (n,) and events (n,), 1 if it happened then.

    interval  "log": S exp(+-1.96 se), cut at 1, R's default; "log-log": S^exp(+-1.96 se / log S), lifelines' and Stata's
    raises    ValueError without cases, or for another interval
    """
    if interval not in INTERVALS or not len(time):
        raise ValueError("a curve needs cases and one of the intervals: " + ", ".join(INTERVALS))
    fitted = package("lifelines").KaplanMeierFitter().fit(np.asarray(time, dtype=float), np.asarray(event, dtype=float))
    table = fitted.event_table[fitted.event_table["removed"] > 0]
    at_risk, events = table["at_risk"].to_numpy(float), table["observed"].to_numpy(float)
    survival = fitted.survival_function_.loc[table.index].to_numpy(float).ravel()
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(np.cumsum(events / (at_risk * (at_risk - events))))
    lower, upper = bounds(survival, error, interval)
    return KaplanMeier(table.index.to_numpy(float), at_risk.astype(int), events.astype(int), table["censored"].to_numpy(int), survival, error,
                       lower, upper)


def median_survival(curve: KaplanMeier) -> Median:
    """The first time at which the curve is at or below one half, and the first ones at which its bounds are.

    Where the curve is one half exactly, midway to the next time at which it is lower, as R prints it.
    """
    return Median(*(_crossing(curve.time, values) for values in (curve.survival, curve.lower, curve.upper)))


def survival_at(curve: KaplanMeier, time: float) -> tuple[float | None, float | None, float | None, int]:
    """Survival at a time, its bounds, and how many are at risk then; None after the last time of a curve that ends above 0, as R gives none.

    Bounds are None where survival is 0.
    """
    n_risk = int(curve.n_risk[np.searchsorted(curve.time, time)]) if time <= curve.time[-1] else 0
    if time > curve.time[-1] and curve.survival[-1] > 0:
        return None, None, None, n_risk
    before = int(np.searchsorted(curve.time, time, side="right"))
    if not before:
        return 1.0, 1.0, 1.0, n_risk
    told = [float(values[before - 1]) for values in (curve.survival, curve.lower, curve.upper)]
    return told[0], *(None if np.isnan(value) else value for value in told[1:]), n_risk


def at_risk(curve: KaplanMeier, times: np.ndarray) -> np.ndarray:
    """How many cases have each of times (k,) or a later one."""
    counts = np.append(curve.n_risk, 0)
    return counts[np.searchsorted(curve.time, np.asarray(times, dtype=float))]


def logrank(time: np.ndarray, event: np.ndarray, group: np.ndarray) -> tuple[float, int, float]:
    """Log-rank test of two or more groups (Mantel 1966; lifelines): chi-square, degrees of freedom, p.

    raises ValueError unless there are two groups and an event
    """
    kinds = np.unique(np.asarray(group))
    if len(kinds) < 2 or not np.any(event):
        raise ValueError("a log-rank test needs two groups and an event")
    found = package("lifelines.statistics").multivariate_logrank_test(time, np.searchsorted(kinds, group), event)
    return float(found.test_statistic), len(kinds) - 1, float(found.p_value)


def reverse_follow_up(time: np.ndarray, event: np.ndarray) -> Median:
    """Median follow-up: Kaplan-Meier of being censored, an event being what cuts follow-up short (Schemper and Smith 1996)."""
    return median_survival(kaplan_meier(time, 1 - np.asarray(event)))


def with_interval(curve: KaplanMeier, interval: str) -> KaplanMeier:
    """The same curve with the other interval of INTERVALS."""
    lower, upper = bounds(curve.survival, curve.error, interval)
    return replace(curve, lower=lower, upper=upper)


def bounds(survival: np.ndarray, error: np.ndarray, interval: str) -> tuple[np.ndarray, np.ndarray]:
    """95 % bounds (m,), (m,) of survival (m,) with the standard error of its log (m,); NaN where survival is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if interval == "log":
            lower, upper = survival * np.exp(-Z_95 * error), np.minimum(1.0, survival * np.exp(Z_95 * error))
        else:
            power = Z_95 * error / np.log(survival)
            lower, upper = survival ** np.exp(-power), survival ** np.exp(power)
            lower, upper = np.where(survival == 1, 1.0, lower), np.where(survival == 1, 1.0, upper)
    nothing = survival <= 0
    return np.where(nothing, np.nan, lower), np.where(nothing, np.nan, upper)


def _crossing(time: np.ndarray, values: np.ndarray) -> float | None:
    keep = values < 0.5 + FLAT                     # NaN is not
    if not keep.any():
        return None
    time, values = time[keep], values[keep]
    below = np.flatnonzero(values < values[0])
    if abs(values[0] - 0.5) < FLAT and len(below):
        return float((time[0] + time[below[0]]) / 2)
    return float(time[0])
