"""The whole evaluation on odd tables: a clear refusal, or an omission that says why, and everything else done."""

from __future__ import annotations

import json

import numpy as np
import pytest

pandas = pytest.importorskip("pandas", reason="the cohort extra is not installed")
pytest.importorskip("lifelines", reason="the cohort extra is not installed")
jsonschema = pytest.importorskip("jsonschema", reason="the test extra is not installed")

from MRDeltaNetLib.cohort.evaluating import aids, evaluate, failures, sections  # noqa: E402
from MRDeltaNetLib.cohort.evaluating.aids.answers import ANSWERS  # noqa: E402
from MRDeltaNetLib.cohort.evaluating.aids.guidelines import GUIDELINES, REFERENCES, STUDY_KEYS  # noqa: E402
from MRDeltaNetLib.config import EndpointConfig, EvaluationConfig, TableOneConfig  # noqa: E402
from MRDeltaNetLib.errors import Cancelled, MissingPackage, UsageError  # noqa: E402
from MRDeltaNetLib.evaluation import SECTIONS, Part  # noqa: E402
from MRDeltaNetLib.io.evaluations import as_json  # noqa: E402
from MRDeltaNetLib.resources import resource  # noqa: E402

FAST = {"bootstrap": 200}


def made_up(count: int, seed: int = 0, sets=("train", "external")) -> tuple["pandas.DataFrame", "pandas.DataFrame"]:
    """Cases whose score tells half of the truth, with clinical values and follow-up; made up."""
    random = np.random.default_rng(seed)
    truth = random.normal(size=count)
    outcome = (truth + 0.8 * random.normal(size=count) > 0.5).astype(int)
    ids = [f"pat-{number}" for number in range(count)]
    scores = {"p_pcr": 1 / (1 + np.exp(0.6 - 1.2 * truth)), "p_clinical": random.random(count)}
    time = random.exponential(40, count).round(1) + 0.1
    predictions = {"id": ids, "set": random.choice(sets, count), "centre": random.choice(["A", "B"], count), "outcome": outcome, **scores}
    cohort = {"id": ids, "age": random.normal(60, 9, count).round(), "sex": random.choice(["f", "m"], count), "os_time_months": time, "os_event": random.integers(0, 2, count)}
    return pandas.DataFrame(predictions), pandas.DataFrame(cohort)


def checked(predictions, cohort=None, config=EvaluationConfig(**FAST), **more):
    """Evaluate, and hold what comes out to the schema and to what every evaluation has to keep."""
    found = evaluate(predictions, cohort, config, **more)
    text = as_json(found)
    plain = json.loads(text)
    jsonschema.validate(plain, json.loads(resource("schemas/evaluation-1.schema.json").read_text(encoding="utf-8")))
    assert "pat-" not in text, "an id stands in evaluation.json"
    assert not failures(found), failures(found)
    for entry in plain["omissions"]:
        assert entry["reason"].strip() and entry["fix"].strip() and entry["what"].strip(), entry
    return found


def left_out(found, section: str) -> bool:
    """Whether the section tells nothing, and says why, in every set."""
    return all(not parts[section].values and parts[section].omissions for parts in found.sets.values())


@pytest.fixture(scope="module")
def usual():
    return checked(*made_up(240))


def test_a_usual_study_has_every_section_in_every_set(usual):
    assert list(usual.sets) == ["train", "external"] and usual.main_set == "external"
    for parts in usual.sets.values():
        assert tuple(parts) == SECTIONS and all(parts[name].values for name in SECTIONS)


def test_the_same_tables_give_the_same_bytes_in_any_order_of_the_cohort(usual):
    predictions, cohort = made_up(240)
    assert as_json(evaluate(predictions, cohort.sample(frac=1, random_state=1), EvaluationConfig(**FAST))) == as_json(usual)


def test_table_1_compares_the_sets_on_all_cases_beside_the_outcomes_in_each(usual):
    table = usual.sets["external"]["table_one"].tables["table_one_by_set"]
    counts = usual.facts["sets"]
    assert {f"{name} (n = {counts[name]['n']})" for name in ("train", "external")} <= set(table.columns)
    assert "table_one_by_set" not in usual.sets["train"]["table_one"].tables
    found = evaluate(*made_up(150, sets=("train", "internal", "external")), EvaluationConfig(**FAST)).sets["external"]["table_one"]
    pairs = "largest of all pairs"                                                       # of three sets, and not of the main set's two outcomes
    assert any(pairs in note for note in found.tables["table_one_by_set"].notes) and not any(pairs in note for note in found.notes)
    assert any(column.startswith("pCR") for column in usual.sets["train"]["table_one"].tables["table_one"].columns)


def test_progress_rises_from_0_to_1_and_stopping_stops():
    told = []
    evaluate(*made_up(60), EvaluationConfig(**FAST), progress=lambda done, message: told.append(done))
    assert told == sorted(told) and told[0] == 0 and told[-1] == 1

    def stop(done: float, message: str) -> None:
        if done > 0.3:
            raise Cancelled()

    with pytest.raises(Cancelled):
        evaluate(*made_up(60), EvaluationConfig(**FAST), progress=stop)


def test_a_section_that_fails_costs_no_other_and_is_told(monkeypatch):
    real = sections.part

    def part(section, subset):
        if section == "calibration":
            raise KeyError("anna miller")
        if section == "survival":
            raise MissingPackage("Survival needs a package", code="MRD-E801", fix="install it")
        if section == "overview":
            raise MemoryError
        return real(section, subset)

    monkeypatch.setattr(sections, "part", part)
    found = evaluate(*made_up(60), EvaluationConfig(**FAST))
    assert {(entry["section"], entry["code"]) for entry in failures(found)} == {("calibration", "MRD-E494"), ("survival", "MRD-E801"), ("overview", "MRD-E498")}
    assert "miller" not in as_json(found) and found.sets["train"]["discrimination"].values["p_pcr"]["auc"] > 0.5
    omission = found.sets["train"]["calibration"].omissions[0]
    assert "KeyError" in omission.reason and omission.what == "the whole section" and omission.fix


@pytest.mark.parametrize("given", [lambda subset: {}, lambda subset: Part([]), lambda subset: Part({"p": {"auc": np.float32(1)}}), lambda subset: Part({"p": object()})])
def test_a_section_that_gives_what_cannot_be_stored_has_failed(monkeypatch, given):
    from MRDeltaNetLib.cohort.evaluating import discrimination
    monkeypatch.setattr(discrimination, "section", given)
    found = evaluate(*made_up(40), EvaluationConfig(**FAST))
    assert {entry["section"] for entry in failures(found)} == {"discrimination"}


# bad input


def test_constant_scores():
    predictions, cohort = made_up(80)
    found = checked(predictions.assign(p_pcr=0.3), cohort)
    assert all("p_pcr" not in parts["discrimination"].values and "p_clinical" in parts["discrimination"].values for parts in found.sets.values())


@pytest.mark.parametrize("value", [0, 1])
def test_one_class(value):
    predictions, cohort = made_up(80)
    found = checked(predictions.assign(outcome=value), cohort)
    for section in ("discrimination", "comparisons", "heterogeneity", "logistic", "fusion"):
        assert left_out(found, section), section
    assert all(parts["survival"].values["os"]["cox"] for parts in found.sets.values())


def test_ties_everywhere():
    predictions, cohort = made_up(120)
    found = checked(predictions.assign(p_pcr=predictions["p_pcr"].round(0) * 0.5 + 0.25), cohort.assign(age=60, os_time_months=12.0))
    assert found.sets["train"]["discrimination"].values["p_pcr"]["auc"] > 0.5


def test_missing_outcomes_are_counted_and_have_no_part():
    predictions, cohort = made_up(120)
    predictions["outcome"] = predictions["outcome"].astype(float).where(predictions.index % 3 > 0)
    found = checked(predictions, cohort)
    for name, parts in found.sets.items():
        flow = parts["flow"].values
        assert flow["outcome"]["unknown"] == found.facts["sets"][name]["unknown"] > 0
        assert flow["analysed"]["p_pcr"] == flow["evaluated"] - flow["outcome"]["unknown"] == parts["discrimination"].values["p_pcr"]["cases"]


def test_no_outcome_at_all():
    predictions, cohort = made_up(80)
    found = checked(predictions.assign(outcome=None), cohort)
    assert left_out(found, "discrimination") and all(parts["survival"].values for parts in found.sets.values())


def test_negative_times_are_left_out_and_counted():
    predictions, cohort = made_up(120)
    cohort.loc[:9, "os_time_months"] = -5.0
    found = checked(predictions, cohort)
    assert sum(parts["survival"].values["os"]["n"] for parts in found.sets.values()) == 110
    assert any("negative" in omission.reason for parts in found.sets.values() for omission in parts["survival"].omissions)


def test_all_censored():
    predictions, cohort = made_up(80)
    found = checked(predictions, cohort.assign(os_event=0))
    for parts in found.sets.values():
        assert parts["survival"].omissions and not (parts["survival"].values.get("os") or {}).get("cox")
        assert parts["discrimination"].values


def test_a_group_of_one():
    predictions, cohort = made_up(80)
    centre, sex = predictions["centre"].copy(), cohort["sex"].copy()
    centre[0], sex[1] = "alone", "x"
    found = checked(predictions.assign(centre=centre, set="train"), cohort.assign(sex=sex))
    assert any("alone" in omission.reason for omission in found.sets["train"]["heterogeneity"].omissions)


def test_a_set_of_one():
    predictions, cohort = made_up(80)
    predictions["set"] = ["external"] + ["train"] * 79
    found = checked(predictions, cohort)
    assert not found.sets["external"]["discrimination"].values and found.sets["train"]["discrimination"].values


def test_separated_data():
    predictions, cohort = made_up(80)
    found = checked(predictions.assign(p_pcr=np.where(predictions["outcome"] == 1, 0.9, 0.1)), cohort.assign(age=50 + 20 * predictions["outcome"]))
    for parts in found.sets.values():
        assert parts["discrimination"].values["p_pcr"]["auc"] == 1 and parts["logistic"].values
        age = next(item for item in parts["logistic"].values if item["term"] == "age")
        assert age["method"] == "Firth" and np.isfinite(age["or"])


@pytest.mark.parametrize("outcomes", [(1, 0), (0, 0), (None, 1), (None, None)])
def test_two_patients(outcomes):
    predictions, cohort = made_up(2, sets=("train",))
    found = checked(predictions.assign(outcome=list(outcomes)), cohort)
    assert found.sets["train"]["flow"].values["evaluated"] == 2


def test_one_patient():
    found = checked(*made_up(1, sets=("train",)))
    assert left_out(found, "discrimination") and left_out(found, "survival")


def test_scores_alone_and_clinical_values_alone():
    predictions, cohort = made_up(60)
    found = checked(predictions)
    assert left_out(found, "survival") and left_out(found, "table_one") and found.sets["train"]["calibration"].values
    found = checked(cohort.assign(outcome=predictions["outcome"]))
    assert left_out(found, "discrimination") and found.sets["all"]["logistic"].values and found.sets["all"]["survival"].values


def test_a_score_that_is_missing_everywhere():
    found = checked(*[table.assign(p_empty=None) if "p_pcr" in table else table for table in made_up(60)])
    assert "p_empty" not in found.sets["train"]["discrimination"].values


def test_many_cases_are_read_and_judged_in_one_go():
    """20,000 in the test; a million rows take the same way."""
    predictions, _ = made_up(20_000)
    found = checked(predictions)
    assert sum(parts["discrimination"].values["p_pcr"]["cases"] for parts in found.sets.values()) == 20_000


def test_every_group_and_level_is_odd():
    predictions, cohort = made_up(90)
    odd = cohort.assign(**{"level": ["<b>&\"' =1+1"] * 45 + ["b"] * 45, "constant": "x", "zero": 0.0, "nearly": [1.0] + [0.0] * 89, "many": [f"v{k % 30}" for k in range(90)],
                           "huge": 1e300, "tiny": np.linspace(1e-300, 2e-300, 90), "copy of age": cohort["age"]})
    found = checked(predictions, odd, EvaluationConfig(**FAST, endpoints={"o/s": EndpointConfig("os_time_months", "os_event", groups=("level", "many", "nearly"))},
                                                       subgroups=("level", "many", "constant", "age"), table_one=TableOneConfig(categorical=("nearly",))))
    assert found.sets["train"]["survival"].values["o/s"]["km"]


# reporting aids


def test_the_guidelines_have_the_number_of_items_that_their_papers_say():
    assert {name: len(items) for name, items in GUIDELINES.items()} == {"TRIPOD+AI": 52, "CLAIM 2024": 44, "PROBAST+AI": 20, "METRICS": 30, "CLEAR": 58}
    assert len({item.item.rstrip("abcdefg") for item in GUIDELINES["TRIPOD+AI"]}) == 27
    for name in ("CLAIM 2024", "METRICS", "CLEAR"):
        assert [item.item for item in GUIDELINES[name]] == [str(number) for number in range(1, len(GUIDELINES[name]) + 1)]
    assert set(REFERENCES) == set(GUIDELINES)


def test_the_weights_of_metrics_add_up_to_1():
    weights = [float(item.topic.rpartition("0.")[2].strip(" )")) / 10_000 for item in GUIDELINES["METRICS"]]
    assert sum(weights) == pytest.approx(1, abs=1e-9)


def test_every_answer_is_asked_for_and_every_question_has_one_who_may_answer():
    asked = {name for items in GUIDELINES.values() for item in items for name in item.known}
    assert asked == set(ANSWERS) and all(item.study for items in GUIDELINES.values() for item in items)


def test_what_is_known_is_told_with_its_numbers_and_the_rest_is_left_to_the_authors(usual):
    known = {(name, entry["item"]): entry["known"] for name, items in usual.aids.items() for entry in items}
    auc = usual.sets["external"]["discrimination"].values["p_pcr"]["auc"]
    assert f"external AUC {auc:.3f}" in known["TRIPOD+AI", "23a"] and f"{usual.facts['sets']['train']['events']} with pCR" in known["CLAIM 2024", "21"]
    for item in (("TRIPOD+AI", "17"), ("TRIPOD+AI", "18a"), ("CLAIM 2024", "18"), ("CLEAR", "8"), ("METRICS", "14")):
        assert known[item] is None
    assert not any(word in (text or "").lower() for text in known.values() for word in ("adequate", "fulfilled", "satisfied", " is met"))


def test_an_author_s_sentence_comes_first_and_a_key_that_answers_nothing_is_refused():
    study = {"ethics": "approved by the board.", "TRIPOD+AI 5b": "2019 to 2023", "sample_size": "all of three years"}
    found = evaluate(*made_up(60), EvaluationConfig(**FAST, study=study))
    known = {(name, entry["item"]): entry["known"] for name, items in found.aids.items() for entry in items}
    assert known["TRIPOD+AI", "17"] == known["CLEAR", "8"] == "Approved by the board" and known["TRIPOD+AI", "5b"] == "2019 to 2023" and known["TRIPOD+AI", "5a"] != "2019 to 2023"
    assert known["CLAIM 2024", "21"].startswith("All of three years. ")
    with pytest.raises(UsageError) as caught:
        evaluate(*made_up(10), EvaluationConfig(study={"ethic": "x"}))
    assert caught.value.code == "MRD-E485" and "'ethics'" in caught.value.fix
    assert "ethics" in STUDY_KEYS


def test_a_study_without_anything_fills_nothing_that_it_does_not_know():
    found = evaluate(made_up(10)[0][["id", "outcome"]])
    filled = [entry["item"] for entry in found.aids["TRIPOD+AI"] if entry["known"]]
    assert "23a" not in filled and "16" not in filled and "20a" in filled


def test_aids_are_checked_before_anything_is_computed():
    aids.check_study({"CLEAR 58": "yes", "registration": "none"})
