"""Study files: what is written is what is trained; everything else is refused with the place and the remedy."""

from __future__ import annotations

import json
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

import pytest

from MRDeltaNetLib.config import StudyConfig, TrainingConfig
from MRDeltaNetLib.errors import InputError, MRDeltaNetError, UsageError
from MRDeltaNetLib.io import study

NEEDED = 'cohort = "cohort.csv"\ncache = "cache"\nout = "out"\n'
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reference" / "study-config.md"


def read(tmp_path, text: str) -> StudyConfig:
    path = tmp_path / "study.toml"
    path.write_text(text, encoding="utf-8")
    return study.read_study(path)


def test_a_short_file_is_the_defaults_with_paths_relative_to_it(tmp_path):
    found = read(tmp_path, NEEDED)
    assert found == StudyConfig(cohort=tmp_path / "cohort.csv", cache=tmp_path / "cache", out=tmp_path / "out")
    assert read(tmp_path, NEEDED.replace('"out"', "'/elsewhere/out'")).out == Path("/elsewhere/out")


def test_every_table_is_read(tmp_path):
    found = read(tmp_path, NEEDED + """
name = "ours"
start = "pretrained/weights.safetensors"
[model]
name = "resnet18"
visits = "both"
widths = [16, 32]
[preprocessing]
crop_mm = [48, 48.0, 36.0]
[registration]
samples_per_level = [1000, 2000, 2000]
[training]
epochs = 3
balanced = false
batch_size = 5
[training.loss]
beta = 0.9
[training.augmentation]
flip = 0
[pretraining]
epochs = 2
[validation]
seeds = [7]
[threshold]
rule = "cost"
prevalence = 0.2
""")
    assert (found.name, found.start, found.model.name, found.model.settings) == ("ours", tmp_path / "pretrained/weights.safetensors", "resnet18",
                                                                                 {"visits": "both", "widths": [16, 32]})
    assert found.preprocessing.crop_mm == (48.0, 48.0, 36.0) and found.registration.samples_per_level == (1000, 2000, 2000)
    assert found.training.epochs == 3 and found.training.loss.beta == 0.9 and found.training.augmentation.flip == 0.0
    assert found.validation.seeds == (7,) and (found.threshold.rule, found.threshold.prevalence) == ("cost", 0.2)


def test_a_study_is_plain_json_for_the_manifest(tmp_path):
    found = read(tmp_path, NEEDED)
    text = json.dumps(study.plain(found), allow_nan=False)
    back = json.loads(text)
    assert back["training"]["loss"]["beta"] is None and back["preprocessing"]["crop_mm"] == [96.0, 96.0, 72.0]
    assert set(back) == {field.name for field in fields(StudyConfig)}


REFUSED = {
    "epochs = 3": ("MRD-E482", "belongs into [training]"),
    "[training]\nepoch = 3": ("MRD-E482", "perhaps 'epochs'"),
    "[training]\nlearning-rate = 3": ("MRD-E482", "perhaps 'learning_rate'"),
    "[trainin]\nepochs = 3": ("MRD-E482", "perhaps 'training'"),
    "training = 3": ("MRD-E484", "[training]"),
    "[training]\nepochs = 3.0": ("MRD-E484", "whole number"),
    "[training]\nepochs = true": ("MRD-E484", "whole number"),
    "[training]\nepochs = '3'": ("MRD-E484", "whole number"),
    "[training]\nepochs = 2024-01-01": ("MRD-E484", "whole number"),
    "[training]\nbalanced = 1": ("MRD-E484", "true or false"),
    "[training]\nepochs = 0": ("MRD-E485", "from 1"),
    "[training]\nepochs = -1": ("MRD-E485", "from 1"),
    "[training]\nbatch_size = 1000000000": ("MRD-E485", "4096"),
    f"[training]\nepochs = {10**30}": ("MRD-E485", "whole number"),
    "[training]\nlearning_rate = nan": ("MRD-E485", "above 0"),
    "[training]\nlearning_rate = inf": ("MRD-E485", "above 0"),
    "[training]\nlearning_rate = -1e-3": ("MRD-E485", "above 0"),
    "[training]\nema_decay = 1": ("MRD-E485", "below 1"),
    "[training]\nmonitor = 'F1'": ("MRD-E485", "perhaps 'f1'"),
    "[training]\nmonitor = 1": ("MRD-E484", "text"),
    "[training]\nbatch_size = 15": ("MRD-E486", "even"),
    "[training.loss]\nbeta = 1.0": ("MRD-E485", "below 1"),
    "[model]\nname = \"deltanet\"\nmembers = 3": ("MRD-E486", "[validation]"),
    "[preprocessing]\ncrop_mm = [96.0, 96.0]": ("MRD-E484", "3 numbers"),
    "[preprocessing]\ncrop_mm = 96.0": ("MRD-E484", "3 numbers"),
    "[preprocessing]\ncrop_mm = [96.0, 96.0, nan]": ("MRD-E485", "500"),
    "[preprocessing]\nclip_percentiles = [99.5, 0.5]": ("MRD-E486", "smaller number first"),
    "[preprocessing]\ncrop_mm = [8.0, 8.0, 8.0]\nspacing_mm = [0.75, 0.75, 9.0]": ("MRD-E486", "larger crop_mm"),
    "[preprocessing]\nbias_correction = 'of'": ("MRD-E485", "perhaps 'off'"),
    "[validation]\nfolds = 1": ("MRD-E485", "from 2"),
    "[validation]\nseeds = []": ("MRD-E484", "list"),
    "[validation]\nseeds = [1, 1]": ("MRD-E486", "once"),
    "[validation]\nseeds = [-1]": ("MRD-E485", "from 0"),
    "[validation]\ninner_fraction = 0": ("MRD-E485", "above 0"),
    "[threshold]\nprevalence = 1": ("MRD-E485", "below 1"),
    "[threshold]\nrule = 'cst'": ("MRD-E485", "perhaps 'cost'"),
    "[model]\nname = 'Delta Net'": ("MRD-E485", "lists"),
    "[model]\nspacing_mm = [1, 1, 1]": ("MRD-E486", "[preprocessing]"),
    "[model]\nout = 'here'": ("MRD-E482", "above the first"),
    "[model]\n[model.training]\nepochs = 3": ("MRD-E482", "above the first"),
    "[model]\npreset = {a = 1}": ("MRD-E484", "list"),
    "[model]\nwidth = inf": ("MRD-E485", "million"),
    "[model]\nBad-Name = 1": ("MRD-E482", "settings"),
    "name = '../x'": ("MRD-E485", "letters"),
    "start = ''": ("MRD-E487", "file"),
    "start = 5": ("MRD-E484", "path"),
    "accelerator = 'tpu'": ("MRD-E485", "cpu"),
    "accelerator = 'cpu'\ndevices = 2": ("MRD-E486", "threads"),
    "workers = 0": ("MRD-E485", "from 1"),
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_be_meant_is_refused_with_what_to_do(tmp_path, text):
    code, words = REFUSED[text]
    with pytest.raises(UsageError) as caught:
        read(tmp_path, NEEDED + text)
    assert caught.value.code == code and words in caught.value.fix, caught.value.text()


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(UsageError) as caught:
        read(tmp_path, 'cohort = "c.csv"')
    assert caught.value.code == "MRD-E483" and caught.value.found == "missing: cache, out"
    with pytest.raises(UsageError) as caught:
        read(tmp_path, NEEDED.replace('"cache"', '"out"'))
    assert caught.value.code == "MRD-E486"


@pytest.mark.parametrize("content, code", [(b"cohort = ", "MRD-E481"), (b"a = 1\na = 2", "MRD-E481"), (b"a = " + b"[" * 5000, "MRD-E481"),
                                           (b"a = " + b"9" * 5000, "MRD-E481"), (b"\xff\xfe", "MRD-E480"), (b"#" * (2 * 1024**2), "MRD-E480")])
def test_a_file_that_is_no_toml_is_refused(tmp_path, content, code):
    path = tmp_path / "study.toml"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        study.read_study(path)
    assert caught.value.code == code


def test_folders_and_missing_files_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "missing.toml", tmp_path / ("x" * 5000)):
        with pytest.raises(InputError) as caught:
            study.read_study(path)
        assert caught.value.code == "MRD-E480"


def test_the_message_holds_no_path(tmp_path):
    for text in ("[training]\nepochs = -1", "start = ''", "broken"):
        with pytest.raises(MRDeltaNetError) as caught:
            read(tmp_path, NEEDED + text)
        assert str(tmp_path) not in caught.value.text()


def test_every_number_has_a_range_and_every_default_lies_in_it():
    for key in study.keys():
        if "number" in key.kind:
            assert key.dotted in study.RANGES, f"{key.dotted}: give it a range in io/study.py"
            values = key.default if isinstance(key.default, tuple) else () if key.default is None else (key.default,)
            assert all(study.RANGES[key.dotted].holds(value) for value in values)
        if key.dotted in study.CHOICES:
            assert key.default in study.CHOICES[key.dotted]
    assert set(study.RANGES) | set(study.CHOICES) <= {key.dotted for key in study.keys()}


def test_every_field_of_the_configuration_is_a_key():
    def count(kind) -> int:
        hints = get_type_hints(kind)
        return sum(count(hints[field.name]) if is_dataclass(hints[field.name]) else 1 for field in fields(kind))

    assert len(study.keys()) == count(StudyConfig) - 1                   # model.settings holds the model's own keys
    assert {key.name for key in study.keys() if key.table == "training"} == {field.name for field in fields(TrainingConfig)} - {"loss", "augmentation"}


def test_the_document_lists_every_key_with_its_default_and_range():
    text = DOCUMENT.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| (.*) \|$", text, re.MULTILINE))
    assert set(rows) == {key.dotted for key in study.keys()}
    for key in study.keys():
        cells = [cell.strip() for cell in rows[key.dotted].split(" | ")]
        assert cells[0] == study.default_words(key) and cells[1] == (key.allowed or key.kind), key.dotted
        assert len(cells) == 3 and cells[2], f"{key.dotted}: say what it does"
