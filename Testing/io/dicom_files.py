"""Made-up DICOM series: a few small slices, written by pydicom, that a test then breaks in one place."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, generate_uid

MR_IMAGE, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
NAME, PATIENT_ID, BIRTH_DATE, SCAN_DATE = "Zyxwolski^Quirina", "PAT-776655", "19610417", "20231105"
OTHER_NAME = "Vuttmann^Rosalba"
SECRETS = (NAME, "Zyxwolski", "Quirina", PATIENT_ID, BIRTH_DATE, SCAN_DATE, OTHER_NAME, "Vuttmann", "PAT-1")
"""Nothing that names the made-up patient may appear in a message."""

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
Edit = Callable[[Dataset, int], None]


def ramp(slices: int = 6, rows: int = 10, columns: int = 8) -> np.ndarray:
    """Voxels int16 (slice, row, column), every one of another value."""
    return np.arange(slices * rows * columns, dtype=np.int16).reshape(slices, rows, columns)


def slice_dataset(pixels: np.ndarray, index: int, *, origin=(-20.0, 30.0, -40.0), orientation=AXIAL, spacing=(0.7, 0.5), gap=3.0,
                  series="1.2.826.0.1.3680043.10.99.1", place: float | None = None) -> Dataset:
    """One MR slice with made-up header. pixels (row, column); place counts slices along the normal, default index."""
    ds = _empty()
    normal = np.cross(orientation[:3], orientation[3:])
    position = np.array(origin) + normal * gap * (index if place is None else place)
    _identify(ds, series)
    ds.SOPClassUID, ds.SOPInstanceUID = MR_IMAGE, f"{series}.{index + 1}"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    ds.ScanningSequence, ds.SequenceVariant, ds.EchoTime, ds.RepetitionTime = "SE", "SK", 100.0, 4500.0
    ds.InstanceNumber, ds.AcquisitionNumber, ds.SliceThickness, ds.SpacingBetweenSlices = index + 1, 1, 3.0, gap
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [f"{v:.8g}" for v in position], [f"{v:.9f}" for v in orientation]
    ds.PixelSpacing = list(spacing)
    set_pixels(ds, pixels)
    return ds


def _empty() -> Dataset:
    ds = Dataset()
    ds.file_meta, ds.preamble = FileMetaDataset(), b"\0" * 128
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def _identify(ds: Dataset, series: str) -> None:
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = NAME, PATIENT_ID, BIRTH_DATE, "F"
    ds.Modality, ds.Manufacturer, ds.MagneticFieldStrength = "MR", "Maker", 3.0
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = SCAN_DATE
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "1.2.826.0.1.3680043.10.99", series, "1.2.826.0.1.3680043.10.98"
    ds.SeriesDescription = f"T2 tse {NAME}"


def set_pixels(ds: Dataset, pixels: np.ndarray) -> None:
    """Pixel data and what describes them."""
    ds.Rows, ds.Columns = pixels.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = pixels.dtype.itemsize * 8
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits, bits - 1, int(pixels.dtype.kind == "i")
    ds.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    ds["PixelData"].VR = "OW" if bits > 8 else "OB"


def save(ds: Dataset, path: Path, syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write a dataset however wrong it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.file_meta.TransferSyntaxUID = syntax
        ds.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", "1.2.3")
        ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", "") or "1.2.3"
        if syntax == ExplicitVRBigEndian:
            ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
        if syntax.startswith("1.2.840.10008.1.2.4") or syntax == RLELossless:
            ds.save_as(path)
        else:
            ds.save_as(path, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=syntax != ExplicitVRBigEndian,
                       enforce_file_format=False)
    return path


def other_object(path: Path, sop_class: str) -> None:
    """A file of another series that shows no slice: a report, a segmentation, ..."""
    ds = slice_dataset(ramp()[0], 0, series="1.2.826.0.1.3680043.10.99.2")
    ds.SOPClassUID = sop_class
    save(ds, path)


def write_series(folder: Path, voxels: np.ndarray | None = None, edit: Edit | None = None, *, names: list[str] | None = None,
                 syntax: str = ExplicitVRLittleEndian, **place: Any) -> Path:
    """Write one slice a file; edit(dataset, index) may change each before it is written. Returns the folder."""
    voxels = ramp() if voxels is None else voxels
    for index, pixels in enumerate(voxels):
        # pydicom checks values as they are set; the wrong ones are the point here
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = slice_dataset(pixels, index, **place)
            if edit:
                edit(ds, index)
        save(ds, folder / (names[index] if names else f"IM{index:04d}.dcm"), syntax)
    return folder


def enhanced(voxels: np.ndarray, *, axes: dict[str, list] | None = None, origin=(-20.0, 30.0, -40.0), orientation=AXIAL,
             spacing=(0.7, 0.5), gap=3.0, slopes: list[float] | None = None, shuffle: bool = False) -> Dataset:
    """An enhanced MR file. voxels (volume, slice, row, column); axes: name -> one value a volume, of
    "time" (TemporalPositionIndex), "b-value", "echo", "stack", "type"."""
    axes = axes or {}
    ds = _empty()
    _identify(ds, "1.2.826.0.1.3680043.10.99.7")
    ds.SOPClassUID, ds.SOPInstanceUID, ds.ImageType = ENHANCED_MR, generate_uid(), ["ORIGINAL", "PRIMARY", "M", "NONE"]
    ds.AcquisitionDateTime = SCAN_DATE + "101500.000"
    volumes, slices = voxels.shape[:2]
    order = [(v, s) for v in range(volumes) for s in range(slices)]
    if shuffle:
        order = [order[i] for i in np.random.default_rng(0).permutation(len(order))]
    set_pixels(ds, np.stack([voxels[v, s] for v, s in order]))
    ds.NumberOfFrames = len(order)
    shared = Dataset()
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=[f"{v:.9f}" for v in orientation])
    shared.PixelMeasuresSequence = _item(PixelSpacing=list(spacing), SliceThickness=3.0, SpacingBetweenSlices=gap)
    shared.MRTimingAndRelatedParametersSequence = _item(RepetitionTime=4500.0)
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    ds.DimensionIndexSequence = Sequence([_item(DimensionIndexPointer=0x00209057)[0]])
    normal = np.cross(orientation[:3], orientation[3:])
    groups = []
    for v, s in order:
        group = Dataset()
        content = {"DimensionIndexValues": [s + 1], "StackID": str(axes["stack"][v]) if "stack" in axes else "1", "InStackPositionNumber": s + 1}
        if "time" in axes:
            content["TemporalPositionIndex"] = axes["time"][v]
        group.FrameContentSequence = _item(**content)
        group.PlanePositionSequence = _item(ImagePositionPatient=[f"{x:.8g}" for x in np.array(origin) + normal * gap * s])
        group.MREchoSequence = _item(EffectiveEchoTime=axes["echo"][v] if "echo" in axes else 100.0)
        group.MRImageFrameTypeSequence = _item(FrameType=["ORIGINAL", "PRIMARY", axes["type"][v] if "type" in axes else "M", "NONE"])
        if "b-value" in axes:
            group.MRDiffusionSequence = _item(DiffusionBValue=axes["b-value"][v])
        group.PixelValueTransformationSequence = _item(RescaleSlope=slopes[v * slices + s] if slopes else 1, RescaleIntercept=0,
                                                       RescaleType="US")
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = Sequence(groups)
    return ds


def _item(**values: Any) -> Sequence:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return Sequence([item])


def pydicom_file(path: Path) -> pydicom.FileDataset:
    """Read a file with pydicom alone."""
    return pydicom.dcmread(path)
