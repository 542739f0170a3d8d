"""`mrdeltanet segment` as a contract: names, exit statuses, files, and silence about the patient; nnU-Net itself is a stand-in."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.io import approvals
from MRDeltaNetLib.io.nnunet_model import digest
from MRDeltaNetLib.mrml.worker import Finished, Progressed, Stopped, Worker
from Testing.mrml.test_worker import gone
from Testing.nnunet_standin import DRAW, THRESHOLD, model_folder, python_that
from Testing.simulated import small_pair, write_pair

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in is a script with a first line that POSIX reads")


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    return write_pair(small_pair(), tmp_path_factory.mktemp("Doe^Jane"))


@pytest.fixture
def call(tmp_path):
    """call("approve", ...) runs `mrdeltanet segment approve ...` with settings of its own; code is what the stand-in for nnU-Net runs."""

    def run(*arguments, code: str = DRAW, **options) -> subprocess.CompletedProcess:
        environment = os.environ | {"MRDELTANET_SETTINGS": str(tmp_path / "settings"), "MRDELTANET_NNUNET_PYTHON": str(python_that(tmp_path / "python", code))}
        return subprocess.run([sys.executable, "-m", "MRDeltaNetLib", "segment", *map(str, arguments)], capture_output=True, text=True, env=environment, **options)

    return run


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A model that somebody has approved: in the settings of `call`, without a process of its own for it."""
    folder = model_folder(tmp_path / "model", own={"order": "LPS", "role": "pre"})
    monkeypatch.setenv("MRDELTANET_SETTINGS", str(tmp_path / "settings"))
    approvals.approve(folder, digest(folder))
    return folder


def test_a_model_is_shown_and_approved_by_its_digest_only_with_yes(tmp_path, call, scans):
    folder = model_folder(tmp_path / "model")
    shown = call("approve", folder)
    assert shown.returncode == 3 and "MRD-E371" in shown.stderr and "SHA-256" in shown.stdout and "Dataset999_Standin" in shown.stdout
    drawing = ("--image", scans["pre"], "--model", folder, "--out", tmp_path / "mask.nrrd", "--progress", "none")
    assert "MRD-E371" in call(*drawing).stderr
    assert "Approved" in call("approve", folder, "--yes").stdout
    assert call(*drawing).returncode == 0
    assert "1 approvals" in call("approve", folder, "--withdraw").stdout
    refused = call(*drawing, "--replace")
    assert refused.returncode == 3 and "MRD-E371" in refused.stderr


def test_a_changed_byte_is_refused_with_its_code(model, call, scans, tmp_path):
    path = model / "plans.json"
    path.write_bytes(path.read_bytes().replace(b"Standin", b"standin"))
    done = call("--image", scans["pre"], "--model", model, "--out", tmp_path / "mask.nrrd", "--progress", "none")
    assert done.returncode == 3 and "MRD-E372" in done.stderr and not (tmp_path / "mask.nrrd").exists()


@pytest.mark.parametrize("ending", [".nrrd", ".nii.gz", ".mha"])
def test_mask_and_probabilities_are_written_on_the_scan_s_grid(model, call, scans, tmp_path, ending):
    done = call("--image", scans["pre"], "--model", model, "--out", tmp_path / f"mask{ending}", "--progress", "none")
    assert done.returncode == 0 and "suggestion to be checked" in done.stdout and "mL" in done.stdout, done.stderr
    scan, mask, share = (sitk.ReadImage(str(path)) for path in (scans["pre"], tmp_path / f"mask{ending}", tmp_path / "mask-probability.nrrd"))
    assert np.array_equal(sitk.GetArrayFromImage(mask), sitk.GetArrayFromImage(scan) > THRESHOLD) and share.GetPixelID() == sitk.sitkFloat32
    for image in (mask, share):
        assert image.GetSize() == scan.GetSize()
        np.testing.assert_allclose(image.GetOrigin(), scan.GetOrigin(), atol=1e-4)
        np.testing.assert_allclose(image.GetDirection(), scan.GetDirection(), atol=1e-6)
    facts = json.loads(share.GetMetaData("mrdeltanet.facts"))
    assert len(facts["model"]["sha256"]) == 64 and "not by a person" in share.GetMetaData("note")
    assert not any("Doe" in share.GetMetaData(key) for key in share.GetMetaDataKeys())


TUMOUR = "share = share * (abs(numpy.arange(share.shape[0]) - share.shape[0] // 2) < 4)[:, None, None].astype('f4')\nfor name, values"


def result_of(tmp_path, scans, name, *more):
    """result.json of a run with the drawn mask, without prediction."""
    (tmp_path / f"{name}.json").write_text(json.dumps({"pre": scans["pre"], "post": scans["post"], "out": name, "registration": "none", "no_scene": True,
                                                       "progress": "none", "steps": ["align", "masks", "report"]} | dict(more)))
    done = subprocess.run([sys.executable, "-m", "MRDeltaNetLib", "run", str(tmp_path / f"{name}.json")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads((tmp_path / name / "result.json").read_text())


def test_a_run_tells_what_drew_and_whether_a_reader_changed_it(model, call, scans, tmp_path):
    """Three ways of one drawing into a run: its own file, a label map without our header, and a corrected copy."""
    done = call("--image", scans["pre"], "--model", model, "--out", tmp_path / "mask.nrrd", "--progress", "json", code=DRAW.replace("for name, values", TUMOUR))
    told = json.loads(done.stdout.splitlines()[-1])["finished"]
    mask = sitk.ReadImage(str(tmp_path / "mask.nrrd"))
    for key in mask.GetMetaDataKeys():
        mask.EraseMetaData(key)
    sitk.WriteImage(mask, str(tmp_path / "bare.nii.gz"))
    edited = sitk.GetArrayFromImage(mask)
    edited[tuple(np.argwhere(edited)[0])] = 0
    changed = sitk.GetImageFromArray(edited)
    changed.CopyInformation(mask)
    sitk.WriteImage(changed, str(tmp_path / "edited.nrrd"))
    share = ("pre_probability", "mask-probability.nrrd")
    for name, wanted, *more in (("mask.nrrd", "automatic"), ("bare.nii.gz", "drawn"), ("bare.nii.gz", "automatic", share), ("edited.nrrd", "edited", share)):
        found = result_of(tmp_path, scans, f"{wanted}{len(more)}-{name[0]}", ("pre_mask", name), *more)
        assert found["mask_sources"]["pre"] == wanted, name
        assert ("MRD-W373" in {warning["code"] for warning in found["warnings"]}) == (wanted == "automatic")
        if wanted != "drawn":
            program = found["mask_programs"]["pre"]
            assert program["model_sha256"] == told["model"]["sha256"] and program["program"] == "nnU-Net" and program["volume_ml"] == told["volume_ml"]
        else:
            assert found["mask_programs"] is None
        assert ("pre_probability" in found["files"]) == bool(more)
    page = (tmp_path / "edited1-e" / "report.html").read_text()
    assert "then edited by a reader" in page and told["model"]["sha256"][:16] in page and "uncertain border" in page
    kept, own = (sitk.ReadImage(str(path)) for path in (tmp_path / "edited1-e" / "pre_probability.nrrd", tmp_path / "mask-probability.nrrd"))
    assert np.array_equal(sitk.GetArrayFromImage(kept), sitk.GetArrayFromImage(own)) and kept.GetOrigin() == own.GetOrigin()
    again = result_of(tmp_path, scans, "again", ("pre_mask", "edited1-e/pre_mask.nrrd"))
    assert again["mask_sources"]["pre"] == "edited" and again["mask_programs"] == json.loads((tmp_path / "edited1-e" / "result.json").read_text())["mask_programs"]


def test_probabilities_of_another_drawing_are_refused(model, call, scans, tmp_path):
    for name, code in (("one", DRAW.replace("for name, values", TUMOUR)), ("two", DRAW.replace("for name, values", TUMOUR.replace("< 4", "< 6")))):
        assert call("--image", scans["pre"], "--model", model, "--out", tmp_path / f"{name}.nrrd", "--progress", "none", code=code).returncode == 0
    given = ("check", "--pre", scans["pre"], "--post", scans["post"], "--pre-mask", str(tmp_path / "one.nrrd"), "--pre-probability")
    for path, code in ((tmp_path / "two-probability.nrrd", "MRD-E390"), (scans["pre"], "MRD-E390"), (tmp_path / "absent.nrrd", "MRD-E100")):
        done = subprocess.run([sys.executable, "-m", "MRDeltaNetLib", *given, str(path)], capture_output=True, text=True)
        assert done.returncode == 3 and code in done.stderr and "Doe" not in done.stderr
    done = subprocess.run([sys.executable, "-m", "MRDeltaNetLib", *given, str(tmp_path / "one-probability.nrrd")], capture_output=True, text=True)
    assert done.returncode == 0 and "mask: automatic" in done.stdout and "MRD-W373" in done.stderr + done.stdout


def test_the_other_scan_is_aligned_for_a_model_of_two_channels(tmp_path, call, scans):
    folder = model_folder(tmp_path / "two", channels=("before", "after"))
    call("approve", folder, "--yes")
    lacking = call("--image", scans["pre"], "--model", folder, "--out", tmp_path / "mask.nrrd", "--progress", "none")
    assert lacking.returncode == 3 and "MRD-E374" in lacking.stderr and "--other" in lacking.stderr
    done = call("--image", scans["pre"], "--other", scans["post"], "--model", folder, "--out", tmp_path / "mask.nrrd", "--progress", "none")
    assert done.returncode == 0, done.stderr
    pair = small_pair()
    truth = sitk.Resample(pair.post, pair.pre, pair.transform_pre_to_post, sitk.sitkLinear, 0.0) > THRESHOLD
    apart = sitk.Resample(pair.post, pair.pre, sitk.Transform(3, sitk.sitkIdentity), sitk.sitkLinear, 0.0) > THRESHOLD
    found, wanted, without = (sitk.GetArrayFromImage(image) > 0 for image in (sitk.ReadImage(str(tmp_path / "mask.nrrd")), truth, apart))
    assert (found == wanted).mean() > max(0.9, (without == wanted).mean())


def test_after_treatment_the_doubts_are_told(model, call, scans, tmp_path):
    done = call("--image", scans["post"], "--role", "post", "--model", model, "--out", tmp_path / "bed.nrrd", "--progress", "json")
    last = json.loads(done.stdout.splitlines()[-1])["finished"]
    assert {warning["code"] for warning in last["warnings"]} >= {"MRD-W370", "MRD-W371"} and last["files"] == ["bed.nrrd", "bed-probability.nrrd"]


@pytest.mark.parametrize("drawn, code", [("share > -1", "MRD-W372"), ("(share > 0.5) & (numpy.arange(share.shape[0])[:, None, None] == share.shape[0] // 2)", "MRD-W308"),
                                         ("share == share.min()", "MRD-W372")], ids=["everything", "one slice", "the air"])
def test_a_drawing_is_judged_as_a_run_would_and_stays(model, call, scans, tmp_path, drawn, code):
    done = call("--image", scans["pre"], "--model", model, "--out", tmp_path / "mask.nrrd", "--progress", "json", code=DRAW.replace("share > 0.5", drawn))
    assert done.returncode == 0 and (tmp_path / "mask.nrrd").exists(), done.stderr
    assert code in {warning["code"] for warning in json.loads(done.stdout.splitlines()[-1])["finished"]["warnings"]}


def test_a_corrected_mask_is_not_replaced_unasked(model, call, scans, tmp_path):
    (tmp_path / "mask.nrrd").write_text("hours of work")
    arguments = ("--image", scans["pre"], "--model", model, "--out", tmp_path / "mask.nrrd", "--progress", "none")
    done = call(*arguments)
    assert done.returncode == 2 and "MRD-E384" in done.stderr and (tmp_path / "mask.nrrd").read_text() == "hours of work"
    assert call(*arguments, "--replace").returncode == 0


@pytest.mark.parametrize("change, status, code", [
    ({"--image": None}, 2, "MRD-E401"), ({"--out": "mask.png"}, 2, "MRD-E384"), ({"--image": "absent.nrrd"}, 3, "MRD-E100"),
    ({"--model": "absent"}, 3, "MRD-E370"), ({"--label": "liver"}, 3, "MRD-E375"), ({"--python": "absent"}, 4, "MRD-E377"),
    ({"--transform": "a.tfm"}, 2, "MRD-E408")])
def test_a_bad_input_gets_its_code_and_status(model, call, scans, tmp_path, change, status, code):
    given = {"--image": scans["pre"], "--model": str(model), "--out": str(tmp_path / "out" / "mask.nrrd"), "--progress": "none"} | change
    done = call(*[part for name, value in given.items() if value is not None for part in (name, value)], cwd=tmp_path)
    assert (done.returncode, code in done.stderr) == (status, True), done.stderr
    assert "Doe" not in done.stderr and str(tmp_path) not in done.stderr


def test_a_place_that_cannot_be_written_to_is_told_before_anything_is_drawn(model, call, scans, tmp_path):
    (tmp_path / "file").write_text("no folder")
    for place in (tmp_path / "file" / "mask.nrrd", os.fsdecode(os.fsencode(tmp_path) + b"/\xff/mask.nrrd")):
        done = call("--image", scans["pre"], "--model", model, "--out", place, "--progress", "none", code=f"open({str(tmp_path / 'started')!r}, 'w')")
        assert done.returncode == 4 and ("MRD-E81" in done.stderr or "MRD-E826" in done.stderr) and not (tmp_path / "started").exists(), done.stderr


def test_the_mask_does_not_replace_the_scan_nor_lie_in_the_model(model, call, scans, tmp_path):
    for out in (shutil.copy(scans["pre"], tmp_path / "scan.nrrd"), model / "mask.nrrd"):
        done = call("--image", tmp_path / "scan.nrrd", "--model", model, "--out", out, "--replace", "--progress", "none")
        assert done.returncode == 4 and "MRD-E821" in done.stderr


@pytest.mark.parametrize("code, status, wanted", [
    ("say(error=dict(code='MRD-E380', what='nnU-Net ran out of memory', found='', fix='', exit_status=5))\nsys.exit(5)", 5, "MRD-E380"),
    ("os.kill(os.getpid(), 9)", 4, "MRD-E871"), (DRAW.replace("share > 0.5", "share > 2"), 3, "MRD-E355")])
def test_a_fault_of_nnunet_gets_its_code_and_nothing_is_written(model, call, scans, tmp_path, code, status, wanted):
    done = call("--image", scans["pre"], "--model", model, "--out", tmp_path / "mask.nrrd", "--progress", "none", code=code)
    assert done.returncode == status and wanted in done.stderr and not list(tmp_path.glob("mask*"))


def test_ctrl_c_stops_the_whole_tree_with_status_6(model, scans, tmp_path):
    pids = tmp_path / "pids"
    program = python_that(tmp_path / "slow", f"import subprocess\nbelow = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
                          f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{below.pid}}')\ntime.sleep(600)")
    running = subprocess.Popen([sys.executable, "-m", "MRDeltaNetLib", "segment", "--image", scans["pre"], "--model", str(model), "--out",
                                str(tmp_path / "mask.nrrd"), "--python", str(program), "--progress", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=os.environ | {"MRDELTANET_SETTINGS": str(tmp_path / "settings")}, text=True)
    until = time.monotonic() + 60
    while not (pids.exists() and len(pids.read_text().split()) == 2) and time.monotonic() < until:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 6 and json.loads(out.splitlines()[-1])["error"]["code"] == "MRD-E890"
    assert all(gone(int(pid)) for pid in pids.read_text().split())


def segment_worker(tmp_path, scans, model, code, monkeypatch) -> Worker:
    """A door's worker with a segmentation that was started."""
    monkeypatch.setenv("MRDELTANET_SETTINGS", str(tmp_path / "settings"))
    from MRDeltaNetLib.io.segment_jobs import segment_job
    worker = Worker(tmp_path / "work")
    worker.start_segmentation(segment_job({"image": scans["pre"], "model": str(model), "out": str(tmp_path / "mask.nrrd"),
                                           "python": str(python_that(tmp_path / "python", code))}))
    return worker


def test_a_door_starts_it_as_a_job_and_hears_how_it_goes(model, scans, tmp_path, monkeypatch):
    worker = segment_worker(tmp_path, scans, model, DRAW, monkeypatch)
    events = worker.wait(120)
    assert isinstance(events[-1], Finished) and events[-1].summary["files"] == ["mask.nrrd", "mask-probability.nrrd"], events
    assert any(isinstance(event, Progressed) and event.message == "Drawing" for event in events) and (tmp_path / "mask.nrrd").exists()
    worker.close()


@pytest.mark.parametrize("ending", ["cancel", "close"])
def test_a_door_that_stops_it_leaves_nothing_running(model, scans, tmp_path, monkeypatch, ending):
    """Cancelled it is asked; closed it is killed, and nnU-Net, which has a group of its own, sees its lifeline end."""
    pids = tmp_path / "pids"
    watch = "import threading\nthreading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()\n"
    worker = segment_worker(tmp_path, scans, model, watch + f"open({str(pids)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)", monkeypatch)
    until = time.monotonic() + 60
    while not (pids.exists() and pids.read_text()) and time.monotonic() < until:
        worker.poll()
        time.sleep(0.05)
    getattr(worker, ending)()
    if ending == "cancel":
        assert isinstance(worker.wait(60)[-1], Stopped)
    assert gone(int(pids.read_text()))
    worker.close()


def test_a_dataset_is_written_from_a_table_by_the_command(call, tmp_path):
    simulate = subprocess.run([sys.executable, "-m", "MRDeltaNetLib", "simulate", "--cases", "2", "--out", str(tmp_path / "cohort"), "--coarse", "--progress", "none"])
    assert simulate.returncode == 0
    table = tmp_path / "cohort" / "cohort.csv"
    done = call("train-dataset", table, "--out", tmp_path / "raw", "--key", tmp_path / "key.csv", "--progress", "none")
    assert done.returncode == 0 and "2 written" in done.stdout and (tmp_path / "key.csv").exists(), done.stderr
    (tmp_path / "cohort" / "case-0001" / "pre.nrrd").unlink()
    failed = call("train-dataset", table, "--out", tmp_path / "raw", "--progress", "none")
    assert failed.returncode == 7 and "MRD-E386" in failed.stderr


def test_the_environment_is_shown_and_kept(call, tmp_path):
    check = "say(finished={'nnunetv2': '2.8.1', 'torch': '2.13.0', 'python': '3.11.7', 'devices': ['cpu']})"
    shown = call("environment", "--python", tmp_path / "python", code=check)
    assert shown.returncode == 0 and "2.8.1" in shown.stdout
    assert json.loads((tmp_path / "settings" / "settings.json").read_text())["nnunet_python"] == str(tmp_path / "python")
    assert call("environment", "--forget", code=check).returncode == 0 and "nnunet_python" not in (tmp_path / "settings" / "settings.json").read_text()
    broken = call("environment", code="say(error=dict(code='MRD-E378', what='No nnunetv2', found='', fix='', exit_status=4))\nsys.exit(4)")
    assert broken.returncode == 4 and "MRD-E378" in broken.stderr


