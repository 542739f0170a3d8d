"""Which code a PyTorch checkpoint names: looked up in its pickle without reading it as one, so that nothing of it runs.

An aid for who decides about trust, and no proof: usual names can be misused too, and the pickle is not the only file of a model that names code.
"""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path

MAX_PICKLE_BYTES = 64 * 1024**2
"""The weights lie beside the pickle; without them it takes some hundred kilobytes."""

USUAL = frozenset({"collections.OrderedDict", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter", "torch.device", "torch.Size",
                   "torch.FloatStorage", "torch.HalfStorage", "torch.BFloat16Storage", "torch.DoubleStorage", "torch.LongStorage", "torch.IntStorage",
                   "torch.ByteStorage", "torch.BoolStorage", "numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
                   "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct", "numpy.ndarray", "_codecs.encode", "__builtin__.set"})
"""What nnU-Net's own checkpoints name: tensors, and numbers of the training's log."""


def unusual_names(path: Path | str) -> tuple[str, ...] | None:
    """Names of code that nnU-Net's own checkpoints do not hold, sorted; None if the file's form is not the usual one and was not looked into."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = [entry for entry in archive.infolist() if entry.filename.split("/")[-1] == "data.pkl"]
            if len(found) != 1 or found[0].file_size > MAX_PICKLE_BYTES or found[0].compress_type != zipfile.ZIP_STORED:
                return None                                      # PyTorch packs nothing
            content = archive.read(found[0])
        return tuple(sorted(_names(content) - USUAL))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError):     # RuntimeError: encrypted
        return None


def _names(content: bytes) -> set[str]:
    """Every module and name that the pickle would look up; those that it puts together while it is read cannot be told."""
    found: set[str] = set()
    for operation, argument, _ in pickletools.genops(content):
        if operation.name in ("GLOBAL", "INST"):
            found.add(str(argument).replace(" ", "."))
        elif operation.name == "STACK_GLOBAL" or operation.name.startswith("EXT"):
            found.add("(a name that is put together while it is read)")
    return found
