"""Models on columns instead of images: the one list of them, and how to fit and apply one.

A new model is one file with NAME, READS_SCANS, values(prepared, **inputs) and fit(prepared, **inputs), and one line here. READS_SCANS: whether its
values come from prepared scans, not from the table alone or from scores. Inputs that a model does
not need are ignored by it: dictionary (the table's data dictionary), spacing_mm (of the crops), logits (out-of-fold imaging logits).
"""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import numpy as np

from MRDeltaNetLib.cohort.tabular import clinical_logistic, delta_radiomics, features, fusion, scanner, volume_logistic
from MRDeltaNetLib.errors import InputError, Notice
from MRDeltaNetLib.io.table_model import TableModel

_MODELS: dict[str, ModuleType] = {model.NAME: model for model in (clinical_logistic, volume_logistic, delta_radiomics, fusion, scanner)}


def names() -> tuple[str, ...]:
    """Names that fit_tabular() knows."""
    return tuple(_MODELS)


def fit_tabular(name: str, prepared, *, seed: int = 0, **inputs: Any) -> TableModel:
    """Fit a tabular model on all cases of a prepared cohort.

    name    one of names()
    inputs  what the model needs: dictionary (clinical_logistic, fusion), spacing_mm (delta_radiomics), logits (n,) (fusion)
    raises  InputError MRD-E750 for an unknown name; MRD-E786 to E789 as io/table_model and features; TypeError for a missing input
    """
    model = _model(name)
    wanted = inspect.signature(model.fit).parameters
    return model.fit(prepared, seed=seed, **{key: value for key, value in inputs.items() if key in wanted})


def tabular_logits(model: TableModel, prepared, **inputs: Any) -> tuple[np.ndarray, tuple[Notice, ...]]:
    """Logits (n,) of a fitted model for the cases of a prepared cohort, and what had to be assumed; inputs as in fit_tabular."""
    return model.logits(_model(model.name).values(prepared, **inputs), features.lines(prepared))


def crossed(name: str, prepared, folds: np.ndarray, *, seed: int = 0, **inputs: Any) -> np.ndarray:
    """Out-of-fold logits (n,): each case is scored by a model that was fitted on the other folds.

    folds   (n,) fold of each case
    inputs  as in fit_tabular; logits are split with the cases
    """
    folds, found = np.asarray(folds), np.full(len(prepared.rows), np.nan)
    for fold in np.unique(folds):
        held, others = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        part = lambda indices: inputs | ({"logits": np.asarray(inputs["logits"])[indices]} if "logits" in inputs else {})
        model = fit_tabular(name, features.subset(prepared, others), seed=seed, **part(others))
        found[held], _ = tabular_logits(model, features.subset(prepared, held), **part(held))
    return found


def reads_scans(name: str) -> bool:
    """Whether a model's values come from prepared scans."""
    return _model(name).READS_SCANS


def values(model: TableModel, prepared, **inputs: Any) -> list[dict[str, Any]]:
    """Each case's values as a fitted model wants them; inputs as in fit_tabular."""
    return _model(model.name).values(prepared, **inputs)


def check(model: TableModel) -> None:
    """Refuse a fitted model of a name that this version does not know.

    raises  InputError MRD-E750
    """
    _model(model.name)


def _model(name: str) -> ModuleType:
    if name not in _MODELS:
        raise InputError("There is no such tabular model", code="MRD-E750", found=name, fix=f"choose one of {', '.join(names())}")
    return _MODELS[name]
