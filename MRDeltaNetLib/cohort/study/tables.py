"""Tabular models in a study: the same folds, the same tables, the same recalibration; shipped as model.json instead of a bundle.

The model that is shipped is fitted on all training cases; those of the folds only give the out-of-fold scores.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from MRDeltaNetLib.cohort import tabular
from MRDeltaNetLib.cohort.calibration import Recalibration, Threshold
from MRDeltaNetLib.cohort.splitting import Plan
from MRDeltaNetLib.cohort.study.card import card
from MRDeltaNetLib.cohort.study.folder import RECORD
from MRDeltaNetLib.cohort.study.members import Member, member_name
from MRDeltaNetLib.cohort.study.record import read_record
from MRDeltaNetLib.cohort.tabular import features, fusion
from MRDeltaNetLib.config import StudyConfig
from MRDeltaNetLib.errors import InputError, Notice, UsageError
from MRDeltaNetLib.io.atomic import write_text
from MRDeltaNetLib.io.table_model import TableModel, write_table_model

MODEL, CARD = "model.json", "card.md"
IMAGING = "imaging"
"""Setting of [model] for fusion: the output folder of the imaging model's own training."""


def is_table(name: str) -> bool:
    """Whether a model's name is that of a tabular model."""
    return name in tabular.names()


def inputs_of(config: StudyConfig, prepared: Any, dictionary: Mapping[str, Any]) -> dict[str, Any]:
    """What the tabular models take beside the cases.

    raises  UsageError MRD-E486 for fusion without `imaging`; InputError MRD-E784 if that training did not score every case
    """
    found = {"dictionary": dictionary, "spacing_mm": config.preprocessing.spacing_mm}
    if config.model.name != "fusion":
        return found
    if IMAGING not in config.model.settings:
        raise UsageError("Fusion needs the scores of an imaging model", code="MRD-E486", found="no 'imaging' in [model]",
                         fix="write imaging = \"FOLDER\", the output folder of the imaging model's training on the same table")
    folder = Path(config.model.settings[IMAGING])
    return found | {"logits": imaging_logits(folder, prepared), "imaging_sha256": _imaging_digest(folder)}


def imaging_logits(out: Path, prepared: Any) -> np.ndarray:
    """(n,) of an earlier training: out-of-fold for its training cases, of the whole ensemble for the others.

    raises  InputError MRD-E784 if a case has no score there, or changed its set
    """
    scores: dict[tuple[str, str], float] = {}
    try:
        for name in ("oof.csv", "predictions.csv"):
            with open(out / name, newline="", encoding="utf-8") as stream:
                scores |= {(row["id"].removeprefix("'"), row["set"]): float(row["logit"]) for row in csv.DictReader(stream)}
    except (OSError, KeyError, ValueError, TypeError, AttributeError, csv.Error) as cause:      # a short row has None in its cells
        raise _no_scores("its tables of scores cannot be read") from cause
    if not np.isfinite(list(scores.values())).all():
        raise _no_scores("scores that are not numbers")
    if missing := sum((row.id, row.set) not in scores for row in prepared.rows):
        raise _no_scores(f"{missing} of {len(prepared.rows)} cases have no score there, or are in another set")
    return np.array([scores[row.id, row.set] for row in prepared.rows])


def _imaging_digest(out: Path) -> str:
    """Names the imaging model of an earlier training, so that a later prediction can tell whether it has the same one."""
    try:
        return str(read_record(out / RECORD)["bundle"]["sha256"])
    except (InputError, KeyError) as cause:
        raise _no_scores("it is not finished: its training.json cannot be read") from cause


def table_members(plan: Plan, prepared: Any, config: StudyConfig, inputs: Mapping[str, Any]) -> list[Member]:
    """One model a split, fitted on its training and stopping cases together, for there is nothing to stop.

    A category that no case of a fold had counts there as the reference. Its warnings are counted in the member's summary and not told: every
    table has cases at the ends of a range, and each is outside the range of those folds that hold it out.
    """
    found, seed = [], config.validation.seeds[0]
    for split in (*plan.folds, *plan.centres):
        fitted_on = np.sort(np.concatenate([split.training, split.stopping]))
        model = replace(_fit(config, prepared, fitted_on, inputs, seed), unseen="reference")
        logits, more = tabular.tabular_logits(model, prepared, **inputs)
        summary = {"epochs": 0, "best_epoch": 0, "best_value": None, "monitor": "none", "training": len(fitted_on), "stopping": 0,
                   "held_out": len(split.held_out), "history": [], "weights_sha256": None, "assumed": _counted(more)}
        found.append(Member(member_name(split, seed), split, seed, np.asarray(logits, float), np.zeros((len(prepared.rows), 0)), summary))
    return found


def final_model(prepared: Any, train: np.ndarray, config: StudyConfig, inputs: Mapping[str, Any]) -> tuple[TableModel, np.ndarray, tuple[Notice, ...]]:
    """The model of all training cases, its logits (n,) of every case, before recalibration, and what had to be assumed."""
    model = _fit(config, prepared, train, inputs, config.validation.seeds[0])
    logits, notices = tabular.tabular_logits(replace(model, unseen="reference"), prepared, **inputs)
    return model, np.asarray(logits, float), told_once(notices)


def gains(outcomes: Sequence[int | None], sets: Sequence[str], cases: Sequence[int], logits: np.ndarray, final: np.ndarray,
          imaging: np.ndarray) -> dict[str, Any]:
    """What a fusion's clinical values add to the imaging score, by set: fusion.Comparison.plain of each set with two cases of each outcome.

    outcomes, sets  of all cases (n,)
    cases, logits   the training cases, and their out-of-fold logits; the imaging scores of these are out of fold too
    final           (n,) logits of the shipped fusion, for internal and external cases; imaging: (n,) imaging logits of all cases
    """
    score = np.array(final, dtype=float)
    score[list(cases)] = logits
    groups = {"out_of_fold": [int(k) for k in cases]}
    groups |= {name: [k for k, (own, outcome) in enumerate(zip(sets, outcomes)) if own == name and outcome is not None] for name in ("internal", "external")}
    found = {}
    for name, members in groups.items():
        outcome = np.array([outcomes[k] for k in members], dtype=int)
        if min((outcome == 0).sum(), (outcome == 1).sum()) >= features.MIN_OF_EACH_CLASS:
            found[name] = fusion.compare(outcome, np.asarray(imaging)[members], score[members]).plain()
    return found


def ship_table(out: Path, model: TableModel, line: Recalibration, threshold: Threshold, record: Mapping[str, Any], inputs: Mapping[str, Any],
               keys: Sequence[str]) -> str:
    """Write OUT/model.json and OUT/card.md; the SHA-256 of the model's content.

    inputs  of inputs_of; keys: of the training cases' crops, by which `predict` knows them again
    The model says how its scans were prepared and which imaging model it was fused with, because `predict` has to do the same.
    """
    settings = {name: record["config"][name] for name in ("preprocessing", "registration")}
    settings |= {name: inputs[name] for name in ("imaging_sha256",) if name in inputs}
    made = replace(model, recalibration={"slope": line.slope, "intercept": line.intercept}, threshold=threshold.value, threshold_source=threshold.source,
                   trained_on=dict(model.trained_on) | {"table_sha256": record["cohort"]["sha256"], "training_keys": list(keys)},
                   settings=dict(model.settings) | settings)
    digest = write_table_model(out / MODEL, made)
    write_text(out / CARD, card(record))
    return digest


def _fit(config: StudyConfig, prepared: Any, indices: Sequence[int], inputs: Mapping[str, Any], seed: int) -> TableModel:
    own = dict(inputs) | ({"logits": inputs["logits"][indices]} if "logits" in inputs else {})
    return tabular.fit_tabular(config.model.name, features.subset(prepared, indices), seed=seed, **own)


def told_once(notices: Sequence[Notice]) -> tuple[Notice, ...]:
    """One notice a code, by code: the first column's, and how many other columns it holds for too."""
    counted, first = _counted(notices), {notice.code: notice for notice in reversed(notices)}
    return tuple(replace(first[code], text=first[code].text + (f"; so it is with {count - 1} other column{'s' if count > 2 else ''}" if count > 1 else ""))
                 for code, count in counted.items())


def _counted(notices: Sequence[Notice]) -> dict[str, int]:
    """Code -> how many columns it was said of."""
    codes = [notice.code for notice in notices]
    return {code: codes.count(code) for code in sorted(set(codes))}


def _no_scores(found: str) -> InputError:
    return InputError("The imaging model's training cannot be used for fusion", code="MRD-E784", found=found,
                      fix="train the imaging model on the same table first, and name its output folder as 'imaging'")
