"""The ctk widgets that a module panel uses, small, with the properties and signals that real ones were seen to have."""

from __future__ import annotations

from types import ModuleType

from PySide6 import QtCore, QtGui, QtWidgets

from Testing.standins.pythonqt import standin
from Testing.standins.qt_module import BODIES, _application


class _Row:
    """A widget that lays out its parts in one row."""

    def _row(self, *parts: QtWidgets.QWidget) -> None:
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for part in parts:
            row.addWidget(part)


class _CollapsibleButton:
    """A header that folds away what lies below it."""
    _defaults = {"collapsed": False, "collapsedHeight": 10, "flat": False, "contentsFrameShape": QtWidgets.QFrame.StyledPanel, "contentsLineWidth": 1}

    def __init__(self, *arguments):
        super().__init__(*[each for each in arguments if not isinstance(each, str)])
        for text in [each for each in arguments if isinstance(each, str)]:
            self.setText(text)
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(2, self.fontMetrics().height() + 8, 2, 2)
        self.toggled.connect(self._fold)
        self.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Preferred)

    def _fold(self, unfolded: bool) -> None:
        self._state().values["collapsed"] = not unfolded
        for child in self.children():
            if child.isWidgetType():
                child.setVisible(unfolded)
        self.setMaximumHeight(QtWidgets.QWIDGETSIZE_MAX if unfolded else self.fontMetrics().height() + 8)
        self._fire("contentsCollapsed(bool)", not unfolded)

    def _set_collapsed(self, folded: bool) -> None:
        self.setChecked(not folded)

    def sizeHint(self):
        inside = self.layout().totalSizeHint() if self.layout() else QtCore.QSize(80, 0)
        return inside.expandedTo(QtCore.QSize(80, self.fontMetrics().height() + 8))

    def paintEvent(self, event):
        painter, option = QtGui.QPainter(self), QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        header = QtCore.QRect(0, 0, self.width, self.fontMetrics().height() + 8)
        painter.fillRect(header, option.palette.button())
        painter.setPen(option.palette.buttonText().color())
        painter.drawText(header.adjusted(6, 0, 0, 0), QtCore.Qt.AlignVCenter, ("▾ " if self.isChecked() else "▸ ") + self.text)
        painter.end()


class _CollapsibleGroupBox:
    _defaults = {"collapsed": False, "collapsedHeight": 14}

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.setCheckable(True)
        self.toggled.connect(self._fold)

    def _fold(self, unfolded: bool) -> None:
        self._state().values["collapsed"] = not unfolded
        for child in self.children():
            if child.isWidgetType():
                child.setVisible(unfolded)

    def _set_collapsed(self, folded: bool) -> None:
        self.setChecked(not folded)


class _SliderWidget(_Row):
    """A slider and a spin box of one value. `valueIsChanging` comes while dragging only if tracking is off, as in ctk."""
    _defaults = {"pageStep": 10.0, "tickInterval": 0.0, "tickPosition": QtWidgets.QSlider.NoTicks, "tracking": True, "spinBoxVisible": True,
                 "popupSlider": False, "invertedAppearance": False, "invertedControls": False, "spinBoxAlignment": QtCore.Qt.AlignRight}
    _TICKS = 10000

    def __init__(self, parent=None):
        super().__init__(parent)
        own = self._state()
        own.slider, own.box = QtWidgets.QSlider(QtCore.Qt.Horizontal), QtWidgets.QDoubleSpinBox()
        own.slider.setRange(0, self._TICKS)
        own.box.setRange(0.0, 99.0)
        self._row(own.slider, own.box)
        own.box.valueChanged.connect(lambda value: self._changed(value))
        own.slider.valueChanged.connect(lambda ticks: own.box.setValue(self.minimum + ticks / self._TICKS * (self.maximum - self.minimum)))

    def _changed(self, value: float) -> None:
        self._follow()
        self._fire("valueChanged(double)", value)

    def _follow(self) -> None:
        own, span = self._state(), self.maximum - self.minimum
        own.slider.blockSignals(True)
        own.slider.setValue(round((own.box.value() - self.minimum) / span * self._TICKS) if span else 0)
        own.slider.blockSignals(False)

    def _set_spinBoxVisible(self, visible):
        self._state().values["spinBoxVisible"] = visible
        self._state().box.setVisible(visible)

    def reset(self):
        self.value = min(max(0.0, self.minimum), self.maximum)


def _of_part(part: str, name: str, after: str | None = None) -> dict[str, object]:
    """`_get_x` and `_set_x` that pass a property on to a part of the widget."""
    title = name[0].upper() + name[1:]

    def write(self, value):
        getattr(getattr(self._state(), part), f"set{title}")(value)
        if after:
            getattr(self, after)()

    return {f"_get_{name}": lambda self: getattr(getattr(self._state(), part), name)(), f"_set_{name}": write}


for _name in ("minimum", "maximum", "value", "decimals", "singleStep", "prefix", "suffix"):
    for _method, _function in _of_part("box", _name, "_follow" if _name in ("minimum", "maximum") else None).items():
        setattr(_SliderWidget, _method, _function)


class _DoubleSlider(_Row):
    """A slider of real numbers: whole ticks inside."""
    _defaults = {"minimum": 0.0, "maximum": 99.0, "value": 0.0, "singleStep": 1.0, "pageStep": 10.0, "handleToolTip": "",
                 "orientation": QtCore.Qt.Horizontal, "tracking": True}
    _TICKS = 10000

    def __init__(self, *arguments):
        super().__init__(*[each for each in arguments if isinstance(each, QtWidgets.QWidget)])
        own = self._state()
        own.slider = QtWidgets.QSlider(QtCore.Qt.Horizontal)
        own.slider.setRange(0, self._TICKS)
        self._row(own.slider)
        own.slider.valueChanged.connect(lambda ticks: self._settle(self.minimum + ticks / self._TICKS * (self.maximum - self.minimum)))
        for orientation in [each for each in arguments if isinstance(each, QtCore.Qt.Orientation)]:
            self.orientation = orientation

    def _settle(self, value: float) -> None:
        values = self._state().values
        before, values["value"] = values["value"], min(max(value, values["minimum"]), values["maximum"])
        if values["value"] != before:
            self._fire("valueChanged(double)", values["value"])

    def _set_value(self, value: float) -> None:
        self._settle(value)
        slider, span = self._state().slider, self.maximum - self.minimum
        slider.blockSignals(True)
        slider.setValue(round((self.value - self.minimum) / span * self._TICKS) if span else 0)
        slider.blockSignals(False)

    def _set_orientation(self, orientation):
        self._state().values["orientation"] = orientation
        self._state().slider.setOrientation(orientation)


class _RangeWidget(_Row):
    """Two ends of a range, kept in order."""
    _defaults = {"minimum": 0.0, "maximum": 99.0, "minimumValue": 0.0, "maximumValue": 99.0, "decimals": 2, "singleStep": 1.0,
                 "prefix": "", "suffix": "", "tickInterval": 0.0, "tracking": True, "symmetricMoves": False}

    def __init__(self, parent=None):
        super().__init__(parent)
        own = self._state()
        own.low, own.high = QtWidgets.QDoubleSpinBox(), QtWidgets.QDoubleSpinBox()
        self._row(own.low, own.high)
        self._show()
        own.low.valueChanged.connect(lambda value: self.setValues(value, max(value, self.maximumValue)))
        own.high.valueChanged.connect(lambda value: self.setValues(min(value, self.minimumValue), value))

    def _show(self) -> None:
        own, values = self._state(), self._state().values
        for box, key in ((own.low, "minimumValue"), (own.high, "maximumValue")):
            box.blockSignals(True)
            box.setDecimals(values["decimals"])
            box.setSingleStep(values["singleStep"])
            box.setRange(values["minimum"], values["maximum"])
            box.setValue(values[key])
            box.blockSignals(False)

    def setValues(self, low: float, high: float) -> None:
        values = self._state().values
        low, high = (min(max(float(each), values["minimum"]), values["maximum"]) for each in (low, high))
        before = values["minimumValue"], values["maximumValue"]
        values["minimumValue"], values["maximumValue"] = low, high
        self._show()
        if (low, high) == before:
            return
        if low != before[0]:
            self._fire("minimumValueChanged(double)", low)
        if high != before[1]:
            self._fire("maximumValueChanged(double)", high)
        self._fire("valuesChanged(double,double)", low, high)

    def setRange(self, low: float, high: float) -> None:
        self._state().values.update(minimum=float(low), maximum=float(high))
        self.setValues(self.minimumValue, self.maximumValue)
        self._fire("rangeChanged(double,double)", float(low), float(high))

    def _set_minimum(self, value):
        self.setRange(value, max(value, self.maximum))

    def _set_maximum(self, value):
        self.setRange(min(value, self.minimum), value)

    def _set_minimumValue(self, value):
        self.setValues(value, max(value, self.maximumValue))

    def _set_maximumValue(self, value):
        self.setValues(min(value, self.minimumValue), value)

    def _set_decimals(self, value):
        self._state().values["decimals"] = value
        self._show()

    def _set_singleStep(self, value):
        self._state().values["singleStep"] = value
        self._show()


class _PathLineEdit(_Row):
    """A path with a button that asks for one. Flags as in ctk: Dirs 1, Files 2, Writable 32."""
    Dirs, Files, Drives, Readable, Writable = 0x001, 0x002, 0x004, 0x010, 0x020
    _defaults = {"label": "", "filters": 0x002, "options": 0, "settingKey": "", "showBrowseButton": True, "showHistoryButton": True,
                 "sizeAdjustPolicy": QtWidgets.QComboBox.AdjustToContentsOnFirstShow, "minimumContentsLength": 0, "nameFilters": ()}

    def __init__(self, parent=None):
        super().__init__(parent)
        own = self._state()
        own.edit, own.button = QtWidgets.QLineEdit(), QtWidgets.QToolButton()
        own.button.setText("…")
        self._row(own.edit, own.button)
        own.edit.textChanged.connect(lambda path: self._fire("currentPathChanged(QString)", path))
        own.button.clicked.connect(lambda: self.browse())

    def _get_currentPath(self):
        return self._state().edit.text()

    def _set_currentPath(self, path):
        self._state().edit.setText(path)

    def _set_showBrowseButton(self, visible):
        self._state().button.setVisible(visible)

    def addCurrentPathToHistory(self):
        pass

    def browse(self):
        kind = "getExistingDirectory" if int(self.filters) & self.Dirs else "getOpenFileName"
        self.currentPath = _application().show(kind, self.label, "") or self.currentPath


class _DirectoryButton(_Row):
    """A button that shows the folder and asks for another one."""
    _defaults = {"directory": ".", "caption": "", "text": "", "acceptMode": QtWidgets.QFileDialog.AcceptOpen}

    def __init__(self, *arguments):
        super().__init__(*[each for each in arguments if isinstance(each, QtWidgets.QWidget)])
        self._state().button = QtWidgets.QPushButton(".")
        self._row(self._state().button)
        self._state().button.clicked.connect(lambda: self.browse())
        for folder in [each for each in arguments if isinstance(each, str)]:
            self.directory = folder

    def _set_directory(self, path):
        changed = path != self.directory
        self._state().values["directory"] = path
        self._state().button.setText(path)
        if changed:
            self._fire("directoryChanged(QString)", path)

    def browse(self):
        chosen = _application().show("getExistingDirectory", self.caption, "")
        if chosen:
            self.directory = chosen
            self._fire("directorySelected(QString)", chosen)


class _ComboBox(BODIES["QComboBox"]):
    _defaults = {"defaultText": "", "forceDefault": False, "currentUserDataAsString": "", "elideMode": QtCore.Qt.ElideNone}


CLASSES = {"ctkCollapsibleButton": standin("ctkCollapsibleButton", QtWidgets.QAbstractButton, _CollapsibleButton),
           "ctkCollapsibleGroupBox": standin("ctkCollapsibleGroupBox", QtWidgets.QGroupBox, _CollapsibleGroupBox),
           "ctkSliderWidget": standin("ctkSliderWidget", QtWidgets.QWidget, _SliderWidget),
           "ctkDoubleSlider": standin("ctkDoubleSlider", QtWidgets.QWidget, _DoubleSlider),
           "ctkDoubleSpinBox": standin("ctkDoubleSpinBox", QtWidgets.QDoubleSpinBox),
           "ctkRangeWidget": standin("ctkRangeWidget", QtWidgets.QWidget, _RangeWidget),
           "ctkPathLineEdit": standin("ctkPathLineEdit", QtWidgets.QWidget, _PathLineEdit),
           "ctkDirectoryButton": standin("ctkDirectoryButton", QtWidgets.QWidget, _DirectoryButton),
           "ctkComboBox": standin("ctkComboBox", QtWidgets.QComboBox, _ComboBox),
           "ctkCheckBox": standin("ctkCheckBox", QtWidgets.QCheckBox),
           "ctkPushButton": standin("ctkPushButton", QtWidgets.QPushButton),
           "ctkMessageBox": standin("ctkMessageBox", QtWidgets.QMessageBox, BODIES["QMessageBox"]),
           "ctkFittedTextBrowser": standin("ctkFittedTextBrowser", QtWidgets.QTextBrowser)}


def ctk_module() -> ModuleType:
    module = ModuleType("ctk")
    module.__dict__.update(CLASSES)
    return module
