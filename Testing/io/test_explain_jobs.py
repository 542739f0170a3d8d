"""The job of asking a finished run for more maps: read as written, refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from MRDeltaNetLib.errors import MRDeltaNetError
from MRDeltaNetLib.io.explain_jobs import ExplainJob, explain_job, read_explain_job, write_explain_job


@pytest.mark.parametrize("job", [ExplainJob(Path("run")), ExplainJob(Path("run"), ("gradcam", "occlusion"), Path("model"), True, "cpu", "json"), ExplainJob(Path("run"), "all")])
def test_a_job_is_read_as_it_was_written_wherever_the_file_lies(job, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    write_explain_job(job, "elsewhere/job.json")
    monkeypatch.chdir("/")
    read = read_explain_job(tmp_path / "elsewhere" / "job.json")
    assert read.result == tmp_path / "run" and read.methods == job.methods and read.model == (None if job.model is None else tmp_path / "model")
    assert (read.again, read.device, read.progress) == (job.again, job.device, job.progress)


def test_relative_paths_are_relative_to_the_file_and_methods_come_in_their_own_order(tmp_path):
    (tmp_path / "job.json").write_text('{"result": "demo/result", "methods": ["occlusion", "gradcam", "occlusion"]}')
    assert read_explain_job(tmp_path / "job.json") == ExplainJob(tmp_path / "demo" / "result", ("gradcam", "occlusion"))


@pytest.mark.parametrize("given, code", [
    ([], "MRD-E405"), ({}, "MRD-E404"), ({"result": ""}, "MRD-E404"), ({"result": 3}, "MRD-E405"), ({"result": "a\0b"}, "MRD-E409"), ({"result": "r", "method": []}, "MRD-E403"),
    ({"result": "r", "schema": "mrdeltanet.job/1"}, "MRD-E406"), ({"result": "r", "methods": "gradcam"}, "MRD-E405"), ({"result": "r", "methods": []}, "MRD-E723"),
    ({"result": "r", "methods": ["gradcamm"]}, "MRD-E723"), ({"result": "r", "device": "tpu"}, "MRD-E406"), ({"result": "r", "again": 1}, "MRD-E405"),
    ({"result": "r", "progress": True}, "MRD-E405")])
def test_a_job_that_cannot_be_meant_is_refused(given, code):
    with pytest.raises(MRDeltaNetError) as refused:
        explain_job(given)
    assert refused.value.code == code
