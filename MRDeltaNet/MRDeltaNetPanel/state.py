"""How the sitting stands: the plain values from which workflow.look makes every step's state and line."""

from __future__ import annotations

import json
from typing import Any, Mapping

from MRDeltaNetLib import workflow
from MRDeltaNetLib.errors import MRDeltaNetError, Notice
from MRDeltaNetLib.mrml.kept import Kept
from MRDeltaNetLib.workflow import Situation
from MRDeltaNetPanel import inputs as given
from MRDeltaNetPanel import automatic, packages, results
from MRDeltaNetPanel.reading import Reading

RUNNING = {"align": "align", "predict": "predict", "report": "report", "maps": "explain"}
"""Runs of the logic -> steps of the workflow; the sample pair is none of them."""


def situation(logic: Any, parameters: Any, reading: Reading, kept: Kept) -> Situation:
    """What is known now.

    reading  of the scans that are chosen now
    kept     what is known of things that have not changed
    """
    findings, outlined = reading.findings, given.judged(reading.outlined, kept)
    chosen = dict(pre_chosen=parameters.preVolume is not None, post_chosen=parameters.postVolume is not None,
                  same_scan=parameters.preVolume is not None and parameters.preVolume is parameters.postVolume)
    return Situation(**chosen, scans_checked=chosen["pre_chosen"] and chosen["post_chosen"] and not chosen["same_scan"],
                     interval_days=findings.interval_days, scan_errors=findings.problems, scan_notices=findings.notices,
                     **_alignment(logic, parameters, reading.pair, kept),
                     pre_outline=outlined.drawn["pre"], post_outline=outlined.drawn["post"], residual_outline=outlined.drawn["residual"],
                     drawn_by_program=tuple(role for role in automatic.STEPS if logic.drawnByProgram(parameters, role)),
                     complete_response=parameters.completeResponse, outline_notices=outlined.notices,
                     outline_errors=tuple(Notice(error.code, error.what, error.fix) for error in outlined.errors),
                     missing_packages=packages.missing(), packages_fit=packages.canBeInstalled(), **_model(logic), **_results(logic, parameters, reading.pair),
                     running=None if logic.run is None else RUNNING.get(logic.run.step))


def restsOn(node: Any) -> dict[str, str] | None:
    """The fingerprint that a result's node carries; None if it has none."""
    kept = None if node is None else node.GetAttribute(results.FINGERPRINT)
    try:
        found = json.loads(kept) if kept else None
    except ValueError:                                   # somebody wrote into it: then nobody knows
        return None
    return found if isinstance(found, dict) else None


def _alignment(logic: Any, parameters: Any, pair: given.Inputs | None, kept: Kept) -> dict[str, Any]:
    if parameters.alignment is None:
        return {}
    facts = results.facts(parameters.alignmentResult)
    known = restsOn(parameters.alignmentResult)
    now = None if pair is None else logic.fingerprint("align", pair, parameters)
    other = now is None or known is None or any(known.get(part) != now[part] for part in ("pre", "post"))
    return {"aligned": True, "alignment_of_other_scans": other, "alignment_by_other_method": not other and known.get("options") != now["options"],
            "alignment_is_stale": pair is not None and facts is not None and _ignoredOutlines(facts["registration"], pair, kept),
            "alignment_notices": () if facts is None else registrationNotices(facts)}


def _ignoredOutlines(registration: Mapping[str, Any], pair: given.Inputs, kept: Kept) -> bool:
    """Whether outlines were drawn or changed since the alignment was made; looked into only when one of them, or the alignment, is another."""
    key = (json.dumps(registration, sort_keys=True), pair.digests.get("pre_mask"), pair.digests.get("post_mask"))
    return kept.value("outlines left out", key, lambda: workflow.alignment_is_stale(registration, *pair.visits()))


def registrationNotices(facts: Mapping[str, Any]) -> tuple[Notice, ...]:
    """Warnings of the alignment itself among those of its run."""
    return tuple(Notice(entry["code"], entry["text"], entry.get("fix", "")) for entry in facts["warnings"] if entry["code"].startswith("MRD-W6"))


def _model(logic: Any) -> dict[str, Any]:
    try:
        facts = logic.bundle().public_facts()
    except MRDeltaNetError as error:
        return {"model_problem": error.what}
    return {"model": workflow.Model(facts["name"], bool(facts["is_demo"]), facts["intended_use"])}


def _results(logic: Any, parameters: Any, pair: given.Inputs | None) -> dict[str, Any]:
    facts = results.facts(parameters.result)
    if facts is None:
        return {}
    known = restsOn(parameters.result)
    now = None if pair is None else logic.fingerprint("predict" if facts["p_pcr"] is not None else "report", pair, parameters)
    parts = tuple(workflow.PARTS) if now is None else workflow.changed(known, now)
    found: dict[str, Any] = {"report_written": parameters.report is not None, "report_outdated": bool(parts),
                             "maps": tuple(sorted(results.maps(parameters))), "result_files": logic.resultFolder(parameters) is not None}
    if facts["p_pcr"] is not None:
        notices = tuple(Notice(entry["code"], entry["text"], entry.get("fix", "")) for entry in facts["warnings"])
        found["prediction"] = workflow.Prediction(facts["p_pcr"], facts["p_pcr_low"], facts["p_pcr_high"], facts["predicted_class"], facts["threshold"],
                                                  bool(facts["model"]["is_demo"]), notices, parts)
    return found
