"""Which cases a score can be judged on, and the thresholds that turn it into a class: learned on the training cases wherever there are any."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from MRDeltaNetLib.cohort.calibration import cost_threshold, specificity_threshold
from MRDeltaNetLib.cohort.evaluating.subset import Subset
from MRDeltaNetLib.cohort.statistics import youden_threshold

FEWEST_OF_A_CLASS = 2
"""Cases of each class that an AUC with an interval, and a threshold, need."""

DIGITS = 13
"""Of thresholds midway between two scores; more are noise of the arithmetic."""


@dataclass(frozen=True)
class Cut:
    """One threshold and where it comes from.

    rule        "locked", "Youden", "specificity 0.9" or "cost ratio 1"
    threshold   at or above it a case counts as pCR; None: the rule finds none, and `why` says in what way
    learned_on  name of the set whose cases it was chosen on; "before" for a locked one
    same_data   whether it is judged on the cases that it was chosen on
    """

    rule: str
    threshold: float | None
    learned_on: str
    same_data: bool
    why: str = ""


def why_not_ranked(outcome: np.ndarray, score: np.ndarray) -> tuple[str, str] | None:
    """Why these cases (n,) have no AUC with an interval: what was found, and what to do; None where they have one."""
    with_pcr, without = int(outcome.sum()), int(len(outcome) - outcome.sum())
    if min(with_pcr, without) < FEWEST_OF_A_CLASS:
        return (f"{with_pcr} cases with pCR and {without} without have this score; {FEWEST_OF_A_CLASS} of each are the fewest",
                "add cases, or look whether outcome and score are filled in")
    if np.ptp(score) == 0:
        return "the score is the same for every case, so it ranks nobody", "look whether the column holds what its name says"
    return None


def why_not_probable(outcome: np.ndarray, probability: np.ndarray) -> tuple[str, str] | None:
    """Why these cases (n,) have no calibration and no decision curve: what was found, and what to do; None where they have them."""
    with_pcr, without = int(outcome.sum()), int(len(outcome) - outcome.sum())
    if not min(with_pcr, without):
        return (f"{with_pcr} cases with pCR and {without} without have this probability; both kinds are needed",
                "add cases, or look whether outcome and probability are filled in")
    if not ((probability >= 0) & (probability <= 1)).all():
        return "it holds values outside 0 and 1", "name it in `scores` and not p_..., if it is no probability"
    return None


def cuts(subset: Subset, name: str) -> list[Cut]:
    """The locked threshold of the model's score, if there is one, then those by rule; without cases to learn from the locked one alone."""
    config, found = subset.config, []
    if config.threshold is not None and name == subset.model.name:
        found.append(Cut("locked", float(config.threshold), "before", False))
    source = _teachers(subset, name)
    if source is None:
        return found
    outcome, (score,) = source.judged(name)
    where, same = source.name, source is subset
    found.append(Cut("Youden", _in_few_digits(youden_threshold(outcome, score), score), where, same))
    for wanted in config.specificities:
        found.append(_inside(f"specificity {wanted:g}", specificity_threshold(outcome, score, wanted), score, where, same))
    return found + [_inside(f"cost ratio {config.cost_ratio:g}", cost_threshold(outcome, score, config.cost_ratio, float(outcome.mean())), score, where, same)]


def class_cut(subset: Subset, name: str) -> Cut | None:
    """What splits a score into classes: the locked threshold, else Youden's; None where neither exists."""
    return next(iter(cuts(subset, name)), None)


def _teachers(subset: Subset, name: str) -> Subset | None:
    """The training cases, or these cases where there are none (or none that this score can be learned on)."""
    for source in (subset.training, subset):
        if source is not None and name in source.scores:
            outcome, (score,) = source.judged(name)
            if why_not_ranked(outcome, score) is None:
                return source
    return None


def _inside(rule: str, threshold: float, score: np.ndarray, where: str, same: bool) -> Cut:
    if threshold > score.max():
        return Cut(rule, None, where, same, "only a threshold above every score does, and it calls nobody pCR")
    if threshold <= score.min():
        return Cut(rule, None, where, same, "a threshold below every score does, and it calls everybody pCR")
    return Cut(rule, _in_few_digits(float(threshold), score), where, same)


def _in_few_digits(threshold: float, score: np.ndarray) -> float:
    """The number midway between 0.2 and 0.21 is 0.205 and not 0.20500000000000002: rounded where no case changes sides."""
    rounded = float(f"{threshold:.{DIGITS}g}")
    return rounded if np.array_equal(score >= rounded, score >= threshold) else threshold
