"""Tables of an evaluation: read strictly, as text, whatever wrote them."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("pandas", reason="the cohort extra is not installed")

from MRDeltaNetLib.errors import InputError  # noqa: E402
from MRDeltaNetLib.io import evaluation_table  # noqa: E402
from MRDeltaNetLib.io.evaluation_table import LIMITS, read_table, stacked  # noqa: E402


def write(tmp_path, text: str | bytes, name: str = "t.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def read(tmp_path, text: str | bytes):
    return read_table(write(tmp_path, text), "the table of predictions")


def test_every_cell_is_text_as_it_is_written_and_knows_its_line(tmp_path):
    frame = read(tmp_path, "id,p_pcr,sex\n007,1e5,\n\n 1.0 ,NA,f\n").frame
    assert frame.to_dict("list") == {"id": ["007", "1.0"], "p_pcr": ["1e5", "NA"], "sex": ["", "f"]}
    assert frame.index.tolist() == [2, 4] and frame.index.name == "line"


@pytest.mark.parametrize("text", ['"id","name"\n"1","a, b"\n"2","say ""x"""\n', '\ufeff"id";"name"\r\n1;"a, b"\r\n2;"say ""x"""\r\n', 'id\tname\n1\ta, b\n2\t"say ""x"""'])
def test_quotes_separators_line_ends_and_marks_make_no_difference(tmp_path, text):
    assert read(tmp_path, text).frame.to_dict("list") == {"id": ["1", "2"], "name": ["a, b", 'say "x"']}


def test_row_names_as_r_writes_them_are_a_column_of_that_name(tmp_path):
    assert list(read(tmp_path, '"","id"\n"1","a"\n').frame.columns) == ["row_names", "id"]
    with pytest.raises(InputError) as caught:
        read(tmp_path, "id,\n1,2\n")
    assert caught.value.code == "MRD-E437"


def test_letters_that_look_alike_in_unicode_s_two_forms_are_the_same(tmp_path):
    assert read(tmp_path, "id,x\nA\u0308,1\n").frame["id"].tolist() == ["\u00c4"]


REFUSED = {
    "nothing": ("", "MRD-E432", "Line 1"), "a header only": ("id,p\n", "MRD-E432", "Line 2"), "too few cells": ("id,p\n1,2\n3\n", "MRD-E436", "Line 3"),
    "too many cells": ("id,p\n1,2\n3,4,5\n", "MRD-E436", "Line 3"), "a quote that stays open": ('id,p\n1,"2\n3,4\n', "MRD-E435", "Line 2"),
    "a quote inside": ('id,p\n1,2"3\n', "MRD-E435", "Line 2"), "text after a quote": ('id,p\n1,"2"3\n', "MRD-E435", "Line 2"),
    "a control character": ("id,p\n1,2\n3,4\x07\n", "MRD-E431", "Line 3"), "no text": (b"id,p\n1,\x00\n", "MRD-E431", "Line 2"),
    "Latin-1": ("id,p\nä,2\n".encode("latin-1"), "MRD-E431", "Line 2"), "UTF-16": ("id,p\n1,2\n".encode("utf-16"), "MRD-E431", "Line 1"),
    "two columns of one name": ("id,p,p\n1,2,3\n", "MRD-E437", "Line 1"), "a huge cell": ("id,p\n1," + "x" * 5000 + "\n", "MRD-E433", "Line 2"),
    "an unclear separator": ("id;p,q\n1;2\n", "MRD-E434", "Line 1")}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_table_is_refused_with_its_line(tmp_path, name):
    text, code, place = REFUSED[name]
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert caught.value.code == code and place in caught.value.what and caught.value.what.startswith("The table of predictions"), caught.value.text()


def test_a_folder_and_a_missing_file_are_refused_without_their_path(tmp_path):
    for path in (tmp_path, tmp_path / "anna-miller.csv"):
        with pytest.raises(InputError) as caught:
            read_table(path, "the cohort table")
        assert caught.value.code == "MRD-E430" and "The cohort table" in caught.value.what and "miller" not in caught.value.text()


def test_sizes_are_limited_before_memory_is(tmp_path, monkeypatch):
    path = write(tmp_path, "id,p\n1,2\n3,4\n5,6\n")
    with pytest.raises(InputError) as caught:
        read_table(path, "it", replace(LIMITS, max_table_rows=2))
    assert caught.value.code == "MRD-E433" and "Line 4" in caught.value.what
    with pytest.raises(InputError) as caught:
        read_table(path, "it", replace(LIMITS, max_table_bytes=8))
    assert caught.value.code == "MRD-E433"
    monkeypatch.setattr(evaluation_table, "MAX_CELLS", 5)
    with pytest.raises(InputError) as caught:
        read_table(path, "it")
    assert caught.value.code == "MRD-E433" and "3 rows of 2 columns" in caught.value.found
    assert LIMITS.max_table_rows >= 10**6


def test_a_data_dictionary_beside_the_table_is_read_only_where_it_is_meant(tmp_path):
    path = write(tmp_path, "id,age\n1,61\n")
    write(tmp_path, '{"columns": {"age": {"role": "number", "unit": "years", "missing": ["-9"]}, "other": {"role": "ignored"}}}', "t.json")
    assert read_table(path, "it").dictionary == {}
    dictionary = read_table(path, "it", with_dictionary=True).dictionary
    assert list(dictionary) == ["age"] and dictionary["age"].missing == ("-9",)
    write(tmp_path, "{}", "t.json")
    with pytest.raises(InputError) as caught:
        read_table(path, "it", with_dictionary=True)
    assert caught.value.code == "MRD-E440"


def test_several_tables_count_as_one_and_keep_their_lines(tmp_path):
    first, second = read(tmp_path, "id,p,fold\na,1,0\n"), read(tmp_path, "id,p\nb,2\n")
    frame = stacked([first, second])
    assert frame.to_dict("list") == {"id": ["a", "b"], "p": ["1", "2"], "fold": ["0", ""]}
    assert frame.index.tolist() == ["2 of table 1", "2 of table 2"] and frame.index.name == "line"
    assert stacked([first]) is first.frame
