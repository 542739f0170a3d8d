"""A cohort as a dataset for nnU-Net: by its rules, without a patient's name, resumable, and never with a held-out case."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.cohort.nnunet_dataset import CasesNotWritten, write_dataset
from MRDeltaNetLib.errors import Cancelled, EnvironmentProblem, InputError, UsageError
from MRDeltaNetLib.imaging.nnunet.environment import child_variables
from MRDeltaNetLib.io.cohort_table import read_cohort
from MRDeltaNetLib.io.drawings import header_of, voxels_sha256
from MRDeltaNetLib.io.images import read_image, write_image
from Testing.imaging.test_nnunet_real import nnunet_python
from Testing.simulated import small_pair, stored_otherwise, write_pair

COLUMNS = ("id", "pre", "post", "pre_mask", "post_mask", "set", "outcome")
ROWS = [{"id": "Doe-1", "folder": "a", "set": "train"}, {"id": "Doe-2", "folder": "b", "set": "train"}, {"id": "Doe-3", "folder": "c", "set": "external"},
        {"id": "Doe-4", "folder": "d", "set": "internal"}]


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    place = tmp_path_factory.mktemp("scans")
    for seed, name, copies in ((5, "a", "ceg"), (6, "b", "dfh")):
        write_pair(small_pair(seed), place / name)
        for other in copies:
            shutil.copytree(place / name, place / other)
    return place


@pytest.fixture
def table(tmp_path, scans):
    """table(rows) writes cohort.csv and reads it."""

    def write(rows=ROWS, **changes):
        with open(tmp_path / "cohort.csv", "w", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            for row in rows:
                files = {name: str(scans / row["folder"] / f"{name}.nrrd") for name in ("pre", "post", "pre_mask", "post_mask")}
                writer.writerow({"id": row["id"], "set": row["set"], "outcome": 1, **files} | row.get("files", {}))
        return read_cohort(tmp_path / "cohort.csv", require_outcome=False, require_files=False)

    return write


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_training_cases_get_running_numbers_and_nothing_else_gets_in(table, tmp_path):
    written = write_dataset(table(), tmp_path / "raw")
    assert (written.cases, written.made, written.held_out) == (2, 2, 2)
    assert names(written.folder) == ["dataset.json", "imagesTr/case_0001_0000.nii.gz", "imagesTr/case_0002_0000.nii.gz", "labelsTr/case_0001.nii.gz",
                                     "labelsTr/case_0002.nii.gz", "mrdeltanet-cases.json"]
    assert not any(b"Doe" in path.read_bytes() or str(tmp_path).encode() in path.read_bytes() for path in written.folder.rglob("*") if path.is_file())
    description = json.loads((written.folder / "dataset.json").read_text())
    assert description["numTraining"] == 2 and description["channel_names"] == {"0": "T2 before treatment"} and description["labels"] == {"background": 0, "tumour": 1}
    assert description["file_ending"] == ".nii.gz" and description["mrdeltanet"] == {"order": "LPS", "role": "pre"}


def test_scan_and_outline_are_those_of_the_table_however_they_were_stored(table, scans, tmp_path):
    for name in ("pre", "pre_mask"):
        image = sitk.ReadImage(str(scans / "a" / f"{name}.nrrd"))
        sitk.WriteImage(stored_otherwise(image, (2, 0, 1), (True, False, False)), str(tmp_path / f"{name}.nrrd"))
    rows = [ROWS[0], {"id": "turned", "folder": "e", "set": "train", "files": {name: str(tmp_path / f"{name}.nrrd") for name in ("pre", "pre_mask")}}]
    folder = write_dataset(table(rows), tmp_path / "raw").folder
    for kind, name in (("imagesTr", "case_{}_0000.nii.gz"), ("labelsTr", "case_{}.nii.gz")):
        first, second = (sitk.ReadImage(str(folder / kind / name.format(number))) for number in ("0001", "0002"))
        original = sitk.ReadImage(str(scans / "a" / ("pre.nrrd" if kind == "imagesTr" else "pre_mask.nrrd")))
        assert np.array_equal(sitk.GetArrayFromImage(first), sitk.GetArrayFromImage(original)) and np.array_equal(*map(sitk.GetArrayFromImage, (first, second)))
        np.testing.assert_allclose(first.GetOrigin(), original.GetOrigin(), atol=1e-3)
        np.testing.assert_allclose(first.GetDirection(), second.GetDirection(), atol=1e-6)


def test_both_channels_lie_on_the_first_scan_s_grid_after_alignment(table, scans, tmp_path):
    folder = write_dataset(table(ROWS[:1]), tmp_path / "raw", channels="pre+post").folder
    pre, post = (sitk.ReadImage(str(folder / "imagesTr" / f"case_0001_000{channel}.nii.gz")) for channel in (0, 1))
    assert pre.GetSize() == post.GetSize() and pre.GetOrigin() == post.GetOrigin() and pre.GetDirection() == post.GetDirection()
    pair = small_pair(5)
    truth = sitk.Resample(pair.post, pair.pre, pair.transform_pre_to_post, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    apart = sitk.Resample(pair.post, pair.pre, sitk.Transform(3, sitk.sitkIdentity), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    found, wanted, without = (sitk.GetArrayFromImage(image).ravel() for image in (post, truth, apart))
    assert np.corrcoef(found, wanted)[0, 1] > 0.95 > np.corrcoef(without, wanted)[0, 1]
    assert json.loads((folder / "dataset.json").read_text())["mrdeltanet"]["second"] == "post"


def test_a_bad_case_stops_no_other_and_is_listed(table, tmp_path):
    broken = tmp_path / "broken.nrrd"
    broken.write_bytes(b"NRRD0004\n")
    rows = [{"id": "bad", "folder": "e", "set": "train", "files": {"pre": str(broken)}}, {"id": "no mask", "folder": "g", "set": "train", "files": {"pre_mask": ""}}, *ROWS]
    with pytest.raises(CasesNotWritten, match="MRD-E386") as caught:
        write_dataset(table(rows), tmp_path / "raw")
    assert caught.value.exit_status == 7 and caught.value.written.made == 2
    with open(tmp_path / "raw" / "Dataset501_RectalTumour-failures.csv") as stream:
        listed = list(csv.DictReader(stream))
    assert [row["id"] for row in listed] == ["bad", "no mask"] and listed[1]["code"] == "MRD-E388" and all(row["fix"] for row in listed)
    assert json.loads((caught.value.written.folder / "dataset.json").read_text())["numTraining"] == 2
    written = write_dataset(table(), tmp_path / "raw")
    assert (written.made, written.kept) == (0, 2)


def test_an_outline_in_the_air_around_the_patient_is_no_case(table, scans, tmp_path):
    mask = sitk.ReadImage(str(scans / "e" / "pre_mask.nrrd"))
    voxels = np.zeros_like(sitk.GetArrayFromImage(mask))
    voxels[len(voxels) // 2 - 2:len(voxels) // 2 + 3, 1:6, 1:6] = 1
    moved = sitk.GetImageFromArray(voxels)
    moved.CopyInformation(mask)
    sitk.WriteImage(moved, str(tmp_path / "air.nrrd"))
    with pytest.raises(CasesNotWritten) as caught:
        write_dataset(table([{"id": "air", "folder": "e", "set": "train", "files": {"pre_mask": str(tmp_path / "air.nrrd")}}, *ROWS]), tmp_path / "raw")
    assert [failure.code for failure in caught.value.written.failures] == ["MRD-E319"] and caught.value.written.made == 2


@pytest.mark.parametrize("channels", ["pre", "pre+post"])
def test_a_program_s_own_outlines_are_told_before_another_learns_from_them(table, scans, tmp_path, channels):
    mask = sitk.ReadImage(str(scans / "a" / "pre_mask.nrrd"))
    write_image(mask, tmp_path / "drawn.nrrd", header=header_of({"program": "nnU-Net", "model_sha256": "ab" * 32, "mask_sha256": voxels_sha256(mask)}))
    rows = [ROWS[0] | {"files": {"pre_mask": str(tmp_path / "drawn.nrrd")}}, ROWS[1]]
    written = write_dataset(table(rows), tmp_path / "raw", channels=channels)
    assert (written.made, written.unedited) == (2, 1) and "1 of the outlines" in written.text()
    assert "of the outlines" not in write_dataset(table(rows), tmp_path / "raw", channels=channels).text()


def test_an_outline_has_to_share_the_frame_of_reference_of_its_scan(table, tmp_path, monkeypatch):
    from MRDeltaNetLib.cohort import nnunet_dataset
    asked, read = [], nnunet_dataset.read_told_mask
    monkeypatch.setattr(nnunet_dataset, "read_image", lambda *given, **named: dataclasses.replace(read_image(*given, **named), frame_uid="1.2.3"))
    monkeypatch.setattr(nnunet_dataset, "read_told_mask", lambda *given, frame_uid, **named: asked.append(frame_uid) or read(*given, **named))
    write_dataset(table(), tmp_path / "raw")
    assert asked == ["1.2.3", "1.2.3"]


def test_a_run_goes_on_and_what_is_there_is_not_written_again(table, tmp_path):
    calls = []

    def stop(done: float, message: str) -> None:
        calls.append(message)
        if len(calls) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        write_dataset(table(), tmp_path / "raw", progress=stop)
    folder = tmp_path / "raw" / "Dataset501_RectalTumour"
    assert not (folder / "dataset.json").exists()
    first = folder / "imagesTr" / "case_0001_0000.nii.gz"
    stray = folder / "imagesTr" / "case_0002_0000.nii.gz"
    stray.write_bytes(first.read_bytes())                            # killed between a case's files
    before = first.stat().st_mtime_ns
    written = write_dataset(table(), tmp_path / "raw")
    assert (written.made, written.kept) == (1, 1) and first.stat().st_mtime_ns == before
    assert len(names(folder)) == 6


def test_a_case_that_is_held_out_now_is_taken_out_again(table, tmp_path):
    write_dataset(table(), tmp_path / "raw")
    written = write_dataset(table([ROWS[1], {"id": "Doe-1", "folder": "a", "set": "external"}]), tmp_path / "raw")
    assert (written.removed, written.kept) == (1, 1) and names(written.folder)[1:3] == ["imagesTr/case_0002_0000.nii.gz", "labelsTr/case_0002.nii.gz"]
    assert json.loads((written.folder / "dataset.json").read_text())["numTraining"] == 1


def test_the_key_is_written_on_request_and_never_inside(table, tmp_path):
    cohort = table()
    with pytest.raises(UsageError, match="MRD-E385"):
        write_dataset(cohort, tmp_path / "raw", key=tmp_path / "raw" / "Dataset501_RectalTumour" / "key.csv")
    write_dataset(cohort, tmp_path / "raw", key=tmp_path / "key.csv")
    with open(tmp_path / "key.csv") as stream:
        assert [(row["case"], row["id"]) for row in csv.DictReader(stream)] == [("case_0001", "Doe-1"), ("case_0002", "Doe-2")]


@pytest.mark.parametrize("options", [{"name": "a b"}, {"name": "../x"}, {"dataset_id": 0}, {"dataset_id": 1000}, {"channels": "post"}])
def test_impossible_names_are_refused(table, tmp_path, options):
    with pytest.raises(UsageError, match="MRD-E385"):
        write_dataset(table(), tmp_path / "raw", **options)


def test_another_dataset_is_not_touched(table, tmp_path):
    cohort, folder = table(), tmp_path / "raw" / "Dataset501_RectalTumour"
    folder.mkdir(parents=True)
    (folder / "something").write_text("x")
    with pytest.raises(EnvironmentProblem, match="MRD-E385"):
        write_dataset(cohort, tmp_path / "raw")
    with pytest.raises(UsageError, match="MRD-E385"):
        write_dataset(cohort, tmp_path / "raw", name="Other")
    write_dataset(cohort, tmp_path / "raw", dataset_id=7)
    with pytest.raises(EnvironmentProblem, match="MRD-E385"):
        write_dataset(cohort, tmp_path / "raw", dataset_id=7, channels="pre+post")


def test_a_table_without_training_cases_is_refused(table, tmp_path):
    for rows in (ROWS[2:], [{"id": "x", "folder": "a", "set": "train", "files": {"pre_mask": ""}}]):
        with pytest.raises(InputError, match="MRD-E387"):
            write_dataset(table(rows), tmp_path / "raw")


@pytest.mark.slow
@pytest.mark.parametrize("channels", ["pre", "pre+post"])
def test_nnunet_s_own_check_accepts_the_dataset(table, tmp_path, channels):
    python = nnunet_python()
    folder = write_dataset(table(), tmp_path / "raw", channels=channels).folder
    code = f"from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity as verify\nif __name__ == '__main__': verify({str(folder)!r}, 1)\n"
    (tmp_path / "verify.py").write_text(code)
    done = subprocess.run([str(python), str(tmp_path / "verify.py")], capture_output=True, text=True, env=child_variables(python), cwd=tmp_path)
    assert done.returncode == 0 and "verify_dataset_integrity Done" in done.stdout and "Warning" not in done.stdout, done.stdout + done.stderr



