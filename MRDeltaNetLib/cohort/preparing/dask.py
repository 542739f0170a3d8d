"""Prepare on the workers of a Dask cluster, each of which supervises worker processes of its own, exactly as on one machine.

"local" makes a cluster inside this process, which nobody else can give work to: its parts talk through memory, and the status pages
that Dask insists on are empty and bound to this machine. An address ("tcp://host:8786") joins a running one, whose workers need the same
versions installed and see the input files and the cache under the same paths.
"""

from __future__ import annotations

import logging
import secrets
import threading
from concurrent.futures import Future
from typing import Any, Mapping

from MRDeltaNetLib.cohort.preparing.child import as_facts
from MRDeltaNetLib.cohort.preparing.supervision import Worker
from MRDeltaNetLib.errors import EnvironmentProblem, InputError, MRDeltaNetError, require

CONNECT_TIMEOUT_S = 30
LOOPBACK = "127.0.0.1:0"

_lock = threading.Lock()
_idle: dict[str, list[Worker]] = {}
_all: dict[str, list[Worker]] = {}
_over: set[str] = set()
"""Of this process, by run, since a cluster's worker may serve several runs: workers without a task, all of them, and runs that were ended."""


class Dask:
    """A Dask cluster as an executor."""

    def __init__(self, address: str, workers: int, timeout_s: float) -> None:
        """
        address  "local", or the address of a scheduler
        workers  of a local cluster
        raises   EnvironmentProblem MRD-E465 if no scheduler or no worker answers
        """
        distributed = require("distributed", "Preparing on a Dask cluster", "pip install 'mrdeltanet[cohort]'")
        self._run, self._timeout_s, self._cluster, self._ended = secrets.token_hex(8), timeout_s, None, False
        if address == "local":
            self._cluster = _own_cluster(distributed, workers)
        client = distributed.Client.__new__(distributed.Client)  # apart from __init__, so that one that fails in it can be given up
        try:
            _connect(client, self._cluster or address)
        except BaseException as cause:
            _give_up(client, self._cluster)
            if not isinstance(cause, Exception) or isinstance(cause, MRDeltaNetError):
                raise
            # Any other server at the address says something that Dask takes for anything: a web page is a message of exabytes, a MemoryError.
            raise EnvironmentProblem("The Dask cluster does not answer", code="MRD-E465", found=type(cause).__name__,
                                     fix="see that its scheduler and at least one worker run, and that the address is the scheduler's, such as "
                                         "tcp://host:8786, and not that of its status page") from cause
        self._client = client
        self.width = max(1, sum(self._client.nthreads().values()))

    def submit(self, task: Mapping[str, Any]) -> "Future[dict[str, Any]]":
        """Begin one task on any worker."""
        given = self._client.submit(do_here, self._run, dict(task), self._timeout_s, pure=False)
        answer: Future[dict[str, Any]] = Future()

        def hand_over(done: Any) -> None:
            if self._ended:
                answer.cancel()                                  # nobody waits for it, and the connection may be gone
            else:
                _settle(answer, done)

        given.add_done_callback(hand_over)
        answer.dask_future = given                               # kept, or Dask would forget the task
        return answer

    def end(self) -> None:
        """End the worker processes of this run on every machine, and leave the cluster."""
        self._ended = True
        try:
            self._client.run(end_here, self._run)
        except (OSError, RuntimeError, ValueError):              # the cluster is gone, and its processes end when their pipes close
            pass
        finally:
            self._client.close(timeout=2)
            if self._cluster is not None:
                self._cluster.close(timeout=2)


def _connect(client: Any, to: Any) -> None:
    """Begin a client, and wait for the first worker. In a thread, because Dask waits without end for a server that takes the call and is silent."""
    done: Future[None] = Future()

    def connect() -> None:
        try:
            client.__init__(to, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
            client.wait_for_workers(1, timeout=CONNECT_TIMEOUT_S)
            done.set_result(None)
        except BaseException as cause:
            done.set_exception(cause)

    threading.Thread(target=connect, daemon=True).start()
    done.result(timeout=2 * CONNECT_TIMEOUT_S)


def _give_up(client: Any, cluster: Any) -> None:
    """Leave a client whose connection failed: closing it would wait another minute for the scheduler, and again at the end of the process."""
    client.status = "closed"
    if cluster is not None:
        cluster.close(timeout=2)


def _own_cluster(distributed: Any, workers: int) -> Any:
    """A cluster of threads in this process; each supervises one worker process."""
    dask = require("dask", "Preparing on a Dask cluster", "pip install 'mrdeltanet[cohort]'")
    with dask.config.set({"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}):
        return distributed.LocalCluster(n_workers=workers, threads_per_worker=1, processes=False, protocol="inproc://", memory_limit=0,
                                        dashboard_address=LOOPBACK, worker_dashboard_address=LOOPBACK, silence_logs=logging.CRITICAL)


def do_here(run: str, task: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    """Runs on a worker of the cluster: one task in a supervised process of that machine."""
    with _lock:
        if run in _over:                                         # handed out before the end, begun after it
            return {"failure": as_facts(EnvironmentProblem("The run was ended", code="MRD-E463", fix="start it again")), "ends_batch": True}
        if _idle.setdefault(run, []):
            worker = _idle[run].pop()
        else:
            worker = Worker()
            _all.setdefault(run, []).append(worker)
    try:
        return worker.do(task, timeout_s)
    except EnvironmentProblem as problem:
        return {"failure": as_facts(problem), "ends_batch": True}
    finally:
        with _lock:
            if run not in _over:
                _idle[run].append(worker)


def end_here(run: str) -> None:
    """Runs on a worker of the cluster: end the run's processes."""
    with _lock:
        _over.add(run)
        workers = _all.pop(run, [])
        _idle.pop(run, None)
    for worker in workers:
        worker.end()


def _settle(answer: "Future[dict[str, Any]]", done: Any) -> None:
    """The task's own answer; a case that cost the cluster several workers (memory, crash) is to blame, anything else is the cluster's fault."""
    try:
        if done.status == "finished":
            answer.set_result(done.result())
            return
        why = type(done.exception()).__name__ if done.status == "error" else done.status
    except Exception as cause:                                   # the connection broke while the answer was on its way
        why = type(cause).__name__
    if why == "KilledWorker":
        answer.set_result({"failure": as_facts(InputError("The process that prepared the case died", code="MRD-E462",
                                                          found="the Dask worker died with it, several times",
                                                          fix="if memory was short, use fewer workers; run the same command again for the cases that failed")),
                           "ends_batch": False})
    else:
        answer.set_exception(EnvironmentProblem("The Dask cluster could not do its work", code="MRD-E465", found=why,
                                                fix="see that its workers have this version of MRDeltaNet installed and that the scheduler runs; "
                                                    "what is finished stays"))
