"""Tumour, its 8 mm shell, elsewhere: what does P(pCR) lose when each is taken away? The most readable answer, and the coarsest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from MRDeltaNetLib.progress import Progress, silent
from MRDeltaNetLib.response.attribution.inpainting import DESCRIBED, inpainted
from MRDeltaNetLib.response.attribution.readout import VISITS, Found, Readout, logit_of, logits
from MRDeltaNetLib.response.attribution.regions import SHELL_MM, shells

if TYPE_CHECKING:
    import torch

FORMULA = ("100 (P(pCR) - P(pCR) with that region of that visit's T2 channel in-painted), the same number on all voxels of a region; positive: what "
           "is there speaks for pCR; regions: inside the outline, outside it within the shell, elsewhere. The outline stays. Regions are taken away "
           "one at a time and need not add up")


def roi_shells(network: "torch.nn.Module", x: "torch.Tensor", readout: Readout, *, shell_mm: float = SHELL_MM, progress: Progress = silent) -> Found:
    """Take away one region of one visit at a time.

    numbers  visit -> region -> percentage points; "whole_visit": all three together, where nothing is left but the mean of normal tissue
    """
    spacing, voxels = network.geometry.spacing_mm, network.geometry.voxels
    cut = {visit: shells(x, time, spacing, shell_mm) for time, visit in enumerate(VISITS)}
    asked = [(visit, name, hole) for visit in VISITS for name, hole in [*cut[visit].items(), ("whole_visit", np.ones(voxels, bool))]]
    whole = 100 * readout.p_pcr(logit_of(network, x))

    def without(number: int) -> "torch.Tensor":
        visit, _, hole = asked[number]
        changed, time = x.clone(), VISITS.index(visit)
        changed[time, 0] = inpainted(x[time, 0], hole, spacing)
        return changed

    numbers: dict[str, dict[str, float]] = {visit: {} for visit in VISITS}
    maps = {visit: np.zeros(voxels, np.float32) for visit in VISITS}
    for (visit, name, hole), logit in zip(asked, logits(network, without, len(asked), int(np.prod(voxels)), progress)):
        numbers[visit][name] = whole - 100 * readout.p_pcr(logit)
        if name != "whole_visit":
            maps[visit][hole] = numbers[visit][name]
    return Found(maps, {"resolution_mm": (shell_mm,) * 3, "resolution_note": "one number a region", "shell_mm": shell_mm, "filling": DESCRIBED, "p_pcr_percent": whole}, numbers)
