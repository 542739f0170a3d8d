"""The simulated sample pair (mrml.sitting.sample): registered in Slicer's Sample Data module, and loaded by one button of the panel."""

from __future__ import annotations

from typing import Any, Mapping

import SimpleITK as sitk
import slicer
from slicer.i18n import tr as _

from MRDeltaNetLib.mrml import hierarchy
from MRDeltaNetLib.mrml.nodes import image_to_node

CATEGORY = "MRDeltaNet"
NAME = "MRDeltaNet simulated pair"
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


def choose(images: Mapping[str, sitk.Image], parameters: Any) -> None:
    """Both scans as volumes, chosen in the panel; what was chosen before stays in the scene as it is.

    images  "pre", "post" -> the scan
    """
    volumes = {role: image_to_node(images[role], slicer.mrmlScene, slicer.mrmlScene.GenerateUniqueName(name)) for role, name in NODE_NAMES.items()}
    slicer.util.setSliceViewerLayers(background=volumes["pre"], fit=True)          # in the user's own views too, as for every scan that Slicer loads
    with slicer.util.NodeModify(parameters.parameterNode):
        parameters.preVolume, parameters.postVolume = volumes["pre"], volumes["post"]
    hierarchy.file_scans(slicer.mrmlScene, volumes)
