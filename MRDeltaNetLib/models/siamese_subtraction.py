"""A Siamese 3-D U-Net-style encoder whose features are subtracted at three levels: the idea of 3D RP-Net, written anew."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.blocks import Convolution
from torch import nn

from MRDeltaNetLib.models.activation import FORMULA, ActivationHead, on_tokens, shares_of
from MRDeltaNetLib.models.comparison import TokenShares, same_place
from MRDeltaNetLib.models.encoder import STRIDES
from MRDeltaNetLib.models.output import NetworkOutput
from MRDeltaNetLib.models.pair import PairNetwork

LEVEL_STRIDES = ((1, 4, 4), *STRIDES)
"""Voxels (z, y, x) from place to place of the three levels that are subtracted."""

_COMPARED = 32


class SiameseSubtraction(PairNetwork):
    """One encoder for both visits (five levels, residual context blocks with dropout); features of its three deepest levels are
    subtracted, post minus pre, each passes a 3x3x3 convolution to 32 channels without bias and ReLU, is averaged over the crop,
    and one dense unit reads the 96 averages. After Jin et al. 2021 (Nat Commun 12:1851); idea only, no segmentation branch.

    Differences from theirs: strides of 2 in plane only at the first two levels (their crops had 16 slices of 64 x 64 voxels), group in
    place of instance normalisation, ReLU in place of leaky ReLU, both masks as a second channel, and auxiliary decoding at the
    two deepest levels as for every network here. Two equal visits give the head's bias, whatever they show.

    attention_post and attention_pre are the same map, because places are compared with themselves: shares |c_i| / sum |c| of the
    class-activation map on the fine token grid. change_post is the length of the subtracted features at 6 mm.
    dropout  in the encoder's blocks (whole channels)
    """

    map_formulas = {"attention_post": FORMULA.format(what="three levels added up on the token grid; shown as |c_i| / max |c|"),
                    "attention_pre": "the same map as attention_post: each place is compared with itself",
                    "change_post": "c_i = |b_i - a_i|, length of the subtracted features of both visits at the level of the tokens"}
    comparison_kind = "same place"
    convolutional_stage = "encoder.levels.2"
    map_note = "three levels of 3, 6 and 12 mm in plane are added up; a coarser place is spread evenly over the tokens that it covers"
    stages = tuple((f"level{k}", (f"encoder.levels.{k}.",)) for k in range(5))

    def __init__(self, *, spacing_mm=(0.75, 0.75, 3.0), crop_mm=(96.0, 96.0, 72.0), preset: str = "base", auxiliary: bool = True,
                 dropout: float = 0.3) -> None:
        self.encoder_dropout = dropout
        super().__init__(spacing_mm=spacing_mm, crop_mm=crop_mm, preset=preset, auxiliary=auxiliary)
        self.compared = nn.ModuleList(nn.Conv3d(dim, _COMPARED, 3, padding=1, bias=False) for dim in self.sizes["dims"][1:])
        self.compared.to(memory_format=torch.channels_last_3d)
        self.act = nn.ReLU()
        self.head = ActivationHead((_COMPARED,) * 3, 0.0)

    def make_encoder(self, drop_path: float) -> nn.Module:
        return UNetEncoder(self.sizes["dims"], self.encoder_dropout)

    def forward(self, x: torch.Tensor) -> NetworkOutput:
        pre, post = self.encode(x)
        difference = [b - a for a, b in zip(pre, post)]
        logit, embedding, contributions = self.head([self.act(conv(d)) for conv, d in zip(self.compared, difference)])
        share = shares_of(sum(on_tokens(c, stride, tuple((s - 1) / 2 for s in stride), self.geometry.tokens(0), self.token_stride)
                              for c, stride in zip(contributions, LEVEL_STRIDES)))
        change = difference[1].detach().float().norm(dim=1)
        tokens = [tuple(_normalised(f) for f in pair) for pair in zip(pre[1:], post[1:])]
        return NetworkOutput(logit, share, share, change, embedding, self.auxiliary(x, tokens),
                             anatomy=self.identities(pre[1:], post[1:], self.frames(x)), shares=None if self.training else self._same_place(len(x)))

    def _same_place(self, cases: int) -> TokenShares:
        grid = self.geometry.tokens(0)
        return same_place(cases, grid[0], grid[0] * grid[1] * grid[2])


class UNetEncoder(nn.Module):
    """One visit (B, 2, D, H, W) -> features at the strides LEVEL_STRIDES, (B, dims[1..3], d, h, w).

    Levels of dims[0] / 2, dims[0], dims[1], dims[2], dims[3] channels at strides (1,1,1), (1,2,2), (1,4,4), (2,8,8), (4,16,16).
    """

    def __init__(self, dims: tuple[int, int, int, int], dropout: float) -> None:
        super().__init__()
        widths, steps = (dims[0] // 2, *dims), ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2))
        before = (2, *widths[:-1])
        self.levels = nn.ModuleList(nn.Sequential(_entry(b, w, step), ContextBlock(w, dropout)) for b, w, step in zip(before, widths, steps))
        self.to(memory_format=torch.channels_last_3d)

    def forward(self, visit: torch.Tensor) -> list[torch.Tensor]:
        found = []
        for level in self.levels:
            visit = level(visit)
            found.append(visit)
        return found[2:]


class ContextBlock(nn.Module):
    """Convolution, dropout of whole channels, convolution, with a residual path (Isensee et al. 2017, arXiv:1802.10508)."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        norm = ("group", {"num_groups": max(1, channels // 8)})
        self.first = Convolution(3, channels, channels, adn_ordering="NA", act="RELU", norm=norm, bias=False)
        self.dropout = nn.Dropout3d(dropout)
        self.second = Convolution(3, channels, channels, adn_ordering="N", norm=norm, bias=False)
        self.act = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(x + self.second(self.dropout(self.first(x))))


def _entry(in_channels: int, out_channels: int, step: tuple[int, int, int]) -> Convolution:
    """Even kernels in strided axes, so that a place lies in the middle of its voxels; 3 x 3 x 3 where nothing is strided."""
    strided = max(step) > 1
    return Convolution(3, in_channels, out_channels, kernel_size=step if strided else 3, strides=step, padding=0 if strided else 1,
                       bias=False, adn_ordering="NA", act="RELU", norm=("group", {"num_groups": max(1, out_channels // 8)}))


def _normalised(feature: torch.Tensor) -> torch.Tensor:
    """(B, dim, d, h, w) -> tokens (B, N, dim), each normalised."""
    return F.layer_norm(feature.flatten(2).transpose(1, 2), feature.shape[1:2])
