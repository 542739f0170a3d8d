"""What columns hold: numbers, categories or nothing. The same for a table from a file (all text) and a DataFrame from Python.

A column is one of numbers if at least half of its filled cells are numbers; a text in it is then refused, because a typing error among numbers is no
category. Empty cells and "NA" are not known. Texts such as True, Yes or No stay categories.
"""

from __future__ import annotations

import math
import re
from typing import Any, Iterable, Sequence

import numpy as np
import pandas

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.cohort_table.values import MISSING_CODES, seen
from MRDeltaNetLib.io.evaluation_table import LINE
from MRDeltaNetLib.io.tables import short

UNKNOWN = frozenset({"", "NA"})
"""Cells that are not known, as Python and R write them."""

_NUMBER_SIGNS = frozenset("0123456789+-.eE")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def typed(frame: pandas.DataFrame, *, texts: Iterable[str] = (), numbers: Iterable[str] = (), mixed: Iterable[str] = (),
          unknown: dict[str, tuple[str, ...]] | None = None) -> pandas.DataFrame:
    """The same columns, each float64 with NaN or object with text and None; index 0 to n - 1.

    texts    columns that are categories or names, whatever they hold
    numbers  columns that have to be numbers
    mixed    columns that are categories if a text stands in them, however many numbers there are
    unknown  column -> further texts that stand for an unknown value
    raises   InputError MRD-E444: a text in a column of numbers, naming column and line
    """
    texts, numbers, mixed = set(texts), set(numbers), set(mixed)
    found = {name: column(frame, name, as_text=name in texts, as_number=name in numbers, may_mix=name in mixed, unknown=(unknown or {}).get(name, ()))
             for name in frame.columns}
    return pandas.DataFrame(found, index=range(len(frame)))


def column(frame: pandas.DataFrame, name: str, *, as_text: bool, as_number: bool, may_mix: bool, unknown: Sequence[str] = ()) -> np.ndarray:
    """One column (n,); arguments as of typed."""
    values = frame[name]
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iuf" and not as_text:
        numbers = values.to_numpy(dtype=float)
        if np.isinf(numbers).any():
            raise _not_a_number(frame, name, int(np.argmax(np.isinf(numbers))), "an infinite number")
        return numbers
    cells = plain_texts(values)
    nothing = UNKNOWN | set(unknown)
    there = np.fromiter((cell not in nothing for cell in cells), bool, len(cells))
    if not as_text:
        if not there.any():
            return np.full(len(cells), np.nan)
        numbers = _numbers(cells, there)
        if numbers is not None:
            return numbers
        flags = np.fromiter((_is_number(cell) for cell in cells), bool, len(cells))
        if as_number or (not may_mix and 2 * (flags & there).sum() >= there.sum()):
            at = int(np.argmax(there & ~flags))
            raise _not_a_number(frame, name, at, seen(cells[at]), cells[at], needed=as_number)
    found = np.array(cells, dtype=object)
    found[~there] = None
    return found


def plain_texts(values: pandas.Series) -> list[str]:
    """Cells as text; what is not known is ""."""
    cells = values.tolist()
    if all(type(cell) is str for cell in cells):
        return cells if values.index.name == LINE else [cell.strip() for cell in cells]
    return [_text(cell) for cell in cells]


def place(frame: pandas.DataFrame, position: int) -> str:
    """"Line 12" of a table from a file, "Row 11" of a DataFrame, counted from 1."""
    return f"Line {frame.index[position]}" if frame.index.name == LINE else f"Row {position + 1}"


def _numbers(cells: list[str], there: np.ndarray) -> np.ndarray | None:
    """All cells as numbers, NaN where nothing is known; None if one of them is none."""
    if not set("".join(cell for cell, known in zip(cells, there) if known)) <= _NUMBER_SIGNS:
        return None
    try:
        found = np.array([float(cell) if known else math.nan for cell, known in zip(cells, there)])
    except ValueError:
        return None
    return None if np.isinf(found).any() else found


def _is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell) is not None and math.isfinite(float(cell))


def _text(cell: Any) -> str:
    """One cell of a DataFrame as a file would hold it; numbers without a needless ".0", as an id read beside an empty cell has it."""
    if cell is None or cell is pandas.NA or cell is pandas.NaT or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, (float, np.floating)) and float(cell).is_integer() and abs(cell) < 2**53:
        return str(int(cell))
    return str(cell).strip()


def _not_a_number(frame: pandas.DataFrame, name: str, position: int, found: str, cell: str = "", needed: bool = False) -> InputError:
    fix = "correct it; write numbers with a decimal point, without unit or sign, and leave unknown cells empty"
    if cell.casefold() in MISSING_CODES:
        fix = "leave the cell empty, or write NA, if the value is unknown"
    return InputError(f"{place(frame, position)}, column '{short(name)}': a text stands in a column of numbers", code="MRD-E444", found=found,
                      fix=fix + ("; if the column is no score, time or other number, name those that are in the settings" if needed else
                                 "; or name the column in [table_one] categorical if it holds categories"))
