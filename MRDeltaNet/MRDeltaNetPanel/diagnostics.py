"""What a person who helps needs to know, ready to copy: versions, devices, packages, the last messages; no path, no name."""

from __future__ import annotations

import getpass
import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Sequence

import slicer

from MRDeltaNetLib import __version__
from MRDeltaNetLib.workflow import redacted
from MRDeltaNetPanel import packages

ASKED_FOR = ("numpy", "SimpleITK", "pydicom", "vtk", "Pillow", "torch", "monai", "safetensors")


def describe(log: Sequence[str]) -> str:
    """The text behind the Diagnostics button.

    log  the last lines that runs left, in the order of time
    """
    lines = [f"MRDeltaNet {__version__}", f"Slicer {slicer.app.applicationVersion} (revision {slicer.app.revision})",
             f"Python {platform.python_version()}, {platform.system()} {platform.machine()}",
             *(f"{name} {_version(name)}" for name in ASKED_FOR), _device(), "", "Last messages:", *(log or ["none"])]
    return redacted("\n".join(lines), names=_privateWords())


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _device() -> str:
    if "torch" in packages.missing():
        return "device: unknown without torch"
    return f"device: {packages.describeDevice()}"


def _privateWords() -> tuple[str, ...]:
    """Words that stand for this person or computer."""
    words = {platform.node(), Path.home().name}
    try:
        words.add(getpass.getuser())
    except (OSError, KeyError, ImportError):              # no such thing as a user name here
        pass
    return tuple(word for word in words if len(word) > 2)


def asLogLine(event: object) -> str:
    """One event of a run as one line."""
    return json.dumps(vars(event) if hasattr(event, "__dict__") else str(event), ensure_ascii=False, default=str)
