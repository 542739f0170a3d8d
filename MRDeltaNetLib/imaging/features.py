"""First-order intensities and shape of a marked structure, and how they changed.

Formulas follow the Image Biomarker Standardisation Initiative (Zwanenburg et al. 2020, doi:10.1148/radiol.2020191145). Where SimpleITK defines the
same thing, it computes it: volume, principal moments, and the surface on cubes. Its own "elongation" and "flatness" are reciprocals of other ratios.

These describe; they are no finding. Intensities of T2 have no unit, so a change of theirs is a change against the normal tissue of the same scan.
"""

from __future__ import annotations

import math
from typing import Mapping, Sequence

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import Timepoint
from MRDeltaNetLib.config import PreprocessingConfig
from MRDeltaNetLib.errors import InputError, Notice
from MRDeltaNetLib.imaging.preprocessing.grids import in_axial_order
from MRDeltaNetLib.imaging.preprocessing.intensity import body_mask, grown, normalisation, values

BIN_WIDTH = 0.25
"""Of entropy and uniformity of normalised intensities, standard deviations of normal tissue; bins begin at multiples of it."""

LEAST_VOXELS = 8
"""A structure of fewer has no distribution and no form."""

FINEST_MM = 0.4
"""Side of the cubes on which a surface is measured, at least."""

SHAPE = ("surface_mm2", "sphericity", "elongation", "flatness")
INTENSITY = ("mean_z", "sd_z", "p10_z", "median_z", "p90_z", "skewness", "excess_kurtosis", "entropy_bits")
NAMES = SHAPE + INTENSITY
"""Features of one structure: see describe()."""


def first_order(intensity: np.ndarray, bin_width: float = BIN_WIDTH) -> dict[str, float]:
    """Intensity statistics of voxels (n,), in their unit.

    mean, sd, skewness, excess kurtosis (0 where there is no spread), median, 10th and 90th percentile, interquartile range, mean
    absolute deviation, robust one (between these percentiles), root mean square, entropy in bits and uniformity of a histogram
    whose bins begin at multiples of bin_width
    """
    x = np.asarray(intensity, dtype=float)
    p10, p25, median, p75, p90 = np.percentile(x, [10, 25, 50, 75, 90])
    centred, sd = x - x.mean(), float(x.std())
    robust = x[(x >= p10) & (x <= p90)]
    share = np.unique(np.floor(x / bin_width), return_counts=True)[1] / len(x)
    return {"mean": float(x.mean()), "sd": sd, "skewness": float((centred**3).mean() / sd**3) if sd else 0.0,
            "kurtosis": float((centred**4).mean() / sd**4 - 3) if sd else 0.0, "median": float(median), "p10": float(p10), "p90": float(p90),
            "interquartile_range": float(p75 - p25), "mean_absolute_deviation": float(np.abs(centred).mean()),
            "robust_mean_absolute_deviation": float(np.abs(robust - robust.mean()).mean()), "root_mean_square": float(np.sqrt((x**2).mean())),
            "entropy": float(-(share * np.log2(share)).sum()), "uniformity": float((share**2).sum())}


def voxel_shape(mask: np.ndarray, spacing_mm: Sequence[float]) -> dict[str, float]:
    """Size and form of a mask (z, y, x), by its voxels' faces; spacing_mm (x, y, z).

    volume by counting voxels; face_surface of their outer faces; face_sphericity = surface of the ball of equal volume over it; axis
    lengths 4 * root of the eigenvalues of the voxel centres' covariance, elongation = minor over major, flatness = least over major
    """
    steps = np.array(spacing_mm, dtype=float)[::-1]
    inside = np.pad(np.asarray(mask, dtype=bool), 1)
    voxel_mm3 = float(np.prod(steps))
    surface = sum(float(np.abs(np.diff(inside.astype(np.int8), axis=axis)).sum()) * voxel_mm3 / steps[axis] for axis in range(3))
    volume = float(inside.sum()) * voxel_mm3
    places = np.argwhere(inside) * steps
    axes = 4 * np.sqrt(np.clip(np.linalg.eigvalsh(np.cov(places.T)), 0, None))[::-1]
    return {"volume_ml": volume / 1000, "face_surface_mm2": surface, "face_sphericity": (36 * math.pi * volume**2) ** (1 / 3) / surface,
            "major_axis_mm": float(axes[0]), "minor_axis_mm": float(axes[1]), "least_axis_mm": float(axes[2]),
            "elongation": float(axes[1] / axes[0]) if axes[0] else 0.0, "flatness": float(axes[2] / axes[0]) if axes[0] else 0.0}


def shape(mask: sitk.Image) -> dict[str, float]:
    """Form of a mask, not empty.

    surface_mm2  of a smooth body through the mask's border: Crofton's formula (ITK's label perimeter) on cubes of the finest spacing, made from
                 the signed distance to the border. ITK's own number on flat voxels is wrong by up to 30 %, and voxel faces count the stairs
    sphericity   surface of the ball of equal volume over it; 1 for a ball
    elongation   root of the ratio of the second to the largest principal moment; 1: as wide as long, near 0: a rod
    flatness     root of the ratio of the least to the largest; near 0: flat or a rod

    On ellipsoids of 8 to 30 mm the surface is right within 4 % with slices of up to 3 mm. A rough outline on thick slices has no true surface.
    """
    label = sitk.LabelShapeStatisticsImageFilter()
    label.Execute(mask)
    least, middle, largest = np.clip(label.GetPrincipalMoments(1), 0, None)
    volume_mm3 = label.GetPhysicalSize(1)
    label.ComputePerimeterOn()
    label.Execute(_smooth_cubes(mask[tuple(slice(first, first + size) for first, size in zip(*np.split(np.array(label.GetBoundingBox(1)), 2)))]))
    surface = label.GetPerimeter(1)
    return {"surface_mm2": surface, "sphericity": (36 * math.pi * volume_mm3**2) ** (1 / 3) / surface,
            "elongation": math.sqrt(middle / largest), "flatness": math.sqrt(least / largest)}


def _smooth_cubes(mask: sitk.Image) -> sitk.Image:
    """The mask on cubes, its border where the signed distance between marked and unmarked voxels is zero."""
    padded = sitk.ConstantPad(mask, (2, 2, 2), (2, 2, 2))
    step = max(FINEST_MM, min(mask.GetSpacing()))
    outside, inside = (sitk.SignedMaurerDistanceMap(image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True) for image in (padded, padded == 0))
    cubes = sitk.Image([math.ceil((count - 1) * size / step) for count, size in zip(padded.GetSize(), padded.GetSpacing())], sitk.sitkUInt8)
    cubes.SetSpacing((step,) * 3)
    cubes.SetDirection(mask.GetDirection())
    cubes.SetOrigin(padded.GetOrigin())
    return sitk.Cast(sitk.Resample((outside - inside) / 2, cubes, sitk.Transform(), sitk.sitkLinear, step) <= 0, sitk.sitkUInt8)


def describe(scan: Timepoint, masks: Mapping[str, sitk.Image | None], settings: PreprocessingConfig = PreprocessingConfig()) -> tuple[
        dict[str, dict[str, float | None]], tuple[Notice, ...]]:
    """Features of the structures that are marked on one scan.

    masks    name -> uint8 {0, 1} on the scan's grid; empty and None allowed
    returns  name -> NAMES -> value, None where there is no structure of LEAST_VOXELS; and warning MRD-W313 if the intensities cannot be normalised

    Intensities as in the network's input, but not clipped: minus mean, divided by standard deviation of the body without the grown structures,
    hence "_z". No bias field is corrected. Entropy: histogram with bins of BIN_WIDTH.
    """
    marked = {name: values(mask) > 0 for name, mask in masks.items() if mask is not None}
    marked = {name: inside for name, inside in marked.items() if inside.sum() >= LEAST_VOXELS}
    found: dict[str, dict[str, float | None]] = {name: dict.fromkeys(NAMES) for name in masks}
    if not marked:
        return found, ()
    for name in marked:
        found[name] |= shape(sitk.Cast(masks[name] > 0, sitk.sitkUInt8))
    try:
        normal = _normalised(scan.image, [masks[name] for name in marked], settings)
    except InputError as reason:
        because = f"{reason.what[:1].lower()}{reason.what[1:]}"
        return found, (Notice("MRD-W313", f"The intensities inside the outlines are not described, because the scan cannot be normalised: {because}", reason.fix),)
    for name, inside in marked.items():
        told = first_order(normal[inside])
        found[name] |= {"mean_z": told["mean"], "sd_z": told["sd"], "p10_z": told["p10"], "median_z": told["median"], "p90_z": told["p90"],
                        "skewness": told["skewness"], "excess_kurtosis": told["kurtosis"], "entropy_bits": told["entropy"]}
    return found, ()


def changes(before: Mapping[str, float | None], after: Mapping[str, float | None]) -> dict[str, float | None]:
    """After minus before of each feature; None where one is missing."""
    return {name: None if before[name] is None or after[name] is None else after[name] - before[name] for name in NAMES}


def _normalised(image: sitk.Image, masks: Sequence[sitk.Image], settings: PreprocessingConfig) -> np.ndarray:
    """The scan in standard deviations of its normal tissue, (z, y, x)."""
    body = sitk.Resample(body_mask(in_axial_order(image)), image, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
    excluded = np.any([grown(mask, settings.exclusion_margin_mm) for mask in masks], axis=0)
    found = normalisation(image, body, excluded, settings.clip_percentiles)
    return (values(image).astype(np.float64) - found.mean) / found.sd
