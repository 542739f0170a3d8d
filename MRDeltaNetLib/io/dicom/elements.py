"""Values of a parsed DICOM dataset as text and numbers. A value of a wrong kind counts as absent: whoever needs it refuses the file."""

from __future__ import annotations

from typing import Any


def text(dataset: Any, keyword: str) -> str:
    """An element's text, several values joined by a backslash; "" if absent or unreadable."""
    try:
        value = dataset.get(keyword)
        if value is None:
            return ""
        return ("\\".join(str(v) for v in value) if type(value).__name__ in ("MultiValue", "list") else str(value)).strip()
    # a value of any wrong kind counts as absent; whoever needs it refuses the file by name of the field
    except Exception:
        return ""


def texts(dataset: Any, keyword: str) -> tuple[str, ...]:
    """An element's values as text."""
    return tuple(part for part in text(dataset, keyword).split("\\") if part)


def numbers(dataset: Any, keyword: str) -> tuple[float, ...] | None:
    """An element's values as numbers; None if absent or not numbers."""
    try:
        return tuple(float(part) for part in texts(dataset, keyword)) or None
    except ValueError:
        return None


def number(dataset: Any, keyword: str) -> float | None:
    """An element's first value as a finite number; None if absent or not one."""
    values = numbers(dataset, keyword)
    return values[0] if values and abs(values[0]) < float("inf") else None


def whole(dataset: Any, keyword: str) -> int | None:
    """An element's only value as a whole number; None if absent or not one."""
    values = numbers(dataset, keyword)
    return int(values[0]) if values and len(values) == 1 and abs(values[0]) < 2**53 and values[0] == int(values[0]) else None
