"""P(pCR) from diameters: the change, who has seen whom, odd tables, and I-SPY 1 as the how-to shows it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pandas
import pytest
from typer.testing import CliRunner

from MRDeltaNetLib.cli import app
from MRDeltaNetLib.cohort.tabular.diameter_change import SCORE, cross_fitted_probabilities, main, relative_changes, scored
from MRDeltaNetLib.errors import InputError

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "delta-diameter.md"


def table(n=60, seed=0):
    """Text, as it is read: responders shrink by 70 %, others by 40 %, give or take 15."""
    rng = np.random.default_rng(seed)
    outcome = np.arange(n) % 3 == 0
    before = rng.uniform(30, 80, n)
    after = before * (0.6 - 0.3 * outcome + 0.15 * rng.normal(size=n)).clip(0)
    return pandas.DataFrame({"id": [f"c{k}" for k in range(n)], "before": [f"{value:.1f}" for value in before], "after": [f"{value:.1f}" for value in after],
                             "outcome": ["Yes" if value else "No" for value in outcome]})


def test_a_change_is_relative_to_the_first_diameter_and_missing_where_that_is_not_above_0():
    found = relative_changes([50, 40, 0, np.nan, 10], np.array([[25.0], [60], [5], [5], [np.nan]]))[:, 0]
    assert np.array_equal(found, [-50, 50, np.nan, np.nan, np.nan], equal_nan=True)


def test_shrinking_raises_the_score_and_the_unit_changes_nothing():
    found = scored(table(), identity="id", outcome="outcome", before="before", after=["after"])
    assert found[SCORE].corr(found["change_after_percent"], method="spearman") < -0.9 and list(found.columns) == ["id", "outcome", SCORE, "change_after_percent"]
    inches = table()
    for name in ("before", "after"):
        inches[name] = [f"{float(value) / 25.4:.8f}" for value in inches[name]]
    other = scored(inches, identity="id", outcome="outcome", before="before", after=["after"])
    assert np.abs(other[SCORE] - found[SCORE]).max() < 1e-4


def test_nobody_s_own_outcome_enters_the_score():
    """On noise in-sample scores would go with the outcome (correlation 0.3 with six columns of 60 cases); cross-fitted ones do not."""
    rng = np.random.default_rng(1)
    noise = [np.corrcoef(cross_fitted_probabilities(rng.normal(size=(60, 6)), np.arange(60) % 2, seed), np.arange(60) % 2)[0, 1] for seed in range(20)]
    assert -0.25 < np.mean(noise) < 0.08


def test_who_lacks_a_diameter_has_no_score_and_who_lacks_the_outcome_has_one():
    given = table()
    given.loc[4, "after"], given.loc[7, "outcome"], given.loc[9, "before"] = "", "", "0"
    found = scored(given, identity="id", outcome="outcome", before="before", after=["after"])
    assert list(np.flatnonzero(found[SCORE].isna())) == [4, 9] and 0 < found[SCORE][7] < 1 and found["outcome"][7] == ""


def test_every_visit_has_a_score_of_its_own():
    given = table().assign(between=table(seed=3)["after"])
    found = scored(given, identity="id", outcome="outcome", before="before", after=["between", "after"])
    assert {SCORE, "p_delta_between", "p_delta_after", "change_between_percent", "change_after_percent"} < set(found.columns)


@pytest.mark.parametrize("change,code", [({"after": "absent"}, "MRD-E438"), ({"positive": "CR"}, "MRD-E449")])
def test_what_cannot_be_read_is_refused(change, code):
    given = {"identity": "id", "outcome": "outcome", "before": "before", "after": "after"} | change
    with pytest.raises(InputError) as refusal:
        scored(table(), **given | {"after": [given["after"]]})
    assert refusal.value.code == code


def test_too_few_of_an_outcome_and_text_in_a_diameter_are_refused():
    with pytest.raises(InputError) as refusal:
        scored(table(12), identity="id", outcome="outcome", before="before", after=["after"])
    assert refusal.value.code == "MRD-E789" and "4 with, 8 without" in refusal.value.found
    wrong = table()
    wrong.loc[3, "after"] = "2O"
    with pytest.raises(InputError) as refusal:
        scored(wrong, identity="id", outcome="outcome", before="before", after=["after"])
    assert refusal.value.code == "MRD-E444"


def test_the_command_writes_the_same_bytes_twice_and_says_what_it_refuses(tmp_path, capsys):
    table().to_csv(tmp_path / "in.csv", index=False)
    given = [str(tmp_path / "in.csv"), "--before", "before", "--after", "after", "--out"]
    assert main([*given, str(tmp_path / "one.csv")]) == main([*given, str(tmp_path / "two.csv")]) == 0
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes() and "60 of 60 cases" in capsys.readouterr().out
    assert main([str(tmp_path / "in.csv"), "--before", "before", "--after", "gone", "--out", str(tmp_path / "three.csv")]) == 3
    assert "MRD-E438" in capsys.readouterr().err and not (tmp_path / "three.csv").exists()


@pytest.mark.slow
def test_i_spy_1_runs_as_the_page_shows_it_and_gives_its_numbers(real_data, tmp_path, monkeypatch):
    source = real_data("ispy1/I-SPY_1_clean_data.csv")
    text = PAGE.read_text(encoding="utf-8")
    (tmp_path / "ispy1.toml").write_text(re.search(r"```toml file=ispy1.toml\n(.*?)```", text, re.DOTALL)[1], encoding="utf-8")
    shutil.copy(source, tmp_path)
    monkeypatch.chdir(tmp_path)
    first, second = re.search(r"```console\n(.*?)```", text, re.DOTALL)[1].strip().splitlines()
    assert main(shlex.split(first)[3:]) == 0
    done = CliRunner().invoke(app, shlex.split(second)[1:])
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "ispy1-study" / "evaluation.json").read_text(encoding="utf-8"))
    shown = lambda value, lower, upper: f"{value:.2f} ({lower:.2f} to {upper:.2f})"
    areas = [shown(one["auc"], *one["auc_ci_logit"]) for one in found["discrimination"].values()]
    fused = [shown(*(found["fusion"]["models"][name][key] for key in ("auc", "lo", "hi"))) for name in ("clinical", "fusion")]
    groups = found["survival"]["rfs"]["groupings"]
    ratios = [shown(*(groups[name]["cox"][0][key] for key in ("hr", "lo", "hi"))) for name in ("true", "predicted")]
    assert re.findall(r"\| (\d\.\d\d \(\d\.\d\d to \d\.\d\d\)) \|", text) == [*areas, *fused, *ratios]
    assert f"| {found['survival']['rfs']['median_follow_up']['median']:.0f} days |" in text and found["survival"]["rfs"]["events"] == 44
    sections = ("discrimination", "comparisons", "calibration", "decision_curve", "logistic", "fusion", "table_one", "survival")
    assert all(found[section] for section in sections) and (tmp_path / "ispy1-study" / "report.html").stat().st_size > 100_000
