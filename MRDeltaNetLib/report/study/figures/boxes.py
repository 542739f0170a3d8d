"""Boxes: how a value is spread within groups, every case as a point."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import numpy as np

from MRDeltaNetLib.report.study.figures.style import COLOURS, GREY, INK, LINE_MM, SINGLE_MM, Sheet, clean, empty, named, wrapped
from MRDeltaNetLib.report.study.numbers import plain, whole

_LABEL_MM, _TOP_MM, _ROW_MM = 30.0, 2.0, 9.0
_MOST_POINTS = 400
"""More points a group than this are a smear; evenly spaced ranks stand for them."""


def boxes(data: Mapping[str, Any]) -> Any:
    """One box a group, lying, so that long names stay readable: median, quartiles, whiskers to the last value within 1.5 times the quartiles' distance.

    groups   [{label, values [], n}]; n, the number of cases, may be missing where values holds them all; group (a heading, may be missing) says which
             groups belong together
    y_label  what the values are; unit: theirs, None without one
    x_range  [low, high] of the axis, may be missing
    """
    groups = data["groups"]
    rows, heading = [], None
    for group in groups:
        if group.get("group") and group["group"] != heading:
            rows.append((None, wrapped(named(group["group"]), SINGLE_MM - 6, most=2)))
        heading = group.get("group")
        rows.append((group, [*wrapped(named(group["label"]), _LABEL_MM - 4, most=2), f"n = {whole(_count(group))}"]))
    heights = [LINE_MM * len(lines) + 2 if group is None else max(_ROW_MM, LINE_MM * len(lines) + 2) for group, lines in rows] or [_ROW_MM]
    height = sum(heights)
    sheet = Sheet(SINGLE_MM, _TOP_MM + height + 12)
    axes = sheet.axes(_LABEL_MM, _TOP_MM, SINGLE_MM - _LABEL_MM - 4, height, frame=("bottom",))
    axes.set_ylim(height, 0)
    axes.set_yticks([])
    top, place = 0.0, 0
    for (group, lines), row in zip(rows, heights):
        middle = top + row / 2
        for at, words in enumerate(lines):
            bold = {"fontweight": "bold"} if group is None else {"color": GREY} if at == len(lines) - 1 else {}
            sheet.text(3, _TOP_MM + middle + LINE_MM * (at - (len(lines) - 1) / 2), words, va="center", **bold)
        if group is not None:
            _box(axes, np.asarray([value for value in group["values"] if value is not None], float), middle, COLOURS[place % 2] if data.get("paired") else COLOURS[0])
            place += 1
        top += row
    if not any(group["values"] for group in groups):
        empty(axes, "no value")
    _limits(axes, data, groups)
    unit = f" ({clean(data['unit'])})" if data.get("unit") else ""
    axes.set_xlabel(wrapped(f"{clean(data.get('y_label') or 'Value')}{unit}", 60, most=1)[0], labelpad=2)
    return sheet.figure


def _limits(axes: Any, data: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> None:
    values = [value for group in groups for value in group["values"] if value is not None]
    low, high = data.get("x_range") or (min(values, default=0.0), max(values, default=1.0))
    room = 0.02 * (high - low) or 0.05
    axes.set_xlim(low - room, high + room)
    axes.locator_params(axis="x", nbins=6)


def _box(axes: Any, values: np.ndarray, middle: float, colour: str) -> None:
    if not values.size:
        return
    values = np.sort(values)
    shown = values if values.size <= _MOST_POINTS else np.quantile(values, np.linspace(0, 1, _MOST_POINTS))
    axes.plot(shown, middle + 2.1 * _spread(shown.size), "o", markersize=1.7, color=colour, alpha=0.45, markeredgewidth=0, clip_on=False, rasterized=shown.size > 150)
    if values.size < 3:
        return
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    reach = 1.5 * (high - low)
    inside = values[(values >= low - reach) & (values <= high + reach)]
    for start, end in ((inside.min(), low), (high, inside.max())):
        axes.plot([start, end], [middle, middle], color=INK, linewidth=0.8)
    axes.fill([low, high, high, low], [middle - 2.4, middle - 2.4, middle + 2.4, middle + 2.4], facecolor="none", edgecolor=INK, linewidth=0.8)
    axes.plot([median, median], [middle - 2.4, middle + 2.4], color=COLOURS[1], linewidth=1.8, solid_capstyle="butt")


def _spread(count: int) -> np.ndarray:
    """Places of points across their row, -1 to 1: neighbours lie apart, the same every time (multiples of the golden ratio)."""
    return 2 * ((np.arange(count) * 0.6180339887498949) % 1.0) - 1


def _count(group: Mapping[str, Any]) -> int:
    return int(group["n"]) if group.get("n") is not None else sum(value is not None for value in group["values"])


def say_boxes(data: Mapping[str, Any]) -> str:
    """What the figure shows, for who cannot see it."""
    said = []
    for group in data["groups"]:
        values = [value for value in group["values"] if value is not None]
        name = ", ".join(clean(part) for part in (group.get("group"), group["label"]) if part)
        if values:
            low, median, high = (float(value) for value in np.quantile(values, [0.25, 0.5, 0.75]))
            said.append(f"{name} (n = {whole(_count(group))}) median {plain(median)}, quartiles {plain(low)} and {plain(high)}")
        else:
            said.append(f"{name}: no value")
    return f"Boxes of {clean(data.get('y_label') or 'values')}. " + ("; ".join(said) + "." if said else "No group.")
