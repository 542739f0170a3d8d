"""Small volume files made byte by byte, so that tests can damage any part of them. NIfTI headers come from nibabel."""

from __future__ import annotations

import bz2
import gzip
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

SIZES, SPACING_MM, ORIGIN_LPS_MM = (24, 20, 12), (2.0, 2.0, 3.0), (-20.0, -15.0, 7.0)


def voxels(kind: str = "<i2") -> np.ndarray:
    """Made-up intensities 0 to 999, (z, y, x)."""
    return np.random.default_rng(0).integers(0, 1000, SIZES[::-1]).astype(kind)


def direction(name: str) -> np.ndarray:
    """3 x 3, columns are axes in LPS: straight, left-handed, permuted (coronal) or oblique."""
    turned = sitk.Euler3DTransform()
    turned.SetRotation(0.2, -0.35, 0.5)
    oblique = np.array(turned.GetMatrix()).reshape(3, 3)
    return {"straight": np.eye(3), "left-handed": np.diag([1.0, 1.0, -1.0]), "permuted": np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]]),
            "oblique": oblique, "oblique left-handed": oblique @ np.diag([-1.0, 1.0, 1.0])}[name]


DIRECTIONS = ("straight", "left-handed", "permuted", "oblique", "oblique left-handed")


def image(kind: str = "<i2", axes: str = "straight") -> sitk.Image:
    """The same intensities as a SimpleITK image."""
    made = sitk.GetImageFromArray(voxels(kind))
    made.SetSpacing(SPACING_MM)
    made.SetOrigin(ORIGIN_LPS_MM)
    made.SetDirection(direction(axes).ravel().tolist())
    return made


def ras(axes: str = "straight") -> np.ndarray:
    """4 x 4 affine as NIfTI has it."""
    lps = np.eye(4)
    lps[:3, :3] = direction(axes) * np.array(SPACING_MM)
    lps[:3, 3] = ORIGIN_LPS_MM
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps


def nifti(*, data: np.ndarray | None = None, version: int = 1, order: str = "<", sform: np.ndarray | None = None, qform: np.ndarray | None = None,
          codes: tuple[int, int] = (1, 1), change: dict | None = None, after: bytes = b"", axes: str = "straight") -> bytes:
    """A NIfTI file. data (z, y, x) or with more axes in front; codes (qform, sform); change: header field -> value, set last."""
    data = voxels() if data is None else data
    header = (nib.Nifti1Header if version == 1 else nib.Nifti2Header)(endianness=order)
    header.set_data_dtype(data.dtype)
    header.set_data_shape(data.shape[::-1])
    header["pixdim"][1:4] = SPACING_MM
    header.set_qform(ras(axes) if qform is None else qform, 1)
    header.set_sform(ras(axes) if sform is None else sform, 1)
    header["pixdim"][1:4] = SPACING_MM
    header["qform_code"], header["sform_code"] = codes
    header.set_xyzt_units("mm")
    header["vox_offset"] = 352 if version == 1 else 544
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["magic"] = b"n+1" if version == 1 else b"n+2\0\r\n\x1a\n"
    for field, value in (change or {}).items():
        header[field] = value
    return bytes(header.binaryblock) + b"\0" * 4 + data.astype(data.dtype.newbyteorder(order)).tobytes() + after


PACKERS = {"raw": bytes, "gzip": gzip.compress, "bzip2": bz2.compress,
           "ascii": lambda data: " ".join(map(str, np.frombuffer(data, "<i2"))).encode()}


def nrrd_header(change: dict | None = None, axes: str = "straight", encoding: str = "raw", drop: tuple[str, ...] = ()) -> bytes:
    """An NRRD header with its blank line."""
    columns = (direction(axes) * np.array(SPACING_MM)).T
    fields = {"type": "short", "dimension": "3", "space": "left-posterior-superior", "sizes": " ".join(map(str, SIZES)),
              "space directions": " ".join("(" + ",".join(repr(float(v)) for v in column) + ")" for column in columns),
              "kinds": "domain domain domain", "endian": "little", "encoding": encoding,
              "space origin": "(" + ",".join(map(str, ORIGIN_LPS_MM)) + ")"}
    fields.update(change or {})
    return ("NRRD0004\n" + "".join(f"{k}: {v}\n" for k, v in fields.items() if k not in drop) + "\n").encode()


def nrrd(*, encoding: str = "raw", change: dict | None = None, axes: str = "straight", cut: int | None = None, after: bytes = b"",
         drop: tuple[str, ...] = ()) -> bytes:
    """An NRRD file; cut keeps only that many bytes of the packed voxels."""
    return nrrd_header(change, axes, encoding, drop) + PACKERS[encoding](voxels().tobytes())[:cut] + after


def metaimage(*, packed: bool = False, change: dict | None = None, axes: str = "straight", cut: int | None = None, drop: tuple[str, ...] = (),
              data: bytes | None = None) -> bytes:
    """A MetaImage file; cut keeps only that many bytes of the voxels as stored."""
    data = voxels().tobytes() if data is None else data
    data = zlib.compress(data) if packed else data
    matrix = " ".join(repr(float(v)) for v in direction(axes).T.ravel())
    fields = {"ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False", "CompressedData": str(packed),
              "CompressedDataSize": str(len(data)), "TransformMatrix": matrix, "Offset": " ".join(map(str, ORIGIN_LPS_MM)),
              "ElementSpacing": " ".join(map(str, SPACING_MM)), "DimSize": " ".join(map(str, SIZES)), "ElementType": "MET_SHORT",
              "ElementDataFile": "LOCAL"}
    fields.update(change or {})
    fields["ElementDataFile"] = fields.pop("ElementDataFile")              # a header ends there
    drop = drop if packed else (*drop, "CompressedDataSize")
    return "".join(f"{k} = {v}\n" for k, v in fields.items() if k not in drop).encode() + data[:cut]


def put(folder: Path, name: str, content: bytes) -> Path:
    """Write a file and give its path."""
    path = folder / name
    path.write_bytes(content)
    return path
