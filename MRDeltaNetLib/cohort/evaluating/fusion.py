"""Do clinical values add to the score? Score and clinical values together against each alone, on cases that the models have not learned from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from MRDeltaNetLib.cohort.evaluating.clinical_values import covariates, dropped_omissions, few_events, nothing, too_many
from MRDeltaNetLib.cohort.evaluating.subset import Score, Subset
from MRDeltaNetLib.cohort.statistics import auc_with_ci, brier, logistic, paired_delong, roc, sigmoid
from MRDeltaNetLib.cohort.statistics.crossfitting import FOLDS, REPEATS, applied, cross_fitted, explained, fitted
from MRDeltaNetLib.cohort.statistics.design import Coding, Dropped, coding
from MRDeltaNetLib.cohort.statistics.firth import maximise
from MRDeltaNetLib.cohort.statistics.packages import package
from MRDeltaNetLib.evaluation import Figure, Omission, Part, Table

SECTION = "fusion"
CLIP = 1e-6
"""How close to 0 and 1 probabilities are let before their logit is taken."""
POINTS = 500
SCORE, CLINICAL, BOTH = "score", "clinical", "fusion"
LABELS = {SCORE: "Score alone", CLINICAL: "Clinical values alone", BOTH: "Score and clinical values"}


@dataclass(frozen=True)
class Cases:
    """Cases with outcome, score and every clinical value: outcome (n,), score (n,) on the logit scale if it is a probability, clinical (n, k); how many
    cases with an outcome are not among them."""

    outcome: np.ndarray
    score: np.ndarray
    clinical: np.ndarray
    left_out: int

    @property
    def both(self) -> np.ndarray:
        """(n, 1 + k)"""
        return np.column_stack([self.score, self.clinical])

    @property
    def least(self) -> int:
        """Cases of the rarer outcome."""
        return int(np.bincount(self.outcome.astype(int), minlength=2).min())


def section(subset: Subset) -> Part:
    """values: models {name: auc, lo, hi, brier}, comparisons, likelihood_ratio, coefficients, and on which cases the models were fitted.

    With training cases the models are fitted there and told here; without, by stratified cross-validation within the set. Models are logistic with Firth's
    penalty, so that nothing has to be chosen. The score alone is taken as it is.
    """
    score = subset.model
    names = tuple(name for name in covariates(subset) if score is None or name != score.name)
    if score is None or not names:
        return nothing(SECTION, "Fusion with clinical values", "there is no score" if score is None else "there is no clinical column",
                       "give a score column and a cohort table", {})
    learnt = subset.training if subset.training is not None else subset
    if (many := too_many(max(len(subset.frame), len(learnt.frame)))):
        return nothing(SECTION, "Fusion with clinical values", many, "take a sample of the cases", {})
    code, dropped = coding(learnt.frame, names, subset.config.references, ~np.isnan(learnt.outcome) & ~np.isnan(learnt.scores[score.name].values))
    omissions = dropped_omissions(SECTION, "the fusion", dropped)
    here, there = _cases(subset, score.name, code), _cases(learnt, score.name, code)
    terms = len(code.terms) + 1
    problem = _problem(here, there, code, learnt is subset)
    if problem:
        return Part({}, omissions=(*omissions, Omission(SECTION, "Fusion with clinical values", problem,
                                                        "see the score's column, name fewer covariates in the settings, or complete the table")))
    try:
        logits = _by_training(here, there) if learnt is not subset else _by_folds(here, subset.config.seed)
    except ValueError as none:
        return Part({}, omissions=(*omissions, Omission(SECTION, "Fusion with clinical values", str(none), "name other covariates in the settings")))
    omissions += dropped_omissions(SECTION, "the fusion", (Dropped(term.name, "the score and the terms before it say the same")
                                                           for term, out in zip(code.terms, explained(there.both)[1:]) if out))
    tests = _likelihood_ratios(there)
    values = {"score": score.name, "covariates": list(code.levels), "fitted_on": "training cases" if learnt is not subset else "the other folds",
              "n": len(here.outcome), "events": int(here.outcome.sum()), "left_out": here.left_out, "fitted_n": len(there.outcome),
              "fitted_events": int(there.outcome.sum()), "models": _models(here, logits, score), "comparisons": _comparisons(here, logits),
              "likelihood_ratio": tests, "coefficients": _coefficients(there, code, score)}
    if not tests:
        omissions += (Omission(SECTION, "Likelihood-ratio test of the fusion", "score and clinical values together separate the classes",
                               "more cases are needed"),)
    return Part(values, _tables(values), {"fusion_roc": _figure(here, logits, values)}, _notes(values, score, terms, there), omissions)


def _cases(subset: Subset, name: str, code: Coding) -> Cases:
    score = subset.scores[name]
    matrix, complete = code.matrix(subset.frame)
    usable = ~np.isnan(subset.outcome) & ~np.isnan(score.values)
    kept = complete & usable
    return Cases(subset.outcome[kept], _linear(score)[kept], matrix[usable[complete]], int((~np.isnan(subset.outcome)).sum() - kept.sum()))


def _linear(score: Score) -> np.ndarray:
    if not score.probability:
        return score.values
    p = np.clip(score.values, CLIP, 1 - CLIP)
    return np.log(p / (1 - p))


def _problem(here: Cases, there: Cases, code: Coding, crossed: bool) -> str:
    if not code.terms:
        return "no covariate can be used"
    if there.least < len(code.terms) + 1:
        return f"{there.least} cases of the rarer outcome to learn from, for {len(code.terms) + 1} terms"
    if here.least < 2:
        return f"of the cases with every value, {int(here.outcome.sum())} of {len(here.outcome)} have complete response"
    if crossed and here.least < FOLDS:
        return f"{here.least} cases of the rarer outcome, for {FOLDS} folds"
    if not np.ptp(there.score):
        return "the score is the same for all cases"
    return ""


def _by_training(here: Cases, there: Cases) -> dict[str, np.ndarray]:
    return {SCORE: here.score, CLINICAL: applied(fitted(there.clinical, there.outcome), here.clinical),
            BOTH: applied(fitted(there.both, there.outcome), here.both)}


def _by_folds(here: Cases, seed: int) -> dict[str, np.ndarray]:
    return {SCORE: here.score, CLINICAL: cross_fitted(here.clinical, here.outcome, seed), BOTH: cross_fitted(here.both, here.outcome, seed)}


def _models(here: Cases, logits: dict[str, np.ndarray], score: Score) -> dict[str, dict[str, Any]]:
    found = {}
    for name, logit in logits.items():
        auc, lower, upper = auc_with_ci(here.outcome, logit)
        probability = name != SCORE or score.probability
        found[name] = {"auc": auc, "lo": lower, "hi": upper, "brier": brier(here.outcome, sigmoid(logit)) if probability else None}
    return found


def _comparisons(here: Cases, logits: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    found = []
    for other in (SCORE, CLINICAL):
        one = paired_delong(here.outcome, logits[BOTH], logits[other])
        found.append({"a": BOTH, "b": other, "difference": one.difference, "lo": one.lower, "hi": one.upper,
                      "z": one.z if np.isfinite(one.z) else None, "p_delong": one.p})
    return found


def _likelihood_ratios(there: Cases) -> list[dict[str, Any]]:
    """What clinical values add to the score, and the score to them, on the cases that the models are fitted to; empty where there is no maximum."""
    clinical = there.clinical[:, ~explained(there.both)[1:]]
    ones = np.ones((len(there.outcome), 1))
    full = np.column_stack([ones, there.score, clinical])
    try:
        likelihood = {name: _log_likelihood(design, there.outcome) for name, design in
                      ((BOTH, full), (SCORE, full[:, :2]), (CLINICAL, np.column_stack([ones, clinical])))}
    except ValueError:
        return []
    found = []
    for added, without, df in ((CLINICAL, SCORE, clinical.shape[1]), (SCORE, CLINICAL, 1)):
        chisq = max(0.0, 2 * (likelihood[BOTH] - likelihood[without]))
        found.append({"added": added, "to": without, "chisq": chisq, "df": df, "p": float(package("scipy.stats").chi2.sf(chisq, df)) if df else 1.0,
                      "n": len(there.outcome)})
    return found


def _log_likelihood(design: np.ndarray, outcome: np.ndarray) -> float:
    coefficients, _ = logistic(design, outcome)                     # refuses separated classes
    return maximise(design, outcome, penalised=False, start=coefficients).log_likelihood


def _coefficients(there: Cases, code: Coding, score: Score) -> list[dict[str, Any]]:
    first = f"logit({score.name})" if score.probability else score.name
    return [{"term": name, "coefficient": float(value)} for name, value in
            zip(("(Intercept)", first, *(term.name for term in code.terms)), fitted(there.both, there.outcome))]


def _tables(values: dict[str, Any]) -> dict[str, Table]:
    models = Table("Score, clinical values, and both", ("Model", "Cases", "pCR", "AUC", "AUC low", "AUC high", "Brier score"),
                   tuple((LABELS[name], values["n"], values["events"], *(one[key] for key in ("auc", "lo", "hi", "brier")))
                         for name, one in values["models"].items()))
    rows = tuple((f"{LABELS[one['a']]} against {LABELS[one['b']].lower()}", one["difference"], one["lo"], one["hi"], one["z"], one["p_delong"])
                 for one in values["comparisons"])
    tables = {"fusion_models": models,
              "fusion_comparisons": Table("What is gained", ("Comparison", "Difference of AUC", "Difference of AUC low", "Difference of AUC high", "z",
                                                             "p (DeLong)"), rows)}
    if values["likelihood_ratio"]:
        tables["fusion_likelihood_ratio"] = Table(
            "Likelihood-ratio tests, on the cases that the models were fitted to", ("Added", "To", "Chi-square", "df", "p", "Cases"),
            tuple((LABELS[one["added"]], LABELS[one["to"]], one["chisq"], one["df"], one["p"], one["n"]) for one in values["likelihood_ratio"]))
    return tables


def _figure(here: Cases, logits: dict[str, np.ndarray], values: dict[str, Any]) -> Figure:
    curves = []
    for name, logit in logits.items():
        _, sensitivity, specificity = roc(here.outcome, logit)
        some = np.unique(np.linspace(0, len(sensitivity) - 1, min(POINTS, len(sensitivity))).round().astype(int))[::-1]
        one = values["models"][name]
        curves.append({"label": LABELS[name], "fpr": (1 - specificity[some]).tolist(), "tpr": sensitivity[some].tolist(), "auc": one["auc"],
                       "lo": one["lo"], "hi": one["hi"]})
    return Figure("roc", "Score, clinical values, and both", {"curves": curves, "points": []})


def _notes(values: dict[str, Any], score: Score, terms: int, there: Cases) -> tuple[str, ...]:
    if values["fitted_on"] == "training cases":
        how = ("The models were fitted to the training cases and are told on this set, of which they saw nothing. If the score had learned from the training "
               "cases too, it looks better there than it is, and the fusion relies on it too much.")
    else:
        how = (f"Each case is scored by models of the other folds ({FOLDS} stratified folds, {REPEATS} divisions, seed in the settings; mean logit). "
               "DeLong's test takes the scores for given, and does not count that the models would differ with other cases. If the score itself has "
               "learned from these cases, its own AUC is in-sample.")
    notes = [how, "The likelihood-ratio tests are in-sample: they are of the cases that the models were fitted to.", *few_events(there.least, terms)]
    if values["left_out"]:
        notes.append(f"{values['left_out']} cases with an outcome lack the score or a clinical value, and are no part of any of the three models.")
    return tuple(notes)
