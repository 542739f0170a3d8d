"""Ridge logistic regression on sizes alone: what a clinician gets from the two outlines without any network.

Logarithms of tumour and bed volume and of their longest in-plane diameters (so their ratios too), and the volume change in percent.
The residual mask is not used: where a reader drew none because nothing was left, its size is the reader's answer, not a measurement.
"""

from __future__ import annotations

import math
from typing import Any

from MRDeltaNetLib.cohort.tabular import features
from MRDeltaNetLib.io.table_model import TableModel, Value

NAME = "volume_logistic"
READS_SCANS = True

LEAST_ML, LEAST_MM = 0.01, 1.0
"""What is added before the logarithm, so that an empty mask has one."""

LOGARITHMS = {"pre_volume_ml": LEAST_ML, "post_volume_ml": LEAST_ML, "pre_longest_in_plane_diameter_mm": LEAST_MM,
              "post_longest_in_plane_diameter_mm": LEAST_MM}
PLAIN = ("volume_change_percent",)


def values(prepared, **_: Any) -> list[dict[str, Value]]:
    """Each case's sizes, from the measures that preparation stored."""
    return [_sizes(facts["measures"]) for facts in prepared.facts]


def fit(prepared, *, seed: int = 0, **settings: Any) -> TableModel:
    """The model; settings are kept as facts."""
    rows, lines = values(prepared), features.lines(prepared)
    columns = features.number_columns([*(f"log {name}" for name in LOGARITHMS), *PLAIN], rows, lines)
    return features.fit_model(NAME, columns, rows, lines, features.outcomes(prepared), prepared.keys, solver=features.ridge, seed=seed,
                              settings=settings)


def _sizes(measures) -> dict[str, Value]:
    logs = {f"log {name}": None if measures.get(name) is None else math.log(measures[name] + least) for name, least in LOGARITHMS.items()}
    return logs | {name: measures.get(name) for name in PLAIN}
