"""Why a step's action may not start now: the first reason in the order in which a person would remove them, or None."""

from __future__ import annotations

from MRDeltaNetLib.workflow.situation import Outline, Situation
from MRDeltaNetLib.workflow.texts import Text, _, say


def scans(s: Situation) -> Text | None:
    """The check needs two scans."""
    if s.same_scan:
        return say(_("The same scan is chosen twice."))
    return None if s.pre_chosen and s.post_chosen else say(_("First choose two scans."))


def align(s: Situation) -> Text | None:
    """Alignment needs two scans that were let through."""
    return scans(s) or (None if s.scans_ready else say(_("First see to what Scans says.")))


def tumour(s: Situation) -> Text | None:
    """Drawing needs the scan before treatment, nothing else."""
    return None if s.pre_chosen else say(_("First choose the scan before treatment."))


def report(s: Situation) -> Text | None:
    """A report needs aligned scans and a tumour to measure; no torch, unless it holds a prediction, which is then made anew."""
    if (reason := _measured(s)) or s.prediction is None:
        return reason
    return say(_("Its prediction cannot be made anew; see Predict.")) if predict(s) else None


def predict(s: Situation) -> Text | None:
    """A prediction needs aligned scans, a tumour to measure, the packages, and a model."""
    return _measured(s) or _packages(s) or _model(s)


def further_maps(s: Situation) -> Text | None:
    """Further maps are asked of the network about what it saw: that wants a fresh prediction whose files are still there."""
    if s.running is not None:
        return say(_("Wait for the run to end, or cancel it."))
    if s.prediction is None:
        return say(_("First predict; further maps are made of the prediction."))
    if s.prediction.stale:
        return say(_("The prediction is outdated. First predict again."))
    if not s.result_files:
        return say(_("The prediction's files are gone. First predict again."))
    return _packages(s)


def carrying(s: Situation) -> Text | None:
    """Carrying over needs the alignment and a tumour, and never writes over what a person drew."""
    if s.post_outline is Outline.DRAWN:
        return say(_("The tumour bed is drawn. Clear it to start over."))
    return align(s) or _alignment(s) or _tumour_before(s)


BLOCKS = {"scans": scans, "align": align, "tumour": tumour, "predict": predict, "explain": predict, "report": report}


def _measured(s: Situation) -> Text | None:
    return align(s) or _alignment(s) or _outlines(s)


def _alignment(s: Situation) -> Text | None:
    if not s.aligned:
        return say(_("First align the scans."))
    if s.alignment_of_other_scans:
        return say(_("Other scans were aligned. First align these."))
    return say(_("The alignment cannot be used. First align again.")) if s.alignment_errors else None


def _outlines(s: Situation) -> Text | None:
    if reason := _tumour_before(s):
        return reason
    if s.contradicts_itself:
        return say(_("Residual tumour is drawn and denied. Choose one in Tumour."))
    return say(_("First correct the outlines; see Tumour.")) if s.outline_errors else None


def _tumour_before(s: Situation) -> Text | None:
    return None if s.pre_outline is Outline.DRAWN else say(_("First outline the tumour before treatment."))


def _packages(s: Situation) -> Text | None:
    if not s.missing_packages:
        return None
    if not s.packages_fit:
        return say(_("No PyTorch fits this system; all else works without."))
    return say(_("Install {packages} first; all else works without."), packages=", ".join(s.missing_packages))


def _model(s: Situation) -> Text | None:
    if s.model_problem:
        return say(_("This model cannot be used. Choose another."))
    return None if s.model is not None else say(_("First choose a model."))
