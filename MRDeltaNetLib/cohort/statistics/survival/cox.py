"""Cox's proportional hazards with Efron's ties (lifelines), and the score test of proportional hazards that lifelines does not have."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Sequence

import numpy as np

from MRDeltaNetLib.cohort.statistics.packages import Z_95, package
from MRDeltaNetLib.cohort.statistics.survival.kaplan_meier import kaplan_meier

PRECISION = 1e-12
"""At which lifelines ends its Newton steps, so that p values of 1e-18 have ten digits right."""
SCORE_LEFT = 1e-4
"""Largest slope of the log likelihood that a fit may leave, in events per standard deviation of a column: where a column separates those who
have events from those who do not, the likelihood has no maximum, and steps end far out."""
LARGEST = 700.0
"""Logarithm of the largest ratio that is told: a number can hold no more."""
FARTHEST = 8.0
"""A hazard of more than e^8 to one for one standard deviation of a column is a likelihood without a maximum."""


@dataclass(frozen=True)
class Cox:
    """A fitted model of k columns.

    coefficients (k,), covariance (k, k), log_likelihood at zero and at the maximum (Efron)
    n, events
    """

    coefficients: np.ndarray
    covariance: np.ndarray
    log_likelihood: tuple[float, float]
    n: int
    events: int

    def ratios(self) -> list[tuple[float, float, float, float]]:
        """Hazard ratio, its Wald bounds (95 %) and Wald p of each column."""
        return [_ratio(b, math.sqrt(v)) for b, v in zip(self.coefficients, np.diag(self.covariance))]


def cox(time: np.ndarray, event: np.ndarray, design: np.ndarray) -> Cox:
    """Fit columns (n, k) to times (n,) and events (n,).

    raises ValueError where there is no finite solution: no event, columns that depend on each other or are constant, more columns than events,
           or a column that separates the events from the rest
    """
    design, event = np.asarray(design, dtype=float), np.asarray(event, dtype=float)
    count = int(event.sum())
    if count <= design.shape[1]:
        raise ValueError(f"{count} events are not more than the {design.shape[1]} terms of the model")
    spread = design.std(axis=0)
    if np.linalg.matrix_rank(np.column_stack([np.ones(len(design)), design])) <= design.shape[1] or not spread.all():
        raise ValueError("columns are constant or depend on each other")
    fitted = _fitted(time, event, (design - design.mean(axis=0)) / spread)
    scaled = fitted.params_.to_numpy(float)
    zero, _, _ = efron(time, event, design, np.zeros(len(scaled)))
    best, score, information = efron(time, event, design, scaled / spread)
    if not (np.abs(scaled) < FARTHEST).all() or np.abs(score / (spread * count)).max() > SCORE_LEFT:
        raise ValueError("a term separates the cases with events from those without: the likelihood has no maximum")
    return Cox(scaled / spread, np.linalg.inv(information), (zero, best), len(design), count)


def efron(time: np.ndarray, event: np.ndarray, design: np.ndarray, coefficients: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Efron's log partial likelihood (1977), its slope (k,) and its information (k, k)."""
    moments = Moments(time, event, design, coefficients)
    return moments.log_likelihood, moments.scores.sum(axis=0), moments.information.sum(axis=0)


class Moments:
    """What each event time adds to the likelihood: scores (m, k) observed less expected, information (m, k, k), of m times with events (times).

    At a time with d events each is compared with d risk sets, from which 0, 1/d .. (d-1)/d of the events' own weight is taken (Efron 1977).
    """

    def __init__(self, time: np.ndarray, event: np.ndarray, design: np.ndarray, coefficients: np.ndarray) -> None:
        time, event, design = np.asarray(time, dtype=float), np.asarray(event).astype(bool), np.asarray(design, dtype=float)
        centred = design - design.mean(axis=0)
        linear = centred @ coefficients
        shift = linear.max()
        weight = np.exp(linear - shift)
        powers = weight, weight[:, None] * centred, weight[:, None, None] * centred[:, :, None] * centred[:, None, :]
        order = np.argsort(-time, kind="stable")
        rows = np.flatnonzero(event)[np.argsort(time[event], kind="stable")]               # events by time
        self.times, first, self.counts = np.unique(time[rows], return_index=True, return_counts=True)
        last = np.searchsorted(-time[order], -self.times, side="right") - 1
        step = np.arange(len(rows)) - np.repeat(first, self.counts)
        share = step / np.repeat(self.counts, self.counts)
        total, mean, square = (self._left(power, order, rows, first, last, share) for power in powers)
        mean, square = mean / total[:, None], square / total[:, None, None]
        each = np.repeat(1 / self.counts, self.counts)[:, None]
        means = np.add.reduceat(mean * each, first)
        self.residual = centred[rows] - np.repeat(means, self.counts, axis=0)
        self.scores = np.add.reduceat(self.residual, first)
        self.information = np.add.reduceat(square - mean[:, :, None] * mean[:, None, :], first)
        self.log_likelihood = float((linear[rows] - shift - np.log(total)).sum())

    def _left(self, power: np.ndarray, order: np.ndarray, rows: np.ndarray, first: np.ndarray, last: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Sum of a power over each event's risk set (d, ...), less its share of the events of the same time."""
        whole, own = np.cumsum(power[order], axis=0)[last], np.add.reduceat(power[rows], first)
        repeated = lambda values: np.repeat(values, self.counts, axis=0)
        return repeated(whole) - share.reshape(-1, *([1] * (power.ndim - 1))) * repeated(own)

    def residuals(self) -> tuple[np.ndarray, np.ndarray]:
        """Schoenfeld's residuals (1982): times (d,) and residuals (d, k), one row an event, by time."""
        return np.repeat(self.times, self.counts), self.residual


@dataclass(frozen=True)
class HazardTest:
    """Do hazards stay proportional? Score test against coefficients that change with time (Grambsch and Therneau 1994, as R's cox.zph does since
    survival 3.0). name: of the variable, or "GLOBAL"."""

    name: str
    chisq: float
    df: int
    p: float


def proportional_hazards(time: np.ndarray, event: np.ndarray, design: np.ndarray, fitted: Cox,
                         variables: Sequence[str]) -> tuple[list[HazardTest], np.ndarray, np.ndarray]:
    """Score tests of every variable and of all together.

    variables  (k,) to which variable each column belongs; columns of one are tested together
    returns    tests, the last "GLOBAL"; times of the events (d,); scaled Schoenfeld residuals plus coefficient (d, k), whose course is the effect's

    Time enters as 1 - S(t-), the Kaplan-Meier curve of all cases just before it: R's transform "km". Exact score and information of the model in which
    every column is joined by its product with that, at its coefficient and none for the product.
    """
    moments = Moments(time, event, design, fitted.coefficients)
    course = _course(time, event, moments.times)
    inner, between, outer = (np.einsum("m,mij->ij", weight, moments.information) for weight in (np.ones_like(course), course, course**2))
    information = np.block([[inner, between], [between, outer]])
    k = design.shape[1]
    score = np.concatenate([np.zeros(k), course @ moments.scores])
    tests = []
    for name in (*dict.fromkeys(variables), "GLOBAL"):
        columns = [j for j in range(k) if name == "GLOBAL" or variables[j] == name]
        kept = [*range(k), *(k + j for j in columns)]
        chisq = float(score[kept] @ np.linalg.pinv(information[np.ix_(kept, kept)], hermitian=True) @ score[kept])
        tests.append(HazardTest(name, chisq, len(columns), float(package("scipy.stats").chi2.sf(chisq, len(columns)))))
    times, residuals = moments.residuals()
    return tests, times, residuals @ fitted.covariance * len(times) + fitted.coefficients


def _course(time: np.ndarray, event: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """1 - S(t-) at the event times (m,), less its mean over events, which changes no test and keeps the numbers small."""
    curve = kaplan_meier(time, event)
    with_events = curve.events > 0
    course = 1 - np.concatenate([[1.0], curve.survival[with_events][:-1]])
    return course - np.average(course, weights=curve.events[with_events])


def _fitted(time, event, design):
    pandas, lifelines = package("pandas"), package("lifelines")
    frame = pandas.DataFrame(design, columns=[f"x{k}" for k in range(design.shape[1])]).assign(time=np.asarray(time, dtype=float), event=event)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")            # of separation; what it leaves is refused by its slope
        try:
            return lifelines.CoxPHFitter().fit(frame, "time", "event", fit_options={"precision": PRECISION})
        except (lifelines.exceptions.ConvergenceError, np.linalg.LinAlgError) as none:
            raise ValueError("the likelihood has no maximum that could be found") from none


def _ratio(coefficient: float, error: float) -> tuple[float, float, float, float]:
    ratio = lambda logarithm: math.exp(min(LARGEST, logarithm))
    return ratio(coefficient), ratio(coefficient - Z_95 * error), ratio(coefficient + Z_95 * error), math.erfc(abs(coefficient / error) / math.sqrt(2))
