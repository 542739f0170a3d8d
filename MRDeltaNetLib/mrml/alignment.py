"""The alignment of two scans as a transform node: shown, read back, taken away. Nothing is ever hardened."""

from __future__ import annotations

from typing import Any, Iterable

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError, require
from MRDeltaNetLib.io.transforms import MIN_DETERMINANT
from MRDeltaNetLib.mrml.bootstrap import FEATURE, INSTALL, slicer_module
from MRDeltaNetLib.mrml.nodes import (LPS_TO_RAS, ROLE, linear_matrix, make_ours, matrix_from_vtk, matrix_to_vtk, ours, refuse_other_transform,
                                      transform_to_node, vtk_matrix)

NAME = "Post-treatment to pre-treatment"
_ROLE = "alignment"
_ALIGN_AGAIN = "align the scans again on the page Align"


def find_alignment(scene: Any, post: Any) -> Any | None:
    """The transform node that an earlier alignment of this post scan made, None if there is none."""
    return ours(scene, "vtkMRMLTransformNode", _ROLE, post=post)


def show_alignment(scene: Any, transform: sitk.Transform, pre: Any, post: Any, followers: Iterable[Any] = ()) -> Any:
    """Show the post scan where the pre scan's anatomy is.

    transform  SimpleITK resampling transform, pre LPS -> post LPS, mm; one that bends is shown too
    pre, post  volume nodes of the scans
    followers  nodes in the post scan's own space: its segmentation, overlays, points
    returns    the transform node, made or updated; post and followers sit under it
    raises     InputError MRD-E830, before anything changes, if pre sits under a transform, or one of the others under somebody else's;
               what nodes.transform_to_node raises
    """
    node, moved = find_alignment(scene, post), [post, *followers]
    refuse_other_transform(pre)
    for follower in moved:
        refuse_other_transform(follower, node)
    node = _updated(scene, node, transform)
    make_ours(node, _ROLE, pre=pre, post=post)
    for follower in moved:
        follower.SetAndObserveTransformNodeID(node.GetID())
    return node


def follow(post: Any, *nodes: Any) -> None:
    """Put nodes that lie in the post scan's own space under the transform that the scan sits under; out of any if it sits under none."""
    parent = post.GetParentTransformNode()
    for node in nodes:
        node.SetAndObserveTransformNodeID(None if parent is None else parent.GetID())


def followers(transform_node: Any) -> list[Any]:
    """Every node of the scene that sits directly under the transform."""
    scene = transform_node.GetScene()
    nodes = (scene.GetNthNodeByClass(index, "vtkMRMLTransformableNode") for index in range(scene.GetNumberOfNodesByClass("vtkMRMLTransformableNode")))
    return [node for node in nodes if node.GetParentTransformNode() is transform_node]


def in_own_space(node: Any, shown: Any) -> Any:
    """What is seen in the scene, in the own space of a node that sits under a transform, a bending one too.

    node     transformable node, such as the aligned scan
    shown    vtkPoints or vtkPolyData in the scene's world: RAS, mm
    returns  the same, new, in the node's own RAS, mm
    """
    inwards = require("vtkmodules.vtkCommonTransforms", FEATURE, INSTALL).vtkGeneralTransform()
    slicer_module().vtkMRMLTransformNode.GetTransformBetweenNodes(None, node.GetParentTransformNode(), inwards)
    found = shown.NewInstance()
    if shown.IsA("vtkPoints"):
        found.SetDataType(shown.GetDataType())
        inwards.TransformPoints(shown, found)
        return found
    found.DeepCopy(shown)
    found.SetPoints(in_own_space(node, shown.GetPoints()))
    return found


def remove_alignment(transform_node: Any) -> None:
    """Take everything out of the transform, back to the scanner's own space, and remove its node."""
    for node in followers(transform_node):
        node.SetAndObserveTransformNodeID(None)
    transform_node.GetScene().RemoveNode(transform_node)


def transform_from_node(node: Any | None, post: Any) -> sitk.AffineTransform:
    """The alignment as it stands in the scene, a correction by hand included.

    post     volume node of the post scan
    returns  resampling transform, pre LPS -> post LPS, mm
    raises   InputError MRD-E834 if the node is gone, not the alignment of this scan, no longer over the scan, or itself under a transform;
             E614 if it bends the scan, E615 if it is no mapping of space
    """
    if node is None or node.GetScene() is None or node.GetAttribute(ROLE) != _ROLE or node.GetNodeReference("MRDeltaNet.post") is not post:
        raise InputError("The alignment of these scans is not in the scene any more", code="MRD-E834", fix=_ALIGN_AGAIN)
    if post.GetParentTransformNode() is not node or node.GetParentTransformNode() is not None:
        raise InputError("The post-treatment scan does not sit under its alignment alone: a transform was taken away, replaced or added",
                         code="MRD-E834", fix="undo that in Slicer's Transforms module, or " + _ALIGN_AGAIN)
    if not node.IsLinear():
        raise InputError("The transform bends the image; only a rigid or affine one can be accepted", code="MRD-E614", found="a transform that is not linear",
                         fix="align rigidly; a deformable transform never feeds the network")
    from_parent, to_parent = _matrix(node.GetMatrixTransformFromParent), _matrix(node.GetMatrixTransformToParent)
    lps = LPS_TO_RAS @ from_parent @ LPS_TO_RAS
    finite = np.isfinite([from_parent, to_parent]).all()
    if not finite or min(abs(np.linalg.det(matrix)) for matrix in (to_parent, from_parent)) < MIN_DETERMINANT:      # VTK inverts a flat one to the identity
        raise InputError("The transform's numbers describe no mapping of space", code="MRD-E615", found="a matrix that cannot be inverted",
                         fix=_ALIGN_AGAIN)
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(lps[:3, :3].ravel().tolist())
    affine.SetTranslation(lps[:3, 3].tolist())
    return affine


def _matrix(getter: Any) -> np.ndarray:
    found = vtk_matrix()
    getter(found)
    return matrix_from_vtk(found)


def _updated(scene: Any, node: Any | None, transform: sitk.Transform) -> Any:
    """The node with this transform; a new one where the kind of node changes, to which all that sat under the old one moves."""
    matrix = linear_matrix(transform)
    if node is not None and matrix is not None and node.IsA("vtkMRMLLinearTransformNode"):
        node.SetMatrixTransformFromParent(matrix_to_vtk(LPS_TO_RAS @ matrix @ LPS_TO_RAS))
        return node
    made = transform_to_node(transform, scene, NAME)
    if node is not None:
        for follower in followers(node):
            follower.SetAndObserveTransformNodeID(made.GetID())
        scene.RemoveNode(node)
        made.SetName(NAME)
    return made
