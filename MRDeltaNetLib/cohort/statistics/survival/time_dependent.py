"""Area under the ROC curve at a time: cases whose event came until then against those still without (cumulative, dynamic).

Each event counts 1 / G(t-), the inverse chance of not yet being censored just before it (Uno et al. 2007, doi:10.1198/016214507000000149; Blanche,
Dartigues and Jacqmin-Gadda 2013, doi:10.1002/sim.5958). No kept package under a free licence that fits ours has it.
"""

from __future__ import annotations

import numpy as np

from MRDeltaNetLib.cohort.statistics.survival.concordance import censoring_weights

MOST_STEPS = 200_000_000
LEAST_SAMPLES = 100


def time_dependent_auc(time: np.ndarray, event: np.ndarray, risk: np.ndarray, times: np.ndarray) -> np.ndarray:
    """AUC (m,) at times (m,) of risks (n,), a larger one meaning an earlier event; equal risks count half.

    NaN where nobody has had the event yet, or nobody is left without
    """
    return _areas(*_ordered(time, event, risk), np.asarray(times, dtype=float), np.ones(len(time)))


def time_dependent_auc_bounds(time: np.ndarray, event: np.ndarray, risk: np.ndarray, times: np.ndarray, samples: int,
                              seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """95 % percentile bounds (m,), (m,) over cases drawn with replacement, and how many samples were drawn.

    The weights of the censoring stay those of all cases. Fewer samples than asked for are drawn where cases times times are very many.
    """
    ordered, times = _ordered(time, event, risk), np.asarray(times, dtype=float)
    samples = min(samples, max(LEAST_SAMPLES, MOST_STEPS // max(1, len(time) * len(times))))
    generator = np.random.default_rng(seed)
    drawn = np.full((samples, len(times)), np.nan)
    for k in range(samples):
        counts = np.bincount(generator.integers(0, len(time), len(time)), minlength=len(time)).astype(float)
        drawn[k] = _areas(*ordered, times, counts)
    there = np.isfinite(drawn).sum(axis=0) > samples // 2
    bounds = np.full((2, len(times)), np.nan)
    bounds[:, there] = np.nanpercentile(drawn[:, there], (2.5, 97.5), axis=0)
    return bounds[0], bounds[1], samples


def _ordered(time, event, risk):
    """Times, events with their weights, and the place of every run of equal risks, by rising risk."""
    order = np.argsort(risk, kind="stable")
    risk = np.asarray(risk, dtype=float)[order]
    weights = (censoring_weights(time, event) * np.asarray(event))[order]
    last = np.searchsorted(risk, risk, side="right")
    return np.asarray(time, dtype=float)[order], weights, np.searchsorted(risk, risk, side="left"), last


def _areas(time, weights, first, last, times, counts):
    """AUC (m,) of cases by rising risk that count counts (n,) times each."""
    found = np.full(len(times), np.nan)
    for k, moment in enumerate(times):
        left, had = counts * (time > moment), counts * weights * (time <= moment)
        below = np.concatenate([[0.0], np.cumsum(left)])
        pairs = had.sum() * below[-1]
        if pairs > 0:
            found[k] = (had * (below[first] + below[last])).sum() / (2 * pairs)
    return found
