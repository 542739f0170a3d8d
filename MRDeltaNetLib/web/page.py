"""The page: one scene, one sitting, six steps beside six slice views. Everything here runs on the server's event loop, except what says so."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any, Callable, Coroutine

from MRDeltaNetLib import workflow
from MRDeltaNetLib.errors import MRDeltaNetError, require
from MRDeltaNetLib.mrml.bootstrap import quiet_for_good, register_classes
from MRDeltaNetLib.mrml.sitting import Choices, Door, Sitting, keeping
from MRDeltaNetLib.mrml.sitting import inputs as given
from MRDeltaNetLib.mrml.worker import Failed, Finished, Progressed, Stopped
from MRDeltaNetLib.web import layout
from MRDeltaNetLib.web.controls import Controls, one_of
from MRDeltaNetLib.web.scans import NAMES, Headers
from MRDeltaNetLib.web.slices import Slices
from MRDeltaNetLib.web.steps import align, explain, predict, report, scans, tumour
from MRDeltaNetLib.web.strip import Strip
from MRDeltaNetLib.web.views import FEATURE, INSTALL, Views
from MRDeltaNetLib.workflow import StepState, telling

POLL_S = 0.1
SETTLE_S = 0.3
"""After the last change of an outline the page waits so long before it looks again."""

MODULES = (scans, align, tumour, predict, explain, report)
SIGNS = {StepState.TO_DO: "\u25cb", StepState.DONE: "\u2713", StepState.WARNING: "\u26a0"}
"""The sign of a step's state; its word stands beside it."""


class Page:
    """What the browser shows, and what its buttons do."""

    def __init__(self, server: Any, door: Door = Door(), *, base: Path | None = None, case: Path | None = None) -> None:
        """
        server  of trame
        door    model and packages; what it says of headers is the page's own business
        base    folder for the sitting's files
        case    folder that keeps the case between two starts, held by the caller; None: nothing is kept
        raises  what sitting.keeping.take_up raises; InputError if the model cannot be used; MissingPackage MRD-E801 without trame-slicer
        """
        core = require("trame_slicer.core", FEATURE, INSTALL)
        server.enable_module(require("trame_slicer.module", FEATURE, INSTALL))
        server.enable_module(layout.MODULE)
        self.server, self.state, self.case = server, server.state, case
        self.slicer_app = core.SlicerApp()
        quiet_for_good()                                 # trame-slicer has just turned VTK's remarks on
        self.scene = self.slicer_app.scene
        register_classes(self.scene)
        self.headers = Headers()
        self.sitting = Sitting(Choices(legend=False), Door(self.headers.header_of, door.translate, door.model_folder, door.packages, door.job, door.python), base=base)
        self.sitting.bundle()
        self._keeping, self._writing, self._closed, self._kept = asyncio.Lock(), threading.Lock(), False, None
        self._entered: Any = None                        # the step that was entered last
        self._tasks, self._looking, self._going, self._stopping = set(), None, "", False
        self.controls = Controls(self.state)
        self.controls.add("step", scans.KEY, one_of(module.KEY for module in MODULES))
        self.state.update({"steps": [], "views": {}, "running": "", "stopping": False, "progress": 0, "message": "", "error": None, "demo": False,
                           "texts": layout.TEXTS, "trame__title": "MRDeltaNet", "trame__favicon": layout.FAVICON,
                           "trame__template_error": layout.template("gone")})
        self.on_button("cancel", self.cancel)
        self.on_change(self._step_changed, "step")
        self.strip, self.steps = Strip(self), {module.KEY: module.Step(self) for module in MODULES}
        self._lay_out()
        if case is not None:
            self._take_up()
        self.refresh()

    def _lay_out(self) -> None:
        slices = Slices(self)
        self.layout, node = layout.build(self.server, self.steps.values())
        self.views = Views(self.slicer_app, self.server, node, slices.markup)
        for role, plane in self.views.places():
            slices.watch(role, plane, self.views.view(role, plane))

    # What the browser may do

    def on_button(self, name: str, action: Callable[[], Any]) -> None:
        """Let a button of a template (`trigger('name')`) do something; what it raises is told on the page, and the page goes on. Whatever a browser
        hands over with it is dropped."""
        self.server.trigger(name)(lambda *_given, **_named: self._pressed(action))

    def on_change(self, action: Callable[[], Any], *names: str) -> None:
        """Do something when entries of the state change, whoever changed them. What a control may not be is put back before."""
        self.state.change(*names)(lambda **_state: self._changed(action, names))

    def _changed(self, action: Callable[[], Any], names: tuple[str, ...]) -> None:
        self.guarded(self.controls.put_back, names)
        self.guarded(action)
        self.controls.seen(names)

    def _pressed(self, action: Callable[[], Any]) -> None:
        with self.state as state:
            state.error = None
            if not self.sitting.running:
                state.message = ""
        self.guarded(action)

    def guarded(self, action: Callable[..., Any], *arguments: Any) -> Any:
        """Do something and tell on the page what refuses it; None then."""
        try:
            return action(*arguments)
        except Exception as problem:  # noqa: BLE001 a fault of ours must not end the page either
            self.tell(problem)
            return None

    def tell(self, problem: Exception | Failed) -> None:
        """Show a refusal: what, what was found, what to do, its code. A fault in the page itself is told by its kind alone: its text may hold anything."""
        if not isinstance(problem, (MRDeltaNetError, Failed)):
            problem = MRDeltaNetError("The page itself has failed at this", code="MRD-E923", found=type(problem).__name__,
                                      fix="load the page again; scans, outlines and results are still there. If it happens again, report it with what you pressed")
        said, = telling.remarks([problem])
        with self.state as state:
            state.error = {"text": said.text, "found": said.found, "fix": said.fix, "code": said.code}

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside everything else; what it raises is told."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.tell(task.exception())

    # What the page shows

    def refresh(self) -> None:
        """Look at the sitting and show how everything stands."""
        self.sitting.settle()
        seen = self.sitting.reading()
        situation = self.sitting.situation(seen)
        found = self.sitting.steps(situation)
        with self.state as state:
            state.steps = [{"key": step.key, "number": step.number, "title": step.title, "purpose": step.purpose, "sign": SIGNS[found[step.key].state],
                            "said": found[step.key].state.value} for step in workflow.STEPS]
            state.views = {key: {"line": view.line, "can_run": view.can_run, "why_not": view.why_not} for key, view in found.items()}
            state.running = self.sitting.run.step if self.sitting.run else ""
            state.demo = situation.model is not None and situation.model.is_demo
            for key, step in self.steps.items():
                step.refresh(situation, seen)
        self.keep()

    def refresh_soon(self, *_event: Any) -> None:
        """Look again when nothing has changed for a moment."""
        if self._looking is not None:
            self._looking.cancel()
        if self.server.running:
            self._looking = asyncio.get_running_loop().call_later(SETTLE_S, lambda: self.guarded(self.refresh))

    @property
    def step(self) -> Any:
        """The step on which the page stands."""
        return self.steps[self.controls["step"]]

    def let_go(self) -> None:
        """A scan leaves: no step holds on to it."""
        for step in self.steps.values():
            step.let_go()

    def settled(self) -> None:
        """Scans or results are others: show all anew."""
        self.refresh()
        self.place_scans()
        self.step.enter()

    def place_scans(self) -> None:
        """Both scans in their rows, whole, and nothing over them."""
        self.views.place(self.sitting.choices.pre_volume, self.sitting.choices.post_volume)

    def image_of(self, role: str) -> Any:
        """The chosen scan of a role as the library reads it; not to be written into."""
        return given.scan(self.sitting.look(), role).image

    def _step_changed(self) -> None:
        if self._entered is not self.step:               # a refusal of another step is out of place here
            self._entered = self.step
            self.state.error = None
        if not self.sitting.running:
            with self.state as state:
                state.message = ""
        for key, each in self.steps.items():
            if key != self.controls["step"]:
                each.leave()
        self.step.enter()
        self.refresh()

    # What takes long

    def run(self, step: str) -> None:
        """Start a step of the workflow and follow it."""
        self.follow(step, lambda: self.sitting.start(step))

    def follow(self, name: str, start: Callable[[], None]) -> None:
        """Start something in a child process and show its progress until it is done; the second press of a double click does nothing.

        name    what it is
        raises  what start raises
        """
        if self.sitting.running and self._going == name:
            return
        start()
        self._going, self._stopping = name, False
        with self.state as state:
            state.progress, state.message, state.stopping = 0, "Starting.", False
        self.spawn(self._followed())
        self.refresh()

    def cancel(self) -> None:
        """Stop what runs; nothing may run any more when the press arrives."""
        if not self.sitting.running:
            return
        self._stopping = True
        with self.state as state:
            state.message, state.stopping = "Stopping.", True
        self.sitting.cancel()

    async def _followed(self) -> None:
        while self.sitting.running:
            await asyncio.sleep(POLL_S)
            for event in self.guarded(self.sitting.poll) or ():
                self.guarded(self._tell_event, event)
        self.guarded(self.refresh)

    def _tell_event(self, event: Any) -> None:
        with self.state as state:
            if isinstance(event, Progressed):
                state.progress = round(100 * event.done)
                if not self._stopping:
                    state.message = telling.sentence(event.message)
            elif isinstance(event, Failed):
                state.message = ""
                self.tell(event)
            elif isinstance(event, Stopped):
                state.message = "Stopped. Earlier results stay."
            elif isinstance(event, Finished):
                state.message = "Done."
        if isinstance(event, Finished):
            self.settled()

    # The case folder

    def _take_up(self) -> None:
        keeping.take_up(self.sitting, self.case, self.scene, NAMES, self.headers.note)
        self.sitting.choices.legend = False              # the page has a scale of its own
        self._kept = keeping.collected(self.sitting).state()
        for step in self.steps.values():
            step.taken_up()
        for role in NAMES:
            self.strip.reset(role)
        self.place_scans()

    def keep(self) -> None:
        """Bring the case folder up to date, beside the page's own work, if anything has changed."""
        if self.case is None or not self.server.running:
            return
        found = keeping.collected(self.sitting)
        if found.state() != self._kept:
            self._kept = found.state()
            self.spawn(self._write(found))

    async def _write(self, found: keeping.Collected) -> None:
        async with self._keeping:
            try:
                await asyncio.to_thread(self._write_unless_closed, found)
            except Exception:
                self._kept = None                        # so that the next change tries again
                raise

    def discard(self, path: Path) -> None:
        """Remove a file of the sitting, after whatever is just being written from it."""

        async def removed() -> None:
            async with self._keeping:
                path.unlink(missing_ok=True)

        self.spawn(removed())

    def _write_unless_closed(self, found: keeping.Collected) -> None:
        """In a thread, which goes on when the event loop has ended: what it was given to write is older than what close writes."""
        with self._writing:
            if not self._closed:
                keeping.write(found, self.sitting.session, self.case)

    def close(self) -> None:
        """Keep what has not been kept yet, stop what runs, and leave no file. For when the event loop has ended."""
        try:
            with self._writing:
                self._closed = True
                if self.case is not None:
                    keeping.write(keeping.collected(self.sitting), self.sitting.session, self.case)
        finally:
            self.sitting.close()
