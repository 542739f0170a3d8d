"""One form for the command line and the panel, and one validation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from MRDeltaNetLib.errors import InputError, UsageError
from MRDeltaNetLib.io.segment_jobs import SegmentJob, probability_file, read_segment_job, segment_job, write_segment_job

NEEDED = {"image": "scan.nrrd", "model": "model", "out": "mask.nrrd"}


def test_a_job_is_the_same_after_its_file(tmp_path):
    job = segment_job(NEEDED | {"other": "post", "transform": "a.tfm", "role": "post", "label": "tumour", "volume_index": 2, "mirroring": False,
                                "replace": True, "threads": 3, "python": "env", "progress": "json"}, base=tmp_path)
    write_segment_job(job, tmp_path / "job.json")
    assert read_segment_job(tmp_path / "job.json") == job and job.image == tmp_path / "scan.nrrd"


@pytest.mark.parametrize("given, code", [
    ([], "MRD-E405"), ({"image": "a", "model": "b"}, "MRD-E404"), (NEEDED | {"out": ""}, "MRD-E404"), (NEEDED | {"lable": "x"}, "MRD-E403"),
    (NEEDED | {"image": 3}, "MRD-E405"), (NEEDED | {"image": "a\0b"}, "MRD-E409"), (NEEDED | {"mirroring": "no"}, "MRD-E405"),
    (NEEDED | {"threads": True}, "MRD-E405"), (NEEDED | {"threads": -1}, "MRD-E406"), (NEEDED | {"device": "tpu"}, "MRD-E406"),
    (NEEDED | {"role": "mid"}, "MRD-E406"), (NEEDED | {"label": " "}, "MRD-E405"), (NEEDED | {"schema": "mrdeltanet.job/1"}, "MRD-E406"),
    (NEEDED | {"out": "mask.png"}, "MRD-E384"), (NEEDED | {"probability": "p.nii"}, "MRD-E384"), (NEEDED | {"transform": "a.tfm"}, "MRD-E408"),
    (NEEDED | {"other_series": "1.2"}, "MRD-E408")])
def test_what_cannot_be_meant_is_refused(given, code):
    with pytest.raises(UsageError, match=code):
        segment_job(given)


def test_a_typing_error_gets_a_hint_and_broken_json_is_told(tmp_path):
    with pytest.raises(UsageError, match="perhaps 'label'"):
        segment_job(NEEDED | {"lable": "x"})
    (tmp_path / "job.json").write_text(json.dumps(NEEDED)[:-1])
    with pytest.raises(InputError, match="MRD-E420"):
        read_segment_job(tmp_path / "job.json")


@pytest.mark.parametrize("out, wanted", [("a.nrrd", "a-probability.nrrd"), ("a.b.nii.gz", "a.b-probability.nrrd"), ("A.NII", "A-probability.nrrd")])
def test_the_probabilities_go_beside_the_mask(out, wanted):
    assert probability_file(SegmentJob(Path("s"), Path("m"), Path("x") / out)) == Path("x") / wanted
    assert probability_file(SegmentJob(Path("s"), Path("m"), Path(out), probability=Path("p.nrrd"))) == Path("p.nrrd")
