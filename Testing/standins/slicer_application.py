"""`slicer.app`, `slicer.modules` and what `slicer.util` reaches through them; every name that is not here raises."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable

from PySide6 import QtCore, QtWidgets

from MRDeltaNetLib.colours import CIVIDIS
from Testing.standins.pythonqt import guarded, normalised
from Testing.standins.qt_module import CLASSES as QT
from Testing.standins.qt_module import Application

LOGICS = {"colors": ("Colors", "vtkSlicerColorLogic"), "segmentations": ("Segmentations", "vtkSlicerSegmentationsModuleLogic"),
          "volumes": ("Volumes", "vtkSlicerVolumesLogic"), "markups": ("Markups", "vtkSlicerMarkupsLogic"),
          "subjecthierarchy": ("SubjectHierarchy", "vtkSlicerSubjectHierarchyModuleLogic"),
          "transforms": ("Transforms", "vtkSlicerTransformLogic"), "tables": ("Tables", "vtkSlicerTablesLogic")}
"""Core modules of which the C++ logic is in slicer-core: name -> (name in the application logic, class)."""


class Signals:
    """connect and disconnect for an object that is not a widget.

    raises  ValueError for a signal that the object was never seen to send
    """
    SIGNALS: frozenset[str] = frozenset()

    def __init__(self):
        self._connected: list[tuple[str, Callable, Callable]] = []

    def connect(self, signal: str, function: Callable) -> bool:
        if normalised(signal) not in self.SIGNALS:
            raise ValueError(f"{type(self).__name__} has no signal '{signal}'")
        self._connected.append((normalised(signal), function, guarded(function)))
        return True

    def disconnect(self, signal: str, function: Callable) -> bool:
        found = [each for each in self._connected if each[:2] == (normalised(signal), function)]
        self._connected = [each for each in self._connected if each not in found]
        return bool(found)

    def fire(self, signal: str, *arguments: Any) -> None:
        for each in [each for each in self._connected if each[0] == signal]:
            each[2](*arguments)


class ModuleManager(Signals):
    SIGNALS = frozenset({"moduleAboutToBeUnloaded(QString)", "moduleUnloaded(QString)", "moduleLoaded(QString)"})

    def __init__(self, modules: "Modules"):
        super().__init__()
        self._modules = modules

    def module(self, name: str):
        return getattr(self._modules, name.lower(), None)

    def loadedModulesNames(self) -> tuple[str, ...]:
        return self.modulesNames()

    def modulesNames(self) -> tuple[str, ...]:
        return tuple(each.name for each in vars(self._modules).values() if hasattr(each, "widgetRepresentation") or hasattr(each, "logic"))

    def isModuleLoaded(self, name: str) -> bool:
        return self.module(name) is not None

    factoryManager = SimpleNamespace


class Modules:
    """`slicer.modules`: C++ logics of slicer-core under their module's name; a module that is not loaded raises AttributeError."""


class IOManager:
    """Files of the kinds that the panel meets, through the C++ readers and writers."""

    def __init__(self, application: "SlicerApplication"):
        self._application = application

    def fileType(self, path: str) -> str:
        return "SceneFile" if str(path).endswith((".mrb", ".mrml")) else "SegmentationFile" if ".seg." in Path(path).name else "VolumeFile"

    def loadNodes(self, kind: str, properties: dict, loaded=None, messages=None) -> bool:
        path, options = str(properties["fileName"]), 1 if properties.get("labelmap") else 0
        if kind == "SceneFile":
            return self._application.load_scene(path)
        name = properties.get("name") or Path(path).name.split(".")[0]
        if kind == "VolumeFile":
            node = self._application.logic_of("volumes").AddArchetypeVolume(path, name, options)
        elif kind == "SegmentationFile":
            node = self._application.logic_of("segmentations").LoadSegmentationFromFile(path, True)
        else:
            raise NotImplementedError(f"the stand-in application does not read '{kind}'")
        if node is not None and loaded is not None:
            loaded.AddItem(node)
        return node is not None

    def saveNodes(self, kind: str, properties: dict, messages=None) -> bool:
        if kind == "SceneFile":
            return self._application.save_scene(str(properties["fileName"]))
        node = self._application.mrmlScene.GetNodeByID(properties["nodeID"])
        node.AddDefaultStorageNode()
        node.GetStorageNode().SetFileName(str(properties["fileName"]))
        return bool(node.GetStorageNode().WriteData(node))

    def fileWriterFileType(self, node) -> str:
        return "NodeFile"

    def openAddDataDialog(self) -> bool:
        return bool(self._application.recorder.show("openAddDataDialog", "", False))

    def openAddVolumeDialog(self) -> bool:
        return bool(self._application.recorder.show("openAddVolumeDialog", "", False))

    def openSaveDataDialog(self) -> bool:
        return bool(self._application.recorder.show("openSaveDataDialog", "", False))


class ExtensionsModel:
    """`extensionsManagerModel()`: nothing is installed but what a test names; asking for one is recorded."""

    def __init__(self, recorder: Application):
        self._recorder, self.installed, self.interactive = recorder, set(), True

    def isExtensionInstalled(self, name: str) -> bool:
        return name in self.installed

    def installExtensionFromServer(self, name: str, restart: bool = True, update: bool = True) -> bool:
        done = bool(self._recorder.show("installExtension", name, False, restart=restart, update=update))
        if done:
            self.installed.add(name)
        return done


class SlicerApplication(Signals):
    """`slicer.app`."""
    SIGNALS = frozenset({"startupCompleted()", "aboutToQuit()", "mrmlSceneChanged(vtkMRMLScene*)", "focusChanged(QWidget*,QWidget*)"})

    def __init__(self, slicer, scene, recorder: Application, temporary: Path, testing: bool):
        super().__init__()
        self.mrmlScene, self.recorder, self._testing, self._layout_manager, self._slicer = scene, recorder, testing, None, slicer
        self.applicationName, self.applicationVersion, self.mainApplicationName = "Slicer", "5.12.0-2026-09-01", "Slicer"
        self.majorVersion, self.minorVersion, self.revision, self.repositoryRevision = 5, 12, "34567", "34567"
        self.os, self.arch, self.platform, self.documentationBaseUrl = sys.platform, "amd64", sys.platform, "https://slicer.readthedocs.io/en/latest/"
        self.temporaryPath = self.slicerHome = str(temporary)
        self._logic = slicer.vtkSlicerApplicationLogic()
        self._logic.SetMRMLScene(scene)
        self._logics = self._core_logics()
        self._modules, self._io, self._extensions = Modules(), IOManager(self), ExtensionsModel(recorder)

    def _core_logics(self) -> dict[str, Any]:
        """As the application does: each logic knows the application's, which lists it under its module's name."""
        colours = self._logic.GetColorLogic()
        colours.SetMRMLScene(self.mrmlScene)
        colours.AddDefaultColorNodes()
        self.mrmlScene.RegisterNodeClass(self._slicer.vtkMRMLColorLegendDisplayNode())
        self._add_file_colours()
        found = {}
        for name, (title, class_name) in LOGICS.items():
            logic = getattr(self._slicer, class_name)()
            logic.SetMRMLApplicationLogic(self._logic)
            logic.SetMRMLScene(self.mrmlScene)
            self._logic.SetModuleLogic(title, logic)
            found[name] = logic
        return found

    def _add_file_colours(self) -> None:
        """Cividis, which Slicer reads from a file at its start and slicer-core does not have."""
        node = self._slicer.vtkMRMLColorTableNode()
        node.SetTypeToUser()
        node.SetName("Cividis")
        node.SetSingletonTag("FileCividis.txt")
        node.SetNumberOfColors(len(CIVIDIS))
        for index, colour in enumerate(CIVIDIS):
            node.SetColor(index, str(index), *[part / 255 for part in colour], 1.0)
        node.SetSaveWithScene(False)
        self.mrmlScene.AddNode(node)

    def make_modules(self) -> Modules:
        for name, logic in self._logics.items():
            module = SimpleNamespace(name=LOGICS[name][0], logic=lambda logic=logic: logic)
            setattr(self._modules, name, module)
        self._manager = ModuleManager(self._modules)
        return self._modules

    def logic_of(self, name: str):
        return self._logics[name]

    def let_go(self) -> None:
        """End of the application: no logic holds the scene."""
        for logic in reversed(list(self._logics.values())):
            logic.SetMRMLScene(None)
        self._logic.SetMRMLScene(None)

    def save_scene(self, path: str) -> bool:
        """Write the scene; no StartSave nor EndSave event is sent (trap A2)."""
        if path.endswith(".mrml"):
            self.mrmlScene.SetURL(path)
            self.mrmlScene.SetRootDirectory(str(Path(path).parent))
            return bool(self.mrmlScene.Commit(path))
        folder = Path(tempfile.mkdtemp(dir=self.temporaryPath)) / Path(path).stem
        folder.mkdir()
        done = self.mrmlScene.SaveSceneToSlicerDataBundleDirectory(str(folder), None)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as bundle:
            for file in sorted(each for each in folder.rglob("*") if each.is_file()):
                bundle.write(file, file.relative_to(folder.parent))
        shutil.rmtree(folder.parent)
        return bool(done)

    def load_scene(self, path: str, clear: bool = False) -> bool:
        """Import a scene file into the scene, after closing it if asked to: Slicer's order of events."""
        if path.endswith(".mrb"):
            folder = Path(tempfile.mkdtemp(dir=self.temporaryPath))
            with zipfile.ZipFile(path) as bundle:
                bundle.extractall(folder)
            path = str(next(folder.rglob("*.mrml")))
        if clear:
            self.mrmlScene.Clear(False)
        self.mrmlScene.SetURL(path)
        self.mrmlScene.SetRootDirectory(str(Path(path).parent))
        return bool(self.mrmlScene.Import())

    def applicationLogic(self):
        return self._logic

    def layoutManager(self):
        return self._layout_manager

    def give_layout_manager(self, manager) -> None:
        self._layout_manager = manager

    def moduleManager(self) -> ModuleManager:
        return self._manager

    def coreIOManager(self) -> IOManager:
        return self._io

    ioManager = coreIOManager

    def extensionsManagerModel(self) -> ExtensionsModel:
        return self._extensions

    def testingEnabled(self) -> bool:
        return self._testing

    def settings(self):
        return QT["QSettings"]()

    userSettings = settings

    def processEvents(self, *_) -> None:
        QtWidgets.QApplication.processEvents()

    def clipboard(self):
        return QtWidgets.QApplication.clipboard()

    def topLevelWidgets(self) -> list:
        return QtWidgets.QApplication.topLevelWidgets()

    def setOverrideCursor(self, cursor) -> None:
        QtWidgets.QApplication.setOverrideCursor(cursor)

    def restoreOverrideCursor(self) -> None:
        QtWidgets.QApplication.restoreOverrideCursor()

    def palette(self):
        return QtWidgets.QApplication.palette()

    def keyboardModifiers(self):
        return QtWidgets.QApplication.keyboardModifiers()

    def translate(self, context: str, text: str) -> str:
        return text

    def restart(self, *_) -> None:
        self.recorder.show("restart", "", None)

    def pauseRender(self) -> None:
        pass

    def resumeRender(self) -> None:
        pass

    def startupEnvironment(self) -> QtCore.QProcessEnvironment:
        environment = QtCore.QProcessEnvironment()
        for name, value in os.environ.items():
            environment.insert(name, value)
        return environment
