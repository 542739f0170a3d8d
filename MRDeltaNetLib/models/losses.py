"""Training losses: class-balanced focal, contrast of responses and of identities, the budget of change gates, and the auxiliary
decoding of a token's own intensities."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from monai.losses import FocalLoss
from torch import nn

_SHORTEST = 1e-6
"""Shorter vectors are not stretched to unit length: their direction is noise, and the gradient of stretching it has no bound."""


def class_balanced_weights(count_non_pcr: int, count_pcr: int, beta: float) -> tuple[float, float]:
    """Weights (non-pCR, pCR) proportional to 1 / E_n, E_n = (1 - beta^n) / (1 - beta), summing to 2 (Cui et al. 2019)."""
    if not 0 <= beta < 1:
        raise ValueError(f"beta must be in [0, 1), not {beta}")
    if min(count_non_pcr, count_pcr) < 1:
        raise ValueError("both classes need at least one case")
    inverse = [(1 - beta) / (1 - beta**n) for n in (count_non_pcr, count_pcr)]
    return 2 * inverse[0] / sum(inverse), 2 * inverse[1] / sum(inverse)


class ClassBalancedFocal(nn.Module):
    """L = mean of -w_y (1 - p_y)^gamma log p_y over logits (B,) and outcomes (B,) in {0, 1}, 1 = pCR."""

    def __init__(self, count_non_pcr: int, count_pcr: int, beta: float = 0.99, gamma: float = 1.0) -> None:
        super().__init__()
        self.weights = class_balanced_weights(count_non_pcr, count_pcr, beta)
        # MONAI's scalar alpha weighs the classes (1 - alpha, alpha), which sum to 1 where ours sum to 2.
        self.focal = FocalLoss(gamma=gamma, alpha=self.weights[1] / 2)

    def forward(self, logit: torch.Tensor, outcome: torch.Tensor) -> torch.Tensor:
        return 2 * self.focal(logit[:, None], outcome[:, None].to(logit.dtype))


def response_contrast(embedding: torch.Tensor, outcome: torch.Tensor, queue_embedding: torch.Tensor | None = None,
                      queue_outcome: torch.Tensor | None = None, temperature: float = 0.1, responders_only: bool = False) -> torch.Tensor:
    """Supervised contrast (Khosla et al. 2020, arXiv:2004.11362): cases of one outcome attract each other, all others repel.

    L = mean_i -1/|P(i)| sum_{p in P(i)} log( exp(e_i . e_p / t) / sum_{k != i} exp(e_i . e_k / t) ), e the embeddings at unit length,
    i over the batch, k over batch and queue, P(i) = those k with the outcome of i. Cases without a positive are left out of the
    mean; the loss is 0 if none has one.

    embedding        (B, k) of the batch, any length; outcome (B,) in {0, 1}
    queue_embedding  (Q, k) of earlier batches of the same training fold, (Q,) outcomes; they get no gradient
    responders_only  only cases with outcome 1 attract each other (non-responders are a mixed lot); all cases still repel
    """
    _check_temperature(temperature)
    if (queue_embedding is None) != (queue_outcome is None):
        raise ValueError("a queue needs embeddings and outcomes")
    with torch.autocast(embedding.device.type, enabled=False):
        own = F.normalize(embedding.float(), dim=1, eps=_SHORTEST)
        others, labels = own, outcome
        if queue_embedding is not None:
            others = torch.cat([own, F.normalize(queue_embedding.detach().float(), dim=1, eps=_SHORTEST)])
            labels = torch.cat([outcome, queue_outcome.to(outcome)])
        itself = torch.eye(len(own), len(others), dtype=torch.bool, device=own.device)
        positive = (outcome[:, None] == labels[None]) & ~itself
        if responders_only:
            positive = positive & (outcome[:, None] > 0.5)
        log_share = (own @ others.T / temperature).masked_fill(itself, float("-inf")).log_softmax(1)
        count = positive.sum(1)
        if not bool((count > 0).any()):
            return own.sum() * 0
        each = -log_share.masked_fill(~positive, 0).sum(1) / count.clamp(min=1)
        return each[count > 0].mean()


def identity_contrast(anatomy: torch.Tensor, temperature: float = 0.1) -> torch.Tensor:
    """InfoNCE (van den Oord et al. 2018, arXiv:1807.03748) in both directions: a patient's own other visit against the other
    visits of the other patients of the batch.

    L = -1/(2 B) sum_i [ log softmax_j(a_i . b_j / t)_i + log softmax_j(b_i . a_j / t)_i ], a and b the pre and post projections

    anatomy   (B, 2, k) projections of the pre and the post visit, brought to unit length here; 0 for a batch of one
    """
    _check_temperature(temperature)
    with torch.autocast(anatomy.device.type, enabled=False):
        pre, post = F.normalize(anatomy.float(), dim=2, eps=_SHORTEST).unbind(1)
        score = pre @ post.T / temperature
        own = torch.arange(len(score), device=score.device)
        return (F.cross_entropy(score, own) + F.cross_entropy(score.T, own)) / 2


def gate_budget_loss(gate: torch.Tensor, budget: float) -> torch.Tensor:
    """Mean over cases of (mean_i g_i - budget)^2 for gates (B, N) in (0, 1), so that a gate has to choose."""
    return (gate.float().mean(1) - budget).square().mean()


def _check_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, not {temperature}")


class IntensityDecoding(nn.Module):
    """Mean squared error of a linear decoder from each normalised token to the mean T2 intensity of its eight octants (its four
    quarters where a token is one slice deep), and to the mean of intensity times ROI there.

    It keeps signal intensity readable in the tokens, without which the networks of the toy experiment did not begin to
    learn for many epochs; the product with the ROI does so where a thin tumour bed fills a token only in part. Training only.
    """

    def __init__(self, dims: tuple[int, ...], strides: tuple[tuple[int, int, int], ...]) -> None:
        super().__init__()
        self.strides = strides
        self.decoders = nn.ModuleList(nn.Linear(dim, 2 * math.prod(_parts(stride))) for dim, stride in zip(dims, strides))

    def forward(self, tokens: list[torch.Tensor], visit: torch.Tensor) -> torch.Tensor:
        """tokens: one (B, N, dim) a scale; visit (B, 2, D, H, W) T2 and ROI they came from. Returns a scalar, z-score units squared."""
        losses = [self.errors(scale, token, visit).mean() for scale, token in enumerate(tokens)]
        return sum(losses) / len(losses)

    def errors(self, scale: int, tokens: torch.Tensor, visit: torch.Tensor) -> torch.Tensor:
        """Squared error of each decoded value, (B, N, 16) (8 where a token is one slice deep), float32."""
        stride = self.strides[scale]
        octant, parts = tuple(s // p for s, p in zip(stride, _parts(stride))), _parts(stride)
        goal = torch.cat([octant_means(t2, octant, parts) for t2 in (visit[:, 0], visit[:, 0] * visit[:, 1])], -1)
        return F.mse_loss(self.decoders[scale](tokens).float(), goal.float(), reduction="none")


def octant_means(t2: torch.Tensor, octant: tuple[int, int, int], parts: tuple[int, int, int] = (2, 2, 2)) -> torch.Tensor:
    """Mean intensity of the octants of every token: (B, D, H, W) -> (B, N, 8).

    octant  voxels (z, y, x) of one; parts: octants a token has along each axis, so that the last axis has their product
    """
    means = F.avg_pool3d(t2[:, None], octant, octant)
    blocks = means.unflatten(4, (-1, parts[2])).unflatten(3, (-1, parts[1])).unflatten(2, (-1, parts[0]))
    return blocks.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).flatten(1, 3)


def _parts(stride: tuple[int, int, int]) -> tuple[int, int, int]:
    return tuple(2 if s > 1 else 1 for s in stride)
