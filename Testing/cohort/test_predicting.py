"""Prediction of a table: the training's own numbers again, the same bytes again, a warning at training cases, exit 7 with the reasons."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("lightning.pytorch", reason="training needs the 'cohort' extra")
pytest.importorskip("sklearn", reason="training needs the 'cohort' extra")

from MRDeltaNetLib.cohort import predicting, study  # noqa: E402
from MRDeltaNetLib.cohort.simulation import simulate_cohort  # noqa: E402
from MRDeltaNetLib.config import ModelConfig, PreprocessingConfig, RegistrationConfig, StudyConfig, TrainingConfig, ValidationConfig  # noqa: E402
from MRDeltaNetLib.errors import Cancelled, InputError, UsageError  # noqa: E402
from MRDeltaNetLib.io.bundle import read_bundle  # noqa: E402
from MRDeltaNetLib.io.table_model import CategoryColumn, read_table_model, write_table_model  # noqa: E402

CASES, SIZE = 10, (64, 64, 12)


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write_table(path: Path, rows: list[dict[str, str]]) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    dictionary = path.parent / "cohort.json"
    if path.name != "cohort.csv":
        path.with_suffix(".json").write_bytes(dictionary.read_bytes())
    return path


def config_of(place: Path) -> StudyConfig:
    """A study of one epoch on the cohort of `place`."""
    return StudyConfig(cohort=place / "cohort/cohort.csv", cache=place / "cache", out=place / "out", accelerator="cpu", name="small",
                       model=ModelConfig("deltanet", {"preset": "tiny"}),
                       preprocessing=PreprocessingConfig(spacing_mm=(1.5, 1.5, 3.0), crop_mm=(48.0, 48.0, 36.0)),
                       registration=RegistrationConfig(method="none", iterations=10, min_similarity_peak=0.0, min_mutual_information_nats=0.0,
                                                       min_similarity_gain_percent=-100.0),
                       training=TrainingConfig(epochs=1, batch_size=4, monitor="nll", precision="32-true"),
                       validation=ValidationConfig(folds=2, seeds=(0,), min_events=2, group="none", leave_one_centre_out=False))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A simulated cohort of ten small cases, two of them external, and a model trained on the others: table to bundle, nothing stood in for."""
    place = tmp_path_factory.mktemp("predict")
    simulated = simulate_cohort(CASES, 7, "controlled", place / "cohort", size=SIZE, prevalence=0.5)
    rows = table(simulated)
    external = [max(k for k, row in enumerate(rows) if row["outcome"] == label) for label in "01"]     # of categories that training cases have
    for k, row in enumerate(rows):
        row["set"] = "external" if k in external else "train"
    write_table(simulated, rows)
    study.train(config_of(place))
    return place


def predict(place: Path, out: Path, cohort: Path | None = None, **options) -> predicting.Predicted:
    return predicting.predict_cohort(place / "out/bundle", cohort or place / "cohort/cohort.csv", out, cache=place / "cache", device="cpu", **options)


@pytest.fixture(scope="module")
def done(place) -> predicting.Predicted:
    return predict(place, place / "predicted")


def test_the_training_cases_of_a_simulated_cohort_make_a_demo_bundle(place):
    own = read_bundle(place / "out/bundle").own
    assert own["is_demo"] and own["trained_on"].startswith("made-up data") and "Trained on made-up data" in own["intended_use"]


def test_external_cases_get_the_scores_that_training_gave_them(place, done):
    trained = {row["id"]: row for row in table(place / "out/predictions.csv")}
    found = {row["id"]: row for row in table(done.out / "predictions.csv")}
    assert len(found) == CASES and len(trained) == 2
    for name, row in trained.items():
        assert all(float(found[name][column]) == pytest.approx(float(row[column]), abs=1e-5) for column in ("p_pcr", "logit"))
        assert float(found[name]["p_pcr_low"]) < float(row["p_pcr_low"]) + 1e-5              # members alone in training; other outlines can only widen it
        assert float(found[name]["p_pcr_high"]) > float(row["p_pcr_high"]) - 1e-5
        assert {column: found[name][column] for column in ("centre", "set", "outcome")} == {column: row[column] for column in ("centre", "set", "outcome")}
    vectors = {row["id"]: row for row in table(done.out / "embeddings.csv")}
    trained_vectors = {row["id"]: row for row in table(place / "out/embeddings.csv")}
    for name, row in trained_vectors.items():
        assert [float(vectors[name][f"e{k}"]) for k in range(5)] == pytest.approx([float(row[f"e{k}"]) for k in range(5)], abs=1e-4)


def test_the_range_is_that_of_a_single_run_over_members_and_other_outlines(tmp_path):
    """The demo model on one simulated case, by both ways from the same files; the cache is float16."""
    from MRDeltaNetLib import pipeline
    from MRDeltaNetLib.config import RunConfig
    from MRDeltaNetLib.io.cases import read_case
    from MRDeltaNetLib.io.jobs import job_from_mapping
    from MRDeltaNetLib.resources import DEMO_BUNDLE, resource

    simulated = simulate_cohort(1, 11, "controlled", tmp_path / "cohort", size=(128, 128, 20))
    (row,) = table(simulated)
    files = {name: str(simulated.parent / row[name]) for name in ("pre", "post", "pre_mask", "post_mask", "residual_mask") if row[name]}
    case, _ = read_case(job_from_mapping(files | {"out": str(tmp_path / "single"), "steps": ("align", "masks", "predict")}))
    bundle = read_bundle(resource(DEMO_BUNDLE))
    single = pipeline.run(case, RunConfig(steps=("align", "masks", "predict"), device="cpu", registration=predicting.registration_of(bundle)), bundle=bundle)
    predicting.predict_cohort(resource(DEMO_BUNDLE), simulated, tmp_path / "out", device="cpu")
    (found,) = table(tmp_path / "out/predictions.csv")
    for name in ("p_pcr", "p_pcr_low", "p_pcr_high"):
        assert abs(float(found[name]) - getattr(single, name)) < 0.005
    assert single.p_pcr_high - single.p_pcr_low > 0.01 and len(single.spread["outline_p_pcr"]) >= 5      # a range that members alone do not have
    assert single.p_pcr_low - 0.005 < float(found["p_pcr_low"]) < float(found["p_pcr"]) < float(found["p_pcr_high"])


def test_cases_that_the_model_was_trained_on_are_told_whatever_they_are_called(place, done):
    assert [notice.code for notice in done.notices] == ["MRD-W781", "MRD-W716"] and "8 of the 10" in done.notices[0].text
    rows = table(place / "cohort/cohort.csv")
    renamed = write_table(place / "cohort/renamed.csv", [row | {"id": f"other-{k}"} for k, row in enumerate(rows) if row["set"] == "train"][:2])
    assert "2 of the 2" in predict(place, place / "renamed", renamed).notices[0].text
    strangers = write_table(place / "cohort/strangers.csv", [row for row in rows if row["set"] == "external"])
    assert "MRD-W781" not in [notice.code for notice in predict(place, place / "strangers", strangers).notices]


@pytest.mark.parametrize("visit", ["pre", "post"])
def test_a_training_case_with_other_masks_is_known_by_one_of_its_scans(visit):
    rows = [SimpleNamespace(line=line) for line in (2, 3, 4)]
    facts = [{"crop": {"sha256": f"{k:064x}"}, "scans_sha256": {"pre": f"{10 + k:064x}", "post": f"{20 + k:064x}"}} for k in (1, 2)] + [{"crop": {"sha256": "c" * 64}}]
    prepared = SimpleNamespace(rows=rows, facts=facts, keys=["a" * 64, "b" * 64, "d" * 64])
    (notice,) = predicting.trained_on(SimpleNamespace(own={"training_scans_sha256": [facts[1]["scans_sha256"][visit], "e" * 64]}), prepared)
    assert notice.code == "MRD-W781" and "1 of the 3 cases (line 3)" in notice.text
    for own, line in (({"training_keys": ["a" * 64]}, 2), ({"training_crops_sha256": ["c" * 64], "training_scans_sha256": []}, 4)):
        assert f"(line {line})" in predicting.trained_on(SimpleNamespace(own=own), prepared)[0].text
    assert predicting.trained_on(SimpleNamespace(own={}), prepared) == ()


def test_ranges_without_smaller_outlines_are_told_by_line(place, done):
    """Slices of 10 mm: some tumours are too thin to shrink."""
    thin = [k + 2 for k, row in enumerate(table(place / "cohort/cohort.csv")) if _left_out(place, row)]
    (notice,) = [notice for notice in done.notices if notice.code == "MRD-W716"]
    assert thin and f"in {len(thin)} of the {CASES} cases (line {', '.join(map(str, thin))})" in notice.text


def test_beds_that_nobody_drew_are_told_by_line_and_stand_in_the_table(place, done, tabular):
    rows = table(place / "cohort/cohort.csv")[:4]
    undrawn = write_table(place / "cohort/undrawn.csv", [row | ({} if k in (0, 2) else {"post_mask": ""}) for k, row in enumerate(rows)])
    for found in (predict(place, place / "undrawn", undrawn), predict_table(place, "volume_logistic", place / "undrawn-volumes", undrawn),
                  predict_table(place, "fusion", place / "undrawn-fusion", undrawn)):
        (notice,) = [notice for notice in found.notices if notice.code == "MRD-W717"]
        assert notice.text.startswith("In 2 of the 4 cases (line 3, 5) nobody drew the tumour bed") and not any(row["id"] in notice.text for row in rows)
        assert "MRD-W717" in [told["code"] for told in json.loads((found.out / "prediction.json").read_text())["notices"]]
        assert [row["bed"] for row in table(found.out / "predictions.csv")] == ["drawn", "carried"] * 2
    assert "MRD-W717" not in [notice.code for notice in done.notices] and {row["bed"] for row in table(done.out / "predictions.csv")} == {"drawn"}
    clinical = predict_table(place, "clinical_logistic", place / "undrawn-clinical", undrawn)
    assert {row["bed"] for row in table(clinical.out / "predictions.csv")} == {""} and "MRD-W717" not in [notice.code for notice in clinical.notices]


def _left_out(place: Path, row: dict[str, str]) -> bool:
    """Whether either mask loses nine tenths of its volume, or all, when it shrinks by 2 mm."""
    import SimpleITK as sitk
    from MRDeltaNetLib.imaging.preprocessing import in_axial_order
    from MRDeltaNetLib.response.uncertainty import STEP_MM, resized
    masks = [sitk.ReadImage(str(place / "cohort" / row[name]), sitk.sitkUInt8) for name in ("pre_mask", "post_mask")]
    return any(resized(in_axial_order(mask), -STEP_MM) is None for mask in masks)


def test_a_stopped_prediction_goes_on_and_the_same_call_writes_the_same_bytes(place, done):
    def stop(fraction, message):
        if message.startswith("predicted 4"):
            raise Cancelled()

    with pytest.raises(Cancelled):
        predict(place, place / "stopped", progress=stop)
    assert len(list((place / "stopped/scores").iterdir())) == 4 and not (place / "stopped/predictions.csv").exists()
    damaged = sorted((place / "stopped/scores").iterdir())[0]
    damaged.write_text(damaged.read_text().replace('"logit": ', '"logit": 1'))
    for _ in range(2):
        predict(place, place / "stopped")
        for name in ("predictions.csv", "embeddings.csv", "failures.csv", "prediction.json"):
            assert (place / "stopped" / name).read_bytes() == (done.out / name).read_bytes()


def test_a_case_that_cannot_be_read_stops_no_other_and_its_reason_is_told(place, done):
    rows = table(place / "cohort/cohort.csv")[:4]
    empty = place / "cohort/empty.nrrd"
    empty.write_bytes(b"")
    cohort = write_table(place / "cohort/broken.csv", [rows[0], rows[1] | {"pre": "empty.nrrd"}, rows[2], rows[3] | {"post": "gone.nrrd"}])
    with pytest.raises(predicting.CasesNotPredicted) as caught:
        predict(place, place / "broken", cohort)
    assert caught.value.code == "MRD-E780" and caught.value.exit_status == 7 and rows[1]["id"] not in caught.value.text()
    assert [row["id"] for row in table(place / "broken/predictions.csv")] == [rows[0]["id"], rows[2]["id"]]
    reasons = table(place / "broken/failures.csv")
    assert [(row["line"], row["id"]) for row in reasons] == [("3", rows[1]["id"]), ("5", rows[3]["id"])] and reasons[0]["code"].startswith("MRD-E") and reasons[0]["fix"]
    assert json.loads((place / "broken/prediction.json").read_text())["failed"] == 2
    found = {row["id"]: row for row in table(done.out / "predictions.csv")}
    assert table(place / "broken/predictions.csv")[0] == found[rows[0]["id"]]              # a score does not depend on the other rows


def test_missing_outcomes_are_empty_cells(place):
    rows = [row | {"outcome": ""} for row in table(place / "cohort/cohort.csv")[:2]]
    predict(place, place / "unknown", write_table(place / "cohort/unknown.csv", rows))
    assert [row["outcome"] for row in table(place / "unknown/predictions.csv")] == ["", ""]


def test_predictions_never_land_in_a_trainings_folder(place):
    with pytest.raises(UsageError) as caught:
        predict(place, place / "out")
    assert caught.value.code == "MRD-E776"


def test_a_bundle_without_registration_settings_takes_the_default_and_foreign_ones_are_refused(place):
    bundle = read_bundle(place / "out/bundle")
    assert predicting.registration_of(bundle).iterations == 10
    own = bundle.metadata["mrdeltanet"]
    kept = own.pop("registration")
    assert predicting.registration_of(bundle) == RegistrationConfig()
    own["registration"] = kept | {"magic": 1}
    with pytest.raises(InputError) as caught:
        predicting.registration_of(bundle)
    assert caught.value.code == "MRD-E504"


# --- tabular models

SCANS = ("pre", "post", "pre_mask", "post_mask", "residual_mask", "transform_pre_to_post")
TABULAR = ("clinical_logistic", "volume_logistic", "delta_radiomics", "fusion")


@pytest.fixture(scope="module")
def tabular(place) -> dict[str, Path]:
    """name -> output folder of a study with that tabular model, on the same table and crops as the networks."""
    config = config_of(place)
    for name in TABULAR:
        settings = {"imaging": str(place / "out")} if name == "fusion" else {}
        study.train(replace(config, out=place / name, model=ModelConfig(name, settings)))
    return {name: place / name for name in TABULAR}


def predict_table(place: Path, name: str, out: Path, cohort: Path | None = None, **options) -> predicting.Predicted:
    imaging = {"imaging": place / "out/bundle"} if name == "fusion" else {}
    return predicting.predict_cohort(place / name / "model.json", cohort or place / "cohort/cohort.csv", out, cache=place / "cache", device="cpu",
                                     **imaging | options)


@pytest.mark.parametrize("name", TABULAR)
def test_a_tabular_model_gives_external_cases_the_scores_of_its_training_and_no_range(place, tabular, name):
    found = predict_table(place, name, place / f"by-{name}")
    rows = {row["id"]: row for row in table(found.out / "predictions.csv")}
    assert len(rows) == CASES and all(row["p_pcr_low"] == row["p_pcr_high"] == "" for row in rows.values())
    trained = table(tabular[name] / "predictions.csv")
    assert len(trained) == 2 and all(row["p_pcr_low"] == "" for row in trained)
    for row in trained:
        assert all(float(rows[row["id"]][column]) == pytest.approx(float(row[column]), abs=2e-6) for column in ("p_pcr", "logit"))
        assert {column: rows[row["id"]][column] for column in ("centre", "set", "outcome")} == {column: row[column] for column in ("centre", "set", "outcome")}
    assert list(table(found.out / "embeddings.csv")[0]) == ["id", "centre", "set", "outcome"] and table(found.out / "failures.csv") == []
    record = json.loads((found.out / "prediction.json").read_text())
    assert record["bundle"]["name"] == name and record["bundle"]["sha256"] == read_table_model(tabular[name] / "model.json").sha256
    assert ("MRD-W781" in [notice.code for notice in found.notices]) == (name != "clinical_logistic")      # that one never meets a scan
    before = {path.name: path.read_bytes() for path in found.out.glob("*.*")}
    predict_table(place, name, found.out)
    assert {path.name: path.read_bytes() for path in found.out.glob("*.*")} == before


def test_a_clinical_model_reads_no_scan_and_names_the_columns_that_it_lacks(place, tabular):
    rows = table(place / "cohort/cohort.csv")
    nowhere = write_table(place / "cohort/nowhere.csv", [{name: value for name, value in row.items() if name not in SCANS} | {"outcome": ""} for row in rows])
    assert predict_table(place, "clinical_logistic", place / "nowhere", nowhere).cases == CASES
    column = next(iter(read_table_model(tabular["clinical_logistic"] / "model.json").columns))
    lacking = write_table(place / "cohort/lacking.csv", [{name: value for name, value in row.items() if name != column} for row in rows])
    for name in ("clinical_logistic", "fusion"):
        with pytest.raises(InputError) as caught:
            predict_table(place, name, place / f"lacking-{name}", lacking)
        assert caught.value.code == "MRD-E788" and column in caught.value.found and not (place / f"lacking-{name}").exists()


def test_a_category_that_no_training_case_had_stops_its_row_only(place, tabular, tmp_path):
    """The model knows one category less than the data dictionary allows."""
    model = read_table_model(tabular["clinical_logistic"] / "model.json")
    name, column = next((name, column) for name, column in model.columns.items() if isinstance(column, CategoryColumn) and len(column.categories) > 2)
    gone = column.categories[-1]
    known = replace(model, columns=dict(model.columns) | {name: replace(column, categories=column.categories[:-1])},
                    coefficients={term: value for term, value in model.coefficients.items() if term != f"{name} = {gone}"})
    write_table_model(tmp_path / "model.json", known)
    rows = table(place / "cohort/cohort.csv")
    strangers = [k for k, row in enumerate(rows) if row[name] == gone]
    assert 0 < len(strangers) < CASES
    with pytest.raises(predicting.CasesNotPredicted) as caught:
        predicting.predict_cohort(tmp_path / "model.json", place / "cohort/cohort.csv", tmp_path / "out")
    assert caught.value.code == "MRD-E780" and caught.value.found == "MRD-E786"
    assert [row["line"] for row in table(tmp_path / "out/failures.csv")] == [str(k + 2) for k in strangers]
    assert len(table(tmp_path / "out/predictions.csv")) == CASES - len(strangers)


def test_a_fusion_wants_the_imaging_model_that_it_was_fitted_with(place, tabular, tmp_path):
    from MRDeltaNetLib.resources import DEMO_BUNDLE, resource

    for name, imaging, code in (("fusion", None, "MRD-E795"), ("fusion", resource(DEMO_BUNDLE), "MRD-E796"),
                                ("fusion", tabular["volume_logistic"] / "model.json", "MRD-E796"), ("volume_logistic", place / "out/bundle", "MRD-E795")):
        with pytest.raises((InputError, UsageError)) as caught:
            predict_table(place, name, tmp_path / "out", imaging=imaging)
        assert caught.value.code == code and not (tmp_path / "out").exists()
    with pytest.raises(UsageError) as caught:
        predict(place, tmp_path / "out", imaging=place / "out/bundle")
    assert caught.value.code == "MRD-E795"


def test_a_case_that_the_imaging_model_cannot_score_is_no_case_of_the_fusion(place, tabular):
    rows = table(place / "cohort/cohort.csv")[:3]
    missing = write_table(place / "cohort/unread.csv", [rows[0], rows[1] | {"pre": "gone.nrrd"}, rows[2]])
    with pytest.raises(predicting.CasesNotPredicted):
        predict_table(place, "fusion", place / "unread", missing)
    assert [row["id"] for row in table(place / "unread/predictions.csv")] == [rows[0]["id"], rows[2]["id"]]
    assert [(row["line"], row["code"]) for row in table(place / "unread/failures.csv")] == [("3", "MRD-E100")]


def test_a_model_that_does_not_say_how_its_scans_were_prepared_scores_none(place, tabular, tmp_path):
    model = read_table_model(tabular["volume_logistic"] / "model.json")
    for settings in ({}, dict(model.settings) | {"registration": {"magic": 1}}, dict(model.settings) | {"preprocessing": {}}):
        write_table_model(tmp_path / "model.json", replace(model, settings=settings))
        with pytest.raises(InputError) as caught:
            predicting.predict_cohort(tmp_path / "model.json", place / "cohort/cohort.csv", tmp_path / f"out-{len(settings)}-{len(str(settings))}")
        assert caught.value.code == "MRD-E785"


def test_a_tabular_model_is_no_bundle_and_verify_says_what_it_is(place, tabular, capsys):
    from typer.testing import CliRunner

    from MRDeltaNetLib.cli import app

    place = tabular["volume_logistic"] / "model.json"
    with pytest.raises(InputError) as caught:
        read_bundle(place)
    assert caught.value.code == "MRD-E501" and "mrdeltanet predict" in caught.value.fix and "tabular" in caught.value.found
    said = CliRunner().invoke(app, ["model", "verify", str(place)])
    assert said.exit_code == 0 and "volume_logistic: a tabular model" in said.output and read_table_model(place).sha256 in said.output
    assert "Trained on 8 cases" in said.output
    changed = place.with_name("changed.json")
    changed.write_text(place.read_text().replace('"threshold": 0.', '"threshold": 0.0'))
    assert CliRunner().invoke(app, ["model", "verify", str(changed)]).exit_code == 3
