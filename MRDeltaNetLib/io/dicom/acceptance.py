"""Which frames make one volume: one patient, one frame of reference, one grid, evenly spaced slices; everything else is refused.

Slices are ordered by their position along the normal of the image plane, never by file name or instance number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Iterable

import numpy as np

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, Notice
from MRDeltaNetLib.io.dicom.frames import KIND, Frame
from MRDeltaNetLib.io.dicom.header import DicomFile
from MRDeltaNetLib.io.gate.facts import OneVolumeOnly

SAME_PLACE_MM = 0.01
SAME_SPACING_MM = 1e-4
SAME_DIRECTION = 1e-4
"""Largest difference between components of unit vectors that are one direction; headers round them to 5 or more digits."""
SAME_AXIS_VALUE = 0.01
"""Echo times, b-values and the like that differ by less than this fraction are one value (scanners round them differently)."""
MAX_VALUES_LISTED = 6

Slice = tuple[DicomFile, Frame]


@dataclass(frozen=True)
class Volume:
    """The frames of one volume, ordered along the normal, and their place.

    origin_mm     (3,) LPS, centre of the first voxel
    spacing_mm    (3,) along a row, down a column, from slice to slice
    direction     (3, 3) columns are the unit vectors of these three axes, LPS
    """

    slices: tuple[Slice, ...]
    origin_mm: np.ndarray
    spacing_mm: np.ndarray
    direction: np.ndarray
    notices: tuple[Notice, ...] = ()


def accept(files: list[DicomFile], volume_index: int | None, limits: GateLimits) -> Volume:
    """The one volume that the files of a series hold.

    volume_index  which of several (echoes, b-values, times, stacks), counted from 0; None if there must be only one
    raises        InputError MRD-E210 to E220, E222 to E224, E226, E227
    """
    _has_voxels(files)
    _one_patient(files)
    _plain_grey(files)
    _bits_fit(files)
    slices = [(file, frame) for file in files for frame in file.frames]
    slices = _chosen_volume(slices, volume_index)
    _has_geometry(slices, limits)
    _one_plane(slices)
    return _stacked(slices, limits)


def _has_voxels(files: list[DicomFile]) -> None:
    empty = sum(file.structure.pixel_offset is None for file in files)
    if empty:
        raise InputError("Some slices have no voxel values", code="MRD-E220", found=f"{empty} of {len(files)} files hold only a header",
                         fix="export the series again from the archive")
    if any(file.declared_frames != len(file.frames) for file in files):
        raise InputError("A multi-frame file does not describe each of its frames, so they have no place in the patient", code="MRD-E214",
                         found=f"{max(file.declared_frames or 0 for file in files)} frames declared, {len(files[0].frames)} described",
                         fix="export the series as enhanced MR with its functional groups, or as single slices")


def _one_patient(files: list[DicomFile]) -> None:
    names = sorted({name for file in files for name in file.patient})
    mixed = [name for name in names if len({file.patient.get(name) for file in files}) > 1]
    if mixed:
        raise InputError("The slices belong to more than one patient", code="MRD-E210", found="slices differ in " + ", ".join(mixed),
                         fix="export the series of one patient into a folder of its own")
    if len({file.study_uid for file in files}) > 1:
        raise InputError("The slices belong to more than one study", code="MRD-E211",
                         found=f"{len({file.study_uid for file in files})} studies",
                         fix="export the series of one study into a folder of its own")
    if len({file.frame_uid for file in files}) > 1:
        raise InputError("The slices do not share one frame of reference, so their positions cannot be compared", code="MRD-E211",
                         found=f"{len({file.frame_uid for file in files})} frames of reference",
                         fix="export one series that was made without moving the patient")


def _plain_grey(files: list[DicomFile]) -> None:
    kinds = {file.photometric for file in files}
    if any(file.samples != 1 for file in files) or not kinds <= {"MONOCHROME1", "MONOCHROME2"}:
        raise InputError("The slices are colour pictures, not measured signal", code="MRD-E223",
                         found=", ".join(sorted(kind or "no photometric interpretation" for kind in kinds)),
                         fix="choose the original grey-scale series, not a colour map or a screen capture")
    if any("MOSAIC" in frame.hard.get(KIND, "") for file in files for frame in file.frames):
        raise InputError("The slices are tiled into mosaics, several in one picture", code="MRD-E227", found="image type MOSAIC",
                         fix="export the series as enhanced multi-frame DICOM, or convert it to NIfTI with dcm2niix")
    if "MONOCHROME1" in kinds:
        raise InputError("The slices are stored with inverted brightness, so low values may stand for high signal", code="MRD-E224",
                         found="MONOCHROME1", fix="export the original series as MONOCHROME2")


def _bits_fit(files: list[DicomFile]) -> None:
    for file in files:
        allocated, stored = file.bits_allocated, file.bits_stored
        if allocated not in (8, 16, 32) or stored is None or not 1 <= stored <= allocated or file.high_bit != stored - 1 \
                or file.signed not in (0, 1):
            raise InputError("The header contradicts itself about how voxel values are stored", code="MRD-E222",
                             found=f"{allocated} bits allocated, {stored} stored, high bit {file.high_bit}, "
                                   f"pixel representation {file.signed}",
                             fix="export the series again from the scanner or the archive")


def _chosen_volume(slices: list[Slice], volume_index: int | None) -> list[Slice]:
    names, volumes = split(slices)
    if len(volumes) == 1 and volume_index in (None, 0):
        return volumes[0]
    if len(volumes) == 1:
        raise OneVolumeOnly("There is no volume with this index in the series", code="MRD-E218",
                            found=f"--volume-index {volume_index}, 1 volume", fix="leave --volume-index out")
    if volume_index is None:
        raise InputError(f"The series holds {len(volumes)} volumes that differ in {' and '.join(names)}", code="MRD-E217",
                         found="; ".join(_values(slices, name) for name in names),
                         fix=f"choose one with --volume-index 0 to {len(volumes) - 1}, or export it as a series of its own")
    if not 0 <= volume_index < len(volumes):
        raise InputError("There is no volume with this index in the series", code="MRD-E218",
                         found=f"--volume-index {volume_index}, {len(volumes)} volumes", fix=f"choose 0 to {len(volumes) - 1}")
    return volumes[volume_index]


def split(slices: list[Slice]) -> tuple[list[str], list[list[Slice]]]:
    """The volumes in a series, ordered by the values of the axes they differ in, and the names of those axes.

    Hard axes (echo time, b-value, image type, time, stack) always separate. If positions then still repeat, the first soft axis
    (acquisition, direction, ...) that separates them into volumes of equal size is taken; without one they stay together, and are
    refused as duplicates later.
    """
    hard = _varying(slices, lambda frame: frame.hard)
    volumes = _grouped(slices, hard, [])
    if any(_repeats(volume) for volume in volumes):
        for soft in _varying(slices, lambda frame: frame.soft):
            finer = _grouped(slices, hard, [soft])
            if len({len(volume) for volume in finer}) == 1 and not any(_repeats(volume) for volume in finer):
                return [*hard, soft], finer
    return hard, volumes


def _varying(slices: list[Slice], axes: Callable[[Frame], Any]) -> list[str]:
    names = dict.fromkeys(name for _, frame in slices for name in axes(frame))
    return [name for name in names if len(set(_levels([axes(frame).get(name) for _, frame in slices]))) > 1]


def _grouped(slices: list[Slice], hard: list[str], soft: list[str]) -> list[list[Slice]]:
    levels = [_levels([frame.hard.get(name) for _, frame in slices]) for name in hard]
    levels += [_levels([frame.soft.get(name) for _, frame in slices]) for name in soft]
    groups: dict[tuple[int, ...], list[Slice]] = {}
    for index, item in enumerate(slices):
        groups.setdefault(tuple(level[index] for level in levels), []).append(item)
    return [groups[key] for key in sorted(groups)]


def _levels(values: list[Any]) -> list[int]:
    """The rank of each value among the distinct ones; absent comes first, numbers that differ only by rounding are one."""
    ordered = sorted(set(values), key=lambda v: (v is not None, isinstance(v, str), str(type(v)) if isinstance(v, tuple) else "",
                                                 v if v is not None else 0))
    rank, level, previous = {}, -1, None
    for value in ordered:
        close = isinstance(value, (int, float)) and isinstance(previous, (int, float)) and \
            abs(value - previous) <= SAME_AXIS_VALUE * abs(value) and not (isinstance(value, int) and isinstance(previous, int))
        level += 0 if close else 1
        rank[value], previous = level, value
    return [rank[value] for value in values]


def _values(slices: list[Slice], name: str) -> str:
    """The distinct values of an axis, for a message."""
    values = {frame.hard.get(name, frame.soft.get(name)) for _, frame in slices}
    if any(isinstance(value, tuple) for value in values):
        return f"{name}: {len(values)} values"
    ordered = sorted(values, key=lambda v: (v is not None, isinstance(v, str), v if v is not None else 0))
    shown = ["none" if v is None else f"{v:g}" if isinstance(v, (int, float)) else v for v in ordered[:MAX_VALUES_LISTED]]
    return f"{name}: {', '.join(shown)}" + (f" and {len(ordered) - MAX_VALUES_LISTED} more" if len(ordered) > MAX_VALUES_LISTED else "")


def _repeats(volume: list[Slice]) -> bool:
    """True if two frames lie at one place in one orientation."""
    seen = set()
    for _, frame in volume:
        if frame.position is None:
            continue
        key = tuple(round(v / SAME_PLACE_MM / 10) if np.isfinite(v) else v for v in frame.position) + (frame.orientation,)
        if key in seen:
            return True
        seen.add(key)
    return False


def _has_geometry(slices: list[Slice], limits: GateLimits) -> None:
    for name, wrong in (("image position", lambda f: not _finite(f.position, 3)),
                        ("image orientation", lambda f: not _unit_and_square(f.orientation, limits.direction_tolerance)),
                        ("pixel spacing", lambda f: not _finite(f.spacing, 2) or min(f.spacing) <= 0)):
        missing = sum(1 for _, frame in slices if wrong(frame))
        if missing:
            raise InputError(f"The {name} is missing or impossible, so the slices have no place in the patient", code="MRD-E214",
                             found=f"{missing} of {len(slices)} slices", fix="export the original series from the scanner or the archive, "
                                                                            "not a screen capture or a processed copy")


def _finite(values: tuple[float, ...] | None, count: int) -> bool:
    return values is not None and len(values) == count and bool(np.isfinite(values).all()) and max(map(abs, values)) < 1e6


def _unit_and_square(orientation: tuple[float, ...] | None, tolerance: float) -> bool:
    if not _finite(orientation, 6):
        return False
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    return bool(abs(row @ row - 1) < tolerance and abs(column @ column - 1) < tolerance and abs(row @ column) < tolerance)


def _one_plane(slices: list[Slice]) -> None:
    """One orientation, one matrix, one in-plane spacing."""
    orientations = np.array([frame.orientation for _, frame in slices])
    if np.abs(orientations - orientations[0]).max() > SAME_DIRECTION:
        raise InputError("The slices do not all have one orientation", code="MRD-E212",
                         found=_counted(map(tuple, orientations.round(3)), "orientation") + f" in {len(slices)} slices",
                         fix="take localiser images out of the folder, or choose another series")
    sizes = {(file.rows, file.columns) for file, _ in slices}
    spacings = np.array([frame.spacing for _, frame in slices])
    if len(sizes) > 1 or np.ptp(spacings, axis=0).max() > SAME_SPACING_MM:
        raise InputError("The slices differ in matrix or voxel size", code="MRD-E213",
                         found=f"{_counted(sizes, 'matrix size')}, {_counted({frame.spacing for _, frame in slices}, 'voxel size')}",
                         fix="choose a series whose slices all have one matrix")


def _counted(values: Iterable[Any], name: str) -> str:
    count = len(set(values))
    return f"{count} {name}{'' if count == 1 else 's'}"


def _stacked(slices: list[Slice], limits: GateLimits) -> Volume:
    if len(slices) < 2:
        raise InputError("There is only one slice", code="MRD-E219", found="1 slice",
                         fix="give the folder that holds all slices of the series")
    row, column = np.array(slices[0][1].orientation[:3]), np.array(slices[0][1].orientation[3:])
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    normal = np.cross(row, column)
    ordered = sorted(slices, key=lambda item: float(normal @ np.array(item[1].position)))
    positions = np.array([frame.position for _, frame in ordered])
    gaps_mm = np.diff(positions @ normal)
    _even(gaps_mm, limits)
    span = positions[-1] - positions[0]
    _straight(positions, normal, gaps_mm, limits)
    spacing = ordered[0][1].spacing
    gap_mm = float(np.linalg.norm(span)) / (len(ordered) - 1)
    return Volume(tuple(ordered), positions[0], np.array([spacing[1], spacing[0], gap_mm]), np.stack([row, column, normal], axis=1),
                  _gap_notice(ordered[0][1].gap_mm, gap_mm))


def _even(gaps_mm: np.ndarray, limits: GateLimits) -> None:
    if (gaps_mm < SAME_PLACE_MM).any():
        raise InputError("Some slices are there twice", code="MRD-E216",
                         found=f"{int((gaps_mm < SAME_PLACE_MM).sum())} of {len(gaps_mm) + 1} slices lie where another one lies",
                         fix="remove copies of slices from the folder, or export the series again")
    gap = float(np.percentile(gaps_mm, 50, method="lower"))
    tolerance = max(limits.slice_gap_tolerance * gap, SAME_PLACE_MM)
    odd = gaps_mm[np.abs(gaps_mm - gap) > tolerance]
    if not len(odd):
        return
    multiples = np.round(odd / gap)
    if (multiples >= 2).all() and (multiples - 1).sum() <= len(gaps_mm) and (np.abs(odd - multiples * gap) <= tolerance * multiples).all():
        raise InputError("Slices are missing", code="MRD-E215",
                         found=f"{int((multiples - 1).sum())} missing, {len(gaps_mm) + 1} there, {gap:.2f} mm apart",
                         fix="export the whole series again")
    raise InputError("The slices are not evenly spaced", code="MRD-E215",
                     found=f"gaps from {gaps_mm.min():.2f} to {gaps_mm.max():.2f} mm, {gap:.2f} mm in the middle",
                     fix="export the whole series again; if it was acquired like this, resample it to even slices first")


def _straight(positions: np.ndarray, normal: np.ndarray, gaps_mm: np.ndarray, limits: GateLimits) -> None:
    """The slices lie over each other along the normal: a sheared stack (a tilted gantry) is no SimpleITK image."""
    from_first = positions - positions[0]
    sideways = np.linalg.norm(from_first - np.outer(from_first @ normal, normal), axis=1).max()
    length = float(gaps_mm.sum())
    if sideways > max(limits.slice_gap_tolerance * float(np.median(gaps_mm)), SAME_PLACE_MM, limits.direction_tolerance * length):
        raise InputError("The slices are shifted sideways against each other, as with a tilted gantry", code="MRD-E226",
                         found=f"{sideways:.2f} mm over {length:.0f} mm", fix="choose a series that was not sheared, or resample it first")


def _gap_notice(declared_mm: float | None, gap_mm: float) -> tuple[Notice, ...]:
    if declared_mm is None or declared_mm <= 0 or abs(declared_mm - gap_mm) <= max(0.05 * gap_mm, SAME_PLACE_MM):
        return ()
    return (Notice("MRD-W204", f"The header says that slices lie {declared_mm:.2f} mm apart, their positions say {gap_mm:.2f} mm; "
                               "the positions are used", fix="check that no slices are missing"),)
