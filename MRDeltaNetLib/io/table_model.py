"""Logistic models on columns of a table (clinical values, volumes, radiomics), stored as strict JSON that a person can read.

    logit = slope * (intercept + sum of coefficient * term) + shift

A number gives the term (value - mean) / scale, a category one term for each category but the first (the reference), and a column
with gaps in the training rows one more term, 1 where the value is missing. Nothing is unpickled, imported or evaluated; floats
are written so that they come back bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, Notice
from MRDeltaNetLib.io.atomic import write_text
from MRDeltaNetLib.io.tables import read_json

FORMAT = "mrdeltanet table model 1"
KEYS = ("format", "name", "columns", "coefficients", "intercept", "recalibration", "threshold", "threshold_source", "unseen",
        "trained_on", "settings", "sha256")
MAX_COLUMNS = 1000
LIMITS = GateLimits(max_json_bytes=16 * 1024**2)
"""A digest of each training case takes 70 bytes."""

LINES_NAMED = 5
"""Lines that one message names; more are counted."""

Value = float | str | None


@dataclass(frozen=True)
class NumberColumn:
    """mean and scale (standard deviation) of the training rows, their range, and whether any value was missing (a missing one counts as the mean)."""

    mean: float
    scale: float
    minimum: float
    maximum: float
    missing: bool


@dataclass(frozen=True)
class CategoryColumn:
    """The categories of the training rows, the reference first, and whether any value was missing."""

    categories: tuple[str, ...]
    missing: bool


@dataclass(frozen=True)
class TableModel:
    """One logistic model; see the formula above.

    name              which tabular model ("clinical_logistic", ...): it says where the columns' values come from
    columns           column -> how it becomes terms
    coefficients      term -> coefficient per standard deviation or against the reference category; as terms() orders them
    recalibration     slope and intercept (the "shift" above) of Platt's recalibration; 1 and 0 without
    threshold         on P(pCR), None if none is locked
    unseen            "refuse" a category that no training row had, or count it as the "reference" with a notice (for what
                      the table's author cannot choose, as a scanner's maker)
    trained_on        plain facts: cases, events, digests of the table and of the cases
    settings          plain facts of how it was fitted and how its cases were prepared
    sha256            of its content, once it was read from a file
    """

    name: str
    columns: Mapping[str, NumberColumn | CategoryColumn]
    coefficients: Mapping[str, float]
    intercept: float
    recalibration: Mapping[str, float] = field(default_factory=lambda: {"slope": 1.0, "intercept": 0.0})
    threshold: float | None = None
    threshold_source: str = ""
    unseen: str = "refuse"
    trained_on: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = field(default="", compare=False)

    def logits(self, rows: Sequence[Mapping[str, Value]], lines: Sequence[int]) -> tuple[np.ndarray, tuple[Notice, ...]]:
        """Recalibrated logits (n,) and what had to be assumed.

        rows    one mapping column -> value a case; lines: each case's line in its table, for messages
        raises  InputError as design()
        """
        matrix, notices = design(self.columns, rows, lines, unseen=self.unseen)
        raw = self.intercept + matrix @ np.array([self.coefficients[term] for term in terms(self.columns)], dtype=float)
        return self.recalibration["slope"] * raw + self.recalibration["intercept"], notices


def terms(columns: Mapping[str, NumberColumn | CategoryColumn]) -> tuple[str, ...]:
    """Names of the terms, in the order of design()'s columns."""
    found: list[str] = []
    for name, column in columns.items():
        found += [name] if isinstance(column, NumberColumn) else [f"{name} = {category}" for category in column.categories[1:]]
        found += [f"{name} (missing)"] if column.missing else []
    return tuple(found)


def design(columns: Mapping[str, NumberColumn | CategoryColumn], rows: Sequence[Mapping[str, Value]], lines: Sequence[int], *,
           unseen: str = "refuse") -> tuple[np.ndarray, tuple[Notice, ...]]:
    """The terms' values (n, k).

    returns  matrix, and notices: MRD-W785 (a number outside the training rows' range), W786 (missing where no training row was),
             W787 (unseen category counted as the reference)
    raises   InputError MRD-E786 (a category that no training row had), MRD-E787 (not a finite number, or not a text),
             MRD-E788 (a column that no row has)
    """
    matrix, notices = [], []
    for name, column in columns.items():
        values = [row.get(name) for row in rows]
        if rows and all(name not in row for row in rows):
            raise InputError("A column that the model needs is not there", code="MRD-E788", found=f"column '{name}'",
                             fix="add the column, with empty cells where the value is not known")
        absent = [value is None for value in values]
        encode = _numbers if isinstance(column, NumberColumn) else _categories
        block, found = encode(name, column, values, lines, unseen)
        matrix += block
        notices += found
        if column.missing:
            matrix.append([float(gone) for gone in absent])
        elif any(absent):
            notices.append(Notice("MRD-W786", f"Column '{name}' is empty where no training case was ({_named(lines, absent)}); the training "
                                              f"cases' {'mean' if isinstance(column, NumberColumn) else 'reference category'} was taken",
                                  "fill in the value if it is known"))
    return np.array(matrix, dtype=float).reshape(len(matrix), len(rows)).T, tuple(notices)


def write_table_model(path: Path | str, model: TableModel) -> str:
    """Write the model; atomic.

    returns SHA-256 of its content, as stored in it; raises ValueError if a number of it is not finite
    """
    content = {"format": FORMAT, "name": model.name, "columns": {name: _plain(column) for name, column in model.columns.items()},
               "coefficients": dict(model.coefficients), "intercept": model.intercept, "recalibration": dict(model.recalibration),
               "threshold": model.threshold, "threshold_source": model.threshold_source, "unseen": model.unseen,
               "trained_on": dict(model.trained_on), "settings": dict(model.settings)}
    digest = _digest(content)
    write_text(path, json.dumps(content | {"sha256": digest}, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return digest


def is_table_model(path: Path | str) -> bool:
    """Whether a file says that it is a table model, whole or not."""
    try:
        content = read_json(path, LIMITS, what="the table model")
    except InputError:
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def read_table_model(path: Path | str, limits: GateLimits | None = None) -> TableModel:
    """Read and check a model.

    raises InputError as read_json, and MRD-E785 if it is not whole, was changed, or holds what no model can hold
    """
    content = read_json(path, LIMITS if limits is None else limits, what="the table model")
    if not isinstance(content, dict) or content.get("format") != FORMAT or set(content) != set(KEYS):
        raise _unusable("not the keys of a table model that this version reads")
    if content["sha256"] != _digest({key: value for key, value in content.items() if key != "sha256"}):
        raise _unusable("its content is not the one that was written")
    if not isinstance(content["columns"], dict) or not 0 <= len(content["columns"]) <= MAX_COLUMNS:
        raise _unusable("columns that are not a short list")
    columns = {name: _column(name, value) for name, value in content["columns"].items()}
    coefficients, recalibration, threshold = content["coefficients"], content["recalibration"], content["threshold"]
    if not isinstance(coefficients, dict) or set(coefficients) != set(terms(columns)) or not all(map(_finite, coefficients.values())):
        raise _unusable("coefficients that are not one finite number for each term")
    if not isinstance(recalibration, dict) or set(recalibration) != {"slope", "intercept"} or not all(map(_finite, recalibration.values())):
        raise _unusable("a recalibration that is not a slope and an intercept")
    if not _finite(content["intercept"]) or not (threshold is None or _finite(threshold) and 0 < threshold < 1):
        raise _unusable("an intercept or threshold that is not a number in its range")
    texts = [content[key] for key in ("name", "threshold_source", "unseen")]
    if not all(isinstance(text, str) for text in texts) or content["unseen"] not in ("refuse", "reference"):
        raise _unusable("a name, source or rule that is not the expected text")
    if not all(isinstance(content[key], dict) for key in ("trained_on", "settings")):
        raise _unusable("facts that are not names with values")
    return TableModel(content["name"], columns, {term: float(coefficients[term]) for term in terms(columns)}, float(content["intercept"]),
                      {key: float(value) for key, value in recalibration.items()}, threshold, content["threshold_source"],
                      content["unseen"], content["trained_on"], content["settings"], content["sha256"])


def number(name: str, value: Value, line: int) -> float | None:
    """A cell of a number column; raises InputError MRD-E787 unless it is a finite number or None."""
    if value is None:
        return None
    if isinstance(value, (str, bool)) or not math.isfinite(value):
        raise InputError("A value that must be a number is none", code="MRD-E787", found=f"line {line}, column '{name}'",
                         fix="write a number, or leave the cell empty where it is not known")
    return float(value)


def _numbers(name, column: NumberColumn, values, lines, _unseen) -> tuple[list[list[float]], list[Notice]]:
    found = [number(name, value, line) for value, line in zip(values, lines)]
    outside = [value is not None and not column.minimum <= value <= column.maximum for value in found]
    notices = [Notice("MRD-W785", f"Column '{name}' lies outside the training cases' range in {sum(outside)} of {len(outside)} rows "
                                  f"({_named(lines, outside)})", "check the value and its unit; the model has never seen such a one")]
    return [[0.0 if value is None else (value - column.mean) / column.scale for value in found]], notices if any(outside) else []


def _categories(name, column: CategoryColumn, values, lines, unseen) -> tuple[list[list[float]], list[Notice]]:
    foreign = [value is not None and value not in column.categories for value in values]
    if any(foreign) and unseen == "refuse":
        raise InputError("A category was in no training case, so the model cannot know it", code="MRD-E786",
                         found=f"{_named(lines, foreign)}, column '{name}'",
                         fix=f"correct the spelling, leave the cell empty, or train with such cases; known: {', '.join(column.categories)[:200]}")
    notices = [Notice("MRD-W787", f"Column '{name}' holds a category that was in no training case ({_named(lines, foreign)}); it counts as "
                                  "the reference", "read the score of these rows with care")]
    return [[float(value == category) for value in values] for category in column.categories[1:]], notices if any(foreign) else []


def _named(lines: Sequence[int], where: Sequence[bool]) -> str:
    """"line 4" or "lines 4, 9 and 3 more"."""
    hit = [line for line, there in zip(lines, where) if there]
    text = ", ".join(map(str, hit[:LINES_NAMED])) + (f" and {len(hit) - LINES_NAMED} more" if len(hit) > LINES_NAMED else "")
    return f"{'line' if len(hit) == 1 else 'lines'} {text}"


def _plain(column: NumberColumn | CategoryColumn) -> dict[str, Any]:
    kind = "number" if isinstance(column, NumberColumn) else "category"
    return {"kind": kind} | {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(column).items()}


def _column(name: str, stored: Any) -> NumberColumn | CategoryColumn:
    values = dict(stored) if isinstance(stored, dict) else {}
    kind = values.pop("kind", None)
    if kind == "number" and set(values) == {"mean", "scale", "minimum", "maximum", "missing"} and isinstance(values["missing"], bool):
        if all(_finite(values[key]) for key in ("mean", "scale", "minimum", "maximum")) and values["scale"] > 0 and values["minimum"] <= values["maximum"]:
            return NumberColumn(**values)
    if kind == "category" and set(values) == {"categories", "missing"} and isinstance(values["missing"], bool):
        categories = values["categories"]
        if isinstance(categories, list) and categories and all(isinstance(c, str) for c in categories) and len(set(categories)) == len(categories):
            return CategoryColumn(tuple(categories), values["missing"])
    raise _unusable(f"column '{name[:40]}' is neither a number nor a category as they are stored")


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()).hexdigest()


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _unusable(found: str) -> InputError:
    return InputError("The table model cannot be used", code="MRD-E785", found=found, fix="train it again, or take the file as it was written")
