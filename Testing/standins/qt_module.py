"""The module `qt` as Slicer's Python sees it: PySide6's classes with PythonQt's behaviour, and recorders for what would leave the window."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from Testing.standins import pythonqt
from Testing.standins.measured import measured_classes
from Testing.standins.pythonqt import guarded, standin

PLAIN = {QtCore: "Qt QUrl QSize QSizeF QPoint QPointF QRect QRectF QByteArray QBuffer QIODevice QFile QFileInfo QDir QLocale QDate QTime QDateTime "
                 "QEvent QModelIndex QItemSelection QItemSelectionModel QRegularExpression QMimeData QTemporaryDir QStandardPaths QSysInfo QObject "
                 "QSignalBlocker QProcessEnvironment QTimeZone",
         QtGui: "QColor QIcon QPixmap QImage QFont QFontMetrics QPalette QKeySequence QPainter QPen QBrush QCursor QTextCursor QTextDocument "
                "QPdfWriter QPageSize QIntValidator QDoubleValidator QGuiApplication QFontDatabase QStandardItem QStandardItemModel",
         QtWidgets: "QSpacerItem QSizePolicy QStyle QHeaderView QAbstractItemView QTableWidgetItem QListWidgetItem QStyleOption QToolTip "
                    "QAbstractButton QLayout QAbstractSpinBox QStyledItemDelegate"}
"""Value types and bases: a method is a method there in PythonQt too, so PySide6's own classes serve."""


class Application:
    """Where the stand-ins leave what a user would have seen, and find what that user would answer. Nothing ever waits for anybody."""

    def __init__(self, settings_file: Path, testing: bool = True):
        self.settings_file, self.testing = settings_file, testing
        self.dialogs: list[SimpleNamespace] = []
        self.answers: dict[str, list[Any]] = {}
        self.opened: list[str] = []
        self.qt_messages: list[str] = []

    def answer(self, kind: str, *values: Any) -> None:
        """What the next dialogs of that kind give back, in order: 'getOpenFileName', 'exec', 'question', 'confirm', ..."""
        self.answers.setdefault(kind, []).extend(values)

    def show(self, kind: str, text: str, otherwise: Any, **more: Any) -> Any:
        """Record a dialog; the prepared answer, or the one of a user who closes it."""
        prepared = self.answers.get(kind)
        self.dialogs.append(SimpleNamespace(kind=kind, text=text, **more))
        return prepared.pop(0) if prepared else otherwise


class _Dialog:
    """exec() gives the prepared answer at once; a script that shows a dialog is never held up."""

    def exec(self):
        text = self.text if "text" in self._contract.properties else self.windowTitle
        return _application().show("exec", text, QtWidgets.QMessageBox.Cancel if isinstance(self, QtWidgets.QMessageBox) else 0, widget=self)


class _FileDialog(_Dialog):
    """The static questions give a str, or a tuple of them, as PythonQt does: never a pair with the chosen filter."""

    @staticmethod
    def getOpenFileName(parent=None, caption="", folder="", filters="", *_):
        return _application().show("getOpenFileName", caption, "", folder=folder, filters=filters)

    @staticmethod
    def getOpenFileNames(parent=None, caption="", folder="", filters="", *_):
        return tuple(_application().show("getOpenFileNames", caption, (), folder=folder, filters=filters))

    @staticmethod
    def getSaveFileName(parent=None, caption="", folder="", filters="", *_):
        return _application().show("getSaveFileName", caption, "", folder=folder, filters=filters)

    @staticmethod
    def getExistingDirectory(parent=None, caption="", folder="", *_):
        return _application().show("getExistingDirectory", caption, "", folder=folder)


def _box(kind: str) -> staticmethod:
    def shown(parent, title, text, *buttons):
        return _application().show(kind, text, QtWidgets.QMessageBox.No if kind == "question" else QtWidgets.QMessageBox.Ok, title=title)
    return staticmethod(shown)


class _MessageBox(_Dialog):
    question, information, warning, critical = (_box(kind) for kind in ("question", "information", "warning", "critical"))


class _Timer:
    @staticmethod
    def singleShot(milliseconds, function):
        QtCore.QTimer.singleShot(int(milliseconds), guarded(function))


class _Settings:
    """The application's settings, in a throw-away file."""

    def __init__(self, *arguments):
        super().__init__(*(arguments or (str(_application().settings_file), QtCore.QSettings.IniFormat)))


class _ComboBox:
    """`currentData` is a property in PythonQt."""

    def _get_currentData(self):
        return QtWidgets.QComboBox.currentData(self)


class _Menu:
    """Actions that a menu makes are stand-ins too."""

    def addAction(self, *arguments):
        if isinstance(arguments[0], QtGui.QAction):
            QtWidgets.QMenu.addAction(self, arguments[0])
            return None
        action = CLASSES["QAction"](*[each for each in arguments if isinstance(each, (str, QtGui.QIcon))], self)
        QtWidgets.QMenu.addAction(self, action)
        for function in [each for each in arguments if callable(each) and not isinstance(each, (str, QtGui.QIcon))]:
            action.connect("triggered()", function)
        return action


class _DialogButtonBox:
    """Buttons with a text of their own are stand-ins; those that Qt makes itself are not, so they are not handed out."""

    def addButton(self, text, role):
        button = CLASSES["QPushButton"](text)
        QtWidgets.QDialogButtonBox.addButton(self, button, role)
        return button

    def button(self, which):
        raise NotImplementedError("buttons that Qt makes are no stand-ins: connect accepted() and rejected(), or add buttons with a text")


class QDesktopServices:
    """Records what a browser or a file manager would have opened."""

    @staticmethod
    def openUrl(url: QtCore.QUrl) -> bool:
        _application().opened.append(url.toString())
        return True


class QApplication:
    """The static side of the one application; PySide6's object lives as long as the process. The clipboard is had from slicer.app, as
    Slicer's own scripts do: PythonQt knows it as a static method of QGuiApplication."""
    instance = staticmethod(lambda: QtWidgets.QApplication.instance())
    processEvents = staticmethod(lambda *_: QtWidgets.QApplication.processEvents())
    setOverrideCursor = staticmethod(lambda cursor: QtWidgets.QApplication.setOverrideCursor(QtGui.QCursor(cursor)))
    restoreOverrideCursor = staticmethod(lambda: QtWidgets.QApplication.restoreOverrideCursor())
    palette = staticmethod(lambda: QtWidgets.QApplication.palette())
    style = staticmethod(lambda: QtWidgets.QApplication.style())
    focusWidget = staticmethod(lambda: QtWidgets.QApplication.focusWidget())
    keyboardModifiers = staticmethod(lambda: QtWidgets.QApplication.keyboardModifiers())


BODIES = {"QDialog": _Dialog, "QFileDialog": _FileDialog, "QMessageBox": _MessageBox, "QProgressDialog": _Dialog, "QTimer": _Timer,
          "QSettings": _Settings, "QComboBox": _ComboBox, "QMenu": _Menu, "QDialogButtonBox": _DialogButtonBox}
_held: list[Application] = []


def _application() -> Application:
    return _held[-1]


def qt_classes() -> dict[str, type]:
    """Name -> stand-in of every Qt class that there is evidence for."""
    found = {}
    for name in [*measured_classes(), "QShortcut"]:
        home = next((place for place in (QtWidgets, QtGui, QtCore) if hasattr(place, name)), None)
        if home is not None and name.startswith("Q"):
            found[name] = standin(name, getattr(home, name), BODIES.get(name, object))
            found[name]._own_class = False
    return found


CLASSES = qt_classes()


class QUiLoaderModule(ModuleType):
    """`qt`; a name that is not offered raises, as a misspelled one would in Slicer."""

    def __getattr__(self, name):
        raise AttributeError(f"qt has no attribute '{name}' among the stand-ins; add it to Testing/standins/qt_module.py if real Slicer has it")


def qt_module(application: Application) -> ModuleType:
    """A fresh module `qt` that records into this application."""
    from Testing.standins.ui_files import QUiLoader
    _held[:] = [application]
    module = QUiLoaderModule("qt")
    for home, names in PLAIN.items():
        for name in names.split():
            setattr(module, name, getattr(home, name))
    for name, each in CLASSES.items():
        setattr(module, name, each)
    module.QApplication, module.QDesktopServices, module.QUiLoader = QApplication, QDesktopServices, QUiLoader
    return module


def qt_application() -> QtWidgets.QApplication:
    """PySide6's application object: made once a process, kept for ever; without a display unless QT_QPA_PLATFORM names one."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    return QtWidgets.QApplication.instance() or QtWidgets.QApplication(["Slicer"])


__all__ = ["Application", "CLASSES", "qt_application", "qt_module", "pythonqt"]
