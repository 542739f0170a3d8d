"""A page that runs in a process of its own, and a browser that looks at it."""

from __future__ import annotations

import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("trame_slicer", reason="needs the packages of the page: pip install 'mrdeltanet[web]'")

REPOSITORY = Path(__file__).resolve().parents[2]
START_S = 120
READY_S = 90
STEPS = ("Scans", "Align", "Tumour", "Predict", "Explain", "Report")


class Server:
    """`mrdeltanet serve` as a user starts it."""

    def __init__(self, base: Path, case: Path | None = None, path: Path | None = None) -> None:
        """base: its folder for temporary files; case: its case folder; path: a folder that Python looks into first"""
        base.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "MRDeltaNetLib", "serve", *([] if case is None else ["--case", str(case)])]
        places = [str(each) for each in (path, REPOSITORY) if each is not None]
        self.base = base
        self.process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        env={**os.environ, "PYTHONPATH": os.pathsep.join(places), "TMPDIR": str(base)})
        self.lines: list[str] = []
        found: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, args=(found,), daemon=True).start()
        try:
            self.address = found.get(timeout=START_S)
        except queue.Empty:
            self.stop()
            raise AssertionError("the page did not start: " + "".join(self.lines)) from None

    def _listen(self, found: queue.Queue) -> None:
        for line in self.process.stdout:
            self.lines.append(line)
            if match := re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line):
                found.put(match.group())

    @property
    def root(self) -> str:
        """The address without its token."""
        return self.address.split("?")[0]

    @property
    def session(self) -> Path:
        """The folder of the sitting's files."""
        return next(path for path in self.base.iterdir() if path.name.startswith("mrd-"))

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture(scope="session")
def chromium():
    """A browser of this machine; skips where there is none."""
    engine = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    path = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("needs Chromium")
    with engine.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One page for a file of tests."""
    running = Server(tmp_path_factory.mktemp("page"))
    yield running
    running.stop()


def show(chromium, address: str, width: int = 1280, height: int = 800):
    """A tab that shows the page; console errors are kept in tab.complaints, hosts it spoke to in tab.hosts."""
    tab = chromium.new_context(viewport={"width": width, "height": height}, accept_downloads=True).new_page()
    tab.set_default_timeout(1000 * READY_S)
    tab.complaints, tab.hosts = [], set()
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.on("console", lambda message: tab.complaints.append(message.text) if message.type == "error" else None)
    tab.on("request", lambda request: tab.hosts.add(request.url.split("/")[2]) if request.url.startswith(("http", "ws")) else None)
    tab.goto(address)
    tab.wait_for_function("document.querySelectorAll('.views img').length === 6")
    return tab


@pytest.fixture
def open_page(chromium):
    """open_page(address, width, height) -> a tab; closed at the end."""
    tabs = []

    def opened(address: str, width: int = 1280, height: int = 800):
        tabs.append(show(chromium, address, width, height))
        return tabs[-1]

    yield opened
    for tab in tabs:
        tab.context.close()


def section(tab, title: str):
    """The controls of a step."""
    return tab.locator(f"section[aria-label={title}]")


def step(tab, title: str) -> None:
    """Turn to a step; the views' next pictures have come when this returns."""
    tab.locator("button.step", has_text=title).click()
    tab.wait_for_selector(f"section[aria-label={title}]:visible")


def idle(tab) -> None:
    """Wait until nothing runs."""
    tab.wait_for_selector(".running", state="hidden")


def press(tab, name: str) -> None:
    """Press the button of that name that is seen."""
    tab.get_by_role("button", name=name, exact=True).locator("visible=true").click()


def sample(tab) -> None:
    """Load the sample pair, in the place of what there is."""
    step(tab, "Scans")
    press(tab, "Load a sample pair")
    if (sure := tab.get_by_role("button", name="Load it all the same")).count():
        sure.click()
    tab.wait_for_selector("section[aria-label=Scans] li:has-text('After:')")
    idle(tab)


def do(tab, title: str, button: str) -> None:
    """Press a step's button and wait until it is done."""
    step(tab, title)
    press(tab, button)
    tab.wait_for_selector(".running", state="visible")
    idle(tab)
    assert not tab.locator(".error").count(), tab.locator(".error").inner_text()


def volume(tab, column: int = 1) -> float:
    """A volume in the table of sizes, mL. column: 1 before, 2 bed, 3 residual"""
    return float(section(tab, "Tumour").locator("table tr", has_text="Volume (mL)").locator("td").nth(column - 1).inner_text())


def changes(tab, value, act) -> object:
    """Do something and wait until what value() gives is another one; returns that."""
    before = value()
    act()
    return until(tab, lambda: (now := value()) != before and (now,))[0]


def until(tab, condition) -> object:
    """Wait until a condition holds; returns what it gave."""
    end = time.monotonic() + READY_S
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come about"
        tab.wait_for_timeout(50)
    return found


def frame(tab, view: int = 0) -> str:
    """Which picture a view shows, counted from the upper left."""
    return tab.locator(".views img").nth(view).get_attribute("src")


def stroke(tab, view: int, dx: float = 30, dy: float = 5, at: tuple[float, float] = (0, 0)) -> None:
    """Draw a line with the mouse around a view's middle, moved by `at`. view: counted from the upper left"""
    box = tab.locator(".views img").nth(view).bounding_box()
    x, y = box["x"] + box["width"] / 2 + at[0], box["y"] + box["height"] / 2 + at[1]
    tab.mouse.move(x - dx, y)
    tab.mouse.down()
    tab.mouse.move(x + dx, y + dy, steps=6)
    tab.mouse.up()
