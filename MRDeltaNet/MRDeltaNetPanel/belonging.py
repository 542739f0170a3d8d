"""The logic's part that keeps what belongs to a pair of scans with that pair, whatever is chosen."""

from __future__ import annotations

from typing import Any

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.mrml import outlines
from MRDeltaNetPanel import inputs as given
from MRDeltaNetPanel import results

OF_A_PAIR = ("alignment", "alignmentResult", "result", "measures", "report")
"""Parameters that belong to one pair of scans."""


class Belonging:
    """Mixed into the logic; `self.kept` is the logic's."""

    def settleOutlines(self, parameters: Any) -> None:
        """Outlines, alignment and results go with their scans when others are chosen, outlines come back with them; an outline that was
        carried over or drawn by a program and is drawn on since loses the word "suggestion" in its name."""
        for name in OF_A_PAIR:
            node = getattr(parameters, name)
            if node is not None and not results.ofThisPair(node, parameters):
                setattr(parameters, name, None)
        if parameters.alignment is None and (found := given.ownTransform(parameters)) is not None and results.ofThisPair(found, parameters):
            parameters.alignment = found                 # the scans were chosen again
        for role in ("pre", "post"):
            volumeName, segmentationName, _segmentId = given.OUTLINES[role]
            volume = getattr(parameters, volumeName)
            own = None if volume is None else outlines.find_segmentation(volume, role)
            if getattr(parameters, segmentationName) is not own:
                setattr(parameters, segmentationName, own)
        for segmentation in (parameters.preSegmentation, parameters.postSegmentation):
            if segmentation is not None:
                try:
                    outlines.settle(segmentation, self.kept)
                except InputError:                       # a segment that cannot be read is told by the outlines' own check
                    pass
