"""The overview: cases in the order of their scores with their own values, spreads by outcome, and words where something is left out."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
from scipy import stats

from MRDeltaNetLib.cohort.evaluating import overview
from MRDeltaNetLib.cohort.evaluating.subset import Score, Subset
from MRDeltaNetLib.config import EvaluationConfig


def subset(scores: dict[str, np.ndarray], outcome: np.ndarray, columns: dict[str, list] | None = None, probability: bool = True, **settings) -> Subset:
    columns = columns or {}
    frame = pandas.DataFrame({name: pandas.Series(values, dtype=float if all(value is None or isinstance(value, float) for value in values) else object) for name, values in columns.items()},
                             index=range(len(outcome)))
    made = {name: Score(name, f"score {name}", np.asarray(values, float), probability) for name, values in scores.items()}
    return Subset("all", frame, np.asarray(outcome, float), made, tuple(name for name in columns if name != "centre"), None, EvaluationConfig(**settings))


def random_subset(cases: int = 60, seed: int = 0, **settings) -> Subset:
    random = np.random.default_rng(seed)
    outcome = (random.random(cases) < 0.4).astype(float)
    score = np.clip(random.beta(2, 3, cases) + 0.2 * outcome, 0, 1)
    outcome[3], score[5] = np.nan, np.nan
    columns = {"age": [None if place == 7 else float(value) for place, value in enumerate(random.normal(60, 9, cases).round(1))], "sex": random.choice(["female", "male"], cases).tolist(),
               "grade": [float(value) for value in random.integers(0, 2, cases)], "centre": random.choice(["A", "B", "C"], cases).tolist()}
    return subset({"p_pcr": score}, outcome, columns, **settings)


def test_columns_of_the_heatmap_are_the_cases_by_falling_score_with_their_own_values():
    one = random_subset(threshold=0.4)
    data = overview.section(one).figures["overview_heatmap"].data
    score = one.scores["p_pcr"].values
    order = [place for place in np.argsort(-score, kind="stable") if score[place] == score[place]]
    assert len(order) == 59 and data["scores"] == score[order].tolist() == sorted(data["scores"], reverse=True)
    assert data["threshold"] == 0.4
    rows = {row["label"]: row for row in data["rows"]}
    assert list(rows) == ["Outcome", "age", "sex", "grade", "centre"]
    assert rows["Outcome"]["values"] == [None if np.isnan(one.outcome[place]) else "pCR" if one.outcome[place] else "no pCR" for place in order]
    assert rows["age"]["values"] == [None if np.isnan(value) else value for value in one.frame["age"].iloc[order]]
    assert rows["sex"]["values"] == one.frame["sex"].iloc[order].tolist()
    assert rows["grade"]["kind"] == "category" and set(rows["grade"]["values"]) == {"0", "1"}, "a number with two values is a category"


def test_spread_and_test_are_those_of_numpy_and_scipy():
    one = random_subset()
    told = overview.section(one).values["p_pcr"]
    outcome, (score,) = one.judged("p_pcr")
    expected = np.quantile(score[outcome == 1], [0.25, 0.5, 0.75])
    assert [told["by_outcome"]["pcr"][key] for key in ("q1", "median", "q3")] == pytest.approx(expected)
    assert told["cases"] == 59 and told["by_outcome"]["pcr"]["cases"] + told["by_outcome"]["non_pcr"]["cases"] == len(outcome) and told["by_outcome"]["unknown"]["cases"] == 1
    pairs = score[outcome == 1][:, None] - score[outcome == 0][None]
    assert told["mann_whitney"]["u"] == pytest.approx((pairs > 0).sum() + 0.5 * (pairs == 0).sum())
    assert max(np.bincount(outcome)) < 50 and len(np.unique(score)) == len(score)               # where R's wilcox.test, and Table 1, are exact
    assert told["mann_whitney"]["p"] == pytest.approx(stats.mannwhitneyu(score[outcome == 1], score[outcome == 0], method="exact").pvalue, rel=1e-12)


def test_boxes_are_by_outcome_then_within_each_centre():
    one = random_subset()
    groups = overview.section(one).figures["overview_boxes_p_pcr"].data["groups"]
    assert [(group["group"], group["label"]) for group in groups] == [("All centres", "pCR"), ("All centres", "no pCR"), ("All centres", "outcome not known"),
                                                                      *((centre, label) for centre in "ABC" for label in ("pCR", "no pCR"))]
    assert sum(group["n"] for group in groups[:3]) == 59 and sum(group["n"] for group in groups[3:]) == 58
    member = (one.frame["centre"] == "B").to_numpy() & (one.outcome == 1) & ~np.isnan(one.scores["p_pcr"].values)
    assert next(group for group in groups if (group["group"], group["label"]) == ("B", "pCR"))["values"] == sorted(one.scores["p_pcr"].values[member])


def test_many_cases_are_thinned_with_their_ends_kept_and_told():
    random = np.random.default_rng(1)
    score, outcome = random.random(5000), (random.random(5000) < 0.3).astype(float)
    found = overview.section(subset({"p_pcr": score}, outcome))
    data = found.figures["overview_heatmap"].data
    assert len(data["scores"]) == overview.MOST_COLUMNS and (data["scores"][0], data["scores"][-1]) == (score.max(), score.min())
    assert any("5000 cases are more than can be printed" in entry.reason for entry in found.omissions)
    box = found.figures["overview_boxes_p_pcr"].data["groups"][0]
    assert box["n"] == outcome.sum() and len(box["values"]) == overview.MOST_VALUES
    assert np.median(box["values"]) == pytest.approx(np.median(score[outcome == 1]), abs=1e-3)


@pytest.mark.parametrize("outcome, values", [([1.0, 0.0], [0.5, 0.5]), ([1.0, 1.0], [0.1, 0.2]), ([np.nan, np.nan], [0.1, 0.2]), ([1.0], [0.3]), ([1.0, 0.0], [np.nan, np.nan]), ([], [])])
def test_odd_cases_give_words_and_no_error(outcome, values):
    found = overview.section(subset({"p_pcr": np.array(values)}, np.array(outcome)))
    if not values or np.isnan(values).all():
        assert not found.values and "no case has it" in found.omissions[0].reason
    else:
        told = found.values["p_pcr"]["mann_whitney"]
        assert told is None or told["p"] == 1.0
        assert found.figures["overview_heatmap"].data["scores"] == sorted(values, reverse=True)


def test_without_a_score_the_section_is_left_out():
    found = overview.section(subset({}, np.array([1.0, 0.0])))
    assert found.values == {} and not found.figures and found.omissions[0].reason == "there is no score"


def test_columns_that_a_heatmap_cannot_show_are_told():
    cases = 40
    columns = {"remark": [f"text {place}" for place in range(cases)], "empty": [None] * cases} | {f"x{place}": [float(case + place) for case in range(cases)] for place in range(30)}
    one = subset({"p_pcr": np.linspace(0, 1, cases)}, np.arange(cases) % 2.0, columns)
    found = overview.section(one)
    assert len(found.figures["overview_heatmap"].data["rows"]) == 1 + overview.MOST_ROWS
    told = {entry.what for entry in found.omissions}
    assert {"the heatmap's row of remark", "the heatmap's row of empty", f"{30 - overview.MOST_ROWS} rows of the heatmap"} <= told


def test_a_score_that_is_no_probability_has_an_axis_of_its_own():
    found = overview.section(subset({"s100b": np.array([0.1, 2.4, 8.0])}, np.array([0.0, 1.0, 1.0]), probability=False))
    assert "x_range" not in found.figures["overview_boxes_s100b"].data and found.figures["overview_heatmap"].data["probability"] is False
