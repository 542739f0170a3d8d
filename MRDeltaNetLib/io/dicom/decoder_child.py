"""Decodes compressed pixel data in a process of its own, so that a codec that crashes takes nothing with it.

Run as a script by decoding.py with an isolated interpreter; it imports nothing of this package. Reads a job as JSON from standard
input, writes one raw array a file and status.json into the folder that the job names.
"""

from __future__ import annotations

import json
import os
import struct
import sys

JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"


def main() -> None:
    """Work off the job on standard input."""
    job = json.load(sys.stdin)
    sys.path.extend(path for path in job["packages"] if path not in sys.path)
    status = {"files": []}
    try:
        from pydicom.pixels import get_decoder

        _cap_memory(job["memory_bytes"])
        for index, file in enumerate(job["files"]):
            status["files"].append(_decode(file, os.path.join(job["folder"], f"{index}.raw"), get_decoder))
    except _Refused as reason:
        status["problem"] = str(reason)
    except ImportError:
        status["problem"] = "packages"
    except Exception:
        status["problem"] = "damaged"
    with open(os.path.join(job["folder"], "status.json"), "w", encoding="ascii") as stream:
        json.dump(status, stream)


class _Refused(Exception):
    pass


def _cap_memory(limit_bytes: int) -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))
    except (ImportError, ValueError, OSError):
        # Windows and some macOS versions know no such limit; the time limit and the separate process remain
        pass


def _decode(file: dict, out: str, get_decoder) -> str:
    """Write one file's frames, (frame, row, column), to `out`; returns their dtype."""
    import numpy as np

    try:
        decoder = get_decoder(file["transfer_syntax"])
    except NotImplementedError:
        raise _Refused("unsupported") from None
    plugins = set(decoder.available_plugins)
    # Pillow's JPEG decoder knows 8 bits only
    if not plugins or file["transfer_syntax"] == JPEG_EXTENDED and file["bits_stored"] > 8 and plugins == {"pillow"}:
        raise _Refused("missing")
    array, _ = decoder.as_array(_encapsulated(file), raw=True, rows=file["rows"], columns=file["columns"],
                                number_of_frames=file["frames"], samples_per_pixel=1, bits_allocated=file["bits_allocated"],
                                bits_stored=file["bits_stored"], pixel_representation=file["signed"],
                                photometric_interpretation=file["photometric"], pixel_keyword="PixelData")
    array = np.ascontiguousarray(array)
    array = array.astype(array.dtype.newbyteorder("<"))
    if array.size != file["frames"] * file["rows"] * file["columns"]:
        raise ValueError("another number of voxels")
    array.tofile(out)
    return f"{array.dtype.kind}{array.dtype.itemsize}"


def _encapsulated(file: dict) -> bytes:
    """The fragments as one buffer. Where each frame is one fragment, the offset table is left out: it cannot help, only mislead."""
    with open(file["path"], "rb") as stream:
        items = []
        for offset, length in file["fragments"]:
            stream.seek(offset)
            items.append(stream.read(length))
    table, frames = items[0], items[1:]
    if file["frames"] == 1:
        frames = [b"".join(frames)]
    if len(frames) == file["frames"]:
        table = b""
    tag = b"\xfe\xff\x00\xe0"
    return b"".join(tag + struct.pack("<L", len(item)) + item for item in (table, *frames)) + b"\xfe\xff\xdd\xe0\0\0\0\0"


if __name__ == "__main__":
    main()
