"""Every door says the same of a result: numbers keep their unit and their unknowns, nothing is said twice, nothing is marked up."""

from __future__ import annotations

import pytest

from MRDeltaNetLib.config import REGISTRATION_METHODS
from MRDeltaNetLib.errors import InputError, Notice
from MRDeltaNetLib.workflow import telling

FACTS = {"p_pcr": 0.1734, "p_pcr_low": 0.08, "p_pcr_high": 0.31, "threshold": 0.5, "predicted_class": "non-pCR",
         "familiarity": {"light": "amber", "reasons": ["the slices are thicker than any seen"]}, "warnings": [{"code": "MRD-W701", "text": "the range is wide"}]}


def test_a_prediction_says_its_number_its_range_its_class_and_why_it_is_doubtful():
    said = telling.prediction(FACTS)
    assert (said.number, said.span) == ("0.17", "0.08 to 0.31")
    assert said.lines == ("Class at the threshold 0.50: non-pCR", "Like the training cases: amber", "The slices are thicker than any seen.")
    assert said.remarks == (telling.Remark("The range is wide.", "", "", "MRD-W701"),)


def test_no_class_is_said_and_not_left_out():
    assert telling.prediction(FACTS | {"predicted_class": None}).lines[0] == telling.NO_CLASS


def test_sizes_show_what_is_known_and_leave_the_rest_empty():
    rows = telling.size_rows({"pre_volume_ml": 40.04, "post_volume_ml": 10.0, "volume_change_percent": -75.02, "pre_short_axis_mm": 21.6, "post_short_axis_mm": None})
    assert rows[0] == ("", "Before", "After (bed)", "Change") and rows[1] == ("Volume (mL)", "40.0", "10.0", "-75 %")
    assert rows[4] == ("Short axis (mm)", "22", "", "") and telling.size_rows({}) == [] and telling.size_rows({"pre_volume_ml": None}) == []


def test_alignment_shows_what_is_known():
    assert telling.alignment_rows({"registration": {"overlap_fraction": 0.934, "rotation_deg": None, "translation_mm": 4.04}}) == [
        ("Overlap of the fields of view", "93%"), ("Translation (mm)", "4.0")]


@pytest.mark.parametrize("found, said", [
    (Notice("MRD-W1", "a warning", "look"), telling.Remark("A warning.", "", "Look.", "MRD-W1")),
    (InputError("it is refused", code="MRD-E1", found="three", fix="do this"), telling.Remark("It is refused.", "Three.", "Do this.", "MRD-E1")),
    ({"code": "MRD-W2", "text": "kept", "fix": "look."}, telling.Remark("Kept.", "", "Look.", "MRD-W2"))])
def test_a_remark_is_the_same_wherever_it_comes_from(found, said):
    assert telling.remarks([found]) == (said,)


def test_every_registration_has_a_name_for_people():
    assert set(telling.REGISTRATIONS) == set(REGISTRATION_METHODS)


def test_everything_goes_through_the_translation():
    assert telling.size_rows({"pre_volume_ml": 1.0}, str.upper)[0] == ("", "BEFORE", "CHANGE")
    assert telling.prediction(FACTS, lambda text: text.replace("Class", "Klasse")).lines[0].startswith("Klasse")


def test_what_the_network_compared_with_keeps_its_note():
    class Found:
        displacement_mm, spread_mm, note = 12.4, 3.2, "the model compares by position only"
    assert telling.compared(Found) == ("Compared most with a place 12 mm away on the scan before treatment, with a spread of 3 mm (root mean square).",
                                       "The model compares by position only.")


def test_a_grade_is_said_with_what_it_means_and_none_as_none():
    assert telling.grade(None) == telling.grade(0) == telling.NOT_GIVEN and telling.grade(5) == "5: no fibrosis, or regrowth"
    assert telling.grade(1, str.upper) == "1: NO OR A THIN SCAR, NO TUMOUR SIGNAL"
