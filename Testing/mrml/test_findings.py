"""Sizes, result text and points travel with the scene, are filled anew and not piled up, and mean what they say."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed, so MRML cannot be tested")

from MRDeltaNetLib.io.results import result_json, write_results  # noqa: E402
from MRDeltaNetLib.io.finished import FinishedRun  # noqa: E402
from MRDeltaNetLib.mrml.alignment import find_alignment, show_alignment, transform_from_node  # noqa: E402
from MRDeltaNetLib.mrml.bootstrap import save_bundle  # noqa: E402
from MRDeltaNetLib.mrml.findings import COLUMNS, asked_point, measures_table, query_points, result_text, show_answer  # noqa: E402
from MRDeltaNetLib.mrml.hierarchy import CASE, file_scans, file_under, file_under_patient, hierarchy_of  # noqa: E402
from MRDeltaNetLib.mrml.nodes import image_to_node, linear_matrix  # noqa: E402
from MRDeltaNetLib.mrml.outlines import carry_over, find_segmentation, set_mask, source_of, tumour_segmentation  # noqa: E402
from MRDeltaNetLib.mrml.overlays import MAPS, add_maps, find_map  # noqa: E402
from MRDeltaNetLib.mrml.scene import write_scene  # noqa: E402
from Testing.made_up_result import CENTRE_MM, GRIDS, complete_result, empty_image, rigid  # noqa: E402
from Testing.mrml.test_outlines import view  # noqa: E402

POINT = CENTRE_MM + (8, 18, -6)


@pytest.fixture
def pair(scene):
    return image_to_node(empty_image("straight"), scene, "pre"), image_to_node(empty_image("oblique"), scene, "post")


def cells(table) -> list[list[str]]:
    return [[table.GetCellText(row, column) for column in range(len(COLUMNS))] for row in range(table.GetTable().GetNumberOfRows())]


def test_the_table_holds_the_results_sizes_with_units_and_is_locked(scene, pair):
    table = measures_table(scene, result_json(complete_result()), pair[0])
    rows = cells(table)
    assert table.GetLocked() and [table.GetColumnName(index) for index in range(len(COLUMNS))] == list(COLUMNS)
    assert rows[0] == ["Volume", "tumour bed", "mL", "33.5", "24.4", "\N{MINUS SIGN}9.1", "\N{MINUS SIGN}27"]
    assert rows[4] == ["Volume", "residual viable tumour", "mL", "33.5", "2.1", "\N{MINUS SIGN}31.4", "\N{MINUS SIGN}94"]
    assert len(rows) == 8 and {row[2] for row in rows} == {"mL", "mm"}


def test_a_later_result_fills_the_same_table_and_text(scene, pair):
    table, text = measures_table(scene, result_json(complete_result()), pair[0]), result_text(scene, "{}", pair[0])
    gone = dataclasses.replace(complete_result(), measures={})
    assert measures_table(scene, result_json(gone), pair[0]) is table and cells(table) == []
    assert result_text(scene, '{"p": 1}', pair[0]) is text and text.GetText() == '{"p": 1}'
    other = measures_table(scene, result_json(complete_result()), pair[1])
    assert other is not table and scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 2


def test_a_size_that_nobody_measured_is_not_shown_as_a_number(scene, pair):
    result = result_json(complete_result())
    result["measures"] |= {"post_volume_ml": None, "volume_change_ml": None, "volume_change_percent": None}
    assert cells(measures_table(scene, result, pair[0]))[0][3:] == ["33.5", "not available", "not available", "not available"]


def test_the_question_is_one_point_of_the_post_scan_and_the_answer_one_locked_point(scene, pair):
    before, after = view(scene, "Before"), view(scene, "After")
    question, answer = query_points(*pair, [before], [after])
    assert query_points(*pair, [before], [after]) == (question, answer)
    assert asked_point(question) is None
    assert question.AddControlPoint(1, 2, 3) == 0
    assert question.AddControlPoint(4, 5, 6) == -1
    assert answer.GetLocked() and not question.GetLocked()
    assert question.GetDisplayNode().IsDisplayableInView(after.GetID()) and not question.GetDisplayNode().IsDisplayableInView(before.GetID())
    assert answer.GetDisplayNode().IsDisplayableInView(before.GetID()) and not answer.GetDisplayNode().IsDisplayableInView(after.GetID())


def test_a_preview_of_a_point_is_no_question(scene, pair):
    """While a reader moves the mouse in place mode one point is there already, but not defined."""
    question, _ = query_points(*pair)
    question.AddControlPoint(1, 2, 3)
    question.UnsetNthControlPointPosition(0)
    assert question.GetNumberOfControlPoints() == 1 and asked_point(question) is None


def test_the_asked_point_is_in_the_post_scans_own_space_whatever_the_alignment(scene, pair):
    pre, post = pair
    world = POINT * [-1, -1, 1]
    question, _ = query_points(pre, post)
    question.AddControlPointWorld(*world)
    np.testing.assert_allclose(asked_point(question), POINT, atol=1e-9)
    question.RemoveAllControlPoints()
    show_alignment(scene, rigid(), pre, post, [question])
    question.AddControlPointWorld(*world)
    np.testing.assert_allclose(asked_point(question), rigid().TransformPoint(POINT.tolist()), atol=1e-6)
    asked = asked_point(question)
    find_alignment(scene, post).SetAndObserveTransformNodeID(None)
    question.SetAndObserveTransformNodeID(None)
    post.SetAndObserveTransformNodeID(None)
    np.testing.assert_allclose(asked_point(question), asked, atol=1e-9)        # it followed the scan, so it marks the same voxel


def test_an_answer_takes_the_earlier_ones_place(scene, pair):
    _, answer = query_points(*pair)
    show_answer(answer, (0.0, 0.0, 0.0))
    show_answer(answer, POINT.tolist())
    assert answer.GetNumberOfControlPoints() == 1
    np.testing.assert_allclose(answer.GetNthControlPointPositionWorld(0), POINT * [-1, -1, 1], atol=1e-9)
    show_answer(answer, None)
    assert answer.GetNumberOfControlPoints() == 0


@pytest.mark.parametrize("kinds", [("straight", "oblique"), ("left-handed", "axis-permuted")], ids="+".join)
def test_a_whole_case_saved_and_loaded_is_found_again_piece_by_piece(scene, load, tmp_path, kinds):
    result = complete_result(*kinds)
    write_results(result, tmp_path / "run", manifest={})
    run = FinishedRun(tmp_path / "run")
    pre, post = (image_to_node(result.images[role], scene, role) for role in ("pre", "post"))
    file_scans(scene, {"pre": pre, "post": post})
    before, after = tumour_segmentation(pre, "pre"), tumour_segmentation(post, "post")
    set_mask(before, "pre_mask", result.images["pre_mask"])
    set_mask(after, "residual_mask", result.images["residual_mask"])
    alignment = show_alignment(scene, result.transform, pre, post, [after])
    carry_over(before, after, post, transform_from_node(alignment, post))
    question, answer = query_points(pre, post)
    question.AddControlPoint(1.0, 2.0, 3.0)
    show_answer(answer, POINT.tolist())
    maps = add_maps(scene, run, pre, post)
    for node, like in ((before, pre), (after, post), *((node, pre if MAPS[key][0] == "pre" else post) for key, node in maps.items())):
        file_under(scene, node, like)
    for node in (alignment, measures_table(scene, run.result, pre), result_text(scene, run.text, pre), question, answer):
        file_under_patient(scene, node, pre)
    asked = asked_point(question)
    save_bundle(scene, tmp_path / "scene.mrb")

    again = load(tmp_path / "scene.mrb")
    pre, post = again.GetFirstNodeByName("pre"), again.GetFirstNodeByName("post")
    assert [source_of(find_segmentation(post, "post"), key) for key in ("post_mask", "residual_mask")] == ["carried", "drawn"]
    np.testing.assert_allclose(linear_matrix(transform_from_node(find_alignment(again, post), post)), linear_matrix(result.transform), atol=1e-6)
    assert all(find_map(pre if MAPS[key][0] == "pre" else post, key) is not None for key in maps)
    counts = [again.GetNumberOfNodesByClass(name) for name in ("vtkMRMLTableNode", "vtkMRMLTextNode", "vtkMRMLMarkupsFiducialNode")]
    table, text = measures_table(again, run.result, pre), again.GetFirstNodeByName("MRDeltaNet result")
    assert table.GetLocked() and len(cells(table)) == 8 and json.loads(text.GetText())["p_pcr"] == pytest.approx(0.7312)
    question, answer = query_points(pre, post)
    assert counts == [again.GetNumberOfNodesByClass(name) for name in ("vtkMRMLTableNode", "vtkMRMLTextNode", "vtkMRMLMarkupsFiducialNode")] == [1, 1, 2]
    np.testing.assert_allclose(asked_point(question), asked, atol=1e-4)
    assert answer.GetLocked() and question.GetMaximumNumberOfControlPoints() == 1
    hierarchy = hierarchy_of(again)
    case = hierarchy.GetItemChildWithName(hierarchy.GetSceneItemID(), CASE)
    assert case and all(hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == case for node in (table, text, question, answer))


@pytest.mark.parametrize("kind", sorted(GRIDS))
def test_the_panel_knows_the_nodes_of_a_scene_that_a_run_wrote(load, tmp_path, kind):
    """A scene.mrb of the command line, opened in Slicer, is worked on and not doubled."""
    result = dataclasses.replace(complete_result(kind, "oblique"), mask_sources={"pre": "drawn", "post": "carried", "residual": "drawn"})
    again = load(write_scene(result, tmp_path / "scene.mrb"))
    pre, post = again.GetFirstNodeByName("Pre-treatment T2"), again.GetFirstNodeByName("Post-treatment T2")
    segmentation = find_segmentation(post, "post")
    assert tumour_segmentation(post, "post") is segmentation and source_of(segmentation, "post_mask") == "carried"
    assert source_of(find_segmentation(pre, "pre"), "pre_mask") == "drawn"
    np.testing.assert_allclose(linear_matrix(transform_from_node(find_alignment(again, post), post)), linear_matrix(result.transform), atol=1e-6)
    write_results(result, tmp_path / "run", manifest={})
    volumes = again.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    add_maps(again, FinishedRun(tmp_path / "run"), pre, post)
    assert again.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == volumes
    file_scans(again, {"pre": pre, "post": post})
    hierarchy = hierarchy_of(again)
    assert hierarchy.GetItemName(hierarchy.GetItemParent(hierarchy.GetItemParent(hierarchy.GetItemByDataNode(post)))) == CASE


def test_classes_of_one_lesion_and_the_readers_grade_stand_below_the_sizes(scene, pair):
    classes = {"lesion_size_bed": "little changed", "lesion_volume_bed": None, "lesion_size_residual": "smaller", "lesion_volume_residual": "smaller"}
    rows = cells(measures_table(scene, result_json(dataclasses.replace(complete_result(), response=classes, mrtrg=2)), pair[0]))
    assert len(rows) == 12 and rows[8] == ["One lesion, class of diameter", "residual viable tumour", "", "", "smaller", "", ""]
    assert rows[10][4] == "little changed" and rows[11] == ["mrTRG, the reader's opinion", "", "grade 1 to 5", "", "2", "", ""]
