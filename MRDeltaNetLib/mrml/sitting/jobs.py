"""What a sitting asks a run for: the job of a step, with its input files written into the sitting's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from MRDeltaNetLib import workflow
from MRDeltaNetLib.io import results as files
from MRDeltaNetLib.io.jobs import Job, job_from_mapping
from MRDeltaNetLib.io.transforms import write_transform
from MRDeltaNetLib.mrml.sitting import drawing, further, results
from MRDeltaNetLib.mrml.sitting.inputs import Inputs

ACCEPTED = "accepted"


def job_of(sitting: Any, step: str, pair: Inputs, out: Path) -> Job:
    """A step's job as the child process gets it. raises what the job's validation raises; EnvironmentProblem if a file cannot be written"""
    return job_from_mapping(entries(sitting, step, pair, out))


def entries(sitting: Any, step: str, pair: Inputs, out: Path) -> dict[str, Any]:
    """The same by the names of a job file.

    sitting  runs.Sitting
    step     "align", "predict" or "report"
    pair     as it is in the scene now
    out      where the run writes
    """
    choices, session = sitting.choices, sitting.session
    job: dict[str, Any] = {"out": str(out), "registration": choices.registration, "complete_response": choices.complete_response,
                           "steps": list(workflow.job_steps(step)), "device": choices.device, **sitting.door.job}
    job |= {"mrtrg": choices.mrtrg} if choices.mrtrg else {}
    job |= {role: str(session.write(role, image, pair.digests[role])) for role, image in pair.scans.items()}
    job |= {f"{role}_mask": str(session.write(f"{role}_mask", mask, pair.digests[f"{role}_mask"])) for role, mask in pair.masks.items()}
    job |= drawing.write_drawings(choices, session, pair.masks)
    job |= {f"{role}_header": str(path) for role, path in pair.headers.items() if path is not None}
    if pair.transform is not None:
        job["transform"] = str(_accepted_transform(sitting, pair))
    if step == "predict":
        job |= {"outline_step_mm": choices.outline_step_mm, "members": "all" if choices.all_members else "first"}
        job |= {"explain_methods": list(more)} if (more := further.to_repeat(sitting)) else {}
        folder = sitting.door.model_folder()
        job |= {} if folder is None else {"model": str(folder)}
    return job


def _accepted_transform(sitting: Any, pair: Inputs) -> Path:
    """The alignment as a file, and beside it the result of the run that made it, so that the next run knows which masks it left out."""
    folder, made_by = sitting.session.path(ACCEPTED), sitting.choices.alignment_result
    folder.mkdir(parents=True, exist_ok=True)
    write_transform(pair.transform, folder / files.TRANSFORM)
    (folder / files.RESULT).unlink(missing_ok=True)      # of an alignment that was accepted before
    if results.facts(made_by) is not None:
        (folder / files.RESULT).write_text(made_by.GetText(), encoding="utf-8")
    return folder / files.TRANSFORM
