"""The folder of an evaluation: whole or not at all, only ours, and JSON without what JSON does not have."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace

import numpy as np
import pytest

from MRDeltaNetLib.errors import EnvironmentProblem
from MRDeltaNetLib.evaluation import SECTIONS, Evaluation, Omission, Part, Table
from MRDeltaNetLib.io import evaluations
from MRDeltaNetLib.io.atomic import sha256
from MRDeltaNetLib.io.evaluations import EVALUATION, as_json, check_folder, finite, staged, stem, write_evaluation

LISTS = ("comparisons", "logistic", "table_one")


def evaluation(**parts: Part) -> Evaluation:
    empty = {name: Part([] if name in LISTS else {}) for name in SECTIONS}
    return Evaluation("external", {"train": empty, "external": {**empty, **parts}}, {"failed": []}, {})


def write(found: Evaluation, out) -> None:
    with staged(out) as folder:
        (folder / "figures").mkdir()
        (folder / "figures" / "external_a.png").write_bytes(b"x")
        write_evaluation(found, folder, ["figures/external_a.png"])


TABLE = Part({"p_pcr": {"auc": 0.8}}, {"discrimination_auc": Table("Areas", ("score", "AUC"), (("=HYPERLINK()", float("nan")), ("-1", 0.5)))})


def test_the_main_set_stands_at_the_top_and_every_set_below(tmp_path):
    found = json.loads(as_json(evaluation(discrimination=TABLE)))
    assert found["schema"] == "mrdeltanet.evaluation/1" and found["main_set"] == "external"
    assert found["discrimination"] == found["sets"]["external"]["discrimination"] == {"p_pcr": {"auc": 0.8}} and found["sets"]["train"]["discrimination"] == {}
    assert all(list(found["sets"][name]) == list(SECTIONS) for name in ("train", "external")) and set(SECTIONS) <= set(found)


def test_no_nan_no_infinity_and_no_number_of_numpy_s_reaches_the_file():
    assert finite({"a": float("nan"), 1: [np.inf, -np.inf, np.float64(0.25), np.int64(3), np.bool_(True), None, "x", (1, 2)]}) == {
        "a": None, "1": [None, None, 0.25, 3, True, None, "x", [1, 2]]}
    text = as_json(evaluation(calibration=Part({"p": {"slope": float("nan"), "hi": float("inf")}})))
    assert "NaN" not in text and "Infinity" not in text and json.loads(text)["calibration"] == {"p": {"slope": None, "hi": None}}


def test_numbers_keep_all_their_digits():
    value = 0.1 + 0.2
    assert json.loads(as_json(evaluation(calibration=Part({"p": {"slope": value}}))))["calibration"]["p"]["slope"] == value


def test_what_is_left_out_and_what_has_to_be_said_is_told_with_its_set():
    part = Part({}, notes=("Read this.",), omissions=(Omission("survival", "Cox", "no event", "wait"),))
    found = json.loads(as_json(evaluation(survival=part)))
    assert found["omissions"] == [{"set": "external", "section": "survival", "what": "Cox", "reason": "no event", "fix": "wait"}]
    assert found["notes"] == {"train": {}, "external": {"survival": ["Read this."]}}


def test_every_file_is_named_with_its_digest_and_formulas_are_disarmed(tmp_path):
    write(evaluation(discrimination=TABLE), tmp_path / "out")
    found = json.loads((tmp_path / "out" / EVALUATION).read_text())
    assert found["files"] == {name: sha256(tmp_path / "out" / name) for name in ("figures/external_a.png", "tables/external_discrimination_auc.csv")}
    assert (tmp_path / "out" / "tables" / "external_discrimination_auc.csv").read_text() == "score,AUC\n'=HYPERLINK(),\n-1,0.5\n"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["evaluation.json", "figures", "tables"]


def test_the_same_evaluation_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write(evaluation(discrimination=TABLE), tmp_path / name)
    assert (tmp_path / "a" / EVALUATION).read_bytes() == (tmp_path / "b" / EVALUATION).read_bytes()


def test_files_of_an_earlier_evaluation_go_with_it(tmp_path):
    out = tmp_path / "out"
    write(evaluation(discrimination=TABLE), out)
    write(evaluation(), out)
    assert not list((out / "tables").iterdir()) and json.loads((out / EVALUATION).read_text())["files"].keys() == {"figures/external_a.png"}


@pytest.mark.parametrize("foreign", ["notes.txt", "figures/mine.png", "tables/other.csv", "tables/deep/x.csv", "evaluation.json/x", "report.html"])
def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path, foreign):
    out = tmp_path / "out"
    (out / foreign).parent.mkdir(parents=True)
    (out / foreign).write_text("mine")
    for attempt in (lambda: check_folder(out), lambda: write(evaluation(), out)):
        with pytest.raises(EnvironmentProblem) as caught:
            attempt()
        assert caught.value.code == "MRD-E493"
    assert (out / foreign).read_text() == "mine" and len([path for path in out.rglob("*") if path.is_file()]) == 1


def test_a_file_added_to_an_evaluation_s_folder_is_refused_too(tmp_path):
    out = tmp_path / "out"
    write(evaluation(discrimination=TABLE), out)
    (out / "figures" / "mine.png").write_bytes(b"mine")
    with pytest.raises(EnvironmentProblem) as caught:
        check_folder(out)
    assert caught.value.code == "MRD-E493" and caught.value.found == "1 other file or folder"


def test_a_list_of_files_that_is_not_ours_deletes_nothing(tmp_path):
    out, precious = tmp_path / "out", tmp_path / "precious.csv"
    out.mkdir()
    precious.write_text("mine")
    names = ["../precious.csv", "tables/../../precious.csv", str(precious), "tables/..", "x.csv"]
    (out / EVALUATION).write_text(json.dumps({"schema": evaluations.SCHEMA, "files": dict.fromkeys(names, "")}))
    write(evaluation(), out)
    assert precious.read_text() == "mine"


def test_a_file_in_the_folder_s_place_and_a_locked_folder_are_refused(tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(EnvironmentProblem) as caught:
        check_folder(tmp_path / "out")
    assert caught.value.code == "MRD-E820"


def test_what_fails_while_writing_leaves_the_earlier_evaluation_as_it_was(tmp_path):
    out = tmp_path / "out"
    write(evaluation(discrimination=TABLE), out)
    before = {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(ZeroDivisionError):
        with staged(out) as folder:
            (folder / "report.html").write_text("half")
            raise ZeroDivisionError
    assert {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert not [path for path in out.iterdir() if path.name.startswith(".writing-")]


def test_one_that_was_killed_while_files_changed_places_is_gone_on_with(tmp_path, monkeypatch):
    out, calls = tmp_path / "out", []
    write(evaluation(discrimination=TABLE), out)

    def dies(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        source.replace(target)

    monkeypatch.setattr(evaluations, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        write(evaluation(calibration=replace(TABLE, tables={"calibration_p": TABLE.tables["discrimination_auc"]})), out)
    assert not (out / EVALUATION).exists()
    monkeypatch.undo()
    write(evaluation(), out)
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == ["evaluation.json", "external_a.png"]


def test_what_a_killed_evaluation_left_long_ago_goes(tmp_path):
    out = tmp_path / "out"
    for name, age_s in ((".writing-old", 10 * 24 * 3600), (".writing-new", 0)):
        (out / name).mkdir(parents=True)
        os.utime(out / name, (time.time() - age_s,) * 2)
    write(evaluation(), out)
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == [".writing-new"]


@pytest.mark.parametrize("name, safe", [("external", "external_x"), ("all", "all_x")])
def test_plain_names_stay_as_they_are(name, safe):
    assert stem(name, "x") == safe


def test_names_of_the_user_s_cannot_leave_the_folder_nor_meet():
    names = ["../../etc", "a/b", "a b", "a_b", "ä", "ö", "", "CON", "x" * 500, "a-b"]
    stems = [stem(name, "discrimination_roc") for name in names]
    assert len({one.casefold() for one in stems}) == len(names)
    assert all(one.replace("_", "").isalnum() and one.isascii() and len(one) < 120 for one in stems)
