"""Run every benchmark on two cores and print one table.

    python -m Testing.bench [NAME ...] [--json FILE]
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

CORES = 2
NAMES = ("start", "job", "network", "maps", "explain", "registration", "attention", "throughput", "cohort", "statistics", "evaluation", "panel", "web")


def main(arguments: list[str]) -> int:
    """Print what was measured; returns 0. Names choose some of the benchmarks."""
    target = None
    if "--json" in arguments:
        place = arguments.index("--json")
        target, arguments = Path(arguments[place + 1]), arguments[:place] + arguments[place + 2:]
    unknown = set(arguments) - set(NAMES)
    if unknown:
        print(f"unknown benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    _keep_to_two_cores()
    rows = []
    for name in arguments or NAMES:
        found = importlib.import_module(f"Testing.bench.bench_{name}").run()
        rows += found
        print(f"\n{name}")
        for row in found:
            print("  " + describe(row))
    if target:
        target.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def describe(row: dict) -> str:
    """One line: what, ours, the peer's, and the ratio."""
    line = f"{row['what']:52} {row['ours']:10.4g} {row['unit']}"
    if row.get("peer") is not None:
        line += f"   {row['peer_name']}: {row['peer']:.4g} {row['unit']}   ours/peer {row['ours'] / row['peer']:.2f}"
    return line + (f"   {row['note']}" if row.get("note") else "")


def _keep_to_two_cores() -> None:
    """As on the smallest machine that is supported; children inherit it."""
    os.environ["OMP_NUM_THREADS"] = str(CORES)
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(CORES)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
