"""What every test shares: where the real data lie, and a short way for the collector of garbage."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Callable

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_collection_finish() -> None:
    """What the tests import and are, some millions of objects, lives as long as the process: no later collection has to walk it.

    The stand-in Slicer collects after every test, statsmodels at every correction for several tests: some 0.3 s each time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """real_data("ms_longitudinal/patient01") is that folder or file; the test is skipped, saying so, where it is absent."""
    root = Path(os.environ.get("MRDELTANET_TEST_DATA", REPOSITORY.parent / "shared" / "data"))

    def find(name: str) -> Path:
        place = root / name
        if not place.exists():
            pytest.skip(f"real test data '{name}' is not here; set MRDELTANET_TEST_DATA to the folder that holds it")
        return place

    return find
