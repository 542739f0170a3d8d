"""Calibration: observed share of pCR against predicted probability, with the histogram of predictions below it."""

from __future__ import annotations

import re
from typing import Any, Mapping, Sequence

from MRDeltaNetLib.report.study.figures.style import (COLOURS, GREY, LINE_MM, SINGLE_MM, Entry, Sheet, clean, empty, legend, legend_mm, named,
                                                      stroke, unit_ticks)
from MRDeltaNetLib.report.study.numbers import MINUS, fixed, whole

_SIDE_MM, _LEFT_MM, _TOP_MM = 58.0, 15.0, 3.0
_HISTOGRAM_MM, _GAP_MM = 13.0, 3.0
_WITHOUT = "#c9cfd6"
_SHOWN_BANDS = 2
"""More bands than this cover each other."""


def calibration(data: Mapping[str, Any]) -> Any:
    """Smooth curves over the diagonal, both axes equal; below, how many cases with pCR (up) and without (down) were given each probability.

    curves     [{label, x [], y [], lo [] or None, hi [] or None}], all within 0 to 1; x ascending; two curves are before and after recalibration
    histogram  {edges (m + 1), pcr (m), non_pcr (m)} counts, or None
    text       lines with the numbers, [] or missing
    """
    curves, histogram, remarks = data["curves"], data.get("histogram"), data.get("text") or []
    entries = [Entry({"color": GREY, "linewidth": 0.8}, "ideal")] + [Entry(stroke(place), named(curve["label"])) for place, curve in enumerate(curves)]
    if any(curve.get("lo") for curve in curves[:_SHOWN_BANDS]):
        entries.append(Entry({"color": "#b9c3d3", "linewidth": 6, "solid_capstyle": "butt"}, "95 % confidence band"))
    if histogram:
        entries += [Entry({"color": COLOURS[0], "linewidth": 6, "solid_capstyle": "butt"}, f"{whole(int(sum(histogram['pcr'])))} cases with pCR, upwards"),
                    Entry({"color": _WITHOUT, "linewidth": 6, "solid_capstyle": "butt"}, f"{whole(int(sum(histogram['non_pcr'])))} cases without, downwards")]
    entries += [Entry(None, _remark(remarks))] if remarks else []
    wide, below = SINGLE_MM - 4, _HISTOGRAM_MM + _GAP_MM if histogram else 0.0
    start = _TOP_MM + _SIDE_MM + below + 11
    sheet = Sheet(SINGLE_MM, start + legend_mm(entries, wide) + 1)
    axes = sheet.axes(_LEFT_MM, _TOP_MM, _SIDE_MM, _SIDE_MM, frame=("left", "bottom", "top", "right"))
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    for place, curve in enumerate(curves):
        if curve.get("lo") and curve.get("hi") and place < _SHOWN_BANDS:
            axes.fill_between(curve["x"], curve["lo"], curve["hi"], color=stroke(place)["color"], alpha=0.18, linewidth=0)
        axes.plot(curve["x"], curve["y"], **stroke(place))
    if not curves:
        empty(axes, "no curve")
    unit_ticks(axes)
    axes.set_ylabel("Observed share of pCR", labelpad=2)
    lowest = axes
    if histogram:
        axes.tick_params(labelbottom=False)
        lowest = _histogram(sheet, histogram)
    lowest.set_xlabel("Predicted probability of pCR", labelpad=2)
    legend(sheet, 3, start, wide, entries)
    return sheet.figure


def _remark(lines: Sequence[str]) -> str:
    """The numbers in one paragraph, with true minus signs."""
    return re.sub(r"(?<![\w.])-(?=\d)", MINUS, "; ".join(clean(line) for line in lines))


def _histogram(sheet: Sheet, histogram: Mapping[str, Any]) -> Any:
    axes = sheet.axes(_LEFT_MM, _TOP_MM + _SIDE_MM + _GAP_MM, _SIDE_MM, _HISTOGRAM_MM)
    edges, up, down = histogram["edges"], histogram["pcr"], histogram["non_pcr"]
    widths = [high - low for low, high in zip(edges, edges[1:])]
    axes.bar(edges[:-1], up, widths, align="edge", color=COLOURS[0], linewidth=0)
    axes.bar(edges[:-1], [-count for count in down], widths, align="edge", color=_WITHOUT, edgecolor=GREY, linewidth=0.3)
    axes.axhline(0, color="#16191d", linewidth=0.6)
    unit_ticks(axes, y=False)
    most_up, most_down = max([*up, 0]), max([*down, 0])
    room = 0.18 * (most_up + most_down or 1)
    axes.set_ylim(-most_down - room, most_up + room)
    gap = (LINE_MM / _HISTOGRAM_MM) * (most_up + most_down + 2 * room)
    ticks = [tick for tick in (most_up, -most_down) if abs(tick) >= gap]
    axes.set_yticks([*ticks, 0] if ticks else [0])
    axes.set_yticklabels([*(whole(int(abs(tick))) for tick in ticks), "0"] if ticks else ["0"])
    axes.set_ylabel("Cases", labelpad=2)
    return axes


def say_calibration(data: Mapping[str, Any]) -> str:
    """What the figure shows, for who cannot see it."""
    said = []
    for curve in data["curves"]:
        if curve["x"]:
            furthest = max(range(len(curve["x"])), key=lambda place: abs(curve["y"][place] - curve["x"][place]))
            said.append(f"{named(curve['label'])}: furthest from the diagonal at a predicted {fixed(curve['x'][furthest], 2)}, "
                        f"where {fixed(curve['y'][furthest], 2)} were observed")
    remarks = [_remark(data["text"])] if data.get("text") else []
    return "Calibration curves. " + ("; ".join([*said, *remarks]) + "." if said else "No curve could be drawn.")
