"""The voxels' bytes: unpacked as a stream and counted, so that a short file or a bomb is met before memory is asked for."""

from __future__ import annotations

import bz2
import os
import re
import stat
import zlib
from pathlib import Path
from typing import BinaryIO, Iterator

from MRDeltaNetLib.errors import InputError, Notice
from MRDeltaNetLib.io.gate.facts import FileFacts

CHUNK = 1 << 20
MAX_TRAILING_BYTES = 1 << 20
"""Bytes after the last voxel that are passed over with a warning (padding of disk blocks and tapes); more is refused."""

MAX_WORD_BYTES = 4096
"""No number is written with more characters."""

_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9]|conin\$|conout\$)(?:\..*)?", re.IGNORECASE)


class Unpacked:
    """The unpacked bytes of a stream, chunk by chunk.

    handle    binary file, placed at the first packed byte
    encoding  "raw", "gzip", "bzip2" or "zlib"
    Iterating raises InputError where the packed data are damaged or end early. Afterwards `leftover` is the number of bytes
    that were seen after the end of the packed data and `taken` the number of packed bytes used.
    """

    def __init__(self, handle: BinaryIO, encoding: str) -> None:
        self._handle, self._encoding = handle, encoding
        self.leftover = self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        if self._encoding == "raw":
            return iter(lambda: self._handle.read(CHUNK), b"")
        return self._members()

    def _members(self) -> Iterator[bytes]:
        magic = {"gzip": b"\x1f\x8b", "bzip2": b"BZh", "zlib": None}[self._encoding]
        rest = yield from self._member(b"")
        while rest and magic and rest.startswith(magic):
            rest = yield from self._member(rest)
        self.leftover = len(rest) + _count_rest(self._handle)

    def _member(self, pending: bytes) -> Iterator[bytes]:
        """One packed member; returns the bytes read beyond its end."""
        engine = self._engine()
        while not engine.eof:
            hungry = not pending and getattr(engine, "needs_input", True)
            if hungry:
                pending = self._handle.read(CHUNK)
            at_end = hungry and not pending
            try:
                block, left = self._step(engine, pending)
            except (zlib.error, OSError, EOFError, ValueError) as cause:
                raise damaged("the packed voxel data are corrupt") from cause
            self.taken += len(pending) - len(left)
            if at_end and not block and not engine.eof:
                raise damaged("the packed voxel data end early")
            pending = left
            if block:
                yield block
        rest = engine.unused_data
        self.taken -= len(rest)
        if len(rest) < 3:
            rest += self._handle.read(CHUNK)
        return rest

    def _engine(self):
        if self._encoding == "bzip2":
            return bz2.BZ2Decompressor()
        return zlib.decompressobj(31 if self._encoding == "gzip" else 15)

    @staticmethod
    def _step(engine, pending: bytes) -> tuple[bytes, bytes]:
        """At most CHUNK unpacked bytes, and the packed bytes not yet used."""
        block = engine.decompress(pending, CHUNK)
        return block, getattr(engine, "unconsumed_tail", b"")


def _count_rest(handle: BinaryIO) -> int:
    place = handle.tell()
    return handle.seek(0, os.SEEK_END) - place


def damaged(found: str) -> InputError:
    """The error for voxel data that are cut off or corrupt."""
    return InputError("The file is damaged: not all voxels that its header promises are there", code="MRD-E103", found=found,
                      fix="copy or export the file again; a download or a copy was probably interrupted")


def check_payload(facts: FileFacts) -> tuple[Notice, ...]:
    """Count the voxels' bytes against the header. Returns a warning for bytes after the last voxel.

    raises  InputError if bytes are missing or damaged, or if the data unpack to more than the header declares
    """
    if facts.encoding == "ascii":
        return _check_ascii(facts)
    expected = facts.skip_bytes + facts.voxel_bytes
    if facts.encoding == "raw":
        return _judge_length(_regular_size(facts.data_file) - facts.packed_at, facts, expected)
    packed = _regular_size(facts.data_file) - facts.packed_at
    if packed > 2 * expected + MAX_TRAILING_BYTES:            # an archive of empty members would keep us reading for as long as it is
        raise _far_more(packed, "packed bytes")
    with facts.data_file.open("rb") as handle:
        handle.seek(facts.packed_at)
        stream, count = Unpacked(handle, facts.encoding), 0
        for block in stream:
            count += len(block)
            if count > expected + MAX_TRAILING_BYTES:
                raise _bomb(expected)
    _check_packed_length(facts, stream)
    return _judge_length(count, facts, expected, stream.leftover)


def _regular_size(path: Path) -> int:
    return os.stat(path).st_size


def _bomb(expected: int) -> InputError:
    return InputError("The packed data unpack to far more than the header declares", code="MRD-E110", found=f"more than {expected} bytes",
                      fix="do not use this file; export the scan again from its source")


def _judge_length(count: int, facts: FileFacts, expected: int, leftover: int = 0) -> tuple[Notice, ...]:
    if count < facts.skip_bytes or count < 0:
        raise offset_error("the voxels would begin after the end of the file")
    if count < expected:
        raise damaged(f"{max(0, count - facts.skip_bytes)} of {facts.voxel_bytes} bytes of voxel data")
    trailing = count - expected + leftover
    if trailing > MAX_TRAILING_BYTES:
        raise _far_more(trailing, "bytes after the last voxel")
    if trailing:
        return (Notice("MRD-W106", f"The file has {trailing} bytes after the last voxel; they were passed over",
                       "export the scan again if you did not expect this"),)
    return ()


def _far_more(count: int, what: str) -> InputError:
    return InputError("The file holds far more data than its header declares", code="MRD-E106", found=f"{count} {what}",
                      fix="export the scan again; the header's size or voxel type does not fit the data")


def offset_error(found: str) -> InputError:
    """The error for a header that points to an impossible start of the voxels."""
    return InputError("The header gives an impossible place for the first voxel", code="MRD-E115", found=found,
                      fix="export the scan again; the header is damaged")


def _check_packed_length(facts: FileFacts, stream: Unpacked) -> None:
    if facts.packed_bytes is not None and facts.packed_bytes != stream.taken:
        raise InputError("The header's length of the packed data is wrong", code="MRD-E105",
                         found=f"CompressedDataSize {facts.packed_bytes}, really {stream.taken} bytes",
                         fix="export the scan again; the header is damaged")


_NUMBER = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?(?:nan|inf)", re.IGNORECASE)


def _check_ascii(facts: FileFacts) -> tuple[Notice, ...]:
    """Count numbers written as text."""
    count = 0
    with facts.data_file.open("rb") as handle:
        handle.seek(facts.packed_at)
        for words in words_of(handle):
            count += _count_numbers(words)
            if count > facts.voxel_count + MAX_TRAILING_BYTES:
                raise _bomb(facts.voxel_bytes)
    if count < facts.voxel_count:
        raise damaged(f"{count} of {facts.voxel_count} numbers")
    if count > facts.voxel_count:
        return (Notice("MRD-W106", f"The file has {count - facts.voxel_count} numbers after the last voxel; they were passed over",
                       "export the scan again if you did not expect this"),)
    return ()


def words_of(handle: BinaryIO) -> Iterator[list[bytes]]:
    """The words of a text, chunk by chunk, in file order; white space and commas part them. Refuses words that are no number's length."""
    kept = b""
    while block := handle.read(CHUNK):
        *words, kept = re.split(rb"[\s,]+", kept + block)
        yield [word for word in words if word]
        if len(kept) > MAX_WORD_BYTES:
            raise damaged("text among the voxel values")
    yield [kept] if kept else []


def _count_numbers(words: list[bytes]) -> int:
    if not all(_NUMBER.fullmatch(word) for word in words):
        raise damaged("text among the voxel values")
    return len(words)


def sibling(header: Path, name: str) -> Path:
    """The data file that a detached header names: only a plain regular file in the header's own folder.

    header  the header's path
    name    what it names
    """
    if re.search(r"%|\*|\?", name) or name.upper() == "LIST" or re.match(r"list\s", name, re.IGNORECASE):
        raise InputError("The header spreads the voxels over several files", code="MRD-E112", found="a list or a pattern of file names",
                         fix="export the scan as one file, for example .nrrd or .nii.gz")
    plain = 0 < len(name) <= 255 and name not in (".", "..") and not re.search(r"[/\\:\x00-\x1f]", name) and name == name.strip()
    if not plain or _DEVICES.fullmatch(name):
        raise _foreign("a path, a device name or an odd file name instead of the name of a file beside the header")
    path = header.parent / name
    try:
        facts, own = os.lstat(path), os.stat(header)
    except (OSError, ValueError) as cause:
        raise InputError("The file that holds the voxels is missing", code="MRD-E111", found="a header without its data file",
                         fix="put the header and its data file into one folder, under the names they were written with") from cause
    if not stat.S_ISREG(facts.st_mode):
        raise _foreign("a link, a folder or a device")
    if os.path.samestat(facts, own):
        raise _foreign("the header itself")
    return path


def _foreign(found: str) -> InputError:
    return InputError("The header points to something other than a file beside it", code="MRD-E111", found=found,
                      fix="export the scan as one file, for example .nrrd or .nii.gz")
