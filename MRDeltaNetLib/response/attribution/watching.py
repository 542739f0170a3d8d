"""What a network's attentions and poolings do in one pass, with gradients: for transformer relevance."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Iterator

from MRDeltaNetLib.errors import require
from MRDeltaNetLib.response.attribution.readout import INSTALL_TORCH

if TYPE_CHECKING:
    import torch


@dataclass
class Call:
    """One call of a module that was watched.

    module  it
    given   its positional arguments
    output  what it returned
    watched tensor whose gradient is wanted: weights (B, heads, queries, keys) of an attention, pooled inputs (B, k) of a pooling, the
            change (B, N, dim) of a comparison or of latents, the table (B, S, n, n) of an alignment
    slope   gradient of the answer for it, once there is one
    """

    module: Any
    given: tuple[Any, ...]
    output: Any
    watched: "torch.Tensor"
    slope: "torch.Tensor | None" = None


@dataclass
class Watch:
    """Calls in the order in which they ended, by kind: attention, pooling, comparison, latents, alignment."""

    calls: dict[str, list[Call]] = field(default_factory=lambda: {kind: [] for kind in ("attention", "pooling", "comparison", "latents", "alignment")})

    def of(self, module: Any) -> list[Call]:
        """The calls of one module."""
        return [call for calls in self.calls.values() for call in calls if call.module is module]

    def differentiate(self, answer: "torch.Tensor") -> None:
        """Fill in the slopes: the gradient of the answer for everything that was watched; 0 where it does not depend on it."""
        torch = require("torch", "Explanation", INSTALL_TORCH)
        everything = [call for calls in self.calls.values() for call in calls]
        slopes = torch.autograd.grad(answer, [call.watched for call in everything], allow_unused=True)
        for call, slope in zip(everything, slopes):
            call.slope = torch.zeros_like(call.watched) if slope is None else slope


def kind_of(module: Any) -> str | None:
    """What is watched of a module; None: nothing."""
    from torch import nn

    from MRDeltaNetLib.models.comparison import Alignment, Comparison, Latents
    from MRDeltaNetLib.models.head import Pooling
    kinds = {nn.MultiheadAttention: "attention", Pooling: "pooling", Comparison: "comparison", Latents: "latents", Alignment: "alignment"}
    return next((kind for cls, kind in kinds.items() if isinstance(module, cls)), None)


@contextmanager
def watched(network: "torch.nn.Module") -> Iterator[Watch]:
    """Watch every attention and pooling of a network while it runs; the network is as before afterwards.

    torch's attention gives its weights away only without gradient, so that each is computed anew, the same formula written out.
    """
    seen, hooks = Watch(), []
    for module in network.modules():
        if (kind := kind_of(module)) is not None:
            hooks.append(module.register_forward_hook(_recorder(seen, kind), with_kwargs=True))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _recorder(seen: Watch, kind: str):
    def record(module: Any, given: tuple, named: dict, output: Any) -> Any:
        if kind == "attention":
            output, weights = attended(module, *given, mask=named.get("attn_mask"), wants_weights=named.get("need_weights", True))
            seen.calls[kind].append(Call(module, given, output, weights))
            return output
        watch = {"pooling": lambda: output[0], "comparison": lambda: output.change, "latents": lambda: output[0], "alignment": lambda: output}[kind]()
        seen.calls[kind].append(Call(module, given, output, watch))
        return None

    return record


def attended(module: "torch.nn.MultiheadAttention", query: "torch.Tensor", key: "torch.Tensor", value: "torch.Tensor", *, mask: "torch.Tensor | None" = None,
             wants_weights: bool = True) -> tuple[tuple["torch.Tensor", "torch.Tensor | None"], "torch.Tensor"]:
    """torch.nn.MultiheadAttention (batch first, in evaluation) written out: its own answer, and the weights (B, heads, queries, keys) that made it."""
    functional = require("torch.nn.functional", "Explanation", INSTALL_TORCH)
    matrices = module.in_proj_weight.chunk(3)
    offsets = (None,) * 3 if module.in_proj_bias is None else module.in_proj_bias.chunk(3)
    q, k, v = (functional.linear(tokens, matrix, offset).unflatten(-1, (module.num_heads, -1)).transpose(1, 2)
               for tokens, matrix, offset in zip((query, key, value), matrices, offsets))
    score = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if mask is not None:
        score = score + mask.reshape(len(score), module.num_heads, *mask.shape[-2:])
    weights = score.softmax(-1)
    output = module.out_proj((weights @ v).transpose(1, 2).flatten(2))
    return (output, weights.mean(1) if wants_weights else None), weights
