"""What belongs to a pair of scans stays with that pair, whatever is chosen."""

from __future__ import annotations

from typing import Any

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.mrml import outlines
from MRDeltaNetLib.mrml.kept import Kept
from MRDeltaNetLib.mrml.nodes import REFERENCE
from MRDeltaNetLib.mrml.sitting import aligning, results
from MRDeltaNetLib.mrml.sitting import inputs as given

OF_A_PAIR = ("alignment", *results.FOUND_AS)
"""Choices that belong to one pair of scans."""

OF_A_SCAN = {"point": "post_volume", "answer": "pre_volume"}
"""Choices that lie on one scan -> the choice that holds it."""

STATED = {"complete_response": False, "mrtrg": None}
"""What a reader said of a pair -> what it is while nobody said anything."""


def settle(choices: Any, kept: Kept) -> None:
    """Outlines, alignment and results go with their scans when others are chosen, and come back with them; an outline that was carried over or drawn
    by a program and is drawn on since loses the word "suggestion" in its name."""
    for name in OF_A_PAIR:
        node = getattr(choices, name)
        if node is None or not results.of_this_pair(node, choices):
            _set(choices, name, _alignment(choices) if name == "alignment" else results.find(choices, name))
    for name, volume_name in OF_A_SCAN.items():
        node = getattr(choices, name)
        if node is not None and node.GetNodeReference(f"{REFERENCE}scan") is not getattr(choices, volume_name):
            setattr(choices, name, None)
    for role in ("pre", "post"):
        volume_name, segmentation_name, _segment_id = given.OUTLINES[role]
        volume = getattr(choices, volume_name)
        _set(choices, segmentation_name, None if volume is None else outlines.find_segmentation(volume, role))
    for segmentation in (choices.pre_segmentation, choices.post_segmentation):
        if segmentation is not None:
            try:
                outlines.settle(segmentation, kept)
            except InputError:                           # a segment that cannot be read is told by the outlines' own check
                pass


def swap(choices: Any) -> None:
    """Exchange the scans: an alignment the other way round is none, an outline before treatment is none of the bed after it, and what was said of one
    pair was not said of the other. Outlines stay in the scene and are there again when the scans are exchanged back."""
    aligning.forget_alignment(choices)
    choices.pre_volume, choices.post_volume = choices.post_volume, choices.pre_volume
    choices.pre_segmentation = choices.post_segmentation = None
    forget_statements(choices)


def forget_statements(choices: Any) -> None:
    """A reader's complete response and grade were said of the scans that were chosen then: other scans begin without."""
    for name, value in STATED.items():
        if getattr(choices, name) != value:
            setattr(choices, name, value)


def _set(choices: Any, name: str, node: Any) -> None:
    if getattr(choices, name) is not node:
        setattr(choices, name, node)


def _alignment(choices: Any) -> Any:
    """The alignment of the two scans, where they were chosen again."""
    found = given.own_transform_of(choices.post_volume)
    return found if found is not None and results.of_this_pair(found, choices) else None
