"""From columns of a table to the columns of a regression, with R's treatment coding and R's names of terms.

A column of numbers is one term of its own name. A column of texts has one term for every level but the reference, named column and level without
anything between ("genderFemale"), as R's model.matrix names it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from MRDeltaNetLib.cohort.statistics.packages import package

if TYPE_CHECKING:
    import pandas

INTERCEPT = "(Intercept)"
MOST_LEVELS = 20
"""A column of texts with more levels than this holds names or remarks, not categories."""
ALIASED = 1e-7
"""A column whose part that the columns before it do not explain is smaller than this share of it tells nothing new: R's tolerance."""


@dataclass(frozen=True)
class Term:
    """One coefficient. variable: its column; level, reference: of a column of texts, else None."""

    name: str
    variable: str
    level: str | None = None
    reference: str | None = None


@dataclass(frozen=True)
class Coding:
    """How columns become terms: levels of every column of texts, the reference first; None for a column of numbers."""

    levels: Mapping[str, tuple[str, ...] | None]

    @property
    def terms(self) -> tuple[Term, ...]:
        """In the order of the columns of matrix()."""
        found = []
        for name, levels in self.levels.items():
            found += [Term(name, name)] if levels is None else [Term(f"{name}{level}", name, level, levels[0]) for level in levels[1:]]
        return tuple(found)

    def matrix(self, frame: "pandas.DataFrame") -> tuple[np.ndarray, np.ndarray]:
        """Columns (m, k) of the cases that have every value, and which cases those are (n,) bool; a level that the coding does not know is no value."""
        told = {name: numbers(frame[name]) if levels is None else places(frame[name], levels) for name, levels in self.levels.items()}
        complete = np.all([np.isfinite(values) & ((values >= 0) | (self.levels[name] is None)) for name, values in told.items()]
                          or [np.ones(len(frame), bool)], axis=0)
        columns = []
        for name, levels in self.levels.items():
            values = told[name][complete]
            columns += [values] if levels is None else [(values == k).astype(float) for k in range(1, len(levels))]
        return (np.column_stack(columns) if columns else np.zeros((int(complete.sum()), 0))), complete


@dataclass(frozen=True)
class Dropped:
    """A column that is no part of a model, and why."""

    variable: str
    reason: str


def coding(frame: "pandas.DataFrame", columns: Sequence[str], references: Mapping[str, str],
           among: np.ndarray | None = None) -> tuple[Coding, tuple[Dropped, ...]]:
    """How columns of a frame become terms, and which of them cannot.

    references  column -> reference level; without one the first in alphabetical order. A column of numbers that is named here is taken for categories
    among       (n,) bool: cases from which levels are taken; None: all
    """
    levels: dict[str, tuple[str, ...] | None] = {}
    dropped = []
    for name in dict.fromkeys(columns):
        if name not in frame.columns:
            dropped.append(Dropped(name, "there is no such column"))
            continue
        values = frame[name] if among is None else frame[name][among]
        there = values[values.notna()]
        if is_category(values) or name in references:
            found = sorted({level_text(value) for value in there.unique()})
            if 2 <= len(found) <= MOST_LEVELS:
                levels[name] = _reference_first(found, references.get(name))
            else:
                dropped.append(Dropped(name, "no case has a value" if not found else "every case has the same value" if len(found) == 1 else
                                       f"{len(found)} different texts are no categories"))
        elif there.nunique() < 2:
            dropped.append(Dropped(name, "every case has the same value" if len(there) else "no case has a value"))
        else:
            levels[name] = None
    return Coding(levels), tuple(dropped)


def is_category(values: "pandas.Series") -> bool:
    """Whether a column holds texts (or truth values) and no numbers."""
    return values.dtype.kind not in "iuf"


def level_text(value: Any) -> str:
    """A level as it is printed: whole numbers without a point."""
    return f"{value:g}" if isinstance(value, (int, float, np.number)) and not isinstance(value, (bool, np.bool_)) else str(value)


def numbers(values: "pandas.Series") -> np.ndarray:
    """(n,) float, NaN where there is no number."""
    there = values.notna().to_numpy()
    return np.where(there, values, np.nan).astype(float)


def places(values: "pandas.Series", levels: Sequence[str]) -> np.ndarray:
    """(n,) which of the levels each case has; -1 for none of them."""
    codes, found = package("pandas").factorize(values)
    names = [level_text(value) for value in found]
    return np.array([levels.index(name) if name in levels else -1 for name in names] + [-1])[codes]


def aliased(matrix: np.ndarray, tolerance: float = ALIASED) -> np.ndarray:
    """(k,) bool: columns that an intercept and the columns before them explain but for a share `tolerance` of their length, as R leaves them out."""
    kept, found = [np.ones(len(matrix)) / np.sqrt(max(1, len(matrix)))], []
    for column in np.asarray(matrix, dtype=float).T:
        rest = column.copy()
        for _ in range(2):                                    # twice is enough for orthogonality to rounding (Kahan)
            rest = rest - sum(base * (base @ rest) for base in kept)
        size = np.linalg.norm(rest)
        nothing = size <= tolerance * max(np.linalg.norm(column), 1e-300)
        found.append(bool(nothing))
        if not nothing:
            kept.append(rest / size)
    return np.array(found, dtype=bool)


def _reference_first(levels: list[str], reference: str | None) -> tuple[str, ...]:
    if reference not in levels:
        return tuple(levels)
    return (reference, *(level for level in levels if level != reference))
