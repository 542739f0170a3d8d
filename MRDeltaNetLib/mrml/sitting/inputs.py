"""What the scene holds of a pair, as the library reads it: scans, outlines, alignment, DICOM headers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Mapping

import SimpleITK as sitk

from MRDeltaNetLib import workflow
from MRDeltaNetLib.case import Timepoint
from MRDeltaNetLib.errors import MRDeltaNetError, Notice
from MRDeltaNetLib.io.dicom import read_scan_header, with_header
from MRDeltaNetLib.io.gate.outlines import check_growth, check_outline
from MRDeltaNetLib.mrml import alignment, outlines
from MRDeltaNetLib.mrml.kept import Kept, scan_key, segment_key
from MRDeltaNetLib.mrml.scans import Scan, known_scan
from MRDeltaNetLib.mrml.sitting.choices import SCANS
from MRDeltaNetLib.mrml.sitting.look import Look
from MRDeltaNetLib.workflow import Outline

OUTLINES = {"pre": ("pre_volume", "pre_segmentation", "pre_mask"), "post": ("post_volume", "post_segmentation", "post_mask"),
            "residual": ("post_volume", "post_segmentation", "residual_mask")}
"""Outline -> choices that hold its scan and its segmentation, and its segment's id."""


@dataclass(frozen=True)
class Inputs:
    """Everything of one pair that a run reads.

    timepoints  "pre", "post" -> Timepoint with what its DICOM header says, without outlines; images in the scanner's own space (LPS, mm)
    masks       "pre", "post", "residual" -> sitk.Image, uint8, on its scan's grid; only those that a person drew
    drawn       the same keys -> workflow.Outline
    digests     "pre", "post", and where there is one "pre_mask", "post_mask", "residual_mask", "alignment" -> as in workflow.fingerprint
    transform   pre LPS -> post LPS, mm; None without an alignment
    headers     "pre", "post" -> one DICOM file of the scan, or None
    """

    timepoints: Mapping[str, Timepoint]
    masks: Mapping[str, sitk.Image] = field(default_factory=dict)
    drawn: Mapping[str, Outline] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    transform: sitk.Transform | None = None
    headers: Mapping[str, Path | None] = field(default_factory=dict)

    @property
    def scans(self) -> dict[str, sitk.Image]:
        """"pre", "post" -> the image."""
        return {role: scan.image for role, scan in self.timepoints.items()}

    def visits(self) -> tuple[Timepoint, Timepoint]:
        """Both visits with the outlines that a person drew."""
        pre, post = (replace(self.timepoints[role], mask=self.masks.get(role), mask_source="drawn" if role in self.masks else None)
                     for role in ("pre", "post"))
        return pre, replace(post, residual=self.masks.get("residual"))

    def fingerprint(self, *, complete_response: bool = False, mrtrg: int | None = None, model: str = "",
                    options: Mapping[str, Any] | None = None) -> dict[str, str]:
        """Stands for everything that a result rests on; see workflow.fingerprint.

        model  SHA-256 of the bundle
        """
        found = self.digests
        return workflow.fingerprint(found["pre"], found["post"], transform=found.get("alignment"), pre_mask=found.get("pre_mask"),
                                    post_mask=found.get("post_mask"), residual_mask=found.get("residual_mask"), complete_response=complete_response, mrtrg=mrtrg,
                                    model_sha256=model, options=options, headers=workflow.header_facts(*self.timepoints.values()))


@dataclass(frozen=True)
class Outlined:
    """The outlines as they are: what a run may use, and what cannot be used.

    drawn    "pre", "post", "residual" -> workflow.Outline
    masks    those that a person drew -> sitk.Image, uint8, on the scan's grid
    digests  the same keys -> workflow.image_digest
    notices  remarks; errors refusals
    """

    drawn: Mapping[str, Outline]
    masks: Mapping[str, sitk.Image]
    digests: Mapping[str, str]
    notices: tuple[Notice, ...] = ()
    errors: tuple[MRDeltaNetError, ...] = ()


def read(look: Look, with_alignment: bool = True) -> Inputs:
    """The pair as it is in the scene now. Raises what visit and assembled raise."""
    timepoints = {role: visit(look, role) for role in SCANS}
    return assembled(look, timepoints, outlined(look), with_alignment)


def assembled(look: Look, timepoints: Mapping[str, Timepoint], found: Outlined, with_alignment: bool = True) -> Inputs:
    """The pair out of both scans and their outlines, which were looked at already, and the alignment. Images that were kept are not to be written into.

    timepoints      "pre", "post" -> of visit
    with_alignment  False: as if there were none, so that an alignment that cannot be used can be made anew
    raises          the outlines' first refusal; InputError of mrml.alignment
    """
    if found.errors:
        raise found.errors[0]
    digests = {role: scan(look, role).digest for role in SCANS} | {f"{role}_mask": digest for role, digest in found.digests.items()}
    transform = None
    if with_alignment and look.choices.alignment is not None:
        transform = alignment.transform_from_node(look.choices.alignment, look.choices.post_volume)
        digests["alignment"] = workflow.transform_digest(transform, timepoints["pre"].image)
    return Inputs(timepoints, found.masks, found.drawn, digests, transform,
                  {role: look.header(getattr(look.choices, volume)) for role, volume in SCANS.items()})


def own_transform(choices: Any) -> Any:
    """The one transform that the scan after treatment may sit under: our alignment of it, with this pair or an earlier one; None without any."""
    return choices.alignment if choices.alignment is not None else own_transform_of(choices.post_volume)


def own_transform_of(post_volume: Any) -> Any:
    """Our alignment of a scan, with whichever other one; None without any, or without a scan."""
    return None if post_volume is None else alignment.find_alignment(post_volume.GetScene(), post_volume)


def outline(look: Look, role: str) -> tuple[sitk.Image | None, Outline, tuple[Notice, ...]]:
    """One outline and how it came about.

    role     "pre", "post" or "residual"
    returns  the mask (None unless it holds voxels), its state, remarks
    raises   InputError if the outline cannot be brought onto its scan's voxels, or is nowhere on them
    """
    volume_name, segmentation_name, segment_id = OUTLINES[role]
    volume, segmentation = getattr(look.choices, volume_name), getattr(look.choices, segmentation_name)
    if volume is None or segmentation is None or segmentation.GetSegmentation().GetSegment(segment_id) is None:
        return None, Outline.NONE, ()
    if outlines.find_segmentation(volume, "pre" if role == "pre" else "post") is not segmentation:      # of a scan that was chosen before
        return None, Outline.NONE, ()
    source = outlines.source_of(segmentation, segment_id, look.kept)
    if source is None and not outlines.is_lost(segmentation, segment_id, volume, look.kept):
        return None, Outline.EMPTY, ()
    mask, notices = outlines.mask_and_notices(segmentation, segment_id, volume, look.kept)
    return mask, Outline(source), notices


def outlined(look: Look) -> Outlined:
    """All outlines; one that cannot be used is told and counts as not drawn."""
    drawn, masks, digests, notices, errors = {}, {}, {}, [], []
    for role in OUTLINES:
        try:
            mask, drawn[role], remarks = outline(look, role)
        except MRDeltaNetError as error:
            drawn[role] = Outline.NONE
            errors.append(error)
            continue
        notices += remarks
        if drawn[role] is Outline.DRAWN:
            masks[role], digests[role] = mask, mask_digest(look, role, mask)
    return Outlined(drawn, masks, digests, tuple(notices), tuple(errors))


def judged(outlined: Outlined, kept: Kept) -> Outlined:
    """The outlines with what a run would say of their size, slices, pieces, borders and growth. Whether they lie in the patient, only a run says."""
    notices, errors = kept.value("judged", tuple(sorted(outlined.digests.items())), lambda: _judgement(outlined.masks))
    return replace(outlined, notices=outlined.notices + notices, errors=outlined.errors + errors)


def _judgement(masks: Mapping[str, sitk.Image]) -> tuple[tuple[Notice, ...], tuple[MRDeltaNetError, ...]]:
    notices, errors = [], []
    for role, mask in masks.items():
        try:
            notices += check_outline(mask, role)
        except MRDeltaNetError as error:
            errors.append(error)
    return (*notices, *check_growth(*(masks.get(role) for role in OUTLINES))), tuple(errors)


def visit(look: Look, role: str) -> Timepoint:
    """One scan with what its DICOM header says.

    role    "pre" or "post", whose volume is chosen
    raises  InputError if the volume or its header cannot be used
    """
    volume = getattr(look.choices, SCANS[role])
    found, path = Timepoint(scan(look, role).image), look.header(volume)
    if path is None:
        return found
    status = path.stat()
    header = look.kept.value(("header", volume.GetID()), (path, status.st_mtime_ns, status.st_size), lambda: read_scan_header(path))
    return with_header(found, header, role)


def scan(look: Look, role: str) -> Scan:
    """One chosen scan with its digest; the image is kept and not to be written into. raises InputError if it cannot be used"""
    return known_scan(getattr(look.choices, SCANS[role]), own_transform(look.choices) if role == "post" else None, look.kept)


def mask_digest(look: Look, role: str, mask: sitk.Image) -> str:
    """workflow.image_digest of an outline, kept while the outline is as it is."""
    volume_name, segmentation_name, segment_id = OUTLINES[role]
    volume, segmentation = getattr(look.choices, volume_name), getattr(look.choices, segmentation_name)
    return look.kept.value(("mask digest", segmentation.GetID(), segment_id), (scan_key(volume), segment_key(segmentation, segment_id)),
                           lambda: workflow.image_digest(mask))
