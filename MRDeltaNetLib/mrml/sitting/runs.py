"""One sitting with one pair of scans, without a window: check the scans, start a run, bring its result into the scene.

Every door with a face (Slicer's panel, the web page) holds one. Everything heavy happens in a child process; the scene is touched in poll()
and in the other public methods only, which belong on the thread that owns the scene.
"""

from __future__ import annotations

import shutil
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Mapping

from MRDeltaNetLib import workflow
from MRDeltaNetLib.errors import InputError, MRDeltaNetError, UsageError
from MRDeltaNetLib.io import results as files
from MRDeltaNetLib.io.atomic import TEMPORARY_PREFIX
from MRDeltaNetLib.io.bundle import MANIFEST, Bundle, read_bundle
from MRDeltaNetLib.mrml.kept import Kept
from MRDeltaNetLib.mrml.sitting import belonging
from MRDeltaNetLib.mrml.sitting import inputs as given
from MRDeltaNetLib.mrml.sitting import jobs, leaving, reading, results, standing
from MRDeltaNetLib.mrml.sitting.choices import SCANS
from MRDeltaNetLib.mrml.sitting.folder import Session
from MRDeltaNetLib.mrml.sitting.look import Look, no_header
from MRDeltaNetLib.mrml.worker import Failed, Finished, Progressed, Worker
from MRDeltaNetLib.resources import DEMO_BUNDLE, resource
from MRDeltaNetLib.workflow.texts import Translate, _

LOG_LINES = 200


@dataclass(frozen=True)
class Run:
    """A run that goes on.

    step      "align", "predict", "report", or a name that the door gave with what it started itself
    out       where it writes
    nodes     ids of both volumes: nothing else of the scene is held on to, because it may be closed meanwhile
    rests_on  fingerprint of what it was given
    bring     what takes its result into the scene; None: the sitting's own way
    also_unfinished  bring also what it left when it failed or was stopped
    """

    step: str
    out: Path
    nodes: tuple[str | None, ...] = ()
    rests_on: Mapping[str, str] = field(default_factory=dict)
    bring: Callable[[Path], None] | None = None
    also_unfinished: bool = False


@dataclass(frozen=True)
class Door:
    """What only the door knows.

    header_of     volume node -> one DICOM file of its series, or None
    translate     English template -> template in the user's language
    model_folder  the chosen model's folder; None: the demo model
    packages      missing_packages and packages_fit of workflow.Situation
    job           entries of every job beside those that the sitting writes, such as no_scene
    python        interpreter of the child processes; None: this one
    """

    header_of: Callable[[Any], Path | None] = no_header
    translate: Translate = str
    model_folder: Callable[[], Path | None] = lambda: None
    packages: Callable[[], Mapping[str, Any]] = dict
    job: Mapping[str, Any] = field(default_factory=dict)
    python: str | None = None


class Sitting:
    """Choices, runs, and what their results rest on."""

    def __init__(self, choices: Any, door: Door = Door(), *, base: Path | None = None) -> None:
        """
        choices  choices.Choices, or an object with its attributes
        base     folder for the sitting's files; see folder.Session
        """
        self.choices, self.door = choices, door
        self.session, self.kept = Session(base), Kept()
        self.run: Run | None = None
        self.last_result: Path | None = None
        self.last_alignment: Path | None = None
        self.told: Mapping[str, Any] = {}                # by the last run that finished, beside its files
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self._worker: Worker | None = None
        self._left: list[Path] = []                      # folders that runs were given
        self._bundle: tuple[Path, float, Bundle] | None = None
        self._runs = 0

    # What is there

    def look(self) -> Look:
        """One who looks at the scene and remembers what has not changed."""
        return Look(self.choices, self.kept, self.door.header_of, self.door.translate)

    def inputs(self, with_alignment: bool = True) -> given.Inputs:
        """The pair as it is in the scene, read anew whatever is kept; see inputs.read.

        raises  UsageError MRD-E842 unless both scans are chosen; InputError if one cannot be used
        """
        if any(getattr(self.choices, name) is None for name in SCANS.values()):
            raise UsageError(_("Two scans are needed"), code="MRD-E842", fix=_("choose the scan before and the scan after treatment"))
        self.kept.forget()                               # voxels may have been written without a word to VTK: a run rests on what is there
        return given.read(Look(self.choices, Kept(), self.door.header_of, self.door.translate), with_alignment)

    def reading(self) -> reading.Reading:
        """One look at the chosen pair, for everything that is shown of it; what has not changed since the last look is not read again."""
        return reading.read_scene(self.look())

    def situation(self, seen: reading.Reading | None = None) -> workflow.Situation:
        """Everything that the steps' states depend on. seen: what a look just found; None: look now"""
        return standing.situation(self, seen or self.reading())

    def steps(self, situation: workflow.Situation) -> dict[str, workflow.StepView]:
        """Step -> its state, what to do next, and whether its run may start."""
        return workflow.look(situation, translate=self.door.translate)

    def packages(self) -> Mapping[str, Any]:
        """missing_packages and packages_fit of workflow.Situation."""
        return self.door.packages()

    def bundle(self) -> Bundle:
        """What the chosen model says of itself; its weights are read and checked by the run.

        raises  InputError if the folder holds no whole bundle
        """
        folder = self.door.model_folder() or resource(DEMO_BUNDLE)
        manifest = folder / MANIFEST
        changed = manifest.stat().st_mtime if manifest.is_file() else 0.0
        if self._bundle is None or self._bundle[:2] != (folder, changed):
            self._bundle = (folder, changed, read_bundle(folder, weights=False))
        return self._bundle[2]

    def result_facts(self) -> dict[str, Any] | None:
        """result.json of the last prediction or report; None before there is one."""
        return results.facts(self.choices.result)

    def result_folder(self) -> Path | None:
        """The files of the result that is shown; None where they are not at hand, as after a scene was read."""
        return self.last_result if self.adds_to_its_result else results.folder_at_hand(self.choices, self.last_result)

    @property
    def adds_to_its_result(self) -> bool:
        """Whether a run goes on that adds further maps to the files of the result."""
        return self.run is not None and self.run.out == self.last_result

    def alignment_facts(self) -> dict[str, Any] | None:
        """result.json of the run that made the alignment; None before there is one."""
        return None if self.choices.alignment is None else results.facts(self.choices.alignment_result)

    def fingerprint(self, step: str, pair: given.Inputs) -> dict[str, str]:
        """What a step's result rests on now: the same parts as workflow.PARTS."""
        choices = self.choices
        if step == "align":
            return pair.fingerprint(options={"registration": choices.registration})
        if step == "report":
            return pair.fingerprint(complete_response=choices.complete_response, mrtrg=choices.mrtrg)
        return pair.fingerprint(complete_response=choices.complete_response, mrtrg=choices.mrtrg, model=self._model_digest(),
                                options={"outlineStepMm": choices.outline_step_mm, "allMembers": choices.all_members})

    def settle(self) -> None:
        """Let outlines, alignment and results go with their scans; see belonging.settle. The files of a result that is not this pair's are none of it."""
        belonging.settle(self.choices, self.kept)
        if self.choices.result is None:
            self.last_result = None
        if self.choices.alignment is None:
            self.last_alignment = None

    def remove_scan(self, role: str) -> None:
        """Take a chosen scan out of the scene with all that was made of it, and out of memory; see leaving.remove_scan. role: "pre" or "post" """
        leaving.remove_scan(self.choices, role)
        self.kept.forget()
        self.settle()

    # Runs

    @property
    def running(self) -> bool:
        """Whether a run goes on."""
        return self.run is not None

    def start(self, step: str) -> None:
        """Start a step in a child process; poll() tells how it goes.

        step    "align" (from scratch), "predict", or "report" (with the prediction made anew where there is one)
        raises  UsageError MRD-E843 if another run goes on; what inputs() and the job's validation raise; EnvironmentProblem
        """
        self.refuse_second_run()
        self.settle()
        if step == "report" and (facts := self.result_facts()) is not None and facts["p_pcr"] is not None:
            step = "predict"                             # a report alone would take the prediction out of the scene
        pair = self.inputs(with_alignment=step != "align")
        if step == "predict":
            self.bundle()
        out = self.fresh_folder(step)
        rests_on = self.fingerprint(step, pair)
        self.worker().start(jobs.job_of(self, step, pair, out))
        self._left.append(out)
        self.run = Run(step, out, self._ids(), rests_on)

    def start_other(self, step: str, begin: Callable[[Worker], None], out: Path, bring: Callable[[Path], None], *, of_this_pair: bool = True,
                    also_unfinished: bool = False) -> None:
        """Start something of the door's own: simulate a pair, draw an outline, make further maps.

        step          its name, none of the workflow's runs
        begin         starts it with the worker
        out           of fresh_folder
        bring         takes its folder into the scene when it is done
        of_this_pair  whether its result is refused if other scans were chosen meanwhile
        also_unfinished  whether what it left is brought in also when it failed or was stopped
        raises        UsageError MRD-E843 if another run goes on; what begin raises
        """
        self.refuse_second_run()
        begin(self.worker())
        if out.parent == self.session.folder:            # a result that came out of a case folder is not ours to take away
            self._left.append(out)
        self.run = Run(step, out, self._ids() if of_this_pair else (), {}, bring, also_unfinished)

    def worker(self) -> Worker:
        """A fresh worker in the sitting's folder; the one of the last run is closed."""
        if self._worker is not None:
            self._worker.close()
        self._worker = Worker(self.session.path("job"), python=self.door.python)
        return self._worker

    def poll(self) -> list[Any]:
        """What has happened since the last call, as mrml.worker's events; a finished run's result is in the scene when this returns.
        Never waits. A result that could not be brought in is a Failed."""
        return [] if self._worker is None else [self._settled(event) for event in self._worker.poll()]

    def run_and_wait(self, step: str, timeout_s: float = 600.0) -> list[Any]:
        """Do a step and come back when it is done; for scripts and tests. raises as wait"""
        self.start(step)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float) -> list[Any]:
        """Wait until the run is done.

        returns  its events; none where nothing runs
        raises   the error that stopped it; UsageError MRD-E844 if it takes longer than timeout_s
        """
        events = [] if self._worker is None else [self._settled(event) for event in self._worker.wait(timeout_s)]
        if self.running:
            self._worker.close()
            self.run = None
            raise UsageError(_("The run took longer than it was given"), code="MRD-E844", found=f"{timeout_s:g} s", fix=_("give it more time"))
        for event in events:
            if isinstance(event, Failed):
                raise MRDeltaNetError(event.what, code=event.code, found=event.found, fix=event.fix)
        return events

    def cancel(self) -> None:
        """Ask the run to stop; poll() tells when it has."""
        if self._worker is not None:
            self._worker.cancel()

    def refuse_second_run(self) -> None:
        """raises UsageError MRD-E843 if a run goes on"""
        if self.running:
            raise UsageError(_("Another run goes on"), code="MRD-E843", fix=_("wait until it is done, or cancel it"))

    def fresh_folder(self, step: str) -> Path:
        """A folder name of the session that no run has used. What earlier runs left and nothing shows any more goes, so that a long sitting fills no disk."""
        shown = (self.last_result, self.last_alignment, None if self.run is None else self.run.out)
        for outgrown in [folder for folder in self._left if folder not in shown]:
            shutil.rmtree(outgrown, ignore_errors=True)
            self._left.remove(outgrown)
        self._runs += 1
        return self.session.path(f"{step}{self._runs}")

    def save_result(self, folder: Path) -> tuple[str, ...]:
        """Copy every file of the last result; the manifest comes last, so that a folder with it is whole.

        folder   new, empty, or one that holds an earlier result
        returns  the files' names
        raises   UsageError MRD-E847 if the files are not at hand; what io.results.check_output_folder raises
        """
        source = self.result_folder()
        if source is None:
            raise UsageError(_("The files of this result are not at hand any more"), code="MRD-E847", fix=_("run again, then save"))
        files.check_output_folder(folder)
        with files.staged(folder) as unfinished:
            for path in sorted(path for path in source.iterdir() if path.is_file() and not path.name.startswith(TEMPORARY_PREFIX)):
                shutil.copyfile(path, unfinished / path.name)
            names = tuple(sorted(path.name for path in unfinished.iterdir()))
        return names

    def close(self) -> None:
        """Stop whatever runs, at once, remove the sitting's files, and keep nothing of the scene; may be called again."""
        if self._worker is not None:
            self._worker.close()
        self._worker = self.run = self.last_result = self.last_alignment = None
        self._left = []
        self.session.close()
        self.kept.forget()

    # Inside

    def _model_digest(self) -> str:
        """SHA-256 of the chosen model; empty, and so unlike that of any result, while its folder cannot be read."""
        try:
            return self.bundle().sha256
        except MRDeltaNetError:
            return ""

    def _settled(self, event: Any) -> Any:
        """Take notice of an event; a finished run's result goes into the scene."""
        if isinstance(event, Progressed):
            return event
        run, self.run = self.run, None
        if isinstance(event, Finished):
            self.told = event.summary
            event = self._brought_in(run, event)
        elif run.also_unfinished:
            self._brought_in(run, event)
        self.log.append(event.text() if isinstance(event, Failed) else f"{run.step}: {type(event).__name__.lower()}")
        self.log.extend(getattr(event, "tail", ()))
        return event

    def _brought_in(self, run: Run, event: Any) -> Any:
        """The event, or a Failed where the result could not be brought into the scene."""
        try:
            self._bring_in(run)
        except MRDeltaNetError as error:
            return Failed(error.code, error.what, error.found, error.fix, error.exit_status)
        except Exception as fault:                       # noqa: BLE001 ours, or a disk's: told, so that the door goes on
            return Failed("MRD-E899", _("The result could not be brought into the scene"), type(fault).__name__, _("copy the diagnostics and report them"), None)
        return event

    def _bring_in(self, run: Run) -> None:
        if run.nodes and self._ids() != run.nodes:
            raise InputError(_("The scans were changed or removed while the run went on, so its result was not brought in"), code="MRD-E845",
                             fix=_("choose both scans and start again"))
        if run.bring is not None:
            run.bring(run.out)
            return
        bring = results.bring_alignment if run.step == "align" else results.bring_result
        bring(self.choices, run.out, run.rests_on, self.door.translate)
        if run.step == "align":
            self.last_alignment = run.out
        else:
            self.last_result = run.out

    def _ids(self) -> tuple[str | None, ...]:
        """Ids of both volumes, None where none is chosen."""
        return tuple(None if (node := getattr(self.choices, name)) is None else node.GetID() for name in SCANS.values())
