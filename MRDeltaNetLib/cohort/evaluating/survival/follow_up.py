"""Times and events of one endpoint: which cases can be told, and the times at which they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping

import numpy as np

from MRDeltaNetLib.cohort.evaluating.subset import Subset
from MRDeltaNetLib.config import EndpointConfig
from MRDeltaNetLib.evaluation import Omission

SECTION = "survival"
WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
MARKS = 5
EVEN = {"days": (30, 91, 182, 365, 730, 1825), "months": (1, 2, 3, 6, 12, 24, 60), "years": (0.5, 1, 2, 5, 10)}
"""Steps in which people count these units."""


@dataclass(frozen=True)
class FollowUp:
    """Cases of one endpoint that can be told.

    name, settings   of the endpoint
    rows             (m,) their rows in the subset's frame
    time             (m,) from the start, or from the landmark; event (m,) 1.0 or 0.0
    left_out         reason -> how many cases are not among them
    marks            times at which survival is told
    """

    name: str
    settings: EndpointConfig
    rows: np.ndarray
    time: np.ndarray
    event: np.ndarray
    left_out: Mapping[str, int] = field(default_factory=dict)
    marks: tuple[float, ...] = ()

    @property
    def events(self) -> int:
        return int(self.event.sum())


def follow_up(subset: Subset, name: str, settings: EndpointConfig) -> tuple[FollowUp | None, tuple[Omission, ...]]:
    """The cases that can be told and what is left out; None where nobody can be."""
    absent = [column for column in (settings.time, settings.event) if column not in subset.frame.columns]
    if absent:
        return None, (_omission(name, f"there is no column {' and none '.join(absent)}", "correct the columns in the settings"),)
    time, event = _numbers(subset.frame[settings.time]), _numbers(subset.frame[settings.event], WORDS)
    start = settings.landmark or 0.0
    reasons = {"no time or no event": np.isnan(time) | np.isnan(event), "a negative or infinite time": (time < 0) | np.isinf(time),
               "an event that is neither 0 nor 1": ~np.isin(event, (0.0, 1.0))}
    if settings.landmark is not None:
        reasons["the event or the last visit before the landmark"] = time <= start
    kept, left_out = np.ones(len(time), bool), {}
    for reason, which in reasons.items():
        if (count := int((kept & which).sum())):
            left_out[reason] = count
        kept &= ~which
    omissions = tuple(_omission(name, f"{count} cases with {reason}", "correct the table") for reason, count in left_out.items()
                      if "negative" in reason or "neither" in reason)
    if kept.sum() < 2:
        return None, (*omissions, _omission(name, f"{int(kept.sum())} cases can be told" + "".join(f"; {n} with {why}" for why, n in left_out.items()),
                                            "complete the columns of follow-up"))
    told = time[kept] - start
    return FollowUp(name, settings, np.flatnonzero(kept), told, event[kept], left_out, settings.times or marks(float(told.max()), settings.unit)), omissions


def marks(longest: float, unit: str) -> tuple[float, ...]:
    """About five even times within a follow-up, in steps in which people count that unit."""
    if longest <= 0:
        return ()
    near = longest / (1.5 * MARKS)
    steps = [float(step) for step in EVEN.get(unit, ()) if near <= step <= longest / 2]
    if not steps:
        size = 10.0 ** np.floor(np.log10(near))
        steps = [float(factor * size) for factor in (1, 2, 2.5, 5, 10) if factor * size >= near]
    step = steps[0]
    return tuple(round(step * k, 12) for k in range(1, int(np.ceil(longest / step)) + 1) if step * k <= longest)


def time_text(time: float) -> str:
    """A time as a key of evaluation.json: "365", "2.5"."""
    return f"{time:.10g}"


def _numbers(values: Any, words: Mapping[str, float] | None = None) -> np.ndarray:
    """(n,) float, NaN for what is none."""
    def number(value: Any) -> float:
        if isinstance(value, str):
            if words and value.strip().lower() in words:
                return words[value.strip().lower()]
            try:
                return float(value)
            except ValueError:
                return float("nan")
        return float("nan") if value is None else float(value)
    return np.array([number(value) for value in values], dtype=float)


def _omission(name: str, reason: str, fix: str) -> Omission:
    return Omission(SECTION, f"Endpoint {name}", reason, fix)
