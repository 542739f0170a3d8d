"""What belongs to a pair of scans stays with it, and nothing that a reader drew or a model said is lost on the way."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError, UsageError
from MRDeltaNetLib.mrml.nodes import image_to_node
from MRDeltaNetLib.mrml.sitting import jobs, sample
from MRDeltaNetLib.workflow import Outline


def another_scan(image: sitk.Image, name: str):
    """A volume node on the same grid with other voxels."""
    import slicer
    return image_to_node(image * -1 + 5, slicer.mrmlScene, name)


def simulated_pair(panel, folder):
    """The files of a simulation as the panel takes them when its run has ended."""
    from MRDeltaNetPanel.sample import choose
    sample.bring(panel.logic.sittingWith(panel.parameters), folder, lambda images: choose(images, panel.parameters))


def test_results_and_alignment_of_one_pair_are_not_shown_for_another_and_the_alignment_comes_back_with_it(panel, case):
    parameters, post = panel.parameters, panel.parameters.postVolume
    assert panel.logic.resultFacts(parameters)["p_pcr"] is not None and parameters.alignment is not None
    kept = parameters.alignment
    from MRDeltaNetLib.mrml.scans import scan_from_node
    parameters.postVolume = another_scan(scan_from_node(post, kept), "Another visit")
    panel.refresh()
    assert panel.logic.resultFacts(parameters) is None and parameters.alignment is None and parameters.measures is None
    assert panel.logic.situation(parameters).prediction is None
    assert post.GetParentTransformNode() is kept                      # the other pair's nodes stay as they were
    parameters.postVolume = post
    panel.refresh()
    assert parameters.alignment is kept


def test_drawing_residual_tumour_erases_nothing_of_its_bed(panel, scans):
    import slicer
    panel.go("tumour")
    node = slicer.mrmlScene.GetSingletonNode("MRDeltaNet.SegmentEditor", "vtkMRMLSegmentEditorNode")
    assert node.GetOverwriteMode() == slicer.vtkMRMLSegmentEditorNode.OverwriteNone


def test_putting_a_mask_into_an_outline_does_not_show_it_over_the_other_scan(panel, scans, simulated):
    panel.go("tumour")
    for role in ("pre", "post", "residual"):
        panel.logic.setMask(panel.parameters, role, getattr(simulated, f"{role}_mask"))
    before, after = panel.views.sliceNodes()
    panel.placeScans()
    panel.logic.setMask(panel.parameters, "post", simulated.post_mask)
    shown = panel.parameters.postSegmentation.GetDisplayNode()
    assert shown.IsDisplayableInView(after.GetID()) and not shown.IsDisplayableInView(before.GetID())


def test_a_report_where_there_is_a_prediction_is_made_with_the_prediction(panel, case, monkeypatch):
    asked = []
    monkeypatch.setattr(jobs, "job_of", lambda sitting, step, *given: asked.append(step) or (_ for _ in ()).throw(InputError("stop here", code="MRD-E100")))
    with pytest.raises(InputError):
        panel.logic.start("report", panel.parameters)
    assert asked == ["predict"]


def test_an_alignment_is_made_from_scratch_even_where_the_old_one_cannot_be_used(panel, case, monkeypatch):
    parameters, asked = panel.parameters, []
    for node in (parameters.postVolume, parameters.postSegmentation):  # somebody took the scan and its outline out of their transform
        node.SetAndObserveTransformNodeID(None)
    with pytest.raises(InputError) as refused:
        panel.logic.inputs(parameters)
    assert refused.value.code == "MRD-E834"
    monkeypatch.setattr(jobs, "job_of", lambda *given: asked.append(jobs.entries(*given)) or (_ for _ in ()).throw(InputError("stop here", code="MRD-E100")))
    with pytest.raises(InputError, match="stop here"):
        panel.logic.start("align", parameters)
    assert "transform" not in asked[0] and asked[0]["steps"] == ["align"]


def test_the_sample_pair_leaves_another_pair_s_alignment_alone(panel, case, simulated, tmp_path):
    from MRDeltaNetLib.io.images import write_image
    post, kept = panel.parameters.postVolume, panel.parameters.alignment
    for name in ("pre", "post", "pre_mask", "post_mask", "residual_mask"):
        write_image(getattr(simulated, name), tmp_path / f"{name}.nrrd")
    simulated_pair(panel, tmp_path)
    assert post.GetParentTransformNode() is kept and panel.parameters.alignment is None and panel.parameters.postVolume is not post
    assert panel.logic.outlineState(panel.parameters, "pre") is Outline.DRAWN


def test_a_second_sample_pair_has_names_of_its_own_and_is_in_the_user_s_own_views_too(application, panel, simulated, tmp_path):
    from MRDeltaNetLib.io.images import write_image
    for name in ("pre", "post", "pre_mask", "post_mask", "residual_mask"):
        write_image(getattr(simulated, name), tmp_path / f"{name}.nrrd")
    names = []
    for _ in range(2):
        simulated_pair(panel, tmp_path)
        names += [panel.parameters.preVolume.GetName(), panel.parameters.postVolume.GetName()]
    assert len(set(names)) == 4
    application.leave_module()
    red = application.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert red.GetBackgroundVolumeID() == panel.parameters.preVolume.GetID()


def test_asking_about_a_place_without_a_prediction_of_this_sitting_is_refused(panel, scans):
    with pytest.raises(UsageError) as refused:
        panel.logic.ask(panel.parameters)
    assert refused.value.code == "MRD-E849"


def test_the_panel_shows_a_model_s_card_without_loading_torch(panel, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    panel.logic.sitting._bundle = None
    assert panel.logic.bundle().public_facts()["is_demo"] is True


def test_restoring_the_views_turns_and_fits_them_anew_and_takes_the_map_away(panel, case):
    panel.go("explain")
    before, after = panel.views.compositeNodes()
    assert after.GetForegroundVolumeID()
    node = panel.views.sliceNodes()[1]
    was = np.array([node.GetSliceToRAS().GetElement(row, column) for row in range(3) for column in range(3)])
    node.SetOrientation("Sagittal")
    panel.pages["explain"].ui.restoreButton.click()
    now = np.array([node.GetSliceToRAS().GetElement(row, column) for row in range(3) for column in range(3)])
    assert not after.GetForegroundVolumeID() and np.allclose(was, now)


def test_what_a_reader_said_of_one_pair_is_not_said_of_the_next(application, panel, case):
    from MRDeltaNetLib.mrml.scans import scan_from_node
    from MRDeltaNetPanel.parameters import Grade
    other = another_scan(scan_from_node(case.postVolume, case.alignment), "Another visit")
    case.completeResponse, case.mrtrg = True, Grade.TWO
    case.mapOpacity = 0.3
    assert case.completeResponse
    panel.pages["scans"].ui.postSelector.setCurrentNode(other)
    assert case.postVolume is other and case.completeResponse is False and case.mrtrg is Grade.NOT_GIVEN
    case.completeResponse, case.mrtrg = True, Grade.ONE
    application.scene.RemoveNode(other)
    application.process_events(0.5)
    assert panel.parameters.completeResponse is False and panel.parameters.mrtrg is Grade.NOT_GIVEN


def test_what_a_script_says_together_with_its_scans_is_kept(application, panel, case):
    import slicer
    from MRDeltaNetLib.mrml.scans import scan_from_node
    others = [another_scan(scan_from_node(node, node.GetParentTransformNode()), "Another") for node in (case.preVolume, case.postVolume)]
    with slicer.util.NodeModify(case.parameterNode):
        case.preVolume, case.postVolume = others
        case.completeResponse = True
    assert case.completeResponse is True
    case.preVolume, case.postVolume = others[::-1]
    case.completeResponse = True
    panel.refresh()
    assert case.completeResponse is True


def test_swapping_forgets_what_was_said_and_the_alignment_and_gives_outlines_back(application, panel, case):
    pre, post = case.preVolume, case.postVolume
    case.completeResponse = True
    panel.go("scans")
    panel.pages["scans"].ui.swapButton.click()
    application.process_events(0.5)
    assert (case.preVolume, case.postVolume) == (post, pre) and case.alignment is None and not case.completeResponse and case.preSegmentation is None
    panel.pages["scans"].ui.swapButton.click()
    application.process_events(0.5)
    assert panel.logic.outlineState(case, "post") is Outline.DRAWN and panel.logic.situation(case).prediction.changed == ("alignment",)


def test_results_of_an_imported_case_are_not_saved_with_the_files_of_the_one_before(application, panel, case, tmp_path):
    """A scene that is added to the scene brings its own result into the one parameter node; the files at hand are another patient's."""
    text = case.result.GetText()
    case.result.SetText(text.replace("0.7312", "0.1234"))
    panel.go("report")
    panel.refresh()
    assert not panel.pages["report"].ui.saveResultButton.enabled and panel.logic.resultFolder(case) is None
    with pytest.raises(UsageError, match="MRD-E847"):
        panel.logic.saveResult(tmp_path / "out")
    assert panel.logic.whyNoPoint(case)
