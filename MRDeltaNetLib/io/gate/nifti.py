"""NIfTI-1 and NIfTI-2 single files: header in plain Python.

Formula source: nifti1.h and nifti2.h (NIfTI Data Format Working Group): method 2 (qform), method 3 (sform), scl_slope.
NIfTI places voxels in RAS; the affines given here are LPS.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.gate import geometry
from MRDeltaNetLib.io.gate.facts import Affine, FileFacts, broken_header
from MRDeltaNetLib.io.gate.payload import offset_error

HEADER_BYTES = 540
MAX_OFFSET = 64 * 1024**2
"""Extensions before the voxels may take this many bytes."""

_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_REFUSED_TYPES = {0: "unknown", 1: "one bit", 32: "complex", 128: "RGB colour", 1536: "128-bit real", 1792: "complex", 2048: "complex", 2304: "RGBA colour"}
_UNITS = {1: "metres", 3: "micrometres"}
_AXIS_NAMES = ("x", "y", "z", "4 (time)", "5 (values per voxel)", "6", "7")
_FIELDS_1 = "<i 36x 8h 14x h h 2x 8f f f f 3x B 128x h h 6f 12f"
_FIELDS_2 = "<i 8x h h 8q 24x 8d q d d 152x i i 6d 12d i i"


@dataclass(frozen=True)
class _Header:
    """The fields that place and scale voxels, as stored."""

    order: str
    dim: tuple[int, ...]
    datatype: int
    bitpix: int
    pixdim: tuple[float, ...]
    vox_offset: float
    slope: float
    inter: float
    units: int
    qform_code: int
    sform_code: int
    quaternion: tuple[float, ...]
    srow: tuple[float, ...]
    version: int


def kind(head: bytes) -> str | None:
    """What NIfTI or Analyze thing these first bytes are: "nifti1", "nifti2", "pair", "analyze", or None."""
    if head[4:8] == b"n+2\0":
        return "nifti2"
    if head[4:8] == b"ni2\0":
        return "pair"
    if head[344:348] == b"n+1\0":
        return "nifti1"
    if head[344:348] == b"ni1\0":
        return "pair"
    return "analyze" if len(head) >= 348 and head[:4] in (struct.pack("<i", 348), struct.pack(">i", 348)) else None


def parse(head: bytes, path: Path, limits: GateLimits, *, packed: bool, assume_ras: bool = False) -> FileFacts:
    """Judge a NIfTI header.

    head        the first bytes of the unpacked file
    packed      True for .nii.gz
    assume_ras  take the voxel axes for right, anterior, superior where the file does not say
    raises      InputError
    """
    header = _unpack(head)
    sizes, volumes = _sizes(header, limits)
    code = _voxel_type(header)
    geometry.check_sizes((*sizes, volumes), int(code[1:]), limits)
    _check_units(header)
    geometry.check_spacing(header.pixdim[1:4], limits)
    forms = _forms(header, sizes, limits)
    assumed = not forms
    if assumed:
        forms = (_assumed_form(header, assume_ras),)
    slope, offset = _scaling(header, code)
    return FileFacts(format="nifti", sizes=sizes, volumes=volumes, voxel_type=header.order + code, lps=forms[0], forms=forms, data_file=path,
                     skip_bytes=_data_offset(header) if packed else 0, packed_at=0 if packed else _data_offset(header),
                     encoding="gzip" if packed else "raw", slope=slope, offset=offset,
                     second_reader=header.version == 1, assumed=assumed)


def _unpack(head: bytes) -> _Header:
    version = 2 if kind(head) == "nifti2" else 1
    if len(head) < (HEADER_BYTES if version == 2 else 348):
        raise broken_header("the file ends inside its header")
    order = "<" if struct.unpack_from("<i", head)[0] in (348, 540) else ">"
    if struct.unpack_from(order + "i", head)[0] not in (348, 540):
        raise broken_header("sizeof_hdr is neither 348 nor 540")
    if version == 1:
        v = struct.unpack_from(order + _FIELDS_1[1:], head)
        return _Header(order, v[1:9], v[9], v[10], v[11:19], v[19], v[20], v[21], v[22], v[23], v[24], v[25:31], v[31:43], 1)
    if head[8:12] != b"\r\n\x1a\n":
        raise broken_header("the NIfTI-2 signature was changed, as by a transfer in text mode")
    v = struct.unpack_from(order + _FIELDS_2[1:], head)
    return _Header(order, v[3:11], v[1], v[2], v[11:19], v[19], v[20], v[21], v[43], v[22], v[23], v[24:30], v[30:42], 2)


def _sizes(header: _Header, limits: GateLimits) -> tuple[tuple[int, int, int], int]:
    count = header.dim[0]
    geometry.check_dimensions(count)
    lengths = header.dim[1:count + 1]
    geometry.check_axis_lengths(lengths)
    for axis, length in enumerate(lengths[4:], start=4):
        geometry.check_extra_axis(length, _AXIS_NAMES[axis], readable=False)
    return tuple(lengths[:3]), lengths[3] if count > 3 else 1


def _voxel_type(header: _Header) -> str:
    code = _TYPES.get(header.datatype)
    if code is None:
        raise InputError("The scan's voxel type cannot be used", code="MRD-E113",
                         found=f"NIfTI datatype {header.datatype} ({_REFUSED_TYPES.get(header.datatype, 'not in the standard')})",
                         fix="export the scan as grey values (whole or real numbers)")
    if header.bitpix != 8 * int(code[1:]):
        raise InputError("The scan's voxel type contradicts its number of bits", code="MRD-E113",
                         found=f"datatype {header.datatype} with {header.bitpix} bits", fix="export the scan again; the header is damaged")
    return code


def _data_offset(header: _Header) -> int:
    smallest = 352 if header.version == 1 else 544
    offset = header.vox_offset
    if not math.isfinite(offset) or offset != int(offset) or not smallest <= offset <= MAX_OFFSET:
        raise offset_error(f"vox_offset {offset:g}")
    return int(offset)


def _check_units(header: _Header) -> None:
    unit = _UNITS.get(header.units & 7)
    if unit:
        raise geometry.wrong_unit(f"{unit} (xyzt_units)")


def _scaling(header: _Header, code: str) -> tuple[float, float]:
    """Slope and intercept; a slope of 0 means no scaling."""
    slope, inter = header.slope, header.inter
    if slope == 0 and inter == 0:
        return 1.0, 0.0
    largest = 2.0 ** (8 * int(code[1:])) if code[0] in "iu" else 1.0
    usable = math.isfinite(slope) and math.isfinite(inter) and abs(slope) > 1e-12
    if not usable or abs(slope) * largest + abs(inter) > 3e38:
        raise InputError("The scaling of the voxel values is not usable", code="MRD-E116", found=f"scl_slope {slope:g}, scl_inter {inter:g}",
                         fix="export the scan again; the header is damaged")
    return slope, inter


def _forms(header: _Header, sizes: tuple[int, int, int], limits: GateLimits) -> tuple[Affine, ...]:
    """The affines that the header gives (LPS, mm): sform first. Refuses two that contradict each other."""
    forms = []
    if header.sform_code > 0:
        forms.append(geometry.flipped_to_lps((header.srow[0:4], header.srow[4:8], header.srow[8:12])))
    if header.qform_code > 0:
        forms.append(geometry.flipped_to_lps(_qform(header)))
    for form in forms:
        geometry.check_frame(geometry.columns_of(form), [row[3] for row in form], limits)
    stated = geometry.columns_of(forms[0]) if forms else ()
    for column, spacing in zip(stated, header.pixdim[1:4]):
        if abs(math.hypot(*column) - spacing) > 0.01 * spacing:
            raise _conflict(f"voxel spacing {spacing:g} mm in pixdim, {math.hypot(*column):g} mm in the sform")
    if len(forms) == 2:
        apart = geometry.corner_difference_mm(forms[0], forms[1], sizes)
        if apart > geometry.SAME_FRAME_MM:
            raise _conflict(f"sform and qform place the scan up to {apart:.1f} mm apart")
    return tuple(forms)


def _conflict(found: str) -> InputError:
    return InputError("The header says two different things about where the scan lies", code="MRD-E141", found=found,
                      fix="find out which is right and write it to both forms, or convert the scan from DICOM again")


def _qform(header: _Header) -> Affine:
    """RAS affine of method 2: quaternion, pixdim, qfac and offsets."""
    b, c, d, *origin = header.quaternion
    if not all(math.isfinite(v) for v in header.quaternion):
        return ((math.nan,) * 4,) * 3
    rest = 1.0 - (b * b + c * c + d * d)
    if rest < -1e-4:
        raise InputError("The scan's axes are not at right angles (the header's quaternion is no rotation)", code="MRD-E139",
                         found=f"squared length {1 - rest:.3f} instead of at most 1", fix="export the scan again; the header is damaged")
    a = math.sqrt(max(0.0, rest)) if rest > 1e-7 else 0.0
    norm = math.sqrt(a * a + b * b + c * c + d * d)
    a, b, c, d = a / norm, b / norm, c / norm, d / norm
    rotation = ((a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)),
                (2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)),
                (2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c))
    qfac = -1.0 if header.pixdim[0] < 0 else 1.0
    steps = (header.pixdim[1], header.pixdim[2], header.pixdim[3] * qfac)
    return tuple((*(rotation[r][k] * steps[k] for k in range(3)), origin[r]) for r in range(3))


def _assumed_form(header: _Header, assume_ras: bool) -> Affine:
    """Axes right, anterior, superior from the first voxel, in LPS; only on the user's word."""
    if not assume_ras:
        raise unknown_orientation("neither qform nor sform")
    x, y, z = header.pixdim[1:4]
    return geometry.affine(((-x, 0, 0), (0, -y, 0), (0, 0, z)), (0, 0, 0))


def unknown_orientation(found: str) -> InputError:
    """The error for a file that leaves open which side is left."""
    return InputError("The file does not say which side of the scan is left, front or head", code="MRD-E142", found=found,
                      fix="convert the scan from DICOM again; only if you know that its axes run right, anterior, superior, say so "
                          "with --assume-ras (in a job file: assume_ras)")
