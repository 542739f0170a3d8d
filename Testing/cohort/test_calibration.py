"""Prior shift, recalibration and thresholds, against scikit-learn and against counting."""

from __future__ import annotations

import math

import numpy as np
import pytest

from MRDeltaNetLib.cohort import calibration
from MRDeltaNetLib.cohort.statistics import sigmoid
from MRDeltaNetLib.config import ThresholdConfig
from MRDeltaNetLib.errors import InputError

linear = pytest.importorskip("sklearn.linear_model", reason="the oracle is scikit-learn")
metrics = pytest.importorskip("sklearn.metrics")


def scores(cases: int = 300, share: float = 0.25, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    outcome = (random.random(cases) < share).astype(int)
    return outcome, random.normal(1.4 * outcome, 1.0)


def test_prior_shift_is_bayes_under_another_prior():
    outcome_likelihood = np.array([0.2, 1.0, 3.0])                       # p(x | pCR) / p(x | non-pCR)
    sampled, prevalence = 0.5, 0.2
    posterior = outcome_likelihood * sampled / (outcome_likelihood * sampled + 1 - sampled)
    wanted = outcome_likelihood * prevalence / (outcome_likelihood * prevalence + 1 - prevalence)
    found = sigmoid(calibration.prior_shift(np.log(posterior / (1 - posterior)), sampled, prevalence))
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("scale, offset", [(1.0, 0.0), (1e-3, 5.0), (40.0, -300.0)])
def test_platt_is_logistic_regression_without_penalty(scale, offset):
    outcome, logit = scores()
    logit = scale * logit + offset
    slope, intercept = calibration.platt(outcome, logit)
    standard = (logit - logit.mean()) / logit.std()
    oracle = linear.LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(standard[:, None], outcome)
    assert slope * logit.std() == pytest.approx(oracle.coef_[0, 0], rel=1e-5)
    np.testing.assert_allclose(sigmoid(slope * logit + intercept), oracle.predict_proba(standard[:, None])[:, 1], atol=1e-6)


def test_platt_is_statsmodels_glm():
    models = pytest.importorskip("statsmodels.api", reason="statsmodels is not installed; scikit-learn is the oracle above")
    outcome, logit = scores()
    oracle = models.GLM(outcome, models.add_constant(logit), family=models.families.Binomial()).fit(tol=1e-12)
    assert calibration.platt(outcome, logit) == pytest.approx((oracle.params[1], oracle.params[0]), rel=1e-6)


@pytest.mark.parametrize("outcome, logit", [([0, 0, 1, 1], [-2.0, -1.0, 1.0, 2.0]), ([1, 1, 0, 0], [-2.0, -1.0, 1.0, 2.0]),
                                            ([0, 0, 1, 1], [0.0, 1.0, 1.0, 2.0]), ([0, 1, 0, 1], [1.0, 1.0, 1.0, 1.0]),
                                            ([1, 1, 1], [0.0, 1.0, 2.0]), ([0, 1, 0, 1], [0.0, math.nan, 1.0, 2.0])])
def test_platt_is_refused_where_no_maximum_exists(outcome, logit):
    with pytest.raises(InputError) as caught:
        calibration.platt(np.array(outcome), np.array(logit))
    assert caught.value.code == "MRD-E778"


def test_recalibrated_scores_are_calibrated_and_the_line_is_the_composition():
    outcome, logit = scores(2000)
    trained = 2.5 * logit + 0.7                                          # over-confident and off
    found = calibration.recalibrated(outcome, trained, sampled=0.5, prevalence=None)
    assert found.method == "platt" and not found.notices
    assert calibration.platt(outcome, found.slope * trained + found.intercept) == pytest.approx((1, 0), abs=1e-6)
    assert found.probability(trained).mean() == pytest.approx(outcome.mean(), abs=1e-8)      # maximum likelihood with an intercept: means agree


def networks(cases: int, folds: int, seed: int, error: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes (cases,) and logits (folds, cases) of networks with errors of their own on cases that none of them learned from."""
    random = np.random.default_rng(seed)
    outcome = (random.random(cases) < 0.4).astype(int)
    return outcome, random.normal(2.5 * outcome, 1.0)[None] + random.normal(0, error, (folds, cases))


@pytest.mark.parametrize("folds, repeats", [(3, 1), (5, 1), (5, 2)])
def test_the_ensembles_probabilities_are_right_although_the_line_was_fitted_on_fewer_networks(folds, repeats):
    outcome, logits = networks(40_000, folds * repeats, seed=folds)
    single = logits[:repeats].mean(0)                                    # as out of fold: one network a repeat held the case out
    line = calibration.recalibrated(outcome, single, sampled=0.5, prevalence=None)
    stretch = calibration.ensemble_stretch(outcome, single, list(logits[:2, :8000].T), repeats, folds * repeats)
    shipped = calibration.for_ensemble(line, stretch)
    fresh, more = networks(40_000, folds * repeats, seed=99)
    before, after = (calibration.platt(fresh, one.slope * more.mean(0) + one.intercept) for one in (line, shipped))
    assert before[0] > 1.15 and after == pytest.approx((1, 0), abs=0.05)
    truth = 1.0 + 1.0 / repeats
    assert stretch.factor == pytest.approx(truth / (1.0 + 1.0 / (folds * repeats)), rel=0.04) and stretch.cases == 8000


def test_networks_that_agree_need_no_stretch_and_too_few_cases_give_none():
    outcome, logits = networks(500, 3, seed=1, error=0.0)
    agreeing = calibration.ensemble_stretch(outcome, logits[0], list(logits[:2].T), 1, 3)
    assert agreeing.factor == pytest.approx(1.0) and agreeing.member_variance == pytest.approx(0.0)
    few = calibration.ensemble_stretch(outcome, logits[0], list(logits[:2, :calibration.MIN_UNSEEN - 1].T), 1, 3)
    assert few.factor == 1.0 and few.member_variance is None
    assert calibration.ensemble_stretch(outcome, logits[0], list(logits[:2].T), 1, 1).factor == 1.0      # one network is no ensemble


def test_a_stretch_is_never_larger_than_its_limit_and_turns_about_the_prevalence():
    outcome, logits = networks(300, 4, seed=2, error=8.0)
    wild = calibration.ensemble_stretch(outcome, logits[0], list(100 * logits[:2].T), 1, 4)
    assert wild.factor == calibration.MAX_STRETCH
    line = calibration.recalibrated(outcome, logits[0], sampled=0.5, prevalence=0.2)
    shipped, neutral = calibration.for_ensemble(line, wild), line.logit_of(0.2)
    assert shipped.probability(neutral) == pytest.approx(0.2) and shipped.slope == pytest.approx(2 * line.slope)


def test_a_threshold_keeps_its_cut_of_the_logit():
    outcome, logit = scores()
    line = calibration.recalibrated(outcome, logit, sampled=0.5, prevalence=None)
    shipped = calibration.for_ensemble(line, calibration.Stretch(1.4))
    chosen = calibration.choose_threshold(outcome, line.probability(logit), ThresholdConfig())
    moved = calibration.at_same_logit(chosen, line, shipped)
    assert ((shipped.probability(logit) >= moved.value) == (line.probability(logit) >= chosen.value)).all()
    assert moved.point.threshold == moved.value and moved.point.sensitivity == chosen.point.sensitivity
    assert calibration.at_same_logit(chosen, line, line) is chosen


def test_another_prevalence_of_use_moves_every_logit_by_the_difference_of_log_odds():
    outcome, logit = scores()
    here = calibration.recalibrated(outcome, logit, sampled=0.5, prevalence=None)
    there = calibration.recalibrated(outcome, logit, sampled=0.5, prevalence=0.1)
    assert there.slope == here.slope
    assert there.intercept - here.intercept == pytest.approx(calibration.log_odds(0.1) - calibration.log_odds(outcome.mean()))


def test_separated_scores_are_shifted_only_and_said_so():
    outcome, logit = np.array([0] * 6 + [1] * 2), np.arange(8.0)
    found = calibration.recalibrated(outcome, logit, sampled=0.5, prevalence=None)
    assert (found.slope, found.method) == (1.0, "prior shift only")
    assert found.intercept == pytest.approx(calibration.log_odds(0.25))
    assert [notice.code for notice in found.notices] == ["MRD-W773"]


def test_a_negative_slope_never_turns_the_model_round():
    outcome, logit = scores()
    found = calibration.recalibrated(outcome, -logit, sampled=0.5, prevalence=None)
    assert found.slope == 1.0 and [notice.code for notice in found.notices] == ["MRD-W774"]


def test_youden_reaches_the_best_point_of_the_roc_curve():
    outcome, logit = scores()
    probability = sigmoid(logit)
    false, true, _ = metrics.roc_curve(outcome, probability)
    found = calibration.choose_threshold(outcome, probability, ThresholdConfig(rule="youden"))
    assert found.point.sensitivity.value + found.point.specificity.value - 1 == pytest.approx((true - false).max(), abs=1e-12)


@pytest.mark.parametrize("wanted", [0.5, 0.9, 0.95, 0.999])
def test_specificity_rule_is_the_most_sensitive_point_that_is_specific_enough(wanted):
    outcome, logit = scores()
    probability = sigmoid(logit)
    false, true, _ = metrics.roc_curve(outcome, probability, drop_intermediate=False)
    found = calibration.choose_threshold(outcome, probability, ThresholdConfig(rule="specificity", specificity=wanted))
    assert found.point.specificity.value >= wanted - 1e-9
    assert found.point.sensitivity.value == pytest.approx(true[1 - false >= wanted - 1e-9].max(), abs=1e-12)


def test_specificity_is_reached_even_when_a_non_responder_scores_highest():
    found = calibration.choose_threshold(np.array([0, 1, 0]), np.array([0.1, 0.5, 0.9]), ThresholdConfig(rule="specificity", specificity=0.99))
    assert 0.9 < found.value < 1 and found.point.sensitivity.value == 0


@pytest.mark.parametrize("ratio, prevalence", [(1.0, None), (5.0, None), (20.0, 0.1), (0.1, 0.4)])
def test_cost_rule_costs_least(ratio, prevalence):
    outcome, logit = scores()
    probability = sigmoid(logit)
    used = outcome.mean() if prevalence is None else prevalence

    def cost(cut):
        called = probability >= cut
        return ratio * (1 - used) * called[outcome == 0].mean() + used * (~called[outcome == 1]).mean()

    found = calibration.choose_threshold(outcome, probability, ThresholdConfig(rule="cost", cost_ratio=ratio, prevalence=prevalence))
    assert cost(found.value) == pytest.approx(min(cost(cut) for cut in [0.0, *probability, 1.0]), abs=1e-12)


def test_dearer_mistakes_raise_the_threshold_to_the_calibrated_one():
    """Of well calibrated probabilities the cheapest threshold is cost_ratio / (1 + cost_ratio) (Elkan 2001)."""
    random = np.random.default_rng(0)
    probability = random.random(200_000)
    outcome = random.random(200_000) < probability
    value = calibration.cost_threshold(outcome[:4000], probability[:4000], 3.0, float(outcome[:4000].mean()))
    assert value == pytest.approx(0.75, abs=0.05)


def test_thresholds_stay_inside_what_a_bundle_may_hold():
    found = calibration.choose_threshold(np.array([0, 0, 1, 1]), np.array([0.0, 1.0, 0.0, 1.0]), ThresholdConfig(rule="youden"))
    assert 0 < found.value < 1
