"""Agreement of two readers over a cohort: statistics against published tables and formulas, the table's strictness, and the whole command. Made up."""

from __future__ import annotations

import csv
import json
import os

import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from MRDeltaNetLib.cli import app
from MRDeltaNetLib.cohort.agreement_statistics import icc_2_1, interval, limits_of_agreement, mean_squares
from MRDeltaNetLib.io.agreement_table import problems_of_pairs
from MRDeltaNetLib.io.drawings import header_of, voxels_sha256
from MRDeltaNetLib.io.images import write_image
from Testing.imaging.shapes import ellipsoid, grid, on

SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
"""Shrout and Fleiss 1979, table 2: four judges on six targets."""


def test_the_published_example_has_its_published_numbers():
    """Their table 3: mean squares 11.24, 32.49 and 1.02; table 4: ICC(2,1) 0.29. The interval 0.019 to 0.761 is that of R's psych::ICC for this table."""
    between, judges, error = mean_squares(SHROUT_FLEISS)
    assert (between, judges, error) == (pytest.approx(11.24, abs=0.005), pytest.approx(32.49, abs=0.005), pytest.approx(1.02, abs=0.005))
    found = icc_2_1(SHROUT_FLEISS)
    assert found.value == pytest.approx(0.29, abs=0.005) and (found.targets, found.readers) == (6, 4)
    assert found.lower == pytest.approx(0.019, abs=0.001) and found.upper == pytest.approx(0.761, abs=0.001)


def test_readers_who_differ_by_a_constant_agree_less_and_scatter_lowers_it_too():
    truth = np.linspace(0, 10, 12)
    same, shifted = (icc_2_1(np.column_stack([truth, truth + shift])).value for shift in (0.0, 5.0))
    variance = truth.var(ddof=1)
    assert same == pytest.approx(1.0) and shifted == pytest.approx(variance / (variance + 5.0**2 / 2))     # between over between plus judges' variance
    assert icc_2_1(np.column_stack([truth, truth[::-1]])).value < 0


def test_nothing_to_tell_apart_has_no_correlation():
    assert icc_2_1(np.full((5, 2), 3.0)).value is None
    for broken in (np.ones((1, 2)), np.ones((4, 1)), np.array([[1, np.nan], [2, 3]])):
        with pytest.raises(ValueError):
            icc_2_1(broken)


def test_the_interval_of_the_icc_holds_the_truth_as_often_as_it_says():
    """True ICC 0.8 = 4 / (4 + 0.2 + 0.8): 600 cohorts of 25 patients, 2 readers whose offsets are drawn anew; between 91 and 98 % hold it."""
    rng, held = np.random.default_rng(1), 0
    for _ in range(600):
        ratings = rng.normal(0, 2, (25, 1)) + rng.normal(0, np.sqrt(0.2), (1, 2)) + rng.normal(0, np.sqrt(0.8), (25, 2))
        found = icc_2_1(ratings)
        held += found.lower <= 0.8 <= found.upper
    assert 0.91 < held / 600 < 0.985


def test_limits_of_agreement_are_mean_and_196_standard_deviations():
    found = limits_of_agreement([1.0, 3.0, 5.0])
    assert (found.bias, found.sd) == (3.0, 2.0) and (found.lower, found.upper) == pytest.approx((3 - 1.959964 * 2, 3 + 1.959964 * 2), rel=1e-6)
    assert limits_of_agreement([2.0]).lower is None and limits_of_agreement([]).bias is None


def test_the_bootstrap_finds_the_standard_error_of_a_mean_and_is_the_same_again():
    values = np.random.default_rng(3).normal(10, 4, 200).tolist()
    low, high = interval(values, lambda sample: float(np.mean(sample)))
    assert (high - low) / 2 == pytest.approx(1.96 * 4 / np.sqrt(200), rel=0.12) and low < np.mean(values) < high
    assert interval(values, lambda sample: float(np.mean(sample))) == (low, high)
    assert interval(values[:4], lambda sample: 1.0) is None and interval(values, lambda sample: None) is None


# The whole command.

SCAN = grid((48, 44, 14), (1.2, 1.2, 3.5))
PATIENTS = 7


def write_cohort(folder, empty_residual=(0, 1), bold=1.3):
    """Seven patients; reader B draws every outline 1.3 times as large in radius squared, and one residual tumour that A does not see."""
    rng, rows = np.random.default_rng(0), []
    for index in range(PATIENTS):
        for role, radius in (("pre", 10 + index), ("post", 8 + 0.5 * index), ("residual", 6.0)):
            visit = "pre" if role == "pre" else "post"
            scan = folder / f"{index}_{visit}.nrrd"
            if not scan.exists():
                sitk.WriteImage(on(SCAN, (100 + 20 * rng.random(SCAN.GetSize()[::-1])).astype(np.float32)), str(scan))
            for reader, factor in (("a", 1.0), ("b", bold)):
                gone = role == "residual" and index in empty_residual and not (reader == "b" and index == 1)
                mask = ellipsoid(SCAN, radii_mm=(radius * factor**0.5,) * 3)
                sitk.WriteImage(mask * 0 if gone else mask, str(folder / f"{index}_{role}_{reader}.nrrd"), True)
            rows.append({"id": f"p{index}", "role": role, "scan": scan.name, "mask_a": f"{index}_{role}_a.nrrd", "mask_b": f"{index}_{role}_b.nrrd"})
    return write_table(folder / "readers.csv", rows), rows


def write_table(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def call(*arguments):
    return CliRunner().invoke(app, ["segment", "agree", *map(str, arguments), "--progress", "none"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readers")
    table, rows = write_cohort(folder)
    done = call(table, "--out", folder / "out")
    return done, folder / "out", table, rows


def test_the_command_compares_every_pair_and_says_how_well_readers_agree(finished):
    done, out, *_ = finished
    assert done.exit_code == 0, done.output
    found = json.loads((out / "agreement.json").read_text())
    pre = found["outlines"]["pre"]
    assert pre["patients"] == PATIENTS and pre["dice"]["n"] == PATIENTS
    assert pre["dice"]["median"] == pytest.approx(2 / (1 + 1.3**1.5), abs=0.02)          # a ball in a ball
    low, high = pre["dice"]["median_ci"]
    assert low <= pre["dice"]["median"] <= high and 1 < pre["hd95_mm"]["median"] < 5
    with open(out / "pairs.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    differences = [float(row["volume_difference_ml"]) for row in rows if row["role"] == "pre"]
    assert pre["volume_difference"]["mean"] == pytest.approx(np.mean(differences)) and len(rows) == 3 * PATIENTS
    ratings = np.array([[float(row["volume_a_ml"]), float(row["volume_b_ml"])] for row in rows if row["role"] == "pre"])
    assert pre["icc"]["value"] == pytest.approx(icc_2_1(ratings).value) and pre["icc"]["ci"][0] < pre["icc"]["value"] < pre["icc"]["ci"][1]
    assert found["outlines"]["volume_change_percent"]["patients"] == PATIENTS
    assert (out / "bland_altman.png").stat().st_size > 5000


def test_empty_outlines_are_counted_and_stay_out_of_dice(finished):
    residual = json.loads((finished[1] / "agreement.json").read_text())["outlines"]["residual"]
    assert residual["drawn"] == {"both_drew": PATIENTS - 2, "both_empty": 1, "only_a_drew": 0, "only_b_drew": 1}
    assert residual["dice"]["n"] == PATIENTS - 2 and residual["volume_difference"]["n"] == PATIENTS


def test_the_page_says_what_the_numbers_are(finished):
    text = (finished[1] / "agreement.md").read_text(encoding="utf-8")
    for word in ("ICC(2,1)", "absolute agreement", "Shrout and Fleiss 1979", "larger of both directions", "bootstrap", "Research use only", "bland_altman.png", "Dice, median"):
        assert word in text


def test_the_same_table_gives_the_same_bytes(finished, tmp_path):
    _, out, table, _ = finished
    assert call(table, "--out", tmp_path / "again").exit_code == 0
    for name in ("pairs.csv", "agreement.json", "agreement.md", "bland_altman.png"):
        assert (out / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_a_row_that_cannot_be_read_stops_no_other(finished, tmp_path):
    _, _, table, rows = finished
    (table.parent / "bad.nrrd").write_bytes(b"NRRD0004\n")
    spoiled = [dict(row) for row in rows]
    spoiled[2]["mask_b"] = "bad.nrrd"
    done = call(write_table(table.parent / "spoiled.csv", spoiled), "--out", tmp_path / "out")
    assert done.exit_code == 7 and "MRD-E491" in done.output
    with open(tmp_path / "out" / "failures.csv", newline="") as stream:
        failed = list(csv.DictReader(stream))
    assert [row["line"] for row in failed] == ["4"] and failed[0]["code"].startswith("MRD-E1") and failed[0]["fix"]
    assert json.loads((tmp_path / "out" / "agreement.json").read_text())["failed"] == 1


def test_a_program_s_outline_does_not_pass_for_a_reader_s(finished, tmp_path):
    _, _, table, rows = finished
    mask = sitk.ReadImage(str(table.parent / rows[0]["mask_b"]))
    write_image(mask, tmp_path / "drawn.nrrd", header=header_of({"program": "nnU-Net", "model_sha256": "ab" * 32, "mask_sha256": voxels_sha256(mask)}))
    lines = [{**row, **{name: str(table.parent / row[name]) for name in ("scan", "mask_a", "mask_b")}} for row in rows[:2]]
    lines[0]["mask_b"] = str(tmp_path / "drawn.nrrd")
    assert call(write_table(tmp_path / "readers.csv", lines), "--out", tmp_path / "out").exit_code == 0
    with open(tmp_path / "out" / "pairs.csv", newline="") as stream:
        told = [row["warnings"] for row in csv.DictReader(stream)]
    assert "MRD-W373" in told[0] and "MRD-W373" not in told[1]


def test_a_folder_with_other_files_is_left_alone(finished, tmp_path):
    (tmp_path / "thesis.docx").write_bytes(b"x")
    done = call(finished[2], "--out", tmp_path)
    assert done.exit_code == 4 and "MRD-E492" in done.output and [p.name for p in tmp_path.iterdir()] == ["thesis.docx"]


def test_too_few_patients_have_no_interval(finished, tmp_path):
    _, _, table, rows = finished
    assert call(write_table(table.parent / "few.csv", [row for row in rows if row["id"] in ("p2", "p3", "p4") and row["role"] == "pre"]), "--out", tmp_path / "out").exit_code == 0
    pre = json.loads((tmp_path / "out" / "agreement.json").read_text())["outlines"]["pre"]
    assert pre["dice"]["median"] is not None and pre["dice"]["median_ci"] is None and pre["icc"]["bootstrap_ci"] is None


@pytest.mark.parametrize("change, code, said", [
    ({"role": "before"}, "MRD-E490", "write pre"), ({"role": "POST"}, "MRD-E490", "'post'"), ({"role": ""}, "MRD-E490", "residual"), ({"id": ""}, "MRD-E441", "column 'id'"),
    ({"mask_b": "2_pre_a.nrrd"}, "MRD-E453", "second reader"), ({"mask_a": ""}, "MRD-E452", "empty mask"), ({"scan": "nowhere.nrrd"}, "MRD-E452", "column 'scan'"),
    ({"id": "p1"}, "MRD-E442", "line 5"), ({"label_a": "0"}, "MRD-E454", "label_a"), ({"reader": "x"}, "MRD-E439", "column 'reader'"), ({"mask_A": "x"}, "MRD-E439", "'mask_a'")],
    ids=lambda value: "" if not isinstance(value, dict) else "-".join(map(str, [*value.keys(), *value.values()])) or "empty")
def test_what_is_wrong_with_the_table_is_told_by_line_and_column(finished, change, code, said):
    _, _, table, rows = finished
    spoiled = [{**row, **{name: "" for name in change if name not in row}} for row in rows]
    spoiled[6].update(change)
    path = write_table(table.parent / "wrong.csv", spoiled)
    _, errors = problems_of_pairs(path)
    assert code in {error.code for error in errors}
    text = next(error.text() for error in errors if error.code == code)
    assert said in text and ("Line 8" in text or code == "MRD-E439")
    done = call(path, "--out", table.parent / "never")
    assert done.exit_code == 3 and code in done.output and not (table.parent / "never").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes among its files")
def test_a_pipe_is_no_mask_and_is_not_opened(finished):
    _, _, table, rows = finished
    os.mkfifo(table.parent / "pipe.nrrd")
    try:
        _, errors = problems_of_pairs(write_table(table.parent / "piped.csv", [{**rows[0], "mask_a": "pipe.nrrd"}]))
    finally:
        (table.parent / "pipe.nrrd").unlink()
    assert [error.code for error in errors] == ["MRD-E452"]


def test_a_column_that_is_missing_is_named(finished):
    _, _, table, rows = finished
    path = write_table(table.parent / "short.csv", [{name: value for name, value in row.items() if name != "scan"} for row in rows])
    assert [error.code for error in problems_of_pairs(path)[1]] == ["MRD-E438"]


def test_two_labels_of_one_file_are_two_readers(finished, tmp_path):
    _, _, table, rows = finished
    both = sitk.GetArrayFromImage(sitk.ReadImage(str(table.parent / "3_pre_b.nrrd")))
    both[sitk.GetArrayFromImage(sitk.ReadImage(str(table.parent / "3_pre_a.nrrd"))) > 0] = 2
    sitk.WriteImage(on(SCAN, both), str(table.parent / "both.nrrd"))
    row = {**next(row for row in rows if row["id"] == "p3" and row["role"] == "pre"), "mask_a": "both.nrrd", "mask_b": "both.nrrd", "label_a": "2", "label_b": "1"}
    assert call(write_table(table.parent / "labels.csv", [row]), "--out", tmp_path / "out").exit_code == 0
    assert json.loads((tmp_path / "out" / "agreement.json").read_text())["outlines"]["pre"]["dice"]["median"] == 0
