"""What a prediction leaves in its folder, and how it ends."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from MRDeltaNetLib.cohort import scores_table
from MRDeltaNetLib.errors import Notice, PartialFailure
from MRDeltaNetLib.io.atomic import write_text
from MRDeltaNetLib.io.tables import write_csv
from MRDeltaNetLib.versions import versions

if TYPE_CHECKING:
    from MRDeltaNetLib.cohort.preparing import Failure

CACHE, RECORD = "cache", "prediction.json"
PREDICTIONS, EMBEDDINGS, FAILURES = "predictions.csv", "embeddings.csv", "failures.csv"
FAILURE_COLUMNS = ("line", "id", "code", "what", "found", "fix")
LINES_NAMED = 10


@dataclass(frozen=True)
class Predicted:
    """What a prediction gave. out: its folder; cases: how many have a score; failures: those that have none; notices: what the user should know."""

    out: Path
    cases: int
    failures: tuple["Failure", ...]
    notices: tuple[Notice, ...]

    def text(self) -> str:
        """One line for a person."""
        return f"{self.cases} cases predicted, {len(self.failures)} failed"


class CasesNotPredicted(PartialFailure):
    """Some cases have no prediction; everything else is done and written. predicted says what."""

    predicted: Predicted | None = None


def write(out: Path, model: Mapping[str, Any], scores: Sequence[Mapping[str, Any]], vectors: Sequence[tuple[Mapping[str, Any], np.ndarray]],
          failures: Sequence["Failure"], table_sha256: str, notices: Sequence[Notice]) -> Predicted:
    """Write all tables and, last, the record.

    model    plain facts: name, sha256, members, threshold
    scores   rows of scores_table, with bed; vectors: of scores_table.write_embeddings
    raises   CasesNotPredicted if there are failures; everything is written then
    """
    scores_table.write_scores(out / PREDICTIONS, scores, bed=True)
    scores_table.write_embeddings(out / EMBEDDINGS, vectors)
    write_csv(out / FAILURES, ({name: getattr(failure, name) for name in FAILURE_COLUMNS} for failure in failures), FAILURE_COLUMNS)
    record = {"schema": "mrdeltanet.prediction/1", "bundle": dict(model), "cohort_sha256": table_sha256, "cases": len(scores), "failed": len(failures),
              "versions": versions(), "notices": [asdict(notice) for notice in notices]}
    write_text(out / RECORD, json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    predicted = Predicted(out, len(scores), tuple(failures), tuple(notices))
    if predicted.failures:
        raise _not_all(predicted)
    return predicted


def met_before(lines: Sequence[int], cases: int) -> tuple[Notice, ...]:
    """A warning if the model was trained on some of the cases, in these lines of the table: their scores say nothing about other patients."""
    if not lines:
        return ()
    return (Notice("MRD-W781", f"The model was trained on {len(lines)} of the {cases} cases (line {shown(lines)})",
                   "take their scores from the training's oof.csv; do not evaluate the model on them"),)


def shown(lines: Sequence[int]) -> str:
    """The first lines of a list."""
    return ", ".join(map(str, lines[:LINES_NAMED])) + (", ..." if len(lines) > LINES_NAMED else "")


def _not_all(predicted: Predicted) -> CasesNotPredicted:
    codes = sorted({failure.code for failure in predicted.failures})
    error = CasesNotPredicted(f"{len(predicted.failures)} of {predicted.cases + len(predicted.failures)} cases could not be predicted; all others are done",
                              code="MRD-E780", found=", ".join(codes[:8]),
                              fix=f"{FAILURES} in the output folder gives line, reason and remedy of each; after mending them, run the same command again")
    error.predicted = predicted
    return error
