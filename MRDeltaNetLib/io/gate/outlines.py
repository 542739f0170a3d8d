"""Is an outline believable as a tumour's? Named limits, a coded answer each, and what to do about it.

Here is what a mask alone tells, and two masks of one patient against each other. Whether it lies in the body, which needs the scan's picture,
is asked in imaging/outline_place.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, Notice

MASK_ROLES = {"pre": "the pre-treatment tumour mask", "post": "the post-treatment tumour bed mask",
              "residual": "the residual tumour mask"}
"""How messages name the masks."""

MAX_FRACTION = 0.5
"""A mask of more than this part of the scan has tumour and background swapped, or is the body."""

SAME_SPACING = 1e-3
"""Two spacings are equal when they differ by less than this fraction."""


def check_outline(mask: sitk.Image, role: str, limits: GateLimits = GateLimits()) -> tuple[Notice, ...]:
    """Size, pieces, borders and slices of one mask.

    mask     sitk.Image uint8 {0, 1} on its scan's grid, not empty
    role     "pre", "post" or "residual"; another text is used in messages as it is
    returns  warnings MRD-W304 (small), W305 (pieces), W306 (at the border), W308 (few slices), W309 (slices left out)
    raises   InputError MRD-E314 (too small, unless it is residual tumour), E315 (most of the scan)
    """
    name = MASK_ROLES.get(role, role)
    array = sitk.GetArrayViewFromImage(mask)
    voxels, millilitres = int(array.sum(dtype=np.int64)), volume_ml(mask)
    if voxels > MAX_FRACTION * array.size:
        raise InputError(f"{start(name)} covers more than half of the scan", code="MRD-E315", found=f"{100 * voxels / array.size:.0f} percent of the voxels",
                         fix="see that inside and outside are not swapped and that it is not a body mask")
    if voxels < limits.min_mask_voxels and role != "residual":
        raise InputError(f"{start(name)} is too small to be measured", code="MRD-E314", found=f"{voxels} voxels, {millilitres:.3f} mL; "
                         f"{limits.min_mask_voxels} voxels are needed", fix="complete the outline on every slice that shows the structure")
    notices = []
    if millilitres < limits.small_mask_ml:
        notices.append(Notice("MRD-W304", f"{start(name)} is small ({millilitres:.2f} mL, {voxels} voxels), so its measures are uncertain",
                              fix="see that the outline is complete on every slice"))
    pieces = _pieces(mask, array)
    if pieces > limits.max_mask_components:
        notices.append(Notice("MRD-W305", f"{start(name)} has {pieces} separate pieces", fix="remove stray voxels, or keep them if the pieces are real"))
    if _touches_border(array):
        notices.append(Notice("MRD-W306", f"{start(name)} touches the border of the scan, so part of the structure may be missing",
                              fix="see whether the structure goes on outside the scan; volume and diameters are then too small"))
    return (*notices, *_slices(mask, array, role, limits))


def check_growth(pre: sitk.Image | None, bed: sitk.Image | None, residual: sitk.Image | None, limits: GateLimits = GateLimits()) -> tuple[Notice, ...]:
    """Whether what is marked after treatment is larger than treatment makes believable: warning MRD-W311; None: nobody drew that mask."""
    before = 0.0 if pre is None else volume_ml(pre)
    notices = []
    for name, mask in (("tumour bed", bed), ("residual tumour", residual)):
        after = 0.0 if mask is None else volume_ml(mask)
        if before > 0 and after > limits.max_growth_ratio * before:
            notices.append(Notice("MRD-W311", f"The {name} after treatment is {after / before:.1f} times as large as the tumour was before it "
                                  f"({after:.1f} mL, {before:.1f} mL)",
                                  fix="see that the two scans and their masks are not swapped, that both masks show the same site, and that no other label "
                                  "(rectum, body) was taken; a tumour that did grow so much is rare"))
    return tuple(notices)


def through_plane(image: sitk.Image) -> int:
    """The axis (0 = x) across which slices lie: of the largest spacing; of equal spacings the one nearest to head-foot."""
    spacing = np.array(image.GetSpacing())
    toward_head = np.abs(np.array(image.GetDirection()).reshape(3, 3)[2])
    thick = spacing >= spacing.max() * (1 - SAME_SPACING)
    return int(np.argmax(np.where(thick, toward_head, -1.0)))


def volume_ml(mask: sitk.Image) -> float:
    """Marked voxels times the volume of one, mL."""
    return float(np.count_nonzero(sitk.GetArrayViewFromImage(mask)) * np.prod(mask.GetSpacing()) / 1000)


def start(name: str) -> str:
    """A name at the beginning of a sentence."""
    return name[:1].upper() + name[1:]


def _slices(mask: sitk.Image, array: np.ndarray, role: str, limits: GateLimits) -> tuple[Notice, ...]:
    """How many slices are drawn on (a remnant of a tumour may be on one), and whether some between them are not."""
    name = MASK_ROLES.get(role, role)
    axis = 2 - through_plane(mask)
    drawn = np.flatnonzero(array.any(axis=tuple(other for other in range(3) if other != axis)))
    notices = []
    if len(drawn) < limits.min_mask_slices and role != "residual":
        notices.append(Notice("MRD-W308", f"{start(name)} is drawn on {len(drawn)} slice{'' if len(drawn) == 1 else 's'} only, of {limits.min_mask_slices} or more "
                              "that a tumour on a staging scan shows",
                              fix="draw it on every slice that shows it; with so few, volume and length are mostly slice thickness"))
    gaps = int(drawn[-1] - drawn[0] + 1 - len(drawn))
    if gaps > limits.max_mask_gaps:
        notices.append(Notice("MRD-W309", f"{start(name)} leaves out {gaps} slice{'' if gaps == 1 else 's'} between others that are drawn on",
                              fix="draw the slices between (in Slicer: Segment Editor, Fill between slices), or leave them out if the tumour is interrupted there"))
    return tuple(notices)


def _pieces(mask: sitk.Image, array: np.ndarray) -> int:
    """Number of parts that do not touch, not even at a corner."""
    block = [slice(int(found.min()), int(found.max()) + 1) for found in np.nonzero(array)]
    labelled = sitk.ConnectedComponentImageFilter()
    labelled.FullyConnectedOn()
    labelled.Execute(mask[tuple(block[::-1])])
    return int(labelled.GetObjectCount())


def _touches_border(array: np.ndarray) -> bool:
    return any(np.take(array, [0, -1], axis=axis).any() for axis in range(3))
