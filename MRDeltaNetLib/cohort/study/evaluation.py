"""What the out-of-fold scores, the centres left out, and cases outside the training set say about a model."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Mapping, Sequence

import numpy as np

from MRDeltaNetLib.cohort import statistics
from MRDeltaNetLib.cohort.calibration import Recalibration, Stretch, platt
from MRDeltaNetLib.cohort.splitting import Plan, Split
from MRDeltaNetLib.cohort.study.members import Member
from MRDeltaNetLib.errors import InputError

MIN_CLASS = 2
"""Cases of each class that an AUC with an interval needs."""


def out_of_fold(folds: Sequence[Split], members: Sequence[Member], cases: int) -> dict[int, np.ndarray]:
    """Case -> logits (m,) of every member that held it out, in the members' order; training cases only."""
    held: dict[int, list[float]] = {}
    for member in members:
        for case in member.split.held_out:
            held.setdefault(int(case), []).append(float(member.logits[case]))
    if any(not 0 <= case < cases for case in held) or set(held) != {int(k) for split in folds for k in split.held_out}:
        raise AssertionError("members and folds are not of one study")
    return {case: np.array(held[case]) for case in sorted(held)}


def unseen_by_two(members: Sequence[Member]) -> list[np.ndarray]:
    """Logits of every training case that networks of two folds or more did not learn from: one a fold, the mean over its seeds.

    A fold's networks did not learn from the cases that they held out, nor from those that only stopped their training.
    """
    folds: dict[str, list[Member]] = {}
    for member in members:
        folds.setdefault(member.split.name, []).append(member)
    found: dict[int, list[float]] = {}
    for same in folds.values():
        logits = np.mean([member.logits for member in same], axis=0)
        for case in (*same[0].split.held_out, *same[0].split.stopping):
            found.setdefault(int(case), []).append(float(logits[case]))
    return [np.array(values) for _, values in sorted(found.items()) if len(values) > 1]


def discrimination(outcome: Sequence[int], score: Sequence[float]) -> dict[str, Any]:
    """{"cases", "with_pcr", "without_pcr", "auc", "ci", "expected_ci"}; auc and intervals are None with fewer than two cases of a class.

    ci is DeLong's on the logit scale (Newcombe's for an AUC of 0 or 1), expected_ci what so many cases may be expected to give (Hanley and McNeil).
    """
    outcome, score = np.asarray(outcome, dtype=int), np.asarray(score, dtype=float)
    with_pcr, without = int((outcome == 1).sum()), int((outcome == 0).sum())
    found = {"cases": len(outcome), "with_pcr": with_pcr, "without_pcr": without, "auc": None, "ci": None, "expected_ci": None}
    if min(with_pcr, without) < MIN_CLASS:
        return found
    auc, low, high = statistics.auc_with_ci(outcome, score)
    return found | {"auc": auc, "ci": [low, high], "expected_ci": list(statistics.expected_ci(auc, with_pcr, without))}


def by_centre(outcome: np.ndarray, score: np.ndarray, centres: Sequence[str | None]) -> dict[str, dict[str, Any]]:
    """discrimination() in each named centre, in sorted order."""
    names = np.array(["" if name is None else str(name) for name in centres])
    return {name: discrimination(outcome[names == name], score[names == name]) for name in sorted(set(names) - {""})}


def calibrated(outcome: np.ndarray, logit: np.ndarray) -> dict[str, Any] | None:
    """Slope and intercept with intervals, Brier score and expected share of predicted logits; None where no slope exists."""
    try:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(statistics.calibration(outcome, logit)).items()}
    except ValueError:
        return None


def cross_fitted(outcome: np.ndarray, logit: np.ndarray, folds: np.ndarray) -> dict[str, Any] | None:
    """calibrated() of each fold's logits after Platt's line of the other folds: what recalibration does to cases that it was not fitted on.

    folds   (n,) fold of each case. None where the others' line does not exist, or has no positive slope.
    """
    moved = np.empty(len(logit))
    for fold in np.unique(folds):
        mine = folds == fold
        try:
            slope, intercept = platt(outcome[~mine], logit[~mine])
        except InputError:
            return None
        if slope <= 0:
            return None
        moved[mine] = slope * logit[mine] + intercept
    return calibrated(outcome, moved)


def whole_centres(folds: Sequence[Split], centres: Sequence[str | None]) -> bool:
    """Whether no fold's network saw a case of the centres that it is scored on: then every out-of-fold score is of a new centre."""
    def of(cases: np.ndarray) -> set[str | None]:
        return {centres[int(case)] for case in cases}

    return all(None not in of(split.held_out) and not of(split.held_out) & (of(split.training) | of(split.stopping)) for split in folds)


def calibration_record(outcome: np.ndarray, logit: np.ndarray, folds: np.ndarray, line: Recalibration, stretch: Stretch, shipped: Recalibration) -> dict[str, Any]:
    """Before and after, as training.json has them. "after" is 1 and 0 by construction; "after_cross_fitted" is the honest one.

    slope, intercept  of the shipped model; out_of_fold: of oof.csv; ensemble: how the one came from the other
    """
    from MRDeltaNetLib.cohort.calibration import log_odds

    here = line.slope * logit + line.intercept - (log_odds(line.prevalence) - log_odds(line.share))
    return {"method": line.method, "slope": shipped.slope, "intercept": shipped.intercept, "out_of_fold": {"slope": line.slope, "intercept": line.intercept},
            "ensemble": asdict(stretch), "sampled_share": line.sampled, "training_share": line.share,
            "prevalence_of_use": line.prevalence, "before": calibrated(outcome, logit), "after": calibrated(outcome, here),
            "after_cross_fitted": cross_fitted(outcome, logit, folds)}


def centres_left_out(plan: Plan, members: Sequence[Member], outcome: np.ndarray, centres: Sequence[str | None],
                     oof: Mapping[int, np.ndarray]) -> dict[str, Any] | None:
    """Each centre scored by networks that never saw it, beside the same cases' out-of-fold scores; None if no centre was left out.

    "pooled" ranks cases of different centres against each other although different networks scored them.
    """
    if not plan.centres:
        return None
    found, logits, truth, same = {}, [], [], []
    for split in plan.centres:
        scored = np.mean([member.logits[split.held_out] for member in members if member.split.name == split.name], axis=0)
        mine = outcome[split.held_out]
        within = np.array([oof[int(case)].mean() for case in split.held_out])
        found[str(centres[int(split.held_out[0])])] = discrimination(mine, scored) | {"out_of_fold_auc": discrimination(mine, within)["auc"]}
        logits.append(scored)
        truth.append(mine)
        same.append(within)
    pooled = discrimination(np.concatenate(truth), np.concatenate(logits))
    return {"centres": found, "pooled": pooled, "out_of_fold_auc_of_the_same_cases": discrimination(np.concatenate(truth), np.concatenate(same))["auc"]}


def operating_point(outcome: np.ndarray, probability: np.ndarray, threshold: float) -> dict[str, Any]:
    """Sensitivity, specificity, predictive values and accuracy with Wilson's intervals, as plain JSON."""
    return asdict(statistics.operating_point(outcome, probability, threshold))
