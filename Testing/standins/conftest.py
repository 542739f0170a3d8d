"""The stand-in application as a fixture; skipped, saying so, where PySide6 or slicer-core is missing."""

from __future__ import annotations

import pytest


@pytest.fixture
def application(tmp_path):
    pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="needs PySide6_Essentials (pip install 'mrdeltanet[test]')")
    pytest.importorskip("slicer", reason="needs slicer-core (pip install 'mrdeltanet[scene]')")
    from Testing.standins.application import standin_application
    with standin_application(tmp_path) as running:
        yield running
