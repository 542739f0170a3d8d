"""The worker process: prepares one case after another. Started by supervision.py; reads a task a line, answers a line.

Its own standard output is kept for the answers: whatever a native library prints goes nowhere, because it may name a path.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from contextlib import contextmanager
from typing import IO, Any, Iterator, Sequence

NOT_USED = ("scipy", "sklearn", "joblib", "pandas", "matplotlib", "mpl_toolkits", "nibabel", "skimage", "itk", "ignite", "tensorboard")
"""What MONAI loads where it is installed, for parts of itself that preparation does not use. Without it a worker is ready in half the time (1.7 s of
a core, not 3.7 s) and takes 360 MB, not 520 MB. That the crops are the same bytes is tested."""


def main() -> None:
    """Answer until the other side closes the pipe. A pipe that closes in the middle of a case ends the process at once."""
    answers = _private_output()
    tasks: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(sys.stdin, tasks), daemon=True).start()
    _one_thread()
    from MRDeltaNetLib.cohort.preparing.cases import code_versions      # the heavy packages load here, before the first task's clock runs
    with _hidden(NOT_USED):
        import monai.transforms  # noqa: F401

    _answer(answers, {"ready": code_versions()})
    while True:
        _answer(answers, outcome(json.loads(tasks.get())))


def outcome(task: dict[str, Any]) -> dict[str, Any]:
    """What became of a task: {"key", "made"}, or {"failure": {kind, what, code, found, fix}, "ends_batch": bool}."""
    from MRDeltaNetLib.cohort.preparing.cases import StoreProblem, code_versions, prepare
    from MRDeltaNetLib.errors import EnvironmentProblem, InputError, MRDeltaNetError, OutOfMemory
    try:
        if task["versions"] != code_versions():
            raise StoreProblem(EnvironmentProblem("A worker runs another version of MRDeltaNet or of its libraries than the one that started it",
                                                  code="MRD-E465", fix="install the same versions on every machine, and start the workers again"))
        return prepare(task)
    except StoreProblem as problem:
        return {"failure": as_facts(problem.args[0]), "ends_batch": True}
    except MRDeltaNetError as error:
        return {"failure": as_facts(error), "ends_batch": False}
    except MemoryError:
        return {"failure": as_facts(OutOfMemory("Preparing the case ran out of memory", code="MRD-E471",
                                                fix="use fewer workers, or crop the scans to the pelvis")), "ends_batch": False}
    except Exception as fault:                                   # a fault of ours in one case must not stop the others
        return {"failure": as_facts(InputError("The case met a fault in MRDeltaNet itself", code="MRD-E470", found=type(fault).__name__,
                                               fix="report the code together with what `mrdeltanet info` prints")), "ends_batch": False}


def as_facts(error: Any) -> dict[str, str]:
    """An MRDeltaNetError as plain texts."""
    return {"kind": type(error).__name__, "what": error.what, "code": error.code, "found": error.found, "fix": error.fix}


def _read(stream: IO[str], tasks: queue.Queue[str]) -> None:
    for line in stream:
        tasks.put(line)
    if os.name == "posix" and os.getpid() == os.getpgrp():
        os.killpg(os.getpgrp(), signal.SIGKILL)                  # and whatever decodes slices for us
    os._exit(0)


def _answer(stream: IO[str], answer: dict[str, Any]) -> None:
    try:
        stream.write(json.dumps(answer) + "\n")
        stream.flush()
    except OSError:
        os._exit(0)                                              # nobody listens any more


def _private_output() -> IO[str]:
    own = os.fdopen(os.dup(1), "w", encoding="ascii")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    return own


@contextmanager
def _hidden(names: Sequence[str]) -> Iterator[None]:
    """As if these packages were not installed; afterwards whoever needs one gets it."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _one_thread() -> None:
    """One thread a worker: sums then have one order, and workers do not wait for each other."""
    import SimpleITK as sitk
    import torch

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    torch.set_num_threads(1)


if __name__ == "__main__":
    main()
