"""The cohort table: one row a patient, read strictly, with the data dictionary beside it (docs/reference/cohort-table.md).

cells: bytes to cells; dictionary: what columns mean; values: cells to values; rows: one patient; across: rows against each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Mapping

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, MRDeltaNetError, Notice
from MRDeltaNetLib.io.cohort_table.across import check_across
from MRDeltaNetLib.io.cohort_table.cells import Table, read_cells
from MRDeltaNetLib.io.cohort_table.dictionary import LATENT_PREFIX, Column, dictionary_path, read_dictionary
from MRDeltaNetLib.io.cohort_table.problems import Problems, named_lines
from MRDeltaNetLib.io.cohort_table.rows import OWN_COLUMNS, SETS, Row, check_columns, own_columns, read_rows
from MRDeltaNetLib.io.cohort_table.values import MISSING_NUMBERS

__all__ = ["Cohort", "Column", "Examination", "LATENT_PREFIX", "OWN_COLUMNS", "Row", "SETS", "Table", "dictionary_path", "examine", "own_columns",
           "problems", "read_cells", "read_cohort"]


@dataclass(frozen=True)
class Cohort:
    """A cohort table that was read.

    rows        patients in the order of the table
    dictionary  name -> Column, for the columns of the table that the data dictionary declares
    folder      where the table lies
    sha256      of the table's bytes
    notices     what was found and read all the same
    """

    rows: tuple[Row, ...]
    dictionary: Mapping[str, Column]
    folder: Path
    sha256: str
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class Examination:
    """Everything that reading a table finds.

    cohort  the rows without a refusal; None if the table or its header could not be read
    total   rows that the table holds
    errors  refusals in the order of the lines; notices: warnings
    """

    cohort: Cohort | None
    total: int
    errors: tuple[MRDeltaNetError, ...]
    notices: tuple[Notice, ...]


def read_cohort(path: Path | str, limits: GateLimits = GateLimits(), *, require_outcome: bool = True, require_files: bool = True) -> Cohort:
    """Read a cohort table.

    require_outcome  every patient needs an outcome; False for prediction only
    require_files    every patient needs both scans, and every file that is named is looked for; False where images are not looked at, and where
                     what is missing is to fail its own case only
    raises           the first InputError of `problems`
    """
    examined = examine(path, limits, require_outcome=require_outcome, require_files=require_files)
    if examined.errors:
        raise examined.errors[0]
    return examined.cohort


def problems(path: Path | str, limits: GateLimits = GateLimits(), *, require_outcome: bool = True,
             require_files: bool = True) -> tuple[tuple[MRDeltaNetError, ...], tuple[Notice, ...]]:
    """All that is refused and all warnings; at most limits.max_table_problems refusals are listed, the rest are counted.

    codes  MRD-E430 to E454, E456, E459; E420 to E427 of a data dictionary that is not strict JSON; warnings MRD-W430 to W433
    """
    examined = examine(path, limits, require_outcome=require_outcome, require_files=require_files)
    return examined.errors, examined.notices


def examine(path: Path | str, limits: GateLimits = GateLimits(), *, require_outcome: bool = True, require_files: bool = True) -> Examination:
    """Read a table as far as it can be read; arguments as of read_cohort."""
    path = Path(path)
    found = Problems(limits.max_table_problems)
    try:
        if path.suffix.lower() == ".json":
            raise InputError("This is a data dictionary, not a cohort table", code="MRD-E430", found="a .json file", fix="give the .csv file beside it")
        table = read_cells(path, found, limits)
    except InputError as problem:
        found.add(problem, 0)
        return Examination(None, 0, found.all(), ())
    place = dictionary_path(path)
    dictionary: dict[str, Column] = {}
    if place.exists():
        try:
            dictionary = read_dictionary(place, own_columns(table.header), limits)
        except InputError as problem:
            found.add(problem, 0)
            return Examination(None, len(table.rows), found.all(), table.notices)
    if not check_columns(table, dictionary, found, has_dictionary=place.exists(), require_outcome=require_outcome, require_files=require_files):
        return Examination(None, len(table.rows), found.all(), table.notices)
    folder = path.absolute().parent
    rows = read_rows(table, dictionary, folder, found, require_outcome=require_outcome, require_files=require_files)
    told = check_across(rows, found)
    clean = tuple(row for row in rows if row.line not in found.lines)
    notices = table.notices + told + _notices(table, dictionary, clean)
    cohort = Cohort(clean, {name: column for name, column in dictionary.items() if name in table.header}, folder, table.sha256, notices)
    return Examination(cohort, len(table.rows), found.all(), notices)


def _notices(table: Table, dictionary: Mapping[str, Column], rows: tuple[Row, ...]) -> tuple[Notice, ...]:
    notices = []
    for name, column in dictionary.items():
        if name not in table.header and column.role not in ("own", "ignored"):
            notices.append(Notice("MRD-W431", f"The data dictionary declares a column that the table does not have: '{name}'",
                                  fix="nothing, if it is meant; else see how the table's column is spelled"))
        if column.role == "number" and name in table.header:
            odd = _like_codes(table, name, column, rows)
            if odd:
                notices.append(Notice("MRD-W432", f"Numbers that often stand for an unknown value are read as numbers ({named_lines(odd)}, column '{name}')",
                                      fix="if they do stand for it, leave the cells empty or declare the code in the data dictionary"))
    return tuple(notices)


def _like_codes(table: Table, name: str, column: Column, rows: tuple[Row, ...]) -> list[int]:
    """Lines in which a number that tables use for "unknown" is the smallest or largest of its column: elsewhere it is an ordinary number."""
    index, values = table.header.index(name), {row.line: row.clinical[name] for row in rows if row.clinical.get(name) is not None}
    ends = {min(values.values()), max(values.values())} if values else set()
    return [line for line, cells in table.rows if cells[index] in MISSING_NUMBERS and cells[index] not in column.missing and values.get(line) in ends]
