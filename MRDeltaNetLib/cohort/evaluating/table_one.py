"""Table 1: every clinical variable by group, with the test that fits it and the standardised difference."""

from __future__ import annotations

from typing import Any

import numpy as np

from MRDeltaNetLib.cohort.evaluating.clinical_values import nothing, plain
from MRDeltaNetLib.cohort.evaluating.subset import Subset
from MRDeltaNetLib.cohort.statistics.contingency import chi_square, fisher, fisher_is_due
from MRDeltaNetLib.cohort.statistics.design import MOST_LEVELS, is_category, level_text
from MRDeltaNetLib.cohort.statistics.differences import kruskal, standardised_difference, standardised_difference_of_shares, wilcoxon
from MRDeltaNetLib.evaluation import Omission, Part, Table

SECTION = "table_one"
SET_ORDER = ("train", "internal", "external")
PCR, NON_PCR, ALL_CASES = "pCR", "non-pCR", "all cases"
MOST_GROUPS = 12
NUMBER_LEVEL = "median (quartiles; range)"
COUNTED_TABLES = 200_000
"""Tables that are counted for the sake of Fisher's p beside a chi-square; more are not worth the time."""


def section(subset: Subset) -> Part:
    """values: one mapping a variable: variable, kind, test, p, statistic, smd, n, missing (group -> count), and what is told of every group.

    Numbers: median, quartiles, range, mean, SD; Wilcoxon's test of two groups, Kruskal and Wallis' of more. Categories: counts; the rule of
    statistics.contingency chooses between chi-square and Fisher. Numbers with at most two different values, and those that the settings name, are categories.
    """
    by, groups = _groups(subset)
    variables = tuple(name for name in (subset.config.table_one.variables or subset.clinical) if name != by)
    if not variables:
        return nothing(SECTION, "Table 1", "there is no clinical column", "give a cohort table, or name variables in the settings", [])
    if by is not None and not 1 <= len(groups) <= MOST_GROUPS:
        return nothing(SECTION, "Table 1", f"{len(groups)} groups in the column '{by}'", f"name a column with 2 to {MOST_GROUPS} groups in the settings", [])
    omissions, rows = [], []
    if len(groups) < 2:
        omissions.append(Omission(SECTION, "Tests of Table 1", "there is one group only", "name a column of groups in the settings (table_one, by)"))
    for name in variables:
        problem = _problem(subset, name)
        if problem:
            omissions.append(Omission(SECTION, f"{name} in Table 1", problem, "correct the column, or take it out of the variables"))
        else:
            rows.append(_row(subset, name, groups))
    return Part(rows, {"table_one": _table(by, groups, rows)} if rows else {}, notes=_notes(subset, by, groups, rows), omissions=tuple(omissions))


def _groups(subset: Subset) -> tuple[str | None, dict[str, np.ndarray]]:
    """The column that groups, and group -> (n,) bool; None and one group of all where nothing groups: there is no outcome, and none was named."""
    config = subset.config
    by = config.table_one.by
    if by is None:
        several = config.set in subset.frame.columns and subset.frame[config.set].nunique() > 1
        by = config.set if several else config.outcome or None
    if by is None:
        groups = {ALL_CASES: np.ones(len(subset.frame), dtype=bool)}
    elif by == config.outcome:
        groups = {PCR: subset.outcome == 1, NON_PCR: subset.outcome == 0}
    elif by in subset.frame.columns:
        words = np.array([None if value is None or value != value else level_text(value) for value in subset.frame[by]], dtype=object)
        first = [config.references.get(by), *(SET_ORDER if by == config.set else ())]
        order = sorted({word for word in words if word is not None}, key=lambda word: (first.index(word) if word in first else len(first), word))
        groups = {word: words == word for word in order}
    else:
        groups = {}
    return by, {name: members for name, members in groups.items() if members.any()}


def _problem(subset: Subset, name: str) -> str:
    if name not in subset.frame.columns:
        return "there is no such column"
    values = subset.frame[name]
    if not values.notna().any():
        return "no case has a value"
    if _categorical(subset, name) and values.nunique() > MOST_LEVELS:
        return f"{values.nunique()} different values are no categories"
    return ""


def _categorical(subset: Subset, name: str) -> bool:
    values = subset.frame[name]
    return is_category(values) or name in subset.config.table_one.categorical or values.nunique() <= 2


def _row(subset: Subset, name: str, groups: dict[str, np.ndarray]) -> dict[str, Any]:
    values = subset.frame[name]
    there = values.notna().to_numpy()
    told = {"variable": name, "n": int(sum((there & members).sum() for members in groups.values())),
            "missing": {group: int((members & ~there).sum()) for group, members in groups.items()}}
    if _categorical(subset, name):
        return told | _categories(subset, [level_text(value) if value is not None and value == value else None for value in values], groups)
    return told | _numbers({group: values[members & there].to_numpy(float) for group, members in groups.items()})


def _numbers(values: dict[str, np.ndarray]) -> dict[str, Any]:
    filled = [group for group in values.values() if len(group)]
    test, statistic, p = None, None, None
    if len(filled) == len(values) == 2:
        test, (statistic, p) = "Wilcoxon", wilcoxon(*filled)
    elif len(filled) > 1:
        test, (statistic, _, p) = "Kruskal-Wallis", kruskal(filled)
    return {"kind": "number", "test": test, "p": p, "statistic": statistic, "smd": plain(standardised_difference(filled)) if len(filled) > 1 else None,
            "groups": {group: _summary(each) for group, each in values.items()}}


def _summary(values: np.ndarray) -> dict[str, Any]:
    if not len(values):
        return {"n": 0}
    low, first, median, third, high = (float(value) for value in np.quantile(values, (0, 0.25, 0.5, 0.75, 1)))
    return {"n": len(values), "median": median, "q1": first, "q3": third, "min": low, "max": high, "mean": float(values.mean()),
            "sd": float(values.std(ddof=1)) if len(values) > 1 else None}


def _categories(subset: Subset, words: list[str | None], groups: dict[str, np.ndarray]) -> dict[str, Any]:
    words = np.array(words, dtype=object)
    levels = sorted({word for word in words if word is not None})
    table = np.array([[int(((words == level) & members).sum()) for members in groups.values()] for level in levels])
    found: dict[str, Any] = {"kind": "category", "test": None, "p": None, "statistic": None,
                             "smd": plain(standardised_difference_of_shares(table)) if len(groups) > 1 else None,
                             "levels": {level: dict(zip(groups, map(int, row))) for level, row in zip(levels, table)}}
    try:
        pearson, due = chi_square(table), fisher_is_due(table)
    except ValueError:                                            # one level, or one group with values
        return found
    exact = fisher(table, seed=subset.config.seed, most=COUNTED_TABLES)
    drawn = exact.samples is not None
    found["chi_square"] = {"statistic": pearson.statistic, "df": pearson.df, "p": pearson.p, "yates": pearson.yates, "least_expected": pearson.least_expected}
    found["fisher"] = {"p": exact.p, "tables_drawn": exact.samples} if due or not drawn else None
    if due:
        return found | {"test": f"Fisher ({exact.samples} tables drawn)" if drawn else "Fisher", "p": exact.p}
    return found | {"test": "chi-square (Yates)" if pearson.yates else "chi-square", "p": pearson.p, "statistic": pearson.statistic}


def _table(by: str | None, groups: dict[str, np.ndarray], rows: list[dict[str, Any]]) -> Table:
    columns = ("Variable", "Level", *(f"{group} (n = {int(members.sum())})" for group, members in groups.items()), "p", "Test", "Standardised difference",
               "Missing")
    told: list[tuple[Any, ...]] = []
    for row in rows:
        end = tuple("" if value is None else value for value in (row["p"], row["test"], row["smd"], sum(row["missing"].values())))
        if row["kind"] == "number":
            told.append((row["variable"], NUMBER_LEVEL, *(_spread(row["groups"][group]) for group in groups), *end))
            continue
        totals = {group: sum(counts[group] for counts in row["levels"].values()) for group in groups}
        for level, counts in row["levels"].items():
            told.append((row["variable"], level, *(_share(counts[group], totals[group]) for group in groups), *end))
            end = ("", "", "", "")
    return Table("Table 1" if by is None else f"Table 1, by {by}", columns, tuple(told))


def _spread(found: dict[str, Any]) -> str:
    if not found["n"]:
        return "no value"
    median, first, third, low, high = (f"{found[key]:.4g}" for key in ("median", "q1", "q3", "min", "max"))
    return f"{median} ({first} to {third}; {low} to {high})"


def _share(count: int, total: int) -> str:
    return f"{count} ({100 * count / total:.1f} %)" if total else "0"


def _notes(subset: Subset, by: str | None, groups: dict[str, np.ndarray], rows: list[dict[str, Any]]) -> tuple[str, ...]:
    notes = ["Numbers: Wilcoxon's rank sum test of two groups, Kruskal and Wallis' of more. Categories: Fisher's exact test where an expected count is "
             "below 5, else chi-square, with Yates' correction in tables of two by two. p values are not adjusted for their number.",
             "Percentages are of the cases with a value."]
    if len(groups) > 2:
        notes.append("The standardised difference is the largest of all pairs of groups.")
    if (without := len(subset.frame) - int(sum(members.sum() for members in groups.values()))):
        notes.append(f"{without} cases have no value in '{by}' and are in no group.")
    single = [group for group, members in groups.items() if members.sum() == 1]
    if single:
        notes.append(f"One case only: {', '.join(single)}.")
    return tuple(notes)
