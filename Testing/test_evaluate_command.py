"""mrdeltanet evaluate: from files to the folder, and every way in which it ends."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lifelines", reason="the cohort extra is not installed")
jsonschema = pytest.importorskip("jsonschema", reason="the test extra is not installed")
typer_testing = pytest.importorskip("typer.testing", reason="the command line is not installed")

from MRDeltaNetLib.cli import app  # noqa: E402
from MRDeltaNetLib.cohort.evaluating import sections  # noqa: E402
from MRDeltaNetLib.io.atomic import sha256  # noqa: E402
from MRDeltaNetLib.resources import resource  # noqa: E402


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


# real tables, as R and pandas wrote them, with the settings that docs/how-to/evaluate.md shows; numbers of R 4.2.2, pROC 1.18.0 and survival 3.5-3


def documented(words: str) -> str:
    """The settings on the page that hold these words."""
    page = (Path(__file__).resolve().parents[1] / "docs" / "how-to" / "evaluate.md").read_text(encoding="utf-8")
    return next(block for block in re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL) if words in block)


def evaluated(table: Path, settings: str, folder: Path) -> dict:
    (folder / "eval.toml").write_text(settings, encoding="utf-8")
    done = run(table, "--config", folder / "eval.toml", "--out", folder / "out")
    assert done.exit_code == 0, done.output
    found = json.loads((folder / "out" / "evaluation.json").read_text(encoding="utf-8"))
    jsonschema.validate(found, json.loads(resource("schemas/evaluation-1.schema.json").read_text(encoding="utf-8")))
    return found


def test_r_s_table_of_haemorrhages_gives_r_s_numbers(tmp_path, real_data):
    found = evaluated(real_data("roc_dca/pROC_aSAH.csv"), documented("Poor"), tmp_path)
    s100b = found["discrimination"]["s100b"]
    assert s100b["auc"] == pytest.approx(0.7313685636856, abs=1e-10) and s100b["auc_variance_delong"] == pytest.approx(0.002668682457172, abs=1e-10)
    assert s100b["auc_ci_delong"] == pytest.approx([0.6301182117616, 0.8326189156097], abs=1e-10) and s100b["youden"]["threshold"] == 0.205
    assert found["comparisons"][0]["z"] == pytest.approx(1.390770025736, abs=1e-10) and found["comparisons"][0]["p_delong"] == pytest.approx(0.1642951752231, abs=1e-10)
    terms = {item["term"]: item for item in found["logistic"]}
    assert [terms["genderFemale"][key] for key in ("or", "lo", "hi", "p")] == pytest.approx([0.3320441645428, 0.1234250684308, 0.8932814752196, 0.02900123150098], rel=1e-6)


def test_r_s_table_of_colon_cancers_gives_r_s_numbers(tmp_path, real_data):
    found = evaluated(real_data("survival/survival_colon.csv"), documented("etype"), tmp_path)
    assert found["flow"]["excluded"] == {"etype is not 1": 929} and found["flow"]["evaluated"] == 929
    told = found["survival"]["recurrence"]
    assert told["logrank"]["chisq"] == pytest.approx(23.061738158319, rel=1e-6) and told["logrank"]["df"] == 2 and told["logrank"]["p"] == pytest.approx(9.822164138695e-06, rel=1e-6)
    assert [told["km"]["rx=Obs"][key] for key in ("median", "lo", "hi")] == [1236, 803, 2036] and told["km"]["rx=Lev+5FU"]["median"] is None
    year = told["km"]["rx=Obs"]["at"]["365"]
    assert [year[key] for key in ("surv", "lo", "hi")] == pytest.approx([0.7206349206349, 0.6727507984846, 0.7719272723395], rel=1e-6) and year["n_risk"] == 227
    terms = {item["term"]: item for item in told["cox"]}
    assert [terms["rxLev+5FU"][key] for key in ("hr", "lo", "hi", "p")] == pytest.approx([0.598162445181, 0.473892816965, 0.7550194854534, 1.525305408272e-05], rel=1e-6)
    assert told["harrell_c"] == pytest.approx(0.6596243910253, rel=1e-6)


def test_pandas_table_of_cancers_gives_its_own_decision_curve(tmp_path, real_data):
    found = evaluated(real_data("roc_dca/dcurves_df_binary.csv"), 'id = "patientid"\noutcome = "cancer"\nprobabilities = ["cancerpredmarker"]\ncovariates = ["age", "marker"]\n', tmp_path)
    rows = found["decision_curve"]["cancerpredmarker"]
    dcurves = pytest.importorskip("dcurves", reason="the test extra is not installed")
    pandas = pytest.importorskip("pandas", reason="the cohort extra is not installed")
    table = pandas.read_csv(real_data("roc_dca/dcurves_df_binary.csv"))
    told = dcurves.dca(data=table, outcome="cancer", modelnames=["cancerpredmarker"], thresholds=[row["threshold"] for row in rows])
    for name, key in (("cancerpredmarker", "net_benefit"), ("all", "treat_all")):
        assert [row[key] for row in rows] == pytest.approx(list(told[told["model"] == name].sort_values("threshold")["net_benefit"]), abs=1e-10)


def test_a_table_without_a_score_is_evaluated_as_far_as_it_goes(tmp_path, real_data):
    settings = 'id = "SUBJECTID"\noutcome = "PCR"\ncovariates = ["age", "HR+"]\n[endpoints.rfs]\ntime = "RFS"\nevent = "RFS_code"\ngroups = ["HR+"]\n'
    found = evaluated(real_data("ispy1/I-SPY_1_clean_data.csv"), settings, tmp_path)
    assert found["facts"]["sets"]["all"] == {"n": 168, "events": 45, "non_events": 123, "unknown": 0, "cases_with_model": 0}
    assert found["survival"]["rfs"]["events"] == 44 and found["logistic"] and found["table_one"] and not found["discrimination"]
