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

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, Notice
from MRDeltaNetLib.io.cohort_table import values
from MRDeltaNetLib.io.cohort_table.cells import Table, read_cells
from MRDeltaNetLib.io.cohort_table.problems import CellProblem, Problems
from MRDeltaNetLib.io.cohort_table.row_reader import RowReader
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


def problems_of_pairs(path: Path | str, limits: GateLimits = GateLimits()) -> tuple[Pairs, tuple[InputError, ...]]:
    """Everything that can be read, and everything that is refused: MRD-E430 to E438 as a cohort table, E439 (unknown column), E441 to E443 (id, twice),
    E452 (file not there), E453 (both masks are one), E454 (label, series), E490 (role)."""
    path, found = Path(path), Problems(limits.max_table_problems)
    try:
        table = read_cells(path, found, limits)
        _check_columns(table, found)
    except InputError as problem:
        found.add(problem, 0)
        return Pairs((), ""), found.all()
    if found and any(name not in table.header for name in NEEDED):
        return Pairs((), table.sha256), found.all()
    reader = _Reader(table.header, path.absolute().parent, found)
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


class _Reader(RowReader):
    """Reads the rows of two readers' outlines."""

    def read(self, line: int, cells: tuple[str, ...]) -> Pair:
        """What the row says."""
        self.turn_to(line, cells)
        return Pair(line, self.take("id", values.identifier) or "", self.take("role", _role) or "", self._file("scan"), self._file("mask_a"), self._file("mask_b"),
                    *(self.take(name, lambda cell: values.label(cell, f"'{name}'")) for name in ("label_a", "label_b")), self.series("scan_series"))

    def _file(self, name: str) -> Path:
        text = self.text(name)
        if not text or text.casefold() in values.MISSING_CODES:
            self.refuse(name, "no file is named", code="MRD-E452",
                        fix="name a file; leave the row out if a reader has not read the case, and give an empty mask if the reader saw nothing")
        else:
            self.look_for(name, self.folder / text, folder=True)
        return self.folder / text


def _role(cell: str) -> str:
    if cell in ROLES:
        return cell
    near = difflib.get_close_matches(cell.casefold(), ROLES, 1, 0.6)
    raise CellProblem("there is no such outline", code="MRD-E490", found=values.seen(cell) if cell else "an empty cell",
                      fix=(f"perhaps '{near[0]}' is meant; " if near else "") + "write pre (tumour before treatment), post (tumour bed) or residual")


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
