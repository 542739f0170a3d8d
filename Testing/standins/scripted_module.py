"""`slicer.ScriptedLoadableModule`: the four base classes of a scripted module, and the widget that holds a module's panel."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import unittest
from pathlib import Path
from types import ModuleType

from PySide6 import QtGui, QtWidgets

from Testing.standins.mrml_widgets import MRMLWidget
from Testing.standins.pythonqt import standin


def _slicer():
    import slicer
    return slicer


class ScriptedLoadableModule:
    """Titles and texts that the module sets on `parent`; registers its self-test."""

    def __init__(self, parent):
        slicer = _slicer()
        self.parent, self.moduleName = parent, type(self).__name__
        parent.title, parent.helpText, parent.acknowledgementText = "", "", ""
        parent.categories, parent.dependencies, parent.contributors = [], [], []
        icons = Path(parent.path).parent / "Resources" / "Icons"
        picture = next((icons / f"{self.moduleName}{ending}" for ending in (".svg", ".png") if (icons / f"{self.moduleName}{ending}").is_file()), None)
        if picture:
            parent.icon = QtGui.QIcon(str(picture))
        if not hasattr(slicer, "selfTests"):
            slicer.selfTests = {}
        slicer.selfTests[self.moduleName] = self.runTest

    def resourcePath(self, filename):
        return str(Path(self.parent.path).parent / "Resources" / filename)

    def getDefaultModuleDocumentationLink(self, docPage=None):
        return f'<p><a href="{_slicer().app.documentationBaseUrl}{docPage or self.moduleName}">documentation</a></p>'

    def runTest(self, msec=100, **kwargs):
        case = getattr(sys.modules[self.__module__], f"{self.moduleName}Test")()
        case.messageDelay = msec
        case.runTest(**kwargs)


class ScriptedLoadableModuleWidget:
    """Holds `parent` and its layout; a class without a parent makes itself a window."""

    def __init__(self, parent=None):
        slicer = _slicer()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = slicer.util.settingsValue("Developer/DeveloperMode", False, converter=slicer.util.toBool)
        self.parent = parent or slicer.qMRMLWidget()
        if not parent:
            self.parent.setLayout(sys.modules["qt"].QVBoxLayout())
            self.parent.setMRMLScene(slicer.mrmlScene)
        self.layout = self.parent.layout()
        if not parent:
            self.setup()
            self.parent.show()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, filename):
        return str(Path(_slicer().util.modulePath(self.moduleName)).parent / "Resources" / filename)

    def setup(self):
        pass

    def cleanup(self):
        pass

    def _onModuleAboutToBeUnloaded(self, moduleName):
        if moduleName == self.moduleName:
            self.cleanup()
            _slicer().app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def onReload(self):
        _slicer().util.reloadScriptedModule(self.moduleName)

    def onTest(self, **kwargs):
        _slicer().selfTests[self.moduleName](msec=0, **kwargs)

    def onReloadAndTest(self, **kwargs):
        self.onReload()
        self.onTest(**kwargs)


class ScriptedLoadableModuleLogic:
    """Owns the one parameter node of the module in a scene."""

    def __init__(self, parent=None):
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self):
        scene = _slicer().mrmlScene
        found = scene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode") if self.isSingletonParameterNode else next(
            iter(self.getAllParameterNodes()), None)
        if found is None:
            return scene.AddNode(self.createParameterNode())
        found.SetAttribute("ModuleName", self.moduleName)
        return found

    def getAllParameterNodes(self):
        return [node for node in _slicer().util.getNodesByClass("vtkMRMLScriptedModuleNode") if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self):
        scene = _slicer().mrmlScene
        node = scene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(scene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """runTest calls every method whose name holds "test" between setUp and tearDown, and stops at the first failure."""

    messageDelay = 0

    def delayDisplay(self, message, requestedDelay=None, msec=None):
        _slicer().app.processEvents()

    def takeScreenshot(self, name, description, type=-1):
        pass

    def runTest(self, **kwargs):
        for name in [each for each in dir(self) if each.startswith("test") and callable(getattr(self, each))]:
            self.setUp()
            getattr(self, name)()
            self.tearDown()


class _ModuleWidget(MRMLWidget):
    """What the application shows of a module: a layout for the script's widget, which it makes, enters and leaves."""
    _defaults = {"isEntered": False, "moduleName": ""}

    def setPythonSource(self, path: str) -> bool:
        """Make the script's widget, as the application does: from the loaded module, whose source is executed if need be."""
        slicer, name = _slicer(), Path(path).stem
        module = sys.modules.get(name) or load_source(path)
        own = self._state()
        own.source, own.values["moduleName"] = path, name
        own.script = getattr(module, f"{name}Widget")(self)
        setattr(slicer.modules, f"{name}Widget", own.script)
        return True

    def pythonSource(self) -> str:
        return self._state().source

    def self(self):
        return self._state().script

    def setup(self) -> None:
        self._state().script.setup()

    def reload(self) -> None:
        self.setPythonSource(self.pythonSource())
        self.setup()

    def enter(self) -> None:
        self._state().values["isEntered"] = True
        self._call("enter")

    def exit(self) -> None:
        self._state().values["isEntered"] = False
        self._call("exit")

    def _call(self, name: str) -> None:
        method = getattr(self._state().script, name, None)
        if method:
            method()


def load_source(path: str) -> ModuleType:
    """Execute a module file under its own name."""
    name = Path(path).stem
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


MODULE_WIDGET = standin("qSlicerScriptedLoadableModuleWidget", QtWidgets.QWidget, _ModuleWidget)


class ModuleDescription:
    """`parent` of a ScriptedLoadableModule, and what `slicer.modules.<name>` answers; a misspelled text such as `catgories` raises."""
    __slots__ = ("path", "name", "title", "icon", "hidden", "index", "associatedNodeTypes", "categories", "dependencies", "contributors", "helpText",
                 "acknowledgementText", "_widget")

    def __init__(self, path: str):
        self.path, self.name = path, Path(path).stem
        self.title, self.icon, self.hidden, self.index, self.associatedNodeTypes = self.name, QtGui.QIcon(), False, -1, ()
        self.categories, self.dependencies, self.contributors, self.helpText, self.acknowledgementText = [], [], [], "", ""
        self._widget = None

    def widgetRepresentation(self):
        """The module's panel, made when first asked for."""
        if self._widget is None:
            self._widget = self.createNewWidgetRepresentation()
        return self._widget

    def createNewWidgetRepresentation(self):
        widget = MODULE_WIDGET()
        layout = sys.modules["qt"].QVBoxLayout(widget)
        layout.setContentsMargins(6, 6, 6, 6)
        widget.setMRMLScene(_slicer().mrmlScene)
        widget.setPythonSource(self.path)
        widget.setup()
        return widget

    def logic(self):
        return None


def slicer_module() -> ModuleType:
    """The module `slicer.ScriptedLoadableModule`."""
    module = ModuleType("slicer.ScriptedLoadableModule")
    module.__all__ = ["ScriptedLoadableModule", "ScriptedLoadableModuleWidget", "ScriptedLoadableModuleLogic", "ScriptedLoadableModuleTest"]
    for each in (ScriptedLoadableModule, ScriptedLoadableModuleWidget, ScriptedLoadableModuleLogic, ScriptedLoadableModuleTest):
        setattr(module, each.__name__, each)
    return module
