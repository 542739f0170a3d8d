"""Reading and writing scans and masks: voxels, geometry, choices, and real files. Made-up data unless a name says otherwise."""

from __future__ import annotations

import gzip
import hashlib
import os

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.errors import EnvironmentProblem, InputError, UsageError
from MRDeltaNetLib.io.images import read_image, read_mask, write_image
from Testing.io.volume_files import DIRECTIONS, PACKERS, SIZES, image, metaimage, nifti, nrrd, nrrd_header, put, voxels

FILES = {"nifti.nii": lambda axes: nifti(axes=axes), "big-endian.nii": lambda axes: nifti(axes=axes, order=">"), "packed.nii.gz": lambda axes: gzip.compress(nifti(axes=axes)),
         "qform only.nii": lambda axes: nifti(axes=axes, codes=(1, 0)), "sform only.nii": lambda axes: nifti(axes=axes, codes=(0, 1)),
         "two.nii": lambda axes: nifti(axes=axes, version=2), "two-big.nii": lambda axes: nifti(axes=axes, version=2, order=">"),
         **{f"{encoding}.nrrd": lambda axes, e=encoding: nrrd(axes=axes, encoding=e) for encoding in PACKERS},
         "plain.mha": lambda axes: metaimage(axes=axes), "packed.mha": lambda axes: metaimage(axes=axes, packed=True),
         "no-size.mha": lambda axes: metaimage(axes=axes, packed=True, drop=("CompressedDataSize",)),
         "text.mha": lambda axes: metaimage(axes=axes, change={"BinaryData": "False"}, data=PACKERS["ascii"](voxels().tobytes()))}
BEYOND_SIMPLEITK = {"two.nii", "two-big.nii", "bzip2.nrrd", "text.mha", "no-size.mha"}


def same_frame(first: sitk.Image, second: sitk.Image, tolerance: float) -> bool:
    pairs = ((first.GetSpacing(), second.GetSpacing()), (first.GetOrigin(), second.GetOrigin()), (first.GetDirection(), second.GetDirection()))
    return all(np.allclose(a, b, rtol=0, atol=tolerance) for a, b in pairs)


@pytest.mark.parametrize("axes", DIRECTIONS)
@pytest.mark.parametrize("name", FILES)
def test_every_format_and_orientation_gives_the_voxels_at_their_place(tmp_path, name, axes):
    path = put(tmp_path, name, FILES[name](axes))
    read = read_image(path).image
    assert read.GetPixelID() == sitk.sitkFloat32 and read.GetDimension() == 3
    assert np.array_equal(sitk.GetArrayFromImage(read), voxels())
    assert same_frame(read, image(axes=axes), 1e-5)                           # NIfTI holds single precision
    if name not in BEYOND_SIMPLEITK:
        assert same_frame(read, sitk.ReadImage(str(path)), 1e-9)
    if path.name.endswith((".nii", ".nii.gz")):
        loaded = nib.load(path)
        lps = np.diag([-1, -1, 1, 1]) @ loaded.affine
        for corner in ((0, 0, 0), (23, 0, 0), (0, 19, 11), (23, 19, 11)):
            assert np.allclose(read.TransformIndexToPhysicalPoint(corner), (lps @ (*corner, 1))[:3], atol=1e-4)


@pytest.mark.parametrize("kind", ["<i1", "<u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f4", "<f8"])
def test_every_number_type_becomes_float32(tmp_path, kind):
    expected = (voxels() % 100).astype(kind)
    scan = read_image(put(tmp_path, "a.nii", nifti(data=expected)))
    assert scan.image.GetPixelID() == sitk.sitkFloat32
    assert np.array_equal(sitk.GetArrayFromImage(scan.image), expected.astype("f4"))


def test_stored_values_are_scaled_as_nibabel_scales_them(tmp_path):
    path = put(tmp_path, "a.nii", nifti(change={"scl_slope": 0.37, "scl_inter": 4}))
    assert np.allclose(sitk.GetArrayFromImage(read_image(path).image), nib.load(path).get_fdata().T, rtol=1e-6)


def test_facts_name_format_and_content_and_nothing_else(tmp_path):
    content = nrrd(change={"content": "Patient Name"})
    scan = read_image(put(tmp_path, "a.nrrd", content))
    assert scan.facts.format == "nrrd"
    assert scan.facts.file_sha256 == (hashlib.sha256(content).hexdigest(),)
    assert scan.image.GetMetaDataKeys() == ()
    assert scan.mask is None and scan.notices == ()


def test_a_scan_is_not_mixed_up_with_its_namesake(tmp_path):
    """SimpleITK 2.5.7 takes the voxels of scan.nii where scan.nii.gz was asked for."""
    put(tmp_path, "scan.nii", nifti(data=voxels()[::-1].copy()))
    path = put(tmp_path, "scan.nii.gz", gzip.compress(nifti()))
    assert np.array_equal(sitk.GetArrayFromImage(read_image(path).image), voxels())


def series(axis: int) -> tuple[np.ndarray, bytes]:
    """Four volumes, (volume, z, y, x), and an NRRD file that holds them along that axis (0 varies fastest)."""
    data = np.stack([voxels() + 1000 * k for k in range(4)])
    stored = np.ascontiguousarray(np.moveaxis(data, 0, 3 - axis))
    steps = ["(2,0,0)", "(0,2,0)", "(0,0,3)"]
    kinds = ["domain"] * 3
    steps.insert(axis, "none")
    kinds.insert(axis, "list")
    header = nrrd_header({"dimension": 4, "sizes": " ".join(map(str, stored.shape[::-1])), "kinds": " ".join(kinds), "space directions": " ".join(steps)})
    return data, header + stored.astype("<i2").tobytes()


def four_volumes(tmp_path):
    data, _ = series(3)
    header = metaimage(change={"NDims": 4, "DimSize": "24 20 12 4", "Offset": "-20 -15 7 0", "ElementSpacing": "2 2 3 1",
                               "TransformMatrix": "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"}, data=data.astype("<i2").tobytes())
    return data, {"a.nii": nifti(data=data), "b.nii.gz": gzip.compress(nifti(data=data)), "c.nii": nifti(data=data, version=2), "d.nrrd": series(3)[1],
                  "e.nrrd": series(0)[1], "f.mha": header}


@pytest.mark.parametrize("name", ["a.nii", "b.nii.gz", "c.nii", "d.nrrd", "e.nrrd", "f.mha"])
def test_A30_one_volume_of_a_series_is_read_by_its_index(tmp_path, name):
    data, files = four_volumes(tmp_path)
    path = put(tmp_path, name, files[name])
    for index in (0, 2, 3):
        read = read_image(path, volume_index=index).image
        assert np.array_equal(sitk.GetArrayFromImage(read), data[index])
        assert same_frame(read, image(), 1e-6)


@pytest.mark.parametrize("name", ["a.nii", "d.nrrd", "e.nrrd", "f.mha"])
def test_A30_a_series_without_a_choice_names_the_axis_and_the_number_of_volumes(tmp_path, name):
    path = put(tmp_path, name, four_volumes(tmp_path)[1][name])
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert caught.value.code == "MRD-E130" and "4 volumes along" in caught.value.found and "axis" in caught.value.found
    assert "volume index (0 to 3)" in caught.value.fix


@pytest.mark.parametrize("index", [-1, 4, 10**9])
def test_A30_a_volume_that_is_not_there_is_refused(tmp_path, index):
    with pytest.raises(InputError) as caught:
        read_image(put(tmp_path, "a.nii", four_volumes(tmp_path)[1]["a.nii"]), volume_index=index)
    assert caught.value.code == "MRD-E132" and "0 to 3" in caught.value.fix


def test_A30_a_volume_index_on_a_plain_scan_is_refused(tmp_path):
    with pytest.raises(InputError) as caught:
        read_image(put(tmp_path, "a.nii", nifti()), volume_index=0)
    assert caught.value.code == "MRD-E132" and "leave" in caught.value.fix


def test_a_fourth_axis_of_one_volume_is_a_plain_scan(tmp_path):
    scan = read_image(put(tmp_path, "a.nii", nifti(data=voxels()[None])))
    assert np.array_equal(sitk.GetArrayFromImage(scan.image), voxels())


def test_two_extra_axes_are_refused_even_with_an_index(tmp_path):
    content = nrrd(change={"dimension": 5, "sizes": "24 20 12 1 2", "kinds": "domain domain domain list list",
                           "space directions": "(2,0,0) (0,2,0) (0,0,3) none none"})
    with pytest.raises(InputError) as caught:
        read_image(put(tmp_path, "a.nrrd", content), volume_index=0)
    assert caught.value.code == "MRD-E130" and "3-D file" in caught.value.fix


def test_a_dicom_series_uid_for_a_file_is_refused(tmp_path):
    with pytest.raises(UsageError) as caught:
        read_image(put(tmp_path, "a.nii", nifti()), series="1.2.3")
    assert caught.value.code == "MRD-E144" and "series" in caught.value.fix


def test_a_header_that_the_native_reader_rejects_is_refused_without_its_trace(tmp_path, capfd):
    path = put(tmp_path, "a.nrrd", nrrd(change={"axis mins": "1 2 3"}))
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert caught.value.code == "MRD-E149" and "export" in caught.value.fix
    assert str(tmp_path) not in str(caught.value) + "".join(capfd.readouterr())


@pytest.mark.parametrize("change", [{"spacing": (2, 2, 3.2)}, {"direction": (-1, 0, 0, 0, 1, 0, 0, 0, 1)}, {"size": (24, 20, 11)}])
def test_A41_two_readers_that_disagree_stop_the_reading(tmp_path, monkeypatch, change):
    class Reader(sitk.ImageFileReader):
        GetSpacing = lambda self: change.get("spacing") or super().GetSpacing()
        GetDirection = lambda self: change.get("direction") or super().GetDirection()
        GetSize = lambda self: change.get("size") or super().GetSize()
    monkeypatch.setattr(sitk, "ImageFileReader", Reader)
    for name, content in (("a.nii", nifti()), ("a.nrrd", nrrd()), ("a.mha", metaimage())):
        with pytest.raises(InputError) as caught:
            read_image(put(tmp_path, name, content))
        assert caught.value.code == "MRD-E143" and "DICOM" in caught.value.fix


@pytest.mark.parametrize("name", ["ä 日本 🙂.nii", "a;b&c $(x) 'q' %d.nii", "new\nline.nrrd", "TUMOUR.NII", "x.NII.GZ", os.fsdecode(b"\xff.nii")])
def test_odd_file_names_are_read(tmp_path, name):
    content = nrrd() if name.endswith(".nrrd") else gzip.compress(nifti()) if name.endswith(".GZ") else nifti()
    assert np.array_equal(sitk.GetArrayFromImage(read_image(put(tmp_path, name, content)).image), voxels())


# ---- masks

def ball() -> np.ndarray:
    z, y, x = np.indices(SIZES[::-1])
    return ((x - 12) ** 2 + (y - 10) ** 2 + (z - 6) ** 2 <= 16).astype("<u1")


@pytest.mark.parametrize("axes", DIRECTIONS)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_mask_lands_on_its_scan(tmp_path, axes, suffix):
    drawn = sitk.GetImageFromArray(ball())
    drawn.CopyInformation(image(axes=axes))
    sitk.WriteImage(drawn, str(tmp_path / f"m{suffix}"))
    scan = read_image(put(tmp_path, "a.nii", nifti(axes=axes))).image
    mask, notices = read_mask(tmp_path / f"m{suffix}", scan, role="pre")
    assert mask.GetPixelID() == sitk.sitkUInt8 and notices == ()
    assert np.array_equal(sitk.GetArrayFromImage(mask), ball())
    assert same_frame(mask, scan, 0)


def segmentation(layers: np.ndarray, segments: list[tuple[str, int, int]]) -> bytes:
    """A .seg.nrrd file as 3D Slicer writes it; segments (name, label, layer)."""
    pairs = "".join(f"Segment{k}_Name:={n}\nSegment{k}_LabelValue:={v}\nSegment{k}_Layer:={i}\n" for k, (n, v, i) in enumerate(segments))
    change = {"type": "uchar"}
    if len(layers) > 1:
        change |= {"dimension": 4, "sizes": f"{len(layers)} 24 20 12", "kinds": "list domain domain domain", "space directions": "none (2,0,0) (0,2,0) (0,0,3)"}
    stored = np.moveaxis(layers, 0, -1).astype("u1").tobytes()
    return nrrd_header(change).replace(b"\n\n", f"\n{pairs}\n".encode()) + stored


def test_a_segment_is_chosen_by_name_or_by_its_only_label(tmp_path):
    other = np.zeros_like(ball())
    other[2:9, 2:12, 2:12] = 1
    path = put(tmp_path, "s.seg.nrrd", segmentation(np.stack([ball(), other]), [("Tumour", 1, 0), ("Mesorectum", 1, 1)]))
    for name, expected in (("Tumour", ball()), ("Mesorectum", other)):
        mask, _ = read_mask(path, image(), role="pre", label=name)
        assert np.array_equal(sitk.GetArrayFromImage(mask), expected)
    path = put(tmp_path, "t.seg.nrrd", segmentation(np.stack([ball(), 2 * other]), [("Tumour", 1, 0), ("Mesorectum", 2, 1)]))
    mask, _ = read_mask(path, image(), role="pre", label=2)
    assert np.array_equal(sitk.GetArrayFromImage(mask), other)
    path = put(tmp_path, "u.seg.nrrd", segmentation((ball() * 3)[None], [("Tumour", 3, 0)]))
    assert np.array_equal(sitk.GetArrayFromImage(read_mask(path, image(), role="pre")[0]), ball())


def test_A80_several_segments_without_a_choice_are_listed_by_name(tmp_path):
    other = np.roll(ball(), 5, axis=2)
    for layers, segments in ((np.stack([ball(), 2 * other]), [("Tumour", 1, 0), ("Mesorectum", 2, 1)]),
                             ((ball() + 2 * other * (1 - ball()))[None], [("Tumour", 1, 0), ("Mesorectum", 2, 0)])):
        with pytest.raises(InputError) as caught:
            read_mask(put(tmp_path, "s.seg.nrrd", segmentation(layers, segments)), image(), role="pre")
        assert caught.value.code in ("MRD-E311", "MRD-E313")
        assert "Tumour" in caught.value.found and "Mesorectum" in caught.value.found


def test_a_segment_that_is_not_there_is_refused_with_the_names_that_are(tmp_path):
    path = put(tmp_path, "s.seg.nrrd", segmentation(ball()[None], [("Tumour", 1, 0)]))
    with pytest.raises(InputError) as caught:
        read_mask(path, image(), role="pre", label="Bladder")
    assert caught.value.code == "MRD-E312" and "Tumour" in caught.value.found and "names" in caught.value.fix


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_the_chosen_label_of_a_label_map_is_the_mask_in_every_format(tmp_path, suffix):
    scan = image()
    labels = sitk.GetImageFromArray(ball() * 3)
    labels.CopyInformation(scan)
    values = sitk.GetArrayFromImage(labels)
    values[:2] = 1
    other = sitk.GetImageFromArray(values)
    other.CopyInformation(scan)
    write_image(other, tmp_path / f"labels{suffix}")
    found, _ = read_mask(tmp_path / f"labels{suffix}", scan, role="pre", label=3)
    assert np.array_equal(sitk.GetArrayFromImage(found), values == 3)
    with pytest.raises(InputError) as caught:
        read_mask(tmp_path / f"labels{suffix}", scan, role="pre")
    assert caught.value.code == "MRD-E311" and "1, 3" in caught.value.found


def test_a_folder_without_a_segmentation_is_no_mask(tmp_path):
    with pytest.raises(InputError) as caught:
        read_mask(tmp_path, image(), role="pre")
    assert caught.value.code == "MRD-E323" and "segmentation" in caught.value.fix


# ---- writing

@pytest.mark.parametrize("axes", DIRECTIONS)
@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".nii.gz", ".mha"])
def test_what_is_written_is_read_back(tmp_path, axes, suffix):
    path = tmp_path / f"out{suffix}"
    write_image(image("<f4", axes), path)
    read = read_image(path).image
    assert np.array_equal(sitk.GetArrayFromImage(read), voxels("<f4"))
    assert same_frame(read, image(axes=axes), 1e-9 if suffix in (".nrrd", ".mha") else 1e-5)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_header_texts_are_kept_and_metadata_of_the_source_is_not(tmp_path):
    source = image()
    source.SetMetaData("0010|0010", "NAME^PATIENT")
    write_image(source, tmp_path / "a.nrrd", header={"formula": "softmax(q k)\nsecond line", "resolution_mm": "3 x 3 x 3"})
    content = (tmp_path / "a.nrrd").read_bytes()
    assert b"NAME^PATIENT" not in content
    assert b"formula:=softmax(q k) second line\n" in content and b"resolution_mm:=3 x 3 x 3\n" in content
    assert source.GetMetaData("0010|0010") == "NAME^PATIENT"
    assert np.array_equal(sitk.GetArrayFromImage(read_image(tmp_path / "a.nrrd").image), voxels())


def test_equal_images_give_equal_files(tmp_path):
    for suffix in (".nrrd", ".nii.gz", ".mha"):
        write_image(image(), tmp_path / f"a{suffix}")
        write_image(image(), tmp_path / f"b{suffix}")
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@pytest.mark.parametrize("name, header", [("a.png", None), ("a", None), ("a.nii.gz", {"formula": "x"}), ("a.nrrd", {"bad\nkey": "x"}), ("a.nrrd", {"a:=b": "x"})])
def test_what_cannot_be_written_is_a_usage_error(tmp_path, name, header):
    with pytest.raises(UsageError) as caught:
        write_image(image(), tmp_path / name, header=header)
    assert caught.value.code == "MRD-E860" and caught.value.fix
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_earlier_file(tmp_path, monkeypatch):
    write_image(image(), tmp_path / "a.nrrd")
    before = (tmp_path / "a.nrrd").read_bytes()
    monkeypatch.setattr(sitk, "WriteImage", lambda *a, **k: (_ for _ in ()).throw(RuntimeError("disk full at /home/NAME")))
    with pytest.raises(EnvironmentProblem) as caught:
        write_image(image("<f4"), tmp_path / "a.nrrd")
    assert caught.value.code == "MRD-E861" and "NAME" not in str(caught.value) and "space" in caught.value.fix
    assert (tmp_path / "a.nrrd").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.nrrd"]


@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".nii.gz", ".mha"])
def test_a_file_cut_short_by_a_full_disk_is_noticed(tmp_path, monkeypatch, suffix):
    """SimpleITK's NIfTI writer reports no error on a full disk; here the disk keeps only 3000 bytes."""
    written = sitk.WriteImage

    def on_a_full_disk(made, name, **how):
        written(made, name, **how)
        os.truncate(name, 3000)

    monkeypatch.setattr(sitk, "WriteImage", on_a_full_disk)
    with pytest.raises(EnvironmentProblem) as caught:
        write_image(image(), tmp_path / f"a{suffix}")
    assert caught.value.code == "MRD-E861" and "space" in caught.value.fix
    assert list(tmp_path.iterdir()) == []


def test_only_volumes_of_single_values_are_written(tmp_path):
    for made in (sitk.Image(8, 8, sitk.sitkFloat32), sitk.Compose([image(), image()])):
        with pytest.raises(UsageError, match="E860"):
            write_image(made, tmp_path / "a.nrrd")


# ---- real files

REAL = [f"ms_longitudinal/patient01/study{k}_{s}.nii.gz" for k in (1, 2) for s in ("FLAIR", "T1W", "T2W")] + ["pyradiomics/brain1_image.nrrd"]


@pytest.mark.parametrize("name", REAL)
def test_real_scans_equal_the_reading_of_simpleitk_and_nibabel(real_data, name):
    path = real_data(name)
    read, other = read_image(path).image, sitk.ReadImage(str(path))
    assert np.array_equal(sitk.GetArrayViewFromImage(read), sitk.GetArrayViewFromImage(other))
    assert same_frame(read, other, 1e-9)
    if name.endswith(".gz"):
        loaded = nib.load(path)
        corner = tuple(n - 1 for n in read.GetSize())
        place = np.array(read.TransformIndexToPhysicalPoint(corner)) * (-1, -1, 1)
        assert np.allclose(place, (loaded.affine @ (*corner, 1))[:3], atol=0.01)
        assert np.array_equal(sitk.GetArrayViewFromImage(read), np.asanyarray(loaded.dataobj).T)


@pytest.mark.parametrize("scan, mask", [("ms_longitudinal/patient01/brainmask.nii.gz", None), ("pyradiomics/brain1_image.nrrd", "pyradiomics/brain1_label.nrrd")])
def test_real_masks_are_masks_and_no_scans(real_data, scan, mask):
    path = real_data(mask or scan)
    with pytest.raises(InputError, match="E122"):
        read_image(path)
    if mask:
        read, _ = read_mask(path, read_image(real_data(scan)).image, role="pre")
        assert np.array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(sitk.ReadImage(str(path))))


ODD = {"0.dcm": None, "1.dcm": None, "analyze.hdr": "MRD-E102", "anatomical.nii": "read", "bad_attribute+orig.HEAD": "MRD-E102",
       "bad_datatype+orig.HEAD": "MRD-E102", "example_nifti2.nii.gz": "MRD-E130", "functional.nii": "MRD-E130", "minc1_1_scale.mnc": "MRD-E102",
       "minc2_1_scale.mnc": "MRD-E102", "minc2_baddim.mnc": "MRD-E102", "nifti1.hdr": "MRD-E102", "nifti2.hdr": "MRD-E102", "phantom_truncated.PAR": "MRD-E102",
       "phantom_truncated.REC": "MRD-E102", "reoriented_anat_moved.nii": "read", "resampled_anat_moved.nii": "MRD-E128", "row_major.dconn.nii": "MRD-E131",
       "standard.nii.gz": "MRD-E148", "test.mgz": "MRD-E102", "tinypet.v": "MRD-E102"}


@pytest.mark.parametrize("name", ODD)
def test_each_odd_file_of_nibabel_is_read_rightly_or_refused_with_a_reason(real_data, name):
    path = real_data(f"odd_files/nibabel/{name}")
    if ODD[name] == "read":
        read = read_image(path).image
        assert same_frame(read, sitk.ReadImage(str(path)), 1e-9)
        assert np.allclose(sitk.GetArrayViewFromImage(read), nib.load(path).get_fdata().T)
        return
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert caught.value.fix and path.name not in str(caught.value)
    assert caught.value.code == (ODD[name] or caught.value.code)


def test_every_odd_file_is_in_the_list(real_data):
    assert {path.name for path in real_data("odd_files/nibabel").iterdir()} == set(ODD)


@pytest.mark.parametrize("value", [0, 7])
def test_a_dicom_series_must_pass_the_same_voxel_gate_as_a_file(tmp_path, value):
    """A constant series has a faultless header and is still no scan."""
    from Testing.io.dicom_files import write_series
    write_series(tmp_path, voxels=np.full((12, 64, 64), value, np.int16))
    with pytest.raises(InputError) as caught:
        read_image(tmp_path)
    assert caught.value.code in ("MRD-E120", "MRD-E121") and "pre-treatment" in str(caught.value)
