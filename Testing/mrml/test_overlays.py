"""A run's maps in a live scene: right place, honest display, provenance, and no piling up."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed, so MRML cannot be tested")

from MRDeltaNetLib.colours import OVERLAY_THRESHOLD  # noqa: E402
from MRDeltaNetLib.errors import InputError  # noqa: E402
from MRDeltaNetLib.io.results import write_results  # noqa: E402
from MRDeltaNetLib.io.finished import FinishedRun  # noqa: E402
from MRDeltaNetLib.mrml import display  # noqa: E402
from MRDeltaNetLib.mrml.alignment import show_alignment  # noqa: E402
from MRDeltaNetLib.mrml.bootstrap import save_bundle  # noqa: E402
from MRDeltaNetLib.mrml.nodes import ijk_to_ras, image_from_node, image_to_node  # noqa: E402
from MRDeltaNetLib.mrml.overlays import (MAPS, add_maps, find_map, legend_of, remake_legend, set_threshold, show_legend,  # noqa: E402
                                         show_map, threshold_of)
from Testing.made_up_result import CENTRE_MM, GRIDS, bump, complete_result, empty_image, like  # noqa: E402
from Testing.mrml.test_nodes import element_matrix  # noqa: E402

KINDS = sorted(GRIDS)
MAP_KEYS = ["attention_post", "attention_pre", "change_post"]
"""What the made-up run has."""


def run_of(result, folder) -> FinishedRun:
    write_results(result, folder, manifest={})
    return FinishedRun(folder)


@pytest.fixture
def case(scene, tmp_path):
    """case(pre kind, post kind) -> (result, run, pre, post): scans in the scene, aligned; the run on the disk."""
    def make(pre_kind="straight", post_kind="oblique"):
        result = complete_result(pre_kind, post_kind)
        pre, post = (image_to_node(result.images[role], scene, role) for role in ("pre", "post"))
        show_alignment(scene, result.transform, pre, post)
        return result, run_of(result, tmp_path / "run"), pre, post
    return make


def volumes(scene) -> int:
    return scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")


@pytest.mark.parametrize("kind", KINDS)
def test_maps_lie_voxel_for_voxel_on_their_scans_and_move_with_them(scene, case, kind):
    result, run, pre, post = case(kind, kind)
    made = add_maps(scene, run, pre, post)
    assert sorted(made) == MAP_KEYS
    for key, node in made.items():
        base = pre if MAPS[key][0] == "pre" else post
        np.testing.assert_allclose(element_matrix(node), ijk_to_ras(result.images[key]), atol=1e-6)
        assert node.GetParentTransformNode() is base.GetParentTransformNode()
        assert node.GetNodeReference(display.BASE_ROLE) is base and node.GetAttribute(display.BASE_ATTRIBUTE) == MAPS[key][0]
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image_from_node(node, node.GetParentTransformNode())),
                                      sitk.GetArrayFromImage(result.images[key]))
    assert made["attention_post"].GetParentTransformNode() is not None


def test_a_map_tells_which_model_made_it_how_and_how_fine(scene, case):
    result, run, pre, post = case()
    node = add_maps(scene, run, pre, post)["change_post"]
    told = {name: node.GetAttribute(f"MRDeltaNet.{name}") for name in ("model", "model_version", "weights_sha256", "formula", "resolution_mm")}
    assert told == {"model": "mrdeltanet-demo", "model_version": "0.1.0", "weights_sha256": "0f" * 32, "formula": result.map_facts["change_post"]["formula"],
                    "resolution_mm": "6 6 6"}


def test_low_values_are_really_hidden_because_applying_the_threshold_is_switched_on(scene, case):
    """Trap A14: a threshold alone hides nothing."""
    _, run, pre, post = case()
    node = add_maps(scene, run, pre, post)["attention_pre"]
    assert node.GetDisplayNode().GetApplyThreshold() and threshold_of(node) == pytest.approx(OVERLAY_THRESHOLD)
    node.GetDisplayNode().ApplyThresholdOff()
    assert threshold_of(node) == 0
    set_threshold(node, 0.6)
    top = float(node.GetImageData().GetScalarRange()[1])
    assert node.GetDisplayNode().GetApplyThreshold() and node.GetDisplayNode().GetLowerThreshold() == pytest.approx(0.6 * top)
    assert threshold_of(node) == pytest.approx(0.6)
    with pytest.raises(ValueError, match="0 to 1"):
        set_threshold(node, 1.5)


def test_a_second_run_replaces_the_maps_of_the_first_and_keeps_their_nodes(scene, case, tmp_path):
    result, run, pre, post = case()
    first = add_maps(scene, run, pre, post)
    counts = {name: scene.GetNumberOfNodesByClass(name) for name in ("vtkMRMLScalarVolumeNode", "vtkMRMLColorTableNode", "vtkMRMLColorLegendDisplayNode",
                                                                     "vtkMRMLScalarVolumeDisplayNode")}
    new = like(3 * sitk.GetArrayFromImage(result.images["attention_pre"]), result.images["attention_pre"])
    again = run_of(dataclasses.replace(result, images=dict(result.images) | {"attention_pre": new}), tmp_path / "again")
    second = add_maps(scene, again, pre, post)
    assert all(second[key] is first[key] for key in MAP_KEYS)
    assert {name: scene.GetNumberOfNodesByClass(name) for name in counts} == counts
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image_from_node(second["attention_pre"])), sitk.GetArrayFromImage(new))
    assert second["attention_pre"].GetDisplayNode().GetWindowLevelMax() == display.kept_by_files(float(sitk.GetArrayFromImage(new).max()))


def test_a_map_that_the_new_run_did_not_make_does_not_stay_behind(scene, case, tmp_path):
    result, run, pre, post = case()
    add_maps(scene, run, pre, post)
    legends = scene.GetNumberOfNodesByClass("vtkMRMLColorLegendDisplayNode")
    less = dataclasses.replace(result, images={key: image for key, image in result.images.items() if key != "change_post"},
                               map_facts={key: facts for key, facts in result.map_facts.items() if key != "change_post"})
    assert sorted(add_maps(scene, run_of(less, tmp_path / "less"), pre, post)) == ["attention_post", "attention_pre"]
    assert find_map(post, "change_post") is None and volumes(scene) == 4
    assert scene.GetNumberOfNodesByClass("vtkMRMLColorLegendDisplayNode") == legends - 1


def test_maps_of_another_scan_or_without_numbers_are_refused_and_nothing_changes(scene, case, tmp_path):
    result, run, pre, post = case()
    other = image_to_node(empty_image("flipped"), scene, "other")
    before = volumes(scene)
    with pytest.raises(InputError) as refused:
        add_maps(scene, run, pre, other)
    assert refused.value.code == "MRD-E837" and volumes(scene) == before and find_map(pre, "attention_pre") is None
    broken = sitk.GetArrayFromImage(result.images["attention_post"])
    broken[3, 3, 3] = np.nan
    images = dict(result.images) | {"attention_post": like(broken, result.images["attention_post"])}
    with pytest.raises(InputError) as refused:
        add_maps(scene, run_of(dataclasses.replace(result, images=images), tmp_path / "nan"), pre, post)
    assert refused.value.code == "MRD-E837" and volumes(scene) == before


def test_a_folder_without_a_finished_run_or_with_a_changed_file_is_refused(scene, case, tmp_path):
    _, run, pre, post = case()
    with pytest.raises(InputError) as refused:
        FinishedRun(tmp_path)
    assert refused.value.code == "MRD-E883"
    with (tmp_path / "run" / "attention_pre.nrrd").open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match="attention_pre") as refused:
        add_maps(scene, run, pre, post)
    assert refused.value.code == "MRD-E884" and volumes(scene) == 2
    (tmp_path / "run" / "result.json").write_text("{}")
    with pytest.raises(InputError) as refused:
        FinishedRun(tmp_path / "run")
    assert refused.value.code == "MRD-E884"


def test_an_all_zero_map_is_shown_and_not_refused_as_a_scan_would_be(scene, tmp_path):
    """No change is a finding."""
    result = complete_result()
    images = dict(result.images) | {"change_post": empty_image("oblique")}
    run = run_of(dataclasses.replace(result, images=images), tmp_path / "run")
    pre, post = (image_to_node(result.images[role], scene, role) for role in ("pre", "post"))
    node = add_maps(scene, run, pre, post)["change_post"]
    assert threshold_of(node) == pytest.approx(OVERLAY_THRESHOLD) and node.GetDisplayNode().GetWindowLevelMax() > 0


def test_a_colour_table_that_somebody_edited_is_not_used_again(scene):
    first = display.cividis_node(scene)
    assert display.cividis_node(scene) is first
    first.SetColor(100, "100", 1.0, 0.0, 0.0, 1.0)
    assert display.cividis_node(scene) is not first


def test_a_legend_made_anew_looks_as_before_and_there_is_one(scene, case):
    """Trap A1b: a legend is drawn only in views that were there when it was made."""
    _, run, pre, post = case()
    node = add_maps(scene, run, pre, post)["attention_pre"]
    old = legend_of(node)
    old.SetNumberOfLabels(5)
    old.SetTitleText("Mine")
    old.SetPosition(0.2, 0.3)
    new = remake_legend(node)
    assert new is not old and old.GetScene() is None and legend_of(node) is new
    assert (new.GetNumberOfLabels(), new.GetTitleText(), new.GetLabelFormat(), tuple(new.GetSize()), tuple(new.GetPosition())) == \
        (5, "Mine", "%.2g", (0.12, 0.4), (0.2, 0.3))
    assert new.GetPrimaryDisplayNode() is node.GetDisplayNode()
    assert node.GetNumberOfDisplayNodes() == 2


def test_hiding_the_overlay_is_not_enough_so_the_legend_has_its_own_switch(scene, case):
    _, run, pre, post = case()
    node = add_maps(scene, run, pre, post)["attention_pre"]
    node.GetDisplayNode().SetVisibility(0)
    assert legend_of(node).GetVisibility()
    show_legend(node, False)
    assert not legend_of(node).GetVisibility()
    show_legend(node, True)
    assert legend_of(node).GetVisibility()
    bare = image_to_node(bump(empty_image(), CENTRE_MM, 8, 1.0), scene, "no legend")
    show_legend(bare, True)
    assert legend_of(bare) is None


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_the_maps_are_found_shown_and_replaced_as_before(scene, case, load, tmp_path, kind):
    result, run, pre, post = case(kind, "oblique")
    set_threshold(add_maps(scene, run, pre, post)["change_post"], 0.5)
    save_bundle(scene, tmp_path / "scene.mrb")
    again = load(tmp_path / "scene.mrb")
    pre, post = again.GetFirstNodeByName("pre"), again.GetFirstNodeByName("post")
    node = find_map(post, "change_post")
    assert threshold_of(node) == pytest.approx(0.5, rel=1e-4) and legend_of(node).GetTitleText() == "Change (magnitude), 6 mm"
    assert node.GetAttribute("MRDeltaNet.formula") == result.map_facts["change_post"]["formula"]
    count = volumes(again)
    made = add_maps(again, run, pre, post)
    assert made["change_post"] is node and volumes(again) == count
    assert again.GetNumberOfNodesByClass("vtkMRMLColorTableNode") == scene.GetNumberOfNodesByClass("vtkMRMLColorTableNode")


# ---- maps of methods

def test_every_map_that_a_run_may_write_has_a_name_and_a_legend_with_its_unit():
    from MRDeltaNetLib.config import EXPLAIN_METHODS
    from MRDeltaNetLib.response.attribution import METHODS
    assert set(MAPS) == {f"{key}_{visit}" for key in EXPLAIN_METHODS for visit in METHODS[key].visits}
    assert "% points" in MAPS["occlusion_pre"][2] and "fails sanity checks" in MAPS["guided_gradcam_post"][2] and MAPS["null_pre"][1].startswith("Pre-treatment null map: outline and position alone")
    assert MAPS["gradcam_pre"][1] == "Pre-treatment Grad-CAM" and all(name.startswith("Pre-" if role == "pre" else "Post-") for role, name, _ in MAPS.values())


@pytest.fixture
def with_methods(scene, case, tmp_path):
    """A run with a map without and one with a sign, on one scale each; both scans in the scene."""
    result, _, pre, post = case()
    small = like(0.4 * sitk.GetArrayFromImage(result.images["attention_pre"]), result.images["attention_pre"])
    signed = {visit: like(size * (sitk.GetArrayFromImage(bump(result.images[visit], CENTRE_MM, 12.0, 2.0)) - 1), result.images[visit]) for visit, size in (("pre", 1.0), ("post", 0.3))}
    images = {"gradcam_pre": small, "gradcam_post": result.images["attention_post"], "occlusion_pre": signed["pre"], "occlusion_post": signed["post"]}
    facts = {name: {"formula": "f", "resolution_mm": (3.0, 3.0, 3.0), "scale_top": 1.0, "signed": name.startswith("occlusion")} for name in images}
    more = dataclasses.replace(result, images=dict(result.images) | images, map_facts=dict(result.map_facts) | facts)
    return add_maps(scene, run_of(more, tmp_path / "more"), pre, post)


def test_both_scans_maps_of_a_method_have_one_window(with_methods):
    for key in ("gradcam", "occlusion"):
        windows = [(shown.GetWindowLevelMin(), shown.GetWindowLevelMax()) for shown in (with_methods[f"{key}_{visit}"].GetDisplayNode() for visit in ("pre", "post"))]
        assert windows[0] == pytest.approx(windows[1]) and windows[0] == pytest.approx((-1.0, 1.0) if key == "occlusion" else (0.0, 1.0))


def shown_alpha(volume) -> np.ndarray:
    """Opacity of every voxel (z, y, x) as the volume's display pipeline gives it to a slice view."""
    shown = volume.GetDisplayNode()
    shown.SetInputImageDataConnection(volume.GetImageDataConnection())
    shown.UpdateImageDataPipeline()
    source = shown.GetOutputImageDataConnection().GetProducer()
    source.Update()
    image = source.GetOutputDataObject(shown.GetOutputImageDataConnection().GetIndex())
    from vtkmodules.util.numpy_support import vtk_to_numpy
    rgba = vtk_to_numpy(image.GetPointData().GetScalars())
    assert rgba.shape[1] == 4
    return rgba[:, 3].reshape(image.GetDimensions()[::-1])


def test_of_a_map_with_a_sign_the_middle_is_clear_and_both_ends_are_seen(with_methods):
    volume = with_methods["occlusion_pre"]
    values = sitk.GetArrayFromImage(image_from_node(volume))
    alpha = shown_alpha(volume)
    assert threshold_of(volume) == pytest.approx(OVERLAY_THRESHOLD)
    for fraction in (OVERLAY_THRESHOLD, 0.6, 0.0):
        set_threshold(volume, fraction)
        alpha = shown_alpha(volume)
        assert threshold_of(volume) == pytest.approx(fraction)
        assert not alpha[np.abs(values) < fraction - 0.01].any() and (alpha[np.abs(values) > fraction + 0.01] > 0).all()
    assert (values < -0.7).any() and (values > 0.7).any()
    with pytest.raises(ValueError, match="0 to 1"):
        set_threshold(volume, 1.5)


def test_a_threshold_is_a_share_of_the_shared_scale_not_of_the_map_s_own_highest_value(with_methods):
    set_threshold(with_methods["gradcam_pre"], 0.5)
    assert with_methods["gradcam_pre"].GetDisplayNode().GetLowerThreshold() == pytest.approx(0.5) and threshold_of(with_methods["gradcam_pre"]) == pytest.approx(0.5)


@pytest.mark.parametrize("resolution, ending", [((3.0, 3.0, 3.0), ", 3 mm"), ((0.75, 0.75, 3.0), ", 0.75 x 0.75 x 3 mm"), (None, ")")])
def test_a_legend_says_how_fine_the_map_really_is(scene, case, resolution, ending):
    result, _, pre, _ = case()
    facts = {} if resolution is None else {"resolution_mm": resolution}
    node = show_map(scene, result.images["attention_pre"], "gradcam_pre", pre, "pre", "map", MAPS["gradcam_pre"][2], facts=facts)
    assert legend_of(node).GetTitleText().startswith("Grad-CAM\n(share of the largest)") and legend_of(node).GetTitleText().endswith(ending)


@pytest.mark.parametrize("top, signed", [(1.0, False), (0.123457, False), (12.3456789, True), (99999.9, False), (1.23456e-7, True), (0.1 + 0.2, False)])
def test_a_scale_is_read_from_a_scene_as_it_was_saved_and_begins_at_zero(scene, load, tmp_path, top, signed):
    """A file keeps six digits of window and level: a map's lowest label read -5e-07."""
    scan = image_to_node(empty_image("straight"), scene, "scan")
    node = show_map(scene, like(np.full(scan.GetImageData().GetDimensions()[::-1], top, np.float32), empty_image("straight")), "change_post", scan, "post", "a map", "title",
                    facts={"scale_top": top, "signed": signed})
    shown = node.GetDisplayNode()
    assert top <= shown.GetWindowLevelMax() <= 1.0001 * top and shown.GetWindowLevelMin() == (-shown.GetWindowLevelMax() if signed else 0.0)
    save_bundle(scene, tmp_path / "scene.mrb")
    again = load(tmp_path / "scene.mrb").GetFirstNodeByName("a map").GetDisplayNode()
    assert (again.GetWindowLevelMin(), again.GetWindowLevelMax()) == (shown.GetWindowLevelMin(), shown.GetWindowLevelMax())


@pytest.mark.parametrize("title, shown", [("Attention (weight)", "Attention (weight)"), ("Regions taken away (% points)", "Regions taken away\n(% points)"),
                                          ("A long title without any unit", "A long title without any unit")])
def test_a_long_title_of_a_legend_stands_on_two_lines_after_reading_too(scene, load, tmp_path, title, shown):
    scan = image_to_node(empty_image("straight"), scene, "scan")
    node = show_map(scene, empty_image("straight"), "change_post", scan, "post", "a map", title)
    assert legend_of(node).GetTitleText() == shown and display.in_two_lines(shown) == shown
    save_bundle(scene, tmp_path / "scene.mrb")
    again = load(tmp_path / "scene.mrb").GetFirstNodeByName("a map")
    assert remake_legend(again).GetTitleText() == shown
