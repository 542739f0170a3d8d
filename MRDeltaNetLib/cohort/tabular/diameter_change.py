"""P(pCR) from how much a measured diameter shrank: what a study without outlines or a network has.

    python -m MRDeltaNetLib.cohort.tabular.diameter_change TABLE.csv --outcome PCR --before DIAMETER_1 --after DIAMETER_2 [DIAMETER_3 ..] --out DIAMETERS.csv

A logistic model of the relative changes, (after - before) / before, in percent. Every case is scored by models that have not seen it
(statistics.crossfitting), so that the table can be evaluated as it is. With several visits each one's change also has a score of its own.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Sequence

import numpy as np

from MRDeltaNetLib.cohort.evaluating.columns import typed
from MRDeltaNetLib.cohort.evaluating.frame import outcome_of
from MRDeltaNetLib.cohort.statistics import sigmoid
from MRDeltaNetLib.cohort.statistics.crossfitting import FOLDS, applied, cross_fitted, fitted
from MRDeltaNetLib.config import EvaluationConfig
from MRDeltaNetLib.errors import InputError, MRDeltaNetError
from MRDeltaNetLib.io.atomic import write_text
from MRDeltaNetLib.io.evaluation_table import read_table

if TYPE_CHECKING:
    import pandas

SCORE = "p_delta_diameter"
DIGITS = 10


def relative_changes(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Change of diameters in percent of those before: before (n,), after (n, k), any unit of length.

    NaN where one is missing or that before is not above 0
    """
    before, after = np.asarray(before, dtype=float)[:, None], np.asarray(after, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(before > 0, 100 * (after - before) / before, np.nan)


def cross_fitted_probabilities(changes: np.ndarray, outcome: np.ndarray, seed: int = 0) -> np.ndarray:
    """P(pCR) (n,) from changes (n, k) and outcome (n,) of 1, 0, NaN; NaN where a change is missing.

    Cases with an outcome are scored by models of the other folds, those without by a model of all that have one.
    raises  InputError MRD-E789 with fewer cases of one outcome than there are folds
    """
    changes, outcome = np.asarray(changes, dtype=float), np.asarray(outcome, dtype=float)
    there = np.isfinite(changes).all(axis=1)
    known, unknown = there & ~np.isnan(outcome), there & np.isnan(outcome)
    counts = int((outcome[known] == 1).sum()), int((outcome[known] == 0).sum())
    if min(counts) < FOLDS:
        raise InputError(f"A cross-fitted model needs {FOLDS} cases with and {FOLDS} without complete response that have every diameter", code="MRD-E789",
                         found=f"{counts[0]} with, {counts[1]} without", fix="add cases, or leave out the visit that most of them lack")
    logit = np.full(len(outcome), np.nan)
    logit[known] = cross_fitted(changes[known], outcome[known], seed)
    if unknown.any():
        logit[unknown] = applied(fitted(changes[known], outcome[known]), changes[unknown])
    probability = np.full(len(outcome), np.nan)
    probability[there] = sigmoid(logit[there])
    return probability


def scored(table: "pandas.DataFrame", *, identity: str, outcome: str, before: str, after: Sequence[str], positive: str | None = None,
           seed: int = 0) -> "pandas.DataFrame":
    """One row a case of a table: id and outcome as they stand there, p_delta_diameter, with several visits p_delta_<visit>, and the changes in percent.

    raises  InputError MRD-E438 for a column that is not there, E444 for a diameter that is no number, E449 for an outcome that cannot be read, E789 as above
    """
    absent = [name for name in (identity, outcome, before, *after) if name not in table.columns]
    if absent:
        raise InputError("A column that was named is not in the table", code="MRD-E438", found=", ".join(absent),
                         fix="write the names as the table's first line has them")
    typed_table = typed(table, texts=(identity, outcome), numbers=(before, *after))
    known = outcome_of(typed_table, EvaluationConfig(id=identity, outcome=outcome, positive=positive))
    changes = relative_changes(typed_table[before], typed_table[list(after)])
    found = table[[identity, outcome]].reset_index(drop=True)
    found[SCORE] = cross_fitted_probabilities(changes, known, seed)
    for name, change in zip(after, changes.T):
        if len(after) > 1:
            found[f"p_delta_{name}"] = cross_fitted_probabilities(change[:, None], known, seed)
    for name, change in zip(after, changes.T):
        found[f"change_{name}_percent"] = change
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Read a table, write the table of scores; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--id", default="id", help="column of ids (default: id)")
    parser.add_argument("--outcome", default="outcome", help="column of the outcome (default: outcome)")
    parser.add_argument("--positive", help="its value that means pCR (default: 1, true or yes)")
    parser.add_argument("--before", required=True, help="column of the diameter before treatment")
    parser.add_argument("--after", required=True, nargs="+", help="columns of later diameters")
    parser.add_argument("--seed", type=int, default=0, help="of the folds (default: 0)")
    given = parser.parse_args(arguments)
    try:
        found = scored(read_table(given.table, "the table of diameters").frame, identity=given.id, outcome=given.outcome, before=given.before,
                       after=given.after, positive=given.positive, seed=given.seed)
        write_text(given.out, _as_csv(found))
    except MRDeltaNetError as problem:
        print(problem.text(), file=sys.stderr)
        return problem.exit_status
    print(f"{int(found[SCORE].notna().sum())} of {len(found)} cases have a score")
    return 0


def _as_csv(frame: "pandas.DataFrame") -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(frame.columns)
    for row in frame.itertuples(index=False):
        writer.writerow(["" if value != value else f"{value:.{DIGITS}g}" if isinstance(value, float) else value for value in row])
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main())
