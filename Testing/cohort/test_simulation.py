"""The simulated cohort on disk: whole, explained, repeatable. Made-up data."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.cohort.simulation import COLUMNS, simulate_cohort, write_pair
from MRDeltaNetLib.errors import Cancelled, UsageError
from MRDeltaNetLib.io.atomic import sha256
from MRDeltaNetLib.io.cohort_table import read_cohort
from MRDeltaNetLib.io.images import read_image, read_mask
from MRDeltaNetLib.io.transforms import read_transform

TINY = {"size": (56, 56, 16), "spacing_mm": (1.6, 1.6, 4.5)}


def table(path):
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("cohort") / "made"
    return simulate_cohort(3, 2, "controlled", out, **TINY)


def test_every_file_of_the_table_is_there_and_passes_the_gate(cohort):
    rows = table(cohort)
    assert [row["id"] for row in rows] == ["case-0001", "case-0002", "case-0003"]
    for row in rows:
        pre, post = (read_image(cohort.parent / row[role], role=role).image for role in ("pre", "post"))
        tumour, _ = read_mask(cohort.parent / row["pre_mask"], pre, role="pre mask")
        read_mask(cohort.parent / row["post_mask"], post, role="post mask")
        residual, _ = read_mask(cohort.parent / row["residual_mask"], post, role="residual mask", may_be_empty=True)
        assert (sitk.GetArrayViewFromImage(residual).any()) == (row["outcome"] == "0")
        assert float(row["pre_volume_ml"]) == pytest.approx(sitk.GetArrayViewFromImage(tumour).sum() * np.prod(pre.GetSpacing()) / 1000, rel=1e-3)
        assert isinstance(read_transform(cohort.parent / row["transform_pre_to_post"]), sitk.Euler3DTransform)
        assert float(row["latent_blob_signal"]) - float(row["latent_tumour_signal"]) == pytest.approx(0.12 * int(row["outcome"]))


def test_the_dictionary_explains_every_column(cohort):
    about = json.loads((cohort.parent / "cohort.json").read_text(encoding="utf-8"))
    assert set(about["columns"]) == set(table(cohort)[0]) and "no patient" in about["note"]
    assert about["settings"]["setting"] == "controlled" and about["settings"]["prevalence"] == 0.5
    assert set(COLUMNS) < set(about["columns"])


def test_the_table_and_its_dictionary_are_read_without_a_refusal(cohort):
    read = read_cohort(cohort)
    assert len(read.rows) == 3 and not read.notices and read.dictionary["ct_stage"].categories == ("T1", "T2", "T3", "T4")
    assert all(COLUMNS[name].meaning for name in COLUMNS) and not any(name.startswith("latent_") for name in read.rows[0].clinical)


def test_sets_are_drawn_by_their_shares_and_change_nothing_else(cohort, tmp_path):
    rows = table(simulate_cohort(2, 2, "controlled", tmp_path / "sets", sets={"train": 0.5, "external": 0.5}, **TINY))
    assert [{name: cell for name, cell in row.items() if name != "set"} for row in rows] == table(cohort)[:2]
    assert {row["set"] for row in rows} <= {"train", "external"}
    assert "set" not in table(cohort)[0] and "sets" not in json.loads((cohort.parent / "cohort.json").read_text(encoding="utf-8"))["settings"]
    assert table(simulate_cohort(1, 0, "controlled", tmp_path / "all", sets={"train": 0.0, "internal": 1.0}, size=(24, 24, 8)))[0]["set"] == "internal"


def test_a_case_is_the_same_whatever_the_number_of_cases_and_workers(cohort, tmp_path):
    other = simulate_cohort(2, 2, "controlled", tmp_path / "two", workers=2, **TINY)
    assert table(other) == table(cohort)[:2]
    for name in ("pre", "post", "pre_mask", "post_mask", "residual_mask"):
        first, second = (sitk.ReadImage(str(path.parent / "case-0002" / f"{name}.nrrd")) for path in (cohort, other))
        assert np.array_equal(sitk.GetArrayViewFromImage(first), sitk.GetArrayViewFromImage(second)) and first.GetOrigin() == second.GetOrigin()


def test_cases_and_seeds_differ(cohort, tmp_path):
    digests = {sha256(cohort.parent / f"case-000{n}" / "pre.nrrd") for n in (1, 2, 3)}
    other = simulate_cohort(1, 3, "controlled", tmp_path / "other", **TINY)
    assert len(digests | {sha256(other.parent / "case-0001" / "pre.nrrd")}) == 4


@pytest.mark.parametrize("prevalence, outcomes", [(0.0, {"0"}), (1.0, {"1"})])
def test_the_prevalence_is_the_callers(tmp_path, prevalence, outcomes):
    assert {row["outcome"] for row in table(simulate_cohort(2, 0, "realistic", tmp_path / "out", prevalence=prevalence, size=(24, 24, 8)))} == outcomes


def test_stopping_leaves_no_table_and_a_second_run_completes_it(tmp_path):
    def stop(done, message):
        raise Cancelled()

    with pytest.raises(Cancelled):
        simulate_cohort(2, 0, "controlled", tmp_path / "out", progress=stop, size=(24, 24, 8))
    assert (tmp_path / "out" / "case-0001" / "pre.nrrd").exists() and not (tmp_path / "out" / "cohort.csv").exists()
    assert len(table(simulate_cohort(2, 0, "controlled", tmp_path / "out", size=(24, 24, 8)))) == 2


def test_progress_reaches_one(tmp_path):
    told = []
    simulate_cohort(2, 0, "controlled", tmp_path / "out", progress=lambda done, message: told.append(done), size=(24, 24, 8))
    assert told == [0.5, 1.0]


@pytest.mark.parametrize("second", [dict(cases=2, seed=8), dict(cases=1, seed=7), dict(cases=2, seed=7, setting="realistic"), dict(cases=2, seed=7, residual="rim")],
                         ids=["another seed", "fewer cases", "another setting", "another place of the residual"])
def test_another_cohort_never_mixes_with_the_one_in_the_folder(tmp_path, second):
    simulate_cohort(2, 7, "controlled", tmp_path / "c", size=(32, 32, 10))
    before = {path: sha256(path) for path in (tmp_path / "c").rglob("*") if path.is_file()}
    with pytest.raises(UsageError) as caught:
        simulate_cohort(second["cases"], second["seed"], second.get("setting", "controlled"), tmp_path / "c", size=(32, 32, 10), residual=second.get("residual", "middle"))
    assert caught.value.code == "MRD-E855" and "empty folder" in caught.value.fix
    assert before == {path: sha256(path) for path in (tmp_path / "c").rglob("*") if path.is_file()}


def test_a_cohort_can_grow(tmp_path):
    simulate_cohort(1, 7, "controlled", tmp_path / "c", size=(32, 32, 10))
    first = sha256(tmp_path / "c" / "case-0001" / "pre.nrrd")
    simulate_cohort(2, 7, "controlled", tmp_path / "c", size=(32, 32, 10))
    assert len(table(tmp_path / "c" / "cohort.csv")) == 2 and sha256(tmp_path / "c" / "case-0001" / "pre.nrrd") == first


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "cohort.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        simulate_cohort(1, 0, "controlled", tmp_path, **TINY)
    assert refused.value.code == "MRD-E855" and "empty folder" in refused.value.fix
    assert (tmp_path / "cohort.csv").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("options, code, word", [
    ({"cases": 0}, "MRD-E853", "cases"), ({"workers": 0}, "MRD-E853", "worker"), ({"setting": "best"}, "MRD-E850", "realistic"),
    ({"prevalence": 1.5}, "MRD-E854", "share"), ({"prevalence": float("nan")}, "MRD-E854", "share"), ({"reader_mm": -1.0}, "MRD-E854", "error"),
    ({"sets": {"train": 0.5}}, "MRD-E854", "add up"), ({"sets": {"test": 1.0}}, "MRD-E854", "external"), ({"size": (2, 2, 2)}, "MRD-E851", "voxels"), ({"seed": -3}, "MRD-E856", "zero"), ({"residual": "edge"}, "MRD-E866", "rim")])
def test_impossible_cohorts_are_refused_before_anything_is_written(tmp_path, options, code, word):
    with pytest.raises(UsageError) as refused:
        simulate_cohort(**({"cases": 1, "seed": 0, "setting": "controlled", "out": tmp_path / "out"} | options))
    assert refused.value.code == code and word in refused.value.fix
    assert not (tmp_path / "out").exists()


def test_a_cohort_with_residual_tumour_at_the_rim_says_so_and_one_without_is_told_as_before(cohort, tmp_path):
    rim = simulate_cohort(1, 2, "controlled", tmp_path / "rim", residual="rim", **TINY)
    assert json.loads(rim.with_name("cohort.json").read_text(encoding="utf-8"))["settings"]["residual"] == "rim" and table(rim)[0]["latent_residual"] == "rim"
    assert read_cohort(rim).rows[0].outcome == read_cohort(cohort).rows[0].outcome
    assert "residual" not in json.loads(cohort.with_name("cohort.json").read_text(encoding="utf-8"))["settings"] and "latent_residual" not in table(cohort)[0]
    assert sha256(rim.parent / "case-0001" / "pre.nrrd") == sha256(cohort.parent / "case-0001" / "pre.nrrd") and (
        sha256(rim.parent / "case-0001" / "post.nrrd") != sha256(cohort.parent / "case-0001" / "post.nrrd"))


def test_one_pair_is_written_with_its_truth(tmp_path):
    files = write_pair(tmp_path / "scans", seed=1, setting="controlled", size=(24, 24, 8))
    assert set(files) == {"pre", "post", "pre_mask", "post_mask", "residual_mask", "transform_pre_to_post"}
    assert all(path.exists() for path in files.values())
    assert "no patient" in sitk.ReadImage(str(files["pre"])).GetMetaData("note")
