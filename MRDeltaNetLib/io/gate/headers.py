"""The first look at a volume file: what it really is, and whether its header may be believed. No native reader runs before this."""

from __future__ import annotations

import os
import stat
import zlib
from dataclasses import replace
from pathlib import Path

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.gate import metaimage, nifti, nrrd
from MRDeltaNetLib.io.gate.facts import ACCEPTED, FileFacts
from MRDeltaNetLib.io.gate.payload import check_payload, damaged

_BY_SUFFIX = {".nii": "NIfTI", ".nii.gz": "gzip-packed NIfTI", ".nrrd": "NRRD", ".nhdr": "NRRD", ".mha": "MetaImage", ".mhd": "MetaImage"}
_SIGNATURES = ((0, b"NRRD", "NRRD"), (0, b"\x89PNG", "PNG picture"), (0, b"\xff\xd8\xff", "JPEG picture"), (0, b"II*\0", "TIFF picture"),
               (0, b"MM\0*", "TIFF picture"), (0, b"BM", "BMP picture"), (0, b"GIF8", "GIF picture"), (0, b"%PDF", "PDF document"),
               (0, b"PK\x03\x04", "ZIP archive (3D Slicer scene, Office document or the like)"), (0, b"\x89HDF", "HDF5 or MINC-2"),
               (0, b"CDF\x01", "MINC-1"), (0, b"CDF\x02", "MINC-1"), (0, b"MATRIX7", "ECAT"), (0, b"# vtk", "VTK"), (0, b"BZh", "bzip2 archive"),
               (0, b"\xfd7zXZ", "xz archive"), (0, b"7z\xbc\xaf", "7-zip archive"), (0, b"Rar!", "RAR archive"), (128, b"DICM", "DICOM file"),
               (0, b"\x00\x00\x00\x01\x00\x00", "FreeSurfer MGH"), (0, b"<?xml", "XML document"), (0, b"{", "JSON document"))
_BY_NAME = {".png": "PNG picture", ".jpg": "JPEG picture", ".mgz": "FreeSurfer MGZ", ".mgh": "FreeSurfer MGH", ".mnc": "MINC", ".hdr": "Analyze or NIfTI pair",
            ".img": "Analyze or NIfTI pair", ".par": "Philips PAR/REC", ".rec": "Philips PAR/REC", ".head": "AFNI", ".brik": "AFNI", ".v": "ECAT",
            ".dcm": "DICOM file", ".gipl": "GIPL", ".vtk": "VTK", ".raw": "raw voxels without a header", ".zraw": "raw voxels without a header"}


def check_header(path: Path, limits: GateLimits = GateLimits(), *, assume_ras: bool = False) -> FileFacts:
    """Judge a volume file without a native reader and without asking for memory.

    path        the file
    assume_ras  take the voxel axes for right, anterior, superior where the file does not say (only on the user's word)
    returns     FileFacts: sizes, voxel type, place (LPS, mm), where the voxels lie
    raises      InputError MRD-E100 to E142
    """
    path = Path(path)
    head = _head(path, limits)
    suffix = _suffix(path)
    found = detect(head, path)
    expected = _BY_SUFFIX.get(suffix)
    if expected is None or found != expected:
        raise _mismatch(found, suffix if expected else "")
    facts = _parse(found, head, path, limits, assume_ras)
    return replace(facts, notices=(*facts.notices, *check_payload(facts)))


def is_dicom(path: Path) -> bool:
    """True if a regular file has DICOM's mark, or DICOM's usual suffix and no other format's mark."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False                                      # opening a pipe would wait for ever
        with open(path, "rb") as handle:
            head = handle.read(132)
    except (OSError, ValueError):
        return False
    return head[128:132] == b"DICM" or path.suffix.lower() in (".dcm", ".ima")


def detect(head: bytes, path: Path) -> str:
    """What a file is, by its first bytes; by its name only where the bytes say nothing."""
    if head[:2] == b"\x1f\x8b":
        return _inside_gzip(_unpacked_head(head), path)
    known = {"nifti1": "NIfTI", "nifti2": "NIfTI", "pair": "NIfTI pair (.hdr, .img)", "analyze": "Analyze 7.5 (.hdr, .img)"}.get(nifti.kind(head))
    if known:
        return known
    for place, mark, name in _SIGNATURES:
        if head[place:place + len(mark)] == mark:
            return name
    if metaimage.looks_like(head):
        return "MetaImage"
    return _BY_NAME.get(path.suffix.lower(), "plain text" if _is_text(head) else "something unknown")


def _is_text(head: bytes) -> bool:
    start = head[:1024]
    return bool(start) and all(byte in b"\t\r\n" or byte >= 32 for byte in start) and start.isascii()


def _inside_gzip(head: bytes, path: Path) -> str:
    if nifti.kind(head) in ("nifti1", "nifti2"):
        return "gzip-packed NIfTI"
    if path.suffix.lower() == ".mgz" or head[:6] == b"\x00\x00\x00\x01\x00\x00":
        return "FreeSurfer MGZ"
    return "gzip archive"


def _unpacked_head(head: bytes) -> bytes:
    """The first bytes inside a gzip archive whose first bytes are given; empty if it is damaged there."""
    try:
        return zlib.decompressobj(31).decompress(head, 2 * nifti.HEADER_BYTES)
    except zlib.error:
        return b""


def _head(path: Path, limits: GateLimits) -> bytes:
    """The file's first bytes; at most the largest header allowed and one more."""
    try:
        facts = os.stat(path)
        if not stat.S_ISREG(facts.st_mode):
            raise InputError("This is not a file", code="MRD-E100", found="a folder, a device or a pipe", fix=f"choose a scan: {ACCEPTED}")
        with open(path, "rb") as handle:
            head = handle.read(limits.max_header_bytes + 1)
    except (OSError, ValueError) as cause:
        raise InputError("The file cannot be opened", code="MRD-E100", found=getattr(cause, "strerror", None) or "an impossible file name",
                         fix="check that the file is there and that you may read it") from cause
    if not head:
        raise InputError("The file is empty", code="MRD-E101", found="0 bytes", fix="copy or export the scan again")
    return head


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def _mismatch(found: str, suffix: str) -> InputError:
    if suffix:
        return InputError("The file's content does not fit its name", code="MRD-E102", found=f"{found}, named {suffix}",
                          fix=f"choose the right file or give it the right ending; read are: {ACCEPTED}")
    return InputError("This kind of file is not read", code="MRD-E102", found=found, fix=f"export the scan as one of: {ACCEPTED}")


def _parse(kind: str, head: bytes, path: Path, limits: GateLimits, assume_ras: bool) -> FileFacts:
    if kind == "NRRD":
        return nrrd.parse(head, path, limits, assume_ras=assume_ras)
    if kind == "MetaImage":
        return metaimage.parse(head, path, limits)
    packed = kind == "gzip-packed NIfTI"
    inner = _unpacked_head(head) if packed else head
    if len(inner) < 348:
        raise damaged("the file ends inside its header")
    return nifti.parse(inner, path, limits, packed=packed, assume_ras=assume_ras)
