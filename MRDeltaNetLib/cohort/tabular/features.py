"""From values of training cases to a fitted table model: columns, terms, coefficients."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, Callable, Mapping, Sequence

import numpy as np

from MRDeltaNetLib.cohort.statistics import logistic
from MRDeltaNetLib.errors import InputError, require
from MRDeltaNetLib.io.table_model import CategoryColumn, NumberColumn, TableModel, Value, design, number, terms

RIDGE_C = 1.0
"""Inverse strength of the ridge penalty on standardised terms: hardly felt with hundreds of cases, and finite coefficients with few."""

LASSO_CS = tuple(float(c) for c in np.logspace(-2, 0.5, 11))
LASSO_FOLDS = 5
MIN_OF_EACH_CLASS = 2

Solver = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
"""(terms (n, k), outcome (n,), seed) -> coefficients (k,)."""


def number_columns(names: Sequence[str], rows: Sequence[Mapping[str, Value]], lines: Sequence[int]) -> dict[str, NumberColumn]:
    """How number columns become terms; a column without any value or without any spread tells nothing and is left out, unless its gaps do.

    raises InputError MRD-E787 for what is not a finite number
    """
    found = {}
    for name in names:
        values = [number(name, row.get(name), line) for row, line in zip(rows, lines)]
        there = np.array([value for value in values if value is not None])
        missing = 0 < len(there) < len(values)
        if len(there) and (np.ptp(there) > 0 or missing):
            spread = float(there.std()) if np.ptp(there) > 0 else 1.0
            found[name] = NumberColumn(float(there.mean()), spread, float(there.min()), float(there.max()), missing)
    return found


def category_column(name: str, values: Sequence[Value], lines: Sequence[int], declared: Sequence[str] = ()) -> CategoryColumn | None:
    """How a category column becomes terms: the reference is the most frequent category. None if all training cases are the same.

    declared  the data dictionary's categories, if it has any
    raises    InputError MRD-E786 for a category that is not declared, MRD-E787 for what is not a text
    """
    for value, line in zip(values, lines):
        if value is not None and not isinstance(value, str):
            raise InputError("A value that must be a category is none", code="MRD-E787", found=f"line {line}, column '{name}'",
                             fix="declare the column as a number, or write its categories as text")
        if value is not None and declared and value not in declared:
            raise InputError("A category is not among those that the data dictionary declares", code="MRD-E786",
                             found=f"line {line}, column '{name}'", fix="correct the spelling, or add the category to the data dictionary")
    seen = [value for value in values if value is not None]
    order = list(declared) if declared else sorted(set(seen))
    kept = sorted((category for category in order if category in seen), key=lambda category: -seen.count(category))
    missing = len(seen) < len(values)
    return CategoryColumn(tuple(kept), missing) if len(kept) > 1 or (kept and missing) else None


def fit_model(name: str, columns: Mapping[str, NumberColumn | CategoryColumn], rows: Sequence[Mapping[str, Value]], lines: Sequence[int],
              outcome: np.ndarray, keys: Sequence[str], *, solver: Solver, seed: int, unseen: str = "refuse",
              settings: Mapping[str, Any] | None = None) -> TableModel:
    """A fitted model. The intercept is fitted without a penalty, so that the mean probability of the training cases is their prevalence.

    raises InputError MRD-E789 unless each class has two cases
    """
    outcome = np.asarray(outcome, dtype=int)
    counts = [int((outcome == label).sum()) for label in (0, 1)]
    if min(counts) < MIN_OF_EACH_CLASS:
        raise InputError("A model needs training cases with and without complete response", code="MRD-E789",
                         found=f"{counts[1]} with, {counts[0]} without", fix="add cases of the rarer outcome")
    matrix, _ = design(columns, rows, lines, unseen=unseen)
    coefficients = solver(matrix, outcome, seed) if matrix.shape[1] else np.zeros(0)
    (intercept,), _ = logistic(np.ones((len(outcome), 1)), outcome, offset=matrix @ coefficients)
    facts = {"cases": len(outcome), "events": counts[1], "cases_sha256": hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()}
    return TableModel(name, dict(columns), dict(zip(terms(columns), map(float, coefficients))), float(intercept), unseen=unseen,
                      trained_on=facts, settings={"seed": seed} | dict(settings or {}))


def ridge(matrix: np.ndarray, outcome: np.ndarray, seed: int) -> np.ndarray:
    """Coefficients of a logistic regression with a weak quadratic penalty (RIDGE_C); the seed changes nothing."""
    linear = require("sklearn.linear_model", "A tabular model", "pip install 'mrdeltanet[cohort]'")
    return linear.LogisticRegression(C=RIDGE_C, tol=1e-8, max_iter=5000).fit(matrix, outcome).coef_[0]


def lasso(matrix: np.ndarray, outcome: np.ndarray, seed: int) -> np.ndarray:
    """Coefficients of a logistic LASSO (Tibshirani 1996) whose penalty has the lowest mean log-loss over stratified inner folds; of equal
    ones the stronger penalty. Deterministic by seed."""
    folds = min(LASSO_FOLDS, int(np.bincount(outcome).min()))
    splitter = require("sklearn.model_selection", "A tabular model").StratifiedKFold(folds, shuffle=True, random_state=seed)
    losses = np.zeros(len(LASSO_CS))
    for train, test in splitter.split(matrix, outcome):
        for k, strength in enumerate(LASSO_CS):
            fitted = _lasso(strength, seed).fit(matrix[train], outcome[train])
            margin = np.where(outcome[test] == 1, 1, -1) * fitted.decision_function(matrix[test])
            losses[k] += np.logaddexp(0, -margin).sum()
    return _lasso(LASSO_CS[int(np.argmin(losses.round(9)))], seed).fit(matrix, outcome).coef_[0]


def subset(prepared, indices: Sequence[int]):
    """Some cases of a prepared cohort, in the order of indices."""
    return replace(prepared, **{name: tuple(getattr(prepared, name)[int(k)] for k in indices) for name in ("rows", "crops", "facts", "keys")})


def outcomes(prepared) -> np.ndarray:
    """(n,) 1 = pCR; raises InputError MRD-E789 naming the line of a case without one."""
    for row in prepared.rows:
        if row.outcome is None:
            raise InputError("A case without an outcome can neither train nor test a model", code="MRD-E789", found=f"line {row.line}",
                             fix="fill in the outcome, or leave the row out")
    return np.array([int(row.outcome) for row in prepared.rows])


def lines(prepared) -> list[int]:
    """Each case's line in its table."""
    return [row.line for row in prepared.rows]


def _lasso(strength: float, seed: int):
    """scikit-learn named the penalty otherwise before 1.8."""
    sklearn = require("sklearn", "A tabular model", "pip install 'mrdeltanet[cohort]'")
    linear = require("sklearn.linear_model", "A tabular model", "pip install 'mrdeltanet[cohort]'")
    recent = tuple(int(part) for part in sklearn.__version__.split(".")[:2]) >= (1, 8)
    kind = {"l1_ratio": 1.0} if recent else {"penalty": "l1"}
    return linear.LogisticRegression(C=strength, solver="liblinear", tol=1e-4, max_iter=1000, random_state=seed, **kind)
