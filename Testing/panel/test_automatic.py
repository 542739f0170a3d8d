"""Automatic outlines in the panel: asked for once, trusted by their bytes, brought in as suggestions. nnU-Net is a stand-in."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.drawings import read_probability, source
from MRDeltaNetLib.mrml import drawn, outlines
from MRDeltaNetLib.mrml.scans import scan_from_node
from MRDeltaNetLib.mrml.sitting import drawing
from MRDeltaNetLib.workflow import Outline
from Testing.nnunet_standin import DRAW, THRESHOLD, model_folder, python_that

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in is a script with a first line that POSIX reads")


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("MRDELTANET_SETTINGS", str(tmp_path / "settings"))


@pytest.fixture
def nnunet(tmp_path, monkeypatch):
    """nnunet(code) puts a stand-in where the panel looks for nnU-Net."""
    return lambda code=DRAW: monkeypatch.setenv("MRDELTANET_NNUNET_PYTHON", str(python_that(tmp_path / "python", code)))


def button(panel):
    return panel.pages["tumour"].ui.automaticButton


def ask(application, panel, folder: Path, trust: bool = True) -> None:
    """Click Automatic, choose the folder if asked, and answer the question of trust."""
    application.answer("getExistingDirectory", str(folder))
    application.answer("exec", qt_answer(trust))
    panel.refresh()
    button(panel).click()


def qt_answer(trust: bool):
    import qt
    return qt.QMessageBox.Yes if trust else qt.QMessageBox.No


def bright(volume) -> np.ndarray:
    return sitk.GetArrayFromImage(scan_from_node(volume)) > THRESHOLD


def test_without_nnunet_the_button_says_what_to_do(application, panel, scans, monkeypatch, tmp_path):
    from MRDeltaNetLib.imaging.nnunet import environment
    monkeypatch.delenv(environment.VARIABLE, raising=False)
    monkeypatch.setattr(environment, "library_folder", lambda: tmp_path)
    panel.go("tumour")
    assert not button(panel).enabled and "nnU-Net, which is not installed" in button(panel).toolTip and "nstall" in button(panel).toolTip


def test_a_drawing_comes_in_as_a_suggestion_that_a_reader_makes_his_own(application, panel, scans, wait, nnunet, tmp_path):
    nnunet()
    panel.go("tumour")
    ask(application, panel, model_folder(tmp_path / "model"))
    assert panel.logic.running, [each.text for each in application.dialogs]
    wait(lambda: not panel.logic.running)
    parameters, node = panel.parameters, panel.parameters.preSegmentation
    mask = outlines.mask_from_segment(node, "pre_mask", scans[0])
    assert np.array_equal(sitk.GetArrayFromImage(mask) > 0, bright(scans[0]))
    border = drawn.nodes(scans[0], "pre")[1]
    assert border.GetDisplayNode().GetNthViewNodeID(0) == node.GetDisplayNode().GetNthViewNodeID(0) and border.GetSegmentation().GetNumberOfSegments() == 2
    written = drawing.write_drawings(panel.logic.sittingWith(parameters).choices, panel.logic.session, {"pre": mask})
    share, program = read_probability(written["pre_probability"], scan_from_node(scans[0]))
    assert set(written) == {"pre_probability"} and source(program, mask) == "automatic" and (sitk.GetArrayFromImage(share) > 0.5).sum() == bright(scans[0]).sum()
    name = lambda: node.GetSegmentation().GetSegment("pre_mask").GetName()
    assert name().endswith(outlines.AUTOMATIC) and panel.logic.outlineState(parameters, "pre") is Outline.DRAWN
    less = sitk.GetArrayFromImage(mask)
    less[tuple(np.argwhere(less)[0])] = 0
    edited = sitk.GetImageFromArray(less)
    edited.CopyInformation(mask)
    panel.logic.setMask(parameters, "pre", edited)
    assert not name().endswith(outlines.AUTOMATIC) and source(program, edited) == "edited"
    panel.logic.setMask(parameters, "pre", mask)
    assert name().endswith(outlines.AUTOMATIC)


def test_a_programs_drawing_is_a_warning_until_a_reader_changes_it_and_says_how_sure_it_was(application, panel, scans, wait, nnunet, tmp_path):
    nnunet()
    panel.go("tumour")
    page = panel.pages["tumour"].ui
    page.postButton.click()
    ask(application, panel, model_folder(tmp_path / "model"))
    wait(lambda: not panel.logic.running)
    assert panel.logic.situation(panel.parameters).drawn_by_program == ("post",)
    volume = bright(scans[1]).sum() * np.prod(scans[1].GetSpacing()) / 1000
    assert f"Drawn by a program: {volume:.1f} mL; certain" in page.automaticLabel.text and page.automaticLabel.visible
    assert "MRD-W370" in page.automaticLabel.text                     # no program draws reliably after treatment
    page.preButton.click()
    panel.refresh()
    assert page.automaticLabel.text == "" and not page.automaticLabel.visible
    page.postButton.click()
    less = outlines.mask_from_segment(panel.parameters.postSegmentation, "post_mask", scans[1])
    voxels = sitk.GetArrayFromImage(less)
    voxels[tuple(np.argwhere(voxels)[0])] = 0
    edited = sitk.GetImageFromArray(voxels)
    edited.CopyInformation(less)
    panel.logic.setMask(panel.parameters, "post", edited)
    panel.refresh()
    assert panel.logic.situation(panel.parameters).drawn_by_program == () and page.automaticLabel.text == ""


def test_undo_brings_back_what_was_drawn_while_the_program_drew(application, panel, scans, wait, nnunet, tmp_path):
    nnunet()
    panel.go("tumour")
    own = np.zeros(scans[0].GetImageData().GetDimensions()[::-1], np.uint8)
    own[5:8, 40:50, 40:50] = 1
    image = sitk.GetImageFromArray(own)
    image.CopyInformation(scan_from_node(scans[0]))
    ask(application, panel, model_folder(tmp_path / "model"))
    panel.logic.setMask(panel.parameters, "pre", image)
    wait(lambda: not panel.logic.running)
    panel.pages["tumour"].ui.editor.undo()
    assert np.array_equal(sitk.GetArrayFromImage(outlines.mask_from_segment(panel.parameters.preSegmentation, "pre_mask", scans[0])), own)


def test_what_lies_beside_an_outline_is_shown_with_its_scan_in_its_own_view_and_can_be_hidden(application, panel, scans, simulated):
    """The uncertain border, whoever made it: a segmentation of ours that belongs to the scan."""
    import slicer

    from MRDeltaNetLib.mrml.nodes import make_ours, segmentation_to_node
    from MRDeltaNetLib.mrml.terminology import SEGMENTS
    panel.go("tumour")
    page = panel.pages["tumour"].ui
    assert not page.borderBox.visible
    border = make_ours(segmentation_to_node([(SEGMENTS["pre_mask"], simulated.pre_mask)], slicer.mrmlScene, "border", scans[0]), "pre uncertain border", scan=scans[0])
    panel.placeScans()
    panel.refresh()
    shown = border.GetDisplayNode()
    assert shown.GetVisibility() and [shown.GetNthViewNodeID(index) for index in range(shown.GetNumberOfViewNodeIDs())] == [panel.views.sliceNodes()[0].GetID()]
    assert page.borderBox.visible and page.borderBox.checked and panel.parameters.preSegmentation is not border
    page.borderBox.click()
    assert not shown.GetVisibility()
    panel.placeScans()
    panel.refresh()
    assert not shown.GetVisibility() and not page.borderBox.checked
    page.borderBox.click()
    assert shown.GetVisibility()
    panel.pages["scans"].ui.preSelector.setCurrentNode(None)
    panel.refresh()
    assert not shown.GetVisibility()
    panel.pages["scans"].ui.preSelector.setCurrentNode(scans[0])
    panel.refresh()
    assert shown.GetVisibility()


def test_trust_is_asked_for_once_and_again_when_a_byte_changed(application, panel, scans, wait, nnunet, tmp_path):
    nnunet()
    panel.go("tumour")
    folder = model_folder(tmp_path / "model")
    ask(application, panel, folder)
    wait(lambda: not panel.logic.running)
    application.answer("getExistingDirectory", str(folder))
    button(panel).click()
    wait(lambda: not panel.logic.running)
    questions = lambda: [each for each in application.dialogs if each.kind == "exec"]
    asked = [each for each in application.dialogs if each.kind == "getExistingDirectory"]
    assert len(questions()) == 1 and [each.folder for each in asked] == ["", str(folder)]
    (folder / "plans.json").write_text((folder / "plans.json").read_text() + " ")
    ask(application, panel, folder, trust=False)
    assert not panel.logic.running and len(questions()) == 2 and "is not what was approved" in questions()[1].widget.informativeText


def test_what_changed_while_the_user_read_the_question_is_not_trusted(application, panel, scans, nnunet, tmp_path):
    nnunet()
    panel.go("tumour")
    folder = model_folder(tmp_path / "model")
    panel.logic.chooseSegmentationModel(folder)
    assert "SHA-256" in panel.logic.unapproved()
    (folder / "fold_0" / "checkpoint_final.pth").write_bytes(b"evil")
    with pytest.raises(InputError, match="MRD-E372"):
        panel.logic.approveSegmentationModel()
    assert panel.logic.unapproved() is not None


def test_a_choice_that_is_broken_off_starts_nothing(application, panel, scans, nnunet):
    nnunet()
    panel.go("tumour")
    button(panel).click()
    assert not panel.logic.running and [each.kind for each in application.dialogs] == ["getExistingDirectory"]


def test_without_trust_nothing_starts(application, panel, scans, nnunet, tmp_path):
    nnunet(f"open({str(tmp_path / 'started')!r}, 'w')")
    panel.go("tumour")
    ask(application, panel, model_folder(tmp_path / "model"), trust=False)
    assert not panel.logic.running and not (tmp_path / "started").exists() and panel.parameters.preSegmentation is not None


def test_a_folder_that_is_no_model_is_told_and_not_kept(application, panel, scans, nnunet, tmp_path):
    nnunet()
    panel.go("tumour")
    (tmp_path / "empty").mkdir()
    ask(application, panel, tmp_path / "empty")
    assert "MRD-E370" in application.dialogs[-1].text and panel.logic.segmentationModel is None


@pytest.mark.parametrize("code, wanted", [("os.kill(os.getpid(), 9)", "MRD-E871"), (DRAW.replace("share > 0.5", "share > 2"), "MRD-E355")])
def test_what_went_wrong_is_told_and_the_outline_stays(application, panel, scans, wait, nnunet, tmp_path, code, wanted):
    nnunet(code)
    panel.go("tumour")
    own = np.zeros(scans[0].GetImageData().GetDimensions()[::-1], np.uint8)
    own[5:8, 40:50, 40:50] = 1
    image = sitk.GetImageFromArray(own)
    image.CopyInformation(scan_from_node(scans[0]))
    panel.logic.setMask(panel.parameters, "pre", image)
    ask(application, panel, model_folder(tmp_path / "model"))
    wait(lambda: not panel.logic.running)
    assert wanted in application.dialogs[-1].text
    assert np.array_equal(sitk.GetArrayFromImage(outlines.mask_from_segment(panel.parameters.preSegmentation, "pre_mask", scans[0])), own)


def test_the_scan_after_treatment_is_drawn_in_its_own_space(application, panel, scans, wait, nnunet, tmp_path):
    nnunet()
    panel.go("tumour")
    panel.pages["tumour"].ui.postButton.click()
    ask(application, panel, model_folder(tmp_path / "model"))
    wait(lambda: not panel.logic.running)
    mask = outlines.mask_from_segment(panel.parameters.postSegmentation, "post_mask", scans[1])
    assert np.array_equal(sitk.GetArrayFromImage(mask) > 0, bright(scans[1]))


def test_a_model_of_two_channels_gets_the_other_scan(application, panel, scans, wait, nnunet, tmp_path):
    nnunet(f"import shutil; shutil.copy(job['channels'][1], {str(tmp_path / 'second.nrrd')!r})\n" + DRAW)
    panel.go("tumour")
    ask(application, panel, model_folder(tmp_path / "model", channels=("before", "after")))
    wait(lambda: not panel.logic.running)
    second = sitk.ReadImage(str(tmp_path / "second.nrrd"))
    assert second.GetSize() == scan_from_node(scans[0]).GetSize() and sitk.GetArrayFromImage(second).any()
