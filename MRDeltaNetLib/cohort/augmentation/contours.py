"""Outlines as poor as those of readers who disagree, in place of a batch's own; the crops are centred on them, as those of such outlines are."""

from __future__ import annotations

import torch

from MRDeltaNetLib.cohort.augmentation.placing import about, centroid_mm, moved_by_voxels, sample
from MRDeltaNetLib.cohort.augmentation.rule import ramp
from MRDeltaNetLib.config import OutlineErrorConfig

DRAWN = 0.05
"""A slice whose soft ROI reaches this share of the ROI's peak holds some of the outline: softening lowers the peak of small ones."""


def perturb_outlines(x: torch.Tensor, spacing_mm: tuple[float, float, float], config: OutlineErrorConfig, generator: torch.Generator,
                     epoch: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The batch with poor outlines in some of its cases, and which of those have a carried bed, (B,) bool.

    x          (B, timepoint 2, channel 2, D, H, W); spacing_mm (x, y, z)
    generator  on the device of x; untouched if config.probability is 0
    epoch      from 0, for the ramp

    Preparation centres a crop on the union of both outlines as drawn. So where poor outlines lie elsewhere, scans and outlines move together,
    by whole voxels, until that centre is where it was. A carried bed equals the tumour's outline here; what moves the visits apart
    afterwards has to be followed by `carry`, because carrying goes through the same imperfect alignment.
    """
    own, carried = {"generator": generator, "device": x.device}, torch.zeros(len(x), dtype=torch.bool, device=x.device)
    if not config.probability:
        return x, carried
    chosen = (torch.rand(len(x), **own) < config.probability * ramp(epoch, config.ramp_epochs)).nonzero()[:, 0]
    if not len(chosen):
        return x, carried
    roi = x[chosen, :, 1]
    grow = torch.exp((torch.rand(len(chosen), 2, **own) * 2 - 1) * torch.tensor(config.size, device=x.device).log())
    shift_mm = torch.randn(len(chosen), 2, 2, **own) * torch.tensor(config.shift_sd_mm, device=x.device)[:, None]
    drawn = sample(roi, about(centroid_mm(roi, spacing_mm), grow, shift_mm, x.shape[-3:], spacing_mm), "zeros")
    lost = torch.stack([torch.randint(0, most + 1, (len(chosen), 2), **own) for most in config.dropped_slices], 1)
    drawn = drawn * _slices_kept(roi, lost)[..., None, None]
    carried[chosen] = torch.rand(len(chosen), **own) < config.carried
    drawn = carry(drawn, carried[chosen])
    off = (_union_centre(drawn) - _union_centre(roi)).round().long()
    changed = x.clone()
    changed[chosen, :, 0] = moved_by_voxels(x[chosen, :, 0], off, outside="edge")
    changed[chosen, :, 1] = moved_by_voxels(drawn, off, outside="zero")
    return changed, carried


def carry(roi: torch.Tensor, carried: torch.Tensor) -> torch.Tensor:
    """ROIs (B, timepoint 2, D, H, W) whose carried (B,) cases have the first visit's in the second visit too."""
    return torch.stack([roi[:, 0], torch.where(carried[:, None, None, None], roi[:, 0], roi[:, 1])], 1)


def _slices_kept(roi: torch.Tensor, lost: torch.Tensor) -> torch.Tensor:
    """(B, 2, D): 0 in the first and last drawn slices of each ROI (B, 2, D, H, W) and beyond, lost (B, 2, 2) of them at (first, last) end; all
    are kept if none would be left."""
    peak = roi.amax((-2, -1))
    there = peak > DRAWN * peak.amax(-1, keepdim=True)
    from_first, from_last = there.cumsum(-1), there.flip(-1).cumsum(-1).flip(-1)
    first, last = lost[..., :1], lost[..., 1:]
    keep = ((from_first > first) | (first == 0)) & ((from_last > last) | (last == 0))
    left = (keep & there).any(-1, keepdim=True)
    return torch.where(left, keep, torch.ones_like(keep)).to(roi.dtype)


def _union_centre(roi: torch.Tensor) -> torch.Tensor:
    """(B, 3) centroid (slice, row, column) of the union of both visits' outlines (B, 2, D, H, W), in voxels; 0 for empty ones."""
    union = roi.amax(1)
    mass = union.sum((1, 2, 3)).clamp(min=1e-6)
    places = [torch.arange(size, device=roi.device, dtype=roi.dtype) for size in union.shape[1:]]
    means = [(union.sum(tuple(axis for axis in (1, 2, 3) if axis != own)) * place).sum(-1) / mass for own, place in enumerate(places, start=1)]
    return torch.stack(means, -1)
