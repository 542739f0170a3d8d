"""Preparing a cohort: how well a second worker is used, memory as the cohort grows tenfold, and reading the cache."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CASES = 8
ROUNDS = 3
SIZE = "(160, 160, 24)"
READS = 7
GROWTH = (1000, 10000)


def run() -> list[dict]:
    """Wall time of a preparation with 1 and 2 single-threaded workers, interleaved; peak memory of the parent; seconds to read a case."""
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        _script(f"from MRDeltaNetLib.cohort.simulation import simulate_cohort; simulate_cohort({CASES}, 1, 'controlled', {str(folder / 'cohort')!r}, size={SIZE}, workers=2)")
        found = {1: [], 2: []}
        for number in range(ROUNDS):
            for workers in found:
                found[workers].append(_prepared(folder / "cohort" / "cohort.csv", folder / f"cache-{workers}-{number}", workers))
        wall = {workers: statistics.median(one["seconds"] for one in runs) for workers, runs in found.items()}
        growth = [_grown(folder / f"many-{cases}", cases) for cases in GROWTH]
        reading = _reading(folder / "cohort" / "cohort.csv", folder / "cache-1-0")
    return [{"what": f"preparing {CASES} cases, 1 worker", "unit": "s", "ours": wall[1], "note": f"{wall[1] / CASES:.2f} s a case, start of the worker included"},
            {"what": f"preparing {CASES} cases, 2 workers", "unit": "s", "ours": wall[2]},
            {"what": "efficiency of the second worker", "unit": "", "ours": wall[1] / (2 * wall[2]), "note": "aim: at least 0.9"},
            {"what": "peak memory of the parent, cases prepared", "unit": "MB", "ours": max(one["peak_mb"] for one in found[2])},
            {"what": f"peak memory of the parent, {GROWTH[0]} cases", "unit": "MB", "ours": growth[0]["peak_mb"], "note": "cases answered by a stand-in"},
            {"what": f"peak memory of the parent, {GROWTH[1]} cases", "unit": "MB", "ours": growth[1]["peak_mb"], "peer": growth[0]["peak_mb"],
             "peer_name": f"{GROWTH[0]} cases", "note": f"aim: flat; {growth[1]['seconds'] / GROWTH[1] * 1000:.2f} ms a case around the work itself"},
            {"what": "reading a case from the cache, warm", "unit": "ms", "ours": reading["ours"], "peer": reading["peer"], "peer_name": "np.fromfile of the same bytes"}]


def _prepared(table: Path, cache: Path, workers: int) -> dict:
    return _script("import json, resource, time\n"
                   "from MRDeltaNetLib.cohort.preparing import prepare_cohort\nfrom MRDeltaNetLib.io.cohort_table import read_cohort\n"
                   f"start = time.perf_counter()\nprepare_cohort(read_cohort({str(table)!r}), {str(cache)!r}, workers={workers})\n"
                   "print(json.dumps({'seconds': time.perf_counter() - start, 'peak_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))")


def _grown(folder: Path, cases: int) -> dict:
    """A cohort of many rows on few files; a stand-in answers for the worker, since only the parent's memory is asked for."""
    folder.mkdir()
    stand_in = "import json, sys\nsys.argv.pop()\nprint('{\"ready\": {}}', flush=True)\nfor line in sys.stdin: print(json.dumps({'key': '0' * 64, 'made': True}), flush=True)\n"
    return _script("import json, resource, time\nfrom pathlib import Path\nfrom types import SimpleNamespace\n"
                   "from MRDeltaNetLib.cohort.preparing import prepare_cohort, supervision\n"
                   f"supervision._STARTER = {stand_in!r}\nfolder = Path({str(folder)!r})\n"
                   "(folder / 'scan.nrrd').write_bytes(b'NRRD' + bytes(100_000))\n"
                   "rows = tuple(SimpleNamespace(line=n + 2, id=str(n), files={'pre': Path('scan.nrrd'), 'post': Path('scan.nrrd')}, options={'volume_index': n},\n"
                   f"    complete_response=False, interval_days=None, outcome=0, centre=None, set='train') for n in range({cases}))\n"
                   "start = time.perf_counter()\n"
                   "prepare_cohort(SimpleNamespace(rows=rows, folder=folder), folder / 'cache', workers=2)\n"
                   "print(json.dumps({'seconds': time.perf_counter() - start, 'peak_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))")


def _reading(table: Path, cache: Path) -> dict:
    """Milliseconds to have one case's voxels in memory, by the store and by plain reading; medians over cases and repeats, interleaved."""
    return _script("import json, statistics, time\nimport numpy as np\n"
                   "from MRDeltaNetLib.cohort.preparing import load_prepared\nfrom MRDeltaNetLib.io.cohort_table import read_cohort\n"
                   "from MRDeltaNetLib.io.crops import CropStore\n"
                   f"keys = load_prepared(read_cohort({str(table)!r}), {str(cache)!r}).keys\nstore = CropStore({str(cache / 'crops')!r})\n"
                   "def ours(key): return np.array(store.read(key)[0])\n"
                   "def plain(key): return np.fromfile(store.folder / f'{key}.npy', np.float16)\n"
                   "times = {'ours': [], 'peer': []}\n"
                   f"for _ in range({READS}):\n"
                   "    for key in keys:\n"
                   "        for name, read in (('ours', ours), ('peer', plain)):\n"
                   "            start = time.perf_counter(); read(key); times[name].append(1000 * (time.perf_counter() - start))\n"
                   "print(json.dumps({name: statistics.median(found) for name, found in times.items()}))")


def _script(code: str) -> dict:
    """Run a program of its own; the JSON that it prints last."""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=os.environ)
    lines = done.stdout.strip().splitlines()
    return json.loads(lines[-1]) if lines else {}
