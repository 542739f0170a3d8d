"""Overlap and border distance of two outlines against formulas, brute force, and MONAI."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.imaging.agreement import agreement, hausdorff_95_mm
from Testing.imaging.shapes import STORAGES, ellipsoid, grid, on, places, rotation, stored

OBLIQUE = rotation(0.4, -0.2, 0.3)
SCAN = grid((64, 60, 18), (0.9, 0.9, 3.0), OBLIQUE)


def block(first, last) -> sitk.Image:
    """Voxels first to last, both included, (x, y, z)."""
    values = np.zeros(SCAN.GetSize()[::-1], np.uint8)
    values[tuple(slice(a, b + 1) for a, b in zip(first[::-1], last[::-1]))] = 1
    return on(SCAN, values)


def ragged(seed: int) -> sitk.Image:
    smooth = ellipsoid(SCAN, radii_mm=(14.0, 11.0, 15.0))
    return on(SCAN, sitk.GetArrayFromImage(smooth) * (np.random.default_rng(seed).random(SCAN.GetSize()[::-1]) < 0.7).astype(np.uint8))


def brute_force(a: sitk.Image, b: sitk.Image) -> float:
    """Every border voxel against every other, with the border found by looking at the six neighbours one by one."""
    points = []
    for mask in (a, b):
        inside = np.pad(sitk.GetArrayFromImage(mask) > 0, 1)
        whole = np.all([np.roll(inside, step, axis) for axis in range(3) for step in (-1, 1)], axis=0)
        points.append(places(mask)[(inside & ~whole)[1:-1, 1:-1, 1:-1]])
    table = np.linalg.norm(points[0][:, None] - points[1][None], axis=-1)
    return max(np.percentile(table.min(1), 95), np.percentile(table.min(0), 95))


@pytest.mark.parametrize("shift, dice, distance", [((0, 0, 0), 1.0, 0.0), ((4, 0, 0), 2 * 16 / 40, 3.6), ((0, 0, 2), 2 * 6 / 16, 6.0), ((30, 0, 0), 0.0, 27.0)],
                         ids=["same", "sideways", "two slices", "apart"])
def test_blocks_that_are_moved_have_the_overlap_and_distance_of_the_formula(shift, dice, distance):
    first, last = (5, 10, 4), (24, 29, 11)
    moved = block(*(tuple(np.add(corner, shift)) for corner in (first, last)))
    found = agreement(block(first, last), moved)
    assert found.drawn == "both drew" and found.dice == pytest.approx(dice) and found.hd95_mm == pytest.approx(distance, abs=1e-6)
    assert found.volume_a_ml == found.volume_b_ml == pytest.approx(20 * 20 * 8 * 0.9 * 0.9 * 3 / 1000) and found.difference_ml == 0


def test_a_ball_in_a_ball_is_as_far_as_their_radii_differ():
    fine = grid((90, 90, 90), (0.5, 0.5, 0.5), OBLIQUE)
    a, b = (ellipsoid(fine, radii_mm=(radius,) * 3) for radius in (18.0, 13.0))
    found = agreement(a, b)
    assert found.hd95_mm == pytest.approx(5.0, abs=0.5) and found.dice == pytest.approx(2 * 13**3 / (18**3 + 13**3), abs=0.01)
    assert found.difference_ml == pytest.approx(4 / 3 * np.pi * (13**3 - 18**3) / 1000, rel=0.01)
    assert found.difference_percent == pytest.approx(200 * (13**3 - 18**3) / (13**3 + 18**3), rel=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_ragged_outlines_equal_brute_force_and_monai(seed):
    metrics = pytest.importorskip("monai.metrics", reason="MONAI is the oracle")
    import torch
    a, b = ragged(seed), ragged(100 + seed)
    b = sitk.Resample(b, SCAN, sitk.TranslationTransform(3, (2.7, -1.2, 3.0)), sitk.sitkNearestNeighbor, 0)
    found = agreement(a, b)
    assert found.hd95_mm == pytest.approx(brute_force(a, b), abs=1e-5)
    tensors = [torch.from_numpy(sitk.GetArrayFromImage(mask).astype(np.float32))[None, None] for mask in (a, b)]
    theirs = metrics.compute_hausdorff_distance(*tensors, include_background=True, percentile=95, spacing=SCAN.GetSpacing()[::-1])
    assert found.hd95_mm == pytest.approx(float(theirs), abs=1e-4)
    assert found.dice == pytest.approx(float(metrics.compute_dice(*tensors, include_background=True)), abs=1e-6)


@pytest.mark.parametrize("how", STORAGES)
def test_storage_and_order_of_readers_change_nothing(how):
    a, b = ragged(0), block((10, 12, 3), (40, 44, 12))
    found = agreement(a, b)
    again = agreement(stored(b, *STORAGES[how]), stored(a, *STORAGES[how]))
    assert (again.dice, again.hd95_mm, again.difference_ml) == pytest.approx((found.dice, found.hd95_mm, -found.difference_ml), abs=1e-5)


def test_an_outline_at_the_scans_edge_has_its_border_there():
    whole = on(SCAN, np.ones(SCAN.GetSize()[::-1], np.uint8))
    assert hausdorff_95_mm(whole, whole) == 0 and hausdorff_95_mm(whole, block((0, 0, 0), (31, 59, 17))) > 20


def test_empty_outlines_have_no_overlap_and_no_distance_and_are_told_apart():
    """Not 1, not 0: two empty ones agree on something that Dice does not measure, and one alone disagrees on it."""
    drawn, empty = block((5, 5, 5), (9, 9, 9)), SCAN * 0
    for a, b, said in ((empty, empty, "both empty"), (drawn, empty, "only A drew"), (empty, drawn, "only B drew")):
        found = agreement(a, b)
        assert (found.drawn, found.dice, found.hd95_mm) == (said, None, None)
    assert agreement(empty, empty).difference_percent is None and agreement(empty, drawn).difference_percent == 200


def test_outlines_on_two_grids_are_not_compared():
    with pytest.raises(ValueError):
        agreement(SCAN, SCAN[1:])
