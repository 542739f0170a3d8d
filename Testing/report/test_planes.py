"""Pictures show the right place the right way round, whatever grid a scan has."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.report.planes import (AXIAL, CORONAL, PICTURE_WIDTH, PLANES, SAGITTAL, bounds_mm, field, field_width_mm, image_centre,
                                         map_maximum, mask_centre)
from Testing.made_up_result import CENTRE_MM, GRIDS, ball, body_with_ball, bump, ellipsoid, empty_image, like

KINDS = sorted(GRIDS)
SIDE_MM = 24.0


def marker_place(kind: str, plane, offset_mm) -> tuple[float, float]:
    """Column and row, from the picture's middle (pixels), of a marker at offset_mm from the centre of the field."""
    image = empty_image(kind)
    marked = like(ellipsoid(image, CENTRE_MM + offset_mm, (8, 8, 9)).astype(np.float32), image)
    where = field(image, plane, CENTRE_MM, 100.0)
    picture = where.sample(marked)
    rows, columns = np.indices(picture.shape)
    offset = (CENTRE_MM - np.array(where.centre)) / where.pixel_mm          # the field may have been moved to show more of the scan
    middle = [(size - 1) / 2 + offset @ np.array(axis) for size, axis in zip(where.size, (plane.across, plane.down))]
    return (columns * picture).sum() / picture.sum() - middle[0], (rows * picture).sum() / picture.sum() - middle[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("plane", [AXIAL, CORONAL], ids=lambda plane: plane.name)
def test_patient_left_is_on_the_right_of_axial_and_coronal_pictures(kind, plane):
    column, row = marker_place(kind, plane, (SIDE_MM, 0, 0))
    pixel_mm = 100.0 / PICTURE_WIDTH
    assert column * pixel_mm == pytest.approx(SIDE_MM, abs=1.5)
    assert row * pixel_mm == pytest.approx(0, abs=1.5)
    assert plane.edges[:2] == ("R", "L")


@pytest.mark.parametrize("kind", KINDS)
def test_anterior_is_on_top_of_axial_pictures_and_on_the_left_of_sagittal_ones(kind):
    assert marker_place(kind, AXIAL, (0, -SIDE_MM, 0))[1] < -50
    assert marker_place(kind, SAGITTAL, (0, -SIDE_MM, 0))[0] < -50
    assert AXIAL.edges[2:] == ("A", "P") and SAGITTAL.edges[:2] == ("A", "P")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("plane", [CORONAL, SAGITTAL], ids=lambda plane: plane.name)
def test_superior_is_on_top_of_coronal_and_sagittal_pictures(kind, plane):
    assert marker_place(kind, plane, (0, 0, SIDE_MM))[1] < -50
    assert plane.edges[2:] == ("H", "F")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("plane", PLANES, ids=lambda plane: plane.name)
def test_each_pixel_is_simpleitks_value_at_its_place(kind, plane):
    image = body_with_ball(empty_image(kind), CENTRE_MM + (5, 3, 2), 20)
    where = field(image, plane, CENTRE_MM + (3, -4, 2), 100.0)
    picture = where.sample(image)
    middle = np.array([(PICTURE_WIDTH - 1) / 2, (picture.shape[0] - 1) / 2])
    for column, row in ((120, 80), (200, 130), (250, 60), (310, 150)):
        right, down = (np.array([column, row]) - middle) * where.pixel_mm
        point = np.array(where.centre) + right * np.array(plane.across) + down * np.array(plane.down)
        index = image.TransformPhysicalPointToContinuousIndex(point.tolist())
        if all(0 <= value <= size - 1 for value, size in zip(index, image.GetSize())):
            assert picture[row, column] == pytest.approx(image.EvaluateAtPhysicalPoint(point.tolist()), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_millimetre_is_as_long_down_as_across(kind):
    image = empty_image(kind)
    round_ball = like(ellipsoid(image, CENTRE_MM, (22, 22, 22)).astype(np.float32), image)
    for plane in PLANES:
        shown = field(image, plane, CENTRE_MM, 100.0).sample(round_ball) > 0.5
        width, height = np.ptp(np.flatnonzero(shown.any(0))), np.ptp(np.flatnonzero(shown.any(1)))
        step = max(image.GetSpacing()) / (100.0 / PICTURE_WIDTH)
        assert abs(width - height) <= 2 * step


def test_a_field_near_the_edge_is_moved_into_the_scan():
    image = empty_image("straight")
    low, high = bounds_mm(image)
    where = field(image, AXIAL, np.array([high[0] - 1, low[1] + 1, CENTRE_MM[2]]), 100.0)
    assert where.centre[0] == pytest.approx(high[0] - 50)
    assert where.centre[1] == pytest.approx(low[1] + 50)
    assert where.centre[2] == CENTRE_MM[2]


def test_a_scan_smaller_than_the_field_is_shown_whole_and_in_the_middle():
    image = empty_image("straight")
    where = field(image, CORONAL, np.array(CENTRE_MM) + 30, 400.0)
    np.testing.assert_allclose(where.centre[::2], CENTRE_MM[::2])
    assert where.size[1] * where.pixel_mm == pytest.approx(100.0, abs=1)      # 20 slices of 5 mm


def test_the_shared_width_is_the_widest_scans_but_limited():
    small = empty_image("straight")
    assert field_width_mm([small], 500.0) == pytest.approx(160.0)
    assert field_width_mm([small, empty_image("oblique")], 180.0) == 180.0


@pytest.mark.parametrize("kind", KINDS)
def test_the_maximum_of_a_map_is_found_in_the_patient(kind):
    image, place = empty_image(kind), CENTRE_MM + (13, -9, 6)
    assert np.linalg.norm(map_maximum(bump(image, place, 10, 2.0)) - place) <= np.linalg.norm(image.GetSpacing()) / 2


def test_of_equal_maxima_the_one_nearest_to_the_mask_counts():
    image = empty_image("straight")
    flat = like((ellipsoid(image, CENTRE_MM + (30, 0, 0), (9, 9, 9)) | ellipsoid(image, CENTRE_MM - (30, 0, 0), (9, 9, 9))).astype(np.float32), image)
    found = map_maximum(flat, near=ball(image, CENTRE_MM - (30, 0, 0), 12))
    assert np.linalg.norm(found - (CENTRE_MM - (30, 0, 0))) < 6


def test_an_empty_map_or_mask_has_no_place():
    image = empty_image("straight")
    assert map_maximum(image) is None
    assert mask_centre(sitk.Cast(image, sitk.sitkUInt8)) is None


def test_the_centre_of_a_mask_is_a_voxel_of_the_mask_even_if_it_is_a_ring():
    image = empty_image("straight")
    ring = like((ellipsoid(image, CENTRE_MM, (30, 30, 12)) & ~ellipsoid(image, CENTRE_MM, (18, 18, 99))).astype(np.uint8), image)
    assert ring.GetPixel(ring.TransformPhysicalPointToIndex(mask_centre(ring).tolist())) == 1


def test_the_middle_of_a_scan_is_its_middle_voxel():
    assert np.linalg.norm(image_centre(empty_image("oblique")) - CENTRE_MM) < 5
