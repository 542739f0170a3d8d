"""What a volume node cannot tell about its scan: one file of its DICOM series, where Slicer's DICOM database has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer

INSTANCES = "DICOM.instanceUIDs"
"""The attribute in which Slicer's DICOM reader leaves a volume's instance UIDs, separated by spaces."""


def dicomHeader(volume: Any) -> Path | None:
    """One DICOM file of the volume's series; None if the volume did not come from the DICOM database or its files are gone."""
    uids = (volume.GetAttribute(INSTANCES) or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    if not uids or database is None:
        return None
    name = database.fileForInstance(uids[0])
    return Path(name) if name and Path(name).is_file() else None
