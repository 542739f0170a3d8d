"""Scores of a logistic model for cases that it has not learned from."""

from __future__ import annotations

import numpy as np

from MRDeltaNetLib.cohort.statistics.design import aliased
from MRDeltaNetLib.cohort.statistics.firth import fitted_for_prediction
from MRDeltaNetLib.cohort.statistics.packages import package

FOLDS, REPEATS = 5, 4
EXPLAINED = 1e-4
"""A column that the ones before it explain but for this share of its spread is left out of a prediction: a score that was computed from clinical values
and rounded brings nothing but rounding beside them."""


def cross_fitted(matrix: np.ndarray, outcome: np.ndarray, seed: int, folds: int = FOLDS, repeats: int = REPEATS) -> np.ndarray:
    """Logits (n,) of cases by models of the other folds: stratified, the mean over repeated divisions. Nothing is chosen on the case's own fold.

    matrix  (n, k) terms without an intercept; outcome (n,) of 0 and 1
    raises  ValueError unless each class has as many cases as there are folds
    """
    matrix, outcome = np.asarray(matrix, dtype=float), np.asarray(outcome).astype(int)
    if np.bincount(outcome, minlength=2).min() < folds:
        raise ValueError(f"each class needs {folds} cases, one a fold")
    splitter = package("sklearn.model_selection").RepeatedStratifiedKFold(n_splits=folds, n_repeats=repeats, random_state=seed)
    logit = np.zeros(len(outcome))
    for train, test in splitter.split(matrix, outcome):
        logit[test] += applied(fitted(matrix[train], outcome[train]), matrix[test]) / repeats
    return logit


def fitted(matrix: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """Intercept and coefficients (1 + k,) by Firth's penalty; 0 for a column that the others explain."""
    kept = ~explained(matrix)
    found = np.zeros(1 + matrix.shape[1])
    found[np.concatenate([[True], kept])] = fitted_for_prediction(np.column_stack([np.ones(len(matrix)), matrix[:, kept]]), np.asarray(outcome, dtype=float))
    return found


def explained(matrix: np.ndarray) -> np.ndarray:
    """(k,) bool: columns that an intercept and the columns before them explain but for rounding."""
    matrix = np.asarray(matrix, dtype=float)
    return aliased(matrix - matrix.mean(axis=0), EXPLAINED) if len(matrix) else np.ones(matrix.shape[1], bool)


def applied(coefficients: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Logits (n,) of cases (n, k)."""
    return coefficients[0] + np.asarray(matrix, dtype=float) @ coefficients[1:]
