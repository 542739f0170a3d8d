"""Which methods are asked about a finished run, of which model, and their maps."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, Mapping

import SimpleITK as sitk

from MRDeltaNetLib import pipeline
from MRDeltaNetLib.config import EXPLAIN_METHODS, NATIVE_METHODS, RunConfig
from MRDeltaNetLib.errors import InputError, MissingPackage, Notice
from MRDeltaNetLib.explainer.renewing import renew
from MRDeltaNetLib.io import judged_maps, network_input
from MRDeltaNetLib.io.added_maps import add_maps, read_run
from MRDeltaNetLib.io.bundle import Bundle, read_bundle
from MRDeltaNetLib.io.finished import FinishedRun
from MRDeltaNetLib.io.jobs import methods_from
from MRDeltaNetLib.io.results import ALL_IMAGE_FILES, TRANSFORM, require_room
from MRDeltaNetLib.io.transforms import read_transform
from MRDeltaNetLib.progress import Progress, part, silent
from MRDeltaNetLib.resources import DEMO_BUNDLE, resource
from MRDeltaNetLib.response.attribution import METHODS, Readout
from MRDeltaNetLib.response.prediction import choose_device

SAME_P_PCR = 0.005
"""How far P(pCR) of the kept input may be from the result's: float16, and another device."""

ASKING, RENEWING = 0.05, 0.95
"""Where the first method begins on the bar, and where the last one ends."""

ALL, OFFERED = "all", "offered"


@dataclass(frozen=True)
class Explained:
    """What `explain_result` left behind.

    files     names of the files that were written
    kept      methods whose maps were there already
    left_out  method -> why it was not asked, with "all" and "offered" only
    numbers   name of a map -> its numbers, where it has any
    notices   what could not be brought up to date: report, scene
    """

    files: tuple[str, ...]
    kept: tuple[str, ...]
    left_out: Mapping[str, str]
    numbers: Mapping[str, Mapping[str, float]]
    notices: tuple[Notice, ...] = ()


def explain_result(folder: Path | str, methods: Iterable[str] | str = OFFERED, *, model: Path | str | None = None, device: str = "auto", again: bool = False,
                   progress: Progress = silent) -> Explained:
    """Ask methods about a finished run and add their maps to it.

    folder   output folder of a run with the steps "predict" and "explain"
    methods  names of config.EXPLAIN_METHODS; or "all" that mean something on this network and have their package; or "offered": of these, those that
             passed the model's own tests, or, where none did, all that did not fail (io/judged_maps)
    model    the run's bundle; None: the demo model, where it is the run's
    again    make maps anew that are there already
    raises   InputError MRD-E883 (no finished run), E726 (no or damaged input), E884 (a file was changed), E727 (another model), E728 (the model gives
             another answer than the run), and as pipeline.require_methods, attribution.attribute, choose_device, read_bundle, add_maps
    """
    folder = Path(folder)
    keys = EXPLAIN_METHODS if methods in (ALL, OFFERED) else methods_from(list(methods))
    progress(0.0, "Reading the result")
    finished = read_run(folder)
    require_room(folder)                                     # before minutes go into a map
    said, run = finished.result, _run(finished)
    wanted = [key for key in keys if again and key not in NATIVE_METHODS or not _there(finished, key)]
    kept = tuple(key for key in keys if key not in wanted)
    choose_device(device)
    bundle = _bundle(said, model)
    network = pipeline.network_of(bundle, RunConfig(members="first" if (said["model"] or {}).get("members_used") == 1 else "all"))
    offered = judged_maps.offered(bundle.own, wanted) if methods == OFFERED else tuple(wanted)
    left_out = {key: judged_maps.why_not_offered(bundle.own, key) for key in wanted if key not in offered}
    left_out |= _left_out(offered, network) if methods in (ALL, OFFERED) else {}
    wanted = [key for key in wanted if key not in left_out]
    pipeline.require_methods(wanted, network)
    _require_same_answer(said, network, bundle, run.seen)
    files, numbers = [], {}
    for number, key in enumerate(wanted):
        share = part(progress, *(ASKING + (RENEWING - ASKING) * place / len(wanted) for place in (number, number + 1)))
        share(0.0, METHODS[key].label)
        started = time.perf_counter()
        made = pipeline.method_maps(key, network, run.seen, bundle.own, run.scans, run.transform, device=device, progress=share)
        files += add_maps(folder, made, history={"step": "explain", "parameters": {"methods": [key]}},
                          seconds={f"explain {key}": round(time.perf_counter() - started, 3)})
        numbers |= {name: facts["numbers"] for name, (_, facts) in made.items() if "numbers" in facts}
    progress(RENEWING, "Bringing report and scene up to date")
    notices = renew(folder, bundle.own, {Path(file).stem for file in files})
    progress(1.0, "Done")
    return Explained(tuple(files), kept, left_out, numbers, notices)


@dataclass(frozen=True)
class _Run:
    """What a folder holds for asking again: the network's input, an image on each scan's own grid, the alignment pre LPS -> post LPS."""

    seen: Any
    scans: Mapping[str, sitk.Image]
    transform: sitk.Transform


def _run(finished: FinishedRun) -> _Run:
    if not finished.wrote(network_input.FILE):
        raise InputError("The run did not keep what the network saw, so it cannot be asked again", code="MRD-E726",
                         found="a run without the steps 'predict' and 'explain', or of an earlier version", fix="run the job again with these steps")
    seen = network_input.read_network_input(finished.path(network_input.FILE))
    scans = {visit: finished.image(ALL_IMAGE_FILES[f"attention_{visit}"]) for visit in ("pre", "post")}
    return _Run(seen, scans, read_transform(finished.path(TRANSFORM)))


def _there(run: FinishedRun, key: str) -> bool:
    """Whether a method's maps are there, as they were written: they are added together, so that any one means all (a network may look at one visit only)."""
    files = [ALL_IMAGE_FILES[name] for visit in METHODS[key].visits if (name := f"{key}_{visit}") in run.maps]
    return bool(files) and all(map(run.holds, files))


def _bundle(said: Mapping[str, Any], model: Path | str | None) -> Bundle:
    """The run's own model."""
    bundle = read_bundle(Path(model) if model is not None else resource(DEMO_BUNDLE))
    wanted = said["model"] or {}
    if bundle.weights_sha256 != wanted.get("weights_sha256"):
        raise InputError("This is not the model that the run was made with", code="MRD-E727",
                         found=f"{bundle.own['name']} {bundle.metadata['version']}, weights {bundle.weights_sha256[:12]}; the run's: {wanted.get('name')} "
                               f"{wanted.get('version')}, weights {str(wanted.get('weights_sha256'))[:12]}",
                         fix="name the run's own model with --model, or run again with this one")
    return bundle


def _left_out(keys: Iterable[str], network: Any) -> dict[str, str]:
    found = {}
    for key in keys:
        try:
            pipeline.require_methods([key], network)
        except (InputError, MissingPackage) as reason:
            found[key] = reason.found or reason.what
    return found


def _require_same_answer(said: Mapping[str, Any], network: Any, bundle: Bundle, seen: Any) -> None:
    """The kept input, the weights and the recalibration belong together only if P(pCR) comes out again."""
    import torch
    with torch.inference_mode():
        logit = float(network(torch.from_numpy(seen.values.astype("float32"))[None]).logit[0])
    p_pcr = Readout.of(bundle.own).p_pcr(logit)
    if not math.isfinite(p_pcr) or abs(p_pcr - said["p_pcr"]) > SAME_P_PCR:
        raise InputError("The model gives another answer about the kept input than the run did", code="MRD-E728",
                         found=f"P(pCR) {p_pcr:.3f}, the run said {said['p_pcr']:.3f}",
                         fix="name the bundle that the run was made with: recalibration and threshold may have been changed since; or run the job again")
