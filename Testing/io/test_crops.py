"""Crops on disk: what comes back, and what is never believed."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch

from MRDeltaNetLib.errors import EnvironmentProblem, InputError
from MRDeltaNetLib.io import atomic
from MRDeltaNetLib.io.crops import CropStore

KEY, OTHER = "0" * 63 + "a", "0" * 63 + "b"
CROP = torch.linspace(-3, 3, 2 * 2 * 3 * 4 * 5).reshape(2, 2, 3, 4, 5)


@pytest.fixture
def store(tmp_path):
    store = CropStore(tmp_path / "crops")
    store.write(KEY, CROP, {"interval_days": 84})
    return store


def refused(store, **options):
    with pytest.raises(InputError) as caught:
        store.read(KEY, **options)
    assert not store.has(KEY) or options
    return caught.value.code


def test_what_was_written_comes_back_as_a_memory_map_of_float16(store):
    crop, facts = store.read(KEY, check=True)
    assert isinstance(crop, np.memmap) and not crop.flags.writeable and crop.dtype == np.float16
    assert np.array_equal(crop, CROP.numpy().astype(np.float16))
    assert facts["interval_days"] == 84 and facts["crop"]["shape"] == [2, 2, 3, 4, 5]
    assert store.has(KEY) and not store.has(OTHER)


def test_numpy_itself_reads_the_file(store):
    assert np.array_equal(np.load(store.folder / f"{KEY}.npy", allow_pickle=False), store.read(KEY)[0])


def test_the_same_case_twice_is_the_same_bytes(store):
    before = {path.name: path.read_bytes() for path in store.folder.iterdir()}
    store.write(KEY, CROP.numpy(), {"interval_days": 84})
    assert {path.name: path.read_bytes() for path in store.folder.iterdir()} == before


def test_without_its_facts_a_crop_does_not_count(store):
    (store.folder / f"{KEY}.json").unlink()
    assert not store.has(KEY)


@pytest.mark.parametrize("harm", ["cut", "gone", "objects", "float32", "facts cut", "facts without shape"])
def test_a_damaged_case_is_not_believed(store, harm):
    crop, facts = store.folder / f"{KEY}.npy", store.folder / f"{KEY}.json"
    if harm == "cut":
        crop.write_bytes(crop.read_bytes()[:-1])
    elif harm == "gone":
        crop.unlink()
    elif harm == "objects":
        np.save(crop, np.array([{}], dtype=object), allow_pickle=True)
    elif harm == "float32":
        np.save(crop, CROP.numpy())
    elif harm == "facts cut":
        facts.write_bytes(facts.read_bytes()[:20])
    else:
        facts.write_text(json.dumps({"interval_days": 84}))
    assert refused(store) in ("MRD-E466", "MRD-E420")


def test_a_flipped_bit_is_found_on_demand(store):
    path = store.folder / f"{KEY}.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert refused(store, check=True) == "MRD-E466" and store.has(KEY)


def test_values_that_float16_cannot_hold_and_other_shapes_are_refused(store):
    for wrong in (CROP * 1e6, CROP * float("nan"), CROP[0], CROP[:, :1]):
        with pytest.raises(ValueError):
            store.write(OTHER, wrong, {})
    with pytest.raises(ValueError):
        store.write(OTHER, CROP, {"volume_ml": float("nan")})
    assert not store.has(OTHER)


def test_a_key_is_no_path(store):
    with pytest.raises(ValueError):
        store.has("../" + KEY)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_named_and_the_earlier_case_stays(store, monkeypatch):
    before = store.read(KEY)[0].tobytes()

    def on_a_full_disk(path, temporary):
        temporary.parent.mkdir(exist_ok=True)
        temporary.symlink_to("/dev/full")

    monkeypatch.setattr(atomic, "_create", on_a_full_disk)
    with pytest.raises(EnvironmentProblem) as caught:
        store.write(OTHER, CROP, {})
    assert caught.value.code == "MRD-E810"
    assert store.read(KEY, check=True)[0].tobytes() == before and not store.has(OTHER)
    assert sorted(path.name for path in store.folder.iterdir()) == [f"{KEY}.json", f"{KEY}.npy"]
