"""How large a tumour is: volume and diameters of a mask, and how they changed.

Diameters run between the centres of marked voxels, as ITK's Feret diameter does. So they are never longer than the marked
shape; a disc comes out 0.14 voxels too short in the mean and 0.65 at most (300 discs of 8 to 60 voxels), a box one voxel too
short along each side, a single voxel has the diameter 0. (Between outer voxel faces a disc would be 0.8 voxels too long.)
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.gate.outlines import through_plane

DIAMETERS = ("longest_in_plane_diameter_mm", "longest_3d_diameter_mm", "short_axis_mm")

SAME_LENGTH_MM = 1e-6
"""Two diameters are equal when they differ by less than this."""

BLOCK = 1024
"""Points whose distances to all others are taken at once."""


def measure(mask: sitk.Image | None) -> dict[str, float | None]:
    """Volume and diameters of one mask.

    mask     sitk.Image, uint8, 3-D; every voxel above 0 counts, also in several pieces; None if there is none

    returns  volume_ml                     marked voxels times the volume of a voxel
             longest_in_plane_diameter_mm  longest distance between two marked voxels of one slice, over all slices
             longest_3d_diameter_mm        longest distance between any two marked voxels
             short_axis_mm                 extent at right angles to the longest in-plane diameter, in plane, in the same slice;
                                           of several longest diameters the one with the larger extent counts
             An empty mask has 0 everywhere; without a mask all are None.

    Slices lie across the axis with the largest spacing; of equal spacings, across the axis nearest to head-foot. So a scan
    stored with its axes permuted gives the same numbers.
    """
    if mask is None:
        return dict.fromkeys(("volume_ml", *DIAMETERS))
    array = sitk.GetArrayViewFromImage(mask) > 0
    volume_ml = float(np.count_nonzero(array)) * float(np.prod(mask.GetSpacing())) / 1000
    if volume_ml == 0:
        return dict.fromkeys(("volume_ml", *DIAMETERS), 0.0)
    through = through_plane(mask)
    order = [through] + [axis for axis in range(3) if axis != through]
    spacing = np.array(mask.GetSpacing())[order]
    array = _trimmed(np.transpose(array, [2 - axis for axis in order]))
    hulls = [_hull(_row_ends(part)) * spacing[1:] for part in array if part.any()]
    heights = np.flatnonzero(array.any(axis=(1, 2))) * spacing[0]
    longest, short = _longest_in_plane(hulls)
    corners = np.concatenate([np.insert(hull, 0, height, axis=1) for hull, height in zip(hulls, heights)])
    return {"volume_ml": volume_ml, "longest_in_plane_diameter_mm": longest, "longest_3d_diameter_mm": _longest(corners),
            "short_axis_mm": short}


def compare(pre_mask: sitk.Image | None, post_mask: sitk.Image | None, residual_mask: sitk.Image | None = None,
            complete_response: bool = False) -> dict[str, float | None]:
    """Sizes before and after treatment and their change.

    pre_mask           the tumour before treatment
    post_mask          the tumour bed after it: whole original site with fibrosis, so its change is not the tumour's
    residual_mask      viable tumour left after treatment; an empty mask means none is left
    complete_response  the reader says that none is left; with no residual mask this counts as an empty one

    returns  pre_*, post_*, residual_* for each value of measure(); for volume_ml and each diameter its change post - pre and
             residual - pre, absolute and in percent of pre (-100 when nothing is left). A mask that is not there gives None,
             and so does the percent change of a pre mask that is empty.
    raises   InputError MRD-E360 if a complete response is stated although the residual mask marks tumour
    """
    sizes = {"pre": measure(pre_mask), "post": measure(post_mask), "residual": measure(residual_mask)}
    if complete_response:
        if sizes["residual"]["volume_ml"]:
            raise InputError("A complete response is stated, but the residual mask marks tumour", code="MRD-E360",
                             found=f"{sizes['residual']['volume_ml']:.2f} mL of residual tumour",
                             fix="do not state a complete response, or empty the residual mask")
        sizes["residual"] = dict.fromkeys(sizes["residual"], 0.0)
    found = {f"{role}_{name}": value for role, size in sizes.items() for name, value in size.items()}
    for prefix, later in (("", "post"), ("residual_", "residual")):
        for name, before in sizes["pre"].items():
            stem, unit = name.rsplit("_", 1)
            found[f"{prefix}{stem}_change_{unit}"], found[f"{prefix}{stem}_change_percent"] = _change(before, sizes[later][name])
    return found


def _change(before: float | None, after: float | None) -> tuple[float | None, float | None]:
    """Absolute change and change in percent of before."""
    if before is None or after is None:
        return None, None
    return after - before, 100 * (after - before) / before if before else None


def _trimmed(array: np.ndarray) -> np.ndarray:
    """The block of the array that holds every marked voxel."""
    return array[tuple(slice(int(found.min()), int(found.max()) + 1) for found in np.nonzero(array))]


def _row_ends(part: np.ndarray) -> np.ndarray:
    """First and last marked column of each row that has one, (n, 2) as row, column; every corner of the hull is among them."""
    rows = np.flatnonzero(part.any(axis=1))
    first = part[rows].argmax(axis=1)
    last = part.shape[1] - 1 - part[rows, ::-1].argmax(axis=1)
    return np.stack([np.concatenate([rows, rows]), np.concatenate([first, last])], axis=1).astype(float)


def _hull(points: np.ndarray) -> np.ndarray:
    """The corners of the convex hull of points (n, 2), by Andrew's monotone chain (1979)."""
    ordered = sorted(map(tuple, points.tolist()))
    lower, upper = _chain(ordered), _chain(reversed(ordered))
    return np.array(lower[:-1] + upper[:-1] if len(lower) + len(upper) > 2 else lower).reshape(-1, 2)


def _chain(points) -> list[tuple[float, float]]:
    """One side of a convex hull: the points in order, without those at which the path does not turn left."""
    kept: list[tuple[float, float]] = []
    for x, y in points:
        while len(kept) > 1 and (kept[-1][0] - kept[-2][0]) * (y - kept[-2][1]) <= (kept[-1][1] - kept[-2][1]) * (x - kept[-2][0]):
            kept.pop()
        kept.append((x, y))
    return kept


def _distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.sqrt(sum((points[:, None, axis] - others[None, :, axis]) ** 2 for axis in range(points.shape[1])))


def _longest(points: np.ndarray) -> float:
    """The longest distance between two of the points (n, 3), mm."""
    return max(float(_distances(points[start:start + BLOCK], points[start:]).max()) for start in range(0, len(points), BLOCK))


def _longest_in_plane(hulls: list[np.ndarray]) -> tuple[float, float]:
    """Longest diameter of any slice's hull (n, 2), and the extent at right angles to it, mm."""
    tables = [_distances(hull, hull) for hull in hulls]
    longest, short = max(float(table.max()) for table in tables), 0.0
    if longest == 0:
        return 0.0, 0.0
    for hull, table in zip(hulls, tables):
        for one, other in np.argwhere(np.triu(table, 1) > longest - SAME_LENGTH_MM):
            along = (hull[other] - hull[one]) / table[one, other]
            short = max(short, float(np.ptp(hull @ np.array([-along[1], along[0]]))))
    return longest, short
