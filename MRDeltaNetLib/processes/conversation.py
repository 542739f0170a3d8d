"""A child process that says how its work goes: started, listened to and ended with everything that it started. Knows neither Slicer nor Qt.

Whoever waits makes one Conversation, calls begin, and then poll, from a timer or a loop, until `running` is false. Two threads read
the child's output into a queue; nothing of the caller's is ever called, so nothing of the caller's can stop the reading.

    waiting for a start -> running -> (asked to stop ->) gone, and its output read to the end -> waiting for a start
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Mapping, Sequence

from MRDeltaNetLib.errors import Cancelled, MRDeltaNetError, UsageError
from MRDeltaNetLib.processes.lines import Ended, Told, read_line
from MRDeltaNetLib.processes.tree import ProcessTree, status_words
from MRDeltaNetLib.redaction import redacted

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


class Conversation:
    """One child at a time, with a tree of its own that ends with it.

    Every method is for the thread that made it; none but close (seconds at most) and wait blocks.
    """

    def __init__(self, folder: Path | str, *, patience_s: float = PATIENCE_S) -> None:
        """
        folder       where the child works
        patience_s   see PATIENCE_S
        """
        self._folder, self._patience_s = Path(os.path.abspath(folder)), patience_s
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

    def begin(self, command: Sequence[str], environment: Mapping[str, str], *, lifeline: bool = False) -> None:
        """Start the child. A program that cannot be started is told by the next poll.

        command      program and arguments
        environment  all its variables
        lifeline     see ProcessTree
        raises       UsageError MRD-E872 if one talks already or the conversation was closed
        """
        self._refuse_second()
        self._forget()
        self._running = True
        try:
            self._process = ProcessTree(list(command), cwd=self._folder, environment=environment, lifeline=lifeline)
        except (OSError, ValueError) as problem:
            self._ending = _not_started(problem)
            return
        for name, stream in self._process.streams.items():
            threading.Thread(target=_read, args=(name, stream, self._queue), name=f"MRDeltaNet {name}", daemon=True).start()
        self._open = set(self._process.streams)

    def _refuse_second(self) -> None:
        if self._running or self._closed:
            raise UsageError("A worker does one job at a time, and none after it was closed", code="MRD-E872",
                             found="a job is running" if self._running else "the worker was closed",
                             fix="wait for the job's end or cancel it, or make a new worker")

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
