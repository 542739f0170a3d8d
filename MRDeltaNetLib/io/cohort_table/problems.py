"""What is wrong with a table, collected: every refusal names the line and the column, never what identifies a patient."""

from __future__ import annotations

from typing import Iterable

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.tables import short


class CellProblem(Exception):
    """A cell that cannot be used, before it is known where it stands; arguments as of InputError."""

    def __init__(self, what: str, *, code: str, found: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what, self.code, self.found, self.fix = what, code, found, fix

    def placed(self, line: int, column: str) -> InputError:
        """The refusal, naming line and column."""
        return InputError(at(line, column, self.what), code=self.code, found=self.found, fix=self.fix)


class Problems:
    """Refusals with their lines; at most `limit` are kept, the rest are counted."""

    def __init__(self, limit: int) -> None:
        self.limit, self.more = limit, 0
        self._kept: list[tuple[int, InputError]] = []
        self.lines: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._kept)

    def add(self, problem: InputError, line: int) -> None:
        """Keep one; its line is one that cannot be used."""
        self.lines.add(line)
        if len(self._kept) < self.limit:
            self._kept.append((line, problem))
        else:
            self.more += 1

    def cell(self, line: int, column: str, what: str, *, code: str, found: str = "", fix: str = "") -> None:
        """Keep a refusal of one cell."""
        self.add(InputError(at(line, column, what), code=code, found=found, fix=fix), line)

    def all(self) -> tuple[InputError, ...]:
        """In the order of the lines; if there were too many, the last one says how many more (MRD-E459)."""
        kept = tuple(problem for _, problem in sorted(self._kept, key=lambda entry: entry[0]))
        if not self.more:
            return kept
        return *kept, InputError("There are more refusals than are listed", code="MRD-E459", found=f"{self.more} more",
                                 fix="mend those above and check again; many alike often have one cause")


def at(line: int, column: str | int | None, what: str) -> str:
    """A sentence with its place in the table: "Line 5, column 'age_years': ..."; a column without a sure name is given by its number."""
    place = f"Line {line}" if column is None else f"Line {line}, column {column}" if isinstance(column, int) else f"Line {line}, column '{short(column)}'"
    return f"{place}: {what}"


def named_lines(lines: Iterable[int], most: int = 5) -> str:
    """"line 5" or "lines 5, 9, 11 and 12 more"."""
    lines = sorted(set(lines))
    shown = ", ".join(str(line) for line in lines[:most])
    return ("line " if len(lines) == 1 else "lines ") + shown + (f" and {len(lines) - most} more" if len(lines) > most else "")
