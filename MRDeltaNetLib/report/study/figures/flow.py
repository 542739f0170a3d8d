"""Flow diagram: from the cases enrolled to the cases analysed, with who was left out and why."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from MRDeltaNetLib.report.study.figures.style import INK, LINE_MM, SINGLE_MM, Sheet, clean, empty, named, with_number, wrapped
from MRDeltaNetLib.report.study.numbers import HARD, whole

_MAIN_MM, _SIDE_LEFT_MM, _SIDE_MM, _GAP_MM = 38.0, 46.0, 41.0, 6.0


def flow(data: Mapping[str, Any]) -> Any:
    """Boxes from top to bottom; who was left out behind a box stands at its right.

    boxes  [{label, n, excluded [{reason, n}]}]; n may be None (not known)
    """
    boxes = data["boxes"]
    mains = [[*wrapped(named(box["label"]), _MAIN_MM - 4, most=3), _count(box["n"])] for box in boxes]
    sides = [_excluded(box.get("excluded") or []) for box in boxes]
    main_heights = [LINE_MM * len(lines) + 3 for lines in mains]
    gaps = [max(_GAP_MM, LINE_MM * len(lines) + 7 if lines else 0.0) for lines in sides]
    last = 1.0 if not sides or not sides[-1] else gaps[-1] + 1
    sheet = Sheet(SINGLE_MM, max(2 + sum(main_heights) + sum(gaps[:-1]) + last, 20.0))
    top = 1.0
    for place, (lines, height, side, gap) in enumerate(zip(mains, main_heights, sides, gaps)):
        _box(sheet, 1, top, _MAIN_MM, height, lines, centred=True)
        bottom = top + height
        middle = 1 + _MAIN_MM / 2
        if place < len(boxes) - 1:
            _arrow(sheet, (middle, bottom), (middle, bottom + gap))
        elif side:
            sheet.line([middle, middle], [bottom, bottom + gap / 2])
        if side:
            _arrow(sheet, (middle, bottom + gap / 2), (_SIDE_LEFT_MM, bottom + gap / 2))
            high = LINE_MM * len(side) + 3
            _box(sheet, _SIDE_LEFT_MM, bottom + gap / 2 - high / 2, _SIDE_MM, high, side, centred=False)
        top = bottom + gap
    if not boxes:
        empty(sheet.axes(0, 0, SINGLE_MM, 20, frame=()), "no count is known")
    return sheet.figure


def _excluded(reasons: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines of who was left out: their sum, then each reason."""
    if not reasons:
        return []
    lines = [f"Left out ({_count(sum(reason['n'] for reason in reasons))})"] if len(reasons) > 1 else []
    for reason in reasons:
        lines += with_number(named(reason["reason"]), f" ({_count(reason['n'])})", _SIDE_MM - 4)
    return lines


def _count(count: Any) -> str:
    return "n not known" if count is None else f"n{HARD}={HARD}{whole(int(count))}"


def _box(sheet: Sheet, left: float, top: float, width: float, height: float, lines: Sequence[str], centred: bool) -> None:
    sheet.box(left, top, width, height, facecolor="white", edgecolor=INK, linewidth=0.7)
    for place, words in enumerate(lines):
        sheet.text(left + (width / 2 if centred else 2), top + 1.5 + LINE_MM * (place + 0.5), words, va="center", ha="center" if centred else "left")


def _arrow(sheet: Sheet, start: tuple[float, float], end: tuple[float, float]) -> None:
    """A straight arrow, down or to the right, in millimetres from the upper left."""
    sheet.line([start[0], end[0]], [start[1], end[1]], linewidth=0.7)
    down = start[0] == end[0]
    tip = (end[0], end[1] - 0.6) if down else (end[0] - 0.6, end[1])
    sheet.line([tip[0]], [tip[1]], marker="v" if down else ">", markersize=3, linestyle="none")


def say_flow(data: Mapping[str, Any]) -> str:
    """What the figure shows, for who cannot see it."""
    said = []
    for box in data["boxes"]:
        left_out = "; ".join(f"{clean(reason['reason'])} {whole(int(reason['n']))}" for reason in box.get("excluded") or [])
        said.append(f"{named(box['label'])}: {_count(box['n'])}" + (f" (left out then: {left_out})" if left_out else ""))
    return "Flow of cases. " + ("; ".join(said) + "." if said else "No count is known.")
