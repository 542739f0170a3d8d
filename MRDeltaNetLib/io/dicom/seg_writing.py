"""Outlines as a DICOM segmentation of the series that they were drawn on.

A DICOM object that belongs to a series holds what identifies the patient: name, identifier, dates, UIDs, all copied from the series.
So nothing in the library writes one by itself; it is asked for, and goes into a folder of its own.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.coding import ALTERED_STRUCTURE, OUTLINE_CODES, RECTUM
from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, require
from MRDeltaNetLib.io.atomic import atomic
from MRDeltaNetLib.io.dicom.acceptance import Volume, accept
from MRDeltaNetLib.io.dicom.header import DicomFile, quiet
from MRDeltaNetLib.io.dicom.listing import choose_series, read_headers
from MRDeltaNetLib.io.gate.grids import corner_difference_mm
from MRDeltaNetLib.versions import versions

MAKER, PROGRAM = "MRDeltaNet", "MRDeltaNet"
DESCRIPTION = "MRDeltaNet outlines; RESEARCH USE ONLY"
CONTENT_LABEL = "RESEARCH_USE"
SERIES_NUMBER = 9001
INSTALL = "pip install 'mrdeltanet[dicom]'"

SAME_PLACE_MM = 0.01
"""A mask whose corner voxels lie nearer than this to the series' is on the series' grid."""

ORIGINS = ("manual", "semiautomatic", "automatic")
"""How an outline came about, in DICOM's words: drawn by a person; computed with a person's help; computed."""

_BLANK = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime")


@dataclass(frozen=True)
class Outline:
    """One outline to be written.

    key        one of coding.OUTLINE_CODES: what it shows
    mask       sitk.Image uint8 {0, 1} on the series' grid; may be empty
    origin     one of ORIGINS
    algorithm  what computed it, and its version; needed unless it is manual
    moved      the algorithm only moved what a person had drawn
    """

    key: str
    mask: sitk.Image
    origin: str
    algorithm: tuple[str, str] | None = None
    moved: bool = False


def tracking_uid(series_uid: str, lesion: int = 1) -> str:
    """The tracking UID of a lesion, from the series before treatment alone: the same in every object about it, whenever it is written.

    A UUID-derived UID (2.25.) of the SHA-256; nothing can be read from it.
    """
    digest = hashlib.sha256(f"mrdeltanet lesion {lesion} of {series_uid}".encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


@dataclass(frozen=True)
class Series:
    """A DICOM series, its header read through the gate.

    uid     Series Instance UID
    sha256  of every file, in the order of its slices, as ScanFacts.file_sha256
    """

    uid: str
    sha256: tuple[str, ...]
    _volume: Volume

    @property
    def grid(self) -> sitk.Image:
        """uint8 zeros on the series' grid, as read_series gives it (LPS, mm)."""
        first = self._volume.slices[0][0]
        grid = sitk.Image((first.columns, first.rows, len(self._volume.slices)), sitk.sitkUInt8)
        grid.SetSpacing(self._volume.spacing_mm.tolist())
        grid.SetOrigin(self._volume.origin_mm.tolist())
        grid.SetDirection(self._volume.direction.ravel().tolist())
        return grid


def open_series(folder: Path | str, *, series: str | None = None, volume_index: int | None = None, limits: GateLimits = GateLimits()) -> Series:
    """A series as read_series reads it, without its voxels. raises InputError as read_series"""
    files, _ = choose_series(read_headers(Path(folder), limits), series)
    volume = accept(files, volume_index, limits)
    return Series(volume.slices[0][0].series_uid, tuple(_sha256(file.path) for file in _files(volume)), volume)


def write_segmentation(path: Path | str, series: Series, outlines: Sequence[Outline], *, tracking: str) -> None:
    """Write a binary SEG with one segment an outline, whole or not at all.

    tracking  tracking UID of the lesion, which all segments get: it links them with those of the other visit
    raises    InputError MRD-E326 if a mask is not on the series' grid; MissingPackage without highdicom; EnvironmentProblem as io/atomic

    Every slice is written, empty ones too, so that a reader that goes by the number of a frame is right as well.
    """
    hd = require("highdicom", "Writing DICOM segmentations", INSTALL)
    seg = require("highdicom.seg", "Writing DICOM segmentations", INSTALL)
    grid = series.grid
    for outline in outlines:
        if not corner_difference_mm(outline.mask, grid) <= SAME_PLACE_MM:
            raise InputError("An outline does not lie on the grid of the DICOM series", code="MRD-E326", found=OUTLINE_CODES[outline.key].name.lower(),
                             fix="name the series that the run read; an outline on another grid is brought over by a run")
    voxels = np.stack([sitk.GetArrayFromImage(outline.mask) > 0 for outline in outlines], axis=-1).astype(np.uint8)
    axes = np.array(grid.GetDirection()).reshape(3, 3) * np.array(grid.GetSpacing())
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes[:, ::-1], grid.GetOrigin()
    first = _files(series._volume)[0]
    volume = hd.Volume(voxels, affine, "PATIENT", frame_of_reference_uid=first.frame_uid, channels={"SegmentNumber": list(range(1, len(outlines) + 1))})
    with quiet():
        written = seg.Segmentation(
            source_images=_headers(series._volume), pixel_array=volume, segmentation_type="BINARY",
            segment_descriptions=[_described(hd, seg, number, outline, tracking) for number, outline in enumerate(outlines, start=1)],
            series_instance_uid=hd.UID(), series_number=SERIES_NUMBER, sop_instance_uid=hd.UID(), instance_number=1, manufacturer=MAKER,
            manufacturer_model_name=PROGRAM, software_versions=versions()["mrdeltanet"], device_serial_number="none", omit_empty_frames=False,
            content_label=CONTENT_LABEL, content_description=DESCRIPTION, series_description=DESCRIPTION)
        with atomic(path) as temporary:
            written.save_as(temporary)


def _described(hd: Any, seg: Any, number: int, outline: Outline, tracking: str) -> Any:
    code = OUTLINE_CODES[outline.key]
    if outline.origin not in ORIGINS or (outline.algorithm is None) != (outline.origin == "manual"):
        raise ValueError("an outline is manual, or names the algorithm that made it")
    concept = lambda c: hd.sr.CodedConcept(c.value, c.scheme, c.meaning)
    return seg.SegmentDescription(
        segment_number=number, segment_label=code.name, segmented_property_category=concept(ALTERED_STRUCTURE), segmented_property_type=concept(code.type),
        algorithm_type=outline.origin.upper(), algorithm_identification=None if outline.algorithm is None else _algorithm(hd, outline),
        tracking_uid=tracking, tracking_id="Rectal lesion 1", anatomic_regions=[concept(RECTUM)])


def _algorithm(hd: Any, outline: Outline) -> Any:
    """CID 7162 knows no registration: an outline that was carried over is a person's, moved, hence manual processing."""
    from pydicom.sr.codedict import codes
    family = codes.cid7162.ManualProcessing if outline.moved else codes.cid7162.ArtificialIntelligence
    name, version = outline.algorithm
    return hd.AlgorithmIdentificationSequence(name=name[:64], family=family, version=version[:64])


def _headers(volume: Volume) -> list[Any]:
    """The series' headers as pydicom reads them, without voxels; elements that may be empty and are absent are there and empty."""
    from pydicom import dcmread
    found = []
    for file in _files(volume):
        header = dcmread(io.BytesIO(file.path.read_bytes()), stop_before_pixels=True)
        for name in _BLANK:
            if name not in header:
                setattr(header, name, "")
        found.append(header)
    return found


def _files(volume: Volume) -> list[DicomFile]:
    return list(dict.fromkeys(file for file, _ in volume.slices))


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
