"""Pretraining without outcomes, and starting from what it learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from MRDeltaNetLib.cohort.augmentation import augment, ramp
from MRDeltaNetLib.cohort.training.data import Batches, Crops
from MRDeltaNetLib.cohort.training.fitting import Fitted, run
from MRDeltaNetLib.cohort.training.module import Training
from MRDeltaNetLib.cohort.training.stopping import Monitor, uninformed
from MRDeltaNetLib.config import START_PARTS, PretrainingConfig, TrainingConfig
from MRDeltaNetLib.errors import InputError, UsageError, require
from MRDeltaNetLib.models.pretext import forget_order, pretext, swap_visits
from MRDeltaNetLib.progress import Progress, silent

HELD_OUT = 0.1
"""Share of the pairs on which it is seen whether order was learned, and by which the epoch is chosen."""


class Pretraining(Training):
    """Loss = order + reconstruction_weight * reconstruction; the held-out pairs' order loss is the monitor."""

    def __init__(self, network: nn.Module, config: TrainingConfig, pretraining: PretrainingConfig, batches: Batches, identity: str) -> None:
        monitor = Monitor(config.smoothing, config.patience, uninformed("nll", 0.5))
        super().__init__(network, config, pretraining.epochs, batches, identity, monitor)
        self.pretraining = pretraining

    def terms(self, crops: torch.Tensor, outcome: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        augmentation = self.config.augmentation
        chance = torch.full((len(crops),), augmentation.probability_minority * ramp(self.epoch, augmentation.ramp_epochs))
        with torch.autocast(self.device.type, enabled=False):
            crops = augment(crops, self.network.geometry.spacing_mm, augmentation, generator, chance, self.epoch)
        own = torch.Generator().manual_seed(generator.initial_seed() ^ 1)               # the tasks draw on the CPU
        found = pretext(self.network, crops, self.pretraining.masked_share, own)
        return {"order": found.order, "reconstruction": self.pretraining.reconstruction_weight * found.reconstruction}

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> None:
        swapped, in_order = swap_visits(batch[0], torch.Generator().manual_seed(index))   # the same swaps in every epoch
        self._validated.append((self.validated(swapped).logit.float(), in_order))

    def judge(self, validated: list[tuple[torch.Tensor, ...]]) -> dict[str, Any]:
        logit, in_order = (torch.cat(parts) for parts in zip(*validated))
        loss = float(F.binary_cross_entropy_with_logits(logit, in_order.float()))
        right = float(((logit > 0) == (in_order > 0.5)).float().mean())
        return {"value": -loss, "validation_loss": loss, "validation_right": right}


def pretrain(network: nn.Module, crops: Crops, config: PretrainingConfig = PretrainingConfig(), training: TrainingConfig = TrainingConfig(), *,
             folder: Path | None = None, accelerator: str = "cpu", devices: int = 1, progress: Progress = silent) -> Fitted:
    """Train a network to tell the order of visits and to decode what was hidden in the ROI; outcomes are not looked at.

    crops     of training cases, labelled or not; a tenth of them (by training.seed) is held out
    training  gives batch, rates, averaging, augmentation, patience and seed
    folder and the rest as in fit(); weights.safetensors there is what start_from() takes
    raises    as fit(); UsageError MRD-E771 for a network that cannot do these tasks, and for fewer than two pairs
    """
    if len(crops) < 2:
        raise UsageError("Pretraining needs at least two pairs", code="MRD-E771", found=f"{len(crops)}", fix="add pairs; they need no outcome")
    _require_able(network, config)
    order = np.random.default_rng([training.seed, len(crops)]).permutation(len(crops))
    aside = max(1, round(HELD_OUT * len(crops)))
    return run(network, _part(crops, order[aside:]), _part(crops, order[:aside]), replace(training, epochs=config.epochs), config, folder,
               accelerator, devices, progress)


def start_from(network: nn.Module, weights: Path, parts: str = "all") -> int:
    """Load pretrained weights into a network; its last layer, which told the order of visits, gets new ones.

    parts    "all": the network is of the same name and settings, and names and shapes of all weights must agree; "stages": only those of the
             stages below the head must (models.layers), for a network that compares the visits in another way: of comparison and head it
             takes what fits, and the rest begins at random
    returns  how many weights were taken over, the last layer's not counted
    raises   InputError MRD-E766 if they do not agree, hold values that are not numbers, or if the file cannot be read; the network is as it was
    """
    if parts not in START_PARTS:
        raise ValueError(f"no such parts: {parts}")
    files = require("safetensors.torch", "Reading a model", "pip install safetensors")
    try:
        found = files.load_file(weights)
    except Exception as cause:                            # safetensors raises its own and several built-in types
        raise InputError("The weights to start from cannot be read", code="MRD-E766", found=type(cause).__name__,
                         fix="name the weights.safetensors that `mrdeltanet pretrain` wrote as 'start'") from cause
    own = network.state_dict()
    stages = tuple(prefix for _, prefixes in network.stages for prefix in prefixes)
    needed = {name for name in own if parts == "all" or name.startswith(stages)}
    missing = sorted(needed - found.keys())
    foreign = sorted(found.keys() - own.keys()) if parts == "all" else []
    reshaped = sorted(name for name in needed & found.keys() if own[name].shape != found[name].shape)
    if missing or foreign or reshaped:
        lists = (("missing", missing), ("not of this network", foreign), ("of another shape", reshaped))
        same = "model settings and crop" if parts == "all" else "encoder and crop"
        raise InputError("The weights to start from are not of this network", code="MRD-E766",
                         found="; ".join(f"{len(names)} {word} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
                                         for word, names in lists if names),
                         fix=f"pretrain with the same {same}" + (", or write start_parts = \"stages\" where only the comparison differs" * (parts == "all")))
    taken = {name: value for name, value in found.items() if name in own and own[name].shape == value.shape}
    if not all(torch.isfinite(value).all() for value in taken.values()):
        raise InputError("The weights to start from hold values that are not numbers", code="MRD-E766", fix="pretrain again")
    network.load_state_dict(taken, strict=parts == "all")
    forgotten = forget_order(network)
    return len(taken.keys() - forgotten)


def _require_able(network: nn.Module, config: PretrainingConfig) -> None:
    was = network.training
    try:
        with torch.random.fork_rng(), torch.no_grad():
            pretext(network.train(), torch.zeros(2, 2, 2, *network.geometry.voxels), config.masked_share, torch.Generator())
    except ValueError as cause:
        raise UsageError("This network cannot be pretrained", code="MRD-E771", found=str(cause),
                         fix="choose a network that sees both visits, with auxiliary = true") from cause
    finally:
        network.train(was)


def _part(crops: Crops, members: np.ndarray) -> Crops:
    return Crops([crops.crops[k] for k in members], crops.outcomes[members], [crops.keys[k] for k in members] if crops.keys else ())
