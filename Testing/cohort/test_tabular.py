"""Tabular models find what was planted in their own columns and nothing else, and say where a value cannot be used."""

from __future__ import annotations

import importlib.util
import math
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from MRDeltaNetLib.cohort.statistics import auc_with_ci, sigmoid
from MRDeltaNetLib.cohort.tabular import crossed, features, fit_tabular, fusion, names, tabular_logits
from MRDeltaNetLib.imaging.features import first_order, voxel_shape
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.table_model import read_table_model, write_table_model

_spec = importlib.util.spec_from_file_location("made_up_cohort", Path(__file__).with_name("made_up_cohort.py"))
made_up = importlib.util.module_from_spec(_spec)
__import__("sys").modules["made_up_cohort"] = made_up
_spec.loader.exec_module(made_up)

DICTIONARY = {"age_years": made_up.Column("number"), "regimen": made_up.Column("category", ("CAPOX", "FOLFOX", "none")),
              "remark": made_up.Column("text"), "empty": made_up.Column("number")}


def patients(rng, responder):
    """Age tells, regimen tells, one value in ten is missing."""
    age = rng.normal(60 - 8 * responder, 8)
    regimen = rng.choice(["CAPOX", "FOLFOX", "none"], p=[0.6, 0.3, 0.1] if responder else [0.2, 0.3, 0.5])
    return {"age_years": None if rng.random() < 0.1 else float(age), "regimen": str(regimen), "remark": "free text", "empty": None}


def auc(model, prepared, **inputs):
    logits, _ = tabular_logits(model, prepared, **inputs)
    return auc_with_ci(features.outcomes(prepared), logits)


def changed(prepared, k, **clinical):
    rows = list(prepared.rows)
    rows[k] = replace(rows[k], clinical={**rows[k].clinical, **clinical})
    return replace(prepared, rows=tuple(rows))


@pytest.mark.parametrize("planted,sees", [({"volume": 1.0}, "volume_logistic"), ({"scanner": 0.4}, "scanner"), ({"pair": 0.8}, "delta_radiomics")])
def test_each_model_sees_its_own_effect_and_the_others_do_not(planted, sees):
    training, test = made_up.cohort(240, 1, **planted), made_up.cohort(240, 2, **planted)
    for name in ("volume_logistic", "scanner", "delta_radiomics"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = fit_tabular(name, training, spacing_mm=made_up.SPACING_MM)
        found, lower, _ = auc(model, test, spacing_mm=made_up.SPACING_MM)
        if name == sees:
            assert lower > 0.75, f"{name}: {found:.2f}"
        else:
            assert abs(found - 0.5) < 0.1, f"{name} sees what is not there: {found:.2f}"


def test_without_any_effect_the_lasso_keeps_few_features_and_predicts_the_prevalence():
    training = made_up.cohort(200, 3)
    model = fit_tabular("delta_radiomics", training, spacing_mm=made_up.SPACING_MM)
    kept = [term for term, value in model.coefficients.items() if value]
    assert len(kept) <= len(model.coefficients) / 3
    logits, _ = tabular_logits(model, training, spacing_mm=made_up.SPACING_MM)
    assert sigmoid(logits).mean() == pytest.approx(0.5, abs=1e-8)


def test_the_lasso_is_deterministic_and_its_seed_only_moves_the_inner_folds():
    training = made_up.cohort(80, 4, pair=0.8)
    one, same = (fit_tabular("delta_radiomics", training, spacing_mm=made_up.SPACING_MM, seed=5) for _ in range(2))
    assert one == same


def test_clinical_values_become_the_terms_that_are_documented():
    training = made_up.cohort(300, 5, clinical=patients)
    model = fit_tabular("clinical_logistic", training, dictionary=DICTIONARY)
    frequent = model.columns["regimen"].categories
    assert tuple(model.coefficients) == ("age_years", "age_years (missing)", *(f"regimen = {c}" for c in frequent[1:]))
    assert model.coefficients["age_years"] < -0.5 and set(model.columns) == {"age_years", "regimen"}

    row = training.rows[7]
    term = {"age_years (missing)": row.clinical["age_years"] is None, f"regimen = {row.clinical['regimen']}": True}
    age = model.columns["age_years"]
    expected = model.intercept + (0 if row.clinical["age_years"] is None else model.coefficients["age_years"] * (row.clinical["age_years"] - age.mean) / age.scale)
    expected += sum(model.coefficients.get(name, 0.0) for name, there in term.items() if there)
    assert tabular_logits(model, training)[0][7] == pytest.approx(expected, abs=1e-12)
    assert auc(model, made_up.cohort(300, 6, clinical=patients))[1] > 0.7


def test_the_ridge_is_scikit_learns_on_standardised_numbers():
    training = made_up.cohort(100, 7, volume=1.0)
    model = fit_tabular("volume_logistic", training)
    table = np.array([[math.log(f["measures"]["pre_volume_ml"] + 0.01), math.log(f["measures"]["post_volume_ml"] + 0.01),
                       math.log(f["measures"]["pre_longest_in_plane_diameter_mm"] + 1), math.log(f["measures"]["post_longest_in_plane_diameter_mm"] + 1),
                       f["measures"]["volume_change_percent"]] for f in training.facts])
    reference = LogisticRegression(C=1.0, tol=1e-10, max_iter=10000).fit((table - table.mean(0)) / table.std(0), features.outcomes(training))
    assert list(model.coefficients.values()) == pytest.approx(reference.coef_[0].tolist(), abs=1e-4)
    assert model.intercept == pytest.approx(reference.intercept_[0], abs=1e-4)


def test_an_unseen_category_is_refused_with_line_and_column():
    training = made_up.cohort(60, 8, clinical=patients)
    model = fit_tabular("clinical_logistic", training, dictionary=DICTIONARY)
    with pytest.raises(InputError) as caught:
        tabular_logits(model, changed(training, 4, regimen="FLOT"))
    assert caught.value.code == "MRD-E786" and "line 6, column 'regimen'" in caught.value.found and "CAPOX" in caught.value.fix
    with pytest.raises(InputError) as caught:
        fit_tabular("clinical_logistic", changed(training, 4, regimen="FLOT"), dictionary=DICTIONARY)
    assert caught.value.code == "MRD-E786" and "line 6" in caught.value.found


@pytest.mark.parametrize("value", [math.nan, math.inf, "sixty", True])
def test_what_is_no_number_is_refused_with_line_and_column(value):
    training = made_up.cohort(60, 8, clinical=patients)
    with pytest.raises(InputError) as caught:
        fit_tabular("clinical_logistic", changed(training, 2, age_years=value), dictionary=DICTIONARY)
    assert caught.value.code == "MRD-E787" and caught.value.found == "line 4, column 'age_years'"


def test_a_number_beyond_the_training_range_and_an_unexpected_gap_are_told():
    full = lambda rng, responder: {"age_years": float(rng.uniform(40, 80))}
    training = made_up.cohort(60, 9, clinical=full)
    model = fit_tabular("clinical_logistic", training, dictionary=DICTIONARY)
    logits, notices = tabular_logits(model, changed(changed(training, 0, age_years=298.0), 1, age_years=None))
    assert [notice.code for notice in notices] == ["MRD-W785", "MRD-W786"] and "line 2" in notices[0].text and "line 3" in notices[1].text
    assert np.isfinite(logits).all() and not tabular_logits(model, training)[1]


def test_an_unknown_scanner_is_told_and_does_not_stop_the_control():
    training = made_up.cohort(60, 10, scanner=0.3)
    model = fit_tabular("scanner", training)
    facts = list(training.facts)
    facts[3] = facts[3] | {"pre": facts[3]["pre"] | {"manufacturer": "Gamma"}}
    _, notices = tabular_logits(model, replace(training, facts=tuple(facts)))
    assert [notice.code for notice in notices] == ["MRD-W787"] and "line 5" in notices[0].text


def test_a_table_without_clinical_columns_and_one_class_are_refused():
    with pytest.raises(InputError) as caught:
        fit_tabular("clinical_logistic", made_up.cohort(20, 0), dictionary=DICTIONARY)
    assert caught.value.code == "MRD-E788"
    both = made_up.cohort(40, 0)
    one = features.subset(both, np.flatnonzero(features.outcomes(both) == 1))
    with pytest.raises(InputError) as caught:
        fit_tabular("volume_logistic", one)
    assert caught.value.code == "MRD-E789" and "20 with, 0 without" in caught.value.found
    rows = (replace(both.rows[0], outcome=None), *both.rows[1:])
    with pytest.raises(InputError) as caught:
        fit_tabular("volume_logistic", replace(both, rows=rows))
    assert caught.value.code == "MRD-E789" and caught.value.found == "line 2"
    with pytest.raises(InputError) as caught:
        fit_tabular("neural", both)
    assert caught.value.code == "MRD-E750" and "fusion" in caught.value.fix


@pytest.mark.parametrize("name", [name for name in names() if name != "fusion"])
def test_a_stored_model_scores_as_before(name, tmp_path):
    training = made_up.cohort(60, 11, volume=0.5, pair=0.5, scanner=0.2, clinical=patients)
    inputs = {"dictionary": DICTIONARY, "spacing_mm": made_up.SPACING_MM}
    model = fit_tabular(name, training, **inputs)
    write_table_model(tmp_path / "model.json", model)
    again = read_table_model(tmp_path / "model.json")
    assert np.array_equal(tabular_logits(model, training, **inputs)[0], tabular_logits(again, training, **inputs)[0])


def test_fusion_says_when_there_is_no_gain_and_when_there_is_one():
    rng = np.random.default_rng(0)
    useless = lambda rng, responder: {"age_years": float(rng.normal(60, 8))}
    for clinical, gains in ((useless, False), (patients, True)):
        prepared = made_up.cohort(300, 12, clinical=clinical)
        outcome = features.outcomes(prepared)
        imaging = rng.normal(outcome * 1.2, 1.0)
        both = crossed("fusion", prepared, np.arange(300) % 5, dictionary=DICTIONARY, logits=imaging)
        found = fusion.compare(outcome, imaging, both)
        assert ("no gain" in found.sentence) == (not gains) and (found.gain.p < 0.05) == gains, found.sentence
        assert found.cases == 300 and found.events == 150 and found.gain.difference == pytest.approx(found.fusion[0] - found.imaging[0])


def test_crossed_scores_never_come_from_a_model_that_saw_the_case():
    """With columns that are pure chance, a model scores the cases that it was fitted on better than chance, and others not.

    (Crossed scores come out a little below one half, because each fold's model has the prevalence of the other folds.)
    """
    names, found = [f"chance_{k}" for k in range(12)], []
    for seed in range(6):
        prepared = made_up.cohort(60, 20 + seed, clinical=lambda rng, responder: {name: float(rng.normal()) for name in names})
        inputs = {"dictionary": {name: made_up.Column("number") for name in names}}
        seen = auc(fit_tabular("clinical_logistic", prepared, **inputs), prepared)[0]
        found.append((seen, auc_with_ci(features.outcomes(prepared), crossed("clinical_logistic", prepared, np.arange(60) % 4, **inputs))[0]))
    seen, held_out = np.mean(found, 0)
    assert seen > 0.7 and held_out < 0.56


IBSI = np.array([[[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
                 [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [0, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
                 [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 6, 1, 1]],
                 [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]]])
"""The digital phantom of the Image Biomarker Standardisation Initiative; 0 is outside its ROI; voxels of 2 mm."""


def test_first_order_features_of_the_ibsi_phantom_are_the_published_ones():
    found = first_order(IBSI[IBSI > 0], bin_width=1.0)
    expected = {"mean": 2.15, "skewness": 1.08, "kurtosis": -0.355, "median": 1, "p10": 1, "p90": 4, "interquartile_range": 3,
                "mean_absolute_deviation": 1.55, "robust_mean_absolute_deviation": 1.11, "root_mean_square": 2.77, "entropy": 1.27, "uniformity": 0.512}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=5e-3), name
    assert found["sd"] ** 2 == pytest.approx(3.05, rel=5e-3)


def test_shape_features_of_the_ibsi_phantom_are_the_published_ones():
    found = voxel_shape(IBSI > 0, (2.0, 2.0, 2.0))
    expected = {"volume_ml": 0.592, "major_axis_mm": 11.4, "minor_axis_mm": 9.31, "least_axis_mm": 8.54, "elongation": 0.816, "flatness": 0.749}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=5e-3), name


def test_the_faces_of_a_box_and_a_single_row():
    box = np.zeros((4, 5, 6), bool)
    box[1:3, 1:4, 1:5] = True                                             # 2 x 3 x 4 voxels of 3 x 2 x 1 mm: 6 x 6 x 4 mm
    found = voxel_shape(box, (1.0, 2.0, 3.0))
    assert found["face_surface_mm2"] == pytest.approx(2 * (36 + 24 + 24)) and found["volume_ml"] == pytest.approx(0.144)
    assert 0 < found["face_sphericity"] < 1
    row = np.zeros((3, 3, 9), bool)
    row[1, 1] = True
    assert voxel_shape(row, (1, 1, 1))["elongation"] == 0


def test_an_empty_roi_is_a_gap_and_no_crash():
    training = made_up.cohort(60, 13, pair=1.0)
    crops = list(training.crops)
    crops[0] = crops[0].copy()
    crops[0][1, 1] = 0
    holed = replace(training, crops=tuple(crops))
    model = fit_tabular("delta_radiomics", holed, spacing_mm=made_up.SPACING_MM)
    assert model.columns["change of mean"].missing and not model.columns["pre mean"].missing
    assert np.isfinite(tabular_logits(model, holed, spacing_mm=made_up.SPACING_MM)[0]).all()
