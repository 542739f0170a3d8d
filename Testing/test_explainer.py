"""Asking a finished run again: right place, same bytes as in the run, whole or not at all, goes on, refuses in words. Demo model, its stored example."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from MRDeltaNetLib import pipeline
from MRDeltaNetLib.case import NetworkInput, Result
from MRDeltaNetLib.errors import Cancelled, EnvironmentProblem, MRDeltaNetError, UsageError
from MRDeltaNetLib.explainer import asking, explain_result, renewing
from MRDeltaNetLib.io import added_maps
from MRDeltaNetLib.io.atomic import sha256
from MRDeltaNetLib.io.bundle import load_network, read_bundle, rewrite_bundle
from MRDeltaNetLib.io.results import MANIFEST, RESULT, write_results
from MRDeltaNetLib.models import registry
from MRDeltaNetLib.resources import DEMO_BUNDLE, resource
from MRDeltaNetLib.response.attribution import METHODS, Readout, attribute
from Testing.io.test_results import MANIFEST_FACTS, follows
from Testing.made_up_result import CENTRE_MM, GRIDS, empty_image, rigid, voxel_points
from Testing.response.attribution.toys import SPACING_MM, VOXELS, case, linear

REPOSITORY = Path(__file__).resolve().parents[1]
QUICK = ("gradcam", "null")


@pytest.fixture(scope="module")
def bundle():
    return read_bundle(resource(DEMO_BUNDLE))


@pytest.fixture(scope="module")
def run_folder(bundle, tmp_path_factory) -> Path:
    """The folder of a run of the demo model on its stored example, on two made-up scans."""
    network = load_network(bundle, registry.build)
    values = bundle.golden["input"].numpy()
    with torch.inference_mode():
        p_pcr = Readout.of(bundle.own).p_pcr(float(network(bundle.golden["input"].float()[None]).logit))
    grid = crop_around(CENTRE_MM, values.shape[2:], (0.75, 0.75, 3.0), "oblique")
    flat = {visit: empty_image(kind) for visit, kind in (("pre", "left-handed"), ("post", "oblique"))}
    facts = {"formula": "f", "unit": "u", "resolution_mm": (6.0, 6.0, 6.0), "sees_image_content": True}
    result = Result(p_pcr=p_pcr, p_pcr_low=p_pcr, p_pcr_high=p_pcr, threshold=bundle.own["threshold"], model=bundle.public_facts(), transform=rigid(),
                    images={"attention_pre": flat["pre"], "attention_post": flat["post"], "change_post": flat["post"]},
                    map_facts={name: facts for name in ("attention_pre", "attention_post", "change_post")}, network_input=NetworkInput(values, grid),
                    history=({"step": "explain", "parameters": {}},))
    folder = tmp_path_factory.mktemp("run") / "out"
    write_results(result, folder, manifest=MANIFEST_FACTS)
    return folder


@pytest.fixture
def folder(run_folder, tmp_path) -> Path:
    return Path(shutil.copytree(run_folder, tmp_path / "out"))


def crop_around(centre_mm, voxels, spacing_mm, kind: str) -> sitk.Image:
    grid = sitk.Image([int(count) for count in voxels[::-1]], sitk.sitkUInt8)
    grid.SetSpacing(spacing_mm)
    grid.SetDirection([float(value) for value in GRIDS[kind]["direction"]])
    middle = grid.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in grid.GetSize()])
    grid.SetOrigin((np.asarray(centre_mm) - middle).tolist())
    return grid


def said(folder: Path) -> dict:
    return json.loads((folder / RESULT).read_text())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def whole(folder: Path) -> None:
    """Every file is the one that the manifest knows, and both follow their schemas."""
    manifest = json.loads((folder / MANIFEST).read_text())
    assert all(sha256(folder / name) == digest for name, digest in manifest["outputs"].items())
    assert set(manifest["outputs"]) | {MANIFEST} == {path.name for path in folder.iterdir()}
    follows(said(folder), "result-1.schema.json")
    follows(manifest, "manifest-1.schema.json")


# ---- place

@pytest.mark.parametrize("pre, post", [("straight", "oblique"), ("oblique", "left-handed"), ("left-handed", "axis-permuted"), ("axis-permuted", "flipped"),
                                       ("flipped", "straight")])
def test_a_map_lands_on_the_place_that_the_network_read_on_any_scan(pre, post):
    """A network that reads one block of each visit: the map's middle on each scan is that on the crop, through the alignment after treatment."""
    weights, x = torch.zeros(2, *VOXELS), case()
    weights[0, 1:3, 4:8, 5:9] = weights[1, 1:3, 7:10, 8:11] = 0.3
    weights *= torch.sign(x[:, 0])
    grid, scans = crop_around(CENTRE_MM, VOXELS, SPACING_MM, "oblique"), {"pre": empty_image(pre), "post": empty_image(post)}
    seen = NetworkInput(x.numpy().astype(np.float16), grid)
    own = {"recalibration": {"slope": 1.0, "intercept": -float((x[:, 0] * weights).sum())}, "threshold": 0.5}
    on_crop = attribute("occlusion", linear(weights), torch.from_numpy(seen.values.astype(np.float32)), readout=Readout.of(own)).maps
    made = pipeline.method_maps("occlusion", linear(weights), seen, own, scans, rigid(), device="cpu")
    assert set(made) == {"occlusion_pre", "occlusion_post"}
    for visit, block in (("pre", (1.5, 5.5, 6.5)), ("post", (1.5, 8.0, 9.0))):
        image, facts = made[f"occlusion_{visit}"]
        assert image.GetSize() == scans[visit].GetSize() and image.GetDirection() == scans[visit].GetDirection() and image.GetOrigin() == scans[visit].GetOrigin()
        values, crop = np.clip(sitk.GetArrayFromImage(image), 0, None), np.clip(on_crop[visit], 0, None)
        middle = np.tensordot(values, voxel_points(image), 3) / values.sum()
        aim, read = (np.tensordot(crop, voxel_points(grid), 3) / crop.sum(), np.array(grid.TransformContinuousIndexToPhysicalPoint(block[::-1])))
        if visit == "post":
            aim, read = (np.array(rigid().TransformPoint(place.tolist())) for place in (aim, read))
        assert np.linalg.norm(middle - aim) < 1.0, "the map on the scan (voxels up to 5 mm) is the map on the crop"
        assert np.linalg.norm(middle - read) < 4.5, "and lies where the network read: blocks of 9 mm every 6 mm"
        assert facts["unit"].startswith("percentage points") and facts["normalisation"].startswith("none")


def test_both_scans_share_one_scale(folder):
    explain_result(folder, QUICK)
    maps = said(folder)["maps"]
    for key in QUICK:
        tops = [maps[f"{key}_{visit}"]["scale_top"] for visit in ("pre", "post")]
        values = [sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"{key}_{visit}.nrrd"))) for visit in ("pre", "post")]
        assert tops == [1.0, 1.0] and max(one.max() for one in values) <= 1 + 1e-6 and maps[f"{key}_pre"]["normalisation"] == maps[f"{key}_post"]["normalisation"]


# ---- what is written

def test_a_result_gains_its_maps_with_an_entry_each_and_stays_whole(folder):
    before = said(folder)
    done = explain_result(folder, ("gradcam", "roi_shells", "null"))
    whole(folder)
    after = said(folder)
    names = ["gradcam_pre", "gradcam_post", "roi_shells_pre", "roi_shells_post", "null_pre", "null_post"]
    assert list(done.files) == [f"{name}.nrrd" for name in names] and set(after["maps"]) == set(before["maps"]) | set(names)
    assert {name: value for name, value in after.items() if name not in ("maps", "files", "history")} == {
        name: value for name, value in before.items() if name not in ("maps", "files", "history")}
    assert after["maps"]["roi_shells_post"]["numbers"].keys() == {"tumour_bed", "shell", "elsewhere", "whole_visit"} == done.numbers["roi_shells_post"].keys()
    assert after["maps"]["null_pre"]["sees_image_content"] is False and "position" in after["maps"]["null_pre"]["caution"]
    assert [entry["parameters"] for entry in after["history"]] == [{}, {"methods": ["gradcam"]}, {"methods": ["roi_shells"]}, {"methods": ["null"]}]


def test_a_map_s_header_says_method_resolution_unit_and_normalisation(folder):
    explain_result(folder, ["gradcam"])
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(folder / "gradcam_post.nrrd"))
    reader.ReadImageInformation()
    told = {key.removeprefix("mrdeltanet_"): reader.GetMetaData(key) for key in reader.GetMetaDataKeys() if key.startswith("mrdeltanet_")}
    assert told["method"] == "gradcam" and told["resolution_mm"] == "3 3 3" and told["normalisation"].startswith("divided by") and told["toward"] in ("pCR", "non-pCR")
    assert told["unit"] == "share of the largest value on either scan" and "(logit units towards the class" in told["normalisation"]
    assert told["formula"] and told["signed"] == "no" and told["scale_top"] == "1" and "Research use" in told["intended_use"]
    assert reader.GetSize() == empty_image("oblique").GetSize()


def test_a_run_that_was_asked_for_maps_and_one_asked_later_give_the_same_voxels(bundle, folder):
    explain_result(folder, ["relevance"])
    network = load_network(bundle, registry.build)
    seen = asking._run(added_maps.read_run(folder))
    made = pipeline.method_maps("relevance", network, seen.seen, bundle.own, {"pre": empty_image("left-handed"), "post": empty_image("oblique")}, rigid(), device="cpu")
    for name, (image, _) in made.items():
        assert np.array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"{name}.nrrd")))), name


def test_the_same_question_gives_the_same_bytes_and_is_asked_once(folder, tmp_path):
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    first = explain_result(folder, QUICK)
    explain_result(other, QUICK)
    assert {name: data for name, data in contents(folder).items() if name != MANIFEST} == {name: data for name, data in contents(other).items() if name != MANIFEST}
    before = contents(folder)
    again = explain_result(folder, [*QUICK, "attention", "change"])
    assert first.files and not again.files and set(again.kept) == {*QUICK, "attention", "change"} and contents(folder) == before
    anew = explain_result(folder, QUICK, again=True)
    assert anew.files == first.files and {name: data for name, data in contents(folder).items() if name != MANIFEST} == {
        name: data for name, data in before.items() if name != MANIFEST}


def test_a_stopped_command_keeps_finished_methods_and_goes_on(folder, tmp_path):
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    told = []

    def stop(done: float, message: str) -> None:
        told.append((done, message))
        if message.startswith("Null"):
            raise Cancelled()

    with pytest.raises(Cancelled):
        explain_result(folder, QUICK, progress=stop)
    whole(folder)
    assert "gradcam_post" in said(folder)["maps"] and "null_post" not in said(folder)["maps"]
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    done = explain_result(folder, QUICK)
    assert done.kept == ("gradcam",) and done.files == ("null_pre.nrrd", "null_post.nrrd")
    explain_result(other, QUICK)
    assert said(folder) == said(other)


def test_a_process_killed_between_the_last_two_files_is_mended(folder, monkeypatch):
    real = added_maps.replace

    def killed(source: Path, target: Path) -> None:
        if target.name == MANIFEST:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(added_maps, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        explain_result(folder, ["null"])
    monkeypatch.undo()
    assert json.loads((folder / MANIFEST).read_text())["outputs"][RESULT] != sha256(folder / RESULT)
    done = explain_result(folder, ["null"])
    assert done.kept == ("null",) and not done.files
    whole(folder)


@pytest.mark.parametrize("at", ["null_post.nrrd", RESULT])
def test_a_file_that_cannot_be_moved_leaves_the_result_readable(folder, monkeypatch, at):
    before, real = said(folder), added_maps.replace

    def held(source: Path, target: Path) -> None:
        if target.name == at:
            raise PermissionError(13, "held open", str(target))
        real(source, target)

    monkeypatch.setattr(added_maps, "replace", held)
    with pytest.raises(EnvironmentProblem) as caught:
        explain_result(folder, ["null"])
    monkeypatch.undo()
    assert caught.value.code == "MRD-E811" and said(folder) == before and not list(folder.glob(".writing-*"))
    assert explain_result(folder, ["null"]).files
    whole(folder)


def test_a_map_that_was_changed_since_is_made_again(folder):
    explain_result(folder, ["null"])
    (folder / "null_pre.nrrd").write_bytes(b"x")
    assert explain_result(folder, ["null"]).files == ("null_pre.nrrd", "null_post.nrrd")
    whole(folder)


def test_a_method_of_one_scan_alone_is_not_asked_twice(folder, monkeypatch):
    """As on a network that looks at one visit."""
    from MRDeltaNetLib.response.attribution.readout import Found
    one = replace(METHODS["gradcam"], make=lambda network, x, readout, *, progress: Found({"post": np.ones(x.shape[2:], np.float32)}, {"resolution_mm": (3.0, 3.0, 3.0)}))
    monkeypatch.setitem(METHODS, "gradcam", one)
    assert explain_result(folder, ["gradcam"]).files == ("gradcam_post.nrrd",)
    assert explain_result(folder, ["gradcam"]).kept == ("gradcam",)


@pytest.fixture
def reported(bundle, run_folder, tmp_path) -> Path:
    """The run with scans, masks and a report."""
    from MRDeltaNetLib.report.html import write_report
    from Testing.made_up_result import complete_result
    seen, shown = asking._run(added_maps.read_run(run_folder)).seen, complete_result("left-handed", "oblique")
    result = replace(shown, p_pcr=said(run_folder)["p_pcr"], model=bundle.public_facts(), network_input=seen)
    write_results(result, tmp_path / "run", manifest=MANIFEST_FACTS, also=lambda folder: [write_report(result, folder / "report.html").name])
    return tmp_path / "run"


@pytest.fixture
def with_scene(reported) -> Path:
    """The same with a scene."""
    pytest.importorskip("slicer", reason="slicer-core is not installed, so that no scene can be written")
    from MRDeltaNetLib.mrml.scene import write_scene
    result, manifest = on_disk(reported), json.loads((reported / MANIFEST).read_text())
    manifest["outputs"]["scene.mrb"] = sha256(write_scene(result, reported / "scene.mrb", provenance=(reported / RESULT).read_text()))
    (reported / MANIFEST).write_text(json.dumps(manifest))
    return reported


def on_disk(folder: Path) -> Result:
    """A Result of the made-up scans with the maps that the folder holds."""
    from Testing.made_up_result import complete_result
    shown, told = complete_result("left-handed", "oblique"), said(folder)
    maps = {name: sitk.ReadImage(str(folder / file)) for name, file in told["files"].items() if name in told["maps"]}
    return replace(shown, images=dict(shown.images) | maps, map_facts=told["maps"], model=told["model"])


def packed(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as bundle:
        return {name: bundle.read(name) for name in bundle.namelist()}


def test_the_report_gains_the_maps_once_and_stays_else_as_it_was(reported):
    before = (reported / "report.html").read_text()
    explain_result(reported, ["null"])
    first = (reported / "report.html").read_text()
    explain_result(reported, ["null", "counterfactual"])
    whole(reported)
    second = (reported / "report.html").read_text()
    title = "<h3>Null map: outline and position alone, on the scan after treatment</h3>"
    assert title not in before and first.count(title) == second.count(title) == 1 and "Tumour bed as fibrosis, on the scan" in second and "p pcr as fibrosis percent" in second
    begin, end = "<!-- maps -->", "<!-- end of maps -->"
    assert all(text.partition(begin)[0] == before.partition(begin)[0] and text.partition(end)[2] == before.partition(end)[2] for text in (first, second))
    rows = [dict(re.findall(r"<!-- map ([a-z_]+) -->(.*?)<!-- end of map -->", text, re.DOTALL)) for text in (before, second)]
    assert rows[0].keys() == {"attention_pre", "attention_post", "change_post"} and all(rows[1][name] == row for name, row in rows[0].items())
    assert {name for name, row in rows[1].items() if "Made after the run" in row} == {"null_pre", "null_post", "counterfactual_post"} and explain_result(reported, ["null"]).kept == ("null",) and (reported / "report.html").read_text() == second


def test_the_report_shows_maps_and_masks_of_the_second_scan_where_they_lie_in_the_first(reported):
    """Their middles, through the alignment, which the made-up result has to be moved back by."""
    from Testing.made_up_result import complete_result
    shown, given = renewing._on_one_grid(added_maps.read_run(reported)), complete_result("left-handed", "oblique")
    assert set(shown.images) >= {"pre", "post", "pre_mask", "post_mask", "residual_mask", "attention_pre", "attention_post", "change_post"}
    for name, image in shown.images.items():
        assert image.GetSize() == given.images["pre"].GetSize() and image.GetDirection() == pytest.approx(given.images["pre"].GetDirection()), name
        if name in ("pre", "post"):
            continue
        middles = [np.tensordot(values := sitk.GetArrayFromImage(one).astype(float), voxel_points(one), 3) / values.sum() for one in (image, given.images[name])]
        aim = middles[1] if name.endswith("_pre") or name == "pre_mask" else rigid().GetInverse().TransformPoint(middles[1].tolist())
        assert np.linalg.norm(middles[0] - aim) < 1.3, f"{name}: slices are 5 mm thick, and the alignment moves by more"


def test_a_report_that_somebody_changed_or_of_an_earlier_version_stays_as_it_is(reported):
    path, manifest = reported / "report.html", json.loads((reported / MANIFEST).read_text())
    path.write_text(path.read_text() + "mine")
    changed = path.read_text()
    assert explain_result(reported, ["attention"]).notices == (), "no map was added that could be missing there"
    notices = explain_result(reported, ["null"]).notices
    assert path.read_text() == changed and [notice.code for notice in notices] == ["MRD-W726"] and "changed since the run" in notices[0].text
    path.write_text(changed.replace("<!-- maps", "<!-- x"))
    manifest = json.loads((reported / MANIFEST).read_text())
    manifest["outputs"]["report.html"] = sha256(path)
    (reported / MANIFEST).write_text(json.dumps(manifest))
    earlier = path.read_text()
    notices = explain_result(reported, ["counterfactual"]).notices
    assert "earlier version" in notices[0].text and path.read_text() == earlier and "counterfactual_post" in said(reported)["maps"]


def test_a_report_puts_the_maps_in_the_order_of_the_models_verdict(reported, bundle, tmp_path):
    judged = judged_bundle(bundle, tmp_path, default="gradcam", passed=["gradcam"], failed=["attention"])
    explain_result(reported, ["null", "gradcam"], model=judged)
    shown = (reported / "report.html").read_text()
    assert re.findall(r"<!-- map ([a-z_]+) -->", shown) == ["gradcam_pre", "gradcam_post", "change_post", "null_pre", "null_post", "attention_pre", "attention_post"]
    assert "<details><summary>Failed tests of their kind" in shown


def test_the_scene_gains_the_maps_and_is_the_one_that_the_run_would_have_written(with_scene, tmp_path):
    from MRDeltaNetLib.mrml.scene import write_scene
    before = packed(with_scene / "scene.mrb")
    assert explain_result(with_scene, ["gradcam", "counterfactual"]).notices == ()
    whole(with_scene)
    after = packed(with_scene / "scene.mrb")
    assert {name.rsplit("/", 1)[1] for name in after.keys() - before.keys()} == {
        "Pre-treatment Grad-CAM.nrrd", "Post-treatment Grad-CAM.nrrd", "Post-treatment tumour bed as fibrosis.nrrd", "MRDeltaNet blue to orange.csv"}
    assert after == packed(write_scene(on_disk(with_scene), tmp_path / "scene.mrb", provenance=(with_scene / RESULT).read_text()))
    kept = contents(with_scene)
    explain_result(with_scene, ["gradcam"])
    assert contents(with_scene) == kept


def test_a_scene_that_a_stopped_command_left_behind_is_brought_up_to_date_by_the_next(with_scene):
    def stop(done: float, message: str) -> None:
        if message.startswith("Bringing"):
            raise Cancelled()

    before = packed(with_scene / "scene.mrb")
    with pytest.raises(Cancelled):
        explain_result(with_scene, ["null"], progress=stop)
    assert packed(with_scene / "scene.mrb") == before
    assert explain_result(with_scene, ["null"]).kept == ("null",)
    assert any("ull map" in name for name in packed(with_scene / "scene.mrb")) and "<!-- map null_pre -->" in (with_scene / "report.html").read_text()
    whole(with_scene)


def test_a_scene_that_somebody_saved_anew_or_that_cannot_be_written_here_stays_and_it_is_said(with_scene, monkeypatch):
    from MRDeltaNetLib.mrml import bootstrap
    path = with_scene / "scene.mrb"
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(bootstrap, "is_whole", lambda: False)
        (notice,) = explain_result(with_scene, ["null"]).notices
    assert notice.code == "MRD-W726" and "MRML library" in notice.text and "slicer-core" in notice.fix and path.read_bytes() == before
    path.write_bytes(before + b"mine")
    (notice,) = explain_result(with_scene, ["null"]).notices
    assert notice.code == "MRD-W726" and "changed since the run" in notice.text and path.read_bytes() == before + b"mine"


def test_two_processes_that_add_maps_at_the_same_time_forget_none(folder, bundle, monkeypatch):
    """Each takes its time between reading the result and writing it."""
    real = added_maps.as_text
    monkeypatch.setattr(added_maps, "as_text", lambda *given: (time.sleep(0.2), real(*given))[1])
    network, run = load_network(bundle, registry.build), asking._run(added_maps.read_run(folder))
    made = {key: pipeline.method_maps(key, network, run.seen, bundle.own, run.scans, run.transform, device="cpu") for key in ("null", "counterfactual")}
    start = threading.Barrier(2)
    problems = []

    def add(key: str) -> None:
        try:
            start.wait()
            added_maps.add_maps(folder, made[key], history={"step": "explain", "parameters": {"methods": [key]}}, seconds={key: 1.0})
        except Exception as problem:  # noqa: BLE001 a thread's error must reach the test
            problems.append(problem)

    threads = [threading.Thread(target=add, args=(key,)) for key in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems and {"null_pre", "null_post", "counterfactual_post"} <= said(folder)["maps"].keys() and len(said(folder)["history"]) == 3
    whole(folder)


def test_a_lock_that_a_killed_process_left_is_taken_over(folder, monkeypatch):
    monkeypatch.setattr(added_maps, "LOCK_STALE_S", 0.2)
    (folder / added_maps.LOCK).touch()
    assert explain_result(folder, ["null"]).files
    whole(folder)


def test_a_new_run_takes_the_added_maps_away(folder):
    explain_result(folder, ["null"])
    write_results(Result(), folder, manifest=MANIFEST_FACTS)
    assert not (folder / "null_pre.nrrd").exists() and not (folder / "network_input.safetensors").exists()


# ---- refused

def refused(folder: Path, *args, **kwargs) -> MRDeltaNetError:
    before = contents(folder) if folder.is_dir() else {}
    with pytest.raises(MRDeltaNetError) as caught:
        explain_result(folder, *args, **kwargs)
    assert (contents(folder) if folder.is_dir() else {}) == before and str(folder) not in str(caught.value)
    return caught.value


def test_a_folder_that_cannot_be_written_into_is_refused_before_anything_is_computed(folder, monkeypatch):
    from MRDeltaNetLib.io import results

    def held(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(results, "_try_to_write", held)
    monkeypatch.setattr(pipeline, "method_maps", lambda *args, **kwargs: pytest.fail("a map was made in vain"))
    assert refused(folder, QUICK).code == "MRD-E811"


def test_an_unknown_method_is_refused_with_a_guess(folder):
    error = refused(folder, ["grad-cam"])
    assert isinstance(error, UsageError) and error.code == "MRD-E723" and "'gradcam'" in error.fix
    assert refused(folder, []).code == "MRD-E723"


def test_what_is_no_finished_run_is_refused(folder, tmp_path):
    assert refused(tmp_path / "nowhere", QUICK).code == "MRD-E883"
    (folder / MANIFEST).unlink()
    error = refused(folder, QUICK)
    assert error.code == "MRD-E883" and MANIFEST in error.found


def test_a_run_without_what_the_network_saw_is_refused(tmp_path):
    write_results(Result(), tmp_path / "out", manifest=MANIFEST_FACTS)
    error = refused(tmp_path / "out", QUICK)
    assert error.code == "MRD-E726" and "explain" in error.found


@pytest.mark.parametrize("name", ["network_input.safetensors", "registration.tfm", "attention_post.nrrd", RESULT])
def test_a_file_that_was_changed_since_the_run_is_refused(folder, name):
    with (folder / name).open("ab") as file:
        file.write(b"\n")
    error = refused(folder, QUICK)
    assert error.code == "MRD-E884" and error.found == name


def test_another_model_is_refused_by_its_weights(folder, tmp_path):
    result, manifest = said(folder), json.loads((folder / MANIFEST).read_text())
    result["model"] |= {"weights_sha256": "ab" * 32, "name": "ours"}
    (folder / RESULT).write_text(json.dumps(result))
    manifest["outputs"][RESULT] = sha256(folder / RESULT)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    error = refused(folder, QUICK)
    assert error.code == "MRD-E727" and "ours" in error.found and "--model" in error.fix
    assert refused(folder, QUICK, model=tmp_path / "nothing").code == "MRD-E501"


def test_a_bundle_with_another_recalibration_is_refused_by_its_answer(folder, bundle, tmp_path):
    other = Path(shutil.copytree(resource(DEMO_BUNDLE), tmp_path / "bundle"))
    metadata = json.loads(json.dumps(bundle.metadata))
    metadata["mrdeltanet"]["recalibration"]["intercept"] += 1.0
    rewrite_bundle(other, card=bundle.card, metadata=metadata)
    error = refused(folder, QUICK, model=other)
    assert error.code == "MRD-E728" and "P(pCR)" in error.found


def test_a_missing_package_is_told_before_anything_is_computed_and_left_out_of_all(folder, monkeypatch):
    real = pipeline.attribution.missing_package
    monkeypatch.setattr(pipeline.attribution, "missing_package", lambda key: "captum" if key == "integrated_gradients" else real(key))
    error = refused(folder, ["gradcam", "integrated_gradients"])
    assert error.code == "MRD-E801" and "explain" in error.fix
    monkeypatch.setattr(asking, "EXPLAIN_METHODS", ("gradcam", "integrated_gradients"))
    done = explain_result(folder, "all")
    assert set(done.left_out) == {"integrated_gradients"} and "captum" in done.left_out["integrated_gradients"] and done.files


def judged_bundle(bundle, tmp_path: Path, **maps) -> Path:
    """The demo model with a verdict on its maps."""
    judged = Path(shutil.copytree(resource(DEMO_BUNDLE), tmp_path / "judged"))
    metadata = json.loads(json.dumps(bundle.metadata))
    metadata["mrdeltanet"]["maps"] = {"default": None, "passed": [], "failed": []} | maps
    rewrite_bundle(judged, card=bundle.card, metadata=metadata)
    return judged


def test_without_names_what_passed_is_asked_and_nothing_else(folder, bundle, tmp_path):
    done = explain_result(folder, model=judged_bundle(bundle, tmp_path, default="null", passed=["null", "attention"], failed=["gradcam"]))
    assert done.files == ("null_pre.nrrd", "null_post.nrrd") and set(done.kept) == {"attention", "change"}
    assert "did not pass" in done.left_out["gradcam"] and "not judged" in done.left_out["occlusion"]


def test_what_failed_the_models_own_tests_is_left_out_unless_it_is_named_and_then_carries_a_caution(folder, bundle, tmp_path, monkeypatch):
    judged = judged_bundle(bundle, tmp_path, failed=["gradcam"])
    monkeypatch.setattr(asking, "EXPLAIN_METHODS", QUICK)
    done = explain_result(folder, model=judged)
    assert set(done.left_out) == {"gradcam"} and done.files == ("null_pre.nrrd", "null_post.nrrd")
    assert explain_result(folder, ["gradcam"], model=judged).files == ("gradcam_pre.nrrd", "gradcam_post.nrrd")
    said = json.loads((folder / RESULT).read_text())["maps"]
    assert said["gradcam_post"]["caution"].endswith("its card says which") and "its card" not in said["null_post"].get("caution", "")
    whole(folder)


def test_a_method_that_means_nothing_on_the_network_is_told_before_anything_is_computed(folder, monkeypatch):
    monkeypatch.setitem(METHODS, "relevance", replace(METHODS["relevance"], why_not=lambda network: "no attention here"))
    error = refused(folder, ["gradcam", "relevance"])
    assert error.code == "MRD-E724" and error.found == "no attention here"


def test_a_device_that_is_not_there_is_refused(folder):
    assert refused(folder, QUICK, device="abacus").code == "MRD-E701"


# ---- the command

def asked(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "MRDeltaNetLib", "explain", *map(str, arguments)], capture_output=True, text=True, cwd=REPOSITORY)


def test_the_command_adds_maps_and_says_what_it_did(folder):
    done = asked(folder, "--methods", "null,counterfactual", "--progress", "json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["finished"]["files"] == ["counterfactual_post.nrrd", "null_pre.nrrd", "null_post.nrrd"]
    assert lines[-1]["finished"]["numbers"]["counterfactual_post"].keys() >= {"change", "signal_z"} and lines[-2]["done"] == 1.0
    whole(folder)
    again = asked("maps", folder, "--methods", "null")
    assert again.returncode == 0 and "There already: null" in again.stdout


def test_the_command_tells_what_it_could_not_bring_up_to_date_to_people_and_as_json(reported):
    (reported / "report.html").write_text("mine")
    lines = [json.loads(line) for line in asked(reported, "--methods", "null", "--progress", "json").stdout.splitlines()]
    assert [one["code"] for one in lines[-1]["finished"]["warnings"]] == ["MRD-W726"]
    assert "Warning MRD-W726: report.html" in asked(reported, "--methods", "null").stdout


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_a_command_that_is_interrupted_ends_with_status_6_and_leaves_the_result_whole(folder):
    child = subprocess.Popen([sys.executable, "-m", "MRDeltaNetLib", "explain", str(folder), "--methods", "null,occlusion", "--progress", "json"], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, cwd=REPOSITORY)
    for line in child.stdout:
        if "variants asked" in line and not json.loads(line)["message"].startswith("0 of"):
            child.send_signal(signal.SIGINT)
            break
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 6 and "MRD-E890" in out
    whole(folder)
    assert "occlusion_pre" not in said(folder)["maps"] and not list(folder.glob(".writing-*"))


def test_the_command_refuses_with_code_and_status(folder, tmp_path):
    for arguments, code, status in (((folder, "--methods", "x"), "MRD-E723", 2), ((tmp_path,), "MRD-E883", 3), ((folder, "--model", tmp_path), "MRD-E501", 3)):
        done = asked(*arguments)
        assert done.returncode == status and code in done.stderr and not done.stdout


# ---- as a job of another program

def test_a_job_file_asks_as_the_command_does_without_a_command_line_library(folder, tmp_path):
    """As the panel starts it, in a Python without typer."""
    (tmp_path / "job.json").write_text(json.dumps({"result": "out", "methods": ["null"], "progress": "json"}))
    code = ("import sys; sys.modules['typer'] = None; sys.argv = ['m', 'explain', sys.argv[1]]\n"
            "from MRDeltaNetLib.__main__ import main; main()")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "job.json")], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["done"] for line in lines[:-1]] == sorted(line["done"] for line in lines[:-1]) and lines[-2]["done"] == 1.0
    assert lines[-1]["finished"]["files"] == ["null_pre.nrrd", "null_post.nrrd"] and {"null_pre", "null_post"} <= set(said(folder)["maps"])
    whole(folder)


def test_a_job_file_that_is_refused_says_so_in_words(tmp_path):
    (tmp_path / "job.json").write_text(json.dumps({"result": "nowhere", "methods": ["null"], "progress": "json"}))
    done = subprocess.run([sys.executable, "-m", "MRDeltaNetLib", "explain", str(tmp_path / "job.json")], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode != 0 and json.loads(done.stdout.splitlines()[-1])["error"]["code"] == "MRD-E883"
