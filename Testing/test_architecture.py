"""The house rules that a machine can hold: who imports whom, and what loads when."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
LIBRARY = REPOSITORY / "MRDeltaNetLib"

FLOORS = {"errors": 0, "progress": 0, "case": 0, "config": 0, "resources": 0, "colours": 0, "coding": 0, "versions": 0, "redaction": 0, "evaluation": 0, "story": 0,
          "processes": 0, "__init__": 0,
          "io": 1, "models": 1, "imaging": 2, "response": 2, "pipeline": 3, "segmenting": 3, "cohort": 4, "report": 4, "workflow": 4,
          "mrml": 5, "runner": 6, "seg_export": 6, "explainer": 6, "doorway": 7, "cli": 7, "__main__": 7, "sample": 7, "web": 7}
"""Package or module -> floor. Imports go down; packages of one floor do not import each other (floor 0 and the doors may:
a door is one package that has several files)."""

DOORS = {"cli", "__main__", "doorway", "sample", "web"}
ONLY_IN = {"slicer": {"mrml"}, "vtk": {"mrml"}, "vtkmodules": {"mrml"}, "qt": set(), "ctk": set(), "trame": {"web"},
           "trame_slicer": {"web"}, "lightning": {"cohort"}, "matplotlib": {"cohort", "report"}, "pickle": set(), "torch.jit": set(),
           "nnunetv2": {"imaging", "cohort"}}
LOADERS = {"require", "import_module", "__import__"}
LIGHT = {"numpy", "SimpleITK", "MRDeltaNetLib"} | set(sys.stdlib_module_names)
TORCH_AT_TOP = {"models"}
COHORT_AT_TOP = {"cohort"}


def modules() -> list[Path]:
    return sorted(LIBRARY.rglob("*.py"))


def package(path: Path) -> str:
    """The name in FLOORS that a file belongs to."""
    first = path.relative_to(LIBRARY).parts[0]
    return first.removesuffix(".py")


def imports(path: Path, top_only: bool = False) -> set[str]:
    """Dotted names that a file imports, by require("...") and import_module("...") too; top_only leaves out what stands inside functions
    and under TYPE_CHECKING."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))] if top_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative imports hide the floor; write the full name"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in LOADERS:
            found |= {argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(LIBRARY)))
def test_every_file_has_a_floor_and_imports_go_down(path):
    own = package(path)
    assert own in FLOORS, f"{own} has no floor: give it one in FLOORS and say why in docs/explanation/architecture.md"
    inside = {name.split(".")[1] for name in imports(path) if name.startswith("MRDeltaNetLib.")}
    wrong = {other for other in inside if other in FLOORS and other != own
             and (FLOORS[other] > FLOORS[own] or FLOORS[other] == FLOORS[own] > 0 and not {own, other} <= DOORS)}
    assert not wrong, f"{own} (floor {FLOORS[own]}) imports {wrong}"


def test_a_package_that_is_loaded_by_name_counts_as_an_import():
    assert {"vtkmodules.vtkCommonCore", "slicer"} <= imports(LIBRARY / "mrml" / "bootstrap.py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(LIBRARY)))
def test_guarded_packages_stay_in_their_place(path):
    found = {name for name in imports(path) for banned, places in ONLY_IN.items()
             if (name == banned or name.startswith(banned + ".")) and package(path) not in places}
    assert not found, f"{path.name} imports {found}"


@pytest.mark.parametrize("path", [path for path in modules() if package(path) not in {"cohort", "cli", "web"}],
                         ids=lambda path: str(path.relative_to(LIBRARY)))
def test_heavy_packages_load_when_first_needed(path):
    allowed = LIGHT | ({"torch", "monai"} if package(path) in TORCH_AT_TOP else set())
    heavy = {name.split(".")[0] for name in imports(path, top_only=True)} - allowed
    assert not heavy, f"{path.name} imports {heavy} at the top; import it where it is first needed, through errors.require"


def test_the_library_imports_with_numpy_and_simpleitk_only():
    """In a fresh process in which every other package is out of reach."""
    code = ("import sys\n"
            "class Only:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            "        if name.split('.')[0] in {'torch','monai','pydicom','PIL','typer','rich','slicer','vtk','pandas','scipy','safetensors'}:\n"
            "            raise ImportError(name)\n"
            "sys.meta_path.insert(0, Only())\n"
            "import MRDeltaNetLib, MRDeltaNetLib.pipeline, MRDeltaNetLib.io.images, MRDeltaNetLib.io.jobs, MRDeltaNetLib.io.dicom\n"
            "import MRDeltaNetLib.imaging.registration, MRDeltaNetLib.imaging.preprocessing, MRDeltaNetLib.report.html, MRDeltaNetLib.mrml.scene\n"
            "import MRDeltaNetLib.workflow, MRDeltaNetLib.mrml.worker\n"
            "print('ok')\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.stdout.strip() == "ok", done.stderr


def test_nothing_is_ever_unpickled_or_evaluated():
    """No call that runs what a file holds: eval, exec, pickle, torch.load, yaml, a shell."""
    banned = ("eval(", "exec(", "torch.load(", "np.load(", "allow_pickle=True", "yaml.load", "shell=True", "os.system(")
    allowed = {"training.py"}          # np.load of crops that the same command has just written, never pickled
    for path in modules():
        text = path.read_text(encoding="utf-8").replace(".eval()", "")
        found = [word for word in banned if word in text and not (word == "np.load(" and path.name in allowed)]
        assert not found, f"{path.relative_to(LIBRARY)} holds {found}"


def test_no_file_grows_past_what_one_can_read():
    long = {str(path.relative_to(LIBRARY)): count for path in modules()
            if (count := len(path.read_text(encoding="utf-8").splitlines())) > 450}
    assert not long, f"split them into a folder of the same name: {long}"
