"""How well scores tell pCR from non-pCR: areas under curves with intervals, and what thresholds do.

The default interval of the AUC is DeLong's on the logit scale: at 31 cases with pCR of 181 and a true AUC of 0.90 it covers 94 %, the plain one
92 % (docs/reference/evaluation-classification.md, python -m MRDeltaNetLib.cohort.experiments coverage).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from MRDeltaNetLib.cohort.evaluating.subset import Score, Subset
from MRDeltaNetLib.cohort.evaluating.thresholds import Cut, cuts, why_not_ranked
from MRDeltaNetLib.cohort.statistics import OperatingPoint, auc_with_ci, delong, expected_ci, operating_point, roc
from MRDeltaNetLib.cohort.statistics.bootstrap import affordable, interval, ranking_bootstrap
from MRDeltaNetLib.cohort.statistics.packages import package
from MRDeltaNetLib.evaluation import Figure, Omission, Part, Table

SECTION = "discrimination"
DEFAULT_INTERVAL = "logit"
MEASURES = ("sensitivity", "specificity", "ppv", "npv", "accuracy")
CURVE_POINTS = 500
AUC_COLUMNS = ("score", "cases", "with pCR", "AUC", "lower", "upper", "lower (plain DeLong)", "upper (plain DeLong)", "lower (bootstrap)",
               "upper (bootstrap)", "width (plain DeLong)", "width expected for these counts", "average precision")
POINT_COLUMNS = ("score", "threshold rule", "learned on", "threshold", "measure", "value", "lower", "upper", "cases", "of")
SAME_DATA = ("Thresholds by rule were chosen on the very cases that they are judged on, so what holds at them is too good; "
             "give the training cases too, or lock a threshold beforehand")


@dataclass(frozen=True)
class Judged:
    """One score: its cases, what is told of them, and what its thresholds do."""

    score: Score
    outcome: np.ndarray
    values: np.ndarray
    told: dict[str, Any] | None
    points: list[tuple[Cut, OperatingPoint]]


def section(subset: Subset) -> Part:
    """evaluation.json's `discrimination`: score -> what judged() tells; a score that cannot be ranked is left out, with the reason."""
    omissions: list[Omission] = []
    found = [_judge(subset, score, omissions) for score in subset.scores.values()]
    ranked = [one for one in found if one.told is not None]
    if not subset.scores:
        omissions.append(Omission(SECTION, "discrimination", "there is no score", "add a column whose name starts with p_, or name one in `scores`"))
    tables, figures = {}, {}
    if ranked:
        tables["discrimination_auc"] = _auc_table(ranked)
        figures["discrimination_roc"] = _roc_figure(subset, ranked)
        figures["discrimination_precision_recall"] = _recall_figure(subset, ranked)
    if any(one.points for one in found):
        tables["discrimination_operating_points"] = _points_table(subset, found)
    return Part({one.score.name: one.told for one in ranked}, tables, figures, _notes(subset, found), tuple(omissions))


def _notes(subset: Subset, found: list[Judged]) -> tuple[str, ...]:
    learned = {cut.same_data for one in found for cut, _ in one.points if cut.rule != "locked"}
    taught = f"Thresholds by rule were learned on the cases of '{subset.training.name}', whose scores have to be out-of-fold ones" if subset.training is not None else ""
    return ((SAME_DATA,) if True in learned else ()) + ((taught,) if False in learned else ())


def _judge(subset: Subset, score: Score, omissions: list[Omission]) -> Judged:
    outcome, (values,) = subset.judged(score.name)
    points = []
    if len(outcome):
        for cut in cuts(subset, score.name):
            if cut.threshold is None:
                omissions.append(Omission(SECTION, f"{score.label} at {cut.rule}", cut.why, "read the ROC curve, or choose another rule"))
            else:
                points.append((cut, operating_point(outcome, values, cut.threshold)))
    if (problem := why_not_ranked(outcome, values)) is not None:
        omissions.append(Omission(SECTION, f"AUC of {score.label}", *problem))
        return Judged(score, outcome, values, None, points)
    return Judged(score, outcome, values, _told(subset, score, outcome, values, points, omissions), points)


def _told(subset: Subset, score: Score, outcome: np.ndarray, values: np.ndarray, points: list[tuple[Cut, OperatingPoint]],
          omissions: list[Omission]) -> dict[str, Any]:
    with_pcr, without = int(outcome.sum()), int(len(outcome) - outcome.sum())
    (auc,), covariance = delong(outcome, values[None])
    auc = float(auc)
    plain, logit = (list(auc_with_ci(outcome, values, scale)[1:]) for scale in ("plain", "logit"))
    drawn, samples = (None, None), affordable(len(outcome), subset.config.bootstrap)
    if 0 < auc < 1 and samples:
        drawn = tuple(interval(one) for one in ranking_bootstrap(outcome, values, samples, subset.config.seed))
    if drawn[0] is None:
        omissions.append(Omission(SECTION, f"bootstrap interval of {score.label}", *_why_not_drawn(auc, len(outcome), subset.config.bootstrap)))
    expected = expected_ci(auc, with_pcr, without)
    told = {"cases": len(outcome), "with_pcr": with_pcr, "without_pcr": without, "auc": auc, "auc_variance_delong": float(covariance[0, 0]),
            "auc_ci": logit, "auc_ci_method": DEFAULT_INTERVAL, "auc_ci_delong": plain, "auc_ci_logit": logit,
            "auc_ci_bootstrap": None if drawn[0] is None else list(drawn[0]), "bootstrap_samples": samples if drawn[0] else 0,
            "ci_width": logit[1] - logit[0], "ci_width_delong": plain[1] - plain[0], "ci_width_expected": expected[1] - expected[0],
            "ci_expected": list(expected), "average_precision": float(package("sklearn.metrics").average_precision_score(outcome, values)),
            "average_precision_ci_bootstrap": None if drawn[1] is None else list(drawn[1])}
    youden = next((point for cut, point in points if cut.rule == "Youden"), None)
    if youden is not None:
        told["youden"] = {"threshold": youden.threshold} | {name: getattr(youden, name).value for name in MEASURES}
    return told | {"operating_points": [_point_values(cut, point) for cut, point in points]}


def _why_not_drawn(auc: float, cases: int, wanted: int) -> tuple[str, str]:
    if not 0 < auc < 1:
        return f"the AUC is {auc:g} in every sample of these cases", "read Newcombe's interval, which the other columns hold here"
    if not affordable(cases, wanted):
        return f"{cases} cases are too many to draw {wanted} times", "read DeLong's interval, which is the same for so many cases"
    return f"{wanted} samples are too few for a 95 % interval", "set bootstrap to 2000"


def _point_values(cut: Cut, point: OperatingPoint) -> dict[str, Any]:
    found: dict[str, Any] = {"rule": cut.rule, "threshold": point.threshold, "learned_on": cut.learned_on, "same_data": cut.same_data}
    for name in MEASURES:
        share = getattr(point, name)
        found |= {name: share.value, f"{name}_ci": None if share.value is None else [share.lower, share.upper], f"{name}_counts": [share.successes, share.total]}
    return found


def _auc_table(ranked: list[Judged]) -> Table:
    rows = []
    for one in ranked:
        told = one.told
        rows.append((one.score.label, told["cases"], told["with_pcr"], told["auc"], *told["auc_ci"], *told["auc_ci_delong"], *(told["auc_ci_bootstrap"] or (None, None)),
                     told["ci_width_delong"], told["ci_width_expected"], told["average_precision"]))
    notes = ["lower and upper: 95 % interval by DeLong on the logit scale; bootstrap: stratified, percentiles; expected: Hanley and McNeil"]
    if any(one.told["auc"] in (0, 1) for one in ranked):
        notes.append("where the AUC is 0 or 1 DeLong's variance is nothing, and intervals are Newcombe's")
    return Table("Areas under the ROC curve", AUC_COLUMNS, tuple(rows), tuple(notes))


def _points_table(subset: Subset, found: list[Judged]) -> Table:
    rows = []
    for one in found:
        for cut, point in one.points:
            for name in MEASURES:
                share = getattr(point, name)
                rows.append((one.score.label, cut.rule, cut.learned_on, cut.threshold, name.upper() if name in ("ppv", "npv") else name, share.value, share.lower,
                             share.upper, share.successes, share.total))
    notes = ["a case at or above the threshold counts as pCR; 95 % intervals are Wilson's"]
    if subset.config.threshold is None:
        notes.append("no threshold was locked before these cases were seen")
    return Table("What thresholds do", POINT_COLUMNS, tuple(rows), tuple(notes))


def _roc_figure(subset: Subset, ranked: list[Judged]) -> Figure:
    curves = []
    for one in ranked:
        _, sensitivity, specificity = roc(one.outcome, one.values)
        kept = _thinned(1 - specificity[::-1], sensitivity[::-1])
        curves.append({"label": one.score.label, "fpr": (1 - specificity[::-1])[kept].tolist(), "tpr": sensitivity[::-1][kept].tolist(), "auc": one.told["auc"],
                       "lo": one.told["auc_ci"][0], "hi": one.told["auc_ci"][1]})
    points = [{"label": cut.rule, "fpr": 1 - point.specificity.value, "tpr": point.sensitivity.value}
              for one in ranked if one.score is subset.model for cut, point in one.points]
    return Figure("roc", "ROC curves", {"curves": curves, "points": points})


def _recall_figure(subset: Subset, ranked: list[Judged]) -> Figure:
    curves = []
    for one in ranked:
        precision, recall, _ = package("sklearn.metrics").precision_recall_curve(one.outcome, one.values)
        some = recall[::-1] > 0                                                   # without a right call there is no recall to draw at
        recall, precision = recall[::-1][some], precision[::-1][some]
        kept = _thinned(recall, precision)
        curves.append({"label": one.score.label, "recall": recall[kept].tolist(), "precision": precision[kept].tolist(),
                       "average_precision": one.told["average_precision"]})
    return Figure("precision_recall", "Precision and recall", {"curves": curves, "prevalence": float(ranked[0].outcome.mean())})


def _thinned(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Indices of at most CURVE_POINTS corners of a curve, its ends among them."""
    turns = np.ones(len(x), dtype=bool)
    if len(x) > 2:
        cross = np.diff(x)[:-1] * np.diff(y)[1:] - np.diff(x)[1:] * np.diff(y)[:-1]
        turns[1:-1] = np.abs(cross) > 1e-15
    corners = np.flatnonzero(turns)
    return np.unique(np.append(corners[:: math.ceil(len(corners) / (CURVE_POINTS - 1))], corners[-1]))
