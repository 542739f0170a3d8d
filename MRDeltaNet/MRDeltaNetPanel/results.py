"""What a finished run left, brought into the scene: nodes, their places in the subject hierarchy, and what they rest on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Mapping

import slicer
from slicer.i18n import tr as _

from MRDeltaNetLib.io import results as files
from MRDeltaNetLib.io.finished import FinishedRun
from MRDeltaNetLib.io.transforms import read_transform
from MRDeltaNetLib.mrml import alignment, drawn, findings, hierarchy, overlays

FINGERPRINT = "MRDeltaNet.restsOn"
"""Attribute of a result's text node: the fingerprint of what the run was given."""

ALIGNMENT_NAME, REPORT_NAME = _("MRDeltaNet alignment"), _("MRDeltaNet report")


def bringAlignment(parameters: Any, out: Path, restsOn: Mapping[str, str]) -> None:
    """The transform of a run as a node over the scan after treatment and all that lies on it; nothing is hardened.

    out      the run's folder
    restsOn  fingerprint of what the run was given
    raises   InputError of mrml.finished and mrml.alignment
    """
    scene, run = slicer.mrmlScene, FinishedRun(out)
    pre, post = parameters.preVolume, parameters.postVolume
    hierarchy.file_scans(scene, {"pre": pre, "post": post})
    parameters.alignment = alignment.show_alignment(scene, read_transform(out / files.TRANSFORM), pre, post, followers(parameters))
    parameters.alignmentResult = findings.kept_text(scene, run.text, pre, "alignment result", ALIGNMENT_NAME)
    _file(parameters, [parameters.alignment, parameters.alignmentResult], parameters.alignmentResult, restsOn)


def bringResult(parameters: Any, out: Path, restsOn: Mapping[str, str]) -> None:
    """Numbers, report and maps of a run.

    raises  InputError of mrml.finished and mrml.overlays; then nothing of the scene has changed
    """
    scene, run = slicer.mrmlScene, FinishedRun(out)
    pre, post, report = parameters.preVolume, parameters.postVolume, (out / files.REPORT).read_text(encoding="utf-8")
    for key, node in overlays.add_maps(scene, run, pre, post).items():
        hierarchy.file_under(scene, node, pre if overlays.MAPS[key][0] == "pre" else post)
    parameters.result = findings.result_text(scene, run.text, pre)
    parameters.report = findings.kept_text(scene, report, pre, "report", REPORT_NAME)
    parameters.measures = findings.measures_table(scene, run.result, pre)
    _file(parameters, [parameters.result, parameters.report, parameters.measures], parameters.result, restsOn)


def facts(node: Any) -> dict[str, Any] | None:
    """result.json as a text node holds it; None without one, or where somebody wrote something else into it."""
    if node is None:
        return None
    try:
        found = json.loads(node.GetText())
    except (TypeError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("schema") == files.RESULT_SCHEMA else None


def maps(parameters: Any) -> dict[str, Any]:
    """Map -> its volume node, of both chosen scans."""
    scans = {"pre": parameters.preVolume, "post": parameters.postVolume}
    found = {key: overlays.find_map(scans[role], key) for key, (role, _name, _legend) in overlays.MAPS.items() if scans[role] is not None}
    return {key: node for key, node in found.items() if node is not None}


def followers(parameters: Any) -> list[Any]:
    """Nodes that lie on the scan after treatment and go wherever it goes."""
    beside = () if parameters.postVolume is None else drawn.nodes(parameters.postVolume, "post")
    found = [parameters.postSegmentation, *beside, *(node for key, node in maps(parameters).items() if overlays.MAPS[key][0] == "post")]
    return [node for node in found if node is not None]


def ofThisPair(node: Any, parameters: Any) -> bool:
    """Whether an alignment's or a result's node was made for the two scans that are chosen now."""
    chosen = {"MRDeltaNet.pre": parameters.preVolume, "MRDeltaNet.post": parameters.postVolume}
    return all(volume is not None and node.GetNodeReferenceID(role) == volume.GetID() for role, volume in chosen.items())


def _file(parameters: Any, nodes: list[Any], marked: Any, restsOn: Mapping[str, str]) -> None:
    marked.SetAttribute(FINGERPRINT, json.dumps(dict(restsOn)))
    for node in nodes:
        node.SetNodeReferenceID("MRDeltaNet.pre", parameters.preVolume.GetID())
        node.SetNodeReferenceID("MRDeltaNet.post", parameters.postVolume.GetID())
        hierarchy.file_under_patient(slicer.mrmlScene, node, parameters.preVolume)
