"""A whole study on planted crops: honest scores, an honest card, a bundle that loads, and nothing lost or believed after a stop."""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lightning.pytorch", reason="training needs the 'cohort' extra")
pytest.importorskip("sklearn", reason="training needs the 'cohort' extra")

from MRDeltaNetLib.cohort import scores_table, study, tabular  # noqa: E402
from MRDeltaNetLib.cohort.preparing import Failure, PreparedCohort  # noqa: E402
from MRDeltaNetLib.cohort.splitting import Split  # noqa: E402
from MRDeltaNetLib.cohort.statistics import auc_with_ci, paired_delong, sigmoid  # noqa: E402
from MRDeltaNetLib.cohort.study import card, concluding, evaluation, members, shipping, tables  # noqa: E402
from MRDeltaNetLib.cohort.study.folder import locked  # noqa: E402
from MRDeltaNetLib.cohort.study.record import read_record  # noqa: E402
from MRDeltaNetLib.cohort.training.pretraining import start_from  # noqa: E402
from MRDeltaNetLib.config import ModelConfig, PreprocessingConfig, PretrainingConfig, StudyConfig, ThresholdConfig, TrainingConfig, ValidationConfig  # noqa: E402
from MRDeltaNetLib.errors import Cancelled, EnvironmentProblem, InputError, Notice, UsageError  # noqa: E402
from MRDeltaNetLib.io.bundle import check_golden, load_network, read_bundle  # noqa: E402
from MRDeltaNetLib.io.cohort_table import Cohort, Column, Row  # noqa: E402
from MRDeltaNetLib.io.table_model import read_table_model  # noqa: E402
from MRDeltaNetLib.models.registry import build  # noqa: E402
from MRDeltaNetLib.resources import resource  # noqa: E402

_spec = importlib.util.spec_from_file_location("planted", Path(__file__).resolve().parents[1] / "planted.py")
planted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(planted)

DICTIONARY = {"age": Column("number"), "stage": Column("category")}
CASES, EXTERNAL = 24, (20, 21, 22, 23)
SCAN = {"sequence": "T2", "manufacturer": "Made Up", "field_strength_t": 1.5, "repetition_time_ms": 4000.0, "echo_time_ms": 100.0,
        "spacing_mm": [0.6, 0.6, 3.5], "size_voxels": [320, 320, 30]}


def cohort(failures=()) -> PreparedCohort:
    """Twenty training cases of two centres and four external ones, with an outcome that the crops tell."""
    crops, outcomes = planted.planted_pairs(CASES, seed=3)
    last = [k for label in (0, 1) for k in np.flatnonzero(outcomes == label)[-2:]]
    order = [k for k in range(CASES) if k not in last] + last                # two external cases of each class
    crops, outcomes = crops[order], outcomes[order]
    rows = tuple(Row(line=k + 2, id=f"case-{k}", centre="AB"[k // 2 % 2], set="external" if k in EXTERNAL else "train", outcome=int(outcomes[k]),
                     clinical={"age": 50.0 + 7 * k % 31, "stage": "T3" if k % 3 else "T4"})
                 for k in range(CASES))
    facts = tuple({"pre": SCAN, "post": SCAN | {"field_strength_t": 3.0}, "interval_days": 60 + k, "crop": {"sha256": f"{k:064x}"},
                   "intensity_percentiles": {visit: np.percentile(crop[v, 0], range(101)).tolist() for v, visit in enumerate(("pre", "post"))}}
                  for k, crop in enumerate(crops))
    return PreparedCohort(rows, tuple(crops.astype(np.float16)), facts, tuple(f"{k + 1000:064x}" for k in range(CASES)), tuple(failures))


def config(out: Path, **changes) -> StudyConfig:
    made = StudyConfig(cohort=out.parent / "cohort.csv", cache=out.parent / "cache", out=out, accelerator="cpu", name="planted",
                       model=ModelConfig("deltanet", {"preset": "tiny"}), preprocessing=PreprocessingConfig(crop_mm=(24.0, 24.0, 12.0)),
                       training=TrainingConfig(epochs=1, batch_size=8, monitor="nll", precision="32-true"),
                       validation=ValidationConfig(folds=2, seeds=(0,), min_events=4, group="none"))
    return replace(made, **changes)


def trained(out: Path, *, progress=lambda done, message: None, prepared=None, **changes) -> study.Trained:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "_prepared", lambda config, progress: (prepared or cohort(), "0" * 64, [Notice("MRD-W431", "as the table says")], DICTIONARY))
        return study.train(config(out, **changes), progress=progress)


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> study.Trained:
    return trained(tmp_path_factory.mktemp("study") / "out")


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_every_training_case_is_scored_by_the_network_that_never_saw_it(done):
    rows = table(done.out / "oof.csv")
    assert list(rows[0]) == ["id", "centre", "set", "outcome", "p_pcr", "p_pcr_low", "p_pcr_high", "logit", "fold"]
    assert [row["id"] for row in rows] == [f"case-{k}" for k in range(20)] and {row["set"] for row in rows} == {"train"}
    bundle = read_bundle(done.bundle)
    network, crops = load_network(bundle, build), cohort().crops
    import torch

    with torch.inference_mode():
        own = network(torch.from_numpy(np.stack(crops[:20]).astype(np.float32))).member_logits.numpy()
    assert all(row["p_pcr_low"] == row["p_pcr_high"] == "" for row in rows)              # one network each: no range, not one of width 0
    held = {member["fold"]: k for k, member in enumerate(m for m in done.record["members"] if m["centre"] is None)}
    for k, row in enumerate(rows):
        assert float(row["logit"]) == pytest.approx(own[k, held[int(row["fold"])]], abs=1e-4)


def test_a_training_has_the_threads_that_its_study_asks_for_and_leaves_the_caller_s_as_they_were(tmp_path):
    import torch
    before, seen = torch.get_num_threads(), []

    def stop(done: float, message: str) -> None:
        seen.append(torch.get_num_threads())
        raise Cancelled()

    with pytest.raises(Cancelled):
        trained(tmp_path / "out", threads=before + 1, progress=stop)
    assert seen == [before + 1] and torch.get_num_threads() == before


def test_the_range_is_that_of_several_networks_and_empty_for_one():
    row = cohort().rows[0]
    two, one = (scores_table.scored(row, np.array(logits), sigmoid) for logits in ([-1.0, 2.0], [0.5]))
    assert (two["p_pcr_low"], two["p_pcr_high"]) == pytest.approx(sigmoid(np.array([-1.0, 2.0])), abs=1e-7) and two["logit"] == one["logit"] == 0.5
    assert one["p_pcr_low"] is one["p_pcr_high"] is None and one["p_pcr"] == two["p_pcr"]


def test_out_of_fold_probabilities_are_the_out_of_fold_line_and_the_record_tells_their_auc(done):
    rows = table(done.out / "oof.csv")
    logit, outcome = (np.array([float(row[name]) for row in rows]) for name in ("logit", "outcome"))
    calibration = done.record["calibration"]
    line = calibration["out_of_fold"]
    assert read_bundle(done.bundle).own["recalibration"] == {name: calibration[name] for name in ("slope", "intercept")}
    np.testing.assert_allclose([float(row["p_pcr"]) for row in rows], sigmoid(line["slope"] * logit + line["intercept"]), atol=1e-7)
    auc, low, high = auc_with_ci(outcome, logit)
    assert (done.record["out_of_fold"]["auc"], *done.record["out_of_fold"]["ci"]) == pytest.approx((auc, low, high), abs=1e-6)


def test_external_cases_are_scored_by_the_whole_ensemble_and_change_nothing(done, tmp_path):
    rows = table(done.out / "predictions.csv")
    assert [row["id"] for row in rows] == [f"case-{k}" for k in EXTERNAL]
    network = load_network(read_bundle(done.bundle), build)
    import torch

    with torch.inference_mode():
        logits = network(torch.from_numpy(np.stack([cohort().crops[k] for k in EXTERNAL]).astype(np.float32))).logit.numpy()
    np.testing.assert_allclose([float(row["logit"]) for row in rows], logits, atol=1e-4)
    assert all(float(row["p_pcr_low"]) <= float(row["p_pcr"]) <= float(row["p_pcr_high"]) for row in rows)
    whole = cohort()
    turned = replace(whole, rows=tuple(replace(row, outcome=1 - row.outcome) if row.set == "external" else row for row in whole.rows))
    shutil.copytree(done.out, tmp_path / "out")
    other = trained(tmp_path / "out", prepared=turned)
    for name in ("calibration", "threshold", "out_of_fold", "leave_one_centre_out"):
        assert other.record[name] == done.record[name]
    assert (other.out / "oof.csv").read_bytes() == (done.out / "oof.csv").read_bytes()
    assert other.record["other_sets"]["external"]["auc"] == pytest.approx(1 - done.record["other_sets"]["external"]["auc"])


def test_the_held_out_auc_of_the_bundle_is_that_of_the_external_cases(done):
    own = read_bundle(done.bundle).own
    assert own["held_out_auc"] == done.record["other_sets"]["external"]["auc"] and "4 external cases" in own["held_out_on"]
    record = json.loads(json.dumps(done.record)) | {"other_sets": {}}
    assert card.held_out(record)["auc"] == done.record["out_of_fold"]["auc"] and "out of fold" in card.held_out(record)["on"]


def test_the_bundle_loads_gives_its_golden_output_and_knows_its_training_cases(done):
    bundle = read_bundle(done.bundle)
    assert check_golden(bundle, load_network(bundle, build)) <= bundle.own["golden_tolerance"]
    assert bundle.members == 2 and not any("decoding" in name for name in bundle.weights)
    assert bundle.own["training_keys"] == [f"{k + 1000:064x}" for k in range(20)]
    assert bundle.own["training"]["training"]["epochs"] == 1 and str(done.out.parent) not in (done.bundle / "configs/metadata.json").read_text()
    assert bundle.reference is not None and bundle.reference.cases == 20


def test_the_metadata_are_a_monai_bundles(done):
    jsonschema = pytest.importorskip("jsonschema", reason="the schema is checked with jsonschema")
    jsonschema.validate(json.loads((done.bundle / "configs/metadata.json").read_text()),
                        json.loads(resource("schemas/monai-bundle-metadata.schema.json").read_text()))


def test_no_patients_crop_is_in_the_bundle(done):
    golden = read_bundle(done.bundle).golden["input"].float().numpy()
    for crop in cohort().crops:
        assert abs(np.corrcoef(golden[:, 0].ravel(), crop[:, 0].astype(np.float32).ravel())[0, 1]) < 0.2


def test_each_centre_left_out_is_scored_by_networks_without_it(done):
    found = done.record["leave_one_centre_out"]
    assert set(found["centres"]) == {"A", "B"} and found["pooled"]["cases"] == 20
    prepared = cohort()
    for member in (m for m in done.record["members"] if m["centre"] is not None):
        assert member["held_out"] == sum(row.centre == member["centre"] and row.set == "train" for row in prepared.rows)
        assert member["training"] + member["stopping"] + member["held_out"] == 20


def test_the_card_tells_what_happened(done):
    text = (done.bundle / "docs/README.md").read_text()
    oof = done.record["out_of_fold"]
    for words in (f"{oof['auc']:.3f} ({oof['ci'][0]:.3f} to {oof['ci'][1]:.3f})", "| train | 20 | 10 | 10 | 2 |", "1.5, 3 T", "in-plane 0.6 mm; slices 3.5 mm",
                  "Made Up", "60 to 79", "centre A, out of fold", "left out", "Youden index", f"{done.record['threshold']['value']:.4f}",
                  "Few events: 10", "Research only", "MRD-W431", "mrdeltanet controls"):
        assert words in text, words
    assert "made-up data" not in text                                    # nothing says that this table was simulated


def test_the_record_is_read_back_and_a_changed_one_refused(done, tmp_path):
    assert read_record(done.out / "training.json") == json.loads(json.dumps(done.record))
    broken = tmp_path / "training.json"
    broken.write_text(json.dumps({name: value for name, value in done.record.items() if name != "folds"}))
    with pytest.raises(InputError) as caught:
        read_record(broken)
    assert caught.value.code == "MRD-E784"


@pytest.mark.parametrize("where", ["network 1 of 4, repeat-0-fold-0-seed-0: scoring", "network 3 of 4"])
def test_a_stopped_study_goes_on_and_ends_with_the_same_bytes(done, tmp_path, where):
    def stop(fraction, message):
        if message.startswith(where):
            raise Cancelled()

    with pytest.raises(Cancelled):
        trained(tmp_path / "out", progress=stop)
    assert not (tmp_path / "out/training.json").exists() and not (tmp_path / "out/bundle").exists()
    said = []
    again = trained(tmp_path / "out", progress=lambda fraction, message: said.append(message))
    assert any("done before" in message for message in said) == (where == "network 3 of 4")
    for name in ("oof.csv", "oof_embeddings.csv", "predictions.csv", "embeddings.csv", "bundle/models/model.safetensors"):
        assert (again.out / name).read_bytes() == (done.out / name).read_bytes()


def test_a_finished_study_is_not_trained_again_but_another_threshold_is_taken(done, tmp_path):
    shutil.copytree(done.out, tmp_path / "out")
    said = []
    again = trained(tmp_path / "out", threshold=ThresholdConfig(rule="specificity", specificity=0.8), progress=lambda fraction, message: said.append(message))
    assert sum("done before" in message for message in said) == 4 and not any("epoch 1:" in message for message in said)
    assert again.record["threshold"]["point"]["specificity"]["value"] >= 0.8 and "at least 0.8" in read_bundle(again.bundle).own["threshold_source"]
    assert not list((tmp_path / "out").glob(".writing-*"))


def test_changed_files_of_a_network_are_not_believed(done, tmp_path):
    shutil.copytree(done.out, tmp_path / "out")
    place = tmp_path / "out/members/repeat-0-fold-0-seed-0"
    content = bytearray((place / "outputs.safetensors").read_bytes())
    content[-1] ^= 1
    (place / "outputs.safetensors").write_bytes(content)
    again = trained(tmp_path / "out")
    assert (again.out / "oof.csv").read_bytes() == (done.out / "oof.csv").read_bytes()


def test_another_study_and_foreign_files_are_refused(done, tmp_path):
    with pytest.raises(UsageError) as caught:
        trained(done.out, training=TrainingConfig(epochs=2, batch_size=8))
    assert caught.value.code == "MRD-E776" and caught.value.found == "other settings of the training"
    (tmp_path / "out").mkdir()
    (tmp_path / "out/Smith^John.docx").write_text("mine")
    with pytest.raises(UsageError) as caught:
        trained(tmp_path / "out")
    assert caught.value.code == "MRD-E776" and (tmp_path / "out/Smith^John.docx").read_text() == "mine"
    assert caught.value.found == "1 file or folder" and "Smith" not in caught.value.text()
    for name in ("training.json", "oof.csv", "controls.json", "bundle"):
        (tmp_path / "out" / name).write_text("")
    with pytest.raises(UsageError) as caught:
        trained(tmp_path / "out")
    assert caught.value.found == "5 files or folders, among them bundle, controls.json, oof.csv" and "an 'out' of its own" in caught.value.fix


def test_a_refusal_of_another_study_tells_whether_software_or_cases_are_others(done, tmp_path):
    whole = cohort()
    other = replace(whole, keys=tuple(f"{k:064x}" for k in range(CASES)))

    def refused(prepared=other, **note) -> str:
        out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
        out.mkdir()
        (out / "study.json").write_text(json.dumps(json.loads((done.out / "study.json").read_text()) | note))
        with pytest.raises(UsageError) as caught:
            trained(out, prepared=prepared)
        assert caught.value.code == "MRD-E776"
        return caught.value.found

    now = json.loads((done.out / "study.json").read_text())["software"]
    assert set(now) >= {"mrdeltanet", "code", "torch"}
    assert refused() == "other cases, or other scans or masks of them"
    assert refused(software=now | {"mrdeltanet": "0.0.1"}).startswith("crops of another version of MRDeltaNet (begun with 0.0.1, now ")
    assert "another version of MRDeltaNet (both call themselves" in refused(software=now | {"code": "0" * 64})
    assert "other versions of libraries (torch 1.0, now " in refused(software=now | {"torch": "1.0"})
    turned = replace(whole, rows=tuple(replace(row, centre="C") if k == 3 else row for k, row in enumerate(whole.rows)))
    assert refused(turned, software=now | {"torch": "1.0"}).startswith("other outcomes, centres")         # software alone is no reason
    assert "another version of MRDeltaNet" in refused(parts=None) and "prediction" in refused(parts={"predicts with": "0" * 64})


@pytest.mark.parametrize("twin", [5, EXTERNAL[0]])
def test_one_patient_in_two_rows_is_refused_before_anything_is_trained(tmp_path, twin):
    one = cohort()
    facts = tuple(found | {"crop": one.facts[1]["crop"]} if k == twin else found for k, found in enumerate(one.facts))
    with pytest.raises(InputError) as caught:
        trained(tmp_path / "out", prepared=replace(one, facts=facts))
    assert caught.value.code == "MRD-E453" and f"lines 3 and {twin + 2}" in caught.value.found and not (tmp_path / "out" / "members").exists()


@pytest.mark.parametrize("visits", [("pre", "pre"), ("post", "post"), ("post", "pre")])
def test_one_scan_in_two_rows_is_refused_whatever_the_masks_made_of_the_crop(tmp_path, visits):
    scans = scans_of(cohort())
    scans[7][visits[1]] = scans[1][visits[0]]
    with pytest.raises(InputError) as caught:
        trained(tmp_path / "out", prepared=with_scans(cohort(), scans))
    assert caught.value.code == "MRD-E453" and caught.value.found == "lines 3 and 9" and not (tmp_path / "out" / "members").exists()
    scans = scans_of(cohort())
    scans[7] |= scans[1]                                                           # both visits: one pair of lines, told once
    with pytest.raises(InputError) as caught:
        study._refuse_twins(with_scans(cohort(), scans))
    assert caught.value.found == "lines 3 and 9"
    study._refuse_twins(with_scans(cohort(), scans_of(cohort())))


def test_a_bundle_lists_the_scans_of_its_training_cases_if_all_are_known():
    scans = scans_of(cohort())
    listed = shipping.scans_of([facts for k, facts in enumerate(with_scans(cohort(), scans).facts) if k not in EXTERNAL])["training_scans_sha256"]
    assert listed == sorted(scans[k][visit] for k in range(20) for visit in ("pre", "post"))
    assert shipping.scans_of([{"scans_sha256": scans[0]}, {}]) == {}


def test_the_shipped_bundle_has_the_list_and_one_of_older_cases_has_none(done, tmp_path):
    assert "training_scans_sha256" not in read_bundle(done.bundle).own
    found = trained(tmp_path / "out", prepared=with_scans(cohort(), scans_of(cohort())))
    assert len(read_bundle(found.bundle).own["training_scans_sha256"]) == 40
    assert (found.out / "oof.csv").read_bytes() == (done.out / "oof.csv").read_bytes()


def scans_of(prepared: PreparedCohort) -> list[dict[str, str]]:
    """Digests of scans, all different."""
    return [{"pre": f"{k + 2000:064x}", "post": f"{k + 3000:064x}"} for k in range(len(prepared.rows))]


def with_scans(prepared: PreparedCohort, scans: list[dict[str, str]]) -> PreparedCohort:
    return replace(prepared, facts=tuple(facts | {"scans_sha256": one} for facts, one in zip(prepared.facts, scans)))


def test_a_pretrained_models_card_does_not_say_that_its_networks_never_saw_a_case(done):
    record = json.loads(json.dumps(done.record))
    assert "never saw it" in card.card(record) and "pretrained" not in "".join(card.limits(record))
    record["config"]["pretrained"], record["other_sets"] = True, {}
    text = card.card(record)
    assert "never saw it" not in text and "started from pretrained weights" in text and "never learned its outcome" in text
    assert "never saw it" not in card.held_out(record)["on"] and "no external set" in card.held_out(record)["on"]
    record["other_sets"] = {"external": {"cases": 3, "auc": None, "ci": None}}
    assert "3 external cases are too few" in card.held_out(record)["on"] and "no external set" not in card.held_out(record)["on"]


def test_two_trainings_never_share_a_folder(tmp_path):
    with locked(tmp_path / "out"), pytest.raises(EnvironmentProblem) as caught:
        trained(tmp_path / "out")
    assert caught.value.code == "MRD-E777"


def test_more_networks_than_a_bundle_holds_are_refused_before_the_first_is_trained(tmp_path):
    with pytest.raises(UsageError) as caught:
        trained(tmp_path / "out", validation=ValidationConfig(folds=2, seeds=tuple(range(60)), min_events=4))
    assert caught.value.code == "MRD-E486" and not (tmp_path / "out" / "members").exists()


SETTINGS = {"spacing_mm": [0.75, 0.75, 3.0], "crop_mm": [24.0, 24.0, 12.0], "preset": "tiny"}


def weights_of(name: str, place: Path, **changes) -> Path:
    """The file of a network's weights, as pretraining writes it."""
    from safetensors.torch import save_file

    save_file({key: value.contiguous() for key, value in build(name, **SETTINGS | changes).state_dict().items()}, place)
    return place


@pytest.mark.parametrize("name", ["deltanet", "siamese_subtraction", "resnet18", "vit"])
def test_a_pretrained_network_does_not_answer_with_the_order_of_visits(name, tmp_path):
    from safetensors.torch import load_file
    import torch

    pretrained, network = load_file(weights_of(name, tmp_path / "weights.safetensors")), build(name, **SETTINGS)
    last = {key for key in network.state_dict() if key.startswith("head.logit.")}
    assert last and start_from(network, tmp_path / "weights.safetensors") == len(pretrained) - len(last)
    for key, value in network.state_dict().items():
        assert torch.equal(value, pretrained[key]) != (key in last), key


OTHERS = [("roi_pooled", {}, True), ("deltanet", {"compare": "latent"}, True), ("deltanet", {"auxiliary": False}, True), ("slice2p5d", {}, False),
          ("deltanet", {"crop_mm": [36.0, 36.0, 12.0]}, False), ("siamese_subtraction", {}, False)]


@pytest.mark.parametrize("parts", ["all", "stages"])
@pytest.mark.parametrize(("name", "changes", "stages_fit"), OTHERS)
def test_a_start_of_another_network_is_refused_unless_only_its_stages_are_wanted_and_they_fit(name, changes, stages_fit, parts, tmp_path):
    network = build(name, **SETTINGS | changes)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    if parts == "stages" and stages_fit:
        assert 60 < start_from(network, weights_of("deltanet", tmp_path / "weights.safetensors"), parts) < 95
        return
    with pytest.raises(InputError) as caught:
        start_from(network, weights_of("deltanet", tmp_path / "weights.safetensors"), parts)
    assert caught.value.code == "MRD-E766" and all((value == before[key]).all() for key, value in network.state_dict().items())


def pretrained(out: Path) -> Path:
    """The study's own pretraining of one epoch, on the planted crops."""
    from MRDeltaNetLib.cohort.study.pretraining import pretrain

    whole = cohort()
    train = [k for k, row in enumerate(whole.rows) if row.set == "train"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("MRDeltaNetLib.io.cohort_table.read_cohort", lambda path, **_: Cohort(whole.rows, DICTIONARY, out, "0" * 64, ()))
        patch.setattr("MRDeltaNetLib.cohort.preparing.prepare_cohort", lambda *_, **__: None)
        patch.setattr("MRDeltaNetLib.cohort.preparing.load_prepared", lambda table, *_: tabular.features.subset(whole, train[:len(table.rows)]))
        return pretrain(replace(config(out), pretraining=PretrainingConfig(epochs=1))).weights


def test_what_was_pretrained_is_what_training_starts_from(tmp_path):
    """With a learning rate of nothing the members end where they began: at the pretrained weights, all but the last layer."""
    from safetensors.torch import load_file
    import torch

    weights = pretrained(tmp_path / "first")
    still = TrainingConfig(epochs=1, batch_size=8, monitor="nll", precision="32-true", learning_rate=1e-12)
    done = trained(tmp_path / "second", start=weights, training=still)
    assert done.record["config"]["pretrained"] is True
    began, random = load_file(weights), build("deltanet", **SETTINGS).state_dict()
    for name in ("repeat-0-fold-0-seed-0", "repeat-0-fold-1-seed-0"):
        ended = load_file(tmp_path / "second/members" / name / "weights.safetensors")
        for key, value in ended.items():
            assert torch.allclose(value, began[key], atol=1e-7) != key.startswith("head.logit."), key
        assert not torch.allclose(ended["head.logit.weight"], random["head.logit.weight"])
    with pytest.raises(UsageError) as caught:                                      # another start is another study
        trained(tmp_path / "second", training=still)
    assert caught.value.code == "MRD-E776"


def test_pretraining_and_training_may_share_an_output_folder(tmp_path):
    weights = pretrained(tmp_path / "out")
    (tmp_path / "out/prepared").mkdir()
    (tmp_path / "out/prepared/cache.json").write_text("{}")                      # a cache below out, which preparation makes first
    done = trained(tmp_path / "out", start=weights)
    assert done.record["config"]["pretrained"] and weights.is_file() and done.bundle.parent == tmp_path / "out"


def test_a_study_refuses_to_start_from_another_network_or_from_nothing(tmp_path):
    other = weights_of("deltanet", tmp_path / "other.safetensors", compare="latent")
    for start in (other, tmp_path / "missing.safetensors"):
        with pytest.raises(InputError) as caught:
            trained(tmp_path / start.stem, start=start)
        assert caught.value.code == "MRD-E766" and not (tmp_path / start.stem / "training.json").exists()
    assert trained(tmp_path / "stages", start=other, start_parts="stages").record["config"]["start_parts"] == "stages"


def test_weights_that_are_not_numbers_are_refused(done, tmp_path):
    from safetensors.torch import load_file, save_file

    place = done.out / "members/repeat-0-fold-0-seed-0/weights.safetensors"
    weights = load_file(place)
    first = next(name for name in weights if name.startswith("encoder"))
    weights[first] = weights[first] * float("nan")
    save_file(weights, tmp_path / "nan.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(place.read_bytes()[:1000])
    network = build("deltanet", spacing_mm=[0.75, 0.75, 3.0], crop_mm=[24.0, 24.0, 12.0], preset="tiny", auxiliary=False)
    for name in ("nan", "cut"):
        with pytest.raises(InputError) as caught:
            members.load_weights(network, tmp_path / f"{name}.safetensors")
        assert caught.value.code == "MRD-E781"


def test_a_network_that_gives_nonsense_is_refused():
    with pytest.raises(InputError) as caught:
        members._refuse_nonsense(np.array([0.0, np.inf]))
    assert caught.value.code == "MRD-E783"


def test_a_bundle_without_a_reference_says_why():
    prepared = cohort()
    few = np.arange(4)
    fake = members.Member("m", None, 0, np.zeros(CASES), np.random.default_rng(0).normal(size=(CASES, 3)), {})
    reference, why = shipping.reference_of([fake], prepared, few)
    assert reference is None and "4 cases" in why and shipping.no_reference(why).code == "MRD-W782"


def test_cross_fitting_finds_a_line_that_only_fits_its_own_fold():
    random = np.random.default_rng(1)
    outcome = random.integers(0, 2, 400)
    folds = np.arange(400) % 2
    logit = random.normal(outcome * 1.5, 1.0) * np.where(folds == 0, 1.0, 4.0)      # one fold's scores are four times too far apart
    found = evaluation.cross_fitted(outcome, logit, folds)
    assert not 0.8 < found["slope"] < 1.2
    assert 0.8 < evaluation.cross_fitted(outcome, random.normal(outcome * 1.5, 1.0), folds)["slope"] < 1.2


def test_limits_follow_from_the_numbers(done):
    record = json.loads(json.dumps(done.record))
    record["out_of_fold"] |= {"auc": 0.9, "ci": [0.85, 0.95]}
    record["cohort"]["train"] |= {"with_pcr": 200, "without_pcr": 800}
    record["leave_one_centre_out"] = {"pooled": {"auc": 0.5}, "out_of_fold_auc_of_the_same_cases": 0.9, "centres": {
        "A": {"with_pcr": 10, "without_pcr": 30, "auc": 0.6, "out_of_fold_auc": 0.85}, "B": {"with_pcr": 10, "without_pcr": 10, "auc": 0.9, "out_of_fold_auc": 0.9},
        "C": {"with_pcr": 1, "without_pcr": 10, "auc": None, "out_of_fold_auc": None}}}
    record["calibration"] |= {"method": "platt", "after_cross_fitted": {"slope": 1.0, "intercept": 0.0}}
    text = " ".join(card.limits(record))
    assert "lower by 0.19" in text and "Few events" not in text and "chance" not in text and "recalibrat" not in text.replace("Threshold and recalibration", "")
    record["leave_one_centre_out"]["centres"]["A"]["auc"] = 0.85         # an offset between networks is no loss inside a centre
    assert "was not trained on" not in " ".join(card.limits(record))
    record["folds"]["whole_centres"], record["leave_one_centre_out"] = True, None
    text = " ".join(card.limits(record))
    assert "of a centre that its network had not seen" in text and "No centre was left out" not in text
    record["calibration"]["after_cross_fitted"]["slope"] = 0.5
    record["cohort"] |= {"failed": 3, "simulated": True}
    text = " ".join(card.limits(record))
    assert "slope 0.50" in text and "3 cases of the table" in text and "made-up" in text


def test_cases_that_cannot_be_prepared_are_counted(tmp_path):
    found = trained(tmp_path / "out", prepared=cohort([Failure(26, "case-24", "MRD-E100", "not there")]),
                    validation=ValidationConfig(folds=2, seeds=(0,), min_events=4, group="none", leave_one_centre_out=False))
    assert found.record["cohort"]["failed"] == 1 and found.record["leave_one_centre_out"] is None
    assert "1 cases of the table could not be prepared" in (found.bundle / "docs/README.md").read_text()


def test_too_few_events_because_cases_failed_says_so_by_counts_only(tmp_path):
    lost = [Failure(26, "case-24", "MRD-E100", "not there"), Failure(27, "case-25", "MRD-E208", "too small")]
    for failures, told in ((lost, True), ([], False)):
        with pytest.raises(InputError) as caught:
            trained(tmp_path / "out", prepared=cohort(failures), validation=ValidationConfig(folds=2, seeds=(0,), min_events=11, group="none"))
        text = caught.value.text()
        assert caught.value.code == "MRD-E774" and ("2 of 26 cases of the table could not be prepared" in text) == told == ("failures.csv" in text)
        assert ("MRD-E100, MRD-E208" in text) == told and "case-" not in text


MEASURES = {"pre_volume_ml": 20.0, "post_volume_ml": 5.0, "pre_longest_in_plane_diameter_mm": 40.0, "post_longest_in_plane_diameter_mm": 20.0,
            "volume_change_percent": -75.0}


def measured() -> PreparedCohort:
    """The cohort with volumes that tell a little of the outcome."""
    made, random = cohort(), np.random.default_rng(2)
    facts = tuple(one | {"measures": MEASURES | {"post_volume_ml": float(np.exp(random.normal(1.5 - 0.8 * row.outcome, 1.0)))}}
                  for row, one in zip(made.rows, made.facts))
    return replace(made, facts=facts)


@pytest.mark.parametrize("name", ["volume_logistic", "clinical_logistic", "delta_radiomics"])
def test_a_tabular_model_goes_through_the_same_folds_and_is_shipped_with_line_and_threshold(done, tmp_path, name):
    found = trained(tmp_path / "out", prepared=measured(), model=ModelConfig(name, {}))
    rows, networks = table(found.out / "oof.csv"), table(done.out / "oof.csv")
    assert [(row["id"], row["fold"]) for row in rows] == [(row["id"], row["fold"]) for row in networks]
    model = read_table_model(found.bundle)
    assert model.name == name and model.threshold == found.record["threshold"]["value"] and model.trained_on["cases"] == 20
    inputs = {"dictionary": DICTIONARY, "spacing_mm": (0.75, 0.75, 3.0)}
    logits, _ = tabular.tabular_logits(replace(model, unseen="reference"), measured(), **inputs)
    predicted = table(found.out / "predictions.csv")
    np.testing.assert_allclose([float(row["p_pcr"]) for row in predicted], sigmoid(logits[list(EXTERNAL)]), atol=1e-7)
    text = (found.out / "card.md").read_text()
    assert name in text and "Few events: 10" in text and not (found.out / "bundle").exists()


def test_what_a_table_model_assumes_is_told_once_for_the_shipped_model_and_counted_for_the_folds(tmp_path):
    def with_external(**clinical) -> PreparedCohort:
        whole = measured()
        return replace(whole, rows=tuple(replace(row, clinical=row.clinical | clinical) if k in EXTERNAL else row for k, row in enumerate(whole.rows)))

    for prepared, told in ((with_external(age=60.0), []), (with_external(age=120.0, stage="T1"), ["MRD-W785", "MRD-W787"])):
        found = trained(tmp_path / f"out-{len(told)}", prepared=prepared, model=ModelConfig("clinical_logistic", {}))
        assert [notice.code for notice in found.notices if notice.code in ("MRD-W785", "MRD-W787")] == told
        assert any(member["assumed"].get("MRD-W785") for member in found.record["members"])       # whoever is held out at an end of the range
        assert read_record(found.out / "training.json") == found.record
    many = tables.told_once([Notice("MRD-W787", "c"), Notice("MRD-W785", "a", "x"), Notice("MRD-W785", "b")])
    assert [(notice.code, notice.text) for notice in many] == [("MRD-W785", "a; so it is with 1 other column"), ("MRD-W787", "c")]


def test_fusion_takes_the_out_of_fold_scores_of_the_imaging_model(done, tmp_path):
    found = trained(tmp_path / "out", prepared=measured(), model=ModelConfig("fusion", {"imaging": str(done.out)}))
    model = read_table_model(found.bundle)
    assert set(model.columns) == {"age", "stage", "imaging logit"}
    logits = np.array([float(row["logit"]) for row in table(done.out / "oof.csv")])
    assert model.columns["imaging logit"].mean == pytest.approx(logits.mean(), abs=1e-6)
    assert str(done.out) not in (found.out / "training.json").read_text()
    # What the clinical values add is told, by the same cases' paired difference, in the record, the card and the command's output.
    fused, outcome = np.array([float(row["logit"]) for row in table(found.out / "oof.csv")]), np.array([int(row["outcome"]) for row in table(found.out / "oof.csv")])
    test, told = paired_delong(outcome, fused, logits), found.record["fusion"]["out_of_fold"]
    assert (told["difference"], told["delong_p"]) == pytest.approx((test.difference, test.p), abs=1e-6) and told["cases"] == 20
    assert told["imaging"]["auc"] == pytest.approx(done.record["out_of_fold"]["auc"]) and told["fusion"]["auc"] == pytest.approx(found.record["out_of_fold"]["auc"])
    assert (test.p >= 0.05) == ("no gain" in told["sentence"]) and "Too few cases to tell" in found.record["fusion"]["external"]["sentence"]
    text = (found.out / "card.md").read_text()
    assert all(one["sentence"] in text and one["sentence"] in found.text() for one in found.record["fusion"].values()) and "What the clinical values add" in text
    assert read_record(found.out / "training.json") == found.record and "fusion" not in done.record and "clinical" not in done.text()
    # The imaging networks of the folds saw the centre that would be left out, so nothing here may be called a left-out centre.
    assert found.record["leave_one_centre_out"] is None and "MRD-W783" in [notice.code for notice in found.notices]
    with pytest.raises(UsageError) as caught:
        trained(tmp_path / "none", prepared=measured(), model=ModelConfig("fusion", {}))
    assert caught.value.code == "MRD-E486"
    with pytest.raises(InputError) as caught:
        trained(tmp_path / "none", prepared=measured(), model=ModelConfig("fusion", {"imaging": str(tmp_path)}))
    assert caught.value.code == "MRD-E784"


@pytest.mark.parametrize("changes, code", [
    ({"model": ModelConfig("deltanett", {})}, "MRD-E485"), ({"model": ModelConfig("deltanet", {"presett": "tiny"})}, "MRD-E486"),
    ({"preprocessing": PreprocessingConfig(crop_mm=(25.0, 25.0, 12.0))}, "MRD-E486"), ({"model": ModelConfig("fusion", {})}, "MRD-E486"),
    ({"model": ModelConfig("clinical_logistic", {"preset": "tiny"})}, "MRD-E482")])
def test_what_cannot_be_trained_is_refused_before_a_case_is_prepared(tmp_path, monkeypatch, changes, code):
    monkeypatch.setattr(study, "_prepared", lambda *_: pytest.fail("cases were prepared first"))
    with pytest.raises((UsageError, InputError)) as caught:
        study.train(config(tmp_path / "out", **changes))
    assert caught.value.code == code and not (tmp_path / "out" / "study.json").exists()


def test_another_training_is_seen_before_a_case_is_prepared(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "_prepared", lambda *_: pytest.fail("cases were prepared first"))
    with locked(tmp_path / "out"), pytest.raises(EnvironmentProblem) as caught:
        study.train(config(tmp_path / "out"))
    assert caught.value.code == "MRD-E777"


def test_too_few_events_are_refused_before_a_case_is_prepared(tmp_path, monkeypatch):
    from MRDeltaNetLib.cohort import preparing
    from MRDeltaNetLib.io import cohort_table

    rows = tuple(replace(row, outcome=0) for row in cohort().rows)
    monkeypatch.setattr(cohort_table, "read_cohort", lambda *_, **__: cohort_table.Cohort(rows, {}, tmp_path, "0" * 64))
    monkeypatch.setattr(preparing, "prepare_cohort", lambda *_, **__: pytest.fail("cases were prepared first"))
    with pytest.raises(InputError) as caught:
        study.train(config(tmp_path / "out"))
    assert caught.value.code == "MRD-E773"


@pytest.mark.parametrize("content", ["id,set,logit\ncase-0,train\n", "id,set,logit\ncase-0,train,nan\n", "id,set,logit\n\"" + "a" * 200_000 + "\",train,1\n", "a\n\0\n"])
def test_a_damaged_table_of_imaging_scores_is_refused_in_words(tmp_path, content):
    for name in ("oof.csv", "predictions.csv"):
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as caught:
        study.tables.imaging_logits(tmp_path, cohort())
    assert caught.value.code == "MRD-E784"


@pytest.mark.parametrize("spoiled, code", [("foreign", "MRD-E776"), ("start", "MRD-E766")])
def test_what_is_known_to_fail_is_refused_before_hours_of_preparation(tmp_path, monkeypatch, spoiled, code):
    monkeypatch.setattr(study, "_prepared", lambda *_: pytest.fail("prepared first"))
    made = config(tmp_path / "out")
    if spoiled == "foreign":
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine.docx").write_text("mine")
    else:
        made = replace(made, start=tmp_path / "missing.safetensors")
    with pytest.raises((UsageError, InputError)) as caught:
        study.train(made)
    assert caught.value.code == code and str(tmp_path) not in str(caught.value.found)


def test_cases_that_only_stopped_a_training_tell_how_far_networks_disagree():
    splits = [Split(f"repeat-0-fold-{k}", 0, k, *(np.array(part) for part in parts)) for k, parts in enumerate((([2, 3], [4], [0, 1]), ([0], [1], [2, 3, 4])))]
    logits = np.arange(10.0).reshape(2, 5)
    made = [members.Member(f"m{k}-{seed}", split, seed, logits[k] + seed, np.zeros((5, 0)), {}) for k, split in enumerate(splits) for seed in (0, 1)]
    found = evaluation.unseen_by_two(made)
    assert [values.tolist() for values in found] == [[1.5, 6.5], [4.5, 9.5]]      # case 1: held out and stopping; case 4: stopping and held out


def test_folds_are_of_whole_centres_only_where_no_network_saw_the_centre():
    def split(training, stopping, held_out):
        return Split("fold", 0, 0, *(np.array(part) for part in (training, stopping, held_out)))

    centres = ["A", "A", "B", "B", "C", None]
    assert evaluation.whole_centres([split([0], [1], [2, 3, 4]), split([2, 3], [4], [0, 1])], centres)
    assert not evaluation.whole_centres([split([0, 2], [1], [3, 4])], centres) and not evaluation.whole_centres([split([0], [4], [3, 4])], centres)
    assert not evaluation.whole_centres([split([0], [1], [5])], centres)


def test_the_same_study_given_again_on_another_day_writes_the_same_bundle(tmp_path, monkeypatch):
    first = trained(tmp_path / "out")
    before = (first.bundle / "manifest.json").read_bytes()

    class Tomorrow:
        @staticmethod
        def today():
            from datetime import date

            return date(2031, 1, 2)

    monkeypatch.setattr(concluding, "date", Tomorrow)
    assert (trained(tmp_path / "out").bundle / "manifest.json").read_bytes() == before
    (tmp_path / "out" / "training.json").unlink()
    assert "Made 2031-01-02" in (trained(tmp_path / "out").bundle / "docs/README.md").read_text()


def test_a_training_on_beds_that_nobody_drew_says_so_of_training_rows_only(tmp_path, monkeypatch):
    from types import SimpleNamespace

    from MRDeltaNetLib.cohort import preparing
    from MRDeltaNetLib.io import cohort_table

    whole = cohort()
    carried = replace(whole, facts=tuple(fact | {"mask_sources": {"post": "carried" if k in (3, 22) else "drawn"}} for k, fact in enumerate(whole.facts)))
    monkeypatch.setattr(cohort_table, "read_cohort", lambda *_, **__: SimpleNamespace(rows=whole.rows, notices=(), sha256="0" * 64, dictionary=DICTIONARY))
    monkeypatch.setattr(preparing, "prepare_cohort", lambda *_, **__: None)
    monkeypatch.setattr(preparing, "load_prepared", lambda *_: carried)
    notices = study._prepared(config(tmp_path / "out"), lambda done, message: None)[2]
    assert [notice.code for notice in notices if notice.code == "MRD-W717"] == ["MRD-W717"]
    told = next(notice.text for notice in notices if notice.code == "MRD-W717")
    assert "1 of the 20 cases" in told and "(line 5)" in told
