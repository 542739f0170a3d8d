"""How the scene looks when Slicer opens it: overlays in cividis with a threshold and a legend, and three slice views on the tumour."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, Mapping

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.colours import CIVIDIS, OVERLAY_OPACITY, OVERLAY_THRESHOLD, SIGNED
from MRDeltaNetLib.mrml.bootstrap import slicer_module
from MRDeltaNetLib.mrml.nodes import ROLE

COLOUR_NODE_NAME = "MRDeltaNet cividis"
SIGNED_NODE_NAME = "MRDeltaNet blue to orange"

BASE_ROLE = "MRDeltaNet.baseVolume"
"""Node reference from an overlay to the scan that it lies on; it survives loading into a full scene, where ids change."""

BASE_ATTRIBUTE = "MRDeltaNet.base"
"""The same in words: "pre" or "post"."""

TOP_ATTRIBUTE = "MRDeltaNet.scaleTop"
"""End of an overlay's scale, which both scans' maps of one method share."""

TITLE_CHARACTERS = 24
"""A longer title of a legend stands on two lines."""

_VIEWS = (("Red", "Axial", "R", (0.9529, 0.2902, 0.2)), ("Yellow", "Sagittal", "Y", (0.9294, 0.8353, 0.298)),
          ("Green", "Coronal", "G", (0.4314, 0.6902, 0.2941)))
"""Slicer's own three views with their labels and colours; a file that leaves these out turns them grey."""


def cividis_node(scene: Any) -> Any:
    """Our own colour table node: 256 steps, saved with the scene (Slicer's built-in one is not in every build); made if there is none."""
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLColorTableNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLColorTableNode")
        if node.GetAttribute(ROLE) == COLOUR_NODE_NAME and _is_cividis(node):
            return node
    node = scene.AddNewNodeByClass("vtkMRMLColorTableNode", COLOUR_NODE_NAME)
    node.SetTypeToUser()
    node.SetNumberOfColors(len(CIVIDIS))
    node.SetHideFromEditors(False)
    for index, colour in enumerate(CIVIDIS / 255.0):
        node.SetColor(index, str(index), *colour.tolist(), 1.0)
    node.SetAttribute(ROLE, COLOUR_NODE_NAME)
    return node


def signed_node(scene: Any) -> Any:
    """Our colour table for maps with values below 0: blue over clear to orange. Slicer's threshold can hide no middle, so the table's own opacity does."""
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLColorTableNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLColorTableNode")
        if is_signed_table(node):
            return node
    node = scene.AddNewNodeByClass("vtkMRMLColorTableNode", SIGNED_NODE_NAME)
    node.SetTypeToUser()
    node.SetNumberOfColors(len(SIGNED))
    node.SetHideFromEditors(False)
    node.SetAttribute(ROLE, SIGNED_NODE_NAME)
    clear_middle(node, OVERLAY_THRESHOLD)
    return node


def is_signed_table(node: Any) -> bool:
    """Whether a colour node is signed_node's."""
    return node is not None and node.GetAttribute(ROLE) == SIGNED_NODE_NAME and node.GetNumberOfColors() == len(SIGNED)


def is_signed(shown: Any) -> bool:
    """Whether a display node shows a map with a sign."""
    return is_signed_table(shown.GetColorNode())


def clear_middle(node: Any, fraction: float) -> None:
    """Make the colours of values whose size is below this fraction of the top clear.

    raises  ValueError for a fraction beyond 0 to 1
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"a fraction from 0 to 1, not {fraction}")
    last = len(SIGNED) - 1
    for index, colour in enumerate(SIGNED / 255.0):
        node.SetColor(index, str(index), *colour.tolist(), float(abs(2 * index / last - 1) >= fraction))
    node.SetAttribute(f"{ROLE}.clear", f"{fraction:.6g}")


def cleared_middle(node: Any) -> float:
    """What clear_middle was last given."""
    return float(node.GetAttribute(f"{ROLE}.clear") or 0.0)


def lay_over(node: Any, image: sitk.Image, facts: Mapping[str, Any], base: Any, role: str, title: str) -> None:
    """Give a map's volume node the look that its facts ask for: see show_as_overlay.

    facts  signed, scale_top; without them a map from 0 to its own highest value. resolution_mm (x, y, z) is added to the legend's title
    """
    values = sitk.GetArrayViewFromImage(image)
    signed = bool(facts.get("signed"))
    top = float(facts.get("scale_top") or (np.abs(values).max() if signed else values.max()))
    scene = node.GetScene()
    show_as_overlay(node, signed_node(scene) if signed else cividis_node(scene), base, role, title + _resolution(facts), top, signed)


def _resolution(facts: Mapping[str, Any]) -> str:
    """Such as ", 6 mm", or ", 0.75 x 0.75 x 3 mm"; empty where it is not known."""
    sizes = [f"{size:g}" for size in facts.get("resolution_mm") or ()]
    return f", {' x '.join(sizes if len(set(sizes)) > 1 else sizes[:1])} mm" if sizes else ""


def _is_cividis(node: Any) -> bool:
    """Whether nobody has edited the table."""
    if node.GetNumberOfColors() != len(CIVIDIS):
        return False
    rgba = [0.0] * 4
    return all(node.GetColor(index, rgba) and max(abs(255 * a - b) for a, b in zip(rgba, colour)) < 0.6 for index, colour in enumerate(CIVIDIS.tolist()))


def show_as_overlay(node: Any, colours: Any, base: Any, role: str, title: str, top: float, signed: bool = False) -> None:
    """Give a map's volume node its colours, window, threshold and legend, and link it to its scan.

    base   volume node of the scan; role  "pre" or "post"
    title  of the legend; top  the end of the map's scale; signed: it begins at -top, and the colour table itself is clear in the middle
    """
    top = top if top > 0 else 1.0
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(colours.GetID())
    display.AutoWindowLevelOff()
    end = kept_by_files(top)
    display.SetWindowLevelMinMax(-end if signed else 0.0, end)
    if signed:
        display.ApplyThresholdOff()
    else:
        set_threshold(display, OVERLAY_THRESHOLD, top)
    display.SetInterpolate(True)
    node.SetAttribute(TOP_ATTRIBUTE, repr(float(top)))
    node.SetNodeReferenceID(BASE_ROLE, base.GetID())
    node.SetAttribute(BASE_ATTRIBUTE, role)
    legend = slicer_module().vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(node)
    legend.SetTitleText(in_two_lines(title))
    legend.SetLabelFormat("%.2g")
    legend.SetNumberOfLabels(3)
    legend.SetSize(0.12, 0.4)


def in_two_lines(title: str) -> str:
    """A legend's title with its unit on a second line where both are too long for one in a narrow view; once more it changes nothing.

    A scene file gives the line break back as a blank, so this is asked again after reading.
    """
    return title.replace(" (", "\n(", 1) if len(title) > TITLE_CHARACTERS else title


def kept_by_files(top: float) -> float:
    """The end of a scale, rounded up so that window and level come back from a scene file as they were.

    A file keeps six significant digits of both. With five of the end, the window (the end, or twice it) and the level (half of it) have no more, and half
    of the window read back is exactly the level: a scale from 0 begins at 0 and not at -5e-07.
    """
    digits = 5 - 1 - math.floor(math.log10(top))
    return float(Decimal(math.ceil(Decimal(top).scaleb(digits))).scaleb(-digits))


def set_threshold(display: Any, fraction: float, top: float) -> None:
    """Make a volume clear below this fraction of top. Slicer hides nothing below a threshold until applying it is switched on."""
    if not 0 <= fraction <= 1:
        raise ValueError(f"a fraction from 0 to 1, not {fraction}")
    display.ApplyThresholdOn()
    display.SetAutoThreshold(False)
    display.SetThreshold(fraction * top, 10 * top)      # scene files keep six digits: with top itself the highest voxel may vanish


def show_slices(scene: Any, background: Any, foreground: Any | None, point_lps_mm: tuple[float, float, float], extent_mm: float) -> None:
    """Put three linked slice views into the scene: the scan, an overlay, centred on a point."""
    slicer = slicer_module()
    right, anterior, superior = -point_lps_mm[0], -point_lps_mm[1], point_lps_mm[2]
    for name, orientation, label, colour in _VIEWS:
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLScene(scene)
        view = logic.AddSliceNode(name)
        view.SetLayoutLabel(label)
        view.SetLayoutColor(*colour)
        view.SetOrientation(orientation)
        view.SetDimensions(400, 400, 1)
        view.SetFieldOfView(extent_mm, extent_mm, view.GetFieldOfView()[2])
        view.JumpSliceByCentering(right, anterior, superior)
        layers = logic.GetSliceCompositeNode()
        layers.SetBackgroundVolumeID(background.GetID())
        layers.SetLinkedControl(True)
        if foreground is not None:
            layers.SetForegroundVolumeID(foreground.GetID())
            layers.SetForegroundOpacity(OVERLAY_OPACITY)
        logic.SetMRMLScene(None)
