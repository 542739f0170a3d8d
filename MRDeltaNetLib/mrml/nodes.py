"""Between SimpleITK (LPS, mm) and MRML nodes (RAS, mm): volumes, transforms, segmentations. Nothing is resampled."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.errors import EnvironmentProblem, InputError, require
from MRDeltaNetLib.imaging.registration.similarity import linear_parts
from MRDeltaNetLib.mrml.bootstrap import FEATURE, INSTALL, quiet, slicer_module
from MRDeltaNetLib.mrml.terminology import SegmentKind

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Its own inverse."""


def image_to_node(image: sitk.Image, scene: Any, name: str) -> Any:
    """Add a scalar volume node with the image's voxels and place.

    image    3-D scalar sitk.Image, any direction, left-handed ones too
    scene    vtkMRMLScene
    returns  vtkMRMLScalarVolumeNode with a display node; saved and read back without turning left-handed grids round
    """
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetAndObserveImageData(_vtk_image(sitk.GetArrayViewFromImage(image)))
    node.SetIJKToRASMatrix(_vtk_matrix(ijk_to_ras(image)))
    node.CreateDefaultDisplayNodes()
    node.AddDefaultStorageNode()
    node.GetStorageNode().ForceRightHandedIJKCoordinateSystemOff()
    return node


def image_from_node(node: Any) -> sitk.Image:
    """The volume node as sitk.Image (LPS, mm), voxel type kept.

    raises  InputError MRD-E830 if the node sits under a transform, MRD-E831 if it has no voxels
    """
    if node.GetParentTransformNode() is not None:
        raise InputError("This volume sits under a transform that is not applied to its voxels", code="MRD-E830",
                         fix="take the volume out of the transform in Slicer's Transforms or Data module, or harden the transform")
    data = node.GetImageData()
    if data is None or data.GetNumberOfPoints() == 0:
        raise InputError("This volume holds no voxels", code="MRD-E831", fix="load the scan again")
    support = require("vtkmodules.util.numpy_support", FEATURE, INSTALL)
    values = support.vtk_to_numpy(data.GetPointData().GetScalars()).reshape(data.GetDimensions()[::-1])
    image = sitk.GetImageFromArray(values)
    matrix = vtk_matrix()
    node.GetIJKToRASMatrix(matrix)
    lps = LPS_TO_RAS @ _array(matrix)
    first = lps @ np.array([*data.GetExtent()[::2], 1.0])
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(first[:3].tolist())
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
        node.SetMatrixTransformFromParent(_vtk_matrix(LPS_TO_RAS @ matrix @ LPS_TO_RAS))
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
        segment.AddRepresentation(slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName(), _labelmap(mask))
        node.GetSegmentation().AddSegment(segment, kind.segment_id)
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


def _vtk_matrix(values: np.ndarray) -> Any:
    matrix = vtk_matrix()
    matrix.DeepCopy(values.ravel().tolist())
    return matrix


def _array(matrix: Any) -> np.ndarray:
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def _vtk_image(values: np.ndarray) -> Any:
    support = require("vtkmodules.util.numpy_support", FEATURE, INSTALL)
    data = require("vtkmodules.vtkCommonDataModel", FEATURE, INSTALL).vtkImageData()
    data.SetDimensions(*values.shape[::-1])
    data.GetPointData().SetScalars(support.numpy_to_vtk(np.ascontiguousarray(values).ravel(), deep=True))
    return data


def _labelmap(mask: sitk.Image) -> Any:
    labelmap = slicer_module().vtkOrientedImageData()
    labelmap.ShallowCopy(_vtk_image((sitk.GetArrayViewFromImage(mask) > 0).astype(np.uint8)))
    labelmap.SetGeometryFromImageToWorldMatrix(_vtk_matrix(ijk_to_ras(mask)))
    return labelmap
