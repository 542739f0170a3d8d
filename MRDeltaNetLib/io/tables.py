"""JSON read strictly, clinical values, and CSV written so that no spreadsheet takes a cell for a formula."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io import text_files
from MRDeltaNetLib.io.atomic import write_text

MAX_DEPTH = 32
"""Objects and lists nested deeper than this are not ours."""

MAX_DIGITS = 18
"""Longer whole numbers do not fit into 64 bits."""

MAX_NAME_CHARACTERS = 64
MAX_TEXT_CHARACTERS = 1000

FORMULA_STARTS = "=+-@\uff1d\uff0b\uff0d\uff20"
"""What a spreadsheet may take for the start of a formula, full-width forms too."""

_TOKENS = re.compile(r'"(?:\\.|[^"\\])*"|-?(?:NaN|Infinity|\d[\d.eE+-]*)')


def read_json(source: Path | str | bytes, limits: GateLimits = GateLimits(), *, what: str = "the JSON file") -> Any:
    """Read JSON as the standard has it, and nothing beyond: no NaN or Infinity, no key twice, no number that 64 bits cannot hold.

    source  a file, or its bytes
    what    how messages name it
    raises  InputError MRD-E420 (not JSON), E421 (not a finite number), E422 (a key twice), E423 (nested too deeply),
            E424 (number too long), E425 (file too large), E426 (not UTF-8), E427 (not a readable file)
    """
    name = what[:1].upper() + what[1:]
    content = source if isinstance(source, bytes) else text_files.content(source, limits.max_json_bytes, name, code="MRD-E427", ending=".json")
    if len(content) > limits.max_json_bytes:
        raise _too_large(name, limits)
    text = text_files.decoded(content, name, code="MRD-E426")
    reader = _Reader(text, name)
    try:
        value = json.loads(text, parse_constant=reader.constant, parse_float=reader.real, parse_int=reader.whole,
                           object_pairs_hook=reader.mapping)
    except RecursionError as cause:
        raise _too_deep(name) from cause
    except json.JSONDecodeError as problem:
        raise InputError(f"{name} is not valid JSON", code="MRD-E420", found=f"line {problem.lineno}, column {problem.colno}: "
                         f"{problem.msg[0].lower()}{problem.msg[1:]}", fix="correct that line; JSON wants double quotes and no comma at the end of a list") from problem
    if _depth_exceeds(value, MAX_DEPTH):
        raise _too_deep(name)
    return value


def read_clinical(path: Path | str, limits: GateLimits = GateLimits()) -> dict[str, int | float | str | bool | None]:
    """Clinical values by name, as they stand in the file: {"age_years": 61, "cea_ug_l": 4.2, "sex": "f", "emvi": true}.

    Units are part of the names and are neither guessed nor converted; null means not known.
    raises  InputError as read_json, and MRD-E428 unless the file is one flat object of numbers, texts, true, false and null
    """
    what = "the file of clinical values"
    value = read_json(path, limits, what=what)
    fix = 'write one flat object, such as {"age_years": 61, "cea_ug_l": 4.2}'
    if not isinstance(value, dict):
        raise InputError("The file of clinical values does not hold names with values", code="MRD-E428", found=_kind(value), fix=fix)
    for name, entry in value.items():
        if not name.strip() or len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
            raise InputError("The file of clinical values holds an unusable name", code="MRD-E428",
                             found=f"an empty name, or one of more than {MAX_NAME_CHARACTERS} or of unprintable characters", fix=fix)
        if isinstance(entry, (dict, list)):
            raise InputError("The file of clinical values is not flat", code="MRD-E428", found=f"'{name}' is {_kind(entry)}", fix=fix)
        if isinstance(entry, str) and (len(entry) > MAX_TEXT_CHARACTERS or not is_unicode(entry)):
            raise InputError("A text among the clinical values is too long or not text", code="MRD-E428", found=f"the value of '{name}'", fix=fix)
    return value


def write_csv(path: Path | str, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write a table, UTF-8, comma, one header line, atomic; None becomes an empty cell.

    A text that a spreadsheet could take for a formula gets an apostrophe in front; numbers stay numbers.
    raises  ValueError if a row holds a column that is not named; EnvironmentProblem as io/atomic
    """
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, fieldnames=[neutral(c) for c in columns], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        if foreign := set(row) - set(columns):
            raise ValueError(f"columns not named: {sorted(foreign)}")
        writer.writerow({neutral(c): neutral(row.get(c)) for c in columns})
    write_text(path, stream.getvalue())


def neutral(cell: Any) -> Any:
    """A cell that no spreadsheet runs: texts that begin like a formula get an apostrophe, control characters become spaces."""
    if not isinstance(cell, str):
        return cell
    text = "".join(c if c.isprintable() or c == "\n" else " " for c in cell)
    start = text.lstrip()[:1]
    return f"'{text}" if start and start in FORMULA_STARTS and not _is_number(text) else text


class _Reader:
    """json's hooks: each refuses what the standard does not have, with the line where it can be known."""

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name

    def constant(self, token: str) -> float:
        raise InputError(f"{self.name} holds a value that is not a number", code="MRD-E421", found=f"{token}{self._where(token)}",
                         fix="write null for an unknown value")

    def real(self, token: str) -> float:
        value = float(token)
        return value if math.isfinite(value) else self.constant(token[:30])

    def whole(self, token: str) -> int:
        if len(token.lstrip("-")) > MAX_DIGITS:
            raise InputError(f"{self.name} holds a whole number of more than {MAX_DIGITS} digits", code="MRD-E424",
                             found=f"{len(token.lstrip('-'))} digits{self._where(token)}", fix="write identifiers as text in double quotes")
        return int(token)

    def mapping(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise InputError(f"{self.name} holds a name twice, so it is not clear which value is meant", code="MRD-E422",
                                 found=f"'{short(key)}'", fix="keep one of them")
            found[key] = value
        return found

    def _where(self, token: str) -> str:
        """", line 3, column 12" of the first such token that is not inside a string."""
        for match in _TOKENS.finditer(self.text):
            if match.group().startswith(token):
                before = self.text[:match.start()]
                return f", line {before.count(chr(10)) + 1}, column {match.start() - before.rfind(chr(10))}"
        return ""


def short(text: str, characters: int = 40) -> str:
    """A text from a file as it may stand in a message: printable, cut."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return plain if len(plain) <= characters else plain[: characters - 3] + "..."


def _too_large(name: str, limits: GateLimits) -> InputError:
    return InputError(f"{name} is too large", code="MRD-E425", found=f"more than {limits.max_json_bytes // 1024} KiB",
                      fix="see that it is the right file; image data do not belong into JSON")


def _too_deep(name: str) -> InputError:
    return InputError(f"{name} is nested too deeply", code="MRD-E423", found=f"more than {MAX_DEPTH} levels", fix="see that it is the right file")


def _depth_exceeds(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels + 1):
        layer = [child for parent in layer if isinstance(parent, (dict, list))
                 for child in (parent.values() if isinstance(parent, dict) else parent)]
        if not layer:
            return False
    return True


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return kinds.get(type(value), "null")


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", text) is not None


def is_unicode(text: str) -> bool:
    """False for half surrogates: JSON lets them through, no text file can hold them, and native readers end the process over them in a name."""
    try:
        text.encode("utf-8")
        return True
    except UnicodeEncodeError:
        return False
