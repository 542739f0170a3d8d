"""How post tokens are compared with pre tokens: soft alignment anchored in both scans' tumour frames, and its ablations.

Notation: tokens a (pre) and b (post) of one scale, (B, N, dim), N = depth * n, n = height * width, in z, y, x order;
A_ij is the share of pre token j in what post token i is compared with (every row sums to 1); D_i the aligned change.
Formulas: anchored cross-attention, this project's own, chosen in a toy experiment with misaligned scans.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from MRDeltaNetLib.models.encoder import SelfAttention

COMPARISONS = ("anchored", "subtract", "pool", "local", "full", "latent", "anchored+latent")

_SMALLEST_SHARE = 1e-9
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Frames:
    """Where the tumour lies in both scans.

    roi_pre, roi_post  (B, N) soft ROI of each token, 0 to 1
    offset_mm          (B, 2) in-plane (y, x) centroid of the pre ROI minus that of the post ROI, mm; 0 where invalid
    valid              (B,) False where a ROI is empty, so that no offset exists
    """

    roi_pre: torch.Tensor
    roi_post: torch.Tensor
    offset_mm: torch.Tensor
    valid: torch.Tensor


@dataclass(frozen=True)
class TokenShares:
    """Which pre tokens each post token is compared with. Nothing is computed before rows are asked for.

    blocks  a token is compared with tokens of its own block only: one block a slice, or 1 for the whole crop
    rows    (block, which of its post tokens) -> (B, rows, tokens of a block); every row sums to 1
    """

    blocks: int
    rows: Callable[[int, slice], torch.Tensor]


def same_place(cases: int, depth: int, tokens: int) -> TokenShares:
    """Every token is compared with the one at its own place: tokens in all, in depth slices."""
    one = torch.eye(tokens // depth).expand(cases, -1, -1)
    return TokenShares(depth, lambda block, part: one[:, part])


def mean_shares(found: Sequence[TokenShares | None]) -> TokenShares | None:
    """The mean over networks; None if one of them has none."""
    if any(shares is None for shares in found):
        return None
    return TokenShares(found[0].blocks, lambda block, part: torch.stack([shares.rows(block, part) for shares in found]).mean(0))


@dataclass(frozen=True)
class Compared:
    """One scale, compared.

    tokens  normalised pre and post tokens, each (B, N, dim)
    delta   (B, N, dim) for the head; change (B, N, dim) the aligned change D
    carry   (B, N) shares of post tokens -> (B, N) shares of pre tokens, A^T s
    gate    (B, N) change gates of the latents, None without latents or without gates
    shares  the rows of A; None in training, and where a post token is compared with no place (pool)
    """

    tokens: tuple[torch.Tensor, torch.Tensor]
    delta: torch.Tensor
    change: torch.Tensor
    carry: Callable[[torch.Tensor], torch.Tensor]
    gate: torch.Tensor | None = None
    shares: TokenShares | None = None


def in_plane_offset_mm(roi_pre: torch.Tensor, roi_post: torch.Tensor,
                       spacing_mm: tuple[float, float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Offset o = c_pre - c_post of the ROI centroids, c_t = sum_i r_ti p_i / sum_i r_ti in plane over all slices.

    roi_*       (B, D, H, W) soft ROI; spacing_mm (y, x)
    returns     offset (B, 2) mm in (y, x) and valid (B,); the offset is 0 and valid False where either ROI is empty
    """
    def centroid(roi: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mass = roi.sum((1, 2, 3))
        y = torch.arange(roi.shape[2], device=roi.device, dtype=roi.dtype) * spacing_mm[0]
        x = torch.arange(roi.shape[3], device=roi.device, dtype=roi.dtype) * spacing_mm[1]
        moments = torch.stack([(roi.sum((1, 3)) * y).sum(1), (roi.sum((1, 2)) * x).sum(1)], 1)
        return moments / mass.clamp(min=1e-6)[:, None], mass > 0

    pre, pre_there = centroid(roi_pre)
    post, post_there = centroid(roi_post)
    valid = pre_there & post_there
    return torch.where(valid[:, None], pre - post, torch.zeros_like(pre)), valid


class PositionPrior(nn.Module):
    """P_ij = w_0 G(p_j; p_i, s_0) + w_1 G(p_j; p_i + o, s_1) + w_2 / n for post token i reading pre token j of its slice.

    G is a Gaussian over the tokens of one slice, every row normalised; it is separable, so it is the outer product of an
    (H, H) and a (W, W) table. w = softmax(pi); scales s are learned in log space, mm. w_1 = 0 for a case without valid
    offset (an empty ROI) and where roi_frame is False.
    """

    def __init__(self, plane: tuple[int, int], token_mm: tuple[float, float], roi_frame: bool = True) -> None:
        super().__init__()
        self.roi_frame = roi_frame
        size = sum(token_mm) / 2
        self.mixture = nn.Parameter(torch.tensor([0.0, 0.0, -4.0]))
        self.log_scale = nn.Parameter(torch.log(torch.tensor([1.0 * size, 1.5 * size])))
        for name, count, step in (("y_mm", plane[0], token_mm[0]), ("x_mm", plane[1], token_mm[1])):
            self.register_buffer(name, torch.arange(count) * step, persistent=False)

    def weights(self, valid: torch.Tensor) -> torch.Tensor:
        """Mixture weights w, (B, 3), for cases with (True) and without (False) a valid offset."""
        missing = torch.zeros(len(valid), 3, dtype=torch.bool, device=valid.device)
        missing[:, 1] = ~valid if self.roi_frame else True
        return self.mixture.expand(len(valid), 3).masked_fill(missing, float("-inf")).softmax(1)

    def forward(self, frames: Frames) -> torch.Tensor:
        """(B, n, n); rows sum to 1."""
        scale = self.log_scale.exp()
        weight = self.weights(frames.valid)

        def table(place: torch.Tensor, shift: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
            distance = place[None, None, :] - place[None, :, None] - shift[:, None, None]
            return (-0.5 * (distance / s) ** 2).softmax(-1)

        def gaussian(offset: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
            y, x = table(self.y_mm, offset[:, 0], s), table(self.x_mm, offset[:, 1], s)
            n = y.shape[1] * x.shape[1]
            return (y[:, :, None, :, None] * x[:, None, :, None, :]).reshape(-1, n, n)

        n = len(self.y_mm) * len(self.x_mm)
        w = weight[:, :, None, None]
        scanner = gaussian(torch.zeros_like(frames.offset_mm[:1]), scale[0])
        prior = w[:, 0] * scanner + w[:, 2] / n
        if self.roi_frame:
            prior = prior + w[:, 1] * gaussian(frames.offset_mm, scale[1])
        return prior


class Alignment(nn.Module):
    """A_ij by position, content or both, within a slice; or over all slices (volume=True, content only).

    A = softmax_j(q_i . k_j / sqrt(dim) + log(P_ij + 1e-9)); q and k start near 0, so A starts as the prior alone.
    Without content A = P.
    """

    def __init__(self, dim: int, prior: PositionPrior | None, content: bool, volume: bool = False) -> None:
        super().__init__()
        self.prior, self.volume = prior, volume
        self.query = nn.Linear(dim, dim, bias=False) if content else None
        self.key = nn.Linear(dim, dim, bias=False) if content else None
        if content:
            nn.init.normal_(self.query.weight, std=0.02)
            nn.init.normal_(self.key.weight, std=0.02)

    def forward(self, a: torch.Tensor, b: torch.Tensor, frames: Frames, depth: int) -> torch.Tensor:
        """(B, S, n, n) with S = depth slices, or S = 1 slice table for all (no content), or S = 1, n = N (volume)."""
        prior = self.prior(frames)[:, None] if self.prior is not None else None
        if self.query is None:
            return prior
        slices = 1 if self.volume else depth
        q = self.query(b).unflatten(1, (slices, -1))
        k = self.key(a).unflatten(1, (slices, -1))
        score = q @ k.transpose(-1, -2) / a.shape[-1] ** 0.5
        return (score if prior is None else score + torch.log(prior + _SMALLEST_SHARE)).softmax(-1)

    def fused(self, a: torch.Tensor, b: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """sum_j A_ij v_j over all slices by content alone, without ever holding A: (B, N, c) values -> (B, N, c)."""
        return F.scaled_dot_product_attention(self.query(b)[:, None], self.key(a)[:, None], values[:, None])[:, 0]

    def rows(self, a: torch.Tensor, b: torch.Tensor, part: slice) -> torch.Tensor:
        """Rows of A over all slices by content alone, (B, rows, N)."""
        return (self.query(b[:, part]) / a.shape[-1] ** 0.5 @ self.key(a).transpose(1, 2)).softmax(-1)

    def carried(self, a: torch.Tensor, b: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """A^T s over all slices by content alone, (B, N) -> (B, N), holding only so many rows of A at a time."""
        q, k = self.query(b) / a.shape[-1] ** 0.5, self.key(a).transpose(1, 2)
        parts = [(share[:, None] @ (rows @ k).softmax(-1))[:, 0]
                 for rows, share in zip(q.split(_ROWS_AT_ONCE, 1), shares.to(q.dtype).split(_ROWS_AT_ONCE, 1))]
        return torch.stack(parts).sum(0)


def read(table: torch.Tensor, values: torch.Tensor, depth: int) -> torch.Tensor:
    """sum_j A_ij v_j: (B, S, n, n) table, (B, N, c) values -> (B, N, c)."""
    if table.shape[1] == 1 and table.shape[-1] * depth == values.shape[1]:
        sliced = values.unflatten(1, (depth, -1)).permute(0, 2, 1, 3).flatten(2)
        return (table[:, 0] @ sliced).unflatten(2, (depth, -1)).permute(0, 2, 1, 3).flatten(1, 2)
    return (table @ values.unflatten(1, (table.shape[1], -1))).flatten(1, 2)


class Latents(nn.Module):
    """Comparison through a few learned latents (read, think, write) with a change gate.

    d = b - a; g = sigmoid(MLP[|d|; d; r]); Z <- Z + MHA(Z, [a; b; g d]) with bias log(g + 1e-4) on the change keys;
    Z <- block(Z); a' = a + MHA(a, Z); b' = b + MHA(b, Z); D = b' - a'. Rows of R = A_write(b<-Z) A_read(Z<-a), made to sum to 1,
    play the part of A. Same form for both times, so that nothing but the scans differs between them.

    gated        False: g = 1, so that every change key is read as it is and no bias is added
    change_keys  False: latents read [a; b] alone; the gate acts on change keys only, so that without them there is none
    """

    def __init__(self, dim: int, count: int, heads: int, gated: bool = True, change_keys: bool = True) -> None:
        super().__init__()
        self.change_keys = change_keys
        self.latents = nn.Parameter(torch.randn(1, count, dim) * 0.02)
        self.time = nn.Parameter(torch.randn(3 if change_keys else 2, dim) * 0.02)
        self.gate = None
        if gated and change_keys:
            self.gate = nn.Sequential(nn.Linear(2 * dim + 1, dim // 2), nn.ReLU(), nn.Linear(dim // 2, 1))
        self.norm = nn.LayerNorm(dim)
        self.reader = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.think = SelfAttention(dim, heads)
        self.writer = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.heads = heads

    def forward(self, a: torch.Tensor, b: torch.Tensor, roi: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """a, b (B, N, dim), roi (B, N) -> change D (B, N, dim), write shares (B, N, L), read shares (B, L, N), gates (B, N) or None."""
        keys, bias, gate = self.keys(a, b, roi)
        z = self.latents.expand(len(a), -1, -1)
        if bias is not None:
            bias = bias.expand(-1, z.shape[1], -1).repeat_interleave(self.heads, 0)
        found, shares = self.reader(self.norm(z), keys, keys, attn_mask=bias)
        z = self.think(z + found)
        key = self.norm(z)
        written_b, write = self.writer(b + self.time[1], key, key)
        written_a, _ = self.writer(a + self.time[0], key, key)
        read_pre = shares[:, :, :a.shape[1]]
        return (b + written_b) - (a + written_a), write, read_pre, None if gate is None else gate[..., 0]

    def keys(self, a: torch.Tensor, b: torch.Tensor, roi: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """What the latents read, (B, 3 N, dim) or without change keys (B, 2 N, dim); its bias (B, 1, 3 N) and the gates (B, N, 1), or None."""
        visits = [a + self.time[0], b + self.time[1]]
        if not self.change_keys:
            return torch.cat(visits, 1), None, None
        d = b - a
        if self.gate is None:
            return torch.cat([*visits, d + self.time[2]], 1), None, None
        gate = self.gate(torch.cat([d.abs(), d, roi[..., None]], -1)).sigmoid()
        bias = torch.cat([torch.zeros_like(gate), torch.zeros_like(gate), torch.log(gate + 1e-4)], 1).transpose(1, 2)
        return torch.cat([*visits, gate * d + self.time[2]], 1), bias, gate


class Comparison(nn.Module):
    """delta = W[D; |D|] of one scale.

    anchored         D_i = V b_i - sum_j A_ij V a_j, one value map V for both times, A by position prior (and content)
    subtract         A = identity
    pool             A_ij = r_aj / sum r_a: every post token against the mean of the pre ROI (all pre tokens if that is empty)
    local            anchored without the ROI frame
    full             content alone, over all slices, by torch's fused attention: A is never held
    latent           through latents, no alignment
    anchored+latent  latents on b and the aligned sum_j A_ij a_j

    latents, gated, change_keys  number and form of the latents, see Latents
    roi_frame                    False: no ROI frame in the prior, whatever compare says
    """

    def __init__(self, dim: int, grid: tuple[int, int, int], token_mm: tuple[float, float, float], *, compare: str,
                 content: bool, latents: int, heads: int, gated: bool = True, change_keys: bool = True, roi_frame: bool = True) -> None:
        super().__init__()
        if compare not in COMPARISONS:
            raise ValueError(f"compare={compare!r}: choose one of {', '.join(COMPARISONS)}")
        self.compare, self.depth = compare, grid[0]
        self.norm = nn.LayerNorm(dim)
        self.value = nn.Linear(dim, dim, bias=False)
        self.merge = nn.Linear(2 * dim, dim)
        self.align = self.latent = None
        if compare in ("anchored", "local", "anchored+latent"):
            self.align = Alignment(dim, PositionPrior(grid[1:], token_mm[1:], roi_frame=roi_frame and compare != "local"), content)
        elif compare == "full":
            self.align = Alignment(dim, None, content=True, volume=True)
        if "latent" in compare:
            self.latent = Latents(dim, latents, heads, gated, change_keys)

    @property
    def sees_content(self) -> bool:
        """True if A depends on the images, not on position and ROI alone."""
        return self.latent is not None or (self.align is not None and self.align.query is not None)

    @property
    def kind(self) -> str | None:
        """By what a post token finds the pre tokens that it is compared with: "content", "position" or "same place"; None: with no place."""
        if self.compare == "pool":
            return None
        return "content" if self.sees_content else "same place" if self.align is None else "position"

    def forward(self, pre: torch.Tensor, post: torch.Tensor, frames: Frames) -> Compared:
        """pre, post (B, dim, d, h, w) features of one scale."""
        a = self.norm(pre.flatten(2).transpose(1, 2))
        b = self.norm(post.flatten(2).transpose(1, 2))
        gate = shares = None
        if self.compare == "pool":
            change, carry = self._against_pool(a, b, frames)
        elif self.compare == "full":
            change = self.value(b) - self.align.fused(a, b, self.value(a))
            carry = lambda weights: self.align.carried(a, b, weights)  # noqa: E731
            shares = TokenShares(1, lambda block, part: self.align.rows(a, b, part))
        elif self.align is None and self.latent is None:
            change, carry, shares = self.value(b - a), lambda weights: weights, same_place(len(a), self.depth, a.shape[1])
        else:
            change, carry, gate, shares = self._aligned(a, b, frames)
        return Compared((a, b), self.merge(torch.cat([change, change.abs()], -1)), change, carry, gate, None if self.training else shares)

    def _against_pool(self, a, b, frames):
        empty = frames.roi_pre.sum(1, keepdim=True) <= 0
        share = torch.where(empty, torch.ones_like(frames.roi_pre), frames.roi_pre)
        share = share / share.sum(1, keepdim=True)
        return self.value(b - share[:, None] @ a), lambda shares: share * shares.sum(1, keepdim=True)

    def _aligned(self, a, b, frames):
        table = None if self.align is None else self.align(a, b, frames, self.depth)

        def carry_table(shares: torch.Tensor) -> torch.Tensor:
            return shares if table is None else read(table.transpose(-1, -2), shares[..., None], self.depth)[..., 0]

        if self.latent is None:
            shares = TokenShares(self.depth, lambda block, part: table[:, min(block, table.shape[1] - 1), part])
            return self.value(b) - read(table, self.value(a), self.depth), carry_table, None, shares
        if table is not None:
            a = read(table, a, self.depth)
        change, write, read_pre, gate = self.latent(a, b, frames.roi_post)

        def carry(shares: torch.Tensor) -> torch.Tensor:
            rows = write @ read_pre.sum(-1, keepdim=True)
            through = ((shares[..., None] / rows).transpose(1, 2) @ write) @ read_pre
            return carry_table(through[:, 0])

        def rows(block: int, part: slice) -> torch.Tensor:
            through = write[:, part] @ read_pre
            through = through / through.sum(-1, keepdim=True)
            return through if table is None else read(table.transpose(-1, -2), through.transpose(1, 2), self.depth).transpose(1, 2)

        return self.value(change), carry, gate, TokenShares(1, rows)
