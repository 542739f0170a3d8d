"""A sitting written into a case folder, and taken up from one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Mapping

import SimpleITK as sitk

from MRDeltaNetLib.config import DEVICES, REGISTRATION_METHODS
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.case_folder import KeptCase, kept_result, read_case_folder, write_case_folder
from MRDeltaNetLib.io.images import read_image, read_mask, read_plain
from MRDeltaNetLib.io.jobs import OUTLINE_STEPS_MM
from MRDeltaNetLib.mrml import hierarchy, outlines
from MRDeltaNetLib.mrml.nodes import image_to_node
from MRDeltaNetLib.mrml.sitting import inputs as given
from MRDeltaNetLib.mrml.sitting import outlining, results
from MRDeltaNetLib.mrml.sitting.choices import SCANS
from MRDeltaNetLib.workflow import Outline
from MRDeltaNetLib.workflow.texts import _


def _number(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


PLAIN: Mapping[str, Callable[[Any], bool]] = {
    "registration": REGISTRATION_METHODS.__contains__, "complete_response": _is_truth, "mrtrg": lambda value: value is None or type(value) is int and 1 <= value <= 5,
    "device": DEVICES.__contains__, "outline_step_mm": _number(*OUTLINE_STEPS_MM), "all_members": _is_truth,
    "shown_map": lambda value: value is None or isinstance(value, str), "map_threshold": _number(0, 1), "map_opacity": _number(0, 1), "legend": _is_truth}
"""Choices that are plain values, and what each may be."""


@dataclass(frozen=True)
class Collected:
    """Everything of a sitting that is worth keeping, taken out of the scene. Images are shared with it and not to be written into.

    scans, masks, suggestions   role -> (image, its digest)
    headers        role -> one DICOM file
    alignment, result, choices, rests_on  as in io.case_folder.KeptCase
    told           result.json of the result, which grows as maps are added
    result_grows   a run is adding to the result's folder at this moment: what was kept of it before stays until the run has ended
    """

    scans: Mapping[str, tuple[sitk.Image, str]] = field(default_factory=dict)
    masks: Mapping[str, tuple[sitk.Image, str]] = field(default_factory=dict)
    suggestions: Mapping[str, tuple[sitk.Image, str]] = field(default_factory=dict)
    headers: Mapping[str, Path] = field(default_factory=dict)
    alignment: Path | None = None
    result: Path | None = None
    choices: Mapping[str, Any] = field(default_factory=dict)
    rests_on: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    told: str = ""
    result_grows: bool = False

    def state(self) -> Any:
        """Equal for two collections exactly if nothing that is kept differs."""
        return (*({role: digest for role, (_image, digest) in images.items()} for images in (self.scans, self.masks, self.suggestions)),
                self.headers, self.alignment, self.result, self.choices, self.rests_on, self.told)


def collected(sitting: Any) -> Collected:
    """What is worth keeping now; a run that goes on is not. Belongs on the scene's thread, and costs little where nothing has changed."""
    choices, look = sitting.choices, sitting.look()
    scans = {role: (scan.image, scan.digest) for role, name in SCANS.items() if getattr(choices, name) is not None for scan in [given.scan(look, role)]}
    found = given.outlined(look)
    headers = {role: path for role in scans if (path := look.header(getattr(choices, SCANS[role]))) is not None}
    alignment = sitting.last_alignment if choices.alignment is not None else None
    result = sitting.result_folder()
    rests_on = {name: results.rests_on(node) or {} for name, node, kept in (("alignment", choices.alignment_result, alignment), ("result", choices.result, result))
                if kept is not None}
    return Collected(scans, {role: (mask, found.digests[role]) for role, mask in found.masks.items()}, _suggestions(look, found), headers, alignment, result,
                     {name: getattr(choices, name) for name in PLAIN}, rests_on, "" if result is None else choices.result.GetText(), sitting.adds_to_its_result)


def write(kept: Collected, session: Any, folder: Path) -> None:
    """Bring a case folder up to date; may be done on any thread.

    session  folder.Session for files on their way
    raises   EnvironmentProblem MRD-E810 to E813
    """
    as_files = lambda found, form: {role: session.write(form.format(role), image, digest) for role, (image, digest) in found.items()}
    result = kept_result(folder) if kept.result_grows else kept.result
    rests_on = {name: parts for name, parts in kept.rests_on.items() if name != "result" or result is not None}
    write_case_folder(folder, KeptCase(scans=as_files(kept.scans, "kept-{}"), headers=kept.headers, masks=as_files(kept.masks, "kept-{}-mask"),
                                       suggestions=as_files(kept.suggestions, "kept-{}-suggestion"), alignment=kept.alignment, result=result,
                                       choices=kept.choices, rests_on=rests_on))


def take_up(sitting: Any, folder: Path, scene: Any, names: Mapping[str, str], note_header: Callable[[Any, Path], None]) -> None:
    """Fill a fresh sitting from a case folder; a new or empty folder gives nothing.

    names        "pre", "post" -> name of the volume node
    note_header  called with a volume node and the DICOM file of its series
    raises       what read_case_folder and the gate raise; InputError MRD-E921 for choices that nobody could have made
    """
    case, choices = read_case_folder(folder), sitting.choices
    for name, value in case.choices.items():
        if name not in PLAIN or not PLAIN[name](value):
            raise InputError(_("The case folder cannot be taken up again"), code="MRD-E921", found=_("a choice that cannot be made"),
                             fix=_("name a new folder and load the scans again"))
        setattr(choices, name, value)
    images = {}
    for role, path in case.scans.items():
        images[role] = read_image(path, role=role).image
        node = image_to_node(images[role], scene, scene.GenerateUniqueName(names[role]))
        setattr(choices, SCANS[role], node)
        if role in case.headers:
            note_header(node, case.headers[role])
    hierarchy.file_scans(scene, {role: getattr(choices, SCANS[role]) for role in images})
    for role, path in case.masks.items():
        if (scan := images.get("pre" if role == "pre" else "post")) is not None:
            outlining.set_mask(choices, role, _mask(path, scan, role, case.own))
    for role, path in case.suggestions.items():
        if role in images:
            outlining.set_mask(choices, role, read_plain(path))
            outlines.mark_carried(getattr(choices, given.OUTLINES[role][1]), given.OUTLINES[role][2])
    if set(images) == set(SCANS):
        _take_up_results(sitting, case)


def _mask(path: Path, scan: sitk.Image, role: str, own: bool) -> sitk.Image:
    """An outline as a door kept it, be it one stroke that no run would take yet; somebody else's file through the gate."""
    return read_plain(path) if own else read_mask(path, scan, role=role, may_be_empty=role == "residual")[0]


def _suggestions(look: Any, found: given.Outlined) -> dict[str, tuple[sitk.Image, str]]:
    """Outlines that were carried over and that nobody has touched: a run makes them anew, but their reader has begun to look at them."""
    return {role: (mask, given.mask_digest(look, role, mask)) for role, how in found.drawn.items() if how is Outline.CARRIED
            for mask in [given.outline(look, role)[0]]}


def _take_up_results(sitting: Any, case: KeptCase) -> None:
    choices, translate = sitting.choices, sitting.door.translate
    if case.alignment is not None:
        results.bring_alignment(choices, case.alignment, case.rests_on.get("alignment", {}), translate)
        sitting.last_alignment = case.alignment
    if case.result is not None:
        results.bring_result(choices, case.result, case.rests_on.get("result", {}), translate)
        sitting.last_result = case.result
