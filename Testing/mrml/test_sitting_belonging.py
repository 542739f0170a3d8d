"""What belongs to a pair of scans is shown with that pair, comes back with it, and is never shown with another; what is wrong is told where it is."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError, UsageError
from MRDeltaNetLib.mrml import overlays
from MRDeltaNetLib.mrml.nodes import fill_volume, image_to_node
from MRDeltaNetLib.mrml.scans import scan_from_node
from MRDeltaNetLib.mrml.sitting import aligning, asking, belonging, jobs, mapping, outlining, results
from MRDeltaNetLib.mrml.sitting.belonging import OF_A_PAIR
from MRDeltaNetLib.workflow import Outline, StepState
from Testing.mrml.made_up_case import brought, outlined, same_image, scans


def another(scene, image, name="another visit"):
    """A volume node on the same grid with other voxels."""
    return image_to_node(image * -1 + 5, scene, name)


def of_the_pair(choices):
    return {name: getattr(choices, name) for name in OF_A_PAIR}


@pytest.mark.parametrize("role", ["pre", "post"])
def test_everything_of_a_pair_comes_back_when_its_scans_are_chosen_again_and_is_as_fresh_as_before(scene, case, role):
    sitting, result = case
    choices, name = sitting.choices, f"{role}_volume"
    before, scan, maps, stood = of_the_pair(choices), getattr(choices, name), results.maps(choices), sitting.situation()
    setattr(choices, name, another(scene, result.images[role]))
    sitting.settle()
    assert set(of_the_pair(choices).values()) == {None} and sitting.situation().prediction is None
    setattr(choices, name, scan)
    sitting.settle()
    assert of_the_pair(choices) == before and results.maps(choices) == maps and not stood.prediction.stale
    assert sitting.situation() == replace(stood, result_files=False)


def test_a_map_of_another_pair_is_not_shown_over_a_scan_that_both_share(scene, case):
    sitting, result = case
    choices = sitting.choices
    legends = [overlays.legend_of(node) for node in results.maps(choices).values()]
    mapping.shown_map(choices)
    assert mapping.chosen_map(choices) is not None and any(legend.GetVisibility() for legend in legends)
    choices.post_volume = another(scene, result.images["post"])
    sitting.settle()
    assert results.maps(choices) == {} and mapping.chosen_map(choices) is None and mapping.shown_map(choices) == {}
    assert mapping.offered_maps(choices) == () and mapping.strongest_place(choices) is None
    assert not any(overlays.legend_of(node).GetVisibility() for key, node in results.all_maps(choices).items())


def test_a_map_that_a_later_run_with_another_scan_wrote_is_none_of_the_first_result(scene, case, finished):
    """A and B, then D and B: the map on B is of the second pair from then on."""
    sitting, result = case
    choices, first = sitting.choices, sitting.choices.pre_volume
    choices.pre_volume = another(scene, result.images["pre"])
    sitting.settle()
    outlined(choices, result)
    results.bring_result(choices, finished()[1], {})
    assert set(results.maps(choices)) == {"attention_pre", "attention_post", "change_post"}
    choices.pre_volume = first
    sitting.settle()
    assert choices.result is not None and set(results.maps(choices)) == {"attention_pre"} == set(sitting.situation().maps)


def test_without_its_result_no_map_is_shown(scene, case):
    sitting, _ = case
    scene.RemoveNode(sitting.choices.result)
    sitting.choices.result = None                        # as a parameter node has it by itself
    sitting.settle()
    assert results.maps(sitting.choices) == {} and mapping.shown_map(sitting.choices) == {} and sitting.situation().maps == ()


def test_maps_of_an_earlier_version_say_nothing_of_their_pair_and_stay_with_the_result(case):
    sitting, _ = case
    for node in results.maps(sitting.choices).values():
        for role in ("pre", "post"):
            node.RemoveNodeReferenceIDs(f"MRDeltaNet.{role}")
    assert set(results.maps(sitting.choices)) == {"attention_pre", "attention_post", "change_post"}


def test_a_point_on_a_scan_that_is_not_chosen_any_more_is_not_asked_about(scene, case):
    sitting, result = case
    point, answer = asking.clear_points(sitting.choices), sitting.choices.answer
    sitting.settle()
    assert sitting.choices.point is point and sitting.choices.answer is answer
    sitting.choices.post_volume = another(scene, result.images["post"])
    sitting.settle()
    assert sitting.choices.point is None and sitting.choices.answer is answer


def test_scans_that_are_swapped_take_nothing_with_them_that_was_said_of_the_other_order(case):
    sitting, result = case
    choices = sitting.choices
    choices.complete_response, choices.mrtrg = True, 4
    pre, post = choices.pre_volume, choices.post_volume
    belonging.swap(choices)
    sitting.settle()
    assert (choices.pre_volume, choices.post_volume) == (post, pre) and (choices.complete_response, choices.mrtrg) == (False, None)
    assert choices.alignment is choices.result is choices.pre_segmentation is choices.post_segmentation is None and results.maps(choices) == {}
    assert post.GetParentTransformNode() is None
    belonging.swap(choices)
    sitting.settle()
    situation = sitting.situation()
    assert outlining.outline_state(sitting.look(), "pre") is Outline.DRAWN and not situation.aligned
    assert situation.prediction.changed == ("alignment",) and same_image(scan_from_node(choices.post_volume), result.images["post"])


def test_a_report_of_other_scans_is_not_turned_into_a_prediction_because_these_had_one(scene, case, monkeypatch):
    sitting, result = case
    asked = []
    monkeypatch.setattr(jobs, "job_of", lambda _sitting, step, *_given: asked.append(step) or (_ for _ in ()).throw(InputError("stop here", code="MRD-E100")))
    sitting.choices.post_volume = another(scene, result.images["post"])
    for _ in range(2):
        with pytest.raises(InputError, match="stop here"):
            sitting.start("report")
        sitting.choices.post_volume = next(node for node in [scene.GetFirstNodeByName("After treatment")])
    assert asked == ["report", "predict"]


# What is stale after which change

def test_the_readers_grade_ages_the_report_and_no_prediction(case):
    sitting, _ = case
    sitting.choices.mrtrg = 2
    situation = sitting.situation()
    assert situation.report_outdated and not situation.prediction.stale
    assert sitting.steps(situation)["report"].line == "Something changed since the report. Write it again."
    sitting.choices.mrtrg = None
    assert not sitting.situation().report_outdated


@pytest.mark.parametrize("change, part", [(lambda choices: setattr(choices, "outline_step_mm", 3.0), "options"), (lambda choices: setattr(choices, "all_members", False), "options"),
                                          (lambda choices: setattr(choices, "complete_response", True), "complete_response")])
def test_every_choice_that_a_prediction_rests_on_ages_it_alone(case, change, part):
    sitting, _ = case
    change(sitting.choices)
    situation = sitting.situation()
    assert situation.prediction.changed == (part,) and not situation.alignment_by_other_method and situation.alignment_ready
    for name, value in (("map_opacity", 0.1), ("map_threshold", 0.9), ("legend", False), ("shown_map", None), ("device", "cpu")):
        setattr(sitting.choices, name, value)
    assert sitting.situation().prediction.changed == (part,)


def test_another_method_ages_the_alignment_and_neither_prediction_nor_report(case):
    sitting, _ = case
    sitting.choices.registration = "affine"
    situation = sitting.situation()
    assert situation.alignment_by_other_method and not situation.alignment_of_other_scans and not situation.prediction.stale


@pytest.mark.parametrize("role", ["pre", "post"])
def test_a_corrected_voxel_of_a_scan_ages_all_that_was_made_of_it(case, role):
    sitting, result = case
    image = sitk.Image(result.images[role])
    image[3, 3, 3] = 500.0
    fill_volume(getattr(sitting.choices, f"{role}_volume"), image)
    situation = sitting.situation()
    assert situation.alignment_of_other_scans and situation.prediction.changed == (role,)


def test_an_alignment_of_which_nobody_knows_how_it_was_made_has_to_be_made_again(scene, case):
    sitting, _ = case
    scene.RemoveNode(sitting.choices.alignment_result)
    sitting.choices.alignment_result = None
    sitting.settle()
    assert sitting.situation().alignment_of_other_scans and not sitting.situation().alignment_ready


def test_an_alignment_ages_with_the_outlines_that_it_left_out_and_with_no_others(case):
    from MRDeltaNetLib.case import Case
    from MRDeltaNetLib.pipeline import masks_digest
    sitting, result = case
    facts = sitting.alignment_facts()
    facts["registration"] |= {"method": "rigid", "masks_left_out_sha256": masks_digest(Case(sitting.inputs().visits()))}
    sitting.choices.alignment_result.SetText(json.dumps(facts))
    assert not sitting.situation().alignment_is_stale
    for role in ("pre", "post"):
        mask = result.images[f"{role}_mask"]
        outlining.set_mask(sitting.choices, role, sitk.BinaryErode(mask, (2, 2, 0)))
        assert sitting.situation().alignment_is_stale
        outlining.set_mask(sitting.choices, role, mask)
        assert not sitting.situation().alignment_is_stale
    outlining.set_mask(sitting.choices, "residual", result.images["residual_mask"] * 0)
    assert not sitting.situation().alignment_is_stale


def test_voxels_that_were_written_without_a_word_are_what_a_run_gets_and_what_is_seen_after_it(case):
    """Through a numpy view, for instance, of which VTK learns nothing."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    sitting, _ = case
    assert not sitting.situation().prediction.stale
    vtk_to_numpy(sitting.choices.pre_volume.GetImageData().GetPointData().GetScalars())[0] = 321.0
    assert sitting.inputs().scans["pre"][0, 0, 0] == 321.0 and sitting.situation().prediction.changed == ("pre",)


# What is told where

def moved(mask, shift_mm):
    found = sitk.Image(mask)
    found.SetOrigin((np.array(mask.GetOrigin()) + shift_mm).tolist())
    return found


@pytest.mark.parametrize("shift_mm, code", [((0.0, 0.0, 500.0), "MRD-E303"), ((0.0, 0.0, 55.0), "MRD-E304")])
@pytest.mark.parametrize("role", ["pre", "post"])
def test_an_outline_that_its_scan_does_not_hold_is_refused_as_that_and_blames_nothing_else(case, role, shift_mm, code):
    sitting, result = case
    outlining.set_mask(sitting.choices, role, moved(result.images[f"{role}_mask"], shift_mm))
    situation = sitting.situation()
    steps = sitting.steps(situation)
    assert [error.code for error in situation.outline_errors] == [code]
    assert not situation.alignment_of_other_scans and not situation.alignment_is_stale and steps["report"].why_not in (
        "First outline the tumour before treatment.", "First correct the outlines; see Tumour.")
    assert situation.prediction.changed == (f"{role}_mask",)
    with pytest.raises(InputError) as refused:
        sitting.inputs()
    assert refused.value.code == code


def test_an_outline_between_the_voxels_of_its_scan_is_refused_and_no_empty_one(case):
    sitting, result = case
    tiny = sitk.Image(2, 2, 2, sitk.sitkUInt8) + 1
    tiny.SetSpacing((0.1, 0.1, 0.1))
    tiny.SetOrigin(result.images["pre"].TransformContinuousIndexToPhysicalPoint((20.4, 20.4, 9.4)))
    outlining.set_mask(sitting.choices, "pre", tiny)
    assert [error.code for error in sitting.situation().outline_errors] == ["MRD-E306"]


def test_what_is_said_of_an_outline_is_of_the_outline_that_is_there_now(case):
    sitting, result = case
    stroke = result.images["pre_mask"] * 0
    stroke[30, 30, 10] = 1
    for mask, codes in ((stroke, ["MRD-E314"]), (result.images["pre_mask"], []), (stroke, ["MRD-E314"])):
        outlining.set_mask(sitting.choices, "pre", mask)
        assert [error.code for error in sitting.situation().outline_errors] == codes


def test_an_outline_of_a_scan_that_was_chosen_before_is_none_of_this_one(scene, case):
    sitting, result = case
    sitting.choices.pre_volume = another(scene, result.images["pre"])
    assert outlining.outline_state(sitting.look(), "pre") is Outline.NONE and outlining.tumour_centre(sitting.look()) is None


def test_residual_volume_is_nothing_where_that_was_stated_and_unknown_where_nothing_was(case):
    sitting, result = case
    outlining.set_mask(sitting.choices, "residual", result.images["residual_mask"] * 0)
    assert outlining.sizes(sitting.look())["residual_volume_ml"] is None
    sitting.choices.complete_response = True
    assert outlining.sizes(sitting.look())["residual_volume_ml"] == 0.0
    outlining.set_mask(sitting.choices, "residual", result.images["residual_mask"])
    assert outlining.sizes(sitting.look()) is None       # drawn and denied


def test_a_header_is_read_again_when_its_file_is_another_and_not_before(case, tmp_path, monkeypatch):
    from MRDeltaNetLib.mrml.sitting import Door
    sitting, _ = case
    path, read, used = tmp_path / "one.dcm", [], []
    path.write_bytes(b"one")
    sitting.door = Door(header_of=lambda volume: path if volume is sitting.choices.pre_volume else None)
    monkeypatch.setattr(outlining.given, "read_scan_header", lambda file: read.append(file.read_bytes()) or read[-1])
    monkeypatch.setattr(outlining.given, "with_header", lambda found, header, role: used.append(header) or found)
    for content in (b"one", b"one", b"another"):
        if content != path.read_bytes():
            path.write_bytes(content)
        sitting.reading()
    assert read == [b"one", b"another"] and used == [b"one", b"one", b"another"]


def test_an_empty_outline_is_empty_and_no_error_whatever_it_lies_under(case):
    sitting, result = case
    outlining.set_mask(sitting.choices, "post", result.images["post_mask"] * 0)
    sitting.choices.post_segmentation.SetAndObserveTransformNodeID(None)
    assert outlining.outline_state(sitting.look(), "post") is Outline.EMPTY


def test_an_alignment_that_was_taken_away_is_told_by_its_step_and_is_not_called_one_of_other_scans(case):
    sitting, _ = case
    for node in (sitting.choices.post_volume, sitting.choices.post_segmentation):
        node.SetAndObserveTransformNodeID(None)
    situation = sitting.situation()
    steps = sitting.steps(situation)
    assert [error.code for error in situation.alignment_errors] == ["MRD-E834"] and not situation.alignment_of_other_scans
    assert steps["align"].state is StepState.WARNING and steps["align"].line == "The alignment cannot be used. Align again." and steps["align"].can_run
    assert not steps["predict"].can_run and situation.prediction.changed == ("alignment",)


def test_nothing_is_carried_over_a_bed_that_is_drawn(case):
    sitting, result = case
    with pytest.raises(UsageError) as refused:
        outlining.carry_over(sitting.choices)
    assert refused.value.code == "MRD-E839" and same_image(sitting.inputs().masks["post"], result.images["post_mask"])
    outlining.set_mask(sitting.choices, "post", result.images["post_mask"] * 0)
    for _ in range(2):                                   # again over its own suggestion
        outlining.carry_over(sitting.choices)
        assert outlining.outline_state(sitting.look(), "post") is Outline.CARRIED


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "mrdeltanet.result/1"}', '{"schema": "mrdeltanet.result/9", "p_pcr": 0.5}'])
def test_a_result_that_somebody_wrote_into_is_none_and_stops_no_look(case, text):
    sitting, _ = case
    sitting.choices.result.SetText(text)
    sitting.choices.alignment_result.SetText(text)
    situation = sitting.situation()
    assert sitting.result_facts() is None and situation.prediction is None and sitting.alignment_facts() is None and sitting.result_folder() is None
    assert sitting.steps(situation) and mapping.judged(sitting.choices) == {}


def test_a_fingerprint_that_somebody_wrote_into_makes_everything_old(case):
    sitting, _ = case
    for text in ("{", "[]", None):
        sitting.choices.result.SetAttribute(results.FINGERPRINT, text)
        assert len(sitting.situation().prediction.changed) > 5


def test_the_next_run_gets_the_alignment_with_the_result_that_it_came_with_or_none(case):
    sitting, _ = case
    folder = jobs._accepted_transform(sitting, sitting.inputs()).parent
    assert json.loads((folder / "result.json").read_text())["registration"]
    sitting.choices.alignment_result = None
    assert not (jobs._accepted_transform(sitting, sitting.inputs()).parent / "result.json").exists()


def test_a_place_is_asked_of_the_run_through_its_own_alignment(case, monkeypatch):
    """Aligned anew since, the scene shows the place elsewhere; the network compared it where its own run had it."""
    from MRDeltaNetLib.response import correspondence
    sitting, _ = case
    asked = []
    monkeypatch.setattr(asking, "can_ask", lambda folder: True)
    monkeypatch.setattr(correspondence, "query_result", lambda folder, point: asked.append((folder, point)) or (_ for _ in ()).throw(InputError("stop", code="MRD-E100")))
    asking.clear_points(sitting.choices)
    asking.place_point(sitting.choices, (10.0, -20.0, 40.0))
    own = asking.findings.asked_point(sitting.choices.point)
    with pytest.raises(InputError):
        asking.ask(sitting.choices, sitting.last_result)
    assert asked == [(sitting.last_result, own)]
    aligning.forget_alignment(sitting.choices)           # the scene's alignment plays no part
    with pytest.raises(InputError, match="stop"):
        asking.ask(sitting.choices, sitting.last_result)


@pytest.mark.parametrize("kind", ["axis-permuted", "left-handed"])
def test_a_carried_bed_lies_where_the_alignment_sends_the_tumour_whatever_way_scans_are_stored(scene, sitting, finished, kind):
    """Its middle is the tumour's, moved by the alignment, within half a voxel; it lies on the second scan's own grid."""
    result, folder = finished("oblique", kind)
    scans(scene, sitting.choices, result)
    outlining.set_mask(sitting.choices, "pre", result.images["pre_mask"])
    brought(sitting, folder)
    outlining.carry_over(sitting.choices)
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(result.images["pre_mask"])
    from MRDeltaNetLib.mrml.alignment import transform_from_node
    wanted = transform_from_node(sitting.choices.alignment, sitting.choices.post_volume).TransformPoint(shape.GetCentroid(1))
    carried = outlining.given.outline(sitting.look(), "post")[0]
    shape.Execute(carried)
    assert np.linalg.norm(np.subtract(shape.GetCentroid(1), wanted)) < 0.5 * max(carried.GetSpacing())
    assert same_image(carried * 0, sitk.Cast(result.images["post"], sitk.sitkUInt8) * 0)
