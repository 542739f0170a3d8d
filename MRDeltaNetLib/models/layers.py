"""Which weights of a network belong to which stage, for learning rates that fall towards the input, and which are not decayed."""

from __future__ import annotations

from torch import nn

_NOT_DECAYED = {"position", "position_embeddings", "cls_token", "latents", "time", "mixture", "log_scale"}
"""Last part of the names of positions, latents, time embeddings and scales."""


def layers(network: nn.Module) -> list[tuple[str, list[tuple[str, nn.Parameter]], int]]:
    """The network's parameters in stages from input to head, each parameter exactly once.

    returns  (stage, [(parameter name as in named_parameters(), parameter), ...], depth): depth 0 is the input side, the last entry
             (comparison, pooling, head and what only training uses) the deepest. Layer-wise rates (BEiT, arXiv:2106.08254) give a stage
             learning_rate * decay ** (deepest - depth). Stages without parameters are left out; depths stay.
    A network names its stages itself: network.stages = ((stage, (prefixes of parameter names)), ...) from the input on;
    what has none of the prefixes is the head.
    """
    names = [name for name, _ in network.stages] + ["head"]
    members: list[list[tuple[str, nn.Parameter]]] = [[] for _ in names]
    for name, parameter in network.named_parameters():
        members[_depth(name, network.stages)].append((name, parameter))
    return [(names[depth], found, depth) for depth, found in enumerate(members) if found]


def no_decay(name: str, parameter: nn.Parameter) -> bool:
    """True for weights that weight decay would only harm: norms and biases (one axis), positions, latents, times, scales."""
    return parameter.ndim <= 1 or name.rsplit(".", 1)[-1] in _NOT_DECAYED


def _depth(name: str, stages: tuple[tuple[str, tuple[str, ...]], ...]) -> int:
    for depth, (_, prefixes) in enumerate(stages):
        if name.startswith(prefixes):
            return depth
    return len(stages)
