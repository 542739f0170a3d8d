"""From score to probability, and from probability to class: prior shift, logistic recalibration, locked threshold.

A model trained on balanced batches believes that half of all patients respond. The bundle stores one line,
P = 1 / (1 + exp(-(slope * logit + intercept))), into which all corrections are composed. Everything here is fitted on out-of-fold
scores of the training cases and on nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Sequence

import numpy as np

from MRDeltaNetLib.cohort.statistics import OperatingPoint, logistic, operating_point, roc, sigmoid, youden_threshold
from MRDeltaNetLib.config import ThresholdConfig
from MRDeltaNetLib.errors import InputError, Notice

EDGE = 1e-6
"""A threshold stays this far from 0 and 1, where a bundle may not have one."""
PLATT = "platt"
MIN_UNSEEN = 30
"""Fewer cases than this tell too little about how far networks disagree."""
MAX_STRETCH = 2.0
"""A larger factor would rest on the difference of two nearly equal variances."""


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


    def logit_of(self, probability: float) -> float:
        """The logit that has this P(pCR)."""
        return (log_odds(probability) - self.intercept) / self.slope


@dataclass(frozen=True)
class Stretch:
    """By how much a mean over networks is better evidence than one out-of-fold score; see ensemble_stretch.

    factor           of the log-odds that the score adds to the prior; 1: not known, or nothing to do
    cases            training cases that networks of two folds or more had not learned from
    member_variance  of the networks' logits on one such case; within_variance: of the out-of-fold logits within a class
    """

    factor: float = 1.0
    cases: int = 0
    member_variance: float | None = None
    within_variance: float | None = None


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
            (slope, intercept), method = found, PLATT
        else:
            notices = (Notice("MRD-W774", "The out-of-fold scores do not rank responders higher, so the probabilities are not recalibrated",
                              "do not use this model: it learned nothing that holds outside its training cases"),)
    except InputError as problem:
        notices = (Notice("MRD-W773", f"The probabilities are shifted to the share of responders but not recalibrated: {problem.what[:1].lower()}{problem.what[1:]}",
                          "do not read P(pCR) as a probability; recalibrate on more cases"),)
    return Recalibration(slope, slope * shift + intercept + log_odds(used) - log_odds(share), method, sampled, share, used, notices)


def ensemble_stretch(outcome: np.ndarray, logit: np.ndarray, unseen: Sequence[np.ndarray], averaged: float, networks: int) -> Stretch:
    """How much steeper the line has to be for a mean over `networks` folds than for the out-of-fold scores that it was fitted on.

    outcome, logit  (n,) of the training cases, out of fold
    unseen          for each training case that networks of at least two folds did not learn from, their logits; one a fold, its seeds' mean
    averaged        out-of-fold logits that one score is the mean of (the repeats)
    networks        folds times repeats: what the shipped score is the mean of

    One network's logit is the case's own part and an error of that network with variance t. Within a class the out-of-fold scores then
    have the variance W, of which t / averaged is such error, and the ensemble's scores the variance W - t / averaged + t / networks. For
    normal scores the log-likelihood ratio of the classes is linear in the score, with a slope of one over that variance, so the slope
    grows by W / (W - t (1 / averaged - 1 / networks)): the correction for attenuation (Spearman 1904; Carroll et al., Measurement Error in
    Nonlinear Models, 2006, 1.1). Errors that all networks share are in both. No more than MAX_STRETCH; none below MIN_UNSEEN cases.
    """
    if len(unseen) < MIN_UNSEEN or networks <= averaged:
        return Stretch(cases=len(unseen))
    outcome, logit = np.asarray(outcome).astype(bool), np.asarray(logit, dtype=float)
    error = sum(float(((values - np.mean(values)) ** 2).sum()) for values in unseen) / sum(len(values) - 1 for values in unseen)
    within = sum(float(((values - values.mean()) ** 2).sum()) for values in (logit[outcome], logit[~outcome])) / (len(logit) - 2)
    left = within - error * (1 / averaged - 1 / networks)
    factor = MAX_STRETCH if left <= within / MAX_STRETCH else within / left
    return Stretch(float(factor), len(unseen), float(error), float(within))


def for_ensemble(line: Recalibration, stretch: Stretch) -> Recalibration:
    """The line of the shipped mean over networks: the log-odds that the score adds to the prevalence of use, times the factor."""
    prior = log_odds(line.prevalence)
    return replace(line, slope=stretch.factor * line.slope, intercept=stretch.factor * (line.intercept - prior) + prior)


def at_same_logit(threshold: Threshold, line: Recalibration, shipped: Recalibration) -> Threshold:
    """A threshold on the line's probabilities as one on the shipped line's: the same cut of the logit."""
    if shipped == line:
        return threshold
    value = float(np.clip(shipped.probability(line.logit_of(threshold.value)), EDGE, 1 - EDGE))
    return replace(threshold, value=value, point=replace(threshold.point, threshold=value))


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
    lowest = values[0] / 2 if values[0] > 0 else values[0]          # scores that are no probabilities may be negative
    return np.concatenate([[lowest], (values[1:] + values[:-1]) / 2, [above]])


def _refuse_without_maximum(outcome: np.ndarray, logit: np.ndarray) -> None:
    high, low = logit[outcome], logit[~outcome]
    if not np.isfinite(logit).all():
        raise InputError("Scores that are not numbers cannot be recalibrated", code="MRD-E778", found=f"{int((~np.isfinite(logit)).sum())} of {len(logit)}",
                         fix="train again with a smaller learning rate")
    if not len(high) or not len(low) or np.ptp(logit) == 0:
        raise InputError("There is no logistic recalibration, because there is one class only or all scores are equal", code="MRD-E778",
                         found=f"{len(high)} with pCR, {len(low)} without", fix="add cases")
    if high.min() >= low.max() or low.min() >= high.max():
        raise InputError("There is no logistic recalibration, because the scores separate the classes", code="MRD-E778",
                         found=f"{len(high)} with pCR, {len(low)} without", fix="add cases until both classes overlap, or look for a leak of the outcome")

