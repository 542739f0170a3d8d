"""The pipeline as a child process: started, listened to and ended with everything that it started. Knows neither Slicer nor Qt.

A door makes one Worker for a job, calls start, and then poll from a timer on its main thread until `running` is false. Two threads read
the child's output into a queue; nothing of the door's is ever called, so nothing of the door's can stop the reading.

    waiting for a start -> running -> (asked to stop ->) gone, and its output read to the end -> waiting for a start
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Mapping, Sequence

from MRDeltaNetLib.errors import Cancelled, MRDeltaNetError, UsageError
from MRDeltaNetLib.io.atomic import output_problem
from MRDeltaNetLib.io.jobs import Job, read_job, write_job
from MRDeltaNetLib.mrml.launching import library_folder, module_command
from MRDeltaNetLib.mrml.lines import Ended, Told, read_line
from MRDeltaNetLib.mrml.process import ProcessTree, status_words
from MRDeltaNetLib.workflow import redacted

JOB = "job.json"

PATIENCE_S = 10.0
"""A child that was asked to stop is killed after this, seconds. The runner hears within doorway.PATIENCE_S."""

DRAIN_S = 2.0
"""After the child's own end its pipes are read for this long, seconds; whoever still holds them then is killed."""

LINES_A_POLL = 2000
"""More lines wait for the next poll, so that one call stays short (about 10 ms)."""

TAIL_LINES = 20
"""So many of the last lines of standard error are kept."""

TAIL_CHARACTERS = 1000
"""Of each of them."""

MAX_LINE_BYTES = 1024**2
"""A longer line is read in pieces."""

LEFT_OUT_FOR_ANOTHER_PYTHON = ("PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH", "PYTHONNOUSERSITE", "QT_PLUGIN_PATH")


@dataclass(frozen=True)
class Progressed:
    """A sign of progress: done runs from 0 to 1, message says in a few words what is going on."""

    done: float
    message: str


@dataclass(frozen=True)
class Finished:
    """The job is done and its output folder whole.

    summary  p_pcr, p_pcr_low, p_pcr_high, predicted_class, warnings (code, text, fix) and files, as doorway tells them
    """

    summary: Mapping[str, Any]


@dataclass(frozen=True)
class Failed:
    """The job ended without a result; an earlier result stays as it was.

    code, what, found, fix  as in errors.MRDeltaNetError
    exit_status             of the child; negative: ended by that signal; None if it never started
    tail                    last lines of its standard error, paths and names redacted
    """

    code: str
    what: str
    found: str
    fix: str
    exit_status: int | None
    tail: tuple[str, ...] = ()

    def text(self) -> str:
        """The whole message on one to three lines."""
        return MRDeltaNetError(self.what, code=self.code, found=self.found, fix=self.fix).text()


@dataclass(frozen=True)
class Stopped:
    """The job was stopped on request; an earlier result stays as it was."""


Event = Progressed | Finished | Failed | Stopped


class Worker:
    """One job at a time in a child process, with a tree of its own that ends with it.

    Every method is for the thread that made the Worker; none but close (seconds at most) and wait blocks.
    """

    def __init__(self, folder: Path | str, *, python: str | None = None, environment: Mapping[str, str] | None = None,
                 command: Sequence[str] | None = None, patience_s: float = PATIENCE_S) -> None:
        """
        folder       where job.json is written and the child works; made if it is not there
        python       interpreter; None: sys.executable, which is PythonSlicer in Slicer
        environment  variables that the child starts from; None: those of this process. See clean_environment for a Python of its own
        command      what is run instead of `python -m MRDeltaNetLib run`; the job's path is its last argument
        patience_s   see PATIENCE_S
        """
        self._folder = Path(os.path.abspath(folder))
        self._command = [*(command or module_command("MRDeltaNetLib", "run", python=python))]
        self._environment, self._patience_s = environment, patience_s
        self._closed = False
        self._forget()

    @property
    def running(self) -> bool:
        """True from start until poll has given the event that ends the job."""
        return self._running

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines of standard error, and of standard output what was no message of ours; paths and names redacted."""
        return tuple(redacted(line) for line in self._tail)

    def start(self, job: Job) -> None:
        """Write the job file and start the child. A program that cannot be started is told by the next poll.

        raises  UsageError MRD-E872 if a job runs or the Worker was closed, and what a bad job is refused with;
                EnvironmentProblem if the job file cannot be written
        """
        self._refuse_second()
        path = self._folder / JOB
        write_job(replace(job, progress="json"), path)
        read_job(path)                                     # refused here rather than by the child
        self._begin([*self._command, str(path)])

    def start_command(self, command: Sequence[str]) -> None:
        """Start another program that talks as the runner does: progress as JSON lines, then {"finished": ...} or {"error": ...}.

        command  program and arguments
        raises   UsageError MRD-E872 as start; EnvironmentProblem if the folder cannot be made
        """
        self._refuse_second()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise output_problem(problem) from problem
        self._begin(list(command))

    def _refuse_second(self) -> None:
        if self._running or self._closed:
            raise UsageError("A worker does one job at a time, and none after it was closed", code="MRD-E872",
                             found="a job is running" if self._running else "the worker was closed",
                             fix="wait for the job's end or cancel it, or make a new worker")

    def _begin(self, command: list[str]) -> None:
        self._forget()
        self._running = True
        try:
            self._process = ProcessTree(command, cwd=self._folder, environment=child_environment(self._environment))
        except (OSError, ValueError) as problem:
            self._ending = _not_started(problem)
            return
        for name, stream in self._process.streams.items():
            threading.Thread(target=_read, args=(name, stream, self._queue), name=f"MRDeltaNet {name}", daemon=True).start()
        self._open = set(self._process.streams)

    def poll(self) -> list[Event]:
        """What happened since the last call, oldest first; the event that ends the job comes last and once. Never blocks."""
        if not self._running:
            return []
        events: list[Event] = list(self._drain())
        if self._ending is None and self._settled() and self._queue.empty():
            self._ending = self._how_it_ended()
        if self._ending is not None:
            events.append(self._ending)
            self._running = False
        return events

    def cancel(self) -> None:
        """Ask the whole tree to stop; poll tells Stopped once it has, and kills it if it takes too long. Does nothing without a job."""
        if self._running and self._process is not None and self._stop_by is None:
            self._stop_by = time.monotonic() + (self._patience_s if self._process.ask() else 0.0)

    def close(self) -> None:
        """Kill what runs and take no further job; may be called often."""
        self._closed, self._running = True, False
        if self._process is not None:
            self._process.kill()
            self._process.reap(DRAIN_S)
            self._process = None

    def wait(self, timeout_s: float) -> list[Event]:
        """All events until the job ends or the time is over (then `running` is still true): for tests and batch."""
        events, until = self.poll(), time.monotonic() + timeout_s
        while self._running and time.monotonic() < until:
            time.sleep(0.01)
            events += self.poll()
        return events

    def _forget(self) -> None:
        """Ready for a job: nothing of an earlier one is left."""
        self._process: ProcessTree | None = None
        self._queue: queue.SimpleQueue[tuple[str, bytes | None]] = queue.SimpleQueue()
        self._open: set[str] = set()
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._told: Ended | None = None
        self._ending: Event | None = None
        self._stop_by: float | None = None
        self._gone_at: float | None = None
        self._killed_at: float | None = None
        self._running = False

    def _drain(self):
        """Progress among the lines that wait; keeps how the job said it ended, and everything else as tail."""
        for _ in range(LINES_A_POLL):
            try:
                name, raw = self._queue.get_nowait()
            except queue.Empty:
                return
            if raw is None:
                self._open.discard(name)
                continue
            line = raw.decode("utf-8", errors="replace").rstrip("\r\n")
            message = read_line(line) if name == "stdout" else None
            if isinstance(message, Told):
                yield Progressed(message.done, message.message)
            elif isinstance(message, Ended):
                self._told = message
            elif line.strip():
                self._tail.append(line[:TAIL_CHARACTERS])

    def _settled(self) -> bool:
        """Whether the child is gone and its pipes are read to the end. Kills what outstays its welcome."""
        now = time.monotonic()
        if self._gone_at is None and self._process.has_ended():
            self._gone_at = now
        if self._gone_at is not None and not self._open:
            self._process.kill()                           # children of its that closed their pipes
            return True
        if self._killed_at is None and now >= self._stay_until():
            self._process.kill()
            self._killed_at = now
        return self._gone_at is not None and self._killed_at is not None and now > self._killed_at + DRAIN_S

    def _stay_until(self) -> float:
        if self._stop_by is not None:
            return self._stop_by
        return float("inf") if self._gone_at is None else self._gone_at + DRAIN_S

    def _how_it_ended(self) -> Event:
        """By its own words if it left any; else by exit status."""
        status = self._process.reap(DRAIN_S)
        self._process = None
        if self._told is not None and self._told.finished is not None:
            return Finished(self._told.finished)           # a stop or a crash after the last word finds the result whole
        if self._stop_by is not None or status == Cancelled.exit_status:
            return Stopped()
        if self._told is not None:
            error = self._told.error
            if error["exit_status"] == Cancelled.exit_status:
                return Stopped()
            return Failed(error["code"], error["what"], error["found"], error["fix"], status, self.tail)
        return _fell_silent(status, self.tail)


def clean_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables for a Python that is not the one we run in: without those that would give it our packages and libraries.

    environment  None: those of this process
    """
    given = os.environ if environment is None else environment
    return {name: value for name, value in given.items() if name.upper() not in LEFT_OUT_FOR_ANOTHER_PYTHON}


def child_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables for a child that finds this very library first and speaks UTF-8 line by line.

    environment  None: those of this process
    """
    given = dict(os.environ if environment is None else environment)
    path = os.pathsep.join([str(library_folder()), *filter(None, [given.get("PYTHONPATH")])])
    return given | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}


def _read(name: str, stream: IO[bytes], lines: queue.SimpleQueue) -> None:
    """Everything that a pipe gives, line by line, then None. Runs in a thread of its own."""
    try:
        with stream:
            for line in iter(lambda: stream.readline(MAX_LINE_BYTES), b""):
                lines.put((name, line))
    finally:
        lines.put((name, None))


def _not_started(problem: Exception) -> Failed:
    reason = os.strerror(problem.errno) if isinstance(problem, OSError) and problem.errno else type(problem).__name__
    return Failed("MRD-E870", "The computation could not be started", reason,
                  "see that the Python program of 3D Slicer is there and may be run; a virus scanner may have blocked it", None)


def _fell_silent(status: int | None, tail: tuple[str, ...]) -> Failed:
    killed = "perhaps memory ran out: close other programs and try again; if it happens again, " if status is not None and status < 0 else ""
    found = "; ".join([status_words(status), *(f"last line: {line[:200]}" for line in tail[-1:])])
    return Failed("MRD-E871", "The computation ended without saying how", found, f"{killed}copy the diagnostics and report them", status, tail)
