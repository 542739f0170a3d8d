"""Reporting guidelines as checklists: what the software knows stands there, what it cannot know is blank in words."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from MRDeltaNetLib.evaluation import Evaluation
from MRDeltaNetLib.report.words import sentence, text

BLANK = "not known to the software: to be written by the authors"


def aids(evaluation: Evaluation) -> str:
    """One table a guideline, each on a page of its own in print."""
    made = "".join(_guideline(name, aid) for name, aid in evaluation.aids.items())
    if not made:
        made = "<p>No guideline was filled in.</p>"
    return ('<section id="aids"><h2>Reporting guidelines</h2><p>Filled in from what the software knows; the rest is for the authors. A filled-in line is a draft to be '
            f"checked and no statement that the item is met.</p>{made}</section>")


def _guideline(name: str, aid: Any) -> str:
    items: Sequence[Mapping[str, Any]] = aid.get("items", []) if isinstance(aid, Mapping) else aid
    about = aid if isinstance(aid, Mapping) else {}
    known = sum(_known(item) is not None for item in items)
    rows = "".join(f'<tr><th scope="row">{text(item.get("item", ""))}</th><td>{text(item.get("topic", ""))}</td>{_answer(item)}</tr>' for item in items)
    reference = f" {sentence(about['reference'])}" if about.get("reference") else ""
    return (f'<div class="guideline"><h3>{text(name)}</h3><p>{sentence(about["title"]) if about.get("title") else ""}{reference} '
            f'{known} of {len(items)} lines are filled in.</p><table class="aid"><thead><tr><th scope="col">Item</th><th scope="col">Topic</th><th scope="col">What the software '
            f"knows</th></tr></thead><tbody>{rows}</tbody></table></div>")


def _known(item: Mapping[str, Any]) -> str | None:
    found = item.get("answer", item.get("known"))
    return None if found in (None, "") else str(found)


def _answer(item: Mapping[str, Any]) -> str:
    found = _known(item)
    return f'<td class="blank">{BLANK}</td>' if found is None else f"<td>{sentence(found)}</td>"
