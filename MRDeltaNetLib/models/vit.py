"""MONAI's vision transformer on one visit, or on both as channels."""

from __future__ import annotations

import torch
from monai.networks.nets import ViT
from torch import nn

from MRDeltaNetLib.errors import require
from MRDeltaNetLib.models.encoder import STRIDES
from MRDeltaNetLib.models.pair import sizes_of
from MRDeltaNetLib.models.stacked import Maps, StackedNetwork

SIZES = {"tiny": (96, 4, 4), "small": (192, 6, 6), "base": (384, 12, 6)}
"""Preset -> hidden size, blocks, heads; MLPs have twice the hidden size at tiny and small, four times at base ("ViT-S")."""


class VisionTransformer(StackedNetwork):
    """MONAI's ViT with patches of 4 x 16 x 16 voxels (12 mm), which every crop consists of, learned positions and no class token: the head
    averages the normalised patch tokens, so that the class-activation map is exact.

    dropout  in MONAI's blocks too
    raises   MissingPackage MRD-E801 without einops, which MONAI's attention blocks need
    """

    decoding_stride = STRIDES[1]
    map_stride = STRIDES[1]
    map_first = tuple((stride - 1) / 2 for stride in STRIDES[1])

    def __init__(self, *, spacing_mm=(0.75, 0.75, 3.0), crop_mm=(96.0, 96.0, 72.0), preset: str = "base", visits: str = "both",
                 auxiliary: bool = True, dropout: float = 0.1) -> None:
        sizes_of(preset)
        super().__init__(spacing_mm=spacing_mm, crop_mm=crop_mm, visits=visits)
        require("einops", "The network 'vit'", "pip install 'mrdeltanet[cohort]'")      # MONAI's attention blocks load it without asking
        hidden, blocks, heads = SIZES[preset]
        self.network = ViT(self.channels, self.voxels, STRIDES[1], hidden_size=hidden, mlp_dim=(4 if preset == "base" else 2) * hidden,
                           num_layers=blocks, num_heads=heads, dropout_rate=dropout)
        for block in self.network.blocks:                  # MONAI builds the norm of a cross-attention that is not there: a weight
            block.norm_cross_attn = nn.Identity()          # without gradient, over which distributed training would stop
        self.stages = (("patches", ("network.patch_embedding.",)), *((f"block{k}", (f"network.blocks.{k}.",)) for k in range(blocks)))
        self.build_head(hidden, hidden, dropout, auxiliary)

    def features(self, stacked: torch.Tensor) -> Maps:
        tokens, _ = self.network(stacked)
        grid = tokens.transpose(1, 2).unflatten(2, self.geometry.tokens(1))
        return grid, grid
