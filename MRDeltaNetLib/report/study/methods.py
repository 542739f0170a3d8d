"""What a reader must bear in mind, how the numbers were made, and what they were made from."""

from __future__ import annotations

from typing import Any, Mapping

from MRDeltaNetLib.evaluation import Evaluation
from MRDeltaNetLib.report.study.numbers import finite, fixed, whole
from MRDeltaNetLib.report.study.summary import found, point
from MRDeltaNetLib.report.words import sentence, text

WIDE = 0.15
"""An interval of the AUC that is wider than this says little about how good the score is."""

FEWEST = 100
"""Cases of either outcome below which validations say little (Vergouwe 2005, doi:10.1016/j.jclinepi.2004.06.017)."""

_SOFTWARE = {"mrdeltanet": "MRDeltaNet", "python": "Python"}


def limits(evaluation: Evaluation) -> str:
    """The box of limits, before any result is read."""
    lines = ["Research use only: nothing here may decide on a patient.", *_of_data(evaluation), *_of_sets(evaluation), *_of_run(evaluation)]
    return f'<section id="limits"><h2>Limits</h2><div class="box"><ul>{"".join(f"<li>{sentence(line)}</li>" for line in lines)}</ul></div></section>'


def _of_data(evaluation: Evaluation) -> list[str]:
    lines = ["The data are simulated: no number here is evidence about patients."] if evaluation.facts.get("simulated") else []
    main, model = evaluation.sets.get(evaluation.main_set, {}), str(evaluation.facts.get("model"))
    told = found(main, "discrimination", model) or {}
    with_pcr, without = told.get("with_pcr"), told.get("without_pcr")
    if finite(with_pcr) and finite(without) and min(with_pcr, without) < FEWEST:
        lines.append(f"Few cases: {whole(with_pcr)} with pCR and {whole(without)} without in the set {evaluation.main_set}; fewer than {FEWEST} of "
                     f"either are too few for firm conclusions")
    bounds = told.get("auc_ci") or (None, None)
    if all(map(finite, bounds)) and bounds[1] - bounds[0] > WIDE:
        lines.append(f"A wide interval: the AUC may lie anywhere between {fixed(bounds[0], 2)} and {fixed(bounds[1], 2)}")
    at = point(main, model)
    if at and at.get("same_data"):
        lines.append("Thresholds were chosen on the very cases that they are judged on; sensitivity, specificity and the groups of the prognosis "
                     "made with them look better than they are")
    elif at and at.get("rule") != "locked":
        lines.append(f"No threshold was locked before the study; the one that is told first was chosen by {at['rule']} on the set {at['learned_on']}")
    return lines


def _of_sets(evaluation: Evaluation) -> list[str]:
    lines, settings = [], evaluation.facts.get("settings") or {}
    if settings.get("train_set") in evaluation.sets:
        lines.append(f"The set {settings['train_set']} is what the model learned from: its numbers are fair only if each score is of a model that "
                     f"had not seen the case (out of fold)")
    if "external" not in evaluation.sets:
        lines.append("There is no set named external: nothing here says how the score does at another hospital")
    sets = evaluation.facts.get("sets") or {}
    unknown = [f"{whole(counts['unknown'])} of {whole(counts['n'])} ({name})" for name, counts in sets.items() if counts.get("unknown")]
    if unknown and evaluation.facts.get("outcome", True):
        lines.append(f"The outcome of some cases is not known: {', '.join(unknown)}. They are left out wherever one is needed, and may differ from "
                     f"the others")
    return lines


def _of_run(evaluation: Evaluation) -> list[str]:
    lines = [f"{notice['text']} ({notice['code']})" for notice in evaluation.facts.get("notices") or []]
    failed = evaluation.facts.get("failed") or []
    lines += [f"The section {entry['section']} of the set {entry['set']} failed ({entry['code']}): {entry['found']}" for entry in failed]
    omitted = sum(len(part.omissions) for parts in evaluation.sets.values() for part in parts.values())
    if omitted:
        lines.append(f"{whole(omitted)} {'part is' if omitted == 1 else 'parts are'} left out; each section says which, why, and what to do")
    lines.append("Intervals and p values are for one question each and not adjusted for the many on this page, but where a table says so")
    return lines


def methods(evaluation: Evaluation) -> str:
    """A paragraph for the methods section of a paper, written from what was done."""
    said = [line for section, lines in _SAID.items() if _done(evaluation, section) for line in lines(evaluation)]
    settings = evaluation.facts.get("settings") or {}
    seed = f" Everything that is drawn at random starts from seed {settings['seed']}." if settings.get("seed") is not None else ""
    return (f'<section id="methods"><h2>Methods</h2><p>{" ".join(sentence(line) for line in said)}{text(seed)} {_software(evaluation)}</p>'
            "<p>How each number is defined, with its source, stands in the documentation (docs/reference/evaluation.md).</p></section>")


def _done(evaluation: Evaluation, section: str) -> bool:
    return any(section in parts and parts[section].values for parts in evaluation.sets.values())


def _samples(evaluation: Evaluation) -> str:
    samples = (evaluation.facts.get("settings") or {}).get("bootstrap")
    return f"{whole(int(samples))} samples" if finite(samples) else "a number of samples that is not known"


def _discrimination(evaluation: Evaluation) -> list[str]:
    return ["Discrimination was measured by the area under the ROC curve, with DeLong's variance on the logit scale for its interval and a "
            "bootstrap stratified by outcome "
            f"({_samples(evaluation)}) beside it, and by average precision",
            "At each threshold, cases at or above it count as pCR; intervals of proportions are Wilson's"]


def _comparisons(evaluation: Evaluation) -> list[str]:
    return ["Scores were compared on the same cases by DeLong's paired test and, at a threshold each, by McNemar's exact test; p values adjusted by "
            "Holm stand beside the plain ones"]


def _calibration(evaluation: Evaluation) -> list[str]:
    return ["Calibration was measured by intercept and slope of a logistic regression of the outcome on the log-odds of the prediction, Brier "
            "score, and mean, median and 90th percentile "
            "of the distance to a smooth curve (ICI, E50, E90)"]


def _decision(evaluation: Evaluation) -> list[str]:
    return [f"Usefulness was measured by net benefit over threshold probabilities, with bootstrap bands ({_samples(evaluation)})"]


def _heterogeneity(evaluation: Evaluation) -> list[str]:
    return ["Groups of cases were compared by their own AUC, and centres summarised by a random-effects model"]


def _logistic(evaluation: Evaluation) -> list[str]:
    return ["Odds ratios are from logistic regression, each variable alone and all together, with Wald and profile-likelihood intervals, and "
            "Firth's penalty where the data separate"]


def _fusion(evaluation: Evaluation) -> list[str]:
    return ["Score and clinical values were joined by logistic regression and compared with the score alone"]


def _table_one(evaluation: Evaluation) -> list[str]:
    return ["Groups of Table 1 were compared by the Wilcoxon or Kruskal-Wallis test for numbers, and by the chi-square or Fisher's exact test for "
            "categories"]


def _survival(evaluation: Evaluation) -> list[str]:
    names = ", ".join(str(name) for name in evaluation.facts.get("endpoints") or {})
    return [f"Follow-up ({names}) was described by the Kaplan-Meier method and groups compared by the log-rank test" if names else
            "Follow-up was described by the Kaplan-Meier method and groups compared by the log-rank test",
            "Hazard ratios are from Cox models (Efron's handling of ties), with the score test of proportional hazards; Harrell's and Uno's C say "
            "how well they rank"]


_SAID = {"discrimination": _discrimination, "comparisons": _comparisons, "calibration": _calibration, "decision_curve": _decision, "heterogeneity": _heterogeneity,
         "logistic": _logistic, "fusion": _fusion, "table_one": _table_one, "survival": _survival}


def _software(evaluation: Evaluation) -> str:
    versions = {name: version for name, version in (evaluation.facts.get("versions") or {}).items() if version}
    if not versions:
        return "Versions of the software are not known."
    listed = ", ".join(f"{_SOFTWARE.get(name, name)} {version}" for name, version in versions.items())
    return sentence(f"Software: {listed}")


def provenance(evaluation: Evaluation) -> str:
    """What was evaluated: counts, scores, settings, digests."""
    facts = [(_words(key), _told(value)) for key, value in evaluation.facts.items() if key not in _ELSEWHERE and value not in (None, "", [], {})]
    rows = "".join(f"<dt>{text(key)}</dt><dd>{value}</dd>" for key, value in facts)
    settings = _settings(evaluation.facts.get("settings") or {})
    return f'<section id="provenance"><h2>Provenance</h2><dl class="facts">{rows}</dl>{settings}</section>'


_ELSEWHERE = ("title", "simulated", "failed", "notices", "versions", "settings")


def _settings(settings: Mapping[str, Any]) -> str:
    rows = "".join(f'<tr><th scope="row">{text(_words(key))}</th><td>{_told(value)}</td></tr>' for key, value in settings.items() if value not in (None, "", [], {}, ()))
    head = '<tr><th scope="col">Setting</th><th scope="col">Value</th></tr>'
    return f'<h3>Settings</h3><table class="aid"><thead>{head}</thead><tbody>{rows}</tbody></table>' if rows else ""


def _words(key: Any) -> str:
    words = str(key).replace("_", " ")
    return words[:1].upper() + words[1:]


def _told(value: Any) -> str:
    """Plain values in words, as HTML."""
    if isinstance(value, Mapping):
        return "; ".join(f"{text(str(key))}: {_told(inner)}" for key, inner in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return (", " if all(not isinstance(inner, (Mapping, list, tuple)) for inner in value) else " | ").join(_told(inner) for inner in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not known" if value is None else text(value)
