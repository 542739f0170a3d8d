"""The walk from Scans to Report in the stand-in window, with the real pipeline in its child process."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from MRDeltaNetLib.io.jobs import read_job
from MRDeltaNetLib.runner import run_job


@pytest.mark.slow
def test_one_button_walks_a_sample_pair_through_and_gives_the_command_line_s_numbers(application, panel, wait, tmp_path):
    panel.pages["scans"].ui.sampleButton.click()
    wait(lambda: not panel.logic.running and panel.step == "explain")
    assert not application.dialogs
    parameters = panel.logic.getParameterNode()
    assert parameters.postVolume.GetParentTransformNode() is parameters.alignment
    steps = panel.logic.look(panel.logic.situation(parameters))
    assert all(steps[key].state.name != "TO_DO" for key in steps)
    shown = panel.logic.resultFacts(parameters)
    job = read_job(panel.logic.session.path("job") / "job.json")
    run_job(replace(job, out=tmp_path / "again", progress="none"))
    assert json.loads((tmp_path / "again" / "result.json").read_text(encoding="utf-8")) == shown
