"""Environment variables of child processes: of one that runs this library, and of one with a Python of its own."""

from __future__ import annotations

import os
from typing import Mapping

from MRDeltaNetLib.processes.launching import library_folder

LEFT_OUT_FOR_ANOTHER_PYTHON = ("PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH", "PYTHONNOUSERSITE", "QT_PLUGIN_PATH", "ITK_AUTOLOAD_PATH")
"""ITK_AUTOLOAD_PATH: 3D Slicer names its own ITK's plug-ins there, which the SimpleITK of another Python would load."""


def clean_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables for a Python that is not the one we run in: without those that would give it our packages and libraries.

    environment  None: those of this process
    """
    given = os.environ if environment is None else environment
    return {name: value for name, value in given.items() if name.upper() not in LEFT_OUT_FOR_ANOTHER_PYTHON}


def child_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables for a child that finds this very library first and speaks UTF-8 line by line.

    environment  None: those of this process
    """
    given = dict(os.environ if environment is None else environment)
    path = os.pathsep.join([str(library_folder()), *filter(None, [given.get("PYTHONPATH")])])
    return given | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
