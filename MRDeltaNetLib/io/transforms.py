"""Transform files: read strictly, written whole.

A transform maps pre LPS to post LPS in mm (ITK's resampling direction: with it, post is resampled onto pre's grid). Only linear
transforms are read, because only they may be accepted as an alignment.
"""

from __future__ import annotations

import math
from pathlib import Path

import SimpleITK as sitk

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.atomic import atomic
from MRDeltaNetLib.io.tables import is_unicode

MAX_BYTES = 1024**2
"""A chain of linear transforms takes a few kilobytes."""

MAX_CHAIN = 16
TEXT_HEADER = "#Insight Transform File V1.0"
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
MIN_DETERMINANT = 1e-6

LINEAR = {"AffineTransform": (12, 3), "MatrixOffsetTransformBase": (12, 3), "Euler3DTransform": (6, (3, 4)),
          "VersorRigid3DTransform": (6, 3), "Similarity3DTransform": (7, 3), "ScaleVersor3DTransform": (9, 3),
          "ScaleSkewVersor3DTransform": (15, 3), "TranslationTransform": (3, 0), "IdentityTransform": (0, 0),
          "ScaleTransform": (3, 3)}
"""ITK class -> number of parameters and of fixed parameters, for three dimensions."""

BENDING = ("BSplineTransform", "BSplineDeformableTransform", "DisplacementFieldTransform", "GaussianExponentialDiffeomorphicTransform",
           "ThinPlateSplineKernelTransform", "VelocityFieldTransform")

SAVE_AGAIN = "save the transform again as an ITK text file (.tfm), for example with Slicer's Save dialog"


def read_transform(path: Path | str) -> sitk.Transform:
    """Read a linear transform pre LPS -> post LPS, mm.

    path    ITK text (.tfm, .txt). HDF5 is never opened: such a file may name other files, and ITK follows them
    raises  InputError MRD-E610 (not there, not readable), E611 (too large), E612 (not an ITK transform file or damaged),
            E613 (unknown class), E614 (bends the image), E615 (numbers that are no transform of space)
    """
    data = _bytes(Path(path))
    if not is_unicode(str(path)):
        raise InputError("The transform file cannot be read", code="MRD-E610", found="a name that is not Unicode text",
                         fix="rename the file, or the folder that it lies in")
    if data.startswith(HDF5_MAGIC):
        raise _damaged("an HDF5 file")
    if not data.lstrip().startswith(TEXT_HEADER.encode()):
        raise _damaged("the file does not begin like an ITK text transform")
    if Path(path).suffix.lower() not in (".tfm", ".txt"):
        raise _damaged("the content is that of a .tfm file, the name's ending is not")
    _check_text(data)
    try:
        transform = sitk.ReadTransform(str(path))
    except RuntimeError as cause:
        raise _damaged("ITK could not read it") from cause
    return _checked(transform)


def write_transform(transform: sitk.Transform, path: Path | str) -> None:
    """Write a linear transform as one ITK transform, centre kept; .tfm (text); atomic.

    A rigid Euler transform stays one; everything else linear, chains too, becomes one AffineTransform.
    raises InputError MRD-E614 for a transform that bends the image
    """
    single = transform.Downcast()
    if not isinstance(single, sitk.Euler3DTransform):
        single = as_affine(single)
    with atomic(path) as temporary:
        sitk.WriteTransform(single, str(temporary))


def as_affine(transform: sitk.Transform) -> sitk.AffineTransform:
    """Any linear transform as one AffineTransform; its centre, where it has one, is kept.

    raises InputError MRD-E614 for a transform that bends the image
    """
    if not transform.IsLinear():
        raise _bends(transform.GetName())
    single = transform.Downcast()
    centre = single.GetCenter() if hasattr(single, "GetCenter") else (0.0, 0.0, 0.0)
    columns = [transform.TransformVector(axis, (0.0, 0.0, 0.0)) for axis in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))]
    affine = sitk.AffineTransform(3)
    affine.SetCenter(centre)
    affine.SetMatrix([columns[column][row] for row in range(3) for column in range(3)])
    affine.SetTranslation([after - before for after, before in zip(transform.TransformPoint(centre), centre)])
    return affine


def _bytes(path: Path) -> bytes:
    """The whole file, refused before it is read if it is too large."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise FileNotFoundError
        if size > MAX_BYTES:
            raise InputError("The transform file is too large for a linear transform", code="MRD-E611",
                             found=f"{size} bytes, limit {MAX_BYTES}", fix="hand in a rigid or affine transform; a deformable one is not accepted")
        return path.read_bytes()
    except OSError as cause:
        raise InputError("The transform file cannot be read", code="MRD-E610", found=type(cause).__name__,
                         fix="check the path and that you may read the file") from cause


def _check_text(data: bytes) -> None:
    """Look at every line of an ITK text transform before ITK's own reader does."""
    try:
        lines = [line.strip() for line in data.decode("ascii").splitlines()]
    except UnicodeDecodeError as cause:
        raise _damaged("the text holds characters that no transform has") from cause
    expected: list[tuple[str, int, int | tuple[int, ...]]] = []
    seen: dict[str, int] = {}
    composite = 0
    for line in filter(None, lines):
        key, colon, value = line.partition(":")
        if line.startswith("#"):
            continue
        if not colon or key not in ("Transform", "Parameters", "FixedParameters"):
            raise _damaged("a line is neither a class nor parameters")
        if key == "Transform":
            _complete(expected, seen)
            seen = {}
            name = _class_name(value.strip())
            if name == "CompositeTransform":
                composite += 1
            else:
                expected.append((name, *LINEAR[name]))
            continue
        if not expected:
            raise _damaged("parameters stand before their transform")
        if key in seen:
            raise _damaged("parameters stand twice")
        seen[key] = _numbers(value)
    _complete(expected, seen)
    if not expected or composite > 1 or len(expected) > MAX_CHAIN or (len(expected) > 1 and not composite):
        raise _damaged(f"{len(expected)} transforms in {composite} chains")


def _class_name(value: str) -> str:
    """The ITK class of "AffineTransform_double_3_3", checked."""
    name, _, rest = value.partition("_")
    if name in BENDING:
        raise _bends(name)
    if name not in LINEAR and name != "CompositeTransform":
        raise InputError("The transform file holds a kind of transform that is not known here", code="MRD-E613", found=ascii(name[:40]), fix=SAVE_AGAIN)
    if rest not in ("double_3_3", "float_3_3"):
        raise _damaged("the transform is not one of three-dimensional space")
    return name


def _numbers(value: str) -> int:
    """How many numbers a line holds; all must be finite."""
    fields = value.split()
    try:
        finite = all(math.isfinite(float(field)) for field in fields)
    except ValueError as cause:
        raise _damaged("a parameter is not a number") from cause
    if not finite:
        raise _no_space("a parameter is not a finite number")
    return len(fields)


def _complete(expected: list[tuple[str, int, int | tuple[int, ...]]], seen: dict[str, int]) -> None:
    """The last transform named must have as many parameters as its class has."""
    if not expected:
        return
    name, parameters, fixed = expected[-1]
    allowed = fixed if isinstance(fixed, tuple) else (fixed,)
    if seen.get("Parameters", 0) != parameters or seen.get("FixedParameters", 0) not in allowed:
        raise _damaged(f"{name} with {seen.get('Parameters', 0)} parameters and {seen.get('FixedParameters', 0)} fixed parameters")


def _checked(transform: sitk.Transform) -> sitk.Transform:
    """A transform as read, if it is linear, three-dimensional, finite and can be inverted."""
    if transform.GetDimension() != 3:
        raise _damaged("the transform is not one of three-dimensional space")
    if not transform.IsLinear():
        raise _bends(transform.GetName())
    affine = as_affine(transform)
    m = affine.GetMatrix()
    numbers = (*m, *affine.GetTranslation(), *affine.GetCenter())
    if not all(math.isfinite(number) for number in numbers):
        raise _no_space("a parameter is not a finite number")
    determinant = (m[0] * (m[4] * m[8] - m[5] * m[7]) - m[1] * (m[3] * m[8] - m[5] * m[6]) + m[2] * (m[3] * m[7] - m[4] * m[6]))
    if abs(determinant) < MIN_DETERMINANT:
        raise _no_space(f"determinant {determinant:.1e}: it flattens space")
    single = transform.Downcast()
    return single if isinstance(single, (sitk.Euler3DTransform, sitk.VersorRigid3DTransform)) else affine


def _damaged(found: str) -> InputError:
    return InputError("The transform file is damaged or not an ITK transform", code="MRD-E612", found=found, fix=SAVE_AGAIN)


def _bends(name: str) -> InputError:
    return InputError("The transform bends the image; only a rigid or affine one can be accepted", code="MRD-E614", found=name,
                      fix="hand in a rigid or affine transform; a deformable one never feeds the network")


def _no_space(found: str) -> InputError:
    return InputError("The transform's numbers describe no mapping of space", code="MRD-E615", found=found,
                      fix="align the scans again, or save the transform again")
