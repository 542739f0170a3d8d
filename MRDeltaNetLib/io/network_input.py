"""network_input.safetensors: what the network saw, so that a finished run can be asked again.

A result names no scan, so methods that ask the network anew need its input beside them: one tensor, "input" (see case.NetworkInput), and strict
JSON in the file's own metadata under "grid". It holds the crop of both scans, whose whole the folder holds anyway (pre_common, post_common),
and nothing that names the patient. It is read without torch.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Mapping

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import NetworkInput
from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, MRDeltaNetError, require
from MRDeltaNetLib.io.atomic import atomic
from MRDeltaNetLib.io.tables import read_json

FILE = "network_input.safetensors"
SCHEMA = "mrdeltanet.network_input/1"
TENSOR, TEXT = "input", "grid"

MAX_FILE_BYTES = 256 * 1024**2
"""The full crop takes 3 MiB."""

MAX_VOXELS_PER_AXIS, MAX_SPACING_MM, MAX_ORIGIN_MM, DIRECTION_TOLERANCE = 1024, 20.0, 1e5, 1e-4

KEYS = {"schema", "size_voxels", "spacing_mm", "origin_lps_mm", "direction", "meaning"}
MEANING = ("input[t, c, z, y, x]: t 0 before, 1 after treatment; c 0 normalised T2 (z-score), 1 soft outline of tumour or tumour bed; voxels lie on the "
           "network's crop in the pre-treatment scan's space")


def write_network_input(seen: NetworkInput, path: Path | str) -> None:
    """Write it; atomic, and the same input gives the same bytes.

    raises  InputError MRD-E726 if it could not be read back; EnvironmentProblem MRD-E810 to E813
    """
    save = require("safetensors.numpy", "Keeping what the network saw", "pip install safetensors").save
    text = json.dumps(_as_json(seen.grid), sort_keys=True, allow_nan=False)
    _check(seen.values, _grid(json.loads(text)))
    data = save({TENSOR: np.ascontiguousarray(seen.values)}, metadata={TEXT: text})
    with atomic(Path(path)) as temporary:
        temporary.write_bytes(data)


def read_network_input(path: Path | str, limits: GateLimits = GateLimits()) -> NetworkInput:
    """Read and check it, without torch.

    raises  InputError MRD-E726 if it is absent, too large, damaged, of a wrong shape, or holds anything else
    """
    path = Path(path)
    safe_open = require("safetensors", "Reading what the network saw", "pip install safetensors").safe_open
    try:
        _require(path.is_file(), "no such file")
        _require(path.stat().st_size <= MAX_FILE_BYTES, f"more than {MAX_FILE_BYTES // 1024**2} MiB")
        with safe_open(path, framework="numpy") as stored:
            texts = stored.metadata() or {}
            _require(set(stored.keys()) == {TENSOR} and set(texts) == {TEXT}, "tensors or texts that do not belong there, or missing ones")
            grid = _grid(_json(texts[TEXT], limits))
            stated = stored.get_slice(TENSOR)                       # the shape is judged before a byte of it is taken into memory
            _require(stated.get_dtype() == "F16" and tuple(stated.get_shape()) == (2, 2, *grid.GetSize()[::-1]), "a tensor of another kind or size")
            values = stored.get_tensor(TENSOR)
    except MRDeltaNetError:
        raise
    except Exception as cause:  # noqa: BLE001 safetensors raises its own and several built-in types for a damaged file
        raise _unusable(type(cause).__name__) from cause
    _check(values, grid)
    return NetworkInput(values, grid)


def _as_json(grid: sitk.Image) -> dict[str, Any]:
    return {"schema": SCHEMA, "size_voxels": list(grid.GetSize()), "spacing_mm": list(grid.GetSpacing()), "origin_lps_mm": list(grid.GetOrigin()),
            "direction": list(grid.GetDirection()), "meaning": MEANING}


def _json(text: str, limits: GateLimits) -> Any:
    try:
        return read_json(text.encode("utf-8"), limits, what="the text of what the network saw")
    except InputError as cause:
        raise _unusable(f"its text: {cause.code}") from cause


def _grid(given: Any) -> sitk.Image:
    """The crop grid, all checked: uint8 zeros."""
    _require(isinstance(given, Mapping) and set(given) == KEYS and given["schema"] == SCHEMA, "its text is not that of this version")
    size = given["size_voxels"]
    _require(isinstance(size, list) and len(size) == 3 and all(type(count) is int and 1 <= count <= MAX_VOXELS_PER_AXIS for count in size), "sizes that cannot be")
    _require(8 * math.prod(size) <= MAX_FILE_BYTES, "a grid that is too large")
    spacing, origin, direction = _numbers(given["spacing_mm"], 3), _numbers(given["origin_lps_mm"], 3), _numbers(given["direction"], 9)
    _require(all(0 < step <= MAX_SPACING_MM for step in spacing) and all(abs(value) <= MAX_ORIGIN_MM for value in origin), "a grid that cannot be")
    matrix = np.array(direction).reshape(3, 3)
    _require(bool(np.abs(matrix @ matrix.T - np.eye(3)).max() <= DIRECTION_TOLERANCE), "axes that are not at right angles")
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetSpacing(spacing)
    grid.SetOrigin(origin)
    grid.SetDirection(direction)
    return grid


def _numbers(values: Any, count: int) -> list[float]:
    good = isinstance(values, list) and len(values) == count and all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) for value in values)
    _require(good, "numbers that cannot be")
    return [float(value) for value in values]


def _check(values: np.ndarray, grid: sitk.Image) -> None:
    _require(values.dtype == np.float16 and values.shape == (2, 2, *grid.GetSize()[::-1]), "an array of another kind or size")
    _require(bool(np.isfinite(values).all()), "values that are not finite")


def _require(holds: bool, found: str) -> None:
    if not holds:
        raise _unusable(found)


def _unusable(found: str) -> InputError:
    return InputError("What the network saw cannot be used, so it cannot be asked again", code="MRD-E726", found=found, fix="run the job again with the step 'explain'")
