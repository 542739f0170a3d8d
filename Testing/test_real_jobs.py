"""The whole job on real scans of other organs: no public pre/post rectal MRI exists.

Every probability here comes from the demo model on images that it was not made for; none is looked at, only that the job's image
steps are right.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.io.jobs import job_from_mapping
from MRDeltaNetLib.runner import run_job
from Testing.simulated import corners_mm

pytestmark = pytest.mark.slow

PROSTATE = "prostatex_dicom/ProstateX-0000/07-07-2011/4.000000-t2tsetra-00702"
RECTUM_MM = (1.0, 60.0, 10.0)
"""A point in the rectal wall of ProstateX-0000, LPS mm, relative to the middle of the scan (see tumour_centre)."""


def ball(image: sitk.Image, centre_mm, radius_mm: float) -> sitk.Image:
    """A ball as a mask on the image's grid."""
    z, y, x = np.indices(image.GetSize()[::-1])
    matrix = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    points = np.stack([x, y, z], axis=-1) @ matrix.T + np.array(image.GetOrigin())
    mask = sitk.GetImageFromArray((np.linalg.norm(points - centre_mm, axis=-1) <= radius_mm).astype(np.uint8))
    mask.CopyInformation(image)
    return mask


def written(image: sitk.Image, path: Path) -> str:
    sitk.WriteImage(image, str(path), True)
    return str(path)


def readable(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of a folder by name, unpacked: members of an .mrb, and NRRD headers beside their unpacked voxels."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".mrb":
            with zipfile.ZipFile(path) as scene:
                yield from ((f"{path.name}: {name}", unpacked(scene.read(name))) for name in scene.namelist())
        elif path.is_file():
            yield path.name, unpacked(path.read_bytes())


def unpacked(content: bytes) -> bytes:
    """The bytes, followed by the voxels of a NRRD that holds them gzipped."""
    header, blank, voxels = content.partition(b"\n\n")
    return content + gzip.decompress(voxels) if blank and content.startswith(b"NRRD") and b"encoding: gz" in header else content


def run(**job):
    return run_job(job_from_mapping({"device": "cpu", "progress": "none"} | job))


@pytest.fixture(scope="module")
def brain(real_data, tmp_path_factory):
    """Both visits' T2 of the MS patient through the whole job, with a ball around a lesion-free point as the 'tumour'."""
    data, folder = real_data("ms_longitudinal/patient01"), tmp_path_factory.mktemp("brain")
    pre = sitk.ReadImage(str(data / "study1_T2W.nii.gz"), sitk.sitkFloat32)
    centre = pre.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in pre.GetSize()])
    mask = written(ball(pre, np.array(centre), 12.0), folder / "mask.nrrd")
    return data, run(pre=data / "study1_T2W.nii.gz", post=data / "study2_T2W.nii.gz", pre_mask=mask, out=folder / "out")


def test_two_visits_of_a_brain_are_aligned_to_below_one_millimetre(brain):
    """Mean target registration error at the reference points, which start about 10 mm apart.

    The points lie in FLAIR space of each visit; the file beside them carries FLAIR LPS to T2 LPS of the same visit.
    """
    data, outcome = brain
    to_t2 = [sitk.ReadTransform(str(data / f"study{visit}_T2W_intrastudy_to_FLAIR.txt")) for visit in (1, 2)]
    with open(data / "reference_points_LPS.csv", newline="") as file:
        rows = [[float(value) for value in list(row.values())[-6:]] for row in csv.DictReader(file)]
    first = [to_t2[0].TransformPoint(row[:3]) for row in rows]
    second = [to_t2[1].TransformPoint(row[3:]) for row in rows]
    before = np.linalg.norm(np.subtract(first, second), axis=1).mean()
    after = np.linalg.norm(np.subtract([outcome.result.transform.TransformPoint(point) for point in first], second), axis=1)
    assert len(rows) == 60 and before > 5.0
    assert after.mean() < 1.0, f"{before:.1f} mm before, {after.mean():.2f} mm after, worst {after.max():.2f}"


def test_each_map_of_a_real_pair_lies_on_its_own_scan_s_grid(brain):
    data, outcome = brain
    for name, visit in (("attention_pre", 1), ("attention_post", 2), ("change_post", 2)):
        scan, written_map = sitk.ReadImage(str(data / f"study{visit}_T2W.nii.gz")), sitk.ReadImage(str(outcome.out / f"{name}.nrrd"))
        assert written_map.GetSize() == scan.GetSize()
        assert np.abs(corners_mm(written_map) - corners_mm(scan)).max() < 1e-3
        assert sitk.GetArrayFromImage(written_map).max() > 0


def test_the_report_of_a_real_pair_names_no_file_and_no_folder(brain):
    data, outcome = brain
    for name in ("report.html", "result.json", "manifest.json"):
        text = (outcome.out / name).read_text(encoding="utf-8")
        assert "patient01" not in text and "study1" not in text and str(data) not in text


@pytest.fixture(scope="module")
def prostate(real_data, tmp_path_factory):
    """A real pelvis from DICOM, and a second visit made from it: moved rigidly, darkened in the 'tumour' as fibrosis would, new noise."""
    series, folder = real_data(PROSTATE), tmp_path_factory.mktemp("prostate")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
    pre = sitk.Cast(reader.Execute(), sitk.sitkFloat32)
    middle = np.array(pre.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in pre.GetSize()]))
    tumour = ball(pre, middle + RECTUM_MM, 14.0)
    truth = sitk.Euler3DTransform(middle.tolist(), 0.05, -0.03, 0.08, (6.0, -4.0, 3.5))          # pre LPS -> post LPS
    treated = sitk.Cast(pre, sitk.sitkFloat32) * (1.0 - 0.5 * sitk.SmoothingRecursiveGaussian(sitk.Cast(tumour, sitk.sitkFloat32), 1.0))
    grid = sitk.Image(pre.GetSize(), sitk.sitkFloat32)
    grid.SetSpacing(pre.GetSpacing())
    grid.SetDirection(pre.GetDirection())
    grid.SetOrigin(np.add(pre.GetOrigin(), (5.0, -5.0, 2.0)).tolist())
    post = sitk.Resample(treated, grid, truth.GetInverse(), sitk.sitkBSpline, 0.0)
    post = sitk.AdditiveGaussianNoise(sitk.Clamp(post, lowerBound=0.0), standardDeviation=8.0, seed=4)
    bed = sitk.Resample(tumour, grid, truth.GetInverse(), sitk.sitkNearestNeighbor, 0)
    outcome = run(pre=series, post=written(sitk.Cast(post, sitk.sitkFloat32), folder / "post.nrrd"), pre_mask=written(tumour, folder / "pre_mask.nrrd"),
                  post_mask=written(bed, folder / "bed.nrrd"), out=folder / "out")
    return series, truth, middle, tumour, outcome


def test_a_known_movement_of_a_real_pelvis_is_recovered(prostate):
    _, truth, middle, _, outcome = prostate
    points = [middle + np.array(offset) for offset in ((0, 0, 0), (40, 0, 0), (-40, 0, 0), (0, 40, 0), (0, -40, 0), (0, 0, 20), (0, 0, -20))]
    error = [np.linalg.norm(np.subtract(outcome.result.transform.TransformPoint(p.tolist()), truth.TransformPoint(p.tolist()))) for p in points]
    assert np.mean(error) < 0.5, error


def test_the_job_reads_the_dicom_series_as_simpleitk_does(prostate):
    series, *_, outcome = prostate
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
    theirs, ours = reader.Execute(), outcome.result.images["pre"]
    assert np.array_equal(sitk.GetArrayFromImage(theirs), sitk.GetArrayFromImage(ours))
    assert np.abs(corners_mm(theirs) - corners_mm(ours)).max() < 1e-6


def test_the_whole_job_ends_with_a_probability_and_every_file(prostate):
    outcome = prostate[-1]
    assert 0.0 <= outcome.result.p_pcr <= 1.0
    assert {"result.json", "report.html", "attention_post.nrrd", "attention_pre.nrrd", "change_post.nrrd", "manifest.json"} <= set(outcome.files)


def test_nothing_in_the_output_names_the_patient(prostate):
    """Name, identifier, dates, UIDs and folder of the real series occur in no file, packed ones included (F 130)."""
    series, *_, outcome = prostate
    header = pydicom.dcmread(next(series.glob("*.dcm")), stop_before_pixels=True)
    words = {str(header.get(name, "")) for name in ("PatientName", "PatientID", "PatientBirthDate", "StudyDate", "SeriesDate", "AcquisitionDate", "SeriesInstanceUID",
                                                    "StudyInstanceUID", "FrameOfReferenceUID", "AccessionNumber")}
    words = {word for word in words if len(word) >= 6} | {"ProstateX-0000", series.name}
    contents = dict(readable(outcome.out))
    if importlib.util.find_spec("slicer"):
        assert any(name.endswith(".mrml") for name in contents)
    for name, content in contents.items():
        found = [word for word in words if word.encode() in content or word.encode("utf-16-le") in content]
        assert not found, f"{name} holds {len(found)} identifying values"


def test_the_manifest_names_every_input_by_its_digest(prostate):
    series, *_, outcome = prostate
    manifest = json.loads((outcome.out / "manifest.json").read_text())
    assert len(manifest["inputs"]["pre_sha256"]) == len(list(series.glob("*.dcm")))
    assert len(manifest["inputs"]["post_sha256"]) == 1


def test_the_outline_of_a_real_pelvis_leaves_as_a_dicom_segmentation_and_comes_back_voxel_for_voxel(prostate, tmp_path):
    """Only where it was agreed to, into a folder of its own; read back by highdicom alone and as the mask of another run."""
    highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed, so DICOM segmentations cannot be written")
    from MRDeltaNetLib.errors import UsageError
    from MRDeltaNetLib.io.images import read_image, read_mask
    from MRDeltaNetLib.seg_export import export_segmentations
    series, _, _, tumour, outcome = prostate
    with pytest.raises(UsageError):
        export_segmentations(outcome.out, tmp_path / "dicom", {"pre": series})
    assert export_segmentations(outcome.out, tmp_path / "dicom", {"pre": series}, patient_data=True) == ("pre_segmentation.dcm",)
    seg = highdicom.seg.segread(tmp_path / "dicom" / "pre_segmentation.dcm")
    volume = seg.get_volume(segment_numbers=[1])
    indices = np.argwhere(volume.array[..., 0])
    places = (np.c_[indices, np.ones(len(indices))] @ volume.affine.T)[:, :3]
    found = {tumour.TransformPhysicalPointToIndex(place) for place in places.tolist()}
    assert found == {tuple(map(int, index[::-1])) for index in np.argwhere(sitk.GetArrayViewFromImage(tumour))}
    scan = read_image(series)
    again, notices = read_mask(tmp_path / "dicom" / "pre_segmentation.dcm", scan.image, role="pre", frame_uid=scan.frame_uid)
    assert np.array_equal(sitk.GetArrayFromImage(again), sitk.GetArrayFromImage(tumour)) and [notice.code for notice in notices] == ["MRD-W306"]
