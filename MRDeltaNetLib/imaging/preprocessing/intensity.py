"""Intensity: where the body is, the coil's bias field, and normalisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.config import BIAS_CORRECTIONS
from MRDeltaNetLib.errors import InputError, UsageError

BODY_GRID_MM = 3.0
"""The body mask is found on voxels of at most this size, or the scan's own."""

AIR_FRACTION = 0.10
"""Air is darker than this fraction of the bright tissue: its noise lies at 0.02 to 0.05, muscle, the darkest large tissue of
T2, at 0.12 or more."""

BRIGHT_PERCENTILE = 90.0

CLOSING_MM = 9.0

MIN_BODY_FRACTION = 0.02
"""A body smaller than this fraction of the scan is no body."""

BIAS_SETTINGS = {"fast": (6.0, (30, 30, 30)), "full": (4.0, (50, 50, 50, 50))}
"""N4: voxel size in mm on which the field is estimated, and iterations at each level of its spline. On a made-up shading
(variation within one tissue 26 %) both leave under 2 %; fast takes a quarter of full's time."""

MIN_NORMAL_VOXELS = 1000
"""Fewer voxels do not give a stable mean and standard deviation."""


def values(image: sitk.Image) -> np.ndarray:
    """The voxels as an array (z, y, x); a copy, because a view of a temporary image outlives its memory."""
    return sitk.GetArrayFromImage(image)


def require_contrast(image: sitk.Image) -> None:
    """Stop if the scan holds voxels that are no numbers, or one value only.

    raises InputError MRD-E742
    """
    array = values(image)
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError("The scan holds voxels that are no numbers", code="MRD-E742", found="NaN or infinite voxels",
                         fix="export the scan again, or replace these voxels before you give the scan")
    if low == high:
        raise InputError("The scan is empty: every voxel has the same value", code="MRD-E742", found=f"the value {low:g} everywhere",
                         fix="choose another scan; this one holds no picture")


def reduced(image: sitk.Image, target_mm: float) -> sitk.Image:
    """The image averaged over whole blocks of voxels of at most target_mm; axes that are coarser already stay."""
    factors = [max(1, min(int(target_mm / step + 1e-6), size // 4)) for step, size in zip(image.GetSpacing(), image.GetSize())]
    return sitk.BinShrink(image, factors)


def body_mask(image: sitk.Image) -> sitk.Image:
    """The patient's body: brighter than air, in one piece, without holes.

    image    sitk.Image, 3-D, in axial order (grids.in_axial_order) if the holes of axial slices shall be filled
    returns  uint8 {0, 1} on the image's grid
    raises   InputError MRD-E742, MRD-E743

    Found at 3 mm or less: threshold between air and tissue (the smaller of Otsu's lower threshold of three classes and a fixed
    fraction of the bright tissue, because a small field of view may hold no air at all), closing, largest piece, holes filled
    in each slice.
    """
    require_contrast(image)
    small = sitk.Cast(reduced(image, BODY_GRID_MM), sitk.sitkFloat32)
    array = values(small)
    darkest = float(array.min())
    bright = darkest + AIR_FRACTION * (float(np.percentile(array, BRIGHT_PERCENTILE)) - darkest)
    otsu = sitk.OtsuMultipleThresholdsImageFilter()
    otsu.SetNumberOfThresholds(2)
    otsu.Execute(small)
    tissue = sitk.Cast(small > min(bright, otsu.GetThresholds()[0]), sitk.sitkUInt8)
    radius = [int(CLOSING_MM / 2 // step) for step in small.GetSpacing()]
    tissue = sitk.BinaryMorphologicalClosing(tissue, radius, sitk.sitkBall)
    pieces = sitk.RelabelComponent(sitk.ConnectedComponent(tissue), sortByObjectSize=True)
    body = filled_in_slices(sitk.Cast(pieces == 1, sitk.sitkUInt8))
    if values(body).mean() < MIN_BODY_FRACTION:
        raise InputError("No body was found in the scan", code="MRD-E743", found=f"{100 * values(body).mean():.1f} % of the voxels",
                         fix="look at the scan: it should be an MRI of the pelvis, not a mask or a map")
    return sitk.Resample(body, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)


def filled_in_slices(mask: sitk.Image) -> sitk.Image:
    """The mask with the holes of each slice (last axis) filled.

    Full planes are put between the slices, so that one 3-D filling treats each slice alone; filling slice by slice spends its
    time on starting threads.
    """
    array = values(mask)
    parted = np.ones((2 * len(array) + 1, *array.shape[1:]), np.uint8)
    parted[1::2] = array
    filled = sitk.GetImageFromArray(values(sitk.BinaryFillhole(sitk.GetImageFromArray(parted)))[1::2].copy())
    filled.CopyInformation(mask)
    return filled


def correct_bias(image: sitk.Image, level: str, mask: sitk.Image) -> sitk.Image:
    """The image divided by the coil's slowly varying shading (N4, Tustison 2010), as estimated inside the mask.

    level    "off" (returns the image), "fast" or "full"
    mask     uint8 {0, 1} on the image's grid: the body
    returns  float32 on the image's grid; the field is estimated at 4 or 6 mm and applied at full resolution
    raises   UsageError for an unknown level; InputError MRD-E742 for a constant scan or NaN, MRD-E743 for an empty mask
    """
    if level not in BIAS_CORRECTIONS:
        raise UsageError(f"The bias correction '{level}' is unknown", code="MRD-E744", fix=f"choose one of {', '.join(BIAS_CORRECTIONS)}")
    if level == "off":
        return image
    require_contrast(image)
    if not values(mask).any():
        raise InputError("The bias field cannot be estimated without a body", code="MRD-E743", found="an empty body mask",
                         fix="look at the scan, or switch the bias correction off")
    grid_mm, iterations = BIAS_SETTINGS[level]
    small = sitk.Cast(reduced(image, grid_mm), sitk.sitkFloat32)
    usable = sitk.Resample(mask, small, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8) * (small > 0)
    if not values(usable).any():
        raise InputError("The bias field cannot be estimated: the body holds no positive value", code="MRD-E743", found="values of 0 or below",
                         fix="switch the bias correction off, or give the scan as the scanner stored it")
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(iterations)
    n4.Execute(small, usable)
    log_field = sitk.Resample(n4.GetLogBiasFieldAsImage(small), image, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32,
                              useNearestNeighborExtrapolator=True)
    return sitk.Cast(image, sitk.sitkFloat32) / sitk.Exp(log_field)


def grown(mask: sitk.Image, margin_mm: float) -> np.ndarray:
    """Where the mask or a voxel centre within margin_mm of one of its voxel centres is; bool (z, y, x)."""
    array = values(mask) > 0
    result = array.copy()
    if margin_mm <= 0 or not array.any():
        return result
    reach = [int(margin_mm / step) + 1 for step in mask.GetSpacing()]
    region = tuple(slice(max(0, int(found.min()) - r), int(found.max()) + r + 1)
                   for found, r in zip(np.nonzero(array), reach[::-1]))
    near = sitk.GetImageFromArray(array[region].astype(np.uint8))
    near.SetSpacing(mask.GetSpacing())
    distance = sitk.SignedMaurerDistanceMap(near, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    result[region] |= values(distance) <= margin_mm
    return result


@dataclass(frozen=True)
class Normalisation:
    """How one scan's intensities become numbers near zero: clipped to low..high, minus mean, divided by sd (scanner intensity).

    low, high  the clip percentiles over the body minus the grown tumour
    mean, sd   of the clipped voxels there
    median     of the body: what stands for tissue outside the field of view
    """

    low: float
    high: float
    mean: float
    sd: float
    median: float


def normalisation(image: sitk.Image, body: sitk.Image, excluded: np.ndarray, percentiles: tuple[float, float]) -> Normalisation:
    """The normalisation of one scan over its body minus the excluded voxels (bool, z y x: the grown tumour).

    raises InputError MRD-E745 if too few voxels are left or all have one value
    """
    array, inside = values(image), values(body) > 0
    normal = array[inside & ~excluded]
    if normal.size < MIN_NORMAL_VOXELS:
        raise InputError("Too little of the body is left outside the tumour to normalise the scan", code="MRD-E745",
                         found=f"{normal.size} voxels", fix="check that the mask marks the tumour, not the whole pelvis")
    low, high = (float(value) for value in np.percentile(normal, percentiles))
    clipped = np.clip(normal, low, high)
    mean, sd = float(clipped.mean(dtype=np.float64)), float(clipped.std(dtype=np.float64))
    if sd <= 0:
        raise InputError("The body has one intensity only, so the scan cannot be normalised", code="MRD-E745", found=f"the value {mean:g}",
                         fix="choose another scan; this one holds no picture")
    return Normalisation(low, high, mean, sd, float(np.median(array[inside])))
