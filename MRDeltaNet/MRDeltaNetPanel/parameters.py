"""The user's choices as one typed parameter node: they survive saving, loading and closing of a scene.

Members of an Enum are stored by name: never rename one, a scene that holds the old name could not be opened any more.
"""

from __future__ import annotations

import enum
from typing import Annotated, Any

import slicer
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Default, WithinRange, parameterNodeWrapper

from MRDeltaNetLib import workflow
from MRDeltaNetLib.colours import OVERLAY_OPACITY, OVERLAY_THRESHOLD
from MRDeltaNetLib.mrml.overlays import MAPS
from MRDeltaNetLib.workflow import telling
from MRDeltaNetPanel.translating import libraryText


class Registration(enum.Enum):
    """How the scan after treatment is aligned; values as in a job."""

    RIGID = "rigid"
    AFFINE = "affine"
    DEFORMABLE = "deformable"
    NONE = "none"

    def label(self) -> str:
        """The text in the panel."""
        return libraryText(telling.REGISTRATIONS[self.value])


class Device(enum.Enum):
    """Where the network runs; values as in a job."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"

    def label(self) -> str:
        """The text in the panel."""
        return {"auto": _("Automatic"), "cpu": _("CPU"), "cuda": _("NVIDIA GPU (CUDA)"), "mps": _("Apple GPU (MPS)")}[self.value]


class Grade(enum.Enum):
    """The reader's magnetic resonance tumour regression grade; values as in a job, 0 for none."""

    NOT_GIVEN = 0
    ONE = 1
    TWO = 2
    THREE = 3
    FOUR = 4
    FIVE = 5

    def label(self) -> str:
        """The text in the panel."""
        return telling.grade(self.value, libraryText)


class _Named(enum.Enum):
    """What every member of Map can do."""

    def label(self) -> str:
        """The text in the panel: what the method is called, and on which scan it lies."""
        return {"none": _("No map"), "default": _("What the model's tests chose")}.get(self.value) or workflow.map_label(self.value, libraryText)


Map = _Named("Map", {name.upper(): name for name in (*MAPS, "none", "default")}, module=__name__)
"""Which map is shown: names of result files, "none", or "default", nobody's choice (workflow.shown_by_itself). A method that is new
has its maps here as soon as mrml.overlays knows them. Offered are those that there are."""


@parameterNodeWrapper
class MRDeltaNetParameterNode:
    """What the user chose and what the steps left in the scene.

    preVolume, postVolume              the scans before and after treatment
    preSegmentation, postSegmentation  the outlines, each on its own scan: their voxel grids differ
    alignment                          brings the scan after treatment onto the one before it; nothing is hardened
    alignmentResult                    result.json of the run that made the alignment
    result                             result.json of the last prediction or report
    measures                           table of the measures
    report                             the report's HTML
    point, answer                      where a reader asked, and where the network looked
    completeResponse                   the reader sees no viable tumour after treatment
    mrtrg                              the reader's regression grade: an opinion, kept and shown, never computed
    outlineStepMm                      how far outlines are moved for the range of P(pCR), mm
    allMembers                         whether every network of an ensemble answers, or the first alone
    shownMap                           the map that the reader chose; until then what the model's tests chose
    mapThreshold                       fraction of the map's largest value below which it is not shown
    mapOpacity                         of the map over the scan

    The model's folder is a setting of this computer, not of the scene: a path may hold a name.
    """

    preVolume: slicer.vtkMRMLScalarVolumeNode
    postVolume: slicer.vtkMRMLScalarVolumeNode
    preSegmentation: slicer.vtkMRMLSegmentationNode
    postSegmentation: slicer.vtkMRMLSegmentationNode
    alignment: slicer.vtkMRMLTransformNode
    alignmentResult: slicer.vtkMRMLTextNode
    result: slicer.vtkMRMLTextNode
    measures: slicer.vtkMRMLTableNode
    report: slicer.vtkMRMLTextNode
    point: slicer.vtkMRMLMarkupsFiducialNode
    answer: slicer.vtkMRMLMarkupsFiducialNode
    registration: Annotated[Registration, Default(Registration.RIGID)]
    completeResponse: bool = False
    mrtrg: Annotated[Grade, Default(Grade.NOT_GIVEN)]
    device: Annotated[Device, Default(Device.AUTO)]
    outlineStepMm: Annotated[float, WithinRange(0.5, 10.0)] = 2.0
    allMembers: bool = True
    shownMap: Annotated[Map, Default(Map.DEFAULT)]
    mapThreshold: Annotated[float, WithinRange(0.0, 1.0)] = OVERLAY_THRESHOLD
    mapOpacity: Annotated[float, WithinRange(0.0, 1.0)] = OVERLAY_OPACITY
    legend: bool = True


ENUMS = {"registration": Registration, "mrtrg": Grade, "device": Device, "shownMap": Map}
"""Parameters that a scene of another version may hold a value of that is not known here."""


def wrapped(node: Any) -> MRDeltaNetParameterNode:
    """The parameter node with its types; a choice that this version does not know is set back to its default.

    node  the vtkMRMLScriptedModuleNode. The wrapper raises ValueError on a name that its Enum lacks, and the panel would not open.
    """
    for name, kind in ENUMS.items():
        if node.GetParameter(name) and node.GetParameter(name) not in kind.__members__:
            node.UnsetParameter(name)
    return MRDeltaNetParameterNode(node)
