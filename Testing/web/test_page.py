"""The page without a browser: what a browser may say, pressed twice, too late, out of order, or never offered."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("trame_slicer", reason="needs the packages of the page: pip install 'mrdeltanet[web]'")

from MRDeltaNetLib.errors import EnvironmentProblem, Notice  # noqa: E402
from MRDeltaNetLib.mrml.sitting import asking, outlining  # noqa: E402
from MRDeltaNetLib.mrml.worker import Finished  # noqa: E402
from MRDeltaNetLib.web import page as page_module  # noqa: E402
from MRDeltaNetLib.web.views import MOST_PIXELS  # noqa: E402
from MRDeltaNetLib.web.controls import Controls, number, one_of  # noqa: E402
from Testing.made_up_result import CENTRE_MM, ball, body_with_ball, empty_image, rigid  # noqa: E402
from Testing.web.inside import Inside  # noqa: E402

RUBBISH = ("x", "<img src=x onerror=alert(1)>", "../../etc/passwd", "__class__", -1, 10**12, 0.123, math.nan, math.inf, True, None, [], ["pre"], {}, {"a": 1}, b"\0")
"""Values of every type that a browser can send."""


@pytest.fixture(scope="module")
def inside(tmp_path_factory):
    """One page with a pair of scans, aligned, the tumour drawn on the first."""
    made = Inside(tmp_path_factory.mktemp("inside"))
    again(made)
    yield made
    made.close()


def again(inside) -> None:
    """The page as it was: fresh scans in it."""
    inside.load(**{role: body_with_ball(empty_image("straight"), CENTRE_MM + (8, 18, -6), size) for role, size in (("pre", 16), ("post", 12))})
    inside.align(rigid())
    draw(inside, "pre")
    inside.sets(step="scans", error=None)


def draw(inside, role: str, radius_mm: float = 16) -> None:
    """A ball in an outline."""
    inside.do(lambda page: (outlining.set_mask(page.sitting.choices, role, ball(empty_image("straight"), CENTRE_MM + (8, 18, -6), radius_mm)), page.refresh()))


def drawn(inside, role: str) -> np.ndarray:
    return sitk.GetArrayFromImage(inside.masks()[role])


def choices_of(inside) -> dict:
    return inside.do(lambda page: {name: value for name, value in vars(page.sitting.choices).items() if isinstance(value, (str, int, float, bool, type(None)))})


def controls_of(inside) -> dict:
    return inside.do(lambda page: dict(page.controls._checks))


# Outlines

@pytest.mark.parametrize("tool", ["threshold", "smoothing", "islands", "clear"])
@pytest.mark.parametrize("outline, other", [("post", "residual"), ("residual", "post")])
def test_a_tool_on_one_outline_leaves_the_one_inside_or_around_it_alone(inside, outline, other, tool):
    """Viable tumour lies inside its bed."""
    draw(inside, "post", 16)
    draw(inside, "residual", 8)
    inside.sets(step="tumour")
    inside.sets(outline=outline, tool="look" if tool == "clear" else tool, kernel_mm=9)
    mine, before = drawn(inside, outline), drawn(inside, other)
    inside.press("clear" if tool == "clear" else "apply")
    assert inside.error() is None and (drawn(inside, other) == before).all()
    if tool == "islands":
        assert (drawn(inside, outline) == mine).all()
    else:
        assert outline not in inside.masks() if tool == "clear" else (drawn(inside, outline) != mine).any()
        inside.press("undo")
        assert (drawn(inside, outline) == mine).all() and (drawn(inside, other) == before).all()
    again(inside)


def test_slicers_legend_is_not_drawn_over_the_pictures_because_the_page_has_a_scale(inside):
    assert inside.do(lambda page: page.sitting.choices.legend) is False


# What a browser may say

def test_a_number_is_a_number_in_its_range_and_one_of_several_is_of_the_same_type():
    assert [number(1, 40)(value) for value in (1, 40, 8.5, 0.9, 41, math.nan, math.inf, True, "8", None, [])] == [True] * 3 + [False] * 8
    assert [one_of((None, 1, "a"))(value) for value in (None, 1, "a", True, 1.0, "b", [], {})] == [True] * 3 + [False] * 5


def test_a_control_that_was_set_to_something_else_reads_as_it_was_before():
    state = {}
    controls = Controls(state)
    controls.add("brush", 8, number(1, 40))
    state["brush"] = 12
    assert controls["brush"] == 12
    state["brush"] = 1000
    assert controls["brush"] == 12
    state["brush"] = 30
    controls.set("brush", 20)
    assert controls["brush"] == 30, "what the browser has set since is not lost"
    controls.set("brush", 20)
    assert controls["brush"] == 20
    state["brush"] = 1000
    with pytest.raises(page_module.MRDeltaNetError, match="MRD-E926"):
        controls.put_back(["brush", "something that is no control"])
    assert state["brush"] == 20
    state["brush"] = 25
    controls.seen(["brush", "something that is no control"])
    controls.set("brush", 5)
    assert controls["brush"] == 5, "its turn had come, though nobody had use for it"


def test_no_control_takes_what_it_does_not_offer_and_no_choice_changes(inside):
    before = choices_of(inside)
    for step in ("scans", "tumour"):                     # controls of another step are there too, and do nothing
        inside.sets(step=step)
        for name, may_be in controls_of(inside).items():
            was = inside.look(name)
            for value in RUBBISH:
                if not may_be(value) and value != was:
                    inside.sets(**{name: value})
                    assert inside.error() == "MRD-E926" and inside.look(name) == was, (step, name, value)
    assert choices_of(inside) == before
    again(inside)


@pytest.mark.parametrize("name, good, bad", [
    ("step", ("align", "report"), ("", "Align")), ("registration", ("rigid", "none"), ("by hand", None)), ("compare", ("side", "blend", "squares"), ("other",)),
    ("blend", (0, 0.5, 1), (-0.1, 1.1)), ("outline", ("pre", "post", "residual"), ("other",)), ("tool", ("look", "paint", "islands"), ("SegmentationEffectDraw",)),
    ("brush_mm", (1, 40), (0, 41)), ("kernel_mm", (1, 15), (0, 16)), ("sphere", (True, False), (1, None)), ("cut", ("erase_inside",), ("ERASE_INSIDE",)),
    ("grade", (None, 1, 5), (0, 6, True, "1")), ("complete_response", (True, False), (1, "yes")), ("all_members", (True,), (2,)),
    ("outline_step_mm", (0.5, 10), (0, 51)), ("map_opacity", (0, 1), (-0.1, 1.1)), ("map_threshold", (0, 1), (1.1,)), ("shown_map", (None, "attention_pre"), ("default", "x")),
    ("more", (None, "null"), ("os",)), ("brightness_pre", (0, 1), (1.1,)), ("contrast_post", (0, 1), (-1,))])
def test_what_each_control_may_be(inside, name, good, bad):
    may_be = controls_of(inside)[name]
    assert all(may_be(value) for value in good) and not any(may_be(value) for value in bad)


def test_what_nobody_had_use_for_does_not_stay_in_the_way(inside):
    """A slider of a tool that was put down meanwhile."""
    inside.sets(step="tumour", outline="pre", grey_low=3.0)
    inside.sets(tool="threshold")
    assert inside.look("grey_low") != 3.0
    inside.sets(step="scans")


def test_what_is_set_reaches_the_choices(inside):
    wanted = {"registration": "affine", "grade": 4, "all_members": False, "outline_step_mm": 3.5, "map_opacity": 0.3, "map_threshold": 0.6}
    inside.sets(**wanted)
    found = choices_of(inside)
    assert {name: found["mrtrg" if name == "grade" else name] for name in wanted} == wanted and inside.error() is None
    inside.sets(registration="rigid", grade=None, all_members=True, outline_step_mm=2.0, map_opacity=0.5, map_threshold=0.3)


@pytest.mark.parametrize("value", ["x", None, -1, ["a"], {"key": "align"}])
def test_what_the_page_only_shows_is_never_read_back(inside, value):
    """A browser can write into every entry of the state; of all but the controls nothing comes back into the page. (Closing a refusal writes there too.)"""
    shown = inside.do(lambda page: [name for name in page.state.to_dict() if not name.startswith("trame__") and name not in (*page.controls._checks, "error")])
    assert len(shown) > 40
    inside.sets(**dict.fromkeys(shown, value))
    assert inside.error() is None
    for step in ("align", "tumour", "predict", "explain", "report", "scans"):
        inside.sets(step=step)
        assert inside.error() is None, step
    again(inside)
    assert inside.look("has_pre") is True and len(inside.look("steps")) == 6


@pytest.mark.parametrize("scans", [(), ("pre",)])
def test_a_button_that_is_not_offered_does_no_harm(tmp_path, scans, monkeypatch):
    """An older page that is still open, or no page at all, presses everything, with anything; what is refused is refused in words, and nothing has failed."""
    inside = Inside(tmp_path)
    try:
        inside.load(**{role: empty_image("straight") + 1 for role in scans})
        monkeypatch.setattr(inside.page.sitting, "start_other", lambda *_, **__: None)
        for step in ("scans", "align", "tumour", "predict", "explain", "report"):
            inside.sets(step=step)
            for name in ("fit", "closer", "wider", "align", "apply", "clear", "undo", "redo", "carry", "predict", "make_maps", "pick", "ask_here", "report", "cancel", "sample", "swap", "own_window", "take_series", "leave_series"):
                inside.press(name, "more", than={"is": "wanted"})
                assert inside.error() != "MRD-E923", (step, name)
    finally:
        inside.close()


# Pressed twice, too late, out of order

@pytest.fixture
def started(inside, monkeypatch):
    """A run that goes on until it is told to end: started.ends(event)."""
    events, asked = [], []
    sitting = inside.page.sitting

    def start(step: str) -> None:
        sitting.refuse_second_run()
        asked.append(step)
        sitting.run = SimpleNamespace(step=step)

    def poll() -> list:
        now, events[:] = list(events), []
        if now:
            sitting.run = None
        for each in now:
            if isinstance(each, Exception):
                raise each
        return now

    monkeypatch.setattr(sitting, "start", start)
    monkeypatch.setattr(sitting, "poll", poll)
    monkeypatch.setattr(sitting, "cancel", lambda: asked.append("cancel"))
    yield SimpleNamespace(asked=asked, ends=events.append)
    events.append(Finished({}))
    inside.until(lambda page: not page.state.running)
    again(inside)


def test_a_double_click_starts_one_run_and_refuses_nothing(inside, started):
    inside.press("align")
    inside.press("align")
    assert started.asked == ["align"] and inside.error() is None and inside.look("running") == "align"
    inside.press("predict")
    assert started.asked == ["align"] and inside.error() == "MRD-E843"


def test_cancel_that_comes_when_nothing_runs_any_more_says_nothing(inside, started):
    inside.press("align")
    inside.press("cancel")
    assert started.asked == ["align", "cancel"] and inside.look("stopping") is True and inside.look("message") == "Stopping."
    started.ends(Finished({}))
    inside.until(lambda page: page.state.message == "Done.")
    inside.press("cancel")
    assert started.asked == ["align", "cancel"] and inside.look("message") != "Stopping."


def test_a_result_that_cannot_be_taken_ends_the_run_on_the_page_too(inside, started):
    inside.press("align")
    started.ends(TypeError("MUSTERMANN^ERIKA"))
    inside.until(lambda page: not page.state.running)
    assert inside.error() == "MRD-E923"


def test_scans_are_not_exchanged_under_a_run(inside, started):
    before = inside.do(lambda page: page.sitting.choices.pre_volume)
    inside.press("align")
    inside.press("swap")
    assert inside.error() == "MRD-E843" and inside.do(lambda page: page.sitting.choices.pre_volume) is before


def test_an_outline_that_was_just_drawn_is_not_carried_over(inside):
    """The button may be pressed before the page has said that it is no longer offered."""
    draw(inside, "post", 9)
    before = drawn(inside, "post")
    inside.press("carry")
    assert inside.error() == "MRD-E927" and (drawn(inside, "post") == before).all()
    again(inside)


def test_a_scan_that_leaves_takes_the_click_that_was_waited_for_and_the_answer_along(inside, monkeypatch):
    monkeypatch.setattr(asking, "can_ask", lambda _result: True)
    monkeypatch.setattr(asking, "ask", lambda choices, _result: SimpleNamespace(peak_lps_mm=(0, 0, 0), displacement_mm=3.0, spread_mm=2.0, note=""))
    inside.sets(step="explain")
    inside.press("ask_here")
    assert inside.error() is None and "3 mm away" in inside.look("point_lines")[0]
    inside.press("pick")
    assert inside.look("picking") is True and inside.look("point_lines") == []
    inside.press("ask_here")
    inside.press("pick")
    again(inside)
    assert inside.look("picking") is False and inside.look("point_lines") == []
    mode = inside.do(lambda page: page.scene.GetNthNodeByClass(0, "vtkMRMLInteractionNode"))
    assert mode.GetCurrentInteractionMode() != mode.Place


def test_the_answer_about_a_place_goes_with_its_result(inside, monkeypatch, tmp_path):
    monkeypatch.setattr(asking, "can_ask", lambda _result: True)
    monkeypatch.setattr(asking, "ask", lambda choices, _result: SimpleNamespace(peak_lps_mm=(0, 0, 0), displacement_mm=3.0, spread_mm=2.0, note=""))
    monkeypatch.setattr(inside.page.sitting, "result_folder", lambda: tmp_path / "one")
    monkeypatch.setattr(inside.page.sitting, "settle", lambda: None)
    inside.press("ask_here")
    inside.do(lambda page: page.refresh())
    assert inside.look("point_lines")
    monkeypatch.setattr(inside.page.sitting, "result_folder", lambda: tmp_path / "another")
    inside.do(lambda page: page.refresh())
    assert inside.look("point_lines") == [] and inside.do(lambda page: page.sitting.choices.point.GetNumberOfControlPoints()) == 0


def test_zooming_has_an_end_both_ways(inside):
    width = lambda: min(inside.do(lambda page: page.views.node("pre", "Axial").GetFieldOfView()[:2]))
    for name, most in (("closer", 10.0), ("wider", 1000.0)):
        for _ in range(30):
            inside.press(name)
        assert width() == pytest.approx(most, rel=1e-6)
    inside.press("fit")


# Scans that are exchanged

def test_a_scan_in_the_place_of_another_takes_all_that_was_made_of_that_one_away(inside):
    """Outlines, alignment, what can be undone, its DICOM file; the other scan's outlines stay."""
    draw(inside, "post", 9)
    header = inside.do(lambda page: page.sitting.session.path("upload-pre7.dcm"))
    header.write_bytes(b"MUSTERMANN^ERIKA")
    inside.sets(step="tumour", outline="pre")
    inside.sets(tool="threshold")
    inside.press("apply")
    assert inside.look("can_undo") is True and len(inside.look("sizes")[0]) == 4
    inside.do(lambda page: page.headers.note(page.sitting.choices.pre_volume, header))
    inside.sets(step="scans")
    inside.load(pre=body_with_ball(empty_image("oblique"), CENTRE_MM, 16))
    inside.until(lambda _page: not header.exists())
    assert inside.look("can_undo") is False and inside.look("tool") == "look" and inside.look("aligned") is False
    assert list(inside.masks()) == ["post"]
    assert inside.do(lambda page: page.headers._paths) == {}
    inside.press("undo")
    assert inside.error() is None and list(inside.masks()) == ["post"]
    again(inside)


def test_a_case_folders_own_dicom_file_is_not_removed_with_its_scan(inside, tmp_path):
    header = tmp_path / "pre-0123456789ab.dcm"
    header.write_bytes(b"")
    inside.do(lambda page: page.headers.note(page.sitting.choices.pre_volume, header))
    again(inside)
    assert header.exists()


def test_exchanged_scans_change_rows_and_remarks_and_lose_their_alignment(inside):
    def nodes(page):
        return page.sitting.choices.pre_volume, page.sitting.choices.post_volume
    inside.do(lambda page: page.steps["scans"]._notices.update(pre=(Notice("MRD-W101", "of the first", fix="look"),)))
    before = inside.do(nodes)
    inside.sets(brightness_pre=0.8)
    inside.press("swap")
    assert inside.do(nodes) == before[::-1] and inside.error() is None
    assert inside.look("aligned") is False and inside.look("brightness_pre") == 0.5
    assert inside.do(lambda page: [page.views.layers(role)[0].GetBackgroundVolumeID() for role in ("pre", "post")]) == [node.GetID() for node in before[::-1]]
    assert list(inside.do(lambda page: dict(page.steps["scans"]._notices))) and inside.do(lambda page: page.steps["scans"]._notices["pre"]) == ()
    again(inside)


def test_results_are_shown_as_out_of_date_after_an_edit(inside, monkeypatch):
    """What the steps say of a result that no longer rests on what is there."""
    facts = {"schema": "s", "p_pcr": 0.7, "p_pcr_low": 0.6, "p_pcr_high": 0.8, "threshold": 0.5, "predicted_class": "pCR", "warnings": [],
             "familiarity": {"light": "green", "reasons": []}}
    sitting = inside.page.sitting
    prediction = SimpleNamespace(changed=("pre_mask",), is_demo=True)
    monkeypatch.setattr(sitting, "result_facts", lambda: facts)
    situation = inside.do(lambda page: sitting.situation())
    refresh = lambda: inside.do(lambda page: page.steps["predict"].refresh(dataclasses.replace(situation, prediction=prediction), None))
    refresh()
    assert inside.look("answer")["number"] == "0.70" and "Out of date" in inside.look("stale") and inside.look("answer_is_demo") is True
    prediction.changed = ()
    refresh()
    assert inside.look("stale") == ""
    again(inside)
    assert inside.look("answer") is None


def test_another_report_is_asked_for_anew_and_one_that_left_is_closed(inside, monkeypatch):
    situation = inside.do(lambda page: page.sitting.situation())
    numbers = []
    for text in ("one", "one", "another"):
        monkeypatch.setattr(inside.page.sitting.choices, "report", SimpleNamespace(GetText=lambda text=text: text))
        inside.sets(report_open=True)
        inside.do(lambda page: page.steps["report"].refresh(dataclasses.replace(situation, report_written=True), None))
        numbers.append(inside.look("report_number"))
    assert numbers[0] == numbers[1] < numbers[2] and inside.look("report_open") is True
    inside.do(lambda page: page.steps["report"].refresh(dataclasses.replace(situation, report_written=False), None))
    assert inside.look("report_open") is False


# Faults in what goes on beside

def test_what_fails_beside_the_page_is_told(inside):
    async def fails():
        raise EnvironmentProblem("full", code="MRD-E810", fix="make room")
    inside.do(lambda page: page.spawn(fails()))
    inside.until(lambda page: page.state.error)
    assert inside.error() == "MRD-E810"


def test_a_case_that_could_not_be_written_is_tried_again_at_the_next_change(inside, monkeypatch, tmp_path):
    written = []

    def write(found, _session, _case):
        written.append(found)
        if len(written) == 1:
            raise EnvironmentProblem("full", code="MRD-E810", fix="make room")
    monkeypatch.setattr(page_module.keeping, "write", write)
    monkeypatch.setattr(inside.page, "case", tmp_path)
    monkeypatch.setattr(type(inside.page.server), "running", property(lambda _server: True))
    inside.do(lambda page: page.keep())
    inside.until(lambda page: page.state.error)
    assert inside.error() == "MRD-E810"
    inside.do(lambda page: page.keep())
    inside.until(lambda page: len(written) == 2 and not page._tasks)
    inside.do(lambda page: page.keep())
    inside.do(lambda page: page.keep())
    assert len(written) == 2, "what has not changed is not written again"
    again(inside)
    inside.until(lambda page: len(written) > 2 and not page._tasks)


def test_a_view_is_no_larger_than_a_screen_whatever_a_browser_says(inside):
    def resized(page):
        view = page.views.view("pre", "Axial")
        adapter = page.slicer_app.view_manager._factories[-1].get_factory_view(view.get_singleton_tag()).view_adapter
        adapter.update_size("nobody", {"w": 10**5, "h": 10**5, "p": 3})
        large = np.prod(view.render_window().GetSize())
        adapter.update_size("nobody", {"w": 400, "h": 300, "p": 1})
        return large, view.render_window().GetSize()
    large, size = inside.do(resized)
    assert large <= MOST_PIXELS and tuple(size) == (400, 300)


# What is not there

def test_without_torch_everything_but_predicting_is_offered(tmp_path):
    inside = Inside(tmp_path, packages=lambda: {"missing_packages": ("torch",)})
    try:
        again(inside)
        views = inside.look("views")
        assert views["predict"]["why_not"] == "Install torch first; all else works without." and not views["predict"]["can_run"]
        assert views["align"]["can_run"] and views["report"]["can_run"]
    finally:
        inside.close()


def test_a_case_folder_that_cannot_be_written_any_more_is_told_and_the_page_goes_on(tmp_path, monkeypatch):
    case = tmp_path / "case"
    case.mkdir()
    inside = Inside(tmp_path / "base", case=case)
    monkeypatch.setattr(type(inside.page.server), "running", property(lambda _server: True))
    try:
        case.rmdir()
        case.write_text("a file stands where the folder was")
        inside.load(pre=empty_image("straight") + 1)
        inside.until(lambda page: page.state.error)
        assert inside.error() == "MRD-E812" and inside.look("has_pre") is True
        case.unlink()
        case.mkdir()
        inside.sets(grade=2)
        inside.until(lambda page: (case / "case.json").is_file() and not page._tasks)
        assert '"mrtrg": 2' in (case / "case.json").read_text()
    finally:
        inside.close()


# The end

def test_nothing_that_was_still_to_be_written_comes_after_what_the_end_has_written(inside, monkeypatch, tmp_path):
    """A thread that was waiting to write an older state when the page was stopped."""
    written = []
    monkeypatch.setattr(page_module.keeping, "write", lambda found, _session, _case: written.append(found))
    monkeypatch.setattr(page_module.keeping, "collected", lambda _sitting: "the last")
    monkeypatch.setattr(inside.page, "case", tmp_path)
    monkeypatch.setattr(inside.page, "_closed", False)
    monkeypatch.setattr(inside.page.sitting, "close", lambda: written.append("closed"))
    inside.page._write_unless_closed("an older one")
    inside.page.close()
    inside.page._write_unless_closed("an older one")
    assert written == ["an older one", "the last", "closed"]


def test_a_last_state_that_cannot_be_written_is_told_and_no_file_stays(inside, monkeypatch, tmp_path):
    closed = []

    def full(*_):
        raise EnvironmentProblem("full", code="MRD-E810")

    monkeypatch.setattr(page_module.keeping, "write", full)
    monkeypatch.setattr(inside.page, "case", tmp_path)
    monkeypatch.setattr(inside.page, "_closed", False)
    monkeypatch.setattr(inside.page.sitting, "close", lambda: closed.append(True))
    with pytest.raises(EnvironmentProblem):
        inside.page.close()
    assert closed
