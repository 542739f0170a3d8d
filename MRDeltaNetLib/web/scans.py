"""Scans of the page: which DICOM file knows more of which volume, and what an upload becomes."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

from MRDeltaNetLib.case import Timepoint
from MRDeltaNetLib.io.gate.headers import is_dicom
from MRDeltaNetLib.io.images import read_image
from MRDeltaNetLib.io.uploads import Incoming
from MRDeltaNetLib.workflow.telling import SCANS as NAMES

__all__ = ["NAMES", "Headers", "receive"]


class Headers:
    """Which DICOM file belongs to which volume node."""

    def __init__(self) -> None:
        self._paths: dict[str, Path] = {}

    def header_of(self, volume: Any) -> Path | None:
        """One DICOM file of the volume's series, None if it came from another format."""
        return self._paths.get(volume.GetID())

    def note(self, volume: Any, path: Path) -> None:
        """Say which DICOM file knows more of a volume."""
        self._paths[volume.GetID()] = path

    def forget(self, volume: Any) -> Path | None:
        """The volume leaves; returns its DICOM file, which nobody needs any more."""
        return self._paths.pop(volume.GetID(), None)


async def receive(incoming: Incoming, folder: Path, role: str) -> tuple[Timepoint, Path | None]:
    """Check, store and read an upload, none of it on the event loop; of its files one DICOM file stays, beside the folder.

    folder   of Sitting.fresh_folder
    role     "pre" or "post"
    returns  the scan, and the DICOM file or None
    raises   what io.uploads.store and io.images.read_image raise
    """
    return await asyncio.to_thread(_received, incoming, folder, role)


def _received(incoming: Incoming, folder: Path, role: str) -> tuple[Timepoint, Path | None]:
    try:
        path = incoming.store(folder)
        scan = read_image(path, role=role)
        first = path if path.is_file() else min(each for each in path.rglob("*") if each.is_file())
        if not is_dicom(first):
            return scan, None
        header = folder.with_suffix(".dcm")
        shutil.copyfile(first, header)
        return scan, header
    finally:
        shutil.rmtree(folder, ignore_errors=True)
