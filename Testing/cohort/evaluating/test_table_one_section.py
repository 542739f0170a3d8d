"""Table 1: groups, tests by the stated rule, missing values."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas
import pytest
from scipy import stats

from MRDeltaNetLib.cohort.evaluating.table_one import section
from MRDeltaNetLib.config import TableOneConfig
from Testing.cohort.evaluating.clinical_subset import made_up, subset


def by_variable(part):
    return {row["variable"]: row for row in part.values}


def test_three_arms_of_a_trial_have_r_s_p_values(real_data):
    """R 4.2.2: chisq.test, fisher.test and kruskal.test on the death rows of survival::colon."""
    frame = pandas.read_csv(real_data("survival/survival_colon.csv"))
    frame = frame[frame["etype"] == 2]
    part = section(subset(frame, np.full(len(frame), np.nan), references={"rx": "Obs"}, table_one=TableOneConfig(by="rx", variables=("sex", "age", "extent"))))
    found = by_variable(part)
    assert found["sex"]["p"] == pytest.approx(0.02829630175882, abs=1e-12) and found["sex"]["test"] == "chi-square"
    assert found["sex"]["fisher"]["p"] == pytest.approx(0.02843834701908, abs=1e-10)
    assert found["age"]["p"] == pytest.approx(0.803890951446, abs=1e-11) and found["age"]["test"] == "Kruskal-Wallis"
    assert list(found["age"]["groups"]) == ["Obs", "Lev", "Lev+5FU"] and found["sex"]["levels"]["1"] == {"Obs": 166, "Lev": 177, "Lev+5FU": 141}


def test_groups_are_the_outcome_unless_there_are_several_sets():
    part = section(made_up())
    assert list(by_variable(part)["age"]["groups"]) == ["pCR", "non-pCR"] and part.tables["table_one"].columns[2].startswith("pCR (n = ")
    rows = part.tables["table_one"].rows
    assert [row[:2] for row in rows] == [("age", "median (quartiles; range)"), ("stage", "T2"), ("stage", "T3"), ("stage", "T4"), ("sex", "Female"), ("sex", "Male")]
    assert isinstance(rows[1][4], float) and rows[2][4] == ""                     # p stands in the first row of a variable
    frame = made_up().frame.assign(set=np.array(["external", "train", "internal"], dtype=object)[np.arange(240) % 3])
    part = section(subset(frame, made_up().outcome, clinical=("age", "stage", "set")))
    assert list(by_variable(part)["age"]["groups"]) == ["train", "internal", "external"] and "set" not in by_variable(part)


def test_without_an_outcome_all_cases_are_told_in_one_column():
    one = made_up()
    none = replace(one, outcome=np.full(240, np.nan), config=replace(one.config, outcome=""))
    part = section(none)
    assert part.tables["table_one"].columns[2] == "all cases (n = 240)" and part.tables["table_one"].title == "Table 1"
    assert by_variable(part)["age"]["groups"]["all cases"]["median"] == one.frame["age"].median() and by_variable(part)["age"]["p"] is None
    assert [entry.what for entry in part.omissions] == ["Tests of Table 1"]


def test_numbers_get_wilcoxon_and_missing_values_are_counted_by_group():
    one = made_up()
    found = by_variable(section(one))["age"]
    groups = [one.frame["age"][one.outcome == value].dropna() for value in (1, 0)]
    assert found["p"] == pytest.approx(stats.mannwhitneyu(*groups, method="asymptotic").pvalue, rel=1e-12) and found["test"] == "Wilcoxon"
    assert sum(found["missing"].values()) == 1 and found["n"] == 239 and found["groups"]["pCR"]["median"] == groups[0].median()


def test_small_expected_counts_get_fisher_and_two_by_two_gets_yates():
    outcome = np.arange(60) % 2
    rare = np.where(np.arange(60) < 3, "a", "b")
    part = section(subset({"rare": rare, "common": np.where(np.arange(60) < 25, "a", "b"), "flag": (np.arange(60) % 3 == 0)}, outcome))
    found = by_variable(part)
    assert found["rare"]["test"] == "Fisher" and found["rare"]["chi_square"]["least_expected"] == 1.5
    assert found["common"]["test"] == "chi-square (Yates)" == found["flag"]["test"] and found["flag"]["kind"] == "category"


def test_a_table_too_large_to_count_is_drawn_with_the_seed_and_says_so():
    rng = np.random.default_rng(0)
    level = rng.choice(list("abcdefgh"), 900, p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.09, 0.007, 0.003])
    one = lambda seed: by_variable(section(subset({"x": level, "by": rng_groups}, np.full(900, np.nan), table_one=TableOneConfig(by="by", variables=("x",)), seed=seed)))["x"]
    rng_groups = rng.choice(["u", "v", "w"], 900)
    assert one(1)["test"] == "Fisher (20000 tables drawn)" and one(1)["p"] == one(1)["p"]
    assert abs(one(1)["p"] - one(2)["p"]) < 0.03 and abs(one(1)["p"] - one(1)["chi_square"]["p"]) < 0.1


def test_numbers_that_are_categories_can_be_named_so():
    frame = {"grade": np.arange(60) % 3 + 1}
    assert by_variable(section(subset(frame, np.arange(60) < 30)))["grade"]["kind"] == "number"
    found = by_variable(section(subset(frame, np.arange(60) < 30, table_one=TableOneConfig(categorical=("grade",)))))["grade"]
    assert found["kind"] == "category" and list(found["levels"]) == ["1", "2", "3"]


def test_odd_columns_and_groups_are_told_and_the_rest_is_done():
    frame = {"empty": [None] * 30, "remark": [f"r{k}" for k in range(30)], "same": ["x"] * 30, "age": np.arange(30.0)}
    part = section(subset(frame, np.r_[1, np.zeros(29)], table_one=TableOneConfig(variables=("empty", "remark", "same", "age", "absent"))))
    assert {omission.what.split(" ")[0] for omission in part.omissions} == {"empty", "remark", "absent"}
    found = by_variable(part)
    assert found["same"]["p"] is None and found["age"]["p"] is not None and found["age"]["smd"] is None and any("One case only: pCR" in note for note in part.notes)
    json.dumps(part.values, allow_nan=False)


def test_one_group_is_described_without_tests_and_too_many_are_refused():
    one = section(subset({"age": np.arange(20.0)}, np.ones(20)))
    assert by_variable(one)["age"]["p"] is None and by_variable(one)["age"]["groups"]["pCR"]["n"] == 20 and "one group" in one.omissions[0].reason
    many = section(subset({"age": np.arange(40.0), "by": [f"g{k}" for k in range(40)]}, np.ones(40), table_one=TableOneConfig(by="by")))
    assert many.values == [] and "40 groups" in many.omissions[0].reason
    absent = section(subset({"age": np.arange(40.0)}, np.ones(40), table_one=TableOneConfig(by="nowhere")))
    assert absent.values == [] and "0 groups" in absent.omissions[0].reason
