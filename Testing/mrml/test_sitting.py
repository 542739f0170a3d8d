"""A sitting without a window: what is chosen stays with its pair, nothing moves a voxel, and a scan that leaves takes all of its own."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError, UsageError
from MRDeltaNetLib.io import locking
from MRDeltaNetLib.io.locking import LOCK
from MRDeltaNetLib.mrml import alignment, comparing, hierarchy, outlines, overlays
from MRDeltaNetLib.mrml.bootstrap import slicer_module
from MRDeltaNetLib.mrml.nodes import fill_volume, image_from_node, image_to_node
from MRDeltaNetLib.mrml.scans import scan_from_node
from MRDeltaNetLib.mrml.sitting import Choices, aligning, asking, belonging, further, keeping, leaving, mapping, outlining, results
from MRDeltaNetLib.mrml.sitting.choices import DEFAULT_MAP
from MRDeltaNetLib.mrml.sitting.folder import Session, sweep
from MRDeltaNetLib.workflow import Outline, StepState
from Testing.made_up_result import GRIDS, complete_result
from Testing.mrml.made_up_case import NAMES, filled, same_image


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


def test_the_outline_is_carried_over_as_a_suggestion(scene, sitting, finished):
    result, folder = finished()
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
        assert mapping.largest_share(choices) == pytest.approx(values.max() / (results.facts(choices.result)["maps"][name].get("scale_top") or values.max()), rel=1e-6)
    choices.shown_map = None
    assert mapping.shown_map(choices) == {} and mapping.strongest_place(choices) is None and len(mapping.map_ids(choices)) >= 3


@pytest.mark.parametrize("role, other", [("pre", "post"), ("post", "pre")])
def test_by_itself_a_map_is_shown_on_the_scan_where_it_says_more(case, role, other):
    """Both scans share one scale: on the other one there may be nothing to see."""
    sitting, _ = case
    choices = sitting.choices
    choices.shown_map = DEFAULT_MAP
    method, found = mapping.chosen_map(choices).rsplit("_", 1)[0], results.maps(choices)
    for each, factor in ((role, 1.0), (other, 0.1)):
        node = found[f"{method}_{each}"]
        values = sitk.Image(image_from_node(node, node.GetParentTransformNode()))
        fill_volume(node, values / float(sitk.GetArrayViewFromImage(values).max()) * factor)
    assert mapping.chosen_map(choices) == f"{method}_{role}"
    assert mapping.largest_share(choices) == pytest.approx(1 / overlays.top_of(found[f"{method}_{role}"]))


def test_a_map_that_is_not_there_is_not_shown_and_of_one_with_a_sign_the_largest_place_is_that_by_size(case):
    sitting, _ = case
    choices = sitting.choices
    choices.shown_map = "occlusion_post"
    assert mapping.chosen_map(choices) is None and mapping.shown_map(choices) == {} and mapping.strongest_place(choices) is None
    choices.shown_map = "attention_pre"
    node = results.maps(choices)["attention_pre"]
    values = sitk.GetArrayFromImage(scan_from_node(node)) * 0
    values[5, 10, 20], values[7, 30, 40] = 0.5, -1.0
    signed = sitk.GetImageFromArray(values)
    signed.CopyInformation(scan_from_node(node))
    fill_volume(node, signed)
    assert mapping.strongest_place(choices) == pytest.approx(signed.TransformIndexToPhysicalPoint((40, 30, 7)), abs=1e-3)


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


# A scan leaves

def nodes(scene):
    return sorted(scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes()))


def test_a_scan_that_leaves_takes_all_of_its_own_and_the_next_pair_finds_an_empty_house(scene, sitting, finished):
    """Ten pairs one after another leave no more nodes than one."""
    result, folder = finished()
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


# Files

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


# The folder of a sitting

HOLDS_A_FOLDER = """
import sys, time
from pathlib import Path
from MRDeltaNetLib.mrml.sitting.folder import Session
session = Session(Path(sys.argv[1]))
print(session.path("pre.nrrd"), flush=True)
time.sleep(600)
"""


@pytest.fixture
def killed(tmp_path):
    """killed() -> the folder that a sitting of another process left when it was killed; alive=True: of one that goes on."""
    processes = []

    def left(alive=False):
        process = subprocess.Popen([sys.executable, "-c", HOLDS_A_FOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        processes.append(process)
        scan = tmp_path / process.stdout.readline().strip()
        scan.write_bytes(b"voxels of a patient")
        if not alive:
            process.kill()
            process.wait()
        return scan.parent

    yield left
    for process in processes:
        process.kill()
        process.wait()


def test_folders_of_killed_sittings_go_when_the_next_one_begins_and_those_that_live_or_are_nobodys_stay(tmp_path, killed):
    dead, alive = killed(), killed(alive=True)
    others = [tmp_path / "mrd-nobody-held-it", tmp_path / "elsewhere"]
    for other in others:
        other.mkdir()
    session = Session(tmp_path)
    assert session.folder.is_dir() and not dead.exists() and alive.is_dir() and all(other.is_dir() for other in others)
    sweep(tmp_path)
    assert session.folder.is_dir() and (session.folder / LOCK).is_file()
    session.close()
    assert sorted(tmp_path.iterdir()) == sorted([alive, *others])


def test_a_disk_that_knows_no_locks_holds_a_sitting_all_the_same(tmp_path, monkeypatch):
    def no_locks(_stream):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locking, "_take", no_locks)
    session = Session(tmp_path)
    assert session.folder.is_dir()
    sweep(tmp_path)
    assert session.folder.is_dir()
    session.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="owners of folders are looked at on POSIX only")
def test_a_killed_sitting_of_another_user_or_computer_and_a_link_are_left_alone(tmp_path, killed, monkeypatch):
    dead = killed()
    (tmp_path / "mrd-link").symlink_to(dead)
    me = os.getuid()
    with monkeypatch.context() as other:
        other.setattr(os, "getuid", lambda: me + 1)
        sweep(tmp_path)
    with monkeypatch.context() as other:
        other.setattr("MRDeltaNetLib.io.locking.platform.node", lambda: "some-other-computer")
        sweep(tmp_path)
    assert dead.is_dir()
    sweep(tmp_path)
    assert not dead.exists() and (tmp_path / "mrd-link").is_symlink()
