"""Occlusion: by how much does P(pCR) fall when a block of a scan is taken away? No look into the network is needed."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Callable

import numpy as np

from MRDeltaNetLib.progress import Progress, part, silent
from MRDeltaNetLib.response.attribution.inpainting import DESCRIBED, inpainted
from MRDeltaNetLib.response.attribution.readout import VISITS, Found, Readout, logit_of, logits, members
from MRDeltaNetLib.response.attribution.regions import SHELL_MM, blocks, distance_mm, outlined

if TYPE_CHECKING:
    import torch

FORMULA = ("mean over the blocks that hold voxel v, weighted by how near it is to their middles, of 100 (P(pCR) - P(pCR) with that block of the T2 "
           "channel in-painted); positive: what is there speaks for pCR (occlusion, Zeiler and Fergus 2014)")
SIZE_MM, STEP_MM = 9.0, 6.0
REACH_MM = SHELL_MM + SIZE_MM / 2
"""Every block of which a good part lies in outline or shell, where maps are judged."""


def occlusion(network: "torch.nn.Module", x: "torch.Tensor", readout: Readout, *, size_mm: float = SIZE_MM, step_mm: float = STEP_MM,
              reach_mm: float | None = REACH_MM, progress: Progress = silent) -> Found:
    """Take away one block of one visit's T2 channel after the other; the outline stays.

    size_mm, step_mm  of the blocks, rounded to whole voxels
    reach_mm          blocks whose middle lies farther from the visit's outline are not asked, and their voxels are 0; None: all are asked
    """
    spacing, voxels = network.geometry.spacing_mm, network.geometry.voxels
    asked = [(time, block) for time in (0, 1) for block in _near(blocks(voxels, spacing, size_mm, step_mm), x, time, spacing, reach_mm)]
    whole = 100 * readout.p_pcr(logit_of(network, x))

    def without(number: int) -> "torch.Tensor":
        time, block = asked[number]
        hole, changed = np.zeros(voxels, bool), x.clone()
        hole[block] = True
        changed[time, 0] = inpainted(x[time, 0], hole, spacing)
        return changed

    total, covered = np.zeros((2, *voxels)), np.zeros((2, *voxels))
    for (time, block), logit in zip(asked, _answers(network, x, without, [time for time, _ in asked], progress)):
        weight = _nearness(tuple(part.stop - part.start for part in block))
        total[time][block] += weight * (whole - 100 * readout.p_pcr(logit))
        covered[time][block] += weight
    maps = {visit: np.divide(total[time], covered[time], out=np.zeros(voxels), where=covered[time] > 0).astype(np.float32) for time, visit in enumerate(VISITS)}
    facts = {"resolution_mm": (size_mm,) * 3, "block_mm": size_mm, "step_mm": step_mm, "reach_mm": reach_mm, "blocks": len(asked), "filling": DESCRIBED}
    return Found(maps, facts)


def _answers(network: "torch.nn.Module", x: "torch.Tensor", without: Callable[[int], "torch.Tensor"], times: list[int], progress: Progress) -> list[float]:
    """The logits without each block, those of visit 0 first; a network that can hold a visit's features looks at the unchanged visit once."""
    found: list[float] = []
    for time in (0, 1):
        count, start = times.count(time), len(found)
        with ExitStack() as stack:
            for member in members(network):
                if hasattr(member, "holding"):
                    stack.enter_context(member.holding(x[None], 1 - time))
            bar = part(progress, start / len(times), (start + count) / len(times)) if times else progress
            found += logits(network, lambda number: without(start + number), count, x[0, 0].numel(), bar)
    return found


def _nearness(shape: tuple[int, int, int]) -> np.ndarray:
    """Weights (z, y, x) of a block's voxels, 1 in its middle and falling evenly to its faces: without them the largest value would lie where
    blocks overlap, and not in the block that it is of."""
    along = [1 - np.abs(np.arange(count) - (count - 1) / 2) / ((count + 1) / 2) for count in shape]
    return along[0][:, None, None] * along[1][:, None] * along[2]


def _near(found: list, x: "torch.Tensor", time: int, spacing_mm: tuple[float, float, float], reach_mm: float | None) -> list:
    if reach_mm is None:
        return found
    far = distance_mm(outlined(x, time), spacing_mm)
    return [block for block in found if far[tuple((part.start + part.stop - 1) // 2 for part in block)] <= reach_mm]
