"""`python -m MRDeltaNetLib.sample FOLDER`: one simulated pair for the Slicer panel's sample button; progress as JSON lines.

Needs numpy and SimpleITK only, so that it runs in a Slicer into which nothing was installed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from MRDeltaNetLib.cohort.simulation import write_pair
from MRDeltaNetLib.doorway import failed


def main(arguments: list[str] | None = None) -> int:
    """Write the pair and tell its files in one line {"finished": {"files": [...]}}; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m MRDeltaNetLib.sample", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1, help="same seed, same pair")
    chosen = parser.parse_args(arguments)
    _tell({"done": 0.05, "message": "Simulating a pelvis before and after treatment"})
    try:
        chosen.folder.mkdir(parents=True, exist_ok=True)
        files = write_pair(chosen.folder, chosen.seed)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 failed() tells every kind apart
        return failed(error, "json")
    _tell({"finished": {"files": sorted(path.name for path in files.values())}})
    return 0


def _tell(line: dict) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(main())
