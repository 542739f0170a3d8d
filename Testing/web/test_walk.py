"""The walk of a new user in the browser: sample pair to report, with the same numbers as the command line."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from Testing.web.conftest import REPOSITORY, STEPS, Server, changes, do, frame, idle, press, sample, section, show, step, stroke, until, volume


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """The case folder of the page."""
    return tmp_path_factory.mktemp("kept") / "case"


@pytest.fixture(scope="module")
def server(tmp_path_factory, case):
    """A page that keeps its case; the last test kills it."""
    running = Server(tmp_path_factory.mktemp("page"), case)
    yield running
    running.stop()

PLANES = ("axial", "sagittal", "coronal")


@pytest.fixture(scope="module")
def walked(server, chromium, tmp_path_factory):
    """The whole walk, once: the tab, and the result folder as it was downloaded."""
    tab = show(chromium, server.address)
    sample(tab)
    do(tab, "Align", "Align")
    do(tab, "Predict", "Predict")
    step(tab, "Report")
    with tab.expect_download() as download:
        tab.get_by_text("Download the result folder").click()
    folder = tmp_path_factory.mktemp("result")
    zipfile.ZipFile(download.value.path()).extractall(folder)
    yield tab, folder
    tab.context.close()


def shown(tab, title: str) -> str:
    step(tab, title)
    return section(tab, title).inner_text()


def outline(tab, name: str) -> None:
    """Draw on an outline; the upper left view's middle shows the tumour's."""
    step(tab, "Scans")
    step(tab, "Tumour")
    tab.get_by_label(name).check()
    for button in ("Whole scan", "Closer", "Closer"):
        press(tab, button)
    tab.wait_for_timeout(700)


def tool(tab, name: str) -> None:
    """Take up a tool, once the server has it."""
    press(tab, name)
    tab.wait_for_selector(f"button[aria-pressed=true]:has-text('{name}')")
    tab.wait_for_timeout(300)


def test_every_step_is_done_and_the_page_spoke_to_nobody_else(walked, server):
    tab, _ = walked
    states = tab.locator("button.step .said").all_inner_texts()
    assert len(states) == 6 and "to do" not in states
    assert tab.hosts == {server.root.split("/")[2]}


def test_the_page_says_demo_and_research(walked):
    tab, _ = walked
    assert "DEMO WEIGHTS" in tab.locator(".demo").inner_text() and "Research use only" in tab.locator("header.head").inner_text()


def test_the_number_on_the_page_is_that_of_the_result(walked):
    tab, folder = walked
    result = json.loads((folder / "result.json").read_text())
    text = shown(tab, "Predict")
    assert f"P(pCR) {result['p_pcr']:.2f} ({result['p_pcr_low']:.2f} to {result['p_pcr_high']:.2f})" in text and result["predicted_class"] in text
    assert "DEMO WEIGHTS: on a patient this number means nothing." in text


@pytest.mark.slow
def test_page_and_command_line_give_the_same_number_and_maps(walked, server, tmp_path):
    """The scans and outlines that the page used, its alignment, and the command line."""
    _, folder = walked
    session, out = server.session, tmp_path / "out"
    job = {name: str(session / f"{name}.nrrd") for name in ("pre", "post", "pre_mask", "post_mask", "residual_mask")}
    job |= {"out": str(out), "transform": str(session / "accepted" / "registration.tfm"), "steps": ["masks", "predict", "explain", "report"]}
    (tmp_path / "job.json").write_text(json.dumps(job))
    subprocess.run([sys.executable, "-m", "MRDeltaNetLib", "run", str(tmp_path / "job.json")], cwd=REPOSITORY, check=True, capture_output=True)
    assert json.loads((out / "result.json").read_text())["p_pcr"] == json.loads((folder / "result.json").read_text())["p_pcr"]
    for name in ("attention_pre", "attention_post", "change_post", "pre_mask", "post_mask"):
        mine, theirs = (sitk.ReadImage(str(place / f"{name}.nrrd")) for place in (folder, out))
        assert np.array_equal(sitk.GetArrayFromImage(mine), sitk.GetArrayFromImage(theirs)) and mine.GetOrigin() == theirs.GetOrigin()


def test_the_report_is_shown_without_scripts(walked):
    tab, _ = walked
    step(tab, "Report")
    press(tab, "Show the report")
    tab.frame_locator("iframe").get_by_text("Research use only").first.wait_for()
    assert tab.locator("iframe").get_attribute("sandbox") == ""
    press(tab, "Close the report")
    tab.wait_for_selector("iframe", state="detached")
    press(tab, "Show the report")
    tab.wait_for_selector("iframe")
    tab.keyboard.press("Escape")
    tab.wait_for_selector("iframe", state="detached")


def test_the_scene_opens_in_slicers_library(walked, tmp_path):
    from MRDeltaNetLib.mrml.bootstrap import own_scene, quiet
    tab, _ = walked
    step(tab, "Report")
    with tab.expect_download() as download:
        tab.get_by_text("Download the Slicer scene").click()
    assert download.value.suggested_filename == "mrdeltanet-scene.mrb"
    zipfile.ZipFile(download.value.path()).extractall(tmp_path)
    with own_scene() as scene, quiet():
        scene.SetURL(str(next(tmp_path.rglob("*.mrml"))))
        assert scene.Import() == 1
        assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") >= 4 and scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 2


def test_alignment_is_judged_side_by_side_blended_and_in_squares(walked):
    tab, _ = walked
    step(tab, "Align")
    assert "Mutual information after (nats)" in section(tab, "Align").inner_text()
    pictures = set()
    for way in ("Side by side", "Blended", "In squares"):
        tab.get_by_label(way).check()
        tab.wait_for_timeout(1200)
        pictures.add(tab.locator(".views img").nth(3).screenshot())
        assert tab.locator(".label.post").all_inner_texts() == [f"{'After treatment' if way == 'Side by side' else 'Both'}, {plane}" for plane in PLANES]
    assert len(pictures) == 3
    tab.get_by_label("Side by side").check()


def test_directions_stand_at_the_edges_of_every_view_as_radiologists_read_them(walked):
    tab, _ = walked
    found = [tab.locator(f".edge.{edge}").all_inner_texts() for edge in ("left", "right", "top", "bottom")]
    assert [*zip(*found)] == 2 * [("R", "L", "A", "P"), ("A", "P", "H", "F"), ("R", "L", "H", "F")]


def test_a_map_has_a_scale_a_resolution_and_a_name_and_no_map_gives_the_scan_back(walked):
    tab, _ = walked
    step(tab, "Explain")
    tab.select_option("#map", "attention_pre")
    tab.wait_for_selector(".scale[aria-label^='Colour scale of Attention']")
    assert "True resolution" in section(tab, "Explain").inner_text()
    tab.wait_for_timeout(1200)
    with_map = tab.locator(".views").screenshot()
    changes(tab, lambda: frame(tab, 0), lambda: tab.select_option("#map", label="No map"))
    tab.wait_for_timeout(1200)
    assert with_map != tab.locator(".views").screenshot() and not tab.locator(".scale").count()
    tab.select_option("#map", "attention_pre")
    changes(tab, lambda: frame(tab, 0), lambda: tab.locator("#map-opacity").fill("1"))


@pytest.mark.slow
def test_a_further_map_is_asked_for_and_shown_with_its_caution(walked):
    tab, _ = walked
    step(tab, "Explain")
    tab.select_option("#more", "null")
    press(tab, "Make the map")
    tab.wait_for_selector(".running", state="visible")
    idle(tab)
    assert not tab.locator(".error").count()
    until(tab, lambda: tab.locator("#map").input_value().startswith("null_"))
    assert "Caution" in section(tab, "Explain").inner_text() and "stale" not in shown(tab, "Predict")


def test_a_click_on_the_second_scan_is_answered_on_the_first(walked):
    tab, _ = walked
    step(tab, "Explain")
    press(tab, "Click a place after treatment")
    tab.get_by_text("Click into one of the lower views").wait_for()
    box = tab.locator(".views img").nth(3).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    for shift in (-5, 0):
        tab.mouse.move(x + shift, y)
        tab.wait_for_timeout(500)
    tab.mouse.click(x, y)
    section(tab, "Explain").get_by_text("Compared most with a place").wait_for()


def test_the_same_is_asked_with_the_keyboard(walked):
    tab, _ = walked
    step(tab, "Scans")
    step(tab, "Explain")
    tab.get_by_role("button", name="Ask where the slices meet").focus()
    tab.keyboard.press("Enter")
    section(tab, "Explain").get_by_text("Compared most with a place").wait_for()


def slices(tab) -> list[float]:
    return [float(value) for value in tab.locator("input.slice").evaluate_all("each => each.map(one => one.value)")]


def test_the_views_of_both_scans_scroll_together_with_wheel_and_keyboard(walked):
    tab, _ = walked
    step(tab, "Align")
    press(tab, "Whole scan")
    tab.wait_for_timeout(1000)
    before = slices(tab)
    box = tab.locator(".views img").nth(0).bounding_box()
    tab.mouse.move(box["x"] + 40, box["y"] + 60)
    for _ in range(3):
        tab.mouse.wheel(0, 100)
        tab.wait_for_timeout(200)
    after = until(tab, lambda: (now := slices(tab))[0] != before[0] and now[0] == pytest.approx(now[3], abs=0.01) and now)
    assert abs(after[0] - before[0]) > 1 and after[1:3] == pytest.approx(before[1:3], abs=0.01)
    tab.locator("input.slice").nth(4).focus()
    changes(tab, lambda: slices(tab)[1], lambda: tab.keyboard.press("ArrowRight"))


def test_zoom_and_pan_of_one_view_are_those_of_its_partner(walked):
    """Right button and wheel move a view as in Slicer: the partner's picture follows, other planes stay."""
    tab, _ = walked
    step(tab, "Align")
    press(tab, "Whole scan")
    tab.wait_for_timeout(1000)
    pictures = [tab.locator(".views img").nth(view).screenshot() for view in (0, 3)]
    box = tab.locator(".views img").nth(0).bounding_box()
    tab.mouse.move(box["x"] + 140, box["y"] + 160)
    tab.mouse.down(button="right")
    tab.mouse.move(box["x"] + 140, box["y"] + 220, steps=5)
    tab.mouse.up(button="right")
    tab.wait_for_timeout(1000)
    zoomed = [tab.locator(".views img").nth(view).screenshot() for view in (0, 3)]
    assert all(one != other for one, other in zip(pictures, zoomed))
    changes(tab, lambda: frame(tab, 3), lambda: press(tab, "Closer"))
    changes(tab, lambda: frame(tab, 3), lambda: press(tab, "Whole scan"))


def test_brightness_begins_at_the_scans_own_window_and_changes_one_row_alone(walked):
    tab, _ = walked
    step(tab, "Align")
    tab.wait_for_timeout(800)
    sliders = tab.locator(".strip input")
    assert sliders.evaluate_all("each => each.map(one => one.value)") == ["0.5"] * 4
    before, other = level(tab, 0), level(tab, 3)
    sliders.nth(0).fill("0.8")
    until(tab, lambda: level(tab, 0) > before + 10)
    assert abs(level(tab, 3) - other) < 1
    press(tab, "Brightness and contrast as the scans suggest")
    until(tab, lambda: sliders.nth(0).input_value() == "0.5")
    until(tab, lambda: abs(level(tab, 0) - before) < 1)


def level(tab, view: int) -> float:
    """Mean grey level of a view's picture, 0 to 255."""
    return np.asarray(Image.open(io.BytesIO(tab.locator(".views img").nth(view).screenshot())).convert("L")).mean()


def test_a_stroke_changes_its_own_scan_alone_and_undo_takes_it_back(walked):
    tab, _ = walked
    outline(tab, "Tumour before treatment")
    before = volume(tab)
    tool(tab, "Paint")
    stroke(tab, 3)
    tab.wait_for_timeout(1500)
    assert volume(tab) == before, "a stroke in the other scan's view painted"
    tool(tab, "Erase")
    assert changes(tab, lambda: volume(tab), lambda: stroke(tab, 0)) < before
    assert "warning" in tab.locator("button.step", has_text="Predict").inner_text()
    erased = volume(tab)
    assert changes(tab, lambda: volume(tab), lambda: press(tab, "Undo")) == before
    assert changes(tab, lambda: volume(tab), lambda: press(tab, "Redo")) == erased
    assert changes(tab, lambda: volume(tab), lambda: press(tab, "Undo")) == before
    press(tab, "Look")


def test_a_threshold_takes_all_voxels_between_its_grey_values_and_no_other(walked, server):
    """Counted on the scan itself, where some of the tumour is darker; seen beforehand on its own scan alone."""
    tab, _ = walked
    scan = sitk.ReadImage(str(server.session / "pre.nrrd"))
    values = sitk.GetArrayFromImage(scan)
    outline(tab, "Tumour before treatment")
    before, other = volume(tab), orange(tab, 3)
    tool(tab, "Threshold")
    until(tab, lambda: float(tab.locator("#grey-low").input_value()) > 0)
    assert float(tab.locator("#grey-low").input_value()) == pytest.approx((values.min() + values.max()) / 2, rel=0.01), "the slider stands where its number is"
    until(tab, lambda: orange(tab, 0) > 5000)
    assert orange(tab, 3) == other
    changes(tab, lambda: volume(tab), lambda: press(tab, "Apply"))
    low, high = (float(tab.locator(name).input_value()) for name in ("#grey-low", "#grey-high"))
    millilitres = ((values >= low) & (values <= high)).sum() * np.prod(scan.GetSpacing()) / 1000
    assert volume(tab) == pytest.approx(millilitres, abs=0.06)
    assert changes(tab, lambda: volume(tab), lambda: press(tab, "Undo")) == before
    press(tab, "Look")


def orange(tab, view: int) -> int:
    """Pixels of a view in the colour of the first scan's outline."""
    red, green, blue = np.asarray(Image.open(io.BytesIO(tab.locator(".views img").nth(view).screenshot())).convert("RGB")).astype(int).transpose(2, 0, 1)
    return int(((red - blue > 80) & (red - green > 40)).sum())


def test_an_outline_is_emptied_and_undo_brings_it_back(walked):
    tab, _ = walked
    outline(tab, "Tumour bed after treatment")
    before = volume(tab, 2)
    press(tab, "Clear")
    until(tab, lambda: "After (bed)" not in section(tab, "Tumour").locator("table").inner_text())
    assert not tab.get_by_role("button", name="Clear", exact=True).is_enabled()
    press(tab, "Undo")
    until(tab, lambda: "After (bed)" in section(tab, "Tumour").locator("table").inner_text())
    assert volume(tab, 2) == before
    outline(tab, "Tumour before treatment")


def test_complete_response_cannot_be_stated_over_drawn_tumour_and_mrtrg_is_kept(walked):
    tab, _ = walked
    step(tab, "Tumour")
    box = tab.get_by_label("I see no viable tumour after treatment")
    assert box.is_disabled() and "clear that outline first" in section(tab, "Tumour").inner_text()
    tab.select_option("#grade", "3")
    step(tab, "Scans")
    step(tab, "Tumour")
    assert tab.locator("#grade").input_value() == "3"
    tab.select_option("#grade", label="Not given")


def test_two_tabs_show_one_case(walked, server, open_page):
    """One user a process: a second tab shows and changes the very same case."""
    first, _ = walked
    second = open_page(server.address)
    step(second, "Predict")
    assert "P(pCR) 0" in section(second, "Predict").inner_text()
    first.wait_for_selector("section[aria-label=Predict]:visible")


def test_cancel_stops_and_earlier_results_stay_and_a_reload_finds_the_run(walked):
    tab, _ = walked
    number = shown(tab, "Predict").split("P(pCR) ")[-1][:4]
    press(tab, "Predict again")
    tab.wait_for_selector(".running", state="visible")
    tab.reload()
    tab.wait_for_selector(".running", state="visible")
    tab.locator(".running").get_by_role("button", name="Cancel").click()
    idle(tab)
    assert "Stopped. Earlier results stay." in tab.locator(".message").first.inner_text()
    assert number in shown(tab, "Predict")


NAMELESS = """() => [...document.querySelectorAll('button, input, select, a[href], iframe, [role=slider]')].filter(each => each.offsetParent !== null)
    .filter(each => !(each.innerText || '').trim() && !each.getAttribute('aria-label') && !each.title && !(each.labels && each.labels.length))
    .map(each => each.outerHTML.slice(0, 200))"""

CONTRAST = """() => {
  const part = value => { value /= 255; return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4; };
  const light = colour => 0.2126 * part(colour[0]) + 0.7152 * part(colour[1]) + 0.0722 * part(colour[2]);
  const parsed = text => { const found = text.match(/[\\d.]+/g).map(Number); return found.length === 4 ? found : [...found, 1]; };
  const behind = each => {
    for (let one = each; one; one = one.parentElement) { const found = parsed(getComputedStyle(one).backgroundColor); if (found[3] > 0.99) return found; }
    return [255, 255, 255, 1];
  };
  const poor = [];
  for (const each of document.querySelectorAll('body *')) {
    const own = [...each.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || each.offsetParent === null || each.closest('.hidden') || each.disabled || each.closest('fieldset:disabled')) continue;
    const [one, other] = [light(parsed(getComputedStyle(each).color)), light(behind(each))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < 4.5) poor.push([ratio.toFixed(2), each.outerHTML.slice(0, 120)]);
  }
  return poor;
}"""
"""Texts whose contrast to what lies behind them is below 4.5 to 1 (WCAG 2.2, 1.4.3), with the ratio."""


@pytest.mark.parametrize("title", STEPS)
def test_every_control_has_a_name_and_every_text_its_contrast(walked, title):
    tab, _ = walked
    step(tab, title)
    assert tab.evaluate(NAMELESS) == [] and tab.evaluate(CONTRAST) == []
    ids = tab.evaluate("() => [...document.querySelectorAll('[id]')].map(each => each.id)")
    assert len(ids) == len(set(ids))


def test_letters_do_nothing_in_a_view_and_pictures_say_what_they_show(walked):
    """VTK's own keys would end the process ("e", "q") or make the picture stereo ("3")."""
    tab, _ = walked
    step(tab, "Align")
    assert tab.locator(".views img").evaluate_all("each => each.map(one => one.alt)") == [f"{when} treatment, {plane}" for when in ("Before", "After") for plane in PLANES]
    tab.locator(".views img").first.click()
    for key in "3eq":
        tab.keyboard.press(key)
    tab.locator("input.slice").nth(0).focus()
    changes(tab, lambda: slices(tab)[0], lambda: tab.keyboard.press("ArrowRight"))
    assert not tab.locator(".gone").is_visible()


def test_the_sample_pair_does_not_take_the_place_of_what_there_is_unasked(walked):
    tab, _ = walked
    step(tab, "Scans")
    press(tab, "Load a sample pair")
    press(tab, "Keep what is there")
    assert tab.locator(".running").is_hidden() and not tab.get_by_role("button", name="Keep what is there").count()
    step(tab, "Tumour")
    assert volume(tab) > 0


def test_magnified_twofold_everything_is_reached_by_scrolling(walked):
    """1280 x 800 at 200 % (WCAG 2.2, 1.4.4)."""
    tab, _ = walked
    tab.set_viewport_size({"width": 640, "height": 400})
    try:
        step(tab, "Align")
        for place in (tab.locator(".strip input").nth(3), tab.locator("input.slice").nth(5), tab.get_by_role("button", name="Align again")):
            place.scroll_into_view_if_needed()
            box = place.bounding_box()
            assert 0 <= box["x"] and box["x"] + box["width"] <= 640 and 0 <= box["y"] and box["y"] + box["height"] <= 400
        assert tab.locator(".views img").first.bounding_box()["height"] > 150
    finally:
        tab.set_viewport_size({"width": 1280, "height": 800})


def test_every_control_is_reached_with_the_tab_key_and_shows_its_focus(walked):
    tab, _ = walked
    step(tab, "Predict")
    wanted = set(tab.evaluate("""() => [...document.querySelectorAll('button, input, select, a[href]')].filter(each => each.offsetParent !== null && !each.disabled
        && !each.closest('fieldset:disabled') && each.tabIndex >= 0).map((each, place) => { each.dataset.place = place; return String(place); })"""))
    tab.locator("button.step").first.focus()
    seen, unmarked = set(), []
    for _ in range(len(wanted) + 10):
        place, width = tab.evaluate("() => [document.activeElement.dataset.place, getComputedStyle(document.activeElement).outlineWidth]")
        if place is not None:
            seen.add(place)
            unmarked += [place] if width == "0px" and seen != {place} else []
        tab.keyboard.press("Tab")
    assert seen == wanted and unmarked == []


@pytest.mark.parametrize("width, height", [(1280, 800), (1920, 1080)])
@pytest.mark.parametrize("title", STEPS)
def test_nothing_is_cut_off_or_lies_over_something_else(walked, width, height, title):
    tab, _ = walked
    tab.set_viewport_size({"width": width, "height": height})
    step(tab, title)
    wide = tab.evaluate("""() => { const panel = document.querySelector('.panel');
        const strip = document.querySelector('.strip');
        return panel.scrollWidth > panel.clientWidth || document.documentElement.scrollWidth > innerWidth || strip.scrollWidth > strip.clientWidth; }""")
    assert not wide
    tab.set_viewport_size({"width": 1280, "height": 800})


def test_the_page_says_its_language_and_tells_progress_politely(walked):
    tab, _ = walked
    assert tab.evaluate("document.documentElement.lang") == "en" and tab.locator("[role=status]").count() >= 1 and tab.locator("[role=alert]").count() == 1
    assert tab.title() == "MRDeltaNet"


def test_no_text_from_a_file_is_obeyed_and_nothing_complained(walked):
    """What is shown of files is text, so that markup in it stays text."""
    tab, _ = walked
    assert tab.evaluate("document.querySelectorAll('section script, section img').length") == 0
    assert tab.complaints == []


def test_a_page_that_is_killed_goes_on_from_its_case_folder_which_one_page_alone_has(walked, server, case, open_page, tmp_path):
    """The last test here: afterwards there is no page."""
    tab, _ = walked
    number = shown(tab, "Predict").split("P(pCR) ")[-1].split("\n")[0]
    step(tab, "Tumour")
    sizes = [volume(tab, column) for column in (1, 2)]
    tab.select_option("#grade", "2")
    until(tab, lambda: (case / "case.json").is_file() and '"mrtrg": 2' in (case / "case.json").read_text())
    second = subprocess.run([sys.executable, "-m", "MRDeltaNetLib", "serve", "--case", str(case)], cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert second.returncode == 4 and "MRD-E922" in second.stderr
    server.stop(signal.SIGKILL)
    tab.wait_for_selector("h1:has-text('lost its server')")
    assert "start it again" in tab.locator("[role=alert]").inner_text() and tab.get_by_role("link", name="Load the page again").is_visible()
    again = Server(tmp_path / "other", case)
    try:
        tab = open_page(again.address)
        tab.wait_for_timeout(1500)
        seen = picture(tab)
        press(tab, "Whole scan")
        tab.wait_for_timeout(1500)
        assert abs(picture(tab) - seen).mean() < 2, "what is taken up is seen whole"
        step(tab, "Tumour")
        assert [volume(tab, column) for column in (1, 2)] == sizes and tab.locator("#grade").input_value() == "2"
        assert "done" in tab.locator("button.step", has_text="Align").inner_text()
        assert number in shown(tab, "Predict")
        step(tab, "Explain")
        tab.wait_for_selector("#map")
    finally:
        assert again.stop() == 0


def picture(tab) -> np.ndarray:
    """The first view as it is seen, grey levels."""
    return np.asarray(Image.open(io.BytesIO(tab.locator(".views img").nth(0).screenshot())).convert("L")).astype(float)
