"""Made-up cases with scores of known worth, as the sections of an evaluation see them."""

from __future__ import annotations

import numpy as np
import pandas

from MRDeltaNetLib.cohort.evaluating.subset import Score, Subset
from MRDeltaNetLib.config import EvaluationConfig


def subset_of(outcome, scores, *, columns=None, training=None, name="external", **config) -> Subset:
    """scores: name -> values; those whose name starts with p_ are probabilities. columns: name -> values, all clinical but `centre`."""
    outcome = np.asarray(outcome, dtype=float)
    frame = pandas.DataFrame({column: np.asarray(values, dtype=object if np.asarray(values).dtype.kind in "OUS" else float)
                              for column, values in (columns or {}).items()}, index=range(len(outcome)))
    made = {one: Score(one, one, np.asarray(values, dtype=float), one.startswith("p_")) for one, values in scores.items()}
    return Subset(name, frame, outcome, made, tuple(column for column in frame.columns if column != "centre"), training, EvaluationConfig(**{"bootstrap": 300} | config))


def drawn(n=240, seed=0, slope=1.0, strength=1.3):
    """Outcome (n,) and a probability (n,) whose calibration slope is `slope` by construction, and a second, noisier score."""
    random = np.random.default_rng(seed)
    logit = -0.6 + strength * random.normal(size=n)
    outcome = (random.uniform(size=n) < 1 / (1 + np.exp(-logit))).astype(float)
    return outcome, 1 / (1 + np.exp(-logit / slope)), logit + 2 * random.normal(size=n)
