"""Logistic regression by maximum likelihood, refused where it has no solution."""

from __future__ import annotations

import gc
import warnings

import numpy as np

from MRDeltaNetLib.cohort.statistics.packages import package

STEPS, TOLERANCE, STILL = 50, 1e-12, 1e-3
"""A logistic likelihood is at its maximum after some six steps of reweighted least squares, when its deviance changes by less than TOLERANCE
and no case's linear predictor by more than STILL; where some predictors go on growing by one a step, the classes can be separated."""

MANY_CASES = 50_000


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-logit)), without overflow."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(logit, dtype=float)))


def logistic(design: np.ndarray, outcome: np.ndarray, offset: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Maximum-likelihood logistic regression (iteratively reweighted least squares), without a penalty.

    design   (n, k), a column of ones where an intercept is wanted; offset (n,) is added to the linear predictor
    returns  coefficients (k,), and their covariance (k, k), the inverse of Fisher's information
    raises   ValueError if there is only one class, if columns depend on each other, or if the classes can be separated: no finite solution;
             and where the steps do not settle, as with offsets beyond some 30
    """
    design, outcome = np.asarray(design, dtype=float), np.asarray(outcome, dtype=float)
    if not 0 < outcome.mean() < 1:
        raise ValueError("a logistic regression needs cases of both classes")
    no_solution = ValueError("the classes can be separated, columns depend on each other, or offsets are extreme: no logistic regression was found")
    if not np.isfinite(design).all() or np.linalg.matrix_rank(design) < design.shape[1]:
        raise no_solution
    model = package("statsmodels.genmod.generalized_linear_model").GLM(outcome, design, offset=np.broadcast_to(np.asarray(offset, dtype=float), outcome.shape),
                                                                        family=package("statsmodels.genmod.families").Binomial())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                # of separation and of a fit without end: both are refused below
        fitted = model.fit(maxiter=STEPS, tol=TOLERANCE, rtol=TOLERANCE)
    before, found = fitted.fit_history["params"][-2:]
    if not fitted.converged or np.abs(design @ (found - before)).max() > STILL:
        raise no_solution
    answer = np.array(fitted.params), np.array(fitted.cov_params())
    if len(outcome) > MANY_CASES:
        del model, fitted
        gc.collect()                                   # statsmodels' model and result hold each other, some 300 bytes a case and fit
    return answer
