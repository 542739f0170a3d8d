"""correspondence.safetensors: written the same every time, read strictly, and without torch. Made-up shares."""

from __future__ import annotations

import json
import struct
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


def test_equal_correspondences_give_equal_bytes(path, tmp_path):
    """In another process too: nothing depends on the order of a dictionary."""
    write_correspondence(made_up(), tmp_path / "d.safetensors")
    assert path.read_bytes() == (tmp_path / "d.safetensors").read_bytes()
    code = "from Testing.io.test_correspondence import made_up, write_correspondence; import sys; write_correspondence(made_up(), sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "e.safetensors")], check=True, cwd=Path(__file__).resolve().parents[2])
    assert path.read_bytes() == (tmp_path / "e.safetensors").read_bytes()


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


def parts(path: Path) -> tuple[dict, bytes]:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8:8 + length]), data[8 + length:]


def put(path: Path, header: dict, body: bytes) -> None:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def with_text(path: Path, **changes) -> None:
    header, body = parts(path)
    said = json.loads(header["__metadata__"]["correspondence"]) | changes
    header["__metadata__"]["correspondence"] = json.dumps({name: value for name, value in said.items() if value != "gone"})
    put(path, header, body)


def with_shares(path: Path, change) -> None:
    header, body = parts(path)
    values = np.frombuffer(body, np.float16).reshape(2, 12, 12).copy()
    change(values)
    put(path, header, values.tobytes())


def refused(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_correspondence(path)
    assert caught.value.code == "MRD-E880" and str(path.parent) not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("changes", [
    {"schema": "mrdeltanet.correspondence/2"}, {"more": 1}, {"meaning": "gone"}, {"tokens": [2, 3]}, {"tokens": [2, 3, 4.0]}, {"tokens": [0, 3, 4]}, {"tokens": [4, 3, 2]},
    {"tokens": [10**9, 3, 4]}, {"stride": [True, 3, 4]}, {"stride": [2, 3, 5]}, {"size_voxels": [16, 9, 5]}, {"size_voxels": [2**40] * 3}, {"spacing_mm": [0, 1, 1]},
    {"spacing_mm": [1, 1]}, {"spacing_mm": ["a", 1, 1]}, {"origin_lps_mm": [1e300, 0, 0]}, {"direction": [1, 0, 0, 0, 1, 0, 0, 1, 1]}, {"direction": [0] * 9},
    {"comparison": "magic"}, {"comparison": ["content"]}, {"sees_image_content": False}, {"sees_image_content": 1}, {"members": 0}, {"members": 1.5}],
    ids=lambda changes: "-".join(f"{k}={v}" for k, v in changes.items())[:50])
def test_a_text_that_cannot_be_is_refused(path, changes):
    with_text(path, **changes)
    refused(path)


@pytest.mark.parametrize("text", ["[]", "{", '{"a": NaN}', "", '{"a": 1, "a": 2}', "[" * 10**5, "null"], ids=["list", "cut", "nan", "empty", "twice", "deep", "null"])
def test_a_text_that_is_no_object_is_refused(path, text):
    header, body = parts(path)
    header["__metadata__"]["correspondence"] = text
    put(path, header, body)
    refused(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.001, 1.0])
def test_shares_that_are_none_are_refused(path, value):
    with_shares(path, lambda shares: shares.__setitem__((1, 11, 11), value))
    refused(path)


def test_a_row_of_zeros_is_refused(path):
    with_shares(path, lambda shares: shares[0, 0].fill(0))
    assert "sum to 1" in refused(path).found


@pytest.mark.parametrize("shape, kind", [([2, 12, 12], "BF16"), ([4, 6, 12], "F16"), ([288], "F16"), ([1, 12, 24], "F16"), ([2, 12, 12], "I16")])
def test_a_tensor_of_another_shape_or_type_is_refused(path, shape, kind):
    header, body = parts(path)
    header["shares"] |= {"shape": shape, "dtype": kind}
    put(path, header, body)
    refused(path)


def test_a_second_tensor_or_text_is_refused(path):
    header, body = parts(path)
    header["more"] = {"dtype": "U8", "shape": [0], "data_offsets": [len(body), len(body)]}
    put(path, header, body)
    refused(path)
    del header["more"]
    header["__metadata__"]["more"] = "text"
    put(path, header, body)
    refused(path)


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, struct.pack("<Q", 2**62), b"PK\x03\x04" * 100])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    (tmp_path / "c.safetensors").write_bytes(content)
    refused(tmp_path / "c.safetensors")


@pytest.mark.parametrize("at", range(0, 900, 90))
def test_a_file_cut_short_is_refused(path, at):
    path.write_bytes(path.read_bytes()[:at])
    refused(path)


def test_an_absent_file_a_folder_and_a_huge_file_are_refused(tmp_path):
    refused(tmp_path / "none.safetensors")
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder")
    with (tmp_path / "huge.safetensors").open("wb") as file:
        file.truncate(correspondence.MAX_FILE_BYTES + 1)                     # sparse: takes no room
    assert "MiB" in refused(tmp_path / "huge.safetensors").found


@pytest.mark.parametrize("odd", [{"comparison": "magic"}, {"members": 0}, {"tokens": (3, 2, 4)}, {"shares": np.full((2, 12, 12), np.nan, np.float16)}])
def test_what_could_not_be_read_back_is_not_written(tmp_path, odd):
    with pytest.raises(InputError) as caught:
        write_correspondence(replace(made_up(), **odd), tmp_path / "c.safetensors")
    assert caught.value.code == "MRD-E880" and not (tmp_path / "c.safetensors").exists()
