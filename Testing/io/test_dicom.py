"""DICOM cases 50 to 71 of the bad-input list: each is refused with its code and a remedy, or read to the right voxels."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.dicom import list_series, read_series
from Testing.io.dicom_files import (ENHANCED_MR, OTHER_NAME, enhanced, other_object, pydicom_file, ramp, save, set_pixels, slice_dataset,
                                    write_series)

SERIES_A, SERIES_B = "1.2.826.0.1.3680043.10.99.1", "1.2.826.0.1.3680043.10.99.2"


def voxels_of(timepoint) -> np.ndarray:
    return sitk.GetArrayFromImage(timepoint.image)


def setting(only=None, **values):
    """An edit that sets header values, in all slices or in slice `only`."""
    def edit(ds, index):
        if only in (None, index):
            for keyword, value in values.items():
                if value is None:
                    del ds[keyword]
                else:
                    setattr(ds, keyword, value)
    return edit


def cut_pixels(ds, index):
    if index == 2:
        ds.PixelData = ds.PixelData[:100]


def padded_pixels(ds, index):
    if index == 2:
        ds.PixelData = ds.PixelData + b"\0" * 64


def colour(ds, index):
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.PixelData = ds.PixelData * 3


def turned(ds, index):
    if index == 3:
        ds.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]


def wider(ds, index):
    if index == 3:
        set_pixels(ds, np.zeros((10, 12), np.int16))


def sheared(ds, index):
    ds.ImagePositionPatient = [-20, 30 + 0.8 * index, -40 + 3 * index]


def uneven(ds, index):
    ds.ImagePositionPatient = [-20, 30, -40 + (0, 3, 6, 8.1, 12, 15)[index]]


def gap_after_two(ds, index):
    ds.ImagePositionPatient = [-20, 30, -40 + 3 * (index if index < 3 else index + 2)]


def lut(descriptor, table):
    item = Dataset()
    item.add_new("LUTDescriptor", "US", descriptor)
    item.add_new("LUTData", "US", table)
    return Sequence([item])


def broken_lut(ds, index):
    ds.ModalityLUTSequence = lut([5, 0, 16], [1, 2, 3])


REFUSED = {
    "B51-missing-slices": (gap_after_two, "E215", "export the whole series"),
    "B52-duplicate-slice": (setting(3, ImagePositionPatient=[-20, 30, -34]), "E216", "remove copies"),
    "B53-uneven-gap": (uneven, "E215", "resample"),
    "B53-sheared-stack": (sheared, "E226", "sheared"),
    "B55-mixed-patient-id": (setting(2, PatientID="PAT-1"), "E210", "one patient"),
    "B55-mixed-patient-name": (setting(2, PatientName=OTHER_NAME), "E210", "one patient"),
    "B55-patient-id-missing-in-one": (setting(2, PatientID=""), "E210", "one patient"),
    "B55-mixed-study": (setting(2, StudyInstanceUID="1.2.3"), "E211", "one study"),
    "B56-mixed-frame-of-reference": (setting(2, FrameOfReferenceUID="1.2.3"), "E211", "one series"),
    "B57-mixed-orientation": (turned, "E212", "localiser"),
    "B58-mixed-matrix": (wider, "E213", "one matrix"),
    "B58-mixed-spacing": (setting(1, PixelSpacing=[0.71, 0.5]), "E213", "one matrix"),
    "B59-mixed-echo-time": (setting(1, EchoTime=50.0), "E217", "--volume-index"),
    "B59-mixed-b-value": (setting(1, DiffusionBValue=800.0), "E217", "--volume-index"),
    "B59-magnitude-and-phase": (setting(1, ImageType=["ORIGINAL", "PRIMARY", "P", "ND"]), "E217", "--volume-index"),
    "B59-mixed-time": (setting(1, TemporalPositionIdentifier=2), "E217", "--volume-index"),
    "B60-no-position": (setting(2, ImagePositionPatient=None), "E214", "original series"),
    "B60-position-not-a-number": (setting(2, ImagePositionPatient=["nan", "0", "0"]), "E214", "original series"),
    "B60-position-of-two-numbers": (setting(2, ImagePositionPatient=[1, 2]), "E214", "original series"),
    "B60-no-orientation": (setting(2, ImageOrientationPatient=None), "E214", "original series"),
    "B60-zero-orientation": (setting(None, ImageOrientationPatient=[0] * 6), "E214", "original series"),
    "B60-orientation-not-unit": (setting(None, ImageOrientationPatient=[2, 0, 0, 0, 2, 0]), "E214", "original series"),
    "B60-orientation-not-square": (setting(None, ImageOrientationPatient=[1, 0, 0, 0.6, 0.8, 0]), "E214", "original series"),
    "B60-no-spacing": (setting(None, PixelSpacing=None), "E214", "original series"),
    "B60-zero-spacing": (setting(None, PixelSpacing=[0, 0.5]), "E214", "original series"),
    "B60-negative-spacing": (setting(None, PixelSpacing=[0.5, -0.5]), "E214", "original series"),
    "B61-pixels-cut": (cut_pixels, "E220", "export the series again"),
    "B61-pixels-too-many": (padded_pixels, "E220", "export the series again"),
    "B61-no-pixels": (setting(2, PixelData=None), "E220", "export the series again"),
    "B61-65535-rows": (setting(None, Rows=65535, Columns=65535), "E221", "export the series again"),
    "B61-zero-rows": (setting(None, Rows=0), "E221", "export the series again"),
    "B61-no-rows": (setting(None, Rows=None), "E221", "export the series again"),
    "B62-bits-stored-above-allocated": (setting(None, BitsStored=20, HighBit=19), "E222", "export the series again"),
    "B62-high-bit": (setting(None, BitsStored=12, HighBit=15), "E222", "export the series again"),
    "B62-no-bits": (setting(None, BitsAllocated=None), "E222", "export the series again"),
    "B62-representation": (setting(None, PixelRepresentation=7), "E222", "export the series again"),
    "B62-colour": (colour, "E223", "grey-scale"),
    "B62-palette": (setting(None, PhotometricInterpretation="PALETTE COLOR"), "E223", "grey-scale"),
    "B62-monochrome1": (setting(None, PhotometricInterpretation="MONOCHROME1"), "E224", "MONOCHROME2"),
    "B62-siemens-mosaic": (setting(None, ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]), "E227", "NIfTI"),
    "B62-rescale-slope-zero": (setting(None, RescaleSlope=0, RescaleIntercept=0), "E225", "export the series again"),
    "B62-rescale-slope-nan": (setting(1, RescaleSlope="nan", RescaleIntercept=0), "E225", "export the series again"),
    "B62-rescale-overflow": (setting(1, RescaleSlope="1e300", RescaleIntercept=0), "E225", "export the series again"),
    "B62-broken-lut": (broken_lut, "E225", "look-up table"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_single_sound_volume_is_refused_with_its_remedy(case, tmp_path):
    edit, code, remedy = REFUSED[case]
    with pytest.raises(InputError) as caught:
        read_series(write_series(tmp_path, edit=edit))
    assert caught.value.code == f"MRD-{code}"
    assert remedy in caught.value.fix
    assert caught.value.what.startswith("The pre-treatment scan: ")


def test_the_error_names_the_scan_by_its_role(tmp_path):
    with pytest.raises(InputError, match="The post-treatment scan: Slices are missing"):
        read_series(write_series(tmp_path, edit=gap_after_two), role="post")


def test_b51_missing_slices_are_counted(tmp_path):
    with pytest.raises(InputError) as caught:
        read_series(write_series(tmp_path, edit=gap_after_two))
    assert "2 missing, 6 there, 3.00 mm apart" in caught.value.found


# ---- B50: what lies beside the slices

def test_b50_everything_that_is_no_slice_is_skipped_and_counted(tmp_path):
    folder = write_series(tmp_path)
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1" + b"\0" * 500)
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" * 60)
    (folder / "empty").write_bytes(b"")
    storage = "1.2.840.10008.5.1.4.1.1."
    for name, sop_class in {"sr": storage + "88.22", "pr": storage + "11.1", "seg": storage + "66.4", "ko": storage + "88.59",
                            "DICOMDIR": "1.2.840.10008.1.3.10", "sc": storage + "7"}.items():
        other_object(folder / name, sop_class)
    found = read_series(folder)
    assert found.facts.skipped == {"not DICOM": 3, "structured report": 1, "presentation state": 1, "segmentation": 1, "key object": 1,
                                   "DICOMDIR": 1, "screen capture": 1}
    np.testing.assert_array_equal(voxels_of(found), ramp())


def test_b50_a_damaged_object_that_is_no_scan_is_skipped_too(tmp_path):
    folder = write_series(tmp_path)
    other_object(folder / "sr", "1.2.840.10008.5.1.4.1.1.88.22")
    (folder / "sr").write_bytes((folder / "sr").read_bytes()[:-50])
    assert read_series(folder).facts.skipped == {"structured report": 1}


def test_b62_a_signed_lut_starts_below_zero(tmp_path):
    """PS3.3 C.11.1.1: the second value of the descriptor is signed where stored values are."""
    voxels = np.arange(-40, 40, dtype=np.int16).reshape(2, 5, 8)
    table = list(range(1000, 1080))
    folder = write_series(tmp_path, voxels, edit=lambda ds, i: setattr(ds, "ModalityLUTSequence", lut([80, 65536 - 40, 16], table)))
    np.testing.assert_array_equal(voxels_of(read_series(folder)), voxels + 1040)


def test_b50_a_slice_that_lost_its_content_is_told(tmp_path):
    folder = write_series(tmp_path)
    (folder / "IM0005.dcm").write_bytes(b"")
    (folder / "._IM0001.dcm").write_bytes(b"\0\5\x16\7" * 60)
    found = read_series(folder)
    assert [n.code for n in found.notices] == ["MRD-W208"] and "complete" in found.notices[0].fix
    assert found.facts.skipped == {"named like a slice but not DICOM": 1, "not DICOM": 1}


def test_b50_a_slice_without_sop_class_is_still_a_slice(tmp_path):
    folder = write_series(tmp_path, edit=setting(None, SOPClassUID=""))
    np.testing.assert_array_equal(voxels_of(read_series(folder)), ramp())


def test_b50_a_damaged_slice_is_never_skipped(tmp_path):
    folder = write_series(tmp_path)
    last = folder / "IM0005.dcm"
    last.write_bytes(last.read_bytes()[:-50])
    with pytest.raises(InputError, match="MRD-E204") as caught:
        read_series(folder)
    assert "export the series again" in caught.value.fix


def test_b50_folders_without_a_scan_are_refused_saying_what_is_there(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(InputError, match="MRD-E201") as caught:
        read_series(tmp_path)
    assert "folder that holds the slices" in caught.value.fix
    other_object(tmp_path / "sr", "1.2.840.10008.5.1.4.1.1.88.22")
    with pytest.raises(InputError, match="MRD-E207") as caught:
        read_series(tmp_path)
    assert "1 × structured report" in caught.value.found
    with pytest.raises(InputError, match="MRD-E202"):
        read_series(tmp_path / "absent")


def test_b50_links_that_lead_nowhere_and_pipes_are_left_out(tmp_path):
    import os

    folder = write_series(tmp_path / "series")
    (folder / "gone").symlink_to(tmp_path / "nowhere")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe")
    np.testing.assert_array_equal(voxels_of(read_series(folder)), ramp())


def test_too_many_files_and_too_large_files_are_refused_before_they_are_read(tmp_path):
    folder = write_series(tmp_path)
    with pytest.raises(InputError, match="MRD-E203") as caught:
        read_series(folder, limits=GateLimits(max_files=5))
    assert "one series" in caught.value.fix
    with pytest.raises(InputError, match="MRD-E203"):
        read_series(folder, limits=GateLimits(max_file_bytes=500))


# ---- several series

def two_series(folder):
    write_series(folder / "a", series=SERIES_A)
    write_series(folder / "b", ramp(slices=4), edit=setting(None, ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]), series=SERIES_B)
    return folder


def test_several_series_are_listed_by_size_modality_and_sequence(tmp_path):
    with pytest.raises(InputError, match="MRD-E205") as caught:
        read_series(two_series(tmp_path))
    assert f"6 slices, MR T2: {SERIES_A}; 4 slices, MR ADC: {SERIES_B}" in caught.value.found
    assert "--pre-series" in caught.value.fix and "--post-series" in caught.value.fix


def test_a_series_is_chosen_by_its_uid(tmp_path):
    found = read_series(two_series(tmp_path), series=SERIES_B)
    assert found.image.GetSize()[2] == 4 and found.facts.sequence == "ADC"
    assert found.facts.skipped == {"image of another series": 6}
    with pytest.raises(InputError, match="MRD-E206") as caught:
        read_series(tmp_path, series="1.2.3.4")
    assert SERIES_A in caught.value.found and "listed" in caught.value.fix


def test_a_damaged_file_of_another_series_does_no_harm(tmp_path):
    folder = two_series(tmp_path)
    damaged = folder / "a" / "IM0000.dcm"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    assert read_series(folder, series=SERIES_B).image.GetSize()[2] == 4


def test_list_series_says_what_is_there(tmp_path):
    first, second = list_series(two_series(tmp_path))
    assert (first.uid, first.modality, first.sequence, first.slices, first.rows, first.columns) == (SERIES_A, "MR", "T2", 6, 10, 8)
    assert (second.uid, second.sequence, second.files) == (SERIES_B, "ADC", 4)


# ---- B54, B58, B59: what is put right

def test_b54_shuffled_names_and_reversed_instance_numbers_do_not_matter(tmp_path):
    def renumber(ds, index):
        ds.InstanceNumber = 6 - index
    folder = write_series(tmp_path, edit=renumber, names=["d", "a", "f", "c", "b", "e"])
    np.testing.assert_array_equal(voxels_of(read_series(folder)), ramp())


def test_hashes_follow_the_slices_not_the_file_names(tmp_path):
    import hashlib

    folder = write_series(tmp_path, names=["d", "a", "f", "c", "b", "e"])
    expected = tuple(hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ["d", "a", "f", "c", "b", "e"])
    assert read_series(folder).facts.file_sha256 == expected


def two_echoes(folder, **edits):
    write_series(folder, ramp(), edit=setting(None, EchoTime=20.0, **edits), names=[f"a{i}" for i in range(6)])
    write_series(folder, ramp() + 1000, edit=setting(None, EchoTime=100.0, **edits), names=[f"b{i}" for i in range(6)])
    return folder


def test_b59_one_of_two_echoes_can_be_chosen(tmp_path):
    folder = two_echoes(tmp_path)
    with pytest.raises(InputError, match="MRD-E217") as caught:
        read_series(folder)
    assert "echo time (ms): 20, 100" in caught.value.found
    np.testing.assert_array_equal(voxels_of(read_series(folder, volume_index=0)), ramp())
    np.testing.assert_array_equal(voxels_of(read_series(folder, volume_index=1)), ramp() + 1000)
    with pytest.raises(InputError, match="MRD-E218") as caught:
        read_series(folder, volume_index=2)
    assert "choose 0 to 1" in caught.value.fix
    with pytest.raises(InputError, match="MRD-E218"):
        read_series(folder, volume_index=-1)


def test_b59_repeated_acquisitions_are_named_and_can_be_chosen(tmp_path):
    write_series(tmp_path, ramp(), names=[f"a{i}" for i in range(6)])
    write_series(tmp_path, ramp() + 7, edit=setting(None, AcquisitionNumber=2), names=[f"b{i}" for i in range(6)])
    with pytest.raises(InputError, match="MRD-E217.*"):
        read_series(tmp_path)
    np.testing.assert_array_equal(voxels_of(read_series(tmp_path, volume_index=1)), ramp() + 7)


def test_b59_rounding_of_echo_times_is_no_second_echo(tmp_path):
    assert read_series(write_series(tmp_path, edit=setting(2, EchoTime=100.3))).image.GetSize()[2] == 6


def test_volume_index_beyond_a_plain_series_is_refused(tmp_path):
    with pytest.raises(InputError, match="MRD-E218") as caught:
        read_series(write_series(tmp_path), volume_index=1)
    assert "leave --volume-index out" in caught.value.fix


def test_one_slice_is_refused(tmp_path):
    write_series(tmp_path, ramp(slices=1))
    for place in (tmp_path, tmp_path / "IM0000.dcm"):
        with pytest.raises(InputError, match="MRD-E219") as caught:
            read_series(place)
        assert "all slices" in caught.value.fix


def test_header_gap_that_contradicts_the_positions_is_told(tmp_path):
    found = read_series(write_series(tmp_path, edit=setting(None, SpacingBetweenSlices=1.5)))
    assert [n.code for n in found.notices] == ["MRD-W204"] and found.image.GetSpacing()[2] == pytest.approx(3.0)


# ---- B62: stored values to intensities

def test_b62_rescale_is_applied_slice_by_slice(tmp_path):
    def edit(ds, index):
        ds.RescaleSlope, ds.RescaleIntercept = 1 + 0.5 * index, -10 * index
    expected = np.stack([plane * (1 + 0.5 * i) - 10 * i for i, plane in enumerate(ramp())])
    np.testing.assert_array_equal(voxels_of(read_series(write_series(tmp_path, edit=edit))), expected.astype(np.float32))


@pytest.mark.parametrize("data_vr", ["US", "OW"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_b62_modality_lut_equals_pydicoms(syntax, data_vr, tmp_path):
    from pydicom.pixels import apply_modality_lut

    table = (np.arange(300) ** 2 % 5000).astype(int).tolist()

    def edit(ds, index):
        ds.ModalityLUTSequence = lut([300, 20, 16], table)
        if data_vr == "OW":
            order = ">u2" if syntax == ExplicitVRBigEndian else "<u2"
            ds.ModalityLUTSequence[0].add_new("LUTData", "OW", np.array(table, order).tobytes())
    voxels = ramp().astype(np.uint16)
    folder = write_series(tmp_path / "series", voxels, edit=edit, syntax=syntax)
    explicit = write_series(tmp_path / "explicit", voxels, edit=lambda ds, i: setattr(ds, "ModalityLUTSequence", lut([300, 20, 16], table)))
    expected = [apply_modality_lut(ds.pixel_array, ds) for ds in map(pydicom_file, sorted(explicit.iterdir()))]
    np.testing.assert_array_equal(voxels_of(read_series(folder)), np.stack(expected))


@pytest.mark.parametrize("dtype, stored", [("u1", 8), ("i2", 16), ("u2", 12), ("i2", 12), ("u4", 32), ("i4", 24)])
def test_b62_every_width_and_sign_gives_the_values_written(dtype, stored, tmp_path):
    values = np.random.default_rng(1).integers(0 if dtype[0] == "u" else -2 ** (stored - 1), 2 ** (stored - (dtype[0] == "i")), (4, 10, 7))
    folder = write_series(tmp_path, values.astype(dtype), edit=setting(None, BitsStored=stored, HighBit=stored - 1))
    found = read_series(folder)
    np.testing.assert_array_equal(voxels_of(found), values.astype(np.float32))
    assert not found.notices


def test_b62_bits_beyond_the_declared_ones_are_left_out_and_told(tmp_path):
    values = ramp().astype(np.uint16)
    with_overlay = values | 0x4000
    found = read_series(write_series(tmp_path, with_overlay, edit=setting(None, BitsStored=12, HighBit=11)))
    np.testing.assert_array_equal(voxels_of(found), values)
    assert [n.code for n in found.notices] == ["MRD-W205"]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_b63_every_uncompressed_syntax_gives_the_same_voxels(syntax, tmp_path):
    np.testing.assert_array_equal(voxels_of(read_series(write_series(tmp_path, syntax=syntax))), ramp())


# ---- B67 to B71

@pytest.mark.parametrize("uid", ["../../../etc/passwd", "1.2/3", "1." * 100 + "1", " ", "", "<script>alert(1)</script>", "a\nb\x1b[31m"])
def test_b67_uids_are_never_paths_and_never_shown_raw(uid, tmp_path):
    write_series(tmp_path / "a", edit=setting(None, SeriesInstanceUID=uid, SOPInstanceUID=uid))
    write_series(tmp_path / "b", series=SERIES_B)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="MRD-E205") as caught:
        read_series(tmp_path)
    assert len(uid) < 3 or uid not in str(caught.value)
    name = next(series.uid for series in list_series(tmp_path) if series.uid != SERIES_B)
    assert name.startswith("series-")
    np.testing.assert_array_equal(voxels_of(read_series(tmp_path, series=name)), ramp())
    assert sorted(tmp_path.rglob("*")) == before


def test_b68_burned_in_annotation_is_told(tmp_path):
    found = read_series(write_series(tmp_path, edit=setting(None, BurnedInAnnotation="YES")))
    assert [n.code for n in found.notices] == ["MRD-W201"] and "no name" in found.notices[0].fix


@pytest.mark.parametrize("charset", ["ISO_IR 192", "ISO 2022 IR 87", "ISO 2022 IR 149", "NO SUCH SET", ["", "ISO 2022 IR 87"]])
def test_b69_no_character_set_stops_the_reading(charset, tmp_path):
    def edit(ds, index):
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.PatientName = "Müller^山田"
    folder = write_series(tmp_path, edit=edit)
    for path in folder.iterdir():
        old, new = b"CS\x0a\x00ISO_IR 192", (charset if isinstance(charset, str) else "\\".join(charset)).encode()
        new += b" " * (len(new) % 2)
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, b"CS" + len(new).to_bytes(2, "little") + new))
    np.testing.assert_array_equal(voxels_of(read_series(folder)), ramp())


def test_b70_the_preamble_does_not_matter(tmp_path):
    folder = write_series(tmp_path)
    for path, start in zip(sorted(folder.iterdir()), (b"MZ\x90", b"\x7fELF", b"II*\0", b"#!/bin/sh", b"%PDF", b"PK")):
        path.write_bytes(start.ljust(128, b"\x90") + path.read_bytes()[128:])
    np.testing.assert_array_equal(voxels_of(read_series(folder)), ramp())


DATES = {
    "B71-acquisition-first": (dict(AcquisitionDate="20230201", SeriesDate="20230202", StudyDate="20230203"), "2023-02-01", []),
    "B71-series-next": (dict(AcquisitionDate="", SeriesDate="20230202", StudyDate="20230203"), "2023-02-02", []),
    "B71-study-last": (dict(AcquisitionDate="00000000", SeriesDate=None, StudyDate="20230203"), "2023-02-03", []),
    "B71-29-february": (dict(AcquisitionDate="20240229"), "2024-02-29", []),
    "B71-old-style": (dict(AcquisitionDate="2023.02.01"), "2023-02-01", []),
    "B71-time-zone": (dict(AcquisitionDate=None, AcquisitionDateTime="20230201235900.000000-0500"), "2023-02-01", []),
    "B71-absent": (dict(AcquisitionDate=None, SeriesDate=None, StudyDate=None), None, []),
    "B71-no-29-february": (dict(AcquisitionDate="20230229", SeriesDate=None, StudyDate=None), None, ["MRD-W202"]),
    "B71-zeros": (dict(AcquisitionDate="0000", SeriesDate=None, StudyDate="00000000"), None, ["MRD-W202"]),
    "B71-placeholder": (dict(AcquisitionDate="19000101", SeriesDate=None, StudyDate=None), None, ["MRD-W202"]),
    "B71-future": (dict(AcquisitionDate="29990101", SeriesDate="29990101", StudyDate="29990101"), None, ["MRD-W202"]),
    "B71-text": (dict(AcquisitionDate="=cmd|calc", SeriesDate=None, StudyDate=None), None, ["MRD-W202"]),
}


@pytest.mark.parametrize("case", DATES)
def test_dates_are_read_or_taken_as_unknown(case, tmp_path):
    values, expected, codes = DATES[case]
    found = read_series(write_series(tmp_path, edit=setting(None, **values)))
    assert (found.acquired and found.acquired.isoformat()) == expected
    assert [n.code for n in found.notices] == codes


# ---- facts

def test_facts_come_from_the_header(tmp_path):
    found = read_series(write_series(tmp_path))
    facts = found.facts
    assert (facts.format, facts.modality, facts.sequence, facts.manufacturer) == ("dicom", "MR", "T2", "Maker")
    assert (facts.field_strength_t, facts.repetition_time_ms, facts.echo_time_ms) == (3.0, 4500.0, 100.0)
    assert found.frame_uid == "1.2.826.0.1.3680043.10.98" and found.image.GetPixelID() == sitk.sitkFloat32 and found.mask is None


def test_identity_is_salted_and_tells_patients_and_scans_apart(tmp_path):
    import hashlib

    from Testing.io.dicom_files import PATIENT_ID

    one = read_series(write_series(tmp_path / "one")).facts.identity
    copy = read_series(write_series(tmp_path / "copy")).facts.identity
    other = read_series(write_series(tmp_path / "other", edit=setting(None, PatientID="PAT-1"), series=SERIES_B)).facts.identity
    blank = read_series(write_series(tmp_path / "blank", edit=setting(None, PatientID="", PatientBirthDate="", PatientSex=None)))
    assert set(one) == {"patient_id", "birth_date", "sex", "sop"} and one == copy
    assert one["patient_id"] != other["patient_id"] and one["birth_date"] == other["birth_date"] and one["sop"] != other["sop"]
    assert set(blank.facts.identity) == {"sop"}
    assert hashlib.sha256(PATIENT_ID.encode()).hexdigest() != one["patient_id"]


@pytest.mark.parametrize("expected, values", [
    ("T1", dict(EchoTime=10.0, RepetitionTime=600.0)), ("T2", dict(EchoTime=90.0, RepetitionTime=4000.0)),
    ("DWI", dict(DiffusionBValue=800.0)), ("DWI", dict(ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW"])),
    ("ADC", dict(ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC"])), ("ADC", dict(SeriesDescription="ep2d_diff_ADC")),
    ("FLAIR", dict(InversionTime=2500.0, ScanningSequence=["SE", "IR"])), (None, dict(ScanningSequence="GR", EchoTime=4.0)),
    (None, dict(EchoTime=None)), ("DWI", dict(Manufacturer="SIEMENS", SeriesDescription="ep2d_dwi"))])
def test_the_sequence_is_told_from_the_header(expected, values, tmp_path):
    assert read_series(write_series(tmp_path, edit=setting(None, **values))).facts.sequence == expected


@pytest.mark.parametrize("maker, tag, vr, value, b", [("SIEMENS", 0x0019100C, "IS", "800", 800), ("Philips Medical Systems", 0x20011003, "FL", 800.0, 800),
                                                      ("GE MEDICAL SYSTEMS", 0x00431039, "IS", [1000000800, 8, 0, 0], 800)])
def test_private_b_values_of_the_large_makers_are_seen(maker, tag, vr, value, b, tmp_path):
    def edit(ds, index):
        ds.Manufacturer = maker
        if index > 2:
            ds.add_new(tag, vr, value)
    with pytest.raises(InputError, match="MRD-E217") as caught:
        read_series(write_series(tmp_path, edit=edit))
    assert f"b-value (s/mm2): none, {b}" in caught.value.found


def test_other_modalities_are_told(tmp_path):
    found = read_series(write_series(tmp_path, edit=setting(None, Modality="CT", SOPClassUID="1.2.840.10008.5.1.4.1.1.2")))
    assert [n.code for n in found.notices] == ["MRD-W206"] and found.facts.sequence is None


# ---- enhanced multi-frame

def test_b33_enhanced_frames_are_placed_by_their_functional_groups(tmp_path):
    voxels = ramp()[None]
    slopes = [1 + 0.25 * i for i in range(6)]
    found = read_series(save(enhanced(voxels, slopes=slopes), tmp_path / "e.dcm"))
    expected = voxels[0] * np.array(slopes)[:, None, None]
    np.testing.assert_array_equal(voxels_of(found), expected.astype(np.float32))
    np.testing.assert_allclose(found.image.GetSpacing(), (0.5, 0.7, 3.0))
    np.testing.assert_allclose(found.image.GetOrigin(), (-20, 30, -40))
    assert (found.facts.echo_time_ms, found.facts.repetition_time_ms, len(found.facts.file_sha256)) == (100.0, 4500.0, 1)


@pytest.mark.parametrize("axis, values, words", [("time", [1, 2], "time: 1, 2"), ("b-value", [0.0, 800.0], "b-value (s/mm2): 0, 800"),
                                                 ("echo", [20.0, 100.0], "echo time (ms): 20, 100"), ("stack", [1, 2], "stack: 1, 2"),
                                                 ("type", ["M", "P"], "image type")])
def test_b33_a_further_dimension_is_named_and_one_volume_of_it_can_be_chosen(axis, values, words, tmp_path):
    voxels = np.stack([ramp(), ramp() + 1000])
    path = save(enhanced(voxels, axes={axis: values}, shuffle=True), tmp_path / "e.dcm")
    with pytest.raises(InputError, match="MRD-E217") as caught:
        read_series(path)
    assert words in caught.value.found and "--volume-index 0 to 1" in caught.value.fix
    for index in (0, 1):
        np.testing.assert_array_equal(voxels_of(read_series(path, volume_index=index)), voxels[index])


def test_b33_two_further_dimensions_are_both_named(tmp_path):
    voxels = np.stack([ramp() + 100 * i for i in range(4)])
    path = save(enhanced(voxels, axes={"echo": [20.0, 20.0, 90.0, 90.0], "time": [1, 2, 1, 2]}), tmp_path / "e.dcm")
    with pytest.raises(InputError, match="echo time.*and time"):
        read_series(path)
    np.testing.assert_array_equal(voxels_of(read_series(path, volume_index=2)), voxels[2])


def test_b33_times_in_separate_enhanced_files_are_one_dimension(tmp_path):
    for time in (1, 2):
        save(enhanced(ramp()[None] + 1000 * time, axes={"time": [time]}), tmp_path / f"{time}.dcm")
    with pytest.raises(InputError, match="MRD-E217"):
        read_series(tmp_path)
    np.testing.assert_array_equal(voxels_of(read_series(tmp_path, volume_index=1)), ramp() + 2000)


def test_b33_frames_without_functional_groups_are_refused(tmp_path):
    ds = slice_dataset(ramp()[0], 0)
    set_pixels(ds, ramp())
    ds.NumberOfFrames = 6
    with pytest.raises(InputError, match="MRD-E214") as caught:
        read_series(save(ds, tmp_path / "m.dcm"))
    assert "functional groups" in caught.value.fix
    ds = enhanced(ramp()[None])
    ds.NumberOfFrames = 10**9
    with pytest.raises(InputError, match="MRD-E214"):
        read_series(save(ds, tmp_path / "m.dcm"))
    assert ds.SOPClassUID == ENHANCED_MR


def test_a_series_larger_than_the_limit_is_refused_before_allocation(tmp_path):
    with pytest.raises(InputError, match="MRD-E221"):
        read_series(write_series(tmp_path), limits=GateLimits(max_voxel_bytes=1000))


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch):
    import os

    from MRDeltaNetLib.io.dicom import series

    folder = write_series(tmp_path)
    accept = series.accept

    def accept_and_touch(*given):
        os.utime(folder / "IM0003.dcm", ns=(1, 1))
        return accept(*given)
    monkeypatch.setattr(series, "accept", accept_and_touch)
    with pytest.raises(InputError, match="MRD-E234") as caught:
        read_series(folder)
    assert "try again" in caught.value.fix


def test_a_file_that_vanishes_and_memory_that_runs_out_are_errors_of_ours(tmp_path, monkeypatch):
    from MRDeltaNetLib.errors import OutOfMemory
    from MRDeltaNetLib.io.dicom import series

    folder = write_series(tmp_path)
    accept = series.accept

    def accept_and_remove(*given):
        (folder / "IM0003.dcm").unlink()
        return accept(*given)
    with monkeypatch.context() as patched:
        patched.setattr(series, "accept", accept_and_remove)
        with pytest.raises(InputError, match="MRD-E202.*half-way") as caught:
            read_series(folder)
    assert "IM0003" not in str(caught.value) and "reached" in caught.value.fix

    def no_memory(*given):
        raise MemoryError
    monkeypatch.setattr(series, "read_voxels", no_memory)
    with pytest.raises(OutOfMemory, match="MRD-E236") as caught:
        read_series(write_series(tmp_path))
    assert "lower resolution" in caught.value.fix
