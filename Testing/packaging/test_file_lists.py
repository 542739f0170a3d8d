"""What CMake lists is what lies on the disk: a forgotten file is the classic fault of a packaged extension."""

from __future__ import annotations

import shutil

import pytest

from Testing.packaging.file_lists import LISTS, REPOSITORY, differences

NAMES = [each.variable for each in LISTS]


@pytest.mark.parametrize("file_list", LISTS, ids=NAMES)
def test_every_file_is_listed_and_every_listed_file_exists(file_list):
    found = differences(file_list, REPOSITORY)
    assert not found, f"{file_list.cmake_file}, {file_list.variable}: {found}; write the lists anew: python -m Testing.packaging.file_lists"


@pytest.fixture
def copy(tmp_path):
    """The folders that are listed, without their history, free to be broken."""
    for name in ("MRDeltaNet", "MRDeltaNetLib", "Resources"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


NEW = {"MODULE_PYTHON_SCRIPTS": "MRDeltaNetPanel/pages/new_page.py", "MODULE_PYTHON_RESOURCES": "Resources/UI/NewPage.ui",
       "LIBRARY_PYTHON_SCRIPTS": "imaging/new_step.py", "LIBRARY_PYTHON_RESOURCES": "report/new_page.html", "SHIPPED_RESOURCES": "models/new/manifest.json"}


@pytest.mark.parametrize("file_list", LISTS, ids=NAMES)
def test_a_new_file_is_missed_then_written_and_its_loss_is_noticed(file_list, copy):
    name = NEW[file_list.variable]
    path = copy / file_list.base / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    assert differences(file_list, copy) == [f"not listed: {name}"]
    file_list.write(copy)
    assert not differences(file_list, copy)
    path.unlink()
    assert differences(file_list, copy) == [f"listed but missing: {name}"]


def test_a_name_that_stands_twice_is_told(copy):
    library = next(each for each in LISTS if each.variable == "LIBRARY_PYTHON_SCRIPTS")
    path = copy / library.cmake_file
    path.write_text(path.read_text().replace("  pipeline.py\n", "  pipeline.py\n  pipeline.py\n"))
    assert differences(library, copy) == ["listed twice: pipeline.py"]


def test_tests_and_byte_code_are_never_listed(copy):
    for file_list in LISTS:
        for folder in ("Testing/Python", "__pycache__"):
            place = copy / file_list.base / file_list.folders[0] / folder
            place.mkdir(parents=True, exist_ok=True)
            (place / ("self_test.py" if file_list.scripts else "self_test.txt")).touch()
        assert not differences(file_list, copy)


def test_a_list_that_is_written_in_another_form_is_refused(copy):
    path = copy / LISTS[0].cmake_file
    path.write_text(path.read_text().replace("set(MODULE_PYTHON_SCRIPTS\n", "file(GLOB MODULE_PYTHON_SCRIPTS\n"))
    with pytest.raises(ValueError, match="0 times"):
        differences(LISTS[0], copy)
