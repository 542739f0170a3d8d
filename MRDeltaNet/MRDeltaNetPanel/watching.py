"""The panel's part that listens to the scene: nodes that come, change and go, scenes that are closed and read."""

from __future__ import annotations

from typing import Any

import qt
import slicer
import vtk


SCANS, STATEMENTS = ("preVolume", "postVolume"), ("completeResponse", "mrtrg")
"""Parameters: the scans, and what their reader says of them."""


class Watching:
    """Mixed into the module's widget, whose pages, logic and views these are; parameters is None while a scene is closed or read."""

    def _observeScene(self) -> None:
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._sceneStartsClosing)
        self.addObserver(scene, scene.EndCloseEvent, self._sceneChanged)
        self.addObserver(scene, scene.StartImportEvent, self._sceneStartsImport)
        self.addObserver(scene, scene.EndImportEvent, self._sceneImported)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self._nodeLeaves)

    def _sceneStartsClosing(self, caller: Any, event: Any) -> None:
        """Everything of the old scene ends with it: the run, its files, our hold on its nodes."""
        self.walk.stop()
        self._pollTimer.stop()
        for page in self.pages.values():
            page.sceneCloses()
        self.views.forgetPlace()
        self._releaseParameters()
        self.logic.close()

    def _sceneStartsImport(self, caller: Any, event: Any) -> None:
        """A connected selector would empty the references of the parameter node that is being read."""
        self._releaseParameters()

    def _sceneChanged(self, caller: Any, event: Any) -> None:
        if getattr(self.parent, "isEntered", False):
            self._useParameters()
            for page in self.pages.values():
                page.sceneChanged()
            self.refreshSoon()

    def _sceneImported(self, caller: Any, event: Any) -> None:
        """The scene that was read brings its own layout."""
        self._sceneChanged(caller, event)
        qt.QTimer.singleShot(0, self._showViewsAgain)

    def _showViewsAgain(self) -> None:
        if self.parameters is not None and getattr(self.parent, "isEntered", False):
            self._showViews()
            self.pages[self.step].enter()
            self.refresh()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _nodeLeaves(self, caller: Any, event: Any, node: Any) -> None:
        """A selector whose node goes jumps to another one, those of the views too: post would become pre, one scan's outline would be edited as
        the other's, and the linked views would show one scan twice. Let go of the selectors until the node is gone, and then lay the views anew."""
        if self.parameters is None or node is None:
            return
        if self._chosen(node):
            if any(node is scan for scan in (self.parameters.preVolume, self.parameters.postVolume)):
                self.logic.forgetStatements(self.parameters)
            self.pages["tumour"].sceneCloses()
            self._releaseParameters()
            qt.QTimer.singleShot(0, self._useParametersAgain)
        elif node.IsA("vtkMRMLVolumeNode") and self.views.shown:
            qt.QTimer.singleShot(0, self._layViewsAgain)

    def _chosen(self, node: Any) -> bool:
        """Whether the panel rests on a node: the scans, their outlines, the choices themselves."""
        return node is self.parameters.parameterNode or any(getattr(self.parameters, name) is node for name in
                                                            ("preVolume", "postVolume", "preSegmentation", "postSegmentation"))

    def _layViewsAgain(self) -> None:
        if self.parameters is not None:
            self.go(self.step)

    def _useParametersAgain(self) -> None:
        if self.logic is not None and self.parameters is None:
            self._useParameters()
            self.logic.settleOutlines(self.parameters)
            if getattr(self.parent, "isEntered", False):
                self.pages[self.step].enter()
            self.refreshSoon()

    def _useParameters(self) -> None:
        """Take the scene's parameter node and bind every page's widgets to it."""
        self._releaseParameters()
        self.parameters = self.logic.getParameterNode()
        self._tags = [self.parameters.connectGui(page.ui) for page in self.pages.values()]
        self._choices = self.logic.choices(self.parameters)
        self.addObserver(self.parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._parametersModified)
        self._observed = []
        self._observeChosen()

    def _releaseParameters(self) -> None:
        if self.parameters is None:
            return
        for tag in self._tags:
            self.parameters.disconnectGui(tag)
        self.removeObserver(self.parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._parametersModified)
        self._forgetChosen()
        self.parameters, self._tags, self._placed = None, [], None

    def _parametersModified(self, caller: Any, event: Any) -> None:
        """A choice was made. How strongly a map is shown goes straight to its display: no step's state depends on it."""
        (strength, others), self._choices = self._choices, self.logic.choices(self.parameters)
        if others == self._choices[1] and strength != self._choices[0]:
            self.pages["explain"].showStrength()
            return
        if _scansExchanged(others, self._choices[1]):
            self.logic.forgetStatements(self.parameters)
        self._observeChosen()
        self.refreshSoon()

    def _observeChosen(self) -> None:
        """Listen to the nodes that states depend on: outlines while they are drawn (an undo says no more than that a segment was modified),
        scans, the transform, the point."""
        parameters = self.parameters
        moved, drawn = slicer.vtkMRMLTransformableNode.TransformModifiedEvent, slicer.vtkSegmentation
        listened = (((parameters.preSegmentation, parameters.postSegmentation),
                     (drawn.SourceRepresentationModified, drawn.SegmentModified, drawn.SegmentAdded, drawn.SegmentRemoved)),
                    ((parameters.preVolume, parameters.postVolume), (slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent, moved)),
                    ((parameters.alignment,), (moved,)))
        wanted = [(node, event, self.refreshSoon) for nodes, events in listened for node in dict.fromkeys(nodes) if node is not None for event in events]
        if parameters.point is not None:
            wanted += [(parameters.point, event, self._pointPlaced) for event in (slicer.vtkMRMLMarkupsNode.PointPositionDefinedEvent,
                                                                                   slicer.vtkMRMLMarkupsNode.PointEndInteractionEvent)]
        if wanted == self._observed:
            return
        self._forgetChosen()
        for node, event, action in wanted:
            self.addObserver(node, event, action)
        self._observed = wanted

    def _forgetChosen(self) -> None:
        for node, event, action in getattr(self, "_observed", []):
            self.removeObserver(node, event, action)
        self._observed = []

    def _pointPlaced(self, caller: Any, event: Any) -> None:
        self.pages["explain"].pointPlaced()


def _scansExchanged(before: dict[str, str], now: dict[str, str]) -> bool:
    """Whether another scan was chosen in the place of one, without a word about it in the same breath, as a script may say it.

    before, now  of logic.choices, all but the strength of maps
    """
    return (any(before.get(name) and before.get(name) != now.get(name) for name in SCANS)
            and all(before.get(name) == now.get(name) for name in STATEMENTS))
