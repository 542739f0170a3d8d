"""The cases of one set, as every section of an evaluation sees them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Mapping

import numpy as np

from MRDeltaNetLib.config import EvaluationConfig

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Score:
    """One score of every case.

    name         its column
    label        how it is called on the page
    values       (n,) float, finite or NaN where the case has none; larger means closer to pCR
    probability  whether it is P(pCR), 0 to 1; otherwise it only ranks
    """

    name: str
    label: str
    values: np.ndarray
    probability: bool


@dataclass(frozen=True)
class Subset:
    """Cases of one set.

    name         of the set, or "all"
    frame        one row a case, index 0 to n - 1: every column of the tables, typed (float64 for numbers with NaN, object text with None for categories)
    outcome      (n,) 1.0 pCR, 0.0 none, NaN not known
    scores       name -> score, the study's model first
    clinical     columns of the frame that are clinical values, in the order of the tables (neither id, set, centre, outcome, scores nor follow-up)
    training     the training cases, if this is another set: what thresholds and recalibration may be learned from; None without any
    config       settings
    excluded     reason -> rows of this set that are not evaluated (flow.py)
    """

    name: str
    frame: "pandas.DataFrame"
    outcome: np.ndarray
    scores: Mapping[str, Score]
    clinical: tuple[str, ...]
    training: "Subset | None"
    config: EvaluationConfig
    excluded: Mapping[str, int] = field(default_factory=dict)

    @property
    def model(self) -> Score | None:
        """The score that the study is about; None if there is no score at all."""
        return next(iter(self.scores.values()), None)

    def judged(self, *names: str) -> tuple[np.ndarray, list[np.ndarray]]:
        """Outcome (m,) as 0 or 1 and the values (m,) of the named scores, of the cases that have all of them."""
        columns = [self.scores[name].values for name in names]
        there = ~np.isnan(self.outcome) & np.all([~np.isnan(values) for values in columns] or [np.ones(len(self.outcome), bool)], axis=0)
        return self.outcome[there].astype(int), [values[there] for values in columns]
