"""A bundle is read only if it is exactly what was written, and reading it runs nothing."""

from __future__ import annotations

import json
import pickle
import shutil
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from MRDeltaNetLib.config import PreprocessingConfig
from MRDeltaNetLib.errors import InputError
from MRDeltaNetLib.io import bundle as bundles
from MRDeltaNetLib.io.atomic import sha256
from MRDeltaNetLib.resources import resource


class Small(torch.nn.Module):
    """A network with one weight, whose output has the fields that a bundle stores."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, width)

    def forward(self, x):
        mean = x.mean(dim=(1, 2, 3, 4, 5))[:, None]
        grid = x[:, 1, 0, ::2, ::4, ::4]
        return SimpleNamespace(logit=self.layer(mean).sum(dim=1), attention_post=grid, attention_pre=grid, change_post=grid)


def build(name: str, **settings) -> torch.nn.Module:
    return {"small": Small}[name](**settings)


def metadata(**changes) -> dict:
    own = {"format": 1, "name": "test", "anatomy": "rectum", "is_demo": True, "intended_use": "Tests.", "trained_on": "nothing",
           "sequences": ["T2"], "network": {"name": "small", "settings": {"width": 3}},
           "preprocessing": {"spacing_mm": [0.75, 0.75, 3.0], "crop_mm": [48.0, 48.0, 48.0], "bias_correction": "off",
                             "clip_percentiles": [0.5, 99.5], "exclusion_margin_mm": 10.0, "roi_sigma_mm": 1.5},
           "bias_corrections_allowed": ["off"], "recalibration": {"slope": 1.0, "intercept": 0.0}, "threshold": 0.5,
           "threshold_source": "none", "held_out_auc": 0.5, "held_out_auc_ci": [0.4, 0.6], "held_out_on": "nothing",
           "golden_tolerance": 1e-4} | changes
    tensor = {"type": "image", "format": "magnitude", "modality": "MR", "num_channels": 2, "spatial_shape": [4, 8, 8],
              "dtype": "float32", "value_range": [-10, 10], "is_patch_data": False, "channel_def": {"0": "T2", "1": "ROI"}}
    return {"version": "0.0.1", "monai_version": "1.6.1", "pytorch_version": "2.13.0", "numpy_version": "2.4.6",
            "required_packages_version": {"safetensors": "0.8.0"}, "task": "t", "description": "d", "authors": "a", "copyright": "c",
            "changelog": {"0.0.1": "first"},
            "network_data_format": {"inputs": {"pair": tensor}, "outputs": {"p_pcr": tensor | {"type": "probabilities", "format": "classes",
                                                                                              "num_channels": 1, "spatial_shape": [1]}}},
            "mrdeltanet": own}


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    place = tmp_path / "bundle"
    bundles.write_bundle(place, network=Small(), metadata=metadata(), card="# Card\n", golden_input=torch.randn(2, 2, 4, 8, 8), licence="Apache-2.0\n")
    return place


def reseal(folder) -> None:
    """Make the manifest agree with changed files, so that a later check is the one that is tested."""
    manifest = json.loads((folder / bundles.MANIFEST).read_text())
    manifest["files"] = {name: sha256(folder / name) for name in manifest["files"]}
    (folder / bundles.MANIFEST).write_text(json.dumps(manifest))


def refusal(folder) -> InputError:
    with pytest.raises(InputError) as caught:
        bundles.read_bundle(folder)
    return caught.value


def test_what_was_written_is_read_and_still_gives_its_stored_output(folder):
    read = bundles.read_bundle(folder)
    assert bundles.check_golden(read, bundles.load_network(read, build)) < 1e-6
    assert read.preprocessing == PreprocessingConfig(spacing_mm=(0.75, 0.75, 3.0), crop_mm=(48.0, 48.0, 48.0))
    assert read.weights_sha256 == sha256(folder / bundles.WEIGHTS)


@pytest.mark.parametrize("name", bundles.FILES)
def test_one_flipped_byte_in_any_file_is_noticed(folder, name):
    raw = bytearray((folder / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / name).write_bytes(raw)
    error = refusal(folder)
    assert error.code == "MRD-E503" and "again" in error.fix


@pytest.mark.parametrize("name", bundles.FILES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    error = refusal(folder)
    assert error.code == "MRD-E502" and name in error.found


def test_a_folder_without_manifest_is_no_bundle(tmp_path):
    assert refusal(tmp_path).code == "MRD-E501"


@pytest.mark.parametrize("name", ["models/model.pt", "scripts/run.py", "configs/inference.json"])
def test_a_file_that_does_not_belong_to_a_bundle_is_refused(folder, name):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("x")
    assert refusal(folder).code == "MRD-E502"


def test_a_link_is_refused(folder, tmp_path):
    shutil.move(folder / bundles.CARD, tmp_path / "card")
    (folder / bundles.CARD).symlink_to(tmp_path / "card")
    assert refusal(folder).code == "MRD-E502"


def test_a_pickle_that_calls_itself_safetensors_is_refused_and_never_runs(folder, tmp_path):
    mark = tmp_path / "it-ran"

    class Evil:
        def __reduce__(self):
            return (open, (str(mark), "w"))

    (folder / bundles.WEIGHTS).write_bytes(pickle.dumps(Evil()))
    reseal(folder)
    assert refusal(folder).code == "MRD-E505" and not mark.exists()


@pytest.mark.parametrize("damage", ["truncated", "empty", "header of 2^60 bytes"])
def test_damaged_weights_are_refused(folder, damage):
    raw = (folder / bundles.WEIGHTS).read_bytes()
    (folder / bundles.WEIGHTS).write_bytes({"truncated": raw[:-3], "empty": b"", "header of 2^60 bytes": (1 << 60).to_bytes(8, "little") + raw[8:]}[damage])
    reseal(folder)
    assert refusal(folder).code == "MRD-E505"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_numbers_are_refused(folder, value):
    weights = load_file(folder / bundles.WEIGHTS)
    weights["layer.bias"][1] = value
    save_file(weights, folder / bundles.WEIGHTS)
    reseal(folder)
    assert refusal(folder).code == "MRD-E505"


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_weights_that_do_not_fit_the_network_are_refused(folder, change):
    weights = load_file(folder / bundles.WEIGHTS)
    if change == "missing":
        del weights["layer.bias"]
    elif change == "extra":
        weights["more"] = torch.zeros(1)
    else:
        weights["layer.bias"] = torch.zeros(7)
    save_file(weights, folder / bundles.WEIGHTS)
    reseal(folder)
    with pytest.raises(InputError) as caught:
        bundles.load_network(bundles.read_bundle(folder), build)
    assert caught.value.code == "MRD-E506"


def test_a_network_that_computes_something_else_fails_the_stored_example(folder):
    read = bundles.read_bundle(folder)
    network = bundles.load_network(read, build)
    with torch.no_grad():
        network.layer.bias += 0.01
    with pytest.raises(InputError) as caught:
        bundles.check_golden(read, network)
    assert caught.value.code == "MRD-E507"


HOSTILE = {
    "network from a module": {"network": {"name": "os.system", "settings": {}}},
    "expression as a setting": {"network": {"name": "small", "settings": {"width": {"_target_": "os.system"}}}},
    "dunder setting": {"network": {"name": "small", "settings": {"__class__": 1}}},
    "infinite threshold": {"threshold": 1.5},
    "unknown bias correction": {"bias_corrections_allowed": ["$import os"]},
    "crop of a kilometre": {"preprocessing": metadata()["mrdeltanet"]["preprocessing"] | {"crop_mm": [1e6, 1e6, 1e6]}},
    "zero spacing": {"preprocessing": metadata()["mrdeltanet"]["preprocessing"] | {"spacing_mm": [0, 0, 0]}},
    "missing preprocessing": {"preprocessing": {}},
    "recalibration with another key": {"recalibration": {"slope": 1.0, "intercept": 0.0, "expression": "1"}},
    "demo flag as text": {"is_demo": "no"},
    "network without settings": {"network": {"name": "small"}},
    "setting out of range": {"network": {"name": "small", "settings": {"width": 10**9}}},
    "infinite setting": {"network": {"name": "small", "settings": {"width": float("inf")}}},
    "negative margin": {"preprocessing": metadata()["mrdeltanet"]["preprocessing"] | {"exclusion_margin_mm": -1.0}},
    "two spacings": {"preprocessing": metadata()["mrdeltanet"]["preprocessing"] | {"spacing_mm": [0.75, 3.0]}},
    "newer format": {"format": 2},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_metadata_that_ask_for_more_than_plain_values_are_refused(case):
    with pytest.raises(InputError) as caught:
        bundles.check_metadata(metadata(**HOSTILE[case]))
    assert caught.value.code == "MRD-E504" and "export" in caught.value.fix


@pytest.mark.parametrize("content", [[], "text", None, {"mrdeltanet": []}])
def test_metadata_that_are_no_object_are_refused(content):
    given = metadata() | content if isinstance(content, dict) else content
    with pytest.raises(InputError, match="not a JSON object") as caught:
        bundles.check_metadata(given)
    assert caught.value.code == "MRD-E504"


@pytest.mark.parametrize("files", [None, [], {}, {"../../etc/passwd": "0" * 64}], ids=["no list", "a list", "nothing", "a path outside"])
def test_a_manifest_that_lists_other_files_is_refused(folder, files):
    (folder / bundles.MANIFEST).write_text(json.dumps({"format": 1, "files": files}))
    problem = refusal(folder)
    assert problem.code == "MRD-E502" and "manifest" in problem.what and problem.fix


def test_a_pipe_instead_of_a_file_is_refused_and_not_waited_for(folder):
    import os
    (folder / bundles.LICENCE).unlink()
    os.mkfifo(folder / bundles.LICENCE)
    assert refusal(folder).code == "MRD-E502"


@pytest.mark.parametrize("name", bundles.FILES)
def test_a_file_over_its_cap_is_refused_before_it_is_read(folder, name, monkeypatch):
    monkeypatch.setattr(bundles, "MAX_BYTES", bundles.MAX_BYTES | {name: 1})
    monkeypatch.setattr(bundles, "sha256", lambda path: pytest.fail("read") if path == folder / name else sha256(path))
    problem = refusal(folder)
    assert problem.code == "MRD-E502" and problem.found == name


def test_a_card_that_is_not_utf8_is_refused(folder):
    (folder / bundles.CARD).write_bytes("für".encode("latin-1"))
    reseal(folder)
    problem = refusal(folder)
    assert problem.code == "MRD-E504" and "UTF-8" in problem.what


@pytest.mark.parametrize("change", [{"input": torch.zeros(2, 2, 4)}, {"input": torch.zeros(1, 2, 4, 8, 8)}, {"logit": None}, {"__class__": torch.zeros(1)}],
                         ids=["flat", "one scan", "no output", "an attribute that is no output"])
def test_a_stored_example_that_is_no_input_with_its_output_is_refused(folder, change):
    tensors = {name: value for name, value in (load_file(folder / bundles.GOLDEN) | change).items() if value is not None}
    save_file(tensors, folder / bundles.GOLDEN)
    reseal(folder)
    problem = refusal(folder)
    assert problem.code == "MRD-E505" and "example" in problem.what


@pytest.mark.parametrize("cause", [AssertionError, IndexError, ZeroDivisionError, AttributeError, OverflowError])
def test_settings_that_a_network_stumbles_over_do_not_fit_it(folder, cause):
    def stumble(name, **settings):
        raise cause("secret")
    with pytest.raises(InputError) as caught:
        bundles.load_network(bundles.read_bundle(folder), stumble)
    assert caught.value.code == "MRD-E506" and "secret" not in str(caught.value)


@pytest.mark.parametrize("key", [*bundles.MONAI_REQUIRED, *("mrdeltanet." + key for key in bundles.OWN_REQUIRED)])
def test_every_required_key_is_missed(key):
    broken = metadata()
    holder, name = (broken["mrdeltanet"], key.split(".")[1]) if "." in key else (broken, key)
    del holder[name]
    with pytest.raises(InputError) as caught:
        bundles.check_metadata(broken)
    assert caught.value.code == "MRD-E504" and name in caught.value.what


def test_the_metadata_keep_the_published_bundle_specification():
    """Against our own JSON Schema of what the MONAI bundle specification demands."""
    schema = json.loads(resource("schemas/monai-bundle-metadata.schema.json").read_text())
    jsonschema.validate(metadata(), schema)
    for key in schema["required"]:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({k: v for k, v in metadata().items() if k != key}, schema)


def test_the_demo_bundle_is_valid_small_and_honest():
    folder = resource("models/demo")
    read = bundles.read_bundle(folder)
    from MRDeltaNetLib.models import registry
    assert bundles.check_golden(read, bundles.load_network(read, registry.build)) <= read.own["golden_tolerance"]
    jsonschema.validate(json.loads((folder / bundles.METADATA).read_text()), json.loads(resource("schemas/monai-bundle-metadata.schema.json").read_text()))
    assert read.own["is_demo"] and sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 20e6
    first_paragraph = read.card.split("\n\n")[1].lower()
    assert "simulated" in first_paragraph or "made-up" in first_paragraph
    assert f"{read.own['held_out_auc']:.3f}" in read.card
