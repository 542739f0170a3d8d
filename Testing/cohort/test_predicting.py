"""Prediction of a table: the training's own numbers again, the same bytes again, a warning at training cases, exit 7 with the reasons."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

pytest.importorskip("lightning.pytorch", reason="training needs the 'cohort' extra")
pytest.importorskip("sklearn", reason="training needs the 'cohort' extra")

from MRDeltaNetLib.cohort import predicting, study  # noqa: E402
from MRDeltaNetLib.cohort.simulation import simulate_cohort  # noqa: E402
from MRDeltaNetLib.config import ModelConfig, PreprocessingConfig, RegistrationConfig, StudyConfig, TrainingConfig, ValidationConfig  # noqa: E402
from MRDeltaNetLib.errors import Cancelled, InputError, UsageError  # noqa: E402
from MRDeltaNetLib.io.bundle import read_bundle  # noqa: E402

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


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A simulated cohort of ten small cases, two of them external, and a model trained on the others: table to bundle, nothing stood in for."""
    place = tmp_path_factory.mktemp("predict")
    simulated = simulate_cohort(CASES, 7, "controlled", place / "cohort", size=SIZE, prevalence=0.5)
    rows = table(simulated)
    external = [next(k for k, row in enumerate(rows) if row["outcome"] == label) for label in "01"]
    for k, row in enumerate(rows):
        row["set"] = "external" if k in external else "train"
    write_table(simulated, rows)
    study.train(StudyConfig(cohort=simulated, cache=place / "cache", out=place / "out", accelerator="cpu", name="small",
                            model=ModelConfig("deltanet", {"preset": "tiny"}),
                            preprocessing=PreprocessingConfig(spacing_mm=(1.5, 1.5, 3.0), crop_mm=(48.0, 48.0, 36.0)),
                            registration=RegistrationConfig(method="none", iterations=10, min_similarity_peak=0.0, min_mutual_information_nats=0.0,
                                                            min_similarity_gain_percent=-100.0),
                            training=TrainingConfig(epochs=1, batch_size=4, monitor="nll", precision="32-true"),
                            validation=ValidationConfig(folds=2, seeds=(0,), min_events=2, group="none", leave_one_centre_out=False)))
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
        assert all(float(found[name][column]) == pytest.approx(float(row[column]), abs=1e-5) for column in ("p_pcr", "p_pcr_low", "p_pcr_high", "logit"))
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


def test_ranges_without_smaller_outlines_are_told_by_line(place, done):
    """Slices of 10 mm: some tumours are too thin to shrink."""
    thin = [k + 2 for k, row in enumerate(table(place / "cohort/cohort.csv")) if _left_out(place, row)]
    (notice,) = [notice for notice in done.notices if notice.code == "MRD-W716"]
    assert thin and f"in {len(thin)} of the {CASES} cases (line {', '.join(map(str, thin))})" in notice.text


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
