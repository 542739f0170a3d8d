"""How the sitting stands: the plain values from which workflow.look makes every step's state and line."""

from __future__ import annotations

import json
from typing import Any, Mapping

from MRDeltaNetLib import workflow
from MRDeltaNetLib.errors import MRDeltaNetError, Notice
from MRDeltaNetLib.mrml.kept import Kept
from MRDeltaNetLib.mrml.sitting import inputs as given
from MRDeltaNetLib.mrml.sitting import drawing, further, results, sample
from MRDeltaNetLib.mrml.sitting.reading import Reading
from MRDeltaNetLib.workflow import Situation

RUNNING = {"align": "align", "predict": "predict", "report": "report", further.STEP: "explain", sample.STEP: "scans"} | dict.fromkeys(drawing.STEPS.values(), "tumour")
"""Runs -> the steps that they belong to."""


def situation(sitting: Any, reading: Reading) -> Situation:
    """What is known now.

    sitting  runs.Sitting
    reading  of the scans that are chosen now
    """
    choices, kept = sitting.choices, sitting.kept
    findings, outlined = reading.findings, given.judged(reading.outlined, kept)
    chosen = dict(pre_chosen=choices.pre_volume is not None, post_chosen=choices.post_volume is not None,
                  same_scan=choices.pre_volume is not None and choices.pre_volume is choices.post_volume)
    return Situation(**chosen, scans_checked=chosen["pre_chosen"] and chosen["post_chosen"] and not chosen["same_scan"],
                     interval_days=findings.interval_days, scan_errors=findings.problems, scan_notices=findings.notices,
                     **_alignment(sitting, choices, reading, kept),
                     pre_outline=outlined.drawn["pre"], post_outline=outlined.drawn["post"], residual_outline=outlined.drawn["residual"],
                     drawn_by_program=tuple(role for role in drawing.STEPS if drawing.drawn_by_program(choices, role)),
                     complete_response=choices.complete_response, outline_notices=outlined.notices,
                     outline_errors=tuple(Notice(error.code, error.what, error.fix) for error in outlined.errors),
                     **sitting.packages(), **_model(sitting), **_results(sitting, choices, reading.pair),
                     running=None if sitting.run is None else RUNNING.get(sitting.run.step))


def _alignment(sitting: Any, choices: Any, reading: Reading, kept: Kept) -> dict[str, Any]:
    if choices.alignment is None:
        return {}
    pair, error = reading.pair, reading.misplaced
    facts, known = results.facts(choices.alignment_result), results.rests_on(choices.alignment_result)
    now = None if pair is None else sitting.fingerprint("align", pair)
    other = now is None or known is None or any(known.get(part) != now[part] for part in ("pre", "post"))
    told = pair is not None and facts is not None and not reading.outlined.errors      # an outline that is refused is told itself
    return {"aligned": True, "alignment_of_other_scans": other, "alignment_by_other_method": not other and known.get("options") != now["options"],
            "alignment_is_stale": told and _ignored_outlines(facts["registration"], pair, kept),
            "alignment_notices": () if facts is None else registration_notices(facts),
            "alignment_errors": () if error is None else (Notice(error.code, error.what, error.fix),)}


def _ignored_outlines(registration: Mapping[str, Any], pair: given.Inputs, kept: Kept) -> bool:
    """Whether outlines were drawn or changed since the alignment was made; looked into only when one of them, or the alignment, is another."""
    key = (json.dumps(registration, sort_keys=True), pair.digests.get("pre_mask"), pair.digests.get("post_mask"))
    return kept.value("outlines left out", key, lambda: workflow.alignment_is_stale(registration, *pair.visits()))


def registration_notices(facts: Mapping[str, Any]) -> tuple[Notice, ...]:
    """Warnings of the alignment itself among those of its run."""
    return tuple(Notice(entry["code"], entry["text"], entry.get("fix", "")) for entry in facts["warnings"] if entry["code"].startswith("MRD-W6"))


def _model(sitting: Any) -> dict[str, Any]:
    try:
        facts = sitting.bundle().public_facts()
    except MRDeltaNetError as error:
        return {"model_problem": error.what}
    return {"model": workflow.Model(facts["name"], bool(facts["is_demo"]), facts["intended_use"])}


def _results(sitting: Any, choices: Any, pair: given.Inputs | None) -> dict[str, Any]:
    facts = results.facts(choices.result)
    if facts is None:
        return {}
    known = results.rests_on(choices.result)
    now = None if pair is None else sitting.fingerprint("predict" if facts["p_pcr"] is not None else "report", pair)
    parts = tuple(workflow.PARTS) if now is None else workflow.changed(known, now)
    found: dict[str, Any] = {"report_written": choices.report is not None, "report_outdated": bool(parts),
                             "maps": tuple(sorted(results.maps(choices))), "result_files": sitting.result_folder() is not None}
    if facts["p_pcr"] is not None:
        notices = tuple(Notice(entry["code"], entry["text"], entry.get("fix", "")) for entry in facts["warnings"])
        changed = tuple(part for part in parts if part not in workflow.TOLD_ONLY)
        found["prediction"] = workflow.Prediction(facts["p_pcr"], facts["p_pcr_low"], facts["p_pcr_high"], facts["predicted_class"], facts["threshold"],
                                                  bool(facts["model"]["is_demo"]), notices, changed)
    return found
