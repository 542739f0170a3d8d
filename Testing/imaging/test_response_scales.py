"""Classes of one lesion's change at and beside every threshold, and that none of them can be mistaken for a patient's."""

import pytest

from MRDeltaNetLib.imaging.response_scales import CLASSES, classes, size_class, volume_class


@pytest.mark.parametrize("before, after, wanted", [
    (40.0, 28.0, "smaller"), (40.0, 28.1, "little changed"), (40.0, 0.0, "gone"), (40.0, 0.1, "smaller"), (40.0, 40.0, "little changed"),
    (40.0, 48.0, "larger"), (40.0, 47.9, "little changed"),
    (20.0, 24.0, "little changed"),                                   # 20 %, but 4 mm
    (20.0, 25.0, "larger"), (25.0, 30.0, "larger"), (60.0, 66.0, "little changed"),       # 6 mm, but 10 %
    (0.0, 5.0, None), (None, 5.0, None), (5.0, None, None)])
def test_a_diameter_is_judged_by_thirty_and_twenty_percent_and_five_millimetres(before, after, wanted):
    assert size_class(before, after) == wanted


@pytest.mark.parametrize("before, after, wanted", [(100.0, 34.3, "smaller"), (100.0, 34.4, "little changed"), (100.0, 172.8, "larger"), (100.0, 172.7, "little changed"),
                                                   (100.0, 0.0, "gone"), (0.0, 1.0, None), (None, 1.0, None), (1.0, None, None)])
def test_a_volume_is_judged_by_what_the_diameters_thresholds_make_of_a_ball(before, after, wanted):
    assert volume_class(before, after) == wanted


@pytest.mark.parametrize("times", [0.3, 0.699, 0.7, 0.701, 1.0, 1.199, 1.2, 1.201, 2.0])
def test_a_ball_gets_the_same_class_by_diameter_and_by_volume(times):
    assert size_class(50.0, 50.0 * times) == volume_class(50.0**3, (50.0 * times) ** 3)


def test_bed_and_residual_tumour_are_told_apart_with_scope_nadir_and_thresholds():
    found = classes({"pre_longest_in_plane_diameter_mm": 40.0, "pre_volume_ml": 30.0, "post_longest_in_plane_diameter_mm": 36.0, "post_volume_ml": 20.0,
                     "residual_longest_in_plane_diameter_mm": 15.0, "residual_volume_ml": 2.0})
    assert (found["lesion_size_bed"], found["lesion_volume_bed"]) == ("little changed", "little changed")
    assert (found["lesion_size_residual"], found["lesion_volume_residual"]) == ("smaller", "smaller")
    assert "never a response category of a patient" in found["scope"] and "two visits" in found["nadir"]
    assert found["thresholds"] == {"diameter_decrease_percent": -30.0, "diameter_increase_percent": 20.0, "diameter_increase_mm": 5.0,
                                   "volume_decrease_percent": -65.7, "volume_increase_percent": 72.8}


def test_nothing_to_compare_has_no_class():
    assert classes({}) == {} and classes({"pre_volume_ml": 3.0}) == {}


def test_no_class_sounds_like_a_patients_category():
    assert not {"cr", "pr", "sd", "pd"} & {word.lower() for name in CLASSES for word in name.split()}
    assert not any(word in name for name in CLASSES for word in ("response", "progress", "stable", "partial", "complete"))
