"""Which versions of what are at work: for the manifest, `mrdeltanet info` and the report."""

from __future__ import annotations

import platform
from importlib import metadata

import MRDeltaNetLib

PACKAGES = ("numpy", "SimpleITK", "pydicom", "torch", "monai", "safetensors", "Pillow", "slicer-core", "vtk", "typer")


def versions() -> dict[str, str | None]:
    """Package -> version, None where it is not installed; also "mrdeltanet" and "python". Imports nothing heavy."""
    found: dict[str, str | None] = {"mrdeltanet": MRDeltaNetLib.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def system() -> dict[str, str]:
    """Operating system and processor kind, without the machine's name."""
    return {"system": platform.system(), "release": platform.release(), "machine": platform.machine()}
