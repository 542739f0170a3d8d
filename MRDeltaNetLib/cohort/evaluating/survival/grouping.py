"""Whose survival is compared: configured columns, predicted and true complete response, and whether groups were chosen on the very same cases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from MRDeltaNetLib.cohort.evaluating.subset import Subset
from MRDeltaNetLib.cohort.evaluating.survival.follow_up import SECTION, FollowUp
from MRDeltaNetLib.cohort.evaluating.thresholds import class_cut
from MRDeltaNetLib.cohort.statistics.design import is_category, level_text
from MRDeltaNetLib.evaluation import Omission

ALL, ALL_CASES = "all", "All cases"
OF_RESPONSE = PREDICTED, TRUE = "predicted", "true"
MOST_GROUPS, MOST_LEVELS_OF_NUMBERS = 12, 5


@dataclass(frozen=True)
class Grouping:
    """name, title for the page; labels (m,) of the follow-up's cases, None without a group; order: of the labels, the first is what others are
    compared with; warning: why its p values are too small, or empty."""

    name: str
    title: str
    labels: np.ndarray
    order: tuple[str, ...]
    warning: str = ""

    def heading(self, endpoint: str) -> str:
        """"recurrence by rx"; without groups "recurrence of all cases"."""
        return f"{endpoint} of all cases" if self.name == ALL else f"{endpoint} by {self.title}"


def groupings(subset: Subset, cases: FollowUp) -> tuple[list[Grouping], list[Omission]]:
    """Configured columns first, then predicted, then true complete response; what cannot be grouped is left out with its reason.

    Without any group all cases are one.
    """
    found, omissions = [], []
    for name in cases.settings.groups:
        _keep(_column(subset, cases, name), name, f"name a column with 2 to {MOST_GROUPS} groups in the settings", found, omissions)
    _keep(_predicted(subset, cases), "predicted response", "give a score, and the threshold that was locked for it", found, omissions)
    _keep(_true(subset, cases), "true response", "give the outcome of cases with follow-up", found, omissions)
    if not found:
        found.append(Grouping(ALL, "all cases", np.full(len(cases.time), ALL_CASES, dtype=object), (ALL_CASES,)))
    return found, omissions


def _keep(grouping: Grouping | str, what: str, fix: str, found: list[Grouping], omissions: list[Omission]) -> None:
    if isinstance(grouping, Grouping) and any(each.name == grouping.name for each in found):
        return
    if isinstance(grouping, Grouping) and not 2 <= len(grouping.order) <= MOST_GROUPS:
        grouping = f"{len(grouping.order)} group{'s' if len(grouping.order) != 1 else ''} among the cases with follow-up"
    if isinstance(grouping, Grouping):
        found.append(grouping)
    else:
        omissions.append(Omission(SECTION, f"Survival by {what}", grouping, fix))


def _column(subset: Subset, cases: FollowUp, name: str) -> Grouping | str:
    if name not in subset.frame.columns:
        return "there is no such column"
    values = subset.frame[name].iloc[cases.rows]
    there = values.notna()
    if is_category(values) or (name not in subset.config.cuts and values.nunique() <= MOST_LEVELS_OF_NUMBERS):
        words = np.array([level_text(value) if known else None for value, known in zip(values, there)], dtype=object)
        reference = subset.config.references.get(name)
        order = sorted({word for word in words if word is not None}, key=lambda word: (word != reference, word))
        return _labelled(name, name, words, order)
    cuts, warning = subset.config.cuts.get(name, ()), ""
    if not cuts:
        if not there.any():
            return "no case has a value"
        cuts = (float(np.median(values[there])),)
        warning = f"{name} is cut at the median of these very cases: name the cut in the settings if it was fixed before."
    edges = [-np.inf, *sorted(cuts), np.inf]
    names = [_interval(name, low, high) for low, high in zip(edges, edges[1:])]
    place = np.searchsorted(edges[1:-1], values.to_numpy(float), side="right")
    words = np.array([names[k] if known else None for k, known in zip(place, there)], dtype=object)
    return Grouping(name, name, words, tuple(each for each in names if each in set(words)), warning)


def _predicted(subset: Subset, cases: FollowUp) -> Grouping | str:
    score = subset.model
    if score is None:
        return "there is no score"
    threshold, warning = _threshold(subset)
    if threshold is None:
        return warning
    values = score.values[cases.rows]
    words = np.array([None if np.isnan(value) else "pCR" if value >= threshold else "non-pCR" for value in values], dtype=object)
    return _labelled(PREDICTED, f"response predicted by {score.label} at {threshold:.4g}", words, _present(words), warning)


def _threshold(subset: Subset) -> tuple[float | None, str]:
    """The threshold and why groups made by it are too good, or None and why there is none."""
    learned = ("The model has learned from these very cases: its groups differ more than those of new cases would."
               if subset.name == subset.config.train_set else "")
    cut = class_cut(subset, subset.model.name)
    if cut is None:
        return None, "no threshold was locked, and without both outcomes none can be chosen"
    here = (f"The threshold was chosen on these very cases ({cut.rule}): groups differ more, and p is smaller, than in new cases. "
            "Lock a threshold in the settings." if cut.same_data else "")
    return cut.threshold, " ".join(filter(None, (here, learned)))


def _true(subset: Subset, cases: FollowUp) -> Grouping | str:
    values = subset.outcome[cases.rows]
    words = np.array([None if np.isnan(value) else "pCR" if value else "non-pCR" for value in values], dtype=object)
    return _labelled(TRUE, "true response", words, _present(words))


def _present(words: np.ndarray) -> list[str]:
    """Those of both responses that a case has, the one without first."""
    return [each for each in ("non-pCR", "pCR") if each in set(words)]


def _labelled(name: str, title: str, words: np.ndarray, order: list[str], warning: str = "") -> Grouping:
    """Labels as R prints them: name=level."""
    return Grouping(name, title, np.array([None if word is None else f"{name}={word}" for word in words], dtype=object),
                    tuple(f"{name}={word}" for word in order), warning)


def _interval(name: str, low: float, high: float) -> str:
    if np.isinf(low):
        return f"{name}<{high:g}"
    return f"{name}>={low:g}" if np.isinf(high) else f"{low:g}<={name}<{high:g}"
