"""How often a case is changed: the dynamic rule, by class and epoch."""

from __future__ import annotations

import torch

from MRDeltaNetLib.config import AugmentationConfig


def ramp(epoch: float, over: int) -> float:
    """0 in epoch 0, rising linearly to 1 in epoch number `over`; 1 throughout if over is 0."""
    return 1.0 if over <= 0 else min(1.0, epoch / over)


def probabilities(outcome: torch.Tensor, counts: tuple[int, int], epoch: int, config: AugmentationConfig) -> torch.Tensor:
    """The dynamic rule: chance (B,) that each case is changed, by its class and the epoch (from 0).

    outcome  (B,) in {0, 1}
    counts   training cases of both classes; with equal counts both are treated as the minority
    """
    rate = [config.probability_minority if own <= other else config.probability_majority for own, other in (counts, counts[::-1])]
    return torch.where(outcome > 0.5, rate[1], rate[0]) * ramp(epoch, config.ramp_epochs)
