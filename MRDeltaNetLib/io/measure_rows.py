"""The numbers of a run as rows of measures.csv: one row a measure and structure, the units in a column of their own."""

from __future__ import annotations

from typing import Any, Iterator, Mapping

from MRDeltaNetLib.case import Result

COLUMNS = ("structure", "measure", "unit", "before", "after", "change", "change_percent", "class")
"""structure: what the tumour before treatment is compared with. class: of one lesion, never of a patient."""

STRUCTURES = {"post": ("tumour bed", "", "bed"), "residual": ("residual tumour", "residual_", "residual")}
"""Prefix of measures -> name, prefix of changes, name among the classes."""

SIZES = {"longest_in_plane_diameter": "mm", "short_axis": "mm", "longest_3d_diameter": "mm", "volume": "ml"}
CLASSES = {"longest_in_plane_diameter": "lesion_size", "volume": "lesion_volume"}
UNITS = {"ml": "mL", "mm": "mm", "mm2": "mm2", "z": "SD of normal tissue", "bits": "bit"}


def measure_rows(result: Result) -> list[dict[str, Any]]:
    """Sizes first, then what a reader graded, then form and intensity; a structure that nobody drew has no rows."""
    rows = []
    for later, (name, prefix, short) in STRUCTURES.items():
        if result.measures.get(f"{later}_volume_ml") is not None:
            rows += _sizes(result, later, name, prefix, short)
    if not rows and result.measures.get("pre_volume_ml") is not None:
        rows = [{"structure": "tumour", "measure": stem, "unit": UNITS[unit], "before": result.measures.get(f"pre_{stem}_{unit}")} for stem, unit in SIZES.items()]
    if result.mrtrg is not None:
        rows.append({"structure": "reader's opinion", "measure": "mrTRG", "unit": "grade 1 to 5", "after": result.mrtrg})
    for later, (name, _, _) in STRUCTURES.items():
        rows += _features(result.features, later, name)
    return rows


def _sizes(result: Result, later: str, name: str, prefix: str, short: str) -> Iterator[dict[str, Any]]:
    found = result.measures.get
    for stem, unit in SIZES.items():
        yield {"structure": name, "measure": stem, "unit": UNITS[unit], "before": found(f"pre_{stem}_{unit}"), "after": found(f"{later}_{stem}_{unit}"),
               "change": found(f"{prefix}{stem}_change_{unit}"), "change_percent": found(f"{prefix}{stem}_change_percent"),
               "class": result.response.get(f"{CLASSES[stem]}_{short}") if stem in CLASSES else None}


def _features(features: Mapping[str, Mapping[str, float | None]], later: str, name: str) -> Iterator[dict[str, Any]]:
    before, after, change = (features.get(key) or {} for key in ("pre", later, f"{later}_change"))
    for key, value in after.items():
        if value is not None:
            stem, _, unit = key.rpartition("_")
            known = unit in UNITS and bool(stem)
            yield {"structure": name, "measure": stem if known else key, "unit": UNITS[unit] if known else "", "before": before.get(key), "after": value,
                   "change": change.get(key)}
