"""The typed parameter node as the library's sitting sees it: the same names and values as sitting.Choices, whichever door keeps them."""

from __future__ import annotations

from dataclasses import fields

import pytest

from MRDeltaNetLib.config import DEVICES, REGISTRATION_METHODS
from MRDeltaNetLib.mrml.overlays import MAPS
from MRDeltaNetLib.mrml.sitting import Choices
from MRDeltaNetLib.mrml.sitting.choices import DEFAULT_MAP

PLAIN = {"registration": REGISTRATION_METHODS, "device": DEVICES, "mrtrg": (1, 2, 3, 4, 5, None), "shown_map": (*MAPS, None, DEFAULT_MAP),
         "complete_response": (True, False), "all_members": (False, True), "legend": (False, True), "outline_step_mm": (0.5, 3.0),
         "map_threshold": (0.0, 0.25), "map_opacity": (0.75, 1.0)}
"""Choices that are plain values -> values that each may have."""


@pytest.fixture
def choices(application, panel):
    return panel.logic.sittingWith(panel.parameters).choices


def test_a_fresh_parameter_node_says_the_library_s_defaults(choices):
    fresh = Choices()
    assert {each.name: getattr(choices, each.name) for each in fields(Choices)} == {each.name: getattr(fresh, each.name) for each in fields(Choices)}


@pytest.mark.parametrize("name, values", PLAIN.items(), ids=PLAIN)
def test_every_value_that_a_choice_may_have_is_kept_as_it_is(panel, choices, name, values):
    for value in values:
        setattr(choices, name, value)
        again = panel.logic.sittingWith(panel.logic.getParameterNode()).choices
        assert getattr(again, name) == value and type(getattr(again, name)) is type(value)


def test_every_choice_is_a_plain_value_or_a_node_of_the_scene(application, panel, choices, scans):
    nodes = {each.name for each in fields(Choices)} - set(PLAIN)
    assert all(getattr(choices, name) is None or getattr(choices, name).GetScene() is application.scene for name in nodes)
    assert (choices.pre_volume, choices.post_volume) == scans
    choices.pre_volume, choices.post_volume = scans[1], None
    assert panel.parameters.preVolume is scans[1] and panel.parameters.postVolume is None


@pytest.mark.parametrize("name", ["preVolume", "parameterNode", "shown"])
def test_only_choices_are_read_and_written(choices, name):
    with pytest.raises(AttributeError, match=name):
        getattr(choices, name)
    with pytest.raises(AttributeError, match=name):
        setattr(choices, name, None)


def test_nothing_of_the_scene_is_asked_for_before_a_choice_is_and_then_once(panel):
    from MRDeltaNetPanel.choices import SceneChoices
    asked = []
    choices = SceneChoices(lambda: asked.append("found") or panel.parameters)
    assert asked == []
    assert (choices.registration, choices.mrtrg, asked) == ("rigid", None, ["found"])
