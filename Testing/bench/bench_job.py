"""The whole job on a 320 x 320 x 30 pair, N4 off: wall time of each step and the peak memory of the process."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

REPEATS = 3
PEER = "reading both scans and masks with SimpleITK"


def run() -> list[dict]:
    """Seconds a step, around the steps and in all (median of 3 processes), peak resident memory; beside merely reading the same files."""
    from MRDeltaNetLib.imaging.phantom import simulate_pair
    from Testing.simulated import write_pair
    with tempfile.TemporaryDirectory() as folder:
        scans = write_pair(simulate_pair(11), Path(folder) / "scans")
        runs = [_one(scans, Path(folder) / f"out{number}") for number in range(REPEATS)]
        reading = _reading(scans)
    rows = [{"what": f"step {step}", "unit": "s", "ours": statistics.median(run["steps"][step] for run in runs)} for step in runs[0]["steps"]]
    for what, before, after in (("reading, writing, report and scene", "in_steps", "total"), ("Python and packages, until the clock starts", "total", "wall")):
        rows.append({"what": what, "unit": "s", "ours": statistics.median(run[after] - run[before] for run in runs)})
    rows.append({"what": "whole run, process start to end", "unit": "s", "ours": statistics.median(run["wall"] for run in runs), "peer": reading, "peer_name": PEER,
                 "note": "aim: below 30 s"})
    rows.append({"what": "peak resident memory", "unit": "MB", "ours": max(run["peak_mb"] for run in runs), "note": "aim: below 2500 MB"})
    return rows


def _one(scans: dict[str, str], out: Path) -> dict:
    command = [sys.executable, "-m", "MRDeltaNetLib", "run", "--pre", scans["pre"], "--post", scans["post"], "--pre-mask", scans["pre_mask"],
               "--post-mask", scans["post_mask"], "--out", str(out), "--device", "cpu", "--progress", "none"]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ)
    peak = _Peak(process.pid)
    if process.wait() != 0:
        raise SystemExit("the benchmarked run failed")
    wall = time.perf_counter() - start
    seconds = json.loads((out / "manifest.json").read_text())["seconds"]
    return {"wall": wall, "peak_mb": peak.stop(), "steps": seconds["steps"], "in_steps": sum(seconds["steps"].values()), "total": seconds["total"]}


def _reading(scans: dict[str, str]) -> float:
    code = "import sys, SimpleITK\nfor path in sys.argv[1:]: SimpleITK.ReadImage(path)"
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *scans.values()], check=True)
    return time.perf_counter() - start


class _Peak:
    """Watches the resident memory of a process and its children."""

    def __init__(self, pid: int) -> None:
        self._pid, self._peak, self._going = pid, 0, True
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """The peak, MB."""
        self._going = False
        self._thread.join()
        return self._peak / 1e6

    def _watch(self) -> None:
        while self._going:
            try:
                process = psutil.Process(self._pid)
                self._peak = max(self._peak, sum(one.memory_info().rss for one in [process, *process.children(recursive=True)]))
            except psutil.Error:
                return
            time.sleep(0.02)
