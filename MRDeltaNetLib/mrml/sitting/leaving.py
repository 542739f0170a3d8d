"""A scan leaves the scene with everything that lies on it or was made of it. For doors that own their scene; in Slicer the scene is the user's."""

from __future__ import annotations

from typing import Any

from MRDeltaNetLib.mrml import hierarchy
from MRDeltaNetLib.mrml.nodes import REFERENCE, ROLE
from MRDeltaNetLib.mrml.sitting import aligning, results
from MRDeltaNetLib.mrml.sitting.belonging import OF_A_PAIR, forget_statements
from MRDeltaNetLib.mrml.sitting.choices import SCANS


def remove_scan(choices: Any, role: str) -> None:
    """Take a chosen scan away, its outlines, and all that was made of the pair it belongs to; the other scan stays with its outlines.

    role  "pre" or "post"; nothing happens if none is chosen
    """
    volume = getattr(choices, SCANS[role])
    if volume is None:
        return
    lying = [node for node in (choices.alignment, choices.alignment_result) if node is not None]
    stored = [each for node in lying for each in _storage(node)]
    for node in lying:
        _remove_item(node)
    aligning.forget_alignment(choices)
    for node in (*stored, *results.all_maps(choices).values(), *_made_of(volume)):
        _remove(node)
    for name in (*OF_A_PAIR, "point", "answer", f"{role}_segmentation"):
        setattr(choices, name, None)
    forget_statements(choices)
    setattr(choices, SCANS[role], None)
    scene = volume.GetScene()
    _remove(volume)
    hierarchy.remove_empty(scene)


def _made_of(volume: Any) -> list[Any]:
    """Every node of ours that refers to the scan as ours do."""
    scene, found = volume.GetScene(), []
    for index in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(index)
        if node.GetAttribute(ROLE) is not None and volume.GetID() in _references(node):
            found.append(node)
    return found


def _references(node: Any) -> set[str]:
    roles = [node.GetNthNodeReferenceRole(number) for number in range(node.GetNumberOfNodeReferenceRoles())]
    return {node.GetNthNodeReferenceID(role, number) for role in roles if role.startswith(REFERENCE) for number in range(node.GetNumberOfNodeReferences(role))}


def _remove(node: Any) -> None:
    """A node with its display and storage nodes and its item in the subject hierarchy."""
    scene = node.GetScene()
    if scene is None:                                    # gone with another one
        return
    beside = []
    if node.IsA("vtkMRMLDisplayableNode"):
        beside += [node.GetNthDisplayNode(number) for number in range(node.GetNumberOfDisplayNodes())]
    beside += _storage(node)
    _remove_item(node)
    for each in (node, *beside):
        if each is not None and each.GetScene() is scene:
            scene.RemoveNode(each)


def _storage(node: Any) -> list[Any]:
    return [node.GetNthStorageNode(number) for number in range(node.GetNumberOfStorageNodes())] if node.IsA("vtkMRMLStorableNode") else []


def _remove_item(node: Any) -> None:
    """A node's item in the subject hierarchy; in Slicer a plugin does it."""
    tree = hierarchy.hierarchy_of(node.GetScene())
    if item := tree.GetItemByDataNode(node):
        tree.RemoveItem(item, False, False)
