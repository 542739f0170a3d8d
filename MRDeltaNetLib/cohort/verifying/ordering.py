"""Deletion and insertion (RISE, arXiv:1806.07421): pieces of both scans are taken away, in-painted, in the order of a map.

A good map finds the pieces whose loss takes the answer away: its deletion curve falls early, its insertion curve rises early.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from MRDeltaNetLib.progress import Progress, silent
from MRDeltaNetLib.response.attribution.inpainting import inpainted
from MRDeltaNetLib.response.attribution.readout import VISITS, Readout, logits
from MRDeltaNetLib.response.attribution.regions import blocks

if TYPE_CHECKING:
    import torch

PIECE_MM = 6.0
STEPS = 12
"""Pieces are taken away in so many equal parts."""

MOSTLY = 0.5
"""A piece belongs to a region if at least this share of it lies inside."""

Piece = tuple[int, tuple[slice, slice, slice]]
"""Visit (0 pre, 1 post) and place (z, y, x)."""


def pieces(regions: Mapping[str, np.ndarray], spacing_mm: tuple[float, float, float], size_mm: float = PIECE_MM) -> list[Piece]:
    """Blocks of both visits that tile the regions (visit -> bool (depth, height, width)) without overlap."""
    return [(time, block) for time, visit in enumerate(VISITS)
            for block in blocks(regions[visit].shape, spacing_mm, size_mm, size_mm) if regions[visit][block].mean() >= MOSTLY]


def order_of(maps: Mapping[str, np.ndarray], found: list[Piece], seed: int) -> np.ndarray:
    """Numbers of pieces, that with the largest mean of the map first; a visit without a map counts as 0. Equal ones are in a random order."""
    values = np.array([maps[VISITS[time]][block].mean() if VISITS[time] in maps else 0.0 for time, block in found])
    return np.lexsort((np.random.default_rng(seed).permutation(len(found)), -values))


def random_orders(count: int, found: list[Piece], seed: int) -> list[np.ndarray]:
    """So many random orders."""
    rng = np.random.default_rng(seed)
    return [rng.permutation(len(found)) for _ in range(count)]


def curves(network: "torch.nn.Module", x: "torch.Tensor", readout: Readout, toward: str, found: list[Piece], order: np.ndarray, *, steps: int = STEPS,
           progress: Progress = silent) -> dict[str, Any]:
    """P(toward) while pieces are taken away in an order, and while they come back in that order after all were taken away.

    returns  "deletion_curve", "insertion_curve": steps + 1 probabilities; "deletion", "insertion": area under each over the share of pieces, 0 to 1
    """
    counts = np.round(np.linspace(0, len(order), steps + 1)).astype(int)
    gone = [order[:count] for count in counts] + [order[count:] for count in counts]
    spacing, voxels = network.geometry.spacing_mm, network.geometry.voxels

    def without(number: int) -> "torch.Tensor":
        changed = x.clone()
        for time in (0, 1):
            hole = np.zeros(voxels, bool)
            for piece in gone[number]:
                if found[piece][0] == time:
                    hole[found[piece][1]] = True
            changed[time, 0] = inpainted(x[time, 0], hole, spacing)
        return changed

    said = logits(network, without, len(gone), int(np.prod(voxels)), progress)
    p_pcr = np.array([readout.p_pcr(logit) for logit in said])
    p = (p_pcr if toward == "pCR" else 1 - p_pcr).reshape(2, -1)
    return {"deletion": area(p[0]), "insertion": area(p[1]), "deletion_curve": p[0].tolist(), "insertion_curve": p[1].tolist()}


def area(curve: np.ndarray) -> float:
    """Area under a curve at equal steps from 0 to 1, by trapezia."""
    return float((curve[1:] + curve[:-1]).mean() / 2)
