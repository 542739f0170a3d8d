"""What lies in a folder or file: its DICOM series, and which of them is meant."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.dicom.facts import uid_name
from MRDeltaNetLib.io.dicom.header import NAMED_LIKE_DICOM, NOT_DICOM, DicomFile, read_header

OTHER_SERIES = "image of another series"
MAX_LISTED = 12


@dataclass(frozen=True)
class SeriesFacts:
    """One image series of a folder, described without anything that names the patient.

    uid       SeriesInstanceUID as it can be given back to read_series (a stand-in where the stored one is no valid UID)
    modality  "MR", "CT", ...; sequence "T2", "ADC", ... as far as the header tells; None if unknown
    slices    number of slices; files number of files; rows, columns voxels, None if unknown
    """

    uid: str
    modality: str | None
    sequence: str | None
    slices: int
    files: int
    rows: int | None = None
    columns: int | None = None

    def kind(self) -> str:
        """What it is in a few words, without its UID."""
        kind = " ".join(part for part in (self.modality or "unknown modality", self.sequence) if part)
        return f"{self.slices} slice{'' if self.slices == 1 else 's'}, {kind}"

    def text(self) -> str:
        """The series in a few words."""
        return f"{self.kind()}: {self.uid}"


def list_series(folder: Path | str, *, limits: GateLimits = GateLimits()) -> list[SeriesFacts]:
    """The image series in a folder (with its subfolders) or file, largest first.

    raises  InputError MRD-E202 if it cannot be opened, MRD-E203 with too many files
    """
    return _series_of(_images(read_headers(Path(folder), limits)))


def first_file(place: Path | str, series: str | None = None, *, limits: GateLimits = GateLimits()) -> Path:
    """One file of a series: the first by its path, whatever else lies beside it.

    series  SeriesInstanceUID as in SeriesFacts; None: the only one
    raises  as choose_series
    """
    return min(file.path for file in choose_series(read_headers(Path(place), limits), series)[0])


def read_headers(place: Path, limits: GateLimits) -> list[DicomFile]:
    """The header of every file, each read once, in the order of their paths."""
    return [read_header(path, limits) for path in _files(place, limits)]


def choose_series(files: list[DicomFile], series: str | None) -> tuple[list[DicomFile], dict[str, int]]:
    """The files of the series that is meant, and what was skipped: kind -> count.

    raises  InputError: MRD-E201 nothing here is DICOM, MRD-E207 no scan among it, MRD-E205 several series, MRD-E206 not
            this series; or the problem of a damaged file that belongs to the series or may belong to it
    """
    images = _images(files)
    skipped = Counter(file.kind for file in files if file.kind != "image")
    listed = _series_of(images)
    if series is not None:
        wanted = [file for file in images if series.strip() in (file.series_uid, uid_name(file.series_uid))]
        if images and not wanted:
            raise InputError("The series that was asked for is not in this folder", code="MRD-E206",
                             found=_list(listed), fix="choose one of the series listed")
    else:
        wanted = images
        if len(listed) > 1:
            raise InputError(f"The folder holds {len(listed)} image series", code="MRD-E205", found=_list(listed),
                             fix="name one of them: --pre-series UID for the pre-treatment scan, --post-series UID for the "
                                 "post-treatment scan")
    chosen = [file for file in wanted if file.problem is None]
    for file in files:
        if file.problem is not None and (file in wanted or not file.series_uid):
            raise file.problem
    if not chosen:
        _refuse_nothing(skipped)
    if len(images) > len(wanted):
        skipped[OTHER_SERIES] = len(images) - len(wanted)
    return chosen, dict(sorted(skipped.items()))


def _refuse_nothing(skipped: Counter) -> None:
    objects = {kind: count for kind, count in skipped.items() if kind not in (NOT_DICOM, NAMED_LIKE_DICOM)}
    if objects:
        raise InputError("There is no scan here, only other DICOM objects", code="MRD-E207",
                         found=", ".join(f"{count} × {kind}" for kind, count in sorted(objects.items())),
                         fix="give the folder that holds the slices of the MR series")
    raise InputError("There is no DICOM image here", code="MRD-E201", found=f"{skipped[NOT_DICOM] + skipped[NAMED_LIKE_DICOM]} other files",
                     fix="give the folder that holds the slices of the MR series, or a NIfTI, NRRD or MHA file")


def _images(files: list[DicomFile]) -> list[DicomFile]:
    return [file for file in files if file.kind == "image"]


def _series_of(images: list[DicomFile]) -> list[SeriesFacts]:
    by_uid: dict[str, list[DicomFile]] = {}
    for file in images:
        if file.problem is None:
            by_uid.setdefault(file.series_uid, []).append(file)
    found = [SeriesFacts(uid_name(uid), group[0].modality, group[0].sequence, sum(max(1, len(f.frames)) for f in group),
                         len(group), group[0].rows, group[0].columns) for uid, group in by_uid.items()]
    return sorted(found, key=lambda series: (-series.slices, series.uid))


def _list(listed: list[SeriesFacts]) -> str:
    shown = "; ".join(series.text() for series in listed[:MAX_LISTED])
    return shown + (f"; and {len(listed) - MAX_LISTED} more" if len(listed) > MAX_LISTED else "")


def _files(place: Path, limits: GateLimits) -> list[Path]:
    """Every regular file below a folder, or the file itself. Pipes, devices and links to folders are left out."""
    try:
        if not place.is_dir():
            if not place.exists():
                raise InputError("There is no such folder or file", code="MRD-E202", fix="check the path")
            if not place.is_file():
                raise InputError("This is neither a folder nor a file", code="MRD-E202", fix="give a folder of DICOM slices")
            return [place]
        found: list[Path] = []
        for folder, below, names in os.walk(place, onerror=_refuse_unreadable):
            below.sort()
            for name in sorted(names):
                path = Path(folder, name)
                if path.is_file():
                    found.append(path)
                if len(found) > limits.max_files:
                    raise InputError("The folder holds too many files", code="MRD-E203", found=f"more than {limits.max_files}",
                                     fix="give the folder of one series, not of the whole archive")
        return found
    except OSError as cause:
        _refuse_unreadable(cause)


def _refuse_unreadable(cause: OSError) -> None:
    raise InputError("The folder cannot be read", code="MRD-E202", found=type(cause).__name__,
                     fix="check that you may read the folder and everything in it") from cause
