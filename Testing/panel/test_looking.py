"""A refresh looks at the scene once, reads again only what has changed, and never shows what was before a change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib import workflow
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.imaging import measures
from MRDeltaNetLib.mrml import outlines, scans
from MRDeltaNetLib.mrml.nodes import fill_volume, image_to_node
from MRDeltaNetLib.mrml.scans import scan_from_node
from MRDeltaNetLib.workflow import Outline
from Testing.io.test_scan_header import header
from Testing.panel.conftest import fill


@pytest.fixture
def work(case, panel, monkeypatch) -> list:
    """What is computed from voxels or read from files from now on, by name, with the case looked at once already."""
    from MRDeltaNetLib.mrml.sitting import inputs
    done = []

    def watch(owner, name, told):
        real = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *given, **more: done.append(told(given)) or real(*given, **more))

    panel.go("tumour")
    watch(scans, "image_from_node", lambda given: f"read {given[0].GetName()}")
    watch(scans, "image_digest", lambda given: "scan hashed")
    watch(workflow, "image_digest", lambda given: "mask hashed")
    watch(outlines, "_lay", lambda given: f"laid {given[1]}")
    watch(measures, "compare", lambda given: "measured")
    watch(workflow, "alignment_is_stale", lambda given: "masks hashed for the alignment")
    watch(inputs, "read_scan_header", lambda given: "header read")
    return done


def test_a_refresh_without_a_change_reads_hashes_and_measures_nothing(panel, work):
    for step in ("tumour", "predict", "report", "scans", "align", "tumour"):
        panel.go(step)
    panel.refresh()
    assert work == []


def test_after_a_stroke_only_the_outline_that_was_drawn_on_is_looked_at(panel, case, work):
    stroke(panel, case, "post")
    work.clear()                                         # the stroke itself settles its segment's name
    panel.refresh()
    assert sorted(work) == ["laid post_mask", "mask hashed", "masks hashed for the alignment", "measured"]
    work.clear()
    panel.refresh()
    assert work == []


def test_a_moved_alignment_hashes_nothing_again_and_is_seen(panel, case, work):
    assert panel.logic.situation(case).prediction.changed == ()
    shift(case.alignment)
    assert panel.logic.situation(case).prediction.changed == ("alignment",) and work == []


def stroke(panel, parameters, role):
    """Some voxels more in an outline, in the middle of it."""
    mask = panel.logic.inputs(parameters).masks[role]
    panel.refresh()
    voxels = sitk.GetArrayFromImage(mask)
    z, y, x = np.argwhere(voxels)[0]
    voxels[z, y:y + 2, x:x + 3] = 1 - voxels[z, y:y + 2, x:x + 3]
    painted = sitk.GetImageFromArray(voxels)
    painted.CopyInformation(mask)
    panel.logic.setMask(parameters, role, painted)


def shift(transform, mm=2.0):
    import vtk
    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToParent(matrix)
    matrix.SetElement(0, 3, matrix.GetElement(0, 3) + mm)
    transform.SetMatrixTransformToParent(matrix)


def one_voxel(volume):
    image = scan_from_node(volume, volume.GetParentTransformNode())
    image[3, 2, 1] = image[3, 2, 1] + 1
    fill_volume(volume, image)


CHANGES = {
    "pre": lambda panel, case: one_voxel(case.preVolume),
    "post": lambda panel, case: one_voxel(case.postVolume),
    "pre_mask": lambda panel, case: stroke(panel, case, "pre"),
    "post_mask": lambda panel, case: stroke(panel, case, "post"),
    "residual_mask": lambda panel, case: case.postSegmentation.GetSegmentation().RemoveSegment("residual_mask"),
    "alignment": lambda panel, case: shift(case.alignment),
    "options": lambda panel, case: setattr(case, "allMembers", False),
    "complete_response": lambda panel, case: setattr(case, "completeResponse", True),
}


@pytest.mark.parametrize("part", CHANGES)
def test_every_change_of_the_scene_is_shown_and_named_alone(application, panel, case, part):
    assert panel.logic.situation(case).prediction.changed == ()
    application.process_events(0.5)
    seen = watched(panel)
    CHANGES[part](panel, case)
    seen.clear()
    application.process_events(0.5)                      # nothing but the panel's own listening
    assert seen and panel.logic.situation(case, seen[-1]).prediction.changed == (part,)
    panel.go("predict")
    assert "Out of date" in panel.pages["predict"].ui.answer.text


def test_a_stroke_taken_back_makes_the_result_fresh_again(application, panel, case):
    import slicer
    history = slicer.vtkSegmentationHistory()
    history.SetSegmentation(case.postSegmentation.GetSegmentation())
    history.SaveState()
    stroke(panel, case, "post")
    application.process_events(0.5)
    assert panel.logic.situation(case).prediction.changed == ("post_mask",)
    seen = watched(panel)
    assert history.RestorePreviousState()
    application.process_events(0.5)
    assert seen and panel.logic.situation(case, seen[-1]).prediction.changed == ()      # the panel looked by itself
    history.SetSegmentation(None)


@pytest.mark.parametrize("segment, role", [("post_mask", "post"), ("residual_mask", "residual")])
def test_a_segment_that_the_user_removes_or_adds_is_seen_at_once(application, panel, case, segment, role):
    panel.go("tumour")
    seen = watched(panel)
    case.postSegmentation.GetSegmentation().RemoveSegment(segment)
    application.process_events(0.6)
    assert seen and seen[-1].outlined.drawn[role] is Outline.NONE and f"{role}_mask" not in seen[-1].pair.digests
    seen.clear()
    case.postSegmentation.GetSegmentation().AddEmptySegment(segment, "again")
    application.process_events(0.6)
    assert seen and seen[-1].outlined.drawn[role] is Outline.EMPTY


def watched(panel) -> list:
    """What every look from now on finds."""
    seen, real = [], panel.logic.reading
    panel.logic.reading = lambda parameters: seen.append(real(parameters)) or seen[-1]
    return seen


def test_a_panel_at_rest_does_not_look_again_and_again(application, panel, case):
    panel.go("tumour")
    application.process_events(0.6)
    seen = watched(panel)
    application.process_events(1.2)
    assert seen == []


def test_a_scan_under_somebody_elses_transform_is_told_at_once_and_so_is_its_end(application, panel, scans):
    transform = application.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "somebody's")
    scans[0].SetAndObserveTransformNodeID(transform.GetID())
    application.process_events(0.5)
    assert panel.ui.hintLabel.text == "A scan lies under a transform. Take it out or harden it."
    scans[0].SetAndObserveTransformNodeID(None)
    application.process_events(0.5)
    assert "Read the remarks" in panel.ui.hintLabel.text


def test_exchanged_scans_are_not_taken_for_each_other(panel, scans, simulated):
    before = panel.logic.reading(panel.parameters).pair.digests
    panel.pages["scans"].swap()
    panel.refresh()
    after = panel.logic.reading(panel.parameters).pair.digests
    assert (after["pre"], after["post"]) == (before["post"], before["pre"]) == (workflow.image_digest(simulated.post), workflow.image_digest(simulated.pre))


def test_scans_of_an_imported_scene_are_not_taken_for_those_before(application, panel, scans, tmp_path):
    application.save_scene(tmp_path / "scene.mrb")
    before = panel.logic.reading(panel.parameters).pair.digests
    for volume in scans:
        one_voxel(volume)
    application.process_events(0.5)
    changed = panel.logic.reading(panel.parameters).pair.digests
    application.load_scene(tmp_path / "scene.mrb")
    application.process_events(0.5)
    assert panel.logic.reading(panel.parameters).pair.digests == before != changed


def test_closing_the_scene_lets_go_of_all_that_was_kept(application, panel, finished):
    fill(panel, finished)
    assert panel.logic.sitting.kept._values
    application.clear_scene()
    assert not panel.logic.sitting.kept._values


def test_a_run_rests_on_what_is_there_even_where_nobody_told_that_voxels_were_written(panel, case):
    from vtkmodules.util.numpy_support import vtk_to_numpy
    before = panel.logic.reading(case).pair.digests["pre"]
    vtk_to_numpy(case.preVolume.GetImageData().GetPointData().GetScalars())[5] += 1              # without Modified()
    asked = panel.logic.inputs(case)
    assert asked.digests["pre"] != before and asked.digests["pre"] == workflow.image_digest(scan_from_node(case.preVolume))
    assert panel.logic.reading(case).pair.digests["pre"] == asked.digests["pre"]                # and so does what is shown from then on


def test_what_a_run_is_handed_is_not_what_is_kept(panel, case):
    asked = panel.logic.inputs(case)
    seen = panel.logic.reading(case).pair
    assert asked.digests == seen.digests and asked.scans["pre"] is not seen.scans["pre"]


# Headers and methods: what else a result rests on

@pytest.fixture
def headers(application, panel, case, tmp_path) -> dict[str, Path]:
    """Headers of both visits in Slicer's DICOM database, 120 days apart, and a result that was made with them."""
    from MRDeltaNetLib.mrml.sitting import results
    files = {role: Path(header(tmp_path / f"{role}.dcm", day, series))
             for role, day, series in (("pre", "20230101", "1.2.3.1"), ("post", "20230501", "1.2.3.2"))}
    for role, volume in (("pre", case.preVolume), ("post", case.postVolume)):
        application.dicom_database.add(f"uid.{role}", files[role])
        volume.SetAttribute("DICOM.instanceUIDs", f"uid.{role}")
    results._file(panel.logic.sittingWith(case).choices, [], case.result, panel.logic.fingerprint("predict", panel.logic.inputs(case), case))
    panel.refresh()
    assert panel.logic.situation(case).interval_days == 120 and panel.logic.situation(case).prediction.changed == ()
    return files


@pytest.mark.parametrize("other", [{"day": "20230502"}, {"PatientID": "PAT-1"}, {"EchoTime": 80.0}, {"Manufacturer": "Another"}])
def test_a_header_that_says_something_else_makes_the_result_outdated(panel, case, headers, other):
    header(headers["post"], **{"day": "20230501", "series": "1.2.3.2"} | other)
    panel.go("predict")
    assert panel.logic.situation(case).prediction.changed == ("headers",) and "a DICOM header changed" in panel.ui.predictButton.toolTip


def test_a_header_in_another_place_or_file_makes_nothing_outdated(application, panel, case, headers, tmp_path):
    application.dicom_database.add("uid.post", header(tmp_path / "elsewhere.dcm", "20230501", "1.2.3.2"))
    assert panel.logic.situation(case).prediction.changed == ()


def test_headers_that_are_not_at_hand_on_another_computer_make_nothing_outdated(panel, case, headers):
    for path in headers.values():
        path.unlink()
    seen = panel.logic.situation(case)
    assert seen.interval_days is None and seen.prediction.changed == ()


def test_a_header_is_read_once_while_it_is_the_same(panel, case, headers, work):
    panel.refresh()
    work.clear()
    panel.refresh()
    assert work == []
    header(headers["pre"], "20230102", "1.2.3.1")
    panel.refresh()
    assert work == ["header read"]


def test_a_damaged_header_is_refused_before_a_run(panel, case, headers):
    headers["pre"].write_bytes(b"no DICOM")
    with pytest.raises(InputError) as refused:
        panel.logic.inputs(case)
    assert refused.value.code == "MRD-E241" and panel.logic.situation(case).scan_errors[0].code == "MRD-E241"


def test_an_alignment_by_another_method_is_told_and_choosing_the_method_again_ends_that(application, panel, case):
    from MRDeltaNetPanel.parameters import Registration
    panel.go("align")
    fresh = panel.ui.hintLabel.text
    case.registration = Registration.AFFINE
    application.process_events(0.5)
    assert panel.ui.hintLabel.text == "Made with another method. Align again." != fresh and panel.ui.alignButton.text.endswith("!")
    assert panel.logic.situation(case).prediction.changed == ()                  # it rests on the transform, which is the same
    case.registration = Registration.RIGID
    application.process_events(0.5)
    assert panel.ui.hintLabel.text == fresh


# Sliders

def test_sliders_go_straight_to_the_map_and_look_at_nothing(application, panel, case):
    panel.go("explain")
    application.process_events(0.5)
    seen, page, shown = watched(panel), panel.pages["explain"].ui, panel.logic.maps(case)["attention_post"]
    top = shown.GetImageData().GetScalarRange()[1]
    page.opacitySlider.value = 0.35
    assert panel.views.compositeNodes()[1].GetForegroundOpacity() == pytest.approx(0.35) and case.mapOpacity == pytest.approx(0.35)
    page.thresholdSlider.value = 0.7
    assert shown.GetDisplayNode().GetLowerThreshold() == pytest.approx(0.7 * top, rel=1e-4) and case.mapThreshold == pytest.approx(0.7)
    application.process_events(0.6)
    assert seen == [] and panel.views.compositeNodes()[1].GetForegroundVolumeID() == shown.GetID()
    case.mapOpacity = 0.9                                # a script's word counts as well
    assert panel.views.compositeNodes()[1].GetForegroundOpacity() == pytest.approx(0.9)


def test_a_strength_that_was_chosen_elsewhere_holds_when_the_map_is_shown(application, panel, case):
    panel.go("report")
    case.mapOpacity = 0.25
    panel.go("explain")
    assert panel.views.compositeNodes()[1].GetForegroundOpacity() == pytest.approx(0.25)


def test_another_choice_made_together_with_a_strength_is_not_lost(application, panel, case):
    import slicer
    seen = watched(panel)
    with slicer.util.NodeModify(case.parameterNode):
        case.mapOpacity, case.completeResponse = 0.3, True
    application.process_events(0.6)
    assert seen and panel.logic.situation(case).complete_response


def test_another_image_under_the_same_name_is_another_scan(panel, scans, simulated):
    import slicer
    before = panel.logic.reading(panel.parameters).pair.digests["pre"]
    panel.parameters.preVolume = image_to_node(simulated.pre + 1, slicer.mrmlScene, scans[0].GetName())
    assert panel.logic.reading(panel.parameters).pair.digests["pre"] == workflow.image_digest(simulated.pre + 1) != before
