"""The command that makes the demo model writes a bundle that loads, and a card that tells the truth about it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("lightning.pytorch", reason="training needs the 'cohort' extra")

from MRDeltaNetLib.cohort import demo_cases, demo_model, training  # noqa: E402
from MRDeltaNetLib.cohort.training import Crops  # noqa: E402
from MRDeltaNetLib.config import PreprocessingConfig  # noqa: E402
from MRDeltaNetLib.io.bundle import check_golden, load_network, read_bundle  # noqa: E402
from MRDeltaNetLib.models.registry import build  # noqa: E402

_spec = importlib.util.spec_from_file_location("planted", Path(__file__).resolve().parents[1] / "planted.py")
planted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(planted)


def command(place: Path) -> list[str]:
    return ["--out", str(place / "bundle"), "--cases", "16", "--validation", "16", "--test", "24", "--epochs", "1", "--crop-mm", "24", "24",
            "12", "--baselines", "subtract", "--threads", "1", "--precision", "32-true", "--cache", str(place / "cache")]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bundle from planted pairs in place of simulated pelvises, one epoch; and the cases that were asked for."""
    place, asked = tmp_path_factory.mktemp("demo"), []
    (place / "cache").mkdir()

    def planted_split(split, cases, setting, preprocessing, cache, workers, progress):
        asked.append((split, cases))
        crops, outcomes = planted.planted_pairs(cases, seed=len(asked))
        volumes = np.random.default_rng(len(asked)).uniform(5, 40, (cases, 2))
        return demo_cases.Split(Crops(crops, outcomes), volumes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_cases, "load_or_make", planted_split)
        demo_model.main(command(place))
    return place / "bundle", asked


def test_the_bundle_loads_gives_its_golden_output_and_holds_no_training_only_weights(made):
    bundle = read_bundle(made[0])
    network = load_network(bundle, build)
    assert check_golden(bundle, network) <= bundle.own["golden_tolerance"]
    assert not any(name.startswith("decoding") for name in bundle.weights)
    assert network.sees_image_content and bundle.own["network"]["settings"]["auxiliary"] is False
    assert bundle.preprocessing.crop_mm == (24.0, 24.0, 12.0)


def test_test_cases_are_made_only_after_every_choice(made):
    assert made[1] == [("training", 16), ("validation", 16), ("test", 24)]


def test_the_card_says_first_that_the_data_are_made_up_and_which_auc_the_model_has(made):
    bundle = read_bundle(made[0])
    first = bundle.card.split("\n\n")[1]
    assert first.startswith("**Trained on made-up data.**") and f"{bundle.own['held_out_auc']:.3f}" in first
    for row in ("volumes alone", "baseline of another patient", "subtract"):
        assert row in bundle.card
    assert bundle.own["is_demo"] and "made-up" in bundle.own["trained_on"] and "Not for diagnosis" in bundle.own["intended_use"]


def test_the_card_says_where_a_baseline_does_as_well():
    config = PreprocessingConfig(crop_mm=(24.0, 24.0, 12.0))
    cases = {"training": 1, "validation": 1, "test": 1}
    text = lambda pooled: demo_model.card(demo_model.Evaluation({"deltanet": (0.8, 0.7, 0.9), "roi_pooled": (pooled, 0.6, 0.95)}, cases, 1.0),
                                          "controlled", {}, config, 0.5)
    assert "`roi_pooled` did as well or better" in text(0.82) and "did as well" not in text(0.7)


def test_metadata_record_how_it_was_trained(made):
    own = json.loads((made[0] / "configs" / "metadata.json").read_text())["mrdeltanet"]
    assert own["training"]["epochs"] == 1 and own["training"]["augmentation"]["flip"] == 0.5


def test_a_run_that_was_stopped_takes_up_the_networks_that_were_trained(made, monkeypatch):
    place, before = made[0].parent, read_bundle(made[0])
    split = lambda name, cases, *_: demo_cases.Split(Crops(*planted.planted_pairs(cases, len(name))), np.ones((cases, 2)) + np.eye(cases, 2))
    monkeypatch.setattr(demo_cases, "load_or_make", split)
    monkeypatch.setattr(training, "fit", lambda *_, **__: pytest.fail("trained again"))
    demo_model.main(command(place))
    assert read_bundle(made[0]).weights_sha256 == before.weights_sha256


def test_the_alignment_error_is_small_rigid_and_about_the_tumour():
    mask = sitk.Image([20, 20, 10], sitk.sitkUInt8)
    mask.SetOrigin((40.0, -30.0, 7.0))
    mask[8:12, 8:12, 4:6] = 1
    identity, rng = sitk.Transform(3, sitk.sitkIdentity), np.random.default_rng(0)
    centre = np.array(mask.TransformContinuousIndexToPhysicalPoint((9.5, 9.5, 4.5)))
    moved = np.array([np.array(demo_cases.misplaced(identity, mask, demo_cases.AlignmentError(), rng).TransformPoint(centre)) - centre
                      for _ in range(400)])
    assert moved.std(0) == pytest.approx([0.7] * 3, rel=0.15)
    turned = demo_cases.misplaced(identity, mask, demo_cases.AlignmentError(translation_mm=0.0), rng)
    assert np.allclose(turned.TransformPoint(centre), centre)
    arm = np.array(turned.TransformPoint((centre + [30, 0, 0]).tolist())) - centre
    assert np.linalg.norm(arm) == pytest.approx(30)


@pytest.mark.slow
def test_a_simulated_case_is_prepared_as_at_use_and_found_again_in_the_cache(tmp_path):
    config = PreprocessingConfig(crop_mm=(48.0, 48.0, 36.0))
    first = demo_cases.load_or_make("validation", 1, "controlled", config, tmp_path)
    said = []
    again = demo_cases.load_or_make("validation", 1, "controlled", config, tmp_path, progress=lambda *report: said.append(report))
    assert said == [] and np.array_equal(first.crops.crops[0], again.crops.crops[0])
    crop, facts = demo_cases.make_case(demo_cases.FIRST_SEED["validation"], "controlled", config, demo_cases.AlignmentError())
    assert crop.shape == (2, 2, 12, 64, 64) and np.array_equal(crop, first.crops.crops[0])
    assert facts["outcome"] == first.crops.outcomes[0] and (first.volumes_ml > 0).all()
    assert 0.5 < crop[:, 1].max() <= 1 and crop[:, 1].min() >= 0
