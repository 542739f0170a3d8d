"""Sanity check of Adebayo et al. 2018 (arXiv:1810.03292): weights are replaced by new ones, from the head to the stem, one stage more at a time.

A map that stays the same does not show what the network has learned.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Callable, Iterator

import torch

from MRDeltaNetLib.models.layers import layers

if TYPE_CHECKING:
    from MRDeltaNetLib.io.bundle import Bundle

Fresh = Callable[[int], torch.nn.Module]
"""Seed -> a network of the same kind that has learned nothing."""


def fresh_of(bundle: "Bundle") -> Fresh:
    """Networks as the bundle's was before its training."""
    from MRDeltaNetLib.models import registry

    def make(seed: int) -> torch.nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return registry.build(bundle.own["network"]["name"], **bundle.own["network"]["settings"])

    return make


def stages(network: torch.nn.Module) -> list[str]:
    """Names of the stages from head to stem."""
    return [stage for stage, _, _ in reversed(layers(network))]


def cascade(network: torch.nn.Module, fresh: Fresh, seed: int) -> Iterator[tuple[str, torch.nn.Module]]:
    """(stage, network) from head to stem: that stage and all above it are a fresh network's. One copy, changed on the way; network stays.

    A weight matrix that a fresh network has as a constant (zero, say, so that it says nothing at first) would make every map of it empty:
    it gets its trained values in a random order instead.
    """
    changed, new = copy.deepcopy(network).eval(), dict(fresh(seed).named_parameters())
    order = torch.Generator().manual_seed(seed)
    for stage, found, _ in reversed(layers(changed)):
        with torch.no_grad():
            for name, parameter in found:
                parameter.copy_(_without_memory(parameter, new[name], order))
        yield stage, changed


def randomised(network: torch.nn.Module, fresh: Fresh, seed: int) -> torch.nn.Module:
    """The network with every stage replaced."""
    for _, changed in cascade(network, fresh, seed):
        pass
    return changed


def _without_memory(trained: torch.Tensor, fresh: torch.Tensor, order: torch.Generator) -> torch.Tensor:
    if trained.ndim < 2 or bool((fresh != fresh.flatten()[0]).any()):
        return fresh
    return trained.detach().flatten()[torch.randperm(trained.numel(), generator=order).to(trained.device)].reshape(trained.shape)
