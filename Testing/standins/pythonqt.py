"""Qt objects that behave in Python as they do inside Slicer (PythonQt), on top of PySide6: stricter where PythonQt is silent."""

from __future__ import annotations

import inspect
import re
import sys
from types import SimpleNamespace
from typing import Any, Callable

from PySide6 import QtCore
from shiboken6 import isValid

from Testing.standins.measured import RESERVED, Contract, contract

CONVERTED: dict[str, Callable[[Any], Any]] = {"QString": str, "int": int, "double": float, "bool": bool,
                                              "QStringList": lambda value: [str(each) for each in value]}
"""Values of these property types are converted without a word, as PythonQt does (None becomes 'None', 3.7 becomes 3)."""


class Recorder:
    """What went wrong inside slots, timers and observers while one stand-in application was alive."""

    def __init__(self):
        self.errors: list[BaseException] = []
        self.alive = True


current = Recorder()


def begin_recording() -> Recorder:
    """A fresh recorder for a new application; callbacks of the one before fall silent."""
    global current
    current.alive = False
    current = Recorder()
    return current


def guarded(function: Callable) -> Callable:
    """The callback as a signal calls it: with as many arguments as it takes; errors are recorded; silent after its application has ended."""
    recorder, limit = current, _positional(function)

    def call(*arguments):
        if not recorder.alive:
            return None
        try:
            return function(*arguments[:limit])
        except Exception:
            sys.excepthook(*sys.exc_info())

    return call


def _positional(function: Callable) -> int | None:
    """How many positional arguments a callable takes; None: any number."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(each.kind is each.VAR_POSITIONAL for each in parameters):
        return None
    return sum(each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD) for each in parameters)


def normalised(signature: str) -> str:
    """A signature as Qt's meta-object spells it: 'clicked( const bool& )' -> 'clicked(bool)'."""
    return re.sub(r"\bconst\b|&|\s", "", signature)


class SignalHandle:
    """`widget.clicked`: connect, disconnect; calling it emits."""

    def __init__(self, owner: "PythonQt", name: str):
        self._owner, self._name = owner, name

    def _signature(self) -> str:
        """Of several signals with this name the one with most arguments, which is what a callback of any length can use."""
        found = [each for each in self._owner._contract.signals if each.split("(")[0] == self._name and self._owner._emits(each)]
        return max(found, key=lambda each: (len(each.split(",")) if "()" not in each else 0, each))

    def connect(self, function: Callable) -> bool:
        return self._owner.connect(self._signature(), function)

    def disconnect(self, function: Callable) -> bool:
        return self._owner.disconnect(self._signature(), function)

    def __call__(self, *arguments) -> None:
        self._owner._fire(self._signature(), *arguments)


class ClassOfQt(type(QtCore.QObject)):
    """isinstance(button, qt.QWidget) holds although the stand-ins derive from PySide's classes and not from each other."""

    def __instancecheck__(cls, instance):
        base = cls.__dict__.get("_qt_class")
        return isinstance(instance, base) if base and not cls.__dict__.get("_own_class") else type.__instancecheck__(cls, instance)


loading: list[str] = []
"""Holds something while a .ui file is being loaded."""
_being_read: set[tuple[int, str]] = set()


class PythonQt:
    """Mixed in before a PySide6 class. The attributes that may be read, set and connected are those of the class's contract.

    A stand-in's own state lives in `self._own`. A property that PySide6's class does not have is kept there, with its default from
    `_defaults`; `_get_<name>` and `_set_<name>` of the class give it a meaning.
    """

    _contract: Contract
    _defaults: dict[str, Any] = {}

    def __getattribute__(self, name):
        get = super().__getattribute__
        if name.startswith("_"):
            return get(name)
        terms = get("_contract")
        if not isValid(self):
            raise ValueError(f"Trying to call '{name}' on a destroyed {terms.class_name} object")
        if name == "name":
            name = "objectName"
        if name == "connect":                     # PySide6 answers this name itself before any class does
            return get("_connect")
        if name in terms.properties:
            return get("_read")(name)
        if not terms.answers(name):
            if get("_is_subclass")():
                return get(name)
            raise AttributeError(f"{terms.class_name} has no attribute named '{name}'")
        if any(each.startswith(name + "(") for each in terms.signals):
            return SignalHandle(self, name)
        return get("_method")(RESERVED.get(name, name))

    def __setattr__(self, name, value):
        if loading and isinstance(value, QtCore.QObject):      # PySide6's loader names the children on the root; PythonQt's does not
            return
        name = "objectName" if name == "name" else name
        kind, writable = self._contract.properties.get(name, ("", False))
        if writable:
            self._write(name, CONVERTED.get(kind, lambda same: same)(value))
        elif self._is_subclass() or name == "_own":
            super().__setattr__(name, value)
        else:
            raise AttributeError(f"'{name}' does not exist on {self._contract.class_name} and creating new attributes on C++ objects is not allowed")

    def _is_subclass(self) -> bool:
        """Whether a script derived the class itself; its instances may have attributes of their own."""
        return "_contract" not in type(self).__dict__

    def _state(self) -> SimpleNamespace:
        """The stand-in's own state, made at first use."""
        if "_own" not in self.__dict__:
            self._own = SimpleNamespace(values=dict(type(self)._defaults), connections={})
        return self._own

    def _in_qt(self, name: str) -> bool:
        return QtCore.QObject.metaObject(self).indexOfProperty(name) >= 0

    def _read(self, name):
        own = getattr(type(self), f"_get_{name}", None)
        if own:
            return own(self)
        if name in self._state().values:
            return self._state().values[name]
        if self._in_qt(name):
            return self._read_from_qt(name)
        raise AttributeError(f"{self._contract.class_name}.{name} was measured, but this stand-in does not have it: add it, or do without")

    def _read_from_qt(self, name):
        """A virtual property such as sizeHint makes PySide6 ask back for a Python override while it is being read: it gets the method."""
        asked = (id(self), name)
        if asked in _being_read:
            return super().__getattribute__(name)
        _being_read.add(asked)
        try:
            return QtCore.QObject.property(self, name)
        finally:
            _being_read.discard(asked)

    def _write(self, name, value):
        own = getattr(type(self), f"_set_{name}", None)
        if own:
            own(self, value)
        elif name in self._state().values:
            self._state().values[name] = value
        elif not self._in_qt(name):
            raise AttributeError(f"{self._contract.class_name}.{name} was measured, but this stand-in does not have it: add it, or do without")
        elif not QtCore.QObject.setProperty(self, name, value):
            raise TypeError(f"{self._contract.class_name}.{name} cannot be set to {value!r}")

    def _method(self, name):
        own = getattr(type(self), f"_do_{name}", None)
        if own:
            return own.__get__(self)
        changed = name[3:4].lower() + name[4:] if name.startswith("set") else ""
        if changed in self._contract.properties and not self._in_qt(changed):
            return lambda value: setattr(self, changed, value)
        if name == "raise":
            name = "raise_"
        try:
            return super().__getattribute__(name)
        except AttributeError:
            raise AttributeError(f"{self._contract.class_name}.{name} was measured, but this stand-in does not have it: add it, "
                                 "or do without") from None

    def _do_className(self) -> str:
        return self._contract.class_name

    def _do_inherits(self, class_name: str) -> bool:
        return class_name == self._contract.class_name or QtCore.QObject.inherits(self, class_name)

    def _do_findChildren(self, kind=QtCore.QObject, name: str | None = None):
        return QtCore.QObject.findChildren(self, getattr(kind, "_qt_class", kind), name)

    def _do_findChild(self, kind=QtCore.QObject, name: str | None = None):
        return QtCore.QObject.findChild(self, getattr(kind, "_qt_class", kind), name)

    def _qt_signal(self, signature: str):
        """PySide6's bound signal of that signature, or None where its class does not have it."""
        if QtCore.QObject.metaObject(self).indexOfSignal(signature) < 0:
            return None
        name, _, arguments = signature.removesuffix(")").partition("(")
        return super().__getattribute__(name)[arguments or ()]

    def _emits(self, signature: str) -> bool:
        return signature in self._own_signals() or QtCore.QObject.metaObject(self).indexOfSignal(signature) >= 0

    def _own_signals(self) -> frozenset[str]:
        """Signals that the stand-in sends from Python: those that its PySide6 class does not have, where it is a class of ctk's or Slicer's."""
        if self._contract.class_name.startswith("Q"):
            return frozenset()
        return frozenset(each for each in self._contract.signals if QtCore.QObject.metaObject(self).indexOfSignal(each) < 0)

    def _connect(self, signal: str, *receiver) -> bool:
        """connect("clicked(bool)", function) or connect("...", object, "slot(...)").

        raises  ValueError for a signal that the class does not have (PythonQt prints and returns False)
        """
        signature = normalised(signal)
        if signature not in self._contract.signals or not self._emits(signature):
            raise ValueError(f"{self._contract.class_name} has no signal '{signal}'; it has {', '.join(sorted(self._contract.signals))}")
        function = receiver[0] if len(receiver) == 1 else getattr(receiver[0], receiver[1].split("(")[0])
        if not callable(function):
            raise TypeError(f"{signal} cannot be connected to {function!r}")
        connections, own = self._state().connections, self._qt_signal(signature)
        if own is not None and signature not in connections:
            own.connect(lambda *arguments: self._send(signature, *arguments))
        connections.setdefault(signature, []).append((function, guarded(function)))
        return True

    def _send(self, signature: str, *arguments) -> None:
        """Call what is connected; one connection of PySide6's serves them all, so that disconnecting is taking one from a list."""
        for _, call in list(self._state().connections.get(signature, [])):
            call(*arguments)

    def _do_disconnect(self, signal: str, function: Callable) -> bool:
        """False if it was not connected, as PythonQt answers."""
        connected = self._state().connections.get(normalised(signal), [])
        found = next((each for each in connected if each[0] == function), None)
        if found is not None:
            connected.remove(found)
        return found is not None

    def _fire(self, signature: str, *arguments) -> None:
        """Send a signal; what PySide6 cannot send is sent from here."""
        assert signature in self._contract.signals, f"{self._contract.class_name} was never seen to send {signature}"
        own = self._qt_signal(signature)
        if own is not None:
            own.emit(*arguments)
        elif not QtCore.QObject.signalsBlocked(self):
            self._send(signature, *arguments)


def standin(class_name: str, base: type, body: type = object, **names) -> type:
    """A class of that name: PythonQt's behaviour and `body` before PySide6's `base`."""
    mixed = tuple(each for each in (body, PythonQt) if each is not object)
    return ClassOfQt(class_name, (*mixed, base), {"_contract": contract(class_name), "_qt_class": base, "_own_class": body is not object, **names})
