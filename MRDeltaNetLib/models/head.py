"""From token changes to one logit: pooling gated by the post ROI, one LayerNorm, one hidden layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

_OUTSIDE = 8.0
_NO_ROI = 1e-6


@dataclass(frozen=True)
class View:
    """How one part of the pooled inputs reads the tokens delta (B, N, dim).

    pooled   (B, dim), what it reads
    weights  (B, N), one weight a token for all channels; None for a maximum
    where    (B, dim), the one token that each channel reads; None for a mean
    sign     of what a maximum reads: 1 delta, -1 its negative
    """

    pooled: torch.Tensor
    weights: torch.Tensor | None = None
    where: torch.Tensor | None = None
    sign: float = 1.0


class Pooling(nn.Module):
    """Base of the poolings: the views side by side are the pooled inputs, and a token's share is its mean weight over them."""

    def views(self, delta: torch.Tensor, roi: torch.Tensor) -> list[View]:
        """delta (B, N, dim), roi (B, N) -> the views; each pooling's own."""
        raise NotImplementedError

    def forward(self, delta: torch.Tensor, roi: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """pooled (B, views * dim), shares (B, N) without gradient, summing to 1."""
        views = self.views(delta, roi)
        with torch.no_grad():
            shares = sum(_share(view, roi) for view in views) / len(views)
        return torch.cat([view.pooled for view in views], 1), shares


def _share(view: View, roi: torch.Tensor) -> torch.Tensor:
    """Mean weight of each token over the channels of a view, (B, N)."""
    if view.where is None:
        return view.weights
    one = torch.ones_like(view.where, dtype=roi.dtype)
    return torch.zeros_like(roi).scatter_add(1, view.where, one) / view.where.shape[1]


class RoiPooling(Pooling):
    """Three views of delta (B, N, dim), pooled over the post ROI r (B, N):

    mean  m = sum_i alpha_i delta_i, alpha = softmax_i(u . (tanh(V delta_i) * sigmoid(U delta_i)) + log(r_i + 1e-6))
          (gated attention pooling, Ilse et al. 2018); u starts at 0, so alpha starts as r_i / sum r, the ROI-weighted mean
    max   M+ = max_i(delta_i - 8 (1 - q_i)) and M- = max_i(-delta_i - 8 (1 - q_i)) per channel, q_i = 2 min(r_i / max r, 1/2)
    Share of token i: the mean over the 3 dim pooled inputs of its weight (alpha_i; for a max, 1 where the maximum is).
    An empty ROI gives alpha = attention over all tokens and q = 1: no gate. No weight is given to a shell around the ROI: the toy
    experiment never tested one.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = dim // 2
        self.tanh, self.sigmoid = nn.Linear(dim, hidden), nn.Linear(dim, hidden)
        self.score = nn.Parameter(torch.zeros(hidden))

    def views(self, delta: torch.Tensor, roi: torch.Tensor) -> list[View]:
        score = (torch.tanh(self.tanh(delta)) * torch.sigmoid(self.sigmoid(delta))) @ self.score
        alpha = (score + torch.log(roi + _NO_ROI)).softmax(1)
        mean = (alpha[:, None] @ delta)[:, 0]
        top = roi.amax(1, keepdim=True)
        gate = torch.where(top > 0, 2 * (roi / top.clamp(min=_NO_ROI)).clamp(max=0.5), torch.ones_like(roi))
        penalty = _OUTSIDE * (1 - gate)[..., None]
        high, where_high = (delta - penalty).max(1)
        low, where_low = (-delta - penalty).max(1)
        return [View(mean, weights=alpha), View(high, where=where_high), View(low, where=where_low, sign=-1.0)]


class GlobalAndRoi(Pooling):
    """Global mean, global maximum and ROI-weighted mean of delta; an empty ROI makes the ROI-weighted mean a global mean. No weights to learn."""

    def views(self, delta: torch.Tensor, roi: torch.Tensor) -> list[View]:
        weight = torch.where(roi.sum(1, keepdim=True) > 0, roi, torch.ones_like(roi))
        weight = weight / weight.sum(1, keepdim=True)
        high, where = delta.max(1)
        return [View(delta.mean(1), weights=torch.full_like(roi, 1 / roi.shape[1])), View(high, where=where), View((weight[:, None] @ delta)[:, 0], weights=weight)]


class Head(nn.Module):
    """Pooled inputs (B, inputs) -> logit (B,), embedding (B, hidden): LayerNorm, linear, ReLU, dropout, linear."""

    def __init__(self, inputs: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.hidden = nn.LayerNorm(inputs), nn.Linear(inputs, hidden)
        self.act, self.dropout, self.logit = nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 1)

    def forward(self, pooled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        embedding = self.act(self.hidden(self.norm(pooled)))
        return self.logit(self.dropout(embedding))[:, 0], embedding
