"""Masks that nobody drew: carried from the other scan, or made by a segmenter that is handed in.

A carried mask is a suggestion for a person to check and edit, never a finding.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import Timepoint
from MRDeltaNetLib.errors import InputError, Notice
from MRDeltaNetLib.imaging.registration.similarity import linear_parts
from MRDeltaNetLib.io.gate.grids import same_grid
from MRDeltaNetLib.progress import Progress, silent

LEVELS = (0.3, 0.7)
"""A carried mask's border may lie where the interpolated mask has these values; 0.5 is the middle."""

MAX_CUT_FRACTION = 0.20
"""More of a carried mask outside the other scan's field of view: refused."""

WARN_CUT_FRACTION = 0.01
"""More of it outside: warning."""

HOW_TO_DRAW = ("draw it by hand on that scan (the step Tumour of panel and page, or 3D Slicer's Segment Editor: export it as a label map on the scan's "
               "own grid) and hand it in as the {role} mask")


class Segmenter(Protocol):
    """Draws a mask on a scan; automatic methods plug in here."""

    def __call__(self, image: sitk.Image, progress: Progress) -> sitk.Image:
        """image: 3-D float32, LPS mm. Returns uint8 {0, 1} on the image's grid."""


def segment(image: sitk.Image, segmenter: Segmenter | None = None, *, role: str = "pre", progress: Progress = silent) -> sitk.Image:
    """The mask of a scan by a segmenter.

    image      sitk.Image, 3-D float32, LPS mm
    segmenter  what draws; without one there is no mask to be had
    role       "pre" or "post": how the message names the option

    returns    uint8 {0, 1} on the image's grid, not empty
    raises     InputError MRD-E354 without a segmenter, MRD-E355 if what it drew is empty or lies on another grid
    """
    if segmenter is None:
        raise InputError("There is no mask of the tumour and nothing that could draw one", code="MRD-E354", fix=HOW_TO_DRAW.format(role=role))
    drawn = segmenter(image, progress)
    if not same_grid(drawn, image):
        raise InputError("The segmenter drew its mask on another grid than the scan's", code="MRD-E355",
                         found=f"mask {drawn.GetSize()}, scan {image.GetSize()} voxels", fix="draw the mask by hand, or mend the segmenter")
    mask = sitk.Cast(drawn > 0, sitk.sitkUInt8)
    if not _voxels(mask).any():
        raise InputError("The segmenter found no tumour", code="MRD-E355", found="an empty mask", fix=HOW_TO_DRAW.format(role=role))
    return mask


def carry_mask(mask: sitk.Image, to_image: sitk.Image, transform: sitk.Transform) -> sitk.Image:
    """A mask brought to another scan's grid.

    mask       sitk.Image, uint8 {0, 1}, on its own scan's grid
    to_image   the scan that shall get it
    transform  LPS of to_image -> LPS of mask, mm, linear (for pre -> post carrying: the inverse of the alignment)

    returns    uint8 {0, 1} on to_image's grid
    raises     InputError MRD-E356 (empty mask), MRD-E357 (nothing or too little of it lies in the other scan), MRD-E358

    The mask is interpolated linearly and cut at 0.5, or as near to 0.5 (within 0.3 to 0.7) as keeps its volume: interpolation
    rounds corners off, so a plain 0.5 loses up to 3 % of a small tumour, and thick slices more.
    """
    if not _voxels(mask).any():
        raise InputError("The mask that shall be carried to the other scan is empty", code="MRD-E356", found="no voxel is marked",
                         fix="draw the tumour first")
    inverse = _inverse(transform)
    inside = 1 - cut_fraction(mask, to_image, inverse)
    if inside < 1 - MAX_CUT_FRACTION:
        raise InputError("The carried mask does not lie within the other scan", code="MRD-E357",
                         found=f"{100 * inside:.0f} % of it inside the field of view",
                         fix="check the alignment of the two scans; if it is right, draw the mask on the other scan by hand")
    share = sitk.Resample(sitk.Cast(mask > 0, sitk.sitkFloat32), to_image, transform, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    wanted = inside * _volume_mm3(mask) * abs(np.linalg.det(linear_parts(inverse)[0])) / float(np.prod(to_image.GetSpacing()))
    carried = sitk.GetImageFromArray(_cut_to_volume(_voxels(share), wanted).astype(np.uint8))
    carried.CopyInformation(to_image)
    return carried


def cut_fraction(mask: sitk.Image, to_image: sitk.Image, transform: sitk.Transform) -> float:
    """How much of the mask lies outside to_image's field of view, 0 to 1.

    transform  LPS of mask -> LPS of to_image
    """
    ones = sitk.Image(to_image.GetSize(), sitk.sitkUInt8) + 1
    ones.CopyInformation(to_image)
    seen = _voxels(sitk.Resample(ones, mask, transform, sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8))
    marked = _voxels(mask) > 0
    return float(np.count_nonzero(marked & (seen == 0)) / np.count_nonzero(marked))


def complete_masks(pre: Timepoint, post: Timepoint, transform: sitk.Transform) -> tuple[Timepoint, Timepoint, tuple[Notice, ...]]:
    """Both visits with a mask each: the tumour before treatment, the tumour bed after it.

    transform  pre LPS -> post LPS, mm, linear
    returns    the visits (post.mask_source "carried" if nobody drew its bed) and notices
    raises     InputError MRD-E350 if the pre mask is missing, MRD-E354 if both are; what carry_mask raises
    """
    if pre.mask is None and post.mask is None:
        segment(pre.image)
    if pre.mask is None:
        raise InputError("The tumour is drawn on the post-treatment scan only", code="MRD-E350",
                         found="no mask of the pre-treatment scan", fix=HOW_TO_DRAW.format(role="pre"))
    if post.mask is not None:
        return pre, post, ()
    bed = carry_mask(pre.mask, post.image, _inverse(transform))
    notices = [Notice("MRD-W350", "The tumour bed on the post-treatment scan was carried there from the pre-treatment mask; nobody drew it",
                      "check it on the post-treatment scan and correct it; hand in the corrected mask as the post mask")]
    cut = cut_fraction(pre.mask, post.image, transform)
    if cut > WARN_CUT_FRACTION:
        notices.append(Notice("MRD-W351", f"{100 * cut:.0f} % of the carried tumour bed lies outside the post-treatment scan",
                              "check the alignment; a scan that covers the whole tumour is better"))
    return pre, replace(post, mask=bed, mask_source="carried"), tuple(notices)


def _voxels(image: sitk.Image) -> np.ndarray:
    """A copy of the voxels, because a view of a temporary image outlives its memory."""
    return sitk.GetArrayFromImage(image)


def _volume_mm3(mask: sitk.Image) -> float:
    return float(np.count_nonzero(_voxels(mask))) * float(np.prod(mask.GetSpacing()))


def _inverse(transform: sitk.Transform) -> sitk.Transform:
    """The inverse of a linear transform."""
    if not transform.IsLinear():
        raise InputError("A mask is carried through a rigid or affine alignment only", code="MRD-E358", found="a deformable transform",
                         fix="align rigidly, or draw the mask on the other scan by hand")
    return transform.GetInverse()


def _cut_to_volume(share: np.ndarray, wanted: float) -> np.ndarray:
    """Where the interpolated mask is above the level, within LEVELS, whose voxel count comes nearest to wanted; of equally good
    levels the one nearest to 0.5."""
    border = np.sort(share[(share >= LEVELS[0]) & (share <= LEVELS[1])])
    levels = np.unique(np.concatenate([border, [0.5]]))
    certain = np.count_nonzero(share > LEVELS[1])
    counts = certain + border.size - np.searchsorted(border, levels, side="left")
    miss = np.abs(counts - wanted)
    best = levels[miss <= miss.min() + 0.5]
    return share >= best[np.argmin(np.abs(best - 0.5))]
