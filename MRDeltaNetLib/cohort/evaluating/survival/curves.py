"""Survival of groups: curves, medians, log-rank test, hazard ratios, restricted means."""

from __future__ import annotations

from typing import Any

import numpy as np

from MRDeltaNetLib.cohort.evaluating.clinical_values import plain, too_many
from MRDeltaNetLib.cohort.evaluating.survival.follow_up import SECTION, FollowUp, time_text
from MRDeltaNetLib.cohort.evaluating.survival.grouping import OF_RESPONSE, Grouping
from MRDeltaNetLib.cohort.statistics.survival import (KaplanMeier, at_risk, cox, kaplan_meier, logrank, mean_difference, median_survival, restricted_mean,
                                                      survival_at, with_interval)
from MRDeltaNetLib.evaluation import Figure, Omission, Table

POINTS = 500
LOG_NOTE = "Bounds of survival are on the log scale, as R's; the last two columns are on the log-log scale, as lifelines' and Stata's."


def compared(cases: FollowUp, grouping: Grouping) -> tuple[dict[str, Any], list[Omission]]:
    """What is told of one grouping: title, n, km, logrank, cox, restricted_mean, warning; and what cannot be."""
    groups = {label: grouping.labels == label for label in grouping.order}
    curves = {label: kaplan_meier(cases.time[members], cases.event[members]) for label, members in groups.items()}
    values: dict[str, Any] = {"title": grouping.title, "n": int(sum(members.sum() for members in groups.values())), "warning": grouping.warning or None,
                              "chosen_on_these_cases": bool(grouping.warning), "km": {}, "logrank": None, "cox": [], "restricted_mean": None}
    for label, members in groups.items():
        values["km"][label] = _told(cases, members, curves[label])
    omissions = []
    what = grouping.heading(cases.name)
    if len(groups) > 1:
        _compare(cases, grouping, groups, values, what, omissions)
    try:
        values["restricted_mean"] = _means(cases, curves)
    except ValueError as none:
        omissions.append(Omission(SECTION, f"Restricted mean of {what}", str(none), "longer follow-up is needed"))
    return values, omissions


def _compare(cases: FollowUp, grouping: Grouping, groups: dict[str, np.ndarray], values: dict[str, Any], what: str, omissions: list[Omission]) -> None:
    """Adds log-rank test and hazard ratios to values, or why there are none to omissions."""
    together = np.any(list(groups.values()), axis=0)
    try:
        chisq, df, p = logrank(cases.time[together], cases.event[together], grouping.labels[together].astype(str))
        values["logrank"] = {"chisq": chisq, "df": df, "p": p}
    except ValueError as none:
        omissions.append(Omission(SECTION, f"Log-rank test of {what}", str(none), "longer follow-up is needed"))
    try:
        if (many := too_many(len(cases.time))):
            raise ValueError(many)
        columns = np.column_stack([groups[label][together] for label in grouping.order[1:]]).astype(float)
        fitted = cox(cases.time[together], cases.event[together], columns)
        values["cox"] = [{"term": label, "reference": grouping.order[0]} | dict(zip(("hr", "lo", "hi", "p"), ratio))
                         for label, ratio in zip(grouping.order[1:], fitted.ratios())]
    except ValueError as none:
        omissions.append(Omission(SECTION, f"Hazard ratio of {what}", str(none), "more events in every group are needed"))


def _told(cases: FollowUp, members: np.ndarray, curve: KaplanMeier) -> dict[str, Any]:
    median, other = median_survival(curve), with_interval(curve, "log-log")
    at = {}
    for mark in cases.marks:
        survival, lower, upper, n_risk = survival_at(curve, mark)
        _, low, high, _ = survival_at(other, mark)
        at[time_text(mark)] = {"surv": survival, "lo": lower, "hi": upper, "n_risk": n_risk, "log_log_lo": low, "log_log_hi": high}
    return {"n": int(members.sum()), "events": int(cases.event[members].sum()), "median": median.value, "lo": median.lower, "hi": median.upper, "at": at}


def _means(cases: FollowUp, curves: dict[str, KaplanMeier]) -> dict[str, Any]:
    """Up to the last mark that every group's follow-up reaches."""
    reach = min(float("inf") if curve.survival[-1] == 0 else float(curve.time[-1]) for curve in curves.values())
    reached = [mark for mark in cases.marks if mark <= reach]
    if not reached:
        raise ValueError("no time that is told is reached by every group's follow-up")
    means = {label: restricted_mean(curve, reached[-1]) for label, curve in curves.items()}
    first, *others = means
    differences = []
    for label in others:
        found = mean_difference(means[label], means[first])
        differences.append({"group": label, "reference": first, "difference": found.value, "lo": found.lower, "hi": found.upper, "p": found.p})
    groups = {label: {"mean": one.value, "standard_error": one.error, "lo": one.lower, "hi": one.upper} for label, one in means.items()}
    return {"until": reached[-1], "groups": groups, "differences": differences}


def figure(cases: FollowUp, grouping: Grouping, values: dict[str, Any]) -> Figure:
    """Curves from 1 at time 0, in steps, with who was censored when, and how many were at risk."""
    groups = []
    for label in grouping.order:
        members, one = grouping.labels == label, values["km"][label]
        curve = kaplan_meier(cases.time[members], cases.event[members])
        steps = np.flatnonzero(curve.events > 0)
        steps = np.unique(np.append(thinned(steps), len(curve.time) - 1))
        start = lambda column, first: [first, *(plain(value) for value in column[steps])]
        groups.append({"label": label.replace("=", " ") if grouping.name in OF_RESPONSE else label, "time": start(curve.time, 0.0),
                       "survival": start(curve.survival, 1.0), "lo": start(curve.lower, 1.0), "hi": start(curve.upper, 1.0),
                       "censored": thinned(curve.time[curve.censored > 0]).tolist(),
                       "n_risk": at_risk(curve, (0.0, *cases.marks)).tolist(), "n": one["n"], "events": one["events"], "median": one["median"],
                       "median_lo": one["lo"], "median_hi": one["hi"]})
    test = values["logrank"]
    text = "hazard ratio {hr:.2f} ({lo:.2f} to {hi:.2f})".format(**values["cox"][0]) if len(values["cox"]) == 1 else ""      # of more groups: in the table
    return Figure("kaplan_meier", grouping.heading(cases.name), {"unit": cases.settings.unit, "groups": groups, "risk_times": [0.0, *cases.marks],
                                                                        "p_logrank": test and test["p"], "text": text})


def tables(cases: FollowUp, grouping: Grouping, values: dict[str, Any]) -> dict[str, Table]:
    """Groups with median, hazard ratio and restricted mean; and survival at times, one row a group and time."""
    unit, means = cases.settings.unit, values["restricted_mean"]
    ratios = {one["term"]: one for one in values["cox"]}
    rows = []
    for label, one in values["km"].items():
        ratio, mean = ratios.get(label, {}), means["groups"][label] if means else {}
        against = tuple(ratio.get(key) for key in ("hr", "lo", "hi", "p"))
        if label == grouping.order[0]:
            against = ("reference" if len(grouping.order) > 1 else "", None, None, "")
        rows.append((label, one["n"], one["events"], *("not reached" if one[key] is None else one[key] for key in ("median", "lo", "hi")),
                     *against, *(mean.get(key) for key in ("mean", "lo", "hi"))))
    until = f" within {time_text(means['until'])} {unit}" if means else ""
    with_bounds = lambda name: (name, f"{name} low", f"{name} high")
    columns = ("Group", "Cases", "Events", *with_bounds(f"Median, {unit}"), *with_bounds("Hazard ratio"), "p (Wald)",
               *with_bounds(f"Mean time{until}, {unit}"))
    test = values["logrank"]
    notes = [f"Log-rank: chi-square {test['chisq']:.4g}, {test['df']} degree{'s' if test['df'] > 1 else ''} of freedom, {_p(test['p'])}."] if test else []
    notes += [f"Restricted mean, {one['group']} less {one['reference']}: {_number(one['difference'])} {unit} "
              f"({_number(one['lo'])} to {_number(one['hi'])}), {_p(one['p'])}."
              for one in (means["differences"] if means else [])]
    at = tuple((label, float(mark), told["n_risk"], told["surv"], told["lo"], told["hi"], told["log_log_lo"], told["log_log_hi"])
               for label, one in values["km"].items() for mark, told in one["at"].items())
    found = {"groups": Table(grouping.heading(cases.name), columns, tuple(rows), tuple(notes + ([grouping.warning] if grouping.warning else [])))}
    if at:
        found["at"] = Table(f"{grouping.heading(cases.name)}: survival at times",
                            ("Group", f"Time, {unit}", "At risk", *with_bounds("Survival"), "Log-log low", "Log-log high"), at, (LOG_NOTE,))
    return found


def _p(p: float) -> str:
    """As a journal prints it; evaluation.json has all digits."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def _number(value: float) -> str:
    return (f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}").replace("-", "\N{MINUS SIGN}")


def thinned(values: np.ndarray) -> np.ndarray:
    """At most POINTS of them, evenly, the ends among them."""
    if len(values) <= POINTS:
        return values
    return values[np.unique(np.linspace(0, len(values) - 1, POINTS).round().astype(int))]
