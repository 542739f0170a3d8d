"""A DICOM segmentation (SEG) as a mask on its own grid: highdicom reads it, our own walk has passed its bytes before.

Its place is taken from the position and orientation of its planes, never from the number of a frame: writers leave empty slices out.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.coding import Code
from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, MRDeltaNetError, Notice, require
from MRDeltaNetLib.io.dicom.facts import harmless
from MRDeltaNetLib.io.dicom.header import DicomFile, quiet, read_header
from MRDeltaNetLib.io.dicom.listing import read_headers
from MRDeltaNetLib.io.dicom.structure import NATIVE, Structure, read_structure

SEG_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentation Storage, Label Map Segmentation Storage."""

RTSTRUCT_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
RLE = "1.2.840.10008.1.2.5"
"""Decoded in Python by pydicom; every other compression would need a native decoder in a process of its own."""

INSTALL = "pip install 'mrdeltanet[dicom]', or load the segmentation in 3D Slicer and export it as NRRD"
LISTED = 12
SAME_PART = 0.02
"""Slice spacings are multiples of each other within this part of the smaller one."""

_CODED = re.compile(r"([A-Z0-9_]{2,16})[:^]([A-Za-z0-9.-]{1,32})")


@dataclass(frozen=True)
class SegmentFacts:
    """What a SEG says about one of its segments.

    number, name          as in the file; name is cut and free of control characters
    category, type        coded property
    algorithm             "MANUAL", "SEMIAUTOMATIC" or "AUTOMATIC"
    algorithm_name        what computed it; "not named" if the file does not say
    tracking_uid          which lesion it is over several visits, None if the file does not say
    """

    number: int
    name: str
    category: Code
    type: Code
    algorithm: str
    tracking_uid: str | None = None
    algorithm_name: str = "not named"

    def text(self) -> str:
        """The segment in a few words."""
        return f"{self.number} ({self.name}; {self.type.scheme}:{self.type.value} {self.type.meaning})"


@dataclass(frozen=True)
class ReadSegment:
    """One segment of a SEG.

    image      sitk.Image, 3-D, LPS mm: uint8 {0, 1}, or float32 0 to 1 of a fractional SEG, on the SEG's own planes, empty ones put back
    frame_uid  its frame of reference, None if the file does not say
    facts      what it says about the segment
    """

    image: sitk.Image
    frame_uid: str | None
    facts: SegmentFacts


def read_segment(path: Path | str, scan: sitk.Image, label: int | str | None = None, limits: GateLimits = GateLimits()) -> ReadSegment:
    """One segment of a SEG file, or of a folder that holds one.

    scan     what it was drawn on; tells the distance of slices where the SEG left some out and does not say how far they lie apart
    label    segment number, name, or coded property ("SCT:86049000"); None where there is only one segment
    raises   InputError MRD-E145 (another DICOM object), E311 and E312 (choice), E321 to E324; MissingPackage without highdicom
    """
    file = _the_segmentation(Path(path), limits)
    seg, described = _opened(file, limits)
    chosen = _chosen(described, label)
    image = _placed(seg, chosen.number, scan)
    return ReadSegment(image, str(seg.get("FrameOfReferenceUID") or "") or None, chosen)


def check_frame(frame_uid: str | None, scan_frame_uid: str | None) -> tuple[Notice, ...]:
    """Compare frames of reference of a SEG and the scan that it is given for.

    raises  InputError MRD-E320 if they differ; warning MRD-W320 if one of them is not known
    """
    if frame_uid is None or scan_frame_uid is None:
        which = "The segmentation" if frame_uid is None else "The scan"
        return (Notice("MRD-W320", f"{which} does not name its frame of reference, so it could not be checked that the segmentation was drawn on this scan",
                       fix="look at the outline on the scan"),)
    if frame_uid != scan_frame_uid:
        raise InputError("The DICOM segmentation lies in another frame of reference than the scan", code="MRD-E320",
                         found="two different frame of reference UIDs", fix="choose the segmentation that was drawn on this scan; one of the other visit, or of "
                         "another session, has to be brought over by registration first")
    return ()


def _the_segmentation(path: Path, limits: GateLimits) -> DicomFile:
    if not path.is_dir():
        file = read_header(path, limits)
        if file.problem is not None:
            raise file.problem
        _refuse_other_object(file)
        return file
    found = [file for file in read_headers(path, limits) if file.kind == "segmentation"]
    if len(found) == 1:
        return found[0]
    raise InputError("The folder does not hold exactly one DICOM segmentation", code="MRD-E323", found=f"{len(found)} segmentations",
                     fix="name the segmentation's own file")


def _refuse_other_object(file: DicomFile) -> None:
    sop_class = "" if file.structure is None else file.structure.sop_class
    if sop_class in SEG_CLASSES:
        return
    if sop_class == RTSTRUCT_CLASS:
        raise InputError("Radiotherapy structure sets (RTSTRUCT) are not read", code="MRD-E322", found="contours, not voxels",
                         fix="load it in 3D Slicer with the extension SlicerRT, look at the outline, and export it in the Segmentations module as NRRD "
                         "with the scan as reference volume")
    raise InputError("This DICOM file is no segmentation", code="MRD-E145", found=file.kind,
                     fix="give a DICOM segmentation (SEG), or the mask as NRRD or NIfTI")


def _opened(file: DicomFile, limits: GateLimits) -> tuple[Any, tuple[SegmentFacts, ...]]:
    """highdicom's Segmentation, and what it says of its segments. Whatever it stumbles over in a file that passed the walk means that the file is damaged."""
    hd_seg = require("highdicom.seg", "Reading DICOM segmentations", INSTALL)
    content = file.path.read_bytes()
    structure = read_structure(io.BytesIO(content), len(content), limits, Structure())
    if structure.sop_class not in SEG_CLASSES:
        raise InputError("This DICOM file is no segmentation", code="MRD-E145", found="surfaces" if structure.sop_class.endswith("66.5") else "another object",
                         fix="give a DICOM segmentation (SEG), or the mask as NRRD or NIfTI")
    if structure.transfer_syntax not in (*NATIVE, RLE):
        raise InputError("The DICOM segmentation is compressed in a way that is not read", code="MRD-E324", found="a compressed transfer syntax",
                         fix="export it uncompressed, or as NRRD from 3D Slicer")
    try:
        with quiet():
            seg = hd_seg.segread(io.BytesIO(content))
            _refuse_too_large(seg, limits)
            return seg, tuple(_facts(item) for item in seg.SegmentSequence)
    except MRDeltaNetError:
        raise
    except Exception as cause:
        raise _damaged(cause) from cause


def _refuse_too_large(seg: Any, limits: GateLimits) -> None:
    frames, rows, columns = int(seg.get("NumberOfFrames", 1)), int(seg.Rows), int(seg.Columns)
    if frames * rows * columns * 4 > limits.max_voxel_bytes or max(rows, columns) > limits.max_voxels_per_axis:
        raise InputError("The DICOM segmentation is larger than the limit", code="MRD-E324", found=f"{columns} x {rows} voxels, {frames} frames",
                         fix="see that it is the segmentation of this scan; export the one segment as NRRD")


def _damaged(cause: Exception) -> InputError:
    return InputError("The DICOM segmentation is damaged or not written by the rules", code="MRD-E324", found=type(cause).__name__,
                      fix="export it again, or load it in 3D Slicer, look at it, and export it as NRRD")


def _facts(item: Any) -> SegmentFacts:
    category, kind = (_code(item.get(name)) for name in ("SegmentedPropertyCategoryCodeSequence", "SegmentedPropertyTypeCodeSequence"))
    return SegmentFacts(int(item.SegmentNumber), harmless(str(item.get("SegmentLabel") or ""), 60) or "unnamed", category, kind,
                        str(item.get("SegmentAlgorithmType") or ""), str(item.get("TrackingUID") or "") or None, _algorithm_name(item))


def _algorithm_name(item: Any) -> str:
    named = [str(entry.get("AlgorithmName") or "") for entry in item.get("SegmentationAlgorithmIdentificationSequence") or ()]
    return harmless(next(filter(None, [*named, str(item.get("SegmentAlgorithmName") or "")]), ""), 64) or "not named"


def _code(sequence: Any) -> Code:
    if not sequence:
        return Code("", "not coded", "")
    entry = sequence[0]
    return Code(str(entry.get("CodeValue") or ""), harmless(str(entry.get("CodeMeaning") or ""), 64) or "", str(entry.get("CodingSchemeDesignator") or ""))


def _chosen(described: Sequence[SegmentFacts], label: int | str | None) -> SegmentFacts:
    """The one segment that is meant."""
    if label is None:
        meant = list(described)
    elif isinstance(label, int):
        meant = [segment for segment in described if segment.number == label]
    else:
        meant = [segment for segment in described if segment.name == harmless(label, 60)] or _by_code(described, label)
    if len(meant) == 1:
        return meant[0]
    listed = "segments " + ", ".join(segment.text() for segment in described[:LISTED]) + (f" and {len(described) - LISTED} more" if len(described) > LISTED else "")
    if meant:
        raise InputError("The DICOM segmentation holds several segments that can be meant", code="MRD-E311", found=listed,
                         fix="choose one by its number, its name or its code, as --pre-label 2")
    raise InputError("The chosen segment is not in the DICOM segmentation", code="MRD-E312", found=listed, fix="choose one of these by number, name or code")


def _by_code(described: Sequence[SegmentFacts], label: str) -> list[SegmentFacts]:
    """Segments whose property type has this code; if none has, those whose category has it."""
    given = _CODED.fullmatch(label.strip())
    if given is None:
        return []
    wanted = given.groups()
    by_type = [segment for segment in described if (segment.type.scheme, segment.type.value) == wanted]
    return by_type or [segment for segment in described if (segment.category.scheme, segment.category.value) == wanted]


def _placed(seg: Any, number: int, scan: sitk.Image) -> sitk.Image:
    """The segment as an image; planes that the writer left out because they are empty are there again."""
    try:
        with quiet():
            volume = seg.get_volume(segment_numbers=[number], allow_missing_positions=True, skip_overlap_checks=True)
    except (RuntimeError, ValueError, AttributeError) as cause:
        raise InputError("The planes of the DICOM segmentation make no evenly spaced volume in the patient", code="MRD-E321", found=type(cause).__name__,
                         fix="load it in 3D Slicer, look at the outline, and export it as NRRD with the scan as reference volume") from cause
    except Exception as cause:
        raise _damaged(cause) from cause
    array, affine = np.asarray(volume.array)[..., 0], np.asarray(volume.affine, float)
    axes = affine[:3, 2::-1]                                   # index (slice, row, column) -> columns x, y, z
    spacing = np.linalg.norm(axes, axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.astype(np.float32 if array.dtype.kind == "f" else np.uint8)))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((axes / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return image if _says_distance(seg) else _with_gaps(image, scan)


def _says_distance(seg: Any) -> bool:
    groups = [*(seg.get("SharedFunctionalGroupsSequence") or ()), *(seg.get("PerFrameFunctionalGroupsSequence") or ())]
    return any("SpacingBetweenSlices" in measures for group in groups for measures in group.get("PixelMeasuresSequence") or ())


def _with_gaps(image: sitk.Image, scan: sitk.Image) -> sitk.Image:
    """Where the distance of slices was only guessed from those that are there: put back the empty ones between, so that a mask drawn on every
    other slice of the scan is not read as one of slices twice as thick."""
    axes = np.array(scan.GetDirection()).reshape(3, 3)
    normal = np.array(image.GetDirection()).reshape(3, 3)[:, 2]
    along = int(np.argmax(np.abs(axes.T @ normal)))
    step = scan.GetSpacing()[along]
    if abs(axes[:, along] @ normal) < 0.999:
        return image
    if image.GetSize()[2] == 1:                                # one plane has no distance to another: that of the scan's slices
        image.SetSpacing((*image.GetSpacing()[:2], step))
        return image
    times = round(image.GetSpacing()[2] / step)
    if times < 2 or abs(image.GetSpacing()[2] - times * step) > SAME_PART * step:
        return image
    array = sitk.GetArrayViewFromImage(image)
    wide = np.zeros(((len(array) - 1) * times + 1, *array.shape[1:]), array.dtype)
    wide[::times] = array
    found = sitk.GetImageFromArray(wide)
    found.SetSpacing((*image.GetSpacing()[:2], step))
    found.SetDirection(image.GetDirection())
    found.SetOrigin(image.GetOrigin())
    return found
