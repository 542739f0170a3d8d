"""`explain verify` from table to card: files, going on, the bundle's own word on its maps, and every refusal."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib", reason="the verification needs the 'cohort' extra")

from MRDeltaNetLib.cohort.simulation import simulate_cohort  # noqa: E402
from MRDeltaNetLib.cohort.verifying import Settings, measuring, pictures, telling, truth, verify_maps  # noqa: E402
from MRDeltaNetLib.cohort.study.shipping import made_up_input  # noqa: E402
from MRDeltaNetLib.errors import Cancelled, InputError, UsageError  # noqa: E402
from MRDeltaNetLib.io.atomic import sha256  # noqa: E402
from MRDeltaNetLib.io.bundle import GOLDEN, WEIGHTS, check_golden, load_network, read_bundle, write_bundle  # noqa: E402
from MRDeltaNetLib.io.cohort_table import read_cohort  # noqa: E402
from MRDeltaNetLib.models import registry  # noqa: E402
from MRDeltaNetLib.resources import DEMO_BUNDLE, resource  # noqa: E402

QUICK = Settings(cases=2, repeated_cases=1, randomisations=1, random_orders=1)
METHODS = ("attention", "gradcam")


def made_bundle(folder: Path, seed: int) -> Path:
    """A network that has learned nothing, of a small crop, as a bundle; scans are not aligned for it."""
    metadata = json.loads(json.dumps(read_bundle(resource(DEMO_BUNDLE), weights=False).metadata))
    settings = {"spacing_mm": [1.5, 1.5, 3.0], "crop_mm": [48.0, 48.0, 36.0], "preset": "tiny", "auxiliary": False}
    metadata["mrdeltanet"] |= {"network": {"name": "deltanet", "settings": settings}, "recalibration": {"slope": 1.0, "intercept": 0.0}, "golden_tolerance": 1e-2,
                               "registration": {"method": "none", "iterations": 10, "min_similarity_peak": 0.0, "min_mutual_information_nats": 0.0,
                                                "min_similarity_gain_percent": -100.0}}
    metadata["mrdeltanet"]["preprocessing"] |= {"spacing_mm": [1.5, 1.5, 3.0], "crop_mm": [48.0, 48.0, 36.0]}
    for name in ("training_keys", "training_crops_sha256", "training_scans_sha256", "maps"):
        metadata["mrdeltanet"].pop(name, None)
    torch.manual_seed(seed)
    network = registry.build("deltanet", **settings)
    write_bundle(folder, network=network, metadata=metadata, card="# small\n\nMade up.\n\n## Limits\n\n- Many.\n", golden_input=made_up_input(network.geometry.voxels), licence="none\n")
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """cohort/ with three simulated cases, the first of which has residual tumour, and bundle/."""
    place = tmp_path_factory.mktemp("verify")
    simulate_cohort(3, 11, "controlled", place / "cohort", size=(64, 64, 12), prevalence=0.0)
    made_bundle(place / "bundle", 0)
    return place


def verify(place: Path, out: str = "out", **options):
    options = {"methods": METHODS, "settings": QUICK, "cache": place / "cache", "device": "cpu"} | options
    return verify_maps(options.pop("bundle", place / "bundle"), place / "cohort/cohort.csv", place / out, **options)


@pytest.fixture(scope="module")
def done(place):
    return verify(place, shuffled=made_bundle(place / "shuffled", 1), pictured=1)


def test_table_plot_pictures_and_every_number_are_there(place, done):
    out = place / "out"
    record = json.loads((out / "verify.json").read_text())
    assert record["schema"] == "mrdeltanet.map_verification/1" and list(record["methods"]) == ["attention", "gradcam", "null"]
    assert record["counts"]["cases"] == 2 and record["counts"]["with_residual_tumour"] == 2 and record["stages"][0] == "head"
    gradcam = record["methods"]["gradcam"]
    assert gradcam["cascade"]["maps"] == 1 and list(gradcam["cascade"]["by_stage"]) == record["stages"] and gradcam["labels"]["cases"] == 2
    assert gradcam["stability"]["outline"]["cases"] == 1 and gradcam["deletion"]["cases"] == 2 and gradcam["null"]["passes"] is None
    assert record["default"] is None and record["passed"] == [] and "attention" in record["failed"] and record["failed"] == list(done.verdict.failed)
    assert (out / telling.TABLE).read_text().count("\n") == 4 and "| Grad-CAM |" in (out / telling.MARKDOWN).read_text()
    for name in ("verify.png", f"{pictures.FOLDER}/1.png"):
        assert (out / name).read_bytes()[:4] == b"\x89PNG"
    assert b"<svg" in (out / "verify.svg").read_bytes() and "No map passes" in done.text()
    (line,) = [line for line in done.text().splitlines() if line.startswith("Attention: ")]
    assert line.startswith("Attention: fails (no: ") and "open: deletion" in line, "a test on too few cases is not told as failed"


def test_the_same_call_measures_nothing_again_and_writes_the_same(place, done, monkeypatch):
    before = (place / "out/verify.json").read_bytes()
    for name in ("answer", "repeated", "by_chance", "of_shuffled"):
        monkeypatch.setattr(measuring, name, lambda *given, **named: pytest.fail("measured again"))
    verify(place, shuffled=place / "shuffled")
    assert (place / "out/verify.json").read_bytes() == before


def test_a_stopped_call_goes_on_where_it_was(place, done):
    def stop(done: float, message: str) -> None:
        if "gradcam: answer" in message:
            raise Cancelled()

    with pytest.raises(Cancelled):
        verify(place, "stopped", progress=stop)
    assert not (place / "stopped/verify.json").exists()
    (part,) = (place / "stopped/parts").rglob("attention.answer.json")
    written = part.stat().st_mtime_ns
    part.with_name("attention.repeated.json").write_text("{ cut short")
    verify(place, "stopped", shuffled=place / "shuffled")
    assert part.stat().st_mtime_ns == written
    assert json.loads((place / "stopped/verify.json").read_text())["methods"] == json.loads((place / "out/verify.json").read_text())["methods"]


def test_what_an_earlier_call_measured_counts_in_a_smaller_one(place, done):
    shutil.copytree(place / "out", place / "more")
    assert verify(place, "more", settings=replace(QUICK, cases=1, repeated_cases=0), shuffled=place / "shuffled").cases == 2


def test_the_card_gets_one_section_and_the_bundle_stays_whole(place, done):
    shutil.copytree(place / "bundle", place / "told")
    before = {name: sha256(place / "told" / name) for name in (WEIGHTS, GOLDEN)}
    for _ in range(2):
        verify(place, bundle=place / "told", shuffled=place / "shuffled", into_card=True)
    bundle = read_bundle(place / "told")
    assert bundle.card.count("## Maps\n") == 1 and bundle.card.index("## Maps") < bundle.card.index("## Limits") and bundle.card.rstrip().endswith("- Many.")
    assert bundle.own["maps"] == {"default": None, "passed": [], "failed": list(done.verdict.failed)} == bundle.public_facts()["maps"]
    assert {name: sha256(place / "told" / name) for name in before} == before
    assert check_golden(bundle, load_network(bundle, registry.build)) <= bundle.own["golden_tolerance"]


def test_the_planted_tumour_has_its_volume_and_place_on_the_crop(place, done):
    from MRDeltaNetLib.cohort.predicting import prepare_for
    cohort = read_cohort(place / "cohort/cohort.csv")
    prepared = prepare_for(read_bundle(place / "bundle"), cohort, place / "cache")
    row, facts = prepared.rows[0], prepared.facts[0]
    inside = truth.residual_of(row, facts)
    mask = sitk.ReadImage(str(row.files["residual_mask"]))
    drawn = np.argwhere(sitk.GetArrayFromImage(mask) > 0)
    assert 0.6 < inside.sum() * 1.5 * 1.5 * 3.0 / (len(drawn) * np.prod(mask.GetSpacing())) < 1.2            # coarse slices of 5 mm lose some at 0.5
    grid, transform = facts["grid"], facts["transform"]
    on_crop = np.array(grid["origin_lps_mm"]) + np.array(grid["direction"]).reshape(3, 3) @ (np.argwhere(inside).mean(0)[::-1] * grid["spacing_mm"])
    on_scan = np.array(transform["matrix"]) @ on_crop + transform["offset_mm"]
    assert on_scan == pytest.approx(mask.TransformContinuousIndexToPhysicalPoint(drawn.mean(0)[::-1].tolist()), abs=1.5)
    bed = np.asarray(prepared.crops[0])[1, 1] > 0.2
    assert (inside & bed).sum() > 0.9 * inside.sum()
    assert truth.residual_of(replace(row, complete_response=True), facts) is None
    assert truth.residual_of(replace(row, files={name: path for name, path in row.files.items() if name != "residual_mask"}), facts) is None


@pytest.mark.parametrize("options, kind, code", [
    ({"methods": ("roi_shells",)}, UsageError, "MRD-E723"), ({"methods": ()}, UsageError, "MRD-E723"), ({"methods": ("nothing",)}, UsageError, "MRD-E723"),
    ({"methods": ("guided_gradcam", "gradcam"), "out": "new", "bundle": "vit"}, InputError, "MRD-E501")])
def test_what_cannot_be_judged_is_refused_before_anything_is_done(place, options, kind, code):
    options = {**options, **({"bundle": place / options["bundle"]} if "bundle" in options else {})}
    with pytest.raises(kind) as refusal:
        verify(place, **{"out": "refused"} | options)
    assert refusal.value.code == code and not (place / "refused").exists()


def test_numbers_that_mean_nothing_are_refused():
    for wrong in ({"cases": 0}, {"repeated_cases": -1}, {"randomisations": 0}, {"random_orders": 0}, {"seed": -1}):
        with pytest.raises(UsageError) as refusal:
            Settings(**wrong)
        assert refusal.value.code == "MRD-E730"


def test_a_shuffled_bundle_must_be_another_one_of_the_same_preprocessing(place):
    with pytest.raises(InputError) as same:
        verify(place, "refused", shuffled=place / "bundle")
    with pytest.raises(InputError) as other:
        verify(place, "refused", shuffled=resource(DEMO_BUNDLE))
    assert same.value.code == other.value.code == "MRD-E731"


def test_another_models_folder_is_refused(place, done):
    with pytest.raises(UsageError) as refusal:
        verify(place, bundle=place / "shuffled")
    assert refusal.value.code == "MRD-E776" and "model" in refusal.value.found


def test_cases_without_residual_tumour_are_told_and_judge_no_pointing(place):
    text = (place / "cohort/cohort.csv").read_text().splitlines()
    column = text[0].split(",").index("residual_mask")
    (place / "cohort/without.csv").write_text("\n".join([text[0]] + [",".join("" if number == column else cell for number, cell in enumerate(line.split(","))) for line in text[1:]]) + "\n")
    shutil.copy(place / "cohort/cohort.json", place / "cohort/without.json")
    found = verify_maps(place / "bundle", place / "cohort/without.csv", place / "blind", methods=("gradcam",), settings=replace(QUICK, cases=1, repeated_cases=0), device="cpu",
                        cache=place / "cache")
    assert "MRD-W731" in {notice.code for notice in found.notices} and found.verdict.methods["gradcam"]["pointing"] == {"cases": 0, "passes": None}


def test_a_case_that_cannot_be_judged_is_counted_and_stops_no_other(place, monkeypatch):
    whole = truth.residual_of

    def broken(row, facts):
        if row.line == 2:
            raise InputError("The mask is gone", code="MRD-E100")
        return whole(row, facts)

    monkeypatch.setattr(truth, "residual_of", broken)
    found = verify(place, "partly", methods=("attention",), settings=replace(QUICK, repeated_cases=0))
    record = json.loads((place / "partly/verify.json").read_text())
    assert found.cases == 1 and record["failures"] == [{"line": 2, "code": "MRD-E100", "what": "The mask is gone"}] and "MRD-W730" in {one.code for one in found.notices}
    monkeypatch.setattr(truth, "residual_of", lambda row, facts: broken(replace(row, line=2), facts))
    with pytest.raises(InputError) as refusal:
        verify(place, "nothing", methods=("attention",), settings=replace(QUICK, repeated_cases=0))
    assert refusal.value.code == "MRD-E732"
