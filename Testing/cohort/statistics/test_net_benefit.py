"""Decision curves against dcurves, the formula, and a loop."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
from dcurves import dca
from hypothesis import given, settings
from hypothesis import strategies as some

from MRDeltaNetLib.cohort.statistics.net_benefit import decision_curve, net_benefit_bootstrap, threshold_grid

EVERY_HUNDREDTH = threshold_grid(0.0, 0.99, 0.01)


def counted(outcome, probability, threshold):
    """TP / n - FP / n * t / (1 - t), case by case."""
    true = sum(1 for y, p in zip(outcome, probability) if y and p >= threshold)
    false = sum(1 for y, p in zip(outcome, probability) if not y and p >= threshold)
    return true / len(outcome) - false / len(outcome) * threshold / (1 - threshold)


@settings(deadline=None, max_examples=100)
@given(some.lists(some.tuples(some.booleans(), some.one_of(some.integers(0, 10).map(lambda k: k / 10), some.floats(0, 1))), min_size=1, max_size=50))
def test_the_curve_is_what_counting_gives_also_on_thresholds_themselves(cases):
    outcome, probability = np.array([y for y, _ in cases]), np.array([p for _, p in cases])
    found = decision_curve(outcome, probability, EVERY_HUNDREDTH)
    assert found.net_benefit == pytest.approx([counted(outcome, probability, t) for t in EVERY_HUNDREDTH], abs=1e-12)
    assert found.treat_all == pytest.approx([counted(outcome, np.ones(len(outcome)), t) for t in EVERY_HUNDREDTH], abs=1e-12)


@pytest.mark.parametrize("name, first", [("cancerpredmarker", 0), ("famhistory", 1)])
def test_the_real_table_gives_what_dcurves_gives(real_data, name, first):
    """Not at a threshold of 0 for probabilities of 0: dcurves moves them just below 0, and by the definition they reach it."""
    table, thresholds = pandas.read_csv(real_data("roc_dca/dcurves_df_binary.csv")), EVERY_HUNDREDTH[first:]
    theirs = dca(data=table, outcome="cancer", modelnames=[name], thresholds=thresholds.tolist()).sort_values("threshold")
    found, expected = decision_curve(table["cancer"], table[name], thresholds), theirs[theirs["model"] == name]
    assert np.abs(found.net_benefit - expected["net_benefit"].to_numpy()).max() < 1e-10
    assert np.nanmax(np.abs(found.avoided - expected["net_intervention_avoided"].to_numpy())) < 1e-10
    assert np.abs(found.treat_all - theirs[theirs["model"] == "all"]["net_benefit"].to_numpy()).max() < 1e-10


def test_tied_probabilities_give_what_dcurves_gives():
    random = np.random.default_rng(0)
    table = pandas.DataFrame({"y": random.integers(0, 2, 200), "p": random.integers(0, 21, 200) / 20})
    theirs = dca(data=table, outcome="y", modelnames=["p"], thresholds=EVERY_HUNDREDTH[1:].tolist())
    found = decision_curve(table["y"], table["p"], EVERY_HUNDREDTH[1:])
    assert np.abs(found.net_benefit - theirs[theirs["model"] == "p"].sort_values("threshold")["net_benefit"].to_numpy()).max() < 1e-10


def test_a_perfect_probability_brings_the_share_of_pcr_everywhere_and_a_standardised_one():
    found = decision_curve([1, 0, 0, 1, 0], [1.0, 0, 0, 1.0, 0], threshold_grid(0.05, 0.95, 0.05))
    assert found.net_benefit == pytest.approx(0.4) and found.standardised == pytest.approx(1.0)
    assert found.avoided == pytest.approx(0.6)                                          # every case without pCR is spared


def test_grids_hold_the_decimal_numbers_that_were_meant():
    assert threshold_grid(0.01, 0.99, 0.01).tolist() == [k / 100 for k in range(1, 100)]
    assert threshold_grid(0.1, 0.1, 0.5).tolist() == [0.1] and threshold_grid(0.0, 0.5, 0.2).tolist() == [0.0, 0.2, 0.4]
    for wrong in ((0.5, 0.1, 0.1), (0.1, 1.0, 0.1), (-0.1, 0.5, 0.1), (0.1, 0.5, 0.0)):
        with pytest.raises(ValueError, match="stay below 1"):
            threshold_grid(*wrong)


def test_the_bands_are_those_of_resampled_cases():
    random = np.random.default_rng(1)
    outcome = random.integers(0, 2, 150).astype(bool)
    probability, thresholds = np.clip(0.3 * outcome + random.uniform(0, 0.7, 150), 0, 1), np.array([0.1, 0.3, 0.6])
    fast = net_benefit_bootstrap(outcome, probability, thresholds, 4000, 0)
    slow = np.array([[counted(outcome[rows], probability[rows], t) for t in thresholds] for rows in random.integers(150, size=(1500, 150))])
    assert fast.shape == (4000, 3)
    assert fast.mean(0) == pytest.approx(decision_curve(outcome, probability, thresholds).net_benefit, abs=0.004)
    assert fast.std(0) == pytest.approx(slow.std(0), rel=0.08)
    assert np.quantile(fast, [0.025, 0.975], axis=0) == pytest.approx(np.quantile(slow, [0.025, 0.975], axis=0), abs=0.02)
    assert np.corrcoef(fast[:, 0], fast[:, 2])[0, 1] == pytest.approx(np.corrcoef(slow[:, 0], slow[:, 2])[0, 1], abs=0.1)


def test_what_is_no_probability_is_refused():
    for wrong in ([0.2, 1.2], [0.2, np.nan], [-0.1, 0.3], [0.2]):
        with pytest.raises(ValueError, match="from 0 to 1"):
            decision_curve([0, 1], wrong, np.array([0.5]))
    with pytest.raises(ValueError, match="stay below 1"):
        decision_curve([0, 1], [0.2, 0.3], np.array([0.5, 1.0]))
    with pytest.raises(ValueError, match="from 0 to 1"):
        decision_curve([], [], np.array([0.5]))
