"""The study's model against every other score on the same cases: areas by DeLong's paired test, right calls by McNemar's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from MRDeltaNetLib.cohort.evaluating.subset import Score, Subset
from MRDeltaNetLib.cohort.evaluating.thresholds import class_cut, why_not_ranked
from MRDeltaNetLib.cohort.statistics import auc_with_ci, paired_delong
from MRDeltaNetLib.cohort.statistics.packages import package
from MRDeltaNetLib.evaluation import Omission, Part, Table

SECTION = "comparisons"
COLUMNS = ("score", "against", "cases", "AUC", "AUC against", "difference", "lower", "upper", "z", "p (DeLong)", "p (DeLong, Holm)",
           "right by the first only", "right by the second only", "p (McNemar)", "p (McNemar, mid-p)", "p (McNemar, Holm)")
NOTES = ("Only cases that have both scores are compared. p of McNemar is exact (binomial); mid-p is its less cautious form",
         "Holm's adjustment is over all comparisons of this table")
SAME_DATA = ("The thresholds that McNemar's test compares the scores at were chosen on these very cases, by Youden's index; "
             "lock a threshold beforehand or give the training cases for a fair test")


def section(subset: Subset) -> Part:
    """evaluation.json's `comparisons`: a list with one entry for each other score, a the model and b the other."""
    model, others = subset.model, list(subset.scores.values())[1:]
    if not others:
        return Part([], omissions=(Omission(SECTION, "comparisons", "there is only one score, or none", "add other models' scores as columns"),))
    omissions: list[Omission] = []
    rows, same = [], False
    for other in others:
        outcome, pair = subset.judged(model.name, other.name)
        problem = next(filter(None, (why_not_ranked(outcome, values) for values in pair)), None)
        if problem is not None:
            omissions.append(Omission(SECTION, f"{model.label} against {other.label}", *problem))
            continue
        rows.append(_compared(model, other, outcome, *pair))
        same |= _add_calls(rows[-1], subset, outcome, *pair)
    for key in ("p_delong", "p_mcnemar"):
        _add_holm(rows, key)
    labels = {score.name: score.label for score in subset.scores.values()}
    table = Table("Comparisons of scores", COLUMNS, tuple(_row(one, labels) for one in rows), NOTES)
    return Part(rows, {"comparisons": table} if rows else {}, {}, (SAME_DATA,) if same else (), tuple(omissions))


def mcnemar(outcome: np.ndarray, called: np.ndarray, other: np.ndarray) -> tuple[int, int, float, float]:
    """Cases that only the first calls are right on, those that only the second are, and McNemar's p (1947): exact, and mid-p.

    outcome, called, other  (n,) booleans
    p is 1 where the calls are right on the same cases. Mid-p takes half of the chance of what was seen (Fagerland 2013, doi:10.1186/1471-2288-13-91).
    """
    right, right_other = called == outcome, other == outcome
    first, second = int((right & ~right_other).sum()), int((~right & right_other).sum())
    if not first + second:
        return 0, 0, 1.0, 1.0
    exact = float(package("statsmodels.stats.contingency_tables").mcnemar([[0, first], [second, 0]], exact=True).pvalue)
    seen = float(package("scipy.stats").binom.pmf(min(first, second), first + second, 0.5))
    tail = float(package("scipy.stats").binom.cdf(min(first, second), first + second, 0.5))
    return first, second, exact, min(1.0, 2 * tail - seen)


def _compared(model: Score, other: Score, outcome: np.ndarray, score: np.ndarray, against: np.ndarray) -> dict[str, Any]:
    found = paired_delong(outcome, score, against)
    return {"a": model.name, "b": other.name, "cases": len(outcome), "with_pcr": int(outcome.sum()), "auc_a": auc_with_ci(outcome, score)[0],
            "auc_b": auc_with_ci(outcome, against)[0], "difference": found.difference, "lo": found.lower, "hi": found.upper,
            "z": found.z if math.isfinite(found.z) else None, "p_delong": found.p}


def _add_calls(row: dict[str, Any], subset: Subset, outcome: np.ndarray, *pair: np.ndarray) -> bool:
    """McNemar's part of an entry; returns whether a threshold was learned on these cases."""
    used = [class_cut(subset, row[key]) for key in ("a", "b")]
    first, second, exact, mid = mcnemar(outcome.astype(bool), *(values >= cut.threshold for values, cut in zip(pair, used)))
    row |= {"right_a_only": first, "right_b_only": second, "p_mcnemar": exact, "p_mcnemar_mid": mid,
            **{f"threshold_{key}": cut.threshold for key, cut in zip("ab", used)}, **{f"rule_{key}": cut.rule for key, cut in zip("ab", used)}}
    return any(cut.same_data for cut in used)


def _add_holm(rows: list[dict[str, Any]], key: str) -> None:
    if rows:
        adjusted = package("statsmodels.stats.multitest").multipletests([row[key] for row in rows], method="holm")[1]
        for row, value in zip(rows, adjusted):
            row[f"{key}_holm"] = float(value)


def _row(one: dict[str, Any], labels: dict[str, str]) -> tuple[Any, ...]:
    keys = ("cases", "auc_a", "auc_b", "difference", "lo", "hi", "z", "p_delong", "p_delong_holm", "right_a_only", "right_b_only", "p_mcnemar", "p_mcnemar_mid",
            "p_mcnemar_holm")
    return labels[one["a"]], labels[one["b"]], *(one[key] for key in keys)
