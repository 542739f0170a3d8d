"""The browser page with a 320 x 320 x 30 pair in Chromium: how soon it is there, how soon a picture follows the hand, and what memory stays."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

MEASURED, PAIRS = 21, 10
MIB = 1024**2


def run() -> list[dict]:
    """Start to first picture; slice step, stroke and opacity to the next picture; memory with one pair and after ten."""
    import shutil

    from playwright.sync_api import sync_playwright

    from Testing.web.conftest import Server, do, sample, show, step
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        began = time.monotonic()
        server = Server(Path(folder) / "base")
        try:
            tab = show(browser, server.address)
            rows = [{"what": "web: start to first picture", "unit": "s", "ours": time.monotonic() - began, "note": "aim: below 6 s"}]
            sample(tab)
            one = _memory(server.process.pid)
            do(tab, "Align", "Align")
            rows.append(_row("slice step to picture", _seconds(tab, 0, _slice_steps(tab)), 0.15))
            step(tab, "Tumour")
            tab.get_by_role("button", name="Paint", exact=True).click()
            tab.wait_for_timeout(1000)
            rows.append(_row("stroke to picture", _seconds(tab, 0, _dabs(tab)), 0.2))
            do(tab, "Predict", "Predict")
            step(tab, "Explain")
            tab.select_option("#map", "attention_pre")
            tab.wait_for_timeout(1500)
            rows.append(_row("opacity to picture", _seconds(tab, 0, _opacities(tab)), 0.15))
            memory = []
            for _ in range(PAIRS):
                sample(tab)
                memory.append(_memory(server.process.pid))
        finally:
            server.stop()
            browser.close()
    return [*rows, {"what": "web: memory with one pair", "unit": "MiB", "ours": one, "note": "aim: below 1536 MiB"},
            {"what": f"web: memory after {PAIRS} pairs one after another", "unit": "MiB", "ours": memory[-1], "peer": memory[1], "peer_name": "after the second",
             "note": "aim: no growth"}]


def _seconds(tab: Any, view: int, acts: Callable[[int], None]) -> list[float]:
    """From an act until the view shows another picture; measured in the browser, whose clock knows when the picture came."""
    found = []
    tab.evaluate("""view => { const image = document.querySelectorAll('.views img')[view];
        new MutationObserver(() => { window.pictureAt = window.pictureAt || performance.now(); }).observe(image, {attributes: true, attributeFilter: ['src']}); }""", view)
    for number in range(MEASURED):
        tab.wait_for_timeout(700)                        # the picture before is in its last quality
        begun = tab.evaluate("() => { window.pictureAt = 0; return performance.now(); }")
        acts(number)
        tab.wait_for_function("window.pictureAt > 0")
        found.append((tab.evaluate("window.pictureAt") - begun) / 1000)
    return found


def _slice_steps(tab: Any) -> Callable[[int], None]:
    tab.locator("input.slice").first.focus()
    return lambda number: tab.keyboard.press("ArrowRight" if number % 2 else "ArrowLeft")


def _dabs(tab: Any) -> Callable[[int], None]:
    box = tab.locator(".views img").first.bounding_box()

    def dab(number: int) -> None:
        tab.mouse.move(box["x"] + 100 + 4 * number, box["y"] + 150)
        tab.mouse.down()
        tab.mouse.move(box["x"] + 104 + 4 * number, box["y"] + 152)
        tab.mouse.up()

    return dab


def _opacities(tab: Any) -> Callable[[int], None]:
    return lambda number: tab.locator("#map-opacity").fill("0.4" if number % 2 else "0.8")


def _row(what: str, seconds: list[float], aim_s: float) -> dict:
    """The median, and the 95th percentile in words."""
    high = statistics.quantiles(seconds, n=20)[-1]
    return {"what": f"web: {what}", "unit": "s", "ours": statistics.median(seconds), "note": f"95th percentile {high:.3f} s; aim: below {aim_s:g} s"}


def _memory(process: int) -> float:
    """What the server has in memory, MiB."""
    import psutil
    return psutil.Process(process).memory_info().rss / MIB
