"""qMRMLSliceWidget, its view and its controller, around a real vtkMRMLSliceLogic."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from Testing.standins.mrml_widgets import MRMLWidget, node_observer
from Testing.standins.pythonqt import standin
from Testing.standins.slice_picture import slice_image

LINKED_OFFSET = 1


class _SliceView(MRMLWidget):
    """The picture. A colour legend is drawn only if it was added while this view existed and showed its volume (trap A1b); it then stays until
    it is hidden itself, also when the volume has left the view."""

    def _show(self, logic: Any, scene: Any) -> None:
        own = self._state()
        own.logic, own.legends = logic, {}
        self.setMinimumSize(60, 60)
        self.setMRMLScene(scene)
        self._observe(scene, scene.NodeAddedEvent, node_observer(lambda caller, event, node: self._added(node)))
        for thing in (logic, logic.GetSliceNode(), logic.GetSliceCompositeNode()):
            self._observe(thing, "ModifiedEvent", lambda *_: self.update())

    def _added(self, node: Any) -> None:
        if node is not None and node.IsA("vtkMRMLColorLegendDisplayNode"):
            self._state().legends[node.GetID()] = None

    def mrmlSliceNode(self):
        return self._state().logic.GetSliceNode()

    def scheduleRender(self):
        self.update()

    def forceRender(self):
        self.repaint()

    def resizeEvent(self, event):
        size = event.size()
        self._state().logic.ResizeSliceNode(max(size.width(), 1), max(size.height(), 1))

    def paintEvent(self, event):
        scene, own = self.mrmlScene(), self._state()
        painter = QtGui.QPainter(self)
        if scene is not None and own.logic.GetMRMLScene() is not None and not scene.IsBatchProcessing():
            painter.drawImage(0, 0, slice_image(own.logic, self._legends(scene), max(self.width, 1), max(self.height, 1)))
        painter.end()

    def _legends(self, scene: Any) -> list[Any]:
        """Those that are drawn; whether one is, is settled when the view is painted for the first time after the legend was added."""
        own, layers = self._state(), self._state().logic.GetSliceCompositeNode()
        shown = {layers.GetBackgroundVolumeID(), layers.GetForegroundVolumeID(), layers.GetLabelVolumeID()}
        own.legends = {each: settled for each, settled in own.legends.items() if scene.GetNodeByID(each) is not None}
        for each, settled in own.legends.items():
            if settled is None and (volume := scene.GetNodeByID(each).GetDisplayableNode()) is not None:
                own.legends[each] = volume.GetID() in shown
        return [scene.GetNodeByID(each) for each, settled in own.legends.items() if settled]


class _SliceController(MRMLWidget):
    """The bar above a view: label, offset slider, offset. Moving it here moves linked views; setting the slice node's offset does not (A12).
    Its selector of the foreground jumps to another volume when its own goes, and takes the linked views with it."""

    def _show(self, logic: Any) -> None:
        own, node = self._state(), logic.GetSliceNode()
        own.logic, own.slider, own.text = logic, QtWidgets.QSlider(QtCore.Qt.Horizontal), QtWidgets.QLabel()
        label, colour = QtWidgets.QLabel(f" {node.GetLayoutLabel()} "), QtGui.QColor.fromRgbF(*node.GetLayoutColor())
        label.setStyleSheet(f"background-color: {colour.name()}; color: white")
        own.slider.setRange(-2000, 2000)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(2, 1, 2, 1)
        for part in (label, own.slider, own.text):
            row.addWidget(part)
        own.slider.valueChanged.connect(lambda tenths: self.setSliceOffsetValue(tenths / 10))
        self._observe(node, "ModifiedEvent", lambda *_: self._moved())
        scene = logic.GetMRMLScene()
        self._observe(scene, scene.NodeAboutToBeRemovedEvent, node_observer(lambda caller, event, gone: self._leaves(caller, gone)))

    def _leaves(self, scene: Any, gone: Any) -> None:
        layers, group = self.mrmlSliceCompositeNode(), self.mrmlSliceNode().GetViewGroup()
        if gone is None or layers is None or scene.IsClosing() or layers.GetForegroundVolumeID() != gone.GetID():
            return
        volumes = [scene.GetNthNodeByClass(index, "vtkMRMLScalarVolumeNode") for index in range(scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"))]
        place = volumes.index(gone)
        following = next(iter(volumes[place + 1:] + volumes[:place]), None)
        views = [scene.GetNthNodeByClass(index, "vtkMRMLSliceNode") for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceNode"))]
        others = [self._state().logic.GetSliceCompositeNode(view) for view in views if view.GetViewGroup() == group]
        for each in {layers, *(other for other in others if other is not None and layers.GetLinkedControl())}:
            each.SetForegroundVolumeID(None if following is None else following.GetID())

    def _moved(self) -> None:
        own = self._state()
        offset = own.logic.GetSliceOffset()
        own.slider.blockSignals(True)
        own.slider.setValue(round(offset * 10))
        own.slider.blockSignals(False)
        own.text.setText(f"{offset:.1f} mm")

    def setSliceOffsetValue(self, offset: float) -> None:
        logic = self._state().logic
        logic.StartSliceNodeInteraction(LINKED_OFFSET)
        logic.SetSliceOffset(offset)
        logic.EndSliceNodeInteraction()

    def sliceLogic(self):
        return self._state().logic

    def mrmlSliceNode(self):
        return self._state().logic.GetSliceNode()

    def mrmlSliceCompositeNode(self):
        return self._state().logic.GetSliceCompositeNode()

    def setSliceOrientation(self, name: str) -> None:
        self.mrmlSliceNode().SetOrientation(name)

    def setSliceLink(self, linked: bool) -> None:
        self.mrmlSliceCompositeNode().SetLinkedControl(linked)

    def setHotLinked(self, linked: bool) -> None:
        self.mrmlSliceCompositeNode().SetHotLinkedControl(linked)

    def setForegroundOpacity(self, opacity: float) -> None:
        self.mrmlSliceCompositeNode().SetForegroundOpacity(opacity)

    def fitSliceToBackground(self) -> None:
        self._state().logic.FitSliceToBackground()


class _SliceWidget(MRMLWidget):
    """A view with its controller. `SetOrientation` of a bare slice node given to it fails as in Slicer (A10): use the layout's nodes."""

    def _show(self, logic: Any, scene: Any) -> None:
        own = self._state()
        own.logic, own.controller, own.view = logic, CLASSES["qMRMLSliceControllerWidget"](), CLASSES["qMRMLSliceView"]()
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(1, 1, 1, 1)
        column.setSpacing(0)
        column.addWidget(own.controller)
        column.addWidget(own.view, 1)
        self.setMRMLScene(scene)
        own.controller.setMRMLScene(scene)
        own.controller._show(logic)
        own.view._show(logic, scene)

    def sliceLogic(self):
        return self._state().logic

    logic = sliceLogic

    def sliceView(self):
        return self._state().view

    viewWidget = sliceView

    def sliceController(self):
        return self._state().controller

    controllerWidget = sliceController

    def mrmlSliceNode(self):
        return self._state().logic.GetSliceNode()

    mrmlAbstractViewNode = mrmlSliceNode

    def mrmlSliceCompositeNode(self):
        return self._state().logic.GetSliceCompositeNode()

    def fitSliceToBackground(self) -> None:
        self._state().logic.FitSliceToBackground()

    def _get_sliceViewName(self):
        return self.mrmlSliceNode().GetLayoutName()

    def _get_sliceViewLabel(self):
        return self.mrmlSliceNode().GetLayoutLabel()

    def _get_sliceOrientation(self):
        return self.mrmlSliceNode().GetOrientation()

    def _set_sliceOrientation(self, name):
        self.mrmlSliceNode().SetOrientation(name)


CLASSES = {"qMRMLSliceView": standin("qMRMLSliceView", QtWidgets.QWidget, _SliceView),
           "qMRMLSliceControllerWidget": standin("qMRMLSliceControllerWidget", QtWidgets.QWidget, _SliceController),
           "qMRMLSliceWidget": standin("qMRMLSliceWidget", QtWidgets.QWidget, _SliceWidget)}
