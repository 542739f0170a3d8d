"""Importing the module's files installs nothing, runs nothing and needs nothing that Slicer lacks."""

from __future__ import annotations

import pytest

from Testing.packaging.file_lists import REPOSITORY
from Testing.packaging.file_scope import action_problems, import_problems, requirement_problems, torch_problems

MODULE_FILES = sorted(path for path in (REPOSITORY / "MRDeltaNet").rglob("*.py") if "Testing" not in path.parts)
LIBRARY_FILES = sorted((REPOSITORY / "MRDeltaNetLib").rglob("*.py"))


def told(problems, files) -> list[str]:
    """The problems of files, each behind its file's name."""
    return [f"{path.relative_to(REPOSITORY)}: {problem}" for path in files for problem in problems(path.read_text(encoding="utf-8"))]


def test_module_files_import_only_what_slicer_brings():
    assert told(import_problems, MODULE_FILES) == []


def test_module_files_do_nothing_on_import():
    assert told(action_problems, MODULE_FILES) == []


def test_nobody_installs_torch_by_pip():
    assert told(torch_problems, MODULE_FILES + LIBRARY_FILES) == []


def test_requirements_are_minimum_versions_without_torch():
    assert requirement_problems((REPOSITORY / "MRDeltaNet" / "Resources" / "requirements.txt").read_text(encoding="utf-8")) == []


ALLOWED = '''"""Doc."""
import sys
from pathlib import Path
from typing import TYPE_CHECKING
import qt
import slicer
from slicer.ScriptedLoadableModule import *
if (Path(__file__).parent.parent / "MRDeltaNetLib" / "__init__.py").is_file():
    sys.path.append(str(Path(__file__).parent.parent))
from MRDeltaNetLib.workflow import STEPS
from MRDeltaNetPanel.views import Views
PATIENCE_S = 5
ORDER = tuple(sorted(("a", "b")))
class Widget:
    icon = qt.QIcon()
def later():
    import torch
    slicer.app.quit()
'''


def test_what_a_module_may_do_is_not_refused():
    assert import_problems(ALLOWED) == action_problems(ALLOWED) == torch_problems(ALLOWED) == []


@pytest.mark.parametrize("text, problem", [("import torch", import_problems), ("try:\n    import monai\nexcept ImportError:\n    monai = None", import_problems),
                                           ("if True:\n    from safetensors import x", import_problems), ("slicer.util.pip_install('monai')", action_problems),
                                           ("sys.path.insert(0, 'x')", action_problems), ("timer = qt.QTimer()", action_problems),
                                           ("for name in names:\n    pass", action_problems), ("if True:\n    print(1)", action_problems),
                                           ("def f():\n    slicer.packaging.pip_ensure(['torch>=2.6'])", torch_problems),
                                           ("pip_install(requirements='torch')", torch_problems), ("monai>=1.5 # maps", requirement_problems),
                                           ("monai==1.5", requirement_problems), ("torch>=2", requirement_problems), ("numpy>=2", requirement_problems)])
def test_what_it_must_not_is_refused(text, problem):
    assert problem(text)
