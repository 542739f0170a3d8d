"""Figures of follow-up: Kaplan-Meier with the number at risk, AUC over time, Schoenfeld residuals."""

from __future__ import annotations

import math
from typing import Any, Mapping, Sequence

import numpy as np

from MRDeltaNetLib.report.study.figures.style import (COLOURS, DOUBLE_MM, GREY, INK, LIGHT, LINE_MM, MARKERS, SINGLE_MM, SMALL_PT, Sheet, clean,
                                                      empty, named, stroke, text_mm, with_number, wrapped)
from MRDeltaNetLib.report.study.numbers import HARD, NOT_REACHED, finite, interval, p_value, plain, whole

_LEFT_MM, _WIDE_MM, _HIGH_MM, _TOP_MM = 13.0, 71.0, 52.0, 5.5
_MOST_STEPS, _MOST_TICKS = 1500, 400
"""More steps than this are finer than a printer's dot, more ticks are a bar."""

_MOST_BANDS = 3
"""More confidence bands than this hide each other; with more groups the tables have the intervals."""


def kaplan_meier(data: Mapping[str, Any]) -> Any:
    """Survival of each group as steps with its 95 % band, ticks where follow-up ended, and below each tick of the axis how many were still at risk.

    unit        of the time
    groups      [{label, time [], survival [], lo [], hi [], censored [times], n_risk [one count a risk time]}]; time ascending, survival holds from
                its time on; lo and hi may be None; n, events, median, median_lo, median_hi may be missing
    risk_times  [] times of the risk table, also the ticks of the axis, ascending
    p_logrank   None if groups could not be compared
    text        what stands above the curves, None for nothing but the p value
    """
    groups, unit = data["groups"], clean(data.get("unit") or "")
    times, told = _spaced(data["risk_times"], groups)
    blocks = [with_number(named(group["label"]), _counts(group), _WIDE_MM + _LEFT_MM - 12, SMALL_PT, most=2) for group in groups]
    heights = [2.8 * len(lines) + 4.4 for lines in blocks]
    above = _above(data)
    plot = 2.2 + LINE_MM * len(above)
    start = plot + _HIGH_MM + 11
    sheet = Sheet(SINGLE_MM, start + LINE_MM + 1.2 + sum(heights) + 1)
    axes = sheet.axes(_LEFT_MM, plot, _WIDE_MM, _HIGH_MM)
    last = max([*(time for group in groups for time in [*group["time"], *group["censored"]]), *data["risk_times"], 0.0]) or 1.0
    for place, group in enumerate(groups):
        _curve(axes, place, group, len(groups) <= _MOST_BANDS)
    if not groups:
        empty(axes, "no group")
    axes.set_xlim(0, last * 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "0.25", "0.50", "0.75", "1.00"])
    axes.set_xticks(times, [_time(time) for time in times])
    axes.set_ylabel("Survival probability", labelpad=2)
    axes.set_xlabel(f"Time ({unit})" if unit else "Time", labelpad=2)
    for place, line in enumerate(above):
        sheet.text(_LEFT_MM - 8, 1.0 + LINE_MM * place, line)
    _risk_table(sheet, groups, blocks, heights, start, times, told, last * 1.02)
    return sheet.figure


def _above(data: Mapping[str, Any]) -> list[str]:
    """Lines above the curves: what is compared, and the p value, which is never cut."""
    said = clean(data["text"]) if data.get("text") else ""
    p = f"log-rank p {p_value(data['p_logrank'], sign=True)}" if finite(data.get("p_logrank")) and "log-rank" not in said else ""
    return with_number(said, f", {p}" if p and said else p, _WIDE_MM + 8) if said or p else []


def _curve(axes: Any, place: int, group: Mapping[str, Any], band: bool) -> None:
    time, survival = _from_zero(group["time"], group["survival"], 1.0)
    settings = stroke(place)
    _ticks(axes, time, survival, group["censored"], settings["color"])
    kept = spread(len(time), _MOST_STEPS)
    ends = [max(group["censored"])] if group["censored"] and max(group["censored"]) > time[-1] else []
    shown = [*(time[at] for at in kept), *ends]
    axes.step(shown, [*(survival[at] for at in kept), *survival[-1:] * len(ends)], where="post", **settings)
    if band and group.get("lo") and group.get("hi"):
        (_, low), (_, high) = (_from_zero(group["time"], group[name], 1.0) for name in ("lo", "hi"))
        low, high = (_numbers([*(bound[at] for at in kept), *bound[-1:] * len(ends)]) for bound in (low, high))
        axes.fill_between(shown, low, high, step="post", color=settings["color"], alpha=0.15, linewidth=0)


def _ticks(axes: Any, time: Sequence[float], survival: Sequence[float], censored: Sequence[float], colour: str) -> None:
    """Small strokes where follow-up ended; of very many, evenly spaced ones."""
    if censored:
        shown = np.sort(np.asarray(censored, float))[spread(len(censored), _MOST_TICKS)]
        at = np.asarray(survival, float)[np.clip(np.searchsorted(time, shown, side="right") - 1, 0, None)]
        axes.plot(shown, at, linestyle="none", marker="|", markersize=3.2, markeredgewidth=0.7, color=colour, clip_on=False)


def spread(count: int, most: int) -> np.ndarray:
    """Indices of so many things, all of them or evenly spaced ones with the first and the last."""
    return np.arange(count) if count <= most else np.round(np.linspace(0, count - 1, most)).astype(int)


def _from_zero(time: Sequence[float], values: Sequence[float | None], first: float) -> tuple[list[float], list[float | None]]:
    """The steps with their start at time 0, where everybody was alive."""
    if time and time[0] <= 0:
        return list(time), list(values)
    return [0.0, *time], [first, *values]


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values], float)


def _spaced(times: Sequence[float], groups: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[int]]:
    """Those risk times, and their places, whose labels and counts fit side by side."""
    last = max([*(time for group in groups for time in [*group["time"], *group["censored"]]), *times, 0.0]) or 1.0
    kept, places, edge = [], [], -math.inf
    for place, time in enumerate(times):
        texts = [_time(time), *(whole(int(group["n_risk"][place])) for group in groups if place < len(group["n_risk"]))]
        half = max(text_mm(text) for text in texts) / 2
        middle = _WIDE_MM * time / (last * 1.02)
        if middle - half >= edge + 1.2:
            kept, places, edge = [*kept, time], [*places, place], middle + half
    return kept, places


def _time(time: float) -> str:
    return f"{time:g}" if abs(time) < 1e5 else whole(int(round(time)))


def _counts(group: Mapping[str, Any]) -> str:
    if group.get("n") is None:
        return ""
    return f" (n{HARD}={HARD}{whole(int(group['n']))}" + (f", events{HARD}{whole(int(group['events']))}" if group.get("events") is not None else "") + ")"


def _risk_table(sheet: Sheet, groups: Sequence[Mapping[str, Any]], blocks: Sequence[Sequence[str]], heights: Sequence[float], top: float, times: Sequence[float],
                places: Sequence[int], right: float) -> None:
    """Each group's name with its stroke, which makes this the legend too, and below it the counts, each under its tick."""
    sheet.text(3, top, "Number at risk", fontweight="bold", fontsize=SMALL_PT)
    top += LINE_MM + 1.2
    for place, (group, lines, height) in enumerate(zip(groups, blocks, heights)):
        sheet.line([3, 10], [top + 1.4] * 2, **{**stroke(place), "linewidth": 1.4})
        for row, words in enumerate(lines):
            sheet.text(12, top + 1.4 + 2.8 * row, words, va="center", fontsize=SMALL_PT)
        for time, at in zip(times, places):
            if at < len(group["n_risk"]):
                sheet.text(_LEFT_MM + _WIDE_MM * time / right, top + 2.8 * len(lines) + 1.7, whole(int(group["n_risk"][at])), va="center", ha="center")
        top += height


def say_kaplan_meier(data: Mapping[str, Any]) -> str:
    """What the figure shows, for who cannot see it."""
    said = []
    for group in data["groups"]:
        line = named(group["label"]) + _counts(group)
        if "median" in group:
            line += ": median " + (interval(group["median"], group.get("median_lo"), group.get("median_hi")) if finite(group["median"]) else NOT_REACHED)
        elif group["survival"]:
            line += f": survival {group['survival'][-1]:.2f} at the last observation"
        said.append(line)
    p = f" Log-rank p {p_value(data['p_logrank'], sign=True)}." if finite(data.get("p_logrank")) else " The groups were not compared."
    unit = f" Time in {clean(data['unit'])}." if data.get("unit") else ""
    return "Kaplan-Meier curves with numbers at risk. " + ("; ".join(said) + "." if said else "No group.") + (p if said else "") + unit


def time_dependent_auc(data: Mapping[str, Any]) -> Any:
    """AUC for having had the event by each time, with its band; 0.5 is a score that knows nothing.

    unit, times []; auc [] with None where it cannot be told; lo, hi [] or None
    """
    sheet = Sheet(SINGLE_MM, _TOP_MM + _HIGH_MM + 11)
    axes = sheet.axes(_LEFT_MM, 3, _WIDE_MM, _HIGH_MM)
    times, auc = list(data["times"]), _numbers(data["auc"])
    axes.axhline(0.5, color=GREY, linewidth=0.8)
    if np.isfinite(auc).any():
        if data.get("lo") and data.get("hi"):
            low, high = _numbers(data["lo"]), _numbers(data["hi"])
            axes.vlines(times, low, high, color=COLOURS[0], linewidth=0.9) if len(times) <= 12 else axes.fill_between(times, low, high, color=COLOURS[0], alpha=0.18,
                                                                                                                         linewidth=0)
        axes.plot(times, auc, color=COLOURS[0], marker=MARKERS[0] if len(times) <= 12 else "", markersize=3.5)
    else:
        empty(axes, "could not be told at any time")
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlim(0, max([*times, 0.0]) * 1.04 or 1.0)
    axes.locator_params(axis="x", nbins=6)
    axes.set_ylabel("AUC at that time", labelpad=2)
    axes.set_xlabel(f"Time ({clean(data['unit'])})" if data.get("unit") else "Time", labelpad=2)
    return sheet.figure


def say_time_dependent_auc(data: Mapping[str, Any]) -> str:
    """What the figure shows, for who cannot see it."""
    known = [(time, value) for time, value in zip(data["times"], data["auc"]) if value is not None]
    if not known:
        return "AUC over time. It could not be told at any time."
    (first, at_first), (last, at_last) = known[0], known[-1]
    unit = f" {clean(data['unit'])}" if data.get("unit") else ""
    lowest, highest = min(value for _, value in known), max(value for _, value in known)
    return f"AUC over time: {at_first:.2f} at {plain(first)}{unit}, {at_last:.2f} at {plain(last)}{unit}; between {lowest:.2f} and {highest:.2f}."


_PANEL_MM, _PANEL_HIGH_MM, _ACROSS = 44.0, 34.0, 3


def schoenfeld(data: Mapping[str, Any]) -> Any:
    """Scaled Schoenfeld residuals against time, one panel a term; a level line speaks for proportional hazards.

    panels  [{label, time [], residual [], p}]
    unit    of the time, may be missing
    """
    panels = data["panels"]
    across = min(_ACROSS, max(len(panels), 1))
    down = max(math.ceil(len(panels) / _ACROSS), 1)
    pitch_x, pitch_y = _PANEL_MM + 15.0, _PANEL_HIGH_MM + 17.0
    sheet = Sheet(SINGLE_MM if across == 1 else DOUBLE_MM, down * pitch_y + 1)
    for place, panel in enumerate(panels):
        left, top = 13 + pitch_x * (place % _ACROSS), 7 + pitch_y * (place // _ACROSS)
        axes = sheet.axes(left, top, _PANEL_MM, _PANEL_HIGH_MM)
        _panel(axes, panel)
        for row, words in enumerate(reversed(with_number(named(panel["label"]), f", p {p_value(panel.get('p'), sign=True)}", _PANEL_MM + 8, SMALL_PT, most=2))):
            sheet.text(left - 6, top - 1 - 2.8 * row, words, va="bottom", fontsize=SMALL_PT)
        axes.set_xlabel(f"Time ({clean(data['unit'])})" if data.get("unit") else "Time", labelpad=1)
        if place % _ACROSS == 0:
            axes.set_ylabel("Scaled residual", labelpad=2)
    if not panels:
        empty(sheet.axes(13, 7, _PANEL_MM, _PANEL_HIGH_MM), "no term")
    return sheet.figure


def _panel(axes: Any, panel: Mapping[str, Any]) -> None:
    time, residual = _numbers(panel["time"]), _numbers(panel["residual"])
    there = np.isfinite(time) & np.isfinite(residual)
    time, residual = time[there], residual[there]
    axes.plot(time, residual, "o", markersize=1.8, color=COLOURS[2], markeredgewidth=0, rasterized=time.size > 400)
    axes.axhline(0, color=GREY, linewidth=0.6)
    if np.unique(time).size > 2:
        slope, start = np.polyfit(time, residual, 1)
        ends = np.array([time.min(), time.max()])
        axes.plot(ends, start + slope * ends, color=COLOURS[1], linestyle=(0, (5, 2)))
    axes.margins(x=0.04, y=0.08)
    axes.locator_params(axis="both", nbins=4)
    axes.grid(axis="y", color=LIGHT, linewidth=0.4)
    axes.tick_params(colors=INK)


def say_schoenfeld(data: Mapping[str, Any]) -> str:
    """What the figure shows, for who cannot see it."""
    said = [f"{named(panel['label'])} p {p_value(panel.get('p'), sign=True)}" for panel in data["panels"]]
    return "Scaled Schoenfeld residuals against time with a straight line; test of proportional hazards: " + ("; ".join(said) or "no term") + "."
