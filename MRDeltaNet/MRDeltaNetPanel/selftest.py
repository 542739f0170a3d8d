"""The walk that Slicer's self-test makes: from Scans to Report on the simulated pair, with the real pipeline in its child process.

Needs no main window, no CLI module and no torch; without torch the prediction is not made, and the test says so.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, Callable

import numpy as np
import SimpleITK as sitk
import slicer

from MRDeltaNetLib.io.gate.grids import same_grid
from MRDeltaNetLib.mrml import alignment
from MRDeltaNetLib.mrml.overlays import MAPS
from MRDeltaNetLib.mrml.scans import scan_from_node
from MRDeltaNetLib.mrml.worker import Finished, Stopped
from MRDeltaNetLib.workflow import Outline
from MRDeltaNetPanel import packages

STOP_S = 30.0
"""A run that was asked to stop is gone within this, seconds."""


def walk() -> None:
    """Sample pair, alignment, outlines, report, prediction where torch is there; then the scene is saved, closed and read again."""
    logic = slicer.util.getModuleLogic("MRDeltaNet")
    pre, post = logic.samplePair()
    parameters = logic.getParameterNode()
    _holds(not logic.findings(parameters).errors, "the sample pair is let through")
    _aligned(logic, parameters)
    _outlined(logic, parameters)
    _reported(logic, parameters)
    if packages.missing():
        print(f"MRDeltaNet self-test: prediction skipped, because these are not installed: {', '.join(packages.missing())}", flush=True)
    else:
        _predicted(logic, parameters)
    _savedAndRead(logic, parameters)
    logic.close()


def panel() -> None:
    """Every page of the panel opens on an empty scene and with one scan chosen twice, and says what to do."""
    widget = slicer.modules.mrdeltanet.widgetRepresentation().self()
    if widget.parameters is None:                        # the scene was emptied while the module was not in front
        widget.enter()
    for step in widget.pages:
        widget.go(step)
        _holds(widget.ui.hintLabel.text, f"the page {step} says what to do")
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "only one")
    slicer.util.updateVolumeFromArray(volume, np.arange(24 * 24 * 12, dtype=np.int16).reshape(12, 24, 24))
    parameters = widget.logic.getParameterNode()
    parameters.preVolume = parameters.postVolume = volume
    widget.go("align")
    _holds(not widget.pages["align"].ui.alignButton.enabled,
           "one scan is not aligned to itself")
    widget.go("scans")


def cancelled() -> None:
    """A run that is cancelled leaves the scene as it was; one whose scene is closed leaves nothing behind."""
    logic = slicer.util.getModuleLogic("MRDeltaNet")
    logic.samplePair()
    logic.start("align")
    logic.cancel()
    _holds(_ended(logic, Stopped), "the run stops when it is asked to")
    _holds(logic.getParameterNode().alignment is None, "a stopped run leaves no transform")
    logic.start("align")
    slicer.mrmlScene.Clear(0)
    _holds(not logic.running, "closing the scene ends the run")


TESTS: dict[str, Callable[[], None]] = {"walk from scans to report": walk, "pages": panel, "cancel": cancelled}


def _aligned(logic: Any, parameters: Any) -> None:
    before = scan_from_node(parameters.postVolume)
    events = logic.runAndWait("align", parameters)
    _holds(isinstance(events[-1], Finished), "the alignment finishes")
    _holds(parameters.postVolume.GetParentTransformNode() is parameters.alignment, "the second scan lies under the transform")
    after = scan_from_node(parameters.postVolume, parameters.alignment)
    _holds(same_grid(before, after) and bool((sitk.GetArrayViewFromImage(before) == sitk.GetArrayViewFromImage(after)).all()), "nothing is hardened")
    moved = alignment.transform_from_node(parameters.alignment, parameters.postVolume)
    _holds(np.linalg.norm(np.array(moved.TransformPoint((0.0, 0.0, 0.0)))) < 100, "the transform is of a size that scans of one patient have")


def _outlined(logic: Any, parameters: Any) -> None:
    sizes = logic.sizes(parameters)
    _holds(sizes["pre_volume_ml"] > 1 and sizes["post_volume_ml"] > 0.5, "the outlines have a size")
    drawn, bed = sizes["post_volume_ml"], logic.inputs(parameters).masks["post"]
    logic.setMask(parameters, "post", bed * 0)           # what is drawn is never carried over
    logic.carryOver(parameters)
    _holds(logic.outlineState(parameters, "post") is Outline.CARRIED, "a carried outline says so")
    logic.setMask(parameters, "post", bed)
    _holds(logic.outlineState(parameters, "post") is Outline.DRAWN and abs(logic.sizes(parameters)["post_volume_ml"] - drawn) < 1e-6,
           "the drawn outline is back")


def _reported(logic: Any, parameters: Any) -> None:
    logic.runAndWait("report", parameters)
    facts = logic.resultFacts(parameters)
    _holds(facts["p_pcr"] is None, "a report without prediction has no number")
    _holds(abs(facts["measures"]["pre_volume_ml"] - logic.sizes(parameters)["pre_volume_ml"]) < 1e-6, "panel and report measure alike")
    _holds(parameters.measures.GetNumberOfRows() > 3, "the measures are in a table")
    _holds(logic.reportFile(parameters).stat().st_size > 10_000, "there is a report")


def _predicted(logic: Any, parameters: Any) -> None:
    logic.runAndWait("predict", parameters)
    facts = logic.resultFacts(parameters)
    _holds(0 <= facts["p_pcr_low"] <= facts["p_pcr"] <= facts["p_pcr_high"] <= 1, "the probability lies in its range")
    for key, node in logic.maps(parameters).items():
        base = parameters.preVolume if key.endswith("_pre") else parameters.postVolume
        _holds(same_grid(scan_from_node(node, node.GetParentTransformNode()), scan_from_node(base, base.GetParentTransformNode())),
               f"the map {key} lies on its scan")
    made = set(logic.maps(parameters))
    _holds(made == set(facts["maps"]) & set(MAPS) and {"attention_pre", "attention_post", "change_post"} <= made, "every map of the result is in the scene")
    logic.makeMaps(parameters, ("gradcam", "null"))
    added = set(logic.maps(parameters)) - made
    _holds(added == {"gradcam_pre", "gradcam_post", "null_pre", "null_post"} and logic.resultFacts(parameters)["p_pcr"] == facts["p_pcr"], "further maps come in and change no number")
    _holds(not logic.situation(parameters).prediction.stale, "the prediction is as fresh as before")


def _savedAndRead(logic: Any, parameters: Any) -> None:
    facts, moved = logic.resultFacts(parameters), alignment.transform_from_node(parameters.alignment, parameters.postVolume)
    with tempfile.TemporaryDirectory(prefix="mrd-selftest-") as folder:
        path = Path(folder) / "walk.mrb"
        logic.saveScene(path)
        slicer.mrmlScene.Clear(0)
        slicer.util.loadScene(str(path))
        again = logic.getParameterNode()
        _holds(logic.resultFacts(again) == facts, "the result is read back as it was saved")
        there = alignment.transform_from_node(again.alignment, again.postVolume)
        _holds(np.allclose(there.TransformPoint((10.0, 20.0, 30.0)), moved.TransformPoint((10.0, 20.0, 30.0)), atol=1e-3), "so is the transform")
        _holds(not logic.situation(again).alignment_of_other_scans, "the alignment still belongs to its scans")


def _ended(logic: Any, kind: type) -> bool:
    """Poll until a run is over; whether it ended so."""
    until, events = time.monotonic() + STOP_S, []
    while logic.running and time.monotonic() < until:
        events += logic.poll()
        time.sleep(0.02)
    return bool(events) and isinstance(events[-1], kind)


def _holds(condition: Any, claim: str) -> None:
    if not condition:
        raise AssertionError(f"not so: {claim}")
