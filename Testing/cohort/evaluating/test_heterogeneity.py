"""Groups of patients, centres summarised, centres left out."""

from __future__ import annotations

import numpy as np
import pytest

from MRDeltaNetLib.cohort.evaluating import heterogeneity
from MRDeltaNetLib.cohort.statistics import auc_with_ci, calibration, paired_delong
from MRDeltaNetLib.cohort.statistics.pooling import logit_auc, pooled
from Testing.cohort.evaluating.scored_subsets import drawn, subset_of


def centres(n=480, names=("North", "South", "East", "West")):
    outcome, probability, _ = drawn(n)
    random = np.random.default_rng(3)
    return outcome, probability, {"centre": np.resize(names, n), "sex": random.choice(["female", "male"], n), "age_years": random.integers(30, 80, n).astype(float),
                                  "clinical_stage": random.integers(2, 5, n).astype(float), "cea": random.normal(size=n)}


def told(part):
    return {(row["column"], row["group"]): row for row in part.values["subgroups"]}


def test_each_group_has_the_area_and_slope_of_its_own_cases():
    outcome, probability, columns = centres()
    part = heterogeneity.section(subset_of(outcome, {"p_pcr": probability}, columns=columns))
    rows, age = told(part), columns["age_years"]
    cut = np.median(age)
    inside = {("centre", "East"): columns["centre"] == "East", ("sex", "male"): columns["sex"] == "male", ("age_years", f"< {cut:g}"): age < cut,
              ("age_years", f"≥ {cut:g}"): age >= cut, ("clinical_stage", "3"): columns["clinical_stage"] == 3}
    for key, mine in inside.items():
        row = rows[key]
        assert (row["cases"], row["with_pcr"]) == (mine.sum(), outcome[mine].sum())
        assert [row["auc"], *row["auc_ci"]] == pytest.approx(auc_with_ci(outcome[mine], probability[mine]))
        assert row["slope"] == pytest.approx(calibration(outcome[mine], np.log(probability[mine] / (1 - probability[mine]))).slope)
    assert {column for column, _ in rows} == {"centre", "sex", "age_years", "clinical_stage"} and len(rows) == 4 + 2 + 2 + 3
    assert part.tables["heterogeneity_subgroups"].rows[0][:2] == ("centre", "East")


def test_centres_are_summarised_and_sexes_only_compared():
    outcome, probability, columns = centres()
    part = heterogeneity.section(subset_of(outcome, {"p_pcr": probability}, columns=columns))
    summaries = {one["measure"]: one for one in part.values["summaries"]}
    differences = {(one["column"], one["measure"]): one for one in part.values["differences"]}
    rows = [row for (column, _), row in told(part).items() if column == "centre"]
    expected = pooled(*np.array([logit_auc(row["auc"], *row["auc_ci"], row["with_pcr"], row["cases"] - row["with_pcr"]) for row in rows]).T)
    found = summaries["auc"]
    assert found["value"] == pytest.approx(1 / (1 + np.exp(-expected.mean))) and (found["tau2"], found["i2"], found["centres"]) == (expected.tau2, expected.i2, 4)
    assert found["prediction"][0] <= found["ci"][0] < found["value"] < found["ci"][1] <= found["prediction"][1] < 1
    assert summaries["slope"]["value"] == pytest.approx(1, abs=0.3) and differences["centre", "auc"]["q"] == found["q"]
    assert 0 < differences["sex", "auc"]["p"] < 1 and {column for column, _ in differences} == {"centre", "sex", "age_years", "clinical_stage"}
    forest = part.figures["heterogeneity_forest"].data
    assert [row["label"] for row in forest["rows"] if row["pooled"]] == ["summary"] and forest["null"] == 0.5 and len(forest["rows"]) == 11 + 1
    assert len(part.figures["heterogeneity_slopes"].data["rows"]) == 12


def test_a_centre_where_the_model_fails_is_seen():
    outcome, probability, columns = centres(800)
    random = np.random.default_rng(1)
    lost = columns["centre"] == "West"
    probability[lost] = random.permutation(probability[lost])
    part = heterogeneity.section(subset_of(outcome, {"p_pcr": probability}, columns=columns))
    summary = next(one for one in part.values["summaries"] if one["measure"] == "auc")
    assert summary["p"] < 0.01 and summary["i2"] > 0.5 and told(part)["centre", "West"]["auc_ci"][0] < 0.6
    without = {row["centre"]: row for row in part.values["without_each_centre"]}
    assert without["West"]["auc"] == max(row["auc"] for row in without.values()) and without["West"]["cases"] == 600
    assert without["West"]["auc"] == pytest.approx(auc_with_ci(outcome[~lost], probability[~lost])[0]) and "same in every row" in part.notes[0]


def test_a_centre_with_a_perfect_area_stays_in_the_summary():
    outcome, probability, columns = centres()
    mine = columns["centre"] == "West"
    probability[mine] = 0.1 + 0.7 * outcome[mine] + 0.001 * np.arange(mine.sum())
    part = heterogeneity.section(subset_of(outcome, {"p_pcr": probability}, columns={"centre": columns["centre"]}))
    summaries = {one["measure"]: one for one in part.values["summaries"]}
    assert told(part)["centre", "West"]["auc"] == 1 and summaries["auc"]["centres"] == 4 and summaries["slope"]["centres"] == 3
    assert told(part)["centre", "West"]["slope"] is None and any("no slope exists" in one.reason for one in part.omissions)


def test_groups_that_are_too_small_are_named_with_their_counts():
    outcome, probability, columns = centres()
    names = columns["centre"].copy().astype(object)
    names[np.flatnonzero(outcome == 1)[:4]] = "Tiny"
    part = heterogeneity.section(subset_of(outcome, {"p_pcr": probability}, columns={"centre": names}))
    assert ("centre", "Tiny") not in told(part) and any("Tiny (4 with pCR, 0 without)" in one.reason for one in part.omissions)


def test_groups_and_cuts_are_those_that_were_asked_for():
    outcome, probability, columns = centres()
    columns["age_years"][:7] = np.nan
    subset = subset_of(outcome, {"p_pcr": probability}, columns=columns, subgroups=("age_years", "cea", "no_such"), cuts={"age_years": (70.0, 50.0)})
    part = heterogeneity.section(subset)
    ages = [group for column, group in told(part) if column == "age_years"]
    assert ages == ["< 50", "50 to < 70", "≥ 70"] and sum(told(part)["age_years", group]["cases"] for group in ages) == 473
    assert any("7 cases" in one.what for one in part.omissions) and any("no such column" in one.reason for one in part.omissions)
    assert {column for column, _ in told(part)} == {"age_years", "cea"}


def test_all_sets_are_cut_at_the_training_cases_median():
    outcome, probability, columns = centres()
    training = subset_of(outcome, {"p_pcr": probability}, columns={"age_years": columns["age_years"] - 10}, name="train")
    part = heterogeneity.section(subset_of(outcome, {"p_pcr": probability}, columns={"age_years": columns["age_years"]}, training=training))
    assert ("age_years", f"< {np.median(columns['age_years']) - 10:g}") in told(part)


def test_models_that_never_saw_the_centre_stand_beside_the_study_s():
    outcome, probability, columns = centres()
    blurred = 1 / (1 + np.exp(-np.log(probability / (1 - probability)) - np.random.default_rng(0).normal(size=480)))
    blurred[:3] = np.nan
    part = heterogeneity.section(subset_of(outcome, {"p_pcr": probability, "p_loco": blurred}, columns=columns))
    found = part.values["leave_one_centre_out"]
    expected = paired_delong(outcome[3:].astype(int), probability[3:], blurred[3:])
    assert found["score"] == "p_loco" and found["cases"] == 477 and (found["difference"], found["p_delong"]) == pytest.approx((expected.difference, expected.p))
    east = (columns["centre"] == "East") & (np.arange(480) > 2)
    row = next(row for row in found["centres"] if row["centre"] == "East")
    assert (row["cases"], row["auc_left_out"]) == (east.sum(), pytest.approx(auc_with_ci(outcome[east], blurred[east])[0])) and len(found["centres"]) == 4
    assert part.tables["heterogeneity_leave_one_centre_out"].rows[0][0] == "all"


def test_without_such_a_score_it_is_said_that_predictions_cannot_be_trained_again():
    outcome, probability, columns = centres()
    part = heterogeneity.section(subset_of(outcome, {"p_pcr": probability}, columns=columns))
    assert part.values["leave_one_centre_out"] is None and any("cannot be trained again" in one.fix for one in part.omissions)


def test_one_centre_only_or_no_columns_leave_a_reason():
    outcome, probability, _ = drawn()
    part = heterogeneity.section(subset_of(outcome, {"p_pcr": probability}, columns={"centre": np.full(240, "North")}))
    assert part.values["subgroups"] == [] and part.figures == {} and any("1 group" in one.reason for one in part.omissions)
    assert any("no column splits" in one.reason for one in heterogeneity.section(subset_of(outcome, {"p_pcr": probability})).omissions)
