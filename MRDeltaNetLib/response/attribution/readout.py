"""What a network's logit means, what every method answers with, and what methods share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Mapping

import numpy as np

from MRDeltaNetLib.errors import require
from MRDeltaNetLib.progress import Progress
from MRDeltaNetLib.response.prediction import BATCH_VOXELS, recalibrate

if TYPE_CHECKING:
    import torch

VISITS = ("pre", "post")
PERCENTAGE_POINTS = "percentage points of P(pCR)"
SHARE = "share, all tokens of a scan sum to 1"
INSTALL_TORCH = "install PyTorch (in 3D Slicer: the PyTorch extension)"

Maps = dict[str, np.ndarray]
"""Visit -> float32 (depth, height, width) on the crop's voxels; a visit of which the method says nothing is left out."""


@dataclass(frozen=True)
class Readout:
    """P(pCR) = 1 / (1 + exp(-(slope logit + intercept))); the class is pCR from the threshold on. The default is a network as it is."""

    slope: float = 1.0
    intercept: float = 0.0
    threshold: float = 0.5

    @classmethod
    def of(cls, own: Mapping[str, Any]) -> "Readout":
        """That of a bundle: the "mrdeltanet" section of its metadata."""
        return cls(float(own["recalibration"]["slope"]), float(own["recalibration"]["intercept"]), float(own["threshold"]))

    def p_pcr(self, logit: float) -> float:
        """0 to 1."""
        return recalibrate(float(logit), {"slope": self.slope, "intercept": self.intercept})

    def toward(self, logit: float) -> str:
        """The class that an answer favours: "pCR" or "non-pCR"."""
        return "pCR" if self.p_pcr(logit) >= self.threshold else "non-pCR"

    def sign(self, toward: str) -> float:
        """Which way the logit grows towards this class."""
        rising = 1.0 if self.slope >= 0 else -1.0
        return rising if toward == "pCR" else -rising


@dataclass(frozen=True)
class Attribution:
    """One method's answer about one case.

    key      of METHODS
    maps     visit -> float32 (depth, height, width) on the crop's voxels, in the method's own unit, before any normalisation for display
    facts    label, formula, unit, resolution_mm (x, y, z), signed (False: no value is below 0), sees_image_content, scale_top (largest
             absolute value over both visits: they share one scale); caution, toward, interpolation and the method's settings where there
             are any
    numbers  visit -> name -> number in the method's unit, of methods that answer in numbers; empty otherwise
    """

    key: str
    maps: Maps
    facts: Mapping[str, Any]
    numbers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """What a method's function returns: maps, facts beside those of the registry, numbers."""

    maps: Maps
    facts: Mapping[str, Any]
    numbers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def members(network: "torch.nn.Module") -> list["torch.nn.Module"]:
    """The networks of an ensemble; a single network is its own only member."""
    return list(getattr(network, "members", [network]))


def mean_over_members(network: "torch.nn.Module", one: Callable[["torch.nn.Module"], Maps], progress: Progress) -> Maps:
    """The mean of the members' maps, as the native maps are made; member after member, so that one at a time is in memory."""
    everyone, total = members(network), {}
    for number, member in enumerate(everyone):
        progress(number / len(everyone), f"Network {number + 1} of {len(everyone)}" if len(everyone) > 1 else "Looking at the network")
        for visit, found in one(member).items():
            total[visit] = total.get(visit, 0) + found / len(everyone)
    return {visit: total[visit].astype(np.float32) for visit in VISITS if visit in total}


def logits(network: "torch.nn.Module", inputs: Callable[[int], "torch.Tensor"], count: int, voxels: int, progress: Progress) -> list[float]:
    """The logits of many variants of one case, in batches that need no more memory than one case at the full crop.

    inputs    number of a variant -> (2, 2, depth, height, width), made when its batch is due
    voxels    of one crop
    progress  is told after each batch; may raise errors.Cancelled
    """
    torch = require("torch", "Explanation", INSTALL_TORCH)
    at_once, found = max(1, BATCH_VOXELS // voxels), []
    with torch.inference_mode():
        for start in range(0, count, at_once):
            progress(start / count, f"{start} of {count} variants asked")
            batch = torch.stack([inputs(number) for number in range(start, min(start + at_once, count))])
            found += network(batch).logit.cpu().double().tolist()
    progress(1.0, f"{count} variants asked")
    return found


def logit_of(network: "torch.nn.Module", x: "torch.Tensor") -> float:
    """The network's own answer about the case."""
    with require("torch", "Explanation", INSTALL_TORCH).inference_mode():
        return float(network(x[None]).logit[0])


def on_voxels(values: "torch.Tensor", voxels: tuple[int, int, int]) -> np.ndarray:
    """Places (d, h, w) to voxels by trilinear interpolation, float32; see response.explanation.on_voxels."""
    from MRDeltaNetLib.response.explanation import on_voxels as interpolate
    return interpolate(values.detach().float().cpu(), voxels)


def largest(maps: Maps) -> float:
    """The largest absolute value over both visits."""
    return max((float(np.abs(found).max()) for found in maps.values()), default=0.0)
