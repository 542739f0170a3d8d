"""Traps that a real Slicer showed, each named after what must not happen in the panel; docs/explanation/slicer-traps.md lists all of them."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ElementTree
import zipfile

import numpy as np
import pytest

from MRDeltaNetLib import workflow
from Testing.panel.conftest import MODULE, REPOSITORY, fill

PANEL = MODULE.parent / "MRDeltaNetPanel"
FORMS = sorted((MODULE.parent / "Resources" / "UI").glob("*.ui"))


@pytest.fixture
def applications(tmp_path):
    """The stand-in application, to be started more than once in a test."""
    pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="needs PySide6_Essentials (pip install 'mrdeltanet[test]')")
    pytest.importorskip("slicer", reason="needs slicer-core (pip install 'mrdeltanet[scene]')")
    from Testing.standins.application import standin_application
    return lambda name: standin_application(tmp_path / name)


def picture(view):
    """RGB pixels of a slice view, array (row, column, 3)."""
    from PySide6 import QtGui
    shown = view.sliceView().grab().toImage().convertToFormat(QtGui.QImage.Format_RGB888)
    rows = np.frombuffer(shown.constBits(), np.uint8).reshape(shown.height(), shown.bytesPerLine())
    return rows[:, :3 * shown.width()].reshape(shown.height(), shown.width(), 3).copy()


def views(panel):
    return panel.views._widgets()


def layers(panel):
    """Background and foreground of both views."""
    return [(each.GetBackgroundVolumeID(), each.GetForegroundVolumeID()) for each in panel.views.compositeNodes()]


def sources():
    return [MODULE, *sorted(PANEL.rglob("*.py"))]


def whole(panel):
    """What must survive saving and loading: choices by name, nodes by name."""
    from MRDeltaNetPanel.parameters import ENUMS
    parameters = panel.logic.getParameterNode()
    nodes = {name: getattr(parameters, name) for name in ("preVolume", "postVolume", "preSegmentation", "postSegmentation", "alignment", "alignmentResult",
                                                          "result", "measures", "report")}
    choices = {name: getattr(parameters, name) for name in ("completeResponse", "outlineStepMm", "allMembers", "mapThreshold", "mapOpacity", "legend")}
    return {name: None if node is None else node.GetName() for name, node in nodes.items()} | choices | {
        name: getattr(parameters, name).name for name in ENUMS}


def change_choices(parameters):
    from MRDeltaNetPanel.parameters import Device, Grade, Map, Registration
    parameters.registration, parameters.device, parameters.shownMap, parameters.mrtrg = Registration.AFFINE, Device.CPU, Map.CHANGE_POST, Grade.FOUR
    parameters.outlineStepMm, parameters.allMembers, parameters.mapThreshold, parameters.mapOpacity, parameters.legend = 3.5, False, 0.4, 0.7, False


def test_every_test_that_the_table_names_exists_and_every_trap_is_in_it():
    table = (REPOSITORY / "docs" / "explanation" / "slicer-traps.md").read_text(encoding="utf-8")
    rows = [line for line in table.splitlines() if re.match(r"\| A\d", line)]
    assert {int(number) for number in re.findall(r"^\| A(\d+)", "\n".join(rows), re.MULTILINE)} == set(range(1, 28))
    written = {name for place in ("panel", "mrml") for file in (REPOSITORY / "Testing" / place).glob("test_*.py")
               for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)}
    named = set(re.findall(r"`(test_\w+)`", table))
    assert named and named <= written, named - written
    assert {name for name in written if re.match(r"test_a\d+b?_", name)} <= named


# A1: layouts

def test_a1_a_scene_saved_inside_our_layout_does_not_come_up_grey_in_a_fresh_slicer(applications, tmp_path):
    from MRDeltaNetLib.mrml.bootstrap import quiet
    with applications("first") as application:
        panel = application.open_module(MODULE)
        assert panel.views.shown
        application.app.layoutManager().layoutLogic().GetLayoutNode().SetSaveWithScene(True)     # as an earlier version of the panel left it
        application.save_scene(tmp_path / "scene.mrb")                      # Slicer's own Save, which asks no module
    with applications("second") as application, quiet():
        application.open_module(MODULE, enter=False)
        application.load_scene(tmp_path / "scene.mrb")
        manager = application.app.layoutManager()
        from MRDeltaNetPanel.views import AFTER, BEFORE
        assert all(manager.sliceWidget(name).visible for name in (BEFORE, AFTER))
        application.enter_module("MRDeltaNet")
        application.leave_module()
        assert manager.sliceWidget("Red").visible and not manager.sliceWidget(BEFORE).visible      # nobody is kept in a layout that a file brought


def saved_layouts(path):
    """The layout numbers that a scene file holds."""
    with zipfile.ZipFile(path) as bundle:
        text = bundle.read(next(name for name in bundle.namelist() if name.endswith(".mrml"))).decode("utf-8")
    return re.findall(r'currentViewArrangement="(\d+)"', text)


def test_a1_slicers_own_save_inside_our_layout_does_not_keep_its_number(application, panel, finished, tmp_path):
    import slicer
    fill(panel, finished)
    application.save_scene(tmp_path / "inside.mrb")
    assert panel.views.shown and saved_layouts(tmp_path / "inside.mrb") == []
    application.load_scene(tmp_path / "inside.mrb")
    application.process_events(0.5)
    application.save_scene(tmp_path / "again.mrb")
    assert panel.views.shown and saved_layouts(tmp_path / "again.mrb") == []
    application.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    application.save_scene(tmp_path / "his.mrb")
    assert saved_layouts(tmp_path / "his.mrb") == [str(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)]


def test_a1_the_layout_is_left_on_exit_and_before_our_own_save(application, panel, case, tmp_path):
    manager = application.app.layoutManager()
    application.leave_module()
    assert not panel.views.shown and manager.sliceWidget("Red").visible
    application.enter_module("MRDeltaNet")
    assert panel.views.shown
    panel.saveScene(tmp_path / "kept.mrb")
    assert panel.views.shown
    from MRDeltaNetPanel.views import LAYOUT
    assert len(saved_layouts(tmp_path / "kept.mrb")) == 1 and str(LAYOUT) not in saved_layouts(tmp_path / "kept.mrb")


def test_a1_a_layout_that_the_user_chose_meanwhile_is_not_taken_from_him(application, panel):
    import slicer
    manager = application.app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    application.leave_module()
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView


@pytest.mark.parametrize("entered", [True, False])
def test_a1b_the_legend_is_not_missing_after_a_scene_was_loaded(applications, finished, tmp_path, entered):
    with applications("first") as application:
        panel = application.open_module(MODULE)
        fill(panel, finished)
        panel.go("explain")
        panel.saveScene(tmp_path / "scene.mrb")
    with applications("second") as application:
        panel = application.open_module(MODULE, enter=entered)
        application.load_scene(tmp_path / "scene.mrb")
        if not entered:
            application.enter_module("MRDeltaNet")
        application.process_events(0.5)
        panel.go("explain")
        application.process_events(0.5)
        with_legend = picture(views(panel)[1])
        assert panel.parameters.legend
        panel.pages["explain"].ui.legendBox.click()
        application.process_events(0.5)
        assert (picture(views(panel)[1]) != with_legend).any()


def test_a1b_the_legend_is_there_with_its_map_and_gone_with_it(application, panel, case):
    """Slicer settles whether a legend is drawn in a view when it is made, and draws it on when the map has left."""
    from MRDeltaNetLib.mrml import overlays

    def after():
        application.process_events(0.5)
        return picture(views(panel)[1])

    panel.go("explain")
    with_legend = after()
    panel.pages["explain"].ui.legendBox.click()
    map_alone = after()
    panel.pages["explain"].ui.legendBox.click()
    assert (map_alone != with_legend).any() and (after() == with_legend).all()
    panel.go("report")
    left = after()
    panel.go("explain")
    assert (after() == with_legend).all()
    panel.go("report")
    application.scene.RemoveNode(overlays.legend_of(panel.logic.maps(case)["attention_post"]))
    assert (after() == left).all()


# A2 to A5, A7: parameters and scenes

def test_a2_nothing_waits_for_an_event_of_saving():
    assert not [path.name for path in sources() if "SaveEvent" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("role", ["pre", "post"])
def test_a3_deleting_a_scan_does_not_turn_it_into_the_other_one(application, panel, case, role):
    other = case.postVolume if role == "pre" else case.preVolume
    application.scene.RemoveNode(getattr(case, f"{role}Volume"))
    application.process_events(0.5)
    parameters = panel.parameters
    assert getattr(parameters, f"{role}Volume") is None
    assert getattr(parameters, "postVolume" if role == "pre" else "preVolume") is other
    for step in workflow.STEPS:
        panel.go(step.key)
    assert not application.dialogs


def test_a3_a_scan_deleted_while_the_module_is_left_does_not_either(application, panel, case):
    pre = case.preVolume
    application.leave_module()
    application.scene.RemoveNode(case.postVolume)
    application.process_events(0.5)
    application.enter_module("MRDeltaNet")
    application.process_events(0.5)
    assert panel.parameters.postVolume is None and panel.parameters.preVolume is pre


@pytest.mark.parametrize("role", ["pre", "post"])
def test_a3_deleting_an_outline_does_not_put_the_other_scan_s_outline_under_the_brush(application, panel, case, role):
    panel.go("tumour")
    panel.pages["tumour"].edit(role)
    editor, other = panel.pages["tumour"].ui.editor, case.postSegmentation if role == "pre" else case.preSegmentation
    application.scene.RemoveNode(editor.segmentationNode())
    assert editor.segmentationNode() is None
    application.process_events(0.5)
    parameters = panel.parameters
    fresh = parameters.preSegmentation if role == "pre" else parameters.postSegmentation
    assert editor.segmentationNode() is fresh is not other and editor.sourceVolumeNode() is getattr(parameters, f"{role}Volume")
    assert (parameters.postSegmentation if role == "pre" else parameters.preSegmentation) is other


def test_a3_deleting_a_map_does_not_lay_another_one_over_both_scans(application, panel, case):
    from MRDeltaNetPanel.parameters import Map
    case.shownMap = Map.ATTENTION_POST
    panel.go("explain")
    application.process_events(0.5)
    scans, shown = [case.preVolume.GetID(), case.postVolume.GetID()], panel.logic.maps(case)[case.shownMap.value]
    assert layers(panel)[1] == (scans[1], shown.GetID())
    application.scene.RemoveNode(shown)
    application.process_events(0.5)
    assert layers(panel) == [(scan, None) for scan in scans]


def test_choices_whose_node_was_deleted_are_made_anew(application, panel, case):
    pre = case.preVolume
    application.scene.RemoveNode(case.parameterNode)
    application.process_events(0.5)
    panel.pages["scans"].ui.preSelector.setCurrentNode(pre)
    assert panel.logic.getParameterNode().preVolume is pre


@pytest.mark.parametrize("entered", [True, False])
def test_a4_an_import_into_a_full_scene_does_not_empty_the_references(application, panel, case, tmp_path, entered):
    change_choices(case)
    expected = whole(panel)
    application.save_scene(tmp_path / "scene.mrb")
    if not entered:
        application.leave_module()
    application.load_scene(tmp_path / "scene.mrb", clear=False)
    application.process_events(0.5)
    if not entered:
        application.enter_module("MRDeltaNet")
    again = whole(panel)
    assert {name for name in expected if again[name] is None} == {name for name in expected if expected[name] is None}
    assert {name: value for name, value in again.items() if name not in _NODES} == {name: value for name, value in expected.items() if name not in _NODES}
    assert panel.parameters is not None and panel.parameters.preVolume is not panel.parameters.postVolume


_NODES = {"preVolume", "postVolume", "preSegmentation", "postSegmentation", "alignment", "alignmentResult", "result", "measures", "report"}
"""Imported beside nodes of the same name, these get new names."""


def test_a5_a_choice_that_this_version_does_not_know_does_not_keep_the_panel_shut(applications):
    with applications("stale") as application:
        import slicer
        node = slicer.mrmlScene.AddNode(_parameterNode(slicer))
        node.SetParameter("registration", "ELASTIC")
        node.SetParameter("shownMap", "CHANGE_POST")
        panel = application.open_module(MODULE)
        assert panel.parameters.parameterNode is node
        assert panel.parameters.registration.name == "RIGID" and panel.parameters.shownMap.name == "CHANGE_POST"
        panel.go("align")
        assert panel.pages["align"].ui.methodBox.currentText == panel.parameters.registration.label()


def _parameterNode(slicer):
    node = slicer.vtkMRMLScriptedModuleNode()
    node.SetSingletonTag("MRDeltaNet")
    node.SetAttribute("ModuleName", "MRDeltaNet")
    node.SetName("MRDeltaNet")
    return node


def test_a5_every_choice_with_named_members_is_looked_after(panel):
    import enum

    from MRDeltaNetPanel import parameters
    named = {name for name in parameters.MRDeltaNetParameterNode.__annotations__ if isinstance(getattr(panel.parameters, name), enum.Enum)}
    assert named == set(parameters.ENUMS)


def test_a5_names_of_choices_that_scenes_hold_are_never_renamed(panel):
    from MRDeltaNetPanel.parameters import ENUMS
    kept = {"registration": "RIGID AFFINE DEFORMABLE NONE", "device": "AUTO CPU CUDA MPS", "shownMap": "ATTENTION_POST ATTENTION_PRE CHANGE_POST NONE DEFAULT",
            "mrtrg": "NOT_GIVEN ONE TWO THREE FOUR FIVE"}
    assert {name: set(names.split()) <= set(ENUMS[name].__members__) for name, names in kept.items()} == dict.fromkeys(kept, True)


def test_a7_a_misspelled_parameter_cannot_pass():
    """Whatever the code and the forms call a parameter is one."""
    tree = ast.parse((PANEL / "parameters.py").read_text(encoding="utf-8"))
    node = next(each for each in tree.body if isinstance(each, ast.ClassDef) and each.name == "MRDeltaNetParameterNode")
    known = {each.target.id for each in node.body if isinstance(each, ast.AnnAssign)} | {"parameterNode", "connectGui", "disconnectGui"}
    used = {}
    for path in sources():
        for each in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(each, ast.Attribute) and _isParameters(each.value):
                used.setdefault(each.attr, path.name)
    assert len(set(used) & known) > 15
    assert {name: file for name, file in used.items() if name not in known} == {}
    bound = [value.text for form in FORMS for value in ElementTree.parse(form).iterfind(".//property[@name='SlicerParameterName']/string")]
    assert bound and set(bound) <= known and len(bound) == len(set(bound))


def _isParameters(value):
    """`parameters.x`, `self.parameters.x`, `panel.parameters.x`."""
    return getattr(value, "id", None) == "parameters" or getattr(value, "attr", None) == "parameters"


# A8 to A14: views

def test_a8_editing_does_not_replace_the_scans_in_the_views(application, panel, case):
    manager = application.app.layoutManager()
    before = layers(panel)
    panel.go("tumour")
    for name in ("postButton", "preButton", "postButton"):
        getattr(panel.pages["tumour"].ui, name).click()
        application.process_events()
        assert layers(panel) == before == [(case.preVolume.GetID(), None), (case.postVolume.GetID(), None)]
    assert manager.sliceWidget("Red").mrmlSliceCompositeNode().GetBackgroundVolumeID() != case.postVolume.GetID()


def test_a9_an_outline_is_not_shown_where_it_could_be_painted_by_mistake(application, panel, case):
    panel.go("tumour")
    panel.pages["tumour"].ui.postButton.click()
    panel.pages["tumour"].ui.preButton.click()
    before, after = panel.views.sliceNodes()
    assert _shownIn(case.preSegmentation) == [before.GetID()] and _shownIn(case.postSegmentation) == [after.GetID()]


def test_a9_an_outline_made_by_carrying_over_is_not_shown_in_the_other_view(application, panel, case):
    application.scene.RemoveNode(case.postSegmentation)
    application.process_events(0.5)
    panel.go("tumour")
    panel.pages["tumour"].ui.carryButton.click()
    assert _shownIn(case.postSegmentation) == [panel.views.sliceNodes()[1].GetID()]


def _shownIn(segmentation):
    display = segmentation.GetDisplayNode()
    return [display.GetNthViewNodeID(index) for index in range(display.GetNumberOfViewNodeIDs())]


@pytest.mark.parametrize("way", ["blend", "flicker"])
def test_a12_blending_and_flickering_do_not_change_the_first_view(application, panel, case, way):
    panel.go("align")
    first, second = panel.views.compositeNodes()
    application.process_events(0.3)
    before, settings = [picture(view) for view in views(panel)], (layers(panel)[0], first.GetForegroundOpacity())
    page = panel.pages["align"].ui
    if way == "blend":
        page.blendButton.click()
        page.blendSlider.value = 0.8
    else:
        page.flickerButton.click()
    application.process_events(0.7)
    assert (layers(panel)[0], first.GetForegroundOpacity()) == settings and (picture(views(panel)[0]) == before[0]).all()
    assert layers(panel)[1] == (case.preVolume.GetID(), case.postVolume.GetID())
    assert (picture(views(panel)[1]) != before[1]).any()
    for opacity in (0.0, 1.0):
        first.SetForegroundOpacity(opacity)                                # what a real link hands on
        application.process_events(0.1)
        assert (picture(views(panel)[0]) == before[0]).all()
    page.sideButton.click()
    application.process_events(0.7)
    assert layers(panel) == [(case.preVolume.GetID(), None), (case.postVolume.GetID(), None)]
    assert first.GetLinkedControl() and second.GetLinkedControl()


def test_a12_flicker_stands_still_when_its_page_is_left(application, panel, case):
    panel.go("align")
    panel.pages["align"].ui.flickerButton.click()
    panel.go("tumour")
    opacity = panel.views.compositeNodes()[1].GetForegroundOpacity()
    application.process_events(1.2)
    assert panel.views.compositeNodes()[1].GetForegroundOpacity() == opacity
    assert layers(panel)[1] == (case.postVolume.GetID(), None)


def test_a12_the_other_view_does_not_stay_behind_when_the_program_moves_to_a_place(panel, case):
    offsets = [node.GetSliceOffset() for node in panel.views.sliceNodes()]
    panel.views.jump((12.0, -30.0, offsets[0] + 20.0))
    after = [node.GetSliceOffset() for node in panel.views.sliceNodes()]
    assert after[0] != pytest.approx(offsets[0]) and after[0] == pytest.approx(after[1])


def test_a13_views_of_an_oblique_pair_do_not_run_apart(panel, case):
    first, second = (np.array([[node.GetSliceToRAS().GetElement(row, column) for column in range(3)] for row in range(3)])
                     for node in panel.views.sliceNodes())
    np.testing.assert_allclose(first, second, atol=1e-9)


def test_a14_the_threshold_does_not_leave_low_values_shown(application, panel, case):
    panel.go("explain")
    shown = panel.logic.maps(case)["attention_post"].GetDisplayNode()
    panel.pages["explain"].ui.thresholdSlider.value = 0.5
    application.process_events(0.5)
    top = panel.logic.maps(case)["attention_post"].GetImageData().GetScalarRange()[1]
    assert shown.GetApplyThreshold() and shown.GetLowerThreshold() == pytest.approx(0.5 * top, rel=1e-4)


# A15 to A22: processes, dialogs, packages

def test_a18_no_thread_touches_timers_or_the_scene():
    assert not [path.name for path in sources() if re.search(r"\bthreading\b|\bconcurrent\b|ThreadPool", path.read_text(encoding="utf-8"))]


def test_a17_nothing_hands_slicers_sys_stdout_to_a_child():
    texts = {path.name: path.read_text(encoding="utf-8") for path in sources()}
    assert not [name for name, text in texts.items() if re.search(r"sys\.std(out|err)|faulthandler|psutil", text)]
    for name, text in texts.items():                     # a child of ours has pipes of its own
        assert text.count("subprocess.run(") == text.count("capture_output=True") and "Popen" not in text, name


def test_a19_nothing_is_decided_by_a_confirmation_that_is_false_under_testing():
    names = {each.attr for path in sources() for each in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(each, ast.Attribute)}
    assert not {name for name in names if name.startswith("confirm") or name == "question"}


def test_a20_installing_is_never_done_in_a_thread_or_without_waiting():
    text = (PANEL / "packages.py").read_text(encoding="utf-8")
    assert "pip_ensure" in text and "pip_install" not in text and "blocking" not in text


@pytest.mark.parametrize("name", ["requirements.txt", "torch.txt"])
def test_a21_requirements_txt_has_no_inline_comment(name):
    from packaging.requirements import Requirement
    lines = (MODULE.parent / "Resources" / name).read_text(encoding="utf-8").splitlines()
    wanted = [line for line in map(str.strip, lines) if line and not line.startswith("#")]
    assert wanted and all(Requirement(line) for line in wanted) and not any("#" in line for line in wanted)


def test_a21_slicers_own_reader_takes_requirements_txt(application):
    import slicer.packaging
    assert [each.name for each in slicer.packaging.load_requirements(str(MODULE.parent / "Resources" / "requirements.txt"))] == ["monai", "safetensors"]
    assert {each.name for each in slicer.packaging.load_requirements(str(MODULE.parent / "Resources" / "torch.txt"))} == {"torch"}


# A23, A24: outlining and points

def test_a24_the_loss_of_undo_does_not_come_without_a_word(panel):
    page = panel.pages["tumour"].ui
    assert all("undone" in button.toolTip for button in (page.preButton, page.postButton))


def test_the_editor_does_not_stay_empty_after_a_scene_was_loaded_on_its_page(application, panel, finished, tmp_path):
    fill(panel, finished)
    panel.go("tumour")
    panel.saveScene(tmp_path / "scene.mrb")
    application.load_scene(tmp_path / "scene.mrb")
    application.process_events(0.5)
    editor = panel.pages["tumour"].ui.editor
    assert editor.segmentationNode() is panel.parameters.preSegmentation is not None and editor.sourceVolumeNode() is panel.parameters.preVolume


def test_the_editor_does_not_keep_the_outline_of_a_deleted_scan(application, panel, case):
    panel.go("tumour")
    application.scene.RemoveNode(case.preVolume)
    application.process_events(0.5)
    assert panel.pages["tumour"].ui.editor.segmentationNode() is None and panel.parameters.preSegmentation is None


def test_a23_picking_a_point_does_not_leave_one_waiting_without_a_word(application, panel, case):
    from MRDeltaNetLib.io import correspondence
    (panel.logic.sitting.last_result / correspondence.FILE).write_bytes(b"not read before a point is placed")
    panel.go("explain")
    panel.pages["explain"].ui.pointButton.click()
    assert "right-hand view" in panel.pages["explain"].ui.pointLabel.text and not application.dialogs
    display = case.point.GetDisplayNode()
    assert [display.GetNthViewNodeID(index) for index in range(display.GetNumberOfViewNodeIDs())] == [panel.views.sliceNodes()[1].GetID()]


# A25 to A27: the size of the panel

def test_a25_no_collapsible_panel_makes_the_dock_jump():
    classes = {form.name: {each.get("class") for each in ElementTree.parse(form).iterfind(".//widget")} for form in FORMS}
    assert not {name for name, found in classes.items() if found & {"ctkCollapsibleButton", "QTabWidget", "QToolBox"}}


def test_a26_no_step_is_hidden_behind_arrows_they_stand_in_two_rows_of_three(application, panel):
    places = [getattr(panel.ui, f"{step.key}Button").geometry for step in workflow.STEPS]
    rows = sorted({place.y() for place in places})
    assert len(rows) == 2 and [sum(place.y() == row for place in places) for row in rows] == [3, 3]
    assert all(getattr(panel.ui, f"{step.key}Button").visible for step in workflow.STEPS)


def test_a27_a_page_does_not_take_the_room_of_the_largest_one(application, panel):
    for step in workflow.STEPS:
        panel.go(step.key)
        assert panel.ui.pages.count == 1 and panel.ui.pages.currentWidget() is panel.pages[step.key].widget


# What the panel holds on to

def test_a_scene_with_all_choices_comes_back_in_a_fresh_application(applications, finished, tmp_path):
    with applications("first") as application:
        panel = application.open_module(MODULE)
        change_choices(fill(panel, finished))
        application.process_events(0.5)
        expected, facts = whole(panel), panel.logic.resultFacts(panel.parameters)
        panel.saveScene(tmp_path / "scene.mrb")
    with applications("second") as application:
        panel = application.open_module(MODULE)
        application.load_scene(tmp_path / "scene.mrb")
        application.process_events(0.5)
        assert whole(panel) == expected and panel.logic.resultFacts(panel.parameters) == facts
        assert panel.pages["align"].ui.methodBox.currentText == panel.parameters.registration.label()
        assert panel.pages["scans"].ui.preSelector.currentNode() is panel.parameters.preVolume
        assert panel.pages["predict"].ui.outlineStepBox.value == 3.5 and not panel.pages["explain"].ui.legendBox.checked
        assert not panel.logic.situation(panel.parameters).alignment_of_other_scans
        panel.go("report")
        assert panel.pages["report"].ui.openButton.enabled and not panel.pages["report"].ui.saveResultButton.enabled
        panel.go("tumour")
        assert panel.pages["tumour"].ui.editor.segmentationNode() is panel.parameters.preSegmentation


def test_cleanup_does_not_leave_a_widget_that_writes_into_the_scene(application, panel, case):
    node, box, slider = case.parameterNode, panel.pages["scans"].ui.postSelector, panel.pages["predict"].ui.outlineStepBox
    kept = node.GetNodeReferenceID("postVolume"), node.GetParameter("outlineStepMm")
    panel.cleanup()
    box.setCurrentNode(None)
    slider.value = 9.0
    assert (node.GetNodeReferenceID("postVolume"), node.GetParameter("outlineStepMm")) == kept
    assert panel.parameters is None and not panel.Observations


def test_closing_the_scene_outside_the_module_does_not_leave_old_words_on_return(application, panel, finished):
    fill(panel, finished)
    panel.go("report")
    application.leave_module()
    application.clear_scene()
    application.process_events(0.5)
    application.enter_module("MRDeltaNet")
    application.process_events(0.5)
    assert "No report yet" in panel.pages["report"].ui.summary.text and not panel.pages["report"].ui.openButton.enabled
    assert panel.ui.hintLabel.text == "First choose two scans."
