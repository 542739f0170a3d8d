"""Reading scans and masks through the gate, and writing images."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Iterator, Mapping

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import IMAGE_ROLES, ScanFacts, Timepoint
from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import EnvironmentProblem, InputError, Notice, UsageError
from MRDeltaNetLib.io.atomic import atomic, sha256
from MRDeltaNetLib.io.gate import geometry
from MRDeltaNetLib.io.gate.facts import Affine, FileFacts, OneVolumeOnly, Segment
from MRDeltaNetLib.io.gate.headers import check_header, is_dicom
from MRDeltaNetLib.io.gate.payload import Unpacked, damaged, words_of
from MRDeltaNetLib.io.gate.voxels import check_image

WRITTEN_SUFFIXES = (".nrrd", ".nii", ".nii.gz", ".mha")
"""File name endings that write_image knows."""

@dataclass(frozen=True)
class Frame:
    """Where voxels lie, as SimpleITK has it: spacing (x, y, z; mm), direction (3 x 3, row by row), origin (LPS, mm)."""

    spacing_mm: tuple[float, ...]
    direction: tuple[float, ...]
    origin_mm: tuple[float, ...]

    def lps(self) -> Affine:
        """Voxel index -> LPS, mm."""
        columns = [[self.direction[3 * row + axis] * self.spacing_mm[axis] for row in range(3)] for axis in range(3)]
        return geometry.affine(columns, self.origin_mm)


_WRITTEN_BY_US = GateLimits(max_voxels_per_axis=2**31, max_voxel_bytes=2**62, min_spacing_mm=0.0, max_spacing_mm=float("inf"))
"""For looking at a file of ours: its bytes are in question, not whether it is a scan."""

_READERS = {"nifti": "NiftiImageIO", "nrrd": "NrrdImageIO", "metaimage": "MetaImageIO"}


def read_image(path: Path | str, *, volume_index: int | None = None, assume_ras: bool = False, series: str | None = None,
               limits: GateLimits = GateLimits(), role: str = "pre") -> Timepoint:
    """Read a scan.

    path          DICOM folder or file, NIfTI, NRRD or MetaImage file
    volume_index  which volume of a series of volumes (0 is the first); None for a plain 3-D scan
    assume_ras    the user's word that voxel axes run right, anterior, superior, used only where the file does not say
    series        DICOM series UID where a folder holds several
    role          "pre" or "post": how messages name the scan
    returns       Timepoint without mask; image 3-D float32 in the geometry that the file gives (LPS, mm), without metadata
    raises        InputError MRD-E1xx (volume files), MRD-E2xx (DICOM)
    """
    path = Path(path)
    if path.is_dir() or is_dicom(path):
        return _read_dicom(path, series, volume_index, limits, role)
    try:
        if series is not None:
            raise UsageError("A DICOM series was named, but the path is not a DICOM folder", code="MRD-E144",
                             fix=f"leave out --{role}-series, or give the folder with the DICOM files")
        return _read_file(path, volume_index, assume_ras, limits)
    except OSError as cause:
        raise _interrupted(cause).about(IMAGE_ROLES.get(role, role)) from cause
    except (InputError, UsageError) as error:
        raise error.about(IMAGE_ROLES.get(role, role)) from error


def _read_dicom(path: Path, series: str | None, volume_index: int | None, limits: GateLimits, role: str) -> Timepoint:
    """A DICOM series, its voxels judged by the same rules as any other scan's."""
    from MRDeltaNetLib.io.dicom import read_series
    scan = read_series(path, series=series, volume_index=volume_index, limits=limits, role=role)
    try:
        image, notices = check_image(scan.image, limits)
    except InputError as error:
        raise error.about(IMAGE_ROLES.get(role, role)) from error
    return replace(scan, image=image, notices=(*scan.notices, *notices))


@dataclass(frozen=True)
class ReadMask:
    """A mask out of a file.

    image      sitk.Image uint8 {0, 1} on the scan's grid
    notices    warnings
    texts      texts of ours in its header, as io.gate.facts.FileFacts.texts
    algorithm  what a DICOM segmentation names as having drawn it without a person; None for other files and masks
    """

    image: sitk.Image
    notices: tuple[Notice, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    algorithm: str | None = None


def read_mask(path: Path | str, image: sitk.Image, **options) -> tuple[sitk.Image, tuple[Notice, ...]]:
    """The image and the warnings of read_told_mask, whose arguments it takes."""
    found = read_told_mask(path, image, **options)
    return found.image, found.notices


def read_told_mask(path: Path | str, image: sitk.Image, *, role: str, label: int | str | None = None, may_be_empty: bool = False,
                   assume_ras: bool = False, limits: GateLimits = GateLimits(), frame_uid: str | None = None) -> ReadMask:
    """Read a mask for a scan, with what its file tells of how it came about: a label map (NIfTI, NRRD, MetaImage), a segmentation of 3D Slicer (.seg.nrrd), or a DICOM segmentation.

    image         sitk.Image, 3-D: the scan that the mask was drawn on
    role          "pre", "post" or "residual": how messages name the mask
    label         label value (DICOM: segment number), name of a segment, or in DICOM the code of what it is ("SCT:86049000"); None where there is
                  only one
    may_be_empty  True for residual tumour, whose absence is a finding
    frame_uid     the scan's frame of reference, which a DICOM segmentation must share; None if unknown
    raises        InputError MRD-E1xx (the file), MRD-E3xx (the mask)
    """
    from MRDeltaNetLib.io.gate.masks import MASK_ROLES, check_mask
    path = Path(path)
    try:
        if path.is_dir() or is_dicom(path):
            return _read_dicom_mask(path, image, role, label, may_be_empty, limits, frame_uid)
        facts = check_header(path, limits, assume_ras=assume_ras)
        layer, value = _chosen_segment(facts, label)
        mask = _load(facts, path, layer) if facts.volumes == 1 or layer is not None else _all_layers(facts, path)
    except OSError as cause:
        raise _interrupted(cause).about(MASK_ROLES.get(role, role)) from cause
    except InputError as error:
        raise error.about(MASK_ROLES.get(role, role)) from error
    placed, notices = check_mask(mask, image, role=role, label=value, may_be_empty=may_be_empty, limits=limits,
                                 label_names={segment.label: segment.name for segment in facts.segments})
    return ReadMask(placed, facts.notices + notices, facts.texts)


def _read_dicom_mask(path: Path, image: sitk.Image, role: str, label: int | str | None, may_be_empty: bool, limits: GateLimits,
                     frame_uid: str | None) -> ReadMask:
    """A segment of a DICOM segmentation, judged by the same rules as any other mask."""
    from MRDeltaNetLib.io.dicom.seg_reading import check_frame, read_segment
    from MRDeltaNetLib.io.gate.masks import MASK_ROLES, check_mask
    found = read_segment(path, image, label, limits)
    notices = check_frame(found.frame_uid, frame_uid)
    automatic = found.facts.algorithm == "AUTOMATIC"
    if automatic:
        notices += (Notice("MRD-W321", f"The DICOM segmentation says that no person drew {MASK_ROLES.get(role, role)}: its segment was made automatically",
                           fix="look at the outline on every slice and correct it before you believe a number"),)
    placed, more = check_mask(found.image, image, role=role, may_be_empty=may_be_empty, limits=limits)
    return ReadMask(placed, notices + more, algorithm=found.facts.algorithm_name if automatic else None)


def read_plain(path: Path | str, limits: GateLimits = GateLimits()) -> sitk.Image:
    """An image of ours (mask, map) as it is in its file: the same strict reading as a scan's, but nothing asked of its values.

    returns  sitk.Image, 3-D, voxel type as stored (LPS, mm), without metadata
    raises   InputError MRD-E1xx
    """
    path = Path(path)
    try:
        facts = check_header(path, limits)
        return _load(facts, path, _chosen_volume(facts, None))
    except OSError as cause:
        raise _interrupted(cause) from cause


def write_image(image: sitk.Image, path: Path | str, *, header: Mapping[str, str] | None = None) -> None:
    """Write an image, whole or not at all.

    image   sitk.Image, 3-D, one value a voxel
    path    ends in .nrrd, .nii, .nii.gz or .mha; compressed where the format allows
    header  text by key for the file's header; NRRD only
    raises  UsageError for another image, another ending or a header that cannot be kept; EnvironmentProblem if the disk does not take it
    """
    path = Path(path)
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise UsageError("Only 3-D images with one value a voxel are written", code="MRD-E860", found=image.GetPixelIDTypeAsString(),
                         fix="write each component as an image of its own")
    suffix = next((s for s in WRITTEN_SUFFIXES[::-1] if path.name.lower().endswith(s)), None)
    if suffix is None or (header and suffix != ".nrrd"):
        raise UsageError("Images are written as " + ", ".join(WRITTEN_SUFFIXES) + "; header texts as .nrrd only", code="MRD-E860",
                         found=path.suffix, fix="choose a file name that ends in .nrrd")
    labelled = _without_metadata(image)
    for key, value in (header or {}).items():
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", key):
            raise UsageError("A header key may hold letters, digits, '_', '.' and '-' only", code="MRD-E860", fix="rename the key")
        labelled.SetMetaData(key, re.sub(r"[\x00-\x1f\x7f]+", " ", str(value)))
    with atomic(path) as temporary, _quiet():
        try:
            sitk.WriteImage(labelled, str(temporary), useCompression=suffix != ".nii")
            check_header(temporary, _WRITTEN_BY_US)           # on a full disk the NIfTI writer stops half-way without an error
        except (RuntimeError, InputError) as cause:
            raise EnvironmentProblem("The image could not be written whole", code="MRD-E861", found="the file on the disk is incomplete",
                                     fix="check free space and permissions of the output folder") from cause


def _read_file(path: Path, volume_index: int | None, assume_ras: bool, limits: GateLimits) -> Timepoint:
    facts = check_header(path, limits, assume_ras=assume_ras)
    loaded = _load(facts, path, _chosen_volume(facts, volume_index))
    image, notices = check_image(loaded, limits)
    files = dict.fromkeys((path, facts.data_file))
    return Timepoint(image=image, facts=ScanFacts(format=facts.format, file_sha256=tuple(sha256(f) for f in files)),
                     notices=facts.notices + notices)


def _interrupted(cause: OSError) -> InputError:
    """The error for a file that the system stops giving while it is read (a share that drops, a disk that fails)."""
    return InputError("Reading the file stopped half-way", code="MRD-E100", found=cause.strerror or type(cause).__name__,
                      fix="check that the disk or network share is still connected, and try again")


def _chosen_volume(facts: FileFacts, volume_index: int | None) -> int | None:
    """The volume to take, None for a plain 3-D file."""
    if facts.volumes == 1:
        if volume_index is not None:
            raise OneVolumeOnly("A volume was chosen by its number, but the file holds one volume only", code="MRD-E132",
                                found=f"volume index {volume_index}", fix="leave out --volume-index")
        return None
    axis = "the fourth axis (time, b-value or phase)" if facts.volume_axis == 3 else f"axis {facts.volume_axis + 1}"
    if volume_index is None:
        raise InputError("The file holds a series of volumes, not one scan", code="MRD-E130", found=f"{facts.volumes} volumes along {axis}",
                         fix=f"choose its volume index (0 to {facts.volumes - 1}) with --volume-index")
    if not 0 <= volume_index < facts.volumes:
        raise InputError("The chosen volume is not in the file", code="MRD-E132", found=f"volume index {volume_index}, {facts.volumes} volumes along {axis}",
                         fix=f"choose --volume-index 0 to {facts.volumes - 1}")
    return volume_index


def _chosen_segment(facts: FileFacts, label: int | str | None) -> tuple[int | None, int | None]:
    """Layer and label value that a choice means; the layer is None where it stays open."""
    if isinstance(label, str):
        meant = [s for s in facts.segments if s.name == label]
        if len(meant) != 1:
            raise InputError("The chosen segment is not in the mask file", code="MRD-E312", found=_named(facts.segments),
                             fix="choose one of these names, or a label value")
    else:
        meant = [s for s in facts.segments if label in (None, s.label)]
    if len(meant) != 1:
        return None, label
    return (meant[0].layer if 1 < facts.volumes > meant[0].layer else None), meant[0].label


def _named(segments: tuple[Segment, ...]) -> str:
    return "segments: " + (", ".join(s.name for s in segments[:20]) or "none are named in the file")


def _load(facts: FileFacts, path: Path, index: int | None) -> sitk.Image:
    """The voxels as stored (scaled where the header says so), 3-D, in place, without metadata.

    The voxels are taken from the very bytes that the gate counted and not from the native reader, which in SimpleITK 2.5.7 takes them
    from "scan.nii" when that lies beside the "scan.nii.gz" asked for, returns memory it never filled for some compressed MetaImage
    files, and knows neither NIfTI-2 nor bzip2. The native reader is the second opinion on the geometry.
    """
    frame = _frame(facts, path)
    return _placed(sitk.GetImageFromArray(_scaled(_stored(facts)[index or 0], facts)), frame)


def _frame(facts: FileFacts, path: Path) -> Frame:
    """Where the voxels lie: SimpleITK's own reading of the header where it agrees with ours, so that both give equal numbers."""
    if facts.second_reader and _native_opens(path):
        second = _second_opinion(facts, path)
        if not facts.assumed:
            return second
    return _frame_of(facts.lps)


def _native_opens(path: Path) -> bool:
    """False where the native readers are known to fail on a name: not ASCII on Windows, not Unicode anywhere."""
    return str(path).isascii() if os.name == "nt" else not re.search(r"[\ud800-\udfff]", str(path))


def _second_opinion(facts: FileFacts, path: Path) -> Frame:
    """The frame that SimpleITK reads; refuses a file whose sizes or place it understands differently."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO(_READERS[facts.format])
    reader.SetFileName(str(path))
    try:
        with _quiet():
            reader.ReadImageInformation()
    except RuntimeError as cause:
        # the reader's own text names the path, which may name the patient
        raise InputError("The file passed the first checks, but the image reader could not read its header", code="MRD-E149",
                         found=f"{facts.format}, {facts.encoding}", fix="export the scan again, for example as .nrrd") from cause
    sizes = reader.GetSize()
    if tuple(sizes[:3]) != tuple(facts.sizes) or reader.GetNumberOfComponents() != 1:
        raise _disagreement(f"{' x '.join(map(str, sizes))} voxels instead of {' x '.join(map(str, facts.sizes))}")
    frame = _first_three_axes(reader)
    apart = min(geometry.corner_difference_mm(frame.lps(), form, facts.sizes) for form in facts.forms)
    if not facts.assumed and not apart <= geometry.SAME_FRAME_MM:
        raise _disagreement(f"corners up to {apart:.1f} mm apart")
    return frame


def _disagreement(found: str) -> InputError:
    return InputError("Two readers understand this file's geometry differently", code="MRD-E143", found=found,
                      fix="convert the scan from DICOM again; its header is not written by the rules")


def _first_three_axes(reader: sitk.ImageFileReader) -> Frame:
    """The frame of what may be a series of volumes."""
    direction, count = reader.GetDirection(), reader.GetDimension()
    return Frame(reader.GetSpacing()[:3], tuple(direction[count * row + axis] for row in range(3) for axis in range(3)), reader.GetOrigin()[:3])


def _frame_of(lps: Affine) -> Frame:
    """Split an affine (voxel index -> LPS, mm)."""
    matrix = np.array(lps)
    spacing = np.linalg.norm(matrix[:, :3], axis=0)
    return Frame(tuple(spacing.tolist()), tuple((matrix[:, :3] / spacing).ravel().tolist()), tuple(matrix[:, 3].tolist()))


def _placed(image: sitk.Image, frame: Frame) -> sitk.Image:
    """The image with its voxels where the frame puts them."""
    image.SetSpacing(frame.spacing_mm)
    image.SetDirection(frame.direction)
    image.SetOrigin(frame.origin_mm)
    return image


def _stored(facts: FileFacts) -> np.ndarray:
    """Every stored value, (volume, z, y, x)."""
    order = list(facts.sizes)
    order.insert(facts.volume_axis, facts.volumes)
    values = _texts(facts) if facts.encoding == "ascii" else _bytes(facts)
    values = np.moveaxis(values.reshape(order[::-1]), 3 - facts.volume_axis, 0)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _bytes(facts: FileFacts) -> np.ndarray:
    """The voxels of a binary payload, in file order."""
    values = np.empty(facts.voxel_count, dtype=facts.voxel_type)
    room, filled, skip = memoryview(values).cast("B"), 0, facts.skip_bytes
    with facts.data_file.open("rb") as handle:
        handle.seek(facts.packed_at)
        for block in Unpacked(handle, facts.encoding):
            block, skip = block[skip:skip + len(room) - filled], max(0, skip - len(block))
            room[filled:filled + len(block)] = block
            filled += len(block)
            if filled == len(room):
                return values
    raise damaged("the file changed while it was read")


def _texts(facts: FileFacts) -> np.ndarray:
    """The voxels of a payload of numbers as text, in file order."""
    with facts.data_file.open("rb") as handle:
        handle.seek(facts.packed_at)
        values, filled = np.empty(facts.voxel_count, dtype=facts.voxel_type), 0
        for words in words_of(handle):
            some = np.array(words[:len(values) - filled], dtype=np.float64)
            if values.dtype.kind in "iu" and not ((some >= np.iinfo(values.dtype).min) & (some <= np.iinfo(values.dtype).max)).all():
                raise damaged("numbers that the voxel type of the header cannot hold")
            values[filled:filled + len(some)] = some.astype(facts.voxel_type)
            filled += len(some)
            if filled == len(values):
                return values
    raise damaged("the file changed while it was read")


def _scaled(stored: np.ndarray, facts: FileFacts) -> np.ndarray:
    if (facts.slope, facts.offset) == (1.0, 0.0):
        return np.ascontiguousarray(stored)
    return (stored.astype(np.float64) * facts.slope + facts.offset).astype(np.float32)


def _all_layers(facts: FileFacts, path: Path) -> sitk.Image:
    """A segmentation with several layers as one image with a value for each layer."""
    layers = np.ascontiguousarray(np.moveaxis(_scaled(_stored(facts), facts), 0, -1))
    return _placed(sitk.GetImageFromArray(layers, isVector=True), _frame(facts, path))


def _without_metadata(image: sitk.Image) -> sitk.Image:
    """A copy without the header's texts, which may name the patient."""
    bare = sitk.Image(image)
    bare.MakeUnique()                                         # erasing alone would reach through to the original
    for key in bare.GetMetaDataKeys():
        bare.EraseMetaData(key)
    return bare


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """ITK prints warnings with whole paths; they are not for a log."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)
