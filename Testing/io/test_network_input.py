"""network_input.safetensors: the same bytes every time, read strictly and without torch. Made-up input."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.case import NetworkInput
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io import network_input
from MRDeltaNetLib.io.network_input import read_network_input, write_network_input
from Testing.made_up_result import TILT


def made_up() -> NetworkInput:
    grid = sitk.Image(6, 5, 4, sitk.sitkUInt8)
    grid.SetSpacing((0.75, 0.7, 3.3))
    grid.SetOrigin((-12.345678901234567, 8.1, 1 / 3))
    grid.SetDirection(TILT)
    return NetworkInput(np.random.default_rng(0).normal(size=(2, 2, 4, 5, 6)).astype(np.float16), grid)


@pytest.fixture
def path(tmp_path) -> Path:
    write_network_input(made_up(), tmp_path / "n.safetensors")
    return tmp_path / "n.safetensors"


def test_what_was_written_is_read_bit_for_bit(path):
    found, given = read_network_input(path), made_up()
    assert found.values.dtype == np.float16 and found.values.tobytes() == given.values.tobytes()
    for name in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(found.grid, name)() == getattr(given.grid, name)(), name


def test_equal_inputs_give_equal_bytes(path, tmp_path):
    write_network_input(made_up(), tmp_path / "m.safetensors")
    assert path.read_bytes() == (tmp_path / "m.safetensors").read_bytes()


def test_the_full_crop_takes_three_mebibytes():
    assert 2 * 2 * 2 * 24 * 128 * 128 == 3 * 1024**2 < network_input.MAX_FILE_BYTES


def parts(path: Path) -> tuple[dict, bytes]:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8:8 + length]), data[8 + length:]


def put(path: Path, header: dict, body: bytes) -> None:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def refused(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_network_input(path)
    assert caught.value.code == "MRD-E726" and str(path.parent) not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("changes", [
    {"schema": "mrdeltanet.network_input/2"}, {"more": 1}, {"meaning": "gone"}, {"size_voxels": [6, 5]}, {"size_voxels": [6, 5, 4.0]}, {"size_voxels": [6, 5, 5]},
    {"size_voxels": [0, 5, 4]}, {"size_voxels": [2**40] * 3}, {"size_voxels": [True, 5, 4]}, {"spacing_mm": [0, 1, 1]}, {"spacing_mm": ["a", 1, 1]}, {"origin_lps_mm": [1e300, 0, 0]},
    {"direction": [1, 0, 0, 0, 1, 0, 0, 1, 1]}, {"direction": [1, 0, 0]}], ids=str)
def test_a_text_that_cannot_be_is_refused(path, changes):
    header, body = parts(path)
    said = json.loads(header["__metadata__"]["grid"]) | changes
    header["__metadata__"]["grid"] = json.dumps({name: value for name, value in said.items() if value != "gone"})
    put(path, header, body)
    refused(path)


@pytest.mark.parametrize("text", ["[]", "{", '{"a": NaN}', "", "null"])
def test_a_text_that_is_no_object_is_refused(path, text):
    header, body = parts(path)
    header["__metadata__"]["grid"] = text
    put(path, header, body)
    refused(path)


@pytest.mark.parametrize("shape, kind", [([2, 2, 4, 6, 5], "F16"), ([2, 2, 4, 5, 6], "BF16"), ([480], "F16")])
def test_a_tensor_of_another_shape_or_type_is_refused(path, shape, kind):
    header, body = parts(path)
    header["input"] |= {"shape": shape, "dtype": kind}
    put(path, header, body)
    refused(path)


def test_a_second_tensor_or_text_and_values_that_are_no_numbers_are_refused(path):
    header, body = parts(path)
    header["more"] = {"dtype": "U8", "shape": [0], "data_offsets": [len(body), len(body)]}
    put(path, header, body)
    refused(path)
    del header["more"]
    values = np.frombuffer(body, np.float16).copy()
    values[7] = np.nan
    put(path, header, values.tobytes())
    assert "not finite" in refused(path).found


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"PK\x03\x04" * 100])
def test_a_file_of_something_else_or_none_is_refused(tmp_path, content):
    (tmp_path / "n.safetensors").write_bytes(content)
    refused(tmp_path / "n.safetensors")
    refused(tmp_path / "none.safetensors")


@pytest.mark.parametrize("values", [np.full((2, 2, 4, 5, 6), np.inf, np.float16), np.zeros((2, 2, 4, 5, 6), np.float32), np.zeros((2, 2, 6, 5, 4), np.float16)])
def test_what_could_not_be_read_back_is_not_written(tmp_path, values):
    with pytest.raises(InputError) as caught:
        write_network_input(NetworkInput(values, made_up().grid), tmp_path / "n.safetensors")
    assert caught.value.code == "MRD-E726" and not (tmp_path / "n.safetensors").exists()
