"""Which interval of an AUC covers what it says, as docs/experiments/intervals.md tells it."""

from __future__ import annotations

import pytest

from MRDeltaNetLib.cohort.evaluating.discrimination import DEFAULT_INTERVAL
from MRDeltaNetLib.cohort.experiments import coverage
from MRDeltaNetLib.cohort.experiments.__main__ import main


def test_the_default_interval_covers_at_31_of_181_and_the_plain_one_beside_it_less():
    plain, logit = coverage.coverage(31, 150, 0.90, simulations=4000, drawn=0, seed=11)
    assert DEFAULT_INTERVAL == "logit" and (plain.method, logit.method) == ("plain DeLong", "logit DeLong")
    assert 0.93 <= logit.holds <= 0.96 and plain.holds < logit.holds - 0.01 and plain.above > 0.06 > logit.above + 0.01


def test_shares_add_up_and_an_auc_of_one_half_is_covered_by_all():
    for one in coverage.coverage(40, 60, 0.5, simulations=600, drawn=300):
        assert one.holds + one.below + one.above == pytest.approx(1) and 0.91 <= one.holds <= 0.98 and one.width == pytest.approx(0.23, abs=0.02)


def test_the_command_writes_every_setting(tmp_path, monkeypatch):
    monkeypatch.setattr(coverage, "table", lambda progress, made=coverage.table: made(progress, 40, 5))
    assert main(["coverage", "--out", str(tmp_path)]) == 0
    lines = (tmp_path / "coverage.md").read_text().splitlines()
    assert len(lines) == 2 + 3 * len(coverage.SETTINGS) and lines[2].startswith("| 31 | 150 | 0.90 | plain DeLong | 40 |")
