"""Outlines as poor as those of readers who disagree, drawn over a batch's own."""

from __future__ import annotations

import torch

from MRDeltaNetLib.cohort.augmentation.placing import about, centroid_mm, sample
from MRDeltaNetLib.cohort.augmentation.rule import ramp
from MRDeltaNetLib.config import OutlineErrorConfig


def redrawn(x: torch.Tensor, spacing_mm: tuple[float, float, float], config: OutlineErrorConfig, generator: torch.Generator, epoch: int) -> torch.Tensor:
    """The batch with poor outlines in some of its cases; scans and outcomes stay. (B, timepoint 2, channel 2, D, H, W); spacing_mm (x, y, z).

    generator  on the device of x; untouched if config.chance is 0
    epoch      from 0, for the ramp
    """
    own = {"generator": generator, "device": x.device}
    if not config.chance:
        return x
    chosen = (torch.rand(len(x), **own) < config.chance * ramp(epoch, config.ramp_epochs)).nonzero()[:, 0]
    if not len(chosen):
        return x
    roi = x[chosen, :, 1]
    grow = torch.exp((torch.rand(len(chosen), 2, **own) * 2 - 1) * torch.tensor(config.size, device=x.device).log())
    shift_mm = torch.randn(len(chosen), 2, 2, **own) * torch.tensor(config.shift_sd_mm, device=x.device)[:, None]
    drawn = sample(roi, about(centroid_mm(roi, spacing_mm), grow, shift_mm, x.shape[-3:], spacing_mm), "zeros")
    lost = torch.stack([torch.randint(0, most + 1, (len(chosen), 2), **own) for most in config.dropped_slices], 1)
    drawn = drawn * _slices_kept(roi, lost)[..., None, None]
    carried = torch.rand(len(chosen), **own) < config.carried
    drawn[:, 1] = torch.where(carried[:, None, None, None], drawn[:, 0], drawn[:, 1])
    changed = x.clone()
    changed[chosen, :, 1] = drawn
    return changed


def _slices_kept(roi: torch.Tensor, lost: torch.Tensor) -> torch.Tensor:
    """(B, 2, D): 0 in the first and last slices of each ROI (B, 2, D, H, W), lost (B, 2, 2) of them at (first, last) end; all kept if none would be left."""
    peak = roi.amax((-2, -1))
    there = peak > 0.5 * peak.amax(-1, keepdim=True)                   # the ROI is soft, so that its edge reaches into slices nobody drew
    from_first, from_last = there.cumsum(-1), there.flip(-1).cumsum(-1).flip(-1)
    keep = (from_first > lost[..., :1]) & (from_last > lost[..., 1:])
    left = (keep & there).any(-1, keepdim=True)
    return torch.where(left, keep, torch.ones_like(keep)).to(roi.dtype)
