"""The encoder that both visits share: voxels to tokens of 6 mm and 12 mm (at 0.75 x 0.75 x 3 mm voxels)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from monai.networks.blocks import Convolution, MLPBlock
from monai.networks.layers import DropPath
from torch import nn

Stride = tuple[int, int, int]

STRIDES: tuple[Stride, ...] = ((2, 8, 8), (4, 16, 16))
"""Voxels (z, y, x) a token of each scale spans, finest scale first."""


@dataclass(frozen=True)
class Geometry:
    """The crop that a network is made for.

    spacing_mm  voxel size (x, y, z), mm
    crop_mm     size of the crop (x, y, z), mm
    strides     voxels (z, y, x) that a token of each scale spans, finest scale first
    """

    spacing_mm: tuple[float, float, float]
    crop_mm: tuple[float, float, float]
    strides: tuple[Stride, ...] = STRIDES

    @property
    def voxels(self) -> tuple[int, int, int]:
        """Voxels of the crop (z, y, x). Raises ValueError unless they are whole tokens of the coarsest scale."""
        count = tuple(round(size / step) for size, step in zip(self.crop_mm[::-1], self.spacing_mm[::-1]))
        if any(n < stride or n % stride for n, stride in zip(count, self.strides[-1])):
            raise ValueError(f"a crop of {count} voxels (z, y, x) is not made of whole blocks of {self.strides[-1]} voxels")
        return count

    def tokens(self, scale: int) -> tuple[int, int, int]:
        """Tokens (z, y, x) of a scale."""
        return tuple(n // stride for n, stride in zip(self.voxels, self.strides[scale]))

    def token_mm(self, scale: int) -> tuple[float, float, float]:
        """Size (z, y, x) of a token of a scale, mm."""
        return tuple(stride * step for stride, step in zip(self.strides[scale], self.spacing_mm[::-1]))


class ResidualConv(nn.Module):
    """Two dense convolutions of kernel 3 with a residual path, in 3-D or (dimensions=2) in 2-D. Group normalisation does not depend on
    the other cases of a batch; ReLU is a module (not a function call) so that guided back-propagation can hook it."""

    def __init__(self, channels: int, drop_path: float = 0.0, dimensions: int = 3) -> None:
        super().__init__()
        norm = ("group", {"num_groups": max(1, channels // 8)})
        self.first = Convolution(dimensions, channels, channels, adn_ordering="NA", act="RELU", norm=norm, bias=False)
        self.second = Convolution(dimensions, channels, channels, adn_ordering="N", norm=norm, bias=False)
        self.drop_path = DropPath(drop_path)
        self.act = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(x + self.drop_path(self.second(self.first(x))))


class SelfAttention(nn.Module):
    """Pre-norm global self-attention and MLP with stochastic depth on (B, N, dim) tokens."""

    def __init__(self, dim: int, heads: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm_attention, self.norm_mlp = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.mlp = MLPBlock(dim, 2 * dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm_attention(x)
        x = x + self.drop_path(self.attention(y, y, y, need_weights=False)[0])
        return x + self.drop_path(self.mlp(self.norm_mlp(x)))


def _down(in_channels: int, out_channels: int, kernel: tuple[int, int, int], stride: tuple[int, int, int],
          padding: tuple[int, int, int]) -> Convolution:
    return Convolution(3, in_channels, out_channels, kernel_size=kernel, strides=stride, padding=padding, bias=False,
                       adn_ordering="NA", act="RELU", norm=("group", {"num_groups": max(1, out_channels // 8)}))


class Encoder(nn.Module):
    """One visit (B, channel, D, H, W) -> [(B, dims[2], D/2, H/8, W/8), (B, dims[3], D/4, H/16, W/16)].

    Every strided kernel is even in the strided axes, so a token's centre lies in the middle of the voxels it stands for;
    odd kernels with stride 2 would move it by up to half a token towards the origin (2.6 mm at 6 mm tokens).

    scales  which of the two are given, 0 fine, 1 coarse; without the coarse one its stage is not built
    """

    def __init__(self, geometry: Geometry, *, channels: int, dims: tuple[int, int, int, int],
                 blocks: tuple[int, int, int], heads: int, drop_path: float, scales: tuple[int, ...] = (0, 1)) -> None:
        super().__init__()
        self.scales = scales
        rates = iter(torch.linspace(0, drop_path, sum(blocks)).tolist())
        self.stem = nn.Sequential(_down(channels, dims[0], (1, 4, 4), (1, 2, 2), (0, 1, 1)),
                                  _down(dims[0], dims[1], (3, 4, 4), (1, 2, 2), (1, 1, 1)))
        self.stage1 = nn.Sequential(*(ResidualConv(dims[1], next(rates)) for _ in range(blocks[0])))
        self.down2 = _down(dims[1], dims[2], (2, 2, 2), (2, 2, 2), (0, 0, 0))
        self.stage2 = nn.Sequential(*(ResidualConv(dims[2], next(rates)) for _ in range(blocks[1])))
        if 1 in scales:
            self.down3 = _down(dims[2], dims[3], (2, 2, 2), (2, 2, 2), (0, 0, 0))
            self.position = nn.Parameter(torch.zeros(1, dims[3], *geometry.tokens(1)))
            self.stage3 = nn.Sequential(*(SelfAttention(dims[3], heads, next(rates)) for _ in range(blocks[2])))
        self.to(memory_format=torch.channels_last_3d)

    def forward(self, visit: torch.Tensor) -> list[torch.Tensor]:
        fine = self.stage2(self.down2(self.stage1(self.stem(visit))))
        if 1 not in self.scales:
            return [fine]
        coarse = self.down3(fine) + self.position
        attended = self.stage3(coarse.flatten(2).transpose(1, 2))
        both = fine, attended.transpose(1, 2).reshape(coarse.shape)
        return [both[scale] for scale in self.scales]
