"""The Slicer panel on a 320 x 320 x 30 pair in the stand-in window: how long its refresh holds up the main thread, and how soon a run answers."""

from __future__ import annotations

import hashlib
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import numpy as np
import SimpleITK as sitk

REPEATS, STARTS = 9, 5


def run() -> list[dict]:
    """Medians: a refresh with nothing changed, one after a stroke in one outline, a child process until its first progress line."""
    from MRDeltaNetLib.imaging.phantom import simulate_pair
    pair = simulate_pair(11)
    with tempfile.TemporaryDirectory() as folder:
        return [*_refreshes(pair, Path(folder)), _start(Path(folder))]


def _refreshes(pair: Any, folder: Path) -> list[dict]:
    from Testing.panel.conftest import MODULE
    from Testing.standins.application import standin_application
    with standin_application(folder / "application") as application:
        panel = application.open_module(MODULE)
        parameters = _filled(panel, pair, folder)
        panel.go("tumour")
        application.process_events(0.5)
        if panel.logic.situation(parameters).prediction.changed:
            raise SystemExit("the benchmarked case is not in order")
        scans = [parameters.preVolume, parameters.postVolume]
        unchanged, hashed = _seconds(panel.refresh), _seconds(lambda: [_hash(scan) for scan in scans])
        strokes = iter(_strokes(pair.post_mask))
        stroke = _seconds(panel.refresh, before=lambda: panel.logic.setMask(parameters, "post", next(strokes)))
        exported = _seconds(lambda: _export(parameters))
    return [{"what": "panel: refresh, nothing changed", "unit": "s", "ours": unchanged, "peer": hashed, "peer_name": "SHA-256 of both scans' voxels",
             "note": "aim: below 0.1 s"},
            {"what": "panel: refresh after a stroke in one outline", "unit": "s", "ours": stroke, "peer": exported,
             "peer_name": "Slicer's export of the three segments", "note": "aim: below 0.25 s"}]


def _filled(panel: Any, pair: Any, folder: Path) -> Any:
    """A whole case but for its maps in the panel's scene, as two runs would have brought it; the parameter node."""
    import slicer

    from MRDeltaNetLib.io.results import write_results
    from MRDeltaNetLib.mrml.nodes import image_to_node
    from MRDeltaNetLib.mrml.sitting import results
    from Testing.made_up_result import complete_result

    def page(unfinished: Path) -> list[str]:
        (unfinished / "report.html").write_text("<html></html>", encoding="utf-8")
        return ["report.html"]

    write_results(replace(complete_result(), images={}, map_facts={}), folder / "result", manifest={}, also=page)
    parameters = panel.parameters
    parameters.preVolume, parameters.postVolume = (image_to_node(image, slicer.mrmlScene, name) for image, name in ((pair.pre, "Before"), (pair.post, "After")))
    for role in ("pre", "post", "residual"):
        panel.logic.setMask(parameters, role, getattr(pair, f"{role}_mask"))
    for step, bring in (("align", results.bring_alignment), ("predict", results.bring_result)):
        bring(panel.logic.sittingWith(parameters).choices, folder / "result", panel.logic.fingerprint(step, panel.logic.inputs(parameters), parameters))
    panel.refresh()
    return parameters


def _strokes(mask: sitk.Image) -> list[sitk.Image]:
    """The mask with one painted square, each in another place."""
    drawn = []
    for shift in range(REPEATS + 1):
        voxels = sitk.GetArrayFromImage(mask)
        z, y, x = np.argwhere(voxels)[0]
        voxels[z, y:y + 8, x + shift:x + shift + 8] = 1
        drawn.append(sitk.GetImageFromArray(voxels))
        drawn[-1].CopyInformation(mask)
    return drawn


def _hash(volume: Any) -> str:
    from MRDeltaNetLib.mrml.nodes import image_from_node
    return hashlib.sha256(sitk.GetArrayViewFromImage(image_from_node(volume, volume.GetParentTransformNode())).tobytes()).hexdigest()


def _export(parameters: Any) -> None:
    import slicer
    for segmentation, volume in ((parameters.preSegmentation, parameters.preVolume), (parameters.postSegmentation, parameters.postVolume)):
        labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
        slicer.vtkSlicerSegmentationsModuleLogic.ExportAllSegmentsToLabelmapNode(segmentation, labels, slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY)
        slicer.mrmlScene.RemoveNode(labels)


def _start(folder: Path) -> dict:
    """From asking for a run to its first sign of life, beside Python with the package that reads the scans."""
    from Testing.simulated import small_pair, write_pair
    scans = write_pair(small_pair(), folder / "scans")
    ours = statistics.median(_first_progress(scans, folder, number) for number in range(STARTS))
    peer = _seconds(lambda: subprocess.run([sys.executable, "-c", "import SimpleITK"], check=True), repeats=STARTS)
    return {"what": "child process until its first progress line", "unit": "s", "ours": ours, "peer": peer, "peer_name": "python -c 'import SimpleITK'"}


def _first_progress(scans: dict[str, str], folder: Path, number: int) -> float:
    from MRDeltaNetLib.io.jobs import job_from_mapping
    from MRDeltaNetLib.mrml.worker import Progressed, Worker
    worker = Worker(folder / f"job{number}")
    start = time.perf_counter()
    worker.start(job_from_mapping({"pre": scans["pre"], "post": scans["post"], "out": str(folder / f"out{number}"), "steps": ["align"], "device": "cpu"}))
    try:
        while not any(isinstance(event, Progressed) for event in worker.poll()):
            if not worker.running:
                raise SystemExit("the benchmarked run ended without a word")
            time.sleep(0.005)
        return time.perf_counter() - start
    finally:
        worker.close()


def _seconds(action: Callable[[], Any], before: Callable[[], Any] = lambda: None, repeats: int = REPEATS) -> float:
    """Median; what comes before each round is not timed, and the first round is not counted."""
    times = []
    for _round in range(repeats + 1):
        before()
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])
