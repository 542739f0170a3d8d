"""The lists of maps as truths: order and headings are the verdict's, nothing that failed is shown by itself, every caution is told."""

from __future__ import annotations

import itertools

import pytest

from MRDeltaNetLib.config import EXPLAIN_METHODS, NATIVE_METHODS
from MRDeltaNetLib.mrml.overlays import MAPS
from MRDeltaNetLib.response.attribution import METHODS
from MRDeltaNetLib.workflow import (OFFERED, Model, Prediction, Situation, map_described, map_groups, map_label, method_groups, shown_by_itself,
                                    why_none_by_itself, why_not_more)
from MRDeltaNetLib.workflow import maps as shared
from MRDeltaNetLib.workflow.maps import HEADINGS, Verdict

NATIVE = ("attention_pre", "attention_post", "change_post")
FACTS = {"unit": "a share of one", "resolution_mm": (6.0, 6.0, 6.0)}
ASKED = [key for key in EXPLAIN_METHODS if key not in NATIVE_METHODS]


def judged(default=None, passed=(), failed=()):
    return {"maps": {"default": default, "passed": list(passed), "failed": list(failed)}}


def verdicts():
    """No verdict, and every way in which three methods can pass, fail or stay open, with every default that may be."""
    yield {}
    for found in itertools.product(Verdict, repeat=3):
        told = dict(zip(("attention", "gradcam", "occlusion"), found))
        passed = [key for key, verdict in told.items() if verdict is Verdict.PASSED]
        for default in (None, *passed):
            yield judged(default, passed, [key for key, verdict in told.items() if verdict is Verdict.FAILED])


@pytest.fixture(autouse=True)
def every_package(monkeypatch):
    monkeypatch.setattr(shared, "missing_package", lambda key: None)


def keys(groups):
    return [line.key for group in groups for line in group.lines]


@pytest.mark.parametrize("names", [(), NATIVE, tuple(MAPS)], ids=["none", "native", "all"])
def test_every_map_is_offered_once_under_its_verdict_and_the_best_come_first(names):
    for own in verdicts():
        groups = map_groups(names, own)
        assert sorted(keys(groups)) == sorted(names)
        order = [shared.verdict(own, key.rsplit("_", 1)[0]) for key in keys(groups)]
        if not own:
            assert [group.heading for group in groups] in ([""], [])
            continue
        assert order == sorted(order, key=list(Verdict).index)
        for group in groups:
            assert {HEADINGS[shared.verdict(own, line.key.rsplit("_", 1)[0])] for line in group.lines} == {group.heading}
        if (default := own["maps"]["default"]) is not None and any(name.startswith(f"{default}_") for name in names):
            assert keys(groups)[0].startswith(f"{default}_") and groups[0].lines[0].label.endswith("(default)")


def test_without_a_verdict_maps_stand_in_the_order_of_their_methods_after_treatment_first():
    assert keys(map_groups(NATIVE, {})) == ["attention_post", "attention_pre", "change_post"]


@pytest.mark.parametrize("names", [(), ("attention_pre",), NATIVE, tuple(MAPS)], ids=["none", "one", "native", "all"])
def test_what_failed_is_never_shown_by_itself_and_where_nothing_is_the_reason_is_told(names):
    for own in verdicts():
        shown = shown_by_itself(names, own)
        assert shown is None or shown in names and shared.verdict(own, shown.rsplit("_", 1)[0]) is not Verdict.FAILED
        why = why_none_by_itself(names, own)
        assert bool(why) is (bool(names) and shown is None) and (not why or why.endswith("."))
    assert shown_by_itself(NATIVE, {}) == "attention_post" and shown_by_itself(("attention_pre",), {}) == "attention_pre"
    assert shown_by_itself(tuple(MAPS), judged("occlusion", ["gradcam", "occlusion"])) == "occlusion_post"


def test_a_default_that_is_not_there_is_named():
    own = judged("occlusion", ["occlusion"], ["attention", "change"])
    assert why_none_by_itself(NATIVE, own) == "The map that this model's tests chose is not there yet: ask for Occlusion below."
    assert why_none_by_itself(NATIVE, judged(None, [], ["attention", "change"])) == "No map passed every test on this model, so none is shown by itself."


def test_every_method_that_was_not_asked_can_be_and_none_twice():
    for own in verdicts():
        assert sorted(set(keys(method_groups(NATIVE, own))) - {OFFERED}) == sorted(ASKED)
        left = set(keys(method_groups((*NATIVE, "gradcam_post", "counterfactual_post"), own))) - {OFFERED}
        assert left == set(ASKED) - {"gradcam", "counterfactual"}
    assert keys(method_groups(tuple(MAPS), {})) == []


def test_the_line_for_all_asks_for_no_method_that_failed_and_says_so():
    label = lambda own: next((line.label for line in method_groups(NATIVE, own)[0].lines if line.key == OFFERED), None)
    assert label({}) == "All of them" and label(judged(None, [], ["gradcam"])) == "All that did not fail"
    assert label(judged(None, [], ASKED[1:])) is None


def test_a_method_whose_package_is_missing_is_there_with_the_reason_and_cannot_be_chosen(monkeypatch):
    monkeypatch.setattr(shared, "missing_package", lambda key: "captum" if key == "integrated_gradients" else None)
    lines = {line.key: line for group in method_groups(NATIVE, {}) for line in group.lines}
    assert lines["integrated_gradients"].label == "Integrated gradients (needs captum)"
    assert lines["integrated_gradients"].why_not == "Needs the Python package captum, which is not installed here."
    assert not any(line.why_not for key, line in lines.items() if key != "integrated_gradients")


def test_a_map_of_which_nothing_is_strong_enough_to_be_seen_says_so():
    assert "Nothing of it is seen: its largest value is 13 % of the scale, and below 20 % it is clear" in map_described("gradcam_post", FACTS, {}, largest=0.131, clear_below=0.2)[0]
    for largest in (0.2, 1.0):
        assert "Nothing" not in " ".join(map_described("gradcam_post", FACTS, {}, largest=largest, clear_below=0.2))


def test_every_caution_is_told_before_a_map_is_asked_for_and_when_it_is_shown():
    lines = {line.key: line for group in method_groups(NATIVE, judged(None, [], ["gradcam"])) for line in group.lines}
    assert "did not pass the tests" in lines["gradcam"].caution and "fails published sanity checks" in lines["guided_gradcam"].caution
    assert all(METHODS[key].caution in line.caution for key, line in lines.items() if key != OFFERED)
    told = map_described("gradcam_post", {**FACTS, "caution": "mind this"}, judged(None, [], ["gradcam"]))
    assert told[-1].startswith("Caution: mind this; did not pass the tests")
    again = map_described("gradcam_post", {**FACTS, "caution": told[-1].removeprefix("Caution: ").rstrip(".")}, judged(None, [], ["gradcam"]))
    assert again[-1] == told[-1]


def test_a_map_is_told_with_its_resolution_direction_numbers_and_verdict():
    facts = {**FACTS, "signed": True, "toward": "pCR", "numbers": {"tumour": -3.14159, "whole_visit": 2.0}}
    told = " ".join(map_described("roi_shells_post", facts, judged(None, ["roi_shells"])))
    for part in ("6 x 6 x 6 mm; a share of one.", "Orange speaks for complete response", "speaks for the class pCR, not what speaks against",
                 "tumour -3.14; whole visit +2.00.", "Passed the tests on this model."):
        assert part in told
    assert "Not tested on this model." in map_described("attention_post", FACTS, {})


def test_labels_and_lines_can_be_translated_and_every_map_has_its_own():
    assert len({map_label(name) for name in MAPS}) == len(MAPS)
    words = {"{map}, after treatment": "{map} danach", "Attention": "Aufmerksamkeit"}
    assert map_label("attention_post", lambda text: words.get(text, text)) == "Aufmerksamkeit danach"


def test_further_maps_need_a_fresh_prediction_its_files_the_packages_and_no_other_run():
    ready = dict(prediction=Prediction(0.4, 0.3, 0.5, "pCR", 0.5), result_files=True, model=Model("m", False))
    assert why_not_more(Situation(**ready)) == ""
    for change, word in (({"running": "explain"}, "Wait"), ({"prediction": None}, "First predict"), ({"prediction": Prediction(0.4, changed=("pre",))}, "outdated"),
                         ({"result_files": False}, "files are gone"), ({"missing_packages": ("torch",)}, "Install torch")):
        assert word in why_not_more(Situation(**ready | change)), change
