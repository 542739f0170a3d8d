"""Prognosis: survival of groups, Cox models and ranking, one endpoint after the other.

follow_up.py who can be told; grouping.py whose survival is compared; curves.py groups; models.py Cox; ranking.py scores.
"""

from __future__ import annotations

import re
from typing import Any

from MRDeltaNetLib.cohort.evaluating.clinical_values import nothing
from MRDeltaNetLib.cohort.evaluating.subset import Subset
from MRDeltaNetLib.cohort.evaluating.survival import curves
from MRDeltaNetLib.cohort.evaluating.survival.follow_up import SECTION, FollowUp, follow_up
from MRDeltaNetLib.cohort.evaluating.survival.grouping import TRUE, Grouping, groupings
from MRDeltaNetLib.cohort.evaluating.survival.models import models
from MRDeltaNetLib.cohort.evaluating.survival.ranking import ranking
from MRDeltaNetLib.cohort.statistics.survival import reverse_follow_up
from MRDeltaNetLib.evaluation import Figure, Omission, Part, Table


def section(subset: Subset) -> Part:
    """values: endpoint -> km and logrank of the first grouping, groupings, cox, cox_univariable, proportional_hazards, harrell_c, uno_c, scores, counts
    and median follow-up. A time that is not reached is None."""
    if not subset.config.endpoints:
        return nothing(SECTION, "Survival", "there is no endpoint", "give columns <name>_time_months and <name>_event, or name endpoints in the settings", {})
    values: dict[str, Any] = {}
    tables: dict[str, Table] = {}
    figures: dict[str, Figure] = {}
    notes: list[str] = []
    omissions: list[Omission] = []
    for name, one in subset.config.endpoints.items():
        cases, left_out = follow_up(subset, name, one)
        omissions += left_out
        if cases is not None:
            values[name] = _endpoint(subset, cases, tables, figures, notes, omissions)
    return Part(values, tables, figures, tuple(notes), tuple(omissions))


def _endpoint(subset: Subset, cases: FollowUp, tables: dict[str, Table], figures: dict[str, Figure], notes: list[str],
              omissions: list[Omission]) -> dict[str, Any]:
    """Values of one endpoint; the rest is added to what it is given."""
    prefix = f"{SECTION}_{_file_name(cases.name)}"
    median = reverse_follow_up(cases.time, cases.event)
    values: dict[str, Any] = {"n": len(cases.time), "events": cases.events, "unit": cases.settings.unit, "landmark": cases.settings.landmark,
                              "left_out": dict(cases.left_out), "times": list(cases.marks),
                              "median_follow_up": {"median": median.value, "lo": median.lower, "hi": median.upper},
                              "groupings": {}, "cox": [], "cox_univariable": [], "harrell_c": None}
    found, none = groupings(subset, cases)
    omissions += none
    for grouping in found:
        told, none = curves.compared(cases, grouping)
        omissions += none
        values["groupings"][grouping.name] = told
        place = f"{prefix}_{_file_name(grouping.name)}"
        figures[f"{place}_km"] = curves.figure(cases, grouping, told)
        tables |= {f"{place}_{key}": table for key, table in curves.tables(cases, grouping, told).items()}
        notes += _grouping_notes(cases, grouping, told)
    first = values["groupings"][found[0].name]
    values |= {"grouping": found[0].name, "km": first["km"], "logrank": first["logrank"]}
    regression = models(subset, cases)
    values |= regression.values
    scores, more_tables, more_figures, none = ranking(subset, cases)
    values["scores"] = scores
    if values["harrell_c"] is None and scores:
        name, told = next(iter(scores.items()))
        values |= {"harrell_c": told["harrell"]["c"], "harrell_c_of": name}
    omissions += (*regression.omissions, *none)
    tables |= {f"{prefix}_{key}": table for key, table in (regression.tables | more_tables).items()}
    figures |= {f"{prefix}_{key}": one for key, one in (regression.figures | more_figures).items()}
    notes += [*_follow_up_notes(cases), *regression.notes]
    return values


def _grouping_notes(cases: FollowUp, grouping: Grouping, told: dict[str, Any]) -> list[str]:
    notes = [f"{grouping.heading(cases.name)}: {grouping.warning}"] if grouping.warning else []
    single = [label for label, one in told["km"].items() if one["n"] == 1]
    if single:
        notes.append(f"{cases.name}: one case only in {', '.join(single)}; tests with it say little.")
    if grouping.name == TRUE and cases.settings.landmark is None:
        notes.append(f"{cases.name} by true response: response is known at surgery only. Unless time is counted from surgery, those who responded could "
                     "not have had the event before it; set the landmark.")
    return notes


def _follow_up_notes(cases: FollowUp) -> list[str]:
    notes = [f"{cases.name}: {count} cases with {reason} are left out." for reason, count in cases.left_out.items()]
    if cases.settings.landmark is not None:
        notes.append(f"{cases.name}: time is counted from the landmark at {cases.settings.landmark:g} {cases.settings.unit}.")
    return notes


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") or "endpoint"
