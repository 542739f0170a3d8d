"""What all networks for two visits share: one encoder for both, the ROI at every scale, the auxiliary loss, the maps."""

from __future__ import annotations

from typing import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from MRDeltaNetLib.models.comparison import Frames, in_plane_offset_mm
from MRDeltaNetLib.models.encoder import STRIDES, Encoder, Geometry
from MRDeltaNetLib.models.losses import IntensityDecoding

PRESETS = {
    "tiny": {"dims": (16, 32, 64, 128), "blocks": (1, 2, 2), "heads": 4, "latents": (32, 16), "hidden": 64, "drop_path": 0.0},
    "small": {"dims": (24, 48, 96, 192), "blocks": (2, 2, 3), "heads": 4, "latents": (48, 24), "hidden": 96, "drop_path": 0.1},
    "base": {"dims": (32, 64, 128, 256), "blocks": (2, 2, 4), "heads": 8, "latents": (64, 32), "hidden": 128, "drop_path": 0.2},
}
"""Sizes for fewer than 200, 200 to 600, and more than 600 training cases."""


class PairNetwork(nn.Module):
    """Base of the networks.

    Input (B, timepoint 2, channel 2, D, H, W), float32: timepoints pre, post; channels normalised T2, soft ROI in [0, 1].
    The encoder runs once per visit (not once on a stack of both) as soon as gradients are wanted or a hook sits on it, so that
    an attribution sees each visit by itself. Otherwise both visits go through together: the same numbers, and a batch of one
    case becomes a batch of two, without which torch takes a slow convolution for it on the CPU (measured: 5 times slower).
    """

    sees_image_content = True
    """Whether the maps depend on the images; False would mean that they show position and ROI alone."""

    token_stride = STRIDES[0]
    """Voxels (z, y, x) of the input that one token of the maps spans."""

    map_formulas: Mapping[str, str] = {}
    """Map name -> formula, where it is not that of the alignment networks (response.explanation.FORMULAS)."""

    map_note: str | None = None
    """What has to be said of the maps' resolution, where it is not that of two scales."""

    stages = tuple((name, tuple(f"encoder.{part}." for part in parts)) for name, parts in (
        ("stem", ("stem",)), ("stage1", ("stage1",)), ("stage2", ("down2", "stage2")))) + (
        ("stage3", ("encoder.down3.", "encoder.position", "encoder.stage3.")),)
    """For layers.layers: (stage, prefixes of its parameters' names) from the input on; the rest is the head."""

    def __init__(self, *, spacing_mm: tuple[float, float, float], crop_mm: tuple[float, float, float], preset: str,
                 auxiliary: bool) -> None:
        super().__init__()
        if preset not in PRESETS:
            raise ValueError(f"preset={preset!r}: choose one of {', '.join(PRESETS)}")
        self.sizes = PRESETS[preset]
        self.geometry = Geometry(tuple(spacing_mm), tuple(crop_mm))
        self.dims = self.sizes["dims"][2:]
        self.encoder = Encoder(self.geometry, channels=2, dims=self.sizes["dims"], blocks=self.sizes["blocks"],
                               heads=self.sizes["heads"], drop_path=self.sizes["drop_path"])
        self.decoding = IntensityDecoding(self.dims, STRIDES) if auxiliary else None
        self.to(memory_format=torch.channels_last_3d)

    @property
    def token_size_mm(self) -> tuple[float, float, float]:
        """Size (z, y, x) of one token of the maps, mm."""
        return self.geometry.token_mm(0)

    def encode(self, x: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Features of the pre and of the post visit, one (B, dim, d, h, w) a scale each."""
        if tuple(x.shape[1:]) != (2, 2, *self.geometry.voxels):
            raise ValueError(f"this network takes (B, 2, 2, {', '.join(map(str, self.geometry.voxels))}), not {tuple(x.shape)}")
        visits = x.transpose(0, 1).flatten(0, 1).contiguous(memory_format=torch.channels_last_3d)
        if torch.is_grad_enabled() or _hooked(self.encoder):
            return self.encoder(visits[:len(x)]), self.encoder(visits[len(x):])
        both = self.encoder(visits)
        return [features[:len(x)] for features in both], [features[len(x):] for features in both]

    def frames(self, x: torch.Tensor) -> list[Frames]:
        """ROI and offset of each scale; a token's ROI is the mean over its voxels."""
        roi = x[:, :, 1]
        offset, valid = in_plane_offset_mm(roi[:, 0], roi[:, 1], self.geometry.spacing_mm[1::-1])
        pooled = [F.avg_pool3d(roi, stride, stride).flatten(2) for stride in STRIDES]
        return [Frames(r[:, 0], r[:, 1], offset, valid) for r in pooled]

    def auxiliary(self, x: torch.Tensor, tokens: list[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """{"intensity_decoding": loss}, mean over both visits, during training; empty otherwise."""
        if self.decoding is None or not self.training:
            return {}
        return {"intensity_decoding": sum(self.decoding([pair[time] for pair in tokens], x[:, time]) for time in (0, 1)) / 2}

    def on_map_grid(self, shares: list[torch.Tensor]) -> torch.Tensor:
        """Mean over scales of shares (B, N_s) on the finest token grid, (B, d, h, w).

        A coarser token's share is divided equally among the fine tokens it covers, so that the total stays 1.
        """
        fine = self.geometry.tokens(0)
        total = 0
        for scale, share in enumerate(shares):
            grid = self.geometry.tokens(scale)
            factor = [f // g for f, g in zip(fine, grid)]
            spread = F.interpolate(share.unflatten(1, grid)[:, None], scale_factor=factor, mode="nearest")[:, 0]
            total = total + spread / (factor[0] * factor[1] * factor[2])
        return total / len(shares)


def _hooked(module: nn.Module) -> bool:
    """Whether anybody watches this module or a part of it."""
    return any(part._forward_hooks or part._forward_pre_hooks or part._backward_hooks for part in module.modules())
