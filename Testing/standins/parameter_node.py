"""`slicer.parameterNodeWrapper`: typed members stored as text and node references in a vtkMRMLScriptedModuleNode."""

from __future__ import annotations

import enum
import functools
import pathlib
import types
import typing
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Callable


@dataclass(frozen=True)
class Default:
    value: Any = None
    generator: Callable | None = None

    def make(self):
        return self.generator() if self.generator else self.value


class Validator:
    """Base of the checks that stand inside Annotated[...]; `validate` raises ValueError."""

    def validate(self, value) -> None:
        raise NotImplementedError


@dataclass
class WithinRange(Validator):
    minimum: float
    maximum: float

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{value} is not within [{self.minimum}, {self.maximum}]")


@dataclass
class Minimum(Validator):
    minimum: float

    def validate(self, value):
        if value < self.minimum:
            raise ValueError(f"{value} is below {self.minimum}")


@dataclass
class Maximum(Validator):
    maximum: float

    def validate(self, value):
        if value > self.maximum:
            raise ValueError(f"{value} is above {self.maximum}")


@dataclass
class Choice(Validator):
    choices: Any

    def validate(self, value):
        if value not in self.choices:
            raise ValueError(f"{value!r} is not one of {self.choices}")


@dataclass
class Exclude(Validator):
    excludedValues: Any

    def validate(self, value):
        if value in self.excludedValues:
            raise ValueError(f"{value!r} is excluded")


@dataclass
class Decimals:
    value: int


@dataclass
class SingleStep:
    value: float


class Stored:
    """One member: how it is read from and written to the node."""

    def __init__(self, name: str, annotation: Any, default: Any = None, has_default: bool = False):
        self.name, self.annotation = name, annotation
        self.kind, extras = (typing.get_args(annotation)[0], list(typing.get_args(annotation)[1:])) if _annotated(annotation) else (annotation, [])
        self.optional = None
        if typing.get_origin(self.kind) in (typing.Union, types.UnionType):
            arguments = typing.get_args(self.kind)
            if len(arguments) != 2 or arguments[1] is not type(None):
                raise TypeError(f"{name}: of unions the stand-in has Optional[X] only")
            self.kind, self.optional = arguments[0], True
        if not self._known():
            raise TypeError(f"{name}: no serializer for {self.kind}")
        self.validators = [each for each in extras if isinstance(each, Validator)]
        inside = next((each for each in extras if isinstance(each, Default)), None)
        self.default = (lambda: default) if has_default else inside.make if inside else lambda: self._natural()

    def _known(self) -> bool:
        return self.is_node or isinstance(self.kind, type) and (
            self.kind in (int, float, str, bool) or issubclass(self.kind, (enum.Enum, pathlib.PurePath)))

    @property
    def is_node(self) -> bool:
        return hasattr(self.kind, "IsTypeOf") and hasattr(self.kind, "SetNodeReferenceID")

    def _natural(self):
        if self.is_node or self.optional:
            return None
        return next(iter(self.kind)) if issubclass(self.kind, enum.Enum) else self.kind()

    def is_in(self, node) -> bool:
        return any(node.HasParameter(each) for each in self._keys())

    def _keys(self) -> tuple[str, ...]:
        """Optional members lie under 'name.0' (a value) or 'name.1' (None); all others under their own name."""
        return (f"{self.name}.0", f"{self.name}.1") if self.optional and not self.is_node else (self.name,)

    def check(self, value) -> None:
        """raises  TypeError for a wrong type; ValueError for None and for what a validator refuses"""
        if value is None and (self.optional or self.is_node):
            return
        if value is None:
            raise ValueError(f"{self.name} must not be None")
        expected = (int, float) if self.kind is float else self.kind
        if not isinstance(value, expected):
            raise TypeError(f"{self.name} must be of type {self.kind}, is {type(value)} '{value}'")
        for each in self.validators:
            each.validate(value)

    def write(self, node, value) -> None:
        self.check(value)
        if self.is_node:
            before = node.StartModify()
            node.SetParameter(self.name, "")
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
            node.EndModify(before)
            return
        key = self._keys()[-1 if value is None else 0]
        before = node.StartModify()
        for other in self._keys():
            if other != key:
                node.UnsetParameter(other)
        node.SetParameter(key, "" if value is None else value.name if isinstance(value, enum.Enum) else str(value))
        node.EndModify(before)

    def read(self, node):
        """raises  ValueError for text that is no member of the Enum any more (trap A5)"""
        if self.is_node:
            return node.GetNodeReference(self.name)
        if self.optional and node.HasParameter(f"{self.name}.1"):
            return None
        text = node.GetParameter(self._keys()[0])
        if issubclass(self.kind, enum.Enum):
            if text not in self.kind.__members__:
                raise ValueError(f"Found {text!r} in parameter node but it is not a name in {self.kind!r}")
            return self.kind[text]
        return text == "True" if self.kind is bool else self.kind(text)


def _annotated(annotation: Any) -> bool:
    return typing.get_origin(annotation) is typing.Annotated


class ParameterNode:
    """What the decorator adds to a class. A name that is not a member can be set without a word (trap A7)."""

    def __init__(self, parameterNode, prefix=None):
        self.parameterNode, self._connected, self._updating, self._values = parameterNode, {}, False, {}
        for name, member in self.allParameters.items():
            if not member.is_in(parameterNode):
                member.write(parameterNode, member.default())
            self._values[name] = member.read(parameterNode)
        self._observe()

    def _observe(self) -> None:
        from weakref import ref
        myself = ref(self)
        self._tag = self.parameterNode.AddObserver("ModifiedEvent", lambda *_: myself() and myself()._reread(), 10.0)

    def _reread(self) -> None:
        self._values = {name: member.read(self.parameterNode) for name, member in self.allParameters.items()}

    def __del__(self):
        if hasattr(self, "_tag"):
            self.parameterNode.RemoveObserver(self._tag)

    def getValue(self, name):
        return self._values[self._checked(name)]

    def setValue(self, name, value):
        self.allParameters[self._checked(name)].write(self.parameterNode, value)

    def default(self, name):
        return Default(self.allParameters[self._checked(name)].default())

    def isCached(self, name):
        return self._checked(name) in self._values

    def dataType(self, name):
        return self.allParameters[self._checked(name)].annotation

    def _checked(self, name):
        if name not in self.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name}")
        return name

    def connectGui(self, gui):
        """Connect every widget that carries the dynamic property SlicerParameterName; `gui` is a widget or what childWidgetVariables gave."""
        from PySide6 import QtCore
        widgets = gui.findChildren() if hasattr(gui, "isWidgetType") else vars(gui).values()
        named = {QtCore.QObject.property(each, "SlicerParameterName"): each for each in widgets if isinstance(each, QtCore.QObject)}
        return self.connectParametersToGui({name: widget for name, widget in named.items() if name})

    def connectParametersToGui(self, mapping):
        from Testing.standins.gui_connectors import connector
        for name in mapping:
            self._checked(name)
        connectors = {name: connector(widget, self.allParameters[name]) for name, widget in mapping.items()}
        tag = len(self._connected)
        for name, each in connectors.items():
            each.write(self.getValue(name))
            each.on_change(functools.partial(self._from_gui, name, each))
        self._connected[tag] = (connectors, self.AddObserver("ModifiedEvent", lambda *_: self._to_gui()))
        return tag

    def disconnectGui(self, tag):
        connectors, observer = self._connected.pop(tag, ({}, None))
        for each in connectors.values():
            each.on_change(None)
        if observer is not None:
            self.RemoveObserver(observer)
            self._connected[tag] = ({}, None)

    def _from_gui(self, name, each):
        if not self._updating:
            self.setValue(name, each.read())

    def _to_gui(self):
        if self._updating:
            return
        self._updating = True
        try:
            for connectors, _ in list(self._connected.values()):
                for name, each in connectors.items():
                    each.write(self.getValue(name))
        finally:
            self._updating = False

    def StartModify(self):
        return self.parameterNode.StartModify()

    def EndModify(self, before):
        return self.parameterNode.EndModify(before)

    def AddObserver(self, event, callback, priority=0.0):
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag):
        self.parameterNode.RemoveObserver(tag)

    def Modified(self):
        self.parameterNode.Modified()


def parameterNodeWrapper(cls=None):
    """Class decorator, with or without parentheses.

    raises  ValueError for a member with a name that the wrapper itself uses; TypeError for a member type that it cannot store
    """
    if cls is None:
        return parameterNodeWrapper
    members = {}
    for name, annotation in typing.get_type_hints(cls, include_extras=True).items():
        if name in vars(ParameterNode) or name == "allParameters":
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
        members[name] = Stored(name, annotation, getattr(cls, name, None), hasattr(cls, name))
        setattr(cls, name, property(lambda self, name=name: self._values[name], lambda self, value, name=name: self.setValue(name, value)))
    cls.allParameters = members
    for name, method in vars(ParameterNode).items():
        if callable(method):
            setattr(cls, name, method)
    return cls


def parameter_node_module() -> ModuleType:
    module = ModuleType("slicer.parameterNodeWrapper")
    for each in (parameterNodeWrapper, Default, Validator, WithinRange, Minimum, Maximum, Choice, Exclude, Decimals, SingleStep):
        setattr(module, each.__name__, each)
    module.__all__ = [name for name in vars(module) if not name.startswith("_")]
    return module
