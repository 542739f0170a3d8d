"""Judging sizes and frames: whether numbers of voxels, spacings and directions can be those of a scan.

Plain Python on purpose: these run before anything is allocated.
"""

from __future__ import annotations

import math
import os
from itertools import product
from typing import Sequence

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.gate.facts import Affine, whole

SAME_FRAME_MM = 0.5
"""Two statements of one frame agree when no corner of the scan moves by more than this, mm. Wide enough for quaternions in
single precision near a half turn (about 0.3 mm over a 500 mm scan), far below any flip."""

AXES = ("x", "y", "z")
Vector = Sequence[float]


def check_sizes(sizes: Sequence[int], bytes_per_voxel: int, limits: GateLimits) -> None:
    """Refuse a scan too large for the limits or for this machine's memory; sizes hold every axis of the file."""
    total = math.prod(sizes) * bytes_per_voxel
    grid = " x ".join(str(n) for n in sizes)
    too_long = any(n > limits.max_voxels_per_axis for n in sizes)
    memory = _memory_bytes()
    if too_long or total > limits.max_voxel_bytes or (memory is not None and 3 * total > memory):
        raise InputError("The file says that it holds more voxels than can be handled", code="MRD-E107",
                         found=f"{grid} voxels, about {_readable(total)} unpacked",
                         fix="check that this is the right file; if it is, export a smaller volume: crop it to the pelvis "
                             "or resample it")


def _memory_bytes() -> int | None:
    """Memory of this machine in bytes, None where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _readable(count: int) -> str:
    """A number of bytes for people."""
    if count >= 10**24:
        return f"10^{len(str(count)) - 1} bytes"
    for unit, size in (("PiB", 1024**5), ("TiB", 1024**4), ("GiB", 1024**3), ("MiB", 1024**2)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def check_axis_lengths(sizes: Sequence[int]) -> None:
    """Refuse an axis without voxels."""
    if any(n < 1 for n in sizes):
        raise InputError("An axis of the scan has no voxels", code="MRD-E109", found=" x ".join(str(n) for n in sizes),
                         fix="export the scan again; the header is damaged")


def check_dimensions(dimensions: int) -> None:
    """Refuse a number of axes that cannot be a volume or a series of volumes."""
    if dimensions in (1, 2):
        raise InputError("This is a single slice or a line, not a 3-D scan", code="MRD-E127", found=f"{dimensions} axes",
                         fix="choose the whole series, not one of its images")
    if not 3 <= dimensions <= 7:
        raise InputError("The number of axes in the header is impossible", code="MRD-E109", found=f"{dimensions} axes",
                         fix="export the scan again; the header is damaged")


def lengths(dimension: str, sizes: str, names: tuple[str, str]) -> tuple[int, ...]:
    """The number of axes and the entries along each, as a text header gives them; names are what the header calls the two fields."""
    count = whole(dimension, names[0])
    check_dimensions(count)
    found = tuple(whole(word, names[1]) for word in sizes.split())
    if len(found) != count:
        raise InputError("The header's list of sizes does not fit its number of axes", code="MRD-E109",
                         found=f"{count} axes, {len(found)} sizes", fix="export the scan again; the header is damaged")
    check_axis_lengths(found)
    return found


def check_extra_axis(length: int, axis: str, *, readable: bool) -> None:
    """Refuse an axis beyond space that no volume index can resolve.

    length    entries along it
    axis      what the header calls it
    readable  True if one volume may be chosen along it
    """
    if length > 1 and not readable:
        raise InputError("Each voxel of this file holds several values, not one intensity", code="MRD-E131",
                         found=f"{length} values along the axis '{axis}'",
                         fix="export one grey-value volume (no colour, vector, tensor or complex data)")


def check_spacing(spacing_mm: Vector, limits: GateLimits) -> None:
    """Refuse spacings that are not positive numbers or cannot be millimetres."""
    shown = " x ".join(f"{s:g}" for s in spacing_mm)
    if not all(math.isfinite(s) and s > 0 for s in spacing_mm):
        raise InputError("The distance between voxels is zero, negative or not a number", code="MRD-E134", found=f"{shown} mm",
                         fix="export the scan again with its voxel spacing; a guessed spacing would give wrong volumes")
    if any(s < limits.min_spacing_mm or s > limits.max_spacing_mm for s in spacing_mm):
        raise InputError("The distance between voxels cannot be right in millimetres", code="MRD-E137", found=shown + _likely_unit(spacing_mm, limits),
                         fix="export the scan again with its spacing in millimetres")


def _likely_unit(spacing: Vector, limits: GateLimits) -> str:
    """Which unit would make these spacings plausible, as a phrase to append."""
    for unit, factor in (("metres", 1e3), ("micrometres", 1e-3)):
        if all(limits.min_spacing_mm <= s * factor <= limits.max_spacing_mm for s in spacing):
            return f"; these look like {unit}"
    return f"; expected {limits.min_spacing_mm:g} to {limits.max_spacing_mm:g} mm"


def wrong_unit(unit: str) -> InputError:
    """The error for a header that names another unit of length than the millimetre."""
    return InputError("The header gives lengths in another unit than millimetres", code="MRD-E137", found=unit,
                      fix="export the scan again with its spacing in millimetres")


def check_frame(columns: Sequence[Vector], origin: Vector, limits: GateLimits) -> None:
    """Refuse a frame that is not a position and three axes at right angles.

    columns  for each voxel axis the step from one voxel to the next, mm
    origin   centre of the first voxel, mm
    """
    if not all(math.isfinite(v) for vector in (*columns, origin) for v in vector):
        raise InputError("The scan's position or directions are not numbers", code="MRD-E140", found="NaN or infinity in the header",
                         fix="export the scan again; a guessed orientation could swap left and right")
    lengths = [_length(c) for c in columns]
    if min(lengths) < 1e-12 or abs(_determinant([_scaled(c, 1 / n) for c, n in zip(columns, lengths)])) < 1e-3:
        raise InputError("The scan's axes do not span a volume", code="MRD-E138", found="two axes are parallel or one has no length",
                         fix="export the scan again; the header's directions are damaged")
    check_spacing(lengths, limits)
    units = [_scaled(c, 1 / n) for c, n in zip(columns, lengths)]
    worst = max(abs(_dot(units[i], units[j])) for i, j in ((0, 1), (0, 2), (1, 2)))
    if worst > limits.direction_tolerance:
        raise InputError("The scan's axes are not at right angles (sheared, for example by gantry tilt)", code="MRD-E139",
                         found=f"{90 - math.degrees(math.asin(min(1.0, worst))):.2f} degrees between two axes",
                         fix="resample the scan to a grid with right angles, for example with 3D Slicer's Resample Scalar Volume")


def affine(columns: Sequence[Vector], origin: Vector) -> Affine:
    """Three columns (steps, mm) and an origin (mm) as rows of an affine."""
    return tuple((float(columns[0][r]), float(columns[1][r]), float(columns[2][r]), float(origin[r])) for r in range(3))


def columns_of(matrix: Affine) -> tuple[tuple[float, float, float], ...]:
    """The three steps of an affine, mm."""
    return tuple((matrix[0][c], matrix[1][c], matrix[2][c]) for c in range(3))


def flipped_to_lps(matrix: Affine, signs: Vector = (-1, -1, 1)) -> Affine:
    """An affine to another frame with the same axes; signs say which of them turn (RAS to LPS: the first two)."""
    return tuple(tuple(signs[r] * value for value in matrix[r]) for r in range(3))


def corner_difference_mm(first: Affine, second: Affine, sizes: Sequence[int]) -> float:
    """Largest distance between the two places that two affines give to a corner voxel, mm."""
    worst = 0.0
    for corner in product(*((0, n - 1) for n in sizes)):
        places = [[sum(row[i] * corner[i] for i in range(3)) + row[3] for row in matrix] for matrix in (first, second)]
        worst = max(worst, math.dist(*places))
    return worst


def _length(vector: Vector) -> float:
    return math.hypot(*vector)


def _dot(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b))


def _scaled(vector: Vector, factor: float) -> list[float]:
    return [v * factor for v in vector]


def _determinant(c: Sequence[Vector]) -> float:
    return (c[0][0] * (c[1][1] * c[2][2] - c[2][1] * c[1][2]) - c[1][0] * (c[0][1] * c[2][2] - c[2][1] * c[0][2])
            + c[2][0] * (c[0][1] * c[1][2] - c[1][1] * c[0][2]))
