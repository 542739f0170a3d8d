"""Scenes for the MRML tests, and reading an .mrb back."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from MRDeltaNetLib.mrml.bootstrap import own_scene, quiet


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
