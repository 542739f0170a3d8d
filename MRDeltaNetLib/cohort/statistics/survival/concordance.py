"""How well a number ranks times of events: Harrell's and Uno's C.

Harrell, Lee and Mark 1996 (doi:10.1002/(SICI)1097-0258(19960229)15:4<361::AID-SIM168>3.0.CO;2-4) count every pair whose earlier time is an event;
Uno et al. 2011 (doi:10.1002/sim.4154) give each such pair the weight 1 / G(t)^2, where G is the chance of not yet being censored just before
the event, so that C does not depend on how long cases were followed. lifelines has the first without its error; both are counted here in
n sqrt(n) steps instead of n^2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from MRDeltaNetLib.cohort.statistics.packages import Z_95
from MRDeltaNetLib.cohort.statistics.survival.kaplan_meier import kaplan_meier

BLOCK = 512


@dataclass(frozen=True)
class Concordance:
    """c: share of pairs in which the case with the larger risk has its event first, equal risks counting half; error: by the infinitesimal
    jackknife, as R's concordance(); lower, upper 95 %, on the logit scale; pairs: how many (weighted) were compared."""

    c: float
    error: float
    lower: float
    upper: float
    pairs: float


def harrell(time: np.ndarray, event: np.ndarray, risk: np.ndarray) -> Concordance:
    """Harrell's C of risks (n,); a larger risk means an earlier event.

    Pairs of events at the same time are not compared; a case that was censored at the time of another's event counts as later.
    raises ValueError if no pair can be compared
    """
    return _concordance(time, event, risk, np.ones(len(time)))


def uno(time: np.ndarray, event: np.ndarray, risk: np.ndarray, until: float | None = None) -> Concordance:
    """Uno's C; only events up to until are counted. The error takes the weights for known, as R's concordance(timewt="n/G2") does.

    raises ValueError if no pair can be compared
    """
    weight = censoring_weights(time, event) ** 2
    return _concordance(time, event, risk, weight if until is None else np.where(np.asarray(time) <= until, weight, 0.0))


def censoring_weights(time: np.ndarray, event: np.ndarray) -> np.ndarray:
    """1 / G(t-) at each case's time (n,): G is the Kaplan-Meier curve of being censored."""
    curve = kaplan_meier(time, 1 - np.asarray(event))
    before = np.concatenate([[1.0], curve.survival[:-1]])
    return 1 / before[np.searchsorted(curve.time, np.asarray(time, dtype=float))]


def _concordance(time, event, risk, weight) -> Concordance:
    time, event, risk = np.asarray(time, dtype=float), np.asarray(event).astype(bool), np.asarray(risk, dtype=float)
    key = 2 * np.unique(time, return_inverse=True)[1] + ~event
    weight = weight * event
    every = np.ones(len(time))
    smaller, larger, equal = _compared(key, risk, key, risk, every)
    first = weight * (smaller + equal / 2), weight * (smaller + larger + equal)
    smaller, larger, equal = _compared(-key, risk, -key[event], risk[event], weight[event])
    later = larger + equal / 2, smaller + larger + equal
    right, pairs = float(first[0].sum()), float(first[1].sum())
    if pairs <= 0:
        raise ValueError("no two cases can be compared: no event happened before another case's time")
    c = right / pairs
    error = math.sqrt(float((((first[0] + later[0]) - c * (first[1] + later[1])) ** 2).sum())) / pairs
    return Concordance(c, error, *_logit_bounds(c, error), pairs)


def _compared(key, risk, other_key, other_risk, other_weight) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weight of the others with a larger key whose risk is smaller than, larger than and equal to that of each case: three of (n,).

    Cases are taken in blocks by falling key. Others beyond the whole block are kept sorted by risk, and looked up; those in between are compared
    one by one.
    """
    found = np.zeros((3, len(key)))
    cases, others = np.argsort(-key, kind="stable"), np.argsort(-other_key, kind="stable")
    falling = -other_key[others]
    kept_risk, kept_weight, taken = np.zeros(0), np.zeros(0), 0
    for start in range(0, len(cases), BLOCK):
        block = cases[start:start + BLOCK]
        beyond, within = (int(np.searchsorted(falling, -key[block[end]], side="left")) for end in (0, -1))
        new = others[taken:beyond]
        kept_risk, kept_weight, taken = np.append(kept_risk, other_risk[new]), np.append(kept_weight, other_weight[new]), beyond
        order = np.argsort(kept_risk, kind="stable")
        kept_risk, kept_weight = kept_risk[order], kept_weight[order]
        total = np.concatenate([[0.0], np.cumsum(kept_weight)])
        low, high = (total[np.searchsorted(kept_risk, risk[block], side=side)] for side in ("left", "right"))
        between = others[beyond:within]
        apart = (other_key[between] > key[block][:, None]) * other_weight[between]
        difference = other_risk[between] - risk[block][:, None]
        found[:, block] = (low + (apart * (difference < 0)).sum(1), total[-1] - high + (apart * (difference > 0)).sum(1),
                           high - low + (apart * (difference == 0)).sum(1))
    return found[0], found[1], found[2]


def _logit_bounds(value: float, error: float) -> tuple[float, float]:
    if not 0 < value < 1:
        return value, value
    centre, half = math.log(value / (1 - value)), Z_95 * error / (value * (1 - value))
    return tuple(1 / (1 + math.exp(-(centre + sign * half))) for sign in (-1, 1))
