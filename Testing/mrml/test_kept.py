"""What is kept of unchanged nodes is never what was before a change: voxels, place, label, layer, undo and a node that took another's place are
all seen, and what did not change is not computed again."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import SimpleITK as sitk

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed, so MRML cannot be tested")

from MRDeltaNetLib.errors import InputError  # noqa: E402
from MRDeltaNetLib.mrml import outlines  # noqa: E402
from MRDeltaNetLib.mrml.bootstrap import own_scene  # noqa: E402
from MRDeltaNetLib.mrml.kept import Kept, scan_key, segment_key  # noqa: E402
from MRDeltaNetLib.mrml.nodes import fill_volume, image_to_node, matrix_to_vtk, voxels_to_vtk  # noqa: E402
from MRDeltaNetLib.mrml.outlines import mark_carried, mask_and_notices, set_mask, settle, source_of, tumour_segmentation  # noqa: E402
from MRDeltaNetLib.mrml.scans import known_scan, scan_from_node  # noqa: E402
from MRDeltaNetLib.workflow import image_digest  # noqa: E402
from Testing.made_up_result import CENTRE_MM, ball, body_with_ball, empty_image  # noqa: E402

TUMOUR = CENTRE_MM + (8, 18, -6)


@pytest.fixture
def kept():
    return Kept()


@pytest.fixture
def scan(scene):
    return image_to_node(body_with_ball(empty_image("oblique"), CENTRE_MM, 15), scene, "scan")


@pytest.fixture
def drawn(scan):
    """Both segments of the scan after treatment, drawn."""
    node = tumour_segmentation(scan, "post")
    set_mask(node, "post_mask", ball(empty_image("oblique"), TUMOUR, 14))
    set_mask(node, "residual_mask", ball(empty_image("oblique"), TUMOUR, 8))
    return node


def array(volume):
    """The voxels of a volume node as a view."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    return vtk_to_numpy(volume.GetImageData().GetPointData().GetScalars())


def voxels(image):
    return sitk.GetArrayFromImage(image)


def other_type(volume):
    fill_volume(volume, sitk.Cast(scan_from_node(volume), sitk.sitkFloat64))


def one_voxel(volume):
    array(volume)[7] += 1
    volume.GetImageData().GetPointData().GetScalars().Modified()      # what arrayFromVolumeModified does


def one_voxel_elsewhere(volume):
    """Another data object with the same size."""
    values = voxels(scan_from_node(volume))
    values.flat[7] += 1
    volume.SetAndObserveImageData(voxels_to_vtk(values))


def place(volume):
    volume.SetOrigin(1.0, 2.0, 3.0)


def turned(volume):
    matrix = np.eye(4)
    matrix[:2, :2] = [[0.0, -1.0], [1.0, 0.0]]
    volume.SetIJKToRASDirectionMatrix(matrix_to_vtk(matrix))


def spacing(volume):
    volume.SetSpacing(1.0, 1.5, 2.0)


@pytest.mark.parametrize("change", [one_voxel, one_voxel_elsewhere, other_type, place, turned, spacing])
def test_a_changed_scan_is_never_the_one_that_is_kept(scan, kept, change):
    before = known_scan(scan, None, kept)
    change(scan)
    after = known_scan(scan, None, kept)
    assert after.digest != before.digest and after.digest == image_digest(scan_from_node(scan)) == image_digest(after.image)


def test_an_unchanged_scan_is_read_and_hashed_once(scan, kept, monkeypatch):
    from MRDeltaNetLib.mrml import scans
    calls = []
    for name in ("image_from_node", "image_digest"):
        real = getattr(scans, name)
        monkeypatch.setattr(scans, name, lambda *given, real=real, name=name: calls.append(name) or real(*given))
    first = known_scan(scan, None, kept)
    scan.SetName("renamed")
    scan.GetDisplayNode().SetWindow(77)
    assert known_scan(scan, None, kept) is first and calls == ["image_from_node", "image_digest"]


def test_a_transform_over_a_kept_scan_is_refused_and_one_that_moves_is_not_hashed_again(scene, scan, kept):
    first = known_scan(scan, None, kept)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "somebody's")
    scan.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(InputError) as refused:
        known_scan(scan, None, kept)
    assert refused.value.code == "MRD-E830"
    transform.SetMatrixTransformToParent(matrix_to_vtk(np.diag([1.0, 1.0, 1.0, 1.0]) + 5 * np.eye(4, k=3)))
    assert known_scan(scan, transform, kept) is first and first.digest == image_digest(scan_from_node(scan, transform))


def test_a_volume_that_lost_its_voxels_is_refused_whatever_is_kept(scan, kept):
    known_scan(scan, None, kept)
    scan.SetAndObserveImageData(None)
    with pytest.raises(InputError) as refused:
        known_scan(scan, None, kept)
    assert refused.value.code == "MRD-E831"


def test_a_node_that_takes_a_closed_scenes_id_is_another_scan(kept):
    digests, ids = [], []
    for value in (3, 4):
        with own_scene() as scene:
            volume = image_to_node(sitk.Image(4, 5, 6, sitk.sitkInt16) + value, scene, "scan")
            ids.append(volume.GetID())
            digests.append(known_scan(volume, None, kept).digest)
            volume = None
            gc.collect()
    assert ids[0] == ids[1] and digests[0] != digests[1]


def test_nothing_that_is_kept_holds_a_node(kept):
    with own_scene() as scene:
        volume = image_to_node(sitk.Image(8, 8, 8, sitk.sitkInt16) + 3, scene, "scan")
        segmentation = tumour_segmentation(volume, "post")
        set_mask(segmentation, "post_mask", sitk.Image(8, 8, 8, sitk.sitkUInt8) + 1)
        known_scan(volume, None, kept)
        assert source_of(segmentation, "post_mask", kept) == "drawn" and mask_and_notices(segmentation, "post_mask", volume, kept)
        data = weakref.ref(volume.GetImageData())
        scene.Clear(True)
        volume = segmentation = None
        gc.collect()
        assert data() is None
    kept.forget()
    assert not kept._values


def more(node):
    set_mask(node, "post_mask", ball(empty_image("oblique"), TUMOUR, 15))


def brushed(node):
    """One voxel written where the labelmap lies, as an effect does."""
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    data = node.GetSegmentation().GetSegment("post_mask").GetRepresentation(name)
    from vtkmodules.util.numpy_support import vtk_to_numpy
    values = vtk_to_numpy(data.GetPointData().GetScalars())
    values[np.flatnonzero(values)[0]] = 0
    data.Modified()


def moved(node):
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    data = node.GetSegmentation().GetSegment("post_mask").GetRepresentation(name)
    data.SetOrigin(*(np.array(data.GetOrigin()) + (0.0, 6.0, 0.0)))


def emptied(node):
    set_mask(node, "post_mask", empty_image("oblique"))


def made_anew(node):
    node.GetSegmentation().RemoveSegment("post_mask")
    node.GetSegmentation().AddEmptySegment("post_mask", "Tumour bed")


CHANGES = [more, brushed, moved, emptied, made_anew]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_outline_is_never_the_one_that_is_kept(scan, drawn, kept, change):
    before = mask_and_notices(drawn, "post_mask", scan, kept)[0]
    change(drawn)
    after, fresh = mask_and_notices(drawn, "post_mask", scan, kept)[0], mask_and_notices(drawn, "post_mask", scan)[0]
    assert (voxels(after) == voxels(fresh)).all() and (voxels(after) != voxels(before)).any()
    assert source_of(drawn, "post_mask", kept) == source_of(drawn, "post_mask")


@pytest.mark.parametrize("change", [one_voxel_elsewhere, place, turned, spacing])
def test_an_outline_is_laid_anew_on_a_scan_whose_voxels_lie_elsewhere(scan, drawn, kept, change):
    mask_and_notices(drawn, "residual_mask", scan, kept)
    source_of(drawn, "residual_mask", kept)
    change(scan)
    found = []
    for way in (kept, None):
        try:
            found.append(image_digest(mask_and_notices(drawn, "residual_mask", scan, way)[0]))
        except InputError as error:
            found.append((error.code, error.found))
    assert found[0] == found[1] and source_of(drawn, "residual_mask", kept) == source_of(drawn, "residual_mask")


def test_another_label_in_a_shared_layer_is_seen(scan, drawn, kept):
    drawn.GetSegmentation().CollapseBinaryLabelmaps(True)
    assert drawn.GetSegmentation().GetNumberOfLayers() == 1
    segments = {key: drawn.GetSegmentation().GetSegment(key) for key in ("post_mask", "residual_mask")}
    before = {key: mask_and_notices(drawn, key, scan, kept)[0] for key in segments}
    values = [segment.GetLabelValue() for segment in segments.values()]
    for segment, value in zip(segments.values(), reversed(values)):
        segment.SetLabelValue(value)
    for key in segments:
        after = mask_and_notices(drawn, key, scan, kept)[0]
        assert (voxels(after) == voxels(mask_and_notices(drawn, key, scan)[0])).all() and (voxels(after) != voxels(before[key])).any()


def test_painting_one_segment_of_a_shared_layer_is_seen_in_both(scan, drawn, kept):
    drawn.GetSegmentation().CollapseBinaryLabelmaps(True)
    for key in ("post_mask", "residual_mask"):
        mask_and_notices(drawn, key, scan, kept)
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    data = drawn.GetSegmentation().GetSegment("post_mask").GetRepresentation(name)
    from vtkmodules.util.numpy_support import vtk_to_numpy
    values = vtk_to_numpy(data.GetPointData().GetScalars())
    first, second = (drawn.GetSegmentation().GetSegment(key).GetLabelValue() for key in ("post_mask", "residual_mask"))
    values[np.flatnonzero(values == second)[:5]] = first
    data.Modified()
    for key in ("post_mask", "residual_mask"):
        assert (voxels(mask_and_notices(drawn, key, scan, kept)[0]) == voxels(mask_and_notices(drawn, key, scan)[0])).all()


def test_undo_and_redo_are_seen(scan, drawn, kept):
    history = slicer.vtkSegmentationHistory()
    history.SetSegmentation(drawn.GetSegmentation())
    history.SaveState()
    before = voxels(mask_and_notices(drawn, "post_mask", scan, kept)[0])
    more(drawn)
    painted = voxels(mask_and_notices(drawn, "post_mask", scan, kept)[0])
    assert history.RestorePreviousState()
    assert (voxels(mask_and_notices(drawn, "post_mask", scan, kept)[0]) == before).all() and (painted != before).any()
    assert history.RestoreNextState()
    assert (voxels(mask_and_notices(drawn, "post_mask", scan, kept)[0]) == painted).all()
    history.SetSegmentation(None)


def test_a_carried_outline_that_is_drawn_on_is_told_through_what_is_kept_and_carried_again_after_the_stroke_is_taken_back(scan, drawn, kept):
    carried = mask_and_notices(drawn, "post_mask", scan)[0]
    mark_carried(drawn, "post_mask")
    assert source_of(drawn, "post_mask", kept) == "carried"
    more(drawn)
    assert settle(drawn, kept) is False and source_of(drawn, "post_mask", kept) == "drawn"       # set_mask settles the name itself
    assert outlines.SUGGESTION not in drawn.GetSegmentation().GetSegment("post_mask").GetName()
    set_mask(drawn, "post_mask", carried)
    assert source_of(drawn, "post_mask", kept) == "carried"


def test_a_refusal_is_told_again_and_again_and_ends_with_its_cause(scan, drawn, kept):
    scan.SetSpacing(0.2, 0.2, 0.2)                       # the scan shrinks: the outline reaches beyond it
    codes = []
    for _turn in range(2):
        with pytest.raises(InputError) as refused:
            mask_and_notices(drawn, "post_mask", scan, kept)
        codes.append(refused.value.code)
    assert codes[0] == codes[1] and codes[0] in ("MRD-E303", "MRD-E304")
    set_mask(drawn, "post_mask", empty_image("oblique"))
    assert not voxels(mask_and_notices(drawn, "post_mask", scan, kept)[0]).any()


def test_an_unchanged_outline_is_laid_once_and_a_stroke_in_one_lays_no_other(scan, drawn, kept, monkeypatch):
    laid, real = [], outlines._lay
    monkeypatch.setattr(outlines, "_lay", lambda segmentation, key, grid: laid.append(key) or real(segmentation, key, grid))
    for _turn in range(2):
        for key in ("post_mask", "residual_mask"):
            source_of(drawn, key, kept)
            mask_and_notices(drawn, key, scan, kept)
    assert laid == ["post_mask", "residual_mask"]
    set_mask(drawn, "post_mask", ball(empty_image("oblique"), TUMOUR, 15))
    laid.clear()
    for key in ("post_mask", "residual_mask"):
        source_of(drawn, key, kept)
        mask_and_notices(drawn, key, scan, kept)
    assert laid == ["post_mask"]


def test_a_surface_without_voxels_is_seen_to_change(scene, scan, kept):
    node = tumour_segmentation(scan, "pre")
    set_mask(node, "pre_mask", ball(empty_image("oblique"), TUMOUR, 14))
    names = slicer.vtkSegmentationConverter
    node.CreateClosedSurfaceRepresentation()
    node.SetSourceRepresentationToClosedSurface()
    node.GetSegmentation().RemoveRepresentation(names.GetSegmentationBinaryLabelmapRepresentationName())
    before = source_of(node, "pre_mask", kept), voxels(mask_and_notices(node, "pre_mask", scan, kept)[0]), segment_key(node, "pre_mask")
    surface = node.GetSegmentation().GetSegment("pre_mask").GetRepresentation(names.GetSegmentationClosedSurfaceRepresentationName())
    for index in range(surface.GetNumberOfPoints()):
        surface.GetPoints().SetPoint(index, *(np.array(surface.GetPoints().GetPoint(index)) + (0.0, 8.0, 0.0)))
    surface.GetPoints().Modified()
    assert segment_key(node, "pre_mask") != before[2]
    after = voxels(mask_and_notices(node, "pre_mask", scan, kept)[0])
    assert (after == voxels(mask_and_notices(node, "pre_mask", scan)[0])).all() and (after != before[1]).any()


def test_keys_of_things_that_do_not_change_stay(scan, drawn):
    before = scan_key(scan), segment_key(drawn, "post_mask")
    assert (scan_key(scan), segment_key(drawn, "post_mask")) == before
    drawn.GetSegmentation().GetSegment("post_mask").SetName("another name")
    assert segment_key(drawn, "post_mask") == before[1]


def test_what_raises_is_not_kept(kept):
    def refuse():
        raise InputError("no", code="MRD-E100")
    with pytest.raises(InputError):
        kept.value("name", 1, refuse)
    assert kept.value("name", 1, lambda: "made") == "made" == kept.value("name", 1, refuse)
    assert kept.value("name", 2, lambda: "other") == "other" and kept.value("name", 1, lambda: "again") == "again"
