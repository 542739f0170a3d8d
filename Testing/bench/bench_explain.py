"""Seconds and memory of each method of explanation, at the demo model on its stored example."""

from __future__ import annotations

import json
import os
import resource as system
import subprocess
import sys
import time

REPEATS = 3
ONCE = ("occlusion",)
"""Methods that are timed once, because they take long."""


def run() -> list[dict]:
    """Each method in a process of its own, after one forward pass; the peer is that forward pass. Memory: peak of the process beyond that pass's."""
    from MRDeltaNetLib.config import EXPLAIN_METHODS
    rows = []
    for key in EXPLAIN_METHODS:
        said = json.loads(subprocess.run([sys.executable, "-m", "Testing.bench.bench_explain", key], capture_output=True, text=True, check=True).stdout.splitlines()[-1])
        if "missing" in said:
            rows.append({"what": f"{key}: not measured, {said['missing']} is not installed", "unit": "s", "ours": float("nan")})
            continue
        rows.append({"what": f"{key}, one pair", "unit": "s", "ours": said["seconds"], "peer": said["forward"], "peer_name": "one forward pass",
                     "note": f"{said['peak_mb']:.0f} MB beyond the most that a forward pass took"})
    return rows


def measure(key: str) -> dict:
    """Seconds of one method (median), of one forward pass, and MB."""
    import statistics

    import torch

    from MRDeltaNetLib.io.bundle import load_network, read_bundle
    from MRDeltaNetLib.models import registry
    from MRDeltaNetLib.resources import DEMO_BUNDLE, resource
    from MRDeltaNetLib.response.attribution import Readout, attribute, missing_package
    if (package := missing_package(key)) is not None:
        return {"missing": package}
    bundle = read_bundle(resource(DEMO_BUNDLE))
    network, x = load_network(bundle, registry.build), bundle.golden["input"].float()
    with torch.inference_mode():
        network(x[None])
        forward = statistics.median(_timed(lambda: network(x[None])) for _ in range(7))
    before = _peak_mb()
    seconds = [_timed(lambda: attribute(key, network, x, readout=Readout.of(bundle.own))) for _ in range(1 if key in ONCE else REPEATS)]
    return {"seconds": statistics.median(seconds), "forward": forward, "peak_mb": _peak_mb() - before}


def _timed(action) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _peak_mb() -> float:
    """Most resident memory of this process so far, MB."""
    most = system.getrusage(system.RUSAGE_SELF).ru_maxrss
    return most / 1024**2 if sys.platform == "darwin" else most / 1024


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    print(json.dumps(measure(sys.argv[1])))
