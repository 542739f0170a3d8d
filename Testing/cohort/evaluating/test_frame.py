"""Tables of an evaluation become cases: types, joins, sets, and everything that is refused before anything is computed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pandas = pytest.importorskip("pandas", reason="the cohort extra is not installed")

from MRDeltaNetLib.cohort.evaluating.frame import cases  # noqa: E402
from MRDeltaNetLib.config import EndpointConfig, EvaluationConfig, TableOneConfig  # noqa: E402
from MRDeltaNetLib.errors import InputError, MRDeltaNetError, UsageError  # noqa: E402
from MRDeltaNetLib.io.cohort_table import Column  # noqa: E402
from MRDeltaNetLib.io.evaluation_table import read_table  # noqa: E402

PREDICTIONS = {"id": ["a", "b", "c", "d"], "set": ["train", "external", "train", "external"], "outcome": [1, 0, 0, 1], "p_pcr": [0.9, 0.2, 0.3, 0.6]}
COHORT = {"id": ["d", "c", "b", "a"], "age": [40.0, 30.0, 20.0, 10.0], "sex": ["f", "m", None, "f"]}


def found(predictions, cohort=None, config=EvaluationConfig(), dictionary=None):
    return cases(pandas.DataFrame(predictions), None if cohort is None else pandas.DataFrame(cohort), config, dictionary or {})


def refused(kind, predictions, cohort=None, config=EvaluationConfig()) -> MRDeltaNetError:
    with pytest.raises(kind) as caught:
        found(predictions, cohort, config)
    return caught.value


def from_file(tmp_path, text: str, config=EvaluationConfig()):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    return cases(read_table(path, "the table of predictions").frame, None, config, {})


def test_clinical_values_come_beside_their_case_whatever_the_order():
    subsets = found(PREDICTIONS, COHORT).subsets
    assert list(subsets) == ["train", "external"]
    assert subsets["train"].frame["age"].tolist() == [10.0, 30.0] and subsets["external"].frame["sex"].tolist() == [None, "f"]
    assert subsets["train"].clinical == ("age", "sex")
    assert subsets["external"].training is subsets["train"] and subsets["train"].training is None


def test_sets_stand_in_the_order_of_a_study_and_the_most_external_is_the_main_one():
    names = ["b", "external", "train", "internal"]
    assert list(found(PREDICTIONS | {"set": names}).subsets) == ["train", "internal", "external", "b"]
    assert [found(PREDICTIONS | {"set": sets}).config.main_set for sets in (names, ["internal", "train"] * 2, ["train"] * 4, ["x"] * 4, ["train", "test"] * 2)] == [
        "external", "internal", "train", "x", "test"]
    without = {name: values for name, values in PREDICTIONS.items() if name != "set"}
    assert list(found(without).subsets) == ["all"] and found(without).config.main_set == "all"
    assert refused(UsageError, PREDICTIONS, config=EvaluationConfig(main_set="test")).code == "MRD-E485"


def test_a_case_without_a_set_is_refused_where_there_are_sets():
    problem = refused(InputError, PREDICTIONS | {"set": ["train", None, "train", "external"]})
    assert problem.code == "MRD-E451" and problem.found.startswith("1 case")
    assert list(found(PREDICTIONS, config=EvaluationConfig(set="")).subsets) == ["all"]


@pytest.mark.parametrize("values", [[1, 0, 0, 1], [True, False, False, True], ["yes", "no", "No", "YES"], ["1", "0", "0.0", "1.0"], [1.0, 0.0, 0.0, 1.0]])
def test_an_outcome_in_the_usual_words(values):
    subset = found(PREDICTIONS | {"outcome": values}, config=EvaluationConfig(set="")).subsets["all"]
    assert subset.outcome.tolist() == [1, 0, 0, 1]


def test_an_outcome_that_is_not_known_is_missing_and_no_zero():
    subset = found(PREDICTIONS | {"outcome": [1, None, np.nan, 0]}, config=EvaluationConfig(set="")).subsets["all"]
    assert np.array_equal(subset.outcome, [1, np.nan, np.nan, 0], equal_nan=True)
    outcome, (values,) = subset.judged("p_pcr")
    assert outcome.tolist() == [1, 0] and values.tolist() == [0.9, 0.6]


def test_the_positive_value_is_named_as_a_text_or_a_number():
    text = found(PREDICTIONS | {"outcome": ["Poor", "Good", None, "Poor"]}, config=EvaluationConfig(set="", positive="Poor")).subsets["all"].outcome
    assert np.array_equal(text, [1, 0, np.nan, 1], equal_nan=True)
    number = found(PREDICTIONS | {"outcome": [0.0, 2.0, 1.0, 3.0]}, config=EvaluationConfig(set="", positive="0")).subsets["all"].outcome
    assert number.tolist() == [1, 0, 0, 0]
    assert refused(InputError, PREDICTIONS | {"outcome": ["Poor", "Good"] * 2}, config=EvaluationConfig(positive="poor")).code == "MRD-E449"


@pytest.mark.parametrize("values, hint", [([1, 2, 2, 1], "from 1"), (["Good", "Poor"] * 2, "positive"), ([0, 1, 0.5, 1], "positive")])
def test_an_outcome_that_is_not_plain_is_refused_with_its_row(values, hint):
    problem = refused(InputError, PREDICTIONS | {"outcome": values})
    assert problem.code == "MRD-E449" and problem.what.startswith("Row ") and hint in problem.fix


def test_no_outcome_at_all_has_to_be_said():
    without = {name: values for name, values in PREDICTIONS.items() if name != "outcome"}
    problem = refused(InputError, without)
    assert problem.code == "MRD-E438" and 'outcome = ""' in problem.fix
    assert np.isnan(found(without, config=EvaluationConfig(outcome="", set="")).subsets["all"].outcome).all()


def test_every_p_column_is_a_probability_but_for_ranges_and_follow_up():
    table = PREDICTIONS | {"p_pcr_low": [0, 0, 0, 0], "p_pcr_high": [1, 1, 1, 1], "p_low": [0.1] * 4, "p_os_time_months": [1, 2, 3, 40], "p_os_event": [1, 0, 0, 1], "logit": [1, 2, 3, 4]}
    subset = found(table).subsets["train"]
    assert list(subset.scores) == ["p_pcr", "p_low"] and all(score.probability for score in subset.scores.values())
    assert subset.clinical == () and list(subset.config.endpoints) == ["p_os"]


def test_further_scores_only_rank_and_the_model_comes_first():
    table = PREDICTIONS | {"diameter": [30, 10, 20, 5]}
    subset = found(table, config=EvaluationConfig(scores=("diameter",), model="diameter", set="")).subsets["all"]
    assert list(subset.scores) == ["diameter", "p_pcr"] and not subset.model.probability
    assert refused(UsageError, table, config=EvaluationConfig(model="age")).code == "MRD-E485"


@pytest.mark.parametrize("value", [1.0000001, -0.1, 17.0])
def test_a_probability_outside_0_to_1_is_refused(value):
    problem = refused(InputError, PREDICTIONS | {"p_pcr": [0.9, 0.2, 0.3, value]})
    assert problem.code == "MRD-E496" and "1 case" in problem.found and "'scores'" in problem.fix


def test_a_score_may_be_missing_and_constant():
    subset = found(PREDICTIONS | {"p_pcr": [0.5, None, 0.5, 0.5]}, config=EvaluationConfig(set="")).subsets["all"]
    assert np.isnan(subset.scores["p_pcr"].values).sum() == 1


def test_booleans_and_words_stay_categories_and_numbers_become_numbers(tmp_path):
    text = "id,outcome,flag,word,number,empty,code\na,1,True,Yes,1,NA,01\nb,0,False,No,,,1\nc,0,NA,NA,1e3,,2.50\n"
    subset = from_file(tmp_path, text).subsets["all"]
    frame = subset.frame
    assert frame["flag"].tolist() == ["True", "False", None] and frame["word"].tolist() == ["Yes", "No", None]
    assert np.array_equal(frame["number"], [1, np.nan, 1000], equal_nan=True) and frame["code"].tolist() == [1.0, 1.0, 2.5]
    assert subset.clinical == ("flag", "word", "number", "code")
    from_python = found({"id": ["a", "b", "c"], "outcome": [1, 0, 0], "flag": [True, False, None], "word": ["Yes", "No", None], "number": [1, np.nan, 1e3],
                         "empty": [None] * 3, "code": [1, 1, 2.5]}).subsets["all"].frame
    pandas.testing.assert_frame_equal(from_python, frame)


def test_columns_that_are_no_clinical_values_are_left_out_and_told():
    table = {"id": range(10), "outcome": [0, 1] * 5, "rownames": range(2, 22, 2), "empty": [None] * 10, "remark": list("abcdefghij"), "latent_x": [1, 5] * 5}
    found_cases = found(table)
    assert found_cases.subsets["all"].clinical == ("remark",) and found_cases.simulated
    assert [notice.code for notice in found_cases.notices] == ["MRD-W462"] * 2
    many = {"id": range(60), "outcome": [0, 1] * 30, "remark": [f"text {k}" for k in range(60)]}
    assert found(many).subsets["all"].clinical == ()
    assert found(many, config=EvaluationConfig(covariates=("remark",))).subsets["all"].clinical == ("remark",)


@pytest.mark.parametrize("cell", ["12.3cm", "<5", "1,5", "n/a", "inf", "1_000", "0x1A", "\u0663"])
def test_a_text_in_a_column_of_numbers_is_refused_with_its_line(tmp_path, cell):
    with pytest.raises(InputError) as caught:
        from_file(tmp_path, f'id,outcome,age\na,1,61\nb,0,"{cell}"\nc,0,40\nd,1,NA\n')
    assert caught.value.code == "MRD-E444" and "Line 3, column 'age'" in caught.value.what and "categorical" in caught.value.fix


def test_a_text_in_a_score_is_refused_however_many_there_are(tmp_path):
    with pytest.raises(InputError) as caught:
        from_file(tmp_path, "id,outcome,p_pcr\na,1,high\nb,0,low\n")
    assert caught.value.code == "MRD-E444" and "Line 2" in caught.value.what


def test_numbers_that_are_categories_are_named(tmp_path):
    config = EvaluationConfig(table_one=TableOneConfig(categorical=("stage",)))
    assert from_file(tmp_path, "id,outcome,stage\na,1,3\nb,0,4a\nc,0,4\n", config).subsets["all"].frame["stage"].tolist() == ["3", "4a", "4"]
    assert from_file(tmp_path, "id,outcome,stage\na,1,3\nb,0,2\nc,0,4\n", config).subsets["all"].frame["stage"].tolist() == [3.0, 2.0, 4.0]


def test_an_infinite_number_is_refused():
    assert refused(InputError, PREDICTIONS | {"age": [1.0, np.inf, 2.0, 3.0]}).code == "MRD-E444"


def test_a_number_that_often_means_unknown_is_told():
    assert [notice.code for notice in found(PREDICTIONS | {"age": [61, 50, 999, 70]}).notices] == ["MRD-W432"]
    assert found(PREDICTIONS | {"cea": [400, 999, 900, 1200]}).notices == ()
    assert [notice.code for notice in found(PREDICTIONS | {"age": [61, 50, -9, 70]}).notices] == ["MRD-W432"]


def test_a_column_that_is_the_outcome_in_another_form_is_told():
    outcome = [0, 1, 0, 0, 1] * 6
    random = np.random.default_rng(1)
    table = {"id": range(30), "outcome": outcome, "age": random.normal(60, 9, 30), "grade": [random.choice([0, 1]) if y else random.choice([3, 4, 5]) for y in outcome],
             "class": ["good" if y else "poor" for y in outcome], "name": list("abcdefghijklmnopqrstuvwxyz1234")}
    told = found(table)
    assert [notice.text.split("'")[1] for notice in told.notices if notice.code == "MRD-W447"] == ["grade", "class"]
    assert "MRD-W447" not in [notice.code for notice in found(table, config=EvaluationConfig(covariates=("age",))).notices]
    assert not found({name: values[:6] for name, values in table.items()}).notices


def test_the_data_dictionary_says_what_is_unknown_a_category_or_no_value():
    dictionary = {"age": Column("number", missing=("-9",)), "code": Column("category", categories=("1", "2")), "note": Column("text"), "pre": Column("own")}
    cohort = COHORT | {"age": ["-9", "30", "20", "10"], "code": [1, 2, 1, 2], "note": ["x", "y", "z", "w"], "pre": ["scan/a"] * 4, "mrtrg": [1, 2, 3, 5]}
    subset = found(PREDICTIONS, cohort, EvaluationConfig(set=""), dictionary).subsets["all"]
    assert subset.clinical == ("age", "sex", "code", "mrtrg") and "pre" not in subset.frame
    assert np.isnan(subset.frame["age"].tolist()[3]) and subset.frame["code"].tolist() == ["2", "1", "2", "1"]


def test_an_id_twice_is_refused_naming_the_rows_and_not_the_patient(tmp_path):
    with pytest.raises(InputError) as caught:
        from_file(tmp_path, "id,outcome\nanna-miller,1\nb,0\nanna-miller,0\n")
    assert caught.value.code == "MRD-E442" and "line 2 and line 4" in caught.value.found and "miller" not in caught.value.text()
    assert refused(InputError, PREDICTIONS, COHORT | {"id": ["d", "c", "d", "a"]}).code == "MRD-E442"


def test_rows_are_chosen_before_ids_have_to_be_unique():
    table = {"id": [1, 1, 2, 2], "outcome": [1, 0, 0, 1], "etype": [1, 2, 1, 2]}
    for wanted in ("1", "1.0"):
        found_cases = found(table, config=EvaluationConfig(keep={"etype": (wanted,)}))
        assert found_cases.subsets["all"].outcome.tolist() == [1, 0] and found_cases.enrolled == 4
        assert found_cases.excluded == {f"etype is not {wanted}": 2} and found_cases.subsets["all"].clinical == ()
    assert refused(InputError, table, config=EvaluationConfig(keep={"etype": ("3",)})).code == "MRD-E497"


def test_a_text_in_a_row_that_is_not_kept_harms_nobody():
    table = PREDICTIONS | {"age": ["61", "x", "50", "40"], "arm": ["a", "b", "a", "a"]}
    assert len(found(table, config=EvaluationConfig(keep={"arm": ("a",)}, set="")).subsets["all"].outcome) == 3


def test_why_a_case_is_left_out_is_counted_set_by_set():
    cohort = {"id": ["a", "b", "c", "x"], "why": ["", "artefacts", "artefacts", ""], "arm": [1, 1, 1, 1], "set": ["train", "external", "train", "train"]}
    found_cases = found(PREDICTIONS, cohort, EvaluationConfig(excluded="why"))
    assert found_cases.excluded == {"artefacts": 2, "no prediction": 1} and found_cases.enrolled == 5
    assert found_cases.subsets["train"].excluded == {"no prediction": 1, "artefacts": 1} and found_cases.subsets["external"].excluded == {"artefacts": 1}
    assert "MRD-W461" in [notice.code for notice in found_cases.notices]
    assert refused(InputError, PREDICTIONS, {"id": list("abcd"), "why": ["x"] * 4}, EvaluationConfig(excluded="why")).code == "MRD-E497"


def test_a_case_that_the_cohort_s_rows_leave_out_goes_with_its_prediction():
    cohort = COHORT | {"arm": ["new", "old", "old", "new"]}
    found_cases = found(PREDICTIONS, cohort, EvaluationConfig(keep={"arm": ("new",)}, set=""))
    assert found_cases.subsets["all"].frame["age"].tolist() == [10.0, 40.0] and found_cases.excluded == {"arm is not new": 2}


def test_tables_of_other_patients_are_refused():
    problem = refused(InputError, PREDICTIONS, COHORT | {"id": ["w", "x", "y", "z"]})
    assert problem.code == "MRD-E495" and "4 ids" in problem.found


def test_a_column_of_both_tables_is_one_and_has_to_agree():
    subset = found(PREDICTIONS | {"outcome": [1, None, 0, 1]}, COHORT | {"outcome": [1, 0, 0, None]}, EvaluationConfig(set="")).subsets["all"]
    assert subset.outcome.tolist() == [1, 0, 0, 1]
    problem = refused(InputError, PREDICTIONS, COHORT | {"outcome": [1, 0, 0, 0]})
    assert problem.code == "MRD-E495" and "'outcome'" in problem.what and problem.found.startswith("1 case")
    assert refused(InputError, PREDICTIONS | {"age": [1, 2, 3, 4]}, COHORT | {"age": ["old", "young", "old", "young"]}).code == "MRD-E495"


def test_rows_have_names_unless_the_settings_say_that_they_have_none():
    without = {name: values for name, values in PREDICTIONS.items() if name != "id"}
    assert refused(InputError, without).code == "MRD-E438"
    assert len(found(without, config=EvaluationConfig(id="", set="")).subsets["all"].outcome) == 4
    assert refused(UsageError, without, COHORT, EvaluationConfig(id="")).code == "MRD-E486"
    assert refused(InputError, PREDICTIONS | {"id": ["a", None, "c", "d"]}).code == "MRD-E441"


def test_the_same_id_as_a_number_and_as_a_text_is_one():
    assert found(PREDICTIONS | {"id": [1, 2, 3, 4]}, COHORT | {"id": [4.0, 3.0, 2.0, 1.0]}).subsets["train"].frame["age"].tolist() == [10.0, 30.0]


def test_follow_up_is_found_by_its_names_or_told_in_the_settings():
    table = PREDICTIONS | {"os_time_months": [12, 30, None, 4], "os_event": [1, 0, 0, None], "t": [1, 2, 3, -4], "e": ["yes", "no", "True", "0"]}
    subset = found(table, config=EvaluationConfig(set="")).subsets["all"]
    assert subset.config.endpoints == {"os": EndpointConfig("os_time_months", "os_event", "months")} and subset.clinical == ("t", "e")
    assert np.array_equal(subset.frame["os_event"], [1, 0, 0, np.nan], equal_nan=True)
    told = found(table, config=EvaluationConfig(set="", endpoints={"x": EndpointConfig("t", "e")})).subsets["all"]
    assert told.clinical == ()
    assert told.frame["e"].tolist() == [1, 0, 1, 0] and list(told.config.endpoints) == ["x"]
    problem = refused(InputError, table | {"e": [1, 2, 1, 2]}, config=EvaluationConfig(endpoints={"x": EndpointConfig("t", "e")}))
    assert problem.code == "MRD-E450" and "Row 2" in problem.what and "0 and 1" in problem.fix


@pytest.mark.parametrize("config", [EvaluationConfig(outcome="outcom"), EvaluationConfig(scores=("ag",)), EvaluationConfig(probabilities=("p",)), EvaluationConfig(centre="site"),
                                    EvaluationConfig(set="cohort"), EvaluationConfig(keep={"x": ("1",)}), EvaluationConfig(excluded="x"), EvaluationConfig(subgroups=("x",)),
                                    EvaluationConfig(covariates=("x",)), EvaluationConfig(cuts={"x": (1.0,)}), EvaluationConfig(references={"x": "1"}),
                                    EvaluationConfig(endpoints={"os": EndpointConfig("t", "e")}), EvaluationConfig(table_one=TableOneConfig(by="x"))])
def test_a_column_that_the_settings_name_has_to_be_there(config):
    assert refused(InputError, PREDICTIONS, config=config).code == "MRD-E438"


def test_a_known_set_in_capitals_is_refused_because_nothing_would_be_learned_from_it():
    problem = refused(InputError, PREDICTIONS | {"set": ["Train", "external", "Train", "external"]})
    assert problem.code == "MRD-E451" and problem.found == "'Train'" and "'train'" in problem.fix
    assert list(found(PREDICTIONS | {"set": ["Train", "external", "Train", "external"]}, config=EvaluationConfig(train_set="Train")).subsets) == ["external", "Train"]


@pytest.mark.parametrize("config", [{"covariates": ("id",)}, {"subgroups": ("id",)}, {"scores": ("id",)}, {"table_one": TableOneConfig(by="id")},
                                    {"endpoints": {"os": EndpointConfig("age", "outcome", groups=("id",))}}])
def test_ids_are_no_values(config):
    problem = refused(UsageError, PREDICTIONS | {"age": [1, 2, 3, 4]}, config=EvaluationConfig(**config))
    assert problem.code == "MRD-E486" and "ids" in problem.what
    assert found(PREDICTIONS, config=EvaluationConfig(keep={"id": tuple(PREDICTIONS["id"])})).enrolled == 4          # to choose rows by it is fine


def test_a_threshold_in_percent_is_refused_for_a_probability_and_right_for_a_marker():
    problem = refused(UsageError, PREDICTIONS, config=EvaluationConfig(threshold=35.0))
    assert problem.code == "MRD-E485" and problem.found == "35"
    marker = EvaluationConfig(threshold=35.0, probabilities=(), scores=("age",))
    assert found(PREDICTIONS | {"age": [10, 30, 40, 50]}, config=marker).config.threshold == 35.0


def test_what_is_no_table_is_refused():
    assert refused(InputError, {name: [] for name in PREDICTIONS}).code == "MRD-E432"
    with pytest.raises(InputError) as caught:
        cases(pandas.DataFrame([[1, 2]], columns=["id", "id"]), None, EvaluationConfig(), {})
    assert caught.value.code == "MRD-E437"
    with pytest.raises(UsageError) as caught:
        cases(PREDICTIONS, None, EvaluationConfig(), {})
    assert caught.value.code == "MRD-E484"


def test_the_given_tables_are_not_changed():
    predictions, cohort = pandas.DataFrame(PREDICTIONS), pandas.DataFrame(COHORT)
    before = predictions.copy(deep=True), cohort.copy(deep=True)
    cases(predictions, cohort, replace(EvaluationConfig(), keep={"sex": ("f", "m")}), {})
    pandas.testing.assert_frame_equal(predictions, before[0])
    pandas.testing.assert_frame_equal(cohort, before[1])
