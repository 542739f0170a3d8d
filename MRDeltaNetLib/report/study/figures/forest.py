"""Forest plots: one estimate with its interval a line, as text and as a mark."""

from __future__ import annotations

import math
from typing import Any, Mapping, Sequence

from MRDeltaNetLib.report.study.figures.style import COLOURS, DOUBLE_MM, GREY, LIGHT, LINE_MM, Sheet, clean, empty, named, text_mm, wrapped
from MRDeltaNetLib.report.study.numbers import NOT_KNOWN, finite, interval, whole

_LABEL_MM, _COUNT_MM, _EDGE_MM, _GAP_MM = 50.0, 13.0, 3.0, 4.0
_ROW_MM, _HEAD_MM, _BELOW_MM = 4.4, 6.0, 11.0
_BOLD = 1.16
"""How much wider bold text is."""

_REACH = 2.0
"""On a linear axis intervals are drawn as far as this multiple of their median width beyond the outermost estimate."""

_WIDEST = 50.0
"""On a logarithmic axis intervals are drawn as far as this factor beyond the outermost estimate; what goes on has an arrow head."""


def forest(data: Mapping[str, Any]) -> Any:
    """Rows of estimates under the headings of their groups; an interval that leaves the axis ends with an arrow head.

    measure  what is estimated, such as "AUC" or "Odds ratio"
    null     value that means no effect, None if there is none
    log      whether the axis is logarithmic
    rows     [{label, group, n, events, value, lo, hi, pooled}]; n, events, value, lo, hi may be None; pooled ones are diamonds
             weight (0 to 1, may be missing) sizes the mark
    favours  [text left of null, text right of it], may be missing
    """
    rows = data["rows"]
    lines = _lines(rows)
    height = sum(line["height"] for line in lines)
    favours = data.get("favours") or []
    sheet = Sheet(DOUBLE_MM, _HEAD_MM + height + _BELOW_MM + (LINE_MM + 1 if favours else 0))
    counts = [name for name in ("n", "events") if any(row.get(name) is not None for row in rows)]
    told = [_told(row) for row in rows]
    told_mm = _BOLD * max([text_mm(text) for text in told] + [text_mm(_measure(data)), 20.0]) + 1
    plot_left = _EDGE_MM + _LABEL_MM + _COUNT_MM * len(counts) + _GAP_MM
    plot_wide = DOUBLE_MM - plot_left - told_mm - _EDGE_MM - _GAP_MM
    axes = sheet.axes(plot_left, _HEAD_MM, plot_wide, height, frame=("bottom",))
    _scale(axes, data, rows, height)
    _heads(sheet, data, counts, plot_left + plot_wide + _GAP_MM)
    top = 0.0
    for line in lines:
        _draw_line(sheet, axes, line, top, counts, plot_left + plot_wide + _GAP_MM)
        top += line["height"]
    if not any(finite(row.get("value")) for row in rows):
        empty(axes, "nothing could be estimated")
    if len(favours) == 2 and data.get("null") is not None:
        _favours(sheet, axes, data, favours, plot_left, plot_wide, _HEAD_MM + height + _BELOW_MM - 1)
    return sheet.figure


def _lines(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Headings of groups and rows, each with its wrapped label and its height in mm."""
    lines, group = [], None
    for row in rows:
        if row.get("group") and row["group"] != group:
            words = wrapped(named(row["group"]), (_LABEL_MM + 26) / _BOLD, most=2)
            lines.append({"row": None, "words": words, "height": _ROW_MM + LINE_MM * (len(words) - 1)})
        group = row.get("group")
        indent = 3.0 if group else 0.0
        words = wrapped(named(row["label"]), (_LABEL_MM - indent - 1) / (_BOLD if row.get("pooled") else 1), most=3)
        lines.append({"row": row, "words": words, "indent": indent, "height": _ROW_MM + LINE_MM * (len(words) - 1)})
    return lines or [{"row": None, "words": ["no row"], "height": 3 * _ROW_MM}]


def _scale(axes: Any, data: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], height: float) -> None:
    log, null = bool(data.get("log")), data.get("null")
    values = [row["value"] for row in rows if finite(row.get("value")) and (row["value"] > 0 or not log)] + ([null] if null is not None else [])
    bounds = [bound for row in rows for bound in (row.get("lo"), row.get("hi")) if finite(bound) and (bound > 0 or not log)]
    low, high = (min(values), max(values)) if values else (0.1 if log else 0.0, 1.0)
    if log:
        reach_low, reach_high = max(low / _WIDEST, min([*bounds, low])), min(high * _WIDEST, max([*bounds, high]))
        room = max((reach_high / reach_low) ** 0.05, 1.15)
        axes.set_xscale("log")
        axes.set_xlim(reach_low / room, reach_high * room)
        _log_ticks(axes)
    else:
        reach = _REACH * _middle_width(rows)
        reach_low, reach_high = max(min([*bounds, low]), low - reach), min(max([*bounds, high]), high + reach)
        room = 0.05 * (reach_high - reach_low) or 0.05
        axes.set_xlim(reach_low - room, reach_high + room)
        axes.locator_params(axis="x", nbins=6)
    axes.set_ylim(height, 0)
    axes.set_yticks([])
    axes.set_xlabel(_measure(data) + (", logarithmic scale" if log else ""), labelpad=2)
    if null is not None:
        axes.axvline(null, color=GREY, linewidth=0.8)


def _middle_width(rows: Sequence[Mapping[str, Any]]) -> float:
    """Median width of the intervals; infinite without any."""
    widths = sorted(row["hi"] - row["lo"] for row in rows if finite(row.get("lo")) and finite(row.get("hi")) and not row.get("pooled"))
    return widths[len(widths) // 2] if widths else math.inf


def _log_ticks(axes: Any) -> None:
    """Ticks that are read at a glance: 1, 2, 5 and their tens, or tens alone where there are many."""
    low, high = axes.get_xlim()
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if math.log10(high / low) <= 2.4 else (1,)
    every = 1 if last - first <= 6 else math.ceil((last - first) / 6)
    ticks = [step * 10.0**power for power in range(first, last + 1, every) for step in steps if low <= step * 10.0**power <= high]
    axes.set_xticks(ticks)
    axes.set_xticklabels([f"{tick:g}" if 1e-3 <= tick < 1e5 else f"{tick:.0e}" for tick in ticks])
    axes.minorticks_off()


def _heads(sheet: Sheet, data: Mapping[str, Any], counts: Sequence[str], told_left: float) -> None:
    for place, name in enumerate(counts):
        sheet.text(_EDGE_MM + _LABEL_MM + _COUNT_MM * (place + 1), 2, name, ha="right", fontweight="bold")
    sheet.text(told_left, 2, _measure(data), fontweight="bold")
    sheet.line([_EDGE_MM, DOUBLE_MM - _EDGE_MM], [_HEAD_MM - 0.4] * 2, linewidth=0.5)


def _measure(data: Mapping[str, Any]) -> str:
    return wrapped(f"{clean(data.get('measure') or 'Estimate')} (95 % CI)", 60, most=1)[0]


def _draw_line(sheet: Sheet, axes: Any, line: Mapping[str, Any], top: float, counts: Sequence[str], told_left: float) -> None:
    row, middle = line["row"], top + line["height"] / 2
    bold = {"fontweight": "bold"} if row is None or row.get("pooled") else {}
    first = _HEAD_MM + middle - LINE_MM * (len(line["words"]) - 1) / 2
    for place, words in enumerate(line["words"]):
        sheet.text(_EDGE_MM + line.get("indent", 0.0), first + LINE_MM * place, words, va="center", **bold)
    if row is None:
        return
    for place, name in enumerate(counts):
        if row.get(name) is not None:
            sheet.text(_EDGE_MM + _LABEL_MM + _COUNT_MM * (place + 1), _HEAD_MM + middle, whole(int(row[name])), va="center", ha="right")
    sheet.text(told_left, _HEAD_MM + middle, _told(row), va="center", **bold)
    if finite(row.get("value")):
        _mark(axes, row, middle)


def _mark(axes: Any, row: Mapping[str, Any], middle: float) -> None:
    left, right = axes.get_xlim()
    log = axes.get_xscale() == "log"
    low = row["lo"] if finite(row.get("lo")) and (row["lo"] > 0 or not log) else None
    high = row["hi"] if finite(row.get("hi")) else None
    inside = left <= row["value"] <= right
    if row.get("pooled") and low is not None and high is not None and inside:
        axes.fill([max(low, left), row["value"], min(high, right), row["value"]], [middle, middle - 1.3, middle, middle + 1.3], color=COLOURS[1], linewidth=0)
        for beyond, end, arrow in ((low < left, left, "<"), (high > right, right, ">")):
            if beyond:
                axes.plot([end], [middle], linestyle="none", color=COLOURS[1], markersize=3.5, marker=arrow, clip_on=False)
        return
    if row.get("lo") is not None or row.get("hi") is not None:
        ends = left if low is None or low < left else low, right if high is None or high > right else high
        axes.plot(ends, [middle, middle], color=COLOURS[0], linewidth=1.0, solid_capstyle="butt")
        for end, known, arrow in ((ends[0], low is not None and low >= left, "<"), (ends[1], high is not None and high <= right, ">")):
            axes.plot([end], [middle], linestyle="none", color=COLOURS[0], markersize=3.0 if known else 3.5, marker="|" if known else arrow, clip_on=False)
    if inside:
        size = 3.2 + 2.4 * math.sqrt(min(max(row["weight"], 0.0), 1.0)) if finite(row.get("weight")) else 4.0
        axes.plot([row["value"]], [middle], marker="s", markersize=size, color=COLOURS[0], linestyle="none")


def _told(row: Mapping[str, Any]) -> str:
    if not finite(row.get("value")):
        return "not estimable"
    shown = interval(row["value"], row.get("lo"), row.get("hi"), 2)
    return shown.replace(NOT_KNOWN, "\u221e") if math.inf in (row.get("lo"), row.get("hi")) else shown


def _favours(sheet: Sheet, axes: Any, data: Mapping[str, Any], favours: Sequence[str], left: float, wide: float, top: float) -> None:
    low, high = axes.get_xlim()
    share = (math.log(data["null"] / low) / math.log(high / low)) if data.get("log") else (data["null"] - low) / (high - low)
    middle = left + wide * min(max(share, 0.0), 1.0)
    for text, side, start, room in ((favours[0], "right", middle - 2, middle - left + 30), (favours[1], "left", middle + 2, left + wide - middle + 20)):
        sheet.text(start, top, wrapped(text, room, most=1)[0], ha=side, color=GREY)
    sheet.line([middle, middle], [top, top + LINE_MM], color=LIGHT)


def say_forest(data: Mapping[str, Any]) -> str:
    """What the figure shows, for who cannot see it."""
    rows = [row for row in data["rows"] if finite(row.get("value"))]
    if not rows:
        return f"Forest plot of {clean(data.get('measure') or 'estimates')}. Nothing could be estimated."
    shown = [f"{named(row['label'])} {interval(row['value'], row.get('lo'), row.get('hi'), 2)}" for row in rows]
    pooled = [text for row, text in zip(rows, shown) if row.get("pooled")]
    low, high = min(rows, key=lambda row: row["value"]), max(rows, key=lambda row: row["value"])
    ends = f"Lowest: {shown[rows.index(low)]}; highest: {shown[rows.index(high)]}." if len(rows) > 8 else "; ".join(shown) + "."
    summaries = f" Pooled: {'; '.join(pooled)}." if pooled and len(rows) > 8 else ""
    return f"Forest plot of {clean(data.get('measure') or 'estimates')}, {len(rows)} rows. {ends}{summaries}"
