"""Progress as a callback, cancelling as an exception."""

from __future__ import annotations

import json
from typing import IO, Protocol


class Progress(Protocol):
    """Called by every long step."""

    def __call__(self, done: float, message: str) -> None:
        """done runs from 0 to 1; message says in a few words what is going on. Raise errors.Cancelled to stop the work."""


def silent(done: float, message: str) -> None:
    """A Progress that says nothing."""


def part(progress: Progress, start: float, stop: float) -> Progress:
    """Give one step its share (start..stop) of a longer bar; the step itself still counts 0 to 1."""
    return lambda done, message: progress(start + (stop - start) * done, message)


def json_lines(stream: IO[str]) -> Progress:
    """A Progress that writes one JSON object a line: {"done": 0.25, "message": "..."}; what panel and page read.

    What is told twice in a row, as by a wait that only listens for a stop, is written once.
    """
    last = ""

    def report(done: float, message: str) -> None:
        nonlocal last
        line = json.dumps({"done": round(done, 4), "message": message}, ensure_ascii=False)
        if line != last:
            last = line
            stream.write(line + "\n")
            stream.flush()

    return report
