"""From a method's numbers to what is written: one scale for both scans, and a unit that is true of the written values."""

from __future__ import annotations

import numpy as np
import pytest

from MRDeltaNetLib.response.attribution import Attribution, attribute, shown
from MRDeltaNetLib.response.attribution.readout import PERCENTAGE_POINTS
from MRDeltaNetLib.response.attribution.showing import EMPTY, RELATIVE
from Testing.response.attribution.test_methods import network, pair


def made_up(key: str, unit: str, pre: float, post: float, **more) -> Attribution:
    maps = {"pre": np.array([[[0.0, pre]]], np.float32), "post": np.array([[[post, 0.0]]], np.float32)}
    return Attribution(key, maps, {"unit": unit, "signed": True, "scale_top": max(abs(pre), abs(post)), **more})


def test_a_unit_that_means_nothing_from_case_to_case_gives_way_to_a_share_of_the_largest_on_either_scan():
    found = shown(made_up("gradcam", "logit units towards the class", 0.5, -2.0))
    assert found["gradcam_pre"][0].max() == 0.25 and found["gradcam_post"][0].min() == -1.0
    for _, facts in found.values():
        assert facts["unit"] == RELATIVE and facts["scale_top"] == 1.0
        assert facts["normalisation"] == "divided by 2 (logit units towards the class), the largest absolute value over both scans"


@pytest.mark.parametrize("key, unit", [("occlusion", PERCENTAGE_POINTS), ("integrated_gradients", "logit units"), ("change", "network units")])
def test_numbers_that_mean_something_stay_as_they_are(key, unit):
    found = shown(made_up(key, unit, 0.5, -2.0))
    assert found[f"{key}_post"][0].min() == -2.0
    assert all(facts["unit"] == unit and facts["scale_top"] == 2.0 and facts["normalisation"].startswith("none") for _, facts in found.values())


def test_a_map_that_is_zero_everywhere_says_so_beside_its_own_caution():
    facts = shown(made_up("gradcam", "logit units", 0.0, 0.0, caution="noisy"))["gradcam_pre"][1]
    assert facts["caution"] == f"{EMPTY}; noisy" and facts["scale_top"] == 0.0 and facts["unit"] == "logit units"


@pytest.mark.parametrize("key", ["roi_shells", "counterfactual"])
def test_methods_of_one_number_a_region_say_that_their_maps_are_no_finer(key):
    for _, facts in shown(attribute(key, network(), pair())).values():
        assert facts["resolution_note"].startswith("one number")


def test_the_networks_own_attention_made_anew_says_what_it_was_divided_by():
    facts = shown(attribute("attention", network(), pair()))["attention_post"][1]
    assert facts["unit"] == RELATIVE and "(share, all tokens of a scan sum to 1)" in facts["normalisation"]
