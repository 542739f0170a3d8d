"""What continuous integration is allowed to run and to touch, and that its own scripts notice what they are there to notice."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from Testing.packaging.file_lists import REPOSITORY

WORKFLOWS = sorted((REPOSITORY / ".github").rglob("*.yml"))
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")
LONGEST_MINUTES = 90


def problems(text: str) -> list[str]:
    """What a workflow does that it may not: actions without a commit's hash, write permissions, jobs without a limit of time."""
    workflow = yaml.safe_load(text)
    found = _permission_problems(workflow.get("permissions"), "the workflow")
    for name, job in workflow["jobs"].items():
        if "permissions" in job:
            found += _permission_problems(job["permissions"], name)
        if not 0 < job.get("timeout-minutes", 0) <= LONGEST_MINUTES:
            found.append(f"{name} has no limit of time below {LONGEST_MINUTES} minutes")
        used = [step["uses"] for step in job.get("steps", []) if "uses" in step] + ([job["uses"]] if "uses" in job else [])
        found += [f"{name} uses {action}, which is not pinned by a commit's hash" for action in used if not PINNED.fullmatch(action)]
        found += [f"{name} runs curl into a shell" for step in job.get("steps", []) if re.search(r"curl[^\n]*\|\s*(ba)?sh", step.get("run", ""))]
    return found


def _permission_problems(permissions, who: str) -> list[str]:
    if not isinstance(permissions, dict):
        return [f"{who} does not say its permissions one by one"]
    return [f"{who} may {right} {what}" for what, right in permissions.items() if right not in ("read", "none")]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_are_pinned_and_only_read(path):
    assert problems(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_script_that_a_workflow_runs_exists(path):
    for name in re.findall(r"(?<=\s)\.(?:github|ci)/[\w./-]+", path.read_text(encoding="utf-8")):
        assert (REPOSITORY / name).is_file(), f"{path.name} runs {name}"


def test_the_self_test_runs_on_three_systems_and_only_the_preview_may_fail():
    jobs = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "slicer.yml").read_text(encoding="utf-8"))["jobs"]
    matrix = jobs["self-test"]["strategy"]["matrix"]
    assert {re.match("[a-z]+", name).group() for name in matrix["os"]} == {"ubuntu", "windows", "macos"}
    assert {each["stability"]: each["may-fail"] for each in matrix["slicer"]} == {"release": False, "nightly": True}
    assert all(job["timeout-minutes"] == 30 for job in jobs.values())


GOOD = f"permissions: {{contents: read}}\njobs:\n  a:\n    timeout-minutes: 5\n    steps:\n    - uses: actions/checkout@{'0' * 40}\n    - run: make\n"


@pytest.mark.parametrize("old, new", [
    ("@" + "0" * 40, "@v7"), ("@" + "0" * 40, "@" + "0" * 39), ("contents: read", "contents: write"), ("{contents: read}", "write-all"),
    ("permissions: {contents: read}", "name: x"), ("    timeout-minutes: 5\n", ""), ("timeout-minutes: 5", "timeout-minutes: 360"),
    ("    steps:", "    permissions: {packages: write}\n    steps:"), ("run: make", "run: curl https://example.org/x | sh")])
def test_a_workflow_that_may_too_much_is_refused(old, new):
    assert problems(GOOD) == []
    assert problems(GOOD.replace(old, new))


def script(name: str) -> ModuleType:
    """A script of the workflows as a module."""
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / ".github" / "slicer" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_package_is_asked_for_by_system_stability_and_version():
    install = script("install_slicer")
    assert parse_qs(urlsplit(install.question("Darwin", "release", "5.12")).query) == {"os": ["macosx"], "stability": ["release"], "version": ["5.12"]}
    assert parse_qs(urlsplit(install.question("Windows", "nightly", "latest")).query) == {"os": ["win"], "stability": ["nightly"]}


def test_a_package_that_is_not_what_the_server_says_is_refused(tmp_path: Path):
    install = script("install_slicer")
    path = tmp_path / "package"
    path.write_bytes(b"slicer")
    record = {"size": "6", "sha512": hashlib.sha512(b"slicer").hexdigest()}
    assert install.fault(path, record) == ""
    assert "bytes came" in install.fault(path, record | {"size": 7})
    assert "another one" in install.fault(path, record | {"sha512": hashlib.sha512(b"Slicer").hexdigest()})
    assert "names no SHA-512" in install.fault(path, record | {"sha512": None})


PASSED = "walk ... ok\nskipped: Predict and Explain, torch is not installed\n\nRan 2 tests in 41.0s\n\nOK\n"


@pytest.mark.parametrize("status, printed, torch, said", [
    (1, PASSED, False, "exit status 1"), (0, "", False, "no test ran"), (0, PASSED.replace("2 tests", "0 tests"), False, "no test ran"),
    (0, PASSED.replace("OK", "FAILED (errors=1)"), False, "did not say OK"), (0, PASSED, True, "skipped although torch is here"),
    (0, PASSED.replace("skipped", "left out"), False, "no line says")])
def test_a_self_test_that_did_not_pass_is_noticed(status, printed, torch, said):
    complaints = script("run_self_test").complaints
    assert complaints(0, PASSED, False) == [] == complaints(0, PASSED.replace("skipped", "ran"), True)
    assert any(said in line for line in complaints(status, printed, torch))


def test_the_self_test_is_started_headless_with_the_module_s_folder_and_further_paths():
    command = script("run_self_test").command("/opt/Slicer", ["/opt/ext/PyTorch"])
    start = command.index("/opt/Slicer")
    assert command[start + 1:start + 6] == ["--no-splash", "--testing", "--additional-module-paths", str(REPOSITORY / "MRDeltaNet"), "/opt/ext/PyTorch"]
    assert "runUnitTest" in command[-1] and command[-2] == "--python-code"
