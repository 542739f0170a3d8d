"""What one DICOM file says about a scan whose voxels are in another file, as 3D Slicer hands them on: NRRD knows no date, scanner or sequence.

The header goes through the same strict reading as a series; its pixel data are never touched.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from MRDeltaNetLib.case import IMAGE_ROLES, Timepoint
from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, Notice, UsageError
from MRDeltaNetLib.io.dicom.acceptance import split
from MRDeltaNetLib.io.dicom.header import DicomFile, read_header
from MRDeltaNetLib.io.dicom.series import header_notices, scan_identity

ORDINARY = "choose one slice of the MR series that the scan was made from"


@dataclass(frozen=True)
class ScanHeader:
    """The file as it was read, and the warnings about it."""

    file: DicomFile
    notices: tuple[Notice, ...] = ()


def read_scan_header(path: Path | str, limits: GateLimits = GateLimits()) -> ScanHeader:
    """The header of one file of an MR series.

    raises  InputError MRD-E241 (not a DICOM file), E242 (no MR image, or one that describes several volumes), and MRD-E202, E203, E204, E221
            as read_series for a file that is absent, too large or damaged
    """
    path = Path(path)
    if path.exists() and not path.is_file():                 # a pipe would be waited for
        raise InputError("It is not a file", code="MRD-E241", found="a folder" if path.is_dir() else "neither file nor folder", fix=ORDINARY)
    file = read_header(path, limits)
    if file.problem is not None:
        raise file.problem
    if file.structure is None:
        raise InputError("It is not a DICOM file", code="MRD-E241", fix=ORDINARY)
    if file.kind != "image" or file.modality != "MR":
        found = file.kind if file.kind != "image" else f"modality {file.modality or 'not stated'}"
        raise InputError("It is not the header of an MR image", code="MRD-E242", found=found, fix=ORDINARY)
    axes, volumes = split([(file, frame) for frame in file.frames])
    if len(volumes) != 1:
        raise InputError("It describes several volumes, so it does not say which of them the scan is", code="MRD-E242",
                         found=f"{len(volumes)} volumes that differ in {' and '.join(axes)}" if volumes else "no frame",
                         fix="give the DICOM series itself as the scan, with --volume-index, or leave the header out")
    return ScanHeader(file, tuple(header_notices([file])))


def with_header(scan: Timepoint, header: ScanHeader, role: str = "pre") -> Timepoint:
    """The scan with what the header says: date, identity and how it was acquired.

    scan     of an image file; its format, digest and place stay, and no frame of reference is taken, because a saved image may have been moved
    role     "pre" or "post": how warnings name the scan
    raises   UsageError MRD-E240 if the scan is DICOM itself
    """
    if scan.facts.format == "dicom":
        raise own_header(role)
    file = header.file
    identity = dict(file.identity) | scan_identity([file])
    facts = replace(scan.facts, modality=file.modality, sequence=file.sequence, manufacturer=file.manufacturer, identity=identity,
                    field_strength_t=file.field_strength_t, repetition_time_ms=file.repetition_time_ms, echo_time_ms=file.echo_time_ms)
    name = IMAGE_ROLES.get(role, role)
    name = name[0].upper() + name[1:]
    notices = tuple(Notice(n.code, f"{name}: {n.text}", n.fix) for n in header.notices)
    return replace(scan, facts=facts, acquired=file.acquired, notices=(*scan.notices, *notices))


def own_header(role: str) -> UsageError:
    """Two headers for one scan could contradict each other."""
    return UsageError(f"A DICOM header was given for {IMAGE_ROLES.get(role, role)}, which is DICOM itself and has its own", code="MRD-E240",
                      fix=f"leave out --{role}-header")
