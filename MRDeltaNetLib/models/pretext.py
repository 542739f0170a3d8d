"""Two tasks that need no outcomes, to start a network from: which visit came first, and what was hidden inside the tumour bed.

Temporal order after BSTNet's idea; masked reconstruction inside the ROI. Works on every network of the registry that sees both visits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from MRDeltaNetLib.models.activation import ActivationHead
from MRDeltaNetLib.models.head import Head
from MRDeltaNetLib.models.losses import IntensityDecoding
from MRDeltaNetLib.models.pair import PairNetwork

HIDDEN_VALUE = 0.0
"""What hidden voxels show: the mean of the body outside the tumour, which is 0 after normalisation."""


@dataclass(frozen=True)
class Pretext:
    """One batch of both tasks.

    order           cross-entropy (natural logarithm) of telling the true order of the visits from the swapped one; log 2 by chance
    reconstruction  mean squared error of the decoded intensities of hidden tokens, z-score units squared; 0 where none was hidden
    right           share of cases whose order was told rightly
    """

    order: torch.Tensor
    reconstruction: torch.Tensor
    right: torch.Tensor


def pretext(network: nn.Module, x: torch.Tensor, masked_share: float, generator: torch.Generator) -> Pretext:
    """Run a network in training mode on a batch whose visits are swapped at random and whose tumour beds are hidden in part.

    network       of the registry, built with auxiliary=True (its intensity decoding reconstructs); its logit learns the order
    x             (B, 2, 2, D, H, W) crops, with or without outcome; not changed
    masked_share  of the finest tokens inside each visit's ROI (as the network knows it) whose T2 is hidden; 0: order only
    generator     on the CPU; the same one gives the same swaps and the same hidden tokens
    raises        ValueError for a network that sees one visit only or that has nothing to reconstruct with, or in evaluation mode
    """
    if not network.training:
        raise ValueError("the pretext tasks train a network: put it into training mode")
    decoders = [module for module in network.modules() if isinstance(module, IntensityDecoding)]
    if masked_share > 0 and not decoders:
        raise ValueError("reconstruction needs a network that was built with auxiliary=True")
    if not all(getattr(part, "compares_visits", True) for part in network.modules()):
        raise ValueError("temporal order needs a network that sees both visits")
    swapped, in_order = swap_visits(x, generator)
    if not masked_share > 0:
        return _told(network(swapped).logit, in_order, swapped.new_zeros(()))
    goal = _shown(network, swapped)
    covered, hidden = hide(torch.stack([swapped[:, :, 0], goal[:, :, 1]], 2), masked_share, decoders[0].strides[0], generator)
    seen: list[tuple[IntensityDecoding, torch.Tensor]] = []
    handles = [decoder.register_forward_hook(lambda module, inputs, _: seen.append((module, inputs[0][0]))) for decoder in decoders]
    try:
        logit = network(covered).logit
    finally:
        for handle in handles:
            handle.remove()
    # Each network (each member of an ensemble) decodes its pre visit first, then its post visit.
    errors = [decoder.errors(0, tokens, goal[:, call % 2]).mean(-1) for call, (decoder, tokens) in enumerate(seen)]
    weights = [hidden[:, call % 2].to(error.dtype) for call, error in enumerate(errors)]
    count = sum(weight.sum() for weight in weights)
    reconstruction = sum((error * weight).sum() for error, weight in zip(errors, weights)) / count.clamp(min=1)
    return _told(logit, in_order, reconstruction)


def swap_visits(x: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole visits, image with ROI, change places in about half of the cases; (x', 1.0 where the order is still the true one (B,))."""
    in_order = torch.rand(len(x), generator=generator).to(x.device) < 0.5
    keep = in_order.view(-1, *[1] * (x.ndim - 1))
    return torch.where(keep, x, x.flip(1)), in_order.to(x.dtype)


def hide(x: torch.Tensor, share: float, stride: tuple[int, int, int], generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Hide the T2 of some tokens inside each visit's own ROI.

    x        (B, 2, 2, D, H, W); stride: voxels (z, y, x) of a token; a token is inside if any of its voxels is
    returns  (x', hidden (B, 2, N) bool): T2 of hidden tokens is HIDDEN_VALUE, ROIs are as they were. Of n tokens inside, share * n are
             hidden, rounded to the nearest, at least one where there is any
    """
    inside = F.max_pool3d(x[:, :, 1], stride, stride).flatten(2) > 0
    drawn = torch.rand(inside.shape, generator=generator).to(x.device).masked_fill(~inside, 2.0)
    count = inside.sum(2, keepdim=True)
    wanted = torch.where(count > 0, (share * count).round().clamp(min=1), count)
    hidden = (drawn.argsort(2).argsort(2) < wanted) & inside
    grid = tuple(size // step for size, step in zip(x.shape[3:], stride))
    voxels = hidden.unflatten(2, grid)
    for axis, step in zip((2, 3, 4), stride):
        voxels = voxels.repeat_interleave(step, axis)
    t2 = x[:, :, 0].masked_fill(voxels, HIDDEN_VALUE)
    return torch.stack([t2, x[:, :, 1]], 2), hidden


def forget_order(network: nn.Module) -> set[str]:
    """New random weights for the last layer, which told the order of visits, before the network learns responses; their names."""
    names = set()
    for place, module in network.named_modules():
        if isinstance(module, (Head, ActivationHead)):
            module.logit.reset_parameters()
            names |= {f"{place}.logit.{name}".lstrip(".") for name in module.logit.state_dict()}
    return names


def _shown(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The crops as the network (an ensemble's first member) knows them: decoding asks for nothing else."""
    for part in network.modules():
        if isinstance(part, PairNetwork):
            return part.shown(x)
    return x


def _told(logit: torch.Tensor, in_order: torch.Tensor, reconstruction: torch.Tensor) -> Pretext:
    logit = logit.float()
    return Pretext(F.binary_cross_entropy_with_logits(logit, in_order.float()), reconstruction,
                   ((logit > 0) == (in_order > 0.5)).float().mean().detach())
