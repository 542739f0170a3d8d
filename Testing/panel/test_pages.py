"""The six pages: what they say, what may be pressed and why not, and that a refusal changes nothing."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from MRDeltaNetLib import workflow
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.resources import DEMO_BUNDLE, resource
from MRDeltaNetLib.workflow import Outline
from Testing.panel.conftest import MODULE

STEPS = [step.key for step in workflow.STEPS]
ACTIONS = {"align": "alignButton", "predict": "runButton", "report": "writeButton"}
"""Page -> its button that starts a run."""


def ui(panel, step):
    return panel.pages[step].ui


def told(application):
    """The dialogs so far, and none from now on counts as old."""
    found = list(application.dialogs)
    application.dialogs.clear()
    return found


def under_foreign_transform(application, volume):
    transform = application.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "somebody's")
    volume.SetAndObserveTransformNodeID(transform.GetID())
    return transform


@pytest.mark.parametrize("step", STEPS)
def test_a_page_opens_on_an_empty_scene_and_says_what_to_do(application, panel, step):
    getattr(panel.ui, f"{step}Button").click()
    application.process_events(0.4)
    assert panel.step == step and panel.ui.pages.currentWidget() is panel.pages[step].widget
    assert panel.ui.hintLabel.text == panel.logic.look(panel.logic.situation(panel.parameters))[step].line
    assert "hoose" in panel.ui.hintLabel.text
    assert not application.dialogs and not application.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")


def test_what_cannot_be_started_says_why_in_its_tooltip(application, panel):
    for step, name in ACTIONS.items():
        panel.go(step)
        button = getattr(ui(panel, step), name)
        assert not button.enabled and button.toolTip == "First choose two scans."
    panel.go("tumour")
    assert not ui(panel, "tumour").carryButton.enabled and ui(panel, "tumour").carryButton.toolTip == "First choose two scans."
    assert not ui(panel, "tumour").preButton.enabled and not ui(panel, "tumour").postButton.enabled
    panel.go("explain")
    assert not ui(panel, "explain").mapBox.enabled and not ui(panel, "explain").pointButton.enabled and ui(panel, "explain").pointButton.toolTip


def test_chosen_scans_are_parameters_shown_in_their_views_and_may_be_aligned(application, panel, scans):
    application.process_events(0.4)
    assert (panel.parameters.preVolume, panel.parameters.postVolume) == scans
    assert [layers.GetBackgroundVolumeID() for layers in panel.views.compositeNodes()] == [scans[0].GetID(), scans[1].GetID()]
    panel.go("align")
    assert ui(panel, "align").alignButton.enabled and not ui(panel, "align").blendButton.enabled
    panel.go("report")
    assert ui(panel, "report").writeButton.toolTip == "First align the scans."


def test_findings_about_the_pair_stand_below_the_boxes(application, panel, scans):
    lines = panel.logic.findings(panel.parameters).lines
    assert lines and all(re.sub("<[^>]*>", "", line) in re.sub("<[^>]*>", "", ui(panel, "scans").findings.text) for line in lines)
    assert ui(panel, "scans").findings.visible


def test_swapping_exchanges_the_scans_and_ends_the_alignment(application, panel, case):
    pre, post, first = case.preVolume, case.postVolume, case.preSegmentation
    panel.go("scans")
    ui(panel, "scans").swapButton.click()
    application.process_events(0.4)
    parameters = panel.parameters
    assert (parameters.preVolume, parameters.postVolume) == (post, pre) and parameters.alignment is None
    assert post.GetParentTransformNode() is None and first.GetParentTransformNode() is None
    assert [layers.GetBackgroundVolumeID() for layers in panel.views.compositeNodes()] == [post.GetID(), pre.GetID()]
    assert panel.logic.outlineState(parameters, "pre") is Outline.NONE


def test_outlines_go_with_their_scan_and_come_back_with_it(application, panel, scans, simulated):
    from MRDeltaNetLib.mrml.nodes import image_to_node
    panel.logic.setMask(panel.parameters, "pre", simulated.pre_mask)
    drawn = panel.parameters.preSegmentation
    other = image_to_node(simulated.pre, application.scene, "another patient, scanned on the same voxels")
    ui(panel, "scans").preSelector.setCurrentNode(other)
    assert panel.logic.outlineState(panel.parameters, "pre") is Outline.NONE and not panel.logic.inputs(panel.parameters).masks
    panel.refresh()
    assert panel.parameters.preSegmentation is None
    ui(panel, "scans").preSelector.setCurrentNode(scans[0])
    panel.refresh()
    assert panel.parameters.preSegmentation is drawn and panel.logic.outlineState(panel.parameters, "pre") is Outline.DRAWN
    for _turn in range(2):
        ui(panel, "scans").swapButton.click()
        panel.refresh()
    assert panel.parameters.preSegmentation is drawn


def test_one_scan_twice_is_told_and_nothing_may_be_started(application, panel, scans):
    ui(panel, "scans").postSelector.setCurrentNode(scans[0])
    application.process_events(0.4)
    assert panel.ui.hintLabel.text == "The same scan is chosen twice. Choose the other visit."
    assert panel.ui.scansButton.text.endswith("!")
    for step, name in ACTIONS.items():
        panel.go(step)
        assert not getattr(ui(panel, step), name).enabled and getattr(ui(panel, step), name).toolTip == "The same scan is chosen twice."


@pytest.mark.parametrize("role", [0, 1])
def test_a_scan_under_somebody_elses_transform_is_told_and_taken_out_it_is_let_through(application, panel, scans, role):
    under_foreign_transform(application, scans[role])
    for step in STEPS:
        panel.go(step)
        application.process_events()
    panel.go("scans")
    assert "MRD-E830" in ui(panel, "scans").findings.text and panel.ui.hintLabel.text == "A scan lies under a transform. Take it out or harden it."
    panel.go("align")
    assert not ui(panel, "align").alignButton.enabled
    scans[role].SetAndObserveTransformNodeID(None)
    panel.refresh()
    assert ui(panel, "align").alignButton.enabled and not application.dialogs


def test_a_pressed_button_that_is_refused_tells_in_one_dialog(application, panel, scans):
    panel.go("align")
    under_foreign_transform(application, scans[1])
    ui(panel, "align").alignButton.click()
    assert [each.kind for each in told(application)] == ["error"] and not panel.logic.running


def test_complete_response_is_a_statement_that_drawn_residual_tumour_denies(application, panel, scans, simulated):
    panel.logic.setMask(panel.parameters, "pre", simulated.pre_mask)
    panel.go("tumour")
    box = ui(panel, "tumour").completeResponseBox
    box.click()
    assert panel.parameters.completeResponse and panel.logic.situation(panel.parameters).complete_response
    panel.logic.setMask(panel.parameters, "residual", simulated.post_mask)
    panel.refresh()
    assert panel.ui.hintLabel.text == "Residual tumour is drawn, yet none is stated. Choose one." and box.enabled
    box.click()
    panel.refresh()
    assert not panel.parameters.completeResponse and not box.enabled and "clear that outline first" in box.toolTip


def test_what_a_run_would_say_of_an_outline_stands_on_the_page(application, panel, scans, simulated):
    """A tumour on two slices with one left out, and a bed of more than twice its size; good outlines have no such remark."""
    import SimpleITK as sitk
    panel.go("tumour")
    panel.logic.setMask(panel.parameters, "pre", simulated.pre_mask)
    panel.logic.setMask(panel.parameters, "post", simulated.post_mask)
    codes = lambda: {notice.code for notice in panel.logic.situation(panel.parameters).outline_notices}
    assert not {"MRD-W308", "MRD-W309", "MRD-W311"} & codes()
    panel.refresh()
    assert not any(code in ui(panel, "tumour").remarksLabel.text for code in ("MRD-W308", "MRD-W309", "MRD-W311"))
    values = sitk.GetArrayFromImage(simulated.pre_mask)
    drawn = np.flatnonzero(values.any(axis=(1, 2)))
    values[[index for index in drawn if index not in (drawn[1], drawn[3])]] = 0
    thin = sitk.GetImageFromArray(values)
    thin.CopyInformation(simulated.pre_mask)
    panel.logic.setMask(panel.parameters, "pre", thin)
    panel.logic.setMask(panel.parameters, "post", sitk.BinaryDilate(simulated.post_mask, (4, 4, 1)))
    assert {"MRD-W308", "MRD-W309", "MRD-W311"} <= codes()
    panel.refresh()
    remarks = ui(panel, "tumour").remarksLabel
    assert all(code in remarks.text for code in codes()) and remarks.visible


def test_the_readers_grade_goes_into_the_job_and_ages_the_report_not_the_prediction(application, panel, scans, simulated):
    from MRDeltaNetLib.mrml.sitting import inputs, jobs
    from MRDeltaNetLib.coding import MRTRG_WORDS
    from MRDeltaNetPanel.parameters import Grade
    panel.logic.setMask(panel.parameters, "pre", simulated.pre_mask)
    panel.go("report")
    pair = inputs.read(panel.logic.sittingWith(panel.parameters).look())
    before = {step: panel.logic.fingerprint(step, pair, panel.parameters) for step in ("report", "align")}
    box = ui(panel, "report").gradeBox
    assert box.currentText == "Not given" and "mrtrg" not in jobs.entries(panel.logic.sitting, "report", pair, panel.logic.session.path("x"))
    box.currentIndex = 2
    application.process_events(0.2)
    assert [grade.label().partition(": ")[2] for grade in Grade if grade.value] == list(MRTRG_WORDS.values())        # as the report says
    assert panel.parameters.mrtrg is Grade.TWO and jobs.entries(panel.logic.sitting, "report", pair, panel.logic.session.path("x"))["mrtrg"] == 2
    assert panel.logic.fingerprint("report", pair, panel.parameters) != before["report"] and panel.logic.fingerprint("align", pair, panel.parameters) == before["align"]


def test_measures_follow_what_is_drawn(application, panel, scans, simulated):
    panel.go("tumour")
    assert ui(panel, "tumour").measuresLabel.text == ""
    panel.logic.setMask(panel.parameters, "pre", simulated.pre_mask)
    application.process_events(0.5)
    volume = panel.logic.sizes(panel.parameters)["pre_volume_ml"]
    assert ui(panel, "tumour").measuresLabel.text == f"Before {volume:.1f} mL" and "Longest in 3-D" in ui(panel, "tumour").measuresLabel.toolTip
    panel.logic.setMask(panel.parameters, "post", simulated.post_mask)
    application.process_events(0.5)
    change = panel.logic.sizes(panel.parameters)["volume_change_percent"]
    assert f"({change:+.0f} %)" in ui(panel, "tumour").measuresLabel.text and f"{change:+.0f} %" in ui(panel, "tumour").measuresLabel.toolTip


def test_a_carried_outline_is_called_a_suggestion_and_never_handed_to_a_run_as_drawn(application, panel, case):
    from MRDeltaNetLib.mrml.sitting import jobs
    for role in ("post", "residual"):
        case.postSegmentation.GetSegmentation().RemoveSegment(f"{role}_mask")
    panel.go("tumour")
    button = ui(panel, "tumour").carryButton
    assert button.enabled
    button.click()
    panel.refresh()
    segment = case.postSegmentation.GetSegmentation().GetSegment("post_mask")
    assert "suggestion" in segment.GetName() and panel.logic.outlineState(case, "post") is Outline.CARRIED
    assert panel.ui.hintLabel.text == "The bed is only carried over. Correct it on the scan."
    pair = panel.logic.inputs(case)
    assert set(pair.masks) == {"pre"} and "post_mask" not in jobs.entries(panel.logic.sitting, "report", pair, Path("out"))
    assert ui(panel, "tumour").editor.segmentationNode() is case.postSegmentation
    drawn = panel.logic.inputs(case).masks["pre"]
    panel.logic.setMask(case, "post", elsewhere(drawn, case))
    panel.refresh()
    assert "suggestion" not in segment.GetName() and set(panel.logic.inputs(case).masks) == {"pre", "post"}
    assert not button.enabled and button.toolTip == "The tumour bed is drawn. Clear it to start over."


def elsewhere(mask, parameters):
    """The first outline on the second scan's voxels, where it is: other voxels than the carried ones."""
    import SimpleITK as sitk

    from MRDeltaNetLib.mrml.scans import scan_from_node
    grid = scan_from_node(parameters.postVolume, parameters.alignment)
    return sitk.Resample(mask, grid, sitk.Transform(), sitk.sitkNearestNeighbor)


def test_a_broken_model_folder_is_refused_and_the_earlier_choice_stays(application, panel, tmp_path):
    panel.go("predict")
    box, good, broken = ui(panel, "predict").modelBox, resource(DEMO_BUNDLE), tmp_path / "broken"
    broken.mkdir()
    application.answer("getExistingDirectory", str(good), str(broken), "")
    choose(box)
    assert panel.logic.modelFolder == good and box.currentIndex == 1 and box.itemText(1) == good.name
    application.dialogs.clear()
    choose(box)
    assert [each.kind for each in told(application)] == ["getExistingDirectory", "error"]
    assert panel.logic.modelFolder == good and box.currentIndex == 1
    choose(box)
    assert panel.logic.modelFolder == good and [each.kind for each in told(application)] == ["getExistingDirectory"]
    box.currentIndex = 0
    box.activated(0)
    assert panel.logic.modelFolder is None


def choose(box):
    """The last entry, 'Choose a folder...', as a person picks it."""
    box.currentIndex = box.count - 1
    box.activated(box.count - 1)


def test_the_model_is_remembered_by_the_next_application_but_not_by_the_scene(tmp_path):
    pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="needs PySide6_Essentials (pip install 'mrdeltanet[test]')")
    pytest.importorskip("slicer", reason="needs slicer-core (pip install 'mrdeltanet[scene]')")
    from Testing.standins.application import standin_application
    good = resource(DEMO_BUNDLE)
    with standin_application(tmp_path / "same") as application:
        application.open_module(MODULE).logic.chooseModel(good)
        application.save_scene(tmp_path / "scene.mrml")
    assert good.name not in (tmp_path / "scene.mrml").read_text(encoding="utf-8")
    with standin_application(tmp_path / "same") as application:
        panel = application.open_module(MODULE)
        assert panel.logic.modelFolder == good and ui(panel, "predict").modelBox.currentIndex == 1


def test_a_model_whose_folder_is_gone_is_told_and_what_makes_a_prediction_waits(application, panel, case, tmp_path):
    import qt
    qt.QSettings().setValue("MRDeltaNet/ModelFolder", str(tmp_path / "gone"))
    panel.go("predict")
    assert not ui(panel, "predict").runButton.enabled and ui(panel, "predict").banner.text
    panel.go("report")
    assert not ui(panel, "report").writeButton.enabled and ui(panel, "report").writeButton.toolTip == "Its prediction cannot be made anew; see Predict."
    with pytest.raises(InputError):
        panel.logic.bundle()


def test_the_demo_model_is_never_shown_without_its_banner(application, panel, case):
    panel.go("predict")
    assert "DEMO WEIGHTS" in ui(panel, "predict").banner.text and ui(panel, "predict").banner.visible
    answer = ui(panel, "predict").answer.text
    assert "P(pCR) 0.73" in answer and "0.38" in answer and "0.81" in answer and "MRD-W305" in answer


def test_a_result_is_called_out_of_date_when_an_option_changed(application, panel, case):
    panel.go("predict")
    assert "Out of date" not in ui(panel, "predict").answer.text
    ui(panel, "predict").outlineStepBox.value = 3.0
    application.process_events(0.5)
    assert "Out of date" in ui(panel, "predict").answer.text and panel.ui.predictButton.text.endswith("!")


def test_without_maps_nothing_is_offered_and_with_them_they_lie_over_their_scan(application, panel, case):
    from MRDeltaNetPanel.parameters import Map
    panel.go("explain")
    before, after = panel.views.compositeNodes()
    assert after.GetForegroundVolumeID() == panel.logic.maps(case)["attention_post"].GetID() and before.GetForegroundVolumeID() is None
    pick(ui(panel, "explain").mapBox, Map.ATTENTION_PRE)
    application.process_events(0.5)
    assert before.GetForegroundVolumeID() == panel.logic.maps(case)["attention_pre"].GetID() and after.GetForegroundVolumeID() is None
    pick(ui(panel, "explain").mapBox, Map.NONE)
    application.process_events(0.5)
    assert before.GetForegroundVolumeID() is None and after.GetForegroundVolumeID() is None and ui(panel, "explain").mapLabel.text == ""


def pick(box, choice):
    """A line of the list of maps, as a person picks it."""
    box.currentIndex = [box.itemData(index) for index in range(box.count)].index(choice.value)
    box.activated(box.currentIndex)


def test_every_map_that_a_result_can_hold_has_a_name_and_only_those_that_are_there_are_offered(application, panel, case):
    import slicer

    from MRDeltaNetLib.mrml import overlays
    from MRDeltaNetPanel.parameters import Map
    assert {each.value for each in Map} == {*overlays.MAPS, "none", "default"} and "fails sanity checks" in Map.GUIDED_GRADCAM_POST.label()
    assert Map.ATTENTION_POST.label() == "Attention, after treatment" and Map.ROI_SHELLS_PRE.label() == "Regions taken away, before treatment"
    panel.go("explain")
    box, before = ui(panel, "explain").mapBox, panel.views.compositeNodes()[0]
    offered = [box.itemData(index) for index in range(box.count)]
    assert set(offered) == {*panel.logic.maps(case), "none"} and "gradcam_pre" not in offered and box.currentText == Map.ATTENTION_POST.label()
    made = another_map(panel, case, "gradcam_pre")
    panel.refreshSoon()
    application.process_events(0.5)
    assert "gradcam_pre" in [box.itemData(index) for index in range(box.count)] and box.currentText == Map.ATTENTION_POST.label()
    pick(box, Map.GRADCAM_PRE)
    application.process_events(0.5)
    assert case.shownMap is Map.GRADCAM_PRE and before.GetForegroundVolumeID() == made.GetID()
    overlays.remove_map(made)
    panel.refreshSoon()
    application.process_events(0.5)
    assert box.currentText == Map.NONE.label() and before.GetForegroundVolumeID() is None


def another_map(panel, case, key):
    """One more map in the scene, with the voxels of attention."""
    import slicer

    from MRDeltaNetLib.mrml import overlays
    role, name, legend = overlays.MAPS[key]
    image = overlays.image_from_node(panel.logic.maps(case)[f"attention_{role}"], panel.logic.maps(case)[f"attention_{role}"].GetParentTransformNode())
    return overlays.show_map(slicer.mrmlScene, image, key, case.preVolume if role == "pre" else case.postVolume, role, name, legend)


def judge(case, **maps):
    """Let the result's model have this verdict: default, passed, failed."""
    import json
    facts = json.loads(case.result.GetText())
    facts["model"]["maps"] = {"default": None, "passed": [], "failed": []} | maps
    case.result.SetText(json.dumps(facts))


def lines_of(box):
    """Text, data, and whether it can be chosen, of each line."""
    from MRDeltaNetPanel.pages.grouped import FLAGS_ROLE
    return [(box.itemText(index), box.itemData(index), box.itemData(index, FLAGS_ROLE) is None) for index in range(box.count)]


def test_maps_stand_in_the_order_of_the_verdict_and_what_failed_is_never_shown_by_itself(application, panel, case):
    from MRDeltaNetPanel.parameters import Map
    another_map(panel, case, "gradcam_post")
    judge(case, default="gradcam", passed=["change", "gradcam"], failed=["attention"])
    panel.go("explain")
    application.process_events(0.4)
    box = ui(panel, "explain").mapBox
    texts = [text for text, _key, _free in lines_of(box)]
    assert [key for _text, key, _free in lines_of(box)] == ["", "gradcam_post", "change_post", "", "attention_post", "attention_pre", "none"]
    assert texts[1] == "Grad-CAM, after treatment (default)" and "Passed" in texts[0] and "Failed" in texts[3]
    assert [free for _text, _key, free in lines_of(box)] == [False, True, True, False, True, True, True]
    assert case.shownMap is Map.DEFAULT and box.currentText == texts[1] and panel.logic.chosenMap(case) is Map.GRADCAM_POST
    judge(case, failed=["attention", "change", "gradcam"])
    panel.refresh()
    assert panel.logic.chosenMap(case) is Map.NONE and panel.views.compositeNodes()[1].GetForegroundVolumeID() is None
    assert box.currentText == Map.NONE.label() and "No map passed every test" in ui(panel, "explain").mapLabel.text
    pick(box, Map.ATTENTION_POST)
    application.process_events(0.4)
    assert "Caution" in ui(panel, "explain").mapLabel.text and "did not pass the tests" in ui(panel, "explain").mapLabel.text


def test_a_default_that_was_not_made_is_named_and_a_heading_cannot_be_picked(application, panel, case):
    from MRDeltaNetPanel.parameters import Map
    judge(case, default="occlusion", passed=["occlusion"], failed=["attention", "change"])
    panel.go("explain")
    assert panel.logic.chosenMap(case) is Map.NONE and "ask for Occlusion below" in ui(panel, "explain").mapLabel.text
    box = ui(panel, "explain").mapBox
    heading = [index for index, (_text, key, _free) in enumerate(lines_of(box)) if not key][0]
    box.activated(heading)
    assert case.shownMap is Map.DEFAULT


def test_further_maps_are_offered_by_verdict_with_their_cautions_and_reasons(application, panel, case, monkeypatch):
    from MRDeltaNetLib.workflow import maps as shared
    monkeypatch.setattr(shared, "missing_package", lambda key: "captum" if key == "integrated_gradients" else None)
    judge(case, default="occlusion", passed=["occlusion", "roi_shells"], failed=["gradcam"])
    (panel.logic.sitting.last_result / "result.json").write_text(case.result.GetText(), encoding="utf-8")
    panel.go("explain")
    box, button, label = (getattr(ui(panel, "explain"), name) for name in ("furtherBox", "furtherButton", "furtherLabel"))
    keys = [key for _text, key, _free in lines_of(box)]
    assert keys[:3] == ["offered", "", "occlusion"] and keys[-1] == "gradcam" and not {"attention", "change"} & set(keys)
    captum = next(line for line in lines_of(box) if line[1] == "integrated_gradients")
    assert captum[0].endswith("(needs captum)") and not captum[2]
    assert button.enabled and box.enabled
    box.currentIndex = keys.index("gradcam")
    assert button.enabled and "did not pass the tests" in label.text and label.visible
    box.currentIndex = keys.index("guided_gradcam")
    assert "fails published sanity checks" in label.text


def test_further_maps_wait_for_a_fresh_prediction_whose_files_are_there(application, panel, case):
    panel.go("explain")
    page = ui(panel, "explain")
    assert page.furtherButton.enabled
    panel.logic.sitting.last_result = None
    panel.refresh()
    assert not page.furtherButton.enabled and page.furtherButton.toolTip == "The prediction's files are gone. First predict again."
    assert "files are gone. First predict again." in page.furtherLabel.text
    case.outlineStepMm = 3.0
    panel.refresh()
    assert page.furtherButton.toolTip == "The prediction is outdated. First predict again." and not page.furtherBox.enabled


def test_the_report_opens_in_the_browser_and_its_page_shows_the_number_and_the_sizes(application, panel, case):
    panel.go("report")
    assert "P(pCR) 0.73" in ui(panel, "report").summary.text and "Volume" in ui(panel, "report").summary.text
    ui(panel, "report").openButton.click()
    assert len(application.recorder.opened) == 1 and application.recorder.opened[0].startswith("file:")


def test_without_a_report_no_button_pretends_there_is_one(application, panel, scans):
    panel.go("report")
    assert not ui(panel, "report").openButton.enabled and not ui(panel, "report").saveResultButton.enabled
    assert ui(panel, "report").saveResultButton.toolTip and "No report yet" in ui(panel, "report").summary.text


def test_diagnostics_are_on_the_clipboard_without_paths_and_names(application, panel):
    home = Path.home()
    panel.logic.log.append(f"could not read {home}/Nov\u00e1k/scan.nrrd and C:\\Users\\Nov\u00e1k\\scan.nrrd")
    panel.ui.diagnosticsButton.click()
    text = application.app.clipboard().text()
    assert "MRDeltaNet " in text and "Slicer 5.12" in text and "could not read" in text
    assert str(home) not in text and "Nov\u00e1k" not in text
    assert [each.kind for each in told(application)] == ["info"]


def test_texts_are_translated_on_buttons_hints_and_tooltips(tmp_path):
    pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="needs PySide6_Essentials (pip install 'mrdeltanet[test]')")
    pytest.importorskip("slicer", reason="needs slicer-core (pip install 'mrdeltanet[scene]')")
    from Testing.standins.application import standin_application
    words = {("workflow.steps", "Align"): "Zarovnat", ("workflow.standing", "Choose the scans before and after treatment."): "Vyberte oba snimky.",
             ("workflow.blocks", "First choose two scans."): "Nejdriv dva snimky.", ("workflow.telling", "Rigid (recommended)"): "Tuhe",
             ("pages.report", "No report yet."): "Zatim nic.", ("MRDeltaNet", "to do"): "zbyva"}
    with standin_application(tmp_path, translations=words) as application:
        panel = application.open_module(MODULE)
        assert panel.ui.hintLabel.text == "Vyberte oba snimky." and panel.ui.alignButton.text == "2  Zarovnat  \u25cb"
        assert "zbyva" in panel.ui.alignButton.toolTip
        panel.go("align")
        assert ui(panel, "align").alignButton.toolTip == "Nejdriv dva snimky." and ui(panel, "align").methodBox.itemText(0) == "Tuhe"
        panel.go("report")
        assert "Zatim nic." in ui(panel, "report").summary.text


def test_an_outline_that_cannot_be_used_is_told_on_the_page_with_its_remedy(application, panel, scans, simulated):
    """Half of it reaches beyond its scan."""
    import SimpleITK as sitk
    panel.go("tumour")
    values = np.zeros(simulated.pre.GetSize()[::-1], np.uint8)
    values[5:9, 20:30, :10] = 1
    mask = sitk.GetImageFromArray(values)
    mask.CopyInformation(simulated.pre)
    mask.SetOrigin(simulated.pre.TransformIndexToPhysicalPoint((-5, 0, 0)))
    panel.logic.setMask(panel.parameters, "pre", mask)
    panel.refresh()
    remarks = ui(panel, "tumour").remarksLabel
    assert [error.code for error in panel.logic.situation(panel.parameters).outline_errors] == ["MRD-E304"]
    assert "MRD-E304" in remarks.text and "erase what lies outside" in remarks.text.casefold() and remarks.visible
