"""Cox models of an endpoint: each covariate alone, all together, whether hazards stay proportional, and how well the model ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from MRDeltaNetLib.cohort.evaluating.clinical_values import covariates, dropped_omissions, few_events, plain, term_label, too_many, unknown_references
from MRDeltaNetLib.cohort.evaluating.subset import Subset
from MRDeltaNetLib.cohort.evaluating.survival.curves import thinned
from MRDeltaNetLib.cohort.evaluating.survival.follow_up import SECTION, FollowUp
from MRDeltaNetLib.cohort.statistics.design import Coding, Dropped, Term, aliased, coding
from MRDeltaNetLib.cohort.statistics.packages import package
from MRDeltaNetLib.cohort.statistics.survival import Cox, cox, harrell, proportional_hazards, uno
from MRDeltaNetLib.evaluation import Figure, Omission, Table


@dataclass(frozen=True)
class Model:
    """A fitted model: its terms, the cases (time, event, design) that it was fitted to, and columns that it does without."""

    terms: tuple[Term, ...]
    fitted: Cox
    time: np.ndarray
    event: np.ndarray
    design: np.ndarray
    dropped: tuple[Dropped, ...]

    def rows(self) -> list[dict[str, Any]]:
        return [{"term": term.name, "variable": term.variable, "level": term.level, "reference": term.reference}
                | dict(zip(("hr", "lo", "hi", "p"), ratio)) | {"coefficient": float(b), "n": self.fitted.n, "events": self.fitted.events}
                for term, ratio, b in zip(self.terms, self.fitted.ratios(), self.fitted.coefficients)]


@dataclass(frozen=True)
class Told:
    """What the models of an endpoint give to its values, tables, figures, notes and omissions."""

    values: dict[str, Any]
    tables: dict[str, Table]
    figures: dict[str, Figure]
    notes: tuple[str, ...]
    omissions: tuple[Omission, ...]


def models(subset: Subset, cases: FollowUp) -> Told:
    """cox (all together), cox_univariable, cox_model, proportional_hazards, harrell_c and uno_c of the model of all."""
    names = _covariates(subset, cases)
    what = f"Cox models of {cases.name}"
    reason = "there is no covariate" if not names else "no event happened" if not cases.events else too_many(len(cases.time))
    if reason:
        return Told({"cox": [], "cox_univariable": []}, {}, {}, (), (Omission(SECTION, what, reason, "name covariates, wait for events, or take a sample"),))
    frame = subset.frame.iloc[cases.rows]
    code, dropped = coding(frame, names, subset.config.references)
    omissions = dropped_omissions(SECTION, what, dropped) + unknown_references(SECTION, subset, dict(code.levels))
    alone = {name: _model(frame, cases, Coding({name: levels})) for name, levels in code.levels.items()}
    omissions += tuple(Omission(SECTION, f"{cases.name}: {name} alone", found, "see the column's values")
                       for name, found in alone.items() if isinstance(found, str))
    together = _model(frame, cases, code)
    values: dict[str, Any] = {"cox": [], "cox_univariable": [row for found in alone.values() if isinstance(found, Model) for row in found.rows()]}
    tables = {"cox_univariable": _table(f"{cases.name}: each covariate alone", values["cox_univariable"])} if values["cox_univariable"] else {}
    figures: dict[str, Figure] = {}
    notes: tuple[str, ...] = ()
    if isinstance(together, Model):
        omissions += dropped_omissions(SECTION, f"the Cox model of {cases.name}", together.dropped)
        tests, times, residuals = proportional_hazards(together.time, together.event, together.design, together.fitted,
                                                       [term.variable for term in together.terms])
        values |= _whole(together) | {"proportional_hazards": [{"variable": one.name, "chisq": one.chisq, "df": one.df, "p": one.p} for one in tests],
                                      "ph_global_p": tests[-1].p}
        tables |= {"cox": _table(f"{cases.name}: all covariates together", values["cox"]), "proportional_hazards": _hazards_table(cases, values)}
        figures["schoenfeld"] = _schoenfeld(cases, together, times, residuals, {one.name: one.p for one in tests})
        notes = _notes(cases, together)
    else:
        omissions += (Omission(SECTION, f"{cases.name}: the model of all covariates", together, "name fewer covariates, or take out the one that separates"),)
    if values["cox_univariable"]:
        figures["hazard_ratios"] = _forest(cases, values)
    return Told(values, tables, figures, notes, omissions)


def _covariates(subset: Subset, cases: FollowUp) -> tuple[str, ...]:
    """The endpoint's own; else the clinical values and the study's score."""
    if cases.settings.covariates:
        return tuple(cases.settings.covariates)
    names = covariates(subset)
    return names if subset.model is None or subset.model.name in names else (*names, subset.model.name)


def _model(frame, cases: FollowUp, code: Coding) -> Model | str:
    if not code.terms:
        return "no covariate can be used"
    matrix, complete = code.matrix(frame)
    time, event = cases.time[complete], cases.event[complete]
    if not event.any():
        return f"no event among the {len(event)} cases with every value"
    gone = aliased(matrix)
    dropped = tuple(Dropped(term.name, "it is constant, or the terms before it say the same, among the cases with every value")
                    for term, out in zip(code.terms, gone) if out)
    terms = tuple(term for term, out in zip(code.terms, gone) if not out)
    if not terms:
        return f"among the {len(event)} cases with every value nothing varies"
    try:
        return Model(terms, cox(time, event, matrix[:, ~gone]), time, event, matrix[:, ~gone], dropped)
    except ValueError as none:
        return str(none)


def _whole(model: Model) -> dict[str, Any]:
    """What is told of the model of all covariates, on the cases that it was fitted to."""
    zero, best = model.fitted.log_likelihood
    degrees, chisq = len(model.terms), 2 * (best - zero)
    return {"cox": model.rows(),
            "cox_model": {"n": model.fitted.n, "events": model.fitted.events, "ties": "Efron", "log_likelihood": [zero, best], "in_sample": True,
                          "likelihood_ratio": {"chisq": chisq, "df": degrees, "p": float(package("scipy.stats").chi2.sf(chisq, degrees))}},
            **_ranked(model)}


def _ranked(model: Model) -> dict[str, Any]:
    """Harrell's and Uno's C of the linear predictor; nothing where all events are at one time."""
    risk = model.design @ model.fitted.coefficients
    try:
        rank, weighted = harrell(model.time, model.event, risk), uno(model.time, model.event, risk)
    except ValueError:
        return {}
    return {"harrell_c": rank.c, "harrell_c_se": rank.error, "harrell_c_lo": rank.lower, "harrell_c_hi": rank.upper,
            "harrell_c_of": "model of all covariates", "uno_c": weighted.c, "uno_c_se": weighted.error, "uno_c_lo": weighted.lower, "uno_c_hi": weighted.upper}


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    return Table(title, ("Term", "Compared with", "Cases", "Events", "Hazard ratio", "Hazard ratio low", "Hazard ratio high", "p"),
                 tuple((row["variable"] if row["level"] is None else f"{row['variable']}: {row['level']}", row["reference"], row["n"], row["events"],
                        row["hr"], row["lo"], row["hi"], row["p"]) for row in rows))


def _hazards_table(cases: FollowUp, values: dict[str, Any]) -> Table:
    return Table(f"{cases.name}: do hazards stay proportional?", ("Variable", "Chi-square", "df", "p"),
                 tuple((one["variable"], one["chisq"], one["df"], one["p"]) for one in values["proportional_hazards"]),
                 ("Score test of coefficients that change with 1 - S(t), as R's cox.zph. A small p: the hazard ratio is a mean over a follow-up in which "
                  "it changes.",))


def _forest(cases: FollowUp, values: dict[str, Any]) -> Figure:
    rows = [{"label": term_label(Term(row["term"], row["variable"], row["level"], row["reference"])), "group": group, "n": row["n"], "events": row["events"],
             "value": plain(row["hr"]), "lo": plain(row["lo"]), "hi": plain(row["hi"]), "pooled": False}
            for group, key in (("each alone", "cox_univariable"), ("all together", "cox")) for row in values[key]]
    return Figure("forest", f"Hazard ratios, {cases.name}", {"measure": "Hazard ratio", "null": 1.0, "log": True, "rows": rows})


def _schoenfeld(cases: FollowUp, model: Model, times: np.ndarray, residuals: np.ndarray, p: dict[str, float]) -> Figure:
    some = thinned(np.arange(len(times)))
    panels = [{"label": term_label(term), "time": times[some].tolist(), "residual": residuals[some, k].tolist(), "p": p[term.variable]}
              for k, term in enumerate(model.terms)]
    return Figure("schoenfeld", f"Scaled Schoenfeld residuals, {cases.name}", {"unit": cases.settings.unit, "panels": panels})


def _notes(cases: FollowUp, model: Model) -> tuple[str, ...]:
    notes = list(few_events(model.fitted.events, len(model.terms)))
    if (left := len(cases.time) - model.fitted.n):
        notes.append(f"{left} of {len(cases.time)} cases lack a value and are no part of the model of all covariates.")
    notes.append("Harrell's and Uno's C of the model of all covariates are in-sample: new cases will be ranked worse.")
    return tuple(f"{cases.name}: {note}" for note in notes)
