"""What every network of this package returns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Mapping

import torch

from MRDeltaNetLib.models.comparison import TokenShares


@dataclass(frozen=True)
class NetworkOutput:
    """One batch of B cases on the network's token grid (d, h, w).

    logit           (B,) before the logistic function; larger means closer to pCR
    attention_post  (B, d, h, w) share of the score's pooled inputs that each post token supplies; sums to 1 per case
    attention_pre   (B, d, h, w) the same shares carried to the pre tokens that the post tokens were compared with; sums to 1
    change_post     (B, d, h, w) length of the aligned change vector of each post token, network units, >= 0
    embedding       (B, k) the hidden vector from which the logit is read
    auxiliary       name -> scalar training loss ("intensity_decoding", "gate_budget"); empty in evaluation mode
    anatomy         (B, 2, k) unit-length projection of the pre and of the post visit for losses.identity_contrast; None in evaluation
                    mode, and where a network has no such projection or no features of each visit alone
    shares          which pre tokens each post token of this grid is compared with (comparison.TokenShares), made when asked for; None in training
                    and of networks that compare no tokens
    member_logits   (B, M) the members' logits of an ensemble; None of a single network

    A network that sees one visit only gives every token of the other one the same share.
    """

    logit: torch.Tensor
    attention_post: torch.Tensor
    attention_pre: torch.Tensor
    change_post: torch.Tensor
    embedding: torch.Tensor
    auxiliary: Mapping[str, torch.Tensor] = field(default_factory=dict)
    anatomy: torch.Tensor | None = None
    member_logits: torch.Tensor | None = None
    shares: TokenShares | None = None

    def cpu(self) -> "NetworkOutput":
        """The same output, detached, float32, on the CPU, without shares and what only training uses."""
        moved = {name: getattr(self, name).detach().float().cpu()
                 for name in ("logit", "attention_post", "attention_pre", "change_post", "embedding", "member_logits")
                 if getattr(self, name) is not None}
        return replace(self, **moved, auxiliary={}, anatomy=None, shares=None)
