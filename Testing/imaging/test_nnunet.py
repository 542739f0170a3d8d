"""The seam to nnU-Net with a stand-in on its other side: geometry, trust, faults and stops. Real nnU-Net is in test_nnunet_real.py."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.errors import Cancelled, EnvironmentProblem, InputError, OutOfMemory
from MRDeltaNetLib.imaging.nnunet import NnUnetSegmenter, in_order
from MRDeltaNetLib.imaging.nnunet.environment import CHILD, child_variables, find_python, keep
from MRDeltaNetLib.imaging.segmentation import segment
from MRDeltaNetLib.io import approvals
from MRDeltaNetLib.io.nnunet_model import AS_STORED, LPS, RAS, digest, read_nnunet_model
from Testing.imaging.shapes import STORAGES, ellipsoid, grid, on, rotation, stored
from Testing.mrml.test_worker import gone
from Testing.nnunet_standin import DRAW, THRESHOLD, model_folder, python_that

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in is a script with a first line that POSIX reads")

OBLIQUE = grid((40, 36, 12), (0.7, 0.9, 4.0), rotation(0.2, -0.15, 0.3), (5.0, -3.0, 8.0))
TRUTH = ellipsoid(OBLIQUE, (5.0, -3.0, 8.0), (8.0, 7.0, 12.0))
FAULT = "say(error=dict(code='{}', what='x', found='', fix='', exit_status={})); sys.exit({})"


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("MRDELTANET_SETTINGS", str(tmp_path / "settings"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def made(tmp_path):
    """made(code, second=..., label=..., **model) is a segmenter with an approved model, whose child runs that code."""

    def make(code: str = DRAW, *, approved: bool = True, options=None, **model) -> NnUnetSegmenter:
        folder = model_folder(tmp_path / "model", **model)
        if approved:
            approvals.approve(folder, digest(folder))
        return NnUnetSegmenter(read_nnunet_model(folder), python_that(tmp_path / "bin" / "python", code), **(options or {}))

    return make


def scan_of(truth: sitk.Image = TRUTH) -> sitk.Image:
    """Bright where the truth is, with a slope, so that no two places look alike."""
    array = sitk.GetArrayFromImage(truth).astype(np.float32)
    z, y, x = np.meshgrid(*map(np.arange, array.shape), indexing="ij")
    return on(truth, (array * 1.5 * THRESHOLD + (z + 2 * y + 3 * x) / 10).astype(np.float32))


def same_place(first: sitk.Image, second: sitk.Image) -> bool:
    return (first.GetSize(), first.GetSpacing(), first.GetDirection(), first.GetOrigin()) == \
        (second.GetSize(), second.GetSpacing(), second.GetDirection(), second.GetOrigin())


@pytest.mark.parametrize("how", [None, *STORAGES])
@pytest.mark.parametrize("own, reader", [(None, "SimpleITKIO"), ({"order": "LPS"}, "SimpleITKIO"), (None, "NibabelIOWithReorient")])
def test_mask_and_probability_lie_on_the_scan_s_own_grid_voxel_for_voxel(made, how, own, reader):
    scan, truth = scan_of(), TRUTH
    if how:
        scan, truth = stored(scan, *STORAGES[how]), stored(truth, *STORAGES[how])
    segmenter = made(own=own, reader=reader)
    mask = segment(scan, segmenter)
    assert same_place(mask, scan) and same_place(segmenter.drawn.probability, scan) and mask.GetPixelID() == sitk.sitkUInt8
    assert (sitk.GetArrayFromImage(mask) == sitk.GetArrayFromImage(truth)).all()
    wanted = np.clip(sitk.GetArrayFromImage(scan) / (2 * THRESHOLD), 0, 1)
    assert segmenter.drawn.probability.GetPixelID() == sitk.sitkFloat32
    assert np.array_equal(sitk.GetArrayFromImage(segmenter.drawn.probability), wanted)


@pytest.mark.parametrize("order", [LPS, RAS])
@pytest.mark.parametrize("how", STORAGES)
def test_the_network_meets_every_storage_in_one_order(how, order):
    scan = scan_of()
    straight, turned = in_order(scan, order), in_order(stored(scan, *STORAGES[how]), order)
    assert np.array_equal(sitk.GetArrayFromImage(straight), sitk.GetArrayFromImage(turned))
    np.testing.assert_allclose(straight.GetOrigin(), turned.GetOrigin(), atol=1e-9)
    along = np.array(straight.GetDirection()).reshape(3, 3).diagonal()
    assert (along > 0).all() if order == LPS else (along[0] < 0 and along[1] < 0 and along[2] > 0)
    assert in_order(scan, AS_STORED) is scan


def test_what_was_drawn_is_told_in_ml_with_its_uncertain_border(made):
    scan = on(TRUTH, np.where(sitk.GetArrayFromImage(TRUTH) > 0, 1.2 * THRESHOLD, 0.6 * THRESHOLD).astype(np.float32))      # 0.6 and 0.3
    segmenter = made()
    segmenter(scan)
    facts, ml = segmenter.drawn.facts, float(np.prod(scan.GetSpacing())) / 1000
    assert facts["volume_ml"] == pytest.approx(sitk.GetArrayFromImage(TRUTH).sum() * ml, abs=1e-3)
    assert facts["certain_volume_ml"] == 0 and facts["possible_volume_ml"] == pytest.approx(np.prod(scan.GetSize()) * ml, abs=1e-3)
    assert facts["model"]["sha256"] == digest(read_folder(segmenter)).sha256 and facts["nnunetv2"] == "2.8.1" and facts["label"] == "tumour"


def test_a_model_of_two_channels_gets_the_second_scan_on_the_first_one_s_grid(made):
    first, second = on(TRUTH, np.zeros(TRUTH.GetSize()[::-1], np.float32)), scan_of()
    mask = made(channels=("before", "after"), options={"second": second})(first)          # the stand-in draws on the last channel
    assert np.array_equal(sitk.GetArrayFromImage(mask), sitk.GetArrayFromImage(TRUTH))


@pytest.mark.parametrize("channels, second", [(("a",), True), (("a", "b"), False), (("a", "b", "c"), True)])
def test_another_number_of_channels_is_refused_before_anything_starts(made, channels, second):
    with pytest.raises(InputError, match="MRD-E374"):
        made(channels=channels, options={"second": scan_of() if second else None})


def test_a_second_scan_on_another_grid_is_refused(made):
    with pytest.raises(InputError, match="MRD-E374"):
        made(channels=("a", "b"), options={"second": grid((5, 5, 5), (1, 1, 1))})(scan_of())


def test_nothing_is_started_for_a_model_that_nobody_approved(made, tmp_path):
    segmenter = made(f"open({str(tmp_path / 'started')!r}, 'w')", approved=False)
    with pytest.raises(InputError, match="MRD-E371"):
        segmenter(scan_of())
    assert not (tmp_path / "started").exists()


def test_one_changed_byte_and_nothing_is_started(made, tmp_path):
    segmenter = made(f"open({str(tmp_path / 'started')!r}, 'w')")
    checkpoint = read_folder(segmenter) / "fold_0" / "checkpoint_final.pth"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1] + b"!")
    with pytest.raises(InputError, match="MRD-E372"):
        segmenter(scan_of())
    assert not (tmp_path / "started").exists()


def test_a_change_after_the_check_does_not_reach_the_child(made, tmp_path):
    """The child is given the copy that was made while the digest was taken."""
    look = "from pathlib import Path\nassert Path(job['model']) != Path(%r)\n" \
           "open(%r, 'wb').write(b'evil')\nseen = Path(job['model'], 'fold_0', 'checkpoint_final.pth').read_bytes()\nassert b'evil' not in seen\n"
    segmenter = made(look % (str(tmp_path / "model"), str(tmp_path / "model" / "fold_0" / "checkpoint_final.pth")) + DRAW)
    assert sitk.GetArrayFromImage(segmenter(scan_of())).any()
    with pytest.raises(InputError, match="MRD-E372"):
        segmenter(scan_of())


def test_nothing_of_scan_or_model_is_left_behind(made, tmp_path):
    made()(scan_of())
    assert not list(tmp_path.glob("mrd-nnunet-*"))


def test_what_the_child_puts_among_temporary_files_goes_too(made, tmp_path):
    made("import tempfile; tempfile.mkdtemp(prefix='cache')\n" + DRAW)(scan_of())
    assert not list(tmp_path.rglob("cache*"))


def test_a_child_that_is_left_alone_removes_the_scan_and_the_model(tmp_path):
    """Whoever started it was killed: it is the last who knows of the folder."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("import time; print('loading', flush=True); time.sleep(600)")
    for name, stays in (("mrd-nnunet-1", False), ("somebodys-folder", True)):
        work = tmp_path / name
        work.mkdir()
        (work / "scan_0000.nrrd").write_bytes(b"voxels")
        (work / "job.json").write_text(json.dumps({"threads": 1}))
        child = subprocess.Popen([sys.executable, str(CHILD), "predict", str(work / "job.json")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                 start_new_session=True, env=os.environ | {"PYTHONPATH": str(tmp_path)}, cwd=tmp_path)
        assert b"Loading" in child.stdout.readline()
        child.stdin.close()
        child.wait(60)
        child.stdout.close()
        assert (work / "scan_0000.nrrd").exists() == stays


@pytest.mark.parametrize("code, kind, wanted", [
    (FAULT.format("MRD-E380", 5, 5), OutOfMemory, "MRD-E380"), (FAULT.format("MRD-E379", 4, 4), EnvironmentProblem, "MRD-E379"),
    (FAULT.format("MRD-E374", 3, 3), InputError, "MRD-E374"), ("os.kill(os.getpid(), 9)", EnvironmentProblem, "MRD-E871"),
    ("sys.exit(3)", EnvironmentProblem, "MRD-E871"), ("say(finished={})", EnvironmentProblem, "MRD-E382"),
    (DRAW.replace("image.CopyInformation(images[0])", "pass"), EnvironmentProblem, "MRD-E382"),
    (DRAW.replace("share > 0.5", "3 * (share > 0.5)").replace("astype(\"uint8\")", "astype('uint8') * 3"), EnvironmentProblem, "MRD-E382"),
    (DRAW.replace("(\"probability\", share)", "('probability', share * 7)"), EnvironmentProblem, "MRD-E382")])
def test_a_fault_of_the_child_is_told_with_its_code(made, code, kind, wanted):
    with pytest.raises(kind, match=wanted):
        made(code)(scan_of())


def test_an_empty_drawing_is_refused_by_the_step_that_asked_for_it(made):
    with pytest.raises(InputError, match="MRD-E355"):
        segment(on(TRUTH, np.zeros(TRUTH.GetSize()[::-1], np.float32)), made())


def test_a_stop_ends_the_whole_tree_and_removes_the_copies(made, tmp_path):
    pids = tmp_path / "pids"
    segmenter = made(f"import subprocess\nbelow = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
                     f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{below.pid}}')\ntime.sleep(600)")

    def stop(done: float, message: str) -> None:
        if pids.exists() and len(pids.read_text().split()) == 2:
            raise Cancelled

    started = time.monotonic()
    with pytest.raises(Cancelled):
        segmenter(scan_of(), stop)
    assert all(gone(int(pid)) for pid in pids.read_text().split()) and time.monotonic() - started < 60
    assert not list(tmp_path.glob("mrd-nnunet-*"))


# Which Python

def test_the_python_that_is_named_comes_first_then_variable_settings_and_checkout(tmp_path, monkeypatch):
    from MRDeltaNetLib.imaging.nnunet import environment
    places = {name: python_that(tmp_path / name / "bin" / "python") for name in ("given", "variable", "kept", "checkout/.venv-nnunet")}
    monkeypatch.delenv(environment.VARIABLE, raising=False)
    monkeypatch.setattr(environment, "library_folder", lambda: tmp_path / "empty")
    monkeypatch.setattr(environment, "_has", lambda name: False)
    with pytest.raises(EnvironmentProblem, match="(?s)MRD-E377.*make setup-nnunet"):
        find_python()
    monkeypatch.setattr(environment, "library_folder", lambda: tmp_path / "checkout")
    assert find_python() == places["checkout/.venv-nnunet"]
    keep(tmp_path / "kept")
    assert find_python() == places["kept"]
    monkeypatch.setenv(environment.VARIABLE, str(tmp_path / "variable"))
    assert find_python() == places["variable"]
    assert find_python(tmp_path / "given") == places["given"] and find_python(places["given"]) == places["given"]


@pytest.mark.parametrize("name", ["absent", "folder", "file"])
def test_a_python_that_is_none_is_told(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("no program")
    with pytest.raises(EnvironmentProblem, match="MRD-E377") as caught:
        find_python(tmp_path / name)
    assert str(tmp_path) not in caught.value.text()


def test_slicer_s_own_python_is_used_where_the_extension_put_nnunet_there(tmp_path, monkeypatch):
    from MRDeltaNetLib.imaging.nnunet import environment
    monkeypatch.delenv(environment.VARIABLE, raising=False)
    monkeypatch.setattr(environment, "library_folder", lambda: tmp_path)
    there = set()
    monkeypatch.setattr(environment, "_has", there.__contains__)
    for name in ("slicer", "qt"):
        monkeypatch.setitem(environment.sys.modules, name, object())
    with pytest.raises(EnvironmentProblem, match="Extensions Manager"):
        find_python()
    there.add("SlicerNNUNetLib")
    with pytest.raises(EnvironmentProblem, match="open the module nnUNet once"):
        find_python()
    there.add("nnunetv2")
    assert find_python() == Path(environment.sys.executable)
    assert child_variables(find_python())["PATH"] == os.environ["PATH"]


def test_another_python_gets_none_of_our_packages(monkeypatch, tmp_path):
    for name in ("PYTHONPATH", "ITK_AUTOLOAD_PATH"):
        monkeypatch.setenv(name, "ours")
        assert name not in child_variables(tmp_path / "python") and child_variables(Path(sys.executable))[name] == "ours"


def read_folder(segmenter: NnUnetSegmenter) -> Path:
    return segmenter._model.folder


# The child itself, in an environment that lacks something

def child_says(place: Path, *arguments: str) -> dict:
    """The last line of the real child, started by our own Python with place in front of its packages."""
    environment = os.environ | {"PYTHONPATH": str(place)}
    done = subprocess.run([sys.executable, str(CHILD), *arguments], capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, cwd=place)
    return json.loads(done.stdout.splitlines()[-1]) | {"status": done.returncode}


def installed(place: Path, name: str, version: str, code: str = "") -> None:
    (place / f"{name}-{version}.dist-info").mkdir(parents=True)
    (place / f"{name}-{version}.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (place / name).mkdir()
    (place / name / "__init__.py").write_text(code)


def test_a_torch_that_does_not_work_is_told(tmp_path):
    installed(tmp_path, "torch", "9", "raise OSError('libtorch_cuda.so: cannot open shared object file')")
    said = child_says(tmp_path, "check")
    assert said["error"]["code"] == "MRD-E378" and "PyTorch" in said["error"]["what"] and said["status"] == 4 and "libtorch" not in str(said)


@pytest.mark.parametrize("version, code, wanted", [("1.7.1", "", "another version"), ("2.8.1", "raise ImportError('x')", "does not load")])
def test_an_nnunet_that_cannot_be_spoken_to_is_told(tmp_path, version, code, wanted):
    installed(tmp_path, "nnunetv2", version, code)
    said = child_says(tmp_path, "check")
    assert said["error"]["code"] == "MRD-E378" and wanted in said["error"]["what"] and said["status"] == 4


def test_an_environment_without_nnunet_is_told(tmp_path):
    if importlib.util.find_spec("nnunetv2") is not None:
        pytest.skip("this Python has nnunetv2")
    said = child_says(tmp_path, "check")
    assert said["error"]["code"] == "MRD-E378" and "has no nnunetv2" in said["error"]["what"]


def test_a_torchvision_for_cuda_beside_a_torch_for_cpus_is_made_harmless(tmp_path):
    installed(tmp_path, "torchvision", "0.28.0", "import torch\nfor name in ('nms', 'qnms'):\n    torch.library.register_fake(f'torchvision::{name}')(lambda dets, scores, threshold: dets)\n")
    code = f"import importlib.util\nspec = importlib.util.spec_from_file_location('child', {str(CHILD)!r})\nchild = importlib.util.module_from_spec(spec)\n" \
           "spec.loader.exec_module(child)\n{}\nimport torchvision\nprint('loaded')"
    results = [subprocess.run([sys.executable, "-c", code.format(line)], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(tmp_path)})
               for line in ("", "child.mend_torchvision()", "child.mend_torchvision(); child.mend_torchvision()")]
    assert [done.stdout.strip() for done in results] == ["", "loaded", "loaded"], results[1].stderr


def test_a_child_that_is_started_wrongly_says_so(tmp_path):
    assert child_says(tmp_path, "dance")["error"]["code"] == "MRD-E381"


# What the child makes of nnU-Net's answer

LABELS = {"background": 0, "tumour": 1, "rectum": 2, "ignore": 3}
REGIONS = {"labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}, "regions_class_order": [1, 2]}


def test_of_several_labels_the_one_that_is_meant_comes_back_with_its_own_probability():
    from MRDeltaNetLib.imaging.nnunet.child import _of_label
    shares = np.random.default_rng(0).dirichlet([1, 1, 1], (2, 3, 4)).transpose(3, 0, 1, 2)
    labels = shares.argmax(0)
    for name, value in (("tumour", 1), ("rectum", 2)):
        mask, share = _of_label(labels, shares, {"labels": LABELS}, name)
        assert np.array_equal(mask, labels == value) and mask.dtype == np.uint8 and np.array_equal(share, shares[value].astype(np.float32))


def test_a_region_is_where_its_own_probability_is_above_one_half_though_another_covers_it():
    from MRDeltaNetLib.imaging.nnunet.child import _of_label
    shares = np.random.default_rng(1).random((2, 2, 3, 4))                      # one channel a region, in the order of the labels; no background
    for channel, name in enumerate(("whole", "core")):
        mask, share = _of_label(np.zeros((2, 3, 4)), shares, REGIONS, name)
        assert np.array_equal(mask, shares[channel] > 0.5) and np.array_equal(share, shares[channel].astype(np.float32))


@pytest.mark.parametrize("stage, channels, code", [("3d_lowres", 1, "MRD-E370"), (None, 2, "MRD-E374"), (None, 1, None)])
def test_what_only_the_checkpoint_tells_is_refused_before_anything_is_drawn(stage, channels, code):
    from types import SimpleNamespace
    from MRDeltaNetLib.imaging.nnunet.child import Refusal, _check_model
    predictor = SimpleNamespace(configuration_manager=SimpleNamespace(previous_stage_name=stage), dataset_json={"channel_names": {"0": "T2"}})
    if code is None:
        return _check_model(predictor, channels)
    with pytest.raises(Refusal) as caught:
        _check_model(predictor, channels)
    assert caught.value.facts["code"] == code
