"""The sample pair of the Slicer panel: made without anything that Slicer lacks, the same for a seed, refusals told as JSON."""

from __future__ import annotations

import json
import subprocess
import sys

import SimpleITK as sitk

from MRDeltaNetLib import sample
from MRDeltaNetLib.cohort.simulation import write_pair

NOT_IN_SLICER = ("torch", "monai", "safetensors", "typer", "rich", "pandas", "sklearn", "matplotlib", "lightning", "statsmodels")


def test_the_pair_is_that_of_the_simulation_and_needs_no_package_that_slicer_lacks(tmp_path, monkeypatch):
    small = {"size": (48, 48, 12)}
    code = ("import sys\n"
            f"for name in {NOT_IN_SLICER}: sys.modules[name] = None\n"
            "from MRDeltaNetLib import sample\nfrom MRDeltaNetLib.cohort import simulation\n"
            "real = simulation.simulate_pair\n"
            f"simulation.simulate_pair = lambda seed, **given: real(seed, **given, **{small})\n"
            f"sys.exit(sample.main([{str(tmp_path / 'pair')!r}, '--seed', '5']))\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0]["done"] < 1 and set(lines[-1]["finished"]["files"]) >= {"pre.nrrd", "post.nrrd", "pre_mask.nrrd", "post_mask.nrrd", "residual_mask.nrrd"}
    expected = write_pair(tmp_path / "expected", 5, **small)
    for name in ("pre", "post_mask"):
        assert (tmp_path / "pair" / f"{name}.nrrd").read_bytes() == expected[name].read_bytes()
    assert sitk.ReadImage(str(tmp_path / "pair" / "pre.nrrd")).GetSize() == small["size"]


def test_a_folder_that_cannot_be_made_is_told_as_an_error(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert sample.main([str(tmp_path / "file" / "pair")]) != 0
    assert "error" in json.loads(capsys.readouterr().out.splitlines()[-1])
