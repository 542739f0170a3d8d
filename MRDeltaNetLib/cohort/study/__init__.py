"""One study: from a cohort's table to a bundle that tells what it is worth.

    table -> crops -> folds x seeds -> out-of-fold scores -> recalibration and locked threshold -> centres left out -> bundle with its card

Training cases alone set weights, recalibration and threshold; internal and external cases are scored at the end and change nothing.
"""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from MRDeltaNetLib.cohort import scores_table, splitting, tabular
from MRDeltaNetLib.cohort.calibration import PLATT, Recalibration, Stretch, Threshold, at_same_logit, choose_threshold, ensemble_stretch, for_ensemble, recalibrated
from MRDeltaNetLib.cohort.study import card, evaluation, tables
from MRDeltaNetLib.cohort.study.folder import BUNDLE, MEMBERS, RECORD, claim, clean, digest, locked, refuse_foreign
from MRDeltaNetLib.cohort.study.members import Member, accelerator_of, member_name, network_settings, train_member
from MRDeltaNetLib.cohort.study.record import SCHEMA, read_record, write_record
from MRDeltaNetLib.config import StudyConfig
from MRDeltaNetLib.errors import InputError, Notice, UsageError, require
from MRDeltaNetLib.io.atomic import sha256
from MRDeltaNetLib.io.bundle import MAX_MEMBERS
from MRDeltaNetLib.io.study import plain
from MRDeltaNetLib.io.tables import read_json
from MRDeltaNetLib.progress import Progress, part, silent
from MRDeltaNetLib.versions import versions

if TYPE_CHECKING:
    from MRDeltaNetLib.cohort.preparing import PreparedCohort

PREPARING, TRAINING = 0.2, 0.97
"""Where preparation and training end on the bar."""

SIMULATED = "mrdeltanet-simulated-cohort"
OTHER_SETS = ("internal", "external")
FUSION = "fusion"
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
    _set_threads(config)
    refuse_model(config)
    with locked(config.out):
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
        record, more = _conclude(config, plan, prepared, members, table_sha256, notices, inputs)
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


def _conclude(config: StudyConfig, plan: splitting.Plan, prepared: "PreparedCohort", members: Sequence[Member], table_sha256: str,
              notices: Sequence[Notice], inputs: Mapping[str, Any] | None) -> tuple[dict[str, Any], tuple[Notice, ...]]:
    """Scores, recalibration, threshold, tables, model, and training.json last of all; the record, and notices of these steps.

    inputs  of a tabular model; None for networks
    """
    in_folds = [member for member in members if member.split.repeat >= 0]
    oof = evaluation.out_of_fold(plan.folds, in_folds, len(prepared.rows))
    cases = np.array(sorted(oof))
    rows = [prepared.rows[k] for k in cases]
    outcome, logit = np.array([row.outcome for row in rows]), np.array([oof[int(k)].mean() for k in cases])
    balanced = config.training.balanced and inputs is None
    line = recalibrated(outcome, logit, sampled=0.5 if balanced else float(outcome.mean()), prevalence=config.threshold.prevalence)
    stretch = Stretch()
    if line.method == PLATT and inputs is None:
        stretch = ensemble_stretch(outcome, logit, evaluation.unseen_by_two(in_folds), 1 + max(split.repeat for split in plan.folds), len(plan.folds))
    shipped = for_ensemble(line, stretch)
    chosen = choose_threshold(outcome, line.probability(logit), config.threshold)
    threshold = at_same_logit(chosen, line, shipped)
    fold_of = _fold_of(plan)
    _write_oof(config.out, prepared, oof, in_folds, line, fold_of)
    table, final, assumed = (None, in_folds, ()) if inputs is None else _final(prepared, cases, config, inputs, in_folds[0])
    others = _others(config.out, prepared, final, shipped, threshold, ranged=table is None)
    everyone = np.full(len(prepared.rows), -1)
    everyone[cases] = [row.outcome for row in rows]
    record = {
        "schema": SCHEMA, "made": _made(config.out), "name": config.name, "kind": "networks" if table is None else "table", "config": _public(config), "versions": versions() | {name: _version(name) for name in ("lightning", "sklearn")},
        "cohort": _cohort_facts(config, prepared, table_sha256),
        "folds": {"rule": plan.rule, "seeds": list(config.validation.seeds), "repeats": 1 + max(split.repeat for split in plan.folds),
                  "whole_centres": evaluation.whole_centres(plan.folds, [row.centre for row in prepared.rows])},
        "members": [_member_facts(member, prepared) for member in members],
        "out_of_fold": evaluation.discrimination(outcome, logit), "per_centre": evaluation.by_centre(outcome, logit, [row.centre for row in rows]),
        "leave_one_centre_out": evaluation.centres_left_out(plan, members, everyone, [row.centre for row in prepared.rows], oof),
        "other_sets": others, "held_out": {}, "calibration": evaluation.calibration_record(outcome, logit, np.array([fold_of[int(k)] for k in cases]), line, stretch, shipped),
        "threshold": {"value": threshold.value, "out_of_fold_value": chosen.value, "source": threshold.source, "rule": config.threshold.rule, "point": asdict(threshold.point)},
        "bundle": {}, "notices": [asdict(notice) for notice in (*notices, *assumed, *line.notices)]}
    record["held_out"] = card.held_out(record)
    if config.model.name == FUSION:
        record["fusion"] = tables.gains([row.outcome for row in prepared.rows], [row.set for row in prepared.rows], cases, logit, final[0].logits, inputs["logits"])
    more = assumed + line.notices
    if table is not None:
        record["bundle"] = {"sha256": tables.ship_table(config.out, table, line, threshold, record, inputs, [prepared.keys[k] for k in cases]), "members": 1, "reference": False}
    else:
        from MRDeltaNetLib.cohort.study.shipping import no_reference, ship

        digest_, why = ship(config.out, config, in_folds, prepared, cases, record)
        more += (no_reference(why),) if why else ()
        record["bundle"] = {"sha256": digest_, "members": len(in_folds), "reference": not why}
    record["notices"] = [asdict(notice) for notice in (*notices, *more)]
    write_record(config.out / RECORD, record)
    return record, more


def _made(out: Path) -> str:
    """The day on which the study first came to its end: the same command on another day writes the same bundle."""
    try:
        return str(read_record(out / RECORD)["made"])
    except InputError:
        return date.today().isoformat()


def _final(prepared: "PreparedCohort", train: np.ndarray, config: StudyConfig, inputs: Mapping[str, Any], like: Member) -> tuple[Any, list[Member], tuple[Notice, ...]]:
    """A tabular model of all training cases, it as the one member that scores all others, and what had to be assumed."""
    table, logits, notices = tables.final_model(prepared, train, config, inputs)
    return table, [replace(like, name="all training cases", logits=logits)], notices


def _fold_of(plan: splitting.Plan) -> dict[int, int]:
    """Case -> fold of the first repeat in which it was held out."""
    return {int(case): split.fold for split in plan.folds if split.repeat == 0 for case in split.held_out}


def _write_oof(out: Path, prepared: "PreparedCohort", oof: Mapping[int, np.ndarray], members: Sequence[Member], line: Recalibration,
               fold_of: Mapping[int, int]) -> None:
    scores_table.write_scores(out / "oof.csv", [scores_table.scored(prepared.rows[case], logits, line.probability, fold=fold_of[case])
                                                for case, logits in oof.items()], fold=True)
    vectors = [(scores_table.who(prepared.rows[case]) | {"fold": member.split.fold, "member": member.name}, member.embeddings[case])
               for case in oof for member in members if case in member.split.held_out]
    scores_table.write_embeddings(out / "oof_embeddings.csv", vectors, more=("fold", "member"))


def _others(out: Path, prepared: "PreparedCohort", members: Sequence[Member], line: Recalibration, threshold: Threshold, *,
            ranged: bool) -> dict[str, Any]:
    """Internal and external cases by the whole ensemble: tables, and discrimination, calibration and operating point of each set.

    ranged  whether the members span a range; the one tabular model has none
    """
    cases = [k for k, row in enumerate(prepared.rows) if row.set in OTHER_SETS]
    logits = np.array([member.logits for member in members])
    rows = [scores_table.scored(prepared.rows[k], logits[:, k], line.probability) | ({} if ranged else scores_table.NO_RANGE) for k in cases]
    scores_table.write_scores(out / "predictions.csv", rows)
    scores_table.write_embeddings(out / "embeddings.csv", [(scores_table.who(prepared.rows[k]), np.concatenate([m.embeddings[k] for m in members])) for k in cases])
    found = {}
    for name in OTHER_SETS:
        known = [k for k in cases if prepared.rows[k].set == name and prepared.rows[k].outcome is not None]
        if not known:
            continue
        outcome, logit = np.array([prepared.rows[k].outcome for k in known]), logits[:, known].mean(0)
        facts = evaluation.discrimination(outcome, logit)
        probability = line.probability(logit)
        found[name] = facts | {"calibration": evaluation.calibrated(outcome, line.slope * logit + line.intercept),
                               "point": evaluation.operating_point(outcome, probability, threshold.value)}
    return found


def _cohort_facts(config: StudyConfig, prepared: "PreparedCohort", table_sha256: str) -> dict[str, Any]:
    def of(name: str) -> dict[str, Any]:
        rows = [row for row in prepared.rows if row.set == name]
        return {"cases": len(rows), "with_pcr": sum(row.outcome == 1 for row in rows), "without_pcr": sum(row.outcome == 0 for row in rows),
                "centres": {centre: sum(row.centre == centre for row in rows) for centre in sorted({row.centre for row in rows if row.centre})}}

    scans = card.scans_of([facts for row, facts in zip(prepared.rows, prepared.facts) if row.set == splitting.TRAIN])
    return {"sha256": table_sha256, "simulated": is_simulated(config.cohort), "failed": len(prepared.failures), "scans": scans,
            "keys_sha256": digest(list(prepared.keys)), **{name: of(name) for name in ("train", *OTHER_SETS)}}


def is_simulated(table: Path) -> bool:
    """Whether the table was written by `mrdeltanet simulate`, as the dictionary beside it says."""
    from MRDeltaNetLib.io.cohort_table import dictionary_path

    try:
        return read_json(dictionary_path(table), what="the data dictionary").get("format") == SIMULATED
    except (InputError, AttributeError):
        return False


def _member_facts(member: Member, prepared: "PreparedCohort") -> dict[str, Any]:
    left_out = None if member.split.repeat >= 0 else prepared.rows[int(member.split.held_out[0])].centre
    return {"name": member.name, "seed": member.seed, "repeat": member.split.repeat, "fold": member.split.fold, "centre": left_out, **member.summary}


def _public(config: StudyConfig) -> dict[str, Any]:
    """The config as plain JSON without its paths, which may name people and go with the bundle wherever that goes."""
    public = {name: value for name, value in plain(config).items() if name not in ("cohort", "cache", "out", "start")}
    public["model"]["settings"].pop(tables.IMAGING, None)
    return public | {"pretrained": config.start is not None}


def _version(module: str) -> str | None:
    return getattr(require(module, "Training", "pip install 'mrdeltanet[cohort]'"), "__version__", None)


def _set_threads(config: StudyConfig) -> None:
    if config.threads:
        require("torch", "Training").set_num_threads(config.threads)
