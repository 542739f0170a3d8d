"""What acting on a probability is worth: decision curves (Vickers and Elkin 2006, doi:10.1177/0272989X06295361). outcome is 1 for pCR.

"Treated" is who is called pCR. At a threshold probability t a wrong call costs t / (1 - t) of what a right one brings:
net benefit = TP / n - FP / n * t / (1 - t).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit at thresholds, (k,) each.

    net_benefit    of calling pCR whoever has at least that probability; calling nobody brings 0 at every threshold
    treat_all      of calling everybody
    standardised   net benefit over the share of pCR: 1 is the best that can be (Kerr 2016, doi:10.1200/JCO.2015.65.5654)
    avoided        (net_benefit - treat_all) / (t / (1 - t)): calls fewer than with treat_all, a case, without losing a right one
                   (Vickers 2008, doi:10.1186/1472-6947-8-53); NaN at a threshold of 0
    """

    thresholds: np.ndarray
    net_benefit: np.ndarray
    treat_all: np.ndarray
    standardised: np.ndarray
    avoided: np.ndarray


def threshold_grid(low: float, high: float, step: float) -> np.ndarray:
    """low, low + step, ... to high, as the decimal numbers that were meant: a probability of 0.3 reaches the threshold 0.3.

    raises ValueError unless 0 <= low <= high < 1 and step > 0
    """
    if not (0 <= low <= high < 1 and step > 0):
        raise ValueError("thresholds go upwards from 0 and stay below 1")
    return np.round(low + step * np.arange(int(np.floor((high - low) / step + 1e-9)) + 1), 10)


def decision_curve(outcome: np.ndarray, probability: np.ndarray, thresholds: np.ndarray) -> DecisionCurve:
    """Net benefit of a probability at every threshold; all cases are sorted once.

    outcome (n,) 0 or 1; probability (n,); thresholds (k,) ascending, 0 <= t < 1
    raises  ValueError without any case, or where a probability is NaN or outside 0 and 1, or a threshold 1 or more
    """
    outcome, probability, thresholds = _checked(outcome, probability, thresholds)
    true, false = (_reached(probability[chosen], thresholds) / len(outcome) for chosen in (outcome, ~outcome))
    odds, share = thresholds / (1 - thresholds), float(outcome.mean())
    benefit, everyone = true - false * odds, share - (1 - share) * odds
    with np.errstate(divide="ignore", invalid="ignore"):
        avoided = np.where(odds > 0, (benefit - everyone) / odds, np.nan)
        standardised = np.where(share > 0, benefit / share, np.nan)
    return DecisionCurve(thresholds, benefit, everyone, standardised, avoided)


def net_benefit_bootstrap(outcome: np.ndarray, probability: np.ndarray, thresholds: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Net benefit (samples, k) of samples of n cases, drawn from all cases whatever their outcome, because the share of pCR is uncertain too.

    A sample matters by how many of its cases, with and without pCR, lie between each two thresholds. These counts are one multinomial draw, so
    the work does not grow with n. raises ValueError as decision_curve()
    """
    outcome, probability, thresholds = _checked(outcome, probability, thresholds)
    place = np.searchsorted(thresholds, probability, side="right")                  # thresholds reached by the case
    cells = len(thresholds) + 1
    shares = np.bincount(place + cells * outcome, minlength=2 * cells) / len(outcome)
    drawn = np.random.default_rng(seed).multinomial(len(outcome), shares, size=samples).reshape(samples, 2, cells)
    reached = np.cumsum(drawn[:, :, :0:-1], axis=2)[:, :, ::-1] / len(outcome)
    return reached[:, 1] - reached[:, 0] * thresholds / (1 - thresholds)


def _reached(probability: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How many probabilities lie at or above each threshold."""
    return len(probability) - np.searchsorted(np.sort(probability), thresholds, side="left")


def _checked(outcome: np.ndarray, probability: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    outcome, probability, thresholds = np.asarray(outcome).astype(bool), np.asarray(probability, dtype=float), np.asarray(thresholds, dtype=float)
    if not len(outcome) or len(outcome) != len(probability) or not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("every case needs a probability from 0 to 1")
    if not ((thresholds >= 0) & (thresholds < 1)).all() or (np.diff(thresholds) <= 0).any():
        raise ValueError("thresholds ascend from 0 and stay below 1")
    return outcome, probability, thresholds
