"""A worker process under supervision: one case at a time, ended with everything it started when it takes too long, started again after it dies.

Plain pipes with a line of JSON each way instead of multiprocessing: nothing is pickled, no module of the caller is imported again,
and it works inside the workers of a cluster, which may not start processes of multiprocessing.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Mapping

import MRDeltaNetLib
from MRDeltaNetLib.cohort.preparing.child import as_facts
from MRDeltaNetLib.errors import EnvironmentProblem, InputError

START_TIMEOUT_S = 300.0
"""Importing torch from a slow network share takes a minute or two."""

_STARTER = "import sys; sys.path.insert(0, sys.argv.pop()); from MRDeltaNetLib.cohort.preparing.child import main; main()"
_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")}


class Worker:
    """A child process that prepares cases; started when first needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._ended, self._lock = False, threading.Lock()

    def do(self, task: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """What became of the task (child.outcome); a child that dies or needs more than timeout_s makes a failure of this task only.

        raises  EnvironmentProblem MRD-E463 if no child can be started
        """
        if not self._send(json.dumps(dict(task)) + "\n"):
            self._restart()                                      # it died between two cases: that is nobody's fault
            self._send(json.dumps(dict(task)) + "\n")
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            self._kill()
            return _failed(InputError("Preparing the case took too long and was ended", code="MRD-E461", found=f"no end after {timeout_s:g} s",
                                      fix="look at the case with `mrdeltanet check`; give more time with --timeout if the machine is slow"))
        if line is None:
            status = self._kill()
            return _failed(InputError("The process that prepared the case died", code="MRD-E462", found=_status(status),
                                      fix="if memory was short, use fewer workers; run the same command again for the cases that failed"))
        return json.loads(line)

    def end(self) -> None:
        """End the child and everything it started, at once; a `do` that is going on returns, and no child is started any more."""
        with self._lock:
            self._ended = True
        self._kill()

    @property
    def pid(self) -> int | None:
        """Process number of the child that is running, None without one."""
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    def _send(self, line: str) -> bool:
        if self._process is None or self._process.poll() is not None:
            self._restart()
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
            return True
        except OSError:
            return False

    def _restart(self) -> None:
        self._kill()
        with self._lock:
            if self._ended:
                raise EnvironmentProblem("The worker process was ended", code="MRD-E463", fix="start the command again")
            try:
                self._process = _start()
            except OSError as cause:
                raise _no_start(type(cause).__name__) from cause
        self._lines = queue.Queue()
        threading.Thread(target=_collect, args=(self._process, self._lines), daemon=True).start()
        try:
            ready = self._lines.get(timeout=START_TIMEOUT_S)
        except queue.Empty:
            ready = None
        if ready is None:
            raise _no_start(_status(self._kill()))

    def _kill(self) -> int | None:
        """End the process tree; returns the exit status."""
        process = self._process
        if process is None:
            return None
        if process.poll() is None:
            _kill_tree(process)
        with contextlib.suppress(OSError):
            process.stdin.close()
        return process.wait()


def _start() -> subprocess.Popen:
    """A new process in a group of its own, so that Ctrl-C reaches the supervisor only and the whole group can be ended."""
    options = {"start_new_session": True} if os.name == "posix" else {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    package = os.fspath(Path(MRDeltaNetLib.__file__).resolve().parent.parent)
    return subprocess.Popen([sys.executable, "-P", "-X", "utf8", "-c", _STARTER, package], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, env={**os.environ, **_ONE_THREAD}, encoding="ascii", **options)


def _collect(process: subprocess.Popen, lines: queue.Queue[str | None]) -> None:
    with contextlib.suppress(ValueError, OSError):
        for line in process.stdout:
            if line.endswith("\n"):                              # a child that is killed may leave half an answer
                lines.put(line)
    lines.put(None)


def _kill_tree(process: subprocess.Popen) -> None:
    with contextlib.suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            subprocess.run(["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True, check=False)


def _failed(error: InputError) -> dict[str, Any]:
    return {"failure": as_facts(error), "ends_batch": False}


def _no_start(found: str) -> EnvironmentProblem:
    return EnvironmentProblem("No worker process could be started", code="MRD-E463", found=found,
                              fix="see with `mrdeltanet info` that torch and monai are installed, and that memory is free")


def _status(status: int | None) -> str:
    if status is not None and status < 0:
        with contextlib.suppress(ValueError):
            return f"ended by {signal.Signals(-status).name}"
    return f"exit status {status}"
