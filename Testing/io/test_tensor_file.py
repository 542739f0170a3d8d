"""Both files of one tensor on a crop: the same bytes every time, and nothing else than what was written is ever read. Made-up values."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io import correspondence, network_input
from Testing.io import test_correspondence, test_network_input
from Testing.io.tensor_files import parts, put

KINDS = {"correspondence": SimpleNamespace(write=correspondence.write_correspondence, read=correspondence.read_correspondence, made_up=test_correspondence.made_up,
                                           code="MRD-E880", tensor="shares", text="correspondence", most=correspondence.MAX_FILE_BYTES),
         "network_input": SimpleNamespace(write=network_input.write_network_input, read=network_input.read_network_input, made_up=test_network_input.made_up,
                                          code="MRD-E726", tensor="input", text="grid", most=network_input.MAX_FILE_BYTES)}


@pytest.fixture(params=KINDS)
def kind(request) -> SimpleNamespace:
    return KINDS[request.param]


@pytest.fixture
def path(kind, tmp_path) -> Path:
    kind.write(kind.made_up(), tmp_path / "t.safetensors")
    return tmp_path / "t.safetensors"


def refused(kind, path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        kind.read(path)
    assert caught.value.code == kind.code and str(path.parent) not in str(caught.value)
    return caught.value


def test_the_grid_comes_back_to_the_last_bit(kind, path):
    found, given = kind.read(path).grid, kind.made_up().grid
    for name in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(found, name)() == getattr(given, name)(), name


def test_equal_values_give_equal_bytes_in_another_process_too(kind, path, tmp_path):
    """Nothing depends on the order of a dictionary or a set."""
    name = next(name for name, one in KINDS.items() if one is kind)
    code = f"from Testing.io.test_tensor_file import KINDS; import sys; kind = KINDS['{name}']; kind.write(kind.made_up(), sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "e.safetensors")], check=True, cwd=Path(__file__).resolve().parents[2])
    assert path.read_bytes() == (tmp_path / "e.safetensors").read_bytes()


@pytest.mark.parametrize("changes", [
    {"schema": "mrdeltanet.other/2"}, {"more": 1}, {"meaning": "gone"}, {"size_voxels": [16, 9]}, {"size_voxels": [16, 9, 4.0]}, {"size_voxels": [16, 9, 5]},
    {"size_voxels": [0, 9, 4]}, {"size_voxels": [2**40] * 3}, {"size_voxels": [True, 9, 4]}, {"spacing_mm": [0, 1, 1]}, {"spacing_mm": [1, 1]},
    {"spacing_mm": ["a", 1, 1]}, {"spacing_mm": [True, 1, 1]}, {"origin_lps_mm": [1e300, 0, 0]}, {"direction": [1, 0, 0, 0, 1, 0, 0, 1, 1]}, {"direction": [0] * 9},
    {"direction": [1, 0, 0]}], ids=str)
def test_a_text_that_cannot_be_is_refused(kind, path, changes):
    header, body = parts(path)
    said = json.loads(header["__metadata__"][kind.text]) | changes
    header["__metadata__"][kind.text] = json.dumps({name: value for name, value in said.items() if value != "gone"})
    put(path, header, body)
    refused(kind, path)


@pytest.mark.parametrize("text", ["[]", "{", '{"a": NaN}', "", '{"a": 1, "a": 2}', "[" * 10**5, "null"], ids=["list", "cut", "nan", "empty", "twice", "deep", "null"])
def test_a_text_that_is_no_object_is_refused(kind, path, text):
    header, body = parts(path)
    header["__metadata__"][kind.text] = text
    put(path, header, body)
    refused(kind, path)


@pytest.mark.parametrize("dtype", ["BF16", "I16"])
def test_numbers_of_another_kind_are_refused(kind, path, dtype):
    header, body = parts(path)
    header[kind.tensor] |= {"dtype": dtype}
    put(path, header, body)
    assert dtype in refused(kind, path).found


def test_a_second_tensor_or_text_is_refused(kind, path):
    header, body = parts(path)
    header["more"] = {"dtype": "U8", "shape": [0], "data_offsets": [len(body), len(body)]}
    put(path, header, body)
    refused(kind, path)
    del header["more"]
    put(path, header, body)
    kind.read(path)
    header["__metadata__"]["more"] = "text"
    put(path, header, body)
    refused(kind, path)


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, struct.pack("<Q", 2**62), b"PK\x03\x04" * 100], ids=["empty", "ff", "long", "zip"])
def test_a_file_of_something_else_is_refused(kind, tmp_path, content):
    (tmp_path / "t.safetensors").write_bytes(content)
    refused(kind, tmp_path / "t.safetensors")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.9, 0.999])
def test_a_file_cut_short_is_refused(kind, path, share):
    data = path.read_bytes()
    path.write_bytes(data[:int(share * len(data))])
    refused(kind, path)


def test_an_absent_file_a_folder_and_a_huge_file_are_refused(kind, tmp_path):
    refused(kind, tmp_path / "none.safetensors")
    (tmp_path / "folder").mkdir()
    refused(kind, tmp_path / "folder")
    with (tmp_path / "huge.safetensors").open("wb") as file:
        file.truncate(kind.most + 1)                                         # sparse: takes no room
    assert "MiB" in refused(kind, tmp_path / "huge.safetensors").found
