"""Outlines of the tumour in a live scene: coded segments of a scan, masks out of them and into them, and the suggestion carried over.

A carried outline says so in its segment's name and keeps a digest of its voxels; as soon as a reader changes a voxel it counts as drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, Iterable

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import Timepoint
from MRDeltaNetLib.errors import InputError, Notice, require
from MRDeltaNetLib.imaging.segmentation import complete_masks
from MRDeltaNetLib.io.drawings import voxels_sha256
from MRDeltaNetLib.io.gate.grids import inside, points_mm
from MRDeltaNetLib.mrml.alignment import follow
from MRDeltaNetLib.mrml.bootstrap import FEATURE, INSTALL, quiet, slicer_module
from MRDeltaNetLib.mrml.kept import Kept, scan_key, segment_key
from MRDeltaNetLib.mrml.nodes import (grid_from_node, ijk_to_ras, image_from_labelmap, image_from_node, labelmap, make_ours, matrix_to_vtk, ours,
                                      segmentation_to_node)
from MRDeltaNetLib.mrml.terminology import SEGMENTS

SEGMENTATIONS = {"pre": ("Pre-treatment segmentation", ("pre_mask",)),
                 "post": ("Post-treatment segmentation", ("post_mask", "residual_mask"))}
"""Role of a scan -> name of its segmentation node, and its segments."""

SUGGESTION = " (suggestion, carried over)"
"""What stands behind the name of a segment that nobody drew."""

AUTOMATIC = " (suggestion, drawn by a program)"
"""The same where nnU-Net drew it. A run uses it as it is: the reader who starts the run has looked at it."""

SAME_VOXEL = 0.01
"""A labelmap whose voxels lie within this part of a voxel of the scan's is on the scan's grid."""

_CARRIED = "MRDeltaNet.carried"
_DRAWN = "MRDeltaNet.automatic"
"""Segment tags: digest of the voxels that were carried over, or that a program drew."""

_ROLES = {role: f"{role} segmentation" for role in SEGMENTATIONS}


@dataclass(frozen=True)
class _Laid:
    """A segment on the voxels of its scan.

    mask      uint8 {0, 1}; None for an empty segment
    digest    SHA-256 of the voxels, however the segment's own labelmap is cropped or refined; "" if none is marked
    refused   arguments of the InputError for a segment that the scan does not hold whole: (what, code, found, fix); None if it does
    notices   the warning that it changed grids
    """

    mask: sitk.Image | None
    digest: str
    refused: tuple[str, str, str, str] | None = None
    notices: tuple[Notice, ...] = ()


def find_segmentation(volume: Any, role: str) -> Any | None:
    """Our segmentation node of this scan, None if there is none. role: "pre" or "post"."""
    return ours(volume.GetScene(), "vtkMRMLSegmentationNode", _ROLES[role], scan=volume)


def tumour_segmentation(volume: Any, role: str, views: Iterable[Any] = ()) -> Any:
    """The scan's segmentation node with our coded, named and coloured segments; made if there is none.

    volume   volume node of the scan: reference geometry and reference node
    role     "pre" (segment pre_mask) or "post" (post_mask, residual_mask)
    views    view nodes that alone show it; none given: those that do already, every one for a new node. Slicer lets a reader paint wherever
             a segmentation is shown, so one that is shown in the other scan's view is painted there by mistake
    returns  vtkMRMLSegmentationNode, drawn as outlines, under the same transform as the scan. Segments that the reader removed come back
             empty
    """
    node = find_segmentation(volume, role)
    if node is None:
        node = segmentation_to_node((), volume.GetScene(), SEGMENTATIONS[role][0], volume)
        mark_segmentation(node, role, volume)
    for key in SEGMENTATIONS[role][1]:
        if node.GetSegmentation().GetSegment(key) is None:
            _add_segment(node, key)
    follow(volume, node)
    if wanted := tuple(views):
        show_only_in(node, wanted)
    return node


def mark_segmentation(node: Any, role: str, volume: Any) -> None:
    """Say that a segmentation node is that of this scan in this role, so that find_segmentation finds it."""
    make_ours(node, _ROLES[role], scan=volume)


def show_only_in(node: Any, views: Iterable[Any]) -> None:
    """Show a node (segmentation, points) in these views only; in every view if none is given."""
    display = node.GetDisplayNode()
    display.RemoveAllViewNodeIDs()
    for view in views:
        display.AddViewNodeID(view.GetID())


def mask_from_segment(segmentation: Any, segment_id: str, volume: Any) -> sitk.Image:
    """A segment on the volume's grid, as Slicer's own export gives it.

    segmentation  vtkMRMLSegmentationNode, with the volume under the same transform or both under none; not changed
    returns       sitk.Image uint8 {0, 1}, LPS, mm, in the own space of both; all 0 for an empty segment
    raises        InputError MRD-E303 (wholly outside the scan), E304 (reaches beyond it), E306 (vanishes between its voxels),
                  E835 (under different transforms), E836 (no such segment, or one without voxels and surface); what image_from_node raises
    """
    return mask_and_notices(segmentation, segment_id, volume)[0]


def mask_and_notices(segmentation: Any, segment_id: str, volume: Any, kept: Kept | None = None) -> tuple[sitk.Image, tuple[Notice, ...]]:
    """As mask_from_segment, and the warning MRD-W302 if the segment was drawn on another grid than the volume's.

    kept  what a door keeps while nothing changes; the mask is then not to be written into
    """
    if segmentation.GetParentTransformNode() is not volume.GetParentTransformNode():
        raise InputError("The outline and its scan sit under different transforms", code="MRD-E835",
                         fix="put both under the same transform in Slicer's Transforms or Data module, or take both out")
    laid = _laid(segmentation, segment_id, volume, kept)
    if laid.refused is not None:
        what, code, found, fix = laid.refused
        raise InputError(what, code=code, found=found, fix=fix)
    return _empty(_grid(volume)) if laid.mask is None else laid.mask, laid.notices


def set_mask(segmentation: Any, segment_id: str, image: sitk.Image) -> None:
    """Put a mask into a segment in place of what it held; the other segments stay as they are, overlapping ones too.

    image   sitk.Image, above 0 counts, on any grid in the segmentation's own space
    raises  InputError MRD-E836 if there is no such segment

    Undo is the editor's business: call its saveStateForUndo before.
    """
    _segment(segmentation, segment_id)
    _to_labelmaps(segmentation)
    if not slicer_module().vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(labelmap(image), segmentation, segment_id):
        raise InputError("The outline could not be put into its segment", code="MRD-E836", found="Slicer's library refused it",
                         fix="remove this segmentation and make a new one on the page Tumour")
    settle(segmentation)


def carry_over(pre_segmentation: Any, post_segmentation: Any, post_volume: Any, transform: sitk.Transform) -> tuple[Notice, ...]:
    """Bring the tumour's outline to the post scan as a suggestion for its bed, by the very function that a run uses.

    transform  pre LPS -> post LPS, mm, linear
    returns    warnings MRD-W350 and W351
    raises     InputError MRD-E836 if the pre segmentation has lost its scan; what mask_from_segment and imaging.segmentation raise
               (E352 for an empty outline)
    """
    pre_volume = pre_segmentation.GetNodeReference("MRDeltaNet.scan")
    if pre_volume is None:
        raise InputError("The outline's own scan is not in the scene any more", code="MRD-E836", fix="load the pre-treatment scan again and draw on it")
    mask = mask_from_segment(pre_segmentation, "pre_mask", pre_volume)
    if not sitk.GetArrayViewFromImage(mask).any():
        raise InputError("The pre-treatment outline is empty", code="MRD-E352", found="no voxel is marked", fix="draw the tumour first")
    pre = Timepoint(image_from_node(pre_volume, pre_volume.GetParentTransformNode()), mask=mask, mask_source="drawn")
    post = Timepoint(image_from_node(post_volume, post_volume.GetParentTransformNode()))
    _, carried, notices = complete_masks(pre, post, transform)
    set_mask(post_segmentation, "post_mask", carried.mask)
    mark_carried(post_segmentation, "post_mask")
    return notices


def mark_carried(segmentation: Any, segment_id: str) -> None:
    """Remember that what the segment holds now was carried over and that nobody drew it."""
    segment = _segment(segmentation, segment_id)
    segment.SetTag(_CARRIED, _digest(segmentation, segment_id))
    segment.SetName(SEGMENTS[segment_id].name + SUGGESTION)


def mark_automatic(segmentation: Any, segment_id: str) -> None:
    """Remember that what the segment holds now was drawn by a program."""
    segment = _segment(segmentation, segment_id)
    segment.SetTag(_DRAWN, _digest(segmentation, segment_id))
    segment.SetName(SEGMENTS[segment_id].name + AUTOMATIC)


def source_of(segmentation: Any, segment_id: str, kept: Kept | None = None) -> str | None:
    """"carried" while a segment holds exactly what was carried over, "drawn" for anything else, None if it is empty or not there.

    kept  what a door keeps while nothing changes
    """
    if segmentation.GetSegmentation().GetSegment(segment_id) is None:
        return None
    digest = _digest(segmentation, segment_id, kept)
    if not digest:
        return None
    return "carried" if digest == _tag(segmentation, segment_id) else "drawn"


def is_lost(segmentation: Any, segment_id: str, volume: Any, kept: Kept | None = None) -> bool:
    """Whether a segment holds voxels of its own and its scan does not hold it whole: mask_from_segment says why. kept: as in source_of"""
    return _laid(segmentation, segment_id, volume, kept).refused is not None


def settle(segmentation: Any, kept: Kept | None = None) -> bool:
    """Take the words "suggestion, carried over" or "drawn by a program" from the names of segments that a reader has changed since.

    kept     what a door keeps while nothing changes
    returns  whether a name changed. The digest stays, so that after an undo the segment counts as carried again and is named so.
    """
    changed = False
    for key in SEGMENTS:
        segment = segmentation.GetSegmentation().GetSegment(key)
        if segment is None or not (_tag(segmentation, key) or _tag(segmentation, key, _DRAWN)):
            continue
        plain, digest = segment.GetName().removesuffix(SUGGESTION).removesuffix(AUTOMATIC), _digest(segmentation, key, kept)
        words = {_tag(segmentation, key, _DRAWN): AUTOMATIC, _tag(segmentation, key): SUGGESTION}
        wanted = plain + (words.get(digest, "") if digest else "")
        changed |= wanted != segment.GetName()
        segment.SetName(wanted)
    return changed


def _add_segment(node: Any, key: str) -> None:
    segment, kind = slicer_module().vtkSegment(), SEGMENTS[key]
    segment.SetName(kind.name)
    segment.SetColor(*kind.rgb)
    segment.SetTerminology(kind.terminology)
    node.GetSegmentation().AddSegment(segment, kind.segment_id)


def _segment(segmentation: Any, segment_id: str) -> Any:
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    if segment is None:
        raise InputError("The segmentation has no such segment", code="MRD-E836", found=SEGMENTS[segment_id].name if segment_id in SEGMENTS else "",
                         fix="choose the segmentation on the page Tumour again, which adds what is missing")
    return segment


def _tag(segmentation: Any, segment_id: str, name: str = _CARRIED) -> str:
    """The digest of what was carried (or drawn by a program) into the segment, "" if nothing was."""
    found = require("vtkmodules.vtkCommonCore", FEATURE, INSTALL).reference("")
    return found.get() if _segment(segmentation, segment_id).GetTag(name, found) else ""


def _to_labelmaps(segmentation: Any) -> None:
    """Make labelmaps the source of all segments; those that are surfaces only become voxels first, and empty ones empty labelmaps."""
    slicer = slicer_module()
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    inner = segmentation.GetSegmentation()
    if inner.GetSourceRepresentationName() == name:
        return
    segments = [inner.GetNthSegment(index) for index in range(inner.GetNumberOfSegments())]
    for segment in segments:
        if segment.GetRepresentation(name) is None and _surface(segment) is None:
            segment.AddRepresentation(name, slicer.vtkOrientedImageData())       # the converter stops at a segment without a surface
    with quiet():
        segmentation.CreateBinaryLabelmapRepresentation()
    if any(segment.GetRepresentation(name) is None for segment in segments):
        raise _no_voxels()
    segmentation.SetSourceRepresentationToBinaryLabelmap()


def _surface(segment: Any) -> Any | None:
    """The segment's closed surface, None if it has none or an empty one."""
    found = segment.GetRepresentation(slicer_module().vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName())
    return None if found is None or found.GetNumberOfPoints() == 0 else found


def _no_voxels() -> InputError:
    return InputError("The outline's surface could not be made into voxels", code="MRD-E836",
                      fix="make it a labelmap in Slicer's Segmentations module: Representations, Binary labelmap, Create")


def _labelmap_of(segmentation: Any, segment_id: str, grid: sitk.Image | None) -> Any | None:
    """The segment alone as vtkOrientedImageData {0, 1} on its own extent, None if it is empty. A surface is converted on a copy, and only if
    a grid is given."""
    slicer = slicer_module()
    _segment(segmentation, segment_id)
    names, found = slicer.vtkSegmentationConverter, slicer.vtkOrientedImageData()
    if segmentation.GetSegmentation().GetSegment(segment_id).GetRepresentation(names.GetSegmentationBinaryLabelmapRepresentationName()) is None:
        segmentation = None if grid is None else _converted(segmentation, segment_id, grid)
        if segmentation is None:
            return None
    if not segmentation.GetBinaryLabelmapRepresentation(segment_id, found) or found.IsEmpty():
        return None
    return found


def _converted(segmentation: Any, segment_id: str, grid: sitk.Image) -> Any | None:
    """A node outside the scene with a copy of the segment, its surface made into voxels of the grid; None if it has no surface."""
    slicer = slicer_module()
    names, copy = slicer.vtkSegmentationConverter, slicer.vtkMRMLSegmentationNode()
    source, target = segmentation.GetSegmentation(), copy.GetSegmentation()
    if _surface(source.GetSegment(segment_id)) is None:
        return None
    target.SetSourceRepresentationName(names.GetSegmentationClosedSurfaceRepresentationName())
    target.CopySegmentFromSegmentation(source, segment_id)
    target.SetConversionParameter(names.GetReferenceImageGeometryParameterName(), names.SerializeImageGeometry(_frame(grid)))
    if not target.CreateRepresentation(names.GetSegmentationBinaryLabelmapRepresentationName()):
        raise _no_voxels()
    return copy


def _on_grid(drawn: Any, grid: sitk.Image) -> sitk.Image:
    """A labelmap on the grid's voxels by nearest neighbour: Slicer's own resampler, so that its export gives the same."""
    slicer = slicer_module()
    placed = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(drawn, _frame(grid), placed, False, False)
    mask = sitk.Cast(image_from_labelmap(placed) > 0, sitk.sitkUInt8)
    mask.CopyInformation(grid)
    return mask


def _lost(own: sitk.Image, mask: sitk.Image, grid: sitk.Image) -> tuple[str, str, str, str] | None:
    """Why a segment that the scan does not hold whole is refused: what, code, found, fix. own: on its own voxels; mask: on the scan's."""
    marked = np.argwhere(sitk.GetArrayViewFromImage(own))[:, ::-1].astype(float)
    if not len(marked):
        return None
    covered = inside(grid, points_mm(own, marked))
    if not covered.any():
        return ("The outline lies wholly outside its scan", "MRD-E303", "no marked voxel is inside the scan",
                "see that it was drawn on this scan and not on the other one or before a registration")
    if not covered.all():
        return ("The outline reaches beyond its scan", "MRD-E304", f"{100 * covered.mean():.1f} percent of the marked voxels are inside the scan",
                "see that it was drawn on this scan; erase what lies outside")
    if not sitk.GetArrayViewFromImage(mask).any():
        return ("The outline falls between the voxels of its scan and vanishes there", "MRD-E306", "no voxel on the scan's grid",
                "draw it on the scan itself")
    return None


def _other_grid(own: sitk.Image, mask: sitk.Image, grid: sitk.Image) -> tuple[Notice, ...]:
    """The warning that a segment changed grids, which may move its border by half a voxel."""
    corners = list(product(*((0, size - 1) for size in own.GetSize())))
    shifts = [np.subtract(grid.TransformPhysicalPointToContinuousIndex(own.TransformIndexToPhysicalPoint(corner)), corner) for corner in corners]
    if np.abs(np.array(shifts) - np.rint(shifts[0])).max() < SAME_VOXEL:
        return ()
    volumes = [np.count_nonzero(sitk.GetArrayViewFromImage(image)) * np.prod(image.GetSpacing()) / 1000 for image in (own, mask)]
    return (Notice("MRD-W302", "The outline was drawn on another grid than its scan's and was brought to the scan's voxels by nearest neighbour: "
                   f"{volumes[0]:.2f} mL before, {volumes[1]:.2f} mL after",
                   fix="look at the outline on the scan; draw on the scan's own grid to avoid this"),)


def _laid(segmentation: Any, segment_id: str, volume: Any, kept: Kept | None) -> _Laid:
    """The segment on the volume's voxels, made only if it is not kept as it is now."""
    _segment(segmentation, segment_id)
    key = (scan_key(volume), segment_key(segmentation, segment_id))
    return (kept or Kept()).value((segmentation.GetID(), segment_id, volume.GetID()), key, lambda: _lay(segmentation, segment_id, _grid(volume)))


def _lay(segmentation: Any, segment_id: str, grid: sitk.Image) -> _Laid:
    drawn = _labelmap_of(segmentation, segment_id, grid)
    if drawn is None:
        return _Laid(None, "")
    own, mask = image_from_labelmap(drawn), _on_grid(drawn, grid)
    return _Laid(mask, _voxels_digest(mask), _lost(own, mask, grid), _other_grid(own, mask, grid))


def _grid(volume: Any) -> sitk.Image:
    return grid_from_node(volume, volume.GetParentTransformNode())


def _digest(segmentation: Any, segment_id: str, kept: Kept | None = None) -> str:
    """SHA-256 of the segment's voxels on its scan's grid, on its own if its scan is gone; "" if it is empty."""
    volume = segmentation.GetNodeReference("MRDeltaNet.scan")
    if volume is not None:
        return _laid(segmentation, segment_id, volume, kept).digest
    drawn = _labelmap_of(segmentation, segment_id, None)
    return "" if drawn is None else _voxels_digest(image_from_labelmap(drawn))


def _voxels_digest(mask: sitk.Image) -> str:
    return voxels_sha256(mask) if sitk.GetArrayViewFromImage(mask).any() else ""


def _frame(grid: sitk.Image) -> Any:
    """The grid as a vtkOrientedImageData without voxels."""
    made = slicer_module().vtkOrientedImageData()
    made.SetExtent(*(bound for size in grid.GetSize() for bound in (0, size - 1)))
    made.SetGeometryFromImageToWorldMatrix(matrix_to_vtk(ijk_to_ras(grid)))
    return made


def _empty(grid: sitk.Image) -> sitk.Image:
    mask = sitk.Image(grid.GetSize(), sitk.sitkUInt8)
    mask.CopyInformation(grid)
    return mask
