"""Wald's errors of a logistic regression as R's glm prints them.

R ends its steps when the deviance changes by less than 1e-8 of itself, and takes the covariance of the last step, that is the information at the
coefficients before it. At the maximum itself intervals differ in the fourth digit or so; every published odds ratio that came from R has R's.
"""

from __future__ import annotations

import numpy as np

from MRDeltaNetLib.cohort.statistics.regression import logistic, sigmoid

EPSILON, STEPS = 1e-8, 50


def wald_as_r(design: np.ndarray, outcome: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (k,) and their covariance (k, k) at which R's glm(family = binomial) ends, for design (n, k) with its intercept.

    raises ValueError as regression.logistic(), by which separated classes are refused first
    """
    logistic(design, outcome)
    linear = np.log((outcome + 0.5) / (1.5 - outcome))                # R begins at probabilities of 1/4 and 3/4
    deviance = np.inf
    for _ in range(STEPS):
        p = sigmoid(linear)
        weight = p * (1 - p)
        covariance = np.linalg.inv(design.T @ (design * weight[:, None]))
        coefficients = covariance @ (design.T @ (weight * linear + outcome - p))
        linear = design @ coefficients
        before, deviance = deviance, 2 * float(np.logaddexp(0.0, linear).sum() - outcome @ linear)
        if abs(deviance - before) < EPSILON * (abs(deviance) + 0.1):
            break
    return coefficients, covariance
