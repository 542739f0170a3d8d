"""The moving average of the weights that is validated and kept."""

from __future__ import annotations

import copy

import torch
from torch import nn


def decay_at(step: int, decay: float) -> float:
    """min(decay, (1 + step) / (10 + step)): the usual warm-up of a moving average, without which a training of a few hundred
    steps would end with an average that is still half of random weights (0.999^700 = 0.5)."""
    return min(decay, (1 + step) / (10 + step))


class ExponentialAverage(nn.Module):
    """average <- d average + (1 - d) weights after every step, d = decay_at(step, decay); floating-point buffers (running statistics)
    too, other buffers (counters) are copied.

    torch's AveragedModel would wait for the accelerator at every step to read its own counter, and keeps no warm-up of the decay.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.network = copy.deepcopy(network).requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after optimiser step number `step` (from 0)."""
        averaged, current = [], []
        for old, new in zip(self.network.state_dict().values(), network.state_dict().values()):
            if old.is_floating_point():
                averaged.append(old)
                current.append(new.detach())
            else:
                old.copy_(new)
        torch._foreach_lerp_(averaged, current, 1 - decay_at(step, self.decay))
