"""Whole files or none: every file of ours appears under its name only when it is complete and on the disk."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import Iterator

from MRDeltaNetLib.errors import EnvironmentProblem

TEMPORARY_PREFIX = ".writing-"
"""How names of unfinished files begin. One that is left over is from a run that was killed."""

MIN_FREE_BYTES = 64 * 1024**2
"""Less free space than this cannot hold one result."""

REPLACE_WAITS_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Pauses between tries on Windows, where a viewer or virus scanner may hold the old file for a moment."""

_WINDOWS = os.name == "nt"
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NOT_A_PLACE = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST}


@contextlib.contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Write a file so that it is there whole or not at all; an earlier file of that name stays intact until then.

    path    where the file shall be; missing folders on the way are made
    yields  an existing, empty temporary file in the same folder and with the same suffix (".nii.gz" too), to be written to
    raises  EnvironmentProblem MRD-E810 (disk full), E811 (not writable), E812 (a file where a folder is needed, or the other
            way round), E813 (anything else the system said). Whatever the body raises otherwise passes through.
    The temporary file is removed on every failure.
    """
    path = Path(path)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{_suffix(path)}")
    try:
        _create(path, temporary)
        yield temporary
        _to_disk(temporary)
        replace(temporary, path)
        folder_to_disk(path.parent)
    except OSError as problem:
        if not _is_about(problem, temporary, path):
            raise
        raise output_problem(problem) from problem
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write text as UTF-8 with line ends as they are in the text; atomic, with atomic's errors."""
    with atomic(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def sha256(path: Path | str) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def output_problem(problem: OSError) -> EnvironmentProblem:
    """What the system said while we wrote, in words with a remedy; without the path."""
    if problem.errno in _FULL:
        return EnvironmentProblem("The result could not be written because the disk is full or a quota is reached",
                                  code="MRD-E810", found=_reason(problem),
                                  fix="free some space or choose an output folder on another disk; earlier files are unchanged")
    if problem.errno in _NOT_ALLOWED:
        return EnvironmentProblem("The result could not be written because the output folder or a file in it is write-protected",
                                  code="MRD-E811", found=_reason(problem),
                                  fix="close programs that show the file, ask for write permission, or choose another output folder")
    if problem.errno in _NOT_A_PLACE:
        return EnvironmentProblem("The result could not be written because a file stands where a folder is needed, or a folder "
                                  "where a file is needed", code="MRD-E812", found=_reason(problem),
                                  fix="choose another output folder")
    return EnvironmentProblem("The result could not be written", code="MRD-E813", found=_reason(problem),
                              fix="see that the disk or network share is connected, or choose another output folder")


def try_to_write(folder: Path) -> None:
    """Write and remove a small file in a folder, or in the nearest one above it that exists: permissions alone do not tell on network shares
    and Windows.

    raises  EnvironmentProblem MRD-E824 if the disk is almost full; OSError
    """
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    if shutil.disk_usage(place).free < MIN_FREE_BYTES:
        raise EnvironmentProblem("The disk of the output folder is almost full", code="MRD-E824",
                                 found=f"less than {MIN_FREE_BYTES // 1024**2} MiB free", fix="free some space or choose a folder on another disk")
    probe = place / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    try:
        probe.write_bytes(b"x")
    finally:
        probe.unlink(missing_ok=True)


def folder_to_disk(folder: Path) -> None:
    """Make sure that the names in a folder survive a power cut, where the system can do that."""
    if _WINDOWS:
        return
    with contextlib.suppress(OSError):                   # some network file systems cannot; the file itself is safe already
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def replace(temporary: Path, path: Path) -> None:
    """Give a finished file its name, over an earlier one; on Windows again after a pause while somebody holds that."""
    for wait_s in REPLACE_WAITS_S if _WINDOWS else ():
        try:
            os.replace(temporary, path)
            return
        except PermissionError:
            time.sleep(wait_s)
    os.replace(temporary, path)


def _reason(problem: OSError) -> str:
    return problem.strerror or type(problem).__name__


def _suffix(path: Path) -> str:
    """The ending by which writers choose a format: the last suffix, or the last two where the last is a compression."""
    suffixes = path.suffixes
    return "".join(suffixes[-2:]) if suffixes and suffixes[-1].lower() in (".gz", ".bz2", ".xz") else path.suffix


def _create(path: Path, temporary: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    # 0o666 less the user's umask, as for any file a person saves; tempfile would make it private
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def _to_disk(file: Path) -> None:
    with open(file, "r+b") as stream:
        os.fsync(stream.fileno())


def _is_about(problem: OSError, temporary: Path, path: Path) -> bool:
    """True if the error is about the file being written; one that names another file (an input) is not ours to explain."""
    if problem.filename is None:
        return True
    named = Path(os.fsdecode(problem.filename))
    return named in (temporary, path) or named in path.parents
