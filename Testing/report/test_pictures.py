"""What the pixels of a picture say."""

from __future__ import annotations

import io

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.colours import CIVIDIS, OUTLINES, OVERLAY_OPACITY
from MRDeltaNetLib.report import pictures
from MRDeltaNetLib.report.pictures import Window, checkerboard_picture, colour_bar, display_window, overlay_of, scan_picture, swatch
from MRDeltaNetLib.report.planes import AXIAL, PLANES, field
from Testing.made_up_result import CENTRE_MM, GRIDS, ball, body_with_ball, bump, ellipsoid, empty_image, like

pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed")


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(pillow.open(io.BytesIO(png)).convert("RGB")).astype(int)


def scan(kind: str = "straight") -> sitk.Image:
    return body_with_ball(empty_image(kind), CENTRE_MM, 15)


@pytest.mark.parametrize("kind", sorted(GRIDS))
def test_a_marker_on_the_patients_left_is_on_the_right_of_the_finished_picture(kind):
    image = empty_image(kind)
    marked = like(np.where(ellipsoid(image, CENTRE_MM + (25, 0, 0), (10, 10, 10)), 100, 1).astype(np.float32), image)
    seen = pixels(scan_picture(field(image, AXIAL, CENTRE_MM, 120.0), marked, Window(0, 100)))[60:-60, 60:-60, 0] > 150
    assert np.flatnonzero(seen.any(0)).mean() > seen.shape[1] / 2 + 40


@pytest.mark.parametrize("plane", PLANES, ids=lambda plane: plane.name)
def test_an_overlay_is_clear_below_its_threshold_and_blended_with_cividis_above(plane):
    image, attention = scan(), bump(empty_image(), CENTRE_MM, 14, 0.004)
    overlay, where, window = overlay_of(attention), field(scan(), plane, CENTRE_MM, 100.0), Window(0, 200)
    plain, laid = (pixels(scan_picture(where, image, window, overlay=shown)) for shown in (None, overlay))
    values = where.sample(attention)
    inner = np.zeros(values.shape, bool)
    inner[40:-40, 40:-40] = True                                       # away from letters and scale bar
    clear, shown = inner & (values < overlay.threshold), inner & (values >= overlay.threshold)
    np.testing.assert_array_equal(laid[clear], plain[clear])
    expected = (1 - OVERLAY_OPACITY) * plain[shown] + OVERLAY_OPACITY * CIVIDIS[np.round(values[shown] / overlay.top * 255).astype(int)]
    assert shown.any() and clear.any() and np.abs(laid[shown] - expected).max() <= 1


def test_an_all_zero_map_gives_no_overlay():
    assert overlay_of(empty_image()) is None


@pytest.mark.parametrize("name", sorted(OUTLINES))
def test_an_outline_runs_along_the_border_of_the_mask_and_nowhere_else(name):
    image, mask = scan(), ball(empty_image(), CENTRE_MM, 25)
    where, window = field(scan(), AXIAL, CENTRE_MM, 100.0), Window(0, 200)
    plain, drawn = (pixels(scan_picture(where, image, window, outlines=shown)) for shown in ((), [(OUTLINES[name], mask)]))
    changed = (plain != drawn).any(-1)
    inside = where.sample(mask) > 0.5
    edge = inside ^ np.roll(inside, 1, 0) | inside ^ np.roll(inside, 1, 1)
    near = sitk.GetArrayFromImage(sitk.BinaryDilate(sitk.GetImageFromArray(edge.astype(np.uint8)), (6, 6))) > 0
    assert changed.any() and not changed[~near].any()
    assert np.abs(drawn - OUTLINES[name].rgb).sum(-1).min() < 40


def test_an_empty_mask_draws_nothing():
    image, where = scan(), field(scan(), AXIAL, CENTRE_MM, 100.0)
    empty = sitk.Cast(empty_image(), sitk.sitkUInt8)
    assert scan_picture(where, image, Window(0, 200)) == scan_picture(where, image, Window(0, 200), outlines=[(OUTLINES["residual_mask"], empty)])


@pytest.mark.parametrize("width_mm, bar_mm", [(180.0, 50), (100.0, 20), (60.0, 10)])
def test_the_scale_bar_is_as_long_as_it_says(width_mm, bar_mm):
    dark = like(np.zeros((20, 60, 64), np.float32), empty_image())
    where = field(dark, AXIAL, CENTRE_MM, width_mm)
    picture = pixels(scan_picture(where, dark, Window(0, 1)))
    white = picture[-8, where.size[0] // 2 + 30:, 0] > 200
    assert white.sum() * where.pixel_mm == pytest.approx(bar_mm, abs=2 * where.pixel_mm)


def test_the_window_spans_the_bodys_intensities_and_ignores_air_and_outliers():
    image = scan()
    values = sitk.GetArrayFromImage(image)
    values[0, 0, :3] = 30000
    window = display_window(like(values, image))
    assert 60 < window.low < 100 < window.high < 190


def test_a_scan_without_air_keeps_its_dark_tissue():
    image = empty_image()
    values = np.random.default_rng(0).normal(100, 20, image.GetSize()[::-1])
    values[:, :30] *= 0.35                                              # dark muscle beside bright fat, no air
    window = display_window(like(values.astype(np.float32), image))
    assert window.low < 25 and window.high > 130


def test_a_flat_scan_still_has_a_window():
    window = display_window(like(np.full((20, 60, 64), 7, np.float32), empty_image()))
    assert window.high > window.low


def test_the_checkerboard_begins_with_the_scan_before_treatment():
    image = empty_image()
    bright, dark = like(np.full((20, 60, 64), 100, np.float32), image), like(np.full((20, 60, 64), 10, np.float32), image)
    where = field(image, AXIAL, CENTRE_MM, 120.0)
    picture = pixels(checkerboard_picture(where, bright, dark, Window(0, 100), Window(0, 100)))
    side = round(15.0 / where.pixel_mm)
    assert picture[side // 2, side // 2, 0] > 200 and picture[side // 2, side // 2 + side, 0] < 60
    assert picture[side // 2 + side, side // 2, 0] < 60 and picture[side // 2 + side, side // 2 + side, 0] > 200


def test_the_colour_bar_shows_cividis_above_the_threshold_and_hatching_below():
    overlay = overlay_of(bump(empty_image(), CENTRE_MM, 14, 1.0))
    bar = pixels(colour_bar(overlay, lambda value: f"{value:.2f}"))
    row = bar[10, 37:363]
    coloured = row[int(0.25 * len(row)):]
    np.testing.assert_allclose(coloured[-3], CIVIDIS[-3], atol=4)
    assert (np.ptp(row[2:int(0.18 * len(row))], axis=1) == 0).all()      # greys only


def test_a_swatch_shows_the_outlines_colour():
    for outline in OUTLINES.values():
        assert np.abs(pixels(swatch(outline)) - outline.rgb).sum(-1).min() < 60


def test_the_same_picture_has_the_same_bytes():
    where = field(scan("oblique"), AXIAL, CENTRE_MM, 100.0)
    made = {scan_picture(where, scan("oblique"), Window(0, 200), overlay=overlay_of(bump(empty_image(), CENTRE_MM, 14, 1.0)))
            for _ in range(2)}
    assert len(made) == 1


def test_without_pillow_the_message_says_how_to_install_it(monkeypatch):
    from MRDeltaNetLib import errors

    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(errors.importlib, "import_module", absent)
    with pytest.raises(errors.MissingPackage, match="pip install") as missing:
        pictures.swatch(OUTLINES["pre_mask"])
    assert missing.value.code == "MRD-E801"


def test_a_map_with_a_sign_is_blue_below_orange_above_and_clear_between():
    grid = empty_image("straight")
    values = np.zeros(grid.GetSize()[::-1], np.float32)
    values[:, :, :20], values[:, :, 20:40], values[:, :, 40:] = -2.0, 0.1, 2.0
    overlay = overlay_of(like(values, grid), {"signed": True, "scale_top": 2.0})
    assert (overlay.bottom, overlay.top, overlay.threshold) == (-2.0, 2.0, 0.4)
    low, middle, high = (overlay.colours(np.array([value]))[0].tolist() for value in (-2.0, 0.0, 2.0))
    assert low[2] > 2 * low[0] and high[0] > 2 * high[2] and max(middle) - min(middle) < 5
    assert overlay.shows(np.array([-2.0, 0.1, 2.0])).tolist() == [True, False, True]


def test_the_colour_bar_of_a_map_with_a_sign_writes_its_numbers_in_letters_that_the_font_has():
    told = []
    overlay = overlay_of(like(np.full(empty_image().GetSize()[::-1], -2.0, np.float32), empty_image()), {"signed": True})

    def number(value: float) -> str:
        told.append(value)
        return f"{value:.1f}".replace("-", "\N{MINUS SIGN}")

    assert colour_bar(overlay, number) == colour_bar(overlay, lambda value: f"{value:.1f}") and told == [-2.0, -0.4, 0.4, 2.0]


def test_the_end_of_the_scale_is_the_shared_one_where_it_is_told():
    image = like(np.full(empty_image().GetSize()[::-1], 0.3, np.float32), empty_image())
    assert overlay_of(image, {"scale_top": 1.0}).top == 1.0 and overlay_of(image).top == pytest.approx(0.3)
    assert overlay_of(like(np.zeros(empty_image().GetSize()[::-1], np.float32), empty_image()), {"scale_top": 1.0}) is None
