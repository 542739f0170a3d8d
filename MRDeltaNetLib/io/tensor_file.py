"""One tensor on a crop grid, with what it means as strict JSON in the same file (safetensors): written the same every time, read without torch.

io/network_input and io/correspondence say what tensor and what text theirs hold; everything that an unknown file may do wrong is refused here.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Mapping, TypeVar

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, MRDeltaNetError, require
from MRDeltaNetLib.io.atomic import atomic
from MRDeltaNetLib.io.tables import read_json

Parsed = TypeVar("Parsed")

DTYPE = "F16"
"""Of every such tensor, as safetensors names it."""

GRID_KEYS = frozenset({"size_voxels", "spacing_mm", "origin_lps_mm", "direction"})
MAX_VOXELS_PER_AXIS, MAX_VOXELS, MAX_SPACING_MM, MAX_ORIGIN_MM, DIRECTION_TOLERANCE = 4096, 2**27, 20.0, 1e5, 1e-4


@dataclass(frozen=True)
class TensorFile:
    """One kind of file.

    tensor, text  names of its only tensor (float16) and of its only text
    most_bytes    a larger file is not read
    what          of what it holds, for errors, as a sentence's beginning: "What the network saw"
    code, fix     of the InputError that refuses it
    """

    tensor: str
    text: str
    most_bytes: int
    what: str
    code: str
    fix: str

    def write(self, values: np.ndarray, said: Mapping[str, Any], path: Path) -> None:
        """Write it; atomic, and the same values and text give the same bytes. raises EnvironmentProblem MRD-E810 to E813"""
        save = require("safetensors.numpy", self.what, "pip install safetensors").save
        data = save({self.tensor: np.ascontiguousarray(values)}, metadata={self.text: json.dumps(said, sort_keys=True, allow_nan=False)})
        with atomic(path) as temporary:
            temporary.write_bytes(data)

    def read(self, path: Path, limits: GateLimits, parse: Callable[[Any], Parsed], fits: Callable[[tuple[int, ...], Parsed], None]) -> tuple[np.ndarray, Parsed]:
        """The tensor, and what `parse` makes of the text's JSON.

        fits    is asked with the tensor's stated shape before a byte of it is taken into memory; both functions raise through `require`
        raises  the kind's InputError if the file is absent, too large, damaged, or holds anything else
        """
        safe_open = require("safetensors", self.what, "pip install safetensors").safe_open
        try:
            self.require(path.is_file(), "no such file")
            self.require(path.stat().st_size <= self.most_bytes, f"more than {self.most_bytes // 1024**2} MiB")
            with safe_open(path, framework="numpy") as stored:
                texts = stored.metadata() or {}
                self.require(set(stored.keys()) == {self.tensor} and set(texts) == {self.text}, "tensors or texts that do not belong there, or missing ones")
                parsed = parse(self._json(texts[self.text], limits))
                stated = stored.get_slice(self.tensor)
                self.require(stated.get_dtype() == DTYPE, f"numbers of the kind {stated.get_dtype()}, not {DTYPE}")
                fits(tuple(stated.get_shape()), parsed)
                return stored.get_tensor(self.tensor), parsed
        except MRDeltaNetError:
            raise
        except Exception as cause:  # noqa: BLE001 safetensors raises its own and several built-in types for a damaged file
            raise self._refusal(type(cause).__name__) from cause

    def require(self, holds: bool, found: str) -> None:
        """raises  the kind's InputError with what was found, unless it holds"""
        if not holds:
            raise self._refusal(found)

    def grid_of(self, said: Mapping[str, Any]) -> sitk.Image:
        """The crop grid that a text with GRID_KEYS describes, all checked: uint8 zeros."""
        size = self.whole_numbers(said["size_voxels"], MAX_VOXELS_PER_AXIS)
        self.require(math.prod(size) <= MAX_VOXELS, "a grid that is too large")
        spacing, origin, direction = self._numbers(said["spacing_mm"], 3), self._numbers(said["origin_lps_mm"], 3), self._numbers(said["direction"], 9)
        self.require(all(0 < step <= MAX_SPACING_MM for step in spacing) and all(abs(value) <= MAX_ORIGIN_MM for value in origin), "a grid that cannot be")
        matrix = np.array(direction).reshape(3, 3)
        self.require(bool(np.abs(matrix @ matrix.T - np.eye(3)).max() <= DIRECTION_TOLERANCE), "axes that are not at right angles")
        grid = sitk.Image(list(size), sitk.sitkUInt8)
        grid.SetSpacing(spacing)
        grid.SetOrigin(origin)
        grid.SetDirection(direction)
        return grid

    def whole_numbers(self, values: Any, most: int) -> tuple[int, int, int]:
        """Three whole numbers from 1 to `most`."""
        self.require(isinstance(values, list) and len(values) == 3 and all(type(value) is int and 1 <= value <= most for value in values), "sizes that cannot be")
        return tuple(values)

    def _numbers(self, values: Any, count: int) -> list[float]:
        good = isinstance(values, list) and len(values) == count and all(type(value) in (int, float) and math.isfinite(value) for value in values)
        self.require(good, "numbers that cannot be")
        return [float(value) for value in values]

    def _json(self, text: str, limits: GateLimits) -> Any:
        try:
            return read_json(text.encode("utf-8"), limits, what="the text of a tensor file")
        except InputError as cause:
            raise self._refusal(f"its text: {cause.code}") from cause

    def _refusal(self, found: str) -> InputError:
        return InputError(f"{self.what} cannot be used", code=self.code, found=found, fix=self.fix)


def grid_text(grid: sitk.Image) -> dict[str, list[float]]:
    """A grid under GRID_KEYS."""
    return {"size_voxels": list(grid.GetSize()), "spacing_mm": list(grid.GetSpacing()), "origin_lps_mm": list(grid.GetOrigin()), "direction": list(grid.GetDirection())}
