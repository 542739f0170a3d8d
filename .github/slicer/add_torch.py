"""Inside Slicer, without --testing and in two starts: install the PyTorch extension, then torch and what requirements.txt names.

Slicer --no-splash --no-main-window --python-script add_torch.py extension
Slicer --no-splash --no-main-window --python-script add_torch.py packages
The first start says where the extension's modules lie (on GitHub: as the output `modules`, one a blank).
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import slicer
import slicer.packaging

EXTENSION = "PyTorch"
RESOURCES = Path(__file__).resolve().parents[2] / "MRDeltaNet" / "Resources"


def install_extension() -> None:
    manager = slicer.app.extensionsManagerModel()
    manager.setInteractive(False)
    if not manager.installExtensionFromServer(EXTENSION, False):
        raise RuntimeError(f"the server gave no extension {EXTENSION} for revision {slicer.app.revision}")
    modules = [path for path in manager.extensionModulePaths(EXTENSION) if Path(path).is_dir()]
    print("modules:", modules)
    if "GITHUB_OUTPUT" in os.environ:
        with open(os.environ["GITHUB_OUTPUT"], "a", encoding="utf-8") as output:
            output.write(f"modules={' '.join(modules)}\n")


def install_packages() -> None:
    import PyTorchUtils
    fitting = [each for each in slicer.packaging.load_requirements(str(RESOURCES / "torch.txt")) if each.marker.evaluate()]
    if not fitting:
        raise RuntimeError("no torch fits this Slicer")
    if PyTorchUtils.PyTorchUtilsLogic().installTorch(forceComputationBackend="cpu", torchVersionRequirement=str(fitting[0].specifier)) is None:
        raise RuntimeError("torch was not installed")
    slicer.packaging.pip_install(slicer.packaging.load_requirements(str(RESOURCES / "requirements.txt")), show_progress=False)


try:
    {"extension": install_extension, "packages": install_packages}[sys.argv[1]]()
except BaseException:
    traceback.print_exc()
    slicer.util.exit(1)
else:
    slicer.util.exit(0)
