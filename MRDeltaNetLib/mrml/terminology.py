"""What each segment is, in codes: SNOMED CT as in DICOM's context groups, written the way Slicer keeps it.

Category: CID 7150 of DICOM PS3.16; region: CID 4031. Tumour: the morphology "primary malignant neoplasm", which is the code that
Slicer's own list carries (newer editions of CID 7159 put the disorder 372087000 in its place). Tumour bed: "Lesion" of CID 7159,
because the site may hold tumour, fibrosis or both, and a code for either would claim more than anybody knows.
"""

from __future__ import annotations

from dataclasses import dataclass

from MRDeltaNetLib.colours import OUTLINES

TYPE_CONTEXT = "Segmentation category and type - DICOM master list"
REGION_CONTEXT = "Anatomic codes - DICOM master list"


@dataclass(frozen=True)
class Code:
    """One coded term."""

    value: str
    meaning: str
    scheme: str = "SCT"

    def __str__(self) -> str:
        return f"{self.scheme}^{self.value}^{self.meaning}"


ALTERED_STRUCTURE = Code("49755003", "Morphologically Altered Structure")
PRIMARY_NEOPLASM = Code("86049000", "Neoplasm, Primary")
LESION = Code("52988006", "Lesion")
RECTUM = Code("34402009", "Rectum")
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


def _kind(name: str, title: str, code: Code) -> SegmentKind:
    return SegmentKind(name, title, code, tuple(round(value / 255, 4) for value in OUTLINES[name].rgb))


SEGMENTS = {
    "pre_mask": _kind("pre_mask", "Tumour before treatment", PRIMARY_NEOPLASM),
    "post_mask": _kind("post_mask", "Tumour bed after treatment", LESION),
    "residual_mask": _kind("residual_mask", "Residual viable tumour", PRIMARY_NEOPLASM),
}
"""Keyed like Result.images."""
