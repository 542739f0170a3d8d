"""MRDeltaNet: shared encoder, comparison anchored in both tumour frames at two scales, ROI-gated head.

DELTA-style, re-implemented from the published description of MR-DELTAnet; not the authors' weights or code. All sizes are ours.
"""

from __future__ import annotations

import torch
from torch import nn

from MRDeltaNetLib.models.comparison import Comparison
from MRDeltaNetLib.models.head import Head, RoiPooling
from MRDeltaNetLib.models.losses import gate_budget_loss
from MRDeltaNetLib.models.output import NetworkOutput
from MRDeltaNetLib.models.pair import PairNetwork


class DeltaNet(PairNetwork):
    """The project's network.

    spacing_mm, crop_mm  voxel size and crop (x, y, z) that it is made for, mm
    preset               "tiny", "small" or "base"
    compare              "anchored" (default) or an ablation, see comparison.Comparison
    content              whether alignment sees the images beside positions (anchored and local)
    auxiliary            whether training also decodes token intensities, projects anatomy and has a gate budget
    dropout              in the head
    drop_path            largest rate of stochastic depth in the encoder; None: the preset's
    gate_budget          with latents: the wanted mean of the change gates; the loss of missing it is auxiliary["gate_budget"], the mean
                         over scales of losses.gate_budget_loss. It holds no weights, and network.gate_budget may be set before training
    latents              with latents: how many at the fine scale; the coarse one gets half, rounded up; None: the preset's
    gate, change_keys    with latents: see comparison.Latents. latents, gate and change_keys are refused where compare has no latents
    scales, roi_mode     see pair.PairNetwork
    """

    def __init__(self, *, spacing_mm=(0.75, 0.75, 3.0), crop_mm=(96.0, 96.0, 72.0), preset: str = "base",
                 compare: str = "anchored", content: bool = True, auxiliary: bool = True, dropout: float = 0.3,
                 drop_path: float | None = None, gate_budget: float = 0.3, latents: int | None = None, gate: bool = True,
                 change_keys: bool = True, scales: str = "both", roi_mode: str = "channel") -> None:
        super().__init__(spacing_mm=spacing_mm, crop_mm=crop_mm, preset=preset, auxiliary=auxiliary, drop_path=drop_path, scales=scales,
                         roi_mode=roi_mode)
        if not 0 < gate_budget < 1:
            raise ValueError(f"gate_budget={gate_budget!r}: between 0 and 1")
        counts = self.sizes["latents"] if latents is None else _latents(latents)
        if (latents, gate, change_keys) != (None, True, True) and "latent" not in compare:
            raise ValueError(f"compare={compare!r} has no latents, so that latents, gate and change_keys would change nothing")
        self.gate_budget = gate_budget
        self.comparisons = nn.ModuleList(
            Comparison(dim, self.geometry.tokens(scale), self.geometry.token_mm(scale), compare=compare, content=content,
                       latents=counts[scale], heads=self.sizes["heads"], gated=gate, change_keys=change_keys, roi_frame=roi_mode != "none")
            for scale, dim in zip(self.scales, self.dims))
        if roi_mode == "none":
            self.map_formulas = {"attention_post": "s_i = mean over scales and pooled inputs of the weight of post token i in the score's pooled inputs "
                                                   "(attention and maxima over the whole crop; no ROI is seen); sum s_i = 1; shown as s_i / m, m the largest share on either scan"}
        self.pools = nn.ModuleList(RoiPooling(dim) for dim in self.dims)
        self.head = Head(3 * sum(self.dims), self.sizes["hidden"], dropout)

    @property
    def alignment_sees_image_content(self) -> bool:
        """Whether attention_pre is carried by image content too, not by the position prior alone."""
        return self.comparisons[0].sees_content

    @property
    def comparison_kind(self) -> str | None:
        """See pair.PairNetwork."""
        return self.comparisons[0].kind

    def forward(self, x: torch.Tensor) -> NetworkOutput:
        x = self.shown(x)
        pre, post = self.encode(x)
        frames = self.frames(x)
        compared = [compare(a, b, frame) for compare, a, b, frame in zip(self.comparisons, pre, post, frames)]
        pooled = [pool(c.delta, frame.roi_post) for pool, c, frame in zip(self.pools, compared, frames)]
        logit, embedding = self.head(torch.cat([vector for vector, _ in pooled], 1))
        shares = [share for _, share in pooled]
        with torch.no_grad():
            carried = [c.carry(share) for c, share in zip(compared, shares)]
            change = compared[0].change.norm(dim=-1).unflatten(1, self.map_grid)
        auxiliary = self.auxiliary(x, [c.tokens for c in compared])
        gates = [c.gate for c in compared if c.gate is not None]
        if gates and auxiliary:
            auxiliary["gate_budget"] = sum(gate_budget_loss(gate, self.gate_budget) for gate in gates) / len(gates)
        return NetworkOutput(logit, self.on_map_grid(shares), self.on_map_grid(carried), change, embedding, auxiliary,
                             anatomy=self.identities(pre, post, frames), shares=compared[0].shares)


MOST_LATENTS = 4096
"""Far above any use; more would only fill the memory."""


def _latents(count: int) -> tuple[int, int]:
    """Latents of the fine and of the coarse scale."""
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST_LATENTS:
        raise ValueError(f"latents={count!r}: a whole number from 1 to {MOST_LATENTS}")
    return count, (count + 1) // 2
