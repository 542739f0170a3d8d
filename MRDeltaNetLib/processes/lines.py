"""What a line on the runner's standard output means; see doorway for who writes it. Anything else is nobody's message."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Mapping

_ERROR_TEXTS = ("code", "what", "found", "fix")


@dataclass(frozen=True)
class Told:
    """Progress: done from 0 to 1, message in a few words."""

    done: float
    message: str


@dataclass(frozen=True)
class Ended:
    """The last word of a job: `finished` (its summary) or `error` (code, what, found, fix, exit_status); the other is None."""

    finished: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None


def read_line(line: str) -> Told | Ended | None:
    """One line of standard output; None if it is no message of the runner."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict):
        return None
    if set(message) == {"done", "message"}:
        return _progress(message["done"], message["message"])
    if set(message) == {"finished"} and isinstance(message["finished"], dict):
        return Ended(finished=message["finished"])
    if set(message) == {"error"}:
        return _error(message["error"])
    return None


def _progress(done: Any, message: Any) -> Told | None:
    number = isinstance(done, (int, float)) and not isinstance(done, bool) and math.isfinite(done)
    return Told(min(max(float(done), 0.0), 1.0), message) if number and isinstance(message, str) else None


def _error(error: Any) -> Ended | None:
    if not isinstance(error, dict) or not isinstance(error.get("exit_status"), int):
        return None
    return Ended(error=error) if all(isinstance(error.get(name), str) for name in _ERROR_TEXTS) else None
