"""qMRMLLayoutManager around the real layout logic: the views that the current layout's description names."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from PySide6 import QtCore, QtWidgets
from vtkmodules.vtkCommonCore import vtkCollection

from Testing.standins.mrml_widgets import MRMLWidget
from Testing.standins.pythonqt import standin
from Testing.standins.slice_views import CLASSES as VIEWS

LATE = -10.0


class _LayoutManager(MRMLWidget):
    """A layout number without a description leaves a grey area, and registering the description afterwards does not repair it, because
    nothing changes then; going to another layout and back does (trap A1). A view once made stays, hidden, when its layout is left.
    Views that an import brings are made at its end, before scripts hear of it."""
    _defaults = {"threeDViewCount": 0, "tableViewCount": 0, "plotViewCount": 0, "enabled": True}

    def _begin(self, slicer: Any, application_logic: Any, viewport: QtWidgets.QWidget) -> None:
        own = self._state()
        own.slicer, own.application_logic, own.viewport, own.widgets, own.shown = slicer, application_logic, viewport, {}, None
        own.slice_logics, own.logic, own.content = vtkCollection(), slicer.vtkMRMLLayoutLogic(), None
        application_logic.SetSliceLogics(own.slice_logics)
        QtWidgets.QVBoxLayout(viewport).setContentsMargins(0, 0, 0, 0)
        own.logic.SetMRMLApplicationLogic(application_logic)
        own.logic.SetMRMLScene(application_logic.GetMRMLScene())
        self.setMRMLScene(application_logic.GetMRMLScene())
        self._observe(self._scene(), self._scene().EndImportEvent, lambda *_: self._arrange())
        own.tag = self._node().AddObserver("ModifiedEvent", lambda *_: self._arrange(), LATE)
        self._arrange()

    def _end(self) -> None:
        own = self._state()
        self._node().RemoveObserver(own.tag)
        for index in range(own.slice_logics.GetNumberOfItems()):
            own.slice_logics.GetItemAsObject(index).SetMRMLScene(None)
        own.logic.SetMRMLScene(None)
        own.application_logic.SetSliceLogics(None)

    def _node(self):
        return self._state().logic.GetLayoutNode()

    def _arrange(self) -> None:
        own, number = self._state(), self._node().GetViewArrangement()
        if number == own.shown or self._scene().IsImporting():
            return
        own.shown = number
        for widget in own.widgets.values():
            widget.setParent(own.viewport)
            widget.hide()
        if own.content is not None:
            own.content.setParent(None)
            own.content.deleteLater()
        own.content = QtWidgets.QWidget()
        own.viewport.layout().addWidget(own.content)
        description = self._node().GetCurrentLayoutDescription()
        if description:
            self._fill(own.content, ElementTree.fromstring(description))
        own.content.show()
        self._fire("layoutChanged(int)", number)

    def _fill(self, area: QtWidgets.QWidget, layout: ElementTree.Element) -> None:
        """One <layout> element: rows, columns, a grid or tabs of views and layouts."""
        kind = layout.get("type", "vertical")
        box = QtWidgets.QGridLayout(area) if kind == "grid" else QtWidgets.QHBoxLayout(area) if kind == "horizontal" else QtWidgets.QVBoxLayout(area)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(1)
        for item in layout.findall("item"):
            part = self._part(item[0])
            if part is None:
                continue
            if kind == "grid":
                box.addWidget(part, int(item.get("row", 0)), int(item.get("column", 0)))
            else:
                box.addWidget(part, 1)
            part.show()

    def _part(self, element: ElementTree.Element) -> QtWidgets.QWidget | None:
        if element.tag == "layout":
            area = QtWidgets.QWidget()
            self._fill(area, element)
            return area
        if element.get("class") == "vtkMRMLSliceNode":
            return self._slice_widget(element.get("singletontag"))
        empty = QtWidgets.QLabel(f"{element.get('class', '').removeprefix('vtkMRML').removesuffix('Node')} {element.get('singletontag', '')}")
        empty.setSizePolicy(QtWidgets.QSizePolicy.Ignored, QtWidgets.QSizePolicy.Ignored)
        empty.setAlignment(QtCore.Qt.AlignCenter)
        empty.setStyleSheet("background-color: #9c9cc8; color: white")
        return empty

    def _slice_widget(self, name: str):
        own, scene = self._state(), self.mrmlScene()
        if name not in own.widgets:
            logic = own.slicer.vtkMRMLSliceLogic()
            logic.SetMRMLApplicationLogic(own.application_logic)
            logic.SetMRMLScene(scene)
            logic.SetSliceNode(scene.GetSingletonNode(name, "vtkMRMLSliceNode"))
            own.slice_logics.AddItem(logic)
            own.widgets[name] = VIEWS["qMRMLSliceWidget"]()
            own.widgets[name]._show(logic, scene)
        return own.widgets[name]

    def _get_layout(self):
        return self._node().GetViewArrangement()

    def _set_layout(self, number):
        self._node().SetViewArrangement(number)

    def setLayout(self, number: int) -> None:
        self._node().SetViewArrangement(number)

    def layoutLogic(self):
        return self._state().logic

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(self._state().widgets)

    def sliceWidget(self, name: str):
        return self._state().widgets.get(name)

    def mrmlSliceLogics(self):
        return self._state().slice_logics

    def viewport(self):
        return self._state().viewport

    def threeDWidget(self, which):
        return None

    def resetSliceViews(self) -> None:
        for widget in self._state().widgets.values():
            widget.sliceLogic().FitSliceToBackground()

    def pauseRender(self) -> None:
        pass

    def resumeRender(self) -> None:
        pass


LAYOUT_MANAGER = standin("qMRMLLayoutManager", QtCore.QObject, _LayoutManager)
