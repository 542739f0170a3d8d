"""What is said of two chosen scans: order, interval, modality and geometry in words, every refusal, nothing of the patient."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.case import ScanFacts, Timepoint
from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import Notice
from MRDeltaNetLib.workflow import check_scans, interval_text

STAGED = date(2019, 3, 4)


def scan(seed: int, days: int | None = None, *, spacing=(1.0, 1.0, 3.0), **facts) -> Timepoint:
    """A scan of noise, so many days after staging."""
    image = sitk.GetImageFromArray(np.random.default_rng(seed).random((12, 40, 40), dtype=np.float32))
    image.SetSpacing(spacing)
    known = {"format": "dicom", "modality": "MR", "sequence": "T2", "identity": {"patient_id": "digest"}} | facts
    return Timepoint(image, acquired=None if days is None else STAGED + timedelta(days=days), facts=ScanFacts(**known))


def test_a_pair_in_order_is_said_in_words():
    found = check_scans(scan(1, 0, field_strength_t=1.5), scan(2, 84))
    assert found.lines == ("Before: MR T2; 40 x 40 x 12 voxels of 1.00 x 1.00 x 3.00 mm; straight; 1.5 T",
                           "After: MR T2; 40 x 40 x 12 voxels of 1.00 x 1.00 x 3.00 mm; straight",
                           "Order: right. 84 days (12 weeks) apart.", "Modality: MR T2 in both.", "Geometry: same number and size of voxels.")
    assert (found.notices, found.errors, found.interval_days, found.wants_swap) == ((), (), 84, False)


def test_the_wrong_order_wants_a_swap_and_a_swap_cures_it():
    pre, post = scan(1, 84), scan(2, 0)
    found = check_scans(pre, post)
    assert found.wants_swap and found.interval_days == -84 and "Order: wrong, the second scan is older. 84 days (12 weeks) apart." in found.lines
    assert found.problems[0].code == "MRD-E330" and isinstance(found.problems[0], Notice) and found.problems[0].fix
    cured = check_scans(post, pre)
    assert not cured.errors and not cured.wants_swap


def test_every_refusal_is_told_and_not_the_first_only():
    found = check_scans(scan(1, 84), scan(2, 0, identity={"patient_id": "another"}))
    assert {error.code for error in found.errors} == {"MRD-E330", "MRD-E333"}


def test_one_scan_chosen_twice_is_refused():
    assert [error.code for error in check_scans(scan(1, 0), scan(1, 0)).errors] == ["MRD-E331"]


def test_differences_and_warnings_of_reading_are_told():
    pre = replace(scan(1, 0), notices=(Notice("MRD-W129", "thick slices"),))
    found = check_scans(pre, scan(2, 400, sequence="T1", spacing=(2.0, 2.0, 3.0)))
    assert [notice.code for notice in found.notices] == ["MRD-W129", "MRD-W338", "MRD-W333"]
    assert "Modality: MR T2 before, MR T1 after." in found.lines and found.lines[-1].startswith("Geometry: voxels differ")


def test_the_limits_rule():
    assert not check_scans(scan(1, 0), scan(2, 400), limits=GateLimits(max_interval_days=500)).notices


def test_without_registration_the_scans_must_share_a_space():
    far = scan(2, 84)
    far.image.SetOrigin((500.0, 0.0, 0.0))
    assert [error.code for error in check_scans(scan(1, 0), far, registration="none").errors] == ["MRD-E335"]
    assert not check_scans(scan(1, 0), far).errors


def test_volumes_without_a_header_say_what_is_not_known():
    bare = {"format": "memory", "modality": None, "sequence": None, "identity": {}}
    found = check_scans(scan(1, **bare), scan(2, **bare))
    assert found.interval_days is None and "Order: not known, as a date is missing. See for yourself." in found.lines
    assert any(line.startswith("Modality: not in the files") for line in found.lines) and [notice.code for notice in found.notices] == ["MRD-W330", "MRD-W331"]


def test_one_scan_or_none_is_described_and_not_judged():
    assert check_scans(None, None).lines == () and not check_scans(None, None).errors
    assert [line.split(":")[0] for line in check_scans(scan(1), None).lines] == ["Before"]
    assert [line.split(":")[0] for line in check_scans(None, scan(1)).lines] == ["After"]


def test_no_line_holds_a_date():
    found = check_scans(scan(1, 0), scan(2, 84))
    assert "2019" not in " ".join([*found.lines, *(notice.text for notice in found.notices)])


@pytest.mark.parametrize("days, text", [(None, "Interval unknown"), (0, "Same day"), (1, "1 day apart"), (13, "13 days apart"),
                                        (14, "14 days (2 weeks) apart"), (-84, "84 days (12 weeks) apart")])
def test_intervals_in_words(days, text):
    assert interval_text(days) == text and interval_text(days, lambda template: "x" + template) == "x" + text


def test_lines_can_be_translated():
    found = check_scans(scan(1, 0), scan(2, 84), translate=lambda template: template.replace("Order: right", "Reihenfolge: richtig"))
    assert "Reihenfolge: richtig. 84 days (12 weeks) apart." in found.lines
