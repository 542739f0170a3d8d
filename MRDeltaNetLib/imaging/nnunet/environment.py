"""Which Python runs nnU-Net: an environment of its own, because its packages and ours do not go together everywhere."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Mapping

from MRDeltaNetLib.errors import EnvironmentProblem
from MRDeltaNetLib.imaging.nnunet.child import WORK_PREFIX
from MRDeltaNetLib.io.settings import keep_setting, read_setting
from MRDeltaNetLib.processes.attending import attend
from MRDeltaNetLib.processes.environments import clean_environment, library_folder
from MRDeltaNetLib.progress import Progress, silent

VARIABLE = "MRDELTANET_NNUNET_PYTHON"
SETTING = "nnunet_python"
OWN_FOLDER = ".venv-nnunet"
"""What `make setup-nnunet` makes, in the checkout."""

EXTENSION = "SlicerNNUNetLib"
"""The package of Slicer's NNUNet extension, which installs nnunetv2 into Slicer's own Python."""

CHILD = Path(__file__).resolve().with_name("child.py")


def find_python(given: Path | str | None = None) -> Path:
    """The Python that has nnU-Net: the one that is given, else of the variable MRDELTANET_NNUNET_PYTHON, else of the settings, else
    .venv-nnunet in the checkout, else the one that runs us, if nnunetv2 is installed in it (as by Slicer's NNUNet extension).

    given   a Python program, or the folder of an environment; the same holds for variable and setting
    raises  EnvironmentProblem MRD-E377 if there is none, or what was named is none
    """
    for place, where in ((given, "the option"), (os.environ.get(VARIABLE), f"the variable {VARIABLE}"), (read_setting(SETTING), "the settings")):
        if place:
            return _program(Path(place), where)
    own = library_folder() / OWN_FOLDER
    if own.is_dir():
        return _program(own, OWN_FOLDER)
    if _has("nnunetv2") and sys.executable:
        return Path(sys.executable)
    raise EnvironmentProblem("Automatic segmentation needs nnU-Net, which is not installed", code="MRD-E377", found=_what_is_there(), fix=how_to_install())


def how_to_install() -> str:
    """What a user does to get nnU-Net, by where we run."""
    if "slicer" in sys.modules and "qt" in sys.modules:
        if _has(EXTENSION):
            return "open the module nnUNet once and let it install nnU-Net, or set MRDELTANET_NNUNET_PYTHON to a Python that has it"
        return ("install the extension NNUNet in the Extensions Manager, restart, and let its module install nnU-Net; or set MRDELTANET_NNUNET_PYTHON "
                "to a Python that has it")
    return ("run `make setup-nnunet` in the checkout, or install nnunetv2==2.8.1 into an environment of its own and name its Python: "
            "mrdeltanet segment environment --python PATH")


def child_variables(python: Path, work: Path | None = None) -> dict[str, str]:
    """Environment variables of the child; one that runs our own Python gets all of ours, because inside Slicer it does not start without.

    work  where torch and others put their temporary files, so that they go with it; None: where the system wants them
    """
    given = dict(os.environ) if _is_ours(python) else clean_environment()
    place = {} if work is None else dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(work))
    return given | place | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}


def check(python: Path, progress: Progress = silent) -> Mapping[str, Any]:
    """Start it and ask: nnunetv2, torch, python (versions) and devices.

    raises  EnvironmentProblem MRD-E378 if nnU-Net or torch do not work there, MRD-E870 or E871 if it does not start
    """
    with tempfile.TemporaryDirectory(prefix=WORK_PREFIX) as folder:
        return attend([str(python), str(CHILD), "check"], folder, child_variables(python, Path(folder)), progress)


def keep(place: Path | str | None) -> None:
    """Keep a Python in the settings; None forgets it."""
    keep_setting(SETTING, None if place is None else os.path.abspath(place))


def _program(place: Path, where: str) -> Path:
    place = Path(os.path.abspath(place))                  # not resolved: the link in a virtual environment is what makes it one
    names = ("Scripts/python.exe", "python.exe") if os.name == "nt" else ("bin/python", "bin/python3")
    found = next((place / name for name in names if (place / name).is_file()), None) if place.is_dir() else place if place.is_file() else None
    if found is None or not os.access(found, os.X_OK):
        raise EnvironmentProblem(f"The Python for nnU-Net that {where} names is not there", code="MRD-E377",
                                 found="a folder without a Python" if place.is_dir() else "a file that cannot be run" if place.is_file() else "nothing",
                                 fix="name the Python program of an environment with nnunetv2, or that environment's folder; or " + how_to_install())
    return found


def _has(package: str) -> bool:
    """Whether a package could be imported; looks only, loads nothing."""
    return package in sys.modules or importlib.util.find_spec(package) is not None


def _is_ours(python: Path) -> bool:
    return bool(sys.executable) and os.path.abspath(python) == os.path.abspath(sys.executable)


def _what_is_there() -> str:
    return "Slicer's NNUNet extension without nnU-Net itself" if _has(EXTENSION) else f"no {OWN_FOLDER}, no setting, no {VARIABLE}"
