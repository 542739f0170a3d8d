"""qMRML widgets that follow a real scene: the base, the node selector (with trap A3), the tables."""

from __future__ import annotations

from typing import Any, Callable

from PySide6 import QtWidgets
from vtkmodules.vtkCommonCore import VTK_OBJECT

from Testing.standins.pythonqt import standin

EARLY = 1000.0
"""Observer priority of widgets: they have followed the scene before any script hears of the change."""


class MRMLWidget:
    """A widget that knows a scene. `_observe` is undone when the scene changes or the application ends."""

    def _scene(self):
        return getattr(self._state(), "scene", None)

    def mrmlScene(self):
        return self._scene()

    def setMRMLScene(self, scene) -> None:
        own = self._state()
        if scene is self._scene():
            return
        self._forget()
        own.scene = scene
        if scene is not None:
            _following.append(self)
            self._follow_scene(scene)
        if "mrmlSceneChanged(vtkMRMLScene*)" in self._contract.signals:
            self._fire("mrmlSceneChanged(vtkMRMLScene*)", scene)

    def _follow_scene(self, scene) -> None:
        """What a widget observes of a new scene."""

    def _observe(self, thing: Any, event: Any, callback: Callable) -> None:
        own = self._state()
        own.observed = getattr(own, "observed", [])
        own.observed.append((thing, thing.AddObserver(event, callback, EARLY)))

    def _forget(self, thing: Any = None) -> None:
        own = self._state()
        for observed, tag in getattr(own, "observed", []):
            if thing is None or observed is thing:
                observed.RemoveObserver(tag)
        own.observed = [each for each in getattr(own, "observed", []) if thing is not None and each[0] is not thing]


_following: list[MRMLWidget] = []


def let_go_of_scenes() -> None:
    """End of an application: no widget observes anything any more."""
    for widget in _following:
        widget._forget()
    _following.clear()


def node_observer(function: Callable) -> Callable:
    """An observer that is handed the node, as `@vtk.calldata_type(vtk.VTK_OBJECT)` gives it."""
    function.CallDataType = VTK_OBJECT
    return function


class _NodeComboBox(MRMLWidget):
    """The node selector: an item for every node of its types, in the scene's order.

    It shows Qt's own behaviour when the selected row disappears: another node becomes the current one and is announced (trap A3).
    After an import it announces None before its rows are made anew (A4).
    """
    _defaults = {"nodeTypes": (), "showHidden": False, "showChildNodeTypes": True, "hideChildNodeTypes": (), "baseName": "", "noneEnabled": False,
                 "addEnabled": True, "removeEnabled": True, "editEnabled": False, "renameEnabled": False, "interactionNodeSingletonTag": "",
                 "selectNodeUponCreation": True, "noneDisplay": "None", "sizeAdjustPolicy": QtWidgets.QComboBox.AdjustToContentsOnFirstShow}

    def __init__(self, parent=None):
        super().__init__(parent)
        own = self._state()
        own.box, own.attributes, own.hidden = QtWidgets.QComboBox(), {}, ()
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(own.box)
        own.box.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        own.box.currentIndexChanged.connect(lambda: self._announce())
        own.box.activated.connect(lambda: self._fire("nodeActivated(vtkMRMLNode*)", self.currentNode()))
        self._refill()

    def _follow_scene(self, scene) -> None:
        self._observe(scene, scene.NodeAddedEvent, node_observer(lambda caller, event, node: self._added(node)))
        self._observe(scene, scene.NodeAboutToBeRemovedEvent, node_observer(lambda caller, event, node: self._leaving(node)))
        self._observe(scene, scene.NodeRemovedEvent, node_observer(lambda caller, event, node: self._removed(node)))
        for event in (scene.EndCloseEvent, scene.EndImportEvent):
            self._observe(scene, event, lambda *_: self._made_anew())
        self._refill()

    def _announce(self, *_) -> None:
        node = self.currentNode()
        self._fire("currentNodeChanged(vtkMRMLNode*)", node)
        self._fire("currentNodeChanged(bool)", node is not None)
        self._fire("currentNodeIDChanged(QString)", node.GetID() if node else "")

    def _fits(self, node) -> bool:
        exact, hidden = not self.showChildNodeTypes, node.GetHideFromEditors() and not self.showHidden
        kind = any(node.GetClassName() == each if exact else node.IsA(each) for each in self.nodeTypes)
        unwanted = any(node.IsA(each) for each in self.hideChildNodeTypes)
        wanted = all(node.GetAttribute(name) is not None and (value is None or node.GetAttribute(name) == value)
                     for kind_, (name, value) in self._state().attributes.items() if node.IsA(kind_))
        return kind and wanted and not hidden and not unwanted and node.GetID() not in self._state().hidden

    def _nodes(self) -> list:
        scene = self.mrmlScene()
        return [node for node in (scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())) if self._fits(node)] if scene else []

    def _refill(self) -> None:
        """Rows for what the scene holds now; the selected node stays selected if it is still there, without a word."""
        box, before = self._state().box, self.currentNode()
        box.blockSignals(True)
        box.clear()
        if self.noneEnabled:
            box.addItem(self.noneDisplay, None)
        for node in self._nodes():
            self._append(node)
        index = box.findData(before.GetID()) if before else -1
        if index >= 0:
            box.setCurrentIndex(index)
        box.blockSignals(False)
        if self.currentNode() is not before:
            self._announce()

    def _append(self, node) -> None:
        self._state().box.addItem(node.GetName() or "", node.GetID())
        self._observe(node, "ModifiedEvent", lambda *_: self._renamed(node))

    def _renamed(self, node) -> None:
        box = self._state().box
        index = box.findData(node.GetID())
        if index >= 0 and box.itemText(index) != (node.GetName() or ""):
            box.setItemText(index, node.GetName() or "")
        elif index < 0 and self._fits(node) or index >= 0 and not self._fits(node):
            self._refill()

    def _added(self, node) -> None:
        if self.mrmlScene().IsBatchProcessing() or node is None or not self._fits(node):
            return
        self._append(node)
        self._fire("nodeAdded(vtkMRMLNode*)", node)

    def _leaving(self, node) -> None:
        if self._state().box.findData(node.GetID()) >= 0:
            self._fire("nodeAboutToBeRemoved(vtkMRMLNode*)", node)

    def _removed(self, node) -> None:
        self._forget(node)
        index = self._state().box.findData(node.GetID())
        if index >= 0 and not self.mrmlScene().IsBatchProcessing():
            self._state().box.removeItem(index)

    def _made_anew(self) -> None:
        box = self._state().box
        if self.noneEnabled and box.currentIndex() != 0:
            box.setCurrentIndex(0)
        self._refill()

    def currentNode(self):
        scene, node_id = self.mrmlScene(), self._state().box.currentData()
        return scene.GetNodeByID(node_id) if scene is not None and node_id else None

    def setCurrentNode(self, node) -> None:
        """A node, its ID, or None. A node that the selector does not list leaves it at none."""
        node_id = node if isinstance(node, str) else node.GetID() if node is not None else None
        self._state().box.setCurrentIndex(self._state().box.findData(node_id) if node_id else 0 if self.noneEnabled else -1)

    def _get_currentNodeID(self):
        return self._state().box.currentData() or ""

    _get_currentNodeId = _get_currentNodeID

    def _set_currentNodeID(self, node_id):
        self.setCurrentNode(node_id or None)

    def setCurrentNodeIndex(self, index: int) -> None:
        self._state().box.setCurrentIndex(index + (1 if self.noneEnabled else 0))

    def nodeFromIndex(self, index: int):
        return self._nodes()[index] if 0 <= index < self.nodeCount() else None

    def nodeCount(self) -> int:
        return len(self._nodes())

    def addNode(self, kind: str | None = None):
        """Add a node of the (first) type to the scene, select it, and give it back."""
        kind = kind or self.nodeTypes[0]
        if kind not in self.nodeTypes:
            return None
        scene = self.mrmlScene()
        base = self.baseName or scene.GetTagByClassName(kind) or kind
        node = scene.AddNewNodeByClass(kind, scene.GenerateUniqueName(base))
        for attributed, (name, value) in self._state().attributes.items():
            if node.IsA(attributed):
                node.SetAttribute(name, value or "")
        self._refill()
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self._fire("nodeAddedByUser(vtkMRMLNode*)", node)
        return node

    def removeCurrentNode(self) -> None:
        if self.currentNode():
            self.mrmlScene().RemoveNode(self.currentNode())

    def addAttribute(self, kind: str, name: str, value=None) -> None:
        """List only nodes that have this attribute. One attribute a type: another one takes its place; a type that is not listed is passed over."""
        if kind in self.nodeTypes:
            self._state().attributes[kind] = (name, None if value is None else str(value))
            self._refill()

    def removeAttribute(self, kind: str, name: str) -> None:
        if self._state().attributes.get(kind, ("",))[0] == name:
            del self._state().attributes[kind]
            self._refill()

    def sortFilterProxyModel(self) -> "_FilterModel":
        return _FilterModel(self)


class _FilterModel:
    """What a node selector's filter answers: `hiddenNodeIDs`, written as a list and read as a tuple."""
    __slots__ = ("_box",)

    def __init__(self, box: _NodeComboBox):
        self._box = box

    @property
    def hiddenNodeIDs(self) -> tuple[str, ...]:
        return self._box._state().hidden

    @hiddenNodeIDs.setter
    def hiddenNodeIDs(self, ids) -> None:
        self._box._state().hidden = tuple(str(each) for each in ids)
        self._box._refill()


def _refilling(name: str) -> Callable:
    def write(self, value):
        self._state().values[name] = tuple(value) if isinstance(value, list) else value
        self._refill()
    return write


for _name in ("nodeTypes", "showHidden", "showChildNodeTypes", "hideChildNodeTypes", "noneEnabled", "noneDisplay"):
    setattr(_NodeComboBox, f"_set_{_name}", _refilling(_name))

CLASSES = {"qMRMLWidget": standin("qMRMLWidget", QtWidgets.QWidget, MRMLWidget),
           "qSlicerWidget": standin("qSlicerWidget", QtWidgets.QWidget, MRMLWidget),
           "qMRMLNodeComboBox": standin("qMRMLNodeComboBox", QtWidgets.QWidget, _NodeComboBox)}
