"""What belongs to a pair of scans stays with that pair, whatever is chosen."""

from __future__ import annotations

from typing import Any

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.mrml import outlines
from MRDeltaNetLib.mrml.kept import Kept
from MRDeltaNetLib.mrml.sitting import inputs as given
from MRDeltaNetLib.mrml.sitting import results

OF_A_PAIR = ("alignment", "alignment_result", "result", "measures", "report")
"""Choices that belong to one pair of scans."""


def settle(choices: Any, kept: Kept) -> None:
    """Outlines, alignment and results go with their scans when others are chosen, outlines come back with them; an outline that was
    carried over or drawn by a program and is drawn on since loses the word "suggestion" in its name."""
    for name in OF_A_PAIR:
        node = getattr(choices, name)
        if node is not None and not results.of_this_pair(node, choices):
            setattr(choices, name, None)
    if choices.alignment is None and (found := given.own_transform(choices)) is not None and results.of_this_pair(found, choices):
        choices.alignment = found                        # the scans were chosen again
    for role in ("pre", "post"):
        volume_name, segmentation_name, _segment_id = given.OUTLINES[role]
        volume = getattr(choices, volume_name)
        own = None if volume is None else outlines.find_segmentation(volume, role)
        if getattr(choices, segmentation_name) is not own:
            setattr(choices, segmentation_name, own)
    for segmentation in (choices.pre_segmentation, choices.post_segmentation):
        if segmentation is not None:
            try:
                outlines.settle(segmentation, kept)
            except InputError:                           # a segment that cannot be read is told by the outlines' own check
                pass
