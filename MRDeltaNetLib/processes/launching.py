"""How a child Python is started that runs this very library, wherever it lies and whatever else is installed.

PYTHONPATH alone does not say which one it is: Slicer's PythonSlicer is a launcher that puts Slicer's own folders in front of it, and an
mrdeltanet that was installed there with pip would be run in place of the extension's.
"""

from __future__ import annotations

import sys
from pathlib import Path

_START = ("import runpy, sys; sys.path.insert(0, sys.argv[1]); name = sys.argv[2]; del sys.argv[1:3]; "
          "runpy.run_module(name, run_name='__main__', alter_sys=True)")


def library_folder() -> Path:
    """The folder that holds MRDeltaNetLib: a checkout, site-packages, or the module folder of Slicer's extension."""
    return Path(__file__).resolve().parents[2]


def module_command(module: str, *arguments: str, python: str | None = None) -> list[str]:
    """The command that runs a module of this library with these arguments.

    module  dotted name; python  interpreter, None: sys.executable, which is PythonSlicer in Slicer
    """
    return [python or sys.executable or "", "-P", "-c", _START, str(library_folder()), module, *arguments]
