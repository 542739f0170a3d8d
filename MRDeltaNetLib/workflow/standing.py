"""How each step stands: its state, and the line that says what to do next.

Every function takes the situation and the reason why the step's action may not start now (None if it may).
"""

from __future__ import annotations

from enum import Enum
from typing import Sequence

from MRDeltaNetLib.errors import Notice
from MRDeltaNetLib.response.uncertainty import probability
from MRDeltaNetLib.workflow.changes import PARTS
from MRDeltaNetLib.workflow.scans import interval
from MRDeltaNetLib.workflow.situation import Outline, Prediction, Situation
from MRDeltaNetLib.workflow.texts import Text, _, say


class StepState(Enum):
    """TO_DO: something is missing; DONE: go on; WARNING: look before you go on."""

    TO_DO = "to do"
    DONE = "done"
    WARNING = "warning"


Standing = tuple[StepState, Text]

SCAN_LINES = {
    "MRD-E330": _("The scan after treatment is the older one. Swap the two."),
    "MRD-E331": _("Both are one and the same scan. Choose the other visit."),
    "MRD-E332": _("Both scans are of one day. Choose two visits."),
    "MRD-E333": _("The scans are of different patients."),
    "MRD-E334": _("The scans lie in different spaces. Choose rigid alignment."),
    "MRD-E335": _("The scans share too little of the body. Align them rigidly."),
    "MRD-E830": _("A scan lies under a transform. Take it out or harden it."),
}
"""Refusals of a pair that a person can mend at once, shorter than the message that the page shows below."""

ALIGNMENT_LINES = {
    "MRD-W601": _("The scans overlap only in part. Compare them side by side."),
    "MRD-W602": _("One scan was turned a lot. Compare them side by side."),
    "MRD-W603": _("The scans may not fit. Compare them before you go on."),
}

FOR_DISPLAY_ONLY = "MRD-W605"
"""Tells what a deformable alignment is; nothing to look into."""

NO_CLASS_WITHOUT_A_BED = "MRD-W712"
UNLIKE_TRAINING = "MRD-W715"


def scans(s: Situation, blocked: Text | None) -> Standing:
    """A warning for what is refused and for what should be read before going on."""
    if s.same_scan:
        return StepState.WARNING, say(_("The same scan is chosen twice. Choose the other visit."))
    if s.scan_errors:
        return StepState.WARNING, _first_line(s.scan_errors, SCAN_LINES) or say(_("These scans cannot be used; the reason is below."))
    if missing := _missing_scan(s):
        return StepState.TO_DO, missing
    if not s.scans_checked:
        return StepState.TO_DO, say(_("The scans are not checked yet. Press Check."))
    if s.scan_notices:
        return StepState.WARNING, say(_("{interval}. Read the remarks below, then align."), interval=interval(s.interval_days))
    return StepState.DONE, say(_("{interval}. Next: align the scans."), interval=interval(s.interval_days))


def align(s: Situation, blocked: Text | None) -> Standing:
    """A warning for a doubtful alignment, for one of other scans or by another method, and for one that did not know the outlines."""
    if not s.aligned or not s.scans_ready:
        return StepState.TO_DO, blocked or say(_("Press Align. The scans themselves stay unchanged."))
    if s.alignment_of_other_scans:
        return StepState.WARNING, say(_("Other scans were aligned. Align these."))
    if s.alignment_errors:
        return StepState.WARNING, say(_("The alignment cannot be used. Align again."))
    if s.alignment_by_other_method:
        return StepState.WARNING, say(_("Made with another method. Align again."))
    if s.alignment_is_stale:
        return StepState.WARNING, say(_("Outlines changed since. Align again to leave the tumour out."))
    notices = [notice for notice in s.alignment_notices if notice.code != FOR_DISPLAY_ONLY]
    if notices:
        return StepState.WARNING, _first_line(notices, ALIGNMENT_LINES) or say(_("Read the warnings below, then compare the scans."))
    return StepState.DONE, say(_("Aligned. Judge it with the blend, then outline the tumour."))


def tumour(s: Situation, blocked: Text | None) -> Standing:
    """To do until tumour and bed are there; a warning for what the next steps would refuse or not believe."""
    if s.pre_outline is not Outline.DRAWN:
        return StepState.TO_DO, blocked or say(_("Outline the tumour on the scan before treatment."))
    if s.contradicts_itself:
        return StepState.WARNING, say(_("Residual tumour is drawn, yet none is stated. Choose one."))
    if s.outline_errors:
        return StepState.WARNING, say(_("An outline cannot be used; the reason is below."))
    if s.post_outline in (Outline.NONE, Outline.EMPTY):
        return StepState.TO_DO, say(_("Outline the tumour bed after treatment, or carry it over."))
    if s.post_outline is Outline.CARRIED:
        return StepState.WARNING, say(_("The bed is only carried over. Correct it on the scan."))
    if s.drawn_by_program:
        return StepState.WARNING, say(_("A program drew an outline. Check it, and correct it."))
    if s.residual_outline is Outline.EMPTY and not s.complete_response:
        return StepState.WARNING, say(_("No residual tumour is drawn. State complete response, or draw it."))
    if s.outline_notices:
        return StepState.WARNING, say(_("Read the remarks on the outlines below."))
    if s.residual_outline is Outline.NONE and not s.complete_response:
        return StepState.DONE, say(_("Ready. Optional: residual tumour, or complete response."))
    return StepState.DONE, say(_("Outlines are ready. Next: predict."))


def predict(s: Situation, blocked: Text | None) -> Standing:
    """A demo model is a warning whatever else holds, and its line says what its number is worth."""
    state, line = _prediction(s, blocked)
    if (s.model is not None and s.model.is_demo) or (s.prediction is not None and s.prediction.is_demo):
        return StepState.WARNING, say(_("Demo model: the number means nothing for patients. {rest}"), rest=line)
    return state, line


def explain(s: Situation, blocked: Text | None) -> Standing:
    """Maps come with the prediction and age with it."""
    if s.prediction is not None and s.prediction.stale:
        return StepState.WARNING, say(_("The maps are of an outdated prediction. Predict again."))
    if s.prediction is not None and s.maps:
        rest = say(_("Choose a map, or place a point to see what it rests on."))
        return StepState.DONE, say(_("Demo maps mean nothing for patients. {rest}"), rest=rest) if s.prediction.is_demo else rest
    return StepState.TO_DO, blocked or say(_("Press Predict; the maps come with the prediction."))


def report(s: Situation, blocked: Text | None) -> Standing:
    """A report is complete without a prediction and says so; an outdated one is a warning."""
    if s.prediction is not None and s.prediction.stale:
        return StepState.WARNING, say(_("The prediction is outdated. Predict again, then report."))
    if s.report_written and s.report_outdated:
        return StepState.WARNING, say(_("Something changed since the report. Write it again."))
    if s.report_written:
        return StepState.DONE, say(_("The report is written. Save the scene to keep all."))
    if blocked is not None:
        return StepState.TO_DO, blocked
    return StepState.TO_DO, say(_("Write the report.")) if s.prediction is not None else say(_("Write the report. It will hold no prediction."))


STANDINGS = {"scans": scans, "align": align, "tumour": tumour, "predict": predict, "explain": explain, "report": report}


def _missing_scan(s: Situation) -> Text | None:
    if not s.pre_chosen and not s.post_chosen:
        return say(_("Choose the scans before and after treatment."))
    if not s.pre_chosen:
        return say(_("Choose the scan before treatment."))
    return None if s.post_chosen else say(_("Choose the scan after treatment."))


def _first_line(notices: Sequence[Notice], lines: dict[str, str]) -> Text | None:
    return next((say(lines[notice.code]) for notice in notices if notice.code in lines), None)


def _prediction(s: Situation, blocked: Text | None) -> Standing:
    found = s.prediction
    if found is None:
        return StepState.TO_DO, blocked or _may_predict(s)
    if found.stale:
        return StepState.WARNING, say(_("Outdated ({what}). Predict again."), what=_what_changed(found))
    codes = {notice.code for notice in found.notices}
    if UNLIKE_TRAINING in codes:
        return StepState.WARNING, say(_("Do not use P(pCR) {number}: unlike the training cases."), number=_number(found))
    if found.predicted_class is None and NO_CLASS_WITHOUT_A_BED in codes:
        return StepState.WARNING, say(_("No class: draw the tumour bed, then predict again."))
    if found.notices:
        return StepState.WARNING, say(_("{result} Read the warnings."), result=_result(found))
    return StepState.DONE, _result(found)


def _may_predict(s: Situation) -> Text:
    if s.post_outline is Outline.DRAWN:
        return say(_("Press Predict for P(pCR) and its range."))
    return say(_("Press Predict. Without a drawn bed it gives no class."))


def _what_changed(found: Prediction) -> Text:
    if len(found.changed) == 1:
        return say(_("{part} changed"), part=say(PARTS[found.changed[0]]))
    return say(_("{count} things changed"), count=len(found.changed))


def _result(found: Prediction) -> Text:
    values = {"number": _number(found), "group": found.predicted_class}
    if found.p_pcr_low is not None and found.p_pcr_high is not None:
        values |= {"low": probability(found.p_pcr_low, found.threshold), "high": probability(found.p_pcr_high, found.threshold)}
        template = _("P(pCR) {number} ({low} to {high}): {group}.") if found.predicted_class else _("P(pCR) {number} ({low} to {high}), no class.")
    else:
        template = _("P(pCR) {number}: {group}.") if found.predicted_class else _("P(pCR) {number}, no class.")
    return say(template, **values)


def _number(found: Prediction) -> str:
    return probability(found.p_pcr, found.threshold)
