"""Tables for an evaluation: any comma file with a header, a row a case, read strictly and fast as columns of text.

What the columns mean is decided in cohort/evaluating/columns.py, alike for tables that come from Python. Every cell is text here, without the spaces
around it; nothing is taken for missing yet. A first column without a name is called "row_names", because R writes row names so.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Mapping, Sequence

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, Notice, require
from MRDeltaNetLib.io.cohort_table.cells import Opened, open_table, row_cells
from MRDeltaNetLib.io.cohort_table.dictionary import Column, dictionary_path, read_dictionary
from MRDeltaNetLib.io.cohort_table.problems import at
from MRDeltaNetLib.io.cohort_table.rows import own_columns

if TYPE_CHECKING:
    import pandas

LIMITS = replace(GateLimits(), max_table_bytes=512 * 1024**2, max_table_rows=2_000_000)
"""An evaluation reads plain numbers and no scans, so that far larger tables are possible than for a cohort."""

MAX_CELLS = 30_000_000
"""Rows times columns; more do not fit into the memory of a small machine as text."""

LINE = "line"
"""Name of the index that says where in its file a row stands."""

ROW_NAMES = "row_names"

INSTALL = "pip install 'mrdeltanet[cohort]'"


@dataclass(frozen=True)
class TextTable:
    """A table as text.

    frame       one row a case, every cell a str; the index, named "line", is the line in the file
    dictionary  column -> what a data dictionary beside the table says (docs/reference/cohort-table.md); empty without one
    sha256      of the table's bytes
    notices     what was found and read all the same
    """

    frame: "pandas.DataFrame"
    dictionary: Mapping[str, Column]
    sha256: str
    notices: tuple[Notice, ...] = ()


def read_table(path: Path | str, what: str, limits: GateLimits = LIMITS, *, with_dictionary: bool = False) -> TextTable:
    """Read a table for an evaluation.

    what             how messages name it: "the table of predictions"
    with_dictionary  also read the data dictionary beside it, if there is one, as of a cohort table
    raises           InputError MRD-E430 to E437 as a cohort table, E420 to E427 and E440 of the data dictionary beside it; MissingPackage without pandas
    """
    pandas = require("pandas", "Evaluating a study", INSTALL)
    path = Path(path)
    try:
        opened = open_table(path, limits, name=what[:1].upper() + what[1:], unnamed_first=ROW_NAMES)
        columns = _columns(opened, limits)
    except InputError as problem:
        raise problem if problem.code == "MRD-E430" else problem.about(what) from problem
    lines = pandas.Index([number for number, _ in opened.body], name=LINE)
    frame = pandas.DataFrame({name: pandas.Series(column, index=lines, dtype=object) for name, column in zip(opened.header, columns)}, index=lines)
    return TextTable(frame, _dictionary(path, opened.header) if with_dictionary else {}, opened.sha256, opened.notices)


def stacked(tables: Sequence[TextTable]) -> "pandas.DataFrame":
    """Rows of several tables below each other, such as oof.csv and predictions.csv of one training; a column that one of them lacks is empty there."""
    pandas = require("pandas", "Evaluating a study", INSTALL)
    if len(tables) == 1:
        return tables[0].frame
    frame = pandas.concat([table.frame for table in tables]).fillna("")
    frame.index = pandas.Index([f"{line} of table {number}" for number, table in enumerate(tables, start=1) for line in table.frame.index], name=LINE)
    return frame


def _columns(opened: Opened, limits: GateLimits) -> list[list[str]]:
    """Column by column. A line that the fast reader may take otherwise than the strict one is read by the strict one first."""
    if len(opened.body) * len(opened.header) > MAX_CELLS:
        raise InputError(at(opened.line, None, "the table is too large"), code="MRD-E433",
                         found=f"{len(opened.body)} rows of {len(opened.header)} columns; at most {MAX_CELLS} cells are read",
                         fix="leave out columns that are not evaluated")
    plain = re.compile(f'(?:"(?:[^"]|"")*"|[^"{opened.separator}]*)(?:{opened.separator}(?:"(?:[^"]|"")*"|[^"{opened.separator}]*))*')
    for number, text in opened.body:
        if len(text) > limits.max_cell_characters or not text.replace("\t", " ").isprintable() or ('"' in text and not plain.fullmatch(text)):
            row_cells(text, number, opened, limits)
    rows = list(csv.reader((text for _, text in opened.body), delimiter=opened.separator))
    width = len(opened.header)
    for (number, text), row in zip(opened.body, rows):
        if len(row) != width:
            row_cells(text, number, opened, limits)
    return [[_composed(cell.strip()) for cell in column] for column in zip(*rows)]


def _composed(cell: str) -> str:
    return cell if cell.isascii() else unicodedata.normalize("NFC", cell)


def _dictionary(path: Path, header: tuple[str, ...]) -> dict[str, Column]:
    """Of the data dictionary beside the table, the columns that the table has."""
    place = dictionary_path(path)
    if not place.exists():
        return {}
    return {name: column for name, column in read_dictionary(place, own_columns(header)).items() if name in header}
