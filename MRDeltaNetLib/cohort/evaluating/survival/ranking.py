"""How well each score ranks an endpoint: Harrell's and Uno's C, and the area under the ROC curve at times. A larger score means a later event."""

from __future__ import annotations

from typing import Any

import numpy as np

from MRDeltaNetLib.cohort.evaluating.clinical_values import plain, too_many
from MRDeltaNetLib.cohort.evaluating.subset import Subset
from MRDeltaNetLib.cohort.evaluating.survival.follow_up import SECTION, FollowUp, time_text
from MRDeltaNetLib.cohort.statistics.survival import harrell, time_dependent_auc, time_dependent_auc_bounds, uno
from MRDeltaNetLib.evaluation import Figure, Omission, Table

CURVE_TIMES, LEAST_EVENTS, SAMPLES = 16, 10, 500


def ranking(subset: Subset, cases: FollowUp) -> tuple[dict[str, Any], dict[str, Table], dict[str, Figure], list[Omission]]:
    """values {score: what is told}, tables, figures and omissions."""
    if (many := too_many(len(cases.time))) and subset.scores:
        return {}, {}, {}, [Omission(SECTION, f"{cases.name}: how well scores rank it", many, "take a sample of the cases")]
    values, curves, omissions = {}, {}, []
    for score in subset.scores.values():
        there = ~np.isnan(score.values[cases.rows])
        time, event, risk = cases.time[there], cases.event[there], -score.values[cases.rows][there]
        try:
            drawn = _even_times(time[event == 1]) if not values else np.zeros(0)              # one curve: the study's score
            values[score.name], curves[score.name] = _told(cases, time, event, risk, drawn, subset)
        except ValueError as none:
            omissions.append(Omission(SECTION, f"{cases.name}: C of {score.label}", str(none), "scores and events of more cases are needed"))
    if not values:
        return {}, {}, {}, omissions
    numbers = lambda one: (one["n"], one["events"], *(one[kind][key] for kind in ("harrell", "uno") for key in ("c", "lo", "hi")))
    rows = tuple((subset.scores[name].label, *numbers(one)) for name, one in values.items())
    at = tuple((subset.scores[name].label, float(mark), one["auc"], one["lo"], one["hi"]) for name, told in values.items()
               for mark, one in told["time_dependent_auc"].items())
    columns = ("Score", "Cases", "Events", "Harrell's C", "Harrell's C low", "Harrell's C high", "Uno's C", "Uno's C low", "Uno's C high")
    tables = {"concordance": Table(f"{cases.name}: how well scores rank it", columns, rows,
                                   ("A larger score means a later event: C above 0.5 says that those who are likely to respond completely have it later.",))}
    if at:
        tables["time_dependent_auc"] = Table(f"{cases.name}: area under the ROC curve at times",
                                             ("Score", f"Time, {cases.settings.unit}", "AUC", "AUC low", "AUC high"), at)
    first = next(iter(values))
    return values, tables, _figure(f"{cases.name}: area under the ROC curve of {subset.scores[first].label} at times", cases, curves[first]), omissions


def _told(cases: FollowUp, time, event, risk, drawn: np.ndarray, subset: Subset) -> tuple[dict[str, Any], np.ndarray]:
    """What is told of one score, and its curve at the times drawn (m,): times, areas, lower and upper bounds (4, m)."""
    rank, weighted = harrell(time, event, risk), uno(time, event, risk)
    told = {"n": len(time), "events": int(event.sum())}
    told |= {name: {"c": one.c, "se": one.error, "lo": one.lower, "hi": one.upper} for name, one in (("harrell", rank), ("uno", weighted))}
    times = np.concatenate([cases.marks, drawn])
    areas = time_dependent_auc(time, event, risk, times)
    low, high, samples = time_dependent_auc_bounds(time, event, risk, times, min(SAMPLES, subset.config.bootstrap), subset.config.seed)
    marked = len(cases.marks)
    told["time_dependent_auc"] = {time_text(mark): {"auc": float(area), "lo": plain(lower), "hi": plain(upper)}
                                  for mark, area, lower, upper in zip(cases.marks, areas, low, high) if np.isfinite(area)}
    told["bootstrap_samples"] = samples
    return told, np.stack([times, areas, low, high])[:, marked:]


def _even_times(happened: np.ndarray) -> np.ndarray:
    """Times at which a curve is drawn: between the first tenth and the last tenth of the events."""
    return np.linspace(*np.quantile(happened, (0.1, 0.9)), CURVE_TIMES) if len(happened) >= LEAST_EVENTS else np.zeros(0)


def _figure(title: str, cases: FollowUp, curve: np.ndarray) -> dict[str, Figure]:
    times, areas, low, high = curve[:, np.isfinite(curve[1])]
    if not len(times):
        return {}
    data = {"unit": cases.settings.unit, "times": times.tolist(), "auc": areas.tolist(), "lo": [plain(value) for value in low],
            "hi": [plain(value) for value in high]}
    return {"time_dependent_auc": Figure("time_dependent_auc", title, data)}
