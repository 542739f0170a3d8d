"""Runs of the panel with the real pipeline in its child process: what comes in, what does not, and what is left behind."""

from __future__ import annotations

import hashlib
import json
import os

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.errors import UsageError
from MRDeltaNetLib.mrml.scans import scan_from_node
from MRDeltaNetLib.mrml.worker import Progressed


def voxels(volume, transform=None):
    return sitk.GetArrayFromImage(scan_from_node(volume, transform))


def contents(scene):
    """Every node that a person has in the scene, and what it lies under."""
    return sorted((node.GetClassName(), node.GetName(), node.GetTransformNodeID() if node.IsA("vtkMRMLTransformableNode") else "")
                  for node in (scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())) if node.GetSaveWithScene())


def child_of(panel):
    """Process id of the child that runs."""
    return panel.logic._worker._process.pid


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return open(f"/proc/{pid}/stat").read().split(")")[1].split()[0] == "Z" if os.path.isdir("/proc") else False


@pytest.fixture
def started(application, panel, scans):
    """An alignment that goes on; the panel on its page."""
    panel.go("align")
    panel.pages["align"].ui.alignButton.click()
    assert panel.logic.running, [each.text for each in application.dialogs]
    return panel


@pytest.fixture
def aligned(panel, scans, wait, started):
    wait(lambda: not panel.logic.running)
    return panel.parameters


def test_progress_moves_the_result_is_in_the_scene_and_nothing_is_hardened(application, panel, scans, wait):
    before = [voxels(volume) for volume in scans]
    seen, poll = [], panel.logic.poll
    panel.logic.poll = lambda: [seen.append(event) or event for event in poll()]
    panel.go("align")
    panel.pages["align"].ui.alignButton.click()
    panel.refresh()
    assert panel.ui.runRow.visible and panel.ui.hintLabel.text == "Working. Cancel stops it; earlier results stay."
    assert not panel.pages["align"].ui.alignButton.enabled
    wait(lambda: panel.ui.progressBar.value > 0)
    wait(lambda: not panel.logic.running)
    done = [event.done for event in seen if isinstance(event, Progressed)]
    assert len(done) > 2 and done == sorted(done) and not application.dialogs
    parameters = panel.parameters
    assert scans[0].GetParentTransformNode() is None and scans[1].GetParentTransformNode() is parameters.alignment is not None
    np.testing.assert_array_equal(voxels(scans[0]), before[0])
    np.testing.assert_array_equal(voxels(scans[1], parameters.alignment), before[1])
    assert not panel.ui.runRow.visible and panel.ui.progressBar.value == 0 and "Mutual information" in panel.pages["align"].ui.qualityLabel.text
    assert panel.pages["align"].ui.alignButton.text == "Align again" and panel.pages["align"].ui.blendButton.enabled
    assert not panel.logic.situation(parameters).alignment_of_other_scans


def test_cancel_leaves_the_scene_as_it_was_and_no_child(application, started, wait):
    panel, before, pid = started, contents(application.scene), child_of(started)
    panel.ui.cancelButton.click()
    assert panel.ui.runLabel.text == "Stopping ..."
    wait(lambda: not panel.logic.running)
    assert contents(application.scene) == before and is_gone(pid) and not application.dialogs
    assert panel.pages["align"].ui.alignButton.enabled and panel.parameters.alignment is None


def test_closing_the_scene_during_a_run_ends_its_child_without_an_error(application, started):
    panel, pid, folder = started, child_of(started), started.logic.session.folder
    application.clear_scene()
    application.process_events(0.6)
    assert not panel.logic.running and is_gone(pid) and not folder.exists()
    assert not application.dialogs and not application.errors and not panel.ui.runRow.visible
    assert panel.parameters.preVolume is None and panel.ui.hintLabel.text
    panel.go("align")
    assert panel.pages["align"].ui.alignButton.toolTip == "First choose two scans."


def test_a_scan_deleted_during_a_run_is_told_and_nothing_is_brought_in(application, started, scans, wait):
    panel = started
    application.scene.RemoveNode(scans[1])
    application.process_events()
    wait(lambda: not panel.logic.running)
    assert ["MRD-E845" in each.text for each in application.dialogs] == [True]
    assert panel.parameters.alignment is None and panel.parameters.preVolume is scans[0] and panel.parameters.postVolume is None


def test_a_second_run_is_refused_and_the_first_goes_on(application, started, wait):
    panel = started
    with pytest.raises(UsageError, match="MRD-E843"):
        panel.logic.start("align")
    panel.run("align")
    assert ["MRD-E843" in each.text for each in application.dialogs] == [True] and panel.logic.running
    application.dialogs.clear()
    panel.go("scans")
    assert not panel.pages["scans"].ui.sampleButton.enabled
    panel.ui.cancelButton.click()
    wait(lambda: not panel.logic.running)


def test_leaving_the_module_keeps_the_run_going_and_its_result_is_there_on_return(application, started, wait):
    panel = started
    application.leave_module()
    wait(lambda: not panel.logic.running)
    assert panel.parameters.alignment is not None and not panel.views.shown
    application.enter_module("MRDeltaNet")
    application.process_events(0.5)
    assert panel.pages["align"].ui.alignButton.text == "Align again" and panel.views.shown


def test_reload_during_a_run_ends_its_child_and_the_new_panel_works(application, started):
    pid, parameters = child_of(started), started.parameters.parameterNode
    fresh = application.reload_module("MRDeltaNet")
    application.process_events(0.5)
    assert fresh is not started and is_gone(pid) and not application.errors
    assert fresh.parameters is None or fresh.parameters.parameterNode is parameters
    assert fresh.views.shown and fresh.views.compositeNodes()[1].GetBackgroundVolumeID() == fresh.parameters.postVolume.GetID()
    fresh.go("align")
    assert fresh.pages["align"].ui.alignButton.enabled and started.logic is None


def test_after_a_reload_the_old_editor_does_not_go_on_painting(application, panel, case):
    panel.go("tumour")
    old = panel.pages["tumour"].ui.editor
    old.setActiveEffectByName("Paint")
    fresh = application.reload_module("MRDeltaNet")
    fresh.go("tumour")
    new = fresh.pages["tumour"].ui.editor
    assert (old.mrmlSegmentEditorNode(), old.segmentationNode(), new.activeEffect()) == (None, None, None)
    assert new.mrmlSegmentEditorNode() is not None and new.segmentationNode() is fresh.parameters.preSegmentation is not None


def test_cleanup_twice_ends_the_child_and_lets_go_of_the_scene(application, started, scans):
    panel, pid, node = started, child_of(started), started.parameters.parameterNode
    box = panel.pages["scans"].ui.preSelector
    panel.cleanup()
    panel.cleanup()
    assert is_gone(pid) and panel.parameters is None and panel.logic is None and not panel.Observations
    box.setCurrentNode(scans[1])
    assert node.GetNodeReferenceID("preVolume") == scans[0].GetID()
    application.scene.RemoveNode(scans[0])
    application.process_events(0.5)
    assert not application.errors


def test_cleanup_after_a_panel_that_could_not_be_built_says_nothing(application, panel, monkeypatch):
    from MRDeltaNetPanel.pages.tumour import TumourPage

    def broken(page):
        raise AttributeError("this Slicer's editor lacks it")

    monkeypatch.setattr(TumourPage, "connect", broken)
    half = type(panel)(panel.parent)
    with pytest.raises(AttributeError, match="lacks it"):
        half.setup()
    half.cleanup()
    assert half.logic is None and not half.Observations


def test_a_report_without_prediction_writes_table_and_report_and_saves_them_whole(application, panel, scans, simulated, aligned, wait, tmp_path):
    for role in ("pre", "post", "residual"):
        panel.logic.setMask(aligned, role, getattr(simulated, f"{role}_mask"))
    panel.go("report")
    page = panel.pages["report"].ui
    assert page.writeButton.enabled, page.writeButton.toolTip
    page.writeButton.click()
    wait(lambda: not panel.logic.running)
    assert not application.dialogs and json.loads((panel.logic.session.path("job") / "job.json").read_text(encoding="utf-8"))["steps"] == ["masks", "report"]
    facts = panel.logic.resultFacts(aligned)
    assert facts["p_pcr"] is None and facts["measures"]["pre_volume_ml"] == pytest.approx(panel.logic.sizes(aligned)["pre_volume_ml"])
    assert aligned.measures.GetNumberOfRows() > 3
    assert "<html" in aligned.report.GetText() and page.openButton.enabled and "Volume" in page.summary.text
    application.answer("getExistingDirectory", str(tmp_path / "kept"))
    page.saveResultButton.click()
    manifest = json.loads((tmp_path / "kept" / "manifest.json").read_text(encoding="utf-8"))
    kept = {path.name for path in (tmp_path / "kept").iterdir()}
    assert kept == {*manifest["outputs"], "manifest.json"} == {path.name for path in panel.logic.lastResult.iterdir()}
    assert all(hashlib.sha256((tmp_path / "kept" / name).read_bytes()).hexdigest() == digest for name, digest in manifest["outputs"].items())
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("mine")
    application.dialogs.clear()
    application.answer("getExistingDirectory", str(foreign))
    page.saveResultButton.click()
    assert [each.kind for each in application.dialogs] == ["getExistingDirectory", "error"] and [each.name for each in foreign.iterdir()] == ["notes.txt"]
    panel.logic.setMask(aligned, "post", simulated.residual_mask)
    panel.refresh()
    assert "Out of date" in page.summary.text
