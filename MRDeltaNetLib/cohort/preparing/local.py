"""Prepare on this machine: as many supervised worker processes as asked for, one case each."""

from __future__ import annotations

import queue
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Mapping, Protocol

from MRDeltaNetLib.cohort.preparing.supervision import Worker


class Executor(Protocol):
    """Where cases are prepared.

    width  how many cases at a time
    """

    width: int

    def submit(self, task: Mapping[str, Any]) -> "Future[dict[str, Any]]":
        """Begin one task; the future gives child.outcome."""

    def end(self) -> None:
        """End everything that is still going on, within seconds."""


class Local:
    """Worker processes of this machine; each thread here watches over one of them."""

    def __init__(self, workers: int, timeout_s: float) -> None:
        self.width, self._timeout_s = workers, timeout_s
        self._workers = [Worker() for _ in range(workers)]
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="preparing")

    def submit(self, task: Mapping[str, Any]) -> "Future[dict[str, Any]]":
        """Begin one task as soon as a worker is free."""
        return self._threads.submit(self._do, task)

    def end(self) -> None:
        """End all workers; tasks that have not begun never will."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.end()
        self._threads.shutdown(wait=True)

    def _do(self, task: Mapping[str, Any]) -> dict[str, Any]:
        worker = self._idle.get()
        try:
            return worker.do(task, self._timeout_s)
        finally:
            self._idle.put(worker)
