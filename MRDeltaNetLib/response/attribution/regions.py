"""Regions around an outline, in millimetres, on the crop's voxels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError

if TYPE_CHECKING:
    import torch

SHELL_MM = 8.0
"""How far a tumour's surroundings reach: where extramural growth and desmoplastic reaction are looked for."""

OUTLINE_LEVEL = 0.5
"""Share of its largest value at which the soft ROI channel stands for the outline."""


def outlined(x: "torch.Tensor", visit: int) -> np.ndarray:
    """Voxels inside the outline of a visit (0 pre, 1 post), bool (depth, height, width).

    x       (2, 2, depth, height, width)
    raises  InputError MRD-E722 if the outline is empty
    """
    roi = x[visit, 1].detach().float().cpu().numpy()
    if not roi.max() > 0:
        raise InputError(f"The {'tumour' if visit == 0 else 'tumour bed'} is empty on the crop, so there is no region to ask about", code="MRD-E722",
                         found="no voxel is marked", fix="draw it and run again, or choose a method that needs no outline")
    return roi > OUTLINE_LEVEL * roi.max()


def distance_mm(inside: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Distance of every voxel's centre from the nearest voxel centre inside, mm; 0 inside.

    inside      bool (depth, height, width), not empty
    spacing_mm  (x, y, z)
    """
    image = sitk.GetImageFromArray(inside.astype(np.uint8))
    image.SetSpacing(spacing_mm)
    found = sitk.SignedMaurerDistanceMap(image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    return np.where(inside, 0.0, sitk.GetArrayFromImage(found)).clip(min=0.0)


def shells(x: "torch.Tensor", visit: int, spacing_mm: tuple[float, float, float], shell_mm: float = SHELL_MM) -> dict[str, np.ndarray]:
    """The crop cut into three: name -> bool (depth, height, width). Every voxel is in exactly one.

    "tumour" (before) or "tumour_bed" (after): inside the outline; "shell": outside and not farther than shell_mm; "elsewhere": the rest
    raises  as outlined
    """
    inside = outlined(x, visit)
    near = distance_mm(inside, spacing_mm) <= shell_mm
    return {("tumour", "tumour_bed")[visit]: inside, "shell": near & ~inside, "elsewhere": ~near}


def blocks(voxels: tuple[int, int, int], spacing_mm: tuple[float, float, float], size_mm: float, step_mm: float) -> list[tuple[slice, slice, slice]]:
    """Blocks of size_mm every step_mm over the whole crop, as slices (z, y, x); those at the far ends are cut.

    Sizes and steps are rounded to whole voxels, at least one. The first block starts at voxel 0; the last of an axis reaches its end.
    """
    axes = []
    for count, step in zip(voxels, spacing_mm[::-1]):
        long, stride = max(1, round(size_mm / step)), max(1, round(step_mm / step))
        starts = list(range(0, max(1, count - long + stride), stride))
        axes.append([slice(start, min(start + long, count)) for start in starts if start < count])
    return [(z, y, x) for z in axes[0] for y in axes[1] for x in axes[2]]
