"""Survival statistics against R's numbers, lifelines, slow definitions and laws."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from lifelines import CoxPHFitter, KaplanMeierFitter
from lifelines.utils import concordance_index, restricted_mean_survival_time
from pandas import DataFrame

from MRDeltaNetLib.cohort.statistics.survival import (at_risk, censoring_weights, cox, efron, harrell, kaplan_meier, logrank, mean_difference,
                                                      median_survival, proportional_hazards, restricted_mean, reverse_follow_up, survival_at,
                                                      time_dependent_auc, time_dependent_auc_bounds, uno)

FREIREICH = np.array([6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]), \
    np.array([1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0])
"""Weeks of remission under 6-mercaptopurine, Freireich et al. 1963, the example of Kaplan-Meier in every textbook."""
PLACEBO = np.array([1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]), np.ones(21)

COLON_COX = {"rxLev": (0.9799001719136, 0.7940714609251, 1.209216543052, 0.8498921358925),
             "rxLev+5FU": (0.598162445181, 0.473892816965, 0.7550194854534, 1.525305408272e-05),
             "sex": (0.9270119735688, 0.772355356771, 1.112637067389, 0.4157371600426),
             "age": (0.9974290859357, 0.9897986081921, 1.005118387959, 0.5111878049822),
             "obstruct": (1.224119388577, 0.9765285543487, 1.534484855375, 0.07943761045475),
             "perfor": (1.23417485606, 0.7505129229134, 2.029528778023, 0.4070633426741),
             "adhere": (1.221536679562, 0.956180548096, 1.560533585927, 0.1092922061335),
             "node4": (2.345848089331, 1.941424358084, 2.834518499423, 1.032028775345e-18),
             "extent": (1.630432123175, 1.304148524762, 2.038348284575, 1.780100021516e-05)}
"""Recurrence in R's survival::colon, coxph with Efron's ties of survival 3.5.3 under R 4.2.2: hazard ratio, 95 % bounds, p."""

COLON_CURVES = {"Obs": (1236, 803, 2036, {365: (0.7206349206349, 0.6727507984846, 0.7719272723395, 227),
                                          1825: (0.4503801173131, 0.3981469535321, 0.5094657846091, 128)}),
                "Lev": (1183, 797, 2067, {1095: (0.5071202304306, 0.4540601156137, 0.5663807924737, 153)}),
                "Lev+5FU": (None, None, None, {1825: (0.6152440701231, 0.5624075531632, 0.67304442071, 174)})}
"""survfit of the same, conf.type "log": median with bounds, and survival, bounds and cases at risk at times."""


@pytest.fixture(scope="module")
def colon(real_data):
    """Time, event, group and columns (name -> values) of R's survival::colon, recurrence."""
    with real_data("survival/survival_colon.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["etype"] == "1"]
    number = lambda name: np.array([float(row[name]) for row in rows])
    group = np.array([row["rx"] for row in rows])
    columns = {"rxLev": (group == "Lev").astype(float), "rxLev+5FU": (group == "Lev+5FU").astype(float)}
    return number("time"), number("status"), group, columns | {name: number(name) for name in list(COLON_COX)[2:]}


def followed(n=120, seed=0, digits=1, effect=0.8):
    """Times with ties, events, and a risk with ties that tells something about them."""
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n).round(digits)
    happens, leaves = rng.exponential(np.exp(-effect * risk)), rng.exponential(1.2, size=n)
    return np.minimum(happens, leaves).round(digits) + 10.0**-digits, (happens <= leaves).astype(float), risk


def test_curves_medians_and_counts_are_r_s(colon):
    time, event, group, _ = colon
    for name, (median, lower, upper, at) in COLON_CURVES.items():
        curve = kaplan_meier(time[group == name], event[group == name])
        found = median_survival(curve)
        assert (found.value, found.lower, found.upper) == (median, lower, upper)
        for moment, told in at.items():
            assert survival_at(curve, moment)[:3] == pytest.approx(told[:3], abs=1e-12) and survival_at(curve, moment)[3] == told[3]


def test_the_logrank_test_is_r_s(colon):
    time, event, group, _ = colon
    chisq, df, p = logrank(time, event, group)
    assert chisq == pytest.approx(23.061738158319, abs=1e-9) and df == 2 and p == pytest.approx(9.822164138695e-06, rel=1e-9)


def test_cox_concordance_and_the_test_of_proportional_hazards_are_r_s(colon):
    time, event, _, columns = colon
    design = np.column_stack(list(columns.values()))
    fitted = cox(time, event, design)
    for found, told in zip(fitted.ratios(), COLON_COX.values()):
        assert found[:3] == pytest.approx(told[:3], rel=1e-9) and found[3] == pytest.approx(told[3], rel=1e-8)
    assert fitted.log_likelihood == pytest.approx((-3040.27580593544, -2972.46682486531), abs=1e-8)
    tests, times, residuals = proportional_hazards(time, event, design, fitted, ["rx", "rx", *list(columns)[2:]])
    assert tests[-1].name == "GLOBAL" and tests[-1].df == 9 and tests[-1].p == pytest.approx(0.01730980631411, abs=1e-12)
    assert [test.df for test in tests[:2]] == [2, 1] and residuals.shape == (468, 9) and (np.diff(times) >= 0).all()
    found = harrell(time, event, design @ fitted.coefficients)
    assert found.c == pytest.approx(0.6596243910253, abs=1e-12) and found.error == pytest.approx(0.01241457144865, abs=1e-12)


def test_the_textbook_s_curve_by_hand():
    """Kalbfleisch and Prentice's and every later account of these 21 patients: 0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448; median 23 weeks."""
    curve = kaplan_meier(*FREIREICH)
    told = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    assert {moment: round(survival_at(curve, moment)[0], 3) for moment in told} == told
    assert median_survival(curve).value == 23 and median_survival(kaplan_meier(*PLACEBO)).value == 8
    assert list(at_risk(curve, [0, 10, 10.5, 35, 36])) == [21, 15, 13, 1, 0]


def test_a_curve_that_is_flat_at_one_half_has_its_median_midway():
    """R: median(survfit(Surv(c(1, 2, 3, 4), c(1, 1, 1, 1)) ~ 1)) is 2.5."""
    assert median_survival(kaplan_meier(np.array([1.0, 2, 3, 4]), np.ones(4))).value == 2.5
    assert median_survival(kaplan_meier(np.array([1.0, 2, 3, 4]), np.array([1, 1, 0, 0]))).value == 2


def test_the_log_log_interval_is_lifelines_own():
    time, event, _ = followed(60)
    curve, other = kaplan_meier(time, event, "log-log"), KaplanMeierFitter().fit(time, event)
    bounds = other.confidence_interval_.loc[curve.time].to_numpy()
    inside = (curve.survival > 0) & (curve.survival < 1)
    assert np.abs(np.column_stack([curve.lower, curve.upper]) - bounds)[inside].max() < 1e-9
    with pytest.raises(ValueError, match="intervals"):
        kaplan_meier(time, event, "plain")


def test_a_curve_says_nothing_where_it_is_not_known():
    ends_above, ends_at_0 = kaplan_meier(np.array([1.0, 2, 3]), np.array([1, 0, 0])), kaplan_meier(np.array([1.0, 2]), np.ones(2))
    assert survival_at(ends_above, 3.5) == (None, None, None, 0) and survival_at(ends_above, 0.5) == (1.0, 1.0, 1.0, 3)
    assert survival_at(ends_at_0, 5) == (0.0, None, None, 0)
    alone = kaplan_meier(np.array([4.0]), np.array([0]))
    assert median_survival(alone).value is None and survival_at(alone, 4)[0] == 1


def test_follow_up_is_the_curve_of_being_censored():
    time, event, _ = followed(80, digits=3)
    assert reverse_follow_up(time, np.zeros(80)).value == pytest.approx(np.median(time), abs=1e-9)
    assert reverse_follow_up(time, event).value == median_survival(kaplan_meier(time, 1 - event)).value > np.median(time)


@pytest.mark.parametrize("group", [np.zeros(30), np.arange(30) % 2])
def test_a_test_without_groups_or_events_is_refused(group):
    with pytest.raises(ValueError, match="two groups and an event"):
        logrank(np.arange(30.0), np.zeros(30) if group.any() else np.ones(30), group)


def test_efron_s_likelihood_without_ties_is_the_product_of_risk_sets():
    time, event, risk = followed(40, digits=9)
    slow = sum(0.7 * risk[i] - math.log(sum(math.exp(0.7 * risk[j]) for j in range(40) if time[j] >= time[i])) for i in range(40) if event[i])
    found, score, information = efron(time, event, risk[:, None], np.array([0.7]))
    assert found == pytest.approx(slow, abs=1e-10)
    step = 1e-5
    near = [efron(time, event, risk[:, None], np.array([0.7 + sign * step])) for sign in (-1, 1)]
    assert score[0] == pytest.approx((near[1][0] - near[0][0]) / (2 * step), abs=1e-6)
    assert information[0, 0] == pytest.approx(-(near[1][1][0] - near[0][1][0]) / (2 * step), abs=1e-5)


def test_with_ties_it_is_lifelines_likelihood():
    time, event, risk = followed(90, seed=3)
    fitted = CoxPHFitter().fit(DataFrame({"risk": risk, "t": time, "e": event}), "t", "e", fit_options={"precision": 1e-12})
    found = cox(time, event, risk[:, None])
    assert found.log_likelihood[1] == pytest.approx(fitted.log_likelihood_, abs=1e-9)
    assert found.covariance[0, 0] == pytest.approx(fitted.variance_matrix_.iloc[0, 0], rel=1e-8)


@pytest.mark.parametrize("what,design,event", [
    ("constant", np.ones((20, 1)), np.ones(20)),
    ("depend on each other", np.column_stack([np.arange(20), 2 * np.arange(20)]), np.ones(20)),
    ("more than the 2 terms", np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) < 2),
    ("no maximum", (np.arange(20) < 10)[:, None].astype(float), np.arange(20) < 10),
    ("0 events", np.arange(20.0)[:, None], np.zeros(20))])
def test_a_model_without_a_solution_is_refused(what, design, event):
    with pytest.raises(ValueError, match=what):
        cox(np.arange(1.0, 21), event, design)


def test_an_effect_that_turns_round_is_found_and_one_that_stays_is_not():
    rng = np.random.default_rng(4)
    x = rng.normal(size=900)
    stays = rng.exponential(np.exp(-0.7 * x))
    turns = np.where(rng.exponential(np.exp(-1.5 * x)) < 0.4, rng.exponential(np.exp(-1.5 * x)), 0.4 + rng.exponential(np.exp(0.8 * x)))
    p = [proportional_hazards(time, np.ones(900), x[:, None], cox(time, np.ones(900), x[:, None]), ["x"])[0][-1].p for time in (stays, turns)]
    assert p[0] > 0.01 and p[1] < 1e-6


def test_the_test_of_proportional_hazards_keeps_its_level():
    rng, low = np.random.default_rng(9), 0
    for _ in range(200):
        x = rng.normal(size=(80, 1))
        time = rng.exponential(np.exp(-0.5 * x[:, 0]))
        low += proportional_hazards(time, np.ones(80), x, cox(time, np.ones(80), x), ["x"])[0][-1].p < 0.05
    assert 2 <= low <= 22                                               # 10 expected, 3.1 one standard deviation


def slow_concordance(time, event, risk, weight):
    """By the definition: every pair whose earlier time is an event."""
    right = pairs = 0.0
    for i in range(len(time)):
        for j in range(len(time)):
            if event[i] and (time[j] > time[i] or (time[j] == time[i] and not event[j])):
                pairs += weight[i]
                right += weight[i] * (1.0 if risk[i] > risk[j] else 0.5 if risk[i] == risk[j] else 0.0)
    return right / pairs


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(5, 60), digits=st.integers(0, 3))
def test_both_concordances_equal_the_double_loop(seed, n, digits):
    time, event, risk = followed(n, seed, digits)
    time[0] = time.max() + 1
    event[np.argmin(time)] = 1                                                           # so that two cases can be compared
    weight = np.array([1 / math.prod(1 - ((time == moment) & (event == 0)).sum() / (time >= moment).sum() for moment in set(time) if moment < own) ** 2
                       for own in time])
    assert harrell(time, event, risk).c == pytest.approx(slow_concordance(time, event, risk, np.ones(n)), abs=1e-12)
    assert harrell(time, event, risk).c == pytest.approx(concordance_index(time, -risk, event), abs=1e-12)
    assert uno(time, event, risk).c == pytest.approx(slow_concordance(time, event, risk, weight), abs=1e-10)
    until = float(np.median(time))
    if ((time <= until) & (event == 1)).any():
        assert uno(time, event, risk, until).c == pytest.approx(slow_concordance(time, event, risk, weight * (time <= until)), abs=1e-10)


def test_blocks_do_not_show():
    time, event, risk = followed(1400, 5, 2)
    assert harrell(time, event, risk).c == pytest.approx(concordance_index(time, -risk, event), abs=1e-12)
    assert harrell(time, event, risk).c == pytest.approx(1 - harrell(time, event, -risk).c, abs=1e-12)


def test_the_error_of_a_concordance_is_that_of_repetition():
    found = [harrell(*followed(150, seed, 6)) for seed in range(200)]
    assert np.mean([one.error for one in found]) == pytest.approx(np.std([one.c for one in found]), rel=0.15)
    inside = np.mean([one.lower < np.mean([each.c for each in found]) < one.upper for one in found])
    assert inside > 0.90


def test_uno_s_concordance_does_not_move_with_censoring_and_harrell_s_does():
    """Strong censoring leaves early pairs only. With a risk that tells early events only, Harrell's C rises and Uno's stays."""
    rng = np.random.default_rng(2)
    n, until = 6000, 1.0
    risk = rng.normal(size=n)
    happens = rng.weibull(0.6, size=n) * np.exp(-np.where(risk > 0.5, 2.0, 0.0) * 1.0)
    truth = harrell(np.minimum(happens, until + 1e-9), happens <= until, risk).c
    leaves = rng.uniform(0, 1.3, size=n)
    time, event = np.minimum(happens, leaves), (happens <= leaves).astype(float)
    ours, theirs = uno(time, event, risk, until).c, harrell(time, event, risk).c
    assert abs(ours - truth) < 0.012 and abs(ours - truth) < abs(theirs - truth)


def test_nobody_to_compare_is_refused():
    with pytest.raises(ValueError, match="no two cases"):
        harrell(np.arange(1.0, 5), np.zeros(4), np.arange(4.0))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(8, 50), digits=st.integers(0, 2))
def test_the_area_at_a_time_equals_the_double_loop(seed, n, digits):
    time, event, risk = followed(n, seed, digits)
    weight = censoring_weights(time, event)
    moments = np.quantile(time, [0.3, 0.5, 0.8])
    for moment, found in zip(moments, time_dependent_auc(time, event, risk, moments)):
        right = pairs = 0.0
        for i in range(n):
            for j in range(n):
                if event[i] and time[i] <= moment < time[j]:
                    pairs += weight[i]
                    right += weight[i] * (1.0 if risk[i] > risk[j] else 0.5 if risk[i] == risk[j] else 0.0)
        assert (np.isnan(found) and pairs == 0) or found == pytest.approx(right / pairs, abs=1e-10)


def test_without_censoring_the_area_at_a_time_is_the_plain_one():
    from sklearn.metrics import roc_auc_score
    time, _, risk = followed(200, 1, 6)
    moment = float(np.median(time))
    assert time_dependent_auc(time, np.ones(200), risk, [moment])[0] == pytest.approx(roc_auc_score(time <= moment, risk), abs=1e-12)


def test_its_bounds_hold_it_and_are_the_same_for_the_same_seed():
    time, event, risk = followed(150, 8)
    moments = np.array([0.5, 1.0])
    value, (low, high, samples) = time_dependent_auc(time, event, risk, moments), time_dependent_auc_bounds(time, event, risk, moments, 300, 1)
    assert samples == 300 and (low < value).all() and (value < high).all() and (high - low < 0.4).all()
    again = time_dependent_auc_bounds(time, event, risk, moments, 300, 1)
    assert np.array_equal(low, again[0]) and np.array_equal(high, again[1])
    assert np.isnan(time_dependent_auc(time, event, risk, [time.max() + 1])[0])


def test_without_censoring_the_restricted_mean_is_a_mean_and_its_error_the_mean_s():
    time = np.random.default_rng(3).exponential(2.0, size=90)
    cut = np.minimum(time, 3.0)
    found = restricted_mean(kaplan_meier(time, np.ones(90)), 3.0)
    assert found.value == pytest.approx(cut.mean(), abs=1e-10) and found.error == pytest.approx(cut.std() / math.sqrt(90), abs=1e-10)


def test_with_censoring_its_area_is_lifelines_and_its_error_that_of_repetition():
    time, event, _ = followed(80, 2)
    assert restricted_mean(kaplan_meier(time, event), 1.0).value == pytest.approx(
        restricted_mean_survival_time(KaplanMeierFitter().fit(time, event), t=1.0), abs=1e-9)
    found = [restricted_mean(kaplan_meier(*followed(80, seed, 6)[:2]), 1.0) for seed in range(200)]
    assert np.mean([one.error for one in found]) == pytest.approx(np.std([one.value for one in found]), rel=0.15)


def test_a_horizon_beyond_the_follow_up_is_refused():
    with pytest.raises(ValueError, match="beyond"):
        restricted_mean(kaplan_meier(np.array([1.0, 2.0]), np.array([1, 0])), 2.5)


def test_a_difference_of_means_is_theirs():
    one, other = (restricted_mean(kaplan_meier(*data), 20) for data in (FREIREICH, PLACEBO))
    found = mean_difference(one, other)
    assert found.value == one.value - other.value > 0 and found.p < 0.001 and found.lower < found.value < found.upper
    assert mean_difference(one, one).p == 1
