"""The cohort table (cases D94 to D99): what is read, and that every refusal names line and column, and nothing that names a patient."""

from __future__ import annotations

import dataclasses
import json
import pickle
import unicodedata
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.cohort_table import Column, problems, read_cohort
from MRDeltaNetLib.io.cohort_table.dictionary import as_json, read_dictionary
from MRDeltaNetLib.io.cohort_table.values import category, likeness, number
from Testing.io.cohort_files import DICTIONARY, good_rows, spoiled, write_table

LIMITS = GateLimits()


def refused(path, code, *words, **options):
    """The one refusal of a table."""
    errors, _ = problems(path, **options)
    assert [error.code for error in errors] == [code], [error.text() for error in errors]
    assert errors[0].fix and isinstance(errors[0], InputError)
    for word in words:
        assert word in errors[0].text(), errors[0].text()
    with pytest.raises(InputError) as raised:
        read_cohort(path, **options)
    assert raised.value.text() == errors[0].text()
    return errors[0]


def declared(**columns):
    return {"columns": DICTIONARY["columns"] | columns}


def test_a_good_table_is_read_as_it_stands(tmp_path):
    more = {"pre_series": "1.2.3", "pre_label": "2", "volume_index": "0", "complete_response": "1", "death_time_months": "12.5", "death_event": "1",
            "fold": "", "latent_truth": "?", "pre_volume_ml": "20.5", "post_volume_ml": "0"}
    cohort = read_cohort(spoiled(tmp_path, {2: {"fold": "1"}, **{line: {"fold": "2"} for line in range(3, 8)}}, more=more))
    row = cohort.rows[0]
    assert (row.line, row.id, row.centre, row.set, row.fold, row.outcome, row.complete_response) == (2, "P001", "B", "train", 1, 1, True)
    assert row.files["pre"] == tmp_path / "scans-1" / "pre.nrrd" and set(row.files) == {"pre", "post", "pre_mask", "post_mask", "residual_mask"}
    assert row.options == {"pre_series": "1.2.3", "pre_label": 2, "volume_index": 0}
    assert row.dates == {"pre_date": date(2021, 1, 2), "post_date": date(2021, 4, 2)} and row.interval_days == 90
    assert row.clinical == {"age_years": 57.0, "bmi": 33.5, "sex": "male", "note": None}
    assert row.follow_up == {"death": (12.5, 1)} and row.volumes_ml == {"pre_volume_ml": 20.5, "post_volume_ml": 0.0}
    assert len(cohort.rows) == 6 and cohort.folder == tmp_path and cohort.dictionary["bmi"].unit == "kg/m2" and not cohort.notices


def test_a_row_can_be_sent_to_another_process(tmp_path):
    row = read_cohort(spoiled(tmp_path, {})).rows[0]
    assert pickle.loads(pickle.dumps(row)) == row


def test_the_smallest_table_needs_no_dictionary(tmp_path):
    rows = [{name: row[name] for name in ("id", "pre", "post", "outcome")} for row in good_rows(tmp_path)]
    row = read_cohort(write_table(tmp_path, rows, dictionary=None)).rows[0]
    assert (row.centre, row.set, row.fold, row.interval_days, row.complete_response) == (None, "train", None, None, False) and row.clinical == {}


def test_the_interval_comes_from_the_dates_where_it_is_not_stated(tmp_path):
    assert read_cohort(spoiled(tmp_path, {2: {"interval_days": ""}})).rows[0].interval_days == 90


def test_an_absolute_path_is_taken_as_it_is(tmp_path):
    other = tmp_path / "elsewhere" / "scan.nrrd"
    other.parent.mkdir()
    other.write_text("x")
    assert read_cohort(spoiled(tmp_path, {2: {"pre": str(other)}})).rows[0].files["pre"] == other


def test_a_prediction_table_needs_no_outcome_and_a_tabular_one_no_scans(tmp_path):
    rows = [{name: row[name] for name in ("id", "pre", "post")} for row in good_rows(tmp_path)]
    path = write_table(tmp_path, rows, dictionary=None)
    assert read_cohort(path, require_outcome=False).rows[0].outcome is None
    refused(path, "MRD-E438", "Line 1, column 'outcome'")
    path = write_table(tmp_path, [{"id": row["id"], "outcome": "1"} for row in rows], dictionary=None)
    assert len(read_cohort(path, require_files=False).rows) == 6


# D94: the file and its cells

def _bytes(path, change):
    path.write_bytes(change(path.read_bytes()))
    return path


def test_a_byte_order_mark_windows_line_ends_blank_lines_and_spaces_change_nothing(tmp_path):
    plain = read_cohort(spoiled(tmp_path, {}))
    changed = read_cohort(_bytes(tmp_path / "cohort.csv", lambda b: b"\xef\xbb\xbf" + b.replace(b"\n", b"\r\n").replace(b",", b" , ") + b"\r\n\r\n"))
    assert changed.rows == plain.rows and changed.sha256 != plain.sha256


@pytest.mark.parametrize("separator, word", [(b";", "semicolons"), (b"\t", "tabs")])
def test_another_separator_is_read_where_it_is_clear_and_said(tmp_path, separator, word):
    cohort = read_cohort(_bytes(spoiled(tmp_path, {}), lambda b: b.replace(b",", separator)))
    assert len(cohort.rows) == 6 and [notice.code for notice in cohort.notices] == ["MRD-W430"] and word in cohort.notices[0].text


@pytest.mark.parametrize("change, code, words", [
    (lambda b: b"", "MRD-E432", ["Line 1", "empty"]),
    (lambda b: b"\n \n", "MRD-E432", ["Line 1", "empty"]),
    (lambda b: b.split(b"\n")[0], "MRD-E432", ["Line 2", "no patient"]),
    (lambda b: b.replace(b"P003", b"P\xe403"), "MRD-E431", ["Line 4", "Latin-1"]),
    (lambda b: b.decode().encode("utf-16"), "MRD-E431", ["Line 1", "UTF-16"]),
    (lambda b: b.decode().encode("utf-16-le"), "MRD-E431", ["Line 1", "NUL"]),
    (lambda b: b.replace(b"P003", b"P\x0003"), "MRD-E431", ["Line 4", "NUL"]),
    (lambda b: b.replace(b"P003", b"P\x0703"), "MRD-E431", ["Line 4, column 1", "U+0007"]),
    (lambda b: b.replace(b"P003", "P\u200b03".encode()), "MRD-E431", ["Line 4, column 1", "U+200B"]),
    (lambda b: b.replace(b"P003", b'"P003'), "MRD-E435", ["Line 4, column 1", "quote"]),
    (lambda b: b.replace(b"P003", b'P"003'), "MRD-E435", ["Line 4, column 1", "quote"]),
    (lambda b: b.replace(b"P003", b'"P003"x'), "MRD-E435", ["Line 4, column 1", "quote"]),
    (lambda b: b.replace(b"P003,", b"P003,,"), "MRD-E436", ["Line 4, column 17", "17 cells under 16"]),
    (lambda b: b.replace(b"P003,", b""), "MRD-E436", ["Line 4, column 16", "15 cells under 16"]),
    (lambda b: b.replace(b"centre,set", b"set,set"), "MRD-E437", ["Line 1, column 3", "columns 2 and 3"]),
    (lambda b: b.replace(b"centre,set", b"centre,"), "MRD-E437", ["Line 1, column 3"]),
    (lambda b: b.replace(b"centre,set", b"centre;set"), "MRD-E434", ["Line 1", "commas and semicolons"]),
    (lambda b: b"sep=,\n" + b, "MRD-E434", ["Line 1", "sep="]),
    (lambda b: b.replace(b"P003", b"P" * 5000), "MRD-E433", ["Line 4, column 1", "5000 characters"]),
    (lambda b: b.split(b"\n", 1)[1].replace(b"\n", b"x\n"), "MRD-E438", ["Line 1, column 'id'"]),
    (lambda b: b.replace(b"id,", b"ID,", 1), "MRD-E438", ["Line 1, column 'id'", "nearly so", "exactly 'id'"]),
], ids=["empty", "blank", "header-only", "latin-1", "utf-16", "utf-16-le", "nul", "control", "invisible", "open-quote", "inner-quote", "after-quote", "too-many",
        "too-few", "twice", "unnamed", "mixed", "sep", "long-cell", "no-header", "ID"])
def test_files_that_are_no_clean_table_are_refused_with_their_line(tmp_path, change, code, words):
    path = _bytes(spoiled(tmp_path, {}), change)
    errors, _ = problems(path)
    assert errors[0].code == code, errors[0].text()
    for word in words:
        assert word in errors[0].text(), errors[0].text()


def test_a_file_without_a_header_is_not_quoted_back(tmp_path):
    path = _bytes(spoiled(tmp_path, {}), lambda b: b.split(b"\n", 1)[1].replace(b"\n", b"x\n"))
    assert not any(secret in error.text() for error in problems(path)[0] for secret in ("P001", "scans", "2021-0"))


def test_quoted_cells_hold_commas_and_quotes(tmp_path):
    cohort = read_cohort(_bytes(spoiled(tmp_path, {2: {"note": "X"}}), lambda b: b.replace(b",X\n", b',"one, ""two"""\n')))
    assert cohort.rows[0].clinical["note"] == 'one, "two"'


@pytest.mark.parametrize("limit, word", [({"max_table_bytes": 200}, "MiB"), ({"max_table_rows": 3}, "more than 3"), ({"max_table_columns": 5}, "at most 5")])
def test_tables_beyond_the_limits_are_refused(tmp_path, limit, word):
    limits = dataclasses.replace(LIMITS, **limit)
    error = refused(spoiled(tmp_path, {}), "MRD-E433", "Line ", word, limits=limits)
    assert "max_table_rows" not in limit or "Line 5" in error.what


def test_a_huge_file_is_not_read_whole(tmp_path):
    path = tmp_path / "cohort.csv"
    with open(path, "wb") as stream:
        stream.write(b"id,pre\n")
        stream.truncate(1024**3)                         # sparse
    refused(path, "MRD-E433", "64 MiB")


@pytest.mark.parametrize("name", ["absent.csv", ".", "cohort.json", "nul\0.csv"])
def test_what_is_no_table_is_refused(tmp_path, name):
    spoiled(tmp_path, {})
    error = refused(tmp_path / name, "MRD-E430")
    assert str(tmp_path) not in error.text()


# D95: identifiers

def test_ids_stay_text(tmp_path):
    ids = ["007", "1e5", "0x10", "TRUE", "12345678901234567890", "3.0"]
    cohort = read_cohort(spoiled(tmp_path, {line: {"id": name} for line, name in enumerate(ids, start=2)}))
    assert [row.id for row in cohort.rows] == ids


def test_ids_are_composed_unicode(tmp_path):
    name = "M\u00fcller"
    assert read_cohort(spoiled(tmp_path, {2: {"id": unicodedata.normalize("NFD", name)}})).rows[0].id == name


@pytest.mark.parametrize("second, code", [
    ("p001", "MRD-E442"), ("P 001", "MRD-E442"), ("\u0420001", "MRD-E442"), ("\uff30001", "MRD-E442"), ("P001", "MRD-E442"), (" P001 ", "MRD-E442"),
    ("", "MRD-E441"), ("P" * 65, "MRD-E441"), ("=cmd", "MRD-E441"), ("NA", "MRD-E443"), ("None", "MRD-E443"), ("?", "MRD-E443"), ("-", "MRD-E443")])
def test_ids_that_collide_or_name_nobody_are_refused(tmp_path, second, code):
    error = refused(spoiled(tmp_path, {5: {"id": second}}), code, "Line 5, column 'id'")
    assert "P001" not in error.text() and (code != "MRD-E442" or "line 2" in error.found)


def test_ids_that_differ_in_unicode_form_only_collide(tmp_path):
    name = "Z\u00e9"
    refused(spoiled(tmp_path, {2: {"id": name}, 4: {"id": unicodedata.normalize("NFD", name)}}), "MRD-E442", "Line 4, column 'id'")


def test_ids_that_only_look_a_little_alike_are_two_patients(tmp_path):
    ids = ["1-11", "11-1", "1 11", "11 1", "7", "007"]
    cohort = read_cohort(spoiled(tmp_path, {line: {"id": name} for line, name in enumerate(ids, start=2)}))
    assert [row.id for row in cohort.rows] == ids
    assert [notice.code for notice in cohort.notices] == ["MRD-W433"] and "line 7" in cohort.notices[0].text


def test_a_centre_has_one_spelling(tmp_path):
    refused(spoiled(tmp_path, {2: {"centre": "B"}, 4: {"centre": "b"}, 6: {"centre": "B"}}), "MRD-E442", "Line 4, column 'centre'")


@given(st.text(max_size=20))
@settings(max_examples=200, deadline=None)
def test_likeness_does_not_depend_on_case_and_is_stable(text):
    assert likeness(unicodedata.normalize("NFD", text)) == likeness(unicodedata.normalize("NFC", text))


# D96: codes, decimal commas, dates

@pytest.mark.parametrize("code", ["NA", "N/A", "na", "None", "NULL", "nan", "NaN", "-", "?", "\u2013"])
@pytest.mark.parametrize("column", ["age_years", "sex", "note", "pre_date", "outcome", "interval_days", "pre_mask"])
def test_codes_for_unknown_values_are_refused_unless_declared(tmp_path, code, column):
    refused(spoiled(tmp_path, {5: {column: code}}), "MRD-E443", f"Line 5, column '{column}'", f"'{code}'")


def test_declared_codes_and_empty_cells_are_unknown(tmp_path):
    dictionary = declared(age_years=DICTIONARY["columns"]["age_years"] | {"missing": ["9999", "-"]}) | {"missing": ["NA"]}
    cohort = read_cohort(spoiled(tmp_path, {2: {"age_years": "9999"}, 3: {"age_years": "-"}, 4: {"age_years": "NA", "sex": "NA"}, 5: {"age_years": "", "note": "NA"}},
                                 dictionary=dictionary))
    assert [row.clinical["age_years"] for row in cohort.rows[:4]] == [None] * 4 and cohort.rows[2].clinical["sex"] is None


@pytest.mark.parametrize("cell", ["9999", "999", "-9", "-99"])
def test_numbers_that_stand_for_unknown_are_refused_outside_the_range(tmp_path, cell):
    refused(spoiled(tmp_path, {3: {"age_years": cell}}), "MRD-E443", "Line 3, column 'age_years'", f"'{cell}'")


@pytest.mark.parametrize("cell", ["9999", "-1"])
def test_numbers_that_stand_for_unknown_are_refused_where_no_range_is_declared(tmp_path, cell):
    refused(spoiled(tmp_path, {3: {"age_years": cell}}, dictionary=declared(age_years={"role": "number"})), "MRD-E443", "Line 3, column 'age_years'")


def test_a_number_like_a_code_inside_the_declared_range_is_read_and_told(tmp_path):
    cohort = read_cohort(spoiled(tmp_path, {3: {"age_years": "999"}}, dictionary=declared(age_years={"role": "number", "minimum": 0, "maximum": 1000})))
    assert cohort.rows[1].clinical["age_years"] == 999 and [notice.code for notice in cohort.notices] == ["MRD-W432"] and "line 3" in cohort.notices[0].text


def test_a_decimal_comma_is_refused_with_its_remedy(tmp_path):
    path = _bytes(spoiled(tmp_path, {4: {"bmi": "22COMMA5"}}), lambda b: b.replace(b",", b";").replace(b"COMMA", b","))
    refused(path, "MRD-E444", "Line 4, column 'bmi'", "decimal comma", "4.2")


@pytest.mark.parametrize("cell", ["61 y", "<30", "1 000", "1_000", "1e999", "0x1F", "inf", "\u0663\u0664", "--5", "TRUE"])
def test_what_is_not_a_number_is_refused(tmp_path, cell):
    refused(spoiled(tmp_path, {4: {"bmi": cell}}), "MRD-E444", "Line 4, column 'bmi'")


@pytest.mark.parametrize("cell, word", [("03/04/2021", "which number is the month"), ("3.4.21", "which number is the month"), ("31/12/2021", "year-month-day"),
                                        ("2021/03/04", "year-month-day"), ("20210304", "whole number"), ("44259", "whole number"), ("2021-02-30", "no such day"),
                                        ("2021-3-4", "year-month-day"), ("March 2021", "year-month-day")])
def test_dates_are_year_month_day(tmp_path, cell, word):
    error = refused(spoiled(tmp_path, {4: {"pre_date": cell}}), "MRD-E447", "Line 4, column 'pre_date'", word)
    assert cell not in error.text()


@pytest.mark.parametrize("cells, column, word", [
    ({"post_date": "2020-12-01", "interval_days": ""}, "post_date", "earlier"), ({"post_date": "2021-01-04", "interval_days": ""}, "post_date", "same day"),
    ({"interval_days": "91"}, "interval_days", "91 days stated, 90"), ({"interval_days": "0"}, "interval_days", "whole number"),
    ({"interval_days": "90.0"}, "interval_days", "whole number"), ({"interval_days": "-90"}, "interval_days", "whole number")])
def test_dates_stand_in_order_and_agree_with_the_interval(tmp_path, cells, column, word):
    error = refused(spoiled(tmp_path, {4: cells}), "MRD-E448", f"Line 4, column '{column}'", word)
    assert "2020" not in error.text() and "2021" not in error.text()


def test_a_date_of_the_dictionary_keeps_its_order(tmp_path):
    dictionary = declared(surgery_date={"role": "date", "after": "post_date"})
    path = spoiled(tmp_path, {4: {"surgery_date": "2021-02-01"}}, more={"surgery_date": "2021-06-01"}, dictionary=dictionary)
    refused(path, "MRD-E448", "Line 4, column 'surgery_date'", "before 'post_date'")
    assert read_cohort(spoiled(tmp_path, {}, more={"surgery_date": "2021-06-01"}, dictionary=dictionary)).rows[0].dates["surgery_date"] == date(2021, 6, 1)


# D97: outcome and follow-up

@pytest.mark.parametrize("cell, word", [("2", "count classes from 1"), ("yes", "neither 0 nor 1"), ("pCR", "neither 0 nor 1"), ("1.0", "neither 0 nor 1"),
                                        ("", "unknown"), ("-1", "neither 0 nor 1")])
def test_the_outcome_is_0_or_1(tmp_path, cell, word):
    refused(spoiled(tmp_path, {4: {"outcome": cell}}), "MRD-E449", "Line 4, column 'outcome'", word)


def test_complete_response_is_0_or_1(tmp_path):
    refused(spoiled(tmp_path, {4: {"complete_response": "true"}}, more={"complete_response": "0"}), "MRD-E449", "Line 4, column 'complete_response'")


@pytest.mark.parametrize("cells, code, column", [
    ({"os_time_months": "0"}, "MRD-E450", "os_time_months"), ({"os_time_months": "-3"}, "MRD-E450", "os_time_months"), ({"os_event": "2"}, "MRD-E450", "os_event"),
    ({"os_time_months": "1 y"}, "MRD-E444", "os_time_months"), ({"os_event": ""}, "MRD-E450", "os_event"), ({"os_time_months": ""}, "MRD-E450", "os_time_months")])
def test_follow_up_needs_a_time_above_zero_and_an_event(tmp_path, cells, code, column):
    refused(spoiled(tmp_path, {4: cells}, more={"os_time_months": "24", "os_event": "0"}), code, f"Line 4, column '{column}'")


def test_both_halves_of_a_follow_up_may_be_empty_but_both_columns_are_needed(tmp_path):
    assert read_cohort(spoiled(tmp_path, {}, more={"os_time_months": "", "os_event": ""})).rows[0].follow_up == {}
    refused(spoiled(tmp_path, {}, more={"os_event": "0"}), "MRD-E450", "Line 1, column 'os_event'")


# D98: sets and folds

@pytest.mark.parametrize("more, changes, code, place", [
    ({"fold": "1"}, {3: {"fold": "2"}, 5: {"id": "P001", "fold": "2"}}, "MRD-E456", "Line 5, column 'id'"),
    ({}, {5: {"id": "P001", "set": "external"}}, "MRD-E456", "Line 5, column 'id'"),
    ({}, {5: {"set": "test"}}, "MRD-E451", "Line 5, column 'set'"), ({}, {5: {"set": ""}}, "MRD-E451", "Line 5, column 'set'"),
    ({"fold": "1"}, {5: {"fold": "x"}, 2: {"fold": "2"}}, "MRD-E451", "Line 5, column 'fold'"),
    ({"fold": "1"}, {5: {"fold": ""}, 2: {"fold": "2"}}, "MRD-E451", "Line 5, column 'fold'"),
    ({"fold": "1"}, {5: {"fold": "2", "set": "external"}, 2: {"fold": "2"}}, "MRD-E451", "Line 5, column 'fold'"),
    ({"fold": "1"}, {}, "MRD-E451", "Line 2, column 'fold'")])
def test_nobody_is_on_both_sides_and_folds_are_whole(tmp_path, more, changes, code, place):
    refused(spoiled(tmp_path, changes, more=more), code, place)


@pytest.mark.parametrize("changes, place", [({4: {"pre": "scans-1/pre.nrrd"}}, "Line 4, column 'pre'"), ({4: {"pre": "scans-1/../scans-1/pre.nrrd"}}, "Line 4, column 'pre'"),
                                            ({4: {"post": "scans-3/pre.nrrd"}}, "Line 4, column 'post'"), ({4: {"pre_mask": "scans-3/pre.nrrd"}}, "Line 4, column 'pre_mask'"),
                                            ({4: {"residual_mask": "scans-3/post_mask.nrrd"}}, "Line 4, column 'residual_mask'")])
def test_a_file_used_twice_is_refused(tmp_path, changes, place):
    error = refused(spoiled(tmp_path, changes), "MRD-E453", place)
    assert "scans" not in error.text() and ("line 2" in error.found or "this row" in error.found)


def test_two_series_of_a_folder_and_two_labels_of_a_mask_are_two_things(tmp_path):
    folder = tmp_path / "dicom"
    folder.mkdir()
    path = spoiled(tmp_path, {4: {"pre": "dicom", "post": "dicom", "pre_series": "1.2", "post_series": "1.3", "residual_mask": "scans-3/post_mask.nrrd",
                                  "post_label": "1", "residual_label": "2"}}, more={"pre_series": "", "post_series": "", "post_label": "", "residual_label": ""})
    assert read_cohort(path).rows[2].options == {"pre_series": "1.2", "post_series": "1.3", "post_label": 1, "residual_label": 2}


@pytest.mark.parametrize("cell", ["scans-9/pre.nrrd", "~/pre.nrrd", "$HOME", "`touch x`", "http://example.org/pre.nrrd", "scans-3\\pre.nrrd", "x" * 3000])
def test_files_that_are_not_there_are_named_by_line_and_column_only(tmp_path, cell):
    error = refused(spoiled(tmp_path, {4: {"pre": cell}}), "MRD-E452", "Line 4, column 'pre'")
    assert cell not in error.text() and str(tmp_path) not in error.text()


@pytest.mark.parametrize("column, cell", [("pre", "scans-9/pre.nrrd"), ("post_mask", "scans-9/post_mask.nrrd"), ("pre_mask", "scans-3"), ("post", "x" * 3000)])
def test_files_that_are_not_there_are_left_to_their_case_where_nobody_requires_them(tmp_path, column, cell):
    read = read_cohort(spoiled(tmp_path, {4: {column: cell}}), require_files=False)
    assert len(read.rows) == 6 and read.rows[2].files[column] == tmp_path / cell


def test_a_mask_is_a_file_and_a_scan_is_named(tmp_path):
    refused(spoiled(tmp_path, {4: {"pre_mask": "scans-3"}}), "MRD-E452", "Line 4, column 'pre_mask'", "folder")
    refused(spoiled(tmp_path, {4: {"post": ""}}), "MRD-E452", "Line 4, column 'post'", "no scan")


@pytest.mark.parametrize("cells, column", [({"pre_label": "0"}, "pre_label"), ({"pre_label": "1.0"}, "pre_label"), ({"volume_index": "-1"}, "volume_index"),
                                           ({"pre_series": "1" * 200}, "pre_series"), ({"pre_label": "1", "pre_mask": ""}, "pre_label"),
                                           ({"pre_label": "tumour"}, "pre_label"), ({"mrtrg": "0"}, "mrtrg"), ({"mrtrg": "6"}, "mrtrg"), ({"mrtrg": "2.5"}, "mrtrg")])
def test_options_that_choose_nothing_are_refused(tmp_path, cells, column):
    refused(spoiled(tmp_path, {4: cells}, more={"pre_label": "", "volume_index": "", "pre_series": "", "mrtrg": ""}), "MRD-E454", f"Line 4, column '{column}'")


# D99: ranges and categories

@pytest.mark.parametrize("cell, word", [("298", "29.8 would fit"), ("2.98", "29.8 would fit"), ("150", "15 would fit")])
def test_numbers_outside_the_range_are_refused_with_the_mix_up_that_explains_them(tmp_path, cell, word):
    refused(spoiled(tmp_path, {4: {"bmi": cell}}), "MRD-E445", "Line 4, column 'bmi'", cell, "12 to 70 kg/m2", word)


def test_the_range_includes_its_ends_and_may_be_open(tmp_path):
    assert number("12", Column("number", minimum=12, maximum=70)) == 12 and number("70", Column("number", minimum=12, maximum=70)) == 70
    assert number("7e3", Column("number", minimum=0)) == 7000


@pytest.mark.parametrize("cell, word", [("Male", "perhaps 'male'"), ("m", "declared are female, male"), ("1", "declared"), ("femal", "perhaps 'female'")])
def test_categories_that_are_not_declared_are_refused(tmp_path, cell, word):
    refused(spoiled(tmp_path, {4: {"sex": cell}}), "MRD-E446", "Line 4, column 'sex'", word)


def test_a_code_may_be_a_category_where_it_is_declared_as_one():
    assert category("none", Column("category", categories=("none", "present"))) == "none"


# the data dictionary

def test_columns_have_to_be_declared(tmp_path):
    refused(spoiled(tmp_path, {}, more={"albumin": "40"}), "MRD-E439", "Line 1, column 'albumin'")
    refused(spoiled(tmp_path, {}, more={"premask": ""}), "MRD-E439", "Line 1, column 'premask'", "perhaps 'pre_mask'")
    (tmp_path / "cohort.json").unlink()
    errors, _ = problems(spoiled(tmp_path, {}, dictionary=None))
    assert {error.code for error in errors} == {"MRD-E439"} and len(errors) == 4 and all("--write-dictionary" in error.fix for error in errors)


def test_a_declared_column_that_is_not_there_is_told(tmp_path):
    cohort = read_cohort(spoiled(tmp_path, {}, dictionary=declared(albumin={"role": "number"})))
    assert [notice.code for notice in cohort.notices] == ["MRD-W431"] and "albumin" not in cohort.dictionary


@pytest.mark.parametrize("entry, word", [
    ("text", "not an object"), ({}, "no role"), ({"role": "numeric"}, "no such role"), ({"role": "number", "minimum": "0"}, "'minimum' is not a number"),
    ({"role": "number", "minimum": 5, "maximum": 1}, "above the maximum"), ({"role": "category"}, "list of values"), ({"role": "category", "categories": [1, 2]}, "list of texts"),
    ({"role": "category", "categories": ["a", "a"]}, "twice"), ({"role": "text", "minimum": 1}, "does not go with"), ({"role": "number", "units": "x"}, "perhaps 'unit'"),
    ({"role": "number", "missing": [9999]}, "list of texts"), ({"role": "category", "categories": ["a", "b"], "missing": ["a"]}, "both a category"),
    ({"role": "date", "after": "never"}, "names no date"), ({"role": "number", "stated": {"mean": 5}}, "not known"), ({"role": "number", "stated": {"n": "5"}}, "not a number"),
    ({"role": "category", "categories": ["a"], "stated": {"counts": {"b": 5}}}, "no categories")])
def test_data_dictionaries_that_say_nothing_clear_are_refused(tmp_path, entry, word):
    refused(spoiled(tmp_path, {}, dictionary=declared(bmi=entry)), "MRD-E440", "column 'bmi'", word)


@pytest.mark.parametrize("dictionary, code", [([], "MRD-E440"), ({"columns": []}, "MRD-E440"), ({"columns": {}, "colums": {}}, "MRD-E440"),
                                              ({"columns": {"id": {"role": "number"}}}, "MRD-E440"), ({"columns": {"latent_x": {"role": "number"}}}, "MRD-E440")])
def test_other_dictionaries_are_refused(tmp_path, dictionary, code):
    refused(spoiled(tmp_path, {}, dictionary=dictionary), code, "data dictionary")


def test_a_dictionary_that_is_not_strict_json_is_refused(tmp_path):
    path = spoiled(tmp_path, {})
    (tmp_path / "cohort.json").write_text('{"columns": {"bmi": {"role": "number", "maximum": NaN}}}')
    refused(path, "MRD-E421", "data dictionary", "line 1")


def test_a_column_is_written_as_it_is_read(tmp_path):
    columns = {"x": Column("number", "mm", -1.5, 8, meaning="m", missing=("9999",), stated={"n": 5}), "y": Column("category", categories=("a", "b")),
               "z": Column("date", after="post_date"), "id": Column("own", meaning="who")}
    place = tmp_path / "d.json"
    place.write_text(json.dumps({"columns": {name: as_json(column) for name, column in columns.items()}}))
    assert read_dictionary(place, frozenset({"id", "post_date"})) == columns


# all problems at once

def test_all_problems_are_told_in_the_order_of_the_lines(tmp_path):
    path = spoiled(tmp_path, {6: {"outcome": "x"}, 3: {"bmi": "400", "sex": "?"}, 4: {"id": "P001", "bmi": "400"}})
    errors, _ = problems(path)
    assert [error.code for error in errors] == ["MRD-E445", "MRD-E443", "MRD-E445", "MRD-E442", "MRD-E449"]
    with pytest.raises(InputError) as raised:
        read_cohort(path)
    assert raised.value.code == "MRD-E445"


def test_the_list_of_problems_is_bounded(tmp_path):
    path = spoiled(tmp_path, {line: {"bmi": "400"} for line in range(2, 22)}, count=20)
    errors, _ = problems(path, dataclasses.replace(LIMITS, max_table_problems=5))
    assert [error.code for error in errors] == ["MRD-E445"] * 5 + ["MRD-E459"] and "15 more" in errors[-1].found


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_bytes_are_read_or_refused_with_a_remedy(tmp_path_factory, content, place):
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    folder.mkdir(exist_ok=True)
    path = folder / "cohort.csv"
    header = b"id,pre,post,outcome,interval_days\nA,x,y,1,90\nB,x,y,0,90\n"
    path.write_bytes(header[:place] + content + header[place:])
    errors, _ = problems(path, require_files=False)
    assert all(error.code.startswith("MRD-E4") and error.fix and str(folder) not in error.text() for error in errors)


def test_the_documented_example_is_read(tmp_path):
    """The table and the dictionary of docs/reference/cohort-table.md."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "cohort-table.md").read_text(encoding="utf-8")
    table, about = (text.split(f"```{kind}\n")[1].split("```")[0] for kind in ("csv", "json"))
    (tmp_path / "cohort.csv").write_text(table, encoding="utf-8")
    (tmp_path / "cohort.json").write_text(about, encoding="utf-8")
    for cell in (cell for line in table.splitlines()[1:] for cell in line.split(",") if "/" in cell):
        place = tmp_path / cell
        place.parent.mkdir(exist_ok=True)
        place.mkdir() if "dicom" in cell else place.write_text(cell)
    cohort = read_cohort(tmp_path / "cohort.csv")
    assert [row.id for row in cohort.rows] == ["007", "1e5", "S-12"] and [row.set for row in cohort.rows] == ["train", "train", "external"]
    assert cohort.rows[0].follow_up == {"os": (38.5, 0)} and cohort.rows[1].clinical["cea_ng_ml"] is None and cohort.rows[2].interval_days == 98


@pytest.mark.parametrize("cell", ["MUSTERMANN", "MUSTERMANN; Erika", "1958-03-02", "02.03.1958", "2/3/1958", "00123456789", "PAT-0815"])
@pytest.mark.parametrize("column, more", [("age_years", {}), ("sex", {}), ("outcome", {}), ("set", {}), ("interval_days", {}), ("fold", {"fold": "1"}),
                                          ("pre_label", {"pre_label": "1"}), ("pre_volume_ml", {"pre_volume_ml": "1"}), ("death_event", {"death_time_months": "2", "death_event": "1"})])
def test_a_name_a_date_or_an_id_that_slipped_into_another_column_is_not_said_back(tmp_path, column, more, cell):
    errors, notices = problems(spoiled(tmp_path, {5: {column: cell}}, more=more))
    assert any(f"Line 5, column '{column}'" in error.text() for error in errors)
    assert all(cell not in said.text() for said in errors) and all(cell not in notice.text for notice in notices)


@pytest.mark.parametrize("column, cell", [("age_years", "4,2"), ("outcome", "2"), ("outcome", "yes"), ("sex", "Female"), ("sex", "X")])
def test_what_names_nobody_is_said_back(tmp_path, column, cell):
    errors, _ = problems(spoiled(tmp_path, {5: {column: f'"{cell}"' if "," in cell else cell}}))
    assert f"'{cell}'" in errors[0].found
