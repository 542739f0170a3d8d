"""Masks that a case needs, and scans that are one scan under two names."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Callable

from MRDeltaNetLib.cohort.checking.counts import Findings
from MRDeltaNetLib.errors import InputError, Notice
from MRDeltaNetLib.io.cohort_table import Row
from MRDeltaNetLib.io.cohort_table.problems import at, named_lines

COMPARED = ("pre", "post", "pre_mask", "post_mask")
"""Files of which no two may be alike; empty residual masks of two patients can be."""


def check_files(rows: tuple[Row, ...], require_files: bool = True) -> Findings:
    """Which files are named, which masks are missing, and which files hold the same bytes.

    returns  a line, warnings MRD-W441, refusals E453, E458
    """
    named = {role: sum(role in row.files for row in rows) for role in (*COMPARED, "residual_mask")}
    if not any(named.values()):
        return [], [], []
    errors, notices = _twins(rows), []
    if without := [row.line for row in rows if "pre_mask" not in row.files and require_files]:
        only_post = [row.line for row in rows if "pre_mask" not in row.files and ("post_mask" in row.files or "residual_mask" in row.files)]
        errors.append(InputError(f"{named_lines(without).capitalize()}, column 'pre_mask': the tumour before treatment is not drawn"
                                 + (", while a mask after it is" if only_post else ""), code="MRD-E458", found=f"{len(without)} of {len(rows)} patients",
                                 fix="draw the tumour on the scan before treatment; without it a case can be neither aligned nor cut out"))
    bare = [row.line for row in rows if "pre_mask" in row.files and "post_mask" not in row.files]
    if bare:
        notices.append(Notice("MRD-W441", f"There is a mask for the scan before treatment only ({named_lines(bare)}, column 'post_mask'); it is carried over "
                              "as the tumour bed", fix="draw the tumour bed: a model trained on carried outlines learns their errors"))
    return ["Files: " + ", ".join(f"{role} {count}" for role, count in named.items())], notices, errors


def _twins(rows: tuple[Row, ...]) -> list[InputError]:
    """Files with the same bytes under different names. Scans in other files, DICOM folders too, are compared by `train`, once they are prepared."""
    errors, seen = [], {}
    for row, role, digest in _digests(rows):
        other, other_role = seen.setdefault(digest, (row, role))
        if (other, other_role) != (row, role):
            place = "in this row" if other is row else f"in line {other.line}"
            errors.append(InputError(at(row.line, role, "the file holds the same bytes as another one"), code="MRD-E453",
                                     found=f"as '{other_role}' {place}", fix="one of the two is a copy under a wrong name: name the file that is meant"))
    return errors


def _digests(rows: tuple[Row, ...]) -> list[tuple[Row, str, str]]:
    """Row, role and digest of the files that share their size, and then their first and last block, with another one. A file that cannot be read
    is left out, for its case to fail by itself."""
    files = [(row, role, row.files[role]) for row in rows for role in COMPARED if role in row.files and os.path.isfile(row.files[role])]
    for key in (os.path.getsize, _ends):
        groups: dict = {}
        for entry in files:
            if (known := _if_readable(key, entry[2])) is not None:
                groups.setdefault(known, {}).setdefault(os.path.realpath(entry[2]), []).append(entry)
        files = [entry for group in groups.values() if len(group) > 1 for entries in group.values() for entry in entries]
    found = ((row, role, _if_readable(_digest, path)) for row, role, path in sorted(files, key=lambda entry: entry[0].line))
    return [(row, role, digest) for row, role, digest in found if digest is not None]


def _if_readable(of: Callable[[Path], Any], path: Path) -> Any:
    try:
        return of(path)
    except OSError:
        return None


def _ends(path: Path) -> tuple[int, bytes]:
    size = path.stat().st_size
    with open(path, "rb") as stream:
        first = stream.read(65536)
        stream.seek(max(size - 65536, 0))
        return size, hashlib.sha256(first + stream.read(65536)).digest()


def _digest(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
