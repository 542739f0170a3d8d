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
    written = panel.logic.writeDrawings(parameters, {"pre": mask})
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
