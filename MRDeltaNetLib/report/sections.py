"""The report's sections of text, in the order of the page."""

from __future__ import annotations

from MRDeltaNetLib.case import AUTOMATIC, Result
from MRDeltaNetLib.coding import MRTRG_WORDS
from MRDeltaNetLib.report.certainty import light_line, range_words
from MRDeltaNetLib.report.tables import class_lines, features_table, measures_table, registration_table
from MRDeltaNetLib.report.words import millimetres, number, sentence, text
from MRDeltaNetLib.response.uncertainty import probability
from MRDeltaNetLib.versions import versions

_STEP_NAMES = {"align": "alignment", "masks": "masks", "predict": "prediction", "explain": "attention maps", "report": "report"}
_CLASSES = {"pCR": "pCR: complete response predicted", "non-pCR": "non-pCR: no complete response predicted"}
_OUTLINED = {"pre": "The tumour before treatment", "post": "The tumour bed after treatment", "residual": "The residual tumour after treatment"}
_SOFTWARE = {"mrdeltanet": "MRDeltaNet", "python": "Python", "SimpleITK": "SimpleITK", "numpy": "numpy", "torch": "torch", "monai": "monai"}


def is_demo(result: Result) -> bool:
    """True if the score comes from the model that ships for demonstration."""
    return bool(result.model and result.model.get("is_demo"))


def heading(result: Result, title: str) -> str:
    """Banner, title, what this is."""
    interval = "" if result.interval_days is None else f" Interval between the scans: {int(result.interval_days)} days."
    banner = "" if not is_demo(result) else (
        '<div class="demo" role="note" aria-label="Demonstration model"><strong>DEMONSTRATION MODEL: trained on made-up data only</strong>'
        "<p>Its weights have never seen a patient. The probability and the maps on this page mean nothing for any patient.</p></div>")
    return (f'{banner}<header><h1>{text(title)}</h1><p class="subtitle">Rectal cancer, MRI before and after neoadjuvant treatment.'
            f'{interval}</p><p class="research">Research use only. Not for diagnosis or treatment decisions.</p></header>')


def headline(result: Result) -> str:
    """The probability with its range and direction, the class at the threshold, the light, and whose opinion it is."""
    if result.p_pcr is None:
        return ('<main><section class="headline" aria-label="Result"><div class="score"><p class="class">No prediction in this run</p>'
                "<p>Only the steps listed under &#8220;Provenance&#8221; were done.</p></div>"
                f"<div>{_response_note(result)}</div></section>")
    shown = probability(result.p_pcr, result.threshold)
    demo = " (demonstration model: without meaning for a patient)" if is_demo(result) else ""
    return (f'<main><section class="headline" aria-label="Result"><div class="score"><p>Probability of pathological complete response, '
            f'P(pCR){demo}</p><p class="value">{shown} <span class="range">({range_words(result)})</span></p>{_gauge(result)}{_class_line(result)}'
            f"{light_line(result)}"
            '<p>Direction: 1 means that complete response is certain, 0 that it is excluded.</p></div>'
            f'<div>{_model_facts(result, ("intended_use", "trained_on", "held_out_auc"))}{_response_note(result)}</div></section>')


def _gauge(result: Result) -> str:
    percent = 100 * min(max(result.p_pcr or 0.0, 0.0), 1.0)
    mark = "" if result.threshold is None else f'<div class="mark" style="left:{100 * result.threshold:.1f}%"></div>'
    low, high = result.p_pcr_low, result.p_pcr_high
    band = "" if low is None or high is None else f'<div class="band" style="left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%"></div>'
    says = f"Scale from 0 to 1: P(pCR) {percent / 100:.2f}, {range_words(result)}" + ("" if result.threshold is None else f", threshold {result.threshold:.2f}")
    return (f'<div class="gauge" role="img" aria-label="{text(says)}"><div class="fill" style="width:{percent:.1f}%"></div>{band}{mark}'
            '<span style="left:0">0: residual tumour</span><span style="right:0">1: complete response</span></div>')


def _class_line(result: Result) -> str:
    if result.predicted_class is None and result.mask_sources.get("post") == "carried":
        return ('<p class="class">No class: nobody drew the tumour bed</p><p>The bed was carried over from the scan before treatment. '
                "Such a bed is too large and can turn the answer round. Draw the bed on the scan after treatment and run again.</p>")
    if result.predicted_class is None or result.threshold is None:
        return "<p>The model has no threshold, so no class is given.</p>"
    relation = "at or above" if result.predicted_class == "pCR" else "below"
    source = (result.model or {}).get("threshold_source")
    where = sentence(f"Threshold from: {source}") if source else "The model does not say where its threshold comes from."
    return (f'<p class="class">{text(_CLASSES.get(result.predicted_class, result.predicted_class))}</p>'
            f"<p>P(pCR) is {relation} the threshold of {result.threshold:.2f} (red mark).{_crossing(result)} {where}</p>")


def _crossing(result: Result) -> str:
    if result.p_pcr_low is None or result.p_pcr_high is None or not result.p_pcr_low < result.threshold <= result.p_pcr_high:
        return ""
    return " <strong>The threshold lies inside the range: the class depends on outline or member.</strong>"


def _response_note(result: Result) -> str:
    notes = []
    if result.measures.get("residual_volume_ml") == 0:
        notes.append("According to the reader no viable tumour is left after treatment (complete response on imaging).")
    if result.mask_sources.get("post") == "carried":
        notes.append("The tumour bed after treatment was carried over from the scan before treatment through the alignment; "
                     "nobody has drawn or checked it on the scan after treatment.")
    notes += [f"{name} was outlined by a program, and no reader has changed it." for key, name in _OUTLINED.items() if result.mask_sources.get(key) == AUTOMATIC]
    return "".join(f'<p class="important">{note}</p>' for note in notes)


def warnings(result: Result) -> str:
    """Every notice with what to do about it."""
    if not result.warnings:
        return "<section><h2>Warnings</h2><p>None.</p></section>"
    items = "".join(f'<li>{sentence(notice.text)}{" <strong>What to do:</strong> " + sentence(notice.fix) if notice.fix else ""} '
                    f'<span class="code">{text(notice.code)}</span></li>' for notice in result.warnings)
    return f'<section><h2>Warnings</h2><ul class="warnings">{items}</ul></section>'


def measures(result: Result) -> str:
    """Sizes before and after."""
    return f"<section><h2>Sizes before and after treatment</h2>{_opinion(result)}{_classes(result)}{measures_table(result)}{features_table(result)}</section>"


def _opinion(result: Result) -> str:
    if result.mrtrg is None:
        return ""
    return (f'<p>mrTRG by the reader: <strong>{result.mrtrg}</strong> of 5 ({MRTRG_WORDS.get(result.mrtrg, "")}). This is the reader&#8217;s opinion, as it was given; '
            "nothing here computes it, and agreement of mrTRG with pathology is only fair.</p>")


def _classes(result: Result) -> str:
    lines = "".join(f"<li>{sentence(line)}</li>" for line in class_lines(result.response))
    if not lines:
        return ""
    return (f"<ul>{lines}</ul><p>The thresholds of the diameter are those of RECIST 1.1, those of the volume what they make of a ball. They are applied to one lesion: "
            f"this is no response category of the patient. {sentence(result.response.get('nadir', ''))}</p>")


def registration(result: Result) -> str:
    """How well the scans were brought together."""
    return f"<section><h2>Alignment</h2>{registration_table(result.registration)}</section>"


_MODEL_FACTS = {"name": "Model", "version": "Version", "members": "Networks that answer together", "members_used": "Asked in this run", "intended_use": "Intended use", "trained_on": "Trained on",
                "held_out_auc": "AUC on held-out data"}


def _model_facts(result: Result, keys: tuple[str, ...]) -> str:
    model = result.model or {}
    rows = []
    for key in keys:
        value = model.get(key)
        if key == "held_out_auc":
            value = _auc(result)
        if key == "members_used" and value:
            value = "the first network alone; recalibration, threshold and AUC are those of all together"
        if value not in (None, ""):
            rows.append(f"<dt>{_MODEL_FACTS[key]}</dt><dd>{text(value)}</dd>")
    return f'<dl class="facts">{"".join(rows)}</dl>' if rows else ""


def _auc(result: Result) -> str | None:
    model = result.model or {}
    if model.get("held_out_auc") is None:
        return None
    shown = number(model["held_out_auc"], 2)
    interval = model.get("held_out_auc_ci")
    if isinstance(interval, (list, tuple)) and len(interval) == 2:
        shown += f" (95 % interval {number(interval[0], 2)} to {number(interval[1], 2)})"
    if model.get("held_out_on"):
        shown += f" on {model['held_out_on']}"
    return shown + (". All of it is made-up data: no evidence for patients" if is_demo(result) else "")


def model(result: Result) -> str:
    """Which model, what it is for, what it was trained on, how good it was there; its card for those who want all."""
    if result.model is None:
        return "<section><h2>Model</h2><p>No model took part in this run.</p></section>"
    card = result.model.get("card")
    whole = f"<details><summary>The whole model card</summary><pre>{text(card)}</pre></details>" if card else ""
    return f"<section><h2>Model</h2>{_model_facts(result, tuple(_MODEL_FACTS))}{whole}</section>"


_MAP_NAMES = {"attention_post": "Attention, after treatment", "attention_pre": "Attention, before treatment",
              "change_post": "Change map, after treatment"}


def methods(result: Result) -> str:
    """What the maps are, in formula and true resolution, and how the pictures were made."""
    maps = "".join(_map_line(_MAP_NAMES.get(name) or _label(name, facts), facts) for name, facts in result.map_facts.items())
    table = "" if not maps else ('<table><thead><tr><th scope="col">Map</th><th scope="col">Formula</th><th scope="col">True resolution</th>'
                                 f'<th scope="col">Depends on image content</th></tr></thead><tbody>{maps}</tbody></table>')
    about_maps = "" if not maps else (
        "<p>A map is calculated on the network&#8217;s own coarse grid and interpolated linearly onto the scan: detail finer than its "
        "true resolution is not real. A map shows what weighed in the score, not where tumour is.</p>")
    return (f"<section><h2>Methods</h2>{table}{about_maps}<p>Grey values: each scan is shown in its own window, from the 0.5th to the "
            "99.5th percentile of the intensities inside the body, so brightness must not be compared between the two scans. Pictures "
            "lie in the patient&#8217;s axial, coronal and sagittal planes; scans taken obliquely are interpolated into them. Diameters "
            "and volumes come from the masks, not from the pictures.</p></section>")


def _label(name: str, facts) -> str:
    when = {"pre": ", before treatment", "post": ", after treatment"}.get(name.rsplit("_", 1)[-1], "")
    return f"{facts['label']}{when}" if facts.get("label") else name


def _map_line(name: str, facts) -> str:
    sees = facts.get("sees_image_content")
    says = "yes" if sees else "not stated" if sees is None else "<strong>no: position only</strong>"
    resolution, note = facts.get("resolution_mm"), facts.get("resolution_note")
    stated = "not stated" if resolution is None else text(millimetres(resolution)) + (f"; {text(note)}" if note else "")
    return (f'<tr><th scope="row">{text(name)}</th><td>{text(facts.get("formula", "not stated"))}</td>'
            f'<td>{stated}</td><td>{says}</td></tr>')


def provenance(result: Result) -> str:
    """What ran, short; result.json and manifest.json beside the report have it all."""
    facts = [("Steps", ", ".join(_STEP_NAMES.get(str(step.get("step")), str(step.get("step"))) for step in result.history) or "not stated"),
             ("Software", _software())]
    if result.model:
        facts += [("Model", f'{result.model.get("name", "unnamed")} {result.model.get("version", "")}'.strip()),
                  ("SHA-256 of the weights", result.model.get("weights_sha256") or "not stated")]
    rows = "".join(f"<dt>{text(key)}</dt><dd>{text(value)}</dd>" for key, value in facts)
    return (f'<section><h2>Provenance</h2><dl class="facts">{rows}</dl><p>Every parameter, input and output with its SHA-256 is in '
            "manifest.json beside this report.</p></section></main><footer>Research use only. Not a medical device; not for diagnosis or "
            "treatment decisions. This page holds no name, identifier or date of the patient.</footer>")


def _software() -> str:
    found = versions()
    return ", ".join(f"{name} {found[package]}" for package, name in _SOFTWARE.items() if found[package])
