"""What the stand-ins claim of PythonQt, .ui files and scripted modules: one test for each claim."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="needs PySide6_Essentials (pip install 'mrdeltanet[test]')")
pytest.importorskip("slicer", reason="needs slicer-core (pip install 'mrdeltanet[scene]')")

from Testing.standins import ctk_widgets, qt_module  # noqa: E402
from Testing.standins.application import MRML_WIDGETS, Faults, standin_application  # noqa: E402
from Testing.standins.layout_manager import LAYOUT_MANAGER  # noqa: E402
from Testing.standins.measured import FROM_SOURCE, contract, measured_classes  # noqa: E402
from Testing.standins.mrml_widgets import MRMLWidget  # noqa: E402
from Testing.standins.scripted_module import MODULE_WIDGET  # noqa: E402
from Testing.standins.tiny_module import FORM, write_tiny_module  # noqa: E402

EVERY = (qt_module.CLASSES | ctk_widgets.CLASSES | MRML_WIDGETS
         | {"qMRMLLayoutManager": LAYOUT_MANAGER, "qSlicerScriptedLoadableModuleWidget": MODULE_WIDGET})


@pytest.fixture
def qt(application):
    return sys.modules["qt"]


@pytest.fixture
def tiny(application, tmp_path):
    return application.open_module(write_tiny_module(tmp_path / "module"))


def test_a_property_is_an_attribute_and_calling_it_is_a_type_error(qt):
    button = qt.QPushButton("Apply")
    assert button.text == "Apply"
    with pytest.raises(TypeError, match="'str' object is not callable"):
        button.text()
    button.setText("Run")
    assert button.text == "Run" and button.isChecked() is False


def test_setting_or_reading_an_unknown_attribute_raises(qt):
    button = qt.QPushButton()
    with pytest.raises(AttributeError, match="does not exist on QPushButton and creating new attributes on C\\+\\+ objects is not allowed"):
        button.txet = "Apply"
    with pytest.raises(AttributeError, match="no attribute named 'txet'"):
        button.txet
    with pytest.raises(AttributeError):
        qt.QPushButon


def test_values_are_converted_without_a_word(qt):
    line, bar = qt.QLineEdit(), qt.QProgressBar()
    line.text, bar.value = None, 3.7
    assert line.text == "None" and bar.value == 3


def test_what_is_a_property_in_pythonqt_is_one_here(qt):
    combo, widget = qt.QComboBox(), qt.QWidget()
    combo.addItem("first", 7)
    assert combo.count == 1 and combo.currentData == 7 and isinstance(widget.width, int) and widget.visible is False
    widget.name = "panel"
    assert widget.objectName == "panel"


def test_connecting_by_signature_and_by_name(qt):
    button, heard = qt.QPushButton(), []
    assert button.connect("clicked(bool)", lambda checked: heard.append(checked)) is True
    button.connect("clicked()", lambda: heard.append("plain"))
    button.clicked.connect(lambda: heard.append("handle"))
    button.click()
    assert sorted(map(str, heard)) == ["False", "handle", "plain"]


def test_an_unknown_signal_raises_where_pythonqt_only_prints(qt):
    with pytest.raises(ValueError, match="no signal 'cliked"):
        qt.QPushButton().connect("cliked()", print)
    with pytest.raises(ValueError, match="no signal"):
        qt.QComboBox().connect("currentIndexChanged(QString)", print)     # gone in Qt 6


def test_disconnecting_ends_the_calls_and_says_whether_it_was_connected(qt):
    button, heard = qt.QPushButton(), []
    hear = lambda: heard.append(1)  # noqa: E731
    button.connect("clicked()", hear)
    assert button.disconnect("clicked()", hear) is True and button.disconnect("clicked()", hear) is False
    button.click()
    assert not heard


def test_a_default_argument_of_a_slot_takes_the_signal_s_value(qt):
    button, heard = qt.QPushButton(), []
    button.connect("clicked(bool)", lambda index=5: heard.append(index))
    button.click()
    assert heard == [False]


def test_classes_are_related_as_qt_s_are_but_types_are_exact(qt):
    button = qt.QPushButton()
    assert isinstance(button, qt.QWidget) and not isinstance(button, qt.QLabel) and type(button) is qt.QPushButton
    parent = qt.QWidget()
    layout = qt.QVBoxLayout(parent)
    layout.addWidget(button)
    assert parent.findChildren(qt.QWidget) == [button] and layout.count() == 1


def test_an_object_whose_owner_is_gone_raises_value_error(qt):
    parent = qt.QWidget()
    child = qt.QLabel("text", parent)
    del parent
    with pytest.raises(ValueError, match="on a destroyed QLabel object"):
        child.text


def test_a_class_that_a_script_derives_may_have_attributes_of_its_own(qt):
    class Filter(qt.QObject):
        def __init__(self):
            super().__init__()
            self.seen = 0

        def eventFilter(self, watched, event):
            self.seen += 1
            return False

    watched, watching = qt.QWidget(), Filter()
    watched.installEventFilter(watching)
    watched.setToolTip("tip")
    assert watching.seen > 0


def test_enums_are_spelled_as_in_qt_5_and_6(qt):
    assert qt.Qt.Horizontal == qt.Qt.Orientation.Horizontal and qt.QSizePolicy.Ignored == qt.QSizePolicy.Policy.Ignored
    assert qt.QMessageBox.Ok | qt.QMessageBox.Cancel


def test_hidden_pages_of_a_stack_do_not_count_when_their_policy_is_ignored(qt):
    """The cure of trap A27: a stack is as large as its largest page."""
    stack, small, large = qt.QStackedWidget(), qt.QLabel("small"), qt.QLabel("large")
    large.setMinimumSize(10, 10)
    large.setText("\n".join("x" * 20 for _ in range(50)))
    for page in (small, large):
        stack.addWidget(page)
    before = stack.sizeHint.height()
    large.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Ignored)
    assert stack.sizeHint.height() < before / 10


def test_timers_run_on_the_event_loop(qt, application):
    heard, timer = [], qt.QTimer()
    timer.interval = 1
    timer.connect("timeout()", lambda: heard.append("timer"))
    timer.start()
    qt.QTimer.singleShot(0, lambda: heard.append("shot"))
    application.process_events(0.1)
    assert {"timer", "shot"} <= set(heard)


def test_file_dialogs_give_a_plain_str_and_are_recorded(qt, application):
    assert qt.QFileDialog.getOpenFileName(None, "Choose", "", "*.nrrd") == ""
    application.answer("getSaveFileName", "/somewhere/report.html")
    assert qt.QFileDialog.getSaveFileName(None, "Save") == "/somewhere/report.html"
    assert [each.kind for each in application.dialogs] == ["getOpenFileName", "getSaveFileName"]


def test_dialogs_never_wait(qt, application):
    box = qt.QMessageBox()
    box.text = "Really?"
    application.answer("exec", qt.QMessageBox.Ok)
    assert box.exec_() == qt.QMessageBox.Ok and qt.QMessageBox().exec_() == qt.QMessageBox.Cancel
    assert application.dialogs[0].text == "Really?"


def test_links_are_recorded_and_the_clipboard_holds_text(qt, application):
    qt.QDesktopServices.openUrl(qt.QUrl("https://example.org"))
    application.app.clipboard().setText("diagnostics")
    assert application.recorder.opened == ["https://example.org"] and application.app.clipboard().text() == "diagnostics"
    assert not hasattr(qt.QApplication, "clipboard")


def test_what_qt_complains_of_is_kept(qt, application):
    first, second = qt.QLineEdit(), qt.QLineEdit()
    qt.QWidget.setTabOrder(first, second)
    assert "setTabOrder" in application.recorder.qt_messages[0]


def test_settings_are_those_of_this_application_only(qt, tmp_path):
    qt.QSettings().setValue("MRDeltaNet/device", "cpu")
    import slicer
    assert slicer.util.settingsValue("MRDeltaNet/device", "none") == "cpu" and (tmp_path / "settings.ini").exists()


def test_a_stand_in_answers_nothing_that_was_not_measured(application, qt):
    """Whatever Python finds on a class besides, reading it raises."""
    wrong, owner = [], qt.QWidget()
    for name, cls in EVERY.items():
        thing, allowed = cls(owner) if name == "QShortcut" else cls(), contract(name)
        beyond = [each for each in dir(cls) if not each.startswith("_") and not allowed.answers(each) and each not in ("name", "connect")]
        wrong += [f"{name}.{each}" for each in beyond if hasattr(thing, each)]
    assert not wrong


def test_no_stand_in_has_a_method_that_nobody_could_call():
    wrong = {name: beyond for name, cls in EVERY.items() if cls.__mro__[1] is not MRMLWidget
             and (beyond := [each for each in vars(cls.__mro__[1]) if not each.startswith("_") and not contract(name).answers(each)])}
    assert not wrong


def test_no_class_without_evidence():
    assert set(EVERY) <= set(measured_classes()) | set(FROM_SOURCE)
    with pytest.raises(KeyError):
        contract("qMRMLInventedWidget")


def test_every_property_with_a_default_was_measured():
    wrong = {name: set(cls._defaults) - set(contract(name).properties) for name, cls in EVERY.items() if hasattr(cls, "_defaults")}
    assert not any(wrong.values()), wrong


def test_slider_and_range_keep_their_values_inside(application):
    ctk = sys.modules["ctk"]
    slider, both, heard = ctk.ctkSliderWidget(), ctk.ctkRangeWidget(), []
    slider.connect("valueChanged(double)", heard.append)
    slider.maximum, slider.value = 1.0, 0.25
    slider.value = 7
    assert heard == [0.25, 1.0] and slider.value == 1.0
    both.setRange(0, 1)
    both.setValues(0.2, 3)
    assert (both.minimumValue, both.maximumValue) == (0.2, 1.0)


def test_a_collapsible_button_folds_its_contents(application, qt):
    box = sys.modules["ctk"].ctkCollapsibleButton()
    box.text = "Advanced"
    layout, inside = qt.QVBoxLayout(box), qt.QLabel("inside")
    layout.addWidget(inside)
    heard = []
    box.connect("contentsCollapsed(bool)", heard.append)
    box.collapsed = True
    assert heard == [True] and box.collapsed and inside.isHidden() and not box.checked


def test_a_form_makes_stand_ins_and_binds_the_scene(tiny, application):
    assert type(tiny.ui.apply).__name__ == "QPushButton" and tiny.ui.inputs.text == "Inputs" and tiny.ui.opacity.maximum == 1.0
    assert tiny.ui.pre.mrmlScene() is application.scene and tiny.ui.pre.nodeTypes == ("vtkMRMLScalarVolumeNode",)


@pytest.mark.parametrize("old, new, said", [
    ('class="ctkSliderWidget"', 'class="ctkSilderWidget"', "ctkSilderWidget"),
    ('<property name="singleStep">', '<property name="stepp">', "'stepp'"),
    ("<slot>setMRMLScene(vtkMRMLScene*)", "<slot>setScene(vtkMRMLScene*)", "no slot"),
    ("<sender>Tiny</sender>", "<sender>Tini</sender>", "does not hold"),
    ("mrmlSceneChanged(vtkMRMLScene*)", "mrmlSceneModified()", "no signal")])
def test_slips_in_a_form_are_failures(application, tmp_path, old, new, said):
    with pytest.raises(ValueError, match=said):
        application.open_module(write_tiny_module(tmp_path / "module", FORM.replace(old, new)))


def test_button_groups_in_a_form_are_refused(application, tmp_path):
    form = FORM.replace("<resources/>", "<resources/><buttongroups><buttongroup name=\"group\"/></buttongroups>")
    with pytest.raises(ValueError, match="button groups"):
        application.open_module(write_tiny_module(tmp_path / "module", form))


def test_a_module_is_started_entered_and_left(tiny, application):
    import slicer
    assert tiny is slicer.modules.TinyWidget and slicer.modules.TinyInstance.started and slicer.modules.tiny.title == "Tiny module"
    assert tiny.log == ["enter"] and tiny.parent.isEntered and slicer.util.selectedModule() == "Tiny"
    application.leave_module()
    assert tiny.log == ["enter", "exit"] and not tiny.parent.isEntered
    slicer.util.selectModule("Tiny")
    assert tiny.log[-1] == "enter" and slicer.util.getModuleLogic("Tiny") is tiny.logic


def test_reload_makes_a_new_widget_after_cleaning_up_the_old(tiny, application):
    new = application.reload_module("Tiny")
    assert new is not tiny and tiny.log[-1] == "cleanup" and new.ui.apply.text == "Apply"
    heard = len(tiny.log)
    application.clear_scene()
    assert len(tiny.log) == heard


def test_the_self_test_runs(tiny):
    import slicer
    slicer.modules.TinyInstance.runTest()
    assert sys.modules["Tiny"].TinyTest.ran == 1 and slicer.selfTests["Tiny"]


def test_an_error_in_a_slot_fails_the_application_at_its_end(tmp_path):
    """A real Slicer under --testing exits with 1 (trap A22)."""
    with pytest.raises(Faults, match="failed on purpose"), standin_application(tmp_path) as running:
        widget = running.open_module(write_tiny_module(tmp_path / "module"))
        widget.ui.remark.text = "fail"
        widget.ui.apply.click()
        assert len(running.errors) == 1


def test_an_error_in_an_observer_is_recorded_too(application):
    node = application.scene.AddNewNodeByClass("vtkMRMLTextNode")
    tag = node.AddObserver("ModifiedEvent", lambda *_: 1 / 0)
    node.SetName("changed")
    node.RemoveObserver(tag)
    assert [type(each) for each in application.errors] == [ZeroDivisionError]
    application.errors.clear()


def test_applications_follow_one_another_and_leave_nothing(tmp_path):
    import slicer
    before = set(vars(slicer))
    for turn in range(2):
        with standin_application(tmp_path / str(turn)) as running:
            running.open_module(write_tiny_module(tmp_path / str(turn) / "module"))
        assert "qt" not in sys.modules and "Tiny" not in sys.modules and not hasattr(slicer, "app") and set(vars(slicer)) == before


def test_a_late_timer_of_an_earlier_application_is_silent(tmp_path):
    heard = []
    with standin_application(tmp_path):
        sys.modules["qt"].QTimer.singleShot(20, lambda: heard.append(1))
    with standin_application(tmp_path) as later:
        later.process_events(0.1)
    assert not heard


def test_without_a_main_window_there_is_no_layout_manager_and_modules_cannot_be_selected(tmp_path):
    with standin_application(tmp_path, main_window=False) as running:
        import slicer
        widget = running.open_module(write_tiny_module(tmp_path / "module"))
        assert slicer.util.mainWindow() is None and slicer.app.layoutManager() is None and widget.log == ["enter"]
        with pytest.raises(RuntimeError):
            slicer.util.selectModule("Tiny")


def test_a_picture_of_the_window_has_its_size(tiny, application, tmp_path):
    from PySide6.QtGui import QImage
    picture = QImage(str(application.screenshot(tmp_path / "window.png")))
    assert (picture.width(), picture.height()) == (1280, 800)


def test_at_1280x800_the_module_area_is_as_high_as_in_slicer(tiny, application):
    """485 px high and at least 450 px wide; the horizontal bar is always off."""
    area = application.window.area
    assert 455 <= area.viewport().height() <= 515 and 430 <= area.viewport().width() <= 470


def test_a_wide_panel_widens_the_dock_and_is_never_cut(tiny, application):
    tiny.ui.apply.setMinimumWidth(520)
    application.leave_module()
    application.enter_module("Tiny")
    application.process_events(0.05)
    assert application.window.area.viewport().width() >= 520 and not application.window.area.horizontalScrollBar().isVisible()


def test_the_dark_style_is_dark_and_ends_with_its_application(tmp_path):
    with standin_application(tmp_path / "dark", dark=True):
        assert sys.modules["qt"].QLabel("text").palette.window().color().lightness() < 80
    with standin_application(tmp_path / "light"):
        assert sys.modules["qt"].QLabel("text").palette.window().color().lightness() > 200


def test_slicer_s_own_modules_can_be_gone_to_and_unknown_ones_not(tiny, application):
    import slicer
    slicer.util.selectModule("DICOM")
    assert slicer.util.selectedModule() == "DICOM" and tiny.log[-1] == "exit"
    with pytest.raises(AttributeError):
        slicer.util.selectModule("Inexistent")


def test_a_scene_swap_does_not_reach_the_panel_s_own_widgets(tiny, application):
    """Seen in a real Slicer: the outer widget's mrmlSceneChanged is not connected to the loaded form."""
    import slicer
    other = slicer.vtkMRMLScene()
    slicer.modules.tiny.widgetRepresentation().setMRMLScene(other)
    assert tiny.ui.pre.mrmlScene() is application.scene
    slicer.modules.tiny.widgetRepresentation().setMRMLScene(application.scene)


def test_what_an_extension_server_and_the_dicom_database_know(application):
    import slicer
    model = slicer.app.extensionsManagerModel()
    assert not model.installExtensionFromServer("PyTorch") and not model.isExtensionInstalled("PyTorch")
    application.answer("installExtension", True)
    assert model.installExtensionFromServer("PyTorch") and model.isExtensionInstalled("PyTorch")
    application.dicom_database.add("1.2.3", "/data/one.dcm")
    assert slicer.dicomDatabase.fileForInstance("1.2.3") == "/data/one.dcm" and slicer.dicomDatabase.fileForInstance("9") == ""


def test_menus_and_shortcuts_connect_as_widgets_do(application, qt):
    menu, heard = qt.QMenu(), []
    action = menu.addAction("Copy")
    action.connect("triggered()", lambda: heard.append("action"))
    action.trigger()
    window = qt.QWidget()
    shortcut = qt.QShortcut(qt.QKeySequence("Ctrl+1"), window)
    shortcut.connect("activated()", lambda: heard.append("shortcut"))
    assert heard == ["action"] and action.text == "Copy" and shortcut.enabled


def test_a_misspelled_text_of_the_module_raises(tiny):
    import slicer
    with pytest.raises(AttributeError):
        slicer.modules.tiny.catgories = ["Quantification"]


def test_a_reload_that_drops_the_library_does_not_change_it_for_others(tmp_path):
    import MRDeltaNetLib.errors as before
    with standin_application(tmp_path):
        for name in [each for each in sys.modules if each.split(".")[0] == "MRDeltaNetLib"]:
            del sys.modules[name]
        import MRDeltaNetLib.errors
        assert sys.modules["MRDeltaNetLib.errors"] is not before
    assert sys.modules["MRDeltaNetLib.errors"] is before


def test_buttons_of_a_box_are_stand_ins_or_refused(qt):
    box = qt.QDialogButtonBox()
    assert type(box.addButton("Copy", qt.QDialogButtonBox.ActionRole)) is qt.QPushButton
    with pytest.raises(NotImplementedError):
        box.button(qt.QDialogButtonBox.Ok)
