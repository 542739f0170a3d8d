"""Corners of the rule by which maps are judged: which cases count where, which map is the default, where the sign of a map counts."""

from __future__ import annotations

import numpy as np
import pytest

from MRDeltaNetLib.cohort.verifying import judging, measuring
from MRDeltaNetLib.response.attribution import METHODS, Readout
from Testing.cohort.test_verifying_measures import Filtered, cases_of, perfect, planted
from Testing.response.attribution.toys import VOXELS, case

MISS = {"hit": False, "hit_strictly": False, "energy": 0.0}


@pytest.mark.parametrize("right, counted", [(False, 8), (None, 8), (True, 10)])
def test_only_cases_that_the_model_gets_right_count_for_pointing(right, counted):
    cases = cases_of(10)
    for one in cases[:2]:
        one["chance"]["right"] = right
        one["answer"]["occlusion"]["pointing"] = MISS
    found = judging.judged(cases, 0).methods["occlusion"]
    assert found["pointing"]["cases"] == counted and found["pointing"]["hits"] == 8 and found["deletion"]["cases"] == 10
    assert found["null"]["energy"]["cases"] == counted == found["null"]["pointing"]["cases"]


def test_the_default_is_of_those_that_pass_the_one_with_the_largest_gain_in_deletion():
    cases = cases_of()
    for one in cases:
        one["answer"] |= {"gradcam": perfect(one["number"]) | {"deletion": 0.1}, "relevance": perfect(one["number"]) | {"deletion": 0.3}}
        one["repeated"] |= {key: one["repeated"]["occlusion"] for key in ("gradcam", "relevance")}
    verdict = judging.judged(cases, 0)
    assert set(verdict.passed) == {"occlusion", "gradcam", "relevance"} and verdict.default == "gradcam"
    for one in cases:
        one["answer"]["gradcam"]["pointing"] = MISS
    again = judging.judged(cases, 0)
    assert again.failed == ("gradcam",) and again.default == "occlusion", "the best of those that pass, not of all"


def test_a_map_turned_round_is_the_same_to_the_cascade_and_another_to_stability(monkeypatch):
    """What is large stays large under random weights: such a map follows the image. A sign that changes with 2 mm is not steady."""
    values = np.random.default_rng(2).normal(size=VOXELS).astype(np.float32)
    network, x = Filtered(0), case()
    turned = iter([1.0] + [-1.0] * 100)
    monkeypatch.setitem(METHODS, "turned", planted("turned", lambda network, x: (sign := next(turned), {visit: sign * values for visit in ("pre", "post")})[1], signed=True))
    outlines = {"larger": x[:, 1].numpy().astype(np.float16)}
    said = measuring.repeated("turned", network, Filtered, measuring.subject_of(network, x, Readout(), outlines=outlines), 1)
    assert [stage["spearman"] for stage in said["cascade"][0].values()] == pytest.approx([1.0, 1.0])
    assert said["outline"] == {"larger": pytest.approx(-1.0)}
