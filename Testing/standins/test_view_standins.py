"""What the stand-ins claim of layouts, slice views, the segment editor and the tables: one test for each claim; A1-A12 are traps of a real Slicer."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="needs PySide6_Essentials (pip install 'mrdeltanet[test]')")
pytest.importorskip("slicer", reason="needs slicer-core (pip install 'mrdeltanet[scene]')")

import slicer  # noqa: E402

from Testing.standins.application import standin_application  # noqa: E402
from PySide6 import QtGui  # noqa: E402

VIEW = ('<item><view class="vtkMRMLSliceNode" singletontag="{tag}"><property name="orientation" action="default">Axial</property>'
        '<property name="viewlabel" action="default">{label}</property><property name="viewgroup" action="default">77</property></view></item>')
PAIR = f'<layout type="horizontal">{VIEW.format(tag="Before", label="B")}{VIEW.format(tag="After", label="A")}</layout>'
NUMBER = 17077


@pytest.fixture
def manager(application):
    return slicer.app.layoutManager()


@pytest.fixture
def two_views(manager):
    manager.layoutLogic().GetLayoutNode().AddLayoutDescription(NUMBER, PAIR)
    manager.setLayout(NUMBER)
    return manager.sliceWidget("Before"), manager.sliceWidget("After")


def volume(application, array, name="Scan", spacing=(2.0, 2.0, 4.0)):
    node = application.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, array)
    node.SetSpacing(*spacing)
    node.CreateDefaultDisplayNodes()
    return node


def bright_at_low_i(application, name="Scan"):
    """Values are high for i < 20 of 40: with identity directions these voxels lie at small R."""
    array = np.zeros((10, 40, 40), np.int16)
    array[:, :, :20] = 1000
    return volume(application, array, name)


def shown(widget):
    picture = widget.sliceView().grab().toImage().convertToFormat(QtGui.QImage.Format_RGB888)
    rows = np.frombuffer(picture.constBits(), np.uint8).reshape(picture.height(), picture.bytesPerLine())
    return rows[:, :3 * picture.width()].reshape(picture.height(), picture.width(), 3).copy()


def segmentation(application, reference, mask, colour=(1.0, 0.0, 0.0)):
    node = application.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Tumour")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(reference)
    segment_id = node.GetSegmentation().AddEmptySegment("tumour", "Tumour", colour)
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), node, segment_id, reference)
    return node


def test_a_layout_shows_its_views_and_keeps_those_of_others_hidden(manager, application):
    first = manager.sliceViewNames()
    manager.layoutLogic().GetLayoutNode().AddLayoutDescription(NUMBER, PAIR)
    heard = []
    manager.connect("layoutChanged(int)", heard.append)
    manager.setLayout(NUMBER)
    assert heard == [NUMBER] and manager.layout == NUMBER and manager.sliceViewNames() == (*first, "Before", "After")
    assert manager.sliceWidget("Before").visible and not manager.sliceWidget("Red").visible
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    assert manager.sliceWidget("Red").visible and not manager.sliceWidget("Before").visible


def test_a1_a_layout_without_description_is_grey_until_the_layout_changes(manager, application):
    node = manager.layoutLogic().GetLayoutNode()
    node.SetViewArrangement(NUMBER)
    node.AddLayoutDescription(NUMBER, PAIR)
    manager.setLayout(NUMBER)
    assert not any(manager.sliceWidget(name).visible for name in manager.sliceViewNames())
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    manager.setLayout(NUMBER)
    assert manager.sliceWidget("Before").visible


def test_a1_the_layout_s_description_is_not_in_the_saved_scene(two_views, application, tmp_path):
    application.save_scene(tmp_path / "scene.mrml")
    text = (tmp_path / "scene.mrml").read_text()
    assert f'currentViewArrangement="{NUMBER}"' in text and "viewgroup" not in text.split("<Layout")[1].split(">")[0]


@pytest.fixture
def saved(tmp_path):
    """A scene that was saved inside our layout, with a scan, a map over it and its legend."""
    with standin_application(tmp_path / "saving") as running:
        manager = slicer.app.layoutManager()
        manager.layoutLogic().GetLayoutNode().AddLayoutDescription(NUMBER, PAIR)
        manager.setLayout(NUMBER)
        scan, overlay = bright_at_low_i(running), bright_at_low_i(running, "Map")
        slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(overlay)
        slicer.util.setSliceViewerLayers(background=scan, foreground=overlay, foregroundOpacity=0.5, fit=True)
        running.save_scene(tmp_path / "scene.mrb")
    return tmp_path / "scene.mrb"


def test_a1_registering_the_description_before_the_load_brings_the_views_back(saved, tmp_path):
    with standin_application(tmp_path / "loading") as running:
        manager = slicer.app.layoutManager()
        manager.layoutLogic().GetLayoutNode().AddLayoutDescription(NUMBER, PAIR)
        running.load_scene(saved)
        running.screenshot(tmp_path / "loaded.png")
        assert manager.layout == NUMBER and manager.sliceWidget("Before").visible and manager.sliceWidget("After").visible
        composite = manager.sliceWidget("After").mrmlSliceCompositeNode()
        assert slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID()).GetName() == "Map" and composite.GetForegroundOpacity() == 0.5
        running.clear_scene()
        running.screenshot(tmp_path / "closed.png")
        assert manager.layout == NUMBER and manager.sliceWidget("Before").visible and not shown(manager.sliceWidget("Before"))[30:60, :].max() > 0


def test_a1b_a_loaded_legend_is_missing_until_it_is_made_anew(saved, tmp_path):
    with standin_application(tmp_path / "loading") as running:
        manager = slicer.app.layoutManager()
        manager.layoutLogic().GetLayoutNode().AddLayoutDescription(NUMBER, PAIR)
        running.load_scene(saved)
        loaded, overlay = shown(manager.sliceWidget("After")), slicer.util.getNode("Map")
        colours = slicer.modules.colors.logic()
        slicer.mrmlScene.RemoveNode(colours.GetColorLegendDisplayNode(overlay))
        assert (shown(manager.sliceWidget("After")) == loaded).all()
        colours.AddDefaultColorLegendDisplayNode(overlay)
        assert (shown(manager.sliceWidget("After")) != loaded).any()


def test_a1_loading_it_without_the_description_leaves_a_grey_area(saved, tmp_path):
    with standin_application(tmp_path / "loading") as running:
        running.load_scene(saved)
        running.screenshot(tmp_path / "loaded.png")
        manager = slicer.app.layoutManager()
        assert manager.layout == NUMBER and not any(manager.sliceWidget(name).visible for name in manager.sliceViewNames())


def test_axial_views_show_the_patient_s_right_at_the_left(two_views, application):
    scan = bright_at_low_i(application)
    slicer.util.setSliceViewerLayers(background=scan, fit=True)
    picture = shown(two_views[0]).astype(int).mean(-1)
    height, width = picture.shape
    assert picture[height // 2, width // 2 - 20] < 50 < 150 < picture[height // 2, width // 2 + 20]


def test_the_foreground_covers_the_background_by_its_opacity(two_views, application):
    scan, overlay = volume(application, np.zeros((10, 40, 40), np.int16)), volume(application, np.full((10, 40, 40), 1000, np.int16), "Map")
    overlay.GetDisplayNode().AutoWindowLevelOff()
    overlay.GetDisplayNode().SetWindowLevelMinMax(0, 1000)
    levels = []
    for opacity in (0.0, 0.5, 1.0):
        slicer.util.setSliceViewerLayers(background=scan, foreground=overlay, foregroundOpacity=opacity, fit=True)
        picture = shown(two_views[0])
        levels.append(int(picture[picture.shape[0] // 2, picture.shape[1] // 2].mean()))
    assert levels[0] < 5 and 110 < levels[1] < 145 and levels[2] > 250


def test_segments_are_outlined_only_in_the_views_that_their_display_names(two_views, application):
    """The cure of A9: a segmentation shown in one view only."""
    scan = volume(application, np.zeros((10, 40, 40), np.int16))
    mask = np.zeros((10, 40, 40), bool)
    mask[3:7, 10:30, 10:30] = True
    node = segmentation(application, scan, mask)
    node.GetDisplayNode().AddViewNodeID(two_views[1].mrmlSliceNode().GetID())
    slicer.util.setSliceViewerLayers(background=scan, fit=True)
    for widget in two_views:
        widget.mrmlSliceNode().SetSliceOffset(20.0)
    red = [(shown(widget).astype(int) @ [1, -1, -1] > 200).sum() for widget in two_views]
    assert red[0] == 0 and red[1] > 100


def test_a_segmentation_under_a_transform_is_drawn_where_it_stands(application):
    import vtk
    from Testing.standins.slice_picture import segment_mask
    scan = volume(application, np.zeros((10, 40, 40), np.int16))
    mask = np.zeros((10, 40, 40), bool)
    mask[5, 20, 20] = True
    node = segmentation(application, scan, mask)
    place = np.array([[40.0, 40.0, 20.0], [50.0, 40.0, 20.0]])
    assert segment_mask(node, "tumour", place).tolist() == [True, False]
    transform, matrix = application.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode"), vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 10.0)
    transform.SetMatrixTransformToParent(matrix)
    node.SetAndObserveTransformNodeID(transform.GetID())
    assert segment_mask(node, "tumour", place).tolist() == [False, True]


def test_a1b_a_legend_is_drawn_only_in_views_that_existed_when_it_was_added(manager, application):
    overlay = volume(application, np.zeros((10, 40, 40), np.int16), "Map")
    legend = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(overlay)
    manager.layoutLogic().GetLayoutNode().AddLayoutDescription(NUMBER, PAIR)
    manager.setLayout(NUMBER)
    slicer.util.setSliceViewerLayers(background=overlay, fit=True)
    before = shown(manager.sliceWidget("Before"))
    application.scene.RemoveNode(legend)
    slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(overlay)
    assert (shown(manager.sliceWidget("Before")) != before).any()


def test_a12_the_controller_moves_linked_views_and_the_node_alone_does_not(two_views, application):
    slicer.util.setSliceViewerLayers(background=bright_at_low_i(application), fit=True)
    for widget in two_views:
        widget.mrmlSliceCompositeNode().SetLinkedControl(True)
        widget.mrmlSliceCompositeNode().SetHotLinkedControl(True)
    two_views[0].sliceController().setSliceOffsetValue(12.0)
    assert two_views[1].sliceLogic().GetSliceOffset() == 12.0
    two_views[0].sliceLogic().SetSliceOffset(20.0)
    assert two_views[1].sliceLogic().GetSliceOffset() == 12.0


@pytest.mark.parametrize("linked", [True, False])
def test_a_deleted_foreground_is_followed_by_another_volume_in_every_linked_view(two_views, application, linked):
    first, second, third = (volume(application, np.zeros((4, 8, 8), np.int16), name) for name in ("first", "second", "third"))
    layers = [widget.mrmlSliceCompositeNode() for widget in two_views]
    for each in layers:
        each.SetLinkedControl(linked)
        each.SetBackgroundVolumeID(first.GetID())
    layers[1].SetForegroundVolumeID(second.GetID())
    application.scene.RemoveNode(second)
    assert [each.GetForegroundVolumeID() for each in layers] == [third.GetID() if linked else None, third.GetID()]


@pytest.fixture
def editor(application):
    widget, node = slicer.qMRMLSegmentEditorWidget(), application.scene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
    node.UnRegister(None)
    node.SetSingletonTag("Test.SegmentEditor")
    widget.setMRMLSegmentEditorNode(application.scene.AddNode(node))
    widget.setMRMLScene(application.scene)
    return widget


def test_the_editor_s_node_comes_before_its_scene(application):
    with pytest.raises(RuntimeError, match="before setMRMLScene"):
        slicer.qMRMLSegmentEditorWidget().setMRMLScene(application.scene)


def test_the_source_volume_follows_the_segmentation(editor, application):
    scans = [bright_at_low_i(application, name) for name in ("Before", "After")]
    outlined = [segmentation(application, scan, np.zeros((10, 40, 40), bool)) for scan in scans]
    loose, heard = application.scene.AddNewNodeByClass("vtkMRMLSegmentationNode"), []
    editor.connect("sourceVolumeNodeChanged(vtkMRMLVolumeNode*)", heard.append)
    for node, source in ((outlined[0], scans[0]), (outlined[1], scans[1]), (outlined[0], scans[0]), (loose, None)):
        editor.setSegmentationNode(node)
        assert editor.segmentationNode() is node and editor.sourceVolumeNode() is source
    assert heard == [scans[0], scans[1], scans[0], None]


def test_a8_the_editor_takes_over_every_view_unless_told_not_to(editor, two_views, application):
    scans = [bright_at_low_i(application, name) for name in ("Before", "After")]
    outlined = [segmentation(application, scan, np.zeros((10, 40, 40), bool)) for scan in scans]
    editor.autoShowSourceVolumeNode = False
    for widget, scan in zip(two_views, scans):
        widget.mrmlSliceCompositeNode().SetBackgroundVolumeID(scan.GetID())
    editor.setSegmentationNode(outlined[1])
    assert two_views[0].mrmlSliceCompositeNode().GetBackgroundVolumeID() == scans[0].GetID()
    editor.autoShowSourceVolumeNode = True
    editor.setSegmentationNode(outlined[0])
    assert [widget.mrmlSliceCompositeNode().GetBackgroundVolumeID() for widget in two_views] == [scans[0].GetID()] * 2


def test_effects_are_reduced_to_a_list_and_keep_the_built_in_order(editor, application):
    assert editor.effectCount() == 14
    editor.setEffectNameOrder(["Erase", "Paint"])
    editor.unorderedEffectsVisible = False
    assert editor.availableEffectNames() == ("Paint", "Erase")
    with pytest.raises(ValueError, match="Brush"):
        editor.setEffectNameOrder(["Brush"])


def test_the_active_effect_ends_when_the_segmentation_changes(editor, application):
    scan = bright_at_low_i(application)
    nodes = [segmentation(application, scan, np.zeros((10, 40, 40), bool)) for _ in range(2)]
    editor.setSegmentationNode(nodes[0])
    editor.setActiveEffectByName("Paint")
    assert editor.activeEffect().name == "Paint"
    editor.setSegmentationNode(nodes[1])
    assert editor.activeEffect() is None


def test_undo_goes_back_to_what_was_saved(editor, application):
    scan = bright_at_low_i(application)
    node = segmentation(application, scan, np.zeros((10, 40, 40), bool))
    editor.setSegmentationNode(node)
    mask = np.zeros((10, 40, 40), np.uint8)
    mask[4, 4:8, 4:8] = 1
    editor.saveStateForUndo()
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, "tumour", scan)
    counted = [slicer.util.arrayFromSegmentBinaryLabelmap(node, "tumour", scan).sum()]
    for step in (editor.undo, editor.redo):
        step()
        counted.append(slicer.util.arrayFromSegmentBinaryLabelmap(node, "tumour", scan).sum())
    assert counted == [16, 0, 16]


def test_the_editor_survives_a_closed_scene_without_segmentation_and_effect(editor, application):
    scan = bright_at_low_i(application)
    editor.setSegmentationNode(segmentation(application, scan, np.zeros((10, 40, 40), bool)))
    editor.setActiveEffectByName("Paint")
    application.clear_scene()
    assert editor.mrmlSegmentEditorNode() is not None and editor.mrmlScene() is application.scene
    assert editor.segmentationNode() is None and editor.activeEffect() is None


def test_the_editor_shows_its_segments_and_selects_one(editor, application):
    scan, heard = bright_at_low_i(application), []
    node = segmentation(application, scan, np.zeros((10, 40, 40), bool))
    node.GetSegmentation().AddEmptySegment("rest", "Residual")
    editor.connect("currentSegmentIDChanged(QString)", heard.append)
    editor.setSegmentationNode(node)
    editor.setCurrentSegmentID("rest")
    assert editor.currentSegmentID() == "rest" and heard[-1] == "rest" and editor._own.table.selectedSegmentIDs() == ("rest",)


def test_a_table_of_segments_follows_the_segmentation(application):
    table, scan = slicer.qMRMLSegmentsTableView(), bright_at_low_i(application)
    table.setMRMLScene(application.scene)
    node = segmentation(application, scan, np.zeros((10, 40, 40), bool))
    table.setSegmentationNode(node)
    node.GetSegmentation().AddEmptySegment("rest", "Residual")
    assert table.segmentCount == 2 and table.segmentIDForRow(1) == "rest"
    table.setSelectedSegmentIDs(["rest"])
    assert table.selectedSegmentIDs() == ("rest",)


def test_a_table_view_shows_its_node_and_a_locked_one_cannot_be_edited(application):
    view, node = slicer.qMRMLTableView(), application.scene.AddNewNodeByClass("vtkMRMLTableNode")
    for name in ("Measure", "Before"):
        node.AddColumn().SetName(name)
    node.AddEmptyRow()
    node.SetCellText(0, 0, "Volume")
    node.SetLocked(True)
    view.setMRMLScene(application.scene)
    view.setMRMLTableNode(node)
    view.resizeColumnsToContents()
    model = view.tableModel()
    assert model.item(0, 0).text() == "Volume" and model.horizontalHeaderItem(1).text() == "Before" and not model.item(0, 0).isEditable()


def test_placing_a_point_is_started_and_ended_by_its_button(application):
    widget, points = slicer.qSlicerMarkupsPlaceWidget(), application.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    widget.setMRMLScene(application.scene)
    heard = []
    widget.connect("activeMarkupsPlaceModeChanged(bool)", heard.append)
    widget.setPlaceModeEnabled(True)
    assert heard == []
    widget.setCurrentNode(points)
    widget.placeButton().click()
    assert widget.placeModeEnabled and slicer.app.applicationLogic().GetSelectionNode().GetActivePlaceNodeID() == points.GetID()
    widget.setPlaceModeEnabled(False)
    assert heard == [True, False]
