"""Plain shapes whose truth is a formula, on any grid, stored in any axis order. Made-up data; no patient."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import Timepoint

STORAGES = {"flipped twice": ((0, 1, 2), (True, True, False)), "left-handed": ((0, 1, 2), (False, False, True)),
            "axes permuted": ((2, 0, 1), (False, False, False)), "permuted, left-handed": ((1, 0, 2), (False, False, False)),
            "permuted, flipped": ((2, 1, 0), (True, False, True))}
"""How one scan may lie in a file: axis order and which axes run backwards."""


def rotation(*angles_rad: float) -> np.ndarray:
    """3 x 3 rotation by ITK's Euler angles."""
    turn = sitk.Euler3DTransform()
    turn.SetRotation(*angles_rad)
    return np.array(turn.GetMatrix()).reshape(3, 3)


def rigid(angles_rad=(0.0, 0.0, 0.0), shift_mm=(0.0, 0.0, 0.0)) -> sitk.Euler3DTransform:
    turn = sitk.Euler3DTransform()
    turn.SetRotation(*angles_rad)
    turn.SetTranslation(shift_mm)
    return turn


def grid(size, spacing_mm, axes=np.eye(3), centre_mm=(0.0, 0.0, 0.0)) -> sitk.Image:
    """uint8 zeros; axes' columns are the directions of x, y, z in LPS."""
    image = sitk.Image([int(n) for n in size], sitk.sitkUInt8)
    image.SetSpacing(spacing_mm)
    image.SetDirection(np.asarray(axes).ravel().tolist())
    image.SetOrigin((np.array(centre_mm) - np.asarray(axes) @ ((np.array(size) - 1) / 2 * np.array(spacing_mm))).tolist())
    return image


def places(image: sitk.Image) -> np.ndarray:
    """LPS mm of every voxel centre, (depth, height, width, 3)."""
    size = image.GetSize()
    z, y, x = np.meshgrid(*[np.arange(n) for n in size[::-1]], indexing="ij")
    steps = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    return np.stack([x, y, z], axis=-1) @ steps.T + np.array(image.GetOrigin())


def on(image: sitk.Image, array: np.ndarray) -> sitk.Image:
    """The array with the image's place."""
    result = sitk.GetImageFromArray(np.ascontiguousarray(array))
    result.CopyInformation(image)
    return result


def ellipsoid(image: sitk.Image, centre_mm=(0.0, 0.0, 0.0), radii_mm=(10.0, 10.0, 10.0)) -> sitk.Image:
    inside = (((places(image) - np.array(centre_mm)) / np.array(radii_mm)) ** 2).sum(axis=-1) < 1
    return on(image, inside.astype(np.uint8))


def volume_mm3(mask: sitk.Image) -> float:
    return float((sitk.GetArrayViewFromImage(mask) > 0).sum() * np.prod(mask.GetSpacing()))


def stored(image: sitk.Image, order, backwards) -> sitk.Image:
    """The same voxels at the same places, stored with axes in another order and some running backwards (plain numpy)."""
    axes, spacing = np.array(image.GetDirection()).reshape(3, 3), np.array(image.GetSpacing())
    array = sitk.GetArrayFromImage(image).transpose(2, 1, 0)                  # x, y, z
    origin = np.array(image.GetOrigin())
    for axis, flip in enumerate(backwards):
        if flip:
            origin = origin + axes[:, axis] * spacing[axis] * (array.shape[axis] - 1)
            axes = axes * np.where(np.arange(3) == axis, -1, 1)
            array = np.flip(array, axis)
    result = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(order).transpose(2, 1, 0)))
    result.SetSpacing(spacing[list(order)].tolist())
    result.SetDirection(axes[:, list(order)].ravel().tolist())
    result.SetOrigin(origin.tolist())
    return result


def stored_visit(visit: Timepoint, how: str) -> Timepoint:
    return Timepoint(stored(visit.image, *STORAGES[how]), stored(visit.mask, *STORAGES[how]))


def pelvis(image: sitk.Image, to_body: sitk.Transform | None = None, tumour_mm=(2.0, 8.0, -3.0), radii_mm=(12.0, 9.0, 14.0),
           noise=0.0, tumour_signal=260.0) -> Timepoint:
    """A visit on the image's grid: an elliptic body with smooth texture, and a tumour with its mask.

    to_body  LPS of the scan -> LPS of the body; identity if None
    """
    where = places(image)
    if to_body is not None:
        flat = where.reshape(-1, 3)
        zero = np.array(to_body.TransformPoint((0.0, 0.0, 0.0)))
        turn = np.array([np.array(to_body.TransformPoint(axis)) - zero for axis in np.eye(3).tolist()])
        where = (flat @ turn + zero).reshape(where.shape)
    x, y, z = np.moveaxis(where, -1, 0)
    signal = 300 + 120 * np.sin(x / 11 + 0.4) * np.cos(y / 13) + 60 * np.sin(z / 9)
    tumour = (((where - np.array(tumour_mm)) / np.array(radii_mm)) ** 2).sum(axis=-1) < 1
    signal[tumour] = tumour_signal
    signal[(x / 62) ** 2 + (y / 50) ** 2 >= 1] = 4.0
    signal += noise * np.random.default_rng(5).normal(size=signal.shape)
    return Timepoint(on(image, signal.astype(np.float32)), on(image, tumour.astype(np.uint8)), mask_source="drawn")
