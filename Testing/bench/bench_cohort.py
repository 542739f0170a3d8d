"""Preparing a cohort: how well a second worker is used, memory as the cohort grows tenfold, and reading the cache."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CASES, FEW = 20, 6
"""Two sizes, so that the time of one more case is told apart from the start of the workers."""
ROUNDS = 2
SIZE = "(160, 160, 24)"
READS = 7
GROWTH = (1000, 10000)
PEAK = """
def peak_mb():
    # not ru_maxrss: Linux lets a new program begin with that of the process that started it
    lines = open('/proc/self/status').read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith('VmHWM')) / 1024
"""


def run() -> list[dict]:
    """Wall time of a preparation with 1 and 2 single-threaded workers, interleaved; peak memory of the parent; seconds to read a case."""
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        _script(f"from MRDeltaNetLib.cohort.simulation import simulate_cohort; simulate_cohort({CASES}, 1, 'controlled', {str(folder / 'cohort')!r}, size={SIZE}, workers=2)")
        tables = {CASES: folder / "cohort" / "cohort.csv", FEW: _first_rows(folder / "cohort", FEW)}
        found = {(cases, workers): [] for workers in (1, 2) for cases in tables}
        for number in range(ROUNDS):
            for cases, workers in found:
                found[cases, workers].append(_prepared(tables[cases], folder / f"cache-{cases}-{workers}-{number}", workers))
        wall = {which: statistics.median(one["seconds"] for one in runs) for which, runs in found.items()}
        more = {workers: (wall[CASES, workers] - wall[FEW, workers]) / (CASES - FEW) for workers in (1, 2)}
        growth = [_grown(folder / f"many-{cases}", cases) for cases in GROWTH]
        reading = _reading(folder / "cohort" / "cohort.csv", folder / f"cache-{CASES}-1-0")
    return [{"what": f"preparing {CASES} cases, 1 worker", "unit": "s", "ours": wall[CASES, 1], "note": f"{more[1]:.2f} s for one more case"},
            {"what": f"preparing {CASES} cases, 2 workers", "unit": "s", "ours": wall[CASES, 2], "note": f"{more[2]:.2f} s for one more case"},
            {"what": "efficiency of two workers, one more case", "unit": "", "ours": more[1] / (2 * more[2]), "note": "aim: at least 0.9"},
            {"what": f"efficiency of two workers, {CASES} cases with start", "unit": "", "ours": wall[CASES, 1] / (2 * wall[CASES, 2])},
            {"what": "peak memory of the parent, cases prepared", "unit": "MB", "ours": max(one["peak_mb"] for one in found[CASES, 2])},
            {"what": f"peak memory of the parent, {GROWTH[0]} cases", "unit": "MB", "ours": growth[0]["peak_mb"], "note": "cases answered by a stand-in"},
            {"what": f"peak memory of the parent, {GROWTH[1]} cases", "unit": "MB", "ours": growth[1]["peak_mb"], "peer": growth[0]["peak_mb"],
             "peer_name": f"{GROWTH[0]} cases", "note": f"aim: flat; {growth[1]['seconds'] / GROWTH[1] * 1000:.2f} ms a case around the work itself"},
            {"what": "reading a case from the cache, warm", "unit": "ms", "ours": reading["ours"], "peer": reading["peer"], "peer_name": "np.fromfile of the same bytes"}]


def _first_rows(cohort: Path, rows: int) -> Path:
    """A table of the first rows beside the cohort's own, with its dictionary."""
    lines = (cohort / "cohort.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (cohort / "few.csv").write_text("".join(lines[:rows + 1]), encoding="utf-8")
    (cohort / "few.json").write_text((cohort / "cohort.json").read_text(encoding="utf-8"), encoding="utf-8")
    return cohort / "few.csv"


def _prepared(table: Path, cache: Path, workers: int) -> dict:
    return _script("import json, time\n" + PEAK +
                   "from MRDeltaNetLib.cohort.preparing import prepare_cohort\nfrom MRDeltaNetLib.io.cohort_table import read_cohort\n"
                   f"start = time.perf_counter()\nprepare_cohort(read_cohort({str(table)!r}), {str(cache)!r}, workers={workers})\n"
                   "print(json.dumps({'seconds': time.perf_counter() - start, 'peak_mb': peak_mb()}))")


def _grown(folder: Path, cases: int) -> dict:
    """A cohort of many rows on few files; a stand-in answers for the worker, since only the parent's memory is asked for."""
    folder.mkdir()
    stand_in = "import json, sys\nsys.argv.pop()\nprint('{\"ready\": {}}', flush=True)\nfor line in sys.stdin: print(json.dumps({'key': '0' * 64, 'made': True}), flush=True)\n"
    return _script("import json, time\n" + PEAK + "from pathlib import Path\nfrom types import SimpleNamespace\n"
                   "from MRDeltaNetLib.cohort.preparing import prepare_cohort, supervision\n"
                   f"supervision._STARTER = {stand_in!r}\nfolder = Path({str(folder)!r})\n"
                   "(folder / 'scan.nrrd').write_bytes(b'NRRD' + bytes(100_000))\n"
                   "rows = tuple(SimpleNamespace(line=n + 2, id=str(n), files={'pre': Path('scan.nrrd'), 'post': Path('scan.nrrd')}, options={'volume_index': n},\n"
                   f"    complete_response=False, interval_days=None, outcome=0, centre=None, set='train') for n in range({cases}))\n"
                   "start = time.perf_counter()\n"
                   "prepare_cohort(SimpleNamespace(rows=rows, folder=folder), folder / 'cache', workers=2)\n"
                   "print(json.dumps({'seconds': time.perf_counter() - start, 'peak_mb': peak_mb()}))")


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
