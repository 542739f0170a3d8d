"""A table model comes back from its file with the same scores, and a file that was touched does not come back at all."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.table_model import CategoryColumn, NumberColumn, TableModel, _digest, design, read_table_model, terms, write_table_model

COLUMNS = {"age": NumberColumn(61.3, 8.123456789012345, 30.0, 88.0, True), "arm": CategoryColumn(("b", "a", "c"), False)}
MODEL = TableModel("clinical_logistic", COLUMNS, {"age": 1 / 3, "age (missing)": -0.1, "arm = a": math.pi, "arm = c": -2.0}, 0.1 + 0.2,
                   {"slope": 0.9, "intercept": -0.05}, 0.37, "Youden on out-of-fold scores", "refuse", {"cases": 100}, {"seed": 0})
ROWS = [{"age": 70.0, "arm": "a"}, {"age": None, "arm": "c"}, {"age": 33.1, "arm": "b"}]


def test_terms_and_their_values_are_the_documented_ones():
    assert terms(COLUMNS) == ("age", "age (missing)", "arm = a", "arm = c")
    matrix, notices = design(COLUMNS, ROWS, (2, 3, 4))
    scaled = lambda age: (age - 61.3) / 8.123456789012345
    assert matrix.tolist() == [[scaled(70.0), 0, 1, 0], [0, 1, 0, 1], [scaled(33.1), 0, 0, 0]] and not notices


def test_scores_follow_the_formula_and_survive_the_file(tmp_path):
    logits, _ = MODEL.logits(ROWS, (2, 3, 4))
    assert logits[1] == pytest.approx(0.9 * (0.3 - 0.1 - 2.0) - 0.05, abs=1e-12)
    write_table_model(tmp_path / "model.json", MODEL)
    again = read_table_model(tmp_path / "model.json")
    assert again == MODEL and np.array_equal(again.logits(ROWS, (2, 3, 4))[0], logits)


def test_a_model_without_columns_gives_everybody_the_intercept(tmp_path):
    empty = TableModel("scanner", {}, {}, -0.4)
    write_table_model(tmp_path / "model.json", empty)
    assert read_table_model(tmp_path / "model.json").logits(ROWS, (2, 3, 4))[0].tolist() == [-0.4] * 3


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(InputError) as caught:
        MODEL.logits([{"age": 1.0}], (2,))
    assert caught.value.code == "MRD-E788" and "'arm'" in caught.value.found


def test_a_changed_digit_is_found(tmp_path):
    write_table_model(tmp_path / "model.json", MODEL)
    text = (tmp_path / "model.json").read_text()
    (tmp_path / "model.json").write_text(text.replace("0.37", "0.38"))
    with pytest.raises(InputError) as caught:
        read_table_model(tmp_path / "model.json")
    assert caught.value.code == "MRD-E785" and "not the one that was written" in caught.value.found


def spoiled(content, path, value):
    *way, last = path
    place = content
    for step in way:
        place = place[step]
    place[last] = value


@pytest.mark.parametrize("path,value", [(("coefficients",), {"age": 1.0}), (("coefficients", "age"), "1"), (("coefficients", "age"), True),
                                        (("columns", "age", "scale"), 0.0), (("columns", "age", "kind"), "code"), (("columns", "age", "minimum"), 99.0),
                                        (("columns", "arm", "categories"), ["a", "a", "c"]), (("columns", "arm", "categories"), []),
                                        (("columns",), []), (("recalibration",), {"slope": 1.0}), (("threshold",), 1.5), (("intercept",), None),
                                        (("unseen",), "ignore"), (("name",), 7), (("trained_on",), []), (("columns", "age"), [])])
def test_what_no_model_can_hold_is_refused_even_with_a_fitting_digest(tmp_path, path, value):
    write_table_model(tmp_path / "model.json", MODEL)
    content = json.loads((tmp_path / "model.json").read_text())
    del content["sha256"]
    spoiled(content, path, value)
    (tmp_path / "model.json").write_text(json.dumps(content | {"sha256": _digest(content)}))
    with pytest.raises(InputError) as caught:
        read_table_model(tmp_path / "model.json")
    assert caught.value.code == "MRD-E785"


@pytest.mark.parametrize("content,code", [("[]", "MRD-E785"), ('{"format": "other"}', "MRD-E785"), ('{"intercept": NaN}', "MRD-E421"), ("{", "MRD-E420")])
def test_other_files_are_refused(tmp_path, content, code):
    (tmp_path / "model.json").write_text(content)
    with pytest.raises(InputError) as caught:
        read_table_model(tmp_path / "model.json")
    assert caught.value.code == code


def test_a_coefficient_that_is_not_finite_is_never_written(tmp_path):
    with pytest.raises(ValueError):
        write_table_model(tmp_path / "model.json", TableModel("scanner", {}, {}, math.nan))
    assert not (tmp_path / "model.json").exists()
