"""Outlines of a sitting: segmentations of the scans, masks into them, carrying over, sizes."""

from __future__ import annotations

from typing import Any

import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError, UsageError
from MRDeltaNetLib.imaging import measures
from MRDeltaNetLib.mrml import alignment, hierarchy, outlines
from MRDeltaNetLib.mrml.nodes import ROLE
from MRDeltaNetLib.mrml.sitting import inputs as given
from MRDeltaNetLib.mrml.sitting.choices import SCANS
from MRDeltaNetLib.mrml.sitting.look import Look
from MRDeltaNetLib.workflow import Outline
from MRDeltaNetLib.workflow.texts import _


def outlines_of(volume: Any, role: str) -> list[Any]:
    """Our segmentations of a scan: its outlines, and what lies beside them.

    volume  volume node or None; role  "pre" or "post"
    """
    if volume is None:
        return []
    scene, kind = volume.GetScene(), "vtkMRMLSegmentationNode"
    found = [scene.GetNthNodeByClass(index, kind) for index in range(scene.GetNumberOfNodesByClass(kind))]
    return [node for node in found if (node.GetAttribute(ROLE) or "").startswith(f"{role} ") and node.GetNodeReference("MRDeltaNet.scan") is volume]


def segmentation(choices: Any, role: str, views: tuple[Any, ...] = ()) -> Any:
    """The segmentation of a scan with its coded segments, made if need be.

    role   "pre" or "post"
    views  slice nodes that alone show it: Slicer paints wherever a segmentation is shown; none: those that show it now
    """
    volume_name, segmentation_name, _segment_id = given.OUTLINES[role]
    volume = getattr(choices, volume_name)
    node = outlines.tumour_segmentation(volume, role, views)
    if getattr(choices, segmentation_name) is not node:
        setattr(choices, segmentation_name, node)
        hierarchy.file_under(node.GetScene(), node, volume)
    return node


def keep_outlines_apart(choices: Any, views: tuple[Any, ...]) -> None:
    """Each outline in its own scan's view alone, because Slicer paints wherever a segmentation is shown.

    views  slice nodes, before and after; none: every view shows both
    """
    for place, (role, name) in enumerate(SCANS.items()):
        for node in outlines_of(getattr(choices, name), role):
            if node.GetDisplayNode() is not None:
                outlines.show_only_in(node, views[place:place + 1])


def uncertain_borders(choices: Any, role: str) -> list[Any]:
    """Segmentation nodes beside a scan's outlines: where the program that drew was not sure.

    role  "pre" or "post"
    """
    volume_name, segmentation_name, _segment_id = given.OUTLINES[role]
    return [node for node in outlines_of(getattr(choices, volume_name), role) if node is not getattr(choices, segmentation_name)]


def set_mask(choices: Any, role: str, mask: sitk.Image) -> None:
    """Put a mask into an outline.

    role  "pre", "post" or "residual"
    mask  sitk.Image; above 0 counts
    """
    node = segmentation(choices, "pre" if role == "pre" else "post")
    outlines.set_mask(node, given.OUTLINES[role][2], mask)


def carry_over(choices: Any) -> None:
    """Lay the first outline on the second scan as a suggestion; never over what a person drew.

    raises  UsageError MRD-E839 if the tumour bed is drawn; InputError MRD-E834 without an alignment; what mrml.outlines.carry_over raises
    """
    bed, segment_id = choices.post_segmentation, given.OUTLINES["post"][2]
    if bed is not None and outlines.source_of(bed, segment_id) == "drawn":
        raise UsageError(_("The tumour bed after treatment is drawn, and nothing is carried over it"), code="MRD-E839", fix=_("clear the tumour bed first"))
    transform = alignment.transform_from_node(choices.alignment, choices.post_volume)
    outlines.carry_over(choices.pre_segmentation, segmentation(choices, "post"), choices.post_volume, transform)


def outline_state(look: Look, role: str) -> Outline:
    """How far an outline is."""
    return given.outlined(look).drawn[role]


def sizes(look: Look) -> dict[str, float | None] | None:
    """Volumes, diameters and their changes as a run would write them; None without any outline, or where statements contradict."""
    found, stated = given.outlined(look), look.choices.complete_response
    if not found.masks:
        return None
    masks = [found.masks.get(role) for role in ("pre", "post", "residual")]
    try:
        return dict(look.kept.value("sizes", (tuple(found.digests.items()), stated), lambda: measures.compare(*masks, stated)))
    except InputError:                               # complete response stated over drawn residual tumour: the step's line says so
        return None


def tumour_centre(look: Look) -> tuple[float, float, float] | None:
    """The middle of the first scan's outline, LPS, mm; None without one."""
    mask = given.outlined(look).masks.get("pre")
    if mask is None:
        return None
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(mask)
    return shape.GetCentroid(1)
