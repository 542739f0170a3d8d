"""What would the network say if the whole tumour bed were fibrosis?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from MRDeltaNetLib.progress import Progress, silent
from MRDeltaNetLib.response.attribution.readout import Found, Readout, logit_of
from MRDeltaNetLib.response.attribution.regions import outlined

if TYPE_CHECKING:
    import torch

FORMULA = ("100 (P(pCR) with the bed's T2 signal x replaced by r f + (1 - r) x, minus P(pCR)), times r; r the soft outline of the bed, f the signal that "
           "stands for fibrosis; positive: the answer moves towards pCR")
PERCENTILE = 10.0
"""Fibrosis is the dark part of a treated bed on T2; one tenth of the bed is enough to read its signal off."""


def counterfactual(network: "torch.nn.Module", x: "torch.Tensor", readout: Readout, *, signal: float | None = None, progress: Progress = silent) -> Found:
    """Replace the signal of the tumour bed on the scan after treatment; outlines and the scan before treatment stay.

    signal   z-score units; None: the PERCENTILE of the case's own bed on the scan after treatment
    numbers  "post": the change in percentage points, both probabilities in percent, the signal and the bed's median, z-score units
    """
    progress(0.0, "Replacing the tumour bed")
    bed = x[1, 0].detach().float().cpu().numpy()[outlined(x, 1)]
    source = f"percentile {PERCENTILE:g} of the T2 signal inside the tumour bed of this very scan" if signal is None else "given"
    level = float(np.percentile(bed, PERCENTILE)) if signal is None else float(signal)
    changed, soft = x.clone(), x[1, 1]
    changed[1, 0] = soft * level + (1 - soft) * x[1, 0]
    before, after = (100 * readout.p_pcr(logit_of(network, one)) for one in (x, changed))
    numbers = {"change": after - before, "p_pcr_percent": before, "p_pcr_as_fibrosis_percent": after, "signal_z": level, "bed_median_z": float(np.median(bed))}
    maps = {"post": ((after - before) * soft.detach().float().cpu().numpy()).astype(np.float32)}
    progress(1.0, "Tumour bed replaced")
    return Found(maps, {"resolution_mm": network.geometry.spacing_mm, "resolution_note": "one number for the whole bed", "signal_source": source}, {"post": numbers})
