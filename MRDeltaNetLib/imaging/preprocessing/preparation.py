"""prepare: two aligned scans with masks become the input of a network. Training and use share this one path."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import IMAGE_ROLES, Prepared, Timepoint
from MRDeltaNetLib.config import PreprocessingConfig
from MRDeltaNetLib.errors import InputError, Notice, require
from MRDeltaNetLib.imaging.preprocessing.grids import crop_grid, field_of_view, in_axial_order, interpolated
from MRDeltaNetLib.imaging.preprocessing.intensity import (Normalisation, body_mask, correct_bias, grown, normalisation, values)

MASK_NAMES = {"pre": "tumour", "post": "tumour bed"}

WARN_PADDED_FRACTION = 0.25
"""Above this fraction of the crop outside a scan's field of view: warning."""

WARN_ROI_INSIDE_FRACTION = 0.95
"""Below this fraction of a mask's volume inside the crop: warning."""

MIN_ROI_INSIDE_FRACTION = 0.5
"""Below this fraction of either mask inside the crop: refused. The network would judge a place where the tumour is not."""

COMMON_ROI = 0.1
"""Both ROI channels above this somewhere: the masks meet. Below lie the tails that softening adds."""


def prepare(pre: Timepoint, post: Timepoint, transform: sitk.Transform, config: PreprocessingConfig = PreprocessingConfig()) -> Prepared:
    """What a network sees of a case.

    pre, post  the visits; pre.mask is the tumour, post.mask the tumour bed, neither may be empty
    transform  pre LPS -> post LPS, mm; rigid or affine
    config     a model bundle's own values

    returns    Prepared: tensor float32 (timepoint pre/post, channel image/ROI, depth, height, width) on one crop grid
    raises     InputError MRD-E350..E353 (masks), MRD-E740..E747

    The crop grid has the pre scan's own axes in axial order (so an oblique scan is not straightened), and its centre is the
    centroid of the union, on the pre scan's voxels, of the tumour and of the bed carried there (linear interpolation of the
    bed, at least 0.5). Each scan is interpolated once, from its own grid: B-spline of order 3, smoothed first along axes
    that become coarser. ROI channel: the mask by linear interpolation, then a Gaussian in plane. Where a scan does not
    reach, its image is its body's median and its ROI 0.
    """
    for role, timepoint in (("pre", pre), ("post", post)):
        _require_mask(timepoint, role)
    if not transform.IsLinear():
        raise InputError("A deformable alignment cannot feed the network, because it may undo the change that treatment made",
                         code="MRD-E740", found="a transform that is neither rigid nor affine", fix="align rigidly")
    images = [in_axial_order(sitk.Cast(timepoint.image, sitk.sitkFloat32)) for timepoint in (pre, post)]
    masks = [in_axial_order(timepoint.mask) for timepoint in (pre, post)]
    centre = _centre(masks[0], masks[1], transform)
    grid = crop_grid(images[0], centre, config.spacing_mm, config.crop_mm)

    channels, parameters, notices = [], {**asdict(config), "size_voxels": grid.GetSize(), "centre_lps_mm": tuple(centre.tolist())}, []
    for role, image, mask, to_scan in zip(("pre", "post"), images, masks, (sitk.Transform(3, sitk.sitkIdentity), transform)):
        stack, facts = _timepoint_on_grid(image, mask, grid, to_scan, config)
        channels.append(stack)
        parameters[role] = facts
        _require_roi_inside(role, facts, config)
        notices += _notices(role, facts)
    notices += _apart(channels[0][1], channels[1][1])
    torch = require("torch", "Preprocessing")
    tensor = torch.stack(channels)
    if not bool(torch.isfinite(tensor).all()):
        raise InputError("The prepared scans hold voxels that are no numbers", code="MRD-E746", found="NaN or infinite values",
                         fix="export both scans again and check the transform")
    return Prepared(tensor=tensor, grid=grid, parameters=parameters, notices=tuple(notices))


def _require_mask(timepoint: Timepoint, role: str) -> None:
    name, scan = MASK_NAMES[role], IMAGE_ROLES[role]
    if timepoint.mask is None:
        raise InputError(f"No {name} is drawn on {scan}", code="MRD-E350" if role == "pre" else "MRD-E351",
                         fix=f"draw the {name} on {scan} and hand it in as the {role} mask")
    if not values(timepoint.mask).any():
        raise InputError(f"The {name} on {scan} is empty", code="MRD-E352" if role == "pre" else "MRD-E353", found="no voxel is marked",
                         fix=f"draw the {name}" if role == "pre" else "draw the whole original tumour site; if no viable tumour is "
                             "left, that belongs into the residual mask or the statement of a complete response, not into the bed")


def _centre(pre_mask: sitk.Image, post_mask: sitk.Image, transform: sitk.Transform) -> np.ndarray:
    """Centroid of the union of the tumour and the carried bed on the pre scan's voxels, LPS mm."""
    carried = sitk.Resample(sitk.Cast(post_mask > 0, sitk.sitkFloat32), pre_mask, transform, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    inside = np.argwhere((values(pre_mask) > 0) | (values(carried) >= 0.5))
    return np.array(pre_mask.TransformContinuousIndexToPhysicalPoint(inside.mean(axis=0)[::-1].tolist()))


def _timepoint_on_grid(image: sitk.Image, mask: sitk.Image, grid: sitk.Image, to_scan: sitk.Transform,
                       config: PreprocessingConfig) -> tuple["torch.Tensor", dict]:
    """One visit on the crop grid: float32 (channel 2, depth, height, width), and what was done to it."""
    body = body_mask(image)
    image = correct_bias(image, config.bias_correction, body)
    scale = normalisation(image, body, grown(mask, config.exclusion_margin_mm), config.clip_percentiles)
    clipped = sitk.Clamp(image, sitk.sitkFloat32, scale.low, scale.high)
    on_grid = interpolated(clipped, grid, to_scan, min(max(scale.median, scale.low), scale.high))
    roi = _roi_on_grid(sitk.Cast(mask > 0, sitk.sitkFloat32), grid, to_scan)
    seen = values(field_of_view(image, grid, to_scan))
    voxels = float(np.prod(mask.GetSpacing())) * int((values(mask) > 0).sum())
    facts = {**asdict(scale), "body_ml": float(values(body).sum() * np.prod(body.GetSpacing()) / 1000),
             "padded_fraction": float(1 - seen.mean()),
             "roi_inside_fraction": float(min(1.0, values(roi).sum() * np.prod(grid.GetSpacing()) / voxels))}
    return _channels(on_grid, roi, scale, config.roi_sigma_mm), facts


def roi_channel(mask: sitk.Image, grid: sitk.Image, to_scan: sitk.Transform, roi_sigma_mm: float) -> "torch.Tensor":
    """The ROI channel that `prepare` makes of a mask, for another mask of the same case: float32 (depth, height, width) in [0, 1].

    mask     in axial order (in_axial_order), on its scan's grid; marked share of each voxel, 0 to 1 (a drawn mask holds 0 and 1 only)
    grid     Prepared.grid
    to_scan  crop LPS -> scan LPS, mm, linear: identity for the pre scan, the alignment for the post scan
    """
    return _soft(_roi_on_grid(sitk.Cast(mask, sitk.sitkFloat32), grid, to_scan), roi_sigma_mm)[0]


def _roi_on_grid(share: sitk.Image, grid: sitk.Image, to_scan: sitk.Transform) -> sitk.Image:
    return sitk.Resample(share, grid, to_scan, sitk.sitkLinear, 0.0, sitk.sitkFloat32)


def _channels(image: sitk.Image, roi: sitk.Image, scale: Normalisation, roi_sigma_mm: float) -> "torch.Tensor":
    """Image and ROI of one visit as normalised channels; the B-spline's overshoot beyond the clip limits is cut off."""
    torch = require("torch", "Preprocessing")
    intensity = require("monai.transforms.intensity.array", "Preprocessing", "pip install monai")
    picture = intensity.NormalizeIntensity(subtrahend=scale.mean, divisor=scale.sd)(np.clip(values(image), scale.low, scale.high)[None])
    plain = require("monai.utils.type_conversion", "Preprocessing", "pip install monai").convert_to_tensor
    return torch.cat([plain(picture, track_meta=False).float(), _soft(roi, roi_sigma_mm)])


def _soft(roi: sitk.Image, roi_sigma_mm: float) -> "torch.Tensor":
    """The ROI after a Gaussian in plane, cut to [0, 1]: float32 (1, depth, height, width)."""
    intensity = require("monai.transforms.intensity.array", "Preprocessing", "pip install monai")
    plain = require("monai.utils.type_conversion", "Preprocessing", "pip install monai").convert_to_tensor
    x_mm, y_mm, _ = roi.GetSpacing()
    soft = intensity.GaussianSmooth(sigma=(0.0, roi_sigma_mm / y_mm, roi_sigma_mm / x_mm))(values(roi)[None])
    return plain(soft, track_meta=False).clamp(0.0, 1.0).float()


def _require_roi_inside(role: str, facts: dict, config: PreprocessingConfig) -> None:
    if facts["roi_inside_fraction"] < MIN_ROI_INSIDE_FRACTION:
        raise InputError(f"Most of the {MASK_NAMES[role]} on {IMAGE_ROLES[role]} lies outside what the network sees", code="MRD-E747",
                         found=f"{100 * facts['roi_inside_fraction']:.0f} % of it inside {' x '.join(f'{extent:g}' for extent in config.crop_mm)} mm "
                               "around both masks",
                         fix="check that both masks mark the same site, and the alignment; a tumour that is larger than this needs another model")


def _apart(pre_roi: "torch.Tensor", post_roi: "torch.Tensor") -> list[Notice]:
    """A warning if the tumour and its bed, aligned, have no place in common. ROI channels, (depth, height, width)."""
    if float(pre_roi.minimum(post_roi).max()) > COMMON_ROI:
        return []
    return [Notice("MRD-W748", "After alignment the tumour and the tumour bed have no place in common",
                   "check both masks and the alignment: the bed should be the tumour's own site")]


def _notices(role: str, facts: dict) -> list[Notice]:
    scan, found = IMAGE_ROLES[role], []
    if facts["padded_fraction"] > WARN_PADDED_FRACTION:
        found.append(Notice("MRD-W740", f"{100 * facts['padded_fraction']:.0f} % of what the network sees lies outside {scan}",
                            "check the alignment; a scan that covers the tumour and 30 mm around it is better"))
    if facts["roi_inside_fraction"] < WARN_ROI_INSIDE_FRACTION:
        found.append(Notice("MRD-W741", f"Only {100 * facts['roi_inside_fraction']:.0f} % of the {MASK_NAMES[role]} on {scan} lies inside "
                                        "what the network sees", "check the mask; a tumour this long is cut at the ends"))
    return found
