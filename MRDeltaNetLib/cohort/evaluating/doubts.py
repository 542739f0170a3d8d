"""What looks wrong in the tables and is evaluated all the same, with a warning."""

from __future__ import annotations

from typing import Sequence

import numpy as np
import pandas

from MRDeltaNetLib.cohort.checking.plausibility import GIVES_AWAY_AUC
from MRDeltaNetLib.cohort.statistics import auc_with_ci
from MRDeltaNetLib.errors import Notice
from MRDeltaNetLib.io.tables import short

SENTINELS = (-9.0, -99.0, -999.0, -9999.0, 999.0, 9999.0, 99999.0)
"""Numbers that many tables write for an unknown value."""

FEWEST_OF_A_CLASS = 5
"""With fewer cases of either outcome, a column tells them apart by chance."""


def sentinels(frame: pandas.DataFrame) -> list[Notice]:
    """For each column of numbers that holds one that many tables write for an unknown value, apart from all its other values."""
    told = []
    for name in frame.columns:
        if frame[name].dtype != float:
            continue
        values = frame[name].to_numpy()
        held = [value for value in SENTINELS if (values == value).any()]
        others = values[~np.isnan(values) & ~np.isin(values, SENTINELS)]
        suspect = [value for value in held if others.size and (value < others.min() >= 0 or value > 3 * others.max() > 0)]
        if suspect:
            told.append(Notice("MRD-W432", f"The column '{short(name)}' holds {suspect[0]:g}, which many tables write for an unknown value; it counts as a number",
                               fix="if it means unknown, leave those cells empty"))
    return told


def give_away(frame: pandas.DataFrame, outcome: np.ndarray, covariates: Sequence[str]) -> list[Notice]:
    """For each covariate that tells the outcome (n,) almost without error: it was written after the outcome, or is the outcome in another form."""
    return [Notice("MRD-W447", f"'{short(name)}' alone tells the outcome almost without error",
                   fix="see that it was known before the outcome; if not, name the covariates in the settings without it, or leave the column out of the table")
            for name in covariates if _tells(frame[name], outcome)]


def _tells(values: pandas.Series, outcome: np.ndarray) -> bool:
    there = values.notna().to_numpy() & ~np.isnan(outcome)
    values, outcome = values[there], outcome[there]
    if min((outcome == 1).sum(), (outcome == 0).sum()) < FEWEST_OF_A_CLASS:
        return False
    if values.dtype == float:
        auc = auc_with_ci(outcome.astype(int), values.to_numpy())[0]
        return max(auc, 1 - auc) >= GIVES_AWAY_AUC
    shares = pandas.Series(outcome).groupby(values.to_numpy()).mean()
    return len(shares) <= len(values) / 5 and bool(shares.isin((0, 1)).all())
