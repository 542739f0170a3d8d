"""Two tables become one: rows that are kept, ids that are unique, predictions beside clinical values, and why every other row is left out."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import Iterable, Sequence

import numpy as np
import pandas

from MRDeltaNetLib.cohort.evaluating.columns import UNKNOWN, place, plain_texts
from MRDeltaNetLib.config import EvaluationConfig
from MRDeltaNetLib.errors import InputError, Notice, UsageError
from MRDeltaNetLib.io.tables import short

NO_PREDICTION = "no prediction"


@dataclass(frozen=True)
class Kept:
    """Rows of one table.

    frame    rows that are kept, as given
    ids      their ids, text, NFC
    given    all rows
    every    their ids
    reasons  why each row is left out, None where it is kept; as long as every
    """

    frame: pandas.DataFrame
    ids: list[str]
    given: pandas.DataFrame
    every: list[str]
    reasons: list[str | None]

    def dropped(self, positions: Iterable[int], set_column: str, kept_reason: str = "") -> list[tuple[str | None, str]]:
        """Set (None: not known) and reason of the rows at these positions that are left out; kept_reason: why those that 'keep' lets through are."""
        sets = plain_texts(self.given[set_column]) if set_column in self.given.columns else None
        told = ((position, self.reasons[position] or kept_reason) for position in positions)
        return [(sets[position] or None if sets else None, reason) for position, reason in told if reason]


def checked_columns(frame: pandas.DataFrame, what: str) -> pandas.DataFrame:
    """The same table with names of columns as text. raises InputError MRD-E432 (no row), E437 (two columns of one name)"""
    if not isinstance(frame, pandas.DataFrame):
        raise UsageError(f"{what} is not a table", code="MRD-E484", found=type(frame).__name__, fix="give a pandas DataFrame with a row a case")
    if not len(frame):
        raise InputError(f"{what} holds no case", code="MRD-E432", found="no row", fix="write one row a case")
    frame = frame.set_axis([unicodedata.normalize("NFC", str(name)) for name in frame.columns], axis=1)
    if twice := [name for name, count in Counter(frame.columns).items() if count > 1]:
        raise InputError(f"{what} has two columns of one name", code="MRD-E437", found=f"'{short(twice[0])}'", fix="rename or remove one of them")
    return frame


def kept(frame: pandas.DataFrame, config: EvaluationConfig, what: str) -> Kept:
    """The rows that config.keep lets through, of the columns that this table has.

    raises  InputError MRD-E438 (no id column), E441 (no id), E442 (an id twice among the rows that are kept), E497 (no row is kept)
    """
    reasons: list[str | None] = [None] * len(frame)
    for name, wanted in config.keep.items():
        if name in frame.columns:
            words = f"{name} is not {' or '.join(wanted)}"
            for position, cell in enumerate(plain_texts(frame[name])):
                if reasons[position] is None and not same(cell, wanted):
                    reasons[position] = words
    chosen = np.array([reason is None for reason in reasons])
    if not chosen.any():
        raise InputError(f"{what} holds no row that is kept", code="MRD-E497", found=f"{len(frame)} rows left out by 'keep'",
                         fix="see whether the values of 'keep' are written as in the table")
    every = _ids(frame, config, what)
    rows = frame[chosen]
    ids = [every[position] for position in np.flatnonzero(chosen)]
    _refuse_twice(rows, ids)
    return Kept(rows, ids, frame, every, reasons)


def same(cell: str, wanted: Sequence[str]) -> bool:
    """Whether a cell is one of the values: letter for letter, or as the same number (1 and 1.0)."""
    return cell in wanted or any((value := _number(cell)) is not None and value == _number(text) for text in wanted)


def beside(predictions: Kept, cohort: Kept) -> tuple[np.ndarray, list[str | None], list[int], list[Notice]]:
    """Where each prediction's clinical values stand.

    returns  rows (n,) of cohort.frame for the n rows of predictions.frame, -1 without one;
             why each of those rows is left out because the cohort table does so, else None;
             positions in cohort.every of rows whose id no prediction has;
             what is to be said
    raises   InputError MRD-E495 if no id stands in both tables
    """
    rows = pandas.Index(cohort.ids).get_indexer(predictions.ids)
    left_out = {name: reason for name, reason in zip(cohort.every, cohort.reasons) if reason is not None}
    reasons = [left_out.get(name) if row < 0 else None for name, row in zip(predictions.ids, rows)]
    known = set(predictions.every)
    if not known & set(cohort.every):
        raise InputError("No id of the predictions stands in the cohort table", code="MRD-E495",
                         found=f"{len(known)} ids of predictions, {len(set(cohort.every))} of the cohort", fix="see that both tables name cases alike, letter for letter")
    alone = [position for position, name in enumerate(cohort.every) if name not in known]
    lonely = sum(row < 0 and reason is None for row, reason in zip(rows, reasons))
    told = [Notice("MRD-W461", f"{lonely} predictions have no row in the cohort table; their clinical values are not known",
                   fix="see whether their ids are written alike in both tables")] if lonely else []
    return rows, reasons, alone, told


def joined(left: pandas.DataFrame, right: pandas.DataFrame, rows: np.ndarray) -> pandas.DataFrame:
    """Typed predictions (left) with the typed cohort rows beside them; a column of both is one column, filled from either.

    raises  InputError MRD-E495 where both know a value and do not agree
    """
    columns = {name: left[name].to_numpy() for name in left.columns}
    there = rows >= 0
    for name in right.columns:
        values = right[name].to_numpy()
        found = np.full(len(rows), np.nan) if values.dtype == float else np.full(len(rows), None, dtype=object)
        found[there] = values[rows[there]]
        columns[name] = _agreed(name, columns[name], found) if name in columns else found
    return pandas.DataFrame(columns)


def _agreed(name: str, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    if first.dtype != second.dtype:
        empty = [values for values in (first, second) if pandas.isna(values).all()]
        if not empty:
            raise _disagree(name, "numbers in one table, texts in the other")
        return second if first is empty[0] else first
    unknown = pandas.isna(first)
    differ = ~unknown & ~pandas.isna(second) & (first != second)
    if differ.any():
        raise _disagree(name, f"{int(differ.sum())} cases with two values")
    return np.where(unknown, second, first)


def _disagree(name: str, found: str) -> InputError:
    return InputError(f"The two tables do not agree on the column '{short(name)}'", code="MRD-E495", found=found,
                      fix="correct one of them, or leave the column out of one table")


def _ids(frame: pandas.DataFrame, config: EvaluationConfig, what: str) -> list[str]:
    if not config.id:
        return [str(number) for number in range(1, len(frame) + 1)]
    if config.id not in frame.columns:
        raise InputError(f"{what} has no column '{short(config.id)}', so that cases cannot be told apart", code="MRD-E438",
                         found=short(f"columns {', '.join(map(str, frame.columns))}", 200),
                         fix="name the column of ids in the settings (id = \"...\"), or write id = \"\" if every row is another patient")
    ids = [unicodedata.normalize("NFC", cell) for cell in plain_texts(frame[config.id])]
    for position, name in enumerate(ids):
        if name in UNKNOWN:
            raise InputError(f"{what}: {place(frame, position)}, column '{short(config.id)}': the case has no id", code="MRD-E441", fix="give every case an id of its own")
    return ids


def _refuse_twice(rows: pandas.DataFrame, ids: list[str]) -> None:
    twice = pandas.Index(ids).duplicated(keep=False)
    if twice.any():
        first = int(np.argmax(twice))
        again = next(position for position in range(first + 1, len(ids)) if ids[position] == ids[first])
        raise InputError("An id stands in more than one row, so that one patient would count several times", code="MRD-E442",
                         found=f"{place(rows, first).lower()} and {place(rows, again).lower()}; {int(twice.sum())} rows in all",
                         fix="keep one row a patient; of tables with several rows each, choose with [keep]")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def excluded_by(frame: pandas.DataFrame, config: EvaluationConfig) -> list[str | None]:
    """Why the table itself leaves each row out, from the column config.excluded."""
    if config.excluded is None:
        return [None] * len(frame)
    return [None if cell is None else str(cell) for cell in frame[config.excluded].tolist()]

