"""Training losses: class-balanced focal, and the auxiliary decoding of a token's own intensities."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.losses import FocalLoss
from torch import nn


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


class IntensityDecoding(nn.Module):
    """Mean squared error of a linear decoder from each normalised token to the mean T2 intensity of its eight octants, and to the
    mean of intensity times ROI there.

    It keeps signal intensity readable in the tokens, without which the networks of the toy experiment did not begin to
    learn for many epochs; the product with the ROI does so where a thin tumour bed fills a token only in part. Training only.
    """

    def __init__(self, dims: tuple[int, ...], strides: tuple[tuple[int, int, int], ...]) -> None:
        super().__init__()
        self.octants = [tuple(s // 2 for s in stride) for stride in strides]
        self.decoders = nn.ModuleList(nn.Linear(dim, 16) for dim in dims)

    def forward(self, tokens: list[torch.Tensor], visit: torch.Tensor) -> torch.Tensor:
        """tokens: one (B, N, dim) a scale; visit (B, 2, D, H, W) T2 and ROI they came from. Returns a scalar, z-score units squared."""
        t2, inside = visit[:, 0], visit[:, 0] * visit[:, 1]
        losses = [F.mse_loss(decode(token), torch.cat([octant_means(t2, octant), octant_means(inside, octant)], -1))
                  for decode, token, octant in zip(self.decoders, tokens, self.octants)]
        return sum(losses) / len(losses)


def octant_means(t2: torch.Tensor, octant: tuple[int, int, int]) -> torch.Tensor:
    """Mean intensity of the 2 x 2 x 2 octants of every token: (B, D, H, W) -> (B, N, 8); octant = voxels (z, y, x) of one."""
    means = F.avg_pool3d(t2[:, None], octant, octant)
    blocks = means.unflatten(4, (-1, 2)).unflatten(3, (-1, 2)).unflatten(2, (-1, 2))
    return blocks.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).flatten(1, 3)
