"""The answer: one sentence, and one table of what readers look for first, a column a set."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Sequence

from MRDeltaNetLib.evaluation import Evaluation, Part
from MRDeltaNetLib.report.study.numbers import NOT_KNOWN, finite, fixed, interval, p_value, whole
from MRDeltaNetLib.report.words import sentence, text

Parts = Mapping[str, Part]
_RATES = (("sensitivity", "Sensitivity"), ("specificity", "Specificity"), ("ppv", "Positive predictive value"), ("npv", "Negative predictive value"))
_RIGHT = {"slope": ("Calibration slope (1 is right)", 2), "intercept": ("Calibration in the large (0 is right)", 2), "brier": ("Brier score (0 is right)", 3),
          "ici": ("Integrated calibration index, ICI (0 is right)", 3)}


def found(parts: Parts, section: str, *keys: str) -> Any:
    """What a section's values hold under these keys; None if anything on the way is missing."""
    value: Any = parts[section].values if section in parts else None
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def model_label(evaluation: Evaluation) -> str:
    """How the study's model is called on the page."""
    name = evaluation.facts.get("model")
    return str((evaluation.facts.get("scores") or {}).get(name, name or "no score"))


def point(parts: Parts, model: str) -> Mapping[str, Any] | None:
    """The operating point that is told first: at the locked threshold, else the first by rule."""
    points = found(parts, "discrimination", model, "operating_points") or []
    return next((one for one in points if one.get("rule") == "locked"), points[0] if points else None)


def answer(evaluation: Evaluation) -> str:
    """One sentence on the main set, as HTML."""
    model, parts = evaluation.facts.get("model"), evaluation.sets.get(evaluation.main_set, {})
    if not model:
        return "No score of response was given; what does not need one is told."
    told = found(parts, "discrimination", model)
    if not told or not finite(told.get("auc")):
        return "How well the score tells pCR from residual tumour could not be answered; the sections say why."
    n = f" (n = {whole(told['cases'])}, {whole(told['with_pcr'])} with pCR)" if told.get("cases") is not None else ""
    where = f"In the set {evaluation.main_set}" if len(evaluation.sets) > 1 else "Here"
    said = f"{where}{n}, {model_label(evaluation)} told pCR from residual tumour with AUC {_ci(told, 'auc', 2)}"
    at = point(parts, model)
    if at and finite(at.get("sensitivity")):
        said += f"; at the threshold {fixed(at['threshold'], 3)} ({_rule(at)}), sensitivity was {_ci(at, 'sensitivity', 2)} and specificity {_ci(at, 'specificity', 2)}"
    return sentence(said)


def summary(evaluation: Evaluation, number: int) -> str:
    """The table of the answer."""
    rows = [row for row in _rows(evaluation) if any(cell != NOT_KNOWN for cell in row[1].values())]
    cells = lambda row: "".join(f"<td class=n>{unbroken(row[name])}</td>" for name in evaluation.sets)
    body = "".join(f'<tr><th scope="row">{text(label)}</th>{cells(row)}</tr>' for label, row in rows)
    if not rows:
        return '<section id="summary"><h2>Summary</h2><p>No section found an answer; each says why.</p></section>'
    several = len(evaluation.sets) > 1
    main = lambda name: " (main)" if several and name == evaluation.main_set else ""
    heads = "".join(f'<th scope="col" class="n">{text(name if several else "Value")}{main(name)}</th>' for name in evaluation.sets)
    about = "The answer at a glance" + (": " + model_label(evaluation) if evaluation.facts.get("model") else "")
    return (f'<section id="summary"><h2>Summary</h2><div class="table short"><table class="narrow"><caption><strong>Table {number}.</strong> {sentence(about)} '
            f'Values in brackets are 95 % confidence intervals.</caption><thead><tr><th scope="col">Measure</th>{heads}</tr></thead>'
            f"<tbody>{body}</tbody></table></div></section>")


def unbroken(words: str) -> str:
    """A cell as HTML: an interval stays on one line, and so does a p value."""
    return ", ".join(f'<span class="ci">{text(part)}</span>' for part in words.split(", "))


def _rows(evaluation: Evaluation) -> list[tuple[str, dict[str, str]]]:
    model = str(evaluation.facts.get("model"))
    rows = [_row(evaluation, "Cases with outcome and score, of these with pCR", lambda parts: _cases(found(parts, "discrimination", model))),
            _row(evaluation, "AUC", lambda parts: _ci(found(parts, "discrimination", model) or {}, "auc", 3))]
    first = point(evaluation.sets.get(evaluation.main_set, {}), model)
    if first:
        rows += [_row(evaluation, f"{label} at the threshold {fixed(first['threshold'], 3)} ({_rule(first)})",
                      lambda parts, key=key: _ci(_same_rule(parts, model, first) or {}, key, 2)) for key, label in _RATES]
        rows.append(_row(evaluation, f"Net benefit at {fixed(first['threshold'], 2)}; of calling everybody pCR",
                         lambda parts: _benefit(parts, model, first["threshold"])))
    rows += [_row(evaluation, label, lambda parts, key=key, places=places: _ci(found(parts, "calibration", model) or {}, key, places))
             for key, (label, places) in _RIGHT.items()]
    rows += _comparisons(evaluation) + _survival(evaluation)
    return rows


def _row(evaluation: Evaluation, label: str, tell: Callable[[Parts], str]) -> tuple[str, dict[str, str]]:
    return label, {name: tell(parts) for name, parts in evaluation.sets.items()}


def _cases(told: Mapping[str, Any] | None) -> str:
    if not told or not told.get("cases"):
        return NOT_KNOWN
    return f"{whole(told['cases'])}, {whole(told['with_pcr'])} ({100 * told['with_pcr'] / told['cases']:.0f} %)"


def _ci(told: Mapping[str, Any], key: str, places: int) -> str:
    bounds = told.get(f"{key}_ci") or (None, None)
    return interval(told.get(key), *bounds, places)


def _rule(at: Mapping[str, Any]) -> str:
    if at.get("learned_on") in (None, "before"):
        return str(at["rule"])
    return f"{at['rule']}, chosen on {'the same cases' if at.get('same_data') else 'the set ' + str(at['learned_on'])}"


def _same_rule(parts: Parts, model: str, first: Mapping[str, Any]) -> Mapping[str, Any] | None:
    points = found(parts, "discrimination", model, "operating_points") or []
    return next((one for one in points if one.get("rule") == first["rule"] and one.get("threshold") == first["threshold"]), None)


def _benefit(parts: Parts, model: str, threshold: float) -> str:
    """Net benefit at the threshold of the curve that is nearest, if one is near."""
    curve = found(parts, "decision_curve", model) or []
    nearest = min(curve, key=lambda row: abs(row["threshold"] - threshold), default=None)
    if nearest is None or abs(nearest["threshold"] - threshold) > 0.01:
        return NOT_KNOWN
    return f"{interval(nearest['net_benefit'], nearest.get('lo'), nearest.get('hi'), 3)}; {fixed(nearest['treat_all'], 3)}"


def _comparisons(evaluation: Evaluation) -> list[tuple[str, dict[str, str]]]:
    labels = evaluation.facts.get("scores") or {}
    others = list(dict.fromkeys(entry["b"] for parts in evaluation.sets.values() for entry in _list(parts, "comparisons")))
    return [_row(evaluation, f"Difference of AUC from that of {labels.get(other, other)}",
                 lambda parts, other=other: _difference(_list(parts, "comparisons"), other)) for other in others]


def _difference(entries: Sequence[Mapping[str, Any]], other: str) -> str:
    entry = next((one for one in entries if one["b"] == other), None)
    if entry is None:
        return NOT_KNOWN
    return f"{interval(entry.get('difference'), entry.get('lo'), entry.get('hi'), 3)}, p {p_value(entry.get('p_delong'), sign=True)}"


def _list(parts: Parts, section: str) -> Sequence[Mapping[str, Any]]:
    values = parts[section].values if section in parts else []
    return values if isinstance(values, Sequence) else []


def _survival(evaluation: Evaluation) -> list[tuple[str, dict[str, str]]]:
    endpoints = list(dict.fromkeys(name for parts in evaluation.sets.values() for name in (parts["survival"].values if "survival" in parts else {})))
    rows = []
    for name in endpoints:
        rows.append(_row(evaluation, f"{name}: log-rank p{_grouped(evaluation, name)}",
                         lambda parts, name=name: p_value(found(parts, "survival", name, "logrank", "p"))))
        rows += _concordance(evaluation, name)
    return rows


def _concordance(evaluation: Evaluation, endpoint: str) -> list[tuple[str, dict[str, str]]]:
    """Harrell's C of the score that the study is about, and apart from it that of the Cox model, which knows these cases and more than the score."""
    of = f"{endpoint}: Harrell\N{RIGHT SINGLE QUOTATION MARK}s C of"
    score = _row(evaluation, f"{of} {model_label(evaluation)}",
                 lambda parts: _c(found(parts, "survival", endpoint, "scores", str(evaluation.facts.get("model")), "harrell") or {}))
    cox = _row(evaluation, f"{of} the Cox model of all covariates, on the cases it was fitted to",
               lambda parts: _harrell(found(parts, "survival", endpoint) or {}))
    return [score, cox]


def _grouped(evaluation: Evaluation, endpoint: str) -> str:
    """What the groups are, as the section calls them in the main set."""
    told = found(evaluation.sets.get(evaluation.main_set, {}), "survival", endpoint) or {}
    title = ((told.get("groupings") or {}).get(told.get("grouping")) or {}).get("title")
    return f" by {title}" if title else ""


def _c(told: Mapping[str, Any]) -> str:
    return interval(told.get("c"), told.get("lo"), told.get("hi"), 3)


def _harrell(told: Mapping[str, Any]) -> str:
    if not told.get("cox"):                                       # then it is the score's, which has a row of its own
        return NOT_KNOWN
    return interval(told.get("harrell_c"), told.get("harrell_c_lo"), told.get("harrell_c_hi"), 3)
