"""`mrdeltanet pretrain` from its door to its weights, and a study that starts from them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("lightning")
pytest.importorskip("sklearn")

from MRDeltaNetLib.cli import app  # noqa: E402
from MRDeltaNetLib.cohort import preparing  # noqa: E402
from MRDeltaNetLib.cohort.preparing import PreparedCohort  # noqa: E402
from MRDeltaNetLib.cohort.training.pretraining import start_from  # noqa: E402
from MRDeltaNetLib.io import cohort_table  # noqa: E402
from MRDeltaNetLib.io.cohort_table import Cohort, Row  # noqa: E402
from MRDeltaNetLib.models.registry import build  # noqa: E402

_spec = importlib.util.spec_from_file_location("planted", Path(__file__).resolve().parents[1] / "planted.py")
planted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(planted)

CASES, EXTERNAL = 12, 2
STUDY = """cohort = "cohort.csv"
cache = "cache"
out = "order"
accelerator = "cpu"
[model]
name = "deltanet"
preset = "tiny"
[preprocessing]
crop_mm = [24.0, 24.0, 12.0]
[training]
batch_size = 4
precision = "32-true"
[pretraining]
epochs = 2
"""


@pytest.fixture
def looked_at(tmp_path, monkeypatch) -> list[str]:
    """A study whose cases need no images; the ids of the rows that were asked for."""
    crops, _ = planted.planted_pairs(CASES, seed=3)
    rows = tuple(Row(line=k + 2, id=f"case-{k}", centre=None, set="external" if k < EXTERNAL else "train", outcome=None) for k in range(CASES))
    asked: list[str] = []

    def load(cohort, *_):
        asked[:] = [row.id for row in cohort.rows]
        chosen = [rows.index(row) for row in cohort.rows]
        return PreparedCohort(cohort.rows, tuple(crops[k].astype(np.float16) for k in chosen), ({},) * len(chosen), tuple(f"{k:064x}" for k in chosen))

    monkeypatch.setattr(cohort_table, "read_cohort", lambda *_, **__: Cohort(rows, {}, tmp_path, "0" * 64, ()))
    monkeypatch.setattr(preparing, "prepare_cohort", lambda *_, **__: None)
    monkeypatch.setattr(preparing, "load_prepared", load)
    (tmp_path / "order.toml").write_text(STUDY, encoding="utf-8")
    return asked


def test_pretrain_learns_without_outcomes_on_training_rows_and_names_weights_that_a_study_can_start_from(tmp_path, looked_at):
    done = CliRunner().invoke(app, ["pretrain", str(tmp_path / "order.toml"), "--progress", "none"])
    assert done.exit_code == 0, done.output
    assert looked_at == [f"case-{k}" for k in range(EXTERNAL, CASES)]
    weights = Path(done.output.split("Weights:")[1].strip())
    assert weights.is_file() and f"{CASES - EXTERNAL} pairs" in done.output
    network = build("deltanet", spacing_mm=[0.75, 0.75, 3.0], crop_mm=[24.0, 24.0, 12.0], preset="tiny")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    start_from(network, weights)
    assert any(not before[name].equal(value) for name, value in network.state_dict().items() if name.startswith("encoder."))
