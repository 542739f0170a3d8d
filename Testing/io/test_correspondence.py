"""correspondence.safetensors: written the same every time, read strictly, and without torch. Made-up shares."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.case import Correspondence
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io import correspondence
from MRDeltaNetLib.io.correspondence import read_correspondence, write_correspondence
from Testing.io.tensor_files import parts, put
from Testing.made_up_result import TILT


def made_up(blocks: int = 2) -> Correspondence:
    tokens = (2, 3, 4)
    size = 24 // blocks
    shares = np.random.default_rng(0).random((blocks, size, size))
    grid = sitk.Image(16, 9, 4, sitk.sitkUInt8)
    grid.SetSpacing((0.75, 0.7, 3.3))
    grid.SetOrigin((-12.345678901234567, 8.1, 1 / 3))
    grid.SetDirection(TILT)
    return Correspondence((shares / shares.sum(-1, keepdims=True)).astype(np.float16), tokens, grid, "content", 3)


@pytest.fixture
def path(tmp_path) -> Path:
    write_correspondence(made_up(), tmp_path / "c.safetensors")
    return tmp_path / "c.safetensors"


@pytest.mark.parametrize("blocks", [1, 2])
def test_what_was_written_is_read_bit_for_bit(tmp_path, blocks):
    given = made_up(blocks)
    write_correspondence(given, tmp_path / "c.safetensors")
    found = read_correspondence(tmp_path / "c.safetensors")
    assert found.shares.dtype == np.float16 and np.array_equal(found.shares, given.shares)
    assert (found.tokens, found.stride, found.comparison, found.members) == ((2, 3, 4), (2, 3, 4), "content", 3)
    for name in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(found.grid, name)() == getattr(given.grid, name)(), name


def test_it_is_read_and_asked_without_torch(path):
    code = ("import sys\n"
            "class No:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            "        if name.split('.')[0] in {'torch', 'monai', 'pydicom', 'typer', 'slicer', 'vtk'}: raise ImportError(name)\n"
            "sys.meta_path.insert(0, No())\n"
            "import SimpleITK as sitk\n"
            "from MRDeltaNetLib.response.correspondence import query, read_correspondence\n"
            "found = read_correspondence(sys.argv[1])\n"
            "print(query(found, found.grid.GetOrigin(), sitk.Transform(3, sitk.sitkIdentity)).spread_mm > 0)\n")
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, cwd=Path(__file__).resolve().parents[2])
    assert done.stdout.strip() == "True", done.stderr


def test_the_sizes_that_are_promised_hold():
    """The demo model's crop and the full crop, slice by slice, and the full crop's tokens all with all."""
    for tokens, blocks, kib in (((6, 8, 8), 6, 48), ((12, 16, 16), 12, 1536), ((12, 16, 16), 1, 18432)):
        size = int(np.prod(tokens)) // blocks
        assert 2 * blocks * size ** 2 == kib * 1024 <= correspondence.MAX_SHARE_BYTES


def test_rounding_is_within_what_a_row_may_be_off():
    """The worst row of the largest size: 8192 shares just above a power of two, where float16 rounds most."""
    row = np.full(8192, 1 / 8192) * (1 + np.linspace(-1e-3, 1e-3, 8192))
    assert abs(row.astype(np.float16).sum(dtype=np.float64) - row.sum()) < correspondence.ROW_TOLERANCE / 2


def with_text(path: Path, **changes) -> None:
    header, body = parts(path)
    said = json.loads(header["__metadata__"]["correspondence"]) | changes
    header["__metadata__"]["correspondence"] = json.dumps(said)
    put(path, header, body)


def with_shares(path: Path, change) -> None:
    header, body = parts(path)
    values = np.frombuffer(body, np.float16).reshape(2, 12, 12).copy()
    change(values)
    put(path, header, values.tobytes())


def refused(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_correspondence(path)
    assert caught.value.code == "MRD-E880"
    return caught.value


@pytest.mark.parametrize("changes", [
    {"tokens": [2, 3]}, {"tokens": [2, 3, 4.0]}, {"tokens": [0, 3, 4]}, {"tokens": [4, 3, 2]}, {"tokens": [10**9, 3, 4]}, {"stride": [True, 3, 4]},
    {"stride": [2, 3, 5]}, {"comparison": "magic"}, {"comparison": ["content"]}, {"sees_image_content": False}, {"sees_image_content": 1}, {"members": 0},
    {"members": 1.5}, {"members": True}],
    ids=lambda changes: "-".join(f"{k}={v}" for k, v in changes.items())[:50])
def test_a_text_that_cannot_be_is_refused(path, changes):
    with_text(path, **changes)
    refused(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.001, 1.0])
def test_shares_that_are_none_are_refused(path, value):
    with_shares(path, lambda shares: shares.__setitem__((1, 11, 11), value))
    refused(path)


def test_a_row_of_zeros_is_refused(path):
    with_shares(path, lambda shares: shares[0, 0].fill(0))
    assert "sum to 1" in refused(path).found


@pytest.mark.parametrize("shape", [[4, 6, 12], [288], [1, 12, 24]])
def test_shares_of_another_number_of_tokens_are_refused(path, shape):
    header, body = parts(path)
    header["shares"] |= {"shape": shape}
    put(path, header, body)
    assert "tokens" in refused(path).found


@pytest.mark.parametrize("odd", [{"comparison": "magic"}, {"members": 0}, {"tokens": (3, 2, 4)}, {"shares": np.full((2, 12, 12), np.nan, np.float16)}])
def test_what_could_not_be_read_back_is_not_written(tmp_path, odd):
    with pytest.raises(InputError) as caught:
        write_correspondence(replace(made_up(), **odd), tmp_path / "c.safetensors")
    assert caught.value.code == "MRD-E880" and not (tmp_path / "c.safetensors").exists()
