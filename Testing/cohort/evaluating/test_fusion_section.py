"""Score and clinical values together: never judged on the cases that were learned from without saying so."""

from __future__ import annotations

import json

import numpy as np
import pytest

from MRDeltaNetLib.cohort.evaluating.fusion import section
from MRDeltaNetLib.cohort.statistics import auc_with_ci
from MRDeltaNetLib.cohort.statistics.crossfitting import applied, fitted
from Testing.cohort.evaluating.clinical_subset import made_up, subset


def cases(n, seed, value=1.5):
    """A score and a clinical value that each tell their share of the outcome."""
    rng = np.random.default_rng(seed)
    score, marker = rng.normal(size=(2, n))
    outcome = (score + value * marker + rng.logistic(size=n) > 0).astype(float)
    return {"p_pcr": 1 / (1 + np.exp(-score)), "marker": marker, "noise": rng.normal(size=n)}, outcome


def test_clinical_values_that_tell_something_add_to_the_score_and_noise_does_not():
    found = section(subset(*cases(400, 0), scores=("p_pcr",))).values
    assert found["models"]["fusion"]["auc"] > found["models"]["score"]["auc"] + 0.05 and found["comparisons"][0]["p_delong"] < 0.001
    assert found["likelihood_ratio"][0]["added"] == "clinical" and found["likelihood_ratio"][0]["p"] < 1e-6 and found["likelihood_ratio"][0]["df"] == 2
    nothing = section(subset(*cases(400, 1, value=0.0), scores=("p_pcr",))).values
    assert abs(nothing["comparisons"][0]["difference"]) < 0.03 and nothing["likelihood_ratio"][0]["p"] > 0.01


def test_models_of_the_training_cases_are_told_on_the_others():
    training = subset(*cases(300, 2), scores=("p_pcr",), name="train")
    other = subset(*cases(150, 3), scores=("p_pcr",), name="external", training=training)
    found = section(other)
    assert found.values["fitted_on"] == "training cases" and found.values["fitted_n"] == 300 and found.values["n"] == 150
    design = lambda one: np.column_stack([np.log(one.frame["p_pcr"] / (1 - one.frame["p_pcr"])), one.frame["marker"], one.frame["noise"]])
    by_hand = applied(fitted(design(training), training.outcome), design(other))
    assert found.values["models"]["fusion"]["auc"] == pytest.approx(auc_with_ci(other.outcome, by_hand)[0], abs=1e-12)
    assert found.values["models"]["score"]["auc"] == pytest.approx(auc_with_ci(other.outcome, other.frame["p_pcr"])[0], abs=1e-12)
    assert any("saw nothing" in note for note in found.notes)


def test_on_noise_a_fusion_is_not_better_than_chance():
    """In-sample, ten columns of noise reach an AUC of 0.75 in 60 cases."""
    rng = np.random.default_rng(4)
    frame = {"p_pcr": rng.random(60)} | {f"x{k}": rng.normal(size=60) for k in range(10)}
    found = section(subset(frame, np.arange(60) % 2, scores=("p_pcr",))).values
    assert found["models"]["fusion"]["auc"] < 0.65


def test_cases_without_a_value_are_in_none_of_the_three_and_counted():
    part = section(made_up())
    assert part.values["left_out"] == 2 and part.values["n"] == 238 and any("2 cases with an outcome lack" in note for note in part.notes)
    json.dumps([part.values, part.figures["fusion_roc"].data], allow_nan=False)
    assert {curve["label"] for curve in part.figures["fusion_roc"].data["curves"]} == {"Score alone", "Clinical values alone", "Score and clinical values"}
    curve = part.figures["fusion_roc"].data["curves"][0]
    assert (curve["fpr"][0], curve["tpr"][0], curve["fpr"][-1], curve["tpr"][-1]) == (0, 0, 1, 1) and (np.diff(curve["fpr"]) >= 0).all()


def test_the_same_seed_gives_the_same_numbers():
    assert section(made_up(seed=1)).values == section(made_up(seed=1)).values


def test_separated_classes_have_scores_but_no_likelihood_ratio():
    n = 60
    part = section(subset({"p_pcr": np.linspace(0.1, 0.9, n), "marker": np.arange(n) + 0.0}, np.arange(n) >= 30, scores=("p_pcr",)))
    assert part.values["models"]["fusion"]["auc"] > 0.95 and not part.values["likelihood_ratio"]
    assert any("Likelihood-ratio" in omission.what for omission in part.omissions)


def test_a_score_that_was_computed_from_the_clinical_values_leaves_what_it_says_to_them():
    """As in tables where a nomogram's probability, rounded, stands beside its own terms."""
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(2, 200))
    p = (1 / (1 + np.exp(-a - b))).round(7)
    part = section(subset({"p_pcr": p, "a": a, "b": b}, rng.random(200) < p, scores=("p_pcr",)))
    assert part.values["models"]["fusion"]["auc"] > 0.7 and [omission.what for omission in part.omissions] == ["b in the fusion"]


@pytest.mark.parametrize("frame,outcome,scores,reason", [
    ({"age": np.arange(30)}, np.arange(30) % 2, (), "no score"),
    ({"p": np.linspace(0, 1, 30)}, np.arange(30) % 2, ("p",), "no clinical column"),
    ({"p": np.linspace(0, 1, 30), "age": np.arange(30)}, np.arange(30) < 3, ("p",), "for 5 folds"),
    ({"p": np.full(30, 0.4), "age": np.arange(30) % 7}, np.arange(30) % 2, ("p",), "the same for all"),
    ({"p": np.linspace(0, 1, 30), "age": np.ones(30)}, np.arange(30) % 2, ("p",), "no covariate can be used"),
    ({"p": np.linspace(0, 1, 30)} | {f"x{k}": np.arange(30) ** k % 7 for k in range(1, 9)}, np.arange(30) < 6, ("p",), "to learn from, for 9 terms")])
def test_what_cannot_be_fused_is_an_omission(frame, outcome, scores, reason):
    part = section(subset(frame, outcome, scores=scores))
    assert part.values == {} and reason in part.omissions[-1].reason
