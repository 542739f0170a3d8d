"""Clinical values and complete response: logistic regressions of each value alone and of all together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Sequence

import numpy as np

from MRDeltaNetLib.cohort.evaluating.clinical_values import (covariates, dropped_omissions, few_events, nothing, plain, term_label,
                                                             unknown_references)
from MRDeltaNetLib.cohort.evaluating.subset import Subset
from MRDeltaNetLib.cohort.statistics import Z_95, auc_with_ci, brier, sigmoid
from MRDeltaNetLib.cohort.statistics.design import INTERCEPT, Coding, Dropped, Term, aliased, coding
from MRDeltaNetLib.cohort.statistics.firth import LogisticFit, firth, likelihood_ratio_p, maximise
from MRDeltaNetLib.cohort.statistics.glm import wald_as_r
from MRDeltaNetLib.cohort.statistics.packages import package
from MRDeltaNetLib.cohort.statistics.profile import profile_interval
from MRDeltaNetLib.evaluation import Figure, Omission, Part, Table

SECTION = "logistic"
MAXIMUM_LIKELIHOOD, FIRTH = "maximum likelihood", "Firth"
MOST_PROFILED = 20_000
"""Of more cases than this no profile interval is sought: it is Wald's to three digits, and takes minutes."""


@dataclass(frozen=True)
class Model:
    """One regression: its terms with what is told of each, and what is told of all.

    rows  term name -> or, lo, hi, p and how they came about; the intercept first
    """

    rows: dict[str, dict[str, Any]]
    terms: tuple[Term, ...]
    method: str
    n: int
    events: int
    probability: np.ndarray
    outcome: np.ndarray
    log_likelihood: float
    dropped: tuple[Dropped, ...]


def section(subset: Subset) -> Part:
    """values: the model of all covariates, one mapping a term, "(Intercept)" first: term, or, lo, hi, p, and under `univariable` the same of the term's
    variable alone. Cases that lack a value of any covariate are no part of it, and are counted."""
    names, known = covariates(subset), ~np.isnan(subset.outcome)
    if not names:
        return nothing(SECTION, "Logistic regression", "there is no clinical column", "give a cohort table, or name covariates in the settings", [])
    counts = int((subset.outcome == 1).sum()), int((subset.outcome == 0).sum())
    if min(counts) < 2:
        return nothing(SECTION, "Logistic regression", f"{counts[0]} cases with and {counts[1]} without complete response",
                       "two cases of each are needed", [])
    code, dropped = coding(subset.frame, names, subset.config.references, known)
    omissions = dropped_omissions(SECTION, "logistic regression", dropped) + unknown_references(SECTION, subset, dict(code.levels))
    alone = {name: _model(subset, Coding({name: levels})) for name, levels in code.levels.items()}
    together = _model(subset, code)
    omissions += tuple(Omission(SECTION, f"{name} alone", found, "see the column's values") for name, found in alone.items() if isinstance(found, str))
    if isinstance(together, str):
        omissions += (Omission(SECTION, "The model of all covariates", together, "name fewer covariates in the settings, or complete the table"),)
    else:
        omissions += dropped_omissions(SECTION, "the model of all covariates", together.dropped)
    models = {name: found for name, found in alone.items() if isinstance(found, Model)}
    whole = together if isinstance(together, Model) else None
    if not models and whole is None:
        return Part([], omissions=omissions)
    return Part(_values(whole, models), _tables(whole, models), _figures(whole, models), _notes(subset, whole, models, known), omissions)


def odds_ratios(design: np.ndarray, outcome: np.ndarray, names: Sequence[str]) -> tuple[dict[str, dict[str, Any]], str, LogisticFit]:
    """Odds ratios of columns (n, k) whose first is the intercept: name -> what is told; the method; the fit.

    Maximum likelihood with Wald's interval and p as R's glm has them, and the profile interval beside; where classes can be separated Firth's
    penalised likelihood with its profile interval and likelihood-ratio p, as R's logistf.
    raises ValueError for one class, or columns that depend on each other
    """
    try:
        told, covariance = wald_as_r(design, outcome)
        fitted = maximise(design, outcome, penalised=False, start=told)
        method, penalised = MAXIMUM_LIKELIHOOD, False
    except ValueError:
        fitted, method, penalised = firth(design, outcome), FIRTH, True
        told, covariance = fitted.coefficients, fitted.covariance
    rows = {}
    for k, name in enumerate(names):
        b, error = float(told[k]), math.sqrt(covariance[k, k])
        wald = b - Z_95 * error, b + Z_95 * error
        profile = profile_interval(design, outcome, fitted, k, penalised=penalised) if len(outcome) <= MOST_PROFILED else (None, None)
        p = likelihood_ratio_p(design, outcome, fitted, k, penalised=True) if penalised else math.erfc(abs(b / error) / math.sqrt(2))
        lower, upper = (_ratio(value) for value in (profile if penalised else wald))
        rows[name] = {"or": _ratio(b), "lo": lower, "hi": upper, "p": p, "interval": "profile penalised likelihood" if penalised else "Wald",
                      "method": method, "coefficient": b, "standard_error": error, "wald_lo": _ratio(wald[0]), "wald_hi": _ratio(wald[1]),
                      "profile_lo": _ratio(profile[0]), "profile_hi": _ratio(profile[1])}
    return rows, method, fitted


def _model(subset: Subset, code: Coding) -> Model | str:
    """The regression of all columns of a coding, or why there is none."""
    if not code.terms:
        return "no covariate can be used"
    matrix, complete = code.matrix(subset.frame)
    known = ~np.isnan(subset.outcome[complete])
    matrix, outcome = matrix[known], subset.outcome[complete][known]
    counts = int(outcome.sum()), int((1 - outcome).sum())
    if not min(counts):
        return f"of {len(outcome)} cases with every value, {counts[0]} have complete response"
    gone = aliased(matrix)
    terms = tuple(term for term, out in zip(code.terms, gone) if not out)
    dropped = tuple(Dropped(term.name, "it is constant, or the terms before it say the same, among the cases with every value")
                    for term, out in zip(code.terms, gone) if out)
    if not terms:
        return f"among the {len(outcome)} cases with every value nothing varies"
    if min(counts) < len(terms):
        return f"{min(counts)} cases of the rarer outcome for {len(terms)} terms"
    design = np.column_stack([np.ones(len(outcome)), matrix[:, ~gone]])
    try:
        rows, method, fitted = odds_ratios(design, outcome, (INTERCEPT, *(term.name for term in terms)))
    except ValueError as none:
        return str(none)
    return Model(rows, terms, method, len(outcome), counts[0], sigmoid(design @ fitted.coefficients), outcome, fitted.log_likelihood, dropped)


def _values(whole: Model | None, alone: dict[str, Model]) -> list[dict[str, Any]]:
    single = {term.name: model.rows[term.name] | {"n": model.n, "events": model.events} for model in alone.values() for term in model.terms}
    terms = {term.name: term for model in (*alone.values(), *([whole] if whole else [])) for term in model.terms}
    found = []
    if whole:
        told = {"n": whole.n, "events": whole.events}
        found.append({"term": INTERCEPT} | whole.rows[INTERCEPT] | told | {"model": _fit(whole)})
    for name, term in terms.items():
        row = (whole.rows[name] | {"n": whole.n, "events": whole.events}) if whole and name in whole.rows else {"or": None, "lo": None, "hi": None, "p": None}
        found.append({"term": name, "variable": term.variable, "level": term.level, "reference": term.reference} | row | {"univariable": single.get(name)})
    return found


def _fit(model: Model) -> dict[str, Any]:
    """What is told of the whole model, all on the cases that it was fitted to."""
    facts: dict[str, Any] = {"n": model.n, "events": model.events, "terms": len(model.terms), "method": model.method, "in_sample": True,
                             "log_likelihood": model.log_likelihood, "brier": brier(model.outcome, model.probability)}
    share = model.outcome.mean()
    if model.method == MAXIMUM_LIKELIHOOD:
        chisq = 2 * float(model.log_likelihood - len(model.outcome) * (share * math.log(share) + (1 - share) * math.log(1 - share)))
        facts["likelihood_ratio"] = {"chisq": chisq, "df": len(model.terms), "p": float(package("scipy.stats").chi2.sf(max(0.0, chisq), len(model.terms)))}
    if min(model.events, model.n - model.events) >= 2:
        auc, lower, upper = auc_with_ci(model.outcome, model.probability)
        facts |= {"auc": auc, "auc_lo": lower, "auc_hi": upper}
    return facts


COLUMNS = ("Term", "Compared with", "Cases", "pCR", "Odds ratio", "Odds ratio low", "Odds ratio high", "p", "Profile low", "Profile high",
           "Method")


def _tables(whole: Model | None, alone: dict[str, Model]) -> dict[str, Table]:
    rows = [_row(model, term) for model in alone.values() for term in model.terms]
    tables = {}
    if rows:
        tables["logistic_univariable"] = Table("Each clinical value alone: odds of complete response", COLUMNS, tuple(rows))
    if whole:
        tables["logistic_multivariable"] = Table("All clinical values together: odds of complete response", COLUMNS,
                                                 tuple(_row(whole, term) for term in (Term(INTERCEPT, INTERCEPT), *whole.terms)))
        told = _fit(whole)
        tables["logistic_model"] = Table("The model of all clinical values, on the cases it was fitted to",
                                         ("Cases", "pCR", "Terms", "AUC", "AUC low", "AUC high", "Brier score", "Log likelihood"),
                                         ((whole.n, whole.events, len(whole.terms), told.get("auc"), told.get("auc_lo"), told.get("auc_hi"), told["brier"],
                                           whole.log_likelihood),),
                                         ("In-sample: new cases will do worse. See the fusion section for cases that a model has not seen.",))
    return tables


def _row(model: Model, term: Term) -> tuple[Any, ...]:
    found = model.rows[term.name]
    name = term.variable if term.level is None else f"{term.variable}: {term.level}"
    return (name, term.reference, model.n, model.events, found["or"], found["lo"], found["hi"], found["p"], found["profile_lo"], found["profile_hi"],
            found["method"])


def _figures(whole: Model | None, alone: dict[str, Model]) -> dict[str, Figure]:
    rows = [{"label": term_label(term), "group": group, "n": model.n, "events": model.events, "value": plain(model.rows[term.name]["or"]),
             "lo": plain(model.rows[term.name]["lo"]), "hi": plain(model.rows[term.name]["hi"]), "pooled": False}
            for group, models in (("each alone", alone.values()), ("all together", [whole] if whole else [])) for model in models for term in model.terms]
    return {"logistic_odds_ratios": Figure("forest", "Odds of complete response", {"measure": "Odds ratio", "null": 1.0, "log": True, "rows": rows})}


def _notes(subset: Subset, whole: Model | None, alone: dict[str, Model], known: np.ndarray) -> tuple[str, ...]:
    notes = ["Odds ratios of numbers are for one unit more."]
    separated = sorted({term.variable for model in alone.values() if model.method == FIRTH for term in model.terms})
    if separated:
        notes.append(f"Alone, {', '.join(separated)} separate the classes: odds ratios by Firth's penalised likelihood, with profile intervals and penalised "
                     "likelihood-ratio p values.")
    if whole:
        notes += few_events(min(whole.events, whole.n - whole.events), len(whole.terms))
        if (left := int(known.sum()) - whole.n):
            notes.append(f"{left} of {int(known.sum())} cases lack a value and are no part of the model of all values.")
        if whole.method == FIRTH:
            notes.append("Together, the clinical values separate the classes: the model is fitted by Firth's penalised likelihood.")
        if whole.n > MOST_PROFILED:
            notes.append(f"With more than {MOST_PROFILED} cases profile intervals are those of Wald and are left out.")
    return tuple(notes)


def _ratio(coefficient: float | None) -> float | None:
    return None if coefficient is None else math.exp(min(700.0, coefficient))
