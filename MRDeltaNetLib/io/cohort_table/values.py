"""What a cell of a cohort table means: each reader takes one cell and gives its value, or says why it has none.

An empty cell means unknown, and nothing else does unless the data dictionary declares it. Identifiers stay text as they are
written (007 and 1e5 too), in Unicode's composed form (NFC).
"""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
from datetime import date

from MRDeltaNetLib.io.cohort_table.dictionary import Column
from MRDeltaNetLib.io.cohort_table.problems import CellProblem
from MRDeltaNetLib.io.jobs import MAX_LABEL
from MRDeltaNetLib.io.tables import neutral, short

MISSING_CODES = frozenset({"na", "n/a", "n.a.", "#n/a", "nan", "none", "null", "nil", "missing", "-", "--", "\u2013", "\u2014", "?", "??", "."})
"""Texts that tables use for an unknown value, in small letters."""

MISSING_NUMBERS = frozenset({"-1", "-9", "-99", "-999", "-9999", "999", "9999", "99999"})
"""Numbers that tables use for an unknown value; they are numbers only where the declared range holds them."""

MAX_ID_CHARACTERS = 64
MAX_DAYS = 36525

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[0-9]{1,10}")
_SEGMENT_CODE = re.compile(r"(SCT|SRT|DCM|99[A-Z0-9_]{1,14}):[A-Z0-9.-]{1,24}")
_COMMA = re.compile(r"[+-]?[0-9.]*[0-9],[0-9]+")
_ISO = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_DAY_OR_MONTH = re.compile(r"([0-9]{1,2})[./-]([0-9]{1,2})[./-]([0-9]{2}|[0-9]{4})")

UNIT_FACTORS = {10.0: "ten times", 100.0: "a hundred times (such as cm and m)", 1000.0: "a thousand times (such as g and mg)",
                2.2046: "2.2 times (pounds and kilograms)", 2.54: "2.54 times (centimetres and inches)"}
"""How far apart two values are that differ in unit or in the place of the decimal point."""

_LOOK_ALIKE = str.maketrans("авекмнорстухіјѕԁԛԝ" "αβεζηικμνορτυχ" "\u2010\u2011\u2012\u2013\u2014\u2212", "abekmhopctyxijsdqw" "abezhikmnoptyx" "------")
"""Cyrillic and Greek letters (in small letters, as they look in capitals) that look like Latin ones, and dashes that look like a hyphen."""

_SHORT_NUMBER = re.compile(r"[<>\u2264\u2265~]?[+-]?[0-9][0-9.,]{0,6}([eE][+-]?[0-9]{1,3})?%?")
_LIKE_A_DATE = re.compile(r"[0-9]{1,4}([./-])[0-9]{1,2}\1[0-9]{1,4}")
_PLAIN_WORDS = frozenset({"yes", "no", "true", "false", "pcr", "non-pcr", "inf", "-inf", "infinity", "nan", "test", "training", "validation"})

_SPACE_OUTSIDE_NUMBERS = re.compile(r"(?<![0-9])\s+|\s+(?![0-9])")


def identifier(cell: str) -> str:
    """A name of a patient or centre, as text.

    raises  CellProblem MRD-E441 if it is empty, too long or would be changed when it is written to a table again; E443 for a missing code
    """
    text = unicodedata.normalize("NFC", cell)
    if not text:
        raise CellProblem("the cell is empty", code="MRD-E441", fix="give every patient a name of its own, and every centre one")
    if text.casefold() in MISSING_CODES:
        raise _missing_code(text, "name it; a code for 'unknown' cannot stand for a patient or centre")
    if len(text) > MAX_ID_CHARACTERS:
        raise CellProblem("the name is too long", code="MRD-E441", found=f"{len(text)} characters", fix=f"use at most {MAX_ID_CHARACTERS}")
    if neutral(text) != text:
        raise CellProblem("the name begins like a formula of a spreadsheet", code="MRD-E441", found=f"it begins with '{text[0]}'",
                          fix="begin it with a letter or digit")
    return text


def likeness(name: str) -> str:
    """What two names share that a reader may take for one: capitals, spaces, width and look-alike letters make no difference.

    A hyphen, and a space between two digits, does: 1-11 and 11-1 are two patients.
    """
    folded = unicodedata.normalize("NFKC", name).casefold().translate(_LOOK_ALIKE)
    return _SPACE_OUTSIDE_NUMBERS.sub("", folded)


def seen(cell: str) -> str:
    """A cell as it may stand in a message. In a table whose cells slipped sideways a name, date or id stands under any column, so that only
    what names nobody is said back: short numbers, some plain words, one or two characters; of anything else what kind of text it is."""
    if len(cell) <= 2 or cell.casefold() in _PLAIN_WORDS or (_SHORT_NUMBER.fullmatch(cell) and not _LIKE_A_DATE.fullmatch(cell)):
        return f"'{short(cell)}'"
    if _LIKE_A_DATE.fullmatch(cell):
        return "what looks like a date"
    return f"{len(cell)} digits" if cell.isdecimal() else f"a text of {len(cell)} characters"


def number(cell: str, column: Column) -> float | None:
    """A number with a decimal point, inside the declared range; None for an empty cell or a declared code.

    raises  CellProblem MRD-E443 (a code that is not declared), E444 (not a number), E445 (outside the range)
    """
    if _unknown(cell, column):
        return None
    if not _NUMBER.fullmatch(cell) or not math.isfinite(value := float(cell)):
        raise _not_a_number(cell)
    low, high = column.minimum, column.maximum
    if (low is None or value >= low) and (high is None or value <= high):
        if cell in MISSING_NUMBERS and (low is None if value < 0 else high is None):
            raise _missing_code(cell, f"leave the cell empty, declare it (\"missing\": [\"{cell}\"]), or declare a range that holds it")
        return value
    if cell in MISSING_NUMBERS:
        raise _missing_code(cell, f"leave the cell empty, or declare the code in the data dictionary (\"missing\": [\"{cell}\"])")
    unit = f" {column.unit}" if column.unit else ""
    raise CellProblem("the value is outside the declared range", code="MRD-E445", found=f"{value:g}{unit}; declared is {span(low, high)}{unit}",
                      fix=_unit_hint(value, low, high) + "correct the value, or the range in the data dictionary if the value is right")


def category(cell: str, column: Column) -> str | None:
    """One of the declared categories, letter for letter; None for an empty cell or a declared code.

    raises  CellProblem MRD-E443 (a code that is not declared), E446 (no such category)
    """
    text = unicodedata.normalize("NFC", cell)
    if text in column.categories:
        return text
    if _unknown(text, column):
        return None
    near = next((c for c in column.categories if likeness(c) == likeness(text)), None) or next(
        iter(difflib.get_close_matches(text, column.categories, 1, 0.6)), None)
    raise CellProblem("the value is none of the declared categories", code="MRD-E446", found=(f"'{short(text)}'" if near else seen(text)) + "; declared are "
                      + short(", ".join(column.categories), 120), fix=(f"perhaps '{near}' is meant; " if near else "")
                      + "correct it, or add the category to the data dictionary before training")


def free_text(cell: str, column: Column) -> str | None:
    """A text; None for an empty cell or a declared code. raises CellProblem MRD-E443 for a code that is not declared"""
    text = unicodedata.normalize("NFC", cell)
    return None if _unknown(text, column) else text


def day(cell: str, missing: tuple[str, ...] = ()) -> date | None:
    """A date as year-month-day; None for an empty cell or a declared code. The date itself stays out of every message.

    raises  CellProblem MRD-E443 (a code that is not declared), E447 (another form, day or month first, or no such day)
    """
    if _unknown(cell, Column("date", missing=missing)):
        return None
    if match := _ISO.fullmatch(cell):
        try:
            return date(*(int(part) for part in match.groups()))
        except ValueError:
            raise CellProblem("there is no such day", code="MRD-E447", found="month or day is out of range", fix="write it as year-month-day, such as 2021-03-31") from None
    if match := _DAY_OR_MONTH.fullmatch(cell):
        first, second = int(match[1]), int(match[2])
        unclear = first <= 12 and second <= 12
        raise CellProblem("the date is not written as year-month-day" + (", and it is not clear which number is the month" if unclear else ""),
                          code="MRD-E447", found="three numbers, the year last", fix="write it as year-month-day, such as 2021-03-31")
    raise CellProblem("the date is not written as year-month-day", code="MRD-E447",
                      found="a whole number, perhaps a spreadsheet's own count of days" if _WHOLE.fullmatch(cell) else "another form",
                      fix="write it as year-month-day, such as 2021-03-31")


def binary(cell: str, what: str, meaning: str, *, code: str = "MRD-E449") -> int | None:
    """0 or 1; None for an empty cell.

    what     "the outcome"
    meaning  "1 for pathological complete response, 0 for none"
    raises   CellProblem E443 (a missing code), `code` (anything else)
    """
    if cell in ("0", "1"):
        return int(cell)
    if _unknown(cell, Column("number")):
        return None
    hint = "the table may count classes from 1: write 0 for 1 and 1 for 2 if so, and see which of them is the event; " if cell == "2" else ""
    raise CellProblem(f"{what} is neither 0 nor 1", code=code, found=seen(cell), fix=f"{hint}write {meaning}")


def whole(cell: str, low: int, high: int, what: str, *, code: str) -> int | None:
    """A whole number from low to high, written with digits only; None for an empty cell. raises CellProblem E443 or `code`"""
    if _unknown(cell, Column("number")):
        return None
    if not _WHOLE.fullmatch(cell) or not low <= int(cell) <= high:
        raise CellProblem(f"{what} is not a whole number from {low} to {high}", code=code, found=seen(cell),
                          fix="write it with digits only, without a decimal point, or leave the cell empty")
    return int(cell)


def label(cell: str, what: str) -> int | str | None:
    """A label of a mask file: a whole number from 1, or the code of a DICOM segment ("SCT:86049000"); None for an empty cell.

    A segment's free name is not taken here: in a table, a text may be anybody's name in the wrong column. raises CellProblem E443 or E454
    """
    return cell if _SEGMENT_CODE.fullmatch(cell) else whole(cell, 1, MAX_LABEL, what, code="MRD-E454")


def months(cell: str) -> float | None:
    """A follow-up time above zero, months; None for an empty cell. raises CellProblem MRD-E443, E444 or E450"""
    value = number(cell, Column("number", "months", maximum=None))
    if value is not None and not value > 0:
        raise CellProblem("the follow-up time is not above zero", code="MRD-E450", found=f"{value:g} months",
                          fix="count from a day before every event, or leave time and event empty")
    return value


def span(low: float | None, high: float | None) -> str:
    """A range in words."""
    if low is None or high is None:
        return f"at least {low:g}" if high is None and low is not None else f"at most {high:g}" if high is not None else "any number"
    return f"{low:g} to {high:g}"


def _unknown(cell: str, column: Column) -> bool:
    if not cell or cell in column.missing:
        return True
    if cell.casefold() in MISSING_CODES or (column.role != "number" and cell in MISSING_NUMBERS):
        raise _missing_code(cell, f"leave the cell empty if the value is unknown, or declare the code in the data dictionary (\"missing\": [\"{cell}\"])")
    return False


def _missing_code(cell: str, fix: str) -> CellProblem:
    return CellProblem("the cell may hold a code for an unknown value, which is not declared", code="MRD-E443", found=f"'{short(cell, 20)}'", fix=fix)


def _not_a_number(cell: str) -> CellProblem:
    if _COMMA.fullmatch(cell):
        return CellProblem("the number has a decimal comma", code="MRD-E444", found=seen(cell), fix="write it with a decimal point, such as 4.2, and no sign between thousands")
    kind = "a bound such as < or >; " if cell[:1] in "<>\u2264\u2265~" else ""
    return CellProblem("the value is not a number", code="MRD-E444", found=f"{kind}{seen(cell)}",
                       fix="write digits with a decimal point, without unit or sign, or give the column another role in the data dictionary")


def _unit_hint(value: float, low: float | None, high: float | None) -> str:
    """Which mix-up would bring the value into its range; "" for none, or where the range is open."""
    if low is None or high is None:
        return ""
    for factor, name in UNIT_FACTORS.items():
        for corrected, side in ((value / factor, "too large"), (value * factor, "too small")):
            if low <= corrected <= high and corrected != 0:
                return f"{corrected:.4g} would fit, so that the value may be {name} {side}: see unit and decimal point; "
    return ""
