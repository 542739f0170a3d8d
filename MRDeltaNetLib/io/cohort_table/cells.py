"""From the bytes of a table to its cells, each with its line: strict, bounded, and without a guess.

One line is one row: a line break inside a cell is refused, so that a quote that is never closed is found on its own line.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, Notice
from MRDeltaNetLib.io import text_files
from MRDeltaNetLib.io.cohort_table.problems import Problems, at
from MRDeltaNetLib.io.tables import MAX_NAME_CHARACTERS

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_QUOTED = re.compile(r'"([^"]*(?:""[^"]*)*)"')


@dataclass(frozen=True)
class Table:
    """A table as text.

    header   names of the columns, NFC, without the spaces around them
    rows     (line, cells) of each row that has a cell for every column; the header is line 1, unless blank lines stand before it
    line     the header's line
    sha256   of the file's bytes
    notices  what was found and read all the same
    """

    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    line: int
    sha256: str
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class Opened:
    """A table whose header was read, its rows still lines of text.

    body    (line, text) of every line below the header that is not blank
    others  as of Table; separator between the cells
    """

    header: tuple[str, ...]
    body: list[tuple[int, str]]
    line: int
    separator: str
    sha256: str
    notices: tuple[Notice, ...]


def open_table(path: Path, limits: GateLimits = GateLimits(), *, name: str = "The cohort table", unnamed_first: str = "") -> Opened:
    """Read a table as far as its lines.

    name           how messages name a file that cannot be opened
    unnamed_first  what the first column is called if its header is empty, as where row names were written; "": that is refused
    raises         InputError MRD-E430 (cannot be opened), E431 (not UTF-8 text), E432 (nothing in it), E433 (too large),
                   E434 (separators unclear), E435 (quotes of the header), E437 (names of the columns)
    """
    content = _content(path, limits, name)
    lines = _lines(content, limits)
    start = next((number for number, line in enumerate(lines) if line.strip()), None)
    if start is None:
        raise InputError(at(1, None, "the table is empty"), code="MRD-E432", fix="see that it is the right file, and that it was saved")
    separator, notices = _separator(lines[start], start + 1)
    header = _header(lines[start], start + 1, separator, limits, unnamed_first)
    body = [(number, text) for number, text in enumerate(lines[start + 1:], start=start + 2) if text.strip()]
    if len(body) > limits.max_table_rows:
        raise InputError(at(body[limits.max_table_rows][0], None, "the table has too many rows"), code="MRD-E433", found=f"more than {limits.max_table_rows}",
                         fix="give one row a patient; split a larger cohort into several tables")
    if not body:
        raise InputError(at(start + 2, None, "the table holds no patient"), code="MRD-E432", found="a header and nothing below it",
                         fix="write one row a patient below the header")
    return Opened(header, body, start + 1, separator, hashlib.sha256(content).hexdigest(), notices)


def read_cells(path: Path, found: Problems, limits: GateLimits = GateLimits()) -> Table:
    """Read a table's cells; spaces around a cell are not part of it.

    found   gets the rows that cannot be told apart into cells (MRD-E431, E433, E435, E436); these are left out
    raises  InputError as open_table
    """
    opened = open_table(path, limits)
    rows = []
    for number, text in opened.body:
        try:
            rows.append((number, row_cells(text, number, opened, limits)))
        except InputError as problem:
            found.add(problem, number)
    return Table(opened.header, tuple(rows), opened.line, opened.sha256, opened.notices)


def row_cells(text: str, line: int, opened: Opened, limits: GateLimits) -> tuple[str, ...]:
    """The cells of one line, one for every column. raises InputError MRD-E431, E433, E435, E436"""
    cells = _split(text, line, opened.separator, limits)
    if len(cells) != len(opened.header):
        raise _ragged(line, len(cells), len(opened.header))
    return tuple(cells)


def _content(path: Path, limits: GateLimits, name: str) -> bytes:
    content = text_files.content(path, limits.max_table_bytes, name, code="MRD-E430", ending=".csv")
    if len(content) > limits.max_table_bytes:
        raise InputError(at(content.count(b"\n") + 1, None, "the table is too large"), code="MRD-E433",
                         found=f"more than {limits.max_table_bytes // 1024**2} MiB up to this line", fix="see that it is the right file; one row a patient")
    return content


def _lines(content: bytes, limits: GateLimits) -> list[str]:
    """The lines of UTF-8 text, with or without a byte order mark, without their ends."""
    if content.startswith(_UTF_16) or b"\0" in content:
        line = content[: max(content.find(b"\0"), 0)].count(b"\n") + 1
        kind = "UTF-16 (Excel calls it Unicode text)" if content.startswith(_UTF_16) else "a NUL character: UTF-16 without a mark, or no text at all"
        raise InputError(at(line, None, "the table is not UTF-8 text"), code="MRD-E431", found=kind,
                         fix="save it as 'CSV UTF-8' in Excel, or as UTF-8 in a text editor")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        line = content[:cause.start].count(b"\n") + 1
        raise InputError(at(line, None, "the table is not UTF-8 text"), code="MRD-E431", found="a byte that UTF-8 does not have; perhaps Latin-1",
                         fix="save it as 'CSV UTF-8' in Excel, or as UTF-8 in a text editor") from cause
    return [line[:-1] if line.endswith("\r") else line for line in text.split("\n")]


def _separator(header: str, line: int) -> tuple[str, tuple[Notice, ...]]:
    """What stands between the cells: commas; semicolons or tabs where the header holds no other."""
    plain = _QUOTED.sub("", header)
    present = [sign for sign in SEPARATORS if sign in plain]
    if header.casefold().startswith("sep=") or len(present) > 1:
        raise InputError(at(line, None, "it is not clear what separates the cells"), code="MRD-E434",
                         found="a 'sep=' line before the header" if len(present) < 2 else " and ".join(SEPARATORS[sign] for sign in present) + " in the header",
                         fix="save it with commas between the cells, the header first, and no comma, semicolon or tab in a column's name")
    if present in ([], [","]):
        return ",", ()
    return present[0], (Notice("MRD-W430", f"The table's cells are separated by {SEPARATORS[present[0]]}, and were read so",
                               fix="nothing, if this is meant; numbers still need a decimal point"),)


def _header(text: str, line: int, separator: str, limits: GateLimits, unnamed_first: str = "") -> tuple[str, ...]:
    """Names of the columns. A header may be missing and its cells then be a patient's, so that messages give a column's number only."""
    names = [unicodedata.normalize("NFC", cell) for cell in _split(text, line, separator, limits)]
    if not names[0] and len(names) > 1:
        names[0] = unnamed_first
    if len(names) > limits.max_table_columns:
        raise InputError(at(line, None, "the table has too many columns"), code="MRD-E433", found=f"{len(names)}; at most {limits.max_table_columns} are read",
                         fix="leave out columns that are not needed")
    for number, name in enumerate(names, start=1):
        if not name or len(name) > MAX_NAME_CHARACTERS:
            raise InputError(at(line, number, "the column has no usable name"), code="MRD-E437",
                             found="an empty name" if not name else f"{len(name)} characters", fix=f"name every column, in at most {MAX_NAME_CHARACTERS} characters")
        if (first := names.index(name) + 1) != number:
            raise InputError(at(line, number, "the column has the name of another one"), code="MRD-E437", found=f"columns {first} and {number} are named alike",
                             fix="rename or remove one of them")
    return tuple(names)


def _split(text: str, line: int, separator: str, limits: GateLimits) -> list[str]:
    """The cells of a line; a cell that holds a separator or a quote stands in quotes, inner quotes doubled (RFC 4180)."""
    cells = text.split(separator) if '"' not in text else _split_quoted(text, line, separator)
    for number, cell in enumerate(cells, start=1):
        if len(cell) > limits.max_cell_characters:
            raise InputError(at(line, number, "the cell is too long"), code="MRD-E433",
                             found=f"{len(cell)} characters; at most {limits.max_cell_characters} are read", fix="see whether a quote is missing; shorten the text")
    cells = [cell.strip() for cell in cells]
    for number, cell in enumerate(cells, start=1):
        if not cell.isprintable():
            sign = next(c for c in cell if not c.isprintable())
            raise InputError(at(line, number, "the cell holds an invisible or control character"), code="MRD-E431", found=f"U+{ord(sign):04X}",
                             fix="remove it; it often comes from copying out of a web page or text document")
    return cells


def _split_quoted(text: str, line: int, separator: str) -> list[str]:
    cells, position = [], 0
    while True:
        quoted = _QUOTED.match(text, position)
        end = quoted.end() if quoted else text.find(separator, position)
        end = len(text) if end < 0 else end
        cell = quoted.group(1).replace('""', '"') if quoted else text[position:end]
        if (not quoted and '"' in cell) or (end < len(text) and text[end] != separator):
            raise InputError(at(line, len(cells) + 1, "a quote is not closed on its line, or stands inside a cell that is not quoted"), code="MRD-E435",
                             fix="close it, or double it inside a quoted cell; a line break inside a cell is not read")
        cells.append(cell)
        if end == len(text):
            return cells
        position = end + 1


def _ragged(line: int, cells: int, columns: int) -> InputError:
    return InputError(at(line, min(cells, columns) + 1, "the row has " + ("too few" if cells < columns else "too many") + " cells"), code="MRD-E436",
                      found=f"{cells} cells under {columns} columns",
                      fix="fill in what is missing; put a cell that holds a comma (also a decimal comma) into quotes, or write a decimal point")
