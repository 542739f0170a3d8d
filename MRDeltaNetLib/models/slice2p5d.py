"""The project's network on slices: 2-D convolutions over each slice and its two neighbours, then the same comparison and head."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.blocks import Convolution
from torch import nn

from MRDeltaNetLib.models.deltanet import DeltaNet
from MRDeltaNetLib.models.encoder import Geometry, ResidualConv, SelfAttention

SLICE_STRIDES = ((1, 8, 8), (1, 16, 16))
"""Voxels (z, y, x) of a token of each scale: a token never spans two slices."""


class Slice2p5D(DeltaNet):
    """DeltaNet with tokens slice x patch: same settings, comparison, head and maps; 6 x 6 mm tokens of one slice at 0.75 mm pixels.

    Convolutions see a slice and its two neighbours; self-attention of the coarse scale runs over the patches of all slices, so that
    slices are read as a sequence. The crop may have any number of slices.
    """

    strides = SLICE_STRIDES
    token_stride = SLICE_STRIDES[0]

    def make_encoder(self, drop_path: float) -> nn.Module:
        return SliceEncoder(self.geometry, channels=self.encoder_channels, dims=self.sizes["dims"], blocks=self.sizes["blocks"], heads=self.sizes["heads"],
                            drop_path=drop_path, scales=self.scales)


class SliceEncoder(nn.Module):
    """One visit (B, channel, D, H, W) -> [(B, dims[2], D, H/8, W/8), (B, dims[3], D, H/16, W/16)].

    Channels of slice k are those of slices k-1, k, k+1 (the outermost slices are their own neighbours). Strided kernels are even, as
    in encoder.Encoder, so that a token's centre lies in the middle of its pixels. scales as there.
    """

    def __init__(self, geometry: Geometry, *, channels: int, dims: tuple[int, int, int, int], blocks: tuple[int, int, int], heads: int,
                 drop_path: float, scales: tuple[int, ...] = (0, 1)) -> None:
        super().__init__()
        self.scales = scales
        rates = iter(torch.linspace(0, drop_path, sum(blocks)).tolist())
        self.stem = nn.Sequential(_down(3 * channels, dims[0], 4, 1), _down(dims[0], dims[1], 4, 1))
        self.stage1 = nn.Sequential(*(ResidualConv(dims[1], next(rates), dimensions=2) for _ in range(blocks[0])))
        self.down2 = _down(dims[1], dims[2], 2, 0)
        self.stage2 = nn.Sequential(*(ResidualConv(dims[2], next(rates), dimensions=2) for _ in range(blocks[1])))
        if 1 in scales:
            self.down3 = _down(dims[2], dims[3], 2, 0)
        self.to(memory_format=torch.channels_last)
        if 1 in scales:
            self.position = nn.Parameter(torch.zeros(1, dims[3], *geometry.tokens(1)))
            self.stage3 = nn.Sequential(*(SelfAttention(dims[3], heads, next(rates)) for _ in range(blocks[2])))

    def forward(self, visit: torch.Tensor) -> list[torch.Tensor]:
        depth = visit.shape[2]
        slices = with_neighbours(visit).transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        fine = self.stage2(self.down2(self.stage1(self.stem(slices))))
        if 1 not in self.scales:
            return [_stacked(fine, depth)]
        coarse = _stacked(self.down3(fine), depth) + self.position
        attended = self.stage3(coarse.flatten(2).transpose(1, 2))
        both = _stacked(fine, depth), attended.transpose(1, 2).reshape(coarse.shape)
        return [both[scale] for scale in self.scales]


def with_neighbours(visit: torch.Tensor) -> torch.Tensor:
    """(B, channel, D, H, W) -> (B, 3 channel, D, H, W): each slice's lower neighbour, itself, its upper neighbour."""
    padded = F.pad(visit, (0, 0, 0, 0, 1, 1), mode="replicate")
    return torch.cat([padded[:, :, :-2], visit, padded[:, :, 2:]], 1)


def _stacked(slices: torch.Tensor, depth: int) -> torch.Tensor:
    """(B D, c, h, w) -> (B, c, D, h, w)."""
    return slices.unflatten(0, (-1, depth)).transpose(1, 2)


def _down(in_channels: int, out_channels: int, kernel: int, padding: int) -> Convolution:
    return Convolution(2, in_channels, out_channels, kernel_size=kernel, strides=2, padding=padding, bias=False, adn_ordering="NA",
                       act="RELU", norm=("group", {"num_groups": max(1, out_channels // 8)}))
