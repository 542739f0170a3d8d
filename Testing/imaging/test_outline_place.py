"""Whether an outline lies in the patient. Made-up pelvis of plain shapes; its body is an elliptic cylinder of 62 x 50 mm half axes."""

import dataclasses

import numpy as np
import pytest

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.imaging.outline_place import check_place
from Testing.imaging.shapes import STORAGES, ellipsoid, grid, on, pelvis, rotation, stored

LIMITS = GateLimits()
SCAN = pelvis(grid((112, 96, 14), (1.5, 1.5, 4.0), rotation(0.1, -0.08, 0.05)), noise=2.0)


def drawn_at(*centre_mm, radius_mm=9.0):
    return dataclasses.replace(SCAN, mask=ellipsoid(SCAN.mask, centre_mm, (radius_mm,) * 3))


def codes(notices):
    return [notice.code for notice in notices]


def test_an_outline_in_the_body_is_let_alone():
    assert check_place(SCAN, "pre", LIMITS) == () and check_place(drawn_at(0, 30, 0), "pre", LIMITS) == ()


def test_an_outline_partly_in_the_air_is_a_warning():
    notices = check_place(drawn_at(65.0, 0, 0), "pre", LIMITS)
    assert codes(notices) == ["MRD-W310"] and "percent" in notices[0].text and "erase" in notices[0].fix


def test_an_outline_in_the_air_is_refused():
    with pytest.raises(InputError) as caught:
        check_place(drawn_at(76.0, 0, 0, radius_mm=5.0), "pre", LIMITS)
    assert caught.value.code == "MRD-E319" and "100 percent" in caught.value.found and "mirrored" in caught.value.fix


@pytest.mark.parametrize("order, backwards", STORAGES.values(), ids=STORAGES)
def test_storage_changes_nothing(order, backwards):
    visit = drawn_at(65.0, 0, 0)
    found = check_place(dataclasses.replace(visit, image=stored(visit.image, order, backwards), mask=stored(visit.mask, order, backwards)), "pre", LIMITS)
    assert found == check_place(visit, "pre", LIMITS)


def test_residual_tumour_is_looked_at_and_what_nobody_drew_is_not():
    away = drawn_at(65.0, 0, 0).mask
    assert "residual" in check_place(dataclasses.replace(SCAN, residual=away), "post", LIMITS)[0].text.lower()
    assert check_place(dataclasses.replace(SCAN, mask=away, mask_source="carried"), "post", LIMITS) == ()
    assert check_place(dataclasses.replace(SCAN, mask=None, residual=away * 0), "post", LIMITS) == ()


def test_a_scan_without_a_body_is_the_alignments_business():
    flat = on(SCAN.mask, np.zeros(SCAN.mask.GetSize()[::-1], np.float32))
    assert check_place(dataclasses.replace(SCAN, image=flat), "pre", LIMITS) == ()
