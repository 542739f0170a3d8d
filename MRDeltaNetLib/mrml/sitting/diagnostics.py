"""What a person who helps needs to know, ready to copy: versions, devices, packages, the last messages; no path, no name."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import subprocess
import sys
from typing import Sequence

from MRDeltaNetLib import __version__
from MRDeltaNetLib.processes.environments import child_environment
from MRDeltaNetLib.processes.launching import library_folder
from MRDeltaNetLib.redaction import redacted

DEVICE_TIMEOUT_S = 60

ASKED_FOR = ("numpy", "SimpleITK", "pydicom", "vtk", "Pillow", "torch", "monai", "safetensors")


def describe(log: Sequence[str], door: str, more: Sequence[str] = ()) -> str:
    """The whole text, in English, because it is for who helps.

    log   the last lines that runs left, in the order of time
    door  what the door is, and its version
    more  packages that only this door needs
    """
    lines = [f"MRDeltaNet {__version__}", door, f"Python {platform.python_version()}, {platform.system()} {platform.machine()}",
             *(f"{name} {_version(name)}" for name in (*ASKED_FOR, *more)), _device(), "", "Last messages:", *(log or ["none"])]
    return redacted("\n".join(lines))


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _device() -> str:
    """Asked in a process of its own: a half-installed torch must not take the diagnostics with it."""
    if importlib.util.find_spec("torch") is None:
        return "device: unknown without torch"
    code = "import sys; sys.path.insert(0, sys.argv[1]); from MRDeltaNetLib.response.prediction import choose_device; print(choose_device('auto')[1])"
    try:
        asked = subprocess.run([sys.executable, "-P", "-c", code, str(library_folder())], capture_output=True, text=True, timeout=DEVICE_TIMEOUT_S, env=child_environment())
    except (OSError, subprocess.SubprocessError) as problem:
        return f"device: could not be asked ({type(problem).__name__})"
    return f"device: {asked.stdout.strip()}" if asked.returncode == 0 else f"device: torch ended with {asked.returncode}"
