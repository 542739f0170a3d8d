"""Scenes for the MRML tests, and reading an .mrb back."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from MRDeltaNetLib.mrml.bootstrap import own_scene, quiet
from MRDeltaNetLib.mrml.sitting import Choices, Door, Sitting
from Testing.mrml.made_up_case import filled, finished_run


@pytest.fixture
def scene():
    with own_scene() as fresh:
        yield fresh


@pytest.fixture
def load(tmp_path):
    """load(path) reads an .mrb into a fresh scene, as Slicer does: unpack, then import the .mrml inside."""
    opened = []

    def read(path: Path):
        folder = tmp_path / f"unpacked{len(opened)}"
        with zipfile.ZipFile(path) as bundle:
            bundle.extractall(folder)
        context = own_scene()
        loaded = context.__enter__()
        opened.append(context)
        with quiet():
            loaded.SetURL(str(next(folder.rglob("*.mrml"))))
            assert loaded.Import() == 1
        return loaded

    yield read
    for context in reversed(opened):
        context.__exit__(None, None, None)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """finished(kind_pre, kind_post) -> (made-up result, its folder as a run leaves it), made once; nobody writes into the folder."""
    made = {}

    def run(*kinds: str):
        if kinds not in made:
            made[kinds] = finished_run(tmp_path_factory.mktemp("finished") / "run", *kinds)
        return made[kinds]

    return run


@pytest.fixture
def sitting(tmp_path):
    made = Sitting(Choices(), Door(), base=tmp_path / "base")
    yield made
    made.close()


@pytest.fixture
def case(scene, sitting, finished):
    """(sitting, made-up result) with a whole case in the scene."""
    result, folder = finished()
    filled(scene, sitting, result, folder)
    return sitting, result
