"""Section "overview": every case at a glance. A heatmap of cases sorted by score with outcome and clinical values, and the score's spread by outcome and centre."""

from __future__ import annotations

from typing import Any, Mapping

import numpy as np

from MRDeltaNetLib.cohort.evaluating.subset import Score, Subset
from MRDeltaNetLib.cohort.statistics.differences import wilcoxon
from MRDeltaNetLib.evaluation import Figure, Omission, Part, Table

SECTION = "overview"
PCR, NO_PCR, UNKNOWN = "pCR", "no pCR", "outcome not known"
MOST_ROWS = 24
"""Clinical rows of a heatmap; more cannot be read on one page."""

MOST_COLUMNS = 1500
"""Cases of a heatmap; of more, evenly spaced ranks stand for the rest, because a column would be finer than a printer's dot."""

MOST_VALUES = 400
MOST_LEVELS = 20
MOST_CENTRES = 10
FEWEST_OF_A_CENTRE = 5


def section(subset: Subset) -> Part:
    """evaluation.json's `overview`: score -> {cases, by_outcome {pcr, non_pcr, unknown: {cases, median, q1, q3}}, mann_whitney {u, p}}; u counts pairs (a case with
    pCR, a case without) in which the one with pCR has the higher score, ties half. The heatmap is of the study's model alone."""
    if not subset.scores:
        return Part({}, omissions=(Omission(SECTION, "the overview", "there is no score", "add a column whose name starts with p_, or name one in `scores`"),))
    omissions: list[Omission] = []
    values = {name: _spread(subset, score) for name, score in subset.scores.items() if not np.isnan(score.values).all()}
    for name, score in subset.scores.items():
        if name not in values:
            omissions.append(Omission(SECTION, f"the spread of {score.label}", "no case has it", "look whether the column is filled in"))
    figures = _heatmap(subset, omissions) | {f"overview_boxes_{name}": _boxes(subset, subset.scores[name]) for name in values}
    tables = {"overview_spread": _table(subset, values)} if values else {}
    return Part(values, tables, figures, (), tuple(omissions))


def groups(outcome: np.ndarray) -> dict[str, np.ndarray]:
    """Outcome in words -> (n,) which cases have it."""
    return {PCR: outcome == 1, NO_PCR: outcome == 0, UNKNOWN: np.isnan(outcome)}


def _spread(subset: Subset, score: Score) -> dict[str, Any]:
    there = ~np.isnan(score.values)
    told = {key: _quartiles(score.values[chosen & there]) for key, chosen in zip(("pcr", "non_pcr", "unknown"), groups(subset.outcome).values())}
    outcome, (values,) = subset.judged(score.name)
    test = None
    if 0 < outcome.sum() < len(outcome):
        u, p = wilcoxon(values[outcome == 1], values[outcome == 0])
        test = {"u": u, "p": p}
    return {"cases": int(there.sum()), "by_outcome": told, "mann_whitney": test}


def _quartiles(values: np.ndarray) -> dict[str, Any]:
    if not len(values):
        return {"cases": 0, "median": None, "q1": None, "q3": None}
    q1, median, q3 = (float(value) for value in np.quantile(values, [0.25, 0.5, 0.75]))
    return {"cases": len(values), "median": median, "q1": q1, "q3": q3}


def _table(subset: Subset, values: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = []
    for name, told in values.items():
        p = told["mann_whitney"]["p"] if told["mann_whitney"] else None
        for key, label in (("pcr", PCR), ("non_pcr", NO_PCR), ("unknown", UNKNOWN)):
            found = told["by_outcome"][key]
            if found["cases"]:
                rows.append((subset.scores[name].label, label, found["cases"], found["median"], found["q1"], found["q3"], "" if key == "unknown" else p))
    return Table("Scores by outcome", ("score", "outcome", "cases", "median", "first quartile", "third quartile", "p (Mann-Whitney)"), tuple(rows),
                 ("p compares cases with and without pCR, two-sided",))


def _boxes(subset: Subset, score: Score) -> Figure:
    """By outcome, then by outcome within each centre where there are some."""
    made = [_box("", label, score, chosen) for label, chosen in groups(subset.outcome).items()]
    made = [box for box in made if box["n"]]
    centres = _centres(subset, score)
    if centres:
        made = [box | {"group": "All centres"} for box in made]
        for centre, members in centres.items():
            made += [box for label, chosen in list(groups(subset.outcome).items())[:2] if (box := _box(centre, label, score, chosen & members))["n"]]
    data = {"groups": made, "y_label": score.label, "unit": None} | ({"x_range": [0.0, 1.0]} if score.probability else {})
    return Figure("boxes", f"{score.label} by outcome" + (" and centre" if centres else ""), data)


def _centres(subset: Subset, score: Score) -> dict[str, np.ndarray]:
    """The centres with enough cases, the largest ones where there are many; none if there is only one."""
    name = subset.config.centre
    if name not in subset.frame.columns:
        return {}
    column = np.array([None if value is None or value != value else str(value) for value in subset.frame[name]], object)
    there = ~np.isnan(score.values) & ~np.isnan(subset.outcome)
    sizes = {centre: int(((column == centre) & there).sum()) for centre in sorted({value for value in column if value is not None})}
    kept = sorted((centre for centre, size in sizes.items() if size >= FEWEST_OF_A_CENTRE), key=lambda centre: (-sizes[centre], centre))[:MOST_CENTRES]
    return {centre: column == centre for centre in sorted(kept)} if len(kept) > 1 else {}


def _box(group: str, label: str, score: Score, chosen: np.ndarray) -> dict[str, Any]:
    values = np.sort(score.values[chosen & ~np.isnan(score.values)])
    shown = values if len(values) <= MOST_VALUES else np.quantile(values, np.linspace(0, 1, MOST_VALUES))
    return {"label": label, "group": group or None, "values": shown.tolist(), "n": len(values)}


def _heatmap(subset: Subset, omissions: list[Omission]) -> dict[str, Figure]:
    score = subset.model
    order = np.argsort(-score.values, kind="stable")
    order = order[~np.isnan(score.values[order])]
    if not len(order):
        return {}
    if len(order) > MOST_COLUMNS:
        order = order[np.round(np.linspace(0, len(order) - 1, MOST_COLUMNS)).astype(int)]
        cases = int((~np.isnan(score.values)).sum())
        omissions.append(Omission(SECTION, "some columns of the heatmap", f"{cases} cases are more than can be printed side by side; {MOST_COLUMNS} evenly spaced "
                                  "ranks are shown", "draw it for a part of the cases with `keep`"))
    rows = [_outcome_row(subset, order), *_clinical_rows(subset, order, omissions)]
    data = {"scores": score.values[order].tolist(), "score_label": score.label, "threshold": subset.config.threshold, "probability": score.probability, "rows": rows}
    return {"overview_heatmap": Figure("heatmap", f"Cases sorted by {score.label}, with outcome and clinical values", data)}


def _outcome_row(subset: Subset, order: np.ndarray) -> dict[str, Any]:
    values = [None if value != value else PCR if value else NO_PCR for value in subset.outcome[order]]
    return {"label": "Outcome", "kind": "category", "levels": [PCR, NO_PCR], "values": values}


def _clinical_rows(subset: Subset, order: np.ndarray, omissions: list[Omission]) -> list[dict[str, Any]]:
    centre = [subset.config.centre] if subset.config.centre in subset.frame.columns else []
    rows, beyond = [], 0
    for name in [*subset.clinical, *centre]:
        row = _row(subset, name, order)
        if row is None:
            omissions.append(Omission(SECTION, f"the heatmap's row of {name}", f"no case has it, or it has more than {MOST_LEVELS} different words",
                                      "bring its values together into fewer"))
        elif len(rows) < MOST_ROWS:
            rows.append(row)
        else:
            beyond += 1
    if beyond:
        omissions.append(Omission(SECTION, f"{beyond} rows of the heatmap", f"more than {MOST_ROWS} rows cannot be read",
                                  "take clinical columns out of the cohort table"))
    return rows


def _row(subset: Subset, name: str, order: np.ndarray) -> dict[str, Any] | None:
    column = subset.frame[name].iloc[order]
    if column.dtype.kind == "f":
        values = [None if not np.isfinite(value) else float(value) for value in column]
        distinct = {value for value in values if value is not None}
        if distinct and len(distinct) <= 2 and all(value.is_integer() for value in distinct):
            return {"label": name, "kind": "category", "levels": [f"{value:g}" for value in sorted(distinct)],
                    "values": [None if value is None else f"{value:g}" for value in values]}
        return {"label": name, "kind": "number", "values": values} if distinct else None
    texts = [None if value is None or value != value else str(value) for value in column]
    levels = sorted({value for value in texts if value is not None})
    if not levels or len(levels) > MOST_LEVELS:
        return None
    return {"label": name, "kind": "category", "levels": levels, "values": texts}
