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
LARGER, MOVED = torch.zeros(2, 3, 4, 5), torch.stack([CROP[0, 1], torch.zeros(3, 4, 5)])
LARGER[0, 1, 2, 1:3], LARGER[1, 2, 1, 4], MOVED[1, 1, 3, 2] = 0.3, 1.0, 0.7
OUTLINES = {"larger": LARGER, "moved": MOVED}


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


def test_other_outlines_come_back_each_channel_kept_once_in_the_smallest_box(store):
    assert store.outlines(KEY) == {} and not (store.folder / f"{KEY}.outlines.npy").exists()
    store.write(OTHER, CROP, {}, OUTLINES)
    found, facts = store.outlines(OTHER, check=True), store.read(OTHER, check=True)[1]["outlines"]
    assert {name: (pair.shape, pair.dtype) for name, pair in found.items()} == dict.fromkeys(OUTLINES, ((2, 3, 4, 5), np.float16))
    assert all(np.array_equal(found[name], OUTLINES[name].numpy().astype(np.float16)) for name in OUTLINES)
    assert facts["channels"] == [["larger", [0, 1]], ["moved", [None, 2]]]                # in this order; None: as drawn, so it is in the crop
    assert facts["box"] == [[1, 3], [1, 4], [1, 5]] and facts["shape"] == [3, 2, 3, 4]
    before = {path.name: path.read_bytes() for path in store.folder.iterdir()}
    store.write(OTHER, CROP.numpy(), {}, {name: pair.numpy() for name, pair in OUTLINES.items()})
    assert {path.name: path.read_bytes() for path in store.folder.iterdir()} == before


def test_outlines_that_are_as_drawn_or_empty_take_no_room(store):
    store.write(OTHER, CROP, {}, {"same": CROP[:, 1], "none": torch.zeros(2, 3, 4, 5)})
    assert np.array_equal(store.outlines(OTHER)["same"], CROP[:, 1].numpy().astype(np.float16)) and not store.outlines(OTHER)["none"].any()
    assert store.has(OTHER) and store.read(OTHER)[1]["outlines"]["shape"] == [2, 0, 0, 0]


@pytest.mark.parametrize("harm", ["cut", "gone", "of the crop", "facts without", "box", "flipped bit"])
def test_damaged_outlines_are_not_believed(store, harm):
    store.write(KEY, CROP, {}, OUTLINES)
    path, place = store.folder / f"{KEY}.outlines.npy", store.folder / f"{KEY}.json"
    facts, content = json.loads(place.read_text()), bytearray(path.read_bytes())
    if harm == "cut":
        path.write_bytes(content[:-1])
    elif harm == "gone":
        path.unlink()
    elif harm == "of the crop":
        path.write_bytes((store.folder / f"{KEY}.npy").read_bytes())
    elif harm == "facts without":
        place.write_text(json.dumps({name: value for name, value in facts.items() if name != "outlines"}))
    elif harm == "box":
        place.write_text(json.dumps(facts | {"outlines": facts["outlines"] | {"box": [[0, 1], [0, 4], [1, 5]]}}))
    else:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError) as caught:
        store.outlines(KEY, check=True)
    assert caught.value.code == "MRD-E466"
    assert store.has(KEY) == (harm in ("box", "flipped bit"))                             # sizes tell no more
    assert store.has(KEY, check=True) == (harm == "box")


def test_a_flipped_bit_is_found_on_demand(store):
    path = store.folder / f"{KEY}.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert refused(store, check=True) == "MRD-E466" and store.has(KEY)
    assert not store.has(KEY, check=True)
    store.remove(KEY)
    assert not store.has(KEY)
    store.write(KEY, CROP, {"interval_days": 84})
    assert store.has(KEY, check=True)


def test_values_that_float16_cannot_hold_and_other_shapes_are_refused(store):
    for wrong in (CROP * 1e6, CROP * float("nan"), CROP[0], CROP[:, :1]):
        with pytest.raises(ValueError):
            store.write(OTHER, wrong, {})
    for wrong in (LARGER * float("inf"), LARGER[0], CROP):
        with pytest.raises(ValueError):
            store.write(OTHER, CROP, {}, {"other": wrong})
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
