"""Run the module's self-test inside an installed 3D Slicer and judge it by exit status and by what it printed.

python run_self_test.py SLICER without-torch|with-torch [FURTHER_MODULE_PATH ...]
Without torch the test must say what it skipped for the want of it; with torch it must skip nothing for that.
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from pathlib import Path

MODULE = Path(__file__).resolve().parents[2] / "MRDeltaNet"
LIMIT_S = 20 * 60


def command(slicer: str, further: list[str]) -> list[str]:
    """The command line; on Linux on a display of its own, since Slicer has no off-screen mode there."""
    code = f"import slicer.testing; slicer.testing.runUnitTest([{MODULE.as_posix()!r}], 'MRDeltaNet')"
    display = ["xvfb-run", "--auto-servernum", "--server-args=-screen 0 1920x1080x24"] if platform.system() == "Linux" else []
    return [*display, slicer, "--no-splash", "--testing", "--additional-module-paths", str(MODULE), *further, "--python-code", code]


def complaints(status: int, printed: str, torch: bool) -> list[str]:
    """What speaks against a run; nothing if it passed."""
    found = [] if status == 0 else [f"exit status {status}"]
    ran = re.findall(r"^Ran (\d+) tests? in", printed, re.MULTILINE)
    if not any(int(number) for number in ran):
        found.append("no test ran")
    elif not re.search(r"^OK\b", printed, re.MULTILINE):
        found.append("unittest did not say OK")
    skipped = [line for line in printed.splitlines() if "skipped" in line.lower() and "torch" in line.lower()]
    if torch and skipped:
        found.append(f"skipped although torch is here: {skipped[0]}")
    if not torch and not skipped:
        found.append("torch is not here, and no line says what was skipped for that")
    return found


def main() -> None:
    slicer, kind, further = sys.argv[1], sys.argv[2], sys.argv[3:]
    if kind not in ("with-torch", "without-torch"):
        raise SystemExit(f"'{kind}' is neither with-torch nor without-torch")
    done = subprocess.run(command(slicer, further), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", timeout=LIMIT_S)
    print(done.stdout)
    if found := complaints(done.returncode, done.stdout, kind == "with-torch"):
        raise SystemExit("The self-test failed: " + "; ".join(found))


if __name__ == "__main__":
    main()
