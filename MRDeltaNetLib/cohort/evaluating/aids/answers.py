"""What the software knows about a study, in a sentence for each topic of the reporting guidelines; None where it knows nothing.

A sentence says what is in the tables and in the results, with numbers. It never says that an item is met: that a table was printed does not make it the
right one.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping

from MRDeltaNetLib.evaluation import Part

Sets = Mapping[str, Mapping[str, Part]]
Facts = Mapping[str, Any]

_MOST = 12


def simulated(facts: Facts, sets: Sets) -> str | None:
    return "the tables hold a simulation's hidden truth: the cases are simulated, no patients" if facts["simulated"] else None


def centres(facts: Facts, sets: Sets) -> str | None:
    told = [f"{name}: {_listed(names)}" for name, names in facts["centres"].items() if names]
    return f"centres by set: {'; '.join(told)}" if told else None


def kept(facts: Facts, sets: Sets) -> str | None:
    told = [f"{reason} ({n})" for reason, n in facts["excluded"].items()]
    return f"of {facts['enrolled']} rows, left out: {_listed(told)}; why these rules were chosen is not known" if told else None


def outcome(facts: Facts, sets: Sets) -> str | None:
    if not facts["outcome"]:
        return None
    positive = f"the value '{facts['positive']}'" if facts["positive"] is not None else "1, true or yes"
    return f"column '{facts['outcome']}', {positive} counts as pCR; how it was found out is not known"


def clinical(facts: Facts, sets: Sets) -> str | None:
    return f"columns: {_listed(facts['clinical'])}; how and when they were measured is not known" if facts["clinical"] else None


def missing(facts: Facts, sets: Sets) -> str | None:
    lacking = [f"{name} {n}" for name, n in facts["missing"].items() if n]
    unknown = sum(counts["unknown"] for counts in facts["sets"].values())
    if not facts["missing"] and not unknown:
        return None
    told = f"cases without a value: {_listed(lacking)}" if lacking else "no clinical value is missing"
    outcomes = f"the outcome of {unknown} cases is not known" if unknown else "no outcome is missing"
    return f"{told}; {outcomes}. Each analysis uses the cases that have its values; nothing was imputed here"


def events(facts: Facts, sets: Sets) -> str | None:
    told = [f"{name} {counts['events']} with pCR of {counts['n'] - counts['unknown']}" for name, counts in facts["sets"].items() if counts["n"] > counts["unknown"]]
    widths = [f"{name} {values['ci_width_expected']:.2f}" for name, values in _of_model(facts, sets, "discrimination").items() if values.get("ci_width_expected") is not None]
    if not told:
        return None
    return f"{'; '.join(told)}" + (f". Width of the AUC's interval to be expected from these counts: {'; '.join(widths)}" if widths else "") + ". The reason for the size is not known"


def prevalence(facts: Facts, sets: Sets) -> str | None:
    shares = _shares(facts)
    return f"share with pCR: {shares}; what was done about it in training is not known" if shares else None


def sets_named(facts: Facts, sets: Sets) -> str | None:
    if list(facts["sets"]) == ["all"]:
        return None
    return "sets as the table names them: " + "; ".join(f"{name} {counts['n']} cases" for name, counts in facts["sets"].items())


def disjoint(facts: Facts, sets: Sets) -> str | None:
    if not facts["settings"]["id"] or list(facts["sets"]) == ["all"]:
        return None
    shared = _shared_centres(facts)
    also = f"; centres of the training set that also stand in others: {_listed(shared)}" if shared else ""
    return f"no id stands in two sets, as ids are in the table; whether one patient has two ids is not known{also}"


def scores(facts: Facts, sets: Sets) -> str | None:
    return f"score of the model: column '{facts['model']}'" if facts["model"] else None


def threshold(facts: Facts, sets: Sets) -> str | None:
    if not facts["model"]:
        return None
    if facts["threshold"] is not None:
        return f"threshold {facts['threshold']:g} for pCR was given as locked; when it was chosen is not known"
    return "no locked threshold was given; thresholds by rule are from the training set where there is one, else from the very cases they are judged on"


def measures(facts: Facts, sets: Sets) -> str | None:
    names = {"discrimination": "ROC and precision-recall with AUC, sensitivity, specificity, predictive values", "calibration": "calibration intercept and slope, Brier score, "
             "ICI, E50 and E90", "decision_curve": "net benefit", "comparisons": "paired DeLong and McNemar tests", "survival": "Kaplan-Meier, log-rank, Cox, concordance"}
    told = [words for section, words in names.items() if any(parts[section].values for parts in sets.values())]
    return f"computed: {'; '.join(told)}" if told else None


def uncertainty(facts: Facts, sets: Sets) -> str | None:
    if not any(_of_model(facts, sets, "discrimination")):
        return None
    return (f"95 % intervals: DeLong on the logit scale for AUC, Wilson for proportions, bootstrap of {facts['bootstrap']} samples (seed {facts['seed']}) where the tables say so; "
            "Holm's adjustment in comparisons of scores")


def performance(facts: Facts, sets: Sets) -> str | None:
    told = []
    for name, values in _of_model(facts, sets, "discrimination").items():
        lo, hi = values["auc_ci_logit"]
        told.append(f"{name} AUC {values['auc']:.3f} ({lo:.3f} to {hi:.3f})")
    return "; ".join(told) or None


def calibration(facts: Facts, sets: Sets) -> str | None:
    told = []
    for name, values in _of_model(facts, sets, "calibration").items():
        shown = [f"{words} {values[key]:.3f}" for key, words in (("slope", "slope"), ("intercept", "intercept"), ("brier", "Brier score"), ("ici", "ICI")) if values.get(key) is not None]
        told.append(f"{name} {', '.join(shown)}")
    return f"calibration: {'; '.join(told)}" if told else None


def recalibration(facts: Facts, sets: Sets) -> str | None:
    told = [name for name, values in _of_model(facts, sets, "calibration").items() if values.get("recalibrated")]
    return f"calibration before and after recalibration is shown for {_listed(told)}; what was done in training is not known" if told else None


def operating(facts: Facts, sets: Sets) -> str | None:
    told = [f"{name} sensitivity {youden['sensitivity']:.3f} and specificity {youden['specificity']:.3f} at {youden['threshold']:.3f} (Youden)"
            for name, values in _of_model(facts, sets, "discrimination").items() if (youden := values.get("youden"))]
    return "; ".join(told) + "; other thresholds and intervals in the table of thresholds" if told else None


def subgroups(facts: Facts, sets: Sets) -> str | None:
    columns = {row["column"] for parts in sets.values() for row in _rows(parts, "subgroups")}
    return f"performance was looked at by {_listed(sorted(columns))}; which groups matter for fairness is for the authors to say" if columns else None


def heterogeneity(facts: Facts, sets: Sets) -> str | None:
    told = []
    for name, parts in sets.items():
        areas = [row["auc"] for row in _rows(parts, "subgroups") if row["column"] == facts["settings"]["centre"] and row.get("auc") is not None]
        if len(areas) > 1:
            told.append(f"{name} AUC {min(areas):.3f} to {max(areas):.3f} over {len(areas)} centres")
    return "; ".join(told) or None


def differences(facts: Facts, sets: Sets) -> str | None:
    train = facts["settings"]["train_set"]
    if train not in facts["sets"] or len(facts["sets"]) < 2:
        return None
    shares = _shares(facts)
    return f"share with pCR: {shares}; the other columns stand side by side in the tables by set" if shares else None


def flow(facts: Facts, sets: Sets) -> str | None:
    told = "; ".join(f"{name} {counts['n']}" for name, counts in facts["sets"].items())
    return f"{facts['enrolled']} rows of the tables, {sum(facts['excluded'].values())} left out, evaluated: {told}; who was never in the table is not known"


def analysed(facts: Facts, sets: Sets) -> str | None:
    told = [f"{name} {counts['cases_with_model']} with outcome and score" for name, counts in facts["sets"].items() if counts["cases_with_model"]]
    return "; ".join(told + ([found] if (found := follow_up(facts, sets)) else [])) or None


def follow_up(facts: Facts, sets: Sets) -> str | None:
    told = [f"{name}, {endpoint}: {counts['cases']} cases, {counts['events']} events" for name, parts in sets.items()
            for endpoint, counts in (parts["flow"].values.get("follow_up") or {}).items() if counts["cases"]]
    return f"follow-up: {'; '.join(told)}" if told else None


def table_one(facts: Facts, sets: Sets) -> str | None:
    names = list(dict.fromkeys(row["variable"] for parts in sets.values() for row in parts["table_one"].values if "variable" in row))
    return f"Table 1 tells {_listed(names)}" if names else None


def comparison(facts: Facts, sets: Sets) -> str | None:
    told = [f"{name}: {row['a']} and {row['b']}, DeLong p {row['p_delong']:.3g}" for name, parts in sets.items() for row in parts["comparisons"].values
            if row.get("p_delong") is not None]
    return "; ".join(told[:_MOST]) or None


def fusion(facts: Facts, sets: Sets) -> str | None:
    told = [name for name, parts in sets.items() if parts["fusion"].values]
    return f"score with clinical values is compared with the score alone in {_listed(told)}" if told else None


def logistic(facts: Facts, sets: Sets) -> str | None:
    terms = list(dict.fromkeys(row["term"] for parts in sets.values() for row in parts["logistic"].values if row.get("term") != "(Intercept)"))
    return f"multivariable logistic regression with {_listed(terms)}; which of them confound is not known" if terms else None


def usefulness(facts: Facts, sets: Sets) -> str | None:
    told = list(_of_model(facts, sets, "decision_curve"))
    return f"net benefit over thresholds is told for {_listed(told)}" if told else None


def internal(facts: Facts, sets: Sets) -> str | None:
    return _named_set(facts, "internal")


def external(facts: Facts, sets: Sets) -> str | None:
    return _named_set(facts, "external")


def held_out(facts: Facts, sets: Sets) -> str | None:
    told = [name for name in facts["sets"] if name != facts["settings"]["train_set"] and name != "all"]
    return f"sets that the table names as held out from training: {_listed(told)}" if told else None


def interval(facts: Facts, sets: Sets) -> str | None:
    return "the column 'interval_days' holds the days between the visits" if "interval_days" in facts["clinical"] else None


def software(facts: Facts, sets: Sets) -> str | None:
    return "evaluated with " + ", ".join(f"{name} {version}" for name, version in facts["versions"].items() if version) + "; what the model was made with is not known"


ANSWERS: Mapping[str, Callable[[Facts, Sets], str | None]] = {
    answer.__name__: answer for answer in (simulated, centres, kept, outcome, clinical, missing, events, prevalence, disjoint, scores, threshold, measures, uncertainty,
                                           performance, calibration, recalibration, operating, subgroups, heterogeneity, differences, flow, analysed, follow_up,
                                           table_one, comparison, fusion, logistic, usefulness, internal, external, held_out, interval, software)} | {"sets": sets_named}
"""Name in guidelines.py -> who answers."""


def _of_model(facts: Facts, sets: Sets, section: str) -> dict[str, Any]:
    """Set -> what a section tells of the study's model, where it does."""
    return {name: parts[section].values[facts["model"]] for name, parts in sets.items() if facts["model"] in parts[section].values}


def _shares(facts: Facts) -> str:
    return "; ".join(f"{name} {100 * counts['events'] / known:.1f} %" for name, counts in facts["sets"].items() if (known := counts["n"] - counts["unknown"]))


def _rows(parts: Mapping[str, Part], key: str) -> list[dict[str, Any]]:
    return parts["heterogeneity"].values.get(key) or []


def _named_set(facts: Facts, name: str) -> str | None:
    counts = facts["sets"].get(name)
    return f"a set named {name}: {counts['n']} cases, {counts['events']} with pCR" if counts else None


def _shared_centres(facts: Facts) -> list[str]:
    train = facts["settings"]["train_set"]
    learned = set(facts["centres"].get(train, ()))
    return sorted(learned & {centre for name, names in facts["centres"].items() if name != train for centre in names})


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_MOST]) + (f" and {len(names) - _MOST} more" if len(names) > _MOST else "")
