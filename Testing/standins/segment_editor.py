"""qMRMLSegmentEditorWidget around the real segment editor logic, and the table of segments."""

from __future__ import annotations

import math
import sys
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from Testing.standins.measured import contract
from Testing.standins.mrml_widgets import CLASSES as SELECTORS
from Testing.standins.mrml_widgets import MRMLWidget
from Testing.standins.pythonqt import standin

EFFECTS = ("Threshold", "Paint", "Draw", "Erase", "Level tracing", "Grow from seeds", "Fill between slices", "Margin", "Hollow", "Smoothing",
           "Scissors", "Islands", "Logical operators", "Mask volume")
"""The built-in effects, in the order in which their buttons stand."""

MEASURED_SIZE, MEASURED_COLUMNS, MEASURED_ROWS = (381, 419), 2, 8
"""The least size of a real editor with all its effects, pixels: 15 buttons with icons alone, in two columns."""
BUTTON_PX = 24
"""What a row or a column of buttons takes at least; not measured. Icons of 16 pixels in Qt's own styles take 24."""


class Effect:
    """What `activeEffect()` gives: a name and parameters."""

    def __init__(self, name: str, node: Any):
        self.name = self.title = name
        self._node = node

    def parameter(self, name: str) -> str:
        return self._node.GetAttribute(f"{self.name}.{name}") or ""

    def setParameter(self, name: str, value: Any) -> None:
        self._node.SetAttribute(f"{self.name}.{name}", str(value))


assert all(name in contract("qSlicerSegmentEditorAbstractEffect").names for name in ("parameter", "setParameter"))


class _SegmentsTableView(MRMLWidget):
    _defaults = {"selectionMode": 3, "headerVisible": True, "visibilityColumnVisible": True, "colorColumnVisible": True, "opacityColumnVisible": True,
                 "statusColumnVisible": False, "layerColumnVisible": False, "readOnly": False, "filterBarVisible": False, "textFilter": "",
                 "jumpToSelectedSegmentEnabled": False, "useTerminologySelector": True}

    def __init__(self, parent=None):
        super().__init__(parent)
        own = self._state()
        own.table, own.node = QtWidgets.QTableWidget(0, 2), None
        own.table.setHorizontalHeaderLabels(["", "Name"])
        own.table.verticalHeader().hide()
        own.table.horizontalHeader().setStretchLastSection(True)
        own.table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectRows)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(own.table)
        own.table.itemSelectionChanged.connect(lambda: self._fire(
            "selectionChanged(QItemSelection,QItemSelection)", QtCore.QItemSelection(), QtCore.QItemSelection()))

    def setSegmentationNode(self, node) -> None:
        own = self._state()
        if own.node is not None:
            self._forget(own.node)
        own.node = node
        if node is not None:
            for event in (node.GetContentModifiedEvents().GetValue(index) for index in range(node.GetContentModifiedEvents().GetNumberOfValues())):
                self._observe(node, event, lambda *_: self._refill())
        self._refill()

    def segmentationNode(self):
        return self._state().node

    def _ids(self) -> tuple[str, ...]:
        node = self._state().node
        return tuple(node.GetSegmentation().GetSegmentIDs()) if node is not None else ()

    def _refill(self) -> None:
        table, selected = self._state().table, self.selectedSegmentIDs()
        table.blockSignals(True)
        table.setRowCount(0)
        for row, segment_id in enumerate(self._ids()):
            segment = self._state().node.GetSegmentation().GetSegment(segment_id)
            table.insertRow(row)
            colour, name = QtWidgets.QTableWidgetItem(""), QtWidgets.QTableWidgetItem(segment.GetName())
            colour.setBackground(QtGui.QColor.fromRgbF(*segment.GetColor()))
            name.setData(QtCore.Qt.UserRole, segment_id)
            table.setItem(row, 0, colour)
            table.setItem(row, 1, name)
        table.blockSignals(False)
        self.setSelectedSegmentIDs(selected)

    def _get_segmentCount(self):
        return len(self._ids())

    def segmentIDForRow(self, row: int) -> str:
        return self._ids()[row]

    def rowForSegmentID(self, segment_id: str) -> int:
        return self._ids().index(segment_id) if segment_id in self._ids() else -1

    def selectedSegmentIDs(self) -> tuple[str, ...]:
        table = self._state().table
        return tuple(table.item(row, 1).data(QtCore.Qt.UserRole) for row in sorted({each.row() for each in table.selectedItems()}))

    def setSelectedSegmentIDs(self, ids) -> None:
        table = self._state().table
        if tuple(ids) == self.selectedSegmentIDs():
            return
        table.clearSelection()
        for segment_id in ids:
            if self.rowForSegmentID(segment_id) >= 0:
                table.selectRow(self.rowForSegmentID(segment_id))

    def clearSelection(self) -> None:
        self._state().table.clearSelection()


class _SegmentEditorWidget(MRMLWidget):
    """Stricter than Slicer: setMRMLScene before setMRMLSegmentEditorNode raises. With autoShowSourceVolumeNode left on, a change of the source
    volume takes over every slice view (trap A8). The effects cannot be used with the mouse; undo and redo are the real logic's."""
    _defaults = {"segmentationNodeSelectorVisible": True, "sourceVolumeNodeSelectorVisible": True, "maskingSectionVisible": True,
                 "specifyGeometryButtonVisible": True, "show3DButtonVisible": True, "addRemoveSegmentButtonsVisible": True,
                 "autoShowSourceVolumeNode": True, "switchToSegmentationsButtonVisible": True, "undoEnabled": True, "maximumNumberOfUndoStates": 10,
                 "readOnly": False, "effectButtonStyle": QtCore.Qt.ToolButtonIconOnly, "effectColumnCount": 2, "unorderedEffectsVisible": True,
                 "defaultTerminologyEntrySettingsKey": "", "defaultTerminologyEntry": "", "jumpToSelectedSegmentEnabled": False}

    def __init__(self, parent=None):
        super().__init__(parent)
        slicer, own = sys.modules["slicer"], self._state()
        own.logic, own.editor, own.order, own.shortcuts, own.views_observed, own.told = slicer.vtkSlicerSegmentEditorLogic(), None, (), 0, False, {}
        own.segmentation, own.source = SELECTORS["qMRMLNodeComboBox"](), SELECTORS["qMRMLNodeComboBox"]()
        for box, kind in ((own.segmentation, "vtkMRMLSegmentationNode"), (own.source, "vtkMRMLScalarVolumeNode")):
            box.noneEnabled, box.nodeTypes = True, [kind]
        own.table = CLASSES["qMRMLSegmentsTableView"]()
        self._arrange()
        own.segmentation.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: self._chosen(self.setSegmentationNode, node))
        own.source.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: self._chosen(self.setSourceVolumeNode, node))
        own.table.connect("selectionChanged(QItemSelection,QItemSelection)", lambda *_: self._segment_chosen())

    def _arrange(self) -> None:
        own, column = self._state(), QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        form, buttons = QtWidgets.QFormLayout(), QtWidgets.QHBoxLayout()
        own.segmentation_label, own.source_label = QtWidgets.QLabel("Segmentation:"), QtWidgets.QLabel("Source volume:")
        form.addRow(own.segmentation_label, own.segmentation)
        form.addRow(own.source_label, own.source)
        own.add, own.remove, own.show_3d = (QtWidgets.QPushButton(text) for text in ("Add", "Remove", "Show 3D"))
        own.add.clicked.connect(lambda: own.logic.AddEmptySegment())
        own.remove.clicked.connect(lambda: own.logic.RemoveSelectedSegment())
        for button in (own.add, own.remove, own.show_3d):
            buttons.addWidget(button)
        own.effect_area, own.undo, own.redo = QtWidgets.QWidget(), QtWidgets.QPushButton("Undo"), QtWidgets.QPushButton("Redo")
        QtWidgets.QGridLayout(own.effect_area).setContentsMargins(0, 0, 0, 0)
        own.undo.clicked.connect(lambda: self.undo())
        own.redo.clicked.connect(lambda: self.redo())
        own.masking, history = QtWidgets.QGroupBox("Masking"), QtWidgets.QHBoxLayout()
        for part in (own.undo, own.redo):
            history.addWidget(part)
        column.addLayout(form)
        column.addLayout(buttons)
        column.addWidget(own.table)
        column.addWidget(own.effect_area)
        column.addLayout(history)
        column.addWidget(own.masking)
        self._show_effects()

    def _show_effects(self) -> None:
        """Buttons keep the built-in order whatever the list's order is; others are shown only if unorderedEffectsVisible."""
        own = self._state()
        self._take_room()
        grid = own.effect_area.layout()
        while grid.count():
            gone = grid.takeAt(0).widget()
            gone.setParent(None)
            gone.deleteLater()
        own.effects = {}
        for place, name in enumerate(self.availableEffectNames()):
            button = own.effects[name] = QtWidgets.QToolButton()
            button.setText(name)
            button.setCheckable(True)
            button.clicked.connect(lambda checked, name=name: self.setActiveEffectByName(name if checked else ""))
            grid.addWidget(button, place // 5, place % 5)

    def _take_room(self) -> None:
        """No less than the real one takes: its buttons, with the arrow that ends an effect, stand in columns at the left and set its height."""
        rows = math.ceil((len(self.availableEffectNames()) + 1) / self.effectColumnCount)
        self.setMinimumSize(MEASURED_SIZE[0] + (self.effectColumnCount - MEASURED_COLUMNS) * BUTTON_PX,
                            MEASURED_SIZE[1] - max(0, MEASURED_ROWS - rows) * BUTTON_PX)

    def availableEffectNames(self) -> tuple[str, ...]:
        return tuple(name for name in EFFECTS if self.unorderedEffectsVisible or name in self._state().order)

    def effectNameOrder(self) -> tuple[str, ...]:
        return self._state().order

    def setEffectNameOrder(self, names) -> None:
        """raises  ValueError for an effect that does not exist"""
        unknown = [name for name in names if name not in EFFECTS]
        if unknown:
            raise ValueError(f"no such segment editor effect: {', '.join(unknown)}; there are {', '.join(EFFECTS)}")
        self._state().order = tuple(names)
        self._show_effects()

    def _set_effectColumnCount(self, count):
        self._state().values["effectColumnCount"] = count
        self._show_effects()

    def _set_unorderedEffectsVisible(self, visible):
        self._state().values["unorderedEffectsVisible"] = visible
        self._show_effects()

    def setMRMLSegmentEditorNode(self, node) -> None:
        own = self._state()
        if own.editor is not None:
            self._forget(own.editor)
        own.editor = node
        own.logic.SetSegmentEditorNode(node)
        if node is not None:
            self._observe(node, "ModifiedEvent", lambda *_: self.updateWidgetFromMRML())
        self.updateWidgetFromMRML()

    def mrmlSegmentEditorNode(self):
        return self._state().editor

    def setMRMLScene(self, scene) -> None:
        own = self._state()
        if scene is not None and own.editor is None:
            raise RuntimeError("setMRMLSegmentEditorNode comes before setMRMLScene: an editor without its node changes the scene by itself")
        own.logic.SetMRMLApplicationLogic(sys.modules["slicer"].app.applicationLogic())
        own.logic.SetMRMLScene(scene)
        MRMLWidget.setMRMLScene(self, scene)
        for part in (own.segmentation, own.source, own.table):
            part.blockSignals(True)
            part.setMRMLScene(scene)
            part.blockSignals(False)
        if scene is not None:
            self._observe(own.editor, "ModifiedEvent", lambda *_: self.updateWidgetFromMRML())
        self.updateWidgetFromMRML()

    def _chosen(self, setter, node) -> None:
        if self.mrmlScene() is not None and not self.mrmlScene().IsBatchProcessing():
            setter(node)

    def _segment_chosen(self) -> None:
        ids = self._state().table.selectedSegmentIDs()
        if ids and ids[0] != self.currentSegmentID():
            self.setCurrentSegmentID(ids[0])

    def updateWidgetFromMRML(self) -> None:
        """Show what the editor's node says, and send the signals of what changed."""
        own = self._state()
        now = {"segmentation": self.segmentationNode(), "source": self.sourceVolumeNode(), "segment": self.currentSegmentID()}
        before, own.told = own.told, now
        for box, node in ((own.segmentation, now["segmentation"]), (own.source, now["source"])):
            box.blockSignals(True)
            box.setCurrentNode(node)
            box.blockSignals(False)
        if before.get("segmentation") is not now["segmentation"]:
            own.table.setSegmentationNode(now["segmentation"])
            if now["segmentation"] is None:
                self.setActiveEffect(None)
            self._fire("segmentationNodeChanged(vtkMRMLSegmentationNode*)", now["segmentation"])
        if before.get("source") is not now["source"]:
            if now["source"] is not None and self.autoShowSourceVolumeNode:
                self.showSourceVolumeInSliceViewers()
            self._fire("sourceVolumeNodeChanged(vtkMRMLVolumeNode*)", now["source"])
        if (before.get("segment") or "") != now["segment"]:
            own.table.setSelectedSegmentIDs([now["segment"]] if now["segment"] else [])
            self._fire("currentSegmentIDChanged(QString)", now["segment"])
        active = own.editor.GetActiveEffectName() if own.editor is not None else None
        for name, button in own.effects.items():
            button.setChecked(name == active)
            button.setEnabled(now["segmentation"] is not None and now["source"] is not None)
        own.undo.setEnabled(bool(own.logic.CanUndo()))
        own.redo.setEnabled(bool(own.logic.CanRedo()))

    def showSourceVolumeInSliceViewers(self, background: bool = False, fit: bool = False) -> None:
        """The source volume as background of every view that does not show it yet; foreground and label are taken away."""
        manager, source = sys.modules["slicer"].app.layoutManager(), self.sourceVolumeNode()
        for name in manager.sliceViewNames() if manager is not None and source is not None else ():
            composite = manager.sliceWidget(name).mrmlSliceCompositeNode()
            if background or source.GetID() not in (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID()):
                composite.SetBackgroundVolumeID(source.GetID())
                composite.SetForegroundVolumeID(None)
                composite.SetLabelVolumeID(None)

    def segmentationNode(self):
        return self._state().editor.GetSegmentationNode() if self._state().editor is not None else None

    def sourceVolumeNode(self):
        return self._state().editor.GetSourceVolumeNode() if self._state().editor is not None else None

    def setSegmentationNode(self, node) -> None:
        if node is self.segmentationNode():
            return
        logic = self._state().logic
        logic.SetSegmentationNode(node)
        logic.SetSourceVolumeNode(node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) if node is not None else None)
        self.setActiveEffect(None)
        self.updateWidgetFromMRML()

    def setSourceVolumeNode(self, node) -> None:
        self._state().logic.SetSourceVolumeNode(node)
        self.updateWidgetFromMRML()

    def currentSegmentID(self) -> str:
        return (self._state().editor.GetSelectedSegmentID() if self._state().editor is not None else None) or ""

    def setCurrentSegmentID(self, segment_id: str) -> None:
        self._state().logic.SetCurrentSegmentID(segment_id)
        self.updateWidgetFromMRML()

    def activeEffect(self):
        editor = self._state().editor
        return Effect(editor.GetActiveEffectName(), editor) if editor is not None and editor.GetActiveEffectName() else None

    def setActiveEffect(self, effect) -> None:
        if self._state().editor is not None:
            self._state().editor.SetActiveEffectName(effect.name if effect is not None else None)

    def setActiveEffectByName(self, name: str) -> None:
        self.setActiveEffect(self.effectByName(name))

    def effectByName(self, name: str):
        return Effect(name, self._state().editor) if name in EFFECTS else None

    def effectCount(self) -> int:
        return len(EFFECTS)

    def saveStateForUndo(self) -> None:
        self._state().logic.SaveStateForUndo()

    def undo(self) -> None:
        self._state().logic.Undo()

    def redo(self) -> None:
        self._state().logic.Redo()

    def setMaximumNumberOfUndoStates(self, count: int) -> None:
        self._state().values["maximumNumberOfUndoStates"] = count
        self._state().logic.SetMaximumNumberOfUndoStates(count)

    def installKeyboardShortcuts(self, widget=None) -> None:
        """Twice adds nothing."""
        self._state().shortcuts = 41

    def uninstallKeyboardShortcuts(self) -> None:
        self._state().shortcuts = 0

    def setupViewObservations(self) -> None:
        self._state().views_observed = True

    def removeViewObservations(self) -> None:
        self._state().views_observed = False

    def updateEffectList(self) -> None:
        self._show_effects()

    def rotateSliceViewsToSegmentation(self) -> None:
        manager = sys.modules["slicer"].app.layoutManager()
        for name in manager.sliceViewNames() if manager is not None and self.sourceVolumeNode() is not None else ():
            manager.sliceWidget(name).mrmlSliceNode().RotateToVolumePlane(self.sourceVolumeNode())


def _showing(name: str, *parts: str):
    def write(self, visible):
        self._state().values[name] = visible
        for part in parts:
            getattr(self._state(), part).setVisible(visible)
    return write


for _name, _parts in {"segmentationNodeSelectorVisible": ("segmentation", "segmentation_label"),
                      "sourceVolumeNodeSelectorVisible": ("source", "source_label"), "addRemoveSegmentButtonsVisible": ("add", "remove"),
                      "show3DButtonVisible": ("show_3d",), "maskingSectionVisible": ("masking",), "undoEnabled": ("undo", "redo")}.items():
    setattr(_SegmentEditorWidget, f"_set_{_name}", _showing(_name, *_parts))

EffectFactory = standin("qSlicerSegmentEditorEffectFactory", QtCore.QObject)
"""The application has one; `instance()` gives it."""

CLASSES = {"qMRMLSegmentsTableView": standin("qMRMLSegmentsTableView", QtWidgets.QWidget, _SegmentsTableView),
           "qMRMLSegmentEditorWidget": standin("qMRMLSegmentEditorWidget", QtWidgets.QWidget, _SegmentEditorWidget)}
