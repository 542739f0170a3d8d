"""What a finished run left, brought into the scene: nodes, their places in the subject hierarchy, and what they rest on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Mapping

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io import results as files
from MRDeltaNetLib.io.finished import FinishedRun
from MRDeltaNetLib.io.transforms import read_transform
from MRDeltaNetLib.mrml import alignment, drawn, findings, hierarchy, overlays
from MRDeltaNetLib.mrml.nodes import REFERENCE, ours
from MRDeltaNetLib.workflow.texts import Translate, _

ALIGNMENT_ROLE, REPORT_ROLE = "alignment result", "report"

FINGERPRINT = "MRDeltaNet.restsOn"
"""Attribute of a result's text node: the fingerprint of what the run was given."""

NEEDED = ("p_pcr", "p_pcr_low", "p_pcr_high", "predicted_class", "threshold", "familiarity", "measures", "registration", "model", "maps", "warnings")
"""Entries of result.json that doors show."""

FOUND_AS = {"alignment_result": ("vtkMRMLTextNode", ALIGNMENT_ROLE), "result": ("vtkMRMLTextNode", findings.RESULT_ROLE),
            "report": ("vtkMRMLTextNode", REPORT_ROLE), "measures": ("vtkMRMLTableNode", findings.MEASURES_ROLE)}
"""Choices that a run leaves -> class and role of their nodes."""

ALIGNMENT_NAME, REPORT_NAME = _("MRDeltaNet alignment"), _("MRDeltaNet report")


def bring_alignment(choices: Any, out: Path, rests_on: Mapping[str, str], translate: Translate = str) -> None:
    """The transform of a run as a node over the scan after treatment and all that lies on it; nothing is hardened.

    out        the run's folder
    rests_on   fingerprint of what the run was given
    translate  of the nodes' names
    raises     InputError of io.finished and mrml.alignment; then nothing of the scene has changed
    """
    run, scene = FinishedRun(out), choices.pre_volume.GetScene()
    pre, post, transform = choices.pre_volume, choices.post_volume, read_transform(run.path(files.TRANSFORM))
    _refuse_incomplete(run)
    hierarchy.file_scans(scene, {"pre": pre, "post": post})
    choices.alignment = alignment.show_alignment(scene, transform, pre, post, followers(choices))
    choices.alignment_result = findings.kept_text(scene, run.text, pre, ALIGNMENT_ROLE, translate(ALIGNMENT_NAME))
    _file(choices, [choices.alignment, choices.alignment_result], choices.alignment_result, rests_on)


def bring_result(choices: Any, out: Path, rests_on: Mapping[str, str], translate: Translate = str) -> None:
    """Numbers, report and maps of a run.

    raises  InputError of io.finished and mrml.overlays; then nothing of the scene has changed
    """
    run, scene = FinishedRun(out), choices.pre_volume.GetScene()
    pre, post, report = choices.pre_volume, choices.post_volume, run.path(files.REPORT).read_text(encoding="utf-8")
    _refuse_incomplete(run)
    for key, node in overlays.add_maps(scene, run, pre, post).items():
        hierarchy.file_under(scene, node, pre if overlays.MAPS[key][0] == "pre" else post)
        _refer(choices, node)
    choices.result = findings.result_text(scene, run.text, pre)
    choices.report = findings.kept_text(scene, report, pre, REPORT_ROLE, translate(REPORT_NAME))
    choices.measures = findings.measures_table(scene, run.result, pre)
    _file(choices, [choices.result, choices.report, choices.measures], choices.result, rests_on)


def facts(node: Any) -> dict[str, Any] | None:
    """result.json as a text node holds it; None without one, or where somebody wrote something else into it."""
    found = None if node is None else _mapping(node.GetText())
    return found if found is not None and _is_complete(found) else None


def rests_on(node: Any) -> dict[str, str] | None:
    """The fingerprint that a result's node carries; None if it has none, or where somebody wrote into it: then nobody knows."""
    return None if node is None else _mapping(node.GetAttribute(FINGERPRINT))


def folder_at_hand(choices: Any, folder: Path | None) -> Path | None:
    """The folder of the run whose result is in the scene; None if it is not at hand. folder: of the last run"""
    if choices.result is None or folder is None:
        return None
    try:
        text = (folder / files.RESULT).read_text(encoding="utf-8")
    except OSError:
        return None
    return folder if text == choices.result.GetText() else None


def find(choices: Any, name: str) -> Any:
    """The node that a run left for the two scans that are chosen now; None without any. name: of FOUND_AS"""
    if choices.pre_volume is None or choices.post_volume is None:
        return None
    kind, role = FOUND_AS[name]
    return ours(choices.pre_volume.GetScene(), kind, role, pre=choices.pre_volume, post=choices.post_volume)


def maps(choices: Any) -> dict[str, Any]:
    """Map -> its volume node, of the result that is shown; those that a run with another scan left on one of them are none of it."""
    if choices.result is None:
        return {}
    return {key: node for key, node in all_maps(choices).items() if _not_of_another_pair(node, choices)}


def all_maps(choices: Any) -> dict[str, Any]:
    """Map -> its volume node, of both chosen scans, whichever run left it."""
    scans = {"pre": choices.pre_volume, "post": choices.post_volume}
    found = {key: overlays.find_map(scans[role], key) for key, (role, _name, _legend) in overlays.MAPS.items() if scans[role] is not None}
    return {key: node for key, node in found.items() if node is not None}


def followers(choices: Any) -> list[Any]:
    """Nodes that lie on the scan after treatment and go wherever it goes."""
    beside = () if choices.post_volume is None else drawn.nodes(choices.post_volume, "post")
    found = [choices.post_segmentation, *beside, *(node for key, node in all_maps(choices).items() if overlays.MAPS[key][0] == "post")]
    return [node for node in found if node is not None]


def of_this_pair(node: Any, choices: Any) -> bool:
    """Whether an alignment's or a result's node was made for the two scans that are chosen now."""
    chosen = {f"{REFERENCE}pre": choices.pre_volume, f"{REFERENCE}post": choices.post_volume}
    return all(volume is not None and node.GetNodeReferenceID(role) == volume.GetID() for role, volume in chosen.items())


def _file(choices: Any, nodes: list[Any], marked: Any, rests_on: Mapping[str, str]) -> None:
    marked.SetAttribute(FINGERPRINT, json.dumps(dict(rests_on)))
    for node in nodes:
        _refer(choices, node)
        hierarchy.file_under_patient(node.GetScene(), node, choices.pre_volume)


def _refer(choices: Any, node: Any) -> None:
    """Say of which pair a node is."""
    for role, volume in (("pre", choices.pre_volume), ("post", choices.post_volume)):
        node.SetNodeReferenceID(f"{REFERENCE}{role}", volume.GetID())


def _not_of_another_pair(node: Any, choices: Any) -> bool:
    """A map of an earlier version says nothing of its pair."""
    return of_this_pair(node, choices) or all(node.GetNodeReferenceID(f"{REFERENCE}{role}") is None for role in ("pre", "post"))


def _is_complete(result: Mapping[str, Any]) -> bool:
    return result.get("schema") == files.RESULT_SCHEMA and all(name in result for name in NEEDED)


def _refuse_incomplete(run: FinishedRun) -> None:
    if not _is_complete(run.result):
        raise InputError(_("The result is of another version, or incomplete"), code="MRD-E883", found="result.json", fix=_("run again"))


def _mapping(text: str | None) -> dict[str, Any] | None:
    try:
        found = json.loads(text or "")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
