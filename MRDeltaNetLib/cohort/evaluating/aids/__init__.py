"""Reporting aids: the items of five guidelines, with what the software and the settings know of each.

guidelines: what is asked; answers: what the software knows.
"""

from __future__ import annotations

import difflib
from typing import Any, Mapping

from MRDeltaNetLib.cohort.evaluating.aids.answers import ANSWERS
from MRDeltaNetLib.cohort.evaluating.aids.guidelines import GUIDELINES, STUDY_KEYS, Item
from MRDeltaNetLib.errors import UsageError
from MRDeltaNetLib.evaluation import Part
from MRDeltaNetLib.io.tables import short


def filled(facts: Mapping[str, Any], sets: Mapping[str, Mapping[str, Part]]) -> dict[str, list[dict[str, str | None]]]:
    """Guideline -> its items in order: "item", "topic", "known" (None where nobody told; the authors have to)."""
    study = facts["settings"]["study"]
    known = {name: answer(facts, sets) for name, answer in ANSWERS.items()}
    return {guideline: [{"item": item.item, "topic": item.topic, "known": _known(guideline, item, study, known)} for item in items]
            for guideline, items in GUIDELINES.items()}


def check_study(study: Mapping[str, str]) -> None:
    """Refuse a key of [study] that answers nothing. raises UsageError MRD-E485"""
    own = {f"{guideline} {item.item}" for guideline, items in GUIDELINES.items() for item in items}
    for key in study:
        if key not in own and key not in STUDY_KEYS:
            near = difflib.get_close_matches(key, [*STUDY_KEYS, *own], 1, 0.5)
            raise UsageError("A key of [study] answers no item of a reporting guideline", code="MRD-E485", found=f"'{short(key)}'",
                             fix=(f"perhaps '{near[0]}' is meant; " if near else "") + f"known are {', '.join(STUDY_KEYS)}, and a guideline with an item, such as \"TRIPOD+AI 5b\"")


def _known(guideline: str, item: Item, study: Mapping[str, str], known: Mapping[str, str | None]) -> str | None:
    """The author's answer first, then what the software knows."""
    told = [study.get(f"{guideline} {item.item}") or study.get(item.study), *(known[name] for name in item.known)]
    return ". ".join(_sentence(text) for text in told if text) or None


def _sentence(text: str) -> str:
    text = text.strip().rstrip(".")
    return text[:1].upper() + text[1:]
