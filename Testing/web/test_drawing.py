"""The tools that draw, used with a hand but without a browser: how much each of them changes."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("trame_slicer", reason="needs the packages of the page: pip install 'mrdeltanet[web]'")

from MRDeltaNetLib.workflow import Outline  # noqa: E402
from Testing.made_up_result import CENTRE_MM, body_with_ball, empty_image, rigid  # noqa: E402
from Testing.web.inside import Inside  # noqa: E402

BESIDE = CENTRE_MM + (35, 0, 0)


@pytest.fixture(scope="module")
def drawing(tmp_path_factory):
    made = Inside(tmp_path_factory.mktemp("inside"))
    yield made
    made.close()


@pytest.fixture
def inside(drawing):
    """A page on the step Tumour, with nothing drawn."""
    drawing.load(**{role: body_with_ball(empty_image("straight"), CENTRE_MM, size) for role, size in (("pre", 16), ("post", 12))})
    drawing.sets(step="tumour", outline="pre")
    drawing.close_up(CENTRE_MM)
    return drawing


def millilitres(inside, role: str = "pre") -> float:
    mask = inside.masks().get(role)
    return 0.0 if mask is None else np.count_nonzero(sitk.GetArrayViewFromImage(mask)) * np.prod(mask.GetSpacing()) / 1000


def painted(inside, millimetres: float, ball: bool, *points) -> float:
    inside.sets(tool="paint", brush_mm=millimetres, sphere=ball)
    inside.click("pre", "Axial", *points)
    return millilitres(inside)


def test_a_larger_brush_adds_more_a_ball_more_still_and_a_line_more_than_a_point(inside):
    amounts = []
    for millimetres, ball, points in ((6, False, [CENTRE_MM]), (16, False, [CENTRE_MM]), (16, True, [CENTRE_MM]), (16, True, [CENTRE_MM, BESIDE])):
        amounts.append(painted(inside, millimetres, ball, *points))
        inside.press("undo")
        assert millilitres(inside) == 0
    assert 0 < amounts[0] < amounts[1] < amounts[2] < amounts[3]
    assert amounts[2] == pytest.approx(np.pi / 6 * 1.6**3, rel=0.2)
    disc = np.pi / 4 * 1.6**2 * 0.5                      # one slice of 5 mm
    assert amounts[1] == pytest.approx(disc, rel=0.25)


def test_erasing_takes_away_what_painting_added_and_redo_brings_it_back(inside):
    whole = painted(inside, 20, True, CENTRE_MM)
    inside.sets(tool="erase", brush_mm=10)
    inside.click("pre", "Axial", CENTRE_MM)
    left = millilitres(inside)
    assert left == pytest.approx(whole - np.pi / 6, rel=0.1)
    inside.press("undo")
    assert millilitres(inside) == whole
    inside.press("redo")
    assert millilitres(inside) == left
    inside.click("pre", "Axial", CENTRE_MM, BESIDE)
    inside.sets(brush_mm=40)
    inside.click("pre", "Axial", CENTRE_MM, BESIDE)
    assert millilitres(inside) == 0


def test_a_thresholds_grey_values_begin_at_half_of_the_largest_stay_as_they_were_left_and_inside_the_scans(inside):
    low, high = inside.do(lambda page: page.sitting.choices.pre_volume.GetImageData().GetScalarRange())
    inside.sets(tool="threshold")
    assert (inside.look("grey_low"), inside.look("grey_high")) == ((low + high) / 2, high) and (inside.look("grey_least"), inside.look("grey_most")) == (low, high)
    inside.sets(grey_low=150.0, grey_high=10.0**6)
    used = inside.do(lambda page: page.steps["tumour"].editing.editor.active_effect.get_threshold_min_max_values())
    assert used == (150.0, high)
    inside.sets(tool="look")
    inside.sets(tool="threshold")
    assert (inside.look("grey_low"), inside.look("grey_high")) == (150.0, high)


def test_islands_keep_the_largest_piece_alone(inside):
    large = painted(inside, 20, True, CENTRE_MM)
    assert painted(inside, 8, True, BESIDE) > large
    inside.sets(tool="islands")
    inside.press("apply")
    assert millilitres(inside) == large and inside.error() is None


def test_smoothing_takes_specks_away_and_leaves_the_rest_about_as_large(inside):
    large = painted(inside, 30, True, CENTRE_MM)
    painted(inside, 3, True, BESIDE)
    inside.sets(tool="smoothing", kernel_mm=7)
    inside.press("apply")
    mask = inside.masks()["pre"]
    assert sitk.GetArrayViewFromImage(mask)[mask.TransformPhysicalPointToIndex(BESIDE.tolist())[::-1]] == 0
    assert millilitres(inside) == pytest.approx(large, rel=0.2)


def test_the_first_outline_is_carried_over_as_a_suggestion_where_the_alignment_says(inside):
    inside.align(rigid())
    inside.close_up(CENTRE_MM)
    before = painted(inside, 30, True, CENTRE_MM)
    inside.press("carry")
    assert inside.error() is None and inside.look("outline") == "post" and inside.look("why_not_carry") == ""
    assert millilitres(inside) == before and "post" not in inside.masks(), "a suggestion is nothing that a person drew"
    name = inside.do(lambda page: page.sitting.choices.post_segmentation.GetSegmentation().GetSegment("post_mask").GetName())
    assert "suggestion" in name
    inside.press("undo")
    assert inside.do(lambda page: page.sitting.situation().post_outline) is Outline.EMPTY
    inside.press("redo")
    assert inside.do(lambda page: page.sitting.situation().post_outline) is Outline.CARRIED and "post" not in inside.masks()
    inside.sets(tool="erase", brush_mm=4)
    inside.click("post", "Axial", CENTRE_MM)
    found = sitk.LabelShapeStatisticsImageFilter()
    found.Execute(inside.masks()["post"])
    assert np.linalg.norm(np.subtract(found.GetCentroid(1), rigid().TransformPoint(CENTRE_MM.tolist()))) < 2.5
