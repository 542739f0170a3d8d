"""Would the Extensions Index take us? Its own rules, without network."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from Testing.packaging import index_rules
from Testing.packaging.file_lists import REPOSITORY

NAME = "MRDeltaNet"
ENTRY = REPOSITORY / f"{NAME}.json"
CMAKE = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
TUTORIAL_PICTURES = ("scans", "align", "tumour", "predict", "explain", "report")
"""Screenshots of the six steps, Resources/Screenshots/NAME.png; one that exists must be shown."""


def test_the_entry_is_accepted():
    assert index_rules.entry_problems(ENTRY) == []


def test_the_cmake_file_is_accepted():
    entry = json.loads(ENTRY.read_text(encoding="utf-8"))
    assert index_rules.cmake_problems(CMAKE, NAME, REPOSITORY, entry["build_dependencies"]) == []
    assert index_rules.value(CMAKE, "EXTENSION_CATEGORY") == entry["category"]
    assert index_rules.value(CMAKE, "EXTENSION_TIER") == str(entry["tier"])
    assert entry["scm_url"].removesuffix(".git") == index_rules.value(CMAKE, "EXTENSION_HOMEPAGE")


def test_no_picture_that_is_listed_is_missing_and_no_screenshot_is_left_out():
    listed = index_rules.pictures(CMAKE)
    home = index_rules.value(CMAKE, "EXTENSION_HOMEPAGE")
    missing = [problem for url in listed for problem in index_rules.picture_problems(url, home, REPOSITORY)]
    assert not missing, missing
    there = {f"Resources/Screenshots/{name}.png" for name in TUTORIAL_PICTURES if (REPOSITORY / f"Resources/Screenshots/{name}.png").is_file()}
    shown = {index_rules.picture_file(url, home, REPOSITORY).relative_to(REPOSITORY).as_posix() for url in listed}
    assert there <= shown, f"EXTENSION_SCREENSHOTURLS leaves out {sorted(there - shown)}"


def test_licence_and_readme_are_ours():
    assert index_rules.licence_problems(REPOSITORY) == []
    for variable in ("EXTENSION_README_FILE", "EXTENSION_LICENSE_FILE"):
        named = CMAKE.split(f'set({variable} "${{CMAKE_CURRENT_SOURCE_DIR}}/')[1].split('"')[0]
        assert (REPOSITORY / named).is_file(), f"{variable} names {named}, which is missing: Slicer would stop configuring"


def test_the_repository_with_its_history_is_small_enough():
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split("\0")
    files = sum((REPOSITORY / name).stat().st_size for name in tracked if name and (REPOSITORY / name).is_file())
    counted = subprocess.run(["git", "count-objects", "-v"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    history = 1024 * sum(int(line.split()[1]) for line in counted.splitlines() if line.startswith(("size:", "size-pack:")))
    assert index_rules.size_problems(files, history) == []


def write_entry(folder: Path, name: str = NAME, **changes) -> Path:
    """The entry with some keys changed (None takes a key away), as NAME.json in a folder."""
    entry = {key: value for key, value in (json.loads(ENTRY.read_text()) | changes).items() if value is not None}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(entry, indent=2) + "\n")
    return path


@pytest.mark.parametrize("changes, said", [
    ({"category": "Oncology"}, "not accepted"), ({"scm_url": "https://github.com/MRDeltaNet/MRDeltaNet.git"}, "does not begin"),
    ({"scm_url": "git@github.com:MRDeltaNet/SlicerMRDeltaNet.git"}, "neither git nor https"), ({"scm_url": "http://example.org/SlicerMRDeltaNet"}, "neither"),
    ({"tier": "1"}, "tier is str"), ({"tier": True}, "tier is bool"), ({"tier": 6}, "not 1 to 5"), ({"homepage": "x"}, "unknown key"),
    ({"scm_url": None}, "key missing"),
    ({"build_dependencies": "PyTorch"}, "is str"), ({"build_dependencies": [1]}, "not names"), ({"scm_type": "svn"}, "neither git"),
    ({"$schema": "https://example.org/schema.json#"}, "$schema is"), ({"enabled": 1}, "enabled is int")])
def test_a_wrong_entry_is_refused(changes, said, tmp_path):
    assert any(said in problem for problem in index_rules.entry_problems(write_entry(tmp_path, **changes)))


def test_a_name_that_begins_with_slicer_is_refused(tmp_path):
    assert index_rules.entry_problems(write_entry(tmp_path, name="SlicerMRDeltaNet")) == ["the name begins with 'Slicer'"]


@pytest.mark.parametrize("old, new, said", [(b"\n", b"\r\n", "line ends"), (b"{", b"{{", "no JSON"), (b"  ", b"\t", "a tab"), (b"}\n", b"}", "no line end"),
                                            (b"main", b"\xff", "not UTF-8")])
def test_a_file_in_another_form_is_refused(old, new, said, tmp_path):
    path = write_entry(tmp_path)
    path.write_bytes(path.read_bytes().replace(old, new))
    assert any(said in problem for problem in index_rules.entry_problems(path))


@pytest.mark.parametrize("old, new, said", [
    ("project(MRDeltaNet)", "project(DeltaNet)", "is not MRDeltaNet"),
    ('main/Resources/MRDeltaNet.png")', 'main/Resources/gone.png")', "missing on disk: Resources/gone.png"),
    ('main/Resources/MRDeltaNet.png")', 'main/README.md")', "no PNG"),
    ('main/Resources/MRDeltaNet.png")', 'main/docs/pictures/report.png")', "not 128 x 128"),
    ("raw.githubusercontent.com", "github.com", "no raw address"),
    ('report.png")', 'report.png?raw=true")', "no raw address"),
    ('report.png")', 'report.png" )', "EXTENSION_SCREENSHOTURLS is not one quoted string"),
    ('set(EXTENSION_ICONURL "https', 'set(EXTENSION_ICONURL "${HOME_URL}https', "EXTENSION_ICONURL is not one quoted string"),
    ("Research use only. The", "Research use only; the", "semicolon"),
    ('set(EXTENSION_DEPENDS "PyTorch")', 'set(EXTENSION_DEPENDS "NA")', "is not build_dependencies"),
    ('set(EXTENSION_DEPENDS "PyTorch")', 'set(EXTENSION_DEPENDS PyTorch)', "EXTENSION_DEPENDS is not one quoted string")])
def test_a_wrong_cmake_file_is_refused(old, new, said):
    assert old in CMAKE
    assert any(said in problem for problem in index_rules.cmake_problems(CMAKE.replace(old, new), NAME, REPOSITORY, ["PyTorch"]))


def test_a_missing_licence_and_a_large_repository_are_refused(tmp_path):
    assert index_rules.licence_problems(tmp_path) == ["no licence file in the repository's root"]
    assert index_rules.size_problems(60 * 1024 ** 2, 39 * 1024 ** 2) == []
    assert index_rules.size_problems(60 * 1024 ** 2, 41 * 1024 ** 2) != []
