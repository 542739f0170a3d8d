"""Stored voxel values of an accepted volume, as scanner intensities. Sizes are compared with the real bytes before anything is allocated."""

from __future__ import annotations

import hashlib
import io
import os
from typing import BinaryIO

import numpy as np

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, Notice
from MRDeltaNetLib.io.dicom.acceptance import Volume
from MRDeltaNetLib.io.dicom.decoding import decoded
from MRDeltaNetLib.io.dicom.frames import Frame
from MRDeltaNetLib.io.dicom.header import DicomFile
from MRDeltaNetLib.io.dicom.structure import DEFLATED, inflate

_AGAIN = "export the series again from the archive"


def read_voxels(volume: Volume, limits: GateLimits) -> tuple[np.ndarray, tuple[str, ...], tuple[Notice, ...]]:
    """Voxels float32 (slice, row, column), SHA-256 of every file in the order of its first slice, and notices.

    raises  InputError: MRD-E220 bytes missing or too many, MRD-E221 larger than the limits, MRD-E225 rescale broken, MRD-E234 the
            file changed meanwhile; what decoding raises for compressed data
    """
    places: dict[DicomFile, list[tuple[int, Frame]]] = {}
    for place, (file, frame) in enumerate(volume.slices):
        places.setdefault(file, []).append((place, frame))
    files = list(places)
    check_sizes(files, len(volume.slices), limits)
    rows, columns = files[0].rows, files[0].columns
    voxels = np.empty((len(volume.slices), rows, columns), np.float32)
    hashes, cut = [], 0
    with decoded([file for file in files if file.compressed]) as stored_of:
        for file in files:
            with file.path.open("rb") as stream:
                hashes.append(_hash(stream, file))
                content = io.BytesIO(inflate(stream, file.structure.deflated_from)) if file.structure.transfer_syntax == DEFLATED else stream
                for place, frame in places[file]:
                    raw = stored_of(file, frame.number) if file.compressed else _native(content, file, frame.number)
                    stored, changed = _used_bits(raw, file)
                    cut += changed
                    voxels[place] = _intensity(stored, frame)
    notices = (Notice("MRD-W205", f"In {cut} slices, bits outside the declared range were set (overlays, or a wrong header); they were "
                                  "left out", fix="compare the picture with the one in your viewer"),) if cut else ()
    return voxels, tuple(hashes), notices


def check_sizes(files: list[DicomFile], slices: int, limits: GateLimits) -> None:
    """Declared and real sizes agree and lie within the limits. InputError MRD-E220 or MRD-E221."""
    for file in files:
        rows, columns, frames = file.rows or 0, file.columns or 0, len(file.frames)
        if not (0 < rows <= limits.max_voxels_per_axis and 0 < columns <= limits.max_voxels_per_axis):
            raise InputError("The header declares an impossible image size", code="MRD-E221",
                             found=f"{rows} rows, {columns} columns; limit {limits.max_voxels_per_axis} voxels an axis", fix=_AGAIN)
        if max(slices, frames) * rows * columns * 4 > limits.max_voxel_bytes or slices > limits.max_voxels_per_axis:
            raise InputError("The series is larger than the limit", code="MRD-E221",
                             found=f"{columns} × {rows} × {max(slices, frames)} voxels",
                             fix="choose the series that holds only the pelvis at ordinary resolution")
        _bytes_there(file, rows * columns * frames * file.bits_allocated // 8, frames)


def _bytes_there(file: DicomFile, declared: int, frames: int) -> None:
    structure = file.structure
    if file.compressed:
        if structure.pixel_bytes is not None or len(structure.fragments) < 1 + frames:
            raise InputError("The compressed voxel values of a slice are incomplete", code="MRD-E232",
                             found=f"{max(0, len(structure.fragments) - 1)} fragments for {frames} frames", fix=_AGAIN)
        return
    there = structure.pixel_bytes
    if there is None or there not in (declared, declared + declared % 2):
        raise InputError("A slice holds more or fewer voxel values than its header declares", code="MRD-E220",
                         found=f"{declared} bytes declared, {'an undefined number' if there is None else there} there", fix=_AGAIN)


def _hash(stream: BinaryIO, file: DicomFile) -> str:
    status = os.fstat(stream.fileno())
    if (status.st_size, status.st_mtime_ns) != (file.size, file.changed_ns):
        raise InputError("A file changed while it was being read", code="MRD-E234",
                         fix="wait until the export or download has finished, then try again")
    found = hashlib.file_digest(stream, "sha256").hexdigest()
    stream.seek(0)
    return found


def _native(stream: BinaryIO, file: DicomFile, number: int) -> np.ndarray:
    """One frame of uncompressed pixel data, (row, column)."""
    width = file.bits_allocated // 8
    count = file.rows * file.columns
    stream.seek(file.structure.pixel_offset + number * count * width)
    raw = stream.read(count * width + (count * width) % 2)
    order = "<" if file.structure.little else ">"
    if width == 1 and not file.structure.little and file.structure.pixel_words:
        raw = np.frombuffer(raw[:len(raw) // 2 * 2], ">u2").astype("<u2").tobytes()
    return np.frombuffer(raw, f"{order}{'i' if file.signed else 'u'}{width}", count).reshape(file.rows, file.columns)


def _used_bits(raw: np.ndarray, file: DicomFile) -> tuple[np.ndarray, bool]:
    """Values of the stored bits alone, sign-extended, as int64; and whether that changed any."""
    wide = raw.astype(np.int64)
    span = 1 << file.bits_stored
    values = wide & (span - 1)
    if file.signed:
        values = np.where(values >= span // 2, values - span, values)
    return values, bool((values != wide).any())


def _intensity(stored: np.ndarray, frame: Frame) -> np.ndarray:
    """Stored values to scanner intensity: the modality look-up table, or slope and intercept (PS3.3, C.11.1)."""
    if frame.lut is not None:
        first, table = frame.lut
        return np.asarray(table, np.float32)[np.clip(stored - first, 0, len(table) - 1)]
    if frame.slope is None or frame.intercept is None or frame.slope == 0:
        raise _broken_rescale()
    with np.errstate(over="ignore"):
        values = (stored * frame.slope + frame.intercept).astype(np.float32)
    if not np.isfinite(values).all():
        raise _broken_rescale()
    return values


def _broken_rescale() -> InputError:
    return InputError("The rescale slope or intercept of a slice is broken, so its intensities are unknown", code="MRD-E225",
                      found="a slope of 0, no number, or one that is far too large", fix=_AGAIN)
