"""Scans that a browser hands over: files and zip archives, checked before a byte is unpacked, and stored under names of our own.

Nothing that the browser says becomes a path. A name from outside is looked at for two things: the ending by which a format is known, and
whether an archive's maker meant harm. Files get numbers, so that names (which may be a patient's) end here.
"""

from __future__ import annotations

import stat
import tempfile
import unicodedata
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Iterable

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.atomic import output_problem

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".dcm", ".ima")
"""Endings that are kept, because readers know a format by them; DICOM files need none. Formats whose voxels lie in a second file are not among them."""

TWO_FILES = (".nhdr", ".mhd", ".hdr", ".img", ".raw", ".zraw")
ARCHIVE, EMPTY_ARCHIVE = b"PK\x03\x04", b"PK\x05\x06"
NAMES_OF_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}
LITTER = ("__macosx/", ".ds_store", "thumbs.db", "desktop.ini", "dicomdir")
"""What operating systems and DICOM discs lay beside files; left out without a word."""

CHUNK_BYTES = 1024**2
SPOOL_BYTES = 8 * 1024**2
"""An arriving file up to this size stays in memory."""

SENT_BESIDE_FILES_BYTES = 1024**2
"""What a browser sends around the files: borders and names."""

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 0x1
LOCAL_HEADER_BYTES = 30
DIRECTIONS = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")


@dataclass(frozen=True)
class UploadLimits:
    """How much one upload may be.

    max_sent_bytes       of one upload as it is sent; a series of a pelvis takes 5 to 100 MB
    max_bytes            of all files of one scan together, unpacked
    max_files            of one scan
    max_directory_bytes  of an archive's directory, which is read in one piece and becomes some ten times as large in memory
    max_name_characters  of a member of an archive
    max_ratio            unpacked over packed size of a member that unpacks to more than ratio_from_bytes: scans pack to a half or a tenth
    """

    max_sent_bytes: int = 400 * 1024**2
    max_bytes: int = 1024**3
    max_files: int = 5000
    max_directory_bytes: int = 4 * 1024**2
    max_name_characters: int = 255
    max_ratio: float = 200.0
    ratio_from_bytes: int = 1024**2


def store(files: Iterable[tuple[str, BinaryIO]], folder: Path, limits: UploadLimits = UploadLimits()) -> Path:
    """Store one scan as it was uploaded.

    files    (name in the browser, content); one zip archive, or the files of one scan
    folder   a new or empty folder of ours
    returns  what a reader opens: the one file, or the folder of DICOM files
    raises   InputError MRD-E910 (no file, or more than one that is no DICOM), E911 (too large, or too many), E912 (an archive that cannot be
             read or is damaged), E913 (an archive that is not to be trusted), E914 (a format whose voxels lie in a second file);
             EnvironmentProblem MRD-E810 to E813 where the disk refuses
    Whatever was stored is removed when it is refused.
    """
    store = _Store(folder, limits)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files:
            if content.read(len(ARCHIVE)) in (ARCHIVE, EMPTY_ARCHIVE):
                content.seek(0)
                _unpack(content, store)
            else:
                content.seek(0)
                store.add(name, content)
        return store.opened()
    except OSError as problem:
        store.remove()
        raise output_problem(problem) from problem
    except BaseException:
        store.remove()
        raise


class Incoming:
    """An upload while it arrives: counted piece by piece, and kept in nameless temporary files until it is stored. No method waits for the network."""

    def __init__(self, announced_bytes: int | None = None, limits: UploadLimits = UploadLimits()) -> None:
        """
        announced_bytes  what the sender says it will be; None: it does not say
        raises           InputError MRD-E911 if that is too much
        """
        self.limits, self.announced_bytes, self.bytes = limits, announced_bytes, 0
        self._files: list[tuple[str, BinaryIO]] = []
        if announced_bytes is not None and announced_bytes > limits.max_sent_bytes + SENT_BESIDE_FILES_BYTES:
            raise too_large(limits, sent=True)

    def begin(self, name: str) -> None:
        """The next file comes. raises InputError MRD-E911 if it is one too many"""
        if len(self._files) >= self.limits.max_files:
            raise too_many(self.limits)
        self._files.append((name, tempfile.SpooledTemporaryFile(SPOOL_BYTES)))

    def add(self, content: bytes) -> None:
        """The next bytes of the file that was begun. raises InputError MRD-E911; EnvironmentProblem MRD-E810 to E813"""
        self.bytes += len(content)
        if self.bytes > self.limits.max_sent_bytes:
            raise too_large(self.limits, sent=True)
        try:
            self._files[-1][1].write(content)
        except OSError as problem:
            raise output_problem(problem) from problem

    def share(self) -> float | None:
        """How much has come, 0 to 1; None if nobody said how much it will be."""
        return None if not self.announced_bytes else min(1.0, self.bytes / self.announced_bytes)

    def store(self, folder: Path) -> Path:
        """Check it and put it into a folder; see store."""
        try:
            for _name, content in self._files:
                content.seek(0)                          # writes what still waits to be written
        except OSError as problem:
            raise output_problem(problem) from problem
        return store(self._files, folder, self.limits)

    def close(self) -> None:
        """Forget what has come; may be called again."""
        for _name, content in self._files:
            content.close()
        self._files.clear()


def too_large(limits: UploadLimits, *, sent: bool = False) -> InputError:
    """MRD-E911. sent: as it is sent, not unpacked"""
    most, how = (limits.max_sent_bytes, "") if sent else (limits.max_bytes, " unpacked")
    return InputError("The upload is too large", code="MRD-E911", found=f"more than {most // 1024**2} MiB{how}",
                      fix="choose the files of one scan only; use the command line for larger ones")


def too_many(limits: UploadLimits) -> InputError:
    """MRD-E911."""
    return InputError("The upload holds too many files", code="MRD-E911", found=f"more than {limits.max_files}", fix="choose the files of one scan only")


class _Store:
    """Files of one scan under numbers, counted while they are written."""

    def __init__(self, folder: Path, limits: UploadLimits) -> None:
        self.folder, self.limits, self.paths, self.bytes = folder, limits, [], 0

    def add(self, name: str, content: BinaryIO) -> None:
        """One file; the ending of its name is all that is kept of it."""
        lower = name.lower()
        if lower.endswith(TWO_FILES):
            raise InputError("A format whose voxels lie in a second file cannot be uploaded", code="MRD-E914", found=f"a file ending in {Path(lower).suffix}",
                             fix="save the scan as one file, such as .nrrd or .nii.gz")
        if len(self.paths) >= self.limits.max_files:
            raise too_many(self.limits)
        path = self.folder / f"{len(self.paths) + 1:05d}{next((ending for ending in ENDINGS if lower.endswith(ending)), '')}"
        self.paths.append(path)
        with path.open("xb") as target:
            while chunk := content.read(CHUNK_BYTES):
                self.bytes += len(chunk)
                if self.bytes > self.limits.max_bytes:
                    raise too_large(self.limits)
                target.write(chunk)

    def opened(self) -> Path:
        """What a reader opens."""
        if not self.paths:
            raise InputError("Nothing was uploaded that could be a scan", code="MRD-E910", found="no file", fix="choose the files of one scan, or a zip of them")
        if len(self.paths) == 1:
            return self.paths[0]
        volumes = sum(path.name.endswith(ENDINGS[:4]) for path in self.paths)
        if volumes:
            raise InputError("One scan is wanted, and several were uploaded", code="MRD-E910", found=f"{len(self.paths)} files, of which {volumes} hold a volume each",
                             fix="choose one NIfTI, NRRD or MetaImage file, or the DICOM files of one scan")
        return self.folder

    def remove(self) -> None:
        """Take away what was stored."""
        for path in self.paths:
            path.unlink(missing_ok=True)


def _unpack(content: BinaryIO, store: _Store) -> None:
    """Every member of an archive that is a file, after all of them were looked at."""
    try:
        with zipfile.ZipFile(_Rationed(content, store.limits)) as archive:
            members = archive.infolist()
            _look_at(members, content, store.limits)
            for number, member in enumerate(members, 1):
                if member.is_dir() or _is_litter(member.filename):
                    continue
                with archive.open(member) as stream:
                    store.add(member.filename, _Fresh(stream, number, store.limits.max_bytes))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError) as problem:
        raise InputError("The zip archive cannot be read, or is damaged", code="MRD-E912", found=type(problem).__name__,
                         fix="make it again, or choose the files themselves") from problem


class _Rationed:
    """An archive's bytes, no more at once than its directory may have. zipfile reads a directory whole, however many million members it claims."""

    def __init__(self, content: BinaryIO, limits: UploadLimits) -> None:
        self._content, self._limits, self._most = content, limits, max(limits.max_directory_bytes, CHUNK_BYTES)
        self.seek, self.tell = content.seek, content.tell

    def read(self, count: int = -1) -> bytes:
        """The next bytes. raises InputError MRD-E911 if they are more than may be read at once"""
        found = self._content.read(count if 0 <= count <= self._most else self._most + 1)
        if len(found) > self._most:
            raise too_many(self._limits)
        return found

    def seekable(self) -> bool:
        """It is: zipfile asks."""
        return True


class _Fresh:
    """A member's stream, which may not be an archive itself."""

    def __init__(self, stream: BinaryIO, number: int, most: int) -> None:
        self._stream, self._number, self._first = stream, number, True

    def read(self, count: int) -> bytes:
        """The next bytes."""
        found = self._stream.read(count)
        if self._first and found.startswith((ARCHIVE, EMPTY_ARCHIVE)):
            raise _untrusted("an archive inside the archive", self._number)
        self._first = False
        return found


def _look_at(members: list[zipfile.ZipInfo], content: BinaryIO, limits: UploadLimits) -> None:
    """Refuse an archive by its directory alone: counts, sizes, kinds and names."""
    if len(members) > limits.max_files:
        raise too_many(limits)
    if sum(member.file_size for member in members) > limits.max_bytes:
        raise too_large(limits)
    seen: set[str] = set()
    for number, member in enumerate(members, 1):
        if (reason := _kind(member, limits) or _name(member, limits)) is not None:
            raise _untrusted(reason, number)
        if (folded := unicodedata.normalize("NFC", member.filename).casefold()) in seen:
            raise _untrusted("two members of one name", number)
        seen.add(folded)
    _refuse_overlap(members)


def _kind(member: zipfile.ZipInfo, limits: UploadLimits) -> str | None:
    """What is wrong with a member that is no plain file, or that is packed strangely."""
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a link or device"
    if mode & (stat.S_ISUID | stat.S_ISGID):
        return "a file that would run as somebody else"
    if member.flag_bits & ENCRYPTED:
        return "an encrypted member"
    if member.compress_type not in METHODS:
        return "a way of packing that is not known"
    if member.file_size > limits.ratio_from_bytes and member.file_size > limits.max_ratio * max(1, member.compress_size):
        return "a member that unpacks to far more than a scan does"
    return None


def _name(member: zipfile.ZipInfo, limits: UploadLimits) -> str | None:
    """What is wrong with a member's name. zipfile cuts names at a NUL and knows the one before the cut as orig_filename."""
    name = member.orig_filename
    parts = name.rstrip("/").split("/")
    if len(name) > limits.max_name_characters:
        return "a name that is too long"
    if any(unicodedata.category(sign) == "Cc" or sign in DIRECTIONS for sign in name):
        return "a name with invisible characters"
    if name.startswith("/") or "\\" in name or ":" in name or ".." in parts:
        return "a name that leads out of the archive"
    if any(part.split(".")[0].lower() in NAMES_OF_DEVICES or part != part.rstrip(". ") for part in parts):
        return "a name that some systems cannot hold"
    return None


def _refuse_overlap(members: list[zipfile.ZipInfo]) -> None:
    """Members that share packed bytes are how a small archive claims to hold petabytes."""
    end = 0
    for offset, number, member in sorted((member.header_offset, number, member) for number, member in enumerate(members, 1)):
        if offset < end:
            raise _untrusted("members that share their bytes", number)
        end = offset + LOCAL_HEADER_BYTES + member.compress_size


def _is_litter(name: str) -> bool:
    lower = name.lower()
    return lower.startswith(LITTER[0]) or lower.rsplit("/", 1)[-1] in LITTER


def _untrusted(reason: str, number: int) -> InputError:
    return InputError("The zip archive is not to be trusted, so nothing of it was unpacked", code="MRD-E913", found=f"member {number}: {reason}",
                      fix="make a plain zip of the scan's files, without a password")
