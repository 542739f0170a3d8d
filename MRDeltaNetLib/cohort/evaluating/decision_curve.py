"""Whether acting on a probability helps: net benefit beside calling everybody and nobody, with bootstrap bands."""

from __future__ import annotations

from typing import Any

import numpy as np

from MRDeltaNetLib.cohort.evaluating.subset import Score, Subset
from MRDeltaNetLib.cohort.evaluating.thresholds import why_not_probable
from MRDeltaNetLib.cohort.statistics.bootstrap import interval
from MRDeltaNetLib.cohort.statistics.net_benefit import decision_curve, net_benefit_bootstrap, threshold_grid
from MRDeltaNetLib.evaluation import Figure, Omission, Part, Table

SECTION = "decision_curve"
KEYS = ("threshold", "net_benefit", "lo", "hi", "treat_all", "standardised_net_benefit", "avoided_per_100")
COLUMNS = ("threshold probability", "net benefit", "lower", "upper", "net benefit of calling everybody pCR", "standardised net benefit",
           "fewer called pCR, per 100 patients")
NOTES = ("Calling nobody pCR has a net benefit of 0. lower and upper: 95 % bootstrap interval at each threshold by itself",
         "The last column: how many fewer are called pCR than if everybody were, at no loss of right calls")

DIFFERENT_CASES = "Not every case has every probability, so the curves are of different cases; that of calling everybody is of the first one's"


def section(subset: Subset) -> Part:
    """evaluation.json's `decision_curve`: probability -> list over thresholds; scores that are no probabilities have none."""
    values: dict[str, list[dict[str, Any]]] = {}
    tables, omissions = {}, []
    thresholds = threshold_grid(*subset.config.thresholds)
    chances = [score for score in subset.scores.values() if score.probability]
    for score in chances:
        outcome, (probability,) = subset.judged(score.name)
        problem = why_not_probable(outcome, probability)
        if problem is not None:
            omissions.append(Omission(SECTION, f"decision curve of {score.label}", *problem))
            continue
        values[score.name] = _curve(subset, outcome, probability, thresholds)
        tables[f"decision_curve_{score.name}"] = Table(f"Net benefit of {score.label}", COLUMNS, tuple(tuple(row[key] for key in KEYS) for row in values[score.name]),
                                                       NOTES)
    if not chances:
        omissions.append(Omission(SECTION, "decision curves", "no score is a probability", "name columns of probabilities p_..."))
    figures = {"decision_curve": _figure([score for score in chances if score.name in values], values, subset)} if values else {}
    if values and next(iter(values.values()))[0]["lo"] is None:
        omissions.append(Omission(SECTION, "bands of decision curves", f"{subset.config.bootstrap} samples are too few for a 95 % interval", "set bootstrap to 2000"))
    cases = {len(subset.judged(name)[0]) for name in values}
    return Part(values, tables, figures, (DIFFERENT_CASES,) if len(cases) > 1 else (), tuple(omissions))


def _curve(subset: Subset, outcome: np.ndarray, probability: np.ndarray, thresholds: np.ndarray) -> list[dict[str, Any]]:
    found = decision_curve(outcome, probability, thresholds)
    drawn = net_benefit_bootstrap(outcome, probability, thresholds, subset.config.bootstrap, subset.config.seed)
    rows = []
    for place, threshold in enumerate(thresholds):
        lower, upper = interval(drawn[:, place]) or (None, None)
        avoided = float(found.avoided[place])
        rows.append({"threshold": float(threshold), "net_benefit": float(found.net_benefit[place]), "lo": lower, "hi": upper,
                     "treat_all": float(found.treat_all[place]), "treat_none": 0.0, "standardised_net_benefit": float(found.standardised[place]),
                     "avoided_per_100": 100 * avoided if np.isfinite(avoided) else None})
    return rows


def _figure(scores: list[Score], values: dict[str, list[dict[str, Any]]], subset: Subset) -> Figure:
    column = lambda score, key: [row[key] for row in values[score.name]]
    curves = []
    for score in scores:
        lower, upper = column(score, "lo"), column(score, "hi")
        curves.append({"label": score.label, "net_benefit": column(score, "net_benefit"), "lo": None if None in lower else lower, "hi": None if None in upper else upper})
    outcome, _ = subset.judged(scores[0].name)
    return Figure("decision_curve", "Decision curves", {"thresholds": column(scores[0], "threshold"), "curves": curves, "treat_all": column(scores[0], "treat_all"),
                                                        "event_rate": float(outcome.mean())})
