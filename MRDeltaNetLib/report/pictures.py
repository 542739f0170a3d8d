"""The report's pictures as PNG bytes: grey scan, overlay, outlines, direction letters, scale bar."""

from __future__ import annotations

import io
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Mapping, Sequence

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.colours import CIVIDIS, OVERLAY_OPACITY, OVERLAY_THRESHOLD, SIGNED, Outline
from MRDeltaNetLib.errors import require
from MRDeltaNetLib.imaging.preprocessing.intensity import AIR_FRACTION, BRIGHT_PERCENTILE
from MRDeltaNetLib.report.outlines import borders, dashes
from MRDeltaNetLib.report.planes import Field

WINDOW_PERCENTILES = (0.5, 99.5)
"""Of the intensities inside the body: black and white of the display window."""

_WINDOW_STRIDE = 7
"""Every so manieth voxel is enough for a percentile."""

_CHECKER_MM = 15.0
_FINE = 2
"""Lines are drawn on a grid this much finer, then averaged: smooth edges."""

_BAR_LENGTHS_MM = (100, 50, 20, 10, 5)
_GREY_STEP = 4
"""Grey values are rounded to a 64-step scale, finer than a display shows in a noisy scan: halves the page."""


@dataclass(frozen=True)
class Window:
    """Intensities shown as black and as white."""

    low: float
    high: float

    def grey(self, values: np.ndarray) -> np.ndarray:
        """uint8 grey values, 0 to 255."""
        scaled = np.clip((values - self.low) / (self.high - self.low), 0.0, 1.0) * 255
        return (np.round(scaled / _GREY_STEP) * _GREY_STEP).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Overlay:
    """A map over a scan. It is transparent below threshold; top is the end of the colour scale (both in the map's unit).

    signed  values below 0 mean something: the scale runs from -top, and values whose size is below threshold are transparent
    """

    image: sitk.Image
    threshold: float
    top: float
    signed: bool = False

    @property
    def bottom(self) -> float:
        """The beginning of the colour scale."""
        return -self.top if self.signed else 0.0

    def shows(self, values: np.ndarray) -> np.ndarray:
        """Which values are not transparent."""
        return (np.abs(values) if self.signed else values) >= self.threshold

    def colours(self, values: np.ndarray) -> np.ndarray:
        """uint8 (..., 3)."""
        place = (values - self.bottom) / (self.top - self.bottom) * 255
        return (SIGNED if self.signed else CIVIDIS)[np.clip(np.round(place), 0, 255).astype(int)]


def display_window(image: sitk.Image) -> Window:
    """The window between robust percentiles of the intensities inside the body (brighter than air; of all voxels if none is)."""
    values = sitk.GetArrayViewFromImage(image).ravel()[::_WINDOW_STRIDE].astype(np.float32)
    darkest = float(values.min())
    air = darkest + AIR_FRACTION * (float(np.percentile(values, BRIGHT_PERCENTILE)) - darkest)
    body = values[values > air]
    low, high = (float(value) for value in np.percentile(body if body.size else values, WINDOW_PERCENTILES))
    return Window(low, high if high > low else low + 1.0)


def overlay_of(image: sitk.Image, facts: Mapping[str, Any] = MappingProxyType({})) -> Overlay | None:
    """How a map is laid over its scan; None if it has no value to show.

    facts  of the map: scale_top (None or absent: its own largest value), signed
    """
    values, signed = sitk.GetArrayViewFromImage(image), bool(facts.get("signed"))
    largest = float(np.abs(values).max() if signed else values.max())
    top = float(facts.get("scale_top") or largest)
    return Overlay(image, OVERLAY_THRESHOLD * top, top, signed) if largest > 0 else None


def scan_picture(field: Field, scan: sitk.Image, window: Window, *, overlay: Overlay | None = None,
                 outlines: Sequence[tuple[Outline, sitk.Image]] = ()) -> bytes:
    """One scan in one plane.

    field     where to cut
    scan      sitk.Image with the intensities; window says which of them are black and white
    overlay   a map on any grid in the same space
    outlines  masks on any grid in the same space, and how to draw each
    returns   PNG
    """
    grey = window.grey(field.sample(scan))
    if overlay is None and not outlines:
        rgb = np.repeat(grey[..., None], 3, axis=2)
    else:
        rgb = _blend(grey, None if overlay is None else field.sample(overlay.image), overlay)
    picture = _image(rgb)
    for outline, mask in outlines:
        _draw_outline(picture, field.sample(mask) > 0.5, outline)
    _draw_letters(picture, field)
    return _png(picture)


def checkerboard_picture(field: Field, pre: sitk.Image, post: sitk.Image, pre_window: Window, post_window: Window) -> bytes:
    """Both scans in alternating squares; the square at the top left shows pre. PNG."""
    side = max(2, round(_CHECKER_MM / field.pixel_mm))
    width, height = field.size
    odd = (np.arange(height)[:, None] // side + np.arange(width)[None, :] // side) % 2 == 1
    grey = np.where(odd, post_window.grey(field.sample(post)), pre_window.grey(field.sample(pre)))
    picture = _image(np.repeat(grey[..., None], 3, axis=2))
    _draw_letters(picture, field)
    return _png(picture)


def colour_bar(overlay: Overlay, number: Any) -> bytes:
    """The overlay's colours with their values, from 0 (or the negative of its top) to its top; the transparent part is hatched. PNG.

    number  function value -> text
    """
    drawing = require("PIL.ImageDraw", "The report")
    width, height, margin, bar = 400, 46, 36, 18
    span = width - 2 * margin
    rgb = np.full((height, width, 3), 255, np.uint8)
    values = np.linspace(overlay.bottom, overlay.top, span)
    rgb[2:2 + bar, margin:margin + span] = overlay.colours(values)[None]
    clear = np.zeros((bar, span), bool)
    clear[:, ~overlay.shows(values)] = True
    hatch = (np.arange(bar)[:, None] + np.arange(span)[None, :]) % 8 < 2
    block = rgb[2:2 + bar, margin:margin + span]
    block[clear & hatch], block[clear & ~hatch] = 120, 255
    picture = _image(rgb)
    draw = drawing.Draw(picture)                         # whose font has no true minus sign
    draw.rectangle((margin, 2, margin + span - 1, 2 + bar - 1), outline=(60, 60, 60))
    ticks = (-overlay.top, -overlay.threshold, overlay.threshold, overlay.top) if overlay.signed else (0.0, overlay.threshold, (overlay.threshold + overlay.top) / 2, overlay.top)
    for value in ticks:
        column = margin + (value - overlay.bottom) / (overlay.top - overlay.bottom) * (span - 1)
        draw.line((column, 2 + bar, column, 2 + bar + 5), fill=(0, 0, 0))
        draw.text((column, height - 2), number(value).replace("\N{MINUS SIGN}", "-"), fill=(0, 0, 0), font=_font(14), anchor="mb")
    return _png(picture)


def swatch(outline: Outline) -> bytes:
    """A short piece of an outline on grey, for the key. PNG."""
    picture = _image(np.full((18, 64, 3), 96, np.uint8))
    width, height = picture.size
    far = 10.0 * width                                   # a loop of which only one straight side is seen
    loop = np.array([[-6.0, height / 2], [width + 6.0, height / 2], [width + 6.0, far], [-6.0, far]])
    _draw_curves(picture, dashes(loop, outline.style), outline.rgb)
    return _png(picture)


def _blend(grey: np.ndarray, values: np.ndarray | None, overlay: Overlay | None) -> np.ndarray:
    rgb = np.repeat(grey[..., None], 3, axis=2).astype(np.float32)
    if values is not None and overlay is not None:
        shown = overlay.shows(values)
        rgb[shown] = (1 - OVERLAY_OPACITY) * rgb[shown] + OVERLAY_OPACITY * overlay.colours(values[shown])
    return np.round(rgb).astype(np.uint8)


def _draw_outline(picture: Any, inside: np.ndarray, outline: Outline) -> None:
    _draw_curves(picture, [piece for border in borders(inside) for piece in dashes(border, outline.style)], outline.rgb)


def _draw_curves(picture: Any, curves: list[np.ndarray], rgb: tuple[int, int, int]) -> None:
    if not curves:
        return
    pil, drawing = require("PIL.Image", "The report"), require("PIL.ImageDraw", "The report")
    layer = pil.new("L", (picture.width * _FINE, picture.height * _FINE), 0)
    halo = pil.new("L", layer.size, 0)
    line, shadow = drawing.Draw(layer), drawing.Draw(halo)
    for curve in curves:
        points = [tuple(point) for point in (curve + 0.5) * _FINE]
        shadow.line(points, fill=170, width=4 * _FINE, joint="curve")
        line.line(points, fill=255, width=2 * _FINE, joint="curve")
    picture.paste((0, 0, 0), mask=halo.resize(picture.size, pil.Resampling.BOX))
    picture.paste(rgb, mask=layer.resize(picture.size, pil.Resampling.BOX))


def _draw_letters(picture: Any, field: Field) -> None:
    draw = require("PIL.ImageDraw", "The report").Draw(picture)
    width, height = picture.size
    left, right, top, bottom = field.plane.edges
    places = ((left, (5, height / 2), "lm"), (right, (width - 5, height / 2), "rm"),
              (top, (width / 2, 4), "mt"), (bottom, (width / 2, height - 4), "mb"))
    for letter, place, anchor in places:
        draw.text(place, letter, fill=(255, 255, 255), font=_font(18), anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0))
    length_mm = next((mm for mm in _BAR_LENGTHS_MM if mm <= 0.3 * width * field.pixel_mm), _BAR_LENGTHS_MM[-1])
    stop, row = width - 10, height - 8
    start = stop - length_mm / field.pixel_mm
    draw.line((start - 1, row, stop + 1, row), fill=(0, 0, 0), width=5)
    draw.line((start, row, stop, row), fill=(255, 255, 255), width=3)
    draw.text(((start + stop) / 2, row - 5), f"{length_mm} mm", fill=(255, 255, 255), font=_font(14), anchor="mb",
              stroke_width=2, stroke_fill=(0, 0, 0))


def _image(rgb: np.ndarray) -> Any:
    return require("PIL.Image", "The report").fromarray(np.ascontiguousarray(rgb))


def _font(size: int) -> Any:
    return require("PIL.ImageFont", "The report").load_default(size)


def _png(picture: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format="PNG", compress_level=5)
    return stream.getvalue()
