"""Grids: the axial order of a scan, the crop grid, interpolation onto it and from it back to a scan. LPS, mm."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError

SPLINE_MARGIN_VOXELS = 16
"""Source voxels kept around a crop before the B-spline: its memory falls by 0.27 a voxel, so 16 leave less than 1e-8."""

HALF_MAXIMUM_WIDTHS = 2.3548
"""Full width at half maximum of a Gaussian, in standard deviations."""

NEGLIGIBLE_WIDTH = 0.1
"""A Gaussian with a standard deviation below this many voxels is left out."""


def in_axial_order(image: sitk.Image) -> sitk.Image:
    """The same voxels at the same places, stored so that the axes run as near as can be to left, posterior, superior.

    However a scan was stored (flipped, axes permuted, left-handed), the result is the same; an oblique scan stays oblique.
    Of two equally near axes (a scan tilted by 45 degrees) the one with the larger spacing becomes the last.
    """
    direction = np.abs(np.array(image.GetDirection()).reshape(3, 3))
    spacing = np.array(image.GetSpacing())

    def nearness(order: tuple[int, ...]) -> float:
        return sum(direction[world, axis] for world, axis in enumerate(order)) + 1e-6 * spacing[order[2]] / spacing.sum()

    permuted = sitk.PermuteAxes(image, max(permutations(range(3)), key=nearness))
    along = np.array(permuted.GetDirection()).reshape(3, 3).diagonal()
    return permuted[tuple(slice(None, None, -1 if cosine < 0 else 1) for cosine in along)]


def corners(image: sitk.Image) -> np.ndarray:
    """The eight outer corners of the outermost voxels, (8, 3), LPS mm."""
    indices = product(*((-0.5, size - 0.5) for size in image.GetSize()))
    return np.array([image.TransformContinuousIndexToPhysicalPoint(index) for index in indices])


def crop_grid(pre: sitk.Image, centre_mm: np.ndarray, spacing_mm: tuple[float, ...], crop_mm: tuple[float, ...]) -> sitk.Image:
    """The grid that a network sees.

    pre         the pre-treatment scan in axial order: the grid takes over its axes, and so its obliquity
    centre_mm   centre of the crop, LPS mm
    spacing_mm  x, y, z;  crop_mm  extent x, y, z, rounded to whole voxels
    returns     uint8 zeros
    """
    size = [max(1, round(extent / step)) for extent, step in zip(crop_mm, spacing_mm)]
    direction = np.array(pre.GetDirection()).reshape(3, 3)
    half = (np.array(size) - 1) / 2 * np.array(spacing_mm)
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetSpacing(spacing_mm)
    grid.SetDirection(pre.GetDirection())
    grid.SetOrigin((np.asarray(centre_mm) - direction @ half).tolist())
    return grid


def region_around(image: sitk.Image, points_mm: np.ndarray, margin_voxels: int | np.ndarray) -> tuple[list[int], list[int]] | None:
    """Start and size (x, y, z voxels) of the smallest block of the image that holds the points and a margin; None if there is none."""
    indices = np.array([image.TransformPhysicalPointToContinuousIndex(tuple(map(float, point))) for point in points_mm])
    start = np.maximum(np.floor(indices.min(axis=0)).astype(int) - margin_voxels, 0)
    stop = np.minimum(np.ceil(indices.max(axis=0)).astype(int) + margin_voxels + 1, image.GetSize())
    if np.any(stop <= start):
        return None
    return start.tolist(), (stop - start).tolist()


def anti_alias_variance(image: sitk.Image, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Variance (x, y, z), mm^2, of the Gaussian that makes voxels as wide as spacing_mm; 0 along axes that are wide enough.

    Its full width at half maximum makes up the difference: width^2 = coarse^2 - fine^2.
    """
    fine = np.array(image.GetSpacing())
    variance = np.maximum(np.array(spacing_mm) ** 2 - fine ** 2, 0.0) / HALF_MAXIMUM_WIDTHS ** 2
    return np.where(variance > (NEGLIGIBLE_WIDTH * fine) ** 2, variance, 0.0)


def interpolated(image: sitk.Image, grid: sitk.Image, transform: sitk.Transform, outside: float) -> sitk.Image:
    """The image (axial order) on the grid by one B-spline interpolation of order 3, smoothed first along axes where the grid is
    coarser than the image.

    transform  grid LPS -> image LPS, linear
    outside    value where the scan does not reach
    returns    float32 on the grid
    """
    variance = anti_alias_variance(image, grid.GetSpacing())
    margin = SPLINE_MARGIN_VOXELS + np.ceil(4 * np.sqrt(variance) / np.array(image.GetSpacing())).astype(int)
    region = region_around(image, np.array([transform.TransformPoint(tuple(corner)) for corner in corners(grid)]), margin)
    source = image if region is None else sitk.RegionOfInterest(image, region[1], region[0])
    if variance.any():
        source = sitk.DiscreteGaussian(source, variance=variance.tolist(), maximumKernelWidth=64, maximumError=0.001, useImageSpacing=True)
    return sitk.Resample(source, grid, transform, sitk.sitkBSpline, outside, sitk.sitkFloat32)


def field_of_view(image: sitk.Image, grid: sitk.Image, transform: sitk.Transform) -> sitk.Image:
    """uint8 on the grid: 1 where the image reaches, 0 where it does not.

    transform  grid LPS -> image LPS
    """
    ones = sitk.Image(image.GetSize(), sitk.sitkUInt8) + 1
    ones.CopyInformation(image)
    return sitk.Resample(ones, grid, transform, sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)


def image_on_grid(array: np.ndarray, grid: sitk.Image) -> sitk.Image:
    """An array (depth, height, width) with the place of a grid, float32.

    raises InputError if the shapes differ
    """
    array = np.ascontiguousarray(array, dtype=np.float32)
    if array.shape != grid.GetSize()[::-1]:
        raise InputError("A map does not have the size of its grid", code="MRD-E741",
                         found=f"map {array.shape}, grid {grid.GetSize()[::-1]} (depth, height, width)",
                         fix="give the grid that was made together with the network's input")
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(grid)
    return image


def on_scan(map_on_grid: sitk.Image, scan: sitk.Image, scan_to_grid: sitk.Transform) -> sitk.Image:
    """A map on the crop grid, brought to a scan's own grid by trilinear interpolation inside the crop; zero outside it.

    map_on_grid   sitk.Image on the crop grid (pre scan's space, LPS mm)
    scan          the scan as it was read; its grid is kept
    scan_to_grid  scan LPS -> crop LPS: identity for the pre scan, the inverse of pre -> post for the post scan
    returns       float32 on the scan's grid
    """
    whole = sitk.Image(scan.GetSize(), sitk.sitkFloat32)
    whole.CopyInformation(scan)
    if not scan_to_grid.IsLinear():
        return sitk.Resample(map_on_grid, whole, scan_to_grid, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    grid_to_scan = scan_to_grid.GetInverse()
    region = region_around(scan, np.array([grid_to_scan.TransformPoint(tuple(corner)) for corner in corners(map_on_grid)]), 1)
    if region is None:
        return whole
    start, size = region
    reached = sitk.Resample(map_on_grid, size, scan_to_grid, sitk.sitkLinear, scan.TransformIndexToPhysicalPoint(start),
                            scan.GetSpacing(), scan.GetDirection(), 0.0, sitk.sitkFloat32)
    return sitk.Paste(whole, reached, size, [0, 0, 0], start)


def common_grid(pre: sitk.Image, post: sitk.Image, transform: sitk.Transform) -> tuple[sitk.Image, sitk.Image]:
    """Both scans on the pre scan's grid, for looking at them side by side; the network does not see these.

    transform  pre LPS -> post LPS
    returns    the pre scan as it is, and the post scan by linear interpolation, zero where it does not reach (field_of_view
               says where)
    """
    return pre, sitk.Resample(post, pre, transform, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
