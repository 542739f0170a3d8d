"""From score to probability, and from probability to class: prior shift, logistic recalibration, locked threshold.

A model trained on balanced batches believes that half of all patients respond. The bundle stores one line,
P = 1 / (1 + exp(-(slope * logit + intercept))), into which all corrections are composed. Everything here is fitted on out-of-fold
scores of the training cases and on nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from MRDeltaNetLib.cohort.statistics import OperatingPoint, logistic, operating_point, roc, sigmoid, youden_threshold
from MRDeltaNetLib.config import ThresholdConfig
from MRDeltaNetLib.errors import InputError, Notice

EDGE = 1e-6
"""A threshold stays this far from 0 and 1, where a bundle may not have one."""


@dataclass(frozen=True)
class Recalibration:
    """The line that the bundle stores, and how it came about.

    slope, intercept  of the bundle: P = 1 / (1 + exp(-(slope * logit + intercept)))
    method            "platt", or "prior shift only" where no logistic recalibration exists; notices then say why
    sampled           share of pCR that training saw; share: among the training cases; prevalence: where the model will be used
    """

    slope: float
    intercept: float
    method: str
    sampled: float
    share: float
    prevalence: float
    notices: tuple[Notice, ...] = ()

    def probability(self, logit: np.ndarray) -> np.ndarray:
        """P(pCR) of logits."""
        return sigmoid(self.slope * np.asarray(logit, dtype=float) + self.intercept)


@dataclass(frozen=True)
class Threshold:
    """value: at or above it a case counts as pCR; source: a sentence part for the card; point: what it does on the cases it was chosen on."""

    value: float
    source: str
    point: OperatingPoint


def log_odds(share: float) -> float:
    """log(share / (1 - share)); share in (0, 1)."""
    if not 0 < share < 1:
        raise ValueError(f"a share of {share} has no log-odds")
    return math.log(share / (1 - share))


def prior_shift(logit: np.ndarray, sampled: float, prevalence: float) -> np.ndarray:
    """logit - log(sampled / (1 - sampled)) + log(prevalence / (1 - prevalence)): the same evidence under another prior (Saerens 2002)."""
    return np.asarray(logit, dtype=float) - log_odds(sampled) + log_odds(prevalence)


def platt(outcome: np.ndarray, logit: np.ndarray) -> tuple[float, float]:
    """(slope, intercept) of P(pCR) = logistic(slope * logit + intercept) by maximum likelihood, without a penalty (Platt 1999).

    raises  InputError MRD-E778 where no maximum exists: one class only, all scores equal, or scores that separate the classes,
            whose likelihood grows with the slope without end. Nothing is put in its place here.
    """
    outcome, logit = np.asarray(outcome).astype(bool), np.asarray(logit, dtype=float)
    _refuse_without_maximum(outcome, logit)
    try:
        (slope, intercept), _ = logistic(np.stack([logit, np.ones(len(logit))], axis=1), outcome)
    except ValueError as cause:
        raise InputError("The logistic recalibration did not settle", code="MRD-E778", found=f"{len(logit)} cases",
                         fix="look whether the scores separate the classes but for one or two cases; add cases") from cause
    return float(slope), float(intercept)


def recalibrated(outcome: np.ndarray, logit: np.ndarray, *, sampled: float, prevalence: float | None) -> Recalibration:
    """The bundle's line from out-of-fold logits.

    outcome, logit  (n,) of the training cases, each scored by networks that never saw it
    sampled         share of pCR in training batches: 0.5 where they are balanced
    prevalence      share of pCR where the model will be used; None: that of the training cases

    The logit is shifted to the training cases' share, recalibrated by Platt's line there, and shifted to the prevalence of use.
    Scores that separate the classes have no such line, and one with a negative slope would turn the model round: then the shift is
    all, and a notice says so.
    """
    outcome = np.asarray(outcome).astype(bool)
    share = float(outcome.mean())
    used = share if prevalence is None else float(prevalence)
    shift = log_odds(share) - log_odds(sampled)
    slope, intercept, method, notices = 1.0, 0.0, "prior shift only", ()
    try:
        found = platt(outcome, prior_shift(logit, sampled, share))
        if found[0] > 0:
            (slope, intercept), method = found, "platt"
        else:
            notices = (Notice("MRD-W774", "The out-of-fold scores do not rank responders higher, so the probabilities are not recalibrated",
                              "do not use this model: it learned nothing that holds outside its training cases"),)
    except InputError as problem:
        notices = (Notice("MRD-W773", f"The probabilities are shifted to the share of responders but not recalibrated: {problem.what[:1].lower()}{problem.what[1:]}",
                          "do not read P(pCR) as a probability; recalibrate on more cases"),)
    return Recalibration(slope, slope * shift + intercept + log_odds(used) - log_odds(share), method, sampled, share, used, notices)


def choose_threshold(outcome: np.ndarray, probability: np.ndarray, config: ThresholdConfig) -> Threshold:
    """The locked threshold on P(pCR) by the config's rule; outcome and probability are those of the out-of-fold training cases."""
    outcome, probability = np.asarray(outcome).astype(bool), np.asarray(probability, dtype=float)
    if config.rule == "youden":
        value, words = youden_threshold(outcome, probability), "Youden index"
    elif config.rule == "specificity":
        value, words = specificity_threshold(outcome, probability, config.specificity), f"smallest with a specificity of at least {config.specificity:g}"
    else:
        prevalence = float(outcome.mean()) if config.prevalence is None else config.prevalence
        value = cost_threshold(outcome, probability, config.cost_ratio, prevalence)
        words = f"least cost, a wrong pCR costing {config.cost_ratio:g} times a wrong non-pCR"
    value = float(np.clip(value, EDGE, 1 - EDGE))
    return Threshold(value, f"{words}, on {len(outcome)} out-of-fold training cases, then locked", operating_point(outcome, probability, value))


def specificity_threshold(outcome: np.ndarray, probability: np.ndarray, specificity: float) -> float:
    """The smallest cut between scores whose specificity is at least `specificity`; above all scores if no lower one will do."""
    outcome, probability = np.asarray(outcome).astype(bool), np.asarray(probability, dtype=float)
    _, _, reached = roc(outcome, probability)
    return float(_cuts(probability)[np.flatnonzero(reached >= specificity - 1e-9)[0]])      # a cut above every score has specificity 1


def cost_threshold(outcome: np.ndarray, probability: np.ndarray, cost_ratio: float, prevalence: float) -> float:
    """The cut between scores of least expected cost; of equal ones the highest, which calls fewer patients pCR.

    cost = cost_ratio * (1 - prevalence) * (1 - specificity) + prevalence * (1 - sensitivity): a wrong "pCR" leaves a tumour in place.
    """
    outcome, probability = np.asarray(outcome).astype(bool), np.asarray(probability, dtype=float)
    _, sensitivity, specificity = roc(outcome, probability)
    cost = cost_ratio * (1 - prevalence) * (1 - specificity) + prevalence * (1 - sensitivity)
    return float(_cuts(probability)[np.flatnonzero(cost <= cost.min() + 1e-12)[-1]])


def _cuts(probability: np.ndarray) -> np.ndarray:
    """One cut below all scores, one midway between each two neighbours, one above all; ascending, one for each point of roc()."""
    values = np.unique(probability)
    above = max((values[-1] + 1) / 2, np.nextafter(values[-1], np.inf))
    return np.concatenate([[values[0] / 2], (values[1:] + values[:-1]) / 2, [above]])


def _refuse_without_maximum(outcome: np.ndarray, logit: np.ndarray) -> None:
    high, low = logit[outcome], logit[~outcome]
    if not np.isfinite(logit).all():
        raise InputError("Scores that are not numbers cannot be recalibrated", code="MRD-E778", found=f"{int((~np.isfinite(logit)).sum())} of {len(logit)}",
                         fix="train again with a smaller learning rate")
    if not len(high) or not len(low) or np.ptp(logit) == 0:
        raise InputError("There is no logistic recalibration, because there is one class only or all scores are equal", code="MRD-E778",
                         found=f"{len(high)} with pCR, {len(low)} without", fix="add cases")
    if high.min() >= low.max() or low.min() >= high.max():
        raise InputError("There is no logistic recalibration, because the scores separate the classes completely", code="MRD-E778",
                         found=f"{len(high)} with pCR, {len(low)} without", fix="add cases until both classes overlap, or look for a leak of the outcome")

