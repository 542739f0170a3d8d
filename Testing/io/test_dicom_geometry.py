"""A series read here lies where SimpleITK's GDCM reader puts it, voxel by voxel; real series and odd files too."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.errors import MRDeltaNetError
from MRDeltaNetLib.io.dicom import list_series, read_series
from Testing.io.dicom_files import enhanced, pydicom_file, ramp, save, write_series

TILT = sitk.Euler3DTransform((0, 0, 0), 0.31, -0.22, 0.47)


def axes_of(rotation: sitk.Euler3DTransform, row, column) -> tuple[float, ...]:
    matrix = np.array(rotation.GetMatrix()).reshape(3, 3)
    return tuple(np.concatenate([matrix @ row, matrix @ column]))


PLACES = {
    "axial": dict(orientation=(1, 0, 0, 0, 1, 0)),
    "axial-anisotropic-thick": dict(orientation=(1, 0, 0, 0, 1, 0), spacing=(0.4, 0.9), gap=5.5),
    "axial-feet-up-normal-pointing-down": dict(orientation=(1, 0, 0, 0, -1, 0)),
    "axial-rows-and-columns-swapped": dict(orientation=(0, 1, 0, 1, 0, 0)),
    "sagittal": dict(orientation=(0, 1, 0, 0, 0, -1)),
    "coronal": dict(orientation=(1, 0, 0, 0, 0, -1)),
    "coronal-mirrored": dict(orientation=(-1, 0, 0, 0, 0, -1)),
    "oblique-axial": dict(orientation=axes_of(TILT, (1, 0, 0), (0, 1, 0)), spacing=(0.6, 0.85), gap=3.3),
    "oblique-sagittal": dict(orientation=axes_of(TILT, (0, 1, 0), (0, 0, -1)), origin=(111.25, -87.5, 43.125)),
    "oblique-far-away": dict(orientation=axes_of(TILT, (-1, 0, 0), (0, 0, 1)), origin=(1234.5, -876.5, 943.125), gap=0.8),
}


def gdcm(folder: Path) -> sitk.Image:
    """The folder's only series as SimpleITK's own reader sees it."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    reader.SetOutputPixelType(sitk.sitkFloat32)
    return reader.Execute()


def assert_same(found: sitk.Image, expected: sitk.Image) -> None:
    np.testing.assert_array_equal(sitk.GetArrayViewFromImage(found), sitk.GetArrayViewFromImage(expected))
    for ours, theirs in ((found.GetOrigin(), expected.GetOrigin()), (found.GetSpacing(), expected.GetSpacing()),
                         (found.GetDirection(), expected.GetDirection())):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("descending", [False, True], ids=["ascending", "descending"])
@pytest.mark.parametrize("place", PLACES)
def test_voxels_and_place_equal_simpleitks(place, descending, tmp_path):
    names = [f"IM{(99 - i) if descending else i:04d}.dcm" for i in range(6)]

    def renumber(ds, index):
        ds.InstanceNumber = 6 - index if descending else index + 1
        ds.RescaleSlope, ds.RescaleIntercept = 2.5, -3
    write_series(tmp_path, edit=renumber, names=names, **PLACES[place])
    found = read_series(tmp_path).image
    assert_same(found, gdcm(tmp_path))
    assert np.linalg.det(np.array(found.GetDirection()).reshape(3, 3)) == pytest.approx(1)


@pytest.mark.parametrize("place", PLACES)
def test_a_slice_stored_at_a_place_is_found_there(place, tmp_path):
    """The position of a voxel by PS3.3 C.7.6.2.1.1, computed from the headers alone."""
    write_series(tmp_path, names=["c", "f", "a", "b", "e", "d"], **PLACES[place])
    image = read_series(tmp_path).image
    for path in tmp_path.iterdir():
        ds = pydicom_file(path)
        row, column = np.array(ds.ImageOrientationPatient[:3], float), np.array(ds.ImageOrientationPatient[3:], float)
        for r, c in ((0, 0), (9, 7), (3, 5)):
            point = np.array(ds.ImagePositionPatient, float) + row * ds.PixelSpacing[1] * c + column * ds.PixelSpacing[0] * r
            index = image.TransformPhysicalPointToContinuousIndex(point.tolist())
            np.testing.assert_allclose(index, np.round(index), atol=1e-4)
            assert image[tuple(int(round(i)) for i in index)] == ds.pixel_array[r, c]


@pytest.mark.parametrize("place", PLACES)
def test_enhanced_frames_lie_where_single_slices_of_the_same_place_lie(place, tmp_path):
    write_series(tmp_path / "classic", **PLACES[place])
    save(enhanced(ramp()[None], shuffle=True, **PLACES[place]), tmp_path / "enhanced" / "e.dcm")
    assert_same(read_series(tmp_path / "enhanced").image, read_series(tmp_path / "classic").image)


# ---- real series

PROSTATE = "prostatex_dicom/ProstateX-0000/07-07-2011"


@pytest.mark.parametrize("start, sequence, size", [("4.", "T2", (384, 384, 19)), ("7.", "ADC", (84, 128, 19))])
def test_real_pelvic_series_equals_simpleitks_reading(start, sequence, size, real_data):
    folder = next(path for path in real_data(PROSTATE).iterdir() if path.name.startswith(start))
    found = read_series(folder)
    assert_same(found.image, gdcm(folder))
    assert found.image.GetSize() == size
    assert (found.facts.modality, found.facts.sequence, found.facts.field_strength_t) == ("MR", sequence, 3.0)
    assert found.frame_uid and found.acquired is not None and not found.notices


def test_real_folder_of_two_series_is_listed(real_data):
    first, second = list_series(real_data("prostatex_dicom"))
    assert {(s.slices, s.modality, s.sequence) for s in (first, second)} == {(19, "MR", "T2"), (19, "MR", "ADC")}
    assert read_series(real_data("prostatex_dicom"), series=second.uid).facts.sequence == second.sequence


def test_real_ct_series_equals_simpleitks_reading(real_data):
    folder = real_data("torchio_dicom/dicom")
    found = read_series(folder)
    assert_same(found.image, gdcm(folder))
    assert found.image.GetSize() == (88, 128, 17) and [n.code for n in found.notices] == ["MRD-W206"]


@pytest.mark.parametrize("time", [1, 2, 3, 4])
def test_real_enhanced_file_equals_simpleitk_and_its_functional_groups(time, real_data):
    path = real_data(f"dcm_qa_enh/Siemens/XA10/6_{time}.dcm")
    found = read_series(path).image
    expected = sitk.ReadImage(str(path), sitk.sitkFloat32)
    assert_same(found, expected)
    ds = pydicom_file(path)
    for frame, group in zip(ds.pixel_array, ds.PerFrameFunctionalGroupsSequence):
        index = found.TransformPhysicalPointToContinuousIndex([float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient])
        np.testing.assert_allclose(index, [0, 0, round(index[2])], atol=1e-3)
        np.testing.assert_array_equal(sitk.GetArrayViewFromImage(found)[round(index[2])], frame)


def test_real_enhanced_times_in_four_files_are_one_axis(real_data):
    folder = real_data("dcm_qa_enh/Siemens/XA10")
    with pytest.raises(MRDeltaNetError, match="MRD-E217.*4 volumes that differ in time"):
        read_series(folder)
    for index in range(4):
        assert_same(read_series(folder, volume_index=index).image, sitk.ReadImage(str(folder / f"6_{index + 1}.dcm"), sitk.sitkFloat32))


# ---- odd files

def odd_files() -> list[str]:
    root = Path(os.environ.get("MRDELTANET_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")) / "odd_files"
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()) or ["pydicom/MR_small.dcm"]


@pytest.mark.parametrize("name", odd_files())
def test_an_odd_file_is_refused_with_a_reason_and_a_remedy(name, real_data):
    """Each is a single slice, another object, or damaged; none is a volume."""
    path = real_data(f"odd_files/{name}")
    with pytest.raises(MRDeltaNetError) as caught:
        read_series(path)
    assert caught.value.code.startswith("MRD-E2") and caught.value.fix
    assert str(path) not in str(caught.value) and str(path.parent) not in str(caught.value)


def test_odd_folders_are_read_or_refused(real_data):
    root = real_data("odd_files/pydicom/dicomdirtests")
    read = {}
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        try:
            read[folder.name] = read_series(folder).image.GetSize()
        except MRDeltaNetError as refusal:
            assert refusal.fix
    assert read == {"CT5N": (16, 16, 5)}
    assert_same(read_series(root / "98892001" / "CT5N").image, gdcm(root / "98892001" / "CT5N"))


SMALL = {"MR_small.dcm": None, "MR_small_RLE.dcm": None, "MR_small_bigendian.dcm": None, "MR_small_expb.dcm": None,
         "MR_small_implicit.dcm": None, "MR_small_jp2klossless.dcm": None,
         "MR_small_jpeg_ls_lossless.dcm": "pyjpegls"}


@pytest.mark.parametrize("name", SMALL)
def test_a_real_slice_in_every_encoding_gives_the_same_voxels(name, real_data, tmp_path):
    """Three copies of the file, each moved by patching its position in place, make a series."""
    content = real_data(f"odd_files/pydicom/{name}").read_bytes()
    assert content.count(b"6.6406") >= 1
    for index, z in enumerate((b"6.6406", b"8.6406", b"4.6406")):
        (tmp_path / f"{index}.dcm").write_bytes(content.replace(b"\\-91.2000\\6.6406", b"\\-91.2000\\" + z))
    if SMALL[name] and not codec_there("1.2.840.10008.1.2.4.80"):
        with pytest.raises(MRDeltaNetError, match="MRD-E231") as caught:
            read_series(tmp_path)
        assert SMALL[name] in caught.value.fix
        return
    found = sitk.GetArrayFromImage(read_series(tmp_path).image)
    expected = pydicom_file(real_data("odd_files/pydicom/MR_small.dcm")).pixel_array
    np.testing.assert_array_equal(found, np.stack([expected] * 3))


def codec_there(syntax: str) -> bool:
    from pydicom.pixels import get_decoder

    return get_decoder(syntax).is_available
