"""Small text files that people write (JSON, TOML, CSV): read with a limit, refused in words when they cannot be read.

What counts as too large, and the codes, belong to the kind of file; its reader says them.
"""

from __future__ import annotations

import stat
from pathlib import Path

from MRDeltaNetLib.errors import InputError


def content(path: Path | str, most_bytes: int, name: str, *, code: str, ending: str) -> bytes:
    """The bytes of a file, at most one more than most_bytes, so that the caller can tell that it is too large.

    name    how messages name it: "The study file"
    ending  of the file that is wanted: ".toml"
    raises  InputError of the code given, if it is no regular file (a folder, a device, a pipe) or cannot be opened
    """
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{name} is not a file", code=code, found="a folder or a device", fix=f"choose a {ending} file")
        with open(path, "rb") as stream:
            return stream.read(most_bytes + 1)
    except (OSError, ValueError) as cause:
        raise InputError(f"{name} could not be opened", code=code, found=getattr(cause, "strerror", None) or "not a possible file name",
                         fix="see that it is there, is spelled like this, and may be read") from cause


def decoded(raw: bytes, name: str, *, code: str) -> str:
    """UTF-8 text, with or without a byte order mark.

    raises  InputError of the code given, naming byte and line
    """
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        line = raw[:cause.start].count(b"\n") + 1
        raise InputError(f"{name} is not UTF-8 text", code=code, found=f"byte {cause.start + 1}, line {line}",
                         fix="save it again as UTF-8 in a text editor") from cause
