"""mrdeltanet dicom-seg: from a run's folder and its DICOM series to segmentations, and never by accident. Made-up series."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("highdicom", reason="highdicom is not installed, so DICOM segmentations cannot be written")

import pydicom  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from MRDeltaNetLib.case import Result  # noqa: E402
from MRDeltaNetLib.cli import app  # noqa: E402
from MRDeltaNetLib.io.images import read_image, read_mask, read_told_mask  # noqa: E402
from MRDeltaNetLib.io.results import write_results  # noqa: E402
from Testing.io.dicom_files import NAME, PATIENT_ID, write_series  # noqa: E402
from Testing.io.test_dicom_seg import GAP, ORIENTATIONS, SHAPE, SPACING, ragged  # noqa: E402


def call(*arguments):
    return CliRunner().invoke(app, ["dicom-seg", *map(str, arguments)])


@pytest.fixture
def run(tmp_path):
    """A finished run of two oblique DICOM series: tumour, carried bed, empty residual mask."""
    places, scans = {}, {}
    for visit, seed in (("pre", 1), ("post", 2)):
        voxels = np.random.default_rng(seed).integers(1, 900, SHAPE).astype(np.int16)
        places[visit] = write_series(tmp_path / visit, voxels, spacing=SPACING, gap=GAP, orientation=ORIENTATIONS["oblique"], series=f"1.2.3.{seed}")
        scans[visit] = read_image(places[visit])
    images = {}
    for key, visit, values in (("pre_mask", "pre", ragged(1)), ("post_mask", "post", ragged(2)), ("residual_mask", "post", 0 * ragged(2))):
        images[key] = sitk.GetImageFromArray(values)
        images[key].CopyInformation(scans[visit].image)
    result = Result(images=images, mask_sources={"pre": "drawn", "post": "carried", "residual": "drawn"})
    inputs = {f"{visit}_sha256": list(scan.facts.file_sha256) for visit, scan in scans.items()}
    write_results(result, tmp_path / "run", manifest={"inputs": inputs})
    return tmp_path, places, scans, images


def test_both_visits_are_written_linked_and_honest_about_who_drew(run):
    folder, places, scans, images = run
    done = call(folder / "run", "--pre", places["pre"], "--post", places["post"], "--out", folder / "dicom", "--with-patient-data")
    assert done.exit_code == 0, done.output
    pre, post = (pydicom.dcmread(folder / "dicom" / f"{visit}_segmentation.dcm") for visit in ("pre", "post"))
    assert [segment.SegmentAlgorithmType for segment in (*pre.SegmentSequence, *post.SegmentSequence)] == ["MANUAL", "SEMIAUTOMATIC", "MANUAL"]
    assert len({segment.TrackingUID for segment in (*pre.SegmentSequence, *post.SegmentSequence)}) == 1
    for key, visit, label in (("pre_mask", "pre", 1), ("post_mask", "post", "SCT:52988006"), ("residual_mask", "post", "Residual viable tumour")):
        found, _ = read_mask(folder / "dicom" / f"{visit}_segmentation.dcm", scans[visit].image, role="residual", label=label, may_be_empty=True,
                             frame_uid=scans[visit].frame_uid)
        assert np.array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(images[key]))


def test_the_tracking_uid_is_the_same_when_the_visits_are_written_one_after_the_other(run):
    folder, places, *_ = run
    for out, visits in (("both", ("pre", "post")), ("one", ("pre",))):
        assert call(folder / "run", *(part for visit in visits for part in (f"--{visit}", places[visit])), "--out", folder / out, "--with-patient-data").exit_code == 0
    first, second = (pydicom.dcmread(folder / out / "pre_segmentation.dcm") for out in ("both", "one"))
    assert first.SegmentSequence[0].TrackingUID == second.SegmentSequence[0].TrackingUID and first.SOPInstanceUID != second.SOPInstanceUID


def test_nothing_is_written_unless_the_patient_data_are_agreed_to(run):
    folder, places, *_ = run
    done = call(folder / "run", "--pre", places["pre"], "--out", folder / "dicom")
    assert done.exit_code == 2 and "MRD-E328" in done.output and "--with-patient-data" in done.output and not (folder / "dicom").exists()
    assert "MRD-E328" in call(folder / "run", "--out", folder / "dicom", "--with-patient-data").output


def test_a_runs_folder_never_gets_patient_data(run):
    folder, places, *_ = run
    for out in (folder / "run", folder / "run" / "dicom"):
        done = call(folder / "run", "--pre", places["pre"], "--out", out, "--with-patient-data")
        assert done.exit_code == 4 and "MRD-E329" in done.output
    for path in (folder / "run").rglob("*"):
        assert NAME.encode() not in path.read_bytes() and PATIENT_ID.encode() not in path.read_bytes()


def test_only_the_series_that_the_run_read_is_taken(run):
    folder, places, *_ = run
    done = call(folder / "run", "--pre", places["post"], "--out", folder / "dicom", "--with-patient-data")
    assert done.exit_code == 3 and "MRD-E327" in done.output and "run again" in done.output
    assert NAME not in done.output and PATIENT_ID not in done.output


def test_outlines_that_were_computed_name_what_computed_them(run):
    folder, places, *_ = run
    given = (folder / "run", "--pre", places["pre"], "--out", folder / "dicom", "--with-patient-data", "--made", "automatic")
    assert "MRD-E408" in call(*given).output
    assert call(*given, "--algorithm", "a network", "--algorithm-version", "3").exit_code == 0
    segment = pydicom.dcmread(folder / "dicom" / "pre_segmentation.dcm").SegmentSequence[0]
    assert segment.SegmentAlgorithmType == "AUTOMATIC" and segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "a network"


def test_a_run_whose_masks_were_changed_since_is_refused(run):
    folder, places, *_ = run
    (folder / "run" / "pre_mask.nrrd").write_bytes(b"NRRD0004\n")
    done = call(folder / "run", "--pre", places["pre"], "--out", folder / "dicom", "--with-patient-data")
    assert done.exit_code == 3 and "MRD-E884" in done.output


def test_a_run_without_masks_has_nothing_to_write(tmp_path, run):
    folder, places, scans, _ = run
    write_results(Result(), folder / "bare", manifest={"inputs": {"pre_sha256": list(scans["pre"].facts.file_sha256)}})
    assert json.loads((folder / "bare" / "manifest.json").read_text())["inputs"]
    done = call(folder / "bare", "--pre", places["pre"], "--out", folder / "dicom", "--with-patient-data")
    assert done.exit_code == 3 and "MRD-E838" in done.output


def test_what_the_program_made_never_passes_for_a_persons_work():
    from MRDeltaNetLib.seg_export import Making, _made
    assert _made("drawn", Making(), {}) == Making("manual")
    assert _made("carried", Making(), {}).origin == "semiautomatic" and _made("segmented", Making(), {}).origin == "automatic"


@pytest.mark.parametrize("source, wanted", [("automatic", "AUTOMATIC"), ("edited", "SEMIAUTOMATIC")])
def test_what_nnunet_drew_is_told_without_being_asked(run, source, wanted):
    folder, places, scans, images = run
    program = {"program": "nnU-Net", "version": "2.8.1", "model": "Dataset501_RectalTumour", "model_sha256": "ab" * 32, "mask_sha256": "cd" * 32}
    result = Result(images={"pre_mask": images["pre_mask"]}, mask_sources={"pre": source}, mask_programs={"pre": program})
    write_results(result, folder / "automatic", manifest={"inputs": {"pre_sha256": list(scans["pre"].facts.file_sha256)}})
    assert call(folder / "automatic", "--pre", places["pre"], "--out", folder / "dicom", "--with-patient-data").exit_code == 0
    segment = pydicom.dcmread(folder / "dicom" / "pre_segmentation.dcm").SegmentSequence[0]
    algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
    assert segment.SegmentAlgorithmType == wanted and algorithm.AlgorithmName == "nnU-Net Dataset501_RectalTumour"
    assert algorithm.AlgorithmVersion == "2.8.1 model SHA-256 abababababababab" and algorithm.AlgorithmFamilyCodeSequence[0].CodeMeaning == "Artificial Intelligence"
    back = read_told_mask(folder / "dicom" / "pre_segmentation.dcm", scans["pre"].image, role="pre", frame_uid=scans["pre"].frame_uid)
    assert back.algorithm == ("nnU-Net Dataset501_RectalTumour" if source == "automatic" else None)
