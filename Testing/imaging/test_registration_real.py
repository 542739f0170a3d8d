"""Alignment of real scans: one patient's two brain visits, and a real pelvis moved by a known transform."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.imaging.registration import align


def visits(folder: Path) -> tuple[sitk.Image, sitk.Image, np.ndarray, np.ndarray]:
    """T2 of both visits, and the reference points in each visit's T2 space (LPS, mm).

    The points are given in FLAIR space; the transforms beside them resample T2 onto FLAIR, so they carry FLAIR points to T2.
    """
    table = np.genfromtxt(folder / "reference_points_LPS.csv", delimiter=",", skip_header=1)
    scans, points = [], []
    for visit, columns in ((1, slice(4, 7)), (2, slice(7, 10))):
        scans.append(sitk.ReadImage(str(folder / f"study{visit}_T2W.nii.gz")))
        to_t2 = sitk.ReadTransform(str(folder / f"study{visit}_T2W_intrastudy_to_FLAIR.txt"))
        points.append(np.array([to_t2.TransformPoint(point) for point in table[:, columns].tolist()]))
    return *scans, *points


def pelvis(folder: Path) -> sitk.Image:
    """The axial T2 of the real pelvis."""
    series = next(path for path in sorted(folder.rglob("*")) if path.is_dir() and "t2tsetra" in path.name)
    return sitk.Cast(sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(series))), sitk.sitkFloat32)


def later_visit(scan: sitk.Image, transform: sitk.Transform, rng: np.random.Generator) -> sitk.Image:
    """The same pelvis moved (transform carries scan LPS to the new LPS), on another grid, with coil shading and noise of 5 %."""
    blank = sitk.Image([320, 320, 18], sitk.sitkFloat32)
    blank.SetSpacing((0.6, 0.6, 3.3))
    blank.SetDirection(scan.GetDirection())
    middle = [image.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in image.GetSize()]) for image in (scan, blank)]
    blank.SetOrigin(np.subtract(middle[0], middle[1]).tolist())
    image = sitk.Resample(scan, blank, transform.GetInverse(), sitk.sitkBSpline3, 0.0)
    array = np.clip(sitk.GetArrayFromImage(image), 0, None)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, size) for size in array.shape], indexing="ij")
    array *= np.exp(0.25 * x - 0.2 * y + 0.2 * x * y + 0.1 * z)
    sd = 0.05 * np.percentile(array, 95)
    noisy = sitk.GetImageFromArray(np.hypot(array + rng.normal(size=array.shape) * sd, rng.normal(size=array.shape) * sd).astype(np.float32))
    noisy.CopyInformation(image)
    return noisy


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_two_visits_of_a_patient_meet_within_a_millimetre(real_data, seed):
    first, second, here, there = visits(real_data("ms_longitudinal/patient01"))
    assert np.linalg.norm(here - there, axis=1).mean() > 10.0
    found = align(first, second, seed=seed)
    errors = np.linalg.norm([np.subtract(found.transform.TransformPoint(p), q) for p, q in zip(here.tolist(), there)], axis=1)
    assert errors.mean() < 1.0 and errors.max() < 1.5


def test_the_other_way_round_is_the_inverse(real_data):
    first, second, here, there = visits(real_data("ms_longitudinal/patient01"))
    back = align(second, first).transform
    errors = np.linalg.norm([np.subtract(back.TransformPoint(q), p) for p, q in zip(here, there.tolist())], axis=1)
    assert errors.mean() < 1.0


@pytest.mark.parametrize("seed", [0, 1])
def test_a_known_move_of_a_real_pelvis_is_found_within_half_a_millimetre(real_data, seed):
    scan, rng = pelvis(real_data("prostatex_dicom/ProstateX-0000")), np.random.default_rng(seed)
    middle = scan.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in scan.GetSize()])
    truth = sitk.Euler3DTransform(middle, *np.radians(rng.uniform(-4, 4, 3)).tolist(), rng.uniform(-6, 6, 3).tolist())
    found = align(scan, later_visit(scan, truth, rng), seed=seed)
    points = np.add(middle, list(itertools.product((-60, 0, 60), (-60, 0, 60), (-25, 0, 25)))).tolist()
    errors = np.linalg.norm([np.subtract(found.transform.TransformPoint(p), truth.TransformPoint(p)) for p in points], axis=1)
    assert errors.mean() < 0.5 and errors.max() < 1.0


def test_a_brain_and_a_pelvis_are_refused(real_data):
    brain = visits(real_data("ms_longitudinal/patient01"))[0]
    body = pelvis(real_data("prostatex_dicom/ProstateX-0000"))
    for pair in ((brain, body), (body, brain)):
        with pytest.raises(InputError) as caught:
            align(*pair)
        assert caught.value.code in ("MRD-E601", "MRD-E602", "MRD-E603") and caught.value.fix


def test_the_same_scan_twice_stays_where_it_is(real_data):
    scan = pelvis(real_data("prostatex_dicom/ProstateX-0000"))
    found = align(scan, scan)
    middle = scan.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in scan.GetSize()])
    points = np.add(middle, list(itertools.product((-60, 0, 60), (-60, 0, 60), (-25, 0, 25)))).tolist()
    assert max(np.linalg.norm(np.subtract(found.transform.TransformPoint(p), p)) for p in points) < 0.3
