"""The data dictionary beside a cohort table: what each column is, in which unit, and which values it can have."""

from __future__ import annotations

import difflib
import math
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.tables import MAX_NAME_CHARACTERS, read_json, short

ROLES = ("number", "category", "text", "date", "ignored")
"""What a column that is not the table's own can be; latent_* columns (a simulation's hidden truth) are always ignored."""

LATENT_PREFIX = "latent_"

MAX_CATEGORIES = 200

_TOP = ("columns", "missing", "format", "version", "note", "settings")
_STATED = ("n", "median", "lower_quartile", "upper_quartile", "counts")


@dataclass(frozen=True)
class Column:
    """What the data dictionary says about a column.

    role        "number", "category", "text", "date" or "ignored"; "own" for a column that the table's schema defines
    unit        such as "years"; "" without one
    minimum, maximum  of a number, both included; None: no bound
    categories  values of a category, exactly as they are written
    meaning     what the column says, in words
    missing     codes that stand for an unknown value, beside the empty cell
    after       of a date: the date column that it cannot be before
    stated      what the source of the data says about the column, to be held against the table: n, median, lower_quartile,
                upper_quartile, counts (category -> number of patients)
    """

    role: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    meaning: str = ""
    missing: tuple[str, ...] = ()
    after: str | None = None
    stated: Mapping[str, Any] = field(default_factory=dict)


_KEYS = tuple(Column.__dataclass_fields__)
_OF_ROLE = {"minimum": {"number"}, "maximum": {"number"}, "categories": {"category"}, "after": {"date"}, "stated": {"number", "category"},
            "missing": {"number", "category", "text", "date"}}


def dictionary_path(table: Path) -> Path:
    """Where a table's data dictionary lies: cohort.csv has cohort.json."""
    return table.with_suffix(".json")


def read_dictionary(path: Path, own: frozenset[str], limits: GateLimits = GateLimits()) -> dict[str, Column]:
    """Read a data dictionary.

    own      names of the columns that the table's schema defines: they need no role
    returns  name of the column -> Column
    raises   InputError MRD-E420 to E427 if it is not strict JSON, E440 for anything else, naming the column
    """
    value = read_json(path, limits, what="the data dictionary")
    if not isinstance(value, dict) or not isinstance(value.get("columns"), dict):
        raise _refused(None, "it holds no 'columns'", fix='write {"columns": {"age_years": {"role": "number", "unit": "years", "minimum": 18, "maximum": 110}}}')
    _refuse_unknown(value, _TOP, None)
    everywhere = _texts(value.get("missing", []), None, "missing")
    columns: dict[str, Column] = {}
    for given, entry in value["columns"].items():
        name = unicodedata.normalize("NFC", given)
        if not name.strip() or len(name) > MAX_NAME_CHARACTERS or not name.isprintable() or name in columns:
            raise _refused(None, "a column's name cannot be used", found=f"'{short(name)}'", fix="give each column one printable name")
        columns[name] = _column(name, entry, own, everywhere)
    for name, column in columns.items():
        if column.after is not None and column.after not in own and getattr(columns.get(column.after), "role", "") != "date":
            raise _refused(name, "'after' names no date column", found=f"'{short(column.after)}'", fix="name pre_date, post_date or a column with the role date")
    return columns


def as_json(column: Column) -> dict[str, Any]:
    """A column as it stands in a data dictionary."""
    plain: dict[str, Any] = {}
    for key in _KEYS:
        value = getattr(column, key)
        if value in (None, "", ()) or value == {} or (key, value) == ("role", "own"):
            continue
        plain[key] = list(value) if isinstance(value, tuple) else value
    return plain


def _column(name: str, entry: Any, own: frozenset[str], everywhere: tuple[str, ...]) -> Column:
    if not isinstance(entry, dict):
        raise _refused(name, "its entry is not an object", fix='write such as {"role": "number", "unit": "years", "minimum": 18, "maximum": 110}')
    _refuse_unknown(entry, _KEYS, name)
    if name in own:
        if set(entry) - {"unit", "meaning"}:
            raise _refused(name, "the table's own columns have their meaning already", found=", ".join(sorted(set(entry) - {"unit", "meaning"})),
                           fix="keep 'meaning' and 'unit' only")
        return Column("own", _text(entry, "unit", name), meaning=_text(entry, "meaning", name))
    role = entry.get("role")
    if role not in ROLES:
        raise _refused(name, "it has no role" if role is None else "there is no such role", found="" if role is None else f"'{short(str(role))}'",
                       fix=f"choose one of {', '.join(ROLES)}")
    if name.startswith(LATENT_PREFIX) and role != "ignored":
        raise _refused(name, "the hidden truth of a simulation can never be input", fix='give it the role "ignored"')
    if wrong := [key for key, roles in _OF_ROLE.items() if key in entry and role not in roles]:
        raise _refused(name, f"'{wrong[0]}' does not go with the role {role}", fix=f"remove it, or choose the role {' or '.join(sorted(_OF_ROLE[wrong[0]]))}")
    minimum, maximum = (_bound(entry, key, name) for key in ("minimum", "maximum"))
    if minimum is not None and maximum is not None and minimum > maximum:
        raise _refused(name, "the minimum is above the maximum", found=f"{minimum:g} and {maximum:g}", fix="correct one of them")
    categories = _texts(entry.get("categories", []), name, "categories")
    if role == "category" and not 1 <= len(categories) <= MAX_CATEGORIES:
        raise _refused(name, "a category needs its list of values", found=f"{len(categories)} values", fix=f'write "categories": ["T2", "T3", "T4"], at most {MAX_CATEGORIES}')
    missing = tuple(dict.fromkeys(everywhere + _texts(entry.get("missing", []), name, "missing")))
    if both := set(missing) & set(categories):
        raise _refused(name, "a value is both a category and a code for unknown", found=f"'{short(min(both))}'", fix="keep it in one of the two lists")
    after = _text(entry, "after", name) or None
    return Column(role, _text(entry, "unit", name), minimum, maximum, categories, _text(entry, "meaning", name), missing, after,
                  _stated(entry.get("stated", {}), name, categories))


def _stated(value: Any, name: str, categories: tuple[str, ...]) -> dict[str, Any]:
    fix = 'write such as "stated": {"n": 150, "median": 58, "lower_quartile": 52, "upper_quartile": 65} or {"n": 150, "counts": {"male": 90, "female": 60}}'
    if not isinstance(value, dict):
        raise _refused(name, "'stated' is not an object", fix=fix)
    _refuse_unknown(value, _STATED, name)
    counts = value.get("counts", {})
    if not isinstance(counts, dict) or set(counts) - set(categories):
        raise _refused(name, "'stated' counts values that are no categories of the column", fix=fix)
    numbers = [value[key] for key in _STATED[:-1] if key in value] + list(counts.values())
    if not all(isinstance(number, (int, float)) and not isinstance(number, bool) for number in numbers):
        raise _refused(name, "'stated' holds something that is not a number", fix=fix)
    return value


def _bound(entry: Mapping[str, Any], key: str, name: str) -> float | None:
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _refused(name, f"'{key}' is not a number", fix=f"write a number, or leave '{key}' out")
    return value


def _text(entry: Mapping[str, Any], key: str, name: str) -> str:
    value = entry.get(key, "")
    if not isinstance(value, str):
        raise _refused(name, f"'{key}' is not a text", fix="write it in double quotes")
    return value


def _texts(value: Any, name: str | None, key: str) -> tuple[str, ...]:
    """A list of texts, NFC; numbers are refused, as 9999 and "9999.0" would not be the same text."""
    if not isinstance(value, list) or not all(isinstance(text, str) and text.strip() for text in value):
        raise _refused(name, f"'{key}' is not a list of texts", fix=f'write such as "{key}": ["T2", "T3"], each value in double quotes as it stands in the table')
    texts = tuple(unicodedata.normalize("NFC", text.strip()) for text in value)
    if len(set(texts)) < len(texts):
        raise _refused(name, f"'{key}' holds a value twice", fix="keep one of them")
    return texts


def _refuse_unknown(given: Mapping[str, Any], known: tuple[str, ...], name: str | None) -> None:
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key.casefold(), known, 1, 0.5)
            raise _refused(name, "a name is not known, perhaps a typing error", found=f"'{short(key)}'",
                           fix=(f"perhaps '{near[0]}' is meant; " if near else "") + f"known are {', '.join(known)}")


def _refused(name: str | None, what: str, *, found: str = "", fix: str) -> InputError:
    place = "The data dictionary" + (f", column '{short(name)}'" if name is not None else "")
    return InputError(f"{place}: {what}", code="MRD-E440", found=found, fix=fix)
