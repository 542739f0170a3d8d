"""Reporting guidelines as checklists: what the software knows stands there, what it cannot know is blank in words."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from MRDeltaNetLib.evaluation import Evaluation
from MRDeltaNetLib.report.words import sentence, text

BLANK = "not known to the software: to be written by the authors"


def aids(evaluation: Evaluation) -> str:
    """One table a guideline, each on a page of its own in print."""
    made = "".join(_guideline(name, items) for name, items in evaluation.aids.items())
    if not made:
        made = "<p>No guideline was filled in.</p>"
    return ('<section id="aids"><h2>Reporting guidelines</h2><p>Filled in from what the software knows; the rest is for the authors. A filled-in line is a draft to be '
            f"checked and no statement that the item is met.</p>{made}</section>")


def _guideline(name: str, items: Sequence[Mapping[str, Any]]) -> str:
    known = sum(bool(item["known"]) for item in items)
    rows = "".join(f'<tr><th scope="row">{text(item["item"])}</th><td>{text(item["topic"])}</td>{_answer(item["known"])}</tr>' for item in items)
    return (f'<div class="guideline"><h3>{text(name)}</h3><p>{known} of {len(items)} lines are filled in.</p><table class="aid"><thead><tr><th scope="col">Item</th>'
            f'<th scope="col">Topic</th><th scope="col">What the software knows</th></tr></thead><tbody>{rows}</tbody></table></div>')


def _answer(known: str | None) -> str:
    return f"<td>{sentence(known)}</td>" if known else f'<td class="blank">{BLANK}</td>'
