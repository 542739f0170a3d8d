"""The verdict as a plot in letters: a model card is plain text, and is shown as such in report and panel."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from MRDeltaNetLib.cohort.verifying.judging import POINTING_MIN, SPEARMAN_MAX, STABILITY_MIN

COLUMNS, NAME = 41, 24
"""Letters of a line's plot and of its name."""

Row = tuple[str, float | None, Sequence[float] | None]
"""Label, value, interval; None: not done, no interval."""


def plot(methods: Mapping[str, Mapping[str, Any]]) -> str:
    """Four panels, one line a method.

    methods  method -> what judging found
    """
    found = {one["label"].split(" (")[0].split(":")[0]: one for one in methods.values()}
    gains = [(label, one["deletion"]["gain"], one["deletion"]["ci"]) for label, one in found.items()]
    widest = max((abs(value) for _, value, ci in gains for value in (*(ci or ()), *([] if value is None else [value]))), default=0.0) or 1.0
    return "\n\n".join((
        panel("rank correlation with the map of random weights: passes left of the line", -1.0, 1.0, SPEARMAN_MAX,
              [(label, one["cascade"]["spearman"], one["cascade"]["ci"]) for label, one in found.items()]),
        panel("deletion, area less than of random orders: passes with the whole interval right of the line", -widest, widest, 0.0, gains),
        panel("pointing, share of hits: passes right of the line", 0.0, 1.0, POINTING_MIN,
              [(label, one["pointing"].get("share"), one["pointing"].get("ci")) for label, one in found.items()]),
        panel("stability, the worse of shifts and outlines: passes right of the line", -1.0, 1.0, STABILITY_MIN,
              [(label, _worse(one["stability"]), None) for label, one in found.items()])))


def panel(title: str, low: float, high: float, limit: float, rows: Sequence[Row]) -> str:
    """One test: o the value, - its interval, | the limit."""
    scale = f"{low:.2g}".ljust(COLUMNS - len(f"{high:.2g}")) + f"{high:.2g}"
    return "\n".join([title, " " * NAME + scale, *(f"{label[:NAME - 1]:{NAME}}{_line(low, high, limit, value, ci)}" for label, value, ci in rows)])


def _line(low: float, high: float, limit: float, value: float | None, ci: Sequence[float] | None) -> str:
    if value is None:
        return "not done"

    def place(one: float) -> int:
        return min(COLUMNS - 1, max(0, round((one - low) / (high - low) * (COLUMNS - 1))))

    letters = ["."] * COLUMNS
    if ci:
        letters[place(ci[0]):place(ci[1]) + 1] = "-" * (place(ci[1]) + 1 - place(ci[0]))
    letters[place(limit)] = "|"
    letters[place(value)] = "o"
    return "".join(letters)


def _worse(stability: Mapping[str, Any]) -> float | None:
    means = [stability[kind]["spearman"] for kind in ("shift", "outline")]
    return None if None in means else min(means)
