"""Whether a process that a test started, or one that it started in turn, still runs."""

from __future__ import annotations

import time

import psutil


def alive(pid: int) -> bool:
    """Whether it runs; one that has ended and waits to be reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(pid: int, timeout_s: float = 10.0) -> bool:
    """Whether it ends within the given time."""
    stop = time.monotonic() + timeout_s
    while alive(pid) and time.monotonic() < stop:
        time.sleep(0.05)
    return not alive(pid)
