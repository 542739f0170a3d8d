"""What the gate learns from a file's header, and the small strict readers of text that every format needs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Mapping

from MRDeltaNetLib.errors import InputError, Notice

ACCEPTED = "DICOM folder, NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr) or MetaImage (.mha, .mhd)"
"""How messages name the formats that are read."""

Affine = tuple[tuple[float, float, float, float], ...]
"""Three rows of four numbers: voxel index (x, y, z) -> LPS, mm."""

_WHOLE = re.compile(r"[+-]?[0-9]{1,25}")
_REAL = re.compile(r"[+-]?(?:[0-9]{1,400}\.?[0-9]{0,400}|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,6})?|[+-]?(?:nan|inf|infinity)", re.IGNORECASE)


@dataclass(frozen=True)
class Segment:
    """One segment of a segmentation file as 3D Slicer writes it: name, label value, and layer (volume) that holds it."""

    name: str
    label: int
    layer: int = 0


@dataclass(frozen=True)
class FileFacts:
    """What a header says, after the gate has believed it.

    format          "nifti", "nrrd" or "metaimage"
    sizes           voxels along x, y, z
    volumes         how many 3-D volumes the file holds; 1 for a plain scan
    volume_axis     place of the axis that counts volumes, 0 = varies fastest; 3 for most files
    voxel_type      NumPy type string with byte order, such as "<i2"
    lps             voxel index -> LPS, mm; None if the header leaves it open
    forms           every affine that the header gives (NIfTI may hold two that agree within the tolerance)
    data_file       file that holds the voxels: the file itself or the sibling named in a detached header
    packed_at       byte of data_file where the (packed) voxels begin
    skip_bytes      bytes to skip after unpacking
    encoding        "raw", "gzip", "bzip2", "zlib" or "ascii"
    packed_bytes    length of the packed voxels as the header claims, None if it does not say
    slope, offset   stored value * slope + offset = intensity
    second_reader   True if SimpleITK reads this kind's header too, as a second opinion on the geometry
    assumed         True if the directions come from the user's word and not from the file
    segments        segments named in the header of a segmentation file
    texts           texts of ours in the header (NRRD), by key; anybody can write them
    notices         warnings
    """

    format: str
    sizes: tuple[int, int, int]
    voxel_type: str
    lps: Affine
    data_file: Path
    volumes: int = 1
    volume_axis: int = 3
    forms: tuple[Affine, ...] = ()
    packed_at: int = 0
    skip_bytes: int = 0
    encoding: str = "raw"
    packed_bytes: int | None = None
    slope: float = 1.0
    offset: float = 0.0
    second_reader: bool = True
    assumed: bool = False
    segments: tuple[Segment, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()

    @property
    def bytes_per_voxel(self) -> int:
        """Bytes that one stored value takes."""
        return int(self.voxel_type[2:])

    @property
    def voxel_count(self) -> int:
        """Voxels of all volumes together."""
        x, y, z = self.sizes
        return x * y * z * self.volumes

    @property
    def voxel_bytes(self) -> int:
        """Bytes of all voxels after unpacking."""
        return self.voxel_count * self.bytes_per_voxel


class OneVolumeOnly(InputError):
    """A volume was chosen by its number in a scan that holds one volume. Whoever reads two scans may pass over it for one of them."""


def broken_header(found: str) -> InputError:
    """The error for a header that cannot be parsed; found is a short phrase without anything from the file's text."""
    return InputError("The file's header is damaged or not written by the rules of its format", code="MRD-E114", found=found,
                      fix="export the scan again from the program that made it")


def whole(text: str, field: str) -> int:
    """A whole number written in plain decimal digits; field names it in the error."""
    if not _WHOLE.fullmatch(text):
        raise broken_header(f"'{field}' is not a whole number")
    return int(text)


def real(text: str, field: str) -> float:
    """A decimal number; "nan" and "inf" are numbers here, whoever asks judges them. field names it in the error."""
    if not _REAL.fullmatch(text):
        raise broken_header(f"'{field}' is not a number")
    return float(text)


def text_lines(head: bytes) -> list[str]:
    """The lines of a header in text form, without line ends. Refuses control characters and old Macintosh line ends."""
    if b"\0" in head:
        raise broken_header("zero bytes among the text")
    if b"\r" in head.replace(b"\r\n", b""):
        raise broken_header("carriage returns without line feeds")
    if re.search(rb"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]", head):
        raise broken_header("control characters among the text")
    return [line.rstrip("\r") for line in head.decode("utf-8", errors="replace").split("\n")]
