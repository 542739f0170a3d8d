"""The skeleton of one DICOM file: where its elements lie, walked in pure Python with hard limits before any parser sees it.

Nothing is allocated on the word of a length field: a length that does not fit into its container ends the walk.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass, field
from typing import BinaryIO

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
NATIVE = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG)

PREAMBLE_BYTES = 132
UNDEFINED = 0xFFFFFFFF
MAX_ELEMENTS = 2_000_000
MAX_INFLATED_BYTES = 256 * 1024**2

ITEM, ITEM_END, SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
PIXEL_DATA = (0x7FE0, 0x0010)
SOP_CLASS, SERIES_UID = (0x0008, 0x0016), (0x0020, 0x000E)
_LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_DAMAGED_FIX = "export the series again from the archive; if the message stays, the file is damaged there too"


class NotDicom(Exception):
    """The file is no DICOM Part 10 file."""


@dataclass
class Structure:
    """What the walk found. Offsets count bytes in `stream()`'s content.

    transfer_syntax, sop_class, series_uid  text as stored, "" if absent
    body            offset of the first element after the file meta information
    header_end      offset where the header ends: the pixel data element, or the end of the file
    pixel_offset    offset of the pixel data's value; None without pixel data
    pixel_bytes     its length; None if it is undefined (compressed fragments)
    pixel_words     True if they were written as 16-bit words (value representation OW)
    fragments       (offset, length) of each item of compressed pixel data; the first is the offset table
    trailing_bytes  bytes behind the pixel data that are no DICOM element
    inflated        the inflated content of a deflated file, None otherwise; deflated_from  where its deflated bytes start
    """

    transfer_syntax: str = ""
    sop_class: str = ""
    series_uid: str = ""
    body: int = 0
    header_end: int = 0
    pixel_offset: int | None = None
    pixel_bytes: int | None = None
    pixel_words: bool = False
    fragments: list[tuple[int, int]] = field(default_factory=list)
    trailing_bytes: int = 0
    inflated: bytes | None = None
    deflated_from: int = 0

    @property
    def implicit(self) -> bool:
        """True if elements are written without their value representation."""
        return self.transfer_syntax == IMPLICIT_LITTLE

    @property
    def little(self) -> bool:
        """True if numbers are written with the low byte first."""
        return self.transfer_syntax != EXPLICIT_BIG


def damaged(what: str, found: str = "") -> InputError:
    """The error for a file whose structure cannot be right."""
    return InputError(f"A DICOM file is damaged: {what}", code="MRD-E204", found=found, fix=_DAMAGED_FIX)


def read_structure(stream: BinaryIO, size: int, limits: GateLimits, into: Structure) -> Structure:
    """Walk one file of `size` bytes; `into` is filled as the walk goes, so that what came before a fault stays known.

    raises  NotDicom without the DICM mark; InputError MRD-E203 if it is too large, MRD-E204 if the structure is damaged, MRD-E230
            without a transfer syntax
    """
    stream.seek(0)
    if stream.read(PREAMBLE_BYTES)[128:] != b"DICM":
        raise NotDicom
    if size > limits.max_file_bytes:
        raise InputError("A file is larger than the limit", code="MRD-E203",
                         found=f"{size / 1024**3:.1f} GiB, limit {limits.max_file_bytes / 1024**3:.1f} GiB",
                         fix="take the file out of the folder, or export the series as single slices")
    _walk_meta(_Walk(stream, size, limits, implicit=False, little=True), into)
    if not into.transfer_syntax:
        raise InputError("A DICOM file does not say how its data are written", code="MRD-E230", found="no transfer syntax",
                         fix="export the series again as DICOM Part 10 files")
    if into.transfer_syntax == DEFLATED:
        into.deflated_from = into.body
        into.inflated = inflate(stream, into.body)
        stream, size, into.body = io.BytesIO(into.inflated), len(into.inflated), 0
    _walk_body(_Walk(stream, size, limits, implicit=into.implicit, little=into.little), into)
    return into


def inflate(stream: BinaryIO, start: int) -> bytes:
    """The content of a deflated file from byte `start` on, up to a limit; InputError MRD-E204 if it is damaged or too large."""
    stream.seek(start)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflater.decompress(stream.read(MAX_INFLATED_BYTES), MAX_INFLATED_BYTES + 1)
    except zlib.error as cause:
        raise damaged("its deflated content cannot be inflated") from cause
    if len(content) > MAX_INFLATED_BYTES:
        raise damaged("its deflated content grows beyond the limit", f"more than {MAX_INFLATED_BYTES // 1024**2} MiB")
    if not inflater.eof:
        raise damaged("its deflated content ends too early")
    return content


def _walk_meta(walk: "_Walk", into: Structure) -> None:
    place = PREAMBLE_BYTES
    while place + 8 <= walk.size:
        if walk.group_at(place) != 2:
            break
        tag, _, length, value = walk.element(place, walk.size)
        if length == UNDEFINED:
            raise damaged("its file meta information has no end")
        if tag == (2, 0x0010):
            into.transfer_syntax = walk.text(value, length)
        elif tag == (2, 0x0002):
            into.sop_class = walk.text(value, length)
        place = value + length
    into.body = place


def _walk_body(walk: "_Walk", into: Structure) -> None:
    place = into.body
    while place + 8 <= walk.size:
        tag = None
        try:
            tag, vr, length, value = walk.element(place, walk.size)
            if tag == PIXEL_DATA and into.pixel_offset is None:
                into.header_end = place
            place = _step(walk, into, tag, vr, length, value)
        except InputError:
            if into.pixel_offset is None or tag == PIXEL_DATA:
                raise
            break
    if into.pixel_offset is None:
        if place != walk.size:
            raise damaged("it ends in the middle of an element")
        into.header_end = walk.size
    else:
        into.trailing_bytes = walk.size - place
    if into.header_end - into.body > walk.limits.max_dicom_header_bytes:
        raise damaged("its header is larger than the limit", f"more than {walk.limits.max_dicom_header_bytes // 1024**2} MiB")


def _step(walk: "_Walk", into: Structure, tag: tuple[int, int], vr: bytes | None, length: int, value: int) -> int:
    """Note what matters about a top-level element; returns where the next one starts."""
    if tag == PIXEL_DATA:
        if into.pixel_offset is not None:
            raise damaged("it holds its pixel data twice")
        if length == UNDEFINED:
            into.fragments = walk.fragments(value)
            into.pixel_offset, into.pixel_bytes = value, None
            last_offset, last_length = into.fragments[-1] if into.fragments else (value, 0)
            return last_offset + last_length + 8
        into.pixel_offset, into.pixel_bytes, into.pixel_words = value, length, vr == b"OW"
        return value + length
    if tag == SERIES_UID and length <= 256:
        into.series_uid = walk.text(value, length)
    elif tag == SOP_CLASS and length <= 256:
        into.sop_class = walk.text(value, length) or into.sop_class
    return walk.over(tag, vr, length, value, walk.size, depth=0)


class _Walk:
    """Steps over the elements of one stream."""

    def __init__(self, stream: BinaryIO, size: int, limits: GateLimits, *, implicit: bool, little: bool) -> None:
        self.stream, self.size, self.limits, self.implicit, self.little = stream, size, limits, implicit, little
        self.elements = 0

    def _read(self, place: int, count: int) -> bytes:
        self.stream.seek(place)
        got = self.stream.read(count)
        if len(got) != count:
            raise damaged("it ends in the middle of an element")
        return got

    def group_at(self, place: int) -> int:
        return struct.unpack("<H" if self.little else ">H", self._read(place, 2))[0]

    def text(self, value: int, length: int) -> str:
        """A short UID, with its padding off."""
        return self._read(value, length).decode("ascii", "replace").rstrip("\0 ").strip()

    def element(self, place: int, end: int, implicit: bool | None = None) -> tuple[tuple[int, int], bytes | None, int, int]:
        """Tag, value representation, length and value offset of the element at `place` in a container that ends at `end`."""
        implicit = self.implicit if implicit is None else implicit
        self.elements += 1
        if self.elements > MAX_ELEMENTS:
            raise damaged("it has more elements than the limit", f"more than {MAX_ELEMENTS}")
        order = "<" if self.little else ">"
        if place + 8 > end:
            raise damaged("it ends in the middle of an element")
        head = self._read(place, 8)
        tag = struct.unpack(order + "HH", head[:4])
        if implicit or tag[0] == 0xFFFE:
            vr, length, value = None, struct.unpack(order + "L", head[4:])[0], place + 8
        else:
            vr = head[4:6]
            if not (vr.isalpha() and vr.isupper()):
                raise damaged("an element's type cannot be read", f"after {self.elements} elements")
            if vr in _LONG_VRS:
                length, value = struct.unpack(order + "L", self._read(place + 8, 4))[0], place + 12
            else:
                length, value = struct.unpack(order + "H", head[6:])[0], place + 8
        if length != UNDEFINED:
            if value + length > end:
                raise damaged("an element claims more bytes than there are", f"{length} bytes claimed, {max(0, end - value)} there")
            if length > self.limits.max_element_bytes and tag not in (PIXEL_DATA, ITEM) and vr != b"SQ":
                raise damaged("an element is larger than the limit",
                              f"{length // 1024**2} MiB, limit {self.limits.max_element_bytes // 1024**2} MiB")
        return tag, vr, length, value

    def over(self, tag: tuple[int, int], vr: bytes | None, length: int, value: int, end: int, depth: int,
             implicit: bool | None = None) -> int:
        """Where the next element starts; sequences are walked through and checked on the way."""
        if length == UNDEFINED:
            if vr not in (None, b"SQ", b"UN"):
                raise damaged("an element that is no sequence has no end")
            # a sequence of unknown type is written without value representations (PS3.5, 6.2.2 note)
            return self._sequence(value, end, None, depth + 1, True if vr == b"UN" else implicit)
        if vr == b"SQ" and tag[0] % 2 == 0:
            self._sequence(value, value + length, value + length, depth + 1, implicit)
        return value + length

    def _sequence(self, place: int, end: int, stop: int | None, depth: int, implicit: bool | None) -> int:
        if depth > self.limits.max_sequence_depth:
            raise damaged("its sequences are nested deeper than the limit", f"more than {self.limits.max_sequence_depth} levels")
        while place != stop:
            tag, _, length, value = self.element(place, end)
            if tag == SEQUENCE_END and stop is None:
                return value
            if tag != ITEM:
                raise damaged("a sequence holds something that is no item")
            place = self._item(value, end, None, depth, implicit) if length == UNDEFINED else \
                self._item(value, value + length, value + length, depth, implicit)
        return place

    def _item(self, place: int, end: int, stop: int | None, depth: int, implicit: bool | None) -> int:
        while place != stop:
            tag, vr, length, value = self.element(place, end, implicit)
            if tag == ITEM_END:
                if stop is None:
                    return value
                raise damaged("an item ends twice")
            place = self.over(tag, vr, length, value, end, depth, implicit)
        return place

    def fragments(self, place: int) -> list[tuple[int, int]]:
        """(offset, length) of the items of compressed pixel data, the offset table first."""
        found: list[tuple[int, int]] = []
        while True:
            tag, _, length, value = self.element(place, self.size)
            if tag == SEQUENCE_END:
                return found
            if tag != ITEM or length == UNDEFINED:
                raise damaged("its compressed pixel data are not a list of fragments")
            found.append((value, length))
            place = value + length
