"""A scripted module of a few lines, for the tests of the stand-ins: written into a folder, opened like any other."""

from __future__ import annotations

from pathlib import Path

SCRIPT = '''
import enum
from typing import Annotated, Optional

import qt
import slicer
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin


class Region(enum.Enum):
    RECTUM = 1
    BREAST = 2

    def label(self):
        return _("Region {name}").format(name=self.name.lower())


@parameterNodeWrapper
class TinyParameterNode:
    pre: vtkMRMLScalarVolumeNode
    post: vtkMRMLScalarVolumeNode
    region: Region = Region.BREAST
    opacity: Annotated[float, WithinRange(0, 1)] = 0.5
    remark: str = "none"
    note: Optional[str]


class Tiny(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "Tiny module"
        slicer.app.connect("startupCompleted()", lambda: setattr(self, "started", True))


class TinyWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.log, self.node, self.tag = [], None, None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.root = slicer.util.loadUI(self.resourcePath("UI/Tiny.ui"))
        self.layout.addWidget(self.root)
        self.ui = slicer.util.childWidgetVariables(self.root)
        self.root.setMRMLScene(slicer.mrmlScene)
        self.logic = TinyLogic()
        self.ui.apply.connect("clicked(bool)", self.onApply)
        for event, name in ((slicer.mrmlScene.StartCloseEvent, "StartClose"), (slicer.mrmlScene.EndCloseEvent, "EndClose"),
                            (slicer.mrmlScene.StartImportEvent, "StartImport"), (slicer.mrmlScene.EndImportEvent, "EndImport")):
            self.addObserver(slicer.mrmlScene, event, getattr(self, "on" + name))

    def onApply(self, checked):
        self.log.append("apply")
        if self.ui.remark.text == "fail":
            raise RuntimeError("the tiny module failed on purpose")

    def enter(self):
        self.log.append("enter")
        self.setParameterNode(TinyParameterNode(self.logic.getParameterNode()))

    def exit(self):
        self.log.append("exit")
        self.setParameterNode(None)

    def cleanup(self):
        self.log.append("cleanup")
        self.setParameterNode(None)
        self.removeObservers()

    def setParameterNode(self, node):
        if self.node is not None:
            self.node.disconnectGui(self.tag)
        self.node = node
        if node is not None:
            self.tag = node.connectGui(self.ui)

    def onStartClose(self, caller, event):
        self.log.append("StartClose")
        self.setParameterNode(None)

    def onEndClose(self, caller, event):
        self.log.append("EndClose")
        if self.parent.isEntered:
            self.enter()

    def onStartImport(self, caller, event):
        self.log.append("StartImport")
        if not getattr(self, "careless", False):
            self.setParameterNode(None)

    def onEndImport(self, caller, event):
        self.log.append("EndImport")
        if self.parent.isEntered and self.node is None:
            self.enter()


class TinyLogic(ScriptedLoadableModuleLogic):
    pass


class TinyTest(ScriptedLoadableModuleTest):
    ran = 0

    def test_something(self):
        TinyTest.ran += 1
'''

NODES = '''<property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
   <property name="showChildNodeTypes"><bool>false</bool></property><property name="noneEnabled"><bool>true</bool></property>
   <property name="SlicerParameterName" stdset="0"><string>{name}</string></property>'''

FORM = f'''<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>Tiny</class>
<widget class="qMRMLWidget" name="Tiny"><layout class="QVBoxLayout" name="column">
 <item><widget class="ctkCollapsibleButton" name="inputs"><property name="text"><string>Inputs</string></property><layout class="QFormLayout" name="form">
  <item row="0" column="0"><widget class="QLabel" name="preLabel"><property name="text"><string>Before:</string></property></widget></item>
  <item row="0" column="1"><widget class="qMRMLNodeComboBox" name="pre">{NODES.format(name="pre")}</widget></item>
  <item row="1" column="1"><widget class="qMRMLNodeComboBox" name="post">{NODES.format(name="post")}</widget></item>
  <item row="2" column="1"><widget class="QComboBox" name="region">
   <property name="SlicerParameterName" stdset="0"><string>region</string></property></widget></item>
  <item row="3" column="1"><widget class="ctkSliderWidget" name="opacity"><property name="singleStep"><double>0.1</double></property>
   <property name="maximum"><double>1.0</double></property><property name="SlicerParameterName" stdset="0"><string>opacity</string></property></widget></item>
  <item row="4" column="1"><widget class="QLineEdit" name="remark">
   <property name="SlicerParameterName" stdset="0"><string>remark</string></property></widget></item>
 </layout></widget></item>
 <item><widget class="QPushButton" name="apply"><property name="text"><string>Apply</string></property></widget></item>
 <item><spacer name="rest"><property name="orientation"><enum>Qt::Vertical</enum></property></spacer></item>
</layout></widget>
<customwidgets>
 <customwidget><class>qMRMLWidget</class><extends>QWidget</extends><header>qMRMLWidget.h</header><container>1</container></customwidget>
 <customwidget><class>qMRMLNodeComboBox</class><extends>QWidget</extends><header>qMRMLNodeComboBox.h</header></customwidget>
 <customwidget><class>ctkSliderWidget</class><extends>QWidget</extends><header>ctkSliderWidget.h</header></customwidget>
 <customwidget><class>ctkCollapsibleButton</class><extends>QWidget</extends><header>ctkCollapsibleButton.h</header><container>1</container></customwidget>
</customwidgets>
<resources/>
<connections>
 <connection><sender>Tiny</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal><receiver>pre</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection>
 <connection><sender>Tiny</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal><receiver>post</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection>
</connections></ui>
'''


def write_tiny_module(folder: Path, form: str = FORM) -> Path:
    """Write the module and its form into the folder; the path of the module file."""
    (folder / "Resources" / "UI").mkdir(parents=True)
    (folder / "Resources" / "UI" / "Tiny.ui").write_text(form, encoding="utf-8")
    script = folder / "Tiny.py"
    script.write_text(SCRIPT, encoding="utf-8")
    return script
