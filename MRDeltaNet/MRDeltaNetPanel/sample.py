"""The simulated sample pair: registered in Slicer's Sample Data module, and loaded by one button of the panel.

Nothing is downloaded: a child process simulates the pair, so that the extension stays small and the truth about it is known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import SimpleITK as sitk
import slicer
from slicer.i18n import tr as _

from MRDeltaNetLib.mrml import hierarchy
from MRDeltaNetLib.processes.launching import module_command
from MRDeltaNetLib.mrml.nodes import image_to_node
from MRDeltaNetLib.mrml.sitting.inputs import OUTLINES

CATEGORY = "MRDeltaNet"
NAME = "MRDeltaNet simulated pair"
STEP = "sample"
"""The name of its run in the logic."""

SEED = 1
"""The pair of `make demo`."""

NODE_NAMES = {"pre": _("Before treatment (simulated)"), "post": _("After treatment (simulated)")}
TIMEOUT_S = 180


def register(module: Any) -> None:
    """Add the pair to Sample Data.

    module  the scripted module, for its resources
    """
    import SampleData
    logic = SampleData.SampleDataLogic
    if hasattr(logic, "registerCustomSampleDataCategory"):
        logic.registerCustomSampleDataCategory(CATEGORY, title=_("MRDeltaNet (simulated pelvises)"))
    logic.registerCustomSampleDataSource(category=CATEGORY, sampleName=NAME, uris=[""], fileNames=[None], nodeNames=[NAME], loadFiles=[None],
                                         loadFileTypes=[None], checksums=[None], thumbnailFileName=module.resourcePath("Icons/SamplePair.png"),
                                         customDownloader=lambda source: downloadPair())     # nothing has an address: one empty place each


def downloadPair() -> list[Any]:
    """What Sample Data calls: simulate the pair, wait, and load both scans. Returns their volume nodes."""
    from MRDeltaNetPanel.logic import MRDeltaNetLogic
    logic = MRDeltaNetLogic()
    try:
        return logic.samplePair()
    finally:
        logic.close()


def command(python: str, folder: Path) -> list[str]:
    """The child process that simulates the pair.

    python  interpreter; folder  where the files go
    """
    return module_command("MRDeltaNetLib.sample", str(folder), "--seed", str(SEED), python=python)


def load(folder: Path, parameters: Any, logic: Any) -> None:
    """Both scans with the outlines that the simulation knows, chosen in the panel; what was chosen before stays in the scene as it is.

    folder  where the simulation left its files
    """
    volumes = {role: image_to_node(sitk.ReadImage(str(folder / f"{role}.nrrd")), slicer.mrmlScene, slicer.mrmlScene.GenerateUniqueName(name))
               for role, name in NODE_NAMES.items()}
    slicer.util.setSliceViewerLayers(background=volumes["pre"], fit=True)          # in the user's own views too, as for every scan that Slicer loads
    with slicer.util.NodeModify(parameters.parameterNode):
        parameters.preVolume, parameters.postVolume = volumes["pre"], volumes["post"]
        for name in ("preSegmentation", "postSegmentation", "alignment", "alignmentResult", "result", "measures", "report"):
            setattr(parameters, name, None)
        parameters.completeResponse = False
    hierarchy.file_scans(slicer.mrmlScene, volumes)
    for role in OUTLINES:
        mask = sitk.ReadImage(str(folder / f"{role}_mask.nrrd"))
        logic.setMask(parameters, role, mask)
        if role == "residual" and not sitk.GetArrayViewFromImage(mask).any():
            parameters.completeResponse = True            # the truth of the simulation; an empty outline alone states nothing
