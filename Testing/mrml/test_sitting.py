"""A sitting without a window: what is chosen stays with its pair, nothing moves a voxel, a case folder gives everything back, and a scan that leaves takes all of its own."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError, MRDeltaNetError, UsageError
from MRDeltaNetLib.io.case_folder import FILE
from MRDeltaNetLib.io.results import write_results
from MRDeltaNetLib.mrml import alignment, comparing, hierarchy, outlines
from MRDeltaNetLib.mrml.bootstrap import slicer_module
from MRDeltaNetLib.mrml.nodes import image_to_node
from MRDeltaNetLib.mrml.scans import scan_from_node
from MRDeltaNetLib.mrml.sitting import Choices, Door, Sitting, aligning, asking, belonging, further, keeping, leaving, mapping, outlining, results
from MRDeltaNetLib.mrml.sitting.folder import Session
from MRDeltaNetLib.mrml.worker import Failed, Finished
from MRDeltaNetLib.report.html import write_report
from MRDeltaNetLib.workflow import Outline, StepState
from Testing.made_up_result import GRIDS, complete_result

NAMES = {"pre": "Before treatment", "post": "After treatment"}


def finished(folder, kind_pre="straight", kind_post="oblique"):
    """(made-up result, its folder as a run leaves it)"""
    result = complete_result(kind_pre, kind_post)
    result = replace(result, map_facts={name: {**facts, "unit": "a share of one"} for name, facts in result.map_facts.items()})
    write_results(result, folder, manifest={}, also=lambda unfinished: [write_report(result, unfinished / "report.html").name])
    return result, folder


def filled(scene, sitting, result, folder):
    """A whole case in the scene as two runs would have brought it."""
    choices = sitting.choices
    choices.pre_volume, choices.post_volume = (image_to_node(result.images[role], scene, NAMES[role]) for role in ("pre", "post"))
    for role in ("pre", "post", "residual"):
        outlining.set_mask(choices, role, result.images[f"{role}_mask"])
    results.bring_alignment(choices, folder, sitting.fingerprint("align", sitting.inputs()))
    results.bring_result(choices, folder, sitting.fingerprint("predict", sitting.inputs()))
    sitting.last_result = sitting.last_alignment = folder
    sitting.settle()


@pytest.fixture
def sitting(tmp_path):
    made = Sitting(Choices(), Door(), base=tmp_path / "base")
    yield made
    made.close()


@pytest.fixture
def case(scene, sitting, tmp_path):
    """(sitting, made-up result) with a whole case in the scene."""
    result, folder = finished(tmp_path / "finished")
    filled(scene, sitting, result, folder)
    return sitting, result


def same_image(one, other):
    return (np.array_equal(sitk.GetArrayFromImage(one), sitk.GetArrayFromImage(other)) and np.allclose(one.GetOrigin(), other.GetOrigin(), atol=1e-4)
            and np.allclose(one.GetSpacing(), other.GetSpacing(), atol=1e-5) and np.allclose(one.GetDirection(), other.GetDirection(), atol=1e-5))


def test_an_empty_sitting_says_what_to_do_first(sitting):
    steps = sitting.steps(sitting.situation())
    assert steps["scans"].state is StepState.TO_DO and not steps["align"].can_run and steps["align"].why_not
    assert sitting.result_facts() is None and sitting.alignment_facts() is None and sitting.poll() == [] and not sitting.running
    with pytest.raises(UsageError) as caught:
        sitting.inputs()
    assert caught.value.code == "MRD-E842"


@pytest.mark.parametrize("kind", GRIDS)
def test_a_run_is_given_scans_and_outlines_where_they_are_whatever_way_they_are_stored(scene, sitting, kind):
    """Oblique, left-handed, axis-permuted and anisotropic: what goes through the scene comes out voxel for voxel, place for place."""
    result = complete_result(kind, "oblique" if kind != "oblique" else "left-handed")
    sitting.choices.pre_volume, sitting.choices.post_volume = (image_to_node(result.images[role], scene, NAMES[role]) for role in ("pre", "post"))
    for role in ("pre", "post"):
        outlining.set_mask(sitting.choices, role, result.images[f"{role}_mask"])
    found = sitting.inputs()
    assert all(same_image(found.scans[role], result.images[role]) for role in ("pre", "post"))
    assert all(same_image(found.masks[role], result.images[f"{role}_mask"]) for role in ("pre", "post"))
    assert found.drawn["pre"] is Outline.DRAWN and found.drawn["residual"] is Outline.EMPTY


def test_a_whole_case_is_done_and_fresh_and_the_scans_were_not_touched(case):
    sitting, result = case
    situation = sitting.situation()
    assert all(view.state is not StepState.TO_DO for view in sitting.steps(situation).values())
    assert situation.prediction is not None and not situation.prediction.stale and set(situation.maps) >= {"attention_post", "change_post"}
    assert same_image(scan_from_node(sitting.choices.post_volume, sitting.choices.alignment), result.images["post"])


def test_a_changed_outline_makes_the_prediction_old_and_the_old_outline_makes_it_fresh_again(case):
    sitting, result = case
    smaller = sitk.BinaryErode(result.images["pre_mask"], (2, 2, 0))
    outlining.set_mask(sitting.choices, "pre", smaller)
    assert sitting.situation().prediction.stale
    outlining.set_mask(sitting.choices, "pre", result.images["pre_mask"])
    assert not sitting.situation().prediction.stale


def test_sizes_are_those_of_the_outlines(case):
    sitting, result = case
    voxels = sitk.GetArrayFromImage(result.images["pre_mask"]).sum() * np.prod(result.images["pre_mask"].GetSpacing())
    assert outlining.sizes(sitting.look())["pre_volume_ml"] == pytest.approx(voxels / 1000)
    centre = outlining.tumour_centre(sitting.look())
    index = result.images["pre_mask"].TransformPhysicalPointToIndex(centre)
    assert result.images["pre_mask"][index] == 1


def test_the_outline_is_carried_over_as_a_suggestion(scene, sitting, tmp_path):
    result, folder = finished(tmp_path / "finished")
    choices = sitting.choices
    choices.pre_volume, choices.post_volume = (image_to_node(result.images[role], scene, NAMES[role]) for role in ("pre", "post"))
    outlining.set_mask(choices, "pre", result.images["pre_mask"])
    with pytest.raises(InputError):
        outlining.carry_over(choices)                    # nothing is aligned
    results.bring_alignment(choices, folder, {})
    outlining.carry_over(choices)
    assert outlining.outline_state(sitting.look(), "post") is Outline.CARRIED


def test_what_belongs_to_a_pair_does_not_stay_with_another(scene, case):
    sitting, result = case
    other = image_to_node(result.images["post"], scene, "another visit")
    kept = sitting.choices.post_volume
    sitting.choices.post_volume = other
    sitting.settle()
    assert sitting.choices.result is None and sitting.last_result is None and sitting.last_alignment is None and sitting.choices.post_segmentation is None
    sitting.choices.post_volume = kept
    sitting.settle()
    assert sitting.choices.alignment is not None and outlining.outline_state(sitting.look(), "post") is Outline.DRAWN


def test_a_forgotten_alignment_moves_nothing_back_into_voxels(case):
    sitting, result = case
    aligning.forget_alignment(sitting.choices)
    assert sitting.choices.post_volume.GetParentTransformNode() is None and sitting.choices.alignment_result is None
    assert same_image(scan_from_node(sitting.choices.post_volume), result.images["post"])


def test_squares_are_made_on_the_first_scans_grid(case):
    sitting, result = case
    board = aligning.squares(sitting.choices)
    assert board.GetImageData().GetDimensions() == result.images["pre"].GetSize() and not board.GetSaveWithScene()


def test_the_shown_map_lies_on_its_scan_and_its_largest_place_is_told(case):
    sitting, result = case
    choices = sitting.choices
    for name in ("attention_post", "attention_pre"):
        choices.shown_map = name
        shown, = mapping.shown_map(choices).items()
        assert shown[0] == name.rsplit("_", 1)[1]
        place = mapping.strongest_place(choices)
        image, role = result.images[name], name.rsplit("_", 1)[1]
        own = place if role == "pre" else alignment.transform_from_node(choices.alignment, choices.post_volume).TransformPoint(place)
        values = sitk.GetArrayFromImage(image)
        assert image[image.TransformPhysicalPointToIndex(own)] == values.max()
    choices.shown_map = None
    assert mapping.shown_map(choices) == {} and mapping.strongest_place(choices) is None and len(mapping.map_ids(choices)) >= 3


def test_a_place_is_asked_about_only_where_the_run_left_an_answer(case, tmp_path):
    sitting, _ = case
    assert not asking.can_ask(None) and not asking.can_ask(tmp_path)
    asking.clear_points(sitting.choices)
    asking.place_point(sitting.choices, (10.0, -20.0, 40.0))
    with pytest.raises(UsageError) as caught:
        asking.ask(sitting.choices, tmp_path)
    assert caught.value.code == "MRD-E849"


def test_a_point_that_is_placed_by_numbers_lies_where_a_click_would_put_it(case):
    """The question is asked in the second scan's own space: the place that the scene shows goes through the alignment."""
    from MRDeltaNetLib.mrml import findings
    sitting, _ = case
    asking.clear_points(sitting.choices)
    assert findings.asked_point(sitting.choices.point) is None
    place = (10.0, -20.0, 40.0)
    asking.place_point(sitting.choices, place)
    own = alignment.transform_from_node(sitting.choices.alignment, sitting.choices.post_volume).TransformPoint(place)
    assert findings.asked_point(sitting.choices.point) == pytest.approx(own, abs=1e-3)


def test_further_maps_are_asked_of_the_predictions_own_files(case, tmp_path):
    sitting, _ = case
    assert {line.key for group in further.methods(sitting) for line in group.lines} >= {"occlusion", "gradcam"}
    assert sitting.situation().result_files
    sitting.last_result = tmp_path
    assert not sitting.situation().result_files
    with pytest.raises(UsageError) as caught:
        further.start(sitting, ("occlusion",))
    assert caught.value.code == "MRD-E847" and not sitting.running


def test_without_a_prediction_no_map_is_chosen_and_none_can_be_asked_for(sitting):
    assert mapping.chosen_map(sitting.choices) is None and further.methods(sitting) == () and mapping.offered_maps(sitting.choices) == ()


@pytest.mark.parametrize("kind", GRIDS)
def test_three_slices_meet_where_they_were_sent(scene, kind):
    volume = image_to_node(complete_result(kind).images["pre"], scene, "one")
    views = [scene.AddNode(slicer_module().vtkMRMLSliceNode()) for _ in comparing.PLANES]
    for view, plane in zip(views, comparing.PLANES):
        view.SetLayoutName(plane)
        comparing.orient_alike([view], volume, plane)
    comparing.jump_to(views, (11.0, -28.5, 40.25))
    assert comparing.meeting_place(views) == pytest.approx((11.0, -28.5, 40.25), abs=1e-6)


# A case folder

@pytest.mark.parametrize("kinds", [("oblique", "left-handed"), ("axis-permuted", "oblique"), ("flipped", "straight")], ids="-".join)
def test_a_case_comes_back_from_its_folder_whatever_way_its_scans_are_stored(scene, tmp_path, kinds):
    result, folder = finished(tmp_path / "finished", *kinds)
    first = Sitting(Choices(mrtrg=3, map_opacity=0.25), Door(), base=tmp_path / "base")
    filled(scene, first, result, folder)
    keeping.write(keeping.collected(first), first.session, tmp_path / "case")
    first.close()
    again = Sitting(Choices(), Door(), base=tmp_path / "other")
    keeping.take_up(again, tmp_path / "case", scene, NAMES, lambda volume, path: None)
    found = again.inputs()
    assert all(same_image(found.scans[role], result.images[role]) for role in ("pre", "post"))
    assert all(same_image(found.masks[role], result.images[f"{role}_mask"]) for role in ("pre", "post", "residual"))
    situation = again.situation()
    assert situation.aligned and situation.prediction is not None and not situation.prediction.stale and not situation.report_outdated
    assert (again.choices.mrtrg, again.choices.map_opacity) == (3, 0.25) and (again.last_result / "report.html").is_file()
    assert keeping.collected(again).state()[:2] == keeping.collected(again).state()[:2]
    again.close()


def test_a_collection_is_equal_exactly_while_nothing_changed(case):
    sitting, result = case
    before = keeping.collected(sitting).state()
    assert keeping.collected(sitting).state() == before
    outlining.set_mask(sitting.choices, "pre", sitk.BinaryErode(result.images["pre_mask"], (1, 1, 0)))
    assert keeping.collected(sitting).state() != before


def test_an_empty_folder_gives_nothing_and_one_scan_alone_comes_back(scene, sitting, tmp_path):
    keeping.take_up(sitting, tmp_path / "new", scene, NAMES, lambda volume, path: None)
    assert sitting.choices.pre_volume is None
    sitting.choices.pre_volume = image_to_node(complete_result().images["pre"], scene, "one")
    keeping.write(keeping.collected(sitting), sitting.session, tmp_path / "case")
    again = Sitting(Choices(), Door(), base=tmp_path / "other")
    keeping.take_up(again, tmp_path / "case", scene, NAMES, lambda volume, path: None)
    assert again.choices.pre_volume is not None and again.choices.post_volume is None
    again.close()


@pytest.mark.parametrize("name, value", [("registration", "by hand"), ("mrtrg", 9), ("mrtrg", True), ("device", "../x"), ("map_opacity", 7), ("map_opacity", "1"),
                                         ("outline_step_mm", -1), ("shown_map", 3), ("complete_response", "yes"), ("unheard_of", 1), ("pre_volume", None)])
def test_choices_that_nobody_could_have_made_are_refused(scene, case, tmp_path, name, value):
    sitting, _ = case
    keeping.write(keeping.collected(sitting), sitting.session, tmp_path / "case")
    written = json.loads((tmp_path / "case" / FILE).read_text())
    written["choices"][name] = value
    (tmp_path / "case" / FILE).write_text(json.dumps(written))
    with pytest.raises(InputError) as caught:
        keeping.take_up(Sitting(Choices()), tmp_path / "case", scene, NAMES, lambda volume, path: None)
    assert caught.value.code == "MRD-E921"


def test_the_dicom_file_of_a_scan_is_kept_with_it(scene, tmp_path):
    header = tmp_path / "one.dcm"
    header.write_bytes(b"header")
    noted = {}
    sitting = Sitting(Choices(), Door(header_of=lambda volume: header), base=tmp_path / "base")
    sitting.choices.pre_volume = image_to_node(complete_result().images["pre"], scene, "one")
    keeping.write(keeping.collected(sitting), sitting.session, tmp_path / "case")
    keeping.take_up(Sitting(Choices()), tmp_path / "case", scene, NAMES, lambda volume, path: noted.update({volume.GetID(): path}))
    path, = noted.values()
    assert path.read_bytes() == b"header" and path != header
    sitting.close()


# A scan leaves

def nodes(scene):
    return sorted(scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes()))


def test_a_scan_that_leaves_takes_all_of_its_own_and_the_next_pair_finds_an_empty_house(scene, sitting, tmp_path):
    """Ten pairs one after another leave no more nodes than one."""
    result, folder = finished(tmp_path / "finished")
    counts = []
    for _ in range(3):
        filled(scene, sitting, result, folder)
        asking.clear_points(sitting.choices)
        aligning.squares(sitting.choices)
        for role in ("pre", "post"):
            leaving.remove_scan(sitting.choices, role)
        sitting.settle()
        counts.append((scene.GetNumberOfNodes(), hierarchy.hierarchy_of(scene).GetNumberOfItems()))
    assert counts[0] == counts[1] == counts[2]
    assert sitting.choices.result is None and sitting.last_result is None and sitting.choices.point is None
    assert not [each for each in nodes(scene) if "ScalarVolumeNode" in each or "SegmentationNode" in each]


def test_the_other_scan_stays_with_its_outline(scene, case):
    sitting, result = case
    leaving.remove_scan(sitting.choices, "post")
    sitting.settle()
    assert sitting.choices.post_volume is None and sitting.choices.alignment is None and sitting.choices.result is None
    assert outlining.outline_state(sitting.look(), "pre") is Outline.DRAWN and sitting.situation().maps == ()
    assert same_image(scan_from_node(sitting.choices.pre_volume), result.images["pre"])
    leaving.remove_scan(sitting.choices, "post")         # nothing there: nothing happens


def test_what_is_not_ours_stays_when_a_scan_leaves(scene, case):
    sitting, _ = case
    theirs = scene.AddNewNodeByClass("vtkMRMLTextNode", "a note of the reader's")
    leaving.remove_scan(sitting.choices, "pre")
    assert theirs.GetScene() is scene


# Runs

def run_done(sitting):
    events = sitting.wait(120)
    return [event for event in events if isinstance(event, (Finished, Failed))]


def test_something_of_the_doors_own_runs_and_is_brought_in(sitting, tmp_path):
    brought = []
    out = sitting.fresh_folder("own")
    command = ["python3", "-c", "import json; print(json.dumps({'finished': {}}))"]
    sitting.start_other("own", lambda worker: worker.start_command(command), out, brought.append, of_this_pair=False)
    with pytest.raises(UsageError) as caught:
        sitting.refuse_second_run()
    assert caught.value.code == "MRD-E843" and sitting.running
    assert run_done(sitting) and brought == [out] and not sitting.running


def test_a_result_that_cannot_be_brought_in_is_told_and_the_sitting_goes_on(sitting):
    def bring(_out):
        raise KeyError("broken")

    command = ["python3", "-c", "import json; print(json.dumps({'finished': {}}))"]
    sitting.start_other("own", lambda worker: worker.start_command(command), sitting.fresh_folder("own"), bring, of_this_pair=False)
    with pytest.raises(MRDeltaNetError) as caught:
        sitting.wait(120)
    assert caught.value.code == "MRD-E899" and not sitting.running


def test_a_result_of_scans_that_left_meanwhile_is_not_brought_in(scene, case):
    sitting, _ = case
    command = ["python3", "-c", "import json; print(json.dumps({'finished': {}}))"]
    sitting.start_other("own", lambda worker: worker.start_command(command), sitting.fresh_folder("own"), lambda out: pytest.fail("brought in"))
    leaving.remove_scan(sitting.choices, "post")
    with pytest.raises(MRDeltaNetError) as caught:
        sitting.wait(120)
    assert caught.value.code == "MRD-E845"


def test_results_are_saved_as_they_are(case, tmp_path):
    sitting, _ = case
    names = sitting.save_result(tmp_path / "out")
    assert {"result.json", "report.html"} <= set(names) and (tmp_path / "out" / "result.json").read_bytes() == (sitting.last_result / "result.json").read_bytes()
    sitting.last_result = None
    with pytest.raises(UsageError) as caught:
        sitting.save_result(tmp_path / "more")
    assert caught.value.code == "MRD-E847"


def test_a_closed_sitting_leaves_no_file_and_may_be_closed_again(sitting, tmp_path):
    sitting.session.write("pre", complete_result().images["pre"])
    assert list((tmp_path / "base").iterdir())
    sitting.close()
    sitting.close()
    assert list((tmp_path / "base").iterdir()) == []


def test_the_same_image_is_written_once_and_another_again(tmp_path):
    session, image = Session(tmp_path), complete_result().images["pre"]
    first = session.write("pre", image)
    stamp = first.stat().st_mtime_ns
    assert session.write("pre", image) == first and first.stat().st_mtime_ns == stamp
    session.write("pre", image * 2)
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(first))).max() == pytest.approx(2 * sitk.GetArrayFromImage(image).max())
    session.close()


def test_belonging_names_only_choices_that_there_are():
    assert all(hasattr(Choices(), name) for name in (*belonging.OF_A_PAIR, *keeping.PLAIN))
    assert outlines.SEGMENTATIONS.keys() == {"pre", "post"}
