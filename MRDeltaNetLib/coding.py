"""What each outline is, in codes: SNOMED CT as in DICOM's context groups; and the words of the mrTRG.

Category: CID 7150 of DICOM PS3.16; region: CID 4031. Tumour: the morphology "primary malignant neoplasm", which is the code that
Slicer's own list carries (newer editions of CID 7159 put the disorder 372087000 in its place). Tumour bed: "Lesion" of CID 7159,
because the site may hold tumour, fibrosis or both, and a code for either would claim more than anybody knows.
"""

from __future__ import annotations

from dataclasses import dataclass


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


@dataclass(frozen=True)
class OutlineCode:
    """An outline: its name and the type of what it shows. The category is ALTERED_STRUCTURE and the region RECTUM for all of them."""

    name: str
    type: Code


OUTLINE_CODES = {
    "pre_mask": OutlineCode("Tumour before treatment", PRIMARY_NEOPLASM),
    "post_mask": OutlineCode("Tumour bed after treatment", LESION),
    "residual_mask": OutlineCode("Residual viable tumour", PRIMARY_NEOPLASM),
}
"""Keyed like Result.images."""


def _(text: str) -> str:
    """Marks a text for extraction and leaves it as it is: a door may translate it."""
    return text


MRTRG_WORDS = {1: _("no or a thin scar, no tumour signal"), 2: _("dense fibrosis, no obvious tumour signal"), 3: _("mostly fibrosis, visible tumour signal"),
               4: _("mostly tumour, some fibrosis"), 5: _("no fibrosis, or regrowth")}
"""Grades of the magnetic resonance tumour regression grade (mrTRG) of the TRIGGER trial's protocol, as every door words them."""
