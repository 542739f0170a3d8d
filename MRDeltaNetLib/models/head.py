"""From token changes to one logit: pooling gated by the post ROI, one LayerNorm, one hidden layer."""

from __future__ import annotations

import torch
from torch import nn

_OUTSIDE = 8.0
_NO_ROI = 1e-6


class RoiPooling(nn.Module):
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

    def forward(self, delta: torch.Tensor, roi: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """pooled (B, 3 dim), shares (B, N) without gradient, summing to 1."""
        score = (torch.tanh(self.tanh(delta)) * torch.sigmoid(self.sigmoid(delta))) @ self.score
        alpha = (score + torch.log(roi + _NO_ROI)).softmax(1)
        mean = (alpha[:, None] @ delta)[:, 0]
        top = roi.amax(1, keepdim=True)
        gate = torch.where(top > 0, 2 * (roi / top.clamp(min=_NO_ROI)).clamp(max=0.5), torch.ones_like(roi))
        penalty = _OUTSIDE * (1 - gate)[..., None]
        high, where_high = (delta - penalty).max(1)
        low, where_low = (-delta - penalty).max(1)
        with torch.no_grad():
            one = torch.ones_like(where_high, dtype=roi.dtype)
            hits = torch.zeros_like(roi).scatter_add(1, where_high, one).scatter_add(1, where_low, one)
            shares = (alpha * mean.shape[1] + hits) / (3 * mean.shape[1])
        return torch.cat([mean, high, low], 1), shares


class Head(nn.Module):
    """Pooled inputs (B, inputs) -> logit (B,), embedding (B, hidden): LayerNorm, linear, ReLU, dropout, linear."""

    def __init__(self, inputs: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.hidden = nn.LayerNorm(inputs), nn.Linear(inputs, hidden)
        self.act, self.dropout, self.logit = nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 1)

    def forward(self, pooled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        embedding = self.act(self.hidden(self.norm(pooled)))
        return self.logit(self.dropout(embedding))[:, 0], embedding
