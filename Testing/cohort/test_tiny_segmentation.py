"""The whole chain of automatic segmentation on simulated pelvises, smaller than any that learns: it runs, goes on, and tells what it found."""

from __future__ import annotations

import csv
import json

import pytest
import SimpleITK as sitk

from MRDeltaNetLib.cohort.tiny_segmentation import TRAINED, Plan, run
from MRDeltaNetLib.errors import InputError
from Testing.imaging.test_nnunet_real import nnunet_python

pytestmark = pytest.mark.slow
PLAN = Plan(cases=4, external=0.5, coarse=True, spacing_mm_zyx=(5.0, 2.0, 2.0), patch_zyx=(16, 64, 64), features=(4, 8, 16), epochs=1, iterations=2)


def test_the_chain_runs_and_goes_on(tmp_path, monkeypatch):
    python = nnunet_python()
    monkeypatch.setenv("MRDELTANET_SETTINGS", str(tmp_path / "settings"))
    told = []
    found = run(tmp_path / "out", PLAN, python=python, progress=lambda done, message: told.append((done, message)))
    assert 0 <= found["lowest"] <= found["mean"] <= 1 and found["cases"] >= 1 and any(message.startswith("Epoch 1 of 1") for _, message in told)
    with open(tmp_path / "out" / "dice.csv") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == found["cases"] and json.loads((tmp_path / "out" / "dice.json").read_text())["mean"] == found["mean"]
    assert (tmp_path / "out" / "cases.png").stat().st_size > 1000
    mask = sitk.ReadImage(str(tmp_path / "out" / "masks" / f"{rows[0]['id']}.nrrd"))
    assert mask.GetSize() == sitk.ReadImage(str(tmp_path / "out" / "cohort" / rows[0]["id"] / "pre.nrrd")).GetSize()
    before = (tmp_path / "out" / TRAINED).stat().st_mtime_ns
    assert run(tmp_path / "out", PLAN, python=python)["mean"] == found["mean"] and (tmp_path / "out" / TRAINED).stat().st_mtime_ns == before


def test_without_a_held_out_case_nothing_is_claimed(tmp_path, monkeypatch):
    from MRDeltaNetLib.cohort import tiny_segmentation
    monkeypatch.setattr(tiny_segmentation, "_trained", lambda *given: {"model": "x"})
    with pytest.raises(InputError, match="MRD-E387"):
        run(tmp_path, Plan(cases=1, external=0.0, coarse=True), python=nnunet_python())
