"""Where the model holds and where it does not: groups of patients apart, centres summarised, and each centre left out.

Predictions cannot be trained again, so "leave one centre out" means two different things here, told apart: the AUC of all cases but one
centre's (how much the whole rests on one centre), and, where the table has a score made by models that never saw the patient's centre (a
column with "loco" in its name), that score beside the model's on the same cases.
"""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

from MRDeltaNetLib.cohort.evaluating.grouping import Grouping, groupings
from MRDeltaNetLib.cohort.evaluating.subset import Score, Subset
from MRDeltaNetLib.cohort.evaluating.thresholds import why_not_ranked
from MRDeltaNetLib.cohort.statistics import Z_95, auc_with_ci, paired_delong, sigmoid, slope_of
from MRDeltaNetLib.cohort.statistics.pooling import Pooled, logit_auc, pooled
from MRDeltaNetLib.evaluation import Figure, Omission, Part, Table

SECTION = "heterogeneity"
FEWEST_OF_A_CLASS = 5
"""Cases of each outcome that a group needs: an interval from fewer covers nearly everything."""
LEFT_OUT = "loco"
MEASURES = {"auc": "AUC", "slope": "calibration slope"}
GROUP_COLUMNS = ("by", "group", "cases", "with pCR", "AUC", "lower", "upper", "calibration slope", "slope lower", "slope upper")
DIFFERENCE_COLUMNS = ("by", "measure", "groups", "Q", "p of Q", "I squared")
SUMMARY_COLUMNS = ("measure", "centres", "summary", "lower", "upper", "new centre lower", "new centre upper", "tau squared", "I squared")
WITHOUT_COLUMNS = ("centre left out", "cases", "with pCR", "AUC of all others", "lower", "upper")
BESIDE_COLUMNS = ("centre", "cases", "with pCR", "AUC", "AUC of models without the centre")
SUMMARY_NOTES = ("Random-effects summary: Paule and Mandel's variance, Hartung and Knapp's interval; AUCs are pooled as logits, tau squared is on that scale. "
                 "new centre: 95 % prediction interval for a centre like these",)
DIFFERENCE_NOTES = ("p of Q: could all groups of the column have one value? Not adjusted for how many columns are looked at. I squared: share of the variation between "
                    "groups that is more than chance",)


def section(subset: Subset) -> Part:
    """evaluation.json's `heterogeneity`: the model's AUC and calibration slope by group, their summaries, and each centre left out."""
    model, omissions = subset.model, []
    if model is None:
        return Part({}, omissions=(Omission(SECTION, "groups", "there is no score", "add a column whose name starts with p_"),))
    outcome, (values,) = subset.judged(model.name)
    if (problem := why_not_ranked(outcome, values)) is not None:
        return Part({}, omissions=(Omission(SECTION, "groups", *problem),))
    split = groupings(subset, _judged_places(subset, model), omissions)
    rows = {grouping.column: _groups(grouping, model, outcome, values, omissions) for grouping in split}
    rows = {column: found for column, found in rows.items() if found}
    pools = {(column, measure): found for column, groups in rows.items() for measure, found in _pooled(groups).items()}
    summaries = [_summary(measure, found) for (column, measure), found in pools.items() if column == subset.config.centre]
    centres = next((grouping for grouping in split if grouping.column == subset.config.centre), None)
    without = _without_each(centres, outcome, values) if centres is not None else []
    beside = _left_out(subset, centres, omissions)
    told = {"score": model.name, "subgroups": [row for found in rows.values() for row in found], "differences": [_difference(*key, found) for key, found in pools.items()],
            "summaries": summaries, "without_each_centre": without,
            "leave_one_centre_out": beside}
    return Part(told, _tables(model, told), _figures(model, rows, summaries, subset.config.centre), _notes(without), tuple(omissions))


def _judged_places(subset: Subset, model: Score) -> np.ndarray:
    return np.flatnonzero(~np.isnan(subset.outcome) & ~np.isnan(model.values))


def _groups(grouping: Grouping, model: Score, outcome: np.ndarray, values: np.ndarray, omissions: list[Omission]) -> list[dict[str, Any]]:
    """One entry a group that is large enough, in the order of the grouping; the others are told in one omission."""
    found, small = [], []
    for label in grouping.labels:
        inside = grouping.group == label
        with_pcr, without = int(outcome[inside].sum()), int(inside.sum() - outcome[inside].sum())
        if min(with_pcr, without) < FEWEST_OF_A_CLASS:
            small.append(f"{label} ({with_pcr} with pCR, {without} without)")
        elif np.ptp(values[inside]) == 0:
            small.append(f"{label} (one score for all)")
        else:
            auc, lower, upper = auc_with_ci(outcome[inside], values[inside])
            slope, bounds = _slope(model, outcome[inside], values[inside])
            found.append({"column": grouping.column, "group": label, "cases": int(inside.sum()), "with_pcr": with_pcr, "auc": auc, "auc_ci": [lower, upper],
                          "slope": slope, "slope_ci": bounds})
    if small:
        omissions.append(Omission(SECTION, f"groups of {grouping.column}", f"too small, fewer than {FEWEST_OF_A_CLASS} of an outcome: " + ", ".join(small),
                                  "bring small groups together, or add cases"))
    unsloped = [row["group"] for row in found if model.probability and row["slope"] is None]
    if unsloped:
        omissions.append(Omission(SECTION, f"calibration slope in groups of {grouping.column}", "no slope exists (classes apart, or probabilities of 0 or 1): " + ", ".join(unsloped),
                                  "add cases"))
    return found


def _slope(model: Score, outcome: np.ndarray, values: np.ndarray) -> tuple[float | None, list[float] | None]:
    if not model.probability or not ((values > 0) & (values < 1)).all():
        return None, None
    try:
        slope, bounds = slope_of(outcome, np.log(values / (1 - values)))
    except ValueError:
        return None, None
    return slope, list(bounds)


def _pooled(rows: list[dict[str, Any]]) -> dict[str, Pooled]:
    """Over the groups of one column: of the AUC, as a logit, and of the slope where two groups have one."""
    found = {}
    if len(rows) > 1:
        found["auc"] = pooled(*np.array([logit_auc(row["auc"], *row["auc_ci"], row["with_pcr"], row["cases"] - row["with_pcr"]) for row in rows]).T)
    sloped = [row for row in rows if row["slope"] is not None]
    if len(sloped) > 1:
        errors = [(row["slope_ci"][1] - row["slope_ci"][0]) / (2 * Z_95) for row in sloped]
        found["slope"] = pooled(np.array([row["slope"] for row in sloped]), np.square(errors))
    return found


def _difference(column: str, measure: str, found: Pooled) -> dict[str, Any]:
    return {"column": column, "measure": measure, "groups": found.groups, "q": found.q, "p": found.p, "i2": found.i2}


def _summary(measure: str, found: Pooled) -> dict[str, Any]:
    """Of centres only: they are a sample of centres, with a mean and a next one; men and women are all there are, and only differ or not."""
    back = (lambda value: float(sigmoid(np.array(value)))) if measure == "auc" else float
    new = None if found.predicted is None else [back(bound) for bound in found.predicted]
    return {"measure": measure, "centres": found.groups, "value": back(found.mean), "ci": [back(found.lower), back(found.upper)], "prediction": new,
            "tau2": found.tau2, "i2": found.i2, "q": found.q, "p": found.p}


def _without_each(centres: Grouping, outcome: np.ndarray, values: np.ndarray) -> list[dict[str, Any]]:
    """The AUC of all cases but those of one centre, for each centre; a rest that cannot be ranked is left out."""
    found = []
    for label in centres.labels if len(centres.labels) > 1 else ():
        rest = centres.group != label
        if why_not_ranked(outcome[rest], values[rest]) is None:
            auc, lower, upper = auc_with_ci(outcome[rest], values[rest])
            found.append({"centre": label, "cases": int(rest.sum()), "with_pcr": int(outcome[rest].sum()), "auc": auc, "auc_ci": [lower, upper]})
    return found


def _left_out(subset: Subset, centres: Grouping | None, omissions: list[Omission]) -> dict[str, Any] | None:
    """The model's score beside one whose models never saw the patient's centre, on the same cases; None, told, where there is no such score."""
    model = subset.model
    other = next((score for score in subset.scores.values() if score is not model and LEFT_OUT in score.name.lower().split("_")), None)
    if other is None:
        omissions.append(Omission(SECTION, "leave one centre out beside the random split", "no score was made by models that never saw the patient's centre",
                                  f"add it as a column, p_{LEFT_OUT}: predictions cannot be trained again"))
        return None
    outcome, pair = subset.judged(model.name, other.name)
    problem = next(filter(None, (why_not_ranked(outcome, values) for values in pair)), None)
    if problem is not None:
        omissions.append(Omission(SECTION, "leave one centre out beside the random split", *problem))
        return None
    difference = paired_delong(outcome, *pair)
    areas = [auc_with_ci(outcome, values) for values in pair]
    told = {"score": other.name, "cases": len(outcome), "with_pcr": int(outcome.sum()), "auc_random": areas[0][0], "auc_random_ci": list(areas[0][1:]),
            "auc_left_out": areas[1][0], "auc_left_out_ci": list(areas[1][1:]), "difference": difference.difference,
            "difference_ci": [difference.lower, difference.upper], "p_delong": difference.p, "centres": []}
    if centres is None:
        return told
    names = subset.frame[subset.config.centre].to_numpy(dtype=object)[_judged_by_both(subset, model, other)]
    for label in centres.labels:
        inside = np.array([str(name) == label for name in names])
        if all(why_not_ranked(outcome[inside], values[inside]) is None for values in pair):
            told["centres"].append({"centre": label, "cases": int(inside.sum()), "with_pcr": int(outcome[inside].sum()),
                                    "auc_random": auc_with_ci(outcome[inside], pair[0][inside])[0], "auc_left_out": auc_with_ci(outcome[inside], pair[1][inside])[0]})
    return told


def _judged_by_both(subset: Subset, model: Score, other: Score) -> np.ndarray:
    return ~np.isnan(subset.outcome) & ~np.isnan(model.values) & ~np.isnan(other.values)


def _notes(without: list[dict[str, Any]]) -> tuple[str, ...]:
    return ("The model is the same in every row of 'each centre left out': the table says how much the whole rests on one centre, "
            "not how a model would do that never saw it",) if without else ()


def _tables(model: Score, told: dict[str, Any]) -> dict[str, Table]:
    found = {}
    if told["subgroups"]:
        rows = tuple((row["column"], row["group"], row["cases"], row["with_pcr"], row["auc"], *row["auc_ci"], row["slope"], *(row["slope_ci"] or (None, None)))
                     for row in told["subgroups"])
        found["heterogeneity_subgroups"] = Table(f"{model.label} in groups of patients", GROUP_COLUMNS, rows,
                                                 ("lower and upper: 95 %, DeLong on the logit scale; of slopes Wald",))
    if told["differences"]:
        rows = tuple((one["column"], MEASURES[one["measure"]], one["groups"], one["q"], one["p"], one["i2"]) for one in told["differences"])
        found["heterogeneity_differences"] = Table("Do groups differ?", DIFFERENCE_COLUMNS, rows, DIFFERENCE_NOTES)
    if told["summaries"]:
        rows = tuple((MEASURES[one["measure"]], one["centres"], one["value"], *one["ci"], *(one["prediction"] or (None, None)), one["tau2"], one["i2"])
                     for one in told["summaries"])
        found["heterogeneity_summaries"] = Table("Summary over centres", SUMMARY_COLUMNS, rows, SUMMARY_NOTES)
    if told["without_each_centre"]:
        rows = tuple((row["centre"], row["cases"], row["with_pcr"], row["auc"], *row["auc_ci"]) for row in told["without_each_centre"])
        found["heterogeneity_without_each_centre"] = Table("Each centre left out of the evaluation", WITHOUT_COLUMNS, rows)
    if told["leave_one_centre_out"]:
        beside = told["leave_one_centre_out"]
        rows = [("all", beside["cases"], beside["with_pcr"], beside["auc_random"], beside["auc_left_out"])]
        rows += [(row["centre"], row["cases"], row["with_pcr"], row["auc_random"], row["auc_left_out"]) for row in beside["centres"]]
        found["heterogeneity_leave_one_centre_out"] = Table("Models that never saw the centre beside the study's model", BESIDE_COLUMNS, tuple(rows))
    return found


def _figures(model: Score, rows: dict[str, list[dict[str, Any]]], summaries: list[dict[str, Any]], centre: str) -> dict[str, Figure]:
    found = {}
    for measure, name, title, null in (("auc", "heterogeneity_forest", "AUC", 0.5), ("slope", "heterogeneity_slopes", "Calibration slope", 1.0)):
        drawn = []
        for column, groups in rows.items():
            drawn += [{"label": row["group"], "group": column, "n": row["cases"], "events": row["with_pcr"], "value": row[measure], "lo": row[f"{measure}_ci"][0],
                       "hi": row[f"{measure}_ci"][1], "pooled": False} for row in groups if row[measure] is not None]
            drawn += [{"label": "summary", "group": column, "n": None, "events": None, "value": one["value"], "lo": one["ci"][0], "hi": one["ci"][1], "pooled": True}
                      for one in summaries if column == centre and one["measure"] == measure]
        if drawn:
            found[name] = Figure("forest", f"{title} of {model.label} by group", {"measure": title, "null": null, "log": False, "rows": drawn})
    return found
