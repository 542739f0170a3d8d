"""A bundle is read only if it is exactly what was written, and reading it runs nothing."""

from __future__ import annotations

import contextlib
import dataclasses
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
from MRDeltaNetLib.errors import EnvironmentProblem, InputError
from MRDeltaNetLib.io import bundle as bundles
from MRDeltaNetLib.io import reference as references
from MRDeltaNetLib.io.atomic import sha256
from MRDeltaNetLib.io.reference import Reference
from MRDeltaNetLib.resources import resource
from MRDeltaNetLib.response.familiarity import fit_reference


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
    "digests that are none": {"training_keys": [["a"]]},
    "digests that are a number": {"training_crops_sha256": 5},
    "negative margin": {"preprocessing": metadata()["mrdeltanet"]["preprocessing"] | {"exclusion_margin_mm": -1.0}},
    "two spacings": {"preprocessing": metadata()["mrdeltanet"]["preprocessing"] | {"spacing_mm": [0.75, 3.0]}},
    "newer format": {"format": 2},
    **{f"interval {interval}": {"held_out_auc_ci": interval} for interval in ([], ["a", "b"], [0.5], [0.1, 0.2, 0.3], [0.1, float("nan")], [None, 1], [True, False], [[0], [1]])},
    "spacings in words": {"preprocessing": metadata()["mrdeltanet"]["preprocessing"] | {"spacing_mm": ["a", "b", "c"]}},
    "percentiles in words": {"preprocessing": metadata()["mrdeltanet"]["preprocessing"] | {"clip_percentiles": ["a", "b"]}},
    "margin in words": {"preprocessing": metadata()["mrdeltanet"]["preprocessing"] | {"exclusion_margin_mm": "wide"}},
    "two sigmas": {"preprocessing": metadata()["mrdeltanet"]["preprocessing"] | {"roi_sigma_mm": [1.0, 2.0]}},
    "bias corrections that are lists": {"bias_corrections_allowed": [["off"]]},
    "sequences that are no texts": {"sequences": [["T2"], None]},
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


@pytest.fixture(scope="module")
def known() -> Reference:
    """Of 30 made-up training cases with an embedding of 5 numbers."""
    rng = np.random.default_rng(0)
    scan = {"manufacturer": "Maker", "field_strength_t": 1.5, "repetition_time_ms": 4000.0, "echo_time_ms": 90.0, "spacing_mm": (0.7, 0.7, 3.0)}
    return fit_reference(rng.normal(size=(30, 5)), rng.normal(size=(30, 2, 101)),
                         [{"pre": scan | {"echo_time_ms": 90.0 + k}, "post": scan, "interval_days": 60 + k} for k in range(30)])


@pytest.fixture
def with_reference(tmp_path, known):
    place = tmp_path / "bundle"
    bundles.write_bundle(place, network=Small(), metadata=metadata(), card="# Card\n", golden_input=torch.randn(2, 2, 4, 8, 8), licence="L\n", reference=known)
    return place


def test_a_reference_of_the_training_cases_comes_back_as_it_was_written(with_reference, known):
    read = bundles.read_bundle(with_reference)
    for name in references.SHAPES:
        assert np.array_equal(getattr(read.reference, name), getattr(known, name)) and getattr(read.reference, name).dtype == np.float32, name
    assert read.reference.header == known.header and read.reference.header.numbers["pre"]["echo_time_ms"] == (90.0, 119.0)
    assert read.reference.header.makers == {"pre": ("maker",), "post": ("maker",)} and read.reference.header.interval_days == (60, 89)
    assert read.public_facts()["reference_cases"] == 30 and set(json.loads((with_reference / bundles.MANIFEST).read_text())["files"]) == {*bundles.FILES, bundles.REFERENCE}


def test_a_bundle_without_reference_reads_as_before(folder):
    read = bundles.read_bundle(folder)
    assert read.reference is None and read.public_facts()["reference_cases"] is None and not (folder / bundles.REFERENCE).exists()
    assert set(json.loads((folder / bundles.MANIFEST).read_text())["files"]) == set(bundles.FILES)


@pytest.mark.parametrize("most_bytes", [100, 2700], ids=["at the first file", "at the reference"])
def test_a_full_disk_is_told_while_a_bundle_is_written(tmp_path, known, most_bytes):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, limits[1]))               # no file grows past this
    try:
        with pytest.raises(EnvironmentProblem) as caught:
            bundles.write_bundle(tmp_path / "bundle", network=Small(), metadata=metadata(), card="", golden_input=torch.randn(2, 2, 4, 8, 8), licence="L\n",
                                 reference=known)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.code == "MRD-E810" and not list(tmp_path.rglob(".writing-*")) and refusal(tmp_path / "bundle").code == "MRD-E501"


def test_a_full_disk_is_told_while_a_reference_is_written_and_the_earlier_one_stays(tmp_path, known):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    references.write_reference(known, tmp_path / "reference")
    before = (tmp_path / "reference").read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(EnvironmentProblem) as caught:
            references.write_reference(known, tmp_path / "reference")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.code == "MRD-E810" and (tmp_path / "reference").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_a_folder_in_which_nothing_can_be_written_is_told(tmp_path):
    (tmp_path / "bundle").write_text("a file where the folder shall be")
    with pytest.raises(EnvironmentProblem) as caught:
        bundles.write_bundle(tmp_path / "bundle", network=Small(), metadata=metadata(), card="", golden_input=torch.randn(2, 2, 4, 8, 8), licence="L\n")
    assert caught.value.code == "MRD-E812"


def test_the_same_reference_gives_the_same_bytes(tmp_path, known):
    for name in ("one", "two"):
        references.write_reference(known, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_writing_again_without_a_reference_removes_the_earlier_one(with_reference):
    bundles.write_bundle(with_reference, network=Small(), metadata=metadata(), card="# Card\n", golden_input=torch.randn(2, 2, 4, 8, 8), licence="L\n")
    assert bundles.read_bundle(with_reference).reference is None


def test_a_flipped_byte_in_the_reference_is_noticed(with_reference):
    raw = bytearray((with_reference / bundles.REFERENCE).read_bytes())
    raw[-3] ^= 1
    (with_reference / bundles.REFERENCE).write_bytes(raw)
    assert refusal(with_reference).code == "MRD-E503"


def test_a_reference_that_the_manifest_does_not_list_or_that_is_missing_is_refused(with_reference, known):
    (with_reference / bundles.REFERENCE).unlink()
    problem = refusal(with_reference)
    assert problem.code == "MRD-E502" and bundles.REFERENCE in problem.found
    manifest = json.loads((with_reference / bundles.MANIFEST).read_text())
    del manifest["files"][bundles.REFERENCE]
    (with_reference / bundles.MANIFEST).write_text(json.dumps(manifest))
    assert bundles.read_bundle(with_reference).reference is None
    references.write_reference(known, with_reference / bundles.REFERENCE)
    assert refusal(with_reference).code == "MRD-E502"


def stored(known, **changes) -> tuple[dict, dict]:
    """Tensors and texts of a reference file, changed; None takes one away."""
    tensors = {name: torch.from_numpy(np.array(getattr(known, name))) for name in references.SHAPES}
    header = changes.pop("header", json.dumps(references._header_json(known.header)))
    texts = changes.pop("texts", {"header": header})
    return {name: value for name, value in (tensors | changes).items() if value is not None}, texts


def ranges(**changes) -> str:
    return json.dumps({"numbers": {}, "makers": {}, "interval_days": None} | changes)


HOSTILE_REFERENCE = {
    "a tensor is missing": {"embedding_mean": None}, "a foreign tensor": {"more": torch.zeros(1)}, "mean of another length": {"embedding_mean": torch.zeros(7)},
    "precision not square": {"embedding_precision": torch.ones(5, 6)}, "flat precision": {"embedding_precision": torch.ones(25)},
    "precision not symmetric": {"embedding_precision": torch.eye(5) + torch.ones(5, 5).triu(1)}, "negative precision": {"embedding_precision": -torch.eye(5)},
    "NaN mean": {"embedding_mean": torch.full((5,), torch.nan)}, "infinite distance": {"embedding_distances": torch.full((30,), torch.inf)},
    "negative distance": {"percentile_distances": torch.full((30,), -1.0)}, "distances out of order": {"embedding_distances": torch.arange(30.0).flip(0)},
    "other numbers of cases": {"embedding_distances": torch.arange(29.0)}, "zero spread": {"percentile_sd": torch.zeros(2, 101)}, "three visits": {"percentile_mean": torch.zeros(3, 101)},
    "no case at all": {"embedding_distances": torch.zeros(0), "percentile_distances": torch.zeros(0)}, "whole numbers": {"embedding_mean": torch.zeros(5, dtype=torch.int32)},
    "half precision": {"embedding_mean": torch.zeros(5, dtype=torch.float16)}, "an embedding of 5000": {"embedding_mean": torch.zeros(5000)},
    "no header": {"texts": {}}, "a text beside the header": {"texts": {"header": ranges(), "more": "x"}}, "header is no JSON": {"header": "{"}, "header with NaN": {"header": ranges(interval_days="X").replace('"X"', "[NaN, 1]")},
    "header is a list": {"header": "[]"}, "unknown key": {"header": ranges(more=1)}, "unknown fact": {"header": ranges(numbers={"pre": {"patient_name": [0, 1]}})},
    "unknown visit": {"header": ranges(numbers={"third": {}})}, "reversed range": {"header": ranges(interval_days=[9, 1])}, "range of texts": {"header": ranges(interval_days=["a", "b"])},
    "one bound": {"header": ranges(interval_days=[1])}, "true as a bound": {"header": ranges(interval_days=[True, True])}, "maker of 1000 letters": {"header": ranges(makers={"pre": ["x" * 1000]})},
    "a thousand makers": {"header": ranges(makers={"pre": [f"m{k}" for k in range(1000)]})}, "maker with a line break": {"header": ranges(makers={"pre": ["a\nb"]})},
    "makers as text": {"header": ranges(makers={"pre": "siemens"})}, "a key twice": {"header": '{"numbers": {}, "numbers": {}, "makers": {}, "interval_days": null}'},
}


@pytest.mark.parametrize("case", HOSTILE_REFERENCE)
def test_a_reference_that_is_not_as_it_should_be_is_refused(with_reference, known, case):
    tensors, texts = stored(known, **HOSTILE_REFERENCE[case])
    save_file(tensors, with_reference / bundles.REFERENCE, metadata=texts)
    reseal(with_reference)
    problem = refusal(with_reference)
    assert problem.code == "MRD-E508" and "again" in problem.fix


@pytest.mark.parametrize("raw", [b"", b"not a tensor file", (1 << 60).to_bytes(8, "little") + b"{}", pickle.dumps([1, 2, 3])], ids=["empty", "text", "header of 2^60 bytes", "pickle"])
def test_a_damaged_reference_is_refused(with_reference, raw):
    (with_reference / bundles.REFERENCE).write_bytes(raw)
    reseal(with_reference)
    assert refusal(with_reference).code == "MRD-E508"


def test_a_reference_that_could_not_be_read_back_is_not_written(tmp_path, known):
    with pytest.raises(InputError) as caught:
        references.write_reference(dataclasses.replace(known, embedding_mean=np.full(5, np.nan)), tmp_path / "reference")
    assert caught.value.code == "MRD-E508" and not (tmp_path / "reference").exists()


@pytest.mark.parametrize("members", [0, -1, 101, 10**6, 2.0, "3", True, None, [2]])
def test_a_number_of_members_that_is_none_is_refused(members):
    with pytest.raises(InputError) as caught:
        bundles.check_metadata(metadata(network={"name": "small", "settings": {"members": members}}))
    assert caught.value.code == "MRD-E504" and "members" in caught.value.what


def test_an_ensemble_goes_into_a_bundle_and_comes_out_with_every_member(tmp_path):
    from MRDeltaNetLib.models import registry

    settings = {"preset": "tiny", "spacing_mm": [2.0, 2.0, 5.0], "crop_mm": [64.0, 64.0, 40.0], "auxiliary": False, "members": 2}
    torch.manual_seed(1)
    ensemble = registry.build("deltanet", **settings)
    pair = torch.rand(2, 2, *ensemble.geometry.voxels)
    bundles.write_bundle(tmp_path / "b", network=ensemble, metadata=metadata(network={"name": "deltanet", "settings": settings}), card="# Card\n",
                         golden_input=pair, licence="L\n")
    read = bundles.read_bundle(tmp_path / "b")
    network = bundles.load_network(read, registry.build)
    assert read.members == 2 and read.public_facts()["members"] == 2 and bundles.check_golden(read, network) < 1e-4
    with torch.inference_mode():
        assert network(pair[None]).member_logits.shape == (1, 2)


def write(place, **changes) -> str:
    """A bundle with some of its parts changed."""
    return bundles.write_bundle(place, **({"network": Small(), "metadata": metadata(), "card": "# Card\n", "golden_input": torch.randn(2, 2, 4, 8, 8),
                                           "licence": "L\n"} | changes))


def test_the_digests_of_20000_training_cases_can_be_written_and_read(tmp_path):
    """Of each case its settings, its crop and its two scans; the metadata then take 5 MiB."""
    listed = {name: [f"{k:064x}" for k in range(count)] for name, count in zip(bundles.DIGESTS, (20_000, 20_000, 40_000))}
    write(tmp_path / "bundle", metadata=metadata(**listed))
    read = bundles.read_bundle(tmp_path / "bundle")
    assert all(read.own[name] == digests for name, digests in listed.items())
    bundles.rewrite_bundle(tmp_path / "bundle", card="# New\n", metadata=read.metadata)
    assert bundles.read_bundle(tmp_path / "bundle").card == "# New\n"


def test_the_digests_of_the_scans_are_optional_and_checked():
    bundles.check_metadata(metadata(training_scans_sha256=["a" * 64]))
    with pytest.raises(InputError) as caught:
        bundles.check_metadata(metadata(training_scans_sha256=["scan of somebody"]))
    assert caught.value.code == "MRD-E504" and "somebody" not in caught.value.text()


def broken_network() -> torch.nn.Module:
    made = Small()
    made.layer.bias.data[1] = torch.nan
    return made


def deep(levels: int) -> list:
    return [deep(levels - 1)] if levels else []


UNREADABLE = {
    "weights that are not numbers": ("MRD-E505", lambda: {"network": broken_network()}),
    "an example beyond float16": ("MRD-E505", lambda: {"golden_input": torch.full((2, 2, 4, 8, 8), 1e6)}),
    "an example of three channels": ("MRD-E505", lambda: {"golden_input": torch.randn(2, 3, 4, 8, 8)}),
    "a card of 2 MiB": ("MRD-E502", lambda: {"card": "x" * 2 * 1024**2}), "a licence of 2 MiB": ("MRD-E502", lambda: {"licence": "x" * 2 * 1024**2}),
    "metadata over their cap": ("MRD-E502", lambda: {"metadata": metadata(more="x" * 64 * 1024**2)}),
    "a card that no text can hold": ("MRD-E504", lambda: {"card": "\ud800"}), "metadata that no text can hold": ("MRD-E504", lambda: {"metadata": metadata(more="\ud800")}),
    "metadata with NaN": ("MRD-E504", lambda: {"metadata": metadata(more=float("nan"))}), "metadata with an object": ("MRD-E504", lambda: {"metadata": metadata(more=Small())}),
    "metadata with a long number": ("MRD-E424", lambda: {"metadata": metadata(more=10**30)}), "metadata that are too deep": ("MRD-E423", lambda: {"metadata": metadata(more=deep(40))})}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_could_not_be_read_back_is_not_written_and_the_earlier_bundle_stays(folder, case):
    before, (code, changes) = bundles.read_bundle(folder).sha256, UNREADABLE[case]
    with pytest.raises(InputError) as caught:
        write(folder, **changes())
    assert caught.value.code == code and bundles.read_bundle(folder).sha256 == before


def test_a_bundle_is_not_written_among_other_files_nor_beside_an_earlier_reference(tmp_path, known):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "run.py").write_text("x")
    with pytest.raises(InputError) as caught:
        write(tmp_path)
    assert caught.value.code == "MRD-E502" and "run.py" not in caught.value.text() and [path.name for path in tmp_path.iterdir()] == ["scripts"]
    references.write_reference(known, tmp_path / "killed" / bundles.REFERENCE)
    write(tmp_path / "killed")
    assert bundles.read_bundle(tmp_path / "killed").reference is None


@pytest.mark.parametrize("change", [{"embedding_mean": np.full(5, 1e300)}, {"percentile_sd": np.full((2, 101), 1e-60)}], ids=["too large", "too small"])
def test_a_reference_that_float32_cannot_hold_is_not_written(tmp_path, known, change):
    with pytest.raises(InputError) as caught:
        references.write_reference(dataclasses.replace(known, **change), tmp_path / "reference")
    assert caught.value.code == "MRD-E508" and not (tmp_path / "reference").exists()


def test_a_half_surrogate_in_metadata_is_refused_because_no_terminal_can_show_it(folder):
    (folder / bundles.METADATA).write_text(json.dumps(metadata(name="\ud800")))
    reseal(folder)
    assert refusal(folder).code == "MRD-E504"


def places(value, path=()):
    """Where something stands in JSON, outer things first."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(inner, (*path, key))


def test_whatever_stands_in_any_place_of_the_metadata_is_taken_or_refused_in_words():
    wrong = (None, True, [], {}, "x", [["a"]], [{}], ["a", "b"], ["a", "b", "c"], [1, 2], [True, 1], -1, 1e308, 10**17)
    for path in places(metadata()):
        for value in wrong:
            changed = json.loads(json.dumps(metadata()))
            holder = changed
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = value
            with contextlib.suppress(InputError):
                bundles.check_metadata(changed)


@pytest.mark.parametrize("interval", [[], ["a", "b"]])
def test_verifying_a_bundle_without_an_interval_ends_with_what_is_wrong(folder, interval, capsys):
    typer = pytest.importorskip("typer")
    from MRDeltaNetLib.cli.model import verify

    (folder / bundles.METADATA).write_text(json.dumps(metadata(held_out_auc_ci=interval)))
    reseal(folder)
    with pytest.raises(typer.Exit) as caught:
        verify(folder)
    assert caught.value.exit_code == 3 and "MRD-E504" in capsys.readouterr().err
