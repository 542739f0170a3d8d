"""Experiment 3a: do recalibrated probabilities hold on new cases? Platt's line from validation cases, judged on test cases."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Mapping

import numpy as np

from MRDeltaNetLib.cohort.calibration import platt
from MRDeltaNetLib.cohort.statistics import calibration

from MRDeltaNetLib.cohort.experiments.ordering import cells

__all__ = ["calibrated", "cells"]


def calibrated(record: Mapping[str, Any], condition: str = "0-good") -> dict[str, Any]:
    """Slope, intercept and Brier score on the test cases, before and after Platt's line that was fitted on the validation cases.

    record    of a cell; condition: where both were scored
    returns   {"line": (slope, intercept), "before": Calibration's fields, "after": the same}
    raises    InputError MRD-E778 where the validation scores have no such line
    """
    (outcome, logit), (test_outcome, test_logit) = ((np.array(record[name]["outcome"]), np.array(record[name]["logits"][condition]))
                                                    for name in ("validation", "test"))
    slope, intercept = platt(outcome, logit)
    return {"line": (slope, intercept), "before": asdict(calibration(test_outcome, test_logit)),
            "after": asdict(calibration(test_outcome, slope * test_logit + intercept))}
