"""Real tables, untouched, through the whole evaluation: what stands in evaluation.json is R's.

R 4.2.2 with pROC 1.18.0 and survival 3.5.3 on pROC's aSAH and survival::colon.
"""

from __future__ import annotations

import json

import pytest

from MRDeltaNetLib.cohort.evaluating import evaluate
from MRDeltaNetLib.config import EndpointConfig, EvaluationConfig, TableOneConfig
from MRDeltaNetLib.io.evaluation_table import read_table
from MRDeltaNetLib.io.evaluations import staged, write_evaluation


def written(path, config, folder):
    """evaluation.json of one table."""
    with staged(folder / "out") as place:
        write_evaluation(evaluate(read_table(path, "the table").frame, None, config), place, [])
    return json.loads((folder / "out" / "evaluation.json").read_text(encoding="utf-8"))


def test_bleeding_s_markers_and_odds_are_r_s(real_data, tmp_path):
    found = written(real_data("roc_dca/pROC_aSAH.csv"), EvaluationConfig(id="", positive="Poor", scores=("s100b", "ndka"), covariates=("s100b", "ndka", "age", "gender"),
                                                                        references={"gender": "Male"}, bootstrap=50), tmp_path)
    terms = {row["term"]: [row[key] for key in ("or", "lo", "hi", "p")] for row in found["logistic"]}
    assert list(terms) == ["(Intercept)", "s100b", "ndka", "age", "genderFemale"]
    assert terms["(Intercept)"] == pytest.approx((0.03571379894478, 0.004923120655099, 0.2590786463353, 0.0009812629324047), rel=1e-9)
    assert terms["ndka"] == pytest.approx((1.029463227077, 0.9961359891309, 1.063905478234, 0.08373946560975), rel=1e-9)
    assert found["discrimination"]["s100b"]["auc"] == pytest.approx(0.7313685636856, abs=1e-12)
    assert found["fusion"]["models"]["score"]["auc"] == found["discrimination"]["s100b"]["auc"] and found["fusion"]["fitted_on"] == "the other folds"


def test_recurrence_by_treatment_is_r_s(real_data, tmp_path):
    config = EvaluationConfig(id="id", outcome="", keep={"etype": ("1",)}, references={"rx": "Obs"}, bootstrap=50, table_one=TableOneConfig(by="rx"),
                              endpoints={"recurrence": EndpointConfig("time", "status", groups=("rx",), times=(365, 1095, 1825),
                                                                      covariates=("rx", "sex", "age", "obstruct", "perfor", "adhere", "node4", "extent"))})
    found = written(real_data("survival/survival_colon.csv"), config, tmp_path)
    told = found["survival"]["recurrence"]
    assert {name: curve["median"] for name, curve in told["km"].items()} == {"rx=Obs": 1236, "rx=Lev": 1183, "rx=Lev+5FU": None}
    at = told["km"]["rx=Lev+5FU"]["at"]["1825"]
    assert [at[key] for key in ("surv", "lo", "hi", "n_risk")] == pytest.approx((0.6152440701231, 0.5624075531632, 0.67304442071, 174), abs=1e-11)
    assert told["logrank"]["p"] == pytest.approx(9.822164138695e-06, rel=1e-9)
    extent = {row["term"]: row for row in told["cox"]}["extent"]
    assert [extent[key] for key in ("hr", "lo", "hi", "p")] == pytest.approx((1.630432123175, 1.304148524762, 2.038348284575, 1.780100021516e-05), rel=1e-8)
    assert told["harrell_c"] == pytest.approx(0.6596243910253, abs=1e-10) and told["ph_global_p"] == pytest.approx(0.01730980631411, abs=1e-10)
    assert {row["variable"]: row["p"] for row in found["table_one"]}["sex"] == pytest.approx(0.02829630175882, abs=1e-11)


def test_arrests_after_release_run_as_they_are(real_data, tmp_path):
    """lifelines' own example: coxph(Surv(week, arrest) ~ fin + age + race + wexp + mar + paro + prio), Efron; its documentation prints exp(coef) of fin 0.68 (0.47 to 1.00)
    and p 0.05, of age 0.94 and of prio 1.10, and a concordance of 0.64."""
    config = EvaluationConfig(id="", outcome="", bootstrap=50, endpoints={"arrest": EndpointConfig("week", "arrest", unit="weeks", groups=("fin",))})
    told = written(real_data("survival/lifelines_rossi.csv"), config, tmp_path)["survival"]["arrest"]
    rows = {row["term"]: row for row in told["cox"]}
    assert [round(rows["fin"][key], 2) for key in ("hr", "lo", "hi", "p")] == [0.68, 0.47, 1.00, 0.05]
    assert round(rows["age"]["hr"], 2) == 0.94 and round(rows["prio"]["hr"], 2) == 1.10 and round(told["harrell_c"], 2) == 0.64
    assert list(told["km"]) == ["fin=0", "fin=1"]
