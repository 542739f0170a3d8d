"""The models that MRDeltaNet has to beat: plain Siamese subtraction, and descriptors pooled over each scan's ROI."""

from __future__ import annotations

import torch
from torch import nn

from MRDeltaNetLib.models.comparison import Comparison
from MRDeltaNetLib.models.head import GlobalAndRoi, Head, RoiPooling
from MRDeltaNetLib.models.output import NetworkOutput
from MRDeltaNetLib.models.pair import PairNetwork


class Subtract(PairNetwork):
    """Plain Siamese subtraction: D = V(b - a) token by token, delta = W[D; |D|], global mean, maximum and ROI-weighted mean of
    delta at both scales. attention_post is the share of each token in these pooled inputs; attention_pre is the same map,
    because every post token is compared with the pre token of its own place."""

    map_formulas = {
        "attention_post": "s_i = mean over scales of the weight of token i in the global mean, the global maxima and the mean over the post ROI of "
                          "the change; sum s_i = 1; shown as s_i / m, m the largest share on either scan",
        "attention_pre": "the same map as attention_post: each post token is compared with the pre token of its own place",
        "change_post": "c_i = |V (b_i - a_i)|, length of the change at the same place, at the finest scale"}

    comparison_kind = "same place"

    def __init__(self, *, spacing_mm=(0.75, 0.75, 3.0), crop_mm=(96.0, 96.0, 72.0), preset: str = "base",
                 auxiliary: bool = True, dropout: float = 0.3, drop_path: float | None = None) -> None:
        super().__init__(spacing_mm=spacing_mm, crop_mm=crop_mm, preset=preset, auxiliary=auxiliary, drop_path=drop_path)
        self.comparisons = nn.ModuleList(
            Comparison(dim, self.geometry.tokens(scale), self.geometry.token_mm(scale), compare="subtract", content=False,
                       latents=0, heads=1) for scale, dim in enumerate(self.dims))
        self.pool = GlobalAndRoi()
        self.head = Head(3 * sum(self.dims), self.sizes["hidden"], dropout)

    def forward(self, x: torch.Tensor) -> NetworkOutput:
        pre, post = self.encode(x)
        frames = self.frames(x)
        compared = [compare(a, b, frame) for compare, a, b, frame in zip(self.comparisons, pre, post, frames)]
        pooled = [self.pool(c.delta, frame.roi_post) for c, frame in zip(compared, frames)]
        logit, embedding = self.head(torch.cat([vector for vector, _ in pooled], 1))
        attention = self.on_map_grid([share for _, share in pooled])
        change = compared[0].change.detach().norm(dim=-1).unflatten(1, self.geometry.tokens(0))
        return NetworkOutput(logit, attention, attention, change, embedding, self.auxiliary(x, [c.tokens for c in compared]),
                             anatomy=self.identities(pre, post, frames), shares=compared[0].shares)


class RoiPooled(PairNetwork):
    """Descriptors without alignment: each visit's tokens are pooled over its own ROI (attention-weighted mean and gated maxima, see
    head.RoiPooling), giving p and q for pre and post; the head reads [q; q - p; |q - p|] of both scales. Moving a scan together
    with its mask by whole coarse tokens inside a uniform border changes nothing.

    attention_post and attention_pre are the shares of each visit's own tokens in its descriptor; change_post is
    |b_i - m|, each normalised post token against the pre descriptor's mean part m.

    visits  "both", or "pre" or "post": a control that reads one visit's descriptor alone and never touches the other visit. Its
            change_post is |f_i - m| of that visit's own tokens and mean part: no change over time, only what stands out
    roi_mode  see pair.PairNetwork; with "none" both visits are pooled over the whole crop
    """

    def __init__(self, *, spacing_mm=(0.75, 0.75, 3.0), crop_mm=(96.0, 96.0, 72.0), preset: str = "base",
                 auxiliary: bool = True, dropout: float = 0.3, drop_path: float | None = None, visits: str = "both",
                 roi_mode: str = "channel") -> None:
        self.times, self.compares_visits = times_of(visits), visits == "both"
        super().__init__(spacing_mm=spacing_mm, crop_mm=crop_mm, preset=preset, auxiliary=auxiliary, drop_path=drop_path, roi_mode=roi_mode)
        self.map_formulas = _POOLED_FORMULAS if self.compares_visits else _single_visit_formulas(visits)
        if roi_mode == "none":
            self.map_formulas = {name: formula.replace("over the post ROI", "over the whole crop").replace("over the pre ROI", "over the whole crop")
                                 for name, formula in self.map_formulas.items()}
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for dim in self.dims)
        self.pools = nn.ModuleList(RoiPooling(dim) for dim in self.dims)
        self.head = Head((9 if self.compares_visits else 3) * sum(self.dims), self.sizes["hidden"], dropout)

    def forward(self, x: torch.Tensor) -> NetworkOutput:
        x = self.shown(x)
        return self._both(x) if self.compares_visits else self._one(x, self.times[0])

    def _one(self, x: torch.Tensor, time: int) -> NetworkOutput:
        tokens = [norm(f.flatten(2).transpose(1, 2)) for norm, f in zip(self.norms, self.encode_visit(x, time))]
        roi = [frame.roi_post if time else frame.roi_pre for frame in self.frames(x)]
        pooled = [pool(f, r) for pool, f, r in zip(self.pools, tokens, roi)]
        logit, embedding = self.head(torch.cat([vector for vector, _ in pooled], 1))
        mean = pooled[0][0][:, None, :self.dims[0]]
        stands_out = (tokens[0] - mean).detach().norm(dim=-1).unflatten(1, self.geometry.tokens(0))
        seen = self.on_map_grid([share for _, share in pooled])
        unseen = torch.full_like(seen, 1 / seen[0].numel())
        return NetworkOutput(logit, seen if time else unseen, unseen if time else seen, stands_out, embedding,
                             self.auxiliary(x, [(f,) for f in tokens], (time,)))

    def _both(self, x: torch.Tensor) -> NetworkOutput:
        features, frames = self.encode(x), self.frames(x)
        tokens = [tuple(norm(f.flatten(2).transpose(1, 2)) for f in pair) for norm, pair in zip(self.norms, zip(*features))]
        pre = [pool(a, frame.roi_pre) for pool, (a, _), frame in zip(self.pools, tokens, frames)]
        post = [pool(b, frame.roi_post) for pool, (_, b), frame in zip(self.pools, tokens, frames)]
        parts = [torch.cat([q, q - p, (q - p).abs()], 1) for (p, _), (q, _) in zip(pre, post)]
        logit, embedding = self.head(torch.cat(parts, 1))
        mean = pre[0][0][:, None, :self.dims[0]]
        change = (tokens[0][1] - mean).detach().norm(dim=-1).unflatten(1, self.geometry.tokens(0))
        return NetworkOutput(logit, self.on_map_grid([s for _, s in post]), self.on_map_grid([s for _, s in pre]), change,
                             embedding, self.auxiliary(x, tokens), anatomy=self.identities(*features, frames))


VISITS = {"both": (0, 1), "pre": (0,), "post": (1,)}
"""Setting -> timepoints that a network sees."""

_POOLED_FORMULAS = {
    "attention_post": "s_i = mean over scales of the weight of post token i in the post descriptor (gated attention and gated maxima over the "
                      "post ROI); sum s_i = 1; shown as s_i / m, m the largest share on either scan",
    "attention_pre": "t_j = the same of pre token j in the pre descriptor (over the pre ROI); sum t_j = 1; shown as t_j / m",
    "change_post": "c_i = |b_i - m|, distance of post token i from the mean part m of the pre descriptor, at the finest scale"}


def _single_visit_formulas(visits: str) -> dict[str, str]:
    """What the maps are when one visit is all that the network sees."""
    blind = "uniform: this network does not see that visit"
    seen = _POOLED_FORMULAS[f"attention_{visits}"].replace("the same of pre token", "mean over scales of the weight of pre token")
    return {"attention_post": seen if visits == "post" else blind, "attention_pre": seen if visits == "pre" else blind,
            "change_post": f"c_i = |f_i - m|, distance of {visits} token i from the mean part m of its own visit's descriptor, at the finest "
                           "scale; this network sees one visit only, so that this is no change over time"}


def times_of(visits: str) -> tuple[int, ...]:
    """Timepoints of a `visits` setting; raises ValueError for another name."""
    if visits not in VISITS:
        raise ValueError(f"visits={visits!r}: choose one of {', '.join(VISITS)}")
    return VISITS[visits]
