"""The command line as a contract: names, exit statuses, progress, and silence about the patient."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from MRDeltaNetLib.progress import json_lines
from Testing.simulated import small_pair, write_pair

COMMAND = [sys.executable, "-m", "MRDeltaNetLib"]


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    return write_pair(small_pair(), tmp_path_factory.mktemp("scans"))


@pytest.fixture(scope="module")
def finished(scans, tmp_path_factory):
    """One finished run with the demo model."""
    out = tmp_path_factory.mktemp("finished") / "result"
    return call(*run_arguments(scans, out)), out


@pytest.fixture(scope="module")
def again(scans, tmp_path_factory):
    """The same run by a job file, in a process that is told to use one thread and to tell its progress as JSON."""
    folder = tmp_path_factory.mktemp("again")
    job = {name: scans[name] for name in ("pre", "post", "pre_mask", "post_mask", "residual_mask")} | {"out": "result", "device": "cpu", "progress": "json"}
    (folder / "job.json").write_text(json.dumps(job))
    one = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")}
    return call("run", folder / "job.json", env=os.environ | one), folder / "result"


def call(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, **options)


def run_arguments(scans: dict, out: Path, *more: str) -> list[str]:
    return ["run", "--pre", scans["pre"], "--post", scans["post"], "--pre-mask", scans["pre_mask"], "--post-mask", scans["post_mask"],
            "--residual-mask", scans["residual_mask"], "--out", str(out), "--device", "cpu", "--progress", "none", *more]


def test_run_prints_the_probability_its_direction_and_where_things_are(finished):
    done, out = finished
    assert done.returncode == 0, done.stderr
    assert "P(pCR) = 0." in done.stdout and "The demo model was trained on simulated pelvises only" in done.stdout and "Research use only" in done.stdout
    for name in ("result.json", "manifest.json", "report.html", "registration.tfm", "pre_common.nrrd", "post_common.nrrd", "pre_mask.nrrd",
                 "post_mask.nrrd", "residual_mask.nrrd", "attention_post.nrrd", "attention_pre.nrrd", "change_post.nrrd", "correspondence.safetensors"):
        assert (out / name).stat().st_size > 0, name


def test_a_finished_run_is_asked_where_the_tumour_bed_looks(finished, scans):
    """The demo model compares within a slice of tokens, so that the answer lies in the slice of the point; the rows are those of three members."""
    import numpy as np
    import SimpleITK as sitk

    bed = sitk.ReadImage(scans["post_mask"])
    middle = np.argwhere(sitk.GetArrayViewFromImage(bed) > 0).mean(0)[::-1]
    point = bed.TransformContinuousIndexToPhysicalPoint(middle.tolist())
    done = call("query", finished[1], "--point", ",".join(map(str, point)), "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    normal = np.array(sitk.ReadImage(scans["pre"]).GetDirection()).reshape(3, 3)[:, 2]
    assert said["sees_image_content"] is True and 0 < said["peak_share"] < 1 and said["spread_mm"] > 1
    assert abs(np.subtract(said["peak_lps_mm"], said["token_lps_mm"]) @ normal) < 1e-6
    facts = json.loads((finished[1] / "result.json").read_text())["maps"]["correspondence"]
    assert facts["members"] == 3 and facts["blocks"] == 6 and facts["tokens"] == [6, 8, 8] and (finished[1] / facts["file"]).stat().st_size < 100 * 1024


def test_headers_another_step_and_one_member_go_through_a_whole_run_and_leave_no_date(finished, scans, tmp_path):
    """The interval is known, the manifest holds the headers' digests and every choice, both files follow their schemas; no output names date or patient."""
    import jsonschema

    from MRDeltaNetLib.resources import resource
    from Testing.io.dicom_files import SECRETS, ramp, save, slice_dataset

    given = {}
    for role, day, series in (("pre", "20230101", "1.2.3.1"), ("post", "20230501", "1.2.3.2")):
        header = slice_dataset(ramp()[0], 0, series=series)
        header.StudyDate = header.SeriesDate = header.AcquisitionDate = day
        given[role] = save(header, tmp_path / f"{role}.dcm")
    out = tmp_path / "out"
    done = call(*run_arguments(scans, out, "--pre-header", str(given["pre"]), "--post-header", str(given["post"]), "--outline-step-mm", "3.5", "--members", "first"))
    assert done.returncode == 0, done.stderr
    result, manifest = (json.loads((out / name).read_text()) for name in ("result.json", "manifest.json"))
    for name, value in (("result", result), ("manifest", manifest)):
        jsonschema.validate(value, json.loads(resource(f"schemas/{name}-1.schema.json").read_text(encoding="utf-8")))
    assert result["interval_days"] == 120 and "both_larger_3.5mm" in result["spread"]["outline_p_pcr"] and result["model"]["members_used"] == 1
    assert "MRD-W718" in {warning["code"] for warning in result["warnings"]} and "MRD-W718" in done.stdout
    assert result["p_pcr"] == pytest.approx(json.loads((finished[1] / "result.json").read_text())["spread"]["member_p_pcr"][0], abs=1e-5)
    assert (manifest["config"]["outline_step_mm"], manifest["config"]["members"]) == (3.5, "first")
    for role, path in given.items():
        assert manifest["inputs"][f"{role}_header_sha256"] == [hashlib.sha256(path.read_bytes()).hexdigest()]
        assert manifest["inputs"][f"{role}_sha256"] == [hashlib.sha256(Path(scans[role]).read_bytes()).hexdigest()]
    for path in out.iterdir():
        content = path.read_bytes()
        assert not [word for word in (*SECRETS, "20230101", "20230501", "2023-01-01", "2023-05-01") if word.encode() in content], path.name


def test_only_the_shipped_model_is_called_the_demo_model():
    from types import SimpleNamespace

    from MRDeltaNetLib.doorway import describe_outcome
    from Testing.made_up_result import complete_result

    result = complete_result(is_demo=True)
    said = "\n".join(describe_outcome(SimpleNamespace(result=result, out=Path("out"), files=())))
    assert "This model was trained on simulated pelvises only" in said and "demo model" not in said


def test_the_manifest_names_every_file_with_its_digest(finished):
    out = finished[1]
    manifest = json.loads((out / "manifest.json").read_text())
    assert set(manifest["outputs"]) == {path.name for path in out.iterdir()} - {"manifest.json"}
    for name, digest in manifest["outputs"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest, name
    assert manifest["versions"]["torch"] and manifest["seed"] == 0 and manifest["config"]["registration"]["method"] == "rigid"


def test_the_same_input_gives_the_same_bytes_by_options_and_by_a_job_file(finished, again):
    """result.json, maps, masks, common grid and transform, in another process with another number of threads."""
    assert again[0].returncode == 0, again[0].stderr
    for path in sorted(finished[1].iterdir()):
        if path.name not in ("manifest.json", "scene.mrb"):
            assert path.read_bytes() == (again[1] / path.name).read_bytes(), path.name


def test_json_progress_is_one_object_a_line_and_ends_with_finished(again):
    lines = [json.loads(line) for line in again[0].stdout.splitlines()]
    assert all(set(line) == {"done", "message"} for line in lines[:-1]) and lines[-1]["finished"]["predicted_class"] in ("pCR", "non-pCR")
    numbers = [line["done"] for line in lines[:-1]]
    assert numbers == sorted(numbers) and numbers[-1] == 1.0


def test_a_job_file_runs_without_a_command_line_library(scans, tmp_path):
    job = {"pre": scans["pre"], "post": scans["post"], "out": str(tmp_path / "out"), "steps": ["align"], "progress": "json"}
    (tmp_path / "job.json").write_text(json.dumps(job))
    code = ("import sys\nclass No:\n    def find_spec(self, name, path=None, target=None):\n        if name.split('.')[0] in ('typer', 'rich', 'click'): raise ImportError(name)\n"
            f"sys.meta_path.insert(0, No())\nsys.argv = ['x', 'run', {str(tmp_path / 'job.json')!r}]\nfrom MRDeltaNetLib.__main__ import main\nmain()")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["finished"]["p_pcr"] is None


def test_step_by_step_equals_all_at_once(finished, scans, tmp_path):
    """Align first, accept the transform, then go on: panel and page work so."""
    first = {name: scans[name] for name in ("pre", "post", "pre_mask", "post_mask", "residual_mask")}
    (tmp_path / "1.json").write_text(json.dumps(first | {"out": "aligned", "steps": ["align", "masks"], "progress": "none"}))
    (tmp_path / "2.json").write_text(json.dumps(first | {"out": "done", "steps": ["masks", "predict"], "progress": "none", "transform": "aligned/registration.tfm",
                                                         "device": "cpu"}))
    assert call("run", tmp_path / "1.json").returncode == 0
    done = call("run", tmp_path / "2.json")
    assert done.returncode == 0 and "MRD-W610" not in done.stdout, done.stderr
    whole, steps = (json.loads((place / "result.json").read_text()) for place in (finished[1], tmp_path / "done"))
    assert steps["p_pcr"] == pytest.approx(whole["p_pcr"], abs=1e-9)


def test_an_alignment_made_with_other_masks_is_called_stale(scans, tmp_path):
    base = {"pre": scans["pre"], "post": scans["post"], "progress": "none"}
    (tmp_path / "1.json").write_text(json.dumps(base | {"out": "aligned", "steps": ["align"]}))
    (tmp_path / "2.json").write_text(json.dumps(base | {"out": "done", "steps": ["masks"], "pre_mask": scans["pre_mask"], "transform": "aligned/registration.tfm"}))
    assert call("run", tmp_path / "1.json").returncode == 0
    done = call("run", tmp_path / "2.json")
    assert done.returncode == 0 and "MRD-W610" in done.stdout and "align again" in done.stdout.lower()


def test_an_accepted_alignment_stays_fresh_through_a_chain_of_jobs_and_is_stale_once_a_bed_is_drawn(scans, tmp_path):
    base = {"pre": scans["pre"], "post": scans["post"], "pre_mask": scans["pre_mask"], "progress": "none"}
    jobs = {"1": {"out": "a", "steps": ["align", "masks"]}, "2": {"out": "b", "steps": ["masks"], "transform": "a/registration.tfm"},
            "3": {"out": "c", "steps": ["masks"], "transform": "b/registration.tfm"},
            "4": {"out": "d", "steps": ["masks"], "transform": "b/registration.tfm", "post_mask": scans["post_mask"]}}
    told = {}
    for name, choices in jobs.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(base | choices))
        done = call("run", tmp_path / f"{name}.json")
        assert done.returncode == 0, done.stderr
        told[name] = "MRD-W610" in done.stdout
    assert told == {"1": False, "2": False, "3": False, "4": True}


def test_check_writes_nothing_and_says_what_it_found(scans, tmp_path):
    before = sorted(Path(scans["pre"]).parent.iterdir())
    done = call("check", "--pre", scans["pre"], "--post", scans["post"], "--pre-mask", scans["pre_mask"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "96 x 96 x 20 voxels" in done.stdout and "mask: drawn" in done.stdout
    assert sorted(Path(scans["pre"]).parent.iterdir()) == before and not list(tmp_path.iterdir())


def test_check_names_every_problem_at_once(scans, tmp_path):
    (tmp_path / "empty.nrrd").write_bytes(b"")
    done = call("check", "--pre", tmp_path / "empty.nrrd", "--post", scans["post"], "--post-mask", tmp_path / "empty.nrrd")
    assert done.returncode == 3 and done.stderr.count("What to do:") == 2


def test_check_refuses_what_run_refuses_for_lack_of_a_mask(scans, tmp_path):
    given = ["--pre", scans["pre"], "--post", scans["post"]]
    checked, done = call("check", *given), call("run", *given, "--out", tmp_path / "out", "--progress", "none")
    assert checked.returncode == done.returncode == 3 and "MRD-E336" in checked.stderr and "MRD-E336" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt", reason="file names as on POSIX")
def test_a_folder_whose_name_a_console_cannot_show_ends_a_run_in_order(scans, tmp_path):
    out = tmp_path / "ä 日本 🙂 'q' $(x)\nnew"
    job = {"pre": scans["pre"], "post": scans["post"], "pre_mask": scans["pre_mask"], "out": str(out), "registration": "none", "steps": ["align", "masks", "report"]}
    (tmp_path / "job.json").write_text(json.dumps(job))
    done = call("run", tmp_path / "job.json", env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and "\\xe4" in done.stdout, done.stderr
    assert (out / "manifest.json").exists()


@pytest.mark.skipif(os.name == "nt", reason="file names as on POSIX")
def test_an_output_folder_whose_name_is_not_unicode_is_refused_before_anything_is_computed(scans, tmp_path):
    out = os.fsencode(tmp_path) + b"/o\xff/out"
    done = call(*run_arguments(scans, os.fsdecode(out)))
    assert done.returncode == 4 and "MRD-E826" in done.stderr and not os.path.exists(os.path.dirname(out))


@pytest.mark.skipif(os.name == "nt", reason="signals as on POSIX")
@pytest.mark.parametrize("wait_s", [0.2, 0.4, 0.6])
def test_ctrl_c_while_packages_load_ends_with_status_6_and_no_traceback(scans, tmp_path, wait_s):
    code = "import signal, sys\nfrom MRDeltaNetLib.__main__ import main\nprint('ready', flush=True)\nmain()"
    process = subprocess.Popen([sys.executable, "-c", code, *run_arguments(scans, tmp_path / "out")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(wait_s)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 6 and "MRD-E890" in errors and "Traceback" not in errors
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt", reason="signals as on POSIX")
@pytest.mark.parametrize("arm", ["doorway.interruptible()", "doorway.stoppable(lambda done, message: None); doorway.PATIENCE_S = 0.01"])
def test_a_stop_waits_until_a_package_has_loaded_and_then_comes(tmp_path, arm):
    """A native library whose loading is broken off ends the process by a fault of memory."""
    (tmp_path / "slow_package.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\nfor _ in range(30): time.sleep(0.01)\nprint('loaded', flush=True)\n", encoding="utf-8")
    code = (f"import time\nfrom MRDeltaNetLib import doorway\n{arm}\ntry:\n    import slow_package\n    time.sleep(5)\n"
            "except (KeyboardInterrupt, doorway.Stop) as stop:\n    print(type(stop).__name__)\nelse:\n    print('never stopped')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
                          env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])})
    assert done.stdout.split() == ["loaded", "KeyboardInterrupt" if "interruptible" in arm else "Stop"], done.stdout + done.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals as on POSIX")
@pytest.mark.parametrize("arm", ["doorway.interruptible()", "doorway.stoppable(lambda done, message: None); doorway.PATIENCE_S = 0.01"])
def test_a_stop_of_which_native_code_makes_another_error_is_still_a_stop(arm):
    code = (f"import os, signal, sys, time\nfrom MRDeltaNetLib import doorway\n{arm}\ndef work():\n    try:\n        os.kill(os.getpid(), signal.SIGINT)\n"
            "        time.sleep(5)\n    except BaseException:\n        raise ValueError('swallowed')\nsys.exit(doorway.guarded(work, 'none'))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 6 and "MRD-E890" in done.stderr


def test_a_reader_that_leaves_is_no_fault_of_ours(scans):
    process = subprocess.Popen([*COMMAND, "check", "--pre", scans["pre"], "--post", scans["post"], "--pre-mask", scans["pre_mask"]],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait() == 6 and errors == ""


def test_a_line_of_progress_that_says_nothing_new_is_not_written_again():
    """A wait for another process tells its progress many times a second, only to hear of a stop."""
    stream = io.StringIO()
    report = json_lines(stream)
    for done, message in ((0.0, "Starting"), (0.0, "Starting"), (0.5, "Drawing"), (0.50000001, "Drawing"), (0.0, "Starting")):
        report(done, message)
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [{"done": 0.0, "message": "Starting"}, {"done": 0.5, "message": "Drawing"},
                                                                              {"done": 0.0, "message": "Starting"}]


def test_progress_without_a_terminal_or_without_rich_is_one_line_a_step(capsys, monkeypatch):
    from MRDeltaNetLib.doorway import progress_for
    for blocked in (False, True):
        if blocked:
            monkeypatch.setitem(sys.modules, "rich.progress", None)
        with progress_for("bar") as progress:
            for done, message in ((0.0, "Aligning"), (0.1, "Aligning"), (0.5, "Predicting")):
                progress(done, message)
        assert capsys.readouterr().err.splitlines() == ["  0 %  Aligning", " 50 %  Predicting"]


@pytest.mark.parametrize("content", ["[1, 2]", '{"registration": 3}', '{"registration": {"masks_left_out_sha256": "x"}}', "no JSON", '{"a": "' + "x" * 2**20 + '"}'])
def test_a_foreign_result_beside_a_transform_says_nothing_about_its_masks(tmp_path, content):
    from MRDeltaNetLib.io.jobs import job_from_mapping
    from MRDeltaNetLib.runner import _earlier_alignment
    job = job_from_mapping({"pre": "a", "post": "b", "out": "c", "steps": ["masks"], "transform": str(tmp_path / "registration.tfm")})
    assert _earlier_alignment(job) is None
    (tmp_path / "result.json").write_text(content)
    assert _earlier_alignment(job) is None


def test_the_model_s_folder_is_no_output_folder(scans, tmp_path):
    done = call(*run_arguments(scans, tmp_path / "bundle" / "out"), "--model", tmp_path / "bundle") if (tmp_path / "bundle").mkdir() is None else None
    assert done.returncode == 4 and "MRD-E821" in done.stderr and not list((tmp_path / "bundle").iterdir())


@pytest.mark.parametrize("whole", [True, False])
def test_where_no_scene_can_be_written_the_run_ends_well_and_says_so_once(scans, tmp_path, monkeypatch, whole):
    """Slicer's PythonSlicer has a package slicer that lacks the classes of Slicer's modules. Whoever wants no scene hears nothing of it."""
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
    from MRDeltaNetLib.io.jobs import job_from_mapping
    from MRDeltaNetLib.runner import run_job
    if not whole:
        monkeypatch.delattr(slicer, "vtkSlicerSegmentationsModuleLogic")
    given = {name: scans[name] for name in ("pre", "post", "pre_mask", "post_mask")} | {"steps": ["align", "masks", "report"], "registration": "none", "progress": "none"}
    plain, without = (run_job(job_from_mapping(given | {"out": str(tmp_path / str(no_scene)), "no_scene": no_scene})) for no_scene in (False, True))
    assert ("scene.mrb" in plain.files) is whole and (tmp_path / "False" / "scene.mrb").exists() is whole
    assert [notice.code for notice in plain.result.warnings].count("MRD-W801") == (0 if whole else 1)
    assert "scene.mrb" not in without.files and "MRD-W801" not in [notice.code for notice in without.result.warnings]


@pytest.mark.parametrize("arguments, status", [
    (["run"], 2), (["run", "--pre", "a"], 2), (["run", "--device", "tpu"], 2), (["frobnicate"], 2), (["simulate", "--cases", "0", "--out", "x"], 2),
    (["run", "--pre", "nowhere.nrrd", "--post", "nowhere.nrrd", "--out", "x"], 3), (["model", "verify", "nowhere"], 3),
    (["run", "nowhere.json"], 3)])
def test_exit_statuses_of_wrong_calls(arguments, status, tmp_path):
    done = call(*arguments, cwd=tmp_path)
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stderr.strip() and "Traceback" not in done.stderr and not (tmp_path / "x").exists()


def test_a_device_that_is_not_there_is_an_error_and_never_replaced(scans, tmp_path):
    import torch
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    done = call(*run_arguments(scans, tmp_path / "out"), "--device", "cuda")
    assert done.returncode == 4 and not (tmp_path / "out" / "result.json").exists()


@pytest.mark.skipif(os.name == "nt", reason="signals as on POSIX")
def test_sigterm_stops_the_work_with_status_6_and_leaves_no_half_result(scans, tmp_path):
    process = subprocess.Popen([*COMMAND, *run_arguments(scans, tmp_path / "out")[:-2], "--progress", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if json.loads(line).get("done", 0) > 0.05:
            break
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 6, errors
    assert time.monotonic() - started < 30 and json.loads(output.splitlines()[-1])["error"]["code"] == "MRD-E890"
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_help_imports_nothing_heavy():
    code = "import sys; sys.argv=['mrdeltanet','--help']\nfrom MRDeltaNetLib.__main__ import main\ntry: main()\nexcept SystemExit: pass\nprint(sorted({'torch','monai','SimpleITK','numpy','slicer','pydicom'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_libraries_are_told_how_to_use_threads_before_they_load_and_a_user_s_own_choice_stays():
    code = ("import os, sys; sys.argv = ['mrdeltanet', '--help']\nfrom MRDeltaNetLib.__main__ import THREADS, main\nassert 'numpy' not in sys.modules\n"
            "try: main()\nexcept SystemExit: pass\nprint([os.environ[name] for name in THREADS])")
    plain = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS")}
    for own, told in ({}, ["passive", "1"]), ({"OMP_WAIT_POLICY": "active", "OPENBLAS_NUM_THREADS": "3"}, ["active", "3"]):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=plain | own)
        assert done.stdout.splitlines()[-1] == str(told), done.stderr


def test_info_lists_versions_and_devices_without_the_machine_s_name():
    import platform
    done = call("info")
    assert done.returncode == 0 and "SimpleITK" in done.stdout and "cpu" in done.stdout
    assert platform.node() not in done.stdout.split()


def test_model_verify_accepts_the_demo_bundle_and_refuses_a_changed_copy(tmp_path):
    import shutil
    from MRDeltaNetLib.resources import DEMO_BUNDLE, resource
    done = call("model", "verify", resource(DEMO_BUNDLE))
    assert done.returncode == 0 and "Held-out AUC" in done.stdout, done.stderr
    shutil.copytree(resource(DEMO_BUNDLE), tmp_path / "copy")
    with open(tmp_path / "copy" / "models" / "model.safetensors", "r+b") as file:
        file.seek(-5, os.SEEK_END)
        file.write(b"\x00\x01\x02")
    done = call("model", "verify", tmp_path / "copy")
    assert done.returncode == 3 and "MRD-E503" in done.stderr


def test_no_output_holds_a_path_of_the_input(finished, scans):
    out = finished[1]
    folder = str(Path(scans["pre"]).parent).encode()
    for path in out.iterdir():
        assert folder not in path.read_bytes(), path.name


@pytest.mark.skipif(os.name == "nt", reason="signals as on POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_heard_by_work_that_never_tells_its_progress(number):
    """A package that loads, or one long batch, asks nobody whether to go on."""
    code = ("import time\nfrom MRDeltaNetLib import doorway\nfrom MRDeltaNetLib.cli.options import guarded\ndoorway.PATIENCE_S = 0.2\n"
            "def work():\n    bar = doorway.stoppable(lambda *_: None)\n    bar(0.0, 'begun')\n    print('begun', flush=True)\n    time.sleep(60)\n"
            "raise SystemExit(guarded(work))\n")
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(number)
    assert "MRD-E890" in process.communicate(timeout=30)[1] and process.returncode == 6


@pytest.mark.skipif(os.name == "nt", reason="signals as on POSIX")
def test_a_stop_inside_code_that_a_native_library_runs_has_status_6(tmp_path):
    """Of `python -m`: Python ends by SIGINT after a KeyboardInterrupt in PyRun_String, even if somebody caught it."""
    code = ("import ctypes, signal\nfrom MRDeltaNetLib import doorway\nfrom MRDeltaNetLib.cli.options import guarded\ndoorway.PATIENCE_S = 0.2\n"
            "def work():\n    doorway.stoppable(lambda *_: None)\n    signal.raise_signal(signal.SIGTERM)\n"
            "    run = ctypes.pythonapi.PyRun_String\n    run.restype, run.argtypes = ctypes.py_object, [ctypes.c_char_p, ctypes.c_int, ctypes.py_object, ctypes.py_object]\n"
            "    run(b'import time; time.sleep(30)', 257, {}, {})\n"
            "raise SystemExit(guarded(work))\n")
    (tmp_path / "stopped.py").write_text(code)
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).resolve().parents[1])])
    done = subprocess.run([sys.executable, "-m", "stopped"], capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": paths})
    assert done.returncode == 6 and "MRD-E890" in done.stderr


def test_a_stop_that_comes_too_late_breaks_nothing_off():
    code = ("import os, signal, time\nfrom MRDeltaNetLib import doorway\nfrom MRDeltaNetLib.cli.options import guarded\ndoorway.PATIENCE_S = 0.2\n"
            "def work():\n    doorway.stoppable(lambda *_: None)(0.0, 'begun')\n    signal.raise_signal(signal.SIGTERM)\n    return 0\n"
            "status = guarded(work)\ntime.sleep(0.5)\nraise SystemExit(status)\n")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0


def test_check_takes_a_label_by_number_or_name_a_grade_and_says_what_is_wrong_with_an_outline(scans, tmp_path):
    """The tumour's label map with a second label; a number of digits is a label's value, any other text a segment's name."""
    import numpy as np
    import SimpleITK as sitk

    mask = sitk.ReadImage(scans["pre_mask"])
    values = sitk.GetArrayFromImage(mask)
    values[8:11, 1:7, 1:7] = 2                                                  # in the air
    two = sitk.GetImageFromArray(values)
    two.CopyInformation(mask)
    sitk.WriteImage(two, str(tmp_path / "two.nrrd"))
    assert (values == 1).any() and np.any(values == 2)
    given = ("check", "--pre", scans["pre"], "--post", scans["post"], "--pre-mask", tmp_path / "two.nrrd")
    assert call(*given).returncode == 3 and "MRD-E311" in call(*given).stderr
    good = call(*given, "--pre-label", "1", "--mrtrg", "2")
    assert good.returncode == 0 and "Nothing is refused" in good.stdout and "MRD-E" not in good.stderr
    assert "MRD-E319" in call(*given, "--pre-label", "2").stderr
    assert "MRD-E312" in call(*given, "--pre-label", "tumour").stderr
    wrong = call(*given, "--pre-label", "1", "--mrtrg", "6")
    assert wrong.returncode == 2 and "MRD-E406" in wrong.stderr and "from 1 to 5" in wrong.stderr


def test_the_demos_seed_chooses_the_patient_and_nothing_of_the_run(tmp_path, monkeypatch):
    """The panel runs the same pair with a job's own seed, and one pair has one number."""
    from typer.testing import CliRunner

    from MRDeltaNetLib.cli import app, patient
    from MRDeltaNetLib.cohort import simulation
    from MRDeltaNetLib.io.jobs import Job
    seen = {}
    names = ("pre", "post", "pre_mask", "post_mask", "residual_mask")
    monkeypatch.setattr(simulation, "write_pair", lambda folder, *, seed, setting: seen.update(pair=seed) or {name: folder / f"{name}.nrrd" for name in names})
    monkeypatch.setattr(patient, "_run", lambda job: seen.update(job=job.seed) or 0)
    done = CliRunner().invoke(app, ["demo", "--out", str(tmp_path), "--seed", "21", "--progress", "none"])
    assert done.exit_code == 0, done.output
    assert seen == {"pair": 21, "job": Job.seed}
