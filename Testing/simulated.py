"""A simulated pair on disk and in memory, for tests of the whole job. Made-up data; no result on it is a clinical claim."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import Case, Timepoint
from MRDeltaNetLib.imaging.phantom import SimulatedPair, simulate_pair

SMALL = (96, 96, 20)
"""Voxels of a fast pair that still shows a whole pelvis."""

MASKS = ("pre_mask", "post_mask", "residual_mask")


def small_pair(seed: int = 5, **options) -> SimulatedPair:
    """A simulated pair of about 2 x 2 x 5 mm voxels."""
    return simulate_pair(seed, size=SMALL, **options)


def case_of(pair: SimulatedPair, *, masks: bool = True) -> Case:
    """The pair as a checked case, with its true masks or without any."""
    if not masks:
        return Case((Timepoint(pair.pre), Timepoint(pair.post)))
    return Case((Timepoint(pair.pre, mask=pair.pre_mask, mask_source="drawn"),
                 Timepoint(pair.post, mask=pair.post_mask, residual=pair.residual_mask, mask_source="drawn")))


def write_pair(pair: SimulatedPair, folder: Path) -> dict[str, str]:
    """Write scans and masks as NRRD; name -> path."""
    folder.mkdir(parents=True, exist_ok=True)
    images = {"pre": pair.pre, "post": pair.post} | {name: getattr(pair, name) for name in MASKS}
    for name, image in images.items():
        sitk.WriteImage(image, str(folder / f"{name}.nrrd"), True)
    return {name: str(folder / f"{name}.nrrd") for name in images}


def stored_otherwise(image: sitk.Image, order: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> sitk.Image:
    """The same voxels at the same places, stored with other axes: permuted, then flipped without moving in the patient."""
    permuted = sitk.PermuteAxes(image, order)
    return sitk.Flip(permuted, flips, False)


def corners_mm(image: sitk.Image) -> np.ndarray:
    """The eight outer corners, LPS mm."""
    return np.array([image.TransformContinuousIndexToPhysicalPoint([(-0.5, size - 0.5)[(k >> axis) & 1] for axis, size in enumerate(image.GetSize())])
                     for k in range(8)])
