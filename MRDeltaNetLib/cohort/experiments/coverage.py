"""Experiment: how often does a 95 % interval of an AUC hold the true one? Plain DeLong, logit DeLong and the stratified bootstrap, on simulated scores.

Scores are normal with variance 1 in both classes, sqrt(2) * quantile(AUC) apart, so that the true AUC is known. The interval that covers what
it says is the default of cohort/evaluating/discrimination.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Callable

import numpy as np

from MRDeltaNetLib.cohort.statistics import auc_with_ci
from MRDeltaNetLib.cohort.statistics.bootstrap import interval, ranking_bootstrap
from MRDeltaNetLib.cohort.statistics.packages import package

SIMULATIONS, DRAWN_SIMULATIONS, SAMPLES = 10_000, 1_000, 1_000
"""Simulated studies; those that are also bootstrapped; samples of each."""
SETTINGS = ((31, 150, 0.90), (31, 150, 0.75), (31, 150, 0.97), (10, 40, 0.90), (20, 20, 0.90), (100, 400, 0.90))
"""Cases with pCR, cases without, true AUC. The first is the size that an external cohort of the paper's kind has."""


@dataclass(frozen=True)
class Coverage:
    """One way to an interval at one setting: share of simulated studies whose interval holds the truth, below and above it, and the mean width."""

    method: str
    studies: int
    holds: float
    below: float
    above: float
    width: float


def coverage(with_pcr: int, without: int, truth: float, simulations: int = SIMULATIONS, drawn: int = DRAWN_SIMULATIONS, seed: int = 0) -> list[Coverage]:
    """Coverage of all three intervals; `below` counts intervals that lie wholly below the truth. drawn: studies that are bootstrapped, 0 for none."""
    random = np.random.default_rng(seed)
    outcome = np.r_[np.ones(with_pcr), np.zeros(without)]
    shift = math.sqrt(2) * float(package("scipy.stats").norm.ppf(truth)) * outcome
    found: dict[str, list[tuple[float, float]]] = {"plain DeLong": [], "logit DeLong": [], "stratified bootstrap": []}
    for study in range(simulations):
        score = random.normal(size=len(outcome)) + shift
        for scale in ("plain", "logit"):
            found[f"{scale} DeLong"].append(auc_with_ci(outcome, score, scale)[1:])
        if study < drawn:
            found["stratified bootstrap"].append(interval(ranking_bootstrap(outcome, score, SAMPLES, study)[0]))
    return [_counted(method, np.array(bounds), truth) for method, bounds in found.items() if bounds]


def table(progress: Callable[[float, str], None], simulations: int = SIMULATIONS, drawn: int = DRAWN_SIMULATIONS) -> str:
    """All settings as a table in Markdown."""
    lines = ["| with pCR | without | true AUC | interval | studies | holds the truth, % | lies below, % | lies above, % | mean width |", "|---|---|---|---|---|---|---|---|---|"]
    for place, (with_pcr, without, truth) in enumerate(SETTINGS):
        progress(place / len(SETTINGS), f"{with_pcr} with pCR, {without} without, AUC {truth:.2f}")
        for one in coverage(with_pcr, without, truth, simulations, drawn):
            lines.append(f"| {with_pcr} | {without} | {truth:.2f} | {one.method} | {one.studies} | {100 * one.holds:.1f} | {100 * one.below:.1f} | "
                         f"{100 * one.above:.1f} | {one.width:.3f} |")
    return "\n".join(lines) + "\n"


def _counted(method: str, bounds: np.ndarray, truth: float) -> Coverage:
    below, above = bounds[:, 1] < truth, bounds[:, 0] > truth
    return Coverage(method, len(bounds), float(1 - below.mean() - above.mean()), float(below.mean()), float(above.mean()), float(np.diff(bounds, axis=1).mean()))
