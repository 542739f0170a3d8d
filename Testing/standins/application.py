"""One stand-in for the running application: puts everything in its place, and takes it away again.

    with standin_application(tmp_path) as slicer_like:
        panel = slicer_like.open_module("MRDeltaNet/MRDeltaNet.py")
        slicer_like.screenshot("panel.png")
"""

from __future__ import annotations

import contextlib
import gc
import sys
import traceback
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Iterator

from PySide6 import QtCore, QtWidgets

from MRDeltaNetLib.mrml.bootstrap import quiet
from Testing.standins import (ctk_widgets, data_widgets, mrml_widgets, parameter_node, pythonqt, qt_module, scripted_module, segment_editor,
                              slice_views, ui_files)
from Testing.standins.layout_manager import LAYOUT_MANAGER
from Testing.standins.segment_editor import EffectFactory
from Testing.standins.slicer_application import SlicerApplication
from Testing.standins.slicer_packages import DicomDatabase, dialogs_of_util, i18n_module, packaging_module, pytorch_module, sample_data_module
from Testing.standins.window import MainWindow, dark_palette

PLACED = ("qt", "ctk", "slicer.ScriptedLoadableModule", "slicer.parameterNodeWrapper", "slicer.i18n", "slicer.packaging", "SampleData", "PyTorchUtils")
MRML_WIDGETS = mrml_widgets.CLASSES | slice_views.CLASSES | segment_editor.CLASSES | data_widgets.CLASSES


class StandinApplication:
    """What a test does with the application, and what it sees of it."""

    def __init__(self, slicer: ModuleType, recorder: qt_module.Application, faults: pythonqt.Recorder, size: tuple[int, int], main_window: bool):
        self._slicer, self._faults, self.recorder = slicer, faults, recorder
        self.app, self.scene, self.dicom_database = slicer.app, slicer.mrmlScene, slicer.dicomDatabase
        self.window = MainWindow(size, slicer.modules) if main_window else None
        self._instances: dict[str, Any] = {}
        slicer.util.mainWindow = lambda: self.window
        if self.window:
            self._show_views()
            self.window.show()

    def _show_views(self) -> None:
        manager = LAYOUT_MANAGER()
        manager._begin(self._slicer, self.app.applicationLogic(), self.window.views)
        self.app.give_layout_manager(manager)

    @property
    def errors(self) -> list[BaseException]:
        """Python errors inside slots, timers and observers so far; clear the list when a test expected them."""
        return self._faults.errors

    @property
    def dialogs(self) -> list[SimpleNamespace]:
        """Every dialog that was shown: kind, text and more."""
        return self.recorder.dialogs

    def answer(self, kind: str, *values: Any) -> None:
        """Prepare what a user answers to the next dialogs of that kind."""
        self.recorder.answer(kind, *values)

    def open_module(self, path: Path | str, enter: bool = True) -> Any:
        """Load a module file as the application does at its start, send startupCompleted(), select it; the script's widget."""
        path = str(Path(path).resolve())
        folder, name = str(Path(path).parent), Path(path).stem
        if folder not in sys.path:
            sys.path.append(folder)
        description = scripted_module.ModuleDescription(path)
        self._instances[name] = getattr(scripted_module.load_source(path), name)(description)
        setattr(self._slicer.modules, name.lower(), description)
        setattr(self._slicer.modules, f"{name}Instance", self._instances[name])
        self.app.fire("startupCompleted()")
        self.process_events()
        if enter and self.window:
            self.window.select(name)
        elif enter:
            description.widgetRepresentation().enter()
        else:
            description.widgetRepresentation()
        self.process_events()
        return getattr(self._slicer.modules, f"{name}Widget")

    def leave_module(self) -> None:
        self.window.select("")

    def enter_module(self, name: str) -> None:
        self.window.select(name)

    def reload_module(self, name: str) -> Any:
        """Press the developer's Reload button; the new widget."""
        getattr(self._slicer.modules, f"{name}Widget").onReload()
        self.process_events()
        return getattr(self._slicer.modules, f"{name}Widget")

    def process_events(self, seconds: float = 0.0) -> None:
        """Let timers and queued events come, for at least that long."""
        timer = QtCore.QElapsedTimer()
        timer.start()
        while True:
            QtWidgets.QApplication.processEvents(QtCore.QEventLoop.AllEvents, 20)
            QtWidgets.QApplication.sendPostedEvents(None, QtCore.QEvent.DeferredDelete)
            if timer.elapsed() >= seconds * 1000:
                return
            QtCore.QThread.msleep(5)

    def screenshot(self, path: Path | str) -> Path:
        """Picture of the whole window as a PNG file."""
        self.process_events(0.05)
        if not self.window.grab().save(str(path)):
            raise OSError("the picture could not be written")
        return Path(path)

    def clear_scene(self) -> None:
        """File > Close Scene."""
        self.scene.Clear(False)
        self.process_events()

    def save_scene(self, path: Path | str) -> None:
        assert self.app.save_scene(str(path))

    def load_scene(self, path: Path | str, clear: bool = True) -> None:
        """File > Load scene; without clear: Add data, an import into the scene as it is."""
        assert self.app.load_scene(str(path), clear)
        self.process_events()

    def add_pytorch_utils(self, installed: bool = True, device: str = "cpu", installs: bool = True) -> ModuleType:
        """The PyTorch extension appears; its `state` says what it was asked for."""
        sys.modules["PyTorchUtils"] = pytorch_module(installed, device, installs)
        return sys.modules["PyTorchUtils"]

    def close(self) -> None:
        """Quit: leave the module, aboutToQuit(), then every module's cleanup()."""
        if self.window:
            self.window.select("")
        self.app.fire("aboutToQuit()")
        for name in self._instances:
            self.app.moduleManager().fire("moduleAboutToBeUnloaded(QString)", name)
        self.process_events()


class Faults(AssertionError):
    """Errors inside slots, timers or observers that the test did not look at; a real Slicer under --testing would exit with 1."""


@contextlib.contextmanager
def standin_application(folder: Path | str, size: tuple[int, int] = (1280, 800), main_window: bool = True, testing: bool = True,
                        dark: bool = False, translations: dict[str, str] | None = None) -> Iterator[StandinApplication]:
    """A running application with an empty scene; `folder` takes its temporary files and settings.

    size: the window's, in pixels. main_window: False is --no-main-window. testing: True is --testing. dark: the dark style.
    translations: English text -> what `tr` gives.

    raises  Faults at the end if errors were recorded and not cleared
    """
    import slicer
    import slicer.util
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    qt_module.qt_application().setPalette(dark_palette() if dark else QtWidgets.QApplication.style().standardPalette())
    ui_files.register(qt_module.CLASSES | ctk_widgets.CLASSES | MRML_WIDGETS)
    recorder, faults = qt_module.Application(folder / "settings.ini", testing), pythonqt.begin_recording()
    with _taken_back(slicer), quiet(), _errors_recorded(faults, recorder):
        scene = slicer.vtkMRMLScene()
        slicer.mrmlScene = scene
        slicer.app = SlicerApplication(slicer, scene, recorder, folder, testing)
        slicer.modules, slicer.dicomDatabase = slicer.app.make_modules(), DicomDatabase()
        _place(slicer, recorder, translations or {})
        application = StandinApplication(slicer, recorder, faults, size, main_window)
        try:
            yield application
            application.close()
        finally:
            _end(application)
    if faults.errors:
        raise Faults("; ".join("".join(traceback.format_exception(error)) for error in faults.errors))


def _place(slicer: ModuleType, recorder: qt_module.Application, translations: dict[str, str]) -> None:
    sys.modules["qt"], sys.modules["ctk"] = qt_module.qt_module(recorder), ctk_widgets.ctk_module()
    for name, each in MRML_WIDGETS.items():
        setattr(slicer, name, each)
    slicer.qMRMLLayoutManager = LAYOUT_MANAGER
    factory = EffectFactory()
    slicer.qSlicerSegmentEditorEffectFactory = SimpleNamespace(instance=lambda: factory)
    slicer.qSlicerScriptedLoadableModuleWidget = scripted_module.MODULE_WIDGET
    slicer.qSlicerScriptedLoadableModule = scripted_module.ModuleDescription
    for name, module in {"ScriptedLoadableModule": scripted_module.slicer_module(), "parameterNodeWrapper": parameter_node.parameter_node_module(),
                         "i18n": i18n_module(translations), "packaging": packaging_module(recorder)}.items():
        sys.modules[f"slicer.{name}"] = module
        setattr(slicer, name, module)
    sys.modules["SampleData"] = sample_data_module(slicer.app)
    sys.modules["PyTorchUtils"] = None               # an import of it fails, as without the extension
    for name, function in dialogs_of_util(recorder, slicer.app.processEvents).items():
        setattr(slicer.util, name, function)


def _end(application: StandinApplication) -> None:
    pythonqt.current.alive = False
    mrml_widgets.let_go_of_scenes()
    if application.window:
        application.app.layoutManager()._end()
    if application.window:
        application.window.close()
        application.window.deleteLater()
    application.scene.Clear(True)
    application.app.let_go()
    QtWidgets.QApplication.sendPostedEvents(None, QtCore.QEvent.DeferredDelete)
    gc.collect()


@contextlib.contextmanager
def _errors_recorded(faults: pythonqt.Recorder, recorder: qt_module.Application) -> Iterator[None]:
    """PySide6 and VTK hand errors in callbacks to sys.excepthook; what Qt itself complains of is in recorder.qt_messages."""
    before = sys.excepthook

    def record(kind, error, trace):
        faults.errors.append(error.with_traceback(trace))

    sys.excepthook = record
    QtCore.qInstallMessageHandler(lambda kind, context, text: recorder.qt_messages.append(text) if "propagateSizeHints" not in text else None)
    try:
        yield
    finally:
        QtCore.qInstallMessageHandler(None)
        sys.excepthook = before


@contextlib.contextmanager
def _taken_back(slicer: ModuleType) -> Iterator[None]:
    """Modules, sys.path and the names in `slicer` and `slicer.util` are afterwards as they were."""
    modules, path = dict(sys.modules), list(sys.path)
    names, utilities = dict(vars(slicer)), dict(vars(slicer.util))
    for name in PLACED:
        sys.modules.pop(name, None)
    try:
        yield
    finally:
        for name in [each for each in sys.modules if each in PLACED or _is_opened(sys.modules[each], path)]:
            if name not in modules:
                del sys.modules[name]
        for name in PLACED:
            if name in modules:
                sys.modules[name] = modules[name]
        _restore_library(modules)
        sys.path[:] = path
        for module, before in ((slicer, names), (slicer.util, utilities)):
            for name in [each for each in vars(module) if each not in before]:
                delattr(module, name)
            vars(module).update(before)


def _restore_library(before: dict[str, ModuleType]) -> None:
    """A module's Reload drops the library from sys.modules; other tests must go on with the classes that they know."""
    library = {name: module for name, module in before.items() if name.split(".")[0] == "MRDeltaNetLib"}
    if any(sys.modules.get(name) is not module for name, module in library.items()):
        for name in [each for each in sys.modules if each.split(".")[0] == "MRDeltaNetLib"]:
            del sys.modules[name]
        sys.modules.update(library)


def _is_opened(module: ModuleType | None, path: list[str]) -> bool:
    """Whether a module came from a folder that was added to sys.path in the meantime."""
    file = getattr(module, "__file__", None)
    added = [folder for folder in sys.path if folder not in path]
    return bool(file) and any(Path(folder) in Path(file).parents for folder in added)
