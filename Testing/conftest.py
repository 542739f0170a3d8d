"""What every test shares: where the real data lie, and what keeps processes that share a machine from waiting for each other."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Callable

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """Libraries use threads as they do in the command, here and in every process that a test starts: workers share the cores.

    Seen with their own defaults: two processes with two threads of torch each on two cores, 35 s instead of 4 s; one evaluation, 59 s of four cores
    instead of 5 s of one.
    """
    from MRDeltaNetLib.__main__ import THREADS
    for name, value in THREADS.items():
        os.environ.setdefault(name, value)


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
