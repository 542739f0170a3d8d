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
from MRDeltaNetLib.io.table_model import TableModel, Value

NAME = "delta_radiomics"
READS_SCANS = True

BIN_WIDTH = 0.25
"""Of entropy and uniformity, z-score units."""

LEAST_VOXELS = 8
"""A ROI with fewer has no distribution: its features are missing."""

SIZES = ("volume_ml", "face_surface_mm2", "major_axis_mm", "minor_axis_mm", "least_axis_mm")
"""Features whose change is a ratio."""


def first_order(intensity: np.ndarray, bin_width: float = BIN_WIDTH) -> dict[str, float]:
    """Intensity statistics of voxels (n,), in their unit.

    mean, sd, skewness, excess kurtosis (0 where there is no spread), median, 10th and 90th percentile, interquartile range, mean
    absolute deviation, robust one (between these percentiles), root mean square, entropy in bits and uniformity of a histogram
    whose bins begin at multiples of bin_width
    """
    x = np.asarray(intensity, dtype=float)
    p10, p25, median, p75, p90 = np.percentile(x, [10, 25, 50, 75, 90])
    centred, sd = x - x.mean(), float(x.std())
    robust = x[(x >= p10) & (x <= p90)]
    share = np.unique(np.floor(x / bin_width), return_counts=True)[1] / len(x)
    return {"mean": float(x.mean()), "sd": sd, "skewness": float((centred**3).mean() / sd**3) if sd else 0.0,
            "kurtosis": float((centred**4).mean() / sd**4 - 3) if sd else 0.0, "median": float(median), "p10": float(p10), "p90": float(p90),
            "interquartile_range": float(p75 - p25), "mean_absolute_deviation": float(np.abs(centred).mean()),
            "robust_mean_absolute_deviation": float(np.abs(robust - robust.mean()).mean()), "root_mean_square": float(np.sqrt((x**2).mean())),
            "entropy": float(-(share * np.log2(share)).sum()), "uniformity": float((share**2).sum())}


def shape(mask: np.ndarray, spacing_mm: Sequence[float]) -> dict[str, float]:
    """Size and form of a mask (z, y, x); spacing_mm (x, y, z).

    volume by counting voxels; face_surface of their outer faces; face_sphericity = surface of the ball of equal volume over it; axis
    lengths 4 * root of the eigenvalues of the voxel centres' covariance, elongation = minor over major, flatness = least over major
    """
    steps = np.array(spacing_mm, dtype=float)[::-1]
    inside = np.pad(np.asarray(mask, dtype=bool), 1)
    voxel_mm3 = float(np.prod(steps))
    surface = sum(float(np.abs(np.diff(inside.astype(np.int8), axis=axis)).sum()) * voxel_mm3 / steps[axis] for axis in range(3))
    volume = float(inside.sum()) * voxel_mm3
    places = np.argwhere(inside) * steps
    axes = 4 * np.sqrt(np.clip(np.linalg.eigvalsh(np.cov(places.T)), 0, None))[::-1]
    return {"volume_ml": volume / 1000, "face_surface_mm2": surface, "face_sphericity": (36 * math.pi * volume**2) ** (1 / 3) / surface,
            "major_axis_mm": float(axes[0]), "minor_axis_mm": float(axes[1]), "least_axis_mm": float(axes[2]),
            "elongation": float(axes[1] / axes[0]) if axes[0] else 0.0, "flatness": float(axes[2] / axes[0]) if axes[0] else 0.0}


def visit(t2: np.ndarray, roi: np.ndarray, spacing_mm: Sequence[float]) -> dict[str, float] | None:
    """Features of one visit: normalised T2 and soft ROI (z, y, x); None for a ROI of fewer than LEAST_VOXELS."""
    mask = np.asarray(roi, dtype=np.float32) >= 0.5
    if mask.sum() < LEAST_VOXELS:
        return None
    return first_order(np.asarray(t2, dtype=np.float64)[mask]) | shape(mask, spacing_mm)


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
