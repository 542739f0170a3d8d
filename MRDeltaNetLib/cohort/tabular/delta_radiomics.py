"""First-order intensities and shape of each visit's ROI and how they changed, with a LASSO logistic regression (delta radiomics).

Formulas follow the Image Biomarker Standardisation Initiative (Zwanenburg et al. 2020, doi:10.1148/radiol.2020191145): intensity
statistics of the voxels whose soft ROI is at least one half, on the normalised T2 channel; entropy and uniformity with bins of a fixed
width; axis lengths by principal components. Surface is the area of the outer voxel faces, not of a mesh, hence "face_".
Each feature gives its value before treatment and its change (post - pre; lengths, areas and volumes by the difference of logarithms).
"""

from __future__ import annotations

import math
from typing import Any, Sequence

import numpy as np

from MRDeltaNetLib.cohort.tabular import features
from MRDeltaNetLib.imaging.features import LEAST_VOXELS, first_order, voxel_shape
from MRDeltaNetLib.io.table_model import TableModel, Value

NAME = "delta_radiomics"
READS_SCANS = True

SIZES = ("volume_ml", "face_surface_mm2", "major_axis_mm", "minor_axis_mm", "least_axis_mm")
"""Features whose change is a ratio."""


def visit(t2: np.ndarray, roi: np.ndarray, spacing_mm: Sequence[float]) -> dict[str, float] | None:
    """Features of one visit: normalised T2 and soft ROI (z, y, x); None for a ROI of fewer than LEAST_VOXELS."""
    mask = np.asarray(roi, dtype=np.float32) >= 0.5
    if mask.sum() < LEAST_VOXELS:
        return None
    return first_order(np.asarray(t2, dtype=np.float64)[mask]) | voxel_shape(mask, spacing_mm)


def values(prepared, *, spacing_mm: Sequence[float], **_: Any) -> list[dict[str, Value]]:
    """Each case's features before treatment and their changes. spacing_mm (x, y, z) of the crops."""
    return [_pair(np.asarray(crop, dtype=np.float32), spacing_mm) for crop in prepared.crops]


def fit(prepared, *, spacing_mm: Sequence[float], seed: int = 0, **settings: Any) -> TableModel:
    """The model; the penalty is chosen by inner cross-validation."""
    rows, lines = values(prepared, spacing_mm=spacing_mm), features.lines(prepared)
    columns = features.number_columns(list(rows[0]), rows, lines) if rows else {}
    return features.fit_model(NAME, columns, rows, lines, features.outcomes(prepared), prepared.keys, solver=features.lasso, seed=seed,
                              settings={"spacing_mm": list(spacing_mm)} | settings)


def _pair(crop: np.ndarray, spacing_mm: Sequence[float]) -> dict[str, Value]:
    before, after = (visit(*crop[time], spacing_mm) for time in (0, 1))
    names = list(before or after or {}) or _names()
    found: dict[str, Value] = {f"pre {name}": before and before[name] for name in names}
    return found | {f"change of {name}": _change(name, before, after) for name in names}


def _change(name: str, before: dict[str, float] | None, after: dict[str, float] | None) -> float | None:
    if before is None or after is None:
        return None
    if name not in SIZES:
        return after[name] - before[name]
    return math.log(after[name] / before[name]) if after[name] > 0 and before[name] > 0 else None


def _names() -> list[str]:
    return list(visit(np.zeros((2, 2, 2)), np.ones((2, 2, 2)), (1.0, 1.0, 1.0)))
