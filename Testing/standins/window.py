"""A main window as Slicer's: the module panel in a dock of about 450 px at the left, the views at the right."""

from __future__ import annotations

from types import SimpleNamespace

from PySide6 import QtCore, QtGui, QtWidgets

PANEL_WIDTH = 450
DATA_PROBE_HEIGHT = 215
"""What the application's own parts take of the panel's height: at 1280x800 the module area is about 485 px high."""
CORE_MODULES = ("Data", "DICOM", "SampleData", "SegmentEditor", "Segmentations", "Transforms", "Volumes", "Welcome")
"""Modules of Slicer that a script may go to; their panel is a label here."""


def dark_palette() -> QtGui.QPalette:
    """The colours of Slicer's dark style, near enough for judging a panel."""
    palette, roles = QtGui.QPalette(), QtGui.QPalette.ColorRole
    for role, colour in ((roles.Window, "#2b2b2b"), (roles.WindowText, "#eeeeee"), (roles.Base, "#1e1e1e"), (roles.AlternateBase, "#353535"),
                         (roles.Text, "#eeeeee"), (roles.Button, "#3a3a3a"), (roles.ButtonText, "#eeeeee"), (roles.ToolTipBase, "#3a3a3a"),
                         (roles.ToolTipText, "#eeeeee"), (roles.PlaceholderText, "#9a9a9a"), (roles.Highlight, "#2a82da"),
                         (roles.HighlightedText, "#ffffff"), (roles.Link, "#6ab0f3"), (roles.Light, "#4a4a4a"), (roles.Dark, "#1a1a1a")):
        palette.setColor(role, QtGui.QColor(colour))
    for role in (roles.WindowText, roles.Text, roles.ButtonText):
        palette.setColor(QtGui.QPalette.ColorGroup.Disabled, role, QtGui.QColor("#7a7a7a"))
    return palette


def _core_module(name: str) -> SimpleNamespace:
    panel = QtWidgets.QLabel(f"{name}: a module of Slicer's own")
    panel.enter = panel.exit = lambda: None
    return SimpleNamespace(title=name, widgetRepresentation=lambda: panel)


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
        self.title = QtWidgets.QLabel()
        self.title.setMargin(3)
        help_text, probe = QtWidgets.QLabel("▸ Help & Acknowledgement"), QtWidgets.QLabel("▾ Data Probe")
        help_text.setMargin(3)
        probe.setFixedHeight(DATA_PROBE_HEIGHT)
        probe.setAlignment(QtCore.Qt.AlignTop)
        for part in (help_text, self.area, probe):
            layout.addWidget(part)
        for name in ("&File", "&Edit", "&View", "&Help"):
            self.menuBar().addMenu(name)
        bar = self.addToolBar("Modules")
        bar.setMovable(False)
        bar.addWidget(self.title)
        self.dock = QtWidgets.QDockWidget()
        self.dock.setFeatures(QtWidgets.QDockWidget.NoDockWidgetFeatures)
        self.dock.setTitleBarWidget(QtWidgets.QWidget())
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
        """Leave the module that is shown and enter the named one; an empty name only leaves.

        raises  AttributeError for a module that is neither loaded nor one of Slicer's own
        """
        if self._shown is not None:
            self._shown.exit()
            self.area.takeWidget()
        self.module_name, self._shown = name, None
        if name:
            module = _core_module(name) if name in CORE_MODULES else getattr(self._modules, name.lower())
            self._shown = module.widgetRepresentation()
            self.title.setText(f"Modules: {module.title}")
            self.area.setWidget(self._shown)
            self._fit()
            self._shown.enter()

    def _fit(self) -> None:
        """The horizontal bar is always off: a wide panel widens the dock and is never cut."""
        bar = self.area.verticalScrollBar().sizeHint().width()
        self.area.setMinimumWidth(min(QtWidgets.QWidget.minimumSizeHint(self._shown).width() + bar, self.width() // 2))
