"""The page of a study: sections in their order, the sets of each side by side."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

from MRDeltaNetLib.evaluation import OF_ALL_SETS, SECTIONS, Evaluation, Omission, Part, Table
from MRDeltaNetLib.report.frame import framed
from MRDeltaNetLib.report.study.aids import aids
from MRDeltaNetLib.report.study.methods import limits, methods, provenance
from MRDeltaNetLib.report.study.numbers import HARD, capital, whole
from MRDeltaNetLib.report.study.summary import answer, summary
from MRDeltaNetLib.report.study.tables import html_table
from MRDeltaNetLib.report.words import sentence, text

_STYLE = Path(__file__).with_name("page.css")
_TITLE = "Evaluation of predicted treatment response"

HEADINGS = {
    "flow": ("Flow of cases", "Who was enrolled, who was left out and why, and with how many cases each question is answered."),
    "discrimination": ("Discrimination", "Whether cases with pathological complete response (pCR) get higher scores than cases without. AUC 0.5 is chance, "
                                         "1 is perfect."),
    "comparisons": ("Comparison with other scores", "The study&#8217;s model against every other score on the same cases."),
    "calibration": ("Calibration", "Whether the probabilities come true: of cases given 0.3, three in ten should have pCR."),
    "decision_curve": ("Usefulness", "Net benefit: right calls of pCR, less wrong ones at the exchange rate that the threshold probability implies."),
    "heterogeneity": ("Heterogeneity", "Whether the score works alike in centres and groups of patients."),
    "logistic": ("Logistic regression", "Which values go with pCR, each alone and all together."),
    "fusion": ("Score with clinical values", "Whether score and clinical values together tell more than the score alone."),
    "table_one": ("Table 1", "What the cases are like."),
    "survival": ("Prognosis", "Follow-up by predicted and by true response."),
    "overview": ("Clinicopathological overview", "Every case, sorted by the score."),
}
"""Section -> heading and what it answers."""


@dataclass(frozen=True)
class Picture:
    """One drawn figure: SVG in base64, what it says in words, width and height in mm."""

    svg: str
    said: str
    width_mm: float
    height_mm: float


def page(evaluation: Evaluation, pictures: Mapping[tuple[str, str], Picture], failed: Sequence[tuple[str, Omission]] = ()) -> str:
    """The whole page as HTML text.

    pictures  (set, name of the figure) -> picture
    failed    figures that could not be drawn, with their set
    """
    tables, figures = count(1), count(1)
    present = [section for section in SECTIONS if any(section in parts for parts in evaluation.sets.values())]
    flow = _section("flow", evaluation, pictures, failed, tables, figures) if "flow" in present else ""
    head = [_heading(evaluation), _contents(present), flow, summary(evaluation, next(tables)), limits(evaluation)]
    told = [_section(name, evaluation, pictures, failed, tables, figures) for name in present if name != "flow"]
    body = "\n".join([*head, *told, methods(evaluation), aids(evaluation), provenance(evaluation), _FOOTER])
    return framed(body, _STYLE, title=_title(evaluation), print_footer="Research use only. Not for diagnosis or treatment decisions.")


_FOOTER = ('</main><footer>Research use only. Not a medical device; not for diagnosis or treatment decisions. Every number stands with all its digits in '
           "evaluation.json, every table in tables/ as CSV, every figure in figures/ as PNG (300 dpi) and SVG.</footer>")


def _title(evaluation: Evaluation) -> str:
    return str(evaluation.facts.get("title") or _TITLE)


def _heading(evaluation: Evaluation) -> str:
    sets = ", ".join(f"{name}{_cases(evaluation, name)}" for name in evaluation.sets)
    demo = "" if not evaluation.facts.get("simulated") else ('<div class="demo" role="note" aria-label="Simulated data"><strong>SIMULATED DATA</strong>'
                                                             "<p>These cases are made up. Nothing on this page is evidence about patients.</p></div>")
    return (f'{demo}<header><h1>{text(_title(evaluation))}</h1><p class="subtitle">{text(sets)}. {answer(evaluation)}</p>'
            '<p class="research">Research use only. Not for diagnosis or treatment decisions.</p></header><main>')


def _cases(evaluation: Evaluation, name: str) -> str:
    counts = (evaluation.facts.get("sets") or {}).get(name) or {}
    return "" if counts.get("n") is None else f" (n{HARD}={HARD}{whole(int(counts['n']))})"


def _contents(present: Sequence[str]) -> str:
    first, rest = ([(name, HEADINGS[name][0]) for name in present if (name == "flow") == wanted] for wanted in (True, False))
    after = [("methods", "Methods"), ("aids", "Reporting guidelines"), ("provenance", "Provenance")]
    anchors = [*first, ("summary", "Summary"), ("limits", "Limits"), *rest, *after]
    items = "".join(f'<li><a href="#{name}">{heading}</a></li>' for name, heading in anchors)
    return f'<nav aria-label="Contents"><ul>{items}</ul></nav>'


def _section(name: str, evaluation: Evaluation, pictures: Mapping[tuple[str, str], Picture], failed: Sequence[tuple[str, Omission]],
             tables: Iterator[int], figures: Iterator[int]) -> str:
    """One section: figures and tables by name, the sets of each side by side, what to bear in mind, what is left out."""
    parts = {set_name: parts[name] for set_name, parts in evaluation.sets.items() if name in parts}
    heading, about = HEADINGS[name]
    shown = [_notes(parts)]
    drawn = list(dict.fromkeys(figure for part in parts.values() for figure in part.figures))
    rows = [_figure(figure, parts, pictures, figures, evaluation) for figure in drawn if any((set_name, figure) in pictures for set_name in parts)]
    if len(evaluation.sets) == 1 and rows:
        rows = ["".join(rows)]                                     # one set alone would leave most of every row empty
    shown += [f'<div class="figures">{row}</div>' for row in rows]
    listed = list(dict.fromkeys(table for part in parts.values() for table in part.tables))
    shown += [html_table(_tables(table, parts), next(tables), f"*_{table}.csv" if len(evaluation.sets) > 1 else f"{next(iter(parts))}_{table}.csv",
                         tuple(_tables(table, parts)) if table.endswith(OF_ALL_SETS) else tuple(evaluation.sets)) for table in listed]
    missing = [(set_name, entry) for set_name, part in parts.items() for entry in part.omissions]
    missing += [(set_name, entry) for set_name, entry in failed if entry.section == name]
    shown.append(_omissions(missing, len(evaluation.sets)))
    if not any(shown):
        shown = ["<p>Nothing to show.</p>"]
    return f'<section id="{name}"><h2>{heading}</h2><p>{about}</p>{"".join(shown)}</section>'


def _tables(name: str, parts: Mapping[str, Part]) -> dict[str, Table]:
    return {set_name: part.tables[name] for set_name, part in parts.items() if name in part.tables}


def _notes(parts: Mapping[str, Part]) -> str:
    """What has to be read with the numbers; what every set says is said once."""
    said: dict[str, list[str]] = {}
    for set_name, part in parts.items():
        for note in part.notes:
            said.setdefault(note, []).append(set_name)
    by_sets: dict[tuple[str, ...], list[str]] = {}
    for note, sets in said.items():
        by_sets.setdefault(tuple(sets), []).append(note)
    lines = "".join(f"<p>{_whose(sets, len(parts))}{' '.join(map(sentence, by_sets[sets]))}</p>" for sets in sorted(by_sets, key=lambda sets: -len(sets)))
    return f'<div class="remarks">{lines}</div>' if lines else ""


def _whose(sets: Sequence[str], all_sets: int) -> str:
    return "" if len(sets) == all_sets else f"<strong>{text(', '.join(sets))}:</strong> "


def _figure(name: str, parts: Mapping[str, Part], pictures: Mapping[tuple[str, str], Picture], numbers: Iterator[int], evaluation: Evaluation) -> str:
    """One figure of every set that has it, in a row under one number."""
    number, several = next(numbers), len(evaluation.sets) > 1
    sets = [set_name for set_name in parts if (set_name, name) in pictures]
    made = []
    for place, set_name in enumerate(sets):
        picture, title = pictures[set_name, name], parts[set_name].figures[name].title
        letter = chr(ord("a") + place) if len(sets) > 1 else ""
        where = f"Set: {set_name}{_cases(evaluation, set_name)}" if several else ""
        kind = "wide" if picture.width_mm > 100 else "single"
        said = text(". ".join(part for part in (title, where, picture.said) if part))
        made.append(f'<figure class="{kind}" style="--w:{picture.width_mm}mm"><img src="data:image/svg+xml;base64,{picture.svg}" '
                    f'style="aspect-ratio:{picture.width_mm}/{picture.height_mm}" alt="{said}">'
                    f"<figcaption><strong>Figure {number}{letter}.</strong> {sentence(capital(title))} {sentence(where)}</figcaption></figure>")
    return "".join(made)


def _omissions(missing: Sequence[tuple[str, Omission]], all_sets: int) -> str:
    if not missing:
        return ""
    by_what: dict[tuple[str, str, str], list[str]] = {}
    for set_name, entry in missing:
        by_what.setdefault((entry.what, entry.reason, entry.fix), []).append(set_name)
    said: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (what, reason, fix), sets in by_what.items():
        said.setdefault((reason, fix, tuple(sets)), []).append(what)
    items = "".join(f"<li>{_whose(sets, all_sets)}{text(capital('; '.join(whats)))}: {sentence(reason)}{' <em>What to do:</em> ' + sentence(fix) if fix else ''}</li>"
                    for (reason, fix, sets), whats in said.items())
    return f'<div class="omitted"><h3>Not shown here</h3><ul>{items}</ul></div>'
