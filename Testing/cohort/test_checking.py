"""What a check of a cohort table tells: counts, plausibility, files, and the draft of a data dictionary. Made-up tables; no image is read."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from MRDeltaNetLib.cohort.checking import check_cohort, expected_auc_interval, write_dictionary
from MRDeltaNetLib.cohort.checking.files import check_files
from MRDeltaNetLib.cohort.simulation import simulate_cohort
from MRDeltaNetLib.config import ValidationConfig
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.cohort_table import read_cohort
from Testing.simulated import small_pair, write_pair
from Testing.io.cohort_files import DICTIONARY, FILES, good_rows, spoiled, write_table

COUNT = 60


def cohort_rows(folder, count=COUNT, seed=0):
    """A cohort that nothing is wrong with: ages and BMI normal, 40 % women, a third pCR, two centres."""
    rng = np.random.default_rng(seed)
    rows = good_rows(folder, count)
    for n, row in enumerate(rows):
        row |= {"outcome": str(int(n % 3 == 0)), "sex": "female" if n % 5 < 2 else "male", "age_years": f"{np.clip(rng.normal(61, 9), 35, 85):.1f}",
                "bmi": f"{np.clip(rng.normal(26, 3), 18, 36):.1f}", "pre_volume_ml": f"{rng.uniform(5, 40):.2f}"}
        row["post_volume_ml"] = f"{float(row['pre_volume_ml']) * rng.uniform(0.2, 0.6):.2f}"
    return rows


def dictionary(**columns):
    return {"columns": DICTIONARY["columns"] | columns}


def check(folder, rows, about=DICTIONARY, **options):
    return check_cohort(write_table(folder, rows, dictionary=about), **options)


def codes(report):
    return sorted({notice.code for notice in report.notices})


def told(report, code):
    return [notice for notice in report.notices if notice.code == code]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The rows, with absolute paths of files that no test changes."""
    folder = tmp_path_factory.mktemp("scans")
    return [row | {name: str(folder / row[name]) for name in FILES} for row in cohort_rows(folder)]


@pytest.fixture
def rows(sound):
    return [dict(row) for row in sound]


def test_a_sound_cohort_is_described_and_nothing_is_said_against_it(tmp_path, rows):
    report = check(tmp_path, rows)
    assert not report.errors and codes(report) == ["MRD-W439"]          # 20 and 40 patients are few, and that is all
    text = "\n".join(report.lines)
    assert "60 patients" in text and "Set train: 60 patients: 20 pCR, 40 non-pCR" in text and "Centre A: 30 patients" in text
    assert "sex: 60 of 60 known: female 24, male 36" in text and "Files: pre 60, post 60" in text and "Shrinkage" in text


def test_the_report_names_no_patient_date_or_path(tmp_path, rows):
    rows[3]["bmi"], rows[5]["id"] = "298", rows[4]["id"]
    report = check(tmp_path, rows)
    said = "\n".join([*report.lines, *(n.text + n.fix for n in report.notices), *(e.text() for e in report.errors)])
    assert len(report.errors) == 2 and not any(secret in said for secret in ("P00", "scans", "2021-", str(tmp_path)))
    assert "of the 58 without a refusal" in report.lines[0]


def test_the_interval_is_that_of_hanley_and_mcneil():
    """The interval of an AUC of 0.90 with 31 of one and 150 of the other class, and the limit of many cases."""
    low, high = expected_auc_interval(0.90, 31, 150)
    assert (round(low, 3), round(high, 3)) == (0.826, 0.974)
    assert expected_auc_interval(0.5, 10**6, 10**6)[1] - 0.5 == pytest.approx(1.96 * np.sqrt(1 / 6 / 10**6), rel=1e-3)   # Mann-Whitney: (n1+n0+1)/(12 n1 n0)
    assert expected_auc_interval(1.0, 5, 5) == (1.0, 1.0)


def test_the_interval_covers_the_auc_of_exponential_scores():
    """Its model is exponential scores: the standard error is that of simulated AUCs."""
    rng = np.random.default_rng(0)
    pcr, other, rate = 20, 60, 4.0                                       # AUC = rate / (rate + 1) = 0.8
    high, low = rng.exponential(rate, (4000, pcr)), rng.exponential(1.0, (4000, other))
    aucs = (high[:, :, None] > low[:, None]).mean((1, 2))
    lower, upper = expected_auc_interval(0.8, pcr, other)
    assert aucs.mean() == pytest.approx(0.8, abs=0.003) and (upper - lower) / (2 * 1.96) == pytest.approx(aucs.std(), rel=0.05)


@pytest.mark.parametrize("pcr, refused", [(0, True), (9, True), (10, False), (50, False), (51, True), (60, True)])
def test_one_outcome_only_or_fewer_than_ten_events_are_refused(tmp_path, rows, pcr, refused):
    for n, row in enumerate(rows):
        row["outcome"] = str(int(n < pcr))
    report = check(tmp_path, rows)
    assert [error.code for error in report.errors] == ["MRD-E455"] * refused
    if refused:
        assert "Lines 2 to 61, column 'outcome'" in report.errors[0].what and f"{pcr} pCR" in report.errors[0].found
    assert not check(tmp_path, rows, validation=ValidationConfig(min_events=0)).errors or pcr in (0, 60)


def test_events_and_folds_are_judged_as_the_study_would(tmp_path, rows):
    from typer.testing import CliRunner

    from MRDeltaNetLib.cli import app

    for n, row in enumerate(rows):
        row["outcome"] = str(int(n < 6))
    table = write_table(tmp_path, rows, dictionary=DICTIONARY)

    def status(*lines: str) -> tuple[int, str]:
        (tmp_path / "study.toml").write_text("\n".join(['cohort = "cohort.csv"', 'cache = "cache"', 'out = "out"', "[validation]", *lines]) + "\n", encoding="utf-8")
        done = CliRunner().invoke(app, ["cohort", "check", str(table), "--config", str(tmp_path / "study.toml")])
        return done.exit_code, done.output

    assert CliRunner().invoke(app, ["cohort", "check", str(table)]).exit_code == 3
    code, said = status("min_events = 7")
    assert code == 3 and "MRD-E455" in said and "at least 7" in said
    code, said = status("min_events = 6", "folds = 4")
    assert code == 3 and "MRD-E775" in said and "4 folds" in said
    code, said = status("min_events = 6", "folds = 3")
    assert code == 0 and "Nothing is refused" in said, said


def test_events_of_the_test_sets_do_not_count_for_training(tmp_path, rows):
    for n, row in enumerate(rows):
        row["set"] = "external" if row["outcome"] == "1" and n > 25 else "train"
    report = check(tmp_path, rows)
    assert [error.code for error in report.errors] == ["MRD-E455"] and [n.text for n in told(report, "MRD-W442")] == ["Only one outcome is in set external"]


def test_events_are_judged_once_every_row_can_be_read(tmp_path, rows):
    for n, row in enumerate(rows):
        row["outcome"] = str(int(n < 9)) if n != 30 else "2"
    report = check(tmp_path, rows)
    assert [error.code for error in report.errors] == ["MRD-E449"] and "once all can be read" in report.lines[0]


def test_a_table_for_prediction_needs_no_events(tmp_path, rows):
    assert not check(tmp_path, [{k: v for k, v in row.items() if k != "outcome"} for row in rows], require_outcome=False).errors


def test_nobody_with_an_event_is_refused(tmp_path, rows):
    more = [row | {"os_time_months": "20", "os_event": "0"} for row in rows]
    assert [(e.code, "'os_event'" in e.what) for e in check(tmp_path, more).errors] == [("MRD-E450", True)]
    more[7]["os_event"] = "1"
    report = check(tmp_path, more)
    assert not report.errors and "Follow-up os: 60 patients, 1 events, up to 20 months" in report.lines


def test_a_small_cohort_is_told_its_interval(tmp_path, rows):
    report = check(tmp_path, rows[:30])
    low, high = expected_auc_interval(0.8, 10, 20)
    assert f"interval from {low:.2f} to {high:.2f}" in told(report, "MRD-W439")[0].text


def test_a_centre_in_one_fold_only_is_told_unless_all_are(tmp_path, rows):
    for n, row in enumerate(rows):
        row["centre"], row["fold"] = "ABC"[n % 3], "1" if n % 3 == 2 else str(n // 3 % 3)
    report = check(tmp_path, rows)
    assert "Centre C lies in one fold only" in told(report, "MRD-W440")[0].text
    for n, row in enumerate(rows):
        row["fold"] = str(n % 3)
    assert not told(check(tmp_path, rows), "MRD-W440")


# files

def test_cases_without_a_tumour_mask_are_refused_and_a_missing_bed_is_told(tmp_path, rows):
    rows[4]["pre_mask"] = rows[9]["post_mask"] = rows[9]["residual_mask"] = ""
    report = check(tmp_path, rows)
    assert [e.code for e in report.errors] == ["MRD-E458"] and "Line 6, column 'pre_mask'" in report.errors[0].what and "after it is" in report.errors[0].what
    assert "line 11" in told(report, "MRD-W441")[0].text


def test_a_copy_under_another_name_is_found(tmp_path, rows):
    rows[8]["pre"] = str(shutil.copy(rows[2]["pre"], tmp_path / "a.nrrd"))
    rows[5]["post"] = str(shutil.copy(rows[5]["pre"], tmp_path / "b.nrrd"))
    report = check(tmp_path, rows)
    assert [e.code for e in report.errors] == ["MRD-E453"] * 2
    assert "Line 7, column 'post'" in report.errors[0].what and "this row" in report.errors[0].found
    assert "Line 10, column 'pre'" in report.errors[1].what and "line 4" in report.errors[1].found


def test_files_of_equal_size_and_ends_that_differ_in_the_middle_are_two(tmp_path, rows):
    for n, middle in ((1, b"a"), (2, b"b")):
        rows[n]["pre"] = str(tmp_path / f"{n}.nrrd")
        (tmp_path / f"{n}.nrrd").write_bytes(bytes(200_000) + middle + bytes(200_000))
    assert not check(tmp_path, rows).errors


def test_a_file_that_cannot_be_looked_at_stops_no_check_and_others_are_compared(tmp_path, rows, monkeypatch):
    made = read_cohort(write_table(tmp_path, rows, dictionary=DICTIONARY)).rows
    copy, shut = shutil.copy(made[2].files["pre"], tmp_path / "a.nrrd"), made[4].files["pre"]
    spoil = {1: tmp_path / ("x" * 300), 5: shutil.copy(shut, tmp_path / "b.nrrd"), 8: copy}
    changed = tuple(replace(row, files={**row.files, "pre": Path(spoil[k])}) if k in spoil else row for k, row in enumerate(made))
    real_open = open

    def refuse(path, *given, **options):
        if path == shut:
            raise PermissionError(13, "Permission denied")
        return real_open(path, *given, **options)

    monkeypatch.setattr("builtins.open", refuse)
    _, _, errors = check_files(changed)
    assert [error.code for error in errors] == ["MRD-E453"] and "line 4" in errors[0].found


# plausibility

def test_a_body_mass_index_of_298_is_refused_and_without_a_range_told(tmp_path, rows):
    rows[6]["bmi"] = "298"
    assert [e.code for e in check(tmp_path, rows).errors] == ["MRD-E445"]
    report = check(tmp_path, rows, dictionary(bmi={"role": "number"}))
    assert not report.errors and "ten times" in told(report, "MRD-W437")[0].text and "line 8" in told(report, "MRD-W437")[0].text


def test_a_value_that_no_unit_explains_is_told_by_line(tmp_path, rows):
    rows[6]["bmi"] = "140"
    assert "Line 8, column 'bmi': 140" in told(check(tmp_path, rows, dictionary(bmi={"role": "number"})), "MRD-W436")[0].text


def test_a_skewed_marker_is_not_extreme(tmp_path, rows):
    values = np.exp(np.random.default_rng(1).normal(1.25, 0.95, COUNT))
    for row, value in zip(rows, values):
        row["cea"] = f"{value:.1f}"
    assert not {"MRD-W436", "MRD-W437"} & set(codes(check(tmp_path, rows, dictionary(cea={"role": "number"}))))


@pytest.mark.parametrize("factor, word", [(0.01, "cm and m"), (2.2046, "pounds"), (1000, "g and mg")])
def test_a_centre_with_another_unit_is_told(tmp_path, rows, factor, word):
    rng = np.random.default_rng(2)
    for row in rows:
        row["size"] = f"{rng.normal(170, 9) * (factor if row['centre'] == 'B' else 1):.3f}"
    notices = told(check(tmp_path, rows, dictionary(size={"role": "number"})), "MRD-W437")
    assert any("centre" in n.text and word in n.text for n in notices), [n.text for n in notices]


def test_a_median_on_a_quartile_is_told(tmp_path, rows):
    for row in rows[:35]:
        row["age_years"] = "58"
    notice = told(check(tmp_path, rows), "MRD-W434")[0]
    assert "'age_years'" in notice.text and "value 58" in notice.text and "35 of 60" in notice.text


def test_sexes_that_look_swapped_are_told_in_all_and_in_one_centre(tmp_path, rows):
    flip = {"female": "male", "male": "female"}
    most = [row | {"sex": "male" if n % 4 == 0 else "female"} for n, row in enumerate(rows)]
    assert "75 % of the patients are women by 'sex'" in told(check(tmp_path, most), "MRD-W435")[0].text
    assert not told(check(tmp_path, [row | {"sex": flip[row["sex"]]} for row in most]), "MRD-W435")
    for n, row in enumerate(rows):
        row["sex"] = "female" if n % 10 < 2 else "male"
        row["centre"] = "AB"[n % 3 == 0]
        if row["centre"] == "B":
            row["sex"] = flip[row["sex"]]
    assert "centre B" in told(check(tmp_path, rows), "MRD-W435")[0].text


@pytest.mark.parametrize("column, stated, word", [
    ("bmi", {"n": 59}, "59 patients stated, 60"), ("bmi", {"median": 70, "lower_quartile": 20, "upper_quartile": 65}, "outside the stated quartiles"),
    ("bmi", {"median": 40}, "median 40 stated"), ("sex", {"n": 61, "counts": {"female": 24, "male": 36}}, "add up to 60, not to 61"),
    ("sex", {"counts": {"female": 36, "male": 24}}, "swapped"), ("sex", {"counts": {"female": 20, "male": 40}}, "the table has female 24")])
def test_what_the_source_states_is_held_against_the_table(tmp_path, rows, column, stated, word):
    about = dictionary(**{column: DICTIONARY["columns"][column] | {"stated": stated}})
    assert any(word in notice.text for notice in told(check(tmp_path, rows, about), "MRD-W450"))


def test_what_is_stated_rightly_is_not_told(tmp_path, rows):
    first, median, third = np.percentile([float(row["bmi"]) for row in rows], (25, 50, 75))
    about = dictionary(bmi=DICTIONARY["columns"]["bmi"] | {"stated": {"n": 60, "median": round(median, 1), "lower_quartile": round(first), "upper_quartile": round(third)}},
                       sex=DICTIONARY["columns"]["sex"] | {"stated": {"n": 60, "counts": {"female": 24, "male": 36}}})
    assert not told(check(tmp_path, rows, about), "MRD-W450")


def test_missing_values_that_depend_on_the_outcome_are_told(tmp_path, rows):
    for row in rows:
        row["bmi"] = "" if row["outcome"] == "1" and int(row["id"][1:]) % 2 else row["bmi"]
    assert "50 % of pCR and 0 % of non-pCR" in told(check(tmp_path, rows), "MRD-W444")[0].text
    for row in rows[:40]:
        row["bmi"] = ""
    unknown = sum(row["bmi"] == "" for row in rows)
    assert f"unknown for {unknown} of 60 patients" in told(check(tmp_path, rows), "MRD-W444")[0].text


def test_columns_that_say_nothing_or_everything_are_told(tmp_path, rows):
    for row in rows:
        row |= {"ward": "1", "regression_grade": "0" if row["outcome"] == "1" else "2", "cells_left": "0" if row["outcome"] == "1" else row["bmi"]}
    about = dictionary(ward={"role": "category", "categories": ["1", "2"]}, regression_grade={"role": "category", "categories": ["0", "1", "2"]},
                       cells_left={"role": "number"})
    report = check(tmp_path, rows, about)
    assert ["'ward'" in n.text for n in told(report, "MRD-W446")] == [True]
    assert {n.text.split("'")[1] for n in told(report, "MRD-W447")} == {"regression_grade", "cells_left"}


def test_a_patient_entered_twice_is_told(tmp_path, rows):
    extra = {"cea": {"role": "number"}}
    rng = np.random.default_rng(4)
    for row in rows:
        row["cea"] = f"{rng.uniform(1, 9):.2f}"
    for name in ("age_years", "bmi", "sex", "cea"):
        rows[30][name] = rows[12][name]
    assert ["Lines 14 and 32" in n.text for n in told(check(tmp_path, rows, dictionary(**extra)), "MRD-W448")] == [True]


def test_odd_intervals_and_future_dates_are_told(tmp_path, rows):
    rows[2] |= {"interval_days": "400", "pre_date": "", "post_date": ""}
    rows[5] |= {"interval_days": "", "post_date": (date.today() + timedelta(days=30)).isoformat(), "pre_date": (date.today() - timedelta(days=30)).isoformat()}
    report = check(tmp_path, rows)
    assert "line 4" in told(report, "MRD-W438")[0].text and "Line 7, column 'post_date'" in told(report, "MRD-W445")[0].text


@pytest.mark.parametrize("spoil, word", [
    (lambda row, n: {"pre_volume_ml": str(float(row["pre_volume_ml"]) / 1000)} , "median tumour volume"), (lambda row, n: {"pre_volume_ml": "0"} if n == 3 else {}, "line 5"),
    (lambda row, n: {"post_volume_ml": "200"} if n == 3 else {}, "line 5"), (lambda row, n: {"post_volume_ml": row["pre_volume_ml"]} if n == 3 else {}, "equal (line 5"),
    (lambda row, n: {"post_volume_ml": str(float(row["pre_volume_ml"]) * (0.9 if row["outcome"] == "1" else 0.3))}, "shrink less")])
def test_volumes_that_contradict_each_other_or_the_outcome_are_told(tmp_path, rows, spoil, word):
    rows = [row | spoil(row, n) for n, row in enumerate(rows)]
    assert any(word in notice.text for notice in told(check(tmp_path, rows), "MRD-W443"))


# the draft

def test_a_draft_makes_the_table_readable_and_says_that_it_is_one(tmp_path, rows):
    path = write_table(tmp_path, rows, dictionary=None)
    assert {e.code for e in check_cohort(path).errors} == {"MRD-E439"}
    place = write_dictionary(path)
    about = json.loads(place.read_text(encoding="utf-8"))["columns"]
    assert about["bmi"]["role"] == "number" and about["sex"] == about["sex"] | {"role": "category", "categories": ["female", "male"]} and about["note"]["role"] == "ignored"
    assert "id" not in about or "role" not in about["id"]
    report = check_cohort(path)
    assert not report.errors and "bmi" in told(report, "MRD-W449")[0].text
    assert read_cohort(path).rows[0].clinical["bmi"] == float(rows[0]["bmi"])


def test_a_draft_does_not_declare_codes_or_take_them_for_values(tmp_path, rows):
    rows[3]["bmi"], rows[4]["sex"] = "9999", "NA"
    path = write_table(tmp_path, rows, dictionary=None)
    about = json.loads(write_dictionary(path).read_text(encoding="utf-8"))["columns"]
    assert about["bmi"]["maximum"] < 100 and "NA" not in about["sex"]["categories"]
    assert [e.code for e in check_cohort(path).errors] == ["MRD-E443"] * 2


def test_a_dictionary_is_never_overwritten(tmp_path, rows):
    path = write_table(tmp_path, rows)
    before = (tmp_path / "cohort.json").read_bytes()
    with pytest.raises(InputError) as refused:
        write_dictionary(path)
    assert refused.value.code == "MRD-E457" and (tmp_path / "cohort.json").read_bytes() == before


def test_a_table_that_cannot_be_read_is_reported_not_raised(tmp_path):
    report = check_cohort(tmp_path / "absent.csv")
    assert [e.code for e in report.errors] == ["MRD-E430"] and not report.lines
    report = check_cohort(spoiled(tmp_path, {line: {"outcome": "x"} for line in range(2, 8)}))
    assert len(report.errors) == 6 and not report.lines


def test_a_simulated_cohort_passes(tmp_path):
    path = simulate_cohort(4, 3, "controlled", tmp_path / "made", size=(24, 24, 8))
    report = check_cohort(path, validation=ValidationConfig(min_events=0))
    assert not report.errors and "4 patients" in report.lines
    assert read_cohort(path).dictionary["age_years"].unit == "years" and set(read_cohort(path).rows[0].clinical) == {
        "age_years", "sex", "cea_ng_ml", "ct_stage", "cn_stage", "distance_to_anal_verge_mm"}


def test_masks_are_looked_at_on_their_scans_when_asked_for_and_told_by_line(tmp_path):
    """Line 3: a tumour on two slices; line 4: a mask in the air; line 2 is let alone. Without --images nothing of it is seen."""
    import SimpleITK as sitk

    pairs = [write_pair(small_pair(seed), tmp_path / str(seed)) for seed in (5, 6, 7)]
    thin, away = (sitk.ReadImage(pairs[line]["pre_mask"]) for line in (1, 2))
    drawn = np.flatnonzero(sitk.GetArrayFromImage(thin).any(axis=(1, 2)))
    thin[:, :, :int(drawn[2])] = 0
    thin[:, :, int(drawn[2]) + 2:] = 0
    away = away * 0
    away[2:9, 2:9, 8:12] = 1
    for line, mask in ((1, thin), (2, away)):
        sitk.WriteImage(mask, pairs[line]["pre_mask"])
    rows = [{"id": f"P{n}", "outcome": str(n % 2), "mrtrg": "2", **{name: pair[name] for name in ("pre", "post", "pre_mask", "post_mask", "residual_mask")}} for n, pair in enumerate(pairs)]
    quick, whole = (check(tmp_path, rows, images=images) for images in (False, True))
    assert not {"MRD-W308", "MRD-E319"} & {n.code for n in (*quick.notices, *quick.errors)}
    assert any("Line 3" in n.text for n in told(whole, "MRD-W308")) and "Line 2" not in "".join(n.text for n in told(whole, "MRD-W308"))
    assert [e.what[:6] for e in whole.errors if e.code == "MRD-E319"] == ["Line 4"]
    assert "Scans and masks read: 3 of 3 patients" in whole.lines and "mrTRG by readers: 3 of 3 known" in whole.lines


def test_the_readers_grades_alone_are_given_their_auc(tmp_path, rows):
    for row in rows:
        row["mrtrg"] = "1" if row["outcome"] == "1" else "4"
    rows[0]["mrtrg"] = ""
    line = next(line for line in check(tmp_path, rows).lines if line.startswith("mrTRG"))
    assert "59 of 60 known; alone AUC 1.00" in line
