"""The two linked slice views, before beside after, and what they show: layers, maps, blend, flicker, checkerboard.

The scene stores a layout's number only, so a file that was saved inside ours would come up grey where the number is not known. While our
layout is shown, layout, views and their layers therefore stay out of saved scenes; and the layout is described when Slicer starts, for scenes
that hold its number all the same. Leaving the panel puts the user's layout back.
"""

from __future__ import annotations

from typing import Any

import qt
import slicer

from MRDeltaNetLib.mrml import comparing
from MRDeltaNetLib.mrml.nodes import ROLE
from MRDeltaNetLib.mrml.sitting.outlining import outlines_of

LAYOUT = 72077
"""The number of our layout; a scene keeps it, so it never changes."""

BEFORE, AFTER = "Before-treatment", "After-treatment"
"""Names of the views; Slicer shows them to the user in Data Probe."""

VIEW_GROUP = 77
"""Linking stays inside this group: Red, Green and Yellow are left alone."""

_VIEW = """<item><view class="vtkMRMLSliceNode" singletontag="{name}">
<property name="orientation" action="default">Axial</property>
<property name="viewlabel" action="default">{label}</property>
<property name="viewcolor" action="default">{colour}</property>
<property name="viewgroup" action="default">{group}</property>
</view></item>"""

LAYOUT_XML = ('<layout type="horizontal" split="true">'
              + _VIEW.format(name=BEFORE, label="B", colour="#4477AA", group=VIEW_GROUP)
              + _VIEW.format(name=AFTER, label="A", colour="#EE7733", group=VIEW_GROUP) + "</layout>")

HIDDEN = "MRDeltaNet.hiddenWithItsScan"
"""Attribute of an outline's display: we hid it, so we show it again."""

FLICKER_MS = 500
"""Each scan is shown so long, milliseconds: slower than three flashes a second."""


def describeLayout() -> None:
    """Make the layout known to this Slicer; to be called when Slicer has started, before a scene is loaded. Harmless without windows."""
    manager = slicer.app.layoutManager()
    node = None if manager is None else manager.layoutLogic().GetLayoutNode()
    if node is not None and not node.IsLayoutDescription(LAYOUT):
        node.AddLayoutDescription(LAYOUT, LAYOUT_XML)
        manager.connect("layoutChanged(int)", lambda number: node.SetSaveWithScene(number != LAYOUT))


def showOutlinesOf(pre: Any, post: Any) -> None:
    """Hide our outlines of scans that are not chosen, or chosen the other way round; they come back with their scans, but not those that
    their reader hid himself.

    pre, post  volume nodes or None
    """
    chosen = [*outlines_of(pre, "pre"), *outlines_of(post, "post")]
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        display = node.GetDisplayNode()
        if display is None or node.GetAttribute(ROLE) is None:
            continue
        if any(node is own for own in chosen):
            if display.GetAttribute(HIDDEN) is not None:
                display.SetVisibility(True)
                display.RemoveAttribute(HIDDEN)
        elif display.GetVisibility():
            display.SetVisibility(False)
            display.SetAttribute(HIDDEN, "1")


class Views:
    """The pair of views. Every method is harmless where Slicer has no windows."""

    def __init__(self) -> None:
        self._earlierLayout: int | None = None
        self._timer = qt.QTimer()
        self._timer.connect("timeout()", self._turnOver)
        self._placed: Any = None

    @property
    def shown(self) -> bool:
        """Whether our layout is on the screen."""
        node = self._layoutNode()
        return node is not None and node.GetViewArrangement() == LAYOUT

    def show(self) -> None:
        """Bring up our two views; the user's own layout is remembered."""
        node = self._layoutNode()
        if node is None:
            return
        if not self.shown:
            describeLayout()
            self._earlierLayout = node.GetViewArrangement()
            slicer.app.layoutManager().setLayout(LAYOUT)
        comparing.keep_out_of_files(node, *self.sliceNodes(), *self.compositeNodes())
        comparing.keep_own_layers(*self.compositeNodes())

    def leave(self) -> None:
        """Give the user's layout back, unless he has chosen another one meanwhile; Slicer's own where a loaded scene had brought ours."""
        self.stopFlicker()
        if self.shown:
            earlier = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView if self._earlierLayout is None else self._earlierLayout
            slicer.app.layoutManager().setLayout(earlier)
        self._earlierLayout = None

    def sliceNodes(self) -> tuple[Any, ...]:
        """The slice nodes of both views, before and after; empty where there are none."""
        return tuple(view.mrmlSliceNode() for view in self._widgets())

    def compositeNodes(self) -> tuple[Any, ...]:
        """The composite nodes of both views, before and after; empty where there are none."""
        return tuple(view.mrmlSliceCompositeNode() for view in self._widgets())

    def place(self, pre: Any, post: Any) -> None:
        """Both scans in their views with their outlines alone, both views along the first scan's axes, linked, on the same slice.

        pre, post  volume nodes or None
        """
        self.stopFlicker()
        nodes = self.sliceNodes()
        if not nodes:
            return
        showOutlinesOf(pre, post)
        for layers, volume in zip(self.compositeNodes(), (pre, post)):
            comparing.show_layers(layers, volume)
        comparing.link(nodes, VIEW_GROUP)
        if (first := pre if pre is not None else post) is not None and first is not self._placed:
            comparing.orient_alike(nodes, first)
            comparing.fit(nodes, first)
        self._placed = first

    def forgetPlace(self) -> None:
        """Turn and fit the views anew when scans are placed next."""
        self._placed = None

    def blend(self, opacity: float) -> None:
        """The second scan over the first one, in the second view.

        opacity  of the second scan, 0 to 1
        """
        self.stopFlicker()
        if composites := self.compositeNodes():
            self._overFirst(composites, opacity)

    def flicker(self) -> None:
        """First and second scan in turns in the second view."""
        if composites := self.compositeNodes():
            self._overFirst(composites, 1.0)
            self._timer.start(FLICKER_MS)

    def stopFlicker(self) -> None:
        """Stand still."""
        self._timer.stop()

    def showOver(self, maps: dict[str, Any], opacity: float) -> None:
        """Lay maps over the scans.

        maps     "pre", "post" -> volume node or None
        opacity  0 to 1
        """
        self.stopFlicker()
        for layers, role in zip(self.compositeNodes(), ("pre", "post")):
            node = maps.get(role)
            layers.SetForegroundVolumeID(None if node is None else node.GetID())
            comparing.blend(layers, opacity)

    def showSquares(self, volume: Any) -> None:
        """The volume of squares in the second view.

        volume  of logic.squares()
        """
        if composites := self.compositeNodes():
            composites[1].SetBackgroundVolumeID(volume.GetID())

    def jump(self, lpsMm: tuple[float, float, float], first: bool = False) -> None:
        """Show the slice through a place, in both views or in the first one alone.

        lpsMm  in the first scan's space, LPS, mm
        """
        if nodes := self.sliceNodes():
            comparing.jump_to(nodes[:1] if first else nodes, lpsMm)

    def meet(self) -> None:
        """Bring the first view to the slice of the second one, after it alone was sent to another."""
        if nodes := self.sliceNodes():
            right, anterior, superior = (nodes[1].GetSliceToRAS().GetElement(row, 3) for row in range(3))
            comparing.jump_to(nodes[:1], (-right, -anterior, superior))

    def _turnOver(self) -> None:
        composites = self.compositeNodes()
        if not composites:
            self.stopFlicker()
            return
        comparing.blend(composites[1], 0.0 if composites[1].GetForegroundOpacity() > 0.5 else 1.0)

    def _overFirst(self, composites: tuple[Any, ...], opacity: float) -> None:
        """The second scan over the first one in the second view. Linked views share their opacity; the first one has nothing over its scan, so
        that nothing changes there."""
        first, second = composites
        comparing.link(self.sliceNodes(), VIEW_GROUP, linked=True)
        after = second.GetForegroundVolumeID() or second.GetBackgroundVolumeID()
        second.SetBackgroundVolumeID(first.GetBackgroundVolumeID())
        second.SetForegroundVolumeID(after)
        comparing.blend(second, opacity)

    def _widgets(self) -> tuple[Any, ...]:
        manager = slicer.app.layoutManager()
        if manager is None or not self.shown:
            return ()
        found = tuple(manager.sliceWidget(name) for name in (BEFORE, AFTER))
        return found if all(view is not None for view in found) else ()

    @staticmethod
    def _layoutNode() -> Any:
        manager = slicer.app.layoutManager()
        return None if manager is None else manager.layoutLogic().GetLayoutNode()
