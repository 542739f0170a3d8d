"""Strict JSON (case D101), clinical values, and CSV without formulas."""

from __future__ import annotations

import csv
import json
import math
import os

import pytest
from hypothesis import given, settings, strategies as st

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.tables import neutral, read_clinical, read_json, write_csv

GOOD = '{"a": 1, "b": [1.5, -2e3, true, null, "text ä"], "c": {"d": "NaN"}}'


def refused(source, **more):
    with pytest.raises(InputError) as caught:
        read_json(source, **more)
    assert caught.value.fix
    return caught.value


def test_ordinary_json_is_read_as_it_stands(tmp_path):
    file = tmp_path / "ä b.json"
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert read_json(file) == json.loads(GOOD) == read_json(GOOD.encode())


@settings(max_examples=100, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers(-10**17, 10**17) | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(exclude_categories=["Cs"])),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4), max_leaves=20))
def test_whatever_python_writes_strictly_is_read_back(value):
    assert read_json(json.dumps(value, allow_nan=False).encode()) == value


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_with_a_remedy(content):
    try:
        read_json(content)
    except InputError as problem:
        assert problem.code.startswith("MRD-E42") and problem.fix


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"], ids=lambda t: f"D101-{t}")
def test_values_that_are_no_numbers_are_refused_with_their_place(token):
    problem = refused(('{"note": "NaN Infinity 1e999",\n "x": ' + token + "}").encode())
    assert problem.code == "MRD-E421" and token in problem.found and "line 2, column 7" in problem.found and "null" in problem.fix


def test_d101_a_key_twice_is_refused():
    problem = refused(b'{"a": 1, "b": {"c": 1, "c": 2}}')
    assert problem.code == "MRD-E422" and "'c'" in problem.found and "keep one" in problem.fix
    assert read_json(b'{"a": {"c": 1}, "b": {"c": 2}}') == {"a": {"c": 1}, "b": {"c": 2}}


@pytest.mark.parametrize("content", [b"[" * 200_000, b'{"a":' * 100_000, b"[" * 200_000 + b"]" * 200_000, b"[" * 40 + b"]" * 40],
                         ids=["D101-open-lists", "D101-open-objects", "D101-closed", "D101-forty"])
def test_deep_nesting_is_refused(content):
    problem = refused(content)
    assert problem.code == "MRD-E423" and "right file" in problem.fix


def test_d101_thirty_levels_are_read():
    assert read_json(b"[" * 30 + b"]" * 30)


@pytest.mark.parametrize("digits", [19, 5000, 500_000], ids=lambda d: f"D101-{d}-digits")
def test_whole_numbers_that_64_bits_may_not_hold_are_refused(digits):
    problem = refused(b'{"id":\n' + b"9" * digits + b"}")
    assert problem.code == "MRD-E424" and f"{digits} digits, line 2" in problem.found and "double quotes" in problem.fix


def test_d101_a_file_over_the_cap_is_refused_without_reading_it_all(tmp_path):
    file = tmp_path / "big.json"
    with open(file, "wb") as stream:
        stream.truncate(1024**3)
    problem = refused(file)
    assert problem.code == "MRD-E425" and "1024 KiB" in problem.found
    assert refused(b'"' + b"x" * 5000 + b'"', limits=GateLimits(max_json_bytes=4096)).code == "MRD-E425"


@pytest.mark.parametrize("content, place", [(b"", "line 1, column 1"), (b"{'a': 1}", "line 1, column 2"), (b'{"a": 1,\n "b": }', "line 2, column 7"), (b'{"a": 1} x', "line 1, column 10"),
                                            (b"a: !!python/object/apply:os.system [id]", "line 1"), (b"{}\x00", "line 1"), (b'{"a": "line\nbreak"}', "line 1")],
                         ids=["D101-empty", "D101-single-quotes", "D101-cut", "D101-trailing", "D101-yaml", "D101-nul", "D101-newline-in-text"])
def test_what_is_no_json_is_refused_with_line_and_column(content, place):
    problem = refused(content)
    assert problem.code == "MRD-E420" and place in problem.found and "correct that line" in problem.fix


@pytest.mark.parametrize("content", ['{"a": "ä"}'.encode("latin-1"), '{"a": 1}'.encode("utf-16"), b"\xff\xfe\x00"], ids=["D101-latin-1", "D101-utf-16", "D101-binary"])
def test_what_is_not_utf8_is_refused(content):
    problem = refused(content)
    assert problem.code == "MRD-E426" and "UTF-8" in problem.fix


def test_d101_what_is_no_file_is_refused_without_its_path(tmp_path):
    places = [tmp_path / "Müller^Hans.json", tmp_path, tmp_path / "a\0b"]
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        places.append(tmp_path / "pipe")
    for place in places:
        problem = refused(place)
        assert problem.code == "MRD-E427" and "Müller" not in str(problem) and str(tmp_path) not in str(problem)


def test_messages_name_the_file_by_its_role():
    assert refused(b"", what="the job file").what.startswith("The job file")


def clinical(tmp_path, text):
    (tmp_path / "c.json").write_text(text, encoding="utf-8")
    return read_clinical(tmp_path / "c.json")


def test_clinical_values_come_back_untouched(tmp_path):
    found = clinical(tmp_path, '{"age_years": 61, "cea_ug_l": 4.20, "sex": "f", "emvi": true, "cT": null, "id": "007"}')
    assert found == {"age_years": 61, "cea_ug_l": 4.2, "sex": "f", "emvi": True, "cT": None, "id": "007"} and found["emvi"] is True


@pytest.mark.parametrize("text, said", [("[1, 2]", "a list"), ("3", "a number"), ('{"cea": {"value": 4}}', "'cea' is an object"), ('{"cea": [4]}', "'cea' is a list"),
                                        ('{"": 1}', "name"), ('{"%s": 1}' % ("x" * 65), "name"), ('{"a\\u001b[31m": 1}', "name"), ('{"a": "\\ud800"}', "'a'"), ('{"a": "%s"}' % ("x" * 1001), "'a'")],
                         ids=["D101-list", "D101-bare", "D101-object-inside", "D101-list-inside", "D101-empty-name", "D101-long-name", "D101-escape-in-name", "D101-half-surrogate", "D101-long-text"])
def test_clinical_values_of_the_wrong_type_are_refused(tmp_path, text, said):
    with pytest.raises(InputError) as caught:
        clinical(tmp_path, text)
    assert caught.value.code == "MRD-E428" and said in caught.value.found and "flat object" in caught.value.fix


@pytest.mark.parametrize("cell", ["=1+1", "+1+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", " =1", "\r\n=1", "＝1+1", "-"])
def test_a_text_that_looks_like_a_formula_gets_an_apostrophe(cell):
    assert neutral(cell).startswith("'")


@pytest.mark.parametrize("cell", ["-5", "+1.5e-3", "case-0001", "a=b", "", "T2", -5, 1.25, None, True])
def test_numbers_and_plain_texts_stay_as_they_are(cell):
    assert neutral(cell) == cell


def test_a_table_is_read_back_by_another_reader_as_it_was_written(tmp_path):
    rows = [{"id": "007", "note": 'says "a, b"\nand more', "x": 0.1 + 0.2}, {"id": "=2+2", "note": None, "x": -1}]
    write_csv(tmp_path / "t.csv", rows, ["id", "note", "x"])
    with open(tmp_path / "t.csv", newline="", encoding="utf-8") as stream:
        found = list(csv.DictReader(stream))
    assert found == [{"id": "007", "note": 'says "a, b"\nand more', "x": repr(0.1 + 0.2)}, {"id": "'=2+2", "note": "", "x": "-1"}]
    assert math.isclose(float(found[0]["x"]), 0.3) and os.listdir(tmp_path) == ["t.csv"]


def test_a_row_with_a_column_that_is_not_named_is_refused_and_keeps_the_earlier_table(tmp_path):
    write_csv(tmp_path / "t.csv", [{"a": 1}], ["a"])
    with pytest.raises(ValueError, match="b"):
        write_csv(tmp_path / "t.csv", [{"a": 1, "b": 2}], ["a"])
    assert (tmp_path / "t.csv").read_text() == "a\n1\n"
