"""network_input.safetensors: what its reader and writer refuse beyond what every tensor file is refused for. Made-up input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MRDeltaNetLib.case import NetworkInput
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io import network_input
from MRDeltaNetLib.io.network_input import read_network_input, write_network_input
from Testing.io.tensor_files import parts, put
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


def refused(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_network_input(path)
    assert caught.value.code == "MRD-E726"
    return caught.value


def test_what_was_written_is_read_bit_for_bit(path):
    found, given = read_network_input(path), made_up()
    assert found.values.dtype == np.float16 and found.values.tobytes() == given.values.tobytes()


def test_the_full_crop_takes_three_mebibytes():
    assert 2 * 2 * 2 * 24 * 128 * 128 == 3 * 1024**2 < network_input.MAX_FILE_BYTES


@pytest.mark.parametrize("shape", [[2, 2, 4, 6, 5], [480], [4, 1, 4, 5, 6]])
def test_an_input_of_another_shape_than_its_grid_is_refused(path, shape):
    header, body = parts(path)
    header["input"] |= {"shape": shape}
    put(path, header, body)
    assert "on a grid" in refused(path).found


def test_values_that_are_no_numbers_are_refused(path):
    header, body = parts(path)
    values = np.frombuffer(body, np.float16).copy()
    values[7] = np.nan
    put(path, header, values.tobytes())
    assert "not finite" in refused(path).found


@pytest.mark.parametrize("values", [np.full((2, 2, 4, 5, 6), np.inf, np.float16), np.zeros((2, 2, 4, 5, 6), np.float32), np.zeros((2, 2, 6, 5, 4), np.float16)])
def test_what_could_not_be_read_back_is_not_written(tmp_path, values):
    with pytest.raises(InputError) as caught:
        write_network_input(NetworkInput(values, made_up().grid), tmp_path / "n.safetensors")
    assert caught.value.code == "MRD-E726" and not (tmp_path / "n.safetensors").exists()
