"""A finished run's folder: what the manifest does not know, or knows otherwise, is refused by name."""

from __future__ import annotations

import json

import pytest

from MRDeltaNetLib.case import Result
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.finished import FinishedRun
from MRDeltaNetLib.io.results import MANIFEST, RESULT, write_results


@pytest.fixture
def folder(tmp_path):
    write_results(Result(), tmp_path / "run", manifest={"inputs": {"pre_sha256": ["ab"]}})
    return tmp_path / "run"


def refused(folder, use=FinishedRun) -> InputError:
    with pytest.raises(InputError) as caught:
        use(folder)
    assert str(folder) not in str(caught.value)
    return caught.value


def test_what_the_run_wrote_is_there_by_name(folder):
    run = FinishedRun(folder)
    assert run.result == json.loads((folder / RESULT).read_text()) == json.loads(run.text) and run.manifest["inputs"] == {"pre_sha256": ["ab"]}
    assert run.holds(RESULT) and run.path(RESULT) == folder / RESULT and run.maps == {}


@pytest.mark.parametrize("name", [MANIFEST, RESULT])
def test_a_folder_without_a_finished_run_says_what_is_missing(folder, name):
    (folder / name).unlink()
    error = refused(folder)
    assert error.code == "MRD-E883" and name in error.found


@pytest.mark.parametrize("text", ["[]", "{}", '{"outputs": []}', '{"outputs": {}}'])
def test_a_manifest_that_is_not_a_runs_is_none(folder, text):
    (folder / MANIFEST).write_text(text)
    assert refused(folder).code == "MRD-E883"


def test_a_file_that_the_run_did_not_write_or_that_was_changed_is_refused_by_name(folder):
    (folder / "attention_pre.nrrd").write_bytes(b"NRRD0004")
    run = FinishedRun(folder)
    assert not run.wrote("attention_pre.nrrd") and not run.holds("attention_pre.nrrd")
    error = refused(folder, lambda _: run.path("attention_pre.nrrd"))
    assert error.code == "MRD-E884" and error.found == "attention_pre.nrrd"
    (folder / RESULT).write_text((folder / RESULT).read_text() + " ")
    assert refused(folder).code == "MRD-E884" and refused(folder).found == RESULT


def test_a_map_s_provenance_says_model_method_resolution_and_normalisation_and_leaves_out_what_is_not_known(tmp_path):
    facts = {"method": "roi_shells", "formula": "f", "unit": "percentage points", "normalisation": "none", "resolution_mm": (8.0, 8.0, 8.0),
             "resolution_note": "one number a region", "numbers": {"shell": 1.0}}
    write_results(Result(model={"name": "m", "version": "1", "weights_sha256": "ab"}, map_facts={"roi_shells_pre": facts}), tmp_path / "run", manifest={})
    run = FinishedRun(tmp_path / "run")
    assert run.provenance("roi_shells_pre") == {
        "model": "m", "model_version": "1", "weights_sha256": "ab", "method": "roi_shells", "formula": "f", "resolution_mm": "8 8 8", "unit": "percentage points",
        "normalisation": "none", "resolution_note": "one number a region"}
    assert run.provenance("gradcam_pre") == {"model": "m", "model_version": "1", "weights_sha256": "ab"}
