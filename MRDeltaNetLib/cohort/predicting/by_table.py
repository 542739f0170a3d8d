"""Tabular models on a table.

clinical_logistic reads the table alone. Models on volumes, radiomics or headers prepare the scans first, as their training did; a fusion predicts
with its imaging model first, below imaging/ in the same folder. A tabular model is one model, and nothing about an outline is asked again, so that
there is nothing that a range could go over: p_pcr_low and p_pcr_high stay empty. There is no vector either.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

import numpy as np

from MRDeltaNetLib.cohort import scores_table, tabular
from MRDeltaNetLib.cohort.predicting.by_network import PREPARED, prepared_as
from MRDeltaNetLib.cohort.predicting.written import CACHE, PREDICTIONS, CasesNotPredicted, Predicted, met_before, write
from MRDeltaNetLib.cohort.statistics import sigmoid
from MRDeltaNetLib.cohort.study.folder import claim, clean, locked
from MRDeltaNetLib.config import PreprocessingConfig, RegistrationConfig
from MRDeltaNetLib.errors import InputError, Notice, UsageError
from MRDeltaNetLib.io.bundle import preprocessing_from, read_bundle
from MRDeltaNetLib.io.table_model import TableModel, read_table_model
from MRDeltaNetLib.progress import Progress, part

if TYPE_CHECKING:
    from MRDeltaNetLib.cohort.preparing import Failure
    from MRDeltaNetLib.io.cohort_table import Cohort

IMAGING = "imaging"
NO_RECALIBRATION = {"slope": 1.0, "intercept": 0.0}


@dataclass(frozen=True)
class _Cases:
    """The rows that can be scored, what the model takes beside them, those that cannot, what is to be told, and id -> where its bed is from."""

    prepared: Any
    inputs: Mapping[str, Any]
    failures: tuple["Failure", ...] = ()
    notices: tuple[Notice, ...] = ()
    beds: Mapping[str, str | None] = field(default_factory=dict)


def predict_by_table(place: Path, table: Path, out: Path, *, predict: Callable[..., Predicted], imaging: Path | None, cache: Path | None,
                     workers: int, device: str, progress: Progress) -> Predicted:
    """predicting.predict_cohort for a tabular model; predict: that function, for the imaging model of a fusion."""
    from MRDeltaNetLib.io.cohort_table import read_cohort

    model = read_table_model(place)
    tabular.check(model)
    _check_imaging(model, imaging)
    cohort = read_cohort(table, require_outcome=False, require_files=False)           # a missing file is that case's failure, not the batch's
    _check_columns(model, cohort)                                                     # before minutes go into scans
    with locked(out):
        clean(out)
        claim(out, {"predicts with": model.sha256})
        cache, bar = cache or out / CACHE, part(progress, 0.0, PREPARED)
        if imaging is not None:
            cases = _scored_by_imaging(cohort, predict, imaging, table, out / IMAGING, cache=cache, workers=workers, device=device, progress=bar)
        elif tabular.reads_scans(model.name):
            cases = _prepared(model, cohort, cache, workers, bar)
        else:
            cases = _Cases(SimpleNamespace(rows=cohort.rows), {})
        values = tabular.values(model, cases.prepared, **cases.inputs)
        kept, failures = _accepted(model, cases.prepared.rows, values)
        rows = [cases.prepared.rows[k] for k in kept]
        lines = [row.line for row in rows]
        recalibrated, notices = model.logits([values[k] for k in kept], lines)
        logits, _ = replace(model, recalibration=NO_RECALIBRATION).logits([values[k] for k in kept], lines)
        progress(1.0, "done")
        facts = {"name": model.name, "sha256": model.sha256, "members": 1, "threshold": model.threshold}
        scores = [scores_table.ranged(row, p, 0.0, 0.0, logit, bed=cases.beds.get(row.id)) | scores_table.NO_RANGE
                  for row, p, logit in zip(rows, sigmoid(recalibrated), logits)]
        vectors = [(scores_table.who(row), np.zeros(0)) for row in rows]
        return write(out, facts, scores, vectors, sorted((*cases.failures, *failures), key=lambda failure: failure.line), cohort.sha256,
                     (*cohort.notices, *cases.notices, *notices))


def _check_imaging(model: TableModel, imaging: Path | None) -> None:
    """A fusion comes with the imaging model that it was fitted with, and nothing else with any."""
    if model.name != tabular.fusion.NAME:
        if imaging is not None:
            raise UsageError("Only a fusion takes an imaging model beside it", code="MRD-E795", found=f"{model.name} and --imaging", fix="leave out --imaging")
        return
    if imaging is None:
        raise UsageError("A fusion needs the scores of its imaging model", code="MRD-E795", found="no imaging model",
                         fix="give --imaging BUNDLE, the bundle in the folder that its study named as 'imaging'")
    wanted = model.settings.get("imaging_sha256")
    found = read_table_model(imaging).sha256 if imaging.is_file() else read_bundle(imaging).sha256
    if wanted != found:
        raise InputError("This is not the imaging model that the fusion was fitted with", code="MRD-E796",
                         found="the fusion does not say which it was" if wanted is None else "another digest",
                         fix="give the model in the folder that its study named as 'imaging'; after a new training of that one, train the fusion again")


def _check_columns(model: TableModel, cohort: "Cohort") -> None:
    """Clinical columns must be in the table; an empty cell is another matter.

    raises  InputError MRD-E788
    """
    if model.name not in (tabular.clinical_logistic.NAME, tabular.fusion.NAME):
        return
    missing = [name for name in model.columns if name != tabular.fusion.SCORE and all(name not in row.clinical for row in cohort.rows)]
    if missing:
        raise InputError("A column that the model needs is not there", code="MRD-E788",
                         found=f"column{'s' * (len(missing) > 1)} {', '.join(repr(name) for name in missing[:10])}",
                         fix="add it, with empty cells where the value is not known, and declare it in the data dictionary")


def _prepared(model: TableModel, cohort: "Cohort", cache: Path, workers: int, progress: Progress) -> _Cases:
    """The cases with scans prepared as the model's training had them; a warning where the model was fitted on some of them."""
    from MRDeltaNetLib.cohort.preparing.beds import bed_of, carried_beds
    from MRDeltaNetLib.cohort.preparing.recognition import met

    try:
        preprocessing: PreprocessingConfig = preprocessing_from(model.settings["preprocessing"])
        registration = RegistrationConfig(**{name: tuple(value) if isinstance(value, list) else value for name, value in model.settings["registration"].items()})
    except (InputError, KeyError, TypeError, AttributeError) as cause:
        raise InputError("The table model cannot be used", code="MRD-E785", found="it does not say, or not rightly, how its scans were prepared",
                         fix="train it again with this version") from cause
    found = prepared_as(cohort, cache, preprocessing, registration, workers, progress)
    notices = met_before([row.line for row, again in zip(found.rows, met(model.trained_on, found)) if again], len(found.rows))
    return _Cases(found, {"spacing_mm": preprocessing.spacing_mm}, found.failures, (*notices, *carried_beds(found.rows, found.facts)),
                  {row.id: bed_of(facts) for row, facts in zip(found.rows, found.facts)})


def _scored_by_imaging(cohort: "Cohort", predict: Callable[..., Predicted], imaging: Path, table: Path, out: Path, **how: Any) -> _Cases:
    """The cases that the imaging model could score, with their logits."""
    try:
        predicted = predict(imaging, table, out, **how)
    except CasesNotPredicted as problem:
        predicted = problem.predicted
    with open(out / PREDICTIONS, newline="", encoding="utf-8") as stream:
        scored = {row["id"].removeprefix("'"): row for row in csv.DictReader(stream)}
    rows = tuple(row for row in cohort.rows if row.id in scored)
    told = tuple(notice for notice in predicted.notices if notice not in cohort.notices)
    logits = np.array([float(scored[row.id]["logit"]) for row in rows])
    return _Cases(SimpleNamespace(rows=rows), {"logits": logits}, predicted.failures, told, {name: row["bed"] for name, row in scored.items()})


def _accepted(model: TableModel, rows: Sequence[Any], values: Sequence[Mapping[str, Any]]) -> tuple[list[int], list["Failure"]]:
    """Which rows the model can score, and why it cannot score the others: one bad cell stops no other row."""
    from MRDeltaNetLib.cohort.preparing import Failure

    kept, failures = [], []
    for number, (row, value) in enumerate(zip(rows, values)):
        try:
            model.logits([value], [row.line])
            kept.append(number)
        except InputError as problem:
            failures.append(Failure(row.line, row.id, problem.code, problem.what, problem.found, problem.fix))
    return kept, failures
