"""What the stand-ins claim of node selectors, parameter nodes and the life of a scene: one test for each claim; A1-A8 are traps of a real Slicer."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="needs PySide6_Essentials (pip install 'mrdeltanet[test]')")
pytest.importorskip("slicer", reason="needs slicer-core (pip install 'mrdeltanet[scene]')")

import slicer  # noqa: E402

from Testing.standins.application import standin_application  # noqa: E402
from Testing.standins.tiny_module import write_tiny_module  # noqa: E402

VOLUME = "vtkMRMLScalarVolumeNode"


@pytest.fixture
def tiny(application, tmp_path):
    return application.open_module(write_tiny_module(tmp_path / "module"))


@pytest.fixture
def pair(application):
    return application.scene.AddNewNodeByClass(VOLUME, "Before"), application.scene.AddNewNodeByClass(VOLUME, "After")


def selector(application, **properties):
    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes, box.noneEnabled = [VOLUME], True
    for name, value in properties.items():
        setattr(box, name, value)
    box.setMRMLScene(application.scene)
    return box


def test_a_selector_follows_the_scene_by_type(application, pair):
    exact, children = selector(application, showChildNodeTypes=False), selector(application)
    application.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Labels")
    hidden = application.scene.AddNewNodeByClass(VOLUME, "Hidden")
    hidden.SetHideFromEditors(True)
    assert (exact.nodeCount(), children.nodeCount()) == (2, 3) and exact.nodeTypes == (VOLUME,) and exact.currentNode() is None
    exact.showHidden = True
    assert exact.nodeCount() == 3


def test_a_selector_says_what_is_selected_in_all_its_ways(application, pair):
    box, heard = selector(application), []
    box.connect("currentNodeChanged(vtkMRMLNode*)", heard.append)
    box.connect("currentNodeChanged(bool)", heard.append)
    box.connect("currentNodeIDChanged(QString)", heard.append)
    box.setCurrentNode(pair[1])
    assert heard == [pair[1], True, pair[1].GetID()] and box.currentNodeID == pair[1].GetID() and box.currentNode() is pair[1]
    box.currentNodeID = pair[0].GetID()
    assert box.currentNode() is pair[0]
    box.setCurrentNode(None)
    assert box.currentNode() is None and box.currentNodeID == ""


def test_without_none_the_first_node_is_selected_as_soon_as_it_exists(application):
    box = selector(application, noneEnabled=False)
    first = application.scene.AddNewNodeByClass(VOLUME, "first")
    assert box.currentNode() is first


def test_adding_a_node_selects_it(application):
    box, added = selector(application, baseName="Scan"), []
    box.connect("nodeAddedByUser(vtkMRMLNode*)", added.append)
    node = box.addNode()
    assert box.currentNode() is node and added == [node] and node.GetName() == "Scan"


def test_an_attribute_narrows_the_selector(application, pair):
    box = selector(application)
    box.addAttribute(VOLUME, "MRDeltaNet.map", "attention")
    assert box.nodeCount() == 0
    pair[0].SetAttribute("MRDeltaNet.map", "attention")
    pair[0].Modified()
    assert box.nodeFromIndex(0) is pair[0]


def test_of_two_attributes_the_later_one_counts_and_a_type_that_is_not_listed_is_passed_over(application, pair):
    box = selector(application)
    box.addAttribute("vtkMRMLModelNode", "MRDeltaNet.map", "attention")
    assert box.nodeCount() == 2
    pair[0].SetAttribute("second", "yes")
    box.addAttribute(VOLUME, "MRDeltaNet.map", "attention")
    box.addAttribute(VOLUME, "second")
    assert box.nodeCount() == 1 and box.nodeFromIndex(0) is pair[0]


def test_a_node_that_is_left_out_by_its_id_is_not_listed(application, pair):
    box = selector(application)
    box.sortFilterProxyModel().hiddenNodeIDs = [pair[0].GetID()]
    assert [box.nodeFromIndex(index) for index in range(box.nodeCount())] == [pair[1]]
    assert box.sortFilterProxyModel().hiddenNodeIDs == (pair[0].GetID(),)
    with pytest.raises(AttributeError):
        box.sortFilterProxyModel().hiddenIDs = []


def test_a_renamed_node_is_renamed_in_the_selector(application, pair):
    box = selector(application)
    pair[0].SetName("Baseline")
    assert box._own.box.itemText(1) == "Baseline"


def test_a3_removing_the_selected_volume_turns_post_into_pre(tiny, application, pair):
    tiny.ui.pre.setCurrentNode(pair[0])
    tiny.ui.post.setCurrentNode(pair[1])
    application.scene.RemoveNode(pair[1])
    assert tiny.node.pre is pair[0] and tiny.node.post is pair[0]


def test_a3_is_cured_by_disconnecting_before_the_removal(tiny, application, pair):
    tiny.ui.pre.setCurrentNode(pair[0])
    tiny.ui.post.setCurrentNode(pair[1])
    tiny.node.disconnectGui(tiny.tag)
    application.scene.RemoveNode(pair[1])
    tiny.tag = tiny.node.connectGui(tiny.ui)
    assert tiny.node.pre is pair[0] and tiny.node.post is None and tiny.ui.post.currentNode() is None


def test_parameters_are_stored_as_text_and_references(tiny, pair):
    node, raw = tiny.node, tiny.node.parameterNode
    node.pre, node.opacity, node.region = pair[0], 1.0, sys.modules["Tiny"].Region.RECTUM
    assert (raw.GetParameter("opacity"), raw.GetParameter("region"), raw.GetNodeReference("pre")) == ("1.0", "RECTUM", pair[0])
    assert node.post is None and node.note is None and node.default("opacity").value == 0.5
    node.note = "remark"
    assert node.note == "remark"


def test_both_directions_between_parameters_and_widgets(tiny, pair):
    node, ui = tiny.node, tiny.ui
    assert [ui.region.itemText(index) for index in range(ui.region.count)] == ["Region rectum", "Region breast"] and ui.region.currentIndex == 1
    ui.region.currentIndex, ui.opacity.value, ui.remark.text = 0, 0.25, "typed"
    assert (node.region.name, node.opacity, node.remark) == ("RECTUM", 0.25, "typed")
    node.opacity, node.pre = 0.75, pair[1]
    assert ui.opacity.value == 0.75 and ui.pre.currentNode() is pair[1]
    node.disconnectGui(tiny.tag)
    node.opacity = 0.5
    ui.remark.text = "unheard"
    assert ui.opacity.value == 0.75 and node.remark == "typed"
    tiny.tag = node.connectGui(ui)
    assert ui.opacity.value == 0.5 and ui.remark.text == "typed"


def test_wrong_values_are_refused(tiny, pair):
    with pytest.raises(ValueError, match="within"):
        tiny.node.opacity = 1.5
    with pytest.raises(TypeError):
        tiny.node.region = "RECTUM"
    with pytest.raises(TypeError):
        tiny.node.pre = tiny.node.parameterNode
    with pytest.raises(ValueError, match="None"):
        tiny.node.remark = None


def test_an_equal_value_fires_nothing_and_joined_changes_fire_once(tiny):
    heard = []
    tag = tiny.node.AddObserver("ModifiedEvent", lambda *_: heard.append(1))
    tiny.node.opacity = tiny.node.opacity
    assert not heard
    with slicer.util.NodeModify(tiny.node):
        tiny.node.opacity, tiny.node.remark = 0.1, "both"
    assert heard == [1]
    tiny.node.RemoveObserver(tag)


def test_a5_a_stale_enum_name_raises_when_the_wrapper_is_made(tiny, application):
    raw = tiny.node.parameterNode
    application.leave_module()
    raw.SetParameter("region", "GONE")
    with pytest.raises(ValueError, match="Found 'GONE' in parameter node but it is not a name in"):
        sys.modules["Tiny"].TinyParameterNode(raw)
    raw.SetParameter("region", "BREAST")


def test_a7_a_misspelled_parameter_is_silent(tiny):
    tiny.node.opacty = 3
    assert tiny.node.opacity == 0.5


def test_the_wrapper_s_own_names_are_reserved(application):
    from slicer.parameterNodeWrapper import parameterNodeWrapper
    with pytest.raises(ValueError, match="reserved name 'connectGui'"):
        parameterNodeWrapper(type("Wrong", (), {"__annotations__": {"connectGui": str}}))
    with pytest.raises(TypeError, match="no serializer"):
        parameterNodeWrapper(type("Wrong", (), {"__annotations__": {"number": complex}}))


def test_a_widget_of_a_derived_class_cannot_be_bound(tiny):
    qt = sys.modules["qt"]

    class Line(qt.QLineEdit):
        pass

    with pytest.raises(RuntimeError, match="Unable to create GUI connector"):
        tiny.node.connectParametersToGui({"remark": Line()})


def test_every_bindable_widget_in_both_directions(application):
    import enum
    import pathlib
    from typing import Annotated

    from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
    qt, ctk = sys.modules["qt"], sys.modules["ctk"]

    class Side(enum.Enum):
        LEFT = 1
        RIGHT = 2

    cls = parameterNodeWrapper(type("Many", (), {
        "__annotations__": {"flag": bool, "count": Annotated[int, WithinRange(0, 9)], "size": float, "side": Side, "folder": pathlib.Path,
                            "file": pathlib.Path, "word": Annotated[str, Choice(["a", "b"])], "text": str}, "word": "a"}))
    node = cls(application.scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    widgets = {"flag": qt.QCheckBox(), "count": qt.QSpinBox(), "size": qt.QDoubleSpinBox(), "side": ctk.ctkComboBox(),
               "folder": ctk.ctkDirectoryButton(), "file": ctk.ctkPathLineEdit(), "word": qt.QComboBox(), "text": qt.QTextEdit()}
    tag = node.connectParametersToGui(widgets)
    for name, value in {"flag": True, "count": 7, "size": 2.5, "side": Side.RIGHT, "folder": pathlib.Path("/data"), "file": pathlib.Path("/data/x"),
                        "word": "b", "text": "many words"}.items():
        setattr(node, name, value)
    shown = widgets["flag"].checked, widgets["count"].value, widgets["size"].value, widgets["side"].currentText, widgets["folder"].directory
    assert shown == (True, 7, 2.5, "RIGHT", "/data") and widgets["count"].maximum == 9
    widgets["flag"].checked, widgets["count"].value, widgets["word"].currentIndex, widgets["file"].currentPath = False, 3, 0, "/other"
    widgets["text"].plainText = "few"
    assert (node.flag, node.count, node.word, node.file, node.text) == (False, 3, "a", pathlib.Path("/other"), "few")
    node.disconnectGui(tag)


def test_closing_the_scene_comes_in_the_measured_order(tiny, application):
    tiny.log.clear()
    events, scene = [], application.scene
    tags = [scene.AddObserver(getattr(scene, name), lambda *_, name=name: events.append(name))
            for name in ("StartBatchProcessEvent", "StartCloseEvent", "EndCloseEvent", "EndBatchProcessEvent")]
    application.clear_scene()
    assert events == ["StartBatchProcessEvent", "StartCloseEvent", "EndCloseEvent", "EndBatchProcessEvent"]
    assert tiny.log == ["StartClose", "EndClose", "enter"] and tiny.node.pre is None
    for tag in tags:
        scene.RemoveObserver(tag)


def test_closing_loses_and_loading_restores_every_value_and_selector(tiny, application, pair, tmp_path):
    tiny.node.pre, tiny.node.post, tiny.node.opacity, tiny.node.remark = *pair, 0.25, "kept"
    application.save_scene(tmp_path / "bündel mit Leerzeichen.mrb")
    application.clear_scene()
    assert tiny.node.pre is None and tiny.node.opacity == 0.5 and tiny.ui.pre.nodeCount() == 0
    tiny.log.clear()
    application.load_scene(tmp_path / "bündel mit Leerzeichen.mrb")
    assert tiny.log == ["StartClose", "EndClose", "enter", "StartImport", "EndImport", "enter"]
    assert (tiny.node.pre.GetName(), tiny.node.post.GetName(), tiny.node.opacity, tiny.node.remark) == ("Before", "After", 0.25, "kept")
    assert tiny.ui.post.currentNode() is tiny.node.post


def test_a2_saving_sends_no_event(application, tmp_path):
    heard, scene = [], application.scene
    tags = [scene.AddObserver(event, lambda *_: heard.append(1)) for event in (scene.StartSaveEvent, scene.EndSaveEvent)]
    application.save_scene(tmp_path / "scene.mrb")
    assert not heard
    for tag in tags:
        scene.RemoveObserver(tag)


def test_a4_an_import_while_connected_erases_node_references(tiny, application, pair, tmp_path):
    tiny.node.pre, tiny.node.post = pair
    application.save_scene(tmp_path / "scene.mrb")
    tiny.careless = True
    application.load_scene(tmp_path / "scene.mrb", clear=False)
    assert tiny.node.pre is None
    tiny.careless = False
    application.load_scene(tmp_path / "scene.mrb", clear=False)
    assert tiny.node.pre is not None and tiny.ui.pre.currentNode() is tiny.node.pre


def test_slicer_util_reads_and_writes_through_the_stand_in(application, tmp_path):
    import numpy as np
    node = application.scene.AddNewNodeByClass(VOLUME, "Scan")
    slicer.util.updateVolumeFromArray(node, np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    assert slicer.util.saveNode(node, str(tmp_path / "scan.nrrd"))
    again = slicer.util.loadVolume(str(tmp_path / "scan.nrrd"))
    assert (slicer.util.arrayFromVolume(again) == slicer.util.arrayFromVolume(node)).all() and again.GetName() == "scan"
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb")) and (tmp_path / "scene.mrb").exists()
    assert slicer.util.tempDirectory().startswith(slicer.app.temporaryPath)


def test_confirmations_are_false_under_testing_and_asked_otherwise(application, tmp_path):
    assert slicer.util.confirmOkCancelDisplay("Go on?") is False and slicer.util.confirmYesNoDisplay("Sure?") is False
    slicer.util.errorDisplay("It failed")
    assert [(each.kind, each.text) for each in application.dialogs] == [("confirm", "Go on?"), ("confirm", "Sure?"), ("error", "It failed")]


def test_outside_testing_the_prepared_answer_counts(tmp_path):
    with standin_application(tmp_path, testing=False) as running:
        qt = sys.modules["qt"]
        running.answer("confirm", qt.QMessageBox.Ok)
        assert slicer.util.confirmOkCancelDisplay("Go on?") is True and slicer.util.confirmOkCancelDisplay("Again?") is False
        from slicer.packaging import pip_ensure
        with pytest.raises(RuntimeError, match="declined"):
            pip_ensure(["surely-not-installed>=9"], requester="MRDeltaNet")
        assert running.dialogs[-1].requirements == ["surely-not-installed>=9"]


def test_packaging_checks_truly_and_installs_nothing_under_testing(application, tmp_path):
    from slicer.packaging import load_requirements, pip_check, pip_ensure
    assert pip_check("numpy") and pip_check(["numpy>=1"]) and not pip_check("numpy>=999") and pip_check([])
    (tmp_path / "requirements.txt").write_text("# why\n--index-url x\nnumpy>=2\n")
    assert [str(each) for each in load_requirements(tmp_path / "requirements.txt")] == ["numpy>=2"]
    assert pip_ensure(["surely-not-installed"]) is None and not application.dialogs
    (tmp_path / "requirements.txt").write_text("numpy>=2  # inline\n")
    with pytest.raises(Exception, match="numpy"):
        load_requirements(tmp_path / "requirements.txt")


def test_pytorch_is_absent_until_its_extension_appears(application):
    with pytest.raises(ImportError):
        import PyTorchUtils
    application.add_pytorch_utils(installed=False, installs=False)
    import PyTorchUtils
    logic = PyTorchUtils.PyTorchUtilsLogic()
    assert not logic.torchInstalled() and logic.installTorch(askConfirmation=True, torchVersionRequirement=">=2.6") is None
    assert PyTorchUtils.state.asked == [">=2.6"]


def test_texts_are_translated_unless_a_placeholder_is_lost(tmp_path):
    words = {"Before": "Vorher", "{days} days": "Tage", ("workflow.steps", "Align"): "Ausrichten", ("test_scene_standins", "After"): "Nachher"}
    with standin_application(tmp_path, translations=words):
        from slicer.i18n import tr, translate
        assert tr("Before") == "Vorher" and tr("{days} days") == "{days} days" and translate("any", "other") == "other"
        assert translate("any", "{days} days") == "Tage"        # only tr looks at the placeholders
        assert tr("Align") == "Align" and translate("workflow.steps", "Align") == "Ausrichten"
        assert tr("After") == "Nachher"


def test_sample_data_call_their_own_downloader_when_their_button_is_pressed_and_never_else(application):
    import SampleData
    asked = []
    register = SampleData.SampleDataLogic.registerCustomSampleDataSource
    with pytest.raises(TypeError):                       # as a real Slicer, which counts the uris first
        register(category="MRDeltaNet", sampleName="Pair", customDownloader=asked.append)
    with pytest.raises(ValueError):
        register(category="MRDeltaNet", sampleName="Pair", uris=[""], fileNames=[None, None], customDownloader=asked.append)
    register(category="MRDeltaNet", sampleName="Pair", uris=[""], fileNames=[None], nodeNames=["Pair"], customDownloader=asked.append)
    with pytest.raises(NotImplementedError):
        SampleData.downloadSamples("Pair")
    assert not asked and SampleData.downloadSamples("None such") == []
    SampleData.press(SampleData.SampleDataLogic.sourceForSampleName("Pair"))
    assert asked[0].sampleName == "Pair"


def test_modules_that_are_not_loaded_raise(application):
    assert slicer.modules.segmentations.logic().IsA("vtkSlicerSegmentationsModuleLogic") and slicer.modules.colors.logic() is not None
    with pytest.raises(AttributeError):
        slicer.modules.brainsfit
