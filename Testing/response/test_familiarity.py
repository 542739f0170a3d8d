"""The light follows the distances that the literature defines, and is green, amber or red where it should be."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf, ledoit_wolf_shrinkage

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.response import familiarity
from MRDeltaNetLib.response.familiarity import fit_reference, judge

SCAN = {"manufacturer": "SIEMENS", "field_strength_t": 1.5, "repetition_time_ms": 4000.0, "echo_time_ms": 100.0, "spacing_mm": (0.7, 0.7, 3.0)}


def facts(pre=None, post=None, days=80) -> dict:
    return {"pre": SCAN | (pre or {}), "post": SCAN | (post or {}), "interval_days": days, "measures": {"pre_volume_ml": 3.0}}


def embeddings(n=200, k=6, seed=0) -> np.ndarray:
    """Correlated Gaussian rows."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, k)) @ rng.normal(size=(k, k)) + 3.0


def curves(n=200, seed=1) -> np.ndarray:
    """Percentile curves of crops whose brightness and contrast vary a little."""
    rng = np.random.default_rng(seed)
    base = np.quantile(np.random.default_rng(9).normal(size=4000), np.linspace(0, 1, 101))
    return rng.normal(0, 0.1, (n, 2, 1)) + rng.normal(1, 0.1, (n, 2, 1)) * base


@pytest.fixture(scope="module")
def reference():
    return fit_reference(embeddings(), curves(), [facts(days=60 + k % 30) for k in range(200)])


@pytest.mark.parametrize("n, k", [(200, 6), (30, 12), (15, 40), (12, 300)])
def test_shrinkage_mean_and_precision_are_ledoit_and_wolf_s(n, k):
    """Oracle: scikit-learn, also where there are fewer cases than numbers."""
    rows = embeddings(n, k, seed=n)
    oracle = LedoitWolf().fit(rows)
    assert familiarity.shrinkage(rows - rows.mean(0)) == pytest.approx(ledoit_wolf_shrinkage(rows), rel=1e-9)
    mean, precision, _ = familiarity._mahalanobis(rows)
    assert np.allclose(mean, oracle.location_) and np.allclose(precision, oracle.precision_, rtol=1e-6, atol=1e-9 * np.abs(oracle.precision_).max())


@pytest.mark.parametrize("n, k", [(40, 4), (20, 30), (11, 100)])
def test_leave_one_out_distances_are_those_of_really_leaving_each_case_out(n, k):
    """By brute force: mean, covariance and its trace without the case, the shrinkage weight of all cases."""
    rows = embeddings(n, k, seed=n)
    weight = ledoit_wolf_shrinkage(rows)
    expected = []
    for i in range(n):
        others = np.delete(rows, i, 0)
        covariance = np.cov(others, rowvar=False, bias=True)
        shrunk = (1 - weight) * covariance + weight * np.trace(covariance) / k * np.eye(k)
        away = rows[i] - others.mean(0)
        expected.append(np.sqrt(away @ np.linalg.solve(shrunk, away)))
    assert np.allclose(familiarity._mahalanobis(rows)[2], expected, rtol=1e-6)


def test_leave_one_out_curve_distances_are_those_of_really_leaving_each_case_out():
    rows = curves(25)
    for i, found in enumerate(familiarity._curve_distances(rows)):
        others = np.delete(rows, i, 0)
        sd = np.maximum(others.std(0, ddof=1), familiarity.MIN_SD)
        assert found == pytest.approx(np.mean(np.abs(rows[i] - others.mean(0)) / sd), rel=1e-9)


def test_new_cases_of_the_same_kind_are_mostly_green_and_each_distance_alarms_as_often_as_it_says(reference):
    """1000 new cases of the training distribution: each distance is amber or red in about 5 %, red in about 1 %."""
    rows, new_curves = embeddings(1200)[200:], curves(1200)[200:]
    first = fit_reference(embeddings(1200)[:200], curves(1200)[:200], [facts()] * 200)
    lights = [[part.light for part in judge(first, row, curve, facts()).parts] for row, curve in zip(rows, new_curves)]
    for column in (1, 2):
        alarms = np.mean([one[column] != "green" for one in lights])
        assert 0.015 < alarms < 0.12 and np.mean([one[column] == "red" for one in lights]) < 0.05
    assert {one[0] for one in lights} == {"green"}


def test_the_mean_case_is_green_and_one_far_away_is_red_for_its_own_reason(reference):
    centre, curve = reference.embedding_mean, reference.percentile_mean
    good = judge(reference, centre, curve, facts())
    assert good.light == "green" and [part.light for part in good.parts] == ["green"] * 3 and good.parts[2].quantile == 0 and good.training_cases == 200
    far = judge(reference, centre + 50, curve, facts())
    assert far.light == "red" and [part.light for part in far.parts] == ["green", "green", "red"] and "network sees" in far.reasons[0]
    bright = judge(reference, centre, curve + 3, facts())
    assert bright.light == "red" and [part.light for part in bright.parts] == ["green", "red", "green"] and "brightness" in bright.reasons[0]


@pytest.mark.parametrize("quantile, light", [(0.90, "green"), (0.955, "amber"), (0.97, "amber"), (0.995, "red")])
def test_the_thresholds_are_those_that_are_named(reference, quantile, light):
    """An embedding at a chosen distance along one axis of the precision."""
    assert (familiarity.AMBER_QUANTILE, familiarity.RED_QUANTILE) == (0.95, 0.99)
    distances = reference.embedding_distances
    wanted = (distances[int(quantile * 200) - 1] + distances[int(quantile * 200)]) / 2
    direction = np.eye(6)[0] / np.sqrt(reference.embedding_precision[0, 0])
    found = judge(reference, reference.embedding_mean + wanted * direction, reference.percentile_mean, facts()).parts[2]
    assert found.distance == pytest.approx(wanted, rel=1e-4) and found.quantile == pytest.approx(quantile, abs=0.006) and found.light == light


@pytest.mark.parametrize("changed, says", [
    ({"post": {"field_strength_t": 3.0}}, "field strength after treatment 3 T, in training 1.5 T"),
    ({"pre": {"repetition_time_ms": 9000.0}}, "repetition time before treatment 9000 ms"),
    ({"post": {"echo_time_ms": 20.0}}, "echo time after treatment"), ({"pre": {"spacing_mm": (0.7, 0.7, 6.0)}}, "slice distance before treatment 6 mm"),
    ({"pre": {"manufacturer": "Doe^Jane imaging"}}, "scanner before treatment of a maker that made none"), ({"days": 400}, "interval 400 days, in training 60 to 89 days")])
def test_a_header_out_of_range_is_amber_named_and_never_red(reference, changed, says):
    found = judge(reference, reference.embedding_mean, reference.percentile_mean, facts(**changed))
    assert found.light == "amber" and found.parts[0].light == "amber" and len(found.reasons) == 1 and says in found.reasons[0]
    assert "Doe" not in json.dumps(found.as_json())                            # what a stranger's header says is not repeated


@pytest.mark.parametrize("changed", [{"pre": {"manufacturer": "Siemens Healthineers"}}, {"post": {"field_strength_t": 1.4999}}, {"days": 60}, {"days": 89}])
def test_what_only_looks_different_in_a_header_is_green(reference, changed):
    assert judge(reference, reference.embedding_mean, reference.percentile_mean, facts(**changed)).light == "green"


def test_a_silent_header_is_not_known_rather_than_green(reference):
    found = judge(reference, reference.embedding_mean, reference.percentile_mean, {})
    header = found.parts[0]
    assert header.light is None and "field strength" in header.reasons[0] and found.light == "green"
    assert any("does not tell" in reason for reason in found.reasons) and found.as_json()["parts"][0]["light"] == "not known"
    silent = fit_reference(embeddings(), curves(), [{}] * 200)
    told = judge(silent, silent.embedding_mean, silent.percentile_mean, facts())
    assert told.parts[0].light is None and "nothing to compare" in told.parts[0].reasons[0]


def test_numbers_in_a_header_that_are_no_numbers_count_as_not_told(reference):
    odd = facts(pre={"field_strength_t": float("nan"), "echo_time_ms": True, "repetition_time_ms": "4000"}, days=None)
    found = judge(reference, reference.embedding_mean, reference.percentile_mean, odd)
    assert found.parts[0].light == "green" and {"field strength", "echo time", "repetition time", "interval"} <= set(
        found.parts[0].reasons[0].removeprefix("the header does not tell: ").split(", "))


def test_one_member_s_embedding_is_not_judged_and_does_not_make_the_case_green(reference):
    """The reference knows the members' embeddings side by side; what one of them sees has no yardstick."""
    found = judge(reference, None, reference.percentile_mean, facts())
    assert found.parts[2].light is None and found.parts[2].distance is None and "one member" in found.parts[2].reasons[0]
    assert found.light == "green" and any("one member" in reason for reason in found.reasons)


def test_without_a_reference_the_light_is_not_known_and_not_green():
    found = familiarity.unknown()
    assert found.light is None and found.as_json()["light"] == "not known" and "no reference" in found.as_json()["reasons"][0] and familiarity.notices(found) == ()


@pytest.mark.parametrize("shift, code", [(0, None), (50, "MRD-W715")])
def test_red_warns(reference, shift, code):
    found = familiarity.notices(judge(reference, reference.embedding_mean + shift, reference.percentile_mean, facts()))
    assert [notice.code for notice in found] == ([code] if code else [])


def test_amber_warns_with_its_reason(reference):
    (notice,) = familiarity.notices(judge(reference, reference.embedding_mean, reference.percentile_mean, facts(post={"field_strength_t": 3.0})))
    assert notice.code == "MRD-W714" and "3 T" in notice.text and notice.fix


UNFIT = {
    "too few cases": (embeddings(9), curves(9), 9), "other numbers of cases": (embeddings(20), curves(19), 20), "headers missing": (embeddings(20), curves(20), 19),
    "flat embeddings": (embeddings(20)[:, 0], curves(20), 20), "100 percentiles": (embeddings(20), curves(20)[:, :, :100], 20),
    "NaN embedding": (np.where(np.eye(20, 6) > 0, np.nan, embeddings(20)), curves(20), 20), "infinite percentile": (embeddings(20), curves(20) * np.inf, 20),
    "huge embedding": (np.ones((20, 5000)), curves(20), 20), "embeddings all alike": (np.ones((20, 6)), curves(20), 20), "no embedding": (np.ones((20, 0)), curves(20), 20),
}


@pytest.mark.parametrize("case", UNFIT)
def test_training_cases_that_make_no_reference_are_refused(case):
    rows, lines, headers = UNFIT[case]
    with pytest.raises(InputError) as caught:
        fit_reference(rows, lines, [facts()] * headers)
    assert caught.value.code == "MRD-E708" and "same training cases" in caught.value.fix


@pytest.mark.parametrize("embedding, percentiles", [(np.ones(5), np.ones((2, 101))), (np.ones(6), np.ones((2, 100))), (np.full(6, np.nan), np.ones((2, 101))),
                                                    (np.ones(6), np.full((2, 101), np.inf))])
def test_a_case_that_cannot_be_compared_is_refused(reference, embedding, percentiles):
    with pytest.raises(InputError) as caught:
        judge(reference, embedding, percentiles, facts())
    assert caught.value.code == "MRD-E709"
