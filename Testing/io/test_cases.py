"""From a job to a checked case, and the same in words: the rules that need both scans, their masks and the job. Made-up data."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError, UsageError
from MRDeltaNetLib.io.cases import describe, inspect, read_case
from MRDeltaNetLib.io.jobs import job_from_mapping
from Testing.io.dicom_files import SECRETS, write_series

SIZE, SPACING_MM = (48, 48, 14), (1.5, 1.5, 4.0)


def picture(seed: int) -> sitk.Image:
    image = sitk.GetImageFromArray(np.random.default_rng(seed).integers(0, 900, SIZE[::-1]).astype(np.int16))
    image.SetSpacing(SPACING_MM)
    return image


def drawn(value: int = 1, shift_mm: float = 0.0) -> sitk.Image:
    values = np.zeros(SIZE[::-1], np.uint8)
    values[4:10, 12:30, 14:32] = value
    mask = sitk.GetImageFromArray(values)
    mask.SetSpacing(SPACING_MM)
    mask.SetOrigin((shift_mm, 0, 0))
    return mask


@pytest.fixture
def files(tmp_path) -> dict[str, str]:
    """Two scans and three good masks on disk, by their names in a job."""
    images = {"pre": picture(1), "post": picture(2), "pre_mask": drawn(), "post_mask": drawn(), "residual_mask": drawn()}
    for name, image in images.items():
        sitk.WriteImage(image, str(tmp_path / f"{name}.nrrd"))
    return {name: str(tmp_path / f"{name}.nrrd") for name in images}


def job(files: dict, *names: str, **changes):
    return job_from_mapping({name: files[name] for name in ("pre", "post", *names)} | {"out": "out"} | changes)


def series_of_volumes(path: Path, count: int = 3) -> str:
    sitk.WriteImage(sitk.JoinSeries([picture(10 + k) for k in range(count)]), str(path))
    return str(path)


def dicom(folder: Path, seed: int, day: str, series: str, **tags) -> str:
    def edit(ds, index):
        ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = day
        for name, value in tags.items():
            setattr(ds, name, value)
    voxels = sitk.GetArrayFromImage(picture(seed))
    return str(write_series(folder, voxels, edit, spacing=SPACING_MM[:2], gap=SPACING_MM[2], series=series))


def codes(found) -> list[str]:
    return [error.code for error in found.errors]


def test_everything_that_is_named_is_in_the_case(files):
    case, notices = read_case(job(files, "pre_mask", "post_mask", "residual_mask"))
    assert case.pre.mask_source == case.post.mask_source == "drawn" and case.pre.residual is None
    assert np.array_equal(sitk.GetArrayFromImage(case.post.residual), sitk.GetArrayFromImage(drawn()))
    assert {n.code for n in notices} == {"MRD-W330", "MRD-W331"}


# ---- the volume index

def test_a_volume_index_is_for_the_scan_that_holds_several(files, tmp_path):
    files["post"] = series_of_volumes(tmp_path / "four.nii.gz")
    case, notices = read_case(job(files, "pre_mask", volume_index=2))
    assert np.array_equal(sitk.GetArrayFromImage(case.post.image), sitk.GetArrayFromImage(picture(12)))
    assert np.array_equal(sitk.GetArrayFromImage(case.pre.image), sitk.GetArrayFromImage(picture(1)))
    (said,) = [n for n in notices if n.code == "MRD-W132"]
    assert "pre-treatment scan" in said.text and "other scan" in said.fix


def test_a_volume_index_goes_to_both_scans_if_both_hold_several(files, tmp_path):
    files |= {"pre": series_of_volumes(tmp_path / "a.nii"), "post": series_of_volumes(tmp_path / "b.nii")}
    sitk.WriteImage(sitk.JoinSeries([picture(20 + k) for k in range(3)]), files["post"])
    case, notices = read_case(job(files, "pre_mask", volume_index=1))
    assert np.array_equal(sitk.GetArrayFromImage(case.pre.image), sitk.GetArrayFromImage(picture(11)))
    assert np.array_equal(sitk.GetArrayFromImage(case.post.image), sitk.GetArrayFromImage(picture(21)))
    assert "MRD-W132" not in {n.code for n in notices}


def test_a_volume_index_that_no_scan_has_a_use_for_is_refused(files):
    for ask in (lambda j: read_case(j), lambda j: (_ for _ in ()).throw(inspect(j).errors[0])):
        with pytest.raises(InputError, match="both scans hold one volume") as caught:
            ask(job(files, "pre_mask", volume_index=1))
        assert caught.value.code == "MRD-E132" and "--volume-index" in caught.value.fix


def test_a_volume_index_beyond_the_series_is_refused_although_the_other_scan_is_plain(files, tmp_path):
    files["post"] = series_of_volumes(tmp_path / "four.nii")
    with pytest.raises(InputError) as caught:
        read_case(job(files, "pre_mask", volume_index=3))
    assert caught.value.code == "MRD-E132" and "0 to 2" in caught.value.fix and "post-treatment" in caught.value.what


def test_a_volume_index_passes_over_a_plain_dicom_series(files, tmp_path):
    files |= {"pre": series_of_volumes(tmp_path / "four.nii"), "post": dicom(tmp_path / "post", 2, "20230501", "1.2.3")}
    case, notices = read_case(job(files, "pre_mask", volume_index=2))
    assert np.array_equal(sitk.GetArrayFromImage(case.pre.image), sitk.GetArrayFromImage(picture(12)))
    assert [n.code for n in notices if "132" in n.code] == ["MRD-W132"]


# ---- what both scans say about each other, from real headers

@pytest.fixture
def visits(tmp_path) -> dict[str, str]:
    """Two DICOM visits of one made-up patient, 120 days apart, and a tumour mask."""
    found = {"pre": dicom(tmp_path / "pre", 1, "20230101", "1.2.3.1", StudyInstanceUID="1.2.3.10"),
             "post": dicom(tmp_path / "post", 2, "20230501", "1.2.3.2", StudyInstanceUID="1.2.3.20"), "pre_mask": str(tmp_path / "mask.nrrd")}
    mask = drawn()
    mask.SetOrigin((-20.0, 30.0, -40.0))
    sitk.WriteImage(mask, found["pre_mask"])
    return found


def test_two_dicom_visits_are_read_with_their_interval(visits):
    case, notices = read_case(job(visits, "pre_mask"))
    assert case.interval_days == 120 and notices == ()


def test_c85_a_copy_of_the_same_series_with_other_intensities_is_one_scan(visits, tmp_path):
    """Rescaled and sent again: other bytes, other voxels, but the same instances."""
    visits["post"] = dicom(tmp_path / "copy", 7, "20230101", "1.2.3.1")
    with pytest.raises(InputError) as caught:
        read_case(job(visits, "pre_mask"))
    assert caught.value.code == "MRD-E331" and "same DICOM instances" in caught.value.found and "other visit" in caught.value.fix


def test_c84_b71_swapped_dicom_visits_are_refused_by_their_dates(visits):
    with pytest.raises(InputError) as caught:
        read_case(job(visits | {"pre": visits["post"], "post": visits["pre"]}, steps=["align"]))
    assert caught.value.code == "MRD-E330" and "120 days" in caught.value.found and "swap" in caught.value.fix


def test_c86_b71_impossible_dates_are_unknown_dates(visits, tmp_path):
    visits["post"] = dicom(tmp_path / "undated", 2, "00000000", "1.2.3.2")
    found = {n.code: n for n in read_case(job(visits, "pre_mask"))[1]}
    assert set(found) == {"MRD-W202", "MRD-W330"} and "before" in found["MRD-W330"].fix


def test_c87_dicom_of_two_patients_is_refused_without_naming_them(visits, tmp_path):
    visits["post"] = dicom(tmp_path / "other", 2, "20230501", "1.2.3.2", PatientID="PAT-1")
    with pytest.raises(InputError) as caught:
        read_case(job(visits, "pre_mask"))
    assert caught.value.code == "MRD-E333" and "patient id" in caught.value.found
    assert not any(secret in str(caught.value) for secret in SECRETS)


def test_c89_another_frame_of_reference_needs_registration(visits, tmp_path):
    visits["post"] = dicom(tmp_path / "moved", 2, "20230501", "1.2.3.2", FrameOfReferenceUID="1.2.9")
    with pytest.raises(InputError) as caught:
        read_case(job(visits, "pre_mask", registration="none"))
    assert caught.value.code == "MRD-E334" and "rigid registration" in caught.value.fix
    read_case(job(visits, "pre_mask"))


# ---- masks

@pytest.mark.parametrize("given", [(), ("post_mask",), ("residual_mask",)])
def test_c83_a_run_without_the_tumour_before_treatment_is_refused_by_run_and_check_alike(files, given):
    with pytest.raises(InputError) as caught:
        read_case(job(files, *given))
    assert caught.value.code == "MRD-E336" and "pre mask" in caught.value.fix
    assert codes(inspect(job(files, *given))) == ["MRD-E336"]


def test_c83_alignment_alone_needs_no_mask(files):
    assert read_case(job(files, steps=["align"]))[0].pre.mask is None


def test_c83_a_refused_mask_is_not_called_missing(files, tmp_path):
    sitk.WriteImage(drawn(shift_mm=7.0), files["pre_mask"])
    found = inspect(job(files, "pre_mask"))
    assert codes(found) == ["MRD-E305"] and "mask: refused" in found.lines[0]


def test_c83_an_empty_residual_mask_and_a_stated_complete_response_agree(files):
    sitk.WriteImage(drawn(0), files["residual_mask"])
    case, notices = read_case(job(files, "pre_mask", "post_mask", "residual_mask", complete_response=True))
    assert case.complete_response and case.post.residual is not None and "MRD-W301" in {n.code for n in notices}
    assert "none left" in describe(case.post)


def test_c83_residual_tumour_and_a_stated_complete_response_contradict_each_other(files):
    with pytest.raises(InputError) as caught:
        read_case(job(files, "pre_mask", "residual_mask", complete_response=True))
    assert caught.value.code == "MRD-E318" and "clear" in caught.value.fix


# ---- check names everything at once

def test_check_names_every_problem_of_a_pair_at_once(files, visits, tmp_path):
    """Swapped, of two patients, and with a contradiction about residual tumour: three refusals in one call."""
    other = dicom(tmp_path / "other", 2, "20220501", "1.2.3.2", PatientID="PAT-1")
    residual = drawn()
    residual.SetOrigin((-20.0, 30.0, -40.0))
    sitk.WriteImage(residual, files["residual_mask"])
    found = inspect(job(visits | {"post": other, "residual_mask": files["residual_mask"]}, "pre_mask", "residual_mask", complete_response=True))
    assert codes(found) == ["MRD-E330", "MRD-E333", "MRD-E318"]


def test_check_looks_at_masks_although_their_scans_are_refused(files, tmp_path):
    (tmp_path / "bad.json").write_text('{"cea": NaN}')
    for name in ("pre", "post"):
        Path(files[name]).write_bytes(b"")
    for name in ("pre_mask", "residual_mask"):
        Path(files[name]).write_text("no mask at all")
    found = inspect(job(files, "pre_mask", "post_mask", "residual_mask", clinical=str(tmp_path / "bad.json")))
    assert codes(found) == ["MRD-E101", "MRD-E102", "MRD-E101", "MRD-E102", "MRD-E421"]
    assert found.lines == () and all(error.fix for error in found.errors)


def test_check_finds_a_bad_residual_mask_beside_a_bad_bed(files):
    sitk.WriteImage(drawn(0), files["post_mask"])
    sitk.WriteImage(drawn(shift_mm=7.0), files["residual_mask"])
    found = inspect(job(files, "pre_mask", "post_mask", "residual_mask"))
    assert codes(found) == ["MRD-E302", "MRD-E305"] and "mask: refused; residual tumour: refused" in found.lines[1]


def test_one_scan_given_twice_is_said_once(files):
    found = inspect(job(files | {"post": files["pre"]}, "pre_mask"))
    assert codes(found) == ["MRD-E331"]


def test_a_series_named_for_a_file_names_the_option_to_leave_out(files):
    with pytest.raises(UsageError) as caught:
        read_case(job(files, "pre_mask", post_series="1.2.3"))
    assert caught.value.code == "MRD-E144" and "--post-series" in caught.value.fix


@pytest.mark.parametrize("name", ["pre", "post", "pre_mask", "post_mask", "residual_mask", "clinical"])
@pytest.mark.parametrize("kind", ["absent", "empty", "text", "pipe", "device", "loop", "folder"])
def test_no_odd_input_gets_past_check_or_names_its_path(files, tmp_path, name, kind):
    place = tmp_path / "Doe^Jane" / "odd.nrrd"
    place.parent.mkdir()
    makers = {"absent": lambda: None, "empty": lambda: place.write_bytes(b""), "text": lambda: place.write_text("hello"), "pipe": lambda: os.mkfifo(place),
              "device": lambda: place.symlink_to("/dev/zero"), "loop": lambda: place.symlink_to(place), "folder": lambda: place.mkdir()}
    makers[kind]()
    before = sorted(tmp_path.rglob("*"))
    found = inspect(job(files, *{"pre_mask", "post_mask", "residual_mask"} - {name}, **{name: str(place)}))
    assert found.errors and all(error.fix and "Doe" not in str(error) for error in found.errors)
    assert sorted(tmp_path.rglob("*")) == before


def test_growth_and_a_grade_that_contradicts_the_outlines_are_told_by_a_run_and_by_check(files, tmp_path):
    values = np.zeros(SIZE[::-1], np.uint8)
    values[3:12, 6:36, 8:38] = 1
    large = sitk.GetImageFromArray(values)
    large.SetSpacing(SPACING_MM)
    sitk.WriteImage(large, str(tmp_path / "large.nrrd"))
    told = {"MRD-W311", "MRD-W312"}
    given = job(files, "pre_mask", "residual_mask", post_mask=str(tmp_path / "large.nrrd"), mrtrg=1)
    assert told <= {n.code for n in read_case(given)[1]} and told <= {n.code for n in inspect(given).notices}
    quiet = job(files, "pre_mask", "post_mask", "residual_mask", mrtrg=3)
    assert not told & {n.code for n in read_case(quiet)[1]} and read_case(quiet)[0].mrtrg == 3


def test_check_takes_a_look_from_a_higher_floor(files):
    """Its warnings and refusals are told like any other, and it sees each scan with its masks."""
    seen = []

    def look(scan, role, limits):
        seen.append((role, scan.mask is not None))
        if role == "post":
            raise InputError("Made up", code="MRD-E319", fix="nothing")
        return ()

    found = inspect(job(files, "pre_mask"), look=look)
    assert seen == [("pre", True), ("post", False)] and [e.code for e in found.errors] == ["MRD-E319"]
