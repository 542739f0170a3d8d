"""Loading a .ui file into stand-ins: unknown classes, wrong properties and wrong connections are failures."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from PySide6 import QtCore, QtUiTools, QtWidgets

from Testing.standins import pythonqt
from Testing.standins.pythonqt import PythonQt

DYNAMIC = {"SlicerParameterName"}
"""Dynamic properties that Slicer reads from a .ui file; any other is a slip of the pen."""
MARGINS = {"leftMargin", "topMargin", "rightMargin", "bottomMargin"}
"""Properties of a layout in a .ui file that Qt's form builder reads itself."""
LAYOUTS = {"QVBoxLayout", "QHBoxLayout", "QGridLayout", "QFormLayout"}
_widgets: dict[str, type] = {}


def register(classes: dict[str, type]) -> None:
    """Make these classes known to .ui files."""
    _widgets.update(classes)


class QUiLoader(QtUiTools.QUiLoader):
    """`qt.QUiLoader().load(file)`: a tree of stand-ins."""

    def __init__(self):
        super().__init__()
        self._unknown: set[str] = set()
        self._kept: list = []

    def createWidget(self, class_name, parent=None, name=""):
        lookup = "QFrame" if class_name == "Line" else class_name
        if lookup not in _widgets:
            self._unknown.add(class_name)
            return QtWidgets.QWidget(parent)
        widget = _widgets[lookup](parent)
        widget.objectName = name
        if class_name == "Line":
            widget.frameShape = QtWidgets.QFrame.HLine
        self._kept.append(widget)
        return widget

    def createLayout(self, class_name, parent=None, name=""):
        if class_name not in LAYOUTS:
            self._unknown.add(class_name)
            return QtWidgets.QVBoxLayout(parent)
        layout = _widgets[class_name](parent) if isinstance(parent, QtWidgets.QWidget) else _widgets[class_name]()
        layout.objectName = name
        self._kept.append(layout)
        return layout

    def createAction(self, parent=None, name=""):
        action = _widgets["QAction"](parent)
        action.objectName = name
        self._kept.append(action)
        return action

    def load(self, file, parent=None):
        """The root widget. `file` is an open QFile.

        raises  ValueError, naming it, for a class without a stand-in, a property that the class was not seen to have, and a connection
                whose signal or slot does not exist
        """
        tree = ElementTree.fromstring(bytes(file.readAll().data()))
        if tree.find("buttongroups") is not None:
            raise ValueError("the .ui file holds button groups, which the stand-ins do not make: build the qt.QButtonGroup in Python")
        connections = _take_connections(tree)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(tree))
        buffer.open(QtCore.QIODevice.ReadOnly)
        pythonqt.loading.append("file")
        try:
            root = super().load(buffer, parent)
        finally:
            pythonqt.loading.clear()
        if self._unknown:
            raise ValueError(f"the .ui file uses classes that no stand-in exists for: {', '.join(sorted(self._unknown))}")
        for widget in self._kept:
            _apply_own_properties(widget)
        named = {widget.objectName: widget for widget in self._kept} | {root.objectName: root}
        for sender, signal, receiver, slot in connections:
            for part in (sender, receiver):
                if part not in named:
                    raise ValueError(f"the .ui file connects '{part}', which it does not hold")
            _connect(named[sender], signal, named[receiver], slot)
        root._state().kept = self._kept
        return root


def _take_connections(tree: ElementTree.Element) -> list[tuple[str, str, str, str]]:
    found = []
    for block in tree.findall("connections"):
        found += [tuple(each.findtext(part) for part in ("sender", "signal", "receiver", "slot")) for each in block.findall("connection")]
        tree.remove(block)
    return found


def _connect(sender: PythonQt, signal: str, receiver: PythonQt, slot: str) -> None:
    if slot not in receiver._contract.slots:
        raise ValueError(f"{receiver._contract.class_name} has no slot '{slot}'")
    sender.connect(signal, getattr(receiver, slot.split("(")[0]))


def _apply_own_properties(widget: PythonQt) -> None:
    """Qt keeps a property that it does not know as a dynamic one: hand those to the stand-in that does know them."""
    for raw in QtCore.QObject.dynamicPropertyNames(widget):
        name = bytes(raw.data()).decode()
        if name.startswith("_q_") or name in DYNAMIC or name in MARGINS and isinstance(widget, QtWidgets.QLayout):
            continue
        if name not in widget._contract.properties:
            raise ValueError(f"the .ui file sets '{name}' of {widget._contract.class_name} '{widget.objectName}', which has no such property")
        setattr(widget, name, QtCore.QObject.property(widget, name))
