"""correspondence.safetensors: which places of the pre scan each place of the post scan is compared with.

One tensor, "shares" (see case.Correspondence), and what it means under "correspondence" (io/tensor_file).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import Correspondence
from MRDeltaNetLib.config import GateLimits
from MRDeltaNetLib.io.tensor_file import GRID_KEYS, TensorFile, grid_text

FILE = "correspondence.safetensors"
SCHEMA = "mrdeltanet.correspondence/1"

MAX_SHARE_BYTES = 128 * 1024**2
"""All tokens with all: 8192 tokens. The full crop's 3072 take 18 MiB, slice by slice 1.5 MiB."""

MAX_FILE_BYTES = MAX_SHARE_BYTES + 1024**2
MAX_TOKENS, MAX_STRIDE, MAX_MEMBERS = 1024, 64, 1000

ROW_TOLERANCE = 2e-3
"""float16 rounds each share by 0.05 percent at most, those below 6e-5 by 3e-8: a row of 8192 shares is off by less than 8e-4."""

COMPARISONS = {"content": "by the content of both images, beside position where the network is anchored",
               "position": "by position and outlines alone, not by the images", "same place": "with the same place alone"}

KEYS = {"schema", "meaning", "tokens", "stride", "comparison", "sees_image_content", "members", *GRID_KEYS}
MEANING = ("shares[k, i, j]: share of pre token j of block k in what post token i of that block is compared with; rows sum to 1 within 0.002; tokens are "
           "numbered z, y, x, x fastest; the grid is the network's crop in the pre-treatment scan's space")

_FILE = TensorFile("shares", "correspondence", MAX_FILE_BYTES, "The correspondence of the two scans", "MRD-E880", "run the job again with the step 'explain'")


def write_correspondence(correspondence: Correspondence, path: Path | str) -> None:
    """Write it; atomic, and the same correspondence gives the same bytes.

    raises  InputError MRD-E880 if it could not be read back; EnvironmentProblem MRD-E810 to E813
    """
    shares, said = np.ascontiguousarray(correspondence.shares, dtype=np.float16), _as_json(correspondence)
    _require_shape(shares.shape, _parsed(said))
    _require_shares(shares)
    _FILE.write(shares, said, Path(path))


def read_correspondence(path: Path | str, limits: GateLimits = GateLimits()) -> Correspondence:
    """Read and check it, without torch.

    raises  InputError MRD-E880 if it is absent, too large, damaged, of a wrong shape, holds anything else, or its rows are no shares
    """
    shares, said = _FILE.read(Path(path), limits, _parsed, _require_shape)
    _require_shares(shares)
    return Correspondence(shares, said.tokens, said.grid, said.comparison, said.members)


def facts(correspondence: Correspondence) -> dict[str, Any]:
    """What result.json says of it."""
    return {"file": FILE, "meaning": MEANING, "compared": COMPARISONS[correspondence.comparison], "sees_image_content": correspondence.sees_image_content,
            "resolution_mm": [step * size for step, size in zip(correspondence.stride[::-1], correspondence.grid.GetSpacing())],
            "tokens": list(correspondence.tokens), "blocks": len(correspondence.shares), "members": correspondence.members}


@dataclass(frozen=True)
class _Said:
    """The file's text, checked: see case.Correspondence."""

    tokens: tuple[int, int, int]
    grid: sitk.Image
    comparison: str
    members: int


def _as_json(correspondence: Correspondence) -> dict[str, Any]:
    return {"schema": SCHEMA, "meaning": MEANING, "tokens": list(correspondence.tokens), "stride": list(correspondence.stride),
            "comparison": correspondence.comparison, "sees_image_content": correspondence.sees_image_content, "members": correspondence.members,
            **grid_text(correspondence.grid)}


def _parsed(given: Any) -> _Said:
    _FILE.require(isinstance(given, dict) and set(given) == KEYS and given["schema"] == SCHEMA, "its text is not that of this version")
    tokens, stride = _FILE.whole_numbers(given["tokens"], MAX_TOKENS), _FILE.whole_numbers(given["stride"], MAX_STRIDE)
    grid, comparison, members = _FILE.grid_of(given), given["comparison"], given["members"]
    _FILE.require(grid.GetSize() == tuple(count * step for count, step in zip(tokens, stride))[::-1], "tokens and grid do not fit each other")
    _FILE.require(isinstance(comparison, str) and comparison in COMPARISONS and given["sees_image_content"] is (comparison == "content"),
                  "a comparison that is not known")
    _FILE.require(type(members) is int and 1 <= members <= MAX_MEMBERS, "an impossible number of members")
    return _Said(tokens, grid, comparison, members)


def _require_shape(shape: tuple[int, ...], said: _Said) -> None:
    tokens = said.tokens
    _FILE.require(len(shape) == 3 and shape[1] == shape[2] and shape[0] in (1, tokens[0]) and shape[0] * shape[1] == math.prod(tokens),
                  f"shares {shape} for {tokens} tokens")
    _FILE.require(2 * math.prod(shape) <= MAX_SHARE_BYTES, f"shares of more than {MAX_SHARE_BYTES // 1024**2} MiB")


def _require_shares(shares: np.ndarray) -> None:
    """Block by block, so that no second copy of them all is made."""
    for block in shares:
        _FILE.require(bool(np.isfinite(block).all()) and bool((block >= 0).all()), "shares that are not finite, or below zero")
        _FILE.require(bool((np.abs(block.sum(-1, dtype=np.float32) - 1) <= ROW_TOLERANCE).all()), "rows that do not sum to 1")
