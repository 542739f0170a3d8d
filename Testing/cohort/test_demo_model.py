"""The command that makes the demo model: the same study as by hand, a bundle that loads, and a card with its controls."""

from __future__ import annotations

import json
import re
import shutil

import pytest

pytest.importorskip("lightning.pytorch", reason="training needs the 'cohort' extra")
pytest.importorskip("sklearn", reason="training needs the 'cohort' extra")

from MRDeltaNetLib.cohort import demo_model, simulation  # noqa: E402
from MRDeltaNetLib.cohort.controls import CONTROLS  # noqa: E402
from MRDeltaNetLib.cohort.controls.story import TITLES  # noqa: E402
from MRDeltaNetLib.errors import InputError  # noqa: E402
from MRDeltaNetLib.io.bundle import check_golden, load_network, read_bundle, rewrite_bundle  # noqa: E402
from MRDeltaNetLib.io.study import read_study  # noqa: E402
from MRDeltaNetLib.models.registry import build  # noqa: E402
from MRDeltaNetLib.resources import DEMO_BUNDLE, DEMO_STUDY, resource  # noqa: E402

SMALL = {'threads = 2': 'threads = 1', 'folds = 3': 'folds = 2'}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The whole command on 18 quick scans, one epoch, with hasty alignment."""
    place = tmp_path_factory.mktemp("demo")
    text = resource(DEMO_STUDY).read_text(encoding="utf-8")
    for old, new in SMALL.items():
        assert old in text
        text = text.replace(old, new)
    text = re.sub(r"(?m)^epochs = \d+", "epochs = 1", text) + "\n[registration]\nsamples_per_level = [1000, 2000, 2000]\niterations = 20\n"
    (place / "small.toml").write_text(re.sub(r"(?m)^inner_fraction.*$", "inner_fraction = 0.2\nmin_events = 4", text), encoding="utf-8")
    arguments = ["--out", str(place / "shipped"), "--work", str(place / "work"), "--cases", "18", "--external", "0.3", "--coarse", "--study", str(place / "small.toml")]
    assert demo_model.main(arguments) == 0
    return place, arguments


@pytest.mark.slow
def test_the_shipped_bundle_is_the_studys_with_its_controls_in_the_card(made):
    shipped, trained = read_bundle(made[0] / "shipped"), read_bundle(made[0] / "work" / "trained" / "bundle")
    assert check_golden(shipped, load_network(shipped, build)) <= shipped.own["golden_tolerance"]
    assert shipped.weights_sha256 == trained.weights_sha256 and shipped.own == trained.own and shipped.metadata["authors"] == "MRDeltaNet contributors"
    assert shipped.own["is_demo"] and shipped.card.split("\n\n")[1].startswith("**Trained on made-up data.**") and demo_model.NOTE in shipped.card
    found = json.loads((made[0] / "work" / "controls" / "controls.json").read_text())
    for name in ("model", *CONTROLS):
        row = next(line for line in shipped.card.splitlines() if line.startswith(f"| {TITLES[name]} |"))
        assert f"| {found[name]['auc']:.3f} (" in row
    assert shipped.card.index("## Controls") < shipped.card.index("## Limits") and "## Controls" not in trained.card
    assert (made[0] / "work" / "controls" / "controls.txt").read_text().splitlines()[0] in shipped.card


@pytest.mark.slow
def test_given_again_it_takes_up_what_is_there(made, monkeypatch, capsys):
    place, arguments = made
    before = read_bundle(place / "shipped")
    shutil.rmtree(place / "shipped")
    monkeypatch.setattr(simulation, "simulate_cohort", lambda *_, **__: pytest.fail("simulated again"))
    assert demo_model.main(arguments) == 0
    assert read_bundle(place / "shipped").sha256 == before.sha256 and "is kept" in capsys.readouterr().err


@pytest.mark.slow
def test_a_problem_ends_with_its_exit_status_and_leaves_the_old_bundle(made, tmp_path, capsys):
    broken = tmp_path / "study.toml"
    broken.write_text('cohort = "a"\n', encoding="utf-8")
    shutil.copytree(made[0] / "shipped", tmp_path / "shipped")
    assert demo_model.main(["--out", str(tmp_path / "shipped"), "--work", str(tmp_path / "work"), "--study", str(broken)]) == 2
    assert "MRD-E" in capsys.readouterr().err and read_bundle(tmp_path / "shipped").sha256 == read_bundle(made[0] / "shipped").sha256


def test_the_shipped_model_was_trained_as_the_shipped_study_says():
    own, study = read_bundle(resource(DEMO_BUNDLE)).own, read_study(resource(DEMO_STUDY))
    assert own["name"] == study.name and own["network"]["settings"]["members"] == study.validation.folds * len(study.validation.seeds)
    told = own["training"]
    assert told["training"]["epochs"] == study.training.epochs and told["training"]["learning_rate"] == study.training.learning_rate
    assert tuple(own["preprocessing"]["crop_mm"]) == study.preprocessing.crop_mm


def test_a_damaged_bundle_gets_no_new_digests(tmp_path):
    shutil.copytree(resource(DEMO_BUNDLE), tmp_path / "bundle")
    read = read_bundle(tmp_path / "bundle")
    weights = tmp_path / "bundle" / "models" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(InputError) as refused:
        rewrite_bundle(tmp_path / "bundle", card="new", metadata=read.metadata)
    assert refused.value.code == "MRD-E503"


def test_the_commands_by_hand_are_those_of_the_command():
    from pathlib import Path

    page = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "demo-model.md").read_text(encoding="utf-8")
    assert (f"simulate --cases {demo_model.CASES} --seed {demo_model.SEED} --setting {demo_model.SETTING} --external {demo_model.EXTERNAL:g} "
            f"--workers {read_study(resource(DEMO_STUDY)).workers} ") in page
