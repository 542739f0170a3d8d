"""What a finished run left, brought into the scene: nodes, their places in the subject hierarchy, and what they rest on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Mapping

from MRDeltaNetLib.io import results as files
from MRDeltaNetLib.io.finished import FinishedRun
from MRDeltaNetLib.io.transforms import read_transform
from MRDeltaNetLib.mrml import alignment, drawn, findings, hierarchy, overlays
from MRDeltaNetLib.workflow.texts import Translate, _

FINGERPRINT = "MRDeltaNet.restsOn"
"""Attribute of a result's text node: the fingerprint of what the run was given."""

ALIGNMENT_NAME, REPORT_NAME = _("MRDeltaNet alignment"), _("MRDeltaNet report")


def bring_alignment(choices: Any, out: Path, rests_on: Mapping[str, str], translate: Translate = str) -> None:
    """The transform of a run as a node over the scan after treatment and all that lies on it; nothing is hardened.

    out        the run's folder
    rests_on   fingerprint of what the run was given
    translate  of the nodes' names
    raises     InputError of io.finished and mrml.alignment
    """
    run, scene = FinishedRun(out), choices.pre_volume.GetScene()
    pre, post = choices.pre_volume, choices.post_volume
    hierarchy.file_scans(scene, {"pre": pre, "post": post})
    choices.alignment = alignment.show_alignment(scene, read_transform(out / files.TRANSFORM), pre, post, followers(choices))
    choices.alignment_result = findings.kept_text(scene, run.text, pre, "alignment result", translate(ALIGNMENT_NAME))
    _file(choices, [choices.alignment, choices.alignment_result], choices.alignment_result, rests_on)


def bring_result(choices: Any, out: Path, rests_on: Mapping[str, str], translate: Translate = str) -> None:
    """Numbers, report and maps of a run.

    raises  InputError of io.finished and mrml.overlays; then nothing of the scene has changed
    """
    run, scene = FinishedRun(out), choices.pre_volume.GetScene()
    pre, post, report = choices.pre_volume, choices.post_volume, (out / files.REPORT).read_text(encoding="utf-8")
    for key, node in overlays.add_maps(scene, run, pre, post).items():
        hierarchy.file_under(scene, node, pre if overlays.MAPS[key][0] == "pre" else post)
    choices.result = findings.result_text(scene, run.text, pre)
    choices.report = findings.kept_text(scene, report, pre, "report", translate(REPORT_NAME))
    choices.measures = findings.measures_table(scene, run.result, pre)
    _file(choices, [choices.result, choices.report, choices.measures], choices.result, rests_on)


def facts(node: Any) -> dict[str, Any] | None:
    """result.json as a text node holds it; None without one, or where somebody wrote something else into it."""
    if node is None:
        return None
    try:
        found = json.loads(node.GetText())
    except (TypeError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("schema") == files.RESULT_SCHEMA else None


def folder_at_hand(choices: Any, folder: Path | None) -> Path | None:
    """The folder of the run whose result is in the scene; None if it is not at hand. folder: of the last run"""
    if choices.result is None or folder is None:
        return None
    try:
        text = (folder / files.RESULT).read_text(encoding="utf-8")
    except OSError:
        return None
    return folder if text == choices.result.GetText() else None


def maps(choices: Any) -> dict[str, Any]:
    """Map -> its volume node, of both chosen scans."""
    scans = {"pre": choices.pre_volume, "post": choices.post_volume}
    found = {key: overlays.find_map(scans[role], key) for key, (role, _name, _legend) in overlays.MAPS.items() if scans[role] is not None}
    return {key: node for key, node in found.items() if node is not None}


def followers(choices: Any) -> list[Any]:
    """Nodes that lie on the scan after treatment and go wherever it goes."""
    beside = () if choices.post_volume is None else drawn.nodes(choices.post_volume, "post")
    found = [choices.post_segmentation, *beside, *(node for key, node in maps(choices).items() if overlays.MAPS[key][0] == "post")]
    return [node for node in found if node is not None]


def of_this_pair(node: Any, choices: Any) -> bool:
    """Whether an alignment's or a result's node was made for the two scans that are chosen now."""
    chosen = {"MRDeltaNet.pre": choices.pre_volume, "MRDeltaNet.post": choices.post_volume}
    return all(volume is not None and node.GetNodeReferenceID(role) == volume.GetID() for role, volume in chosen.items())


def _file(choices: Any, nodes: list[Any], marked: Any, rests_on: Mapping[str, str]) -> None:
    marked.SetAttribute(FINGERPRINT, json.dumps(dict(rests_on)))
    for node in nodes:
        node.SetNodeReferenceID("MRDeltaNet.pre", choices.pre_volume.GetID())
        node.SetNodeReferenceID("MRDeltaNet.post", choices.post_volume.GetID())
        hierarchy.file_under_patient(node.GetScene(), node, choices.pre_volume)
