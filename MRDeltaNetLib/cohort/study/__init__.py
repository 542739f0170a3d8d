"""One study: from a cohort's table to a bundle that tells what it is worth.

    table -> crops -> folds x seeds -> out-of-fold scores -> recalibration and locked threshold -> centres left out -> bundle with its card

Training cases alone set weights, recalibration and threshold; internal and external cases are scored at the end and change nothing.
"""

from __future__ import annotations

import difflib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Sequence

import numpy as np

from MRDeltaNetLib.cohort import splitting, tabular
from MRDeltaNetLib.cohort.study import card, tables
from MRDeltaNetLib.cohort.study.concluding import FUSION, conclude
from MRDeltaNetLib.cohort.study.folder import BUNDLE, MEMBERS, claim, clean, locked, refuse_foreign
from MRDeltaNetLib.cohort.study.members import Member, accelerator_of, member_name, network_settings, train_member
from MRDeltaNetLib.config import StudyConfig
from MRDeltaNetLib.errors import InputError, Notice, UsageError, require
from MRDeltaNetLib.io.atomic import sha256
from MRDeltaNetLib.io.bundle import MAX_MEMBERS
from MRDeltaNetLib.io.study import plain
from MRDeltaNetLib.progress import Progress, part, silent

if TYPE_CHECKING:
    from MRDeltaNetLib.cohort.preparing import PreparedCohort

PREPARING, TRAINING = 0.2, 0.97
"""Where preparation and training end on the bar."""

LINES_NAMED = 5


@dataclass(frozen=True)
class Trained:
    """What a study gave. out: its folder; bundle: the model in it (of a tabular model model.json); record: training.json; notices: what the user should know."""

    out: Path
    bundle: Path
    record: Mapping[str, Any]
    notices: tuple[Notice, ...]

    def text(self) -> str:
        """One line for a person; of a fusion one more for each set, on what the clinical values add."""
        oof = self.record["out_of_fold"]
        first = (f"out-of-fold AUC {oof['auc']:.3f} ({oof['ci'][0]:.3f} to {oof['ci'][1]:.3f}) on {oof['cases']} training cases; "
                 f"threshold {self.record['threshold']['value']:.3f}; {len(self.record['members'])} models")
        return "\n".join([first, *card.gain_lines(self.record)])


def train(config: StudyConfig, *, progress: Progress = silent) -> Trained:
    """Do a whole study, or take up what an earlier, stopped run of the same study left in config.out.

    config.out gets  oof.csv, oof_embeddings.csv     out-of-fold scores of the training cases, and vectors (cohort.scores_table)
                     predictions.csv, embeddings.csv internal and external cases, scored by the whole ensemble
                     members/                        every network: checkpoints, logs, weights
                     bundle/                         the model; training.json, written last, tells everything
    returns  Trained
    raises   InputError of the table (E430 to E456; E453 too for two rows with the same scans), of the folds (E773, E774, E775, E779) and of training (E760 to E772, E781, E783);
             UsageError MRD-E486, E776; EnvironmentProblem MRD-E777 (two trainings on one folder), E810 to E813; Cancelled. Whatever was finished stays.
    """
    refuse_model(config)
    with locked(config.out), _threads(config):
        clean(config.out)
        _refuse_before_preparing(config)
        prepared, table_sha256, notices, dictionary = _prepared(config, part(progress, 0.0, PREPARING))
        _refuse_twins(prepared)
        plan = _plan(config, prepared.rows, _missing(prepared))
        inputs = tables.inputs_of(config, prepared, dictionary) if tables.is_table(config.model.name) else None
        notices += plan.notices
        claim(config.out, _what_is_trained(config, prepared))
        if inputs is None:
            members = _members(config, plan, prepared, part(progress, PREPARING, TRAINING))
        else:
            members = tables.table_members(plan, prepared, config, inputs)
        record, more = conclude(config, plan, prepared, members, table_sha256, notices, inputs)
        progress(1.0, "done")
    return Trained(config.out, config.out / (BUNDLE if inputs is None else tables.MODEL), record, tuple(notices) + more)


def _refuse_before_preparing(config: StudyConfig) -> None:
    """What would be refused after hours of preparation is refused now: a folder with somebody else's files, weights that cannot be read."""
    refuse_foreign(config.out)
    if config.start is not None:
        _start_digest(config.start)


def _prepared(config: StudyConfig, progress: Progress) -> tuple["PreparedCohort", str, list[Notice], Mapping[str, Any]]:
    """The prepared cases, the table's digest, notices, and the data dictionary. Cases that cannot be prepared are left out, and counted."""
    from MRDeltaNetLib.cohort.preparing import CasesFailed, load_prepared, prepare_cohort
    from MRDeltaNetLib.cohort.preparing.beds import carried_beds
    from MRDeltaNetLib.io.cohort_table import read_cohort

    cohort = read_cohort(config.cohort, require_outcome=False)         # external cases may wait for theirs; splitting refuses it in training
    _plan(config, cohort.rows)                                         # refuses now what it would refuse after hours of preparation
    notices = list(cohort.notices)
    try:
        prepare_cohort(cohort, config.cache, config.preprocessing, config.registration, workers=config.workers, progress=progress)
    except CasesFailed as problem:
        notices.append(Notice("MRD-W780", f"{problem.what}; the study goes on without them ({problem.found})", problem.fix))
    prepared = load_prepared(cohort, config.cache, config.preprocessing, config.registration)
    learned = [k for k, row in enumerate(prepared.rows) if row.set == splitting.TRAIN]
    notices += carried_beds([prepared.rows[k] for k in learned], [prepared.facts[k] for k in learned], learned=True)
    return prepared, cohort.sha256, notices, cohort.dictionary


def _missing(prepared: "PreparedCohort") -> str:
    """How many cases of the table could not be prepared, and by which codes; "" if none."""
    if not prepared.failures:
        return ""
    codes = sorted({failure.code for failure in prepared.failures})
    return (f"{len(prepared.failures)} of {len(prepared.failures) + len(prepared.rows)} cases of the table could not be prepared and are not counted "
            f"({', '.join(codes[:8])})")


def _plan(config: StudyConfig, rows: Sequence[Any], missing: str = "") -> splitting.Plan:
    """The splits of these rows; more networks than a bundle can hold are refused. missing: as splitting.plan."""
    plan = splitting.plan([row.outcome for row in rows], [row.centre for row in rows], [row.set for row in rows], [row.fold for row in rows],
                          config.validation, config.training.seed, missing)
    if not tables.is_table(config.model.name):
        _refuse_too_many(config, plan)
    if config.model.name == FUSION and plan.centres:      # the networks behind the imaging scores saw every centre, also the one left out
        plan = replace(plan, centres=(), notices=(*plan.notices, Notice(
            "MRD-W783", "No centre is left out of a fusion, because its imaging scores come from networks that saw all centres",
            "read the leave-one-centre-out result of the imaging model")))
    return plan


def refuse_model(config: StudyConfig) -> None:
    """Refuse what is known to fail without looking at a case: a model or settings that do not exist, or do not go with the crop.

    raises  UsageError MRD-E482 (a setting that no table model has), E485 (no such model), E486 (settings that do not fit, fusion without
            `imaging`)
    """
    from MRDeltaNetLib.models import registry

    name, known = config.model.name, (*registry.names(), *tabular.names())
    if name not in known:
        near = difflib.get_close_matches(name, known, 1, 0.6)
        raise UsageError("There is no such model", code="MRD-E485", found=f"model.name '{name}'",
                         fix=(f"perhaps '{near[0]}' is meant; " if near else "") + f"choose one of {', '.join(known)}")
    if tables.is_table(name):
        _refuse_table_settings(config)
        return
    try:
        registry.build(name, **network_settings(config))
    except InputError as problem:
        raise UsageError("The settings in [model] and [preprocessing] do not make a network", code="MRD-E486", found=problem.found,
                         fix="correct them; docs/reference/networks.md lists every network's settings and the crops it takes") from problem


def _refuse_table_settings(config: StudyConfig) -> None:
    """Table models have no settings, but fusion needs the folder of its imaging model."""
    fusion = config.model.name == FUSION
    if foreign := sorted(set(config.model.settings) - ({tables.IMAGING} if fusion else set())):
        raise UsageError("A table model has no such setting", code="MRD-E482", found=", ".join(foreign)[:200],
                         fix=f"remove it; the only one that there is, is '{tables.IMAGING}' of fusion")
    if fusion and tables.IMAGING not in config.model.settings:
        raise UsageError("Fusion needs the scores of an imaging model", code="MRD-E486", found="no 'imaging' in [model]",
                         fix="write imaging = \"FOLDER\", the output folder of the imaging model's training on the same table")


def _what_is_trained(config: StudyConfig, prepared: "PreparedCohort") -> dict[str, Any]:
    """Everything that decides over the weights; name, threshold, machines and places do not, nor do outcomes that training never sees."""
    parts = {name: plain(getattr(config, name)) for name in ("model", "preprocessing", "registration", "training", "validation")}
    start = None if config.start is None else _start_digest(config.start)
    start = start if config.start_parts == "all" or start is None else [start, config.start_parts]
    parts["model"]["settings"].pop(tables.IMAGING, None)
    rows = [[row.outcome, row.centre, row.set, row.fold] if row.set == splitting.TRAIN else [row.set] for row in prepared.rows]
    return {**parts, "start": start, "keys": list(prepared.keys), "rows": rows}


def _refuse_twins(prepared: "PreparedCohort") -> None:
    """One patient under two names would be trained on and held out at once.

    raises  InputError MRD-E453 if two rows hold a scan in common, of whichever visit and whatever the masks, or gave the same crop
    """
    lines: dict[str, list[int]] = {}
    for row, facts in zip(prepared.rows, prepared.facts):
        for digest_ in {facts["crop"]["sha256"], *facts.get("scans_sha256", {}).values()}:      # an older version kept no digests of scans
            lines.setdefault(digest_, []).append(row.line)
    if twins := sorted({tuple(found) for found in lines.values() if len(found) > 1}):
        named = "; ".join(f"lines {' and '.join(map(str, found))}" for found in twins[:LINES_NAMED])
        raise InputError("Rows of the table hold the same scans, so that one patient could be trained on and held out", code="MRD-E453",
                         found=f"{named}{', and more' if len(twins) > LINES_NAMED else ''}",
                         fix="keep one row a patient, and give each visit its own scan; `mrdeltanet cohort check` names copied files")


def _start_digest(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as cause:
        raise InputError("The weights to start from cannot be read", code="MRD-E766", found=cause.strerror or type(cause).__name__,
                         fix="name the weights.safetensors that `mrdeltanet pretrain` wrote as 'start'") from cause


def _refuse_too_many(config: StudyConfig, plan: splitting.Plan) -> None:
    if len(plan.folds) * len(config.validation.seeds) > MAX_MEMBERS:
        raise UsageError("A bundle cannot hold so many networks", code="MRD-E486", found=f"{len(plan.folds)} folds and {len(config.validation.seeds)} seeds",
                         fix=f"choose fewer folds, repeats or seeds: at most {MAX_MEMBERS} networks")


def _members(config: StudyConfig, plan: splitting.Plan, prepared: "PreparedCohort", progress: Progress) -> list[Member]:
    """Every network of the folds, then those of the centres left out."""
    accelerator = accelerator_of(config)
    todo = [(split, seed) for split in (*plan.folds, *plan.centres) for seed in config.validation.seeds]
    found = []
    for number, (split, seed) in enumerate(todo):
        bar = part(progress, number / len(todo), (number + 1) / len(todo))
        words = f"network {number + 1} of {len(todo)}"
        found.append(train_member(split, seed, prepared, config, config.out / MEMBERS / member_name(split, seed), accelerator=accelerator,
                                  progress=lambda done, message: bar(done, f"{words}, {message}")))
    return found


@contextmanager
def _threads(config: StudyConfig) -> Iterator[None]:
    """As many threads of torch as the study asks for inside, the caller's own number afterwards."""
    if not config.threads:
        yield
        return
    torch = require("torch", "Training")
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
