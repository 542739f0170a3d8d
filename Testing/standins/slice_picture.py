"""What a slice view shows, without OpenGL: the slice logic's blend, outlines of segments, points, colour legends and the names of the layers."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6 import QtCore, QtGui
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonMath import vtkMatrix4x4
from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

POINT_REACH_MM = 2.0


def blended(logic: Any, width: int, height: int) -> np.ndarray:
    """The layers as the slice logic blends them: uint8, shape (height, width, 3), row 0 at the top."""
    picture = np.zeros((height, width, 3), np.uint8)
    if logic.GetBackgroundLayer().GetVolumeNode() is None and logic.GetForegroundLayer().GetVolumeNode() is None:
        return picture
    producer = logic.GetImageDataConnection().GetProducer()
    producer.Update()
    image = producer.GetOutputDataObject(0)
    columns, rows, _ = image.GetDimensions()
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)[::-1, :, :3]
    picture[:rows, :columns] = values[:height, :width]
    return picture


def _matrix(matrix: vtkMatrix4x4) -> np.ndarray:
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def pixel_points(slice_node: Any, width: int, height: int) -> np.ndarray:
    """RAS point in mm of every pixel, shape (height, width, 3), row 0 at the top."""
    x, y = np.meshgrid(np.arange(width), np.arange(height)[::-1])
    return np.stack([x, y, np.zeros_like(x), np.ones_like(x)], -1) @ _matrix(slice_node.GetXYToRAS()).T[:, :3]


def segment_mask(node: Any, segment_id: str, points: np.ndarray) -> np.ndarray:
    """Where these RAS points (..., 3) lie inside the segment: bool, nearest voxel, the node's linear transforms applied."""
    inside = np.zeros(points.shape[:-1], bool)
    image = node.GetSegmentation().GetSegment(segment_id).GetRepresentation("Binary labelmap")
    if image is None or image.GetNumberOfPoints() == 0:
        return inside
    world_to_image = vtkMatrix4x4()
    image.GetWorldToImageMatrix(world_to_image)
    to_image = _matrix(world_to_image)
    if node.GetParentTransformNode():
        from_world = vtkMatrix4x4()
        node.GetParentTransformNode().GetMatrixTransformFromWorld(from_world)
        to_image = to_image @ _matrix(from_world)
    extent = np.array(image.GetExtent()).reshape(3, 2)
    index = np.rint(points @ to_image[:3, :3].T + to_image[:3, 3]).astype(int) - extent[:, 0]
    size = extent[:, 1] - extent[:, 0] + 1
    within = np.all((index >= 0) & (index < size), -1)
    labels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(size[::-1])
    i, j, k = index[within].T
    inside[within] = labels[k, j, i] == node.GetSegmentation().GetSegment(segment_id).GetLabelValue()
    return inside


def edge(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask that have a neighbour outside it, two pixels wide."""
    core = mask.copy()
    for _ in range(2):
        padded = np.pad(core, 1)
        core = padded[1:-1, 1:-1] & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~core


def draw_segments(picture: np.ndarray, scene: Any, slice_node: Any) -> None:
    """Outline and fill of every segment that is displayed in this view, drawn into the picture."""
    points = None
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLSegmentationNode")
        display = node.GetDisplayNode()
        if display is None or not display.GetVisibility() or not display.GetVisibility2D() or not display.IsDisplayableInView(slice_node.GetID()):
            continue
        points = pixel_points(slice_node, picture.shape[1], picture.shape[0]) if points is None else points
        for segment_id in node.GetSegmentation().GetSegmentIDs():
            if display.GetSegmentVisibility(segment_id):
                _draw_segment(picture, node, display, segment_id, points)


def _draw_segment(picture: np.ndarray, node: Any, display: Any, segment_id: str, points: np.ndarray) -> None:
    mask = segment_mask(node, segment_id, points)
    colour = np.array(node.GetSegmentation().GetSegment(segment_id).GetColor()) * 255
    if display.GetVisibility2DFill() and display.GetSegmentVisibility2DFill(segment_id):
        share = display.GetOpacity() * display.GetOpacity2DFill() * display.GetSegmentOpacity2DFill(segment_id)
        picture[mask] = (picture[mask] * (1 - share) + colour * share).astype(np.uint8)
    if display.GetVisibility2DOutline() and display.GetSegmentVisibility2DOutline(segment_id):
        picture[edge(mask)] = colour.astype(np.uint8)


def draw_points(painter: QtGui.QPainter, scene: Any, slice_node: Any, height: int) -> None:
    """Control points within POINT_REACH_MM of the slice, where their list is displayed."""
    to_xy = np.linalg.inv(_matrix(slice_node.GetXYToRAS()))
    normal = np.array([slice_node.GetSliceToRAS().GetElement(row, 2) for row in range(3)])
    origin = np.array([slice_node.GetSliceToRAS().GetElement(row, 3) for row in range(3)])
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLMarkupsFiducialNode")
        display = node.GetDisplayNode()
        if display is None or not display.GetVisibility() or not display.IsDisplayableInView(slice_node.GetID()):
            continue
        painter.setPen(QtGui.QPen(QtGui.QColor.fromRgbF(*display.GetSelectedColor()), 2))
        for number in range(node.GetNumberOfControlPoints()):
            place = np.array(node.GetNthControlPointPositionWorld(number))
            if abs(normal @ (place - origin)) <= POINT_REACH_MM:
                x, y = (to_xy @ [*place, 1])[:2]
                painter.drawEllipse(QtCore.QPointF(x, height - 1 - y), 5, 5)
                painter.drawText(QtCore.QPointF(x + 8, height - 1 - y), node.GetNthControlPointLabel(number))


def draw_legend(painter: QtGui.QPainter, legend: Any, width: int, height: int) -> None:
    """A bar of the colours of the legend's volume with its title and labels, at the right."""
    display = legend.GetPrimaryDisplayNode()
    table = display.GetColorNode() if display else None
    if table is None or not legend.GetVisibility():
        return
    low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
    top, long, left, colours = height // 4, height // 2, width - 70, table.GetNumberOfColors()
    painter.fillRect(left - 6, top - 26, 76, long + 40, QtGui.QColor(0, 0, 0, 120))
    for row in range(long):
        colour = [0.0] * 4
        table.GetColor(round((long - 1 - row) / max(long - 1, 1) * (colours - 1)), colour)
        painter.fillRect(left, top + row, 14, 1, QtGui.QColor.fromRgbF(*colour[:3]))
    painter.setPen(QtGui.QColor("white"))
    painter.drawText(QtCore.QRect(left - 80, top - 22, 140, 18), QtCore.Qt.AlignRight, legend.GetTitleText() or "")
    for number in range(count := max(legend.GetNumberOfLabels(), 2)):
        share = number / (count - 1)
        painter.drawText(left + 18, round(top + long * (1 - share)) + 4, legend.GetLabelFormat() % (low + share * (high - low)))


def layer_lines(logic: Any) -> list[str]:
    """What the corner says: 'F: map (60%)', 'B: scan'."""
    composite, lines = logic.GetSliceCompositeNode(), []
    for letter, layer, opacity in (("L", logic.GetLabelLayer(), composite.GetLabelOpacity()),
                                   ("F", logic.GetForegroundLayer(), composite.GetForegroundOpacity()), ("B", logic.GetBackgroundLayer(), 1.0)):
        if layer is not None and layer.GetVolumeNode() is not None:
            lines.append(f"{letter}: {layer.GetVolumeNode().GetName()}" + (f" ({opacity:.0%})" if letter != "B" else ""))
    return lines


def slice_image(logic: Any, legends: list[Any], width: int, height: int) -> QtGui.QImage:
    """The whole picture of a slice view."""
    scene, slice_node = logic.GetMRMLScene(), logic.GetSliceNode()
    picture = blended(logic, width, height)
    draw_segments(picture, scene, slice_node)
    image = QtGui.QImage(picture.tobytes(), width, height, 3 * width, QtGui.QImage.Format_RGB888).copy()
    painter = QtGui.QPainter(image)
    draw_points(painter, scene, slice_node, height)
    for legend in legends:
        if legend.GetPrimaryDisplayNode() is not None:
            draw_legend(painter, legend, width, height)
    painter.setPen(QtGui.QColor("white"))
    for row, line in enumerate(reversed(layer_lines(logic))):
        painter.drawText(6, height - 8 - 16 * row, line)
    painter.end()
    return image
