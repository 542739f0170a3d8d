"""The panel's work without a window: check the scans, start a run, bring its result into the scene. Usable from a script:

    logic = slicer.util.getModuleLogic("MRDeltaNet")
    parameters = logic.getParameterNode()
    parameters.preVolume, parameters.postVolume = before, after
    logic.runAndWait("align")
    logic.segmentation(parameters, "pre")            # draw into it, or: logic.setMask(parameters, "pre", mask)
    logic.runAndWait("predict")
    print(logic.resultFacts(parameters)["p_pcr"])
"""

from __future__ import annotations

import sys
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Mapping

import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from MRDeltaNetLib import workflow
from MRDeltaNetLib.errors import InputError, MRDeltaNetError, UsageError
from MRDeltaNetLib.io import results as files
from MRDeltaNetLib.io.bundle import MANIFEST, Bundle, read_bundle
from MRDeltaNetLib.io.jobs import job_from_mapping
from MRDeltaNetLib.io.transforms import write_transform
from MRDeltaNetLib.mrml.kept import Kept
from MRDeltaNetLib.mrml.worker import Failed, Finished, Progressed, Worker
from MRDeltaNetLib.resources import DEMO_BUNDLE, resource
from MRDeltaNetPanel import inputs as given
from MRDeltaNetPanel import aligning, asking, automatic, belonging, furthermaps, keeping, mapping, outlining, reading, results, sample, state
from MRDeltaNetPanel.parameters import MRDeltaNetParameterNode, wrapped
from MRDeltaNetPanel.session import Session
from MRDeltaNetPanel.translating import libraryText

MODEL_SETTING = "MRDeltaNet/ModelFolder"
LOG_LINES = 200


@dataclass(frozen=True)
class Run:
    """A run that goes on.

    step     "align", "predict", "report", "sample", furthermaps.STEP, or one of automatic.STEPS
    out      where it writes
    nodes    ids of both volumes: nothing else of the scene is held on to, because the user may close it meanwhile
    restsOn  fingerprint of what it was given
    asked    methods of explanation that were named
    """

    step: str
    out: Path
    nodes: tuple[str | None, ...] = ()
    restsOn: Mapping[str, str] = field(default_factory=dict)
    asked: tuple[str, ...] = ()


class MRDeltaNetLogic(belonging.Belonging, outlining.Outlining, aligning.Aligning, mapping.Maps, asking.Asking,
                      furthermaps.FurtherMaps, automatic.Automatic, keeping.Keeping, ScriptedLoadableModuleLogic):
    """One sitting with one pair of scans. Everything heavy happens in a child process; the scene is touched in poll() and in the other
    public methods only, which belong on the main thread."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self.session, self.kept = Session(), Kept()
        self.run: Run | None = None
        self.lastResult: Path | None = None
        self.beforeDrawing: Callable[[Any], None] = lambda segmentation: None
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self._worker: Worker | None = None
        self._bundle: tuple[Path, float, Bundle] | None = None
        self._runs = 0

    def getParameterNode(self) -> MRDeltaNetParameterNode:
        """The choices and nodes of this sitting, made if need be."""
        return wrapped(ScriptedLoadableModuleLogic.getParameterNode(self))

    # What is there

    def inputs(self, parameters: MRDeltaNetParameterNode, withAlignment: bool = True) -> given.Inputs:
        """The pair as it is in the scene, read anew whatever is kept; see inputs.read.

        raises  UsageError MRD-E842 unless both scans are chosen; InputError if one cannot be used
        """
        if parameters.preVolume is None or parameters.postVolume is None:
            raise UsageError(_("Two scans are needed"), code="MRD-E842", fix=_("choose the scan before and the scan after treatment"))
        self.kept.forget()                               # voxels may have been written without a word to VTK: a run rests on what is there
        return given.read(parameters, Kept(), withAlignment)

    def reading(self, parameters: MRDeltaNetParameterNode) -> reading.Reading:
        """One look at the chosen pair, for everything that is shown of it; what has not changed since the last look is not read again."""
        return reading.readScene(parameters, self.kept)

    def findings(self, parameters: MRDeltaNetParameterNode) -> workflow.Findings:
        """What the two scans say about each other, in words: order, interval, modality, geometry."""
        return reading.findings(parameters, self.kept)

    def situation(self, parameters: MRDeltaNetParameterNode, seen: reading.Reading | None = None) -> workflow.Situation:
        """Everything that the steps' states depend on.

        seen  what a look just found; None: look now
        """
        return state.situation(self, parameters, seen or self.reading(parameters), self.kept)

    def look(self, situation: workflow.Situation) -> dict[str, workflow.StepView]:
        """Step -> its state, what to do next, and whether its run may start."""
        return workflow.look(situation, translate=libraryText)

    def bundle(self) -> Bundle:
        """What the chosen model says of itself; its weights are read and checked by the run.

        raises  InputError if the folder holds no whole bundle
        """
        folder = self.modelFolder or resource(DEMO_BUNDLE)
        manifest = folder / MANIFEST
        changed = manifest.stat().st_mtime if manifest.is_file() else 0.0
        if self._bundle is None or self._bundle[:2] != (folder, changed):
            self._bundle = (folder, changed, read_bundle(folder, weights=False))
        return self._bundle[2]

    @property
    def modelFolder(self) -> Path | None:
        """The folder of the chosen model, kept in this computer's settings; None: the demo model."""
        kept = slicer.app.settings().value(MODEL_SETTING, "")
        return Path(kept) if kept else None

    def chooseModel(self, folder: Path | None) -> None:
        """Use another model from now on; a folder that holds none is refused and the earlier choice stays.

        folder  of a bundle; None: the demo model
        raises  InputError if it cannot be used
        """
        if folder is not None:
            read_bundle(folder, weights=False)
        slicer.app.settings().setValue(MODEL_SETTING, "" if folder is None else str(folder))

    def resultFacts(self, parameters: MRDeltaNetParameterNode) -> dict[str, Any] | None:
        """result.json of the last prediction or report; None before there is one."""
        return results.facts(parameters.result)

    def alignmentFacts(self, parameters: MRDeltaNetParameterNode) -> dict[str, Any] | None:
        """result.json of the run that made the alignment; None before there is one."""
        return None if parameters.alignment is None else results.facts(parameters.alignmentResult)

    def fingerprint(self, step: str, pair: given.Inputs, parameters: MRDeltaNetParameterNode) -> dict[str, str]:
        """What a step's result rests on now: the same parts as workflow.PARTS."""
        if step == "align":
            return pair.fingerprint(options={"registration": parameters.registration.value})
        if step == "report":
            return pair.fingerprint(completeResponse=parameters.completeResponse, options={"mrtrg": parameters.mrtrg.value} if parameters.mrtrg.value else None)
        return pair.fingerprint(completeResponse=parameters.completeResponse, model=self._modelDigest(),
                                options={"outlineStepMm": parameters.outlineStepMm, "allMembers": parameters.allMembers})

    # Runs

    @property
    def running(self) -> bool:
        """Whether a run goes on."""
        return self.run is not None

    def start(self, step: str, parameters: MRDeltaNetParameterNode | None = None) -> None:
        """Start a step in a child process; poll() tells how it goes.

        step    "align" (from scratch), "predict", or "report" (with the prediction made anew where there is one)
        raises  UsageError MRD-E843 if another run goes on; what inputs() and the job's validation raise; EnvironmentProblem
        """
        parameters = parameters or self.getParameterNode()
        self._refuseSecondRun()
        if step == "report" and (facts := self.resultFacts(parameters)) is not None and facts["p_pcr"] is not None:
            step = "predict"                             # a report alone would take the prediction out of the scene
        self.settleOutlines(parameters)
        pair = self.inputs(parameters, withAlignment=step != "align")
        if step == "predict":
            self.bundle()
        out = self._freshFolder(step)
        restsOn = self.fingerprint(step, pair, parameters)
        self._worker = Worker(self.session.path("job"))
        self._worker.start(job_from_mapping(self._job(step, pair, parameters, out)))
        self.run = self._runOf(step, out, parameters, restsOn)

    def startSample(self) -> None:
        """Start the simulation of the sample pair; poll() loads it when it is done."""
        self._refuseSecondRun()
        out = self._freshFolder(sample.STEP)
        self._worker = Worker(self.session.path("job"))
        self._worker.start_command(sample.command(sys.executable, out))
        self.run = Run(sample.STEP, out)

    def poll(self) -> list[Any]:
        """What has happened since the last call, as mrml.worker's events; a finished run's result is in the scene when this returns.
        Never waits. A result that could not be brought in is a Failed."""
        return [] if self._worker is None else [self._settled(event) for event in self._worker.poll()]

    def runAndWait(self, step: str, parameters: MRDeltaNetParameterNode | None = None, timeoutS: float = 600.0) -> list[Any]:
        """Do a step and come back when it is done; for scripts and tests.

        returns  its events
        raises   the error that stopped it; UsageError MRD-E844 if it takes longer than timeoutS
        """
        self.start(step, parameters)
        return self._waited(timeoutS)

    def samplePair(self) -> list[Any]:
        """Simulate the sample pair, wait, and load it; returns both volume nodes."""
        self.startSample()
        self._waited(sample.TIMEOUT_S)
        parameters = self.getParameterNode()
        return [parameters.preVolume, parameters.postVolume]

    def cancel(self) -> None:
        """Ask the run to stop; poll() tells when it has."""
        if self._worker is not None:
            self._worker.cancel()

    def close(self) -> None:
        """Stop whatever runs, at once, remove the session's files, and keep nothing of the scene; may be called again."""
        if self._worker is not None:
            self._worker.close()
        self._worker = self.run = self.lastResult = None
        self.session.close()
        self.kept.forget()

    # Inside

    def _modelDigest(self) -> str:
        """SHA-256 of the chosen model; empty, and so unlike that of any result, while its folder cannot be read."""
        try:
            return self.bundle().sha256
        except MRDeltaNetError:
            return ""

    def _refuseSecondRun(self) -> None:
        if self.running:
            raise UsageError(_("Another run goes on"), code="MRD-E843", fix=_("wait until it is done, or cancel it"))

    def _runOf(self, step: str, out: Path, parameters: MRDeltaNetParameterNode, restsOn: Mapping[str, str] | None = None,
               asked: tuple[str, ...] = ()) -> Run:
        return Run(step, out, _ids(parameters), restsOn or {}, asked)

    def _freshFolder(self, step: str) -> Path:
        self._runs += 1
        return self.session.path(f"{step}{self._runs}")

    def _job(self, step: str, pair: given.Inputs, parameters: MRDeltaNetParameterNode, out: Path) -> dict[str, Any]:
        """The job of a step, by the names of a job file; its input files are written."""
        job: dict[str, Any] = {"out": str(out), "registration": parameters.registration.value, "complete_response": parameters.completeResponse,
                               "steps": list(workflow.job_steps(step)), "device": parameters.device.value,
                               "no_scene": True}
        job |= {"mrtrg": parameters.mrtrg.value} if parameters.mrtrg.value else {}
        job |= {role: str(self.session.write(role, image)) for role, image in pair.scans.items()}
        job |= {f"{role}_mask": str(self.session.write(f"{role}_mask", mask)) for role, mask in pair.masks.items()}
        job |= {f"{role}_header": str(path) for role, path in pair.headers.items() if path is not None}
        if pair.transform is not None:
            job["transform"] = str(self._acceptedTransform(pair, parameters))
        if step == "predict":
            job |= {"outline_step_mm": parameters.outlineStepMm, "members": "all" if parameters.allMembers else "first"}
            job |= {} if self.modelFolder is None else {"model": str(self.modelFolder)}
            job |= {"explain_methods": list(more)} if (more := self.methodsToRepeat(parameters)) else {}
        return job

    def _acceptedTransform(self, pair: given.Inputs, parameters: MRDeltaNetParameterNode) -> Path:
        """The alignment as a file, and beside it the result of the run that made it, so that the next run knows which masks it left out."""
        folder = self.session.path("accepted")
        folder.mkdir(exist_ok=True)
        write_transform(pair.transform, folder / files.TRANSFORM)
        if results.facts(parameters.alignmentResult) is not None:
            (folder / files.RESULT).write_text(parameters.alignmentResult.GetText(), encoding="utf-8")
        return folder / files.TRANSFORM

    def _waited(self, timeoutS: float) -> list[Any]:
        events = [self._settled(event) for event in self._worker.wait(timeoutS)]
        if self.running:
            self._worker.close()
            self.run = None
            raise UsageError(_("The run took longer than it was given"), code="MRD-E844", found=f"{timeoutS:g} s", fix=_("give it more time"))
        for event in events:
            if isinstance(event, Failed):
                raise MRDeltaNetError(event.what, code=event.code, found=event.found, fix=event.fix)
        return events

    def _settled(self, event: Any) -> Any:
        """Take notice of an event; a finished run's result goes into the scene."""
        if isinstance(event, Progressed):
            return event
        run, self.run = self.run, None
        if isinstance(event, Finished):
            event = self._broughtIn(run, event)
        elif run.step == furthermaps.STEP:               # each method's maps are whole when they are written: what is there stays
            self._broughtIn(run, event)
        self.log.append(event.text() if isinstance(event, Failed) else f"{run.step}: {type(event).__name__.lower()}")
        self.log.extend(getattr(event, "tail", ()))
        return event

    def _broughtIn(self, run: Run, event: Any) -> Any:
        """The event, or a Failed where the result could not be brought into the scene."""
        try:
            self._bringIn(run, getattr(event, "summary", {}))
        except MRDeltaNetError as error:
            return Failed(error.code, error.what, error.found, error.fix, error.exit_status)
        except (OSError, RuntimeError, ValueError, KeyError) as fault:      # ours, or a disk's: told, so that the panel goes on
            return Failed("MRD-E899", _("The result could not be brought into the scene"), type(fault).__name__, _("copy the diagnostics and report them"), None)
        return event

    def _bringIn(self, run: Run, summary: Mapping[str, Any]) -> None:
        parameters = self.getParameterNode()
        if run.step == sample.STEP:
            sample.load(run.out, parameters, self)
            return
        if _ids(parameters) != run.nodes:
            raise InputError(_("The scans were changed or removed while the run went on, so its result was not brought in"), code="MRD-E845",
                             fix=_("choose both scans and start again"))
        for role, step in automatic.STEPS.items():
            if run.step == step:
                self.beforeDrawing(getattr(parameters, given.OUTLINES[role][1]))     # strokes that were drawn meanwhile come back by undo
                self.bringAutomatic(parameters, role, run.out)
                self.keepRemarks(parameters, role, summary)
                return
        if run.step == furthermaps.STEP:
            self.bringMaps(parameters, run)
            return
        bring = results.bringAlignment if run.step == "align" else results.bringResult
        bring(parameters, run.out, run.restsOn)
        if run.step != "align":
            self.lastResult = run.out


def _ids(parameters: MRDeltaNetParameterNode) -> tuple[str | None, ...]:
    """Ids of both volumes, None where none is chosen."""
    return tuple(None if node is None else node.GetID() for node in (parameters.preVolume, parameters.postVolume))
