"""The cache folder of a cohort: crops, what became of each case, and the table of reasons.

    cache.json            marks the folder as ours
    crops/                the crops (io/crops); the same for everybody who has the same files and settings
    state/<name>.json     {"key": ...} or {"failure": ...} of one case; <name> is cases.fingerprint, so a file that changed has no state
    failures.csv          line, id, code, what, found, fix of every case of the table that failed when it was last tried

Only failures.csv names cases. Any number of preparations may use one folder at once, on one machine or on several that share it.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, Mapping

from MRDeltaNetLib.errors import EnvironmentProblem, InputError
from MRDeltaNetLib.io.atomic import TEMPORARY_PREFIX, output_problem, write_text
from MRDeltaNetLib.io.crops import CropStore
from MRDeltaNetLib.io.tables import read_json, write_csv

MARK = {"format": "mrdeltanet-crop-cache", "version": 1}
FAILURES = "failures.csv"
COLUMNS = ("line", "id", "code", "what", "found", "fix")
LEFTOVER_S = 24 * 3600
"""Unfinished files of killed runs are removed when they are older than this, seconds."""


@dataclass(frozen=True)
class Failure:
    """Why a case has no crop. line and id of the table; code, what, found and fix of the error."""

    line: int
    id: str
    code: str
    what: str
    found: str = ""
    fix: str = ""


class Cache:
    """The folder of a cohort's crops."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.crops = CropStore(self.folder / "crops")

    def open(self) -> None:
        """Make the folder ready for writing, before anything is computed.

        raises  EnvironmentProblem MRD-E468 if it holds other files, E810 to E813 if it cannot be written to
        """
        if not self._is_ours():
            if self.folder.is_dir() and any(entry for entry in self.folder.iterdir() if not entry.name.startswith(TEMPORARY_PREFIX)):
                raise EnvironmentProblem("The cache folder holds files that are not from an earlier preparation", code="MRD-E468",
                                         fix="choose a new or empty folder")
            self._remove_leftovers()
        write_text(self.folder / "cache.json", json.dumps(MARK) + "\n")          # also the proof that the folder can be written to
        try:
            for name in ("crops", "state"):
                (self.folder / name).mkdir(exist_ok=True)
        except OSError as problem:
            raise output_problem(problem) from problem
        self._remove_leftovers()

    def key(self, name: str) -> str | None:
        """The key of a case that is prepared; None if it is not, or its crop is gone or damaged."""
        key = self._state(name).get("key")
        return key if isinstance(key, str) and len(key) == 64 and self.crops.has(key) else None

    def failure(self, name: str) -> dict[str, str] | None:
        """Why a case failed when it was last tried, None if it did not."""
        found = self._state(name).get("failure")
        return found if isinstance(found, dict) else None

    def remember(self, name: str, outcome: Mapping[str, Any]) -> None:
        """Keep what became of a case: {"key": ...} or {"failure": {...}}."""
        kept = {part: outcome[part] for part in ("key", "failure") if part in outcome}
        write_text(self._state_path(name), json.dumps(kept, sort_keys=True) + "\n")

    def failures(self, cases: Iterable[tuple[str, int, str]]) -> tuple[Failure, ...]:
        """The failures among cases (name, line, id), in their order."""
        found = ((line, id_, self.failure(name)) for name, line, id_ in cases)
        return tuple(Failure(line, id_, *(str(why.get(part, "")) for part in COLUMNS[2:])) for line, id_, why in found if why)

    def write_failures(self, cases: tuple[tuple[str, int, str], ...]) -> None:
        """Write the table of reasons of all cases (name, line, id) of the cohort's table, whoever prepared them."""
        listed = None
        while listed != (now := self.failures(cases)):           # another shard may have ended while we wrote: the last writer has seen all
            write_csv(self.folder / FAILURES, ({column: getattr(failure, column) for column in COLUMNS} for failure in now), COLUMNS)
            listed = now

    def _state(self, name: str) -> dict[str, Any]:
        try:
            found = read_json(self._state_path(name), what="the state of a case")
        except InputError:                                       # not there, or damaged: the case is prepared again
            return {}
        return found if isinstance(found, dict) else {}

    def _state_path(self, name: str) -> Path:
        return self.folder / "state" / f"{name}.json"

    def _is_ours(self) -> bool:
        try:
            return read_json(self.folder / "cache.json", what="the mark of the cache") == MARK
        except InputError:
            return False

    def _remove_leftovers(self) -> None:
        for folder in (self.folder, self.folder / "crops", self.folder / "state"):
            with contextlib.suppress(OSError):
                for entry in os.scandir(folder):
                    if entry.name.startswith(TEMPORARY_PREFIX) and time.time() - entry.stat().st_mtime > LEFTOVER_S:
                        os.unlink(entry)
