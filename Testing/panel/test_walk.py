"""The walk from Scans to Report in the stand-in window, with the real pipeline in its child process."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from MRDeltaNetLib.io.jobs import read_job
from MRDeltaNetLib.runner import run_job


@pytest.mark.slow
def test_one_button_walks_a_sample_pair_through_and_gives_the_command_line_s_numbers(application, panel, wait, tmp_path, monkeypatch):
    pages, go = [], panel.go
    monkeypatch.setattr(panel, "go", lambda step: (pages.append(step), go(step)))
    panel.pages["scans"].ui.sampleButton.click()
    wait(lambda: panel.step == "explain")
    assert any(node.GetForegroundVolumeID() for node in panel.views.compositeNodes()[:2])      # the map is shown for a while
    wait(lambda: not panel.walk.goesOn)
    assert pages == ["align", "predict", "explain", "report"] and not application.dialogs
    parameters = panel.logic.getParameterNode()
    assert parameters.postVolume.GetParentTransformNode() is parameters.alignment
    steps = panel.logic.look(panel.logic.situation(parameters))
    assert all(steps[key].state.name != "TO_DO" for key in steps)
    shown = panel.logic.resultFacts(parameters)
    assert shown["p_pcr"] is not None and panel.logic.reportFile(parameters).is_file()
    job = read_job(panel.logic.session.path("job") / "job.json")
    run_job(replace(job, out=tmp_path / "again", progress="none"))
    assert json.loads((tmp_path / "again" / "result.json").read_text(encoding="utf-8")) == shown


@pytest.mark.slow
def test_without_torch_the_walk_goes_past_prediction_to_a_report_without_one(application, panel, wait, monkeypatch):
    from MRDeltaNetPanel import packages
    monkeypatch.setattr(packages, "missing", lambda: ("torch", "monai", "safetensors"))
    panel.pages["scans"].ui.sampleButton.click()
    wait(lambda: not panel.walk.goesOn)
    parameters = panel.logic.getParameterNode()
    assert panel.step == "report" and not application.dialogs
    assert panel.logic.resultFacts(parameters)["p_pcr"] is None and panel.logic.reportFile(parameters).is_file()


@pytest.fixture
def walking(panel, case, monkeypatch):
    """A walk over a case that is there already; its prediction has just been made. What it starts is only written down."""
    started = []
    monkeypatch.setattr(panel, "run", started.append)
    panel.go("predict")
    panel.walk.begin()
    return started


def test_after_the_prediction_the_map_is_shown_and_then_the_report(application, panel, walking, wait):
    panel.walk.finished("predict")
    assert panel.step == "explain" and panel.walk.goesOn
    wait(lambda: panel.step == "report", 20)
    assert not panel.walk.goesOn and not walking


def test_a_reader_who_goes_elsewhere_meanwhile_is_not_fetched_back(application, panel, walking):
    panel.walk.finished("predict")
    panel.go("tumour")
    panel.walk._timer.timeout()
    assert panel.step == "tumour" and not panel.walk.goesOn


def test_a_stopped_walk_starts_nothing_more(application, panel, walking):
    panel.ui.cancelButton.click()
    panel.walk.finished("align")
    assert panel.step == "predict" and not walking


def test_where_nothing_can_follow_the_walk_ends_on_the_page_that_says_why(application, panel, walking):
    panel.parameters.postVolume = None
    panel.walk.finished("sample")
    assert panel.step == "align" and not panel.walk.goesOn and not walking


@pytest.mark.parametrize("end", ["scene", "panel"])
def test_closing_the_scene_or_the_panel_ends_the_walk(application, panel, end):
    panel.go("predict")
    panel.walk.begin()
    panel.walk.finished("predict")
    assert panel.walk.goesOn and panel.step == "explain"
    {"scene": application.clear_scene, "panel": panel.cleanup}[end]()
    assert not panel.walk.goesOn and not panel.walk._timer.isActive()


def test_a_started_run_greys_its_button_at_once_and_tells_nothing_of_the_run_before(application, panel, scans):
    panel.go("align")
    button = panel.pages["align"].ui.alignButton
    panel.ui.runLabel.text, panel.ui.progressBar.value = "Done", 1000
    button.click()
    assert panel.logic.running and not button.enabled and panel.ui.runRow.visible
    assert panel.ui.runLabel.text == "Starting ..." and panel.ui.progressBar.value == 0
    button.click()                                       # the second half of a double click
    assert not application.dialogs
    panel.logic.close()
