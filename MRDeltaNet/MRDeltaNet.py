"""MRDeltaNet for 3D Slicer: MRI before and after neoadjuvant treatment of rectal cancer, step by step. Research use only.

The work is done by the library MRDeltaNetLib in a child process; here is the module, its panel and its self-test.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest, ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

# In a source checkout the library lies beside this folder; in an installed extension it lies beside this file.
if (Path(__file__).resolve().parent.parent / "MRDeltaNetLib" / "__init__.py").is_file():
    sys.path.append(str(Path(__file__).resolve().parent.parent))

from MRDeltaNetLib import workflow  # noqa: E402
from MRDeltaNetPanel.following import Following  # noqa: E402
from MRDeltaNetPanel.logic import MRDeltaNetLogic  # noqa: E402
from MRDeltaNetPanel.pages.page import embolden  # noqa: E402
from MRDeltaNetPanel.translating import errorText, libraryText  # noqa: E402
from MRDeltaNetPanel.watching import Watching  # noqa: E402

STATES = {"TO_DO": ("\u25cb", _("to do")), "DONE": ("\u2713", _("done")), "WARNING": ("!", _("needs a look"))}
"""How a step stands -> the mark behind its title (circle, tick, exclamation mark), and the same in words."""

SETTLE_MS = 300
"""So long after the last change of the scene the panel looks again, milliseconds: painting stays smooth."""


class MRDeltaNet(ScriptedLoadableModule):
    """What Slicer shows of the module in its lists."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("MRDeltaNet: treatment response (MRI)")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Quantification")]
        self.parent.dependencies = ["Segmentations", "Volumes", "Markups", "SubjectHierarchy"]
        self.parent.contributors = ["The MRDeltaNet developers"]
        self.parent.helpText = _("Compares the MRI before and after neoadjuvant treatment of rectal cancer: aligns both scans, measures the "
                                 "outlines, asks a model for the probability of complete response, and shows where its score comes from. "
                                 "Research use only. Not a medical device; not for diagnosis or treatment decisions.")
        self.parent.acknowledgementText = _("Built on 3D Slicer, SimpleITK, PyTorch and MONAI.")
        slicer.app.connect("startupCompleted()", self.startupCompleted)

    def startupCompleted(self) -> None:
        """Describe our layout before any scene is read, and add the sample pair to Sample Data."""
        from MRDeltaNetPanel import sample, views
        views.describeLayout()
        sample.register(self)


class MRDeltaNetWidget(Following, Watching, ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: six steps over one page, a line that says what to do next, and the run that goes on."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.parameters = None
        self.pages: dict[str, Any] = {}
        self.findings = None
        self.step = "scans"
        self._tags: list[Any] = []
        self._placed: tuple[Any, Any] | None = None
        self._choices: tuple[dict[str, str], dict[str, str]] = ({}, {})

    # Slicer's calls

    def setup(self) -> None:
        """Build the panel; works without a main window too. What cleanup() ends is made first, so that it may be called whatever fails here."""
        from MRDeltaNetPanel.pages.align import AlignPage
        from MRDeltaNetPanel.pages.explain import ExplainPage
        from MRDeltaNetPanel.pages.predict import PredictPage
        from MRDeltaNetPanel.pages.report import ReportPage
        from MRDeltaNetPanel.pages.scans import ScansPage
        from MRDeltaNetPanel.pages.tumour import TumourPage
        from MRDeltaNetPanel.views import Views
        from MRDeltaNetPanel.walk import Walk
        ScriptedLoadableModuleWidget.setup(self)
        self._pollTimer, self._settleTimer = qt.QTimer(), qt.QTimer()
        self._settleTimer.setSingleShot(True)
        self.logic, self.views, self.walk = MRDeltaNetLogic(), Views(), Walk(self)
        self.frame = slicer.util.loadUI(self.resourcePath("UI/MRDeltaNet.ui"))
        self.layout.addWidget(self.frame)
        self.ui = slicer.util.childWidgetVariables(self.frame)
        self.frame.setMRMLScene(slicer.mrmlScene)
        for kind in (ScansPage, AlignPage, TumourPage, PredictPage, ExplainPage, ReportPage):
            self.pages[kind.key] = kind(self)
            self.ui.pages.addWidget(self.pages[kind.key].widget)
        self._connect()
        self._observeScene()
        self._useParameters()
        self.go("scans")
        if getattr(self.parent, "isEntered", False):     # a developer's Reload enters nothing by itself
            self.enter()

    def enter(self) -> None:
        """The user comes to this module."""
        if self.parameters is None:
            self._useParameters()
        self._showViews()
        self.pages[self.step].enter()
        self.refresh()

    def exit(self) -> None:
        """The user goes to another module: his layout comes back, nothing of ours goes on painting. A run goes on."""
        self.pages[self.step].exit()
        self._leaveViews()

    def cleanup(self) -> None:
        """The panel goes, or Slicer ends; called once or twice."""
        if self.logic is None:
            return
        self._pollTimer.stop()
        self._settleTimer.stop()
        self.walk.stop()
        self.views.leave()
        self.logic.close()
        self._releaseParameters()
        for page in self.pages.values():
            page.cleanup()
        self.removeObservers()
        self.logic = None

    def onReload(self) -> None:
        """Developer's Reload: the library and the pages are read anew too."""
        for name in [name for name in sys.modules if name.split(".")[0] in ("MRDeltaNetLib", "MRDeltaNetPanel")]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    # What pages ask for

    def go(self, step: str) -> None:
        """Bring a step's page to the front.

        step  of workflow.STEPS
        """
        left, self.step = self.pages[self.step], step
        if self.parameters is None:                      # a node that was chosen has just left the scene
            self._useParameters()
        entered = getattr(self.parent, "isEntered", False)
        if entered:
            left.exit()
            self.placeScans()
        page = self.pages[step]
        for other in self.pages.values():                # a stack is as high as its highest page, so it holds the one in front alone
            if other is not page:
                self.ui.pages.removeWidget(other.widget)
        if self.ui.pages.indexOf(page.widget) < 0:
            self.ui.pages.addWidget(page.widget)
        self.ui.pages.setCurrentWidget(page.widget)
        getattr(self.ui, f"{step}Button").checked = True
        if entered:
            page.enter()
        self.refresh()

    def placeScans(self, onTumour: bool = False) -> None:
        """Both scans in their views, without anything over them.

        onTumour  on the slice through the middle of the outlined tumour
        """
        if self.parameters is None or not self.views.shown:
            return
        self._placed = (self.parameters.preVolume, self.parameters.postVolume)
        self.views.place(*self._placed)
        self.logic.keepOutlinesApart(self.parameters, self.views.sliceNodes())
        if onTumour and (centre := self.logic.tumourCentre(self.parameters)) is not None:
            self.views.jump(centre)

    def showMap(self) -> None:
        """The chosen map over the scans, or none."""
        shown = self.logic.shownMap(self.parameters)
        self.placeScans()
        self.views.showOver(shown, self.parameters.mapOpacity)
        self.logic.remakeLegends(shown)

    def saveScene(self, path: Path) -> None:
        """Save the scene with the user's own layout, so that it opens without this extension too."""
        self._leaveViews()
        try:
            self.logic.saveScene(path)
        finally:
            self.views.show()
            self.placeScans()

    def tell(self, error: Any) -> None:
        """What was refused or went wrong, in one dialog; what the user himself declined is no error."""
        from MRDeltaNetLib.errors import Cancelled
        display = slicer.util.infoDisplay if isinstance(error, Cancelled) else slicer.util.errorDisplay
        display(errorText(error), windowTitle=_("MRDeltaNet"), detailedText="\n".join(getattr(error, "tail", ())))

    def refreshSoon(self, caller: Any = None, event: Any = None) -> None:
        """Look at everything anew when the scene has come to rest."""
        self._settleTimer.start(SETTLE_MS)

    def refresh(self) -> None:
        """Show what is so now on every step's button, the line below, and the page in front."""
        if self.parameters is None:
            return
        self.logic.settleOutlines(self.parameters)
        seen = self.logic.reading(self.parameters)
        self.findings, situation = seen.findings, self.logic.situation(self.parameters, seen)
        steps = self.logic.look(situation)
        for step in workflow.STEPS:
            self._showStep(step, steps[step.key])
        if (self.parameters.preVolume, self.parameters.postVolume) != self._placed:
            self.placeScans()
        self.ui.hintLabel.text = steps[self.step].line
        self.pages[self.step].refresh(situation, steps[self.step])
        self.ui.runRow.visible = self.logic.running
        self.ui.runLabel.visible = self.logic.running

    # Inside

    def _showStep(self, step: Any, view: Any) -> None:
        """A step's button: how it stands as a mark and in words; bold where its page is in front, which a dark style else hardly shows.

        step, view  workflow.Step, workflow.StepView
        """
        button, (mark, state), title = getattr(self.ui, f"{step.key}Button"), STATES[view.state.name], libraryText(step.title)
        button.text = f"{step.number}  {title}  {mark}"
        button.toolTip = f"{libraryText(step.purpose)} ({state}). {view.line}"
        button.accessibleName = f"{step.number} {title}, {state}"
        embolden(button, step.key == self.step)

    def _leaveViews(self) -> None:
        """The user's own layout, in which every view shows the outlines."""
        if self.parameters is not None:
            self.logic.keepOutlinesApart(self.parameters, ())
        self.views.leave()

    def _connect(self) -> None:
        for key in self.pages:
            getattr(self.ui, f"{key}Button").connect("clicked(bool)", lambda checked=False, key=key: self.go(key))
        self.ui.cancelButton.connect("clicked(bool)", lambda checked=False: self._cancel())
        self.ui.diagnosticsButton.connect("clicked(bool)", lambda checked=False: self.showDiagnostics())
        self._pollTimer.connect("timeout()", self._poll)
        self._settleTimer.connect("timeout()", self.refresh)

    def showDiagnostics(self) -> None:
        """Versions, devices and last messages, copied to the clipboard and shown."""
        text = self.logic.diagnostics()
        slicer.app.clipboard().setText(text)
        slicer.util.infoDisplay(_("The diagnostics are on the clipboard, without paths and names."), windowTitle=_("MRDeltaNet"), detailedText=text)

    def _showViews(self) -> None:
        """Our views with both scans."""
        self.views.show()
        self.placeScans()


class MRDeltaNetTest(ScriptedLoadableModuleTest):
    """The walk from Scans to Report inside Slicer: slicer.testing.runUnitTest runs it."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear(0)

    def runTest(self) -> None:
        """Every test, each on an empty scene."""
        from MRDeltaNetPanel import selftest
        for name, test in selftest.TESTS.items():
            self.setUp()
            self.delayDisplay(name)
            test()
