"""Two slice views that show the same place of both scans: layers, orientation, fit, blend, and a checkerboard of both.

The layout is the door's business; what is here works on slice nodes and their layers (slice composite nodes) alone. Slicer moves the
partner of a linked view only when a person moves one, so everything here is done to both.
"""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.mrml.bootstrap import slicer_module
from MRDeltaNetLib.mrml.nodes import (fill_volume, image_from_node, image_to_node, make_ours, matrix_from_vtk, matrix_to_vtk, ours, vtk_matrix)
from MRDeltaNetLib.report.pictures import display_window

PLANES = {"Axial": ((-1, 0, 0), (0, 1, 0), (0, 0, 1)), "Coronal": ((-1, 0, 0), (0, 0, 1), (0, 1, 0)),
          "Sagittal": ((0, -1, 0), (0, 0, 1), (-1, 0, 0))}
"""Slicer's planes: the view's right, up and normal direction in RAS."""

DIRECTIONS = (("R", "L"), ("A", "P"), ("H", "F"))
"""Letters of the RAS axes, forwards and backwards: right, left, anterior, posterior, head, feet."""

OBLIQUE = 0.2
"""A direction that leans by more than about 12 degrees to another axis gets that one's letter too."""

GREY_LEVELS = 255
_CHECKERBOARD = "checkerboard"


def layers_of(view: Any) -> Any | None:
    """The slice composite node of a slice node, None if it has none yet."""
    return slicer_module().vtkMRMLSliceLogic.GetSliceCompositeNode(view)


def show_layers(layers: Any, background: Any | None, foreground: Any | None = None, opacity: float = 0.5) -> None:
    """Put a scan and what lies over it into a view; the label layer is emptied.

    layers      slice composite node
    background  volume node or None
    foreground  volume node or None; opacity of it, 0 to 1
    """
    layers.SetBackgroundVolumeID(None if background is None else background.GetID())
    layers.SetForegroundVolumeID(None if foreground is None else foreground.GetID())
    layers.SetLabelVolumeID(None)
    blend(layers, opacity)


def blend(layers: Any, opacity: float) -> None:
    """How much the foreground covers the background: 0 shows the background alone, 1 the foreground."""
    layers.SetCompositing(slicer_module().vtkMRMLSliceCompositeNode.Alpha)
    layers.SetForegroundOpacity(min(max(float(opacity), 0.0), 1.0))


def orient_alike(views: Sequence[Any], pre: Any, plane: str = "Axial") -> None:
    """Turn views to the pre scan's own plane nearest to a patient plane, all to the very same, so that offsets mean the same place.

    plane  "Axial", "Coronal" or "Sagittal". Patient right is on the left of axial and coronal views, whatever the view was before; a
           fresh slice node alone shows left and right exchanged
    """
    first = _axes(PLANES[plane])
    offset = matrix_from_vtk(views[0].GetSliceToRAS())[:3, 3]
    first[:3, 3] = offset
    _set_axes(views[0], first)
    views[0].RotateToVolumePlane(pre)
    turned = matrix_from_vtk(views[0].GetSliceToRAS())
    for view in views:
        _set_axes(view, turned)


def fit(views: Sequence[Any], volume: Any) -> None:
    """Show the whole volume in every view, one scale for all, middle on middle; a slice inside the volume stays, another becomes the middle one."""
    slice_to_ras = matrix_from_vtk(views[0].GetSliceToRAS())
    low, high = _bounds(volume, slice_to_ras)
    middle = (low + high) / 2
    if low[2] <= 0 <= high[2]:
        middle[2] = 0.0                                   # bounds are measured from the slice that is shown
    slice_to_ras[:3, 3] = (slice_to_ras @ [*middle, 1.0])[:3]
    sizes = [np.maximum(view.GetDimensions()[:2], 1) for view in views]
    pixel_mm = max(((high - low)[:2] / size).max() for size in sizes)
    for view, size in zip(views, sizes):
        _set_axes(view, slice_to_ras)
        view.SetFieldOfView(*(size * pixel_mm).tolist(), view.GetFieldOfView()[2])


def link(views: Sequence[Any], group: int, linked: bool = True) -> None:
    """Let a person's moves in one view move the others, and nobody else's views: all get a view group of their own."""
    for view in views:
        view.SetViewGroup(group)
        layers = layers_of(view)
        if layers is not None:
            layers.SetLinkedControl(linked)
            layers.SetHotLinkedControl(linked)


def jump_to(views: Sequence[Any], point_lps_mm: Sequence[float], *, centre: bool = False) -> None:
    """Show the slice through a point (LPS, mm, as the scene shows it: pre's space) in every view; centre: move it to the middle too."""
    right, anterior, superior = -point_lps_mm[0], -point_lps_mm[1], point_lps_mm[2]
    for view in views:
        if centre:
            view.JumpSliceByCentering(right, anterior, superior)
        else:
            view.JumpSliceByOffsetting(right, anterior, superior)


def zoom(views: Sequence[Any], width_mm: float) -> None:
    """Show so many mm along the shorter side of every view, one scale for all."""
    sizes = [np.maximum(view.GetDimensions()[:2], 1) for view in views]
    pixel_mm = max(width_mm / min(size) for size in sizes)
    for view, size in zip(views, sizes):
        view.SetXYZOrigin(0, 0, 0)
        view.SetFieldOfView(*(size * pixel_mm).tolist(), view.GetFieldOfView()[2])


def copy_place(source: Any, target: Any) -> None:
    """Show in one slice node what another shows: the same plane, the same middle, the same scale whatever the views' sizes."""
    width, height, depth = source.GetFieldOfView()
    sizes = [np.maximum(node.GetDimensions()[:2], 1) for node in (source, target)]
    pixel_mm = max(width / sizes[0][0], height / sizes[0][1])
    target.GetSliceToRAS().DeepCopy(source.GetSliceToRAS())
    target.SetXYZOrigin(*source.GetXYZOrigin())
    target.SetFieldOfView(*(sizes[1] * pixel_mm).tolist(), target.GetFieldOfView()[2])
    target.UpdateMatrices()


def meeting_place(views: Sequence[Any]) -> tuple[float, float, float]:
    """Where the slices of three views meet: LPS, mm, as the scene shows it. views: slice nodes of three planes, none parallel to another"""
    planes = [matrix_from_vtk(view.GetSliceToRAS()) for view in views]
    normals = np.array([plane[:3, 2] for plane in planes])
    right, anterior, superior = np.linalg.solve(normals, [normal @ plane[:3, 3] for normal, plane in zip(normals, planes)])
    return -float(right), -float(anterior), float(superior)


def edge_letters(view: Any) -> tuple[str, str, str, str]:
    """What lies beyond a slice node's left, right, upper and lower edge: one letter, or more for an oblique slice, the nearest axis first
    (as DICOM's patient orientation, PS3.3 C.7.6.1.1.1)."""
    matrix = matrix_from_vtk(view.GetSliceToRAS())
    right, up = matrix[:3, 0], matrix[:3, 1]
    return _letters(-right), _letters(right), _letters(up), _letters(-up)


def _letters(direction_ras: np.ndarray) -> str:
    order = [axis for axis in np.argsort(-np.abs(direction_ras), kind="stable") if abs(direction_ras[axis]) > OBLIQUE]
    return "".join(DIRECTIONS[axis][int(direction_ras[axis] < 0)] for axis in order)


def keep_out_of_files(*nodes: Any) -> None:
    """Leave nodes (our slice nodes and their layers) out of saved scenes: somebody without MRDeltaNet would get grey views."""
    for node in nodes:
        node.SetSaveWithScene(False)


def keep_own_layers(*layers: Any) -> None:
    """What Slicer loads next is shown in its own views and not in these (slice composite nodes): each goes on showing its scan."""
    for node in layers:
        node.SetDoPropagateVolumeSelection(False)


def checkerboard(pre: Any, post: Any, transform: sitk.Transform, squares: int = 8) -> Any:
    """A volume of alternating squares of both scans, on pre's grid, for judging an alignment by eye.

    transform  pre LPS -> post LPS, mm
    squares    along the longest side of pre's field of view; they are cubes in mm, so that every plane shows squares
    returns    the volume node, made or filled anew, not saved with the scene: each scan's grey values from 0 to 255 between its own display
               window's ends, 0 where the post scan has no voxels; the cube at pre's first voxel shows pre
    """
    if squares < 2:
        raise ValueError(f"at least two squares, not {squares}")
    first, second = (image_from_node(node, node.GetParentTransformNode()) for node in (pre, post))
    moved, seen = sitk.Resample(second, first, transform, sitk.sitkLinear, 0.0, sitk.sitkFloat32), _field_of_view(second, first, transform)
    greys = [_grey(sitk.GetArrayFromImage(image), display_window(of)) for image, of in ((first, first), (moved, second))]
    greys[1][~seen] = 0
    board = sitk.GetImageFromArray(np.where(_odd(first, squares), greys[1], greys[0]).astype(np.uint8))
    board.CopyInformation(first)
    return _board_node(pre, post, board)


def _board_node(pre: Any, post: Any, board: sitk.Image) -> Any:
    node = ours(pre.GetScene(), "vtkMRMLScalarVolumeNode", _CHECKERBOARD, pre=pre, post=post)
    if node is not None:
        fill_volume(node, board)
        return node
    node = make_ours(image_to_node(board, pre.GetScene(), "Checkerboard of both scans"), _CHECKERBOARD, pre=pre, post=post)
    display = node.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0, GREY_LEVELS)
    keep_out_of_files(node, display)
    return node


def _field_of_view(image: sitk.Image, grid: sitk.Image, transform: sitk.Transform) -> np.ndarray:
    """Which voxels of the grid lie in the other image; bool (z, y, x)."""
    ones = sitk.Image(image.GetSize(), sitk.sitkUInt8) + 1
    ones.CopyInformation(image)
    return sitk.GetArrayFromImage(sitk.Resample(ones, grid, transform, sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)) > 0


def _grey(values: np.ndarray, window: Any) -> np.ndarray:
    return np.clip((values - window.low) / (window.high - window.low), 0, 1) * GREY_LEVELS


def _odd(image: sitk.Image, squares: int) -> np.ndarray:
    """Which voxels show the second scan; bool (z, y, x)."""
    sizes, spacing = np.array(image.GetSize()), np.array(image.GetSpacing())
    side_mm = float((sizes * spacing).max()) / squares
    numbers = [(np.arange(size) * step // side_mm).astype(int) for size, step in zip(sizes, spacing)]
    return (numbers[2][:, None, None] + numbers[1][None, :, None] + numbers[0][None, None, :]) % 2 == 1


def _axes(columns: Sequence[Sequence[float]]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(columns, float).T
    return matrix


def _set_axes(view: Any, slice_to_ras: np.ndarray) -> None:
    view.GetSliceToRAS().DeepCopy(matrix_to_vtk(slice_to_ras))
    view.UpdateMatrices()


def _bounds(volume: Any, slice_to_ras: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The volume's extent along the slice's axes, measured from its middle, mm: lowest and highest (3,)."""
    ras_to_slice, found = vtk_matrix(), [0.0] * 6
    ras_to_slice.DeepCopy(matrix_to_vtk(np.linalg.inv(slice_to_ras)))
    volume.GetSliceBounds(found, ras_to_slice)
    return np.array(found[::2]), np.array(found[1::2])
