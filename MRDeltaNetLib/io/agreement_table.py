"""The table of two readers' outlines, read as strictly as a cohort table: one row a patient and outline.

    id,role,scan,mask_a,mask_b
    p01,pre,p01/before,readers/anna/p01_pre.seg.nrrd,readers/ben/p01_pre.seg.nrrd
    p01,post,p01/after,readers/anna/p01_bed.nrrd,readers/ben/p01_bed.nrrd

role is "pre" (tumour before treatment), "post" (tumour bed) or "residual" (viable tumour after treatment). An empty outline is a file without a
marked voxel, never an empty cell. label_a and label_b choose a label of a mask file, scan_series a DICOM series, where there are several.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, Notice
from MRDeltaNetLib.io.cohort_table import values
from MRDeltaNetLib.io.cohort_table.cells import Table, read_cells
from MRDeltaNetLib.io.cohort_table.problems import CellProblem, Problems
from MRDeltaNetLib.io.job_values import MAX_UID_CHARACTERS
from MRDeltaNetLib.io.tables import short

ROLES = ("pre", "post", "residual")
NEEDED = ("id", "role", "scan", "mask_a", "mask_b")
OPTIONAL = ("label_a", "label_b", "scan_series")


@dataclass(frozen=True)
class Pair:
    """One row: line in the table, patient, which outline, the scan, both masks (absolute), and what chooses a part of each."""

    line: int
    id: str
    role: str
    scan: Path
    mask_a: Path
    mask_b: Path
    label_a: int | str | None = None
    label_b: int | str | None = None
    scan_series: str | None = None


@dataclass(frozen=True)
class Pairs:
    """The rows without a refusal, the table's digest, and warnings."""

    rows: tuple[Pair, ...]
    sha256: str
    notices: tuple[Notice, ...] = ()


def read_pairs(path: Path | str, limits: GateLimits = GateLimits()) -> Pairs:
    """Read the table; files are looked for, not opened.

    raises  the first InputError of `problems_of_pairs`
    """
    pairs, errors = problems_of_pairs(path, limits)
    if errors:
        raise errors[0]
    return pairs


def problems_of_pairs(path: Path | str, limits: GateLimits = GateLimits()) -> tuple[Pairs, tuple[InputError, ...]]:
    """Everything that can be read, and everything that is refused: MRD-E430 to E438 as a cohort table, E439 (unknown column), E441 to E443 (id, twice),
    E452 (file not there), E453 (both masks are one), E454 (label, series), E480 (role)."""
    path, found = Path(path), Problems(limits.max_table_problems)
    try:
        table = read_cells(path, found, limits)
        _check_columns(table, found)
    except InputError as problem:
        found.add(problem, 0)
        return Pairs((), ""), found.all()
    if found and any(name not in table.header for name in NEEDED):
        return Pairs((), table.sha256), found.all()
    reader = _Reader(table, path.absolute().parent, found)
    rows = [reader.read(line, cells) for line, cells in table.rows]
    _check_twice(rows, found)
    return Pairs(tuple(row for row in rows if row.line not in found.lines), table.sha256, table.notices), found.all()


def _check_columns(table: Table, found: Problems) -> None:
    for name in NEEDED:
        if name not in table.header:
            found.cell(table.line, name, "the column is missing", code="MRD-E438", fix=f"the columns are {', '.join(NEEDED)} and, if needed, {', '.join(OPTIONAL)}")
    for name in table.header:
        if name not in NEEDED + OPTIONAL:
            near = difflib.get_close_matches(name.casefold(), NEEDED + OPTIONAL, 1, 0.7)
            found.cell(table.line, name, "this column has no meaning here", code="MRD-E439",
                       fix=(f"perhaps '{near[0]}' is meant; else " if near else "") + "leave it out")


class _Reader:
    """Reads one row after the other; each refusal is kept with line and column."""

    def __init__(self, table: Table, folder: Path, found: Problems) -> None:
        self.place, self.folder, self.found = {name: index for index, name in enumerate(table.header)}, folder, found
        self.line, self.cells = 0, ()

    def read(self, line: int, cells: tuple[str, ...]) -> Pair:
        self.line, self.cells = line, cells
        return Pair(line, self._take("id", values.identifier) or "", self._take("role", _role) or "", self._file("scan"), self._file("mask_a"), self._file("mask_b"),
                    *(self._take(name, lambda cell: values.label(cell, f"'{name}'")) for name in ("label_a", "label_b")), self._take("scan_series", _series))

    def _text(self, name: str) -> str:
        return self.cells[self.place[name]] if name in self.place else ""

    def _take(self, name: str, read: Callable[[str], Any]) -> Any:
        if name not in self.place:
            return None
        try:
            return read(self._text(name))
        except CellProblem as problem:
            self.found.add(problem.placed(self.line, name), self.line)
            return None

    def _file(self, name: str) -> Path:
        text = self._text(name)
        path = self.folder / text
        if not text or text.casefold() in values.MISSING_CODES:
            self.found.cell(self.line, name, "no file is named", code="MRD-E452",
                            fix="name a file; leave the row out if a reader has not read the case, and give an empty mask if the reader saw nothing")
            return path
        try:
            there = path.exists()
        except (OSError, ValueError):
            there = False
        if not there:
            self.found.cell(self.line, name, "there is no such file or folder", code="MRD-E452",
                            fix="paths are relative to the table's folder, with forward slashes; '~' and variables are not expanded")
        return path


def _role(cell: str) -> str:
    if cell in ROLES:
        return cell
    near = difflib.get_close_matches(cell.casefold(), ROLES, 1, 0.6)
    raise CellProblem("there is no such outline", code="MRD-E490", found=values.seen(cell) if cell else "an empty cell",
                      fix=(f"perhaps '{near[0]}' is meant; " if near else "") + "write pre (tumour before treatment), post (tumour bed) or residual")


def _series(cell: str) -> str | None:
    if len(cell) > MAX_UID_CHARACTERS:
        raise CellProblem("this is not the UID of a DICOM series", code="MRD-E454", found=f"{len(cell)} characters", fix="copy the UID from what mrdeltanet check lists")
    return cell or None


def _check_twice(rows: list[Pair], found: Problems) -> None:
    """One row a patient and outline, and two readers' outlines, not one reader's twice."""
    seen: dict[tuple[str, str], Pair] = {}
    for row in rows:
        if row.id and row.role and (other := seen.setdefault((values.likeness(row.id), row.role), row)) is not row:
            found.cell(row.line, "id", f"this patient's outline '{short(row.role)}' stands in two rows", code="MRD-E442", found=f"line {other.line} again",
                       fix="keep one of them; compare three readers in tables of two")
        if row.line not in found.lines and row.mask_a.resolve() == row.mask_b.resolve() and row.label_a == row.label_b:
            found.cell(row.line, "mask_b", "both readers' outlines are one and the same file", code="MRD-E453",
                       fix="name the second reader's own file, or the labels of both in label_a and label_b")
