"""The residual tumour lies on the crop where it lies in the patient, however scan and crop are stored."""

from __future__ import annotations

import numpy as np
import pytest

from MRDeltaNetLib.cohort.verifying import truth
from Testing.made_up_result import CENTRE_MM, GRIDS, ball, empty_image, rigid, voxel_points

RADIUS_MM = 14.0


def facts_of(kind: str) -> dict:
    """A crop grid of this kind around CENTRE_MM and the alignment, as a prepared case's facts tell them."""
    grid, step = empty_image(kind), rigid()
    offset = np.array(step.TransformPoint((0.0, 0.0, 0.0)))
    matrix = np.stack([np.array(step.TransformPoint(tuple(axis))) - offset for axis in np.eye(3)], 1)
    return {"grid": {"size_voxels": grid.GetSize(), "spacing_mm": grid.GetSpacing(), "origin_lps_mm": grid.GetOrigin(), "direction": grid.GetDirection()},
            "transform": {"matrix": matrix.tolist(), "offset_mm": offset.tolist()}}


@pytest.mark.parametrize("crop", sorted(GRIDS))
@pytest.mark.parametrize("scan", sorted(GRIDS))
def test_a_ball_on_any_scan_is_that_ball_on_any_crop(scan, crop):
    middle = CENTRE_MM + (7.0, -9.0, 4.0)
    after = np.array(rigid().TransformPoint(middle.tolist()))
    inside = truth.on_crop(ball(empty_image(scan), after, RADIUS_MM), facts_of(crop))
    points = voxel_points(empty_image(crop))
    assert points[inside].mean(0) == pytest.approx(middle, abs=1.6), "slices are 5 mm thick"
    off = np.linalg.norm(points - middle, axis=-1)
    assert inside[off < RADIUS_MM - 5].all() and not inside[off > RADIUS_MM + 5].any()
