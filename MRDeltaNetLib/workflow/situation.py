"""Everything that a door knows now, as plain values: the one input of `look`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from MRDeltaNetLib.errors import Notice

RUNNABLE = ("scans", "align", "tumour", "predict", "explain", "report")
"""Steps whose work may go on in a child process: in Scans the simulation of a pair, in Tumour the drawing of an outline by a program."""


class Outline(Enum):
    """How far an outline is.

    NONE     there is no segment
    EMPTY    there is one without a voxel: nobody has drawn yet, which is no finding
    CARRIED  copied from the other scan and untouched: a suggestion, which a door never hands to a job as a drawn mask
    DRAWN    drawn or corrected by a person
    """

    NONE = "none"
    EMPTY = "empty"
    CARRIED = "carried"
    DRAWN = "drawn"


@dataclass(frozen=True)
class Model:
    """The chosen bundle.

    name          as its metadata say
    is_demo       trained on made-up data: its numbers mean nothing for patients
    intended_use  as its metadata say
    """

    name: str
    is_demo: bool
    intended_use: str = ""


@dataclass(frozen=True)
class Prediction:
    """The prediction that is shown.

    p_pcr, p_pcr_low, p_pcr_high  probability of pathological complete response and its range over outlines and members
    predicted_class               "pCR" or "non-pCR"; None if none is given
    threshold                     of the model, None if unknown
    is_demo                       made by a demo model, whichever is chosen now
    notices                       the run's warnings
    changed                       parts (changes.PARTS) that are no longer what the prediction rests on; empty while it is fresh
    """

    p_pcr: float
    p_pcr_low: float | None = None
    p_pcr_high: float | None = None
    predicted_class: str | None = None
    threshold: float | None = None
    is_demo: bool = False
    notices: tuple[Notice, ...] = ()
    changed: tuple[str, ...] = ()

    @property
    def stale(self) -> bool:
        """Whether anything that it rests on has changed."""
        return bool(self.changed)


@dataclass(frozen=True)
class Situation:
    """What a door knows now.

    pre_chosen, post_chosen  whether a scan is chosen for each visit
    same_scan                one and the same node or file is chosen for both
    scans_checked            check_scans has seen these very scans; its findings are in the next three
    interval_days            days from pre to post, None if unknown
    scan_errors              why the pair is refused, as notices (Findings.problems)
    scan_notices             warnings on the scans
    aligned                  there is an accepted alignment
    alignment_of_other_scans it was made for other scans than those chosen now
    alignment_by_other_method another registration method is chosen than the one that made it
    alignment_is_stale       outlines were drawn or changed since (MRD-W610; changes.alignment_is_stale)
    alignment_notices        the accepted alignment's warnings; alignment_errors why it cannot be used as it stands in the scene
    pre_outline              tumour before treatment: NONE, EMPTY or DRAWN
    post_outline             tumour bed after treatment
    residual_outline         viable tumour after treatment: NONE, EMPTY or DRAWN
    drawn_by_program         roles ("pre", "post") whose outline is as a program drew it
    complete_response        the reader states that no viable tumour is left: a choice of its own, never read off an empty outline
    outline_errors           why outlines are refused, outline_notices their warnings
    missing_packages         Python packages that prediction needs and that are not there
    packages_fit             they are to be had for this system
    model                    the chosen bundle, None if none is; model_problem why it cannot be used, empty if it can
    prediction               what is shown, None without one
    maps                     names of the maps that are shown
    result_files             the files of the prediction are at hand, so that the network can be asked again about what it saw
    report_written           there is a report; report_outdated: something that it tells has changed since
    running                  key of the step that works now, one of RUNNABLE, or None
    """

    pre_chosen: bool = False
    post_chosen: bool = False
    same_scan: bool = False
    scans_checked: bool = False
    interval_days: int | None = None
    scan_errors: tuple[Notice, ...] = ()
    scan_notices: tuple[Notice, ...] = ()
    aligned: bool = False
    alignment_of_other_scans: bool = False
    alignment_by_other_method: bool = False
    alignment_is_stale: bool = False
    alignment_notices: tuple[Notice, ...] = ()
    alignment_errors: tuple[Notice, ...] = ()
    pre_outline: Outline = Outline.NONE
    post_outline: Outline = Outline.NONE
    residual_outline: Outline = Outline.NONE
    drawn_by_program: tuple[str, ...] = ()
    complete_response: bool = False
    outline_errors: tuple[Notice, ...] = ()
    outline_notices: tuple[Notice, ...] = ()
    missing_packages: tuple[str, ...] = ()
    packages_fit: bool = True
    model: Model | None = None
    model_problem: str = ""
    prediction: Prediction | None = None
    maps: tuple[str, ...] = ()
    result_files: bool = False
    report_written: bool = False
    report_outdated: bool = False
    running: str | None = None

    def __post_init__(self) -> None:
        """raises ValueError for what cannot be: a door's mistake, not a user's."""
        if self.running is not None and self.running not in RUNNABLE:
            raise ValueError(f"running is one of {RUNNABLE} or None")
        if Outline.CARRIED in (self.pre_outline, self.residual_outline):
            raise ValueError("only the tumour bed is ever carried over")

    @property
    def scans_ready(self) -> bool:
        """Two different scans, checked, and not refused."""
        return self.pre_chosen and self.post_chosen and not self.same_scan and self.scans_checked and not self.scan_errors

    @property
    def alignment_ready(self) -> bool:
        """An alignment of these scans that can be used, stale or not."""
        return self.aligned and not self.alignment_of_other_scans and not self.alignment_errors

    @property
    def contradicts_itself(self) -> bool:
        """Residual tumour is drawn although the reader states that none is left (MRD-E318)."""
        return self.complete_response and self.residual_outline is Outline.DRAWN
