"""Scan grids of the simulated pelvis, and how smooth functions of space are evaluated on them cheaply.

Two frames, both millimetres with x to the patient's left, y to the back, z to the head:
the anatomy frame (origin midway between the femoral heads) in which shapes are written down, and scanner LPS.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

COARSE_STEP_MM = 2.4
"""Shapes are evaluated at about this spacing and interpolated: they are smooth, so that finer sampling shows nothing new."""


@dataclass(frozen=True)
class Grid:
    """Where a scan's voxels lie. size (x, y, z), spacing_mm (x, y, z), origin_mm LPS, direction 3x3 (columns are axes)."""

    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: np.ndarray

    @staticmethod
    def of(image: sitk.Image) -> "Grid":
        """The grid of an image."""
        return Grid(image.GetSize(), image.GetSpacing(), image.GetOrigin(), np.array(image.GetDirection()).reshape(3, 3))

    @staticmethod
    def centred(size, spacing_mm, centre_mm, direction) -> "Grid":
        """The grid of this size whose middle lies at centre_mm (LPS)."""
        half = 0.5 * (np.array(size) - 1) * np.array(spacing_mm)
        origin = np.asarray(centre_mm, float) - np.asarray(direction) @ half
        return Grid(tuple(int(n) for n in size), tuple(float(s) for s in spacing_mm), tuple(float(o) for o in origin),
                    np.asarray(direction, float))

    def image(self, array: np.ndarray) -> sitk.Image:
        """The array (z, y, x) as an image on this grid."""
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(self.spacing_mm)
        image.SetOrigin(self.origin_mm)
        image.SetDirection(tuple(self.direction.ravel()))
        return image

    def thick_axis_last(self) -> tuple["Grid", tuple[int, int, int]]:
        """The same voxels with the coarsest axis as the third, and the permutation that was applied (image axes)."""
        thick = int(np.argmax(self.spacing_mm))
        order = tuple(axis for axis in range(3) if axis != thick) + (thick,)
        return Grid(tuple(self.size[a] for a in order), tuple(self.spacing_mm[a] for a in order), self.origin_mm,
                    self.direction[:, list(order)]), order


def rotation_matrix(angles_deg) -> np.ndarray:
    """Rotation about x, then y, then z (degrees): 3x3."""
    a, b, c = np.deg2rad(angles_deg)
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return rz @ ry @ rx


@dataclass(frozen=True)
class Placement:
    """How the patient lies in the scanner: LPS = rotation @ anatomy + shift_mm."""

    rotation: np.ndarray
    shift_mm: np.ndarray

    def to_anatomy(self, points_mm: np.ndarray) -> np.ndarray:
        """Points (..., 3) from LPS to the anatomy frame."""
        return (points_mm - self.shift_mm) @ self.rotation

    def to_lps(self, points_mm: np.ndarray) -> np.ndarray:
        """Points (..., 3) from the anatomy frame to LPS."""
        return points_mm @ self.rotation.T + self.shift_mm


def rigid_between(pre: Placement, post: Placement) -> sitk.Euler3DTransform:
    """The transform that carries a bony point from pre LPS to post LPS."""
    rotation = post.rotation @ pre.rotation.T
    transform = sitk.Euler3DTransform()
    transform.SetCenter(tuple(float(v) for v in pre.shift_mm))
    transform.SetMatrix(tuple(rotation.ravel()), 1e-9)
    transform.SetTranslation(tuple(float(v) for v in post.shift_mm - pre.shift_mm))
    return transform


class Sampler:
    """Coarse sample points of one grid (coarsest axis last) and the interpolation from them to its voxels.

    shape_fine    (nz, ny, nx)
    shape_coarse  (nz, my, mx): in plane every few voxels with two samples beyond each border; every slice
    """

    def __init__(self, grid: Grid, step_mm: float = COARSE_STEP_MM) -> None:
        self.grid = grid
        nx, ny, nz = grid.size
        self.factor_x, self.factor_y = (max(1, round(step_mm / s)) for s in grid.spacing_mm[:2])
        self.px, self.py = _positions(nx, self.factor_x), _positions(ny, self.factor_y)
        self.pz = np.arange(-1, nz + 1, dtype=np.float64)          # one slice more at each end, for through-plane gradients
        self.shape_fine = (nz, ny, nx)
        self.shape_coarse = (nz + 2, len(self.py), len(self.px))
        self._whole = Box((slice(1, len(self.py)), slice(1, len(self.px))), (slice(0, ny), slice(0, nx)))

    def coarse_grid(self) -> Grid:
        """The grid of the coarse samples."""
        g = self.grid
        first = np.array([self.px[0], self.py[0], self.pz[0]]) * g.spacing_mm
        step = (self.px[1] - self.px[0], self.py[1] - self.py[0], 1.0)
        return Grid(self.shape_coarse[::-1], tuple(float(s * f) for s, f in zip(g.spacing_mm, step)),
                    tuple(float(v) for v in np.array(g.origin_mm) + g.direction @ first), g.direction)

    def ball(self, placement: Placement, centre_mm: np.ndarray, reach_mm: float) -> tuple[slice, slice, slice]:
        """Index range (z, y, x) of the coarse samples within reach of a point of the anatomy frame; may be empty."""
        g = self.coarse_grid()
        index = g.direction.T @ (placement.to_lps(np.asarray(centre_mm, float)) - g.origin_mm) / g.spacing_mm
        reach = reach_mm / np.array(g.spacing_mm)
        low = np.clip(np.floor(index - reach), 0, g.size).astype(int)
        high = np.clip(np.ceil(index + reach) + 1, 0, g.size).astype(int)
        return tuple(slice(int(a), int(b)) for a, b in zip(low[::-1], high[::-1]))

    def points(self, placement: Placement) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coordinates x, y, z of the coarse samples in the anatomy frame, float32 arrays that broadcast to shape_coarse."""
        return points(self.grid, placement, self.px, self.py, self.pz)

    def box(self, inside: np.ndarray, corner: tuple[int, int] = (0, 0)) -> "Box | None":
        """The part of a slice that a shape touches, from coarse samples (my, mx) inside or near it; None if there is none.

        corner  where the samples handed in begin (y, x)
        """
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if not len(rows):
            return None
        y = _span(rows + corner[0], self.py, self.shape_fine[1], (corner[0], corner[0] + inside.shape[0]))
        x = _span(columns + corner[1], self.px, self.shape_fine[2], (corner[1], corner[1] + inside.shape[1]))
        return None if y[1].stop <= y[1].start or x[1].stop <= x[1].start else Box((y[0], x[0]), (y[1], x[1]))

    def fine_box(self, coarse_slice: np.ndarray, box: "Box", corner: tuple[int, int] = (0, 0)) -> np.ndarray:
        """Part of one coarse slice (whose samples begin at corner) on the voxels of a box."""
        (cy, cx), (fy, fx) = box.coarse, box.fine
        part = coarse_slice[cy.start - corner[0]:cy.stop - corner[0], cx.start - corner[1]:cx.stop - corner[1]]
        wide = _cubic(part.T, self.factor_x)[:fx.stop - fx.start].T
        return _cubic(wide, self.factor_y)[:fy.stop - fy.start]

    def fine_slice(self, coarse_slice: np.ndarray) -> np.ndarray:
        """One coarse slice (my, mx) on the voxels (ny, nx) of that slice."""
        return self.fine_box(coarse_slice, self._whole)


@dataclass(frozen=True)
class Box:
    """Part of a slice: coarse and fine slices (y, x); the coarse part holds every sample that the fine part needs."""

    coarse: tuple[slice, slice]
    fine: tuple[slice, slice]


def _span(samples: np.ndarray, position: np.ndarray, count: int, limits: tuple[int, int]) -> tuple[slice, slice]:
    """Coarse and fine range around the samples that lie inside a shape, one sample more on either side."""
    first, last = max(samples[0] - 1, limits[0] + 1, 2), min(samples[-1] + 1, limits[1] - 3)
    if last < first:
        return slice(0, 0), slice(0, 0)
    fine = slice(max(int(np.ceil(position[first])), 0), min(int(np.floor(position[last])) + 1, count))
    return slice(first - 1, last + 3), fine


def points(grid: Grid, placement: Placement, px, py, pz):
    """Anatomy coordinates x, y, z (float32, full arrays (z, y, x)) of index positions px, py, pz of a grid."""
    axes = (placement.rotation.T @ grid.direction) * np.array(grid.spacing_mm)
    start = placement.to_anatomy(np.array(grid.origin_mm))
    return tuple((start[c] + axes[c, 2] * pz[:, None, None] + axes[c, 1] * py[None, :, None]
                  + axes[c, 0] * px[None, None, :]).astype(np.float32) for c in range(3))


def _positions(count: int, factor: int) -> np.ndarray:
    """Where the coarse samples of an axis lie (voxels): every factor voxels, two before the first voxel and enough beyond the last."""
    return np.arange(-2 * factor, count + 3 * factor, factor, dtype=np.float64)


def _cubic(samples: np.ndarray, factor: int) -> np.ndarray:
    """Catmull-Rom interpolation along the first axis: values every sample/factor from the second sample on.

    Written with slices instead of a matrix product: the same bytes whatever the number of threads, and no thread pool to wait for.
    """
    cells = len(samples) - 3
    if factor == 1:
        return samples[1:cells + 1]
    fine = np.empty((cells, factor) + samples.shape[1:], np.float32)
    fine[:, 0] = samples[1:cells + 1]
    for phase in range(1, factor):
        t = phase / factor
        weights = (-0.5 * t**3 + t**2 - 0.5 * t, 1.5 * t**3 - 2.5 * t**2 + 1, -1.5 * t**3 + 2 * t**2 + 0.5 * t, 0.5 * t**3 - 0.5 * t**2)
        total = samples[0:cells] * np.float32(weights[0])
        for tap in (1, 2, 3):
            total += samples[tap:cells + tap] * np.float32(weights[tap])
        fine[:, phase] = total
    return fine.reshape((cells * factor,) + samples.shape[1:])


