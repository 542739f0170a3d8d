"""Networks small enough that every map is known by hand. Crop of 4 x 16 x 16 voxels of 2 x 2 x 5 mm."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Callable

import torch
from torch import nn

from MRDeltaNetLib.models.encoder import Geometry

SPACING_MM = (2.0, 2.0, 5.0)
GEOMETRY = Geometry(SPACING_MM, (32.0, 32.0, 20.0))
VOXELS = GEOMETRY.voxels


class Toy(nn.Module):
    """A network whose logit is any function of the input (B, 2, 2, D, H, W)."""

    geometry = GEOMETRY

    def __init__(self, logit: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.formula = logit

    def forward(self, x: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logit=self.formula(x))


def linear(weights: torch.Tensor) -> Toy:
    """logit = sum over visits and voxels of weights (2, D, H, W) times T2."""
    return Toy(lambda x: (x[:, :, 0] * weights).flatten(1).sum(1))


def case(seed: int = 0) -> torch.Tensor:
    """(2, 2, D, H, W): noise, with a box as tumour and a smaller one as tumour bed."""
    x = torch.zeros(2, 2, *VOXELS)
    x[:, 0] = torch.randn(2, *VOXELS, generator=torch.Generator().manual_seed(seed))
    x[0, 1, 1:3, 4:10, 5:11] = 1
    x[1, 1, 1:3, 5:9, 6:10] = 1
    return x
