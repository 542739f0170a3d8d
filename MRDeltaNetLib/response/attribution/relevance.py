"""Transformer relevance through every attention of a network (Chefer et al. 2021), for tokens of both visits.

An attention with weights A and heads h passes relevance on by Abar = mean_h max(0, dy/dA . A), y the logit towards the class. With a residual
path R <- R + Abar R; read backwards from the answer, a row r of relevances becomes r + r Abar. Where a network has no residual path, the
rule is not defined by that paper. Ours there: the row of a comparison is made to sum to 1, so that it passes on what it got.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from MRDeltaNetLib.errors import require
from MRDeltaNetLib.progress import Progress, silent
from MRDeltaNetLib.response.attribution import gradcam
from MRDeltaNetLib.response.attribution.readout import (INSTALL_TORCH, VISITS, Found, Maps, Readout, logit_of, mean_over_members, members,
                                                        on_voxels)
from MRDeltaNetLib.response.attribution.watching import Call, Watch, kind_of, watched
from MRDeltaNetLib.response.explanation import COARSE_NOTE

if TYPE_CHECKING:
    import torch

FORMULA = ("r <- r + r Abar back through every self-attention, Abar = mean_h max(0, dy/dA . A), y the logit towards the class (Chefer et al. 2021); it "
           "begins with what each token adds to the head's pooled inputs times their gradient, and goes to post tokens by max(0, G_i . V b_i), to pre "
           "tokens by max(0, -A_ij G_i . V a_j), G the gradient of the aligned change, each row summing to 1; mean over scales")
ROWS_AT_ONCE = 512


def why_not(network: "torch.nn.Module") -> str | None:
    """Why this network has no relevance of each visit's tokens; None if it has."""
    member = members(network)[0]
    if not hasattr(member, "on_map_grid"):
        return gradcam.why_not(network)
    return None if any(kind_of(module) for module in member.modules()) else "this network has no attention to follow; use Grad-CAM"


def relevance(network: "torch.nn.Module", x: "torch.Tensor", readout: Readout, *, toward: str = "", progress: Progress = silent) -> Found:
    """How much each token of both visits adds, through all attentions, to the logit towards a class; toward as in gradcam.gradcam."""
    toward = toward or readout.toward(logit_of(network, x))
    sign = readout.sign(toward)

    def one(member: "torch.nn.Module") -> Maps:
        return {visit: on_voxels(member.on_map_grid(scales)[0], member.geometry.voxels) for visit, scales in of_tokens(member, x, sign).items()}

    member = members(network)[0]
    facts = {"toward": toward, "resolution_mm": tuple(float(step) for step in member.token_size_mm[::-1])}
    if len(member.scales) > 1:
        facts["resolution_note"] = COARSE_NOTE
    return Found(mean_over_members(network, one, progress), facts)


def of_tokens(member: "torch.nn.Module", x: "torch.Tensor", sign: float = 1.0) -> dict[str, list["torch.Tensor"]]:
    """Visit -> relevance of its tokens, one (1, N) a scale, finest first; nothing is below 0."""
    torch = require("torch", "Explanation", INSTALL_TORCH)
    with watched(member) as seen, torch.enable_grad():
        answer = sign * member(x[None].clone().requires_grad_()).logit.sum()
    seen.differentiate(answer)
    with torch.no_grad():
        if seen.calls["comparison"]:
            scales = [_compared(seen, number) for number in range(len(member.scales))]
            found = {"pre": [pre for pre, _ in scales], "post": [post for _, post in scales]}
        else:
            pooled = [pooling_relevance(call) for call in seen.calls["pooling"]]
            each = len(member.scales)
            found = {visit: pooled[number * each:(number + 1) * each] for number, visit in enumerate(gradcam.visits_of(member))}
        return {visit: _through_encoder(member, seen, number, found[visit]) for number, visit in enumerate(one for one in VISITS if one in found)}


def passed_on(weights: "torch.Tensor", slope: "torch.Tensor") -> "torch.Tensor":
    """Abar of one attention: weights and gradient (B, heads, queries, keys) -> (B, queries, keys)."""
    return (weights * slope).clamp(min=0).mean(1)


def pooling_relevance(call: Call) -> "torch.Tensor":
    """What each token adds to the pooled inputs times their gradient, positive parts of each reading: (B, N).

    A mean has one weight a token for all channels; a maximum one token a channel.
    """
    torch = require("torch", "Explanation", INSTALL_TORCH)
    delta, roi = call.given
    found = torch.zeros_like(roi)
    for view, slope in zip(call.module.views(delta, roi), call.slope.split(delta.shape[2], 1)):
        if view.weights is not None:
            found += (view.weights * (delta @ slope[..., None])[..., 0]).clamp(min=0)
        else:
            read = view.sign * delta.gather(1, view.where[:, None])[:, 0]
            found.scatter_add_(1, view.where, (slope * read).clamp(min=0))
    return found


def _compared(seen: Watch, number: int) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Relevance of one scale's tokens where the comparison reads them: (pre, post), (1, N)."""
    comparison, pooled = seen.calls["comparison"][number], pooling_relevance(seen.calls["pooling"][number])
    if comparison.module.latent is not None:
        return _through_latents(seen, comparison, pooled)
    a, b = comparison.output.tokens
    values = comparison.module.value(a), comparison.module.value(b)
    return split(pooled, comparison.slope, *values, _rows(comparison))


def split(share: "torch.Tensor", slope: "torch.Tensor", pre: "torch.Tensor", post: "torch.Tensor", rows) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Relevance of the changes D_i = post_i - sum_j A_ij pre_j passed on to their two sides; nothing is lost.

    share      (1, N) relevance of each change; slope (1, N, dim) gradient for it
    pre, post  (1, N, dim)
    rows       (slice of post tokens, over all of them) -> A (1, rows, N)
    Where nothing on either side raises the answer, half goes to the token itself and half is shared by A.
    """
    torch = require("torch", "Explanation", INSTALL_TORCH)
    to_pre, to_post = torch.zeros_like(share), torch.zeros_like(share)
    for start in range(0, share.shape[1], ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        weights = rows(part)
        own = (slope[:, part] * post[:, part]).sum(-1).clamp(min=0)
        others = (-weights * (slope[:, part] @ pre.transpose(1, 2))).clamp(min=0)
        total = own + others.sum(-1)
        none = total <= 0
        own = torch.where(none, 0.5, own / total.clamp(min=torch.finfo(total.dtype).tiny))
        others = torch.where(none[..., None], 0.5 * weights, others / total.clamp(min=torch.finfo(total.dtype).tiny)[..., None])
        to_post[:, part] = share[:, part] * own
        to_pre += (share[:, None, part] @ others)[:, 0]
    return to_pre, to_post


def _rows(comparison: Call):
    """A over all tokens of a scale, rows at a time."""
    torch = require("torch", "Explanation", INSTALL_TORCH)
    shares, tokens = comparison.output.shares, comparison.output.tokens[0].shape[1]
    if shares is None:                                     # against the mean of the pre outline
        roi = comparison.given[2].roi_pre
        roi = torch.where(roi.sum(1, keepdim=True) > 0, roi, torch.ones_like(roi))
        return lambda part: (roi / roi.sum(1, keepdim=True))[:, None].expand(-1, len(range(tokens)[part]), -1)
    size = tokens // shares.blocks

    def rows(part: slice) -> "torch.Tensor":
        wanted = range(tokens)[part]
        found = torch.zeros(1, len(wanted), tokens, device=comparison.watched.device)
        for block in range(wanted[0] // size, wanted[-1] // size + 1):
            inside = range(max(wanted[0], block * size), min(wanted[-1], (block + 1) * size - 1) + 1)
            places = slice(inside[0] - block * size, inside[-1] + 1 - block * size)
            found[:, inside[0] - wanted[0]:inside[-1] + 1 - wanted[0], block * size:(block + 1) * size] = shares.rows(block, places)
        return found

    return rows


def _through_latents(seen: Watch, comparison: Call, share: "torch.Tensor") -> tuple["torch.Tensor", "torch.Tensor"]:
    """D_i = b'_i - a'_i, both written by latents which have read the tokens; the written tokens have residual paths."""
    module = comparison.module.latent
    (latents,), reads, writes = seen.of(module), seen.of(module.reader), seen.of(module.writer)
    a, b = latents.given[:2]
    written_b, written_a = b + writes[0].output[0], a + writes[1].output[0]
    own = lambda part: _diagonal(share.shape[1], part, share.device)  # noqa: E731
    to_a, to_b = split(share, latents.slope, written_a, written_b, own)
    back = [passed_on(write.watched, write.slope) for write in writes]
    latent = (to_b[:, None] @ back[0])[:, 0] + (to_a[:, None] @ back[1])[:, 0]
    for call in seen.of(module.think.attention):
        latent = latent + (latent[:, None] @ passed_on(call.watched, call.slope))[:, 0]
    keys = (latent[:, None] @ passed_on(reads[0].watched, reads[0].slope))[:, 0].split(share.shape[1], 1)
    to_a, to_b = to_a + keys[0], to_b + keys[1]
    if len(keys) > 2:                                      # a change key is a difference of both
        to_a, to_b = to_a + keys[2] / 2, to_b + keys[2] / 2
    align = comparison.module.align
    return (to_a if align is None else _aligned(seen.of(align)[0], to_a, comparison.module.depth)), to_b


def _aligned(call: Call, share: "torch.Tensor", depth: int) -> "torch.Tensor":
    """From aligned pre tokens back to the pre tokens they are means of: rows of max(0, dy/dA . A), each summing to 1; A itself where none is positive."""
    from MRDeltaNetLib.models.comparison import read
    table = (call.watched * call.slope).clamp(min=0)
    total = table.sum(-1, keepdim=True)
    table = (table / total.clamp(min=1e-30)).where(total > 0, call.watched)
    return read(table.transpose(-1, -2), share[..., None], depth)[..., 0]


def _diagonal(tokens: int, part: slice, device) -> "torch.Tensor":
    torch = require("torch", "Explanation", INSTALL_TORCH)
    wanted = range(tokens)[part]
    rows = torch.zeros(1, len(wanted), tokens, device=device)
    rows[0, torch.arange(len(wanted)), torch.arange(wanted[0], wanted[-1] + 1)] = 1
    return rows


def _through_encoder(member: "torch.nn.Module", seen: Watch, visit: int, scales: list["torch.Tensor"]) -> list["torch.Tensor"]:
    """Back through the self-attentions of this visit's own pass through the encoder, which only the coarse scale has."""
    if 1 not in member.scales:
        return scales
    share = scales[-1]
    for block in reversed(member.encoder.stage3):
        call = seen.of(block.attention)[visit]
        share = share + (share[:, None] @ passed_on(call.watched, call.slope))[:, 0]
    return [*scales[:-1], share]
