"""Every command that the documents show is run, page by page, in an empty folder.

A page's blocks marked ```bash are run in their order; blocks marked ```json file=NAME are written to NAME first.
`make` targets are checked to exist (`make -n`), because `make test` is what runs this test.
Pages that begin with the same commands begin at one run of them: what it left behind is kept for the others.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```", re.MULTILINE | re.DOTALL)
LONG = {"make", "git", "cd"}
"""Not run again here: make is checked by `make -n`; git clone and cd belong to a fresh clone, which .ci/run is."""


def commands(page: Path) -> list[str]:
    """The commands of a page, with lines that end in a backslash joined."""
    text = page.read_text(encoding="utf-8")
    shell = "\n".join(body for language, _, body in BLOCK.findall(text) if language == "bash").replace("\\\n", " ")
    return [line.strip() for line in shell.splitlines() if line.strip() and not line.strip().startswith("#")]


def files(page: Path) -> dict[str, str]:
    """The files that a page shows, name -> content."""
    return {name: body for _, name, body in BLOCK.findall(page.read_text(encoding="utf-8")) if name}


def leaves_nothing(command: str) -> bool:
    """Whether a command only changes the shell, or serves nobody's folder."""
    return shlex.split(command)[0] in LONG | {"export"} or command == "mrdeltanet serve"


Beginning = tuple[tuple[str, ...], tuple[tuple[str, str], ...]]


def beginnings(page: Path) -> list[Beginning]:
    """For each command of a page that leaves something behind: all that decides what lies there after it, the commands so far and the files they name."""
    lasting = [" ".join(command.split()) for command in commands(page) if not leaves_nothing(command)]
    return [(tuple(lasting[:count]), tuple(sorted((name, body) for name, body in files(page).items() if any(name in command for command in lasting[:count]))))
            for count in range(1, len(lasting) + 1)]


SHARED = {beginning for beginning, pages in Counter(one for page in PAGES for one in beginnings(page)).items() if pages > 1}


@pytest.fixture(scope="session")
def kept() -> dict[Beginning, Path]:
    """Where what the same first commands left behind on another page is kept."""
    return {}


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_command_on_the_page_works(page, kept, tmp_path_factory):
    folder, so_far, at = tmp_path_factory.mktemp("page"), iter(beginnings(page)), None
    for name, content in files(page).items():
        (folder / name).write_text(content, encoding="utf-8")
    for command in commands(page):
        if leaves_nothing(command):
            before = sorted(folder.rglob("*"))
            works(command, folder)
            assert sorted(folder.rglob("*")) == before, f"{command} left something behind"
            continue
        beginning = next(so_far)
        if beginning in kept:
            at = kept[beginning]
            continue
        if at is not None:
            shutil.copytree(at, folder, dirs_exist_ok=True)
            at = None
        works(command, folder)
        if beginning in SHARED:
            kept[beginning] = Path(shutil.copytree(folder, tmp_path_factory.mktemp("kept"), dirs_exist_ok=True, ignore=shutil.ignore_patterns(*files(page))))


def works(command: str, folder: Path) -> None:
    """Run a command in a folder."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    first = shlex.split(command)[0]
    if first in LONG - {"make"}:
        return
    if first == "make":
        done = subprocess.run(["make", "-n", *shlex.split(command)[1:]], cwd=REPOSITORY, capture_output=True, text=True)
    elif command.startswith("mrdeltanet serve"):
        done = served(command, folder, environment)
    else:
        done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"


def served(command: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess:
    """Start a server, wait until it prints its address, and stop it as Ctrl-C does."""
    pytest.importorskip("trame_slicer", reason="needs the packages of the page: pip install 'mrdeltanet[web]'")
    process = subprocess.Popen(shlex.split(command), cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "token=" in line:
            process.send_signal(signal.SIGINT)
    return subprocess.CompletedProcess(command, process.wait(60), "".join(lines), "")


def test_every_page_is_reachable_from_the_index():
    index = (REPOSITORY / "docs" / "README.md").read_text(encoding="utf-8")
    missing = [str(page.relative_to(REPOSITORY / "docs")) for page in (REPOSITORY / "docs").rglob("*.md")
               if page.name != "README.md" and f"({page.relative_to(REPOSITORY / 'docs').as_posix()})" not in index]
    assert not missing, f"docs/README.md does not link {missing}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_inside_the_repository_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    broken = [link for link in links if not (page.parent / link).exists()]
    assert not broken, f"{page.name}: {broken}"


def test_every_message_code_is_documented_once():
    """Every MRD code in the library and in the Slicer module stands in docs/reference/messages.md, and none there is unknown to them."""
    pattern = re.compile(r"MRD-[EW]\d{3}")
    files = [path for folder in ("MRDeltaNetLib", "MRDeltaNet") for path in (REPOSITORY / folder).rglob("*.py")]
    used = {code for path in files for code in pattern.findall(path.read_text(encoding="utf-8"))}
    listed = re.findall(r"^\| (MRD-[EW]\d{3}) \|", (REPOSITORY / "docs" / "reference" / "messages.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(used) == sorted(set(listed)), f"missing: {sorted(used - set(listed))}; unknown: {sorted(set(listed) - used)}"
    assert len(listed) == len(set(listed))


def test_the_version_is_the_changelog_s_newest():
    from MRDeltaNetLib import __version__
    newest = re.search(r"^## (\d+\.\d+\.\d+)", (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest and newest.group(1) == __version__
