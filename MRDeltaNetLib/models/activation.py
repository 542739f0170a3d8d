"""For networks without attention: global average pooling, one dense unit, and the class-activation map that comes with it."""

from __future__ import annotations

import torch
from torch import nn

FORMULA = ("c_i = w . f_i / n, what place i of the last feature maps f (n places) adds to the logit through their global average and the dense "
           "unit w (class-activation map, Zhou et al. 2016); {what}")


class ActivationHead(nn.Module):
    """Feature maps (B, C, d, h, w) of one or several scales -> global averages side by side (the embedding) -> dropout -> one dense unit.

    logit = bias + sum_i c_i with c_i = w . f_i / n over all places of all maps (without dropout): nothing but these c_i makes the score.
    """

    def __init__(self, channels: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.dropout, self.logit = nn.Dropout(dropout), nn.Linear(sum(channels), 1)

    def forward(self, maps: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """logit (B,), embedding (B, sum C), contributions c without gradient, one (B, d, h, w) a map."""
        embedding = torch.cat([f.flatten(2).mean(2) for f in maps], 1)
        with torch.no_grad():
            weights = self.logit.weight[0].float().split([f.shape[1] for f in maps])
            found = [torch.einsum("bcdhw,c->bdhw", f.float(), w) / f[0, 0].numel() for f, w in zip(maps, weights)]
        return self.logit(self.dropout(embedding))[:, 0], embedding, found


def on_tokens(contributions: torch.Tensor, stride: tuple[int, int, int], first: tuple[float, float, float], tokens: tuple[int, int, int],
              token_stride: tuple[int, int, int]) -> torch.Tensor:
    """Contributions (B, d, h, w) on the token grid (B, *tokens), with the same sum a case.

    stride, first  voxels (z, y, x) from place to place, and the voxel coordinate of place 0's centre
    Each token takes from the place whose centre is nearest to its own, and a place is shared equally by the tokens that take from
    it; places finer than tokens are added up.
    """
    for axis, (n, step, start, count, token) in enumerate(zip(contributions.shape[1:], stride, first, tokens, token_stride)):
        matrix = _shares(n, step, start, count, token).to(contributions)
        contributions = (contributions.movedim(axis + 1, -1) @ matrix).movedim(-1, axis + 1)
    return contributions


def shares_of(contributions: torch.Tensor) -> torch.Tensor:
    """|c_i| / sum |c| of each case; equal shares where all are 0."""
    size = contributions.abs()
    total = size.sum((1, 2, 3), keepdim=True)
    return torch.where(total > 0, size / total.clamp(min=torch.finfo(size.dtype).tiny), torch.full_like(size, 1 / size[0].numel()))


def _shares(places: int, step: float, start: float, count: int, token: int) -> torch.Tensor:
    """(places, count): the share of each place that each token gets; rows sum to 1."""
    centre = torch.arange(count, dtype=torch.float64) * token + (token - 1) / 2
    place = torch.arange(places, dtype=torch.float64) * step + start
    distance = (place[:, None] - centre[None]).abs()
    matrix = torch.zeros_like(distance)
    if places <= count:
        matrix[distance.argmin(0), torch.arange(count)] = 1
    alone = matrix.sum(1) == 0
    matrix[alone, distance.argmin(1)[alone]] = 1
    return matrix / matrix.sum(1, keepdim=True)
