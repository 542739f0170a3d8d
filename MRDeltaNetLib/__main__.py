"""`python -m MRDeltaNetLib run JOB.json` needs no command-line library; every other command is in cli.py."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Entry point of the command `mrdeltanet` and of `python -m MRDeltaNetLib`."""
    arguments = sys.argv[1:]
    if len(arguments) == 2 and arguments[0] == "run" and not arguments[1].startswith("-"):
        sys.exit(run_job_file(Path(arguments[1])))
    from MRDeltaNetLib.errors import MissingPackage, require
    try:
        require("typer", "The command line", "pip install 'mrdeltanet', or use: python -m MRDeltaNetLib run JOB.json")
    except MissingPackage as error:
        print(error.text(), file=sys.stderr)
        sys.exit(error.exit_status)
    from MRDeltaNetLib.cli import app
    app()


def run_job_file(path: Path) -> int:
    """Run one job file; returns the exit status. Progress goes to standard output as the job says."""
    from MRDeltaNetLib.doorway import finish, progress_for, stoppable
    from MRDeltaNetLib.errors import MRDeltaNetError
    from MRDeltaNetLib.io.jobs import read_job
    from MRDeltaNetLib.runner import run_job
    try:
        job = read_job(path)
    except MRDeltaNetError as error:
        print(error.text(), file=sys.stderr)
        return error.exit_status
    with progress_for(job.progress) as progress:
        return finish(lambda: run_job(job, stoppable(progress)), job.progress)


if __name__ == "__main__":
    main()
