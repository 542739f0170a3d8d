"""Pieces of rich text that pages share. Everything from a file is escaped: a label shows it, never obeys it."""

from __future__ import annotations

import html
from typing import Any, Iterable, Mapping, Sequence

from slicer.i18n import tr as _

from MRDeltaNetLib.imaging.nnunet import HIGH, LOW
from MRDeltaNetLib.response.uncertainty import probability

ROWS = (("volume_ml", _("Volume (mL)"), "{:.1f}"), ("longest_in_plane_diameter_mm", _("Longest in plane (mm)"), "{:.0f}"),
        ("longest_3d_diameter_mm", _("Longest in 3-D (mm)"), "{:.0f}"), ("short_axis_mm", _("Short axis (mm)"), "{:.0f}"))
"""Measures that are shown in short: name in result.json without its visit, its name and format."""


OUT_OF_DATE = _("Out of date: something was changed since. Run again.")


def listed(lines: Sequence[str], title: str = "") -> str:
    """Lines as a list under a title; nothing for no lines.

    lines  rich text already
    """
    if not lines:
        return ""
    head = f"<p><b>{html.escape(title)}</b></p>" if title else ""
    return head + "<ul style='margin-left:12px; -qt-list-indent:0'>" + "".join(f"<li>{line}</li>" for line in lines) + "</ul>"


def noticeLines(notices: Iterable[Any]) -> list[str]:
    """Warnings: text, remedy, code."""
    return [_told(notice.text, "", notice.fix, notice.code) for notice in notices]


def errorLines(errors: Iterable[Any]) -> list[str]:
    """Refusals: what, found, remedy, code."""
    return [_told(error.what, error.found, error.fix, error.code) for error in errors]


def warningLines(warnings: Iterable[dict[str, str]]) -> list[str]:
    """Warnings as result.json holds them."""
    return [_told(entry["text"], "", entry.get("fix", ""), entry["code"]) for entry in warnings]


def table(rows: Iterable[tuple[str, ...]]) -> str:
    """Rows of escaped cells; the first column is the name."""
    body = "".join("<tr>" + "".join(f"<td style='padding-right:10px'>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{body}</table>"


def sizesTable(sizes: Mapping[str, Any]) -> str:
    """Sizes before and after and their change, those that are known; nothing without any.

    sizes  "measures" of result.json
    """
    columns = [("pre", _("Before")), ("post", _("After (bed)")), ("residual", _("Residual"))]
    shown = [(role, title) for role, title in columns if sizes.get(f"{role}_volume_ml") is not None]
    if not shown:
        return ""
    rows = [("", *(title for _role, title in shown), _("Change"))]
    for name, title, form in ROWS:
        change = sizes.get(f"{name.removesuffix('_ml').removesuffix('_mm')}_change_percent")
        known = [sizes.get(f"{role}_{name}") for role, _title in shown]
        rows.append((title, *("" if value is None else form.format(value) for value in known), "" if change is None else f"{change:+.0f} %"))
    return table(rows)


def sizesLine(sizes: Mapping[str, Any]) -> str:
    """Volumes and their change on one line, those that are known; nothing without any.

    sizes  "measures" of result.json
    """
    texts = {"pre": _("Before {volume} mL"), "post": _("after {volume} mL"), "residual": _("residual {volume} mL")}
    parts = []
    for role, text in texts.items():
        volume = sizes.get(f"{role}_volume_ml")
        if volume is not None:
            parts.append(text.format(volume=f"{volume:.1f}"))
        if role == "post" and (change := sizes.get("volume_change_percent")) is not None:
            parts[-1] += f" ({change:+.0f} %)"
    return html.escape(", ".join(parts))


def drawnByProgram(remarks: Mapping[str, Any]) -> str:
    """What has to be said of an outline that a program drew: how much of it is certain, and its warnings; nothing without any.

    remarks  volumes in mL and warnings, as segmenting.as_summary tells them
    """
    lines = []
    if all(isinstance(remarks.get(name), (int, float)) for name in ("volume_ml", "certain_volume_ml", "possible_volume_ml")):
        text = _("Drawn by a program: {volume:.1f} mL; certain {certain:.1f} mL, possible {possible:.1f} mL (probability {high:g}, {low:g}).")
        lines.append(html.escape(text.format(volume=remarks["volume_ml"], certain=remarks["certain_volume_ml"], possible=remarks["possible_volume_ml"], high=HIGH, low=LOW)))
    lines += warningLines(remarks.get("warnings") or ())
    return "<br>".join(lines)


def probabilities(facts: Mapping[str, Any]) -> tuple[str, str]:
    """P(pCR) and its range as text.

    facts  result.json with a prediction
    """
    number, low, high = (probability(facts[name], facts["threshold"]) for name in ("p_pcr", "p_pcr_low", "p_pcr_high"))
    return number, _("{low} to {high}").format(low=low, high=high)


def outOfDate() -> str:
    """What stands over a result that its scans, outlines or options have left behind."""
    return f"<b>{html.escape(OUT_OF_DATE)}</b>"


def sentence(text: str) -> str:
    """With a capital letter at the start and a full stop at the end."""
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _told(what: str, found: str, fix: str, code: str) -> str:
    parts = [html.escape(sentence(what))]
    if found:
        parts.append(html.escape(sentence(found)))
    if fix:
        parts.append(f"<i>{html.escape(sentence(fix))}</i>")
    return " ".join(parts) + f" <small>{html.escape(code)}</small>"
