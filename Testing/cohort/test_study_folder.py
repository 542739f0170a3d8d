"""A study's folder: a full disk is told, a finished network is never removed for the size of its note, a long command's lock stays alive."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("lightning.pytorch", reason="training needs the 'cohort' extra")

from MRDeltaNetLib.cohort.study import folder as folders, members, shipping  # noqa: E402
from MRDeltaNetLib.io import locking  # noqa: E402
from MRDeltaNetLib.config import StudyConfig  # noqa: E402
from MRDeltaNetLib.errors import EnvironmentProblem, InputError  # noqa: E402
from MRDeltaNetLib.io.bundle import read_bundle  # noqa: E402

_spec = importlib.util.spec_from_file_location("bundle_tests", Path(__file__).resolve().parents[1] / "io" / "test_bundle.py")
bundle_tests = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(bundle_tests)

CASES = 400
BEGUN = "0" * 64


@contextlib.contextmanager
def full_disk(most_bytes: int):
    """No file grows past so many bytes."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def finish(folder: Path, epochs: int = 2) -> None:
    """A member's folder as train_member leaves it, with scores of CASES cases."""
    history = [{"epoch": k, "train_loss": 0.123456, "monitor": -0.654321, "best": k == 1} for k in range(epochs)]
    members._finish(folder, BEGUN, np.linspace(-1, 1, CASES), np.ones((CASES, 4)), {"epochs": epochs, "history": history})


def test_a_disk_that_fills_while_scores_are_kept_is_told_and_the_weights_stay(tmp_path):
    (tmp_path / members.WEIGHTS).write_bytes(b"weights")
    with full_disk(1000), pytest.raises(EnvironmentProblem) as caught:
        finish(tmp_path)
    assert caught.value.code == "MRD-E810" and [path.name for path in tmp_path.iterdir()] == [members.WEIGHTS]
    finish(tmp_path)
    logits, embeddings, summary = members._finished(tmp_path, BEGUN, CASES)
    assert np.array_equal(logits, np.linspace(-1, 1, CASES)) and embeddings.shape == (CASES, 4) and summary["epochs"] == 2


def test_a_disk_that_fills_while_a_model_is_shipped_is_told_and_the_earlier_model_stays(tmp_path, monkeypatch):
    network = bundle_tests.Small()
    network.geometry = SimpleNamespace(voxels=(4, 8, 8))
    for name, made in {"ensemble": network, "reference_of": (None, ""), "metadata": bundle_tests.metadata(), "card": "# Card\n"}.items():
        monkeypatch.setattr(shipping, name, lambda *given, made=made: made)
    nobody = SimpleNamespace(keys=(), facts=()), np.array([], int), {}
    config = StudyConfig(cohort=tmp_path / "cohort.csv", cache=tmp_path / "cache", out=tmp_path / "out")
    first, _ = shipping.ship(tmp_path, config, [None], *nobody)
    with full_disk(1000), pytest.raises(EnvironmentProblem) as caught:
        shipping.ship(tmp_path, config, [None], *nobody)
    assert caught.value.code == "MRD-E810" and [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert read_bundle(tmp_path / "bundle").sha256 == first


def test_the_note_of_a_long_training_is_read(tmp_path):
    finish(tmp_path, epochs=12_000)
    assert (tmp_path / members.DONE).stat().st_size > 1024**2
    _, _, summary = members._finished(tmp_path, BEGUN, CASES)
    assert len(summary["history"]) == 12_000


def test_a_network_whose_note_is_too_large_is_told_and_stays(tmp_path, monkeypatch):
    finish(tmp_path)
    monkeypatch.setattr(members, "MAX_BYTES", 100)
    with pytest.raises(InputError) as caught:
        members._finished(tmp_path, BEGUN, CASES)
    assert caught.value.code == "MRD-E425" and "members/" in caught.value.fix
    assert {path.name for path in tmp_path.iterdir()} == {members.DONE, members.OUTPUTS}


@pytest.mark.parametrize(("name", "code"), [(members.DONE, "MRD-E427"), (members.OUTPUTS, "MRD-E781")])
def test_a_network_whose_files_cannot_be_opened_now_is_told_and_stays(tmp_path, monkeypatch, name, code):
    finish(tmp_path)
    before, opened = {path.name for path in tmp_path.iterdir()}, open

    def failing(path, *how, **more):
        if Path(path).name == name:
            raise OSError(5, "Input/output error", str(path))
        return opened(path, *how, **more)

    monkeypatch.setattr("builtins.open", failing)
    with pytest.raises(InputError) as caught:
        members._finished(tmp_path, BEGUN, CASES)
    assert caught.value.code == code and str(tmp_path) not in caught.value.text() and {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("damage", ["note is no JSON", "note of another training", "outputs changed", "outputs gone"])
def test_a_network_whose_files_are_not_those_that_were_written_is_trained_anew(tmp_path, damage):
    folder = tmp_path / "member"
    folder.mkdir()
    finish(folder)
    begun = "1" * 64 if damage == "note of another training" else BEGUN
    if damage == "note is no JSON":
        (folder / members.DONE).write_text("{")
    elif damage == "outputs changed":
        (folder / members.OUTPUTS).write_bytes(b"other")
    elif damage == "outputs gone":
        (folder / members.OUTPUTS).unlink()
    assert members._finished(folder, begun, CASES) is None and not folder.exists()


@pytest.fixture
def lock(tmp_path, monkeypatch) -> Path:
    """The lock of a folder, which is renewed all the time while it is held."""
    monkeypatch.setattr(locking, "BEAT_S", 0.01)
    monkeypatch.setattr(folders, "BEAT_EVERY_S", 0.03)
    return tmp_path / locking.LOCK


def aged(lock: Path) -> None:
    """As if nobody had renewed the lock for longer than another computer waits."""
    then = time.time() - 2 * locking.SILENT_S
    os.utime(lock, (then, then))


def renewed(lock: Path, within_s: float) -> bool:
    until = time.monotonic() + within_s
    while time.time() - lock.stat().st_mtime > locking.SILENT_S:
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def test_the_lock_of_a_long_command_is_renewed_while_it_works_and_not_after(tmp_path, lock):
    with folders.locked(tmp_path):
        for _ in range(2):                                 # again and again, not once
            aged(lock)
            assert renewed(lock, within_s=10)
    aged(lock)
    assert not renewed(lock, within_s=0.2)


def test_another_computer_waits_as_long_as_the_lock_is_renewed(tmp_path, lock, monkeypatch):
    """On a share that carries no locks: the file alone tells."""
    monkeypatch.setattr(locking, "_take", lambda stream: True)
    with folders.locked(tmp_path):
        aged(lock)
        renewed(lock, within_s=10)
        monkeypatch.setattr(locking.platform, "node", lambda: "some-other-computer")
        with pytest.raises(EnvironmentProblem) as caught, folders.locked(tmp_path):
            pass
    assert caught.value.code == "MRD-E777" and "another computer" in caught.value.found


@pytest.mark.parametrize("problem", [None, RuntimeError("secret"), KeyboardInterrupt()], ids=["done", "fault", "interrupt"])
def test_the_lock_is_given_back_and_its_thread_ends_however_the_block_ends(tmp_path, problem):
    with contextlib.suppress(RuntimeError, KeyboardInterrupt), folders.locked(tmp_path):
        assert json.loads((tmp_path / locking.LOCK).read_text())["process"] == os.getpid()
        assert "mrdeltanet-lock" in {thread.name for thread in threading.enumerate()}
        if problem is not None:
            raise problem
    assert (tmp_path / locking.LOCK).read_text() == "" and "mrdeltanet-lock" not in {thread.name for thread in threading.enumerate()}


def test_a_share_that_is_gone_for_a_while_does_not_end_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(locking, "BEAT_S", 0.0)
    monkeypatch.setattr(folders, "BEAT_EVERY_S", 0.02)
    asked, utime = [], os.utime

    def away(path, *more, **how):
        asked.append(path)
        if len(asked) < 3:
            raise OSError(5, "Input/output error")
        utime(path, *more, **how)

    monkeypatch.setattr(locking.os, "utime", away)
    with folders.locked(tmp_path):
        until = time.monotonic() + 10
        while len(asked) < 4 and time.monotonic() < until:
            time.sleep(0.01)
    assert len(asked) >= 4
