"""Values computed from nodes of a live scene, kept for as long as what they were computed from is unchanged.

A key says in what state voxels are: which data object holds them and VTK's time of its last change, which also counts changes of its arrays.
VTK's clock never gives one time twice, so an object that takes a freed one's address has a later time. Whoever writes through a numpy view has
to say so (slicer.util.arrayFromVolumeModified), or neither a view of Slicer's nor a key sees it; a run therefore reads without what is kept.
"""

from __future__ import annotations

from typing import Any, Callable, Hashable, TypeVar

from MRDeltaNetLib.mrml.bootstrap import slicer_module
from MRDeltaNetLib.mrml.nodes import matrix_from_vtk, vtk_matrix

Value = TypeVar("Value")


class Kept:
    """Name -> the value of the latest key: a changed scan takes the place of what was known of it. Holds plain values, never a node."""

    def __init__(self) -> None:
        self._values: dict[Hashable, tuple[Hashable, Any]] = {}

    def value(self, name: Hashable, key: Hashable, make: Callable[[], Value]) -> Value:
        """What make() gave for this key; called only if the name's key is another one. What it raises is not kept."""
        found = self._values.get(name)
        if found is None or found[0] != key:
            found = self._values[name] = (key, make())
        return found[1]

    def forget(self) -> None:
        """Keep nothing any more."""
        self._values.clear()


def scan_key(volume: Any) -> Hashable:
    """Another one as soon as the volume node's voxels, their type, or their place in its own space are.

    A transform over the node does not count: it is not applied, and whether there may be one is checked whenever the scan is read.
    """
    matrix = vtk_matrix()
    volume.GetIJKToRASMatrix(matrix)
    return volume.GetClassName(), _state(volume.GetImageData()), matrix_from_vtk(matrix).tobytes()


def segment_key(segmentation: Any, segment_id: str) -> Hashable:
    """Another one as soon as the segment's voxels or surface are; a labelmap that it shares with others counts as a whole.

    segment_id  of a segment that is there
    """
    names, segment = slicer_module().vtkSegmentationConverter, segmentation.GetSegmentation().GetSegment(segment_id)
    drawn = [segment.GetRepresentation(name) for name in (names.GetSegmentationBinaryLabelmapRepresentationName(),
                                                          names.GetSegmentationClosedSurfaceRepresentationName())]
    return *map(_state, drawn), segment.GetLabelValue()


def _state(data: Any | None) -> Hashable:
    """Which data object, and when it last changed."""
    return None if data is None else (data.GetAddressAsString(""), data.GetMTime())
