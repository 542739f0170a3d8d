"""From the tables to the cases of each set, as the sections see them. Everything that is refused is refused here, before anything is computed."""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass, replace
from typing import Iterable, Mapping

import numpy as np
import pandas

from MRDeltaNetLib.cohort.evaluating.columns import place, typed
from MRDeltaNetLib.cohort.evaluating.doubts import give_away, sentinels
from MRDeltaNetLib.cohort.evaluating.joining import NO_PREDICTION, Kept, beside, checked_columns, excluded_by, joined, kept, same
from MRDeltaNetLib.cohort.evaluating.subset import Score, Subset
from MRDeltaNetLib.config import EndpointConfig, EvaluationConfig
from MRDeltaNetLib.errors import InputError, Notice, UsageError
from MRDeltaNetLib.io.cohort_table import LATENT_PREFIX, OWN_COLUMNS, SETS, Column
from MRDeltaNetLib.io.cohort_table.rows import EVENT, TIME, VOLUMES, endpoints as follow_up_pairs
from MRDeltaNetLib.io.cohort_table.values import seen
from MRDeltaNetLib.io.tables import short

ALL = "all"
"""The one set of a table without a set column."""

PROBABILITY_PREFIX = "p_"
RANGE_ENDS = ("_low", "_high")
OF_PREDICTIONS = ("logit", "fold", "bed", "member")
"""Columns that our own tables of scores hold beside the score (cohort/scores_table.py): no clinical values."""

YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")

CLINICAL_OF_COHORT = {"mrtrg", "interval_days", *VOLUMES}
"""Columns of the cohort table's own schema that describe the patient; the others name files, sets and what we know otherwise."""

MAX_LEVELS = 20
"""A text column with more values, most of them of one case, is a name or remark and no clinical value."""


LEAST_COUNTED = 10
"""Fewer values in even steps may be chance; from here on a column that rises in even steps counts the rows."""


@dataclass(frozen=True)
class Cases:
    """Everything that is evaluated.

    subsets   set -> its cases, in the order train, internal, external, then as they come in the table
    together  all cases as one set, for what compares sets
    config    the settings, with endpoints and main set decided
    excluded  reason -> rows, of all sets
    enrolled  rows that were looked at
    simulated whether the tables hold a simulation's hidden truth
    notices   what was found and read all the same
    """

    subsets: Mapping[str, Subset]
    together: Subset
    config: EvaluationConfig
    excluded: Mapping[str, int]
    enrolled: int
    simulated: bool
    notices: tuple[Notice, ...]


def cases(predictions: pandas.DataFrame, cohort: pandas.DataFrame | None, config: EvaluationConfig, dictionary: Mapping[str, Column]) -> Cases:
    """Read the tables' columns, join them, and tell sets apart.

    dictionary  what a data dictionary says about columns of the cohort table
    raises      InputError MRD-E432, E437, E438 (a column that is named is missing), E441, E442, E444, E449 (outcome), E450 (event), E451 (no set),
                E495 (tables that do not go together), E496 (a probability outside 0 to 1), E497 (nothing is left); UsageError MRD-E485, E486
    """
    predictions = checked_columns(predictions, "The table of predictions")
    simulated = any(str(name).startswith(LATENT_PREFIX) for table in (predictions, cohort) if table is not None for name in table.columns)
    cohort = None if cohort is None else _described(checked_columns(cohort, "The cohort table"), dictionary)
    tables = [predictions] if cohort is None else [predictions, cohort]
    header = list(dict.fromkeys(name for table in tables for name in table.columns))
    config = replace(config, endpoints=dict(config.endpoints) or found_endpoints(header))
    if cohort is not None and not config.id:
        raise UsageError("Two tables cannot be joined without an id", code="MRD-E486", found='id = ""', fix="name the column of ids, or give one table only")
    _refuse_missing(header, config)
    probabilities = probability_columns(header, config)
    left, right = kept(predictions, config, "The table of predictions"), None if cohort is None else kept(cohort, config, "The cohort table")
    frame, reasons, dropped, notices = _one_table(left, right, probabilities, config, dictionary)
    sets = _sets(frame, reasons, config)
    chosen = np.array([reason is None for reason in reasons])
    if not chosen.any():
        raise InputError("No case is left to evaluate", code="MRD-E497", found=f"{len(frame) + len(dropped)} rows, all left out", fix="see 'keep', 'excluded' and the ids of both tables")
    enrolled = len(frame) + len(dropped)
    dropped += [(name, reason) for name, reason in zip(sets, reasons) if reason is not None]
    frame, names = frame[chosen].reset_index(drop=True), [name for name, there in zip(sets, chosen) if there]
    order = sorted(dict.fromkeys(names), key=lambda name: SETS.index(name) if name in SETS else len(SETS))
    config = replace(config, main_set=main_set(order, config))
    outcome, scores = outcome_of(frame, config), scores_of(frame, probabilities, config)
    clinical, more = clinical_columns(frame, header if cohort is None else list(cohort.columns), scores, config)
    subsets = _subsets(frame, outcome, scores, clinical, np.array(names, dtype=object), order, config, dropped)
    return Cases(subsets, Subset(ALL, frame, outcome, scores, clinical, None, config), config, dict(Counter(reason for _, reason in dropped)), enrolled, simulated,
                 (*notices, *sentinels(frame), *more, *give_away(frame, outcome, config.covariates or clinical)))


def found_endpoints(header: Iterable[str]) -> dict[str, EndpointConfig]:
    """Every pair <name>_time_months and <name>_event."""
    header = tuple(header)
    return {name: EndpointConfig(name + TIME, name + EVENT, unit="months") for name in follow_up_pairs(header)
            if name + TIME in header and name + EVENT in header}


def probability_columns(header: list[str], config: EvaluationConfig) -> tuple[str, ...]:
    """Columns of P(pCR): those that are named, or every p_... but for ranges and follow-up."""
    if config.probabilities is not None:
        return config.probabilities
    follow_up = {column for endpoint in config.endpoints.values() for column in (endpoint.time, endpoint.event)}
    ranges = {name + end for name in header for end in RANGE_ENDS}
    taken = {*follow_up, *ranges, *config.scores, config.outcome, config.id, config.set, config.centre}
    return tuple(name for name in header if name.startswith(PROBABILITY_PREFIX) and name not in taken)


def main_set(order: list[str], config: EvaluationConfig) -> str:
    """The set that is told first. raises UsageError MRD-E485 if there is no such set"""
    if config.main_set is None:
        wanted = ("external", "internal", *(name for name in order if name != config.train_set), config.train_set)
        return next(name for name in wanted if name in order)
    if config.main_set not in order:
        raise UsageError("There is no such main set", code="MRD-E485", found=f"'{short(config.main_set)}'", fix=f"choose one of {', '.join(map(short, order))}")
    return config.main_set


def outcome_of(frame: pandas.DataFrame, config: EvaluationConfig) -> np.ndarray:
    """(n,) 1.0 pCR, 0.0 none, NaN not known. raises InputError MRD-E449 if none is the value that counts as pCR"""
    if not config.outcome:
        return np.full(len(frame), np.nan)
    cells = frame[config.outcome].tolist()
    if config.positive is not None:
        found = np.array([np.nan if cell is None else float(same(cell, (config.positive,))) for cell in cells])
        if not (found == 1).any() and not np.isnan(found).all():
            raise InputError("No case has the outcome that counts as pCR", code="MRD-E449",
                             found=f"none is '{short(config.positive)}'", fix="write positive = \"...\" as the value stands in the table")
        return found
    return np.array([np.nan if cell is None else float(cell.casefold() in YES) for cell in cells])


def scores_of(frame: pandas.DataFrame, probabilities: tuple[str, ...], config: EvaluationConfig) -> dict[str, Score]:
    """Name -> score, the study's model first. raises InputError MRD-E496; UsageError MRD-E485 for a model that is no score, and a threshold beyond probabilities"""
    found = {name: Score(name, label_of(name), frame[name].to_numpy(), True) for name in probabilities}
    found |= {name: Score(name, label_of(name), frame[name].to_numpy(), False) for name in config.scores}
    for name in probabilities:
        outside = np.flatnonzero((found[name].values < 0) | (found[name].values > 1))
        if outside.size:
            raise InputError(f"The column '{short(name)}' holds probabilities, but not all of them lie between 0 and 1", code="MRD-E496",
                             found=f"{outside.size} cases, one of them {found[name].values[outside[0]]:g}",
                             fix="name the column among 'scores' if it only ranks cases, or write probabilities from 0 to 1")
    first = config.model or ("p_pcr" if "p_pcr" in found else next(iter(found), None))
    if first is not None and first not in found:
        raise UsageError("The model that the study is about is no score of the table", code="MRD-E485", found=f"'{short(first)}'",
                         fix=f"choose one of {', '.join(map(short, found)) or 'the columns, and name it among probabilities or scores'}")
    if config.threshold is not None and first in probabilities and not 0 <= config.threshold <= 1:
        raise UsageError("The locked threshold lies outside 0 and 1, but the model's score is a probability", code="MRD-E485", found=f"{config.threshold:g}",
                         fix="write it as a probability, 0.35 for 35 %")
    return {name: found[name] for name in sorted(found, key=lambda name: name != first)}


def label_of(name: str) -> str:
    """How a score is called: p_pcr "P(pCR)", p_clinical_model "clinical model"; others as their column."""
    if name == "p_pcr":
        return "P(pCR)"
    return name.removeprefix(PROBABILITY_PREFIX).replace("_", " ") if name.startswith(PROBABILITY_PREFIX) else name


def clinical_columns(frame: pandas.DataFrame, header: list[str], scores: Mapping[str, Score], config: EvaluationConfig) -> tuple[tuple[str, ...], list[Notice]]:
    """Columns that are clinical values, in the order of the tables, and what is said of those that are not."""
    ranges = {name + end for name in scores for end in RANGE_ENDS}
    endpoints = (*config.endpoints.values(), *found_endpoints(frame.columns).values())
    follow_up = {column for endpoint in endpoints for column in (endpoint.time, endpoint.event)}
    other = {config.id, config.outcome, config.centre, config.set, EvaluationConfig.set, config.excluded, *scores, *ranges, *follow_up, *OF_PREDICTIONS, *config.keep}
    asked = {*config.covariates, *config.table_one.variables, *(config.subgroups or ())}
    found, told = [], []
    for name in header:
        if name in other or name not in frame.columns or name.startswith(LATENT_PREFIX) and name not in asked:
            continue
        reason = None if name in asked else _no_value(frame[name])
        if reason is None:
            found.append(name)
        else:
            told.append(Notice("MRD-W462", f"The column '{short(name)}' is not taken for a clinical value: {reason}",
                               fix="if it is one, name it in the settings, among covariates, subgroups or the variables of [table_one]"))
    return tuple(found), told


def _no_value(values: pandas.Series) -> str | None:
    """Why a column tells nothing about patients; None if it may."""
    known = values.dropna()
    if not len(known):
        return "it is empty"
    if values.dtype == float:
        with np.errstate(over="ignore"):
            steps = np.diff(known.to_numpy())
        if len(known) == len(values) >= LEAST_COUNTED and (steps == steps[0]).all() and steps[0] > 0 and (known % 1 == 0).all():
            return "it counts the rows"
        return None
    levels = known.nunique()
    return f"{levels} different texts" if levels > MAX_LEVELS and 2 * levels > len(known) else None


def _described(cohort: pandas.DataFrame, dictionary: Mapping[str, Column]) -> pandas.DataFrame:
    """Without the columns that the data dictionary takes for no value, and those of our own schema that name files."""
    if not dictionary:
        return cohort
    files = OWN_COLUMNS - CLINICAL_OF_COHORT - {"id", "centre", "set", "outcome"}
    keep = [name for name in cohort.columns if name not in files and getattr(dictionary.get(name), "role", "own") not in ("ignored", "text", "date")]
    return cohort[keep]


def _refuse_missing(header: list[str], config: EvaluationConfig) -> None:
    """Every column that the settings name has to be there, and to be no id; the usual centre and set need not be there."""
    named = {"outcome": [config.outcome] if config.outcome else [], "probabilities": config.probabilities or (), "scores": config.scores, "keep": config.keep,
             "excluded": [config.excluded] if config.excluded is not None else [], "subgroups": config.subgroups or (), "cuts": config.cuts,
             "covariates": config.covariates, "references": config.references, "variables of [table_one]": config.table_one.variables,
             "categorical of [table_one]": config.table_one.categorical, "by of [table_one]": [config.table_one.by] if config.table_one.by else [],
             "centre": [config.centre] if config.centre not in ("", EvaluationConfig.centre) else [],
             "set": [config.set] if config.set not in ("", EvaluationConfig.set) else []}
    for name, endpoint in config.endpoints.items():
        named[f"endpoint {short(name)}"] = [endpoint.time, endpoint.event, *endpoint.groups, *endpoint.covariates]
    for key, columns in named.items():
        for column in columns:
            if column == config.id and key != "keep":
                raise UsageError(f"The column of ids is named as a value ({key})", code="MRD-E486", found=f"'{short(column)}'",
                                 fix="take it out: an id tells nothing about a patient, and may not be shown")
            if column not in header:
                near = difflib.get_close_matches(column, header, 1, 0.6)
                no_outcome = ', or write outcome = "" if no outcome is known' if key == "outcome" else ""
                raise InputError(f"There is no column '{short(column)}', which the settings name ({key})", code="MRD-E438",
                                 found=short(f"columns {', '.join(header)}", 200), fix=(f"perhaps '{near[0]}' is meant; " if near else "") + f"name a column of the tables{no_outcome}")


def _one_table(left: Kept, right: Kept | None, probabilities: tuple[str, ...], config: EvaluationConfig, dictionary: Mapping[str, Column]
               ) -> tuple[pandas.DataFrame, list[str | None], list[tuple[str | None, str]], list[Notice]]:
    """Both tables as one.

    returns  typed rows that no 'keep' of the predictions leaves out; why each is left out all the same, else None;
             set and reason of every other row; what is to be said
    """
    events = {endpoint.event for endpoint in config.endpoints.values()}
    numbers = {*probabilities, *config.scores, *config.cuts, *(endpoint.time for endpoint in config.endpoints.values())}
    numbers |= {name for name, column in dictionary.items() if column.role == "number"}
    texts = {config.id, config.set, config.centre, config.outcome, config.excluded, *events}
    texts |= {name for name, column in dictionary.items() if column.role == "category"}
    unknown = {name: column.missing for name, column in dictionary.items() if column.missing}
    frames = [typed(table.frame.drop(columns=[config.id], errors="ignore"), texts=texts - numbers, numbers=numbers,
                    mixed=config.table_one.categorical, unknown=unknown)
              for table in (left, right) if table is not None]
    for typed_frame, table in zip(frames, (left, right)):
        _read_events(typed_frame, table.frame, events)
        _check_outcome(typed_frame, table.frame, config)
    dropped = left.dropped(range(len(left.every)), config.set)
    if right is None:
        frame, by_cohort, notices = frames[0], [None] * len(frames[0]), []
    else:
        rows, by_cohort, alone, notices = beside(left, right)
        frame = joined(frames[0], frames[1], rows)
        dropped += right.dropped(alone, config.set, NO_PREDICTION)
    reasons = [first or second for first, second in zip(by_cohort, excluded_by(frame, config))]
    return frame, reasons, dropped, notices


def _read_events(frame: pandas.DataFrame, given: pandas.DataFrame, events: set[str]) -> None:
    """Event columns become 1.0 for an event, 0.0 for none, NaN for not known. raises InputError MRD-E450"""
    for name in events & set(frame.columns):
        frame[name] = [np.nan if cell is None else _flag(cell, f"{place(given, position)}, column '{short(name)}': the event",
                                                         "write 1 where the event happened and 0 where follow-up ended without it", "MRD-E450")
                       for position, cell in enumerate(frame[name].tolist())]


def _check_outcome(frame: pandas.DataFrame, given: pandas.DataFrame, config: EvaluationConfig) -> None:
    """Without a value that counts as pCR, every outcome is 1 or 0 in one of the usual words. raises InputError MRD-E449"""
    if config.outcome in frame.columns and config.positive is None:
        for position, cell in enumerate(frame[config.outcome].tolist()):
            if cell is not None:
                _flag(cell, f"{place(given, position)}, column '{short(config.outcome)}': the outcome",
                      'name the value that counts as pCR in the settings (positive = "Poor"), or write 1 for pCR and 0 for none', "MRD-E449")


def _flag(cell: str, what: str, fix: str, code: str) -> float:
    text = cell.casefold()
    if text in YES or text in NO:
        return float(text in YES)
    hint = "if classes are counted from 1, write 0 and 1 instead; " if text in ("2", "2.0") else ""
    raise InputError(f"{what[:1].upper()}{what[1:]} is neither 0 nor 1, no nor yes, false nor true", code=code, found=seen(cell), fix=hint + fix)


def _sets(frame: pandas.DataFrame, reasons: list[str | None], config: EvaluationConfig) -> list[str | None]:
    """The set of each row. raises InputError MRD-E451 for an evaluated case without one, or a set that is a known one but for capitals"""
    if config.set not in frame.columns:
        return [ALL] * len(frame)
    sets = frame[config.set].tolist()
    lost = sum(name is None and reason is None for name, reason in zip(sets, reasons))
    if lost:
        raise InputError(f"The column '{short(config.set)}' does not say of every case which set it belongs to", code="MRD-E451", found=f"{lost} cases without a set",
                         fix="write train, internal or external, or set = \"\" in the settings to evaluate all cases as one set")
    known = {*SETS, config.train_set}
    for name in dict.fromkeys(sets):
        if name is not None and name not in known and name.casefold() in known:
            raise InputError(f"The column '{short(config.set)}' holds a set that is a known one but for capitals, and would not count as it", code="MRD-E451",
                             found=f"'{short(name)}'", fix=f"write '{name.casefold()}'")
    return sets


def _subsets(frame: pandas.DataFrame, outcome: np.ndarray, scores: Mapping[str, Score], clinical: tuple[str, ...], names: np.ndarray, order: list[str],
             config: EvaluationConfig, dropped: list[tuple[str | None, str]]) -> dict[str, Subset]:
    found: dict[str, Subset] = {}
    for name in sorted(order, key=lambda name: name != config.train_set):
        rows = np.flatnonzero(names == name)
        part = frame.iloc[rows].reset_index(drop=True)
        own = {key: replace(score, values=score.values[rows]) for key, score in scores.items()}
        found[name] = Subset(name, part, outcome[rows], own, clinical, found.get(config.train_set), config,
                             dict(Counter(reason for of_set, reason in dropped if of_set == name or len(order) == 1)))
    return {name: found[name] for name in order}
