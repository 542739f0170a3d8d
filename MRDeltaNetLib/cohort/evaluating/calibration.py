"""Whether probabilities are those that come true, before and after recalibration.

Recalibration is Platt's line on the log-odds. It is learned on the training cases and applied to these; without training cases every tenth
of these cases is recalibrated by the line of the other nine ("cross-fitted"), because a line judged on its own cases has slope 1 by construction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from MRDeltaNetLib.cohort.calibration import platt
from MRDeltaNetLib.cohort.evaluating.subset import Score, Subset
from MRDeltaNetLib.cohort.evaluating.thresholds import why_not_probable
from MRDeltaNetLib.cohort.statistics import brier, expected_over_observed, in_the_large, scaled_brier, sigmoid, slope_of
from MRDeltaNetLib.cohort.statistics.bootstrap import affordable, interval
from MRDeltaNetLib.cohort.statistics.smooth_calibration import distances, distances_bootstrap, expected_calibration_error, smooth_curve
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.evaluation import Figure, Omission, Part, Table

SECTION = "calibration"
FOLDS = 10
CURVE_POINTS = 101
HISTOGRAM_BINS = 20
MEASURES = {"intercept": "calibration in the large (0 is right)", "slope": "calibration slope (1 is right)", "expected_observed": "expected over observed (1 is right)",
            "brier": "Brier score", "scaled_brier": "scaled Brier score", "ici": "ICI", "e50": "E50", "e90": "E90", "ece": "expected calibration error"}
COLUMNS = ("score", "probabilities", "measure", "value", "lower", "upper")
NOTES = ("ICI, E50, E90: mean, median and 90 % quantile over cases of the distance between probability and smooth curve. Intervals of intercept and slope are Wald's, "
         "of ICI, E50, E90 and the expected calibration error percentiles of a bootstrap, which lean upwards: a distance is never negative",)


@dataclass(frozen=True)
class Recalibrated:
    """Probabilities (n,) after recalibration, how, on which cases the line was learned, and the line where it is one."""

    probability: np.ndarray
    method: str
    learned_on: str
    line: dict[str, float] | None


@dataclass(frozen=True)
class Stage:
    """Probabilities as given or recalibrated (words), their measures, and their smooth curve for the figure (None: too few cases)."""

    words: str
    told: dict[str, Any]
    curve: dict[str, Any] | None


def section(subset: Subset) -> Part:
    """evaluation.json's `calibration`: probability -> measures, and the same after recalibration at `recalibrated`."""
    values: dict[str, Any] = {}
    tables, figures, omissions, notes = {}, {}, [], set()
    chances = [score for score in subset.scores.values() if score.probability]
    if not chances:
        omissions.append(Omission(SECTION, "calibration", "no score is a probability", "name columns of probabilities p_..."))
    for score in chances:
        outcome, (probability,) = subset.judged(score.name)
        problem = why_not_probable(outcome, probability)
        if problem is not None:
            omissions.append(Omission(SECTION, f"calibration of {score.label}", *problem))
            continue
        stages = [_stage(subset, score, "as given", outcome, probability, omissions)]
        values[score.name] = stages[0].told
        moved = _recalibrated(subset, score, outcome, probability, omissions)
        if moved is not None:
            stages.append(_stage(subset, score, "recalibrated", outcome, moved.probability, omissions, f" ({moved.method})"))
            values[score.name] = values[score.name] | {"recalibrated": {"method": moved.method, "learned_on": moved.learned_on, "line": moved.line} | stages[1].told}
            notes.add(_how(moved))
        tables[f"calibration_{score.name}"] = _table(score, stages)
        figures[f"calibration_{score.name}"] = _figure(score, outcome, probability, stages)
    return Part(values, tables, figures, tuple(sorted(notes)), tuple(omissions))


def _stage(subset: Subset, score: Score, words: str, outcome: np.ndarray, probability: np.ndarray, omissions: list[Omission],
           method: str = "") -> Stage:
    """Every measure of MEASURES with its interval (<measure>_ci, None where there is none); what cannot be had is None and told in omissions.

    words stand in the table, where sets with their own methods stand side by side; method is added in the figure and in omissions
    """
    label = f"{score.label} {words}{method}"
    smooth, curve = _smooth(subset, label, f"{words}{method}", outcome, probability, omissions)
    return Stage(words, _by_regression(label, outcome, probability, omissions) | smooth | _binned(subset, label, outcome, probability, omissions), curve)


def _by_regression(label: str, outcome: np.ndarray, probability: np.ndarray, omissions: list[Omission]) -> dict[str, Any]:
    error = brier(outcome, probability)
    found: dict[str, Any] = {"cases": len(outcome), "with_pcr": int(outcome.sum())} | dict.fromkeys(("intercept", "intercept_ci", "slope", "slope_ci"))
    found |= {"brier": error, "scaled_brier": scaled_brier(outcome, error), "expected_observed": None, "expected_observed_ci": None}
    if probability.mean() > 0:
        found["expected_observed"], bounds = expected_over_observed(outcome, probability)
        found["expected_observed_ci"] = list(bounds)
    if (extreme := int(((probability == 0) | (probability == 1)).sum())):
        omissions.append(Omission(SECTION, f"intercept and slope of {label}", f"{extreme} of {len(outcome)} probabilities are exactly 0 or 1, whose log-odds are infinite",
                                  "write probabilities with all their digits"))
    else:
        logit = np.log(probability / (1 - probability))
        for name, measured in (("intercept", in_the_large), ("slope", slope_of)):
            try:
                value, bounds = measured(outcome, logit)
                found |= {name: value, f"{name}_ci": list(bounds)}
            except ValueError as problem:
                omissions.append(Omission(SECTION, f"{name} of {label}", str(problem), "add cases until the classes overlap, or look whether the probabilities differ"))
    return found


def cross_fitted(outcome: np.ndarray, logit: np.ndarray, seed: int) -> np.ndarray:
    """Probabilities (n,): each tenth of the cases, drawn within outcomes, by Platt's line of the other nine.

    raises InputError MRD-E778 where one of these lines does not exist, ValueError where one falls
    """
    random, fold = np.random.default_rng(seed), np.empty(len(outcome), dtype=int)
    for one in (0, 1):
        mine = np.flatnonzero(outcome == one)
        fold[random.permutation(mine)] = np.arange(len(mine)) % FOLDS
    moved = np.empty(len(outcome))
    for number in np.unique(fold):
        mine = fold == number
        slope, intercept = rising(outcome[~mine], logit[~mine])
        moved[mine] = slope * logit[mine] + intercept
    return sigmoid(moved)


def rising(outcome: np.ndarray, logit: np.ndarray) -> tuple[float, float]:
    """Platt's (slope, intercept); raises ValueError for a line that falls, which would turn the model round, InputError MRD-E778 where there is none."""
    slope, intercept = platt(outcome, logit)
    if slope <= 0:
        raise ValueError("the probabilities do not rise with the outcome, and a line that turned them round would be another model")
    return slope, intercept


def _smooth(subset: Subset, label: str, words: str, outcome: np.ndarray, probability: np.ndarray,
            omissions: list[Omission]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """ICI, E50 and E90, and the curve over the range of the probabilities with its band."""
    found: dict[str, Any] = {name: None for measure in ("ici", "e50", "e90") for name in (measure, f"{measure}_ci")}
    try:
        value = distances(outcome, probability)
    except ValueError as problem:
        omissions.append(Omission(SECTION, f"smooth curve, ICI, E50 and E90 of {label}", str(problem), "add cases"))
        return found, None
    at = np.unique(np.linspace(probability.min(), probability.max(), CURVE_POINTS))
    samples = affordable(len(outcome), subset.config.bootstrap)
    drawn, lines = distances_bootstrap(outcome, probability, samples, subset.config.seed, at) if samples else (None, np.empty((0, len(at))))
    for name in ("ici", "e50", "e90"):
        bounds = interval(getattr(drawn, name)) if drawn else None
        found |= {name: getattr(value, name), f"{name}_ci": list(bounds) if bounds else None}
    if found["ici_ci"] is None:
        omissions.append(Omission(SECTION, f"intervals of ICI, E50 and E90 of {label}", f"{samples} samples of {len(outcome)} cases can be drawn, too few for an interval",
                                  "set bootstrap to 2000; beyond 100000 cases there is no interval"))
    bands = [interval(column) for column in lines.T]
    lower, upper = (None, None) if None in bands else ([lo for lo, _ in bands], [hi for _, hi in bands])
    return found, {"label": words, "x": at.tolist(), "y": smooth_curve(outcome, probability, at).tolist(), "lo": lower, "hi": upper}


def _binned(subset: Subset, label: str, outcome: np.ndarray, probability: np.ndarray, omissions: list[Omission]) -> dict[str, Any]:
    try:
        value, drawn = expected_calibration_error(outcome, probability, affordable(len(outcome), subset.config.bootstrap), subset.config.seed)
    except ValueError as problem:
        omissions.append(Omission(SECTION, f"expected calibration error of {label}", f"{problem}; there are {len(outcome)} cases in ten bins", "read ICI, E50 and E90"))
        return {"ece": None, "ece_ci": None}
    bounds = interval(drawn)
    return {"ece": value, "ece_ci": list(bounds) if bounds else None}


def _recalibrated(subset: Subset, score: Score, outcome: np.ndarray, probability: np.ndarray, omissions: list[Omission]) -> Recalibrated | None:
    what = f"recalibration of {score.label}"
    teacher = subset.training if subset.training is not None and score.name in subset.training.scores else None
    taught = teacher.judged(score.name) if teacher is not None else (outcome, [probability])
    for values in (probability, taught[1][0]):
        if not ((values > 0) & (values < 1)).all():
            omissions.append(Omission(SECTION, what, "probabilities are exactly 0 or 1, or outside, and have no log-odds", "write probabilities with all their digits"))
            return None
    logit = np.log(probability / (1 - probability))
    try:
        if teacher is None:
            return Recalibrated(cross_fitted(outcome, logit, subset.config.seed), "cross-fitted", subset.name, None)
        slope, intercept = rising(taught[0], np.log(taught[1][0] / (1 - taught[1][0])))
        return Recalibrated(sigmoid(slope * logit + intercept), "training", teacher.name, {"slope": slope, "intercept": intercept})
    except InputError as problem:
        omissions.append(Omission(SECTION, what, f"{problem.what} ({problem.found})", problem.fix))
    except ValueError as problem:
        omissions.append(Omission(SECTION, what, str(problem), "do not recalibrate; look at the ROC curve first"))
    return None


def _how(moved: Recalibrated) -> str:
    if moved.method == "training":
        return (f"Recalibration was learned on the cases of '{moved.learned_on}' and applied here; it is only as good as their probabilities, "
                "which have to be out-of-fold ones")
    return "Recalibration is cross-fitted: each tenth of these cases by a line that was learned on the other nine, because there are no training cases"


def _table(score: Score, stages: list[Stage]) -> Table:
    rows = [(score.label, stage.words, meaning, stage.told[name], *(stage.told.get(f"{name}_ci") or (None, None)))
            for stage in stages for name, meaning in MEASURES.items() if stage.told[name] is not None]
    return Table(f"Calibration of {score.label}", COLUMNS, tuple(rows), NOTES)


def _figure(score: Score, outcome: np.ndarray, probability: np.ndarray, stages: list[Stage]) -> Figure:
    edges, told = np.linspace(0, 1, HISTOGRAM_BINS + 1), stages[0].told
    count = lambda one: np.histogram(probability[outcome == one], edges)[0].tolist()
    named = {"intercept": "intercept", "slope": "slope", "brier": "Brier", "ici": "ICI"}
    short = lambda value: f"{round(value, 2) + 0.0:.2f}"                          # never "-0.00"
    text = [f"{words} {short(told[name])}" + (" ({} to {})".format(*map(short, told[f"{name}_ci"])) if told.get(f"{name}_ci") else "")
            for name, words in named.items() if told[name] is not None]
    return Figure("calibration", f"Calibration of {score.label}",
                  {"curves": [stage.curve for stage in stages if stage.curve], "histogram": {"edges": edges.tolist(), "pcr": count(1), "non_pcr": count(0)}, "text": text})
