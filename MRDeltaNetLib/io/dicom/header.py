"""The header of one DICOM file as plain values. The parser (pydicom) only ever sees bytes that the structure walk has passed."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO, Iterator, Mapping

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, MRDeltaNetError, require
from MRDeltaNetLib.io.dicom.elements import number, text, texts, whole
from MRDeltaNetLib.io.dicom.facts import date_of, digest, guess_sequence, harmless, plausible
from MRDeltaNetLib.io.dicom.frames import B_VALUE, ECHO, INVERSION, Frame, frames_of, shared_item
from MRDeltaNetLib.io.dicom.structure import NATIVE, NotDicom, Structure, damaged, read_structure

_STORAGE = "1.2.840.10008.5.1.4.1.1."
IMAGE_CLASSES = {_STORAGE + end for end in ("2", "2.1", "2.2", "4", "4.1", "4.3", "4.4", "128", "128.1", "130")}
"""CT, MR and PET, single and multi-frame: what has a place in the patient. Everything else is no scan."""
_KINDS = (("1.2.840.10008.1.3.10", "DICOMDIR"), (_STORAGE + "88.59", "key object"), (_STORAGE + "88.", "structured report"),
          (_STORAGE + "11.", "presentation state"), (_STORAGE + "66.4", "segmentation"), (_STORAGE + "66.7", "segmentation"),
          (_STORAGE + "66.", "registration or raw data"), (_STORAGE + "481.", "radiotherapy object"),
          (_STORAGE + "7", "screen capture"), (_STORAGE + "104.", "document"), (_STORAGE + "1.", "radiograph"))
NOT_DICOM, NAMED_LIKE_DICOM = "not DICOM", "named like a slice but not DICOM"
SLICE_SUFFIXES = {".dcm", ".ima", ".dicom"}

_PATIENT_FIELDS = {"PatientID": "patient ID", "PatientName": "name", "PatientBirthDate": "birth date", "PatientSex": "sex"}
_IDENTITY = {"PatientID": "patient_id", "PatientBirthDate": "birth_date", "PatientSex": "sex"}
_DATES = ("AcquisitionDate", "AcquisitionDateTime", "SeriesDate", "StudyDate")


@dataclass(frozen=True, eq=False)
class DicomFile:
    """One file of a folder.

    kind     "image", or why it is none ("structured report", "not DICOM", ...)
    problem  why the file cannot be read, None if it can
    patient  field -> salted digest; identity the same for the fields that ScanFacts keeps
    """

    path: Path
    size: int
    changed_ns: int
    kind: str
    problem: MRDeltaNetError | None = None
    structure: Structure | None = None
    series_uid: str = ""
    study_uid: str = ""
    frame_uid: str | None = None
    sop_uid: str = ""
    patient: Mapping[str, str] = field(default_factory=dict, repr=False)
    identity: Mapping[str, str] = field(default_factory=dict, repr=False)
    modality: str | None = None
    sequence: str | None = None
    manufacturer: str | None = None
    field_strength_t: float | None = None
    repetition_time_ms: float | None = None
    echo_time_ms: float | None = None
    acquired: date | None = None
    bad_date: bool = False
    burned_in: bool = False
    lossy: bool = False
    rows: int | None = None
    columns: int | None = None
    declared_frames: int | None = 1
    samples: int | None = 1
    photometric: str | None = None
    bits_allocated: int | None = None
    bits_stored: int | None = None
    high_bit: int | None = None
    signed: int | None = None
    frames: tuple[Frame, ...] = ()

    @property
    def compressed(self) -> bool:
        """True if the pixel data need a codec."""
        return self.structure is not None and self.structure.transfer_syntax not in NATIVE


def read_header(path: Path, limits: GateLimits) -> DicomFile:
    """What one file is and what its header says; never fails: a fault is in `problem`.

    A damaged file whose SOP class says that it is no scan is only of that kind, without a problem.
    """
    structure = Structure()
    size = changed = 0
    try:
        status = path.stat()
        size, changed = status.st_size, status.st_mtime_ns
        with path.open("rb") as stream:
            read_structure(stream, size, limits, structure)
            return _described(stream, path, size, changed, structure)
    except NotDicom:
        looks_like_slice = path.suffix.lower() in SLICE_SUFFIXES and not path.name.startswith(".")
        return DicomFile(path, size, changed, NAMED_LIKE_DICOM if looks_like_slice else NOT_DICOM)
    except OSError as cause:
        problem: MRDeltaNetError = InputError("A file cannot be opened", code="MRD-E202", found=type(cause).__name__,
                                              fix="check that you may read every file in the folder")
        problem.__cause__ = cause
    except MRDeltaNetError as error:
        problem = error
    kind = _kind(structure.sop_class) if structure.sop_class else "image"
    return DicomFile(path, size, changed, kind, problem=problem if kind == "image" else None, structure=structure,
                     series_uid=structure.series_uid)


def _described(stream: BinaryIO, path: Path, size: int, changed: int, structure: Structure) -> DicomFile:
    kind = _kind(structure.sop_class) if structure.sop_class or structure.pixel_offset is None else "image"
    if kind != "image":
        return DicomFile(path, size, changed, kind, structure=structure, series_uid=structure.series_uid)
    source = io.BytesIO(structure.inflated) if structure.inflated is not None else stream
    source.seek(structure.body)
    header = source.read(structure.header_end - structure.body)
    structure.inflated = None
    try:
        return _values(header, path, size, changed, structure)
    except MRDeltaNetError:
        raise
    # a header that passed the walk can still hold anything: whatever the parser stumbles over means the file is damaged
    except Exception as cause:
        raise damaged("its header cannot be read") from cause


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom from warning and logging: its texts repeat header values, which may name the patient."""
    log = logging.getLogger("pydicom")
    was_disabled, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = was_disabled


def _values(header: bytes, path: Path, size: int, changed: int, structure: Structure) -> DicomFile:
    require("pydicom", "Reading DICOM")
    from pydicom.filereader import read_dataset

    with quiet():
        dataset = read_dataset(io.BytesIO(header), structure.implicit, structure.little)
        frames = frames_of(dataset)
        acquired, bad_date = _acquired(dataset)
        patient = {name: digest(text(dataset, keyword)) for keyword, name in _PATIENT_FIELDS.items() if text(dataset, keyword)}
        first = frames[0] if frames else Frame(0)
        echo = first.hard.get(ECHO)
        return DicomFile(
            path, size, changed, "image", structure=structure, series_uid=text(dataset, "SeriesInstanceUID"),
            study_uid=text(dataset, "StudyInstanceUID"), frame_uid=text(dataset, "FrameOfReferenceUID") or None,
            sop_uid=text(dataset, "SOPInstanceUID"), patient=patient,
            identity={name: digest(text(dataset, keyword)) for keyword, name in _IDENTITY.items() if text(dataset, keyword)},
            modality=harmless(text(dataset, "Modality"), 16), manufacturer=harmless(text(dataset, "Manufacturer")),
            sequence=_sequence(dataset, first), field_strength_t=number(dataset, "MagneticFieldStrength"),
            repetition_time_ms=_repetition_time(dataset), echo_time_ms=echo, acquired=acquired, bad_date=bad_date,
            burned_in="YES" in (text(dataset, "BurnedInAnnotation").upper(), text(dataset, "RecognizableVisualFeatures").upper()),
            lossy=text(dataset, "LossyImageCompression") == "01",
            rows=whole(dataset, "Rows"), columns=whole(dataset, "Columns"),
            declared_frames=whole(dataset, "NumberOfFrames") if "NumberOfFrames" in dataset else 1,
            samples=whole(dataset, "SamplesPerPixel") if "SamplesPerPixel" in dataset else 1,
            photometric=harmless(text(dataset, "PhotometricInterpretation"), 16),
            bits_allocated=whole(dataset, "BitsAllocated"), bits_stored=whole(dataset, "BitsStored"),
            high_bit=whole(dataset, "HighBit"), signed=whole(dataset, "PixelRepresentation"), frames=frames)


def _kind(sop_class: str) -> str:
    if sop_class in IMAGE_CLASSES:
        return "image"
    return next((kind for start, kind in _KINDS if sop_class.startswith(start)), "other DICOM object")


def _acquired(dataset: Any) -> tuple[date | None, bool]:
    """The scan's date, and whether there was a date that cannot be right."""
    given = [text(dataset, keyword) for keyword in _DATES]
    days = [date_of(value) for value in given if value]
    good = [day for day in days if day is not None and plausible(day)]
    return (good[0] if good else None), bool(days) and not good


def _sequence(dataset: Any, first: Frame) -> str | None:
    if text(dataset, "Modality") != "MR":
        return None
    return guess_sequence(image_type=texts(dataset, "ImageType"), scanning_sequence=_techniques(dataset),
                          description=text(dataset, "SeriesDescription"), b_value=first.hard.get(B_VALUE),
                          echo_time_ms=first.hard.get(ECHO), repetition_time_ms=_repetition_time(dataset),
                          inversion_time_ms=first.hard.get(INVERSION))


def _techniques(dataset: Any) -> tuple[str, ...]:
    """ScanningSequence, or what enhanced MR says instead."""
    given = texts(dataset, "ScanningSequence")
    if given:
        return given
    echo, planar = text(dataset, "EchoPulseSequence").upper(), text(dataset, "EchoPlanarPulseSequence").upper()
    found = {"SPIN": ("SE",), "GRADIENT": ("GR",), "BOTH": ("SE", "GR")}.get(echo, ())
    return found + (("EP",) if planar == "YES" else ())


def _repetition_time(dataset: Any) -> float | None:
    timing = shared_item(dataset, "MRTimingAndRelatedParametersSequence")
    return number(dataset, "RepetitionTime") if timing is None else number(timing, "RepetitionTime")
