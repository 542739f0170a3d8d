"""The section on decision curves."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
from dcurves import dca

from MRDeltaNetLib.cohort.evaluating import decision_curve
from Testing.cohort.evaluating.scored_subsets import drawn, subset_of


def test_a_real_table_has_the_net_benefit_of_dcurves_at_every_threshold(real_data):
    table = pandas.read_csv(real_data("roc_dca/dcurves_df_binary.csv"))
    rows = decision_curve.section(subset_of(table["cancer"], {"p_marker": table["cancerpredmarker"]})).values["p_marker"]
    theirs = dca(data=table, outcome="cancer", modelnames=["cancerpredmarker"], thresholds=[row["threshold"] for row in rows]).sort_values("threshold")
    for key, name in (("net_benefit", "cancerpredmarker"), ("treat_all", "all"), ("treat_none", "none")):
        assert np.abs([row[key] for row in rows] - theirs[theirs["model"] == name]["net_benefit"].to_numpy()).max() < 1e-10
    assert len(rows) == 99


def test_bands_hold_the_curve_and_are_the_same_each_time():
    outcome, probability, marker = drawn()
    subset = subset_of(outcome, {"p_pcr": probability, "marker": marker, "p_flat": np.full(240, outcome.mean())}, thresholds=(0.1, 0.6, 0.05))
    part = decision_curve.section(subset)
    assert list(part.values) == ["p_pcr", "p_flat"] and [row["threshold"] for row in part.values["p_pcr"]] == [0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6]
    assert all(row["lo"] <= row["net_benefit"] <= row["hi"] and row["treat_none"] == 0 for row in part.values["p_pcr"])
    assert part.values["p_flat"][0]["net_benefit"] == pytest.approx(part.values["p_flat"][0]["treat_all"]) and part.values["p_flat"][-1]["net_benefit"] == 0
    assert max(row["net_benefit"] - max(row["treat_all"], 0) for row in part.values["p_pcr"]) > 0.05
    assert decision_curve.section(subset).values == part.values
    row = part.values["p_pcr"][4]
    assert row["standardised_net_benefit"] == pytest.approx(row["net_benefit"] / outcome.mean())
    assert row["avoided_per_100"] == pytest.approx(100 * (row["net_benefit"] - row["treat_all"]) / (0.3 / 0.7))
    data = part.figures["decision_curve"].data
    assert len(data["curves"]) == 2 and data["event_rate"] == outcome.mean() and len(data["treat_all"]) == len(data["thresholds"]) == 11
    assert set(part.tables) == {"decision_curve_p_pcr", "decision_curve_p_flat"}


def test_a_threshold_of_nought_spares_nobody_and_says_nothing_of_how_many():
    outcome, probability, _ = drawn()
    row = decision_curve.section(subset_of(outcome, {"p_pcr": probability}, thresholds=(0.0, 0.2, 0.1))).values["p_pcr"][0]
    assert row["net_benefit"] == outcome.mean() and row["avoided_per_100"] is None


def test_few_samples_give_a_curve_without_bands():
    outcome, probability, _ = drawn()
    part = decision_curve.section(subset_of(outcome, {"p_pcr": probability}, bootstrap=50))
    assert part.values["p_pcr"][0]["lo"] is None and part.figures["decision_curve"].data["curves"][0]["lo"] is None and "50 samples" in part.omissions[0].reason


def test_probabilities_of_other_cases_are_told_to_be():
    outcome, probability, _ = drawn()
    part = decision_curve.section(subset_of(outcome, {"p_pcr": probability, "p_half": np.where(np.arange(240) < 120, np.nan, probability)}))
    assert "different cases" in part.notes[0]
