"""A DICOM series to one visit of the patient."""

from __future__ import annotations

import hashlib
from pathlib import Path

import SimpleITK as sitk

from MRDeltaNetLib.case import IMAGE_ROLES, ScanFacts, Timepoint
from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, MRDeltaNetError, Notice, OutOfMemory
from MRDeltaNetLib.io.dicom.acceptance import Volume, accept
from MRDeltaNetLib.io.dicom.facts import digest
from MRDeltaNetLib.io.dicom.frames import ECHO
from MRDeltaNetLib.io.dicom.header import NAMED_LIKE_DICOM, DicomFile
from MRDeltaNetLib.io.dicom.listing import choose_series, read_headers
from MRDeltaNetLib.io.dicom.pixels import read_voxels


def read_series(folder: Path | str, *, series: str | None = None, volume_index: int | None = None, limits: GateLimits = GateLimits(),
                role: str = "pre") -> Timepoint:
    """One DICOM series as one visit.

    folder        a folder (with its subfolders) or one multi-frame file
    series        SeriesInstanceUID, needed where there are several series
    volume_index  which volume, counted from 0, where a series holds several (echoes, b-values, times, stacks)
    role          "pre" or "post": how errors and notices name the scan
    returns       Timepoint without masks; image float32, LPS mm, slices in the order of their positions along the normal
    raises        InputError MRD-E201 to MRD-E234, MissingPackage MRD-E231, EnvironmentProblem MRD-E235, OutOfMemory MRD-E236;
                  each names the scan by its role
    """
    name = IMAGE_ROLES.get(role, role)
    name = name[0].upper() + name[1:]
    try:
        files, skipped = choose_series(read_headers(Path(folder), limits), series)
        volume = accept(files, volume_index, limits)
        voxels, hashes, notices = read_voxels(volume, limits)
    except MRDeltaNetError as error:
        raise error.about(name) from error
    except OSError as cause:
        raise InputError(f"{name}: Reading stopped half-way", code="MRD-E202", found=type(cause).__name__,
                         fix="check that the folder can still be reached and that the disk for temporary files is not full") from cause
    except MemoryError as cause:
        raise OutOfMemory(f"{name}: The series does not fit into memory", code="MRD-E236",
                          fix="close other programs, or choose a series of lower resolution") from cause
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(volume.spacing_mm.tolist())
    image.SetOrigin(volume.origin_mm.tolist())
    image.SetDirection(volume.direction.ravel().tolist())
    used = list(dict.fromkeys(file for file, _ in volume.slices))
    found = (*header_notices(used), *_picture_notices(used), *_skipped_notice(skipped), *volume.notices, *notices)
    return Timepoint(image, frame_uid=used[0].frame_uid, acquired=min((f.acquired for f in used if f.acquired), default=None),
                     facts=_facts(volume, used, hashes, skipped),
                     notices=tuple(Notice(n.code, f"{name}: {n.text}", n.fix) for n in found))


def _facts(volume: Volume, used: list[DicomFile], hashes: tuple[str, ...], skipped: dict[str, int]) -> ScanFacts:
    first, frame = volume.slices[0]
    identity = dict(first.identity)
    identity |= scan_identity(used)
    return ScanFacts(format="dicom", modality=first.modality, sequence=first.sequence, manufacturer=first.manufacturer,
                     field_strength_t=first.field_strength_t, repetition_time_ms=first.repetition_time_ms,
                     echo_time_ms=frame.hard.get(ECHO), file_sha256=hashes, identity=identity, skipped=skipped)


def scan_identity(files: list[DicomFile]) -> dict[str, str]:
    """{"sop": salted digest of the files' instance UIDs}, which stands for the scan itself; empty where they have none."""
    scans = sorted(file.sop_uid for file in files if file.sop_uid)
    return {"sop": digest(hashlib.sha256("\n".join(scans).encode("utf-8", "replace")).hexdigest())} if scans else {}


def _skipped_notice(skipped: dict[str, int]) -> list[Notice]:
    count = skipped.get(NAMED_LIKE_DICOM, 0)
    return [Notice("MRD-W208", f"{count} file{'' if count == 1 else 's'} named like a slice but not DICOM (empty or overwritten) "
                               "were left out", fix="check that the series is complete; if not, export it again")] if count else []


def header_notices(used: list[DicomFile]) -> list[Notice]:
    """Warnings about what the headers say of picture and date; each is told without the scan's name."""
    found = []
    if any(file.burned_in for file in used):
        found.append(Notice("MRD-W201", "the header says that text or recognisable features are burned into the picture",
                            fix="check that the pictures show no name before you share results"))
    if any(file.bad_date for file in used) and not any(file.acquired for file in used):
        found.append(Notice("MRD-W202", "the scan's date in the header is impossible or lies in the future; it is taken as unknown",
                            fix="check which scan was made before treatment, and the scanner's clock"))
    if any(file.lossy for file in used):
        found.append(Notice("MRD-W203", "the scan was compressed with loss, so its intensities are not the measured ones",
                            fix="use the original series if the archive has it"))
    return found


def _picture_notices(used: list[DicomFile]) -> list[Notice]:
    found = []
    trailing = sum(file.structure.trailing_bytes > 1 for file in used)
    if trailing:
        found.append(Notice("MRD-W207", f"{trailing} of {len(used)} files go on after their last element; the rest was ignored",
                            fix="compare the picture with the one in your viewer"))
    if used[0].modality != "MR":
        found.append(Notice("MRD-W206", f"the scan is {used[0].modality or 'of unknown modality'}, not MR",
                            fix="check that the right series was chosen"))
    return found
