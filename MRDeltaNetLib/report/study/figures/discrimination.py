"""Curves of discrimination: receiver operating characteristic, precision against recall."""

from __future__ import annotations

from typing import Any, Mapping

from MRDeltaNetLib.report.study.figures.style import GREY, LIGHT, SINGLE_MM, Entry, Sheet, empty, legend, legend_mm, marker, named, stroke, unit_ticks
from MRDeltaNetLib.report.study.numbers import fixed, interval

_SIDE_MM, _LEFT_MM, _TOP_MM = 66.0, 15.0, 3.0
_BELOW_MM = 11.0
"""Ticks and label of the x axis."""


def roc(data: Mapping[str, Any]) -> Any:
    """Sensitivity against 1 - specificity, both axes equal.

    curves  [{label, fpr [], tpr [], auc, lo, hi}], from (0, 0) to (1, 1); auc, lo and hi may be None
    points  [{label, fpr, tpr}], operating points; may be missing
    """
    curves, points = data["curves"], data.get("points") or []
    entries = [Entry(stroke(place), named(curve["label"]), _auc(curve)) for place, curve in enumerate(curves)]
    entries += [Entry(_point(place), named(point["label"]), f": sensitivity {fixed(point['tpr'], 2)}, specificity {fixed(1 - point['fpr'], 2)}")
                for place, point in enumerate(points)]
    sheet, axes = _square(entries, "1 \u2212 specificity", "Sensitivity")
    axes.plot([0, 1], [0, 1], color=LIGHT, linewidth=0.8)
    for place, curve in enumerate(curves):
        axes.plot(curve["fpr"], curve["tpr"], **stroke(place))
    for place, point in enumerate(points):
        axes.plot([point["fpr"]], [point["tpr"]], **{**_point(place), "markersize": 4.5})
    if not curves:
        empty(axes, "no curve")
    return sheet.figure


def say_roc(data: Mapping[str, Any]) -> str:
    """What the figure shows, for who cannot see it."""
    lines = [named(curve["label"]) + _auc(curve) for curve in data["curves"]]
    return "ROC curves. " + ("; ".join(lines) + "." if lines else "No curve could be drawn.")


def precision_recall(data: Mapping[str, Any]) -> Any:
    """Positive predictive value against sensitivity, both axes equal.

    curves      [{label, recall [], precision [], average_precision}]
    prevalence  share of pCR: the line of a score that knows nothing
    """
    curves, prevalence = data["curves"], data.get("prevalence")
    entries = [Entry(stroke(place), named(curve["label"]), _precision(curve)) for place, curve in enumerate(curves)]
    if prevalence is not None:
        entries.append(Entry({"color": GREY, "linewidth": 0.8}, f"share of pCR {fixed(prevalence, 2)}: a score that knows nothing"))
    sheet, axes = _square(entries, "Recall (sensitivity)", "Precision (positive predictive value)")
    if prevalence is not None:
        axes.axhline(prevalence, color=GREY, linewidth=0.8)
    for place, curve in enumerate(curves):
        axes.plot(curve["recall"], curve["precision"], **stroke(place))
    if not curves:
        empty(axes, "no curve")
    return sheet.figure


def say_precision_recall(data: Mapping[str, Any]) -> str:
    """What the figure shows, for who cannot see it."""
    lines = [named(curve["label"]) + _precision(curve) for curve in data["curves"]]
    base = "" if data.get("prevalence") is None else f" Share of pCR {fixed(data['prevalence'], 2)}."
    return "Precision against recall. " + ("; ".join(lines) + "." if lines else "No curve could be drawn.") + base


def _square(entries: list[Entry], x_label: str, y_label: str) -> tuple[Sheet, Any]:
    wide = SINGLE_MM - 4
    sheet = Sheet(SINGLE_MM, _TOP_MM + _SIDE_MM + _BELOW_MM + legend_mm(entries, wide) + 1)
    axes = sheet.axes(_LEFT_MM, _TOP_MM, _SIDE_MM, _SIDE_MM, frame=("left", "bottom", "top", "right"))
    unit_ticks(axes)
    axes.set_xlabel(x_label, labelpad=2)
    axes.set_ylabel(y_label, labelpad=2)
    legend(sheet, 3, _TOP_MM + _SIDE_MM + _BELOW_MM, wide, entries)
    return sheet, axes


def _point(place: int) -> dict[str, Any]:
    return {**marker(place + 3), "color": "#16191d", "markerfacecolor": "white", "markeredgewidth": 0.9, "clip_on": False, "zorder": 5}


def _auc(curve: Mapping[str, Any]) -> str:
    return f": AUC {interval(curve.get('auc'), curve.get('lo'), curve.get('hi'), 3)}"


def _precision(curve: Mapping[str, Any]) -> str:
    return f": average precision {fixed(curve.get('average_precision'), 3)}"
