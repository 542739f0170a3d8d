"""Who trains, who stops the training, and who is held out: folds, and one centre after another. External and internal cases never enter.

One row of a cohort is one patient, so a fold of rows is a fold of patients. Everything is a function of the cases' order and the seed.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Sequence

import numpy as np

from MRDeltaNetLib.config import ValidationConfig
from MRDeltaNetLib.errors import InputError, Notice, require

TRAIN = "train"
MIN_OF_EACH_CLASS = 2
"""Cases of each class that training and held-out cases of a fold need: fewer give no AUC with an interval."""


@dataclass(frozen=True)
class Split:
    """One training and whom it is scored on; indices into the cohort's cases, ascending.

    name       "repeat-0-fold-2" or "without-centre-1"; plain, so that it can name a folder
    repeat, fold  numbers from 0; of a left-out centre repeat is -1 and fold the centre's number in sorted order
    training   cases whose outcome sets the weights
    stopping   cases of the same centres that say when to stop; never held out
    held_out   cases that this training never saw
    """

    name: str
    repeat: int
    fold: int
    training: np.ndarray
    stopping: np.ndarray
    held_out: np.ndarray


@dataclass(frozen=True)
class Plan:
    """Every split of a study. rule: a sentence part that says how the folds came about, for the model card."""

    folds: tuple[Split, ...]
    centres: tuple[Split, ...]
    rule: str
    notices: tuple[Notice, ...]


def plan(outcomes: Sequence[int | None], centres: Sequence[str | None], sets: Sequence[str], own_folds: Sequence[int | None],
         config: ValidationConfig, seed: int = 0, missing: str = "") -> Plan:
    """All folds, and a split without each centre if the config asks for it.

    outcomes   1 = pCR, 0 = non-pCR, None unknown; centres: None unknown; sets: "train", "internal", "external"
    own_folds  the user's own fold of each case, None without; all training cases have one or none has
    missing    in words, which cases of the table are not among these; a refusal for too few tells it
    raises     InputError MRD-E773 (one class only, or a training case without outcome), E774 (fewer than min_events), E775 (a fold without both classes),
               E779 (own folds that are not a partition)
    """
    members = np.array([k for k, name in enumerate(sets) if name == TRAIN], dtype=int)
    outcome = _outcomes(outcomes, members, config, missing)
    centre = np.array(["" if centres[k] is None else str(centres[k]) for k in members])
    own = [own_folds[k] for k in members]
    notices: list[Notice] = []
    if any(fold is not None for fold in own):
        parts, rule = _own_parts(own, config, notices)
    else:
        parts, rule = _drawn_parts(outcome, centre, config, seed, notices)
    _check_parts(parts, outcome)
    _warn_about_lonely_centres(parts, centre, notices)
    folds = tuple(_split(f"repeat-{repeat}-fold-{fold}", repeat, fold, held, members, outcome, centre, config, seed)
                  for repeat, partition in enumerate(parts) for fold, held in enumerate(partition))
    left_out = _without_each_centre(members, outcome, centre, config, seed, notices) if config.leave_one_centre_out else ()
    return Plan(folds, left_out, rule, tuple(notices))


def inner(indices: np.ndarray, outcome: np.ndarray, centre: np.ndarray, fraction: float, seed: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """(training, stopping) of one fold's training cases: about `fraction` of each class, spread over the centres, at least one each.

    indices  positions in outcome and centre
    """
    random, stopping = np.random.default_rng(list(seed)), []
    for label in (0, 1):
        cases = random.permutation(indices[outcome[indices] == label])
        cases = cases[np.argsort(centre[cases], kind="stable")]          # every n-th of a list sorted by centre: each centre gives its share
        count = max(1, round(fraction * len(cases)))
        start = random.random()
        stopping.append(cases[((np.arange(count) + start) * len(cases) / count).astype(int)])
    kept = np.sort(np.concatenate(stopping))
    return np.setdiff1d(indices, kept), kept


def _outcomes(outcomes: Sequence[int | None], members: np.ndarray, config: ValidationConfig, missing: str) -> np.ndarray:
    if unknown := sum(outcomes[k] is None for k in members):
        raise InputError("Training cases without an outcome cannot be trained on", code="MRD-E773", found=f"{unknown} of {len(members)} training cases",
                         fix="write the outcome, 1 for pCR and 0 for non-pCR, or take these rows out of the training set")
    outcome = np.array([int(outcomes[k]) for k in members], dtype=int)
    counts = {label: int((outcome == label).sum()) for label in (1, 0)}
    but, mend = (f"; {missing}", "mend the cases that could not be prepared (failures.csv in the cache names them), or ") if missing else ("", "")
    if not all(counts.values()):
        raise InputError("The training cases all have the same outcome", code="MRD-E773", found=f"{counts[1]} with pCR, {counts[0]} without{but}",
                         fix=f"{mend}add cases of the other class, or look whether the outcome column means what you think")
    if min(counts.values()) < config.min_events:
        raise InputError("There are too few training cases of the rarer outcome", code="MRD-E774",
                         found=f"{counts[1]} with pCR, {counts[0]} without; {config.min_events} of each are wanted{but}",
                         fix=f"{mend}add cases; a model of so few would tell about these patients and nobody else")
    return outcome


def _own_parts(own: list[int | None], config: ValidationConfig, notices: list[Notice]) -> tuple[list[list[np.ndarray]], str]:
    if missing := sum(fold is None for fold in own):
        raise InputError("The fold column is filled in for some training cases only", code="MRD-E779", found=f"{missing} of {len(own)} without a fold",
                         fix="give every training case a fold, or remove the column to have folds drawn")
    numbers = sorted({int(fold) for fold in own})
    if len(numbers) < 2:
        raise InputError("The fold column holds one fold only, so nobody would be held out", code="MRD-E779", found=f"fold {numbers[0]} everywhere",
                         fix="use at least two folds, or remove the column to have folds drawn")
    if config.repeats > 1:
        notices.append(Notice("MRD-W779", f"The table's own folds are used once; validation.repeats = {config.repeats} would repeat the same folds",
                              "remove the fold column to have different folds drawn"))
    return [[np.flatnonzero(np.array(own) == number) for number in numbers]], f"the table's own {len(numbers)} folds"


def _drawn_parts(outcome: np.ndarray, centre: np.ndarray, config: ValidationConfig, seed: int,
                 notices: list[Notice]) -> tuple[list[list[np.ndarray]], str]:
    """One partition a repeat. "auto" leaves whole centres out together only where every such fold then has both classes."""
    known = sorted({name for name in centre if name})
    if config.group == "centre":
        if len(known) < config.folds or "" in centre:
            raise InputError("Whole centres cannot be held out together", code="MRD-E775",
                             found=f"{len(known)} centres, {int((centre == '').sum())} cases without one, {config.folds} folds",
                             fix="choose fewer folds, fill in the centre column, or choose validation.group = \"none\"")
        return _whole_centres(_by_centre(outcome, centre, config, seed), known, config, notices)
    if config.group == "auto" and len(known) >= config.folds and "" not in centre:
        parts = _by_centre(outcome, centre, config, seed)
        if all(_both(outcome[held]) and _both(np.delete(outcome, held)) for partition in parts for held in partition):
            return _whole_centres(parts, known, config, notices)
        notices.append(Notice("MRD-W776", "Folds of whole centres would lack cases of one class, so every fold sees every centre",
                              "read the leave-one-centre-out result for what the model does at a new centre"))
    rarest = min(int((outcome == label).sum()) for label in (0, 1))
    if rarest < config.folds * MIN_OF_EACH_CLASS:
        raise InputError("There are too few cases of the rarer outcome for this many folds", code="MRD-E775",
                         found=f"{rarest} cases, {config.folds} folds of which each needs {MIN_OF_EACH_CLASS}",
                         fix=f"choose at most {rarest // MIN_OF_EACH_CLASS} folds, or add cases" if rarest >= 2 * MIN_OF_EACH_CLASS else "add cases")
    return _by_case(outcome, centre, config, seed), f"{_times(config)} folds stratified by outcome and centre"


def _times(config: ValidationConfig) -> str:
    return f"{config.repeats} x {config.folds}" if config.repeats > 1 else str(config.folds)


def _whole_centres(parts: list[list[np.ndarray]], known: list[str], config: ValidationConfig,
                   notices: list[Notice]) -> tuple[list[list[np.ndarray]], str]:
    if config.repeats > 1 and len(known) == config.folds:
        notices.append(Notice("MRD-W779", f"There are as many centres as folds, so validation.repeats = {config.repeats} repeats the same folds",
                              "choose one repeat, fewer folds, or validation.group = \"none\""))
    return parts, f"{_times(config)} folds of whole centres, stratified by outcome"


def _by_centre(outcome: np.ndarray, centre: np.ndarray, config: ValidationConfig, seed: int) -> list[list[np.ndarray]]:
    selection = require("sklearn.model_selection", "Training", "pip install 'mrdeltanet[cohort]'")
    parts = []
    for repeat in range(config.repeats):
        folds = selection.StratifiedGroupKFold(config.folds, shuffle=True, random_state=_state(seed, repeat))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The least populated class")        # _check_parts says it with what to do
            parts.append([held for _, held in folds.split(outcome, outcome, centre)])
    return parts


def _by_case(outcome: np.ndarray, centre: np.ndarray, config: ValidationConfig, seed: int) -> list[list[np.ndarray]]:
    """Stratified by outcome and centre; strata with fewer cases than folds are one stratum of their outcome."""
    selection = require("sklearn.model_selection", "Training", "pip install 'mrdeltanet[cohort]'")
    stratum = np.array([f"{label} {name}" for label, name in zip(outcome, centre)])
    small = {name for name in stratum if (stratum == name).sum() < config.folds}
    stratum = np.array([name.split(" ")[0] if name in small else name for name in stratum])
    parts = []
    for repeat in range(config.repeats):
        folds = selection.StratifiedKFold(config.folds, shuffle=True, random_state=_state(seed, repeat))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The least populated class")        # what is left of the small strata
            parts.append([held for _, held in folds.split(outcome, stratum)])
    return parts


def _check_parts(parts: list[list[np.ndarray]], outcome: np.ndarray) -> None:
    for partition in parts:
        for number, held in enumerate(partition):
            for what, cases in (("held-out", outcome[held]), ("training", np.delete(outcome, held))):
                if not _both(cases):
                    raise InputError("A fold does not have both classes", code="MRD-E775",
                                     found=f"fold {number + 1}: {int((cases == 1).sum())} {what} cases with pCR, {int((cases == 0).sum())} without",
                                     fix=f"choose fewer folds or other ones; each needs {MIN_OF_EACH_CLASS} cases of each class")


def _both(outcome: np.ndarray) -> bool:
    return min((outcome == 0).sum(), (outcome == 1).sum()) >= MIN_OF_EACH_CLASS


def _warn_about_lonely_centres(parts: list[list[np.ndarray]], centre: np.ndarray, notices: list[Notice]) -> None:
    """A centre whose cases all lie in one fold is either trained on or held out, never both: its own AUC is that of a new centre."""
    lonely = set()
    for name in {name for name in centre if name}:
        if any(sum(bool((centre[held] == name).any()) for held in partition) == 1 for partition in parts):
            lonely.add(name)
    if lonely and len(lonely) < len(set(centre)):                  # all of them: folds of whole centres, which is what was asked for
        notices.append(Notice("MRD-W775", f"All cases of a centre lie in one fold, for {len(lonely)} of {len(set(centre))} centres",
                              "read these centres' own results as results at a centre that the model did not know"))


def _split(name: str, repeat: int, fold: int, held: np.ndarray, members: np.ndarray, outcome: np.ndarray, centre: np.ndarray,
           config: ValidationConfig, seed: int) -> Split:
    rest = np.setdiff1d(np.arange(len(members)), held)
    training, stopping = inner(rest, outcome, centre, config.inner_fraction, (seed, repeat + 1, fold))
    return Split(name, repeat, fold, members[training], members[stopping], members[np.sort(held)])


def _without_each_centre(members: np.ndarray, outcome: np.ndarray, centre: np.ndarray, config: ValidationConfig, seed: int,
                         notices: list[Notice]) -> tuple[Split, ...]:
    names = sorted({name for name in centre if name})
    if len(names) < 2:
        notices.append(Notice("MRD-W777", "No centre is left out, because the training cases come from fewer than two named centres",
                              "nothing is known about this model at another centre; score cases of one with `mrdeltanet predict`"))
        return ()
    found = []
    for number, name in enumerate(names):
        held = np.flatnonzero(centre == name)
        if not _both(np.delete(outcome, held)):
            notices.append(Notice("MRD-W778", "A centre is not left out, because without it too few training cases of one class remain",
                                  "add cases of other centres"))
            continue
        found.append(_split(f"without-centre-{number}", -1, number, held, members, outcome, centre, config, seed))
    return tuple(found)


def _state(seed: int, repeat: int) -> int:
    return int(np.random.default_rng([seed, repeat]).integers(2**32 - 1))
