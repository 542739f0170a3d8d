"""Networks whose encoder is replaced by a few fixed waves of the image: milliseconds instead of seconds where the encoder is not the point."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def without_encoder(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network (or ensemble) itself; features follow the T2 image, token by token, and are the same for the same seed."""
    for member in getattr(network, "members", [network]):
        generator = torch.Generator().manual_seed(seed)
        waves = [torch.randn(2, dim, 1, 1, 1, generator=generator) for dim in member.dims]
        member.encode = _encoding(member, waves)
    return network


def _encoding(member: nn.Module, waves: list[torch.Tensor]):
    def encode(x: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        return tuple([torch.sin(40 * F.avg_pool3d(x[:, visit, :1], member.strides[scale]) * step + phase)
                      for scale, (step, phase) in zip(member.scales, waves)] for visit in (0, 1))

    return encode
