"""How well two outlines of one structure agree: overlap, distance of their borders, volumes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.io.gate.grids import same_grid
from MRDeltaNetLib.io.gate.outlines import volume_ml

PERCENTILE = 95.0

BOTH, NEITHER, ONLY_A, ONLY_B = "both drew", "both empty", "only A drew", "only B drew"
DRAWN = (BOTH, NEITHER, ONLY_A, ONLY_B)


@dataclass(frozen=True)
class Agreement:
    """Two readers' outlines of one structure.

    drawn               one of DRAWN
    dice                2 |A and B| / (|A| + |B|), 0 to 1; None unless both drew: two empty outlines overlap neither wholly nor not at all, and
                        an outline without a partner is a disagreement on whether there is anything, which no overlap measures
    hd95_mm             see hausdorff_95_mm; None unless both drew
    volume_a_ml, volume_b_ml   0 for an empty outline
    difference_ml       B minus A
    difference_percent  of their mean; None if both are empty
    """

    drawn: str
    dice: float | None
    hd95_mm: float | None
    volume_a_ml: float
    volume_b_ml: float
    difference_ml: float
    difference_percent: float | None


def agreement(a: sitk.Image, b: sitk.Image) -> Agreement:
    """Compare two masks, uint8 {0, 1} on one grid; empty ones are allowed. raises ValueError if they are on different grids"""
    if not same_grid(a, b):
        raise ValueError("two outlines are compared on one grid")
    first, second = (sitk.GetArrayViewFromImage(mask) > 0 for mask in (a, b))
    drawn = {(True, True): BOTH, (False, False): NEITHER, (True, False): ONLY_A, (False, True): ONLY_B}[bool(first.any()), bool(second.any())]
    volumes = volume_ml(a), volume_ml(b)
    mean = sum(volumes) / 2
    both = drawn == BOTH
    return Agreement(drawn, 2 * float((first & second).sum()) / float(first.sum() + second.sum()) if both else None, hausdorff_95_mm(a, b) if both else None,
                     *volumes, volumes[1] - volumes[0], 100 * (volumes[1] - volumes[0]) / mean if mean else None)


def hausdorff_95_mm(a: sitk.Image, b: sitk.Image) -> float:
    """The 95th percentile Hausdorff distance of two masks that both hold voxels, mm.

    The border of a mask is its voxels with a face on the outside (the scan's edge counts as outside). From every border voxel's centre of one mask
    the distance to the nearest border voxel's centre of the other is taken; the 95th percentile of these, by linear interpolation between the
    ordered distances, is the directed distance. The larger of both directions is returned.
    """
    borders = [_border(mask) for mask in _cropped(a, b)]
    return max(_directed(*borders), _directed(*borders[::-1]))


def _directed(border: sitk.Image, other: sitk.Image) -> float:
    distance = sitk.SignedMaurerDistanceMap(other, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    found = np.clip(sitk.GetArrayFromImage(distance)[sitk.GetArrayViewFromImage(border) > 0], 0, None)
    return float(np.percentile(found, PERCENTILE))


def _border(mask: sitk.Image) -> sitk.Image:
    return mask - sitk.BinaryErode(mask, (1, 1, 1), sitk.sitkCross, 0.0, 1.0, False)


def _cropped(*masks: sitk.Image) -> list[sitk.Image]:
    """The masks cut to the block that holds them all, with one unmarked voxel around it."""
    places = np.argwhere(np.any([sitk.GetArrayViewFromImage(mask) > 0 for mask in masks], axis=0))
    block = tuple(slice(int(first), int(last) + 1) for first, last in zip(places.min(0)[::-1], places.max(0)[::-1]))
    return [sitk.ConstantPad(sitk.Cast(mask > 0, sitk.sitkUInt8)[block], (1, 1, 1), (1, 1, 1), 0) for mask in masks]
