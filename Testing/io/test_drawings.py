"""Masks that a program drew are known again by their voxels, wherever they went; made-up drawings."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.case import AUTOMATIC, EDITED, Timepoint
from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io import drawings
from MRDeltaNetLib.io.cases import _program
from MRDeltaNetLib.io.gate.headers import check_header
from MRDeltaNetLib.io.images import ReadMask, read_mask, write_image
from MRDeltaNetLib.io.jobs import Job
from Testing.imaging.shapes import STORAGES, stored

FACTS = {"nnunetv2": "2.8.1", "label": "Tumör \"A\" \\ B", "model": {"name": "Dataset501_Rectal", "sha256": "ab" * 32, "folds": ["0"]}, "volume_ml": 1.25,
         "certain_volume_ml": 1.0, "possible_volume_ml": 2.0}


@pytest.fixture
def scan():
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(100, 9, (9, 20, 24)).astype(np.float32))
    image.SetSpacing((0.7, 0.8, 3.0))
    image.SetOrigin((-12.5, 30.0, 7.25))
    turn = sitk.VersorTransform((0.2, 0.3, 1.0), 0.4)
    image.SetDirection(turn.GetMatrix())
    return image


def mask_of(scan, voxels=slice(5, 12)):
    values = np.zeros(scan.GetSize()[::-1], np.uint8)
    values[2:6, voxels, 6:15] = 1
    mask = sitk.GetImageFromArray(values)
    mask.CopyInformation(scan)
    return mask


def share_of(scan):
    share = sitk.Cast(mask_of(scan), sitk.sitkFloat32) * 0.8 + 0.1
    share.CopyInformation(scan)
    return share


@pytest.mark.parametrize("how", sorted(STORAGES))
def test_a_drawing_is_known_again_after_other_programs_stored_it_otherwise(scan, tmp_path, how):
    """A label map that comes back with permuted or flipped axes holds the same voxels at the same places: nobody edited it."""
    program = drawings.program_of(FACTS, mask_of(scan))
    write_image(stored(mask_of(scan), *STORAGES[how]), tmp_path / "back.nii.gz")
    back, _ = read_mask(tmp_path / "back.nii.gz", scan, role="pre")
    assert drawings.source(program, back) == AUTOMATIC
    assert drawings.source(program, mask_of(scan, slice(5, 13))) == EDITED
    assert drawings.source(None, back) == "drawn"


def test_what_drew_survives_the_header_of_a_file_letter_by_letter(scan, tmp_path):
    program = drawings.program_of(FACTS, mask_of(scan))
    write_image(mask_of(scan), tmp_path / "mask.nrrd", header=drawings.header_of(program))
    assert drawings.program_in(check_header(tmp_path / "mask.nrrd").texts) == program
    assert program["label"] == FACTS["label"] and len(program["mask_sha256"]) == 64
    assert json.loads(sitk.ReadImage(str(tmp_path / "mask.nrrd")).GetMetaData(drawings.KEY)) == program


def spoilt(**changes):
    program = {"program": "nnU-Net", "model_sha256": "ab" * 32, "mask_sha256": "cd" * 32} | changes
    return {drawings.KEY: json.dumps({name: value for name, value in program.items() if value is not None})}


@pytest.mark.parametrize("texts", [{}, {drawings.KEY: "{"}, {drawings.KEY: "[]"}, {drawings.KEY: "[" * 200}, spoilt(program=None), spoilt(program=3),
                                   spoilt(mask_sha256="../../etc"), spoilt(model_sha256=None)])
def test_a_header_that_says_nothing_usable_says_nothing(texts):
    assert drawings.program_in(texts) is None


def test_only_what_we_write_is_taken_from_a_header_and_cut():
    found = drawings.program_in(spoilt(model="x" * 500, patient="Doe^Jane", volume_ml=-3, certain_volume_ml=True, possible_volume_ml=2))
    assert set(found) == {"program", "model", "model_sha256", "mask_sha256", "possible_volume_ml"} and len(found["model"]) == 40


def test_probabilities_come_back_with_what_drew(scan, tmp_path):
    program = drawings.program_of(FACTS, mask_of(scan))
    write_image(share_of(scan), tmp_path / "p.nrrd", header=drawings.header_of(program))
    share, told = drawings.read_probability(tmp_path / "p.nrrd", scan)
    assert told == program and np.array_equal(sitk.GetArrayFromImage(share), sitk.GetArrayFromImage(share_of(scan)))
    assert share.GetOrigin() == scan.GetOrigin() and share.GetDirection() == scan.GetDirection()


def test_a_dicom_segmentation_that_nobody_drew_gets_its_model_from_the_probabilities(scan, tmp_path):
    """It names an algorithm but keeps no digest, so the probabilities say whether its voxels are still the program's."""
    program = drawings.program_of(FACTS, mask_of(scan))
    write_image(share_of(scan), tmp_path / "p.nrrd", header=drawings.header_of(program))
    job = Job(tmp_path, tmp_path, tmp_path, pre_mask=tmp_path, pre_probability=tmp_path / "p.nrrd")
    for mask, wanted in ((mask_of(scan), AUTOMATIC), (mask_of(scan, slice(5, 13)), EDITED)):
        told, share = _program(ReadMask(mask, algorithm="a network"), job, "pre", Timepoint(scan), GateLimits())
        assert told == program and share is not None and drawings.source(told, mask) == wanted
    alone, nothing = _program(ReadMask(mask_of(scan), algorithm="a network"), Job(tmp_path, tmp_path, tmp_path, pre_mask=tmp_path), "pre", Timepoint(scan), GateLimits())
    assert alone == {"program": "a network"} and nothing is None and drawings.source(alone, mask_of(scan)) == AUTOMATIC
    assert drawings.unedited(alone, mask_of(scan), "it") == () and drawings.in_words(alone) == "a network"


@pytest.mark.parametrize("spoil, found", [("no header", "does not say"), ("beyond one", "no probabilities"), ("whole numbers", "no probabilities"), ("other grid", "the scan")])
def test_what_are_no_probabilities_of_this_scan_is_refused(scan, tmp_path, spoil, found):
    header = drawings.header_of(drawings.program_of(FACTS, mask_of(scan)))
    image = {"beyond one": share_of(scan) * 2, "whole numbers": mask_of(scan), "other grid": share_of(scan)[1:, :, :]}.get(spoil, share_of(scan))
    write_image(image, tmp_path / "p.nrrd", header=None if spoil == "no header" else header)
    with pytest.raises(InputError, match="MRD-E390") as caught:
        drawings.read_probability(tmp_path / "p.nrrd", scan)
    assert found in caught.value.text() and str(tmp_path) not in caught.value.text()
