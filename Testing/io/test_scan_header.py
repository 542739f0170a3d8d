"""What one DICOM file says about a scan whose voxels are in an image file, as 3D Slicer hands them on. Made-up data."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, UsageError
from MRDeltaNetLib.io.cases import inspect, read_case
from MRDeltaNetLib.io.dicom import read_scan_header, read_series
from MRDeltaNetLib.io.jobs import job_from_mapping
from Testing.io.dicom_files import SECRETS, enhanced, ramp, save, slice_dataset, write_series

SIZE, SPACING_MM = (48, 48, 14), (1.5, 1.5, 4.0)


def header(path: Path, day: str = "20230101", series: str = "1.2.3.1", **tags) -> str:
    """One slice of a made-up MR series, as DICOM."""
    ds = slice_dataset(ramp()[0], 3, series=series)
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = day
    for name, value in tags.items():
        setattr(ds, name, value)
    return str(save(ds, path))


@pytest.fixture
def visits(tmp_path) -> dict[str, str]:
    """Two scans as NRRD, a mask, and a header of each visit, 120 days apart."""
    found = {}
    for seed, role in enumerate(("pre", "post")):
        image = sitk.GetImageFromArray(np.random.default_rng(seed).integers(0, 900, SIZE[::-1]).astype(np.int16))
        image.SetSpacing(SPACING_MM)
        found[role] = str(tmp_path / f"{role}.nrrd")
        sitk.WriteImage(image, found[role])
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[4:10, 12:30, 14:32] = 1
    drawn = sitk.GetImageFromArray(mask)
    drawn.SetSpacing(SPACING_MM)
    sitk.WriteImage(drawn, str(tmp_path / "mask.nrrd"))
    return found | {"pre_mask": str(tmp_path / "mask.nrrd"), "pre_header": header(tmp_path / "a.dcm"),
                    "post_header": header(tmp_path / "b.dcm", "20230501", "1.2.3.2")}


def job(given: dict, **changes):
    return job_from_mapping({**given, "out": "out", **changes})


def test_an_image_file_with_headers_knows_date_scanner_sequence_and_patient(visits):
    case, notices = read_case(job(visits))
    assert case.interval_days == 120
    for scan in (case.pre, case.post):
        facts = scan.facts
        assert (facts.modality, facts.sequence, facts.manufacturer, facts.field_strength_t) == ("MR", "T2", "Maker", 3.0)
        assert (facts.repetition_time_ms, facts.echo_time_ms) == (4500.0, 100.0) and set(facts.identity) == {"patient_id", "birth_date", "sex", "sop"}
    codes = {notice.code for notice in notices}
    assert not codes & {"MRD-W330", "MRD-W331"}                       # neither the dates nor the patient are unknown


def test_format_voxels_digest_and_place_stay_those_of_the_image_file(visits):
    """No frame of reference is taken: a saved image may have been moved since."""
    plain = read_case(job({name: visits[name] for name in ("pre", "post", "pre_mask")}))[0]
    known = read_case(job(visits))[0]
    for before, after in zip(plain.timepoints, known.timepoints):
        assert after.facts.format == "nrrd" and after.facts.file_sha256 == before.facts.file_sha256 and after.frame_uid is None
        assert np.array_equal(sitk.GetArrayViewFromImage(after.image), sitk.GetArrayViewFromImage(before.image))
        assert after.image.GetSpacing() == before.image.GetSpacing() and after.image.GetOrigin() == before.image.GetOrigin()


def test_the_facts_are_those_that_the_series_itself_would_give(tmp_path):
    folder = write_series(tmp_path / "series")
    series, one = read_series(folder), read_scan_header(sorted(folder.iterdir())[2]).file
    for name in ("modality", "sequence", "manufacturer", "field_strength_t", "repetition_time_ms", "echo_time_ms"):
        assert getattr(series.facts, name) == getattr(one, name), name
    assert series.acquired == one.acquired and dict(one.identity).items() <= dict(series.facts.identity).items()


def test_swapped_headers_are_refused_by_their_dates(visits):
    with pytest.raises(InputError) as caught:
        read_case(job(visits | {"pre_header": visits["post_header"], "post_header": visits["pre_header"]}))
    assert caught.value.code == "MRD-E330" and "120 days" in caught.value.found


def test_headers_of_two_patients_are_refused_without_naming_them(visits, tmp_path):
    visits["post_header"] = header(tmp_path / "c.dcm", "20230501", "1.2.3.2", PatientID="PAT-1")
    with pytest.raises(InputError) as caught:
        read_case(job(visits))
    assert caught.value.code == "MRD-E333" and not any(secret in str(caught.value) for secret in SECRETS)


def test_one_header_for_both_scans_is_one_scan(visits):
    with pytest.raises(InputError) as caught:
        read_case(job(visits | {"post_header": visits["pre_header"]}))
    assert caught.value.code == "MRD-E331"


def test_one_header_alone_leaves_the_interval_unknown(visits):
    del visits["pre_header"]
    case, notices = read_case(job(visits))
    assert case.interval_days is None and case.post.facts.manufacturer == "Maker" and "MRD-W330" in {n.code for n in notices}


def test_a_scan_that_is_dicom_has_its_own_header(visits, tmp_path):
    folder = write_series(tmp_path / "series")
    for scan in (folder, sorted(folder.iterdir())[0]):
        with pytest.raises(UsageError) as caught:
            read_case(job(visits | {"pre": str(scan)}))
        assert caught.value.code == "MRD-E240" and "--pre-header" in caught.value.fix


def test_a_date_that_cannot_be_is_an_unknown_date(visits, tmp_path):
    visits["post_header"] = header(tmp_path / "c.dcm", "29990101", "1.2.3.2")
    found = {n.code: n for n in read_case(job(visits))[1]}
    assert {"MRD-W202", "MRD-W330"} <= set(found) and found["MRD-W202"].text.startswith("The post-treatment scan: ")


def test_a_header_without_pixel_data_is_enough(visits, tmp_path):
    ds = slice_dataset(ramp()[0], 0, series="1.2.3.1")
    del ds.PixelData
    visits["pre_header"] = str(save(ds, tmp_path / "bare.dcm"))
    assert read_case(job(visits, post_header=None))[0].pre.facts.field_strength_t == 3.0


def bad(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    """What is no DICOM header of one MR scan -> its file and code."""
    text, empty = tmp_path / "text.dcm", tmp_path / "empty.dcm"
    text.write_bytes(b"no DICOM at all" * 50)
    empty.write_bytes(b"")
    cut = Path(header(tmp_path / "cut.dcm"))
    cut.write_bytes(cut.read_bytes()[:700])
    report = slice_dataset(ramp()[0], 0)
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    image = tmp_path / "image.nrrd"
    sitk.WriteImage(sitk.Image(8, 8, 8, sitk.sitkInt16), str(image))
    echoes = save(enhanced(np.zeros((2, 4, 6, 6), np.int16), axes={"echo": [80.0, 120.0]}), tmp_path / "echoes.dcm")
    return {"text": (text, "MRD-E241"), "empty": (empty, "MRD-E241"), "cut short": (cut, "MRD-E204"), "an image file": (image, "MRD-E241"),
            "absent": (tmp_path / "absent.dcm", "MRD-E202"), "a folder": (tmp_path, "MRD-E241"),
            "CT": (Path(header(tmp_path / "ct.dcm", SOPClassUID="1.2.840.10008.5.1.4.1.1.2", Modality="CT")), "MRD-E242"),
            "a report": (save(report, tmp_path / "report.dcm"), "MRD-E242"), "two echoes": (echoes, "MRD-E242")}


@pytest.mark.parametrize("name", ["text", "empty", "cut short", "an image file", "absent", "a folder", "CT", "a report", "two echoes"])
def test_what_is_no_header_of_one_mr_scan_is_refused_naming_the_scan_and_no_path(visits, tmp_path, name):
    path, code = bad(tmp_path)[name]
    with pytest.raises(InputError) as caught:
        read_case(job(visits, post_header=str(path)))
    said = str(caught.value)
    assert caught.value.code == code and caught.value.what.startswith("The DICOM header of the post-treatment scan: ") and caught.value.fix
    assert str(tmp_path) not in said and not any(secret in said for secret in SECRETS)


@pytest.mark.skipif(os.name != "posix", reason="named pipes are POSIX")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.dcm")
    with pytest.raises(InputError) as caught:
        read_scan_header(tmp_path / "pipe.dcm")
    assert caught.value.code == "MRD-E241"


def test_a_header_larger_than_the_limit_is_refused(tmp_path):
    path = header(tmp_path / "a.dcm")
    with pytest.raises(InputError) as caught:
        read_scan_header(path, GateLimits(max_file_bytes=500))
    assert caught.value.code == "MRD-E203"


def test_an_enhanced_file_of_one_volume_tells_its_facts(tmp_path):
    file = read_scan_header(save(enhanced(np.zeros((1, 4, 6, 6), np.int16)), tmp_path / "one.dcm")).file
    assert (file.echo_time_ms, file.repetition_time_ms, file.modality) == (100.0, 4500.0, "MR")


def test_check_tells_a_bad_header_among_the_others(visits, tmp_path):
    (tmp_path / "text.dcm").write_bytes(b"text" * 100)
    found = inspect(job(visits, pre_header=str(tmp_path / "text.dcm"), pre_mask=str(tmp_path / "none.nrrd")))
    assert {error.code for error in found.errors} == {"MRD-E241", "MRD-E100"}
    good = inspect(job(visits))
    assert "pair  120 days apart" in good.lines and any("MR T2" in line and "3 T" in line for line in good.lines)
