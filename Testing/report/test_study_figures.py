"""Figures of a study: curves pass through their points, tables of counts hold the data's counts, nothing overlaps or leaves the sheet, bytes repeat."""

from __future__ import annotations

import io
import itertools
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from MRDeltaNetLib.report.study.figures import DRAWN, SAID, style  # noqa: E402
from MRDeltaNetLib.report.study.figures.heatmap import heatmap  # noqa: E402
from Testing import made_up_evaluation as made_up  # noqa: E402

ODD = {
    "flow": lambda: made_up.flow(6, made_up.odd_label), "roc": lambda: made_up.roc(5, points=5, label=made_up.odd_label), "precision_recall": lambda: made_up.precision_recall(5, made_up.odd_label),
    "calibration": lambda: made_up.calibration(5, label=made_up.odd_label), "decision_curve": lambda: made_up.decision_curve(5, made_up.odd_label),
    "forest": lambda: made_up.forest(40, True, made_up.odd_label), "kaplan_meier": lambda: made_up.kaplan_meier(12, label=made_up.odd_label, last=3650.0, unit="days"),
    "time_dependent_auc": lambda: made_up.time_dependent_auc(10), "schoenfeld": lambda: made_up.schoenfeld(7, label=made_up.odd_label), "boxes": lambda: made_up.boxes(12, 900, made_up.odd_label),
    "heatmap": lambda: made_up.heatmap(1026, 18, made_up.odd_label)}
KINDS = {"usual": {kind: build for kind, build in made_up.BUILT.items()}, "odd": ODD, "minimal": {kind: (lambda data=data: data) for kind, data in made_up.MINIMAL.items()}}
CASES = [pytest.param(kind, build, id=f"{name}-{kind}") for name, builds in KINDS.items() for kind, build in builds.items()]
TOUCH_PX = 1.0
"""Boxes of texts are as high as the font's tallest letter; edges that touch by less than this do not overlap."""


def drawn(kind: str, data):
    with style.drawing():
        figure = DRAWN[kind](data)
        figure.canvas.draw()
    return figure


def texts(figure) -> list:
    """Every text that is really drawn (matplotlib keeps tick labels beyond the limits of an axis), with its box in pixels."""
    from matplotlib.text import Text
    found, draw = [], Text.draw

    def watched(text, renderer, *arguments, **settings):
        if text.get_visible() and text.get_text().strip():
            found.append((text.get_text(), text.get_window_extent(renderer)))
        return draw(text, renderer, *arguments, **settings)

    with style.drawing(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", watched)
        figure.canvas.draw()
    return found


def words(figure) -> list[str]:
    return [text for text, _ in texts(figure)]


def test_every_kind_is_drawn_and_told():
    assert set(DRAWN) == set(SAID) == set(made_up.BUILT) == set(made_up.MINIMAL) == set(ODD)


@pytest.mark.parametrize("kind, build", CASES)
def test_no_text_overlaps_another_or_leaves_the_sheet(kind, build):
    figure = drawn(kind, build())
    width, height = figure.canvas.get_width_height()
    placed = texts(figure)
    for text, box in placed:
        assert box.x0 >= -TOUCH_PX and box.y0 >= -TOUCH_PX and box.x1 <= width + TOUCH_PX and box.y1 <= height + TOUCH_PX, f"{text!r} leaves the sheet"
    for (first, one), (second, other) in itertools.combinations(placed, 2):
        across = min(one.x1, other.x1) - max(one.x0, other.x0)
        down = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert across <= TOUCH_PX or down <= TOUCH_PX, f"{first!r} and {second!r} overlap by {across:.1f} x {down:.1f} px"


@pytest.mark.parametrize("kind, build", CASES)
def test_fonts_are_of_a_size_that_journals_print(kind, build):
    from matplotlib.text import Text
    figure = drawn(kind, build())
    sizes = {text.get_fontsize() for text in figure.findobj(Text) if text.get_text().strip()}
    assert sizes <= {style.TEXT_PT, style.SMALL_PT}
    assert round(figure.get_size_inches()[0] * 25.4, 1) in (style.SINGLE_MM, style.DOUBLE_MM)


@pytest.mark.parametrize("kind, build", CASES)
def test_the_same_data_give_the_same_svg_and_png(kind, build):
    pairs = []
    for _ in range(2):
        with style.drawing():
            figure = DRAWN[kind](build())
            pairs.append((style.svg_bytes(figure), style.png_bytes(style.pixels(figure))))
    assert pairs[0] == pairs[1]


@pytest.mark.parametrize("kind, build", CASES)
def test_svg_is_well_formed_and_loads_nothing(kind, build):
    with style.drawing():
        content = style.svg_bytes(DRAWN[kind](build()))
    root = ElementTree.fromstring(content)
    assert not [element for element in root.iter() if element.tag.rsplit("}", 1)[-1] in ("script", "foreignObject", "a", "iframe")]
    for element in root.iter():
        for name, value in element.attrib.items():
            assert not name.startswith("on")
            if name.rsplit("}", 1)[-1] == "href":
                assert value.startswith(("#", "data:image/png;base64,"))


@pytest.mark.parametrize("kind, build", CASES)
def test_what_a_figure_says_in_words_is_one_line_of_text(kind, build):
    said = SAID[kind](build())
    assert len(said) > 10 and "\n" not in said and "nan" not in said.lower().split()


def test_png_has_300_dots_an_inch_and_no_transparency():
    from PIL import Image
    with style.drawing():
        content = style.png_bytes(style.pixels(DRAWN["roc"](made_up.roc())))
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == "RGB" and image.size[0] == pytest.approx(style.SINGLE_MM / 25.4 * 300, abs=1)
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1) and set(image.info) == {"dpi"}


@pytest.mark.parametrize("kind, x, y", [("roc", "fpr", "tpr"), ("precision_recall", "recall", "precision"), ("calibration", "x", "y")])
def test_curves_pass_through_the_given_points_on_equal_axes(kind, x, y):
    data = made_up.BUILT[kind](3)
    axes = drawn(kind, data).axes[0]
    lines = [(line.get_xdata(), line.get_ydata()) for line in axes.lines]
    for curve in data["curves"]:
        assert any(len(drawn_x) == len(curve[x]) and np.array_equal(drawn_x, curve[x]) and np.array_equal(drawn_y, curve[y]) for drawn_x, drawn_y in lines)
    box = axes.get_window_extent()
    assert box.width == pytest.approx(box.height) and axes.get_xlim() == axes.get_ylim()


def test_the_legend_of_a_roc_curve_has_the_area_with_its_interval_however_long_the_name_is():
    data = made_up.roc(5, label=made_up.odd_label)
    shown = " ".join(words(drawn("roc", data)))
    for curve in data["curves"]:
        assert f"{curve['auc']:.3f} ({curve['lo']:.3f} to {curve['hi']:.3f})" in shown


def test_a_survival_curve_steps_down_at_its_times_and_goes_on_to_the_last_observation():
    data = made_up.kaplan_meier(2)
    axes = drawn("kaplan_meier", data).axes[0]
    curves = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    assert len(curves) == 2
    for line, group in zip(curves, data["groups"]):
        assert list(line.get_xdata())[:len(group["time"])] == group["time"] and list(line.get_ydata())[:len(group["time"])] == group["survival"]
        assert line.get_xdata()[-1] == max(group["censored"]) and line.get_ydata()[-1] == group["survival"][-1]
    ticks = [line for line in axes.lines if line.get_marker() == "|"]
    assert [len(line.get_xdata()) for line in ticks] == [len(group["censored"]) for group in data["groups"]]


def test_figures_of_very_many_cases_stay_small_and_keep_their_ends():
    data = made_up.kaplan_meier(2, 20_000)
    with style.drawing():
        figure = DRAWN["kaplan_meier"](data)
        assert len(style.svg_bytes(figure)) < 500_000
    line = next(line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post")
    group = data["groups"][0]
    assert (line.get_xdata()[0], line.get_ydata()[0]) == (0.0, 1.0) and line.get_xdata()[-1] == max(group["censored"]) and line.get_ydata()[-1] == group["survival"][-1]
    steps = np.interp(group["time"], line.get_xdata(), line.get_ydata())
    assert np.abs(steps - group["survival"]).max() < 0.002


@pytest.mark.parametrize("groups", [1, 2, 12])
def test_the_risk_table_holds_the_counts_below_the_ticks_they_belong_to(groups):
    data = made_up.kaplan_meier(groups, label=lambda place: f"group {place + 1}")
    figure = drawn("kaplan_meier", data)
    axes = figure.axes[0]
    ticks = {float(tick): axes.transData.transform((tick, 0))[0] for tick in axes.get_xticks()}
    assert list(ticks) == data["risk_times"]
    placed = texts(figure)
    below = axes.get_window_extent().y0
    for place, time in enumerate(data["risk_times"]):
        column = [int(text) for text, box in sorted(placed, key=lambda found: -found[1].y0)
                  if text.isdigit() and box.y1 < below - 40 and abs((box.x0 + box.x1) / 2 - ticks[time]) < 2]
        assert column == [group["n_risk"][place] for group in data["groups"]]


def test_risk_times_that_would_run_into_each_other_are_thinned():
    data = made_up.kaplan_meier(1)
    data["risk_times"] = [float(time) for time in range(0, 61, 2)]
    data["groups"][0]["n_risk"] = [100_000 - time for time in range(len(data["risk_times"]))]
    ticks = drawn("kaplan_meier", data).axes[0].get_xticks()
    assert 2 <= len(ticks) < 31 and set(ticks) <= set(data["risk_times"])


def test_the_log_rank_p_is_told_however_long_the_text_is():
    data = made_up.kaplan_meier(2) | {"text": made_up.LONG * 3}
    assert any("log-rank p <\u00a00.001" in text for text in words(drawn("kaplan_meier", data)))


def test_a_forest_has_every_estimate_in_words_and_at_its_place():
    data = made_up.forest(8, True)
    figure = drawn("forest", data)
    shown = words(figure)
    axes = figure.axes[0]
    marks = sorted(line.get_xdata()[0] for line in axes.lines if line.get_marker() == "s")
    known = sorted(row["value"] for row in data["rows"] if row["value"] is not None and not row["pooled"])
    assert marks == pytest.approx(known)
    assert "not estimable" in shown
    assert sum(f"{row['value']:.2f} (" in " ".join(shown) for row in data["rows"] if row["value"]) == len(known) + 1
    assert axes.get_xscale() == "log" and [line for line in axes.lines if line.get_marker() in "<>" and line.get_marker()], "an interval that leaves the axis has an arrow head"


def test_one_wide_interval_does_not_stretch_a_linear_axis():
    data = made_up.forest(6, False, pooled=False)
    data["rows"].append({"label": "summary", "group": None, "n": None, "events": None, "value": 0.8, "lo": -20.0, "hi": 22.0, "pooled": True})
    low, high = drawn("forest", data).axes[0].get_xlim()
    assert high - low < 3


def test_net_benefit_far_below_zero_is_left_out_of_view():
    axes = drawn("decision_curve", made_up.decision_curve()).axes[0]
    low, high = axes.get_ylim()
    assert -0.12 < low < 0 < high < 0.4 and axes.get_xlim() == (0, 1)


def test_histogram_counts_stand_above_and_below_the_line():
    data = made_up.calibration()
    bars = [patch.get_height() for patch in drawn("calibration", data).axes[1].patches]
    assert [height for height in bars if height > 0] == [count for count in data["histogram"]["pcr"] if count]
    assert [-height for height in bars if height < 0] == [count for count in data["histogram"]["non_pcr"] if count]


def test_the_heatmap_shows_every_case_in_its_colour_and_what_is_missing_white():
    data = {"scores": [0.9, 0.5, 0.1], "rows": [{"label": "Outcome", "kind": "category", "levels": ["pCR", "no pCR"], "values": ["pCR", None, "no pCR"]},
                                               {"label": "Age", "kind": "number", "values": [40.0, 60.0, None]}]}
    with style.drawing():
        figure = heatmap(data)
    strips = [np.asarray(image.get_array()) for axes in figure.axes for image in axes.images if image.get_array().shape[1] == 3]
    assert len(strips) == 2 and all(strip.shape == (1, 3, 3) for strip in strips)
    assert (strips[0][0, 1] == 255).all() and (strips[1][0, 2] == 255).all()
    assert not (strips[0][0, 0] == strips[0][0, 2]).all() and not (strips[1][0, 0] == strips[1][0, 1]).all()


def test_boxes_show_median_and_quartiles():
    values = np.arange(1.0, 101.0)
    axes = drawn("boxes", {"groups": [{"label": "a", "values": values.tolist()}], "y_label": "x", "unit": "mm"}).axes[0]
    lines = [line.get_xdata() for line in axes.lines]
    assert any(np.array_equal(line, [50.5, 50.5]) for line in lines)
    corners = axes.patches[0].get_path().vertices[:, 0]
    assert (corners.min(), corners.max()) == (np.quantile(values, 0.25), np.quantile(values, 0.75))


def test_strokes_differ_in_colour_or_dashes_and_separate_in_grey():
    pairs = [(stroke["color"], str(stroke["linestyle"])) for stroke in map(style.stroke, range(12))]
    assert len(set(pairs)) == 12
    luminance = [_luminance(colour) for colour in style.COLOURS]
    assert all((1.05) / (value + 0.05) >= 3 for value in luminance), "contrast of a line against white, WCAG 1.4.11"
    assert len({pair[1] for pair in pairs[:6]}) == 6, "the first six curves each have their own dashes"


def _luminance(colour: str) -> float:
    channels = [int(colour[place:place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("width", [12.0, 30.0, 80.0])
@pytest.mark.parametrize("place", range(12))
def test_wrapped_lines_are_no_wider_than_asked_and_lose_nothing_but_by_an_ellipsis(place, width):
    text = style.clean(made_up.odd_label(place))
    lines = style.wrapped(text, width)
    assert 1 <= len(lines) <= 3 and all(style.text_mm(line) <= width + 0.01 for line in lines)
    joined, whole = "".join(lines).replace(" ", ""), text.replace(" ", "")
    assert joined == whole or joined.endswith("\u2026") and whole.startswith(joined[:-1])


def test_measured_widths_are_those_that_are_drawn():
    with style.drawing():
        sheet = style.Sheet(180, 20)
        text = sheet.text(2, 2, made_up.LONG)
        sheet.figure.canvas.draw()
        assert text.get_window_extent().width / style.DPI * 25.4 == pytest.approx(style.text_mm(made_up.LONG), rel=0.02)


def test_settings_of_matplotlib_are_as_before_after_drawing():
    import matplotlib
    before = dict(matplotlib.rcParams)
    with style.drawing():
        style.svg_bytes(DRAWN["roc"](made_up.roc()))
    assert dict(matplotlib.rcParams) == before
