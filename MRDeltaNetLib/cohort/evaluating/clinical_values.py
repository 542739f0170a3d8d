"""Which clinical values a section works with, and how what it leaves out is said. Shared by the sections on clinical values and on survival."""

from __future__ import annotations

from typing import Any, Iterable

import numpy as np

from MRDeltaNetLib.cohort.evaluating.subset import Subset
from MRDeltaNetLib.cohort.statistics.design import Dropped, Term
from MRDeltaNetLib.evaluation import Omission, Part

MOST_CASES = 100_000
"""Of more cases than this Cox models, ranks of times and cross-fitted models take many minutes, and are left out; a sample of the cases tells the same."""
EVENTS_A_TERM = 10
"""Fewer events than this for every term, and coefficients are too large and too sure (Peduzzi 1996, doi:10.1016/S0895-4356(96)00236-3)."""


def covariates(subset: Subset) -> tuple[str, ...]:
    """Columns of the logistic regressions: the configured ones, else every clinical column."""
    return tuple(subset.config.covariates or subset.clinical)


def nothing(section: str, what: str, reason: str, fix: str, empty: Any) -> Part:
    """A section that is wholly left out; empty: {} or []."""
    return Part(values=empty, omissions=(Omission(section, what, reason, fix),))


def dropped_omissions(section: str, model: str, dropped: Iterable[Dropped]) -> tuple[Omission, ...]:
    """One omission a column that a model does without."""
    return tuple(Omission(section, f"{each.variable} in {model}", each.reason, "correct the column, or take it out of the covariates") for each in dropped)


def unknown_references(section: str, subset: Subset, levels: dict[str, tuple[str, ...] | None]) -> tuple[Omission, ...]:
    """Configured reference levels that no case of the set has."""
    return tuple(Omission(section, f"{name}: comparison with '{reference}'",
                          "no case of this set has that level, so the first one in alphabetical order is the reference",
                          "correct the reference in the settings if it is misspelt")
                 for name, reference in subset.config.references.items() if levels.get(name) and reference not in levels[name])


def too_many(cases: int) -> str:
    """Why something is left out that would take too long, or empty."""
    return f"{cases} cases are more than the {MOST_CASES} for which this is done in minutes" if cases > MOST_CASES else ""


def term_label(term: Term) -> str:
    """How a term is called on the page."""
    return f"{term.variable}, per unit" if term.level is None else f"{term.variable}: {term.level} vs {term.reference}"


def plain(value: float | None) -> float | None:
    """A plain float, None for what is not finite."""
    return None if value is None or not np.isfinite(value) else float(value)


def few_events(events: int, terms: int) -> tuple[str, ...]:
    """The sentence that belongs to a model with few events for its terms."""
    if events >= EVENTS_A_TERM * terms:
        return ()
    return (f"{events} events for {terms} terms: below {EVENTS_A_TERM} a term, ratios come out too large and their intervals too narrow.",)
