"""Cohort tables for tests: a good one, and ways to spoil it. The files it names hold a few bytes; no image is read."""

from __future__ import annotations

import json
from pathlib import Path

FILES = ("pre", "post", "pre_mask", "post_mask", "residual_mask")
DICTIONARY = {"columns": {"age_years": {"role": "number", "unit": "years", "minimum": 18, "maximum": 110, "meaning": "age"},
                          "bmi": {"role": "number", "unit": "kg/m2", "minimum": 12, "maximum": 70},
                          "sex": {"role": "category", "categories": ["female", "male"]},
                          "note": {"role": "text"}}}
HEADER = ["id", "centre", "set", *FILES, "pre_date", "post_date", "interval_days", "outcome", "age_years", "bmi", "sex", "note"]


def good_rows(folder: Path, count: int = 6) -> list[dict[str, str]]:
    """Rows without a fault, with the files that they name."""
    rows = []
    for n in range(1, count + 1):
        place = folder / f"scans-{n}"
        place.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            (place / f"{name}.nrrd").write_text(f"{name} of {n}", encoding="utf-8")
        rows.append({"id": f"P{n:03d}", "centre": "AB"[n % 2], "set": "train", **{name: f"scans-{n}/{name}.nrrd" for name in FILES},
                     "pre_date": f"2021-01-{n % 28 + 1:02d}", "post_date": f"2021-04-{n % 28 + 1:02d}", "interval_days": "90", "outcome": str(n % 2),
                     "age_years": str(50 + n * 7 % 23), "bmi": f"{22 + n * 11 % 13}.5", "sex": ["female", "male", "male"][n % 3], "note": ""})
    return rows


def write_table(folder: Path, rows: list[dict[str, str]], *, dictionary: dict | None = DICTIONARY, columns: list[str] | None = None) -> Path:
    """Write rows as they are, without any quoting, and the data dictionary beside them."""
    columns = list(rows[0]) if columns is None else columns
    text = "\n".join([",".join(columns)] + [",".join(row[name] for name in columns) for row in rows]) + "\n"
    path = folder / "cohort.csv"
    path.write_bytes(text.encode("utf-8"))
    if dictionary is not None:
        (folder / "cohort.json").write_text(json.dumps(dictionary), encoding="utf-8")
    return path


def spoiled(folder: Path, changes: dict[int, dict[str, str]], *, count: int = 6, dictionary: dict | None = DICTIONARY, more: dict[str, str] | None = None) -> Path:
    """A good table with other cells: line -> column -> cell; `more` adds columns with one value for all."""
    rows = [row | (more or {}) for row in good_rows(folder, count)]
    for line, cells in changes.items():
        rows[line - 2] |= cells
    return write_table(folder, rows, dictionary=dictionary)
