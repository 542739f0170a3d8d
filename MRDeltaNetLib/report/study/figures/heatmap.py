"""Clinicopathological heatmap: every case a column, sorted by the score, outcome and clinical values in rows below it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

import numpy as np

from MRDeltaNetLib.colours import CIVIDIS
from MRDeltaNetLib.report.study.figures.style import COLOURS, DOUBLE_MM, GREY, INK, LINE_MM, SMALL_PT, Sheet, clean, empty, named, text_mm, wrapped
from MRDeltaNetLib.report.study.numbers import fixed, plain, whole

_LEFT_MM, _MAP_MM, _KEY_MM, _SCORE_MM, _TOP_MM = 38.0, 88.0, 46.0, 20.0, 3.0
_ROW_MM, _GAP_MM, _KEY_LINE_MM = 4.2, 1.0, 2.9
_MOST_LEVELS = 8
_OTHER = "other"
_UNKNOWN_RGB = (255, 255, 255)


@dataclass(frozen=True)
class _Row:
    """One row as it is drawn: pixels (n, 3) uint8, its label, and its key as lines of (colour, text); a gradient has two texts."""

    label: list[str]
    pixels: np.ndarray
    key: list[list[tuple[Any, str]]]
    gradient: tuple[str, str] | None
    unknown: bool

    @property
    def height(self) -> float:
        """mm"""
        return max(_ROW_MM, _KEY_LINE_MM * len(self.key), LINE_MM * len(self.label)) + _GAP_MM


def heatmap(data: Mapping[str, Any]) -> Any:
    """Bars of the score in descending order, a strip of colour for every other value, its key at the right.

    scores       (n) descending; score_label its name, threshold a line across, both may be missing
    probability  whether the score runs from 0 to 1 (True if missing)
    rows         [{label, kind "category" or "number", values (n), levels, unit}] in the order of scores; None where not known; levels, the order of
                 categories, and unit may be missing
    """
    scores = np.asarray(data["scores"], float)
    rows = [_row(row) for row in data["rows"]]
    start = _TOP_MM + _SCORE_MM + 2.5
    sheet = Sheet(DOUBLE_MM, start + sum(row.height for row in rows) + 6)
    axes = sheet.axes(_LEFT_MM, _TOP_MM, _MAP_MM, _SCORE_MM, frame=("left",))
    if not scores.size:
        empty(axes, "no case")
        axes.set_xticks([])
        axes.set_yticks([])
        return sheet.figure
    _bars(axes, scores, data)
    _score_key(sheet, data, scores)
    top = start
    for row in rows:
        _strip(sheet, row, top)
        top += row.height
    sheet.text(_LEFT_MM + _MAP_MM / 2, top + 1.0, f"{whole(int(scores.size))} cases, from the highest score (left) to the lowest (right)",
               ha="center", fontsize=SMALL_PT, color=GREY)
    return sheet.figure


def _bars(axes: Any, scores: np.ndarray, data: Mapping[str, Any]) -> None:
    edges = np.arange(scores.size + 1)
    probability = data.get("probability", True)
    base = 0.0 if probability else float(min(scores.min(), 0.0))
    axes.fill_between(edges, np.append(scores, scores[-1]), base, step="post", color=COLOURS[2], linewidth=0)
    axes.set_xlim(0, scores.size)
    axes.set_xticks([])
    if probability:
        axes.set_ylim(0, 1)
        axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    else:
        axes.set_ylim(base, max(float(scores.max()), base + 1e-9))
        axes.locator_params(axis="y", nbins=3)
    if data.get("threshold") is not None:
        axes.axhline(data["threshold"], color=INK, linewidth=0.8, linestyle=(0, (4, 2)))
    axes.set_ylabel("Score", labelpad=2)


def _score_key(sheet: Sheet, data: Mapping[str, Any], scores: np.ndarray) -> None:
    left, top = _LEFT_MM + _MAP_MM + 4, _TOP_MM + 1
    for words in wrapped(data.get("score_label") or "score", _KEY_MM, SMALL_PT, most=3):
        sheet.text(left, top, words, fontsize=SMALL_PT)
        top += _KEY_LINE_MM
    if data.get("threshold") is not None:
        above = int((scores >= data["threshold"]).sum())
        sheet.line([left, left + 5], [top + 1.4] * 2, linewidth=0.8, linestyle=(0, (4, 2)))
        for words in wrapped(f"threshold {fixed(data['threshold'], 3)}: {whole(above)} at or above", _KEY_MM - 7, SMALL_PT, most=2):
            sheet.text(left + 7, top, words, fontsize=SMALL_PT)
            top += _KEY_LINE_MM


def _row(row: Mapping[str, Any]) -> _Row:
    label = wrapped(named(row["label"]) + (f" ({row['unit']})" if row.get("unit") else ""), _LEFT_MM - 5, most=2)
    unknown = any(value is None for value in row["values"])
    return _numbers(row, label, unknown) if row["kind"] == "number" else _categories(row, label, unknown)


def _numbers(row: Mapping[str, Any], label: list[str], unknown: bool) -> _Row:
    values = np.array([np.nan if value is None else value for value in row["values"]], float)
    there = np.isfinite(values)
    low, high = (float(values[there].min()), float(values[there].max())) if there.any() else (0.0, 0.0)
    share = np.where(there, (np.where(there, values, low) - low) / (high - low or 1.0), 0.0)
    pixels = CIVIDIS[np.round(255 * share).astype(int)].copy()
    pixels[~there] = _UNKNOWN_RGB
    if not there.any():
        return _Row(label, pixels, [[(None, "not known")]], None, False)
    return _Row(label, pixels, [[]], (plain(low), plain(high)), unknown)


def _categories(row: Mapping[str, Any], label: list[str], unknown: bool) -> _Row:
    texts = [None if value is None else str(value) for value in row["values"]]
    counts = Counter(text for text in texts if text is not None)
    levels = [str(level) for level in row.get("levels") or sorted(counts)]
    levels = [level for level in levels if level in counts]
    if len(levels) > _MOST_LEVELS:
        common = {level for level, _ in sorted(counts.items(), key=lambda found: (-found[1], found[0]))[:_MOST_LEVELS - 1]}
        levels = [*(level for level in levels if level in common), _OTHER]
    colours = {level: CIVIDIS[round(245 * place / max(len(levels) - 1, 1))] for place, level in enumerate(levels)}
    pixels = np.array([_UNKNOWN_RGB if text is None else colours.get(text, colours.get(_OTHER, _UNKNOWN_RGB)) for text in texts], np.uint8).reshape(-1, 3)
    items = [(colours[level] / 255, level) for level in levels] + ([(np.ones(3), "not known")] if unknown else [])
    return _Row(label, pixels, _key_lines(items), None, False)


def _key_lines(items: Sequence[tuple[Any, str]]) -> list[list[tuple[Any, str]]]:
    """The key's items in as few lines as hold them."""
    lines: list[list[tuple[Any, str]]] = [[]]
    used = 0.0
    for colour, text in items:
        shown = wrapped(text, _KEY_MM / 2 - 5, SMALL_PT, most=1)[0]
        wide = text_mm(shown, SMALL_PT) + 5.2
        if lines[-1] and used + wide > _KEY_MM:
            lines, used = [*lines, []], 0.0
        lines[-1].append((colour, shown))
        used += wide
    return lines


def _strip(sheet: Sheet, row: _Row, top: float) -> None:
    inner = row.height - _GAP_MM
    sheet.image(_LEFT_MM, top, _MAP_MM, inner, row.pixels[None])
    sheet.box(_LEFT_MM, top, _MAP_MM, inner, facecolor="none", edgecolor=INK, linewidth=0.3)
    for place, words in enumerate(row.label):
        sheet.text(_LEFT_MM - 2, top + inner / 2 + LINE_MM * (place - (len(row.label) - 1) / 2), words, ha="right", va="center")
    left, first = _LEFT_MM + _MAP_MM + 4, top + (inner - _KEY_LINE_MM * len(row.key)) / 2 + _KEY_LINE_MM / 2
    if row.gradient:
        _gradient(sheet, row, left, top + inner / 2)
        return
    for place, line in enumerate(row.key):
        at = left
        for colour, text in line:
            if colour is not None:
                sheet.box(at, first + _KEY_LINE_MM * place - 1, 2, 2, facecolor=tuple(colour), edgecolor=INK, linewidth=0.3)
                at += 2.7
            sheet.text(at, first + _KEY_LINE_MM * place, text, va="center", fontsize=SMALL_PT)
            at += text_mm(text, SMALL_PT) + 2.5


def _gradient(sheet: Sheet, row: _Row, left: float, middle: float) -> None:
    low, high = row.gradient
    sheet.text(left, middle, low, va="center", fontsize=SMALL_PT)
    start = left + text_mm(low, SMALL_PT) + 1
    sheet.image(start, middle - 1, 10, 2, CIVIDIS[None])
    sheet.text(start + 11, middle, high, va="center", fontsize=SMALL_PT)
    if row.unknown:
        after = start + 13.5 + text_mm(high, SMALL_PT)
        sheet.box(after, middle - 1, 2, 2, facecolor="white", edgecolor=INK, linewidth=0.3)
        sheet.text(after + 2.7, middle, "not known", va="center", fontsize=SMALL_PT)


def say_heatmap(data: Mapping[str, Any]) -> str:
    """What the figure shows, for who cannot see it."""
    count = len(data["scores"])
    if not count:
        return "Heatmap without a case."
    said = (f"Heatmap of {whole(count)} cases sorted by {clean(data.get('score_label') or 'score')}, from {fixed(data['scores'][0], 2)} "
            f"to {fixed(data['scores'][-1], 2)}.")
    for row in data["rows"][:1]:
        half = max(count // 2, 1)
        first, second = Counter(row["values"][:half]), Counter(row["values"][half:])
        levels = [level for level in row.get("levels") or sorted({value for value in row["values"] if value is not None}, key=str)][:2]
        said += "".join(f" {named(row['label'])} {clean(level)}: {first[level]} of the {half} cases with the highest scores, "
                        f"{second[level]} of the other {count - half}."
                        for level in levels) if row["kind"] == "category" else ""
    return said + (f" Rows below: {', '.join(named(row['label']) for row in data['rows'])}." if data["rows"] else "")
