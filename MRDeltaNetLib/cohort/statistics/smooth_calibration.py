"""How far predicted probabilities are from a smooth curve through what happened. outcome is 1 for pCR and 0 for non-pCR.

The curve is Cleveland's locally weighted line (1979, doi:10.1080/01621459.1979.10481038) without robustness steps, span SPAN: at each
probability a straight line is fitted to the nearest three quarters of the cases with tricube weights. ICI, E50 and E90 are the mean, median
and 90 % quantile over cases of its distance from the predicted probability (Austin and Steyerberg 2019, doi:10.1002/sim.8281, who take R's
loess, which fits parabolas: ICI differs by some 0.005 on real data).

statsmodels has this curve (lowess), but where probabilities are tied so that all weight falls on one value it returns 0 or 1 in place of
the mean, without a word, and it has no bootstrap of many samples at once: hence this one, which a test holds to statsmodels' elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from MRDeltaNetLib.cohort.statistics.bootstrap import counts, resamples

SPAN = 0.75
EXACT = 2000
"""Up to so many different probabilities the curve is computed at each of them, otherwise at NODES, with straight lines between."""
NODES = 200
BOOTSTRAP_NODES = 100
FEWEST_CASES, FEWEST_OF_A_CLASS = 20, 5
"""Fewer tell nothing about a curve."""
BINS, THINNEST_BIN = 10, 20
FLAT = 1e-9
"""A spread of the neighbours below this share of their distance from the node carries no slope: the curve is their mean."""


@dataclass(frozen=True)
class Distances:
    """Between curve and prediction: mean, median, 90 % quantile; numbers, or (samples,) of a bootstrap."""

    ici: float | np.ndarray
    e50: float | np.ndarray
    e90: float | np.ndarray


def smooth_curve(outcome: np.ndarray, probability: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The observed share of pCR as a smooth function of the probability, at some probabilities (k,), cut to 0 and 1.

    outcome, probability  (n,). Between two neighbouring probabilities of cases the curve is straight. raises ValueError as refuse_thin()
    """
    refuse_thin(outcome, probability)
    outcome, probability = np.asarray(outcome, dtype=float), np.asarray(probability, dtype=float)
    nodes = _nodes(probability, EXACT, NODES)
    parts = np.array_split(nodes, -(-len(nodes) * len(outcome) // 2**21))
    lines = np.concatenate([_lines(outcome, *_neighbours(probability, part), np.ones((1, len(outcome))))[0] for part in parts])
    return np.interp(at, nodes, lines)


def distances(outcome: np.ndarray, probability: np.ndarray) -> Distances:
    """ICI, E50 and E90. raises ValueError as refuse_thin()"""
    apart = np.abs(smooth_curve(outcome, probability, probability) - probability)
    return Distances(float(apart.mean()), float(np.median(apart)), float(np.quantile(apart, 0.9)))


def distances_bootstrap(outcome: np.ndarray, probability: np.ndarray, samples: int, seed: int, at: np.ndarray) -> tuple[Distances, np.ndarray]:
    """ICI, E50 and E90 of samples, (samples,) each, and their curves (samples, k) at `at` (k,).

    Cases are drawn whatever their outcome; the neighbourhoods stay those of the data, so that all samples are matrix products.
    """
    refuse_thin(outcome, probability)
    outcome, probability = np.asarray(outcome, dtype=float), np.asarray(probability, dtype=float)
    nodes = _nodes(probability, BOOTSTRAP_NODES, BOOTSTRAP_NODES)
    weights, shift = _neighbours(probability, nodes)
    found, curves = [], []
    for drawn in resamples(outcome, samples, seed, stratified=False):
        lines = _lines(outcome, weights, shift, counts(drawn, len(outcome)).astype(float))
        apart = np.abs(_between(lines, nodes, probability) - probability)
        apart = np.take_along_axis(apart, drawn, axis=1)
        found.append(np.column_stack([apart.mean(1), *np.quantile(apart, [0.5, 0.9], axis=1)]))
        curves.append(_between(lines, nodes, at))
    return Distances(*np.concatenate(found).T), np.concatenate(curves)


def expected_calibration_error(outcome: np.ndarray, probability: np.ndarray, samples: int = 0, seed: int = 0) -> tuple[float, np.ndarray]:
    """ECE and its bootstrap values (samples,): the mean over cases of |mean probability - share of pCR| of their bin.

    Ten bins hold as many cases each as ties allow (equal probabilities stay together); samples keep the bins of the data.
    raises ValueError where a bin would hold fewer than THINNEST_BIN cases: the measure would be mostly the bins' own noise
    """
    outcome, probability = np.asarray(outcome, dtype=float), np.asarray(probability, dtype=float)
    place = _bins(probability)
    sizes = np.bincount(place)
    if sizes.min() < THINNEST_BIN or len(sizes) < 2:
        raise ValueError(f"bins for the expected calibration error need {THINNEST_BIN} cases each, and probabilities that fill two of them")
    off = probability - outcome
    error = lambda drawn: np.abs(_sums(place[drawn], off[drawn], len(sizes))).sum(axis=1) / len(outcome)
    value = float(error(np.arange(len(outcome))[None])[0])
    return value, np.concatenate([np.empty(0), *(error(drawn) for drawn in resamples(outcome, samples, seed, stratified=False))])


def refuse_thin(outcome: np.ndarray, probability: np.ndarray) -> None:
    """raises ValueError with fewer than FEWEST_CASES cases or FEWEST_OF_A_CLASS of a class, or where a probability is NaN or outside 0 and 1."""
    outcome, probability = np.asarray(outcome).astype(bool), np.asarray(probability, dtype=float)
    if len(outcome) != len(probability) or not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("every case needs a probability from 0 to 1")
    if len(outcome) < FEWEST_CASES or min(outcome.sum(), (~outcome).sum()) < FEWEST_OF_A_CLASS:
        raise ValueError(f"a smooth calibration curve needs {FEWEST_CASES} cases and {FEWEST_OF_A_CLASS} of each class")


def _neighbours(probability: np.ndarray, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tricube weights of cases at nodes, and probability minus node, (k, n) each. Where ties fill the span, only cases at the node count."""
    shift = probability[None] - nodes[:, None]
    apart = np.abs(shift)
    reach = np.partition(apart, int(SPAN * len(probability) + 1e-9) - 1, axis=1)[:, int(SPAN * len(probability) + 1e-9) - 1][:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = np.where(reach > 0, np.clip(1 - (apart / reach) ** 3, 0, None) ** 3, apart == 0)
    return weights, shift


def _lines(outcome: np.ndarray, weights: np.ndarray, shift: np.ndarray, often: np.ndarray) -> np.ndarray:
    """Weighted straight lines at their own node, (b, k), when case i counts often[b, i] times; NaN where no case of a sample is near."""
    first = weights * shift
    s0, s1, s2 = (often @ part.T for part in (weights, first, first * shift))
    t0, t1 = (often @ (part * outcome).T for part in (weights, first))
    spread = s0 * s2 - s1**2
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(spread > FLAT * s0 * s2, (s2 * t0 - s1 * t1) / spread, t0 / s0)
    return np.clip(value, 0.0, 1.0)


def _between(lines: np.ndarray, nodes: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Values (b, m) at probabilities (m,) of curves that are known at ascending nodes (k,); at the ends they stay what they are."""
    if len(nodes) == 1:
        return np.repeat(lines, len(at), axis=1)
    right = np.clip(np.searchsorted(nodes, at, side="right"), 1, len(nodes) - 1)
    share = np.clip((at - nodes[right - 1]) / (nodes[right] - nodes[right - 1]), 0.0, 1.0)
    return lines[:, right - 1] * (1 - share) + lines[:, right] * share


def _nodes(probability: np.ndarray, exact: int, otherwise: int) -> np.ndarray:
    """Every different probability, or `otherwise` of them with as many cases between each two, both ends among them."""
    values = np.unique(probability)
    if len(values) <= exact:
        return values
    return np.unique(np.sort(probability)[np.linspace(0, len(probability) - 1, otherwise).round().astype(int)])


def _bins(probability: np.ndarray) -> np.ndarray:
    """Bin (n,) of each case, numbered from 0 without gaps: tenths of the cases by rank, a tied group where its first case lies."""
    values, place, sizes = np.unique(probability, return_inverse=True, return_counts=True)
    first = np.cumsum(sizes) - sizes
    return np.unique((first * BINS // len(probability))[place], return_inverse=True)[1]


def _sums(places: np.ndarray, values: np.ndarray, cells: int) -> np.ndarray:
    """(b, cells): the sum of a row's values in each cell; places and values are (b, n)."""
    rows = np.arange(len(places))[:, None] * cells
    return np.bincount((places + rows).ravel(), weights=values.ravel(), minlength=len(places) * cells).reshape(len(places), cells)
