"""A main window as Slicer's: the module panel in a dock of about 450 px at the left, the views at the right."""

from __future__ import annotations

from PySide6 import QtCore, QtWidgets

from Testing.standins.pythonqt import standin

PANEL_WIDTH = 450
DATA_PROBE_HEIGHT = 190
"""What the application's own parts take of the panel's height: at 1280x800 the module area is about 485 px high."""


class ModuleSelector:
    """`slicer.util.moduleSelector()`."""

    def __init__(self, window: "MainWindow"):
        self._window = window

    @property
    def selectedModule(self) -> str:
        return self._window.module_name

    def selectModule(self, name: str) -> None:
        self._window.select(name)


class MainWindow(QtWidgets.QMainWindow):
    """Shows one module at a time and tells it when it is entered and left."""

    def __init__(self, size: tuple[int, int], modules):
        super().__init__()
        self._modules, self.module_name, self._shown = modules, "", None
        self.setObjectName("qSlicerMainWindow")
        self.setWindowTitle("3D Slicer (stand-in)")
        self.area = QtWidgets.QScrollArea()
        self.area.setWidgetResizable(True)
        self.area.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarAlwaysOff)
        column = QtWidgets.QWidget()
        layout = QtWidgets.QVBoxLayout(column)
        layout.setContentsMargins(0, 0, 0, 0)
        self.title = QtWidgets.QLabel("Modules:")
        probe = QtWidgets.QLabel("Data Probe")
        probe.setFixedHeight(DATA_PROBE_HEIGHT)
        probe.setAlignment(QtCore.Qt.AlignTop)
        for part in (self.title, self.area, probe):
            layout.addWidget(part)
        self.dock = QtWidgets.QDockWidget()
        self.dock.setFeatures(QtWidgets.QDockWidget.NoDockWidgetFeatures)
        self.dock.setWidget(column)
        self.addDockWidget(QtCore.Qt.LeftDockWidgetArea, self.dock)
        self.views = QtWidgets.QWidget()
        self.views.setStyleSheet("background-color: #808080")
        self.setCentralWidget(self.views)
        self.statusBar().setSizeGripEnabled(False)
        self.resize(*size)
        self.resizeDocks([self.dock], [PANEL_WIDTH], QtCore.Qt.Horizontal)
        self.moduleSelector = lambda: ModuleSelector(self)

    def select(self, name: str) -> None:
        """Leave the module that is shown and enter the named one; an empty name only leaves."""
        if self._shown is not None:
            self._shown.exit()
            self.area.takeWidget()
        self.module_name, self._shown = name, None
        if name:
            module = getattr(self._modules, name.lower())
            self._shown = module.widgetRepresentation()
            self.title.setText(f"Modules: {module.title}")
            self.area.setWidget(self._shown)
            self._fit()
            self._shown.enter()

    def _fit(self) -> None:
        """The horizontal bar is always off: a wide panel widens the dock and is never cut."""
        bar = self.area.verticalScrollBar().sizeHint().width()
        self.area.setMinimumWidth(min(QtWidgets.QWidget.minimumSizeHint(self._shown).width() + bar, self.width() // 2))


__all__ = ["MainWindow", "standin"]
