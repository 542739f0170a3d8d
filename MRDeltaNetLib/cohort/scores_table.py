"""Scores of cases as tables: out-of-fold scores, predictions, and the vectors behind them. What `evaluate` reads.

oof.csv, predictions.csv    one row a case: id, centre, set, outcome, p_pcr, p_pcr_low, p_pcr_high, logit (and fold in oof.csv)
                            of `predict` also bed: where its outline comes from (drawn, automatic, edited, carried); empty where no scan is read
oof_embeddings.csv          one row a case and network: id, centre, set, outcome, fold, member, e0, e1, ...; vectors of two networks
                            live in two different spaces, so only rows of one member compare
embeddings.csv              one row a case: id, centre, set, outcome, e0, e1, ... of the whole ensemble, its members side by side
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

import numpy as np

from MRDeltaNetLib.io.tables import write_csv

COLUMNS = ("id", "centre", "set", "outcome", "p_pcr", "p_pcr_low", "p_pcr_high", "logit")
OOF_COLUMNS = (*COLUMNS, "fold")
PREDICTED_COLUMNS = (*COLUMNS, "bed")
WHO = ("id", "centre", "set", "outcome")

NO_RANGE = {"p_pcr_low": None, "p_pcr_high": None}
"""The cells of a case that one model alone scored, with one outline: empty, not a range of width 0, which would say a certainty that is not there."""

DIGITS = 8
"""Decimal places of probabilities, logits and vectors: far below what matters, so that tables compare byte by byte."""


def who(row: Any) -> dict[str, Any]:
    """The cells that name a case; row: io.cohort_table.Row. Unknown centre or outcome: an empty cell."""
    return {"id": row.id, "centre": row.centre, "set": row.set, "outcome": row.outcome}


def scored(row: Any, member_logits: np.ndarray, probability: Any, **more: Any) -> dict[str, Any]:
    """One case's row.

    member_logits  (m,) of every network that may score it; the score is their mean, the range is theirs; one network has none
    probability    logits -> P(pCR), rising
    """
    found = np.asarray(member_logits, dtype=float)
    mean = float(found.mean())
    p, low, high = (float(value) for value in probability(np.array([mean, found.min(), found.max()])))
    return ranged(row, p, min(low, p), max(high, p), mean, **more) | (NO_RANGE if found.size == 1 else {})


def ranged(row: Any, p_pcr: float, low: float, high: float, logit: float, **more: Any) -> dict[str, Any]:
    """One case's row from its score and range."""
    return who(row) | {"p_pcr": _plain(p_pcr), "p_pcr_low": _plain(low), "p_pcr_high": _plain(high), "logit": _plain(logit), **more}


def write_scores(path: Path, rows: Iterable[Mapping[str, Any]], *, fold: bool = False, bed: bool = False) -> None:
    """Write oof.csv (fold=True) or predictions.csv (of `predict`: bed=True); atomic."""
    write_csv(path, rows, OOF_COLUMNS if fold else PREDICTED_COLUMNS if bed else COLUMNS)


def write_embeddings(path: Path, rows: Sequence[tuple[Mapping[str, Any], np.ndarray]], *, more: Sequence[str] = ()) -> None:
    """Write vectors (k,), one row each with the cells that name it; more: names of further cells before the vector; atomic."""
    width = max((len(vector) for _, vector in rows), default=0)
    cells = ({**named, **{f"e{k}": _plain(value) for k, value in enumerate(vector)}} for named, vector in rows)
    write_csv(path, cells, (*WHO, *more, *(f"e{k}" for k in range(width))))


def _plain(value: float) -> float:
    rounded = round(float(value), DIGITS)
    return 0.0 if rounded == 0 else rounded                # no "-0.0"
