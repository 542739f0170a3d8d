"""What results say to a person, in the words that every door uses: rows of numbers, sentences, remarks. Plain text: a door escapes and dresses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterable, Mapping

from MRDeltaNetLib.coding import MRTRG_WORDS
from MRDeltaNetLib.response.uncertainty import probability
from MRDeltaNetLib.workflow.texts import Translate, _, say

ALIGNMENT_FIGURES = (("mutual_information_before_nats", _("Mutual information before (nats)"), "{:.2f}"),
                     ("mutual_information_after_nats", _("Mutual information after (nats)"), "{:.2f}"),
                     ("overlap_fraction", _("Overlap of the fields of view"), "{:.0%}"), ("rotation_deg", _("Rotation (degrees)"), "{:.1f}"),
                     ("translation_mm", _("Translation (mm)"), "{:.1f}"))
"""Numbers of result.json's "registration" that are shown, their names and formats."""

SIZES = (("volume_ml", _("Volume (mL)"), "{:.1f}"), ("longest_in_plane_diameter_mm", _("Longest in plane (mm)"), "{:.0f}"),
         ("longest_3d_diameter_mm", _("Longest in 3-D (mm)"), "{:.0f}"), ("short_axis_mm", _("Short axis (mm)"), "{:.0f}"))
"""Measures that are shown in short: name in result.json without its visit, its name and format."""

COLUMNS = (("pre", _("Before")), ("post", _("After (bed)")), ("residual", _("Residual")))
CHANGE = _("Change")

REGISTRATIONS = {"rigid": _("Rigid (recommended)"), "affine": _("Affine"), "deformable": _("Rigid, and bent for looking"),
                 "none": _("None: they lie on each other already")}
"""config.REGISTRATION_METHODS as people choose them."""

SCANS = {"pre": _("Before treatment"), "post": _("After treatment")}
OUTLINES = {"pre": _("Tumour before treatment"), "post": _("Tumour bed after treatment"), "residual": _("Viable tumour after treatment")}
COMPLETE_RESPONSE = _("I see no viable tumour after treatment")
RESIDUAL_IS_DRAWN = _("Residual tumour is outlined: clear that outline first")
MRTRG = _("mrTRG, the reader's opinion")
NOT_GIVEN = _("Not given")

REFUSED, MIND = _("Refused"), _("Please note")
OUT_OF_DATE = _("Out of date: something was changed since. Run again.")
DEMO_MODEL = _("DEMO WEIGHTS: trained on simulated pelvises only. On a patient this number means nothing.")
DEMO_NUMBER = _("DEMO WEIGHTS: on a patient this number means nothing.")
NO_CLASS = _("No class is given: see the remarks.")
CLASS = _("Class at the threshold {threshold:.2f}: {name}")
FAMILIAR = _("Like the training cases: {light}")
SPAN = _("{low} to {high}")
COMPARED = _("Compared most with a place {distance:.0f} mm away on the scan before treatment, with a spread of {spread:.0f} mm (root mean square).")


@dataclass(frozen=True)
class Remark:
    """A warning or a refusal, sentences without markup. found is empty for warnings."""

    text: str
    found: str
    fix: str
    code: str


@dataclass(frozen=True)
class Answer:
    """A prediction in words.

    number   P(pCR); span its range
    lines    class, the light and its reasons
    remarks  the run's warnings
    """

    number: str
    span: str
    lines: tuple[str, ...]
    remarks: tuple[Remark, ...]


def grade(value: int | None, translate: Translate = str) -> str:
    """A regression grade as its reader chooses it, with what it means. value: 1 to 5; None or 0 for none"""
    return f"{value}: {translate(MRTRG_WORDS[value])}" if value else translate(NOT_GIVEN)


def sentence(text: str) -> str:
    """With a capital letter at the start and a full stop at the end; nothing for nothing."""
    return text[:1].upper() + text[1:].rstrip(".") + "." if text else ""


def remarks(found: Iterable[Any]) -> tuple[Remark, ...]:
    """Errors, notices, or warnings as result.json holds them, in words."""
    return tuple(_remark(each) for each in found)


def alignment_rows(facts: Mapping[str, Any], translate: Translate = str) -> list[tuple[str, str]]:
    """The alignment in numbers, those that are known. facts: result.json of the run that made it"""
    known = facts["registration"]
    return [(translate(name), form.format(known[key])) for key, name, form in ALIGNMENT_FIGURES if known.get(key) is not None]


def size_rows(sizes: Mapping[str, Any], translate: Translate = str) -> list[tuple[str, ...]]:
    """Sizes before and after and their change, those that are known, under a row of titles; nothing without any. sizes: "measures" of result.json"""
    shown = [(role, translate(title)) for role, title in COLUMNS if sizes.get(f"{role}_volume_ml") is not None]
    if not shown:
        return []
    rows = [("", *(title for _role, title in shown), translate(CHANGE))]
    for name, title, form in SIZES:
        change = sizes.get(f"{name.removesuffix('_ml').removesuffix('_mm')}_change_percent")
        known = [sizes.get(f"{role}_{name}") for role, _title in shown]
        rows.append((translate(title), *("" if value is None else form.format(value) for value in known), "" if change is None else f"{change:+.0f} %"))
    return rows


def prediction(facts: Mapping[str, Any], translate: Translate = str) -> Answer:
    """A prediction in words. facts: result.json with a prediction"""
    number, low, high = (probability(facts[name], facts["threshold"]) for name in ("p_pcr", "p_pcr_low", "p_pcr_high"))
    named = facts["predicted_class"]
    light = facts["familiarity"]
    lines = [translate(NO_CLASS) if named is None else say(CLASS, threshold=facts["threshold"], name=named).shown(translate),
             say(FAMILIAR, light=light["light"]).shown(translate), *(sentence(reason) for reason in light["reasons"])]
    return Answer(number, say(SPAN, low=low, high=high).shown(translate), tuple(lines), remarks(facts["warnings"]))


def compared(found: Any, translate: Translate = str) -> tuple[str, ...]:
    """Where the network looked, in words. found: response.correspondence.Answer"""
    lines = (say(COMPARED, distance=found.displacement_mm, spread=found.spread_mm).shown(translate),)
    return (*lines, sentence(found.note)) if found.note else lines


def _remark(found: Any) -> Remark:
    if isinstance(found, Mapping):                       # as result.json holds it
        return Remark(sentence(found["text"]), "", sentence(found.get("fix", "")), found["code"])
    what = getattr(found, "what", None)
    return Remark(sentence(found.text if what is None else what), sentence(getattr(found, "found", "") or ""), sentence(found.fix or ""), found.code)
