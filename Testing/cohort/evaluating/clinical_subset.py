"""Subsets of an evaluation for tests, made from any table, as the reader of tables would."""

from __future__ import annotations

import numpy as np
import pandas

from MRDeltaNetLib.cohort.evaluating.frame import found_endpoints
from MRDeltaNetLib.cohort.evaluating.subset import Score, Subset
from MRDeltaNetLib.config import EvaluationConfig


def subset(frame, outcome, *, scores=(), clinical=None, training=None, name="all", **settings) -> Subset:
    """frame as read by pandas or a mapping of columns; outcome (n,) of 0, 1, NaN; scores: columns, those in 0 to 1 are probabilities."""
    frame = pandas.DataFrame(frame).reset_index(drop=True)
    for column in frame:
        if frame[column].dtype.kind in "iufb":
            frame[column] = frame[column].astype(float)
        else:
            frame[column] = frame[column].astype(object).where(frame[column].notna(), None)
    found = {column: Score(column, column, frame[column].to_numpy(float), bool(frame[column].between(0, 1).all())) for column in scores}
    clinical = tuple(column for column in frame if column not in scores) if clinical is None else tuple(clinical)
    settings.setdefault("endpoints", found_endpoints(frame.columns))
    return Subset(name, frame, np.asarray(outcome, dtype=float), found, clinical, training, EvaluationConfig(**settings))


def made_up(n=240, seed=0, **settings) -> Subset:
    """Cases whose response and recurrence depend on a score, on age and on stage; some values are missing."""
    rng = np.random.default_rng(seed)
    age, stage, sex = rng.normal(60, 10, n).round(), rng.choice(["T2", "T3", "T4"], n), rng.choice(["Female", "Male"], n)
    linear = -1 + 0.04 * (age - 60) - 0.5 * (stage == "T4") + rng.normal(size=n)
    outcome = (linear + rng.logistic(size=n) > 0).astype(float)
    p = 1 / (1 + np.exp(-linear - 0.5 * rng.normal(size=n)))
    happens, leaves = rng.exponential(40 * np.exp(0.8 * outcome + 0.3 * linear)), rng.uniform(10, 90, n)
    frame = {"id": [f"c{k}" for k in range(n)], "p_pcr": p.clip(0.001, 0.999), "age": age, "stage": stage, "sex": sex,
             "dfs_time_months": np.minimum(happens, leaves).round(1), "dfs_event": (happens <= leaves).astype(float)}
    frame["age"][5] = np.nan
    frame["stage"] = [None if k == 7 else value for k, value in enumerate(stage)]
    return subset(frame, outcome, scores=("p_pcr",), clinical=("age", "stage", "sex"), **settings)
