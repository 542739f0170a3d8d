"""The frames of one parsed header: a single slice, or the functional groups of an enhanced multi-frame file."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import Any, Mapping

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.dicom.elements import number, numbers, text, texts, whole
from MRDeltaNetLib.io.dicom.facts import harmless

ECHO, B_VALUE, INVERSION = "echo time (ms)", "b-value (s/mm2)", "inversion time (ms)"
TIME, STACK, KIND = "time", "stack", "image type (such as magnitude and phase)"

_SPATIAL_POINTERS = {"InStackPositionNumber", "ImagePositionPatient", "SliceLocation"}
_POINTER_AXES = {"TemporalPositionIndex": TIME, "TemporalPositionTimeOffset": TIME, "StackID": STACK, "EffectiveEchoTime": ECHO,
                 "EchoTime": ECHO, "DiffusionBValue": B_VALUE, "InversionTimes": INVERSION, "FrameType": KIND, "ImageType": KIND,
                 "ComplexImageComponent": KIND}
MAX_LUT_ENTRIES = 65536


@dataclass(frozen=True, eq=False)
class Frame:
    """One slice of voxels. Values are as stored, unchecked; None where the header has none or none that can be read.

    number       index in the file's pixel data
    position     (3,) LPS mm of the first voxel's centre; orientation (6,) unit vectors along a row and down a column
    spacing      (2,) mm between rows, between columns
    gap_mm       distance between slices as the header has it
    slope, intercept  of stored values to scanner intensity; lut (first stored value, table) instead where the file has one
    hard         axis name -> value; frames that differ in one of these are different volumes
    soft         axis name -> value; these may vary from slice to slice, and separate volumes only where positions repeat
    """

    number: int
    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None
    spacing: tuple[float, ...] | None = None
    gap_mm: float | None = None
    slope: float | None = 1.0
    intercept: float | None = 0.0
    lut: tuple[int, tuple[int, ...]] | None = None
    hard: Mapping[str, Any] = field(default_factory=dict)
    soft: Mapping[str, Any] = field(default_factory=dict)


def frames_of(dataset: Any) -> tuple[Frame, ...]:
    """The frames of a header, in stored order."""
    groups = dataset.get("PerFrameFunctionalGroupsSequence")
    if not groups:
        return (_classic(dataset),)
    pointers = _pointers(dataset)
    return tuple(_enhanced(dataset, group, index, pointers) for index, group in enumerate(groups))


def shared_item(dataset: Any, keyword: str) -> Any:
    """The first item of a shared functional group, None without it."""
    groups = dataset.get("SharedFunctionalGroupsSequence")
    sequence = groups[0].get(keyword) if groups else None
    return sequence[0] if sequence else None


def _classic(dataset: Any) -> Frame:
    slope, intercept = _rescale(dataset)
    hard = {ECHO: number(dataset, "EchoTime"), B_VALUE: _b_value(dataset), INVERSION: number(dataset, "InversionTime"),
            TIME: whole(dataset, "TemporalPositionIdentifier"),
            KIND: _kind(texts(dataset, "ImageType"), text(dataset, "ComplexImageComponent"))}
    soft = {"acquisition": whole(dataset, "AcquisitionNumber"), "echo": whole(dataset, "EchoNumbers"),
            "cardiac phase": number(dataset, "TriggerTime"), "flip angle (degrees)": number(dataset, "FlipAngle"),
            "repetition time (ms)": number(dataset, "RepetitionTime"),
            "diffusion direction": numbers(dataset, "DiffusionGradientOrientation")}
    return Frame(0, numbers(dataset, "ImagePositionPatient"), numbers(dataset, "ImageOrientationPatient"),
                 numbers(dataset, "PixelSpacing"), number(dataset, "SpacingBetweenSlices"), slope, intercept, _lut(dataset),
                 _known(hard), _known(soft))


def _enhanced(dataset: Any, group: Any, index: int, pointers: list[str]) -> Frame:
    def item(keyword: str) -> Any:
        sequence = group.get(keyword)
        return (sequence[0] if sequence else shared_item(dataset, keyword)) or {}

    content, measures, converted = (item("FrameContentSequence"), item("PixelMeasuresSequence"),
                                    item("UnassignedPerFrameConvertedAttributesSequence"))
    slope, intercept = _rescale(item("PixelValueTransformationSequence"))
    kind = item("MRImageFrameTypeSequence") or item("CTImageFrameTypeSequence") or item("PETFrameTypeSequence")
    echo = number(item("MREchoSequence"), "EffectiveEchoTime")
    hard = {ECHO: number(converted, "EchoTime") if echo is None else echo,
            B_VALUE: number(item("MRDiffusionSequence"), "DiffusionBValue"), INVERSION: number(item("MRModifierSequence"), "InversionTimes"),
            TIME: whole(content, "TemporalPositionIndex"), STACK: harmless(text(content, "StackID"), 16),
            KIND: _kind(texts(kind, "FrameType"), text(kind, "ComplexImageComponent"))}
    soft = {"acquisition": whole(content, "FrameAcquisitionNumber"),
            "cardiac phase": number(item("CardiacSynchronizationSequence"), "NominalCardiacTriggerDelayTime")}
    for pointer, value in zip(pointers, numbers(content, "DimensionIndexValues") or ()):
        axis = _POINTER_AXES.get(pointer)
        if axis is None and pointer not in _SPATIAL_POINTERS:
            soft.setdefault(_words(pointer), value)
        elif axis is not None and hard.get(axis) is None:
            hard[axis] = value
    return Frame(index, numbers(item("PlanePositionSequence"), "ImagePositionPatient"),
                 numbers(item("PlaneOrientationSequence"), "ImageOrientationPatient"), numbers(measures, "PixelSpacing"),
                 number(measures, "SpacingBetweenSlices"), slope, intercept, None, _known(hard), _known(soft))


def _known(axes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in axes.items() if value is not None}


def _pointers(dataset: Any) -> list[str]:
    """The keywords of the dimensions that DimensionIndexValues count."""
    from pydicom.datadict import keyword_for_tag

    return [keyword_for_tag(item.DimensionIndexPointer) or "private dimension"
            for item in dataset.get("DimensionIndexSequence") or () if "DimensionIndexPointer" in item]


def _words(keyword: str) -> str:
    """ "FrameAcquisitionNumber" -> "frame acquisition number"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", keyword).lower()


def _kind(image_type: tuple[str, ...], component: str) -> str | None:
    """Image type as one comparable word."""
    return harmless("/".join(sorted({*image_type, *((component,) if component else ())})))


def _b_value(dataset: Any) -> float | None:
    """Diffusion weighting in s/mm2: the standard element, or the private one of the three large makers."""
    given = number(dataset, "DiffusionBValue")
    if given is not None:
        return given
    maker = text(dataset, "Manufacturer").upper()
    places = {"SIEMENS": (0x0019, 0x100C), "GE MEDICAL": (0x0043, 0x1039), "PHILIPS": (0x2001, 0x1003)}
    for name, tag in places.items():
        if maker.startswith(name) and tag in dataset:
            return _private_number(dataset[tag].value, single=name == "PHILIPS")
    return None


def _private_number(value: Any, single: bool) -> float | None:
    """A number in a private element, whose type may be lost. GE adds 1e9 to its b-values."""
    try:
        if isinstance(value, bytes):
            if single and len(value) == 4:
                return float(struct.unpack("<f", value)[0])
            value = value.decode("ascii").strip("\0 ").split("\\")
        first = value[0] if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue" else value
        return float(first) % 1e9
    except (ValueError, IndexError, TypeError, struct.error):
        return None


def _rescale(dataset: Any) -> tuple[float | None, float | None]:
    """Slope and intercept; (1, 0) without them, None for one that is there and cannot be read."""
    found = []
    for keyword, neutral in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0)):
        found.append(number(dataset, keyword) if keyword in dataset and dataset.get(keyword) is not None else neutral)
    return found[0], found[1]


def _words16(value: Any, little: bool) -> tuple[int, ...]:
    """16-bit numbers, which pydicom leaves as bytes where their type depends on other elements."""
    if isinstance(value, bytes):
        return struct.unpack(f"{'<' if little else '>'}{len(value) // 2}H", value[:len(value) // 2 * 2])
    return tuple(int(v) for v in value)


def _lut(dataset: Any) -> tuple[int, tuple[int, ...]] | None:
    """The modality look-up table: (first stored value mapped, table)."""
    sequence = dataset.get("ModalityLUTSequence")
    if not sequence:
        return None
    descriptor, data = sequence[0].get("LUTDescriptor"), sequence[0].get("LUTData")
    little = dataset.original_encoding[1] is not False
    entries, first, bits = _words16(descriptor, little)
    entries = entries or MAX_LUT_ENTRIES
    if first >= 32768 and whole(dataset, "PixelRepresentation") == 1:
        first -= 65536
    table = _words16(data, little)
    if not 0 < entries <= MAX_LUT_ENTRIES or len(table) != entries or bits not in (8, 16):
        raise InputError("The table that turns stored values into intensities is broken", code="MRD-E225",
                         found=f"{entries} entries declared, {len(table)} there, {bits} bits",
                         fix="export the series again without the look-up table")
    return first, table
