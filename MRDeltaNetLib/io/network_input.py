"""network_input.safetensors: what the network saw, so that a finished run can be asked again.

A result names no scan, so methods that ask the network anew need its input beside them: one tensor, "input" (see case.NetworkInput), and its place
under "grid" (io/tensor_file). It holds the crop of both scans, whose whole the folder holds anyway (pre_common, post_common), and nothing that
names the patient.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import NetworkInput
from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.io.tensor_file import GRID_KEYS, TensorFile, grid_text

FILE = "network_input.safetensors"
SCHEMA = "mrdeltanet.network_input/1"

MAX_FILE_BYTES = 256 * 1024**2
"""The full crop takes 3 MiB."""

KEYS = {"schema", "meaning", *GRID_KEYS}
MEANING = ("input[t, c, z, y, x]: t 0 before, 1 after treatment; c 0 normalised T2 (z-score), 1 soft outline of tumour or tumour bed; voxels lie on the "
           "network's crop in the pre-treatment scan's space")

_FILE = TensorFile("input", "grid", MAX_FILE_BYTES, "What the network saw", "MRD-E726", "run the job again with the step 'explain'")


def write_network_input(seen: NetworkInput, path: Path | str) -> None:
    """Write it; atomic, and the same input gives the same bytes.

    raises  InputError MRD-E726 if it could not be read back; EnvironmentProblem MRD-E810 to E813
    """
    said = {"schema": SCHEMA, "meaning": MEANING, **grid_text(seen.grid)}
    _require_values(seen.values, _grid(said))
    _FILE.write(seen.values, said, Path(path))


def read_network_input(path: Path | str, limits: GateLimits = GateLimits()) -> NetworkInput:
    """Read and check it, without torch.

    raises  InputError MRD-E726 if it is absent, too large, damaged, of a wrong shape, or holds anything else
    """
    values, grid = _FILE.read(Path(path), limits, _grid, _require_shape)
    _require_values(values, grid)
    return NetworkInput(values, grid)


def _grid(said: Any) -> sitk.Image:
    _FILE.require(isinstance(said, Mapping) and set(said) == KEYS and said["schema"] == SCHEMA, "its text is not that of this version")
    return _FILE.grid_of(said)


def _require_shape(shape: tuple[int, ...], grid: sitk.Image) -> None:
    _FILE.require(shape == (2, 2, *grid.GetSize()[::-1]), f"an input {shape} on a grid of {grid.GetSize()[::-1]} voxels")


def _require_values(values: np.ndarray, grid: sitk.Image) -> None:
    _FILE.require(values.dtype == np.float16, f"numbers of the kind {values.dtype}, not float16")
    _require_shape(values.shape, grid)
    _FILE.require(bool(np.isfinite(values).all()), "values that are not finite")
