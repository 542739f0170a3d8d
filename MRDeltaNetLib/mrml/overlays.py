"""The maps of a run as overlays on the scans of a live scene. A new run's maps take the place of the earlier run's."""

from __future__ import annotations

from typing import Any, Mapping

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.colours import OVERLAY_THRESHOLD
from MRDeltaNetLib.config import NATIVE_METHODS
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.finished import FinishedRun
from MRDeltaNetLib.io.gate.grids import corner_difference_mm, same_grid
from MRDeltaNetLib.io.results import ALL_IMAGE_FILES
from MRDeltaNetLib.mrml import display
from MRDeltaNetLib.mrml.alignment import follow
from MRDeltaNetLib.mrml.bootstrap import slicer_module
from MRDeltaNetLib.mrml.nodes import fill_volume, image_from_node, image_to_node, make_ours, ours
from MRDeltaNetLib.response.attribution import METHODS, Method
from MRDeltaNetLib.response.attribution.readout import PERCENTAGE_POINTS
from MRDeltaNetLib.response.attribution.showing import ABSOLUTE

_WHEN = {"pre": "Pre-treatment", "post": "Post-treatment"}
_NAMED = ("gradcam", "guided_gradcam")
"""Methods whose label begins with a name."""


def _legend(method: Method) -> str:
    """Title of a legend: what is shown, and in what unit where the unit means something by itself."""
    if method.unit in ABSOLUTE:
        return f"{method.label} ({'% points' if method.unit == PERCENTAGE_POINTS else method.unit})"
    return f"{method.label} (share of the largest)"


MAPS = {"attention_pre": ("pre", "Pre-treatment attention", "Attention (share of the largest)"),
        "attention_post": ("post", "Post-treatment attention", "Attention (share of the largest)"),
        "change_post": ("post", "Post-treatment change", "Change (magnitude)")} | {
    f"{key}_{visit}": (visit, f"{_WHEN[visit]} {method.label[0].lower()}{method.label[1:]}" if key not in _NAMED else f"{_WHEN[visit]} {method.label}", _legend(method))
    for key, method in METHODS.items() if key not in NATIVE_METHODS for visit in method.visits}
"""Key of Result.images -> role of the scan that it lies on, name of its node, title of its legend."""


def add_maps(scene: Any, run: FinishedRun, pre: Any, post: Any) -> dict[str, Any]:
    """Lay a run's maps over its scans.

    run        a finished run's folder, opened
    pre, post  volume nodes of the scans; post's maps go under the transform that post sits under
    returns    key of Result.images -> volume node. A map that an earlier run left on the same scan keeps its node and its place in the
               views and gets the new voxels; one that this run did not make is removed
    raises     InputError MRD-E837 (a map lies on another grid than the scan, or holds no numbers) before anything changes; what
               FinishedRun raises
    """
    scans, images = {"pre": pre, "post": post}, {}
    grids = {role: image_from_node(node, node.GetParentTransformNode()) for role, node in scans.items()}
    for key, (role, _, _) in MAPS.items():
        if key in run.maps:
            images[key] = _fitting(run.image(ALL_IMAGE_FILES[key]), grids[role])
    made = {}
    for key, (role, name, legend) in MAPS.items():
        if key in images:
            made[key] = show_map(scene, images[key], key, scans[role], role, name, legend, run.provenance(key), run.maps.get(key) or {})
        elif (earlier := find_map(scans[role], key)) is not None:
            remove_map(earlier)
    return made


def show_map(scene: Any, image: sitk.Image, key: str, base: Any, role: str, name: str, legend: str, provenance: Mapping[str, str] = {},
             facts: Mapping[str, Any] = {}) -> Any:
    """Lay one map over a scan: window from 0 to its top in cividis (a map with a sign: from the negative of its top, blue to orange), clear
    below the threshold, a legend.

    image       sitk.Image, 3-D, in the scan's own space
    key         what map it is; a map of the same key on the same scan is replaced
    base, role  volume node of the scan; "pre" or "post"
    provenance  text by key, kept as node attributes "MRDeltaNet.<key>"
    facts       of the map in result.json: signed, and scale_top, the top that the maps of a method share over both scans
    returns     its volume node, under the same transform as the scan
    """
    node = find_map(base, key)
    if node is None:
        node = image_to_node(image, scene, name)
    else:
        fill_volume(node, image)
    mark_map(node, key, base)
    display.lay_over(node, image, facts, base, role, legend)
    for name, text in provenance.items():
        node.SetAttribute(f"MRDeltaNet.{name}", text)
    follow(base, node)
    return node


def mark_map(node: Any, key: str, base: Any) -> None:
    """Say that a volume node is this map of this scan, so that find_map finds it."""
    make_ours(node, f"map {key}", baseVolume=base)


def find_map(base: Any, key: str) -> Any | None:
    """The volume node of a map on this scan, None if there is none."""
    return ours(base.GetScene(), "vtkMRMLScalarVolumeNode", f"map {key}", baseVolume=base)


def remove_map(node: Any) -> None:
    """Remove an overlay with its displays."""
    scene = node.GetScene()
    for index in reversed(range(node.GetNumberOfDisplayNodes())):
        scene.RemoveNode(node.GetNthDisplayNode(index))
    scene.RemoveNode(node)


def legend_of(volume: Any) -> Any | None:
    """The overlay's colour legend display node."""
    return slicer_module().vtkSlicerColorLogic.GetColorLegendDisplayNode(volume)


def remake_legend(volume: Any) -> Any:
    """Make the overlay's legend anew, looking as before.

    A legend is drawn only in views that were there when it was made; call this when new views are up and after a scene was loaded.
    returns  the new legend display node
    """
    old, logic = legend_of(volume), slicer_module().vtkSlicerColorLogic
    copy = None
    if old is not None:
        copy = old.CreateNodeInstance()
        copy.CopyContent(old)
        volume.GetScene().RemoveNode(old)
    legend = logic.AddDefaultColorLegendDisplayNode(volume)
    if copy is not None:
        legend.CopyContent(copy)
        legend.SetTitleText(display.in_two_lines(legend.GetTitleText()))
    return legend


def show_legend(volume: Any, visible: bool) -> None:
    """Show or hide the overlay's legend; hiding the overlay does not hide it."""
    legend = legend_of(volume)
    if legend is not None:
        legend.SetVisibility(visible)


def set_threshold(volume: Any, fraction: float = OVERLAY_THRESHOLD) -> None:
    """Make an overlay clear below this fraction (0 to 1) of its top; of a map with a sign, by size, in all such maps of the scene at once."""
    shown = volume.GetDisplayNode()
    if display.is_signed(shown):
        display.clear_middle(shown.GetColorNode(), fraction)
    else:
        display.set_threshold(shown, fraction, top_of(volume))


def threshold_of(volume: Any) -> float:
    """Below which fraction of its highest value an overlay is clear; 0 if it is clear nowhere."""
    shown = volume.GetDisplayNode()
    if display.is_signed(shown):
        return display.cleared_middle(shown.GetColorNode())
    return shown.GetLowerThreshold() / top_of(volume) if shown.GetApplyThreshold() else 0.0


def top_of(volume: Any) -> float:
    """End of an overlay's scale; in a scene of an earlier version its highest value."""
    top = float(volume.GetAttribute(display.TOP_ATTRIBUTE) or volume.GetImageData().GetScalarRange()[1])
    return top if top > 0 else 1.0


def _fitting(image: sitk.Image, grid: sitk.Image) -> sitk.Image:
    if not same_grid(image, grid):
        raise InputError("A map lies on another grid than the scan in the scene, so it belongs to another scan", code="MRD-E837",
                         found=f"corners up to {corner_difference_mm(image, grid):.1f} mm apart",
                         fix="choose the scans that the run was made with, or run again")
    if not np.isfinite(sitk.GetArrayViewFromImage(image)).all():
        raise InputError("A map holds values that are no numbers", code="MRD-E837", fix="run the prediction again")
    return image
