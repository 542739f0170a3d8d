"""What every table's reader does with a row: cells into values, files looked for, each refusal kept with line and column."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

from MRDeltaNetLib.io.cohort_table.problems import CellProblem, Problems
from MRDeltaNetLib.io.job_values import MAX_UID_CHARACTERS


class RowReader:
    """Reads one row after the other; a subclass says what the columns mean.

    place   column -> its number in a row
    folder  that relative paths are relative to
    found   gets the refusals
    line, cells  the row that is read now
    """

    def __init__(self, header: tuple[str, ...], folder: Path, found: Problems) -> None:
        self.place, self.folder, self.found = {name: index for index, name in enumerate(header)}, folder, found
        self.line, self.cells = 0, ()

    def turn_to(self, line: int, cells: tuple[str, ...]) -> None:
        """The row that is read from now on."""
        self.line, self.cells = line, cells

    def text(self, name: str) -> str:
        """A cell as it stands; empty if there is no such column."""
        return self.cells[self.place[name]] if name in self.place else ""

    def take(self, name: str, read: Callable[[str], Any]) -> Any:
        """What a reader (of io.cohort_table.values) makes of a cell; None if there is no such column or the cell is refused."""
        if name not in self.place:
            return None
        try:
            return read(self.text(name))
        except CellProblem as problem:
            self.found.add(problem.placed(self.line, name), self.line)
            return None

    def refuse(self, column: str, what: str, *, code: str, found: str = "", fix: str = "") -> None:
        """Keep a refusal of one cell."""
        self.found.cell(self.line, column, what, code=code, found=found, fix=fix)

    def series(self, name: str) -> str | None:
        """The UID of a DICOM series; None if the cell is empty. MRD-E454 for what is too long to be one."""
        text = self.text(name)
        if len(text) > MAX_UID_CHARACTERS:
            self.refuse(name, "this is not the UID of a DICOM series", code="MRD-E454", found=f"{len(text)} characters",
                        fix="copy the UID from what mrdeltanet check lists")
        return text or None

    def look_for(self, name: str, path: Path, *, folder: bool) -> None:
        """MRD-E452 unless the path is there. It is data: nothing in it is expanded or run.

        folder  whether a folder (of DICOM files) will do
        """
        try:
            is_folder, is_file = path.is_dir(), path.is_file()
        except (OSError, ValueError):
            is_folder = is_file = False
        if not is_folder and not is_file:
            self.refuse(name, "there is no such file" + (" or folder" if folder else ""), code="MRD-E452",
                        fix="paths are relative to the table's folder, with forward slashes; '~' and variables are not expanded")
        elif is_folder and not folder:
            self.refuse(name, "a folder is named where a mask file is needed", code="MRD-E452", fix="name the label map's file")
