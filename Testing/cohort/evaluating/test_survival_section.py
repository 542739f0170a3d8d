"""Survival: R's numbers on a real trial, groups and their warnings, landmark, and follow-up that cannot be told."""

from __future__ import annotations

import json

import numpy as np
import pandas
import pytest

from MRDeltaNetLib.cohort.evaluating.survival import section
from MRDeltaNetLib.cohort.evaluating.survival.follow_up import marks
from MRDeltaNetLib.config import EndpointConfig
from Testing.cohort.evaluating.clinical_subset import made_up, subset

COVARIATES = ("rx", "sex", "age", "obstruct", "perfor", "adhere", "node4", "extent")


@pytest.fixture(scope="module")
def colon(real_data):
    """R's survival::colon, recurrence, as the settings would ask for it."""
    frame = pandas.read_csv(real_data("survival/survival_colon.csv"))
    frame = frame[frame["etype"] == 1]
    return section(subset(frame, np.full(len(frame), np.nan), references={"rx": "Obs"}, clinical=("age",), endpoints={
        "recurrence": EndpointConfig("time", "status", groups=("rx",), covariates=COVARIATES, times=(365, 1095, 1825))}))


def followed(n=150, seed=0, **columns):
    rng = np.random.default_rng(seed)
    score = rng.random(n)
    happens, leaves = rng.exponential(30 * np.exp(1.5 * score)), rng.uniform(5, 70, n)
    return {"p_pcr": score, "os_time_months": np.minimum(happens, leaves).round(1) + 0.1, "os_event": (happens <= leaves).astype(float)} | columns, \
        (score + 0.3 * rng.normal(size=n) > 0.6).astype(float)


def one(frame, outcome, **settings):
    return section(subset(frame, outcome, scores=("p_pcr",), clinical=[name for name in frame if name not in ("p_pcr", "os_time_months", "os_event")], **settings))


def test_a_trial_is_told_as_r_tells_it(colon):
    """R 4.2.2, survival 3.5.3: survfit (conf.type log), survdiff, coxph (Efron), concordance, cox.zph."""
    found = colon.values["recurrence"]
    assert list(found["km"]) == ["rx=Obs", "rx=Lev", "rx=Lev+5FU"] and found["grouping"] == "rx"
    assert [found["km"]["rx=Obs"][key] for key in ("median", "lo", "hi")] == [1236, 803, 2036] and found["km"]["rx=Lev+5FU"]["median"] is None
    at = found["km"]["rx=Lev"]["at"]["1095"]
    assert [at[key] for key in ("surv", "lo", "hi")] == pytest.approx((0.5071202304306, 0.4540601156137, 0.5663807924737), abs=1e-12) and at["n_risk"] == 153
    assert found["logrank"] == pytest.approx({"chisq": 23.061738158319, "df": 2, "p": 9.822164138695e-06}, rel=1e-9)
    cox = {row["term"]: [row[key] for key in ("hr", "lo", "hi", "p")] for row in found["cox"]}
    assert list(cox)[:3] == ["rxLev", "rxLev+5FU", "sex"]
    assert cox["rxLev+5FU"] == pytest.approx((0.598162445181, 0.473892816965, 0.7550194854534, 1.525305408272e-05), rel=1e-8)
    assert cox["node4"] == pytest.approx((2.345848089331, 1.941424358084, 2.834518499423, 1.032028775345e-18), rel=1e-8)
    assert found["harrell_c"] == pytest.approx(0.6596243910253, abs=1e-10) and found["harrell_c_se"] == pytest.approx(0.01241457144865, abs=1e-10)
    assert found["ph_global_p"] == pytest.approx(0.01730980631411, abs=1e-10)
    assert found["cox_model"]["log_likelihood"] == pytest.approx([-3040.27580593544, -2972.46682486531], abs=1e-8)


def test_tables_and_figures_are_what_the_page_draws(colon):
    table = colon.tables["survival_recurrence_rx_groups"]
    assert dict(zip(table.columns, table.rows[2]))["Median, days"] == "not reached" and table.notes[0] == "Log-rank: chi-square 23.06, 2 degrees of freedom, p < 0.001."
    assert table.notes[2].startswith("Restricted mean, rx=Lev+5FU less rx=Obs: 234 days (122 to 345)")
    assert [dict(zip(table.columns, row))["Hazard ratio"] for row in table.rows][0] == "reference"
    figure = colon.figures["survival_recurrence_rx_km"]
    assert figure.kind == "kaplan_meier" and figure.data["risk_times"] == [0, 365, 1095, 1825] and figure.data["groups"][0]["n_risk"] == [315, 227, 155, 128]
    for group in figure.data["groups"]:
        assert len(group["time"]) <= 502 and (np.diff(group["time"]) >= 0).all() and (np.diff(group["survival"]) <= 0).all() and group["survival"][0] == 1
    assert len(colon.figures["survival_recurrence_schoenfeld"].data["panels"]) == 9
    assert {row["label"] for row in colon.figures["survival_recurrence_hazard_ratios"].data["rows"]} > {"rx: Lev vs Obs", "age, per unit"}
    json.dumps([colon.values, [each.data for each in colon.figures.values()]], allow_nan=False)


def test_without_an_endpoint_there_is_an_omission():
    assert section(subset({"age": [1.0, 2]}, [0, 1])).omissions[0].reason == "there is no endpoint"


def test_predicted_and_true_response_are_told_and_groups_chosen_on_these_cases_are_warned_of():
    part = one(*followed())
    found = part.values["os"]
    assert list(found["groupings"]) == ["predicted", "true"] and found["grouping"] == "predicted" and list(found["km"]) == ["predicted=non-pCR", "predicted=pCR"]
    assert found["groupings"]["predicted"]["chosen_on_these_cases"] and "very cases" in found["groupings"]["predicted"]["warning"]
    assert not found["groupings"]["true"]["chosen_on_these_cases"] and any("very cases" in note for note in part.notes)
    assert any("set the landmark" in note for note in part.notes)
    ratio = found["groupings"]["predicted"]["cox"][0]
    assert ratio["term"] == "predicted=pCR" and ratio["hi"] < 1
    means = found["groupings"]["predicted"]["restricted_mean"]
    assert means["differences"][0]["difference"] == pytest.approx(means["groups"]["predicted=pCR"]["mean"] - means["groups"]["predicted=non-pCR"]["mean"])


def test_a_locked_threshold_and_one_of_the_training_cases_are_not_warned_of():
    assert one(*followed(), threshold=0.5).values["os"]["groupings"]["predicted"]["warning"] is None
    training = subset(*followed(seed=1), scores=("p_pcr",), name="train")
    frame, outcome = followed()
    other = section(subset(frame, outcome, scores=("p_pcr",), clinical=(), name="external", training=training))
    assert other.values["os"]["groupings"]["predicted"]["warning"] is None
    own = section(subset(frame, outcome, scores=("p_pcr",), clinical=(), name="train", threshold=0.5))
    assert "has learned from these very cases" in own.values["os"]["groupings"]["predicted"]["warning"]


def test_scores_are_ranked_as_promising_later_events():
    found = one(*followed(400)).values["os"]
    told = found["scores"]["p_pcr"]
    assert told["harrell"]["c"] > 0.58 and told["harrell"]["lo"] < told["harrell"]["c"] < told["harrell"]["hi"] and abs(told["uno"]["c"] - told["harrell"]["c"]) < 0.05
    assert all(0.5 < each["auc"] < 0.9 and each["lo"] < each["auc"] < each["hi"] for each in told["time_dependent_auc"].values())
    assert found["cox"][0]["term"] == "p_pcr" and found["cox"][0]["hr"] < 1
    assert found["harrell_c"] == pytest.approx(told["harrell"]["c"], abs=1e-12)                # the only covariate ranks as the score does


def test_follow_up_is_counted_from_the_landmark():
    frame, outcome = followed(200)
    setting = lambda landmark: {"os": EndpointConfig("os_time_months", "os_event", unit="months", landmark=landmark)}
    found = one(frame, outcome, endpoints=setting(10.0))
    stay = frame["os_time_months"] > 10
    assert found.values["os"]["n"] == stay.sum() and list(found.values["os"]["left_out"].values()) == [200 - stay.sum()]
    later = {name: values[stay] for name, values in frame.items()} | {"os_time_months": frame["os_time_months"][stay] - 10}
    same = one(later, outcome[stay], endpoints=setting(None), threshold=0.5).values["os"]
    assert one(frame, outcome, endpoints=setting(10.0), threshold=0.5).values["os"]["logrank"] == pytest.approx(same["logrank"])
    assert any("counted from the landmark at 10 months" in note for note in found.notes) and not any("set the landmark" in note for note in found.notes)


def test_cases_that_cannot_be_followed_are_left_out_and_counted():
    frame, outcome = followed(100)
    frame["os_time_months"][:3], frame["os_event"][3:5] = -1.0, 2.0
    frame["os_time_months"][5] = np.nan
    part = one(frame, outcome)
    assert part.values["os"]["n"] == 94 and part.values["os"]["left_out"] == {"no time or no event": 1, "a negative or infinite time": 3,
                                                                               "an event that is neither 0 nor 1": 2}
    assert {omission.reason for omission in part.omissions} == {"3 cases with a negative or infinite time", "2 cases with an event that is neither 0 nor 1"}


def test_without_any_group_there_is_one_curve_of_all_cases():
    frame, _ = followed(60)
    part = section(subset({name: frame[name] for name in ("os_time_months", "os_event")}, np.full(60, np.nan), clinical=()))
    found = part.values["os"]
    assert found["grouping"] == "all" and found["km"]["All cases"]["n"] == 60 and found["logrank"] is None and found["groupings"]["all"]["cox"] == []
    assert part.figures["survival_os_all_km"].data["groups"][0]["label"] == "All cases" and found["groupings"]["all"]["restricted_mean"]["differences"] == []
    assert not any("Log-rank" in omission.what for omission in part.omissions)


def test_events_may_be_words():
    frame, outcome = followed(80)
    words = frame | {"os_event": np.where(frame["os_event"] == 1, "Yes", "no")}
    assert one(words, outcome).values["os"]["events"] == frame["os_event"].sum()


def test_all_censored_has_curves_and_says_what_is_missing():
    frame, outcome = followed(60)
    part = one(frame | {"os_event": np.zeros(60)}, outcome)
    found = part.values["os"]
    assert found["km"]["predicted=pCR"]["median"] is None and found["logrank"] is None and found["cox"] == [] and found["harrell_c"] is None
    assert {omission.what.split(" of ")[0] for omission in part.omissions} >= {"Log-rank test", "Cox models"}
    json.dumps([part.values, [each.data for each in part.figures.values()]], allow_nan=False)


def test_a_group_of_one_is_drawn_and_said():
    frame, outcome = followed(60, site=np.where(np.arange(60) == 0, "alone", "many"))
    part = one(frame, outcome, endpoints={"os": EndpointConfig("os_time_months", "os_event", groups=("site",))})
    assert part.values["os"]["km"]["site=alone"]["n"] == 1 and any("one case only in site=alone" in note for note in part.notes)


def test_covariates_that_cannot_be_fitted_are_left_out_and_the_rest_is_done():
    frame, outcome = followed(120)
    frame |= {"same": np.ones(120), "age": np.arange(120) % 37 + 40.0, "older": np.arange(120) % 37 + 50.0, "sign": frame["os_event"].copy()}
    part = one(frame, outcome)
    reasons = {omission.what: omission.reason for omission in part.omissions}
    assert "every case has the same value" in reasons["same in Cox models of os"] and "no maximum" in reasons["os: sign alone"]
    assert [row["term"] for row in part.values["os"]["cox_univariable"]] == ["age", "older", "p_pcr"] and part.values["os"]["cox"] == []
    part = one({name: values for name, values in frame.items() if name != "sign"}, outcome)
    assert [row["term"] for row in part.values["os"]["cox"]] == ["age", "p_pcr"]
    assert any(omission.what == "older in the Cox model of os" for omission in part.omissions)


def test_more_terms_than_events_leave_each_covariate_alone():
    frame, outcome = followed(60)
    frame["os_event"] = (np.arange(60) < 4).astype(float)
    frame |= {f"x{k}": np.random.default_rng(k).normal(size=60) for k in range(6)}
    part = one(frame, outcome)
    assert part.values["os"]["cox"] == [] and len(part.values["os"]["cox_univariable"]) >= 5
    assert any("4 events are not more than the 7 terms" in omission.reason for omission in part.omissions)


def test_numbers_are_grouped_by_the_given_cuts_or_at_the_median_with_a_warning():
    frame, outcome = followed(90, age=np.arange(90.0))
    setting = {"os": EndpointConfig("os_time_months", "os_event", groups=("age", "absent"))}
    at_median = one(frame, outcome, endpoints=setting)
    assert list(at_median.values["os"]["km"]) == ["age<44.5", "age>=44.5"] and at_median.values["os"]["groupings"]["age"]["chosen_on_these_cases"]
    assert any(omission.what == "Survival by absent" for omission in at_median.omissions)
    cut = one(frame, outcome, endpoints=setting, cuts={"age": (30.0, 60.0)}).values["os"]
    assert list(cut["km"]) == ["age<30", "30<=age<60", "age>=60"] and cut["km"]["30<=age<60"]["n"] == 30 and not cut["groupings"]["age"]["chosen_on_these_cases"]


def test_cases_without_a_covariate_are_counted():
    assert any("2 of 240 cases lack a value" in note for note in section(made_up()).notes)


@pytest.mark.parametrize("columns,reason", [({"os_event": np.full(20, np.nan)}, "0 cases can be told; 20 with no time or no event"),
                                            ({"os_time_months": np.full(20, -4.0)}, "20 cases with a negative")])
def test_an_endpoint_that_nobody_has_is_an_omission(columns, reason):
    frame, outcome = followed(20)
    part = one(frame | columns, outcome)
    assert part.values == {} and any(reason in omission.reason for omission in part.omissions)
    absent = one(frame, outcome, endpoints={"os": EndpointConfig("gone", "os_event")})
    assert absent.values == {} and "no column gone" in absent.omissions[0].reason


@pytest.mark.parametrize("longest,unit,told", [(3329, "days", (730, 1460, 2190, 2920)), (60, "months", (12, 24, 36, 48, 60)), (9.0, "years", (2, 4, 6, 8)),
                                               (0.4, "days", None), (47, "weeks", (10, 20, 30, 40))])
def test_marks_are_even_and_within_the_follow_up(longest, unit, told):
    found = marks(longest, unit)
    assert 2 <= len(found) <= 8 and max(found) <= longest and (told is None or found == told)


def test_the_same_input_gives_the_same_numbers():
    assert one(*followed()).values == one(*followed()).values
