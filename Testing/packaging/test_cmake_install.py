"""The CMake tree is configured, built and installed, and what lies there is used as Slicer would use it: nothing of this checkout helps."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from Testing.packaging.file_lists import LISTS, REPOSITORY
from Testing.simulated import small_pair, write_pair

STUB = Path(__file__).resolve().parent / "slicer_stub"
SCRIPTED = "lib/Slicer-5.12/qt-scripted-modules"
MODULE_FILE = REPOSITORY / "MRDeltaNet" / "MRDeltaNet.py"
SLICER_LACKS = ("torch", "monai", "safetensors", "typer", "rich", "lightning", "sklearn", "statsmodels", "pandas", "matplotlib", "dask", "einops", "nibabel",
                "jsonschema", "slicer", "vtk", "vtkmodules")
"""Packages that a Slicer without extensions does not have (the last three: that a child process of it does not need)."""
NO_COMPILER = ("-DCMAKE_C_COMPILER_ID_RUN=1", "-DCMAKE_CXX_COMPILER_ID_RUN=1", "-DCMAKE_C_COMPILER_FORCED=1", "-DCMAKE_CXX_COMPILER_FORCED=1")
"""Nothing is compiled; without these CMake would look for a compiler, since project() names no language."""


def cmake_command() -> str:
    """The cmake beside this Python or on the PATH; the test is skipped, saying so, where there is none."""
    found = shutil.which("cmake", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if found is None or shutil.which("make") is None:
        pytest.skip("cmake or make is not here; 'pip install cmake' brings the first")
    return found


def configured(source: Path, build: Path) -> subprocess.CompletedProcess:
    """`cmake` on a source tree against the stand-in for Slicer."""
    cmake = cmake_command()
    return subprocess.run([cmake, "-S", str(source), "-B", str(build), "-G", "Unix Makefiles", f"-DSlicer_DIR={STUB}", *NO_COMPILER,
                           f"-DCMAKE_C_COMPILER={cmake}", f"-DCMAKE_CXX_COMPILER={cmake}"], capture_output=True, text=True)


def built_and_installed(build: Path, prefix: Path) -> Path:
    """Build, then install the component that an extension's package is made of; the folder where Slicer looks for modules."""
    cmake = cmake_command()
    for command in ([cmake, "--build", str(build)], [cmake, "--install", str(build), "--prefix", str(prefix), "--component", "RuntimeLibraries"]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return prefix / SCRIPTED


@pytest.fixture(scope="module")
def build(tmp_path_factory) -> Path:
    """The real tree, configured."""
    folder = tmp_path_factory.mktemp("build")
    done = configured(REPOSITORY, folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def installed(build, tmp_path_factory) -> Path:
    """The folder of scripted modules in the package."""
    return built_and_installed(build, tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """A folder whose sitecustomize makes a Python process one of Slicer's: none of SLICER_LACKS, and no other copy of the library in reach."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "sitecustomize.py").write_text(
        "import os, sys\n"
        "class Lacking:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {SLICER_LACKS!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Lacking())\n"
        "given = os.environ.get('PYTHONPATH', '').split(os.pathsep)\n"
        "sys.path[:] = [place for place in sys.path if place in given or not os.path.isfile(os.path.join(place, 'MRDeltaNetLib', '__init__.py'))]\n")
    return folder


def run_python(*arguments: str, paths: tuple[Path, ...], folder: Path) -> subprocess.CompletedProcess:
    """A fresh Python process with `paths` before everything else, started in a folder that holds nothing of ours."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-P", *arguments], capture_output=True, text=True, env=environment, cwd=folder)


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def expected() -> set[str]:
    """What the package must hold, below the folder of scripted modules."""
    places = {"MRDeltaNet": "", "MRDeltaNetLib": "MRDeltaNetLib/", "Resources": "MRDeltaNetLib/Resources/"}
    return {places[each.base] + name for each in LISTS for name in each.wanted(REPOSITORY)}


def test_the_package_holds_every_runtime_file_and_nothing_else(installed):
    assert files_below(installed) == expected()
    assert {"MRDeltaNet.py", "MRDeltaNetLib/__init__.py", "MRDeltaNetLib/report/frame.html", "MRDeltaNetLib/Resources/models/demo/manifest.json"} <= expected()


def test_no_file_beside_the_module_is_taken_for_a_module_and_no_test_is_shipped(installed):
    assert [path.name for path in installed.glob("*.py")] == ["MRDeltaNet.py"]
    assert not [path for path in installed.parents[1].rglob("*") if path.name == "Testing"]


def test_the_build_tree_can_be_run_from_as_well(build, installed):
    assert files_below(build / SCRIPTED) == expected()


def test_the_self_test_is_registered(build):
    ctest = Path(cmake_command()).with_name("ctest")
    listed = subprocess.run([str(ctest), "-N"], cwd=build, capture_output=True, text=True).stdout
    assert re.findall(r"Test +#\d+: (\S+)", listed) == ["py_MRDeltaNet"]


def test_library_and_resources_are_found_beside_the_module(installed, bare, tmp_path):
    code = "import MRDeltaNetLib; from MRDeltaNetLib.resources import resource; print(MRDeltaNetLib.__file__); print(resource('models/demo'))"
    done = run_python("-c", code, paths=(bare, installed), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == [str(installed / "MRDeltaNetLib" / "__init__.py"), str(installed / "MRDeltaNetLib" / "Resources" / "models" / "demo")]


def test_the_sample_pair_can_be_made_with_what_slicer_brings(installed, bare, tmp_path):
    code = ("import MRDeltaNetLib.cohort.simulation as simulation; from MRDeltaNetLib.imaging.phantom import simulate_pair; "
            "print(simulation.__file__, simulate_pair(5, size=(48, 48, 10)).pre.GetSize())")
    done = run_python("-c", code, paths=(bare, installed), folder=tmp_path)
    assert done.stdout.strip() == f"{installed / 'MRDeltaNetLib' / 'cohort' / 'simulation.py'} (48, 48, 10)", done.stderr


def test_a_child_process_runs_a_job_from_there(installed, bare, tmp_path):
    """As the panel starts it: `python -m MRDeltaNetLib run JOB.json`, one JSON object a line."""
    paths = write_pair(small_pair(), tmp_path / "pair")
    inputs = {key: paths[key] for key in ("pre", "post", "pre_mask", "post_mask")}
    job = inputs | {"out": "result", "steps": ["align", "masks"], "progress": "json", "registration": "none"}
    (tmp_path / "job.json").write_text(json.dumps(job))
    done = run_python("-m", "MRDeltaNetLib", "run", "job.json", paths=(bare, installed), folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(isinstance(json.loads(line), dict) for line in done.stdout.splitlines())
    assert (tmp_path / "result" / "result.json").is_file()


def appending_lines(module_file: Path) -> str:
    """The module file up to its sys.path.append, without what only Slicer can import."""
    kept = []
    for node in ast.parse(module_file.read_text(encoding="utf-8")).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module] if isinstance(node, ast.ImportFrom) else []
        if all(name.split(".")[0] in sys.stdlib_module_names for name in names):
            kept.append(ast.unparse(node))
        if "sys.path.append" in ast.unparse(node):
            return "\n".join(kept)
    raise AssertionError(f"{module_file.name} does not make the library beside it importable")


@pytest.mark.parametrize("place, found", [("checkout", True), ("package", False)])
def test_the_module_file_finds_the_library_in_a_checkout_and_adds_nothing_in_a_package(place, found, installed, bare, tmp_path):
    """With the module's own folder on sys.path alone, as --additional-module-paths puts it there."""
    module_file = MODULE_FILE if place == "checkout" else installed / "MRDeltaNet.py"
    code = ("import importlib.util, sys\n"
            "before = list(sys.path)\n"
            "spec = importlib.util.find_spec('MRDeltaNetLib')\n"
            "had_it = spec is not None and spec.origin is not None\n"
            f"exec(compile({appending_lines(module_file)!r}, {str(module_file)!r}, 'exec'), {{'__file__': {str(module_file)!r}, '__name__': 'MRDeltaNet'}})\n"
            "import MRDeltaNetLib.pipeline\n"
            "print(had_it, sys.path[:len(before)] == before, sys.path[len(before):])\n")
    done = run_python("-c", code, paths=(bare, module_file.parent), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    added = [str(REPOSITORY)] if found else []
    assert done.stdout.strip() == f"{not found} True {added}"


@pytest.fixture
def small_tree(tmp_path):
    """write(call) makes an extension of one script and one file outside the module's folder, with that call in its CMake file."""
    def write(call: str) -> Path:
        tree = tmp_path / "tree"
        (tree / "Lib" / "deep").mkdir(parents=True)
        for name in ("outside.txt", "README.md", "Lib/deep/inner.py", "Lib/data.json"):
            (tree / name).touch()
        (tree / "CMakeLists.txt").write_text(
            'cmake_minimum_required(VERSION 3.16.3)\nproject(Small)\nset(EXTENSION_README_FILE "${CMAKE_CURRENT_SOURCE_DIR}/README.md")\n'
            'set(EXTENSION_LICENSE_FILE "${EXTENSION_README_FILE}")\nfind_package(Slicer REQUIRED)\n'
            'include(${Slicer_USE_FILE})\nadd_subdirectory(Lib)\n')
        (tree / "Lib" / "CMakeLists.txt").write_text(f"slicerMacroBuildScriptedModule({call})\n")
        return tree
    return write


@pytest.mark.parametrize("call, said", [
    ("NAME Lib RESOURCES data.json WITH_SUBDIR", "SCRIPTS is mandatory"), ("SCRIPTS deep/inner.py", "NAME is mandatory"),
    ("NAME Lib SCRIPTS deep/gone.py", "'deep/gone.py' does"), ("NAME Lib SCRIPTS deep/inner.py RESOURCES gone.json", "'gone.json' does"),
    ("Lib NAME Lib SCRIPTS deep/inner.py", "unknown keywords")])
def test_the_stand_in_refuses_what_slicer_refuses(call, said, small_tree, tmp_path):
    done = configured(small_tree(call), tmp_path / "build")
    assert done.returncode != 0 and said in " ".join(done.stderr.split())


def test_the_stand_in_drops_files_from_outside_as_slicer_does(small_tree, tmp_path):
    tree = small_tree("NAME Lib SCRIPTS deep/inner.py RESOURCES data.json ../outside.txt WITH_SUBDIR")
    assert configured(tree, tmp_path / "build").returncode == 0
    assert files_below(built_and_installed(tmp_path / "build", tmp_path / "package")) == {"Lib/deep/inner.py", "Lib/data.json"}
