"""NRRD: header in plain Python.

Formula source: Teem's NRRD format description, versions 1 to 5. The affines given here are LPS.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.gate import geometry
from MRDeltaNetLib.io.gate.facts import Affine, FileFacts, Segment, broken_header, real, text_lines, whole
from MRDeltaNetLib.io.gate.nifti import unknown_orientation
from MRDeltaNetLib.io.gate.payload import offset_error, sibling

_TYPES = {"i1": ("signed char", "int8", "int8_t"), "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
          "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
          "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
          "i4": ("int", "signed int", "int32", "int32_t"), "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
          "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
          "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "f4": ("float",), "f8": ("double",)}
_TYPE_OF = {name: code for code, names in _TYPES.items() for name in names}
_ENCODINGS = {"raw": "raw", "gz": "gzip", "gzip": "gzip", "bz2": "bzip2", "bzip2": "bzip2", "txt": "ascii", "text": "ascii", "ascii": "ascii"}
_SIGNS = {"right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1), "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
          "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1)}
_FIELDS = {"type", "block size", "dimension", "space", "space dimension", "sizes", "spacings", "thicknesses", "axis mins", "axis maxs",
           "centerings", "labels", "units", "kinds", "space units", "space origin", "space directions", "measurement frame", "min", "max",
           "old min", "old max", "endian", "encoding", "data file", "content", "number", "sample units", "line skip", "byte skip"}
_SYNONYMS = {"blocksize": "block size", "axismins": "axis mins", "axismaxs": "axis maxs", "centers": "centerings", "datafile": "data file",
             "sampleunits": "sample units", "lineskip": "line skip", "byteskip": "byte skip", "oldmin": "old min", "oldmax": "old max"}
OWN_TEXTS = "mrdeltanet"
"""How the keys of texts of ours begin."""

_SPACE_KINDS = {"domain", "space", "???", "none"}
_SERIES_KINDS = {"list", "time", "domain", "???", "none"}


def parse(head: bytes, path: Path, limits: GateLimits, *, assume_ras: bool = False) -> FileFacts:
    """Judge an NRRD header.

    head        the first bytes of the file, at least the whole header unless that is too long
    assume_ras  take the axes of a file without an anatomical space for right, anterior, superior
    raises      InputError
    """
    fields, pairs, end = _fields(head, limits)
    lengths = geometry.lengths(_need(fields, "dimension"), _need(fields, "sizes"), ("dimension", "sizes"))
    place = _extra_axis(fields, lengths)
    sizes = tuple(n for axis, n in enumerate(lengths) if axis != place)
    volumes = 1 if place is None else lengths[place]
    code = _voxel_type(fields)
    geometry.check_sizes(lengths, int(code[1:]), limits)
    encoding = _encoding(fields)
    lps, assumed = _affine(fields, place, limits, assume_ras)
    data_file, start = _data_place(fields, path, end, encoding, volumes * sizes[0] * sizes[1] * sizes[2] * int(code[1:]))
    return FileFacts(format="nrrd", sizes=sizes, volumes=volumes, volume_axis=3 if place is None else place, voxel_type=_order(fields, code, encoding) + code,
                     lps=lps, forms=(lps,), data_file=data_file, packed_at=start, encoding=encoding,
                     second_reader=place is None and encoding != "bzip2", assumed=assumed, segments=_segments(pairs),
                     texts={key: _unescaped(value) for key, value in pairs.items() if key.startswith(OWN_TEXTS)})


def _fields(head: bytes, limits: GateLimits) -> tuple[dict[str, str], dict[str, str], int]:
    """Fields, key/value pairs, and the byte after the header."""
    match = re.search(rb"\r?\n\r?\n", head)
    if match is None and len(head) > limits.max_header_bytes:
        raise broken_header(f"the header does not end within {limits.max_header_bytes} bytes")
    text = head[:match.start()] if match else head
    lines = text_lines(text)
    if not re.fullmatch(r"NRRD000[1-5]", lines[0]):
        raise broken_header("unknown NRRD version")
    fields: dict[str, str] = {}
    pairs: dict[str, str] = {}
    for line in lines[1:]:
        if line.startswith("#") or not line.strip():
            continue
        key, pair, value = re.match(r"([^:]*)(:=|: ?|)(.*)", line).groups()
        target = pairs if pair == ":=" else fields
        name = key.strip() if pair == ":=" else _field_name(key)
        if not pair or name in target:
            raise broken_header("a field that occurs twice" if pair else "a line that is neither field nor comment")
        target[name] = value.strip()
    return fields, pairs, match.end() if match else len(head)


def _field_name(key: str) -> str:
    name = key.strip().lower()
    name = _SYNONYMS.get(name.replace(" ", ""), name)
    if name not in _FIELDS:
        raise broken_header("a field that NRRD does not know")
    return name


def _need(fields: dict[str, str], name: str) -> str:
    if name not in fields:
        raise broken_header(f"'{name}' is missing")
    return fields[name]


def _extra_axis(fields: dict[str, str], lengths: tuple[int, ...]) -> int | None:
    """The axis that does not lie in space, None for a plain volume."""
    count = len(lengths)
    kinds = fields.get("kinds", "").lower().split() or ["domain"] * count
    vectors = _vectors(fields, count)
    if len(kinds) != count or len(vectors) != count:
        raise broken_header("'kinds' or 'space directions' do not fit the number of axes")
    outside = [axis for axis in range(count) if vectors[axis] is None or kinds[axis] not in _SPACE_KINDS]
    if count == 3:
        if outside:
            raise InputError("This file does not have three axes in space", code="MRD-E127", found=f"{3 - len(outside)} of 3",
                             fix="choose the whole series as grey values, not one of its images and no colour picture")
        return None
    if count > 4 or len(outside) != 1:
        axes = ", ".join(f"{kinds[a]} ({lengths[a]})" for a in range(count))
        raise InputError("The file has more axes than three in space and one that counts volumes", code="MRD-E130", found=f"axes: {axes}"[:200],
                         fix="export the volume you want as a 3-D file")
    place = outside[0]
    geometry.check_extra_axis(lengths[place], kinds[place], readable=kinds[place] in _SERIES_KINDS)
    return place


def _vectors(fields: dict[str, str], count: int) -> list[tuple[float, ...] | None]:
    """One step for each axis, None for an axis that does not lie in space."""
    if "space directions" not in fields:
        words = fields.get("spacings", "").split()
        if count != 3 or len(words) != 3:
            raise unknown_orientation("no 'space directions'")
        values = [real(word, "spacings") for word in words]
        return [tuple(value if axis == row else 0.0 for row in range(3)) for axis, value in enumerate(values)]
    words = re.findall(r"none|\([^()]*\)", fields["space directions"])
    if re.sub(r"none|\([^()]*\)|\s", "", fields["space directions"]):
        raise broken_header("'space directions' are not vectors")
    return [None if word == "none" else _vector(word, "space directions") for word in words]


def _vector(word: str, field: str) -> tuple[float, ...]:
    values = tuple(real(part.strip(), field) for part in word.strip().strip("()").split(","))
    if len(values) != 3:
        raise broken_header(f"'{field}' do not have three components")
    return values


def _voxel_type(fields: dict[str, str]) -> str:
    code = _TYPE_OF.get(_need(fields, "type").lower())
    if code is None:
        raise InputError("The scan's voxel type cannot be used", code="MRD-E113", found="an NRRD type that is not a plain number",
                         fix="export the scan as grey values (whole or real numbers)")
    return code


def _encoding(fields: dict[str, str]) -> str:
    encoding = _ENCODINGS.get(_need(fields, "encoding").lower())
    if encoding is None:
        raise InputError("The voxels are packed in a way that is not read", code="MRD-E113", found="an encoding other than raw, gzip, bzip2 or text",
                         fix="export the scan as NRRD with gzip or without compression")
    return encoding


def _order(fields: dict[str, str], code: str, encoding: str) -> str:
    order = {"little": "<", "big": ">"}.get(fields.get("endian", "").lower())
    if order is None and code[1:] != "1" and encoding != "ascii":
        raise InputError("The order of the voxels' bytes is missing or unknown", code="MRD-E113", found="'endian' is neither little nor big",
                         fix="export the scan again; the header is damaged")
    return order or ("<" if sys.byteorder == "little" else ">")


def _affine(fields: dict[str, str], place: int | None, limits: GateLimits, assume_ras: bool) -> tuple[Affine, bool]:
    """Voxel index -> LPS, mm, and whether it stands on the user's word."""
    if "space units" in fields:
        units = set(re.findall(r'"([^"]*)"', fields["space units"]))
        if units - {"mm", "millimeter", "millimetre", "millimeters", "millimetres", "???", ""}:
            raise geometry.wrong_unit("another unit in 'space units'")
    space = fields.get("space", "").lower()
    signs = _SIGNS.get(space)
    known = signs is not None and "space directions" in fields
    if not known and not assume_ras:
        raise unknown_orientation("no anatomical space (such as left-posterior-superior) with directions")
    count = 3 if place is None else 4
    columns = [v for axis, v in enumerate(_vectors(fields, count)) if axis != place]
    origin = _vector(fields["space origin"], "space origin") if "space origin" in fields else (0.0, 0.0, 0.0)
    geometry.check_frame(columns, origin, limits)
    return geometry.flipped_to_lps(geometry.affine(columns, origin), signs or (-1, -1, 1)), not known


def _data_place(fields: dict[str, str], path: Path, end: int, encoding: str, expected: int) -> tuple[Path, int]:
    """The file with the voxels, and the byte where they begin."""
    detached = "data file" in fields
    data_file, start = (sibling(path, fields["data file"]), 0) if detached else (path, end)
    line_skip = whole(fields.get("line skip", "0"), "line skip")
    byte_skip = whole(fields.get("byte skip", "0"), "byte skip")
    if line_skip or byte_skip < -1 or (byte_skip and encoding != "raw"):
        raise offset_error(f"line skip {line_skip}, byte skip {byte_skip}")
    if byte_skip == -1:
        start = max(start, os.stat(data_file).st_size - expected)
        return data_file, start
    return data_file, start + byte_skip


def _unescaped(value: str) -> str:
    """A text as it was before NRRD's two escapes, of backslash and line end."""
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], value)


def _segments(pairs: dict[str, str]) -> tuple[Segment, ...]:
    """Segments as 3D Slicer writes them: Segment0_Name, Segment0_LabelValue, Segment0_Layer."""
    found = []
    for key in pairs:
        match = re.fullmatch(r"(Segment[0-9]{1,6})_LabelValue", key)
        if match and re.fullmatch(r"[0-9]{1,9}", pairs[key]):
            layer = pairs.get(f"{match[1]}_Layer", "0")
            name = re.sub(r"[^\w .,()+-]", "_", pairs.get(f"{match[1]}_Name", match[1]))[:64]
            found.append(Segment(name, int(pairs[key]), int(layer) if re.fullmatch(r"[0-9]{1,6}", layer) else 0))
    return tuple(found)
