"""One training a folder: io.locking's lock, and what is said where another training holds it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Callable, Iterator

from MRDeltaNetLib.errors import EnvironmentProblem
from MRDeltaNetLib.io import locking
from MRDeltaNetLib.io.locking import LOCK

__all__ = ["LOCK", "folder_lock"]


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[Callable[[], None]]:
    """Hold the folder for one training; see io.locking.folder_lock.

    raises  EnvironmentProblem MRD-E763 if somebody else holds it, E810 to E813 if the file cannot be written
    """
    with locking.folder_lock(folder, _held) as beat:
        yield beat


def _held(who: str, more: str) -> EnvironmentProblem:
    return EnvironmentProblem(f"{who[:1].upper()}{who[1:]} is training in this folder", code="MRD-E763", found=f"a lock held by {who}{more}",
                              fix="wait until it has ended, stop it, or choose another output folder; if that computer is surely off, "
                                  "remove the file .lock in the folder")
