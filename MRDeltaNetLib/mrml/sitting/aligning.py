"""An alignment of a sitting shown for judging, and taken away."""

from __future__ import annotations

from typing import Any

from MRDeltaNetLib.mrml import alignment, comparing


def forget_alignment(choices: Any) -> None:
    """Take the scan after treatment and all that lies on it out of the transform, and remove the transform."""
    if choices.alignment is not None:
        alignment.remove_alignment(choices.alignment)
        choices.alignment = None
    if choices.alignment_result is not None:
        choices.alignment_result.GetScene().RemoveNode(choices.alignment_result)
        choices.alignment_result = None


def squares(choices: Any) -> Any:
    """A volume of squares of both scans in turns, for judging the alignment."""
    return comparing.checkerboard(choices.pre_volume, choices.post_volume, alignment.transform_from_node(choices.alignment, choices.post_volume))
