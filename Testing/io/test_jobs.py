"""The job form: one validation for command line, panel and page (case D102)."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path

import pytest

from MRDeltaNetLib.config import STEPS
from MRDeltaNetLib.errors import InputError, UsageError
from MRDeltaNetLib.io.jobs import Job, job_from_mapping, read_job, to_json, write_job

LEAST = {"pre": "a.nii.gz", "post": "b", "out": "result"}


def refused(**given):
    with pytest.raises(UsageError) as caught:
        job_from_mapping({**LEAST, **given})
    assert caught.value.exit_status == 2
    return caught.value


def test_the_least_job_does_everything_with_the_defaults():
    job = job_from_mapping(LEAST)
    assert job == Job(Path("a.nii.gz"), Path("b"), Path("result"))
    assert (job.steps, job.registration, job.bias_correction, job.device, job.seed, job.threads, job.progress) == (STEPS, "rigid", None, "auto", 0, 0, "bar")


def test_what_was_not_given_may_be_none():
    assert job_from_mapping({**LEAST, "pre_mask": None, "seed": None}) == job_from_mapping(LEAST)


def test_paths_in_a_job_file_are_relative_to_the_file(tmp_path, monkeypatch):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "job.json").write_text(json.dumps({**LEAST, "pre": "../a.nii.gz", "model": str(tmp_path / "m")}))
    monkeypatch.chdir(tmp_path)
    job = read_job(Path("jobs/job.json"))
    assert job.pre == tmp_path / "jobs" / ".." / "a.nii.gz" and job.out == tmp_path / "jobs" / "result" and job.model == tmp_path / "m"


FULL = {**LEAST, "pre_series": "1.2.3", "post_series": "1.2.4", "pre_header": "a.dcm", "post_header": "b.dcm", "pre_mask": "m", "post_mask": "n", "residual_mask": "r", "pre_label": 2, "post_label": 3,
        "residual_label": "SCT:86049000", "pre_probability": "p.nrrd", "post_probability": "q.nrrd", "complete_response": True, "mrtrg": 3, "volume_index": 1, "assume_ras": True, "clinical": "c.json", "model": "bundle", "registration": "affine",
        "transform": "registration.tfm", "bias_correction": "fast", "outline_step_mm": 3.5, "explain_methods": ["change", "gradcam", "null"], "members": "first", "device": "cpu", "seed": 2**32 - 1, "threads": 4, "steps": ["align", "predict", "explain"], "no_scene": True, "progress": "json"}


def test_every_field_survives_writing_and_reading(tmp_path):
    assert set(FULL) == {f.name for f in fields(Job)}
    job = job_from_mapping(FULL)
    assert all(getattr(job, f.name) != f.default for f in fields(Job))
    (tmp_path / "job.json").write_text(to_json(job))
    assert job_from_mapping(json.loads(to_json(job))) == job == job_from_mapping({"schema": "mrdeltanet.job/1", **FULL})


@pytest.mark.parametrize("given, code, hint", [(["grad-cam"], "MRD-E723", "'gradcam'"), ([], "MRD-E723", "gradcam"), ("gradcam", "MRD-E405", "list"), ([1], "MRD-E405", "list")])
def test_methods_of_explanation_that_cannot_be_are_refused_with_a_remedy(given, code, hint):
    error = refused(explain_methods=given)
    assert error.code == code and hint in error.fix


def test_methods_of_explanation_without_their_step_are_refused():
    error = refused(explain_methods=["gradcam"], steps=["align", "masks", "predict"])
    assert error.code == "MRD-E408" and "step" in error.what


def test_methods_of_explanation_come_in_one_order_and_once():
    assert job_from_mapping({**LEAST, "explain_methods": ["null", "gradcam", "null"]}).explain_methods == ("gradcam", "null")


def test_a_written_job_means_the_same_wherever_it_lies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_job(job_from_mapping(FULL), tmp_path / "elsewhere" / "job.json")
    job = read_job(tmp_path / "elsewhere" / "job.json")
    assert job.pre == tmp_path / "a.nii.gz" and job.transform == tmp_path / "registration.tfm" and job.seed == 2**32 - 1


ODD_NAMES = ["a; rm -rf ~", "a && b", "`id`", "$(id)", "%PATH%", "two\nlines", "-rf", "--out", "~", "a'b\"c", "ä日本😀", "a#b?c*", "http://host/x", "trailing. ", "..", "x" * 300]


@pytest.mark.parametrize("name", ODD_NAMES, ids=lambda n: f"D102-{n[:12]!r}")
def test_a_path_is_a_name_and_nothing_else(tmp_path, name):
    assert job_from_mapping({**LEAST, "pre": name}).pre == Path(name)
    (tmp_path / "job.json").write_text(to_json(job_from_mapping({**LEAST, "pre": name})), encoding="utf-8")
    assert read_job(tmp_path / "job.json").pre == tmp_path / name


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX only")
def test_d102_a_name_that_is_not_utf8_survives(tmp_path):
    name = os.fsdecode(b"b\xe4d")
    (tmp_path / "job.json").write_text(to_json(job_from_mapping({**LEAST, "pre": name})), encoding="utf-8")
    assert read_job(tmp_path / "job.json").pre == tmp_path / name


@pytest.mark.parametrize("path", ["a\0b", ""], ids=["D102-nul", "D102-empty"])
def test_an_impossible_path_is_refused(path):
    problem = refused(pre_mask=path)
    assert problem.code == "MRD-E409" and "name a file" in problem.fix and "pre_mask" in problem.what


@pytest.mark.parametrize("name, near", [("pre_maks", "pre_mask"), ("--pre-mask", "pre_mask"), ("Seed", "seed"), ("completeresponse", "complete_response"), ("registraton", "registration")],
                         ids=lambda n: f"D102-{n}")
def test_an_unknown_name_is_refused_with_the_nearest_known_one(name, near):
    problem = refused(**{name: 1})
    assert problem.code == "MRD-E403" and f"perhaps '{near}' is meant" in problem.fix


def test_d102_a_name_like_nothing_known_lists_what_is():
    problem = refused(**{"zzzz\x1b[31m" + "y" * 100: 1})
    assert problem.code == "MRD-E403" and "perhaps" not in problem.fix and "pre_mask" in problem.fix and "\x1b" not in str(problem) and len(problem.found) < 50


@pytest.mark.parametrize("lacking", ["pre", "post", "out"], ids=lambda n: f"D101-missing-{n}")
def test_a_job_without_what_is_needed_is_refused(lacking):
    for given in ({k: v for k, v in LEAST.items() if k != lacking}, {**LEAST, lacking: None}, {**LEAST, lacking: ""}):
        with pytest.raises(UsageError) as caught:
            job_from_mapping(given)
        assert caught.value.code == "MRD-E404" and lacking in caught.value.found and "output folder" in caught.value.fix


@pytest.mark.parametrize("name, value, wanted", [
    ("pre", 3, "path"), ("pre_mask", ["a"], "path"), ("seed", "1", "whole number"), ("seed", 1.0, "whole number"), ("seed", True, "whole number"), ("threads", [2], "whole number"),
    ("complete_response", 1, "true or false"), ("complete_response", "yes", "true or false"), ("registration", 1, "text"), ("steps", "align", "list"), ("steps", [1], "list"),
    ("steps", {"align": 1}, "list"), ("pre_series", 1.2, "text"), ("device", {"a": 1}, "text")], ids=lambda v: f"D101-{v!r}" if not isinstance(v, str) else v)
def test_a_value_of_the_wrong_type_is_refused(name, value, wanted):
    problem = refused(**{name: value})
    assert problem.code == "MRD-E405" and wanted in problem.fix and name in problem.what


@pytest.mark.parametrize("name, value", [("threads", -1), ("threads", 10**9), ("seed", -1), ("seed", 2**32), ("seed", 10**30), ("volume_index", -1), ("pre_label", 0), ("pre_label", -1), ("mrtrg", 0), ("mrtrg", 6)],
                         ids=lambda v: f"D102-{v}")
def test_a_number_out_of_range_is_refused_with_the_range(name, value):
    problem = refused(**{name: value, "pre_mask": "m"})
    assert problem.code == "MRD-E406" and "choose a whole number from" in problem.fix


@pytest.mark.parametrize("label", ["", "  ", "x" * 65, "a\nb"])
def test_a_text_that_can_be_no_segments_name_is_refused(label):
    problem = refused(pre_mask="m", pre_label=label)
    assert problem.code == "MRD-E406" and "number" in problem.fix


def test_a_label_is_a_number_a_name_or_a_code():
    for label in (3, "tumour bed", "SCT:86049000"):
        assert job_from_mapping({**LEAST, "pre_mask": "m", "pre_label": label}).pre_label == label
    assert refused(pre_mask="m", pre_label=[1]).code == "MRD-E405"


@pytest.mark.parametrize("value", [0.4, 10.1, -2.0, 2.001, 10**30, float("nan"), float("inf")])
def test_a_step_of_outlines_out_of_range_or_finer_than_its_name_is_refused(value):
    problem = refused(outline_step_mm=value)
    assert problem.code == "MRD-E406" and "from 0.5 to 10" in problem.fix


@pytest.mark.parametrize("value", ["2", True, {"mm": 2}, [2.0]])
def test_a_step_of_outlines_is_a_number(value):
    assert refused(outline_step_mm=value).code == "MRD-E405"


def test_a_whole_step_of_outlines_is_the_same_as_one_with_a_decimal_point():
    assert job_from_mapping({**LEAST, "outline_step_mm": 3}) == job_from_mapping({**LEAST, "outline_step_mm": 3.0})
    assert job_from_mapping({**LEAST, "outline_step_mm": 2}) == job_from_mapping(LEAST)


@pytest.mark.parametrize("name, value, near", [("registration", "Rigid", "rigid"), ("members", "frist", "first"), ("members", "1", ""), ("device", "gpu", ""), ("device", "CUDA", "cuda"), ("bias_correction", "ful", "full"), ("progress", "bars", "bar"),
                                               ("bias_correction", "", ""), ("registration", "rigid; id", "rigid")], ids=lambda v: f"D102-{v}")
def test_a_choice_that_does_not_exist_is_refused(name, value, near):
    problem = refused(**{name: value})
    assert problem.code == "MRD-E406" and "choose one of" in problem.fix and (not near or f"'{near}'" in problem.fix)


@pytest.mark.parametrize("uid", ["", " ", "1" * 129, "1.2\n3"], ids=["D102-empty-uid", "D102-blank-uid", "D102-long-uid", "D102-uid-with-newline"])
def test_what_is_no_uid_is_refused(uid):
    assert refused(pre_series=uid).code == "MRD-E406"


@pytest.mark.parametrize("steps, said", [(["algin"], "'align'"), (["align", "align"], "in this order"), (["predict", "align"], "in this order"), ([], "all"), (["train"], "the steps are")],
                         ids=["D102-typing-error", "D102-twice", "D102-out-of-order", "D102-none", "D102-unknown"])
def test_steps_that_cannot_be_done_are_refused(steps, said):
    problem = refused(steps=steps)
    assert problem.code == "MRD-E407" and said in problem.fix


def test_d102_explaining_needs_predicting():
    problem = refused(steps=["align", "masks", "explain"])
    assert problem.code == "MRD-E408" and "add 'predict'" in problem.fix


def test_d102_leaving_out_the_alignment_needs_an_accepted_one():
    problem = refused(steps=["masks", "predict"])
    assert problem.code == "MRD-E411" and "transform" in problem.fix
    assert job_from_mapping({**LEAST, "steps": ["masks", "predict"], "transform": "registration.tfm"}).steps == ("masks", "predict")


def test_d102_a_transform_must_be_one():
    for name in ("registration.exe", "registration.h5"):              # HDF5 may name other files and claim any size
        problem = refused(transform=name)
        assert problem.code == "MRD-E406" and ".tfm" in problem.found and ".tfm" in problem.fix


def test_d102_a_name_that_is_no_text_is_refused():
    with pytest.raises(UsageError) as caught:
        job_from_mapping({**LEAST, 7: "x"})
    assert caught.value.code == "MRD-E403" and "not text" in caught.value.what


@pytest.mark.parametrize("role", ["pre", "post", "residual"], ids=lambda r: f"D102-{r}")
def test_a_label_needs_its_mask(role):
    problem = refused(**{f"{role}_label": 1})
    assert problem.code == "MRD-E408" and f"{role}_mask" in problem.fix


@pytest.mark.parametrize("content", ["[1]", '"text"', "null"], ids=["D101-list", "D101-text", "D101-null"])
def test_a_job_that_is_no_object_is_refused(tmp_path, content):
    (tmp_path / "job.json").write_text(content)
    with pytest.raises(UsageError) as caught:
        read_job(tmp_path / "job.json")
    assert caught.value.code == "MRD-E405" and '"pre"' in caught.value.fix


def test_d101_a_job_file_is_strict_json(tmp_path):
    (tmp_path / "job.json").write_text('{"pre": "a", "pre": "b", "post": "c", "out": "d"}')
    with pytest.raises(InputError) as caught:
        read_job(tmp_path / "job.json")
    assert caught.value.code == "MRD-E422" and "The job file" in caught.value.what


def test_a_job_of_another_version_is_refused():
    problem = refused(schema="mrdeltanet.job/2")
    assert problem.code == "MRD-E406" and "mrdeltanet.job/1" in problem.fix
