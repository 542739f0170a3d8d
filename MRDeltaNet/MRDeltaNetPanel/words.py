"""Pieces of rich text that pages share. Everything from a file is escaped: a label shows it, never obeys it."""

from __future__ import annotations

import html
from typing import Any, Iterable, Mapping, Sequence

from slicer.i18n import tr as _

from MRDeltaNetLib.imaging.nnunet import HIGH, LOW
from MRDeltaNetLib.workflow import telling
from MRDeltaNetPanel.translating import libraryText


def listed(lines: Sequence[str], title: str = "") -> str:
    """Lines as a list under a title; nothing for no lines.

    lines  rich text already
    """
    if not lines:
        return ""
    head = f"<p><b>{html.escape(title)}</b></p>" if title else ""
    return head + "<ul style='margin-left:12px; -qt-list-indent:0'>" + "".join(f"<li>{line}</li>" for line in lines) + "</ul>"


def remarkLines(found: Iterable[Any]) -> list[str]:
    """Warnings and refusals as lines: text, what was found, remedy, code.

    found  errors, notices, or warnings as result.json holds them
    """
    return [_told(remark) for remark in telling.remarks(found)]


def table(rows: Iterable[tuple[str, ...]]) -> str:
    """Rows of escaped cells; the first column is the name."""
    body = "".join("<tr>" + "".join(f"<td style='padding-right:10px'>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{body}</table>"


def sizesTable(sizes: Mapping[str, Any]) -> str:
    """Sizes before and after and their change, those that are known; nothing without any.

    sizes  "measures" of result.json
    """
    rows = telling.size_rows(sizes, libraryText)
    return table(rows) if rows else ""


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
    lines += remarkLines(remarks.get("warnings") or ())
    return "<br>".join(lines)


def outOfDate() -> str:
    """What stands over a result that its scans, outlines or options have left behind."""
    return f"<b>{html.escape(libraryText(telling.OUT_OF_DATE))}</b>"


def _told(remark: telling.Remark) -> str:
    fix = f"<i>{html.escape(remark.fix)}</i>" if remark.fix else ""
    return " ".join(filter(None, (html.escape(remark.text), html.escape(remark.found), fix))) + f" <small>{html.escape(remark.code)}</small>"
