"""Scans of the page: which DICOM file knows more of which volume, and what an upload becomes."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MRDeltaNetLib.case import Timepoint
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.dicom import SeriesFacts, first_file, list_series
from MRDeltaNetLib.io.gate.headers import is_dicom
from MRDeltaNetLib.io.images import read_image
from MRDeltaNetLib.io.uploads import Incoming
from MRDeltaNetLib.workflow.telling import SCANS as NAMES

__all__ = ["NAMES", "Headers", "Stored", "receive", "take"]


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


@dataclass(frozen=True)
class Stored:
    """What came in with an upload, on disk until it is read.

    folder  of Sitting.fresh_folder
    path    a file, or the folder of the DICOM files
    series  the DICOM series among them, largest first; empty for other formats
    """

    folder: Path
    path: Path
    series: tuple[SeriesFacts, ...] = ()

    def remove(self) -> None:
        """Take it from the disk."""
        shutil.rmtree(self.folder, ignore_errors=True)


async def receive(incoming: Incoming, folder: Path) -> Stored:
    """Check and store an upload, off the event loop.

    folder  of Sitting.fresh_folder
    raises  what io.uploads.store raises; nothing stays then
    """
    return await asyncio.to_thread(_stored, incoming, folder)


async def take(stored: Stored, role: str, number: int | None = None) -> tuple[Timepoint, Path | None]:
    """Read what came in, off the event loop; of its files one DICOM file stays, beside the folder.

    role     "pre" or "post"
    number   of the series that is meant, from 0; None: the only one
    returns  the scan, and the DICOM file or None
    raises   what io.images.read_image raises; the files are gone then, unless a series was chosen
    """
    return await asyncio.to_thread(_taken, stored, role, None if number is None else stored.series[number].uid)


def _stored(incoming: Incoming, folder: Path) -> Stored:
    try:
        path = incoming.store(folder)
        return Stored(folder, path, _series_of(path))
    except Exception:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _series_of(path: Path) -> tuple[SeriesFacts, ...]:
    try:
        return tuple(list_series(path)) if path.is_dir() or is_dicom(path) else ()
    except InputError:                                   # is told with the scan's name when it is read
        return ()


def _taken(stored: Stored, role: str, series: str | None) -> tuple[Timepoint, Path | None]:
    try:
        scan, header = read_image(stored.path, series=series, role=role), None
        if stored.series:
            header = stored.folder.with_suffix(".dcm")
            shutil.copyfile(first_file(stored.path, series), header)
    except Exception:
        if series is None:
            stored.remove()
        raise
    stored.remove()
    return scan, header
