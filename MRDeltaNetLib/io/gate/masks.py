"""What is let through as a mask, and what its voxels then mean.

Three masks, each 0 outside and 1 inside, on its scan's grid:
  pre       the tumour before treatment; never empty
  post      the tumour bed after treatment: the whole original site with residual tumour and fibrosis; never empty, not even
            after a complete response
  residual  viable tumour after treatment; empty means that none is left (complete response), which is not the same as
            a mask that nobody has drawn
"""

from __future__ import annotations

from typing import Mapping

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import SAME_GRID_MM
from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, Notice
from MRDeltaNetLib.io.gate.grids import corner_difference_mm, inside, on_lattice, overlap_fraction, points_mm
from MRDeltaNetLib.io.gate.outlines import MASK_ROLES, check_outline, start, volume_ml
from MRDeltaNetLib.io.tables import short

LABEL_TOLERANCE = 1e-3
"""A value this near to a whole number is that number (masks saved as floating point)."""

ROUNDED_HEADER_VOXELS = 0.1
"""Grids of one size whose corners differ by less than this part of a voxel are one grid with a rounded header."""

MAX_LABELS = 1000
"""No segmentation has more labels; a scan has."""

LISTED_LABELS = 12


def check_mask(mask: sitk.Image, image: sitk.Image, *, role: str, label: int | None = None, may_be_empty: bool = False,
               limits: GateLimits = GateLimits(), label_names: Mapping[int, str] | None = None
               ) -> tuple[sitk.Image, tuple[Notice, ...]]:
    """Let a mask through, on its scan's grid, or say why not.

    mask          sitk.Image as read, any pixel type
    image         sitk.Image, 3-D: the scan that it was drawn on
    role          "pre", "post" or "residual"; another text is used in messages as it is
    label         which of several label values is meant
    may_be_empty  True for the residual mask only
    label_names   names of the label values, where a header gives them
    returns       sitk.Image uint8 {0, 1} with the image's grid, and warnings MRD-W301 to W306, W308, W309
    raises        InputError MRD-E301 to E317
    """
    name = MASK_ROLES.get(role, role)
    values = _whole_numbers(_one_layer(mask, name, label, label_names or {}), image, name)
    chosen = _chosen(values, name, label, label_names or {}, may_be_empty)
    if not chosen.any():
        return _empty(mask, image, role, name, may_be_empty)
    placed, notices = _on_grid(_with_grid_of(chosen, mask), image, name)
    notices += check_outline(placed, role, limits)
    return placed, notices


def check_residual(residual: sitk.Image | None, bed: sitk.Image | None, *, complete_response: bool = False) -> tuple[Notice, ...]:
    """Compare residual tumour (uint8 {0, 1} or None) with the bed (same grid, or None) and with the reader's word.

    raises  InputError MRD-E318 if residual tumour is drawn although the reader says that none is left
    """
    drawn = residual is not None and bool(sitk.GetArrayViewFromImage(residual).any())
    if complete_response and drawn:
        raise InputError("A complete response was stated, yet the residual tumour mask is not empty", code="MRD-E318",
                         found=f"{volume_ml(residual):.2f} mL of residual tumour",
                         fix="clear the residual mask, or do not state a complete response")
    if not drawn or bed is None:
        return ()
    tumour, site = (sitk.GetArrayViewFromImage(m) > 0 for m in (residual, bed))
    outside = float((tumour & ~site).sum() / tumour.sum())
    if outside == 0:
        return ()
    return (Notice("MRD-W307", f"{max(outside * 100, 0.1):.1f} percent of the residual tumour lies outside the tumour bed, which "
                   "should hold all of it", fix="extend the bed mask over the residual tumour, or correct the residual mask"),)


def _one_layer(mask: sitk.Image, name: str, label: int | None, label_names: Mapping[int, str]) -> np.ndarray:
    """The mask's values, (z, y, x); of several layers the one that alone holds the chosen label."""
    if "complex" in mask.GetPixelIDTypeAsString():
        raise InputError(f"{start(name)} holds complex numbers, not labels", code="MRD-E310", fix="save it as a label map of whole numbers")
    array = sitk.GetArrayViewFromImage(mask)
    layers = mask.GetNumberOfComponentsPerPixel()
    if mask.GetDimension() == 4:
        layers = mask.GetSize()[3]
        array = array if layers > 1 else array[0]
        array = np.moveaxis(array, 0, -1) if layers > 1 else array
    elif mask.GetDimension() != 3:
        raise InputError(f"{start(name)} has {mask.GetDimension()} dimensions; a mask has three", code="MRD-E316",
                         fix="save the mask as one volume with as many slices as the scan")
    if layers == 1:
        return array
    holders = [k for k in range(layers) if label is not None and label != 0 and (array[..., k] == label).any()]
    if len(holders) != 1:
        raise InputError(f"{start(name)} holds {layers} overlapping segments, so it is not clear which one is meant", code="MRD-E313",
                         found=_listed(_labels_of(array), label_names),
                         fix=f"{_option(name)} if only one layer holds it, or save the one segment on its own as a label map, in Slicer: Segmentations, Export")
    return array[..., holders[0]]


def _whole_numbers(values: np.ndarray, image: sitk.Image, name: str) -> np.ndarray:
    """The values as int64, each within LABEL_TOLERANCE of what was read."""
    if image.GetDimension() == 3 and values.shape == image.GetSize()[::-1] and values.any() \
            and np.array_equal(values, sitk.GetArrayViewFromImage(image)):
        raise _is_a_scan(name, "its voxels are those of the scan")
    if values.dtype.kind != "f":
        return values
    if not np.isfinite(values).all():
        raise InputError(f"{start(name)} holds values that are not numbers (NaN or infinite)", code="MRD-E310",
                         found=f"{int((~np.isfinite(values)).sum())} such voxels", fix="save it as a label map of whole numbers")
    rounded = np.rint(values)
    broken = np.abs(values - rounded) > LABEL_TOLERANCE
    if not broken.any():
        return rounded
    low, high = float(values.min()), float(values.max())
    found = f"{int(broken.sum())} voxels between whole numbers, values from {low:.4g} to {high:.4g}"
    if low >= -LABEL_TOLERANCE and high <= 1 + LABEL_TOLERANCE:
        raise InputError(f"{start(name)} is a probability map or a smoothed mask, not a mask of 0 and 1", code="MRD-E308", found=found,
                         fix="apply a threshold yourself, usually 0.5 (in Slicer: Segment Editor, Threshold), look at the outline, and save the result")
    if len(np.unique(rounded)) > MAX_LABELS:
        raise _is_a_scan(name, found)
    raise InputError(f"{start(name)} holds values that are no labels", code="MRD-E310", found=found,
                     fix="save it as a label map of whole numbers without interpolation")


def _chosen(values: np.ndarray, name: str, label: int | None, label_names: Mapping[int, str], may_be_empty: bool) -> np.ndarray:
    """Which voxels carry the meant label; bool (z, y, x)."""
    labels = _labels_of(values)
    if len(labels) > MAX_LABELS:
        raise _is_a_scan(name, f"{len(labels)} different values")
    if labels and labels[0] < 0:
        raise InputError(f"{start(name)} holds negative labels, whose meaning is not defined", code="MRD-E309",
                         found=_listed(labels, label_names), fix="set background to 0 and the structure to 1, and save it again")
    if label is not None and label < 1:
        raise InputError(f"The label chosen for {name} is not a structure: labels are whole numbers from 1 upward, 0 is background",
                         code="MRD-E312", found=f"label {label}", fix=f"choose one of {_listed(labels, label_names)}")
    if label is not None and labels and label not in labels:
        if may_be_empty and label in label_names:
            return np.zeros(values.shape, bool)
        raise InputError(f"{start(name)} does not hold the chosen label", code="MRD-E312", found=f"label {label} was chosen, the mask holds "
                         + _listed(labels, label_names), fix="choose a label that the mask holds")
    if label is None and len(labels) > 1:
        raise InputError(f"{start(name)} holds several labels, so it is not clear which one is meant", code="MRD-E311",
                         found=_listed(labels, label_names), fix=f"{_option(name)}, or save the one structure on its own")
    return values > 0 if label is None else values == label


def _empty(mask: sitk.Image, image: sitk.Image, role: str, name: str, may_be_empty: bool) -> tuple[sitk.Image, tuple[Notice, ...]]:
    if may_be_empty:
        _refuse_other_place(_with_grid_of(np.zeros(mask.GetSize()[2::-1], bool), mask), image, name)
        empty = sitk.Image(image.GetSize(), sitk.sitkUInt8)
        empty.CopyInformation(image)
        return empty, (Notice("MRD-W301", f"{start(name)} is empty; it is taken to say that no viable tumour is left (complete response)",
                              fix="leave the mask out if it was simply not drawn"),)
    if role == "post":
        raise InputError(f"{start(name)} is empty, but the bed is the whole original tumour site and is there even after a complete response",
                         code="MRD-E302", fix="outline the original site with its fibrosis, or leave this mask out to have the "
                         "pre-treatment mask carried over; say 'no tumour left' with an empty residual mask or the complete-response choice")
    raise InputError(f"{start(name)} is empty, so there is no tumour to look at", code="MRD-E301",
                     fix="draw the tumour on the pre-treatment scan and save the mask again" if role == "pre"
                     else "draw the structure and save the mask again")


def _refuse_other_place(empty: sitk.Image, image: sitk.Image, name: str) -> None:
    """An empty mask says something about its scan only if it was made on that scan."""
    difference_mm = corner_difference_mm(empty, image)
    if difference_mm <= ROUNDED_HEADER_VOXELS * min(image.GetSpacing()):
        return
    _refuse_lost_place(empty, image, name, difference_mm)
    if overlap_fraction(empty, image) == 0:
        raise _outside(name, "no voxel of it is inside the scan")


def _on_grid(mask: sitk.Image, image: sitk.Image, name: str) -> tuple[sitk.Image, tuple[Notice, ...]]:
    """The mask (uint8 {0, 1}, not empty) on the image's grid."""
    difference_mm = corner_difference_mm(mask, image)
    if difference_mm <= SAME_GRID_MM:
        return _with_grid_of(sitk.GetArrayViewFromImage(mask), image), ()
    if difference_mm <= ROUNDED_HEADER_VOXELS * min(image.GetSpacing()):
        return _with_grid_of(sitk.GetArrayViewFromImage(mask), image), (_rounded_header(name),)
    _refuse_lost_place(mask, image, name, difference_mm)
    z_y_x = np.argwhere(sitk.GetArrayViewFromImage(mask))
    covered = inside(image, points_mm(mask, z_y_x[:, ::-1].astype(float)))
    if not covered.any():
        raise _outside(name, "no marked voxel is inside the scan")
    if not covered.all():
        raise InputError(f"{start(name)} reaches beyond its scan", code="MRD-E304", found=f"{100 * covered.mean():.1f} percent of the "
                         "marked voxels are inside the scan", fix="see that it was drawn on this scan; export it again with this scan as reference geometry")
    if (indices := on_lattice(mask, image, z_y_x[:, ::-1], ROUNDED_HEADER_VOXELS)) is not None:
        same = np.zeros(image.GetSize()[::-1], np.uint8)           # cropped, flipped or permuted, yet voxel for voxel the scan's own
        same[tuple(indices[:, ::-1].T)] = 1
        exact = on_lattice(mask, image, z_y_x[:, ::-1], SAME_GRID_MM / min(image.GetSpacing())) is not None
        return _with_grid_of(same, image), () if exact else (_rounded_header(name),)
    placed = sitk.Resample(mask, image, sitk.Transform(3, sitk.sitkIdentity), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
    if not sitk.GetArrayViewFromImage(placed).any():
        raise InputError(f"{start(name)} falls between the voxels of its scan and vanishes there", code="MRD-E306",
                         found=f"{volume_ml(mask):.4f} mL on its own grid, none on the scan's", fix="draw it on the scan itself")
    return placed, (Notice("MRD-W302", f"{start(name)} was drawn on another grid and was brought to the scan's voxels by nearest neighbour: "
                           f"{volume_ml(mask):.2f} mL before, {volume_ml(placed):.2f} mL after",
                           fix="look at the outline on the scan; export the mask with this scan as reference geometry to avoid this"),)


def _rounded_header(name: str) -> Notice:
    return Notice("MRD-W303", f"The place of {name} differs from the scan's by less than a tenth of a voxel; it was taken as the scan's own grid",
                  fix="nothing, if the outline fits the scan")


def _refuse_lost_place(mask: sitk.Image, image: sitk.Image, name: str, difference_mm: float) -> None:
    """As many voxels as the scan but elsewhere: either the header or the drawing is wrong, and nobody but a reader can tell which."""
    if mask.GetSize() != image.GetSize():
        return
    same_axes = np.allclose(mask.GetDirection(), image.GetDirection(), atol=1e-3)
    same_spacing = np.allclose(mask.GetSpacing(), image.GetSpacing(), rtol=1e-3)
    no_place = np.allclose(mask.GetDirection(), np.eye(3).ravel()) and np.allclose(mask.GetOrigin(), 0) and np.allclose(mask.GetSpacing(), 1)
    if no_place or (same_axes and same_spacing):
        moved = ", ".join(f"{b - a:+.2f}" for a, b in zip(image.GetOrigin(), mask.GetOrigin()))
        raise InputError(f"{start(name)} has as many voxels as its scan but lies elsewhere, so either its header or its outline is wrong",
                         code="MRD-E305", found=f"origin moved by {moved} mm (left, posterior, superior), corners by up to {difference_mm:.2f} mm",
                         fix="load both in Slicer, see where the outline lies, and export the mask again with this scan as reference geometry")


def _labels_of(values: np.ndarray) -> list[int]:
    """The values other than 0, ascending."""
    return [int(v) for v in np.unique(values) if v != 0]


def _listed(labels: list[int], names: Mapping[int, str]) -> str:
    """Labels in words: "labels 1 (tumour), 2 (rectum)"; names of a header are cut and freed of control characters."""
    if not labels:
        return "no label"
    words = [f"{v} ({short(names[v], 60)})" if names.get(v) else str(v) for v in labels[:LISTED_LABELS]]
    more = f" and {len(labels) - LISTED_LABELS} more" if len(labels) > LISTED_LABELS else ""
    return f"label{'s' if len(labels) > 1 else ''} {', '.join(words)}{more}"


def _option(name: str) -> str:
    """How the label of a mask is named: "name the label with --pre-label N"."""
    role = next((role for role, words in MASK_ROLES.items() if words == name), None)
    return f"name the label with --{role}-label N" if role else "name the label"


def _is_a_scan(name: str, found: str) -> InputError:
    return InputError(f"{start(name)} is a scan, not a mask", code="MRD-E307", found=found,
                      fix="choose the file that holds the outline (0 outside, 1 inside)")


def _outside(name: str, found: str) -> InputError:
    return InputError(f"{start(name)} lies wholly outside its scan", code="MRD-E303", found=found,
                      fix="see that it was drawn on this scan and not on the other one or before a registration")


def _with_grid_of(inside_or_not: np.ndarray, grid: sitk.Image) -> sitk.Image:
    """A uint8 mask from an array (z, y, x) with the first three axes' geometry of a 3-D or 4-D image."""
    mask = sitk.GetImageFromArray(np.ascontiguousarray(inside_or_not, dtype=np.uint8))
    n = grid.GetDimension()
    mask.SetSpacing(grid.GetSpacing()[:3])
    mask.SetOrigin(grid.GetOrigin()[:3])
    mask.SetDirection(np.array(grid.GetDirection()).reshape(n, n)[:3, :3].ravel().tolist())
    return mask
