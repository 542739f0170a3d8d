"""Ablation: what is varied, what is compared, and what happens when a variant cannot be trained."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest

from MRDeltaNetLib.cohort import ablation
from MRDeltaNetLib.config import ModelConfig, StudyConfig
from MRDeltaNetLib.errors import Cancelled, InputError, UsageError
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


class TestVariants:
    def test_each_differs_from_the_reference_and_in_one_part_only(self, config):
        reference, *others = ablation.variants(config)
        assert reference.name == ablation.REFERENCE
        for variant in others:
            same_place = replace(variant.config, out=reference.config.out)
            assert same_place != reference.config, variant.name
            changed = [f.name for f in fields(StudyConfig) if getattr(same_place, f.name) != getattr(reference.config, f.name)]
            assert len(changed) == 1, (variant.name, changed)

    def test_names_are_unique_folders(self, config):
        names = [variant.name for variant in ablation.variants(config)]
        assert len(set(names)) == len(names) and all(name.replace("_", "").isalnum() for name in names)

    def test_every_network_can_be_built_with_its_settings(self, config):
        for variant in ablation.variants(config):
            registry.build(variant.config.model.name, **{"spacing_mm": (0.75, 0.75, 3.0), "crop_mm": (48.0, 48.0, 36.0), "preset": "tiny", **variant.config.model.settings})

    def test_a_setting_that_is_the_reference_is_no_variant(self, config):
        names = {variant.name for variant in ablation.variants(config)}
        assert "registration_rigid" not in names and "bias_off" not in names and "compare_anchored" not in names
        assert "no_pretraining" not in names
        started = replace(config, start=config.out / "weights.safetensors")
        assert "no_pretraining" in {variant.name for variant in ablation.variants(started)}


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
