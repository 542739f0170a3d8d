"""A first draft of a table's data dictionary, for its author to edit."""

from __future__ import annotations

import json
import re
from pathlib import Path

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.atomic import write_text
from MRDeltaNetLib.io.cohort_table import LATENT_PREFIX, Column, dictionary_path, own_columns, read_cells
from MRDeltaNetLib.io.cohort_table.dictionary import as_json
from MRDeltaNetLib.io.cohort_table.problems import Problems
from MRDeltaNetLib.io.cohort_table.values import MISSING_CODES, MISSING_NUMBERS

DRAFT = "DRAFT"
"""How the meaning of a drafted column begins; a check reminds of it until it is gone."""

MAX_DRAFTED_CATEGORIES = 12

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def write_dictionary(table: Path | str, limits: GateLimits = GateLimits()) -> Path:
    """Draft the data dictionary of a table from what stands in its columns; the author has to edit it.

    Columns of numbers get the role number with the range found (codes such as 9999 left out), those of few values the role category,
    those of dates the role date, others the role text. Codes for unknown values are not declared: that is the author's to say.
    returns  the file written, beside the table
    raises   InputError as reading the table's cells does; MRD-E457 if there is a data dictionary already
    """
    table = Path(table)
    place = dictionary_path(table)
    if place.exists() or place.is_symlink():
        raise InputError("There is a data dictionary already, and it is left as it is", code="MRD-E457", found="a .json file of the table's name",
                         fix="edit it, or move it away first")
    found = Problems(1)
    cells = read_cells(table, found, limits)
    if found:
        raise found.all()[0]
    own = own_columns(cells.header)
    columns = {}
    for index, name in enumerate(cells.header):
        if name not in own:
            columns[name] = (Column("ignored", meaning="hidden truth of a simulation") if name.startswith(LATENT_PREFIX)
                             else _drafted([row[index] for _, row in cells.rows]))
    write_text(place, json.dumps({"version": 1, "missing": [], "columns": {name: as_json(column) for name, column in columns.items()}},
                                 indent=1, ensure_ascii=False) + "\n")
    return place


def _drafted(cells: list[str]) -> Column:
    """What a column looks like."""
    known = [cell for cell in cells if cell and cell.casefold() not in MISSING_CODES and cell not in MISSING_NUMBERS]
    different = sorted(set(known))
    if not known:
        return Column("ignored", meaning=f"{DRAFT}: no value is known")
    if all(_DATE.fullmatch(cell) for cell in known):
        return Column("date", meaning=f"{DRAFT}: say what happened on that day, and after which date it must lie (\"after\")")
    if all(_NUMBER.fullmatch(cell) for cell in known) and len(different) > 2:
        values = [float(cell) for cell in known]
        return Column("number", "", min(values), max(values), meaning=f"{DRAFT}: say what it is and in which unit; range as found, widen it to what is possible")
    if len(different) <= MAX_DRAFTED_CATEGORIES and len(different) < max(len(known), 2):
        return Column("category", categories=tuple(different), meaning=f"{DRAFT}: say what each value means")
    return Column("text", meaning=f"{DRAFT}: free text is never input; say what it is, or ignore the column")
