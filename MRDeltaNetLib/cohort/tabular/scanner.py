"""Ridge logistic regression on the scan headers of both visits: what can be told from the scanner without looking at an image.

A model that does as well as this one may have learned centres instead of patients.
"""

from __future__ import annotations

from typing import Any

from MRDeltaNetLib.cohort.tabular import features
from MRDeltaNetLib.io.table_model import TableModel, Value

NAME = "scanner"
READS_SCANS = True

TEXTS = ("manufacturer",)
NUMBERS = ("field_strength_t", "repetition_time_ms", "echo_time_ms", "spacing_x_mm", "spacing_y_mm", "spacing_z_mm")


def values(prepared, **_: Any) -> list[dict[str, Value]]:
    """Each case's header fields, "pre echo_time_ms" and so on; None where a header does not say."""
    return [{f"{time} {name}": value for time in ("pre", "post") for name, value in _header(facts, time).items()} for facts in prepared.facts]


def fit(prepared, *, seed: int = 0, **settings: Any) -> TableModel:
    """The model; a maker that no training case had counts as the reference, because the rows' author cannot choose it."""
    rows, lines, columns = values(prepared), features.lines(prepared), {}
    for time in ("pre", "post"):
        for name in TEXTS:
            column = features.category_column(f"{time} {name}", [row[f"{time} {name}"] for row in rows], lines)
            columns |= {f"{time} {name}": column} if column else {}
        columns |= features.number_columns([f"{time} {name}" for name in NUMBERS], rows, lines)
    return features.fit_model(NAME, columns, rows, lines, features.outcomes(prepared), prepared.keys, solver=features.ridge, seed=seed,
                              unseen="reference", settings=settings)


def _header(facts, time: str) -> dict[str, Value]:
    """The facts that preparation kept of one scan's header; spacing (x, y, z) mm."""
    scan = facts[time]
    maker, spacing = scan.get("manufacturer"), scan.get("spacing_mm") or (None, None, None)
    numbers = {name: scan.get(name) for name in NUMBERS[:3]} | {f"spacing_{axis}_mm": step for axis, step in zip("xyz", spacing)}
    return {"manufacturer": maker.strip().upper() if maker else None} | numbers
