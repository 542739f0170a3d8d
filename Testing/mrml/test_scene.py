"""A scene written and read again holds what the Result held, in the same places."""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile

import numpy as np
import pytest
import SimpleITK as sitk

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed, so MRML cannot be tested")

from MRDeltaNetLib import errors  # noqa: E402
from MRDeltaNetLib.case import Result  # noqa: E402
from MRDeltaNetLib.colours import CIVIDIS, OVERLAY_THRESHOLD  # noqa: E402
from MRDeltaNetLib.errors import EnvironmentProblem, MissingPackage  # noqa: E402
from MRDeltaNetLib.mrml import bootstrap, display  # noqa: E402
from MRDeltaNetLib.mrml.nodes import LPS_TO_RAS, ijk_to_ras, image_from_node, linear_matrix  # noqa: E402
from MRDeltaNetLib.mrml.scene import provenance_of, scans_of, write_scene  # noqa: E402
from MRDeltaNetLib.mrml.terminology import SEGMENTS  # noqa: E402
from Testing.made_up_result import CENTRE_MM, GRIDS, complete_result  # noqa: E402
from Testing.mrml.test_nodes import bend, element_matrix, exported  # noqa: E402

KINDS = sorted(GRIDS)
VOLUMES = {"pre": "Pre-treatment T2", "post": "Post-treatment T2", "attention_pre": "Pre-treatment attention",
           "attention_post": "Post-treatment attention", "change_post": "Post-treatment change"}


def named(scene, name: str):
    node = scene.GetFirstNodeByName(name)
    assert node is not None, f"the scene has no node named {name}"
    return node


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """written(kind of pre grid, kind of post grid) -> (result, path), each made once."""
    made = {}

    def write(kind_pre: str, kind_post: str):
        if (kind_pre, kind_post) not in made:
            result = complete_result(kind_pre, kind_post)
            path = tmp_path_factory.mktemp("scene") / "scene.mrb"
            made[kind_pre, kind_post] = result, write_scene(result, path, provenance='{\n "p_pcr": 0.73\n}\n')
        return made[kind_pre, kind_post]

    return write


@pytest.mark.parametrize("kind", KINDS)
def test_volumes_come_back_with_the_same_voxels_at_the_same_places(written, load, kind):
    result, path = written(kind, kind)
    scene = load(path)
    for key, name in VOLUMES.items():
        node = named(scene, name)
        np.testing.assert_allclose(element_matrix(node), ijk_to_ras(result.images[key]), atol=1e-6)
        node.SetAndObserveTransformNodeID(None)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image_from_node(node)), sitk.GetArrayFromImage(result.images[key]))


@pytest.mark.parametrize("kind", KINDS)
def test_segments_come_back_voxel_by_voxel(written, load, kind):
    result, path = written(kind, kind)
    scene = load(path)
    for scan, title, keys in (("Pre-treatment T2", "Pre-treatment segmentation", ["pre_mask"]),
                              ("Post-treatment T2", "Post-treatment segmentation", ["post_mask", "residual_mask"])):
        reference, node = named(scene, scan), named(scene, title)
        assert node.GetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole()) == reference.GetID()
        for key in keys:
            np.testing.assert_array_equal(exported(node, key, reference, scene) > 0, sitk.GetArrayFromImage(result.images[key]) > 0)


def test_segments_keep_name_colour_and_codes_and_are_drawn_as_outlines(written, load):
    _, path = written("straight", "oblique")
    scene = load(path)
    for title, keys in (("Pre-treatment segmentation", ["pre_mask"]), ("Post-treatment segmentation", ["post_mask", "residual_mask"])):
        shown = named(scene, title).GetDisplayNode()
        assert shown.GetVisibility2DOutline() and not shown.GetVisibility2DFill()
        for key in keys:
            segment = named(scene, title).GetSegmentation().GetSegment(key)
            assert segment.GetName().startswith(SEGMENTS[key].name)
            assert segment.GetTerminology() == SEGMENTS[key].terminology
            np.testing.assert_allclose(segment.GetColor(), SEGMENTS[key].rgb, atol=1e-3)


def test_a_bed_that_nobody_drew_says_so_in_its_segment_s_name(load, tmp_path):
    for source, expected in (("carried", "Tumour bed after treatment (suggestion, carried over)"), ("drawn", "Tumour bed after treatment")):
        result = dataclasses.replace(complete_result(), mask_sources={"pre": "drawn", "post": source, "residual": "drawn"})
        segments = named(load(write_scene(result, tmp_path / f"{source}.mrb")), "Post-treatment segmentation").GetSegmentation()
        assert [segments.GetSegment(key).GetName() for key in ("post_mask", "residual_mask")] == [expected, "Residual viable tumour"]


def test_everything_of_the_post_scan_shows_aligned_with_pre_and_is_not_hardened(written, load):
    result, path = written("straight", "oblique")
    scene = load(path)
    transform = named(scene, "Post-treatment to pre-treatment")
    matrix = slicer_matrix(transform.GetMatrixTransformFromParent)
    np.testing.assert_allclose(matrix, LPS_TO_RAS @ linear_matrix(result.transform) @ LPS_TO_RAS, atol=1e-6)
    for name in ("Post-treatment T2", "Post-treatment segmentation", "Post-treatment attention", "Post-treatment change"):
        assert named(scene, name).GetParentTransformNode() is transform
    for name in ("Pre-treatment T2", "Pre-treatment segmentation", "Pre-treatment attention"):
        assert named(scene, name).GetParentTransformNode() is None
    pre = CENTRE_MM + (11, -7, 4)
    post = np.array(result.transform.TransformPoint(pre.tolist()))
    to_world = slicer_matrix(transform.GetMatrixTransformToParent)
    np.testing.assert_allclose((to_world @ [*(post * [-1, -1, 1]), 1])[:3], pre * [-1, -1, 1], atol=1e-6)


def slicer_matrix(getter) -> np.ndarray:
    from MRDeltaNetLib.mrml.nodes import vtk_matrix

    matrix = vtk_matrix()
    getter(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def test_overlays_keep_colours_window_threshold_legend_and_link(written, load):
    result, path = written("straight", "oblique")
    scene = load(path)
    for key, base, role in (("attention_pre", "Pre-treatment T2", "pre"), ("attention_post", "Post-treatment T2", "post"),
                            ("change_post", "Post-treatment T2", "post")):
        node, top = named(scene, VOLUMES[key]), float(sitk.GetArrayViewFromImage(result.images[key]).max())
        shown = node.GetDisplayNode()
        assert shown.GetColorNode().GetName() == display.COLOUR_NODE_NAME
        assert not shown.GetAutoWindowLevel() and shown.GetApplyThreshold()
        assert shown.GetLowerThreshold() == pytest.approx(OVERLAY_THRESHOLD * top, rel=1e-4)
        assert shown.GetWindowLevelMin() == 0
        assert shown.GetWindowLevelMax() == pytest.approx(top, rel=1e-4)
        assert node.GetNodeReference(display.BASE_ROLE) is named(scene, base)
        assert node.GetAttribute(display.BASE_ATTRIBUTE) == role
        assert slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node).GetNumberOfLabels() == 3
    colours = named(scene, display.COLOUR_NODE_NAME)
    rgba = [0.0] * 4
    for index in (0, 100, 255):
        assert colours.GetColor(index, rgba)
        np.testing.assert_allclose(np.array(rgba[:3]) * 255, CIVIDIS[index], atol=0.6)


def slicers_picture(scene, volume, at_ras) -> tuple[np.ndarray, np.ndarray]:
    """Slicer's own axial picture of one volume: RGBA array (rows, columns, 4) and the RAS point of each pixel (rows, columns, 3)."""
    support = pytest.importorskip("vtkmodules.util.numpy_support")
    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLScene(scene)
    view = logic.AddSliceNode("Check")
    view.SetOrientation("Axial")
    view.SetDimensions(160, 150, 1)
    view.SetFieldOfView(160, 150, 1)
    view.JumpSliceByCentering(*at_ras)
    logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
    producer = logic.GetImageDataConnection().GetProducer()
    producer.Update()
    data = producer.GetOutputDataObject(0)
    rgba = support.vtk_to_numpy(data.GetPointData().GetScalars()).reshape(150, 160, -1)
    to_ras = np.array([[view.GetXYToRAS().GetElement(row, column) for column in range(4)] for row in range(4)])
    rows, columns = np.indices((150, 160))
    points = np.stack([columns, rows, 0 * rows, 0 * rows + 1], axis=-1) @ to_ras.T
    logic.SetMRMLScene(None)
    return rgba, points[..., :3]


def test_in_slicers_own_picture_a_map_is_clear_below_its_threshold_and_coloured_above(written, load):
    result, path = written("oblique", "oblique")
    scene, attention = load(path), result.images["attention_pre"]
    with bootstrap.quiet():
        rgba, ras = slicers_picture(scene, named(scene, VOLUMES["attention_pre"]), (CENTRE_MM + (8, 18, -6)) * [-1, -1, 1])
    continuous = [attention.TransformPhysicalPointToContinuousIndex((point * [-1, -1, 1]).tolist()) for point in ras.reshape(-1, 3)]
    inside = [all(0 <= value <= size - 1 for value, size in zip(index, attention.GetSize())) for index in continuous]
    top = sitk.GetArrayViewFromImage(attention).max()
    values = np.array([attention.EvaluateAtContinuousIndex(index) if there else 0 for index, there in zip(continuous, inside)]) / top
    shown = rgba.reshape(-1, 4)[:, 3] > 0
    assert not shown[values < 0.15].any() and shown[values > 0.25].all() and (values > 0.9).any()
    peak = rgba.reshape(-1, 4)[values.argmax(), :3].astype(float)
    assert np.abs(peak - CIVIDIS[round(values.max() * 255)]).max() < 12


def test_the_case_is_filed_under_one_subject_with_a_study_for_each_scan(written, load):
    _, path = written("straight", "oblique")
    scene = load(path)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    subject = hierarchy.GetItemChildWithName(hierarchy.GetSceneItemID(), "MRDeltaNet case")
    assert subject
    for study, names in (("Before treatment", ["Pre-treatment T2", "Pre-treatment segmentation", "Pre-treatment attention"]),
                         ("After treatment", ["Post-treatment T2", "Post-treatment segmentation", "Post-treatment attention",
                                              "Post-treatment change"])):
        parent = hierarchy.GetItemChildWithName(subject, study)
        for name in names:
            assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(named(scene, name))) == parent


def test_the_result_text_travels_inside(written, load):
    _, path = written("straight", "oblique")
    assert named(load(path), "MRDeltaNet result").GetText() == '{\n "p_pcr": 0.73\n}\n'


def test_the_three_views_open_on_the_tumour_with_slicers_own_orientation(written, load):
    _, path = written("straight", "oblique")
    scene = load(path)
    for name, toward_left_of_picture in (("Red", (-1, 0, 0)), ("Green", (-1, 0, 0)), ("Yellow", (0, -1, 0))):
        view = scene.GetNodeByID(f"vtkMRMLSliceNode{name}")
        matrix = view.GetSliceToRAS()
        across = [matrix.GetElement(row, 0) for row in range(3)]
        np.testing.assert_allclose(across, toward_left_of_picture, atol=1e-9)   # RAS: columns run to patient left (or posterior)
        layers = scene.GetNodeByID(f"vtkMRMLSliceCompositeNode{name}")
        assert scene.GetNodeByID(layers.GetBackgroundVolumeID()).GetName() == "Pre-treatment T2"
        assert scene.GetNodeByID(layers.GetForegroundVolumeID()).GetName() == "Pre-treatment attention"
        tumour = (CENTRE_MM + (8, 18, -6)) * [-1, -1, 1]
        centre = np.array([matrix.GetElement(row, 3) for row in range(3)])
        assert np.linalg.norm(centre - tumour) < 5


def test_slicers_own_archive_reader_opens_it(written, tmp_path):
    _, path = written("straight", "oblique")
    with bootstrap.own_scene() as scene:
        cache = slicer.vtkMRMLRemoteIOLogic()
        cache.SetMRMLScene(scene)
        cache.GetCacheManager().SetRemoteCacheDirectory(str(tmp_path))
        cache.AddDataIOToScene()
        manager = slicer.vtkDataIOManagerLogic()
        manager.SetMRMLScene(scene)
        manager.SetAndObserveDataIOManager(cache.GetDataIOManager())
        assert scene.ReadFromMRB(str(path), True)
        assert named(scene, "Post-treatment attention").GetImageData() is not None
        cache.RemoveDataIOFromScene()


def test_a_free_form_transform_survives(tmp_path, load):
    result = dataclasses.replace(complete_result("straight", "straight"), transform=bend())
    scene = load(write_scene(result, tmp_path / "scene.mrb"))
    transforms = pytest.importorskip("vtkmodules.vtkCommonTransforms")
    general = transforms.vtkGeneralTransform()
    named(scene, "Post-treatment to pre-treatment").GetTransformFromWorld(general)
    pre = CENTRE_MM + (11, -7, 4)
    post = np.array(bend().TransformPoint(pre.tolist()))
    np.testing.assert_allclose(general.TransformPoint(*(pre * [-1, -1, 1])), post * [-1, -1, 1], atol=1e-6)


def test_an_empty_residual_mask_gives_an_empty_segment_that_stays(tmp_path, load):
    result = complete_result(empty_residual=True)
    scene = load(write_scene(result, tmp_path / "scene.mrb"))
    segmentation = named(scene, "Post-treatment segmentation").GetSegmentation()
    assert segmentation.GetSegment("residual_mask").GetName() == "Residual viable tumour"


@pytest.mark.parametrize("kept", [(), ("pre",), ("post",), ("pre", "post"), ("pre", "post", "pre_mask"), ("pre", "attention_pre")],
                         ids=lambda kept: "+".join(kept) or "nothing")
def test_missing_pieces_are_left_out(tmp_path, load, kept):
    whole = complete_result()
    result = Result(images={key: whole.images[key] for key in kept}, transform=whole.transform)
    scene = load(write_scene(result, tmp_path / "scene.mrb"))
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == len([key for key in kept if "mask" not in key])


def test_the_same_result_gives_the_same_bytes_under_any_file_name(tmp_path):
    result = complete_result()
    digests = {hashlib.sha256(write_scene(result, tmp_path / name, provenance="{}").read_bytes()).hexdigest()
               for name in ("scene.mrb", "other name.mrb")}
    assert len(digests) == 1


def test_the_file_says_nothing_of_folders_and_of_the_day(written):
    _, path = written("straight", "oblique")
    with zipfile.ZipFile(path) as bundle:
        for entry in bundle.infolist():
            assert entry.date_time[0] == 1980
            assert entry.filename.startswith("MRDeltaNet/")
            if entry.filename.endswith((".mrml", ".tfm", ".csv")):
                assert b"/tmp" not in bundle.read(entry) and str(path.parent).encode() not in bundle.read(entry)


def test_vtk_is_kept_quiet_and_gets_its_voice_back(capfd, tmp_path):
    from vtkmodules.vtkCommonCore import vtkOutputWindow

    before = vtkOutputWindow.GetInstance()
    write_scene(complete_result(), tmp_path / "scene.mrb")
    assert vtkOutputWindow.GetInstance() is before
    printed = capfd.readouterr()
    assert printed.out == "" and printed.err == ""


def test_a_failed_save_is_an_error_with_a_remedy_and_keeps_the_earlier_file(tmp_path, monkeypatch):
    path = tmp_path / "scene.mrb"
    path.write_bytes(b"earlier")

    class Failing:
        def SaveSceneToSlicerDataBundleDirectory(self, folder, picture):
            return False

    with pytest.raises(EnvironmentProblem, match="space") as failed:
        bootstrap.save_bundle(Failing(), path)
    assert failed.value.code == "MRD-E832"
    assert path.read_bytes() == b"earlier"


def test_without_slicer_core_the_message_says_how_to_install_it(tmp_path, monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(errors.importlib, "import_module", absent)
    with pytest.raises(MissingPackage, match="slicer-core") as missing:
        write_scene(complete_result(), tmp_path / "scene.mrb")
    assert missing.value.code == "MRD-E801"
    assert not list(tmp_path.iterdir())


def test_a_maps_node_says_which_model_made_it_by_what_formula_and_how_fine(written, load):
    result, path = written("straight", "oblique")
    node = named(load(path), "Post-treatment change")
    told = {name: node.GetAttribute(f"MRDeltaNet.{name}") for name in ("model", "weights_sha256", "formula", "resolution_mm", "caution")}
    assert told == {"model": "mrdeltanet-demo", "weights_sha256": "0f" * 32, "formula": result.map_facts["change_post"]["formula"], "resolution_mm": "6 6 6", "caution": None}


# ---- made anew

@pytest.mark.parametrize("kind_pre, kind_post", [("oblique", "left-handed"), ("axis-permuted", "flipped"), ("straight", "oblique")])
def test_scans_and_provenance_come_out_of_a_scene_as_they_went_in(tmp_path, kind_pre, kind_post):
    result, text = complete_result(kind_pre, kind_post), "\n".join(f'"größer {number}": 0.{number}' for number in range(50)) + "\n"
    path = write_scene(result, tmp_path / "scene.mrb", provenance=text)
    found = scans_of(path)
    assert set(found) == {"pre", "post"} and provenance_of(path) == text
    for role, scan in found.items():
        given = result.images[role]
        assert np.array_equal(sitk.GetArrayFromImage(scan), sitk.GetArrayFromImage(given)) and scan.GetPixelID() == given.GetPixelID() and scan.GetSize() == given.GetSize()
        for corner in ((0, 0, 0), tuple(size - 1 for size in given.GetSize())):
            assert scan.TransformIndexToPhysicalPoint(corner) == pytest.approx(given.TransformIndexToPhysicalPoint(corner), abs=1e-6)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06" + bytes(18)], ids=["empty", "text", "empty archive"])
def test_what_is_no_scene_holds_neither(tmp_path, content):
    (tmp_path / "scene.mrb").write_bytes(content)
    assert scans_of(tmp_path / "scene.mrb") == {} and provenance_of(tmp_path / "scene.mrb") is None
    assert provenance_of(tmp_path / "none.mrb") is None


def test_a_packed_file_that_would_become_too_large_is_not_unpacked(written, monkeypatch):
    _, path = written("straight", "oblique")
    assert bootstrap.packed_file(path, "Pre-treatment T2.nrrd") is not None
    monkeypatch.setattr(bootstrap, "MAX_PACKED_BYTES", 1000)
    assert bootstrap.packed_file(path, "Pre-treatment T2.nrrd") is None and scans_of(path) == {}


@pytest.mark.parametrize("maps, foreground", [
    (None, "Pre-treatment attention"), ({"default": None, "passed": [], "failed": ["change"]}, "Pre-treatment attention"),
    ({"default": None, "passed": [], "failed": ["attention"]}, "Pre-treatment Grad-CAM"),
    ({"default": "gradcam", "passed": ["gradcam"], "failed": ["attention"]}, "Pre-treatment Grad-CAM"),
    ({"default": "attention", "passed": ["attention", "gradcam"], "failed": []}, "Pre-treatment attention"),
    ({"default": "occlusion", "passed": ["occlusion"], "failed": ["attention"]}, "Post-treatment T2"),
    ({"default": None, "passed": [], "failed": ["attention", "gradcam"]}, "Post-treatment T2")])
def test_a_scene_opens_with_a_map_that_may_be_shown_first_or_with_none(tmp_path, load, maps, foreground):
    result = complete_result()
    result = dataclasses.replace(result, images=dict(result.images) | {"gradcam_pre": result.images["attention_pre"]}, model={**result.model, "maps": maps})
    scene = load(write_scene(result, tmp_path / "scene.mrb"))
    shown = {scene.GetNthNodeByClass(index, "vtkMRMLSliceCompositeNode").GetForegroundVolumeID() for index in range(3)}
    assert shown == {named(scene, foreground).GetID()}
