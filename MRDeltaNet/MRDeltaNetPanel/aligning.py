"""The logic's part that shows an alignment for judging, and takes it away."""

from __future__ import annotations

from typing import Any

import slicer

from MRDeltaNetLib.mrml import alignment, comparing


class Aligning:
    """Mixed into the logic."""

    def forgetAlignment(self, parameters: Any) -> None:
        """Take the scan after treatment and all that lies on it out of the transform, and remove the transform."""
        if parameters.alignment is not None:
            alignment.remove_alignment(parameters.alignment)
        if parameters.alignmentResult is not None:
            slicer.mrmlScene.RemoveNode(parameters.alignmentResult)

    def squares(self, parameters: Any) -> Any:
        """A volume of squares of both scans in turns, for judging the alignment."""
        return comparing.checkerboard(parameters.preVolume, parameters.postVolume,
                                      alignment.transform_from_node(parameters.alignment, parameters.postVolume))
