"""Which widgets a parameter of which type can be bound to, and how it is read and written."""

from __future__ import annotations

import enum
import pathlib
from typing import Any, Callable

from Testing.standins.parameter_node import Choice, Decimals, Maximum, Minimum, SingleStep, Stored, WithinRange


class Connector:
    """A widget's property and the signal that says it changed."""

    def __init__(self, widget: Any, property_name: str, signal: str | None, made_of: Callable = lambda value: value,
                 shown: Callable = lambda value: value):
        self.widget, self.property, self.signal, self.made_of, self.shown = widget, property_name, signal, made_of, shown
        self._callback = None

    def read(self):
        return self.made_of(getattr(self.widget, self.property))

    def write(self, value) -> None:
        value = self.shown(value)
        if getattr(self.widget, self.property) != value:
            setattr(self.widget, self.property, value)

    def on_change(self, callback: Callable | None) -> None:
        if self._callback and self.signal:
            self.widget.disconnect(self.signal, self._callback)
        self._callback = callback
        if callback and self.signal:
            self.widget.connect(self.signal, callback)


class NodeConnector(Connector):
    def __init__(self, widget, member: Stored):
        super().__init__(widget, "currentNode", "currentNodeChanged(vtkMRMLNode*)")
        widget.nodeTypes = [member.kind.__name__]

    def read(self):
        return self.widget.currentNode()

    def write(self, value):
        self.widget.setCurrentNode(value)


class ItemsConnector(Connector):
    """A combo box that is emptied and filled: with an Enum's labels, or with the values of a Choice."""

    def __init__(self, widget, values: list, labels: list[str]):
        super().__init__(widget, "currentIndex", "currentIndexChanged(int)", lambda index: values[index], values.index)
        before = widget.currentIndex
        widget.clear()
        for label in labels:
            widget.addItem(label)
        widget.currentIndex = max(before, 0)


def _numbers(widget, member: Stored) -> Connector:
    bounds = {type(each): each for each in member.validators}
    within, low, high = bounds.get(WithinRange), bounds.get(Minimum), bounds.get(Maximum)
    if member.kind is int and type(widget).__name__ == "QSlider" and not (within or low and high):
        raise RuntimeError("Cannot have a connection to QSlider where the int type is unbounded.")
    if within or low:
        widget.minimum = (within or low).minimum
    if within or high:
        widget.maximum = (within or high).maximum
    for extra, name in ((Decimals, "decimals"), (SingleStep, "singleStep")):
        found = next((each for each in getattr(member.annotation, "__metadata__", ()) if isinstance(each, extra)), None)
        if found:
            setattr(widget, name, found.value)
    signal = "valueChanged(int)" if "valueChanged(int)" in widget._contract.signals else "valueChanged(double)"
    return Connector(widget, "value", signal, member.kind)


def _enumeration(widget, member: Stored) -> Connector:
    label = getattr(member.kind, "label", lambda each: each.name)
    return ItemsConnector(widget, list(member.kind), [label(each) for each in member.kind])


def _choices(widget, member: Stored) -> Connector:
    choice = next((each for each in member.validators if isinstance(each, Choice)), None)
    if choice is None:
        raise RuntimeError(f"'{member.name}' needs a Choice to be bound to a combo box")
    return ItemsConnector(widget, list(choice.choices), [str(each) for each in choice.choices])


def connector(widget: Any, member: Stored) -> Connector:
    """How this widget shows that member. The widget's class must match exactly: a subclass is refused, as in Slicer.

    raises  RuntimeError if there is no way
    """
    name, kind = type(widget).__name__, member.kind
    if name == "qMRMLNodeComboBox" and member.is_node:
        return NodeConnector(widget, member)
    if isinstance(kind, type) and not member.is_node:
        if issubclass(kind, enum.Enum) and name in ("QComboBox", "ctkComboBox"):
            return _enumeration(widget, member)
        if issubclass(kind, pathlib.PurePath) and name in ("ctkPathLineEdit", "ctkDirectoryButton"):
            place = ("currentPath", "currentPathChanged(QString)") if name == "ctkPathLineEdit" else ("directory", "directoryChanged(QString)")
            return Connector(widget, *place, kind, str)
        if kind is bool and (name in ("QCheckBox", "ctkCheckBox") or name == "QPushButton" and widget.checkable):
            return Connector(widget, "checked", "toggled(bool)")
        if kind is int and name in ("QSlider", "QSpinBox") or kind in (int, float) and name in (
                "QDoubleSpinBox", "ctkSliderWidget", "ctkDoubleSlider", "ctkDoubleSpinBox"):
            return _numbers(widget, member)
        if kind is str and name == "QLineEdit":
            return Connector(widget, "text", "textChanged(QString)")
        if kind is str and name == "QTextEdit":
            return Connector(widget, "plainText", "textChanged()")
        if kind is str and name == "QLabel":
            return Connector(widget, "text", None)
        if kind in (str, int, float) and name in ("QComboBox", "ctkComboBox"):
            return _choices(widget, member)
    raise RuntimeError(f"Unable to create GUI connector from datatype '{member.annotation}' to widget type '{type(widget)}'.")
