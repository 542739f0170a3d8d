"""EVAL.toml: every key is read, and whatever cannot be meant is refused with what to do."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from MRDeltaNetLib.config import EndpointConfig, EvaluationConfig, TableOneConfig
from MRDeltaNetLib.errors import InputError, UsageError
from MRDeltaNetLib.io import evaluation_config
from MRDeltaNetLib.io.evaluation_config import config_from_mapping, read_evaluation_config

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reference" / "evaluation-config.md"

WHOLE = """
id = "patient"
outcome = "response"
centre = "site"
set = "cohort"
positive = "Poor"
probabilities = ["p_a", "risk"]
scores = ["diameter"]
model = "risk"
excluded = "why"
main_set = "test"
train_set = "development"
threshold = 0.3
specificities = [0.8]
cost_ratio = 2
thresholds = [0.1, 0.5, 0.1]
subgroups = ["sex"]
covariates = ["age", "sex"]
bootstrap = 500
seed = 7

[keep]
etype = 1
arm = ["Lev", "Obs"]

[cuts]
age = [50, 65.5]

[references]
sex = "male"
node4 = 0

[endpoints.recurrence]
time = "days"
event = "recurred"
groups = ["rx"]
covariates = ["rx", "age"]
times = [365, 1095]
landmark = 30

[table_one]
by = "rx"
variables = ["age", "sex"]
categorical = ["node4"]

[study]
ethics = "approved"
"TRIPOD+AI 5b" = "2019 to 2023"
"""


def read(tmp_path, text: str) -> EvaluationConfig:
    path = tmp_path / "eval.toml"
    path.write_text(text, encoding="utf-8")
    return read_evaluation_config(path)


def test_an_empty_file_is_the_defaults(tmp_path):
    assert read(tmp_path, "") == EvaluationConfig()


def test_every_key_is_read(tmp_path):
    assert read(tmp_path, WHOLE) == EvaluationConfig(
        id="patient", outcome="response", centre="site", set="cohort", positive="Poor", probabilities=("p_a", "risk"), scores=("diameter",), model="risk",
        keep={"etype": ("1",), "arm": ("Lev", "Obs")}, excluded="why", main_set="test", train_set="development", threshold=0.3, specificities=(0.8,), cost_ratio=2.0,
        thresholds=(0.1, 0.5, 0.1), subgroups=("sex",), cuts={"age": (50.0, 65.5)}, covariates=("age", "sex"), references={"sex": "male", "node4": "0"},
        endpoints={"recurrence": EndpointConfig("days", "recurred", groups=("rx",), covariates=("rx", "age"), times=(365.0, 1095.0), landmark=30.0)},
        table_one=TableOneConfig("rx", ("age", "sex"), ("node4",)), bootstrap=500, seed=7, study={"ethics": "approved", "TRIPOD+AI 5b": "2019 to 2023"})
    assert {field.name for field in fields(EvaluationConfig)} <= set(re.findall(r"^\[?([a-z_0-9]+)", WHOLE, re.MULTILINE))


@pytest.mark.parametrize("written, read_as", [("1", "1"), ("1.0", "1"), ("0.5", "0.5"), ("true", "true"), ('"1"', "1")])
def test_values_of_a_column_may_be_written_as_numbers(tmp_path, written, read_as):
    assert read(tmp_path, f"positive = {written}").positive == read_as
    assert read(tmp_path, f"[keep]\narm = [{written}]").keep == {"arm": (read_as,)}


REFUSED = {
    "outcom = 'x'": ("MRD-E482", "outcome"), "[endpoint.os]\ntime = 't'": ("MRD-E482", "endpoints"), "[table_one]\nvariable = []": ("MRD-E482", "variables"),
    "time = 't'": ("MRD-E482", "endpoints.*"), "[endpoints.os]\ntime = 't'": ("MRD-E483", "event"), "[endpoints.os]\ntime = 't'\nevents = 'e'": ("MRD-E482", "event"),
    "endpoints = 3": ("MRD-E484", "[endpoints]"), "[endpoints]\nos = 3": ("MRD-E484", "[endpoints.os]"), "keep = 'x'": ("MRD-E484", "[keep]"),
    "[keep]\narm = []": ("MRD-E486", "values"), "[keep]\narm = {a = 1}": ("MRD-E484", "list"), "outcome = 3": ("MRD-E484", "text"), "scores = 'x'": ("MRD-E484", "list of texts"),
    "scores = [1]": ("MRD-E484", "text"), "specificities = [0.9, 1.0]": ("MRD-E485", "below 1"), "specificities = []": ("MRD-E484", "numbers"), "seed = -1": ("MRD-E485", "from 0"),
    "bootstrap = 1e3": ("MRD-E484", "whole"), "bootstrap = 1": ("MRD-E485", "from 10"), "threshold = nan": ("MRD-E485", "number"), "thresholds = [0.1, 0.5]": ("MRD-E484", "3"),
    "thresholds = [0.5, 0.1, 0.1]": ("MRD-E486", "low, high"), "thresholds = [0.1, 0.9, 1e-6]": ("MRD-E486", "1000"), "cost_ratio = 0": ("MRD-E485", "above 0"),
    "probabilities = ['a']\nscores = ['a']": ("MRD-E486", "one of the two"), "[cuts]\nage = ['x']": ("MRD-E484", "number"), "[endpoints.os]\ntime='t'\nevent='e'\nlandmark=-1": ("MRD-E485", "from 0"),
    "[study]\nethics = 3": ("MRD-E484", "text"), "id = '" + "x" * 5000 + "'": ("MRD-E485", "shorten"), "positive = 2020-01-01": ("MRD-E484", "text")}


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_be_meant_is_refused_with_what_to_do(tmp_path, text):
    code, words = REFUSED[text]
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    assert caught.value.code == code and words in caught.value.fix, caught.value.text()


def test_tables_with_the_user_s_names_are_limited():
    with pytest.raises(UsageError) as caught:
        config_from_mapping({"study": {f"k{number}": "x" for number in range(1000)}})
    assert caught.value.code == "MRD-E485"


@pytest.mark.parametrize("content, code", [(b"outcome = ", "MRD-E481"), (b"\xff\xfe", "MRD-E480"), (b"#" * (2 * 1024**2), "MRD-E480")])
def test_a_file_that_is_no_toml_is_refused_and_named_by_its_role(tmp_path, content, code):
    path = tmp_path / "anna-miller.toml"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_evaluation_config(path)
    assert caught.value.code == code and "evaluation file" in caught.value.what and "miller" not in caught.value.text()


def test_every_number_has_a_range_and_every_default_lies_in_it():
    for key in evaluation_config.keys():
        if "number" in key.kind:
            values = key.default if isinstance(key.default, tuple) else () if key.default is None else (key.default,)
            assert all(evaluation_config.RANGES[key.dotted].holds(value) for value in values), key.dotted
    assert set(evaluation_config.RANGES) <= {key.dotted for key in evaluation_config.keys()}


def test_the_document_lists_every_key_with_its_default_and_range():
    rows = dict(re.findall(r"^\| `([a-z_.*]+)` \| (.*) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE))
    assert set(rows) == {key.dotted for key in evaluation_config.keys()}
    for key in evaluation_config.keys():
        cells = [cell.strip() for cell in rows[key.dotted].split(" | ")]
        assert cells[0] == evaluation_config.default_words(key) and cells[1] == (key.allowed or key.kind), key.dotted
        assert len(cells) == 3 and cells[2], f"{key.dotted}: say what it does"
