"""Augmentation of prepared crops, on whole batches: what both visits share, and what may differ between them.

Both visits turn, grow, shift and flip together. Each visit alone may be a little misplaced (as after an imperfect alignment), have
its ROI drawn a little differently, and differ in gain, offset and noise: by the dynamic rule, more often in the rarer class. Outlines as
poor as readers' and other intensities come in both classes alike, because what is plain to see there would otherwise tell the class.
Neither visit is ever flipped or warped alone, because that would look like a treatment effect.

rule       how often a case is changed
placing    where voxels go
intensity  gamma, bias field, blur, a lost slice
contours   poor outlines, carried beds
"""

from __future__ import annotations

import math

import torch

from MRDeltaNetLib.cohort.augmentation.contours import carry, perturb_outlines
from MRDeltaNetLib.cohort.augmentation.intensity import perturb_intensity
from MRDeltaNetLib.cohort.augmentation.placing import about, affine, centroid_mm, sample
from MRDeltaNetLib.cohort.augmentation.rule import probabilities, ramp
from MRDeltaNetLib.config import AugmentationConfig

__all__ = ["augment", "probabilities", "ramp"]


def augment(x: torch.Tensor, spacing_mm: tuple[float, float, float], config: AugmentationConfig, generator: torch.Generator,
            probability: torch.Tensor | None = None, epoch: float = math.inf) -> torch.Tensor:
    """A new batch with the same outcomes: (B, timepoint 2, channel 2, D, H, W); spacing_mm (x, y, z).

    generator    on the device of x; everything random comes from it
    probability  (B,) chance of each case to be changed by what follows the dynamic rule; None: all are
    epoch        from 0, for the ramps of what does not follow that rule
    """
    x, carried = perturb_outlines(x, spacing_mm, config.outlines, generator, epoch)
    if probability is None:
        x = _changed(x, spacing_mm, config, generator)
    else:
        chosen = (torch.rand(len(x), generator=generator, device=x.device) < probability.to(x.device)).nonzero()[:, 0]
        if len(chosen):
            x = x.index_copy(0, chosen, _changed(x[chosen], spacing_mm, config, generator))
    return torch.stack([perturb_intensity(x[:, :, 0], spacing_mm, config, generator, epoch), carry(x[:, :, 1], carried)], 2)


def _changed(x: torch.Tensor, spacing_mm: tuple[float, float, float], config: AugmentationConfig, generator: torch.Generator) -> torch.Tensor:
    batch, own = len(x), {"generator": generator, "device": x.device}

    def uniform(limit: float, *shape: int) -> torch.Tensor:
        return (torch.rand(*shape, **own) * 2 - 1) * limit

    angle = uniform(math.radians(config.rotation_deg), batch, 1) + uniform(math.radians(config.misplaced_deg), batch, 2)
    grow = (1 + uniform(config.scale, batch, 1)).expand(batch, 2)
    mirror = torch.where(torch.rand(batch, 1, **own) < config.flip, -1.0, 1.0).expand(batch, 2)
    shift_mm = uniform(config.shift_mm, batch, 1, 2) + uniform(config.misplaced_mm, batch, 2, 2)
    slices = uniform(config.misplaced_slices, batch, 2)
    place = affine(angle, grow, mirror, shift_mm, slices, x.shape[-3:], spacing_mm)
    t2 = sample(x[:, :, 0], place, "border")

    centre = centroid_mm(x[:, :, 1], spacing_mm)
    roi_grow = 1 + uniform(config.roi_scale, batch, 2)
    redraw = about(centre, roi_grow, uniform(config.roi_shift_mm, batch, 2, 2), x.shape[-3:], spacing_mm)
    roi = sample(x[:, :, 1], redraw @ place, "zeros")
    dropped = torch.rand(batch, 2, **own) < config.roi_dropout
    roi = roi.masked_fill(dropped[..., None, None, None], 0.0)

    gain = torch.exp(torch.randn(batch, 2, **own) * config.gain_sd)
    offset = torch.randn(batch, 2, **own) * config.offset_sd
    noise = torch.rand(batch, 2, **own) * config.noise_sd
    spread = lambda value: value[..., None, None, None]
    t2 = t2 * spread(gain) + spread(offset) + torch.randn(t2.shape, **own) * spread(noise)
    return torch.stack([t2, roi], 2)
