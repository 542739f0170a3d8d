"""MetaImage (.mha, .mhd): header in plain Python.

Formula source: the MetaIO documentation (Kitware). MetaImage places voxels in LPS; TransformMatrix lists one axis after the other.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, Notice
from MRDeltaNetLib.io.gate import geometry
from MRDeltaNetLib.io.gate.facts import Affine, FileFacts, broken_header, real, text_lines, whole
from MRDeltaNetLib.io.gate.payload import offset_error, sibling

_TYPES = {"met_char": "i1", "met_uchar": "u1", "met_short": "i2", "met_ushort": "u2", "met_int": "i4", "met_uint": "u4",
          "met_long_long": "i8", "met_ulong_long": "u8", "met_float": "f4", "met_double": "f8"}
_SYNONYMS = {"position": "offset", "origin": "offset", "rotation": "transformmatrix", "orientation": "transformmatrix",
             "elementbyteordermsb": "binarydatabyteordermsb", "elementdatafilename": "elementdatafile"}
_DATA_LINE = re.compile(rb"^[ \t]*ElementDataFile[ \t]*[=:][^\n]*\n?", re.MULTILINE | re.IGNORECASE)


def looks_like(head: bytes) -> bool:
    """True if these first bytes are a MetaImage header."""
    return re.match(rb"\s*(ObjectType|NDims|Comment|TransformType|ObjectSubType)[ \t]*[=:]", head) is not None


def parse(head: bytes, path: Path, limits: GateLimits) -> FileFacts:
    """Judge a MetaImage header; head is the file's first bytes. Raises InputError."""
    fields, end = _fields(head, limits)
    if fields.get("objecttype", "image").lower() != "image":
        raise InputError("This MetaIO file holds no image", code="MRD-E102", found="an ObjectType other than Image", fix="choose the scan itself")
    lengths = _lengths(fields)
    _check_values_per_voxel(fields)
    code = _voxel_type(fields)
    geometry.check_sizes(lengths, int(code[1:]), limits)
    lps, notices = _affine(fields, len(lengths), limits)
    encoding = _encoding(fields)
    sizes, volumes = lengths[:3], lengths[3] if len(lengths) > 3 else 1
    expected = sizes[0] * sizes[1] * sizes[2] * volumes * int(code[1:])
    data_file, start = _data_place(fields, path, end, encoding, expected)
    return FileFacts(format="metaimage", sizes=sizes, volumes=volumes, voxel_type=_order(fields) + code, lps=lps, forms=(lps,),
                     data_file=data_file, packed_at=start, encoding=encoding, packed_bytes=_packed_bytes(fields, encoding),
                     second_reader=encoding != "ascii", notices=notices)


def _fields(head: bytes, limits: GateLimits) -> tuple[dict[str, str], int]:
    """Fields by lower-case name, and the byte after the header."""
    last = _DATA_LINE.search(head)
    if last is None or last.end() > limits.max_header_bytes:
        raise broken_header("'ElementDataFile' is missing")
    fields: dict[str, str] = {}
    for line in text_lines(head[:last.end()]):
        if not line.strip():
            continue
        key, equals, value = re.match(r"([^=:]*)([=:]?)(.*)", line).groups()
        name = key.strip().lower()
        name = _SYNONYMS.get(name, name)
        if not equals or name in fields:
            raise broken_header("a field that occurs twice" if equals else "a line without '='")
        fields[name] = value.strip()
    return fields, last.end()


def _need(fields: dict[str, str], name: str) -> str:
    if not fields.get(name.lower()):
        raise broken_header(f"'{name}' is missing")
    return fields[name.lower()]


def _lengths(fields: dict[str, str]) -> tuple[int, ...]:
    found = geometry.lengths(_need(fields, "NDims"), _need(fields, "DimSize"), ("NDims", "DimSize"))
    for axis, length in enumerate(found[4:], start=5):
        geometry.check_extra_axis(length, str(axis), readable=False)
    return found


def _check_values_per_voxel(fields: dict[str, str]) -> None:
    channels = whole(fields.get("elementnumberofchannels", "1") or "1", "ElementNumberOfChannels")
    if channels < 1:
        raise broken_header("'ElementNumberOfChannels' is not positive")
    geometry.check_extra_axis(channels, "channels", readable=False)


def _voxel_type(fields: dict[str, str]) -> str:
    code = _TYPES.get(_need(fields, "ElementType").lower())
    if code is None:
        raise InputError("The scan's voxel type cannot be used", code="MRD-E113", found="an ElementType that is not a plain number",
                         fix="export the scan as grey values (whole or real numbers)")
    slope = real(fields.get("elementtointensityfunctionslope", "1"), "ElementToIntensityFunctionSlope")
    offset = real(fields.get("elementtointensityfunctionoffset", "0"), "ElementToIntensityFunctionOffset")
    if (slope, offset) != (1.0, 0.0):
        raise InputError("The scaling of the voxel values is not usable", code="MRD-E116", found="a scaling function in a MetaImage header",
                         fix="export the scan with its values already scaled")
    return code


def _flag(fields: dict[str, str], name: str, default: bool) -> bool:
    text = fields.get(name.lower(), "").lower()
    if text not in ("", "true", "false", "1", "0"):
        raise broken_header(f"'{name}' is neither True nor False")
    return default if not text else text in ("true", "1")


def _order(fields: dict[str, str]) -> str:
    return ">" if _flag(fields, "BinaryDataByteOrderMSB", False) else "<"


def _encoding(fields: dict[str, str]) -> str:
    packed, binary = _flag(fields, "CompressedData", False), _flag(fields, "BinaryData", False)
    if packed and not binary:
        raise broken_header("compressed text")
    return "zlib" if packed else "raw" if binary else "ascii"


def _packed_bytes(fields: dict[str, str], encoding: str) -> int | None:
    if encoding != "zlib" or "compresseddatasize" not in fields:
        return None
    return whole(fields["compresseddatasize"], "CompressedDataSize")


def _affine(fields: dict[str, str], dimension: int, limits: GateLimits) -> tuple[Affine, tuple[Notice, ...]]:
    unit = fields.get("distanceunits", "mm").lower()
    if unit not in ("mm", "?", ""):
        raise geometry.wrong_unit("another unit in 'DistanceUnits'")
    spacing = _numbers(fields, "ElementSpacing", dimension, None)[:3]
    origin = _numbers(fields, "Offset", dimension, [0.0] * dimension)[:3]
    identity = [float(r == c) for r in range(dimension) for c in range(dimension)]
    matrix = _numbers(fields, "TransformMatrix", dimension * dimension, identity)
    axes = [matrix[row * dimension:row * dimension + 3] for row in range(3)]
    geometry.check_spacing(spacing, limits)
    columns = [[spacing[axis] * value for value in axes[axis]] for axis in range(3)]
    geometry.check_frame(columns, origin, limits)
    if any(abs(math.hypot(*axis) - 1) > limits.direction_tolerance for axis in axes):
        raise InputError("The scan's directions are not of length one", code="MRD-E139", found="'TransformMatrix' is no rotation",
                         fix="export the scan again; the header is damaged")
    if "transformmatrix" in fields:
        return geometry.affine(columns, origin), ()
    return geometry.affine(columns, origin), (Notice(
        "MRD-W142", "The file gives no directions; MetaImage's own rule (left, posterior, superior) was taken",
        "check in the report that left and right are right"),)


def _numbers(fields: dict[str, str], name: str, count: int, default: list[float] | None) -> list[float]:
    text = fields.get(name.lower())
    if text is None and default is not None:
        return default
    if text is None:
        raise InputError("The distance between voxels is missing", code="MRD-E134", found=f"no '{name}' in the header",
                         fix="export the scan again with its voxel spacing; a guessed spacing would give wrong volumes")
    values = [real(word, name) for word in text.split()]
    if len(values) != count:
        raise broken_header(f"'{name}' does not fit the number of axes")
    return values


def _data_place(fields: dict[str, str], path: Path, end: int, encoding: str, expected: int) -> tuple[Path, int]:
    """The file with the voxels, and the byte where they begin."""
    name = _need(fields, "ElementDataFile")
    skip = whole(fields.get("headersize", "0"), "HeaderSize")
    local = name.upper() == "LOCAL"
    if skip < -1 or (skip and (local or encoding != "raw")):
        raise offset_error(f"HeaderSize {skip}")
    if local:
        return path, end
    data_file = sibling(path, name)
    return data_file, max(0, os.stat(data_file).st_size - expected) if skip == -1 else skip
