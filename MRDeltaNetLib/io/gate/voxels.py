"""Judging the image that was read: place, size, and whether its voxels can be those of an MR scan."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, Notice
from MRDeltaNetLib.io.gate import geometry

PADDING = -32768.0
"""What some scanners and converters write where there is no signal (the smallest 16-bit number)."""

def check_image(image: sitk.Image, limits: GateLimits = GateLimits()) -> tuple[sitk.Image, tuple[Notice, ...]]:
    """Let a scan through, or say why not.

    image    sitk.Image, 3-D, any scalar type; LPS, mm
    returns  sitk.Image, 3-D float32, geometry untouched; padding (-32768) and few NaN are set to the smallest other value;
             and warnings MRD-W117 to W146
    raises   InputError MRD-E113 to E148
    """
    if image.GetNumberOfComponentsPerPixel() > 1 or "complex" in image.GetPixelIDTypeAsString():
        raise InputError("Each voxel of this scan holds several values, not one intensity", code="MRD-E131",
                         found=image.GetPixelIDTypeAsString(), fix="export one grey-value volume (no colour, vector, tensor or complex data)")
    notices = check_place(image, limits)
    values, filled = _cleaned(_float32(image), limits)
    notices += filled + _check_values(values, limits)
    result = sitk.GetImageFromArray(values)
    result.CopyInformation(image)
    return result, notices


def check_place(image: sitk.Image, limits: GateLimits) -> tuple[Notice, ...]:
    """Size, spacing, directions and origin of a 3-D image (LPS, mm); returns warnings, raises InputError."""
    if image.GetDimension() != 3:
        geometry.check_dimensions(image.GetDimension())
        raise InputError("This scan has more than three axes", code="MRD-E130", found=f"{image.GetDimension()} axes",
                         fix="export the volume you want as a 3-D file")
    direction, spacing = image.GetDirection(), image.GetSpacing()
    geometry.check_spacing(spacing, limits)
    columns = [[direction[3 * row + axis] * spacing[axis] for row in range(3)] for axis in range(3)]
    geometry.check_frame(columns, image.GetOrigin(), limits)
    _check_extent(image.GetSize(), spacing, limits)
    return _thickness(spacing, limits) + _distance(image.GetOrigin(), limits)


def _check_extent(sizes, spacing, limits: GateLimits) -> None:
    """Refuse too few voxels or too few millimetres."""
    grid = " x ".join(map(str, sizes))
    through = max(range(3), key=lambda axis: (spacing[axis], -sizes[axis]))
    if min(sizes) == 1:
        raise InputError("This is a single slice, not a 3-D scan", code="MRD-E127", found=f"{grid} voxels",
                         fix="choose the whole series, not one of its images")
    if sizes[through] < limits.min_slices:
        raise InputError("The scan has too few slices to be aligned", code="MRD-E128", found=f"{sizes[through]} slices; at least {limits.min_slices} are needed",
                         fix="choose the full axial T2 series")
    in_plane = [sizes[axis] for axis in range(3) if axis != through]
    extents = [n * s for n, s in zip(sizes, spacing)]
    if min(in_plane) < limits.min_voxels_per_axis or min(extents) < limits.min_extent_mm:
        raise InputError("The scan is too small to show a pelvis", code="MRD-E148",
                         found=f"{grid} voxels, " + " x ".join(f"{e:.0f}" for e in extents) + " mm",
                         fix="choose the full series; thumbnails, localisers and cut-outs cannot be used")


def _thickness(spacing, limits: GateLimits) -> tuple[Notice, ...]:
    """Refuse very thick slices, warn about thick ones and very unequal voxels."""
    thick, fine = max(spacing), min(spacing)
    if thick > limits.max_slice_mm:
        raise InputError("The slices are too thick to follow a tumour", code="MRD-E129", found=f"{thick:.1f} mm; at most {limits.max_slice_mm:g} mm",
                         fix="choose the high-resolution T2 series (usually 3 to 4 mm)")
    if thick > limits.thick_slice_mm or thick / fine > limits.warn_anisotropy:
        return (Notice("MRD-W129", f"The voxels are very unequal or thick ({fine:.2f} mm in plane, {thick:.1f} mm slices); volumes and alignment across slices "
                       "are less exact", "use a series with thinner slices if there is one"),)
    return ()


def _distance(origin, limits: GateLimits) -> tuple[Notice, ...]:
    far = max(abs(v) for v in origin)
    if far <= limits.max_origin_mm:
        return ()
    return (Notice("MRD-W146", f"The scan lies {far / 1000:.1f} m from the scanner's centre; its place is kept as it is",
                   "check that the header's origin is in millimetres"),)


def _float32(image: sitk.Image) -> np.ndarray:
    """The voxels as a new float32 array (z, y, x). Refuses numbers that float32 cannot hold."""
    stored = sitk.GetArrayViewFromImage(image)
    with np.errstate(over="ignore"):
        values = stored.astype(np.float32)
    infinite = int(np.isinf(values).sum())
    if infinite:
        raise InputError("Some voxels are infinite or too large for a number", code="MRD-E118", found=f"{infinite} of {values.size} voxels",
                         fix="export the scan again; a calculation on it probably divided by zero")
    return values


def _cleaned(values: np.ndarray, limits: GateLimits) -> tuple[np.ndarray, tuple[Notice, ...]]:
    """Few NaN and padding replaced by the smallest other value, each counted in a warning."""
    missing = np.isnan(values)
    count = int(missing.sum())
    if count > limits.max_nan_fraction * values.size:
        raise InputError("Too many voxels hold no number (NaN)", code="MRD-E117", found=f"{100 * count / values.size:.1f} percent; at most {100 * limits.max_nan_fraction:g}",
                         fix="export the scan without masking, or set the background to 0")
    padding = values == PADDING
    padded = int(padding.sum())
    usable = ~(missing | padding)
    if (count or padded) and usable.any():
        values[missing | padding] = values[usable].min()
    notices = ()
    if count:
        notices += (Notice("MRD-W117", f"{count} voxels held no number (NaN); they were set to the scan's smallest value",
                           "export the scan again without masking if they lie inside the body"),)
    if padded and usable.any():
        notices += (Notice("MRD-W125", f"{padded} voxels held -32768, the mark for 'no signal' or an overflow; they were set to the smallest other value",
                           "look at the scan; if bright tissue became black, convert it from DICOM again"),)
    return values, notices


def _check_values(values: np.ndarray, limits: GateLimits) -> tuple[Notice, ...]:
    """Refuse images without content; warn about intensities that no MR scanner gives. values hold no NaN."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise InputError("The scan is empty: every voxel has the same value", code="MRD-E121" if low == 0 else "MRD-E120", found=f"all {low:g}",
                         fix="choose the scan itself; look at it in a viewer first")
    if int((values == low).sum()) + int((values == high).sum()) == values.size:
        raise InputError("The scan has only two values, so it is a mask and not a scan", code="MRD-E122", found=f"{low:g} and {high:g}",
                         fix="give the scan here and the mask as the mask")
    return _unlikely(values, low, high, limits)


def _unlikely(values: np.ndarray, low: float, high: float, limits: GateLimits) -> tuple[Notice, ...]:
    normalised = _normalised(values, low, high)
    if normalised:
        return (Notice("MRD-W126", f"The intensities look normalised already ({normalised}); they are normalised once more here",
                       "use the scan as it came from the scanner: the model was trained on those"),)
    notices = ()
    if low < 0:
        share = 100 * float((values < 0).mean())
        notices += (Notice("MRD-W123", f"{share:.2g} percent of the voxels are negative, which a magnitude MR scan has not",
                           "check that this is a T2-weighted scan and not a difference, a phase or a CT image"),)
    largest = max(abs(low), abs(high))
    if largest > limits.max_abs_intensity or largest < 1e-6:
        notices += (Notice("MRD-W124", f"The intensities have an unusual range ({low:.3g} to {high:.3g})",
                           "check that the scan's scaling is right"),)
    return notices


def _normalised(values: np.ndarray, low: float, high: float) -> str:
    """How intensities were normalised before they came here, in words; empty if they were not."""
    if low >= 0 and 0.5 < high <= 1:
        return "all between 0 and 1"
    if low >= 0 or high > 100:
        return ""
    mean, spread = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    return "mean 0, standard deviation 1" if abs(mean) < 0.05 and abs(spread - 1) < 0.1 else ""
