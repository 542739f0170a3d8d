"""What each segment is, the way Slicer keeps it: the codes of MRDeltaNetLib.coding as a TerminologyEntry, and a colour."""

from __future__ import annotations

from dataclasses import dataclass

from MRDeltaNetLib.coding import ALTERED_STRUCTURE, LESION, OUTLINE_CODES, PRIMARY_NEOPLASM, RECTUM, Code
from MRDeltaNetLib.colours import OUTLINES

__all__ = ["ALTERED_STRUCTURE", "LESION", "PRIMARY_NEOPLASM", "RECTUM", "SEGMENTS", "Code", "SegmentKind"]

TYPE_CONTEXT = "Segmentation category and type - DICOM master list"
REGION_CONTEXT = "Anatomic codes - DICOM master list"
_NONE = "^^"


@dataclass(frozen=True)
class SegmentKind:
    """A segment: its id and name, what it is, its colour (0 to 1)."""

    segment_id: str
    name: str
    type: Code
    rgb: tuple[float, float, float]

    @property
    def terminology(self) -> str:
        """Slicer's TerminologyEntry: context ~ category ~ type ~ modifier ~ region context ~ region ~ region modifier."""
        return "~".join([TYPE_CONTEXT, str(ALTERED_STRUCTURE), str(self.type), _NONE, REGION_CONTEXT, str(RECTUM), _NONE])


SEGMENTS = {key: SegmentKind(key, code.name, code.type, tuple(round(value / 255, 4) for value in OUTLINES[key].rgb))
            for key, code in OUTLINE_CODES.items()}
"""Keyed like Result.images."""
