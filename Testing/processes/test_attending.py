"""Waiting for a child as for a function: progress, result, error and stop come through, and nothing is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from MRDeltaNetLib import errors
from MRDeltaNetLib.errors import Cancelled, EnvironmentProblem, InputError, OutOfMemory
from MRDeltaNetLib.processes.attending import attend
from MRDeltaNetLib.progress import silent
from Testing.mrml.test_worker import alive, gone

posix = pytest.mark.skipif(os.name == "nt", reason="signals and process groups as on POSIX")
HEAD = "import json, os, subprocess, sys, time\ndef say(**line): print(json.dumps(line), flush=True)\n"


def run(code: str, folder: Path, progress=silent, **options):
    return attend([sys.executable, "-c", HEAD + textwrap.dedent(code)], folder, os.environ, progress, **options)


def test_progress_and_result_come_through(tmp_path):
    told = []
    found = run("say(done=0.25, message='a quarter'); say(finished={'numbers': [1, 2]})", tmp_path, lambda done, message: told.append((done, message)))
    assert found == {"numbers": [1, 2]} and (0.25, "a quarter") in told


@pytest.mark.parametrize("status, kind", [(2, errors.UsageError), (3, InputError), (4, EnvironmentProblem), (5, OutOfMemory), (7, errors.PartialFailure)])
def test_an_error_is_raised_as_the_kind_that_its_status_means(tmp_path, status, kind):
    with pytest.raises(kind) as caught:
        run(f"say(error=dict(code='MRD-E381', what='It broke', found='x', fix='mend it', exit_status={status})); sys.exit({status})", tmp_path)
    assert type(caught.value) is kind and (caught.value.code, caught.value.found, caught.value.fix) == ("MRD-E381", "x", "mend it")


def test_a_child_that_dies_without_a_word_is_told(tmp_path):
    with pytest.raises(EnvironmentProblem, match="MRD-E871"):
        run("sys.exit(9)", tmp_path)


@posix
def test_a_killed_child_is_told_with_memory_as_a_likely_reason(tmp_path):
    with pytest.raises(EnvironmentProblem, match="(?s)MRD-E871.*SIGKILL.*memory"):
        run("os.kill(os.getpid(), 9)", tmp_path)


def test_a_program_that_is_not_there_is_told(tmp_path):
    with pytest.raises(EnvironmentProblem, match="MRD-E870"):
        attend([str(tmp_path / "absent")], tmp_path, os.environ, silent)


@posix
def test_what_progress_raises_ends_the_child_and_its_children(tmp_path):
    """Also while the child says nothing."""
    pids = tmp_path / "pids"

    def stop(done: float, message: str) -> None:
        if pids.exists() and len(pids.read_text().split()) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        run(f"""
            below = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])
            open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{below.pid}}')
            time.sleep(600)
            """, tmp_path, stop)
    assert all(gone(int(pid)) for pid in pids.read_text().split())


@posix
def test_a_stubborn_child_is_killed_when_patience_ends(tmp_path):
    ready = tmp_path / "ready"

    def stop(done: float, message: str) -> None:
        if ready.exists() and ready.read_text():
            raise Cancelled

    started = time.monotonic()
    with pytest.raises(Cancelled):
        run(f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nopen({str(ready)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)",
            tmp_path, stop, patience_s=0.5)
    assert gone(int(ready.read_text())) and time.monotonic() - started < 30


@posix
def test_a_child_that_watches_its_lifeline_ends_when_we_are_killed(tmp_path):
    """The child of nnU-Net watches it; here it is asked to wait for a predict job that never comes."""
    from MRDeltaNetLib.imaging.nnunet.environment import CHILD
    watcher = tmp_path / "watcher.py"
    watcher.write_text(f"import importlib.util, os, time\nspec = importlib.util.spec_from_file_location('child', {str(CHILD)!r})\n"
                       "child = importlib.util.module_from_spec(spec); spec.loader.exec_module(child)\nchild._die_with_parent()\n"
                       f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n", encoding="utf-8")
    parent = subprocess.Popen([sys.executable, "-c", "import os, sys\nfrom MRDeltaNetLib.processes.attending import attend\n"
                               f"attend([sys.executable, {str(watcher)!r}], {str(tmp_path)!r}, os.environ, lambda done, message: None)"])
    until = time.monotonic() + 30
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()) and time.monotonic() < until:
        time.sleep(0.02)
    pid = int((tmp_path / "pid").read_text())
    assert alive(pid)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert gone(pid)
