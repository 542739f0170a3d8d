"""The pipeline as a child process for a door with a window: a Conversation that knows jobs. Knows neither Slicer nor Qt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Mapping, Sequence

from MRDeltaNetLib.io.atomic import output_problem
from MRDeltaNetLib.io.explain_jobs import ExplainJob, read_explain_job, write_explain_job
from MRDeltaNetLib.io.jobs import Job, read_job, write_job
from MRDeltaNetLib.io.segment_jobs import SegmentJob, read_segment_job, write_segment_job
from MRDeltaNetLib.processes.conversation import PATIENCE_S, Conversation, Event, Failed, Finished, Progressed, Stopped
from MRDeltaNetLib.processes.environments import child_environment, clean_environment
from MRDeltaNetLib.processes.launching import module_command

__all__ = ["Event", "Failed", "Finished", "JOB", "PATIENCE_S", "Progressed", "Stopped", "Worker", "child_environment", "clean_environment"]

JOB = "job.json"


class Worker(Conversation):
    """One job at a time in a child process; see Conversation for poll, cancel, close and wait."""

    def __init__(self, folder: Path | str, *, python: str | None = None, environment: Mapping[str, str] | None = None,
                 command: Sequence[str] | None = None, patience_s: float = PATIENCE_S) -> None:
        """
        folder       where job.json is written and the child works; made if it is not there
        python       interpreter; None: sys.executable, which is PythonSlicer in Slicer
        environment  variables that the child starts from; None: those of this process. See clean_environment for a Python of its own
        command      what is run instead of `python -m MRDeltaNetLib run`; the job's path is its last argument
        patience_s   see PATIENCE_S
        """
        super().__init__(folder, patience_s=patience_s)
        self._python, self._command = python, [*(command or module_command("MRDeltaNetLib", "run", python=python))]
        self._environment = environment

    def start(self, job: Job) -> None:
        """Write the job file and start the child. A program that cannot be started is told by the next poll.

        raises  UsageError MRD-E872 if a job runs or the Worker was closed, and what a bad job is refused with;
                EnvironmentProblem if the job file cannot be written
        """
        self._refuse_second()
        path = self._folder / JOB
        write_job(replace(job, progress="json"), path)
        read_job(path)                                     # refused here rather than by the child
        self.begin([*self._command, str(path)], child_environment(self._environment))

    def start_segmentation(self, job: SegmentJob) -> None:
        """The same for an automatic segmentation (`segment JOB.json`); Finished tells what segmenting.as_summary gives. raises as start"""
        self._refuse_second()
        path = self._folder / JOB
        write_segment_job(replace(job, progress="json"), path)
        read_segment_job(path)
        self.begin([*module_command("MRDeltaNetLib", "segment", python=self._python), str(path)], child_environment(self._environment))

    def start_explaining(self, job: ExplainJob) -> None:
        """The same for more maps of a finished run (`explain JOB.json`); Finished tells what explainer.as_summary gives. raises as start"""
        self._refuse_second()
        path = self._folder / JOB
        write_explain_job(replace(job, progress="json"), path)
        read_explain_job(path)
        self.begin([*module_command("MRDeltaNetLib", "explain", python=self._python), str(path)], child_environment(self._environment))

    def start_command(self, command: Sequence[str]) -> None:
        """Start another program that talks as the runner does: progress as JSON lines, then {"finished": ...} or {"error": ...}.

        command  program and arguments
        raises   UsageError MRD-E872 as start; EnvironmentProblem if the folder cannot be made
        """
        self._refuse_second()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise output_problem(problem) from problem
        self.begin(command, child_environment(self._environment))
