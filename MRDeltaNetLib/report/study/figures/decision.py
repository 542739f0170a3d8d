"""Decision curves: net benefit against the threshold probability."""

from __future__ import annotations

from typing import Any, Mapping

from MRDeltaNetLib.report.study.figures.style import GREY, INK, SINGLE_MM, Entry, Sheet, empty, legend, legend_mm, named, stroke
from MRDeltaNetLib.report.study.numbers import fixed

_SHOWN_BANDS = 2
_LEFT_MM, _TOP_MM, _WIDE_MM, _HIGH_MM = 15.0, 3.0, 70.0, 54.0
_BELOW_ZERO = 0.3
"""How much of the axis, measured by its part above 0, is left below it: nobody would use what lies further down."""


def decision_curve(data: Mapping[str, Any]) -> Any:
    """Net benefit of acting on a score, on everybody and on nobody; the axis stops a little below 0.

    thresholds  [] of 0 to 1, ascending
    curves      [{label, net_benefit [], lo [] or None, hi [] or None}], one value a threshold, None where there is none
    treat_all   [] one value a threshold
    event_rate  share of pCR
    """
    thresholds, curves = data["thresholds"], data["curves"]
    entries = [Entry(stroke(place), named(curve["label"])) for place, curve in enumerate(curves)]
    if any(curve.get("lo") for curve in curves[:_SHOWN_BANDS]):
        entries.append(Entry({"color": "#b9c3d3", "linewidth": 6, "solid_capstyle": "butt"}, "95 % confidence band"))
    entries += [Entry({"color": GREY, "linewidth": 0.9, "linestyle": (0, (2, 1.5))}, "treat all as pCR"), Entry({"color": INK, "linewidth": 0.7}, "treat none as pCR")]
    wide = SINGLE_MM - 4
    sheet = Sheet(SINGLE_MM, _TOP_MM + _HIGH_MM + 11 + legend_mm(entries, wide) + 1)
    axes = sheet.axes(_LEFT_MM, _TOP_MM, _WIDE_MM, _HIGH_MM)
    axes.axhline(0, color=INK, linewidth=0.7)
    axes.plot(thresholds, data["treat_all"], color=GREY, linewidth=0.9, linestyle=(0, (2, 1.5)))
    for place, curve in enumerate(curves):
        if curve.get("lo") and curve.get("hi") and place < _SHOWN_BANDS:
            axes.fill_between(thresholds, _numbers(curve["lo"]), _numbers(curve["hi"]), color=stroke(place)["color"], alpha=0.18, linewidth=0)
        axes.plot(thresholds, _numbers(curve["net_benefit"]), **stroke(place))
    top = max([value for values in [*(curve["net_benefit"] for curve in curves), *(curve.get("hi") or [] for curve in curves[:_SHOWN_BANDS]), data["treat_all"]]
               for value in values if value is not None] + [0.01])
    axes.set_ylim(-_BELOW_ZERO * top, 1.06 * top)
    last = max(thresholds, default=1.0)
    axes.set_xlim(0, 1 if last > 0.9 else last)
    axes.locator_params(axis="x", nbins=6)
    if not curves:
        empty(axes, "no curve")
    axes.set_xlabel("Threshold probability", labelpad=2)
    axes.set_ylabel("Net benefit", labelpad=2)
    legend(sheet, 3, _TOP_MM + _HIGH_MM + 11, wide, entries)
    return sheet.figure


def _numbers(values: list) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def say_decision_curve(data: Mapping[str, Any]) -> str:
    """What the figure shows, for who cannot see it."""
    said = []
    for curve in data["curves"]:
        better = [threshold for threshold, value, everyone in zip(data["thresholds"], curve["net_benefit"], data["treat_all"])
                  if value is not None and value > max(everyone, 0.0) + 1e-12]
        where = f"{len(better)} of {len(data['thresholds'])} thresholds, between {fixed(min(better), 2)} and {fixed(max(better), 2)}" if better else "no threshold"
        said.append(f"{named(curve['label'])} has more net benefit than treating all or none at {where}")
    rate = "" if data.get("event_rate") is None else f" Share of pCR {fixed(data['event_rate'], 2)}."
    return "Decision curves. " + ("; ".join(said) + "." if said else "No curve could be drawn.") + rate
