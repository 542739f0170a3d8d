"""Ridge logistic regression on the clinical columns that the data dictionary declares."""

from __future__ import annotations

from typing import Any, Mapping

from MRDeltaNetLib.cohort.tabular import features
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.table_model import CategoryColumn, NumberColumn, TableModel, Value

NAME = "clinical_logistic"
READS_SCANS = False


def values(prepared, **_: Any) -> list[dict[str, Value]]:
    """Each case's clinical values."""
    return [dict(row.clinical) for row in prepared.rows]


def columns(prepared, dictionary: Mapping[str, Any]) -> dict[str, NumberColumn | CategoryColumn]:
    """Columns with the role "number" or "category"; texts are no predictors.

    dictionary  column -> its entry in the data dictionary (role, categories)
    raises      InputError MRD-E788 if the dictionary declares no such column; MRD-E786, E787 as features
    """
    declared = {name: entry for name, entry in dictionary.items() if entry.role in ("number", "category")
                and any(name in row.clinical for row in prepared.rows)}
    if not declared:
        raise InputError("The table has no clinical column that a model could use", code="MRD-E788", found="no number and no category",
                         fix="add clinical columns, and declare them in the data dictionary beside the table")
    rows, lines, found = values(prepared), features.lines(prepared), {}
    for name, entry in declared.items():
        if entry.role == "number":
            found |= features.number_columns([name], rows, lines)
        elif column := features.category_column(name, [row.get(name) for row in rows], lines, tuple(entry.categories or ())):
            found[name] = column
    return found


def fit(prepared, *, dictionary: Mapping[str, Any], seed: int = 0, **settings: Any) -> TableModel:
    """The model; settings are kept as facts."""
    return features.fit_model(NAME, columns(prepared, dictionary), values(prepared), features.lines(prepared), features.outcomes(prepared),
                              prepared.keys, solver=features.ridge, seed=seed, settings=settings)
