"""Mutual information of two scans under a transform, on the same points before and after.

Used to choose among starts and as the quality number of the result. ITK's optimiser has its own estimate (Mattes); this one is
a plain joint histogram, so that its value can be checked by hand and compared between runs.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

MIN_POINTS_INSIDE = 500
"""Fewer points inside both scans say nothing about their similarity."""


def region_points(region: sitk.Image, count: int) -> np.ndarray:
    """About count points spread evenly over a mask: every n-th voxel centre, (points, 3) LPS, mm."""
    inside = np.argwhere(sitk.GetArrayViewFromImage(region) > 0)
    step = max(1, len(inside) // count)
    return indices_to_points(region, inside[step // 2::step, ::-1].astype(float))


def indices_to_points(image: sitk.Image, indices: np.ndarray) -> np.ndarray:
    """Continuous indices (points, 3) in x, y, z -> LPS, mm."""
    matrix = np.asarray(image.GetDirection()).reshape(3, 3) * np.asarray(image.GetSpacing())
    return _affine(indices, matrix, np.asarray(image.GetOrigin()))


def points_to_indices(image: sitk.Image, points: np.ndarray) -> np.ndarray:
    """LPS, mm -> continuous indices (points, 3) in x, y, z."""
    matrix = np.asarray(image.GetDirection()).reshape(3, 3) * np.asarray(image.GetSpacing())
    return _affine(points - np.asarray(image.GetOrigin()), np.linalg.inv(matrix), np.zeros(3))


def transformed(points: np.ndarray, transform: sitk.Transform) -> np.ndarray:
    """Points (points, 3) LPS, mm through any transform (a deformable one takes about 10 microseconds a point)."""
    if not transform.IsLinear():
        return np.array([transform.TransformPoint(point) for point in points.tolist()])
    matrix, offset = linear_parts(transform)
    return _affine(points, matrix, offset)


def linear_parts(transform: sitk.Transform) -> tuple[np.ndarray, np.ndarray]:
    """Matrix (3, 3) and offset (3,) in mm of a linear transform: p -> matrix p + offset."""
    offset = np.asarray(transform.TransformPoint((0.0, 0.0, 0.0)))
    columns = [np.asarray(transform.TransformVector(axis, (0.0, 0.0, 0.0))) for axis in np.eye(3).tolist()]
    return np.stack(columns, axis=1), offset


def sampled(image: sitk.Image, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Trilinear values of an image at LPS points.

    returns values (points,), 0 where outside; inside (points,) bool
    """
    volume = sitk.GetArrayViewFromImage(image)
    size = np.asarray(image.GetSize())
    position = points_to_indices(image, points)
    inside = ((position >= 0) & (position <= size - 1)).all(axis=1)
    position = np.where(inside[:, None], position, 0.0)
    low = np.minimum(position.astype(np.int64), np.maximum(size - 2, 0))
    share = position - low
    high = np.minimum(low + 1, size - 1)
    values = np.zeros(len(points))
    for corner in range(8):
        at = [high[:, axis] if corner >> axis & 1 else low[:, axis] for axis in range(3)]
        weight = np.ones(len(points))
        for axis in range(3):
            weight *= share[:, axis] if corner >> axis & 1 else 1.0 - share[:, axis]
        values += weight * volume[at[2], at[1], at[0]]
    return np.where(inside, values, 0.0), inside


def binned(values: np.ndarray, bins: int) -> np.ndarray:
    """Bin numbers 0..bins-1 between the 0.5th and 99.5th percentile; what lies outside goes to the end bins."""
    low, high = np.percentile(values, [0.5, 99.5])
    scale = bins / (high - low) if high > low else 0.0
    return np.clip(((values - low) * scale).astype(np.int64), 0, bins - 1)


def mutual_information(first: np.ndarray, second: np.ndarray, bins: int) -> float:
    """Mutual information in nats of two lists of bin numbers (0..bins-1), not below 0.

    sum p(a,b) ln(p(a,b) / (p(a) p(b))), less what chance alone adds to a histogram of few points (Miller 1955):
    (filled cells - filled rows - filled columns + 1) / (2 points). Without this, small overlaps look alike.
    """
    count = max(len(first), 1)
    joint = np.bincount(first * bins + second, minlength=bins * bins).reshape(bins, bins) / count
    rows, columns = joint.sum(axis=1), joint.sum(axis=0)
    filled = joint > 0
    plain = float(np.sum(joint[filled] * np.log(joint[filled] / np.outer(rows, columns)[filled])))
    chance = (filled.sum() - (rows > 0).sum() - (columns > 0).sum() + 1) / (2 * count)
    return max(0.0, plain - float(chance))


class Similarity:
    """Mutual information between a pre and a post scan for any transform, always on the same points of the pre scan."""

    def __init__(self, pre: sitk.Image, post: sitk.Image, region: sitk.Image, *, bins: int, count: int,
                 post_region: sitk.Image | None = None) -> None:
        self.points = region_points(region, count)
        values, inside = sampled(pre, self.points)
        self.points, values = self.points[inside], values[inside]
        self.post, self.post_region, self.bins = post, post_region, bins
        self.pre_bins = binned(values, bins) if len(values) else values.astype(np.int64)

    def __call__(self, transform: sitk.Transform) -> tuple[float, float]:
        """Mutual information (nats; 0 without enough overlap) and the share of points that fall inside the post scan."""
        mapped = transformed(self.points, transform)
        values, inside = sampled(self.post, mapped)
        if self.post_region is not None:
            inside &= sampled(self.post_region, mapped)[0] > 0.5
        if inside.sum() < MIN_POINTS_INSIDE:
            return 0.0, float(inside.mean()) if len(inside) else 0.0
        return mutual_information(self.pre_bins[inside], binned(values[inside], self.bins), self.bins), float(inside.mean())


def _affine(points: np.ndarray, matrix: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """matrix p + offset, summed in one fixed order, so that the result does not depend on a linear-algebra library's threads."""
    return (points[:, 0:1] * matrix[:, 0] + points[:, 1:2] * matrix[:, 1] + points[:, 2:3] * matrix[:, 2]) + offset
