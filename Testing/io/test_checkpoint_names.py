"""The names of code in a checkpoint are told, and nothing of it runs."""

from __future__ import annotations

import collections
import json
import pickle
import random
import zipfile
from pathlib import Path

import pytest
import torch

from MRDeltaNetLib.io.checkpoint_names import unusual_names
from MRDeltaNetLib.io.nnunet_model import describe, digest, read_nnunet_model
from Testing.nnunet_standin import model_folder


class Evil:
    """Reading it would make a file."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return open, (str(self.place), "w")


def saved(content, path: Path, protocol: int = 2) -> Path:
    torch.save(content, path, pickle_protocol=protocol)
    return path


def test_weights_and_a_log_name_nothing_unusual(tmp_path):
    weights = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3), torch.nn.InstanceNorm3d(2, affine=True)).state_dict()
    kept = {"network_weights": weights, "logging": {"loss": [1.0, 2.0]}, "trainer_name": "nnUNetTrainer", "init_args": {"fold": "all"},
            "optimizer_state": collections.OrderedDict(), "axes": (0, 1)}
    assert unusual_names(saved(kept, tmp_path / "a.pth")) == ()


@pytest.mark.parametrize("protocol", [2, 4])
def test_what_would_run_is_named_and_does_not_run(tmp_path, protocol):
    path = saved({"a": torch.zeros(2), "b": Evil(tmp_path / "made")}, tmp_path / "evil.pth", protocol)
    found = unusual_names(path)
    assert found and ("io.open" in found or "put together" in found[0]) and not (tmp_path / "made").exists()


@pytest.mark.parametrize("content", [b"", b"not a zip", pickle.dumps({"a": 1})])
def test_another_form_is_not_looked_into(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    assert unusual_names(tmp_path / "a.pth") is None


def test_a_damaged_pickle_and_two_of_them_are_not_looked_into(tmp_path):
    for name, entries in (("damaged", {"x/data.pkl": b"\x80\x02X\xff\xff"}), ("two", {"x/data.pkl": b"N.", "y/data.pkl": b"N."})):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for entry, content in entries.items():
                archive.writestr(entry, content)
        assert unusual_names(tmp_path / name) is None


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_no_damage_of_a_checkpoint_stops_the_look_at_it(tmp_path, packing):
    """PyTorch packs nothing; whoever does hides something, and each packer fails in a way of its own."""
    place = tmp_path / "a.pth"
    with zipfile.ZipFile(place, "w", packing) as archive:
        archive.writestr("a/data.pkl", pickle.dumps([*range(500), "x" * 200, collections.OrderedDict], 2))
    whole, rng = place.read_bytes(), random.Random(packing)
    assert (unusual_names(place) == ()) == (packing == zipfile.ZIP_STORED)
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        place.write_bytes(content[:rng.randrange(len(content))] if rng.random() < 0.2 else content)
        found = unusual_names(place)
        assert found is None or isinstance(found, tuple)


def test_approval_shows_the_names_of_checkpoints_and_plans(tmp_path):
    folder = model_folder(tmp_path / "m")
    lines = lambda: "\n".join(describe(read_nnunet_model(folder), digest(folder)))
    assert "not looked into" in lines()
    saved({"a": torch.zeros(1)}, folder / "fold_0" / "checkpoint_final.pth")
    assert "what nnU-Net's own do" in lines()
    plans = json.loads((folder / "plans.json").read_text())
    (folder / "plans.json").write_text(json.dumps(plans | {"configurations": {"3d_fullres": {"architecture": {
        "network_class_name": "os.system", "arch_kwargs": {"conv_op": "torch.nn.modules.conv.Conv3d"}}}}}))
    saved({"a": Evil(tmp_path / "made")}, folder / "fold_0" / "checkpoint_final.pth")
    assert "os.system" in lines() and "io.open" in lines() and not (tmp_path / "made").exists()
