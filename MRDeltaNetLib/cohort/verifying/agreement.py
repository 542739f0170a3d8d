"""How alike two maps of the same case are, inside a region."""

from __future__ import annotations

import numpy as np

from MRDeltaNetLib.cohort.statistics import midranks

WINDOW_MM = 6.0
"""Extent of the window of the structural similarity: one token."""

C1, C2 = 0.01**2, 0.03**2
"""Wang et al. 2004, doi:10.1109/TIP.2003.819861, for a range of 1."""

FLAT = 1e-6
"""A map whose values differ by less than this share of its largest one has no order."""


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Spearman's, of the values of two maps at the same voxels (n,); None where either map is the same everywhere, so that nothing is ranked."""
    if flat(one) or flat(other):
        return None
    first, second = (midranks(values) - (len(values) + 1) / 2 for values in (one, other))
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))


def flat(values: np.ndarray) -> bool:
    """Whether a map says nothing there."""
    return values.size < 2 or not np.ptp(values) > FLAT * np.abs(values).max()


def structural_similarity(one: np.ndarray, other: np.ndarray, region: np.ndarray, spacing_mm: tuple[float, float, float]) -> float:
    """Mean structural similarity of two maps over a region; each map is divided by its own largest absolute value there.

    one, other  (depth, height, width);  region  bool, same shape;  spacing_mm  (x, y, z)
    The window is a box of WINDOW_MM in whole, odd numbers of voxels; at the border of the crop it is what is left of it.
    """
    window = tuple(odd(WINDOW_MM / step) for step in spacing_mm[::-1])
    a, b = (values.astype(np.float64) / (np.abs(values[region]).max() or 1.0) for values in (one, other))
    return float(similarity(a, b, window)[region].mean())


def similarity(a: np.ndarray, b: np.ndarray, window: tuple[int, int, int]) -> np.ndarray:
    """Structural similarity around every voxel of two volumes with a range of 1."""
    mean_a, mean_b, aa, bb, ab = (box_mean(values, window) for values in (a, b, a * a, b * b, a * b))
    return ((2 * mean_a * mean_b + C1) * (2 * (ab - mean_a * mean_b) + C2)
            / ((mean_a**2 + mean_b**2 + C1) * (aa - mean_a**2 + bb - mean_b**2 + C2)))


def box_mean(values: np.ndarray, window: tuple[int, int, int]) -> np.ndarray:
    """Mean over a box around every voxel, of what of the box lies inside the volume. window: odd numbers of voxels (z, y, x)."""
    for axis, width in enumerate(window):
        sums = np.concatenate([np.zeros_like(values.take([0], axis)), values.cumsum(axis)], axis)
        places = np.arange(values.shape[axis])
        start, stop = np.maximum(places - width // 2, 0), np.minimum(places + width // 2 + 1, values.shape[axis])
        shape = [-1 if other == axis else 1 for other in range(values.ndim)]
        values = (sums.take(stop, axis) - sums.take(start, axis)) / (stop - start).reshape(shape)
    return values


def odd(width: float) -> int:
    """The smallest odd whole number that is not below the width."""
    whole = max(1, int(np.ceil(width)))
    return whole + 1 - whole % 2
