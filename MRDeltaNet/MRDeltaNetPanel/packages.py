"""The packages that prediction needs beyond Slicer's own: torch through the PyTorch extension, the rest through slicer.packaging.

Nothing is installed at start-up, and nothing without being asked for. What Slicer bundles is never replaced.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import tempfile
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from MRDeltaNetLib.errors import Cancelled, EnvironmentProblem

NEEDED = ("torch", "monai", "safetensors")
PROTECTED = ("torch", "numpy", "SimpleITK", "vtk")
"""Held at the version that is there while the rest is installed: they are Slicer's own, or the PyTorch extension's."""

TORCH_VERSIONS = {"win32": ">=2.2,<2.13"}
"""torch 2.13 for Windows holds paths that are too long for it and is left half installed."""
TORCH_VERSION = ">=2.2"


def missing() -> tuple[str, ...]:
    """Which of the needed packages are not installed; looks only, loads nothing."""
    importlib.invalidate_caches()
    return tuple(name for name in NEEDED if importlib.util.find_spec(name) is None)


def install(requirements: Path) -> None:
    """Ask, then install what is missing.

    requirements  the module's requirements.txt
    raises        EnvironmentProblem MRD-E840 (the PyTorch extension is not there), E841 (an installation failed); Cancelled if the user declined
    """
    if "torch" in missing():
        _installTorch()
    if missing():
        _installRest(requirements)
    if still := missing():
        raise EnvironmentProblem(_("Some packages are still missing after the installation"), code="MRD-E841", found=", ".join(still),
                                 fix=_("restart Slicer and try again; without a network see the how-to on installing in Slicer"))


def torchVersion() -> str:
    """The versions of torch that are asked for on this platform."""
    return TORCH_VERSIONS.get(sys.platform, TORCH_VERSION)


def heldVersions() -> str:
    """A constraints file that holds every protected package at the version that is installed."""
    return "".join(f"{name}=={version}\n" for name in PROTECTED if (version := _version(name)))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _installTorch() -> None:
    try:
        import PyTorchUtils
    except ImportError:
        raise EnvironmentProblem(_("The PyTorch extension is not installed"), code="MRD-E840",
                                 fix=_("install 'PyTorch' in Slicer's Extensions Manager, restart Slicer, and press Install again; every step "
                                       "but Predict and Explain works without it")) from None
    if PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=torchVersion()) is None:
        raise Cancelled(_("PyTorch was not installed"), fix=_("press Install again when you want to predict"))


def _installRest(requirements: Path) -> None:
    import slicer.packaging as packaging
    try:
        with tempfile.TemporaryDirectory(prefix="mrd-") as folder:
            constraints = Path(folder) / "constraints.txt"
            constraints.write_text(heldVersions(), encoding="utf-8")
            packaging.pip_ensure(packaging.load_requirements(str(requirements)), constraints=str(constraints), requester="MRDeltaNet")
    except RuntimeError:                          # how pip_ensure says that the user declined
        raise Cancelled(_("The packages were not installed"), fix=_("press Install again when you want to predict")) from None
    except Exception as problem:                  # noqa: BLE001 pip fails in many ways
        raise EnvironmentProblem(_("The packages could not be installed"), code="MRD-E841", found=type(problem).__name__,
                                 fix=_("look at the network, or install them by hand: see the how-to on installing in Slicer")) from problem
