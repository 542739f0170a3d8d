"""Deformable alignment for display and for suggesting a mask; never for what feeds a network (SCIENCE 6.2).

A cubic B-spline on a coarse mesh, optimised on top of the rigid transform, on the body without the grown tumour. What it does to
volume is measured, and folding or a changed tumour volume is refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.config import RegistrationConfig
from MRDeltaNetLib.errors import Notice
from MRDeltaNetLib.imaging.preprocessing.intensity import values
from MRDeltaNetLib.imaging.registration.linear import Scene, at_level, metric, run
from MRDeltaNetLib.imaging.registration.regions import canonical
from MRDeltaNetLib.progress import Progress, part

MESH_MM = 70.0
"""Control points lie about this far apart: coarse, so that the spline follows the pelvis' bend and not the tumour's change. On six
simulated patients 50 mm changed the tumour's volume by up to 15 %, 70 mm by up to 7 %, at equal similarity."""

MAX_SHIFT = 0.2
"""Largest shift of a control point, as a share of the mesh. A cubic spline cannot fold below 1 / 2.48 (Choi and Lee 2000); half of
that keeps local volume changes mild, and 10 mm is more than the bladder and bowel move the bony pelvis' neighbours."""

LEVELS_MM = (4.0, 2.0)
SAMPLES = (8000, 16000)
ITERATIONS = 20
JACOBIAN_GRID_MM = 3.0


def find_deformable(scene: Scene, rigid: sitk.Transform, config: RegistrationConfig, seed: int,
                    progress: Progress) -> sitk.CompositeTransform:
    """Deformable transform pre LPS -> post LPS: first the spline in pre space, then the rigid transform."""
    size_mm = [(count - 1) * step for count, step in zip(scene.pre.GetSize(), scene.pre.GetSpacing())]
    mesh = [max(2, min(8, round(length / MESH_MM))) for length in size_mm]
    spline = sitk.BSplineTransformInitializer(scene.pre, mesh, 3)
    reach = MAX_SHIFT * min(length / cells for length, cells in zip(size_mm, mesh))
    for number, target in enumerate(LEVELS_MM):
        level = at_level(scene, target)
        method = metric(level, SAMPLES[number], config, seed)
        method.SetOptimizerAsLBFGSB(gradientConvergenceTolerance=1e-5, numberOfIterations=ITERATIONS,
                                    maximumNumberOfCorrections=5, maximumNumberOfFunctionEvaluations=10 * ITERATIONS,
                                    lowerBound=-reach, upperBound=reach)
        method.SetMovingInitialTransform(rigid)
        method.SetInitialTransform(spline, inPlace=True)
        share = part(progress, number / len(LEVELS_MM), (number + 1) / len(LEVELS_MM))
        run(method, level, share, ITERATIONS, f"deformable level {number + 1}")
    return sitk.CompositeTransform([rigid, spline])


def jacobian_determinants(transform: sitk.Transform, over: sitk.Image) -> sitk.Image:
    """det of d transform / d point on an axis-aligned LPS grid of JACOBIAN_GRID_MM around an image's corners; 1 keeps volume.

    The grid has no tilt, so that differences along its axes are derivatives along x, y and z.
    """
    corners = [over.TransformIndexToPhysicalPoint([int(pick) * (size - 1) for pick, size in zip(which, over.GetSize())])
               for which in np.ndindex(2, 2, 2)]
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    size = [int(np.ceil((b - a) / JACOBIAN_GRID_MM)) + 1 for a, b in zip(low, high)]
    displacement = sitk.TransformToDisplacementField(transform, sitk.sitkVectorFloat64, [max(3, n) for n in size], low.tolist(),
                                                     [JACOBIAN_GRID_MM] * 3)
    field = sitk.GetArrayViewFromImage(displacement)
    gradient = np.stack([np.stack(np.gradient(field[..., component], JACOBIAN_GRID_MM)[::-1], axis=-1) for component in range(3)],
                        axis=-2)
    determinants = sitk.GetImageFromArray(np.linalg.det(gradient + np.eye(3)))
    determinants.CopyInformation(displacement)
    return determinants


def deformation(scene: Scene, transform: sitk.Transform, pre_mask: sitk.Image | None) -> dict[str, Any]:
    """Volume numbers of a deformable transform: determinants over the pre body, mean volume change over the pre tumour.

    tumour_volume_change_percent is None without a pre mask.
    """
    determinants = jacobian_determinants(transform, scene.pre)
    inside = _on(_without_border(scene.pre_body), determinants)
    found = sitk.GetArrayViewFromImage(determinants)[inside]
    change = None
    if pre_mask is not None:
        share = sitk.Resample(sitk.Cast(canonical(pre_mask) > 0, sitk.sitkFloat32), determinants, sitk.Transform(), sitk.sitkLinear)
        weights = sitk.GetArrayViewFromImage(share)
        if weights.sum() > 0:
            change = 100.0 * (float((weights * sitk.GetArrayViewFromImage(determinants)).sum() / weights.sum()) - 1.0)
    return {"tumour_volume_change_percent": change, "min_jacobian_determinant": float(found.min()),
            "max_jacobian_determinant": float(found.max())}


def display_only() -> Notice:
    """Says what the deformable transform is for."""
    return Notice("MRD-W605", "The deformable alignment serves display only; masks and network use the rigid one",
                  "judge the tumour's size on the original scans")


def _without_border(mask: sitk.Image) -> sitk.Image:
    """The mask without the outermost two steps of the Jacobian grid: a spline ends with a jump at the border of the scan."""
    border = [min(int(np.ceil(2 * JACOBIAN_GRID_MM / step)), (size - 1) // 2) for step, size in zip(mask.GetSpacing(), mask.GetSize())]
    return sitk.Crop(mask, border, border)


def _on(mask: sitk.Image, grid: sitk.Image) -> np.ndarray:
    """Where a mask is, on another grid; bool (z, y, x)."""
    return values(sitk.Resample(mask, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0)) > 0
