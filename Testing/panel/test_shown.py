"""What stands in the boxes and the views: scans, not what was made of them; their own outlines; the place that was asked about."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from MRDeltaNetLib.io import correspondence
from MRDeltaNetLib.mrml.nodes import matrix_from_vtk
from MRDeltaNetLib.workflow import STEPS
from Testing.panel.conftest import fill


def ui(panel, step):
    return panel.pages[step].ui


def offered(box):
    """Names in a node box, as a person who opens it reads them."""
    return [box.nodeFromIndex(index).GetName() for index in range(box.nodeCount())]


@pytest.fixture
def asking(application, panel, case):
    """The page Explain, waiting for a click on the scan after treatment; the file is not read before a point is placed."""
    (panel.logic.sitting.last_result / correspondence.FILE).write_bytes(b"not read before a point is placed")
    panel.go("explain")
    ui(panel, "explain").pointButton.click()
    return case


def placing(application):
    node = application.app.applicationLogic().GetInteractionNode()
    return node.GetCurrentInteractionMode() == node.Place


def test_what_was_made_of_the_scans_is_not_offered_as_a_scan_and_stays_in_the_data_module(application, panel, case):
    panel.logic.squares(case)
    panel.go("scans")
    for box in (ui(panel, "scans").preSelector, ui(panel, "scans").postSelector):
        assert offered(box) == ["Before", "After"]
    made = [node for node in map(application.scene.GetNthNode, range(application.scene.GetNumberOfNodes()))
            if node.IsA("vtkMRMLScalarVolumeNode") and node not in (case.preVolume, case.postVolume)]
    assert len(made) == 4 and not any(node.GetHideFromEditors() for node in made)


def test_a_scan_that_comes_later_is_offered(application, panel, case, simulated):
    import slicer
    from MRDeltaNetLib.mrml.nodes import image_to_node
    panel.go("scans")
    image_to_node(simulated.pre, slicer.mrmlScene, "a third visit")
    application.process_events(0.5)
    assert offered(ui(panel, "scans").preSelector) == ["Before", "After", "a third visit"]


def test_a_scan_of_the_next_scene_is_offered_although_it_has_the_id_that_a_map_had_in_the_last_one(application, panel, finished):
    import slicer
    from MRDeltaNetLib.mrml.nodes import image_to_node
    fill(panel, finished)
    panel.go("scans")
    box = ui(panel, "scans").preSelector
    left_out = box.sortFilterProxyModel().hiddenNodeIDs
    assert left_out
    application.clear_scene()
    volumes = [image_to_node(finished[0].images["pre"], slicer.mrmlScene, f"scan {number}") for number in range(6)]
    again = [volume for volume in volumes if volume.GetID() in left_out]
    assert again and box.nodeCount() == 6
    panel.parameters.preVolume = again[0]
    assert box.currentNode() is again[0] is panel.parameters.preVolume


@pytest.mark.parametrize("leave", ["another page", "another module"])
def test_no_click_is_waited_for_after_the_page_was_left(application, panel, asking, leave):
    assert placing(application) and ui(panel, "explain").pointLabel.text
    {"another page": lambda: panel.go("report"), "another module": application.leave_module}[leave]()
    assert not placing(application) and not ui(panel, "explain").pointLabel.text


def test_no_click_is_waited_for_after_the_scene_was_closed(application, panel, finished):
    fill(panel, finished)
    panel.logic.startPicking(panel.parameters, panel.views.sliceNodes())
    assert placing(application)
    application.clear_scene()
    assert not placing(application)


def test_a_right_click_that_ends_the_waiting_takes_its_words_away(application, panel, asking):
    node = application.app.applicationLogic().GetInteractionNode()
    assert "right click stops" in ui(panel, "explain").pointLabel.text
    node.SetCurrentInteractionMode(node.ViewTransform)                   # all that Slicer tells of it
    assert not ui(panel, "explain").pointLabel.text


def test_a_place_that_is_refused_leaves_no_request_for_a_click(application, panel, asking):
    asking.point.AddControlPointWorld(0.0, 0.0, 500.0)
    assert len(application.dialogs) == 1 and not ui(panel, "explain").pointLabel.text
    application.dialogs.clear()


def test_somebody_elses_placing_is_left_alone(application, panel, asking):
    other = application.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "somebody's")
    application.app.applicationLogic().GetSelectionNode().SetActivePlaceNodeID(other.GetID())
    panel.go("report")
    assert placing(application)


def distance_mm(view, ras):
    """From a view's slice to a place."""
    return (np.linalg.inv(matrix_from_vtk(view.GetSliceToRAS())) @ [*ras, 1.0])[2]


@pytest.mark.parametrize("away_mm", [-9.0, 0.0, 13.0])
def test_the_first_view_goes_to_the_slice_of_the_answer_and_stays_there(application, panel, asking, monkeypatch, away_mm):
    left, posterior, superior = panel.logic.tumourCentre(asking)
    answer = SimpleNamespace(peak_lps_mm=(left, posterior, superior + away_mm), displacement_mm=abs(away_mm), spread_mm=1.0, note="")
    monkeypatch.setattr(panel.logic, "ask", lambda parameters: answer)
    first, second = panel.views.sliceNodes()
    before = second.GetSliceOffset()
    asking.point.AddControlPointWorld(-left, -posterior, superior)
    for _moment in range(2):
        assert abs(distance_mm(first, (-left, -posterior, superior + away_mm))) < 0.01 and second.GetSliceOffset() == before
        application.process_events(0.5)                  # the panel settles
    assert f"{abs(away_mm):.0f} mm away" in ui(panel, "explain").pointLabel.text
    asking.mapThreshold = 0.4
    application.process_events(0.5)                      # the map is laid anew
    assert abs(distance_mm(first, (-left, -posterior, superior + away_mm))) < 0.01


def test_both_views_are_on_one_slice_again_when_the_page_is_left(application, panel, asking, monkeypatch):
    left, posterior, superior = panel.logic.tumourCentre(asking)
    panel.views.jump((left, posterior, superior + 9.0), first=True)
    first, second = panel.views.sliceNodes()
    asked = matrix_from_vtk(second.GetSliceToRAS())
    assert not np.allclose(matrix_from_vtk(first.GetSliceToRAS()), asked)
    panel.go("report")
    assert np.allclose(matrix_from_vtk(first.GetSliceToRAS()), asked) and np.array_equal(matrix_from_vtk(second.GetSliceToRAS()), asked)


def seen(segmentation):
    return bool(segmentation.GetDisplayNode().GetVisibility())


def test_outlines_of_scans_that_are_exchanged_leave_the_views_and_come_back_with_them(application, panel, case):
    first, second = case.preSegmentation, case.postSegmentation
    panel.go("scans")
    assert seen(first) and seen(second)
    ui(panel, "scans").swapButton.click()
    application.process_events(0.5)
    assert not seen(first) and not seen(second)
    ui(panel, "scans").swapButton.click()
    application.process_events(0.5)
    assert panel.parameters.preSegmentation is first and seen(first) and seen(second)


def test_an_outline_that_its_reader_hid_stays_hidden_and_a_foreign_one_is_not_touched(application, panel, case):
    foreign = application.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "somebody's")
    foreign.CreateDefaultDisplayNodes()
    case.preSegmentation.GetDisplayNode().SetVisibility(False)
    panel.go("scans")
    for _turn in range(2):
        ui(panel, "scans").swapButton.click()
        application.process_events(0.5)
        assert seen(foreign)
    assert not seen(panel.parameters.preSegmentation) and seen(panel.parameters.postSegmentation)


def test_outlines_of_another_pair_are_not_shown(application, panel, case, simulated):
    import slicer
    from MRDeltaNetLib.mrml.nodes import image_to_node
    drawn = case.preSegmentation
    case.preVolume = image_to_node(simulated.pre, slicer.mrmlScene, "another patient")
    application.process_events(0.5)
    assert not seen(drawn) and seen(case.postSegmentation)


def test_every_step_shows_its_state_as_a_mark_and_says_it_in_words_and_the_one_in_front_is_bold(application, panel, scans):
    panel.go("align")
    looked = panel.logic.look(panel.logic.situation(panel.parameters))
    words = {"TO_DO": ("\u25cb", "to do"), "DONE": ("\u2713", "done"), "WARNING": ("!", "needs a look")}
    assert {view.state.name for view in looked.values()} >= {"TO_DO", "WARNING"}
    for step in STEPS:
        button, (mark, state) = getattr(panel.ui, f"{step.key}Button"), words[looked[step.key].state.name]
        assert button.text == f"{step.number}  {step.title}  {mark}"
        assert state in button.toolTip and button.accessibleName == f"{step.number} {step.title}, {state}"
        assert button.font.bold() is (step.key == "align") is button.checked


def test_of_several_buttons_the_chosen_one_is_bold(application, panel, case):
    for step, names in {"align": ("sideButton", "blendButton", "flickerButton", "checkerButton"), "tumour": ("preButton", "postButton")}.items():
        panel.go(step)
        buttons = [getattr(ui(panel, step), name) for name in names]
        for chosen in (*buttons[1:], buttons[0]):
            chosen.click()
            assert [button.font.bold() for button in buttons] == [button is chosen for button in buttons]


@pytest.mark.parametrize("step", [step.key for step in STEPS if step.key != "predict"])
def test_a_page_fits_a_window_of_1280_by_800_without_scrolling(application, panel, case, step):
    panel.go(step)
    application.process_events(0.5)
    assert application.window.size().width() == 1280 and application.window.size().height() == 800
    assert application.window.area.verticalScrollBar().maximum() == 0 and application.window.dock.width() <= 450
