"""`python -m MRDeltaNetLib run JOB.json`, `segment JOB.json` and `explain JOB.json` need no command-line library; every other command is in cli/."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any, Callable

from MRDeltaNetLib.errors import Cancelled, MissingPackage, require

THREADS = {"OMP_WAIT_POLICY": "passive", "OPENBLAS_NUM_THREADS": "1"}
"""How libraries use threads, unless the user's environment says otherwise; they read it once, when they load. By default torch's threads spin while they
wait for each other, which takes ten times as long as soon as other programs use the same cores, and NumPy starts threads for matrices so small that an
evaluation takes half as long again."""


def main() -> None:
    """Entry point of the command `mrdeltanet` and of `python -m MRDeltaNetLib`."""
    for name, value in THREADS.items():
        os.environ.setdefault(name, value)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")     # a folder's name that the console cannot show must not end a finished run
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop_at_once)
    arguments = sys.argv[1:]
    if len(arguments) == 2 and arguments[0] == "run" and not arguments[1].startswith("-"):
        sys.exit(run_job_file(Path(arguments[1])))
    if len(arguments) == 2 and arguments[0] in JOBS and arguments[1].endswith(".json"):
        sys.exit(JOBS[arguments[0]](Path(arguments[1])))
    try:
        require("typer", "The command line", "pip install 'mrdeltanet', or use: python -m MRDeltaNetLib run JOB.json")
    except MissingPackage as error:
        print(error.text(), file=sys.stderr)
        sys.exit(error.exit_status)
    from MRDeltaNetLib.cli import app
    app()


def _stop_at_once(number: int, frame: Any) -> None:
    """Ctrl-C while packages load: nothing has begun yet, and an import that is broken off cannot be taken up again."""
    os.write(sys.stderr.fileno(), (Cancelled().text() + "\n").encode())
    os._exit(Cancelled.exit_status)


def run_job_file(path: Path) -> int:
    """Run one job file; returns the exit status. Progress goes to standard output as the job says."""
    from MRDeltaNetLib.doorway import failed, finish, interruptible, progress_for, stoppable
    from MRDeltaNetLib.io.jobs import read_job
    from MRDeltaNetLib.runner import run_job
    interruptible()
    try:
        job = read_job(path)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 failed() tells every kind apart
        return failed(error, "none")
    with progress_for(job.progress) as progress:
        return finish(lambda: run_job(job, stoppable(progress)), job.progress)


def run_segment_file(path: Path) -> int:
    """Do the segmentation of one job file; returns the exit status."""
    from MRDeltaNetLib.doorway import draw_and_tell
    from MRDeltaNetLib.io.segment_jobs import read_segment_job
    return _do(path, read_segment_job, draw_and_tell)


def run_explain_file(path: Path) -> int:
    """Ask for the maps of one job file; returns the exit status."""
    from MRDeltaNetLib.doorway import explain_and_tell
    from MRDeltaNetLib.io.explain_jobs import read_explain_job
    return _do(path, read_explain_job, explain_and_tell)


JOBS = {"segment": run_segment_file, "explain": run_explain_file}


def _do(path: Path, read: Callable[[Path], Any], do: Callable[[Any], int]) -> int:
    """Read a job file and do what it says."""
    from MRDeltaNetLib.doorway import failed, guarded, interruptible
    interruptible()
    try:
        job = read(path)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 failed() tells every kind apart
        return failed(error, "none")
    return guarded(lambda: do(job), job.progress)


if __name__ == "__main__":
    main()
