"""The packages that prediction needs beyond Slicer's own: torch through the PyTorch extension, the rest through slicer.packaging.

Nothing is installed at start-up, and nothing without being asked for. What Slicer bundles is never replaced.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Iterator, Mapping

from slicer.i18n import tr as _

from MRDeltaNetLib.errors import Cancelled, EnvironmentProblem, MRDeltaNetError

NEEDED = ("torch", "monai", "safetensors")

BUNDLED = ("numpy", "scipy", "SimpleITK", "pydicom", "Pillow", "vtk")
"""Slicer's own, held at the version that is there whatever is installed; so is torch while the rest is installed."""

RESOURCES = Path(__file__).resolve().parents[1] / "Resources"
REQUIREMENTS, TORCH = RESOURCES / "requirements.txt", RESOURCES / "torch.txt"
"""What is needed beside torch; which versions of torch fit which system."""

PIP_CONSTRAINT = "PIP_CONSTRAINT"
"""pip reads it in every child process, also in the one that the PyTorch extension starts, which takes no constraints itself."""


def missing() -> tuple[str, ...]:
    """Which of the needed packages are not installed; looks only, loads nothing."""
    importlib.invalidate_caches()
    return tuple(name for name in NEEDED if importlib.util.find_spec(name) is None)


def torchVersions() -> str | None:
    """The versions of torch that fit this system, such as "<2.13,>=2.6"; None where none does."""
    import slicer.packaging as packaging
    fitting = [each for each in packaging.load_requirements(str(TORCH)) if each.marker is None or each.marker.evaluate()]
    return str(fitting[0].specifier) if fitting else None


def canBeInstalled() -> bool:
    """Whether what is missing is to be had for this system."""
    return "torch" not in missing() or torchVersions() is not None


def install() -> None:
    """Ask, then install what is missing.

    raises  EnvironmentProblem MRD-E840 (the PyTorch extension is not there), E841 (an installation failed), E873 (no torch fits this system),
            E874 (a package of Slicer's own was replaced all the same); Cancelled if the user declined
    """
    before = versions(BUNDLED)
    try:
        if "torch" in missing():
            _installTorch()
        if missing():
            _installRest()
    finally:
        _refuseReplaced(before)
    if still := missing():
        raise EnvironmentProblem(_("Some packages are still missing after the installation"), code="MRD-E841", found=", ".join(still),
                                 fix=_("restart Slicer and try again; without a network see the how-to on installing in Slicer"))


def versions(names: tuple[str, ...]) -> dict[str, str]:
    """Name -> version of those that are installed."""
    importlib.invalidate_caches()
    found = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


@contextlib.contextmanager
def held() -> Iterator[Path]:
    """While it lasts, pip replaces neither Slicer's own packages nor torch, whoever starts it from this Slicer. Gives the constraints file."""
    earlier = os.environ.get(PIP_CONSTRAINT)
    with tempfile.TemporaryDirectory(prefix="mrd-") as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in versions((*BUNDLED, "torch")).items()), encoding="utf-8")
        # pip splits the variable at blanks, and a user's folder may hold some: an address holds none
        os.environ[PIP_CONSTRAINT] = " ".join(filter(None, (earlier, constraints.as_uri())))
        try:
            yield constraints
        finally:
            os.environ.pop(PIP_CONSTRAINT)
            if earlier is not None:
                os.environ[PIP_CONSTRAINT] = earlier


def _installTorch() -> None:
    wanted = torchVersions()
    if wanted is None:
        raise EnvironmentProblem(_("No PyTorch fits this Slicer"), code="MRD-E873",
                                 fix=_("predict with the command line, in a Python of your own; every step but Predict and Explain works here"))
    try:
        import PyTorchUtils
    except ImportError:
        raise EnvironmentProblem(_("The PyTorch extension is not installed"), code="MRD-E840",
                                 fix=_("install 'PyTorch' in Slicer's Extensions Manager, restart Slicer, and press Install again; every step "
                                       "but Predict and Explain works without it")) from None
    with _toldAsFailure(), held():
        installed = PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=wanted)
    if installed is None:
        raise Cancelled(_("PyTorch was not installed"), fix=_("press Install again when you want to predict"))


def _installRest() -> None:
    import slicer.packaging as packaging
    with _toldAsFailure(), held() as constraints:
        try:
            packaging.pip_ensure(packaging.load_requirements(str(REQUIREMENTS)), constraints=str(constraints), requester="MRDeltaNet")
        except RuntimeError:                      # how pip_ensure says that the user declined
            raise Cancelled(_("The packages were not installed"), fix=_("press Install again when you want to predict")) from None


@contextlib.contextmanager
def _toldAsFailure() -> Iterator[None]:
    try:
        yield
    except MRDeltaNetError:
        raise
    except Exception as problem:                  # noqa: BLE001 pip fails in many ways, and so does the first import of torch
        raise EnvironmentProblem(_("The packages could not be installed"), code="MRD-E841", found=type(problem).__name__,
                                 fix=_("look at the network, or install them by hand: see the how-to on installing in Slicer")) from problem


def _refuseReplaced(before: Mapping[str, str]) -> None:
    """Say at once if a package that Slicer brings is another one now: Slicer itself may not start with it."""
    now, gone = versions(tuple(before)), _("removed")
    replaced = [f"{name} {version} -> {now.get(name, gone)}" for name, version in before.items() if now.get(name) != version]
    if replaced:
        raise EnvironmentProblem(_("The installation replaced packages that Slicer brings"), code="MRD-E874", found="; ".join(replaced),
                                 fix=_("put them back before you close Slicer, as the how-to on installing in Slicer says, then restart it"))
