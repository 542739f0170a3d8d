"""qMRMLTableView and qSlicerMarkupsPlaceWidget."""

from __future__ import annotations

import sys

from PySide6 import QtGui, QtWidgets

from Testing.standins.mrml_widgets import MRMLWidget
from Testing.standins.pythonqt import standin


class _TableView(MRMLWidget):
    """Shows a vtkMRMLTableNode; locked tables cannot be edited."""
    _defaults = {"transposed": False, "firstRowLocked": False, "firstColumnLocked": False}

    def setMRMLTableNode(self, node) -> None:
        own = self._state()
        if getattr(own, "node", None) is not None:
            self._forget(own.node)
        own.node = node
        if node is not None:
            self._observe(node, "ModifiedEvent", lambda *_: self._refill())
        self._refill()

    def mrmlTableNode(self):
        return getattr(self._state(), "node", None)

    def _refill(self) -> None:
        node, own = self.mrmlTableNode(), self._state()
        own.model = QtGui.QStandardItemModel()
        if node is not None:
            columns = range(node.GetNumberOfColumns())
            own.model.setHorizontalHeaderLabels([node.GetColumnName(column) for column in columns])
            for row in range(node.GetNumberOfRows()):
                own.model.appendRow([QtGui.QStandardItem(node.GetCellText(row, column)) for column in columns])
            for item in (own.model.item(row, column) for row in range(own.model.rowCount()) for column in columns):
                item.setEditable(not node.GetLocked())
        QtWidgets.QTableView.setModel(self, own.model)

    def tableModel(self):
        return self._state().model


class _MarkupsPlaceWidget(MRMLWidget):
    """The button that starts and ends placing points."""
    HidePlaceMultipleMarkupsOption, ShowPlaceMultipleMarkupsOption, ForcePlaceSingleMarkup, ForcePlaceMultipleMarkups = range(4)
    _defaults = {"buttonsVisible": True, "deleteAllControlPointsOptionVisible": True, "unsetLastControlPointOptionVisible": False,
                 "unsetAllControlPointsOptionVisible": False, "placeMultipleMarkups": 1, "currentNodeActive": False, "placeModeEnabled": False,
                 "placeModePersistency": False, "deleteAllMarkupsOptionVisible": True}

    def __init__(self, parent=None):
        super().__init__(parent)
        own = self._state()
        own.button, own.node = sys.modules["qt"].QToolButton(), None
        own.button.text, own.button.checkable = "Place a point", True
        own.button.connect("toggled(bool)", self.setPlaceModeEnabled)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(own.button)

    def placeButton(self):
        return self._state().button

    def setCurrentNode(self, node) -> None:
        self._state().node = node

    def currentNode(self):
        return self._state().node

    currentMarkupsNode = currentNode

    def interactionNode(self):
        return sys.modules["slicer"].app.applicationLogic().GetInteractionNode()

    def selectionNode(self):
        return sys.modules["slicer"].app.applicationLogic().GetSelectionNode()

    def _set_placeModeEnabled(self, enabled):
        own = self._state()
        enabled = enabled and own.node is not None
        if enabled == own.values["placeModeEnabled"]:
            return
        own.values["placeModeEnabled"] = enabled
        if enabled:
            self.selectionNode().SetReferenceActivePlaceNodeClassName(own.node.GetClassName())
            self.selectionNode().SetReferenceActivePlaceNodeID(own.node.GetID())
        node = self.interactionNode()
        node.SetCurrentInteractionMode(node.Place if enabled else node.ViewTransform)
        own.button.checked = enabled
        self._fire("activeMarkupsPlaceModeChanged(bool)", enabled)
        self._fire("activeMarkupsFiducialPlaceModeChanged(bool)", enabled)

    def setPlaceModeEnabled(self, enabled: bool) -> None:
        self.placeModeEnabled = enabled


CLASSES = {"qMRMLTableView": standin("qMRMLTableView", QtWidgets.QTableView, _TableView),
           "qSlicerMarkupsPlaceWidget": standin("qSlicerMarkupsPlaceWidget", QtWidgets.QWidget, _MarkupsPlaceWidget)}
