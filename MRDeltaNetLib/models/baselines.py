"""The models that MRDeltaNet has to beat: plain Siamese subtraction, and descriptors pooled over each scan's ROI."""

from __future__ import annotations

import torch
from torch import nn

from MRDeltaNetLib.models.comparison import Comparison
from MRDeltaNetLib.models.head import Head, RoiPooling
from MRDeltaNetLib.models.output import NetworkOutput
from MRDeltaNetLib.models.pair import PairNetwork


class Subtract(PairNetwork):
    """Plain Siamese subtraction: D = V(b - a) token by token, delta = W[D; |D|], global mean, maximum and ROI-weighted mean of
    delta at both scales. attention_post is the share of each token in these pooled inputs; attention_pre is the same map,
    because every post token is compared with the pre token of its own place."""

    def __init__(self, *, spacing_mm=(0.75, 0.75, 3.0), crop_mm=(96.0, 96.0, 72.0), preset: str = "base",
                 auxiliary: bool = True, dropout: float = 0.3) -> None:
        super().__init__(spacing_mm=spacing_mm, crop_mm=crop_mm, preset=preset, auxiliary=auxiliary)
        self.comparisons = nn.ModuleList(
            Comparison(dim, self.geometry.tokens(scale), self.geometry.token_mm(scale), compare="subtract", content=False,
                       latents=0, heads=1) for scale, dim in enumerate(self.dims))
        self.head = Head(3 * sum(self.dims), self.sizes["hidden"], dropout)

    def forward(self, x: torch.Tensor) -> NetworkOutput:
        pre, post = self.encode(x)
        frames = self.frames(x)
        compared = [compare(a, b, frame) for compare, a, b, frame in zip(self.comparisons, pre, post, frames)]
        pooled = [_global_and_roi(c.delta, frame.roi_post) for c, frame in zip(compared, frames)]
        logit, embedding = self.head(torch.cat([vector for vector, _ in pooled], 1))
        attention = self.on_map_grid([share for _, share in pooled])
        change = compared[0].change.detach().norm(dim=-1).unflatten(1, self.geometry.tokens(0))
        return NetworkOutput(logit, attention, attention, change, embedding, self.auxiliary(x, [c.tokens for c in compared]))


class RoiPooled(PairNetwork):
    """Descriptors without alignment: each visit's tokens are pooled over its own ROI (attention-weighted mean and gated maxima, see
    head.RoiPooling), giving p and q for pre and post; the head reads [q; q - p; |q - p|] of both scales. Moving a scan together
    with its mask by whole coarse tokens inside a uniform border changes nothing.

    attention_post and attention_pre are the shares of each visit's own tokens in its descriptor; change_post is
    |b_i - m|, each normalised post token against the pre descriptor's mean part m.
    """

    def __init__(self, *, spacing_mm=(0.75, 0.75, 3.0), crop_mm=(96.0, 96.0, 72.0), preset: str = "base",
                 auxiliary: bool = True, dropout: float = 0.3) -> None:
        super().__init__(spacing_mm=spacing_mm, crop_mm=crop_mm, preset=preset, auxiliary=auxiliary)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for dim in self.dims)
        self.pools = nn.ModuleList(RoiPooling(dim) for dim in self.dims)
        self.head = Head(9 * sum(self.dims), self.sizes["hidden"], dropout)

    def forward(self, x: torch.Tensor) -> NetworkOutput:
        tokens = [tuple(norm(f.flatten(2).transpose(1, 2)) for f in pair) for norm, pair in zip(self.norms, zip(*self.encode(x)))]
        frames = self.frames(x)
        pre = [pool(a, frame.roi_pre) for pool, (a, _), frame in zip(self.pools, tokens, frames)]
        post = [pool(b, frame.roi_post) for pool, (_, b), frame in zip(self.pools, tokens, frames)]
        parts = [torch.cat([q, q - p, (q - p).abs()], 1) for (p, _), (q, _) in zip(pre, post)]
        logit, embedding = self.head(torch.cat(parts, 1))
        mean = pre[0][0][:, None, :self.dims[0]]
        change = (tokens[0][1] - mean).detach().norm(dim=-1).unflatten(1, self.geometry.tokens(0))
        return NetworkOutput(logit, self.on_map_grid([s for _, s in post]), self.on_map_grid([s for _, s in pre]), change,
                             embedding, self.auxiliary(x, tokens))


def _global_and_roi(delta: torch.Tensor, roi: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Global mean, global maximum and ROI-weighted mean of (B, N, dim) -> (B, 3 dim); shares (B, N) of the tokens in them.

    An empty ROI makes the ROI-weighted mean a global mean.
    """
    weight = torch.where(roi.sum(1, keepdim=True) > 0, roi, torch.ones_like(roi))
    weight = weight / weight.sum(1, keepdim=True)
    high, where = delta.max(1)
    hits = torch.zeros_like(roi).scatter_add(1, where, torch.ones_like(where, dtype=roi.dtype)) / delta.shape[2]
    shares = (hits + weight + 1 / delta.shape[1]) / 3
    return torch.cat([delta.mean(1), high, (weight[:, None] @ delta)[:, 0]], 1), shares
