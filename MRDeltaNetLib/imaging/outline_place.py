"""Does an outline lie in the patient? The part of the outline's checks that needs the scan's picture."""

from __future__ import annotations

import SimpleITK as sitk

from MRDeltaNetLib.case import Timepoint
from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, Notice
from MRDeltaNetLib.imaging.preprocessing.grids import in_axial_order
from MRDeltaNetLib.imaging.preprocessing.intensity import body_mask, values
from MRDeltaNetLib.io.gate.outlines import MASK_ROLES, start

SKIN_MM = 5.0
"""The body mask is found on voxels of 3 mm; an outline may pass its border by this without being outside the patient."""


def check_place(scan: Timepoint, role: str, limits: GateLimits = GateLimits()) -> tuple[Notice, ...]:
    """Whether the outlines that a person drew on a scan lie in the patient's body.

    role     "pre" or "post"; with "post" the residual tumour is looked at too
    returns  warnings MRD-W310
    raises   InputError MRD-E319 if most of an outline lies in the air around the patient
    """
    drawn = [(role, scan.mask if scan.mask_source != "carried" else None), ("residual", scan.residual)]
    drawn = [(name, mask) for name, mask in drawn if mask is not None and values(mask).any()]
    if not drawn:
        return ()
    try:
        body = body_mask(in_axial_order(scan.image))
    except InputError:                                         # a scan without a body is refused by the alignment, which says so
        return ()
    body = sitk.BinaryDilate(body, [int(SKIN_MM / step) for step in body.GetSpacing()], sitk.sitkBall)
    inside = values(sitk.Resample(body, scan.image, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)) > 0
    return tuple(notice for name, mask in drawn for notice in _place(values(mask) > 0, inside, name, limits))


def _place(marked, inside, role: str, limits: GateLimits) -> tuple[Notice, ...]:
    name, outside = MASK_ROLES.get(role, role), float((marked & ~inside).sum() / marked.sum())
    if outside > limits.max_outside_body_fraction:
        raise InputError(f"Most of {name} lies in the air around the patient", code="MRD-E319", found=f"{100 * outside:.0f} percent of it is outside the body",
                         fix="look at the outline on the scan: it may be mirrored, moved, or drawn on another scan")
    if outside <= limits.warn_outside_body_fraction:
        return ()
    return (Notice("MRD-W310", f"{start(name)}: {100 * outside:.0f} percent of it lies outside the patient's body",
                   fix="look at the outline on the scan and erase what lies in the air; if all of it is moved, export it with this scan as reference geometry"),)
