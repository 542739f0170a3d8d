"""A safetensors file taken apart and put together again, to damage what lies between."""

from __future__ import annotations

import json
import struct
from pathlib import Path


def parts(path: Path) -> tuple[dict, bytes]:
    """Header and tensors' bytes."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8:8 + length]), data[8 + length:]


def put(path: Path, header: dict, body: bytes) -> None:
    """The same as a file."""
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
