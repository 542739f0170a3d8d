"""DICOM segmentations in and out, against highdicom's own writing and reading. Made-up series; real ones where they are at hand."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed, so DICOM segmentations cannot be tested")

from MRDeltaNetLib.coding import LESION, PRIMARY_NEOPLASM  # noqa: E402
from MRDeltaNetLib.errors import InputError  # noqa: E402
from MRDeltaNetLib.io.dicom.seg_reading import read_segment  # noqa: E402
from MRDeltaNetLib.io.dicom.seg_writing import Outline, open_series, tracking_uid, write_segmentation  # noqa: E402
from MRDeltaNetLib.io.images import read_image, read_mask  # noqa: E402
from Testing.imaging.shapes import STORAGES, rotation, stored  # noqa: E402
from Testing.io.dicom_files import NAME, PATIENT_ID, SECRETS, enhanced, save, write_series  # noqa: E402

TURN = rotation(0.3, -0.2, 0.25)
ORIENTATIONS = {"axial": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), "oblique": (*TURN[:, 0], *TURN[:, 1]), "sagittal": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)}
SHAPE = (12, 60, 72)
SPACING, GAP = (0.8, 0.6), 3.0
PROSTATE = "prostatex_dicom/ProstateX-0000/07-07-2011/4.000000-t2tsetra-00702"


def series(folder: Path, orientation=ORIENTATIONS["oblique"]) -> Path:
    voxels = np.random.default_rng(3).integers(1, 900, SHAPE).astype(np.int16)
    return write_series(folder, voxels, spacing=SPACING, gap=GAP, orientation=orientation)


def ragged(seed: int = 0, slices=range(3, 9)) -> np.ndarray:
    """A ragged outline with nothing symmetric about it, (slice, row, column)."""
    values = np.zeros(SHAPE, np.uint8)
    values[list(slices), 15:40, 20:58] = np.random.default_rng(seed).random((len(slices), 25, 38)) < 0.8
    return values


def code(value: str, meaning: str):
    return highdicom.sr.CodedConcept(value, "SCT", meaning)


def described(number: int, name: str, kind=PRIMARY_NEOPLASM, algorithm: str = "MANUAL"):
    made_by = None if algorithm == "MANUAL" else highdicom.AlgorithmIdentificationSequence("net", pydicom.sr.codedict.codes.cid7162.ArtificialIntelligence, "1")
    return highdicom.seg.SegmentDescription(number, name, code("49755003", "Morphologically Altered Structure"), code(kind.value, kind.meaning), algorithm, made_by)


def written_by_highdicom(path: Path, folder: Path, voxels: np.ndarray, *descriptions, kind: str = "BINARY", edit=None, **options) -> Path:
    """A SEG of a made-up series as highdicom writes it; its slices in the order of their positions. edit may change the dataset."""
    sources = sorted((pydicom.dcmread(file) for file in folder.glob("*.dcm")), key=lambda ds: ds.InstanceNumber)
    for source in sources:
        source.AccessionNumber = source.StudyID = source.StudyTime = ""
    seg = highdicom.seg.Segmentation(sources, voxels, kind, descriptions or [described(1, "tumour")], highdicom.UID(), 7, highdicom.UID(), 1, "maker", "model",
                                     "1", "0", **options)
    if edit is not None:
        edit(seg)
    seg.save_as(path)
    return path


def array(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def refused(path: Path, scan, **options) -> InputError:
    with pytest.raises(InputError) as caught:
        read_mask(path, scan.image, role="pre", frame_uid=scan.frame_uid, **options)
    assert not [word for word in SECRETS if word in caught.value.text()]
    return caught.value


def codes(notices) -> list[str]:
    return [notice.code for notice in notices]


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
@pytest.mark.parametrize("slices", [range(3, 9), (3, 4, 7, 8), (3, 5, 7, 9), (6,)], ids=["together", "with a gap", "every other", "one"])
@pytest.mark.parametrize("distance", [True, False], ids=["distance stated", "distance not stated"])
def test_empty_slices_that_the_writer_left_out_are_put_back_where_they_belong(tmp_path, orientation, slices, distance):
    """Slices are 3 mm apart; with every other one left out a reader that trusts the frames alone would make them 6 mm thick."""
    folder = series(tmp_path / "scan", orientation)
    values = ragged(slices=slices)

    def edit(seg):
        if not distance:
            for group in seg.SharedFunctionalGroupsSequence:
                group.PixelMeasuresSequence[0].pop("SpacingBetweenSlices", None)

    path = written_by_highdicom(tmp_path / "seg.dcm", folder, values, edit=edit)
    assert pydicom.dcmread(path).NumberOfFrames == len(slices)
    scan = read_image(folder)
    found, notices = read_mask(path, scan.image, role="pre", frame_uid=scan.frame_uid)
    assert np.array_equal(array(found), values) and found.GetSize() == scan.image.GetSize()
    assert not {"MRD-W302", "MRD-W303", "MRD-W320"} & set(codes(notices))


@pytest.mark.parametrize("order, backwards", STORAGES.values(), ids=STORAGES)
def test_a_scan_that_was_stored_otherwise_gets_the_same_voxels_at_the_same_places(tmp_path, order, backwards):
    """The scan as NRRD, left-handed or with permuted axes: the segmentation goes by place, so the mask is the same one, permuted."""
    folder = series(tmp_path / "scan")
    path = written_by_highdicom(tmp_path / "seg.dcm", folder, ragged())
    scan = read_image(folder)
    straight, _ = read_mask(path, scan.image, role="pre", frame_uid=scan.frame_uid)
    found, notices = read_mask(path, stored(scan.image, order, backwards), role="pre")
    assert np.array_equal(array(found), array(stored(straight, order, backwards)))
    assert "MRD-W320" in codes(notices) and "MRD-W302" not in codes(notices)


def several(tmp_path):
    folder = series(tmp_path / "scan")
    one, two = ragged(1), ragged(2, range(5, 11))
    path = written_by_highdicom(tmp_path / "seg.dcm", folder, np.stack([one, two], -1), described(1, "tumour"), described(2, "bed", LESION))
    return read_image(folder), path, one, two


@pytest.mark.parametrize("label, which", [(1, 0), (2, 1), ("bed", 1), ("tumour", 0), ("SCT:52988006", 1), ("SCT^86049000", 0)])
def test_one_of_several_overlapping_segments_is_chosen_by_number_name_or_code(tmp_path, label, which):
    scan, path, *truth = several(tmp_path)
    found, _ = read_mask(path, scan.image, role="pre", label=label, frame_uid=scan.frame_uid)
    assert np.array_equal(array(found), truth[which])


@pytest.mark.parametrize("label, said", [(None, "MRD-E311"), ("SCT:49755003", "MRD-E311"), (3, "MRD-E312"), ("liver", "MRD-E312"), ("SCT:1", "MRD-E312")],
                         ids=["no choice", "category of both", "number", "name", "code"])
def test_a_choice_that_means_none_or_several_is_refused_with_what_there_is(tmp_path, label, said):
    scan, path, *_ = several(tmp_path)
    problem = refused(path, scan, label=label)
    assert problem.code == said and "1 (tumour; SCT:86049000 Neoplasm, Primary), 2 (bed; SCT:52988006 Lesion)" in problem.found


def test_a_segment_without_a_voxel_among_others_is_empty(tmp_path):
    folder = series(tmp_path / "scan")
    path = written_by_highdicom(tmp_path / "seg.dcm", folder, np.stack([ragged(), 0 * ragged()], -1), described(1, "tumour"), described(2, "residual"))
    scan = read_image(folder)
    found, notices = read_mask(path, scan.image, role="residual", label="residual", may_be_empty=True, frame_uid=scan.frame_uid)
    assert array(found).sum() == 0 and codes(notices) == ["MRD-W301"]


def test_another_frame_of_reference_is_refused_and_an_unknown_one_is_told(tmp_path):
    folder = series(tmp_path / "scan")
    scan = read_image(folder)
    path = written_by_highdicom(tmp_path / "seg.dcm", folder, ragged())
    assert "MRD-W320" in codes(read_mask(path, scan.image, role="pre")[1])
    moved = written_by_highdicom(tmp_path / "moved.dcm", folder, ragged(), edit=lambda seg: setattr(seg, "FrameOfReferenceUID", "1.2.3.4"))
    problem = refused(moved, scan)
    assert problem.code == "MRD-E320" and "registration" in problem.fix


def test_a_segment_that_nobody_drew_is_told(tmp_path):
    folder = series(tmp_path / "scan")
    scan = read_image(folder)
    path = written_by_highdicom(tmp_path / "seg.dcm", folder, ragged(), described(1, "tumour", algorithm="AUTOMATIC"))
    assert "MRD-W321" in codes(read_mask(path, scan.image, role="pre", frame_uid=scan.frame_uid)[1])


def test_fractions_are_a_mask_only_where_they_are_all_or_nothing(tmp_path):
    folder = series(tmp_path / "scan")
    scan, values = read_image(folder), ragged()
    whole = written_by_highdicom(tmp_path / "whole.dcm", folder, values.astype(np.float32), kind="FRACTIONAL")
    assert np.array_equal(array(read_mask(whole, scan.image, role="pre", frame_uid=scan.frame_uid)[0]), values)
    part = written_by_highdicom(tmp_path / "part.dcm", folder, 0.4 * values.astype(np.float32), kind="FRACTIONAL")
    assert refused(part, scan).code == "MRD-E308"


def test_a_label_map_segmentation_is_read(tmp_path):
    folder = series(tmp_path / "scan")
    scan, values = read_image(folder), ragged()
    values[5, 30:40] *= 2
    path = written_by_highdicom(tmp_path / "seg.dcm", folder, values, described(1, "tumour"), described(2, "bed", LESION), kind="LABELMAP")
    assert pydicom.dcmread(path).SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.7"
    for label in (1, 2):
        assert np.array_equal(array(read_mask(path, scan.image, role="pre", label=label, frame_uid=scan.frame_uid)[0]), values == label)


def test_a_structure_set_is_refused_with_the_way_through_slicer(tmp_path):
    folder = series(tmp_path / "scan")
    ds = pydicom.dcmread(next(folder.glob("*.dcm")))
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    del ds.PixelData
    problem = refused(save(ds, tmp_path / "rt.dcm"), read_image(folder))
    assert problem.code == "MRD-E322" and "SlicerRT" in problem.fix and "NRRD" in problem.fix


def test_a_scan_is_no_segmentation_and_a_folder_needs_one(tmp_path):
    folder = series(tmp_path / "scan")
    scan = read_image(folder)
    assert refused(next(folder.glob("*.dcm")), scan).code == "MRD-E145"
    assert refused(folder, scan).code == "MRD-E323"
    written_by_highdicom(folder / "one.dcm", tmp_path / "scan", ragged())
    assert np.array_equal(array(read_mask(folder, scan.image, role="pre", frame_uid=scan.frame_uid)[0]), ragged())
    (folder / "two.dcm").write_bytes((folder / "one.dcm").read_bytes())
    assert refused(folder, scan).code == "MRD-E323"


def without_planes(seg):
    for group in seg.PerFrameFunctionalGroupsSequence:
        del group.PlanePositionSequence


def uneven(seg):
    seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].pop("SpacingBetweenSlices", None)
    group = seg.PerFrameFunctionalGroupsSequence[2]
    group.PlanePositionSequence[0].ImagePositionPatient = [f"{v:.6g}" for v in np.array(group.PlanePositionSequence[0].ImagePositionPatient, float) + TURN[:, 2] * 1.1]


def short_of_voxels(seg):
    seg.PixelData = seg.PixelData[:100]


@pytest.mark.parametrize("edit, said", [(without_planes, ("MRD-E321", "MRD-E324")), (uneven, ("MRD-E321",)), (short_of_voxels, ("MRD-E324", "MRD-E321")),
                                        (lambda seg: setattr(seg, "NumberOfFrames", 10**6), ("MRD-E324",)),
                                        (lambda seg: seg.pop("SegmentSequence"), ("MRD-E324",))],
                         ids=["no places", "uneven", "cut off", "huge", "no segments"])
def test_a_segmentation_that_is_not_whole_is_refused(tmp_path, edit, said):
    folder = series(tmp_path / "scan")
    problem = refused(written_by_highdicom(tmp_path / "seg.dcm", folder, ragged(), edit=edit), read_image(folder))
    assert problem.code in said and "NRRD" in problem.fix


def test_bytes_cut_off_or_compressed_are_refused(tmp_path):
    folder = series(tmp_path / "scan")
    scan, path = read_image(folder), written_by_highdicom(tmp_path / "seg.dcm", folder, ragged())
    (tmp_path / "cut.dcm").write_bytes(path.read_bytes()[:2000])
    assert refused(tmp_path / "cut.dcm", scan).code in ("MRD-E204", "MRD-E324")
    packed = written_by_highdicom(tmp_path / "jpeg.dcm", folder, ragged().astype(np.float32), kind="FRACTIONAL", transfer_syntax_uid="1.2.840.10008.1.2.4.80")
    assert refused(packed, scan).code == "MRD-E324"


def test_no_damage_of_a_header_comes_out_as_anything_but_a_refusal(tmp_path):
    """Bytes of the header changed at random, 60 times: either the mask is still read, or it is refused in words without a name in them."""
    folder = series(tmp_path / "scan")
    scan, whole = read_image(folder), written_by_highdicom(tmp_path / "seg.dcm", folder, ragged()).read_bytes()
    rng, refusals = np.random.default_rng(5), 0
    for _ in range(60):
        content = bytearray(whole)
        for place in rng.integers(132, 9000, 12):
            content[place] = rng.integers(256)
        (tmp_path / "broken.dcm").write_bytes(content)
        try:
            read_mask(tmp_path / "broken.dcm", scan.image, role="pre", frame_uid=scan.frame_uid)
        except InputError as problem:
            refusals += 1
            assert problem.fix and not [word for word in SECRETS if word in problem.text()]
    assert refusals > 20


# Out.

def outline(key: str, values: np.ndarray, opened, origin: str = "manual", algorithm=None) -> Outline:
    mask = sitk.GetImageFromArray(values)
    mask.CopyInformation(opened.grid)
    return Outline(key, mask, origin, algorithm)


def through_highdicom(path: Path, number: int) -> np.ndarray:
    """Places of the marked voxels, (n, 3) LPS mm, by highdicom alone. Its slices come in the order of its own choice: only the affine tells."""
    volume = highdicom.seg.segread(path).get_volume(segment_numbers=[number])
    indices = np.argwhere(volume.array[..., 0])
    return (np.c_[indices, np.ones(len(indices))] @ volume.affine.T)[:, :3]


def marked_in(scan: sitk.Image, places: np.ndarray, tolerance: float) -> np.ndarray:
    """A mask (slice, row, column) of the scan's voxels at these places; each place must be the middle of a voxel."""
    index = np.linalg.solve(np.array(scan.GetDirection()).reshape(3, 3) * np.array(scan.GetSpacing()), (places - np.array(scan.GetOrigin())).T).T
    assert np.abs(index - np.rint(index)).max() < tolerance
    values = np.zeros(scan.GetSize()[::-1], np.uint8)
    values[tuple(np.rint(index).astype(int)[:, ::-1].T)] = 1
    return values


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_outlines_read_back_voxel_for_voxel_in_their_place_through_highdicom(tmp_path, orientation):
    folder = series(tmp_path / "scan", orientation)
    opened, scan = open_series(folder), read_image(folder)
    assert opened.sha256 == scan.facts.file_sha256
    truth = {"post_mask": ragged(1), "residual_mask": ragged(2, range(6, 8))}
    write_segmentation(tmp_path / "out.dcm", opened, [outline(key, values, opened) for key, values in truth.items()], tracking=tracking_uid(opened.uid))
    assert pydicom.dcmread(tmp_path / "out.dcm").NumberOfFrames == 2 * SHAPE[0]
    for number, values in enumerate(truth.values(), start=1):
        assert np.array_equal(marked_in(scan.image, through_highdicom(tmp_path / "out.dcm", number), 1e-6), values)


def test_a_multi_frame_series_gets_its_segmentation_too(tmp_path):
    voxels = np.random.default_rng(3).integers(1, 900, (1, *SHAPE)).astype(np.int16)
    path = save(enhanced(voxels, orientation=ORIENTATIONS["oblique"], spacing=SPACING, gap=GAP, shuffle=True), tmp_path / "scan" / "enhanced.dcm")
    opened = open_series(path)
    write_segmentation(tmp_path / "out.dcm", opened, [outline("pre_mask", ragged(), opened)], tracking=tracking_uid(opened.uid))
    scan = read_image(path)
    assert np.array_equal(array(read_mask(tmp_path / "out.dcm", scan.image, role="pre", frame_uid=scan.frame_uid)[0]), ragged())


def test_segments_are_coded_linked_labelled_and_say_who_made_them(tmp_path):
    """One tracking UID for the lesion at both visits; manual, and semi-automatic with what moved it."""
    before, after = (open_series(series(tmp_path / name)) for name in ("before", "after"))
    tracking = tracking_uid(before.uid)
    write_segmentation(tmp_path / "pre.dcm", before, [outline("pre_mask", ragged(), before)], tracking=tracking)
    write_segmentation(tmp_path / "post.dcm", after, [outline("post_mask", ragged(), after, "semiautomatic", ("carried over", "1.0"))], tracking=tracking)
    pre, post = (pydicom.dcmread(tmp_path / f"{name}.dcm") for name in ("pre", "post"))
    first, second = pre.SegmentSequence[0], post.SegmentSequence[0]
    assert first.TrackingUID == second.TrackingUID == tracking and tracking_uid("1.2.3") != tracking and tracking.startswith("2.25.") and len(tracking) <= 64
    assert (first.SegmentedPropertyTypeCodeSequence[0].CodeValue, second.SegmentedPropertyTypeCodeSequence[0].CodeValue) == (PRIMARY_NEOPLASM.value, LESION.value)
    assert first.AnatomicRegionSequence[0].CodeValue == "34402009" and first.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert first.SegmentAlgorithmType == "MANUAL" and "SegmentationAlgorithmIdentificationSequence" not in first
    assert second.SegmentAlgorithmType == "SEMIAUTOMATIC" and second.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "carried over"
    assert "RESEARCH" in pre.ContentLabel and "RESEARCH USE ONLY" in pre.SeriesDescription and pre.SegmentationType == "BINARY"
    source = pydicom.dcmread(next((tmp_path / "before").glob("*.dcm")))
    assert (str(pre.PatientName), pre.PatientID) == (NAME, PATIENT_ID)
    assert (pre.StudyInstanceUID, pre.FrameOfReferenceUID) == (source.StudyInstanceUID, source.FrameOfReferenceUID)
    assert {item.ReferencedSOPInstanceUID for item in pre.ReferencedSeriesSequence[0].ReferencedInstanceSequence} \
        == {pydicom.dcmread(path).SOPInstanceUID for path in (tmp_path / "before").glob("*.dcm")}


def test_a_mask_of_another_grid_is_not_written(tmp_path):
    opened = open_series(series(tmp_path / "scan"))
    moved = outline("pre_mask", ragged(), opened)
    moved.mask.SetOrigin([v + 1 for v in moved.mask.GetOrigin()])
    with pytest.raises(InputError) as caught:
        write_segmentation(tmp_path / "out.dcm", opened, [moved], tracking="2.25.1")
    assert caught.value.code == "MRD-E326" and not (tmp_path / "out.dcm").exists()


# Real files.

def real_pelvis(real_data, tmp_path):
    folder = real_data(PROSTATE)
    opened, scan = open_series(folder), read_image(folder)
    values = np.zeros(scan.image.GetSize()[::-1], np.uint8)
    values[4:13, 205:262, 160:231] = np.random.default_rng(8).random((9, 57, 71)) < 0.7
    values[7] = 0
    write_segmentation(tmp_path / "seg.dcm", opened, [outline("pre_mask", values, opened)], tracking=tracking_uid(opened.uid))
    return scan, values, tmp_path / "seg.dcm"


def test_a_segmentation_on_a_real_oblique_pelvis_reads_back_voxel_for_voxel(real_data, tmp_path):
    """ProstateX-0000: 384 x 384 x 19 voxels of 0.5 x 0.5 x 3 mm, tilted by 18 degrees; through highdicom alone and through our own reader."""
    scan, values, path = real_pelvis(real_data, tmp_path)
    assert np.array_equal(marked_in(scan.image, through_highdicom(path, 1), 1e-4), values)
    ours, notices = read_mask(path, scan.image, role="pre", frame_uid=scan.frame_uid)
    assert np.array_equal(array(ours), values) and codes(notices) == ["MRD-W305", "MRD-W309"]


def test_a_segmentation_on_a_real_oblique_pelvis_lies_in_slicers_geometry_where_it_was_drawn(real_data, tmp_path):
    """Every marked voxel of the SEG, by highdicom's affine, is the very voxel of the scan's volume node in slicer-core."""
    if importlib.util.find_spec("slicer") is None:
        pytest.skip("slicer-core is not installed")
    from MRDeltaNetLib.mrml.bootstrap import own_scene
    from MRDeltaNetLib.mrml.nodes import image_to_node
    scan, values, path = real_pelvis(real_data, tmp_path)
    places = through_highdicom(path, 1)
    with own_scene() as scene:
        node = image_to_node(scan.image, scene, "pre")
        matrix = __import__("vtk").vtkMatrix4x4()
        node.GetRASToIJKMatrix(matrix)
        to_ijk = np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
    ijk = (np.c_[places, np.ones(len(places))] * [-1, -1, 1, 1]) @ to_ijk.T
    assert np.abs(ijk - np.rint(ijk)).max() < 1e-3
    assert sorted(map(tuple, np.rint(ijk[:, 2::-1]).astype(int).tolist())) == sorted(map(tuple, np.argwhere(values).tolist()))


@pytest.mark.parametrize("name, readable", [("seg_image_ct_binary", True), ("seg_image_ct_binary_overlap", True), ("seg_image_ct_binary_fractional", True),
                                            ("seg_image_ct_binary_single_frame", True), ("seg_image_ct_true_fractional", False)])
def test_highdicoms_own_test_files_are_read_in_their_place(real_data, name, readable):
    """Each on the grid that highdicom gives it; the true fractions are refused."""
    path = real_data(f"highdicom_seg/{name}.dcm")
    seg = highdicom.seg.segread(path)
    volume = seg.get_volume(segment_numbers=[1])
    scan = sitk.GetImageFromArray(np.zeros(volume.spatial_shape, np.float32))
    axes = volume.affine[:3, 2::-1]
    scan.SetSpacing(np.linalg.norm(axes, axis=0).tolist())
    scan.SetDirection((axes / np.linalg.norm(axes, axis=0)).ravel().tolist())
    scan.SetOrigin(volume.affine[:3, 3].tolist())
    if not readable:
        with pytest.raises(InputError) as caught:
            read_mask(path, scan, role="pre", label=1)
        assert caught.value.code in ("MRD-E308", "MRD-E310")
        return
    found = read_segment(path, scan, 1)
    assert np.array_equal(array(found.image), volume.array[..., 0]) and found.facts.number == 1
