"""What ships: the wheel carries the library and the resources, and the one locator finds them there."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from Testing.packaging.file_lists import LISTS

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_the_wheel_holds_the_library_and_its_resources_are_found(tmp_path):
    built = subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(REPOSITORY)],
                           capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-2000:]
    wheel = next(tmp_path.glob("mrdeltanet-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    assert not [name for name in names if name.startswith(("Testing/", "docs/", "MRDeltaNet/"))]
    shipped = {f"MRDeltaNetLib/Resources/{name}" for each in LISTS if each.variable == "SHIPPED_RESOURCES" for name in each.wanted(REPOSITORY)}
    assert shipped == {name for name in names if name.startswith("MRDeltaNetLib/Resources/")}, "the Slicer extension and the wheel ship the same resources"
    code = ("from MRDeltaNetLib.resources import resource, DEMO_BUNDLE; from MRDeltaNetLib.io.bundle import read_bundle; "
            "place = resource(DEMO_BUNDLE); print(place); print(read_bundle(place).own['name'])")
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=tmp_path,
                          env={"PYTHONPATH": str(tmp_path / "installed"), "PATH": ""})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith(str(tmp_path / "installed"))


def test_the_constraints_pin_torch_and_everything_that_the_package_names():
    import re
    import tomllib
    pins = {re.split("==", line)[0].lower().replace("_", "-") for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if "==" in line}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [item for extra in project["optional-dependencies"].values() for item in extra]
    missing = {name for name in (re.split(r"[<>=\[; ]", item)[0].lower().replace("_", "-") for item in wanted) if name not in pins}
    assert not missing, f"constraints.txt does not pin {missing}"
    assert "torch==2.13.0" in (REPOSITORY / "constraints.txt").read_text()


def test_the_repository_stays_small():
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True).stdout.split("\0")
    sizes = {name: (REPOSITORY / name).stat().st_size for name in tracked if name and (REPOSITORY / name).is_file()}
    assert sum(sizes.values()) < 60e6 and max(sizes.values(), default=0) < 20e6
