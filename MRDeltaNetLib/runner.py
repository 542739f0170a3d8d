"""One job, from files to files: the worker that command line, panel and page all start.

Everything is written into a folder beside the earlier result and takes its place at the end, manifest.json last: a folder with
a manifest holds a finished run.
"""

from __future__ import annotations

import importlib.util
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Mapping

import SimpleITK as sitk

from MRDeltaNetLib import pipeline
from MRDeltaNetLib.case import Case, Result
from MRDeltaNetLib.config import RunConfig
from MRDeltaNetLib.errors import InputError, Notice
from MRDeltaNetLib.io import results
from MRDeltaNetLib.io.atomic import sha256
from MRDeltaNetLib.io.bundle import Bundle, read_bundle
from MRDeltaNetLib.io.cases import read_case
from MRDeltaNetLib.io.jobs import Job
from MRDeltaNetLib.io.tables import read_json
from MRDeltaNetLib.io.transforms import read_transform
from MRDeltaNetLib.progress import Progress, part, silent
from MRDeltaNetLib.resources import DEMO_BUNDLE, resource
from MRDeltaNetLib.versions import system, versions
from MRDeltaNetLib.workflow import alignment_is_stale


@dataclass(frozen=True)
class Outcome:
    """What a finished job left behind.

    result  the numbers
    out     the output folder
    files   names of the files in it, in the order of writing
    """

    result: Result
    out: Path
    files: tuple[str, ...]


def run_job(job: Job, progress: Progress = silent) -> Outcome:
    """Do one job.

    raises  any MRDeltaNetError; files of an earlier run in the output folder stay as they were unless the job finishes computing
    """
    started = time.perf_counter()
    out = Path(job.out)
    results.check_output_folder(out, _inputs(job))
    progress(0.0, "Reading the scans")
    config = run_config(job)
    bundle = read_bundle(Path(job.model) if job.model else resource(DEMO_BUNDLE)) if "predict" in job.steps else None
    case, notices = read_case(job, config.limits)
    transform = read_transform(Path(job.transform)) if job.transform else None
    earlier = _earlier_alignment(job)
    _limit_threads(config)
    result = pipeline.run(case, config, bundle=bundle, transform=transform, progress=part(progress, 0.02, 0.85),
                          left_out=None if earlier is None else earlier["masks_left_out_sha256"],
                          notices=(*notices, *_scene_notice(job), *_stale_alignment(earlier, case)))
    files = _write(result, job, case, bundle, started, part(progress, 0.85, 1.0))
    progress(1.0, "Done")
    return Outcome(result, out, files)


def run_config(job: Job) -> RunConfig:
    """The job's choices on top of the defaults."""
    default = RunConfig()
    return replace(default, steps=tuple(job.steps), bias_correction=job.bias_correction, outline_step_mm=job.outline_step_mm,
                   explain_methods=job.explain_methods, members=job.members, device=job.device, seed=job.seed, threads=job.threads,
                   registration=replace(default.registration, method=job.registration))


def _write(result: Result, job: Job, case: Case, bundle: Bundle | None, started: float, progress: Progress) -> tuple[str, ...]:
    """Write everything into the output folder, all or nothing; the manifest comes last."""
    progress(0.0, "Writing images and numbers")
    seconds = {"steps": {entry["step"]: entry["seconds"] for entry in result.history}}

    def report_scene_and_clock(folder: Path) -> list[str]:
        names = _report_and_scene(result, job, folder, progress)
        seconds["total"] = round(time.perf_counter() - started, 3)
        return names

    return results.write_results(result, job.out, manifest=_manifest(result, job, case, bundle, seconds), also=report_scene_and_clock)


def _report_and_scene(result: Result, job: Job, folder: Path, progress: Progress) -> list[str]:
    if "report" not in job.steps:
        return []
    from MRDeltaNetLib.report.html import write_report
    progress(0.3, "Writing the report")
    write_report(result, folder / results.REPORT)
    if job.no_scene or not _can_write_a_scene():
        return [results.REPORT]
    from MRDeltaNetLib.mrml.scene import write_scene
    progress(0.5, "Writing the scene for 3D Slicer")
    write_scene(result, folder / results.SCENE, provenance=(folder / results.RESULT).read_text(encoding="utf-8"))
    return [results.REPORT, results.SCENE]


def _manifest(result: Result, job: Job, case: Case, bundle: Bundle | None, seconds: dict[str, Any]) -> dict[str, Any]:
    """Enough to repeat the run: digests, versions, device, seed, every parameter, wall times. No path, no name, no date."""
    inputs = {"pre_sha256": list(case.pre.facts.file_sha256), "post_sha256": list(case.post.facts.file_sha256)}
    for name in ("pre_header", "post_header", "pre_mask", "post_mask", "residual_mask", "pre_probability", "post_probability", "clinical", "transform"):
        if given := getattr(job, name):
            inputs[f"{name}_sha256"] = [sha256(Path(given))]
    return {"versions": versions(), "system": system(), "device": (result.model or {}).get("device", "cpu"), "seed": job.seed,
            "config": json.loads(json.dumps(asdict(run_config(job)))),
            "options": {"complete_response": job.complete_response, "volume_index": job.volume_index, "assume_ras": job.assume_ras,
                        "labels": {role: _shown_label(getattr(job, f"{role}_label")) for role in ("pre", "post", "residual")}},
            "model": None if bundle is None else {"name": bundle.own["name"], "version": bundle.metadata["version"],
                                                  "bundle_sha256": bundle.sha256, "weights_sha256": bundle.weights_sha256},
            "inputs": inputs, "seconds": seconds}


def _shown_label(label: int | str | None) -> int | str | None:
    """A label's number; a segment's name, which may be anybody's, stays out of the manifest: the mask's digest stands for it."""
    return "by name" if isinstance(label, str) else label


def _inputs(job: Job) -> tuple[Path, ...]:
    return tuple(Path(given) for given in (job.pre, job.post, job.pre_header, job.post_header, job.pre_mask, job.post_mask, job.residual_mask,
                                           job.pre_probability, job.post_probability, job.clinical, job.model, job.transform) if given)


def _can_write_a_scene() -> bool:
    if importlib.util.find_spec("slicer") is None:
        return False
    from MRDeltaNetLib.mrml.bootstrap import is_whole
    return is_whole()


def _scene_notice(job: Job) -> tuple[Notice, ...]:
    if "report" not in job.steps or job.no_scene or _can_write_a_scene():
        return ()
    return (Notice("MRD-W801", "No scene.mrb is written, because this Python has no whole MRML library",
                   "in 3D Slicer save the scene; elsewhere pip install 'mrdeltanet[scene]' (slicer-core), or open the NRRD files in 3D Slicer one by one"),)


def _stale_alignment(earlier: Mapping[str, Any] | None, case: Case) -> tuple[Notice, ...]:
    """Warn if an alignment that was handed in was made with other masks than those of this job.

    earlier  the "registration" part of the result that the alignment came with; None if there is none
    """
    if not alignment_is_stale(earlier, case.pre, case.post):
        return ()
    return (Notice("MRD-W610", "The alignment is stale: it was made without these masks, or with others",
                   "align again, so that the tumour and its change are left out of the alignment"),)


def _earlier_alignment(job: Job) -> Mapping[str, Any] | None:
    """What the result.json beside a transform that was handed in says about that alignment; None if nothing says it."""
    if not job.transform or "align" in job.steps:
        return None
    try:
        found = read_json(Path(job.transform).with_name(results.RESULT))["registration"]
        return found if isinstance(found["masks_left_out_sha256"], dict) else None
    except (InputError, KeyError, TypeError):
        return None


def _limit_threads(config: RunConfig) -> None:
    if config.threads:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(config.threads)
