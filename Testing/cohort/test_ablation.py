"""Ablation: what is varied, what is compared, and what happens when a variant cannot be trained."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from types import SimpleNamespace

import numpy as np
import pytest

from MRDeltaNetLib.cohort import ablation
from MRDeltaNetLib.config import ModelConfig, StudyConfig
from MRDeltaNetLib.errors import Cancelled, InputError, OutOfMemory, UsageError
from MRDeltaNetLib.models import registry


@pytest.fixture
def config(tmp_path):
    return StudyConfig(tmp_path / "cohort.csv", tmp_path / "cache", tmp_path / "out", model=ModelConfig("deltanet", {"preset": "tiny"}))


def trainer(strength: dict[str, float]):
    """Stands in for a study: writes the oof.csv of 120 cases whose score holds the outcome with the variant's strength."""
    done = []

    def train(config, *, progress):
        name = config.out.name
        done.append(name)
        noise = np.random.default_rng(0).normal(size=120)
        config.out.mkdir(parents=True, exist_ok=True)
        rows = [f"{k},{k % 2},{strength.get(name, 1.0) * (k % 2) + noise[k]}" for k in range(120)]
        (config.out / "oof.csv").write_text("id,outcome,logit\n" + "\n".join(rows) + "\n")
        return SimpleNamespace(out=config.out)

    train.done = done
    return train


REFERENCES = {
    "default": {}, "latent": {"compare": "latent"}, "ungated": {"compare": "anchored+latent", "gate": False, "latents": 16},
    "no_change_keys": {"compare": "latent", "change_keys": False}, "fine": {"scales": "fine"}, "unseen": {"roi_mode": "none"}}


def leaves(value, name="") -> dict:
    """Dotted name -> value of everything in a study."""
    if isinstance(value, dict):
        return {key: found for part, inner in value.items() for key, found in leaves(inner, f"{name}.{part}").items()}
    return {name: value}


def changes(variant, base) -> set[str]:
    one, other = (leaves(asdict(replace(found.config, out=variant.config.out))) for found in (variant, base))
    return {key for key in one.keys() | other.keys() if one.get(key, "default") != other.get(key, "default")}


class TestVariants:
    @pytest.mark.parametrize("settings", REFERENCES.values(), ids=REFERENCES)
    def test_each_differs_from_its_base_in_one_part_only(self, config, settings):
        every = ablation.variants(replace(config, model=ModelConfig("deltanet", {"preset": "tiny", **settings})))
        by_name = {variant.name: variant for variant in every}
        assert every[0].name == ablation.REFERENCE
        for place, variant in enumerate(every[1:], 1):
            base = by_name[variant.base]
            assert every.index(base) < place, "the base is trained first"
            same_place = replace(variant.config, out=base.config.out)
            changed = [f.name for f in fields(StudyConfig) if getattr(same_place, f.name) != getattr(base.config, f.name)]
            assert (len(changed) == 1) != variant.pretrained, (variant.name, changed)

    @pytest.mark.parametrize("name, changed", [
        ("latents_16", {".model.settings.latents"}), ("latents_128", {".model.settings.latents"}), ("no_gate", {".model.settings.gate"}),
        ("no_change_keys", {".model.settings.change_keys"}), ("no_gate_budget", {".training.loss.gate_weight"}),
        ("scales_fine", {".model.settings.scales"}), ("scales_coarse", {".model.settings.scales"}), ("roi_mask", {".model.settings.roi_mode"}),
        ("roi_none", {".model.settings.roi_mode"}), ("compare_latent", {".model.settings.compare"}), ("no_content", {".model.settings.content"}),
        ("no_response_contrast", {".training.loss.response_weight"}), ("no_identity_contrast", {".training.loss.identity_weight"}),
        ("cross_entropy", {".training.loss.gamma", ".training.loss.beta"}), ("focal", {".training.loss.beta"}),
        ("sampler_off", {".training.balanced"}), ("unbalanced", {".training.balanced", ".training.loss.beta"}),
        ("registration_none", {".registration.method"}), ("registration_affine", {".registration.method"}),
        ("isotropic", {".preprocessing.spacing_mm"}), ("slice2p5d", {".model.name"}), ("pretrained", set())])
    def test_each_changes_what_it_says(self, config, name, changed):
        by_name = {variant.name: variant for variant in ablation.variants(config)}
        assert changes(by_name[name], by_name[by_name[name].base]) == changed

    @pytest.mark.parametrize("settings", REFERENCES.values(), ids=REFERENCES)
    def test_names_are_unique_folders_and_no_two_variants_are_the_same_study(self, config, settings):
        every = ablation.variants(replace(config, model=ModelConfig("deltanet", {"preset": "tiny", **settings})))
        names = [variant.name for variant in every]
        assert len(set(names)) == len(names) and all(name.replace("_", "").isalnum() for name in names)
        studies = [(variant.pretrained, str(leaves(asdict(replace(variant.config, out=config.out))))) for variant in every]
        assert len(set(studies)) == len(studies)

    @pytest.mark.parametrize("name, settings", [*(("deltanet", settings) for settings in REFERENCES.values()), ("slice2p5d", {}), ("roi_pooled", {}), ("resnet18", {})])
    def test_every_network_can_be_built_with_its_settings_and_crop(self, config, name, settings):
        study = replace(config, model=ModelConfig(name, {"preset": "tiny", **settings}), preprocessing=replace(config.preprocessing, crop_mm=(48.0, 48.0, 36.0)))
        built = set()
        for variant in ablation.variants(study):
            preprocessing, model = variant.config.preprocessing, variant.config.model
            key = (model.name, str(sorted(model.settings.items())), preprocessing.crop_mm, preprocessing.spacing_mm)
            if key not in built:
                built.add(key)
                registry.build(model.name, **{"spacing_mm": preprocessing.spacing_mm, "crop_mm": preprocessing.crop_mm, **model.settings})
        assert len(built) > (25 if name == "deltanet" and not settings else 10)

    def test_a_setting_that_is_the_reference_is_no_variant(self, config):
        names = {variant.name for variant in ablation.variants(config)}
        assert not names & {"registration_rigid", "bias_off", "compare_anchored", "latents_32", "scales_both", "roi_channel", "class_balanced_focal",
                            "anisotropic", "deltanet", "sampler_on", "no_pretraining"}
        other = replace(config, model=ModelConfig("deltanet", {"preset": "base", "compare": "latent", "gate": False, "scales": "fine", "roi_mode": "mask"}),
                        training=replace(config.training, balanced=False, loss=replace(config.training.loss, gamma=0.0, beta=0.0)),
                        preprocessing=replace(config.preprocessing, spacing_mm=(1.0, 1.0, 1.0)))
        names = {variant.name for variant in ablation.variants(other)}
        assert {"compare_anchored", "latents_32", "scales_both", "roi_channel", "class_balanced_focal", "anisotropic", "sampler_on", "focal"} <= names
        assert not names & {"latents_64", "compare_latent", "no_gate", "no_gate_budget", "scales_fine", "roi_mask", "isotropic", "cross_entropy", "no_content"}

    def test_deformable_registration_is_the_rigid_one_for_networks(self, config):
        for method in ("rigid", "deformable"):
            study = replace(config, registration=replace(config.registration, method=method))
            assert {v.name for v in ablation.variants(study) if v.name.startswith("registration")} == {"registration_none", "registration_affine"}

    def test_pretraining_is_left_out_or_put_in(self, config):
        assert [v.pretrained for v in ablation.variants(config) if v.name == "pretrained"] == [True]
        started = ablation.variants(replace(config, start=config.out / "weights.safetensors"))
        by_name = {variant.name: variant for variant in started}
        assert by_name["no_pretraining"].config.start is None and "pretrained" not in by_name
        unfit = {"slice2p5d", "siamese_subtraction", "resnet18", "resnet18_pre", "resnet18_post", "vit", "roi_mask", "roi_none", "isotropic"}
        assert {variant.name for variant in started if variant.config.start is None} == unfit | {"no_pretraining"}
        for name in unfit:
            assert by_name[name].base == "no_pretraining" and started.index(by_name["no_pretraining"]) < started.index(by_name[name])
            assert changes(by_name[name], by_name["no_pretraining"]) and not any("start" in key for key in changes(by_name[name], by_name["no_pretraining"]))
        assert by_name["subtract"].base == by_name["scales_fine"].base == ablation.REFERENCE
        blind = replace(config, model=ModelConfig("roi_pooled", {"visits": "pre"}))
        assert "pretrained" not in {variant.name for variant in ablation.variants(blind)}, "one visit has no order"

    def test_without_latents_their_variants_stand_on_the_latent_comparison_and_with_them_on_the_reference(self, config):
        of_latents = {"latents_16", "latents_64", "latents_128", "no_gate", "no_change_keys", "no_gate_budget"}
        for compare, base in (("anchored", "compare_latent"), ("latent", ablation.REFERENCE)):
            every = ablation.variants(replace(config, model=ModelConfig("deltanet", {"preset": "tiny", "compare": compare})))
            assert {v.name: v.base for v in every if v.name in of_latents} == dict.fromkeys(of_latents, base)
            assert {v.base for v in every if v.name not in of_latents} == {ablation.REFERENCE}

    def test_a_model_that_is_no_network_has_no_variants_of_its_training(self, config):
        names = {v.name for v in ablation.variants(replace(config, model=ModelConfig("volume_logistic", {})))}
        assert "registration_none" in names and "roi_pooled" in names and not names & {"focal", "pretrained", "sampler_off", "no_contrast", "roi_mask"}

    @pytest.mark.parametrize("wanted, spacing, crop", [
        ((96.0, 96.0, 72.0), (1.0, 1.0, 1.0), (96.0, 96.0, 72.0)), ((60.0, 60.0, 48.0), (1.0, 1.0, 1.0), (64.0, 64.0, 48.0)),
        ((50.0, 72.0, 5.0), (1.0, 1.0, 1.0), (48.0, 80.0, 4.0)), ((1.0, 1.0, 1.0), (0.75, 0.75, 3.0), (12.0, 12.0, 12.0))])
    def test_a_crop_of_whole_tokens_is_as_near_as_possible(self, wanted, spacing, crop):
        from MRDeltaNetLib.models.encoder import Geometry

        found = ablation.whole_crop(wanted, spacing)
        assert found == crop and all(n % 4 == 0 for n in Geometry(spacing, found).voxels)
        assert all(abs(f - w) <= max(s * n / 2, s * n - w) for f, w, s, n in zip(found, wanted, spacing, (16, 16, 4)))


class TestChoosing:
    def test_patterns_mean_all_that_match_with_reference_and_base(self, config):
        def names(*only):
            return [variant.name for variant in ablation.chosen(config, only)]

        assert names() == [variant.name for variant in ablation.variants(config)]
        assert names("roi_none") == ["reference", "roi_none"]
        assert names("latents_*") == ["reference", "compare_latent", "latents_16", "latents_64", "latents_128"]
        assert names("scales_*", "roi_m??k") == ["reference", "scales_fine", "scales_coarse", "roi_mask"]
        with pytest.raises(UsageError) as caught:
            names("roi_none", "latent?", "Roi_none")
        assert caught.value.code == "MRD-E863" and "'Roi_none', 'latent?'" in caught.value.found and "latents_16" in caught.value.fix

    def test_the_command_lists_what_it_would_do_and_does_nothing(self, config, tmp_path):
        from typer.testing import CliRunner

        from MRDeltaNetLib.cli import app

        study = tmp_path / "study.toml"
        study.write_text('cohort = "cohort.csv"\ncache = "cache"\nout = "out"\n[model]\nname = "deltanet"\npreset = "tiny"\n')
        found = CliRunner().invoke(app, ["ablate", str(study), "--list", "--only", "roi_[mn]*", "--only", "no_gate"])
        assert found.exit_code == 0, found.output
        assert [line.split()[0] for line in found.output.splitlines()] == ["reference", "compare_latent", "no_gate", "roi_mask", "roi_none"]
        assert list(tmp_path.iterdir()) == [study]


class TestAblate:
    def test_table_holds_auc_and_paired_difference(self, config):
        from MRDeltaNetLib.cohort.statistics import auc_with_ci, paired_delong

        train = trainer({"reference": 2.0, "roi_pooled": 0.2})
        found = ablation.ablate(config, only=("roi_pooled",), train=train)
        assert train.done == ["reference", "roi_pooled"]
        noise, outcome = np.random.default_rng(0).normal(size=120), np.arange(120) % 2
        weak, strong = (strength * outcome + noise for strength in (0.2, 2.0))
        rows = json.loads((config.out / "ablation.json").read_text())["rows"]
        assert rows[0]["auc"] == pytest.approx(auc_with_ci(outcome, strong)[0])
        assert rows[1]["p"] == pytest.approx(paired_delong(outcome, weak, strong).p)
        assert rows[1]["difference"] < 0 and tuple(rows) == found.rows
        assert "| roi_pooled |" in (config.out / "ablation.md").read_text()
        assert (config.out / "ablation.svg").stat().st_size > 1000 and (config.out / "ablation.png").read_bytes()[:4] == b"\x89PNG"

    def test_a_variant_that_cannot_be_trained_is_told_and_the_rest_goes_on(self, config):
        working = trainer({})

        def train(one, *, progress):
            if one.out.name == "isotropic":
                raise InputError("The crop does not fit", code="MRD-E751")
            return working(one, progress=progress)

        found = ablation.ablate(config, only=("isotropic", "vit", "cross_entropy"), train=train)
        assert {row["name"]: "refused" in row for row in found.rows} == {"reference": False, "vit": False, "cross_entropy": False, "isotropic": True}
        assert [notice.code for notice in found.notices] == ["MRD-W863"]

    def test_trouble_with_the_reference_stops(self, config):
        def train(one, *, progress):
            raise InputError("One class only", code="MRD-E773")

        with pytest.raises(InputError, match="One class"):
            ablation.ablate(config, train=train)

    def test_cancel_passes(self, config):
        def train(one, *, progress):
            raise Cancelled("stopped")

        with pytest.raises(Cancelled):
            ablation.ablate(config, train=train)

    def test_unknown_variant_is_refused_before_anything_is_trained(self, config):
        train = trainer({})
        with pytest.raises(UsageError) as caught:
            ablation.ablate(config, only=("nonsense",), train=train)
        assert caught.value.code == "MRD-E863" and not train.done

    def test_a_variant_is_compared_with_its_base_too(self, config):
        from MRDeltaNetLib.cohort.statistics import paired_delong

        train = trainer({"reference": 2.0, "compare_latent": 1.0, "no_gate": 0.2})
        ablation.ablate(config, only=("no_gate",), train=train)
        assert train.done == ["reference", "compare_latent", "no_gate"]
        noise, outcome = np.random.default_rng(0).normal(size=120), np.arange(120) % 2
        score = {strength: strength * outcome + noise for strength in (0.2, 1.0, 2.0)}
        reference, latent, ungated = json.loads((config.out / "ablation.json").read_text())["rows"]
        assert "base" not in reference and "base" not in latent and ungated["base"] == "compare_latent"
        assert ungated["base_p"] == pytest.approx(paired_delong(outcome, score[0.2], score[1.0]).p)
        assert ungated["p"] == pytest.approx(paired_delong(outcome, score[0.2], score[2.0]).p) and ungated["difference"] < ungated["base_difference"] < 0
        table = (config.out / "ablation.md").read_text().splitlines()
        assert "| compare_latent: -" in table[-1] and len({line.count("|") for line in table if line.startswith("|")}) == 1

    def test_a_base_that_could_not_be_trained_leaves_the_comparison_with_the_reference(self, config):
        working = trainer({})

        def train(one, *, progress):
            if one.out.name == "compare_latent":
                raise OutOfMemory("Not enough memory", code="MRD-E708")
            return working(one, progress=progress)

        rows = {row["name"]: row for row in ablation.ablate(config, only=("no_gate",), train=train).rows}
        assert "refused" in rows["compare_latent"] and "p" in rows["no_gate"] and "base" not in rows["no_gate"]

    def test_pretraining_comes_first_and_its_weights_are_started_from(self, config):
        order, working = [], trainer({})

        def pretrain(one, *, progress):
            order.append(("pretrain", one.out, one.start))
            return SimpleNamespace(weights=config.out / "weights.safetensors")

        def train(one, *, progress):
            order.append(("train", one.out.name, one.start))
            return working(one, progress=progress)

        ablation.ablate(config, only=("pretrained", "focal"), train=train, pretrain=pretrain)
        assert order == [("train", "reference", None), ("train", "focal", None), ("pretrain", config.out, None),
                         ("train", "pretrained", config.out / "weights.safetensors")]
