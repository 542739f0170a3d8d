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
from MRDeltaNetLib.mrml import alignment, outlines
from MRDeltaNetLib.mrml.scans import scan_from_node
from MRDeltaNetLib.workflow import Outline
from MRDeltaNetPanel import headers

OUTLINES = {"pre": ("preVolume", "preSegmentation", "pre_mask"), "post": ("postVolume", "postSegmentation", "post_mask"),
            "residual": ("postVolume", "postSegmentation", "residual_mask")}
"""Outline -> parameters that hold its scan and its segmentation, and its segment's id."""


@dataclass(frozen=True)
class Inputs:
    """Everything of one pair that a run reads.

    scans      "pre", "post" -> sitk.Image in the scanner's own space (LPS, mm)
    masks      "pre", "post", "residual" -> sitk.Image, uint8, on its scan's grid; only those that a person drew
    drawn      the same keys -> workflow.Outline
    transform  pre LPS -> post LPS, mm; None without an alignment
    headers    "pre", "post" -> one DICOM file of the scan, or None
    """

    scans: Mapping[str, sitk.Image]
    masks: Mapping[str, sitk.Image] = field(default_factory=dict)
    drawn: Mapping[str, Outline] = field(default_factory=dict)
    transform: sitk.Transform | None = None
    headers: Mapping[str, Path | None] = field(default_factory=dict)

    def visits(self) -> tuple[Timepoint, Timepoint]:
        """Both visits with the outlines that a person drew."""
        pre, post = (Timepoint(self.scans[role], mask=self.masks.get(role), mask_source="drawn" if role in self.masks else None)
                     for role in ("pre", "post"))
        return pre, replace(post, residual=self.masks.get("residual"))

    def fingerprint(self, *, completeResponse: bool = False, model: str = "", options: Mapping[str, Any] | None = None) -> dict[str, str]:
        """Stands for everything that a result rests on; see workflow.fingerprint.

        model  SHA-256 of the bundle
        """
        return workflow.fingerprint(self.scans["pre"], self.scans["post"], transform=self.transform, pre_mask=self.masks.get("pre"),
                                    post_mask=self.masks.get("post"), residual_mask=self.masks.get("residual"),
                                    complete_response=completeResponse, model_sha256=model, options=options)


@dataclass(frozen=True)
class Outlined:
    """The outlines as they are: what a run may use, and what cannot be used.

    drawn    "pre", "post", "residual" -> workflow.Outline
    masks    those that a person drew -> sitk.Image, uint8, on the scan's grid
    notices  remarks; errors refusals, as notices
    """

    drawn: Mapping[str, Outline]
    masks: Mapping[str, sitk.Image]
    notices: tuple[Notice, ...] = ()
    errors: tuple[Notice, ...] = ()


def read(parameters: Any, withAlignment: bool = True) -> Inputs:
    """The pair as it is in the scene now.

    withAlignment  False: as if there were none, so that an alignment that cannot be used can be made anew
    raises         InputError of mrml.scans, mrml.outlines and mrml.alignment
    """
    transform = None
    if withAlignment and parameters.alignment is not None:
        transform = alignment.transform_from_node(parameters.alignment, parameters.postVolume)
    scans = {"pre": scan_from_node(parameters.preVolume), "post": scan_from_node(parameters.postVolume, ownTransform(parameters))}
    masks, drawn = {}, {}
    for role in OUTLINES:
        mask, drawn[role], _notices = outline(parameters, role)
        if mask is not None and drawn[role] is Outline.DRAWN:
            masks[role] = mask
    return Inputs(scans, masks, drawn, transform,
                  {"pre": headers.dicomHeader(parameters.preVolume), "post": headers.dicomHeader(parameters.postVolume)})


def ownTransform(parameters: Any) -> Any:
    """The one transform that the scan after treatment may sit under: our alignment of it, with this pair or an earlier one; None without any."""
    if parameters.alignment is not None or parameters.postVolume is None:
        return parameters.alignment
    return alignment.find_alignment(parameters.postVolume.GetScene(), parameters.postVolume)


def outline(parameters: Any, role: str) -> tuple[sitk.Image | None, Outline, tuple[Notice, ...]]:
    """One outline and how it came about.

    role     "pre", "post" or "residual"
    returns  the mask (None unless it holds voxels), its state, remarks
    raises   InputError if the outline cannot be brought onto its scan's voxels
    """
    volumeName, segmentationName, segmentId = OUTLINES[role]
    volume, segmentation = getattr(parameters, volumeName), getattr(parameters, segmentationName)
    if volume is None or segmentation is None or segmentation.GetSegmentation().GetSegment(segmentId) is None:
        return None, Outline.NONE, ()
    if outlines.find_segmentation(volume, "pre" if role == "pre" else "post") is not segmentation:      # of a scan that was chosen before
        return None, Outline.NONE, ()
    source = outlines.source_of(segmentation, segmentId)
    if source is None:
        return None, Outline.EMPTY, ()
    mask, notices = outlines.mask_and_notices(segmentation, segmentId, volume)
    return mask, Outline(source), notices


def outlined(parameters: Any) -> Outlined:
    """All outlines; one that cannot be used is told and counts as not drawn."""
    drawn, masks, notices, errors = {}, {}, [], []
    for role in OUTLINES:
        try:
            mask, drawn[role], remarks = outline(parameters, role)
        except MRDeltaNetError as error:
            drawn[role] = Outline.NONE
            errors.append(Notice(error.code, error.what, error.fix))
            continue
        notices += remarks
        if drawn[role] is Outline.DRAWN:
            masks[role] = mask
    return Outlined(drawn, masks, tuple(notices), tuple(errors))


def visit(volume: Any, transform: Any, role: str) -> Timepoint:
    """One scan with what its DICOM header says, for the checks of the pair.

    volume, transform  nodes; role "pre" or "post"
    raises             InputError if the volume or its header cannot be used
    """
    scan = Timepoint(scan_from_node(volume, transform))
    header = headers.dicomHeader(volume)
    return scan if header is None else with_header(scan, read_scan_header(header), role)
