"""The panel's work without a window: check the scans, start a run, bring its result into the scene. Usable from a script:

    logic = slicer.util.getModuleLogic("MRDeltaNet")
    parameters = logic.getParameterNode()
    parameters.preVolume, parameters.postVolume = before, after
    logic.runAndWait("align")
    logic.segmentation(parameters, "pre")            # draw into it, or: logic.setMask(parameters, "pre", mask)
    logic.runAndWait("predict")
    print(logic.resultFacts(parameters)["p_pcr"])

The work itself is a sitting of the library (MRDeltaNetLib.mrml.sitting), the same as behind the page in the browser.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any, Callable, Mapping

import SimpleITK as sitk
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from MRDeltaNetLib import workflow
from MRDeltaNetLib.io.bundle import Bundle, read_bundle
from MRDeltaNetLib.mrml import overlays
from MRDeltaNetLib.mrml.sitting import Door, Run, Sitting, aligning, asking, belonging, diagnostics, drawing, further, mapping, outlining, reading, results
from MRDeltaNetLib.mrml.sitting import sample as simulated
from MRDeltaNetLib.mrml.sitting.folder import Session
from MRDeltaNetLib.mrml.sitting.inputs import Inputs
from MRDeltaNetPanel import automatic, headers, keeping, packages, sample
from MRDeltaNetPanel.choices import SceneChoices
from MRDeltaNetPanel.parameters import Map, MRDeltaNetParameterNode, wrapped
from MRDeltaNetPanel.translating import libraryText

MODEL_SETTING = "MRDeltaNet/ModelFolder"

STRENGTH = ("mapThreshold", "mapOpacity")
"""Parameters that say how strongly a map is shown: no step's state depends on them."""


class MRDeltaNetLogic(automatic.Automatic, keeping.Keeping, ScriptedLoadableModuleLogic):
    """One sitting with one pair of scans. Everything heavy happens in a child process; the scene is touched in poll() and in the other
    public methods only, which belong on the main thread. Most methods take the parameter node whose choices they are about."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self.beforeDrawing: Callable[[Any], None] = lambda segmentation: None
        door = Door(header_of=headers.dicomHeader, translate=libraryText, model_folder=lambda: self.modelFolder, job={"no_scene": True},
                    packages=lambda: {"missing_packages": packages.missing(), "packages_fit": packages.canBeInstalled()})
        self.sitting = Sitting(SceneChoices(self.getParameterNode), door, base=Path(slicer.app.temporaryPath))

    def getParameterNode(self) -> MRDeltaNetParameterNode:
        """The choices and nodes of this sitting, made if need be."""
        return wrapped(ScriptedLoadableModuleLogic.getParameterNode(self))

    def sittingWith(self, parameters: MRDeltaNetParameterNode | None) -> Sitting:
        """The sitting, looking at these choices from now on. parameters: None for those of the scene"""
        self.sitting.choices = SceneChoices(self.getParameterNode if parameters is None else lambda: parameters)
        return self.sitting

    # What is there

    def inputs(self, parameters: MRDeltaNetParameterNode, withAlignment: bool = True) -> Inputs:
        """The pair as it is in the scene, read anew whatever is kept. raises as Sitting.inputs"""
        return self.sittingWith(parameters).inputs(withAlignment)

    def reading(self, parameters: MRDeltaNetParameterNode) -> reading.Reading:
        """One look at the chosen pair, for everything that is shown of it; what has not changed since the last look is not read again."""
        return self.sittingWith(parameters).reading()

    def findings(self, parameters: MRDeltaNetParameterNode) -> workflow.Findings:
        """What the two scans say about each other, in words: order, interval, modality, geometry."""
        return reading.findings(self.sittingWith(parameters).look())

    def situation(self, parameters: MRDeltaNetParameterNode, seen: reading.Reading | None = None) -> workflow.Situation:
        """Everything that the steps' states depend on. seen: what a look just found; None: look now"""
        return self.sittingWith(parameters).situation(seen or self.reading(parameters))

    def look(self, situation: workflow.Situation) -> dict[str, workflow.StepView]:
        """Step -> its state, what to do next, and whether its run may start."""
        return self.sitting.steps(situation)

    def bundle(self) -> Bundle:
        """What the chosen model says of itself. raises InputError if the folder holds no whole bundle"""
        return self.sitting.bundle()

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
        return self.sittingWith(parameters).result_facts()

    def alignmentFacts(self, parameters: MRDeltaNetParameterNode) -> dict[str, Any] | None:
        """result.json of the run that made the alignment; None before there is one."""
        return self.sittingWith(parameters).alignment_facts()

    def fingerprint(self, step: str, pair: Inputs, parameters: MRDeltaNetParameterNode) -> dict[str, str]:
        """What a step's result rests on now: the same parts as workflow.PARTS."""
        return self.sittingWith(parameters).fingerprint(step, pair)

    def settleOutlines(self, parameters: MRDeltaNetParameterNode) -> None:
        """Outlines, alignment and results go with their scans when others are chosen, outlines come back with them."""
        self.sittingWith(parameters).settle()

    def choices(self, parameters: MRDeltaNetParameterNode) -> tuple[dict[str, str], dict[str, str]]:
        """Every parameter as its node holds it: how strongly maps are shown, and all else with the nodes that are chosen."""
        node = parameters.parameterNode
        texts = {name: node.GetParameter(name) for name in node.GetParameterNames()}
        roles = [node.GetNthNodeReferenceRole(index) for index in range(node.GetNumberOfNodeReferenceRoles())]
        strength = {name: texts.pop(name) for name in STRENGTH if name in texts}
        return strength, texts | {role: node.GetNodeReferenceID(role) or "" for role in roles}

    # Outlines and alignment

    def segmentation(self, parameters: MRDeltaNetParameterNode, role: str, views: tuple[Any, ...] = ()) -> Any:
        """The segmentation of a scan ("pre" or "post"), made if need be; views: slice nodes that alone show it, none: those that show it now."""
        return outlining.segmentation(self.sittingWith(parameters).choices, role, views)

    def keepOutlinesApart(self, parameters: MRDeltaNetParameterNode, views: tuple[Any, ...]) -> None:
        """Each outline in its own scan's view alone; views: slice nodes, before and after, none: every view shows both."""
        outlining.keep_outlines_apart(self.sittingWith(parameters).choices, views)

    def uncertainBorders(self, parameters: MRDeltaNetParameterNode, role: str) -> list[Any]:
        """Segmentation nodes beside a scan's outlines ("pre" or "post"): where the program that drew was not sure."""
        return outlining.uncertain_borders(self.sittingWith(parameters).choices, role)

    def setMask(self, parameters: MRDeltaNetParameterNode, role: str, mask: sitk.Image) -> None:
        """Put a mask, above 0 counts, into an outline: "pre", "post" or "residual"."""
        outlining.set_mask(self.sittingWith(parameters).choices, role, mask)

    def carryOver(self, parameters: MRDeltaNetParameterNode) -> None:
        """Lay the first outline on the second scan as a suggestion. raises InputError MRD-E834 without an alignment"""
        outlining.carry_over(self.sittingWith(parameters).choices)

    def outlineState(self, parameters: MRDeltaNetParameterNode, role: str) -> workflow.Outline:
        """How far an outline is."""
        return outlining.outline_state(self.sittingWith(parameters).look(), role)

    def sizes(self, parameters: MRDeltaNetParameterNode) -> dict[str, float | None] | None:
        """Volumes, diameters and their changes as a run would write them; None without any outline, or where statements contradict."""
        return outlining.sizes(self.sittingWith(parameters).look())

    def tumourCentre(self, parameters: MRDeltaNetParameterNode) -> tuple[float, float, float] | None:
        """The middle of the first scan's outline, LPS, mm; None without one."""
        return outlining.tumour_centre(self.sittingWith(parameters).look())

    def remarks(self, parameters: MRDeltaNetParameterNode, role: str) -> dict[str, Any]:
        """What the drawing run told of an outline ("pre" or "post"), while it is as the program drew it; else nothing."""
        return drawing.remarks(self.sittingWith(parameters).choices, role)

    def swap(self, parameters: MRDeltaNetParameterNode) -> None:
        """Exchange the scans; an alignment the other way round is none, and an outline before treatment is none of the bed after it."""
        with slicer.util.NodeModify(parameters.parameterNode):
            belonging.swap(self.sittingWith(parameters).choices)

    def forgetStatements(self, parameters: MRDeltaNetParameterNode) -> None:
        """Other scans begin without a reader's complete response and grade."""
        belonging.forget_statements(self.sittingWith(parameters).choices)

    def forgetAlignment(self, parameters: MRDeltaNetParameterNode) -> None:
        """Take the scan after treatment and all that lies on it out of the transform, and remove the transform."""
        aligning.forget_alignment(self.sittingWith(parameters).choices)

    def squares(self, parameters: MRDeltaNetParameterNode) -> Any:
        """A volume of squares of both scans in turns, for judging the alignment."""
        return aligning.squares(self.sittingWith(parameters).choices)

    # Maps and the point query

    def chosenMap(self, parameters: MRDeltaNetParameterNode) -> Map:
        """The map that is shown: the reader's choice as far as it is there, before one what the model's tests chose; Map.NONE for none."""
        return Map(mapping.chosen_map(self.sittingWith(parameters).choices) or Map.NONE.value)

    def offeredMaps(self, parameters: MRDeltaNetParameterNode) -> tuple[workflow.MapGroup, ...]:
        """The maps that there are, as the model's tests order them."""
        return mapping.offered_maps(self.sittingWith(parameters).choices, libraryText)

    def judged(self, parameters: MRDeltaNetParameterNode) -> Mapping[str, Any]:
        """What is known of the model that made the maps, its tests' verdict among it."""
        return mapping.judged(self.sittingWith(parameters).choices)

    def largestShare(self, parameters: MRDeltaNetParameterNode) -> float:
        """The shown map's largest value by size, as a fraction of its scale; 1 without a map."""
        return mapping.largest_share(self.sittingWith(parameters).choices)

    def shownMap(self, parameters: MRDeltaNetParameterNode) -> dict[str, Any]:
        """"pre" or "post" -> the chosen map's volume, its threshold and legend as chosen; the other legends hidden."""
        return mapping.shown_map(self.sittingWith(parameters).choices)

    def strongestPlace(self, parameters: MRDeltaNetParameterNode) -> tuple[float, float, float] | None:
        """The middle of where the shown map is largest by size, LPS of the first scan, mm; None without a map."""
        return mapping.strongest_place(self.sittingWith(parameters).choices)

    def maps(self, parameters: MRDeltaNetParameterNode) -> dict[str, Any]:
        """Map -> its volume node, of both chosen scans."""
        return results.maps(self.sittingWith(parameters).choices)

    def mapIds(self, parameters: MRDeltaNetParameterNode) -> tuple[str, ...]:
        """Ids of the maps that there are: the views are laid anew when they change."""
        return mapping.map_ids(self.sittingWith(parameters).choices)

    def hideLegends(self, parameters: MRDeltaNetParameterNode) -> None:
        """A legend stays in a view after its map has left it."""
        mapping.hide_legends(self.sittingWith(parameters).choices)

    def remakeLegends(self, shown: dict[str, Any]) -> None:
        """Slicer draws a legend only in views that were there, with the map as a layer, when the legend was made.

        shown  of shownMap, laid over the views already
        """
        for node in shown.values():
            overlays.remake_legend(node)

    def furtherMethods(self, parameters: MRDeltaNetParameterNode) -> tuple[workflow.MapGroup, ...]:
        """The methods that can still be asked, as the model's tests order them; some with the reason why not now."""
        return further.methods(self.sittingWith(parameters), libraryText)

    def whyNoPoint(self, parameters: MRDeltaNetParameterNode) -> str | None:
        """Why no place can be asked about; None if one can."""
        return None if asking.can_ask(self.resultFolder(parameters)) else libraryText(asking.NO_POINT)

    def startPicking(self, parameters: MRDeltaNetParameterNode, views: tuple[Any, ...]) -> None:
        """Wait for a click that sets the point, on the scan after treatment.

        views  slice nodes of both scans; the point may be set in the second one's only
        """
        point = asking.clear_points(self.sittingWith(parameters).choices, views[:1], views[1:])
        logic = slicer.modules.markups.logic()
        logic.SetActiveList(point)
        logic.StartPlaceMode(False)

    def ask(self, parameters: MRDeltaNetParameterNode) -> Any:
        """Where in the first scan the place of the point was compared with; the answer's node moves there. raises as asking.ask"""
        return asking.ask(self.sittingWith(parameters).choices, self.resultFolder(parameters))

    # Runs

    @property
    def running(self) -> bool:
        """Whether a run goes on."""
        return self.sitting.running

    @property
    def run(self) -> Run | None:
        """The run that goes on."""
        return self.sitting.run

    @property
    def session(self) -> Session:
        """The files of the sitting."""
        return self.sitting.session

    @property
    def log(self) -> deque[str]:
        """The last lines that runs left, in English."""
        return self.sitting.log

    def start(self, step: str, parameters: MRDeltaNetParameterNode | None = None) -> None:
        """Start "align", "predict" or "report" in a child process; poll() tells how it goes. raises as Sitting.start"""
        self.sittingWith(parameters).start(step)

    def startSample(self) -> None:
        """Start the simulation of the sample pair; poll() loads it when it is done."""
        simulated.start(self.sittingWith(None), lambda images: sample.choose(images, self.getParameterNode()))

    def startAutomatic(self, parameters: MRDeltaNetParameterNode, role: str) -> None:
        """Let the chosen model draw on one scan ("pre" or "post"), in a child process; poll() tells how it goes. raises as drawing.start"""
        drawing.start(self.sittingWith(parameters), role, self.segmentationModel, lambda segmentation: self.beforeDrawing(segmentation))

    def startMaps(self, parameters: MRDeltaNetParameterNode, methods: tuple[str, ...] | str) -> None:
        """Ask methods (of config.EXPLAIN_METHODS, or workflow.OFFERED) about the prediction that is shown. raises as further.start"""
        further.start(self.sittingWith(parameters), methods)

    def makeMaps(self, parameters: MRDeltaNetParameterNode, methods: tuple[str, ...] | str, timeoutS: float = 600.0) -> list[Any]:
        """startMaps, and come back when they are there; for scripts and tests. Returns and raises as runAndWait."""
        self.startMaps(parameters, methods)
        return self.sitting.wait(timeoutS)

    def poll(self) -> list[Any]:
        """What has happened since the last call, as mrml.worker's events; a finished run's result is in the scene when this returns.
        Never waits. A result that could not be brought in is a Failed."""
        return self.sittingWith(None).poll()

    def runAndWait(self, step: str, parameters: MRDeltaNetParameterNode | None = None, timeoutS: float = 600.0) -> list[Any]:
        """Do a step and come back when it is done; for scripts and tests. Returns and raises as Sitting.wait."""
        return self.sittingWith(parameters).run_and_wait(step, timeoutS)

    def samplePair(self) -> list[Any]:
        """Simulate the sample pair, wait, and load it; returns both volume nodes."""
        self.startSample()
        self.sitting.wait(sample.TIMEOUT_S)
        parameters = self.getParameterNode()
        return [parameters.preVolume, parameters.postVolume]

    def cancel(self) -> None:
        """Ask the run to stop; poll() tells when it has."""
        self.sitting.cancel()

    def resultFolder(self, parameters: MRDeltaNetParameterNode) -> Path | None:
        """The folder of the run whose result is in the scene; None if it is not at hand."""
        return self.sittingWith(parameters).result_folder()

    def saveResult(self, folder: Path) -> tuple[str, ...]:
        """Copy every file of the result that is shown; returns their names. raises as Sitting.save_result"""
        return self.sittingWith(None).save_result(folder)

    def diagnostics(self) -> str:
        """Versions, devices and last messages for a person who helps, without paths and names."""
        return diagnostics.describe(list(self.sitting.log), f"Slicer {slicer.app.applicationVersion} (revision {slicer.app.revision})")

    def close(self) -> None:
        """Stop whatever runs, at once, remove the session's files, and keep nothing of the scene; may be called again."""
        self.sitting.close()
        self.sittingWith(None)
