"""Prepared crops on disk: one memory-mapped array and one file of facts a case, named by what they were made from.

    <key>.npy    float16 (timepoint 2, channel 2, depth, height, width)
    <key>.json   facts; written last: it marks the case as complete
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io.atomic import atomic, sha256, write_text
from MRDeltaNetLib.io.tables import read_json

_KEY = re.compile(r"[0-9a-f]{64}")


class CropStore:
    """A folder of prepared crops.

    A key is a SHA-256 of everything that made the crop, so equal keys mean equal bytes: any number of processes may write into one
    folder at once, and nothing is ever changed after it was written.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def has(self, key: str) -> bool:
        """Whether the case is there, whole as far as sizes and facts tell; bytes are compared by read(..., check=True) only."""
        try:
            self.read(key)
            return True
        except InputError:
            return False

    def read(self, key: str, *, check: bool = False) -> tuple[np.memmap, dict[str, Any]]:
        """The crop, memory-mapped and read-only, float16 (timepoint 2, channel 2, depth, height, width), and its facts.

        check   also compare the file's SHA-256 with the one that the facts hold
        raises  InputError MRD-E466 if the case is not there or damaged
        """
        crop, facts = self._crop(key), self._facts(key)
        try:
            stored = facts["crop"]
            if list(crop.shape) != stored["shape"] or crop.dtype != np.float16 or crop.ndim != 5:
                raise _damaged("another shape than when it was written")
            if check and sha256(self._crop_path(key)) != stored["sha256"]:
                raise _damaged("other bytes than when it was written")
        except (KeyError, TypeError) as cause:
            raise _damaged("incomplete facts") from cause
        return crop, facts

    def write(self, key: str, tensor: Any, facts: Mapping[str, Any]) -> None:
        """Keep a case, the facts last.

        tensor  torch.Tensor or array, (timepoint 2, channel 2, depth, height, width), finite; stored as float16
        facts   plain JSON; "crop" (shape, SHA-256 of the file) is added
        raises  EnvironmentProblem as io/atomic; ValueError for another shape or values that are not finite as float16
        """
        with np.errstate(over="ignore"):                          # infinities are refused below
            crop = np.ascontiguousarray(np.asarray(tensor), dtype=np.float16)
        if crop.ndim != 5 or crop.shape[:2] != (2, 2) or not np.isfinite(crop).all():
            raise ValueError(f"not a finite crop of two visits and two channels: {crop.shape}")
        with atomic(self._crop_path(key)) as temporary:
            with open(temporary, "wb") as stream:
                np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(crop))
                stream.write(memoryview(crop).cast("B"))          # not ndarray.tofile, whose error on a full disk hides the reason
            digest = sha256(temporary)
        whole = {**facts, "crop": {"shape": list(crop.shape), "dtype": "float16", "sha256": digest}}
        write_text(self._facts_path(key), json.dumps(whole, indent=1, sort_keys=True, allow_nan=False) + "\n")

    def _crop(self, key: str) -> np.memmap:
        path = self._crop_path(key)
        try:
            return np.lib.format.open_memmap(path, mode="r")
        except OSError as cause:
            raise _damaged("the file is not there or cannot be opened") from cause
        except ValueError as cause:                            # cut short, another header, or Python objects inside
            raise _damaged("a file that is not a whole array") from cause

    def _facts(self, key: str) -> dict[str, Any]:
        return read_json(self._facts_path(key), what="the file of facts of a prepared crop")

    def _crop_path(self, key: str) -> Path:
        return self.folder / f"{_checked(key)}.npy"

    def _facts_path(self, key: str) -> Path:
        return self.folder / f"{_checked(key)}.json"


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError("a key is 64 hexadecimal digits")
    return key


def _damaged(found: str) -> InputError:
    return InputError("A prepared crop in the cache cannot be used", code="MRD-E466", found=found,
                      fix="run `mrdeltanet cohort prepare` again, which makes what is missing; after damage, delete the cache first")
