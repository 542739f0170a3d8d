"""Intensities as of another day or scanner: gamma, bias field, blur, a lost slice. Each visit by itself; outlines stay.

z-scores have no zero of intensity, so a visit's smallest value in the crop stands for it where a change is multiplicative.
MONAI has these transforms for one image at a time; here every visit of a batch has its own parameters, on the batch's device and from its generator.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from MRDeltaNetLib.cohort.augmentation.rule import ramp
from MRDeltaNetLib.config import AugmentationConfig


def perturb_intensity(scans: torch.Tensor, spacing_mm: tuple[float, float, float], config: AugmentationConfig, generator: torch.Generator,
                      epoch: float) -> torch.Tensor:
    """Scans (B, 2, D, H, W) with each change in a share of the visits, which rises over config.ramp_epochs; untouched, and the generator too, where
    all shares are 0."""
    own = {"generator": generator, "device": scans.device}
    flat = scans.flatten(0, 1)

    def some(probability: float) -> torch.Tensor:
        return (torch.rand(len(flat), **own) < probability * ramp(epoch, config.ramp_epochs)).nonzero()[:, 0]

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + torch.rand(*shape, **own) * (high - low)

    if config.gamma_probability and len(chosen := some(config.gamma_probability)):
        low, high = map(math.log, config.gamma)
        flat = flat.index_copy(0, chosen, with_gamma(flat[chosen], uniform(low, high, len(chosen)).exp()))
    if config.bias_field_probability and len(chosen := some(config.bias_field_probability)):
        flat = flat.index_copy(0, chosen, with_bias_field(flat[chosen], torch.randn(len(chosen), 9, **own) * config.bias_field_sd))
    if config.blur_probability and len(chosen := some(config.blur_probability)):
        flat = flat.index_copy(0, chosen, blurred(flat[chosen], uniform(0.0, config.blur_sigma_mm, len(chosen)), spacing_mm, 3 * config.blur_sigma_mm))
    if config.slice_drop_probability and flat.shape[1] > 1 and len(chosen := some(config.slice_drop_probability)):
        lost = torch.randint(0, flat.shape[1], (len(chosen),), **own)
        flat = flat.clone()
        flat[chosen, lost] = 0.0                                       # the mean of the body
    return flat.unflatten(0, scans.shape[:2])


def with_gamma(scans: torch.Tensor, gamma: torch.Tensor) -> torch.Tensor:
    """Scans (N, D, H, W) as t ** gamma (N,) over each one's own range; mean and SD stay, as normalisation would make them (MONAI's AdjustContrast)."""
    low, high = _each(scans.amin((1, 2, 3))), _each(scans.amax((1, 2, 3)))
    curved = ((scans - low) / (high - low).clamp(min=1e-6)).clamp(0, 1) ** _each(gamma)
    standard = (curved - _each(curved.mean((1, 2, 3)))) / _each(curved.std((1, 2, 3))).clamp(min=1e-6)
    return standard * _each(scans.std((1, 2, 3))) + _each(scans.mean((1, 2, 3)))


def with_bias_field(scans: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Scans (N, D, H, W) under a bias field whose logarithm is a polynomial of second degree in x, y, z (-1 to 1), with mean 1.

    weights  (N, 9) of x, y, z, xy, yz, zx and the Legendre polynomials of second degree in x, y, z
    """
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, n, device=scans.device) if n > 1 else torch.zeros(1, device=scans.device)
                               for n in scans.shape[1:]), indexing="ij")
    terms = torch.stack([x, y, z, x * y, y * z, z * x, *((3 * axis ** 2 - 1) / 2 for axis in (x, y, z))])
    field = torch.einsum("nk,kdhw->ndhw", weights, terms).exp()
    field = field / _each(field.mean((1, 2, 3)))
    dark = _each(scans.amin((1, 2, 3)))
    return dark + (scans - dark) * field


def blurred(scans: torch.Tensor, sigma_mm: torch.Tensor, spacing_mm: tuple[float, float, float], reach_mm: float) -> torch.Tensor:
    """Scans (N, D, H, W) after a Gaussian of sigma_mm (N,) in plane, whose kernel ends at reach_mm; edges repeat."""
    count = len(scans)
    for axis, step in ((-1, spacing_mm[0]), (-2, spacing_mm[1])):
        reach = max(1, math.ceil(reach_mm / step))
        place_mm = torch.arange(-reach, reach + 1, device=scans.device) * step
        kernel = torch.exp(-0.5 * (place_mm / sigma_mm.clamp(min=1e-3)[:, None]) ** 2)
        kernel = (kernel / kernel.sum(1, keepdim=True))[:, None]
        kernel = kernel[:, :, None, :] if axis == -1 else kernel[:, :, :, None]
        edge = (reach, reach, 0, 0) if axis == -1 else (0, 0, reach, reach)
        rows = F.pad(scans.transpose(0, 1), edge, mode="replicate")    # (D, N, H, W): one group a scan
        scans = F.conv2d(rows, kernel, groups=count).transpose(0, 1)
    return scans


def _each(values: torch.Tensor) -> torch.Tensor:
    return values[:, None, None, None]
