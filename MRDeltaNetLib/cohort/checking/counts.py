"""How many patients and events there are, in every set, centre and fold, and what they allow."""

from __future__ import annotations

import math
from collections import Counter
from typing import Callable, Iterable

from MRDeltaNetLib.config import ValidationConfig
from MRDeltaNetLib.cohort.statistics import Z_95
from MRDeltaNetLib.errors import InputError, Notice
from MRDeltaNetLib.io.cohort_table import SETS, Row
from MRDeltaNetLib.io.cohort_table.problems import named_lines
from MRDeltaNetLib.io.tables import short

EXPECTED_AUC = 0.8
"""AUC for which the width of the interval is told beforehand."""

WIDE = 0.25
"""An interval wider than this tells a useful model hardly from a useless one."""

Findings = tuple[list[str], list[Notice], list[InputError]]


def check_counts(rows: tuple[Row, ...], validation: ValidationConfig = ValidationConfig(), judge_events: bool = True) -> Findings:
    """Counts of sets, centres, folds and follow-up.

    judge_events  whether too few events are refused; not where rows are missing or outcomes are not needed
    returns       lines, warnings MRD-W439, W440, W442, refusals E450, E455
    """
    lines, notices, errors = [], [], []
    for name in SETS:
        group = [row for row in rows if row.set == name]
        if not group:
            continue
        lines.append(f"Set {name}: {_counted(group)}")
        pcr, other = _classes(group)
        if pcr and other:
            low, high = expected_auc_interval(EXPECTED_AUC, pcr, other)
            lines.append(f"  expected 95 % interval of an AUC of {EXPECTED_AUC:.2f}: {low:.2f} to {high:.2f} (Hanley and McNeil 1982)")
            if high - low > WIDE:
                notices.append(Notice("MRD-W439", f"The set {name} is small: with {pcr} pCR and {other} non-pCR an AUC of {EXPECTED_AUC:.2f} has an interval "
                                      f"from {low:.2f} to {high:.2f}", fix="collect more patients, or say so beside every result"))
    for word, of in (("centre", lambda row: row.centre), ("fold", lambda row: row.fold)):
        lines += [f"{word.capitalize()} {short(str(value))}: {_counted(group)}" for value, group in _groups(rows, of)]
    lines += _follow_up_lines(rows)
    notices += _one_class(rows) + _centres_in_one_fold(rows)
    if judge_events:
        errors += enough_events(rows, validation.min_events) + _all_censored(rows)
    return lines, notices, errors


def enough_events(rows: Iterable[Row], min_events: int) -> list[InputError]:
    """MRD-E455 if the training patients all have one outcome, or fewer than min_events the rarer one; [] if not, or if nobody is for training."""
    training = [row for row in rows if row.set == "train"]
    pcr, other = _classes(training)
    if not training or min(pcr, other) >= max(min_events, 1):
        return []
    one = "all training patients have one outcome" if not pcr or not other else "too few training patients have the rarer outcome"
    lines = [row.line for row in training]
    return [InputError(f"Lines {min(lines)} to {max(lines)}, column 'outcome': {one}", code="MRD-E455",
                       found=f"{pcr} pCR and {other} non-pCR; at least {min_events} of each are needed",
                       fix="give more patients with the rarer outcome; a model of so few events would be chance. See also whether sets and outcomes are coded as meant")]


def expected_auc_interval(auc: float, positives: int, negatives: int) -> tuple[float, float]:
    """95 % interval that an AUC would have with these counts, cut at 0 and 1.

    Hanley and McNeil, Radiology 1982;143:29-36: variance = (A (1 - A) + (n1 - 1)(Q1 - A^2) + (n0 - 1)(Q2 - A^2)) / (n1 n0)
    with Q1 = A / (2 - A) and Q2 = 2 A^2 / (1 + A), which hold for exponential scores.
    raises  ValueError unless both counts are at least 1 and the AUC is from 0 to 1
    """
    if min(positives, negatives) < 1 or not 0 <= auc <= 1:
        raise ValueError("an AUC from 0 to 1 and a case of each class are needed")
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (auc * (1 - auc) + (positives - 1) * (q1 - auc**2) + (negatives - 1) * (q2 - auc**2)) / (positives * negatives)
    half = Z_95 * math.sqrt(max(variance, 0.0))
    return max(auc - half, 0.0), min(auc + half, 1.0)


def _classes(rows: Iterable[Row]) -> tuple[int, int]:
    counts = Counter(row.outcome for row in rows)
    return counts[1], counts[0]


def _counted(rows: list[Row]) -> str:
    pcr, other = _classes(rows)
    unknown = len(rows) - pcr - other
    return f"{len(rows)} patients: {pcr} pCR, {other} non-pCR" + (f", {unknown} of unknown outcome" if unknown else "")


def _groups(rows: Iterable[Row], of: Callable[[Row], object]) -> list[tuple[object, list[Row]]]:
    groups: dict[object, list[Row]] = {}
    for row in rows:
        if of(row) is not None:
            groups.setdefault(of(row), []).append(row)
    return sorted(groups.items(), key=lambda entry: str(entry[0]).rjust(12))


def _one_class(rows: tuple[Row, ...]) -> list[Notice]:
    """Groups of which nothing can be told alone; the training set is refused instead."""
    notices = []
    for word, of in (("set", lambda row: None if row.set == "train" else row.set), ("centre", lambda row: row.centre), ("fold", lambda row: row.fold)):
        known = [(value, [row for row in group if row.outcome is not None]) for value, group in _groups(rows, of)]
        alone = [short(str(value)) for value, group in known if group and 0 in _classes(group)]
        if alone:
            notices.append(Notice("MRD-W442", f"Only one outcome is in {word} {', '.join(alone[:10])}" + (" and others" if len(alone) > 10 else ""),
                                  fix="know that no AUC can be told for it alone; see whether outcomes are coded alike everywhere"))
    return notices


def _centres_in_one_fold(rows: tuple[Row, ...]) -> list[Notice]:
    centres = [(centre, group) for centre, group in _groups([row for row in rows if row.set == "train" and row.fold is not None], lambda row: row.centre)]
    alone = [(centre, group) for centre, group in centres if len({row.fold for row in group}) == 1]
    if not alone or len(alone) == len(centres):          # every centre in one fold: folds are meant to leave centres out
        return []
    return [Notice("MRD-W440", f"Centre {', '.join(short(str(centre)) for centre, _ in alone[:10])} lies in one fold only, others in several "
                   f"({named_lines(row.line for _, group in alone for row in group)}, column 'fold')",
                   fix="know that its scores come from models that never saw it; spread it over the folds, or put every centre into one fold")]


def _follow_up_lines(rows: tuple[Row, ...]) -> list[str]:
    lines = []
    for name in dict.fromkeys(name for row in rows for name in row.follow_up):
        known = [row.follow_up[name] for row in rows if name in row.follow_up]
        lines.append(f"Follow-up {short(name)}: {len(known)} patients, {sum(event for _, event in known)} events, up to {max(time for time, _ in known):g} months")
    return lines


def _all_censored(rows: tuple[Row, ...]) -> list[InputError]:
    errors = []
    for name in dict.fromkeys(name for row in rows for name in row.follow_up):
        lines = [row.line for row in rows if name in row.follow_up]
        if not any(row.follow_up[name][1] for row in rows if name in row.follow_up):
            errors.append(InputError(f"Lines {min(lines)} to {max(lines)}, column '{short(name)}_event': nobody has the event", code="MRD-E450",
                                     found=f"{len(lines)} patients, all without it", fix="see how events are coded (1: it happened), or leave both columns out"))
    return errors
