"""What a run leaves behind: formats, equal bytes, and earlier results that survive every failure."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.case import Correspondence, Result
from MRDeltaNetLib.errors import EnvironmentProblem, MRDeltaNetError, Notice
from MRDeltaNetLib.io import atomic as atomic_module
from MRDeltaNetLib.io import results
from MRDeltaNetLib.io.atomic import sha256
from MRDeltaNetLib.io.correspondence import read_correspondence
from MRDeltaNetLib.io.results import (IMAGE_FILES, MANIFEST, MEASURES, RESULT, check_output_folder, result_json, staged, write_images_and_numbers,
                                      write_manifest, write_results)
from MRDeltaNetLib.resources import resource
from Testing.made_up_result import FAMILIARITY, SPREAD

OBLIQUE = sitk.Euler3DTransform((0, 0, 0), 0.2, -0.3, 0.4).GetMatrix()
DIRECTIONS = {"oblique": OBLIQUE, "left-handed": (-1, 0, 0, 0, 1, 0, 0, 0, 1), "permuted": (0, 0, 1, 1, 0, 0, 0, 1, 0)}
SHA = "0" * 64
DIGESTS = {"pre_sha256": [SHA], "post_sha256": [SHA, SHA]}
MANIFEST_FACTS = {"versions": {"mrdeltanet": "0.1.0", "python": "3.11.9", "torch": None}, "system": {"system": "Linux"}, "device": "cpu", "seed": 3,
                  "config": {"seed": 3, "steps": ["align"]}, "options": {"complete_response": False}, "model": None, "inputs": DIGESTS,
                  "seconds": {"total": 1.5, "steps": {"align": 1.0}}}


def picture(seed, direction=OBLIQUE, mask=False):
    """A made-up image of 9 x 8 x 7 voxels; with metadata that must not be written."""
    values = np.random.default_rng(seed).normal(100, 20, (7, 8, 9)).astype(np.float32)
    image = sitk.GetImageFromArray((values > 100).astype(np.uint8) if mask else values)
    image.SetSpacing((0.7, 0.8, 3.0))
    image.SetOrigin((-12.345678901234, 1 / 3, 55.5))
    image.SetDirection(direction)
    image.SetMetaData("0010|0010", "Doe^Jane")
    return image


def made_up(direction=OBLIQUE):
    """A full Result, all numbers made up."""
    masks = {name: picture(k, direction, mask=True) for k, name in enumerate(("pre_mask", "post_mask", "residual_mask"))}
    others = {name: picture(10 + k, direction) for k, name in enumerate(("pre", "post", "pre_common", "post_common", "attention_pre", "attention_post", "change_post"))}
    facts = {"formula": "s_i / max s", "unit": "share", "resolution_mm": (6.0, 6.0, 6.0), "sees_image_content": True, "largest_token": np.float32(0.25)}
    return Result(p_pcr=np.float32(0.75), p_pcr_low=np.float32(0.5), p_pcr_high=0.875, spread=SPREAD, familiarity=FAMILIARITY, logit=1.0986, threshold=0.5, predicted_class="pCR",
                  measures={"pre_volume_ml": 20.0, "post_volume_ml": np.float64(5.0), "volume_change_percent": -75.0, "residual_volume_ml": None},
                  response={"lesion_size_bed": "smaller", "lesion_volume_bed": "smaller", "lesion_size_residual": None, "lesion_volume_residual": None,
                            "scope": "one lesion", "nadir": "two visits", "thresholds": {"diameter_decrease_percent": -30.0}},
                  features={name: {"surface_mm2": np.float64(900.0), "sphericity": 0.8, "mean_z": None} for name in ("pre", "post", "post_change")}, mrtrg=2,
                  registration={"method": "rigid", "refined_without_tumour": True, "rotation_deg": 3.25, "masks_left_out_sha256": {"pre": SHA, "post": None}},
                  warnings=(Notice("MRD-W338", "The visits are 400 days apart <b>&", "look"),), images=masks | others,
                  transform=sitk.Euler3DTransform((1, 2, 3), 0.1, 0.2, 0.1 / 3, (0.1, 1e-9, 1 / 3)),
                  model={"name": "demo", "version": "0.1.0", "weights_sha256": SHA, "is_demo": True, "held_out_auc_ci": [0.8, 0.9], "card": "# Card", "device": "cpu"},
                  map_facts={name: facts for name in ("attention_pre", "attention_post", "change_post")},
                  history=({"step": "align", "parameters": {"method": "rigid", "crop_mm": (96.0, 96.0)}, "seconds": 12.5},), interval_days=80,
                  mask_sources={"pre": "drawn", "post": "carried"})


def schema(name):
    return json.loads(resource(f"schemas/{name}").read_text(encoding="utf-8"))


def follows(value, name):
    jsonschema.Draft202012Validator.check_schema(schema(name))
    jsonschema.validate(value, schema(name), jsonschema.Draft202012Validator)


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def test_every_file_is_there_the_manifest_last_and_nothing_else(tmp_path):
    names = write_results(made_up(), tmp_path / "out", manifest=MANIFEST_FACTS)
    assert names[-1] == MANIFEST and set(names) == {*IMAGE_FILES.values(), RESULT, MANIFEST, MEASURES, "registration.tfm"}
    assert set(os.listdir(tmp_path / "out")) == set(names)


def test_result_and_manifest_follow_their_schemas(tmp_path):
    write_results(made_up(), tmp_path, manifest=MANIFEST_FACTS)
    follows(json.loads((tmp_path / RESULT).read_text()), "result-1.schema.json")
    follows(json.loads((tmp_path / MANIFEST).read_text()), "manifest-1.schema.json")


def looking() -> Correspondence:
    """Two tokens that look at each other, 8 voxels of 1 mm apart."""
    return Correspondence(np.array([[[0, 1], [1, 0]]], np.float16), (1, 1, 2), sitk.Image(16, 4, 2, sitk.sitkUInt8), "position", 3)


def test_the_correspondence_is_written_named_among_the_maps_and_digested(tmp_path):
    names = write_results(replace(made_up(), correspondence=looking()), tmp_path, manifest=MANIFEST_FACTS)
    said = json.loads((tmp_path / RESULT).read_text())
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    follows(said, "result-1.schema.json")
    follows(manifest, "manifest-1.schema.json")
    facts = said["maps"]["correspondence"]
    assert "correspondence.safetensors" in names and manifest["outputs"]["correspondence.safetensors"] == sha256(tmp_path / facts["file"])
    assert facts["sees_image_content"] is False and facts["members"] == 3 and facts["resolution_mm"] == [8.0, 4.0, 2.0] and "not by the images" in facts["compared"]
    assert np.array_equal(read_correspondence(tmp_path / facts["file"]).shares, looking().shares)


def test_why_there_is_no_correspondence_is_said_and_an_earlier_run_s_goes(tmp_path):
    write_results(replace(made_up(), correspondence=looking()), tmp_path, manifest=MANIFEST_FACTS)
    write_results(replace(made_up(), no_correspondence="it compares no places"), tmp_path, manifest=MANIFEST_FACTS)
    said = json.loads((tmp_path / RESULT).read_text())
    follows(said, "result-1.schema.json")
    assert said["maps"]["correspondence"] == {"file": None, "why": "it compares no places"} and not (tmp_path / "correspondence.safetensors").exists()


@pytest.mark.parametrize("entry", [{"file": None}, {"file": "other.safetensors"}, {"file": "correspondence.safetensors"}])
def test_the_schema_refuses_a_correspondence_that_is_half_said(entry):
    said = result_json(made_up())
    with pytest.raises(jsonschema.ValidationError):
        follows({**said, "maps": {**said["maps"], "correspondence": entry}}, "result-1.schema.json")


EARLIER = Path(__file__).with_name("earlier") / "result-of-version-0.1.0.json"


def test_a_result_of_the_first_version_still_follows_the_schema_and_gives_its_alignment_on():
    """It has no range and no light; written by the program as it was then."""
    earlier = json.loads(EARLIER.read_text(encoding="utf-8"))
    assert "p_pcr_low" not in earlier and earlier["p_pcr"] > 0
    follows(earlier, "result-1.schema.json")


def test_an_alignment_of_the_first_version_is_recognised_beside_its_transform(tmp_path):
    from MRDeltaNetLib import runner
    from MRDeltaNetLib.io.jobs import Job

    (tmp_path / RESULT).write_bytes(EARLIER.read_bytes())
    job = Job(pre="pre.nrrd", post="post.nrrd", out=str(tmp_path / "out"), transform=str(tmp_path / "registration.tfm"), steps=("masks", "predict"))
    found = runner._earlier_alignment(job)
    assert found["masks_left_out_sha256"] == json.loads(EARLIER.read_text())["registration"]["masks_left_out_sha256"]


@pytest.mark.parametrize("without", ["p_pcr_high", "spread", "familiarity"])
def test_a_range_comes_whole_or_not_at_all(without):
    with pytest.raises(jsonschema.ValidationError):
        follows({name: value for name, value in result_json(made_up()).items() if name != without}, "result-1.schema.json")


@pytest.mark.parametrize("change", [{"p_pcr_low": -0.1}, {"p_pcr_high": 2}, {"familiarity": {**FAMILIARITY, "light": "blue"}}, {"familiarity": {**FAMILIARITY, "more": 1}},
                                    {"spread": {**SPREAD, "members": 0}}, {"spread": {**SPREAD, "outline_p_pcr": {"both_larger_2mm": 1.5}}}, {"spread": {**SPREAD, "outline_p_pcr": {"else": 0.5}}}])
def test_the_schema_refuses_a_range_or_light_that_is_wrong(change):
    with pytest.raises(jsonschema.ValidationError):
        follows({**result_json(made_up()), **change}, "result-1.schema.json")


def test_range_and_light_are_those_of_the_result():
    found = result_json(made_up())
    assert (found["p_pcr_low"], found["p_pcr_high"]) == (0.5, 0.875) and found["spread"] == SPREAD and found["familiarity"] == FAMILIARITY


def test_a_result_of_nothing_but_a_start_follows_the_schema():
    follows(result_json(Result()), "result-1.schema.json")


@pytest.mark.parametrize("change", [{"p_pcr": 1.5}, {"p_pcr": "0.5"}, {"predicted_class": "responder"}, {"surprise": 1}, {"schema": "mrdeltanet.result/2"},
                                    {"measures": {"volume": 3}}, {"warnings": [{"code": "x", "text": "", "fix": ""}]}, {"history": [{"step": "align", "seconds": 1}]}])
def test_the_schema_refuses_what_is_wrong(change):
    with pytest.raises(jsonschema.ValidationError):
        follows({**result_json(made_up()), **change}, "result-1.schema.json")


@pytest.mark.parametrize("change", [{"inputs": {"pre_sha256": ["/home/doe/a.nii"]}}, {"outputs": {}}, {"outputs": {"result.json": SHA, "/tmp/x": SHA}}, {"seed": -1}, {"path": "/home"}])
def test_the_manifests_schema_refuses_what_is_wrong(change):
    with pytest.raises(jsonschema.ValidationError):
        follows({"schema": "mrdeltanet.manifest/1", **MANIFEST_FACTS, "outputs": {"result.json": SHA}, **change}, "manifest-1.schema.json")


def test_the_numbers_are_those_of_the_result_and_the_direction_is_said():
    found = result_json(made_up())
    assert found["p_pcr"] == 0.75 and type(found["p_pcr"]) is float and found["schema"] == "mrdeltanet.result/1"
    assert "complete response" in found["p_pcr_meaning"] and "never" in found["p_pcr_meaning"]
    assert found["measures"] == {"pre_volume_ml": 20.0, "post_volume_ml": 5.0, "volume_change_percent": -75.0, "residual_volume_ml": None}
    assert found["maps"]["change_post"]["file"] == "change_post.nrrd" and found["maps"]["change_post"]["resolution_mm"] == [6.0, 6.0, 6.0]
    assert found["history"] == [{"step": "align", "parameters": {"method": "rigid", "crop_mm": [96.0, 96.0]}}]
    assert found["transform_file"] == "registration.tfm" and "card" not in found["model"] and "device" not in found["model"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan")])
def test_a_number_that_is_not_finite_is_never_written(tmp_path, value):
    with pytest.raises(MRDeltaNetError) as caught:
        write_results(replace(made_up(), measures={"pre_volume_ml": value}), tmp_path, manifest=MANIFEST_FACTS)
    assert caught.value.code == "MRD-E819" and "pre_volume_ml" in caught.value.found and os.listdir(tmp_path) == []


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_images_come_back_with_the_same_voxels_and_place(tmp_path, direction):
    result = made_up(direction)
    write_images_and_numbers(result, tmp_path)
    for name, file in IMAGE_FILES.items():
        found, wanted = sitk.ReadImage(str(tmp_path / file)), result.images[name]
        assert np.array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(wanted)) and found.GetPixelID() == wanted.GetPixelID()
        for read, meant in ((found.GetOrigin(), wanted.GetOrigin()), (found.GetSpacing(), wanted.GetSpacing()), (found.GetDirection(), wanted.GetDirection())):
            assert np.allclose(read, meant, rtol=0, atol=1e-12)


def test_a_map_says_in_its_header_what_it_is_and_nothing_of_the_patient(tmp_path):
    write_images_and_numbers(made_up(), tmp_path)
    found = sitk.ReadImage(str(tmp_path / "attention_post.nrrd"))
    said = {key: found.GetMetaData(key) for key in found.GetMetaDataKeys()}
    assert said["mrdeltanet_formula"] == "s_i / max s" and said["mrdeltanet_resolution_mm"] == "6 6 6" and said["mrdeltanet_sees_image_content"] == "yes"
    assert "Research use only" in said["mrdeltanet_intended_use"]
    assert "fibrosis" in sitk.ReadImage(str(tmp_path / "post_mask.nrrd")).GetMetaData("mrdeltanet_meaning")
    assert not any(b"Doe" in content or b"0010|0010" in content for content in contents(tmp_path).values())


def composite(*parts):
    return sitk.CompositeTransform(list(parts))


EULER = sitk.Euler3DTransform((1, 2, 3), 0.1, 0.2, 0.1 / 3, (0.1, 1e-9, 1 / 3))
BENT = sitk.BSplineTransformInitializer(sitk.Image(20, 20, 10, sitk.sitkFloat32), (3, 3, 3))
BENT.SetParameters(np.random.default_rng(0).normal(0, 1, len(BENT.GetParameters())).tolist())


@pytest.mark.parametrize("transform, file", [(EULER, "registration.tfm"), (composite(EULER, composite(sitk.TranslationTransform(3, (1, 2, 3)), EULER)), "registration.tfm"),
                                             (BENT, "registration.h5"), (composite(EULER, composite(BENT)), "registration.h5")], ids=["rigid", "nested", "bent", "nested-bent"])
def test_a_transform_comes_back_as_the_same_mapping(tmp_path, transform, file):
    names = write_images_and_numbers(Result(transform=sitk.Transform(transform)), tmp_path)
    found = sitk.ReadTransform(str(tmp_path / file))
    points = np.random.default_rng(1).uniform(0, 15, (20, 3)).tolist()
    assert names == (file, RESULT) and np.allclose([found.TransformPoint(p) for p in points], [transform.TransformPoint(p) for p in points], rtol=0, atol=1e-9)


def test_a_transform_that_cannot_be_written_is_an_error_with_a_remedy(tmp_path, monkeypatch):
    def fails(transform, name):
        raise RuntimeError(f"could not write {name}")

    monkeypatch.setattr(results.sitk, "WriteTransform", fails)
    with pytest.raises(EnvironmentProblem) as caught:
        write_images_and_numbers(Result(transform=EULER), tmp_path)
    assert caught.value.code == "MRD-E825" and "free space" in caught.value.fix and str(tmp_path) not in str(caught.value) and os.listdir(tmp_path) == []


def test_equal_results_give_equal_bytes_in_another_process_with_other_wall_times(tmp_path):
    result = made_up()
    write_images_and_numbers(result, tmp_path / "here")
    slower = replace(result, history=({**result.history[0], "seconds": 99.0},))
    write_images_and_numbers(slower, tmp_path / "again")
    script = ("import sys, importlib.util\nspec = importlib.util.spec_from_file_location('made', sys.argv[1]); made = importlib.util.module_from_spec(spec)\n"
              "spec.loader.exec_module(made); made.write_images_and_numbers(made.made_up(), sys.argv[2])")
    subprocess.run([sys.executable, "-c", script, __file__, str(tmp_path / "there")], cwd=Path(__file__).parents[2], check=True,
                   env={**os.environ, "PYTHONHASHSEED": "7", "LC_ALL": "C", "TZ": "Asia/Tokyo"})
    assert contents(tmp_path / "here") == contents(tmp_path / "again") == contents(tmp_path / "there")


def test_the_manifests_digests_are_those_of_the_files(tmp_path):
    def report(folder):
        (folder / "report.html").write_text("<p>report")
        return ["report.html"]

    names = write_results(made_up(), tmp_path, manifest=MANIFEST_FACTS, also=report)
    outputs = json.loads((tmp_path / MANIFEST).read_text())["outputs"]
    assert set(outputs) == set(names) - {MANIFEST} and "report.html" in outputs
    assert all(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest for name, digest in outputs.items())


def earlier_run(out):
    """A finished earlier run with maps and a report."""
    write_results(made_up(), out, manifest=MANIFEST_FACTS, also=lambda folder: [(folder / "report.html").write_text("old") and "report.html"])
    return contents(out)


def test_a_new_run_replaces_an_earlier_one_and_leaves_none_of_its_files(tmp_path):
    earlier_run(tmp_path)
    check_output_folder(tmp_path)
    names = write_results(Result(p_pcr=0.1), tmp_path, manifest=MANIFEST_FACTS)
    assert set(os.listdir(tmp_path)) == set(names) == {RESULT, MANIFEST} and json.loads((tmp_path / RESULT).read_text())["p_pcr"] == 0.1


def test_a_failure_while_writing_leaves_the_earlier_run_intact(tmp_path):
    before = earlier_run(tmp_path)

    def fails(folder):
        (folder / "report.html").write_text("half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_results(Result(p_pcr=0.1), tmp_path, manifest=MANIFEST_FACTS, also=fails)
    assert contents(tmp_path) == before


def test_a_file_that_cannot_be_moved_leaves_the_earlier_run_intact(tmp_path, monkeypatch):
    before, move, fails_at = earlier_run(tmp_path), os.replace, 0
    for fails_at in range(1, len(before) + 3):                    # every earlier file moves aside, then two new ones move in
        moves = []

        def held(source, target):
            if target.parent == tmp_path or target.parent.name == "earlier":
                moves.append(target)
                if len(moves) == fails_at:
                    raise PermissionError(errno.EACCES, "held open", str(target))
            move(source, target)

        monkeypatch.setattr(atomic_module.os, "replace", held)
        with pytest.raises(EnvironmentProblem) as caught:
            write_results(Result(p_pcr=0.1), tmp_path, manifest=MANIFEST_FACTS)
        monkeypatch.undo()
        assert caught.value.code == "MRD-E811" and "close programs" in caught.value.fix and contents(tmp_path) == before, fails_at


def test_a_run_killed_while_files_change_places_leaves_a_folder_without_manifest(tmp_path, monkeypatch):
    earlier_run(tmp_path)
    script = ("import os, sys; from MRDeltaNetLib.io import atomic, results; from MRDeltaNetLib.case import Result\n"
              "move, moves = os.replace, []\n"
              "def dies(source, target):\n"
              "    if str(target).endswith('out/result.json'): os._exit(9)\n"
              "    move(source, target)\n"
              "atomic.os.replace = dies\n"
              "with results.staged(sys.argv[1]) as folder:\n"
              "    (folder / 'result.json').write_text('{}'); (folder / 'manifest.json').write_text('{}')\n")
    out = tmp_path / "out"
    write_results(made_up(), out, manifest=MANIFEST_FACTS)
    assert subprocess.run([sys.executable, "-c", script, str(out)], cwd=Path(__file__).parents[2]).returncode == 9
    assert not (out / MANIFEST).exists()
    check_output_folder(out)
    write_results(Result(), out, manifest=MANIFEST_FACTS)
    assert (out / MANIFEST).exists()


def test_leftovers_of_killed_runs_are_removed_when_they_are_old(tmp_path):
    old, new = tmp_path / ".writing-old", tmp_path / ".writing-new"
    for place in (old, new):
        place.mkdir()
        (place / "x").write_text("x")
    os.utime(old, (0, 0))
    write_results(Result(), tmp_path, manifest=MANIFEST_FACTS)
    assert not old.exists() and new.exists()


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX only")
def test_a_full_disk_leaves_the_earlier_run_intact_and_says_what_to_do(tmp_path):
    before = earlier_run(tmp_path)
    script = ("import resource, sys, numpy as np, SimpleITK as sitk; from MRDeltaNetLib.io.results import write_results; from MRDeltaNetLib.case import Result\n"
              "from MRDeltaNetLib.errors import EnvironmentProblem\n"
              "image = sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(20, 60, 60)).astype(np.float32))\n"
              "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
              "try: write_results(Result(p_pcr=0.2, images={'pre_common': image}), sys.argv[1], manifest={})\n"
              "except EnvironmentProblem as problem: print(problem)\n")
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert "MRD-E8" in done.stdout and "space" in done.stdout and str(tmp_path) not in done.stdout and contents(tmp_path) == before


def test_a_file_that_is_not_ours_is_never_brought_into_the_folder(tmp_path):
    with pytest.raises(ValueError, match="foreign.txt"):
        with staged(tmp_path) as folder:
            (folder / "foreign.txt").write_text("x")
    assert os.listdir(tmp_path) == []


def refused(out, inputs=()):
    with pytest.raises(EnvironmentProblem) as caught:
        check_output_folder(out, inputs)
    assert str(out) not in str(caught.value)
    return caught.value


def test_checking_an_output_folder_changes_nothing(tmp_path):
    for name in ("new", "new/deep/er", "ä b/日本", "-rf"):
        check_output_folder(tmp_path / name, [tmp_path / "a.nii.gz"])
    (tmp_path / "empty").mkdir()
    check_output_folder(tmp_path / "empty")
    assert os.listdir(tmp_path) == ["empty"] and os.listdir(tmp_path / "empty") == []


def test_an_output_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("x")
    assert refused(tmp_path / "out").code == "MRD-E820" and "folder" in refused(tmp_path / "out").fix
    assert refused(tmp_path / "out" / "deeper").code == "MRD-E812"


def test_an_output_folder_inside_an_input_folder_is_refused(tmp_path):
    (tmp_path / "dicom").mkdir()
    for out in (tmp_path / "dicom", tmp_path / "dicom" / "result", tmp_path / "dicom" / "x" / ".." / "result"):
        problem = refused(out, [tmp_path / "dicom"])
        assert problem.code == "MRD-E821" and "outside" in problem.fix
    check_output_folder(tmp_path / "result", [tmp_path / "dicom"])
    check_output_folder(tmp_path / "dicom-result", [tmp_path / "dicom"])


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_a_scan_that_lies_in_the_output_folder_would_be_replaced_and_is_refused(tmp_path):
    for name in ("pre_common.nrrd", "post_mask.nrrd", "registration.tfm"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(EnvironmentProblem) as caught:
        check_output_folder(tmp_path, [tmp_path / "pre_common.nrrd"])
    assert caught.value.code == "MRD-E821" and "another output folder" in caught.value.fix
    check_output_folder(tmp_path, [tmp_path / "post_mask.nrrd", tmp_path / "registration.tfm"])       # edited and accepted there: they come out again
    check_output_folder(tmp_path / "next", [tmp_path / "pre_common.nrrd"])


def test_an_output_folder_reached_through_a_link_is_seen_through(tmp_path):
    (tmp_path / "dicom").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "dicom")
    assert refused(tmp_path / "link" / "result", [tmp_path / "dicom"]).code == "MRD-E821"
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert refused(tmp_path / "loop" / "result").code.startswith("MRD-E81")


def test_a_folder_with_other_peoples_files_is_refused_and_ours_and_the_systems_are_not(tmp_path):
    earlier_run(tmp_path)
    (tmp_path / ".DS_Store").write_text("x")
    (tmp_path / ".writing-123").mkdir()
    check_output_folder(tmp_path)
    (tmp_path / "thesis.docx").write_text("x")
    problem = refused(tmp_path)
    assert problem.code == "MRD-E822" and "1 other file" in problem.found and "new or empty" in problem.fix
    (tmp_path / "thesis.docx").unlink()
    (tmp_path / "report.html").unlink()
    (tmp_path / "report.html").mkdir()
    assert refused(tmp_path).code == "MRD-E822"


def test_a_write_protected_place_is_refused_before_anything_is_computed(tmp_path, monkeypatch):
    def fails(self, content):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(results.Path, "write_bytes", fails)
    problem = refused(tmp_path / "out")
    assert problem.code == "MRD-E811" and "permission" in problem.fix


def test_an_almost_full_disk_is_refused_before_anything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(results.shutil, "disk_usage", lambda place: type("usage", (), {"free": 1000})())
    problem = refused(tmp_path / "out")
    assert problem.code == "MRD-E824" and "another disk" in problem.fix


def test_the_manifest_alone_is_written_last_by_whoever_adds_files(tmp_path):
    write_images_and_numbers(made_up(), tmp_path)
    assert not (tmp_path / MANIFEST).exists()
    write_manifest({**MANIFEST_FACTS, "outputs": {RESULT: SHA}}, tmp_path)
    follows(json.loads((tmp_path / MANIFEST).read_text()), "manifest-1.schema.json")


def test_a_result_of_version_1_stays_readable():
    follows(json.loads((Path(__file__).parent / "archive" / "result-1.json").read_text(encoding="utf-8")), "result-1.schema.json")


def test_measures_are_a_table_too_sizes_first_with_units_classes_and_the_readers_grade(tmp_path):
    import csv
    result = replace(made_up(), measures={"pre_volume_ml": 20.0, "post_volume_ml": 5.0, "volume_change_ml": -15.0, "volume_change_percent": -75.0,
                                          "pre_short_axis_mm": 20.0, "post_short_axis_mm": 10.0, "short_axis_change_mm": -10.0, "short_axis_change_percent": -50.0,
                                          "residual_volume_ml": None})
    write_results(result, tmp_path, manifest=MANIFEST_FACTS)
    with open(tmp_path / MEASURES, newline="") as stream:
        rows = list(csv.DictReader(stream))
    volume = next(row for row in rows if row["measure"] == "volume")
    assert volume == {"structure": "tumour bed", "measure": "volume", "unit": "mL", "before": "20.0", "after": "5.0", "change": "-15.0", "change_percent": "-75.0", "class": "smaller"}
    assert [row["measure"] for row in rows] == ["longest_in_plane_diameter", "short_axis", "longest_3d_diameter", "volume", "mrTRG", "surface", "sphericity"]
    assert (rows[4]["structure"], rows[4]["after"], rows[5]["unit"], rows[5]["after"]) == ("reader's opinion", "2", "mm2", "900.0")
    assert not any(row["structure"] == "residual tumour" for row in rows)
    assert MEASURES in json.loads((tmp_path / MANIFEST).read_text())["outputs"]


def test_a_run_without_masks_has_no_table_of_measures(tmp_path):
    assert MEASURES not in write_results(replace(made_up(), measures={}), tmp_path, manifest=MANIFEST_FACTS)


@pytest.mark.parametrize("change", [{"mrtrg": 6}, {"mrtrg": 2.5}, {"response": {"lesion_size_bed": "partial response", "scope": "", "nadir": "", "thresholds": {}}},
                                    {"features": {"pre": {"roundness": 1.0}}}, {"features": {"before": {}}}])
def test_the_schema_refuses_grades_classes_and_features_that_there_are_not(change):
    with pytest.raises(jsonschema.ValidationError):
        follows({**result_json(made_up()), **change}, "result-1.schema.json")
