"""correspondence.safetensors: which places of the pre scan each place of the post scan is compared with.

One tensor, "shares" (see case.Correspondence), and strict JSON in the file's own metadata under "correspondence". It is read without torch.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Mapping

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import Correspondence
from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.errors import InputError, MRDeltaNetError, require
from MRDeltaNetLib.io.atomic import atomic
from MRDeltaNetLib.io.tables import read_json

FILE = "correspondence.safetensors"
SCHEMA = "mrdeltanet.correspondence/1"
TENSOR, TEXT = "shares", "correspondence"

MAX_SHARE_BYTES = 128 * 1024**2
"""All tokens with all: 8192 tokens. The full crop's 3072 take 18 MiB, slice by slice 1.5 MiB."""

MAX_FILE_BYTES = MAX_SHARE_BYTES + 1024**2
MAX_TOKENS, MAX_STRIDE, MAX_MEMBERS, MAX_VOXELS = 1024, 64, 1000, 2**27
MAX_SPACING_MM, MAX_ORIGIN_MM = 20.0, 1e5
DIRECTION_TOLERANCE = 1e-4

ROW_TOLERANCE = 2e-3
"""float16 rounds each share by 0.05 percent at most, those below 6e-5 by 3e-8: a row of 8192 shares is off by less than 8e-4."""

COMPARISONS = {"content": "by the content of both images, beside position where the network is anchored",
               "position": "by position and outlines alone, not by the images", "same place": "with the same place alone"}

KEYS = {"schema", "tokens", "stride", "size_voxels", "spacing_mm", "origin_lps_mm", "direction", "comparison", "sees_image_content", "members", "meaning"}
MEANING = ("shares[k, i, j]: share of pre token j of block k in what post token i of that block is compared with; rows sum to 1 within 0.002; tokens are "
           "numbered z, y, x, x fastest; the grid is the network's crop in the pre-treatment scan's space")


def write_correspondence(correspondence: Correspondence, path: Path | str) -> None:
    """Write it; atomic, and the same correspondence gives the same bytes.

    raises  InputError MRD-E880 if it could not be read back; EnvironmentProblem MRD-E810 to E813
    """
    save = require("safetensors.numpy", "Writing the correspondence", "pip install safetensors").save
    shares = np.ascontiguousarray(correspondence.shares, dtype=np.float16)
    text = json.dumps(_as_json(correspondence), sort_keys=True, allow_nan=False)
    _require_shape(shares.shape, _from_json(json.loads(text))[0])
    _require_shares(shares)
    data = save({TENSOR: shares}, metadata={TEXT: text})
    with atomic(Path(path)) as temporary:
        temporary.write_bytes(data)


def read_correspondence(path: Path | str, limits: GateLimits = GateLimits()) -> Correspondence:
    """Read and check it, without torch.

    raises  InputError MRD-E880 if it is absent, too large, damaged, of a wrong shape, holds anything else, or its rows are no shares
    """
    path = Path(path)
    safe_open = require("safetensors", "Reading the correspondence", "pip install safetensors").safe_open
    try:
        _require(path.is_file(), "no such file")
        _require(path.stat().st_size <= MAX_FILE_BYTES, f"more than {MAX_FILE_BYTES // 1024**2} MiB")
        with safe_open(path, framework="numpy") as stored:
            texts = stored.metadata() or {}
            _require(set(stored.keys()) == {TENSOR} and set(texts) == {TEXT}, "tensors or texts that do not belong there, or missing ones")
            tokens, grid, said = _from_json(_json(texts[TEXT], limits))
            stated = stored.get_slice(TENSOR)                       # the shape is judged before a byte of it is taken into memory
            _require(stated.get_dtype() == "F16", f"shares are {stated.get_dtype()}, not F16")
            _require_shape(tuple(stated.get_shape()), tokens)
            shares = stored.get_tensor(TENSOR)
    except MRDeltaNetError:
        raise
    except Exception as cause:  # noqa: BLE001 safetensors raises its own and several built-in types for a damaged file
        raise _unusable(type(cause).__name__) from cause
    _require_shares(shares)
    return Correspondence(shares, tokens, grid, said["comparison"], said["members"])


def facts(correspondence: Correspondence) -> dict[str, Any]:
    """What result.json says of it."""
    return {"file": FILE, "meaning": MEANING, "compared": COMPARISONS[correspondence.comparison], "sees_image_content": correspondence.sees_image_content,
            "resolution_mm": [step * size for step, size in zip(correspondence.stride[::-1], correspondence.grid.GetSpacing())],
            "tokens": list(correspondence.tokens), "blocks": len(correspondence.shares), "members": correspondence.members}


def _as_json(correspondence: Correspondence) -> dict[str, Any]:
    grid = correspondence.grid
    return {"schema": SCHEMA, "tokens": list(correspondence.tokens), "stride": list(correspondence.stride), "size_voxels": list(grid.GetSize()),
            "spacing_mm": list(grid.GetSpacing()), "origin_lps_mm": list(grid.GetOrigin()), "direction": list(grid.GetDirection()),
            "comparison": correspondence.comparison, "sees_image_content": correspondence.sees_image_content, "members": correspondence.members,
            "meaning": MEANING}


def _json(text: str, limits: GateLimits) -> Any:
    try:
        return read_json(text.encode("utf-8"), limits, what="the correspondence's text")
    except InputError as cause:
        raise _unusable(f"its text: {cause.code}") from cause


def _from_json(given: Any) -> tuple[tuple[int, int, int], sitk.Image, Mapping[str, Any]]:
    """Tokens (z, y, x), the crop grid, and the rest, all checked."""
    _require(isinstance(given, dict) and set(given) == KEYS and given["schema"] == SCHEMA, "its text is not that of this version")
    tokens, stride = _whole(given["tokens"], MAX_TOKENS), _whole(given["stride"], MAX_STRIDE)
    size = _whole(given["size_voxels"], MAX_TOKENS * MAX_STRIDE)
    _require(size == tuple(count * step for count, step in zip(tokens, stride))[::-1], "tokens and grid do not fit each other")
    spacing, origin, direction = _numbers(given["spacing_mm"], 3), _numbers(given["origin_lps_mm"], 3), _numbers(given["direction"], 9)
    _require(all(0 < step <= MAX_SPACING_MM for step in spacing) and all(abs(value) <= MAX_ORIGIN_MM for value in origin), "a grid that cannot be")
    matrix = np.array(direction).reshape(3, 3)
    _require(bool(np.abs(matrix @ matrix.T - np.eye(3)).max() <= DIRECTION_TOLERANCE), "axes that are not at right angles")
    comparison, members = given["comparison"], given["members"]
    _require(isinstance(comparison, str) and comparison in COMPARISONS and given["sees_image_content"] is (comparison == "content"), "a comparison that is not known")
    _require(_is_whole(members) and 1 <= members <= MAX_MEMBERS, "an impossible number of members")
    _require(math.prod(size) <= MAX_VOXELS, "a grid that is too large")
    grid = sitk.Image(list(size), sitk.sitkUInt8)
    grid.SetSpacing(spacing)
    grid.SetOrigin(origin)
    grid.SetDirection(direction)
    return tokens, grid, given


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _whole(values: Any, most: int) -> tuple[int, int, int]:
    _require(isinstance(values, list) and len(values) == 3 and all(_is_whole(value) and 1 <= value <= most for value in values), "sizes that cannot be")
    return tuple(values)


def _numbers(values: Any, count: int) -> list[float]:
    good = isinstance(values, list) and len(values) == count and all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) for value in values)
    _require(good, "numbers that cannot be")
    return [float(value) for value in values]


def _require_shape(shape: tuple[int, ...], tokens: tuple[int, int, int]) -> None:
    _require(len(shape) == 3 and shape[1] == shape[2] and shape[0] in (1, tokens[0]) and shape[0] * shape[1] == math.prod(tokens),
             f"shares {shape} for {tokens} tokens")
    _require(2 * math.prod(shape) <= MAX_SHARE_BYTES, f"shares of more than {MAX_SHARE_BYTES // 1024**2} MiB")


def _require_shares(shares: np.ndarray) -> None:
    """Block by block, so that no second copy of them all is made."""
    for block in shares:
        _require(bool(np.isfinite(block).all()) and bool((block >= 0).all()), "shares that are not finite, or below zero")
        _require(bool((np.abs(block.sum(-1, dtype=np.float32) - 1) <= ROW_TOLERANCE).all()), "rows that do not sum to 1")


def _require(holds: bool, found: str) -> None:
    if not holds:
        raise _unusable(found)


def _unusable(found: str) -> InputError:
    return InputError("The correspondence of the two scans cannot be used", code="MRD-E880", found=found,
                      fix="run the job again with the step 'explain'")
