"""AdamW with rates that fall towards the input, linear warm-up, then a cosine."""

from __future__ import annotations

import math
from typing import Any, Callable

import torch
from torch import nn

from MRDeltaNetLib.config import TrainingConfig
from MRDeltaNetLib.models.layers import layers, no_decay

LAST_RATE = 1e-6
"""Where the cosine ends."""

LONGEST_WARM_UP = 0.2
"""Share of a training that warm-up may take, whatever warmup_epochs says: a training of five epochs would be nothing else."""


def parameter_groups(network: nn.Module, config: TrainingConfig) -> list[dict[str, Any]]:
    """AdamW's groups, stage by stage from input to head: lr = learning_rate * layer_decay^(stages above), weight_decay 0 for norms,
    biases, positions, latents and scales. Parameters that are not trained (requires_grad False) are left out."""
    found = layers(network)
    deepest = max(depth for _, _, depth in found)
    groups = []
    for stage, members, depth in found:
        rate = config.learning_rate * config.layer_decay ** (deepest - depth)
        for plain in (False, True):
            chosen = [parameter for name, parameter in members if no_decay(name, parameter) == plain and parameter.requires_grad]
            if chosen:
                groups.append({"params": chosen, "lr": rate, "weight_decay": 0.0 if plain else config.weight_decay, "name": stage})
    return groups


def rate_factor(rate: float, steps: int, warm_up: int) -> Callable[[int], float]:
    """Step (from 0) -> share of the top rate: (step + 1) / warm_up, then half a cosine that ends at LAST_RATE."""
    floor = min(LAST_RATE / rate, 1.0) if rate else 0.0

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        done = min(1.0, (step - warm_up) / max(1, steps - warm_up - 1))
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))

    return factor


def optimisers(network: nn.Module, config: TrainingConfig, steps_per_epoch: int, epochs: int) -> dict[str, Any]:
    """What LightningModule.configure_optimizers returns."""
    groups = parameter_groups(network, config)
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.999))
    warm_up = int(min(config.warmup_epochs, LONGEST_WARM_UP * epochs) * steps_per_epoch)
    factors = [rate_factor(group["lr"], steps_per_epoch * epochs, warm_up) for group in groups]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factors)
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
