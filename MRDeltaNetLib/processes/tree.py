"""A child process with everything that it starts, as one thing that can be asked to stop and killed.

POSIX: a session of its own, whose process group is signalled. Windows: a process group of its own, ended by taskkill as a tree.
What still runs when Python ends is killed then.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import IO, Mapping, Sequence

_WINDOWS = os.name == "nt"

_alive: set["ProcessTree"] = set()


class ProcessTree:
    """A running child; its standard input is empty, its output comes through `streams`.

    streams  "stdout" and "stderr", binary pipes
    """

    def __init__(self, command: Sequence[str], *, cwd: Path, environment: Mapping[str, str], lifeline: bool = False) -> None:
        """Start it.

        lifeline  its standard input is a pipe that ends when we do, however we end: a child that watches it can then end its own group
        raises    OSError, ValueError if the program cannot be started
        """
        self._process = subprocess.Popen(list(command), cwd=cwd, env=dict(environment), stdin=subprocess.PIPE if lifeline else subprocess.DEVNULL,
                                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, **own_group())
        self._owner = os.getpid()
        _alive.add(self)

    @property
    def streams(self) -> dict[str, IO[bytes]]:
        return {"stdout": self._process.stdout, "stderr": self._process.stderr}

    @property
    def pid(self) -> int:
        return self._process.pid

    def has_ended(self) -> bool:
        """Whether the child itself has ended; others of its tree may live on.

        Where the system can tell without reaping it stays unreaped until `reap`: so long its number, which is the group's, belongs to nobody else.
        """
        if self._process.returncode is None and hasattr(os, "waitid"):
            with contextlib.suppress(ChildProcessError):
                return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return self._process.poll() is not None

    def ask(self) -> bool:
        """Ask the whole tree to stop. False where that cannot be asked: Windows has no signal for a child without a console."""
        if _WINDOWS:
            return False
        self._signal(signal.SIGTERM)
        return True

    def kill(self) -> None:
        """End the whole tree now, also what the child left behind; harmless when nothing is left."""
        if _WINDOWS:
            self._kill_tree_on_windows()
        else:
            self._signal(signal.SIGKILL)

    def reap(self, timeout_s: float) -> int | None:
        """The child's exit status (negative: ended by that signal); None if it does not end in time."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
            _alive.discard(self)
            if self._process.stdin is not None:
                self._process.stdin.close()
        return self._process.returncode

    def _signal(self, number: int) -> None:
        """To the child's group, unless the child was reaped: then its number may be another's."""
        if self._process.returncode is None or not hasattr(os, "waitid"):
            with contextlib.suppress(ProcessLookupError, PermissionError):     # nobody left; macOS says EPERM of a group of zombies
                os.killpg(self._process.pid, number)

    def _kill_tree_on_windows(self) -> None:
        if self._process.returncode is not None:
            return
        try:
            subprocess.Popen(["taskkill", "/PID", str(self._process.pid), "/T", "/F"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, **own_group())
        except OSError:
            self._process.kill()                           # the child at least


def own_group() -> dict[str, object]:
    """Arguments of subprocess.Popen that give a child a group of its own, and on Windows no console window."""
    if _WINDOWS:
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def status_words(status: int | None) -> str:
    """An exit status in words, such as "exit status 3" or "ended by SIGKILL"."""
    if status is None:
        return "no exit status"
    if status >= 0:
        return f"exit status {status}"
    with contextlib.suppress(ValueError):
        return f"ended by {signal.Signals(-status).name}"
    return f"ended by signal {-status}"


@atexit.register
def _kill_what_still_runs() -> None:
    """Not what a parent started before it forked us."""
    for tree in [tree for tree in _alive if tree._owner == os.getpid()]:
        tree.kill()
        tree.reap(1.0)
