"""Borders of masks as curves."""

from __future__ import annotations

import numpy as np
import pytest

from MRDeltaNetLib.report.outlines import _loops, borders, dashes


def area(loop: np.ndarray) -> float:
    """Shoelace formula; positive or negative by the sense of walking."""
    following = np.roll(loop, -1, axis=0)
    return float((loop[:, 0] * following[:, 1] - following[:, 0] * loop[:, 1]).sum() / 2)


def disc(radius: float, centre=(50.0, 45.0)) -> np.ndarray:
    rows, columns = np.indices((90, 110))
    return (columns - centre[0]) ** 2 + (rows - centre[1]) ** 2 < radius ** 2


@pytest.mark.parametrize("inside", [disc(20), disc(30) & ~disc(12), np.eye(9, dtype=bool), np.random.default_rng(1).random((40, 50)) > 0.5],
                         ids=["disc", "ring", "diagonal", "random"])
def test_the_walk_around_the_pixels_encloses_exactly_their_area(inside):
    assert sum(area(loop) for loop in _loops(inside)) == pytest.approx(inside.sum())


def test_a_ring_has_an_outer_and_an_inner_border():
    assert len(borders(disc(30) & ~disc(12))) == 2


def test_a_mask_that_reaches_the_edge_is_closed_there():
    assert sum(area(loop) for loop in _loops(np.ones((6, 7), bool))) == pytest.approx(42)


def test_an_empty_mask_has_no_border():
    assert borders(np.zeros((5, 5), bool)) == []


def test_smoothing_keeps_a_disc_round_and_within_a_pixel():
    (curve,) = borders(disc(20))
    distance = np.linalg.norm(curve - (50, 45), axis=1)
    assert np.abs(distance - 20).max() < 1.0


def test_a_solid_line_is_closed_and_a_dashed_one_has_gaps():
    (curve,) = borders(disc(20))
    (whole,) = dashes(curve, "solid")
    np.testing.assert_array_equal(whole[0], whole[-1])
    length = np.linalg.norm(np.diff(whole, axis=0), axis=1).sum()
    for style, drawn in (("dashed", 9 / 14), ("dotted", 2 / 6)):
        pieces = dashes(curve, style)
        assert len(pieces) > 5
        assert sum(np.linalg.norm(np.diff(piece, axis=0), axis=1).sum() for piece in pieces) == pytest.approx(drawn * length, rel=0.05)
