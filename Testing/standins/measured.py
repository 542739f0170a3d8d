"""What a real Slicer answered for each class (widget_api.json), as contracts that the stand-ins keep."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

QOBJECT = frozenset(
    "blockSignals childEvent children className connect connectNotify customEvent deleteLater destroyed disconnect disconnectNotify "
    "dynamicPropertyNames event eventFilter findChild findChildren inherits installEventFilter isSignalConnected isWidgetType isWindowType "
    "killTimer metaObject moveToThread objectName objectNameChanged parent property removeEventFilter sender setObjectName setParent setProperty "
    "signalsBlocked startTimer thread timerEvent tr name".split())
"""What every Qt object answers in PythonQt; `name` is its other spelling of objectName, which Slicer's own scripts use."""

RESERVED = {"exec_": "exec", "raise_": "raise", "print_": "print"}
"""Python's reserved words are spelled with an underscore in PythonQt."""

FROM_SOURCE: dict[str, dict[str, Any]] = {
    "QShortcut": {"properties": [["key", "QKeySequence", True], ["enabled", "bool", True], ["autoRepeat", "bool", True], ["whatsThis", "QString", True],
                                 ["context", "Qt::ShortcutContext", True]],
                  "signals": ["activated()", "activatedAmbiguously()"], "dir": ["setKey", "setContext", "setEnabled", "isEnabled", "setAutoRepeat"]},
    "qSlicerScriptedLoadableModuleWidget": {"inherits": "qSlicerWidget", "properties": [["isEntered", "bool", False], ["moduleName", "QString", False]],
                                            "dir": ["self", "reload", "enter", "exit", "setup", "setEditedNode", "nodeEditable",
                                                    "pythonSource", "setPythonSource"]},
    "qMRMLSliceView": {"inherits": "QWidget", "dir": ["mrmlScene", "setMRMLScene", "mrmlSliceNode", "scheduleRender", "forceRender", "cornerAnnotation",
                                                      "renderWindow", "setBackgroundColor", "backgroundColor"]},
    "qSlicerSegmentEditorEffectFactory": {"signals": ["effectRegistered(QString)"], "dir": ["instance", "registerEffect", "registeredEffects"]},
    "qSlicerSegmentEditorAbstractEffect": {"properties": [["name", "QString", False], ["title", "QString", False]],
                                           "dir": ["parameter", "setParameter", "scriptedEffect", "parameterSetNode"]},
}
"""Classes that were not measured: the few names that are needed, read from the headers of Qt and Slicer."""


@dataclass(frozen=True)
class Contract:
    """What instances of a class may answer. properties: name -> (Qt type, writable); signals and slots: normalised signatures."""
    class_name: str
    properties: dict[str, tuple[str, bool]]
    signals: frozenset[str]
    slots: frozenset[str]
    names: frozenset[str]

    def answers(self, name: str) -> bool:
        return RESERVED.get(name, name) in self.names


@functools.cache
def _api() -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "widget_api.json").read_text(encoding="utf-8"))


def measured_classes() -> list[str]:
    return [name for name in _api() if name != "_about"]


@functools.cache
def contract(class_name: str) -> Contract:
    """The contract of a class, with what it inherits.

    raises  KeyError if the class was never measured nor read from a header: a stand-in for it would be a guess
    """
    entry = _api().get(class_name) or FROM_SOURCE[class_name]
    base = contract(entry["inherits"]) if entry.get("inherits") and class_name != "QAction" else None
    properties = {name: (kind, writable) for name, kind, writable in entry.get("properties", [])} | {"objectName": ("QString", True)}
    signals, slots = frozenset(entry.get("signals", [])), frozenset(entry.get("slots", []))
    return Contract(class_name,
                    (base.properties if base else {}) | properties,
                    (base.signals if base else frozenset()) | signals,
                    (base.slots if base else frozenset()) | slots,
                    (base.names if base else QOBJECT) | frozenset(entry["dir"]) | properties.keys() | {_bare(each) for each in signals | slots})


def _bare(signature: str) -> str:
    return signature.split("(", 1)[0]
