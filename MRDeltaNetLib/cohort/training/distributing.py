"""Several devices: one process each, joined by DDP. The calling program is not started again, as Lightning's own launcher would do."""

from __future__ import annotations

import copy
import multiprocessing
import os
import socket
import threading
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

import torch

from MRDeltaNetLib import errors
from MRDeltaNetLib.progress import Progress

if TYPE_CHECKING:
    from MRDeltaNetLib.cohort.training.fitting import Job


def train_in_processes(job: "Job", progress: Progress) -> None:
    """Train on job.devices devices; the result lies in job.folder.

    raises  what the first failing process raised, EnvironmentProblem MRD-E772 if a process ended without a word; Cancelled from progress.
            All processes have ended when this returns or raises.
    """
    context = multiprocessing.get_context("spawn")
    port, threads = _free_port(), max(1, torch.get_num_threads() // job.devices)
    pipes = [context.Pipe(duplex=False) for _ in range(job.devices)]
    workers = [context.Process(target=_work, args=(job, rank, port, threads, pipes[rank][1]), daemon=True) for rank in range(job.devices)]
    try:
        for worker, (_, sender) in zip(workers, pipes):
            worker.start()
            sender.close()
        _listen([receiver for receiver, _ in pipes], progress)
        for worker in workers:
            worker.join()
        if any(worker.exitcode for worker in workers):
            raise _ended(workers)
    except EOFError:
        raise _ended(workers) from None
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
                worker.join(5)
                if worker.is_alive():
                    worker.kill()
                    worker.join()


def _listen(receivers: list[Connection], progress: Progress) -> None:
    """Hand on progress, and raise errors, until every process has said that it is done. EOFError: one is silent."""
    open_ones = list(receivers)
    while open_ones:
        for receiver in wait(open_ones):
            kind, content = receiver.recv()
            if kind == "progress":
                progress(*content)
            elif kind == "done":
                open_ones.remove(receiver)
            else:
                name, what, details = content
                raise getattr(errors, name)(what, **details)


def _work(job: "Job", rank: int, port: int, threads: int, sender: Connection) -> None:
    """One process: its rank of the training, its news through the pipe."""
    from MRDeltaNetLib.cohort.training.fitting import train_here

    threading.Thread(target=_end_with, args=(multiprocessing.parent_process().sentinel,), daemon=True).start()
    os.environ.update(LOCAL_RANK=str(rank), NODE_RANK="0", WORLD_SIZE=str(job.devices), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(threads)
    tell = lambda done, message: sender.send(("progress", (done, message))) if rank == 0 else None
    try:
        # torch sends tensors to other processes as shared memory: without a copy all ranks would step on the same weights.
        train_here(replace(job, network=copy.deepcopy(job.network)), tell, rank)
        sender.send(("done", None))
    except errors.MRDeltaNetError as error:
        details = {"code": error.code, "found": error.found, "fix": error.fix}
        sender.send(("error", (type(error).__name__, error.what, details)))
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _end_with(sentinel: int) -> None:
    """A process whose parent was killed must not go on writing into a folder that nobody holds."""
    wait([sentinel])
    os._exit(1)


ENDING_S = 20.0
"""So long a process whose pipe is closed may take to be gone, seconds; on a busy machine Python's own end takes more than one."""


def _ended(workers: list) -> errors.EnvironmentProblem:
    gone = wait([worker.sentinel for worker in workers], ENDING_S)
    for worker in workers:
        if worker.sentinel in gone:
            worker.join(ENDING_S)                            # its files are closed a little before it has an exit code
    codes = sorted({worker.exitcode for worker in workers if worker.exitcode is not None})
    return errors.EnvironmentProblem("A process of the distributed training ended unexpectedly", code="MRD-E772",
                                     found=f"exit codes {', '.join(map(str, codes)) or 'none'}",
                                     fix="start it again; it goes on after its last whole epoch. If it happens again, watch the memory")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]
