"""A planted task for networks, made of tensors alone: no anatomy, known truth."""

from __future__ import annotations

import numpy as np

SIGNAL, OFFSET = (-1.0, 2.0), 0.8
POST_ALONE_AUC = 1 - (1 - OFFSET / (SIGNAL[1] - SIGNAL[0])) ** 2 / 2
"""The best AUC that the post scan alone allows: two uniform laws, one shifted by OFFSET (0.731)."""


def planted_pairs(count: int, seed: int, voxels=(4, 32, 32), shift_voxels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Pairs whose outcome only the comparison of both scans tells.

    Each patient's tumour has its own signal. After treatment the bed is dark with one blob, which has the tumour's own signal
    (outcome 0) or that plus OFFSET (outcome 1). The blob has one size law in both classes; the post scan is shifted in plane.
    returns  crops float32 (count, 2, 2, D, H, W), outcomes (count,)
    """
    rng = np.random.default_rng(seed)
    depth, height, width = voxels
    y, x = np.mgrid[:height, :width]
    crops, outcomes = np.zeros((count, 2, 2, *voxels), np.float32), rng.permutation(np.arange(count) % 2)
    for k, outcome in enumerate(outcomes):
        signal = rng.uniform(*SIGNAL)
        cy, cx = height / 2 + rng.uniform(-2, 2), width / 2 + rng.uniform(-2, 2)
        radius = rng.uniform(8, 10)
        sy, sx = rng.uniform(-shift_voxels, shift_voxels, 2)
        tumour = np.hypot(y - cy, x - cx) < radius
        bed = np.hypot(y - cy - sy, x - cx - sx) < radius
        by, bx = cy + sy + rng.uniform(-2, 2), cx + sx + rng.uniform(-2, 2)
        blob = np.hypot(y - by, x - bx) < rng.uniform(5, 6)
        for time, (roi, image) in enumerate(((tumour, np.where(tumour, signal, 0)),
                                             (bed, np.where(blob, signal + OFFSET * outcome, np.where(bed, -1.2, 0))))):
            crops[k, time, 0] = image + rng.normal(0, 0.15, voxels)
            crops[k, time, 1] = roi
    return crops, outcomes
