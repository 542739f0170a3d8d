"""Intervals by profile likelihood: the values of one coefficient at which the likelihood, maximised over the others, falls by 1.92.

Venzon and Moolgavkar 1988 (doi:10.2307/2347496). statsmodels has none for logistic regression. Found to ten digits as a root; R's confint()
interpolates, and differs in the third digit or so.
"""

from __future__ import annotations

import numpy as np

from MRDeltaNetLib.cohort.statistics.firth import LogisticFit, maximise
from MRDeltaNetLib.cohort.statistics.packages import Z_95, package

FALL = Z_95**2 / 2
DOUBLINGS = 12


def profile_interval(design: np.ndarray, outcome: np.ndarray, fitted: LogisticFit, column: int, *, penalised: bool) -> tuple[float | None, float | None]:
    """95 % bounds of a coefficient of a fitted model; None for one that lies beyond 2^12 standard errors."""
    error = float(np.sqrt(fitted.covariance[column, column]))
    centre = float(fitted.coefficients[column])

    def above(value: float) -> float:
        return maximise(design, outcome, penalised=penalised, fixed={column: value}, start=fitted.coefficients).log_likelihood - fitted.log_likelihood + FALL

    return tuple(_root(above, centre, sign * error) for sign in (-1, 1))


def _root(above, centre: float, step: float) -> float | None:
    near = centre
    for k in range(DOUBLINGS):
        far = centre + step * 2.0**(k + 1)
        try:
            if above(far) < 0:
                return float(package("scipy.optimize").brentq(above, near, far, xtol=1e-12, rtol=1e-12))
        except ValueError:                        # so far out that the others have no maximum
            return None
        near = far
    return None
