"""Smooth shapes as signed distances (mm, negative inside) on arrays of points, and smooth random fields in space."""

from __future__ import annotations

from typing import Callable

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.imaging.phantom.geometry import Placement, Sampler

Points = tuple[np.ndarray, np.ndarray, np.ndarray]
Where = tuple[slice, slice, slice]

_STEP_MM = 0.5
_LOW_MM, _HIGH_MM = -260.0, 260.0
OPEN_MM = 60.0
CAP_MM = 10.0


class Curve:
    """Smooth functions of the height z: a table whose first column is z (mm) becomes one lookup a column.

    A table that ends nearer than OPEN_MM to the origin ends in a rounded tip of CAP_MM there (its columns are centre x, centre y,
    radius x, radius y, turn); farther out it goes on for ever, beyond any field of view.
    """

    def __init__(self, rows, smooth_mm: float = 8.0) -> None:
        table = np.array(rows, np.float64)
        self.low = table[0, 0] if table[0, 0] > -OPEN_MM else -np.inf
        self.high = table[-1, 0] if table[-1, 0] < OPEN_MM else np.inf
        z = np.arange(_LOW_MM, _HIGH_MM, _STEP_MM)
        half = int(2 * smooth_mm / _STEP_MM)
        kernel = np.exp(-0.5 * (np.arange(-half, half + 1) * _STEP_MM / (0.5 * smooth_mm)) ** 2)
        kernel /= kernel.sum()
        self.columns = [np.convolve(np.pad(np.interp(z, table[:, 0], column), half, mode="edge"), kernel, mode="valid").astype(np.float32)
                        for column in table[:, 1:].T]
        if len(self.columns) >= 4:
            inside = np.clip(np.minimum(z - self.low, self.high - z) / CAP_MM, 0, 1)
            for column in self.columns[2:4]:
                column *= np.sqrt(1 - np.square(1 - inside)).astype(np.float32)

    def at(self, z_mm: float) -> list[float]:
        """Every column at one height."""
        place = int(round((z_mm - _LOW_MM) / _STEP_MM))
        return [float(column[place]) for column in self.columns]


class Space:
    """Points in one frame, with what many shapes share: |x| and the row of every curve's lookup.

    x, y, z  float32 arrays, mm
    """

    def __init__(self, points: Points, locate: Callable[[np.ndarray, float], Where] | None = None) -> None:
        self.x, self.y, self.z = points
        self.locate = locate
        self.side = np.abs(self.x)
        self.row = np.clip((self.z - np.float32(_LOW_MM)) * np.float32(1 / _STEP_MM), 0, (_HIGH_MM - _LOW_MM) / _STEP_MM - 1).astype(np.int32)

    def near(self, centre, reach_mm: float) -> tuple["Space", Where]:
        """The part of the points around a centre, and where it lies in the arrays: small shapes are evaluated there only."""
        where = self.locate(np.asarray(centre, float), reach_mm)
        return Space((self.x[where], self.y[where], self.z[where])), where

    def look(self, curve: Curve) -> list[np.ndarray]:
        """Every column of a curve at every point."""
        return [column[self.row] for column in curve.columns]

    def ellipsoid(self, centre, radii, *, both_sides: bool = False, turn_deg: float = 0.0) -> np.ndarray:
        """Ellipsoid, turned about the x axis; both_sides: and its mirror image."""
        u = (self.side if both_sides else self.x) - np.float32(centre[0])
        v, w = self.y - np.float32(centre[1]), self.z - np.float32(centre[2])
        if turn_deg:
            c, s = np.float32(np.cos(np.deg2rad(turn_deg))), np.float32(np.sin(np.deg2rad(turn_deg)))
            v, w = c * v + s * w, c * w - s * v
        u, v, w = u / np.float32(radii[0]), v / np.float32(radii[1]), w / np.float32(radii[2])
        k0 = np.sqrt(u * u + v * v + w * w)
        k1 = np.sqrt(np.square(u / np.float32(radii[0])) + np.square(v / np.float32(radii[1])) + np.square(w / np.float32(radii[2])))
        return k0 * (k0 - 1) / np.maximum(k1, np.float32(1e-5))

    def loft(self, curve: Curve, *, both_sides: bool = False) -> np.ndarray:
        """A stack of ellipses: columns centre x, centre y, radius x, radius y and, if there is one, turn in degrees."""
        cx, cy, rx, ry, *turn = self.look(curve)
        u, v = (self.side if both_sides else self.x) - cx, self.y - cy
        if turn:
            angle = turn[0] * np.float32(np.pi / 180)
            c, s = np.cos(angle), np.sin(angle)
            u, v = c * u + s * v, c * v - s * u
        rx, ry = np.maximum(rx, 0.5), np.maximum(ry, 0.5)
        u, v = u / rx, v / ry
        k0 = np.sqrt(u * u + v * v)
        flat = np.maximum(1 - k0, 0) * k0 / np.minimum(rx, ry)           # keeps the inside of thin shapes smooth; nothing at the border
        k1 = np.sqrt(np.square(u / rx) + np.square(v / ry) + flat * flat)
        d = k0 * (k0 - 1) / np.maximum(k1, np.float32(1e-5))
        return np.maximum(d, np.maximum(np.float32(curve.low) - self.z, self.z - np.float32(curve.high)))

    def rod(self, start, stop, radius_start: float, radius_stop: float, *, both_sides: bool = False) -> np.ndarray:
        """A rounded rod that tapers from one radius to the other."""
        a, b = np.array(start, np.float32), np.array(stop, np.float32)
        axis = b - a
        u = ((self.side if both_sides else self.x) - a[0], self.y - a[1], self.z - a[2])
        t = np.clip((u[0] * axis[0] + u[1] * axis[1] + u[2] * axis[2]) * np.float32(1 / float(axis @ axis)), 0, 1)
        d = np.sqrt(sum(np.square(u[i] - t * axis[i]) for i in range(3)))
        return d - (np.float32(radius_start) + t * np.float32(radius_stop - radius_start))


def joined(first: np.ndarray, second: np.ndarray, blend_mm: float) -> np.ndarray:
    """Union of two shapes with a rounded seam."""
    h = np.clip(blend_mm - np.abs(first - second), 0, None)
    return np.minimum(first, second) - h * h * np.float32(0.25 / blend_mm)


def without(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The first shape where the second is not."""
    return np.maximum(first, -second)


class Noise:
    """Smooth random fields of unit variance in the anatomy frame, one per channel, that belong to a patient.

    step_mm  distance of the lattice points
    count    lattice points along x, y, z before the pattern repeats; cover: how many are laid out (centred on the origin)
    smooth   how many times the lattice is smoothed (1-2-1 along each axis)
    """

    def __init__(self, rng: np.random.Generator, channels: int, count: int, cover: tuple[int, int, int], step_mm: float, smooth: int) -> None:
        lattice = rng.standard_normal((count, count, count, channels), dtype=np.float32)
        for _ in range(smooth):
            for axis in range(3):
                lattice = 2 * lattice + np.roll(lattice, 1, axis) + np.roll(lattice, -1, axis)
        lattice /= lattice.std(axis=(0, 1, 2))
        lattice = np.pad(lattice, [(0, max(n - count, 0)) for n in cover[::-1]] + [(0, 0)], mode="wrap")
        self.step_mm, self.channels = step_mm, channels
        self.lattice = sitk.GetImageFromArray(lattice if channels > 1 else lattice[..., 0], isVector=channels > 1)

    def at(self, sampler: Sampler, place: Placement, *, stretch=(1.0, 1.0, 1.0), motion: sitk.Image | None = None) -> list[np.ndarray]:
        """Every channel at a grid's coarse samples.

        stretch  makes the pattern longer along x, y, z
        motion   displacement (LPS, mm) on the same samples: where to read instead; None: at the samples themselves
        """
        spacing = np.array(stretch) * self.step_mm
        self.lattice.SetSpacing(tuple(float(v) for v in spacing))
        self.lattice.SetDirection(tuple(place.rotation.ravel()))
        middle = -0.5 * spacing * (np.array(self.lattice.GetSize()) - 1) + np.array([0.0, 12.0, 0.0])
        self.lattice.SetOrigin(tuple(float(v) for v in place.to_lps(middle)))
        at = sampler.coarse_grid()
        if motion is None:
            values = sitk.Resample(self.lattice, at.size, sitk.Transform(), sitk.sitkLinear, at.origin_mm, at.spacing_mm,
                                   tuple(at.direction.ravel()), 0.0)
        else:
            values = sitk.Warp(self.lattice, motion, sitk.sitkLinear, at.size, at.origin_mm, at.spacing_mm, tuple(at.direction.ravel()))
        array = sitk.GetArrayFromImage(values)
        return [np.ascontiguousarray(array[..., c]) for c in range(self.channels)] if self.channels > 1 else [array]
