"""The steps in their order, and how each stands in a given situation."""

from __future__ import annotations

from dataclasses import dataclass

from MRDeltaNetLib.workflow import blocks, standing
from MRDeltaNetLib.workflow.situation import Situation
from MRDeltaNetLib.workflow.standing import StepState
from MRDeltaNetLib.workflow.texts import Text, Translate, _, say

__all__ = ["STEPS", "Step", "StepState", "StepView", "job_steps", "look", "next_step", "why_not_carry"]


@dataclass(frozen=True)
class Step:
    """One step of the walk; title and purpose are English templates for a door to translate.

    key      stable name; number  from 1
    title    what its button says
    purpose  what it is for, as a tooltip
    """

    key: str
    number: int
    title: str
    purpose: str


STEPS = (
    Step("scans", 1, _("Scans"), _("Choose the scans before and after treatment")),
    Step("align", 2, _("Align"), _("Lay the scan after treatment over the scan before it")),
    Step("tumour", 3, _("Tumour"), _("Outline the tumour, the tumour bed and what is left of the tumour")),
    Step("predict", 4, _("Predict"), _("Estimate the probability of complete response")),
    Step("explain", 5, _("Explain"), _("See where the model looked")),
    Step("report", 6, _("Report"), _("See the changes, write the report, save the scene")),
)

_WITHOUT_PREDICTION = ("masks", "report")
_WITH_PREDICTION = ("masks", "predict", "explain", "report")


@dataclass(frozen=True)
class StepView:
    """How a step stands.

    state    to do, done, or done with a warning (or in a state that needs the person)
    line     what to do next, one or two short lines
    can_run  whether the page's action may start: the check of the scans, alignment, drawing, prediction (Explain does the same), report
    why_not  why it may not, empty if it may
    """

    state: StepState
    line: str
    can_run: bool
    why_not: str


def look(situation: Situation, translate: Translate = str) -> dict[str, StepView]:
    """Step key -> how it stands, in the order of STEPS.

    translate  English template -> template in the user's language; placeholders are filled in after it
    """
    return {step.key: _view(step, situation, translate) for step in STEPS}


def next_step(views: dict[str, StepView]) -> str | None:
    """Key of the step to go to: the first that is to do, else the first with a warning; None when all is done."""
    for state in (StepState.TO_DO, StepState.WARNING):
        for key, view in views.items():
            if view.state is state:
                return key
    return None


def job_steps(step: str, *, with_prediction: bool = False) -> tuple[str, ...]:
    """Which steps of a job (config.STEPS) the page's action does; empty where the door works in memory (Scans, Tumour).

    step             key of a step
    with_prediction  for the report: whether it shall hold the prediction too, which is then made again in the same job
    """
    report = _WITH_PREDICTION if with_prediction else _WITHOUT_PREDICTION
    return {"scans": (), "align": ("align",), "tumour": (), "predict": _WITH_PREDICTION, "explain": _WITH_PREDICTION, "report": report}[step]


def why_not_carry(situation: Situation, translate: Translate = str) -> str:
    """Why the tumour's outline may not be carried over to the scan after treatment; empty if it may."""
    reason = blocks.carrying(situation)
    return "" if reason is None else reason.shown(translate)


def _view(step: Step, situation: Situation, translate: Translate) -> StepView:
    reason = _waiting(step, situation) or blocks.BLOCKS[step.key](situation)
    state, line = standing.STANDINGS[step.key](situation, reason)
    if situation.running == step.key:
        line = say(_("Working. Cancel stops it; earlier results stay."))
    return StepView(state, line.shown(translate), reason is None, "" if reason is None else reason.shown(translate))


def _waiting(step: Step, situation: Situation) -> Text | None:
    """A running job holds up every step that would start one; one may look at scans and draw meanwhile."""
    if situation.running is None or not job_steps(step.key):
        return None
    title = next(other.title for other in STEPS if other.key == situation.running)
    return say(_("Wait for {step} to end, or cancel it."), step=say(title))
