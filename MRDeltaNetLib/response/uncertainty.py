"""How far P(pCR) moves when the question moves a little: other outlines, and the members of an ensemble.

The range that comes out is a range of answers. It says what one model, or its members, would have said about this case had the
outlines been drawn slightly otherwise. It is not a confidence interval: it knows nothing of the truth, of the sampling of the
training cases beyond the members, or of other scanners.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Callable, Mapping

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import Prepared
from MRDeltaNetLib.config import RunConfig
from MRDeltaNetLib.errors import Notice
from MRDeltaNetLib.response.prediction import Prediction

if TYPE_CHECKING:
    import torch

STEP_MM = RunConfig.outline_step_mm
"""How far outlines are moved where nobody asks for another step, and in every cohort."""

_RESIZED = {"both_larger": 1.0, "both_smaller": -1.0}
_MOVED = {"bed_left": (1.0, 0.0), "bed_right": (-1.0, 0.0), "bed_posterior": (0.0, 1.0), "bed_anterior": (0.0, -1.0)}


def resized_mm(step_mm: float = STEP_MM) -> dict[str, float]:
    """Variants in which tumour and tumour bed both grow or shrink by so many mm in all three directions; the name carries the number."""
    return {f"{name}_{step_mm:g}mm": sign * step_mm for name, sign in _RESIZED.items()}


def moved_mm(step_mm: float = STEP_MM) -> dict[str, tuple[float, float]]:
    """Variants in which the tumour bed alone is moved by so many mm (x, y) in the plane of the crop grid, whose x runs to the patient's
    left and y to the back. The tumour before treatment is easier to outline, and stays."""
    return {f"{name}_{step_mm:g}mm": (x * step_mm, y * step_mm) for name, (x, y) in _MOVED.items()}


def names(step_mm: float = STEP_MM) -> tuple[str, ...]:
    """Every variant, in the order in which they are reported."""
    return (*resized_mm(step_mm), *moved_mm(step_mm))


NAMES = names()

FINE_MM = 0.75
"""Voxels are split into parts of at most this size before an outline is moved, so that thick slices lose part of their thickness
and not all or nothing."""

MIN_LEFT_FRACTION = 0.1
"""An outline of which less than this is left is no outline of the same thing: the variant is left out."""

_RANGE_MEANING = ("the smallest and largest P(pCR) {among}, and {who} with both outlines {step:g} mm larger "
                  "and smaller and the tumour bed moved by {step:g} mm in four directions; a range of answers, not a confidence interval")
_ALL_MEMBERS = {"among": "among the model's members at the given outlines", "who": "the model"}
_FIRST_MEMBER = {"among": "of the model's first member alone, at the given outlines", "who": "that member"}

RoiChannel = Callable[[sitk.Image, sitk.Image, sitk.Transform], "torch.Tensor"]


@dataclass(frozen=True)
class Outlines:
    """Both ROI channels as other outlines would make them.

    channels  name -> torch.Tensor, float32, (timepoint 2, depth, height, width)
    left_out  name -> why it is missing
    notices   the same for the reader
    """

    channels: Mapping[str, "torch.Tensor"]
    left_out: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()


def other_outlines(prepared: Prepared, pre_mask: sitk.Image, post_mask: sitk.Image, transform: sitk.Transform,
                   roi_channel: RoiChannel, step_mm: float = STEP_MM) -> Outlines:
    """The ROI channels under every variant of names(step_mm); the image channels stay as they are.

    prepared     the case as the network sees it, with the drawn outlines
    pre_mask     the tumour, post_mask the tumour bed, each on its scan's grid, stored as roi_channel wants it, not empty
    transform    pre LPS -> post LPS, mm, linear
    roi_channel  (mask as shares 0 to 1 on its scan's grid, crop grid, crop LPS -> scan LPS) -> channel (depth, height, width):
                 imaging.preprocessing.roi_channel, the very function that made the drawn outlines' channels
    step_mm      how far outlines are moved, grown and shrunk, mm
    """
    identity = sitk.Transform(3, sitk.sitkIdentity)
    channels, left_out = {}, {}
    for name, by_mm in resized_mm(step_mm).items():
        masks = resized(pre_mask, by_mm), resized(post_mask, by_mm)
        if gone := [what for what, mask in zip(("the tumour", "the tumour bed"), masks) if mask is None]:
            left_out[name] = f"{' and '.join(gone)} would be gone: too thin to shrink by {step_mm:g} mm"
            continue
        channels[name] = _stacked(roi_channel(masks[0], prepared.grid, identity), roi_channel(masks[1], prepared.grid, transform))
    drawn = prepared.tensor[0, 1]
    for name, (x_mm, y_mm) in moved_mm(step_mm).items():
        channels[name] = _stacked(drawn, roi_channel(post_mask, prepared.grid, _moved(transform, prepared.grid, (x_mm, y_mm, 0.0))))
    notices = tuple(Notice("MRD-W716", f"The range of P(pCR) is without outlines {step_mm:g} mm smaller: {why}",
                           "read the range as too narrow; look whether the outline misses part of the site") for why in left_out.values())
    return Outlines(channels, left_out, notices)


def resized(mask: sitk.Image, by_mm: float) -> sitk.Image | None:
    """The mask grown (by_mm > 0) or shrunk (by_mm < 0) by a Euclidean distance in mm, whatever the voxels' shape.

    mask     uint8 {0, 1}, on its scan's grid
    returns  float32 on that grid: the share of each voxel that is inside, so that slices thicker than the step change by the right
             part of their thickness (error at most half of FINE_MM); exactly the mask for 0; None if less than MIN_LEFT_FRACTION
             of its volume is left. At the scan's edge nothing is shrunk: what lies beyond is unknown.
    """
    inside = sitk.GetArrayFromImage(mask) > 0
    spacing = np.array(mask.GetSpacing())[::-1]                                        # z, y, x, as the arrays
    reach = np.ceil(max(by_mm, 0.0) / spacing).astype(int) + 1
    block = tuple(slice(max(0, int(found.min()) - r), int(found.max()) + r + 1) for found, r in zip(np.nonzero(inside), reach))
    parts = np.ceil(spacing / FINE_MM - 1e-9).astype(int)
    fine = inside[block]
    for axis, count in enumerate(parts):
        fine = np.repeat(fine, count, axis)
    step = spacing / parts
    if by_mm < 0:
        kept = _beyond(~fine, step) >= -by_mm
    else:
        kept = fine | (_beyond(fine, step) <= by_mm)
    share = np.zeros(inside.shape, np.float32)
    share[block] = kept.reshape(tuple(chain.from_iterable(zip(inside[block].shape, parts)))).mean((1, 3, 5), dtype=np.float32)
    if share.sum() < MIN_LEFT_FRACTION * inside.sum():
        return None
    result = sitk.GetImageFromArray(share)
    result.CopyInformation(mask)
    return result


def _beyond(marked: np.ndarray, step_mm: np.ndarray) -> np.ndarray:
    """Distance, mm, of every voxel's centre outside from the marked region's faces (Maurer 2003); 0 or below inside, infinite if nothing
    is marked. step_mm: voxel size (z, y, x)."""
    if not marked.any():
        return np.full(marked.shape, np.inf, np.float32)
    image = sitk.GetImageFromArray(marked.astype(np.uint8))
    image.SetSpacing(step_mm[::-1].tolist())
    from_centres = sitk.SignedMaurerDistanceMap(image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    return sitk.GetArrayFromImage(from_centres) - np.prod(step_mm) ** (1 / 3) / 2      # faces lie half a voxel nearer than centres


def spread(prediction: Prediction, left_out: Mapping[str, str], *, step_mm: float = STEP_MM, first_alone: bool = False) -> dict[str, Any]:
    """The range and its sources, as fields of case.Result: p_pcr_low, p_pcr_high, spread.

    prediction  with member_p_pcr and outline_p_pcr
    left_out    Outlines.left_out
    step_mm     that the outlines were made with
    first_alone the prediction is that of an ensemble's first member, and the others were not asked
    The members' standard deviation has n - 1 below it, and is None for a single network.
    """
    members = prediction.member_p_pcr
    meaning = _RANGE_MEANING.format(step=step_mm, **(_FIRST_MEMBER if first_alone else _ALL_MEMBERS))
    answers = (prediction.p_pcr, *members, *prediction.outline_p_pcr.values())
    sources = {"members": max(1, len(members)), "member_p_pcr": list(members), "member_sd": statistics.stdev(members) if len(members) > 1 else None,
               "outline_p_pcr": dict(prediction.outline_p_pcr), "outlines_left_out": dict(left_out), "meaning": meaning}
    return {"p_pcr_low": min(answers), "p_pcr_high": max(answers), "spread": sources}


def varied(spread: Mapping[str, Any]) -> str:
    """Over what a Result's range goes, in words."""
    return "outlines and members" if spread.get("members", 1) > 1 else "outlines"


def probability(value: float, threshold: float | None = None) -> str:
    """A probability in two decimals, in more where it would else look equal to the threshold; never a bare 0 or 1."""
    decimals = 2
    if threshold is not None and value != threshold:
        while decimals < 6 and round(value, decimals) == round(threshold, decimals):
            decimals += 1
    if round(value, decimals) == 0:
        return f"below {10 ** -decimals:.{decimals}f}"
    if round(value, decimals) == 1:
        return f"above {1 - 10 ** -decimals:.{decimals}f}"
    return f"{value:.{decimals}f}"


def notices(low: float, high: float, threshold: float) -> tuple[Notice, ...]:
    """A warning if not all answers of the range give the same class (P(pCR) at or above the threshold is "pCR")."""
    if not low < threshold <= high:
        return ()
    return (Notice("MRD-W713", f"The class depends on outline or member: the threshold {threshold:.3f} lies inside the range {low:.3f} to {high:.3f}",
                   "do not rely on the class; look at both outlines, and read the range"),)


def first_member_notice(members: int) -> Notice:
    """The warning that one member of an ensemble answered alone."""
    return Notice("MRD-W718", f"P(pCR) is that of the first of the model's {members} members alone, and the range knows one member only; recalibration, "
                  "threshold and held-out AUC are those of all members together", "ask all members before you rely on the number or its range")


def _moved(transform: sitk.Transform, grid: sitk.Image, by_mm: tuple[float, float, float]) -> sitk.Transform:
    """Crop LPS -> scan LPS for a mask that lies by_mm further along the crop grid's own axes."""
    step = np.array(grid.GetDirection()).reshape(3, 3) @ np.array(by_mm)
    return sitk.CompositeTransform([transform, sitk.TranslationTransform(3, (-step).tolist())])      # the last is applied first


def _stacked(pre: "torch.Tensor", post: "torch.Tensor") -> "torch.Tensor":
    from torch import stack
    return stack([pre, post])
