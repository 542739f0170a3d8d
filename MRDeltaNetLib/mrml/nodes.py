"""Between SimpleITK (LPS, mm) and MRML nodes (RAS, mm): volumes, transforms, segmentations. Nothing is resampled."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import EnvironmentProblem, InputError, require
from MRDeltaNetLib.imaging.registration.similarity import linear_parts
from MRDeltaNetLib.io.gate.geometry import check_frame
from MRDeltaNetLib.mrml.bootstrap import FEATURE, INSTALL, quiet, slicer_module
from MRDeltaNetLib.mrml.terminology import SegmentKind

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Its own inverse."""

ROLE = "MRDeltaNet.role"
"""Node attribute: what a node of ours is, so that it is found again in a saved scene and under another name."""

REFERENCE = "MRDeltaNet."
"""How our node references begin: what a node of ours belongs to."""


def image_to_node(image: sitk.Image, scene: Any, name: str) -> Any:
    """Add a scalar volume node with the image's voxels and place.

    image    3-D scalar sitk.Image, any direction, left-handed ones too
    scene    vtkMRMLScene
    returns  vtkMRMLScalarVolumeNode with a display node; saved and read back without turning left-handed grids round
    """
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    fill_volume(node, image)
    node.CreateDefaultDisplayNodes()
    node.AddDefaultStorageNode()
    node.GetStorageNode().ForceRightHandedIJKCoordinateSystemOff()
    return node


def fill_volume(node: Any, image: sitk.Image) -> None:
    """Replace a volume node's voxels and place by the image's; display, references and layers stay."""
    node.SetAndObserveImageData(voxels_to_vtk(sitk.GetArrayViewFromImage(image)))
    node.SetIJKToRASMatrix(matrix_to_vtk(ijk_to_ras(image)))


def image_from_node(node: Any, under: Any | None = None) -> sitk.Image:
    """The volume node as sitk.Image (LPS, mm) in its own space, voxel type kept.

    under   the one transform node that the volume may sit under; it is left out of the image's place
    raises  InputError MRD-E830 under another transform, E831 without voxels, E131 (several values a voxel), E134, E137 (spacing),
            E138, E139, E140 (axes that span no volume, sheared, not finite). SimpleITK and MRML both take a sheared frame without a
            word, and what is computed on it lies elsewhere.
    """
    lps, first = _frame(node, under)
    return _placed(_values(node.GetImageData()), lps, first)


def grid_from_node(node: Any, under: Any | None = None) -> sitk.Image:
    """The volume node's voxel grid as image_from_node gives it, without its voxels: sitk.Image, uint8 zeros. Raises the same."""
    lps, first = _frame(node, under)
    return _put(sitk.Image(node.GetImageData().GetDimensions(), sitk.sitkUInt8), lps, first)


def image_from_labelmap(labelmap: Any) -> sitk.Image:
    """A vtkOrientedImageData (RAS) as sitk.Image (LPS, mm) on its own extent, voxel type kept."""
    matrix = vtk_matrix()
    labelmap.GetImageToWorldMatrix(matrix)
    return _placed(_values(labelmap), LPS_TO_RAS @ matrix_from_vtk(matrix), labelmap.GetExtent()[::2])


def refuse_other_transform(node: Any, under: Any | None = None) -> None:
    """Refuse a node under any transform but this one (InputError MRD-E830)."""
    parent = node.GetParentTransformNode()
    if parent is not None and parent is not under:
        raise InputError("This volume sits under a transform that is not applied to its voxels", code="MRD-E830",
                         fix="take the volume out of the transform in Slicer's Transforms or Data module, or harden the transform")


def _frame(node: Any, under: Any | None) -> tuple[np.ndarray, tuple[int, int, int]]:
    """A volume node's 4x4 matrix from voxel index to LPS, mm, and the index of its first voxel; raises what image_from_node raises."""
    refuse_other_transform(node, under)
    data = node.GetImageData()
    if data is None or data.GetNumberOfPoints() == 0 or data.GetPointData().GetScalars() is None:
        raise InputError("This volume holds no voxels", code="MRD-E831", fix="load the scan again")
    if data.GetNumberOfScalarComponents() != 1:
        raise InputError("Each voxel of this volume holds several values, not one intensity", code="MRD-E131",
                         found=f"{data.GetNumberOfScalarComponents()} values", fix="choose one grey-value volume (no colour, vector or time series)")
    matrix = vtk_matrix()
    node.GetIJKToRASMatrix(matrix)
    lps = np.diag(LPS_TO_RAS)[:, None] * matrix_from_vtk(matrix)      # no sums: a frame may hold infinity
    check_frame(lps[:3, :3].T.tolist(), lps[:3, 3].tolist(), GateLimits())
    return lps, data.GetExtent()[::2]


def _values(data: Any) -> np.ndarray:
    """The voxels of a vtkImageData, array (z, y, x): a view."""
    support = require("vtkmodules.util.numpy_support", FEATURE, INSTALL)
    return support.vtk_to_numpy(data.GetPointData().GetScalars()).reshape(data.GetDimensions()[::-1])


def _placed(values: np.ndarray, lps: np.ndarray, first: tuple[int, int, int]) -> sitk.Image:
    """A copy of the voxels (z, y, x) with their place; see _put."""
    return _put(sitk.GetImageFromArray(values), lps, first)


def _put(image: sitk.Image, lps: np.ndarray, first: tuple[int, int, int]) -> sitk.Image:
    """The image, put in its place; first: index of the first voxel, to which lps (4x4, voxel index -> LPS) applies."""
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin((lps @ np.array([*first, 1.0]))[:3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    return image


def transform_to_node(transform: sitk.Transform, scene: Any, name: str) -> Any:
    """Add a transform node that brings what lies under it from post's to pre's space.

    transform  SimpleITK resampling transform, pre LPS -> post LPS, mm
    returns    vtkMRMLLinearTransformNode, or vtkMRMLTransformNode for a free-form transform. Slicer moves the nodes under a transform
               by its ToParent direction, which is the inverse of a resampling transform; so ours is the node's FromParent direction.
    raises     EnvironmentProblem MRD-E833 if a free-form transform cannot be handed over
    """
    matrix = linear_matrix(transform)
    if matrix is not None:
        node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
        node.SetMatrixTransformFromParent(matrix_to_vtk(LPS_TO_RAS @ matrix @ LPS_TO_RAS))
        node.AddDefaultStorageNode()
        node.GetStorageNode().SetDefaultWriteFileExtension("tfm")     # text; an .h5 file carries the time of writing
        return node
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", name)
    storage = slicer_module().vtkMRMLTransformStorageNode()
    with tempfile.TemporaryDirectory(prefix="mrdeltanet-transform-") as folder, quiet():
        file = Path(folder) / "transform.h5"
        sitk.WriteTransform(transform, str(file))
        storage.SetFileName(str(file))
        if not storage.ReadData(node):
            raise EnvironmentProblem("The transform could not be handed over to Slicer", code="MRD-E833",
                                     found=transform.GetName(), fix="register rigidly, or leave the scene out")
    return node


def linear_matrix(transform: sitk.Transform) -> np.ndarray | None:
    """The transform as a 4x4 matrix (LPS, mm), its centre folded in; None if it is not linear."""
    if not transform.IsLinear():
        return None
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear_parts(transform)
    return matrix


def segmentation_to_node(masks: Sequence[tuple[SegmentKind, sitk.Image]], scene: Any, name: str, reference: Any) -> Any:
    """Add a segmentation node with one segment per mask.

    masks      what each is, and its mask (uint8 {0, 1}); an empty mask gives an empty segment
    reference  the volume node of the scan on which they were drawn; becomes the segmentation's reference geometry
    returns    vtkMRMLSegmentationNode with binary labelmaps
    """
    slicer = slicer_module()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetVisibility2DFill(False)       # outlines only, so that an overlay's colours stay true
    node.SetReferenceImageGeometryParameterFromVolumeNode(reference)
    for kind, mask in masks:
        segment = slicer.vtkSegment()
        segment.SetName(kind.name)
        segment.SetColor(*kind.rgb)
        segment.SetTerminology(kind.terminology)
        segment.AddRepresentation(slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName(), labelmap(mask))
        node.GetSegmentation().AddSegment(segment, kind.segment_id)
    return node


def ours(scene: Any, class_name: str, role: str, **references: Any) -> Any | None:
    """The scene's first node of this class with this role whose node references (name -> node) are these; None if there is none."""
    for index in range(scene.GetNumberOfNodesByClass(class_name)):
        node = scene.GetNthNodeByClass(index, class_name)
        if node.GetAttribute(ROLE) == role and all(node.GetNodeReference(f"{REFERENCE}{name}") is wanted for name, wanted in references.items()):
            return node
    return None


def make_ours(node: Any, role: str, **references: Any) -> Any:
    """Give a node its role and its references (name -> node); returns the node."""
    node.SetAttribute(ROLE, role)
    for name, target in references.items():
        node.SetNodeReferenceID(f"{REFERENCE}{name}", target.GetID())
    return node


def ijk_to_ras(image: sitk.Image) -> np.ndarray:
    """4x4 matrix from voxel index (i, j, k) to RAS, mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return LPS_TO_RAS @ matrix


def vtk_matrix() -> Any:
    """A vtkMatrix4x4, identity."""
    return require("vtkmodules.vtkCommonMath", FEATURE, INSTALL).vtkMatrix4x4()


def matrix_to_vtk(values: np.ndarray) -> Any:
    """A 4x4 array as vtkMatrix4x4."""
    matrix = vtk_matrix()
    matrix.DeepCopy(values.ravel().tolist())
    return matrix


def matrix_from_vtk(matrix: Any) -> np.ndarray:
    """A vtkMatrix4x4 as 4x4 array."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def voxels_to_vtk(values: np.ndarray) -> Any:
    """vtkImageData with a copy of the voxels, array (z, y, x), and without a place."""
    support = require("vtkmodules.util.numpy_support", FEATURE, INSTALL)
    data = require("vtkmodules.vtkCommonDataModel", FEATURE, INSTALL).vtkImageData()
    data.SetDimensions(*values.shape[::-1])
    data.GetPointData().SetScalars(support.numpy_to_vtk(np.ascontiguousarray(values).ravel(), deep=True))
    return data


def labelmap(mask: sitk.Image) -> Any:
    """A mask (above 0 counts) as vtkOrientedImageData with values 0 and 1, in RAS."""
    made = slicer_module().vtkOrientedImageData()
    made.ShallowCopy(voxels_to_vtk((sitk.GetArrayViewFromImage(mask) > 0).astype(np.uint8)))
    made.SetGeometryFromImageToWorldMatrix(matrix_to_vtk(ijk_to_ras(mask)))
    return made
