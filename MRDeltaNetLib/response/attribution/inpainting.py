"""What is put in the place of what is taken away: the surroundings, drawn inwards. Zero would be a signal of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from MRDeltaNetLib.errors import require
from MRDeltaNetLib.response.attribution.readout import INSTALL_TORCH

if TYPE_CHECKING:
    import torch

SCALES_MM = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Standard deviations of the Gaussians that are tried in turn, mm."""

ENOUGH = 0.05
"""A Gaussian is used where at least this share of it lies on what is left."""

REACH_SD = 3.0
"""How far a Gaussian reaches, standard deviations."""

DESCRIBED = ("each voxel gets the Gaussian mean of what is left around it, with the smallest standard deviation of "
             f"{', '.join(f'{scale:g}' for scale in SCALES_MM)} mm of which at least {ENOUGH:.0%} lies on what is left")


def inpainted(image: "torch.Tensor", hole: np.ndarray, spacing_mm: tuple[float, float, float]) -> "torch.Tensor":
    """The image with a hole filled from around it: smooth, without noise, never brighter or darker than what is left.

    image       (depth, height, width) float32
    hole        bool, same shape; everything taken away: what is left is nothing, and the image becomes 0, the mean of normal tissue
    spacing_mm  (x, y, z)
    """
    torch = require("torch", "Explanation", INSTALL_TORCH)
    filled, left = image.clone(), torch.tensor(hole, device=image.device)
    if not hole.any():
        return filled
    if hole.all():
        return torch.zeros_like(image)
    for scale in SCALES_MM:
        box = _around(hole, spacing_mm, REACH_SD * scale)
        known = torch.as_tensor(~hole[box], device=image.device).float()
        sums, weight = (blurred(values, spacing_mm, scale) for values in (known * image[box], known))
        fits = left[box] & (weight >= ENOUGH)
        filled[box] = torch.where(fits, sums / weight.clamp(min=1e-12), filled[box])
        left[box] = left[box] & ~fits
        if not left.any():
            return filled
    filled[left] = image[torch.as_tensor(~hole, device=image.device)].mean()
    return filled


def _around(hole: np.ndarray, spacing_mm: tuple[float, float, float], reach_mm: float) -> tuple[slice, slice, slice]:
    """The smallest box that holds the hole and reach_mm around it."""
    box = []
    for axis, step in enumerate(spacing_mm[::-1]):
        places = np.flatnonzero(hole.any(tuple(other for other in range(3) if other != axis)))
        margin = int(np.ceil(reach_mm / step))
        box.append(slice(max(0, int(places[0]) - margin), min(hole.shape[axis], int(places[-1]) + 1 + margin)))
    return tuple(box)


def blurred(values: "torch.Tensor", spacing_mm: tuple[float, float, float], sd_mm: float) -> "torch.Tensor":
    """(depth, height, width) with a Gaussian along each axis whose weights sum to 1; beyond the border there is nothing."""
    torch = require("torch", "Explanation", INSTALL_TORCH)
    for axis, step in enumerate(spacing_mm[::-1]):
        count = values.shape[axis]
        place = torch.arange(count, dtype=torch.float64) * step
        reach = torch.arange(-int(np.ceil(REACH_SD * sd_mm / step)), int(np.ceil(REACH_SD * sd_mm / step)) + 1, dtype=torch.float64) * step
        kernel = torch.exp(-0.5 * ((place[:, None] - place[None]) / sd_mm) ** 2)
        kernel[(place[:, None] - place[None]).abs() > REACH_SD * sd_mm] = 0
        kernel = kernel / torch.exp(-0.5 * (reach / sd_mm) ** 2).sum()
        values = (values.movedim(axis, -1) @ kernel.T.to(values)).movedim(-1, axis)
    return values
