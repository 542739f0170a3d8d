"""An Evaluation from made-up numbers, for tests of the page and its figures: every kind of figure, odd sizes, long names, hostile texts. No patient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from MRDeltaNetLib.evaluation import SECTIONS, Evaluation, Figure, Omission, Part, Table

HOSTILE = '<img src=x onerror=alert(1)><script>alert(2)</script>"\'& </style></title>--> ${body} $x^2$ \x1b[31m \u202egnp.exe \ud800 =cmd|x'
LONG = "Combined deep-learning and clinical model with carcinoembryonic antigen, mrTRG and extramural vascular invasion, recalibrated on the training set"
WORD = "Pseudopseudohypoparathyroidism" * 5
"""One word that no line holds."""


def odd_label(place: int) -> str:
    """Labels that break careless layouts, one after the other."""
    return (HOSTILE, LONG, WORD, "_underscore first", "$math$ and \\alpha", "", "T2", "Zentrum M\u00fcnchen", "\u4e2d\u5fc3", "a\nb\tc", "%d %s {}", "x")[place % 12]


def roc(curves: int = 2, cases: int = 120, points: int = 2, label=lambda place: f"Score {place + 1}", seed: int = 0) -> dict[str, Any]:
    """Empirical ROC curves of random scores."""
    made, random = [], np.random.default_rng(seed)
    for place in range(curves):
        outcome = np.arange(cases) % 3 == 0
        scores = random.normal(size=cases) + outcome * (1.6 - 0.35 * place)
        order = np.argsort(-scores)
        tpr, fpr = np.cumsum(outcome[order]) / outcome.sum(), np.cumsum(~outcome[order]) / (~outcome).sum()
        auc = float((scores[outcome][:, None] > scores[~outcome][None]).mean())
        made.append({"label": label(place), "fpr": [0.0, *fpr.tolist()], "tpr": [0.0, *tpr.tolist()], "auc": auc, "lo": auc - 0.06, "hi": min(auc + 0.05, 1.0)})
    there = [{"label": ("locked threshold", "Youden", "specificity 0.90", "specificity 0.95", "cost ratio 2")[place % 5], "fpr": 0.1 + 0.05 * place, "tpr": 0.7 + 0.04 * place}
             for place in range(points)]
    return {"curves": made, "points": there}


def precision_recall(curves: int = 2, label=lambda place: f"Score {place + 1}") -> dict[str, Any]:
    """Falling curves."""
    recall = np.linspace(0, 1, 60)
    return {"prevalence": 0.24, "curves": [{"label": label(place), "recall": recall.tolist(), "precision": (1 - (0.7 - 0.05 * place) * recall**2).tolist(),
                                            "average_precision": 0.8 - 0.06 * place} for place in range(curves)]}


def calibration(curves: int = 2, histogram: bool = True, label=lambda place: ("as given", "after recalibration")[place % 2], cases: int = 200) -> dict[str, Any]:
    """Curves beside the diagonal, predictions from beta distributions."""
    random, x = np.random.default_rng(1), np.linspace(0.03, 0.95, 90)
    made = []
    for place in range(curves):
        y = np.clip(x + (0.12 - 0.1 * place) * np.sin(math.pi * x), 0, 1)
        made.append({"label": label(place), "x": x.tolist(), "y": y.tolist(), "lo": np.clip(y - 0.08, 0, 1).tolist(), "hi": np.clip(y + 0.08, 0, 1).tolist()})
    edges = np.linspace(0, 1, 21)
    counts = {"edges": edges.tolist(), "pcr": np.histogram(random.beta(4, 2, cases // 4), edges)[0].tolist(), "non_pcr": np.histogram(random.beta(1.3, 5, cases - cases // 4), edges)[0].tolist()}
    return {"curves": made, "histogram": counts if histogram else None,
            "text": ["slope 0.84 (0.61 to 1.07), intercept \u22120.21 (\u22120.60 to 0.18)", "Brier score 0.121, ICI 0.043, n = 200"]}


def decision_curve(curves: int = 2, label=lambda place: f"Score {place + 1}") -> dict[str, Any]:
    """Net benefit that falls with the threshold."""
    thresholds, rate = np.linspace(0.01, 0.99, 99), 0.24
    everyone = rate - (1 - rate) * thresholds / (1 - thresholds)
    made = []
    for place in range(curves):
        benefit = np.maximum(everyone, (0.2 - 0.03 * place) * (1 - thresholds) ** (0.7 + 0.2 * place))
        made.append({"label": label(place), "net_benefit": benefit.tolist(), "lo": (benefit - 0.03).tolist(), "hi": (benefit + 0.03).tolist()})
    return {"thresholds": thresholds.tolist(), "curves": made, "treat_all": everyone.tolist(), "event_rate": rate}


def forest(rows: int = 8, log: bool = False, label=lambda place: f"Level {place + 1}", pooled: bool = True) -> dict[str, Any]:
    """Estimates with intervals of many widths; the last row is pooled; one cannot be estimated, one goes on for ever."""
    random, made = np.random.default_rng(2), []
    for place in range(rows):
        value = float(np.exp(random.normal(0, 0.8))) if log else float(np.clip(random.normal(0.8, 0.07), 0.4, 1))
        spread = float(random.uniform(0.2, 1.2)) if log else float(random.uniform(0.03, 0.15))
        lo, hi = (value * math.exp(-spread), value * math.exp(spread)) if log else (value - spread, min(value + spread, 1.0))
        made.append({"label": label(place), "group": ("Centre", "Sex", "Clinical T stage", "Scanner")[place * 4 // max(rows, 1)], "n": int(random.integers(9, 900)),
                     "events": int(random.integers(2, 99)), "value": value, "lo": lo, "hi": hi, "pooled": False})
    if rows > 4:
        made[1] = {**made[1], "value": None, "lo": None, "hi": None}
        made[2] = {**made[2], "lo": 1e-9 if log else made[2]["lo"], "hi": 1e9 if log else made[2]["hi"]}
    if pooled and rows:
        made.append({"label": "Random-effects summary", "group": None, "n": 1026, "events": 246, "value": 1.4 if log else 0.81, "lo": 1.1 if log else 0.77, "hi": 1.8 if log else 0.85, "pooled": True})
    return {"measure": "Odds ratio" if log else "AUC", "null": 1.0 if log else 0.5, "log": log, "rows": made}


def kaplan_meier(groups: int = 2, cases: int = 80, label=lambda place: ("predicted pCR", "predicted residual tumour")[place % 2], last: float = 60.0,
                 unit: str = "months") -> dict[str, Any]:
    """Product-limit estimates of random exponential times, written out here so that a test knows every count."""
    random, made, risk_times = np.random.default_rng(3), [], [round(last * share, 6) for share in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    for place in range(groups):
        event_time, censor_time = random.exponential(last / (0.5 + 0.6 * place), cases), random.uniform(last / 3, last, cases)
        time, event = np.minimum(event_time, censor_time), event_time <= censor_time
        steps, survival, at_risk = [0.0], [1.0], []
        for moment in np.unique(time[event]):
            survival.append(survival[-1] * (1 - float((event & (time == moment)).sum()) / float((time >= moment).sum())))
            steps.append(float(moment))
        at_risk = [int((time >= moment).sum()) for moment in risk_times]
        s = np.array(survival)
        made.append({"label": label(place), "time": steps, "survival": survival, "lo": np.clip(s - 0.1, 0, 1).tolist(), "hi": np.clip(s + 0.1, 0, 1).tolist(),
                     "censored": sorted(time[~event].tolist()), "n_risk": at_risk, "n": cases, "events": int(event.sum()),
                     "median": None if s.min() > 0.5 else steps[int(np.argmax(s <= 0.5))], "median_lo": None, "median_hi": None})
    return {"unit": unit, "groups": made, "risk_times": risk_times, "p_logrank": 0.00004 if groups > 1 else None, "text": "Recurrence-free survival"}


def time_dependent_auc(times: int = 5) -> dict[str, Any]:
    """AUC that falls, with one time at which it cannot be told."""
    auc: list[float | None] = [0.82 - 0.03 * place for place in range(times)]
    if times > 2:
        auc[-1] = None
    return {"unit": "months", "times": [12.0 * (place + 1) for place in range(times)], "auc": auc, "lo": [None if value is None else value - 0.08 for value in auc],
            "hi": [None if value is None else value + 0.08 for value in auc]}


def schoenfeld(panels: int = 4, events: int = 60, label=lambda place: f"Covariate {place + 1}") -> dict[str, Any]:
    """Residuals around 0."""
    random = np.random.default_rng(4)
    return {"unit": "months", "panels": [{"label": label(place), "time": np.sort(random.uniform(1, 60, events)).tolist(), "residual": random.normal(size=events).tolist(),
                                          "p": (0.0004, 0.03, 0.4, None)[place % 4]} for place in range(panels)]}


def boxes(groups: int = 2, values: int = 60, label=lambda place: ("pCR", "no pCR")[place % 2]) -> dict[str, Any]:
    """Values between 0 and 1."""
    random = np.random.default_rng(5)
    return {"groups": [{"label": label(place), "group": f"Centre {place // 2 + 1}" if groups > 2 else None, "values": random.beta(4 - 2 * (place % 2), 3, values).tolist()} for place in range(groups)],
            "y_label": "P(pCR) by the model", "unit": "", "x_range": [0.0, 1.0], "paired": True}


def heatmap(cases: int = 120, rows: int = 6, label=lambda place: ("Outcome", "Age", "Sex", "Clinical T stage", "CEA before treatment", "Centre")[place % 6]) -> dict[str, Any]:
    """Rows of categories and numbers, with gaps."""
    random = np.random.default_rng(6)
    scores = np.sort(random.beta(1.5, 3, cases))[::-1]
    kinds = (["pCR", "no pCR"], None, ["female", "male"], ["T2", "T3", "T4a", "T4b"], None, [f"centre {letter}" for letter in "ABCDEFGHIJKL"])
    made = []
    for place in range(rows):
        levels = kinds[place % 6]
        if levels is None:
            values: list = [None if random.random() < 0.08 else float(value) for value in random.lognormal(3, 0.6, cases)]
        else:
            likely = scores if place == 0 else np.full(cases, 0.5)
            values = [levels[0] if len(levels) == 2 and random.random() < likely[case] else levels[int(random.integers(1, len(levels)))] for case in range(cases)]
            values = [None if place and random.random() < 0.05 else value for value in values]
        made.append({"label": label(place), "kind": "number" if levels is None else "category", "values": values, **({"unit": "years"} if place == 1 else {})})
    return {"scores": scores.tolist(), "score_label": "P(pCR) by the model", "threshold": 0.41, "rows": made}


def flow(boxes: int = 3, label=lambda place: ("Enrolled", "With an outcome", "Analysed")[place % 3]) -> dict[str, Any]:
    """Counts that fall."""
    made, left = [], 1100
    for place in range(boxes):
        excluded = [{"reason": "no scan after treatment", "n": 31}, {"reason": "surgery elsewhere, pathology report not to be had", "n": 12}][:max(2 - place, 0)] if place < boxes - 1 else []
        made.append({"label": label(place), "n": left, "excluded": excluded})
        left -= sum(reason["n"] for reason in excluded)
    return {"boxes": made}


BUILT = {"flow": flow, "roc": roc, "precision_recall": precision_recall, "calibration": calibration, "decision_curve": decision_curve, "forest": forest,
         "kaplan_meier": kaplan_meier, "time_dependent_auc": time_dependent_auc, "schoenfeld": schoenfeld, "boxes": boxes, "heatmap": heatmap}
"""Kind of figure -> its data, made up."""

MINIMAL: dict[str, dict[str, Any]] = {
    "flow": {"boxes": [{"label": "Analysed", "n": None, "excluded": []}]},
    "roc": {"curves": []},
    "precision_recall": {"curves": [], "prevalence": None},
    "calibration": {"curves": [], "histogram": None, "text": []},
    "decision_curve": {"thresholds": [], "curves": [], "treat_all": [], "event_rate": None},
    "forest": {"measure": "Hazard ratio", "null": 1.0, "log": True, "rows": []},
    "kaplan_meier": {"unit": "days", "groups": [{"label": "one case", "time": [], "survival": [], "lo": None, "hi": None, "censored": [5.0], "n_risk": [1]}], "risk_times": [0.0], "p_logrank": None,
                     "text": None},
    "time_dependent_auc": {"unit": "days", "times": [], "auc": [], "lo": None, "hi": None},
    "schoenfeld": {"panels": []},
    "boxes": {"groups": [{"label": "one case", "values": [0.4]}, {"label": "nobody", "values": []}], "unit": None, "y_label": None},
    "heatmap": {"scores": [], "rows": []}}
"""The least that each kind can be asked to draw."""


def table(rows: int = 4, label=lambda place: f"Level {place + 1}") -> Table:
    """Names, counts, a value with its interval, p."""
    return Table("Odds ratios of made-up variables", ("variable", "level", "n", "events", "OR", "lower", "upper", "p"),
                 tuple((label(place), f"level {place}", 100 + place, 10 + place, 1.5 + place, 0.9 + place, 2.5 + place, (0.00001, 0.04, 0.6, None)[place % 4]) for place in range(rows)),
                 ("Wald intervals",))


def part(section: str, hostile: bool = False) -> Part:
    """A part of this section with the figures that belong there."""
    label = odd_label if hostile else None
    kinds = {"flow": ("flow",), "discrimination": ("roc", "precision_recall"), "calibration": ("calibration",), "decision_curve": ("decision_curve",), "heterogeneity": ("forest",),
             "logistic": ("forest",), "survival": ("kaplan_meier", "time_dependent_auc", "schoenfeld"), "overview": ("heatmap", "boxes")}.get(section, ())
    figures = {f"{section}_{kind}": Figure(kind, HOSTILE if hostile else f"{kind.replace('_', ' ')} of made-up numbers", BUILT[kind](**({"label": label} if label and kind != "time_dependent_auc" else {})))
               for kind in kinds}
    values: Any = [] if section in ("comparisons", "logistic", "table_one") else {}
    if section == "discrimination":
        point = {"rule": "locked", "threshold": 0.41, "learned_on": "before", "same_data": False}
        for rate in ("sensitivity", "specificity", "ppv", "npv"):
            point |= {rate: 0.81, f"{rate}_ci": [0.7, 0.9]}
        values = {"p_pcr": {"cases": 181, "with_pcr": 31, "without_pcr": 150, "auc": 0.8123, "auc_ci": [0.7345, 0.8777], "operating_points": [point]}}
    text = HOSTILE if hostile else "made up"
    return Part(values, {f"{section}_table": table(label=label or (lambda place: f"Level {place + 1}"))}, figures, (text,), (Omission(section, text, text, text),))


def evaluation(sets: tuple[str, ...] = ("train", "internal", "external"), hostile: bool = False, sections: tuple[str, ...] = SECTIONS) -> Evaluation:
    """The whole, every section in every set."""
    text = HOSTILE if hostile else "made up"
    facts = {"enrolled": 560, "excluded": {text: 17}, "sets": {name: {"n": 183, "events": 31, "non_events": 150, "unknown": 2, "cases_with_model": 181} for name in sets},
             "scores": {"p_pcr": text if hostile else "P(pCR) by the model"}, "model": "p_pcr", "simulated": True,
             "endpoints": {"RFS": {"time": "rfs_time", "event": "rfs_event", "unit": "months"}}, "settings": {"bootstrap": 2000, "seed": 0, "train_set": "train", "study": {"note": text}},
             "versions": {"mrdeltanet": "0.1", "python": "3.11", "scipy": None}, "failed": [], "notices": [{"code": "MRD-W999", "text": text, "fix": text}]}
    aids = {"TRIPOD+AI": [{"item": "1", "topic": "Title", "known": None}, {"item": "5a", "topic": text, "known": text}]}
    return Evaluation(sets[-1], {name: {section: part(section, hostile) for section in sections} for name in sets}, facts, aids)
