"""Which part of a scan the alignment looks at: the body, without the grown tumour."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.imaging.preprocessing.intensity import body_mask, grown, reduced, values

BODY_GRID_MM = 3.0
"""In-plane voxel on which regions are kept; their outlines need not be finer."""

SKIN_MARGIN_MM = 5.0
"""The body grown by this enters the metric, so that its outline helps to hold it."""


def canonical(image: sitk.Image) -> sitk.Image:
    """The same voxels with axes permuted and flipped to lie nearest to L, P, S; float32.

    However a file stored its axes (left-handed, sagittal, flipped), the alignment then sees the same numbers in the same order.
    """
    return sitk.Cast(sitk.DICOMOrient(image, "LPS"), sitk.sitkFloat32)


def smoothed(image: sitk.Image, target_mm: float) -> sitk.Image:
    """The image smoothed by 0.7 voxels along each axis that is not coarser than about target_mm (thick slices stay as they are)."""
    for axis, step in enumerate(image.GetSpacing()):
        if step < 1.5 * target_mm:
            image = sitk.RecursiveGaussian(image, 0.7 * step, direction=axis)
    return image


def body_of(image: sitk.Image) -> sitk.Image:
    """The patient without air and table, uint8 {0, 1} on a grid of about BODY_GRID_MM in plane; image is canonical."""
    return body_mask(reduced(image, BODY_GRID_MM))


def enlarged(mask: sitk.Image, margin_mm: float) -> sitk.Image:
    """A mask grown by margin_mm in every direction, uint8 {0, 1} on its own grid."""
    bigger = sitk.GetImageFromArray(grown(mask, margin_mm).astype(np.uint8))
    bigger.CopyInformation(mask)
    return bigger


def metric_region(image: sitk.Image, body: sitk.Image, tumour: sitk.Image | None, margin_mm: float) -> sitk.Image:
    """Where the similarity is measured: the body and its outline, without the tumour grown by margin_mm.

    image   canonical scan;  body  body_of(image);  tumour  uint8 mask on any grid, None to leave nothing out
    returns uint8 {0, 1} on the body's grid
    raises  InputError MRD-E607 if less than a quarter of the body is left
    """
    region = enlarged(body, SKIN_MARGIN_MM)
    if tumour is None or not sitk.GetArrayViewFromImage(tumour).any():
        return region
    blocks = reduced(canonical(tumour > 0), BODY_GRID_MM)          # averaged first, so that a small tumour is not stepped over
    share = sitk.Resample(blocks, body, sitk.Transform(), sitk.sitkLinear, 0.0)
    kept = sitk.And(region, sitk.Cast(enlarged(share > 0.0, margin_mm) == 0, sitk.sitkUInt8))
    body_voxels = int(sitk.GetArrayViewFromImage(body).sum())
    left = int(values(sitk.And(kept, body)).sum())
    if left < 0.25 * body_voxels:
        raise InputError("Too little of the body is left for the alignment once the tumour is left out", code="MRD-E607",
                         found=f"{100.0 * left / max(body_voxels, 1):.0f} % of the body",
                         fix="check the tumour mask; it should cover the tumour, not the whole pelvis")
    return kept


def centre_of(mask: sitk.Image) -> tuple[float, float, float]:
    """Centroid of a mask, LPS, mm."""
    indices = np.argwhere(sitk.GetArrayViewFromImage(mask) > 0).mean(axis=0)
    return mask.TransformContinuousIndexToPhysicalPoint([float(i) for i in indices[::-1]])
