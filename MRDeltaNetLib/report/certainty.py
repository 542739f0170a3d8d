"""How far to trust the number: the range of P(pCR), its sources, and how like the training cases the case is."""

from __future__ import annotations

import re
from typing import Any, Mapping

from MRDeltaNetLib.case import Result
from MRDeltaNetLib.report.words import number, sentence, text
from MRDeltaNetLib.response.uncertainty import probability, varied

_OUTLINES = {"both_larger": "Both outlines {} mm larger", "both_smaller": "Both outlines {} mm smaller",
             "bed_left": "Tumour bed {} mm to the patient's left", "bed_right": "Tumour bed {} mm to the patient's right",
             "bed_posterior": "Tumour bed {} mm to the back", "bed_anterior": "Tumour bed {} mm to the front"}
_PARTS = {"header": "Header (scanner, sequence, voxel size, interval)", "intensity": "Brightness of the T2 crops", "embedding": "What the network sees"}
_LIGHTS = {"green": "Green: like the training cases", "amber": "Amber: at the edge of the training cases", "red": "Red: unlike the training cases"}
_NOT_KNOWN = "Not known whether the case is like the training cases"


def range_words(result: Result) -> str:
    """What stands in brackets behind P(pCR), as "0.48 to 0.71 over outlines and members"."""
    if result.p_pcr_low is None or result.p_pcr_high is None:
        return "range not known"
    low, high = (probability(value, result.threshold) for value in (result.p_pcr_low, result.p_pcr_high))
    return f"{low} to {high} over {varied(result.spread)}"


def light_line(result: Result) -> str:
    """The light in words, with a lamp for the eye, and its reasons."""
    known = result.familiarity or {}
    light = str(known.get("light", "not known"))
    shown = light if light in _LIGHTS else "unknown"
    reasons = "; ".join(str(reason) for reason in known.get("reasons", ()))
    return (f'<p class="light"><span class="lamp {shown}" aria-hidden="true"></span><span><strong>{_LIGHTS.get(light, _NOT_KNOWN)}.</strong> '
            f"{sentence(reasons[:1].upper() + reasons[1:])}</span></p>")


def certainty(result: Result) -> str:
    """The section: every answer of the range, and every part of the light."""
    if result.p_pcr is None:
        return ""
    return (f"<section><h2>How far to trust the number</h2>{_range_table(result)}{_light_table(result.familiarity or {})}</section>")


def _range_table(result: Result) -> str:
    if result.p_pcr_low is None:
        return "<p>The range of P(pCR) is not known.</p>"
    spread, members = result.spread, result.spread.get("member_p_pcr", ())
    answers = [("Outlines as given", result.p_pcr)]
    answers += [(_outline(name), value) for name, value in spread.get("outline_p_pcr", {}).items()]
    answers += [(f"Outlines as given, member {k} of {len(members)} alone", value) for k, value in enumerate(members, 1)]
    rows = [_answer(label, value, result) for label, value in answers]
    rows += [f'<tr><th scope="row">{text(_outline(name))}</th><td class="n" colspan="2">left out: {text(why)}</td></tr>'
             for name, why in spread.get("outlines_left_out", {}).items()]
    sd = spread.get("member_sd")
    deviation = "" if sd is None else f" The members' standard deviation is {number(sd, 3)}."
    single = _single(result) if spread.get("members", 1) == 1 else ""
    return (f"<p>P(pCR) as the same model would have given it with slightly other outlines. It is a range of answers, not a confidence "
            f"interval: it does not say how often the model is right.{single}{deviation}</p>"
            '<table class="narrow"><thead><tr><th scope="col">Asked with</th><th scope="col" class="n">P(pCR)</th><th scope="col" class="n">Class</th></tr>'
            f'</thead><tbody>{"".join(rows)}</tbody></table>')


def _outline(name: str) -> str:
    """An outline's name, such as "bed_left_3.5mm", in words."""
    found = re.fullmatch(r"([a-z_]+)_([0-9.]+)mm", name)
    return _OUTLINES[found[1]].format(found[2]) if found and found[1] in _OUTLINES else name


def _single(result: Result) -> str:
    """What one network's range does not tell."""
    if (result.model or {}).get("members_used"):
        return (f" The first of the model's {int(result.model['members'])} members answered alone, as the run was told: the range knows one member only, "
                "and nothing is said about another training.")
    return " This model is one network, so nothing is said about another training."


def _answer(label: str, value: float, result: Result) -> str:
    """One line; a class stands there only if the run gives one."""
    group = "" if result.predicted_class is None or result.threshold is None else "pCR" if value >= result.threshold else "non-pCR"
    return f'<tr><th scope="row">{text(label)}</th><td class="n">{probability(value, result.threshold)}</td><td class="n">{group}</td></tr>'


def _light_table(known: Mapping[str, Any]) -> str:
    if not known.get("parts"):
        return (f"<p><strong>{_NOT_KNOWN}:</strong> {sentence('; '.join(map(str, known.get('reasons', ()))) or 'the run did not look')} "
                "Not known is not green.</p>")
    rows = "".join(f'<tr><th scope="row">{text(_PARTS.get(part["name"], part["name"]))}</th><td class="word">{text(str(part["light"]).capitalize())}</td>'
                   f'<td>{text("; ".join(part["reasons"]) or "within the training range")}</td></tr>' for part in known["parts"])
    return (f"<p>Compared with the {int(known['training_cases'])} cases that the model was trained on. Green does not say that the number is "
            "right, only that nothing measured here sets the case apart.</p>"
            '<table><thead><tr><th scope="col">Compared</th><th scope="col">Light</th><th scope="col">Why</th></tr></thead>'
            f"<tbody>{rows}</tbody></table>")
