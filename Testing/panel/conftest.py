"""The panel in the stand-in window, and what a person does with it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Callable

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE = REPOSITORY / "MRDeltaNet" / "MRDeltaNet.py"


@pytest.fixture
def application(tmp_path):
    """A running stand-in application with an empty scene."""
    pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="needs PySide6_Essentials (pip install 'mrdeltanet[test]')")
    pytest.importorskip("slicer", reason="needs slicer-core (pip install 'mrdeltanet[scene]')")
    from Testing.standins.application import standin_application
    with standin_application(tmp_path) as running:
        yield running


@pytest.fixture
def panel(application):
    """The module's widget, entered."""
    return application.open_module(MODULE)


@pytest.fixture
def wait(application) -> Callable[..., None]:
    """wait(condition, seconds=120): let the panel work until a condition holds."""

    def until(condition: Callable[[], Any], seconds: float = 120.0) -> None:
        stop = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < stop, "it did not come about"
            assert not application.errors, application.errors
            application.process_events(0.05)
        application.process_events(0.4)

    return until
