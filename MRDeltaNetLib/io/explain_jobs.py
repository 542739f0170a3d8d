"""The job of asking a finished run for more maps: the panel and other programs start `python -m MRDeltaNetLib explain JOB.json` with it.

A job file is one JSON object with the names of the command line:
    {"result": "demo/result", "methods": ["occlusion", "gradcam"]}
Relative paths in a job file are relative to the file.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Mapping

from MRDeltaNetLib.config import DEVICES, GateLimits
from MRDeltaNetLib.errors import UsageError
from MRDeltaNetLib.io import job_values as values
from MRDeltaNetLib.io.atomic import write_text
from MRDeltaNetLib.io.jobs import PROGRESS, methods_from
from MRDeltaNetLib.io.tables import read_json

SCHEMA = "mrdeltanet.explain-job/1"
WORDS = ("all", "offered")
"""What may stand in the place of a list of methods; see explainer.explain_result."""


@dataclass(frozen=True)
class ExplainJob:
    """What is asked of a finished run.

    result    output folder of a run with the steps "predict" and "explain"
    methods   names of config.EXPLAIN_METHODS; or "all", or "offered"
    model     the run's own bundle; None: the demo model, where it is the run's
    again     make maps anew that are there already
    device    "auto", "cpu", "cuda" or "mps"
    progress  "bar", "json" or "none"
    """

    result: Path
    methods: tuple[str, ...] | str = "offered"
    model: Path | None = None
    again: bool = False
    device: str = "auto"
    progress: str = "bar"


_NAMES = tuple(field.name for field in fields(ExplainJob))
_PATHS = ("result", "model")
_CHOICES = {"device": DEVICES, "progress": PROGRESS}


def read_explain_job(path: Path | str, limits: GateLimits = GateLimits()) -> ExplainJob:
    """Read a job file. raises InputError MRD-E420 to E427 if it is not strict JSON; UsageError as explain_job"""
    path = Path(path)
    return explain_job(read_json(path, limits, what="the job file"), base=path.absolute().parent)


def write_explain_job(job: ExplainJob, path: Path | str) -> None:
    """Write a job file that means the same wherever it lies."""
    write_text(path, values.as_text(values.with_absolute_paths(job, _PATHS), SCHEMA))


def explain_job(given: Mapping[str, Any], *, base: Path | None = None) -> ExplainJob:
    """The one validation; None means not given.

    base    folder that relative paths are relative to; None: the working folder
    raises  UsageError MRD-E403 (unknown name), E404 (no result named), E405 (wrong kind), E406 (no such choice), E409 (impossible path), E723 (methods)
    """
    if not isinstance(given, Mapping):
        raise UsageError("A job is one JSON object of names and values", code="MRD-E405", fix='write {"result": ..., "methods": [...]}')
    values.refuse_unknown(given, _NAMES, "explain")
    values.refuse_other_schema(given, SCHEMA)
    chosen = {name: value for name, value in given.items() if value is not None and name != "schema"}
    if not chosen.get("result"):
        raise UsageError("The job does not say everything that is needed", code="MRD-E404", found="missing: result", fix="name the folder of a finished run (result)")
    return ExplainJob(**{name: _checked(name, value, base) for name, value in chosen.items()})


def _checked(name: str, value: Any, base: Path | None) -> Any:
    if name in _PATHS:
        return values.path(name, value, base)
    if name == "again":
        return values.switch(name, value)
    if name in _CHOICES:
        return values.choice(name, value, _CHOICES[name])
    return value if isinstance(value, str) and value in WORDS else methods_from(value)
