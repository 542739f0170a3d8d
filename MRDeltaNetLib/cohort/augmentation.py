"""Augmentation of prepared crops, on whole batches: what both visits share, and what may differ between them.

Both visits turn, grow, shift and flip together. Each visit alone may be a little misplaced (as after an imperfect alignment), have
its ROI drawn a little differently, and differ in gain, offset and noise. Neither is ever flipped or warped alone, because that
would look like a treatment effect.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from MRDeltaNetLib.config import AugmentationConfig


def ramp(epoch: int, over: int) -> float:
    """0 in epoch 0, rising linearly to 1 in epoch number `over`; 1 throughout if over is 0."""
    return 1.0 if over <= 0 else min(1.0, epoch / over)


def probabilities(outcome: torch.Tensor, counts: tuple[int, int], epoch: int, config: AugmentationConfig) -> torch.Tensor:
    """The dynamic rule: chance (B,) that each case is changed, by its class and the epoch (from 0).

    outcome  (B,) in {0, 1}
    counts   training cases of both classes; with equal counts both are treated as the minority
    """
    rate = [config.probability_minority if own <= other else config.probability_majority for own, other in (counts, counts[::-1])]
    return torch.where(outcome > 0.5, rate[1], rate[0]) * ramp(epoch, config.ramp_epochs)


def augment(x: torch.Tensor, spacing_mm: tuple[float, float, float], config: AugmentationConfig,
            generator: torch.Generator, probability: torch.Tensor | None = None) -> torch.Tensor:
    """A new batch with the same outcomes: (B, timepoint 2, channel 2, D, H, W); spacing_mm (x, y, z).

    generator    on the device of x; everything random comes from it
    probability  (B,) chance of each case to be changed at all; None: all are
    """
    if probability is None:
        return _changed(x, spacing_mm, config, generator)
    chosen = (torch.rand(len(x), generator=generator, device=x.device) < probability.to(x.device)).nonzero()[:, 0]
    if not len(chosen):
        return x
    return x.index_copy(0, chosen, _changed(x[chosen], spacing_mm, config, generator))


def _changed(x: torch.Tensor, spacing_mm: tuple[float, float, float], config: AugmentationConfig, generator: torch.Generator) -> torch.Tensor:
    batch, own = len(x), {"generator": generator, "device": x.device}

    def uniform(limit: float, *shape: int) -> torch.Tensor:
        return (torch.rand(*shape, **own) * 2 - 1) * limit

    angle = uniform(math.radians(config.rotation_deg), batch, 1) + uniform(math.radians(config.misplaced_deg), batch, 2)
    grow = (1 + uniform(config.scale, batch, 1)).expand(batch, 2)
    mirror = torch.where(torch.rand(batch, 1, **own) < config.flip, -1.0, 1.0).expand(batch, 2)
    shift_mm = uniform(config.shift_mm, batch, 1, 2) + uniform(config.misplaced_mm, batch, 2, 2)
    slices = uniform(config.misplaced_slices, batch, 2)
    place = _affine(angle, grow, mirror, shift_mm, slices, x.shape[-3:], spacing_mm)
    t2 = _sample(x[:, :, 0], place, "border")

    centre = _centroid_mm(x[:, :, 1], spacing_mm)
    roi_grow = 1 + uniform(config.roi_scale, batch, 2)
    redrawn = _about(centre, roi_grow, uniform(config.roi_shift_mm, batch, 2, 2), x.shape[-3:], spacing_mm)
    roi = _sample(x[:, :, 1], redrawn @ place, "zeros")
    dropped = torch.rand(batch, 2, **own) < config.roi_dropout
    roi = roi.masked_fill(dropped[..., None, None, None], 0.0)

    gain = torch.exp(torch.randn(batch, 2, **own) * config.gain_sd)
    offset = torch.randn(batch, 2, **own) * config.offset_sd
    noise = torch.rand(batch, 2, **own) * config.noise_sd
    spread = lambda value: value[..., None, None, None]
    t2 = t2 * spread(gain) + spread(offset) + torch.randn(t2.shape, **own) * spread(noise)
    return torch.stack([t2, roi], 2)


def _affine(angle, grow, mirror, shift_mm, slices, voxels, spacing_mm) -> torch.Tensor:
    """(B, 2, 4, 4) in normalised coordinates (x, y, z, 1), from output to input place."""
    half = [n * step / 2 for n, step in zip(voxels[::-1], spacing_mm)]
    matrix = torch.zeros(*angle.shape, 4, 4, device=angle.device)
    cos, sin = torch.cos(angle) / grow, torch.sin(angle) / grow
    matrix[..., 0, 0], matrix[..., 0, 1] = cos * mirror, -sin * half[1] / half[0]
    matrix[..., 1, 0], matrix[..., 1, 1] = sin * mirror * half[0] / half[1], cos
    matrix[..., 2, 2] = matrix[..., 3, 3] = 1
    matrix[..., 0, 3], matrix[..., 1, 3] = shift_mm[..., 0] / half[0], shift_mm[..., 1] / half[1]
    matrix[..., 2, 3] = slices * 2 / voxels[0]
    return matrix


def _about(centre_mm, grow, shift_mm, voxels, spacing_mm) -> torch.Tensor:
    """(B, 2, 4, 4): in-plane scaling about centre_mm (x, y; origin in the middle of the crop), then a shift."""
    half = torch.tensor([n * step / 2 for n, step in zip(voxels[::-1], spacing_mm)], device=grow.device)[:2]
    matrix = torch.eye(4, device=grow.device).repeat(*grow.shape, 1, 1)
    matrix[..., 0, 0] = matrix[..., 1, 1] = 1 / grow
    matrix[..., :2, 3] = (centre_mm * (1 - 1 / grow[..., None]) + shift_mm) / half
    return matrix


def _sample(volumes: torch.Tensor, place: torch.Tensor, outside: str) -> torch.Tensor:
    """(B, 2, D, H, W) interpolated linearly at place."""
    flat = volumes.flatten(0, 1)[:, None]
    grid = F.affine_grid(place.flatten(0, 1)[:, :3], list(flat.shape), align_corners=False)
    return F.grid_sample(flat, grid, mode="bilinear", padding_mode=outside, align_corners=False)[:, 0].unflatten(0, volumes.shape[:2])


def _centroid_mm(roi: torch.Tensor, spacing_mm: tuple[float, float, float]) -> torch.Tensor:
    """(B, 2, 2) in-plane (x, y) centroid, mm from the middle of the crop; the middle for an empty ROI."""
    mass = roi.sum((2, 3, 4)).clamp(min=1e-6)
    x = (torch.arange(roi.shape[-1], device=roi.device) - (roi.shape[-1] - 1) / 2) * spacing_mm[0]
    y = (torch.arange(roi.shape[-2], device=roi.device) - (roi.shape[-2] - 1) / 2) * spacing_mm[1]
    return torch.stack([(roi.sum((2, 3)) * x).sum(-1) / mass, (roi.sum((2, 4)) * y).sum(-1) / mass], -1)
