"""The end of a study: from the members' scores to recalibration, threshold, tables, the model and the record."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from MRDeltaNetLib.cohort import scores_table, splitting
from MRDeltaNetLib.cohort.calibration import PLATT, Recalibration, Stretch, Threshold, at_same_logit, choose_threshold, ensemble_stretch, for_ensemble, recalibrated
from MRDeltaNetLib.cohort.study import card, evaluation, tables
from MRDeltaNetLib.cohort.study.folder import RECORD, digest
from MRDeltaNetLib.cohort.study.members import Member
from MRDeltaNetLib.cohort.study.record import SCHEMA, read_record, write_record
from MRDeltaNetLib.config import StudyConfig
from MRDeltaNetLib.errors import InputError, Notice, require
from MRDeltaNetLib.io.study import plain
from MRDeltaNetLib.io.tables import read_json
from MRDeltaNetLib.versions import versions

if TYPE_CHECKING:
    from MRDeltaNetLib.cohort.preparing import PreparedCohort

SIMULATED = "mrdeltanet-simulated-cohort"
OTHER_SETS = ("internal", "external")
FUSION = "fusion"


@dataclass(frozen=True)
class _OutOfFold:
    """Training cases as networks scored them that never saw them.

    members  of the folds, without those of centres left out
    scores   case -> its logits, one a repeat
    cases    (n,) their numbers, ascending; outcome, logit: (n,) of each, the logit a mean over repeats
    """

    members: list[Member]
    scores: Mapping[int, np.ndarray]
    cases: np.ndarray
    outcome: np.ndarray
    logit: np.ndarray


@dataclass(frozen=True)
class _Calibrated:
    """line, chosen: from out-of-fold scores; stretch: from those to the ensemble; shipped, threshold: line and threshold of the model."""

    line: Recalibration
    stretch: Stretch
    shipped: Recalibration
    chosen: Threshold
    threshold: Threshold


def conclude(config: StudyConfig, plan: splitting.Plan, prepared: "PreparedCohort", members: Sequence[Member], table_sha256: str,
             notices: Sequence[Notice], inputs: Mapping[str, Any] | None) -> tuple[dict[str, Any], tuple[Notice, ...]]:
    """Scores, recalibration, threshold, tables, model, and training.json last of all; the record, and notices of these steps.

    inputs  of a tabular model; None for networks
    """
    oof = _out_of_fold(plan, prepared, members)
    found = _calibrated(config, plan, oof, networks=inputs is None)
    _write_oof(config.out, prepared, oof.scores, oof.members, found.line, _fold_of(plan))
    table, final, assumed = (None, oof.members, ()) if inputs is None else _final(prepared, oof.cases, config, inputs, oof.members[0])
    others = _others(config.out, prepared, final, found.shipped, found.threshold, ranged=table is None)
    more = assumed + found.line.notices
    record = _record(config, plan, prepared, members, oof, found)
    record |= {"kind": "networks" if table is None else "table", "cohort": _cohort_facts(config, prepared, table_sha256), "other_sets": others,
               "notices": [asdict(notice) for notice in (*notices, *more)]}
    record["held_out"] = card.held_out(record)
    if config.model.name == FUSION:
        record["fusion"] = tables.gains([row.outcome for row in prepared.rows], [row.set for row in prepared.rows], oof.cases, oof.logit, final[0].logits,
                                        inputs["logits"])
    if table is not None:
        digest_ = tables.ship_table(config.out, table, found.line, found.threshold, record, inputs, [prepared.keys[k] for k in oof.cases])
        record["bundle"] = {"sha256": digest_, "members": 1, "reference": False}
    else:
        from MRDeltaNetLib.cohort.study.shipping import no_reference, ship

        digest_, why = ship(config.out, config, oof.members, prepared, oof.cases, record)
        more += (no_reference(why),) if why else ()
        record["bundle"] = {"sha256": digest_, "members": len(oof.members), "reference": not why}
    record["notices"] = [asdict(notice) for notice in (*notices, *more)]
    write_record(config.out / RECORD, record)
    return record, more


def is_simulated(table: Path) -> bool:
    """Whether the table was written by `mrdeltanet simulate`, as the dictionary beside it says."""
    from MRDeltaNetLib.io.cohort_table import dictionary_path

    try:
        return read_json(dictionary_path(table), what="the data dictionary").get("format") == SIMULATED
    except (InputError, AttributeError):
        return False


def _out_of_fold(plan: splitting.Plan, prepared: "PreparedCohort", members: Sequence[Member]) -> _OutOfFold:
    in_folds = [member for member in members if member.split.repeat >= 0]
    scores = evaluation.out_of_fold(plan.folds, in_folds, len(prepared.rows))
    cases = np.array(sorted(scores))
    return _OutOfFold(in_folds, scores, cases, np.array([prepared.rows[k].outcome for k in cases]), np.array([scores[int(k)].mean() for k in cases]))


def _calibrated(config: StudyConfig, plan: splitting.Plan, oof: _OutOfFold, networks: bool) -> _Calibrated:
    """Line and threshold from the out-of-fold scores; for networks the shipped line is that of their ensemble."""
    sampled = 0.5 if config.training.balanced and networks else float(oof.outcome.mean())
    line, stretch = recalibrated(oof.outcome, oof.logit, sampled=sampled, prevalence=config.threshold.prevalence), Stretch()
    if line.method == PLATT and networks:
        stretch = ensemble_stretch(oof.outcome, oof.logit, evaluation.unseen_by_two(oof.members), _repeats(plan), len(plan.folds))
    shipped = for_ensemble(line, stretch)
    chosen = choose_threshold(oof.outcome, line.probability(oof.logit), config.threshold)
    return _Calibrated(line, stretch, shipped, chosen, at_same_logit(chosen, line, shipped))


def _record(config: StudyConfig, plan: splitting.Plan, prepared: "PreparedCohort", members: Sequence[Member], oof: _OutOfFold, found: _Calibrated) -> dict[str, Any]:
    """training.json as far as the training cases tell it; the model's kind, the cohort, other sets and notices are filled in where they are known."""
    centres = [row.centre for row in prepared.rows]
    of_cases = [centres[k] for k in oof.cases]
    everyone = np.full(len(prepared.rows), -1)
    everyone[oof.cases] = oof.outcome
    fold_of = _fold_of(plan)
    return {
        "schema": SCHEMA, "made": _made(config.out), "name": config.name, "kind": "", "config": _public(config),
        "versions": versions() | {name: _version(name) for name in ("lightning", "sklearn")}, "cohort": {},
        "folds": {"rule": plan.rule, "seeds": list(config.validation.seeds), "repeats": _repeats(plan), "whole_centres": evaluation.whole_centres(plan.folds, centres)},
        "members": [_member_facts(member, prepared) for member in members],
        "out_of_fold": evaluation.discrimination(oof.outcome, oof.logit), "per_centre": evaluation.by_centre(oof.outcome, oof.logit, of_cases),
        "leave_one_centre_out": evaluation.centres_left_out(plan, members, everyone, centres, oof.scores),
        "other_sets": {}, "held_out": {},
        "calibration": evaluation.calibration_record(oof.outcome, oof.logit, np.array([fold_of[int(k)] for k in oof.cases]), found.line, found.stretch, found.shipped),
        "threshold": {"value": found.threshold.value, "out_of_fold_value": found.chosen.value, "source": found.threshold.source, "rule": config.threshold.rule,
                      "point": asdict(found.threshold.point)},
        "bundle": {}, "notices": []}


def _repeats(plan: splitting.Plan) -> int:
    return 1 + max(split.repeat for split in plan.folds)


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
