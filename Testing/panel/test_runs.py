"""Runs of the panel with the real pipeline in its child process: what comes in, what does not, and what is left behind."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.errors import UsageError
from MRDeltaNetLib.mrml.scans import scan_from_node
from MRDeltaNetLib.mrml.worker import Progressed
from Testing.children import alive


def voxels(volume, transform=None):
    return sitk.GetArrayFromImage(scan_from_node(volume, transform))


def contents(scene):
    """Every node that a person has in the scene, and what it lies under."""
    return sorted((node.GetClassName(), node.GetName(), node.GetTransformNodeID() if node.IsA("vtkMRMLTransformableNode") else "")
                  for node in (scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())) if node.GetSaveWithScene())


def child_of(panel):
    """Process id of the child that runs."""
    return panel.logic.sitting._worker._process.pid


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
    assert contents(application.scene) == before and not alive(pid) and not application.dialogs
    assert panel.pages["align"].ui.alignButton.enabled and panel.parameters.alignment is None


def test_closing_the_scene_during_a_run_ends_its_child_without_an_error(application, started):
    panel, pid, folder = started, child_of(started), started.logic.session.folder
    application.clear_scene()
    application.process_events(0.6)
    assert not panel.logic.running and not alive(pid) and not folder.exists()
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
    assert fresh is not started and not alive(pid) and not application.errors
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
    assert not alive(pid) and panel.parameters is None and panel.logic is None and not panel.Observations
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
    assert kept == {*manifest["outputs"], "manifest.json"} == {path.name for path in panel.logic.sitting.last_result.iterdir()}
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


def explained_run(bundle, folder, pair):
    """A run's folder by the demo model on its stored example, laid over the middle of the simulated pair: the network can be asked again."""
    import torch

    from MRDeltaNetLib.case import NetworkInput, Result
    from MRDeltaNetLib.io.bundle import load_network
    from MRDeltaNetLib.io.results import write_results
    from MRDeltaNetLib.models import registry
    from MRDeltaNetLib.report.html import write_report
    from MRDeltaNetLib.response.attribution import Readout
    values = bundle.golden["input"].numpy()
    with torch.inference_mode():
        p_pcr = Readout.of(bundle.own).p_pcr(float(load_network(bundle, registry.build)(bundle.golden["input"].float()[None]).logit))
    grid = sitk.Image([int(size) for size in values.shape[:1:-1]], sitk.sitkUInt8)
    grid.SetSpacing((0.75, 0.75, 3.0))
    middle = np.array(pair.pre.TransformContinuousIndexToPhysicalPoint([size / 2 for size in pair.pre.GetSize()]))
    grid.SetOrigin((middle - np.array(grid.GetSize()) * grid.GetSpacing() / 2).tolist())
    flat = {role: sitk.Cast(image, sitk.sitkFloat32) * 0 + 1 for role, image in (("pre", pair.pre), ("post", pair.post))}
    facts = {"formula": "f", "unit": "a share of one", "resolution_mm": (6.0, 6.0, 6.0), "sees_image_content": True}
    maps = {"attention_pre": flat["pre"], "attention_post": flat["post"], "change_post": flat["post"]}
    common = {"pre_common": pair.pre, "post_common": sitk.Resample(pair.post, pair.pre)}
    light = {"light": "unknown", "reasons": (), "parts": {}}
    result = Result(p_pcr=p_pcr, p_pcr_low=p_pcr, p_pcr_high=p_pcr, predicted_class="pCR", threshold=bundle.own["threshold"], model=bundle.public_facts(),
                    transform=sitk.TranslationTransform(3), images={"pre": pair.pre, "post": pair.post, "pre_mask": pair.pre_mask, "post_mask": pair.post_mask} | common | maps,
                    map_facts=dict.fromkeys(maps, facts), network_input=NetworkInput(values, grid), familiarity=light, registration={"method": "none"}, history=({"step": "explain", "parameters": {}},))
    write_results(result, folder, manifest={"device": "cpu", "seconds": {"steps": {}}}, also=lambda unfinished: [write_report(result, unfinished / "report.html").name])
    return folder


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory):
    """The demo model as if nobody had judged its maps, so that several can be asked at once."""
    pytest.importorskip("torch", reason="needs torch (pip install 'mrdeltanet')")
    from MRDeltaNetLib.io.bundle import read_bundle, rewrite_bundle
    from MRDeltaNetLib.resources import DEMO_BUNDLE, resource
    folder = tmp_path_factory.mktemp("model") / "demo"
    shutil.copytree(resource(DEMO_BUNDLE), folder)
    bundle = read_bundle(folder)
    rewrite_bundle(folder, card=bundle.card, metadata={**bundle.metadata, "mrdeltanet": {name: value for name, value in bundle.own.items() if name != "maps"}})
    return folder


@pytest.fixture(scope="module")
def demo_bundle(demo_folder):
    from MRDeltaNetLib.io.bundle import read_bundle
    return read_bundle(demo_folder)


@pytest.fixture
def predicted(application, panel, scans, simulated, demo_bundle, demo_folder, tmp_path):
    """A prediction in the scene whose folder is at hand; the panel on its page Explain."""
    from MRDeltaNetLib.mrml.sitting import results
    panel.logic.chooseModel(demo_folder)
    folder, parameters = explained_run(demo_bundle, tmp_path / "run", simulated), panel.parameters
    for role in ("pre", "post"):
        panel.logic.setMask(parameters, role, getattr(simulated, f"{role}_mask"))
    results.bring_alignment(panel.logic.sittingWith(parameters).choices, folder, panel.logic.fingerprint("align", panel.logic.inputs(parameters), parameters))
    results.bring_result(panel.logic.sittingWith(parameters).choices, folder, panel.logic.fingerprint("predict", panel.logic.inputs(parameters), parameters))
    panel.logic.sitting.last_result = folder
    panel.go("explain")
    return parameters


def ask_for(panel, key):
    """A further map, as a person asks for it."""
    page = panel.pages["explain"].ui
    page.furtherBox.currentIndex = [page.furtherBox.itemData(index) for index in range(page.furtherBox.count)].index(key)
    assert page.furtherButton.enabled, page.furtherButton.toolTip
    page.furtherButton.click()
    assert panel.logic.running, "it did not start"


def test_a_further_map_is_made_in_a_child_shown_at_once_and_stands_in_the_report(application, panel, predicted, wait):
    from MRDeltaNetLib.mrml.sitting import further, jobs
    from MRDeltaNetPanel.parameters import Map
    before = panel.logic.resultFacts(predicted)
    ask_for(panel, "gradcam")
    assert panel.ui.runRow.visible and not panel.pages["explain"].ui.furtherButton.enabled
    assert panel.pages["explain"].ui.furtherButton.toolTip == "Wait for the run to end, or cancel it."
    assert panel.ui.hintLabel.text == "Working. Cancel stops it; earlier results stay."
    wait(lambda: not panel.logic.running)
    assert not application.dialogs and {"gradcam_pre", "gradcam_post"} <= set(panel.logic.maps(predicted)) and predicted.shownMap is Map.GRADCAM_POST
    assert panel.views.compositeNodes()[1].GetForegroundVolumeID() == panel.logic.maps(predicted)["gradcam_post"].GetID()
    after = panel.logic.resultFacts(predicted)
    assert {name: value for name, value in after.items() if name not in ("maps", "files", "history")} == {
        name: value for name, value in before.items() if name not in ("maps", "files", "history")}
    assert "Grad-CAM, on the scan after treatment" in predicted.report.GetText() and not panel.logic.situation(predicted).prediction.stale
    assert "gradcam" not in [panel.pages["explain"].ui.furtherBox.itemData(index) for index in range(panel.pages["explain"].ui.furtherBox.count)]
    assert "It shows what speaks for the class" in panel.pages["explain"].ui.mapLabel.text
    assert further.to_repeat(panel.logic.sittingWith(predicted)) == ("gradcam",)
    pair = panel.logic.inputs(predicted)
    assert jobs.entries(panel.logic.sitting, "predict", pair, panel.logic.session.path("x"))["explain_methods"] == ["gradcam"]


def test_a_further_map_that_is_cancelled_leaves_what_was_there_and_what_was_done(application, panel, predicted, wait):
    ask_for(panel, "offered")
    wait(lambda: "gradients" in panel.ui.runLabel.text.casefold() and panel.ui.progressBar.value > 0)      # after Grad-CAM, long before occlusion
    panel.ui.cancelButton.click()
    wait(lambda: not panel.logic.running)
    there = {name.rsplit("_", 1)[0] for name in panel.logic.maps(predicted)}
    assert {"attention", "change", "gradcam"} <= there and "occlusion" not in there and not application.dialogs
    assert set(panel.logic.resultFacts(predicted)["maps"]) == set(panel.logic.maps(predicted)) and panel.logic.resultFolder(predicted) is not None
    assert panel.pages["explain"].ui.furtherButton.enabled


def test_a_further_map_of_a_damaged_result_is_refused_in_one_dialog(application, panel, predicted, wait):
    (panel.logic.sitting.last_result / "network_input.safetensors").write_bytes(b"damaged")
    ask_for(panel, "null")
    wait(lambda: not panel.logic.running)
    assert len(application.dialogs) == 1 and "MRD-E884" in application.dialogs[0].text and "null_post" not in panel.logic.resultFacts(predicted)["maps"]
