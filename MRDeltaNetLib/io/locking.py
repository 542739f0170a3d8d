"""One owner a folder: a lock that a killed process does not leave behind."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
from pathlib import Path
from typing import IO, Callable, Iterator

from MRDeltaNetLib.errors import EnvironmentProblem
from MRDeltaNetLib.io.atomic import output_problem

LOCK = ".lock"
BEAT_S = 10.0
"""How often the owner renews the lock's time, at most."""

BEAT_EVERY_S = 60.0
"""How often an owner without a loop of its own renews it; another computer takes the folder after SILENT_S without."""

SILENT_S = 900.0
"""A lock of another computer that was not renewed for so long belongs to nobody."""


Held = Callable[[str, str], EnvironmentProblem]
"""(who holds it, what is known of that) -> the refusal."""


@contextlib.contextmanager
def folder_lock(folder: Path, held: Held) -> Iterator[Callable[[], None]]:
    """Hold the folder for one process; yields a function to call often, which shows other computers that the owner is alive.

    The lock is the operating system's on the file .lock, which it takes back when its owner ends, however it ends. So a killed process on
    this computer leaves nothing behind. Where a shared disk does not carry locks between computers, the file says which computer
    holds it, and its time how long ago that was last heard of: another computer's lock counts until SILENT_S after that.
    raises  what held gives if somebody else holds it; EnvironmentProblem MRD-E810 to E813 if the file cannot be written, or its disk knows no locks
    """
    path = Path(folder) / LOCK
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = open(path, "a+", encoding="utf-8")
    except OSError as problem:
        raise output_problem(problem) from problem
    with stream:
        try:
            taken = _take(stream)
        except OSError as problem:                        # a share without locks: nobody could be kept out
            raise output_problem(problem) from problem
        if not taken:
            raise held("another process", "")
        owner, here = _owner(stream), platform.node()
        quiet_s = time.time() - os.fstat(stream.fileno()).st_mtime
        if owner not in ("", here) and quiet_s < SILENT_S:
            raise held("another computer", f"; it was last heard of {max(0, quiet_s):.0f} s ago, and gives the folder up when it is silent "
                                            f"for {SILENT_S / 60:.0f} minutes")
        _write(stream, json.dumps({"host": here, "process": os.getpid()}))
        last = time.monotonic()

        def beat() -> None:
            nonlocal last
            if time.monotonic() - last > BEAT_S:
                last = time.monotonic()
                with contextlib.suppress(OSError):        # a share that is gone will be told by the next checkpoint
                    os.utime(path)

        try:
            yield beat
        finally:
            with contextlib.suppress(OSError):
                _write(stream, "")                        # emptied, not removed: a process that waits on the old file would lock nothing


@contextlib.contextmanager
def beating(beat: Callable[[], None], every_s: float | None = None) -> Iterator[None]:
    """Call beat from a thread of its own while the block runs, so that no long step of it lets the lock age. every_s: None for BEAT_EVERY_S"""
    over, every_s = threading.Event(), BEAT_EVERY_S if every_s is None else every_s

    def renew() -> None:
        while not over.wait(every_s):
            beat()

    thread = threading.Thread(target=renew, name="mrdeltanet-lock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def abandoned(folder: Path) -> bool:
    """Whether a process of this computer held the folder and ended without giving it back: killed, or gone with the power. False where nobody knows."""
    path = Path(folder) / LOCK
    try:
        if path.is_symlink() or not path.is_file():
            return False
        with open(path, "r+", encoding="utf-8") as stream:
            return _take(stream) and _owner(stream) == platform.node() != ""
    except OSError:
        return False


def _owner(stream: IO[str]) -> str:
    """The computer that the file names; "" if it was given back, or is not readable as a lock."""
    stream.seek(0)
    try:
        return str(json.loads(stream.read(4096) or "{}").get("host", ""))
    except (ValueError, AttributeError):
        return ""


def _write(stream: IO[str], text: str) -> None:
    stream.seek(0)
    stream.truncate()
    stream.write(text)
    stream.flush()


if os.name == "nt":
    import msvcrt

    def _take(stream: IO[str]) -> bool:
        stream.seek(1 << 20)                              # one byte far behind the text, which others must be able to read
        try:
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _take(stream: IO[str]) -> bool:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):        # the second where a share turns this lock into one of its own
            return False
        return True
