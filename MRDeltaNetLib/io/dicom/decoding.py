"""Compressed pixel data, decoded in a child process: one that dies, hangs or eats memory becomes an error, never a crash."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Callable, Iterator

import numpy as np

from MRDeltaNetLib.errors import EnvironmentProblem, InputError, MissingPackage, require
from MRDeltaNetLib.io.dicom.facts import harmless
from MRDeltaNetLib.io.dicom.header import DicomFile

CHILD = Path(__file__).with_name("decoder_child.py")
BASE_SECONDS = 60.0
BYTES_PER_SECOND = 1e6
"""The slowest codec (JPEG 2000 on an old laptop) is several times faster than this."""
BASE_MEMORY_BYTES = 2 * 1024**3

_DTYPES = {"u1", "i1", "u2", "i2", "u4", "i4"}
_JPEG, _JPEG_LS, _JPEG_2000 = "pip install pylibjpeg pylibjpeg-libjpeg", "pip install pyjpegls", "pip install pylibjpeg pylibjpeg-openjpeg"
_CODECS = {"1.2.840.10008.1.2.4.50": ("JPEG", _JPEG), "1.2.840.10008.1.2.4.51": ("12-bit JPEG", _JPEG),
           "1.2.840.10008.1.2.4.57": ("lossless JPEG", _JPEG), "1.2.840.10008.1.2.4.70": ("lossless JPEG", _JPEG),
           "1.2.840.10008.1.2.4.80": ("JPEG-LS", _JPEG_LS), "1.2.840.10008.1.2.4.81": ("JPEG-LS", _JPEG_LS),
           "1.2.840.10008.1.2.4.90": ("JPEG 2000", _JPEG_2000), "1.2.840.10008.1.2.4.91": ("JPEG 2000", _JPEG_2000),
           "1.2.840.10008.1.2.4.201": ("high-throughput JPEG 2000", _JPEG_2000),
           "1.2.840.10008.1.2.4.202": ("high-throughput JPEG 2000", _JPEG_2000),
           "1.2.840.10008.1.2.4.203": ("high-throughput JPEG 2000", _JPEG_2000)}


@contextlib.contextmanager
def decoded(files: list[DicomFile]) -> Iterator[Callable[[DicomFile, int], np.ndarray]]:
    """Inside the block, a function (file, frame number) -> stored values (row, column) of the compressed files.

    raises  MissingPackage MRD-E231 without the codec; InputError MRD-E230 for a format that nobody decodes, MRD-E232 if the data are
            damaged or the decoder died, MRD-E233 if it took too long
    """
    with tempfile.TemporaryDirectory(prefix="mrdeltanet-") as folder:
        dtypes = _run(files, Path(folder)) if files else []

        def stored(file: DicomFile, number: int) -> np.ndarray:
            index, count = files.index(file), file.rows * file.columns
            width = int(dtypes[index][1])
            values = np.fromfile(Path(folder, f"{index}.raw"), "<" + dtypes[index], count, offset=number * count * width)
            return values.reshape(file.rows, file.columns)

        yield stored


def _run(files: list[DicomFile], folder: Path) -> list[str]:
    """Decode all files in one child; returns the dtype of each."""
    declared = [file.rows * file.columns * len(file.frames) * file.bits_allocated // 8 for file in files]
    job = {"folder": str(folder), "packages": _package_folders(), "memory_bytes": BASE_MEMORY_BYTES + 12 * max(declared),
           "files": [_job_of(file) for file in files]}
    command = [sys.executable, "-I", "-X", "utf8", str(CHILD)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        ended = subprocess.run(command, input=json.dumps(job).encode("ascii"), cwd=folder, env=environment, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, timeout=BASE_SECONDS + sum(declared) / BYTES_PER_SECOND, check=False)
    except subprocess.TimeoutExpired as cause:
        raise InputError("Decoding the compressed slices took too long", code="MRD-E233", found="no end within the time limit",
                         fix="export the series uncompressed (Explicit VR Little Endian)") from cause
    except OSError as cause:
        raise EnvironmentProblem("The process that decodes compressed slices could not be started", code="MRD-E235",
                                 found=type(cause).__name__, fix="export the series uncompressed (Explicit VR Little Endian)") from cause
    return _checked(folder, files, declared, ended.returncode)


def _checked(folder: Path, files: list[DicomFile], declared: list[int], exit_status: int) -> list[str]:
    try:
        status = json.loads(Path(folder, "status.json").read_text("ascii"))
    except (OSError, ValueError):
        status = {"problem": "died"}
    problem = status.get("problem")
    if problem in ("missing", "unsupported", "packages"):
        raise _no_codec(files[len(status["files"])].structure.transfer_syntax if problem != "packages" else "")
    dtypes = status.get("files", [])
    complete = not problem and len(dtypes) == len(files) and all(
        dtype in _DTYPES and Path(folder, f"{index}.raw").stat().st_size == count * int(dtype[1]) * 8 // file.bits_allocated
        for index, (dtype, count, file) in enumerate(zip(dtypes, declared, files)))
    if not complete:
        raise InputError("The compressed voxel values of a slice are damaged", code="MRD-E232",
                         found="the decoder refused them" if problem == "damaged" else f"the decoder died (exit status {exit_status})",
                         fix="export the series again, uncompressed (Explicit VR Little Endian)")
    return dtypes


def _no_codec(transfer_syntax: str) -> EnvironmentProblem | InputError:
    if transfer_syntax in _CODECS:
        name, install = _CODECS[transfer_syntax]
        return MissingPackage(f"The slices are compressed as {name}, and the package that decodes it is not installed", code="MRD-E231",
                              found=f"transfer syntax {transfer_syntax}",
                              fix=f"{install}; or export the series uncompressed (Explicit VR Little Endian)")
    return InputError("The slices are written in a format that cannot be read", code="MRD-E230",
                      found=f"transfer syntax {harmless(transfer_syntax)}",
                      fix="export the series uncompressed (Explicit VR Little Endian)")


def _job_of(file: DicomFile) -> dict:
    return {"path": os.path.abspath(file.path), "fragments": file.structure.fragments, "transfer_syntax": file.structure.transfer_syntax,
            "rows": file.rows, "columns": file.columns, "frames": len(file.frames), "bits_allocated": file.bits_allocated,
            "bits_stored": file.bits_stored, "signed": file.signed, "photometric": file.photometric}


def _package_folders() -> list[str]:
    """Where this process has the packages from: an isolated interpreter does not look into PYTHONPATH or the user's site folder."""
    return [str(Path(require(name, "Reading compressed DICOM").__file__).parent.parent) for name in ("pydicom", "numpy")]
