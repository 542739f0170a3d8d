"""A study's folder: a full disk is told, a finished network is never removed for the size of its note, a long command's lock stays alive."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="networks need torch")

from MRDeltaNetLib.cohort.study import members, shipping  # noqa: E402
from MRDeltaNetLib.config import StudyConfig  # noqa: E402
from MRDeltaNetLib.errors import EnvironmentProblem  # noqa: E402
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
