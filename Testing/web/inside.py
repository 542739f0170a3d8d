"""A page in this very process, without a browser: what a browser sends is done by hand, and everything can be looked at."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable

import numpy as np
import SimpleITK as sitk

from MRDeltaNetLib.case import Timepoint
from MRDeltaNetLib.mrml import findings
from MRDeltaNetLib.mrml.alignment import show_alignment
from MRDeltaNetLib.mrml.nodes import matrix_from_vtk
from MRDeltaNetLib.mrml.sitting import Door
from MRDeltaNetLib.mrml.sitting import inputs as given
from MRDeltaNetLib.mrml.sitting import results
from MRDeltaNetLib.web.page import Page

NUMBERS = itertools.count()
PATIENCE_S = 30
SIZE = (400, 300)
"""Of a view, pixels."""


class Inside:
    """A page with an event loop on a thread of its own: a browser's tests in the same process have a loop going on the main one."""

    def __init__(self, base: Path, *, case: Path | None = None, packages: Callable[[], dict] = dict) -> None:
        from trame.app import get_server
        self._thread, self._loop, self.page = ThreadPoolExecutor(1), asyncio.new_event_loop(), None
        self._thread.submit(asyncio.set_event_loop, self._loop).result()

        def make(_page: None) -> None:
            server = get_server(f"inside-{next(NUMBERS)}", client_type="vue3")
            self.page = Page(server, Door(packages=packages), base=base, case=case)
            server.state.ready()                         # changes are told from now on, as when a server runs
            for place in self.page.views.places():       # as a browser does when it shows them
                hand = self.page.views.view(*place).interactor()
                hand.UpdateSize(*SIZE)
                hand.InvokeEvent("WindowResizeEvent")

        self.do(make)

    def do(self, work: Callable[[Page], Any]) -> Any:
        """Do something on the page's own thread, inside its event loop."""

        async def once() -> Any:
            return work(self.page)

        return self.wait_for(once())

    def wait_for(self, coroutine: Any) -> Any:
        """Run a coroutine on the page's event loop."""
        return self._thread.submit(self._loop.run_until_complete, coroutine).result()

    def until(self, condition: Callable[[Page], Any]) -> Any:
        """Let the page's own work go on until a condition holds; returns what it gave."""

        async def seen() -> Any:
            end = time.monotonic() + PATIENCE_S
            while not (found := condition(self.page)):
                assert time.monotonic() < end, "it did not come about"
                await asyncio.sleep(0.02)
            return found

        return self.wait_for(seen())

    def sets(self, **values: Any) -> None:
        """A browser changes entries of the state."""

        def change(page: Page) -> None:
            with page.state as state:
                state.update(values)

        self.do(change)

    def press(self, name: str, *given: Any, **named: Any) -> None:
        """A browser presses a button, and may hand over anything with it."""

        def pressed(page: Page) -> None:
            with page.state:
                page.server.controller.trigger_fn(name)(*given, **named)

        self.do(pressed)

    def look(self, name: str) -> Any:
        """An entry of the state, as a browser that loads the page anew gets it."""
        return self.do(lambda page: page.state[name])

    def error(self) -> str | None:
        """The code of the refusal that is shown, which is closed then."""
        found = self.look("error")
        self.sets(error=None)
        return None if found is None else found["code"]

    def load(self, **scans: Any) -> None:
        """Choose scans as an upload does. pre, post: sitk.Image"""

        def choose(page: Page) -> None:
            for role, image in scans.items():
                page.steps["scans"].choose(role, Timepoint(image))
            page.settled()

        self.do(choose)

    def align(self, transform: Any) -> None:
        """Lay the second scan onto the first one as a run's result does. transform: pre LPS -> post LPS, mm"""

        def aligned(page: Page) -> None:
            choices, sitting = page.sitting.choices, page.sitting
            choices.alignment = show_alignment(page.scene, transform, choices.pre_volume, choices.post_volume, results.followers(choices))
            choices.alignment_result = findings.kept_text(page.scene, "", choices.pre_volume, "alignment result", "of no run")
            choices.alignment_result.SetAttribute(results.FINGERPRINT, json.dumps(sitting.fingerprint("align", sitting.inputs(with_alignment=False))))
            for node in (choices.alignment, choices.alignment_result):
                for role, volume in (("MRDeltaNet.pre", choices.pre_volume), ("MRDeltaNet.post", choices.post_volume)):
                    node.SetNodeReferenceID(role, volume.GetID())
            page.settled()

        self.do(aligned)

    def close_up(self, point_lps_mm: Any) -> None:
        """Every view shows what lies around a point of the first scan's space."""
        self.do(lambda page: page.views.close_up(page.sitting.choices.pre_volume, tuple(point_lps_mm)))

    def click(self, role: str, plane: str, *points_lps_mm: Any) -> None:
        """Press the left button where a view shows the first of these points (LPS of the first scan's space, mm), move over the others, let go."""

        def moved(page: Page) -> None:
            page.views.view(role, plane).render()
            places = [pixel(page, role, plane, point) for point in points_lps_mm]
            for act, place in (("MouseMoveEvent", places[0]), ("LeftButtonPressEvent", places[0]), *(("MouseMoveEvent", each) for each in places[1:]),
                               ("LeftButtonReleaseEvent", places[-1])):
                hand = page.views.view(role, plane).interactor()
                hand.SetEventInformation(*place)
                hand.InvokeEvent(act)

        self.do(moved)

    def masks(self) -> dict[str, sitk.Image]:
        """Outlines that a person drew: "pre", "post", "residual" -> sitk.Image."""
        return self.do(lambda page: {role: sitk.Image(mask) for role, mask in given.outlined(page.sitting.look()).masks.items()})

    def close(self) -> None:
        """End it as a server that is stopped does."""
        self._thread.submit(self.page.close).result()
        self._thread.shutdown()


def pixel(page: Page, role: str, plane: str, point_lps_mm: Any) -> tuple[int, int]:
    """Where a view shows a point of the first scan's space: column and row from below."""
    column, row, _, _ = np.linalg.inv(matrix_from_vtk(page.views.node(role, plane).GetXYToRAS())) @ [-point_lps_mm[0], -point_lps_mm[1], point_lps_mm[2], 1]
    return round(column), round(row)
