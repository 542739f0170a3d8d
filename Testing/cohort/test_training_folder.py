"""A training's folder: killed at any instant and started again, it ends with the bytes of an unbroken one; nothing is half-written, nothing
is mixed, nothing is unpickled."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("lightning.pytorch", reason="training needs the 'cohort' extra")
pytest.importorskip("tensorboard", reason="training in a folder writes TensorBoard's files")

from MRDeltaNetLib.cohort.training import Crops, TrainingConfig, fit, fitting  # noqa: E402
from MRDeltaNetLib.cohort.training.locking import LOCK, folder_lock  # noqa: E402
from MRDeltaNetLib.config import LossConfig  # noqa: E402
from MRDeltaNetLib.errors import Cancelled, EnvironmentProblem, InputError  # noqa: E402
from MRDeltaNetLib.models.registry import build  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("planted", REPOSITORY / "Testing" / "planted.py")
planted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(planted)

CONFIG = TrainingConfig(epochs=3, batch_size=4, learning_rate=2e-3, loss=LossConfig(ramp_epochs=1))

KILLING = """
import importlib.util, os, signal, sys, threading, time
from pathlib import Path
import torch
torch.set_num_threads(1)
spec = importlib.util.spec_from_file_location("folder_tests", sys.argv[1])
tests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tests)
import lightning.pytorch, tensorboard
import MRDeltaNetLib.cohort.training.keeping, MRDeltaNetLib.cohort.training.module
from MRDeltaNetLib.io import atomic
place, died = Path(sys.argv[2]), lambda: os.kill(os.getpid(), signal.SIGKILL)

def training(kind, where):
    tests.fitting.REPORT_EVERY_S = 0.0
    calls = []
    progress = lambda done, message: (calls.append(message), died() if kind == "call" and len(calls) == where else None)
    replace = atomic.replace
    def replacing(temporary, path):
        if kind == "before" and path.name == where: died()
        replace(temporary, path)
        if kind == "after" and path.name == where: died()
    atomic.replace = replacing
    if kind == "time": threading.Timer(where, died).start()
    tests.trained(place, progress=progress)

kills = [("call", 2), ("before", "last.ckpt"), ("after", "last.ckpt"), ("call", 2), ("time", 0.3), ("before", "last.ckpt"), ("call", 4),
         ("after", "weights.safetensors"), ("before", "done.json"), ("none", None)]
for kind, where in kills:
    child = os.fork()
    if child == 0:
        try:
            training(kind, where)
        finally:
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    print(kind, where, "killed" if os.WIFSIGNALED(status) else "ended", flush=True)
"""


def network():
    torch.manual_seed(0)
    return build("deltanet", preset="tiny", crop_mm=(24.0, 24.0, 12.0))


def cases(count: int, seed: int = 0) -> Crops:
    return Crops(*planted.planted_pairs(count, seed))


def trained(folder, config=CONFIG, count=12, **options):
    own = network()
    return own, fit(own, cases(count), cases(8, 1), config, folder=folder, **options)


class Stop(Exception):
    """Raised by a progress callback, as a power cut would."""


def stopping_at(call: int):
    calls = []

    def progress(done, message):
        calls.append(message)
        if len(calls) == call:
            raise Stop

    return progress


@pytest.fixture
def half(tmp_path, monkeypatch):
    """A folder whose training was stopped in its second epoch (three batches an epoch)."""
    monkeypatch.setattr(fitting, "REPORT_EVERY_S", 0.0)
    with pytest.raises(Stop):
        trained(tmp_path, progress=stopping_at(6))
    return tmp_path


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_again_and_again_a_training_ends_with_the_bytes_of_an_unbroken_one(tmp_path):
    threads = torch.get_num_threads()
    done = subprocess.run([sys.executable, "-c", KILLING, str(Path(__file__)), str(tmp_path / "killed")], capture_output=True, text=True,
                          cwd=REPOSITORY, env=os.environ | {"OMP_NUM_THREADS": "1"})
    said = done.stdout.split("\n")
    assert sum(line.endswith(" killed") for line in said) >= 7 and said[-2] == "none None ended", done.stdout + done.stderr
    torch.set_num_threads(1)
    try:
        trained(tmp_path / "unbroken")
    finally:
        torch.set_num_threads(threads)
    for name in ("weights.safetensors", "metrics.csv", "done.json", "best.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes(), name
    assert not list((tmp_path / "killed").glob(".writing-*"))


def test_what_is_written_and_a_finished_training_is_not_repeated(tmp_path):
    own, fitted = trained(tmp_path)
    facts = json.loads((tmp_path / "done.json").read_text())
    assert facts["best_epoch"] == fitted.best_epoch and facts["precision"] == "32-true" and len(facts["history"]) == 3
    rows = (tmp_path / "metrics.csv").read_text().splitlines()
    assert len(rows) == 4 and rows[0].startswith("epoch,train_focal") and "validation_f1" in rows[0]
    assert list((tmp_path / "tensorboard").glob("events.*"))
    said = []
    again, second = trained(tmp_path, progress=lambda *report: said.append(report))
    assert said == [] and second == fitted and all(torch.equal(a, b) for a, b in zip(own.state_dict().values(), again.state_dict().values()))


def test_tensorboards_files_hold_the_curves(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, fitted = trained(tmp_path)
    curves = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.value for event in curves.Scalars("validation_loss")] == pytest.approx([entry["validation_loss"] for entry in fitted.history])


def test_a_checkpoint_holds_tensors_and_plain_values_only(half):
    found = torch.load(half / "last.ckpt", weights_only=True)
    assert found["mrdeltanet"]["history"][0]["epoch"] == 0 and len(found["mrdeltanet"]["queue"][0]) == 12
    assert any(name.startswith("average.network.") for name in found["state_dict"])


def test_a_checkpoint_that_would_run_code_is_not_opened(half):
    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(half / "ran"),)

    torch.save({"mrdeltanet": Hostile()}, half / "last.ckpt")
    with pytest.raises(InputError) as caught:
        trained(half)
    assert caught.value.code == "MRD-E765" and not (half / "ran").exists()


def test_a_damaged_checkpoint_and_damaged_results_are_told(half):
    whole = (half / "last.ckpt").read_bytes()
    (half / "last.ckpt").write_bytes(whole[:len(whole) // 2])
    with pytest.raises(InputError) as caught:
        trained(half)
    assert caught.value.code == "MRD-E765" and "last.ckpt" in caught.value.fix
    (half / "last.ckpt").write_bytes(whole)
    trained(half)
    weights = bytearray((half / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (half / "weights.safetensors").write_bytes(weights)
    with pytest.raises(InputError) as caught:
        trained(half)
    assert caught.value.code == "MRD-E765" and "done.json" in caught.value.fix
    (half / "weights.safetensors").unlink()
    (half / "done.json").unlink()
    assert len(trained(half)[1].history) == 3, "the remedy that the message names"


@pytest.mark.parametrize(("name", "settings", "others"), [("roi_pooled", {"visits": "pre"}, {"visits": "post"}), ("deltanet", {}, {"dropout": 0.5}),
                                                          ("deltanet", {"compare": "subtract"}, {"compare": "pool"}),
                                                          ("deltanet", {"drop_path": 0.0}, {"drop_path": 0.2})])
def test_networks_whose_weights_look_alike_are_not_mixed(tmp_path, name, settings, others):
    made = lambda more: build(name, preset="tiny", crop_mm=(24.0, 24.0, 12.0), **more)
    assert [v.shape for v in made(settings).state_dict().values()] == [v.shape for v in made(others).state_dict().values()]
    fit(made(settings), cases(4), cases(4, 1), replace(CONFIG, epochs=1), folder=tmp_path)
    assert len(fit(made(settings), cases(4), cases(4, 1), replace(CONFIG, epochs=1), folder=tmp_path).history) == 1
    with pytest.raises(InputError) as caught:
        fit(made(others), cases(4), cases(4, 1), replace(CONFIG, epochs=1), folder=tmp_path)
    assert caught.value.code == "MRD-E764"


def test_the_gates_budget_is_the_training_settings(tmp_path):
    for wanted, found in ((0.6, 0.6), (0.3, 0.4)):         # the default leaves the network its own
        network = build("deltanet", preset="tiny", crop_mm=(24.0, 24.0, 12.0), compare="latent", gate_budget=0.4)
        fit(network, cases(4), cases(4, 1), replace(CONFIG, epochs=1, loss=LossConfig(gate_budget=wanted)))
        assert network.gate_budget == found


@pytest.mark.parametrize(("config", "count"), [(replace(CONFIG, learning_rate=1e-3), 12), (CONFIG, 14)])
def test_a_folder_of_another_training_is_refused(half, config, count):
    before = (half / "last.ckpt").read_bytes()
    with pytest.raises(InputError) as caught:
        trained(half, config, count)
    assert caught.value.code == "MRD-E764" and (half / "last.ckpt").read_bytes() == before


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path, monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(fitting, "REPORT_EVERY_S", 0.0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = []

    def filling(done, message):
        if "training loss" in message:
            before.append((tmp_path / "last.ckpt").read_bytes())
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))            # from now on no file grows past this

    try:
        with pytest.raises(EnvironmentProblem) as caught:
            trained(tmp_path, progress=filling)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.code == "MRD-E810" and len(before) == 1
    assert (tmp_path / "last.ckpt").read_bytes() == before[0] and not list(tmp_path.glob(".writing-*"))
    assert len(trained(tmp_path)[1].history) == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_a_cancelled_training_that_can_go_on(tmp_path, error):
    def interrupted(done, message):
        if "training loss" in message:
            raise error

    with pytest.raises(Cancelled) as caught:
        trained(tmp_path, progress=interrupted)
    assert "last whole epoch" in caught.value.fix and (tmp_path / "last.ckpt").exists()


def test_two_trainings_on_one_folder_are_one_too_many(tmp_path):
    with folder_lock(tmp_path), pytest.raises(EnvironmentProblem) as caught:
        trained(tmp_path)
    assert caught.value.code == "MRD-E763" and "another process" in caught.value.found and not (tmp_path / "last.ckpt").exists()


def test_a_lock_of_a_dead_process_is_nobodys_and_one_of_another_computer_counts_for_a_while(tmp_path):
    (tmp_path / LOCK).write_text(json.dumps({"host": os.uname().nodename, "process": 4_000_000}))
    with folder_lock(tmp_path):
        pass
    assert (tmp_path / LOCK).read_text() == ""
    (tmp_path / LOCK).write_text(json.dumps({"host": "some-other-computer", "process": 1}))
    with pytest.raises(EnvironmentProblem) as caught, folder_lock(tmp_path):
        pass
    assert caught.value.code == "MRD-E763" and "another computer" in caught.value.found and "some-other-computer" not in caught.value.text()
    long_ago = time.time() - 1000
    os.utime(tmp_path / LOCK, (long_ago, long_ago))
    with folder_lock(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem) as caught:
        trained(tmp_path / "file")
    assert caught.value.code == "MRD-E812"


def test_a_training_that_does_not_fit_into_memory_is_told(tmp_path, monkeypatch):
    from MRDeltaNetLib.cohort.training.module import ResponseTraining
    from MRDeltaNetLib.errors import OutOfMemory

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(ResponseTraining, "terms", full)
    with pytest.raises(OutOfMemory) as caught:
        trained(None)
    assert caught.value.code == "MRD-E770" and "smaller batch" in caught.value.fix
