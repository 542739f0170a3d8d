"""The six steps as truths over every situation: what may run, what is a warning, and that each line says something short."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from MRDeltaNetLib.config import STEPS as JOB_STEPS
from MRDeltaNetLib.errors import Notice
from MRDeltaNetLib.io.jobs import job_from_mapping
from MRDeltaNetLib.workflow import STEPS, Model, Outline, Prediction, Situation, StepState, job_steps, look, next_step, why_not_carry
from MRDeltaNetLib.workflow.changes import PARTS

KEYS = [step.key for step in STEPS]
NOTICE = (Notice("MRD-W332", "The scans differ in modality", "read with care"),)
ONE_LINE, TWO_LINES = 68, 120
"""Characters that fit the panel at its smallest."""

REAL, DEMO = Model("site model", False, "research"), Model("demo", True, "none")
FOUND = Prediction(0.62, 0.48, 0.71, "pCR", 0.5)

SCANS = [{}, {"pre_chosen": True}, {"post_chosen": True}, {"pre_chosen": True, "post_chosen": True, "same_scan": True},
         {"pre_chosen": True, "post_chosen": True}]
CHECKED = {"pre_chosen": True, "post_chosen": True, "scans_checked": True, "interval_days": 84}
SCANS += [CHECKED, CHECKED | {"interval_days": None, "scan_notices": NOTICE},
          CHECKED | {"interval_days": -84, "scan_errors": (Notice("MRD-E330", "The order is wrong", "swap"),)},
          CHECKED | {"scan_errors": (Notice("MRD-E314", "Something else", "see"),)}]
ALIGNMENTS = [{}, {"aligned": True}, {"aligned": True, "alignment_of_other_scans": True}, {"aligned": True, "alignment_is_stale": True},
              {"aligned": True, "alignment_notices": (Notice("MRD-W603", "weak"),)}, {"aligned": True, "alignment_notices": NOTICE}]
OUTLINES = [{"pre_outline": pre, "post_outline": post, "residual_outline": residual, "complete_response": stated}
            for pre, post, residual, stated in itertools.product(
                (Outline.NONE, Outline.EMPTY, Outline.DRAWN), Outline, (Outline.NONE, Outline.EMPTY, Outline.DRAWN), (False, True))]
PREDICTIONS = [{}, {"prediction": FOUND}, {"prediction": FOUND, "maps": ("attention_post",), "report_written": True},
               {"prediction": replace(FOUND, changed=("pre_mask",)), "maps": ("attention_post",), "report_written": True},
               {"prediction": replace(FOUND, changed=tuple(PARTS), is_demo=True)},
               {"prediction": replace(FOUND, notices=(Notice("MRD-W715", "red"),))},
               {"prediction": Prediction(0.9, 0.8, 0.95, None, 0.5, notices=(Notice("MRD-W712", "no bed"),)), "report_written": True, "report_outdated": True},
               {"prediction": Prediction(0.9999)}, {"report_written": True}]
MEANS = [{"model": REAL}, {"model": DEMO}, {"model": None}, {"model": REAL, "model_problem": "damaged"},
         {"model": DEMO, "missing_packages": ("torch", "monai", "safetensors")}]
RUNNING = [{"running": step} for step in (None, "align", "predict")]
EVERY = 7
"""Coprime to the length of every list above."""

READY = CHECKED | {"aligned": True, "pre_outline": Outline.DRAWN, "post_outline": Outline.DRAWN, "residual_outline": Outline.DRAWN, "model": REAL}


def situations():
    """How scans, alignment, outlines, prediction, model and a running job can meet: every EVERYth way, which meets every pair of parts."""
    for parts in itertools.islice(itertools.product(SCANS, ALIGNMENTS, OUTLINES[::5], PREDICTIONS, MEANS, RUNNING), 0, None, EVERY):
        yield Situation(**{name: value for part in parts for name, value in part.items()})


@pytest.fixture(scope="module")
def looked() -> list:
    return [(situation, look(situation)) for situation in situations()]


def with_outlines():
    """Every state of the outlines, with all else in order."""
    return [Situation(**READY | outlines) for outlines in OUTLINES]


def test_the_situations_meet_every_pair_of_parts():
    lists = (SCANS, ALIGNMENTS, OUTLINES[::5], PREDICTIONS, MEANS, RUNNING)
    met = set()
    for chosen in itertools.islice(itertools.product(*map(lambda parts: range(len(parts)), lists)), 0, None, EVERY):
        met |= set(itertools.combinations(enumerate(chosen), 2))
    assert len(met) == sum(len(first) * len(second) for first, second in itertools.combinations(lists, 2))


def test_every_situation_gives_every_step_a_short_line_and_a_reason_where_it_may_not_run(looked):
    assert len(looked) > 10000
    for situation, views in looked:
        assert list(views) == KEYS
        for view in views.values():
            assert view.line.strip() and len(view.line) <= TWO_LINES and "{" not in view.line, view
            assert bool(view.why_not) is not view.can_run and len(view.why_not) <= ONE_LINE, view


def test_most_lines_fit_one_line(looked):
    lines = {view.line for _, views in looked for view in views.values()}
    longer = [line for line in lines if len(line) > ONE_LINE and not line.startswith("Demo")]
    assert len(lines) > 40 and not longer, longer


def test_every_line_ends_as_a_sentence(looked):
    assert {view.line[-1] for _, views in looked for view in views.values()} == {"."}


def test_a_prediction_never_runs_without_scans_alignment_a_drawn_tumour_the_packages_and_a_model(looked):
    seen = 0
    for s, views in looked:
        if views["predict"].can_run:
            seen += 1
            assert s.scans_ready and s.aligned and not s.alignment_of_other_scans and s.pre_outline is Outline.DRAWN and s.running is None
            assert not s.missing_packages and s.model is not None and not s.model_problem and not (s.complete_response and s.residual_outline is Outline.DRAWN)
    assert seen
    assert all(look(s)["predict"].can_run is (s.pre_outline is Outline.DRAWN and not s.contradicts_itself) for s in with_outlines())


def test_explain_may_run_exactly_when_predict_may(looked):
    assert all(views["explain"].can_run is views["predict"].can_run for _, views in looked)


@pytest.mark.parametrize("missing", [("torch",), ("monai", "safetensors")])
def test_a_missing_package_blocks_what_makes_a_prediction_and_nothing_else(missing):
    """A report that holds a prediction makes it anew."""
    for s in situations():
        if s.missing_packages or s.model is None:
            continue
        views, without = look(s), look(replace(s, missing_packages=missing))
        for key in KEYS:
            if key in ("predict", "explain") or key == "report" and s.prediction is not None:
                assert not without[key].can_run
            else:
                assert without[key] == views[key]
    assert all(name in look(Situation(**READY, missing_packages=missing))["predict"].why_not for name in missing)


def test_a_stale_prediction_is_a_warning_in_predict_explain_and_report(looked):
    stale = [views for s, views in looked if s.prediction is not None and s.prediction.stale]
    assert stale and all(views[key].state is StepState.WARNING for views in stale for key in ("predict", "explain", "report"))


def test_a_stale_prediction_says_what_changed():
    for part, name in PARTS.items():
        assert f"({name} changed)" in look(Situation(**READY, prediction=replace(FOUND, changed=(part,))))["predict"].line
    assert "(2 things changed)" in look(Situation(**READY, prediction=replace(FOUND, changed=("pre", "model"))))["predict"].line


def test_a_demo_model_is_a_warning_in_predict_and_its_number_means_nothing_for_patients(looked):
    demo = [views["predict"] for s, views in looked if s.running != "predict" and (s.model == DEMO or s.prediction is not None and s.prediction.is_demo)]
    assert demo and all(view.state is StepState.WARNING and "means nothing for patients" in view.line for view in demo)
    real = look(Situation(**READY, prediction=FOUND))["predict"]
    assert real.state is StepState.DONE and "patients" not in real.line


def test_what_a_demo_model_predicted_stays_a_warning_when_another_model_is_chosen():
    views = look(Situation(**READY, prediction=replace(FOUND, is_demo=True, changed=("model",)), maps=("attention_post",)))
    assert "means nothing for patients" in views["predict"].line
    fresh = look(Situation(**READY, prediction=replace(FOUND, is_demo=True), maps=("attention_post",)))
    assert "mean nothing for patients" in fresh["explain"].line


def test_a_running_job_holds_up_the_steps_that_start_one_and_no_others(looked):
    for s, views in looked:
        if s.running:
            assert not any(views[key].can_run for key in ("align", "predict", "explain", "report"))
            assert views[s.running].line.startswith("Working") and "Wait for" in views[s.running].why_not
            free = look(replace(s, running=None))
            assert views["scans"] == free["scans"] and views["tumour"] == free["tumour"]
            assert all(views[key].state is free[key].state for key in KEYS)


def test_the_way_from_nothing_to_the_end_leads_through_the_steps_in_order():
    steps = [{}, CHECKED, {"aligned": True}, {"pre_outline": Outline.DRAWN}, {"post_outline": Outline.DRAWN, "model": REAL},
             {"prediction": FOUND}, {"maps": ("attention_post",)}, {"report_written": True}]
    now, way = {}, []
    for step in steps:
        now |= step
        way.append(next_step(look(Situation(**now))))
    assert way == ["scans", "align", "tumour", "tumour", "predict", "explain", "report", None]


def test_without_torch_the_way_to_a_report_is_open():
    views = look(Situation(**READY, missing_packages=("torch",)))
    assert views["report"].can_run and "no prediction" in views["report"].line and "torch" in views["predict"].line
    written = look(Situation(**READY, missing_packages=("torch",), report_written=True))
    assert written["report"].state is StepState.DONE and written["predict"].state is StepState.TO_DO


def test_an_alignment_by_another_method_is_a_warning_and_may_be_used():
    views = look(Situation(**READY | {"alignment_by_other_method": True, "alignment_is_stale": True}))
    assert views["align"].state is StepState.WARNING and views["align"].line == "Made with another method. Align again." and views["predict"].can_run
    other = look(Situation(**READY | {"alignment_by_other_method": True, "alignment_of_other_scans": True}))
    assert other["align"].line == "Other scans were aligned. Align these."


def test_next_goes_to_a_warning_when_nothing_is_left_to_do():
    views = look(Situation(**READY | {"alignment_is_stale": True}, prediction=FOUND, maps=("a",), report_written=True))
    assert next_step(views) == "align" and views["align"].state is StepState.WARNING


@pytest.mark.parametrize("given, line", [
    ({}, "Choose the scans before and after treatment."), ({"pre_chosen": True}, "Choose the scan after treatment."),
    ({"post_chosen": True}, "Choose the scan before treatment."), (CHECKED, "84 days (12 weeks) apart. Next: align the scans.")])
def test_scans_says_what_is_missing(given, line):
    assert look(Situation(**given))["scans"].line == line


def test_scans_that_nobody_checked_are_not_aligned():
    views = look(Situation(pre_chosen=True, post_chosen=True))
    assert views["scans"].state is StepState.TO_DO and views["scans"].can_run and not views["align"].can_run


@pytest.mark.parametrize("code, word", [("MRD-E330", "Swap"), ("MRD-E331", "same"), ("MRD-E333", "different patients"), ("MRD-E830", "transform"),
                                        ("MRD-E101", "below")])
def test_refused_scans_are_a_warning_that_says_the_cure_and_stop_the_walk(code, word):
    views = look(Situation(**READY | {"scan_errors": (Notice(code, "x"),)}))
    assert views["scans"].state is StepState.WARNING and word in views["scans"].line
    assert not any(views[key].can_run for key in ("align", "predict", "explain", "report"))


def test_one_scan_chosen_twice_is_a_warning_and_runs_nothing():
    views = look(Situation(**READY | {"same_scan": True}))
    assert views["scans"].state is StepState.WARNING and "twice" in views["scans"].line
    assert not any(views[key].can_run for key in ("scans", "align", "predict", "explain", "report"))


@pytest.mark.parametrize("change, word", [({"alignment_is_stale": True}, "leave the tumour out"), ({"alignment_of_other_scans": True}, "Other scans"),
                                          ({"alignment_notices": (Notice("MRD-W603", "x"),)}, "may not fit"), ({"alignment_notices": NOTICE}, "Read the warnings")])
def test_a_doubtful_alignment_is_a_warning(change, word):
    view = look(Situation(**READY | change))["align"]
    assert view.state is StepState.WARNING and word in view.line and view.can_run


def test_what_a_deformable_alignment_is_for_is_no_warning():
    assert look(Situation(**READY, alignment_notices=(Notice("MRD-W605", "display only"),)))["align"].state is StepState.DONE


def test_an_alignment_that_is_stale_blocks_nothing_and_one_of_other_scans_does():
    assert look(Situation(**READY, alignment_is_stale=True))["predict"].can_run
    assert "align" in look(Situation(**READY, alignment_of_other_scans=True))["predict"].why_not


def test_complete_response_is_a_choice_and_no_empty_outline():
    empty = look(Situation(**READY | {"residual_outline": Outline.EMPTY}))["tumour"]
    stated = look(Situation(**READY | {"residual_outline": Outline.EMPTY}, complete_response=True))["tumour"]
    assert empty.state is StepState.WARNING and "complete response" in empty.line and stated.state is StepState.DONE


def test_residual_tumour_that_is_drawn_and_denied_is_a_warning_and_blocks_prediction_and_report():
    views = look(Situation(**READY, complete_response=True))
    assert views["tumour"].state is StepState.WARNING and not views["predict"].can_run and not views["report"].can_run


def test_a_carried_bed_is_a_warning_and_a_missing_one_is_to_do_and_both_let_the_prediction_run():
    carried, missing = (look(Situation(**READY | {"post_outline": how})) for how in (Outline.CARRIED, Outline.NONE))
    assert carried["tumour"].state is StepState.WARNING and missing["tumour"].state is StepState.TO_DO
    assert all("no class" in views["predict"].line and views["predict"].can_run for views in (carried, missing))


def test_outlines_that_are_refused_block_what_measures_them():
    views = look(Situation(**READY, outline_errors=(Notice("MRD-E303", "too small"),)))
    assert views["tumour"].state is StepState.WARNING and not views["predict"].can_run and not views["report"].can_run and views["align"].can_run


def test_remarks_on_outlines_are_a_warning():
    assert look(Situation(**READY, outline_notices=NOTICE))["tumour"].state is StepState.WARNING


def test_carrying_over_needs_an_alignment_and_a_tumour_and_spares_what_a_person_drew():
    may = READY | {"post_outline": Outline.NONE}
    assert why_not_carry(Situation(**may)) == "" and why_not_carry(Situation(**may | {"post_outline": Outline.CARRIED})) == ""
    for change in ({"aligned": False}, {"alignment_of_other_scans": True}, {"pre_outline": Outline.EMPTY}, {"post_outline": Outline.DRAWN}, {"scans_checked": False}):
        assert why_not_carry(Situation(**may | change))


@pytest.mark.parametrize("found, line", [
    (FOUND, "P(pCR) 0.62 (0.48 to 0.71): pCR."), (Prediction(0.4996, 0.4, 0.6, "non-pCR", 0.5), "P(pCR) 0.4996 (0.40 to 0.60): non-pCR."),
    (Prediction(0.9999, None, None, "pCR", 0.5), "P(pCR) above 0.99: pCR."), (Prediction(0.3, 0.2, 0.4), "P(pCR) 0.30 (0.20 to 0.40), no class."),
    (Prediction(0.3), "P(pCR) 0.30, no class.")])
def test_a_prediction_is_said_with_its_range_and_class(found, line):
    view = look(Situation(**READY, prediction=found))["predict"]
    assert (view.state, view.line) == (StepState.DONE, line)


@pytest.mark.parametrize("notice, word", [("MRD-W715", "Do not use"), ("MRD-W713", "Read the warnings")])
def test_a_prediction_with_warnings_is_a_warning(notice, word):
    view = look(Situation(**READY, prediction=replace(FOUND, notices=(Notice(notice, "x"),))))["predict"]
    assert view.state is StepState.WARNING and word in view.line and "0.62" in view.line


def test_a_report_that_is_outdated_is_a_warning():
    assert look(Situation(**READY, report_written=True, report_outdated=True))["report"].state is StepState.WARNING


def test_the_jobs_of_the_steps_are_jobs():
    for key, with_prediction in itertools.product(KEYS, (False, True)):
        steps = job_steps(key, with_prediction=with_prediction)
        assert list(steps) == [step for step in JOB_STEPS if step in steps]
        if steps:
            assert job_from_mapping({"pre": "a", "post": "b", "out": "c", "steps": steps, "transform": "t.tfm"}).steps == steps
    assert job_steps("align") == ("align",) and job_steps("scans") == job_steps("tumour") == ()
    assert job_steps("predict") == job_steps("explain") == job_steps("report", with_prediction=True) == ("masks", "predict", "explain", "report")
    assert "predict" not in job_steps("report")


def test_steps_are_numbered_and_named():
    assert [step.number for step in STEPS] == [1, 2, 3, 4, 5, 6] and KEYS == ["scans", "align", "tumour", "predict", "explain", "report"]
    assert all(step.title and step.purpose for step in STEPS)


def test_a_door_may_translate_templates_before_they_are_filled():
    asked = []

    def translate(template: str) -> str:
        asked.append(template)
        return "«" + template + "»"

    shouted = look(Situation(**READY | {"running": "align"}, prediction=replace(FOUND, changed=("model",))), translate)
    assert shouted["predict"].line == "«Outdated (««the model» changed»). Predict again.»"
    assert shouted["predict"].why_not == "«Wait for «Align» to end, or cancel it.»"
    assert "Outdated ({what}). Predict again." in asked


@pytest.mark.parametrize("running, title", [("scans", "Scans"), ("tumour", "Tumour")])
def test_a_pair_that_is_simulated_and_an_outline_that_is_drawn_by_a_program_hold_up_what_starts_a_job(running, title):
    views, free = (look(Situation(**READY, running=each)) for each in (running, None))
    assert views[running].line.startswith("Working") and all(views[key].why_not == f"Wait for {title} to end, or cancel it." for key in ("align", "predict", "explain", "report"))
    assert all(views[key].can_run is free[key].can_run for key in ("scans", "tumour"))


def test_an_alignment_that_cannot_be_used_is_told_and_lets_nothing_be_measured():
    s = Situation(**READY, alignment_errors=(Notice("MRD-E834", "x"),))
    views = look(s)
    assert views["align"].state is StepState.WARNING and views["align"].line == "The alignment cannot be used. Align again." and views["align"].can_run
    assert not s.alignment_ready and not views["predict"].can_run and not views["report"].can_run and why_not_carry(s)


@pytest.mark.parametrize("wrong", [{"running": "no"}, {"pre_outline": Outline.CARRIED}, {"residual_outline": Outline.CARRIED}])
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError):
        Situation(**wrong)


@pytest.mark.parametrize("roles", [("pre",), ("post",), ("pre", "post")])
def test_an_outline_that_a_program_drew_is_a_warning_and_stops_nothing(roles):
    views = look(Situation(**READY, drawn_by_program=roles))
    assert views["tumour"].state is StepState.WARNING and views["tumour"].line == "A program drew an outline. Check it, and correct it."
    assert views["predict"].can_run and look(Situation(**READY))["tumour"].state is StepState.DONE
