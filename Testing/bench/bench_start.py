"""How long the command takes to answer, beside Python itself."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

REPEATS = 7


def run() -> list[dict]:
    """`mrdeltanet --help` and importing the library, beside an empty Python process; seconds, medians."""
    empty = _seconds([sys.executable, "-c", "pass"])
    return [{"what": "mrdeltanet --help", "unit": "s", "ours": _seconds([sys.executable, "-m", "MRDeltaNetLib", "--help"]), "peer": empty, "peer_name": "python -c pass"},
            {"what": "import MRDeltaNetLib.pipeline", "unit": "s", "ours": _seconds([sys.executable, "-c", "import MRDeltaNetLib.pipeline"]),
             "peer": _seconds([sys.executable, "-c", "import SimpleITK"]), "peer_name": "import SimpleITK"}]


def _seconds(command: list[str]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)
