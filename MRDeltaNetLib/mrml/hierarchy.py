"""Where things stand in Slicer's subject hierarchy: results under the patient and the study of the scan they belong to.

Patients and studies that DICOM import made are used as they are; nothing is named after a patient here.
"""

from __future__ import annotations

from typing import Any, Mapping

from MRDeltaNetLib.errors import require
from MRDeltaNetLib.mrml.bootstrap import FEATURE, INSTALL, slicer_module

CASE = "MRDeltaNet case"
STUDIES = {"pre": "Before treatment", "post": "After treatment"}
"""Role of a scan -> name of the study made for it where it has none."""

_ROLE = "MRDeltaNet.role"
_PLUGINS = {"vtkMRMLScalarVolumeNode": "Volumes", "vtkMRMLSegmentationNode": "Segmentations", "vtkMRMLLinearTransformNode": "Transforms",
            "vtkMRMLTransformNode": "Transforms", "vtkMRMLTextNode": "Texts", "vtkMRMLTableNode": "Tables", "vtkMRMLMarkupsFiducialNode": "Markups"}
"""Which of Slicer's subject hierarchy plugins owns an item; without the application nobody else writes it down."""


def hierarchy_of(scene: Any) -> Any:
    """The scene's subject hierarchy node."""
    return slicer_module().vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def new_case(scene: Any) -> int:
    """Add an item for a patient of whom nothing is known; returns its id."""
    hierarchy = hierarchy_of(scene)
    item = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), CASE)
    return _made(hierarchy, item, "case")


def study_of(scene: Any, case: int, role: str) -> int:
    """Our study item for a scan's role in a case, made if there is none; returns its id."""
    hierarchy = hierarchy_of(scene)
    item = hierarchy.GetItemChildWithName(case, STUDIES[role])
    return item or _made(hierarchy, hierarchy.CreateStudyItem(case, STUDIES[role]), role)


def place(scene: Any, node: Any, parent: int) -> int:
    """Put a node's item below another item, making it if there is none; returns its id."""
    hierarchy = hierarchy_of(scene)
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.SetItemParent(item, parent)
    else:
        item = hierarchy.CreateItem(parent, node)
    if not hierarchy.GetItemOwnerPluginName(item):
        hierarchy.SetItemOwnerPluginName(item, _PLUGINS[node.GetClassName()])
    return item


def file_scans(scene: Any, scans: Mapping[str, Any]) -> None:
    """Give scans that lie loose in the scene a case and a study; those that have a place (a study, a folder of the reader's) keep it.

    scans  role ("pre", "post") -> volume node. Scans that were given the other role before change their study
    """
    hierarchy = hierarchy_of(scene)
    parents = {role: _parent(hierarchy, volume) for role, volume in scans.items()}
    cases = [hierarchy.GetItemParent(parent) for parent in parents.values() if hierarchy.GetItemAttribute(parent, _ROLE) in STUDIES]
    for role, volume in scans.items():
        loose = parents[role] == hierarchy.GetSceneItemID()
        if loose or hierarchy.GetItemAttribute(parents[role], _ROLE) in {*STUDIES} - {role}:
            cases = cases or [new_case(scene)]
            place(scene, volume, study_of(scene, cases[0], role))


def file_under(scene: Any, node: Any, like: Any) -> None:
    """Put a node beside the scan that it belongs to: into its study, or into whatever folder the scan lies in."""
    place(scene, node, _parent(hierarchy_of(scene), like))


def file_under_patient(scene: Any, node: Any, like: Any) -> None:
    """Put a node that concerns both visits below the patient of a scan; beside the scan where it has no patient."""
    hierarchy = hierarchy_of(scene)
    parent = _parent(hierarchy, like)
    place(scene, node, hierarchy.GetItemAncestorAtLevel(hierarchy.GetItemByDataNode(like), "Patient") or parent)


def remove_empty(scene: Any) -> None:
    """Take away our cases and studies that hold nothing any more."""
    hierarchy = hierarchy_of(scene)
    for roles in (STUDIES, ("case",)):
        found = require("vtkmodules.vtkCommonCore", FEATURE, INSTALL).vtkIdList()
        hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), found, True)
        for item in [found.GetId(number) for number in range(found.GetNumberOfIds())]:
            if hierarchy.GetItemAttribute(item, _ROLE) in roles and not hierarchy.GetNumberOfItemChildren(item):
                hierarchy.RemoveItem(item, False, False)


def _parent(hierarchy: Any, volume: Any) -> int:
    """The item that a volume lies in: its study if it has one."""
    item = hierarchy.GetItemByDataNode(volume) or place(hierarchy.GetScene(), volume, hierarchy.GetSceneItemID())
    return hierarchy.GetItemAncestorAtLevel(item, "Study") or hierarchy.GetItemParent(item)


def _made(hierarchy: Any, item: int, role: str) -> int:
    hierarchy.SetItemOwnerPluginName(item, "Folder")
    hierarchy.SetItemAttribute(item, _ROLE, role)
    return item
