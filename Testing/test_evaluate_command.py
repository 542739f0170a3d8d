"""mrdeltanet evaluate: from files to the folder, and every way in which it ends."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lifelines", reason="the cohort extra is not installed")
typer_testing = pytest.importorskip("typer.testing", reason="the command line is not installed")

from MRDeltaNetLib.cli import app  # noqa: E402
from MRDeltaNetLib.cohort.evaluating import sections  # noqa: E402
from MRDeltaNetLib.io.atomic import sha256  # noqa: E402


@pytest.fixture(autouse=True)
def handlers():
    """A command takes over the signals of its process; here they go back to the tests' own."""
    names = [number for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGALRM", None)) if number is not None]
    before = {number: signal.getsignal(number) for number in names}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def tables(folder: Path, count: int = 40) -> tuple[Path, Path]:
    """Predictions of one set and a cohort table, made up; the names in them must never show up in a result."""
    random = np.random.default_rng(5)
    truth = random.normal(size=count)
    rows = [f"anna-miller-{k},{int(truth[k] + 0.5 * random.normal() > 0.3)},{1 / (1 + np.exp(-truth[k])):.6f}" for k in range(count)]
    predictions, cohort = folder / "predictions.csv", folder / "cohort.csv"
    predictions.write_text("\n".join(["id,outcome,p_pcr", *rows]) + "\n")
    cohort.write_text("\n".join(["id,age,sex", *(f"anna-miller-{k},{random.integers(40, 80)},{random.choice(['f', 'm'])}" for k in range(count))]) + "\n")
    return predictions, cohort


def run(*arguments: object):
    return typer_testing.CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--progress", "none"])


def test_the_command_leaves_page_figures_tables_and_numbers_and_names_nobody(tmp_path):
    predictions, cohort = tables(tmp_path)
    (tmp_path / "eval.toml").write_text("bootstrap = 100\nthreshold = 0.5\n")
    done = run(predictions, "--cohort", cohort, "--config", tmp_path / "eval.toml", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == {*found["files"], "evaluation.json"} and "report.html" in files
    assert all(sha256(tmp_path / "out" / name) == digest for name, digest in found["files"].items())
    assert {name.split("/")[0] for name in files} == {"report.html", "evaluation.json", "figures", "tables"}
    assert found["facts"]["digests"] == {"predictions": sha256(predictions), "cohort": sha256(cohort)} and found["facts"]["threshold"] == 0.5
    assert f"p_pcr: AUC {found['discrimination']['p_pcr']['auc']:.3f}" in done.output
    assert not [name for name in files if b"miller" in (tmp_path / "out" / name).read_bytes()] and "miller" not in done.output


def test_the_same_command_again_gives_the_same_bytes_in_the_same_folder(tmp_path):
    predictions, cohort = tables(tmp_path)
    contents = []
    for _ in range(2):
        assert run(predictions, "--cohort", cohort, "--out", tmp_path / "out").exit_code == 0
        contents.append({path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()})
    assert contents[0] == contents[1]


def test_several_tables_of_predictions_count_as_one(tmp_path):
    predictions, _ = tables(tmp_path)
    lines = predictions.read_text().splitlines()
    for name, part in (("oof.csv", lines[1:21]), ("held-out.csv", lines[21:])):
        (tmp_path / name).write_text("\n".join([lines[0] + ",set", *(f"{line},{'train' if name == 'oof.csv' else 'external'}" for line in part)]))
    assert run(tmp_path / "oof.csv", tmp_path / "held-out.csv", "--out", tmp_path / "out").exit_code == 0
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert {name: counts["n"] for name, counts in found["facts"]["sets"].items()} == {"train": 20, "external": 20} and found["main_set"] == "external"
    assert set(found["facts"]["digests"]) == {"predictions", "predictions 2"}
    done = run(tmp_path / "oof.csv", tmp_path / "oof.csv", "--out", tmp_path / "again")
    assert done.exit_code == 3 and "line 2 of table 1 and line 2 of table 2" in done.output and "miller" not in done.output


@pytest.mark.parametrize("change, code, status", [
    (lambda lines: [*lines, lines[1]], "MRD-E442", 3),
    (lambda lines: [lines[0], lines[1].rsplit(",", 1)[0] + ",1.2", *lines[2:]], "MRD-E496", 3),
    (lambda lines: [lines[0], lines[1].rsplit(",", 1)[0] + ",high", *lines[2:]], "MRD-E444", 3),
    (lambda lines: [lines[0].replace("outcome", "response"), *lines[1:]], "MRD-E438", 3),
    (lambda lines: lines[:1], "MRD-E432", 3)])
def test_what_is_refused_is_refused_before_anything_is_written(tmp_path, change, code, status):
    predictions, _ = tables(tmp_path)
    predictions.write_text("\n".join(change(predictions.read_text().splitlines())) + "\n")
    done = run(predictions, "--out", tmp_path / "out")
    assert done.exit_code == status and code in done.output and "miller" not in done.output
    assert not (tmp_path / "out").exists()


def test_a_wrong_setting_is_a_wrong_command(tmp_path):
    predictions, _ = tables(tmp_path)
    (tmp_path / "eval.toml").write_text("treshold = 0.5\n")
    done = run(predictions, "--config", tmp_path / "eval.toml", "--out", tmp_path / "out")
    assert done.exit_code == 2 and "MRD-E482" in done.output and "threshold" in done.output


def test_a_folder_of_the_user_s_is_refused_before_anything_is_read(tmp_path):
    tables(tmp_path)
    done = run(tmp_path / "missing.csv", "--out", tmp_path)
    assert done.exit_code == 4 and "MRD-E493" in done.output


def test_a_section_that_fails_is_told_by_the_exit_status_and_the_rest_is_there(tmp_path, monkeypatch):
    real = sections.part

    def part(section, subset):
        if section == "calibration":
            raise RuntimeError("anna miller")
        return real(section, subset)

    monkeypatch.setattr(sections, "part", part)
    predictions, _ = tables(tmp_path)
    done = run(predictions, "--out", tmp_path / "out")
    assert done.exit_code == 7 and "MRD-E499" in done.output and "calibration (MRD-E494)" in done.output and "miller" not in done.output
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["discrimination"]
    assert "MRD-E494" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
